# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Lazy Router
@license MIT
@author  Ballast contributors
@notice  A swap router that takes a part of its allowance, gives a part of it back and pays nothing. It is its own
         factory, and every pair has a pool.
"""

from ethereum.ercs import IERC20

from contracts.interfaces import ISwapRouter
implements: ISwapRouter

taken_bps: public(uint256)
returned_bps: public(uint256)


@external
def set_habits(taken_bps: uint256, returned_bps: uint256):
    """
    @notice Basis points of the input that are pulled, and of it that are given back.
    """
    self.taken_bps = taken_bps
    self.returned_bps = returned_bps


@external
@payable
def exactInputSingle(params: ISwapRouter.ExactInputSingleParams) -> uint256:
    """
    @notice Takes and returns as set.
    """
    token: IERC20 = IERC20(params.token_in)
    taken: uint256 = params.amount_in * self.taken_bps // 10_000
    returned: uint256 = params.amount_in * self.returned_bps // 10_000
    assert extcall token.transferFrom(msg.sender, self, taken)
    assert extcall token.transfer(msg.sender, returned)
    return params.amount_out_minimum


@external
@view
def factory() -> address:
    """
    @notice This contract.
    """
    return self


@external
@view
def getPool(token_a: address, token_b: address, fee: uint24) -> address:
    """
    @notice This contract, for every pair.
    """
    return self
