# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Bounds
@license MIT
@author  Ballast contributors
@notice  The bounds within which a policy is carried out, in one word, and what is remembered between two rebalances.
@dev     bounds  expires_at u32 | emergency_cooldown_s u16 | max_step u48 | gas_cap_gwei u16 | confirms u1 | call_s u31
                | buffer_bps u16 | horizon_s u24 | payer u8 | pay_bps u8 | pay_cap u40 | gap_per_pay u8, from the
                lowest bit; max_step in whole quote tokens, pay_cap in hundredths
         state  deadline u40 | unfinished_at u40 | allocated_at u40
"""

from contracts.interfaces import IRebalancer
from contracts.modules import reasons

MASK_8: constant(uint256) = 2**8 - 1
MASK_16: constant(uint256) = 2**16 - 1
MASK_24: constant(uint256) = 2**24 - 1
MASK_31: constant(uint256) = 2**31 - 1
MASK_32: constant(uint256) = 2**32 - 1
MASK_40: constant(uint256) = 2**40 - 1
MASK_48: constant(uint256) = 2**48 - 1
WAD: constant(uint256) = 10**18
CENT_WAD: constant(uint256) = 10**16
# A margin call that its owner did not answer allows sales for so long; then the next trigger calls again.
CALL_VALID_S: constant(uint256) = 86_400
# What a maximum step left to do is gone on with for so long.
UNFINISHED_S: constant(uint256) = 3_600


@internal
@pure
def _expires_at(word: uint256) -> uint256:
    return word & MASK_32


@internal
@pure
def _emergency_cooldown_s(word: uint256) -> uint256:
    return (word >> 32) & MASK_16


@internal
@pure
def _max_step(word: uint256) -> uint256:
    return ((word >> 48) & MASK_48) * WAD


@internal
@pure
def _gas_cap_gwei(word: uint256) -> uint256:
    return (word >> 96) & MASK_16


@internal
@pure
def _confirms(word: uint256) -> bool:
    return (word >> 112) & 1 != 0


@internal
@pure
def _call_s(word: uint256) -> uint256:
    return (word >> 113) & MASK_31


@internal
@pure
def _buffer_bps(word: uint256) -> uint256:
    return (word >> 144) & MASK_16


@internal
@pure
def _horizon_s(word: uint256) -> uint256:
    return (word >> 160) & MASK_24


@internal
@pure
def _payer(word: uint256) -> uint256:
    return (word >> 184) & MASK_8


@internal
@pure
def _pay_bps(word: uint256) -> uint256:
    return (word >> 192) & MASK_8


@internal
@pure
def _pay_cap(word: uint256) -> uint256:
    return ((word >> 200) & MASK_40) * CENT_WAD


@internal
@pure
def _gap_per_pay(word: uint256) -> uint256:
    return word >> 240


@internal
@pure
def _packed(bounds: IRebalancer.Bounds) -> uint256:
    self._require_bounds(bounds)
    word: uint256 = (
        bounds.expires_at
        | (bounds.emergency_cooldown_s << 32)
        | (bounds.max_step // WAD << 48)
        | (bounds.gas_cap_gwei << 96)
        | (bounds.call_s << 113)
        | (bounds.buffer_bps << 144)
        | (bounds.horizon_s << 160)
        | (bounds.payer << 184)
        | (bounds.pay_bps << 192)
        | (bounds.pay_cap // CENT_WAD << 200)
        | (bounds.gap_per_pay << 240)
    )
    if bounds.confirms:
        word = word | (1 << 112)
    return word


@internal
@pure
def _unpacked(word: uint256) -> IRebalancer.Bounds:
    return IRebalancer.Bounds(
        expires_at=self._expires_at(word),
        emergency_cooldown_s=self._emergency_cooldown_s(word),
        max_step=self._max_step(word),
        gas_cap_gwei=self._gas_cap_gwei(word),
        confirms=self._confirms(word),
        call_s=self._call_s(word),
        buffer_bps=self._buffer_bps(word),
        horizon_s=self._horizon_s(word),
        payer=self._payer(word),
        pay_bps=self._pay_bps(word),
        pay_cap=self._pay_cap(word),
        gap_per_pay=self._gap_per_pay(word),
    )


@internal
@pure
def _is_no_looser(new: uint256, old: uint256) -> bool:
    """@dev What acts more, sooner, for longer or pays more is looser. A limit of 0 is none."""
    is_bounded: bool = (
        self._is_no_higher(self._expires_at(new), self._expires_at(old))
        and self._is_no_higher(self._max_step(new), self._max_step(old))
        and self._is_no_higher(self._gas_cap_gwei(new), self._gas_cap_gwei(old))
    )
    is_slower: bool = (
        self._emergency_cooldown_s(new) >= self._emergency_cooldown_s(old)
        and self._call_s(new) >= self._call_s(old)
        and (self._confirms(new) or not self._confirms(old))
        and self._buffer_bps(new) <= self._buffer_bps(old)
        and (self._buffer_bps(new) == 0 or self._horizon_s(new) <= self._horizon_s(old))
    )
    pays_less: bool = self._pay_cap(new) == 0 or (
        self._payer(new) == self._payer(old)
        and self._pay_bps(new) <= self._pay_bps(old)
        and self._pay_cap(new) <= self._pay_cap(old)
        and self._gap_per_pay(new) >= self._gap_per_pay(old)
    )
    return is_bounded and is_slower and pays_less


@internal
@pure
def _is_no_higher(new: uint256, old: uint256) -> bool:
    return old == 0 or (new != 0 and new <= old)


################################################################
#                             State                            #
################################################################


@internal
@pure
def _deadline(state: uint256) -> uint256:
    return state & MASK_40


@internal
@pure
def _unfinished_at(state: uint256) -> uint256:
    return (state >> 40) & MASK_40


@internal
@pure
def _allocated_at(state: uint256) -> uint256:
    return (state >> 80) & MASK_40


@internal
@pure
def _state(deadline: uint256, unfinished_at: uint256, allocated_at: uint256) -> uint256:
    return deadline | (unfinished_at << 40) | (allocated_at << 80)


@internal
@view
def _is_unfinished(state: uint256) -> bool:
    """@dev Whether the last rebalance stopped at its maximum step, not long ago."""
    return block.timestamp <= self._unfinished_at(state) + UNFINISHED_S


@internal
@view
def _is_called(state: uint256) -> bool:
    """@dev Whether the owner was called and may still answer, or has let the deadline pass."""
    return block.timestamp < self._deadline(state) + CALL_VALID_S


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_bounds(b: IRebalancer.Bounds):
    """@dev Whoever pays says how much has to be cured for it: without that a crumb would be paid for."""
    is_timed: bool = b.expires_at <= MASK_32 and b.emergency_cooldown_s <= MASK_16 and b.call_s <= MASK_31
    is_sized: bool = b.max_step <= MASK_48 * WAD and (b.max_step == 0 or b.max_step >= WAD)
    is_priced: bool = b.gas_cap_gwei <= MASK_16 and b.payer <= MASK_8 and b.pay_bps <= MASK_8
    is_paid: bool = b.pay_cap <= MASK_40 * CENT_WAD and b.gap_per_pay <= MASK_8 and (
        b.pay_cap == 0 or b.gap_per_pay != 0
    )
    is_buffer: bool = b.buffer_bps <= MASK_16 and b.horizon_s <= MASK_24 and (b.buffer_bps == 0) == (b.horizon_s == 0)
    if not (is_timed and is_sized and is_priced and is_paid and is_buffer):
        reasons._fail("bounds: field out of range")
