"""Liquidation: who may be liquidated, how much is taken, what it costs, and how the taker pays.

Figures are those of `ballast.model.liquidation`, or are worked out beside the assertion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from eth_utils import keccak

from ballast.chain import BLOCK_INTERVAL_S, Contract, Reverted
from ballast.deploy import account_id
from ballast.model.margin import BPS, WAD, div_up
from tests.clearing_kit import UNIT, debt_units, excess_init
from tests.conftest import reverts
from tests.liquidation_kit import (
    ANY_STATE,
    CHANGED,
    HEALTHY,
    NEVER,
    NOT_FOR_HOUSE,
    NOT_PERMITTED,
    ROUNDING_WAD,
    SHARE_WAD,
    Floor,
    hedger,
    long_victim,
    open_floor,
)
from tests.perps_kit import ETH
from tests.support.fixtures import shared_world
from tests.support.hooks import (
    BURNS,
    LOOSEST_GUARD,
    PLAYS,
    REVERTS,
    REVERTS_BARE,
    deploy_hook,
    hand_over,
)
from tests.support.world import QUOTE, AssetSpec, World, build_world
from tests.threats.kit import EXTRA_ID, list_token

OWN_ACCOUNT = "liquidator: own account"
JUST_INCREASED = "liquidator: risk just increased"
BUSY = "liquidator: clearinghouse busy"
MAY_LIQUIDATE = 32


# ---- who may be liquidated


def test_liquidate__at_maintenance_to_the_wei__is_refused_and_a_unit_below_is_not(
    floor: Floor, victim: int
) -> None:
    """I13: at a price of whole dollars figures are whole token units."""
    world, taker = floor.world, floor.taker()
    floor.drop(world.price_wad("ETH") // (2 * WAD) * 2)
    with world.chain.one_block():
        terms = floor.assess(victim)
        assert terms.excess_maint % UNIT == 0
        missing = -terms.excess_maint // UNIT
        world.fund(world.owner, QUOTE, missing + 1)
        with world.isolated():
            world.clearinghouse.repay(victim, missing, sender=world.owner)
            assert floor.assess(victim).excess_maint == -UNIT
            assert floor.liquidate(victim, taker).return_value > 0
        # Of what is repaid a unit may be lost to rounding.
        world.clearinghouse.repay(victim, missing + 1, sender=world.owner)
        assert floor.assess(victim).excess_maint == 0
        with floor.refused(HEALTHY):
            floor.liquidate(victim, taker)


@pytest.mark.parametrize("leverage", [0, 2])
def test_liquidate__sound_account__is_refused(floor: Floor, leverage: int) -> None:
    account = floor.world.account()
    if leverage:
        floor.world.open_account(leverage)
    taker = floor.taker()
    with floor.refused(HEALTHY):
        floor.liquidate(account, taker)


def test_liquidate__house_or_an_alias__is_refused(floor: Floor, victim: int) -> None:
    """One number for an account: with more bits it could be had twice."""
    taker = floor.taker()
    for account in (floor.house, victim + 2**168, victim + 2**248):
        with floor.refused(NOT_FOR_HOUSE):
            floor.liquidate(account, taker)
        with floor.refused(NOT_FOR_HOUSE):
            floor.flag(account)


def test_liquidate__into_a_sibling__is_refused(floor: Floor, victim: int) -> None:
    world = floor.world
    world.deposit(world.account(1), QUOTE, 10**11)
    for taker in (victim, world.account(1)):
        with floor.refused(OWN_ACCOUNT):
            floor.liquidate(victim, taker)


def test_liquidate__for_an_account_of_somebody_else__needs_its_permission(
    floor: Floor, victim: int
) -> None:
    world, taker = floor.world, floor.taker()
    keeper = world.keeper

    def allow(permissions: int, until: int = NEVER) -> None:
        world.mandates.set_operator(taker, keeper, permissions, until, sender=world.other_owner)

    with floor.refused(NOT_PERMITTED):
        floor.liquidate(victim, taker, sender=keeper)
    allow(63 - MAY_LIQUIDATE)
    with floor.refused(NOT_PERMITTED):
        floor.liquidate(victim, taker, sender=keeper)
    with world.isolated():
        allow(MAY_LIQUIDATE, world.chain.time + 2 * BLOCK_INTERVAL_S)
        with floor.refused(NOT_PERMITTED):
            floor.liquidate(victim, taker, sender=keeper)
    allow(MAY_LIQUIDATE)
    receipt = floor.liquidate(victim, taker, sender=keeper)
    told = floor.told(receipt, "Liquidated")
    assert (told.taker, told.caller) == (taker, keeper)


@pytest.mark.parametrize("taker", [2**168 + 5, 2**250])
def test_liquidate__taker_beyond_account_numbers__is_refused(
    floor: Floor, victim: int, taker: int
) -> None:
    with reverts():
        floor.liquidate(victim, taker, sender=floor.world.other_owner)


def test_liquidate__risk_of_the_account_grew_in_this_block__is_refused(floor: Floor) -> None:
    """A price that falls under somebody who was tested a moment ago."""
    world = floor.world
    victim, taker = world.open_account("2.4"), floor.taker()
    feed = world.feeds["ETH"]
    with world.isolated(), world.chain.one_block():
        world.borrow(victim, 1)
        feed.set_answer(1_200 * 10**8, sender=world.governor)
        assert floor.assess(victim).excess_maint < 0
        with floor.refused(JUST_INCREASED):
            floor.liquidate(victim, taker)
    world.borrow(victim, 1)
    feed.set_answer(1_200 * 10**8, sender=world.governor)
    assert floor.liquidate(victim, taker).return_value > 0


def test_liquidate__risk_of_the_taker_grew_in_this_block__is_refused(
    floor: Floor, victim: int
) -> None:
    world, taker = floor.world, floor.taker(cash=0, ether=100)
    with world.isolated(), world.chain.one_block():
        world.borrow(taker, 1)
        with floor.refused(JUST_INCREASED):
            floor.liquidate(victim, taker)
    world.borrow(taker, 1)
    assert floor.liquidate(victim, taker).return_value > 0


def test_liquidate__taker_took_already_in_this_block__may_take_again(floor: Floor) -> None:
    """What it took has passed the test of an increase and is none of its own making."""
    world, taker = floor.world, floor.taker(cash=0, ether=100)
    victims = [world.open_account("2.5", sub=sub) for sub in (0, 1)]
    floor.sink(*victims)
    with world.chain.one_block():
        for victim in victims:
            assert floor.liquidate(victim, taker).return_value > 0
    assert excess_init(world, taker) >= 0


def test_liquidate__other_state_than_expected__is_refused(floor: Floor, victim: int) -> None:
    taker, state = floor.taker(), floor.liquidator.state_of(victim)
    wrong = bytes([state[0] ^ 1]) + state[1:]
    with floor.refused(CHANGED):
        floor.liquidate(victim, taker, state=wrong)
    assert floor.liquidate(victim, taker, state=state).return_value > 0


def test_state_of__prices_and_time__do_not_change_it(floor: Floor) -> None:
    world = floor.world
    account = world.open_account("1.5", {"ETH": 2, "BTC": 1})
    floor.trade(account, WAD)
    state = floor.liquidator.state_of(account)
    assert state != ANY_STATE
    world.wait(10_000)
    world.set_price("ETH", 1_900)
    floor.flag(account)
    assert floor.liquidator.state_of(account) == state


def test_state_of__account__is_a_hash_of_its_words_and_costs(floor: Floor) -> None:
    world, ledger = floor.world, floor.world.clearinghouse
    account = world.open_account("1.1", {"ETH": 1, "BTC": 1})
    floor.trade(account, -WAD // 10, "BTC")
    state = keccak(int(ledger.account_word(account)).to_bytes(32, "big"))
    for name in world.names:
        held, asset = floor.held(account, name), world.asset(name)
        words = (asset, held.word, held.cost_wad % 2**256)
        state = keccak(state + b"".join(word.to_bytes(32, "big") for word in words))
    assert floor.held(account, "BTC").cost_wad < 0
    assert floor.liquidator.state_of(account) == state


CHANGES: Mapping[str, Callable[[Floor, int], object]] = {
    "cash": lambda floor, account: floor.world.deposit(account, QUOTE, 10),
    "debt": lambda floor, account: floor.world.borrow(account, 1),
    "collateral": lambda floor, account: floor.world.deposit(account, "ETH", 1),
    "another asset": lambda floor, account: floor.world.deposit(account, "BTC", 1),
    "size": lambda floor, account: floor.trade(account, 10**16),
    "cost": lambda floor, account: floor.settle(account),
}


@pytest.mark.parametrize("change", CHANGES)
def test_state_of__any_holding_changes__changes_it(floor: Floor, change: str) -> None:
    world = floor.world
    account = world.open_account("1.1")
    floor.trade(account, WAD // 10)
    world.set_price("ETH", 2_020)
    state = floor.liquidator.state_of(account)
    CHANGES[change](floor, account)
    assert floor.liquidator.state_of(account) != state


def test_every_entry__while_the_clearing_house_is_busy__is_refused(
    floor: Floor, victim: int
) -> None:
    """I42"""
    world, liquidator = floor.world, floor.liquidator
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    hooked, own = world.open_account(1, sub=7), account_id(hook.address)
    guard = (13_000, 300, 100, 0, 0, 0)
    world.mandates.set_guard(hooked, hook, guard, sender=world.owner)
    liquidator.transfer_ownership(hook, sender=world.governor)
    hook.run([(liquidator.address, liquidator.accept_ownership.encode())], sender=world.keeper)
    for data in (
        liquidator.liquidate.encode(victim, own, ANY_STATE),
        liquidator.flag.encode(victim),
        liquidator.collect_fees.encode(),
    ):
        hook.set_script([(liquidator.address, data)], sender=world.governor)
        with floor.refused(BUSY):
            world.mandates.rebalance(hooked, sender=world.keeper)


def test_rescue__called_by_anybody_but_itself__is_refused(floor: Floor, victim: int) -> None:
    for sender in (floor.world.governor, floor.world.owner, floor.world.keeper):
        with reverts("liquidator: only itself"):
            floor.liquidator.rescue(victim, sender=sender)


# ---- the slice

MIXES: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "ether": ("2.5", {"ETH": "1"}, "ETH"),
    "ether and bitcoin": ("2.5", {"ETH": "2", "BTC": "1"}, "ETH"),
    "mostly bitcoin": ("2.4", {"ETH": "1", "BTC": "5"}, "BTC"),
}


@pytest.mark.parametrize("mix", MIXES)
def test_liquidate__below_maintenance__is_cured_to_the_target_for_the_bonus(
    floor: Floor, mix: str
) -> None:
    """I13 I34: insurance has its part, and nobody gains or loses anything else."""
    world, taker = floor.world, floor.taker()
    leverage, weights, name = MIXES[mix]
    victim = world.open_account(leverage, weights, equity=100_000)
    floor.sink(victim, name=name)
    accounts = (victim, taker, floor.insurance)
    with floor.a_block_later():
        terms, part = floor.now(victim)
        before = [floor.worth(account) for account in accounts]
        held = [[floor.held(account, name) for name in world.names] for account in accounts]
    fee = part.bonus_wad * 2_000 // BPS
    receipt = floor.liquidate(victim, taker)
    assert receipt.return_value == part.fraction_wad < WAD
    own, gain, paid = (
        floor.worth(account) - old for account, old in zip(accounts, before, strict=True)
    )
    assert 0 <= own + part.bonus_wad < ROUNDING_WAD and paid == fee
    assert 0 <= part.bonus_wad - fee - gain < ROUNDING_WAD
    for taken in part.taken:
        index = taken.leg.asset - 1
        asset = world.names[index]
        assert taken.collateral_wad > 0
        left = held[0][index].collateral_wad - taken.collateral_wad
        assert floor.held(victim, asset).collateral_wad == left
        assert floor.held(taker, asset).collateral_wad == taken.collateral_wad
    after = floor.assess(victim)
    # What is not taken to a token unit is left: of bitcoin at most 1e-8.
    loose = max(world.price_wad(name) * world.unit_wad(name) // WAD for name in world.names)
    assert abs(after.equity_maint * BPS - after.required_maint * 12_500) < loose * 20_000
    assert after.required_maint == terms.required_maint - part.freed_wad


def test_liquidate__example_by_hand__is_what_the_formulas_say(world: World) -> None:
    """E = 2,250, R = 2,300, discount 8.2%: 23% of it is taken for a bonus of 43."""
    floor = open_floor(world)
    victim, taker = world.open_account("2.5"), floor.taker()
    for price in range(1_980, 1_379, -20):
        world.set_price("ETH", price)
    rates = floor.mark().risk
    assert (rates.r_maint_e6, rates.l_maint_e6) == (123_037, 10_254)
    receipt = floor.liquidate(victim, taker)
    told = floor.told(receipt, "Liquidated")
    equity, required = told.equity_wad, told.required_wad
    assert (equity // WAD, required // WAD) == (2_249, 2_299)
    leaving = 17_250 * 10_254 * WAD // 10**6
    least, most = leaving, required // 5
    depth = 2 * (required - equity) * WAD // required
    discount = least + (most - least) * depth // WAD
    wanted = 12_500 * required
    fraction = div_up((wanted - BPS * equity) * WAD, wanted - BPS * discount)
    assert told.fraction_wad == fraction
    taken = 12_500 * WAD * fraction // WAD // 1_000
    freed = required - div_up((12_500 * WAD // 1_000 - taken) * 1_380 * 133_291, 10**6)
    assert told.bonus_wad == discount * freed // required
    assert told.fee_wad == told.bonus_wad // 5
    assert floor.held(taker).collateral_wad == taken
    assert [discount // WAD, fraction * 100 // WAD, told.bonus_wad // WAD] == [189, 23, 43]


def test_liquidate__events__tell_everything_that_moved(floor: Floor, victim: int) -> None:
    """I46: with the words that are left. A unit more is paid for what a repayment may lose."""
    taker, ledger = floor.taker(), floor.world.clearinghouse
    _, part = floor.foresee(victim)
    fee = part.bonus_wad // 5
    receipt = floor.liquidate(victim, taker)
    names = ["HoldingsTaken", "CashPaid", "CashPaid", "Liquidated"]
    assert floor.names_of(receipt) == names
    told = [event.args for event in floor.liquidator.events(receipt)]
    holding = (ETH, part.taken[0].collateral_wad, 0, 0, 0, 0)
    assert tuple(told[0]) == (victim, taker, [holding])
    word, own = ledger.account_word(taker), ledger.account_word(victim)
    flow = part.flow_wad + SHARE_WAD
    assert tuple(told[1]) == (taker, floor.insurance, fee, word + flow, fee)
    assert tuple(told[2]) == (taker, victim, flow, word, own)
    assert told[3].bonus_wad == part.bonus_wad and told[3].fee_wad == fee
    assert (told[3].account, told[3].taker) == (victim, taker)


def test_liquidate__preview__is_what_happens(floor: Floor, victim: int) -> None:
    taker = floor.taker()
    floor.flag(victim)
    floor.world.chain.advance(500)
    with floor.a_block_later():
        preview = floor.liquidator.preview(victim)
    receipt = floor.liquidate(victim, taker)
    told = floor.told(receipt, "Liquidated")
    assert preview.equity_wad == told.equity_wad
    assert preview.required_wad == told.required_wad
    assert preview.fraction_wad == told.fraction_wad == receipt.return_value
    assert (preview.bonus_wad, preview.fee_wad) == (told.bonus_wad, told.fee_wad)
    paid = [event.args for event in floor.liquidator.events(receipt, "CashPaid")]
    assert [args.amount_wad for args in paid] == [preview.fee_wad, preview.flow_wad + SHARE_WAD]
    assert preview.deficit_wad == 0 and not preview.is_rescue_due


def test_preview__healthy_account_or_house__has_no_slice(floor: Floor) -> None:
    account = floor.world.open_account(2)
    for known in (account, floor.house):
        preview = floor.liquidator.preview(known)
        terms = floor.assess(known)
        figures = (terms.equity_maint, terms.required_maint)
        assert tuple(preview) == (*figures, 0, 0, 0, 0, 0, 0, False)


def test_liquidate__rest_that_would_be_dust__is_taken_too(floor: Floor) -> None:
    """The owner keeps what is left as cash, and no debt."""
    world, taker = floor.world, floor.taker()
    victim = world.open_account("2.5", equity=125)
    floor.sink(victim)
    terms, part = floor.foresee(victim)
    assert terms.required_maint < 30 * WAD and terms.equity_maint > part.discount_wad
    with world.isolated():
        floor.put_terms(dust_wad=5 * WAD)
        _, small = floor.foresee(victim)
        assert small.fraction_wad < WAD
        assert floor.liquidate(victim, taker).return_value == small.fraction_wad
    receipt = floor.liquidate(victim, taker)
    assert receipt.return_value == WAD
    assert world.clearinghouse.words_of(victim)[1:] == [0]
    rest = terms.equity_maint - part.discount_wad
    assert 0 <= world.clearinghouse.picture_of(victim)[0] - rest < ROUNDING_WAD
    assert floor.told(receipt, "Liquidated").bonus_wad == part.discount_wad
    assert debt_units(world, victim) == 0


@pytest.mark.parametrize("name", ["ETH", "BTC"])
def test_learn_unit__listed_asset__changes_no_outcome(floor: Floor, name: str) -> None:
    """Of 18 and of 8 decimals; said twice it is the same."""
    world, taker = floor.world, floor.taker()
    victim = world.open_account("2.5", {"ETH": 2, "BTC": 1})
    floor.sink(victim)
    for _ in range(2):
        floor.liquidator.learn_unit(world.asset(name), sender=world.attacker)
    _, part = floor.foresee(victim)
    floor.liquidate(victim, taker)
    for taken in part.taken:
        held = floor.held(taker, world.names[taken.leg.asset - 1])
        assert held.collateral_wad == taken.collateral_wad > 0


@pytest.mark.parametrize("asset", [3, 255, 256, 257, 2**255 + 1])
def test_learn_unit__no_asset__is_refused(floor: Floor, asset: int) -> None:
    with reverts("token units: unknown asset"):
        floor.liquidator.learn_unit(asset, sender=floor.world.attacker)


def test_liquidate__token_whose_unit_nobody_told_it__is_taken_in_whole_units(floor: Floor) -> None:
    """To tell it saves gas and nothing else: what it was not told it asks the ledger."""
    world = floor.world
    nobody = Contract(world.chain, world.stranger, floor.liquidator.artifact)
    untold = replace(world, system=replace(world.system, liquidator=nobody))
    token = world.chain.deploy("BlocklistToken", sender=world.governor)
    feed = list_token(untold, token)
    victim, taker = world.account(), floor.taker()
    token.mint(world.owner, 100 * 10**6, sender=world.governor)
    token.approve(world.clearinghouse, 2**255, sender=world.owner)
    world.clearinghouse.deposit(victim, EXTRA_ID, 100 * 10**6, sender=world.owner)
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**7)
    price = 100
    while floor.assess(victim).excess_maint >= 0:
        price -= 1
        feed.set_answer(price * 10**8, sender=world.governor)
        world.chain.mine()
    _, part = floor.foresee(victim)
    assert part.fraction_wad < WAD and 100 * part.fraction_wad % 10**12 != 0
    assert floor.liquidate(victim, taker).return_value == part.fraction_wad
    taken = world.clearinghouse.position_word(taker, EXTRA_ID)
    assert taken == part.taken[0].collateral_wad == 100 * part.fraction_wad // 10**12 * 10**12 > 0


# ---- the discount


def discount_of(equity: int, required: int, leaving: int, elapsed_s: int) -> int:
    """From max(5% R, exit) to max(20% R, 2 exit), at most 90% R, with time or depth."""
    ceiling = required * 9_000 // BPS
    least = min(ceiling, max(required * 500 // BPS, leaving))
    most = min(ceiling, max(required * 2_000 // BPS, 2 * leaving))
    time = min(WAD, elapsed_s * WAD // 1_200)
    depth = WAD if equity <= 0 else min(WAD, 2 * (required - equity) * WAD // required)
    return least + (most - least) * max(time, depth) // WAD


def leaving_wad(floor: Floor, account: int) -> int:
    """Gross charge at maintenance of an account with ether only."""
    held, mark = floor.held(account), floor.mark()
    gross = held.collateral_wad + abs(held.size_wad)
    return mark.price_wad * mark.risk.l_maint_e6 * gross // (WAD * 10**6)


@pytest.mark.parametrize("elapsed_s", [0, 1, 600, 1_199, 1_200, 1_201, 3_000])
def test_discount__with_time_since_the_flag__rises_to_its_most(
    floor: Floor, victim: int, elapsed_s: int
) -> None:
    since = floor.flag(victim).time
    floor.watch(victim, since + elapsed_s)
    preview = floor.liquidator.preview(victim)
    depth = 2 * (preview.required_wad - preview.equity_wad) * WAD // preview.required_wad
    assert depth < WAD // 10, "time counts from two minutes on"
    leaving = leaving_wad(floor, victim)
    figures = (preview.equity_wad, preview.required_wad, leaving)
    assert preview.discount_wad == discount_of(*figures, elapsed_s)
    if elapsed_s >= 1_200:
        assert preview.discount_wad == preview.required_wad // 5
    if elapsed_s == 600:
        middle = (leaving + preview.required_wad // 5) // 2
        assert abs(preview.discount_wad - middle) <= 1


@pytest.mark.parametrize("price", [1_370, 1_350, 1_330, 1_300, 1_280, 1_250, 1_190, 1_000])
def test_discount__with_depth__is_at_its_most_at_half_of_maintenance(
    floor: Floor, victim: int, price: int
) -> None:
    floor.drop(price)
    preview = floor.liquidator.preview(victim)
    leaving = leaving_wad(floor, victim)
    full = discount_of(preview.equity_wad, preview.required_wad, leaving, 0)
    assert (full == preview.required_wad // 5) == (2 * preview.equity_wad <= preview.required_wad)
    # No more than the account has, and at least seven tenths of what leaving costs.
    assert preview.discount_wad == min(full, max(preview.equity_wad, leaving * 7 // 10))


@pytest.mark.parametrize("elapsed_s", [200, 1_000])
def test_discount__time_and_depth__the_further_counts(
    floor: Floor, victim: int, elapsed_s: int
) -> None:
    """Of 200 s and 1,000 s one is less and one more than the depth."""
    since = floor.flag(victim).time
    floor.drop(1_330)
    floor.flag(victim)
    floor.watch(victim, since + elapsed_s)
    preview = floor.liquidator.preview(victim)
    depth = 2 * (preview.required_wad - preview.equity_wad) * 1_200 // preview.required_wad
    assert 300 < depth < 900
    figures = (preview.equity_wad, preview.required_wad, leaving_wad(floor, victim))
    assert preview.discount_wad == discount_of(*figures, max(elapsed_s, depth))


@pytest.fixture(scope="module")
def steady() -> World:
    """Ether with 40% on net exposure and 1% on gross, whatever its volatility."""
    terms = {"floor_maint_bps": 4_000, "floor_init_bps": 6_000, "z_l_bps": 1}
    return build_world({"ETH": AssetSpec(18, 2_000, terms)})


@pytest.mark.parametrize(("elapsed_s", "part_bps"), [(0, 500), (600, 1_250), (1_200, 2_000)])
def test_discount__small_charge_on_gross__goes_from_a_twentieth_to_a_fifth(
    steady: World, elapsed_s: int, part_bps: int
) -> None:
    with steady.isolated():
        floor = open_floor(steady)
        victim = steady.open_account("1.4")
        floor.drop(968)
        since = floor.flag(victim).time
        floor.watch(victim, since + elapsed_s)
        preview = floor.liquidator.preview(victim)
        assert 0 < preview.required_wad - preview.equity_wad < preview.required_wad // 100
        depth = 2 * (preview.required_wad - preview.equity_wad) * BPS // preview.required_wad
        part = max(part_bps, 500 + 1_500 * depth // BPS)
        assert preview.discount_wad * BPS // preview.required_wad == part


@pytest.mark.parametrize("short", [5, 8, 10])
def test_discount__of_a_hedge__is_what_leaving_costs_and_ninety_percent_at_most(
    floor: Floor, short: int
) -> None:
    """Where much of the requirement, or all of it, is the charge on gross."""
    victim = hedger(floor, short)
    since = floor.flag(victim).time
    for wait_s in (0, 1_200):
        floor.watch(victim, since + wait_s)
        preview, leaving = floor.liquidator.preview(victim), leaving_wad(floor, victim)
        required = preview.required_wad
        figures = (preview.equity_wad, required, leaving)
        assert preview.discount_wad == discount_of(*figures, wait_s)
    if short == 10:
        assert leaving == required and preview.discount_wad == required * 9 // 10
    else:
        assert required // 5 < preview.discount_wad == 2 * leaving < required * 9 // 10


# ---- flags


def test_flag__below_maintenance__keeps_the_first_time_until_a_cure(
    floor: Floor, victim: int
) -> None:
    world, liquidator = floor.world, floor.liquidator
    receipt = floor.flag(victim)
    since = receipt.time
    assert receipt.return_value == since
    assert tuple(floor.told(receipt, "Flagged")) == (victim, since, since)
    world.wait(500)
    again = floor.flag(victim)
    assert again.return_value == since and floor.names_of(again) == []
    assert tuple(liquidator.flagged_since(victim)) == (since, since)
    world.deposit(victim, QUOTE, 5_000 * 10**6)
    assert tuple(liquidator.flagged_since(victim)) == (since, since), "nobody looked yet"
    receipt = floor.flag(victim)
    assert receipt.return_value == 0
    assert tuple(floor.told(receipt, "Flagged")) == (victim, 0, 0)
    floor.sink(victim)
    receipt = floor.flag(victim)
    assert receipt.return_value == receipt.time > since


@pytest.mark.parametrize("silence_s", [600, 601, 5_000])
def test_flag__nobody_looked_for_ten_minutes__begins_anew(
    floor: Floor, victim: int, silence_s: int
) -> None:
    """It may have been well in between; a flag that was forgotten is worth nothing."""
    world, liquidator = floor.world, floor.liquidator
    since = floor.flag(victim).time
    world.chain.advance(300)
    seen = floor.flag(victim).time
    world.chain.set_time(seen + silence_s)
    counts = silence_s <= 600
    assert tuple(liquidator.flagged_since(victim)) == ((since, since) if counts else (0, 0))
    preview = liquidator.preview(victim)
    figures = (preview.equity_wad, preview.required_wad, leaving_wad(floor, victim))
    elapsed_s = world.chain.time - since if counts else 0
    assert preview.discount_wad == discount_of(*figures, elapsed_s)


def test_flag__sound_account__says_nothing(floor: Floor) -> None:
    account = floor.world.open_account(2)
    receipt = floor.flag(account)
    assert receipt.return_value == 0 and floor.names_of(receipt) == []
    assert tuple(floor.liquidator.flagged_since(account)) == (0, 0)


def test_liquidate__flagged_account__resets_the_flag(floor: Floor, victim: int) -> None:
    taker = floor.taker()
    floor.flag(victim)
    receipt = floor.liquidate(victim, taker)
    assert tuple(floor.told(receipt, "Flagged")) == (victim, 0, 0)
    assert tuple(floor.liquidator.flagged_since(victim)) == (0, 0)


def test_flag__default_hook_is_triggered__is_marked_though_above_maintenance(
    floor: Floor,
) -> None:
    world, liquidator = floor.world, floor.liquidator
    account = world.open_account(3)
    world.enrol(account)
    assert floor.flag(account).return_value == 0
    assert tuple(liquidator.flagged_since(account)) == (0, 0)
    world.set_price("ETH", 1_850)
    world.set_price("ETH", 1_700)
    assert floor.assess(account).excess_maint > 0 and world.rebalancer.is_triggered(account)
    receipt = floor.flag(account)
    since = receipt.time
    assert receipt.return_value == 0
    assert tuple(floor.told(receipt, "Flagged")) == (account, 0, since)
    floor.sink(account, step_bps=500)
    below = floor.flag(account).time
    assert tuple(liquidator.flagged_since(account)) == (below, since)
    world.deposit(account, QUOTE, 2 * 10**10)
    assert not world.rebalancer.is_triggered(account)
    receipt = floor.flag(account)
    assert tuple(floor.told(receipt, "Flagged")) == (account, 0, 0)


TRUE, FALSE = (1).to_bytes(32, "big"), bytes(32)
ANSWERS: Mapping[str, tuple[int, bytes, bool]] = {
    "yes": (PLAYS, TRUE, True),
    "no": (PLAYS, FALSE, False),
    "nothing": (PLAYS, b"", False),
    "a byte less": (PLAYS, TRUE[1:], False),
    "two": (PLAYS, (2).to_bytes(32, "big"), False),
    "all bits": (PLAYS, b"\xff" * 32, False),
    "reverts": (REVERTS, TRUE, False),
    "reverts without a reason": (REVERTS_BARE, TRUE, False),
    "burns its gas": (BURNS, TRUE, False),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_flag__foreign_hook__is_triggered_only_if_it_says_so(floor: Floor, answer: str) -> None:
    world = floor.world
    account, hook = world.open_account(2), deploy_hook(world)
    hand_over(world, account, hook)
    mode, data, is_triggered = ANSWERS[answer]
    hook.set_trigger(data, sender=world.attacker)
    hook.set_mode(mode, sender=world.attacker)
    receipt = floor.flag(account)
    since = receipt.time if is_triggered else 0
    assert tuple(floor.liquidator.flagged_since(account)) == (0, since)
    assert receipt.gas_used < 700_000


def test_flag__hook_without_code__is_not_triggered(floor: Floor) -> None:
    world = floor.world
    account = world.open_account(2)
    world.mandates.set_guard(account, world.stranger, LOOSEST_GUARD, sender=world.owner)
    assert floor.flag(account).return_value == 0
    assert tuple(floor.liquidator.flagged_since(account)) == (0, 0)


def test_flag__starved_of_gas__reverts_or_says_the_truth(floor: Floor) -> None:
    """T24: a hook that was not heard must not count as one that has said no."""
    world = floor.world
    account = world.open_account(3)
    world.enrol(account)
    for price in (1_850, 1_700):
        world.set_price("ETH", price)
    since = floor.flag(account).time
    is_served = False
    for gas in range(60_000, 700_000, 2_000):
        with world.isolated():
            try:
                floor.liquidator.flag(account, sender=world.attacker, gas=gas)
            except Reverted:
                assert not is_served, "more gas cannot do harm"
                continue
            is_served = True
            assert floor.liquidator.flagged_since(account)[1] == since, f"{gas} gas"
    assert is_served


# ---- how the taker pays


def test_liquidate__taker_with_cash__pays_the_owners_debt_with_it(
    floor: Floor, victim: int
) -> None:
    world, taker = floor.world, floor.taker(cash=50_000)
    vault, ledger = world.system.vault, world.system.clearinghouse
    with floor.a_block_later():
        _, part = floor.now(victim)
        owed, idle = debt_units(world, victim), vault.state().idle
    receipt = floor.liquidate(victim, taker)
    fee, flow = part.bonus_wad // 5, part.flow_wad + SHARE_WAD
    assert "DebtMoved" not in floor.names_of(receipt)
    assert floor.cash(taker) == 50_000 * WAD - flow - fee
    paid = flow // UNIT
    assert vault.state().idle - idle == paid and 0 <= debt_units(world, victim) - owed + paid <= 2
    assert floor.cash(victim) == flow % UNIT
    assert ledger.account_word(taker) >> 128 == 0


@pytest.mark.parametrize("cash", [0, 1_000])
def test_liquidate__taker_without_enough_cash__takes_the_debt_over(
    floor: Floor, victim: int, cash: int
) -> None:
    """No token moves for it; the fee comes first, out of cash or a loan."""
    world, taker = floor.world, floor.taker(cash=cash, ether=20)
    vault, ledger = world.system.vault, world.system.clearinghouse
    with floor.a_block_later():
        _, part = floor.now(victim)
        shares, state = floor.debt_shares(victim), vault.state()
    receipt = floor.liquidate(victim, taker)
    fee = part.bonus_wad // 5
    borrowed = 0 if cash else div_up(fee, UNIT)
    in_hand = cash * WAD + borrowed * UNIT - fee
    left = part.flow_wad + SHARE_WAD - in_hand
    repaid = vault.events(receipt, "Repaid")
    assert [event.args.assets for event in repaid] == ([in_hand // UNIT] if cash else [])
    burnt = sum(event.args.shares for event in repaid)
    moved = floor.told(receipt, "DebtMoved")
    units = div_up(left, UNIT)
    assert tuple(moved) == (victim, taker, div_up(units * WAD, state.index_wad))
    lent = [event.args for event in vault.events(receipt, "Lent")]
    assert [args.assets for args in lent] == ([borrowed] if borrowed else [])
    assert floor.debt_shares(victim) == shares - burnt - moved.shares
    assert floor.debt_shares(taker) == moved.shares + sum(args.shares for args in lent)
    # What is less than a unit of cash stays with whoever has it.
    assert ledger.account_word(taker) % 2**128 == 0
    assert floor.cash(victim) == in_hand % UNIT
    assert vault.state().idle == state.idle + in_hand // UNIT * bool(cash) - borrowed


def test_liquidate__owner_has_cash_and_a_loss__taker_is_paid_out_of_it(floor: Floor) -> None:
    """The taker of a position that is worth less than nothing pays nothing."""
    victim, taker = long_victim(floor), floor.taker(cash=10_000)
    with floor.a_block_later():
        _, part = floor.now(victim)
        own, cash = floor.cash(victim), floor.cash(taker)
    assert part.flow_wad < 0
    receipt = floor.liquidate(victim, taker)
    fee = part.bonus_wad // 5
    assert floor.cash(victim) == own + part.flow_wad > 0
    assert floor.cash(taker) == cash - part.flow_wad - fee
    paid = [event.args for event in floor.liquidator.events(receipt, "CashPaid")]
    assert [(args.payer, args.payee) for args in paid] == [
        (taker, floor.insurance),
        (victim, taker),
    ]


USES = {"92%": 9_200, "96%": 9_600, "100%": 10_000}


def use(floor: Floor, part_bps: int) -> None:
    """The vault is lent out as far as that, by who borrows and who leaves."""
    world, vault = floor.world, floor.world.system.vault
    world.open_account(3, {"BTC": 1}, equity=5 * 10**6, sub=9)
    state = vault.state()
    debt = state.debt_shares * state.index_wad // WAD
    units = state.idle - (debt * BPS // part_bps - debt)
    vault.withdraw(units, world.lender, world.lender, sender=world.lender)
    assert abs(vault.utilisation_wad() * BPS // WAD - part_bps) <= 1 and vault.max_loan() < 100


@pytest.mark.parametrize("cash", [0, 1_000, 3_500, 50_000])
@pytest.mark.parametrize("used", USES)
def test_liquidate__vault_is_lent_out__needs_no_loan(
    floor: Floor, victim: int, used: str, cash: int
) -> None:
    """A14 I48: with cash for all of it, for a part, or for nothing at all."""
    taker = floor.taker(cash=cash, ether=30)
    use(floor, USES[used])
    floor.sink(victim)
    _, part = floor.foresee(victim)
    assert 3_500 * WAD < part.flow_wad < 50_000 * WAD
    assert floor.liquidate(victim, taker).return_value == part.fraction_wad


def test_liquidate__taker_short_of_initial_margin__is_refused(floor: Floor, victim: int) -> None:
    for sub, (cash, ether) in enumerate(((0, 0), (500, 0), (0, 1))):
        taker = floor.taker(sub, cash=cash, ether=ether)
        with floor.refused("margin: initial margin short"):
            floor.liquidate(victim, taker)


def test_liquidate__taker_without_room_in_its_list__takes_with_another_account() -> None:
    """T48"""
    world = shared_world(17)
    with world.isolated():
        floor = open_floor(world)
        victim, full, empty = world.open_account("2.5"), floor.taker(), floor.taker(1)
        for name in world.names[1:]:
            world.deposit(full, name, 10 ** world.decimals(name))
        floor.sink(victim)
        with floor.refused("ledger: asset list full"):
            floor.liquidate(victim, full)
        assert floor.liquidate(victim, empty).return_value > 0


# ---- whatever state markets and tokens are in


def test_liquidate__one_feed_is_dead__goes_on_at_its_last_price(floor: Floor) -> None:
    """I31: an account with a live and a stale asset, into an account that needs neither."""
    world, taker = floor.world, floor.taker(cash=10**6)
    victim = world.open_account("2.5", {"ETH": 2, "BTC": 1})
    floor.sink(victim)
    world.make_stale("BTC")
    world.feeds["BTC"].set_answer(0, sender=world.governor)
    assert not floor.mark("BTC").is_live and floor.mark().is_live
    terms, part = floor.foresee(victim)
    assert terms.excess_maint < 0
    receipt = floor.liquidate(victim, taker)
    assert receipt.return_value == part.fraction_wad
    for name, taken in zip(world.names, part.taken, strict=True):
        assert floor.held(taker, name).collateral_wad == taken.collateral_wad > 0


def test_liquidate__one_feed_is_dead__its_asset_lends_the_taker_no_strength(
    floor: Floor,
) -> None:
    world, poor, rich = floor.world, floor.taker(cash=1), floor.taker(1, cash=0, ether=30)
    victim = world.open_account("2.5", {"ETH": 2, "BTC": 1})
    floor.sink(victim)
    world.make_stale("BTC")
    with floor.refused("margin: price not usable"):
        floor.liquidate(victim, poor)
    assert floor.liquidate(victim, rich).return_value > 0


@pytest.mark.parametrize("stop", ["close only", "breaker", "headroom used up and old"])
def test_liquidate__market_that_takes_no_increase__is_no_obstacle(floor: Floor, stop: str) -> None:
    world, taker = floor.world, floor.taker(cash=10**6)
    victim = long_victim(floor)
    if stop == "close only":
        floor.perps.set_close_only(ETH, True, sender=world.governor)
    if stop == "breaker":
        world.set_price("ETH", 1_050)
        assert floor.perps.is_increase_stopped(ETH)
    if stop == "headroom used up and old":
        world.wait(1_000)
    with world.isolated(), reverts():
        floor.trade(taker, WAD)
    _, part = floor.foresee(victim)
    assert floor.liquidate(victim, taker).return_value == part.fraction_wad
    assert floor.held(taker).size_wad == part.taken[0].size_wad
    floor.check()


def test_liquidate__no_more_of_the_asset_may_come_in__is_no_obstacle(
    floor: Floor, victim: int
) -> None:
    """Nothing comes in: the total stays."""
    world, taker = floor.world, floor.taker()
    world.system.listings.set_asset_limits(ETH, 0, 100, sender=world.governor)
    with reverts("collaterals: supply cap reached"):
        world.deposit(taker, "ETH", WAD)
    supply = world.clearinghouse.supply_word(ETH)
    assert floor.liquidate(victim, taker).return_value > 0
    assert world.clearinghouse.supply_word(ETH) == supply


@pytest.mark.parametrize("blocked", ["owner", "taker", "ledger", "everybody"])
def test_liquidate__token_that_blocks_people__changes_hands_in_place(
    floor: Floor, blocked: str
) -> None:
    """T15"""
    world, ledger = floor.world, floor.world.clearinghouse
    token = world.chain.deploy("BlocklistToken", sender=world.governor)
    feed = list_token(world, token)
    victim, taker = world.account(), floor.taker(cash=10**5)
    token.mint(world.owner, 100 * 10**6, sender=world.governor)
    token.approve(ledger, 2**255, sender=world.owner)
    ledger.deposit(victim, EXTRA_ID, 100 * 10**6, sender=world.owner)
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**7)
    feed.set_answer(68 * 10**8, sender=world.governor)
    world.chain.mine()
    who = {"owner": [world.owner], "taker": [world.other_owner], "ledger": [ledger.address]}
    for holder in who.get(blocked, [world.owner, world.other_owner, ledger.address]):
        token.set_blocked(holder, True, sender=world.attacker)
    _, part = floor.foresee(victim)
    floor.liquidate(victim, taker)
    position = ledger.position_word(taker, EXTRA_ID)
    assert position == part.taken[0].collateral_wad > 0
