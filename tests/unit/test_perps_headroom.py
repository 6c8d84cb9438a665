"""What the house can still back: per side and in gross, as budgets that increases use up."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ballast.chain import Reverted
from ballast.model import perps
from ballast.model.margin import BPS, GWEI, RATE, WAD, Mark
from tests.clearing_kit import UNIT, args_of
from tests.conftest import reverts
from tests.perps_kit import BTC, ETH, STEP, Desk, open_desk
from tests.support.fixtures import shared_world
from tests.support.world import World, build_world

NAMES = ("ETH", "BTC")


def long_rate(mark: Mark) -> int:
    """What the house needs for a unit that traders are long, millionths of its price."""
    return max(mark.risk.r_init_e6, RATE // 2) + mark.risk.l_init_e6


def short_rate(mark: Mark) -> int:
    """And for a unit that they are short: all of it."""
    return RATE + mark.risk.l_init_e6


def marked(desk: Desk) -> list[tuple[perps.Market, Mark]]:
    """Both markets at their marks."""
    return [(desk.market(name), desk.mark(name)) for name in NAMES]


def free(desk: Desk) -> int:
    """By the exact model."""
    return perps.free_wad(desk.assess(desk.house).equity_init, marked(desk))


def crowd(desk: Desk) -> tuple[int, int]:
    """A long and a short in each market; returns their accounts."""
    long, short = desk.trader(), desk.trader(1)
    for account, change, name in (
        (long, 50 * WAD, "ETH"),
        (short, -80 * WAD, "ETH"),
        (long, 3 * WAD, "BTC"),
        (short, -WAD, "BTC"),
    ):
        desk.trade(account, change, name)
    return long, short


# ---- what the house may pay out


def test_house__cash_taken_out__leaves_its_requirement_at_its_own_rates() -> None:
    """I11: all that traders are short is worth and half of what they are long stays backed."""
    world = build_world()
    desk = open_desk(world)
    crowd(desk)
    free_units = desk.assess(desk.house).excess_init // UNIT
    assert 0 < free_units < desk.cash(desk.house) // UNIT
    owner, second = world.system.liquidity_vault.address, 10**6  # of funding, at the most
    world.chain.set_code(owner, b"")  # or it cannot send a transaction

    def withdraw(units: int) -> None:
        world.clearinghouse.withdraw(desk.house, 0, units, world.attacker, sender=owner)

    with reverts("margin: initial margin short"):
        withdraw(free_units + second)
    withdraw(free_units - second)


# ---- refresh


def test_refresh__empty_markets__shares_the_cash_by_weight(world: World) -> None:
    """10,000,000, half of it behind ETH: 5,000,000 / (2,000 x 0.52) of longs, / (2,000 x 1.02) of
    shorts."""
    desk = open_desk(world)
    assert desk.perps.free_wad() == 10**7 * WAD
    longs, shorts, at = desk.perps.headroom_of(ETH)
    assert at == world.chain.time
    for told, dollars in ((longs, 1_040), (shorts, 2_040)):
        assert told == floor(Fraction(5 * 10**6 * 10**9, dollars)) * GWEI


def test_refresh__open_positions__leaves_what_both_sides_in_gross_do_not_need(
    world: World,
) -> None:
    """As the model has it, with premiums, funding and an unsettled result of the house; what
    insurance is owed of the fees stays."""
    desk = open_desk(world)
    crowd(desk)
    insured = [desk.insured(name) for name in NAMES]
    world.set_price("ETH", 2_090)
    world.wait(3_600)
    receipt = desk.refresh()
    assert desk.perps.free_wad() == free(desk)
    for market, mark in marked(desk):
        expected = market.refreshed(free(desk), mark, receipt.time).headroom
        assert market.headroom == expected
    words = [e.args.headroom_word for e in desk.perps.events(receipt, "HeadroomRefreshed")]
    rooms = [desk.market(name).headroom for name in NAMES]
    expected_words = [
        replace(room, insured_gwei=part).word for room, part in zip(rooms, insured, strict=True)
    ]
    assert words == expected_words and min(insured) > 0


def test_free__of_a_market__is_that_of_its_dearer_side_as_if_the_other_had_closed(
    world: World,
) -> None:
    """A1: net, the house would need nothing for 80 shorts against 80 longs; when the longs have
    closed it must still pay every short at a fall to zero."""
    desk = open_desk(world)
    desk.make_free()
    long, short = desk.trader(), desk.trader(1)
    desk.trade(long, 80 * WAD)
    desk.trade(short, -80 * WAD)
    equity = desk.assess(desk.house).equity_init
    backed = equity - desk.perps.free_wad()
    assert backed == 80 * 2_000 * WAD * short_rate(desk.mark()) // RATE
    assert desk.assess(desk.house).required_init == 0
    # Nothing changes as the longs go: it was counted before.
    with world.isolated():
        desk.trade(long, -80 * WAD)
        assert abs(desk.perps.free_wad() - (equity - backed)) < 20 * WAD
    desk.trade(short, 80 * WAD)
    longs_alone = 80 * 2_000 * WAD * long_rate(desk.mark()) // RATE
    assert abs(desk.assess(desk.house).equity_init - desk.perps.free_wad() - longs_alone) < 2


def test_refresh__budgets_of_all_markets__fit_into_the_excess_of_the_house(world: World) -> None:
    """I20: if every budget is used up on its dearest side, the house is still at initial margin."""
    desk = open_desk(world, house_cash=400_000)
    desk.make_free()
    desk.make_free("BTC")
    crowd(desk)
    desk.refresh()
    excess, total = desk.assess(desk.house).excess_init, 0
    for market, mark in marked(desk):
        room = market.headroom
        total += max(
            room.long_gwei * mark.price_wad * long_rate(mark),
            room.short_gwei * mark.price_wad * short_rate(mark),
        )
    assert 0 < total <= desk.perps.free_wad() * GWEI * RATE <= excess * GWEI * RATE
    for sign in (1, -1):
        with world.isolated():
            for name in NAMES:
                desk.set_terms(name, round_cap_gwei=2**71)
                room = desk.market(name).headroom
                change = (room.long_gwei if sign > 0 else -room.short_gwei) * GWEI
                desk.trade(desk.trader(2, cash=10**8), change, name)
            assert desk.assess(desk.house).excess_init > -WAD, "premiums are the traders' to pay"


def test_refresh__house_without_free_equity__leaves_no_headroom(world: World) -> None:
    desk = open_desk(world, house_cash=50_000)
    trader = desk.trader()
    desk.trade(trader, 20 * WAD)
    world.set_price("ETH", 3_800)
    desk.calm()
    assert desk.perps.free_wad() == free(desk) == 0
    assert tuple(desk.perps.headroom_of(ETH))[:2] == (0, 0)
    for change in (WAD, -30 * WAD):
        with desk.refused("perps: headroom used up"):
            desk.trade(trader, change)
    desk.trade(trader, -5 * WAD)
    desk.trade(trader, 5 * WAD)
    with desk.refused("perps: headroom used up"):
        desk.trade(trader, STEP)


def test_refresh__weights__decide_who_gets_what(world: World) -> None:
    desk = open_desk(world)
    desk.set_terms("ETH", weight_bps=0)
    desk.set_terms("BTC", weight_bps=BPS)
    desk.refresh()
    trader = desk.trader()
    assert tuple(desk.perps.headroom_of(ETH))[:2] == (0, 0)
    with desk.refused("perps: headroom used up"):
        desk.trade(trader, WAD)
    longs = desk.perps.headroom_of(BTC)[0]
    assert longs == floor(Fraction(10**7 * 10**9, 15_600)) * GWEI


def test_refresh__more_than_a_field_holds__is_the_most_that_it_holds(world: World) -> None:
    desk = open_desk(world)
    desk.fund_house(10**17)
    desk.refresh()
    assert tuple(desk.perps.headroom_of(ETH))[:2] == ((2**72 - 1) * GWEI, (2**72 - 1) * GWEI)
    trader = desk.trader()
    desk.trade(trader, WAD)
    assert desk.market().headroom.long_gwei == 2**72 - 1 - 10**9
    assert desk.market().headroom.short_gwei == 2**72 - 1
    desk.trade(trader, -WAD)
    assert desk.market().headroom.long_gwei == 2**72 - 1


def test_refresh__stale_price__counts_the_last_good_one(world: World) -> None:
    """A dead feed stops no other market."""
    desk = open_desk(world)
    crowd(desk)
    world.make_stale("ETH")
    desk.refresh()
    assert desk.perps.free_wad() == free(desk)
    trader = desk.trader(2)
    desk.trade(trader, WAD // 10, "BTC")


# ---- use


def test_increase__of_a_side__uses_up_that_side_and_a_reduction_gives_it_back(
    world: World,
) -> None:
    desk = open_desk(world)
    long, short = desk.trader(), desk.trader(1)
    room = desk.market().headroom
    for account, change, used in (
        (long, 10 * WAD, (10, 0)),
        (short, -4 * WAD, (10, 4)),
        (long, -3 * WAD, (7, 4)),
        (long, -12 * WAD, (0, 9)),
        (short, 5 * WAD, (1, 5)),
        (short, -WAD, (0, 5)),
        (long, 5 * WAD, (0, 0)),
    ):
        desk.trade(account, change)
        left = desk.market().headroom
        gone = (room.long_gwei - left.long_gwei, room.short_gwei - left.short_gwei)
        assert gone == tuple(units * 10**9 for units in used)
        assert left.refreshed_at == room.refreshed_at


@pytest.mark.parametrize("sign", [1, -1])
def test_increase__beyond_the_headroom__is_refused_at_the_step(world: World, sign: int) -> None:
    desk = open_desk(world, house_cash=100_000)
    desk.set_terms(round_cap_gwei=2**71)
    trader, other = desk.trader(), desk.trader(1)
    side = desk.perps.headroom_of(ETH)[0 if sign > 0 else 1]
    desk.trade(other, sign * WAD)
    with desk.refused("perps: headroom used up"):
        desk.trade(trader, sign * (side - WAD + STEP))
    desk.trade(trader, sign * (side - WAD))
    with desk.refused("perps: headroom used up"):
        desk.trade(other, sign * STEP)
    with desk.refused("perps: headroom used up"):
        desk.trade(trader, -sign * 10 * side)
    desk.trade(other, -sign * WAD // 2)
    desk.trade(trader, sign * WAD // 2)
    desk.check()


def test_headroom__ten_minutes__are_the_last_in_which_it_serves(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    at = desk.refresh().time
    world.chain.set_time(at + 600 - 12)
    assert desk.trade(trader, WAD).time == at + 600
    with desk.refused("perps: headroom stale"):
        desk.trade(trader, WAD)
    with desk.refused("perps: headroom stale"):
        desk.trade(trader, -2 * WAD)
    assert desk.perps.largest_increase(ETH, trader, True) == 0
    desk.trade(trader, -WAD // 2)
    desk.refresh()
    desk.trade(trader, WAD)


def test_headroom__before_the_first_refresh__is_stale(world: World) -> None:
    desk = Desk(world)
    trader = desk.trader()
    with desk.refused("perps: headroom stale"):
        desk.trade(trader, WAD)


def test_house__hedgers_at_the_limit__are_all_paid_at_a_fall_to_nothing(world: World) -> None:
    """A1, A13: the longs have closed in the first tenth of the fall, and every short is still paid
    from cash; lenders are asked for nothing."""
    desk = open_desk(world, house_cash=300_000)
    desk.make_free()
    desk.set_terms("BTC", weight_bps=0)
    desk.set_terms("ETH", weight_bps=BPS, round_cap_gwei=2**71)
    desk.refresh()
    hedger, long = desk.trader(cash=10**6), desk.trader(1)
    shorts = desk.perps.headroom_of(ETH)[1]
    longs = min(shorts, desk.perps.headroom_of(ETH)[0])
    desk.trade(long, longs)
    desk.trade(hedger, -shorts)
    idle = world.system.vault.state().idle
    world.set_price("ETH", 1_800)
    desk.trade(long, -longs)
    for price in (900, 200, 10, 3):
        world.set_price("ETH", price)
    cash, gain = desk.cash(hedger), desk.result(hedger)
    desk.trade(hedger, shorts)
    assert desk.slot(hedger) == (False, False)
    assert desk.cash(hedger) - cash > gain * 99 // 100 > 280_000 * WAD
    assert world.system.vault.state().idle == idle
    desk.check()


# ---- what insurance is owed of the fees


def test_insured__each_fill__adds_a_tenth_of_its_fee_rounded_down(world: World) -> None:
    """Of the newest price and the fee alone, not of the premium; of increases, reductions and
    flips alike, whatever side."""
    desk = open_desk(world)
    world.set_price("ETH", "2000.00000007")
    trader, total = desk.trader(), 0
    fee_e6 = desk.perps.quote(ETH, trader, WAD)[2]
    assert desk.insured() == 0 and fee_e6 > 0
    for change in (3 * WAD + STEP, -WAD, -7 * WAD - 3 * STEP, 2 * WAD, 3 * WAD + 2 * STEP):
        desk.trade(trader, change)
        fee = Fraction(abs(change) * desk.mark().price_wad * fee_e6, WAD * WAD * RATE)
        total += floor(fee * GWEI / 10)
        assert desk.insured() == total
    assert desk.slot(trader) == (False, False) and desk.insured("BTC") == 0
    # The smallest trade: a tenth of its fee is 1.15 units of 1e-9.
    desk.set_terms(min_size_gwei=1)
    desk.trade(trader, STEP)
    assert 2 * fee_e6 % 10_000 != 0 and desk.insured() == total + 2 * fee_e6 // 10_000
    desk.make_free()
    desk.trade(trader, 5 * WAD)
    assert desk.insured() == total + 2 * fee_e6 // 10_000


def test_insured__collected__is_paid_by_the_house_and_counts_from_nothing(world: World) -> None:
    """Headroom, sides and the time of the refresh stay as they are; nothing is paid twice."""
    desk = open_desk(world)
    crowd(desk)
    liquidator, ledger = world.system.liquidator, world.clearinghouse
    owed = [desk.insured(name) for name in NAMES]
    markets = [desk.market(name) for name in NAMES]
    cash, fund = desk.cash(desk.house), world.system.insurance
    before = desk.cash(fund)
    receipt = liquidator.collect_fees(sender=world.keeper)
    fees = receipt.return_value
    assert fees == sum(owed) * GWEI and min(owed) > 0
    assert [desk.insured(name) for name in NAMES] == [0, 0]
    assert [desk.market(name) for name in NAMES] == markets
    assert desk.cash(desk.house) == cash - fees
    paid = args_of(liquidator, receipt, "CashPaid")
    words = ledger.account_word(desk.house), ledger.account_word(fund)
    assert tuple(paid) == (desk.house, fund, fees, *words)
    assert desk.cash(fund) == before + fees
    assert liquidator.collect_fees(sender=world.keeper).return_value == 0
    desk.trade(world.account(), WAD)
    assert desk.insured() > 0 == desk.insured("BTC")


def test_insured__house_that_can_pay_a_part__keeps_owing_the_rest(world: World) -> None:
    """What exceeds its initial margin goes to insurance to 1e-9, market by market; the rest
    waits."""
    desk = open_desk(world, house_cash=100_000)
    trader = desk.trader()
    desk.trade(trader, 40 * WAD)
    desk.trade(trader, WAD, "BTC")
    liquidator, house = world.system.liquidator, desk.house
    owed = sum(desk.insured(name) for name in NAMES)
    # The price rises until the house is below its initial margin, and somebody helps a little.
    world.set_price("ETH", 3_000)
    assert desk.assess(house).excess_init < 0
    assert liquidator.collect_fees(sender=world.keeper).return_value == 0
    assert sum(desk.insured(name) for name in NAMES) == owed
    missing = -desk.assess(house).excess_init
    desk.fund_house(missing // WAD + desk.insured() // GWEI + 2)
    free = desk.assess(house).excess_init
    assert desk.insured() * GWEI < free < owed * GWEI
    with world.chain.one_block():
        free = desk.assess(house).excess_init
        fees = liquidator.collect_fees(sender=world.keeper).return_value
    assert fees == free // GWEI * GWEI
    assert (desk.insured(), desk.insured("BTC")) == (0, owed - fees // GWEI)
    assert 0 <= desk.assess(house).excess_init < GWEI


# ---- figures for the liquidity vault


def test_skew_charge__of_all_markets__is_half_the_premium_on_the_skew(world: World) -> None:
    desk = open_desk(world)
    assert desk.perps.skew_charge_wad() == 0
    crowd(desk)
    assert desk.skew() == -30 * WAD and desk.skew("BTC") == 2 * WAD
    eth = Fraction(2_000 * 30**2, 2 * 10**6) * WAD
    btc = Fraction(30_000 * 2**2, 2 * 60_000) * WAD
    assert desk.perps.skew_charge_wad() == eth + btc
    assert desk.perps.skew_charge_wad() == perps.skew_charge_wad(marked(desk))


def test_uncertainty__of_all_markets__is_the_half_width_of_the_price_on_the_skew(
    world: World,
) -> None:
    desk = open_desk(world)
    assert desk.perps.uncertainty_wad() == 0
    crowd(desk)
    total = Fraction(0)
    for name, skew, price in (("ETH", 30, 2_000), ("BTC", 2, 30_000)):
        part = desk.market(name).terms.uncertainty_e6(desk.mark(name).risk.sigma_e6)
        total += Fraction(price * skew * part, RATE) * WAD
    assert desk.perps.uncertainty_wad() == total
    assert desk.perps.uncertainty_wad() == perps.uncertainty_wad(marked(desk))


def test_oldest_round__of_markets_with_a_skew__is_the_one_to_wait_for(world: World) -> None:
    desk = open_desk(world)
    assert desk.perps.oldest_round_at() == world.chain.time, "nothing to wait for"
    trader = desk.trader()
    desk.trade(trader, WAD)
    eth = desk.mark().made_at
    assert desk.perps.oldest_round_at() == eth
    world.set_price("BTC", 30_100)
    assert desk.perps.oldest_round_at() == eth
    desk.trade(trader, WAD // 10, "BTC")
    world.set_price("ETH", 2_001)
    assert desk.perps.oldest_round_at() == desk.mark("BTC").made_at < desk.mark().made_at
    world.make_stale("ETH")
    assert desk.perps.oldest_round_at() == 0
    world.set_price("ETH", 2_002)
    desk.trade(trader, -WAD)
    world.make_stale("ETH")
    assert desk.perps.oldest_round_at() > 0, "stale, but nobody has a position"


# ---- whatever happens

lives = st.lists(
    st.tuples(
        st.sampled_from(("trade", "trade", "close", "price", "refresh", "refresh")),
        st.integers(0, 2),
        st.integers(0, 1),
        st.integers(-1_000, 1_000),
    ),
    min_size=4,
    max_size=16,
)


@settings(max_examples=80)
@given(life=lives, cash=st.integers(10_000, 10**6))
def test_headroom__any_life__is_that_of_the_model_and_within_the_excess(
    life: list[tuple[str, int, int, int]], cash: int
) -> None:
    """I20: after a refresh the markets' budgets add up to at most what the house has free. What
    insurance is owed is the model's after every fill."""
    world = shared_world()
    insured = dict.fromkeys(NAMES, 0)
    with world.isolated():
        desk = open_desk(world, house_cash=cash)
        for sub in range(3):
            desk.trader(sub)
        for kind, sub, market, part in life:
            name, trader = NAMES[market], world.account(sub)
            try:
                if kind in ("trade", "close"):
                    is_close = kind == "close"
                    size = part * 1_000 * WAD if is_close else part * WAD // (4, 60)[market]
                    receipt = desk.trade(trader, size, name, reduce_only=is_close)
                    told = args_of(desk.perps, receipt, "Traded")
                    insured[name] += perps.insured_part_gwei(
                        told.size_change, told.index_wad, told.fee_e6
                    )
                elif kind == "price":
                    world.set_price(name, (2_000 + part // 3, 30_000 + 5 * part)[market])
                else:
                    desk.refresh()
            except Reverted as error:
                assert error.reason
                continue
            assert desk.perps.free_wad() == free(desk)
            assert desk.perps.skew_charge_wad() == perps.skew_charge_wad(marked(desk))
            assert desk.perps.uncertainty_wad() == perps.uncertainty_wad(marked(desk))
            assert [desk.insured(known) for known in NAMES] == list(insured.values())
            if kind != "refresh":
                continue
            budgets = 0
            for asset, (known, mark) in zip((ETH, BTC), marked(desk), strict=True):
                now = desk.perps.headroom_of(asset)[2]
                assert known.headroom == known.refreshed(free(desk), mark, now).headroom
                budgets += mark.price_wad * max(
                    known.headroom.long_gwei * long_rate(mark),
                    known.headroom.short_gwei * short_rate(mark),
                )
            assert budgets <= free(desk) * GWEI * RATE
            excess = desk.assess(desk.house).excess_init
            assert free(desk) <= max(0, excess)
        desk.check()
