"""Results become cash: gains from what the house has, losses from what a loser can bear."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import pytest

from ballast.model.margin import WAD, Position, result_wad
from tests.clearing_kit import UNIT, args_of, debt_units
from tests.conftest import reverts
from tests.perps_kit import BTC, ETH, STEP, Desk, open_desk
from tests.support.world import QUOTE, World

NO_GAIN = "perpetuals: no gain"
SHORT = "margin: initial margin short"
FUNDING_WAD = WAD // 100  # more than any test below pays in funding


def free_desk(world: World, house_cash: int = 10**7) -> Desk:
    """A desk without fees whose house backs ETH and BTC alike."""
    desk = open_desk(world, house_cash)
    for name in ("ETH", "BTC"):
        desk.make_free(name)
    return desk


def poor_desk(world: World, *, cash: int = 10**6) -> tuple[Desk, int, int]:
    """A house with 30,000 dollars and all of it behind ETH: a long of 20, a short of 10 at 2,000.

    At 5,000 the long has won 60,000, the short lost 30,000 and the house the rest, all it has.
    """
    desk = free_desk(world, 30_000)
    desk.back_only("ETH")
    long, short = desk.trader(cash=cash), desk.trader(1, cash=cash)
    desk.trade(long, 20 * WAD)
    desk.trade(short, -10 * WAD)
    return desk, long, short


# ---- gains


def test_settle__gain__is_paid_to_the_wei_from_the_cash_of_the_house(world: World) -> None:
    desk = free_desk(world)
    trader = desk.trader()
    desk.trade(trader, 3 * WAD + STEP)
    world.set_price("ETH", "2100.00000007")
    before, cash, house = desk.held(trader), desk.cash(trader), desk.cash(desk.house)
    expected = result_wad(before, desk.mark(now=desk.next_time))
    receipt = desk.perps.settle(trader, ETH, [], sender=world.keeper)
    moved = receipt.return_value
    assert moved == expected > 299 * WAD
    assert desk.held(trader) == replace(before, cost_wad=before.cost_wad + moved)
    assert (desk.cash(trader), desk.cash(desk.house)) == (cash + moved, house - moved)
    assert desk.cash(trader) % UNIT != 0, "cash below a token unit"
    settled = args_of(world.clearinghouse, receipt, "Settled")
    ledger = world.clearinghouse
    assert tuple(settled) == (
        trader,
        ETH,
        moved,
        desk.held(trader).cost_word,
        ledger.account_word(desk.house),  # it pays
        ledger.account_word(trader),
    )
    assert abs(desk.result(trader)) < FUNDING_WAD
    desk.check()


def test_settle__gain__counts_for_maintenance_before_and_for_initial_after(world: World) -> None:
    """And moves no equity: a settlement is no gain of anybody's."""
    desk = free_desk(world)
    trader = desk.trader()
    desk.trade(trader, 10 * WAD)
    world.set_price("ETH", 2_200)
    before, house = desk.assess(trader), desk.assess(desk.house)
    moved = desk.settle(trader)
    after = desk.assess(trader)
    assert 0 <= before.equity_maint - after.equity_maint < FUNDING_WAD
    assert 0 <= before.equity_init + moved - after.equity_init < FUNDING_WAD
    assert (after.required_init, after.required_maint) == (
        before.required_init,
        before.required_maint,
    )
    assert 0 <= desk.assess(desk.house).equity_maint - house.equity_maint < FUNDING_WAD


def test_settle__house_short_of_cash__pays_what_it_has_and_the_rest_later(world: World) -> None:
    desk, long, _ = poor_desk(world)
    world.set_price("ETH", 5_000)
    gain = desk.result(long)
    assert desk.settle(long) == 30_000 * WAD
    assert desk.cash(desk.house) == 0
    assert desk.settle(long) == 0
    desk.fund_house(1_000)
    assert desk.settle(long) == 1_000 * WAD
    assert 0 <= gain - 31_000 * WAD - desk.result(long) < FUNDING_WAD
    desk.fund_house(10**6)
    assert 0 <= gain - 31_000 * WAD - desk.settle(long) < FUNDING_WAD
    assert desk.slot(long) == (True, True)
    desk.check()


