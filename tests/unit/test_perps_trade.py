"""A trade: what it is priced at, what is booked for the account and for the house, and who may."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ballast.chain import Reverted
from ballast.model.margin import GWEI, RATE, WAD, Position
from ballast.model.perps import Exposure, Headroom
from tests.clearing_kit import action, args_of, in_order
from tests.conftest import reverts
from tests.perps_kit import BTC, ETH, FAR, STEP, Desk, open_desk
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, UNLIMITED, World

TRADE = 6
BUY, SELL, REDUCE = 0, 1, 2
MAY_TRADE = 16


def exact_cost(change: int, price: int, funding: int) -> Fraction:
    """dq (P - f) without rounding."""
    return Fraction(change * (price - funding), WAD)


# ---- the life of a position


@pytest.mark.parametrize("sign", [1, -1])
def test_open__either_side__books_size_cost_and_entry_and_no_cash(world: World, sign: int) -> None:
    desk = open_desk(world)
    trader, size = desk.trader(), sign * 3 * WAD // 2
    cash, fill = desk.cash(trader), desk.predicted(trader, size)
    receipt = desk.trade(trader, size)
    assert receipt.return_value == fill.price_wad
    assert desk.held(trader) == Position(0, size, fill.cost_change, fill.entry_wad)
    assert fill.cost_change == fill.entry_wad == ceil(Fraction(size * fill.price_wad, WAD))
    assert desk.held(desk.house) == Position(0, -size, -fill.cost_change, 0)
    assert (desk.cash(trader), desk.cash(desk.house)) == (cash, 10**7 * WAD)
    assert desk.slot(trader) == desk.slot(desk.house) == (True, True)
    desk.check()


@pytest.mark.parametrize("sign", [1, -1])
def test_trade__whole_life__keeps_cost_and_entry_as_the_model(world: World, sign: int) -> None:
    """Open, grow, shrink, flip, shrink, close: in each step the model's figures to the wei."""
    desk = open_desk(world)
    trader = desk.trader()
    for number, part in enumerate((3 * WAD, 5 * WAD + STEP, -6 * WAD, -7 * WAD, WAD, 3 * WAD)):
        world.set_price("ETH", 2_000 + 7 * number)
        desk.refresh()
        before, change = desk.held(trader), sign * part
        fill = desk.predicted(trader, change)
        receipt = desk.trade(trader, change)
        size = before.size_wad + change
        assert receipt.return_value == fill.price_wad
        held = desk.held(trader)
        assert (held.size_wad, held.entry_wad) == (size, fill.entry_wad)
        expected = before.cost_wad + fill.cost_change if size else 0
        assert held.cost_wad == expected
        desk.check()
    assert desk.held(trader).size_wad == sign * (STEP - WAD)
    desk.trade(trader, sign * 9 * WAD, reduce_only=True)
    assert desk.held(trader) == Position()
    desk.check()


def test_increase__same_side__adds_value_and_cost(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    first = desk.trade(trader, 2 * WAD).return_value
    second = desk.trade(trader, WAD + STEP).return_value
    held, funding = desk.held(trader), desk.funding().funding_wad
    added = ceil(Fraction((WAD + STEP) * second, WAD))
    assert held.entry_wad == 2 * first + added
    cost = ceil(exact_cost(WAD + STEP, second, funding))
    assert held.cost_wad == 2 * first + cost


@pytest.mark.parametrize("sign", [1, -1])
def test_reduce__part__leaves_the_entry_in_proportion_toward_zero(world: World, sign: int) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    size, reduced = 3 * WAD + STEP, WAD + 2 * STEP
    desk.trade(trader, sign * size)
    entry = desk.held(trader).entry_wad
    desk.trade(trader, -sign * reduced)
    left = Fraction(abs(entry) * (size - reduced), size)
    assert left.denominator != 1
    assert desk.held(trader).entry_wad == sign * int(left)
    assert desk.held(trader).size_wad == sign * (size - reduced)


@pytest.mark.parametrize("sign", [1, -1])
def test_flip__through_zero__is_entered_at_its_own_price(world: World, sign: int) -> None:
    """Both sides of the exposure change, and the cost goes on: nothing is settled on the way."""
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, sign * 2 * WAD)
    cash, cost = desk.cash(trader), desk.held(trader).cost_wad
    fill = desk.predicted(trader, -sign * 5 * WAD)
    price = desk.trade(trader, -sign * 5 * WAD).return_value
    assert price == fill.price_wad
    entry = ceil(Fraction(-sign * 3 * WAD * price, WAD))
    assert desk.held(trader) == Position(0, -sign * 3 * WAD, cost + fill.cost_change, entry)
    assert desk.cash(trader) == cash
    long, short = (0, 3 * WAD) if sign > 0 else (3 * WAD, 0)
    assert tuple(desk.perps.exposure_of(ETH)) == (long, short)
    desk.check()


