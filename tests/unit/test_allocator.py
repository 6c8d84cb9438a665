"""What the default hook does for an allocation: limits, weights, ceiling; when, and how far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ballast.model.margin import BPS
from tests.conftest import reverts
from tests.support.allocations import (
    BAND_BPS,
    BUY,
    HEDGE,
    LEVER,
    MAY_HEDGE,
    MAY_RERISK,
    MAY_TRIM,
    SELL,
    SWAP,
    TARGET_BPS,
    TRIM,
    UNHEDGE,
    arguments_of,
    enrol,
    exposure,
    fund_house,
    kinds_taken,
    position,
    price_pairs,
    rebalance,
    trade,
    value,
    wish,
)
from tests.support.reading import read_account, read_marks
from tests.support.world import QUOTE, TWO_ASSETS, WAD, AssetSpec, World, build_world, to_wad

NO_POLICY = 1
READY, NOTHING, COOLING_DOWN, BELOW_MINIMUM, NO_MEANS, EXPIRED = 0, 2, 3, 4, 5, 6
ETH, BTC = 1, 2
NO_BOUNDS = (0, 0, 0, 0, False, 0, 0, 0, 0, 0, 0, 0)


@pytest.fixture
def market(world: World) -> World:
    """With a rich house, and a venue that trades every pair."""
    fund_house(world)
    price_pairs(world)
    return world


def spot(world: World, leverage: int = 2) -> int:
    """Three parts of ETH and one of BTC, 10,000 of equity."""
    return world.open_account(leverage=leverage, mix={"ETH": 3, "BTC": 1})


def long(world: World) -> int:
    """5 ETH of a perpetual with 10,000 of cash."""
    account = world.account()
    world.deposit(account, QUOTE, world.units(QUOTE, 10_000))
    trade(world, account, "ETH", 5 * WAD)
    return account


def pair(world: World) -> int:
    """5 ETH, a short of 3 ETH beside them, and 2,000 of cash."""
    account = world.account()
    world.deposit(account, "ETH", 5 * WAD)
    world.deposit(account, QUOTE, world.units(QUOTE, 2_000))
    trade(world, account, "ETH", -3 * WAD)
    return account


def rich(world: World) -> int:
    """1 ETH and 20,000 of cash."""
    account = world.account()
    world.deposit(account, "ETH", WAD)
    world.deposit(account, QUOTE, world.units(QUOTE, 20_000))
    return account


def equity(world: World, account: int) -> int:
    return int(world.clearinghouse.assess(account)[0])


def required(world: World, account: int) -> int:
    return int(world.clearinghouse.assess(account)[1])


def required_of(world: World, account: int, asset: int) -> int:
    own = read_account(world, account)
    (leg,) = [leg for leg in own.legs(read_marks(world)) if leg.asset == asset]
    return leg.terms.required_init


# ---- limits, each with each means

CUTS = {
    "sell": (spot, 0, None, [(SELL, ETH)]),
    "trim": (long, MAY_TRIM, {}, [(TRIM, ETH)]),
    "hedge": (spot, MAY_HEDGE, {}, [(HEDGE, ETH)]),
}


@pytest.mark.parametrize("means", CUTS)
def test_position__above_its_limit__is_brought_down_to_it(market: World, means: str) -> None:
    """To a multiple of equity as it was before: no lower by a wei, no higher by a thousandth."""
    open_account, actions, sales, expected = CUTS[means]
    account = open_account(market)
    limit_bps = 8_000
    wish(market, account, position_bps=limit_bps)
    enrol(market, account, actions=actions, sales=sales)
    most = equity(market, account) * limit_bps
    plan = market.rebalancer.plan(account)
    assert plan.code == READY and plan.shortfall == exposure(market, account, "ETH") - -(
        -most // BPS
    )
    assert kinds_taken(market, rebalance(market, account)) == expected
    assert most <= exposure(market, account, "ETH") * BPS <= most * 1_001 // 1_000
    market.wait(12)
    assert market.rebalancer.plan(account).code == NOTHING


def test_position__above_its_limit_and_policy_expired__stays(market: World) -> None:
    account = spot(market)
    wish(market, account, position_bps=8_000)
    enrol(market, account, sales=None)
    expires_at = market.chain.time + 100
    market.bound(account, expires_at=expires_at)
    for time, code in ((expires_at - 1, READY), (expires_at, EXPIRED)):
        market.chain.set_time(time)
        assert market.rebalancer.plan(account).code == code
    with reverts("rebalancer: policy expired"):
        rebalance(market, account)


@pytest.mark.parametrize("means", ["sell", "hedge"])
def test_share__above_its_limit__is_brought_down_to_it(market: World, means: str) -> None:
    _, actions, sales, expected = CUTS[means]
    account = spot(market)
    limit_bps = 6_500
    wish(market, account, share_bps=limit_bps)
    enrol(market, account, actions=actions, sales=sales)
    assert required_of(market, account, ETH) * BPS > limit_bps * required(market, account)
    assert kinds_taken(market, rebalance(market, account)) == expected
    share, most = required_of(market, account, ETH) * BPS, limit_bps * required(market, account)
    assert most <= share <= most * 1_001 // 1_000
    market.wait(12)
    assert market.rebalancer.plan(account).code == NOTHING


def test_share__of_a_perpetual__is_trimmed(market: World) -> None:
    account = long(market)
    market.deposit(account, "BTC", 10**7)
    wish(market, account, share_bps=6_500)
    enrol(market, account, actions=MAY_TRIM, sales={})
    assert kinds_taken(market, rebalance(market, account)) == [(TRIM, ETH)]
    share = required_of(market, account, ETH) * BPS
    assert 6_500 * required(market, account) <= share <= 6_507 * required(market, account)


def test_share__fewer_assets_than_could_keep_it__is_no_limit(market: World) -> None:
    """One asset makes up everything whatever is sold of it."""
    account = market.open_account(leverage=2)
    wish(market, account, share_bps=6_000)
    enrol(market, account)
    assert market.rebalancer.plan(account).code == NOTHING


def test_share__limit_of_the_whole_or_more__is_no_limit(market: World) -> None:
    """An asset may make up everything: what may be bought is what would be without a limit."""
    account = rich(market)
    terms = {"ceiling_bps": 60_000, "drift_bps": BPS, "weights": {"ETH": 9_000}}
    told = []
    for share_bps in (0, BPS, BPS + 1, 2**16 - 1):
        with market.isolated():
            wish(market, account, share_bps=share_bps, **terms)
            enrol(market, account, actions=MAY_RERISK)
            told.append(market.rebalancer.plan(account))
    assert told[0].code == READY and [step.kind for step in told[0].steps] == [BUY]
    assert told[1:] == 3 * told[:1]


@pytest.mark.parametrize("means", CUTS)
def test_regime__volatile_and_too_much_exposure__is_brought_down(market: World, means: str) -> None:
    open_account, actions, sales, expected = CUTS[means]
    account = open_account(market)
    limit_bps = 9_000 if means == "trim" else 15_000
    wish(market, account, exposure_bps=limit_bps, sigma_high_bps=5_000)
    enrol(market, account, actions=actions, sales=sales)
    most = equity(market, account) * limit_bps
    taken = [kind for kind, _ in kinds_taken(market, rebalance(market, account))]
    assert taken == [kind for kind, _ in expected]
    total = exposure(market, account, "ETH") + exposure(market, account, "BTC")
    # Funding runs until the block of the rebalance.
    assert most * 999_999 // 10**6 <= total * BPS <= most * 1_001 // 1_000


def test_regime__calm__is_no_limit(market: World) -> None:
    account = spot(market)
    wish(market, account, exposure_bps=5_000, sigma_high_bps=60_000)
    enrol(market, account)
    assert market.rebalancer.plan(account).code == NOTHING


def test_regime__most_volatile_asset_is_sold_whole__stands(market: World) -> None:
    """Afterwards nothing volatile is held, and still that was what was wanted."""
    account = market.open_account(leverage=2, mix={"ETH": 1, "BTC": 3})
    marks = read_marks(market)
    assert marks[ETH].risk.sigma_e6 > marks[BTC].risk.sigma_e6
    high_bps = marks[ETH].risk.sigma_e6 // 100
    assert marks[BTC].risk.sigma_e6 // 100 < high_bps
    wish(market, account, exposure_bps=12_000, sigma_high_bps=high_bps)
    enrol(market, account, sales={"ETH": 10, "BTC": 30})
    assert kinds_taken(market, rebalance(market, account)) == [(SELL, ETH), (SELL, BTC)]
    assert position(market, account, "ETH") == (0, 0)


def test_limit__within_the_hysteresis__is_left_alone(market: World) -> None:
    """5% above a limit nothing happens, a little more and it does."""
    for limit_bps, code in ((14_286, NOTHING), (14_285, READY)):
        with market.isolated():
            account = spot(market)
            assert exposure(market, account, "ETH") * BPS // equity(market, account) == 15_000
            wish(market, account, position_bps=limit_bps)
            enrol(market, account)
            assert market.rebalancer.plan(account).code == code


def test_limit__cheapest_means__goes_first_and_the_rest_follows(market: World) -> None:
    """A sale at 10 bp before a hedge, at 90 bp after it."""
    for cost_bps, expected in ((10, [SELL]), (100, [HEDGE])):
        with market.isolated():
            account = spot(market)
            wish(market, account, position_bps=8_000)
            sales = {"ETH": cost_bps}
            enrol(market, account, actions=MAY_HEDGE, sales=sales, target_bps=12_500)
            kinds = [step.kind for step in market.rebalancer.plan(account).steps]
            assert kinds == expected


@pytest.mark.parametrize("paid_ppm", [-4_000, 9_000])
def test_limit__venue_pays_more_or_less_than_expected__stands(market: World, paid_ppm: int) -> None:
    """What a sale brings has no part in what is enough."""
    account = spot(market)
    wish(market, account, position_bps=8_000)
    enrol(market, account)
    price_pairs(market, paid_ppm)
    most = equity(market, account) * 8_000
    rebalance(market, account)
    assert most <= exposure(market, account, "ETH") * BPS <= most * 1_001 // 1_000


def test_limit__no_means__says_so_and_the_mix_stays(market: World) -> None:
    """A limit that cannot be met comes before weights."""
    account = spot(market)
    wish(market, account, position_bps=8_000, drift_bps=100, weights={"BTC": 5_000})
    enrol(market, account, sales={"BTC": 30})
    assert market.rebalancer.plan(account).code == NO_MEANS
    with reverts("rebalancer: no means left"):
        rebalance(market, account)


def test_limit__budget_and_maximum_step__bound_what_is_sold(market: World) -> None:
    account = spot(market)
    wish(market, account, position_bps=8_000)
    enrol(market, account, budget_wad=6 * WAD)
    plan = market.rebalancer.plan(account)
    assert 5 * WAD < plan.steps[0].cost <= 6 * WAD
    bounds = (0, 0, to_wad(500), *NO_BOUNDS[3:])
    market.rebalancer.set_bounds(account, bounds, sender=market.owner)
    (step,) = market.rebalancer.plan(account).steps
    assert to_wad(499) < step.value <= to_wad(500)
    rebalance(market, account)


def test_limits__called_again_and_again__end_after_a_few(market: World) -> None:
    """I50, T61: shares of what is left grow as others are cut, and it ends all the same."""
    account = spot(market)
    wish(market, account, share_bps=5_500, position_bps=6_000)
    enrol(market, account)
    count = 0
    while market.rebalancer.plan(account).code == READY:
        rebalance(market, account)
        market.wait(12)
        count += 1
        assert count <= 8
    assert count >= 1
    assert market.rebalancer.plan(account).code == NOTHING


# ---- weights


def test_drift__indebted_account__swaps_the_overweight_into_the_underweight(market: World) -> None:
    """Within what the slippage leaves open, and no weight is passed."""
    account = spot(market)
    wish(market, account, drift_bps=500, period_s=3_600, weights={"ETH": 6_000, "BTC": 4_000})
    enrol(market, account)
    (step,) = market.rebalancer.plan(account).steps
    assert (step.kind, step.asset, step.bought) == (SWAP, ETH, BTC)
    before = required(market, account)
    rebalance(market, account)
    whole = value(market, account, "ETH") + value(market, account, "BTC")
    assert 6_000 * whole <= value(market, account, "ETH") * BPS <= 6_050 * whole
    assert 3_950 * whole <= value(market, account, "BTC") * BPS <= 4_000 * whole
    assert required(market, account) <= before
    assert market.rebalancer.state_of(account)[2] == market.chain.time
    market.wait(12)
    assert market.rebalancer.plan(account).code == NOTHING


def test_drift__without_debt__sells_for_cash(market: World) -> None:
    account = spot(market, leverage=1)
    wish(market, account, drift_bps=500, weights={"ETH": 5_000, "BTC": 2_000})
    enrol(market, account)
    assert kinds_taken(market, rebalance(market, account)) == [(SELL, ETH), (SELL, BTC)]
    cash = market.clearinghouse.picture_of(account)[0]
    assert cash == pytest.approx(to_wad(3_000), rel=0.02)
    assert value(market, account, "ETH") == pytest.approx(to_wad(5_000), rel=0.01)


def test_drift__cash_to_spare_above_the_ceiling__buys(market: World) -> None:
    account = rich(market)
    wish(market, account, ceiling_bps=20_000, drift_bps=500, weights={"ETH": 3_000, "BTC": 2_000})
    enrol(market, account, actions=MAY_RERISK)
    assert kinds_taken(market, rebalance(market, account)) == [(BUY, 0), (BUY, 0)]
    whole = 22_000 * WAD
    assert 2_900 * whole <= value(market, account, "ETH") * BPS <= 3_000 * whole
    assert 1_950 * whole <= value(market, account, "BTC") * BPS <= 2_000 * whole


@pytest.mark.parametrize("actions", [0, MAY_RERISK])
def test_drift__requirement_would_rise_below_the_ceiling__buys_nothing(
    market: World, actions: int
) -> None:
    """A ceiling that was not asked for does not help, nor one that is out of reach."""
    account = rich(market)
    ceiling_bps = 60_000 if actions else 20_000
    market.deposit(account, "BTC", 3 * 10**8)
    wish(market, account, ceiling_bps=ceiling_bps, drift_bps=500, weights={"ETH": 8_000})
    enrol(market, account, actions=actions)
    assert equity(market, account) * BPS < 60_000 * required(market, account)
    assert market.rebalancer.plan(account).code == NO_MEANS


def test_drift__asset_with_a_short__is_left_alone(market: World) -> None:
    account = pair(market)
    wish(market, account, drift_bps=500, weights={"ETH": 1_000})
    enrol(market, account)
    assert market.rebalancer.plan(account).code == NO_MEANS


def test_drift__shortfall_to_the_target__waits(market: World) -> None:
    account = spot(market, leverage=3)
    wish(market, account, drift_bps=500, weights={"ETH": 6_000, "BTC": 4_000})
    equity_bps = equity(market, account) * BPS // required(market, account)
    enrol(market, account, trigger_bps=equity_bps - 500, target_bps=equity_bps + 100)
    assert market.rebalancer.plan(account).code == NOTHING


def test_drift__within_its_bound__is_left_alone(market: World) -> None:
    account = spot(market)
    wish(market, account, drift_bps=1_000, weights={"ETH": 7_000, "BTC": 3_000})
    enrol(market, account)
    assert market.rebalancer.plan(account).code == NOTHING


def test_drift__weight_above_a_limit__stops_at_the_limit(market: World) -> None:
    """Or the limit would have it sold again, for ever."""
    account = rich(market)
    terms = {"ceiling_bps": 20_000, "drift_bps": 500, "weights": {"ETH": 8_000}}
    wish(market, account, position_bps=3_000, **terms)
    enrol(market, account, actions=MAY_RERISK)
    assert kinds_taken(market, rebalance(market, account)) == [(BUY, 0)]
    share = exposure(market, account, "ETH") * BPS
    assert 2_900 * equity(market, account) <= share <= 3_000 * equity(market, account)
    market.wait(12)
    for _ in range(3):
        assert market.rebalancer.plan(account).code == NO_MEANS


def test_drift__in_the_block_of_a_new_round__waits(market: World) -> None:
    """The ledger would judge the swap at the worse of two prices."""
    account = spot(market)
    wish(market, account, drift_bps=500, weights={"ETH": 6_000, "BTC": 4_000})
    enrol(market, account)
    assert market.rebalancer.plan(account).code == READY
    market.set_price("ETH", 2_020, is_poked=False)
    interval, market.chain.block_interval_s = market.chain.block_interval_s, 0
    market.feeds["ETH"].set_answer(2_030 * 10**8, sender=market.governor)
    market.chain.block_interval_s = interval
    assert market.rebalancer.plan(account).code == NO_MEANS


@pytest.mark.parametrize("paid_ppm", [-4_000, 9_000])
def test_drift__venue_pays_more_or_less_than_expected__passes_no_weight(
    market: World, paid_ppm: int
) -> None:
    account = spot(market)
    wish(market, account, drift_bps=500, weights={"ETH": 6_000, "BTC": 4_000})
    enrol(market, account)
    price_pairs(market, paid_ppm)
    assert kinds_taken(market, rebalance(market, account)) == [(SWAP, ETH)]
    whole = value(market, account, "ETH") + value(market, account, "BTC")
    assert value(market, account, "BTC") * BPS <= 4_000 * whole


def test_drift__just_above_the_target__swaps_what_a_poor_price_allows(market: World) -> None:
    """A unit swapped loses the slippage of a tenth at most, and frees 0.7% of requirement."""
    account = spot(market)
    target_bps = equity(market, account) * BPS // required(market, account) - 100
    wish(market, account, drift_bps=500, weights={"ETH": 6_000, "BTC": 4_000})
    enrol(market, account, target_bps=target_bps, slippage_bps=1_000)
    spare = equity(market, account) - required(market, account) * target_bps // BPS
    (step,) = market.rebalancer.plan(account).steps
    assert step.kind == SWAP
    assert step.value == pytest.approx(spare / (0.1 - 0.007 * target_bps / BPS), rel=0.001)


def test_drift__cash_was_spent_down_to_the_ceiling__swaps_nothing_besides(market: World) -> None:
    """A swap at a poor price would leave the account below the ceiling with more exposure."""
    account = rich(market)
    market.deposit(account, "ETH", 4 * WAD)
    weights = {"ETH": 0, "BTC": BPS}
    wish(market, account, ceiling_bps=60_000, drift_bps=500, weights=weights)
    enrol(market, account, actions=MAY_RERISK, slippage_bps=1_000)
    assert [step.kind for step in market.rebalancer.plan(account).steps] == [BUY]


def test_drift__cash_must_not_be_spent__swaps_what_else_is_overweight(market: World) -> None:
    """The most overweight is cash, which without a ceiling buys nothing."""
    account = market.account()
    market.deposit(account, "ETH", 2 * WAD)
    market.deposit(account, QUOTE, market.units(QUOTE, 8_000))
    wish(market, account, drift_bps=500, weights={"ETH": 0, "BTC": BPS})
    enrol(market, account)
    assert kinds_taken(market, rebalance(market, account)) == [(SWAP, ETH)]
    assert position(market, account, "ETH") == (0, 0)


def test_drift__sale_of_the_most_overweight_refused__sells_the_next(market: World) -> None:
    """Though the maximum step had no room for both."""
    account = spot(market, leverage=1)
    wish(market, account, drift_bps=500, weights={"ETH": 5_000, "BTC": 2_000})
    enrol(market, account)
    market.bound(account, max_step=to_wad(1_000))
    market.set_venue_price("ETH", fee_ppm=200_000)
    assert [step.asset for step in market.rebalancer.plan(account).steps] == [ETH]
    assert kinds_taken(market, rebalance(market, account)) == [(SELL, BTC)]


def test_drift__perpetual_beside_collateral__counts_toward_the_weight(market: World) -> None:
    account = rich(market)
    trade(market, account, "ETH", 2 * WAD)
    wish(market, account, ceiling_bps=20_000, drift_bps=500, weights={"ETH": 3_000})
    enrol(market, account, actions=MAY_RERISK)
    assert kinds_taken(market, rebalance(market, account)) == [(BUY, 0)]
    whole = market.clearinghouse.picture_of(account)[0] + value(market, account, "ETH")
    assert 2_900 * whole <= exposure(market, account, "ETH") * BPS <= 3_000 * whole


def test_drift__asset_not_held_and_too_volatile__is_not_bought(market: World) -> None:
    """It would make the account a volatile one, in which nothing may grow."""
    account = market.account()
    market.deposit(account, "BTC", 10**7)
    market.deposit(account, QUOTE, market.units(QUOTE, 20_000))
    sigma_bps = read_marks(market)[ETH].risk.sigma_e6 // 100
    assert read_marks(market)[BTC].risk.sigma_e6 // 100 < sigma_bps - 1
    terms = {"ceiling_bps": 20_000, "drift_bps": 500, "weights": {"ETH": 3_000}}
    for low_bps, code in ((sigma_bps, READY), (sigma_bps - 1, NO_MEANS)):
        with market.isolated():
            wish(market, account, sigma_low_bps=low_bps, **terms)
            enrol(market, account, actions=MAY_RERISK)
            assert market.rebalancer.plan(account).code == code


def test_drift__asset_not_held_and_not_sampled_for_long__is_not_bought(market: World) -> None:
    """Its price is live and the same as before, and still must not back an increase."""
    account = rich(market)
    wish(market, account, ceiling_bps=20_000, drift_bps=500, weights={"BTC": 3_000})
    enrol(market, account, actions=MAY_RERISK)
    market.chain.advance(1_000)
    market.set_price("BTC", 30_000, is_poked=False)
    assert market.rebalancer.plan(account).code == NO_MEANS
    market.poke(["BTC"])
    assert market.rebalancer.plan(account).code == READY


def test_drift__weighed_asset_that_is_not_listed__is_not_bought(market: World) -> None:
    """It has no price; the weights beside it are followed all the same."""
    account = rich(market)
    unknown = 77
    for weights, code, assets in (
        ([(unknown, 3_000)], NO_MEANS, []),
        ([(unknown, 3_000), (BTC, 3_000)], READY, [BTC]),
    ):
        with market.isolated():
            *terms, _ = arguments_of(market, ceiling_bps=20_000, drift_bps=500)
            market.mandates.set_allocation(account, (*terms, weights), sender=market.owner)
            market.enrol(
                account,
                actions=MAY_RERISK,
                trigger_bps=10_500,
                target_bps=TARGET_BPS,
                band_bps=BAND_BPS,
            )
            plan = market.rebalancer.plan(account)
            assert plan.code == code
            assert [step.bought for step in plan.steps] == assets


@pytest.mark.parametrize(("anticipates", "bought_wad"), [(False, 11_000), (True, 3_000)])
def test_drift__quota_of_an_asset_not_held_will_fall__is_kept_if_anticipated(
    market: World, anticipates: bool, bought_wad: int
) -> None:
    """Half of the account, or a tenth of a BTC."""
    account = rich(market)
    terms = {"ceiling_bps": 20_000, "drift_bps": 500, "weights": {"BTC": 5_000}}
    wish(market, account, anticipates=anticipates, **terms)
    enrol(market, account, actions=MAY_RERISK)
    lower = (*market.system.oracle.parameters(BTC)[1][:-1], 10**8)
    market.system.oracle.set_parameters(BTC, lower, sender=market.governor)
    (step,) = market.rebalancer.plan(account).steps
    assert step.kind == BUY and step.value == pytest.approx(to_wad(bought_wad), rel=0.03)


def test_drift__unit_worth_a_wei__sells_to_the_wei() -> None:
    """What is kept is rounded up, of a whole with all that swaps may lose, rounded up as well."""
    market = build_world({**TWO_ASSETS, "ONE": AssetSpec(18, 1)})
    account = market.account()
    wish(market, account, drift_bps=500, weights={"ONE": 9_001})
    enrol(market, account)
    market.deposit(account, "ONE", to_wad(10_000))
    for _ in range(12):
        market.deposit(account, "ONE", 7)
        whole, _ = position(market, account, "ONE")
        lost = -(-(whole - 9_001 * whole // BPS) // 100)
        kept = -(-9_001 * (whole + lost + 10) // BPS)
        (step,) = market.rebalancer.plan(account).steps
        assert (step.kind, step.amount) == (SELL, whole - kept)


# ---- ceiling


def test_ceiling__short_beside_collateral__is_bought_back_first(market: World) -> None:
    account = pair(market)
    wish(market, account, ceiling_bps=60_000)
    enrol(market, account, actions=MAY_RERISK)
    assert kinds_taken(market, rebalance(market, account)) == [(UNHEDGE, ETH)]
    most = 60_000 * required(market, account)
    assert most <= equity(market, account) * BPS <= most * 1_001 // 1_000
    market.chain.advance(12)
    assert market.rebalancer.plan(account).code == NOTHING


def test_ceiling__weighed_asset_and_cash__is_bought_next(market: World) -> None:
    """Within the drift, which is none of the ceiling's business."""
    account = rich(market)
    wish(market, account, ceiling_bps=60_000, drift_bps=BPS, weights={"BTC": 9_000})
    enrol(market, account, actions=MAY_RERISK)
    assert kinds_taken(market, rebalance(market, account)) == [(BUY, 0)]
    most = 60_000 * required(market, account)
    assert most <= equity(market, account) * BPS <= most * 105 // 100
    assert value(market, account, "BTC") > to_wad(10_000)


