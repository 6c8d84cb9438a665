# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Vault Borrower
@license MIT
@author  Ballast contributors
@notice  Stands where the clearing house stands for a lending vault: a state to set, loans and losses passed through.
"""

from ethereum.ercs import IERC20

from contracts.interfaces import ILendingVault

# What `call_state` answers; 0 is idle.
answer: uint256


# The vaults ask for it in the middle of a call.
@external
@view
@reentrant
def call_state() -> uint256:
    """
    @notice What the clearing house is doing.
    """
    return self.answer


@external
def set_call_state(answer: uint256):
    """
    @notice Sets what `call_state` answers.
    """
    self.answer = answer


@external
def lend(vault: address, assets: uint256, receiver: address) -> uint256:
    """
    @notice Borrows from `vault`.
    """
    return extcall ILendingVault(vault).lend(assets, receiver, max_value(uint256))


@external
def lend_to_debtor(vault: address, assets: uint256, receiver: address, shares_held: uint256) -> uint256:
    """
    @notice Borrows from `vault` for a debtor who has so many loan shares and chose to.
    """
    return extcall ILendingVault(vault).lend(assets, receiver, shares_held)


@external
def repay(vault: address, assets: uint256, shares_held: uint256) -> uint256:
    """
    @notice Transfers `assets` from the caller to `vault` and has them booked.
    """
    token: IERC20 = IERC20(staticcall IVault(vault).asset())
    assert extcall token.transferFrom(msg.sender, vault, assets, default_return_value=True)  # dev: not paid
    return extcall ILendingVault(vault).repay(assets, shares_held)


@external
def book_repayment(vault: address, assets: uint256, shares_held: uint256) -> uint256:
    """
    @notice Claims a repayment without making it.
    """
    return extcall ILendingVault(vault).repay(assets, shares_held)


@external
def hold_exits(vault: address, until: uint256):
    """
    @notice What only a liquidator may do.
    """
    extcall ILendingVault(vault).hold_exits(until)


interface IVault:
    def asset() -> address: view