def test_close__house_short_of_cash__leaves_the_gain_listed_until_it_is_paid(world: World) -> None:
    """I27: size and entry are gone, the unpaid cost keeps its place; paying it needs no price."""
    desk, long, _ = poor_desk(world)
    world.set_price("ETH", 5_000)
    desk.trade(long, -20 * WAD)
    owed = -desk.held(long).cost_wad
    assert desk.held(long) == Position(0, 0, -owed, 0)
    assert owed > 29_000 * WAD and desk.cash(desk.house) == 0
    assert desk.slot(long) == (True, True)
    assert desk.assess(long).equity_maint == desk.cash(long) + owed
    assert desk.assess(long).equity_init == desk.cash(long)
    desk.fund_house(1)
    assert desk.settle(long) == WAD
    desk.fund_house(10**6)
    world.make_stale("ETH")
    assert desk.settle(long) == owed - WAD
    assert desk.slot(long) == (False, False)
    assert world.clearinghouse.cost_word(long, ETH) == 0
    assert desk.settle(long) == 0
    desk.check()


def test_trade__beside_an_unpaid_gain__goes_on_with_its_cost(world: World) -> None:
    """A new position in the same market takes the unpaid rest over."""
    desk, long, _ = poor_desk(world)
    world.set_price("ETH", 5_000)
    desk.trade(long, -20 * WAD)
    rest = desk.held(long).cost_wad
    assert rest < 0
    desk.fund_house(10**6)
    desk.calm()
    fill = desk.predicted(long, WAD)
    desk.trade(long, WAD)
    assert desk.held(long) == Position(0, WAD, rest + fill.cost_change, fill.entry_wad)
    desk.check()


def test_settle__price_of_this_block__pays_the_lesser_of_two_results(world: World) -> None:
    desk = free_desk(world)
    long, short = desk.trader(), desk.trader(1)
    desk.trade(long, 10 * WAD)
    desk.trade(short, -10 * WAD)
    world.set_price("ETH", 2_100)
    at_2100 = desk.result(long)
    for newest in (2_300, 2_150):
        with world.isolated(), world.chain.one_block():
            world.feeds["ETH"].set_answer(newest * 10**8, sender=world.governor)
            assert 0 <= at_2100 - desk.settle(long) < FUNDING_WAD
    with world.isolated(), world.chain.one_block():
        world.feeds["ETH"].set_answer(2_050 * 10**8, sender=world.governor)
        assert 0 <= at_2100 - 500 * WAD - desk.settle(long) < FUNDING_WAD
    with world.isolated(), world.chain.one_block():
        world.feeds["ETH"].set_answer(1_900 * 10**8, sender=world.governor)
        assert desk.settle(short) == 0, "it wins at the newest and lost at the one before"
        with reverts(NO_GAIN):
            desk.settle(long)


def test_settle__price_not_to_be_relied_on__is_refused(world: World) -> None:
    """A gain is not paid out on a price that must not back an increase."""
    desk = free_desk(world)
    trader = desk.trader()
    desk.trade(trader, 10 * WAD)
    world.set_price("ETH", 2_100)
    with world.isolated():
        world.set_price(QUOTE, "1.04")
        with desk.refused("perps: price not usable"):
            desk.settle(trader)
    world.make_stale("ETH")
    with desk.refused("perps: price not usable"):
        desk.settle(trader)


