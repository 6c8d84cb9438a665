"""What the tests of perpetuals share: a desk that trades, and what it must leave behind.

    desk = open_desk(world)                  # the house has money, headroom is fresh
    trader = desk.trader()                   # an account with a million in cash
    fill = desk.predicted(trader, 2 * WAD)   # by the exact model
    desk.trade(trader, 2 * WAD)

Sizes are in WAD units, cash is in whole quote tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ballast.chain import BLOCK_INTERVAL_S, Receipt
from ballast.model.margin import BPS, GWEI, Mark, Position, Terms, result_wad
from ballast.model.perps import Exposure, Fill, Funding, Headroom, Market, MarketTerms
from tests.clearing_kit import LOW_128, UNIT
from tests.conftest import reverts
from tests.support.reading import read_marks
from tests.support.world import QUOTE, UNLIMITED, World

ETH, BTC = 1, 2
STEP = GWEI
FAR = 2**40 - 1
MOST_GWEI = 2**72 - 1  # that a term of a market may be
LARGEST_VALUE_WAD = 2**110 - 1  # of a position that grows
WINDOW_S = 600
DEBT_SHIFT = 128
PERPETUALS_SHIFT = 136


@dataclass(frozen=True)
class Desk:
    """Trades in a world."""

    world: World

    # ---- people

    @property
    def house(self) -> int:
        """The account on the other side."""
        return self.world.system.house

    @property
    def perps(self) -> Any:
        """The contract that prices."""
        return self.world.system.perps

    @property
    def accounts(self) -> list[int]:
        """Every account that may trade in a test, and the house."""
        world = self.world
        owners = (world.owner, world.other_owner, world.attacker)
        return [self.house, *(world.account(sub, who) for who in owners for sub in range(4))]

    def trader(self, sub: int = 0, *, owner: str | None = None, cash: int = 10**6) -> int:
        """An account with cash."""
        account = self.world.account(sub, owner)
        self.world.deposit(account, QUOTE, cash * 10**6)
        return account

    def fund_house(self, cash: int) -> None:
        """Anyone may add cash to the house."""
        world = self.world
        world.fund(world.attacker, QUOTE, cash * 10**6)
        world.clearinghouse.deposit(self.house, 0, cash * 10**6, sender=world.attacker)

    def refresh(self) -> Receipt:
        """Headroom and breakers as of now."""
        receipt: Receipt = self.perps.refresh(sender=self.world.keeper)
        return receipt

    def calm(self) -> None:
        """Lets the breakers forget: two windows, each of which somebody begins."""
        for _ in range(2):
            self.world.wait(WINDOW_S)
            self.refresh()

    # ---- acting

    def trade(
        self,
        account: int,
        change: int,
        name: str = "ETH",
        *,
        limit: int | None = None,
        deadline: int = FAR,
        reduce_only: bool = False,
        sender: str | None = None,
    ) -> Receipt:
        """Buys (> 0) or sells; at any price unless told."""
        if limit is None:
            limit = UNLIMITED if change > 0 else 0
        receipt: Receipt = self.perps.trade(
            account,
            self.world.asset(name),
            change,
            limit,
            deadline,
            reduce_only,
            sender=sender or self.world.owner_of(account),
        )
        return receipt

    def settle(
        self, account: int, name: str = "ETH", losers: Sequence[tuple[int, int]] = ()
    ) -> int:
        """By a keeper; returns what moved to the account."""
        asset = self.world.asset(name)
        receipt = self.perps.settle(account, asset, list(losers), sender=self.world.keeper)
        return int(receipt.return_value)

    def set_terms(self, name: str = "ETH", **changes: int) -> None:
        """Replaces fields of a market's terms; sizes in 1e-9 units."""
        asset = self.world.asset(name)
        terms = tuple(self.perps.terms_of(asset)._replace(**changes))
        self.perps.set_terms(asset, terms, sender=self.world.governor)

    def make_free(self, name: str = "ETH") -> None:
        """No fee; impact and funding stay."""
        self.set_terms(name, base_fee_e6=0, band_e6=0, lag_s=0)

    def lift_caps(self, name: str = "ETH") -> None:
        """Caps as large as their words hold."""
        self.set_terms(
            name,
            depth_gwei=MOST_GWEI,
            open_interest_cap_gwei=MOST_GWEI // 2,
            skew_cap_gwei=MOST_GWEI // 100,
            round_cap_gwei=MOST_GWEI,
        )

    def back_only(self, name: str) -> None:
        """All that the house has is behind this one of the two markets."""
        for other in ("ETH", "BTC"):
            if other != name:
                self.set_terms(other, weight_bps=0)
        self.set_terms(name, weight_bps=BPS)
        self.refresh()

    @contextmanager
    def refused(self, reason: str) -> Iterator[None]:
        """Demands a refusal with this reason that moves nothing."""
        before = self.books()
        with reverts(reason):
            yield
        assert self.books() == before

    # ---- reading

    @property
    def next_time(self) -> int:
        """When the next transaction will be."""
        return self.world.chain.time + BLOCK_INTERVAL_S

    def held(self, account: int, name: str = "ETH") -> Position:
        """What an account holds of an asset."""
        ledger, asset = self.world.clearinghouse, self.world.asset(name)
        return Position.from_word(
            ledger.position_word(account, asset), ledger.cost_word(account, asset)
        )

    def cash(self, account: int) -> int:
        """Cash alone, WAD."""
        return int(self.world.clearinghouse.account_word(account)) & LOW_128

    def debt_shares(self, account: int) -> int:
        """Loan shares."""
        return int(self.world.clearinghouse.account_word(account)) >> DEBT_SHIFT

    def funding(self, name: str = "ETH") -> Funding:
        """The market word."""
        return Funding.from_word(self.world.clearinghouse.market_word(self.world.asset(name)))

    def mark(self, name: str = "ETH", now: int | None = None) -> Mark:
        """Price and rates, and funding as of now."""
        asset = self.world.asset(name)
        time = self.world.chain.time if now is None else now
        return replace(
            read_marks(self.world, [asset])[asset], funding_wad=self.funding(name).at(time)
        )

    def market(self, name: str = "ETH") -> Market:
        """A market by its views; the skew with which a round began and what insurance has not
        collected of the fees are not among them."""
        asset = self.world.asset(name)
        longs, shorts = (side // GWEI for side in self.perps.exposure_of(asset))
        long_room, short_room, refreshed_at = self.perps.headroom_of(asset)
        return Market(
            MarketTerms(*self.perps.terms_of(asset)),
            Exposure(longs, shorts),
            Headroom(long_room // GWEI, short_room // GWEI, refreshed_at),
            funding=self.funding(name),
        )

    def insured(self, name: str = "ETH") -> int:
        """What insurance has not collected of a market's fees, 1e-9 of the quote token.

        No view says it; a refresh does.
        """
        asset = self.world.asset(name)
        with self.world.isolated():
            events = self.perps.events(self.refresh(), "HeadroomRefreshed")
        (word,) = (event.args.headroom_word for event in events if event.args.asset == asset)
        return Headroom.from_word(word).insured_gwei

    def skew(self, name: str = "ETH") -> int:
        """Traders' longs less their shorts, WAD units."""
        longs, shorts = self.perps.exposure_of(self.world.asset(name))
        return int(longs - shorts)

    def predicted(self, account: int, change: int, name: str = "ETH") -> Fill:
        """What the next transaction would make of a trade."""
        held, now = self.held(account, name), self.next_time
        return self.market(name).priced(held, change, self.mark(name, now), now)

    def result(self, account: int, name: str = "ETH") -> int:
        """Unsettled result now."""
        return result_wad(self.held(account, name), self.mark(name))

    def assess(self, account: int) -> Terms:
        """The four figures of an account."""
        return Terms(*self.world.clearinghouse.assess(account))

    def slot(self, account: int, name: str = "ETH") -> tuple[bool, bool]:
        """Whether an asset is in the list of an account, and whether marked as a perpetual."""
        word = int(self.world.clearinghouse.listed_word(account))
        ids = [word >> 8 * i & 255 for i in range(word >> 128 & 255)]
        asset = self.world.asset(name)
        if asset not in ids:
            return False, False
        return True, word >> PERPETUALS_SHIFT + ids.index(asset) & 1 == 1

    def books(self) -> list[Any]:
        """Everything that a trade or a settlement may change."""
        ledger, world = self.world.clearinghouse, self.world
        told: list[Any] = [world.quote.balanceOf(c) for c in (ledger, world.system.vault)]
        for account in self.accounts:
            told.append(list(ledger.words_of(account)))
        for asset in self.perps.market_ids():
            told += [ledger.market_word(asset), tuple(self.perps.exposure_of(asset))]
            told += [tuple(self.perps.headroom_of(asset)), tuple(self.perps.terms_of(asset))]
        return told

    def check(self) -> None:
        """I18 I19: sizes and costs add up to zero, exposure is the traders', cash is tokens."""
        ledger, world = self.world.clearinghouse, self.world
        for name in ("ETH", "BTC"):
            held = [self.held(account, name) for account in self.accounts]
            assert sum(position.size_wad for position in held) == 0
            assert sum(position.cost_wad for position in held) == 0
            sizes = [position.size_wad for position in held[1:]]
            longs, shorts = self.perps.exposure_of(world.asset(name))
            assert longs == sum(size for size in sizes if size > 0)
            assert shorts == -sum(size for size in sizes if size < 0)
            assert held[0].size_wad == shorts - longs and held[0].entry_wad == 0
        cash = sum(self.cash(account) for account in self.accounts)
        assert cash == int(world.quote.balanceOf(ledger)) * UNIT
        assert self.debt_shares(self.house) == 0


def open_desk(world: World, house_cash: int = 10**7) -> Desk:
    """A desk whose house has cash and has just been refreshed."""
    desk = Desk(world)
    desk.fund_house(house_cash)
    desk.refresh()
    return desk


def open_rich_desk(world: World) -> tuple[Desk, int, int]:
    """A desk where nothing but the words of the ledger bounds a position in ETH, a trader who could
    pay for it, and the largest size that may be."""
    desk = open_desk(world)
    world.set_price("ETH", 100_000)
    desk.calm()
    desk.fund_house(10**17)
    desk.lift_caps()
    desk.refresh()
    return desk, desk.trader(cash=10**17), LARGEST_VALUE_WAD // 100_000 // STEP * STEP
