# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Token units
@license MIT
@author  Ballast contributors
@notice  What a token unit of each asset is in WAD, thirty-two assets to a word. The unit of a listed asset never changes.
@dev     A byte for each asset: 0 not known yet, else one more than the digits that a unit has in WAD.
"""

from contracts.modules import reasons

_digits: HashMap[uint256, uint256]


@internal
@view
def _unit_wad(asset: uint256) -> uint256:
    """@dev 0 where it is not known."""
    digits: uint256 = (self._digits[asset >> 5] >> (8 * (asset & 31))) & 255
    if digits == 0:
        return 0
    return 10 ** (digits - 1)


@internal
def _learn(asset: uint256, unit_wad: uint256):
    self._require_listed(unit_wad)
    if self._unit_wad(asset) != 0:
        return
    digits: uint256 = 1
    left: uint256 = unit_wad
    for i: uint256 in range(18):
        if left == 1:
            break
        left = left // 10
        digits += 1
    self._digits[asset >> 5] |= digits << (8 * (asset & 31))


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_listed(unit_wad: uint256):
    if unit_wad == 0:
        reasons._fail("token units: unknown asset")
