"""Perpetual markets in exact integers: what a trade costs, how large it may be, how funding runs.

    fill price   P = p (1 + (skew + dq / 2) / depth) +- p fee          + for a buyer
    fee          base + (band + sigma sqrt(lag)) / 2
    cost change  dc = ceil(dq (P - f))

`Market` is one market as stored; `filled` prices a trade, or raises `Refused` with the contract's
reason and changes nothing. An *increase* is any growth of a side, a flip included: only increases
meet caps, headroom, breaker and mode. Further down are the house's figures over all markets, and
what a trader wants to know of a position.

Sizes are WAD units of the asset (`_wad`) or units of 1e-9 (`_gwei`), in which the words keep them.
Prices and values are WAD of the quote token, rates millionths (`_e6`). Skew is the traders' longs
less their shorts, so the house holds its negative. `now` is unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isqrt

from ballast.model.margin import (
    BPS,
    GWEI,
    HOUSE_SHORT_INIT_E6,
    RATE,
    WAD,
    Leg,
    Mark,
    Position,
    div_up,
    result_wad,
    signed,
)
from ballast.model.oracle import YEAR_S

SIZE_STEP_WAD = GWEI
MAX_SIZE_WAD = 2**120
MAX_SIDE_GWEI = 2**72 - 1
MAX_HEADROOM_GWEI = 2**72 - 1
MAX_INSURED_GWEI = 2**72 - 1
INSURANCE_BPS = 1_000
MAX_HEADROOM_AGE_S = 600
BREAKER_WINDOW_S = 600
BREAKER_PERCENT = 15
MAX_VALUE_WAD = 2**110
MAX_COST_WAD = 2**112
MAX_PRICE_WAD = 2**96 - 1
UNLIMITED = 2**256 - 1

UNKNOWN_MARKET = "perps: unknown market"
PRICE_PASSED = "perps: price passed"
DEADLINE_PASSED = "perps: deadline passed"
NOT_IN_STEPS = "perps: size not in steps"
NOTHING_TO_REDUCE = "perps: nothing to reduce"
BELOW_MINIMUM = "perps: size below minimum"
OPEN_INTEREST_CAP = "perps: open interest cap"
SKEW_CAP = "perps: skew cap"
ROUND_CAP = "perps: round cap"
HEADROOM_USED = "perps: headroom used up"
HEADROOM_STALE = "perps: headroom stale"
BREAKER_TRIPPED = "perps: breaker tripped"
CLOSE_ONLY = "perps: close only"
WOUND_DOWN = "perps: market wound down"
PRICE_STALE = "perps: price stale"
PRICE_NOT_USABLE = "perps: price not usable"
TOO_LARGE = "perps: position too large"
MARKET_TOO_LARGE = "perps: market too large"
SLIPPAGE = "perps: slippage above guard"
NOT_FOR_THE_HOUSE = "perps: not for the house"


class Refused(Exception):
    """An action is refused; `reason` is the contract's string."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def require(is_fine: bool, reason: str) -> None:
    """Raises Refused unless `is_fine`."""
    if not is_fine:
        raise Refused(reason)


def toward_zero(numerator: int, denominator: int) -> int:
    """Quotient by a positive integer, rounded toward zero."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient


def insured_part_gwei(size_change: int, newest_wad: int, fee_e6: int) -> int:
    """The part of a fee that belongs to insurance, 1e-9 of the quote token, down."""
    fee_wad = abs(size_change) * newest_wad * fee_e6  # by WAD and RATE
    return fee_wad * INSURANCE_BPS // (BPS * RATE * WAD * GWEI)


def growths(old: int, new: int) -> tuple[int, int]:
    """By how much a position that changes makes the traders' longs and shorts grow."""
    return max(new, 0) - max(old, 0), max(-new, 0) - max(-old, 0)


# ---- words


