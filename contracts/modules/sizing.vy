# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Sizing
@license MIT
@author  Ballast contributors
@notice  How large a rebalancing action must be. An action of value x that costs s per unit and releases
         requirement rho per unit cures t rho - s per unit of the shortfall S = t R_init - E_init, so

             x = S / (t rho - s)           price of health = s / (t rho - s)

@dev     Cures are fractions in e10: a target in basis points (e4) times a rate (e6); rates and costs are in millionths
         (e6). Sizes round up, so that the target is reached; what rounding elsewhere may take away is added to the
         shortfall first.

             rho   sell collateral, trim   r + l       hedge   r - l       unwind a pair   2 l
"""

from contracts.modules import fixed_point

CURE: constant(uint256) = 10**10  # a cure of 1
E6_TO_E10: constant(uint256) = 10**4
MAX_VALUE_WAD: constant(uint256) = 2**128
# Requirement, equity and value are each rounded once per action, by a wei, times a target below 6.6.
ROUNDING_WAD: constant(uint256) = 10


@internal
@pure
def _cure_of_release_e10(target_bps: uint256, released_e6: int256, cost_e6: uint256) -> int256:
    """@dev Whatever releases rho of requirement and costs s: t rho - s."""
    return convert(target_bps, int256) * released_e6 - convert(cost_e6 * E6_TO_E10, int256)


@internal
@pure
def _cure_of_surplus_e10(cost_e6: uint256) -> int256:
    """@dev Selling collateral above its quota, which counts for nothing where it is: 1 - s."""
    return convert(CURE, int256) - convert(cost_e6 * E6_TO_E10, int256)


@internal
@pure
def _cure_of_inflow_e10(target_bps: uint256, rate_e6: uint256) -> int256:
    """@dev Bringing collateral in: 1 - t (r + l)."""
    return convert(CURE, int256) - convert(target_bps * rate_e6, int256)


@internal
@pure
def _value_up(shortfall: uint256, cure_e10: uint256) -> uint256:
    """@dev ceil(S / cure); the cure is positive."""
    return fixed_point._mul_div_up(shortfall, CURE, cure_e10)


@internal
@pure
def _cured_down(value_wad: uint256, cure_e10: uint256) -> uint256:
    return value_wad * cure_e10 // CURE


@internal
@pure
def _slack_of_outflow_up(value_wad: uint256, floor_bps: uint256, rate_e6: uint256) -> uint256:
    """@dev Collateral that leaves a donor takes 1 - f (r + l) of its slack above the floor f, and wei of rounding."""
    kept_e10: uint256 = min(floor_bps * rate_e6, CURE)
    return fixed_point._mul_div_up(value_wad, CURE - kept_e10, CURE) + ROUNDING_WAD


@internal
@pure
def _givable_down(slack: uint256, floor_bps: uint256, rate_e6: uint256) -> uint256:
    """@dev The largest value with `_slack_of_outflow_up` within the slack; a floor above 1 / (r + l) gives freely."""
    if slack <= ROUNDING_WAD:
        return 0
    kept_e10: uint256 = floor_bps * rate_e6
    if kept_e10 >= CURE:
        return MAX_VALUE_WAD
    return (slack - ROUNDING_WAD) * CURE // (CURE - kept_e10)


@internal
@pure
def _units_up(value_wad: uint256, price_wad: uint256, unit_wad: uint256) -> uint256:
    """@dev Token units worth at least `value_wad`."""
    return fixed_point._mul_div_up(value_wad, fixed_point.WAD, price_wad * unit_wad)
