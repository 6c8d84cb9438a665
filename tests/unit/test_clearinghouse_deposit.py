"""Deposits: what is stored, who may, and that no price and no health stands in the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clearing_kit import UNIT, args_of, debt_units, excess_init, silence_oracle
from tests.conftest import reverts
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, World

ETH, BTC = 1, 2
TOO_LARGE = "ledger: amount too large"
MAX_WAD = 2**120 - 1


@pytest.fixture
def crowded_world() -> Iterator[World]:
    """Seventeen collaterals: one more than an account has room for."""
    shared = shared_world(17)
    with shared.isolated():
        yield shared


def test_deposit__first_collateral__stores_position_list_and_total(world: World) -> None:
    account, units = world.account(), 3 * 10**18
    house, eth = world.clearinghouse, world.tokens["ETH"]
    world.fund(world.owner, "ETH", units)
    total = house.supply_word(ETH) & (2**128 - 1)
    before = eth.balanceOf(world.owner), eth.balanceOf(house)
    receipt = house.deposit(account, ETH, units, sender=world.owner)
    assert house.position_word(account, ETH) == units
    assert house.listed_word(account) == ETH | 1 << 128
    assert house.supply_word(ETH) & (2**128 - 1) == total + units
    assert (eth.balanceOf(world.owner), eth.balanceOf(house)) == (
        before[0] - units,
        before[1] + units,
    )
    args = args_of(house, receipt, "Deposited")
    assert tuple(args) == (account, ETH, world.owner, units, units)
    assert tuple(args_of(house, receipt, "AssetListChanged")) == (account, ETH | 1 << 128)


def test_deposit__more_of_the_same__adds_and_leaves_the_list(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    receipt = world.deposit(account, "ETH", 1)
    assert world.clearinghouse.position_word(account, ETH) == 10**18 + 1
    assert args_of(world.clearinghouse, receipt, "Deposited").word == 10**18 + 1
    assert world.clearinghouse.events(receipt, "AssetListChanged") == []


def test_deposit__token_of_eight_decimals__is_stored_in_wad_exactly(world: World) -> None:
    """T18: a token unit is a whole number of WAD units, so nothing is rounded."""
    account = world.account()
    world.deposit(account, "BTC", 7)
    assert world.clearinghouse.position_word(account, BTC) == 7 * 10**10


def test_deposit__second_asset__is_listed_behind_the_first(world: World) -> None:
    account = world.account()
    world.deposit(account, "BTC", 1)
    world.deposit(account, "ETH", 1)
    assert world.clearinghouse.listed_word(account) == BTC | ETH << 8 | 2 << 128


def test_deposit__cash_without_debt__is_kept_here(world: World) -> None:
    account = world.account()
    before = world.quote.balanceOf(world.clearinghouse)
    receipt = world.deposit(account, QUOTE, 5_000_001)
    assert world.clearinghouse.account_word(account) == 5_000_001 * UNIT
    assert world.clearinghouse.picture_of(account)[0] == 5_000_001 * UNIT
    assert world.quote.balanceOf(world.clearinghouse) == before + 5_000_001
    args = args_of(world.clearinghouse, receipt, "Deposited")
    assert tuple(args) == (account, 0, world.owner, 5_000_001, 5_000_001 * UNIT)
    assert world.clearinghouse.listed_word(account) == 0


def test_deposit__cash_with_debt__repays_in_the_vault_first(world: World) -> None:
    account = world.open_account(leverage=2)
    owed = debt_units(world, account)
    held = world.quote.balanceOf(world.system.vault)
    receipt = world.deposit(account, QUOTE, owed // 2)
    word = world.clearinghouse.account_word(account)
    assert word & (2**128 - 1) == 0, "no cash beside a debt"
    assert owed - owed // 2 <= debt_units(world, account) <= owed - owed // 2 + 20_000
    assert world.quote.balanceOf(world.system.vault) == held + owed // 2
    assert args_of(world.clearinghouse, receipt, "Deposited").word == word


def test_deposit__cash_above_the_debt__clears_it_and_keeps_the_rest(world: World) -> None:
    account = world.open_account(leverage=2)
    world.deposit(account, QUOTE, 20_000 * 10**6)
    word = world.clearinghouse.account_word(account)
    assert word >> 128 == 0
    assert 9_999 * 10**18 < word < 10_000 * 10**18


def test_deposit__nothing__is_refused(world: World) -> None:
    for asset in (0, ETH):
        with reverts("ledger: zero amount"):
            world.clearinghouse.deposit(world.account(), asset, 0, sender=world.owner)


def test_deposit__asset_not_listed__is_refused(world: World) -> None:
    for asset in (3, 255, 256, 2**255):
        with reverts("collaterals: unknown asset"):
            world.clearinghouse.deposit(world.account(), asset, 1, sender=world.owner)


def test_deposit__account_beyond_168_bits__is_refused(world: World) -> None:
    """T50: high bits that a shift would drop cannot alias another account's position."""
    victim = world.account()
    world.deposit(victim, "ETH", 1)
    world.fund(world.attacker, "ETH", 1)
    world.fund(world.attacker, QUOTE, 1)
    for alias in (victim + 2**168, victim + 2**248):
        with reverts("ledger: bad account"):
            world.clearinghouse.deposit(alias, 0, 1, sender=world.attacker)
    with reverts("ledger: bad account"):
        world.clearinghouse.deposit(victim + 2**248, ETH, 1, sender=world.attacker)
    with reverts(""):
        world.clearinghouse.deposit(victim + 2**168, ETH, 1, sender=world.attacker)
    assert world.clearinghouse.position_word(victim, ETH) == 1


