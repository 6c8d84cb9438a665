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


struct Terms:
    equity_init: int256
    required_init: uint256
    equity_maint: int256
    required_maint: uint256


@internal
@pure
def _required_up(price_wad: uint256, charged_e6: uint256) -> uint256:
    """@dev ceil(p (r |D| + l G)) in one division, so a hedged pair is not rounded twice."""
    return fixed_point._mul_div_up(price_wad, charged_e6, fixed_point.WAD * fixed_point.RATE)


@internal
@pure
def _terms(
    position: uint256, cost_wad: int256, funding_wad: int256, price_wad: uint256, risk_word: uint256
) -> Terms:
    """
    @notice The contribution of one asset to the four integers of an account.
    @param  position     Packed collateral and perpetual size.
    @param  cost_wad     Funding-adjusted cost of the perpetual; 0 without one.
    @param  funding_wad  Cumulative funding of the market, quote per unit; 0 without a perpetual.
    @param  price_wad    Quote per unit.
    @param  risk_word    The asset's rates and quota.
    """
    collateral: uint256 = packing._collateral_wad(position)
    size: int256 = packing._size_wad(position)
    counted: uint256 = min(collateral, packing._quota_wad(risk_word))
    result: int256 = 0
    gross_size: uint256 = 0
    if size != 0:
        move: int256 = convert(price_wad, int256) - funding_wad
        result = fixed_point._mul_wad_floor_signed(size, move) - cost_wad
        gross_size = fixed_point._abs(size)
    delta: int256 = convert(collateral, int256) + size
    delta_init: int256 = convert(counted, int256) + size
    if delta_init < 0:
        delta_init = min(delta, 0)
    return Terms(
        equity_init=convert(counted * price_wad // fixed_point.WAD, int256) + min(result, 0),
        required_init=self._required_up(
            price_wad,
            packing._r_init_e6(risk_word) * fixed_point._abs(delta_init)
            + packing._l_init_e6(risk_word) * (counted + gross_size),
        ),
        equity_maint=convert(collateral * price_wad // fixed_point.WAD, int256) + result,
        required_maint=self._required_up(
            price_wad,
            packing._r_maint_e6(risk_word) * fixed_point._abs(delta)
            + packing._l_maint_e6(risk_word) * (collateral + gross_size),
        ),
    )
