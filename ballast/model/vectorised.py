"""The margin equation for many accounts at once, in float64: good for ranking, not for settling.

    book = Book.of(cash, collateral, quotas)          # once per change of what accounts hold
    figures = book.assess(prices, rates)              # once per price tick
    worst = figures.worst(1_000)                      # by excess at initial margin, ascending

Amounts are whole quote tokens and whole tokens, rates fractions of one. Rows are accounts, columns
assets. What does not depend on prices (counted collateral, net exposure, gross) is computed once,
so a tick of a book without perpetuals is four products of a matrix and a vector.

Each figure differs from the exact model by at most `TOLERANCE` of the account's gross value and
two wei per asset, which the exact model rounds. Callers that act on a verdict within that margin of
zero must ask the exact model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ballast.model.ledger import Account, Loans
from ballast.model.margin import RATE, WAD, Mark

# Relative to cash, collateral, perpetuals and costs at their absolute values: 16 assets of a few
# operations each stay below 100 rounding errors of 1.1e-16.
TOLERANCE = 1e-13

Array = Any  # numpy.ndarray of float64


class Rates(NamedTuple):
    """Rates of all assets, fractions of one, one entry per asset."""

    r_init: Array
    l_init: Array
    r_maint: Array
    l_maint: Array


class Figures(NamedTuple):
    """The four figures of all accounts, whole quote tokens."""

    equity_init: Array
    required_init: Array
    equity_maint: Array
    required_maint: Array

    @property
    def excess_init(self) -> Array:
        """Equity beyond the initial requirement."""
        return self.equity_init - self.required_init

    @property
    def excess_maint(self) -> Array:
        """Equity beyond the maintenance requirement."""
        return self.equity_maint - self.required_maint

    def below(self, multiple: float | Array) -> Array:
        """Rows whose equity is below a multiple of the initial requirement."""
        return np.flatnonzero(self.equity_init < multiple * self.required_init)

    def worst(self, count: int) -> Array:
        """Rows with the least excess at initial margin, the worst first."""
        excess = self.excess_init
        count = min(count, len(excess))
        rows = np.argpartition(excess, count - 1)[:count] if count else np.empty(0, np.intp)
        return rows[np.argsort(excess[rows], kind="stable")]


@dataclass(frozen=True)
class Book:
    """What accounts hold, with all that does not depend on prices. Build it with `of`."""

    cash: Array
    collateral: Array
    counted: Array
    delta: Array  # absolute, at maintenance
    delta_init: Array  # absolute, at initial margin
    gross: Array
    gross_init: Array
    sizes: Array | None
    costs: Array | None

    @classmethod
    def of(
        cls,
        cash: Array,
        collateral: Array,
        quotas: Array,
        sizes: Array | None = None,
        costs: Array | None = None,
    ) -> Book:
        """Cash by account (negative is a loan), holdings by account and asset, quotas by asset."""
        cash = np.asarray(cash, np.float64)
        # By columns: a product with a vector of prices then runs along memory.
        collateral = np.asarray(collateral, np.float64, order="F")
        counted = np.minimum(collateral, np.asarray(quotas, np.float64))
        if sizes is None:
            return cls(
                cash, collateral, counted, collateral, counted, collateral, counted, None, None
            )
        sizes = np.asarray(sizes, np.float64, order="F")
        costs = np.zeros_like(sizes) if costs is None else np.asarray(costs, np.float64, order="F")
        inner, outer = counted + sizes, collateral + sizes
        # The value nearest zero between the two.
        nearest = np.where(inner > 0, inner, np.where(outer < 0, -outer, 0.0))
        return cls(
            cash,
            collateral,
            counted,
            np.abs(outer),
            nearest,
            collateral + np.abs(sizes),
            counted + np.abs(sizes),
            sizes,
            costs,
        )

    def assess(self, prices: Array, rates: Rates, fundings: Array | None = None) -> Figures:
        """The four figures of every account at these prices."""
        prices = np.asarray(prices, np.float64)
        equity_init = self.cash + self.counted @ prices
        equity_maint = self.cash + self.collateral @ prices
        if self.sizes is None:
            return Figures(
                equity_init,
                self.counted @ (prices * (rates.r_init + rates.l_init)),
                equity_maint,
                self.collateral @ (prices * (rates.r_maint + rates.l_maint)),
            )
        moves = prices - (0.0 if fundings is None else fundings)
        results = self.sizes * moves - self.costs
        equity_init += np.minimum(results, 0.0).sum(axis=1)
        equity_maint += results.sum(axis=1)
        return Figures(
            equity_init,
            self.delta_init @ (prices * rates.r_init) + self.gross_init @ (prices * rates.l_init),
            equity_maint,
            self.delta @ (prices * rates.r_maint) + self.gross @ (prices * rates.l_maint),
        )

    def gross_value(self, prices: Array, fundings: Array | None = None) -> Array:
        """The scale of each account's rounding error: the sum of the sizes of its terms."""
        value = np.abs(self.cash) + self.gross @ np.abs(prices)
        if self.sizes is not None:
            value += np.abs(self.costs).sum(axis=1)
            if fundings is not None:
                value += np.abs(self.sizes) @ np.abs(fundings)
        return value


def book_of(
    accounts: Sequence[Account], marks: Mapping[int, Mark], loans: Loans
) -> tuple[Book, Array, Rates, Array]:
    """A book of exact accounts, with prices, rates and fundings of the marks in their order."""
    order = {asset: column for column, asset in enumerate(marks)}
    shape = (len(accounts), len(order))
    collateral, sizes, costs = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for row, account in enumerate(accounts):
        for asset, held in account.positions.items():
            collateral[row, order[asset]] = held.collateral_wad / WAD
            sizes[row, order[asset]] = held.size_wad / WAD
            costs[row, order[asset]] = held.cost_wad / WAD
    cash = np.array([account.net_wad(loans) / WAD for account in accounts])
    quotas = np.array([mark.quota_wad / WAD for mark in marks.values()])
    risks = [mark.risk for mark in marks.values()]
    rates = Rates(
        *(
            np.array([getattr(risk, name) / RATE for risk in risks])
            for name in ("r_init_e6", "l_init_e6", "r_maint_e6", "l_maint_e6")
        )
    )
    prices = np.array([mark.price_wad / WAD for mark in marks.values()])
    fundings = np.array([mark.funding_wad / WAD for mark in marks.values()])
    has_perpetuals = bool(sizes.any() or costs.any())
    book = Book.of(
        cash,
        collateral,
        quotas,
        sizes if has_perpetuals else None,
        costs if has_perpetuals else None,
    )
    return book, prices, rates, fundings
