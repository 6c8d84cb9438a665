"""An allocation through real Uniswap V3 pools: one asset for another, and cash for an asset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from ballast.chain import Contract
from ballast.model.margin import BPS
from ballast.prices import ANSWER_SCALE
from ballast.venue import deploy_venue, deploy_weth
from tests.support.allocations import (
    BUY,
    MAY_RERISK,
    SWAP,
    enrol,
    exposure,
    kinds_taken,
    price_of,
    rebalance,
    value,
    wish,
)
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, WAD, World

ETH = 1
FEE_PPM = 3_000
POOL_SIDE = 20_000_000  # quote tokens' worth


@pytest.fixture
def world() -> Iterator[World]:
    """The shared world, and what a test does to it undone."""
    shared = shared_world()
    with shared.isolated():
        yield shared


def pool_adapter(world: World, against: str, names: Mapping[str, int]) -> Contract:
    """An adapter of pools of each named asset against another one, at its answer in that one."""
    governor, tokens = world.governor, world.tokens
    depth = POOL_SIDE * WAD // price_of(world, against)
    venue = deploy_venue(
        world.chain,
        deploy_weth(world.chain, governor),
        tokens[against],
        {name: tokens[name] for name in names},
        dict(names),
        sender=governor,
        fee_ppm=FEE_PPM,
        depth=depth,
    )
    adapter = world.chain.deploy(
        "UniswapV3Adapter", world.system.exchange, venue.factory, governor, sender=governor
    )
    for name in names:
        adapter.set_fee_tier(tokens[name], tokens[against], FEE_PPM, sender=governor)
    world.system.allow_adapter(adapter)
    return adapter


@pytest.mark.parametrize("leverage", [1, 2])
def test_drift__through_a_pool_of_two_volatile_assets__swaps_one_for_the_other(
    world: World, leverage: int
) -> None:
    """What was 75 to 25 of ETH and BTC becomes 60 to 40, less what the slippage leaves open."""
    answer = price_of(world, "ETH") * ANSWER_SCALE // price_of(world, "BTC")
    adapter = pool_adapter(world, "BTC", {"ETH": answer})
    account = world.open_account(leverage=leverage, mix={"ETH": 3, "BTC": 1})
    wish(world, account, drift_bps=500, weights={"ETH": 6_000, "BTC": 4_000})
    enrol(world, account, sales={"ETH": 30, "BTC": 30}, adapter=adapter)
    before = {name: value(world, account, name) for name in ("ETH", "BTC")}
    assert kinds_taken(world, rebalance(world, account)) == [(SWAP, ETH)]

    after = {name: value(world, account, name) for name in ("ETH", "BTC")}
    lost = sum(before.values()) - sum(after.values())
    sold = before["ETH"] - after["ETH"]
    assert 0 < lost * 10**6 <= sold * (FEE_PPM + 1_000), "the pool's fee and a little impact"
    share_bps = after["ETH"] * BPS // sum(after.values())
    assert 6_000 <= share_bps <= 6_040
    world.wait(12)
    assert world.rebalancer.plan(account).code != 0


def test_ceiling__through_a_pool__buys_what_has_a_weight(world: World) -> None:
    """Cash becomes ether up to its weight, at most, and the account stays above its ceiling."""
    answer = price_of(world, "ETH") * ANSWER_SCALE // price_of(world, QUOTE)
    adapter = pool_adapter(world, QUOTE, {"ETH": answer})
    account = world.account()
    world.deposit(account, "ETH", world.units("ETH", 1))
    world.deposit(account, QUOTE, world.units(QUOTE, 20_000))
    wish(world, account, ceiling_bps=20_000, drift_bps=500, weights={"ETH": 3_000})
    enrol(world, account, actions=MAY_RERISK, sales={"ETH": 30}, adapter=adapter)
    assert kinds_taken(world, rebalance(world, account)) == [(BUY, 0)]

    equity, required, _, _ = world.clearinghouse.assess(account)
    assert equity * BPS >= 20_000 * required
    assert 2_900 * equity <= exposure(world, account, "ETH") * BPS <= 3_000 * equity
