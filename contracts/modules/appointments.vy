# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Appointments
@license MIT
@author  Ballast contributors
@notice  Which hook an owner appointed for an account, under which guard and allocation: in force, and announced.
@dev     What gives a hook less room is in force at once; what gives it more waits an hour, in which the owner, or whoever
         watches for him, can still revoke.
"""

from contracts.interfaces import IMandates
from contracts.modules import allocations
from contracts.modules import guards
from contracts.modules import packing
from contracts.modules import reasons

DELAY_S: constant(uint256) = 3_600

# account -> the hook in force
_hooks: HashMap[uint256, address]
# account -> the guard in force
_guards: HashMap[uint256, uint256]
# account -> announced hook u160 | ready_at u40, and the announced guard
_announced_hooks: HashMap[uint256, uint256]
_announced_guards: HashMap[uint256, uint256]
# account -> limits and weights in force; announced limits | ready_at << 160, and announced weights
_limits: HashMap[uint256, uint256]
_weights: HashMap[uint256, uint256]
_announced_limits: HashMap[uint256, uint256]
_announced_weights: HashMap[uint256, uint256]


@internal
def _set_guard(account: uint256, hook: address, guard: IMandates.Guard):
    """@dev Of two guards the looser waits, and so does another hook."""
    self._check_owner(account)
    word: uint256 = guards._packed(guard)
    current: uint256 = self._guards[account]
    current_hook: address = self._hooks[account]
    is_tighter: bool = hook == current_hook or hook == empty(address)
    if current == 0 or (is_tighter and guards._is_no_looser(word, current)):
        self._put_guard(account, hook, word)
        return
    ready_at: uint256 = block.timestamp + DELAY_S
    self._announced_hooks[account] = convert(hook, uint256) | (ready_at << 160)
    self._announced_guards[account] = word
    log IMandates.GuardAnnounced(account=account, hook=hook, guard_word=word, ready_at=ready_at)


@internal
def _apply_guard(account: uint256):
    announced: uint256 = self._announced_hooks[account]
    self._require_ready(announced)
    self._put_guard(account, packing._token(announced), self._announced_guards[account])


@internal
def _set_allocation(account: uint256, allocation: IMandates.Allocation):
    """@dev None takes all room away and holds at once; any other gives some."""
    self._check_owner(account)
    limits: uint256 = 0
    weights: uint256 = 0
    limits, weights = allocations._packed(allocation)
    if self._guards[account] == 0 or (limits == 0 and weights == 0):
        self._put_allocation(account, limits, weights)
        return
    ready_at: uint256 = block.timestamp + DELAY_S
    self._announced_limits[account] = limits | (ready_at << 160)
    self._announced_weights[account] = weights
    log IMandates.AllocationAnnounced(
        account=account, limits_word=limits, weights_word=weights, ready_at=ready_at
    )


@internal
def _apply_allocation(account: uint256):
    announced: uint256 = self._announced_limits[account]
    self._require_ready(announced)
    self._put_allocation(account, announced & packing.MASK_160, self._announced_weights[account])


@internal
def _revoke(account: uint256):
    self._check_owner(account)
    self._put_guard(account, empty(address), guards.REVOKED)


@internal
@view
def _guard_word(account: uint256) -> uint256:
    """@dev The guard in force, 0 for none and for none any more."""
    word: uint256 = self._guards[account]
    if word == guards.REVOKED:
        return 0
    return word


@internal
@view
def _announced_guard(account: uint256) -> (address, uint256, uint256):
    announced: uint256 = self._announced_hooks[account]
    return packing._token(announced), self._announced_guards[account], announced >> 160


@internal
@view
def _announced_allocation(account: uint256) -> (uint256, uint256, uint256):
    announced: uint256 = self._announced_limits[account]
    return announced & packing.MASK_160, self._announced_weights[account], announced >> 160


@internal
def _put_guard(account: uint256, hook: address, guard_word: uint256):
    """@dev An announcement still waiting is withdrawn; the word says which allocation it stands beside."""
    word: uint256 = guard_word
    if word != guards.REVOKED:
        word = guards._with_allocation(word, self._limits[account], self._weights[account])
    self._hooks[account] = hook
    self._guards[account] = word
    self._announced_hooks[account] = 0
    self._announced_guards[account] = 0
    log IMandates.GuardChanged(account=account, hook=hook, guard_word=word)


@internal
def _put_allocation(account: uint256, limits: uint256, weights: uint256):
    """@dev As for a guard."""
    self._limits[account] = limits
    self._weights[account] = weights
    self._announced_limits[account] = 0
    self._announced_weights[account] = 0
    word: uint256 = self._guards[account]
    if word != 0 and word != guards.REVOKED:
        self._guards[account] = guards._with_allocation(word, limits, weights)
    log IMandates.AllocationChanged(account=account, limits_word=limits, weights_word=weights)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_owner(account: uint256):
    if msg.sender != packing._owner(account):
        reasons._fail("mandates: only the owner")


@internal
@view
def _require_ready(announced: uint256):
    ready_at: uint256 = announced >> 160
    if ready_at == 0 or block.timestamp < ready_at:
        reasons._fail("mandates: nothing to apply yet")
