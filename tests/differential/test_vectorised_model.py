"""The vectorised margin model against the exact one: within its stated tolerance, same ranking."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ballast.model.ledger import Account, Loans
from ballast.model.margin import WAD, Mark, Position, Terms
from ballast.model.oracle import Price, Risk
from ballast.model.vectorised import TOLERANCE, Book, Figures, Rates, book_of

LOANS = Loans(index_wad=1_234_567_890_123_456_789, unit_wad=10**12)

amounts = st.builds(lambda raw, cut: raw >> cut, st.integers(0, 2**100), st.integers(0, 100))
signs = st.sampled_from((1, -1))
marks = st.builds(
    lambda price, rates, quota, funding: Mark(
        Price(price, price), Risk(*rates, quota, 0, 0), funding
    ),
    st.integers(1, 2**90),
    st.tuples(*[st.integers(0, 10**6)] * 4),
    st.integers(1, 2**72 - 1),
    st.integers(-(2**90), 2**90),
)
holdings = st.builds(
    lambda b, q, q_sign, c, c_sign: Position(b, q * q_sign, c * c_sign),
    amounts,
    st.one_of(st.just(0), amounts),
    signs,
    st.one_of(st.just(0), amounts),
    signs,
)
accounts = st.builds(
    lambda cash, shares, held: Account(
        0 if shares else cash, shares, dict(enumerate(held, start=1))
    ),
    amounts,
    st.one_of(st.just(0), st.integers(0, 2**60)),
    st.lists(holdings, max_size=4),
)


def rows(figures: Figures) -> list[tuple[float, ...]]:
    return list(zip(*figures, strict=True))


@given(st.lists(accounts, min_size=1, max_size=4), st.lists(marks, min_size=4, max_size=4))
def test_assess__any_accounts__within_tolerance_of_the_exact_model(
    known: list[Account], drawn: list[Mark]
) -> None:
    by_asset = dict(enumerate(drawn, start=1))
    book, prices, rates, fundings = book_of(known, by_asset, LOANS)
    figures = book.assess(prices, rates, fundings)
    scale = book.gross_value(prices, fundings)
    for row, account in enumerate(known):
        exact = account.assess(by_asset, LOANS)
        # Two wei per asset and figure are the exact model's own rounding.
        allowed = TOLERANCE * scale[row] + 2 * len(drawn) / WAD
        for value, wanted in zip(rows(figures)[row], vars(exact).values(), strict=True):
            assert abs(value - wanted / WAD) <= allowed


@given(st.lists(accounts, min_size=2, max_size=6), st.lists(marks, min_size=4, max_size=4))
def test_worst__any_accounts__ranks_like_the_exact_model(
    known: list[Account], drawn: list[Mark]
) -> None:
    by_asset = dict(enumerate(drawn, start=1))
    book, prices, rates, fundings = book_of(known, by_asset, LOANS)
    order = book.assess(prices, rates, fundings).worst(len(known))
    assert sorted(order) == list(range(len(known)))
    exact = [account.assess(by_asset, LOANS).excess_init / WAD for account in known]
    scale = book.gross_value(prices, fundings)
    for first, second in zip(order, order[1:], strict=False):
        # Either the order is right, or the two are closer than the tolerance.
        allowed = 2 * TOLERANCE * (scale[first] + scale[second]) + 32 / WAD
        assert exact[first] <= exact[second] + allowed


def test_assess__a_million_accounts__one_price_tick_takes_less_than_a_second() -> None:
    """Measured on one core: 60 ms for two assets, 90 for sixteen, 270 with perpetuals in all."""
    count, assets = 10**6, 16
    rng = np.random.default_rng(7)
    collateral = np.zeros((count, assets), order="F")
    for column in range(assets):
        collateral[:, column] = rng.exponential(10.0, count) * (rng.random(count) < 0.2)
    prices = rng.uniform(1, 30_000, assets)
    rates = Rates(*(np.full(assets, rate) for rate in (0.24, 0.02, 0.12, 0.01)))
    book = Book.of(-0.6 * (collateral @ prices), collateral, np.full(assets, 50.0))
    started = time.perf_counter()
    figures = book.assess(prices * 0.9, rates)
    due = figures.below(1.05)
    elapsed_s = time.perf_counter() - started
    assert 0 < len(due) < count
    assert elapsed_s < 1.0
    row = int(due[0])
    exact = Account(
        0,
        0,
        {column: Position(int(collateral[row, column] * WAD)) for column in range(assets)},
    )
    at = {
        column: Mark(
            Price(int(prices[column] * 0.9 * WAD), 0),
            Risk(240_000, 20_000, 120_000, 10_000, 50 * 10**9, 0, 0),
        )
        for column in range(assets)
    }
    cash_wad = int(book.cash[row] * WAD)
    terms = exact.assess(at, Loans()) + Terms(equity_init=cash_wad, equity_maint=cash_wad)
    assert abs(terms.excess_init / WAD - figures.excess_init[row]) < 1e-6


def test_worst__more_than_there_are__returns_all() -> None:
    book = Book.of(np.array([1.0, -1.0, 0.0]), np.zeros((3, 1)), np.ones(1))
    figures = book.assess(np.ones(1), Rates(*(np.ones(1),) * 4))
    assert list(figures.worst(10)) == [1, 2, 0]
    assert list(figures.worst(0)) == []
