# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Guards
@license MIT
@author  Ballast contributors
@notice  An owner's guard in one word, and which of two guards is the looser.
@dev     target_bps u16 | band_bps u16 | slippage_bps u16 | floor_bps u16 | wallet_period_s u32 | wallet_cap u96
         from the lowest bit, then whether there is an allocation (`modules/allocations.vy`), which anticipates coming
         requirements or not. A word of 0 is no guard yet; REVOKED alone is none any more, so that the next one waits
         like any other loosening.
"""

from contracts.interfaces import IMandates
from contracts.modules import allocations
from contracts.modules import reasons

MASK_16: constant(uint256) = 2**16 - 1
MASK_32: constant(uint256) = 2**32 - 1
MASK_96: constant(uint256) = 2**96 - 1
BPS: constant(uint256) = 10**4
REVOKED: constant(uint256) = 1 << 192
ALLOCATES: constant(uint256) = 1 << 193
ANTICIPATES: constant(uint256) = 1 << 194
MAX_SLIPPAGE_BPS: constant(uint256) = 1_000


@internal
@pure
def _target_bps(word: uint256) -> uint256:
    return word & MASK_16


@internal
@pure
def _band_bps(word: uint256) -> uint256:
    return (word >> 16) & MASK_16


@internal
@pure
def _slippage_bps(word: uint256) -> uint256:
    return (word >> 32) & MASK_16


@internal
@pure
def _floor_bps(word: uint256) -> uint256:
    return (word >> 48) & MASK_16


@internal
@pure
def _wallet_period_s(word: uint256) -> uint256:
    return (word >> 64) & MASK_32


@internal
@pure
def _wallet_cap(word: uint256) -> uint256:
    return (word >> 96) & MASK_96


@internal
@pure
def _allocates(word: uint256) -> bool:
    return word & ALLOCATES != 0


@internal
@pure
def _anticipates(word: uint256) -> bool:
    return word & ANTICIPATES != 0


@internal
@pure
def _with_allocation(word: uint256, limits: uint256, weights: uint256) -> uint256:
    """@dev A guard beside these words of an allocation."""
    flags: uint256 = 0
    if limits != 0 or weights != 0:
        flags = ALLOCATES
    if allocations._anticipates(limits):
        flags = flags | ANTICIPATES
    return (word & ~(ALLOCATES | ANTICIPATES)) | flags


@internal
@pure
def _packed(guard: IMandates.Guard) -> uint256:
    self._require_guard(guard)
    return (
        guard.target_bps
        | (guard.band_bps << 16)
        | (guard.slippage_bps << 32)
        | (guard.floor_bps << 48)
        | (guard.wallet_period_s << 64)
        | (guard.wallet_cap << 96)
    )


@internal
@pure
def _unpacked(word: uint256) -> IMandates.Guard:
    return IMandates.Guard(
        target_bps=self._target_bps(word),
        band_bps=self._band_bps(word),
        slippage_bps=self._slippage_bps(word),
        floor_bps=self._floor_bps(word),
        wallet_cap=self._wallet_cap(word),
        wallet_period_s=self._wallet_period_s(word),
    )


@internal
@pure
def _is_no_looser(new: uint256, old: uint256) -> bool:
    """
    @dev What gives a hook more room is looser: a higher target or band sells more, a lower floor donates more, a
         larger or faster refilling wallet cap pulls more.
    """
    is_trade_tighter: bool = (
        self._target_bps(new) <= self._target_bps(old)
        and self._target_bps(new) + self._band_bps(new) <= self._target_bps(old) + self._band_bps(old)
        and self._slippage_bps(new) <= self._slippage_bps(old)
    )
    donates_less: bool = self._floor_bps(new) == 0 or (
        self._floor_bps(old) != 0 and self._floor_bps(new) >= self._floor_bps(old)
    )
    pulls_less: bool = self._wallet_cap(new) == 0 or (
        self._wallet_cap(new) <= self._wallet_cap(old)
        and self._wallet_period_s(new) >= self._wallet_period_s(old)
    )
    return is_trade_tighter and donates_less and pulls_less


@internal
@pure
def _require_guard(guard: IMandates.Guard):
    is_target: bool = guard.target_bps >= BPS and guard.target_bps <= MASK_16
    is_band: bool = guard.band_bps != 0 and guard.band_bps <= BPS and guard.slippage_bps <= MAX_SLIPPAGE_BPS
    # A donor keeps its own target, or what it gave would have to be given back (T61).
    is_floor: bool = guard.floor_bps == 0 or (guard.floor_bps >= guard.target_bps and guard.floor_bps <= MASK_16)
    is_wallet: bool = guard.wallet_cap <= MASK_96 and guard.wallet_period_s <= MASK_32
    if guard.wallet_cap != 0 and guard.wallet_period_s == 0:
        is_wallet = False
    if not (is_target and is_band and is_floor and is_wallet):
        reasons._fail("guards: field out of range")
