"""The end of a market: announced, latched once, and the same price for everybody (T32)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

import pytest

from ballast.chain import Receipt
from ballast.model.ledger import Book
from ballast.model.margin import BPS, WAD, Position
from ballast.model.perps import Funding, Order
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.liquidation_kit import ANY_STATE
from tests.perps_kit import BTC, ETH, STEP, Desk, open_desk
from tests.support.perps_scene import Foretold, open_scene
from tests.support.world import World

NOTICE_S = 3 * 86_400
CLOSED_STEP_S = 256
WOUND_DOWN_AT = 2**32 - CLOSED_STEP_S
NOT_CLOSED = "deleverager: not close-only"
NOT_OVER = "deleverager: notice not over"
ENDED = "deleverager: market wound down"
MARKET_ENDED = "perps: market wound down"
NO_INCREASE, HAS_ENDED = 2, 16  # of a price word


def close_market(desk: Desk, is_closed: bool = True, name: str = "ETH") -> Receipt:
    world = desk.world
    receipt: Receipt = desk.perps.set_close_only(
        world.asset(name), is_closed, sender=world.governor
    )
    return receipt


def announce(desk: Desk, name: str = "ETH") -> Receipt:
    world = desk.world
    receipt: Receipt = world.system.deleverager.start_wind_down(
        world.asset(name), sender=world.governor
    )
    return receipt


def wind_down(desk: Desk, *accounts: int, name: str = "ETH") -> Receipt:
    """By a keeper."""
    world = desk.world
    receipt: Receipt = world.system.deleverager.wind_down(
        world.asset(name), list(accounts), sender=world.keeper
    )
    return receipt


def let_notice_pass(desk: Desk) -> None:
    """To a round after it, at prices as they are, with breakers at rest."""
    world = desk.world
    due_at, _ = world.system.deleverager.wind_down_of(ETH)
    world.chain.set_time(due_at)
    desk.calm()


def ending_desk(world: World, sizes: Sequence[int] = (12, 8, -5), cash: int = 10**6) -> Any:
    """A market in which so many whole units are open and whose notice is over."""
    desk = open_desk(world)
    traders = [desk.trader(sub, cash=cash) for sub in range(len(sizes))]
    for trader, size in zip(traders, sizes, strict=True):
        if size:
            desk.trade(trader, size * WAD)
    close_market(desk)
    announce(desk)
    let_notice_pass(desk)
    return desk, traders


def result_at(held: Position, price_wad: int, funding_wad: int) -> int:
    """What closing at a price without a fee makes of a position: q (P - f) - c, down."""
    return held.size_wad * (price_wad - funding_wad) // WAD - held.cost_wad


# ---- announcing it


def test_start_wind_down__market_in_operation__is_refused(world: World) -> None:
    desk = open_desk(world)
    with desk.refused(NOT_CLOSED):
        announce(desk)
    assert tuple(world.system.deleverager.wind_down_of(ETH)) == (0, 0)


def test_start_wind_down__anybody_but_the_owner__is_refused(world: World) -> None:
    """A pause must not become the end of a market because somebody wants it to."""
    desk = open_desk(world)
    close_market(desk)
    deleverager = world.system.deleverager
    for who in (world.keeper, world.attacker, world.owner):
        with reverts("ownable: caller is not the owner"):
            deleverager.start_wind_down(ETH, sender=who)
    world.chain.advance(NOTICE_S)
    world.refresh()
    with desk.refused("deleverager: not announced"):
        wind_down(desk)


def test_start_wind_down__close_only_market__is_due_three_days_later(world: World) -> None:
    desk = open_desk(world)
    closed = close_market(desk)
    assert desk.perps.closed_at(ETH) == closed.time // CLOSED_STEP_S * CLOSED_STEP_S
    receipt = announce(desk)
    told = args_of(world.system.deleverager, receipt, "WindDownStarted")
    assert tuple(told) == (ETH, receipt.time + NOTICE_S)
    assert tuple(world.system.deleverager.wind_down_of(ETH)) == (receipt.time + NOTICE_S, 0)
    assert tuple(world.system.deleverager.wind_down_of(BTC)) == (0, 0)


def test_start_wind_down__again__waits_anew(world: World) -> None:
    desk = open_desk(world)
    close_market(desk)
    announce(desk)
    world.chain.advance(NOTICE_S - 60)
    later = announce(desk)
    world.wait(120)
    with desk.refused(NOT_OVER):
        wind_down(desk)
    assert world.system.deleverager.wind_down_of(ETH)[0] == later.time + NOTICE_S


def test_set_close_only__closed_again_while_closed__keeps_its_time(world: World) -> None:
    """Or whoever may pause could put the end off for ever."""
    desk = open_desk(world)
    close_market(desk)
    since = desk.perps.closed_at(ETH)
    world.chain.advance(10_000)
    close_market(desk)
    assert desk.perps.closed_at(ETH) == since
    close_market(desk, False)
    assert desk.perps.closed_at(ETH) == 0
    close_market(desk)
    assert desk.perps.closed_at(ETH) > since


def test_set_terms__close_only_market__keeps_its_time(world: World) -> None:
    desk = open_desk(world)
    close_market(desk)
    since = desk.perps.closed_at(ETH)
    world.chain.advance(10_000)
    desk.set_terms(base_fee_e6=0)
    assert desk.perps.closed_at(ETH) == since


# ---- when it is due


def test_wind_down__round_made_before_the_notice_was_over__is_no_price(world: World) -> None:
    """Whoever could wait with a known round in hand would choose the price of all (T32)."""
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, WAD)
    close_market(desk)
    due_at = announce(desk).time + NOTICE_S
    world.chain.set_time(due_at - 100)
    world.refresh()
    desk.refresh()
    assert world.chain.time < due_at
    world.chain.set_time(due_at + 1_000)
    desk.refresh()
    with desk.refused(NOT_OVER):
        wind_down(desk, trader)
    world.refresh()
    wind_down(desk, trader)
    assert world.system.deleverager.wind_down_of(ETH)[1] == 2_000 * WAD


@pytest.mark.parametrize("is_closed_again", [False, True])
def test_wind_down__market_opened_meanwhile__is_called_off(
    world: World, is_closed_again: bool
) -> None:
    """A pause long afterwards does not wake an old announcement either."""
    desk = open_desk(world)
    close_market(desk)
    announce(desk)
    world.wait(NOTICE_S - 1_000)
    close_market(desk, False)
    world.wait(1_000)
    if is_closed_again:
        close_market(desk)
    world.wait(NOTICE_S)
    desk.calm()
    with desk.refused(NOT_CLOSED):
        wind_down(desk)
    if is_closed_again:
        announce(desk)
        let_notice_pass(desk)
        wind_down(desk)


def test_latch__price_that_backs_no_increase__waits(world: World) -> None:
    """Stale, or the quote token off its peg."""
    desk, (long, _, _) = ending_desk(world)
    with world.isolated():
        world.make_stale("ETH")
        with desk.refused("perps: price not usable"):
            wind_down(desk, long)
    world.set_price("USD", "1.04")
    with desk.refused("perps: price not usable"):
        wind_down(desk, long)
    world.set_price("USD", 1)
    wind_down(desk, long)


def test_latch__breaker_tripped__waits_for_two_windows(world: World) -> None:
    desk, (long, _, _) = ending_desk(world)
    world.set_price("ETH", 1_600)
    with desk.refused("perps: breaker tripped"):
        wind_down(desk, long)
    desk.calm()
    wind_down(desk, long)
    assert world.system.deleverager.wind_down_of(ETH)[1] == 1_600 * WAD


def test_latch__no_such_market__is_refused(world: World) -> None:
    desk = open_desk(world)
    for asset in (0, 7, 255):
        with reverts(NOT_CLOSED):
            world.system.deleverager.start_wind_down(asset, sender=world.governor)
        with reverts("deleverager: not announced"):
            world.system.deleverager.wind_down(asset, [], sender=world.keeper)
    with desk.refused("perps: unknown market"):
        desk.perps.set_close_only(7, True, sender=world.governor)


def test_latch__nobody_listed__fixes_the_price_alone(world: World) -> None:
    desk, (long, _, _) = ending_desk(world)
    held = desk.held(long)
    receipt = wind_down(desk)
    told = args_of(world.system.deleverager, receipt, "MarketLatched")
    assert tuple(told) == (ETH, 2_000 * WAD)
    assert desk.held(long) == held
    assert world.system.deleverager.events(receipt, "WoundDown") == []
    again = wind_down(desk)
    assert world.system.deleverager.events(again, "MarketLatched") == []


# ---- one price


def test_wind_down__whenever_and_whatever_the_price__everybody_gets_the_latched_one(
    world: World,
) -> None:
    """T32: results are q (P - f) - c at price and funding of the latch, to the wei."""
    desk, traders = ending_desk(world)
    deleverager = world.system.deleverager
    first = wind_down(desk, traders[0])
    assert args_of(deleverager, first, "WoundDown").size_change == -12 * WAD
    funding = desk.funding()
    assert funding.rate_wad == 0 and funding.touched_at == first.time
    assert desk.cash(traders[0]) != 10**6 * WAD, "it was paid"
    for trader, price in zip(traders[1:], (2_300, 900), strict=True):
        world.set_price("ETH", price)
        world.wait(86_400)
        cash, held = desk.cash(trader), desk.held(trader)
        receipt = wind_down(desk, trader)
        traded = args_of(desk.perps, receipt, "Traded")
        assert (traded.price_wad, traded.fee_e6) == (2_000 * WAD, 0)
        assert traded.index_wad == price * WAD
        expected = result_at(held, 2_000 * WAD, funding.funding_wad)
        assert desk.cash(trader) - cash == expected
        assert desk.held(trader) == Position(0, 0, 0, 0) and desk.slot(trader) == (False, False)
        desk.check()
    assert desk.held(desk.house) == Position(0, 0, 0, 0)
    assert tuple(desk.perps.exposure_of(ETH)) == (0, 0)
    assert sum(desk.cash(account) for account in desk.accounts) == (10**7 + 3 * 10**6) * WAD


def test_wind_down__any_order_and_any_time__pays_the_same(world: World) -> None:
    """T32: who is closed first gains nothing."""
    desk, traders = ending_desk(world)
    wind_down(desk)
    outcomes = []
    for order, price in (((0, 1, 2), 2_000), ((2, 0, 1), 3_500), ((1, 2, 0), 700)):
        with world.isolated():
            for number in order:
                world.set_price("ETH", price + number)
                world.wait(3_600)
                wind_down(desk, traders[number])
            outcomes.append([desk.cash(account) for account in (*traders, desk.house)])
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_wind_down__stale_or_dead_feed_after_the_latch__goes_on(world: World) -> None:
    desk, (long, second, short) = ending_desk(world)
    wind_down(desk, long)
    world.make_stale("ETH")
    wind_down(desk, second)
    world.feeds["ETH"].set_answer(0, sender=world.governor)
    wind_down(desk, short)
    assert tuple(desk.perps.exposure_of(ETH)) == (0, 0)
    desk.check()


def test_wind_down__nothing_to_close_twice_or_the_house__is_passed_over(world: World) -> None:
    desk, (long, second, short) = ending_desk(world)
    idle = desk.trader(3)
    receipt = wind_down(desk, desk.house, idle, long, long, short, 2**200)
    closed = [e.args.account for e in world.system.deleverager.events(receipt, "WoundDown")]
    assert closed == [long, short]
    assert desk.held(desk.house).size_wad == -8 * WAD == -desk.held(second).size_wad
    desk.check()


def test_wind_down__full_list__fits_a_block(world: World) -> None:
    """Thirty-two positions in one call; one account more does not fit the list."""
    desk = open_desk(world)
    traders = [
        desk.trader(sub, owner=who, cash=100)
        for who in (world.owner, world.other_owner)
        for sub in range(16)
    ]
    for number, trader in enumerate(traders):
        desk.refresh()
        desk.trade(trader, WAD // 100 * (-1) ** number)
    close_market(desk)
    announce(desk)
    let_notice_pass(desk)
    receipt = wind_down(desk, *traders)
    assert len(world.system.deleverager.events(receipt, "WoundDown")) == 32
    assert receipt.gas_used < 8_000_000
    assert tuple(desk.perps.exposure_of(ETH)) == (0, 0)


def test_wind_down__while_a_call_is_under_way__is_refused(world: World) -> None:
    """I42"""
    desk, (long, _, _) = ending_desk(world, cash=100_000)
    account = world.open_account(leverage=1, owner=world.other_owner)
    deleverager = world.system.deleverager
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    world.enrol(account, hook=hook)
    hook.set_script(
        [(deleverager.address, deleverager.wind_down.encode(ETH, [long]))], sender=world.governor
    )
    with reverts("deleverager: clearinghouse busy"):
        world.mandates.rebalance(account, sender=world.keeper)


# ---- who cannot pay


def test_wind_down__loser_without_means__keeps_the_rest_as_an_unpaid_loss(world: World) -> None:
    """Lenders do not pay for it; the liquidator's waterfall does what it does with any deficit."""
    desk, (loser, _, short) = ending_desk(world, (8, 6, -4), cash=5_000)
    world.set_price("ETH", 1_300)
    desk.calm()
    desk.calm()
    assert desk.assess(loser).equity_maint < 0
    held, cash = desk.held(loser), desk.cash(loser)
    wind_down(desk, short, loser)
    loss = -result_at(held, 1_300 * WAD, desk.funding().funding_wad)
    assert loss > cash > 0
    assert desk.cash(loser) == 0 and desk.debt_shares(loser) == 0
    assert desk.held(loser) == Position(0, 0, loss - cash, 0)
    assert desk.held(desk.house).cost_wad <= -(loss - cash), "the house is owed it"
    desk.check()
    taker = desk.trader(3, owner=world.attacker)
    receipt = world.system.liquidator.liquidate(loser, taker, ANY_STATE, sender=world.attacker)
    booked = args_of(world.system.liquidator, receipt, "DeficitBooked")
    assert (booked.house_wad, booked.lenders_wad) == (loss - cash, 0)
    assert desk.held(loser) == Position(0, 0, 0, 0)


