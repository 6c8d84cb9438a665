# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Increases
@license MIT
@author  Ballast contributors
@notice  What only the growth of a side has to meet: mode, breaker, caps, and the headroom that the house can back.
@dev     A reduction is never refused here. It gives its headroom back.
@custom:invariant I20
"""

from contracts.interfaces import IPerps
from contracts.modules import fixed_point
from contracts.modules import market_books
from contracts.modules import markets
from contracts.modules import orders
from contracts.modules import reasons

uses: market_books


@internal
def _check_increase(
    asset: uint256,
    prices: uint256,
    limits: uint256,
    flags: uint256,
    index: uint256,
    before: uint256,
    after: uint256,
    size: int256,
):
    """@dev What only the growth of a side has to meet; the headroom it uses up is another matter."""
    self._require_open(limits)
    orders._require_usable(flags)
    self._require_untripped(markets._is_tripped(self._move_breaker(asset, index), index))
    self._require_min_size(fixed_point._abs(size) >= markets._min_size_gwei(limits) * markets.SIZE_STEP)
    cap: uint256 = markets._open_interest_cap_gwei(prices)
    has_room: bool = markets._longs(after) <= max(cap, markets._longs(before)) and markets._shorts(after) <= max(
        cap, markets._shorts(before)
    )
    self._require_interest(has_room)
    skew: int256 = markets._skew(after)
    most: uint256 = max(markets._skew_cap_gwei(prices), fixed_point._abs(markets._skew(before)))
    self._require_skew(fixed_point._abs(skew) <= most)
    moved: uint256 = fixed_point._abs(skew - markets._start_skew(after))
    self._require_round(moved <= markets._round_cap_gwei(limits))


@internal
def _move_headroom(asset: uint256, long_gwei: int256, short_gwei: int256, is_increase: bool, insured_gwei: uint256):
    """@dev Growth uses headroom up, a reduction gives it back; the insured part of a fee is counted beside it."""
    headroom: uint256 = market_books._headrooms[asset]
    if is_increase:
        self._require_fresh(markets._refreshed_at(headroom))
    long: int256 = convert(markets._longs(headroom), int256) - long_gwei
    short: int256 = convert(markets._shorts(headroom), int256) - short_gwei
    self._require_headroom(min(long, short))
    market_books._headrooms[asset] = markets._headroom_word(
        convert(long, uint256),
        convert(short, uint256),
        markets._refreshed_at(headroom),
        markets._insured_gwei(headroom) + insured_gwei,
    )


@internal
def _move_breaker(asset: uint256, index: uint256) -> uint256:
    breaker: uint256 = market_books._breakers[asset]
    moved: uint256 = markets._moved_breaker(breaker, index, block.timestamp)
    if moved != breaker:
        market_books._breakers[asset] = moved
        log IPerps.BreakerMoved(asset=asset, breaker_word=moved)
    return moved


@internal
@view
def _is_stopped(asset: uint256, index: uint256) -> bool:
    breaker: uint256 = markets._moved_breaker(market_books._breakers[asset], index, block.timestamp)
    return markets._is_close_only(market_books._limits[asset]) or markets._is_tripped(breaker, index)


@internal
@view
def _room_gwei(asset: uint256, size: int256, is_long: bool, made_at: uint256) -> uint256:
    """
    @dev The most that a side may grow by, for a position of `size` on that side (negative: on the other). Everything is
         seen from that side: for shorts the skew changes its sign.
    """
    headroom: uint256 = market_books._headrooms[asset]
    exposure: uint256 = market_books._exposures[asset]
    prices: uint256 = market_books._prices[asset]
    limits: uint256 = market_books._limits[asset]
    if block.timestamp > markets._refreshed_at(headroom) + markets.HEADROOM_TTL_S:
        return 0
    skew: int256 = markets._skew(exposure)
    start_skew: int256 = markets._start_skew(exposure)
    if markets._round_at(exposure) != made_at:
        start_skew = skew
    most: int256 = convert(max(markets._skew_cap_gwei(prices), fixed_point._abs(skew)), int256)
    side: uint256 = markets._longs(exposure)
    backed: uint256 = markets._longs(headroom)
    if not is_long:
        skew = -skew
        start_skew = -start_skew
        side = markets._shorts(exposure)
        backed = markets._shorts(headroom)
    # What closes the other side moves the skew as well.
    skew += max(-size, 0)
    round_cap: int256 = convert(markets._round_cap_gwei(limits), int256)
    room: int256 = min(most, start_skew + round_cap) - skew
    room = min(room, convert(markets._open_interest_cap_gwei(prices), int256) - convert(side, int256))
    room = max(min(room, convert(backed, int256)), 0)
    is_too_small: bool = max(size, 0) + room < convert(markets._min_size_gwei(limits), int256)
    if is_too_small or skew + room < start_skew - round_cap:
        return 0
    return convert(room, uint256)


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_open(limits: uint256):
    if markets._is_close_only(limits):
        reasons._fail("perps: close only")


@internal
@pure
def _require_untripped(is_tripped: bool):
    if is_tripped:
        reasons._fail("perps: breaker tripped")


@internal
@pure
def _require_min_size(is_enough: bool):
    if not is_enough:
        reasons._fail("perps: size below minimum")


@internal
@pure
def _require_interest(has_room: bool):
    if not has_room:
        reasons._fail("perps: open interest cap")


@internal
@pure
def _require_skew(is_within: bool):
    if not is_within:
        reasons._fail("perps: skew cap")


@internal
@pure
def _require_round(is_within: bool):
    if not is_within:
        reasons._fail("perps: round cap")


@internal
@view
def _require_fresh(refreshed_at: uint256):
    if block.timestamp > refreshed_at + markets.HEADROOM_TTL_S:
        reasons._fail("perps: headroom stale")


@internal
@pure
def _require_headroom(least_gwei: int256):
    if least_gwei < 0:
        reasons._fail("perps: headroom used up")
