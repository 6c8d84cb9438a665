# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Share Math
@license MIT
@author  Ballast contributors
@notice  What shares of a total are worth, and how many of them assets buy; the rounding is in the name.
@dev     One million virtual shares stand against one virtual asset unit, so that inflating the first share costs an
         attacker a million times what a rounding can cost anybody. Amounts that are only asked for may be of any size.
@custom:invariant I06 I10
"""

from snekmate.utils import math

# Decimals that an asset may have.
MIN_DECIMALS: constant(uint8) = 2
MAX_DECIMALS: constant(uint8) = 18
# Shares have so many decimals more than the asset, and 10**6 of them are virtual.
DECIMALS_OFFSET: constant(uint8) = 6
VIRTUAL_SHARES: constant(uint256) = 10**6
VIRTUAL_ASSETS: constant(uint256) = 1


@internal
@pure
def _is_supported(decimals: uint8) -> bool:
    return decimals >= MIN_DECIMALS and decimals <= MAX_DECIMALS


@internal
@pure
def _to_shares_down(assets: uint256, supply: uint256, total: uint256) -> uint256:
    return math._mul_div(assets, supply + VIRTUAL_SHARES, total + VIRTUAL_ASSETS, False)


@internal
@pure
def _to_shares_up(assets: uint256, supply: uint256, total: uint256) -> uint256:
    return math._mul_div(assets, supply + VIRTUAL_SHARES, total + VIRTUAL_ASSETS, True)


@internal
@pure
def _to_assets_down(shares: uint256, supply: uint256, total: uint256) -> uint256:
    return math._mul_div(shares, total + VIRTUAL_ASSETS, supply + VIRTUAL_SHARES, False)


@internal
@pure
def _to_assets_up(shares: uint256, supply: uint256, total: uint256) -> uint256:
    return math._mul_div(shares, total + VIRTUAL_ASSETS, supply + VIRTUAL_SHARES, True)
