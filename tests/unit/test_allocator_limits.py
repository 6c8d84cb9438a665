"""What the default hook does for an allocation at the very edge: to the wei, and of steps the last.

Beside `test_allocator.py`, which asks what it is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import pytest

from ballast.model.margin import BPS, GWEI, RATE, div_up
from tests.support.allocations import (
    BUY,
    HEDGE,
    MAY_HEDGE,
    MAY_RERISK,
    SELL,
    UNHEDGE,
    enrol,
    exposure,
    fund_house,
    kinds_taken,
    position,
    price_pairs,
    rebalance,
    trade,
    wish,
)
from tests.support.fixtures import shared_world
from tests.support.reading import read_marks
from tests.support.world import QUOTE, WAD, AssetSpec, World, build_world, to_wad

READY, NOTHING, NO_MEANS, EXPIRED = 0, 2, 5, 6
ETH, BTC = 1, 2
MAX_STEPS = 8
ROUNDING_WAD = 10
ROUNDING_UNITS = 32  # of the quote token, kept back from a budget and from what is beyond a ceiling
SLIPPAGE_BPS = 100


@lru_cache(maxsize=1)
def built_uneven() -> World:
    terms = {"z_init_bps": 3_001}
    assets = {"ETH": AssetSpec(18, 2_000, terms), "BTC": AssetSpec(8, 30_000, terms)}
    return build_world(assets, quote_decimals=18)


@contextmanager
def uneven_world() -> Iterator[World]:
    """Rates that no slippage and no share divides, against a quote token of 18 decimals."""
    world = built_uneven()
    with world.isolated():
        fund_house(world)
        yield world


def pair(world: World, short_wad: int) -> int:
    """5 ETH, a short beside them, and 2,000 of cash."""
    account = world.account()
    world.deposit(account, "ETH", 5 * WAD)
    world.deposit(account, QUOTE, world.units(QUOTE, 2_000))
    trade(world, account, "ETH", -short_wad)
    return account


def use_e6(world: World, asset: int, ceiling_bps: int) -> int:
    """What a unit spent on an asset takes of equity beyond a ceiling, where the venue pays best."""
    paid_e6 = RATE + SLIPPAGE_BPS * RATE // BPS
    added_e6 = div_up(read_marks(world)[asset].rate_init_e6 * paid_e6, RATE)
    return div_up((paid_e6 - RATE) * BPS + ceiling_bps * added_e6, BPS)


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


def test_ceiling__purchase_at_uneven_rates__ends_at_it_to_the_wei() -> None:
    """What a unit may use up is rounded up, so what is bought is not a wei more than may be."""
    with uneven_world() as world:
        account = world.account()
        cash = to_wad(10_000) + 1
        world.deposit(account, QUOTE, cash)
        wish(world, account, ceiling_bps=60_001, drift_bps=BPS, weights={"BTC": BPS})
        enrol(world, account, actions=MAY_RERISK)
        plan = world.rebalancer.plan(account)
        assert plan.shortfall == cash - ROUNDING_UNITS
        (step,) = plan.steps
        assert (step.kind, step.bought) == (BUY, BTC)
        assert step.value == plan.shortfall * RATE // use_e6(world, BTC, 60_001)


def test_ceiling__weight_reached_before_it__leaves_the_rest_rounded_down() -> None:
    """What was bought is taken to have used up a whole wei where it used up a part of one."""
    with uneven_world() as world:
        account = world.account()
        world.deposit(account, QUOTE, to_wad(10_000) + 1)
        wish(world, account, ceiling_bps=60_001, drift_bps=BPS, weights={"BTC": 5_000})
        enrol(world, account, actions=MAY_RERISK)
        plan = world.rebalancer.plan(account)
        (step,) = plan.steps
        used = step.value * use_e6(world, BTC, 60_001)
        assert used % RATE != 0 and to_wad(3_000) < plan.uncured
        assert plan.uncured == plan.shortfall - div_up(used, RATE)


def test_share__bought_up_to_its_limit__keeps_it_where_the_venue_pays_best() -> None:
    """As much above the price as slippage goes: it ends within a millionth, and never above."""
    share_bps = 6_001
    with uneven_world() as world:
        account = world.open_account(leverage=1, mix={"ETH": 10, "BTC": 9}, equity=19_000)
        world.deposit(account, QUOTE, to_wad(50_000))
        terms = {"ceiling_bps": 12_000, "drift_bps": BPS, "weights": {"BTC": 5_000}}
        wish(world, account, share_bps=share_bps, **terms)
        enrol(world, account, actions=MAY_RERISK)
        price_pairs(world, SLIPPAGE_BPS * RATE // BPS, fee_ppm=0)
        assert kinds_taken(world, rebalance(world, account)) == [(BUY, 0)]
        required = world.clearinghouse.assess(account)[1]
        share = (required - to_wad(10_000) * read_marks(world)[ETH].rate_init_e6 // RATE) * BPS
        assert share_bps * required * (RATE - 1) // RATE <= share <= share_bps * required


def test_ceiling__short_bought_back_for_part_of_a_wei__costs_one_more(world: World) -> None:
    """A price and a size with all their decimals; what is expected to be lost is rounded up."""
    fund_house(world)
    world.set_price("ETH", "2000.12345678")
    size = 3 * WAD + GWEI
    account = pair(world, size)
    wish(world, account, ceiling_bps=20_000)
    enrol(world, account, actions=MAY_RERISK)
    (step,) = world.rebalancer.plan(account).steps
    assert (step.kind, step.amount) == (UNHEDGE, size)
    price, index, _ = world.system.perps.quote(ETH, account, size)
    assert step.value == size * index // WAD
    cost = step.value * div_up((price - index) * RATE, index)
    assert cost % RATE != 0 and step.cost == div_up(cost, RATE)


def test_ceiling__short_beside_more_than_the_quota__is_not_bought_back(world: World) -> None:
    """What is beyond the quota backs nothing. All of it within, to the last unit, is enough."""
    fund_house(world)
    account = pair(world, 3 * WAD)
    wish(world, account, ceiling_bps=20_000, anticipates=True)
    enrol(world, account, actions=MAY_RERISK)
    *fields, _ = world.system.oracle.parameters(ETH)[1]
    held = position(world, account, "ETH")[0] // GWEI
    for quota, kinds in ((held, [UNHEDGE]), (held - 1, [])):
        world.system.oracle.set_parameters(ETH, (*fields, quota), sender=world.governor)
        plan = world.rebalancer.plan(account)
        assert plan.code == (READY if kinds else NO_MEANS)
        assert [step.kind for step in plan.steps] == kinds


def test_ceiling__purchase_of_a_short_refused__buys_a_weighed_asset_instead(world: World) -> None:
    """It costs more than the slippage; what was refused once is not planned again."""
    fund_house(world)
    price_pairs(world, fee_ppm=0)
    account = pair(world, 3 * WAD)
    wish(world, account, ceiling_bps=60_000, drift_bps=BPS, weights={"BTC": 5_000})
    enrol(world, account, actions=MAY_RERISK, slippage_bps=4)
    assert [step.kind for step in world.rebalancer.plan(account).steps] == [UNHEDGE]
    receipt = rebalance(world, account)
    assert kinds_taken(world, receipt) == [(BUY, 0)]
    (event,) = world.rebalancer.events(receipt, "StepRefused")
    assert (event.args.kind, event.args.asset) == (UNHEDGE, ETH)


@pytest.mark.parametrize(("more_wad", "code"), [(0, READY), (1, NO_MEANS)])
def test_drift__maximum_step_of_a_hundredth__is_worth_a_step_and_less_is_not(
    world: World, more_wad: int, code: int
) -> None:
    """100 of 10,000 that are to be sold, and of a wei more of ETH."""
    account = world.account()
    world.deposit(account, "ETH", 5 * WAD + more_wad)
    wish(world, account, drift_bps=500, weights={"ETH": 0})
    enrol(world, account)
    world.bound(account, max_step=to_wad(100))
    plan = world.rebalancer.plan(account)
    assert plan.shortfall == to_wad(10_000) + 2_000 * more_wad
    assert plan.code == code
    assert [step.value for step in plan.steps] == ([] if more_wad else [to_wad(100)])
