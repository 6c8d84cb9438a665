"""The insurance fund: what comes in, what its owner may take out, and the terms of liquidation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ballast.chain import BLOCK_INTERVAL_S, Receipt
from ballast.chain.base import Function
from ballast.deploy import account_id
from ballast.model.margin import GWEI, WAD
from tests.clearing_kit import UNIT, args_of
from tests.conftest import reverts
from tests.liquidation_kit import (
    ANY_STATE,
    DAY_S,
    HEALTHY,
    NEVER,
    NOT_PERMITTED,
    Floor,
    open_floor,
)
from tests.perps_kit import ETH, STEP
from tests.support.hooks import (
    LOOSEST_GUARD,
)
from tests.support.world import QUOTE, UNLIMITED, ZERO_ADDRESS, World


def test_collect__reserves_donations_and_gifts__come_in(floor: Floor) -> None:
    world, vault = floor.world, floor.world.system.vault
    world.open_account(2, equity=10**6)
    world.wait(60 * DAY_S)
    world.fund(world.attacker, QUOTE, 12 * 10**6)
    world.quote.transfer(vault, 5 * 10**6, sender=world.attacker)
    world.quote.transfer(floor.fund, 7 * 10**6, sender=world.attacker)
    with floor.a_block_later():
        reserves = vault.state().reserves
    assert reserves > 0
    receipt = floor.fund.collect(sender=world.keeper)
    units = reserves + 12 * 10**6
    assert receipt.return_value == units * UNIT == floor.cash(floor.insurance)
    assert tuple(args_of(floor.fund, receipt, "Collected")) == (units, 0)
    assert vault.state().reserves == 0 and world.quote.balanceOf(floor.fund) == 0
    assert world.quote.balanceOf(vault) == vault.state().idle
    assert world.quote.allowance(floor.fund, world.clearinghouse) == 0
    with floor.a_block_later():
        reserves = vault.state().reserves
    again = floor.fund.collect(sender=world.attacker)
    assert again.return_value == reserves * UNIT < WAD // 100


def test_collect__nothing_there__does_nothing(floor: Floor) -> None:
    receipt = floor.fund.collect(sender=floor.world.keeper)
    assert receipt.return_value == 0 == floor.cash(floor.insurance)


def test_collect__fees_of_trades__a_tenth_comes_from_the_house(floor: Floor) -> None:
    """Of the fee alone, not of the premium; in whole billionths."""
    trader = floor.trader()
    fees = 0
    for name, size in (("ETH", 3 * WAD), ("ETH", -WAD), ("BTC", -WAD // 7 // STEP * STEP)):
        fill = floor.predicted(trader, size, name)
        floor.trade(trader, size, name)
        fees += abs(size) * fill.basis_wad * fill.fee_e6 // (10 * WAD * 10**6) // GWEI * GWEI
    house = floor.cash(floor.house)
    receipt = floor.fund.collect(sender=floor.world.keeper)
    told = args_of(floor.fund, receipt, "Collected")
    assert fees > 5 * WAD and tuple(told) == (0, told.fees_wad)
    assert told.fees_wad == receipt.return_value == fees
    assert house - floor.cash(floor.house) == fees == floor.cash(floor.insurance)
    assert floor.fund.collect(sender=floor.world.keeper).return_value == 0
    floor.check()


def test_collect__refresh_in_between__keeps_what_is_owed(floor: Floor) -> None:
    trader = floor.trader()
    floor.trade(trader, 3 * WAD)
    with floor.world.isolated():
        fees = floor.fund.collect(sender=floor.world.keeper).return_value
    floor.calm()
    assert floor.fund.collect(sender=floor.world.keeper).return_value == fees > 0


def short_house(world: World) -> tuple[Floor, int]:
    """Traders are long 40 ETH of a house of 200,000; at 4,500 it is short of initial margin."""
    floor = open_floor(world, house_cash=200_000)
    trader = floor.trader()
    floor.trade(trader, 40 * WAD)
    world.set_price("ETH", 4_500)
    assert floor.assess(floor.house).excess_init < 0
    return floor, trader


def test_collect__house_without_excess__pays_nothing_now(world: World) -> None:
    floor, _ = short_house(world)
    house = floor.cash(floor.house)
    assert floor.fund.collect(sender=world.keeper).return_value == 0
    assert floor.cash(floor.house) == house and floor.cash(floor.insurance) == 0


def test_collect__house_had_no_excess_for_a_while__owes_its_fees_still(world: World) -> None:
    """Or whoever gains by it could have them forfeited by calling at the right moment."""
    floor, _ = short_house(world)
    floor.fund.collect(sender=world.attacker)
    world.set_price("ETH", 2_000)
    assert floor.assess(floor.house).excess_init > 10_000 * WAD
    assert floor.fund.collect(sender=world.keeper).return_value > 60 * WAD


def announce(floor: Floor, units: int, receiver: str | None = None) -> Receipt:
    world = floor.world
    receipt: Receipt = floor.fund.announce_withdrawal(
        units, receiver or world.stranger, sender=world.governor
    )
    return receipt


NOTICE_S = 7 * DAY_S
NOT_OWNER = "ownable: caller is not the owner"
NOTHING = "insurance: nothing to withdraw"


def test_withdraw__after_its_notice__pays_what_was_announced(floor: Floor) -> None:
    world, fund = floor.world, floor.fund
    floor.insure(10**9)
    receipt = announce(floor, 4 * 10**8)
    ready_at = receipt.time + NOTICE_S
    told = args_of(floor.fund, receipt, "WithdrawalAnnounced")
    assert tuple(told) == (4 * 10**8, world.stranger, ready_at)

    def withdraw() -> Receipt:
        done: Receipt = fund.withdraw(sender=world.governor)
        return done

    for time in (receipt.time + BLOCK_INTERVAL_S, ready_at - 1, ready_at + NOTICE_S):
        with world.isolated(), reverts(NOTHING):
            world.chain.set_time(time - BLOCK_INTERVAL_S)
            withdraw()
    for time in (ready_at, ready_at + NOTICE_S - 1):
        with world.isolated():
            world.chain.set_time(time - BLOCK_INTERVAL_S)
            paid = withdraw()
            assert paid.return_value == world.quote.balanceOf(world.stranger) == 4 * 10**8
            told = args_of(floor.fund, paid, "Withdrawn")
            assert tuple(told) == (4 * 10**8, world.stranger)
            assert floor.cash(floor.insurance) == 6 * 10**8 * UNIT
            with reverts(NOTHING):
                withdraw()


def test_withdraw__less_is_there__pays_that(floor: Floor) -> None:
    world = floor.world
    floor.insure(10**6 + 7)
    announce(floor, 10**9)
    world.chain.advance(NOTICE_S)
    paid = floor.fund.withdraw(sender=world.governor)
    assert paid.return_value == 10**6 + 7 == world.quote.balanceOf(world.stranger)
    assert floor.cash(floor.insurance) == 0


def test_announce_withdrawal__again__replaces_and_zero_cancels(floor: Floor) -> None:
    world, fund = floor.world, floor.fund
    floor.insure(10**9)
    announce(floor, 5 * 10**8)
    world.chain.advance(NOTICE_S - 60)
    announce(floor, 10**8, world.keeper)
    world.chain.advance(60)
    with reverts(NOTHING):
        fund.withdraw(sender=world.governor)
    world.chain.advance(NOTICE_S)
    with world.isolated():
        receipt = announce(floor, 0)
        assert args_of(floor.fund, receipt, "WithdrawalAnnounced").ready_at == 0
        with reverts(NOTHING):
            fund.withdraw(sender=world.governor)
    fund.withdraw(sender=world.governor)
    assert world.quote.balanceOf(world.keeper) == 10**8


def test_announce_withdrawal__nobody_or_too_much__is_refused(floor: Floor) -> None:
    world, fund = floor.world, floor.fund
    for units, receiver in (
        (1, ZERO_ADDRESS),
        (1, fund.address),
        (2**128, world.stranger),
    ):
        with reverts("insurance: bad receiver"):
            fund.announce_withdrawal(units, receiver, sender=world.governor)
    fund.announce_withdrawal(0, ZERO_ADDRESS, sender=world.governor)
    fund.announce_withdrawal(2**128 - 1, world.stranger, sender=world.governor)


def test_insurance__anybody_but_the_owner__takes_nothing_from_it(floor: Floor) -> None:
    """I25 I36"""
    world, liquidator, owner = floor.world, floor.liquidator, floor.fund
    ledger, mandates, fund = world.clearinghouse, world.mandates, floor.insurance
    assert owner.ACCOUNT() == fund == account_id(owner.address)
    floor.insure(10**9)
    announce(floor, 10**9)
    world.wait(NOTICE_S)
    victim = world.open_account("2.4")
    floor.sink(victim)
    who = world.attacker
    mine = world.account(0, who)
    attempts: list[tuple[str, Function, tuple[Any, ...]]] = [
        (NOT_OWNER, owner.withdraw, ()),
        (NOT_OWNER, owner.announce_withdrawal, (1, who)),
        (NOT_PERMITTED, ledger.withdraw, (fund, 0, 1, who)),
        (NOT_PERMITTED, ledger.transfer, (fund, fund + 1, 0, 1)),
        (NOT_PERMITTED, floor.perps.trade, (fund, ETH, WAD, UNLIMITED, NEVER, False)),
        (NOT_PERMITTED, liquidator.liquidate, (victim, fund, ANY_STATE)),
        (HEALTHY, liquidator.liquidate, (fund, mine, ANY_STATE)),
        ("clearinghouse: not yours to call", ledger.pay, (fund, mine, 1)),
        ("operators: only the owner", mandates.set_operator, (fund, who, 63, NEVER)),
        ("mandates: only the owner", mandates.set_guard, (fund, who, LOOSEST_GUARD)),
    ]
    for reason, function, arguments in attempts:
        with reverts(reason):
            function(*arguments, sender=who)
    assert floor.cash(fund) == 10**9 * UNIT


RANGES: Mapping[str, tuple[int, int]] = {
    "target_bps": (11_000, 20_000),
    "ramp_s": (60, 86_400),
    "insurance_bps": (0, 2_200),
    "rescue_pay_bps": (0, 500),
    "house_day_bps": (0, 1_000),
    "dust_wad": (0, 2**84 - 1),
    "rescue_pay_cap_wad": (0, 2**84 - 1),
    "account_cap_wad": (0, 2**128 - 1),
    "day_cap_wad": (0, 2**128 - 1),
}


@pytest.mark.parametrize("field", RANGES)
def test_set_terms__both_ends_of_a_range__are_accepted_and_no_more(
    floor: Floor, field: str
) -> None:
    low, high = RANGES[field]
    old = floor.liquidator.terms()._asdict()
    for value in {low - 1, high + 1} - {-1}:
        with reverts("liquidator: terms out of range"):
            floor.put_terms(**{field: value})
    for value in (low, high):
        floor.put_terms(**{field: value})
        assert floor.liquidator.terms()._asdict() == old | {field: value}


def test_set_terms__all_at_their_most__do_not_mix(floor: Floor) -> None:
    terms = tuple(high for _, high in RANGES.values())
    receipt = floor.liquidator.set_terms(terms, sender=floor.world.governor)
    assert tuple(floor.liquidator.terms()) == terms
    assert tuple(floor.told(receipt, "TermsChanged").terms) == terms


def test_set_terms__somebody_else__is_refused(floor: Floor) -> None:
    terms = tuple(floor.liquidator.terms())
    for who in (floor.world.owner, floor.world.attacker, floor.world.keeper):
        with reverts(NOT_OWNER):
            floor.liquidator.set_terms(terms, sender=who)


def test_ownership_of_the_fund__moves_in_two_steps(floor: Floor) -> None:
    world, fund = floor.world, floor.fund
    fund.transfer_ownership(world.stranger, sender=world.governor)
    assert (fund.owner(), fund.pending_owner()) == (world.governor, world.stranger)
    with reverts(NOT_OWNER):
        fund.announce_withdrawal(1, world.stranger, sender=world.stranger)
    fund.accept_ownership(sender=world.stranger)
    fund.announce_withdrawal(1, world.stranger, sender=world.stranger)
    with reverts(NOT_OWNER):
        fund.announce_withdrawal(0, ZERO_ADDRESS, sender=world.governor)


def test_announced_withdrawal__as_announced(floor: Floor) -> None:
    world = floor.world
    assert tuple(floor.fund.announced_withdrawal()) == (0, ZERO_ADDRESS, 0)
    receipt = announce(floor, 7)
    told = (7, world.stranger, receipt.time + NOTICE_S)
    assert tuple(floor.fund.announced_withdrawal()) == told


def test_withdraw__nothing_is_there__pays_nothing(floor: Floor) -> None:
    announce(floor, 10**9)
    floor.world.chain.advance(NOTICE_S)
    assert floor.fund.withdraw(sender=floor.world.governor).return_value == 0


def test_collect_fees__by_anybody__moves_them_within_the_ledger(floor: Floor) -> None:
    floor.trade(floor.trader(), 3 * WAD)
    house = floor.cash(floor.house)
    receipt = floor.liquidator.collect_fees(sender=floor.world.stranger)
    assert receipt.return_value == floor.cash(floor.insurance) > 0
    assert floor.cash(floor.house) == house - receipt.return_value
    assert floor.liquidator.collect_fees(sender=floor.world.stranger).return_value == 0


def test_ownership__moves_in_two_steps(floor: Floor) -> None:
    world, liquidator = floor.world, floor.liquidator
    terms = tuple(liquidator.terms())
    liquidator.transfer_ownership(world.stranger, sender=world.governor)
    assert (liquidator.owner(), liquidator.pending_owner()) == (world.governor, world.stranger)
    with reverts(NOT_OWNER):
        liquidator.set_terms(terms, sender=world.stranger)
    with reverts("ownable_2step: caller is not the new owner"):
        liquidator.accept_ownership(sender=world.attacker)
    liquidator.accept_ownership(sender=world.stranger)
    liquidator.set_terms(terms, sender=world.stranger)
    with reverts(NOT_OWNER):
        liquidator.set_terms(terms, sender=world.governor)
