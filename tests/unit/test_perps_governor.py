"""What the governor may set: markets, terms within bounds, and the mode."""

from __future__ import annotations

from typing import Any

import pytest

from ballast.deploy import load_parameters, market_terms
from ballast.model.margin import BPS, GWEI, WAD
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.perps_kit import BTC, ETH, open_desk
from tests.support.world import World

MASK_72 = 2**72 - 1
OUT_OF_RANGE = "perps: terms out of range"
FIELDS = (
    "depth_gwei",
    "open_interest_cap_gwei",
    "skew_cap_gwei",
    "round_cap_gwei",
    "min_size_gwei",
    "base_fee_e6",
    "band_e6",
    "lag_s",
    "max_funding_e6",
    "weight_bps",
)


def terms(**changes: int) -> tuple[int, ...]:
    """ETH's terms with some fields replaced, and no weight."""
    known = market_terms(load_parameters()["assets"]["ETH"]["perpetual"])
    fields = dict(zip(FIELDS, known, strict=True)) | {"weight_bps": 0} | changes
    return tuple(fields[name] for name in FIELDS)


def list_market(world: World, name: str, new: tuple[int, ...]) -> Any:
    return world.system.perps.list_market(world.asset(name), new, sender=world.governor)


def test_markets__as_deployed__are_those_of_the_parameters(world: World) -> None:
    perps = world.system.perps
    assert list(perps.market_ids()) == [ETH, BTC]
    for name, asset in (("ETH", ETH), ("BTC", BTC)):
        section = load_parameters()["assets"][name]["perpetual"]
        assert tuple(perps.terms_of(asset)) == market_terms(section)
        assert tuple(perps.exposure_of(asset)) == (0, 0)
        assert not perps.is_increase_stopped(asset)
    assert tuple(perps.terms_of(7)) == (0,) * 10


def test_immutables__as_deployed__are_the_contracts_of_the_system(world: World) -> None:
    perps, system = world.system.perps, world.system
    assert perps.CLEARINGHOUSE() == system.clearinghouse.address
    assert perps.ORACLE() == system.oracle.address
    assert perps.LIQUIDATOR() == system.liquidator.address
    assert perps.HOUSE() == system.house
    assert perps.owner() == world.governor


def test_list_market__new_one__trades_from_the_next_refresh(wide_world: World) -> None:
    world = wide_world
    desk = open_desk(world)
    trader = desk.trader()
    desk.set_terms("ETH", weight_bps=4_000)
    new = terms(weight_bps=1_000)
    receipt = list_market(world, "A03", new)
    asset = world.asset("A03")
    assert [e.name for e in desk.perps.events(receipt)] == ["MarketListed", "TermsChanged"]
    assert tuple(args_of(desk.perps, receipt, "MarketListed")) == (asset,)
    changed = args_of(desk.perps, receipt, "TermsChanged")
    assert (changed.asset, tuple(changed.old), tuple(changed.new)) == (asset, (0,) * 10, new)
    assert list(desk.perps.market_ids()) == [ETH, BTC, asset]
    with desk.refused("perps: headroom stale"):
        desk.trade(trader, WAD, "A03")
    desk.refresh()
    desk.trade(trader, WAD, "A03")
    desk.trade(trader, -WAD, "A03")


def test_list_market__twice_zero_or_unknown_to_the_oracle__is_refused(world: World) -> None:
    perps = world.system.perps
    for asset in (ETH, BTC, 0):
        with reverts("perps: cannot list market"):
            perps.list_market(asset, terms(), sender=world.governor)
    for asset in (7, 255, 256):
        with reverts("oracle: unknown asset"):
            perps.list_market(asset, terms(), sender=world.governor)


def test_list_market__seventeenth__is_refused(wide_world: World) -> None:
    """I19: sixteen are refreshed in one call."""
    world = wide_world
    desk = open_desk(world)
    for name in world.names[2:]:
        list_market(world, name, terms())
    assert len(desk.perps.market_ids()) == 16
    with reverts("perps: cannot list market"):
        desk.perps.list_market(200, terms(), sender=world.governor)
    receipt = desk.refresh()
    assert len(desk.perps.events(receipt, "HeadroomRefreshed")) == 16


