# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Backing
@license MIT
@author  Ballast contributors
@notice  What the house must keep for the positions of traders, what it has left beyond them, and what it owes for skew.
@dev     Each side of a market is backed in gross, as if the other had closed: reductions are never refused, so netting
         would let the house be left with shorts that it cannot pay at a fall to zero.
"""

from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import market_books
from contracts.modules import markets
from contracts.modules import packing

uses: market_books


@internal
@view
def _free_wad(
    equity: int256, ids: DynArray[uint256, market_books.MAX_MARKETS], marks: DynArray[uint256, 32]
) -> uint256:
    """
    @dev E_init less, in each market, the larger of what all shorts and what all longs would require if the other side
         had closed. At least as much is required of the house as it stands, so this is within its excess.
    """
    backed: uint256 = 0
    for i: uint256 in range(len(ids), bound=market_books.MAX_MARKETS):
        exposure: uint256 = market_books._exposures[ids[i]]
        shorts: uint256 = markets._shorts(exposure) * self._long_rate_e6(marks[2 * i + 1])
        longs: uint256 = markets._longs(exposure) * self._short_rate_e6(marks[2 * i + 1])
        backed += fixed_point._mul_div_up(
            packing._newest_wad(marks[2 * i]), max(shorts, longs), fixed_point.RATE * markets.SIZE_STEP
        )
    return convert(max(equity - convert(backed, int256), 0), uint256)


@internal
@pure
def _long_rate_e6(risk_word: uint256) -> uint256:
    """@dev What the house keeps for a unit that traders are short: all of its value, and l."""
    return margin.HOUSE_LONG_E6 + packing._l_init_e6(risk_word)


@internal
@pure
def _short_rate_e6(risk_word: uint256) -> uint256:
    """@dev What it keeps for a unit that traders are long."""
    return max(packing._r_init_e6(risk_word), margin.HOUSE_SHORT_INIT_E6) + packing._l_init_e6(risk_word)


@internal
@pure
def _backed_gwei(share_wad: uint256, price_wad: uint256, rate_e6: uint256) -> uint256:
    """@dev Units in 1e-9 that a share of the free equity backs, down."""
    if price_wad == 0:
        return 0
    return share_wad * fixed_point.RATE * markets.SIZE_STEP // (price_wad * rate_e6)


@internal
@view
def _skew_charge_wad(ids: DynArray[uint256, market_books.MAX_MARKETS], marks: DynArray[uint256, 32]) -> uint256:
    """@dev sum p skew^2 / (2 depth), up in each market."""
    total: uint256 = 0
    for i: uint256 in range(len(ids), bound=market_books.MAX_MARKETS):
        skew: uint256 = fixed_point._abs(markets._skew(market_books._exposures[ids[i]]))
        # Both factors of the square and the depth are in 1e-9, the price is in WAD per unit.
        total += fixed_point._mul_div_up(
            packing._newest_wad(marks[2 * i]) * skew,
            skew,
            2 * markets._depth_gwei(market_books._prices[ids[i]]) * markets.SIZE_STEP,
        )
    return total


@internal
@view
def _uncertainty_wad(ids: DynArray[uint256, market_books.MAX_MARKETS], marks: DynArray[uint256, 32]) -> uint256:
    """@dev sum p |skew| (band + sigma sqrt(lag)) / 2, up in each market."""
    total: uint256 = 0
    for i: uint256 in range(len(ids), bound=market_books.MAX_MARKETS):
        skew: uint256 = fixed_point._abs(markets._skew(market_books._exposures[ids[i]]))
        total += fixed_point._mul_div_up(
            packing._newest_wad(marks[2 * i]) * skew,
            markets._uncertainty_e6(market_books._limits[ids[i]], marks[2 * i + 1]),
            fixed_point.RATE * markets.SIZE_STEP,
        )
    return total
