# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Judgement
@license MIT
@author  Ballast contributors
@notice  What is remembered of the mandate under way, and the tests that it must pass when the hook is done: the
         protocol's, which nobody configures, and the owner's guard.
@dev     Everything is measured at the marks that the clearing house keeps from opening to closing. What a mandate
         brought into the account from siblings and wallet is counted out again, so that no loss hides behind it.
@custom:invariant I14 I15 I50
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandates
from contracts.modules import allocations
from contracts.modules import appointments
from contracts.modules import fixed_point
from contracts.modules import guards
from contracts.modules import margin
from contracts.modules import packing
from contracts.modules import reasons

uses: appointments

MAX_DONORS: constant(uint256) = 8
# A repayment rounds a debt up by a token unit and burns loan shares rounded down. So few units of each are no loss, and
# leave no account weaker.
ROUNDING_UNITS: constant(int256) = 2


# Excesses and equity of a donor before its first move, kept for the length of a mandate.
struct Donor:
    account: uint256
    excess_init: int256
    excess_maint: int256
    equity_maint: int256


CLEARINGHOUSE: public(immutable(address))
ORACLE: immutable(address)
# The quote token's unit in WAD.
UNIT_WAD: immutable(uint256)
# The account on the other side of every perpetual.
HOUSE: immutable(uint256)

_shortfall: transient(uint256)  # of the mandated account before the hook's call
_has_traded: transient(bool)
_wallet_inflow: transient(uint256)
_cash_steps: transient(uint256)  # steps in which cash was rounded to a token unit
_donors: transient(DynArray[Donor, MAX_DONORS])
# asset -> units brought in from siblings, reset with the mandate through the ids below
_inflow: transient(HashMap[uint256, uint256])
_inflow_assets: transient(DynArray[uint256, 16])


@deploy
def __init__(clearinghouse: address, oracle: address, unit_wad: uint256, house: uint256):
    CLEARINGHOUSE = clearinghouse
    ORACLE = oracle
    UNIT_WAD = unit_wad
    HOUSE = house


################################################################
#                      What is remembered                      #
################################################################


@internal
def _count_inflow(asset: uint256, amount_wad: uint256):
    """@dev Collateral from a sibling may make an exposure larger by itself, and no more."""
    if self._inflow[asset] == 0:
        self._inflow_assets.append(asset)
    self._inflow[asset] += amount_wad


@internal
def _count_pull(amount_wad: uint256):
    """@dev Never more than the shortfall, rounded up to a token unit."""
    pulled: uint256 = self._wallet_inflow + amount_wad
    self._require_within_shortfall(pulled, self._shortfall)
    self._wallet_inflow = pulled
    self._cash_steps += 1


@internal
def _remember(account: uint256):
    """@dev The donor as it was before its first move, at marks that stay."""
    for known: Donor in self._donors:
        if known.account == account:
            return
    extcall IClearinghouse(CLEARINGHOUSE).latch(account)
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity_init, required_init, equity_maint, required_maint = self._assess(account)
    self._require_few_donors(len(self._donors))
    self._donors.append(
        Donor(
            account=account,
            excess_init=equity_init - convert(required_init, int256),
            excess_maint=equity_maint - convert(required_maint, int256),
            equity_maint=equity_maint,
        )
    )


@internal
def _reset():
    """@dev Transient words outlive the call; the next mandate of this transaction must find none of them."""
    self._shortfall = 0
    self._has_traded = False
    self._wallet_inflow = 0
    self._cash_steps = 0
    self._donors = []
    for asset: uint256 in self._inflow_assets:
        self._inflow[asset] = 0
    self._inflow_assets = []


################################################################
#                          The tests                           #
################################################################


@internal
@view
def _rounding() -> int256:
    """@dev What steps with cash may take by rounding alone."""
    return ROUNDING_UNITS * convert(self._cash_steps * UNIT_WAD, int256)


