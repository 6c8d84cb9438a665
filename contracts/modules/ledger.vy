# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Ledger
@license MIT
@author  Ballast contributors
@notice  Who holds what: one word of cash and debt per account, one word per position, its cost where there is a
         perpetual, one list of assets; and the funding of each market.
@dev     The only writer of these words. A position that becomes empty leaves its account's list, so a list is
         dense and holds exactly the assets with a non-zero position or an unpaid cost.
         The house is an account like any other; it is the other side of every perpetual.
@custom:invariant I18 I19 I24 I27
"""

from contracts.interfaces import IClearinghouse
from contracts.modules import asset_list
from contracts.modules import packing
from contracts.modules import reasons

MAX_BALANCE_WAD: constant(uint256) = 2**120

# The account that takes the other side of every trade: sub-account 0 of the liquidity vault.
HOUSE: immutable(uint256)

# cash_wad | debt_shares | increased_at of each account.
_account_words: HashMap[uint256, uint256]
# The asset list of each account.
_lists: HashMap[uint256, uint256]
# collateral_wad | size_wad, under account << 8 | asset: one hash instead of two.
_positions: HashMap[uint256, uint256]
# cost_wad | entry_wad, under the same key; 0 wherever the list has no perpetual's bit.
_costs: HashMap[uint256, uint256]
# funding_wad | rate_wad | touched_at of each market, as priced by `Perps`.
_markets: HashMap[uint256, uint256]


@deploy
def __init__(house: uint256):
    HOUSE = house


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
        self._enlist(account, asset, False)
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
def _put_perpetual(account: uint256, asset: uint256, size: int256, cost: int256, entry: int256) -> uint256:
    """@dev Stores size and cost, and lists the asset as long as either is there. Returns the new position word."""
    key: uint256 = (account << 8) | asset
    old: uint256 = self._positions[key]
    position: uint256 = packing._position_word(packing._collateral_wad(old), size)
    cost_word: uint256 = packing._cost_word(cost, entry)
    if old >> 128 == 0 or size == 0:
        if size != 0 or cost_word != 0:
            self._enlist(account, asset, True)
        else:
            self._unmark(account, asset, position)
    if position != old:
        self._positions[key] = position
    self._costs[key] = cost_word
    return position


@internal
def _add_perpetual(
    account: uint256, asset: uint256, size_change: int256, cost_change: int256, entry: int256
) -> int256:
    """@dev As `_put_perpetual`, by what changes. Returns the new cost."""
    size: int256 = packing._size_wad(self._position(account, asset))
    cost: int256 = packing._cost_wad(self._costs[(account << 8) | asset]) + cost_change
    self._put_perpetual(account, asset, size + size_change, cost, entry)
    return cost


@internal
def _take(donor: uint256, receiver: uint256, holding: IClearinghouse.Holding):
    """@dev A holding changes hands in place: supply totals stay, sizes and costs still add up to zero."""
    asset: uint256 = holding.asset
    if holding.collateral_wad != 0:
        self._remove_collateral(donor, asset, holding.collateral_wad)
        self._add_collateral(receiver, asset, holding.collateral_wad)
    if holding.size_wad != 0 or holding.cost_wad != 0:
        self._add_perpetual(donor, asset, -holding.size_wad, -holding.cost_wad, holding.donor_entry_wad)
        self._add_perpetual(receiver, asset, holding.size_wad, holding.cost_wad, holding.receiver_entry_wad)


@internal
def _enlist(account: uint256, asset: uint256, carries_perpetual: bool):
    """@dev Lists the asset if it is not listed yet, and marks it when it carries a perpetual."""
    listed: uint256 = self._lists[account]
    index: uint256 = asset_list._index_of(listed, asset)
    changed: uint256 = listed
    if index == asset_list.MAX_ASSETS:
        self._require_room(listed)
        index = asset_list._count(listed)
        changed = asset_list._with(listed, asset)
    if carries_perpetual:
        changed = asset_list._marked(changed, index, True)
    self._put_list(account, listed, changed)


@internal
def _unmark(account: uint256, asset: uint256, position: uint256):
    """@dev The perpetual is gone and paid; the asset stays listed only for its collateral."""
    listed: uint256 = self._lists[account]
    index: uint256 = asset_list._index_of(listed, asset)
    if index == asset_list.MAX_ASSETS:
        return
    changed: uint256 = asset_list._marked(listed, index, False)
    if position == 0:
        changed = asset_list._without(listed, index)
    self._put_list(account, listed, changed)


@internal
def _delist(account: uint256, asset: uint256):
    """@dev The position is empty; an unpaid cost keeps the asset listed."""
    listed: uint256 = self._lists[account]
    index: uint256 = asset_list._index_of(listed, asset)
    if not asset_list._carries_perpetual(listed, index):
        self._put_list(account, listed, asset_list._without(listed, index))


@internal
def _put_list(account: uint256, old: uint256, new: uint256):
    if new != old:
        self._lists[account] = new
        log IClearinghouse.AssetListChanged(account=account, listed=new)


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
