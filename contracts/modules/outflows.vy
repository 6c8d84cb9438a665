# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Outflows
@license MIT
@author  Ballast contributors
@notice  How fast a total may fall by withdrawals: at most a part of it in a day, so that neither a bug nor a stolen key
         empties it at once.
@dev     outflow   level u96 | last u96 | counted_at u32 | limit_bps u16 | floor_log2 u8

         A level follows the total and is there after a day: it moves by the part of a day that has passed toward the
         lesser of what was left after the last withdrawal and what is there now. A withdrawal must leave the level
         less the larger of `limit_bps` of a base and 2**floor_log2.
         No flow is counted. What comes back may leave again, and what is only brought in and taken out, in one call or
         from block to block, moves the level by as little as it stayed: nobody uses up what others may withdraw with
         money that he did not leave here.
         Amounts are below 2**96 in whatever unit the keeper of the word counts.
         Warning: what came in since the last withdrawal is not protected until a day after the next one.
"""

from contracts.modules import fixed_point
from contracts.modules import reasons

DAY_S: constant(uint256) = 86_400
MASK_16: constant(uint256) = 2**16 - 1
MASK_32: constant(uint256) = 2**32 - 1
MASK_96: constant(uint256) = 2**96 - 1


@internal
@pure
def _word(level: uint256, last: uint256, counted_at: uint256, limit_bps: uint256, floor_log2: uint256) -> uint256:
    return level | (last << 96) | (counted_at << 192) | (limit_bps << 224) | (floor_log2 << 240)


@internal
@pure
def _limit_bps(word: uint256) -> uint256:
    return (word >> 224) & MASK_16


@internal
@pure
def _floor_log2(word: uint256) -> uint256:
    return word >> 240


@internal
@pure
def _is_off(word: uint256) -> bool:
    """@dev Never set, or set to all of it."""
    return word == 0 or self._limit_bps(word) == fixed_point.BPS


@internal
@view
def _level_up(word: uint256, total: uint256) -> uint256:
    """@dev Where the level is now, of a total as it is before the withdrawal. Amounts are below 2**96, a day below 2**17."""
    level: uint256 = word & MASK_96
    aim: uint256 = min((word >> 96) & MASK_96, total)
    passed_s: uint256 = min(unsafe_sub(block.timestamp, (word >> 192) & MASK_32), DAY_S)
    if aim > level:
        moved: uint256 = unsafe_mul(unsafe_sub(aim, level), passed_s)
        return unsafe_add(level, unsafe_div(unsafe_add(moved, DAY_S - 1), DAY_S))
    return unsafe_sub(level, unsafe_div(unsafe_mul(unsafe_sub(level, aim), passed_s), DAY_S))


@internal
@pure
def _least(word: uint256, level: uint256, base: uint256) -> uint256:
    """@dev What must be left."""
    part: uint256 = unsafe_div(unsafe_mul(base, (word >> 224) & MASK_16), fixed_point.BPS)
    return unsafe_sub(level, min(level, max(part, 1 << (word >> 240))))


@internal
@view
def _open(word: uint256, total: uint256, base: uint256) -> uint256:
    """@dev What may leave now; `total` is what is there, `base` what the limit is a part of."""
    if self._is_off(word):
        return total
    return total - min(total, self._least(word, self._level_up(word, total), base))


@internal
@view
def _counted(word: uint256, level: uint256, left: uint256) -> uint256:
    """@dev The word after a withdrawal that was allowed, from the level on that it began at."""
    return (word >> 224 << 224) | level | (left << 96) | (block.timestamp << 192)


@internal
@view
def _set(word: uint256, total: uint256, limit_bps: uint256, floor_log2: uint256) -> uint256:
    """@dev Other terms; the level goes on, or begins at the total where there was no limit."""
    self._require_terms(limit_bps, floor_log2)
    if self._is_off(word):
        return self._word(total, total, block.timestamp, limit_bps, floor_log2)
    return self._word(
        self._level_up(word, total), (word >> 96) & MASK_96, block.timestamp, limit_bps, floor_log2
    )


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_terms(limit_bps: uint256, floor_log2: uint256):
    if limit_bps > fixed_point.BPS or floor_log2 > 95:
        reasons._fail("outflows: terms out of range")


@internal
@pure
def _require_left(amount: uint256, left: uint256, least: uint256):
    if left < least and amount != 0:
        reasons._fail("outflows: wait for the limit")
