"""How large a rebalancing action must be, in exact integers.

An action of value x that costs s per unit and releases requirement rho per unit cures t rho - s per
unit of the shortfall S = t R_init - E_init, so x = S / (t rho - s), and one unit of cure costs
s / (t rho - s). Cures are ten-billionths (`_e10`): a target in basis points times a rate in
millionths; rates and costs are millionths (`_e6`). Values are WAD of the quote token.

    rho    sell collateral, trim: r + l      hedge: r - l      unwind a pair: 2 l
"""

from __future__ import annotations

from fractions import Fraction

from ballast.model.margin import WAD, div_up

CURE = 10**10
E6_TO_E10 = 10**4
MAX_VALUE_WAD = 2**128
# Requirement, equity and value are each rounded by a wei per action, times a target below 6.6.
ROUNDING_WAD = 10


def cure_of_release_e10(target_bps: int, released_e6: int, cost_e6: int) -> int:
    """Whatever releases rho of requirement and costs s: t rho - s."""
    return target_bps * released_e6 - cost_e6 * E6_TO_E10


def cure_of_surplus_e10(cost_e6: int) -> int:
    """Selling collateral above its quota, which counts for nothing where it is: 1 - s."""
    return CURE - cost_e6 * E6_TO_E10


def cure_of_inflow_e10(target_bps: int, rate_e6: int) -> int:
    """Bringing collateral in: 1 - t (r + l)."""
    return CURE - target_bps * rate_e6


def price_of_health(cost_e6: int, cure_e10: int) -> Fraction:
    """Cost of one unit of cure; the cure is positive."""
    return Fraction(cost_e6 * E6_TO_E10, cure_e10)


def value_up(shortfall_wad: int, cure_e10: int) -> int:
    """Value that cures a shortfall; the cure is positive."""
    return div_up(shortfall_wad * CURE, cure_e10)


def cured_down(value_wad: int, cure_e10: int) -> int:
    """What a value cures."""
    return value_wad * cure_e10 // CURE


def slack_of_outflow_up(value_wad: int, floor_bps: int, rate_e6: int) -> int:
    """What collateral that leaves takes of the donor's slack above its floor, with rounding."""
    return div_up(value_wad * (CURE - min(floor_bps * rate_e6, CURE)), CURE) + ROUNDING_WAD


def givable_down(slack_wad: int, floor_bps: int, rate_e6: int) -> int:
    """The largest value whose `slack_of_outflow_up` is within the slack."""
    if slack_wad <= ROUNDING_WAD:
        return 0
    kept_e10 = floor_bps * rate_e6
    if kept_e10 >= CURE:
        return MAX_VALUE_WAD
    return (slack_wad - ROUNDING_WAD) * CURE // (CURE - kept_e10)


def units_up(value_wad: int, price_wad: int, unit_wad: int) -> int:
    """Token units worth at least a value."""
    return div_up(value_wad * WAD, price_wad * unit_wad)
