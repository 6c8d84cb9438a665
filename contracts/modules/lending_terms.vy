# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Lending Terms
@license MIT
@author  Ballast contributors
@notice  What the owner of the lending vault has set, within bounds that nobody can move; and until when the liquidator
         holds exits.
@dev     One word, see `lending_state`. Whoever changes the rate or the reserve factor has the interest booked first.
"""

from contracts.interfaces import ILendingVault
from contracts.modules import fixed_point
from contracts.modules import lending_state

# The highest rate of a year that can be set: base and both slopes together.
MAX_RATE_BPS: constant(uint256) = 100_000
MAX_RESERVE_FACTOR_BPS: constant(uint256) = 5_000
# Half of what an idle balance may hold, so that reserves and repaid interest always fit above a full vault.
MAX_DEPOSIT_CAP: constant(uint256) = 2**95
# The largest least debt that can be set, whole tokens.
MAX_MIN_DEBT: constant(uint256) = 100_000
# Time to realise a loss that is known. If nobody does, exits open again by themselves.
MAX_HOLD_S: constant(uint256) = 3_600

# Asset units of a whole token.
WHOLE: immutable(uint256)

# deposit cap, rate, reserve factor, least debt; until when exits are held. I35
_terms: uint256


@deploy
def __init__(decimals: uint8, terms: lending_state.Terms):
    WHOLE = 10 ** convert(decimals, uint256)
    self._set(terms)
    log ILendingVault.RateUpdated(old=empty(ILendingVault.RateParameters), new=terms.rate)
    log ILendingVault.ReserveFactorUpdated(old_bps=0, new_bps=terms.reserve_factor_bps)
    log ILendingVault.DepositCapUpdated(old=0, new=terms.deposit_cap)
    log ILendingVault.MinDebtUpdated(old=0, new=terms.min_debt)


@internal
@view
def _unpacked() -> lending_state.Terms:
    return lending_state._unpack_terms(self._terms)


@internal
def _set(terms: lending_state.Terms):
    self._require_rate(terms.rate)
    self._require_reserve_factor(terms.reserve_factor_bps)
    self._require_deposit_cap(terms.deposit_cap)
    self._require_min_debt_in_range(terms.min_debt)
    self._terms = lending_state._pack_terms(terms)


@internal
def _set_rate(rate: ILendingVault.RateParameters):
    terms: lending_state.Terms = self._unpacked()
    old: ILendingVault.RateParameters = terms.rate
    terms.rate = rate
    self._set(terms)
    log ILendingVault.RateUpdated(old=old, new=rate)


@internal
def _set_reserve_factor(reserve_factor_bps: uint256):
    terms: lending_state.Terms = self._unpacked()
    old_bps: uint256 = terms.reserve_factor_bps
    terms.reserve_factor_bps = reserve_factor_bps
    self._set(terms)
    log ILendingVault.ReserveFactorUpdated(old_bps=old_bps, new_bps=reserve_factor_bps)


@internal
def _set_deposit_cap(deposit_cap: uint256):
    terms: lending_state.Terms = self._unpacked()
    old: uint256 = terms.deposit_cap
    terms.deposit_cap = deposit_cap
    self._set(terms)
    log ILendingVault.DepositCapUpdated(old=old, new=deposit_cap)


@internal
def _set_min_debt(min_debt: uint256):
    terms: lending_state.Terms = self._unpacked()
    old: uint256 = terms.min_debt
    terms.min_debt = min_debt
    self._set(terms)
    log ILendingVault.MinDebtUpdated(old=old, new=min_debt)


@internal
def _hold_exits(until: uint256):
    self._require_short_hold(until)
    self._terms = lending_state._with_exits_held(self._terms, until)
    log ILendingVault.ExitsHeld(until=until)


@internal
@view
def _are_exits_open() -> bool:
    return block.timestamp >= lending_state._exits_held_until(self._terms)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_exits_open():
    # The field is cut out by hand, as in `lending_book`: this is on the way of every exit.
    assert block.timestamp >= (self._terms >> 188) & lending_state.MASK_40, "vault: exits wait for a loss"


@internal
@view
def _check_deposit_cap(total: uint256):
    assert total <= self._terms & lending_state.MASK_96, "vault: deposit cap"


@internal
@view
def _require_min_debt(debt: uint256):
    assert debt >= lending_state._min_debt(self._terms) * WHOLE, "vault: debt below minimum"


@internal
@view
def _require_short_hold(until: uint256):
    assert until <= block.timestamp + MAX_HOLD_S, "vault: exits held too long"


@internal
@pure
def _require_rate(rate: ILendingVault.RateParameters):
    assert rate.kink_bps != 0 and rate.kink_bps < fixed_point.BPS, "vault: bad kink"
    self._require_bounded_rate(rate)


@internal
@pure
def _require_bounded_rate(rate: ILendingVault.RateParameters):
    # Each alone first, so that their sum cannot overflow into a revert without a reason.
    largest: uint256 = max(rate.base_bps, max(rate.slope_low_bps, rate.slope_high_bps))
    assert (
        largest <= MAX_RATE_BPS and rate.base_bps + rate.slope_low_bps + rate.slope_high_bps <= MAX_RATE_BPS
    ), "vault: rate too high"


@internal
@pure
def _require_reserve_factor(reserve_factor_bps: uint256):
    assert reserve_factor_bps <= MAX_RESERVE_FACTOR_BPS, "vault: reserve factor too high"


@internal
@pure
def _require_deposit_cap(deposit_cap: uint256):
    assert deposit_cap <= MAX_DEPOSIT_CAP, "vault: deposit cap too high"


@internal
@pure
def _require_min_debt_in_range(min_debt: uint256):
    assert min_debt <= MAX_MIN_DEBT, "vault: least debt too high"
