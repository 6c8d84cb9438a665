# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Loans
@license MIT
@author  Ballast contributors
@notice  How a debt to the lending vault begins, shrinks and is given up.
@dev     A debt is a number of loan shares, worth the index each. Who owes them is the ledger's affair.
@custom:invariant I04
"""

from contracts.interfaces import ILendingVault
from contracts.modules import fixed_point
from contracts.modules import lending_book
from contracts.modules import lending_state
from contracts.modules import lending_terms
from contracts.modules import outflows
from snekmate.utils import math

uses: lending_book
uses: lending_terms

# Lending stops at this use, so that fees, trims and liquidations always find liquidity (A14).
MAX_USE_BPS: constant(uint256) = 9_200
# In place of a debtor's loan shares: nobody chose this loan, it may leave a debt of any size.
FORCED: constant(uint256) = max_value(uint256)


@internal
def _lend(assets: uint256, shares_held: uint256) -> uint256:
    """@notice Books a loan to somebody who owes `shares_held`; returns the loan shares that it made."""
    at: lending_book.Totals = lending_book._accrue()
    word: uint256 = lending_book._loans
    debt_shares: uint256 = lending_state._debt_shares(word)
    index_wad: uint256 = lending_state._index_wad(word)
    self._require_loan(assets, self._max_loan(at.idle, debt_shares, index_wad))
    shares: uint256 = fixed_point._mul_div_up(assets, fixed_point.WAD, index_wad)
    if shares_held != FORCED:
        lending_terms._require_min_debt(self._owed_up(shares_held + shares, index_wad))
    lending_book._count_out(assets, at.idle, at.total)
    lending_book._store_pool(at.supply, at.idle - assets)
    lending_book._loans = lending_state._pack_loans(
        debt_shares + shares, index_wad, lending_state._reserves(word)
    )
    return shares


@internal
def _repay(assets: uint256, shares_held: uint256) -> uint256:
    """
    @notice Books a repayment that has already arrived; returns the loan shares that it burnt.
    @dev    Burning rounds down except when the debtor is clear, so that no wei of debt is ever forgiven.
    """
    at: lending_book.Totals = lending_book._accrue()
    word: uint256 = lending_book._loans
    debt_shares: uint256 = lending_state._debt_shares(word)
    index_wad: uint256 = lending_state._index_wad(word)
    self._require_loan_shares(shares_held, debt_shares)
    owed: uint256 = self._owed_up(shares_held, index_wad)
    self._require_not_overpaid(assets, owed)
    shares: uint256 = shares_held
    if assets != owed:
        shares = assets * fixed_point.WAD // index_wad
    self._require_arrived(at.idle + assets)
    lending_book._store_pool(at.supply, at.idle + assets)
    lending_book._loans = lending_state._pack_loans(
        debt_shares - shares, index_wad, lending_state._reserves(word)
    )
    return shares


@internal
def _write_off(shares: uint256) -> uint256:
    """
    @notice Removes loan shares that nobody will pay for; returns what they were worth.
    @dev    Reserves above idle and what is left of the debt would be a claim on nothing, for the next deposit or interest
            to pay: they are given up, so that lenders begin again at zero and not below it.
    """
    at: lending_book.Totals = lending_book._accrue()
    word: uint256 = lending_book._loans
    debt_shares: uint256 = lending_state._debt_shares(word)
    index_wad: uint256 = lending_state._index_wad(word)
    self._require_loan_shares(shares, debt_shares)
    left: uint256 = lending_state._debt_down(debt_shares - shares, index_wad)
    assets: uint256 = lending_state._debt_down(debt_shares, index_wad) - left
    reserves: uint256 = lending_state._reserves(word)
    kept: uint256 = min(reserves, at.idle + left)
    lending_book._store_pool(at.supply, at.idle)
    lending_book._loans = lending_state._pack_loans(debt_shares - shares, index_wad, kept)
    log ILendingVault.BadDebtRealised(shares=shares, assets=assets, debt_shares=debt_shares - shares)
    if kept != reserves:
        log ILendingVault.ReservesGivenUp(assets=reserves - kept)
    return assets


@internal
@view
def _max_loan_now() -> uint256:
    """@notice The most that `_lend` accepts now."""
    state: ILendingVault.LendingState = lending_book._state()
    debt: uint256 = lending_state._debt_down(state.debt_shares, state.index_wad)
    total: uint256 = lending_state._total_assets_down(state.idle, debt, state.reserves)
    most: uint256 = self._max_loan(state.idle, state.debt_shares, state.index_wad)
    return min(most, outflows._open(lending_book._outflow, state.idle, total))


@internal
@pure
def _max_loan(idle: uint256, debt_shares: uint256, index_wad: uint256) -> uint256:
    """
    @notice What may be lent before debt passes MAX_USE_BPS of idle + debt. It is below idle, because that share is below
            one.
    """
    debt: uint256 = self._owed_up(debt_shares, index_wad)
    largest_debt: uint256 = (idle + debt) * MAX_USE_BPS // fixed_point.BPS
    if largest_debt <= debt:
        return 0
    return largest_debt - debt


@internal
@pure
def _owed_up(debt_shares: uint256, index_wad: uint256) -> uint256:
    """@dev A word holds the product of what the vault keeps; what it is only asked for may be larger."""
    if (debt_shares | index_wad) >> 128 == 0:
        return fixed_point._mul_div_up(debt_shares, index_wad, fixed_point.WAD)
    return math._mul_div(debt_shares, index_wad, fixed_point.WAD, True)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _require_arrived(idle: uint256):
    assert staticcall lending_book.ASSET.balanceOf(self) >= idle, "vault: repayment missing"


@internal
@pure
def _require_loan(assets: uint256, largest: uint256):
    assert assets <= largest, "vault: loan too large"


@internal
@pure
def _require_loan_shares(shares_held: uint256, debt_shares: uint256):
    assert shares_held <= debt_shares, "vault: unknown loan shares"


@internal
@pure
def _require_not_overpaid(assets: uint256, owed: uint256):
    assert assets <= owed, "vault: more than is owed"
