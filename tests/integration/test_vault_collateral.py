"""Collateral that earns: shares of vaults under a loan, from the deposit to a rebalance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import pytest

from ballast.deploy import WAD, load_parameters
from ballast.model.margin import BPS, div_up
from ballast.venue import deploy_venue, deploy_weth
from tests.clearing_kit import UNIT, action, args_of, debt_units, excess_init
from tests.conftest import reverts
from tests.liquidation_kit import open_floor
from tests.shares_kit import (
    DAY_S,
    ETHER_SHARES,
    GROWTH_WAD,
    LENDERS_SHARES,
    SHARES,
    checkpoint,
    give,
    quote_units,
    redeem,
    shares_world,
    take_away,
)
from tests.support.world import QUOTE, ZERO_ADDRESS, VaultSpec, World, build_world

SWAP, SELL, TRIM_STEP = 5, 4, 6
TRIM = 2  # of a policy's actions
TARGET_BPS = 13_000
REFUSED = "rebalancer: every step refused"


@pytest.fixture
def world() -> Iterator[World]:
    """A world that lists shares."""
    shared = shares_world()
    with shared.isolated():
        yield shared


def saver(
    world: World,
    *,
    shares: int = 30_000,
    ether: int = 5,
    debt: int = 33_000,
    sales: Mapping[str, int] | None = None,
) -> int:
    """Shares of a dollar vault and ether under a loan, enrolled to sell the shares for nothing."""
    account = world.account()
    world.deposit(account, SHARES, world.units(SHARES, shares))
    world.deposit(account, "ETH", world.units("ETH", ether))
    world.borrow(account, quote_units(world, debt))
    world.enrol(account, sales=sales or {SHARES: 0}, adapter=world.share_adapter)
    return account


def ether_saver(world: World) -> int:
    """Shares of an ether vault under a loan, enrolled to sell them at 30 bp."""
    account = world.account()
    world.deposit(account, ETHER_SHARES, world.units(ETHER_SHARES, 10))
    world.borrow(account, quote_units(world, 12_000))
    world.enrol(account, sales={ETHER_SHARES: 30}, adapter=world.share_adapter)
    return account


def missed(world: World, account: int) -> int:
    """Equity beyond the target."""
    equity, required, _, _ = world.clearinghouse.assess(account)
    return int(equity) - div_up(required * TARGET_BPS, BPS)


def renew_feed(world: World) -> None:
    """The governor takes a gift into the price: a feed that starts from the rate of now.

    The oracle takes it if it is within 1% of the one before.
    """
    terms, oracle = load_parameters()["shares"], world.system.oracle
    feed = world.chain.deploy(
        *("VaultFeed", world.tokens[SHARES], world.feeds[QUOTE], GROWTH_WAD, False),
        sender=world.governor,
    )
    band = (terms["band_low_log2"], terms["band_high_log2"])
    asset, stated = world.asset(SHARES), world.price_wad(SHARES)
    oracle.set_feed(asset, feed, terms["heartbeat_s"], *band, stated, sender=world.governor)


# ---- it earns


def test_collateral__of_shares__earns_while_it_protects(world: World) -> None:
    """A month at 5% a year, none of which the loan's interest is part of."""
    account = world.account()
    world.deposit(account, SHARES, world.units(SHARES, 10_000))
    before = world.clearinghouse.assess(account)[0]
    for _ in range(30):
        world.wait(DAY_S)
        checkpoint(world, SHARES)
    earned = world.clearinghouse.assess(account)[0] / before - 1
    assert earned == pytest.approx(0.05 * 30 / 365, rel=0.01)


# ---- shares of a vault of the quote token


