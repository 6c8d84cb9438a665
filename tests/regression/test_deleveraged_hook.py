"""The turn of a hook whose account lost a hedge to a deleveraging.

Two slips. The deleverager asked for the rebalance in its own name, so what the hook paid for the
call went to an account of the deleverager's, from which nobody ever withdraws. And it looked for
less gas than a mandate of a large account needs: by sending just so much its caller could have the
hook fail for want of gas, and the account go on without its hedge. Found in review;
T24, T57, A9.
"""

from __future__ import annotations

from ballast.chain import Reverted
from ballast.model.margin import WAD
from tests.perps_kit import ETH
from tests.support.world import World
from tests.unit.test_deleverager import calls, hedge_desk, hooked
from tests.unit.test_risk_oracle import BURNS, SOUND


def test_adl__hook_that_pays__pays_whoever_called(world: World) -> None:
    """T57"""
    desk, hedger, _ = hedge_desk(world, bitcoin=70_000)
    hook = hooked(desk, hedger)
    units = 500_000
    world.mandates.arm_budget((10 * WAD, 1, 10 * WAD), sender=world.owner)
    script = [(world.mandates.address, world.mandates.pay.encode(hedger, units))]
    hook.set_script(script, sender=world.governor)
    deleverager = world.system.deleverager
    receipt = deleverager.adl(hedger, ETH, WAD, sender=world.keeper)
    assert calls(world, receipt) == [(hedger, True)]
    assert desk.cash(world.account(0, world.keeper)) == units * 10**12
    assert desk.cash(world.account(0, deleverager.address)) == 0


def test_adl__any_gas__gives_the_hook_of_a_large_account_its_turn(wide_world: World) -> None:
    """T24: either the call is refused, or the hook had all of its gas, whatever the feeds cost."""
    world = wide_world
    desk, hedger, _ = hedge_desk(world, bitcoin=70_000)
    for name in world.names[2:]:
        world.deposit(hedger, name, world.units(name, "0.01"))
        _make_costly(world, name)
    hooked(desk, hedger)
    low, high = 6_000_000, 12_000_000
    seen = set()
    while high - low > 20_000:
        gas = (low + high) // 2
        with world.isolated():
            try:
                receipt = world.system.deleverager.adl(
                    hedger, ETH, WAD, sender=world.keeper, gas=gas
                )
            except Reverted as error:
                assert error.reason == "deleverager: gas too low"
                low = gas
            else:
                assert calls(world, receipt) == [(hedger, True)], gas
                seen.add(gas)
                high = gas
    assert seen


def _make_costly(world: World, name: str) -> None:
    """The asset's feed burns all the gas that it is given from now on."""
    oracle, asset = world.system.oracle, world.asset(name)
    _, digits, heartbeat_s, low_log2, high_log2 = oracle.feed_of(asset)
    feed = world.chain.deploy("BadFeed", digits, sender=world.governor)
    answer = world.feeds[name].latestRoundData()[1]
    feed.set_newest([1, answer, world.chain.time, world.chain.time, 1], sender=world.governor)
    oracle.set_feed(
        *(asset, feed, heartbeat_s, low_log2, high_log2, world.price_wad(name)),
        sender=world.governor,
    )
    feed.set_modes(BURNS, SOUND, sender=world.governor)
