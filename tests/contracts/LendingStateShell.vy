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

from contracts.interfaces import ILendingVault
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
def terms(
    deposit_cap: uint256,
    rate: ILendingVault.RateParameters,
    reserve_factor_bps: uint256,
    exits_held_until: uint256,
    min_debt: uint256,
    later: uint256,
) -> (lending_state.Terms, lending_state.Terms):
    """
    @notice Packs and unpacks the terms: as given, and with the hold of exits set to `later` in the packed word.
    """
    word: uint256 = lending_state._pack_terms(
        lending_state.Terms(
            deposit_cap=deposit_cap,
            reserve_factor_bps=reserve_factor_bps,
            exits_held_until=exits_held_until,
            min_debt=min_debt,
            rate=rate,
        )
    )
    held: uint256 = lending_state._with_exits_held(word, later)
    return lending_state._unpack_terms(word), lending_state._unpack_terms(held)


@external
@pure
def total_assets_down(idle: uint256, debt: uint256, reserves: uint256) -> uint256:
    """
    @notice See `lending_state`.
    """
    return lending_state._total_assets_down(idle, debt, reserves)