@pytest.mark.parametrize("fall_bps", [200, 300, 400])
def test_rebalance__shares_of_a_dollar_vault__reaches_the_target_for_nothing(
    world: World, fall_bps: int
) -> None:
    account = saver(world)
    world.set_price("ETH", 2_000 * (BPS - fall_bps) // BPS, is_poked=False)
    with world.isolated():
        world.chain.advance(12)
        before = world.clearinghouse.assess(account)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    told = args_of(world.mandates, receipt, "Rebalanced")
    assert told.equity_before < told.required_before * 10_500 // BPS
    (step,) = (e.args for e in world.rebalancer.events(receipt, "StepTaken"))
    assert (step.kind, step.asset, step.expected_cost) == (SELL, world.asset(SHARES), 0)
    swapped = args_of(world.clearinghouse, receipt, "Swapped")
    assert swapped.adapter == world.share_adapter.address
    # An answer has eight decimals and the proceeds are whole units.
    gained = swapped.amount_out * UNIT - step.value
    assert -UNIT < gained <= step.value // 10**7
    assert told.loss == 0
    assert world.clearinghouse.assess(account)[2] > before[2] - 3 * UNIT
    assert -3 * UNIT <= missed(world, account) <= 3 * UNIT + gained
    assert world.tokens[SHARES].balanceOf(world.share_adapter) == 0
    assert world.quote.balanceOf(world.share_adapter) == 0


@pytest.mark.parametrize(("quote_decimals", "offset"), [(6, 6), (6, 12), (8, 0), (8, 10), (18, 0)])
def test_rebalance__shares_of_any_decimals__reaches_the_target(
    quote_decimals: int, offset: int
) -> None:
    vaults = {SHARES: VaultSpec(decimals_offset=offset)}
    world = build_world(quote_decimals=quote_decimals, vaults=vaults)
    account = saver(world)
    world.set_price("ETH", 1_940, is_poked=False)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    (step,) = (e.args for e in world.rebalancer.events(receipt, "StepTaken"))
    unit = max(world.unit_wad(QUOTE), world.unit_wad(SHARES))
    assert args_of(world.mandates, receipt, "Rebalanced").loss == 0
    assert -3 * unit <= missed(world, account) <= 3 * unit + step.value // 10**7


def test_rebalance__shares_under_a_perpetual__are_sold_before_it_is_trimmed(world: World) -> None:
    """Collateral that earns is margin for a long; selling it is free where trimming costs a fee."""
    floor = open_floor(world)
    account = world.account()
    world.deposit(account, SHARES, world.units(SHARES, 10_000))
    floor.trade(account, 14 * WAD)
    world.enrol(account, sales={SHARES: 0}, adapter=world.share_adapter, actions=TRIM)
    world.set_price("ETH", 1_920, is_poked=False)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    told = [e.args for e in world.rebalancer.events(receipt, "StepTaken")]
    assert [step.kind for step in told] == [SELL, TRIM_STEP]
    assert told[0].expected_cost == 0 < told[1].expected_cost
    assert world.clearinghouse.position_word(account, world.asset(SHARES)) == 0
    assert missed(world, account) >= -3 * UNIT


def test_rebalance__shares_and_ether__one_adapter_sells_both(world: World) -> None:
    """First the shares, which cost nothing, then ether through the venue behind the adapter."""
    account = saver(world, shares=5_000, ether=10, debt=18_500, sales={"ETH": 30, SHARES: 0})
    world.set_price("ETH", 1_900, is_poked=False)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    told = [e.args for e in world.rebalancer.events(receipt, "StepTaken")]
    assert [step.asset for step in told] == [world.asset(SHARES), world.asset("ETH")]
    assert world.clearinghouse.position_word(account, world.asset(SHARES)) == 0
    assert -4 * UNIT <= missed(world, account) <= 4 * UNIT + told[0].value // 10**6
    # 30 bp of the ether sold, nothing of the shares.
    loss = args_of(world.mandates, receipt, "Rebalanced").loss
    assert loss == pytest.approx(told[1].value * 30 // BPS, rel=10**-3)


def test_rebalance__vault_worth_more_than_the_bound__keeps_the_owners_band(world: World) -> None:
    """
    After a gift shares bring more than they count for. Within the band that is the owner's gain;
    beyond it the mandate ends above its target and is refused, whoever the giver was.
    """
    account = saver(world)
    world.set_price("ETH", 1_940, is_poked=False)
    held = int(world.tokens[SHARES].totalAssets())
    with world.isolated():
        give(world, SHARES, held // 200)
        receipt = world.mandates.rebalance(account, sender=world.keeper)
        assert args_of(world.mandates, receipt, "Rebalanced").loss == 0
        assert missed(world, account) > 0
    give(world, SHARES, held // 25)
    with reverts("mandates: above target and band"):
        world.mandates.rebalance(account, sender=world.keeper)
    # Too much for a new feed to take in.
    with world.isolated(), reverts("oracle: price too far off"):
        renew_feed(world)
    # The owner is not bound by his hook's band.
    units = world.clearinghouse.position_word(account, world.asset(SHARES)) // UNIT
    world.clearinghouse.swap(
        account, world.share_adapter, world.asset(SHARES), 0, units // 2, 0, sender=world.owner
    )
    assert excess_init(world, account) > 0


def test_set_feed__vault_worth_more_than_the_bound__counts_what_was_given(world: World) -> None:
    """T25: as far as two sound feeds may differ."""
    account = saver(world)
    before = world.clearinghouse.assess(account)[0]
    give(world, SHARES, int(world.tokens[SHARES].totalAssets()) * 9 // 1_000)
    assert world.clearinghouse.assess(account)[0] < before + 30_000 * WAD // 1_000
    renew_feed(world)
    assert world.clearinghouse.assess(account)[0] > before + 30_000 * WAD * 85 // 10_000


def test_swap__cash_for_shares__borrows_and_deposits(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", world.units("ETH", 10))
    asset = world.asset(SHARES)
    bought = world.clearinghouse.swap(
        account, world.share_adapter, 0, asset, quote_units(world, 5_000), 0, sender=world.owner
    ).return_value
    assert world.clearinghouse.position_word(account, asset) == bought * UNIT
    assert bought * world.price_wad(SHARES) <= 5_000 * WAD * UNIT <= 5_001 * WAD * UNIT
    assert debt_units(world, account) >= quote_units(world, 5_000)


def test_swap__vault_fell_below_what_was_bought__is_refused(world: World) -> None:
    """A vault that gives fewer shares than the price says, beyond the limit of the listing."""
    account = world.account()
    world.deposit(account, QUOTE, quote_units(world, 5_000))
    asset = world.asset(SHARES)
    give(world, SHARES, int(world.tokens[SHARES].totalAssets()) // 50)
    with reverts("vault adapter: too little out"):
        world.clearinghouse.swap(
            account, world.share_adapter, 0, asset, 10**9, 0, sender=world.owner
        )


# ---- shares of a volatile vault


@pytest.mark.parametrize("price", [1_900, 1_800, 1_700])
def test_rebalance__shares_of_an_ether_vault__reaches_the_target_at_the_venues_cost(
    world: World, price: int
) -> None:
    """Redeemed for ether, which is sold onward, in one step of the default hook."""
    account = ether_saver(world)
    world.set_price("ETH", price)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    (step,) = (e.args for e in world.rebalancer.events(receipt, "StepTaken"))
    loss = args_of(world.mandates, receipt, "Rebalanced").loss
    assert loss == pytest.approx(step.expected_cost, rel=10**-4)
    # The feed's rate lags by the blocks since; what it is short of counts as a gain of the sale.
    assert -3 * UNIT <= missed(world, account) <= 3 * UNIT + step.value // 10**6
    for token in (world.tokens[ETHER_SHARES], world.tokens["ETH"], world.quote):
        assert token.balanceOf(world.share_adapter) == 0


def test_rebalance__shares_of_an_ether_vault__through_a_real_pool(world: World) -> None:
    """A Uniswap adapter that takes the share adapter for its exchange sells the ether."""
    account = ether_saver(world)
    chain, governor, ether = world.chain, world.governor, world.tokens["ETH"]
    venue = deploy_venue(
        *(chain, deploy_weth(chain, governor), world.quote, {"ETH": ether}),
        {"ETH": 1_800 * 10**8},
        sender=governor,
    )
    onward = chain.deploy(
        *("UniswapV3Adapter", world.share_adapter, venue.factory, governor), sender=governor
    )
    onward.set_fee_tier(ether, world.quote, 3_000, sender=governor)
    world.share_adapter.set_onward(onward, sender=governor)
    assert world.share_adapter.cost_ppm(world.tokens[ETHER_SHARES], world.quote) == 3_000
    world.set_price("ETH", 1_800)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    (step,) = (e.args for e in world.rebalancer.events(receipt, "StepTaken"))
    loss = args_of(world.mandates, receipt, "Rebalanced").loss
    assert step.expected_cost < loss < step.expected_cost * 11 // 10, "the pool's price moved"
    assert abs(missed(world, account)) <= loss - step.expected_cost + 4 * UNIT
    for token in (world.tokens[ETHER_SHARES], ether, world.quote):
        assert token.balanceOf(world.share_adapter) == token.balanceOf(onward) == 0
        assert token.allowance(onward, venue.router) == 0


def test_rebalance__ether_vault_and_nobody_to_sell_on__is_refused(world: World) -> None:
    """Ether is not cash: the adapter alone cannot help the default hook."""
    account = ether_saver(world)
    world.share_adapter.set_onward(ZERO_ADDRESS, sender=world.governor)
    world.set_price("ETH", 1_800)
    before = world.clearinghouse.words_of(account)
    with reverts(REFUSED):
        world.mandates.rebalance(account, sender=world.keeper)
    assert world.clearinghouse.words_of(account) == before


def test_batch__ether_vault_and_nobody_to_sell_on__owner_goes_by_way_of_ether(
    world: World,
) -> None:
    """Two swaps in one batch, tested once at its end."""
    account = ether_saver(world)
    world.share_adapter.set_onward(ZERO_ADDRESS, sender=world.governor)
    shares, ether = world.asset(ETHER_SHARES), world.asset("ETH")
    owed = debt_units(world, account)
    world.clearinghouse.batch(
        [
            action(
                SWAP,
                account,
                asset=shares,
                asset_out=ether,
                amount=2 * WAD,
                target=world.share_adapter,
            ),
            action(SWAP, account, asset=ether, asset_out=0, amount=2 * WAD, target=world.venue),
        ],
        sender=world.owner,
    )
    assert world.clearinghouse.position_word(account, shares) == 8 * WAD
    assert world.clearinghouse.position_word(account, ether) < 10**14, "what the vault earned"
    assert debt_units(world, account) <= owed - 2 * 2_000 * 10**6 * 997 // 1_000 + 2


# ---- a loss of the vault


def test_loss__of_the_collateral_vault__counts_at_once_and_is_liquidated_in_place(
    world: World,
) -> None:
    """The taker gets shares, not what they are redeemed for."""
    floor = open_floor(world)
    account = world.account()
    world.deposit(account, SHARES, world.units(SHARES, 10_000))
    world.borrow(account, quote_units(world, 8_500))
    taker = floor.taker()
    with reverts("liquidator: account is healthy"):
        floor.liquidate(account, taker)
    take_away(world, SHARES, 1_200)
    held = world.tokens[SHARES].balanceOf(world.clearinghouse)
    floor.liquidate(account, taker)
    asset = world.asset(SHARES)
    taken = world.clearinghouse.position_word(taker, asset)
    assert taken > 0 and world.tokens[SHARES].balanceOf(world.clearinghouse) == held
    assert taken + world.clearinghouse.position_word(account, asset) == 10_000 * WAD


# ---- shares of Ballast's own lending vault


def lender_account(world: World, shares: int = 10_000, debt: int = 8_000) -> int:
    """Shares of the lending vault under a loan of that very vault."""
    account = world.account()
    world.deposit(account, LENDERS_SHARES, world.units(LENDERS_SHARES, shares))
    if debt:
        world.borrow(account, quote_units(world, debt))
    return account


def test_lending_vault_shares__in_a_swap__are_at_a_limit_of_nothing(world: World) -> None:
    """It lets nobody in or out while the clearing house is at work, and its limits say so."""
    account = lender_account(world)
    asset, adapter = world.asset(LENDERS_SHARES), world.share_adapter
    with reverts("vault adapter: redemption limit"):
        world.clearinghouse.swap(account, adapter, asset, 0, 10**12, 0, sender=world.owner)
    with reverts("vault adapter: deposit limit"):
        world.clearinghouse.swap(account, adapter, 0, asset, 10**6, 0, sender=world.owner)
    world.enrol(
        account, sales={LENDERS_SHARES: 0}, adapter=adapter, trigger_bps=29_000, target_bps=30_000
    )
    with reverts(REFUSED):
        world.mandates.rebalance(account, sender=world.keeper)


def test_lending_vault_shares__of_too_many_decimals__are_not_listed() -> None:
    """They have six more than the quote token, and the ledger takes 18 at most."""
    with reverts("listings: decimals not 2 to 18"):
        build_world(quote_decimals=18, vaults={LENDERS_SHARES: VaultSpec(is_lending_vault=True)})


def test_lending_vault_shares__outside_of_a_call__leave_and_are_redeemed(world: World) -> None:
    account = lender_account(world)
    units = world.units(LENDERS_SHARES, 100)
    world.clearinghouse.withdraw(
        account, world.asset(LENDERS_SHARES), units, world.owner, sender=world.owner
    )
    paid = redeem(world, LENDERS_SHARES, units, world.owner)
    assert paid == pytest.approx(quote_units(world, 100), abs=2)
    world.quote.approve(world.clearinghouse, paid, sender=world.owner)
    owed = debt_units(world, account)
    world.clearinghouse.repay(account, paid, sender=world.owner)
    assert debt_units(world, account) == pytest.approx(owed - paid, abs=2)


def test_lending_vault_shares__account_that_fails__are_taken_in_place(world: World) -> None:
    """A liquidation needs no exit of the vault; the taker redeems when the house is idle."""
    floor = open_floor(world)
    account = lender_account(world, debt=0)
    world.deposit(account, "ETH", world.units("ETH", 5))
    world.borrow(account, quote_units(world, 15_000))
    taker = floor.taker()
    floor.sink(account)
    before = debt_units(world, account)
    floor.liquidate(account, taker)
    asset = world.asset(LENDERS_SHARES)
    taken = world.clearinghouse.position_word(taker, asset) // world.unit_wad(LENDERS_SHARES)
    assert taken > 0 and debt_units(world, account) < before
    taker_owner = world.owner_of(taker)
    world.clearinghouse.withdraw(taker, asset, taken, taker_owner, sender=taker_owner)
    paid = redeem(world, LENDERS_SHARES, taken, taker_owner)
    worth = Decimal(taken * world.price_wad(LENDERS_SHARES)) / 10**24
    assert paid == pytest.approx(int(worth), rel=10**-5)
