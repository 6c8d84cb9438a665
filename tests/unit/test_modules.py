"""Small pure modules by themselves: the asset list, packed words, signed rounding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Contract, RevmChain
from ballast.model.margin import GWEI, Mark, Position
from ballast.model.perps import (
    Breaker,
    Exposure,
    Funding,
    Headroom,
    MarketTerms,
    insured_part_gwei,
)
from tests.conftest import reverts

MAX_ASSETS = 16
KINDS = 13  # of steps, and none
MOVE_CASH, MOVE_COLLATERAL = 1, 3
MOVES = (MOVE_CASH, MOVE_COLLATERAL)
WAD = 10**18
SIGNED = st.integers(-(2**120), 2**120)
HALF = st.integers(-(2**127), 2**127 - 1)


@lru_cache(maxsize=1)
def shell() -> Contract:
    chain = RevmChain()
    return chain.deploy("ModulesShell", sender=chain.accounts[0])


def word_of(ids: Sequence[int], perpetuals: Sequence[bool] = ()) -> int:
    packed = sum(asset << 8 * i for i, asset in enumerate(ids))
    marks = sum(1 << i for i, carries in enumerate(perpetuals) if carries)
    return packed | len(ids) << 128 | marks << 136


@given(
    ids=st.lists(st.integers(1, 255), unique=True, max_size=MAX_ASSETS),
    gone=st.lists(st.integers(0, 15), max_size=MAX_ASSETS),
    perpetuals=st.sets(st.integers(0, 15)),
)
def test_asset_list__any_additions_and_removals__is_dense_and_exact(
    ids: list[int], gone: list[int], perpetuals: set[int]
) -> None:
    """I27: the last id fills the gap and takes its perpetual's bit along; the count is right."""
    listed, known, marked = 0, [], []
    for place, asset in enumerate(ids):
        listed = shell().list_with(listed, asset)
        listed = shell().list_marked(listed, place, place in perpetuals)
        known.append(asset)
        marked.append(place in perpetuals)
    assert listed == word_of(known, marked)
    for place in gone:
        if place >= len(known):
            continue
        listed = shell().list_without(listed, place)
        known[place], marked[place] = known[-1], marked[-1]
        known.pop()
        marked.pop()
        assert listed == word_of(known, marked)
    assert list(shell().list_ids(listed)) == known
    for place in range(MAX_ASSETS):
        carries = place < len(marked) and marked[place]
        assert tuple(shell().list_carries(listed, place)) == (carries, any(marked))
    for asset in range(0, 256, 5):
        place = known.index(asset) if asset in known else MAX_ASSETS
        assert shell().list_index_of(listed, asset) == place


@given(ids=st.lists(st.integers(1, 255), unique=True, min_size=1, max_size=MAX_ASSETS))
def test_asset_list__marked_and_unmarked__changes_that_bit_alone(ids: list[int]) -> None:
    listed = word_of(ids)
    for place in range(len(ids)):
        marked = shell().list_marked(listed, place, True)
        assert marked == listed | 1 << 136 + place
        assert shell().list_marked(marked, place, True) == marked
        assert shell().list_marked(marked, place, False) == listed
        assert shell().list_marked(listed, place, False) == listed


def test_asset_list__of_zeros__finds_no_asset_zero() -> None:
    assert shell().list_index_of(0, 0) == MAX_ASSETS
    assert shell().list_index_of(word_of([5]), 0) == MAX_ASSETS


def test_asset_list__empty__has_nothing_to_remove() -> None:
    with reverts(""):
        shell().list_without(0, 0)


@given(collateral=st.integers(0, 2**120 - 1), size=SIGNED)
def test_position__of_either_sign__comes_back_as_packed(collateral: int, size: int) -> None:
    """A negative size keeps its sign and leaves the collateral alone."""
    word = shell().position_word(collateral, size)
    assert word == collateral | (size % 2**128) << 128
    assert tuple(shell().position(word)) == (collateral, size)


def test_position__ends_of_the_signed_half__come_back_as_packed() -> None:
    for size in (-(2**127), -1, 0, 1, 2**127 - 1):
        word = shell().position_word(2**128 - 1, size)
        assert tuple(shell().position(word)) == (2**128 - 1, size)


@given(cost=HALF, entry=HALF)
def test_cost__of_either_sign__comes_back_as_packed(cost: int, entry: int) -> None:
    """Neither half leaks into the other."""
    word = shell().cost_word(cost, entry)
    assert word == Position(0, 0, cost, entry).cost_word
    assert tuple(shell().cost(word)) == (cost, entry)