def test_ceiling__perpetual_that_is_there__is_enlarged_last(market: World) -> None:
    account = long(market)
    wish(market, account, ceiling_bps=20_000)
    enrol(market, account, actions=MAY_RERISK)
    assert kinds_taken(market, rebalance(market, account)) == [(LEVER, ETH)]
    assert position(market, account, "ETH")[1] > 5 * WAD
    most = 20_000 * required(market, account)
    assert most <= equity(market, account) * BPS <= most * 1_001 // 1_000


def test_ceiling__short_perpetual__grows_on_its_own_side(market: World) -> None:
    account = market.account()
    market.deposit(account, QUOTE, market.units(QUOTE, 10_000))
    trade(market, account, "ETH", -5 * WAD)
    wish(market, account, ceiling_bps=20_000)
    enrol(market, account, actions=MAY_RERISK)
    assert kinds_taken(market, rebalance(market, account)) == [(LEVER, ETH)]
    assert position(market, account, "ETH")[1] < -5 * WAD


NOT_ASKED_FOR: dict[str, tuple[int, dict[str, Any]]] = {
    "the policy does not allow it": (0, {"ceiling_bps": 20_000}),
    "no ceiling": (MAY_RERISK, {"share_bps": 9_000}),
    "ceiling at the target": (MAY_RERISK, {"ceiling_bps": 11_000}),
    "volatile": (MAY_RERISK, {"ceiling_bps": 20_000, "sigma_low_bps": 1_000}),
}


