# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Policy books
@license MIT
@author  Ballast contributors
@notice  What owners want of the default hook for their accounts: policies and bounds, in force and announced.
@dev     What is announced waits an hour, in which its owner can still take it back. Layouts in `policies.vy` and
         `bounds.vy`.
"""

from contracts.interfaces import IRebalancer
from contracts.modules import bounds
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import reasons

DELAY_S: constant(uint256) = 3_600
# A target is so far above its trigger that what lies between is worth more than selling and buying back: no asset
# requires less than this part of its value (see `margin_rates._require_jump`).
LEAST_RATE_E4: constant(uint256) = 1_351


struct Announced:
    policy_word: uint256
    sales_word: uint256
    bounds_word: uint256
    adapter: address
    ready_at: uint256


# account -> what is in force
_policies: HashMap[uint256, uint256]
_sales: HashMap[uint256, uint256]
_adapters: HashMap[uint256, address]
_bounds: HashMap[uint256, uint256]
# account -> what was announced, and from when it can be applied
_announced: HashMap[uint256, Announced]
# account -> how often any of it has changed
_versions: HashMap[uint256, uint256]


@internal
def _propose(
    account: uint256, policy_word: uint256, sales_word: uint256, adapter: address, bounds_word: uint256
):
    """@dev The first policy of an account and every tightening hold at once; what is looser waits."""
    word: uint256 = policy_word & ~policies.HAS_BOUNDS
    if bounds_word != 0:
        word = word | policies.HAS_BOUNDS
    current: uint256 = self._policies[account]
    is_tighter: bool = (
        policies._is_no_looser(word, sales_word, current, self._sales[account])
        and (adapter == self._adapters[account] or sales_word == 0)
        and bounds._is_no_looser(bounds_word, self._bounds[account])
    )
    if is_tighter or current & policies.WAS_SET == 0:
        self._put(account, word, sales_word, adapter, bounds_word)
        return
    ready_at: uint256 = block.timestamp + DELAY_S
    self._announced[account] = Announced(
        policy_word=word, sales_word=sales_word, bounds_word=bounds_word, adapter=adapter, ready_at=ready_at
    )
    log IRebalancer.PolicyAnnounced(
        account=account,
        policy_word=word,
        sales_word=sales_word,
        bounds_word=bounds_word,
        adapter=adapter,
        ready_at=ready_at,
    )


@internal
def _apply(account: uint256):
    announced: Announced = self._announced[account]
    self._require_due(announced.ready_at)
    self._put(
        account, announced.policy_word, announced.sales_word, announced.adapter, announced.bounds_word
    )


@internal
def _clear(account: uint256):
    self._put(account, policies.WAS_SET, 0, empty(address), 0)


@internal
def _put(
    account: uint256, policy_word: uint256, sales_word: uint256, adapter: address, bounds_word: uint256
):
    """@dev An announcement still waiting is withdrawn."""
    word: uint256 = policies._with_last_at(policy_word, policies._last_at(self._policies[account]))
    self._policies[account] = word
    self._sales[account] = sales_word
    self._adapters[account] = adapter
    self._announced[account] = empty(Announced)
    version: uint256 = self._versions[account] + 1
    self._versions[account] = version
    log IRebalancer.PolicyChanged(
        account=account, policy_word=word, sales_word=sales_word, adapter=adapter, version=version
    )
    if bounds_word != self._bounds[account]:
        self._bounds[account] = bounds_word
        log IRebalancer.BoundsChanged(account=account, bounds_word=bounds_word)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_owner(account: uint256):
    if msg.sender != packing._owner(account):
        reasons._fail("rebalancer: only the owner")


@internal
@pure
def _require_band(policy: IRebalancer.Policy, target_bps: uint256):
    """
    @dev A target of 0 is no guard yet. From trigger to target equity rises by at least (target - trigger) 13.51% of what
         is held; that must be worth more than a sale and a purchase of all of it.
    """
    if target_bps == 0:
        return
    if policy.trigger_bps >= target_bps:
        reasons._fail("rebalancer: trigger above target")
    for sale: IRebalancer.Sale in policy.sales:
        cost_bps: uint256 = sale.cost_bps + sale.impact_bps
        if (target_bps - policy.trigger_bps) * LEAST_RATE_E4 < 2 * cost_bps * fixed_point.BPS:
            reasons._fail("rebalancer: band below its cost")


@internal
@view
def _require_due(ready_at: uint256):
    if ready_at == 0 or block.timestamp < ready_at:
        reasons._fail("rebalancer: nothing to apply yet")