def test_wind_down__loser_with_collateral__borrows_within_its_equity(world: World) -> None:
    desk = open_desk(world)
    loser = desk.trader(cash=100)
    world.deposit(loser, "BTC", 10**8)
    desk.trade(loser, 10 * WAD)
    close_market(desk)
    announce(desk)
    let_notice_pass(desk)
    world.set_price("ETH", 1_500)
    desk.calm()
    desk.calm()
    wind_down(desk, loser)
    assert desk.debt_shares(loser) > 0 and desk.held(loser) == Position(0, 0, 0, 0)
    assert desk.assess(loser).excess_init > 0
    desk.check()


def test_wind_down__house_without_cash__pays_when_losers_have_paid(world: World) -> None:
    """A claim is worth the same whenever it is paid."""
    desk = open_desk(world, house_cash=60_000)
    desk.set_terms("BTC", weight_bps=0)
    desk.set_terms("ETH", weight_bps=BPS, max_funding_e6=0)
    desk.make_free()
    desk.refresh()
    winner, loser = desk.trader(0), desk.trader(1)
    desk.trade(winner, 30 * WAD)
    desk.trade(loser, -20 * WAD)
    close_market(desk)
    announce(desk)
    let_notice_pass(desk)
    world.set_price("ETH", 4_500)
    desk.calm()
    desk.calm()
    cash, held = desk.cash(winner), desk.held(winner)
    wind_down(desk, winner)
    gain = result_at(held, 4_500 * WAD, desk.funding().funding_wad)
    paid = desk.cash(winner) - cash
    assert 0 < paid < gain and desk.cash(desk.house) == 0
    assert desk.held(winner) == Position(0, 0, paid - gain, 0)
    world.set_price("ETH", 2_000)
    wind_down(desk, loser)
    assert desk.settle(winner) == gain - paid
    assert desk.cash(winner) - cash == gain
    assert desk.slot(winner) == (False, False)
    desk.check()


