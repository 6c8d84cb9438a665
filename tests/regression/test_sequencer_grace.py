"""The hour after an outage of a rollup's sequencer belonged to liquidators.

Prices count as stale then, so that nobody opens anything on them: hooks could not sell and owners
could not reduce. The liquidator, for which a stale price is the last good one, went on. What was
meant to give owners time took it from them alone. Now an account that has half of what maintenance
requires is left to its owner while the uptime feed tells of an outage, and for the hour after; one
that has less endangers lenders and is not. An uptime feed that is broken tells of none, or it would
end liquidation for good. Found in review; T22.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from ballast.chain import Contract
from tests.conftest import reverts
from tests.governance_kit import watch_sequencer
from tests.liquidation_kit import Floor, open_floor
from tests.support.world import QUOTE, World, build_world

GRACE_S = 3_600
OWNERS_FIRST = "liquidator: owners first"
UP, DOWN = 0, 1


@lru_cache(maxsize=1)
def _rollup() -> tuple[World, Contract]:
    world = build_world()
    return world, watch_sequencer(world)


@pytest.fixture
def uptime() -> Iterator[Contract]:
    """The uptime feed of a world on a rollup."""
    world, feed = _rollup()
    with world.isolated():
        yield feed


@pytest.fixture
def sunk(uptime: Contract) -> tuple[Floor, int, int]:
    """A floor, an account just below maintenance and a taker."""
    floor = open_floor(_rollup()[0])
    victim, taker = floor.world.open_account("2.5"), floor.taker()
    floor.sink(victim)
    return floor, victim, taker


def tell(uptime: Contract, answer: int, ago_s: int = 0) -> None:
    world = _rollup()[0]
    uptime.set_round(answer, world.chain.time - ago_s, sender=world.governor)


def test_liquidate__outage_and_the_hour_after__owners_first(
    uptime: Contract, sunk: tuple[Floor, int, int]
) -> None:
    """T22"""
    floor, victim, taker = sunk
    tell(uptime, DOWN, ago_s=7_200)
    with reverts(OWNERS_FIRST):
        floor.liquidate(victim, taker)
    tell(uptime, UP)
    floor.world.wait(GRACE_S - 300)
    with reverts(OWNERS_FIRST):
        floor.liquidate(victim, taker)
    with floor.world.isolated():
        floor.world.fund(floor.world.owner, QUOTE, 10**9)
        floor.world.clearinghouse.repay(victim, 10**9, sender=floor.world.owner)
        floor.world.wait(600)
        with reverts("liquidator: account is healthy"):
            floor.liquidate(victim, taker)
    floor.world.wait(600)
    assert floor.liquidate(victim, taker).return_value != 0


def test_liquidate__outage_and_less_than_half_is_left__goes_on(
    uptime: Contract, sunk: tuple[Floor, int, int]
) -> None:
    """T22, T09: lenders do not wait for an owner who has little to lose."""
    floor, victim, taker = sunk
    while 2 * floor.assess(victim).equity_maint >= floor.assess(victim).required_maint:
        floor.drop(floor.world.price_wad("ETH") // 10**18 - 10)
    tell(uptime, UP)
    assert floor.liquidate(victim, taker).return_value != 0


def test_liquidate__uptime_feed_broken__goes_on(
    uptime: Contract, sunk: tuple[Floor, int, int]
) -> None:
    """T22, T23: it stops what it has to, and ends nothing."""
    floor, victim, taker = sunk
    tell(uptime, 7)
    assert floor.liquidate(victim, taker).return_value != 0
