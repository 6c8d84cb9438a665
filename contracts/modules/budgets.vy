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
from contracts.modules import guards
from contracts.modules import reasons

MASK_32: constant(uint256) = 2**32 - 1
MASK_96: constant(uint256) = 2**96 - 1

# owner -> capacity u96 | lifetime u96 | period_s u32
_budgets: HashMap[address, uint256]
# owner -> available u96 | refilled_at u40, as of the last loss or arming
_available: HashMap[address, uint256]
# account -> pulled u96 | period_start u40
_pulled: HashMap[uint256, uint256]


@internal
def _arm(owner: address, budget: IMandates.Budget):
    self._require_budget(budget)
    self._budgets[owner] = budget.capacity | (budget.lifetime << 96) | (budget.period_s << 192)
    self._available[owner] = budget.capacity | (block.timestamp << 96)
    log IMandates.BudgetArmed(
        owner=owner, capacity=budget.capacity, period_s=budget.period_s, lifetime=budget.lifetime
    )


@internal
@view
def _budget_of(owner: address) -> IMandates.Budget:
    word: uint256 = self._budgets[owner]
    return IMandates.Budget(capacity=word & MASK_96, period_s=word >> 192, lifetime=(word >> 96) & MASK_96)


@internal
@view
def _left(owner: address) -> uint256:
    """@dev min(capacity, available + capacity dt / period, lifetime), rounded down."""
    word: uint256 = self._budgets[owner]
    if word == 0:
        return 0
    capacity: uint256 = word & MASK_96
    stored: uint256 = self._available[owner]
    refill: uint256 = capacity * (block.timestamp - (stored >> 96)) // (word >> 192)
    available: uint256 = min(capacity, (stored & MASK_96) + refill)
    return min(available, (word >> 96) & MASK_96)


@internal
def _spend(owner: address, loss: uint256) -> uint256:
    """@dev Returns what is left. A mandate without loss writes nothing."""
    left: uint256 = self._left(owner)
    self._require_within_budget(loss, left)
    if loss == 0:
        return left
    self._available[owner] = (left - loss) | (block.timestamp << 96)
    self._budgets[owner] -= loss << 96
    return left - loss


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
    self._pulled[account] = word + amount_wad


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_budget(budget: IMandates.Budget):
    is_sized: bool = budget.capacity <= MASK_96 and budget.lifetime <= MASK_96
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
