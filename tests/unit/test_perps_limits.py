"""Caps, breaker and mode: each stops increases at its own line, and never a reduction."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ballast.model.margin import GWEI, WAD
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.perps_kit import ETH, STEP, WINDOW_S, Desk, open_desk, open_rich_desk
from tests.support.world import QUOTE, World


def busy_desk(world: World) -> tuple[Desk, int, int]:
    """A desk with a long of 20 and a short of 10, and its traders."""
    desk = open_desk(world)
    long, short = desk.trader(), desk.trader(1)
    desk.trade(long, 20 * WAD)
    desk.trade(short, -10 * WAD)
    return desk, long, short


# ---- sizes


def test_minimum_size__of_what_is_held_after_an_increase__is_the_last_accepted(
    world: World,
) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    least = desk.market().terms.min_size_gwei * GWEI
    for sign in (1, -1):
        with desk.refused("perps: size below minimum"):
            desk.trade(trader, sign * (least - STEP))
        desk.trade(trader, sign * least)
        desk.trade(trader, sign * STEP)
        with desk.refused("perps: size below minimum"):
            desk.trade(trader, -sign * (2 * least))
        desk.trade(trader, -sign * (least + STEP))
    assert desk.slot(trader) == (False, False)


def test_minimum_size__reduction__may_leave_less(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, WAD)
    desk.trade(trader, STEP - WAD)
    assert desk.held(trader).size_wad == STEP
    with desk.refused("perps: size below minimum"):
        desk.trade(trader, STEP)
    desk.trade(trader, -STEP)
    desk.check()


@pytest.mark.parametrize("sign", [1, -1])
def test_open_interest_cap__of_the_side_that_grows__is_the_last_accepted(
    world: World, sign: int
) -> None:
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    desk.set_terms(open_interest_cap_gwei=30 * GWEI)
    desk.trade(trader, sign * 20 * WAD)
    with desk.refused("perps: open interest cap"):
        desk.trade(other, sign * (10 * WAD + STEP))
    desk.trade(other, sign * 10 * WAD)
    with desk.refused("perps: open interest cap"):
        desk.trade(trader, sign * STEP)
    # The other side has room of its own, also for one who flips to it.
    with desk.refused("perps: open interest cap"):
        desk.trade(other, -sign * (40 * WAD + STEP))
    desk.trade(other, -sign * 40 * WAD)
    desk.check()


def test_open_interest_cap__lowered_below_what_is_open__lets_the_other_side_grow(
    world: World,
) -> None:
    desk, long, short = busy_desk(world)
    desk.set_terms(open_interest_cap_gwei=11 * GWEI)
    with desk.refused("perps: open interest cap"):
        desk.trade(long, STEP)
    desk.trade(short, -WAD)
    with desk.refused("perps: open interest cap"):
        desk.trade(short, -STEP)
    desk.trade(long, -15 * WAD)
    with desk.refused("perps: open interest cap"):
        desk.trade(long, 6 * WAD + STEP)
    desk.trade(long, 6 * WAD)


@pytest.mark.parametrize("sign", [1, -1])
def test_skew_cap__of_the_skew_that_grows__is_the_last_accepted(world: World, sign: int) -> None:
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    desk.set_terms(skew_cap_gwei=30 * GWEI)
    with desk.refused("perps: skew cap"):
        desk.trade(trader, sign * (30 * WAD + STEP))
    desk.trade(trader, sign * 30 * WAD)
    with desk.refused("perps: skew cap"):
        desk.trade(other, sign * WAD)
    with desk.refused("perps: skew cap"):
        desk.trade(other, -sign * (60 * WAD + STEP))
    desk.trade(other, -sign * 60 * WAD)
    assert desk.skew() == -sign * 30 * WAD
    desk.check()


def test_skew_cap__lowered_below_the_skew__allows_what_brings_it_down(world: World) -> None:
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    desk.trade(trader, 30 * WAD)
    desk.set_terms(skew_cap_gwei=10 * GWEI)
    with desk.refused("perps: skew cap"):
        desk.trade(other, STEP * 10**8)
    desk.trade(other, -5 * WAD)
    assert desk.skew() == 25 * WAD > 10 * WAD
    desk.trade(trader, -5 * WAD)
    with desk.refused("perps: skew cap"):
        desk.trade(trader, STEP)


@pytest.mark.parametrize("sign", [1, -1])
def test_round_cap__since_the_newest_round__is_the_last_accepted(world: World, sign: int) -> None:
    """A16: what can be taken from one round is bounded, both ways; the next round begins anew."""
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    desk.set_terms(round_cap_gwei=30 * GWEI)
    with desk.refused("perps: round cap"):
        desk.trade(trader, sign * (30 * WAD + STEP))
    desk.trade(trader, sign * 20 * WAD)
    with desk.refused("perps: round cap"):
        desk.trade(other, sign * (10 * WAD + STEP))
    desk.trade(other, sign * 10 * WAD)
    with desk.refused("perps: round cap"):
        desk.trade(other, sign * WAD)
    with world.isolated():
        desk.trade(trader, -sign * 20 * WAD)
        desk.trade(other, sign * 20 * WAD)
    world.refresh()
    desk.trade(other, sign * 30 * WAD)
    with desk.refused("perps: round cap"):
        desk.trade(other, sign * WAD)
    # The other way there is twice as much: back to the start of the round and beyond it.
    third = desk.trader(2)
    with desk.refused("perps: round cap"):
        desk.trade(third, -sign * (60 * WAD + STEP))
    desk.trade(third, -sign * 60 * WAD)
    desk.check()


def test_round_cap__reductions__move_the_skew_without_bound(world: World) -> None:
    """And are counted: what follows them in the round has the less or the more room."""
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    desk.trade(trader, 100 * WAD)
    world.refresh()
    desk.set_terms(round_cap_gwei=30 * GWEI)
    desk.trade(trader, -90 * WAD)
    with desk.refused("perps: round cap"):
        desk.trade(other, -WAD)
    with desk.refused("perps: round cap"):
        desk.trade(other, 59 * WAD)
    desk.trade(other, 60 * WAD)
    assert desk.skew() == 70 * WAD


def test_position__value_or_cost_beyond_what_words_hold__is_refused(world: World) -> None:
    """Below 2**110 of value now, so that what cost becomes later still fits its half."""
    desk, trader, largest = open_rich_desk(world)
    for sign in (1, -1):
        with desk.refused("perps: position too large"):
            desk.trade(trader, sign * (largest + STEP))
        with world.isolated():
            desk.trade(trader, sign * largest)
            assert abs(desk.held(trader).cost_wad) < 2**112
            desk.trade(trader, -sign * largest)
            desk.check()


def test_market__side_beyond_its_field__is_refused(world: World) -> None:
    """Nothing wraps, whatever the caps."""
    desk = open_desk(world)
    desk.lift_caps()
    trader = desk.trader()
    for sign in (1, -1):
        with desk.refused("perps: market too large"):
            desk.trade(trader, sign * 2**72 * GWEI)


# ---- breaker and mode


@pytest.mark.parametrize(
    ("price", "beyond"), [("2300", "2300.00000001"), ("1700", "1699.99999999")]
)
def test_breaker__fifteen_percent_from_the_start_of_a_window__stops_increases(
    world: World, price: str, beyond: str
) -> None:
    desk, long, short = busy_desk(world)
    world.set_price("ETH", price)
    desk.trade(long, WAD)
    assert not desk.perps.is_increase_stopped(ETH)
    world.set_price("ETH", beyond)
    assert desk.perps.is_increase_stopped(ETH)
    assert desk.perps.largest_increase(ETH, long, True) == 0
    for account, change in ((long, WAD), (short, -WAD), (long, -100 * WAD)):
        with desk.refused("perps: breaker tripped"):
            desk.trade(account, change)
    desk.trade(long, -WAD)
    desk.trade(short, WAD)
    world.set_price("ETH", price)
    desk.trade(long, WAD)


def test_breaker__two_windows_later__has_forgotten(world: World) -> None:
    """The price is compared with the start of this window and of the one before."""
    desk, long, _ = busy_desk(world)
    began = desk.refresh().time
    world.set_price("ETH", 2_500)
    with desk.refused("perps: breaker tripped"):
        desk.trade(long, WAD)
    # A window that a refresh begins at 2500 still remembers 2000 as the one before.
    world.chain.set_time(began + WINDOW_S)
    desk.refresh()
    assert desk.perps.is_increase_stopped(ETH)
    with desk.refused("perps: breaker tripped"):
        desk.trade(long, WAD)
    world.chain.advance(WINDOW_S)
    assert not desk.perps.is_increase_stopped(ETH)
    desk.refresh()
    desk.trade(long, WAD)
    desk.check()


def test_breaker__move_of_a_quiet_hour__is_seen_and_forgotten_a_window_later(
    world: World,
) -> None:
    """Nobody traded and nobody refreshed: the price of an hour ago is still the one before."""
    desk, long, _ = busy_desk(world)
    world.wait(3_600)
    world.set_price("ETH", 2_600)
    assert desk.perps.is_increase_stopped(ETH)
    receipt = desk.refresh()
    moved = [e.args for e in desk.perps.events(receipt, "BreakerMoved") if e.args.asset == ETH]
    word = 2_000 * WAD | 2_600 * WAD << 96 | receipt.time << 192
    assert [m.breaker_word for m in moved] == [word]
    with desk.refused("perps: breaker tripped"):
        desk.trade(long, WAD)
    world.wait(WINDOW_S)
    assert not desk.perps.is_increase_stopped(ETH)
    desk.refresh()
    desk.trade(long, WAD)


def test_breaker__first_price_of_a_market__is_its_own_anchor(world: World) -> None:
    desk = Desk(world)
    desk.fund_house(10**7)
    world.set_price("ETH", 3_000)
    receipt = desk.refresh()
    moved = [e.args for e in desk.perps.events(receipt, "BreakerMoved") if e.args.asset == ETH]
    price = 3_000 * WAD
    assert [m.breaker_word for m in moved] == [price | price << 96 | receipt.time << 192]
    desk.trade(desk.trader(), WAD)


def test_breaker__moved_by_an_increase__is_logged_once_a_window(world: World) -> None:
    desk, long, _ = busy_desk(world)
    world.chain.advance(WINDOW_S)
    world.refresh()
    with world.isolated():
        receipt = desk.trade(long, -WAD)
        assert desk.perps.events(receipt, "BreakerMoved") == []
    desk.set_terms(weight_bps=5_000)
    receipt = desk.refresh()
    assert len(desk.perps.events(receipt, "BreakerMoved")) == 2
    receipt = desk.trade(long, WAD)
    assert desk.perps.events(receipt, "BreakerMoved") == []


def test_close_only__market__only_shrinks(world: World) -> None:
    desk, long, short = busy_desk(world)
    receipt = desk.perps.set_close_only(ETH, True, sender=world.governor)
    assert tuple(args_of(desk.perps, receipt, "ModeChanged")) == (ETH, True)
    assert desk.perps.is_increase_stopped(ETH)
    for account, change in ((long, WAD), (short, -WAD), (long, -21 * WAD), (short, 11 * WAD)):
        with desk.refused("perps: close only"):
            desk.trade(account, change)
    desk.trade(long, WAD // 100, "BTC")
    desk.trade(long, -WAD)
    desk.trade(short, 11 * WAD, reduce_only=True)
    desk.perps.set_close_only(ETH, False, sender=world.governor)
    desk.trade(long, WAD)
    desk.check()


# ---- what never stops a reduction


def _close_only(desk: Desk) -> None:
    desk.perps.set_close_only(ETH, True, sender=desk.world.governor)


def _trip(desk: Desk) -> None:
    desk.world.set_price("ETH", 1_500)


def _lower_caps(desk: Desk) -> None:
    desk.set_terms(
        open_interest_cap_gwei=0, skew_cap_gwei=1, round_cap_gwei=0, min_size_gwei=10**6 * GWEI
    )


def _age_headroom(desk: Desk) -> None:
    desk.world.wait(3_600)


def _use_headroom_up(desk: Desk) -> None:
    desk.set_terms(weight_bps=0)
    desk.refresh()


def _ruin_the_house(desk: Desk) -> None:
    desk.set_terms(skew_cap_gwei=10**4 * GWEI)
    desk.world.set_price("ETH", 140_000)
    desk.refresh()


def _leave_the_peg(desk: Desk) -> None:
    desk.world.set_price(QUOTE, "1.05")


def _grow_the_fee(desk: Desk) -> None:
    desk.set_terms(base_fee_e6=10_000, band_e6=100_000, lag_s=3_600)


STATES: dict[str, tuple[Callable[[Desk], None], str]] = {
    "close only": (_close_only, "perps: close only"),
    "breaker": (_trip, "perps: breaker tripped"),
    "caps": (_lower_caps, "perps: size below minimum"),
    "stale headroom": (_age_headroom, "perps: headroom stale"),
    "no headroom": (_use_headroom_up, "perps: headroom used up"),
    "ruined house": (_ruin_the_house, "perps: breaker tripped"),
    "off the peg": (_leave_the_peg, "perps: price not usable"),
    "dear": (_grow_the_fee, ""),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("is_long", [True, False])
def test_reduction__whatever_stops_increases__is_always_possible(
    world: World, state: str, is_long: bool
) -> None:
    """I23: part of it and all of it, of the side that carries the skew and of the other."""
    desk, long, short = busy_desk(world)
    disturb, reason = STATES[state]
    disturb(desk)
    trader, sign, size = (long, 1, 20 * WAD) if is_long else (short, -1, 10 * WAD)
    if reason:
        with desk.refused(reason):
            desk.trade(trader, sign * WAD)
    desk.trade(trader, -sign * WAD)
    assert desk.held(trader).size_wad == sign * (size - WAD)
    desk.trade(trader, -sign * 100 * WAD, reduce_only=True)
    assert desk.held(trader).size_wad == 0
    desk.check()


# ---- how much there is room for


def test_largest_increase__each_cap__is_accepted_and_a_step_more_is_not(world: World) -> None:
    desk, long, short = busy_desk(world)
    world.refresh()
    desk.refresh()
    least = desk.market().terms.min_size_gwei * GWEI
    for terms, reason in (
        ({"open_interest_cap_gwei": 25 * GWEI}, "perps: open interest cap"),
        ({"skew_cap_gwei": 14 * GWEI}, "perps: skew cap"),
        ({"round_cap_gwei": 7 * GWEI}, "perps: round cap"),
        ({"weight_bps": 1}, "perps: headroom used up"),
    ):
        for account, is_long in ((long, True), (long, False), (short, True), (short, False)):
            with world.isolated():
                desk.set_terms(**terms)
                desk.refresh()
                sign = 1 if is_long else -1
                most = desk.perps.largest_increase(ETH, account, is_long)
                closing = max(0, -sign * desk.held(account).size_wad)
                if most < least:
                    assert closing, "only for who must close first"
                    continue
                with world.isolated():
                    desk.trade(account, sign * (closing + most))
                with desk.refused(reason):
                    desk.trade(account, sign * (closing + most + STEP))


def test_largest_increase__nothing_may_grow__is_zero(world: World) -> None:
    desk, long, _ = busy_desk(world)
    assert desk.perps.largest_increase(ETH, long, True) > 0
    for disturb in (_close_only, _trip, _age_headroom, _use_headroom_up, _leave_the_peg):
        with world.isolated():
            disturb(desk)
            for is_long in (True, False):
                assert desk.perps.largest_increase(ETH, long, is_long) == 0
    with world.isolated():
        world.make_stale("ETH")
        desk.refresh()
        assert desk.perps.largest_increase(ETH, long, True) == 0
    with reverts("perps: unknown market"):
        desk.perps.largest_increase(7, long, True)
