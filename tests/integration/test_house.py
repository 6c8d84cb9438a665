"""The house can pay every hedge at any fall, so that lenders lose nothing on hedged loans (A1).

A book of hedgers takes all the headroom there is, borrows against its hedged collateral as far as
margin allows, and then the price falls, along the hours of 12 March 2020 (ETH in whole dollars) and
on to almost nothing. Nobody is liquidated in this story: hedges alone must carry the loans.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.world import QUOTE, WAD, AssetSpec, World, build_world

ETH = 1
FAR = 2**40 - 1
STEP = 10**9
START = 194
MARCH_2020 = (188, 184, 178, 171, 158, 141, 134, 132, 128, 131, 110, 93, 107, 124, 112)
ONWARD = (95, 75, 60, 45, 30, 20, 12, 7, 4)
HOUSE_UNITS = 2_000_000 * 10**6
HEDGERS = 6


@dataclass
class Book:
    """A house, hedgers at the limit of what it can back, and as many longs as there are shorts."""

    world: World
    hedgers: list[int]
    longs: list[int]

    def trade(self, account: int, size: int, owner: str) -> None:
        """Buys or sells at any price."""
        limit = 2**255 if size > 0 else 0
        self.world.system.perps.trade(account, ETH, size, limit, FAR, False, sender=owner)

    def size(self, account: int) -> int:
        """Signed size of an account's perpetual."""
        word = int(self.world.clearinghouse.position_word(account, ETH))
        size = word >> 128
        return size - (size >> 127 << 128)

    def close(self, account: int, owner: str) -> None:
        """To zero, settled as far as the house can pay."""
        if self.size(account):
            self.trade(account, -self.size(account), owner)


def _fill_headroom(book: Book, account: int, is_long: bool, most: int) -> int:
    """Opens until nothing more is backed, or `most` is reached; returns what was opened."""
    world, opened = book.world, 0
    owner = world.owner_of(account)
    for _ in range(40):
        world.refresh()
        world.system.perps.refresh(sender=world.keeper)
        room = int(world.system.perps.largest_increase(ETH, account, is_long))
        size = min(room, most - opened) // STEP * STEP
        if size < 10**17:
            break
        book.trade(account, size if is_long else -size, owner)
        opened += size
    return opened


@pytest.fixture(scope="module")
def book() -> Book:
    """Shared; whoever uses it isolates what it does."""
    return build_book()


def build_book() -> Book:
    """Hedgers at the headroom limit, each with its loan, and longs of the same size in all."""
    terms = {"quota": 10**6, "supply_cap": 10**6}
    world = build_world({"ETH": AssetSpec(18, START, terms), "BTC": AssetSpec(8, 8_000)})
    owner, other = world.owner, world.other_owner
    for who in (owner, other):
        world.fund(who, QUOTE, 10**14)
    world.clearinghouse.deposit(world.system.house, 0, HOUSE_UNITS, sender=other)
    book = Book(world, [], [])
    # As many longs first: they make no room for shorts, because they may close at any time.
    long = world.account(0, other)
    world.clearinghouse.deposit(long, 0, 5_000_000 * 10**6, sender=other)
    longs = _fill_headroom(book, long, True, 9_000 * WAD)
    assert longs > 5_000 * WAD
    book.longs.append(long)
    shorts = 0
    for sub in range(HEDGERS):
        account = world.account(sub)
        collateral = 3_000 * WAD
        world.deposit(account, "ETH", collateral)
        world.clearinghouse.deposit(account, 0, 10_000 * 10**6, sender=owner)
        opened = _fill_headroom(book, account, False, collateral)
        spare = (collateral - opened) // STEP * STEP
        if spare:
            world.clearinghouse.withdraw(account, ETH, spare, owner, sender=owner)
        if not opened:
            break
        shorts += opened
        book.hedgers.append(account)
    assert shorts > 7_000 * WAD and len(book.hedgers) > 2
    room = int(world.system.perps.largest_increase(ETH, book.hedgers[0], False))
    assert room < 10 * WAD, "the house backs no more shorts"
    for account in book.hedgers:
        equity, required, _, _ = world.clearinghouse.assess(account)
        spare = (equity - required) * 98 // 100 // world.unit_wad(QUOTE)
        cash = int(world.clearinghouse.picture_of(account)[0]) // world.unit_wad(QUOTE)
        world.clearinghouse.withdraw(account, 0, spare, owner, sender=owner)
        assert spare > 5 * cash, "most of it is lenders' money"
    return book


