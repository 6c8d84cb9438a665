"""Transfers between accounts of one owner."""

from __future__ import annotations

import pytest

from tests.clearing_kit import (
    LOW_128,
    UNIT,
    args_of,
    debt_units,
    excess_init,
    silence_oracle,
)
from tests.conftest import reverts
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, World

ETH, BTC = 1, 2


def test_transfer__collateral__moves_words_and_no_token(world: World) -> None:
    donor, receiver, house = world.account(0), world.account(1), world.clearinghouse
    world.deposit(donor, "ETH", 10)
    total, held = house.supply_word(ETH), world.tokens["ETH"].balanceOf(house)
    receipt = house.transfer(donor, receiver, ETH, 4, sender=world.owner)
    assert (house.position_word(donor, ETH), house.position_word(receiver, ETH)) == (6, 4)
    assert house.listed_word(receiver) == ETH | 1 << 128
    assert (house.supply_word(ETH), world.tokens["ETH"].balanceOf(house)) == (total, held)
    assert tuple(args_of(house, receipt, "Transferred")) == (donor, receiver, ETH, 4, 6, 4)
    assert world.tokens["ETH"].chain.logs(world.tokens["ETH"].address, receipt.block) == []


def test_transfer__all_of_a_collateral__leaves_the_list_of_the_donor(world: World) -> None:
    donor, receiver = world.account(0), world.account(1)
    world.deposit(donor, "ETH", 10)
    receipt = world.clearinghouse.transfer(donor, receiver, ETH, 10, sender=world.owner)
    assert world.clearinghouse.listed_word(donor) == 0
    lists = world.clearinghouse.events(receipt, "AssetListChanged")
    assert [tuple(event.args) for event in lists] == [(donor, 0), (receiver, ETH | 1 << 128)]


def test_transfer__cash__moves_words_and_no_token(world: World) -> None:
    donor, receiver, house = world.account(0), world.account(1), world.clearinghouse
    world.deposit(donor, QUOTE, 10)
    held = world.quote.balanceOf(house)
    receipt = house.transfer(donor, receiver, 0, 10, sender=world.owner)
    assert (house.account_word(donor), house.account_word(receiver)) == (0, 10 * UNIT)
    assert world.quote.balanceOf(house) == held
    # Not even to itself: a token may charge for that, or be paused.
    assert world.quote.events(receipt, "Transfer") == []
    args = args_of(house, receipt, "Transferred")
    assert tuple(args) == (donor, receiver, 0, 10, 0, 10 * UNIT)


def test_transfer__cash_the_donor_borrows__becomes_its_debt(world: World) -> None:
    donor, receiver = world.account(0), world.account(1)
    world.deposit(donor, "ETH", 10**18)
    world.deposit(donor, QUOTE, 3)
    world.clearinghouse.transfer(donor, receiver, 0, 103, sender=world.owner)
    assert 100 <= debt_units(world, donor) <= 101
    assert world.clearinghouse.account_word(donor) & LOW_128 == 0
    assert world.clearinghouse.account_word(receiver) == 103 * UNIT


def test_transfer__cash_into_a_debt__repays_it(world: World) -> None:
    receiver, donor = world.open_account(leverage=2, sub=1), world.account(0)
    owed = debt_units(world, receiver)
    world.deposit(donor, QUOTE, 10**9)
    world.clearinghouse.transfer(donor, receiver, 0, 10**9, sender=world.owner)
    assert debt_units(world, receiver) < owed - 10**9 + 20_000
    assert world.clearinghouse.account_word(receiver) & LOW_128 == 0


def test_transfer__of_debt_between_two_borrowers__keeps_the_sum(world: World) -> None:
    """Borrowed by one to repay the other: the debt moves, nothing is made."""
    donor, receiver = (world.open_account(leverage=2, sub=sub) for sub in (0, 1))
    with world.chain.one_block():
        world.clearinghouse.transfer(donor, receiver, 0, 10**9, sender=world.owner)
    total = debt_units(world, donor) + debt_units(world, receiver)
    assert 20_000 * 10**6 <= total <= 20_000 * 10**6 + 200_000
    assert debt_units(world, donor) - debt_units(world, receiver) >= 2 * 10**9 - 200_000


