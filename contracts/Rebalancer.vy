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
         is the answer of two views, `Planner` and `Allocator`. Rooms: `policy_books` what owners want, `executions`
         how steps are taken, `keeper_pay` what the caller gets; here is the run from a plan to what is remembered of it.
@custom:invariant I14 I17
@custom:kill  An owner clears the policy or revokes the guard.
"""

from contracts.interfaces import IAllocator
from contracts.interfaces import ILiquidator
from contracts.interfaces import IMandateHook
from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import bounds
from contracts.modules import executions
from contracts.modules import guards
from contracts.modules import hook_rooms
from contracts.modules import keeper_pay
from contracts.modules import policies
from contracts.modules import policy_books
from contracts.modules import readiness
from contracts.modules import reasons
from contracts.modules import steps

implements: IMandateHook
implements: IRebalancer

initializes: hook_rooms
initializes: policy_books
initializes: executions[hook_rooms := hook_rooms, policy_books := policy_books]
initializes: keeper_pay[hook_rooms := hook_rooms]

exports: (
    hook_rooms.CLEARINGHOUSE,
    hook_rooms.MANDATES,
    hook_rooms.PLANNER,
    hook_rooms.ALLOCATOR,
    hook_rooms.LIQUIDATOR,
    hook_rooms.NATIVE_ASSET,
)

# The plan, and what is planned anew after a step was refused.
MAX_PLANS: constant(uint256) = 3
# To plan again: sixteen assets with a market each, and what is reserved besides.
PLAN_GAS: constant(uint256) = 2_000_000
# A maximum step of which less than this part is left was used up.
USED_UP_PART: constant(uint256) = 100

# What is remembered between two rebalances of an account with bounds or an allocation; layout in `bounds.vy`.
_states: HashMap[uint256, uint256]


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
    hook_rooms.__init__(clearinghouse, mandates, planner, allocator, liquidator, oracle, native_asset)


################################################################
#                          For owners                          #
################################################################


@external
def set_policy(account: uint256, policy: IRebalancer.Policy):
    """@notice Sets the policy of an account; the time of its last rebalance is kept."""
    policy_books._check_owner(account)
    guard_word: uint256 = staticcall IMandates(hook_rooms.MANDATES).guard_word(account)
    policy_books._require_band(policy, guards._target_bps(guard_word))
    policy_books._propose(
        account,
        policies._packed(policy),
        policies._packed_sales(policy),
        policy.adapter,
        policy_books._bounds[account],
    )


@external
def set_bounds(account: uint256, bounds_: IRebalancer.Bounds):
    """@notice Sets the bounds within which the policy is carried out."""
    policy_books._check_owner(account)
    policy_books._propose(
        account,
        policy_books._policies[account],
        policy_books._sales[account],
        policy_books._adapters[account],
        bounds._packed(bounds_),
    )


@external
def apply_policy(account: uint256):
    """@notice Puts what was announced in force."""
    policy_books._apply(account)


@external
def clear_policy(account: uint256):
    """@notice Takes policy and bounds away; the time of its last rebalance is kept."""
    policy_books._check_owner(account)
    policy_books._clear(account)


################################################################
#                         For mandates                         #
################################################################


@external
def on_mandate(account: uint256, guard_word: uint256, picture: IMandates.Snapshot):
    """@notice Plans and executes; each reason not to act is its own revert."""
    self._check_mandates()
    gas_before: uint256 = msg.gas
    request: IPlanner.Request = self._request(account, guard_word)
    request.sales_word = policy_books._sales[account]
    taken: uint256 = 0
    refusals: uint256 = 0
    is_cut: bool = False
    is_emergency: bool = readiness._is_emergency(picture.equity_init, picture.required_init)
    # As in the view. Asked for in place, here and below: as a function, or with one variable for the picture before and
    # after a refusal, its memory would cost a rebalance 900 gas.
    plan: IRebalancer.Plan = staticcall IPlanner(hook_rooms.PLANNER).plan(request, picture)
    is_for_margin: bool = plan.code != readiness.ABOVE_TRIGGER or not guards._allocates(guard_word)
    if not is_for_margin:
        limits: uint256 = 0
        weights: uint256 = 0
        limits, weights = staticcall IMandates(hook_rooms.MANDATES).allocation_words(account)
        plan = staticcall IAllocator(hook_rooms.ALLOCATOR).plan(request, limits, weights, picture)
    self._require_ready(plan.code)
    gap: uint256 = plan.shortfall
    for attempt: uint256 in range(MAX_PLANS):
        if attempt != 0:
            if msg.gas < PLAN_GAS:
                break
            now: IMandates.Snapshot = staticcall IMandates(hook_rooms.MANDATES).snapshot(account)
            is_emergency = readiness._is_emergency(now.equity_init, now.required_init)
            # Once the allocation has had its turn, it keeps it.
            if is_for_margin:
                plan = staticcall IPlanner(hook_rooms.PLANNER).plan(request, now)
                is_for_margin = plan.code != readiness.ABOVE_TRIGGER or not guards._allocates(guard_word)
            if not is_for_margin:
                limits: uint256 = 0
                weights: uint256 = 0
                limits, weights = staticcall IMandates(hook_rooms.MANDATES).allocation_words(account)
                plan = staticcall IAllocator(hook_rooms.ALLOCATOR).plan(request, limits, weights, now)
        if plan.code != readiness.READY:
            break
        most: uint256 = bounds._max_step(request.bounds_word)
        is_cut = most != 0 and not is_emergency
        if is_cut:
            is_cut = self._is_used_up(most, plan.steps)
        count: uint256 = 0
        failed: uint256 = 0
        request.refused, count, failed = executions._execute(account, plan.steps, request.refused)
        taken += count
        refusals += failed
        if failed == 0:
            break
    is_called: bool = False
    if plan.called != 0:
        is_called = self._call_owner(account, plan.called, request.state_word, request.bounds_word)
    self._require_progress(taken != 0 or is_called)
    left: uint256 = plan.uncured
    is_settled: bool = refusals == 0
    if not is_settled:
        now: IMandates.Snapshot = staticcall IMandates(hook_rooms.MANDATES).snapshot(account)
        left = readiness._shortfall_up(now.equity_init, now.required_init, guards._target_bps(guard_word))
        is_settled = (
            is_for_margin
            and readiness._code(request, now, left, hook_rooms.UNIT_WAD) == readiness.ABOVE_TRIGGER
        )
    # The cooldown starts once what was wanted was done, so that nobody can start it with a crumb.
    if is_settled and taken != 0:
        policy_books._policies[account] = policies._with_last_at(request.policy_word, block.timestamp)
    if not is_called and (request.bounds_word != 0 or not is_for_margin):
        self._remember(request, is_for_margin, is_cut, left)
    if request.bounds_word != 0 and is_for_margin and gap > left:
        last_at: uint256 = policies._last_at(request.policy_word)
        keeper_pay._pay(account, request.bounds_word, last_at, request.triggered_since, gas_before, gap - left)


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
    request: IPlanner.Request = self._request(account, staticcall IMandates(hook_rooms.MANDATES).guard_word(account))
    request.sales_word = policy_books._sales[account]
    picture: IMandates.Snapshot = staticcall IMandates(hook_rooms.MANDATES).snapshot(account)
    plan: IRebalancer.Plan = staticcall IPlanner(hook_rooms.PLANNER).plan(request, picture)
    if plan.code != readiness.ABOVE_TRIGGER or not guards._allocates(request.guard_word):
        return plan
    limits: uint256 = 0
    weights: uint256 = 0
    limits, weights = staticcall IMandates(hook_rooms.MANDATES).allocation_words(account)
    return staticcall IAllocator(hook_rooms.ALLOCATOR).plan(request, limits, weights, picture)


@external
@view
def is_triggered(account: uint256) -> bool:
    """@notice Whether its policy would have a rebalance now, or soon."""
    request: IPlanner.Request = self._request(account, staticcall IMandates(hook_rooms.MANDATES).guard_word(account))
    picture: IMandates.Snapshot = staticcall IMandates(hook_rooms.MANDATES).snapshot(account)
    target_bps: uint256 = guards._target_bps(request.guard_word)
    shortfall: uint256 = readiness._shortfall_up(picture.equity_init, picture.required_init, target_bps)
    code: uint256 = readiness._code(request, picture, shortfall, hook_rooms.UNIT_WAD)
    if code == readiness.ABOVE_TRIGGER and guards._allocates(request.guard_word):
        request.sales_word = policy_books._sales[account]
        limits: uint256 = 0
        weights: uint256 = 0
        limits, weights = staticcall IMandates(hook_rooms.MANDATES).allocation_words(account)
        return (
            (staticcall IAllocator(hook_rooms.ALLOCATOR).plan(request, limits, weights, picture)).code
            == readiness.READY
        )
    return readiness._is_planned(code) and code != readiness.BELOW_MINIMUM


@external
@view
def policy_of(account: uint256) -> IRebalancer.Policy:
    """@notice The policy in force."""
    return policies._unpacked(
        policy_books._policies[account], policy_books._sales[account], policy_books._adapters[account]
    )


@external
@view
def bounds_of(account: uint256) -> IRebalancer.Bounds:
    """@notice The bounds in force."""
    return bounds._unpacked(policy_books._bounds[account])


@external
@view
def version_of(account: uint256) -> uint256:
    """@notice How often policy and bounds have changed."""
    return policy_books._versions[account]


@external
@view
def announced_policy(account: uint256) -> (IRebalancer.Policy, IRebalancer.Bounds, uint256):
    """@notice What was announced and from when it can be applied."""
    announced: policy_books.Announced = policy_books._announced[account]
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
    return policies._last_at(policy_books._policies[account])


################################################################
#                          For itself                          #
################################################################


# `on_mandate` has the lock when this contract calls itself here.
@external
@reentrant
def unwind(adapter: address, asset: uint256, size: uint256, units: uint256):
    """@notice Both halves of an unwinding, or neither."""
    self._check_self(msg.sender, self)
    extcall IMandates(hook_rooms.MANDATES).trade(asset, convert(size, int256))
    extcall IMandates(hook_rooms.MANDATES).swap(adapter, asset, steps.QUOTE_ASSET, units, 0)


################################################################
#                    Asking and remembering                    #
################################################################


@internal
@view
def _request(account: uint256, guard_word: uint256) -> IPlanner.Request:
    """@dev Bounds, what is remembered and a flag are read where there are any; sales where a plan is made."""
    request: IPlanner.Request = IPlanner.Request(
        account=account,
        guard_word=guard_word,
        policy_word=policy_books._policies[account],
        sales_word=0,
        bounds_word=0,
        state_word=0,
        triggered_since=0,
        refused=empty(uint256[steps.KINDS]),
    )
    if policies._has_bounds(request.policy_word):
        request.bounds_word = policy_books._bounds[account]
    if request.bounds_word != 0 or guards._allocates(guard_word):
        request.state_word = self._states[account]
    if request.bounds_word != 0:
        if bounds._confirms(request.bounds_word) or bounds._pay_bps(request.bounds_word) != 0:
            below_since: uint256 = 0
            below_since, request.triggered_since = staticcall ILiquidator(hook_rooms.LIQUIDATOR).flagged_since(account)
    return request


@internal
def _call_owner(account: uint256, called: uint256, state_word: uint256, bounds_word: uint256) -> bool:
    """@dev Once for each need: while a call runs, and as long as it allows sales, there is no other."""
    if bounds._is_called(state_word):
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
    elif left < hook_rooms.UNIT_WAD:
        deadline = 0
    elif is_cut:
        unfinished_at = block.timestamp
    state_now: uint256 = bounds._state(deadline, unfinished_at, allocated_at)
    if state_now != state:
        self._states[request.account] = state_now


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_mandates():
    if msg.sender != hook_rooms.MANDATES:
        reasons._fail("rebalancer: only mandates")


@internal
@pure
def _check_self(caller: address, this: address):
    if caller != this:
        reasons._fail("rebalancer: only itself")


@internal
@pure
def _require_progress(has_progress: bool):
    if not has_progress:
        reasons._fail("rebalancer: every step refused")


@internal
@pure
def _require_ready(code: uint256):
    if code == readiness.READY:
        return
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
