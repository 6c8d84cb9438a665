"""The margin equation against its exact model, equal to the wei, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from hypothesis import example, given
from hypothesis import strategies as st

from ballast.chain import Contract, RevmChain
from ballast.model.margin import (
    RATE,
    WAD,
    Leg,
    Mark,
    Position,
    Terms,
    assess,
    nearest_zero,
    terms_of,
)
from ballast.model.oracle import Price, Risk

MAX_BALANCE = 2**120 - 1
MAX_PRICE = 2**96 - 1
# Charged at three millionths of a wei it requires the least more than a whole number of wei.
A_LITTLE_MORE = pow(3, -1, WAD * RATE)


def magnitudes(bits: int) -> st.SearchStrategy[int]:
    """Integers below 2**bits whose length is uniform, so that dust is as likely as plenty."""
    return st.builds(lambda raw, cut: raw >> cut, st.integers(0, 2**bits - 1), st.integers(0, bits))


def signed(bits: int) -> st.SearchStrategy[int]:
    """The same with either sign."""
    return st.builds(lambda size, sign: sign * size, magnitudes(bits), st.sampled_from((1, -1)))


any_risks = st.builds(
    Risk,
    *[st.integers(0, 2**24 - 1)] * 4,
    magnitudes(72).map(lambda quota: max(1, quota)),
    st.just(0),
    st.just(0),
)


def _oracle_risk(quota: int, r_maint: int, l_share: int, r_share: int, rest: int) -> Risk:
    """Maintenance rates, and initial ones between 1.5 times those and r + l = 1."""
    l_maint = 1 + (999_990 - 3 * r_maint // 2) * 2 // 3 * l_share // 10_000
    low = -(-3 * r_maint // 2)
    r_init = low + (999_990 - 3 * l_maint // 2 - low) * r_share // 10_000
    low = -(-3 * l_maint // 2)
    l_init = low + max(0, 10**6 - r_init - low) * rest // 10_000
    return Risk(r_init, l_init, r_maint, l_maint, max(1, quota), 0, 0)


shares = st.one_of(st.sampled_from((0, 9_900)), st.integers(0, 9_900))
risks = st.builds(_oracle_risk, magnitudes(72), st.integers(1, 640_000), shares, shares, shares)

sizes = st.one_of(st.just(0), signed(120), st.none())


def _position(collateral: int, size: int | None, rest: int, cost: int) -> Position:
    """A size of None is a hedge to the last units."""
    hedge = max(-MAX_BALANCE, rest - collateral)
    return Position(collateral, hedge if size is None else size, cost)


costs = st.one_of(st.just(0), signed(120))
positions = st.builds(_position, magnitudes(120), sizes, st.integers(-3, 3), costs)


fundings = signed(96)
prices = magnitudes(96).map(lambda price: max(1, price))


def mark_at(price_wad: int, risk: Risk, funding_wad: int = 0) -> Mark:
    return Mark(Price(price_wad, price_wad), risk, funding_wad)


@lru_cache
def shell(name: str = "MarginShell") -> Contract:
    chain = RevmChain()
    return chain.deploy(name, sender=chain.accounts[0])


def terms_on_chain(position: Position, mark: Mark) -> Terms:
    return Terms(
        *shell().terms(
            position.word, position.cost_wad, mark.funding_wad, mark.price_wad, mark.risk.word
        )
    )


# ---- the contract


@given(positions, prices, fundings, any_risks)
@example(
    Position(MAX_BALANCE, -MAX_BALANCE, MAX_BALANCE),
    MAX_PRICE,
    -MAX_PRICE,
    Risk(*[2**24 - 1] * 4, 2**72 - 1, 0, 0),
)
@example(Position(0, -1, 0), 1, 0, Risk(1, 1, 1, 1, 1, 0, 0))
@example(Position(3, -2, 0), 1, 0, Risk(1, 1, 1, 1, 1, 0, 0))
@example(Position(A_LITTLE_MORE), 1, 0, Risk(3, 0, 3, 0, 2**72 - 1, 0, 0))
# What a closed perpetual left unpaid, and what the house still owes for one.
@example(Position(5, 0, 1), 10**18, 0, Risk(10**5, 10**4, 10**4, 10**3, 10**9, 0, 0))
@example(Position(5, 0, -7), 10**18, 0, Risk(10**5, 10**4, 10**4, 10**3, 10**9, 0, 0))
# A gain; a short that only collateral above the quota covers.
@example(Position(0, 9, 2), 3 * 10**18, 0, Risk(10**5, 10**4, 10**4, 10**3, 10**9, 0, 0))
@example(Position(10**10, -5 * 10**9, 0), 10**24, 0, Risk(10**6, 10**5, 10**4, 10**3, 2, 0, 0))
def test_terms__any_position__equal_the_model_and_survive_packing(
    position: Position, price_wad: int, funding_wad: int, risk: Risk
) -> None:
    mark = mark_at(price_wad, risk, funding_wad)
    assert terms_on_chain(position, mark) == terms_of(position, mark)
    bare = replace(position, cost_wad=0)
    assert Position.from_word(bare.word) == bare
    assert Mark.from_words(mark.price.word, risk.word) == replace(mark, funding_wad=0)


@given(magnitudes(120), prices, any_risks)
@example(MAX_BALANCE, MAX_PRICE, Risk(*[2**24 - 1] * 4, 2**72 - 1, 0, 0))
@example(3, 1, Risk(1, 1, 1, 1, 1, 0, 0))
@example(3 * 10**9, 10**24, Risk(3, 5, 0, 0, 2, 0, 0))
@example(A_LITTLE_MORE, 1, Risk(3, 0, 3, 0, 2**72 - 1, 0, 0))
def test_collateral_excess_init__any_collateral__is_the_difference_of_the_terms(
    collateral_wad: int, price_wad: int, risk: Risk
) -> None:
    position, mark = Position(collateral_wad), mark_at(price_wad, risk)
    terms = terms_of(position, mark)
    excess = shell().collateral_excess_init(position.word, price_wad, risk.word)
    assert excess == terms.equity_init - terms.required_init


@given(positions, prices, any_risks)
@example(Position(MAX_BALANCE, MAX_BALANCE), MAX_PRICE, Risk(*[2**24 - 1] * 4, 2**72 - 1, 0, 0))
# A short that only collateral above the quota covers, and one that not even that does.
@example(Position(10**10, -5 * 10**9), 10**24, Risk(10**6, 10**5, 10**4, 10**3, 2, 0, 0))
@example(Position(10**10, -(10**11)), 10**24, Risk(10**6, 10**5, 10**4, 10**3, 2, 0, 0))
@example(Position(A_LITTLE_MORE), 1, Risk(3, 0, 3, 0, 2**72 - 1, 0, 0))
def test_required_init__any_position__is_the_requirement_of_the_terms(
    position: Position, price_wad: int, risk: Risk
) -> None:
    told = shell().required_init(position.word, price_wad, risk.word)
    assert told == terms_of(position, mark_at(price_wad, risk)).required_init


@given(positions, prices, fundings, any_risks, shares, shares, costs)
@example(Position(MAX_BALANCE), MAX_PRICE, 0, Risk(*[2**24 - 1] * 4, 2**72 - 1, 0, 0), 0, 0, 0)
# Collateral alone rests: there was a perpetual and all of it is taken, with its result or without.
@example(Position(9, 7, 5), 10**18, 3, Risk(3, 5, 3, 5, 2, 0, 0), 0, 10_000, 5)
@example(Position(9, 7, 5), 10**18, 3, Risk(3, 5, 3, 5, 2, 0, 0), 0, 10_000, 4)
def test_rest__of_any_slice__is_worth_at_maintenance_what_the_terms_say(
    position: Position,
    price_wad: int,
    funding_wad: int,
    risk: Risk,
    collateral_bps: int,
    size_bps: int,
    cost_wad: int,
) -> None:
    collateral = position.collateral_wad * collateral_bps // 10_000
    size = position.size_wad * size_bps // 10_000
    mark = mark_at(price_wad, risk, funding_wad)
    leg = (1, position.word, position.cost_wad, funding_wad, mark.price.word, risk.word)
    told = shell("LiquidationShell").rest(leg, (1, collateral, size, cost_wad, 0, 0))
    rest = Position(
        position.collateral_wad - collateral, position.size_wad - size, position.cost_wad - cost_wad
    )
    terms = terms_of(rest, mark)
    assert told == (terms.equity_maint, terms.required_maint)


# ---- the model against the formula in rational numbers


@given(positions, prices, fundings, any_risks)
def test_terms__any_position__are_the_formula_rounded_against_the_account(
    position: Position, price_wad: int, funding_wad: int, risk: Risk
) -> None:
    mark = mark_at(price_wad, risk, funding_wad)
    b, q, c = position.collateral_wad, position.size_wad, position.cost_wad
    p, f = Fraction(price_wad, WAD), Fraction(funding_wad, WAD)
    u = q * (p - f) - c
    counted = min(b, mark.quota_wad)
    ends = (counted + q, b + q)
    nearest = 0 if min(ends) <= 0 <= max(ends) else min(ends, key=abs)
    equity_init = counted * p + min(u, Fraction(0))
    equity_maint = b * p + u
    required_init = p * (risk.r_init_e6 * abs(nearest) + risk.l_init_e6 * (counted + abs(q))) / RATE
    required_maint = p * (risk.r_maint_e6 * abs(b + q) + risk.l_maint_e6 * (b + abs(q))) / RATE
    terms = terms_of(position, mark)
    assert 0 <= equity_init - terms.equity_init < 2  # collateral and result, each floored
    assert 0 <= equity_maint - terms.equity_maint < 2
    assert 0 <= terms.required_init - required_init < 1
    assert 0 <= terms.required_maint - required_maint < 1


# ---- what follows from it


@given(positions, prices, fundings, risks)
def test_excess__rates_of_the_oracle__maintenance_is_never_the_harder_test(
    position: Position, price_wad: int, funding_wad: int, risk: Risk
) -> None:
    """excess_maint >= excess_init, but for a wei where the whole requirement is one wei."""
    assert 2 * risk.r_init_e6 >= 3 * risk.r_maint_e6 and 2 * risk.l_init_e6 >= 3 * risk.l_maint_e6
    assert risk.r_init_e6 + risk.l_init_e6 <= RATE
    terms = terms_of(position, mark_at(price_wad, risk, funding_wad))
    assert terms.excess_maint >= terms.excess_init - (terms.required_init <= 1)


def test_excess__dust_under_the_steepest_rates__fails_by_a_wei() -> None:
    """The one known case, kept so that nobody claims more than holds: values of one or two wei."""
    steep = Risk(960_000, 40_000, 640_000, 20_000, 1, 0, 0)
    terms = terms_of(Position(2 * 10**9 - 1), mark_at(10**9, steep))
    assert (terms.excess_init, terms.excess_maint) == (0, -1)


@given(magnitudes(120), prices, prices, risks)
def test_excess__collateral_alone__never_falls_with_a_rising_price(
    collateral: int, one_price: int, other_price: int, risk: Risk
) -> None:
    """I32: equity rises by b dp, the requirement by at most (r + l) b dp, but for a wei."""
    low, high = sorted((one_price, other_price))
    before = terms_of(Position(collateral), mark_at(low, risk))
    after = terms_of(Position(collateral), mark_at(high, risk))
    assert after.equity_init >= before.equity_init and after.equity_maint >= before.equity_maint
    assert after.excess_init >= before.excess_init - 1
    assert after.excess_maint >= before.excess_maint - 1


@given(magnitudes(120), magnitudes(120), magnitudes(120), prices, prices, risks)
def test_excess__uncovered_short__never_rises_with_a_rising_price(
    collateral: int, extra: int, cost: int, one_price: int, other_price: int, risk: Risk
) -> None:
    """I32: a short at least as large as the collateral loses with every rise of the price."""
    size = -min(MAX_BALANCE, collateral + extra)
    low, high = sorted((one_price, other_price))
    position = Position(min(collateral, -size), size, -cost)
    before = terms_of(position, mark_at(low, risk))
    after = terms_of(position, mark_at(high, risk))
    assert after.excess_maint <= before.excess_maint + 2


@given(positions, positions, prices, fundings, risks)
# Three quarters of a wei each: rounded down, the parts would require nothing and the whole a wei.
@example(*[Position(3 * 10**18)] * 2, 1, 0, Risk(240_000, 10_000, 160_000, 5_000, 1, 0, 0))
def test_required__two_parts_of_one_asset__whole_is_at_most_the_sum(
    one: Position, other: Position, price_wad: int, funding_wad: int, risk: Risk
) -> None:
    """I33 within an asset: |D| and G are subadditive, and merging rounds once instead of twice.

    At initial margin the quota is the account's, so both parts must lie within it together.
    """
    mark = mark_at(price_wad, replace(risk, quota_gwei=2**72 - 1), funding_wad)
    one = replace(one, collateral_wad=min(one.collateral_wad, mark.quota_wad // 2))
    other = replace(other, collateral_wad=min(other.collateral_wad, mark.quota_wad // 2))
    whole = Position(
        one.collateral_wad + other.collateral_wad,
        one.size_wad + other.size_wad,
        one.cost_wad + other.cost_wad,
    )
    for terms in (terms_of, terms_on_chain):
        merged = terms(whole, mark)
        apart = terms(one, mark) + terms(other, mark)
        assert merged.required_init <= apart.required_init
        assert merged.required_maint <= apart.required_maint
        # Floors lose a wei each; a gain of one part pays the loss of the other once they are one.
        assert merged.equity_maint >= apart.equity_maint
        assert merged.equity_init >= apart.equity_init


@given(
    st.lists(st.tuples(positions, prices, risks), min_size=2, max_size=2),
    st.integers(-(2**120), 2**120),
    st.integers(-(2**120), 2**120),
)
def test_excess__two_assets__portfolio_is_exactly_the_sum_of_its_parts(
    parts: list[tuple[Position, int, Risk]], one_cash: int, other_cash: int
) -> None:
    """I33 across assets: no offset between assets, so nothing can be gained by joining accounts."""
    legs = [Leg(i, held, mark_at(price, risk)) for i, (held, price, risk) in enumerate(parts)]
    whole = assess(one_cash + other_cash, legs)
    assert whole == assess(one_cash, legs[:1]) + assess(other_cash, legs[1:])


@given(positions, prices, fundings, risks, magnitudes(120))
def test_deposit__any_account__strengthens_equity_and_never_lowers_maintenance_excess(
    position: Position, price_wad: int, funding_wad: int, risk: Risk, more: int
) -> None:
    """A15: an unsolicited deposit beyond the quota neither counts nor hurts at initial margin."""
    mark = mark_at(price_wad, risk, funding_wad)
    fuller = replace(position, collateral_wad=min(MAX_BALANCE, position.collateral_wad + more))
    before, after = terms_of(position, mark), terms_of(fuller, mark)
    assert after.equity_init >= before.equity_init
    assert after.excess_init >= before.excess_init - 1
    assert after.excess_maint >= before.excess_maint - 1
    if position.collateral_wad >= mark.quota_wad and position.size_wad == 0:
        assert after == replace(
            after, equity_init=before.equity_init, required_init=before.required_init
        )


@given(st.integers(-(2**130), 2**130), st.integers(-(2**130), 2**130))
def test_nearest_zero__any_interval__is_inside_and_has_the_least_size(one: int, other: int) -> None:
    low, high = sorted((one, other))
    value = nearest_zero(one, other)
    assert low <= value <= high
    assert abs(value) <= min(abs(low), abs(high))
    assert value == 0 or not low <= 0 <= high