@pytest.mark.parametrize("why", NOT_ASKED_FOR)
def test_ceiling__not_asked_for__nothing_grows(market: World, why: str) -> None:
    actions, terms = NOT_ASKED_FOR[why]
    account = long(market)
    wish(market, account, **terms)
    enrol(market, account, actions=actions)
    assert market.rebalancer.plan(account).code == NOTHING


def test_ceiling__equity_beyond_it__is_rounded_down(market: World) -> None:
    """What has to stay is rounded up, and roundings of swaps are kept back."""
    account = rich(market)
    market.deposit(account, "ETH", 3)
    wish(market, account, ceiling_bps=20_001)
    enrol(market, account, actions=MAY_RERISK)
    kept = required(market, account) * 20_001
    assert kept % BPS != 0
    spare = equity(market, account) - kept // BPS - 1 - 32 * market.unit_wad(QUOTE)
    assert market.rebalancer.plan(account).shortfall == spare


def test_ceiling__within_the_band__is_left_alone(market: World) -> None:
    account = long(market)
    multiple = equity(market, account) * BPS // required(market, account)
    wish(market, account, ceiling_bps=multiple - BAND_BPS + 1)
    enrol(market, account, actions=MAY_RERISK)
    assert market.rebalancer.plan(account).code == NOTHING


