"""A short that is closed before a sibling gives of the same asset.

What a sibling gave was counted on top of the exposure at the beginning, so an account that had been
short seemed to have grown by the short that its hook closed. Where the first plan trims a short and
a second one, made after a refusal, finds a donor's collateral, the guard refused the default hook
and nothing cured the account. A search of plans found it; I14.
"""

from __future__ import annotations

import pytest

from ballast.chain import Contract
from tests.conftest import reverts
from tests.support.allocations import fund_house, price_pairs, trade
from tests.support.hooks import Call, deploy_hook, must, play
from tests.support.world import QUOTE, WAD, World

ETH = 1
SHORT, GIVEN = 2 * WAD, 3 * WAD
WIDE_GUARD = (65_535, 10_000, 1_000, 0, 0, 0)


@pytest.fixture
def hook(world: World) -> Contract:
    """With a rich house and a venue that trades every pair at the oracle's price."""
    fund_house(world)
    price_pairs(world, fee_ppm=0)
    return deploy_hook(world)


@pytest.fixture
def account(world: World, hook: Contract) -> int:
    """Short of ether and in the hook's hands, with a sibling that gives some."""
    account, donor = world.account(), world.account(1)
    world.deposit(account, QUOTE, world.units(QUOTE, 1_500))
    trade(world, account, "ETH", -SHORT)
    world.deposit(donor, "ETH", 2 * GIVEN)
    world.make_donor(donor, floor_bps=10_000)
    world.mandates.arm_budget((1_000 * WAD, 86_400, 10**6 * WAD), sender=world.owner)
    world.mandates.set_guard(account, hook, WIDE_GUARD, sender=world.owner)
    return account


def trades(world: World, size_change: int) -> Call:
    return must(world.mandates, "trade", ETH, size_change)


def gives(world: World) -> Call:
    return must(world.mandates, "move", world.account(1), ETH, GIVEN)


def buys(world: World, amount: int) -> Call:
    """Ether for cash."""
    units = amount * world.price_wad("ETH") // WAD // world.unit_wad(QUOTE)
    return must(world.mandates, "swap", world.venue.address, 0, ETH, units, 0)


def test_hook__closes_a_short_and_takes_from_a_sibling__is_no_growth(
    world: World, hook: Contract, account: int
) -> None:
    """I14: and so it is in whatever order, and in part."""
    for steps in (
        (trades(world, SHORT), gives(world)),
        (gives(world), trades(world, SHORT)),
        (trades(world, SHORT // 2), gives(world)),
    ):
        with world.isolated():
            play(world, hook, account, *steps)
    play(world, hook, account, trades(world, SHORT), gives(world))
    assert world.clearinghouse.position_word(account, ETH) == GIVEN


def test_hook__closes_a_short_and_goes_beyond_what_was_given__is_growth(
    world: World, hook: Contract, account: int
) -> None:
    """I14: what was short makes no room on the other side."""
    for steps in (
        (trades(world, SHORT), gives(world), buys(world, WAD // 100)),
        (trades(world, SHORT + WAD // 100), gives(world)),
        (gives(world), trades(world, -WAD // 100 - GIVEN)),
    ):
        with reverts("mandates: exposure grew"):
            play(world, hook, account, *steps)
