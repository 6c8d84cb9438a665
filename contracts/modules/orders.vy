# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Orders
@license MIT
@author  Ballast contributors
@notice  What an order asks for, the price it starts from, and the refusals that do not depend on the market's limits.
"""

from contracts.interfaces import IPerps
from contracts.modules import fixed_point
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import reasons

# The most that cost and value of a position may be when it grows: what they become later still fits their halves.
MAX_COST_WAD: constant(uint256) = 2**112
MAX_VALUE_WAD: constant(uint256) = 2**110
# What the size of a trade stays below, either way: prices of trades are unchecked arithmetic within it.
SIZE_END_WAD: constant(int256) = 2**120


@internal
@pure
def _change(order: IPerps.Order, size: int256) -> int256:
    """@dev The size change, cut to what closes the position where only a reduction is wanted."""
    is_sized: bool = order.size_change > -SIZE_END_WAD and order.size_change < SIZE_END_WAD and order.size_change != 0
    self._require_step(is_sized and fixed_point._abs(order.size_change) % markets.SIZE_STEP == 0)
    if not order.reduce_only:
        return order.size_change
    self._require_reduction(size != 0 and (size > 0) != (order.size_change > 0))
    if size > 0:
        return max(order.size_change, -size)
    return min(order.size_change, -size)


@internal
@pure
def _basis(price_word: uint256, is_increase: bool, change: int256) -> uint256:
    """@dev The index price of a trade: an increase pays the worse of two."""
    newest: uint256 = packing._newest_wad(price_word)
    if not is_increase:
        return newest
    if change > 0:
        return max(newest, packing._previous_wad(price_word))
    return min(newest, packing._previous_wad(price_word))


@internal
@pure
def _gwei(size: int256) -> int256:
    """@dev Exact: sizes are whole multiples of the step."""
    return fixed_point._div_zero_signed(size, 10**9)


@internal
@view
def _result(scene: IPerps.Scene, price_wad: uint256) -> int256:
    funding: int256 = packing._funding_at(scene.market_word, block.timestamp)
    move: int256 = convert(price_wad, int256) - funding
    size: int256 = packing._size_wad(scene.position_word)
    return fixed_point._mul_wad_floor_signed(size, move) - packing._cost_wad(scene.cost_word)


@internal
@view
def _due(scene: IPerps.Scene) -> int256:
    """
    @dev u, a gain of an open position at the lesser of two prices and on none that must not back an increase. What is
         left of a closed position depends on no price; what is open of a market that has ended is due with its turn.
    """
    if packing._size_wad(scene.position_word) == 0:
        return -packing._cost_wad(scene.cost_word)
    if scene.market_word & packing.MARKET_ENDED != 0:
        return 0
    newest: int256 = self._result(scene, packing._newest_wad(scene.price_word))
    if newest <= 0:
        return newest
    self._require_usable(packing._flags(scene.price_word))
    return max(min(newest, self._result(scene, packing._previous_wad(scene.price_word))), 0)


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_live(flags: uint256):
    if flags & packing.IS_STALE != 0:
        reasons._fail("perps: price stale")


@internal
@pure
def _require_usable(flags: uint256):
    if flags & packing.NO_INCREASE != 0:
        reasons._fail("perps: price not usable")


@internal
@pure
def _require_step(is_whole: bool):
    if not is_whole:
        reasons._fail("perps: size not in steps")


@internal
@pure
def _require_reduction(reduces: bool):
    if not reduces:
        reasons._fail("perps: nothing to reduce")


@internal
@view
def _require_in_time(deadline: uint256):
    if block.timestamp > deadline:
        reasons._fail("perps: deadline passed")


@internal
@pure
def _require_price(order: IPerps.Order, change: int256, price: uint256, index: uint256):
    """@dev Within the acceptable price, and no worse than the newest by more than the slippage."""
    is_acceptable: bool = price <= order.acceptable_price
    loss: uint256 = max(price, index) - index
    if change < 0:
        is_acceptable = price >= order.acceptable_price
        loss = index - min(price, index)
    if not is_acceptable:
        reasons._fail("perps: price passed")
    if order.slippage_bps < fixed_point.BPS and loss * fixed_point.BPS > index * order.slippage_bps:
        reasons._fail("perps: slippage above guard")


@internal
@pure
def _require_bookable(size: int256, index: uint256, cost: int256):
    value: uint256 = fixed_point._abs(size) * index // fixed_point.WAD
    if value >= MAX_VALUE_WAD or fixed_point._abs(cost) >= MAX_COST_WAD:
        reasons._fail("perps: position too large")
