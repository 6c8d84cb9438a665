"""Funding: who pays whom, how fast, and that no wait makes a position unusable."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest

from ballast.model.margin import GWEI, WAD
from ballast.model.oracle import YEAR_S
from ballast.model.perps import Funding
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.perps_kit import ETH, STEP, Desk, open_desk
from tests.support.world import QUOTE, World

HOUR_S = 3_600
TEN_YEARS_S = 10 * YEAR_S


def skewed_desk(world: World, size: int = 1_000 * WAD) -> tuple[Desk, int]:
    """A desk with one large position, in a market without fees."""
    desk = open_desk(world, house_cash=10**9)
    desk.make_free()
    trader = desk.trader(cash=10**8)
    desk.trade(trader, size)
    return desk, trader


def accrue(desk: Desk, name: str = "ETH") -> Funding:
    """By anybody; returns the market word."""
    asset = desk.world.asset(name)
    receipt = desk.perps.accrue(asset, sender=desk.world.keeper)
    touched = args_of(desk.perps, receipt, "MarketTouched")
    assert tuple(touched) == (asset, desk.world.clearinghouse.market_word(asset))
    assert desk.funding(name).touched_at == receipt.time
    return desk.funding(name)


@pytest.mark.parametrize("sign", [1, -1])
def test_rate__after_a_trade__is_the_maximum_times_skew_over_its_cap(
    world: World, sign: int
) -> None:
    """1,000 of 10,000 at 100% of 2,000 a year: 200 dollars a unit and year, paid by the skew."""
    desk, _ = skewed_desk(world, sign * 1_000 * WAD)
    rate = desk.funding().rate_wad
    assert rate == sign * (200 * WAD // YEAR_S)
    assert desk.funding() == Funding(0, rate, world.chain.time)


def test_funding__while_longs_outweigh__is_paid_by_longs_to_shorts_and_the_house(
    world: World,
) -> None:
    desk, long = skewed_desk(world)
    short = desk.trader(1)
    desk.trade(short, -100 * WAD)
    before = [desk.assess(account).equity_maint for account in (long, short, desk.house)]
    rate, start = desk.funding().rate_wad, world.chain.time
    world.chain.advance(HOUR_S)
    after = [desk.assess(account).equity_maint for account in (long, short, desk.house)]
    paid, got, kept = (b - a for a, b in zip(before, after, strict=True))
    f = rate * (world.chain.time - start)
    assert f > 0
    assert (paid, got, kept) == (-1_000 * f, 100 * f, 900 * f)
    # What is in the clock is in the cash when the position is closed.
    cash = desk.cash(long)
    with world.isolated():
        desk.trade(long, -1_000 * WAD)
        total = desk.funding().funding_wad * 1_000
        impact = 1_000 * 2_000 * Fraction(100, 10**6) * WAD
        assert abs(cash - desk.cash(long) - total - impact) < 10**9
    world.refresh()
    desk.refresh()
    short_cash = desk.cash(short)
    desk.trade(short, 100 * WAD)
    assert desk.cash(short) > short_cash
    desk.check()


def test_touch__any_trade__writes_the_clock_down_and_sets_the_rate_anew(world: World) -> None:
    desk, long = skewed_desk(world)
    old = desk.funding()
    world.set_price("ETH", 2_100)
    desk.refresh()
    receipt = desk.trade(long, -400 * WAD)
    now, terms = receipt.time, desk.market().terms
    assert desk.funding() == old.touched(2_100 * WAD, 600 * GWEI, terms, now)
    assert desk.funding().funding_wad == old.rate_wad * (now - old.touched_at)
    assert desk.funding().rate_wad == 2_100 * WAD * 600 // (10_000 * YEAR_S)


def test_accrue__new_price_or_terms__sets_the_rate_from_here_on(world: World) -> None:
    """The past is never reckoned at a later price: the rate holds until it is touched."""
    desk, _ = skewed_desk(world)
    old = desk.funding()
    world.set_price("ETH", 2_500)
    assert desk.funding() == old, "a price alone touches nothing"
    new = accrue(desk)
    assert new.funding_wad == old.at(new.touched_at)
    assert new.rate_wad == 250 * WAD // YEAR_S
    desk.set_terms(max_funding_e6=500_000)
    assert desk.funding() == new
    again = accrue(desk)
    assert again.rate_wad == 125 * WAD // YEAR_S
    assert again.funding_wad == new.at(again.touched_at)


@pytest.mark.parametrize("sign", [1, -1])
def test_rate__skew_beyond_its_cap__is_clamped_at_the_maximum(world: World, sign: int) -> None:
    """A cap that was lowered: 100% of the price a year and no more."""
    desk, _ = skewed_desk(world, sign * 1_000 * WAD)
    desk.set_terms(skew_cap_gwei=1_000 * GWEI)
    most = accrue(desk).rate_wad
    assert most == sign * (2_000 * WAD // YEAR_S)
    desk.set_terms(skew_cap_gwei=10 * GWEI)
    assert accrue(desk).rate_wad == most
    desk.set_terms(max_funding_e6=10_000_000)
    assert accrue(desk).rate_wad == sign * (20_000 * WAD // YEAR_S)
    desk.set_terms(max_funding_e6=0)
    assert accrue(desk).rate_wad == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_rate__any_sign__is_rounded_toward_zero(world: World, sign: int) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, sign * (WAD + STEP))
    exact = Fraction(2_000 * WAD * (10**9 + 1), 10**13 * YEAR_S)
    assert exact.denominator != 1
    assert desk.funding().rate_wad == sign * int(exact)


def test_rate__no_skew__is_zero_and_the_clock_stands(world: World) -> None:
    desk, long = skewed_desk(world)
    short = desk.trader(1, cash=10**8)
    desk.trade(short, -1_000 * WAD)
    assert desk.skew() == 0 and desk.funding().rate_wad == 0
    stood = desk.funding().funding_wad
    world.wait(30 * 86_400)
    assert accrue(desk).funding_wad == stood
    assert desk.assess(long).equity_maint > 0


def test_accrue__without_a_live_price__is_refused_and_the_rate_goes_on(world: World) -> None:
    desk, _ = skewed_desk(world)
    old = desk.funding()
    world.make_stale("ETH")
    with desk.refused("perps: price stale"):
        desk.perps.accrue(ETH, sender=world.keeper)
    world.refresh()
    new = accrue(desk)
    assert new.funding_wad == old.at(new.touched_at)
    world.set_price(QUOTE, "1.04")
    accrue(desk)
    with reverts("perps: unknown market"):
        desk.perps.accrue(7, sender=world.keeper)


def test_accrue__again_and_again__is_the_same_as_once(world: World) -> None:
    """Linear between touches, so nobody gains by touching often."""
    desk, _ = skewed_desk(world)
    with world.isolated():
        world.chain.advance(HOUR_S)
        world.refresh()
        once = accrue(desk)
    with world.isolated():
        for _ in range(3):
            world.chain.advance(700)
            accrue(desk)
        world.chain.set_time(once.touched_at - 12)
        assert accrue(desk) == once


@pytest.mark.parametrize("sign", [1, -1])
def test_funding__ten_idle_years__bricks_nothing(world: World, sign: int) -> None:
    """T47: at the largest rate there is, 1,000% a year, the position can be assessed, reduced,
    closed and settled, and what it owes beyond its equity is nobody's loan."""
    desk, trader = skewed_desk(world, sign * 1_000 * WAD)
    other = desk.trader(1, cash=10**8)
    desk.trade(other, -sign * 500 * WAD)
    desk.set_terms(max_funding_e6=10_000_000, skew_cap_gwei=100 * GWEI)
    rate = accrue(desk).rate_wad
    assert rate == sign * (20_000 * WAD // YEAR_S)
    idle = world.system.vault.state().idle
    world.wait(TEN_YEARS_S)
    owed = 1_000 * abs(rate) * TEN_YEARS_S
    assert owed > 199 * 10**6 * WAD
    assert desk.assess(trader).equity_maint < -99 * 10**6 * WAD
    world.system.lens.position(trader, ETH)
    world.system.lens.healths([trader, other, desk.house])
    desk.refresh()
    accrue(desk)
    world.system.lens.largest_trade(trader, ETH, sign < 0)
    desk.trade(trader, -sign * 400 * WAD)
    desk.trade(trader, -sign * 600 * WAD)
    assert desk.held(trader).size_wad == 0 and desk.held(trader).cost_wad > 99 * 10**6 * WAD
    assert desk.debt_shares(trader) == 0 and world.system.vault.state().idle == idle
    assert desk.settle(other) > 99 * 10**6 * WAD
    desk.trade(other, sign * 500 * WAD)
    desk.check()


def test_cost__of_a_trade__is_what_is_paid_beyond_the_clock_up(world: World) -> None:
    """dc = ceil(dq (P - f)): who comes later owes nothing of the funding before."""
    desk, _ = skewed_desk(world)
    late = desk.trader(1)
    world.wait(30 * 86_400)
    desk.refresh()
    receipt = desk.trade(late, WAD + STEP)
    price, f = receipt.return_value, desk.funding().funding_wad
    assert f > 15 * WAD
    assert desk.held(late).cost_wad == ceil(Fraction((WAD + STEP) * (price - f), WAD))
    assert -1 <= desk.result(late) + ceil(Fraction((WAD + STEP) * (price - 2_000 * WAD), WAD)) <= 1
