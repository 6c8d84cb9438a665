"""Allocations in the mandates contract: how they come into force, and what a hook may not do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ballast.chain import Contract
from ballast.model.oracle import Risk
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.support.allocations import (
    arguments_of,
    enrol,
    fund_house,
    position,
    price_pairs,
    rebalance,
    trade,
    wish,
)
from tests.support.hooks import deploy_hook, must, play
from tests.support.world import QUOTE, WAD, World

BPS = 10_000
ETH, BTC = 1, 2
HOUR = 3_600
GUARD = (13_000, 300, 100, 0, 0, 0)
BUDGET = (10**9 * WAD, 60, 10**9 * WAD)
ALLOCATES, ANTICIPATES = 1 << 193, 1 << 194
GREW, OVERSHOT = "mandates: exposure grew", "mandates: above target and band"
FULL: dict[str, Any] = {
    "ceiling_bps": 65_535,
    "share_bps": 65_535,
    "position_bps": 65_535,
    "exposure_bps": 65_535,
    "sigma_high_bps": 65_535,
    "sigma_low_bps": 65_534,
    "drift_bps": BPS,
    "period_s": 2**32 - 1,
    "anticipates": True,
    "weights": {"ETH": 4_000, "BTC": 6_000},
}


def give(world: World, account: int, guard: tuple[int, ...] = GUARD, hook: Any = None) -> None:
    """Guard and budget for an account, with the hook of the attacker or none at work."""
    world.mandates.set_guard(account, hook or world.attacker, guard, sender=world.owner)
    world.mandates.arm_budget(BUDGET, sender=world.owner)


def allocation(world: World, account: int) -> tuple[Any, ...]:
    """The allocation in force, as plain tuples."""
    *fields, weights = world.mandates.allocation_of(account)
    return (*fields, [tuple(weight) for weight in weights])


# ---- how they come into force


def test_set_allocation__first_without_a_guard__holds_at_once(world: World) -> None:
    account = world.account()
    receipt = world.mandates.set_allocation(
        account, arguments_of(world, **FULL), sender=world.owner
    )
    args = args_of(world.mandates, receipt, "AllocationChanged")
    assert allocation(world, account) == arguments_of(world, **FULL)
    words = world.mandates.allocation_words(account)
    assert (args.account, args.limits_word, args.weights_word) == (account, *words)
    give(world, account)
    flags = world.mandates.guard_word(account) & (ALLOCATES | ANTICIPATES)
    assert flags == ALLOCATES | ANTICIPATES


def test_set_allocation__beside_a_guard__holds_an_hour_after_it_was_announced(world: World) -> None:
    account = world.account()
    give(world, account)
    arguments = arguments_of(world, share_bps=5_000, drift_bps=100, weights={"ETH": 6_000})
    receipt = world.mandates.set_allocation(account, arguments, sender=world.owner)
    args = args_of(world.mandates, receipt, "AllocationAnnounced")
    ready_at = world.chain.time + HOUR
    limits, weights, at = world.mandates.announced_allocation(account)
    assert (args.limits_word, args.weights_word, args.ready_at) == (limits, weights, at)
    assert (at, limits) == (ready_at, 5_000 << 16 | 100 << 96) and weights != 0
    assert world.mandates.allocation_words(account) == (0, 0)
    world.chain.advance(HOUR - 24)
    with reverts("mandates: nothing to apply yet"):
        world.mandates.apply_allocation(account, sender=world.keeper)
    world.chain.advance(12)
    world.mandates.apply_allocation(account, sender=world.keeper)
    assert allocation(world, account) == arguments
    assert world.mandates.guard_word(account) & ALLOCATES
    assert tuple(world.mandates.announced_allocation(account)) == (0, 0, 0)
    with reverts("mandates: nothing to apply yet"):
        world.mandates.apply_allocation(account, sender=world.keeper)


def test_set_allocation__empty__takes_it_away_at_once_with_what_waits(world: World) -> None:
    account = world.account()
    wish(world, account, share_bps=5_000, anticipates=True)
    give(world, account)
    wish(world, account, share_bps=9_000)
    assert world.mandates.announced_allocation(account)[2] != 0
    wish(world, account)
    assert world.mandates.allocation_words(account) == (0, 0)
    assert world.mandates.announced_allocation(account) == (0, 0, 0)
    assert world.mandates.guard_word(account) & (ALLOCATES | ANTICIPATES) == 0


def test_revoke__allocation__stays_and_waits_for_a_guard(world: World) -> None:
    """It says what its owner wants; without a hook nobody acts on it."""
    account = world.account()
    wish(world, account, share_bps=5_000)
    give(world, account)
    world.mandates.revoke(account, sender=world.owner)
    assert world.mandates.guard_word(account) == 0
    wish(world, account, share_bps=6_000)
    assert world.mandates.announced_allocation(account)[2] != 0
    world.mandates.set_guard(account, world.attacker, GUARD, sender=world.owner)
    world.chain.advance(HOUR)
    world.mandates.apply_guard(account, sender=world.keeper)
    assert world.mandates.guard_word(account) & ALLOCATES


def test_set_allocation__not_the_owner__is_refused(world: World) -> None:
    for who in (world.keeper, world.attacker, world.other_owner, world.governor):
        with reverts("mandates: only the owner"):
            world.mandates.set_allocation(world.account(), arguments_of(world, **FULL), sender=who)


OUT_OF_RANGE = {
    "ceiling below 1": {"ceiling_bps": 9_999},
    "ceiling too wide": {"ceiling_bps": 65_536},
    "share": {"share_bps": 65_536},
    "position": {"position_bps": 65_536},
    "exposure": {"exposure_bps": 65_536},
    "high": {"sigma_high_bps": 65_536},
    "low": {"sigma_low_bps": 65_536, "sigma_high_bps": 0, "exposure_bps": 0},
    "low at high": {"sigma_low_bps": 65_535},
    "drift": {"drift_bps": BPS + 1},
    "drift without weights": {"weights": {}},
    "weights without drift": {"drift_bps": 0},
    "period": {"period_s": 2**32},
    "exposure without its volatility": {"sigma_high_bps": 0},
    "volatility without its exposure": {"exposure_bps": 0},
}


@pytest.mark.parametrize("what", OUT_OF_RANGE)
def test_set_allocation__field_beyond_its_end__is_refused(world: World, what: str) -> None:
    terms: dict[str, Any] = OUT_OF_RANGE[what]
    with reverts("allocations: field out of range"):
        arguments = arguments_of(world, **{**FULL, **terms})
        world.mandates.set_allocation(world.account(), arguments, sender=world.owner)


BAD_WEIGHTS = {
    "together above all": [(1, 5_000), (2, 5_001)],
    "alone above all": [(1, 10_001)],
    "far above all": [(1, 2**255), (2, 2**255 + 1)],
    "twice": [(1, 100), (1, 100)],
    "the quote token": [(0, 100)],
    "no asset": [(256, 100)],
}


@pytest.mark.parametrize("what", BAD_WEIGHTS)
def test_set_allocation__bad_weight__is_refused(world: World, what: str) -> None:
    *fields, _ = arguments_of(world, **FULL)
    reason = None if what == "far above all" else "allocations: bad weight"
    with reverts(reason):
        world.mandates.set_allocation(
            world.account(), (*fields, BAD_WEIGHTS[what]), sender=world.owner
        )


# ---- what a hostile hook may not do


@pytest.fixture
def hook(world: World) -> Contract:
    """With a rich house and a venue that trades every pair."""
    fund_house(world)
    price_pairs(world)
    return deploy_hook(world)


def spot(world: World, hook: Contract, leverage: int = 2, **terms: Any) -> int:
    """Three parts of ETH and one of BTC, 10,000 of equity, in the hands of the hook."""
    account = world.open_account(leverage=leverage, mix={"ETH": 3, "BTC": 1})
    if terms:
        wish(world, account, **terms)
    give(world, account, hook=hook)
    return account


def swap(world: World, sold: str, bought: str, worth: int) -> Any:
    """A step of the hook's script that sells so many whole quote tokens' worth."""
    price = WAD if sold == QUOTE else world.price_wad(sold)
    units = worth * WAD * WAD // price // world.unit_wad(sold)
    ids = world.asset(sold), world.asset(bought)
    return must(world.mandates, "swap", world.venue.address, *ids, units, 0)


def trades(world: World, size_change: int) -> Any:
    return must(world.mandates, "trade", ETH, size_change)


def test_hook__no_allocation__trades_nothing_above_the_target(world: World, hook: Contract) -> None:
    account = spot(world, hook)
    with reverts(OVERSHOT):
        play(world, hook, account, swap(world, "ETH", QUOTE, 100))
    with reverts(GREW):
        play(world, hook, account, swap(world, "ETH", "BTC", 100))


LIMITS = {
    # 15,000 of ETH, 5,000 of BTC, equity 10,000: what may be sold of ETH, and a little more.
    "position": ({"position_bps": 8_000}, 6_999, 7_001),
    "regime": ({"exposure_bps": 15_000, "sigma_high_bps": 100}, 4_999, 5_001),
    "weight": ({"drift_bps": 100, "weights": {"ETH": 6_000}}, 7_499, 7_501),
}


@pytest.mark.parametrize("what", LIMITS)
def test_hook__limit__sells_down_to_it_and_no_further(
    world: World, hook: Contract, what: str
) -> None:
    """I50: to the token, at a venue that is free; what one costs lowers the limit with equity."""
    terms, enough, too_much = LIMITS[what]
    price_pairs(world, fee_ppm=0)
    account = spot(world, hook, **terms)
    with world.isolated():
        play(world, hook, account, swap(world, "ETH", QUOTE, enough))
    with reverts(OVERSHOT):
        play(world, hook, account, swap(world, "ETH", QUOTE, too_much))


def test_hook__limit_of_one_asset__does_not_cover_another(world: World, hook: Contract) -> None:
    account = spot(world, hook, position_bps=8_000)
    with reverts(OVERSHOT):
        play(world, hook, account, swap(world, "ETH", QUOTE, 100), swap(world, "BTC", QUOTE, 100))


def test_hook__share__counts_what_it_sells_besides(world: World, hook: Contract) -> None:
    """Selling BTC as well would make the share of ETH grow for ever."""
    account = spot(world, hook, share_bps=6_000)
    with world.isolated():
        play(world, hook, account, swap(world, "ETH", QUOTE, 5_000))
    with reverts(OVERSHOT):
        play(world, hook, account, swap(world, "ETH", QUOTE, 5_000), swap(world, "BTC", QUOTE, 900))


def test_hook__better_price_than_the_oracle__does_not_lower_a_limit(
    world: World, hook: Contract
) -> None:
    """What a sale brings beyond its price makes nothing of what was sold too much or too little."""
    account = spot(world, hook, position_bps=8_000)
    price_pairs(world, 9_000)
    with world.isolated():
        play(world, hook, account, swap(world, "ETH", QUOTE, 6_999))
    with reverts(OVERSHOT):
        play(world, hook, account, swap(world, "ETH", QUOTE, 7_001))


def test_hook__weight__buys_up_to_it_and_no_further(world: World, hook: Contract) -> None:
    account = spot(world, hook, drift_bps=100, weights={"ETH": 6_000, "BTC": 4_000})
    with world.isolated():
        play(world, hook, account, swap(world, "ETH", "BTC", 2_990))
    with reverts(GREW):
        play(world, hook, account, swap(world, "ETH", "BTC", 3_020))


def test_hook__weight_sold_beside_cash__is_a_part_of_what_the_sale_brought_too(
    world: World, hook: Contract
) -> None:
    """Of 15,000 of ETH and 5,000 in cash three fifths are 12,000, whatever was sold."""
    price_pairs(world, fee_ppm=0)
    account = world.account()
    world.deposit(account, QUOTE, world.units(QUOTE, 5_000))
    world.deposit(account, "ETH", 15 * WAD // 2)
    wish(world, account, drift_bps=100, weights={"ETH": 6_000})
    give(world, account, hook=hook)
    with world.isolated():
        play(world, hook, account, swap(world, "ETH", QUOTE, 2_999))
    with reverts(OVERSHOT):
        play(world, hook, account, swap(world, "ETH", QUOTE, 3_001))


def test_hook__weight_but_more_requirement__buys_nothing(world: World, hook: Contract) -> None:
    """BTC requires less than ETH, so the way back is closed below the ceiling."""
    weights = {"ETH": 9_000, "BTC": 1_000}
    account = spot(world, hook, drift_bps=100, weights=weights)
    with reverts(GREW):
        play(world, hook, account, swap(world, "BTC", "ETH", 1_000))


def test_hook__weight__is_no_room_for_a_perpetual(world: World, hook: Contract) -> None:
    """What a sale freed does not pay for a long beyond the weight, though no collateral is."""
    account = spot(world, hook, drift_bps=100, weights={"ETH": 9_500, "BTC": 500})
    sale = swap(world, "BTC", QUOTE, 3_000)
    with world.isolated():
        play(world, hook, account, sale)
    with reverts(GREW):
        play(world, hook, account, sale, trades(world, 8 * WAD // 10))


def test_hook__asset_without_a_weight__is_not_bought(world: World, hook: Contract) -> None:
    """Above the ceiling what is held may grow, and what has a weight; not what is new."""
    account = world.open_account(leverage=1)
    wish(world, account, drift_bps=100, weights={"ETH": 6_000}, ceiling_bps=BPS)
    give(world, account, hook=hook)
    with reverts(GREW):
        play(world, hook, account, swap(world, "ETH", "BTC", 1_000))


def test_hook__below_the_ceiling__nothing_grows(world: World, hook: Contract) -> None:
    account = world.account()
    world.deposit(account, QUOTE, world.units(QUOTE, 10_000))
    trade(world, account, "ETH", 5 * WAD)
    wish(world, account, ceiling_bps=20_000)
    give(world, account, hook=hook)
    with world.isolated():
        play(world, hook, account, trades(world, 4 * WAD))
        equity, required, *_ = world.clearinghouse.assess(account)
        assert equity * BPS >= 20_000 * required
    with reverts(GREW):
        play(world, hook, account, trades(world, 6 * WAD))


def test_hook__above_the_ceiling__flips_no_side(world: World, hook: Contract) -> None:
    """From long to short is no growth that anybody asked for, however rich the account."""
    account = world.account()
    world.deposit(account, QUOTE, world.units(QUOTE, 50_000))
    trade(world, account, "ETH", 2 * WAD)
    wish(world, account, ceiling_bps=20_000)
    give(world, account, hook=hook)
    with reverts(GREW):
        play(world, hook, account, trades(world, -3 * WAD))
    with reverts(GREW):
        play(world, hook, account, trades(world, -3 * WAD), trades(world, -WAD))


def test_hook__volatile__nothing_grows(world: World, hook: Contract) -> None:
    account = world.account()
    world.deposit(account, QUOTE, world.units(QUOTE, 50_000))
    trade(world, account, "ETH", 2 * WAD)
    wish(world, account, ceiling_bps=20_000, sigma_low_bps=1_000)
    give(world, account, hook=hook)
    with reverts(GREW):
        play(world, hook, account, trades(world, WAD))


def test_hook__allocation_and_pulled_cash_alone__grows_nothing(
    world: World, hook: Contract
) -> None:
    """The shortfall bounds what is pulled, and an account without one pulls nothing."""
    account = spot(world, hook, position_bps=8_000)
    with reverts("mandates: pull above shortfall"):
        play(world, hook, account, must(world.mandates, "pull", 10**6))


def test_hook__wash_trades_under_an_allocation__lose_no_more_than_the_budget(
    world: World, hook: Contract
) -> None:
    """There and back through a venue that the attacker owns: the loss is counted."""
    account = spot(world, hook, drift_bps=100, weights={"ETH": 7_000, "BTC": 3_000})
    world.mandates.arm_budget((20 * WAD, 86_400, 20 * WAD), sender=world.owner)
    there, back = swap(world, "ETH", "BTC", 2_000), swap(world, "BTC", "ETH", 1_990)
    with world.isolated():
        play(world, hook, account, swap(world, "ETH", "BTC", 500), swap(world, "BTC", "ETH", 400))
        assert world.mandates.budget_left(world.owner) < 20 * WAD
    with reverts("budgets: loss above budget"):
        play(world, hook, account, there, back, there, back)


# ---- growth of an exposure, without an allocation and with a ceiling

WIDE_GUARD = (65_535, 10_000, 1_000, 0, 0, 0)


def test_hook__whole_hedge_of_a_collateral__is_no_growth(world: World, hook: Contract) -> None:
    """An exposure of zero is on no other side."""
    account = world.open_account(leverage="3.6")
    give(world, account, WIDE_GUARD, hook)
    play(world, hook, account, trades(world, -18 * WAD))
    assert position(world, account, "ETH") == (18 * WAD, -18 * WAD)


def test_hook__hedge_sold_with_most_of_its_collateral__is_growth(
    world: World, hook: Contract
) -> None:
    """What requires less may still be more exposed than nothing was."""
    account = world.account()
    world.deposit(account, "ETH", 10 * WAD)
    trade(world, account, "ETH", -10 * WAD)
    world.borrow(account, world.units(QUOTE, 17_000))
    give(world, account, WIDE_GUARD, hook)
    with world.isolated():
        play(world, hook, account, trades(world, 5 * WAD), swap(world, "ETH", QUOTE, 10_000))
        assert position(world, account, "ETH") == (5 * WAD, -5 * WAD)
    with reverts(GREW):
        play(world, hook, account, trades(world, 10 * WAD), swap(world, "ETH", QUOTE, 18_000))


def test_hook__side_flipped_to_the_least_amount__is_growth(world: World, hook: Contract) -> None:
    """From short to long by a WAD, of which the other side was far more."""
    account = world.account()
    world.deposit(account, "ETH", 10 * WAD + 1)
    world.deposit(account, QUOTE, world.units(QUOTE, 1_000))
    trade(world, account, "ETH", -20 * WAD)
    give(world, account, WIDE_GUARD, hook)
    with reverts(GREW):
        play(world, hook, account, trades(world, 10 * WAD))


def test_hook__inflow_and_a_hedged_purchase__is_growth(world: World, hook: Contract) -> None:
    """Collateral of a sibling lets the requirement grow by its own, and by no pair beside it."""
    account = world.open_account(leverage="2.5", mix={"ETH": 1, "BTC": 1})
    donor = world.account(1)
    world.deposit(donor, "ETH", WAD)
    world.make_donor(donor, floor_bps=BPS)
    give(world, account, WIDE_GUARD, hook)
    move = must(world.mandates, "move", donor, ETH, WAD // 10)
    with world.isolated():
        play(world, hook, account, move, trades(world, -WAD))
    price_pairs(world, fee_ppm=0)
    with reverts(GREW):
        play(world, hook, account, move, swap(world, "BTC", "ETH", 2_000), trades(world, -WAD))


def test_hook__above_the_ceiling__builds_no_hedged_pair(world: World, hook: Contract) -> None:
    """A pair without exposure is on no side that was held."""
    price_pairs(world, fee_ppm=0)
    account = world.account()
    world.deposit(account, QUOTE, world.units(QUOTE, 50_000))
    world.deposit(account, "ETH", WAD // 20)
    wish(world, account, ceiling_bps=20_000)
    give(world, account, hook=hook)
    with world.isolated():
        play(world, hook, account, swap(world, QUOTE, "ETH", 1_900))
    with reverts(GREW):
        play(world, hook, account, swap(world, QUOTE, "ETH", 1_900), trades(world, -WAD))


# ---- requirements that are going to rise

# ETH's rate at initial margin goes from 24% to 36% of the value over the notice period.
COMING = (4_500, 2_000, 9_000, 1_500, 800, 4_000, 250, 200, 600, 50_000 * 10**9)


def announce(world: World) -> None:
    world.system.oracle.set_parameters(ETH, COMING, sender=world.governor)
    world.poke()


def leveraged(world: World, **terms: Any) -> int:
    """25,000 of ETH on 10,000 of equity: 1.54 of what is required, and 1.05 of what will be."""
    account = world.open_account(leverage="2.5")
    if terms:
        wish(world, account, **terms)
    return account


def multiple_bps(figures: Any) -> int:
    """Equity over requirement at initial margin."""
    return int(figures[0]) * BPS // int(figures[1])


def test_anticipates__requirement_announced__acts_during_the_notice(world: World) -> None:
    """On the coming requirement, up to the target: more than the present one asks for."""
    account = leveraged(world, anticipates=True)
    enrol(world, account, trigger_bps=10_800, target_bps=13_000)
    assert world.rebalancer.plan(account).code == 2
    announce(world)
    assert multiple_bps(world.clearinghouse.assess(account)) > 15_000
    assert multiple_bps(world.mandates.snapshot(account)) < 10_800
    rebalance(world, account)
    assert 12_999 <= multiple_bps(world.mandates.snapshot(account)) <= 13_010
    assert multiple_bps(world.clearinghouse.assess(account)) > 13_300
    assert world.rebalancer.plan(account).code == 2


def test_anticipates__not_asked_for__is_not_touched(world: World, hook: Contract) -> None:
    """Nor may a hook act on what is coming."""
    account = leveraged(world)
    enrol(world, account, trigger_bps=10_800, target_bps=13_000)
    announce(world)
    picture, now = world.mandates.snapshot(account), world.clearinghouse.assess(account)
    assert (picture.equity_init, picture.required_init) == (now[0], now[1])
    with reverts("rebalancer: trigger not met"):
        rebalance(world, account)
    world.mandates.revoke(account, sender=world.owner)
    world.mandates.set_guard(account, hook, GUARD, sender=world.owner)
    world.wait(HOUR)
    world.mandates.apply_guard(account, sender=world.keeper)
    with reverts(OVERSHOT):
        play(world, hook, account, swap(world, "ETH", QUOTE, 5_000))


def test_anticipates__hook_at_work__is_judged_by_what_is_coming(
    world: World, hook: Contract
) -> None:
    """A pull may cover the coming shortfall and no more; a sale may reach its target and band."""
    account = leveraged(world, anticipates=True)
    give(world, account, (13_000, 300, 100, 0, 10**6 * WAD, 86_400), hook)
    announce(world)
    picture = world.mandates.snapshot(account)
    missing = (picture.required_init * 13_000 // BPS - picture.equity_init) // 10**12
    assert missing > 2_000 * 10**6
    world.fund(world.owner, QUOTE, 2 * missing)
    with world.isolated():
        play(world, hook, account, must(world.mandates, "pull", missing))
    with reverts("mandates: pull above shortfall"):
        play(world, hook, account, must(world.mandates, "pull", missing + 2))
    with world.isolated():
        play(world, hook, account, swap(world, "ETH", QUOTE, 5_000))
        assert 13_000 <= multiple_bps(world.mandates.snapshot(account)) <= 13_300
    with reverts(OVERSHOT):
        play(world, hook, account, swap(world, "ETH", QUOTE, 6_000))


def test_anticipates__requirement_that_falls__counts_as_it_is(world: World) -> None:
    """What is coming counts where it is more, never where it is less."""
    account = leveraged(world, anticipates=True)
    give(world, account)
    lower = (2_400, 1_500, 8_000, 1_500, 800, 4_000, 250, 200, 600, 50_000 * 10**9)
    world.system.oracle.set_parameters(ETH, lower, sender=world.governor)
    picture, now = world.mandates.snapshot(account), world.clearinghouse.assess(account)
    assert (picture.equity_init, picture.required_init) == (now[0], now[1])


def test_anticipates__rates_and_quota_announced__are_the_worse_ones_of_both(world: World) -> None:
    """At initial margin; what else the oracle says of an asset stays as it is."""
    oracle, governor = world.system.oracle, world.governor
    account = leveraged(world, anticipates=True)
    give(world, account)
    terms = list(oracle.parameters(ETH)[1])
    terms[9] = 50_001 * 10**9 + 1
    oracle.set_parameters(ETH, tuple(terms), sender=governor)
    terms[0] += 1_000  # z of the initial rate, then all three of the one on gross
    terms[6:9] = [2 * bps for bps in terms[6:9]]
    terms[9] = 40_000 * 10**9
    oracle.set_parameters(ETH, tuple(terms), sender=governor)
    now = Risk.from_word(oracle.marks([ETH])[1])
    coming = Risk.from_word(oracle.pending_risk(ETH))
    assert now.quota_gwei == 50_001 * 10**9 + 1
    assert coming.l_init_e6 > now.l_init_e6 and coming.r_init_e6 > now.r_init_e6
    (leg,) = world.mandates.snapshot(account).legs
    assert Risk.from_word(leg.risk_word) == replace(
        now,
        r_init_e6=coming.r_init_e6,
        l_init_e6=coming.l_init_e6,
        quota_gwei=coming.quota_gwei,
    )


def test_anticipates__account_at_initial_margin__may_pay_out_what_its_target_leaves(
    world: World, hook: Contract
) -> None:
    """The protocol's own test asks for the requirements of now, which the account exceeds."""
    account = world.account()
    world.deposit(account, QUOTE, world.units(QUOTE, 10_000))
    trade(world, account, "ETH", 15 * WAD)
    wish(world, account, anticipates=True)
    give(world, account, (13_000, 300, 1_000, 0, 0, 0), hook)
    announce(world)
    before = world.mandates.snapshot(account)
    assert before.equity_init < before.required_init
    pay = must(world.mandates, "pay", account, 1_600 * 10**6)
    play(world, hook, account, trades(world, -2 * WAD), pay)
    after = world.mandates.snapshot(account)
    assert after.equity_init - after.required_init < before.equity_init - before.required_init
    equity, required, *_ = world.clearinghouse.assess(account)
    assert equity > required


