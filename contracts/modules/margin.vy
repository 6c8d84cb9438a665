# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Margin
@license MIT
@author  Ballast contributors
@notice  The one margin equation: what a position in one asset adds to an account's equity and requirement.
@dev     A collateral haircut and a derivatives margin are the same thing, a charge on the net delta, so
         collateral and perpetuals net here and nowhere else:

             u = floor(q (p - f)) - c            unsettled result of the perpetual
             D = b + q,  G = b + |q|
             equity_maint   += b p + u           equity_init   += min(b, quota) p + min(u, 0)
             required_x     += p (r_x |D| + l_x G)

         At initial margin G counts min(b, quota), and D is the value nearest zero between min(b, quota) + q
         and b + q: collateral beyond its quota lends no value and still hedges. Values round down,
         requirements round up. All amounts in WAD of the quote token.
"""

from contracts.modules import fixed_point
from contracts.modules import packing


# The house must be able to pay every short at any fall down to zero, and half a doubling to the longs.
HOUSE_LONG_E6: constant(uint256) = 1_000_000
HOUSE_SHORT_INIT_E6: constant(uint256) = 500_000
HOUSE_SHORT_MAINT_E6: constant(uint256) = 250_000
# Unit of a price times a rate times an amount.
REQUIRED_UNIT: constant(uint256) = fixed_point.WAD * fixed_point.RATE


struct Terms:
    equity_init: int256
    required_init: uint256
    equity_maint: int256
    required_maint: uint256


@internal
@pure
def _house_word(risk_word: uint256, position: uint256) -> uint256:
    """@dev The risk word with the house's own directional rates for the side it is on."""
    if convert(packing._collateral_wad(position), int256) + packing._size_wad(position) >= 0:
        return packing._with_directional(risk_word, HOUSE_LONG_E6, HOUSE_LONG_E6)
    return packing._with_directional(
        risk_word,
        max(packing._r_init_e6(risk_word), HOUSE_SHORT_INIT_E6),
        max(packing._r_maint_e6(risk_word), HOUSE_SHORT_MAINT_E6),
    )


@internal
@pure
def _required_up(price_wad: uint256, charged_e6: uint256) -> uint256:
    """
    @dev ceil(p (r |D| + l G)) in one division, so a hedged pair is not rounded twice. Cannot overflow: a price is
         below 2**96, r |D| + l G below 2 * 2**24 * 2**129.
    """
    return unsafe_div(unsafe_add(unsafe_mul(price_wad, charged_e6), REQUIRED_UNIT - 1), REQUIRED_UNIT)


@internal
@pure
def _value_down(amount_wad: uint256, price_wad: uint256) -> int256:
    """@dev floor(b p); below 2**120 * 2**96 / 1e18, so a signed integer holds it."""
    return convert(convert(unsafe_div(unsafe_mul(amount_wad, price_wad), fixed_point.WAD), bytes32), int256)


@internal
@pure
def _collateral_excess_init(position: uint256, price_wad: uint256, risk_word: uint256) -> int256:
    """
    @dev `_terms` at initial margin for a position without a perpetual, the hot path of the margin test: value down less
         requirement up, in place. Both are below 2**249 / 1e18, as there, so the difference of the words is signed.
    """
    value: uint256 = unsafe_mul(price_wad, min(position & packing.MASK_128, packing._quota_wad(risk_word)))
    rate_e6: uint256 = unsafe_add(risk_word & packing.MASK_24, (risk_word >> 24) & packing.MASK_24)
    required: uint256 = unsafe_div(unsafe_add(unsafe_mul(value, rate_e6), REQUIRED_UNIT - 1), REQUIRED_UNIT)
    return convert(convert(unsafe_sub(unsafe_div(value, fixed_point.WAD), required), bytes32), int256)