@given(
    funding=st.integers(-(2**126), 2**126),
    rate=st.integers(-(2**79), 2**79 - 1),
    at=st.integers(0, 2**40 - 1),
    elapsed=st.integers(0, 10**10),
)
def test_market__any_funding__is_linear_since_it_was_touched(
    funding: int, rate: int, at: int, elapsed: int
) -> None:
    """T47: exact, whatever the wait."""
    word = shell().market_word(funding, rate, at)
    known = Funding(funding, rate, at)
    assert word == known.word
    assert shell().funding_at(word, at + elapsed) == known.at(at + elapsed)


@given(
    newest=st.integers(0, 2**96 - 1),
    previous=st.integers(0, 2**96 - 1),
    flags=st.integers(0, 255),
    at=st.integers(0, 2**40 - 1),
)
def test_price__any_fields__come_back_as_packed(
    newest: int, previous: int, flags: int, at: int
) -> None:
    word = shell().price_word(newest, previous, flags, at)
    assert tuple(shell().price(word)) == (newest, previous, flags, at)


@given(
    rates=st.lists(st.integers(0, 2**24 - 1), min_size=4, max_size=4),
    rest=st.integers(0, 2**144 - 1),
    collateral=st.integers(0, 2**120),
    size=SIGNED,
)
def test_house__any_position__has_rates_of_its_own_side(
    rates: list[int], rest: int, collateral: int, size: int
) -> None:
    """All of it where it is long or even; a half and a quarter at least where it is short. The
    rate on gross, the quota and the times stay."""
    word = sum(rate << 24 * i for i, rate in enumerate(rates)) | rest << 96
    told = shell().house_word(word, Position(collateral, size).word)
    expected = Mark.from_words(0, word).for_house(collateral + size).risk
    assert told & 2**24 - 1 == expected.r_init_e6
    assert told >> 48 & 2**24 - 1 == expected.r_maint_e6
    kept = 2**24 - 1 << 24 | 2**24 - 1 << 72
    assert told & kept == word & kept and told >> 96 == rest


# ---- markets

sizes = st.integers(0, 2**72 - 1)
some_terms = st.builds(
    MarketTerms,
    *[sizes] * 5,
    st.integers(0, 10_000),
    st.integers(0, 100_000),
    st.integers(0, 3_600),
    st.integers(0, 10_000_000),
    st.integers(0, 2**16 - 1),
)


@given(terms=some_terms, closed_at=st.one_of(st.just(0), st.integers(0, 2**24 - 1)))
def test_terms__any_in_range__come_back_as_packed(terms: MarketTerms, closed_at: int) -> None:
    fields = tuple(vars(terms).values())
    words = shell().market_words(fields, closed_at)
    told, since, is_close_only = shell().market_terms(*words)
    assert (tuple(told), since, is_close_only) == (fields, closed_at, closed_at != 0)
    assert words[1] >> 168 & 2**24 - 1 == terms.lag_root_e9


@given(longs=sizes, shorts=sizes, at=st.integers(0, 2**40 - 1), start=st.integers(-(2**71), 2**71))
def test_exposure__any_sides__come_back_as_packed(
    longs: int, shorts: int, at: int, start: int
) -> None:
    if start == 2**71:
        start -= 1
    known = Exposure(longs, shorts, at, start)
    word = shell().exposure_word(longs, shorts, at, start)
    assert word == known.word
    assert tuple(shell().exposure(word)) == (longs, shorts, at, start, longs - shorts)


def test_exposure__side_beyond_its_field__is_refused() -> None:
    for longs, shorts in ((2**72, 0), (0, 2**72)):
        with reverts("perps: market too large"):
            shell().exposure_word(longs, shorts, 0, 0)


@given(
    long=st.integers(0, 2**80),
    short=st.integers(0, 2**80),
    at=st.integers(0, 2**40 - 1),
    insured=st.integers(0, 2**80),
)
def test_headroom__more_than_a_field_holds__is_the_most_that_it_holds(
    long: int, short: int, at: int, insured: int
) -> None:
    most = 2**72 - 1
    known = Headroom(min(long, most), min(short, most), at, min(insured, most))
    word = shell().headroom_word(long, short, at, insured)
    assert word == known.word
    assert tuple(shell().headroom(word)) == tuple(vars(known).values())
    assert Headroom.from_word(word) == known
    assert Headroom(*tuple(vars(known).values())[:3]).insured(insured) == known


