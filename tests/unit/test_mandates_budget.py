"""Budgets: armed by the owner, refilled by time alone, empty for good at the end of a lifetime."""

from __future__ import annotations

import pytest

from ballast.chain import Contract
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.support.allocations import fund_house, trade
from tests.support.world import QUOTE, WAD, World

MICRO = 10**12
MASK_64 = 2**64 - 1
LOSS = 6 * WAD  # selling one ETH at 2,000 through a venue that keeps 30 bp


def arm(world: World, capacity: int, period_s: int = 86_400, lifetime: int | None = None) -> object:
    budget = (capacity, period_s, 100 * capacity if lifetime is None else lifetime)
    return world.mandates.arm_budget(budget, sender=world.owner)


@pytest.fixture
def seller(world: World) -> Contract:
    """A hook that sells one ETH of an account without debt, which loses 6 dollars each time."""
    account = world.account()
    world.deposit(account, "ETH", 100 * 10**18)
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    guard = (65_535, 10_000, 100, 0, 0, 0)
    world.mandates.set_guard(account, hook, guard, sender=world.owner)
    sale = world.mandates.swap.encode(world.venue, 1, 0, 10**18, 0)
    hook.set_script([(world.mandates.address, sale)], sender=world.governor)
    return hook


def rebalance(world: World) -> int:
    """One sale; returns the budget left as its event says."""
    receipt = world.mandates.rebalance(world.account(), sender=world.keeper)
    args = args_of(world.mandates, receipt, "Rebalanced")
    assert args.loss == LOSS
    assert args.budget_left == world.mandates.budget_left(world.owner)
    return int(args.budget_left)


def test_arm_budget__fields__are_kept_in_millionths_rounded_down(world: World) -> None:
    receipt = arm(world, 5 * WAD + MICRO - 1, 60, 7 * WAD + 1)
    assert tuple(world.mandates.budget_of(world.owner)) == (5 * WAD, 60, 7 * WAD)
    assert world.mandates.budget_left(world.owner) == 5 * WAD
    args = args_of(world.mandates, receipt, "BudgetArmed")  # type: ignore[arg-type]
    assert tuple(args) == (world.owner, 5 * WAD + MICRO - 1, 60, 7 * WAD + 1)


def test_arm_budget__of_the_caller_alone__is_changed(world: World) -> None:
    arm(world, WAD)
    world.mandates.arm_budget((WAD, 60, WAD), sender=world.attacker)
    assert tuple(world.mandates.budget_of(world.owner)) == (WAD, 86_400, 100 * WAD)
    assert world.mandates.budget_left(world.stranger) == 0


@pytest.mark.parametrize(
    ("capacity", "period_s", "lifetime"),
    [
        (MASK_64 * MICRO + 1, 60, WAD),
        (2**255, 60, WAD),
        (WAD, 60, MASK_64 * MICRO + 1),
        (WAD, 0, WAD),
        (WAD, 2**32, WAD),
    ],
)
def test_arm_budget__field_out_of_range__is_refused(
    world: World, capacity: int, period_s: int, lifetime: int
) -> None:
    with reverts("budgets: field out of range"):
        arm(world, capacity, period_s, lifetime)


def test_arm_budget__fields_at_their_ends__come_back_as_given(world: World) -> None:
    ends = (MASK_64 * MICRO, 2**32 - 1, MASK_64 * MICRO)
    world.mandates.arm_budget(ends, sender=world.owner)
    assert tuple(world.mandates.budget_of(world.owner)) == ends
    world.chain.advance(10**9)
    assert world.mandates.budget_left(world.owner) == MASK_64 * MICRO


def test_rebalance__without_a_budget__may_lose_nothing(world: World, seller: Contract) -> None:
    """An owner who armed nothing risks nothing."""
    with reverts("budgets: loss above budget"):
        rebalance(world)
    assert world.mandates.budget_left(world.owner) == 0


def test_rebalance__loss_of_the_whole_budget__is_the_largest(
    world: World, seller: Contract
) -> None:
    """I16."""
    arm(world, LOSS - MICRO)
    with reverts("budgets: loss above budget"):
        rebalance(world)
    arm(world, LOSS, 2**32 - 1)
    assert rebalance(world) == 0
    with reverts("budgets: loss above budget"):
        rebalance(world)


def test_budget__refill__is_linear_and_ends_at_the_capacity(world: World, seller: Contract) -> None:
    arm(world, 10 * WAD, 1_000)
    assert rebalance(world) == 4 * WAD
    world.chain.advance(100)
    assert world.mandates.budget_left(world.owner) == 5 * WAD
    world.chain.advance(499)
    assert world.mandates.budget_left(world.owner) == 9 * WAD + 99 * WAD // 100
    world.chain.advance(10**6)
    assert world.mandates.budget_left(world.owner) == 10 * WAD
    world.refresh()
    assert rebalance(world) == 4 * WAD


def test_budget__refill_of_less_than_a_millionth__waits(world: World, seller: Contract) -> None:
    arm(world, LOSS, 2**32 - 1)
    rebalance(world)
    world.chain.advance(700)
    assert world.mandates.budget_left(world.owner) == 0, "6e6 * 700 / 2**32 is below 1"
    world.chain.advance(100)
    assert world.mandates.budget_left(world.owner) == MICRO


