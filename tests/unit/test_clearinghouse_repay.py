"""Repayment: anyone, always, never more than the debt."""

from __future__ import annotations

from tests.clearing_kit import (
    LOW_128,
    args_of,
    debt_units,
    excess_init,
    fund_all,
    silence_oracle,
)
from tests.conftest import reverts
from tests.support.world import QUOTE, World


def test_repay__part__moves_tokens_into_the_vault(world: World) -> None:
    account = world.open_account(leverage=2)
    world.fund(world.owner, QUOTE, 10**9)
    owed = debt_units(world, account)
    held = world.quote.balanceOf(world.system.vault)
    receipt = world.clearinghouse.repay(account, 10**9, sender=world.owner)
    assert receipt.return_value == 10**9
    assert world.quote.balanceOf(world.system.vault) == held + 10**9
    assert owed - 10**9 <= debt_units(world, account) <= owed - 10**9 + 20_000
    word = world.clearinghouse.account_word(account)
    args = args_of(world.clearinghouse, receipt, "Deposited")
    assert tuple(args) == (account, 0, world.owner, 10**9, word)


def test_repay__without_limit__pays_the_debt_of_this_second(world: World) -> None:
    account = world.open_account(leverage=2)
    world.wait(30 * 86_400)
    fund_all(world, world.owner)
    before = world.quote.balanceOf(world.owner)
    receipt = world.clearinghouse.repay(account, 2**256 - 1, sender=world.owner)
    assert world.clearinghouse.account_word(account) == 0
    assert world.quote.balanceOf(world.owner) == before - receipt.return_value
    assert receipt.return_value > 10_000 * 10**6, "with its interest"


def test_repay__by_anyone__is_accepted_and_drawn_from_the_payer(world: World) -> None:
    account = world.open_account(leverage=2)
    world.fund(world.attacker, QUOTE, 5)
    mine = world.quote.balanceOf(world.owner)
    receipt = world.clearinghouse.repay(account, 5, sender=world.attacker)
    assert args_of(world.clearinghouse, receipt, "Deposited").payer == world.attacker
    assert world.quote.balanceOf(world.attacker) == 0
    assert world.quote.balanceOf(world.owner) == mine


def test_repay__just_after_someone_repaid_in_full__pays_nothing(world: World) -> None:
    """T49: a payment in front of one's own cannot make it fail."""
    account = world.open_account(leverage=2)
    for who in (world.owner, world.attacker):
        world.fund(who, QUOTE, 20_000 * 10**6)
    world.clearinghouse.repay(account, 2**256 - 1, sender=world.attacker)
    before = world.quote.balanceOf(world.owner)
    receipt = world.clearinghouse.repay(account, 10**6, sender=world.owner)
    assert receipt.return_value == 0
    assert world.quote.balanceOf(world.owner) == before
    assert world.clearinghouse.events(receipt) == []


def test_repay__nothing__is_refused(world: World) -> None:
    with reverts("ledger: zero amount"):
        world.clearinghouse.repay(world.open_account(leverage=2), 0, sender=world.owner)


def test_repay__account_without_debt_or_that_cannot_be__pays_nothing(world: World) -> None:
    world.deposit(world.account(), QUOTE, 7)
    for account in (world.account(), world.account(9), 2**168, 2**256 - 1):
        assert world.clearinghouse.repay(account, 5, sender=world.owner).return_value == 0
    assert world.clearinghouse.account_word(world.account()) == 7 * 10**12


def test_repay__wallet_too_poor__says_what_the_token_says(world: World) -> None:
    account = world.open_account(leverage=2)
    with reverts("mock: balance too low"):
        world.clearinghouse.repay(account, 2**256 - 1, sender=world.other_owner)
    world.quote.approve(world.clearinghouse, 0, sender=world.owner)
    world.fund(world.owner, QUOTE, 10)
    with reverts("mock: allowance too low"):
        world.clearinghouse.repay(account, 10, sender=world.owner)


def test_repay__one_unit__is_accepted_and_never_raises_the_debt(world: World) -> None:
    account = world.open_account(leverage=2)
    world.fund(world.owner, QUOTE, 1)
    shares = world.clearinghouse.account_word(account) >> 128
    world.clearinghouse.repay(account, 1, sender=world.owner)
    assert world.clearinghouse.account_word(account) >> 128 <= shares


def test_repay__every_feed_dead_and_below_margin__is_open(world: World) -> None:
    """T23: less risk is welcome at any time."""
    account = world.open_account(leverage=3)
    world.set_price("ETH", 1_000)
    assert excess_init(world, account) < 0
    silence_oracle(world)
    world.chain.advance(10 * 86_400)
    world.fund(world.owner, QUOTE, 10**9)
    owed = debt_units(world, account)
    world.clearinghouse.repay(account, 10**9, sender=world.owner)
    assert debt_units(world, account) < owed


def test_repay__vault_lent_out_to_the_limit__is_open(world: World) -> None:
    """A14: at the highest use there is, the way back is free."""
    account = world.account()
    world.deposit(account, "BTC", 2_500 * 10**8)
    world.borrow(account, world.system.vault.max_loan() - 10)
    world.wait(86_400)
    assert world.system.vault.utilisation_wad() > 92 * 10**16
    world.fund(world.owner, QUOTE, 10**12)
    receipt = world.clearinghouse.repay(account, 10**12, sender=world.owner)
    assert receipt.return_value == 10**12


def test_repay__cash_of_the_account__is_left_alone(world: World) -> None:
    """What is paid comes from the payer; an account with debt has no unit of cash anyway."""
    account = world.open_account(leverage=2)
    world.fund(world.owner, QUOTE, 10**6)
    world.clearinghouse.repay(account, 10**6, sender=world.owner)
    assert world.clearinghouse.account_word(account) & LOW_128 == 0
