"""Withdrawals and loans: what is stored, the margin test to the unit, who may and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ballast.chain import Reverted
from tests.clearing_kit import (
    LOW_128,
    UNIT,
    args_of,
    debt_units,
    excess_init,
    silence_oracle,
)
from tests.conftest import reverts
from tests.support.world import QUOTE, ZERO_ADDRESS, World

ETH, BTC = 1, 2
SHORT = "margin: initial margin short"
FAR = 2**40 - 1  # the latest moment a grant may last


def largest(accepts: Callable[[int], Any], low: int, high: int) -> int:
    """The largest amount that does not revert; `low` is accepted and `high` is not."""
    while high - low > 1:
        middle = (low + high) // 2
        try:
            accepts(middle)
            low = middle
        except Reverted as error:
            assert error.reason == SHORT
            high = middle
    return low


def test_withdraw__all_of_a_collateral__empties_position_list_and_total(world: World) -> None:
    account, house, eth = world.account(), world.clearinghouse, world.tokens["ETH"]
    world.deposit(account, "ETH", 10**18)
    world.deposit(account, "BTC", 10**8)
    total = house.supply_word(ETH) & LOW_128
    receipt = house.withdraw(account, ETH, 10**18, world.stranger, sender=world.owner)
    assert house.position_word(account, ETH) == 0
    assert house.listed_word(account) == BTC | 1 << 128
    assert house.supply_word(ETH) & LOW_128 == total - 10**18
    assert eth.balanceOf(world.stranger) == 10**18
    assert tuple(args_of(house, receipt, "Withdrawn")) == (account, ETH, world.stranger, 10**18, 0)
    assert args_of(house, receipt, "AssetListChanged").listed == BTC | 1 << 128


def test_withdraw__part_of_a_collateral__leaves_the_list(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    receipt = world.clearinghouse.withdraw(account, ETH, 1, world.owner, sender=world.owner)
    assert args_of(world.clearinghouse, receipt, "Withdrawn").word == 10**18 - 1
    assert world.clearinghouse.events(receipt, "AssetListChanged") == []


def test_withdraw__cash_that_is_there__borrows_nothing(world: World) -> None:
    account = world.account()
    world.deposit(account, QUOTE, 10)
    receipt = world.clearinghouse.withdraw(account, 0, 10, world.stranger, sender=world.owner)
    assert world.clearinghouse.account_word(account) == 0
    assert world.quote.balanceOf(world.stranger) == 10
    assert tuple(args_of(world.clearinghouse, receipt, "Withdrawn")) == (
        account,
        0,
        world.stranger,
        10,
        0,
    )


def test_withdraw__more_cash_than_there_is__borrows_only_the_rest(world: World) -> None:
    account, house = world.account(), world.clearinghouse
    world.deposit(account, "ETH", 10 * 10**18)
    world.deposit(account, QUOTE, 400)
    idle = world.quote.balanceOf(world.system.vault)
    receipt = house.withdraw(account, 0, 1_000, world.stranger, sender=world.owner)
    word = house.account_word(account)
    assert word & LOW_128 == 0 and word >> 128 != 0
    assert 600 <= debt_units(world, account) <= 601
    assert world.quote.balanceOf(world.system.vault) == idle - 600
    assert world.quote.balanceOf(world.stranger) == 1_000
    assert args_of(house, receipt, "Withdrawn").word == word


def test_withdraw__loan_to_the_edge_of_initial_margin__is_the_largest_accepted(
    world: World,
) -> None:
    """I11: one unit more is refused, by the margin and by nothing else."""
    account, house = world.account(), world.clearinghouse
    world.deposit(account, "ETH", 10 * 10**18)
    free = excess_init(world, account) // UNIT

    def borrow(units: int) -> None:
        house.withdraw.call(account, 0, units, world.owner, sender=world.owner)

    most = largest(borrow, 1, free + 2)
    assert free - 1 <= most <= free
    with world.chain.one_block():
        house.withdraw(account, 0, most, world.owner, sender=world.owner)
    assert 0 <= excess_init(world, account) < 2 * UNIT


def test_withdraw__collateral_to_the_edge__is_the_largest_accepted(world: World) -> None:
    account, house = world.open_account(leverage=2), world.clearinghouse

    def take(units: int) -> None:
        house.withdraw.call(account, ETH, units, world.owner, sender=world.owner)

    held = house.position_word(account, ETH)
    most = largest(take, 1, held)
    mark = world.system.oracle.marks([ETH])
    rate_e6 = (mark[1] & 2**24 - 1) + (mark[1] >> 24 & 2**24 - 1)
    freed = excess_init(world, account) * 10**24 // (world.price_wad("ETH") * (10**6 - rate_e6))
    assert freed - 2_000 <= most <= freed
    with reverts(SHORT):
        house.withdraw(account, ETH, most + 10**12, world.owner, sender=world.owner)
    with reverts(SHORT):
        house.withdraw(account, ETH, held, world.owner, sender=world.owner)


def test_withdraw__loan_without_any_collateral__is_refused(world: World) -> None:
    with reverts(SHORT):
        world.clearinghouse.withdraw(world.account(), 0, 1, world.owner, sender=world.owner)


@pytest.mark.parametrize(
    ("asset", "units", "reason"),
    [
        (0, 0, "ledger: zero amount"),
        (ETH, 0, "ledger: zero amount"),
        (0, 2**120, "ledger: amount too large"),
        (ETH, 2**120, "ledger: amount too large"),
        (ETH, 2**256 - 1, "ledger: amount too large"),
        (ETH, 10**18 + 1, "ledger: balance too low"),
        (BTC, 1, "ledger: balance too low"),
        (3, 1, "collaterals: unknown asset"),
        (256 + ETH, 1, "collaterals: unknown asset"),
    ],
)
def test_withdraw__amount_or_asset_out_of_range__is_refused(
    world: World, asset: int, units: int, reason: str
) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    with reverts(reason):
        world.clearinghouse.withdraw(account, asset, units, world.owner, sender=world.owner)


def test_withdraw__by_anyone_but_the_owner__is_refused(world: World) -> None:
    """I25: neither a stranger nor the governor nor the owner of another account."""
    account = world.account()
    world.deposit(account, "ETH", 1)
    for who in (world.attacker, world.governor, world.other_owner):
        with reverts("operators: not permitted"):
            world.clearinghouse.withdraw(account, ETH, 1, who, sender=who)
        with reverts("operators: not permitted"):
            world.clearinghouse.withdraw(account, ETH, 1, world.owner, sender=who)


def test_withdraw__account_beyond_168_bits__is_refused(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 1)
    for alias in (account + 2**168, account + 2**248):
        with reverts(""):
            world.clearinghouse.withdraw(alias, ETH, 1, world.owner, sender=world.owner)


def test_withdraw__to_nobody_or_to_the_ledger__is_refused(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 1)
    for receiver in (ZERO_ADDRESS, world.clearinghouse):
        with reverts("clearinghouse: bad receiver"):
            world.clearinghouse.withdraw(account, ETH, 1, receiver, sender=world.owner)


def test_withdraw__loan_sent_to_the_vault__is_refused(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    with reverts("vault: bad receiver"):
        world.clearinghouse.withdraw(account, 0, 1, world.system.vault, sender=world.owner)


def test_withdraw__by_an_operator__goes_to_the_owner_alone(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10)
    world.mandates.set_operator(account, world.keeper, 2, FAR, sender=world.owner)
    for receiver in (world.keeper, world.stranger, ZERO_ADDRESS):
        with reverts("clearinghouse: bad receiver"):
            world.clearinghouse.withdraw(account, ETH, 1, receiver, sender=world.keeper)
    world.clearinghouse.withdraw(account, ETH, 10, world.owner, sender=world.keeper)
    assert world.tokens["ETH"].balanceOf(world.owner) >= 10


def test_withdraw__without_debt__needs_no_price(world: World) -> None:
    """T23: a dead oracle keeps nobody's own money in."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.deposit(account, QUOTE, 10)
    silence_oracle(world)
    world.chain.advance(10 * 86_400)
    world.clearinghouse.withdraw(account, ETH, 10**18, world.owner, sender=world.owner)
    world.clearinghouse.withdraw(account, 0, 10, world.owner, sender=world.owner)
    assert world.clearinghouse.account_word(account) == 0
    assert world.clearinghouse.listed_word(account) == 0


