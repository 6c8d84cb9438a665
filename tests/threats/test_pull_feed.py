"""A feed whose prices somebody brings, and chooses when: what two fees do not cover.

A known limit (docs/security.md), with its measure. The fee counts on rounds that come by themselves
once the price has moved by the feed's threshold. Whoever brings prices may hold two that are
further apart, as far as a price moves within the age that the oracle believes.
"""

from __future__ import annotations

import pytest

from ballast.model.margin import BPS, WAD
from tests.perps_kit import open_desk
from tests.support.world import World


@pytest.mark.parametrize("move_bps", [100, 400])
def test_round_trip__two_prices_brought_in_one_block__gains_what_two_fees_do_not_cover(
    world: World, move_bps: int
) -> None:
    """T30: a market stands on such a feed only if its fee covers what a price does within that
    age."""
    desk = open_desk(world)
    desk.calm()
    trader = desk.trader()
    before = desk.assess(trader).equity_maint
    feed, governor, price = world.feeds["ETH"], world.governor, 2_000 * 10**8
    with world.chain.one_block():
        now = world.chain.time
        feed.set_round(price, now - 20, sender=governor)
        desk.trade(trader, WAD)
        feed.set_round(price + price * move_bps // BPS, now - 10, sender=governor)
        desk.trade(trader, -WAD)
    gain = desk.assess(trader).equity_maint - before
    moved = 2_000 * WAD * move_bps // BPS
    fee = int(desk.perps.quote(1, trader, WAD)[2])
    assert abs(gain - (moved - 2 * 2_000 * WAD * fee // 10**6)) < 2 * WAD
    assert (gain > 0) == (move_bps == 400)