@internal
@view
def _judge_account(
    guard_word: uint256,
    limits: uint256,
    weights: uint256,
    measure: allocations.Measure,
    required_before: uint256,
    legs_before: DynArray[IMandates.Leg, 16],
    equity: int256,
    required: uint256,
    legs: DynArray[IMandates.Leg, 16],
):
    """
    @dev Test 2 for the mandated account: shortfall, exposures, overshoot. An exposure grows, and an account above its
         target trades, only where the allocation asks for it. Equity and requirement are the initial ones, afterwards.
    """
    self._require_shortfall(self._shortfall_up(equity, required, guard_word), self._shortfall)
    for i: uint256 in range(len(legs), bound=16):
        leg: IMandates.Leg = legs[i]
        position_before: uint256 = 0
        if i < len(legs_before) and legs_before[i].asset == leg.asset:
            position_before = legs_before[i].position
        else:
            position_before = self._position_of(legs_before, leg.asset)
        # What did not move did not grow, for marks stay; nor did collateral without a perpetual that became less.
        if position_before == leg.position or (leg.position < position_before and position_before >> 128 == 0):
            continue
        has_grown: bool = False
        is_held: bool = False
        has_grown, is_held = self._growth(position_before, leg)
        if has_grown:
            self._require_no_growth(
                self._has_traded and allocations._may_grow(limits, weights, leg, measure, required_before, is_held)
            )
    if not self._has_traded:
        return
    most_bps: uint256 = guards._target_bps(guard_word) + guards._band_bps(guard_word)
    most: uint256 = fixed_point._mul_div_up(required, most_bps, fixed_point.BPS)
    if equity <= convert(most, int256):
        return
    # What shrank has to be no smaller than the allocation wants it.
    self._require_no_overshoot(limits != 0 or weights != 0)
    for old: IMandates.Leg in legs_before:
        leg: IMandates.Leg = old
        leg.position = self._position_of(legs, old.asset)
        if fixed_point._abs(self._delta(leg.position)) < fixed_point._abs(self._delta(old.position)):
            self._require_no_overshoot(allocations._is_above_a_limit(limits, weights, leg, measure))


@internal
@view
def _growth(position_before: uint256, leg: IMandates.Leg) -> (bool, bool):
    """
    @dev Whether an exposure grew, and whether there was one on this side already. No growth is what comes nearer to zero, and
         what siblings gave on top of it: min(D, 0) <= D' <= max(D, 0) + inflow, and R' <= R + inflow p (r + l) plus a wei of
         rounding. What was not there before had no exposure.
    """
    delta: int256 = self._delta(leg.position)
    delta_before: int256 = self._delta(position_before)
    is_held: bool = delta_before != 0 and (delta > 0) == (delta_before > 0)
    inflow: uint256 = self._inflow[leg.asset]
    if delta < min(delta_before, 0) or delta > max(delta_before, 0) + convert(inflow, int256):
        return True, is_held
    price: uint256 = packing._newest_wad(leg.price_word)
    required: uint256 = margin._required_init(position_before, price, leg.risk_word) + 1
    if inflow != 0:
        rate_e6: uint256 = packing._rate_init_e6(leg.risk_word)
        required += fixed_point._mul_div_up(
            inflow * price, rate_e6, fixed_point.WAD * fixed_point.RATE
        )
    return margin._required_init(leg.position, price, leg.risk_word) > required, is_held


@internal
@view
def _inflow_of_all() -> int256:
    """@dev Equity that came from the wallet and from donors, both tests passed for each of them."""
    inflow: int256 = convert(self._wallet_inflow, int256)
    for donor: Donor in self._donors:
        inflow += self._judge_donor(donor)
    return inflow


@internal
@view
def _judge_donor(donor: Donor) -> int256:
    """@dev Both tests for a donor; returns the equity it gave."""
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity_init, required_init, equity_maint, required_maint = self._assess(donor.account)
    self._require_no_weaker(
        donor.excess_init,
        donor.excess_maint,
        equity_init - convert(required_init, int256),
        equity_maint - convert(required_maint, int256),
    )
    guard_word: uint256 = appointments._guards[donor.account]
    if guards._anticipates(guard_word):
        # Called like another contract, so that its memory is paid for only where it is used.
        picture: IMandates.Snapshot = staticcall IMandates(self).snapshot(donor.account)
        equity_init = picture.equity_init
        required_init = picture.required_init
    least: uint256 = fixed_point._mul_div_up(required_init, guards._floor_bps(guard_word), fixed_point.BPS)
    self._require_floor(equity_init, least)
    return donor.equity_maint - equity_maint