@given(
    size_gwei=st.integers(-(2**73), 2**73),
    index=st.integers(0, 2**96 - 1),
    fee_e6=st.integers(0, 2**24 - 1),
)
def test_insured_part__any_fill__is_a_tenth_of_its_fee_down(
    size_gwei: int, index: int, fee_e6: int
) -> None:
    told = shell().insured_part_gwei(size_gwei, index, fee_e6)
    assert told == floor(Fraction(abs(size_gwei) * index * fee_e6, 10 * 10**6 * WAD))
    assert told == insured_part_gwei(size_gwei * GWEI, index, fee_e6)


@given(
    cash=st.integers(0, 2**120),
    shares=st.integers(0, 2**96 - 1),
    at=st.integers(0, 2**32 - 1),
    new_cash=st.integers(0, 2**120),
)
def test_account__any_fields__come_back_as_packed_and_the_time_is_kept_to_itself(
    cash: int, shares: int, at: int, new_cash: int
) -> None:
    """Cash changes nothing else; what is published has no time in it."""
    word = cash | shares << 128 | at << 224
    assert tuple(shell().account(word)) == (cash, shares, at, cash | shares << 128)
    assert shell().with_cash(word, new_cash) == new_cash | shares << 128 | at << 224


@given(
    previous=st.integers(1, 2**90),
    current=st.integers(1, 2**90),
    since=st.integers(0, 2**31),
    age=st.one_of(st.sampled_from((0, 599, 600, 1_199, 1_200)), st.integers(0, 3_000)),
    percent=st.integers(50, 150),
    nudge=st.integers(-1, 1),
)
def test_breaker__any_age_and_price__is_that_of_the_model(
    previous: int, current: int, since: int, age: int, percent: int, nudge: int
) -> None:
    index = max(1, current * percent // 100 + nudge)
    known = Breaker(previous, current, since)
    moved = shell().moved_breaker(known.word, index, since + age)
    assert moved == known.moved(index, since + age).word
    for breaker in (known, known.moved(index, since + age)):
        assert shell().is_tripped(breaker.word, index) == breaker.is_tripped(index)


# ---- refusals


@given(
    source=st.integers(0, 2**168 - 1),
    asset=st.integers(0, 255),
    first=st.integers(1, KINDS - 1),
    second=st.integers(1, KINDS - 1),
)
def test_refused__any_steps__are_known_by_kind_and_asset_or_by_sibling(
    source: int, asset: int, first: int, second: int
) -> None:
    """Cash and collateral of one sibling are refused together, by its number."""
    refused, known = [0] * KINDS, set()
    for kind in (first, second):
        refused = list(shell().with_refused(refused, kind, source, asset))
        known.add((MOVE_CASH, source % 256) if kind in MOVES else (kind, asset))
    assert sum(word.bit_count() for word in refused) == len(known)
    for kind, key in known:
        assert all(
            shell().is_refused(refused, alike, key)
            for alike in (MOVES if kind == MOVE_CASH else [kind])
        )
        assert not shell().is_refused(refused, kind, (key + 1) % 256)


# ---- rounding


@given(x=SIGNED, y=SIGNED)
def test_signed_product__any_signs__is_floored(x: int, y: int) -> None:
    """Vyper's own division would truncate toward zero."""
    assert shell().mul_wad_floor_signed(x, y) == x * y // WAD
    assert shell().abs_of(x) == abs(x)


@given(x=st.integers(-(2**200), 2**200), d=st.integers(1, 2**120))
def test_signed_division__any_numbers__is_floored_or_truncated(x: int, d: int) -> None:
    toward_zero = abs(x) // d
    assert shell().div_floor_signed(x, d) == x // d
    assert shell().div_zero_signed(x, d) == (toward_zero if x >= 0 else -toward_zero)


@given(x=st.integers(0, 2**120), y=st.integers(0, 2**120), d=st.integers(1, 2**120))
def test_division_up__any_numbers__is_the_ceiling(x: int, y: int, d: int) -> None:
    assert shell().mul_div_up(x, y, d) == -(-x * y // d)
    assert shell().div_up(x, d) == -(-x // d)


def test_division_up__by_zero_or_too_large__reverts() -> None:
    for x, y, d in ((1, 1, 0), (2**255, 2, 1)):
        with reverts(""):
            shell().mul_div_up(x, y, d)
    with reverts(""):
        shell().div_up(1, 0)
