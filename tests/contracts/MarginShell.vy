# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Margin Shell
@license MIT
@author  Ballast contributors
@notice  Opens the margin equation to tests, with every part that an account of the ledger may have.
"""

from contracts.modules import margin


@external
@pure
def terms(
    position: uint256, cost_wad: int256, funding_wad: int256, price_wad: uint256, risk_word: uint256
) -> (int256, uint256, int256, uint256):
    """
    @notice Equity and requirement of one position, at initial and at maintenance margin.
    """
    answer: margin.Terms = margin._terms(position, cost_wad, funding_wad, price_wad, risk_word)
    return answer.equity_init, answer.required_init, answer.equity_maint, answer.required_maint


@external
@pure
def collateral_excess_init(position: uint256, price_wad: uint256, risk_word: uint256) -> int256:
    """
    @notice The short way to initial equity less requirement of a position without a perpetual.
    """
    return margin._collateral_excess_init(position, price_wad, risk_word)


@external
@pure
def required_init(position: uint256, price_wad: uint256, risk_word: uint256) -> uint256:
    """
    @notice The short way to the requirement at initial margin.
    """
    return margin._required_init(position, price_wad, risk_word)
