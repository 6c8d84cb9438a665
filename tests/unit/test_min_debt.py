"""The least debt: who chooses to borrow owes at least so much, what is forced never fails for it.

T59: an account too small to pay for its own liquidation is nobody's business, so there is none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ballast.gas import Snapshot
from tests.clearing_kit import action, args_of, debt_units
from tests.conftest import reverts
from tests.liquidation_kit import ANY_STATE
from tests.perps_kit import open_desk
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, WAD, World

ETH = 1
LEAST = 100
UNITS = LEAST * 10**6
BELOW = "vault: debt below minimum"
WITHDRAW, TRANSFER, SWAP = 2, 4, 5
# At which a debt of the least size pays for its own liquidation, and what ether costs then.
PAID_GWEI, ETHER_PRICE = 1.5, 2_000


@pytest.fixture
def world() -> Iterator[World]:
    """The shared world, with a least debt of a hundred quote tokens."""
    world = shared_world()
    with world.isolated():
        world.system.vault.set_min_debt(LEAST, sender=world.governor)
        yield world


@pytest.fixture
def account(world: World) -> int:
    """One ETH and ten quote tokens."""
    account = world.account()
    world.deposit(account, "ETH", WAD)
    world.deposit(account, QUOTE, 10 * 10**6)
    return account


def lay_down(world: World, account: int, units: int) -> None:
    world.fund(world.other_owner, QUOTE, units)
    world.clearinghouse.repay(account, units, sender=world.other_owner)


# ---- what is chosen


@pytest.mark.parametrize("units", [1, UNITS - 1])
def test_borrow__less_than_the_least__is_refused_every_way(
    world: World, account: int, units: int
) -> None:
    """Out, into a swap, to a sibling, and in a batch: a unit of debt or all but one."""
    ledger, amount = world.clearinghouse, units + 10 * 10**6
    with reverts(BELOW):
        world.borrow(account, amount)
    with reverts(BELOW):
        ledger.swap(account, world.venue, 0, ETH, amount, 0, sender=world.owner)
    with reverts(BELOW):
        ledger.transfer(account, account + 1, 0, amount, sender=world.owner)
    for kind in (WITHDRAW, TRANSFER, SWAP):
        made = action(
            *(kind, account),
            other=account + 1,
            asset_out=ETH,
            amount=amount,
            target=world.venue if kind == SWAP else world.lender,
        )
        with reverts(BELOW):
            ledger.batch([made], sender=world.owner)
    assert debt_units(world, account) == 0


def test_borrow__the_least_and_then_a_unit__is_lent(world: World, account: int) -> None:
    """It is the debt that counts, not the loan."""
    world.borrow(account, UNITS + 10 * 10**6)
    assert debt_units(world, account) == UNITS
    world.borrow(account, 1)
    world.clearinghouse.swap(account, world.venue, 0, ETH, 10**6, 0, sender=world.owner)
    world.clearinghouse.transfer(account, account + 1, 0, 1, sender=world.owner)
    assert debt_units(world, account) >= UNITS + 10**6 + 2


def test_withdraw__cash_and_collateral_without_borrowing__need_no_debt(
    world: World, account: int
) -> None:
    world.borrow(account, 10 * 10**6)
    world.clearinghouse.withdraw(account, ETH, WAD // 2, world.owner, sender=world.owner)
    assert debt_units(world, account) == 0


def test_set_min_debt__above_a_debt__binds_from_the_next_loan_on(
    world: World, account: int
) -> None:
    world.borrow(account, UNITS + 10 * 10**6)
    world.system.vault.set_min_debt(10 * LEAST, sender=world.governor)
    with reverts(BELOW):
        world.borrow(account, 1)
    world.clearinghouse.withdraw(account, ETH, WAD // 10, world.owner, sender=world.owner)
    lay_down(world, account, 1)
    world.borrow(account, 10 * UNITS)
    world.system.vault.set_min_debt(0, sender=world.governor)
    lay_down(world, account, 20 * UNITS)
    world.borrow(account, 1)


# ---- what is forced


def test_repay__down_to_a_unit__leaves_a_debt_that_may_stay(world: World, account: int) -> None:
    """I23: repayment never fails; only more borrowing asks for the least again."""
    world.borrow(account, UNITS + 10 * 10**6)
    lay_down(world, account, UNITS - 1)
    assert 1 <= debt_units(world, account) <= 5
    world.clearinghouse.withdraw(account, ETH, WAD // 2, world.owner, sender=world.owner)
    with reverts(BELOW):
        world.borrow(account, UNITS // 2)
    world.borrow(account, UNITS)


def test_sale__proceeds_that_leave_a_small_debt__stand(world: World, account: int) -> None:
    world.borrow(account, UNITS + 10 * 10**6)
    world.clearinghouse.swap(account, world.venue, ETH, 0, WAD * 48 // 1000, 0, sender=world.owner)
    assert 0 < debt_units(world, account) < 10 * 10**6


def test_trade__loss_beyond_cash__becomes_a_debt_of_any_size(world: World) -> None:
    """A position must always be closable."""
    desk = open_desk(world)
    trader = desk.trader(cash=100)
    world.deposit(trader, "BTC", 10**7)
    desk.trade(trader, WAD // 2)
    world.set_price("ETH", 1_780)
    desk.trade(trader, -WAD // 2)
    assert 0 < debt_units(world, trader) < UNITS
    desk.check()


def test_liquidate__taker_without_cash__borrows_any_size(world: World) -> None:
    """And what is left of the liquidated account's debt has no least either."""
    victim = world.open_account(leverage=3, owner=world.other_owner, equity=60)
    taker = world.account(5, world.attacker)
    world.deposit(taker, "BTC", 10**7)
    world.set_price("ETH", 1_480)
    receipt = world.system.liquidator.liquidate(victim, taker, ANY_STATE, sender=world.attacker)
    assert world.system.liquidator.events(receipt, "Liquidated")
    assert 0 < debt_units(world, taker) < 2 * UNITS
    assert debt_units(world, victim) < UNITS + 20 * 10**6