# ---- what is over is over


def test_latched__everything_that_could_revive_or_sidestep_it__is_refused(world: World) -> None:
    """No opening, no terms, no trade of any kind, no deleveraging at another price."""
    desk, (long, _, short) = ending_desk(world)
    wind_down(desk)
    assert desk.perps.closed_at(ETH) == WOUND_DOWN_AT
    assert desk.perps.is_increase_stopped(ETH)
    for is_closed in (False, True):
        with desk.refused(MARKET_ENDED):
            close_market(desk, is_closed)
    with desk.refused(MARKET_ENDED):
        desk.set_terms(weight_bps=1)
    for account, change in ((long, WAD), (long, -WAD), (short, 5 * WAD), (short, -WAD)):
        with desk.refused(MARKET_ENDED):
            desk.trade(account, change)
    with desk.refused(ENDED):
        announce(desk)
    with desk.refused(ENDED):
        world.system.deleverager.adl(long, ETH, WAD, sender=world.keeper)
    with desk.refused("perps: cannot list market"):
        desk.perps.list_market(ETH, tuple(desk.perps.terms_of(BTC)), sender=world.governor)
    world.chain.advance(30 * 86_400)
    with desk.refused(ENDED):
        announce(desk)
    assert desk.perps.closed_at(ETH) == WOUND_DOWN_AT


