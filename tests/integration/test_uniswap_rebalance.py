"""A rebalance through a real Uniswap V3 pool misses its target by the cost misjudged, no more."""

from __future__ import annotations

import pytest

from ballast.deploy import WAD
from ballast.model.margin import BPS, div_up
from tests.threats.test_sandwich import PRICE, Market, market  # noqa: F401

TARGET_BPS = 13_000


@pytest.mark.parametrize("cost_bps", [30, 37, 45, 60])
@pytest.mark.parametrize("fall_bps", [0, 200, 500, 900])
def test_rebalance__through_uniswap__misses_the_target_by_the_cost_misjudged(
    market: Market,  # noqa: F811
    cost_bps: int,
    fall_bps: int,
) -> None:
    """|E_init - t R_init| <= size x |realised - estimated cost|, and a few token units."""
    world = market.world
    account = market.account
    adapter = world.rebalancer.policy_of(account).adapter
    policy = (12_000, 0, 0, False, [], [(1, cost_bps, 0)], adapter, 0, 0)
    world.rebalancer.set_policy(account, policy, sender=world.owner)
    while market.pool.answer() > PRICE * (BPS - fall_bps) // BPS * 10**8:
        market.trade(True, 100 * 10**18)
    world.set_price("ETH", market.pool.answer() // 10**8)

    receipt = world.mandates.rebalance(account, sender=world.keeper)
    (step,) = (e.args for e in world.rebalancer.events(receipt, "StepTaken"))
    (swap,) = world.clearinghouse.events(receipt, "Swapped")
    realised = step.value - swap.args.amount_out * world.unit_wad("USD")

    equity, required, _, _ = world.clearinghouse.assess(account)
    missed = equity - div_up(required * TARGET_BPS, BPS)
    few_units = 4 * world.unit_wad("USD") + 10**6
    assert realised > 0 and step.value > 10_000 * WAD
    assert abs(missed - (step.expected_cost - realised)) <= few_units
    assert abs(missed) <= abs(realised - step.expected_cost) + few_units