def test_close__at_once__costs_exactly_two_fees_and_leaves_nothing(world: World) -> None:
    """A round trip at one price never profits: the skew term is paid and given back."""
    desk = open_desk(world)
    trader = desk.trader()
    cash, house = desk.cash(trader), desk.cash(desk.house)
    bought = desk.trade(trader, 2 * WAD).return_value
    sold = desk.trade(trader, -2 * WAD).return_value
    fee_e6 = desk.market().terms.fee_e6(desk.mark().risk.sigma_e6)
    assert bought - sold == 2 * (2_000 * WAD * fee_e6 // 10**6)
    funding = house - desk.cash(desk.house) + 2 * (bought - sold)
    assert 0 <= -funding < 10**15, "funding of 12 seconds"
    assert desk.cash(trader) - cash == house - desk.cash(desk.house)
    assert desk.held(trader) == Position()
    assert desk.held(desk.house) == Position()
    assert desk.slot(trader) == desk.slot(desk.house) == (False, False)
    assert world.clearinghouse.cost_word(trader, ETH) == 0
    desk.check()


def test_reduce_only__more_than_there_is__is_cut_to_what_closes(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    for sign in (1, -1):
        desk.trade(trader, sign * WAD)
        receipt = desk.trade(trader, -sign * 9 * WAD, reduce_only=True)
        traded = args_of(desk.perps, receipt, "Traded")
        assert traded.size_change == -sign * WAD
        assert desk.held(trader) == Position()
    desk.trade(trader, 2 * WAD)
    desk.trade(trader, -WAD, reduce_only=True)
    assert desk.held(trader).size_wad == WAD


def test_reduce_only__nothing_on_the_other_side__is_refused(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    for change in (WAD, -WAD):
        with desk.refused("perps: nothing to reduce"):
            desk.trade(trader, change, reduce_only=True)
    desk.trade(trader, WAD)
    with desk.refused("perps: nothing to reduce"):
        desk.trade(trader, WAD, reduce_only=True)
    desk.trade(trader, -WAD)
    with desk.refused("perps: nothing to reduce"):
        desk.trade(trader, -WAD, reduce_only=True)


# ---- the price


def test_fill__skew_of_4000_and_2000_bought__is_2010(world: World) -> None:
    """p 2000, depth 1,000,000, skew 4,000, dq 2,000: 2000 (1 + (4000 + 1000) / 10**6), no fee."""
    desk = open_desk(world, house_cash=10**9)
    desk.set_terms(round_cap_gwei=10**4 * GWEI)
    desk.make_free()
    first, second = desk.trader(cash=10**8), desk.trader(1, cash=10**8)
    desk.trade(first, 4_000 * WAD)
    assert desk.market().terms.depth_gwei == 10**6 * GWEI and desk.skew() == 4_000 * WAD
    quoted = desk.perps.quote(ETH, second, 2_000 * WAD)
    assert tuple(quoted) == (2_010 * WAD, 2_000 * WAD, 0)
    assert desk.trade(second, 2_000 * WAD).return_value == 2_010 * WAD
    assert desk.trade(second, -2_000 * WAD).return_value == 2_010 * WAD


def test_fill__whole_and_parts__cost_the_same_but_for_rounding(world: World) -> None:
    """T45: nothing is gained by splitting, in one account or in two."""
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    with world.isolated():
        desk.trade(trader, 300 * WAD)
        whole = desk.held(trader).entry_wad
    with world.isolated():
        for _ in range(3):
            desk.trade(trader, 100 * WAD)
        assert 0 <= desk.held(trader).entry_wad - whole < 1_000
    desk.trade(trader, 150 * WAD)
    desk.trade(other, 150 * WAD)
    assert 0 <= desk.held(trader).entry_wad + desk.held(other).entry_wad - whole < 1_000


def test_fill__price_of_this_block__makes_an_increase_pay_the_worse(world: World) -> None:
    """Newest and previous: the dearer for a buyer, the cheaper for a seller; a reduction the
    newest."""
    desk = open_desk(world)
    desk.make_free()
    trader, short = desk.trader(), desk.trader(1)
    desk.trade(trader, 10 * WAD)
    desk.trade(short, -10 * WAD)
    for newest, bought, sold in ((2_004, 2_004, 2_000), (1_996, 2_000, 1_996)):
        for account, change, basis in (
            (trader, WAD, bought),
            (short, -WAD, sold),
            (trader, -WAD, newest),
            (short, WAD, newest),
            (trader, -11 * WAD, sold),
            (short, 11 * WAD, bought),
        ):
            with world.isolated(), world.chain.one_block():
                world.feeds["ETH"].set_answer(newest * 10**8, sender=world.governor)
                impact = 1 + Fraction(change, 2 * 10**6 * WAD)
                quoted = desk.perps.quote(ETH, account, change)
                price = desk.trade(account, change).return_value
                assert price == quoted[0] == basis * impact * WAD
                assert quoted[1] == newest * WAD


def test_quote__any_size__is_what_the_trade_pays(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, 7 * WAD)
    for change in (STEP, 5 * WAD, -3 * WAD, -7 * WAD, -20 * WAD - STEP):
        with world.isolated():
            price, index, fee_e6 = desk.perps.quote(ETH, trader, change)
            receipt = desk.trade(trader, change)
            traded = args_of(desk.perps, receipt, "Traded")
            assert price == receipt.return_value == traded.price_wad
            assert (traded.index_wad, traded.fee_e6) == (index, fee_e6)
    with reverts("perps: unknown market"):
        desk.perps.quote(7, trader, WAD)


@pytest.mark.parametrize("sign", [1, -1])
def test_quote__of_a_size_beyond_its_width__is_refused(world: World, sign: int) -> None:
    """Prices are unchecked arithmetic below 2**120: skew and depth would cancel out at 2**237."""
    desk = open_desk(world)
    trader = desk.trader()
    for size in (2**120, 2**237):
        with reverts("perps: size not in steps"):
            desk.perps.quote(ETH, trader, sign * size)
    price, index, _ = desk.perps.quote(ETH, trader, 2**120 - 1)
    depth = desk.perps.terms_of(ETH).depth_gwei
    assert price > index + index * ((2**120 - 1) // GWEI) // (2 * depth)


@pytest.mark.parametrize("sign", [1, -1])
def test_acceptable_price__fee_included__is_the_last_that_passes(world: World, sign: int) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    price = desk.perps.quote(ETH, trader, sign * WAD)[0]
    assert sign * (price - 2_000 * WAD) > 0
    with desk.refused("perps: price passed"):
        desk.trade(trader, sign * WAD, limit=price - sign)
    assert desk.trade(trader, sign * WAD, limit=price).return_value == price
    closing = desk.perps.quote(ETH, trader, -sign * WAD)[0]
    with desk.refused("perps: price passed"):
        desk.trade(trader, -sign * WAD, limit=closing + sign)
    assert desk.trade(trader, -sign * WAD, limit=closing).return_value == closing


def test_deadline__second_of_the_block__is_the_last(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    with desk.refused("perps: deadline passed"):
        desk.trade(trader, WAD, deadline=desk.next_time - 1)
    deadline = desk.next_time
    assert desk.trade(trader, WAD, deadline=deadline).time == deadline
    with desk.refused("perps: deadline passed"):
        desk.trade(trader, -WAD, deadline=deadline, reduce_only=True)


# ---- what is refused


@pytest.mark.parametrize(
    "change", [0, 1, STEP - 1, STEP + 1, -1, 1 - STEP, 2**120, -(2**120), 2**255 - 1, -(2**255)]
)
def test_trade__size_not_in_steps__is_refused(world: World, change: int) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    for reduce_only in (False, True):
        with desk.refused("perps: size not in steps"):
            desk.trade(trader, change, reduce_only=reduce_only)


def test_trade__market_not_listed__is_refused(wide_world: World) -> None:
    desk = open_desk(wide_world)
    trader = desk.trader()
    assert list(desk.perps.market_ids()) == [ETH, BTC]
    for name in ("A03", "A16"):
        with desk.refused("perps: unknown market"):
            desk.trade(trader, WAD, name)


def test_trade__asset_that_does_not_exist__is_refused(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    for asset in (0, 77, 255):
        with reverts("oracle: unknown asset"):
            desk.perps.trade(trader, asset, WAD, UNLIMITED, FAR, False, sender=world.owner)


def test_trade__stale_price__is_refused_both_ways(world: World) -> None:
    """The one state in which a position cannot even shrink: there is no price to shrink at."""
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, WAD)
    world.make_stale("ETH")
    desk.refresh()
    for change in (WAD, -WAD, -2 * WAD):
        with desk.refused("perps: price stale"):
            desk.trade(trader, change)
    desk.trade(trader, WAD // 100, "BTC")


def test_trade__price_not_to_be_relied_on__only_shrinks(world: World) -> None:
    """A quote token 4% off its peg: increases and flips wait, reductions do not."""
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    desk.trade(trader, 2 * WAD)
    desk.trade(other, -2 * WAD)
    world.set_price(QUOTE, "1.04")
    desk.refresh()
    for account, change in ((trader, WAD), (trader, -3 * WAD), (other, -WAD), (other, 3 * WAD)):
        with desk.refused("perps: price not usable"):
            desk.trade(account, change)
    desk.trade(trader, -WAD)
    desk.trade(other, 2 * WAD, reduce_only=True)
    assert desk.held(trader).size_wad == WAD and desk.slot(other) == (False, False)
    desk.check()


def test_trade__margin_short__is_refused_and_a_reduction_is_not(world: World) -> None:
    """An account below its initial margin may do whatever leaves it less or equally risky."""
    desk = open_desk(world)
    trader = desk.trader(cash=10_000)
    largest = world.system.lens.largest_trade(trader, ETH, True)
    with desk.refused("margin: initial margin short"):
        desk.trade(trader, largest + 10**15)
    desk.trade(trader, largest - 10**15)
    world.set_price("ETH", 1_950)
    desk.refresh()
    assert desk.assess(trader).excess_init < 0 < desk.assess(trader).excess_maint
    with desk.refused("margin: initial margin short"):
        desk.trade(trader, WAD)
    with desk.refused("margin: initial margin short"):
        desk.trade(trader, -2 * largest)
    for change in (-WAD, -STEP, -5 * WAD):
        desk.trade(trader, change)
    assert desk.assess(trader).excess_init < 0
    desk.trade(trader, -(10**6) * WAD, reduce_only=True)
    assert desk.slot(trader) == (False, False)


def test_trade__hedge_below_initial_margin__passes_and_undoing_it_does_not(world: World) -> None:
    """What offsets collateral takes risk away, though a side of the market grows."""
    desk = open_desk(world)
    trader = world.open_account(leverage=3)
    world.set_price("ETH", 1_880)
    desk.refresh()
    assert desk.assess(trader).excess_init < 0
    desk.trade(trader, -WAD)
    with desk.refused("margin: initial margin short"):
        desk.trade(trader, WAD)
    desk.check()


# ---- who may


def test_trade__operator__needs_the_permission_to_trade(world: World) -> None:
    """I25: 16 and nothing else; its owner needs no grant."""
    desk = open_desk(world)
    trader, who = desk.trader(), world.attacker
    for mask in (0, 1, 2, 4, 8, 15):
        if mask:
            world.mandates.set_operator(trader, who, mask, FAR, sender=world.owner)
        with desk.refused("operators: not permitted"):
            desk.trade(trader, WAD, sender=who)
    world.mandates.set_operator(trader, who, MAY_TRADE, FAR, sender=world.owner)
    desk.trade(trader, WAD, sender=who)
    assert desk.held(trader).size_wad == WAD
    with desk.refused("operators: not permitted"):
        desk.trade(world.account(1), WAD, sender=who)
    world.mandates.set_operator(trader, who, 0, 0, sender=world.owner)
    with desk.refused("operators: not permitted"):
        desk.trade(trader, -WAD, sender=who)


def test_trade__house_account__is_nobodys(world: World) -> None:
    desk = open_desk(world)
    for who in (world.governor, world.owner, world.keeper):
        with desk.refused("operators: not permitted"):
            desk.trade(desk.house, WAD, sender=who)


def test_entries_of_each_other__anyone_else__is_refused(world: World) -> None:
    """I24: the ledger listens to perps, mandates and the liquidator alone, perps to the ledger, to
    mandates, the deleverager and the liquidator."""
    desk = open_desk(world)
    trader, ledger = desk.trader(), world.clearinghouse
    order = (trader, ETH, WAD, UNLIMITED, UNLIMITED, FAR, False)
    scene = (0, 0, 0, 0, 0)
    for who in (world.governor, world.owner, world.attacker):
        with desk.refused("clearinghouse: not yours to call"):
            ledger.trade(who, order, False, sender=who)
        with desk.refused("clearinghouse: not yours to call"):
            ledger.trade(who, order, True, sender=who)
        with desk.refused("clearinghouse: not yours to call"):
            ledger.settle(trader, ETH, WAD, UNLIMITED, False, sender=who)
        with desk.refused("clearinghouse: not yours to call"):
            ledger.settle(trader, ETH, WAD, UNLIMITED, True, sender=who)
        with desk.refused("clearinghouse: not yours to call"):
            ledger.set_market(ETH, 0, sender=who)
        with desk.refused("clearinghouse: not yours to call"):
            ledger.mandate_trade(order, sender=who)
        with desk.refused("clearinghouse: not yours to call"):
            ledger.take(desk.house, trader, [(ETH, 0, 0, WAD, 0, 0)], sender=who)
        with desk.refused("clearinghouse: not yours to call"):
            ledger.pay(desk.house, trader, WAD, sender=who)
        with desk.refused("clearinghouse: not yours to call"):
            ledger.move_debt(trader, 0, 0, sender=who)
        with desk.refused("perps: not the clearinghouse"):
            desk.perps.fill(order, scene, sender=who)
        with desk.refused("perps: only mandates"):
            desk.perps.settle_in_mandate(trader, ETH, sender=who)
        with desk.refused("perps: only the deleverager"):
            desk.perps.deleverage(trader, ETH, -WAD, WAD, sender=who)
        with desk.refused("perps: only the deleverager"):
            desk.perps.latch(ETH, sender=who)
        with desk.refused("perps: only the liquidator"):
            desk.perps.offset(ETH, 0, sender=who)
        with desk.refused("perps: only the liquidator"):
            desk.perps.take_insurance_fees(0, sender=who)


# ---- batches


def order(
    account: int,
    size: int,
    sides: int = BUY,
    *,
    asset: int = ETH,
    limit: int | None = None,
    deadline: int = FAR,
) -> tuple[Any, ...]:
    """A trade as an action of a batch: its size is always positive."""
    if limit is None:
        limit = 0 if sides & SELL else UNLIMITED
    return action(
        TRADE, account, other=deadline, asset=asset, asset_out=sides, amount=size, min_out=limit
    )


def run(world: World, *actions: tuple[Any, ...], sender: str | None = None) -> None:
    world.clearinghouse.batch(list(actions), sender=sender or world.owner)


def test_batch__trades__buy_sell_and_reduce_as_the_bits_say(world: World) -> None:
    desk = open_desk(world)
    trader, other = desk.trader(), desk.trader(1)
    run(
        world,
        order(trader, 2 * WAD),
        order(other, 3 * WAD, SELL),
        order(trader, WAD // 10, SELL, asset=BTC),
    )
    assert desk.held(trader).size_wad == 2 * WAD
    assert desk.held(trader, "BTC").size_wad == -WAD // 10
    assert desk.held(other).size_wad == -3 * WAD
    run(world, order(trader, 9 * WAD, SELL | REDUCE), order(other, WAD, BUY | REDUCE))
    assert desk.held(trader).size_wad == 0 and desk.held(other).size_wad == -2 * WAD
    desk.check()


def test_batch__trade__prices_and_refuses_like_one_alone(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    price = desk.perps.quote(ETH, trader, WAD)[0]
    sold = desk.perps.quote(ETH, trader, -WAD)[0]
    for reason, refused in (
        ("perps: price passed", order(trader, WAD, limit=price - 1)),
        ("perps: price passed", order(trader, WAD, SELL, limit=sold + 1)),
        ("perps: deadline passed", order(trader, WAD, deadline=desk.next_time - 1)),
        ("perps: nothing to reduce", order(trader, WAD, SELL | REDUCE)),
        ("perps: size not in steps", order(trader, 0)),
        ("perps: size not in steps", order(trader, STEP + 1)),
        ("ledger: amount too large", order(trader, 2**120)),
        ("ledger: amount too large", order(trader, UNLIMITED)),
        ("oracle: unknown asset", order(trader, WAD, asset=7)),
        ("clearinghouse: unknown action", action(7, trader, asset=ETH, amount=WAD)),
    ):
        with desk.refused(reason):
            run(world, refused)
        with desk.refused(reason):
            run(world, order(trader, WAD, asset=BTC), refused)
    run(world, order(trader, WAD, limit=price))
    assert desk.held(trader).entry_wad == price


def test_batch__margin_of_a_trade__is_asked_for_at_the_end(world: World) -> None:
    """Trade first and bring the cash after: judged once, when all is done."""
    desk = open_desk(world)
    trader = world.account()
    world.fund(world.owner, QUOTE, 10**9)
    paid_in = action(1, trader, amount=10**9)
    with desk.refused("margin: initial margin short"):
        run(world, order(trader, WAD))
    run(world, order(trader, WAD), paid_in)
    with desk.refused("margin: initial margin short"):
        run(world, order(trader, 3 * WAD), order(trader, WAD, SELL))
    run(world, order(trader, 3 * WAD), order(trader, 3 * WAD, SELL))
    assert desk.held(trader).size_wad == WAD
    desk.check()


def test_batch__trade_of_another__needs_the_permission(world: World) -> None:
    """I25"""
    desk = open_desk(world)
    trader = desk.trader()
    with desk.refused("operators: not permitted"):
        run(world, order(trader, WAD), sender=world.attacker)
    world.mandates.set_operator(trader, world.attacker, MAY_TRADE, FAR, sender=world.owner)
    run(world, order(trader, WAD), sender=world.attacker)
    assert desk.held(trader).size_wad == WAD


# ---- mandates


def mandated(desk: Desk, account: int, slippage_bps: int, *calls: tuple[str, Any]) -> None:
    """A hook that makes these calls of `Mandates` in a mandate of the account."""
    world = desk.world
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    mandates = world.mandates
    script = [(mandates.address, mandates.function(name).encode(*args)) for name, args in calls]
    hook.set_script(script, sender=world.governor)
    guard = (14_000, 1_000, slippage_bps, 0, 0, 0)
    mandates.set_guard(account, hook, guard, sender=world.owner)
    mandates.arm_budget((1_000 * WAD, 1, 1_000 * WAD), sender=world.owner)
    mandates.rebalance(account, sender=world.keeper)


def test_mandate__trade__is_bounded_by_the_slippage_of_the_guard(world: World) -> None:
    """Fee and impact are 79.67 basis points of the index price."""
    desk = open_desk(world)
    trader = desk.trader(cash=10_000)
    desk.trade(trader, 15 * WAD)
    price, index, _ = desk.perps.quote(ETH, trader, -WAD)
    assert 79 < (index - price) * 10_000 / index < 80
    with world.isolated(), desk.refused("perps: slippage above guard"):
        mandated(desk, trader, 79, ("trade", (ETH, -WAD)))
    with world.isolated(), desk.refused("perps: price stale"):
        world.make_stale("ETH")
        mandated(desk, trader, 80, ("trade", (ETH, -WAD)))
    mandated(desk, trader, 80, ("trade", (ETH, -WAD)))
    assert desk.held(trader).size_wad == 14 * WAD
    desk.check()


def test_mandate__settle__pays_a_gain_and_refuses_a_loss(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader(cash=10_000)
    desk.trade(trader, 15 * WAD)
    with world.isolated(), desk.refused("perpetuals: no gain"):
        mandated(desk, trader, 80, ("settle", (ETH,)))
    world.set_price("ETH", 2_100)
    cash, gain = desk.cash(trader), desk.result(trader)
    mandated(desk, trader, 80, ("settle", (ETH,)))
    assert gain - WAD < desk.cash(trader) - cash <= gain
    desk.check()


# ---- lists


def test_list__collateral_and_perpetual__each_keeps_the_asset_listed(world: World) -> None:
    """I27: the bit says perpetual, the entry says either."""
    desk = open_desk(world)
    trader = desk.trader()
    world.deposit(trader, "ETH", WAD)
    assert desk.slot(trader) == (True, False)
    desk.trade(trader, -WAD)
    assert desk.slot(trader) == (True, True)
    world.clearinghouse.withdraw(trader, ETH, WAD, world.owner, sender=world.owner)
    assert desk.slot(trader) == (True, True)
    world.deposit(trader, "ETH", WAD)
    desk.trade(trader, WAD)
    assert desk.slot(trader) == (True, False)
    desk.trade(trader, WAD, "BTC")
    desk.trade(trader, -WAD)
    world.deposit(trader, "BTC", 10**8)
    assert world.clearinghouse.listed_word(trader) == 0x0201 | 2 << 128 | 0b11 << 136
    desk.trade(trader, WAD)
    world.clearinghouse.withdraw(trader, ETH, WAD, world.owner, sender=world.owner)
    assert world.clearinghouse.listed_word(trader) == 0x02 | 1 << 128 | 1 << 136
    desk.check()


def test_list__full_of_sixteen__refuses_a_new_market_and_trades_what_is_there(
    wide_world: World,
) -> None:
    world = wide_world
    desk = open_desk(world)
    trader = desk.trader()
    for number, name in enumerate(world.names[1:]):
        world.deposit(trader, name, 10 ** world.decimals(name) + number)
    desk.trade(trader, WAD // 10, "BTC")
    desk.trade(trader, -WAD // 10, "BTC")
    desk.trade(trader, WAD)
    desk.trade(trader, -WAD)
    world.deposit(trader, "ETH", WAD)
    listed = world.clearinghouse.listed_word(trader)
    assert listed >> 128 & 255 == 16
    desk.trade(trader, WAD)
    desk.trade(trader, -WAD, "BTC")
    assert world.clearinghouse.listed_word(trader) >> 136 == 1 << 15 | 1


def test_list__sixteen_without_the_market__is_refused(wide_world: World) -> None:
    """The perpetual of a seventeenth asset: refused, and a loan or an exit is not in the way."""
    world = wide_world
    desk = open_desk(world)
    trader = desk.trader()
    asset = 200
    feed = world.feeds["ETH"]
    parameters = world.system.oracle.parameters(ETH)[0]
    world.system.oracle.list_asset(
        asset, feed, 3_900, 61, 77, 2_000 * WAD, 800_000, tuple(parameters), sender=world.governor
    )
    world.chain.mine()
    terms = desk.perps.terms_of(ETH)._replace(weight_bps=0)
    desk.perps.list_market(asset, tuple(terms), sender=world.governor)
    for name in world.names:
        world.deposit(trader, name, 10 ** world.decimals(name))
    world.system.oracle.poke([asset], sender=world.keeper)
    world.chain.mine()
    desk.set_terms("ETH", weight_bps=2_500)
    desk.set_terms("BTC", weight_bps=2_500)
    desk.perps.set_terms(asset, tuple(terms._replace(weight_bps=5_000)), sender=world.governor)
    desk.refresh()
    args = (trader, asset, WAD, UNLIMITED, FAR, False)
    with desk.refused("ledger: asset list full"):
        desk.perps.trade(*args, sender=world.owner)
    assert world.system.lens.largest_trade(trader, asset, True) == 0
    world.clearinghouse.withdraw(trader, BTC, 10**8, world.owner, sender=world.owner)
    desk.perps.trade(*args, sender=world.owner)
    assert world.clearinghouse.position_word(trader, asset) == WAD << 128


# ---- events


def test_trade__event__says_what_was_priced_and_what_was_booked(world: World) -> None:
    """One event of `Perps`; the ledger has none of its own but for the lists. The position has
    changed by its size, also where there is collateral beside it."""
    desk = open_desk(world)
    trader = desk.trader()
    fill = desk.predicted(trader, 2 * WAD)
    receipt = desk.trade(trader, 2 * WAD)
    traded = args_of(desk.perps, receipt, "Traded")
    made_at = desk.mark().made_at
    exposure = Exposure(2 * 10**9, 0, made_at, 0)
    held = desk.held(trader)
    market = world.clearinghouse.market_word(ETH)
    assert tuple(traded) == (
        trader,
        ETH,
        2 * WAD,
        fill.cost_change,
        2_000 * WAD,
        fill.price_wad,
        fill.fee_e6,
        held.cost_word,
        market,
        exposure.word,
    )
    assert held == Position(0, 2 * WAD, fill.cost_change, fill.entry_wad)
    assert {event.name for event in world.clearinghouse.events(receipt)} == {"AssetListChanged"}
    listed = [
        tuple(event.args)
        for event in world.clearinghouse.events(receipt)
        if event.name == "AssetListChanged"
    ]
    ledger = world.clearinghouse
    assert listed == [(who, ledger.listed_word(who)) for who in (trader, desk.house)]
    world.deposit(trader, "ETH", WAD)
    before = desk.held(trader)
    receipt = desk.trade(trader, -3 * WAD)
    traded, held = args_of(desk.perps, receipt, "Traded"), desk.held(trader)
    assert held.collateral_wad == WAD
    assert held.size_wad == before.size_wad + traded.size_change == -WAD
    assert held.cost_wad == before.cost_wad + traded.cost_change
    assert held.cost_word == traded.cost_word


def test_close__events__have_the_settlement_after_the_trade(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, WAD)
    before = desk.cash(trader)
    receipt = desk.trade(trader, -WAD)
    ledger = world.clearinghouse
    told = in_order(receipt, ledger, desk.perps)
    assert [e.name for e in told if e.name in ("Traded", "Settled")] == ["Traded", "Settled"]
    settled = args_of(ledger, receipt, "Settled")
    assert tuple(settled) == (
        trader,
        ETH,
        desk.cash(trader) - before,
        0,
        ledger.account_word(trader),  # the loser pays
        ledger.account_word(desk.house),
    )
    assert settled.moved < 0
    assert settled.moved == -args_of(desk.perps, receipt, "Traded").cost_word % 2**128 - 2**128


def insured_gwei(traded: Any) -> int:
    """A tenth of the fee that an event tells of, in 1e-9 of the quote token, down."""
    fee = Fraction(abs(traded.size_change) * traded.index_wad * traded.fee_e6, 10**36 * RATE)
    return floor(fee / 10 * GWEI)


steps = st.lists(
    st.tuples(
        st.sampled_from(("trade", "trade", "trade", "close", "price", "refresh", "wait", "terms")),
        st.integers(0, 2),
        st.integers(0, 1),
        st.integers(-1_000, 1_000),
    ),
    min_size=3,
    max_size=15,
)


def attempt(desk: Desk, step: tuple[str, int, int, int]) -> None:
    """One thing that traders, keepers or the governor do."""
    kind, sub, market, part = step
    name = ("ETH", "BTC")[market]
    trader = desk.world.account(sub)
    if kind == "trade":
        desk.trade(trader, part * WAD // (10, 100)[market])
    elif kind == "close":
        desk.trade(trader, part * 1_000 * WAD, name, reduce_only=True)
    elif kind == "price":
        desk.world.set_price(name, (2_000 + part // 2, 30_000 + 8 * part)[market])
    elif kind == "refresh":
        desk.refresh()
    elif kind == "wait":
        desk.world.wait(abs(part))
    else:
        desk.set_terms(name, round_cap_gwei=10**14 + part * GWEI)


@settings(max_examples=60)
@given(steps=steps)
def test_events__of_any_life__rebuild_every_word_of_the_markets(
    steps: list[tuple[str, int, int, int]],
) -> None:
    """I46: terms, mode, exposure and headroom of `Perps` from its events, with what insurance is
    owed of the fees; what the ledger holds is rebuilt in test_clearinghouse_events. Whatever
    happens, I18 and I19 hold."""
    world = shared_world()
    with world.isolated():
        desk = open_desk(world)
        for sub in range(3):
            desk.trader(sub)
        for step in steps:
            try:
                attempt(desk, step)
            except Reverted as error:
                assert error.reason, "a refusal without a reason"
            desk.check()
        terms: dict[int, Any] = {}
        exposure: dict[int, Exposure] = {}
        headroom: dict[int, Headroom] = {}
        for event in world.chain.events(desk.perps):
            args = event.args
            if event.name == "TermsChanged":
                assert args.old == terms.get(args.asset, args.old)
                terms[args.asset] = args.new
            elif event.name == "HeadroomRefreshed":
                fresh, known = Headroom.from_word(args.headroom_word), headroom.get(args.asset)
                assert fresh.insured_gwei == (known.insured_gwei if known else 0)
                headroom[args.asset] = fresh
            elif event.name == "Traded":
                old = exposure.get(args.asset, Exposure())
                new = exposure[args.asset] = Exposure.from_word(args.exposure_word)
                used = headroom[args.asset].used(
                    new.longs_gwei - old.longs_gwei, new.shorts_gwei - old.shorts_gwei
                )
                headroom[args.asset] = used.insured(insured_gwei(args))
        for asset in (ETH, BTC):
            assert desk.perps.terms_of(asset) == terms[asset]
            known = exposure.get(asset, Exposure())
            sides = known.longs_gwei * GWEI, known.shorts_gwei * GWEI
            assert tuple(desk.perps.exposure_of(asset)) == sides
            room = headroom[asset]
            units = room.long_gwei * GWEI, room.short_gwei * GWEI, room.refreshed_at
            assert tuple(desk.perps.headroom_of(asset)) == units
            assert desk.insured(("ETH", "BTC")[asset - ETH]) == room.insured_gwei
