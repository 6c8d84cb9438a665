# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Budgets
@license MIT
@author  Ballast contributors
@notice  What mandates may lose, one budget per owner so that siblings cannot multiply it, and what they may take
         from the owner's wallet, one cap per account.
@dev     A budget refills with time up to its capacity and never from gains; beyond its lifetime it stays empty
         until the owner arms it again. All values in WAD of the quote token.
@custom:invariant I14 I16
"""

from contracts.interfaces import IMandates
from contracts.modules import fixed_point
from contracts.modules import guards
from contracts.modules import reasons

MICRO_WAD: constant(uint256) = 10**12
MASK_32: constant(uint256) = 2**32 - 1
MASK_64: constant(uint256) = 2**64 - 1
MASK_96: constant(uint256) = 2**96 - 1

# owner -> capacity u64 | available u64 | lifetime left u64 | period_s u32 | refilled_at u32, amounts in 1e-6 of the
# quote token, what is left as of the last loss or arming
_budgets: HashMap[address, uint256]
# account -> pulled u96 | period_start u40
_pulled: HashMap[uint256, uint256]


@internal
def _arm(owner: address, budget: IMandates.Budget):
    self._require_budget(budget)
    capacity: uint256 = budget.capacity // MICRO_WAD
    self._budgets[owner] = self._word(capacity, capacity, budget.lifetime // MICRO_WAD, budget.period_s)
    log IMandates.BudgetArmed(
        owner=owner, capacity=budget.capacity, period_s=budget.period_s, lifetime=budget.lifetime
    )


@internal
@view
def _budget_of(owner: address) -> IMandates.Budget:
    word: uint256 = self._budgets[owner]
    return IMandates.Budget(
        capacity=(word & MASK_64) * MICRO_WAD,
        period_s=(word >> 192) & MASK_32,
        lifetime=((word >> 128) & MASK_64) * MICRO_WAD,
    )


@internal
@view
def _left(owner: address) -> uint256:
    return self._left_micro(self._budgets[owner]) * MICRO_WAD


@internal
@view
def _left_micro(word: uint256) -> uint256:
    """@dev min(capacity, available + capacity dt / period, lifetime), rounded down."""
    if word == 0:
        return 0
    capacity: uint256 = word & MASK_64
    refill: uint256 = capacity * (block.timestamp - (word >> 224)) // ((word >> 192) & MASK_32)
    available: uint256 = min(capacity, ((word >> 64) & MASK_64) + refill)
    return min(available, (word >> 128) & MASK_64)


@internal
@view
def _word(capacity: uint256, available: uint256, lifetime: uint256, period_s: uint256) -> uint256:
    return capacity | (available << 64) | (lifetime << 128) | (period_s << 192) | (block.timestamp << 224)


@internal
def _spend(owner: address, loss: uint256) -> uint256:
    """@dev A loss in WAD, rounded up; returns what is left. A mandate without loss writes nothing."""
    word: uint256 = self._budgets[owner]
    left: uint256 = self._left_micro(word)
    spent: uint256 = fixed_point._div_up(loss, MICRO_WAD)
    self._require_within_budget(spent, left)
    if spent != 0:
        left -= spent
        lifetime: uint256 = ((word >> 128) & MASK_64) - spent
        self._budgets[owner] = self._word(word & MASK_64, left, lifetime, (word >> 192) & MASK_32)
    return left * MICRO_WAD


@internal
@view
def _wallet_left(account: uint256, guard_word: uint256) -> uint256:
    cap: uint256 = guards._wallet_cap(guard_word)
    if cap == 0:
        return 0
    word: uint256 = self._pulled[account]
    if block.timestamp >= (word >> 96) + guards._wallet_period_s(guard_word):
        return cap
    pulled: uint256 = word & MASK_96
    if pulled >= cap:
        return 0
    return cap - pulled


@internal
def _count_pull(account: uint256, guard_word: uint256, amount_wad: uint256):
    self._require_within_cap(amount_wad, self._wallet_left(account, guard_word))
    word: uint256 = self._pulled[account]
    if block.timestamp >= (word >> 96) + guards._wallet_period_s(guard_word):
        word = block.timestamp << 96
    word += amount_wad
    self._pulled[account] = word
    log IMandates.WalletPulled(account=account, amount=amount_wad, pulled_word=word)


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_budget(budget: IMandates.Budget):
    is_sized: bool = budget.capacity <= MASK_64 * MICRO_WAD and budget.lifetime <= MASK_64 * MICRO_WAD
    if not is_sized or budget.period_s == 0 or budget.period_s > MASK_32:
        reasons._fail("budgets: field out of range")


@internal
@pure
def _require_within_budget(loss: uint256, left: uint256):
    if loss > left:
        reasons._fail("budgets: loss above budget")


@internal
@pure
def _require_within_cap(amount_wad: uint256, left: uint256):
    if amount_wad > left:
        reasons._fail("budgets: wallet cap reached")
