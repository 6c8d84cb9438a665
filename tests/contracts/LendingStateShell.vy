# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Lending State Shell
@license MIT
@author  Ballast contributors
@notice  The packing of the lending vault, callable.
"""

from contracts.modules import lending_state


@external
@pure
def pool(supply: uint256, idle: uint256, accrued_at: uint256) -> (uint256, uint256, uint256):
    """
    @notice Packs and unpacks: supply, idle, time of the accrual.
    """
    word: uint256 = lending_state._pack_pool(supply, idle, accrued_at)
    return lending_state._supply(word), lending_state._idle(word), word >> 224


@external
@pure
def loans(debt_shares: uint256, index_wad: uint256, reserves: uint256) -> (uint256, uint256, uint256):
    """
    @notice Packs and unpacks: loan shares, index, reserves.
    """
    word: uint256 = lending_state._pack_loans(debt_shares, index_wad, reserves)
    return (
        lending_state._debt_shares(word), lending_state._index_wad(word), lending_state._reserves(word)
    )


@external
@pure
def total_assets_down(idle: uint256, debt: uint256, reserves: uint256) -> uint256:
    """
    @notice See `lending_state`.
    """
    return lending_state._total_assets_down(idle, debt, reserves)
