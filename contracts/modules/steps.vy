# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Steps
@license MIT
@author  Ballast contributors
@notice  The kinds of steps that a rebalance is made of, and what was refused in this very call.
@dev     `refused[kind]` is a set of bits: the assets that a kind was refused for, or, for what siblings give, their
         sub-account numbers. Cash and collateral of one sibling are refused together.
"""

from contracts.interfaces import IRebalancer

MAX_STEPS: constant(uint256) = 8
QUOTE_ASSET: constant(uint256) = 0

MOVE_CASH: constant(uint256) = 1
PULL_CASH: constant(uint256) = 2
MOVE_COLLATERAL: constant(uint256) = 3
SELL: constant(uint256) = 4
SETTLE: constant(uint256) = 5
TRIM: constant(uint256) = 6
HEDGE: constant(uint256) = 7
UNWIND: constant(uint256) = 8
SWAP: constant(uint256) = 9
BUY: constant(uint256) = 10
UNHEDGE: constant(uint256) = 11
LEVER: constant(uint256) = 12
KINDS: constant(uint256) = 13  # places in an array that is indexed by kind


@internal
@pure
def _settled(planned: DynArray[IRebalancer.Step, MAX_STEPS], asset: uint256) -> uint256:
    """@dev What steps pay out of an asset's gain, WAD of the quote token."""
    for step: IRebalancer.Step in planned:
        if step.kind == SETTLE and step.asset == asset:
            return step.value
    return 0


@internal
@pure
def _is_refused(refused: uint256[KINDS], kind: uint256, key: uint256) -> bool:
    return refused[self._counted_as(kind)] & (1 << key) != 0


@internal
@pure
def _with_refused(refused_: uint256[KINDS], kind: uint256, source: uint256, asset: uint256) -> uint256[KINDS]:
    """@dev One more refusal."""
    refused: uint256[KINDS] = refused_
    counted: uint256 = self._counted_as(kind)
    key: uint256 = asset
    if counted == MOVE_CASH:
        key = source & 255
    refused[counted] = refused[counted] | (1 << key)
    return refused


@internal
@pure
def _counted_as(kind: uint256) -> uint256:
    if kind == MOVE_COLLATERAL:
        return MOVE_CASH
    return kind