def test_ceiling__in_the_block_of_a_new_round__waits(market: World) -> None:
    """The ledger would judge what is bought at the worse of two prices."""
    account = rich(market)
    wish(market, account, ceiling_bps=60_000, drift_bps=BPS, weights={"BTC": 9_000})
    enrol(market, account, actions=MAY_RERISK)
    assert market.rebalancer.plan(account).code == READY
    market.set_price("ETH", 2_020, is_poked=False)
    interval, market.chain.block_interval_s = market.chain.block_interval_s, 0
    market.feeds["ETH"].set_answer(2_030 * 10**8, sender=market.governor)
    market.chain.block_interval_s = interval
    plan = market.rebalancer.plan(account)
    assert (plan.code, list(plan.steps)) == (NO_MEANS, [])
    assert plan.uncured == plan.shortfall > 0
    market.chain.advance(12)
    market.poke(["ETH"])
    assert market.rebalancer.plan(account).code == READY


def test_ceiling__perpetual_that_may_grow_by_a_little__is_left_alone(market: World) -> None:
    """Its limit leaves room for a step that uses up less than an eighth of what is beyond."""
    account = long(market)
    for position_bps, kinds in ((10_100, []), (15_000, [LEVER])):
        with market.isolated():
            wish(market, account, ceiling_bps=20_000, position_bps=position_bps)
            enrol(market, account, actions=MAY_RERISK)
            plan = market.rebalancer.plan(account)
            assert plan.code == (READY if kinds else NO_MEANS)
            assert [step.kind for step in plan.steps] == kinds


