# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Ledger
@license MIT
@author  Ballast contributors
@notice  Who holds what: one word of cash and debt per account, one word per position, one list of assets.
@dev     The only writer of these words. A position that becomes empty leaves its account's list, so a list is
         dense and holds exactly the assets with a non-zero position.
@custom:invariant I24 I27
"""

from contracts.interfaces import IClearinghouse
from contracts.modules import asset_list
from contracts.modules import packing
from contracts.modules import reasons

MAX_BALANCE_WAD: constant(uint256) = 2**120

# cash_wad | debt_shares of each account.
_account_words: HashMap[uint256, uint256]
# The asset list of each account.
_lists: HashMap[uint256, uint256]
# collateral_wad | size_wad, under account << 8 | asset: one hash instead of two.
_positions: HashMap[uint256, uint256]


@internal
@view
def _position(account: uint256, asset: uint256) -> uint256:
    return self._positions[(account << 8) | asset]


@internal
def _add_collateral(account: uint256, asset: uint256, amount_wad: uint256) -> uint256:
    """@dev Returns the new position word. Supply totals are the caller's business: a transfer moves none."""
    key: uint256 = (account << 8) | asset
    position: uint256 = self._positions[key]
    collateral: uint256 = packing._collateral_wad(position) + amount_wad
    self._require_amount(collateral)
    if position == 0:
        self._enlist(account, asset)
    position = packing._position_word(collateral, packing._size_wad(position))
    self._positions[key] = position
    return position


@internal
def _remove_collateral(account: uint256, asset: uint256, amount_wad: uint256) -> uint256:
    key: uint256 = (account << 8) | asset
    position: uint256 = self._positions[key]
    collateral: uint256 = packing._collateral_wad(position)
    self._require_balance(collateral, amount_wad)
    position = packing._position_word(collateral - amount_wad, packing._size_wad(position))
    self._positions[key] = position
    if position == 0:
        self._delist(account, asset)
    return position


@internal
def _enlist(account: uint256, asset: uint256):
    listed: uint256 = self._lists[account]
    self._require_room(listed)
    listed = asset_list._with(listed, asset)
    self._lists[account] = listed
    log IClearinghouse.AssetListChanged(account=account, listed=listed)


@internal
def _delist(account: uint256, asset: uint256):
    listed: uint256 = self._lists[account]
    listed = asset_list._without(listed, asset_list._index_of(listed, asset))
    self._lists[account] = listed
    log IClearinghouse.AssetListChanged(account=account, listed=listed)


@internal
@pure
def _to_wad(asset_word: uint256, amount: uint256) -> uint256:
    """@dev Exact: a token unit is a whole number of WAD units."""
    self._require_nonzero(amount)
    self._require_amount(amount)
    amount_wad: uint256 = amount * packing._unit_wad(asset_word)
    self._require_amount(amount_wad)
    return amount_wad


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_account(account: uint256):
    if account >= 2**168 or account >> 8 == 0:
        reasons._fail("ledger: bad account")


@internal
@pure
def _require_nonzero(amount: uint256):
    if amount == 0:
        reasons._fail("ledger: zero amount")


@internal
@pure
def _require_amount(amount_wad: uint256):
    if amount_wad >= MAX_BALANCE_WAD:
        reasons._fail("ledger: amount too large")


@internal
@pure
def _require_balance(available_wad: uint256, amount_wad: uint256):
    if amount_wad > available_wad:
        reasons._fail("ledger: balance too low")


@internal
@pure
def _require_room(listed: uint256):
    if asset_list._count(listed) == asset_list.MAX_ASSETS:
        reasons._fail("ledger: asset list full")