@internal
@pure
def _required_init(position: uint256, price_wad: uint256, risk_word: uint256) -> uint256:
    """@dev Of `_terms` the requirement at initial margin alone, in which neither cost nor funding has a part."""
    collateral: uint256 = position & packing.MASK_128
    counted: uint256 = min(collateral, packing._quota_wad(risk_word))
    r_e6: uint256 = risk_word & packing.MASK_24
    l_e6: uint256 = (risk_word >> 24) & packing.MASK_24
    if position == collateral:
        return self._required_up(price_wad, (r_e6 + l_e6) * counted)
    size: int256 = packing._size_wad(position)
    delta: int256 = convert(collateral, int256) + size
    if counted != collateral:
        # A short that only collateral above the quota covers is not a short.
        delta = max(convert(counted, int256) + size, min(delta, 0))
    charged_e6: uint256 = r_e6 * fixed_point._abs(delta) + l_e6 * (counted + fixed_point._abs(size))
    return self._required_up(price_wad, charged_e6)


@internal
@pure
def _terms(
    position: uint256, cost_wad: int256, funding_wad: int256, price_wad: uint256, risk_word: uint256
) -> Terms:
    """
    @notice The contribution of one asset to the four integers of an account.
    @dev    Every check comes by here for every asset, so words are cut and signs are changed in place. Nothing overflows:
            |D| and G stay below 2 * 2**128, a price below 2**96, a funding below 2**127, what a size moves by below
            2**120 * 2**128.
    @param  position     Packed collateral and perpetual size.
    @param  cost_wad     Funding-adjusted cost of the perpetual; without a size, what is left unpaid of a closed one.
    @param  funding_wad  Cumulative funding of the market, quote per unit; 0 without a perpetual.
    @param  price_wad    Quote per unit.
    @param  risk_word    The asset's rates and quota.
    """
    collateral: uint256 = position & packing.MASK_128
    counted: uint256 = min(collateral, unsafe_mul((risk_word >> 96) & packing.MASK_72, packing.GWEI_WAD))
    # Of a position without a perpetual; what one adds follows.
    result: int256 = 0
    net: uint256 = collateral
    net_init: uint256 = counted
    gross: uint256 = collateral
    gross_init: uint256 = counted
    if position != collateral or cost_wad != 0:
        size: int256 = convert(convert(position, bytes32), int256) >> 128
        move: int256 = unsafe_mul(size, unsafe_sub(convert(convert(price_wad, bytes32), int256), funding_wad))
        result = unsafe_sub(fixed_point._div_floor_signed(move, 10**18), cost_wad)
        delta: int256 = unsafe_add(convert(convert(collateral, bytes32), int256), size)
        delta_init: int256 = delta
        if counted != collateral:
            # A short that only collateral above the quota covers is not a short.
            delta_init = max(unsafe_add(convert(convert(counted, bytes32), int256), size), min(delta, 0))
        net = convert(convert(max(delta, unsafe_sub(0, delta)), bytes32), uint256)
        net_init = convert(convert(max(delta_init, unsafe_sub(0, delta_init)), bytes32), uint256)
        gross_size: uint256 = convert(convert(max(size, unsafe_sub(0, size)), bytes32), uint256)
        gross = unsafe_add(collateral, gross_size)
        gross_init = unsafe_add(counted, gross_size)
    r_init: uint256 = risk_word & packing.MASK_24
    l_init: uint256 = (risk_word >> 24) & packing.MASK_24
    r_maint: uint256 = (risk_word >> 48) & packing.MASK_24
    l_maint: uint256 = (risk_word >> 72) & packing.MASK_24
    return Terms(
        equity_init=unsafe_add(self._value_down(counted, price_wad), min(result, 0)),
        required_init=self._required_up(
            price_wad, unsafe_add(unsafe_mul(r_init, net_init), unsafe_mul(l_init, gross_init))
        ),
        equity_maint=unsafe_add(self._value_down(collateral, price_wad), result),
        required_maint=self._required_up(
            price_wad, unsafe_add(unsafe_mul(r_maint, net), unsafe_mul(l_maint, gross))
        ),
    )
