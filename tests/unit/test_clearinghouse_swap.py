"""Swaps: bounded by the oracle whatever the caller accepts, and open where they lower risk."""

from __future__ import annotations

import pytest

from tests.clearing_kit import (
    LOW_128,
    UNIT,
    args_of,
    debt_units,
    excess_init,
)
from tests.conftest import reverts
from tests.support.world import QUOTE, WAD, World, to_wad

ETH, BTC = 1, 2
BELOW = "exchange: proceeds below bound"
UNUSABLE = "exchange: price not usable"
TINY = 200  # what a debt may lose to one unit of rounding at its index, token units


def sell(
    world: World, account: int, units: int, *, out: int = 0, least: int = 0, asset: int = ETH
) -> int:
    """Swaps through the venue as the owner; returns the proceeds."""
    receipt = world.clearinghouse.swap(
        account, world.venue, asset, out, units, least, sender=world.owner
    )
    return int(receipt.return_value)


def price_the_pair(world: World) -> None:
    """The venue trades the two collaterals for each other too, at the oracle's prices."""
    eth, btc = world.tokens["ETH"], world.tokens["BTC"]
    ratio = world.price_wad("ETH") * WAD // world.price_wad("BTC")
    world.venue.set_price(eth, btc, ratio, 3_000, sender=world.governor)
    world.venue.set_price(btc, eth, WAD * WAD // ratio, 3_000, sender=world.governor)


def test_swap__collateral_for_cash__stores_words_and_measures_the_proceeds(world: World) -> None:
    account, house = world.account(), world.clearinghouse
    world.deposit(account, "ETH", 10**18)
    total = house.supply_word(ETH) & LOW_128
    receipt = house.swap(account, world.venue, ETH, 0, 4 * 10**17, 0, sender=world.owner)
    out = 800 * 10**6 * 997 // 1_000
    assert receipt.return_value == out
    assert house.position_word(account, ETH) == 6 * 10**17
    assert house.account_word(account) == out * UNIT
    assert house.supply_word(ETH) & LOW_128 == total - 4 * 10**17
    args = args_of(house, receipt, "Swapped")
    assert tuple(args) == (
        account,
        ETH,
        0,
        world.venue.address,
        4 * 10**17,
        out,
        6 * 10**17,
        out * UNIT,
    )


def test_swap__cash_for_collateral__borrows_what_is_not_there(world: World) -> None:
    account, house = world.account(), world.clearinghouse
    world.deposit(account, "ETH", 10 * 10**18)
    world.deposit(account, QUOTE, 1_000 * 10**6)
    bought = sell(world, account, 3_000 * 10**6, asset=0, out=BTC)
    assert bought == 10**7 * 997 // 1_000 - 1, "the inverse of a price is rounded down"
    assert house.position_word(account, BTC) == bought * 10**10
    assert house.account_word(account) & LOW_128 == 0
    assert 2_000 * 10**6 <= debt_units(world, account) <= 2_000 * 10**6 + TINY
    assert house.listed_word(account) == ETH | BTC << 8 | 2 << 128


def test_swap__collateral_for_collateral__changes_both_positions_and_totals(world: World) -> None:
    price_the_pair(world)
    account, house = world.account(), world.clearinghouse
    world.deposit(account, "ETH", 15 * 10**18)
    totals = [house.supply_word(asset) & LOW_128 for asset in (ETH, BTC)]
    receipt = house.swap(account, world.venue, ETH, BTC, 15 * 10**18, 0, sender=world.owner)
    assert house.position_word(account, ETH) == 0
    assert house.position_word(account, BTC) == receipt.return_value * 10**10
    assert house.listed_word(account) == BTC | 1 << 128
    assert [house.supply_word(asset) & LOW_128 for asset in (ETH, BTC)] == [
        totals[0] - 15 * 10**18,
        totals[1] + receipt.return_value * 10**10,
    ]
    args = args_of(house, receipt, "Swapped")
    assert (args.word_in, args.word_out) == (0, house.position_word(account, BTC))


@pytest.mark.parametrize("units", [10**17, 3 * 10**18, 4 * 10**18])
def test_swap__with_debt__repays_whichever_way_the_money_goes(world: World, units: int) -> None:
    """Small proceeds go straight to the vault, large ones by way of the ledger: one result."""
    account, house = world.open_account(leverage=2), world.clearinghouse
    vault = world.system.vault
    owed, lent = debt_units(world, account), world.quote.balanceOf(vault)
    receipt = house.swap(account, world.venue, ETH, 0, units, 0, sender=world.owner)
    out = int(receipt.return_value)
    assert owed - out <= debt_units(world, account) <= owed - out + TINY
    assert world.quote.balanceOf(vault) == lent + out
    assert args_of(house, receipt, "Swapped").word_out == house.account_word(account)
    assert house.account_word(account) & LOW_128 == 0


def test_swap__proceeds_above_the_debt__clear_it(world: World) -> None:
    account = world.open_account(leverage=2)
    sell(world, account, 8 * 10**18)
    word = world.clearinghouse.account_word(account)
    assert word >> 128 == 0 and word > 5_000 * WAD


def test_swap__venue_that_brings_more_than_is_owed__loses_nothing(world: World) -> None:
    """T38: what went straight to the vault cannot stay there; less of it, and it goes through."""
    account = world.open_account(leverage=2)
    owed = debt_units(world, account)
    world.set_venue_price("ETH", to_wad(3_000), fee_ppm=0)
    before = world.clearinghouse.words_of(account)
    with reverts("vault: more than is owed"):
        sell(world, account, 35 * 10**17)
    assert world.clearinghouse.words_of(account) == before
    assert sell(world, account, 3 * 10**18) == 9_000 * 10**6
    assert owed - 9_000 * 10**6 <= debt_units(world, account) <= owed - 9_000 * 10**6 + TINY


def test_swap__price_at_the_limit__is_the_worst_accepted(world: World) -> None:
    """I29: one unit below the oracle's value less the limit and the swap cannot be made."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.set_venue_price("ETH", to_wad(1_980), fee_ppm=0)
    with world.isolated():
        assert sell(world, account, 10**18) == 1_980 * 10**6
    world.set_venue_price("ETH", to_wad("1979.999999"), fee_ppm=0)
    with reverts("venue: too little out"):
        sell(world, account, 10**18)


def test_swap__adapter_that_pays_less_than_told__is_caught_by_the_balance(world: World) -> None:
    """T38: what an adapter returns is not believed."""
    account = world.account()
    liar = world.chain.deploy("LyingAdapter", world.quote, sender=world.governor)
    world.system.allow_adapter(liar)
    world.fund(liar.address, QUOTE, 10**12)
    world.deposit(account, "ETH", 10**18)
    liar.set_payment(1_980 * 10**6 - 1, sender=world.governor)
    with reverts(BELOW):
        world.clearinghouse.swap(account, liar, ETH, 0, 10**18, 0, sender=world.owner)
    liar.set_payment(0, sender=world.governor)
    with reverts(BELOW):
        world.clearinghouse.swap(account, liar, ETH, 0, 10**18, 0, sender=world.owner)
    liar.set_payment(1_980 * 10**6, sender=world.governor)
    receipt = world.clearinghouse.swap(account, liar, ETH, 0, 10**18, 0, sender=world.owner)
    assert receipt.return_value == 1_980 * 10**6
    assert world.clearinghouse.picture_of(account)[0] == 1_980 * WAD


def test_swap__own_least_above_the_oracle_bound__binds(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    out = 2_000 * 10**6 * 997 // 1_000
    with reverts("venue: too little out"):
        sell(world, account, 10**18, least=out + 1)
    assert sell(world, account, 10**18, least=out) == out


def test_swap__adapter_that_is_not_allowed__is_refused(world: World) -> None:
    """T38: from the moment the governor forbids it."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    other = world.chain.deploy("MockVenue", sender=world.attacker)
    for adapter in (other, world.stranger, world.quote, world.clearinghouse):
        with reverts("exchange: adapter not allowed"):
            world.clearinghouse.swap(account, adapter, ETH, 0, 1, 0, sender=world.owner)
    world.system.listings.set_adapter(world.venue, False, sender=world.governor)
    with reverts("exchange: adapter not allowed"):
        sell(world, account, 1)


@pytest.mark.parametrize(
    ("asset", "out", "units", "reason"),
    [
        (ETH, ETH, 1, "swaps: same asset"),
        (0, 0, 1, "swaps: same asset"),
        (ETH, 0, 0, "ledger: zero amount"),
        (0, ETH, 0, "ledger: zero amount"),
        (ETH, 0, 10**18 + 1, "ledger: balance too low"),
        (BTC, 0, 1, "ledger: balance too low"),
        (ETH, 0, 2**120, "ledger: amount too large"),
        (0, ETH, 2**120, "ledger: amount too large"),
    ],
)
def test_swap__assets_or_amount_out_of_range__are_refused(
    world: World, asset: int, out: int, units: int, reason: str
) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    with reverts(reason):
        sell(world, account, units, asset=asset, out=out)


@pytest.mark.parametrize(("asset", "out"), [(3, 0), (0, 3), (ETH, 3), (3, ETH), (256, 0)])
def test_swap__asset_not_listed__is_refused(world: World, asset: int, out: int) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.deposit(account, QUOTE, 10**6)
    with reverts():
        sell(world, account, 1, asset=asset, out=out)


def test_swap__by_a_stranger__is_refused(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    for who in (world.attacker, world.governor):
        with reverts("operators: not permitted"):
            world.clearinghouse.swap(account, world.venue, ETH, 0, 1, 0, sender=who)


def test_swap__of_a_stale_asset__is_refused_either_way(world: World) -> None:
    """T19, I29: a price that bounds nothing bounds no swap."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.deposit(account, QUOTE, 10**9)
    world.make_stale("ETH")
    for asset, out in ((ETH, 0), (0, ETH), (ETH, BTC)):
        with reverts(UNUSABLE):
            sell(world, account, 10**6, asset=asset, out=out)
    assert sell(world, account, 10**8, asset=0, out=BTC) > 0


def test_swap__of_a_paused_asset__is_open_either_way(world: World) -> None:
    """A pause lets a price back no increase; what is swapped is bounded by it as ever."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.deposit(account, QUOTE, 10**9)
    world.system.oracle.set_pause(ETH, world.chain.time + 86_400, sender=world.governor)
    assert sell(world, account, 10**17) > 0
    assert sell(world, account, 10**8, asset=0, out=ETH) > 0


def test_swap__sale_below_initial_margin__is_open(world: World) -> None:
    """Selling what is held lowers risk: always allowed, and both excesses rise."""
    account = world.open_account(leverage=3)
    world.set_price("ETH", 1_650)
    before = world.clearinghouse.assess(account)
    assert excess_init(world, account) < 0
    with world.chain.one_block():
        sell(world, account, 5 * 10**18)
    after = world.clearinghouse.assess(account)
    assert after[0] - after[1] > before[0] - before[1]
    assert after[2] - after[3] > before[2] - before[3]


def test_swap__purchase_below_initial_margin__is_refused(world: World) -> None:
    price_the_pair(world)
    account = world.open_account(leverage=3)
    world.set_price("ETH", 1_650)
    for asset, out, units in ((0, BTC, 10**6), (0, ETH, 10**6), (ETH, BTC, 10**18)):
        with reverts("margin: initial margin short"):
            sell(world, account, units, asset=asset, out=out)


def test_swap__cash_not_there_beyond_margin__is_refused(world: World) -> None:
    account = world.account()
    world.deposit(account, QUOTE, 10**9)
    most = 5 * 10**9
    with reverts("margin: initial margin short"):
        sell(world, account, most, asset=0, out=ETH)
    sell(world, account, 3 * 10**9, asset=0, out=ETH)
    assert excess_init(world, account) > 0


def test_swap__purchase_over_the_supply_cap__is_refused(world: World) -> None:
    """I28."""
    account = world.account()
    world.deposit(account, QUOTE, 10**9)
    world.deposit(account, "ETH", 10**18)
    world.system.listings.set_asset_limits(ETH, 0, 100, sender=world.governor)
    with reverts("collaterals: supply cap reached"):
        sell(world, account, 10**6, asset=0, out=ETH)
    assert sell(world, account, 10**18) > 0


def test_swap__limit_of_a_pair__is_the_wider_of_the_two(world: World) -> None:
    price_the_pair(world)
    account = world.account()
    world.deposit(account, "ETH", 10 * 10**18)
    listings = world.system.listings
    listings.set_asset_limits(ETH, 500_000 * WAD, 0, sender=world.governor)
    with reverts("venue: too little out"):
        sell(world, account, 10**18)
    assert sell(world, account, 10**18, out=BTC) > 0
    listings.set_asset_limits(BTC, 25_000 * WAD, 0, sender=world.governor)
    with reverts("venue: too little out"):
        sell(world, account, 10**18, out=BTC)
    world.set_venue_price("ETH", fee_ppm=0)
    assert sell(world, account, 10**18) == 2_000 * 10**6


def test_swap__amount_worth_less_than_a_unit__needs_a_whole_unit(world: World) -> None:
    """The bound is rounded up, so dust cannot leave for nothing."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    with reverts("venue: too little out"):
        sell(world, account, 1)
    assert world.clearinghouse.position_word(account, ETH) == 10**18


def test_swap__full_asset_list__sells_and_does_not_buy_new(wide_world: World) -> None:
    """I27: a full list never stands in the way of an exit."""
    world, account = wide_world, wide_world.account()
    for name in world.names:
        world.deposit(account, name, 10 ** world.decimals(name))
    assert world.clearinghouse.listed_word(account) >> 128 & 255 == 16
    sell(world, account, 10**18, asset=world.asset("ETH"))
    assert world.clearinghouse.listed_word(account) >> 128 & 255 == 15