# ---- what it is for


@pytest.mark.parametrize("leverage", ["1.5", "2", "3", "3.7"])
def test_liquidate__smallest_account__pays_for_its_gas(world: World, leverage: str) -> None:
    """T59: docs/liquidation.md has the figure. At the very line of maintenance, where the discount
    is smallest, once it has run up: what the taker gains, less insurance's part and an exit at 35
    bp, is worth the gas of a cold liquidation."""
    equity = LEAST / (float(leverage) - 1)
    victim = world.open_account(leverage, equity=str(equity), owner=world.other_owner)
    taker = world.account(5, world.attacker)
    world.deposit(taker, QUOTE, 1_000 * 10**6)
    liquidator, price = world.system.liquidator, 2_000
    _, _, equity_maint, required_maint = world.clearinghouse.assess(victim)
    while equity_maint >= required_maint:
        price -= 10
        world.set_price("ETH", price)
        _, _, equity_maint, required_maint = world.clearinghouse.assess(victim)
    for wait_s in (590, 590, 60):
        liquidator.flag(victim, sender=world.keeper)
        world.wait(wait_s)
    value = int(world.clearinghouse.position_word(victim, ETH)) * price
    receipt = liquidator.liquidate(victim, taker, ANY_STATE, sender=world.attacker)
    told = args_of(liquidator, receipt, "Liquidated")
    assert told.fraction_wad == WAD, "it is taken whole"
    earned = told.bonus_wad - told.fee_wad - value * 35 // 10_000
    gas = Snapshot.read().gas["liquidation, n = 1"]
    assert earned >= gas * PAID_GWEI * 10**9 * ETHER_PRICE
