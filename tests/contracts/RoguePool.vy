# pragma version 0.4.3
# pragma nonreentrancy off
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Rogue Pool
@license MIT
@author  Ballast contributors
@notice  A swap pool that asks for what it is told to, as often as it is told to, and pays nothing. It is its own factory,
         and every pair has it for a pool.
"""

from contracts.interfaces import ISwapAdapter
from contracts.interfaces import IUniswapV3Adapter
from contracts.interfaces import IUniswapV3Pool

implements: IUniswapV3Pool

interface Accomplice:
    def ask(adapter: address, asked: int256): nonpayable

asked_bps: public(uint256)
payments: public(uint256)
# Through which the pool has another contract ask, if through any.
accomplice: public(address)
# Whether it asks for another swap first.
is_greedy: public(bool)


@external
def set_habits(asked_bps: uint256, payments: uint256, accomplice: address, is_greedy: bool):
    """
    @notice Basis points of the input that are asked for, how often, by whom, and whether a swap is asked for first.
    """
    self.asked_bps = asked_bps
    self.payments = payments
    self.accomplice = accomplice
    self.is_greedy = is_greedy


@external
def swap(
    recipient: address,
    zero_for_one: bool,
    amount_specified: int256,
    sqrt_price_limit_x96: uint160,
    data: Bytes[32],
) -> (int256, int256):
    """
    @notice Asks for money and says that it paid.
    """
    asked: int256 = amount_specified * convert(self.asked_bps, int256) // 10_000
    for i: uint256 in range(self.payments, bound=3):
        if self.is_greedy:
            extcall ISwapAdapter(msg.sender).swap(self, msg.sender, 1, 0, self)
        if self.accomplice != empty(address):
            extcall Accomplice(self.accomplice).ask(msg.sender, asked)
        else:
            extcall IUniswapV3Adapter(msg.sender).uniswapV3SwapCallback(asked, -asked, data)
    return asked, -asked


@external
def ask(adapter: address, asked: int256):
    """
    @notice Asks an adapter for money.
    """
    extcall IUniswapV3Adapter(adapter).uniswapV3SwapCallback(asked, -asked, b"")


@external
def sell(adapter: address, token_in: address, token_out: address, amount: uint256):
    """
    @notice Has an adapter that takes this contract for its exchange sell something here.
    """
    extcall ISwapAdapter(adapter).swap(token_in, token_out, amount, 0, self)


@external
@view
def getPool(token_a: address, token_b: address, fee: uint24) -> address:
    """
    @notice This contract, for every pair.
    """
    return self
