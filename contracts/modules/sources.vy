# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Sources
@license MIT
@author  Ballast contributors
@notice  Where a plan gets its knowledge from: the ledger, the owners' guards, the perpetual markets.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandates
from contracts.modules import packing

QUOTE_ASSET: constant(uint256) = 0

CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
PERPS: public(immutable(address))
# The account on the other side of every perpetual.
HOUSE: immutable(uint256)
QUOTE: immutable(address)
UNIT_WAD: immutable(uint256)


@deploy
def __init__(clearinghouse: address, mandates: address, perps: address, house_owner: address):
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    PERPS = perps
    HOUSE = packing._account(house_owner, 0)
    quote_word: uint256 = staticcall IClearinghouse(clearinghouse).asset_word(QUOTE_ASSET)
    QUOTE = packing._token(quote_word)
    UNIT_WAD = packing._unit_wad(quote_word)


@internal
@view
def _cash_wad(account: uint256) -> uint256:
    """@dev Cash that is there, without what could be borrowed."""
    return packing._cash_wad(staticcall IClearinghouse(CLEARINGHOUSE).account_word(account))


@internal
@view
def _unit_wad(asset: uint256) -> uint256:
    return (staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset) >> 160) & packing.MASK_72


@internal
@view
def _guard_word(account: uint256) -> uint256:
    return staticcall IMandates(MANDATES).guard_word(account)
