"""Rescue: an account's own hook has its turn first, and can neither veto nor tax."""

from __future__ import annotations

import pytest

from ballast.chain import BLOCK_INTERVAL_S, Contract, Reverted
from ballast.deploy import account_id
from ballast.model.margin import WAD
from tests.clearing_kit import UNIT, excess_init
from tests.conftest import reverts
from tests.liquidation_kit import (
    ANY_STATE,
    DAY_S,
    HEALTHY,
    ROUNDING_WAD,
    Floor,
    spot_victim,
)
from tests.support.hooks import (
    ANSWERS_BOMB,
    BURNS,
    PLAYS,
    REVERTS,
    REVERTS_BARE,
    REVERTS_BOMB,
    deploy_hook,
    hand_over,
    may,
    must,
    outcomes,
)
from tests.support.world import QUOTE


@pytest.fixture
def enrolled(floor: Floor) -> int:
    """As the victim, with the default hook and a policy that sells."""
    return spot_victim(floor, is_enrolled=True)


def is_due(floor: Floor, account: int) -> bool:
    """Whether its hook would be called first."""
    return bool(floor.liquidator.preview(account).is_rescue_due)


@pytest.mark.parametrize(("equity", "is_capped"), [(10_000, False), (40_000, True)])
def test_liquidate__hook_that_can__rescues_the_account_and_its_caller_is_paid(
    floor: Floor, equity: int, is_capped: bool
) -> None:
    """1% of what was required, at most 50, and the account stays at initial margin."""
    world, liquidator = floor.world, floor.liquidator
    victim, taker = world.open_account("2.5", equity=equity), floor.taker(cash=100)
    world.enrol(victim)
    floor.sink(victim)
    floor.flag(victim)
    with floor.a_block_later():
        terms, before = floor.assess(victim), floor.cash(taker)
    assert is_due(floor, victim)
    receipt = floor.liquidate(victim, taker)
    assert receipt.return_value == 0
    pay = terms.required_maint // 100 // UNIT * UNIT
    if is_capped:
        assert pay > 50 * WAD
        pay = 50 * WAD
    told = floor.told(receipt, "Rescued")
    assert tuple(told) == (victim, world.other_owner, pay)
    assert floor.names_of(receipt) == ["CashPaid", "Flagged", "Rescued"]
    assert floor.cash(taker) - before == pay
    assert floor.held(taker).collateral_wad == 0
    assert excess_init(world, victim) >= 0
    assert tuple(liquidator.flagged_since(victim)) == (0, 0)
    loss = floor.world.mandates.events(receipt, "Rebalanced")[0].args.loss
    assert abs(terms.equity_maint - floor.worth(victim) - loss - pay) <= ROUNDING_WAD
    with floor.refused(HEALTHY):
        floor.liquidate(victim, taker)


