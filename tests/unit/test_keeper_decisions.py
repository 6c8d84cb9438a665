"""What the keeper decides: a function of what was read, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ballast.keeper.decisions import (
    FAILED,
    FLAG_GAS,
    LONGEST_EMERGENCY_S,
    LONGEST_PAID_QUARANTINE_S,
    NO_GAS,
    NOT_TRIGGERED,
    PAID_QUARANTINE_S,
    QUARANTINE_S,
    RATES_TOO_OLD,
    READINESS,
    REBALANCED,
    TAKER_TOO_WEAK,
    WAD,
    Action,
    Costs,
    Health,
    Mark,
    Preview,
    Quarantine,
    Reading,
    Slice,
    Terms,
    decide,
    quarantine_s,
    ranked,
    upkeep,
)
from ballast.model.plan import Bounds, Code

GWEI = 10**9
NOW = 1_700_000_000
CHEAP = Costs(GWEI, 2_000 * WAD)
SHORT = Health(90 * WAD, 100 * WAD, 90 * WAD, 50 * WAD)  # below initial margin
SUNK = Health(20 * WAD, 100 * WAD, 20 * WAD, 50 * WAD)  # below maintenance
READY = Reading(
    256,
    NOW,
    SHORT,
    has_hook=True,
    code=Code.READY,
    trigger_bps=10_500,
    preview=Preview(REBALANCED, WAD, 300_000),
)

amounts = st.integers(0, 10**6).map(lambda n: n * WAD // 1_000)
healths = st.builds(Health, st.integers(-100, 200), st.just(100), st.integers(-50, 200), amounts)
previews = st.builds(
    Preview,
    st.sampled_from([REBALANCED, NOT_TRIGGERED, FAILED, NO_GAS]),
    st.integers(-5 * WAD, 50 * WAD),
    st.integers(1, 8_000_000),
    st.sampled_from(["", "x: no", RATES_TOO_OLD, TAKER_TOO_WEAK]),
)
slices = st.builds(
    Slice, amounts, st.integers(-5 * WAD, 900 * WAD), amounts, amounts, st.booleans(), previews
)
readings = st.builds(
    Reading,
    st.just(256),
    st.just(NOW),
    healths,
    has_hook=st.booleans(),
    code=st.none() | st.sampled_from(list(Code)).map(int),
    is_due=st.booleans(),
    trigger_bps=st.sampled_from([0, 10_500]),
    shortfall_wad=amounts,
    version=st.integers(0, 2),
    preview=st.none() | previews,
    part=st.none() | slices,
    bounds=st.builds(
        Bounds, pay_bps=st.integers(0, 500), pay_cap_wad=amounts, gap_per_pay=st.integers(0, 3)
    ),
    last_at=st.sampled_from([0, NOW - 60]),
    below_since=st.sampled_from([0, NOW - 30]),
    triggered_since=st.sampled_from([0, NOW - 30]),
    stale=st.sampled_from([(), (1,)]),
)
terms = st.builds(
    Terms,
    min_profit_wad=amounts,
    is_altruistic=st.booleans(),
    liquidates=st.booleans(),
    max_capital_wad=amounts,
    max_gas_price_wei=st.integers(1, 400 * GWEI),
)
costs = st.builds(Costs, st.integers(1, 500 * GWEI), st.integers(1, 10**4).map(lambda n: n * WAD))
quarantines = st.dictionaries(
    st.sampled_from([Action.REBALANCE, Action.LIQUIDATE]),
    st.builds(
        Quarantine, st.integers(1, 9), st.integers(NOW - 9, NOW + 9), st.just("x"), st.just(1)
    ),
)


# ---- properties


@given(readings, terms, costs, quarantines)
def test_decide__whatever_was_read__never_at_a_loss_unless_told_to(
    reading: Reading, terms: Terms, costs: Costs, held: dict[Action, Quarantine]
) -> None:
    """Gas is paid, and what it asked for is left; who works for nothing still gives no capital."""
    decision = decide(reading, terms, costs, held)
    if decision.action in (Action.REBALANCE, Action.LIQUIDATE):
        assert decision.gain_wad >= 0
        assert terms.is_altruistic or decision.net_wad >= terms.min_profit_wad
        # What it may pay for gas in the end keeps that promise, too.
        if not terms.is_altruistic:
            dearest = Costs(decision.cap_wei, costs.native_price_wad)
            assert decision.gain_wad - dearest.gas_wad(decision.gas) >= terms.min_profit_wad - 1
    if decision.action.is_sent:
        assert costs.gas_price_wei <= terms.max_gas_price_wei
        assert 0 < decision.cap_wei <= terms.max_gas_price_wei


@given(readings, terms, costs, quarantines)
def test_decide__whatever_was_read__acts_only_where_it_may(
    reading: Reading, terms: Terms, costs: Costs, held: dict[Action, Quarantine]
) -> None:
    """No rebalance without a hook that is ready, no slice of who is not below maintenance, none
    beyond the limit of capital, nothing that was simulated to fail or is in quarantine."""
    decision = decide(reading, terms, costs, held)
    quarantine = held.get(decision.action)
    if quarantine is not None:
        assert quarantine.until_s <= NOW or reading.version != quarantine.version
    if decision.action is Action.REBALANCE:
        assert reading.has_hook and reading.preview is not None
        assert reading.preview.code == REBALANCED
        assert reading.is_due if reading.code is None else reading.code == Code.READY
    if decision.action is Action.LIQUIDATE:
        part = reading.part
        assert part is not None and part.preview.code == REBALANCED
        assert reading.health.is_below_maintenance and terms.liquidates and part.taker_wad > 0
        assert part.is_rescue_due or part.flow_wad <= terms.max_capital_wad
    assert decision.reason
    assert decide(reading, terms, costs, held) == decision


@given(readings, terms, costs, amounts)
def test_decide__paid_more__is_done_at_least_as_gladly(
    reading: Reading, terms: Terms, costs: Costs, more: int
) -> None:
    """More pay never makes it leave what it would have done."""
    decision = decide(reading, terms, costs)
    if decision.action is Action.REBALANCE and reading.preview is not None:
        dearer = replace(reading.preview, gain_wad=reading.preview.gain_wad + more)
        again = decide(replace(reading, preview=dearer), terms, costs)
        assert again.action is Action.REBALANCE and again.cap_wei >= decision.cap_wei


@settings(max_examples=100)
@given(st.lists(readings, max_size=4), terms, costs)
def test_ranked__many_accounts__breaches_first_then_by_distance(
    many: list[Reading], terms: Terms, costs: Costs
) -> None:
    """By urgency, whatever order they were read in."""
    decisions = [
        decide(replace(r, account=number), terms, costs) for number, r in enumerate(many, 256)
    ]
    order = ranked(decisions)
    assert order == ranked(reversed(decisions))
    assert [d.urgency for d in order] == sorted(d.urgency for d in order)
    assert all(d.action.is_sent for d in order)


@given(st.integers(1, 200), st.booleans(), st.booleans())
def test_quarantine_s__more_failures__never_shorter_and_bounded(
    failures: int, is_paid: bool, is_emergency: bool
) -> None:
    """K19: doubling, to a bound; in an emergency a free attempt is never more than a minute off."""
    length = quarantine_s(failures, is_paid=is_paid, is_emergency=is_emergency)
    assert length <= quarantine_s(failures + 1, is_paid=is_paid, is_emergency=is_emergency)
    assert length == min(2 * length, length) and length > 0
    if is_emergency and not is_paid:
        assert length <= LONGEST_EMERGENCY_S
    assert length <= LONGEST_PAID_QUARANTINE_S


# ---- cases


def test_readiness__every_code_of_a_plan__has_its_words() -> None:
    assert set(READINESS) == set(Code)


def test_decide__ready_and_paid__rebalances_with_its_figures() -> None:
    """0.0003 of a coin at 2,000 is 0.60; of 1.00 that leaves 0.40."""
    decision = decide(READY, Terms(), CHEAP)
    assert decision.action is Action.REBALANCE
    assert (decision.cost_wad, decision.net_wad) == (6 * WAD // 10, 4 * WAD // 10)
    assert decision.cap_wei == GWEI * 10 // 6


@pytest.mark.parametrize("code", [code for code in Code if code != Code.READY])
def test_decide__not_ready__waits_and_says_why(code: Code) -> None:
    decision = decide(replace(READY, code=int(code), preview=None), Terms(), CHEAP)
    assert (decision.action, decision.reason) == (Action.WAIT, READINESS[code])


def test_decide__simulation_fails__is_put_in_quarantine_with_the_reason() -> None:
    broken = replace(READY, preview=Preview(FAILED, 0, 10**5, "budgets: loss above budget"))
    decision = decide(broken, Terms(), CHEAP)
    assert decision.action is Action.QUARANTINE and decision.failed is Action.REBALANCE
    assert decision.reason == "budgets: loss above budget"


def test_decide__simulation_fails_with_a_stale_price__waits_for_the_price() -> None:
    """K16: that is no failure of the account."""
    broken = replace(READY, preview=Preview(FAILED, 0, 10**5, "x"), stale=(1, 7))
    decision = decide(broken, Terms(), CHEAP)
    assert (decision.action, decision.reason) == (Action.WAIT, "price of asset 1, 7 is stale")


def test_decide__quarantine_of_an_older_policy__is_over() -> None:
    """K19, K23: another policy is a new start."""
    held = {Action.REBALANCE: Quarantine(3, NOW + 60, "x", 1)}
    assert decide(replace(READY, version=1), Terms(), CHEAP, held).action is Action.WAIT
    assert decide(replace(READY, version=2), Terms(), CHEAP, held).action is Action.REBALANCE


def test_decide__hook_in_quarantine_and_below_maintenance__slice_is_taken() -> None:
    part = Slice(100 * WAD, 50 * WAD, 3 * WAD, WAD, False, Preview(REBALANCED, 3 * WAD, 400_000))
    held = {Action.REBALANCE: Quarantine(3, NOW + 60, "x", 0)}
    sunk = replace(READY, health=SUNK, part=part)
    decision = decide(sunk, Terms(max_capital_wad=50 * WAD), CHEAP, held)
    assert decision.action is Action.LIQUIDATE
    # 35 bp of what is taken, to get out of it.
    assert decision.gain_wad == 3 * WAD - 100 * WAD * 35 // 10_000
    assert decide(sunk, Terms(max_capital_wad=50 * WAD), CHEAP).action is Action.REBALANCE


def test_decide__margin_rates_too_old_for_a_slice__asks_for_a_poke() -> None:
    part = Slice(
        100 * WAD, 50 * WAD, 3 * WAD, WAD, False, Preview(FAILED, 0, 400_000, RATES_TOO_OLD)
    )
    sunk = Reading(256, NOW, SUNK, part=part)
    able = Terms(max_capital_wad=50 * WAD)
    assert decide(sunk, able, CHEAP).needs_poke
    assert not decide(sunk, replace(able, min_profit_wad=3 * WAD), CHEAP).needs_poke
    assert not decide(replace(sunk, stale=(1,)), able, CHEAP).needs_poke
    marks = [Mark(1, NOW, NOW - 10, False), Mark(2, NOW - 10, NOW, False), Mark(3, NOW, 0, True)]
    assert [d.target for d in upkeep(NOW, marks, [], able, CHEAP, is_needed=True)] == [1]
    assert upkeep(NOW, marks, [], able, CHEAP) == []


def test_decide__unconfirmed_and_pay_that_grows__flag_is_worth_its_gas() -> None:
    """The flag costs 0.23 and the rebalance 0.60; of the gap 1% is paid once it is old."""
    waiting = replace(
        READY,
        code=int(Code.UNCONFIRMED),
        preview=Preview(NOT_TRIGGERED, 0, 300_000),
        shortfall_wad=100 * WAD,
        bounds=Bounds(pay_bps=100, pay_cap_wad=10 * WAD, gap_per_pay=2),
    )
    decision = decide(waiting, Terms(), CHEAP)
    assert decision.action is Action.FLAG and decision.gas == FLAG_GAS
    assert decide(replace(waiting, triggered_since=NOW - 9), Terms(), CHEAP).action is Action.WAIT
    assert decide(waiting, Terms(min_profit_wad=WAD), CHEAP).action is Action.WAIT
    nothing = replace(waiting, bounds=Bounds())
    assert decide(nothing, Terms(), CHEAP).action is Action.WAIT
    assert decide(nothing, Terms(is_altruistic=True), CHEAP).action is Action.FLAG


def test_decide__below_maintenance_and_nobody_flagged__altruist_flags() -> None:
    """Its discount rises from then on, and lenders' exits wait where the loss is large."""
    sunk = Reading(256, NOW, SUNK)
    assert decide(sunk, Terms(is_altruistic=True), CHEAP).action is Action.FLAG
    assert decide(sunk, Terms(), CHEAP).action is Action.WAIT
    flagged = replace(sunk, below_since=NOW - 60)
    assert decide(flagged, Terms(is_altruistic=True), CHEAP).action is Action.WAIT


