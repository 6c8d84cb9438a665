"""What must hold of perpetuals, the house and its vault after every action, and the exact model.

Sums over all accounts (I18, I19), the counters and caps of the markets (I20), and everything that
`ballast.model` can foretell: the margin of every account, each fill in a receipt, and what becomes
of a trade, a settlement, a refresh, an accrual and a deleveraging, refusals included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ballast.chain import Event, Receipt
from ballast.model import perps
from ballast.model.ledger import Account, Book
from ballast.model.liquidity import VIRTUAL_SHARES
from ballast.model.margin import RATE, WAD, Position, Terms, div_up, result_wad
from ballast.model.perps import (
    SIZE_STEP_WAD,
    Breaker,
    Funding,
    Headroom,
    Market,
    Order,
    Refused,
    growths,
    require,
)
from tests.clearing_kit import in_order
from tests.support.system_checks import Checks, Outcome
from tests.support.system_state import LOW_128, State
from tests.support.system_steps import ENVIRONMENT, Call, Step

MAY_TRADE = 16
NOT_PERMITTED = "operators: not permitted"
NOT_FOR_THE_HOUSE = "perps: not for the house"
ENDED = "deleverager: market wound down"
HEDGES_LAST = "deleverager: hedges last"
HEDGE_GRACE_S = 1_800
WATCH_S = 600
LOOKS = frozenset({("Deleverager", "adl"), ("Deleverager", "flag_house")})
MAX_CASH_WAD = 2**120
END_OF_ACCOUNTS = 2**168
NAV_ROUNDING_WAD = 64  # a wei or two for each fill of a batch
EXACT = tuple(
    f"exact {what}"
    for what in ("assess", "fill", "trade", "settle", "adl", "flag", "refresh", "accrue")
)
# Premises of parts of an invariant, each of which has to be put to the test by itself.
PARTS = (
    *("I01 pool", "I10 house", "I10 pool", "I10 trades", "I10 pairs", "I10 entry"),
    *("I11 house", "I11 traded", "I14 traded", "I19 settled", "I20 headroom", "I20 increase"),
    *("I23 repay", "I23 close", "I23 exit", "I23 shed", "I24 traded", "I27 marked", "I28 pool"),
    *("I46 markets", "exact pool", "exact fulfil", "exact settle with losers"),
    *("exact trade refused", "exact settle refused", "exact adl refused"),
)


@dataclass
class MarketChecks(Checks):
    """The perpetual side of the checks."""

    # When somebody looked whether the house is short: the time before the last and the last.
    looks: tuple[int, int] = (0, 0)
    # Words of each account and what the model made of them, at the last marks.
    assessed: dict[int, tuple[tuple[int, ...], Terms]] = field(default_factory=dict)

    # ---- one state

    def of_markets(self, now: State) -> None:
        """I18, I19, I20: sums over all accounts."""
        cast = self.cast
        for name in cast.market_names:
            held = {account: now.held(account, name) for account in cast.everyone}
            sizes = [position.size_wad for position in held.values()]
            costs = sum(position.cost_wad for position in held.values())
            self.held("I19", any(position.has_perpetual for position in held.values()))
            self.must("I19", sum(sizes) == 0, f"sizes of {name} add up to {sum(sizes)}")
            self.must("I19", costs == 0, f"costs of {name} add up to {costs}")

            mark = now.book.mark(now.ids[name])
            result = sum(result_wad(position, mark) for position in held.values())
            self.held("I18", mark.funding_wad != 0 and any(sizes))
            fine = -len(held) <= result <= 0
            self.must("I18", fine, f"results of {name} add up to {result}")

            traders = [held[account].size_wad for account in cast.accounts]
            longs = sum(size for size in traders if size > 0)
            shorts = -sum(size for size in traders if size < 0)
            self.held("I20", longs != 0 and shorts != 0)
            self.must("I20", now.sides[name] == (longs, shorts), f"{name}: {now.sides[name]}")
            told = now.markets[name].exposure
            told_wad = (told.longs_gwei * SIZE_STEP_WAD, told.shorts_gwei * SIZE_STEP_WAD)
            self.must("I20", told_wad == (longs, shorts), f"{name}: events say {told}")
        self._of_results(now)
        self.held("I19")
        self.must("I19", now.debt_shares(now.house) == 0, "the house has a debt")
        cash = now.cash_wad(now.house)
        self.must("I19", 0 <= cash < MAX_CASH_WAD, f"the house has cash {cash}")

    def _of_results(self, now: State) -> None:
        """I18 as the views have it: what all have beyond cash and collateral is nothing."""
        cast = self.cast
        results = count = 0
        for account in cast.everyone:
            held = {name: now.held(account, name) for name in cast.names}
            own = now.cash_wad(account) - now.debt_units(account) * now.quote_unit_wad
            for name, position in held.items():
                own += position.collateral_wad * now.marks[name].price_wad // WAD
                count += position.has_perpetual
            results += now.terms[account].equity_maint - own
        self.held("I18", count != 0)
        self.must("I18", -count <= results <= 0, f"all results together are {results}")

    def of_model(self, now: State) -> None:
        """The exact model, given what is stored, says what the views say."""
        cast, book = self.cast, now.book
        if self.is_new("marks", now.marks, now.markets, now.time, now.vault["index_wad"]):
            self.assessed.clear()
        for account in cast.everyone:
            self.held("exact assess", now.has_perpetual(account))
            words = now.words(account)
            if account not in self.assessed or self.assessed[account][0] != words:
                self.assessed[account] = words, book.assess(account)
            expected, found = self.assessed[account][1], now.terms[account]
            message = f"{cast.labels[account]}: {found}, the model says {expected}"
            self.must("exact assess", expected == found, message)
        figures = {"free_wad": book.free_wad, **_figures(book)}
        for view, told in figures.items():
            message = f"{view} {now.house_figures[view]}, the model says {told}"
            self.must("exact assess", told == now.house_figures[view], message)
        lent = book.lender.max_loan(book.loans)
        self.must("exact assess", lent == now.vault["max_loan"], f"would lend {lent}")
        self.must("exact assess", not book.faults(), f"{book.faults()}")
        worth = self.worth(now)
        for view, units in worth.items():
            message = f"{view} {now.pool[view]}, the model says {units}"
            self.held("exact pool", now.pool["totalSupply"] != 0)
            self.must("exact pool", units == now.pool[view], message)

    def worth(self, now: State) -> dict[str, int]:
        """What the liquidity vault should say of its value."""
        book, unit, bad = now.book, now.quote_unit_wad, now.pool["bad_debt_wad"]
        figures = _figures(book)
        value = book.assess(now.house).equity_maint - figures["skew_charge_wad"] - bad
        spread = figures["uncertainty_wad"]
        return {
            "totalAssets": max(0, value) // unit,
            "entry_assets": div_up(max(0, value + bad + spread), unit),
            "exit_assets": max(0, value - spread) // unit,
        }

    def of_pool(self, now: State) -> None:
        """I01 and I03 for the liquidity vault: shares and what is set aside."""
        pool = now.pool
        self.held("I03", pool["totalSupply"] != 0)
        total = sum(now.pool_shares.values())
        self.must("I03", total == pool["totalSupply"], f"{total} pool shares found")
        owed = sum(now.claims[provider, "maxWithdraw"] for provider in self.cast.providers)
        self.held("I01", owed != 0)
        self.must("I01", owed <= pool["set_aside"], f"{owed} owed, {pool['set_aside']} set aside")
        shares = sum(now.claims[provider, "maxMint"] for provider in self.cast.providers)
        fine = shares <= now.pool_shares["LiquidityVault"]
        self.must("I03", fine, f"{shares} pool shares can be claimed and are not there")

    # ---- two states

    def of_value(self, step: Step, outcome: Outcome, before: State, after: State) -> None:
        """I10 for the house: no action but leaving lowers its worth, and leaving no share's."""
        calls = [call for call, _ in outcome.receipts]
        if step.kind in ENVIRONMENT or before.time != after.time or not calls:
            return
        names = {(call.contract, call.function) for call in calls}
        if ("LiquidityVault", "fulfil_redemptions") not in names:
            self.held("I10 house", before.book.nav_wad != after.book.nav_wad)
            change = after.book.nav_wad - before.book.nav_wad
            change += self._owed(outcome) + self._owed_apart(outcome, before, after)
            self.must("I10", change >= -NAV_ROUNDING_WAD, f"the house lost {-change}")
        if names & {("LiquidityVault", f"fulfil_{what}") for what in ("deposits", "redemptions")}:
            self.held("I10 pool")
            old, new = before.pool, after.pool
            left = (new["totalAssets"] + 1) * (old["totalSupply"] + VIRTUAL_SHARES)
            right = (old["totalAssets"] + 1) * (new["totalSupply"] + VIRTUAL_SHARES)
            self.must("I10", left >= right, f"a pool share lost value: {old} to {new}")

    def _owed(self, outcome: Outcome) -> int:
        """What the house pays without leaving: insurance's part of the fees, and its part of
        deficits."""
        owed = 0
        fees = (self.cast.house, self.cast.insurance)
        for _, receipt in outcome.receipts:
            for event in self.cast.world.system.liquidator.events(receipt):
                args = event.args
                if event.name == "CashPaid" and (args.payer, args.payee) == fees:
                    owed += args.amount_wad
                elif event.name == "DeficitBooked":
                    owed += args.house_wad + args.claims_wad
        return owed

    def _owed_apart(self, outcome: Outcome, before: State, after: State) -> int:
        """What the house pays because a market ended at another price than the newest, and what its
        premiums change by, whichever side is closed first."""
        owed, deleverager = 0, self.cast.world.system.deleverager
        closed = [e for _, r in outcome.receipts for e in deleverager.events(r, "WoundDown")]
        if not self.held("I10 ended", bool(closed)):
            return 0
        for event in closed:
            asset = event.args.asset
            name = next(name for name in self.cast.market_names if before.ids[name] == asset)
            apart = after.endings[name][1] - before.book.prices[asset].price_wad
            owed += -event.args.size_change * apart // WAD
        charges = [state.house_figures["skew_charge_wad"] for state in (before, after)]
        return owed + charges[1] - charges[0]

    def of_fills(self, outcome: Outcome, before: State, after: State) -> None:
        """Each fill and settlement in the receipts, priced by the model; I19 and I20 for each.

        At the end everything of the markets that the events told is what is stored (I46).
        """
        calls = [call for call, _ in outcome.receipts]
        if any(c.contract.startswith("feed") or c.contract == "RiskOracle" for c in calls):
            return
        walk = Walk(self, before)
        for call, receipt in outcome.receipts:
            for event in walk.events(receipt):
                walk.take(call, event)
        for name in self.cast.market_names:
            asset = before.ids[name]
            found, told = after.markets[name], walk.markets[asset]
            if found != told and not walk.is_governed:
                self.must("I46", False, f"{name}: events told {told}, stored is {found}")
            for account in self.cast.everyone:
                same = walk.position(account, asset) == after.held(account, name)
                self.must("I46", same, f"{name} of {self.cast.labels[account]} moved untold")

    def of_headroom(self, outcome: Outcome, after: State) -> None:
        """I20: what a refresh hands out is within the house's initial excess, over all markets."""
        world = self.cast.world
        last = outcome.receipts[-1][1] if outcome.receipts else Receipt()
        if not world.system.perps.events(last, "HeadroomRefreshed"):
            return
        total = 0
        for name in self.cast.market_names:
            market, mark = after.markets[name], after.marks[name]
            room, risk = market.headroom, mark.risk
            long_e6 = max(risk.r_init_e6, RATE // 2) + risk.l_init_e6
            short_e6 = RATE + risk.l_init_e6
            backed = max(room.long_gwei * long_e6, room.short_gwei * short_e6)
            total += div_up(mark.price_wad * backed * SIZE_STEP_WAD, WAD * RATE)
        excess = max(0, after.terms[after.house].excess_init)
        self.held("I20 headroom", total != 0)
        self.must("I20", total <= excess, f"headroom worth {total}, the house has {excess}")

    def of_exit(self, outcome: Outcome, after: State) -> None:
        """I11 for the house: whoever is paid leaves it at its initial margin."""
        vault = self.cast.world.system.liquidity_vault
        for _, receipt in outcome.receipts:
            for event in vault.events(receipt, "RedemptionsFulfilled"):
                if self.held("I11 house", event.args.assets != 0):
                    excess = after.terms[after.house].excess_init
                    self.must("I11", excess >= 0, f"an exit left the house with excess {excess}")

    # ---- what the model foretells

    def of_foretold(self, step: Step, outcome: Outcome, before: State, after: State) -> None:
        """One call of the markets: accepted or refused as the model says, and with its result."""
        if len(step.calls) != 1 or before.time != after.time:
            return
        call = step.calls[0]
        foretell = {
            ("Perps", "trade"): self._trade,
            ("Perps", "settle"): self._settle,
            ("Perps", "refresh"): self._refresh,
            ("Perps", "accrue"): self._accrue,
            ("Deleverager", "adl"): self._adl,
            ("Deleverager", "flag_house"): self._flag,
            ("LiquidityVault", "fulfil_deposits"): self._fulfil_deposits,
            ("LiquidityVault", "fulfil_redemptions"): self._fulfil_redemptions,
        }.get((call.contract, call.function))
        if foretell is not None:
            foretell(call, outcome, before, after)

    def _foretold(self, key: str, act: Callable[[], Book], outcome: Outcome, after: State) -> None:
        try:
            book, reason = act(), None
        except Refused as refused:
            book, reason = after.book, refused.reason
        self.held(key)
        message = f"the model says {reason!r}, the contract {outcome.reason!r}"
        self.must(key, reason == outcome.reason, message)
        if reason is not None:
            self.held(f"{key} refused")
            return
        for account in self.cast.everyone:
            expected, found = book.account(account), after.book.account(account)
            same = _listed(expected) == _listed(found)
            message = f"{self.cast.labels[account]} has {found}, the model says {expected}"
            self.must(key, same, message)
        for asset, market in book.markets.items():
            found_market = after.book.markets[asset]
            message = f"market {asset}: {found_market}, the model says {market}"
            self.must(key, market == found_market, message)
        message = f"the vault has {after.book.lender}, the model says {book.lender}"
        self.must(key, book.lender == after.book.lender, message)

    def _trade(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        account, asset, change, acceptable, deadline, is_reduction = call.args
        if asset not in before.book.prices or account >= END_OF_ACCOUNTS:
            self.must("exact trade", not outcome.is_accepted, "traded what is not there")
            return
        is_owner = self.cast.roles[call.sender] == self.cast.owner_address(account)
        if not is_owner and not before.permissions.get((account, call.sender), 0) & MAY_TRADE:
            self.held("I25")
            self.must("I25", outcome.reason == NOT_PERMITTED, f"{outcome.reason}")
            return
        self.held("exact trade ended", outcome.reason == perps.WOUND_DOWN)
        order = Order(
            account,
            asset,
            change,
            acceptable_price=acceptable,
            deadline=deadline,
            reduce_only=is_reduction,
        )
        self._foretold("exact trade", lambda: before.book.trade(order)[0], outcome, after)
        held = before.book.account(account).position(asset)
        size, delta = held.size_wad, held.delta_wad
        closed = min(abs(change), abs(size)) if is_reduction else abs(change)
        sheds = size * change < 0 < size * delta and closed <= min(abs(size), abs(delta))
        if self.held("I23 shed", sheds):
            reason = outcome.reason or ""
            fine = not reason.startswith("margin: ")
            self.must("I23", fine, f"exposure could not be shed: {reason}")

    def _settle(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        account, asset, losers = call.args
        book = before.book
        if not {asset, *(loser[1] for loser in losers)} <= set(book.prices):
            return
        if any(who >= END_OF_ACCOUNTS for who, _ in losers):
            return
        self.held("exact settle with losers", bool(losers) and outcome.is_accepted)
        has_ended = asset in book.markets and book.markets[asset].is_latched
        is_open = book.account(account).position(asset).size_wad != 0
        self.held("exact settle ended", has_ended and is_open and account != book.house)

        def act() -> Book:
            if account == before.house:
                raise Refused(NOT_FOR_THE_HOUSE)
            if asset not in book.markets:
                raise Refused(perps.UNKNOWN_MARKET)
            place = next((i for i, (who, _) in enumerate(losers) if who == before.house), None)
            if place is None:
                return book.settle(account, asset, losers)[0]
            # Whether the call comes so far: it ends one loser after all is paid.
            reached, moved = book.settle(account, asset, losers[: max(place - 1, 0)])
            if place == 0 or moved < book.payable_gain_wad(account, asset):
                raise Refused(NOT_FOR_THE_HOUSE)
            return reached

        self._foretold("exact settle", act, outcome, after)

    def _refresh(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        self._foretold("exact refresh", before.book.refresh, outcome, after)

    def _accrue(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        (asset,) = call.args
        self._foretold("exact accrue", lambda: before.book.accrue(asset), outcome, after)

    def _adl(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        account, asset, size = call.args
        book = before.book
        if asset not in book.markets or size < SIZE_STEP_WAD:
            self.must("exact adl", not outcome.is_accepted, "nothing was deleveraged")
            return
        self.held("exact adl ended", book.markets[asset].is_latched)
        deleverager = self.cast.world.system.deleverager
        for _, receipt in outcome.receipts:
            called = deleverager.events(receipt, "HookCalled")
            if any(event.args.success for event in called):
                self.held("exact adl with hook")
                return

        def act() -> Book:
            require(not book.markets[asset].is_latched, ENDED)
            house, since = book.assess(book.house), self._below_since(outcome, before)
            is_due = house.equity_maint < 0 or since <= before.time - HEDGE_GRACE_S
            is_possible = house.excess_maint < 0 < book.adl_bound_wad(account, asset)
            if is_possible and book.is_hedge(account, asset) and not is_due:
                raise Refused(HEDGES_LAST)
            return book.adl(account, asset, size)[0]

        self._foretold("exact adl", act, outcome, after)
        if outcome.is_accepted:
            since = self._below_since(outcome, before)
            self.must("exact adl", after.house_figures["below_since"] == since, f"short {since}")

    def _fulfil_deposits(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        pool = self.cast.world.system.liquidity_vault
        for _, receipt in outcome.receipts:
            (event,) = pool.events(receipt, "DepositsFulfilled")
            total, supply = before.pool["entry_assets"], before.pool["totalSupply"]
            shares = event.args.assets * (supply + VIRTUAL_SHARES) // (total + 1)
            found = (event.args.total_assets, event.args.shares)
            self.held("exact fulfil")
            self.must("exact fulfil", found == (total, shares), f"{found}, not {(total, shares)}")

    def _fulfil_redemptions(
        self, call: Call, outcome: Outcome, before: State, after: State
    ) -> None:
        pool, unit = self.cast.world.system.liquidity_vault, before.quote_unit_wad
        for _, receipt in outcome.receipts:
            (event,) = pool.events(receipt, "RedemptionsFulfilled")
            total, supply = before.pool["exit_assets"], before.pool["totalSupply"]
            shares = event.args.shares + event.args.waiting
            assets = shares * (total + 1) // (supply + VIRTUAL_SHARES)
            free = min(before.cash_wad(before.house), before.book.free_wad) // unit
            if self.held("exact fulfil in part", assets > free):
                assets, shares = free, div_up(free * (supply + VIRTUAL_SHARES), total + 1)
            found = (event.args.total_assets, event.args.shares, event.args.assets)
            self.held("exact fulfil")
            expected = (total, shares, assets)
            self.must("exact fulfil", found == expected, f"{found}, not {expected}")

    def _flag(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        is_short = before.book.assess(before.house).excess_maint < 0
        since = self._below_since(outcome, before) if is_short else 0
        found = after.house_figures["below_since"]
        self.held("exact flag", is_short)
        self.must("exact flag", found == since, f"short since {found}, not {since}")

    def _below_since(self, outcome: Outcome, before: State) -> int:
        """Since when the house is short, given that it is; a time when nobody looked ends it."""
        since = before.house_figures["below_since"]
        looked_at = self.looks[0] if outcome.is_accepted else self.looks[1]
        return since if since and before.time <= looked_at + WATCH_S else before.time


class Walk:
    """Markets and positions as the events of a step tell them, from a state before it."""

    def __init__(self, checks: MarketChecks, before: State) -> None:
        self.checks = checks
        self.now = before.time
        self.book = before.book
        self.house = before.house
        self.markets: dict[int, Market] = dict(before.book.markets)
        # Prices of all who are left of a market that has ended.
        self.ended_at = {before.ids[name]: price for name, (_, price) in before.endings.items()}
        self.is_governed = False  # terms or mode were changed
        self._positions: dict[tuple[int, int], Position] = {}

    def position(self, account: int, asset: int) -> Position:
        """What an account holds, as far as told."""
        return self._positions.get((account, asset), self.book.account(account).position(asset))

    def events(self, receipt: Receipt) -> list[Event]:
        """Of ledger, markets and liquidator, in order."""
        system = self.checks.cast.world.system
        return in_order(receipt, system.clearinghouse, system.perps, system.liquidator)

    def take(self, call: Call, event: Event) -> None:
        """The next event."""
        args, name = event.args, event.name
        if name in ("Deposited", "Withdrawn"):
            self._collateral(args.account, args.asset, args.word)
        elif name == "Transferred":
            self._collateral(args.donor, args.asset, args.donor_word)
            self._collateral(args.receiver, args.asset, args.receiver_word)
        elif name == "Swapped":
            self._collateral(args.account, args.asset_in, args.word_in)
            self._collateral(args.account, args.asset_out, args.word_out)
        elif name == "HoldingsTaken":
            for holding in args.holdings:
                self._taken(args.account, args.taker, holding)
        elif name == "Offset":
            units = -(args.size_wad // SIZE_STEP_WAD)
            self.markets[args.asset] = self.markets[args.asset].grown(units, units)
        elif name == "CashPaid":
            if (args.payer, args.payee) == (self.house, self.checks.cast.insurance):
                self.markets, _ = perps.insurance_fees_taken(self.markets, args.amount_wad)
        elif name == "Traded":
            self._traded(event)
        elif name == "Settled":
            self._settled(event)
        elif name == "MarketTouched":
            funding = Funding.from_word(args.market_word)
            self._change(args.asset, funding=funding)
            if funding.has_ended and not self.markets[args.asset].is_latched:
                self._ended(args.asset)
        elif name == "HeadroomRefreshed":
            self._change(args.asset, headroom=Headroom.from_word(args.headroom_word))
        elif name == "BreakerMoved":
            self._change(args.asset, breaker=Breaker.from_word(args.breaker_word))
        elif name in ("TermsChanged", "ModeChanged"):
            self.is_governed = True

    def _change(self, asset: int, **changes: Any) -> None:
        self.markets[asset] = replace(self.markets[asset], **changes)

    def _ended(self, asset: int) -> None:
        """At the newest price, without funding and backing from here on."""
        terms = replace(self.markets[asset].terms, max_funding_e6=0, weight_bps=0)
        self._change(asset, terms=terms, is_latched=True)
        self.ended_at[asset] = self.book.prices[asset].price_wad

    def _put(self, account: int, asset: int, **changes: int) -> Position:
        new = replace(self.position(account, asset), **changes)
        self._positions[account, asset] = new
        return new

    def _collateral(self, account: int, asset: int, word: int) -> None:
        if asset:
            self._put(account, asset, collateral_wad=word & LOW_128)

    def _taken(self, account: int, taker: int, holding: Any) -> None:
        """A holding changes hands in place."""
        asset = holding.asset
        entries = (holding.donor_entry_wad, holding.receiver_entry_wad)
        is_perpetual = holding.size_wad != 0 or holding.cost_wad != 0
        for who, sign, entry in zip((account, taker), (-1, 1), entries, strict=True):
            old = self.position(who, asset)
            self._put(
                who,
                asset,
                collateral_wad=old.collateral_wad + sign * holding.collateral_wad,
                size_wad=old.size_wad + sign * holding.size_wad,
                cost_wad=old.cost_wad + sign * holding.cost_wad,
                entry_wad=entry if is_perpetual else old.entry_wad,
            )

    def _traded(self, event: Event) -> None:
        checks, args = self.checks, event.args
        account, asset, change = args.account, args.asset, args.size_change
        held, mark, old = (
            self.position(account, asset),
            self.book.prices[asset],
            self.markets[asset],
        )
        is_forced = args.fee_e6 == 0
        message = f"asset {asset} has ended and was traded"
        checks.must("exact fill", is_forced or not old.is_latched, message)
        market = old.in_round(mark)
        if is_forced:
            price = self.ended_at[asset] if old.is_latched else mark.price_wad
            fill = old.forced(change, held, mark, price, self.now)[1]
        else:
            fill = old.priced(held, change, mark, self.now)
        new_size = held.size_wad + change
        grown = [wad // SIZE_STEP_WAD for wad in growths(held.size_wad, new_size)]
        market = market.grown(*grown).touched(mark, self.now)
        part = perps.insured_part_gwei(change, mark.price_wad, fill.fee_e6)
        market = replace(market, headroom=market.headroom.insured(part))
        position = self._put(
            account,
            asset,
            size_wad=new_size,
            cost_wad=held.cost_wad + fill.cost_change,
            entry_wad=fill.entry_wad,
        )
        house = self.position(self.house, asset)
        self._put(
            self.house,
            asset,
            size_wad=house.size_wad - change,
            cost_wad=house.cost_wad - fill.cost_change,
        )
        expected = (
            *(mark.price_wad, fill.price_wad, fill.fee_e6, market.exposure.word),
            *(fill.cost_change, position.cost_word, market.funding.word),
        )
        found = (
            *(args.index_wad, args.price_wad, args.fee_e6, args.exposure_word),
            *(args.cost_change, args.cost_word, args.market_word),
        )
        checks.held("exact fill")
        checks.must("exact fill", expected == found, f"filled {found}, the model says {expected}")
        self.markets[asset] = market
        is_priced = mark.is_live or old.is_latched
        checks.must("I29", is_priced, f"traded asset {asset} on a stale price")
        if max(grown) > 0 and not is_forced:
            self._increased(asset, abs(new_size), old, market, grown)

    def _increased(
        self, asset: int, size_wad: int, old: Market, new: Market, grown: Sequence[int]
    ) -> None:
        """I20: an increase ends within every cap."""
        checks, terms, mark = self.checks, new.terms, self.book.prices[asset]
        checks.held("I20 increase")
        before, after, room = old.exposure, new.exposure, new.headroom
        sides = (after.longs_gwei, after.shorts_gwei)
        within = {
            "interest": all(
                side <= terms.open_interest_cap_gwei
                for side, growth in zip(sides, grown, strict=True)
                if growth > 0
            ),
            "skew": abs(after.skew_gwei) <= max(terms.skew_cap_gwei, abs(before.skew_gwei)),
            "round": abs(after.skew_gwei - after.start_skew_gwei) <= terms.round_cap_gwei,
            "size": size_wad >= terms.min_size_gwei * SIZE_STEP_WAD,
            "headroom": min(room.long_gwei, room.short_gwei) >= 0,
            "age": not room.is_stale(self.now),
            "mode": not new.is_close_only,
            "price": mark.backs_increase,
            "breaker": not new.breaker.is_tripped(mark.price_wad),
        }
        beyond = [what for what, is_within in within.items() if not is_within]
        checks.must("I20", beyond == [], f"an increase beyond {beyond}: {old} to {new}")

    def _settled(self, event: Event) -> None:
        checks, args = self.checks, event.args
        account, asset, moved = args.account, args.asset, args.moved
        held = self.position(account, asset)
        mark = replace(
            self.book.prices[asset], funding_wad=self.markets[asset].funding.at(self.now)
        )
        result = result_wad(held, mark)
        checks.held("I19 settled")
        fine = 0 < moved <= result or result <= moved < 0
        checks.must("I19", fine, f"settled {moved} of {result}")
        position = self._put(account, asset, cost_wad=held.cost_wad + moved)
        checks.must("I19", position.cost_word == args.cost_word, f"cost word of {args}")
        house = self.position(self.house, asset)
        self._put(self.house, asset, cost_wad=house.cost_wad - moved)
        house_word = args.payer_word if moved > 0 else args.payee_word
        checks.must("I19", house_word >> 128 == 0, "the house borrowed")


def _listed(account: Account) -> tuple[Any, ...]:
    """Everything stored about an account, the order of its list included."""
    return (account.word, account.listed_word, list(account.positions.items()))


def _figures(book: Book) -> dict[str, int]:
    """What the markets say of all of them together."""
    marked = [(market, book.mark(asset)) for asset, market in book.markets.items()]
    rounds = [
        mark.made_at * (mark.is_live and not market.is_latched)
        for market, mark in marked
        if market.skew_wad
    ]
    return {
        "skew_charge_wad": perps.skew_charge_wad(marked),
        "uncertainty_wad": perps.uncertainty_wad(marked),
        "oldest_round_at": min([book.now, *rounds]),
    }
