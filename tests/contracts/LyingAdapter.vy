# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Lying Adapter
@license MIT
@author  Ballast contributors
@notice  A swap adapter that pays what it was told beforehand and reports whatever was asked of it.
"""

from ethereum.ercs import IERC20

from contracts.interfaces import ISwapAdapter
implements: ISwapAdapter


QUOTE: immutable(address)

payment: public(uint256)


@deploy
def __init__(quote: address):
    QUOTE = quote


@external
def set_payment(payment: uint256):
    """
    @notice Token units that the next swaps pay.
    """
    self.payment = payment


@external
def swap(token_in: address, token_out: address, amount_in: uint256, min_out: uint256, receiver: address) -> uint256:
    """
    @notice Keeps what came, pays `payment` of the quote token, says `min_out`.
    """
    extcall IERC20(QUOTE).transfer(receiver, self.payment, default_return_value=True)
    return min_out


@external
@view
def cost_ppm(token_in: address, token_out: address) -> uint256:
    """
    @notice Free, it says.
    """
    return 0