@pytest.mark.parametrize(
    ("made_at", "poked_at", "is_due"),
    [
        (NOW, NOW - 600, True),
        (NOW, NOW - 1 - NOW % 300, True),
        (NOW, NOW - NOW % 300, False),  # the same interval of the grid
        (NOW - 700, NOW - 600, False),  # no new round
    ],
)
def test_upkeep__new_round_in_a_new_interval__is_poked(
    made_at: int, poked_at: int, is_due: bool
) -> None:
    """K20: the grid is that of block times."""
    marks = [Mark(4, made_at, poked_at, False)]
    done = upkeep(NOW, marks, [NOW], Terms(is_altruistic=True), CHEAP)
    assert [d.target for d in done] == ([4] if is_due else [])


def test_upkeep__headroom_getting_old__is_refreshed_before_ten_minutes() -> None:
    altruist = Terms(is_altruistic=True)
    assert upkeep(NOW, [], [NOW, NOW - 479], altruist, CHEAP) == []
    (refresh,) = upkeep(NOW, [], [NOW, NOW - 480], altruist, CHEAP)
    assert refresh.action is Action.REFRESH
    assert upkeep(NOW, [], [NOW - 480], Terms(), CHEAP) == []


def test_quarantine_s__first_failures__double() -> None:
    free = [quarantine_s(n) for n in (1, 2, 3)]
    assert free == [QUARANTINE_S, 2 * QUARANTINE_S, 4 * QUARANTINE_S]
    paid = [quarantine_s(n, is_paid=True) for n in (1, 2, 3)]
    assert paid == [PAID_QUARANTINE_S, 2 * PAID_QUARANTINE_S, 4 * PAID_QUARANTINE_S]