def test_latched__funding_and_backing__have_ended(world: World) -> None:
    """Other markets trade on, with all that the house has."""
    desk, (long, _, _) = ending_desk(world)
    before = desk.funding().at(world.chain.time)
    wind_down(desk)
    latched = desk.funding()
    assert latched.rate_wad == 0 and latched.funding_wad != before
    terms = desk.perps.terms_of(ETH)
    assert (terms.max_funding_e6, terms.weight_bps) == (0, 0)
    world.wait(86_400)
    desk.perps.accrue(ETH, sender=world.keeper)
    assert desk.funding() == Funding(latched.funding_wad, 0, world.chain.time, True)
    desk.set_terms("BTC", weight_bps=BPS)
    desk.refresh()
    assert desk.perps.headroom_of(ETH)[:2] == (0, 0)
    desk.trade(long, WAD, "BTC")
    desk.trade(long, -WAD, "BTC")
    desk.check()


def test_latched__terms__are_as_they_were_without_funding_and_backing(world: World) -> None:
    """Nothing else of them is touched, though they stand in the same words."""
    desk, _ = ending_desk(world)
    desk.set_terms(max_funding_e6=999_999, lag_s=301)
    terms = desk.perps.terms_of(ETH)
    wind_down(desk)
    assert desk.perps.terms_of(ETH) == terms._replace(max_funding_e6=0, weight_bps=0)


