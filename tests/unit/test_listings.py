"""The governor's room: every limit of a listing, and that only the governor is in it."""

from __future__ import annotations

from typing import Any

import pytest

from ballast.chain import Contract
from ballast.deploy import load_parameters
from tests.clearing_kit import LOW_128, args_of
from tests.conftest import reverts
from tests.support.world import WAD, ZERO_ADDRESS, World

ETH, BTC, NEW = 1, 2, 7
RATES = (3_000, 1_500, 8_000, 1_500, 800, 4_000, 250, 200, 600, 10**15)
NOT_OWNER = "ownable: caller is not the owner"


def new_token(world: World, decimals: int = 18, asset: int = NEW) -> Contract:
    """A token that the oracle knows under `asset` already, at the price of ETH's feed."""
    token = world.chain.deploy("MockToken", "New", "NEW", decimals, sender=world.governor)
    terms = load_parameters()["assets"]["ETH"]
    world.system.oracle.list_asset(
        asset,
        world.feeds["ETH"],
        terms["heartbeat_s"],
        terms["band_low_log2"],
        terms["band_high_log2"],
        2_000 * WAD,
        terms["prior_sigma_e6"],
        RATES,
        sender=world.governor,
    )
    return token


def list_it(world: World, token: Any, asset: int = NEW, cap: int = WAD, limit: int = 100) -> Any:
    return world.system.listings.list_asset(asset, token, cap, limit, sender=world.governor)


@pytest.mark.parametrize("decimals", [2, 6, 8, 18])
def test_list_asset__token_of_any_accepted_decimals__is_open_for_deposits(
    world: World, decimals: int
) -> None:
    """T18."""
    token = new_token(world, decimals)
    receipt = list_it(world, token, cap=10 * WAD)
    unit = 10 ** (18 - decimals)
    word = int(token.address, 16) | unit << 160 | 100 << 232
    assert world.clearinghouse.asset_word(NEW) == word
    assert world.clearinghouse.supply_word(NEW) == 10 * WAD << 128
    args = args_of(world.system.listings, receipt, "AssetChanged")
    assert tuple(args) == (NEW, word, 10 * WAD)
    token.mint(world.owner, 5, sender=world.governor)
    token.approve(world.clearinghouse, 5, sender=world.owner)
    world.clearinghouse.deposit(world.account(), NEW, 5, sender=world.owner)
    assert world.clearinghouse.position_word(world.account(), NEW) == 5 * unit


@pytest.mark.parametrize("decimals", [0, 1, 19, 255])
def test_list_asset__token_of_other_decimals__is_refused(world: World, decimals: int) -> None:
    token = new_token(world, decimals)
    with reverts("listings: decimals not 2 to 18"):
        list_it(world, token)


def test_list_asset__id_that_is_taken_or_cannot_be__is_refused(world: World) -> None:
    token = new_token(world)
    for asset in (0, ETH, BTC, 256, 2**255):
        with reverts("listings: bad asset id or token"):
            list_it(world, token, asset)


def test_list_asset__the_quote_token__is_refused(world: World) -> None:
    """Cash would be counted twice."""
    new_token(world)
    with reverts("listings: bad asset id or token"):
        list_it(world, world.quote)


def test_list_asset__unknown_to_the_oracle__is_refused(world: World) -> None:
    token = world.chain.deploy("MockToken", "New", "NEW", 18, sender=world.governor)
    with reverts("oracle: unknown asset"):
        list_it(world, token)
    assert world.clearinghouse.asset_word(NEW) == 0


def test_list_asset__address_without_code__is_refused(world: World) -> None:
    """T39."""
    new_token(world)
    for token in (world.stranger, ZERO_ADDRESS):
        with reverts(""):
            list_it(world, token)


