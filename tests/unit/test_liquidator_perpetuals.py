"""Liquidation of perpetuals: they change hands in place, and opposite sides meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import pytest

from ballast.model.margin import BPS, GWEI, WAD, Position, div_up
from tests.clearing_kit import UNIT, excess_init
from tests.liquidation_kit import (
    DAY_S,
    ROUNDING_WAD,
    SHARE_WAD,
    Floor,
    debtor,
    hedger,
    long_victim,
    open_floor,
    short_victim,
)
from tests.perps_kit import BTC, ETH, STEP
from tests.support.world import World


def twofold_victim(floor: Floor) -> int:
    """Both assets as collateral, a long of one, a short of the other and a debt."""
    world = floor.world
    account = world.account()
    world.deposit(account, "ETH", 5 * WAD)
    world.deposit(account, "BTC", 10**7)
    floor.trade(account, 3 * WAD)
    floor.trade(account, -WAD // 2, "BTC")
    world.borrow(account, excess_init(world, account) // UNIT - 10**7)
    floor.sink(account)
    return account


def funded_victim(floor: Floor) -> int:
    """A long that has paid funding for days, in a market whose longs pay a lot."""
    world = floor.world
    floor.set_terms(max_funding_e6=10_000_000)
    other = floor.trader(sub=1, cash=10**7)
    floor.trade(other, 1_900 * WAD)
    account = floor.trader(cash=6_000)
    floor.trade(account, 10 * WAD)
    world.wait(5 * DAY_S)
    assert floor.funding().at(world.chain.time) > 10 * WAD
    floor.sink(account)
    return account


VICTIMS: Mapping[str, Callable[[Floor], int]] = {
    "long": long_victim,
    "short": short_victim,
    "hedge": lambda floor: hedger(floor, 10),
    "half a hedge": lambda floor: hedger(floor, 5),
    "both assets": twofold_victim,
    "funding": funded_victim,
}


@pytest.mark.parametrize("kind", VICTIMS)
def test_liquidate__perpetuals__change_hands_in_place(floor: Floor, kind: str) -> None:
    """I18 I19: collateral, size, cost and entry to the wei; open interest stays."""
    world, taker = floor.world, floor.taker(cash=10**6)
    victim = VICTIMS[kind](floor)
    sides = [tuple(floor.perps.exposure_of(asset)) for asset in (ETH, BTC)]
    with floor.a_block_later():
        terms, part = floor.now(victim)
        own, gain = floor.worth(victim), floor.worth(taker)
    receipt = floor.liquidate(victim, taker)
    assert receipt.return_value == part.fraction_wad
    assert any(taken.size_wad for taken in part.taken)
    for taken in part.taken:
        name, price = world.names[taken.leg.asset - 1], taken.leg.mark.price_wad
        assert floor.held(victim, name) == taken.rest
        entry = div_up(taken.size_wad * price, WAD)
        new = Position(taken.collateral_wad, taken.size_wad, taken.cost_wad, entry)
        assert floor.held(taker, name) == new
    after = floor.assess(victim)
    assert after.required_maint == terms.required_maint - part.freed_wad
    assert -ROUNDING_WAD <= after.equity_maint - own + part.bonus_wad <= SHARE_WAD
    bonus = part.bonus_wad - part.bonus_wad // 5
    assert -ROUNDING_WAD <= floor.worth(taker) - gain - bonus <= 0
    if part.fraction_wad < WAD:
        assert abs(after.equity_maint * 100 - after.required_maint * 125) < WAD // 10
    assert [tuple(floor.perps.exposure_of(asset)) for asset in (ETH, BTC)] == sides
    floor.check()


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("part_bps", [5_000, 10_000, 15_000])
def test_liquidate__taker_holds_the_other_side__both_sides_have_less_open(
    floor: Floor, side: int, part_bps: int
) -> None:
    """I20: and headroom comes back to both. What meets no more depends on no price."""
    floor.set_terms(max_funding_e6=0)
    taker = floor.taker(cash=10**6)
    victim = long_victim(floor) if side > 0 else short_victim(floor)
    size = floor.foresee(victim)[1].taken[0].size_wad
    floor.calm()
    held = -size * part_bps // BPS // STEP * STEP
    floor.trade(taker, held)
    _, part = floor.foresee(victim)
    taken = part.taken[0]
    before = floor.market()
    old = floor.held(taker)
    receipt = floor.liquidate(victim, taker)
    both = min(abs(held), abs(taken.size_wad))
    met = floor.perps.events(receipt, "Offset")
    assert [tuple(event.args) for event in met] == [(ETH, both)]
    after = floor.market()
    assert before.exposure.longs_gwei - after.exposure.longs_gwei == both // GWEI
    assert before.exposure.shorts_gwei - after.exposure.shorts_gwei == both // GWEI
    assert after.headroom.long_gwei - before.headroom.long_gwei == both // GWEI
    assert after.headroom.short_gwei - before.headroom.short_gwei == both // GWEI
    assert after.headroom.refreshed_at == before.headroom.refreshed_at
    new = floor.held(taker)
    assert new.size_wad == held + taken.size_wad
    assert new.cost_wad == old.cost_wad + taken.cost_wad
    price = taken.leg.mark.price_wad
    entry = 0
    if abs(held) > abs(taken.size_wad):
        entry = int(Fraction(old.entry_wad * new.size_wad, held))
    elif abs(held) < abs(taken.size_wad):
        entry = div_up(new.size_wad * price, WAD)
    assert new.entry_wad == entry
    assert floor.slot(taker) == (True, True)
    floor.check()


def test_liquidate__taker_holds_the_other_side__waits_for_no_fresh_headroom(floor: Floor) -> None:
    """What meets makes both sides smaller, so it is not refused like a position that grows."""
    taker, victim = floor.taker(cash=10**6), long_victim(floor)
    floor.calm()
    floor.trade(taker, -WAD)
    floor.world.wait(601)
    with floor.refused("perps: headroom stale"):
        floor.trade(taker, -WAD)
    receipt = floor.liquidate(victim, taker)
    assert [tuple(event.args) for event in floor.perps.events(receipt, "Offset")] == [(ETH, WAD)]


@pytest.mark.parametrize("side", [1, -1])
def test_liquidate__taker_holds_the_same_side__entries_add_up(floor: Floor, side: int) -> None:
    victim = long_victim(floor) if side > 0 else short_victim(floor)
    taker = floor.taker(cash=10**6)
    floor.calm()
    floor.trade(taker, side * 3 * WAD)
    _, part = floor.foresee(victim)
    old, sides = floor.held(taker), floor.perps.exposure_of(ETH)
    taken, price = part.taken[0], part.taken[0].leg.mark.price_wad
    receipt = floor.liquidate(victim, taker)
    new = floor.held(taker)
    assert new.size_wad == side * 3 * WAD + taken.size_wad
    assert new.cost_wad == old.cost_wad + taken.cost_wad
    assert new.entry_wad == old.entry_wad + div_up(taken.size_wad * price, WAD)
    assert floor.perps.events(receipt, "Offset") == []
    assert tuple(floor.perps.exposure_of(ETH)) == tuple(sides)
    floor.check()


def test_liquidate__gain_on_a_position_of_a_single_step__is_divided_like_any(floor: Floor) -> None:
    """What a reduced position has won is no less divisible than the rest of the account: a taker
    who got the losses alone would have to be paid more cash than the owner has."""
    world, taker = floor.world, floor.taker(cash=10**6)
    victim = floor.trader(cash=12_000)
    floor.trade(victim, WAD // 2, "BTC")
    floor.trade(victim, -10 * WAD)
    for price in range(40_000, 150_001, 10_000):
        world.set_price("BTC", price)
    floor.trade(victim, STEP - WAD // 2, "BTC")
    assert floor.held(victim, "BTC").size_wad == STEP
    assert floor.result(victim, "BTC") > 50_000 * WAD
    floor.sink(victim, step_bps=-100)
    with floor.a_block_later():
        own, gain = floor.worth(victim), floor.worth(taker)
    told = floor.told(floor.liquidate(victim, taker), "Liquidated")
    assert told.fraction_wad < WAD // 2
    assert 0 <= floor.worth(victim) - own + told.bonus_wad < ROUNDING_WAD
    bonus = told.bonus_wad - told.fee_wad
    assert -ROUNDING_WAD < floor.worth(taker) - gain - bonus <= 0
    floor.check()


def claimant(floor: Floor) -> int:
    """In debt on ether that has fallen, with a gain in bitcoin of a house that has no cash."""
    world = floor.world
    account, winner = world.account(), floor.trader(sub=1)
    world.deposit(account, "ETH", 10 * WAD)
    floor.trade(account, WAD // 10, "BTC")
    floor.trade(winner, 13 * WAD // 10, "BTC")
    world.borrow(account, excess_init(world, account) // UNIT - 10**7)
    for price in (36_000, 43_000, 51_000, 60_000, 70_000):
        world.set_price("BTC", price)
    floor.settle(winner, "BTC")
    assert floor.cash(floor.house) == 0 and floor.result(account, "BTC") > 2_500 * WAD
    floor.sink(account)
    return account


@pytest.mark.parametrize("takes_all", [False, True])
def test_liquidate__gain_that_the_house_cannot_pay__stays_with_the_owner(
    world: World, takes_all: bool
) -> None:
    """Nobody pays for what nobody has; of a whole slice it stays listed as a claim."""
    floor = open_floor(world, house_cash=45_000)
    victim, taker = claimant(floor), floor.taker()
    if takes_all:
        floor.put_terms(dust_wad=10**6 * WAD)
    with floor.a_block_later():
        terms, part = floor.now(victim)
        own, gain = floor.worth(victim), floor.worth(taker)
    limit = terms.equity_maint - part.discount_wad
    won = floor.result(victim, "BTC")
    assert part.unpaid_wad == min(won, limit) > 0 and (part.fraction_wad == WAD) == takes_all
    floor.liquidate(victim, taker)
    for taken in part.taken:
        assert floor.held(victim, world.names[taken.leg.asset - 1]) == taken.rest
    if takes_all:
        assert floor.held(victim, "BTC") == Position(cost_wad=-part.unpaid_wad)
        assert floor.slot(victim, "BTC") == (True, True)
        assert floor.slot(victim) == (False, False)
    assert -ROUNDING_WAD <= floor.worth(victim) - own + part.bonus_wad <= SHARE_WAD
    bonus = part.bonus_wad - part.bonus_wad // 5
    assert -ROUNDING_WAD <= floor.worth(taker) - gain - bonus <= 0
    floor.check()


def test_liquidate__unpaid_cost_of_a_closed_position__goes_along(floor: Floor) -> None:
    """It is a loss like any other; nothing of it depends on a price."""
    victim, taker = debtor(floor), floor.taker()
    owed = floor.held(victim, "BTC").cost_wad
    _, part = floor.foresee(victim)
    floor.liquidate(victim, taker)
    assert part.fraction_wad < WAD
    share = owed * part.fraction_wad // WAD
    assert floor.held(taker, "BTC") == Position(cost_wad=share)
    assert floor.held(victim, "BTC") == Position(cost_wad=owed - share)
    floor.check()


def test_liquidate__unpaid_cost_of_a_closed_position__leaves_the_takers_entry_alone(
    floor: Floor,
) -> None:
    """A cost without a size is no trade: what the taker paid for his own position is as it was."""
    victim, taker = debtor(floor), floor.taker()
    floor.calm()
    floor.trade(taker, WAD // 10, "BTC")
    old, owed = floor.held(taker, "BTC"), floor.held(victim, "BTC").cost_wad
    _, part = floor.foresee(victim)
    receipt = floor.liquidate(victim, taker)
    share = owed * part.fraction_wad // WAD
    new = floor.held(taker, "BTC")
    assert share > 0 and old.entry_wad > 2_600 * WAD
    assert (new.size_wad, new.cost_wad) == (old.size_wad, old.cost_wad + share)
    assert new.entry_wad == old.entry_wad
    assert floor.perps.events(receipt, "Offset") == []
    floor.check()


def test_liquidate__collateral_into_an_account_with_a_perpetual__says_nothing_of_that(
    floor: Floor, victim: int
) -> None:
    """What the event tells of a perpetual is what changed: nothing."""
    taker = floor.taker()
    floor.calm()
    floor.trade(taker, WAD)
    old = floor.held(taker)
    receipt = floor.liquidate(victim, taker)
    (holding,) = floor.told(receipt, "HoldingsTaken").holdings
    assert holding.collateral_wad > 0 and old.entry_wad > 0
    assert tuple(holding) == (ETH, holding.collateral_wad, 0, 0, 0, 0)
    assert floor.held(taker) == replace(old, collateral_wad=holding.collateral_wad)
    floor.check()


def several_claims(floor: Floor, kind: str) -> int:
    """In debt, with gains of a house that has no cash: two, one of a closed position, or one whose
    owner sold half of it at twice the price, so that the rest has cost him nothing."""
    world = floor.world
    account, winner = world.account(), floor.trader(sub=1)
    world.deposit(account, "ETH", 10 * WAD)
    if kind == "costless":
        floor.make_free("BTC")
        floor.set_terms("BTC", max_funding_e6=0)
    floor.trade(winner, 13 * WAD // 10, "BTC")
    if kind == "costless":
        # As far beyond an even market as it was short of one, a trade costs its price.
        other = floor.trader(sub=2)
        for part in (45, 45, 45):
            floor.back_only("BTC")
            floor.trade(other, -part * WAD // 100, "BTC")
    floor.trade(account, WAD // 10, "BTC")
    if kind == "two":
        floor.trade(account, -WAD)
    world.borrow(account, excess_init(world, account) // UNIT - 10**7)
    for price in (36_000, 43_000, 51_000, 60_000):
        world.set_price("BTC", price)
    if kind == "costless":
        floor.trade(winner, -WAD // 40, "BTC")
        floor.trade(account, -WAD // 20, "BTC")
        assert floor.held(account, "BTC") == Position(0, WAD // 20, 0, 1_500 * WAD)
    world.set_price("BTC", 70_000)
    floor.settle(winner, "BTC")
    if kind == "closed":
        floor.trade(account, -WAD // 10, "BTC")
    assert floor.cash(floor.house) == 0
    floor.sink(account)
    return account


@pytest.mark.parametrize("takes_all", [False, True])
@pytest.mark.parametrize("kind", ["two", "closed", "costless"])
def test_liquidate__gains_that_the_house_cannot_pay__stay_in_the_order_of_the_list(
    world: World, kind: str, takes_all: bool
) -> None:
    """No more of the second than the first has left; those of closed or costless positions too."""
    floor = open_floor(world, house_cash=45_000)
    victim, taker = several_claims(floor, kind), floor.taker()
    if takes_all:
        floor.put_terms(dust_wad=10**6 * WAD)
    with floor.a_block_later():
        terms, part = floor.now(victim)
        own = floor.worth(victim)
        first, second = (max(0, floor.result(victim, name)) for name in world.names)
    limit = terms.equity_maint - part.discount_wad
    assert (first > 0) == (kind == "two") and 0 < limit < first + second
    assert part.unpaid_wad == limit > first and (part.fraction_wad == WAD) == takes_all
    floor.liquidate(victim, taker)
    for taken in part.taken:
        assert floor.held(victim, world.names[taken.leg.asset - 1]) == taken.rest
    if takes_all:
        assert floor.held(victim) == Position(cost_wad=-first)
        assert floor.held(victim, "BTC") == Position(cost_wad=first - limit)
    assert -ROUNDING_WAD <= floor.worth(victim) - own + part.bonus_wad <= SHARE_WAD
    floor.check()
