# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Lending Book
@license MIT
@author  Ballast contributors
@notice  What the lending vault has booked: shares, the idle balance and how fast it may fall, loans and reserves, all
         with the interest of the time since.
@dev     The words are those of `lending_state` and `outflows`. An action accrues, goes on from the totals that it gets
         and stores them; a view gets the same totals and stores nothing.
@custom:invariant I05 I07 I08
"""

from contracts.interfaces import ILendingVault
from contracts.modules import fixed_point
from contracts.modules import kinked_rate
from contracts.modules import lending_state
from contracts.modules import lending_terms
from contracts.modules import outflows
from ethereum.ercs import IERC20

uses: lending_terms

# Turns the stored index into the published one.
WAD_TO_RAY: constant(uint256) = 10**9


# What every action begins with.
struct Totals:
    supply: uint256
    idle: uint256
    total: uint256  # assets, what belongs to the shares


ASSET: immutable(IERC20)

# supply, idle, accrued_at: see `lending_state`. I03 I05
_pool: uint256
# debt_shares, index_wad, reserves. I04 I07 I08
_loans: uint256
# How fast the idle balance may fall; see `outflows`. 0 as long as no limit was set.
_outflow: uint256


@deploy
def __init__(asset: address):
    ASSET = IERC20(asset)
    self._store_pool(0, 0)
    self._loans = lending_state._pack_loans(0, fixed_point.WAD, 0)


################################################################
#                           Interest                           #
################################################################


@internal
def _accrue() -> Totals:
    """
    @notice Adds the interest up to now and stores index and reserves.
    @dev    Warning: whoever calls this MUST end with `_store_pool`, which stores the time and the rest.
    """
    pool: uint256 = self._pool
    loans: uint256 = self._loans
    now_s: uint256 = min(block.timestamp, lending_state.MAX_TIME_S)
    index_wad: uint256 = 0
    reserves: uint256 = 0
    debt: uint256 = 0
    index_wad, reserves, debt = self._with_interest(pool, loans, now_s)
    if index_wad != (loans >> 96) & lending_state.MASK_76:
        self._loans = (loans & lending_state.MASK_96) | (index_wad << 96) | (reserves << 172)
        log ILendingVault.Accrued(index_ray=index_wad * WAD_TO_RAY, reserves=reserves)
    idle: uint256 = (pool >> 128) & lending_state.MASK_96
    return Totals(
        supply=pool & lending_state.MASK_128,
        idle=idle,
        total=lending_state._total_assets_down(idle, debt, reserves),
    )


@internal
def _accrue_only():
    at: Totals = self._accrue()
    self._store_pool(at.supply, at.idle)


@internal
@view
def _with_interest(pool: uint256, loans: uint256, now_s: uint256) -> (uint256, uint256, uint256):
    """
    @notice The index, the reserves and the debt with interest up to now, at the rate of the use that the words show.
    """
    debt_shares: uint256 = loans & lending_state.MASK_96
    index_wad: uint256 = (loans >> 96) & lending_state.MASK_76
    elapsed_s: uint256 = now_s - (pool >> 224)
    if elapsed_s == 0 or debt_shares == 0:
        return index_wad, loans >> 172, lending_state._debt_down(debt_shares, index_wad)
    return lending_state._grown(
        debt_shares,
        index_wad,
        loans >> 172,
        (pool >> 128) & lending_state.MASK_96,
        elapsed_s,
        lending_terms._terms,
    )


################################################################
#                       As it stands now                       #
################################################################


@internal
@view
def _totals() -> Totals:
    """@notice What `_accrue` would return."""
    state: ILendingVault.LendingState = self._state()
    debt: uint256 = lending_state._debt_down(state.debt_shares, state.index_wad)
    return Totals(
        supply=state.supply,
        idle=state.idle,
        total=lending_state._total_assets_down(state.idle, debt, state.reserves),
    )


@internal
@view
def _state() -> ILendingVault.LendingState:
    pool: uint256 = self._pool
    loans: uint256 = self._loans
    now_s: uint256 = min(block.timestamp, lending_state.MAX_TIME_S)
    index_wad: uint256 = 0
    reserves: uint256 = 0
    debt: uint256 = 0
    index_wad, reserves, debt = self._with_interest(pool, loans, now_s)
    return ILendingVault.LendingState(
        supply=lending_state._supply(pool),
        idle=lending_state._idle(pool),
        accrued_at=now_s,
        debt_shares=lending_state._debt_shares(loans),
        index_wad=index_wad,
        reserves=reserves,
    )


@internal
@view
def _index_now_wad() -> uint256:
    index_wad: uint256 = 0
    reserves: uint256 = 0
    debt: uint256 = 0
    index_wad, reserves, debt = self._with_interest(
        self._pool, self._loans, min(block.timestamp, lending_state.MAX_TIME_S)
    )
    return index_wad


@internal
@view
def _utilisation_wad_up() -> uint256:
    state: ILendingVault.LendingState = self._state()
    return kinked_rate._utilisation_wad_up(lending_state._debt_down(state.debt_shares, state.index_wad), state.idle)


@internal
@view
def _rate_ray_up() -> uint256:
    """@notice The rate of a second from now on, times 1e27."""
    terms: lending_state.Terms = lending_terms._unpacked()
    return kinked_rate._rate_ray_up(
        self._utilisation_wad_up(),
        terms.rate.base_bps,
        terms.rate.slope_low_bps,
        terms.rate.slope_high_bps,
        terms.rate.kink_bps,
    )


################################################################
#                       What is written                        #
################################################################


@internal
def _store_pool(supply: uint256, idle: uint256):
    """
    @dev Only after `_accrue`: the word carries the time of the accrual. Seconds are held at the last one that 32 bits
         count (2106): interest stops there and nothing else does.
    """
    self._pool = lending_state._pack_pool(supply, idle, min(block.timestamp, lending_state.MAX_TIME_S))


@internal
def _count_out(assets: uint256, idle: uint256, total: uint256):
    """@notice Lets an exit or a loan pass or not, before the idle balance falls."""
    word: uint256 = self._outflow
    if outflows._is_off(word):
        return
    level: uint256 = outflows._level_up(word, idle)
    outflows._require_left(assets, idle - assets, outflows._least(word, level, total))
    self._outflow = outflows._counted(word, level, idle - assets)


@internal
def _set_outflow_limit(limit_bps: uint256, floor_log2: uint256):
    self._outflow = outflows._set(self._outflow, lending_state._idle(self._pool), limit_bps, floor_log2)
    log ILendingVault.OutflowLimitUpdated(limit_bps=limit_bps, floor_log2=floor_log2)


@internal
def _take_reserves() -> uint256:
    """@notice Takes the reserves out of the books, as far as the idle balance reaches."""
    at: Totals = self._accrue()
    loans: uint256 = self._loans
    reserves: uint256 = lending_state._reserves(loans)
    assets: uint256 = min(reserves, at.idle)
    self._store_pool(at.supply, at.idle - assets)
    self._loans = lending_state._pack_loans(
        lending_state._debt_shares(loans), lending_state._index_wad(loans), reserves - assets
    )
    return assets