def test_ceiling__short_as_large_as_the_collateral__is_bought_back_toward_a_weight_only(
    market: World,
) -> None:
    """Both cancel out: nothing but a weight says that the account wants the asset at all."""
    account = pair(market)
    trade(market, account, "ETH", -2 * WAD)
    assert position(market, account, "ETH") == (5 * WAD, -5 * WAD)
    for weights, kinds in (({"BTC": 9_000}, []), ({"ETH": BPS}, [UNHEDGE])):
        with market.isolated():
            wish(market, account, ceiling_bps=60_000, drift_bps=BPS, weights=weights)
            enrol(market, account, actions=MAY_RERISK)
            plan = market.rebalancer.plan(account)
            assert [step.kind for step in plan.steps if step.asset == ETH] == kinds


def test_ceiling__hedge_that_a_limit_asked_for__is_not_undone(market: World) -> None:
    """Two wishes that pull against each other come to rest."""
    account = spot(market)
    wish(market, account, ceiling_bps=12_000, position_bps=8_000)
    enrol(market, account, actions=MAY_RERISK | MAY_HEDGE, sales={})
    assert kinds_taken(market, rebalance(market, account)) == [(HEDGE, ETH)]
    for _ in range(3):
        market.wait(12)
        if market.rebalancer.plan(account).code != READY:
            break
        rebalance(market, account)
    assert market.rebalancer.plan(account).code in (NOTHING, NO_MEANS)


