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
    expires_at: uint256 = bounds._expires_at(bounds_word)
    if expires_at != 0 and block.timestamp >= expires_at:
        return EXPIRED
    is_exposed: bool = picture.cash < 0
    for leg: IMandates.Leg in picture.legs:
        is_exposed = is_exposed or packing._size_wad(leg.position) != 0
    if not is_exposed or shortfall < unit_wad or not self._is_triggered(request, picture):
        return ABOVE_TRIGGER
    is_emergency: bool = self._is_emergency(picture)
    is_unfinished: bool = bounds._is_unfinished(request.state_word)
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
    gas_cap_gwei: uint256 = bounds._gas_cap_gwei(bounds_word)
    if gas_cap_gwei != 0 and block.basefee > gas_cap_gwei * GWEI_WEI:
        return GAS_TOO_DEAR
    if bounds._confirms(bounds_word) and not is_unfinished and not self._is_confirmed(request, picture):
        return UNCONFIRMED
    return READY


@internal
@pure
def _is_planned(code: uint256) -> bool:
    """@dev Whether there is a need, though it may have to wait."""
    return code != NO_POLICY and code != EXPIRED and code != ABOVE_TRIGGER


@internal
@pure
def _is_emergency(picture: IMandates.Snapshot) -> bool:
    return picture.equity_init < convert(picture.required_init, int256)


@internal
@view
def _is_triggered(request: IPlanner.Request, picture: IMandates.Snapshot) -> bool:
    """@dev E < trigger R, or E < R + k sigma sqrt(horizon) sum p |D|. What was begun goes on up to the target."""
    if bounds._is_unfinished(request.state_word):
        return True
    trigger_bps: uint256 = policies._trigger_bps(request.policy_word)
    trigger: uint256 = fixed_point._mul_div_up(picture.required_init, trigger_bps, fixed_point.BPS)
    buffer_bps: uint256 = bounds._buffer_bps(request.bounds_word)
    if buffer_bps != 0:
        deviation: uint256 = 0
        for leg: IMandates.Leg in picture.legs:
            exposure: uint256 = allocations._exposure_up(leg)
            deviation += exposure * packing._sigma_e6(leg.risk_word) // E6
        root_e6: uint256 = isqrt(bounds._horizon_s(request.bounds_word) * E6 * E6 // YEAR_S)
        buffer: uint256 = deviation * root_e6 // E6 * buffer_bps // fixed_point.BPS
        trigger = max(trigger, picture.required_init + buffer)
    return picture.equity_init < convert(trigger, int256)


@internal
@pure
def _is_confirmed(request: IPlanner.Request, picture: IMandates.Snapshot) -> bool:
    """@dev Flagged since the last rebalance, and in an earlier price round than the newest."""
    newest_at: uint256 = 0
    for leg: IMandates.Leg in picture.legs:
        newest_at = max(newest_at, packing._made_at(leg.price_word))
    since: uint256 = request.triggered_since
    return since > policies._last_at(request.policy_word) and newest_at > since


@internal
@view
def _may_cost(request: IPlanner.Request, picture: IMandates.Snapshot) -> bool:
    """@dev Whether something may be sold or traded: without a margin call, after its deadline, or in an emergency."""
    if bounds._call_s(request.bounds_word) == 0 or self._is_emergency(picture):
        return True
    return block.timestamp >= bounds._deadline(request.state_word) and bounds._is_called(request.state_word)


@internal
@pure
def _shortfall_up(picture: IMandates.Snapshot, target_bps: uint256) -> uint256:
    """@dev S = max(0, t R_init - E_init), the wanted equity rounded up."""
    wanted: uint256 = fixed_point._mul_div_up(picture.required_init, target_bps, fixed_point.BPS)
    return convert(max(convert(wanted, int256) - picture.equity_init, 0), uint256)
