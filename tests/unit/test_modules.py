"""Small pure modules by themselves: the asset list, packed positions, signed rounding."""

from __future__ import annotations

from functools import lru_cache

from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Contract, RevmChain
from tests.conftest import reverts

MAX_ASSETS = 16
WAD = 10**18
SIGNED = st.integers(-(2**120), 2**120)


@lru_cache(maxsize=1)
def shell() -> Contract:
    chain = RevmChain()
    return chain.deploy("ModulesShell", sender=chain.accounts[0])


def word_of(ids: list[int], perpetuals: int = 0) -> int:
    packed = sum(asset << 8 * i for i, asset in enumerate(ids))
    return packed | len(ids) << 128 | perpetuals << 136


@given(
    ids=st.lists(st.integers(1, 255), unique=True, max_size=MAX_ASSETS),
    gone=st.lists(st.integers(0, 15), max_size=MAX_ASSETS),
    perpetuals=st.integers(0, 16),
)
def test_asset_list__any_additions_and_removals__is_dense_and_exact(
    ids: list[int], gone: list[int], perpetuals: int
) -> None:
    """I27: the last id fills the gap, the count is right, and what lies above stays."""
    listed, known = word_of([], perpetuals), []
    for asset in ids:
        listed = shell().list_with(listed, asset)
        known.append(asset)
    assert listed == word_of(known, perpetuals)
    for place in gone:
        if place >= len(known):
            continue
        listed = shell().list_without(listed, place)
        known[place] = known[-1]
        known.pop()
        assert listed == word_of(known, perpetuals)
    assert list(shell().list_ids(listed)) == known
    for asset in range(0, 256, 5):
        place = known.index(asset) if asset in known else MAX_ASSETS
        assert shell().list_index_of(listed, asset) == place


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


@given(x=SIGNED, y=SIGNED)
def test_signed_product__any_signs__is_floored(x: int, y: int) -> None:
    """Vyper's own division would truncate toward zero."""
    assert shell().mul_wad_floor_signed(x, y) == x * y // WAD
    assert shell().abs_of(x) == abs(x)


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
