"""What must hold after every action on the whole system, by the ids of docs/invariants.md.

`Invariants.after(step, outcome, before, after)` compares two readings of the system, made right
before and right after one action at the same timestamp. Every check counts how often its premise
held, so that an invariant that was never put to the test is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ballast.chain import Event, Receipt, Reverted
from ballast.model.allocation import Allocation, Weight, is_within
from ballast.model.ledger import Loans
from ballast.model.margin import BPS, Position, Terms, is_no_riskier
from ballast.model.perps import SIZE_STEP_WAD, Order, Refused
from ballast.model.plan import Scene
from tests.clearing_kit import in_order
from tests.support.system_cast import Cast
from tests.support.system_checks import Broken, Outcome
from tests.support.system_endings import ENDING_PARTS
from tests.support.system_liquidations import LIQUIDATION_PARTS, is_liquidation
from tests.support.system_markets import EXACT, LOOKS, NAV_ROUNDING_WAD, PARTS
from tests.support.system_reading import Question
from tests.support.system_state import LOW_128, PERPETUALS_SHIFT, WAD, State
from tests.support.system_steps import ENVIRONMENT, Call, Step
from tests.support.system_watches import WATCH_PARTS, WatchChecks
from tests.support.world import QUOTE, UNLIMITED

RAY = 10**27
YEAR_S = 365 * 86_400
MAX_RATE_RAY = 100_000 * RAY // BPS // YEAR_S + 1
MAX_USE_BPS = 9_200
MAX_RESERVE_FACTOR_BPS = 5_000
VIRTUAL_SHARES = 10**6
ENTRY_WAIT_S = 3_600 + 600
MICRO_WAD = 10**12
ROUNDING_UNITS = 2  # of the quote token, that each step with cash may cost without being a loss
REVOKED = 1 << 192  # the guard word that a revocation leaves in the event
ALLOCATES = 1 << 193  # in a guard word: there is an allocation
READY = 0
MOST_TO_REST = 12  # rebalances for an allocation, at prices that stay
REBALANCES = frozenset({("Mandates", "rebalance"), ("Mandates", "rebalance_for")})
# What a rebalance and what was announced may do to others is judged by I14 to I16.
OPEN_TO_ALL = frozenset(
    {
        *REBALANCES,
        *(("Mandates", "apply_guard"), ("Mandates", "apply_allocation")),
        ("Rebalancer", "apply_policy"),
    }
)
# What settling, deleveraging and the end of a market do to others is foretold, call by call.
FORETOLD = frozenset({("Perps", "settle"), ("Deleverager", "adl"), ("Deleverager", "wind_down")})
ROOMS = (
    *("Clearinghouse", "Mandates", "Rebalancer", "Perps", "Deleverager"),
    *("Liquidator", "TokenLiquidator", "Insurance"),
)
SELL_STEP, SETTLE_STEP = 4, 5
IDS = tuple(
    f"I{number:02}"
    for number in (
        *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17),
        *(18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 40, 42, 44, 46, 50),
    )
)
PREMISES = (
    *(*IDS, *EXACT, *PARTS, *LIQUIDATION_PARTS, *ENDING_PARTS, *WATCH_PARTS),
    *("I14 alone", "I14 exposure", "I48", "I50 grown", "I50 rest"),
)
# A few thousand actions may do without.
RARE = frozenset(
    {
        *("I10 pairs", "I10 entry", "I11 house", "I14 traded", "I28 pool"),
        *("I13 for tokens", "I13 offset", "exact flagged"),
        *("exact wind down apart", "exact settle ended", "exact adl ended"),
        *("I23 ended", "exact revival ended", "exact announce refused"),
        *("I48", "I49 dry", "I50 grown"),
    }
)


@dataclass
class Invariants(WatchChecks):
    """The checks, and what has to be remembered from action to action."""

    donated: Counter[tuple[str, str]] = field(default_factory=Counter)  # token, holder: units
    lifetimes: dict[str, int] = field(default_factory=dict)  # owner: micro quote tokens
    script: list[tuple[str, bytes]] = field(default_factory=list)  # of the scripted hook
    # What owners granted, and until when: account, operator's address.
    grants: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)

    # ---- the frame

    def note(self, outcome: Outcome) -> None:
        """Remembers donations and budgets; for steps whose state is not read, too."""
        world = self.cast.world
        holder_of = {self.cast.contracts[name].address: name for name in self.cast.contracts}
        token_of = {world.asset(name): name for name in world.tokens}
        for call, receipt in outcome.receipts:
            # Tokens reach a contract unasked for by a transfer, or by naming it as a receiver.
            given: list[tuple[str, str, int]] = []
            if call.contract.startswith("token ") and call.function == "transfer":
                given.append((call.contract.removeprefix("token "), *call.args))
            for event in world.clearinghouse.events(receipt, "Withdrawn"):
                args = event.args
                if args.account != self.cast.house:
                    given.append((token_of[args.asset], args.receiver, args.amount))
            for vault in (world.system.vault, world.system.liquidity_vault):
                for event in vault.events(receipt, "Withdraw"):
                    given.append((QUOTE, event.args.receiver, event.args.assets))
            for event in world.system.vault.events(receipt):
                if event.name in ("ReservesSwept", "SurplusSkimmed"):
                    given.append((QUOTE, event.args.receiver, event.args.assets))
                if event.name == "SurplusSkimmed":
                    self.donated[QUOTE, "LendingVault"] = 0
            for token, receiver, units in given:
                if receiver in holder_of:
                    self.donated[token, holder_of[receiver]] += units
            self.note_watches(receipt)
            if (call.contract, call.function) in LOOKS:
                self.looks = (self.looks[1], receipt.time)
            if call.function == "set_script":
                self.script = call.args[0]
            for event in world.system.insurance_fund.events(receipt, "Collected"):
                there = self.donated.pop((QUOTE, "Insurance"), 0)
                fine = there == event.args.units
                self.must("I01", fine, f"{there} lay in the fund, {event.args} was booked")
            for event in world.mandates.events(receipt):
                if event.name == "OperatorChanged":
                    args = event.args
                    granted = (args.permissions, args.expires_at)
                    self.grants[args.account, args.operator] = granted
                if event.name == "BudgetArmed":
                    self.lifetimes[event.args.owner] = event.args.lifetime // MICRO_WAD
                if event.name == "Rebalanced":
                    owner = self.cast.owner_address(event.args.account)
                    left = self.lifetimes.get(owner, 0) - -(-event.args.loss // MICRO_WAD)
                    self.lifetimes[owner] = left

    def after_wait(self, before: State, after: State) -> None:
        """Only time has passed."""
        self._of_state(after)
        self._of_vault(before, after)
        self.of_endings(before, after)
        if self.held("I44", after.time > before.time):
            for account in self.cast.everyone:
                same = before.words(account) == after.words(account)
                self.must("I44", same, f"time changed {self.cast.labels[account]}")
            for what in (
                *("balances", "markets", "market_words", "pool_shares", "claims"),
                *("endings", "closed"),
            ):
                same = getattr(before, what) == getattr(after, what)
                self.must("I44", same, f"time changed {what}")
        if self.held("I08", before.vault["debt_shares"] != 0 and after.time > before.time):
            accounts = self.cast.accounts
            accrued = sum(after.debt_units(a) - before.debt_units(a) for a in accounts)
            credited = sum(
                after.vault[key] - before.vault[key] for key in ("totalAssets", "reserves")
            )
            slack = len(accounts)  # each debt was rounded up before
            self.must("I08", accrued + slack >= credited, f"{accrued} accrued, {credited} credited")

    def after(self, step: Step, outcome: Outcome, before: State, after: State) -> None:
        """All checks after one action."""
        kept_before = self.kept
        self.note(outcome)
        self.of_watches(outcome, kept_before)
        if after is not before:
            self._of_state(after)
            self.of_endings(before, after)
        self._of_vault(before, after, outcome)
        self._of_prices(before, after)
        self._of_tokens(before, after)
        self.of_foretold(step, outcome, before, after)
        if not outcome.is_accepted and len(step.calls) == 1:
            self._nothing_changed(before, after)
            return
        self._of_others(step, outcome, before, after)
        self._of_caps(before, after)
        self.of_fills(outcome, before, after)
        self.of_value(step, outcome, before, after)
        self.of_headroom(outcome, after)
        self.of_exit(outcome, after)
        self.of_liquidations(outcome, before, after)
        for call, receipt in outcome.receipts:
            self._of_risk(call, receipt, before, after)
            self._of_swaps(receipt, before)
            if (call.contract, call.function) in REBALANCES:
                self._of_rebalance(call, receipt, before, after)
            is_swap = bool(self.cast.world.clearinghouse.events(receipt, "Swapped"))
            if is_swap or call.contract == "LiquidityVault":
                self._of_allowances()

    # ---- one state

    def _of_state(self, now: State) -> None:
        cast = self.cast
        self.held("I31", now.is_any_price_bad or any(now.account_words.values()))
        self.must("I31", not now.failures, f"views reverted: {now.failures}")
        self.held("I42")
        self.must("I42", now.call_state == 0, f"call state {now.call_state}")
        self.must("I42", not cast.watch.left_behind, f"left {cast.watch.left_behind} behind")
        self._of_custody(now)
        self._of_shares(now)
        self._of_lists(now)
        self.of_markets(now)
        self.of_ended(now)
        self.of_model(now)
        self.of_pool(now)
        for account in cast.accounts:
            if self.held("I22", now.debt_shares(account) != 0):
                covered = any(now.collateral_wad(account, name) for name in cast.names)
                covered = covered or now.has_perpetual(account)
                negative = now.terms[account].equity_maint < 0
                label = cast.labels[account]
                self.must("I22", covered or negative, f"{label} owes and shows no loss")
                unit = cast.unit(QUOTE)
                self.must("I22", now.cash_wad(account) < unit, f"{label} has cash and a debt")
        for name, mark in now.marks.items():
            risk = mark.risk
            self.held("I40")
            apart = (
                2 * risk.r_init_e6 >= 3 * risk.r_maint_e6
                and 2 * risk.l_init_e6 >= 3 * risk.l_maint_e6
            )
            self.must("I40", apart, f"{name}: initial below 1.5 maintenance, {risk}")
        factor = now.vault["reserve_factor_bps"]
        self.must("I40", factor <= MAX_RESERVE_FACTOR_BPS, f"reserve factor {factor}")

    def _of_custody(self, now: State) -> None:
        """I01 to the unit: what lies in a contract is what it owes and what was given to it."""
        cast = self.cast
        for name in cast.names:
            ledger = sum(now.collateral_wad(account, name) for account in cast.everyone)
            total = now.supplies[name] & LOW_128
            self.must("I01", ledger == total, f"{name}: positions {ledger}, supply word {total}")
            self._balance_is(now, name, "Clearinghouse", ledger // cast.unit(name))
            self.held("I01", total != 0)
        cash = sum(now.cash_wad(account) for account in cast.everyone)
        self.must("I01", cash % cast.unit(QUOTE) == 0, f"cash {cash} is no number of units")
        self._balance_is(now, QUOTE, "Clearinghouse", cash // cast.unit(QUOTE))
        self.held("I01", cash != 0)
        self._balance_is(now, QUOTE, "LendingVault", now.vault["idle"])
        escrow = now.pool["waiting"] + now.pool["set_aside"]
        self.held("I01 pool", escrow != 0)
        self._balance_is(now, QUOTE, "LiquidityVault", escrow)
        self.held("I26")
        for contract in cast.contracts:
            if contract == "Clearinghouse" or contract in cast.venues:
                continue
            for name in (*cast.names, QUOTE):
                if (name, contract) == (QUOTE, "Keepers"):
                    self._balance_is(now, name, contract, self.kept, "I49")
                elif name != QUOTE or contract not in ("LendingVault", "LiquidityVault"):
                    self._balance_is(now, name, contract, 0, "I26")

    def _balance_is(
        self, now: State, token: str, holder: str, units: int, invariant: str = "I01"
    ) -> None:
        held, given = now.balances[token, holder], self.donated[token, holder]
        if held != units + given:
            message = f"{holder} holds {held} {token}, owes {units}, was given {given}"
            self.must(invariant, False, message)

    def _of_shares(self, now: State) -> None:
        cast, vault = self.cast, now.vault
        self.held("I03", vault["totalSupply"] != 0)
        same = sum(now.shares.values()) == vault["totalSupply"] == vault["supply"]
        self.must("I03", same, f"{sum(now.shares.values())} shares of {vault['totalSupply']}")

        debtors = [account for account in cast.accounts if now.debt_shares(account)]
        shares = sum(now.debt_shares(account) for account in debtors)
        self.held("I04", shares != 0)
        self.must("I04", shares == vault["debt_shares"], f"{shares} of {vault['debt_shares']}")
        owed = sum(now.debt_units(account) for account in debtors)
        lent = vault["debt_shares"] * vault["index_wad"] // WAD
        self.must("I04", lent <= owed <= lent + len(debtors) + 1, f"owed {owed}, lent {lent}")

        total = max(vault["idle"] + lent - vault["reserves"], 0)
        self.held("I05", vault["reserves"] != 0)
        self.must("I05", total == vault["totalAssets"], f"{vault['totalAssets']}, not {total}")

        use = vault["utilisation_wad"]
        self.held("I09", use != 0)
        self.must("I09", 0 <= use <= WAD, f"utilisation {use}")
        self.must("I09", vault["borrow_rate_ray"] <= MAX_RATE_RAY, f"{vault['borrow_rate_ray']}")

    def _of_lists(self, now: State) -> None:
        """Dense, without duplicates, complete; and marked exactly where there is a perpetual."""
        cast = self.cast
        if not self.is_new("lists", now.listed, now.positions, now.costs):
            return
        for account in cast.everyone:
            listed = now.listed[account]
            count = listed >> 128 & 255
            ids = [listed >> 8 * i & 255 for i in range(16)]
            held = {now.ids[n]: now.held(account, n) for n in cast.names}
            wanted = {asset for asset, p in held.items() if p.word or p.cost_word}
            self.held("I27", count != 0)
            dense = set(ids[:count]) == wanted and len(wanted) == count and not any(ids[count:])
            label = cast.labels[account]
            self.must("I27", dense, f"{label}: list {ids}, count {count}, holds {wanted}")
            bits = listed >> PERPETUALS_SHIFT
            marked = {asset for slot, asset in enumerate(ids) if bits >> slot & 1}
            carried = {asset for asset, p in held.items() if p.has_perpetual}
            self.held("I27 marked", bool(carried))
            fine = marked == carried and bits < 1 << count
            self.must("I27", fine, f"{label}: marked {marked}, perpetuals in {carried}")
            for asset in wanted - carried:
                self.must("I27", not held[asset].cost_word, f"{label}: a cost without a mark")

    # ---- two states

    def _of_vault(self, before: State, after: State, outcome: Outcome | None = None) -> None:
        """I06, I07; only a loss that was realised lowers the price of shares, and by no more."""
        old, new, vault = before.vault, after.vault, self.cast.world.system.vault
        receipts = [receipt for _, receipt in outcome.receipts] if outcome else []
        losses = [e for receipt in receipts for e in vault.events(receipt, "BadDebtRealised")]
        lost = sum(event.args.assets for event in losses)
        self.held("I06", new != old)
        self.held("I06 loss", lost != 0)
        left = (new["totalAssets"] + lost + 1) * (old["supply"] + VIRTUAL_SHARES)
        right = (old["totalAssets"] + 1) * (new["supply"] + VIRTUAL_SHARES)
        self.must("I06", left >= right, f"the share price fell: {old} to {new}, {lost} lost")
        self.held("I07", new["index_wad"] > old["index_wad"])
        self.must("I07", new["index_wad"] >= old["index_wad"], "the index fell")
        still = after.time > before.time or new["index_wad"] == old["index_wad"]
        self.must("I07", still, "the index moved within a second")
        self.must("I07", new["accrued_at"] <= after.time, "accrued in the future")
        if any(vault.events(receipt, "RateUpdated") for receipt in receipts):
            return
        low, high = sorted((old, new), key=lambda state: state["utilisation_wad"])
        self.held("I09", low["utilisation_wad"] < high["utilisation_wad"])
        fine = low["borrow_rate_ray"] <= high["borrow_rate_ray"]
        self.must("I09", fine, f"the rate falls as utilisation rises: {low} and {high}")

    def _of_prices(self, before: State, after: State) -> None:
        """I32: where prices fell or stayed and nothing else moved, no excess rose."""
        marks = [(before.marks[name], after.marks[name]) for name in self.cast.names]
        fell = all(new.price_wad <= old.price_wad for old, new in marks)
        same_rates = all(new.risk == old.risk for old, new in marks)
        if before.time != after.time or not (fell and same_rates):
            return
        if all(new.price_wad == old.price_wad for old, new in marks):
            return
        for account in self.cast.accounts:
            if before.words(account) != after.words(account) or not after.listed[account]:
                continue
            if after.has_perpetual(account):  # a requirement may fall faster than what it secures
                continue
            self.held("I32")
            old_terms, new_terms = before.terms[account], after.terms[account]
            fine = (
                new_terms.excess_init <= old_terms.excess_init
                and new_terms.excess_maint <= old_terms.excess_maint
            )
            self.must("I32", fine, f"{self.cast.labels[account]} gained from a fall")

    def _of_tokens(self, before: State, after: State) -> None:
        for token, supply in after.token_supplies.items():
            moved = any(
                after.balances[token, h] != before.balances[token, h] for h in self.cast.holders
            )
            self.held("I02", moved)
            total = sum(after.balances[token, holder] for holder in self.cast.holders)
            self.must("I02", total == supply, f"{token}: {total} of {supply} found")
            self.must("I02", supply == before.token_supplies[token], f"{token} was created")

    def _nothing_changed(self, before: State, after: State) -> None:
        for what in (
            *("account_words", "listed", "positions", "costs", "settings", "supplies", "balances"),
            *("markets", "market_words", "sides", "pool", "pool_shares", "claims"),
            *("endings", "closed"),
        ):
            same = getattr(before, what) == getattr(after, what)
            self.must("I24", same, f"a refused action changed {what}")

    def _touched(self, step: Step, outcome: Outcome) -> set[int]:
        """Accounts that the accepted transactions name or that their steps drew on."""
        found: set[int] = set()

        def collect(value: Any) -> None:
            if isinstance(value, (list, tuple)):
                for item in value:
                    collect(item)
            elif value in self.cast.labels:
                found.add(value)

        system = self.cast.world.system
        ledger = system.clearinghouse
        for call, receipt in outcome.receipts:
            if call.contract in ROOMS:
                collect(call.args)
            if call.contract == "TokenLiquidator":
                found.add(self.cast.transit)
            if call.contract == "LiquidityVault" and call.function.startswith("fulfil"):
                found.add(self.cast.house)
            for event in ledger.events(receipt, "Transferred"):
                pair = {event.args.donor, event.args.receiver}
                owners = {account >> 8 for account in pair}
                self.must("I24", len(owners) == 1, "a transfer between two owners")
                found |= pair
            for event in in_order(receipt, ledger, system.perps):
                if event.name in ("Traded", "Settled"):
                    self.held("I24 traded")
                    named = event.args.account in found
                    self.must("I24", named, f"{event.name} {event.args.account} was not named")
                    found.add(self.cast.house)
            if call.contract == "Insurance":
                found.add(self.cast.insurance)
            # What others bear of a deficit, and what insurance gets.
            for event in system.liquidator.events(receipt):
                if event.name == "CashPaid":
                    pair = {event.args.payer, event.args.payee}
                    named = pair <= found | {self.cast.insurance, self.cast.house}
                    self.must("I24", named, f"{event} names others")
                    found |= pair
                elif event.name == "HoldingsTaken" and event.args.taker == self.cast.house:
                    found.add(self.cast.house)
        return found

    def _of_others(self, step: Step, outcome: Outcome, before: State, after: State) -> None:
        """I24 and I25: who was not named is untouched, and nobody takes from another."""
        cast = self.cast
        touched = self._touched(step, outcome)
        others = [account for account in cast.everyone if account not in touched]
        self.held("I24", any(after.listed[account] for account in others))
        for account in others:
            label = cast.labels[account]
            self.must("I24", before.words(account) == after.words(account), f"{label} changed")
            same = before.settings.get(account) == after.settings.get(account)
            self.must("I24", same, f"settings of {label} changed")
            if step.kind not in ENVIRONMENT and not _moves_marks(outcome):
                same = before.terms[account] == after.terms[account]
                self.must("I24", same, f"margin of {label} changed")
        if len(outcome.receipts) != 1 or step.kind in ENVIRONMENT:
            return
        call, receipt = outcome.receipts[0]
        sender = cast.roles[call.sender]
        for event in cast.world.clearinghouse.events(receipt, "Withdrawn"):
            owner = cast.owner_address(event.args.account)
            fine = owner in (sender, event.args.receiver) or event.args.account == cast.transit
            self.must("I25", fine, f"{call.sender} sent the tokens of another elsewhere")
        if (call.contract, call.function) in OPEN_TO_ALL:
            return
        is_liquidated = is_liquidation(cast.world.system.liquidator, receipt)
        if (call.contract, call.function) not in FORETOLD and not is_liquidated:
            self._of_strangers(call, before, after)
        if (call.contract, call.function) != ("Deleverager", "adl"):
            pulls = cast.world.mandates.events(receipt, "WalletPulled") if is_liquidated else []
            self._of_wallets(call, pulls, before, after)

    def _of_strangers(self, call: Call, before: State, after: State) -> None:
        """I25 for one accepted transaction: whatever is not its sender's does not get less."""
        cast = self.cast
        for account in cast.accounts:
            if cast.owner_role(account) == call.sender:
                continue
            label = cast.labels[account]
            same = before.settings[account] == after.settings[account]
            self.must("I25", same, f"{call.sender} changed the settings of {label}")
            self.held("I25")
            less = after.debt_shares(account) > before.debt_shares(account) or any(
                after.collateral_wad(account, n) < before.collateral_wad(account, n)
                for n in cast.names
            )
            less = less or after.cash_wad(account) < before.cash_wad(account)
            less = less or any(
                after.size_wad(account, n) != before.size_wad(account, n)
                or after.costs[account, n] != before.costs[account, n]
                for n in cast.market_names
            )
            if less:
                allowed, until = self.grants.get((account, cast.roles[call.sender]), (0, 0))
                fine = allowed & 62 != 0 and before.time < until
                self.must("I25", fine, f"{call.sender} took from {label}")

    def _of_wallets(self, call: Call, pulls: Sequence[Event], before: State, after: State) -> None:
        """I25: nor does what is in the wallets of others, but for what a rescue may pull."""
        cast = self.cast
        pulled: Counter[tuple[str, str]] = Counter()
        told: Counter[int] = Counter()
        for event in pulls:
            role = cast.owner_role(event.args.account)
            pulled[QUOTE, role] += event.args.amount // cast.unit(QUOTE)
            told[event.args.account] += event.args.amount
        for account, amount_wad in told.items():
            left = before.wallets[account] - amount_wad
            self.must("I16", after.wallets[account] == left, "a rescue's pull is not counted")
        for role in cast.roles:
            if role in (call.sender, "governor"):
                continue
            for token in (*cast.names, QUOTE):
                lost = before.balances[token, role] - after.balances[token, role]
                fine = lost <= pulled[token, role]
                self.must("I25", fine, f"{call.sender} took {token} out of the wallet of {role}")
            fine = after.shares[role] >= before.shares[role]
            fine = fine and after.pool_shares[role] >= before.pool_shares[role]
            self.must("I25", fine, f"{call.sender} took shares of {role}")
        for (provider, view), most in before.claims.items():
            fine = provider == call.sender or after.claims[provider, view] >= most
            self.must("I25", fine, f"{call.sender} claimed what is due to {provider}")

    def _of_caps(self, before: State, after: State) -> None:
        for name, word in after.supplies.items():
            total, cap = word & LOW_128, word >> 128
            if self.held("I28", total > before.supplies[name] & LOW_128):
                self.must("I28", total <= cap, f"{name}: {total} above the cap {cap}")
        old, new = before.vault, after.vault
        if self.held("I28", new["supply"] > old["supply"]):
            fine = new["totalAssets"] <= new["deposit_cap"]
            self.must("I28", fine, f"vault: {new['totalAssets']} above its cap")
        if self.held("I28 pool", after.pool["waiting"] > before.pool["waiting"]):
            taken = after.pool["totalAssets"] + after.pool["waiting"]
            fine = taken <= after.pool["deposit_cap"]
            self.must("I28", fine, f"liquidity vault: {taken} above its cap")
        if new["debt_shares"] > old["debt_shares"]:
            debt = -(-new["debt_shares"] * new["index_wad"] // WAD)
            fine = debt * BPS <= (new["idle"] + debt) * MAX_USE_BPS + BPS
            self.must("I28", fine, f"lent beyond the limit: {debt} beside {new['idle']}")

    # ---- risk

    def _risky_accounts(self, call: Call, receipt: Receipt) -> set[int]:
        """Accounts whose margin the transaction has to leave sound."""
        if call.contract != "Clearinghouse":
            return set()
        # Whatever does more than turn collateral into cash; with a short against it, a sale takes a
        # hedge away.
        found = {
            event.args.account
            for event in self.cast.world.clearinghouse.events(receipt, "Swapped")
            if event.args.asset_out or Position.from_word(event.args.word_in).size_wad < 0
        }
        if call.function in ("withdraw", "transfer"):
            found.add(call.args[0])
        if call.function == "batch":
            found |= {account for kind, account, *_ in call.args[0] if kind in (2, 4)}
        return found

    def _net_wad(self, state: State, account: int) -> int:
        return state.cash_wad(account) - state.debt_units(account) * self.cast.unit(QUOTE)

    def _is_bound(self, state: State, account: int) -> bool:
        """Whether there is something that margin has to cover."""
        return state.debt_shares(account) != 0 or state.has_perpetual(account)

    def _of_risk(self, call: Call, receipt: Receipt, before: State, after: State) -> None:
        cast = self.cast
        risky = self._risky_accounts(call, receipt)
        for account in risky:
            if not self._is_bound(after, account):
                continue
            label = cast.labels[account]
            self.held("I11")
            excess = after.terms[account].excess_init
            self.must("I11", excess >= 0, f"{label} left with excess {excess}")
            refusal = after.book.increase_refusal(account)
            self.must("I29", refusal == "", f"{label} grew risk on bad prices: {refusal}")
        if call.contract not in ("Clearinghouse", "Perps"):
            return
        # Rounding of a repayment, once per action of a batch.
        index = after.vault["index_wad"]
        slack = 16 * (Loans(index, cast.unit(QUOTE)).repayment_loss_wad + cast.unit(QUOTE))
        traded = {event.args.account for event in cast.world.system.perps.events(receipt, "Traded")}
        for account in traded - risky:
            old, new = before.terms[account], after.terms[account]
            eased = Terms(new.equity_init + slack, new.required_init, new.equity_maint + slack)
            eased = replace(eased, required_maint=new.required_maint)
            safer = is_no_riskier(old, eased, [])
            self.held("I11 traded", not safer)
            refusal = "" if safer else after.book.increase_refusal(account)
            self.must("I11", refusal == "", f"{cast.labels[account]} traded: {refusal}")
        for account in cast.accounts:
            old, new = before.terms[account], after.terms[account]
            if account in risky | traded or before.words(account) == after.words(account):
                continue
            self.held("I12")
            label = cast.labels[account]
            fine = new.excess_init >= old.excess_init - slack
            self.must("I12", fine, f"{label}: initial excess fell by {call.function}")
            fine = new.excess_maint >= old.excess_maint - slack
            self.must("I12", fine, f"{label}: maintenance excess fell by {call.function}")

    def _of_swaps(self, receipt: Receipt, before: State) -> None:
        """I29: prices of swaps are live, and proceeds within the limit of the oracle's value."""
        cast = self.cast
        by_id = {cast.world.asset(name): name for name in (*cast.names, QUOTE)}
        for event in cast.world.clearinghouse.events(receipt, "Swapped"):
            self.held("I29")
            values, limits = [], [0]
            for asset, units in (
                (event.args.asset_in, event.args.amount_in),
                (event.args.asset_out, event.args.amount_out),
            ):
                name = by_id[asset]
                amount = units * cast.unit(name)
                if name == QUOTE:
                    values.append(amount * WAD)
                    continue
                mark = before.marks[name]
                answer, at = before.rounds[name]
                live = answer > 0 and before.time - at <= 3_900 and mark.bounds_swap
                quote_answer, _ = before.rounds[QUOTE]
                self.must("I29", live and quote_answer > 0, f"{name} swapped at a bad price")
                values.append(amount * mark.price_wad)
                word = cast.world.clearinghouse.asset_word(asset)
                limits.append(min(word >> 232, mark.risk.l_init_e6 // 100))
            fine = values[1] * BPS >= values[0] * (BPS - max(limits))
            self.must("I29", fine, f"a swap lost more than {max(limits)} bp")

    # ---- mandates

    def _of_rebalance(self, call: Call, receipt: Receipt, before: State, after: State) -> None:
        cast = self.cast
        account = call.args[0]
        label = cast.labels[account]
        (event,) = cast.world.mandates.events(receipt, "Rebalanced")
        moves = cast.world.clearinghouse.events(receipt, "Transferred")
        trades = cast.world.system.perps.events(receipt, "Traded")
        has_traded = bool(trades or cast.world.clearinghouse.events(receipt, "Swapped"))
        guard = cast.world.mandates.guard_of(account)
        old, new = before.terms[account], after.terms[account]

        self.held("I14")
        shortfalls = [terms.shortfall_up(guard.target_bps) for terms in (old, new)]
        self.must("I14", shortfalls[1] <= shortfalls[0], f"{label}: shortfall {shortfalls}")
        donors = {move.args.donor for move in moves}
        self.held("I14 traded", bool(trades))
        self.must("I14", all(t.args.account == account for t in trades), "traded for another")
        self.must("I15", all(m.args.receiver == account for m in moves), "moved elsewhere")
        rounding = self._rounding_wad(receipt, event.args.hook)
        for who in {account, *donors}:
            old_terms, new_terms = before.terms[who], after.terms[who]
            lost = max(
                old_terms.excess_init - new_terms.excess_init,
                old_terms.excess_maint - new_terms.excess_maint,
            )
            kept = lost <= (rounding if who == account else 0)
            message = f"{cast.labels[who]} left weaker: {old_terms} to {new_terms}"
            self.must("I14", new_terms.excess_init >= 0 or kept, message)
        given_wad = {
            name: sum(
                before.collateral_wad(d, name) - after.collateral_wad(d, name) for d in donors
            )
            for name in cast.names
        }
        allocation = _allocation_of(cast, account)
        is_allocated = has_traded and allocation != Allocation()
        if is_allocated:
            self._of_allocation(account, allocation, given_wad, before, after)
        elif has_traded:
            most = -(-new.required_init * (guard.target_bps + guard.band_bps) // BPS)
            self.held("I14 alone")
            self.must("I14", new.equity_init <= most, f"{label} traded beyond its target")
        for name in cast.names:
            is_still = before.positions[account, name] == after.positions[account, name]
            # Whether an allocation may want more of it; how much is judged by I50.
            has_weight = allocation.weight_of(before.ids[name]) is not None
            may_grow = has_traded and (has_weight or allocation.ceiling_bps != 0)
            self.held("I14 exposure", not is_still and not may_grow)
            was, delta = before.held(account, name).delta_wad, after.held(account, name).delta_wad
            fine = min(was, 0) <= delta <= max(was, 0) + given_wad[name] or is_still or may_grow
            self.must("I14", fine, f"{label}: exposure to {name} grew from {was} to {delta}")

        for donor in donors:
            self.held("I15")
            floor = cast.world.mandates.guard_of(donor).floor_bps
            least = -(-after.terms[donor].required_init * floor // BPS)
            fine = floor != 0 and after.terms[donor].equity_init >= least
            self.must("I15", fine, f"{cast.labels[donor]} gave below its floor {floor}")
            self.must("I15", donor >> 8 == account >> 8, "a donor of somebody else")
            fine = after.debt_shares(donor) <= before.debt_shares(donor)
            self.must("I15", fine, f"{cast.labels[donor]} borrowed to give")
            for name in cast.market_names:
                same = before.size_wad(donor, name) == after.size_wad(donor, name)
                same = same and before.costs[donor, name] == after.costs[donor, name]
                self.must("I15", same, f"{cast.labels[donor]} gave perpetuals")
            if self.held("I11", self._is_bound(after, donor)):
                fine = after.terms[donor].excess_init >= 0
                self.must("I11", fine, f"{cast.labels[donor]} gave below its initial margin")
                refusal = after.book.increase_refusal(donor)
                self.must("I29", refusal == "", f"{cast.labels[donor]} gave on bad prices")

        self._of_losses(call, receipt, event, donors, before, after)
        refusals = cast.world.rebalancer.events(receipt, "StepRefused")
        sizes = {(e.args.kind, e.args.asset): e.args.amount for e in refusals}
        for taken in cast.world.rebalancer.events(receipt, "StepTaken"):
            size = sizes.get((taken.args.kind, taken.args.asset), 0)
            if self.held("I48", taken.args.kind == SELL_STEP and taken.args.amount < size):
                fine = shortfalls[1] < shortfalls[0] or shortfalls[0] == 0
                self.must("I48", fine, f"{label} sold in part and is no nearer: {shortfalls}")
        self.held("I17")
        plan = cast.world.rebalancer.plan(account)
        is_default_hook = event.args.hook == cast.world.rebalancer.address
        if plan.code == READY and is_default_hook and plan.shortfall == shortfalls[1]:
            refused = [e for e in cast.world.rebalancer.events(receipt) if "Refused" in e.name]
            self.held("I17 in part")
            fine = bool(refused) and shortfalls[1] < shortfalls[0]
            self.must("I17", fine, f"{label} is ready at once again: {shortfalls}")

    def _of_allocation(
        self,
        account: int,
        allocation: Allocation,
        given_wad: Mapping[str, int],
        before: State,
        after: State,
    ) -> None:
        """I50: what grew and what was cut is no more than the allocation lets it be. What siblings
        brought is no growth, so it counts as there before."""
        cast = self.cast
        guard = cast.world.mandates.guard_of(account)
        old, new = (_scene(state, account, guard.target_bps) for state in (before, after))
        is_grown = any(
            abs(leg.position.delta_wad) > abs(old.own.position(leg.asset).delta_wad)
            for leg in new.own.legs(new.marks)
        )
        self.held("I50")
        self.held("I50 grown", is_grown)
        if any(given_wad.values()):
            return
        refusal = is_within(old, new, allocation, band_bps=guard.band_bps)
        self.must("I50", refusal == "", f"{cast.labels[account]} passed with {refusal}")

    def _of_losses(
        self,
        call: Call,
        receipt: Receipt,
        event: Event,
        donors: set[int],
        before: State,
        after: State,
    ) -> None:
        """I16: losses within the budget, wallet pulls within the cap, nothing for the caller."""
        cast, account = self.cast, call.args[0]
        owner, role = cast.owner_address(account), cast.owner_role(account)
        pulled = before.balances[QUOTE, role] - after.balances[QUOTE, role]
        pulled_wad = pulled * cast.unit(QUOTE)
        lost = pulled_wad + sum(
            before.terms[who].equity_maint - after.terms[who].equity_maint
            for who in {account, *donors}
        )
        pulls = cast.world.mandates.events(receipt, "WalletPulled")
        rounding = self._rounding_wad(receipt, event.args.hook)
        loss = event.args.loss
        self.held("I16", loss != 0)
        fine = max(lost - rounding, 0) <= loss <= max(lost, 0)
        self.must("I16", fine, f"lost {lost} with {rounding} of rounding, recorded {loss}")
        spent = -(-loss // MICRO_WAD) * MICRO_WAD
        left = before.budgets[owner]
        self.must("I16", spent <= left, f"lost {spent} of a budget of {left}")
        self.must("I16", after.budgets[owner] == left - spent, "the budget miscounts")
        self.must("I16", self.lifetimes.get(owner, 0) >= 0, "lost more than the lifetime")
        told = sum(pull.args.amount for pull in pulls)
        self.must("I16", pulled_wad == told, f"pulled {pulled_wad}, events say {told}")
        fine = pulled_wad <= before.wallets[account]
        self.must("I16", fine, f"pulled {pulled_wad} of {before.wallets[account]}")
        left = before.wallets[account] - pulled_wad
        self.must("I16", after.wallets[account] == left, "the wallet cap miscounts")
        for token in (*cast.names, QUOTE):
            gained = after.balances[token, call.sender] > before.balances[token, call.sender]
            self.must("I16", not gained, f"the caller gained {token}")

    def _rounding_wad(self, receipt: Receipt, hook: str) -> int:
        """What the steps of a mandate with cash may cost; one that asked for a gain counts, whether
        anything moved or not."""
        world = self.cast.world
        events = world.clearinghouse.events(receipt)
        moved = (e for e in events if e.name == "Transferred" and e.args.asset == 0)
        steps = len(world.mandates.events(receipt, "WalletPulled")) + len(list(moved))
        steps += sum(event.name == "Swapped" for event in events)
        if hook == self.cast.hook.address:
            selector = world.mandates.settle.encode(0)[:4]
            steps += sum(data[:4] == selector for _, data in self.script)
        else:
            taken = world.rebalancer.events(receipt, "StepTaken")
            steps += sum(step.args.kind == SETTLE_STEP for step in taken)
        return ROUNDING_UNITS * steps * self.cast.unit(QUOTE)

    def _of_allowances(self) -> None:
        """I26: none of our contracts lets anybody move its tokens."""
        left = self.cast.reader.ask(self._allowances)
        for (holder, spender), raw in left.items():
            units = int.from_bytes(raw, "big")
            self.must("I26", units == 0, f"{holder} lets {spender} take {units}")

    @cached_property
    def _allowances(self) -> Sequence[Question]:
        world = self.cast.world
        spenders = (
            *(world.venue.address, world.rebalancer.address, world.attacker),
            *(contract.address for contract in self.cast.venues.values()),
            world.clearinghouse.address,
        )
        return [
            (
                (contract.name, f"{spender} {name}"),
                token.address,
                token.allowance.encode(contract.address, spender),
            )
            for name, token in world.tokens.items()
            for contract in (*world.system.contracts.values(), world.venue)
            for spender in spenders
        ]

    # ---- on a copy of the world

    @contextmanager
    def _aside(self) -> Iterator[Callable[..., Any]]:
        """A copy on which everything that is tried must be accepted."""
        with self.cast.world.isolated():
            yield self._attempt

    def _attempt(self, invariant: str, function: Any, *args: Any, sender: str) -> Receipt:
        try:
            receipt: Receipt = function.transact(*args, sender=self.cast.roles[sender])
        except Reverted as error:
            raise Broken(invariant, f"{function} of {args} was refused: {error}") from error
        return receipt

    def exits_are_open(self, account: int, are_feeds_dead: bool) -> None:
        """I23: repaying, adding and leaving work in every state, also without a single price."""
        cast, world = self.cast, self.cast.world
        ch, owner = world.clearinghouse, cast.owner_role(account)
        with self._aside() as attempt:
            if are_feeds_dead:
                for feed in world.feeds.values():
                    feed.set_answer(0, sender=world.governor)
            state = cast.read()
            self.must("I31", not state.failures, f"views reverted: {state.failures}")
            if state.debt_shares(account):
                attempt("I23", ch.repay, account, UNLIMITED, sender="lender")
                self.held("I23 repay")
            attempt("I23", ch.deposit, account, 0, 10**6, sender="lender")
            self.held("I23")
            state = cast.read()
            fine = state.debt_shares(account) == 0
            self.must("I23", fine, "a debt is left after repaying all of it")
            for name in cast.market_names:
                if state.size_wad(account, name):
                    self._close(account, name, state, attempt)
                    state = cast.read()
            if state.has_perpetual(account):  # or a margin test would be in the way
                return
            if state.debt_shares(account):  # of a loss that was settled
                attempt("I23", ch.repay, account, UNLIMITED, sender="lender")
            self.held("I23 exit")
            home = cast.owner_address(account)
            for name in (*cast.names, QUOTE):
                units = (
                    state.cash_wad(account)
                    if name == QUOTE
                    else state.collateral_wad(account, name)
                ) // cast.unit(name)
                if units:
                    args = (account, world.asset(name), units, home)
                    attempt("I23", ch.withdraw, *args, sender=owner)
            state = cast.read()
            empty = not any(state.words(account)[1:]) and not state.debt_shares(account)
            self.must("I23", empty, f"{cast.labels[account]} could not leave entirely")

    def _close(
        self, account: int, name: str, state: State, attempt: Callable[..., Receipt]
    ) -> None:
        """A live position closes whatever caps, mode and breaker say, but for its margin; one whose
        market has ended by anybody, without a price."""
        size, asset = state.size_wad(account, name), state.ids[name]
        if self.held("I23 ended", state.markets[name].is_latched):
            wind_down = self.cast.world.system.deleverager.wind_down
            attempt("I23", wind_down, asset, [account], sender="stranger")
            fine = self.cast.read().size_wad(account, name) == 0
            self.must("I23", fine, f"{name} has ended and {self.cast.labels[account]} is in it")
            return
        if not state.marks[name].is_live:
            return
        order = Order(account, asset, -size, reduce_only=True)
        try:
            state.book.trade(order)
        except Refused as refused:
            is_margin = refused.reason.startswith("margin: ")
            self.held("I23 close refused")
            self.must("I23", is_margin, f"{name} cannot be closed: {refused}")
            return
        self.held("I23 close")
        limit = UNLIMITED if size < 0 else 0
        args = (account, asset, -size, limit, state.time, True)
        trade = self.cast.world.system.perps.trade
        attempt("I23", trade, *args, sender=self.cast.owner_role(account))

    def round_trips_cost(self, units: int) -> None:
        """I10: into the vault and out again, or into a debt and out again, gains nothing."""
        cast, world = self.cast, self.cast.world
        vault, attacker = world.system.vault, world.attacker
        with self._aside():
            start = world.quote.balanceOf(attacker)
            try:
                receipt = vault.deposit(units, attacker, sender=attacker)
                shares = receipt.return_value
                vault.redeem(shares, attacker, attacker, sender=attacker)
            except Reverted:
                return
            self.held("I10")
            gained = world.quote.balanceOf(attacker) - start
            self.must("I10", gained <= 0, f"in and out of the vault gained {gained}")
        account = next(a for a in cast.accounts if cast.owner_role(a) == "attacker")
        with self._aside():
            old = cast.read()
            try:
                world.clearinghouse.withdraw(account, 0, units, attacker, sender=attacker)
                world.clearinghouse.deposit(account, 0, units, sender=attacker)
            except Reverted:
                return
            new = cast.read()
            self.held("I10")
            gained = self._net_wad(new, account) - self._net_wad(old, account)
            self.must("I10", gained <= 0, f"borrowing and repaying gained {gained}")

    def trades_cost(self, account: int, other: int, name: str, size_wad: int) -> None:
        """I10: to open and to close at one price gains nothing, alone, in parts or by two."""
        cast = self.cast
        asset = cast.world.asset(name)
        whole = self._traded(((account, size_wad), (account, -size_wad)), asset)
        self.held("I10 trades", whole is not None)
        half = size_wad // 2
        half -= half % SIZE_STEP_WAD
        parts = ((account, half), (account, size_wad - half), (account, -size_wad))
        split = self._traded(parts, asset)
        if whole is not None and split is not None:
            # Each fill price is rounded by a wei a unit.
            fine = abs(whole - split) <= 4 * (abs(size_wad) // WAD + 2)
            self.must("I10", fine, f"whole {whole}, in parts {split}")
        orders = ((account, size_wad), (other, -size_wad), (account, -size_wad), (other, size_wad))
        pair = self._traded(orders, asset)
        self.held("I10 pairs", pair is not None)

    def _traded(self, orders: Sequence[tuple[int, int]], asset: int) -> int | None:
        """What orders gain on a copy, whose positions are the same afterwards; None if refused."""
        cast = self.cast
        perps = cast.world.system.perps
        who = {account for account, _ in orders}
        with self._aside():
            old = cast.read()
            try:
                perps.refresh(sender=cast.roles["keeper"])
                for account, change in orders:
                    limit = UNLIMITED if change > 0 else 0
                    args = (account, asset, change, limit, old.time, False)
                    perps.trade(*args, sender=cast.owner_address(account))
            except Reverted:
                return None
            new = cast.read()
            gained = sum(new.terms[a].equity_maint - old.terms[a].equity_maint for a in who)
            self.must("I10", gained < 0, f"{orders} of asset {asset} gained {gained}")
            house = new.book.nav_wad - old.book.nav_wad
            fine = house >= -NAV_ROUNDING_WAD
            self.must("I10", fine, f"{orders} of asset {asset} cost the house {-house}")
            return gained

    def entries_cost(self, units: int) -> None:
        """I10: shares of the liquidity vault are worth no more than was paid for them."""
        cast, world = self.cast, self.cast.world
        pool, provider = world.system.liquidity_vault, cast.roles["provider"]
        keeper = cast.roles["keeper"]
        with self._aside():
            try:
                asked = pool.requestDeposit(units, provider, provider, sender=provider)
                world.chain.mine(1, ENTRY_WAIT_S)
                for feed in world.feeds.values():
                    feed.set_answer(feed.latestRoundData()[1], sender=world.governor)
                receipt = pool.fulfil_deposits(asked.return_value, sender=keeper)
            except Reverted:
                return
            self.held("I10 entry")
            shares, now = receipt.return_value, cast.read().pool
            value = shares * (now["exit_assets"] + 1) // (now["totalSupply"] + VIRTUAL_SHARES)
            (event,) = pool.events(receipt, "DepositsFulfilled")
            paid = event.args.assets
            self.must("I10", value <= paid, f"paid {paid} for shares worth {value}")

    def rebalances_end(self, account: int) -> None:
        """I17: with prices as they are, repeating makes the shortfall smaller or is refused."""
        world, cast = self.cast.world, self.cast
        with self._aside():
            world.chain.advance(12)
            plan = world.rebalancer.plan(account)
            is_default_hook = world.mandates.hook_of(account) == world.rebalancer.address
            if plan.code != READY or not is_default_hook:
                return
            guard = world.mandates.guard_of(account)
            before = cast.read().terms[account].shortfall_up(guard.target_bps)
            if plan.shortfall != before:
                self._comes_to_rest(account, plan.shortfall)
                return
            self.held("I17 again")
            try:
                receipt = world.mandates.rebalance(account, sender=world.keeper)
            except Reverted:
                return
            if world.rebalancer.events(receipt, "MarginCalled"):
                is_over = world.rebalancer.plan(account).code != READY
                self.must("I17", is_over, f"{cast.labels[account]} is called again and again")
                return
            left = cast.read().terms[account].shortfall_up(guard.target_bps)
            self.must("I17", left < before, f"repeated without getting nearer: {before} to {left}")

    def _comes_to_rest(self, account: int, wanted_wad: int) -> None:
        """I50: at prices that stay an allocation is reached, or refused, in few rebalances; in more
        where the policy has a maximum step."""
        world = self.cast.world
        self.held("I50 rest")
        step = world.rebalancer.bounds_of(account).max_step
        most = MOST_TO_REST + (wanted_wad // step if step else 0)
        for _ in range(most):
            world.chain.advance(3_600)
            if world.rebalancer.plan(account).code != READY:
                return
            try:
                world.mandates.rebalance(account, sender=world.keeper)
            except Reverted:
                return
        label = self.cast.labels[account]
        self.must("I50", False, f"{label} is not at rest after {most} rebalances")

    # ---- the end

    def events_tell_all(self) -> None:
        """I46: the words of the ledger, rebuilt from events, are the words in storage."""
        cast, world = self.cast, self.cast.world
        told, system = Told(cast.house), world.system
        tellers = (system.clearinghouse, system.perps, system.liquidator)
        for event in in_order(world.chain.logs(), *tellers):
            told.take(event)
        now = cast.read()
        for account in cast.everyone:
            self.held("I46", account in told.account_words)
            label = cast.labels[account]
            word = told.account_words.get(account, 0)
            self.must("I46", word == now.account_words[account], f"account word of {label}")
            same = told.listed.get(account, 0) == now.listed[account]
            self.must("I46", same, f"list of {label}")
            for name in cast.names:
                asset = now.ids[name]
                position = told.position(account, asset)
                same = position.word == now.positions[account, name]
                self.must("I46", same, f"position word of {label} in {name}")
                same = position.cost_word == now.costs.get((account, name), 0)
                self.must("I46", same, f"cost word of {label} in {name}")
        for name in cast.names:
            same = told.totals[now.ids[name]] == now.supplies[name] & LOW_128
            self.must("I46", same, f"total of {name}")
        for name in cast.market_names:
            self.held("I46 markets")
            same = told.markets.get(now.ids[name], 0) == now.market_words[name]
            self.must("I46", same, f"market word of {name}")
        self._settings_from_events(now)
        self._vault_from_events(now)
        self._pool_from_events(now)

    def _settings_from_events(self, now: State) -> None:
        cast, mandates = self.cast, self.cast.world.mandates
        guards: dict[int, tuple[str, int]] = {}
        allocations: dict[int, tuple[int, int]] = {}
        for event in cast.world.chain.events(mandates):
            args = event.args
            if event.name == "GuardChanged":
                guards[args.account] = (args.hook, args.guard_word)
            elif event.name == "AllocationChanged":
                allocations[args.account] = (args.limits_word, args.weights_word)
        for account, (hook, word) in guards.items():
            words = allocations.get(account, (0, 0))
            same = words == tuple(mandates.allocation_words(account))
            self.must("I46", same, f"allocation of {cast.labels[account]}")
            # Whether there is an allocation is kept beside the guard.
            stored = 0 if word == REVOKED else (word & ~ALLOCATES) | ALLOCATES * any(words)
            fine = stored == now.guards[account] and hook == mandates.hook_of(account)
            self.must("I46", fine, f"guard of {cast.labels[account]}")

    def _vault_from_events(self, now: State) -> None:
        cast, vault = self.cast, self.cast.world.system.vault
        shares: Counter[str] = Counter()
        debt = 0
        for event in cast.world.chain.events(vault):
            if event.name == "Transfer":
                shares[event.args.sender] -= event.args.value
                shares[event.args.receiver] += event.args.value
            elif event.name in ("Lent", "Repaid", "BadDebtRealised"):
                debt += event.args.shares * (1 if event.name == "Lent" else -1)
        self.must("I46", debt == now.vault["debt_shares"], "loan shares")
        for holder, address in cast.holders.items():
            self.must("I46", shares[address] == now.shares[holder], f"shares of {holder}")

    def _pool_from_events(self, now: State) -> None:
        """Shares, what waits, what is set aside and flagged in the liquidity vault."""
        cast, pool = self.cast, self.cast.world.system.liquidity_vault
        shares: Counter[str] = Counter()
        waiting = set_aside = bad_debt_wad = 0
        for event in cast.world.chain.events(pool):
            args = event.args
            if event.name == "Transfer":
                shares[args.sender] -= args.value
                shares[args.receiver] += args.value
            elif event.name == "DepositRequest":
                waiting += args.assets
            elif event.name == "DepositsFulfilled":
                waiting -= args.assets
            elif event.name == "RedemptionsFulfilled":
                set_aside += args.assets
            elif event.name == "Withdraw":
                set_aside -= args.assets
            elif event.name == "BadDebtFlagged":
                bad_debt_wad += args.new_wad - args.old_wad
        for holder, address in cast.holders.items():
            same = shares[address] == now.pool_shares[holder]
            self.must("I46", same, f"pool shares of {holder}")
        told = (waiting, set_aside, bad_debt_wad)
        found = (now.pool["waiting"], now.pool["set_aside"], now.pool["bad_debt_wad"])
        self.must("I46", told == found, f"liquidity vault: events say {told}, not {found}")


class Told:
    """The ledger as events tell it: its own, those of the markets for what was traded, those of the
    liquidator for what changed hands."""

    def __init__(self, house: int) -> None:
        self.house = house
        self.account_words: dict[int, int] = {}
        self.listed: dict[int, int] = {}
        self.totals: Counter[int] = Counter()
        self.markets: dict[int, int] = {}
        self._positions: dict[tuple[int, int], Position] = {}

    def position(self, account: int, asset: int) -> Position:
        """Position and cost."""
        return self._positions.get((account, asset), Position())

    def take(self, event: Event) -> None:
        """The next event."""
        args, name = event.args, event.name
        if name in ("Deposited", "Withdrawn"):
            self._put(args.account, args.asset, args.word)
        elif name == "Transferred":
            self._put(args.donor, args.asset, args.donor_word)
            self._put(args.receiver, args.asset, args.receiver_word)
        elif name == "Swapped":
            self._put(args.account, args.asset_in, args.word_in)
            self._put(args.account, args.asset_out, args.word_out)
        elif name == "AssetListChanged":
            self.listed[args.account] = args.listed
        elif name == "MarketTouched":
            self.markets[args.asset] = args.market_word
        elif name == "Traded":
            self.markets[args.asset] = args.market_word
            old = self.position(args.account, args.asset)
            size = replace(old, size_wad=old.size_wad + args.size_change)
            traded = Position.from_word(size.word, args.cost_word)
            self._positions[args.account, args.asset] = traded
            self._house(args.asset, -args.size_change, -args.cost_change)
        elif name == "Settled":
            word = self.position(args.account, args.asset).word
            settled = Position.from_word(word, args.cost_word)
            self._positions[args.account, args.asset] = settled
            self._house(args.asset, 0, -args.moved)
            pair = (self.house, args.account) if args.moved > 0 else (args.account, self.house)
            self._paid(*pair, args.payer_word, args.payee_word)
        elif name == "HoldingsTaken":
            for holding in args.holdings:
                entries = (holding.donor_entry_wad, holding.receiver_entry_wad)
                for who, sign, entry in zip(
                    (args.account, args.taker), (-1, 1), entries, strict=True
                ):
                    self._taken(who, sign, holding, entry)
        elif name == "CashPaid":
            self._paid(args.payer, args.payee, args.payer_word, args.payee_word)
        elif name == "DebtMoved":
            self.account_words[args.debtor] -= args.shares << 128
            if args.heir:
                word = self.account_words.get(args.heir, 0)
                self.account_words[args.heir] = word + (args.shares << 128)

    def _paid(self, payer: int, payee: int, payer_word: int, payee_word: int) -> None:
        self.account_words[payer] = payer_word
        self.account_words[payee] = payee_word

    def _taken(self, account: int, sign: int, holding: Any, entry_wad: int) -> None:
        old = self.position(account, holding.asset)
        if not holding.size_wad and not holding.cost_wad:
            entry_wad = old.entry_wad
        self._positions[account, holding.asset] = Position(
            old.collateral_wad + sign * holding.collateral_wad,
            old.size_wad + sign * holding.size_wad,
            old.cost_wad + sign * holding.cost_wad,
            entry_wad,
        )

    def _house(self, asset: int, size_change: int, cost_change: int) -> None:
        old = self.position(self.house, asset)
        new = replace(old, size_wad=old.size_wad + size_change, cost_wad=old.cost_wad + cost_change)
        self._positions[self.house, asset] = new

    def _put(self, account: int, asset: int, word: int) -> None:
        if asset == 0:
            self.account_words[account] = word
            return
        old = self.position(account, asset)
        self.totals[asset] += (word & LOW_128) - old.collateral_wad
        self._positions[account, asset] = Position.from_word(word, old.cost_word)


def _moves_marks(outcome: Outcome) -> bool:
    """Whether a transaction may move prices or rates: a poke does."""
    return any(call.contract == "RiskOracle" for call, _ in outcome.receipts)


def _allocation_of(cast: Cast, account: int) -> Allocation:
    *terms, weights = cast.world.mandates.allocation_of(account)
    return Allocation(*terms, tuple(Weight(*weight) for weight in weights))


def _scene(state: State, account: int, target_bps: int) -> Scene:
    """What the model needs to judge a mandate: an account at its marks, funding of now included."""
    book = state.book
    marks = {
        asset: replace(mark, funding_wad=book.markets[asset].funding.at(state.time))
        if asset in book.markets
        else mark
        for asset, mark in book.prices.items()
    }
    return Scene(
        account=account,
        accounts=book.accounts,
        marks=marks,
        unit_wad={},
        loans=book.loans,
        policy=None,
        target_bps=target_bps,
    )
