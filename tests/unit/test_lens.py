"""The lens says what the contracts say, for many accounts at once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Reverted
from ballast.model import perps
from ballast.model.margin import RATE, Leg, terms_of
from tests.conftest import reverts
from tests.perps_kit import BTC, ETH, FAR, STEP, Desk, open_desk, open_rich_desk
from tests.support.fixtures import shared_world
from tests.support.world import (
    QUOTE,
    UNLIMITED,
    WAD,
    ZERO_ADDRESS,
    AssetSpec,
    World,
    build_world,
)
from tests.threats.kit import list_token


def test_healths__many_accounts__are_those_of_assess_in_order(wide_world: World) -> None:
    world = wide_world
    names = world.names
    accounts = [
        world.open_account(leverage=1 + sub % 3, mix={n: 1 for n in names[sub : sub + 5]}, sub=sub)
        for sub in range(8)
    ]
    world.set_price("ETH", 1_900)
    asked = [*accounts, world.account(99), accounts[3], accounts[3]]
    told = world.system.lens.healths(asked)
    assert [tuple(health) for health in told] == [
        tuple(world.clearinghouse.assess(account)) for account in asked
    ]
    assert list(world.system.lens.healths([])) == []


def test_healths__stale_price_and_interest__are_those_of_assess(world: World) -> None:
    account = world.open_account(leverage=3, mix={"ETH": 1, "BTC": 1})
    world.make_stale("ETH")
    world.chain.advance(30 * 86_400)
    told = world.system.lens.healths([account])[0]
    assert tuple(told) == tuple(world.clearinghouse.assess(account))
    assert told.equity_init < 10_000 * WAD


def test_healths__a_thousand_accounts__fit_in_one_call(world: World) -> None:
    account = world.open_account(leverage=3)
    told = world.system.lens.healths([account] * 1_000)
    assert len(told) == 1_000 and len(set(map(tuple, told))) == 1
    assert tuple(told[0]) == tuple(world.clearinghouse.assess(account))


def test_plans__sixty_four_accounts__are_the_most_of_one_call(world: World) -> None:
    accounts = [world.account(sub) for sub in range(65)]
    assert len(world.system.lens.plans(accounts[:64])) == 64
    with reverts(""):
        world.system.lens.plans(accounts)


def test_plans__enrolled_and_not__are_those_of_the_hook(world: World) -> None:
    ready, idle = world.open_account(leverage=3), world.open_account(leverage=2, sub=1)
    world.enrol(ready, trigger_bps=12_900)
    told = world.system.lens.plans([ready, idle])
    assert list(told) == [world.rebalancer.plan(ready), world.rebalancer.plan(idle)]
    assert [plan.code for plan in told] == [0, 1]


def test_picture__enrolled_account__holds_everything_about_it(world: World) -> None:
    account = world.open_account(leverage=3, mix={"BTC": 1, "ETH": 1}, sub=5)
    world.enrol(account, trigger_bps=12_900, wallet_cap_wad=7 * WAD, budget_wad=9 * WAD)
    told = world.system.lens.picture(account)
    house, mandates = world.clearinghouse, world.mandates
    assert (told.owner, told.sub) == (world.owner, 5)
    assert told.cash == house.picture_of(account)[0]
    assert tuple(told.health) == tuple(house.assess(account))
    assert (told.hook, told.guard) == (world.rebalancer.address, mandates.guard_of(account))
    assert (told.budget_left, told.wallet_left) == (9 * WAD, 7 * WAD)
    assert told.plan == world.rebalancer.plan(account)
    assert [holding.asset for holding in told.holdings] == [2, 1]
    assert sum(h.required_init for h in told.holdings) == told.health.required_init
    for holding, name in zip(told.holdings, ("BTC", "ETH"), strict=True):
        mark = world.system.oracle.marks([holding.asset])
        assert holding.token == world.tokens[name].address
        assert holding.collateral_wad == house.position_word(account, holding.asset)
        assert (holding.size_wad, holding.is_live) == (0, True)
        assert holding.price_wad == world.price_wad(name)
        assert holding.r_init_e6 | holding.l_init_e6 << 24 == mark[1] & 2**48 - 1
        assert holding.r_maint_e6 | holding.l_maint_e6 << 24 == mark[1] >> 48 & 2**48 - 1
        assert holding.quota_wad == (mark[1] >> 96 & 2**72 - 1) * 10**9
        assert holding.sigma_e6 == mark[1] >> 208


def test_picture__stale_asset__is_marked_so(world: World) -> None:
    account = world.open_account(leverage=2, mix={"ETH": 1, "BTC": 1})
    world.make_stale("ETH")
    told = world.system.lens.picture(account)
    assert [(h.asset, h.is_live) for h in told.holdings] == [(1, False), (2, True)]


def test_picture__another_hook__has_an_empty_plan(world: World) -> None:
    account = world.open_account(leverage=3)
    guard = (13_000, 300, 100, 0, 0, 0)
    world.mandates.set_guard(account, world.attacker, guard, sender=world.owner)
    told = world.system.lens.picture(account)
    assert told.hook == world.attacker
    assert (told.plan.code, told.plan.shortfall, list(told.plan.steps)) == (0, 0, [])


def test_picture__account_without_anything__is_empty(world: World) -> None:
    told = world.system.lens.picture(world.account(200))
    assert (told.cash, told.hook, list(told.holdings)) == (0, ZERO_ADDRESS, [])
    assert (told.budget_left, told.wallet_left) == (0, 0)
    world.deposit(world.account(200), QUOTE, 1)
    assert world.system.lens.picture(world.account(200)).cash == 10**12


# ---- perpetuals


def test_picture__perpetual__has_its_cost_entry_and_result(world: World) -> None:
    desk = open_desk(world)
    trader = world.open_account(leverage=2)
    desk.trade(trader, -3 * WAD)
    desk.trade(trader, WAD // 10, "BTC")
    world.set_price("ETH", 1_950)
    told = world.system.lens.picture(trader).holdings
    for holding, name in zip(told, ("ETH", "BTC"), strict=True):
        held = desk.held(trader, name)
        assert (holding.size_wad, holding.collateral_wad) == (held.size_wad, held.collateral_wad)
        assert (holding.cost_wad, holding.entry_wad) == (held.cost_wad, held.entry_wad)
        assert holding.result_wad == desk.result(trader, name) != 0
    world.deposit(trader, "BTC", 10**8)
    desk.trade(trader, -WAD // 10, "BTC")
    holding = world.system.lens.picture(trader).holdings[1]
    assert (holding.cost_wad, holding.entry_wad, holding.result_wad) == (0, 0, 0)


def test_healths__perpetuals_and_the_house__are_those_of_assess(world: World) -> None:
    """A leg without a perpetual has no cost word, so those of the others must not slip."""
    desk = open_desk(world)
    traders = [world.open_account(leverage=2, mix={"BTC": 1, "ETH": 1}), desk.trader(1)]
    desk.trade(traders[0], WAD)
    desk.trade(traders[1], -WAD, "BTC")
    desk.trade(traders[1], -4 * WAD)
    world.set_price("ETH", 2_050)
    world.wait(3_600)
    asked = [*traders, desk.house]
    told = world.system.lens.healths(asked)
    assert [tuple(h) for h in told] == [tuple(world.clearinghouse.assess(a)) for a in asked]


def test_position__life_of_a_trade__says_what_the_model_says(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    flat = world.system.lens.position(trader, ETH)
    assert flat == (0, 2_000 * WAD, 0, 0, 0, 0, 0, 0, False)
    for change in (3 * WAD + STEP, -WAD, -5 * WAD, 2 * WAD):
        desk.trade(trader, change)
        world.wait(86_400)
        world.set_price("ETH", desk.mark().price_wad // WAD + 20)
        desk.refresh()
        told, held, mark = world.system.lens.position(trader, ETH), desk.held(trader), desk.mark()
        assert (told.size_wad, told.price_wad) == (held.size_wad, mark.price_wad)
        assert told.value_wad == held.size_wad * mark.price_wad // WAD
        assert told.entry_price_wad == perps.entry_price_wad(held)
        assert told.break_even_wad == perps.break_even_wad(held, mark.funding_wad)
        assert told.result_wad == desk.result(trader)
        assert told.funding_owed_wad == perps.funding_owed_wad(held, mark)
        line = (told.liquidation_price_wad, told.has_liquidation_price)
        assert line == tuple(world.system.lens.liquidation_price(trader, ETH))


def test_position__just_opened__owes_its_funding_and_nothing_else(world: World) -> None:
    desk = open_desk(world, house_cash=10**9)
    trader = desk.trader(cash=10**8)
    price = desk.trade(trader, 1_000 * WAD).return_value
    told = world.system.lens.position(trader, ETH)
    assert (told.entry_price_wad, told.break_even_wad) == (price, price)
    assert told.result_wad == 1_000 * (2_000 * WAD - price) and told.funding_owed_wad == 0
    world.wait(30 * 86_400)
    told, f = world.system.lens.position(trader, ETH), desk.mark().funding_wad
    assert told.funding_owed_wad == 1_000 * f > 16_000 * WAD
    assert (told.entry_price_wad, told.break_even_wad) == (price, price + f)


def test_position__closed_and_unpaid__has_a_result_and_no_price(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader(cash=60_000)
    desk.trade(trader, 100 * WAD)
    world.set_price("ETH", 1_300)
    desk.trade(trader, -100 * WAD)
    told, rest = world.system.lens.position(trader, ETH), desk.held(trader).cost_wad
    assert rest > 9_000 * WAD
    assert told == (0, 1_300 * WAD, 0, 0, 0, -rest, rest, 0, False)


def test_position__asset_unknown__is_refused(world: World) -> None:
    for ask in (world.system.lens.position, world.system.lens.liquidation_price):
        with reverts("oracle: unknown asset"):
            ask(world.account(), 77)
    with reverts("perps: unknown market"):
        world.system.lens.largest_trade(world.account(), 77, True)


# ---- liquidation price


def excess_at(desk: Desk, account: int, name: str, price_wad: int) -> int:
    """Excess at maintenance if one price were another, by the exact model."""
    held, mark = desk.held(account, name), desk.mark(name)
    now, then = terms_of(held, mark), terms_of(held, mark, price_wad)
    return desk.assess(account).excess_maint - now.excess_maint + then.excess_maint


def check_line(desk: Desk, account: int, name: str) -> int | None:
    """The answer is the last price on the good side; beyond it, and nowhere before, is the bad."""
    world = desk.world
    price, has_price = world.system.lens.liquidation_price(account, world.asset(name))
    now = desk.mark(name).price_wad
    if desk.assess(account).excess_maint < 0:
        has_leg = desk.held(account, name).word != 0
        assert (price, has_price) == (now if has_leg else 0, has_leg)
        return int(price) if has_leg else None
    if not has_price:
        assert price == 0
        assert min(excess_at(desk, account, name, p) for p in (0, 1, 2**96 - 1)) >= -4
        return None
    away = 1 if price > now else -1
    if price == now:
        away = 1 if excess_at(desk, account, name, price + 1) < 0 else -1
    assert excess_at(desk, account, name, price) >= 0 > excess_at(desk, account, name, price + away)
    for part in range(1, 8):
        between = now + (price - now) * part // 8
        assert excess_at(desk, account, name, between) >= 0
    for beyond in (10**9, 10**18, price // 2):
        assert excess_at(desk, account, name, max(0, price + away * beyond)) < 0
    return int(price)


def test_liquidation_price__collateral_and_debt__is_where_maintenance_ends(world: World) -> None:
    """10 ETH worth 20,000 against 10,000: at p (1 - r - l) 10 = 10,000."""
    account = world.open_account(leverage=2)
    desk = Desk(world)
    risk = desk.mark().risk
    told = check_line(desk, account, "ETH")
    exact = Fraction(1_000 * WAD * RATE, RATE - risk.r_maint_e6 - risk.l_maint_e6)
    assert told is not None and 0 <= told - exact < WAD // 10**4, "interest"
    assert told == perps.liquidation_price_wad(
        world.clearinghouse.picture_of(account)[0], [Leg(ETH, desk.held(account), desk.mark())], ETH
    )
    assert check_line(desk, account, "BTC") is None
    rich = world.open_account(leverage=1, sub=1)
    assert check_line(desk, rich, "ETH") is None


def test_liquidation_price__long_and_short__lie_on_either_side(world: World) -> None:
    desk = open_desk(world)
    long, short = desk.trader(cash=10_000), desk.trader(1, cash=10_000)
    desk.trade(long, 15 * WAD)
    desk.trade(short, -15 * WAD)
    below, above = check_line(desk, long, "ETH"), check_line(desk, short, "ETH")
    assert below is not None and above is not None
    assert 1_300 * WAD < below < 2_000 * WAD < above < 2_700 * WAD


def test_liquidation_price__hedged_pair__is_far_above(world: World) -> None:
    """All that is left is the rate on gross, which grows with the price."""
    desk = open_desk(world)
    account = world.open_account(leverage="1.5")
    desk.trade(account, -desk.held(account).collateral_wad // STEP * STEP)
    told = check_line(desk, account, "ETH")
    assert told is not None and told > 10 * 2_000 * WAD


def test_liquidation_price__below_maintenance_already__is_the_present_price(world: World) -> None:
    account = world.open_account(leverage=3)
    world.set_price("ETH", 1_450)
    desk = Desk(world)
    assert desk.assess(account).excess_maint < 0
    assert check_line(desk, account, "ETH") == 1_450 * WAD
    assert check_line(desk, account, "BTC") is None
    # A wei of an asset is enough to ask about it.
    account = world.open_account(leverage=3, mix={"BTC": 1}, owner=world.other_owner)
    world.fund(world.other_owner, "ETH", 1)
    world.deposit(account, "ETH", 1)
    world.set_price("BTC", 21_000)
    assert desk.held(account).collateral_wad == 1 and desk.assess(account).excess_maint < 0
    assert check_line(desk, account, "ETH") == 1_450 * WAD


def test_liquidation_price__feed_that_goes_there__makes_it_true(world: World) -> None:
    """On the chain: the last round on the good side, and the first on the other."""
    desk = open_desk(world)
    account = world.open_account(leverage=2, mix={"ETH": 1, "BTC": 1})
    desk.trade(account, 3 * WAD)
    for name in ("ETH", "BTC"):
        told = check_line(desk, account, name)
        assert told is not None
        for step, is_safe in ((10**10, True), (-(10**10), False)):
            with world.isolated():
                price = (told // 10**10 * 10**10 + 10**10 + step) // 10**10
                # Interest of some blocks is a few units; half a dollar covers it.
                world.feeds[name].set_answer(
                    price + (10**8 // 2 if is_safe else 0), sender=world.governor
                )
                assert (desk.assess(account).excess_maint >= 0) == is_safe


assets = st.sampled_from(("ETH", "BTC"))
accounts = st.tuples(
    st.integers(0, 40_000),  # cash
    st.integers(0, 20_000),  # ETH in thousandths
    st.integers(0, 1_000),  # BTC in thousandths
    st.lists(st.tuples(assets, st.integers(-1_000, 1_000)), max_size=4),  # trades
    st.integers(0, 100),  # percent of what could be borrowed
    st.integers(-120, 120),  # move of ETH in thousandths
    st.integers(-1_500, 1_500),  # what somebody else holds, ETH
    st.integers(0, 10),  # days that go by
)


def live(desk: Desk, drawn: Any) -> int:
    """An account with all sorts of things in it."""
    world = desk.world
    cash, ether, bitcoin, trades, percent, move, skew, days = drawn
    if skew:
        desk.trade(desk.trader(owner=world.other_owner, cash=10**8), skew * WAD)
    account = desk.trader(cash=cash)
    world.deposit(account, "ETH", ether * 10**15)
    world.deposit(account, "BTC", bitcoin * 10**5)
    for name, part in trades:
        most = world.system.lens.largest_trade(account, world.asset(name), part > 0)
        size = most * abs(part) // 1_000 // STEP * STEP
        with suppress(Reverted):
            desk.trade(account, size if part > 0 else -size, name)
    excess = desk.assess(account).excess_init
    units = max(excess, 0) // 10**12 * percent // 100
    if units:
        with suppress(Reverted):
            world.borrow(account, units)
    if days:
        world.wait(days * 86_400)
    if move:
        world.set_price("ETH", 2_000 + 2 * move)
    return account


@given(drawn=accounts)
def test_liquidation_price__any_account__is_where_maintenance_ends(drawn: Any) -> None:
    world = shared_world()
    with world.isolated():
        desk = open_desk(world)
        account = live(desk, drawn)
        for name in ("ETH", "BTC"):
            check_line(desk, account, name)


# ---- largest trade

CAPS = {
    "perps: open interest cap",
    "perps: skew cap",
    "perps: round cap",
    "perps: headroom used up",
}
REFUSALS = CAPS | {
    "margin: initial margin short",
    "margin: price not usable",
    "perps: size below minimum",
    "perps: breaker tripped",
    "perps: headroom stale",
    "perps: close only",
    "perps: price not usable",
    "perps: price stale",
    "perps: position too large",
}


def outcome(desk: Desk, account: int, name: str, change: int) -> str:
    """Why a trade would be refused in this second; nothing happens."""
    world = desk.world
    limit = UNLIMITED if change > 0 else 0
    try:
        desk.perps.trade.call(
            account,
            world.asset(name),
            change,
            limit,
            FAR,
            False,
            sender=world.owner_of(account),
        )
    except Reverted as error:
        return error.reason or "no reason"
    return ""


def check_largest(desk: Desk, account: int, name: str, is_long: bool) -> int:
    """The answer is filled, one step more is not, nor is anything larger."""
    world, sign = desk.world, 1 if is_long else -1
    asset = world.asset(name)
    largest = int(world.system.lens.largest_trade(account, asset, is_long))
    assert largest % STEP == 0
    if largest:
        assert outcome(desk, account, name, sign * largest) == ""
    held = sign * desk.held(account, name).size_wad
    least = desk.perps.terms_of(asset).min_size_gwei * STEP
    for more in (STEP, least, largest // 100, largest, 10**21):
        beyond = largest + max(more // STEP * STEP, STEP)
        refusal = outcome(desk, account, name, sign * beyond)
        assert refusal in REFUSALS, (refusal, largest, beyond, held)
    return largest


def test_largest_trade__cash_alone__is_what_initial_margin_allows(world: World) -> None:
    """10,000 dollars: p (r + l) q and the fee on q."""
    desk = open_desk(world)
    trader = desk.trader(cash=10_000)
    for is_long in (True, False):
        largest = check_largest(desk, trader, "ETH", is_long)
        mark = desk.mark()
        rate = mark.rate_init_e6 + desk.market().terms.fee_e6(mark.risk.sigma_e6)
        assert abs(largest - 10_000 * WAD * RATE // (2_000 * rate)) < WAD // 1_000
    assert world.system.lens.largest_trade(world.account(9), ETH, True) == 0
    assert world.system.lens.largest_trade(desk.house, ETH, True) == 0


def test_largest_trade__other_side_held__closes_it_first(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader(cash=10_000)
    desk.trade(trader, 10 * WAD)
    with world.isolated():
        assert check_largest(desk, trader, "ETH", False) > 25 * WAD
    desk.perps.set_close_only(ETH, True, sender=world.governor)
    assert check_largest(desk, trader, "ETH", False) == 10 * WAD
    assert check_largest(desk, trader, "ETH", True) == 0


def test_largest_trade__caps__bind_before_the_margin(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, 5 * WAD)
    for terms in (
        {"open_interest_cap_gwei": 25 * 10**9},
        {"skew_cap_gwei": 14 * 10**9},
        {"round_cap_gwei": 17 * 10**9},
        {"weight_bps": 20},
    ):
        with world.isolated():
            desk.set_terms(**terms)
            desk.refresh()
            for is_long in (True, False):
                largest = check_largest(desk, trader, "ETH", is_long)
                closing = 0 if is_long else 5 * WAD
                most = desk.perps.largest_increase(ETH, trader, is_long)
                assert largest == closing + most


def test_largest_trade__rich_beyond_what_words_hold__ends_at_the_largest_value(
    world: World,
) -> None:
    desk, trader, largest = open_rich_desk(world)
    for is_long in (True, False):
        assert check_largest(desk, trader, "ETH", is_long) == largest


def test_largest_trade__less_than_the_minimum__is_none(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader(cash=5)
    assert check_largest(desk, trader, "ETH", True) == 0
    desk.set_terms(min_size_gwei=10**6)
    assert 10**16 > check_largest(desk, trader, "ETH", True) > 10**15


def test_largest_trade__below_initial_margin__is_what_leaves_it_no_riskier(world: World) -> None:
    desk = open_desk(world)
    trader = world.open_account(leverage=3)
    world.set_price("ETH", 1_850)
    desk.refresh()
    assert desk.assess(trader).excess_init < 0
    assert check_largest(desk, trader, "ETH", True) == 0
    collateral = desk.held(trader).collateral_wad
    assert check_largest(desk, trader, "ETH", False) > collateral
    desk.trade(trader, -collateral // 3 // STEP * STEP)
    assert check_largest(desk, trader, "ETH", False) > collateral // 2
    check_largest(desk, trader, "ETH", True)


def test_largest_trade__closing_a_hedge__stops_where_the_margin_does(world: World) -> None:
    """A loan against a hedged pair: without the hedge the collateral would not bear it."""
    desk = open_desk(world)
    trader = world.open_account(leverage=2)
    desk.trade(trader, -desk.held(trader).collateral_wad)
    excess = desk.assess(trader).excess_init
    world.borrow(trader, excess // 10**12 * 9 // 10)
    largest = check_largest(desk, trader, "ETH", True)
    assert 0 < largest < desk.held(trader).collateral_wad
    check_largest(desk, trader, "ETH", False)


@pytest.mark.parametrize("price", [1_950, 2_050])
def test_largest_trade__hedge_whose_closing_settles__is_judged_with_the_cash(
    world: World, price: int
) -> None:
    """At exactly the closing size a gain becomes cash, and a loss a loan."""
    desk = open_desk(world)
    trader = world.open_account(leverage=2)
    size = desk.held(trader).collateral_wad
    desk.trade(trader, -size)
    world.set_price("ETH", price)
    desk.refresh()
    for percent in range(0, 100, 7):
        with world.isolated():
            excess = desk.assess(trader).excess_init
            world.borrow(trader, max(1, excess // 10**12 * percent // 100))
            for is_long in (True, False):
                check_largest(desk, trader, "ETH", is_long)


def test_largest_trade__price_of_this_block_or_stale_neighbour__is_still_exact(
    world: World,
) -> None:
    desk = open_desk(world)
    trader = world.open_account(leverage=2, mix={"ETH": 1, "BTC": 1})
    desk.trade(trader, 2 * WAD)
    for newest in (1_990, 2_010):
        with world.isolated(), world.chain.one_block():
            world.feeds["ETH"].set_answer(newest * 10**8, sender=world.governor)
            for is_long in (True, False):
                assert check_largest(desk, trader, "ETH", is_long) > 0
    world.make_stale("BTC")
    desk.refresh()
    for is_long in (True, False):
        check_largest(desk, trader, "ETH", is_long)
        assert check_largest(desk, trader, "BTC", is_long) == 0


# A hedge helps at initial margin, where direction is dear. At maintenance direction frees 5% and
# gross takes 4.8%, so there it does not as soon as it costs anything.
STEEP = {
    **{"z_init_bps": 0, "z_maint_bps": 0, "z_l_bps": 0},
    **{"floor_init_bps": 2_000, "floor_maint_bps": 500, "floor_l_bps": 960, "cap_l_bps": 960},
}


@pytest.mark.parametrize("quota", [1_000, 6])
def test_largest_trade__hedge_of_which_the_least_is_refused__is_what_suffices(quota: int) -> None:
    """The least order is too little for initial margin and riskier at maintenance; the whole hedge
    of what counts as collateral passes, and of more the charge on gross ends it."""
    world = build_world({"ETH": AssetSpec(18, 2_000, STEEP | {"quota": quota})})
    desk = open_desk(world)
    trader = world.account()
    world.deposit(trader, "ETH", 10 * WAD)
    world.borrow(trader, desk.assess(trader).excess_init // 10**12)
    world.set_price("ETH", 1_600)
    desk.calm()
    counted = min(10, quota)
    freed_e6 = 104 * RATE // 1_000 - desk.market().terms.fee_e6(desk.mark().risk.sigma_e6)
    freed = 1_600 * counted * freed_e6 // RATE  # by the whole hedge, quote
    assert desk.assess(trader).excess_init < 0
    missing = -desk.assess(trader).excess_init // WAD
    world.deposit(trader, QUOTE, (missing - freed + 200) * 10**6)
    assert outcome(desk, trader, "ETH", -(10**16)) == "margin: initial margin short"
    largest = check_largest(desk, trader, "ETH", False)
    assert counted * WAD < largest < (counted + 3) * WAD


def test_largest_trade__hedge_whose_premium_outgrows_what_it_frees__ends_there() -> None:
    """Far below initial margin a part passes for leaving the account no riskier; all would not."""
    world = build_world({"ETH": AssetSpec(18, 2_000, STEEP)})
    desk = open_desk(world)
    desk.make_free()
    thousand = 10**12
    desk.set_terms(
        depth_gwei=thousand, skew_cap_gwei=thousand // 50, open_interest_cap_gwei=thousand // 2
    )
    trader = world.account()
    world.deposit(trader, "ETH", 10 * WAD)
    world.borrow(trader, desk.assess(trader).excess_init // 10**12)
    world.set_price("ETH", 1_600)
    desk.calm()
    largest = check_largest(desk, trader, "ETH", False)
    # A unit of skew costs a thousandth, half of it in the mean.
    assert largest == pytest.approx(4 * WAD, rel=0.2)


@given(drawn=accounts, name=assets, is_long=st.booleans(), is_new=st.booleans())
def test_largest_trade__any_account__is_filled_and_a_step_more_is_not(
    drawn: Any, name: str, is_long: bool, is_new: bool
) -> None:
    world = shared_world()
    with world.isolated():
        desk = open_desk(world)
        account = live(desk, drawn)
        world.refresh()
        desk.refresh()
        if not is_new:
            check_largest(desk, account, name, is_long)
            return
        with world.chain.one_block():
            world.feeds["ETH"].set_answer(1_990 * 10**8, sender=world.governor)
            check_largest(desk, account, name, is_long)


# ---- the largest trade to the WAD

FINE = 201  # an asset at one quote token, of which the least amount is worth a WAD
HEDGED = 10 * WAD - 7 * STEP  # so that its value is no whole number of WAD


@dataclass(frozen=True)
class Hedge:
    """Nearly ten ether and the perpetual against them, closed when it has lost or won so much."""

    result: int  # quote per unit, before fees, which are some four percent
    cash: int = 0  # quote
    debt_percent: int = 0  # of what may be borrowed before the order
    bitcoin_percent: int = 0  # of the largest position beside it
    house_cash: int | None = None  # quote that is left of it; plenty by default
    lendable: int | None = None  # quote
    coins: int = 0  # bitcoin as collateral beside it
    days: int = 0  # of interest


HEDGES = {
    "a gain repays a part": Hedge(150, debt_percent=95),
    "a gain repays all": Hedge(150, debt_percent=3, bitcoin_percent=98),
    "a gain without a loan": Hedge(150, bitcoin_percent=98),
    "a gain beyond the house's cash": Hedge(150, debt_percent=95, house_cash=100),
    "a loss from cash": Hedge(-50, cash=2_000, bitcoin_percent=98),
    "a loss from cash and a loan": Hedge(-50, cash=200, bitcoin_percent=98),
    "a loss from a loan": Hedge(-50, debt_percent=95),
    "a loss beyond what is lent": Hedge(-50, cash=200, bitcoin_percent=98, lendable=150),
    "a loss from a loan that bitcoin bears": Hedge(-50, coins=3, debt_percent=95, days=90),
    "a loss beyond what is lent, after months": Hedge(
        -50, coins=3, debt_percent=90, lendable=150, days=90
    ),
    "a gain that repays a part, after months": Hedge(150, debt_percent=90, days=90),
}


def hedged(desk: Desk, hedge: Hedge) -> int:
    """An account as described, that may only close in ETH."""
    world = desk.world
    token = world.chain.deploy("MockToken", "fine", "FINE", 18, sender=world.governor)
    feed = list_token(world, token, FINE, price=1)
    token.mint(world.owner, 10**24, sender=world.governor)
    token.approve(world.clearinghouse, UNLIMITED, sender=world.owner)
    account = world.account()
    world.deposit(account, "ETH", HEDGED)
    if hedge.coins:
        world.deposit(account, "BTC", hedge.coins * 10**8)
    if hedge.cash:
        world.deposit(account, QUOTE, hedge.cash * 10**6)
    desk.trade(account, -HEDGED)
    if hedge.house_cash is not None:
        drain_house(desk)
        desk.fund_house(hedge.house_cash)
    world.set_price("ETH", 2_000 - hedge.result)
    desk.refresh()
    if hedge.bitcoin_percent:
        most = world.system.lens.largest_trade(account, BTC, True)
        desk.trade(account, most * hedge.bitcoin_percent // 100 // STEP * STEP, "BTC")
    if hedge.debt_percent:
        units = desk.assess(account).excess_init // 10**12
        world.borrow(account, units * hedge.debt_percent // 100)
    if hedge.lendable is not None:
        vault, lender = world.system.vault, world.lender
        idle = vault.max_loan() - hedge.lendable * 10**6
        vault.withdraw(idle, lender, lender, sender=lender)
    if hedge.days:
        world.wait(hedge.days * 86_400)
        feed.set_answer(feed.latestRoundData()[1], sender=world.governor)
        world.system.oracle.poke([FINE], sender=world.keeper)
        desk.refresh()
    desk.perps.set_close_only(ETH, True, sender=world.governor)
    return account


def drain_house(desk: Desk) -> None:
    """Somebody else wins all that it has."""
    winner = desk.trader(owner=desk.world.other_owner)
    desk.trade(winner, 20 * WAD)
    desk.world.set_price("ETH", 5_000)
    desk.settle(winner)
    assert desk.world.clearinghouse.picture_of(desk.house)[0] == 0


@pytest.mark.parametrize("case", sorted(HEDGES))
def test_largest_trade__closing_that_just_suffices__is_accepted_from_the_same_wad(
    world: World, case: str
) -> None:
    """The ledger settles as it closes, and the lens foretells it to the last unit."""
    hedge = HEDGES[case]
    if hedge.house_cash is None:
        desk = open_desk(world)
    else:
        desk = open_desk(world, 30_000)
        desk.back_only("ETH")
    account = hedged(desk, hedge)

    def answers(units: int) -> tuple[bool, bool]:
        with world.isolated():
            if units:
                world.clearinghouse.deposit(account, FINE, units, sender=world.owner)
            else:
                world.chain.mine()
            told = world.system.lens.largest_trade(account, ETH, True)
            return outcome(desk, account, "ETH", HEDGED) == "", told == HEDGED

    low, high = 0, 10**23
    assert answers(low) == (False, False) and answers(high) == (True, True)
    paid = desk.perps.quote(ETH, account, HEDGED)[0] * HEDGED // WAD
    assert (-desk.held(account).cost_wad > paid) == (hedge.result > 0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if answers(middle)[0] else (middle, high)
    assert answers(low) == (False, False) and answers(high) == (True, True)


# ---- the largest trade where the ledger's own rules end it


def test_largest_trade__sixteen_other_assets__leave_no_place(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    for asset in range(FINE, FINE + 16):
        token = world.chain.deploy("MockToken", "fine", "FINE", 18, sender=world.governor)
        list_token(world, token, asset, price=1)
        token.mint(world.owner, 1, sender=world.governor)
        token.approve(world.clearinghouse, 1, sender=world.owner)
        desk.refresh()
        assert check_largest(desk, trader, "ETH", True) > 0
        world.clearinghouse.deposit(trader, asset, 1, sender=world.owner)
    assert world.system.lens.largest_trade(trader, ETH, True) == 0
    assert outcome(desk, trader, "ETH", WAD) == "ledger: asset list full"


def test_largest_trade__price_stale__does_not_even_close(world: World) -> None:
    desk = open_desk(world)
    trader = desk.trader()
    desk.trade(trader, WAD)
    assert world.system.lens.largest_trade(trader, ETH, False) > WAD
    world.make_stale("ETH")
    assert check_largest(desk, trader, "ETH", False) == 0


def test_largest_trade__beside_a_position__may_be_less_than_the_minimum(world: World) -> None:
    desk = open_desk(world)
    desk.set_terms(min_size_gwei=10**6)
    trader = desk.trader(cash=5)
    most = check_largest(desk, trader, "ETH", True)
    for left in (10**5 * STEP, STEP):
        with world.isolated():
            desk.trade(trader, most - left)
            assert check_largest(desk, trader, "ETH", True) == left
    desk.set_terms(min_size_gwei=1)
    desk.trade(trader, STEP)
    desk.perps.set_close_only(ETH, True, sender=world.governor)
    assert check_largest(desk, trader, "ETH", False) == STEP
