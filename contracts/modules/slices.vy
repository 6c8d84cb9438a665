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
def _rest(leg: IMandates.Leg, holding: IClearinghouse.Holding) -> margin.Terms:
    """@dev What a leg contributes when a holding has been taken from it."""
    position: uint256 = packing._position_word(
        packing._collateral_wad(leg.position) - holding.collateral_wad,
        packing._size_wad(leg.position) - holding.size_wad,
    )
    price: uint256 = packing._newest_wad(leg.price_word)
    return margin._terms(position, leg.cost - holding.cost_wad, leg.funding, price, leg.risk_word)


@internal
@pure
def _part(leg: IMandates.Leg, unit_wad: uint256, fraction: uint256, kept_wad: uint256) -> IClearinghouse.Holding:
    """
    @dev Collateral in whole token units down, size in whole steps toward zero. Results are divided and not costs: however
         few steps a position has, its gain or loss is divided like any other.
    """
    collateral: uint256 = packing._collateral_wad(leg.position)
    size: int256 = packing._size_wad(leg.position)
    cost: int256 = leg.cost
    if fraction == fixed_point.WAD:
        cost += convert(kept_wad, int256)
    else:
        collateral = collateral * fraction // fixed_point.WAD
        collateral -= collateral % unit_wad
    if fraction != fixed_point.WAD and (leg.position >> 128 != 0 or leg.cost != 0):
        steps: uint256 = fixed_point._abs(size) * fraction // (fixed_point.WAD * markets.SIZE_STEP)
        part: int256 = convert(steps * markets.SIZE_STEP, int256)
        if size < 0:
            part = -part
        result: int256 = fixed_point._div_zero_signed(self._result_wad(leg) * convert(fraction, int256), 10**18)
        result -= convert(kept_wad * fraction // fixed_point.WAD, int256)
        size = part
        cost = self._value_wad(leg, size) - result
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
    # Neither a perpetual nor an unpaid result of one.
    if leg.position >> 128 == 0 and leg.cost == 0:
        return 0
    return convert(max(self._result_wad(leg), 0), uint256)


@internal
@pure
def _result_wad(leg: IMandates.Leg) -> int256:
    """@dev u at the newest price; without a perpetual nothing."""
    return self._value_wad(leg, packing._size_wad(leg.position)) - leg.cost


@internal
@pure
def _value_wad(leg: IMandates.Leg, size: int256) -> int256:
    """@dev floor(q (p - f))"""
    move: int256 = convert(packing._newest_wad(leg.price_word), int256) - leg.funding
    return fixed_point._mul_wad_floor_signed(size, move)
