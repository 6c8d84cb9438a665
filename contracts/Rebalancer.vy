# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Rebalancer
@license MIT
@author  Ballast contributors
@notice  The default hook. When an account's equity falls below its trigger, it brings it back to the target by
         the cheapest means its policy allows: gains, cash and collateral of siblings, the owner's wallet, sales, and
         trades of perpetuals.
@dev     Policy, no custody. It acts only inside a mandate and what it does is judged there. Every size is a closed
         form of the shortfall (`modules/sizing.vy`), so whoever calls has no influence on what happens. What to do
         is the answer of `Planner`, a view; this contract keeps the policies and acts.
@custom:invariant I14 I17
@custom:kill  An owner clears the policy or revokes the guard.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandateHook
from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import guards
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import readiness
from contracts.modules import reasons
from contracts.modules import steps

implements: IMandateHook
implements: IRebalancer

# The plan, and what is planned anew after a step was refused.
MAX_PLANS: constant(uint256) = 3
# A refused sale or trade is tried at half and at a quarter of its size.
MAX_HALVINGS: constant(uint256) = 2
STEP_GAS: constant(uint256) = 800_000
# What an unwinding may use beyond a sale.
TRADE_GAS: constant(uint256) = 400_000
# To record and to return.
RESERVED_GAS: constant(uint256) = 400_000
# To plan again: sixteen assets with a market each, and what is reserved besides.
PLAN_GAS: constant(uint256) = 2_000_000
SWAP: constant(Bytes[4]) = method_id("swap(address,uint256,uint256,uint256,uint256)")
PULL: constant(Bytes[4]) = method_id("pull(uint256)")
MOVE: constant(Bytes[4]) = method_id("move(uint256,uint256,uint256)")
TRADE: constant(Bytes[4]) = method_id("trade(uint256,int256)")
SETTLE: constant(Bytes[4]) = method_id("settle(uint256)")
UNWIND: constant(Bytes[4]) = method_id("unwind(address,uint256,uint256,uint256)")

CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
PLANNER: public(immutable(address))
UNIT_WAD: immutable(uint256)

# Policy, sales and adapter of each account: layouts in `modules/policies.vy`.
_policies: HashMap[uint256, uint256]
_sales: HashMap[uint256, uint256]
_adapters: HashMap[uint256, address]


@deploy
def __init__(clearinghouse: address, mandates: address, planner: address):
    """
    @param clearinghouse  Deployed already: the quote token's unit is read from it.
    @param mandates       The only caller of `on_mandate`.
    @param planner        Says what to do; belongs to the same system.
    """
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    PLANNER = planner
    UNIT_WAD = packing._unit_wad(staticcall IClearinghouse(clearinghouse).asset_word(steps.QUOTE_ASSET))


################################################################
#                          For owners                          #
################################################################


@external
def set_policy(account: uint256, policy: IRebalancer.Policy):
    """@notice Sets the policy of an account; the time of its last rebalance is kept."""
    self._check_owner(account)
    guard_word: uint256 = staticcall IMandates(MANDATES).guard_word(account)
    self._require_trigger(policy.trigger_bps, guards._target_bps(guard_word))
    word: uint256 = policies._with_last_at(policies._packed(policy), policies._last_at(self._policies[account]))
    self._put_policy(account, word, policies._packed_sales(policy), policy.adapter)


@external
def clear_policy(account: uint256):
    """@notice Takes the policy away; the time of its last rebalance is kept."""
    self._check_owner(account)
    word: uint256 = policies._with_last_at(0, policies._last_at(self._policies[account]))
    self._put_policy(account, word, 0, empty(address))


################################################################
#                         For mandates                         #
################################################################


