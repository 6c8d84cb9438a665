"""The ledger in exact integers: cash, loan shares, collateral and perpetuals, and how they move.

An account never holds a token unit of cash and a debt at once: what comes in repays first, what
goes out is borrowed only where cash ends. Debts round up, loan shares are minted up and burnt down.
Results of perpetuals move in WAD, so cash may have a part below a token unit. Quote amounts named
`units` are token units, everything else is WAD.

`Account` is one account, `Book` all of them with the house, the markets and what the vault can
lend. A book is never changed: an action returns the next one, or raises `Refused`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ballast.model import perps
from ballast.model.margin import (
    BPS,
    WAD,
    Leg,
    Mark,
    Position,
    Terms,
    assess,
    div_up,
    increase_refusal,
    is_no_riskier,
    result_wad,
    terms_of,
)
from ballast.model.perps import SIZE_STEP_WAD, Fill, Market, Order, Refused, require
from ballast.model.vault import MAX_USE_BPS

MAX_ASSETS = 16
NO_GAIN = "perpetuals: no gain"
LIST_FULL = "ledger: asset list full"
NO_ADL = "deleverager: house not short"
NO_WINNER = "deleverager: no winner to close"
LOAN_TOO_LARGE = "vault: loan too large"


@dataclass(frozen=True)
class Loans:
    """Terms of loans at one moment: units owed per share (WAD), and the WAD of a token unit."""

    index_wad: int = WAD
    unit_wad: int = 1

    def debt_up(self, shares: int) -> int:
        """Units that `shares` owe."""
        return div_up(shares * self.index_wad, WAD)

    def minted_up(self, units: int) -> int:
        """Shares of a new loan."""
        return div_up(units * WAD, self.index_wad)

    def burnt_down(self, units: int, shares: int) -> int:
        """Shares that a payment clears; all of them when it is the whole debt."""
        return shares if units == self.debt_up(shares) else units * WAD // self.index_wad

    def freed_up(self, units: int, shares: int) -> int:
        """Shares without which at least `units` less is owed, of a debt that changes hands or is
        written off; all of them when it is the whole debt."""
        whole = units == self.debt_up(shares)
        return shares if whole else min(shares, self.minted_up(units))

    @property
    def repayment_loss_wad(self) -> int:
        """An upper bound of what one repayment loses to rounding: the debt it leaves is larger than
        the old one less the payment by the fraction of a share that did not burn, rounded up."""
        return (div_up(self.index_wad, WAD)) * self.unit_wad


@dataclass(frozen=True)
class Account:
    """What one account holds. `positions` are in the order of its asset list."""

    cash_wad: int = 0
    debt_shares: int = 0
    positions: Mapping[int, Position] = field(default_factory=dict)

    # ---- reading

    def net_wad(self, loans: Loans) -> int:
        """Cash less debt."""
        return self.cash_wad - loans.debt_up(self.debt_shares) * loans.unit_wad

    def legs(self, marks: Mapping[int, Mark]) -> list[Leg]:
        """The positions at their marks, in list order."""
        return [Leg(asset, held, marks[asset]) for asset, held in self.positions.items()]

    def assess(self, marks: Mapping[int, Mark], loans: Loans) -> Terms:
        """The four figures."""
        return assess(self.net_wad(loans), self.legs(marks))

    def position(self, asset: int) -> Position:
        """What is held of an asset, an empty position if it is not listed."""
        return self.positions.get(asset, Position())

    @property
    def word(self) -> int:
        """The packed account word."""
        return self.cash_wad | self.debt_shares << 128

    @property
    def listed_word(self) -> int:
        """The packed asset list: ids, their count, and in which slots there is a perpetual."""
        word = len(self.positions) << 128
        for slot, (asset, held) in enumerate(self.positions.items()):
            word |= asset << 8 * slot | held.has_perpetual << 136 + slot
        return word

    # ---- moving

    def credited(self, units: int, loans: Loans) -> Account:
        """Cash comes in: the debt is paid first."""
        paid = min(units, loans.debt_up(self.debt_shares))
        shares = self.debt_shares - loans.burnt_down(paid, self.debt_shares)
        cash_wad = self.cash_wad + (units - paid) * loans.unit_wad
        return replace(self, cash_wad=cash_wad, debt_shares=shares)

    def debited(self, units: int, loans: Loans) -> Account:
        """Cash goes out: what is not there is borrowed."""
        from_cash = min(units, self.cash_wad // loans.unit_wad)
        shares = self.debt_shares + loans.minted_up(units - from_cash)
        cash_wad = self.cash_wad - from_cash * loans.unit_wad
        return replace(self, cash_wad=cash_wad, debt_shares=shares)

    def with_collateral(self, asset: int, change_wad: int) -> Account:
        """Collateral comes in or goes out. Raises ValueError for more than there is."""
        old = self.position(asset)
        new = replace(old, collateral_wad=old.collateral_wad + change_wad)
        if new.collateral_wad < 0:
            raise ValueError(f"{-change_wad} of asset {asset} are not there")
        return self.with_position(asset, new)

    def with_trade(self, asset: int, size_change: int, cost_change: int, entry_wad: int) -> Account:
        """A perpetual changes; cash does not."""
        old = self.position(asset)
        new = replace(
            old,
            size_wad=old.size_wad + size_change,
            cost_wad=old.cost_wad + cost_change,
            entry_wad=entry_wad,
        )
        return self.with_position(asset, new)

    def with_cash_moved(self, change_wad: int, loans: Loans) -> Account:
        """Cash comes in or goes out, to the WAD.

        What is there repays with whole units; what is not is borrowed in whole units, and what is
        left of the last one stays as cash.
        """
        cash_wad, shares = self.cash_wad + change_wad, self.debt_shares
        if cash_wad < 0:
            units = div_up(-cash_wad, loans.unit_wad)
            shares += loans.minted_up(units)
            cash_wad += units * loans.unit_wad
        else:
            units = min(cash_wad // loans.unit_wad, loans.debt_up(shares))
            shares -= loans.burnt_down(units, shares)
            cash_wad -= units * loans.unit_wad
        return replace(self, cash_wad=cash_wad, debt_shares=shares)

    def with_settlement(self, asset: int, gain_wad: int, loans: Loans) -> Account:
        """A result of a perpetual becomes cash, to the WAD."""
        old = self.position(asset)
        settled = self.with_position(asset, replace(old, cost_wad=old.cost_wad + gain_wad))
        return settled.with_cash_moved(gain_wad, loans)

    def with_position(self, asset: int, new: Position) -> Account:
        """What is held of an asset changes.

        A position that becomes empty leaves the list, and the last one takes its place.
        """
        if new != Position():
            return replace(self, positions={**self.positions, asset: new})
        if asset not in self.positions:
            return self
        order = list(self.positions)
        last = order.pop()
        if last != asset:
            order[order.index(asset)] = last
        return replace(self, positions={key: self.positions[key] for key in order})


@dataclass(frozen=True)
class Lender:
    """What limits the vault's loans: idle units, and the loan shares of all accounts."""

    idle: int = 0
    debt_shares: int = 0

    def max_loan(self, loans: Loans) -> int:
        """The most units that it lends now."""
        debt = loans.debt_up(self.debt_shares)
        return max(0, (self.idle + debt) * MAX_USE_BPS // BPS - debt)


@dataclass(frozen=True)
class Book:
    """All accounts with the house, all markets, and prices, loans and time of one moment.

    `prices` are the oracle's marks, whose funding is that of the markets. The house is the other
    side of every trade, so over all accounts sizes and costs of each market add up to zero.
    """

    house: int
    markets: Mapping[int, Market]
    prices: Mapping[int, Mark]
    accounts: Mapping[int, Account] = field(default_factory=dict)
    loans: Loans = Loans()
    lender: Lender = Lender()
    now: int = 0

    # ---- reading

    def account(self, account: int) -> Account:
        """What an account holds."""
        return self.accounts.get(account, Account())

    def mark(self, asset: int, account: int | None = None) -> Mark:
        """Price, rates and funding of an asset now, as they apply to an account."""
        mark = self._marks[asset]
        if account == self.house:
            return mark.for_house(self.account(account).position(asset).delta_wad)
        return mark

    @cached_property
    def _marks(self) -> Mapping[int, Mark]:
        return {
            asset: replace(mark, funding_wad=self.markets[asset].funding.at(self.now))
            if asset in self.markets
            else mark
            for asset, mark in self.prices.items()
        }

    def legs(self, account: int) -> list[Leg]:
        """The positions of an account at their marks, in list order."""
        held = self.account(account)
        return held.legs({asset: self.mark(asset, account) for asset in held.positions})

    def net_wad(self, account: int) -> int:
        """Cash less debt."""
        return self.account(account).net_wad(self.loans)

    def assess(self, account: int) -> Terms:
        """The four figures of an account, the house at its own rates."""
        return assess(self.net_wad(account), self.legs(account))

    def result_wad(self, account: int, asset: int) -> int:
        """Unsettled result of a perpetual."""
        return result_wad(self.account(account).position(asset), self.mark(asset))

    def increase_refusal(self, account: int) -> str:
        """Why an increase of risk that led here is refused, "" if it is allowed."""
        has_debt = self.account(account).debt_shares != 0
        return increase_refusal(self.net_wad(account), self.legs(account), has_debt)

    @property
    def free_wad(self) -> int:
        """What the house's initial equity has left beyond both sides of every market."""
        return perps.free_wad(self.assess(self.house).equity_init, self._marked_markets())

    @property
    def nav_wad(self) -> int:
        """The house's equity less what it owes in premiums; bad debt is not known here."""
        charge = perps.skew_charge_wad(self._marked_markets())
        return self.assess(self.house).equity_maint - charge

    def _marked_markets(self) -> list[tuple[Market, Mark]]:
        return [(market, self.mark(asset)) for asset, market in self.markets.items()]

    # ---- what always holds

    def size_sum(self, asset: int) -> int:
        """Sizes over all accounts; always zero."""
        return sum(held.position(asset).size_wad for held in self.accounts.values())

    def cost_sum(self, asset: int) -> int:
        """Costs over all accounts; always zero."""
        return sum(held.position(asset).cost_wad for held in self.accounts.values())

    @property
    def cash_sum(self) -> int:
        """Cash over all accounts: the tokens that lie in the clearing house."""
        return sum(held.cash_wad for held in self.accounts.values())

    def faults(self) -> list[str]:
        """What should always hold and does not; empty for a sound book.

        Deposits, withdrawals and the vault's own lenders change tokens, and are not judged here.
        """
        found = []
        for asset, market in self.markets.items():
            if self.size_sum(asset) or self.cost_sum(asset):
                found.append(f"sizes or costs of asset {asset} do not add up to zero")
            sizes = [
                held.position(asset).size_wad
                for account, held in self.accounts.items()
                if account != self.house
            ]
            longs = sum(size for size in sizes if size > 0)
            shorts = -sum(size for size in sizes if size < 0)
            known = market.exposure
            if (longs, shorts) != (
                known.longs_gwei * SIZE_STEP_WAD,
                known.shorts_gwei * SIZE_STEP_WAD,
            ):
                found.append(f"exposure of asset {asset} is not that of its traders")
        if sum(held.debt_shares for held in self.accounts.values()) != self.lender.debt_shares:
            found.append("loan shares are not the lender's")
        if any(held.cash_wad < 0 for held in self.accounts.values()):
            found.append("cash below zero")
        if any(
            held.debt_shares and held.cash_wad >= self.loans.unit_wad
            for held in self.accounts.values()
        ):
            found.append("a unit of cash beside a debt")
        if self.account(self.house).debt_shares:
            found.append("the house borrows")
        return found

    # ---- acting

    def with_account(self, account: int, held: Account) -> Book:
        """An account holds something else; what the lender has is the caller's business."""
        return replace(self, accounts={**self.accounts, account: held})

    def credited(self, account: int, units: int) -> Book:
        """Tokens come in."""
        held = self.account(account)
        return self._stored(account, held.credited(units, self.loans), units * self.loans.unit_wad)

    def debited(self, account: int, units: int) -> Book:
        """Tokens go out; neither margin nor the vault's limit is tested."""
        held = self.account(account)
        return self._stored(account, held.debited(units, self.loans), -units * self.loans.unit_wad)

    def with_payment(self, payer: int, payee: int, amount_wad: int) -> Book:
        """Cash moves from one account to another, what the payer has not is borrowed."""
        own = self.account(payer).with_cash_moved(-amount_wad, self.loans)
        book = self._stored(payer, own, -amount_wad)
        lent = self.lender.idle - book.lender.idle
        require(lent <= self.lender.max_loan(self.loans), LOAN_TOO_LARGE)
        return book.paid_in(payee, amount_wad)

    def paid_in(self, account: int, amount_wad: int) -> Book:
        """Cash that lies here already becomes an account's."""
        held = self.account(account).with_cash_moved(amount_wad, self.loans)
        return self._stored(account, held, amount_wad)

    def with_debt_moved(self, debtor: int, heir: int, shares: int) -> Book:
        """Loan shares change hands; the heir repays at once as far as its cash reaches."""
        own, other = self.account(debtor), self.account(heir)
        own = replace(own, debt_shares=own.debt_shares - shares)
        other = replace(other, debt_shares=other.debt_shares + shares)
        return self.with_account(debtor, own).with_account(heir, other).paid_in(heir, 0)

    def written_off(self, account: int, shares: int) -> Book:
        """Loan shares are forgiven; what lies idle with the lender stays."""
        held = self.account(account)
        held = replace(held, debt_shares=held.debt_shares - shares)
        lender = replace(self.lender, debt_shares=self.lender.debt_shares - shares)
        return replace(self.with_account(account, held), lender=lender)

    def trade(self, order: Order) -> tuple[Book, Fill]:
        """Prices a trade, books it, settles a position that it closes, and tests the margin."""
        market, own = self._market(order.asset), self.account(order.account)
        held, mark = own.position(order.asset), self.prices[order.asset]
        market, fill = market.filled(order, held, mark, self.now)
        require(order.asset in own.positions or len(own.positions) < MAX_ASSETS, LIST_FULL)
        priced = replace(self, markets={**self.markets, order.asset: market})
        after, reason = priced.traded(order.account, order.asset, fill)
        require(not reason, reason)
        return after, fill

    def settle(
        self, account: int, asset: int, losers: Sequence[tuple[int, int]] = ()
    ) -> tuple[Book, int]:
        """Pays a gain out, as far as the house has cash.

        What is missing is collected from `losers` (account and asset), one after the other and no
        more than is missing; one who turns out to have a gain pays nothing. The loss of a closed
        position is collected as far as the account's own cash reaches; that of an open one only for
        a winner. The house is neither. Returns what moved to the account.
        """
        require(account != self.house, perps.NOT_FOR_THE_HOUSE)
        gain = self.payable_gain_wad(account, asset)
        if gain < 0:
            require(self.account(account).position(asset).size_wad == 0, NO_GAIN)
            book, moved = self._collected(account, asset, self.account(account).cash_wad)
        else:
            book, moved = self._paid(account, asset, gain)
        for loser, known in losers:
            require(loser != self.house, perps.NOT_FOR_THE_HOUSE)
            if moved >= gain:
                break
            book, _ = book._collected(loser, known, gain - moved)
            book, more = book._paid(account, asset, gain - moved)
            moved += more
        return book, moved

    def payable_gain_wad(self, account: int, asset: int) -> int:
        """What settling could pay of a gain, or a loss (< 0).

        The gain of an open position is the lesser of two prices', of which neither may be unusable;
        where the market has ended it waits for its turn.
        """
        held, mark = self.account(account).position(asset), self.mark(asset)
        result = result_wad(held, mark)
        if held.size_wad != 0 and self._market(asset).is_latched:
            return 0
        if held.size_wad == 0 or result <= 0:
            return result
        require(mark.backs_increase, perps.PRICE_NOT_USABLE)
        return max(0, min(result, result_wad(held, mark, mark.price.previous_wad)))

    def accrue(self, asset: int) -> Book:
        """Brings the funding of a market up to now."""
        market = self._market(asset)
        require(self.prices[asset].is_live, perps.PRICE_STALE)
        market = market.touched(self.prices[asset], self.now)
        return replace(self, markets={**self.markets, asset: market})

    def adl(self, account: int, asset: int, size_wad: int) -> tuple[Book, Fill]:
        """Closes a winner at the index price; whether a hedge's time has come is not judged."""
        require(self.assess(self.house).excess_maint < 0, NO_ADL)
        bound = self.adl_bound_wad(account, asset)
        require(bound > 0, NO_WINNER)
        require(self.prices[asset].is_live, perps.PRICE_STALE)
        closed = min(size_wad // SIZE_STEP_WAD * SIZE_STEP_WAD, bound)
        require(closed > 0, perps.NOT_IN_STEPS)
        held = self.account(account).position(asset)
        change = -closed if held.size_wad > 0 else closed
        return self._forced(account, asset, change, self.prices[asset].price_wad)

    def latch(self, asset: int) -> Book:
        """Ends a market; the price of all who are left is the newest."""
        market = self._market(asset).latched(self.prices[asset], self.now)
        return replace(self, markets={**self.markets, asset: market})

    def wind_down(self, asset: int, accounts: Sequence[int], price_wad: int) -> Book:
        """Closes what each account has in a market that has ended, at the price of the latch."""
        book = self
        for account in accounts:
            size = book.account(account).position(asset).size_wad
            if size != 0 and account != self.house:
                book, _ = book._forced(account, asset, -size, price_wad)
        return book

    def refresh(self) -> Book:
        """Recomputes every headroom, and moves the breakers."""
        free = self.free_wad
        markets = {
            asset: market.refreshed(free, self.prices[asset], self.now)
            for asset, market in self.markets.items()
        }
        return replace(self, markets=markets)

    # ---- how much

    def largest_order_wad(self, account: int, asset: int, is_long: bool) -> int:
        """The size of the largest order of that side that would be filled now, price no matter.

        Caps are closed forms. The margin left is concave in the size, so its end is found by
        halving: from closing what is on the other side, from nothing, or, below initial margin,
        from the order that takes most of the exposure away.
        """
        market, mark = self.markets[asset], self.mark(asset)
        held, sign = self.account(account).position(asset), 1 if is_long else -1

        def fits(steps: int) -> bool:
            change = sign * steps * SIZE_STEP_WAD
            fill = market.priced(held, change, mark, self.now)
            return not self.traded(account, asset, fill)[1]

        closing = max(0, -sign * held.size_wad) // SIZE_STEP_WAD
        growth = market.largest_increase_wad(held.size_wad, is_long, mark, self.now)
        most = closing + growth // SIZE_STEP_WAD
        if most == 0 or not mark.is_live:
            return 0
        if fits(most):
            return most * SIZE_STEP_WAD
        may_close = closing != 0 and fits(closing)
        good, bad = (closing, most) if may_close else (0, closing or most)
        if not may_close and self.increase_refusal(account):
            hedged = max(0, -sign * held.delta_wad) // SIZE_STEP_WAD
            starts = (min(hedged, bad - 1), min(1, bad - 1))
            good = next((start for start in starts if start and fits(start)), 0)
            bad = bad if good else 1
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if fits(middle) else (good, middle)
        if good > closing:
            try:
                self.trade(Order(account, asset, sign * good * SIZE_STEP_WAD))
            except Refused:  # too small for an increase
                return closing * SIZE_STEP_WAD
        return good * SIZE_STEP_WAD

    def adl_bound_wad(self, account: int, asset: int) -> int:
        """The most of a winner's position that may be closed for the house's sake."""
        if self.result_wad(account, asset) <= 0:
            return 0
        house = self.account(self.house).position(asset)
        size = self.account(account).position(asset).size_wad
        excess = self.assess(self.house).excess_maint
        return perps.adl_bound_wad(excess, house, size, self.mark(asset))

    def is_hedge(self, account: int, asset: int) -> bool:
        """Whether a perpetual does not carry its account's net exposure."""
        held = self.account(account).position(asset)
        return held.delta_wad * held.size_wad <= 0

    # ---- inside

    def _forced(self, account: int, asset: int, change: int, price_wad: int) -> tuple[Book, Fill]:
        held, mark = self.account(account).position(asset), self.prices[asset]
        market, fill = self._market(asset).forced(change, held, mark, price_wad, self.now)
        priced = replace(self, markets={**self.markets, asset: market})
        return priced.traded(account, asset, fill)[0], fill

    def _market(self, asset: int) -> Market:
        require(asset in self.markets, perps.UNKNOWN_MARKET)
        return self.markets[asset]

    def traded(self, account: int, asset: int, fill: Fill) -> tuple[Book, str]:
        """Both sides of a trade booked, settled if it closes the position, and why it is refused.

        Whether it is less or equally risky is judged by the books, before anything becomes cash.
        """
        mark, change, cost = self.mark(asset), fill.size_change, fill.cost_change
        old = self.account(account)
        own = old.with_trade(asset, change, cost, fill.entry_wad)
        book = self.with_account(account, own)
        house = book.account(self.house).with_trade(asset, -change, -cost, 0)
        book = book.with_account(self.house, house)
        held, new = old.position(asset), own.position(asset)
        is_safer = is_no_riskier(
            terms_of(held, mark), terms_of(new, mark), [(held.delta_wad, new.delta_wad)]
        )
        if new.size_wad == 0 and new.cost_wad < 0:
            book, _ = book._paid(account, asset, -new.cost_wad)
        elif new.size_wad == 0:
            book, _ = book._collected(account, asset, new.cost_wad)
        return book, "" if is_safer else book.increase_refusal(account)

    def _paid(self, account: int, asset: int, most_wad: int) -> tuple[Book, int]:
        """A gain, as far as the house has cash."""
        return self._settled(account, asset, min(most_wad, self.account(self.house).cash_wad))

    def _collected(self, account: int, asset: int, most_wad: int) -> tuple[Book, int]:
        """A loss: cash first, then a loan within the vault's limit and the account's own equity."""
        loss = -self.payable_gain_wad(account, asset)
        if loss <= 0:
            return self, 0
        amount, payable = min(loss, most_wad), self.account(account).cash_wad
        if payable < amount:
            loan_wad = self.lender.max_loan(self.loans) * self.loans.unit_wad
            equity = loss + self.assess(account).equity_init
            payable = max(payable, min(payable + loan_wad, equity))
        return self._settled(account, asset, -min(amount, payable))

    def _settled(self, account: int, asset: int, gain_wad: int) -> tuple[Book, int]:
        if gain_wad == 0:
            return self, 0
        own = self.account(account).with_settlement(asset, gain_wad, self.loans)
        book = self._stored(account, own, gain_wad)
        house = book.account(self.house).with_settlement(asset, -gain_wad, self.loans)
        return book.with_account(self.house, house), gain_wad

    def _stored(self, account: int, new: Account, received_wad: int) -> Book:
        """An account after it received an amount; what else its cash gained was borrowed."""
        old = self.account(account)
        borrowed_wad = new.cash_wad - old.cash_wad - received_wad
        lender = Lender(
            self.lender.idle - borrowed_wad // self.loans.unit_wad,
            self.lender.debt_shares + new.debt_shares - old.debt_shares,
        )
        return replace(self.with_account(account, new), lender=lender)