IN_RANGE: list[dict[str, int]] = [
    {},
    {"depth_gwei": MASK_72, "open_interest_cap_gwei": MASK_72 // 2, "round_cap_gwei": MASK_72},
    {"open_interest_cap_gwei": 5 * 10**5 * GWEI},
    {"min_size_gwei": MASK_72},
    {"min_size_gwei": 1},
    {"open_interest_cap_gwei": 0, "round_cap_gwei": 0},
    {"skew_cap_gwei": 1},
    {"base_fee_e6": 10_000, "band_e6": 100_000, "lag_s": 3_600, "max_funding_e6": 10_000_000},
    {"base_fee_e6": 0, "band_e6": 0, "lag_s": 0, "max_funding_e6": 0},
]


@pytest.mark.parametrize("changes", IN_RANGE)
def test_set_terms__ends_of_the_ranges__come_back_as_given(
    world: World, changes: dict[str, int]
) -> None:
    perps = world.system.perps
    old, new = tuple(perps.terms_of(ETH)), terms(**changes)
    receipt = perps.set_terms(ETH, new, sender=world.governor)
    assert tuple(perps.terms_of(ETH)) == new
    changed = args_of(perps, receipt, "TermsChanged")
    assert (changed.asset, tuple(changed.old), tuple(changed.new)) == (ETH, old, new)


BEYOND: list[dict[str, int]] = [
    {"depth_gwei": 2**72},
    {"open_interest_cap_gwei": 2**72},
    {"round_cap_gwei": 2**72},
    {"min_size_gwei": 2**72},
    {"skew_cap_gwei": 2**72},
    {"open_interest_cap_gwei": 5 * 10**5 * GWEI + 1},  # half the depth
    {"depth_gwei": 0},
    {"skew_cap_gwei": 0},
    {"min_size_gwei": 0},
    {"base_fee_e6": 10_001},
    {"band_e6": 100_001},
    {"lag_s": 3_601},
    {"max_funding_e6": 10_000_001},
]


@pytest.mark.parametrize("changes", BEYOND)
def test_terms__beyond_a_range__are_refused(world: World, changes: dict[str, int]) -> None:
    desk = open_desk(world)
    with desk.refused(OUT_OF_RANGE):
        desk.perps.set_terms(ETH, terms(**changes), sender=world.governor)
    with desk.refused(OUT_OF_RANGE):
        desk.set_terms("BTC", **changes)


def test_skew_cap__of_the_depth__is_half_of_the_least_rate_on_gross(world: World) -> None:
    """A trade never pays more for skew than a hedged position keeps aside: 1% of the depth where
    the floor of l is 2%. One that is on its way counts as what is in force, if that is lower."""
    desk = open_desk(world)
    oracle = world.system.oracle
    for floor_bps in (200, 400, 100):
        changed = oracle.parameters(ETH)[0]._replace(floor_l_bps=floor_bps)
        oracle.set_parameters(ETH, tuple(changed), sender=world.governor)
        world.chain.mine()
        now, final, _ = oracle.parameters(ETH)
        assert final.floor_l_bps == floor_bps >= now.floor_l_bps
        allowed = 10**6 * GWEI * now.floor_l_bps // (2 * BPS)
        with desk.refused(OUT_OF_RANGE):
            desk.set_terms(skew_cap_gwei=allowed + 1)
        desk.set_terms(skew_cap_gwei=allowed)


def test_weights__of_all_markets__add_up_to_one_at_most(world: World) -> None:
    """I20: what backs one market backs no other."""
    desk = open_desk(world)
    with desk.refused("perps: weights above one"):
        desk.set_terms("ETH", weight_bps=5_001)
    desk.set_terms("ETH", weight_bps=4_999)
    desk.set_terms("BTC", weight_bps=5_001)
    with desk.refused("perps: weights above one"):
        desk.set_terms("ETH", weight_bps=5_000)
    desk.set_terms("ETH", weight_bps=0)
    desk.set_terms("BTC", weight_bps=BPS)
    with desk.refused("perps: weights above one"):
        desk.set_terms("BTC", weight_bps=BPS + 1)


@pytest.mark.parametrize("weight", [2**16, 2**16 + 5_000, 2**255])
def test_weight__beyond_its_field__is_refused(world: World, weight: int) -> None:
    desk = open_desk(world)
    with desk.refused("perps: weights above one"):
        desk.set_terms("ETH", weight_bps=weight)


def test_close_only__change_of_terms__keeps_the_mode(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    desk.perps.set_close_only(ETH, True, sender=world.governor)
    kept = tuple(desk.perps.terms_of(ETH))
    assert desk.perps.is_increase_stopped(ETH)
    desk.set_terms("ETH", base_fee_e6=700)
    with desk.refused("perps: close only"):
        desk.trade(trader, WAD)
    desk.set_terms("ETH", base_fee_e6=500)
    assert tuple(desk.perps.terms_of(ETH)) == kept
    desk.perps.set_close_only(ETH, False, sender=world.governor)
    assert tuple(desk.perps.terms_of(ETH)) == kept
    desk.trade(trader, WAD)


def test_set_terms__open_positions__go_on_under_the_new_ones(world: World) -> None:
    """From now on: what was priced stays priced, and the funding rate until it is touched."""
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, 100 * WAD)
    held, funding = desk.held(trader), desk.funding()
    desk.set_terms(depth_gwei=2 * 10**6 * GWEI, max_funding_e6=0, base_fee_e6=10_000)
    assert (desk.held(trader), desk.funding()) == (held, funding)
    fill = desk.predicted(trader, -10 * WAD)
    assert desk.trade(trader, -10 * WAD).return_value == fill.price_wad
    assert desk.funding().rate_wad == 0
    desk.check()


def test_market_not_listed__is_not_to_be_set(world: World) -> None:
    perps = world.system.perps
    with reverts("perps: unknown market"):
        perps.set_terms(7, terms(), sender=world.governor)
    with reverts("perps: unknown market"):
        perps.set_close_only(7, True, sender=world.governor)


def test_settings__anyone_but_the_owner__is_refused(world: World) -> None:
    """I25"""
    desk = open_desk(world)
    for who in (world.owner, world.attacker, world.keeper):
        for change in (
            lambda who=who: desk.perps.list_market(9, terms(), sender=who),
            lambda who=who: desk.perps.set_terms(ETH, terms(), sender=who),
            lambda who=who: desk.perps.set_close_only(ETH, True, sender=who),
            lambda who=who: desk.perps.transfer_ownership(who, sender=who),
        ):
            with desk.refused("ownable: caller is not the owner"):
                change()


def test_ownership__two_steps__moves_when_it_is_taken(world: World) -> None:
    perps = world.system.perps
    perps.transfer_ownership(world.keeper, sender=world.governor)
    assert (perps.owner(), perps.pending_owner()) == (world.governor, world.keeper)
    with reverts("ownable_2step: caller is not the new owner"):
        perps.accept_ownership(sender=world.attacker)
    perps.accept_ownership(sender=world.keeper)
    assert perps.owner() == world.keeper
    perps.set_close_only(ETH, True, sender=world.keeper)


def test_set_terms__depth_below_twice_what_is_open__is_refused(world: World) -> None:
    """A reduction is never refused: nobody's way out may lead through a price below zero."""
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, 1_000 * WAD)
    small = {"open_interest_cap_gwei": 0, "skew_cap_gwei": 10**9, "round_cap_gwei": 0}
    with desk.refused("perps: depth below interest"):
        desk.set_terms("ETH", depth_gwei=2_000 * 10**9 - 1, **small)
    desk.set_terms("ETH", depth_gwei=2_000 * 10**9, **small)
    desk.trade(trader, -1_000 * WAD)
