"""What must hold after every action on the whole system, by the ids of docs/invariants.md.

`Invariants.after(step, outcome, before, after)` compares two readings of the system, made right
before and right after one action at the same timestamp. Every check counts how often its premise
held, so that an invariant that was never put to the test is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ballast.chain import Event, Receipt, Reverted
from ballast.model.ledger import Loans
from ballast.model.margin import BPS, Terms, is_no_riskier
from ballast.model.perps import Exposure, Funding, Headroom, Refused
from tests.support.system_actions import ENVIRONMENT, Call, Step
from tests.support.system_checks import Broken, Outcome
from tests.support.system_markets import EXACT, MarketChecks
from tests.support.system_state import LOW_128, PERPETUALS_SHIFT, WAD, State
from tests.support.world import QUOTE, UNLIMITED

RAY = 10**27
YEAR_S = 365 * 86_400
MAX_RATE_RAY = 100_000 * RAY // BPS // YEAR_S + 1
MAX_USE_BPS = 9_200
MAX_RESERVE_FACTOR_BPS = 5_000
VIRTUAL_SHARES = 10**6
MICRO_WAD = 10**12
ROUNDING_UNITS = 2  # of the quote token, that each step with cash may cost without being a loss
REVOKED = 1 << 192  # the guard word that a revocation leaves in the event
READY = 0
PERPETUALS_SHIFT = 136
# What a rebalance and an announced guard may do to others is judged by I14 to I16.
OPEN_TO_ALL = frozenset({("Mandates", "rebalance"), ("Mandates", "apply_guard")})
IDS = tuple(
    f"I{number:02}"
    for number in (
        *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17),
        *(22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 40, 42, 44, 46),
    )
)


@dataclass
class Invariants(MarketChecks):
    """The checks, and what has to be remembered from action to action."""

    donated: Counter[tuple[str, str]] = field(default_factory=Counter)  # token, holder: units
    lifetimes: dict[str, int] = field(default_factory=dict)  # owner: micro quote tokens

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
                given.append((token_of[args.asset], args.receiver, args.amount))
            for event in world.system.vault.events(receipt, "Withdraw"):
                given.append((QUOTE, event.args.receiver, event.args.assets))
            for token, receiver, units in given:
                if receiver in holder_of:
                    self.donated[token, holder_of[receiver]] += units
            if call.function == "skim":
                self.donated[QUOTE, "LendingVault"] = 0
            for event in world.mandates.events(receipt):
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
        if self.held("I44", after.time > before.time):
            for account in self.cast.accounts:
                same = before.words(account) == after.words(account)
                self.must("I44", same, f"time changed {self.cast.labels[account]}")
            self.must("I44", before.balances == after.balances, "time moved tokens")
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
        self.note(outcome)
        self._of_state(after)
        self._of_vault(before, after)
        self._of_prices(before, after)
        self._of_tokens(before, after)
        if not outcome.is_accepted and len(step.calls) == 1:
            self._nothing_changed(before, after)
            return
        self._of_others(step, outcome, before, after)
        self._of_caps(before, after)
        for call, receipt in outcome.receipts:
            self._of_risk(call, before, after)
            self._of_swaps(receipt, before)
            if (call.contract, call.function) == ("Mandates", "rebalance"):
                self._of_rebalance(call, receipt, before, after)
            if self.cast.world.clearinghouse.events(receipt, "Swapped"):
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
        for account in cast.accounts:
            if self.held("I22", now.debt_shares(account) != 0):
                covered = any(now.collateral_wad(account, name) for name in cast.names)
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
            ledger = sum(now.collateral_wad(account, name) for account in cast.accounts)
            total = now.supplies[name] & LOW_128
            self.must("I01", ledger == total, f"{name}: positions {ledger}, supply word {total}")
            self._balance_is(now, name, "Clearinghouse", ledger // cast.unit(name))
            self.held("I01", total != 0)
        cash = sum(now.cash_wad(account) for account in cast.accounts)
        self.must("I01", cash % cast.unit(QUOTE) == 0, f"cash {cash} is no number of units")
        self._balance_is(now, QUOTE, "Clearinghouse", cash // cast.unit(QUOTE))
        self.held("I01", cash != 0)
        self._balance_is(now, QUOTE, "LendingVault", now.vault["idle"])
        self.held("I26")
        for contract in cast.contracts:
            if contract in ("MockVenue", "Clearinghouse"):
                continue
            for name in (*cast.names, QUOTE):
                if (name, contract) != (QUOTE, "LendingVault"):
                    self._balance_is(now, name, contract, 0, "I26")

    def _balance_is(
        self, now: State, token: str, holder: str, units: int, invariant: str = "I01"
    ) -> None:
        held, given = now.balances[token, holder], self.donated[token, holder]
        message = f"{holder} holds {held} {token}, owes {units}, was given {given}"
        self.must(invariant, held == units + given, message)

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
        cast = self.cast
        for account in cast.accounts:
            listed = now.listed[account]
            count = listed >> 128 & 255
            ids = [listed >> 8 * i & 255 for i in range(16)]
            held = {cast.world.asset(n) for n in cast.names if now.positions[account, n]}
            self.held("I27", count != 0)
            dense = set(ids[:count]) == held and len(held) == count and not any(ids[count:])
            label = cast.labels[account]
            self.must("I27", dense, f"{label}: list {ids}, count {count}, holds {held}")
            self.must("I27", listed >> PERPETUALS_SHIFT == 0, f"{label}: perpetuals appeared")

    # ---- two states

    def _of_vault(self, before: State, after: State) -> None:
        old, new = before.vault, after.vault
        self.held("I06", new != old)
        left = (new["totalAssets"] + 1) * (old["supply"] + VIRTUAL_SHARES)
        right = (old["totalAssets"] + 1) * (new["supply"] + VIRTUAL_SHARES)
        self.must("I06", left >= right, f"the share price fell: {old} to {new}")
        self.held("I07", new["index_wad"] > old["index_wad"])
        self.must("I07", new["index_wad"] >= old["index_wad"], "the index fell")
        still = after.time > before.time or new["index_wad"] == old["index_wad"]
        self.must("I07", still, "the index moved within a second")
        self.must("I07", new["accrued_at"] <= after.time, "accrued in the future")

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
        for what in ("account_words", "listed", "positions", "settings", "supplies", "balances"):
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

        for call, receipt in outcome.receipts:
            if call.contract in ("Clearinghouse", "Mandates", "Rebalancer"):
                collect(call.args)
            for event in self.cast.world.clearinghouse.events(receipt, "Transferred"):
                pair = {event.args.donor, event.args.receiver}
                owners = {account >> 8 for account in pair}
                self.must("I24", len(owners) == 1, "a transfer between two owners")
                found |= pair
        return found

    def _of_others(self, step: Step, outcome: Outcome, before: State, after: State) -> None:
        """I24 and I25: who was not named is untouched, and nobody takes from another."""
        cast = self.cast
        touched = self._touched(step, outcome)
        others = [account for account in cast.accounts if account not in touched]
        self.held("I24", any(after.listed[account] for account in others))
        for account in others:
            label = cast.labels[account]
            self.must("I24", before.words(account) == after.words(account), f"{label} changed")
            same = before.settings[account] == after.settings[account]
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
            fine = owner in (sender, event.args.receiver)
            self.must("I25", fine, f"{call.sender} sent the tokens of another elsewhere")
        if (call.contract, call.function) in OPEN_TO_ALL:
            return
        self._of_strangers(call, before, after)

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
            if less:
                allowed = before.permissions.get((account, call.sender), 0)
                self.must("I25", allowed & 14 != 0, f"{call.sender} took from {label}")
        for role in cast.roles:
            if role in (call.sender, "governor"):
                continue
            for token in (*cast.names, QUOTE):
                fine = after.balances[token, role] >= before.balances[token, role]
                self.must("I25", fine, f"{call.sender} took {token} out of the wallet of {role}")
            fine = after.shares[role] >= before.shares[role]
            self.must("I25", fine, f"{call.sender} took shares of {role}")

    def _of_caps(self, before: State, after: State) -> None:
        for name, word in after.supplies.items():
            total, cap = word & LOW_128, word >> 128
            if self.held("I28", total > before.supplies[name] & LOW_128):
                self.must("I28", total <= cap, f"{name}: {total} above the cap {cap}")
        old, new = before.vault, after.vault
        if self.held("I28", new["supply"] > old["supply"]):
            fine = new["totalAssets"] <= new["deposit_cap"]
            self.must("I28", fine, f"vault: {new['totalAssets']} above its cap")
        if new["debt_shares"] > old["debt_shares"]:
            debt = -(-new["debt_shares"] * new["index_wad"] // WAD)
            fine = debt * BPS <= (new["idle"] + debt) * MAX_USE_BPS + BPS
            self.must("I28", fine, f"lent beyond the limit: {debt} beside {new['idle']}")

    # ---- risk

    def _risky_accounts(self, call: Call) -> set[int]:
        """Accounts whose margin the transaction has to leave sound."""
        if call.contract != "Clearinghouse":
            return set()
        if call.function in ("withdraw", "transfer"):
            return {call.args[0]}
        if call.function == "swap":
            return {call.args[0]} if call.args[3] else set()
        if call.function != "batch":
            return set()
        found = set()
        for kind, account, _, _, asset_out, *_ in call.args[0]:
            if kind in (2, 4) or (kind == 5 and asset_out):
                found.add(account)
        return found

    def _legs(self, state: State, account: int) -> list[Leg]:
        return [
            Leg(self.cast.world.asset(n), held_position(state, account, n), state.marks[n])
            for n in self.cast.names
            if state.positions[account, n]
        ]

    def _net_wad(self, state: State, account: int) -> int:
        return state.cash_wad(account) - state.debt_units(account) * self.cast.unit(QUOTE)

    def _of_risk(self, call: Call, before: State, after: State) -> None:
        cast = self.cast
        risky = self._risky_accounts(call)
        for account in risky:
            if not after.debt_shares(account):
                continue
            label = cast.labels[account]
            self.held("I11")
            excess = after.terms[account].excess_init
            self.must("I11", excess >= 0, f"{label} left with excess {excess}")
            refusal = increase_refusal(
                self._net_wad(after, account), self._legs(after, account), True
            )
            self.must("I29", refusal == "", f"{label} grew risk on bad prices: {refusal}")
        if call.contract != "Clearinghouse":
            return
        # Rounding of a repayment, once per action of a batch.
        index = after.vault["index_wad"]
        slack = 16 * (Loans(index, cast.unit(QUOTE)).repayment_loss_wad + cast.unit(QUOTE))
        for account in cast.accounts:
            old, new = before.terms[account], after.terms[account]
            if account in risky or before.words(account) == after.words(account):
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
        has_traded = bool(cast.world.clearinghouse.events(receipt, "Swapped"))
        guard = cast.world.mandates.guard_of(account)
        old, new = before.terms[account], after.terms[account]

        self.held("I14")
        shortfalls = [terms.shortfall_up(guard.target_bps) for terms in (old, new)]
        self.must("I14", shortfalls[1] <= shortfalls[0], f"{label}: shortfall {shortfalls}")
        donors = {move.args.donor for move in moves}
        self.must("I15", all(m.args.receiver == account for m in moves), "moved elsewhere")
        for who in {account, *donors}:
            self._no_weaker(before.terms[who], after.terms[who], cast.labels[who])
        if has_traded:
            most = -(-new.required_init * (guard.target_bps + guard.band_bps) // BPS)
            self.must("I14", new.equity_init <= most, f"{label} traded beyond its target")
        for name in cast.names:
            grown = after.collateral_wad(account, name) - before.collateral_wad(account, name)
            given = sum(
                before.collateral_wad(d, name) - after.collateral_wad(d, name) for d in donors
            )
            self.must("I14", grown <= given, f"{label}: exposure to {name} grew")

        for donor in donors:
            self.held("I15")
            floor = cast.world.mandates.guard_of(donor).floor_bps
            least = -(-after.terms[donor].required_init * floor // BPS)
            fine = floor != 0 and after.terms[donor].equity_init >= least
            self.must("I15", fine, f"{cast.labels[donor]} gave below its floor {floor}")
            self.must("I15", donor >> 8 == account >> 8, "a donor of somebody else")
            fine = after.debt_shares(donor) <= before.debt_shares(donor)
            self.must("I15", fine, f"{cast.labels[donor]} borrowed to give")
            if self.held("I11", after.debt_shares(donor) != 0):
                fine = after.terms[donor].excess_init >= 0
                self.must("I11", fine, f"{cast.labels[donor]} gave below its initial margin")
                refusal = increase_refusal(
                    self._net_wad(after, donor), self._legs(after, donor), True
                )
                self.must("I29", refusal == "", f"{cast.labels[donor]} gave on bad prices")

        self._of_losses(call, receipt, event, donors, before, after)
        self.held("I17")
        code = cast.world.rebalancer.plan(account).code
        is_default_hook = event.args.hook == cast.world.rebalancer.address
        if code == READY and is_default_hook:
            refused = [e for e in cast.world.rebalancer.events(receipt) if "Refused" in e.name]
            self.held("I17 in part")
            fine = bool(refused) and shortfalls[1] < shortfalls[0]
            self.must("I17", fine, f"{label} is ready at once again: {shortfalls}")

    def _no_weaker(self, old: Terms, new: Terms, label: str) -> None:
        kept = new.excess_init >= old.excess_init and new.excess_maint >= old.excess_maint
        self.must("I14", new.excess_init >= 0 or kept, f"{label} left weaker: {old} to {new}")

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
        ledger = cast.world.clearinghouse
        pulls = cast.world.mandates.events(receipt, "WalletPulled")
        moves = [m for m in ledger.events(receipt, "Transferred") if m.args.asset == 0]
        cash_steps = len(pulls) + len(moves) + len(ledger.events(receipt, "Swapped"))
        rounding = ROUNDING_UNITS * cash_steps * cast.unit(QUOTE)
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

    def _of_allowances(self) -> None:
        """I26: none of our contracts lets anybody move its tokens."""
        world = self.cast.world
        for token in world.tokens.values():
            for contract in world.system.contracts.values():
                for spender in (world.venue.address, world.rebalancer.address, world.attacker):
                    left = token.allowance(contract, spender)
                    self.must("I26", left == 0, f"{contract.name} lets {spender} take {left}")

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

    def rebalances_end(self, account: int) -> None:
        """I17: with prices as they are, repeating makes the shortfall smaller or is refused."""
        world, cast = self.cast.world, self.cast
        with self._aside():
            world.chain.advance(12)
            plan = world.rebalancer.plan(account)
            is_default_hook = world.mandates.hook_of(account) == world.rebalancer.address
            if plan.code != READY or not is_default_hook:
                return
            self.held("I17 again")
            try:
                world.mandates.rebalance(account, sender=world.keeper)
            except Reverted:
                return
            after = cast.read().terms[account]
            guard = world.mandates.guard_of(account)
            left = after.shortfall_up(guard.target_bps)
            fine = left < plan.shortfall
            self.must("I17", fine, f"repeated without getting nearer: {plan.shortfall} to {left}")

    # ---- the end

    def events_tell_all(self) -> None:
        """I46: the words of the ledger, rebuilt from events, are the words in storage."""
        cast, world = self.cast, self.cast.world
        account_words: dict[int, int] = {}
        positions: dict[tuple[int, int], int] = {}
        listed: dict[int, int] = {}
        totals: Counter[int] = Counter()

        def put(account: int, asset: int, word: int) -> None:
            if asset == 0:
                account_words[account] = word
                return
            totals[asset] += (word & LOW_128) - (positions.get((account, asset), 0) & LOW_128)
            positions[account, asset] = word

        for event in world.chain.events(world.clearinghouse):
            args = event.args
            if event.name in ("Deposited", "Withdrawn"):
                put(args.account, args.asset, args.word)
            elif event.name == "Transferred":
                put(args.donor, args.asset, args.donor_word)
                put(args.receiver, args.asset, args.receiver_word)
            elif event.name == "Swapped":
                put(args.account, args.asset_in, args.word_in)
                put(args.account, args.asset_out, args.word_out)
            elif event.name == "AssetListChanged":
                listed[args.account] = args.listed
        now = cast.read()
        for account in cast.accounts:
            self.held("I46", account in account_words)
            label = cast.labels[account]
            word = account_words.get(account, 0)
            self.must("I46", word == now.account_words[account], f"account word of {label}")
            self.must("I46", listed.get(account, 0) == now.listed[account], f"list of {label}")
            for name in cast.names:
                word = positions.get((account, world.asset(name)), 0)
                same = word == now.positions[account, name]
                self.must("I46", same, f"position word of {label} in {name}")
        for name in cast.names:
            same = totals[world.asset(name)] == now.supplies[name] & LOW_128
            self.must("I46", same, f"total of {name}")
        self._settings_from_events(now)
        self._vault_from_events(now)

    def _settings_from_events(self, now: State) -> None:
        cast, mandates = self.cast, self.cast.world.mandates
        guards: dict[int, tuple[str, int]] = {}
        for event in cast.world.chain.events(mandates, "GuardChanged"):
            guards[event.args.account] = (event.args.hook, event.args.guard_word)
        for account, (hook, word) in guards.items():
            stored = 0 if word == REVOKED else word
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
            elif event.name in ("Lent", "Repaid"):
                debt += event.args.shares * (1 if event.name == "Lent" else -1)
        self.must("I46", debt == now.vault["debt_shares"], "loan shares")
        for holder, address in cast.holders.items():
            self.must("I46", shares[address] == now.shares[holder], f"shares of {holder}")


def _moves_marks(outcome: Outcome) -> bool:
    """Whether a transaction may move prices or rates: a poke does."""
    return any(call.contract == "RiskOracle" for call, _ in outcome.receipts)
