# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Operators
@license MIT
@author  Ballast contributors
@notice  Who may act for an account: its owner, and operators with a permission mask that expires.
@dev     One sub-account at a time, never the power to appoint, withdrawals only to the owner. Revocable in one
         transaction at any moment. Grants are kept by the mandates contract; the ledger asks there when somebody
         else than the owner acts.
@custom:invariant I25
"""

from contracts.interfaces import IMandates
from contracts.modules import packing
from contracts.modules import reasons

MAY_DEPOSIT: constant(uint256) = 1
MAY_WITHDRAW: constant(uint256) = 2
MAY_TRANSFER: constant(uint256) = 4
MAY_SWAP: constant(uint256) = 8
MAY_TRADE: constant(uint256) = 16
MAY_LIQUIDATE: constant(uint256) = 32
ALL_PERMISSIONS: constant(uint256) = 63

# account -> operator -> permissions u8 | expires_at << 8
_grants: HashMap[uint256, HashMap[address, uint256]]


@internal
def _set_operator(account: uint256, operator: address, permissions: uint256, expires_at: uint256):
    self._require_owner(account)
    self._require_grant(permissions, expires_at)
    grant: uint256 = 0
    if permissions != 0:
        grant = permissions | (expires_at << 8)
    self._grants[account][operator] = grant
    log IMandates.OperatorChanged(
        account=account, operator=operator, permissions=permissions, expires_at=expires_at
    )


@internal
@view
def _permissions_of(account: uint256, operator: address) -> uint256:
    grant: uint256 = self._grants[account][operator]
    if (grant >> 8) <= block.timestamp:
        return 0
    return grant & ALL_PERMISSIONS


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_permission(keeper_of_grants: address, actor: address, account: uint256, permission: uint256):
    """@dev For the ledger: an owner needs no grant and no call."""
    if actor == packing._owner(account):
        return
    if staticcall IMandates(keeper_of_grants).permissions_of(account, actor) & permission == 0:
        reasons._fail("operators: not permitted")


@internal
@view
def _require_owner(account: uint256):
    if msg.sender != packing._owner(account):
        reasons._fail("operators: only the owner")


@internal
@view
def _require_grant(permissions: uint256, expires_at: uint256):
    if permissions == 0:
        return
    if permissions > ALL_PERMISSIONS or expires_at <= block.timestamp or expires_at >= 2**40:
        reasons._fail("operators: bad grant")