# ---- when


def test_period__not_over__waits_and_limits_do_not(market: World) -> None:
    account = spot(market)
    weights = {"ETH": 6_000, "BTC": 4_000}
    wish(market, account, drift_bps=200, period_s=3_600, weights=weights, position_bps=13_000)
    enrol(market, account)
    rebalance(market, account)
    assert market.rebalancer.plan(account).code == COOLING_DOWN
    with reverts("rebalancer: cooling down"):
        rebalance(market, account)
    market.set_price("ETH", 2_400)
    assert market.rebalancer.plan(account).code == READY
    assert kinds_taken(market, rebalance(market, account)) == [(SELL, ETH)]


def expired(world: World, account: int) -> None:
    bounds = (world.chain.time + 60, *NO_BOUNDS[1:])
    world.rebalancer.set_bounds(account, bounds, sender=world.owner)
    world.wait(60)


HOLD_BACK: dict[str, tuple[Callable[[World, int], None], dict[str, Any], int, int]] = {
    # Margin is asked first, so an expired policy is the planner's to tell.
    "expired": (expired, {}, EXPIRED, 0),
    "minimum": (lambda *_: None, {"min_step_wad": to_wad(20_000)}, BELOW_MINIMUM, 1),
}


@pytest.mark.parametrize("why", HOLD_BACK)
def test_bounds__hold_an_allocation_back__always(market: World, why: str) -> None:
    set_up, terms, code, steps = HOLD_BACK[why]
    account = spot(market)
    wish(market, account, position_bps=8_000)
    enrol(market, account, **terms)
    set_up(market, account)
    plan = market.rebalancer.plan(account)
    assert (plan.code, len(plan.steps)) == (code, steps)