@external
def on_mandate(account: uint256, guard_word: uint256, picture: IMandates.Snapshot):
    """@notice Plans and executes; each reason not to act is its own revert."""
    self._check_mandates()
    taken: uint256 = 0
    refused: uint256[steps.KINDS] = empty(uint256[steps.KINDS])
    refusals: uint256 = 0
    now: IMandates.Snapshot = picture
    for attempt: uint256 in range(MAX_PLANS):
        if attempt != 0 and msg.gas < PLAN_GAS:
            break
        if attempt != 0:
            now = staticcall IMandates(MANDATES).snapshot(account)
        plan: IRebalancer.Plan = self._plan(account, guard_word, now, refused)
        if attempt == 0:
            self._require_ready(plan.code)
        if plan.code != readiness.READY:
            break
        count: uint256 = 0
        failed: uint256 = 0
        refused, count, failed = self._execute(account, plan, refused)
        taken += count
        refusals += failed
        if failed == 0:
            break
    self._require_progress(taken)
    word: uint256 = self._policies[account]
    is_settled: bool = refusals == 0
    if not is_settled:
        now = staticcall IMandates(MANDATES).snapshot(account)
        shortfall: uint256 = readiness._shortfall_up(now, guards._target_bps(guard_word))
        is_settled = readiness._code(word, now, shortfall, UNIT_WAD) == readiness.ABOVE_TRIGGER
    # The cooldown starts once what was wanted was done, so that nobody can start it with a crumb.
    if is_settled:
        self._policies[account] = policies._with_last_at(word, block.timestamp)


################################################################
#                            Views                             #
################################################################


@external
@view
def plan(account: uint256) -> IRebalancer.Plan:
    """@notice The plan under the guard in force."""
    guard_word: uint256 = staticcall IMandates(MANDATES).guard_word(account)
    picture: IMandates.Snapshot = staticcall IMandates(MANDATES).snapshot(account)
    return self._plan(account, guard_word, picture, empty(uint256[steps.KINDS]))


@external
@view
def is_triggered(account: uint256) -> bool:
    """@notice Whether its policy would have a rebalance now."""
    target_bps: uint256 = guards._target_bps(staticcall IMandates(MANDATES).guard_word(account))
    picture: IMandates.Snapshot = staticcall IMandates(MANDATES).snapshot(account)
    shortfall: uint256 = readiness._shortfall_up(picture, target_bps)
    code: uint256 = readiness._code(self._policies[account], picture, shortfall, UNIT_WAD)
    return code == readiness.READY or code == readiness.COOLING_DOWN


@external
@view
def policy_of(account: uint256) -> IRebalancer.Policy:
    """@notice The policy in force."""
    return policies._unpacked(self._policies[account], self._sales[account], self._adapters[account])


@external
@view
def last_at(account: uint256) -> uint256:
    """@notice Time of the last rebalance."""
    return policies._last_at(self._policies[account])


################################################################
#                          For itself                          #
################################################################


# `on_mandate` has the lock when this contract calls itself here.
@external
@reentrant
def unwind(adapter: address, asset: uint256, size: uint256, units: uint256):
    """@notice Both halves of an unwinding, or neither."""
    self._check_self(msg.sender, self)
    extcall IMandates(MANDATES).trade(asset, convert(size, int256))
    extcall IMandates(MANDATES).swap(adapter, asset, steps.QUOTE_ASSET, units, 0)


################################################################
#                          Execution                           #
################################################################


@internal
def _execute(
    account: uint256, plan: IRebalancer.Plan, refused_: uint256[steps.KINDS]
) -> (uint256[steps.KINDS], uint256, uint256):
    """
    @dev Returns what was refused so far, how many steps were taken, whole or in part, and how many were not taken as
         planned. Every step is a captured call, so that one venue, donor, market or wallet that fails cannot keep the
         others from helping. A sale or trade that is too large is tried at half and at a quarter of its size; what is
         left of it is another step's or the next call's.
    """
    refused: uint256[steps.KINDS] = refused_
    taken: uint256 = 0
    failed: uint256 = 0
    adapter: address = self._adapters[account]
    for step: IRebalancer.Step in plan.steps:
        amount: uint256 = step.amount
        is_taken: bool = self._take(account, adapter, step, amount)
        if not is_taken and step.kind >= steps.SELL and step.kind != steps.SETTLE:
            for halving: uint256 in range(MAX_HALVINGS):
                amount = self._part(step, halving + 1)
                is_taken = amount != 0 and self._take(account, adapter, step, amount)
                if is_taken:
                    break
        if is_taken:
            taken += 1
            log IRebalancer.StepTaken(
                account=account,
                kind=step.kind,
                source=step.source,
                asset=step.asset,
                amount=amount,
                value=step.value * amount // step.amount,
                expected_cost=step.cost * amount // step.amount,
            )
        if is_taken and amount == step.amount:
            continue
        failed += 1
        log IRebalancer.StepRefused(
            account=account, kind=step.kind, source=step.source, asset=step.asset, amount=step.amount
        )
        refused = steps._with_refused(refused, step.kind, step.source, step.asset)
    return refused, taken, failed


