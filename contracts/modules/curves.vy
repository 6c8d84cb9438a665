# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Curves
@license MIT
@author  Ballast contributors
@notice  What the units of a means cost, of which the next may cost more than the last.
@dev     Where a price moves with size a means is cut into four slices. The j-th ends at j (j + 1) / 20 of what there is
         and costs, in the mean, what the first unit does and j^2 / 10 of what all units cost beyond that. Of a sale the
         policy names both; a trade is quoted for all there is, and the market's depth says what the first unit costs.
         What units cost is kept in one word, because a plan has memory for three curves of each of sixteen assets:
         flags u8 | later_e6 u24 | impact_e6 u96 | first_e6 i128, from the lowest bit. A market's sizes are of 72 bits of
         1e-9, so an impact is below 2**92.
"""

from contracts.modules import fixed_point
from contracts.modules import markets

SLICES: constant(uint256) = 4
TENTHS: constant(uint256) = 10
# An impact below this part of what the first unit costs is not worth slices.
LEAST_IMPACT_PART: constant(uint256) = 10

MASK_24: constant(uint256) = 2**24 - 1
MASK_96: constant(uint256) = 2**96 - 1
# The flag of costs that a gain bears, and not equity at initial margin.
IS_BORNE: constant(uint256) = 1


# What the units of a means cost, as parts of their value, in millionths.
struct Curve:
    most: uint256  # WAD units there are
    # The first unit, what all cost in the mean beyond that, and funding that a unit is expected to pay later.
    costs_word: uint256


@internal
@pure
def _curve(most: uint256, whole_e6: uint256, impact_e6: uint256) -> Curve:
    """@dev Without slices each unit costs what all do in the mean."""
    first_e6: int256 = convert(whole_e6, int256)
    costs_word: uint256 = 0
    if impact_e6 * (LEAST_IMPACT_PART + 1) > whole_e6:
        first_e6 -= convert(impact_e6, int256)
        costs_word = impact_e6 << 32
    costs_word = costs_word | (convert(convert(first_e6, bytes32), uint256) << 128)
    return Curve(most=most, costs_word=costs_word)


@internal
@pure
def _trade_curve(
    price_wad: uint256, most: uint256, cost_e6: uint256, gain: uint256, depth_gwei: uint256
) -> Curve:
    """@dev Units of a trade that cost so much in the mean. One that the skew pays for has no slices."""
    impact_e6: uint256 = 0
    if cost_e6 != 0:
        impact_e6 = most // markets.SIZE_STEP * fixed_point.RATE // (2 * depth_gwei)
    value: uint256 = most * price_wad // fixed_point.WAD
    curve: Curve = self._curve(most, cost_e6, impact_e6)
    if gain >= fixed_point._mul_div_up(value, cost_e6, fixed_point.RATE):
        curve.costs_word = curve.costs_word | IS_BORNE
    return curve


@internal
@pure
def _with_later(curve: Curve, later_e6: uint256) -> Curve:
    """@dev A curve of which each unit is expected to pay so much funding."""
    return Curve(most=curve.most, costs_word=curve.costs_word | (later_e6 << 8))


@internal
@pure
def _whole_e6(curve: Curve) -> uint256:
    """@dev What all cost in the mean, funding with it."""
    first_e6: int256 = convert(convert(curve.costs_word, bytes32), int256) >> 128
    impact_e6: uint256 = (curve.costs_word >> 32) & MASK_96
    return convert(first_e6 + convert(impact_e6, int256), uint256) + ((curve.costs_word >> 8) & MASK_24)


@internal
@pure
def _slice(curve: Curve, used: uint256, lot_wad: uint256, is_given_back: bool) -> (uint256, uint256, int256):
    """
    @dev The slice with the next lot of a means, or with the last that was used: units that are left of it or used of it,
         what they cost, and what of that equity bears.
    """
    place: uint256 = used
    if is_given_back:
        if place == 0:
            return 0, 0, 0
        place -= lot_wad
    start: uint256 = 0
    end: uint256 = curve.most
    cost_e6: int256 = convert(convert(curve.costs_word, bytes32), int256) >> 128
    impact_e6: uint256 = (curve.costs_word >> 32) & MASK_96
    if impact_e6 != 0:
        for i: uint256 in range(SLICES):
            j: uint256 = i + 1
            end = curve.most * (j * (j + 1)) // (2 * TENTHS)
            end -= end % lot_wad
            if end >= place + lot_wad:
                cost_e6 += convert(fixed_point._mul_div_up(impact_e6, j * j, TENTHS), int256)
                break
            start = end
    cost_e6 = max(cost_e6, 0)
    left: uint256 = end - min(end, used)
    if is_given_back:
        left = used - start
    borne: int256 = cost_e6
    if curve.costs_word & IS_BORNE != 0:
        borne = 0
    return left, convert(cost_e6, uint256) + ((curve.costs_word >> 8) & MASK_24), borne
