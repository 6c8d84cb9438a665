# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Markets
@license MIT
@author  Ballast contributors
@notice  The words of a perpetual market: how it trades, who is long and short, what the house can still back, and where
         its price was.
@dev     prices    depth u72 | open interest cap u72 | skew cap u72 | base_fee_e6 u24 | weight_bps u16
         limits    round cap u72 | min size u72 | band_e6 u24 | lag_root_e9 u24 | max_funding_e6 u24 | lag_s u16
                   | closed_at u24
         exposure  longs u72 | shorts u72 | round_at u40 | start_skew i72
         headroom  long u72 | short u72 | refreshed_at u40 | insured_gwei u72
         breaker   previous_wad u96 | current_wad u96 | since u40

         Units of the asset are kept in 1e-9 here, so a size is a whole multiple of SIZE_STEP. `closed_at` counts units of
         256 seconds: since when a market is close-only, 0 while it is open, LATCHED when it is wound down.
"""

from contracts.interfaces import IPerps
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import reasons

SIZE_STEP: constant(uint256) = 10**9
YEAR_S: constant(uint256) = 31_536_000
MASK_16: constant(uint256) = 2**16 - 1
BPS: constant(uint256) = 10**4

# Part of every fee that belongs to insurance.
INSURANCE_BPS: constant(uint256) = 1_000
MAX_BASE_FEE_E6: constant(uint256) = 10_000
MAX_BAND_E6: constant(uint256) = 100_000
MAX_LAG_S: constant(uint256) = 3_600
MAX_FUNDING_E6: constant(uint256) = 10_000_000

# A window of the breaker; a price is compared with those at the start of this window and of the one before.
WINDOW_S: constant(uint256) = 600
BREAKER_PERCENT: constant(uint256) = 15
HEADROOM_TTL_S: constant(uint256) = 600

# Of a market that is wound down: nothing opens it again.
LATCHED: constant(uint256) = packing.MASK_24
# What is left of a word of terms then: no backing by the house, no funding.
WEIGHTLESS: constant(uint256) = 2**240 - 1
FUNDED: constant(uint256) = packing.MASK_24 << 192


################################################################
#                             Terms                            #
################################################################


@internal
@pure
def _prices_word(t: IPerps.Terms) -> uint256:
    return (
        t.depth_gwei
        | (t.open_interest_cap_gwei << 72)
        | (t.skew_cap_gwei << 144)
        | (t.base_fee_e6 << 216)
        | (t.weight_bps << 240)
    )


@internal
@pure
def _limits_word(t: IPerps.Terms, closed_at: uint256) -> uint256:
    """@dev sqrt(lag / year), floored to 1e-9."""
    root_e9: uint256 = isqrt(t.lag_s * 10**18 // YEAR_S)
    return (
        t.round_cap_gwei
        | (t.min_size_gwei << 72)
        | (t.band_e6 << 144)
        | (root_e9 << 168)
        | (t.max_funding_e6 << 192)
        | (t.lag_s << 216)
        | (closed_at << 232)
    )


@internal
@pure
def _terms(prices: uint256, limits: uint256) -> IPerps.Terms:
    return IPerps.Terms(
        depth_gwei=self._depth_gwei(prices),
        open_interest_cap_gwei=self._open_interest_cap_gwei(prices),
        skew_cap_gwei=self._skew_cap_gwei(prices),
        round_cap_gwei=self._round_cap_gwei(limits),
        min_size_gwei=self._min_size_gwei(limits),
        base_fee_e6=(prices >> 216) & packing.MASK_24,
        band_e6=(limits >> 144) & packing.MASK_24,
        lag_s=(limits >> 216) & MASK_16,
        max_funding_e6=(limits >> 192) & packing.MASK_24,
        weight_bps=self._weight_bps(prices),
    )


@internal
@pure
def _depth_gwei(prices: uint256) -> uint256:
    return prices & packing.MASK_72


@internal
@pure
def _open_interest_cap_gwei(prices: uint256) -> uint256:
    return (prices >> 72) & packing.MASK_72


@internal
@pure
def _skew_cap_gwei(prices: uint256) -> uint256:
    return (prices >> 144) & packing.MASK_72


@internal
@pure
def _weight_bps(prices: uint256) -> uint256:
    return prices >> 240


@internal
@pure
def _round_cap_gwei(limits: uint256) -> uint256:
    return limits & packing.MASK_72


@internal
@pure
def _min_size_gwei(limits: uint256) -> uint256:
    return (limits >> 72) & packing.MASK_72


@internal
@pure
def _closed_at(limits: uint256) -> uint256:
    """@dev Units of 256 seconds."""
    return limits >> 232


@internal
@pure
def _is_close_only(limits: uint256) -> bool:
    return limits >> 232 != 0


@internal
@pure
def _with_closed_at(limits: uint256, closed_at: uint256) -> uint256:
    return (limits & (2**232 - 1)) | (closed_at << 232)


################################################################
#                            Pricing                           #
################################################################


@internal
@pure
def _uncertainty_e6(limits: uint256, risk_word: uint256) -> uint256:
    """@dev (band + sigma sqrt(lag)) / 2 up: how far the true price may be from the newest, as a part of it."""
    lag_e6: uint256 = unsafe_div(
        unsafe_mul(packing._sigma_e6(risk_word), (limits >> 168) & packing.MASK_24), 10**9
    )
    return unsafe_add(unsafe_add((limits >> 144) & packing.MASK_24, lag_e6), 1) >> 1


@internal
@pure
def _fee_e6(prices: uint256, limits: uint256, risk_word: uint256) -> uint256:
    return unsafe_add((prices >> 216) & packing.MASK_24, self._uncertainty_e6(limits, risk_word))


@internal
@pure
def _fill_price(index_wad: uint256, skew_gwei: int256, change_gwei: int256, prices: uint256, fee_e6: uint256) -> uint256:
    """
    @dev p (1 + (skew + dq / 2) / depth) +- p fee in one division: up for a buyer, down for a seller. A skew and a depth are
         of 72 bits, a change below 2**91, a fee and the unit of a rate below 2**28, a price below 2**96: the product stays
         below 2**216.
    """
    double_depth: int256 = packing._signed((prices & packing.MASK_72) << 1)
    rate: int256 = 10**6
    fee: int256 = unsafe_mul(double_depth, packing._signed(fee_e6))
    index: int256 = packing._signed(index_wad)
    premium: int256 = unsafe_mul(unsafe_add(unsafe_mul(2, skew_gwei), change_gwei), rate)
    if change_gwei > 0:
        dearer: int256 = fixed_point._div_floor_signed(
            unsafe_mul(unsafe_sub(0, index), unsafe_add(premium, fee)), unsafe_mul(double_depth, rate)
        )
        return convert(unsafe_sub(index, dearer), uint256)
    cheaper: int256 = fixed_point._div_floor_signed(
        unsafe_mul(index, unsafe_sub(premium, fee)), unsafe_mul(double_depth, rate)
    )
    return convert(unsafe_add(index, cheaper), uint256)


@internal
@pure
def _insured_part_gwei(change_gwei: int256, index_wad: uint256, fee_e6: uint256) -> uint256:
    """@dev floor(|dq| p fee / 10), in 1e-9 of the quote token. Below 2**91 * 2**96 * 2**26 * 2**10."""
    value: uint256 = unsafe_mul(fixed_point._abs(change_gwei), index_wad)
    return unsafe_div(
        unsafe_mul(unsafe_mul(value, fee_e6), INSURANCE_BPS), BPS * fixed_point.RATE * fixed_point.WAD
    )


@internal
@pure
def _rate_wad(index_wad: uint256, skew_gwei: int256, prices: uint256, limits: uint256) -> int256:
    """
    @dev Funding per unit and second, paid by longs: the maximum times skew over its cap, toward zero. Below
         2**96 * 2**24 * 2**72; a cap is not zero.
    """
    cap: int256 = packing._signed((prices >> 144) & packing.MASK_72)
    clamped: int256 = max(unsafe_sub(0, cap), min(cap, skew_gwei))
    most: uint256 = unsafe_mul(index_wad, (limits >> 192) & packing.MASK_24)
    return fixed_point._div_zero_signed(
        unsafe_mul(packing._signed(most), clamped), unsafe_mul(cap, packing._signed(fixed_point.RATE * YEAR_S))
    )


@internal
@pure
def _entry_wad(old_size: int256, old_entry: int256, new_size: int256, change: int256, price_wad: int256) -> int256:
    """@dev What the new size was opened for: added to while it grows, in proportion while it shrinks."""
    if new_size == 0:
        return 0
    if old_size == 0 or (old_size > 0) != (new_size > 0):
        return -fixed_point._mul_wad_floor_signed(-new_size, price_wad)
    if fixed_point._abs(new_size) > fixed_point._abs(old_size):
        return old_entry - fixed_point._mul_wad_floor_signed(-change, price_wad)
    return fixed_point._div_zero_signed(old_entry * new_size, old_size)


################################################################
#                           Exposure                           #
################################################################


@internal
@pure
def _longs(exposure: uint256) -> uint256:
    return exposure & packing.MASK_72


@internal
@pure
def _shorts(exposure: uint256) -> uint256:
    return (exposure >> 72) & packing.MASK_72


@internal
@pure
def _skew(exposure: uint256) -> int256:
    return unsafe_sub(packing._signed(exposure & packing.MASK_72), packing._signed((exposure >> 72) & packing.MASK_72))


@internal
@pure
def _round_at(exposure: uint256) -> uint256:
    return (exposure >> 144) & packing.MASK_40


@internal
@pure
def _start_skew(exposure: uint256) -> int256:
    return convert(convert(exposure, bytes32), int256) >> 184


@internal
@pure
def _exposure_word(longs: uint256, shorts: uint256, round_at: uint256, start_skew: int256) -> uint256:
    self._require_width(longs | shorts)
    return longs | (shorts << 72) | (round_at << 144) | (convert(convert(start_skew, bytes32), uint256) << 184)


################################################################
#                           Headroom                           #
################################################################


@internal
@pure
def _headroom_word(long: uint256, short: uint256, refreshed_at: uint256, insured_gwei: uint256) -> uint256:
    """@dev More than fits is no more than fits."""
    return (
        min(long, packing.MASK_72)
        | (min(short, packing.MASK_72) << 72)
        | (refreshed_at << 144)
        | (min(insured_gwei, packing.MASK_72) << 184)
    )


@internal
@pure
def _refreshed_at(headroom: uint256) -> uint256:
    return (headroom >> 144) & packing.MASK_40


@internal
@pure
def _insured_gwei(headroom: uint256) -> uint256:
    """@dev The part of fees that insurance has not collected yet, 1e-9 of the quote token."""
    return headroom >> 184


################################################################
#                           Breaker                            #
################################################################


@internal
@pure
def _moved_breaker(breaker: uint256, index_wad: uint256, now: uint256) -> uint256:
    """
    @dev The anchors as of now: each window starts at the first price seen in it. What was the anchor becomes the one
         before, however long ago, so that a quiet time hides no move.
    """
    if now < unsafe_add(breaker >> 192, WINDOW_S):
        return breaker
    previous: uint256 = (breaker >> 96) & packing.MASK_96
    if previous == 0:
        previous = index_wad
    return previous | (index_wad << 96) | (now << 192)


@internal
@pure
def _is_tripped(breaker: uint256, index_wad: uint256) -> bool:
    return self._is_far(index_wad, breaker & packing.MASK_96) or self._is_far(
        index_wad, (breaker >> 96) & packing.MASK_96
    )


@internal
@pure
def _is_far(index_wad: uint256, anchor_wad: uint256) -> bool:
    """@dev Two prices below 2**96."""
    distance: uint256 = unsafe_sub(max(index_wad, anchor_wad), min(index_wad, anchor_wad))
    return unsafe_mul(distance, 100) > unsafe_mul(anchor_wad, BREAKER_PERCENT)


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_width(units: uint256):
    if units > packing.MASK_72:
        reasons._fail("perps: market too large")


@internal
@pure
def _require_terms(t: IPerps.Terms, floor_l_bps: uint256):
    """
    @dev The skew stays where the premium is below half of the rate on gross, so that a trade never pays more for skew
         than a hedged position keeps aside. A side is at most half the depth, so that no trade meets a price below zero.
    """
    largest: uint256 = max(max(t.depth_gwei, t.open_interest_cap_gwei), max(t.round_cap_gwei, t.min_size_gwei))
    is_sized: bool = largest <= packing.MASK_72 and t.depth_gwei != 0 and t.skew_cap_gwei != 0 and t.min_size_gwei != 0
    is_deep: bool = 2 * t.open_interest_cap_gwei <= t.depth_gwei
    is_calm: bool = is_deep and 2 * BPS * t.skew_cap_gwei <= t.depth_gwei * floor_l_bps
    is_priced: bool = t.base_fee_e6 <= MAX_BASE_FEE_E6 and t.band_e6 <= MAX_BAND_E6 and t.lag_s <= MAX_LAG_S
    if not (is_sized and is_calm and is_priced) or t.max_funding_e6 > MAX_FUNDING_E6:
        reasons._fail("perps: terms out of range")