def test_latched__open_position__is_told_as_ended(world: World) -> None:
    """Its mark, which backs no increase, is not what it is worth; a market beside it trades on."""
    desk, (long, _, _) = ending_desk(world)
    desk.trade(long, WAD, "BTC")

    def flags() -> dict[int, int]:
        legs = world.mandates.snapshot(long).legs
        return {leg.asset: leg.price_word >> 192 & 2**8 - 1 for leg in legs}

    before = flags()
    wind_down(desk)
    assert flags() == {ETH: before[ETH] | HAS_ENDED | NO_INCREASE, BTC: before[BTC]}
    for is_long in (False, True):
        assert world.system.lens.largest_trade(long, ETH, is_long) == 0
        assert world.system.lens.largest_trade(long, BTC, is_long) > 0


def test_wind_down__position_that_changed_hands__is_closed_with_its_taker(world: World) -> None:
    """A liquidation before the latch moves it in place, as ever; after it nothing does."""
    desk, (loser, _, _) = ending_desk(world, (8, 6, -4), cash=5_000)
    world.set_price("ETH", 1_480)
    assert desk.assess(loser).excess_maint < 0
    taker = desk.trader(0, owner=world.attacker)
    liquidator = world.system.liquidator
    liquidator.liquidate(loser, taker, ANY_STATE, sender=world.attacker)
    size = desk.held(taker).size_wad
    assert 0 < size <= 8 * WAD and size % STEP == 0
    desk.calm()
    wind_down(desk, taker, loser)
    assert desk.held(taker).size_wad == desk.held(loser).size_wad == 0
    assert tuple(desk.perps.exposure_of(ETH)) == (6 * WAD, 4 * WAD)
    assert desk.held(desk.house).size_wad == -2 * WAD


# ---- beside the model


@pytest.mark.parametrize("seed", range(4))
def test_wind_down__random_books__are_those_of_the_model(world: World, seed: int) -> None:
    """I18 I19: every word, at any price on the way, unpaid gains and losses among them."""
    rng = Random(seed)
    desk = Desk(world)
    desk.fund_house(rng.choice((40_000, 10**7)))
    traders = [desk.trader(sub, cash=rng.choice((3_000, 20_000))) for sub in range(4)]
    world.deposit(traders[0], "ETH", 3 * WAD)
    world.deposit(traders[1], "BTC", 10**7)
    scene = open_scene(world, traders)
    scene.refresh()
    for trader in traders:
        size = rng.choice((-1, 1)) * rng.randint(5, 15) * WAD // 10
        assert scene.trade(Order(trader, ETH, size))
    assert scene.set_close_only(ETH, True)
    due_at = args_of(world.system.deleverager, announce(desk), "WindDownStarted").due_at
    world.chain.set_time(due_at)
    world.set_price("ETH", rng.randint(1_200, 3_200))
    for _ in range(2):
        world.wait(600)
        scene.refresh()
    price = world.price_wad("ETH")

    def latch(book: Book) -> Foretold:
        return book.latch(ETH), None

    assert scene.attempt("latch", latch, lambda: wind_down(desk))
    rng.shuffle(traders)
    for trader in traders:
        world.set_price("ETH", rng.randint(1_000, 4_000))
        world.wait(rng.randint(0, 50_000))

        def close(book: Book, account: int = trader) -> Foretold:
            return book.wind_down(ETH, [account], price), None

        assert scene.attempt("wind down", close, partial(wind_down, desk, trader))
        scene.check()
    assert tuple(desk.perps.exposure_of(ETH)) == (0, 0)
