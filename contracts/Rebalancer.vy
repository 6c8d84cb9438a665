# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Rebalancer
@license MIT
@author  Ballast contributors
@notice  The default hook. When an account's equity falls below its trigger, it brings it back to the target by
         the cheapest means its policy allows: cash and collateral of siblings, the owner's wallet, sales.
@dev     Policy, no custody. It acts only inside a mandate and what it does is judged there. Every size is a closed
         form of the shortfall (`modules/sizing.vy`), so whoever calls has no influence on what happens.
@custom:invariant I14 I17
@custom:kill  An owner clears the policy or revokes the guard.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandateHook
from contracts.interfaces import IMandates
from contracts.interfaces import IRebalancer
from contracts.modules import asset_list
from contracts.modules import fixed_point
from contracts.modules import guards
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import reasons
from contracts.modules import sizing
from ethereum.ercs import IERC20

implements: IMandateHook
implements: IRebalancer

MAX_STEPS: constant(uint256) = 16
# The plan, and what is planned anew after a sale was refused.
MAX_PLANS: constant(uint256) = 3
SALE_GAS: constant(uint256) = 500_000
QUOTE_ASSET: constant(uint256) = 0

MOVE_CASH: constant(uint256) = 1
PULL_CASH: constant(uint256) = 2
MOVE_COLLATERAL: constant(uint256) = 3
SELL: constant(uint256) = 4

READY: constant(uint256) = 0
NO_POLICY: constant(uint256) = 1
ABOVE_TRIGGER: constant(uint256) = 2
COOLING_DOWN: constant(uint256) = 3
BELOW_MINIMUM: constant(uint256) = 4
NO_MEANS: constant(uint256) = 5


# A sale that is possible, with what one unit of value cures and costs.
struct Candidate:
    asset: uint256
    available: uint256  # token units
    price_wad: uint256
    unit_wad: uint256
    cure_e10: int256
    cost_bps: uint256


CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
QUOTE: immutable(address)
UNIT_WAD: immutable(uint256)

# Policy, sales and adapter of each account: layouts in `modules/policies.vy`.
_policies: HashMap[uint256, uint256]
_sales: HashMap[uint256, uint256]
_adapters: HashMap[uint256, address]


@deploy
def __init__(clearinghouse: address, mandates: address):
    """
    @param clearinghouse  Deployed already: the quote token is read from it.
    @param mandates       The only caller of `on_mandate`.
    """
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    quote_word: uint256 = staticcall IClearinghouse(clearinghouse).asset_word(QUOTE_ASSET)
    QUOTE = packing._token(quote_word)
    UNIT_WAD = packing._unit_wad(quote_word)


################################################################
#                          For owners                          #
################################################################


@external
def set_policy(account: uint256, policy: IRebalancer.Policy):
    """@notice Sets the policy of an account; the time of its last rebalance is kept."""
    self._check_owner(account)
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
def on_mandate(account: uint256, guard_word: uint256):
    """@notice Plans and executes; each reason not to act is its own revert."""
    self._check_mandates()
    taken: uint256 = 0
    refused: uint256 = 0
    for attempt: uint256 in range(MAX_PLANS):
        plan: IRebalancer.Plan = self._plan(account, guard_word, refused)
        if attempt == 0:
            self._require_ready(plan.code)
        if plan.code != READY:
            break
        newly_taken: uint256 = 0
        newly_refused: uint256 = 0
        newly_taken, newly_refused = self._execute(account, plan)
        taken += newly_taken
        refused = refused | newly_refused
        if newly_refused == 0:
            break
    self._require_progress(taken)
    self._policies[account] = policies._with_last_at(self._policies[account], block.timestamp)


################################################################
#                            Views                             #
################################################################


@external
@view
def plan(account: uint256) -> IRebalancer.Plan:
    """@notice The plan under the guard in force."""
    return self._plan(account, staticcall IMandates(MANDATES).guard_word(account), 0)


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
#                          Execution                           #
################################################################


@internal
def _execute(account: uint256, plan: IRebalancer.Plan) -> (uint256, uint256):
    """
    @dev Returns how many steps were taken and the mask of assets whose sale was refused. A sale is a captured call,
         so that one venue that is down or off its price cannot keep the others from helping.
    """
    taken: uint256 = 0
    refused: uint256 = 0
    adapter: address = self._adapters[account]
    for step: IRebalancer.Step in plan.steps:
        is_taken: bool = True
        if step.kind == SELL:
            is_taken = self._sell(adapter, step)
        elif step.kind == PULL_CASH:
            extcall IMandates(MANDATES).pull(step.amount)
        else:
            extcall IMandates(MANDATES).move(step.source, step.asset, step.amount)
        if is_taken:
            taken += 1
            log IRebalancer.StepTaken(
                account=account,
                kind=step.kind,
                source=step.source,
                asset=step.asset,
                amount=step.amount,
                value=step.value,
                expected_cost=step.cost,
            )
        else:
            refused = refused | (1 << step.asset)
            log IRebalancer.SaleRefused(account=account, asset=step.asset, amount=step.amount)
    return taken, refused