@dataclass(frozen=True)
class MarketTerms:
    """How a market trades: the contract's struct, field by field."""

    depth_gwei: int
    open_interest_cap_gwei: int
    skew_cap_gwei: int
    round_cap_gwei: int
    min_size_gwei: int
    base_fee_e6: int
    band_e6: int
    lag_s: int
    max_funding_e6: int
    weight_bps: int

    @property
    def lag_root_e9(self) -> int:
        """Square root of the lag in years, down."""
        return isqrt(self.lag_s * 10**18 // YEAR_S)

    def uncertainty_e6(self, sigma_e6: int) -> int:
        """Half the width in which the true price may lie without a new round, up."""
        return div_up(self.band_e6 + sigma_e6 * self.lag_root_e9 // 10**9, 2)

    def fee_e6(self, sigma_e6: int) -> int:
        """Fee of one side."""
        return self.base_fee_e6 + self.uncertainty_e6(sigma_e6)


@dataclass(frozen=True)
class Exposure:
    """Traders' longs and shorts, and the skew with which the newest round of the feed began."""

    longs_gwei: int = 0
    shorts_gwei: int = 0
    round_at: int = 0
    start_skew_gwei: int = 0

    @classmethod
    def from_word(cls, word: int) -> Exposure:
        """Unpack an exposure word."""
        mask = 2**72 - 1
        round_at = (word >> 144) & (2**40 - 1)
        return cls(word & mask, (word >> 72) & mask, round_at, signed(word >> 184, 72))

    @property
    def word(self) -> int:
        """The packed exposure word."""
        sides = self.longs_gwei | self.shorts_gwei << 72
        return sides | self.round_at << 144 | (self.start_skew_gwei % 2**72) << 184

    @property
    def skew_gwei(self) -> int:
        """Longs less shorts."""
        return self.longs_gwei - self.shorts_gwei

    def in_round(self, made_at: int) -> Exposure:
        """As of a round of the feed, which begins with the skew it finds."""
        if self.round_at == made_at:
            return self
        return replace(self, round_at=made_at, start_skew_gwei=self.skew_gwei)

    def grown(self, long_gwei: int, short_gwei: int) -> Exposure:
        """With both sides changed."""
        return replace(
            self,
            longs_gwei=self.longs_gwei + long_gwei,
            shorts_gwei=self.shorts_gwei + short_gwei,
        )


@dataclass(frozen=True)
class Headroom:
    """By how much longs and shorts may still grow, and when that was computed; and the part of the
    fees that insurance has not collected yet, 1e-9 of the quote token."""

    long_gwei: int = 0
    short_gwei: int = 0
    refreshed_at: int = 0
    insured_gwei: int = 0

    @classmethod
    def from_word(cls, word: int) -> Headroom:
        """Unpack a headroom word."""
        mask = 2**72 - 1
        refreshed_at = (word >> 144) & (2**40 - 1)
        return cls(word & mask, (word >> 72) & mask, refreshed_at, word >> 184)

    @property
    def word(self) -> int:
        """The packed headroom word."""
        sides = self.long_gwei | self.short_gwei << 72
        return sides | self.refreshed_at << 144 | self.insured_gwei << 184

    def is_stale(self, now: int) -> bool:
        """Whether it is too old for an increase."""
        return now - self.refreshed_at > MAX_HEADROOM_AGE_S

    def used(self, long_gwei: int, short_gwei: int) -> Headroom:
        """After growth of both sides; what shrinks gives back."""
        return replace(
            self,
            long_gwei=min(self.long_gwei - long_gwei, MAX_HEADROOM_GWEI),
            short_gwei=min(self.short_gwei - short_gwei, MAX_HEADROOM_GWEI),
        )

    def insured(self, part_gwei: int) -> Headroom:
        """With the insured part of a fee, as far as the field holds it."""
        return replace(self, insured_gwei=min(self.insured_gwei + part_gwei, MAX_INSURED_GWEI))


@dataclass(frozen=True)
class Breaker:
    """Prices with which the window before and the present one began, and when this one did."""

    previous_wad: int = 0
    current_wad: int = 0
    since: int = 0

    @classmethod
    def from_word(cls, word: int) -> Breaker:
        """Unpack a breaker word."""
        mask = 2**96 - 1
        return cls(word & mask, (word >> 96) & mask, word >> 192)

    @property
    def word(self) -> int:
        """The packed breaker word."""
        return self.previous_wad | self.current_wad << 96 | self.since << 192

    def moved(self, newest_wad: int, now: int) -> Breaker:
        """As of now: a new window begins when the present one is over, however long it is over."""
        if now - self.since < BREAKER_WINDOW_S:
            return self
        return Breaker(self.current_wad or newest_wad, newest_wad, now)

    def is_tripped(self, newest_wad: int) -> bool:
        """Whether the price is too far from where either window began; ask after `moved`."""
        return any(
            abs(newest_wad - anchor) * 100 > BREAKER_PERCENT * anchor
            for anchor in (self.previous_wad, self.current_wad)
        )


@dataclass(frozen=True)
class Funding:
    """The market word of the ledger: cumulative funding, and its rate of a second until touched.

    Quote per unit, WAD; longs pay while the rate is positive.
    """

    funding_wad: int = 0
    rate_wad: int = 0
    touched_at: int = 0
    has_ended: bool = False  # what is open is worth its result at the latch

    @classmethod
    def from_word(cls, word: int) -> Funding:
        """Unpack a market word."""
        touched_at, has_ended = (word >> 208) & (2**40 - 1), bool(word >> 248)
        return cls(signed(word, 128), signed(word >> 128, 80), touched_at, has_ended)

    @property
    def word(self) -> int:
        """The packed market word."""
        rate = (self.rate_wad % 2**80) << 128
        return self.funding_wad % 2**128 | rate | self.touched_at << 208 | self.has_ended << 248

    def at(self, now: int) -> int:
        """Cumulative funding now."""
        return self.funding_wad + self.rate_wad * (now - self.touched_at)

    def touched(self, price_wad: int, skew_gwei: int, terms: MarketTerms, now: int) -> Funding:
        """Brought up to now, with the rate that price and skew make."""
        cap = terms.skew_cap_gwei
        clamped = max(-cap, min(skew_gwei, cap))
        year_wad = price_wad * terms.max_funding_e6 * clamped
        rate_wad = toward_zero(year_wad, cap * RATE * YEAR_S) if cap else 0
        return replace(self, funding_wad=self.at(now), rate_wad=rate_wad, touched_at=now)


# ---- trading


@dataclass(frozen=True)
class Order:
    """What is asked for: bought (> 0) or sold (< 0), at most or at least at which price, fee
    included, how much worse than the newest price, until when, and whether it is cut to what closes
    the position. By default there is no limit. The fields are those of the contract's struct."""

    account: int
    asset: int
    size_change: int
    acceptable_price: int | None = None
    slippage_bps: int = UNLIMITED
    deadline: int = UNLIMITED
    reduce_only: bool = False

    def price_refusal(self, price_wad: int, newest_wad: int) -> str:
        """Why a fill price is refused, "" if it is within the limits."""
        sign = 1 if self.size_change > 0 else -1
        limit = self.acceptable_price
        if limit is not None and sign * price_wad > sign * limit:
            return PRICE_PASSED
        loss = max(0, sign * (price_wad - newest_wad))
        if self.slippage_bps < BPS and loss * BPS > newest_wad * self.slippage_bps:
            return SLIPPAGE
        return ""


@dataclass(frozen=True)
class Fill:
    """What the ledger books. `basis_wad` is the price that impact and fee were put on."""

    size_change: int
    basis_wad: int
    fee_e6: int
    price_wad: int
    cost_change: int
    entry_wad: int


@dataclass(frozen=True)
class Market:
    """A market as stored: terms, and five words of `Perps` and of the ledger."""

    terms: MarketTerms
    exposure: Exposure = Exposure()
    headroom: Headroom = Headroom()
    breaker: Breaker = Breaker()
    funding: Funding = Funding()
    is_close_only: bool = False
    is_latched: bool = False  # wound down: only `forced` changes it any more

    @classmethod
    def from_words(
        cls,
        terms: MarketTerms,
        exposure_word: int,
        headroom_word: int,
        breaker_word: int,
        market_word: int,
        is_close_only: bool = False,
        is_latched: bool = False,
    ) -> Market:
        """As read from the chain."""
        return cls(
            terms,
            Exposure.from_word(exposure_word),
            Headroom.from_word(headroom_word),
            Breaker.from_word(breaker_word),
            Funding.from_word(market_word),
            is_close_only,
            is_latched,
        )

    @property
    def skew_wad(self) -> int:
        """Longs less shorts."""
        return self.exposure.skew_gwei * GWEI

    # ---- pricing

    def priced(self, held: Position, size_change: int, mark: Mark, now: int) -> Fill:
        """What a trade of `size_change` costs, whatever the caps say.

        The price is positive as long as skew and half the trade stay above minus the depth.
        """
        terms, is_buy = self.terms, size_change > 0
        new_size = held.size_wad + size_change
        basis = mark.price_wad
        if max(growths(held.size_wad, new_size)) > 0:
            worse = max if is_buy else min
            basis = worse(basis, mark.price.previous_wad)
        fee_e6 = terms.fee_e6(mark.risk.sigma_e6)
        scale = 2 * terms.depth_gwei * RATE
        impact = (2 * self.exposure.skew_gwei + size_change // GWEI) * RATE
        if is_buy:
            price = basis + div_up(basis * (impact + 2 * terms.depth_gwei * fee_e6), scale)
        else:
            price = basis + basis * (impact - 2 * terms.depth_gwei * fee_e6) // scale
        return self._fill(held, size_change, basis, fee_e6, price, now)

    def _fill(
        self, held: Position, size_change: int, basis: int, fee_e6: int, price: int, now: int
    ) -> Fill:
        return Fill(
            size_change=size_change,
            basis_wad=basis,
            fee_e6=fee_e6,
            price_wad=price,
            cost_change=div_up(size_change * (price - self.funding.at(now)), WAD),
            entry_wad=_entry_wad(held, size_change, price),
        )

    def filled(self, order: Order, held: Position, mark: Mark, now: int) -> tuple[Market, Fill]:
        """The market after a trade of an account that holds `held`, and what is to be booked.

        Raises Refused with the reason that the contract gives.
        """
        require(mark.is_live, PRICE_STALE)
        require(not self.is_latched, WOUND_DOWN)
        change = _change(order, held)
        require(now <= order.deadline, DEADLINE_PASSED)
        new_size = held.size_wad + change
        long_wad, short_wad = growths(held.size_wad, new_size)
        is_increase = max(long_wad, short_wad) > 0
        before = self.in_round(mark)
        after = before.grown(long_wad // GWEI, short_wad // GWEI)
        largest_side = max(after.exposure.longs_gwei, after.exposure.shorts_gwei)
        require(largest_side <= MAX_SIDE_GWEI, MARKET_TOO_LARGE)
        if is_increase:
            reason = before.increase_refusal(after, abs(new_size) // GWEI, mark, now)
            require(not reason, reason)
            after = replace(after, breaker=self.breaker.moved(mark.price_wad, now))
        fill = self.priced(held, change, mark, now)
        reason = order.price_refusal(fill.price_wad, mark.price_wad)
        require(not reason, reason)
        if is_increase:
            value_wad = abs(new_size) * mark.price_wad // WAD
            is_bookable = abs(held.cost_wad + fill.cost_change) < MAX_COST_WAD
            require(value_wad < MAX_VALUE_WAD and is_bookable, TOO_LARGE)
        part = insured_part_gwei(change, mark.price_wad, fill.fee_e6)
        after = replace(after, headroom=after.headroom.insured(part))
        return after.touched(mark, now), fill

    def forced(
        self, size_change: int, held: Position, mark: Mark, price_wad: int, now: int
    ) -> tuple[Market, Fill]:
        """The same for a reduction that the deleverager wants, at its price and without a fee."""
        long_wad, short_wad = growths(held.size_wad, held.size_wad + size_change)
        after = self.in_round(mark).grown(long_wad // GWEI, short_wad // GWEI)
        fill = self._fill(held, size_change, price_wad, 0, price_wad, now)
        return after.touched(mark, now), fill

    def latched(self, mark: Mark, now: int) -> Market:
        """The market as it ends: nothing backs it, and funding stands still from now on."""
        require(not self.is_latched, WOUND_DOWN)
        require(mark.backs_increase, PRICE_NOT_USABLE)
        breaker = self.breaker.moved(mark.price_wad, now)
        require(not breaker.is_tripped(mark.price_wad), BREAKER_TRIPPED)
        ended = replace(
            self,
            terms=replace(self.terms, max_funding_e6=0, weight_bps=0),
            breaker=breaker,
            funding=replace(self.funding, has_ended=True),
            is_close_only=True,
            is_latched=True,
        )
        return ended.touched(mark, now)

    def in_round(self, mark: Mark) -> Market:
        """As of the newest round of the feed."""
        return replace(self, exposure=self.exposure.in_round(mark.made_at))

    def grown(self, long_gwei: int, short_gwei: int) -> Market:
        """With both sides changed, and headroom used up or given back."""
        return replace(
            self,
            exposure=self.exposure.grown(long_gwei, short_gwei),
            headroom=self.headroom.used(long_gwei, short_gwei),
        )

    def touched(self, mark: Mark, now: int) -> Market:
        """With funding brought up to now and its rate set anew."""
        skew = self.exposure.skew_gwei
        return replace(self, funding=self.funding.touched(mark.price_wad, skew, self.terms, now))

    # ---- caps

    def stop(self, mark: Mark, now: int) -> str:
        """Why no increase at all is possible, "" if one is: mode, price or breaker."""
        if self.is_close_only:
            return CLOSE_ONLY
        if not mark.backs_increase:
            return PRICE_NOT_USABLE
        if self.breaker.moved(mark.price_wad, now).is_tripped(mark.price_wad):
            return BREAKER_TRIPPED
        return ""

    def increase_refusal(self, after: Market, new_size_gwei: int, mark: Mark, now: int) -> str:
        """Why an increase that makes `after` of this market is refused, "" if it is not.

        `new_size_gwei` is the size of the account's position then; this market is `in_round`.
        """
        terms, old, new = self.terms, self.exposure, after.exposure
        sides = ((old.longs_gwei, new.longs_gwei), (old.shorts_gwei, new.shorts_gwei))
        largest = max(grown for side, grown in sides if grown > side)
        skew, new_skew = abs(old.skew_gwei), abs(new.skew_gwei)
        moved = abs(new.skew_gwei - old.start_skew_gwei)
        refusals = (
            (new_size_gwei < terms.min_size_gwei, BELOW_MINIMUM),
            (largest > terms.open_interest_cap_gwei, OPEN_INTEREST_CAP),
            (new_skew > skew and new_skew > terms.skew_cap_gwei, SKEW_CAP),
            (moved > terms.round_cap_gwei, ROUND_CAP),
            (self.headroom.is_stale(now), HEADROOM_STALE),
            (min(after.headroom.long_gwei, after.headroom.short_gwei) < 0, HEADROOM_USED),
        )
        stop = self.stop(mark, now)
        return stop or next((reason for is_beyond, reason in refusals if is_beyond), "")

    def largest_increase_wad(self, size_wad: int, is_long: bool, mark: Mark, now: int) -> int:
        """The most by which an account with `size_wad` may make that side grow; margin not counted.

        What it holds on the other side is closed by the same trade, which is larger by that much.
        """
        if not mark.is_live or self.stop(mark, now) or self.headroom.is_stale(now):
            return 0
        terms, sign = self.terms, 1 if is_long else -1
        exposure = self.exposure.in_round(mark.made_at)
        own = sign * size_wad // GWEI
        closed = max(-own, 0)
        # Seen from that side: a trade makes the skew larger.
        skew, start = sign * exposure.skew_gwei, sign * exposure.start_skew_gwei
        most = min(
            terms.open_interest_cap_gwei
            - (exposure.longs_gwei if is_long else exposure.shorts_gwei),
            self.headroom.long_gwei if is_long else self.headroom.short_gwei,
            max(terms.skew_cap_gwei, abs(skew)) - skew - closed,
            start + terms.round_cap_gwei - skew - closed,
        )
        # Reductions may have moved the skew so far the other way that a small increase is refused.
        least = max(
            1,
            terms.min_size_gwei - max(own, 0),
            start - terms.round_cap_gwei - skew - closed,
        )
        return most * GWEI if most >= least else 0

    # ---- what the house must hold

    def required_wad(self, mark: Mark) -> int:
        """What backs the dearer side as if the other had closed, up."""
        sides = (
            self.exposure.shorts_gwei * _short_backing_e6(mark),
            self.exposure.longs_gwei * _long_backing_e6(mark),
        )
        return div_up(mark.price_wad * max(sides), GWEI * RATE)

    def refreshed(self, free_wad: int, mark: Mark, now: int) -> Market:
        """With headroom made of its part of the house's free equity, and the breaker moved."""
        budget = free_wad * self.terms.weight_bps // BPS

        def units_down(backing_e6: int) -> int:
            units = budget * GWEI * RATE // (mark.price_wad * backing_e6)
            return min(units, MAX_HEADROOM_GWEI)

        return replace(
            self,
            headroom=Headroom(
                units_down(_long_backing_e6(mark)),
                units_down(_short_backing_e6(mark)),
                now,
                self.headroom.insured_gwei,
            ),
            breaker=self.breaker.moved(mark.price_wad, now),
        )

    def without_insured(self, most_wad: int) -> tuple[Market, int]:
        """After insurance has taken its part of the fees, and how much that was, WAD."""
        taken = min(self.headroom.insured_gwei, most_wad // GWEI)
        headroom = replace(self.headroom, insured_gwei=self.headroom.insured_gwei - taken)
        return replace(self, headroom=headroom), taken * GWEI

    def skew_charge_wad(self, mark: Mark) -> int:
        """p skew^2 / (2 depth), up: what the house owes in premiums to those who will close."""
        skew = self.exposure.skew_gwei
        return div_up(mark.price_wad * skew * skew, 2 * self.terms.depth_gwei * GWEI)

    def uncertainty_wad(self, mark: Mark) -> int:
        """By how much the house may be worth more or less than the newest price says, up."""
        part_e6 = self.terms.uncertainty_e6(mark.risk.sigma_e6)
        return div_up(mark.price_wad * abs(self.exposure.skew_gwei) * part_e6, GWEI * RATE)


def _change(order: Order, held: Position) -> int:
    """The size change, cut to what closes the position where only a reduction is wanted."""
    change, size = order.size_change, held.size_wad
    is_whole = change != 0 and change % SIZE_STEP_WAD == 0
    require(is_whole and abs(change) < MAX_SIZE_WAD, NOT_IN_STEPS)
    if not order.reduce_only:
        return change
    require(size * change < 0, NOTHING_TO_REDUCE)
    return max(change, -size) if size > 0 else min(change, -size)


def _entry_wad(held: Position, size_change: int, price_wad: int) -> int:
    """Value at which the size after the trade was opened; what a reduction leaves, toward zero."""
    old, new = held.size_wad, held.size_wad + size_change
    if new == 0:
        return 0
    if old * new < 0:
        return div_up(new * price_wad, WAD)
    if abs(new) > abs(old):
        return held.entry_wad + div_up(size_change * price_wad, WAD)
    return toward_zero(held.entry_wad * abs(new), abs(old))


def _long_backing_e6(mark: Mark) -> int:
    """What a unit of traders' longs needs: the house is short."""
    return max(mark.risk.r_init_e6, HOUSE_SHORT_INIT_E6) + mark.risk.l_init_e6


def _short_backing_e6(mark: Mark) -> int:
    """What a unit of traders' shorts needs: the house is long and fully funded."""
    return RATE + mark.risk.l_init_e6


# ---- the house over all markets


def insurance_fees_taken(
    markets: Mapping[int, Market], most_wad: int
) -> tuple[dict[int, Market], int]:
    """All markets after insurance has taken what the house can pay, one after the other, and how
    much that was, WAD."""
    after, taken = {}, 0
    for asset, market in markets.items():
        after[asset], part = market.without_insured(most_wad - taken)
        taken += part
    return after, taken


def free_wad(equity_init: int, markets: Iterable[tuple[Market, Mark]]) -> int:
    """What the house's initial equity has left beyond both sides of every market."""
    return max(0, equity_init - sum(market.required_wad(mark) for market, mark in markets))


def skew_charge_wad(markets: Iterable[tuple[Market, Mark]]) -> int:
    """What the house owes in premiums to those who will close."""
    return sum(market.skew_charge_wad(mark) for market, mark in markets)


def uncertainty_wad(markets: Iterable[tuple[Market, Mark]]) -> int:
    """By how much the house may be worth more or less than its newest prices say."""
    return sum(market.uncertainty_wad(mark) for market, mark in markets)


def adl_bound_wad(excess_maint: int, house: Position, size_wad: int, mark: Mark) -> int:
    """The most of a winner's position that `adl` closes while the house is below maintenance.

    Only a position opposite to the house's, no more than the house holds, and no more than brings
    it back to maintenance, up to a step. `mark` has the oracle's rates.
    """
    if excess_maint >= 0 or house.size_wad * size_wad >= 0:
        return 0
    risk = mark.for_house(house.delta_wad).risk
    freed = mark.price_wad * (risk.r_maint_e6 + risk.l_maint_e6) * GWEI
    steps = div_up(-excess_maint * WAD * RATE, freed)
    return min(steps * GWEI, abs(size_wad), abs(house.size_wad))


# ---- what a trader sees


def entry_price_wad(held: Position) -> int:
    """Average price of the present size, fees included, rounded against the account; 0 if flat."""
    return _per_unit(held.entry_wad, held.size_wad)


def break_even_wad(held: Position, funding_wad: int) -> int:
    """The price from which on nothing of the position is a loss, 0 if that is any or it is flat.

    What closing costs is not in it; what was realised by reductions and not yet settled is.
    """
    if held.size_wad == 0:
        return 0
    return max(0, funding_wad + _per_unit(held.cost_wad, held.size_wad))


def _per_unit(value_wad: int, size_wad: int) -> int:
    """value / size: up for a long, down for a short."""
    if size_wad > 0:
        return div_up(value_wad * WAD, size_wad)
    return value_wad * WAD // size_wad if size_wad else 0


def funding_owed_wad(held: Position, mark: Mark) -> int:
    """What separates the price result since entry from the unsettled one: funding paid (> 0).

    Results that a reduction realised and amounts that were settled since are in it as well.
    """
    price_result = held.size_wad * mark.price_wad // WAD - held.entry_wad
    return price_result - result_wad(held, mark)


def liquidation_price_wad(net_wad: int, legs: Iterable[Leg], asset: int) -> int | None:
    """The price of one asset beyond which the account may be liquidated, the others unchanged.

    excess_maint is A + p m with m = D - r |D| - l G: a net long is in danger below the answer, a
    net short above it. Rounded toward the present price, but for the rounding of the margin
    equation, which is a wei per figure. None if no price does it; the present price if it may be
    liquidated already and this asset has a part in it.
    """
    known = list(legs)
    leg = next((leg for leg in known if leg.asset == asset), None)
    if leg is None:
        return None
    held, risk = leg.position, leg.mark.risk
    gross = held.collateral_wad + abs(held.size_wad)
    slope = held.delta_wad * RATE - risk.r_maint_e6 * abs(held.delta_wad) - risk.l_maint_e6 * gross
    excess = net_wad + sum(leg.terms.excess_maint for leg in known)
    if slope != 0 and excess < 0:
        return leg.mark.price_wad
    others = excess - leg.terms.excess_maint
    at_zero = (others - held.cost_wad) * WAD - held.size_wad * leg.mark.funding_wad
    if slope > 0:
        price = div_up(-at_zero * RATE, slope)
        return price if price > 0 else None
    if slope < 0:
        price = max(0, at_zero * RATE // -slope)
        return price if price < MAX_PRICE_WAD else None
    return None
