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
         trades of perpetuals. Where margin is in order it keeps to the owner's allocation.
@dev     Policy, no custody. It acts only inside a mandate and what it does is judged there. Every size is a closed
         form of the shortfall (`modules/sizing.vy`), so whoever calls has no influence on what happens. What to do
         is the answer of two views, `Planner` and `Allocator`; this contract keeps the policies and acts.
@custom:invariant I14 I17
@custom:kill  An owner clears the policy or revokes the guard.
"""

from contracts.interfaces import IAllocator
from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILiquidator
from contracts.interfaces import IMandateHook
from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.interfaces import IRiskOracle
from contracts.modules import bounds
from contracts.modules import fixed_point
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

PAY: constant(Bytes[4]) = method_id("pay(uint256,uint256)")
PAY_GAS: constant(uint256) = 500_000

# A maximum step of which less than this part is left was used up.
USED_UP_PART: constant(uint256) = 100

# What looser policies and bounds wait for.
DELAY_S: constant(uint256) = 3_600
# A target is so far above its trigger that what lies between is worth more than selling and buying back: no asset
# requires less than this part of its value (see `margin_rates._require_jump`).
LEAST_RATE_E4: constant(uint256) = 1_351

# A call for a rebalance costs so much gas around the hook, the pay itself included, and its sender a tip.
OVERHEAD_GAS: constant(uint256) = 195_000
TIP_WEI: constant(uint256) = 10**9
GAS_MARGIN_BPS: constant(uint256) = 11_500
# From the flag on the part of the gap that is paid grows for so long.
PAY_RAMP_S: constant(uint256) = 120

CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
PLANNER: public(immutable(address))
ALLOCATOR: public(immutable(address))
LIQUIDATOR: public(immutable(address))
ORACLE: immutable(address)
# The asset with the price of what gas is paid in; 0 if none is listed, and then gas is not paid for.
NATIVE_ASSET: public(immutable(uint256))
UNIT_WAD: immutable(uint256)

# Policy, sales and adapter of each account, and the bounds: layouts in `modules/policies.vy` and `modules/bounds.vy`.
_policies: HashMap[uint256, uint256]
_sales: HashMap[uint256, uint256]
_adapters: HashMap[uint256, address]
_bounds: HashMap[uint256, uint256]
# What is remembered between two rebalances of an account with bounds or an allocation.
_states: HashMap[uint256, uint256]
# Looser ones that were announced, and when they may be applied.
_announced: HashMap[uint256, Announced]
# How often a policy or its bounds have changed.
_versions: HashMap[uint256, uint256]


struct Announced:
    policy_word: uint256
    sales_word: uint256
    bounds_word: uint256
    adapter: address
    ready_at: uint256


@deploy
def __init__(
    clearinghouse: address,
    mandates: address,
    planner: address,
    allocator: address,
    liquidator: address,
    oracle: address,
    native_asset: uint256,
):
    """
    @param clearinghouse  Deployed already: the quote token's unit is read from it.
    @param mandates       The only caller of `on_mandate`.
    @param planner        Says what to do for margin; belongs to the same system.
    @param allocator      Says what to do for an allocation.
    @param liquidator     Knows since when an account is flagged as triggered.
    @param oracle         Prices what gas is paid in.
    @param native_asset   Asset with that price, 0 if there is none.
    """
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    PLANNER = planner
    ALLOCATOR = allocator
    LIQUIDATOR = liquidator
    ORACLE = oracle
    NATIVE_ASSET = native_asset
    UNIT_WAD = packing._unit_wad(staticcall IClearinghouse(clearinghouse).asset_word(steps.QUOTE_ASSET))


################################################################
#                          For owners                          #
################################################################


@external
def set_policy(account: uint256, policy: IRebalancer.Policy):
    """@notice Sets the policy of an account; the time of its last rebalance is kept."""
    self._check_owner(account)
    guard_word: uint256 = staticcall IMandates(MANDATES).guard_word(account)
    self._require_band(policy, guards._target_bps(guard_word))
    self._propose(
        account, policies._packed(policy), policies._packed_sales(policy), policy.adapter, self._bounds[account]
    )


@external
def set_bounds(account: uint256, bounds_: IRebalancer.Bounds):
    """@notice Sets the bounds within which the policy is carried out."""
    self._check_owner(account)
    self._propose(
        account, self._policies[account], self._sales[account], self._adapters[account], bounds._packed(bounds_)
    )


@external
def apply_policy(account: uint256):
    """@notice Puts what was announced in force."""
    announced: Announced = self._announced[account]
    self._require_due(announced.ready_at)
    self._put(
        account, announced.policy_word, announced.sales_word, announced.adapter, announced.bounds_word
    )


@external
def clear_policy(account: uint256):
    """@notice Takes policy and bounds away; the time of its last rebalance is kept."""
    self._check_owner(account)
    self._put(account, policies.WAS_SET, 0, empty(address), 0)


################################################################
#                         For mandates                         #
################################################################


@external
def on_mandate(account: uint256, guard_word: uint256, picture: IMandates.Snapshot):
    """@notice Plans and executes; each reason not to act is its own revert."""
    self._check_mandates()
    gas_before: uint256 = msg.gas
    request: IPlanner.Request = self._request(account, guard_word)
    request.sales_word = self._sales[account]
    taken: uint256 = 0
    refusals: uint256 = 0
    gap: uint256 = 0
    is_for_margin: bool = True
    is_cut: bool = False
    now: IMandates.Snapshot = picture
    plan: IRebalancer.Plan = empty(IRebalancer.Plan)
    for attempt: uint256 in range(MAX_PLANS):
        if attempt != 0 and msg.gas < PLAN_GAS:
            break
        if attempt != 0:
            now = staticcall IMandates(MANDATES).snapshot(account)
        # As in `plan`; once the allocation has had its turn, it keeps it.
        if is_for_margin:
            plan = staticcall IPlanner(PLANNER).plan(request, now)
            is_for_margin = plan.code != readiness.ABOVE_TRIGGER or not guards._allocates(guard_word)
        if not is_for_margin:
            limits: uint256 = 0
            weights: uint256 = 0
            limits, weights = staticcall IMandates(MANDATES).allocation_words(account)
            plan = staticcall IAllocator(ALLOCATOR).plan(request, limits, weights, now)
        if attempt == 0:
            self._require_ready(plan.code)
            gap = plan.shortfall
        if plan.code != readiness.READY:
            break
        most: uint256 = bounds._max_step(request.bounds_word)
        is_cut = most != 0 and not readiness._is_emergency(now.equity_init, now.required_init)
        if is_cut:
            is_cut = self._is_used_up(most, plan.steps)
        count: uint256 = 0
        failed: uint256 = 0
        request.refused, count, failed = self._execute(account, plan.steps, request.refused)
        taken += count
        refusals += failed
        if failed == 0:
            break
    is_called: bool = self._call_owner(account, plan.called, request.state_word, request.bounds_word)
    self._require_progress(taken != 0 or is_called)
    left: uint256 = plan.uncured
    is_settled: bool = refusals == 0
    if not is_settled:
        now = staticcall IMandates(MANDATES).snapshot(account)
        left = readiness._shortfall_up(now.equity_init, now.required_init, guards._target_bps(guard_word))
        is_settled = is_for_margin and readiness._code(request, now, left, UNIT_WAD) == readiness.ABOVE_TRIGGER
    # The cooldown starts once what was wanted was done, so that nobody can start it with a crumb.
    if is_settled and taken != 0:
        self._policies[account] = policies._with_last_at(request.policy_word, block.timestamp)
    if not is_called and (request.bounds_word != 0 or not is_for_margin):
        self._remember(request, is_for_margin, is_cut, left)
    if is_for_margin and gap > left:
        last_at: uint256 = policies._last_at(request.policy_word)
        self._pay(account, request.bounds_word, last_at, request.triggered_since, gas_before, gap - left)


################################################################
#                            Views                             #
################################################################


@external
@view
def plan(account: uint256) -> IRebalancer.Plan:
    """
    @notice The plan under the guard in force.
    @dev    Margin first. Where that is in order the allocation has its turn.
    """
    request: IPlanner.Request = self._request(account, staticcall IMandates(MANDATES).guard_word(account))
    request.sales_word = self._sales[account]
    picture: IMandates.Snapshot = staticcall IMandates(MANDATES).snapshot(account)
    plan: IRebalancer.Plan = staticcall IPlanner(PLANNER).plan(request, picture)
    if plan.code != readiness.ABOVE_TRIGGER or not guards._allocates(request.guard_word):
        return plan
    limits: uint256 = 0
    weights: uint256 = 0
    limits, weights = staticcall IMandates(MANDATES).allocation_words(account)
    return staticcall IAllocator(ALLOCATOR).plan(request, limits, weights, picture)


@external
@view
def is_triggered(account: uint256) -> bool:
    """@notice Whether its policy would have a rebalance now, or soon."""
    request: IPlanner.Request = self._request(account, staticcall IMandates(MANDATES).guard_word(account))
    picture: IMandates.Snapshot = staticcall IMandates(MANDATES).snapshot(account)
    target_bps: uint256 = guards._target_bps(request.guard_word)
    shortfall: uint256 = readiness._shortfall_up(picture.equity_init, picture.required_init, target_bps)
    code: uint256 = readiness._code(request, picture, shortfall, UNIT_WAD)
    if code == readiness.ABOVE_TRIGGER and guards._allocates(request.guard_word):
        request.sales_word = self._sales[account]
        limits: uint256 = 0
        weights: uint256 = 0
        limits, weights = staticcall IMandates(MANDATES).allocation_words(account)
        return (staticcall IAllocator(ALLOCATOR).plan(request, limits, weights, picture)).code == readiness.READY
    return readiness._is_planned(code) and code != readiness.BELOW_MINIMUM


@external
@view
def policy_of(account: uint256) -> IRebalancer.Policy:
    """@notice The policy in force."""
    return policies._unpacked(self._policies[account], self._sales[account], self._adapters[account])


@external
@view
def bounds_of(account: uint256) -> IRebalancer.Bounds:
    """@notice The bounds in force."""
    return bounds._unpacked(self._bounds[account])


@external
@view
def version_of(account: uint256) -> uint256:
    """@notice How often policy and bounds have changed."""
    return self._versions[account]


@external
@view
def announced_policy(account: uint256) -> (IRebalancer.Policy, IRebalancer.Bounds, uint256):
    """@notice What was announced and from when it can be applied."""
    announced: Announced = self._announced[account]
    return (
        policies._unpacked(announced.policy_word, announced.sales_word, announced.adapter),
        bounds._unpacked(announced.bounds_word),
        announced.ready_at,
    )


@external
@view
def state_of(account: uint256) -> (uint256, uint256, uint256):
    """@notice Deadline of its margin call, when a maximum step left work to do, and of the last change of its mix."""
    state: uint256 = self._states[account]
    return bounds._deadline(state), bounds._unfinished_at(state), bounds._allocated_at(state)


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
    account: uint256, planned: DynArray[IRebalancer.Step, steps.MAX_STEPS], refused_: uint256[steps.KINDS]
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
    for step: IRebalancer.Step in planned:
        amount: uint256 = step.amount
        is_taken: bool = self._take(account, step, amount)
        if not is_taken and step.kind >= steps.SELL and step.kind != steps.SETTLE:
            for halving: uint256 in range(MAX_HALVINGS):
                amount = self._part(step, halving + 1)
                is_taken = amount != 0 and self._take(account, step, amount)
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
def _take(account: uint256, step: IRebalancer.Step, amount: uint256) -> bool:
    """@dev Without gas for any step left in hand none is tried: what helped so far must not be undone."""
    room: address = MANDATES
    gas_needed: uint256 = STEP_GAS
    data: Bytes[164] = b""
    if step.kind == steps.SELL:
        data = abi_encode(self._adapters[account], step.asset, steps.QUOTE_ASSET, amount, empty(uint256), method_id=SWAP)
    elif step.kind == steps.PULL_CASH:
        data = abi_encode(amount, method_id=PULL)
    elif step.kind == steps.SETTLE:
        data = abi_encode(step.asset, method_id=SETTLE)
    elif step.kind == steps.UNWIND:
        room = self
        gas_needed += TRADE_GAS
        data = abi_encode(self._adapters[account], step.asset, amount, amount // self._unit_wad(step.asset), method_id=UNWIND)
    elif step.kind == steps.SWAP or step.kind == steps.BUY:
        data = abi_encode(self._adapters[account], step.asset, step.bought, amount, empty(uint256), method_id=SWAP)
    elif self._is_trade(step.kind):
        change: int256 = convert(amount, int256)
        is_long: bool = self._is_long(account, step.asset)
        is_bought: bool = step.kind == steps.UNHEDGE or (step.kind == steps.TRIM and not is_long) or (
            step.kind == steps.LEVER and is_long
        )
        if not is_bought:
            change = -change
        data = abi_encode(step.asset, change, method_id=TRADE)
    else:
        data = abi_encode(step.source, step.asset, amount, method_id=MOVE)
    if msg.gas * 63 // 64 <= gas_needed + RESERVED_GAS:
        return False
    success: bool = raw_call(room, data, gas=gas_needed, revert_on_failure=False)
    return success


@internal
@pure
def _is_trade(kind: uint256) -> bool:
    return kind == steps.TRIM or kind == steps.HEDGE or kind == steps.UNHEDGE or kind == steps.LEVER


@internal
@view
def _part(step: IRebalancer.Step, halvings: uint256) -> uint256:
    """@dev A half or a quarter of a step, in whole lots of what trades."""
    amount: uint256 = step.amount >> halvings
    if not (self._is_trade(step.kind) or step.kind == steps.UNWIND):
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
def _request(account: uint256, guard_word: uint256) -> IPlanner.Request:
    """@dev Bounds, what is remembered and a flag are read where there are any; sales where a plan is made."""
    request: IPlanner.Request = IPlanner.Request(
        account=account,
        guard_word=guard_word,
        policy_word=self._policies[account],
        sales_word=0,
        bounds_word=0,
        state_word=0,
        triggered_since=0,
        refused=empty(uint256[steps.KINDS]),
    )
    if policies._has_bounds(request.policy_word):
        request.bounds_word = self._bounds[account]
    if request.bounds_word != 0 or guards._allocates(guard_word):
        request.state_word = self._states[account]
    if bounds._confirms(request.bounds_word) or bounds._pay_bps(request.bounds_word) != 0:
        below_since: uint256 = 0
        below_since, request.triggered_since = staticcall ILiquidator(LIQUIDATOR).flagged_since(account)
    return request


@internal
def _call_owner(account: uint256, called: uint256, state_word: uint256, bounds_word: uint256) -> bool:
    """@dev Once for each need: while a call runs, and as long as it allows sales, there is no other."""
    if called == 0 or bounds._is_called(state_word):
        return False
    deadline: uint256 = block.timestamp + bounds._call_s(bounds_word)
    self._states[account] = bounds._state(
        deadline, bounds._unfinished_at(state_word), bounds._allocated_at(state_word)
    )
    log IRebalancer.MarginCalled(account=account, amount=called, deadline=deadline)
    return True


@internal
@pure
def _is_used_up(most: uint256, planned: DynArray[IRebalancer.Step, steps.MAX_STEPS]) -> bool:
    """@dev Whether the maximum step was used up, but for lots: not means or a budget ended the plan."""
    traded: uint256 = 0
    for step: IRebalancer.Step in planned:
        if step.kind >= steps.SELL and step.kind != steps.SETTLE:
            traded += step.value
    return traded * USED_UP_PART >= most * (USED_UP_PART - 1)


@internal
def _remember(request: IPlanner.Request, is_for_margin: bool, is_cut: bool, left: uint256):
    """@dev What is cured needs no call any more; what a maximum step left is gone on with."""
    state: uint256 = request.state_word
    deadline: uint256 = bounds._deadline(state)
    unfinished_at: uint256 = 0
    allocated_at: uint256 = bounds._allocated_at(state)
    if not is_for_margin:
        allocated_at = block.timestamp
    elif left < UNIT_WAD:
        deadline = 0
    elif is_cut:
        unfinished_at = block.timestamp
    state_now: uint256 = bounds._state(deadline, unfinished_at, allocated_at)
    if state_now != state:
        self._states[request.account] = state_now


@internal
def _pay(
    account: uint256,
    word: uint256,
    last_at: uint256,
    since: uint256,
    gas_before: uint256,
    gap_closed: uint256,
):
    """
    @dev What the call cost and a part of the gap closed, within the owner's bounds; last, and never a reason to revert.
         Who pays nobody for a flag pays nobody for its age: one from before the last rebalance does not count.
    """
    cap: uint256 = bounds._pay_cap(word)
    if cap == 0 or msg.gas * 63 // 64 <= PAY_GAS + RESERVED_GAS:
        return
    pay: uint256 = 0
    if NATIVE_ASSET != 0:
        gas_used: uint256 = gas_before - msg.gas + OVERHEAD_GAS
        gas_wei: uint256 = gas_used * min(tx.gasprice, block.basefee + TIP_WEI)
        price_wad: uint256 = staticcall IRiskOracle(ORACLE).price_wad(NATIVE_ASSET)
        pay = gas_wei * price_wad // fixed_point.WAD * GAS_MARGIN_BPS // fixed_point.BPS
    if since > last_at:
        share_bps: uint256 = bounds._pay_bps(word) * min(block.timestamp - since, PAY_RAMP_S)
        pay += gap_closed * share_bps // (PAY_RAMP_S * fixed_point.BPS)
    pay = min(min(pay, cap), gap_closed // bounds._gap_per_pay(word))
    payer: uint256 = packing._account(packing._owner(account), bounds._payer(word))
    cash: uint256 = packing._cash_wad(staticcall IClearinghouse(CLEARINGHOUSE).account_word(payer))
    units: uint256 = min(pay, cash) // UNIT_WAD
    if units == 0:
        return
    success: bool = raw_call(
        MANDATES, abi_encode(payer, units, method_id=PAY), gas=PAY_GAS, revert_on_failure=False
    )
    if not success:
        log IRebalancer.PayFailed(account=account, payer=payer, amount=units)


################################################################
#                           Policies                           #
################################################################


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


@internal
@pure
def _require_progress(has_progress: bool):
    if not has_progress:
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
    if code == readiness.EXPIRED:
        reasons._fail("rebalancer: policy expired")
    if code == readiness.UNCONFIRMED:
        reasons._fail("rebalancer: not confirmed yet")
    if code == readiness.GAS_TOO_DEAR:
        reasons._fail("rebalancer: gas too dear")
    if code == readiness.CALLED:
        reasons._fail("rebalancer: margin call runs")
