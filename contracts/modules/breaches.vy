# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Breaches
@license MIT
@author  Ballast contributors
@notice  Since when accounts are in breach, when a rescue was last tried, and which of them hold lenders' exits.
@dev     below_since u40 | triggered_since u40 | rescued_at u40 | held_at u40 | is_holding u8 | seen_at u40. A breach
         counts for as long as somebody finds it there every ten minutes: nobody has to report a cure, and a flag that was
         forgotten is worth nothing. The times of a rescue and of a hold survive a cure, or curing would renew the right to
         either.
"""

from contracts.interfaces import ILiquidator
from contracts.modules import packing

# A breach that nobody has looked at for longer has begun anew.
WATCH_S: constant(uint256) = 600
RESCUE_PERIOD_S: constant(uint256) = 600
# Lenders wait so long for a loss to be booked, once per account and day.
HOLD_S: constant(uint256) = 3_600
HOLD_PERIOD_S: constant(uint256) = 86_400

# What a mark leaves as it is: rescued_at, held_at and is_holding.
KEPT_MASK: constant(uint256) = 2**88 - 1
IS_HOLDING: constant(uint256) = 1 << 160
SEEN_SHIFT: constant(uint256) = 168

_words: HashMap[uint256, uint256]
# Accounts whose loss is not booked yet and holds the exits; one may have been counted longer than its hold lasts.
_holding: uint256


@internal
@view
def _below_since(account: uint256) -> uint256:
    return self._watched(self._words[account]) & packing.MASK_40


@internal
@view
def _triggered_since(account: uint256) -> uint256:
    return (self._watched(self._words[account]) >> 40) & packing.MASK_40


@internal
@view
def _watched(word: uint256) -> uint256:
    """@dev The word without times that nobody has kept alive."""
    if block.timestamp > (word >> SEEN_SHIFT) + WATCH_S:
        return word & ~packing.MASK_80
    return word


@internal
@view
def _is_rescue_due(account: uint256) -> bool:
    return block.timestamp >= ((self._words[account] >> 80) & packing.MASK_40) + RESCUE_PERIOD_S


@internal
@view
def _is_hold_due(account: uint256) -> bool:
    held_at: uint256 = (self._words[account] >> 120) & packing.MASK_40
    return held_at == 0 or block.timestamp >= held_at + HOLD_PERIOD_S


@internal
def _mark(account: uint256, is_below: bool, is_triggered: bool) -> bool:
    """
    @dev A breach that goes on keeps its time; a cure resets it. Returns whether nobody holds the exits any more, because
         this account was the last that did.
    """
    word: uint256 = self._words[account]
    watched: uint256 = self._watched(word)
    since: uint256 = 0
    if is_below:
        since = self._begun(watched & packing.MASK_40)
    if is_triggered:
        since |= self._begun((watched >> 40) & packing.MASK_40) << 40
    changed: uint256 = (word & (KEPT_MASK << 80)) | since
    if since != 0:
        changed |= block.timestamp << SEEN_SHIFT
    is_released: bool = not is_below and changed & IS_HOLDING != 0
    if is_released:
        changed = changed & ~IS_HOLDING
        self._holding -= 1
    if changed != word:
        self._words[account] = changed
    if since != word & packing.MASK_80:
        log ILiquidator.Flagged(
            account=account, below_since=since & packing.MASK_40, triggered_since=since >> 40
        )
    return is_released and self._holding == 0


@internal
@view
def _begun(since: uint256) -> uint256:
    if since == 0:
        return block.timestamp
    return since


@internal
def _count_rescue(account: uint256):
    word: uint256 = self._words[account]
    self._words[account] = (word & ~(packing.MASK_40 << 80)) | (block.timestamp << 80)


@internal
def _hold(account: uint256):
    """@dev The account holds the exits from now on."""
    word: uint256 = self._words[account]
    if word & IS_HOLDING == 0:
        self._holding += 1
    self._words[account] = (word & ~(packing.MASK_40 << 120)) | (block.timestamp << 120) | IS_HOLDING