def test_anticipates__account_below_initial_margin__is_not_left_weaker(
    world: World, hook: Contract
) -> None:
    account = world.open_account(leverage=3, mix={"BTC": 1})
    wish(world, account, anticipates=True)
    give(world, account, (20_000, 10_000, 1_000, 0, 0, 0), hook)
    world.set_price("BTC", 25_000)
    price_pairs(world)
    equity, required, *_ = world.clearinghouse.assess(account)
    assert equity < required
    with reverts("mandates: account left weaker"):
        play(world, hook, account, swap(world, "BTC", "ETH", 1_000))


FEWER = (*COMING[:-1], 5 * 10**9)  # the same rates and five ether that count


@pytest.mark.parametrize(("coming", "floor_bps"), [(COMING, 30_000), (FEWER, 35_000)])
def test_anticipates__donor__keeps_its_floor_of_what_is_coming(
    world: World, hook: Contract, coming: tuple[int, ...], floor_bps: int
) -> None:
    """I15: whether requirements rise or less of a collateral counts."""
    account = world.open_account(leverage=2)
    donors = [world.account(sub) for sub in (1, 2)]
    for donor in donors:
        world.deposit(donor, "ETH", 10 * WAD)
        world.deposit(donor, QUOTE, 10**6)
    wish(world, donors[1], anticipates=True)
    for donor in donors:
        world.make_donor(donor, floor_bps=floor_bps)
    give(world, account, hook=hook)
    world.system.oracle.set_parameters(ETH, coming, sender=world.governor)
    world.poke()
    play(world, hook, account, must(world.mandates, "move", donors[0], 0, 1))
    with reverts("mandates: donor below its floor"):
        play(world, hook, account, must(world.mandates, "move", donors[1], 0, 1))