def test_settle__gain_of_a_debtor__repays_whole_units_first(world: World) -> None:
    """I22: and less than a unit stays as cash."""
    desk = free_desk(world)
    trader = world.open_account(leverage=2)
    desk.trade(trader, WAD // 10 + STEP, "BTC")
    world.set_price("BTC", "31000.00000013")
    owed, idle = debt_units(world, trader), world.system.vault.state().idle
    moved = desk.settle(trader, "BTC")
    paid = owed - debt_units(world, trader)
    assert moved % UNIT != 0 and moved > 99 * WAD
    assert -2 <= paid - moved // UNIT <= 0, "interest of a block and a rounding"
    assert world.system.vault.state().idle - idle == moved // UNIT
    assert desk.cash(trader) == moved % UNIT
    desk.check()


def test_settle__gain_beyond_a_debt__clears_it_and_stays_as_cash(world: World) -> None:
    desk = free_desk(world)
    trader = world.open_account(leverage="1.01")
    desk.trade(trader, WAD // 10, "BTC")
    world.set_price("BTC", 33_000)
    owed = debt_units(world, trader)
    assert 0 < owed < 200 * 10**6
    moved = desk.settle(trader, "BTC")
    assert desk.debt_shares(trader) == 0
    assert 0 <= moved - owed * UNIT - desk.cash(trader) < 2 * UNIT
    desk.check()


# ---- losses


def test_settle__loss_of_an_open_position__is_refused(world: World) -> None:
    """A20: it would force a loan on its owner for nothing."""
    desk = free_desk(world)
    trader = desk.trader()
    desk.trade(trader, 10 * WAD)
    with desk.refused(NO_GAIN):
        desk.settle(trader)  # impact alone
    world.set_price("ETH", 1_900)
    with desk.refused(NO_GAIN):
        desk.settle(trader)
    with desk.refused(NO_GAIN):
        desk.settle(trader, losers=[(trader, ETH)])


def test_settle__nothing_there__moves_nothing(world: World) -> None:
    desk = free_desk(world)
    trader = desk.trader()
    before = desk.books()
    for name in ("ETH", "BTC"):
        assert desk.settle(trader, name) == 0
    assert desk.books() == before


def in_a_callback(desk: Desk, data: bytes) -> None:
    """A hook that calls perps while its mandate is under way."""
    world = desk.world
    account = world.open_account(leverage=1, sub=3)
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    hook.set_script([(desk.perps.address, data)], sender=world.governor)
    world.mandates.set_guard(account, hook, (13_000, 300, 100, 0, 0, 0), sender=world.owner)
    world.mandates.arm_budget((WAD, 1, WAD), sender=world.owner)
    world.mandates.rebalance(account, sender=world.keeper)


def test_perps__while_a_call_is_under_way__is_closed(world: World) -> None:
    """I42: neither trades nor settlements, refreshes nor funding inside a mandate."""
    desk = free_desk(world)
    trader = desk.trader()
    desk.trade(trader, 10 * WAD)
    world.set_price("ETH", 2_100)
    for reason, data in (
        ("perps: clearinghouse busy", desk.perps.refresh.encode()),
        ("perps: clearinghouse busy", desk.perps.accrue.encode(ETH)),
        ("perps: clearinghouse busy", desk.perps.settle.encode(trader, ETH, [])),
        ("perps: only mandates", desk.perps.settle_in_mandate.encode(trader, ETH)),
        ("clearinghouse: busy", desk.perps.trade.encode(trader, ETH, WAD, 2**255, 2**40, False)),
    ):
        with world.isolated(), reverts(reason):
            in_a_callback(desk, data)


@pytest.mark.parametrize("sign", [1, -1])
def test_close__loss__is_taken_from_cash(world: World, sign: int) -> None:
    desk = free_desk(world)
    trader = desk.trader()
    desk.trade(trader, sign * 10 * WAD)
    world.set_price("ETH", 2_000 - sign * 100)
    cash, house = desk.cash(trader), desk.cash(desk.house)
    desk.trade(trader, -sign * 10 * WAD)
    lost = cash - desk.cash(trader)
    # Both prices stand by (skew + dq / 2) / depth = 5 millionths from the index.
    assert abs(lost - (1_000 * WAD + sign * WAD // 200)) < WAD // 1_000
    assert desk.cash(desk.house) == house + lost
    assert desk.slot(trader) == (False, False) and desk.debt_shares(trader) == 0
    desk.check()


def losing_account(world: World, desk: Desk, *, cash: int, bitcoin: str = "1") -> int:
    """An account with a bitcoin and some cash, long 100 ETH, that has lost 30,000 on them."""
    trader = desk.trader(cash=cash)
    world.deposit(trader, "BTC", world.units("BTC", bitcoin))
    desk.trade(trader, 100 * WAD)
    return trader


def test_close__loss_beyond_cash__is_lent_in_whole_units_rounded_up(world: World) -> None:
    desk = free_desk(world)
    trader = losing_account(world, desk, cash=10_000, bitcoin="3")
    world.set_price("ETH", "1700.00000003")
    cash, idle = desk.cash(trader), world.system.vault.state().idle
    house = desk.cash(desk.house)
    desk.trade(trader, -100 * WAD)
    lost = desk.cash(desk.house) - house
    borrowed = idle - world.system.vault.state().idle
    assert 30_000 * WAD < lost < 30_030 * WAD
    assert borrowed == ceil(Fraction(lost - cash, UNIT))
    assert desk.cash(trader) == cash + borrowed * UNIT - lost < UNIT
    assert debt_units(world, trader) in (borrowed, borrowed + 1)
    assert desk.slot(trader) == (False, False)
    desk.check()


def test_close__loss_beyond_equity__is_not_lent(world: World) -> None:
    """Lenders never pay for a loss that an account cannot bear: what it owes beyond its own equity
    stays with the house, the other side of the trade."""
    desk = free_desk(world)
    trader = losing_account(world, desk, cash=40_000, bitcoin="1")
    world.set_price("ETH", 1_200)
    worth = desk.cash(trader) + 30_000 * WAD
    house = desk.cash(desk.house)
    desk.trade(trader, -100 * WAD)
    paid = desk.cash(desk.house) - house
    rest = desk.held(trader).cost_wad
    assert paid == worth
    assert 10_000 * WAD <= rest < 10_030 * WAD
    assert debt_units(world, trader) * UNIT <= 30_000 * WAD + UNIT
    assert desk.slot(trader) == (True, True)
    without_the_rest = desk.assess(trader).equity_init + rest
    assert without_the_rest >= -2 * UNIT, "it owes no more than it has"
    assert desk.held(desk.house).cost_wad == -rest
    desk.check()


def test_close__vault_has_little_left__is_lent_what_there_is(world: World) -> None:
    desk = free_desk(world)
    trader = losing_account(world, desk, cash=10_000, bitcoin="3")
    borrower = world.open_account(leverage=2, equity=30_000_000, sub=2)
    most = world.system.vault.max_loan() - 5_000 * 10**6
    world.deposit(borrower, "BTC", world.units("BTC", 20_000))
    world.borrow(borrower, most)
    world.set_price("ETH", 1_700)
    lendable = world.system.vault.max_loan()
    assert 4_900 * 10**6 < lendable < 5_100 * 10**6
    cash, house = desk.cash(trader), desk.cash(desk.house)
    desk.trade(trader, -100 * WAD)
    assert abs(desk.cash(desk.house) - house - cash - lendable * UNIT) < 2 * WAD, "interest"
    assert desk.held(trader).size_wad == 0 and desk.held(trader).cost_wad > 15_000 * WAD
    desk.check()


def test_settle__unpaid_loss_of_a_closed_position__is_collected_from_cash_by_anyone(
    world: World,
) -> None:
    """As far as its own cash reaches and with no loan: nobody can put it into debt."""
    desk = free_desk(world)
    trader = desk.trader(cash=60_000)
    desk.trade(trader, 100 * WAD)
    world.set_price("ETH", 1_300)
    desk.trade(trader, -100 * WAD)
    rest = desk.held(trader).cost_wad
    assert desk.cash(trader) == 0 and 10_000 * WAD < rest < 10_030 * WAD
    assert desk.settle(trader) == 0
    world.deposit(trader, "BTC", 10**8)
    assert desk.settle(trader) == 0, "equity alone is no reason for a loan"
    world.deposit(trader, QUOTE, 7 * 10**6)
    with desk.refused(SHORT):
        world.clearinghouse.withdraw(trader, BTC, 10**8, world.owner, sender=world.owner)
    world.make_stale("ETH")
    assert desk.settle(trader) == -7 * WAD
    assert desk.held(trader).cost_wad == rest - 7 * WAD
    world.deposit(trader, QUOTE, 20_000 * 10**6)
    house = desk.cash(desk.house)
    assert desk.settle(trader) == -(rest - 7 * WAD)
    assert desk.cash(desk.house) == house + rest - 7 * WAD
    assert desk.slot(trader) == (False, False) and desk.debt_shares(trader) == 0
    desk.check()


def test_unpaid_loss__counts_against_its_owner_until_it_is_paid(world: World) -> None:
    """It cannot be walked away from: what comes in later stands under it."""
    desk = free_desk(world)
    trader = desk.trader(cash=60_000)
    desk.trade(trader, 100 * WAD)
    world.set_price("ETH", 1_300)
    desk.trade(trader, -100 * WAD)
    rest = desk.held(trader).cost_wad
    world.deposit(trader, QUOTE, 11_000 * 10**6)
    free = (11_000 * WAD - rest) // UNIT
    with desk.refused(SHORT):
        world.borrow(trader, free + 1)
    world.borrow(trader, free)
    assert desk.settle(trader) == -rest
    assert desk.cash(trader) < UNIT


# ---- losers


def test_settle__winner_needs_more_than_the_house_has__losers_pay_just_that(world: World) -> None:
    """A20: the first loser pays, and only for what is needed."""
    desk, long, short = poor_desk(world)
    world.set_price("ETH", 3_600)
    gain, cash = desk.result(long), desk.cash(short)
    assert 31_000 * WAD < gain < 32_000 * WAD
    moved = desk.settle(long, losers=[(short, ETH)])
    assert 0 <= gain - moved < FUNDING_WAD
    assert desk.cash(short) == cash - (moved - 30_000 * WAD)
    assert desk.cash(desk.house) == 0
    assert desk.held(short).size_wad == -10 * WAD and desk.debt_shares(short) == 0
    before = desk.cash(short)
    world.set_price("ETH", 3_590)
    with desk.refused(NO_GAIN):
        desk.settle(long, losers=[(short, ETH)])
    assert desk.cash(short) == before
    desk.check()


def test_settle__house_with_enough__leaves_losers_alone(world: World) -> None:
    desk, long, short = poor_desk(world)
    world.set_price("ETH", 3_000)
    held, cash = desk.held(short), desk.cash(short)
    assert desk.result(short) < -9_000 * WAD
    assert 19_000 * WAD < desk.settle(long, losers=[(short, ETH)]) < 30_000 * WAD
    assert (desk.held(short), desk.cash(short)) == (held, cash)


def test_settle__several_losers__each_in_turn_until_it_is_enough(world: World) -> None:
    """Of any market; who has nothing to pay is passed over."""
    desk, long, short = poor_desk(world)
    desk.set_terms("ETH", weight_bps=5_000)
    desk.set_terms("BTC", weight_bps=5_000)
    desk.fund_house(10**6)
    desk.refresh()
    second, idle = desk.trader(2), desk.trader(3)
    desk.trade(second, WAD, "BTC")
    rich = desk.trader(owner=world.other_owner)
    desk.trade(rich, 400 * WAD)
    world.set_price("BTC", 25_000)
    world.set_price("ETH", 5_000)
    desk.settle(rich)
    assert desk.cash(desk.house) == 0
    gain, lost = desk.result(long), desk.result(short)
    other = desk.cash(second)
    losers = [(idle, ETH), (long, ETH), (short, ETH), (second, BTC), (short, BTC)]
    moved = desk.settle(long, losers=losers)
    paid = other - desk.cash(second)
    assert 29_900 * WAD < -lost < 30_100 * WAD and paid > 4_900 * WAD
    assert abs(moved + lost - paid) < FUNDING_WAD
    assert desk.cash(desk.house) == 0 and moved < gain
    assert abs(desk.result(short)) < FUNDING_WAD and abs(desk.result(second, "BTC")) < FUNDING_WAD
    desk.check()


def test_settle__loser_without_cash__is_lent_within_its_equity(world: World) -> None:
    """A forced loan, but one that its own collateral covers."""
    desk, long, _ = poor_desk(world)
    loser = world.account(2)
    world.deposit(loser, "BTC", 2 * 10**8)
    desk.trade(loser, -4 * WAD)
    world.set_price("ETH", 5_000)
    assert desk.cash(loser) == 0
    lost = -desk.result(loser)
    moved = desk.settle(long, losers=[(loser, ETH)])
    assert 11_900 * WAD < lost < 12_100 * WAD
    assert abs(moved - 30_000 * WAD - lost) < FUNDING_WAD
    assert abs(debt_units(world, loser) - lost // UNIT) < FUNDING_WAD // UNIT
    assert desk.cash(loser) < UNIT and desk.assess(loser).equity_init > 40_000 * WAD
    desk.check()


def test_settle__loser_under_water__pays_the_little_that_is_needed(world: World) -> None:
    """What it can bear is its equity, however much more it has lost."""
    desk, long, _ = poor_desk(world)
    loser = world.account(2)
    world.deposit(loser, "BTC", 10**8 // 3)
    desk.trade(loser, -4 * WAD)
    world.set_price("ETH", 5_000)
    desk.fund_house(25_000)
    gain = desk.result(long)
    assert desk.result(loser) < -11_900 * WAD
    moved = desk.settle(long, losers=[(loser, ETH)])
    assert abs(moved - gain) < FUNDING_WAD
    lent = debt_units(world, loser) * UNIT
    assert abs(lent - (moved - 55_000 * WAD)) < FUNDING_WAD
    desk.check()


def test_settle__loser_under_water__pays_its_equity_and_no_more(world: World) -> None:
    desk, long, _ = poor_desk(world)
    loser = world.account(2)
    world.deposit(loser, "BTC", 10**8 // 3)
    desk.trade(loser, -4 * WAD)
    world.set_price("ETH", 5_000)
    worth = 10**8 // 3 * 10**10 * 30_000
    moved = desk.settle(long, losers=[(loser, ETH)])
    assert moved == 30_000 * WAD + worth
    assert desk.result(loser) < -1_900 * WAD
    assert debt_units(world, loser) * UNIT - worth <= UNIT
    assert desk.settle(long, losers=[(loser, ETH)]) == 0
    desk.check()


def test_settle__house__is_neither_winner_nor_loser(world: World) -> None:
    """I22: it is the other side of all of them, and must never borrow."""
    desk, long, short = poor_desk(world)
    world.set_price("ETH", 5_000)
    for losers in ([(desk.house, ETH)], [(short, ETH), (desk.house, BTC)]):
        with desk.refused("perps: not for the house"):
            desk.settle(long, losers=losers)
    with desk.refused("perps: not for the house"):
        desk.settle(desk.house)
    with desk.refused("perps: not for the house"):
        desk.settle(desk.house, losers=[(short, ETH)])


def test_settle__price_of_this_block__collects_no_more_than_can_be_paid(world: World) -> None:
    """A20: the winner is paid at the lesser of two prices, so that is all it needs."""
    desk, long, short = poor_desk(world)
    world.set_price("ETH", 3_000)
    held, cash = desk.held(short), desk.cash(short)
    with world.chain.one_block():
        world.feeds["ETH"].set_answer(5_000 * 10**8, sender=world.governor)
        moved = desk.settle(long, losers=[(short, ETH)])
    assert 19_900 * WAD < moved < 20_000 * WAD
    assert (desk.held(short), desk.cash(short)) == (held, cash)


def test_settle__more_losers_than_eight__cannot_be_asked(world: World) -> None:
    desk, long, short = poor_desk(world)
    world.set_price("ETH", 5_000)
    with reverts(""):
        desk.settle(long, losers=[(short, ETH)] * 9)
    desk.settle(long, losers=[(short, ETH)] * 8)


def test_settle__gain_that_a_loser_pays__leaves_floor_and_ceiling_with_the_house(
    world: World,
) -> None:
    """Sub-unit cash moves between accounts; tokens stay whole in the ledger."""
    desk, long, short = poor_desk(world)
    world.set_price("ETH", "4999.99999999")
    desk.settle(long, losers=[(short, ETH)])
    total = sum(desk.cash(account) for account in desk.accounts)
    assert total % UNIT == 0
    assert floor(Fraction(desk.cash(long), UNIT)) * UNIT != desk.cash(long)
    world.clearinghouse.withdraw(long, 0, 10**11, world.lender, sender=world.owner)
    desk.check()
