"""The margin equation in exact integers: what a position adds to the four figures of an account.

    u = floor(q (p - f)) - c                 unsettled result of a perpetual
    D = b + q                                G = b + |q|
    equity_maint = cash + sum b p + u        equity_init = cash + sum min(b, quota) p + min(u, 0)
    required     = sum p (r |D| + l G)

At initial margin G counts min(b, quota) and D is the value nearest zero between min(b, quota) + q
and b + q. Values round down, requirements up, and both once per asset. Amounts are WAD of the quote
token or of the asset, rates are millionths (`_e6`), funding is cumulative quote per unit in WAD.
The house, the account on the other side of every trade, has directional rates of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ballast.model.oracle import IS_STALE, NO_INCREASE, NO_SWAP, Price, Risk

WAD = 10**18
BPS = 10**4
RATE = 10**6
GWEI = 10**9

# Directional rates of the house: fully funded where it is long, else at least these.
HOUSE_LONG_E6 = RATE
HOUSE_SHORT_INIT_E6 = RATE // 2
HOUSE_SHORT_MAINT_E6 = RATE // 4

MARGIN_SHORT = "margin: initial margin short"
PRICE_NOT_USABLE = "margin: price not usable"


def signed(word: int, bits: int) -> int:
    """The two's complement of the lowest `bits` of a word."""
    low = word & (2**bits - 1)
    return low - (low >> (bits - 1) << bits)


