"""T24: whoever pays for a call may choose its gas, and that must not choose its outcome.

Every captured call (a feed, a hook, a sale) could be starved into looking like a failure. At each
gas limit a call either reverts or does exactly what it does with plenty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ballast.chain import Receipt, Reverted
from tests.support.hooks import deploy_hook, hand_over
from tests.support.world import QUOTE, WAD, ZERO_ADDRESS, World, build_world, many_assets

PLENTY = 16_000_000
HOOK_GAS = 6_000_000  # what a hook is given, all of it or nothing
MAX_STEPS = 8
ETH = 10**18

Send = Callable[[int], Receipt]


def _state(world: World, accounts: list[int]) -> tuple[Any, ...]:
    """All words of some accounts."""
    house = world.clearinghouse
    return tuple(
        (house.account_word(a), house.listed_word(a), house.position_word(a, i))
        for a in accounts
        for i in (1, 2)
    )


def _outcomes(world: World, send: Send, accounts: list[int], limits: range) -> tuple[int, int]:
    """How many of the limits reverted and how many did the same as plenty; fails for any other."""
    with world.isolated():
        events = [(log.address, log.topics, log.data) for log in send(PLENTY).logs]
        expected = _state(world, accounts)
    assert events
    reverted, same = 0, 0
    for limit in limits:
        with world.isolated():
            try:
                receipt = send(limit)
            except Reverted:
                reverted += 1
                continue
            assert _state(world, accounts) == expected, f"at {limit} gas"
            assert [(log.address, log.topics, log.data) for log in receipt.logs] == events
            same += 1
    return reverted, same


def test_withdraw__any_gas_limit__reverts_or_is_the_same(world: World) -> None:
    """A borrow reads feeds by captured calls; a starved feed must not look like a dead one."""
    account = world.open_account(leverage=2, mix={"ETH": 1, "BTC": 1})
    units = world.units(QUOTE, 500)

    def send(gas: int) -> Receipt:
        return world.clearinghouse.withdraw(
            account, 0, units, world.lender, sender=world.owner, gas=gas
        )

    reverted, same = _outcomes(world, send, [account], range(30_000, 330_000, 1_500))
    assert reverted > 20
    assert same > 20


def test_poke__any_gas_limit__reverts_or_is_the_same(world: World) -> None:
    """A starved feed would leave volatility unsampled and the price marked as stale."""
    world.chain.advance(600)
    world.feeds["ETH"].set_answer(1_900 * 10**8, sender=world.governor)

    def send(gas: int) -> Receipt:
        return world.system.oracle.poke([1, 2], sender=world.keeper, gas=gas)

    reverted, same = _outcomes(world, send, [], range(30_000, 330_000, 1_500))
    assert reverted > 20
    assert same > 20


@pytest.mark.parametrize("has_donor", [False, True])
def test_rebalance__any_gas_limit__reverts_or_is_the_same(world: World, has_donor: bool) -> None:
    """A starved sale would look refused, and another asset would be sold in its place."""
    account = world.open_account(leverage=3, mix={"ETH": 1, "BTC": 1})
    donor = world.account(1)
    if has_donor:
        world.deposit(donor, "ETH", ETH // 10)
        world.deposit(donor, QUOTE, world.units(QUOTE, 50))
        world.make_donor(donor, floor_bps=10_000)
    world.enrol(account, donors=[1] if has_donor else (), sales={"ETH": 30, "BTC": 31})
    world.set_price("ETH", 1_600)
    world.set_price("BTC", 26_000)

    def send(gas: int) -> Receipt:
        return world.mandates.rebalance(account, sender=world.keeper, gas=gas)

    reverted, same = _outcomes(
        world, send, [account, donor], range(HOOK_GAS - 100_000, HOOK_GAS + 1_400_000, 7_500)
    )
    assert reverted > 20
    assert same > 20


def test_rebalance__hook_that_captures_calls__cannot_be_starved(world: World) -> None:
    """A hook that survives a failed sale goes on to a second one; no gas limit may choose between.

    A sale that runs out of gas leaves a 64th of it, and the judgement needs far more than that.
    """
    account = world.open_account(leverage=3, equity=12_500)
    hook = deploy_hook(world)
    hand_over(world, account, hook, (20_000, 300, 100, 0, 0, 0))
    sales = [
        (world.mandates.address, world.mandates.swap.encode(world.venue, 1, 0, units, 0), False)
        for units in (2 * ETH, ETH // 2)
    ]
    hook.set_script(sales, sender=world.attacker)

    def send(gas: int) -> Receipt:
        return world.mandates.rebalance(account, sender=world.keeper, gas=gas)

    reverted, same = _outcomes(
        world, send, [account], range(HOOK_GAS - 300_000, HOOK_GAS + 2_000_000, 12_000)
    )
    assert reverted > 20
    assert same > 20


def test_rebalance__largest_account_and_dear_feeds__fits_a_mandate() -> None:
    """T48, I47: full lists, four donors and feeds as dear as those in production.

    Three donors are at their floors with a little cash, the fourth gives eight times. None of the
    donors' lists is the account's, so their marks are not fixed yet and each look reads 16 feeds. A
    hook that needs more than its gas leaves such an account without any help.
    """
    world = build_world(many_assets(17))
    own, others = world.names[:15], world.names[1:]
    account, donors = world.account(), [world.account(sub) for sub in (1, 2, 3, 4)]
    for name in own:
        _deposit_value(world, account, name, 10_000)
    world.borrow(account, world.units(QUOTE, 104_000))
    for donor in donors:
        for name in others:
            _deposit_value(world, donor, name, 1_000)
        world.deposit(donor, QUOTE, world.units(QUOTE, 1))
    for name in world.names:
        _make_dear(world, name)
    for donor, floor_bps in zip(donors, (60_000, 60_000, 60_000, 13_000), strict=True):
        guard = (13_000, 300, 100, floor_bps, 0, 0)
        world.mandates.set_guard(donor, ZERO_ADDRESS, guard, sender=world.owner)
    world.enrol(account, donors=[1, 2, 3, 4], trigger_bps=19_000, target_bps=20_000)
    world.refresh()
    assert len(world.rebalancer.plan(account).steps) == MAX_STEPS
    world.chain.cool()
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    assert len(world.rebalancer.events(receipt, "StepTaken")) == MAX_STEPS
    assert receipt.gas_used < HOOK_GAS


def _deposit_value(world: World, account: int, name: str, value: int) -> None:
    units = value * WAD * WAD // (world.price_wad(name) * world.unit_wad(name))
    world.deposit(account, name, units)


def _make_dear(world: World, name: str) -> None:
    """The asset's feed costs 6,000 gas a reading from now on."""
    oracle, asset = world.system.oracle, world.asset(name)
    _, _, heartbeat_s, low_log2, high_log2 = oracle.feed_of(asset)
    dear = world.chain.deploy("DearFeed", world.feeds[name], sender=world.governor)
    oracle.set_feed(
        *(asset, dear, heartbeat_s, low_log2, high_log2, world.price_wad(name)),
        sender=world.governor,
    )
