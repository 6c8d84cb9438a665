"""A unit of the quote token that somebody gives to a sibling.

Whoever pays a debt of an index above one with a single unit burns no loan share. A donor with one
unit of cash was asked for it all the same: the step counted, so a rebalance whose other steps were
refused was accepted although nothing was nearer, and its plan was ready again. The long random
campaign found it; I17.
"""

from __future__ import annotations

import pytest

from ballast.model.plan import Code, Kind
from tests.conftest import reverts
from tests.support.world import QUOTE, UNLIMITED, WAD, World


def needy(world: World, gift: int) -> int:
    """An account below its trigger, with a debt that has grown; its sibling has that many units."""
    account, donor = world.open_account(2), world.account(1)
    world.chain.advance(30 * 86_400)
    world.refresh()
    world.fund(world.attacker, QUOTE, gift)
    world.quote.approve(world.clearinghouse, UNLIMITED, sender=world.attacker)
    world.clearinghouse.deposit(donor, 0, gift, sender=world.attacker)
    world.make_donor(donor, 13_000)
    world.enrol(account, donors=[1])
    world.set_price("ETH", 1_500)
    assert world.system.vault.debt_index_ray() > 10**27
    return account


def test_rebalance__gift_of_a_unit_and_a_dry_venue__is_refused(world: World) -> None:
    account = needy(world, 1)
    assert [step.kind for step in world.rebalancer.plan(account).steps] == [Kind.SELL]
    world.set_venue_price("ETH", 700 * WAD)
    with reverts("rebalancer: every step refused"):
        world.mandates.rebalance(account, sender=world.keeper)


@pytest.mark.parametrize("gift", [2, 3, 1_000])
def test_rebalance__a_little_more__is_nearer_by_it(world: World, gift: int) -> None:
    account = needy(world, gift)
    before = world.rebalancer.plan(account)
    assert [step.kind for step in before.steps] == [Kind.MOVE_CASH, Kind.SELL]
    world.set_venue_price("ETH", 700 * WAD)
    world.mandates.rebalance(account, sender=world.keeper)
    after = world.rebalancer.plan(account)
    assert after.code == Code.READY and after.shortfall < before.shortfall
