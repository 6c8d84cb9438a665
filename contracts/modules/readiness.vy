# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Readiness
@license MIT
@author  Ballast contributors
@notice  Whether there is anything to do for an account, and how much.
"""

from contracts.interfaces import IMandates
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import policies

# Codes of a plan.
READY: constant(uint256) = 0
NO_POLICY: constant(uint256) = 1
ABOVE_TRIGGER: constant(uint256) = 2
COOLING_DOWN: constant(uint256) = 3
BELOW_MINIMUM: constant(uint256) = 4
NO_MEANS: constant(uint256) = 5


@internal
@view
def _code(word: uint256, picture: IMandates.Snapshot, shortfall: uint256, unit_wad: uint256) -> uint256:
    """
    @dev Below initial margin neither the cooldown nor the minimum holds a rebalance back, except in one block. An
         account that owes nothing cannot be liquidated, and less than a unit of the quote token cannot be cured.
    """
    is_exposed: bool = picture.cash < 0
    for leg: IMandates.Leg in picture.legs:
        is_exposed = is_exposed or packing._size_wad(leg.position) != 0
    trigger: uint256 = fixed_point._mul_div_up(
        picture.required_init, policies._trigger_bps(word), fixed_point.BPS
    )
    if not is_exposed or shortfall < unit_wad or picture.equity_init >= convert(trigger, int256):
        return ABOVE_TRIGGER
    is_emergency: bool = picture.equity_init < convert(picture.required_init, int256)
    ready_at: uint256 = policies._last_at(word) + 1
    if not is_emergency:
        ready_at += policies._cooldown_s(word)
    if block.timestamp < ready_at:
        return COOLING_DOWN
    if shortfall < policies._min_step(word) and not is_emergency:
        return BELOW_MINIMUM
    return READY


@internal
@pure
def _shortfall_up(picture: IMandates.Snapshot, target_bps: uint256) -> uint256:
    """@dev S = max(0, t R_init - E_init), the wanted equity rounded up."""
    wanted: uint256 = fixed_point._mul_div_up(picture.required_init, target_bps, fixed_point.BPS)
    return convert(max(convert(wanted, int256) - picture.equity_init, 0), uint256)
