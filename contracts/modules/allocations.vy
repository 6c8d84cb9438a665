# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Allocations
@license MIT
@author  Ballast contributors
@notice  How an owner wants an account to be made up, in two words, and whether a mandate that traded keeps to it.
@dev     limits   ceiling_bps u16 | share_bps u16 | position_bps u16 | exposure_bps u16 | sigma_high_bps u16
                  | sigma_low_bps u16 | drift_bps u16 | period_s u32 | anticipates u8, from the lowest bit
         weights  eight of asset u8 | weight_bps u16; asset 0 ends the list
         Everything here lets a mandate do what it could not do without: trade an account that is above its target, or
         let an exposure grow. What it may do ends where the allocation says, so that a hook cannot go further.
@custom:invariant I50
"""

from contracts.interfaces import IMandates
from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import packing
from contracts.modules import reasons

MASK_8: constant(uint256) = 2**8 - 1
MASK_16: constant(uint256) = 2**16 - 1
MASK_24: constant(uint256) = 2**24 - 1
MASK_32: constant(uint256) = 2**32 - 1
MAX_WEIGHTS: constant(uint256) = 8
BPS: constant(uint256) = 10**4
BPS_TO_E6: constant(uint256) = 100


# What limits are measured against, once a mandate is over.
struct Measure:
    equity: uint256  # at initial margin, WAD of the quote token, as are the next three
    required: uint256
    exposure: uint256  # sum of p |D|
    collateral: uint256  # sum of b p, with cash that is not owed
    sigma_bps: uint256  # the most volatile asset held, a year


@internal
@pure
def _ceiling_bps(limits: uint256) -> uint256:
    return limits & MASK_16


@internal
@pure
def _share_bps(limits: uint256) -> uint256:
    return (limits >> 16) & MASK_16


@internal
@pure
def _position_bps(limits: uint256) -> uint256:
    return (limits >> 32) & MASK_16


@internal
@pure
def _exposure_bps(limits: uint256) -> uint256:
    return (limits >> 48) & MASK_16


@internal
@pure
def _sigma_high_bps(limits: uint256) -> uint256:
    return (limits >> 64) & MASK_16


@internal
@pure
def _sigma_low_bps(limits: uint256) -> uint256:
    return (limits >> 80) & MASK_16


@internal
@pure
def _drift_bps(limits: uint256) -> uint256:
    return (limits >> 96) & MASK_16


@internal
@pure
def _period_s(limits: uint256) -> uint256:
    return (limits >> 112) & MASK_32


@internal
@pure
def _anticipates(limits: uint256) -> bool:
    return (limits >> 144) & MASK_8 != 0


@internal
@pure
def _weight(weights: uint256, index: uint256) -> IMandates.Weight:
    entry: uint256 = (weights >> (24 * index)) & MASK_24
    return IMandates.Weight(asset=entry & MASK_8, weight_bps=entry >> 8)


@internal
@pure
def _weight_of(weights: uint256, asset: uint256) -> (bool, uint256):
    """@dev Whether an asset has a target weight, and which."""
    for i: uint256 in range(MAX_WEIGHTS):
        weight: IMandates.Weight = self._weight(weights, i)
        if weight.asset == 0:
            break
        if weight.asset == asset:
            return True, weight.weight_bps
    return False, 0


@internal
@pure
def _packed(allocation: IMandates.Allocation) -> (uint256, uint256):
    self._require_allocation(allocation)
    limits: uint256 = (
        allocation.ceiling_bps
        | (allocation.share_bps << 16)
        | (allocation.position_bps << 32)
        | (allocation.exposure_bps << 48)
        | (allocation.sigma_high_bps << 64)
        | (allocation.sigma_low_bps << 80)
        | (allocation.drift_bps << 96)
        | (allocation.period_s << 112)
    )
    if allocation.anticipates:
        limits = limits | (1 << 144)
    weights: uint256 = 0
    seen: uint256 = 0
    total_bps: uint256 = 0
    for i: uint256 in range(len(allocation.weights), bound=MAX_WEIGHTS):
        weight: IMandates.Weight = allocation.weights[i]
        total_bps += weight.weight_bps
        self._require_weight(weight, seen, total_bps)
        seen = seen | (1 << weight.asset)
        weights = weights | ((weight.asset | (weight.weight_bps << 8)) << (24 * i))
    return limits, weights


@internal
@pure
def _unpacked(limits: uint256, weights: uint256) -> IMandates.Allocation:
    allocation: IMandates.Allocation = IMandates.Allocation(
        ceiling_bps=self._ceiling_bps(limits),
        share_bps=self._share_bps(limits),
        position_bps=self._position_bps(limits),
        exposure_bps=self._exposure_bps(limits),
        sigma_high_bps=self._sigma_high_bps(limits),
        sigma_low_bps=self._sigma_low_bps(limits),
        drift_bps=self._drift_bps(limits),
        period_s=self._period_s(limits),
        anticipates=self._anticipates(limits),
        weights=[],
    )
    for i: uint256 in range(MAX_WEIGHTS):
        weight: IMandates.Weight = self._weight(weights, i)
        if weight.asset == 0:
            break
        allocation.weights.append(weight)
    return allocation


################################################################
#                           Measuring                          #
################################################################


@internal
@pure
def _measure(picture: IMandates.Snapshot) -> Measure:
    """@dev Values down, but exposure up: neither may make a limit look nearer than it is to whom it holds back."""
    measure: Measure = Measure(
        equity=convert(max(picture.equity_init, 0), uint256),
        required=picture.required_init,
        exposure=0,
        collateral=convert(max(picture.cash, 0), uint256),
        sigma_bps=0,
    )
    for leg: IMandates.Leg in picture.legs:
        price: uint256 = packing._newest_wad(leg.price_word)
        measure.exposure += self._exposure_up(leg)
        measure.collateral += packing._collateral_wad(leg.position) * price // fixed_point.WAD
        measure.sigma_bps = max(measure.sigma_bps, packing._sigma_e6(leg.risk_word) // BPS_TO_E6)
    return measure


@internal
@pure
def _measure_change(before: IMandates.Snapshot, after: IMandates.Snapshot) -> Measure:
    """
    @dev The account afterwards, with the lesser equity of both: a sale that brought more than expected does not make too
         much of what was sold. Volatile is what was, though the most volatile asset has left.
    """
    measure: Measure = self._measure(after)
    old: Measure = self._measure(before)
    measure.equity = min(measure.equity, old.equity)
    measure.sigma_bps = max(measure.sigma_bps, old.sigma_bps)
    return measure


@internal
@pure
def _exposure_up(leg: IMandates.Leg) -> uint256:
    """@dev p |D|, WAD of the quote token."""
    delta: int256 = convert(packing._collateral_wad(leg.position), int256) + packing._size_wad(leg.position)
    return fixed_point._mul_div_up(fixed_point._abs(delta), packing._newest_wad(leg.price_word), fixed_point.WAD)


@internal
@pure
def _value(leg: IMandates.Leg) -> uint256:
    """@dev b p, WAD of the quote token, down."""
    return packing._collateral_wad(leg.position) * packing._newest_wad(leg.price_word) // fixed_point.WAD


@internal
@pure
def _required(leg: IMandates.Leg) -> uint256:
    """@dev What a position requires at initial margin, WAD of the quote token, up."""
    return margin._required_init(leg.position, packing._newest_wad(leg.price_word), leg.risk_word)


@internal
@pure
def _is_above_a_limit(limits: uint256, weights: uint256, leg: IMandates.Leg, measure: Measure) -> bool:
    """@dev Whether an asset is still no smaller than the allocation wants it."""
    is_weighed: bool = False
    weight_bps: uint256 = 0
    is_weighed, weight_bps = self._weight_of(weights, leg.asset)
    if is_weighed and self._value(leg) * BPS >= weight_bps * measure.collateral:
        return True
    share_bps: uint256 = self._share_bps(limits)
    if share_bps != 0 and self._required(leg) * BPS >= share_bps * measure.required:
        return True
    exposure: uint256 = self._exposure_up(leg)
    position_bps: uint256 = self._position_bps(limits)
    if position_bps != 0 and exposure * BPS >= position_bps * measure.equity:
        return True
    exposure_bps: uint256 = self._exposure_bps(limits)
    is_wild: bool = exposure_bps != 0 and measure.sigma_bps >= self._sigma_high_bps(limits)
    return is_wild and measure.exposure * BPS >= exposure_bps * measure.equity


@internal
@pure
def _may_grow(
    limits: uint256,
    weights: uint256,
    leg: IMandates.Leg,
    measure: Measure,
    required_before: uint256,
    is_held: bool,
) -> bool:
    """
    @dev Toward a target weight where the requirement does not rise, or above the ceiling: then what is held already,
         and what has a weight.
    """
    is_weighed: bool = False
    weight_bps: uint256 = 0
    is_weighed, weight_bps = self._weight_of(weights, leg.asset)
    # Neither the collateral nor the exposure: a perpetual is no way around a weight.
    most: uint256 = max(self._value(leg), self._exposure_up(leg))
    is_within: bool = is_weighed and most * BPS <= weight_bps * measure.collateral
    if is_within and measure.required <= required_before:
        return True
    ceiling_bps: uint256 = self._ceiling_bps(limits)
    is_above: bool = ceiling_bps != 0 and measure.equity * BPS >= ceiling_bps * measure.required
    if not is_above or not (is_held or is_within):
        return False
    sigma_low_bps: uint256 = self._sigma_low_bps(limits)
    return sigma_low_bps == 0 or measure.sigma_bps <= sigma_low_bps


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_allocation(a: IMandates.Allocation):
    is_ratio: bool = max(max(a.ceiling_bps, a.exposure_bps), max(a.share_bps, a.position_bps)) <= MASK_16
    is_ceiling: bool = a.ceiling_bps == 0 or a.ceiling_bps >= BPS
    is_timed: bool = a.period_s <= MASK_32 and a.drift_bps <= BPS
    # Above one volatility exposure is cut, below the other it may come back.
    is_regime: bool = max(a.sigma_high_bps, a.sigma_low_bps) <= MASK_16 and (
        a.sigma_high_bps == 0 or a.sigma_low_bps < a.sigma_high_bps
    )
    is_complete: bool = (len(a.weights) == 0) == (a.drift_bps == 0) and (
        (a.exposure_bps == 0) == (a.sigma_high_bps == 0)
    )
    if not (is_ratio and is_ceiling and is_timed and is_regime and is_complete):
        reasons._fail("allocations: field out of range")


@internal
@pure
def _require_weight(weight: IMandates.Weight, seen: uint256, total_bps: uint256):
    """@dev What the weights leave of the whole is cash."""
    is_known: bool = weight.asset != 0 and weight.asset <= MASK_8
    if not is_known or seen & (1 << weight.asset) != 0 or weight.weight_bps > BPS or total_bps > BPS:
        reasons._fail("allocations: bad weight")
