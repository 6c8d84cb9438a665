# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Hook rooms
@license MIT
@author  Ballast contributors
@notice  The contracts that the default hook works with, and what it reads of them once.
"""

from contracts.interfaces import IClearinghouse
from contracts.modules import packing
from contracts.modules import steps

CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
PLANNER: public(immutable(address))
ALLOCATOR: public(immutable(address))
LIQUIDATOR: public(immutable(address))
ORACLE: immutable(address)
# The asset with the price of what gas is paid in; 0 if none is listed, and then gas is not paid for.
NATIVE_ASSET: public(immutable(uint256))
# WAD of a unit of the quote token.
UNIT_WAD: immutable(uint256)


@deploy
def __init__(
    clearinghouse: address,
    mandates: address,
    planner: address,
    allocator: address,
    liquidator: address,
    oracle: address,
    native_asset: uint256,
):
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    PLANNER = planner
    ALLOCATOR = allocator
    LIQUIDATOR = liquidator
    ORACLE = oracle
    NATIVE_ASSET = native_asset
    UNIT_WAD = packing._unit_wad(staticcall IClearinghouse(clearinghouse).asset_word(steps.QUOTE_ASSET))