@pytest.mark.parametrize("longs_leave", [False, True], ids=["longs stay", "longs leave first"])
def test_fall__hedgers_at_the_headroom_limit__lenders_lose_nothing(
    book: Book, longs_leave: bool
) -> None:
    """A1, done by the funding rule: shorts are backed in full as if every long had closed.

    The naive rule nets longs against shorts; it would have let in as many hedges again as there are
    longs, which nobody could pay once the longs are gone.
    """
    world = book.world
    with world.isolated():
        vault, house = world.system.vault, world.system.house
        owed_to_lenders = int(vault.totalAssets())
        for price in MARCH_2020 + ONWARD:
            world.set_price("ETH", price)
            if longs_leave and price <= START * 0.9:
                for account in book.longs:
                    book.close(account, world.other_owner)
            for account in book.hedgers:
                _, _, equity, _ = world.clearinghouse.assess(account)
                assert equity > 0, f"a hedged account is worth {equity} at {price}"
        if longs_leave:
            assert not any(book.size(account) for account in book.longs)
        assert int(world.clearinghouse.picture_of(house)[0]) > 0
        for account in book.hedgers:
            book.close(account, world.owner)
            assert world.clearinghouse.cost_word(account, ETH) == 0, "a hedge was not paid in full"
            assert world.clearinghouse.picture_of(account)[0] >= 0, "a loan outlived its hedge"
        assert int(vault.totalAssets()) >= owed_to_lenders
        assert int(vault.total_debt()) == 0
        assert int(world.clearinghouse.picture_of(house)[0]) >= 0


def test_fall__house_that_kept_only_what_the_net_rule_asks__could_not_pay() -> None:
    """A1 on the naive rule: the house funded for its net exposure, which is next to nothing here.

    The ledger's own test of the house is that net rule; what keeps more in is `Perps.free_wad`, to
    which the liquidity vault binds its exits. Without its code its address can take the rest.
    """
    book = build_book()
    world = book.world
    house, owner = world.system.house, world.system.liquidity_vault.address
    equity, required, _, _ = world.clearinghouse.assess(house)
    spare = (equity - required) * 9 // 10
    assert int(world.system.perps.free_wad()) < spare // 5
    world.chain.set_code(owner, b"")
    units = spare // world.unit_wad(QUOTE)
    world.clearinghouse.withdraw(house, 0, units, world.stranger, sender=owner)
    for price in MARCH_2020 + ONWARD:
        world.set_price("ETH", price)
        if price <= START * 0.9:
            for account in book.longs:
                book.close(account, world.other_owner)
    for account in book.hedgers:
        world.system.perps.settle(account, ETH, [], sender=world.keeper)
    assert int(world.clearinghouse.picture_of(house)[0]) == 0
    owed = -sum(min(int(world.clearinghouse.picture_of(account)[0]), 0) for account in book.hedgers)
    collateral = len(book.hedgers) * 3_000 * ONWARD[-1] * WAD
    assert owed > 3 * collateral, "loans with nothing behind them: the lenders' loss"


def test_open__longs_against_shorts__make_no_room_for_more_shorts(book: Book) -> None:
    """A1: what the house backs is gross, per side: its books are balanced here, and it is full."""
    perps, world = book.world.system.perps, book.world
    longs, shorts = perps.exposure_of(ETH)
    assert abs(longs - shorts) < longs // 3
    with world.isolated():
        world.refresh()
        perps.refresh(sender=world.keeper)
        _, short_room, _ = perps.headroom_of(ETH)
        price = world.price_wad("ETH")
        backed = (shorts + short_room) * price // WAD
        assert backed <= int(world.clearinghouse.assess(world.system.house)[0])
