"""Liquidation for callers without an account: tokens for tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ballast.chain import BLOCK_INTERVAL_S
from ballast.model.liquidation import Slice
from ballast.model.margin import BPS, WAD, div_up
from tests.clearing_kit import UNIT
from tests.conftest import reverts
from tests.liquidation_kit import (
    ANY_STATE,
    CHANGED,
    HEALTHY,
    NOT_FOR_HOUSE,
    ROUNDING_WAD,
    SHARE_WAD,
    Floor,
    Means,
    assert_nothing_left,
    debtor,
    long_victim,
    spot_victim,
    with_means,
)
from tests.support.world import QUOTE, World


def price_units(part: Slice) -> int:
    """A slice with its fee, and a loan share for the rounding of a repayment; token units."""
    return div_up(part.flow_wad + SHARE_WAD + part.bonus_wad * 2_000 // BPS, UNIT)


def now_for_sale(floor: Floor, victim: int) -> Slice:
    """What is bought of an account, once the price was approved; the buyer has his tokens."""
    floor.world.fund(floor.world.attacker, QUOTE, 10**11)
    with floor.a_block_later():
        floor.world.chain.advance(BLOCK_INTERVAL_S)
        return floor.now(victim)[1]


def test_deploy__account__is_the_first_of_its_own(floor: Floor) -> None:
    seller = floor.world.system.token_liquidator
    assert seller.ACCOUNT() == floor.world.account(0, seller.address)


def test_buy__slice__costs_its_price_to_the_unit_and_comes_as_tokens(floor: Floor) -> None:
    """I26: collateral for the receiver, what is left of the money for the caller."""
    world, seller = floor.world, floor.world.system.token_liquidator
    victim = world.open_account("2.5", {"ETH": 2, "BTC": 1})
    floor.sink(victim)
    part = now_for_sale(floor, victim)
    receipt = floor.buy(victim, receiver=world.stranger)
    told = floor.told(receipt, "Liquidated")
    assert (told.taker, told.caller) == (seller.ACCOUNT(), seller.address)
    assert receipt.return_value == told.fraction_wad == part.fraction_wad
    assert 10**11 - world.quote.balanceOf(world.attacker) == price_units(part)
    for taken in part.taken:
        name = world.names[taken.leg.asset - 1]
        units = world.tokens[name].balanceOf(world.stranger)
        assert units * world.unit_wad(name) == taken.collateral_wad
        assert floor.held(victim, name) == taken.rest
    assert floor.cash(floor.insurance) == told.fee_wad > 0
    own = world.clearinghouse.words_of(seller.ACCOUNT())
    assert own[1:] == [0] and own[0] < UNIT
    assert world.quote.allowance(seller, world.clearinghouse) == 0
    assert world.quote.balanceOf(seller) == 0
    floor.check()


def test_buy__price_above_what_is_offered__is_refused(floor: Floor, victim: int) -> None:
    price = price_units(now_for_sale(floor, victim))
    for most in (1, price // 2, price - 1):
        with floor.world.isolated(), reverts():
            floor.buy(victim, most=most)
    with floor.world.isolated(), reverts("token liquidator: price too high"):
        floor.buy(victim, most=price - 10)
    assert floor.buy(victim, most=price).return_value > 0


@pytest.mark.parametrize("make", [long_victim, debtor], ids=["perpetual", "rest of one"])
def test_buy__account_with_a_perpetual_or_a_rest_of_one__is_refused(
    floor: Floor, make: Callable[[Floor], int]
) -> None:
    victim = make(floor)
    assert floor.assess(victim).excess_maint < 0
    with reverts("token liquidator: has perpetuals"):
        floor.buy(victim)


def test_buy__healthy_house_or_changed__is_refused_like_any(floor: Floor, victim: int) -> None:
    world = floor.world
    sound = world.open_account("1.05", sub=1)
    state = floor.liquidator.state_of(victim)
    for account, expected, reason in (
        (sound, ANY_STATE, HEALTHY),
        (victim + 2**168, ANY_STATE, NOT_FOR_HOUSE),
        (victim, state[1:] + state[:1], CHANGED),
    ):
        with reverts(reason):
            floor.buy(account, state=expected)
    assert floor.buy(victim, state=state).return_value > 0


def test_buy__account_that_its_hook_rescues__costs_nothing_and_pays_the_caller(
    floor: Floor,
) -> None:
    world, enrolled = floor.world, spot_victim(floor, is_enrolled=True)
    world.fund(world.attacker, QUOTE, 10**10)
    receipt = floor.buy(enrolled, most=10**10)
    pay = floor.told(receipt, "Rescued").pay_wad
    assert receipt.return_value == 0 and pay > 20 * WAD
    assert world.quote.balanceOf(world.attacker) == 10**10 + pay // UNIT


def test_buy__account_with_a_deficit__leaves_its_owner_nothing(world: World) -> None:
    floor = with_means(world, Means(insurance=300, house=50_000))
    victim = world.open_account("2.5")
    floor.sink(victim)
    floor.drop(700)
    world.fund(world.attacker, QUOTE, 10**10)
    with floor.a_block_later():
        world.chain.advance(BLOCK_INTERVAL_S)
        terms, part = floor.now(victim)
    receipt = floor.buy(victim, most=10**10)
    need = part.discount_wad - terms.equity_maint
    booked = tuple(floor.told(receipt, "DeficitBooked"))[1:]
    assert 0 <= sum(booked) - need < UNIT and booked[0] == 300 * WAD and booked[3] == 0
    worth = 12_500 * 700 * WAD // 1_000
    paid = 10**10 - world.quote.balanceOf(world.attacker)
    assert 0 < paid * UNIT - (worth - part.discount_wad) < ROUNDING_WAD
    assert world.tokens["ETH"].balanceOf(world.attacker) == 12_500 * WAD // 1_000
    assert_nothing_left(floor, victim)


def test_buy__what_strangers_left_there__goes_to_the_next_caller(floor: Floor, victim: int) -> None:
    world, account = floor.world, floor.world.system.token_liquidator.ACCOUNT()
    world.fund(world.other_owner, QUOTE, 10**6)
    world.clearinghouse.deposit(account, 0, 10**6, sender=world.other_owner)
    price = price_units(now_for_sale(floor, victim))
    floor.buy(victim)
    assert 10**11 - world.quote.balanceOf(world.attacker) == price - 10**6
