# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Kinked Rate Shell
@license MIT
@author  Ballast contributors
@notice  The functions of the kinked rate, callable.
"""

from contracts.modules import kinked_rate


@external
@pure
def utilisation_wad_up(debt: uint256, idle: uint256) -> uint256:
    """
    @notice See `kinked_rate`.
    """
    return kinked_rate._utilisation_wad_up(debt, idle)


@external
@pure
def rate_ray_up(
    utilisation_wad: uint256,
    base_bps: uint256,
    slope_low_bps: uint256,
    slope_high_bps: uint256,
    kink_bps: uint256,
) -> uint256:
    """
    @notice See `kinked_rate`.
    """
    return kinked_rate._rate_ray_up(utilisation_wad, base_bps, slope_low_bps, slope_high_bps, kink_bps)


@external
@pure
def growth_ray_down(rate_ray: uint256, elapsed_s: uint256) -> uint256:
    """
    @notice See `kinked_rate`.
    """
    return kinked_rate._growth_ray_down(rate_ray, elapsed_s)
