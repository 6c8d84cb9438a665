"""Who is paid out of a mandate, from whose cash, and how far."""

from __future__ import annotations

import pytest

from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.liquidation_kit import open_floor
from tests.support.hooks import UNLIMITED_BUDGET, deploy_hook, hand_over, must, play
from tests.support.world import QUOTE, WAD, World

FLOOR_BPS = 10_000
PAY = 3 * 10**6  # token units


@pytest.fixture
def tank(world: World) -> int:
    """A sibling with 100 dollars that gives all of them."""
    tank = world.account(9)
    world.deposit(tank, QUOTE, world.units(QUOTE, 100))
    world.make_donor(tank, floor_bps=FLOOR_BPS)
    return tank


def cash(world: World, account: int) -> int:
    return int(world.clearinghouse.account_word(account)) % 2**128


def test_pay__out_of_the_accounts_cash__reaches_the_caller_and_is_a_loss(world: World) -> None:
    account, hook = world.account(), deploy_hook(world)
    world.deposit(account, QUOTE, world.units(QUOTE, 10))
    hand_over(world, account, hook, budget=(3 * WAD, 86_400, 10 * WAD))
    receipt = play(world, hook, account, must(world.mandates, "pay", account, PAY))
    keeper = world.account(0, world.keeper)
    assert (cash(world, account), cash(world, keeper)) == (7 * WAD, 3 * WAD)
    told = args_of(world.mandates, receipt, "KeeperPaid")
    assert tuple(told) == (account, account, keeper, PAY)
    assert args_of(world.mandates, receipt, "Rebalanced").loss == 3 * WAD
    with reverts("budgets: loss above budget"):
        play(world, hook, account, must(world.mandates, "pay", account, PAY))
    assert cash(world, account) == 7 * WAD


def test_pay__out_of_a_tank__reaches_the_account_that_was_named(world: World, tank: int) -> None:
    account, hook, payee = (
        world.open_account("2.5"),
        deploy_hook(world),
        world.account(5, world.keeper),
    )
    hand_over(world, account, hook)
    hook.set_script([must(world.mandates, "pay", tank, PAY)], sender=world.attacker)
    receipt = world.mandates.rebalance_for(account, payee, sender=world.stranger)
    assert (cash(world, tank), cash(world, payee)) == (97 * WAD, 3 * WAD)
    assert args_of(world.mandates, receipt, "Rebalanced").loss == 3 * WAD


@pytest.mark.parametrize(
    ("payer", "reason"),
    [
        ("no donor", "mandates: not a donor"),
        ("stranger", "mandates: not a donor"),
        ("indebted", "ledger: balance too low"),
        ("too poor", "ledger: balance too low"),
    ],
)
def test_pay__payer_that_may_not_or_has_not__is_refused(
    world: World, tank: int, payer: str, reason: str
) -> None:
    account, hook = world.open_account("2.5"), deploy_hook(world)
    hand_over(world, account, hook)
    world.deposit(world.account(1), QUOTE, PAY)
    world.deposit(world.account(9, world.attacker), QUOTE, PAY)
    payers = {
        "no donor": (world.account(1), PAY),
        "stranger": (world.account(9, world.attacker), PAY),
        "indebted": (account, PAY),
        "too poor": (tank, 100 * 10**6 + 1),
    }
    with reverts(reason):
        play(world, hook, account, must(world.mandates, "pay", *payers[payer]))


def test_pay__account_below_initial_margin__pays_nobody(world: World) -> None:
    """The ledger tests a payer like whoever withdraws."""
    account, hook = world.account(), deploy_hook(world)
    world.deposit(account, QUOTE, world.units(QUOTE, 3_000))
    open_floor(world).trade(account, 2 * WAD)
    world.set_price("ETH", 1_000)
    hand_over(world, account, hook, budget=UNLIMITED_BUDGET)
    with reverts("margin: initial margin short"):
        play(world, hook, account, must(world.mandates, "pay", account, PAY))


def test_pay__donor_at_its_floor__is_refused(world: World) -> None:
    donor = world.account(1)
    world.deposit(donor, "ETH", 10 * WAD)
    world.deposit(donor, QUOTE, world.units(QUOTE, 1_000))
    equity, required, _, _ = world.clearinghouse.assess(donor)
    world.make_donor(donor, floor_bps=min(65_535, equity * 10_000 // required))
    account, hook = world.open_account("2.5"), deploy_hook(world)
    hand_over(world, account, hook)
    with reverts("mandates: donor below its floor"):
        play(world, hook, account, must(world.mandates, "pay", donor, 10**9))


def test_pay__outside_a_mandate__is_refused(world: World, tank: int) -> None:
    for who in (world.owner, world.keeper, world.governor):
        with reverts("mandates: only the hook at work"):
            world.mandates.pay(tank, PAY, sender=who)


def test_pay__nobody_named__is_refused(world: World) -> None:
    """Whoever names no account to pay gets no pay, and nothing leaves for the account 0."""
    account, hook = world.account(), deploy_hook(world)
    world.deposit(account, QUOTE, world.units(QUOTE, 10))
    hand_over(world, account, hook)
    hook.set_script([must(world.mandates, "pay", account, PAY)], sender=world.attacker)
    with reverts("mandates: nobody to pay"):
        world.mandates.rebalance_for(account, 0, sender=world.keeper)
