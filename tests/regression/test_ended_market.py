"""What a market that has ended is worth until everybody's turn.

After the latch of a wind-down a position is worth its result at the latched price, whatever its
feed says. Until an account had its turn the ledger went on at the newest price, and three things
followed from that. A long latched at 2,000 was liquidated at 1,500: whoever took it at that price
had it closed at 2,000 a moment later. A long that the market had lifted since was paid a gain that
the latch had already denied it. And liquidity providers came and went at a value of the house that
counted such gains and losses. Found in review; T32, T51, A16.
"""

from __future__ import annotations

from ballast.model.margin import WAD
from tests.conftest import reverts
from tests.liquidation_kit import Floor, open_floor
from tests.perps_kit import ETH
from tests.support.world import QUOTE, World
from tests.unit.test_wind_down import announce, close_market, let_notice_pass, wind_down

NOT_YET = "liquidator: wind it down first"


def ended_floor(world: World, size: int = 8, cash: int = 5_000) -> tuple[Floor, int]:
    """A long whose market was latched at 2,000, and who had no turn yet."""
    floor = open_floor(world)
    long = floor.trader(cash=cash)
    floor.trade(long, size * WAD)
    close_market(floor)
    announce(floor)
    let_notice_pass(floor)
    wind_down(floor)
    return floor, long


def test_liquidate__market_that_ended__only_after_its_turn(world: World) -> None:
    """T32, T51: nobody buys at the newest price what will be closed at the latched one."""
    floor, long = ended_floor(world)
    taker = floor.taker()
    floor.sink(long)
    with reverts(NOT_YET):
        floor.liquidate(long, taker)
    wind_down(floor, long)
    assert floor.cash(long) > 4_000 * WAD, "it lost a fee and no more"
    with reverts("liquidator: account is healthy"):
        floor.liquidate(long, taker)


def test_liquidate__unpaid_result_of_a_market_that_ended__goes_on(world: World) -> None:
    """T65: what is left of a position that had its turn stands in nobody's way."""
    floor = open_floor(world)
    loser, debtor = floor.trader(cash=5_000), world.open_account("2.5", sub=1)
    floor.trade(loser, 8 * WAD)
    floor.trade(debtor, WAD // 10)
    world.set_price("ETH", 1_990)
    close_market(floor)
    announce(floor)
    let_notice_pass(floor)
    wind_down(floor, loser, debtor)
    floor.sink(debtor)
    assert floor.liquidate(debtor, floor.taker()).return_value != 0


def test_settle__market_that_ended__pays_no_gain_since(world: World) -> None:
    """T32: an open position gets its result with its turn, and nothing before."""
    floor, long = ended_floor(world)
    world.set_price("ETH", 2_500)
    floor.calm()
    assert floor.settle(long) == 0
    with world.isolated():
        wind_down(floor, long)
        paid = floor.cash(long)
    assert paid < 5_000 * WAD
    wind_down(floor, long)
    assert floor.cash(long) == paid


def test_fulfil__market_that_ended__waits_until_it_is_wound_down(world: World) -> None:
    """A16: no shares are priced with results that will never be."""
    floor, long = ended_floor(world)
    vault = world.system.liquidity_vault
    world.fund(world.lender, QUOTE, 10**9)
    world.quote.approve(vault, 10**9, sender=world.lender)
    epoch = vault.requestDeposit(
        10**9, world.lender, world.lender, sender=world.lender
    ).return_value
    world.wait(2 * 3_600)
    with reverts("liquidity: no later round"):
        vault.fulfil_deposits(epoch, sender=world.keeper)
    wind_down(floor, long)
    vault.fulfil_deposits(epoch, sender=world.keeper)


def test_largest_trade__market_that_ended__is_none(world: World) -> None:
    """T10: the view said that the position could be closed by a trade, which is refused."""
    floor, long = ended_floor(world)
    lens = world.system.lens
    assert lens.largest_trade(long, ETH, False) == lens.largest_trade(long, ETH, True) == 0
    with reverts("perps: market wound down"):
        floor.trade(long, -WAD)