def test_withdraw__against_a_stale_price__is_refused(world: World) -> None:
    """T19: a stale asset backs no increase, whatever its last price."""
    account = world.open_account(leverage=2)
    world.make_stale("ETH")
    for asset in (0, ETH):
        with reverts("margin: price not usable"):
            world.clearinghouse.withdraw(account, asset, 1, world.owner, sender=world.owner)


def test_withdraw__stale_price_beside_enough_live_collateral__is_accepted(world: World) -> None:
    account = world.open_account(leverage=2)
    world.deposit(account, "BTC", 10**8)
    world.make_stale("ETH")
    world.borrow(account, 1)
    assert debt_units(world, account) > 0


def test_withdraw__price_risen_in_this_block__counts_at_the_lower_one(world: World) -> None:
    """A13: the price made in the block itself lends no strength."""
    account = world.open_account(leverage=2)
    free = excess_init(world, account) // UNIT
    more = free + 50 * 10**6
    with world.chain.isolated(), world.chain.one_block():
        world.feeds["ETH"].set_answer(2_020 * 10**8, sender=world.governor)
        with reverts(SHORT):
            world.borrow(account, more)
        world.borrow(account, free - 10**6)
    world.set_price("ETH", 2_020)
    world.borrow(account, more)
    assert debt_units(world, account) > 10_000 * 10**6 + free


def test_withdraw__more_than_the_vault_lends__is_refused(world: World) -> None:
    """A14: lending stops at 92% use however good the margin."""
    account = world.account()
    world.deposit(account, "BTC", 2_500 * 10**8)
    most = world.system.vault.max_loan()
    with reverts("vault: loan too large"):
        world.borrow(account, most + 10)
    world.borrow(account, most - 10)
    assert debt_units(world, account) >= most - 10


def test_withdraw__below_initial_margin__even_a_unit_of_free_cash_is_refused(world: World) -> None:
    account = world.open_account(leverage=3)
    world.set_price("ETH", 1_500)
    assert excess_init(world, account) < 0
    for asset in (0, ETH):
        with reverts(SHORT):
            world.clearinghouse.withdraw(account, asset, 1, world.owner, sender=world.owner)
