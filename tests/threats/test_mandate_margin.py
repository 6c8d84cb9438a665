"""A mandate must not be a way around the margin test of the owner's own actions.

An owner may write the hook himself. What `withdraw`, `transfer` and `swap` refuse, because a price
is too old or was made in this very block, must not be had by moving through a mandate.
"""

from __future__ import annotations

from ballast.chain import Reverted
from ballast.deploy import WAD
from tests.conftest import reverts
from tests.support.hooks import deploy_hook, hand_over, must, play
from tests.support.world import World


def test_swap__round_trips_while_other_collateral_is_stale__refused(wide_world: World) -> None:
    """T19, A4: own hook and own venue must not wear down what is left beside a dead price.

    At the dead price the account passes every test; at what the collateral may really be worth each
    round trip is the lenders' loss. The owner's own swap of one asset for another is refused.
    """
    world = wide_world
    account = world.open_account(
        leverage="1.8", mix={"ETH": 1, "BTC": 1}, owner=world.attacker, equity=120_000
    )
    hook = deploy_hook(world)
    hand_over(world, account, hook, (20_000, 10_000, 100, 0, 0, 0))
    world.make_stale("BTC")
    third = "A03"
    eth, other = world.asset("ETH"), world.asset(third)
    token, ether = world.tokens[third], world.tokens["ETH"]
    ratio = world.price_wad("ETH") * WAD // world.price_wad(third)
    world.venue.set_price(ether, token, ratio, 9_000, sender=world.attacker)
    world.venue.set_price(token, ether, WAD * WAD // ratio, 9_000, sender=world.attacker)
    amount = world.units("ETH", 40)
    with reverts("margin: price not usable"):
        world.clearinghouse.swap(account, world.venue, eth, other, amount, 0, sender=world.attacker)
    trips = []
    for _ in range(5):
        got = int(world.venue.quote(ether, token, amount))
        trips.append(must(world.mandates, "swap", world.venue, eth, other, amount, 0))
        trips.append(must(world.mandates, "swap", world.venue, other, eth, got, 0))
        amount = int(world.venue.quote(token, ether, got))
    with reverts("margin: price not usable"):
        play(world, hook, account, *trips)


def test_move__donor_in_debt_with_live_prices__works(world: World) -> None:
    """T41: what a withdrawal may take a mandate may move, down to the initial margin."""
    donor = world.open_account(leverage=2, sub=1, owner=world.attacker, equity=20_000)
    account = world.account(0, world.attacker)
    hook = deploy_hook(world)
    hand_over(world, account, hook)
    hand_over(world, donor, None, (10_000, 1, 0, 10_000, 0, 0), None)
    most = 0
    for units in range(1, 20):
        with world.isolated():
            try:
                world.clearinghouse.withdraw(
                    donor, 1, units * WAD, world.attacker, sender=world.attacker
                )
            except Reverted as error:
                assert error.reason == "margin: initial margin short"
                break
            most = units
    play(world, hook, account, must(world.mandates, "move", donor, 1, most * WAD))
    assert world.clearinghouse.position_word(account, 1) == most * WAD > 0
    with reverts("margin: initial margin short"):
        world.clearinghouse.withdraw(donor, 1, WAD, world.attacker, sender=world.attacker)
