# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Liquidation shell
@license MIT
@author  Ballast contributors
@notice  Opens the formulas of liquidation to tests.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandates
from contracts.modules import discounts
from contracts.modules import markets
from contracts.modules import slices


@external
@pure
def discount_wad(equity: int256, required: uint256, exit_wad: uint256, elapsed_s: uint256, ramp_s: uint256) -> uint256:
    """@notice See `discounts`."""
    return discounts._discount_wad(equity, required, exit_wad, elapsed_s, ramp_s)


@external
@pure
def fraction_wad(equity: int256, required: uint256, discount: uint256, target_bps: uint256, dust_wad: uint256) -> uint256:
    """@notice See `discounts`."""
    return discounts._fraction_wad(equity, required, discount, target_bps, dust_wad)


@external
@pure
def exit_wad(legs: DynArray[IMandates.Leg, 16]) -> uint256:
    """@notice See `discounts`."""
    total: uint256 = 0
    for leg: IMandates.Leg in legs:
        total += discounts._exit_wad(leg.position, leg.price_word, leg.risk_word)
    return total


@external
@pure
def part(leg: IMandates.Leg, unit_wad: uint256, fraction: uint256, kept_wad: uint256) -> IClearinghouse.Holding:
    """@notice See `slices`."""
    return slices._part(leg, unit_wad, fraction, kept_wad)


@external
@pure
def rest(leg: IMandates.Leg, holding: IClearinghouse.Holding) -> (int256, uint256):
    """@notice See `slices`."""
    return slices._rest(leg, holding)


@external
@pure
def insured_part_gwei(change_gwei: int256, index_wad: uint256, fee_e6: uint256) -> uint256:
    """@notice See `markets`."""
    return markets._insured_part_gwei(change_gwei, index_wad, fee_e6)