@internal
def _sell(adapter: address, step: IRebalancer.Step) -> bool:
    """@dev With gas for any venue left in hand, so that a caller cannot starve a sale into looking refused."""
    self._require_gas(msg.gas)
    success: bool = raw_call(
        MANDATES,
        abi_encode(
            adapter,
            step.asset,
            QUOTE_ASSET,
            step.amount,
            empty(uint256),
            method_id=method_id("swap(address,uint256,uint256,uint256,uint256)"),
        ),
        gas=SALE_GAS,
        revert_on_failure=False,
    )
    return success


################################################################
#                           The plan                           #
################################################################


@internal
@view
def _plan(account: uint256, guard_word: uint256, refused: uint256) -> IRebalancer.Plan:
    """@dev Cheapest first: cash of siblings, the wallet, collateral of siblings, surplus over quotas, sales."""
    plan: IRebalancer.Plan = empty(IRebalancer.Plan)
    word: uint256 = self._policies[account]
    if policies._trigger_bps(word) == 0 or guard_word == 0:
        plan.code = NO_POLICY
        return plan
    picture: IClearinghouse.Snapshot = staticcall IClearinghouse(CLEARINGHOUSE).snapshot(account)
    target_bps: uint256 = guards._target_bps(guard_word)
    wanted: uint256 = fixed_point._mul_div_up(picture.required_init, target_bps, fixed_point.BPS)
    plan.shortfall = convert(max(convert(wanted, int256) - picture.equity_init, 0), uint256)
    plan.uncured = plan.shortfall
    plan.code = self._readiness(word, picture, plan.shortfall)
    if plan.code == ABOVE_TRIGGER:
        return plan
    plan = self._from_siblings(plan, account, word, picture, target_bps)
    if plan.uncured != 0:
        plan = self._from_sales(plan, account, picture, target_bps, refused)
    if len(plan.steps) == 0:
        plan.code = NO_MEANS
    return plan


@internal
@view
def _readiness(word: uint256, picture: IClearinghouse.Snapshot, shortfall: uint256) -> uint256:
    """
    @dev Below initial margin neither the cooldown nor the minimum holds a rebalance back, except in one block. An
         account that owes nothing cannot be liquidated, so there is nothing to rebalance.
    """
    is_exposed: bool = picture.cash < 0
    for leg: IClearinghouse.Leg in picture.legs:
        is_exposed = is_exposed or packing._size_wad(leg.position) != 0
    trigger: uint256 = fixed_point._mul_div_up(
        picture.required_init, policies._trigger_bps(word), fixed_point.BPS
    )
    if not is_exposed or shortfall == 0 or picture.equity_init >= convert(trigger, int256):
        return ABOVE_TRIGGER
    is_emergency: bool = picture.equity_init < convert(picture.required_init, int256)
    ready_at: uint256 = policies._last_at(word) + 1
    if not is_emergency:
        ready_at += policies._cooldown_s(word)
    if block.timestamp < ready_at:
        return COOLING_DOWN
    if shortfall < policies._min_step(word) and not is_emergency:
        return BELOW_MINIMUM
    return READY


@internal
@view
def _from_siblings(
    plan_: IRebalancer.Plan, account: uint256, word: uint256, picture: IClearinghouse.Snapshot, target_bps: uint256
) -> IRebalancer.Plan:
    """@dev Each donor keeps its floor; its slack is spent on cash first and then on collateral."""
    plan: IRebalancer.Plan = plan_
    donors: DynArray[IClearinghouse.Snapshot, policies.MAX_DONORS] = []
    slacks: DynArray[uint256, policies.MAX_DONORS] = []
    for i: uint256 in range(policies._donor_count(word), bound=policies.MAX_DONORS):
        donor: uint256 = ((account >> 8) << 8) | policies._donor(word, i)
        floor_bps: uint256 = guards._floor_bps(staticcall IMandates(MANDATES).guard_word(donor))
        given: uint256 = 0
        slack: uint256 = 0
        other: IClearinghouse.Snapshot = empty(IClearinghouse.Snapshot)
        if floor_bps != 0 and donor != account:
            other = staticcall IClearinghouse(CLEARINGHOUSE).snapshot(donor)
            slack = self._slack_down(other, floor_bps)
            cash: uint256 = convert(max(other.cash, 0), uint256)
            given = self._cash_units(plan.uncured, min(cash, slack))
        if given != 0:
            plan = self._with_step(plan, MOVE_CASH, donor, QUOTE_ASSET, given, given * UNIT_WAD, 0, given * UNIT_WAD)
        donors.append(other)
        slacks.append(slack - given * UNIT_WAD)
    if policies._uses_wallet(word) and plan.uncured != 0:
        plan = self._from_wallet(plan, account)
    for i: uint256 in range(len(donors), bound=policies.MAX_DONORS):
        if plan.uncured == 0:
            break
        donor: uint256 = ((account >> 8) << 8) | policies._donor(word, i)
        plan = self._from_collateral(plan, donor, donors[i], slacks[i], picture, target_bps)
    return plan