def test_list_asset__limits_at_and_beyond_their_ends__are_accepted_and_refused(
    world: World,
) -> None:
    """The swap limit lies below l of initial margin, 200 bp here, and below 500 bp in any case."""
    token = new_token(world)
    for cap, limit, reason in (
        (2**120, 100, "listings: limit out of range"),
        (2**256 - 1, 100, "listings: limit out of range"),
        (WAD, 200, "listings: limit above l_init"),
        (WAD, 501, "listings: limit above l_init"),
    ):
        with reverts(reason):
            list_it(world, token, cap=cap, limit=limit)
    list_it(world, token, cap=2**120 - 1, limit=199)
    assert world.clearinghouse.asset_word(NEW) >> 232 == 199


def test_set_asset_limits__new_cap_and_limit__keep_token_unit_and_total(world: World) -> None:
    world.deposit(world.account(), "BTC", 3)
    old = world.clearinghouse.asset_word(BTC)
    total = world.clearinghouse.supply_word(BTC) & LOW_128
    world.system.listings.set_asset_limits(BTC, 5 * WAD, 500, sender=world.governor)
    assert world.clearinghouse.asset_word(BTC) == old & (2**232 - 1) | 500 << 232
    assert world.clearinghouse.supply_word(BTC) == total | 5 * WAD << 128


def test_set_asset_limits__unknown_asset_or_the_quote__is_refused(world: World) -> None:
    for asset in (0, 3, 255, 256):
        with reverts("listings: unknown asset"):
            world.system.listings.set_asset_limits(asset, WAD, 100, sender=world.governor)


def test_set_asset_limits__beyond_their_ends__are_refused(world: World) -> None:
    for cap, limit in ((2**120, 100), (WAD, 501), (WAD, 2**255)):
        with reverts("listings: limit out of range"):
            world.system.listings.set_asset_limits(ETH, cap, limit, sender=world.governor)


def test_set_adapter__allowed_and_forbidden__is_logged_and_in_force(world: World) -> None:
    adapter = world.chain.deploy("MockVenue", sender=world.governor)
    world.deposit(world.account(), "ETH", 1)
    for is_allowed in (True, False):
        receipt = world.system.listings.set_adapter(adapter, is_allowed, sender=world.governor)
        args = args_of(world.system.exchange, receipt, "AdapterChanged")
        assert tuple(args) == (adapter.address, is_allowed)
        reason = "venue: unknown pair" if is_allowed else "exchange: adapter not allowed"
        with reverts(reason):
            world.clearinghouse.swap(world.account(), adapter, ETH, 0, 1, 0, sender=world.owner)


def test_set_adapter__without_code__is_refused(world: World) -> None:
    """T38."""
    for adapter in (world.stranger, ZERO_ADDRESS):
        with reverts("listings: adapter has no code"):
            world.system.listings.set_adapter(adapter, True, sender=world.governor)


def test_listings__anyone_but_the_governor__is_refused(world: World) -> None:
    """T37."""
    token, listings = new_token(world), world.system.listings
    for who in (world.owner, world.attacker, world.keeper):
        with reverts(NOT_OWNER):
            listings.list_asset(NEW, token, WAD, 100, sender=who)
        with reverts(NOT_OWNER):
            listings.set_asset_limits(ETH, WAD, 100, sender=who)
        with reverts(NOT_OWNER):
            listings.set_adapter(world.venue, False, sender=who)
        with reverts(NOT_OWNER):
            listings.transfer_ownership(who, sender=who)


def test_listings__handed_over__takes_two_steps(world: World) -> None:
    listings = world.system.listings
    listings.transfer_ownership(world.attacker, sender=world.governor)
    assert (listings.owner(), listings.pending_owner()) == (world.governor, world.attacker)
    with reverts(NOT_OWNER):
        listings.set_adapter(world.venue, False, sender=world.attacker)
    with reverts("ownable_2step: caller is not the new owner"):
        listings.accept_ownership(sender=world.owner)
    listings.accept_ownership(sender=world.attacker)
    assert listings.owner() == world.attacker
    listings.set_adapter(world.venue, False, sender=world.attacker)
    with reverts(NOT_OWNER):
        listings.set_adapter(world.venue, True, sender=world.governor)
