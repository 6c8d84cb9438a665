# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Executions
@license MIT
@author  Ballast contributors
@notice  How the steps of a plan are taken: each on its own, in part where the whole is refused.
@dev     Every step is a captured call, so that one venue, donor, market or wallet that fails cannot keep the others from
         helping.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IRebalancer
from contracts.modules import hook_rooms
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import policy_books
from contracts.modules import steps

uses: hook_rooms
uses: policy_books

# A refused sale or trade is tried at half and at a quarter of its size.
MAX_HALVINGS: constant(uint256) = 2
STEP_GAS: constant(uint256) = 800_000
# What an unwinding may use beyond a sale.
TRADE_GAS: constant(uint256) = 400_000
# To record and to return.
RESERVED_GAS: constant(uint256) = 400_000

SWAP: constant(Bytes[4]) = method_id("swap(address,uint256,uint256,uint256,uint256)")
PULL: constant(Bytes[4]) = method_id("pull(uint256)")
MOVE: constant(Bytes[4]) = method_id("move(uint256,uint256,uint256)")
TRADE: constant(Bytes[4]) = method_id("trade(uint256,int256)")
SETTLE: constant(Bytes[4]) = method_id("settle(uint256)")
UNWIND: constant(Bytes[4]) = method_id("unwind(address,uint256,uint256,uint256)")


@internal
def _execute(
    account: uint256, planned: DynArray[IRebalancer.Step, steps.MAX_STEPS], refused_: uint256[steps.KINDS]
) -> (uint256[steps.KINDS], uint256, uint256):
    """
    @dev Returns what was refused so far, how many steps were taken, whole or in part, and how many were not taken as
         planned. A sale or trade that is too large is tried at half and at a quarter of its size; what is left of it is
         another step's or the next call's.
    """
    refused: uint256[steps.KINDS] = refused_
    taken: uint256 = 0
    failed: uint256 = 0
    for step: IRebalancer.Step in planned:
        amount: uint256 = step.amount
        is_taken: bool = self._take(account, step, amount)
        if not is_taken and step.kind >= steps.SELL and step.kind != steps.SETTLE:
            for halving: uint256 in range(MAX_HALVINGS):
                amount = self._part(step, halving + 1)
                is_taken = amount != 0 and self._take(account, step, amount)
                if is_taken:
                    break
        if is_taken:
            taken += 1
            log IRebalancer.StepTaken(
                account=account,
                kind=step.kind,
                source=step.source,
                asset=step.asset,
                amount=amount,
                value=step.value * amount // step.amount,
                expected_cost=step.cost * amount // step.amount,
            )
        if is_taken and amount == step.amount:
            continue
        failed += 1
        log IRebalancer.StepRefused(
            account=account, kind=step.kind, source=step.source, asset=step.asset, amount=step.amount
        )
        refused = steps._with_refused(refused, step.kind, step.source, step.asset)
    return refused, taken, failed


@internal
def _take(account: uint256, step: IRebalancer.Step, amount: uint256) -> bool:
    """@dev Without gas for any step left in hand none is tried: what helped so far must not be undone."""
    room: address = hook_rooms.MANDATES
    gas_needed: uint256 = STEP_GAS
    data: Bytes[164] = b""
    if step.kind == steps.SELL:
        data = abi_encode(
            policy_books._adapters[account],
            step.asset,
            steps.QUOTE_ASSET,
            amount,
            empty(uint256),
            method_id=SWAP,
        )
    elif step.kind == steps.PULL_CASH:
        data = abi_encode(amount, method_id=PULL)
    elif step.kind == steps.SETTLE:
        data = abi_encode(step.asset, method_id=SETTLE)
    elif step.kind == steps.UNWIND:
        room = self
        gas_needed += TRADE_GAS
        data = abi_encode(
            policy_books._adapters[account],
            step.asset,
            amount,
            amount // self._unit_wad(step.asset),
            method_id=UNWIND,
        )
    elif step.kind == steps.SWAP or step.kind == steps.BUY:
        data = abi_encode(
            policy_books._adapters[account],
            step.asset,
            step.bought,
            amount,
            empty(uint256),
            method_id=SWAP,
        )
    elif self._is_trade(step.kind):
        change: int256 = convert(amount, int256)
        is_long: bool = self._is_long(account, step.asset)
        is_bought: bool = step.kind == steps.UNHEDGE or (step.kind == steps.TRIM and not is_long) or (
            step.kind == steps.LEVER and is_long
        )
        if not is_bought:
            change = -change
        data = abi_encode(step.asset, change, method_id=TRADE)
    else:
        data = abi_encode(step.source, step.asset, amount, method_id=MOVE)
    if msg.gas * 63 // 64 <= gas_needed + RESERVED_GAS:
        return False
    success: bool = raw_call(room, data, gas=gas_needed, revert_on_failure=False)
    return success


@internal
@pure
def _is_trade(kind: uint256) -> bool:
    return kind == steps.TRIM or kind == steps.HEDGE or kind == steps.UNHEDGE or kind == steps.LEVER


@internal
@view
def _part(step: IRebalancer.Step, halvings: uint256) -> uint256:
    """@dev A half or a quarter of a step, in whole lots of what trades."""
    amount: uint256 = step.amount >> halvings
    if not (self._is_trade(step.kind) or step.kind == steps.UNWIND):
        return amount
    return amount - amount % max(self._unit_wad(step.asset), markets.SIZE_STEP)


@internal
@view
def _unit_wad(asset: uint256) -> uint256:
    return packing._unit_wad(staticcall IClearinghouse(hook_rooms.CLEARINGHOUSE).asset_word(asset))


@internal
@view
def _is_long(account: uint256, asset: uint256) -> bool:
    position: uint256 = staticcall IClearinghouse(hook_rooms.CLEARINGHOUSE).position_word(account, asset)
    return packing._size_wad(position) > 0