def test_transfer__donor_left_below_initial_margin__is_refused(world: World) -> None:
    donor, receiver = world.open_account(leverage=3), world.account(1)
    held = world.clearinghouse.position_word(donor, ETH)
    for asset, amount in ((ETH, held), (ETH, held // 2), (0, 5_000 * 10**6)):
        with reverts("margin: initial margin short"):
            world.clearinghouse.transfer(donor, receiver, asset, amount, sender=world.owner)
    assert world.clearinghouse.listed_word(receiver) == 0


def test_transfer__receiver_under_water__is_no_obstacle(world: World) -> None:
    receiver, donor = world.open_account(leverage=3), world.account(1)
    world.deposit(donor, "ETH", 10**18)
    world.set_price("ETH", 1_000)
    assert excess_init(world, receiver) < 0
    world.clearinghouse.transfer(donor, receiver, ETH, 10**18, sender=world.owner)
    assert world.clearinghouse.position_word(donor, ETH) == 0


def test_transfer__between_owners_or_to_itself__is_refused(world: World) -> None:
    """T50, I24: only siblings, even if the caller may act for both."""
    donor = world.account(0)
    world.deposit(donor, "ETH", 10)
    foreign = world.account(0, world.other_owner)
    world.mandates.set_operator(foreign, world.owner, 15, 2**40 - 1, sender=world.other_owner)
    for receiver in (foreign, donor, donor + 2**168, donor + 2**248, 0):
        with reverts("clearinghouse: not a sibling"):
            world.clearinghouse.transfer(donor, receiver, ETH, 1, sender=world.owner)


def test_transfer__all_two_hundred_and_fifty_six_siblings__are_apart(world: World) -> None:
    donor = world.account(0)
    world.deposit(donor, "ETH", 400)
    for sub in (1, 127, 255):
        world.clearinghouse.transfer(donor, world.account(sub), ETH, sub, sender=world.owner)
    held = [world.clearinghouse.position_word(world.account(sub), ETH) for sub in range(256)]
    assert {sub: wad for sub, wad in enumerate(held) if wad} == {0: 17, 1: 1, 127: 127, 255: 255}


@pytest.mark.parametrize(
    ("asset", "units", "reason"),
    [
        (ETH, 0, "ledger: zero amount"),
        (0, 0, "ledger: zero amount"),
        (ETH, 11, "ledger: balance too low"),
        (BTC, 1, "ledger: balance too low"),
        (ETH, 2**120, "ledger: amount too large"),
        (0, 2**255, "ledger: amount too large"),
        (3, 1, "collaterals: unknown asset"),
    ],
)
def test_transfer__amount_or_asset_out_of_range__is_refused(
    world: World, asset: int, units: int, reason: str
) -> None:
    world.deposit(world.account(0), "ETH", 10)
    with reverts(reason):
        world.clearinghouse.transfer(
            world.account(0), world.account(1), asset, units, sender=world.owner
        )


def test_transfer__by_a_stranger__is_refused(world: World) -> None:
    world.deposit(world.account(0), "ETH", 10)
    for who in (world.attacker, world.governor):
        with reverts("operators: not permitted"):
            world.clearinghouse.transfer(world.account(0), world.account(1), ETH, 1, sender=who)


def test_transfer__seventeenth_asset_of_the_receiver__is_refused() -> None:
    world = shared_world(17)
    with world.isolated():
        receiver, donor = world.account(0), world.account(1)
        for name in world.names[:16]:
            world.deposit(receiver, name, 1)
        last = world.names[16]
        world.deposit(donor, last, 1)
        with reverts("ledger: asset list full"):
            world.clearinghouse.transfer(donor, receiver, world.asset(last), 1, sender=world.owner)
        world.deposit(donor, "ETH", 1)
        world.clearinghouse.transfer(donor, receiver, ETH, 1, sender=world.owner)
        assert world.clearinghouse.position_word(receiver, ETH) == 2


def test_transfer__supply_cap_reached__is_no_obstacle(world: World) -> None:
    """I28: nothing enters, so no cap is asked."""
    world.deposit(world.account(0), "ETH", 10)
    world.system.listings.set_asset_limits(ETH, 0, 100, sender=world.governor)
    world.clearinghouse.transfer(world.account(0), world.account(1), ETH, 10, sender=world.owner)
    assert world.clearinghouse.position_word(world.account(1), ETH) == 10


def test_transfer__donor_without_debt__needs_no_price(world: World) -> None:
    world.deposit(world.account(0), "ETH", 10)
    silence_oracle(world)
    world.chain.advance(10 * 86_400)
    world.clearinghouse.transfer(world.account(0), world.account(1), ETH, 10, sender=world.owner)
    assert world.clearinghouse.position_word(world.account(1), ETH) == 10


def test_transfer__stale_price_of_a_donor_with_debt__is_refused(world: World) -> None:
    donor = world.open_account(leverage=2)
    world.make_stale("ETH")
    with reverts("margin: price not usable"):
        world.clearinghouse.transfer(donor, world.account(1), ETH, 1, sender=world.owner)