@internal
def _take(account: uint256, adapter: address, step: IRebalancer.Step, amount: uint256) -> bool:
    """@dev Without gas for any step left in hand none is tried: what helped so far must not be undone."""
    room: address = MANDATES
    gas_needed: uint256 = STEP_GAS
    data: Bytes[164] = b""
    if step.kind == steps.SELL:
        data = abi_encode(adapter, step.asset, steps.QUOTE_ASSET, amount, empty(uint256), method_id=SWAP)
    elif step.kind == steps.PULL_CASH:
        data = abi_encode(amount, method_id=PULL)
    elif step.kind == steps.SETTLE:
        data = abi_encode(step.asset, method_id=SETTLE)
    elif step.kind == steps.UNWIND:
        room = self
        gas_needed += TRADE_GAS
        data = abi_encode(adapter, step.asset, amount, amount // self._unit_wad(step.asset), method_id=UNWIND)
    elif step.kind == steps.TRIM or step.kind == steps.HEDGE:
        change: int256 = convert(amount, int256)
        if step.kind == steps.HEDGE or self._is_long(account, step.asset):
            change = -change
        data = abi_encode(step.asset, change, method_id=TRADE)
    else:
        data = abi_encode(step.source, step.asset, amount, method_id=MOVE)
    if msg.gas * 63 // 64 <= gas_needed + RESERVED_GAS:
        return False
    success: bool = raw_call(room, data, gas=gas_needed, revert_on_failure=False)
    return success


@internal
@view
def _part(step: IRebalancer.Step, halvings: uint256) -> uint256:
    """@dev A half or a quarter of a step, in whole lots of what trades."""
    amount: uint256 = step.amount >> halvings
    if step.kind == steps.SELL:
        return amount
    return amount - amount % max(self._unit_wad(step.asset), markets.SIZE_STEP)


@internal
@view
def _unit_wad(asset: uint256) -> uint256:
    return packing._unit_wad(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset))


@internal
@view
def _is_long(account: uint256, asset: uint256) -> bool:
    position: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).position_word(account, asset)
    return packing._size_wad(position) > 0


@internal
@view
def _plan(
    account: uint256, guard_word: uint256, picture: IMandates.Snapshot, refused: uint256[steps.KINDS]
) -> IRebalancer.Plan:
    return staticcall IPlanner(PLANNER).plan(
        IPlanner.Request(
            account=account,
            guard_word=guard_word,
            policy_word=self._policies[account],
            sales_word=self._sales[account],
            refused=refused,
        ),
        picture,
    )


@internal
def _put_policy(account: uint256, word: uint256, sales_word: uint256, adapter: address):
    self._policies[account] = word
    self._sales[account] = sales_word
    self._adapters[account] = adapter
    log IRebalancer.PolicyChanged(account=account, policy_word=word, sales_word=sales_word, adapter=adapter)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_owner(account: uint256):
    if msg.sender != packing._owner(account):
        reasons._fail("rebalancer: only the owner")


@internal
@view
def _check_mandates():
    if msg.sender != MANDATES:
        reasons._fail("rebalancer: only mandates")


@internal
@pure
def _check_self(caller: address, this: address):
    if caller != this:
        reasons._fail("rebalancer: only itself")


@internal
@pure
def _require_trigger(trigger_bps: uint256, target_bps: uint256):
    """@dev A target of 0 is no guard yet."""
    if target_bps != 0 and trigger_bps >= target_bps:
        reasons._fail("rebalancer: trigger above target")


@internal
@pure
def _require_progress(taken: uint256):
    if taken == 0:
        reasons._fail("rebalancer: every step refused")


@internal
@pure
def _require_ready(code: uint256):
    if code == readiness.NO_POLICY:
        reasons._fail("rebalancer: no policy")
    if code == readiness.ABOVE_TRIGGER:
        reasons._fail("rebalancer: trigger not met")
    if code == readiness.COOLING_DOWN:
        reasons._fail("rebalancer: cooling down")
    if code == readiness.BELOW_MINIMUM:
        reasons._fail("rebalancer: below minimum step")
    if code == readiness.NO_MEANS:
        reasons._fail("rebalancer: no means left")