@internal
@view
def _from_wallet(plan_: IRebalancer.Plan, account: uint256) -> IRebalancer.Plan:
    plan: IRebalancer.Plan = plan_
    owner: address = packing._owner(account)
    left: uint256 = staticcall IMandates(MANDATES).wallet_left(account)
    balance: uint256 = staticcall IERC20(QUOTE).balanceOf(owner)
    allowed: uint256 = staticcall IERC20(QUOTE).allowance(owner, CLEARINGHOUSE)
    units: uint256 = min(self._cash_units(plan.uncured, left), min(balance, allowed))
    if units == 0:
        return plan
    return self._with_step(plan, PULL_CASH, account, QUOTE_ASSET, units, units * UNIT_WAD, 0, units * UNIT_WAD)


@internal
@view
def _from_collateral(
    plan_: IRebalancer.Plan,
    donor: uint256,
    other: IClearinghouse.Snapshot,
    slack_: uint256,
    picture: IClearinghouse.Snapshot,
    target_bps: uint256,
) -> IRebalancer.Plan:
    """
    @dev Within the quota the receiving account has left. Every unit that leaves counts against the donor's slack
         in full, which is exact without requirement there and errs to the donor's side with one.
    """
    plan: IRebalancer.Plan = plan_
    slack: uint256 = slack_
    for leg: IClearinghouse.Leg in other.legs:
        held: uint256 = 0
        is_listed: bool = len(picture.legs) < asset_list.MAX_ASSETS
        for own: IClearinghouse.Leg in picture.legs:
            if own.asset == leg.asset:
                held = packing._collateral_wad(own.position)
                is_listed = True
                break
        rate_e6: uint256 = packing._r_init_e6(leg.risk_word) + packing._l_init_e6(leg.risk_word)
        cure_e10: int256 = sizing._cure_of_inflow_e10(target_bps, rate_e6)
        quota: uint256 = packing._quota_wad(leg.risk_word)
        price: uint256 = packing._newest_wad(leg.price_word)
        is_live: bool = packing._flags(leg.price_word) & packing.IS_STALE == 0
        if plan.uncured == 0 or not is_listed or not is_live or cure_e10 <= 0 or held >= quota:
            continue
        unit: uint256 = packing._unit_wad(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(leg.asset))
        wanted: uint256 = sizing._units_up(
            sizing._value_up(plan.uncured + sizing.ROUNDING_WAD, cure_e10), price, unit
        )
        movable: uint256 = min(packing._collateral_wad(leg.position), quota - held)
        movable = min(movable, slack * fixed_point.WAD // price)
        units: uint256 = min(wanted, movable // unit)
        if units == 0:
            continue
        value_wad: uint256 = units * unit * price // fixed_point.WAD
        slack -= min(slack, value_wad + 1)
        plan = self._with_step(
            plan, MOVE_COLLATERAL, donor, leg.asset, units, value_wad, 0, sizing._cured_down(value_wad, cure_e10)
        )
    return plan


@internal
@view
def _from_sales(
    plan_: IRebalancer.Plan,
    account: uint256,
    picture: IClearinghouse.Snapshot,
    target_bps: uint256,
    refused: uint256,
) -> IRebalancer.Plan:
    """@dev The candidate with the lowest price of health, s / (t rho - s), goes first."""
    plan: IRebalancer.Plan = plan_
    candidates: DynArray[Candidate, MAX_STEPS] = self._candidates(account, picture, target_bps, refused)
    for rank: uint256 in range(len(candidates), bound=MAX_STEPS):
        if plan.uncured == 0:
            break
        best: uint256 = rank
        for i: uint256 in range(rank + 1, len(candidates), bound=MAX_STEPS):
            if self._is_cheaper(candidates[i], candidates[best]):
                best = i
        candidate: Candidate = candidates[best]
        candidates[best] = candidates[rank]
        # The proceeds are floored to a unit of the quote token.
        needed: uint256 = plan.uncured + UNIT_WAD + sizing.ROUNDING_WAD
        wanted: uint256 = sizing._units_up(
            sizing._value_up(needed, candidate.cure_e10), candidate.price_wad, candidate.unit_wad
        )
        units: uint256 = min(wanted, candidate.available)
        value_wad: uint256 = units * candidate.unit_wad * candidate.price_wad // fixed_point.WAD
        cost: uint256 = fixed_point._mul_div_up(value_wad, candidate.cost_bps, fixed_point.BPS)
        cured: uint256 = sizing._cured_down(value_wad, candidate.cure_e10)
        plan = self._with_step(plan, SELL, account, candidate.asset, units, value_wad, cost, cured)
    return plan


@internal
@view
def _candidates(
    account: uint256, picture: IClearinghouse.Snapshot, target_bps: uint256, refused: uint256
) -> DynArray[Candidate, MAX_STEPS]:
    """@dev An asset above its quota is two candidates: the surplus, and what lies within."""
    candidates: DynArray[Candidate, MAX_STEPS] = []
    sales: uint256 = self._sales[account]
    for i: uint256 in range(policies.MAX_SALES):
        sale: IRebalancer.Sale = policies._sale(sales, i)
        if sale.asset == 0:
            break
        if refused & (1 << sale.asset) != 0:
            continue
        for leg: IClearinghouse.Leg in picture.legs:
            if leg.asset != sale.asset or packing._flags(leg.price_word) & packing.NO_SWAP != 0:
                continue
            collateral: uint256 = packing._collateral_wad(leg.position)
            counted: uint256 = min(collateral, packing._quota_wad(leg.risk_word))
            rate_e6: uint256 = packing._r_init_e6(leg.risk_word) + packing._l_init_e6(leg.risk_word)
            unit: uint256 = packing._unit_wad(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(leg.asset))
            candidate: Candidate = Candidate(
                asset=leg.asset,
                available=(collateral - counted) // unit,
                price_wad=packing._newest_wad(leg.price_word),
                unit_wad=unit,
                cure_e10=sizing._cure_of_surplus_e10(sale.cost_bps),
                cost_bps=sale.cost_bps,
            )
            if candidate.available != 0:
                candidates.append(candidate)
            candidate.available = counted // unit
            candidate.cure_e10 = sizing._cure_of_sale_e10(target_bps, rate_e6, sale.cost_bps)
            if candidate.available != 0 and candidate.cure_e10 > 0:
                candidates.append(candidate)
            break
    return candidates


@internal
@pure
def _is_cheaper(a: Candidate, b: Candidate) -> bool:
    """@dev s_a / cure_a < s_b / cure_b without dividing; both cures are positive."""
    return a.cost_bps * convert(b.cure_e10, uint256) < b.cost_bps * convert(a.cure_e10, uint256)


@internal
@pure
def _with_step(
    plan_: IRebalancer.Plan,
    kind: uint256,
    source: uint256,
    asset: uint256,
    amount: uint256,
    value_wad: uint256,
    cost: uint256,
    cured: uint256,
) -> IRebalancer.Plan:
    """@dev A plan that is full keeps what it has; the rest is left to the next rebalance."""
    plan: IRebalancer.Plan = plan_
    if len(plan.steps) < MAX_STEPS:
        plan.steps.append(
            IRebalancer.Step(kind=kind, source=source, asset=asset, amount=amount, value=value_wad, cost=cost)
        )
        plan.uncured -= min(plan.uncured, cured)
    return plan


@internal
@view
def _cash_units(needed: uint256, available: uint256) -> uint256:
    """@dev Token units of cash: up to cover the need, down to what is there."""
    return min(fixed_point._div_up(needed, UNIT_WAD), available // UNIT_WAD)


@internal
@pure
def _slack_down(other: IClearinghouse.Snapshot, floor_bps: uint256) -> uint256:
    """@dev What a donor can give above its floor."""
    kept: uint256 = fixed_point._mul_div_up(other.required_init, floor_bps, fixed_point.BPS)
    return convert(max(other.equity_init - convert(kept, int256), 0), uint256)


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
def _require_gas(gas_left: uint256):
    """@dev A call passes on at most 63/64 of what is left."""
    if gas_left * 63 // 64 <= SALE_GAS:
        reasons._fail("rebalancer: gas too low")


@internal
@pure
def _require_progress(taken: uint256):
    if taken == 0:
        reasons._fail("rebalancer: every step refused")


@internal
@pure
def _require_ready(code: uint256):
    if code == NO_POLICY:
        reasons._fail("rebalancer: no policy")
    if code == ABOVE_TRIGGER:
        reasons._fail("rebalancer: trigger not met")
    if code == COOLING_DOWN:
        reasons._fail("rebalancer: cooling down")
    if code == BELOW_MINIMUM:
        reasons._fail("rebalancer: below minimum step")
    if code == NO_MEANS:
        reasons._fail("rebalancer: no means left")
