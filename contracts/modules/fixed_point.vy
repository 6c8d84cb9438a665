# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Fixed point
@license MIT
@author  Ballast contributors
@notice  Division with its rounding in its name. Vyper's signed `//` truncates toward zero, so no contract
         divides a signed number except through here.
@dev     Operands are bounded by the packed widths (a price below 2**96, a balance below 2**120, a rate below
         2**24), so no product here overflows; checked arithmetic stands behind that argument.
"""

WAD: constant(uint256) = 10**18
BPS: constant(uint256) = 10**4
RATE: constant(uint256) = 10**6  # unit of a margin rate


@internal
@pure
def _mul_div_up(x: uint256, y: uint256, d: uint256) -> uint256:
    product: uint256 = x * y
    if product == 0:
        return 0
    # Not more than the product itself.
    return unsafe_add(unsafe_sub(product, 1) // d, 1)


@internal
@pure
def _div_up(x: uint256, d: uint256) -> uint256:
    if x == 0:
        return 0
    return unsafe_add(unsafe_sub(x, 1) // d, 1)


@internal
@pure
def _mul_wad_floor_signed(x: int256, y: int256) -> int256:
    """@dev floor(x y / 1e18), toward minus infinity also for a negative product."""
    return self._div_floor_signed(x * y, 10**18)


@internal
@pure
def _abs(x: int256) -> uint256:
    if x < 0:
        return convert(unsafe_sub(0, x), uint256)
    return convert(convert(x, bytes32), uint256)


@internal
@pure
def _div_floor_signed(x: int256, d: int256) -> int256:
    """@dev floor(x / d) for a positive d, toward minus infinity also for a negative x."""
    quotient: int256 = unsafe_div(x, d)
    if x < unsafe_mul(quotient, d):
        return unsafe_sub(quotient, 1)
    return quotient


@internal
@pure
def _div_zero_signed(x: int256, d: int256) -> int256:
    """@dev x / d toward zero, for a d other than zero: a step, a cap, a size."""
    return unsafe_div(x, d)
