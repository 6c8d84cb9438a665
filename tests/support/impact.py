"""What rebalancing really costs where a price moves with the size of a trade, and what it could.

A sale of value x in a pool with fee f and virtual reserves worth V, within one range of ticks, and
a trade of value x in a market without skew, with fee e and depth worth K, cost

    x - V (1 - f) x / (V + (1 - f) x)        e x + x^2 / (2 K)

Arrays are accounts by assets, in quote tokens; figures are floating point, for only ratios matter.
All costs are convex and all cures concave, so an optimum has one price of a unit of cure: it is
found by bisection, and within an asset, whose sales and hedges share its exposure, by another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
BISECTIONS = 60


@dataclass(frozen=True)
class Venues:
    """Fee and virtual reserve of each asset's pool, fee and depth of its market."""

    pool_fee: Array
    reserve: Array
    market_fee: Array
    depth: Array

    def sale_cost(self, value: Array) -> Array:
        """What is lost by selling that value."""
        kept = value * (1 - self.pool_fee)
        return value - self.reserve * kept / (self.reserve + kept)

    def trade_cost(self, value: Array) -> Array:
        """What is lost by trading that value in one direction."""
        return self.market_fee * value + value**2 / (2 * self.depth)

    def sale_at(self, slope: Array) -> Array:
        """The sale whose last token costs `slope`."""
        kept = np.sqrt((1 - self.pool_fee) / (1 - np.minimum(slope, 0.99)))
        return np.maximum(0, self.reserve * (kept - 1) / (1 - self.pool_fee))

    def trade_at(self, slope: Array) -> Array:
        """The trade whose last token costs `slope`."""
        return np.maximum(0, self.depth * (slope - self.market_fee))


@dataclass(frozen=True)
class Needs:
    """Most that may be sold and traded, whether both share one exposure, as large as the larger of
    the two, and t times the requirement that a unit of each releases."""

    most_sold: Array
    most_traded: Array
    shares: Array
    sale_rate: Array
    trade_rate: Array


@dataclass(frozen=True)
class Split:
    """Values sold and traded of each asset; a trade is a hedge where `shares`, else a trim."""

    sold: Array
    traded: Array

    def cost(self, venues: Venues) -> Array:
        """Of each account."""
        return (venues.sale_cost(self.sold) + venues.trade_cost(self.traded)).sum(axis=1)

    def cure(self, venues: Venues, needs: Needs) -> Array:
        """Of each account: requirement released at its target, less what it costs."""
        released = self.sold * needs.sale_rate + self.traded * needs.trade_rate
        return released.sum(axis=1) - self.cost(venues)


def best_split(needs: Needs, venues: Venues, cure: Array) -> Split:
    """The least cost for a cure that is within reach."""
    low, high = np.zeros((len(cure), 1)), np.ones((len(cure), 1))
    for _ in range(BISECTIONS):
        part = (low + high) / 2
        is_enough = (_split_at(needs, venues, part).cure(venues, needs) >= cure)[:, None]
        low, high = np.where(is_enough, low, part), np.where(is_enough, part, high)
    return _split_at(needs, venues, high)


def _split_at(needs: Needs, venues: Venues, part: Array) -> Split:
    """What is best if a unit of cure is worth y: C' = y (rate - C'), so C' = rate y / (1 + y).

    `part` is y / (1 + y). Where exposure is short its own price is taken off both sides.
    """
    sale, trade = needs.sale_rate * part, needs.trade_rate * part
    room = np.maximum(needs.most_sold, needs.most_traded)

    def split(price: Array) -> Split:
        sold = np.minimum(venues.sale_at(sale - price), needs.most_sold)
        return Split(sold, np.minimum(venues.trade_at(trade - price), needs.most_traded))

    low, high = np.zeros_like(sale), np.maximum(sale, trade)
    first = split(low)
    is_short = needs.shares & (first.sold + first.traded > room)
    for _ in range(BISECTIONS):
        price = (low + high) / 2
        at = split(price)
        is_over = at.sold + at.traded > room
        low, high = np.where(is_over, price, low), np.where(is_over, high, price)
    last = split(high)
    return Split(
        np.where(is_short, last.sold, first.sold), np.where(is_short, last.traded, first.traded)
    )
