# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Readiness
@license MIT
@author  Ballast contributors
@notice  Whether there is anything to do for an account, and how much.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.modules import allocations
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import bounds

# Codes of a plan.
READY: constant(uint256) = 0
NO_POLICY: constant(uint256) = 1
ABOVE_TRIGGER: constant(uint256) = 2
COOLING_DOWN: constant(uint256) = 3
BELOW_MINIMUM: constant(uint256) = 4
NO_MEANS: constant(uint256) = 5
EXPIRED: constant(uint256) = 6
UNCONFIRMED: constant(uint256) = 7
GAS_TOO_DEAR: constant(uint256) = 8
CALLED: constant(uint256) = 9

GWEI_WEI: constant(uint256) = 10**9
E6: constant(uint256) = 10**6
YEAR_S: constant(uint256) = 31_536_000


@internal
@view
def _code(
    request: IPlanner.Request, picture: IMandates.Snapshot, shortfall: uint256, unit_wad: uint256
) -> uint256:
    """
    @dev Below initial margin only what has to be in one block holds a rebalance back: cooldown, minimum, confirmation and
         the price of gas do not. An account that owes nothing cannot be liquidated, and less than a unit of the quote
         token cannot be cured.
    """
    word: uint256 = request.policy_word
    if policies._trigger_bps(word) == 0 or request.guard_word == 0:
        return NO_POLICY
    bounds_word: uint256 = request.bounds_word
    if bounds_word != 0:
        expires_at: uint256 = bounds._expires_at(bounds_word)
        if expires_at != 0 and block.timestamp >= expires_at:
            return EXPIRED
    is_exposed: bool = picture.cash < 0
    newest_at: uint256 = 0
    deviation: uint256 = 0
    # Nothing is asked of the legs where there is a debt and no bounds.
    if not is_exposed or bounds_word != 0:
        for leg: IMandates.Leg in picture.legs:
            is_exposed = is_exposed or leg.position >> 128 != 0
            if bounds_word != 0:
                newest_at = max(newest_at, packing._made_at(leg.price_word))
                deviation += allocations._exposure_up(leg) * packing._sigma_e6(leg.risk_word) // E6
    trigger: uint256 = self._trigger_up(word, bounds_word, picture.required_init, deviation)
    is_unfinished: bool = bounds._is_unfinished(request.state_word)
    # What was begun goes on up to the target.
    is_triggered: bool = is_unfinished or picture.equity_init < convert(trigger, int256)
    if not is_exposed or shortfall < unit_wad or not is_triggered:
        return ABOVE_TRIGGER
    is_emergency: bool = self._is_emergency(picture.equity_init, picture.required_init)
    ready_at: uint256 = policies._last_at(word) + 1
    if is_emergency or is_unfinished:
        ready_at = max(ready_at, policies._last_at(word) + bounds._emergency_cooldown_s(bounds_word))
    else:
        ready_at += policies._cooldown_s(word)
    if block.timestamp < ready_at:
        return COOLING_DOWN
    if is_emergency:
        return READY
    if shortfall < policies._min_step(word):
        return BELOW_MINIMUM
    if bounds_word == 0:
        return READY
    gas_cap_gwei: uint256 = bounds._gas_cap_gwei(bounds_word)
    if gas_cap_gwei != 0 and block.basefee > gas_cap_gwei * GWEI_WEI:
        return GAS_TOO_DEAR
    if bounds._confirms(bounds_word) and not is_unfinished:
        # Flagged since the last rebalance, and in an earlier price round than the newest.
        since: uint256 = request.triggered_since
        if since <= policies._last_at(word) or newest_at <= since:
            return UNCONFIRMED
    return READY


@internal
@pure
def _is_planned(code: uint256) -> bool:
    """@dev Whether there is a need, though it may have to wait."""
    return code != NO_POLICY and code != EXPIRED and code != ABOVE_TRIGGER


@internal
@pure
def _is_emergency(equity_init: int256, required_init: uint256) -> bool:
    return equity_init < convert(required_init, int256)


@internal
@view
def _trigger_up(policy_word: uint256, bounds_word: uint256, required: uint256, deviation: uint256) -> uint256:
    """@dev Below it a rebalance is wanted: trigger R, or R + k sigma sqrt(horizon) sum p |D| where that is more."""
    trigger: uint256 = fixed_point._mul_div_up(required, policies._trigger_bps(policy_word), fixed_point.BPS)
    buffer_bps: uint256 = bounds._buffer_bps(bounds_word)
    if buffer_bps == 0:
        return trigger
    root_e6: uint256 = isqrt(bounds._horizon_s(bounds_word) * E6 * E6 // YEAR_S)
    return max(trigger, required + deviation * root_e6 // E6 * buffer_bps // fixed_point.BPS)


@internal
@view
def _may_cost(bounds_word: uint256, state_word: uint256, is_emergency: bool) -> bool:
    """@dev Whether something may be sold or traded: without a margin call, after its deadline, or in an emergency."""
    if bounds._call_s(bounds_word) == 0 or is_emergency:
        return True
    return block.timestamp >= bounds._deadline(state_word) and bounds._is_called(state_word)


@internal
@pure
def _shortfall_up(equity_init: int256, required_init: uint256, target_bps: uint256) -> uint256:
    """@dev S = max(0, t R_init - E_init), the wanted equity rounded up."""
    wanted: uint256 = fixed_point._mul_div_up(required_init, target_bps, fixed_point.BPS)
    return convert(max(convert(wanted, int256) - equity_init, 0), uint256)
