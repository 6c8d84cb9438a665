"""What the tests of liquidation share: accounts below maintenance, takers, what must come of both.

    floor = open_floor(world)                  # the house has money, headroom is fresh
    victim = world.open_account("2.5")
    floor.sink(victim)                         # the price falls until it is below maintenance
    terms, part = floor.foresee(victim)        # by the exact model, for the next transaction
    floor.liquidate(victim, floor.taker())

Means are what stands between a loss and the lenders; `lose` liquidates an account with a deficit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ballast.chain import BLOCK_INTERVAL_S, Receipt
from ballast.model.liquidation import LiquidationTerms, Slice, slice_of
from ballast.model.margin import BPS, WAD, Leg, Terms, assess, div_up
from ballast.model.perps import Funding
from tests.clearing_kit import UNIT, args_of, debt_units, excess_init
from tests.perps_kit import Desk
from tests.support.reading import listed_assets, read_account, read_loans, read_marks
from tests.support.world import QUOTE, World

ANY_STATE = b"\0" * 32
HEALTHY = "liquidator: account is healthy"
NOT_FOR_HOUSE = "liquidator: not for the house"
CHANGED = "liquidator: account changed"
NOT_PERMITTED = "operators: not permitted"
NEVER = 2**40 - 1
DAY_S = 86_400
WATCH_S = 600
# A taker pays a loan share more, in whole units up: the index is between one and two here.
SHARE_WAD = 2 * UNIT
# A repayment burns loan shares down and a debt counts up: each move of a loan may cost a unit.
ROUNDING_WAD = 4 * UNIT
CENT_WAD = 10**16


@dataclass(frozen=True)
class Floor(Desk):
    """A desk on which accounts fail. The taker's accounts belong to the other owner."""

    @property
    def liquidator(self) -> Any:
        """The contract under test."""
        return self.world.system.liquidator

    @property
    def fund(self) -> Any:
        """Owner of the insurance fund."""
        return self.world.system.insurance_fund

    @property
    def insurance(self) -> int:
        """The fund's account."""
        return self.world.system.insurance

    @property
    def accounts(self) -> list[int]:
        """As of a desk, insurance and the account that takes for tokens."""
        own = self.world.system.token_liquidator.ACCOUNT()
        return [*super().accounts, self.insurance, own]

    # ---- scenes

    def taker(self, sub: int = 0, *, cash: int = 100_000, ether: int = 0) -> int:
        """An account to take with: whole quote tokens, whole ETH."""
        account = self.world.account(sub, self.world.other_owner)
        self.world.deposit(account, QUOTE, cash * 10**6)
        self.world.deposit(account, "ETH", ether * WAD)
        return account

    def insure(self, units: int) -> None:
        """Anyone may add token units to the fund."""
        world = self.world
        world.fund(world.attacker, QUOTE, units)
        world.clearinghouse.deposit(self.insurance, 0, units, sender=world.attacker)

    def sink(self, *accounts: int, name: str = "ETH", step_bps: int = 100) -> None:
        """The price of an asset falls in steps until all accounts are below maintenance."""
        while any(self.assess(account).excess_maint >= 0 for account in accounts):
            price = self.world.price_wad(name) // CENT_WAD
            self.world.set_price(name, Decimal(price - price * step_bps // BPS).scaleb(-2))

    def drop(self, price: int, *, name: str = "ETH") -> None:
        """A price that nobody has sampled: rates stay as they are."""
        self.world.set_price(name, price, is_poked=False)

    def put_terms(self, **changes: int) -> None:
        """Replaces fields of the terms of liquidation."""
        terms = tuple(self.liquidator.terms()._replace(**changes))
        self.liquidator.set_terms(terms, sender=self.world.governor)

    def drain(self) -> None:
        """The lender takes out all that is not lent."""
        world, vault = self.world, self.world.system.vault
        units = vault.maxWithdraw(world.lender)
        vault.withdraw(units, world.lender, world.lender, sender=world.lender)
        assert vault.max_loan() == 0

    # ---- acting

    def liquidate(
        self,
        account: int,
        taker: int,
        *,
        state: bytes = ANY_STATE,
        sender: str | None = None,
        gas: int | None = None,
    ) -> Receipt:
        """By the taker's owner unless told."""
        sender = sender or self.world.owner_of(taker)
        receipt: Receipt = self.liquidator.liquidate(account, taker, state, sender=sender, gas=gas)
        return receipt

    def buy(
        self,
        account: int,
        *,
        most: int = 10**11,
        receiver: str | None = None,
        state: bytes = ANY_STATE,
    ) -> Receipt:
        """For tokens of the attacker."""
        world, seller = self.world, self.world.system.token_liquidator
        world.fund(world.attacker, QUOTE, most)
        world.quote.approve(seller, most, sender=world.attacker)
        receipt: Receipt = seller.liquidate(
            account, most, receiver or world.attacker, state, sender=world.attacker
        )
        return receipt

    def flag(self, account: int) -> Receipt:
        """By a keeper."""
        receipt: Receipt = self.liquidator.flag(account, sender=self.world.keeper)
        return receipt

    def watch(self, account: int, until: int) -> None:
        """Time passes, and somebody flags an account just often enough for its time to count."""
        while until - self.world.chain.time > WATCH_S:
            self.world.chain.advance(WATCH_S - BLOCK_INTERVAL_S)
            self.flag(account)
        self.world.chain.set_time(until)

    # ---- reading

    @contextmanager
    def a_block_later(self) -> Iterator[None]:
        """What the next transaction finds; nothing inside lasts."""
        with self.world.isolated():
            self.world.chain.advance(BLOCK_INTERVAL_S)
            yield

    def policy(self) -> LiquidationTerms:
        """The terms in force."""
        return LiquidationTerms(**self.liquidator.terms()._asdict())

    def legs(self, account: int) -> list[Leg]:
        """Positions in the order of the list, at their marks."""
        ledger, now = self.world.clearinghouse, self.world.chain.time
        marks = read_marks(self.world, listed_assets(self.world, account))
        for asset, mark in marks.items():
            funding = Funding.from_word(ledger.market_word(asset))
            marks[asset] = replace(mark, funding_wad=funding.at(now))
        return read_account(self.world, account).legs(marks)

    def now(self, account: int) -> tuple[Terms, Slice]:
        """The account and what would be taken of it in this very block."""
        legs = self.legs(account)
        net = read_account(self.world, account).net_wad(read_loans(self.world))
        terms = assess(net, legs)
        since = self.liquidator.flagged_since(account)[0]
        elapsed_s = self.world.chain.time - since if since else 0
        units = {leg.asset: self._unit(leg.asset) for leg in legs}
        house_cash = self.cash(self.house)
        return terms, slice_of(terms, legs, elapsed_s, self.policy(), house_cash, units)

    def foresee(self, account: int) -> tuple[Terms, Slice]:
        """The same for the next transaction."""
        with self.a_block_later():
            return self.now(account)

    def worth(self, account: int) -> int:
        """Equity at maintenance."""
        return self.assess(account).equity_maint

    def told(self, receipt: Receipt, name: str) -> Any:
        """The one event of the liquidator called so."""
        return args_of(self.liquidator, receipt, name)

    def names_of(self, receipt: Receipt) -> list[str]:
        """Events of the liquidator in order."""
        return [event.name for event in self.liquidator.events(receipt)]

    def books(self) -> list[Any]:
        """As of a desk, with flags and what was drawn."""
        told = super().books()
        for account in self.accounts[1:]:
            told.append(tuple(self.liquidator.flagged_since(account)))
            told.append(tuple(self.liquidator.drawn_today(account)))
        return [*told, self.world.quote.balanceOf(self.liquidator)]

    def _unit(self, asset: int) -> int:
        return int(self.world.clearinghouse.asset_word(asset)) >> 160 & (2**72 - 1)


def open_floor(world: World, house_cash: int = 10**7) -> Floor:
    """A floor whose house has cash, if it is to have any, and has just been refreshed."""
    floor = Floor(world)
    if house_cash:
        floor.fund_house(house_cash)
        floor.refresh()
    return floor


# ---- accounts below maintenance


def spot_victim(floor: Floor, *, is_enrolled: bool = False) -> int:
    """12.5 ETH against a loan of 15,000, just below maintenance; with a policy that sells."""
    account = floor.world.open_account("2.5")
    if is_enrolled:
        floor.world.enrol(account)
    floor.sink(account)
    return account


def hedger(floor: Floor, short: int) -> int:
    """10 ETH, a short of some of them and as much debt as there may be, just below maintenance."""
    world = floor.world
    account = world.account()
    world.deposit(account, "ETH", 10 * WAD)
    floor.trade(account, -short * WAD)
    world.borrow(account, excess_init(world, account) // UNIT - 10**6)
    floor.sink(account, step_bps=100 if short < 10 else -100)
    return account


def long_victim(floor: Floor) -> int:
    """Cash and a long of 10 ETH."""
    account = floor.trader(cash=6_000)
    floor.trade(account, 10 * WAD)
    floor.sink(account)
    return account


def short_victim(floor: Floor) -> int:
    """Cash and a short of 10 ETH."""
    account = floor.trader(cash=6_000)
    floor.trade(account, -10 * WAD)
    floor.sink(account, step_bps=-100)
    return account


def debtor(floor: Floor) -> int:
    """Owes the house for a closed position, beside ether that has fallen."""
    world = floor.world
    floor.drain()
    account = world.account(2)
    world.deposit(account, "ETH", 10 * WAD)
    floor.trade(account, WAD, "BTC")
    world.set_price("BTC", 27_000)
    floor.trade(account, -WAD, "BTC")
    owed = floor.held(account, "BTC")
    assert owed.size_wad == 0 and owed.cost_wad > 2_900 * WAD
    floor.sink(account)
    return account


# ---- deficits


@dataclass(frozen=True)
class Means:
    """What stands between a loss and the lenders."""

    insurance: int = 0
    account_cap: int = 50_000
    day_cap: int = 250_000
    house: int = 0


def with_means(world: World, means: Means) -> Floor:
    """A floor with these and no others."""
    floor = open_floor(world, means.house)
    floor.put_terms(account_cap_wad=means.account_cap * WAD, day_cap_wad=means.day_cap * WAD)
    if means.insurance:
        floor.insure(means.insurance * 10**6)
    return floor


def missing_from(floor: Floor, account: int, need: int) -> tuple[int, int, int, int]:
    """What insurance, house, lenders and claims bear of it, from what the books say now."""
    terms = floor.liquidator.terms()
    by_account, by_all, by_house = floor.liquidator.drawn_today(account)
    caps = (terms.account_cap_wad - by_account, terms.day_cap_wad - by_all)
    insurance = min(need, floor.cash(floor.insurance), *caps)
    house = floor.assess(floor.house)
    cap = max(0, house.equity_init) * terms.house_day_bps // BPS - by_house
    from_house = max(0, min(need - insurance, house.excess_init, cap))
    left = need - insurance - from_house
    owed = debt_units(floor.world, account) - (insurance + from_house) // UNIT
    lenders = min(div_up(left, UNIT), max(owed, 0)) * UNIT
    return insurance, from_house, lenders, max(0, left - lenders)


@dataclass(frozen=True)
class Loss:
    """A liquidation with a deficit: what was foretold and what happened."""

    receipt: Receipt
    need_wad: int
    foretold: tuple[int, int, int, int]
    booked: tuple[int, int, int, int]
    taker_gain_wad: int
    insurance_change_wad: int
    house_change_wad: int
    lenders_change: int  # token units


def lose(floor: Floor, victim: int, taker: int) -> Loss:
    """Liquidates with a deficit and demands what holds whoever bears it."""
    vault = floor.world.system.vault
    accounts = (taker, floor.insurance, floor.house)
    with floor.a_block_later():
        terms, part = floor.now(victim)
        need = part.discount_wad - terms.equity_maint
        assert need > 0 and part.fraction_wad == WAD
        foretold = missing_from(floor, victim, need)
        before = [floor.worth(account) for account in accounts]
        assets = vault.totalAssets()
        drawn = floor.liquidator.drawn_today(victim)
        assert floor.liquidator.preview(victim).deficit_wad == need
    receipt = floor.liquidate(victim, taker)
    told = floor.told(receipt, "DeficitBooked")
    booked = tuple(told)[1:]
    assert told.account == victim and 0 <= sum(booked) - need < UNIT
    assert sum(foretold) - need < UNIT
    liquidated = floor.told(receipt, "Liquidated")
    assert (liquidated.bonus_wad, liquidated.fee_wad) == (part.discount_wad, 0)
    gain, insurance, house = (
        floor.worth(account) - old for account, old in zip(accounts, before, strict=True)
    )
    assert 0 <= part.discount_wad - gain < 2 * ROUNDING_WAD, "a unit for each repayment and loan"
    after = floor.liquidator.drawn_today(victim)
    changes = [new - old for new, old in zip(after, drawn, strict=True)]
    assert changes == [booked[0], booked[0], booked[1]]
    lenders = vault.totalAssets() - assets
    return Loss(receipt, need, foretold, booked, gain, insurance, house, lenders)


def assert_nothing_left(floor: Floor, account: int) -> None:
    """No holding; of cash or debt no more than what repayments and write-offs round to."""
    word, *listed = floor.world.clearinghouse.words_of(account)
    assert listed == [0] and word % 2**128 < ROUNDING_WAD
    assert debt_units(floor.world, account) <= 4
