"""What a colluding owner could take out through a mandate that `withdraw` would refuse."""

from __future__ import annotations

from ballast.chain import Contract
from tests.conftest import reverts
from tests.support.hooks import deploy_hook, hand_over, must, play
from tests.support.world import World

DONOR_FLOOR = (10_000, 1, 0, 10_000, 0, 0)
ETH = 10**18


def _indebted_donor(world: World, hook: Contract) -> tuple[int, int]:
    """An empty account with a hostile hook, and a sibling with 10 ETH that owes 5,000."""
    taker, donor = world.account(0, world.attacker), world.account(1, world.attacker)
    world.deposit(donor, "ETH", 10 * ETH)
    world.borrow(donor, world.units("USD", 5_000))
    hand_over(world, taker, hook)
    hand_over(world, donor, None, DONOR_FLOOR)
    return taker, donor


def test_move__donor_in_debt_and_stale_price__refused_like_a_withdrawal(world: World) -> None:
    """T19, T41: a price that may not back a withdrawal may not back a gift to a sibling either.

    With the feed dead the last good price may be far above the market. The debt would stay with the
    lenders, and the collateral would leave by way of a sibling that owes nothing.
    """
    hook = deploy_hook(world)
    taker, donor = _indebted_donor(world, hook)
    world.make_stale("ETH")
    with reverts("margin: price not usable"):
        world.clearinghouse.withdraw(donor, 1, 6 * ETH, world.attacker, sender=world.attacker)
    with reverts("margin: price not usable"):
        play(world, hook, taker, must(world.mandates, "move", donor, 1, 6 * ETH))


def test_move__other_collateral_of_donor_stale__refused_like_a_withdrawal(world: World) -> None:
    """T19, T41: nor may the good collateral leave and the dead one stay with the debt."""
    donor = world.open_account(
        leverage="1.5", mix={"ETH": 1, "BTC": 1}, sub=1, owner=world.attacker, equity=120_000
    )
    taker = world.account(0, world.attacker)
    hook = deploy_hook(world)
    hand_over(world, taker, hook)
    hand_over(world, donor, None, DONOR_FLOOR)
    world.make_stale("BTC")
    with reverts("margin: price not usable"):
        world.clearinghouse.transfer(donor, taker, 1, 40 * ETH, sender=world.attacker)
    with reverts("margin: price not usable"):
        play(world, hook, taker, must(world.mandates, "move", donor, 1, 40 * ETH))


def test_move__donor_in_debt_and_round_of_this_block__worse_price_counts(world: World) -> None:
    """T30, A13: what increases the donor's risk pays the worse of the two prices of a block."""
    hook = deploy_hook(world)
    taker, donor = _indebted_donor(world, hook)
    units = 68 * ETH // 10  # covered at 2,150 and not at 2,000
    with reverts("margin: initial margin short"):
        world.clearinghouse.withdraw(donor, 1, units, world.attacker, sender=world.attacker)
    script = [must(world.mandates, "move", donor, 1, units)]
    hook.set_script(script, sender=world.attacker)
    with world.chain.one_block():
        world.feeds["ETH"].set_answer(2_150 * 10**8, sender=world.governor)
        with reverts("margin: initial margin short"):
            world.clearinghouse.withdraw(donor, 1, units, world.attacker, sender=world.attacker)
        with reverts("margin: initial margin short"):
            world.mandates.rebalance(taker, sender=world.keeper)


def test_move__donor_in_debt_and_volatility_not_sampled__refused(world: World) -> None:
    """T19, T29: a round whose volatility nobody sampled backs no gift to a sibling either."""
    hook = deploy_hook(world)
    taker, donor = _indebted_donor(world, hook)
    world.chain.advance(1_800)
    world.set_price("ETH", 2_400, is_poked=False)
    with reverts("margin: price not usable"):
        world.clearinghouse.withdraw(donor, 1, ETH, world.attacker, sender=world.attacker)
    with reverts("margin: price not usable"):
        play(world, hook, taker, must(world.mandates, "move", donor, 1, ETH))
