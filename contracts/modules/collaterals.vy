# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Collaterals
@license MIT
@author  Ballast contributors
@notice  What may be held, and how much of it in all.
@dev     Written by the listings contract alone, which checks what it writes.
@custom:invariant I28
"""

from contracts.modules import packing
from contracts.modules import reasons
from ethereum.ercs import IERC20Detailed

QUOTE_ASSET: constant(uint256) = 0

QUOTE_WORD: immutable(uint256)

# token | unit_wad | swap_limit_bps of each collateral; 0 = not listed.
_words: HashMap[uint256, uint256]
# total_wad | supply_cap_wad of each collateral.
_supplies: HashMap[uint256, uint256]


@deploy
def __init__(quote: address):
    decimals: uint256 = convert(staticcall IERC20Detailed(quote).decimals(), uint256)
    QUOTE_WORD = packing._asset_word(quote, 10 ** (18 - decimals), 0)


@internal
def _set_asset(asset: uint256, asset_word: uint256, supply_cap_wad: uint256):
    self._words[asset] = asset_word
    self._supplies[asset] = packing._supply_word(packing._total_wad(self._supplies[asset]), supply_cap_wad)


@internal
@view
def _word(asset: uint256) -> uint256:
    if asset == QUOTE_ASSET:
        return QUOTE_WORD
    word: uint256 = self._words[asset]
    self._require_listed(word)
    return word


@internal
def _count_in(asset: uint256, amount_wad: uint256):
    """@dev The cap blocks increases only: an asset above its cap can always leave."""
    supply: uint256 = self._supplies[asset] + amount_wad
    self._require_below_cap(supply)
    self._supplies[asset] = supply


@internal
def _count_out(asset: uint256, amount_wad: uint256):
    """@dev The total is the sum of all positions, so it cannot fall short of one (I01)."""
    self._supplies[asset] -= amount_wad


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_listed(word: uint256):
    if word == 0:
        reasons._fail("collaterals: unknown asset")


@internal
@pure
def _require_below_cap(supply: uint256):
    if packing._total_wad(supply) > packing._cap_wad(supply):
        reasons._fail("collaterals: supply cap reached")
