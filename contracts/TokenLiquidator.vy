# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Token Liquidator
@license MIT
@author  Ballast contributors
@notice  Liquidation for callers without an account: pay the quote token, get the collateral of the slice.
@dev     No right of its own: it is an owner like any other, whose one account takes the slice and is emptied in the same
         call. Whatever strangers put there goes to the next caller. Only accounts without perpetuals: a position is not a
         token.
@custom:invariant I26
@custom:kill  Nothing to stop: it holds nothing between calls.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILiquidator
from contracts.interfaces import ITokenLiquidator
from contracts.modules import asset_list
from contracts.modules import packing
from contracts.modules import reasons
from contracts.modules import safe_token
from ethereum.ercs import IERC20

implements: ITokenLiquidator

QUOTE_ASSET: constant(uint256) = 0

CLEARINGHOUSE: public(immutable(address))
LIQUIDATOR: public(immutable(address))
ACCOUNT: public(immutable(uint256))


@deploy
def __init__(clearinghouse: address, liquidator: address):
    """
    @param clearinghouse  The ledger.
    @param liquidator     Liquidates into the account of this contract.
    """
    CLEARINGHOUSE = clearinghouse
    LIQUIDATOR = liquidator
    ACCOUNT = packing._account(self, 0)


@external
def liquidate(account: uint256, most_units: uint256, receiver: address, expected_state: bytes32) -> uint256:
    """@notice Takes the slice with the caller's tokens and hands on what it holds."""
    self._require_no_perpetual(account)
    token: IERC20 = IERC20(packing._token(self._asset_word(QUOTE_ASSET)))
    safe_token._pull(token, msg.sender, most_units)
    safe_token._require_approved(token, CLEARINGHOUSE, most_units)
    extcall IClearinghouse(CLEARINGHOUSE).deposit(ACCOUNT, QUOTE_ASSET, most_units)
    fraction: uint256 = extcall ILiquidator(LIQUIDATOR).liquidate(account, ACCOUNT, expected_state)

    word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).account_word(ACCOUNT)
    self._require_paid(packing._debt_shares(word) == 0)
    listed: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).listed_word(ACCOUNT)
    ids: DynArray[uint256, asset_list.MAX_ASSETS] = asset_list._ids(listed)
    for asset: uint256 in ids:
        position: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).position_word(ACCOUNT, asset)
        self._send(asset, packing._collateral_wad(position), receiver)
    self._send(QUOTE_ASSET, packing._cash_wad(word), msg.sender)
    return fraction


@internal
def _send(asset: uint256, amount_wad: uint256, receiver: address):
    """@dev Whole token units; less than one may stay, and belongs to nobody."""
    units: uint256 = amount_wad // packing._unit_wad(self._asset_word(asset))
    if units != 0:
        extcall IClearinghouse(CLEARINGHOUSE).withdraw(ACCOUNT, asset, units, receiver)


@internal
@view
def _asset_word(asset: uint256) -> uint256:
    return staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _require_no_perpetual(account: uint256):
    if asset_list._has_perpetual(staticcall IClearinghouse(CLEARINGHOUSE).listed_word(account)):
        reasons._fail("token liquidator: has perpetuals")


@internal
@pure
def _require_paid(is_paid: bool):
    """@dev Where the tokens did not suffice, the account has taken over debt."""
    if not is_paid:
        reasons._fail("token liquidator: price too high")