################################################################
#                           Measures                           #
################################################################


@internal
@view
def _oracle_of(guard_word: uint256) -> address:
    """@dev For a guard that anticipates requirements that are going to rise: whoever knows of them."""
    if guards._anticipates(guard_word):
        return ORACLE
    return empty(address)


@internal
@view
def _excesses_of(
    account: uint256,
    guard_word: uint256,
    equity_init: int256,
    required_init: uint256,
    equity_maint: int256,
    required_maint: uint256,
) -> (int256, int256):
    """@dev Of a picture; the protocol's test compares requirements of now, whatever a guard anticipates."""
    if guards._anticipates(guard_word):
        return self._excesses(account)
    return equity_init - convert(required_init, int256), equity_maint - convert(required_maint, int256)


@internal
@view
def _excesses(account: uint256) -> (int256, int256):
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity_init, required_init, equity_maint, required_maint = self._assess(account)
    return equity_init - convert(required_init, int256), equity_maint - convert(required_maint, int256)


@internal
@view
def _assess(account: uint256) -> (int256, uint256, int256, uint256):
    """@dev The four integers at the requirements of now, which the protocol's test compares."""
    return staticcall IClearinghouse(CLEARINGHOUSE).assess(account)


@internal
@pure
def _shortfall_up(equity_init: int256, required_init: uint256, guard_word: uint256) -> uint256:
    """@dev S = max(0, t R_init - E_init), the wanted equity rounded up."""
    wanted: uint256 = fixed_point._mul_div_up(required_init, guards._target_bps(guard_word), fixed_point.BPS)
    return convert(max(convert(wanted, int256) - equity_init, 0), uint256)


@internal
@pure
def _position_of(legs: DynArray[IMandates.Leg, 16], asset: uint256) -> uint256:
    for leg: IMandates.Leg in legs:
        if leg.asset == asset:
            return leg.position
    return 0


@internal
@pure
def _delta(position: uint256) -> int256:
    return convert(position & packing.MASK_128, int256) + packing._size_wad(position)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _require_donor(donor: uint256, account: uint256):
    """@dev A sibling whose own guard has a floor; by default none has."""
    is_sibling: bool = donor >> 8 == account >> 8 and donor != account
    if not is_sibling or guards._floor_bps(appointments._guards[donor]) == 0:
        reasons._fail("mandates: not a donor")


@internal
@pure
def _require_few_donors(count: uint256):
    if count == MAX_DONORS:
        reasons._fail("mandates: too many donors")


@internal
@view
def _require_within_shortfall(pulled: uint256, shortfall: uint256):
    if pulled >= shortfall + UNIT_WAD:
        reasons._fail("mandates: pull above shortfall")


@internal
@pure
def _require_shortfall(after: uint256, before: uint256):
    if after > before:
        reasons._fail("mandates: shortfall grew")


@internal
@pure
def _require_no_overshoot(keeps_to_allocation: bool):
    if not keeps_to_allocation:
        reasons._fail("mandates: above target and band")


@internal
@pure
def _require_floor(equity: int256, least: uint256):
    if equity < convert(least, int256):
        reasons._fail("mandates: donor below its floor")


@internal
@pure
def _require_no_weaker(excess_init: int256, excess_maint: int256, after_init: int256, after_maint: int256):
    """@dev Test 1: at initial margin afterwards, or neither excess fell (by more than what rounding may take)."""
    if after_init < 0 and (after_init < excess_init or after_maint < excess_maint):
        reasons._fail("mandates: account left weaker")


@internal
@pure
def _require_no_growth(is_allocated: bool):
    if not is_allocated:
        reasons._fail("mandates: exposure grew")