def test_budget__lifetime__is_used_up_for_good_until_armed_again(
    world: World, seller: Contract
) -> None:
    arm(world, 10 * WAD, 1_000, 15 * WAD)
    assert rebalance(world) == 4 * WAD
    world.wait(10_000)
    assert world.mandates.budget_left(world.owner) == 9 * WAD
    assert rebalance(world) == 3 * WAD
    world.wait(10**6)
    assert world.mandates.budget_left(world.owner) == 3 * WAD
    with reverts("budgets: loss above budget"):
        rebalance(world)
    arm(world, 10 * WAD, 1_000, 15 * WAD)
    assert rebalance(world) == 4 * WAD


def test_budget__of_siblings__is_one(world: World, seller: Contract) -> None:
    """A8, I16: sub-accounts do not multiply what may be lost."""
    other = world.account(1)
    world.deposit(other, "ETH", 100 * 10**18)
    guard = (65_535, 10_000, 100, 0, 0, 0)
    world.mandates.set_guard(other, seller, guard, sender=world.owner)
    arm(world, 11 * WAD, 2**32 - 1)
    rebalance(world)
    with reverts("budgets: loss above budget"):
        world.mandates.rebalance(other, sender=world.keeper)


def test_budget__of_two_owners__are_apart(world: World, seller: Contract) -> None:
    arm(world, 10 * WAD)
    world.mandates.arm_budget((10 * WAD, 60, 10 * WAD), sender=world.other_owner)
    rebalance(world)
    assert world.mandates.budget_left(world.other_owner) == 10 * WAD


def test_budget__gain__refills_nothing(world: World, seller: Contract) -> None:
    """A gain would let a colluding venue pay back and forth until a large loss passes."""
    arm(world, 10 * WAD, 2**32 - 1)
    rebalance(world)
    world.set_venue_price("ETH", 2_100 * WAD, fee_ppm=0)
    receipt = world.mandates.rebalance(world.account(), sender=world.keeper)
    args = args_of(world.mandates, receipt, "Rebalanced")
    assert args.loss == 0
    assert args.budget_left == world.mandates.budget_left(world.owner) <= 4 * WAD + MICRO


# ---- what rounding may take

UNIT = 10**12  # WAD of a unit of the quote token
STEPS = ("move", "swap", "settle", "pull", "pay")


def stepper(world: World) -> int:
    """An account that owes nothing, and a sibling that gives."""
    account, donor = world.account(), world.account(1)
    for giver in (account, donor):
        world.deposit(giver, QUOTE, 10**9)
    world.deposit(account, "ETH", 10**19)
    world.make_donor(donor, floor_bps=10_000)
    world.fund(world.owner, QUOTE, 10**9)
    world.set_venue_price("ETH", fee_ppm=0)
    world.mandates.arm_budget((WAD, 60, WAD), sender=world.owner)
    return account


def loss_of(world: World, account: int, target_bps: int, *calls: bytes) -> int:
    """What a mandate with these calls was found to have lost."""
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    hook.set_script([(world.mandates.address, call) for call in calls], sender=world.governor)
    with world.isolated():
        guard = (target_bps, 10_000, 100, 0, 10**6 * WAD, 86_400)
        world.mandates.set_guard(account, hook, guard, sender=world.owner)
        receipt = world.mandates.rebalance(account, sender=world.keeper)
        return int(args_of(world.mandates, receipt, "Rebalanced").loss)


@pytest.mark.parametrize("name", STEPS)
def test_budget__step_with_cash__may_round_two_units_away(world: World, name: str) -> None:
    """As much is no loss and a unit more is one, in full. What is paid away tells how much."""
    account = stepper(world)
    mandates = world.mandates
    step = {
        "move": mandates.move.encode(world.account(1), 0, 10**6),
        "swap": mandates.swap.encode(world.venue, 1, 0, 10**18, 0),
        "settle": mandates.settle.encode(1),
        "pull": mandates.pull.encode(10**6),
        "pay": mandates.pay.encode(account, 1),
    }[name]
    # What leaves an account must not make it fall short, what comes to it needs a shortfall.
    target_bps = 10_000 if name in ("settle", "pay") else 65_535
    paid = 1 if name == "pay" else 0
    for units, loss in ((4, 0), (5, 5 * UNIT)):
        pay = mandates.pay.encode(account, units - paid)
        assert loss_of(world, account, target_bps, step, pay) == loss


def test_budget__gain_that_is_paid_out__hides_no_loss(world: World) -> None:
    """A result that became cash is counted once: what is paid away beside it is a loss in full."""
    account = stepper(world)
    fund_house(world)
    trade(world, account, "ETH", WAD)
    world.set_price("ETH", 2_200)
    settle = world.mandates.settle.encode(1)
    assert loss_of(world, account, 10_000, settle) == 0
    assert (
        loss_of(world, account, 10_000, settle, world.mandates.pay.encode(account, 100))
        == 100 * UNIT
    )


def test_budget__cash_that_repays_a_debt__rounding_is_no_loss(world: World) -> None:
    """An owner without a budget may be given cash of which the debt's rounding takes a unit."""
    account, donor = world.open_account(leverage=2), world.account(1)
    world.deposit(donor, QUOTE, 10**9)
    world.make_donor(donor, floor_bps=10_000)
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    world.mandates.set_guard(account, hook, (65_535, 10_000, 100, 0, 0, 0), sender=world.owner)
    world.wait(30 * 86_400)
    taken = set()
    for units in range(10**6, 10**6 + 30):
        move = world.mandates.move.encode(donor, 0, units)
        hook.set_script([(world.mandates.address, move)], sender=world.governor)
        with world.isolated():
            receipt = world.mandates.rebalance(account, sender=world.keeper)
        args = args_of(world.mandates, receipt, "Rebalanced")
        assert args.loss == 0
        taken.add(units - (args.equity_after - args.equity_before) // UNIT)
    assert 1 in taken <= {0, 1, 2}
