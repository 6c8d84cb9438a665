"""What the default hook does for an allocation at the very edge: to the wei, and of steps the last.

Beside `test_allocator.py`, which asks what it is for.
"""

from __future__ import annotations

from ballast.model.margin import BPS
from tests.support.allocations import (
    BUY,
    HEDGE,
    MAY_HEDGE,
    MAY_RERISK,
    SELL,
    enrol,
    exposure,
    fund_house,
    position,
    trade,
    wish,
)
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, WAD, World, to_wad

READY, NOTHING, EXPIRED = 0, 2, 6
ETH, BTC = 1, 2
MAX_STEPS = 8
ROUNDING_WAD = 10
ROUNDING_UNITS = 32  # of the quote token, kept back from a budget


def test_allocator__asked_by_anyone_after_expiry__says_so(world: World) -> None:
    """The planner, asked first, says so as well; the answer has to stand without it."""
    expires_at = world.chain.time + 100
    words = (2**256 - 1, 2**256 - 1, 0, expires_at)
    request = (world.account(), *words, 0, 0, [0] * 13)
    for time, code in ((expires_at - 1, NOTHING), (expires_at, EXPIRED)):
        world.chain.set_time(time)
        plan = world.system.allocator.plan(request, 0, 0, (0, 0, 0, 0, 0, []))
        assert plan.code == code


def test_share__second_asset_requires_a_wei__counts_as_an_asset(wide_world: World) -> None:
    """With it there are two, which could both keep to 60%."""
    wide_world.set_price("A03", 1)
    account = wide_world.open_account(leverage=1, mix={"BTC": 1})
    before = wide_world.clearinghouse.assess(account)[1]
    wish(wide_world, account, share_bps=6_000)
    enrol(wide_world, account)
    assert wide_world.rebalancer.plan(account).code == NOTHING
    wide_world.deposit(account, "A03", 1)
    assert wide_world.clearinghouse.assess(account)[1] == before + 1
    plan = wide_world.rebalancer.plan(account)
    assert plan.code == READY
    assert [(step.kind, step.asset) for step in plan.steps] == [(SELL, BTC)]


def test_limit__hedge_too_small_to_be_taken__leaves_the_sale_whole(world: World) -> None:
    """A poor house backs a trifle of a short, which is passed over: all is sold instead."""
    world.fund(world.attacker, QUOTE, world.units(QUOTE, 200))
    world.clearinghouse.deposit(
        world.system.house, 0, world.units(QUOTE, 200), sender=world.attacker
    )
    world.system.perps.refresh(sender=world.keeper)
    account = world.open_account(leverage=1)
    wish(world, account, position_bps=1)
    enrol(world, account, actions=MAY_HEDGE, sales={"ETH": 90})
    most = world.system.perps.largest_increase(ETH, account, False)
    held = position(world, account, "ETH")[0]
    assert held < 10_000 * most and 100 * most < held
    (step,) = world.rebalancer.plan(account).steps
    assert step.kind == SELL
    assert exposure(world, account, "ETH") - step.value < to_wad("1.001")


def test_limit__budget_used_up__is_kept_to_the_wei(wide_world: World) -> None:
    """The costs of two sales, each rounded up, are together all of it and no more."""
    account = wide_world.open_account(leverage=1, mix={"ETH": 1, "A03": 1})
    wish(wide_world, account, position_bps=1_000)
    enrol(wide_world, account, sales={"ETH": 1, "A03": 1}, budget_wad=to_wad("0.6"))
    left = wide_world.mandates.budget_left(wide_world.owner)
    plan = wide_world.rebalancer.plan(account)
    assert len(plan.steps) == 2
    assert sum(step.cost for step in plan.steps) == left - ROUNDING_UNITS * 10**12


def test_limit__more_assets_above_it_than_steps__leaves_the_last_uncured(wide_world: World) -> None:
    """A hedge and seven sales, and what would be the eighth is not counted as done."""
    fund_house(wide_world)
    names = wide_world.names[:9]
    account = wide_world.open_account(leverage=1, mix=dict.fromkeys(names, 1))
    wish(wide_world, account, position_bps=500)
    enrol(wide_world, account, actions=MAY_HEDGE, sales=dict.fromkeys(names[1:], 30))
    plan = wide_world.rebalancer.plan(account)
    assert [step.asset for step in plan.steps] == [*range(2, 9), ETH]
    assert plan.steps[-1].kind == HEDGE
    equity = wide_world.clearinghouse.assess(account)[0]
    over = exposure(wide_world, account, names[8]) - -(-equity * 500 // BPS)
    assert over > to_wad(600)
    assert over - ROUNDING_WAD <= plan.uncured <= over + to_wad(1)


def test_ceiling__eight_assets_bought__enlarges_no_perpetual(wide_world: World) -> None:
    """Though equity is still far above the ceiling: a plan has eight steps."""
    fund_house(wide_world)
    account = wide_world.account()
    wide_world.deposit(account, QUOTE, wide_world.units(QUOTE, 10_000))
    trade(wide_world, account, "ETH", WAD)
    names = wide_world.names[2:10]
    weights = dict.fromkeys(names, 500)
    wish(wide_world, account, ceiling_bps=12_000, drift_bps=BPS, weights=weights)
    enrol(wide_world, account, actions=MAY_RERISK, sales=dict.fromkeys(names, 30))
    plan = wide_world.rebalancer.plan(account)
    assert plan.code == READY
    assert [step.kind for step in plan.steps] == [BUY] * MAX_STEPS
    assert plan.uncured * 2 > plan.shortfall


def test_ceiling__weight_of_the_whole__is_kept_though_the_slippage_is_no_whole_wei() -> None:
    """What the swaps may lose rounds up, to the wei."""
    world = shared_world(2, 18)
    with world.isolated():
        fund_house(world)
        account = world.account()
        cash = to_wad(10_000) + 1
        world.deposit(account, QUOTE, cash)
        wish(world, account, ceiling_bps=12_000, drift_bps=BPS, weights={"BTC": BPS})
        enrol(world, account, actions=MAY_RERISK)
        (step,) = world.rebalancer.plan(account).steps
        lost = -(-cash * 100 // BPS)
        assert (step.kind, step.bought) == (BUY, BTC)
        assert step.amount == (cash - lost - ROUNDING_WAD) * BPS // (BPS + 100)