def test_liquidate__rescue__needs_nothing_of_the_taker(floor: Floor, enrolled: int) -> None:
    """Whoever calls for it may be poor, and may have increased its own risk a moment ago."""
    world, taker = floor.world, floor.taker(cash=0, ether=1)
    with world.chain.one_block():
        world.borrow(taker, excess_init(world, taker) // UNIT - 10)
        assert floor.liquidate(enrolled, taker).return_value == 0
    assert excess_init(world, enrolled) >= 0


def test_liquidate__rescue_of_an_account_that_can_pay_nothing__pays_nothing(
    floor: Floor, victim: int
) -> None:
    """It has no cash and the vault lends none; it is rescued all the same."""
    world, taker = floor.world, floor.taker(cash=100)
    world.open_account(2, {"BTC": 1}, equity=10**6, sub=9)
    hook = wallet_hook(floor, victim)
    floor.drain()
    pull = must(world.mandates, "pull", -excess_init(world, victim) // UNIT + 10**8)
    hook.set_script([pull], sender=world.attacker)
    receipt = floor.liquidate(victim, taker)
    assert floor.told(receipt, "Rescued").pay_wad == world.system.vault.max_loan() == 0
    assert floor.names_of(receipt) == ["Rescued"] and floor.cash(taker) == 100 * WAD
    assert excess_init(world, victim) > 99 * WAD


FAILURES = {
    "reverts": REVERTS,
    "reverts without a reason": REVERTS_BARE,
    "reverts with a bomb": REVERTS_BOMB,
    "burns its gas": BURNS,
    "answers with a bomb and does nothing": ANSWERS_BOMB,
    "does nothing": PLAYS,
}


@pytest.mark.parametrize("failure", FAILURES)
def test_liquidate__hook_that_does_not_help__is_passed_over(
    floor: Floor, victim: int, failure: str
) -> None:
    """T60: in the same transaction, and nothing else is different for it."""
    world, taker = floor.world, floor.taker()
    hook = deploy_hook(world)
    hand_over(world, victim, hook)
    hook.set_mode(FAILURES[failure], sender=world.attacker)
    _, part = floor.foresee(victim)
    assert is_due(floor, victim)
    receipt = floor.liquidate(victim, taker)
    assert tuple(floor.told(receipt, "RescueFailed")) == (victim,)
    names = ["RescueFailed", "HoldingsTaken", "CashPaid", "CashPaid", "Liquidated"]
    assert floor.names_of(receipt) == names
    assert receipt.return_value == part.fraction_wad
    assert floor.held(taker).collateral_wad == part.taken[0].collateral_wad


def wallet_hook(floor: Floor, account: int, wallet: int = 10**6) -> Contract:
    """A hostile hook that may bring cash from its owner's wallet."""
    world = floor.world
    hook: Contract = deploy_hook(world)
    guard = (11_000, 10_000, 1_000, 0, wallet * WAD, DAY_S)
    hand_over(world, account, hook, guard)
    world.fund(world.owner, QUOTE, wallet * 10**6)
    return hook


def test_liquidate__hook_that_helps_too_little__is_undone(floor: Floor, victim: int) -> None:
    world, taker = floor.world, floor.taker()
    hook = wallet_hook(floor, victim)
    hook.set_script([must(world.mandates, "pull", 10**9)], sender=world.attacker)
    wallet = world.quote.balanceOf(world.owner)
    terms, part = floor.foresee(victim)
    receipt = floor.liquidate(victim, taker)
    assert floor.names_of(receipt)[0] == "RescueFailed"
    assert world.quote.balanceOf(world.owner) == wallet
    told = floor.told(receipt, "Liquidated")
    assert (told.equity_wad, told.fraction_wad) == (terms.equity_maint, part.fraction_wad)


def test_liquidate__rescued_with_little_to_spare__stays_at_initial_margin(
    floor: Floor, victim: int
) -> None:
    """The pay is at most what there is beyond initial margin, whatever a loan for it rounds to."""
    world, taker = floor.world, floor.taker()
    world.open_account(2, {"BTC": 1}, equity=10**7, sub=9)
    world.wait(365 * DAY_S)
    floor.sink(victim)
    hook = wallet_hook(floor, victim)
    with floor.a_block_later():
        world.chain.advance(BLOCK_INTERVAL_S)
        missing = -excess_init(world, victim) // UNIT
    for spare in range(0, 120, 3):
        with world.isolated():
            pull = must(world.mandates, "pull", missing + 2 + spare)
            hook.set_script([pull], sender=world.attacker)
            told = floor.told(floor.liquidate(victim, taker), "Rescued")
            assert told.pay_wad <= (spare + 2) * UNIT
            assert excess_init(world, victim) >= 0, f"{spare} to spare"


@pytest.mark.parametrize("spare", [1, 2, 3, 4, 50, 10**5])
def test_liquidate__rescued_with_little_to_spare__pays_all_but_two_units_of_it(
    floor: Floor, victim: int, spare: int
) -> None:
    """A loan comes in whole units and its shares round up: no more than that is kept back."""
    world, taker = floor.world, floor.taker()
    world.open_account(2, {"BTC": 1}, equity=10**7, sub=9)
    hook = wallet_hook(floor, victim)
    with world.chain.one_block():
        missing = -excess_init(world, victim) // UNIT
        pull = must(world.mandates, "pull", missing + 2 + spare)
        hook.set_script([pull], sender=world.attacker)
        with world.isolated():
            floor.put_terms(rescue_pay_bps=0)
            assert floor.told(floor.liquidate(victim, taker), "Rescued").pay_wad == 0
            excess = excess_init(world, victim)
        floor.put_terms(rescue_pay_bps=500)
        pay = floor.told(floor.liquidate(victim, taker), "Rescued").pay_wad
        assert pay == max(excess // UNIT - 2, 0) * UNIT and excess_init(world, victim) >= 0


def test_preview__sound_account_with_a_hook__no_rescue_is_due(floor: Floor) -> None:
    """There is nothing to rescue it from, and `liquidate` would refuse it."""
    world, taker = floor.world, floor.taker()
    account = world.open_account(2)
    hand_over(world, account, deploy_hook(world))
    assert not is_due(floor, account)
    with floor.refused(HEALTHY):
        floor.liquidate(account, taker)
    floor.sink(account)
    assert is_due(floor, account)


def test_liquidate__after_a_failed_rescue__none_for_ten_minutes(floor: Floor, victim: int) -> None:
    """A cure in between does not renew the right to one."""
    world, taker = floor.world, floor.taker()
    hand_over(world, victim, deploy_hook(world))
    tried_at = floor.liquidate(victim, taker).time
    floor.sink(victim)
    world.chain.set_time(tried_at + 600 - BLOCK_INTERVAL_S - 1)
    assert not is_due(floor, victim)
    with world.isolated():
        assert "RescueFailed" not in floor.names_of(floor.liquidate(victim, taker))
    world.chain.set_time(tried_at + 600 - BLOCK_INTERVAL_S)
    assert "RescueFailed" in floor.names_of(floor.liquidate(victim, taker))


def test_liquidate__below_half_of_maintenance__no_hook_is_called(floor: Floor, victim: int) -> None:
    world, taker = floor.world, floor.taker()
    hand_over(world, victim, deploy_hook(world))
    for price, is_tried in ((1_290, True), (1_287, True), (1_286, False), (1_000, False)):
        with world.isolated():
            floor.drop(price)
            terms = floor.assess(victim)
            assert (2 * terms.equity_maint >= terms.required_maint) == is_tried
            assert is_due(floor, victim) == is_tried
            receipt = floor.liquidate(victim, taker)
            assert ("RescueFailed" in floor.names_of(receipt)) == is_tried


@pytest.mark.parametrize("helps", [True, False])
def test_liquidate__any_amount_of_gas__reverts_or_does_the_same(
    floor: Floor, enrolled: int, helps: bool
) -> None:
    """T24: nobody can have the hook fail for want of gas and take the bonus."""
    world, taker = floor.world, floor.taker()
    if not helps:
        world.rebalancer.clear_policy(enrolled, sender=world.owner)
    with world.isolated():
        full = floor.names_of(floor.liquidate(enrolled, taker))
    assert full[-1] == ("Rescued" if helps else "Liquidated")
    reverted, served = [], []
    for gas in [*range(50_000, 2_600_000, 150_000), *range(2_600_000, 3_000_000, 4_000)]:
        with world.isolated():
            try:
                names = floor.names_of(floor.liquidate(enrolled, taker, gas=gas))
            except Reverted:
                reverted.append(gas)
                continue
            served.append(gas)
            assert names == full, f"{gas} gas"
    assert max(reverted) < min(served)


def test_liquidate__hook_that_calls_back__is_refused_everything(floor: Floor, victim: int) -> None:
    """T33 T34: no second liquidation, no flag, no cash from insurance, no view half-way."""
    world, liquidator = floor.world, floor.liquidator
    hook = wallet_hook(floor, victim)
    taker, own = floor.taker(), account_id(hook.address)
    floor.insure(10**9)
    calls = [
        may(liquidator, "liquidate", victim, own, ANY_STATE),
        may(liquidator, "flag", victim),
        may(liquidator, "collect_fees"),
        may(floor.fund, "collect"),
        may(liquidator, "rescue", victim),
        may(liquidator, "preview", victim),
        may(liquidator, "state_of", victim),
        may(world.mandates, "rescue", victim),
        may(world.mandates, "rebalance", victim),
        may(world.system.token_liquidator, "liquidate", victim, 0, hook, ANY_STATE),
        may(world.clearinghouse, "withdraw", own, 0, 1, hook),
    ]
    short = -excess_init(world, victim) // UNIT
    script = [*calls, must(world.mandates, "pull", short + 10**6)]
    hook.set_script(script, sender=world.attacker)
    receipt = floor.liquidate(victim, taker)
    assert receipt.return_value == 0 and excess_init(world, victim) >= 0
    assert outcomes(hook, len(script)) == [False] * len(calls) + [True]


def test_rescue__by_the_mandates_of_a_stranger__is_refused(floor: Floor, enrolled: int) -> None:
    for sender in (floor.world.owner, floor.world.keeper, floor.world.governor):
        with reverts("mandates: only the liquidator"):
            floor.world.mandates.rescue(enrolled, sender=sender)
