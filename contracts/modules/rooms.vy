# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Rooms
@license MIT
@author  Ballast contributors
@notice  The contracts that the liquidator works with, and the two accounts that stand behind it.
"""

from contracts.modules import packing

CLEARINGHOUSE: immutable(address)
PERPS: immutable(address)
MANDATES: immutable(address)
VAULT: immutable(address)
# WAD of a unit of the quote token.
UNIT_WAD: immutable(uint256)
# The other side of every perpetual.
HOUSE: immutable(uint256)
# What pays for deficits first.
INSURANCE: immutable(uint256)


@deploy
def __init__(
    clearinghouse: address,
    perps: address,
    mandates: address,
    vault: address,
    unit_wad: uint256,
    insurance: address,
    house_owner: address,
):
    CLEARINGHOUSE = clearinghouse
    PERPS = perps
    MANDATES = mandates
    VAULT = vault
    UNIT_WAD = unit_wad
    HOUSE = packing._account(house_owner, 0)
    INSURANCE = packing._account(insurance, 0)
