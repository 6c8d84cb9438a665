# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Safe Token
@license MIT
@author  Ballast contributors
@notice  The only way tokens enter or leave a Ballast contract.
@dev     Tokens that return nothing are accepted, tokens that return false and addresses without code are not. What
         is credited is what arrived: a token that keeps a fee on transfer, or delivers less, reverts.
"""

from contracts.modules import reasons
from ethereum.ercs import IERC20


@internal
def _pull(token: IERC20, payer: address, amount: uint256):
    """
    @notice Takes exactly `amount` token units from `payer`, who approved this contract.
    """
    self._pull_to(token, payer, self, amount)


@internal
def _pull_to(token: IERC20, payer: address, receiver: address, amount: uint256):
    """
    @notice Moves exactly `amount` token units from `payer`, who approved this contract, to `receiver`.
    @dev    The balance is read only to compare it with itself; it never decides a price.
    """
    balance_before: uint256 = staticcall token.balanceOf(receiver)
    self._require_pulled(token, payer, receiver, amount)
    balance_after: uint256 = staticcall token.balanceOf(receiver)
    self._require_exact(balance_before, balance_after, amount)


@internal
def _push(token: IERC20, receiver: address, amount: uint256):
    """
    @notice Sends `amount` token units of this contract to `receiver`.
    """
    self._require_pushed(token, receiver, amount)


@internal
def _require_approved(token: IERC20, spender: address, amount: uint256):
    """@dev For one of our own contracts, which takes exactly that in the same call."""
    if not extcall token.approve(spender, amount, default_return_value=True):
        reasons._fail("token: approve failed")


@internal
def _require_pulled(token: IERC20, payer: address, receiver: address, amount: uint256):
    if not extcall token.transferFrom(payer, receiver, amount, default_return_value=True):
        reasons._fail("token: pull failed")


@internal
def _require_pushed(token: IERC20, receiver: address, amount: uint256):
    if not extcall token.transfer(receiver, amount, default_return_value=True):
        reasons._fail("token: transfer failed")


@internal
@pure
def _require_exact(balance_before: uint256, balance_after: uint256, amount: uint256):
    if balance_after != balance_before + amount:
        reasons._fail("token: short transfer")
