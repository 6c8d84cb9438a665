# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Slices
@license MIT
@author  Ballast contributors
@notice  What a liquidation takes: the same fraction of every holding, and what it is worth to the wei.
@dev     A gain that the house cannot pay now is worth nothing to whoever takes it, so it stays with the owner as cost
         that is left behind. Value and requirement of a slice are the differences between the account before and what
         rests of it, both by the margin equation, so rounding of the parts cannot favour anybody: the owner pays for the
         discount on the requirement that he really got rid of.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandates
from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import markets
from contracts.modules import packing


struct Slice:
    discount_wad: uint256  # d R
    fraction_wad: uint256  # f
    value_wad: int256  # what is taken is worth at maintenance
    bonus_wad: uint256  # what the owner loses
    fee_wad: uint256  # part of it that insurance gets
    deficit_wad: uint256  # what the account cannot bear
    flow_wad: int256  # what the taker pays for it
    holdings: DynArray[IClearinghouse.Holding, 16]  # in the order of the asset list; entries are not set yet


@internal
@pure
def _rest(leg: IMandates.Leg, holding: IClearinghouse.Holding) -> (int256, uint256):
    """@dev What a leg contributes at maintenance when a holding has been taken from it: equity and requirement."""
    # Of the low half no more is taken than it holds.
    position: uint256 = leg.position - holding.collateral_wad
    if holding.size_wad != 0:
        position = packing._position_word(
            position & packing.MASK_128, packing._size_wad(leg.position) - holding.size_wad
        )
    price: uint256 = leg.price_word & packing.MASK_96
    cost: int256 = leg.cost - holding.cost_wad
    if position >> 128 == 0 and cost == 0:
        # Collateral alone: its charges add up.
        rate_e6: uint256 = ((leg.risk_word >> 48) & packing.MASK_24) + ((leg.risk_word >> 72) & packing.MASK_24)
        return margin._value_down(position, price), margin._required_up(price, rate_e6 * position)
    terms: margin.Terms = margin._terms(position, cost, leg.funding, price, leg.risk_word)
    return terms.equity_maint, terms.required_maint


@internal
@pure
def _part(leg: IMandates.Leg, unit_wad: uint256, fraction: uint256, kept_wad: uint256) -> IClearinghouse.Holding:
    """
    @dev Collateral in whole token units down, size in whole steps toward zero. Results are divided and not costs: however
         few steps a position has, its gain or loss is divided like any other.
    """
    collateral: uint256 = leg.position & packing.MASK_128
    size: int256 = 0
    cost: int256 = 0
    if fraction == fixed_point.WAD:
        size = packing._size_wad(leg.position)
        cost = leg.cost + convert(kept_wad, int256)
    else:
        collateral = collateral * fraction // fixed_point.WAD
        collateral -= collateral % unit_wad
        if leg.position >> 128 != 0 or leg.cost != 0:
            whole: int256 = packing._size_wad(leg.position)
            steps: uint256 = fixed_point._abs(whole) * fraction // (fixed_point.WAD * markets.SIZE_STEP)
            size = convert(steps * markets.SIZE_STEP, int256)
            if whole < 0:
                size = -size
            move: int256 = self._move_wad(leg)
            result: int256 = fixed_point._mul_wad_floor_signed(whole, move) - leg.cost
            result = fixed_point._div_zero_signed(result * convert(fraction, int256), 10**18)
            result -= convert(kept_wad * fraction // fixed_point.WAD, int256)
            cost = fixed_point._mul_wad_floor_signed(size, move) - result
    return IClearinghouse.Holding(
        asset=leg.asset,
        collateral_wad=collateral,
        size_wad=size,
        cost_wad=cost,
        donor_entry_wad=0,
        receiver_entry_wad=0,
    )


@internal
@pure
def _gain_wad(leg: IMandates.Leg) -> uint256:
    return convert(max(self._result_wad(leg), 0), uint256)


@internal
@pure
def _result_wad(leg: IMandates.Leg) -> int256:
    """@dev u = floor(q (p - f)) - c at the newest price; without a perpetual nothing."""
    return fixed_point._mul_wad_floor_signed(packing._size_wad(leg.position), self._move_wad(leg)) - leg.cost


@internal
@pure
def _move_wad(leg: IMandates.Leg) -> int256:
    """@dev p - f at the newest price: what a unit of size has brought."""
    return convert(leg.price_word & packing.MASK_96, int256) - leg.funding
