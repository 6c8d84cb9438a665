# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Discounts
@license MIT
@author  Ballast contributors
@notice  How large a liquidation is, and what it costs the account: closed forms of equity and requirement.
@dev     With E and R at maintenance, d R the discount and t the target multiple, a fraction f of everything is worth
         f E, frees f R, and is paid for with f (E - d R):

             E - f d R = t (1 - f) R    ->    f = (t R - E) / (R (t - d))

         so f = 1 exactly where E = d R, and health rises as long as E > d R. The discount is an amount, not a rate: it is
         exact where R is small, and nothing where R is. What an account has not it does not give: where E < d R all of it
         is the discount, and others pay only where that does not cover what leaving costs. Rates are such that one jump
         does not lead there, neither from initial margin nor from the edge of maintenance (`margin_rates`).
"""

from contracts.modules import fixed_point
from contracts.modules import packing

# Parts of the requirement: what the discount starts from, what it runs up to, and what it never passes.
LEAST_BPS: constant(uint256) = 500
MOST_BPS: constant(uint256) = 2_000
CEILING_BPS: constant(uint256) = 9_000
# Part of the gross charge that a liquidator gets whatever the account has: 0.35% of gross at the least rates.
PAID_EXIT_BPS: constant(uint256) = 7_000


@internal
@pure
def _discount_wad(
    equity: int256, required: uint256, exit_wad: uint256, elapsed_s: uint256, ramp_s: uint256
) -> uint256:
    """
    @dev d R down: from max(5% R, exit) to max(20% R, 2 exit), at most 90% R, with the time since the account was flagged
         or with how far its equity is below the requirement, whichever is further. It is all at half of maintenance. No
         more than the equity, but at least 70% of exit.
         `exit_wad` is the gross charge: what leaving the positions is taken to cost.
    """
    ceiling: uint256 = required * CEILING_BPS // fixed_point.BPS
    least: uint256 = min(ceiling, max(required * LEAST_BPS // fixed_point.BPS, exit_wad))
    most: uint256 = min(ceiling, max(required * MOST_BPS // fixed_point.BPS, 2 * exit_wad))
    progress: uint256 = min(fixed_point.WAD, elapsed_s * fixed_point.WAD // ramp_s)
    if equity <= 0:
        progress = fixed_point.WAD
    else:
        missing: uint256 = required - convert(equity, uint256)
        progress = max(progress, min(fixed_point.WAD, 2 * missing * fixed_point.WAD // required))
    discount: uint256 = least + (most - least) * progress // fixed_point.WAD
    paid: uint256 = max(convert(max(equity, 0), uint256), exit_wad * PAID_EXIT_BPS // fixed_point.BPS)
    return min(discount, paid)


@internal
@pure
def _fraction_wad(
    equity: int256, required: uint256, discount: uint256, target_bps: uint256, dust_wad: uint256
) -> uint256:
    """@dev f up; everything where the equity does not cover the discount, or the rest would require less than dust."""
    if equity <= convert(discount, int256):
        return fixed_point.WAD
    wanted: uint256 = target_bps * required
    missing: uint256 = wanted - fixed_point.BPS * convert(equity, uint256)
    fraction: uint256 = min(
        fixed_point.WAD, fixed_point._mul_div_up(missing, fixed_point.WAD, wanted - fixed_point.BPS * discount)
    )
    if (fixed_point.WAD - fraction) * required // fixed_point.WAD < dust_wad:
        return fixed_point.WAD
    return fraction


@internal
@pure
def _exit_wad(position: uint256, price_word: uint256, risk_word: uint256) -> uint256:
    """
    @dev p l G at maintenance, down: the charge on gross is what leaving a position is taken to cost. Below
         2**96 * 2**24 * 2**129.
    """
    gross: uint256 = position & packing.MASK_128
    if position >> 128 != 0:
        gross = unsafe_add(gross, fixed_point._abs(packing._size_wad(position)))
    charged: uint256 = unsafe_mul(unsafe_mul(price_word & packing.MASK_96, gross), (risk_word >> 72) & packing.MASK_24)
    return unsafe_div(charged, fixed_point.WAD * fixed_point.RATE)
