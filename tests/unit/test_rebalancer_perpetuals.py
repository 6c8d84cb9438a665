"""The default hook and perpetuals: settle, trim, hedge, unwind, each as far as the owner allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import reverts
from tests.support.world import QUOTE, UNLIMITED, WAD, World
from tests.threats.kit import EXTRA_ID, list_token

ETH, BTC = 1, 2
PULL_CASH, SELL, SETTLE, TRIM, HEDGE, UNWIND = 2, 4, 5, 6, 7, 8
MAY_SETTLE, MAY_TRIM, MAY_HEDGE, MAY_UNWIND, MAY_ALL = 1, 2, 4, 8, 15
NO_MEANS = 5
STEP_WAD = 10**9
TARGET_BPS = 13_000
LOST = 10 * 10**12  # WAD: units of the quote token that repayments round away


@pytest.fixture
def market(world: World) -> World:
    """A world whose house backs positions of millions."""
    units = world.units(QUOTE, 20_000_000)
    world.fund(world.attacker, QUOTE, units)
    world.clearinghouse.deposit(world.system.house, 0, units, sender=world.attacker)
    world.system.perps.refresh(sender=world.keeper)
    return world


def trade(world: World, account: int, size_wad: int) -> None:
    limit = UNLIMITED if size_wad > 0 else 0
    world.system.perps.trade(
        account, ETH, size_wad, limit, UNLIMITED, False, sender=world.owner_of(account)
    )


def trader(world: World, size_wad: int, *, collateral: int = 0, cash: int = 10_000) -> int:
    """An account with a perpetual, whole units of ETH, and whole quote tokens of cash."""
    account = world.account()
    world.deposit(account, "ETH", collateral)
    world.deposit(account, QUOTE, world.units(QUOTE, cash))
    if size_wad:
        trade(world, account, size_wad)
    return account


def lean(world: World, account: int, equity_bps: int) -> None:
    """Takes out or borrows until equity is about this part of the initial requirement."""
    equity, required, _, _ = world.clearinghouse.assess(account)
    spare = equity - required * equity_bps // 10_000
    world.borrow(account, spare // world.unit_wad(QUOTE))


def enrol(world: World, account: int, actions: int, **terms: Any) -> None:
    given = {"sales": {}, "slippage_bps": 300, "trigger_bps": 12_900, **terms}
    world.enrol(account, target_bps=TARGET_BPS, actions=actions, **given)


def rebalance(world: World, account: int) -> Any:
    return world.mandates.rebalance(account, sender=world.keeper)


def steps(world: World, account: int) -> list[Any]:
    return list(world.rebalancer.plan(account).steps)


def amount_taken(world: World, receipt: Any) -> int:
    """Of the only step; a plan changes by a trifle from block to block, for funding runs."""
    (event,) = world.rebalancer.events(receipt, "StepTaken")
    return int(event.args.amount)


def kinds(world: World, account: int) -> list[int]:
    return [step.kind for step in steps(world, account)]


def taken(world: World, receipt: Any) -> list[int]:
    return [event.args.kind for event in world.rebalancer.events(receipt, "StepTaken")]


def refused(world: World, receipt: Any) -> list[int]:
    return [event.args.kind for event in world.rebalancer.events(receipt, "StepRefused")]


def position(world: World, account: int) -> tuple[int, int]:
    """Collateral and size."""
    word = world.clearinghouse.position_word(account, ETH)
    size = word >> 128
    return word & (2**128 - 1), size - (size >> 127 << 128)


def assert_at_target(world: World, account: int) -> None:
    """At it, and above by no more than steps of sizes and estimates of impact make."""
    equity, required, _, _ = world.clearinghouse.assess(account)
    assert TARGET_BPS * required <= 10_000 * (equity + LOST)
    assert equity * 10_000 <= TARGET_BPS * required * 1_005 // 1_000


@contextmanager
def unchanged(world: World, account: int) -> Iterator[None]:
    before = position(world, account), world.clearinghouse.account_word(account)
    yield
    assert before == (position(world, account), world.clearinghouse.account_word(account))


# ---- trim


@pytest.mark.parametrize("side", [1, -1])
def test_trim__allowed__shrinks_the_position_to_the_target(market: World, side: int) -> None:
    account = trader(market, side * 10 * WAD)
    lean(market, account, 11_000)
    enrol(market, account, MAY_TRIM)
    (step,) = steps(market, account)
    assert (step.kind, step.source, step.asset) == (TRIM, account, ETH)
    assert step.amount % STEP_WAD == 0 and 0 < step.amount < 10 * WAD
    receipt = rebalance(market, account)
    assert taken(market, receipt) == [TRIM]
    left = 10 * WAD - amount_taken(market, receipt)
    assert position(market, account) == (0, side * left)
    assert left == pytest.approx(10 * WAD - step.amount, rel=1e-6)
    assert_at_target(market, account)
    assert market.rebalancer.last_at(account) == market.chain.time
    assert market.rebalancer.policy_of(account).actions == MAY_TRIM


@pytest.mark.parametrize("actions", [0, MAY_ALL - MAY_TRIM])
def test_trim__not_allowed__is_not_planned(market: World, actions: int) -> None:
    account = trader(market, 10 * WAD)
    lean(market, account, 11_000)
    enrol(market, account, actions)
    assert market.rebalancer.plan(account).code == NO_MEANS
    with reverts("rebalancer: no means left"):
        rebalance(market, account)


def test_trim__nothing_else_helps__closes_the_position_and_settles_it(market: World) -> None:
    account = market.account()
    market.deposit(account, "BTC", 10**8)
    trade(market, account, 3 * WAD)
    lean(market, account, 10_100)
    enrol(market, account, MAY_TRIM)
    (step,) = steps(market, account)
    assert (step.kind, step.amount) == (TRIM, 3 * WAD)
    rebalance(market, account)
    assert position(market, account) == (0, 0)
    assert market.clearinghouse.cost_word(account, ETH) == 0


def test_trim__slippage_below_the_fee__is_refused_and_collateral_sold(market: World) -> None:
    """A refused trim does not forbid a sale of the same asset."""
    account = trader(market, 5 * WAD, collateral=5 * WAD, cash=0)
    lean(market, account, 11_000)
    # A sale that is expected to be dear comes after the trim.
    enrol(market, account, MAY_TRIM, slippage_bps=50, sales={"ETH": 100}, band_bps=1_000)
    assert kinds(market, account) == [TRIM]
    receipt = rebalance(market, account)
    assert refused(market, receipt) == [TRIM] and taken(market, receipt) == [SELL]
    assert position(market, account)[1] == 5 * WAD
    assert position(market, account)[0] < 5 * WAD


def test_trim__only_means_and_refused__fails_and_leaves_no_trace(market: World) -> None:
    account = trader(market, 10 * WAD)
    lean(market, account, 11_000)
    enrol(market, account, MAY_TRIM, slippage_bps=50)
    with unchanged(market, account), reverts("rebalancer: every step refused"):
        rebalance(market, account)


def test_trim__too_large_for_its_slippage__is_taken_in_part_and_in_whole_steps(
    market: World,
) -> None:
    """A quarter moves the price less. What a market trades is a whole number of steps."""
    account = trader(market, 0, cash=3_000_000)
    trade(market, account, 1_000 * WAD)
    lean(market, account, 10_200)
    enrol(market, account, MAY_TRIM, slippage_bps=70)
    receipt = rebalance(market, account)
    (event,) = market.rebalancer.events(receipt, "StepRefused")
    assert event.args.kind == TRIM and event.args.amount % (2 * STEP_WAD) != 0
    quarter = event.args.amount // (4 * STEP_WAD) * STEP_WAD
    assert amount_taken(market, receipt) == quarter
    assert position(market, account)[1] == 1_000 * WAD - quarter
    assert market.rebalancer.last_at(account) == 0


def test_trim__budget_below_its_cost__is_cut_to_it(market: World) -> None:
    account = trader(market, 10 * WAD)
    lean(market, account, 11_000)
    enrol(market, account, MAY_TRIM, budget_wad=10 * WAD)
    (step,) = steps(market, account)
    assert 99 * WAD // 10 < step.cost <= 10 * WAD
    assert market.rebalancer.plan(account).uncured > 0
    rebalance(market, account)
    assert market.mandates.budget_left(market.owner) < WAD


def test_trim__stale_price__is_no_means(market: World) -> None:
    account = trader(market, 10 * WAD)
    lean(market, account, 11_000)
    enrol(market, account, MAY_TRIM)
    market.make_stale("ETH")
    assert market.rebalancer.plan(account).code == NO_MEANS


def test_trim__gain_that_may_not_be_paid__leaves_the_position_open(market: World) -> None:
    """Closing it would pay the gain on top of what was planned."""
    account = trader(market, 2 * WAD, collateral=10 * WAD, cash=0)
    market.set_price("ETH", 2_100)
    for _ in range(48):  # volatility, and with it the requirement, comes down hour by hour
        market.wait(3_600)
    lean(market, account, 10_100)
    enrol(market, account, MAY_TRIM, sales={"ETH": 300}, band_bps=1_000)
    assert kinds(market, account) == [TRIM, SELL]
    rebalance(market, account)
    assert position(market, account)[1] == STEP_WAD


# ---- hedge


def test_hedge__allowed__grows_a_short_against_the_collateral(market: World) -> None:
    account = trader(market, 0, collateral=10 * WAD, cash=0)
    lean(market, account, 11_000)
    enrol(market, account, MAY_HEDGE)
    (step,) = steps(market, account)
    assert step.kind == HEDGE and step.amount % STEP_WAD == 0
    receipt = rebalance(market, account)
    assert taken(market, receipt) == [HEDGE]
    assert position(market, account) == (10 * WAD, -amount_taken(market, receipt))
    assert amount_taken(market, receipt) == pytest.approx(step.amount, rel=1e-6)
    assert_at_target(market, account)


def test_hedge__not_allowed__is_not_planned(market: World) -> None:
    account = trader(market, 0, collateral=10 * WAD, cash=0)
    lean(market, account, 11_000)
    enrol(market, account, MAY_ALL - MAY_HEDGE)
    assert market.rebalancer.plan(account).code == NO_MEANS


def test_hedge__asset_without_a_market__is_no_means(market: World) -> None:
    token = market.chain.deploy("MockToken", "Extra", "EXT", 18, sender=market.governor)
    list_token(market, token)
    token.mint(market.owner, 100 * WAD, sender=market.governor)
    token.approve(market.clearinghouse, UNLIMITED, sender=market.owner)
    account = market.account()
    market.clearinghouse.deposit(account, EXTRA_ID, 100 * WAD, sender=market.owner)
    lean(market, account, 11_000)
    enrol(market, account, MAY_HEDGE)
    assert market.rebalancer.plan(account).code == NO_MEANS
    market.deposit(account, "ETH", WAD)
    lean(market, account, 11_000)
    assert kinds(market, account) == [HEDGE]


def test_hedge__dearer_than_a_sale__is_no_edge(market: World) -> None:
    account = trader(market, 0, collateral=10 * WAD, cash=0)
    lean(market, account, 11_000)
    enrol(market, account, MAY_HEDGE, sales={"ETH": 30})
    assert kinds(market, account) == [SELL]


def test_hedge__cheaper_but_with_funding_dearer__is_no_edge(market: World) -> None:
    account = trader(market, 0, collateral=10 * WAD, cash=0)
    lean(market, account, 11_000)
    with market.isolated():
        enrol(market, account, MAY_HEDGE, sales={"ETH": 120})
        (step,) = steps(market, account)
    enrol(market, account, MAY_HEDGE, sales={"ETH": 120}, funding_bps=100)
    assert (step.kind, kinds(market, account)) == (HEDGE, [SELL])


def test_hedge__not_enough__becomes_a_sale_in_part(market: World) -> None:
    """The hull: all of D is hedged, and the plan is still short."""
    account = trader(market, 0, collateral=10 * WAD, cash=0)
    lean(market, account, 10_100)
    enrol(market, account, MAY_HEDGE, sales={"ETH": 400})
    market.set_price("ETH", 1_710)
    market.system.perps.refresh(sender=market.keeper)
    sale, hedge = steps(market, account)
    assert (sale.kind, hedge.kind) == (SELL, HEDGE)
    assert sale.amount + hedge.amount == 10 * WAD
    assert market.rebalancer.plan(account).uncured == 0


def test_hedge__headroom_too_old__is_no_means(market: World) -> None:
    account = trader(market, 0, collateral=10 * WAD, cash=0)
    lean(market, account, 11_000)
    enrol(market, account, MAY_HEDGE)
    market.wait(700)
    assert market.rebalancer.plan(account).code == NO_MEANS
    market.system.perps.refresh(sender=market.keeper)
    rebalance(market, account)


def test_hedge__refused_below_the_minimum_size__is_planned_around(market: World) -> None:
    account = trader(market, 0, collateral=WAD // 100, cash=0)
    lean(market, account, 12_000)
    enrol(market, account, MAY_HEDGE, sales={"ETH": 150}, band_bps=1_000)
    assert kinds(market, account) == [HEDGE]
    receipt = rebalance(market, account)
    assert refused(market, receipt) == [HEDGE] and taken(market, receipt) == [SELL]


# ---- settle


def test_settle__gain__comes_before_everything_else(market: World) -> None:
    account = trader(market, 4 * WAD)
    market.set_price("ETH", 2_050)
    lean(market, account, 11_900)
    market.fund(market.owner, QUOTE, 10**10)
    enrol(
        market,
        account,
        MAY_ALL,
        uses_wallet=True,
        wallet_cap_wad=10**6 * WAD,
        sales={"ETH": 30},
    )
    plan = market.rebalancer.plan(account)
    assert plan.steps[0].kind == SETTLE and plan.steps[0].cost == 0
    receipt = rebalance(market, account)
    assert taken(market, receipt)[0] == SETTLE
    assert position(market, account)[1] <= 4 * WAD


def test_settle__not_allowed__stays_unpaid(market: World) -> None:
    account = trader(market, 4 * WAD)
    market.set_price("ETH", 2_050)
    lean(market, account, 11_900)
    enrol(market, account, MAY_ALL - MAY_SETTLE)
    assert kinds(market, account) == [TRIM]


def test_settle__round_in_this_very_block__counts_the_lower_price(market: World) -> None:
    account = trader(market, 4 * WAD)
    market.set_price("ETH", 2_050)
    lean(market, account, 11_900)
    enrol(market, account, MAY_SETTLE)
    before = steps(market, account)[0].amount
    with market.chain.one_block():
        market.feeds["ETH"].set_answer(2_090 * 10**8, sender=market.governor)
        market.system.poke(market.keeper, ["ETH"])
        told = steps(market, account)
    assert not told or told[0].amount <= before + WAD


def test_settle__gains_of_two_markets__each_is_paid_out_of_its_own(market: World) -> None:
    """So neither is left to bear what a trim costs: it is large enough with its cost."""
    account = trader(market, 0)
    for asset, size in ((BTC, WAD // 100), (ETH, 4 * WAD)):
        market.system.perps.trade(
            account, asset, size, UNLIMITED, UNLIMITED, False, sender=market.owner
        )
    market.set_price("BTC", 30_300)
    market.set_price("ETH", 2_080)
    lean(market, account, 10_100)
    enrol(market, account, MAY_SETTLE | MAY_TRIM)
    small, large, trim = steps(market, account)
    assert (small.kind, small.asset, large.kind, large.asset) == (SETTLE, BTC, SETTLE, ETH)
    assert (trim.kind, trim.asset) == (TRIM, ETH) and trim.cost > 0
    # Less than that trim costs, and more than closing all would.
    assert small.value < trim.cost and large.value > trim.cost * 4 * WAD // trim.amount
    assert taken(market, rebalance(market, account)) == [SETTLE, SETTLE, TRIM]
    assert_at_target(market, account)


# ---- unwind


def pair(world: World) -> int:
    """Ten units of collateral, hedged in full."""
    account = trader(world, -10 * WAD, collateral=10 * WAD, cash=0)
    lean(world, account, 11_000)
    return account


def test_unwind__allowed__closes_both_halves_alike(market: World) -> None:
    account = pair(market)
    enrol(market, account, MAY_UNWIND, sales={"ETH": 30})
    (step,) = steps(market, account)
    assert step.kind == UNWIND and step.amount % STEP_WAD == 0
    receipt = rebalance(market, account)
    assert taken(market, receipt) == [UNWIND]
    left = 10 * WAD - amount_taken(market, receipt)
    assert position(market, account) == (left, -left)
    assert left == pytest.approx(10 * WAD - step.amount, rel=1e-6)
    assert_at_target(market, account)


@pytest.mark.parametrize(("actions", "sales"), [(MAY_ALL - MAY_UNWIND, {"ETH": 30}), (MAY_ALL, {})])
def test_unwind__not_allowed_or_not_for_sale__is_not_planned(
    market: World, actions: int, sales: dict[str, int]
) -> None:
    account = pair(market)
    enrol(market, account, actions, sales=sales)
    assert UNWIND not in kinds(market, account)


def test_unwind__venue_refuses_the_sale__undoes_the_purchase_too(market: World) -> None:
    account = pair(market)
    enrol(market, account, MAY_UNWIND, sales={"ETH": 30})
    market.set_venue_price("ETH", 1_800 * WAD)
    with unchanged(market, account), reverts("rebalancer: every step refused"):
        rebalance(market, account)


def test_unwind__market_refuses_the_purchase__sells_nothing(market: World) -> None:
    account = pair(market)
    enrol(market, account, MAY_UNWIND, sales={"ETH": 30}, slippage_bps=50)
    with unchanged(market, account), reverts("rebalancer: every step refused"):
        rebalance(market, account)


def test_unwind__venue_that_takes_nearly_all_the_gas_of_a_sale__leaves_the_trade_its_own(
    market: World,
) -> None:
    """What may be sold there may be unwound there: the purchase before the sale comes on top."""
    dear = market.chain.deploy("DearVenue", market.venue, 700_000, sender=market.governor)
    market.system.allow_adapter(dear)
    terms: dict[str, Any] = {"sales": {"ETH": 30}, "adapter": dear}
    with market.isolated():
        account = trader(market, 0, collateral=10 * WAD, cash=0)
        lean(market, account, 11_000)
        enrol(market, account, 0, **terms)
        assert taken(market, rebalance(market, account)) == [SELL]
    account = pair(market)
    enrol(market, account, MAY_UNWIND, **terms)
    assert taken(market, rebalance(market, account)) == [UNWIND]


def test_unwind__refused__other_means_help(market: World) -> None:
    account = pair(market)
    market.fund(market.owner, QUOTE, 10**6)
    enrol(
        market,
        account,
        MAY_UNWIND,
        sales={"ETH": 30},
        slippage_bps=50,
        uses_wallet=True,
        wallet_cap_wad=10**6 * WAD,
    )
    receipt = rebalance(market, account)
    assert (taken(market, receipt), refused(market, receipt)) == ([PULL_CASH], [UNWIND])


def test_unwind__out_of_reach_of_initial_margin__leaves_the_rest_to_help(market: World) -> None:
    """The ledger tests an account that was unwound, and would undo all that helped."""
    account = pair(market)
    market.fund(market.owner, QUOTE, 10**6)
    enrol(
        market,
        account,
        MAY_UNWIND,
        sales={"ETH": 30},
        uses_wallet=True,
        wallet_cap_wad=10**6 * WAD,
        budget_wad=WAD,
    )
    assert kinds(market, account) == [PULL_CASH, UNWIND]
    market.set_price("ETH", 2_200)
    equity, required, _, _ = market.clearinghouse.assess(account)
    assert equity < required
    assert kinds(market, account) == [PULL_CASH]
    rebalance(market, account)


def test_unwind_entry__anyone_but_the_hook_itself__is_refused(market: World) -> None:
    for who in (market.owner, market.keeper, market.governor):
        with reverts("rebalancer: only itself"):
            market.rebalancer.unwind(market.venue, ETH, WAD, WAD, sender=who)


# ---- with donors


def test_donor__short_of_what_it_gives__keeps_its_hedge(market: World) -> None:
    """Collateral beside a short is given only beyond it."""
    account = market.open_account(leverage=2)
    donor = market.account(1)
    market.deposit(donor, "ETH", 3 * WAD)
    market.deposit(donor, QUOTE, market.units(QUOTE, 100))
    trade(market, donor, -2 * WAD)
    market.make_donor(donor, 13_000)
    lean(market, account, 10_100)
    enrol(market, account, 0, donors=(1,))
    given = [step for step in steps(market, account) if step.asset == ETH]
    assert all(step.amount <= WAD for step in given)
    rebalance(market, account)
    assert position(market, donor)[0] >= 2 * WAD
