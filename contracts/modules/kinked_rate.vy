# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Kinked Rate
@license MIT
@author  Ballast contributors
@notice  Utilisation, the rate it costs, and what that rate grows to over a time.
@dev     Pure functions. Whatever the inputs inside the stated domains, nothing here reverts: a vault that cannot accrue
         can neither be repaid nor left. The domains keep every product below 2**256, which is why arithmetic on the
         path of each accrual is unchecked.
@custom:invariant I09
"""

BPS: constant(uint256) = 10_000
WAD: constant(uint256) = 10**18
RAY: constant(uint256) = 10**27
YEAR_S: constant(uint256) = 365 * 86_400
BPS_TO_WAD: constant(uint256) = WAD // BPS
BPS_TO_RAY: constant(uint256) = RAY // BPS

# rate * time beyond which growth is counted no further: e.g. ten years at 1,000% a year. Far above anything that can
# be owed, and small enough that its cube stays inside a word.
MAX_EXPONENT_RAY: constant(uint256) = 100 * RAY


@internal
@pure
def _utilisation_wad_up(debt: uint256, idle: uint256) -> uint256:
    """
    @notice debt / (idle + debt), rounded up and never above one.
    @dev    Domain: debt and idle below 2**190 token units.
    """
    if debt == 0:
        return 0
    total: uint256 = unsafe_add(idle, debt)
    return unsafe_div(unsafe_sub(unsafe_add(unsafe_mul(debt, WAD), total), 1), total)


@internal
@pure
def _rate_ray_up(
    utilisation_wad: uint256,
    base_bps: uint256,
    slope_low_bps: uint256,
    slope_high_bps: uint256,
    kink_bps: uint256,
) -> uint256:
    """
    @notice The rate of a second at `utilisation_wad`, times 1e27, rounded up.
    @dev    base + slope_low * u / k up to the kink k, base + slope_low + slope_high * (u - k) / (1 - k) above it, per
            year, over the seconds of 365 days, in one division. Domain: 0 <= u <= 1, 0 < k < 1, rates below 2**40 bps.
    """
    kink_wad: uint256 = unsafe_mul(kink_bps, BPS_TO_WAD)
    if utilisation_wad <= kink_wad:
        low_bps_wad: uint256 = unsafe_add(
            unsafe_mul(base_bps, kink_wad), unsafe_mul(slope_low_bps, utilisation_wad)
        )
        low_year_wad: uint256 = unsafe_mul(kink_wad, YEAR_S)
        return unsafe_div(
            unsafe_sub(unsafe_add(unsafe_mul(low_bps_wad, BPS_TO_RAY), low_year_wad), 1), low_year_wad
        )
    over_wad: uint256 = WAD - kink_wad
    high_bps_wad: uint256 = (base_bps + slope_low_bps) * over_wad + slope_high_bps * (utilisation_wad - kink_wad)
    high_year_wad: uint256 = over_wad * YEAR_S
    return (high_bps_wad * BPS_TO_RAY + high_year_wad - 1) // high_year_wad


@internal
@pure
def _growth_ray_down(rate_ray: uint256, elapsed_s: uint256) -> uint256:
    """
    @notice exp(rate * time) - 1, times 1e27, by the first three terms of its series.
    @dev    x + x**2 / 2 + x**3 / 6: below the exponential, and above the simple rate. Saturates at an exponent of 100.
            Domain: rate below 2**100, time below 2**64 seconds.
    """
    exponent_ray: uint256 = min(unsafe_mul(rate_ray, elapsed_s), MAX_EXPONENT_RAY)
    second_ray: uint256 = unsafe_div(unsafe_mul(exponent_ray, exponent_ray), 2 * RAY)
    third_ray: uint256 = unsafe_div(unsafe_mul(second_ray, exponent_ray), 3 * RAY)
    return unsafe_add(unsafe_add(exponent_ray, second_ray), third_ray)