def test_deposit__amount_of_120_bits__is_refused_before_it_overflows(world: World) -> None:
    account = world.account()
    for asset, units in ((ETH, 2**120), (ETH, 2**256 - 1), (BTC, 2**119), (0, MAX_WAD // UNIT + 1)):
        with reverts(TOO_LARGE):
            world.clearinghouse.deposit(account, asset, units, sender=world.owner)


def test_deposit__balance_that_would_reach_120_bits__is_refused(world: World) -> None:
    account, half = world.account(), 2**119
    world.system.listings.set_asset_limits(ETH, MAX_WAD, 100, sender=world.governor)
    world.deposit(account, "ETH", half)
    world.fund(world.owner, "ETH", half)
    with reverts(TOO_LARGE):
        world.clearinghouse.deposit(account, ETH, half, sender=world.owner)
    world.deposit(account, "ETH", half - 1)
    assert world.clearinghouse.position_word(account, ETH) == MAX_WAD
    units = half // UNIT
    world.deposit(account, QUOTE, units)
    world.fund(world.owner, QUOTE, units + 2)
    with reverts(TOO_LARGE):
        world.clearinghouse.deposit(account, 0, units + 2, sender=world.owner)


def test_deposit__at_the_supply_cap__is_the_last_one(world: World) -> None:
    """I28: the cap stops increases and never an exit."""
    account = world.account()
    world.deposit(account, "ETH", 5)
    total = world.clearinghouse.supply_word(ETH) & (2**128 - 1)
    world.system.listings.set_asset_limits(ETH, total + 10, 100, sender=world.governor)
    world.deposit(account, "ETH", 10)
    world.fund(world.owner, "ETH", 1)
    with reverts("collaterals: supply cap reached"):
        world.clearinghouse.deposit(account, ETH, 1, sender=world.owner)
    world.system.listings.set_asset_limits(ETH, 0, 100, sender=world.governor)
    with reverts("collaterals: supply cap reached"):
        world.clearinghouse.deposit(account, ETH, 1, sender=world.owner)
    world.clearinghouse.withdraw(account, ETH, 15, world.owner, sender=world.owner)
    assert world.clearinghouse.position_word(account, ETH) == 0


def test_deposit__new_asset_by_a_stranger__is_refused(world: World) -> None:
    """T50: nobody fills another owner's list."""
    world.fund(world.attacker, "ETH", 1)
    with reverts("operators: not permitted"):
        world.clearinghouse.deposit(world.account(), ETH, 1, sender=world.attacker)


def test_deposit__cash_or_an_asset_held_by_a_stranger__is_welcome(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 1)
    world.fund(world.attacker, "ETH", 2)
    world.fund(world.attacker, QUOTE, 3)
    receipt = world.clearinghouse.deposit(account, ETH, 2, sender=world.attacker)
    world.clearinghouse.deposit(account, 0, 3, sender=world.attacker)
    assert args_of(world.clearinghouse, receipt, "Deposited").payer == world.attacker
    assert world.clearinghouse.position_word(account, ETH) == 3
    assert world.clearinghouse.account_word(account) == 3 * UNIT


def test_deposit__seventeenth_asset__is_refused_and_the_held_ones_are_not(
    crowded_world: World,
) -> None:
    world, account = crowded_world, crowded_world.account()
    for name in world.names[:16]:
        world.deposit(account, name, 1)
    last = world.names[16]
    world.fund(world.owner, last, 1)
    with reverts("ledger: asset list full"):
        world.clearinghouse.deposit(account, world.asset(last), 1, sender=world.owner)
    world.deposit(account, world.names[15], 1)
    world.deposit(account, QUOTE, 1)
    asset = world.asset("ETH")
    world.clearinghouse.withdraw(account, asset, 1, world.owner, sender=world.owner)
    world.deposit(account, last, 1)
    assert world.clearinghouse.listed_word(account) >> 128 == 16


def test_deposit__without_balance_or_allowance__says_what_the_token_says(world: World) -> None:
    house = world.clearinghouse
    with reverts("mock: balance too low"):
        house.deposit(world.account(), ETH, 2**100, sender=world.owner)
    world.tokens["ETH"].mint(world.stranger, 1, sender=world.governor)
    with reverts("mock: allowance too low"):
        house.deposit(world.account(0, world.stranger), ETH, 1, sender=world.stranger)


def test_deposit__every_feed_dead_and_below_margin__is_open(world: World) -> None:
    """T23: an account under water, without one usable price, can be filled up."""
    account = world.open_account(leverage=3)
    world.set_price("ETH", 1_300)
    assert excess_init(world, account) < 0
    silence_oracle(world)
    world.chain.advance(10 * 86_400)
    held = world.clearinghouse.position_word(account, ETH)
    world.deposit(account, "ETH", 10**18)
    world.deposit(account, "BTC", 10**8)
    owed = debt_units(world, account)
    world.deposit(account, QUOTE, 10**6)
    assert world.clearinghouse.position_word(account, ETH) == held + 10**18
    assert debt_units(world, account) < owed


def test_deposit__ether_sent_along__is_refused(world: World) -> None:
    """T40: nothing here is payable."""
    world.fund(world.owner, "ETH", 1)
    with reverts(""):
        world.clearinghouse.deposit(world.account(), ETH, 1, sender=world.owner, value=1)
