# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Attempts
@license MIT
@author  Ballast contributors
@notice  One try to have an account rebalanced, which ends in a code and never in a revert.
@dev     Both calls may end in somebody's hook: they are captured, their answers are cut, and each gets the whole of a
         fixed amount of gas or is not made at all. So no account can take another's turn with it, and no caller can make
         an account look quiet or broken by the gas he sends (T24).
"""

from contracts.interfaces import IKeepers
from contracts.interfaces import IMandates

# What came of it; documented in `IKeepers`.
REBALANCED: constant(uint256) = 0
NOT_TRIGGERED: constant(uint256) = 1
FAILED: constant(uint256) = 2
NO_GAS: constant(uint256) = 3

IS_TRIGGERED: constant(Bytes[4]) = method_id("is_triggered(uint256)")
REBALANCE_FOR: constant(Bytes[4]) = method_id("rebalance_for(uint256,uint256)")
# Sixteen assets with perpetuals and feeds of 30,000 gas a reading.
TRIGGER_GAS: constant(uint256) = 1_000_000
# A hook's 6,000,000, which `Mandates` passes on whole, and the reading and judging around it.
MANDATE_GAS: constant(uint256) = 7_200_000
# For whoever asked, to book and to close after the call.
RESERVED_GAS: constant(uint256) = 150_000


@internal
def _attempt(mandates: address, account: uint256, payee: uint256) -> uint256:
    """@dev One of the codes above."""
    if not self._has_gas(TRIGGER_GAS):
        return NO_GAS
    if not self._is_triggered(mandates, account):
        return NOT_TRIGGERED
    if not self._has_gas(MANDATE_GAS):
        return NO_GAS
    success: bool = False
    response: Bytes[100] = b""
    success, response = raw_call(
        mandates,
        abi_encode(account, payee, method_id=REBALANCE_FOR),
        max_outsize=100,
        gas=MANDATE_GAS,
        revert_on_failure=False,
    )
    if success:
        return REBALANCED
    log IKeepers.RebalanceFailed(account=account, reason=response)
    return FAILED


@internal
@view
def _is_triggered(mandates: address, account: uint256) -> bool:
    """@dev Without a hook, or with one that does not answer with a word, it is not."""
    hook: address = staticcall IMandates(mandates).hook_of(account)
    if hook == empty(address):
        return False
    success: bool = False
    response: Bytes[32] = b""
    success, response = raw_call(
        hook,
        abi_encode(account, method_id=IS_TRIGGERED),
        max_outsize=32,
        gas=TRIGGER_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    return success and len(response) == 32 and convert(response, uint256) == 1


@internal
@view
def _has_gas(needed: uint256) -> bool:
    """@dev A call passes on at most 63/64 of what is left."""
    return msg.gas * 63 // 64 > needed + RESERVED_GAS
