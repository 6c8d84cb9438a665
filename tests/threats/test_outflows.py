"""What the limits of outflow can be turned into: worn away by money that comes back at once, and a
trap for others. Both are known limits (docs/security.md); here is how far they go.
"""

from __future__ import annotations

import pytest

from ballast.deploy import WAD
from tests.clearing_kit import action
from tests.conftest import reverts
from tests.support.world import QUOTE, World

DEPOSIT, WITHDRAW, REPAY = 1, 2, 3
CASH, ETH = 0, 1
DAY_S = 86_400
LIMIT_BPS = 3_000
FLOOR_LOG2 = 20
WAIT = "outflows: wait for the limit"


def limit_vault(world: World) -> int:
    """Three tenths of the vault a day; returns what may be lent now."""
    vault = world.system.vault
    vault.set_outflow_limit(LIMIT_BPS, FLOOR_LOG2, sender=world.governor)
    return int(vault.max_loan())


def borrow_and_return(world: World, units: int) -> None:
    """In one batch, against collateral that was brought for it: the attacker keeps nothing."""
    who, account = world.attacker, world.account(0, world.attacker)
    ether = 4 * units * 10**12 * WAD // world.price_wad("ETH")
    world.fund(who, "ETH", ether)
    world.fund(who, QUOTE, 10)
    actions = [
        action(DEPOSIT, account, asset=ETH, amount=ether),
        action(WITHDRAW, account, asset=CASH, amount=units, target=who),
        action(REPAY, account, amount=2 * units),
        action(WITHDRAW, account, asset=ETH, amount=ether, target=who),
    ]
    world.clearinghouse.batch(actions, sender=who)


@pytest.mark.parametrize("somebody_withdraws", [False, True])
def test_loan__returned_at_once__wears_the_limit_unless_anybody_withdraws(
    world: World, somebody_withdraws: bool
) -> None:
    """T09: who borrows and returns in one transaction leaves a mark that the limit follows for a
    day. One unit withdrawn by anybody wipes it out."""
    vault, lender = world.system.vault, world.lender
    first = limit_vault(world)
    borrow_and_return(world, first)
    if somebody_withdraws:
        vault.withdraw(1, lender, lender, sender=lender)
    world.wait(DAY_S)
    grown = int(vault.max_loan())
    if somebody_withdraws:
        assert grown <= first + first // 100
    else:
        assert grown > first * 3 // 2
        assert grown <= 2 * first + first // 100, "twice the part, and no more"


def test_repay__with_a_siblings_cash__holds_up_other_cash_for_a_day_at_most(world: World) -> None:
    """T15: cash that repays a loan leaves the clearing house uncounted. Whoever holds more than the
    part that may leave can hold up what others withdraw, at no cost but his loan's, and not longer
    than a day at a time; repaying, selling and closing go on."""
    rich, debtor = world.account(0, world.attacker), world.account(1, world.attacker)
    other, units = world.account(0, world.other_owner), 10**10
    world.deposit(debtor, "ETH", 20 * WAD)
    world.borrow(debtor, units, receiver=world.attacker)
    world.deposit(rich, QUOTE, units)
    world.deposit(other, QUOTE, units)
    world.system.listings.set_outflow_limit(CASH, LIMIT_BPS, 30, sender=world.governor)
    world.clearinghouse.transfer(rich, debtor, CASH, units, sender=world.attacker)
    with reverts(WAIT):
        world.clearinghouse.withdraw(
            other, CASH, units // 10, world.other_owner, sender=world.other_owner
        )
    world.clearinghouse.swap(
        other, world.venue, CASH, ETH, units // 10, 0, sender=world.other_owner
    )
    world.wait(DAY_S)
    world.clearinghouse.withdraw(
        other, CASH, units // 10, world.other_owner, sender=world.other_owner
    )
