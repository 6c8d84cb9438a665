"""The desk that tests of perpetuals trade at: what it reads is what the contracts hold."""

from __future__ import annotations

from ballast.model.margin import WAD, Position
from tests.perps_kit import open_desk
from tests.support.world import World


def test_desk__after_trades__reads_what_the_contracts_hold(world: World) -> None:
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    for account, change, name in ((trader, 3 * WAD, "ETH"), (other, -WAD, "BTC")):
        fill = desk.predicted(account, change, name)
        receipt = desk.trade(account, change, name)
        assert receipt.return_value == fill.price_wad
        assert desk.held(account, name) == Position(0, change, fill.cost_change, fill.entry_wad)
        assert desk.funding(name).touched_at == receipt.time
    assert desk.skew() == 3 * WAD and desk.skew("BTC") == -WAD
    assert desk.slot(trader) == (True, True) and desk.slot(trader, "BTC") == (False, False)
    desk.check()
    with desk.refused("perps: nothing to reduce"):
        desk.trade(trader, WAD, reduce_only=True)
