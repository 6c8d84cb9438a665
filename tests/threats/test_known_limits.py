"""Limits that are known and left (docs/security.md): how far they go, so that a change shows."""

from __future__ import annotations

from ballast.model.margin import WAD
from tests.conftest import reverts
from tests.liquidation_kit import HEALTHY, open_floor
from tests.support.world import World
from tests.unit.test_deleverager import long_desk
from tests.unit.test_wind_down import announce, close_market, let_notice_pass, wind_down


def test_gain__house_that_has_nothing_left__counts_for_maintenance_in_full(world: World) -> None:
    """A1, A2: never for a loan or a withdrawal. An account that already owes is not liquidated
    while the claim is above what it misses, though nobody may ever pay it."""
    desk, long, _, _ = long_desk(world, price=2_000)
    desk.refresh()
    world.clearinghouse.withdraw(
        long, 0, int(world.clearinghouse.account_word(long) % 2**128) // 10**12 - 10**10,
        world.owner, sender=world.owner,
    )  # fmt: skip
    world.deposit(long, "BTC", 10**8)
    world.borrow(long, 10**10 + 15_000 * 10**6)
    world.set_price("ETH", 5_000)
    world.set_price("BTC", 10_000)
    assert desk.assess(desk.house).equity_maint < 0
    owes = -int(world.clearinghouse.picture_of(long)[0])
    assert owes > 10_000 * WAD, "more than its collateral is worth"
    assert desk.assess(long).excess_init < 0 < desk.assess(long).excess_maint
    floor = open_floor(world, house_cash=0)
    taker = floor.taker()
    with reverts(HEALTHY):
        floor.liquidate(long, taker)


def test_rescue__pool_moved_before_it__fails_and_the_slice_is_taken(world: World) -> None:
    """T54, A9: whoever liquidates may see to it that a hook's sale is refused in his transaction.
    The account had its hook's turns from its trigger down to maintenance before."""
    floor = open_floor(world)
    victim, taker = world.open_account("2.5"), floor.taker()
    world.enrol(victim)
    floor.sink(victim)
    with world.isolated():
        receipt = floor.liquidate(victim, taker)
        assert floor.names_of(receipt)[-1] == "Rescued"
    world.set_venue_price("ETH", world.price_wad("ETH") * 97 // 100)
    receipt = floor.liquidate(victim, taker)
    assert "RescueFailed" in floor.names_of(receipt)
    assert floor.names_of(receipt)[-1] == "Liquidated"


def test_withdraw__market_that_ended__is_measured_at_the_newest_price_until_the_turn(
    world: World,
) -> None:
    """T32: a loser at the latch whom the market has lifted since could take out what he will owe.
    The move that lifts him raises the initial rate as well, so it takes days in which nobody has
    him closed, and anybody can."""
    floor = open_floor(world)
    long = floor.trader(cash=16_000)
    floor.trade(long, 8 * WAD)
    close_market(floor)
    announce(floor)
    world.set_price("ETH", 1_600)
    let_notice_pass(floor)
    wind_down(floor)
    world.set_price("ETH", 2_100)
    floor.calm()
    with world.isolated():
        wind_down(floor, long)
        left = floor.cash(long)
    assert floor.assess(long).excess_init < left
    for _ in range(48):
        world.wait(3_600)
    spare = floor.assess(long).excess_init - WAD
    assert spare > left
    world.clearinghouse.withdraw(long, 0, spare // 10**12, world.owner, sender=world.owner)
    wind_down(floor, long)
    assert floor.assess(long).equity_maint < 0
