# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Oracle Math
@license MIT
@author  Ballast contributors
@notice  Opens the oracle's pure functions to tests.
"""

from contracts.modules import volatility


@external
@pure
def ln_e10(price_wad: uint256) -> uint256:
    """
    @notice ln of an integer, in e10.
    """
    return volatility._ln_e10(price_wad)


@external
@pure
def exp_minus_wad(x_wad: uint256) -> uint256:
    """
    @notice exp(-x) in WAD.
    """
    return volatility._exp_minus_wad(x_wad)
