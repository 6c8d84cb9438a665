# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Market books
@license MIT
@author  Ballast contributors
@notice  What is kept of every perpetual market; layouts in `markets.vy`.
@custom:invariant I20
"""

from contracts.modules import reasons

MAX_MARKETS: constant(uint256) = 16

# Assets with a market.
_ids: DynArray[uint256, MAX_MARKETS]
# Terms, in two words; the first is never 0 for a market.
_prices: HashMap[uint256, uint256]
_limits: HashMap[uint256, uint256]
# Longs and shorts of traders, and the skew at the start of the round.
_exposures: HashMap[uint256, uint256]
# By how much each side may still grow.
_headrooms: HashMap[uint256, uint256]
# Prices that the newest is compared with.
_breakers: HashMap[uint256, uint256]


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_market(prices: uint256):
    if prices == 0:
        reasons._fail("perps: unknown market")