def div_up(numerator: int, denominator: int) -> int:
    """Quotient by a positive integer, rounded up."""
    return -(-numerator // denominator)


def nearest_zero(one_end: int, other_end: int) -> int:
    """The value nearest zero between two ends, both included."""
    low, high = sorted((one_end, other_end))
    return max(low, min(0, high))


@dataclass(frozen=True)
class Position:
    """What an account holds of one asset: collateral, and a perpetual with its cost.

    `entry_wad` is the value at which the present size was opened, fees included, funding not.
    """

    collateral_wad: int = 0
    size_wad: int = 0
    cost_wad: int = 0
    entry_wad: int = 0

    @classmethod
    @lru_cache(maxsize=1 << 14)
    def from_word(cls, word: int, cost_word: int = 0) -> Position:
        """Unpack a position word, and the cost word that lies elsewhere."""
        costs = signed(cost_word, 128), signed(cost_word >> 128, 128)
        return cls(word & (2**128 - 1), signed(word >> 128, 128), *costs)

    @property
    def word(self) -> int:
        """The packed position word."""
        return self.collateral_wad | (self.size_wad % 2**128) << 128

    @property
    def cost_word(self) -> int:
        """The packed cost word."""
        return self.cost_wad % 2**128 | (self.entry_wad % 2**128) << 128

    @property
    def has_perpetual(self) -> bool:
        """Whether there is a perpetual, or an unpaid rest of a closed one."""
        return self.size_wad != 0 or self.cost_wad != 0

    @property
    def delta_wad(self) -> int:
        """Net exposure D in units of the asset."""
        return self.collateral_wad + self.size_wad


@dataclass(frozen=True)
class Mark:
    """Price and rates of an asset at one moment, and the funding of its market."""

    price: Price
    risk: Risk
    funding_wad: int = 0

    @classmethod
    def from_words(cls, price_word: int, risk_word: int, funding_wad: int = 0) -> Mark:
        """Unpack the two words that the oracle hands out; funding is the market's."""
        return cls(Price.from_word(price_word), Risk.from_word(risk_word), funding_wad)

    def for_house(self, delta_wad: int) -> Mark:
        """The mark at the house's own directional rates, for its net exposure."""
        risk = self.risk
        r_init_e6 = r_maint_e6 = HOUSE_LONG_E6
        if delta_wad < 0:
            r_init_e6 = max(risk.r_init_e6, HOUSE_SHORT_INIT_E6)
            r_maint_e6 = max(risk.r_maint_e6, HOUSE_SHORT_MAINT_E6)
        return replace(self, risk=replace(risk, r_init_e6=r_init_e6, r_maint_e6=r_maint_e6))

    @property
    def price_wad(self) -> int:
        """Newest price, or the last good one."""
        return self.price.newest_wad

    @property
    def made_at(self) -> int:
        """When the newest sound round was made, 0 without one."""
        return self.price.made_at

    @property
    def quota_wad(self) -> int:
        """Units that count as collateral in one account."""
        return self.risk.quota_gwei * GWEI

    @property
    def rate_init_e6(self) -> int:
        """Initial requirement of one unit of unhedged collateral, r + l."""
        return self.risk.r_init_e6 + self.risk.l_init_e6

    @property
    def is_live(self) -> bool:
        """Whether the price is a live one."""
        return self.price.flags & IS_STALE == 0

    @property
    def backs_increase(self) -> bool:
        """Whether the price may back an increase of risk."""
        return self.price.flags & NO_INCREASE == 0

    @property
    def bounds_swap(self) -> bool:
        """Whether the price may bound a swap."""
        return self.price.flags & NO_SWAP == 0


@dataclass(frozen=True)
class Terms:
    """Equity and requirement at initial and at maintenance margin, WAD of the quote token."""

    equity_init: int = 0
    required_init: int = 0
    equity_maint: int = 0
    required_maint: int = 0

    def __add__(self, other: Terms) -> Terms:
        return Terms(
            self.equity_init + other.equity_init,
            self.required_init + other.required_init,
            self.equity_maint + other.equity_maint,
            self.required_maint + other.required_maint,
        )

    @property
    def excess_init(self) -> int:
        """Equity beyond the initial requirement; below zero risk must not grow."""
        return self.equity_init - self.required_init

    @property
    def excess_maint(self) -> int:
        """Equity beyond the maintenance requirement; below zero an account is liquidated."""
        return self.equity_maint - self.required_maint

    def shortfall_up(self, target_bps: int) -> int:
        """S = t R_init - E_init for a target t, the wanted equity rounded up; never below zero."""
        return max(0, div_up(self.required_init * target_bps, BPS) - self.equity_init)


@dataclass(frozen=True)
class Leg:
    """A position at its mark, with what it contributes."""

    asset: int
    position: Position
    mark: Mark
    terms: Terms = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", terms_of(self.position, self.mark))


def result_wad(position: Position, mark: Mark, price_wad: int | None = None) -> int:
    """u, the unsettled result of a perpetual at its mark, or at another price."""
    price = mark.price_wad if price_wad is None else price_wad
    return position.size_wad * (price - mark.funding_wad) // WAD - position.cost_wad


def terms_of(position: Position, mark: Mark, price_wad: int | None = None) -> Terms:
    """What one position contributes at its mark, or at another price."""
    price = mark.price_wad if price_wad is None else price_wad
    risk = mark.risk
    collateral, size = position.collateral_wad, position.size_wad
    counted = min(collateral, mark.quota_wad)
    result = result_wad(position, mark, price)

    def required_up(r_e6: int, delta: int, l_e6: int, gross: int) -> int:
        return div_up(price * (r_e6 * abs(delta) + l_e6 * gross), WAD * RATE)

    return Terms(
        equity_init=counted * price // WAD + min(result, 0),
        required_init=required_up(
            risk.r_init_e6,
            nearest_zero(counted + size, collateral + size),
            risk.l_init_e6,
            counted + abs(size),
        ),
        equity_maint=collateral * price // WAD + result,
        required_maint=required_up(
            risk.r_maint_e6, collateral + size, risk.l_maint_e6, collateral + abs(size)
        ),
    )


def assess(cash_wad: int, legs: Iterable[Leg]) -> Terms:
    """The four figures of an account; `cash_wad` is negative for a loan."""
    return sum((leg.terms for leg in legs), Terms(equity_init=cash_wad, equity_maint=cash_wad))


def increase_refusal(cash_wad: int, legs: Iterable[Leg], has_debt: bool) -> str:
    """The reason for which an increase of risk that led here is refused, "" if it is allowed.

    Each asset stands at the worse of its two prices; one whose price must not back an increase
    lends no strength, and what it costs still counts. Without debt and perpetuals nothing has to
    be covered and no price matters.
    """
    known = list(legs)
    if not has_debt and not any(leg.position.has_perpetual for leg in known):
        return ""
    excess = cash_wad
    is_weakened = False
    for leg in known:
        prices = (leg.mark.price.newest_wad, leg.mark.price.previous_wad)
        part = min(terms_of(leg.position, leg.mark, price).excess_init for price in prices)
        if part > 0 and not leg.mark.backs_increase:
            part = 0
            is_weakened = True
        excess += part
    if excess >= 0:
        return ""
    return PRICE_NOT_USABLE if is_weakened else MARGIN_SHORT


def is_no_riskier(before: Terms, after: Terms, deltas: Iterable[tuple[int, int]]) -> bool:
    """Less or equally risky: neither excess falls and no net exposure grows.

    `deltas` are D before and after of each touched asset; the terms may be those of the touched
    assets and cash alone, since an excess is a sum over assets.
    """
    return (
        after.excess_init >= before.excess_init
        and after.excess_maint >= before.excess_maint
        and all(abs(new) <= abs(old) for old, new in deltas)
    )