def test_cooldown__not_over__waits(market: World) -> None:
    account = spot(market)
    wish(market, account, position_bps=8_000)
    enrol(market, account, cooldown_s=600)
    rebalance(market, account)
    market.set_price("ETH", 3_000)
    assert market.rebalancer.plan(account).code == COOLING_DOWN
    market.wait(600)
    assert market.rebalancer.plan(account).code == READY


def test_allocation__sale_refused__is_tried_smaller_and_planned_around(market: World) -> None:
    """A venue that takes no ETH: the hedge does it."""
    account = spot(market)
    wish(market, account, position_bps=8_000)
    enrol(market, account, actions=MAY_HEDGE, sales={"ETH": 10})
    market.venue.set_price(
        market.tokens["ETH"], market.quote, market.price_wad("ETH"), 200_000, sender=market.governor
    )
    receipt = rebalance(market, account)
    assert kinds_taken(market, receipt) == [(HEDGE, ETH)]
    (event,) = market.rebalancer.events(receipt, "StepRefused")
    assert (event.args.kind, event.args.asset) == (SELL, ETH)
    most = 8_000 * equity(market, account)
    assert most <= exposure(market, account, "ETH") * BPS <= most * 102 // 100


def test_mixer__asked_without_the_allocator__answers(market: World) -> None:
    """It is a view like any other: the same plan, and one for an account without anything."""
    empty = (0, 0, 0, 0, 0, [])
    request = (market.account(), 0, 0, 0, 0, 0, 0, [0] * 13)
    assert market.system.mixer.plan(request, 0, 0, empty).code == NOTHING
    for guard_word, policy_word in ((0, 0), (0, 2**256 - 1), (2**256 - 1, 0)):
        request = (market.account(), guard_word, policy_word, 0, 0, 0, 0, [0] * 13)
        assert market.system.allocator.plan(request, 0, 0, empty).code == NO_POLICY
    assert market.system.allocator.MIXER() == market.system.mixer.address
