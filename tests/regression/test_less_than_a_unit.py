"""A shortfall that no token unit is small enough for.

An account brought to its target to the unit may lack a fraction of a unit of the quote token. That
counted as a shortfall: the plan asked for a unit more, the next price left a fraction again, and a
keeper could call for ever. The long random campaign found it; I17.
"""

from __future__ import annotations

from ballast.model.margin import BPS
from ballast.model.plan import Code
from tests.clearing_kit import UNIT
from tests.conftest import reverts
from tests.support.world import QUOTE, World

TARGET_BPS = 15_000


def shortfall(world: World, account: int) -> int:
    """t R - E at initial margin, WAD."""
    equity, required, _, _ = world.clearinghouse.assess(account)
    return -(-required * TARGET_BPS // BPS) - int(equity)


def test_rebalance__less_than_a_unit_is_missing__is_nothing_to_do(world: World) -> None:
    """I17: and a whole unit is."""
    world.system.vault.set_rate((0, 0, 0, 8_000), sender=world.governor)
    account, donor = world.open_account(2), world.account(1)
    world.deposit(donor, QUOTE, 10**9)
    world.make_donor(donor, TARGET_BPS)
    world.enrol(account, trigger_bps=TARGET_BPS, target_bps=TARGET_BPS, donors=[1])
    world.refresh()
    world.borrow(account, -shortfall(world, account) // UNIT)
    assert -UNIT < shortfall(world, account) <= 0
    answer = world.feeds["ETH"].latestRoundData()[1]
    while shortfall(world, account) <= 0:
        answer -= 1
        world.feeds["ETH"].set_answer(answer, sender=world.governor)
        world.chain.mine()
    assert 0 < shortfall(world, account) < UNIT
    assert world.rebalancer.plan(account).code == Code.ABOVE_TRIGGER
    with reverts("rebalancer: trigger not met"):
        world.mandates.rebalance(account, sender=world.keeper)
    while shortfall(world, account) < UNIT:
        answer -= 1
        world.feeds["ETH"].set_answer(answer, sender=world.governor)
        world.chain.mine()
    assert shortfall(world, account) < 2 * UNIT
    world.mandates.rebalance(account, sender=world.keeper)
    assert shortfall(world, account) < UNIT
    assert world.rebalancer.plan(account).code == Code.ABOVE_TRIGGER
