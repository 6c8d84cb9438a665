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

MAX_STEPS: constant(uint256) = 8
MAX_SALE_STEPS: constant(uint256) = 16  # each asset on sale, above its quota and within
# The plan, and what is planned anew after a sale was refused.
MAX_PLANS: constant(uint256) = 3
# A refused sale is tried at half and at a quarter of its size.
MAX_HALVINGS: constant(uint256) = 2
STEP_GAS: constant(uint256) = 800_000
# Kept back from a budget: units of the quote token that the roundings of a full plan may lose.
ROUNDING_UNITS: constant(uint256) = 32
# To plan again, to record and to return.
RESERVED_GAS: constant(uint256) = 400_000
SWAP: constant(Bytes[4]) = method_id("swap(address,uint256,uint256,uint256,uint256)")
PULL: constant(Bytes[4]) = method_id("pull(uint256)")
MOVE: constant(Bytes[4]) = method_id("move(uint256,uint256,uint256)")
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


# What failed in this call and is planned around.
struct Refused:
    assets: uint256  # bit i: sales of asset i; bit 0: the wallet
    donors: uint256  # bit i: sub-account i


# A sale that is possible. Kept in the order of a selection: no array of them is ever in memory.
struct Sale:
    index: uint256  # in the order of the policy; from MAX_SALES on the part above the quota
    asset: uint256
    available_wad: uint256
    price_wad: uint256
    cure_e10: uint256
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
    refused: Refused = empty(Refused)
    now: IMandates.Snapshot = picture
    for attempt: uint256 in range(MAX_PLANS):
        if attempt != 0:
            now = staticcall IMandates(MANDATES).snapshot(account)
        plan: IRebalancer.Plan = self._plan(account, guard_word, now, refused)
        if attempt == 0:
            self._require_ready(plan.code)
        if plan.code != READY:
            break
        before: Refused = refused
        count: uint256 = 0
        refused, count = self._execute(account, plan, refused)
        taken += count
        if refused.assets == before.assets and refused.donors == before.donors:
            break
    self._require_progress(taken)
    word: uint256 = self._policies[account]
    is_settled: bool = refused.assets | refused.donors == 0
    if not is_settled:
        now = staticcall IMandates(MANDATES).snapshot(account)
        shortfall: uint256 = self._shortfall_up(now, guards._target_bps(guard_word))
        is_settled = self._readiness(word, now, shortfall) == ABOVE_TRIGGER
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
    return self._plan(account, guard_word, picture, empty(Refused))


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
def _execute(account: uint256, plan: IRebalancer.Plan, refused_: Refused) -> (Refused, uint256):
    """
    @dev Returns what was refused so far and how many steps were taken, whole or in part. Every step is a captured
         call, so that one venue, donor or wallet that fails cannot keep the others from helping. A sale that is too
         large for its venue is tried at half and at a quarter of its size; what is left of it is another asset's or
         the next call's.
    """
    refused: Refused = refused_
    count: uint256 = 0
    adapter: address = self._adapters[account]
    for step: IRebalancer.Step in plan.steps:
        amount: uint256 = step.amount
        is_taken: bool = self._take(adapter, step, amount)
        if not is_taken and step.kind == SELL:
            for halving: uint256 in range(MAX_HALVINGS):
                amount = step.amount >> (halving + 1)
                is_taken = amount != 0 and self._take(adapter, step, amount)
                if is_taken:
                    break
        if is_taken:
            count += 1
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
        log IRebalancer.StepRefused(
            account=account, kind=step.kind, source=step.source, asset=step.asset, amount=step.amount
        )
        if step.kind == SELL or step.kind == PULL_CASH:
            refused.assets = refused.assets | (1 << step.asset)
        else:
            refused.donors = refused.donors | (1 << (step.source & 255))
    return refused, count


@internal
def _take(adapter: address, step: IRebalancer.Step, amount: uint256) -> bool:
    """@dev Without gas for any step left in hand none is tried: what helped so far must not be undone."""
    if msg.gas * 63 // 64 <= STEP_GAS + RESERVED_GAS:
        return False
    data: Bytes[164] = b""
    if step.kind == SELL:
        data = abi_encode(adapter, step.asset, QUOTE_ASSET, amount, empty(uint256), method_id=SWAP)
    elif step.kind == PULL_CASH:
        data = abi_encode(amount, method_id=PULL)
    else:
        data = abi_encode(step.source, step.asset, amount, method_id=MOVE)
    success: bool = raw_call(MANDATES, data, gas=STEP_GAS, revert_on_failure=False)
    return success


################################################################
#                           The plan                           #
################################################################


@internal
@view
def _plan(
    account: uint256, guard_word: uint256, picture: IMandates.Snapshot, refused: Refused
) -> IRebalancer.Plan:
    """
    @dev Cheapest first: cash of siblings, the wallet, collateral of siblings, surplus over quotas, sales. A plan that
         is full leaves the rest to the next rebalance.
    """
    plan: IRebalancer.Plan = empty(IRebalancer.Plan)
    word: uint256 = self._policies[account]
    if policies._trigger_bps(word) == 0 or guard_word == 0:
        plan.code = NO_POLICY
        return plan
    target_bps: uint256 = guards._target_bps(guard_word)
    plan.shortfall = self._shortfall_up(picture, target_bps)
    plan.uncured = plan.shortfall
    plan.code = self._readiness(word, picture, plan.shortfall)
    if plan.code == ABOVE_TRIGGER:
        return plan

    for i: uint256 in range(policies._donor_count(word), bound=policies.MAX_DONORS):
        if plan.uncured == 0:
            break
        if refused.donors & (1 << policies._donor(word, i)) != 0:
            continue
        donor: uint256 = packing._account(packing._owner(account), policies._donor(word, i))
        units: uint256 = self._cash_of_donor(donor, account, plan.uncured)
        if units != 0:
            plan.steps.append(self._cash_step(MOVE_CASH, donor, units))
            plan.uncured -= min(plan.uncured, units * UNIT_WAD)
    if policies._uses_wallet(word) and plan.uncured != 0 and refused.assets & 1 == 0:
        units: uint256 = self._cash_of_wallet(account, plan.uncured)
        if units != 0:
            plan.steps.append(self._cash_step(PULL_CASH, account, units))
            plan.uncured -= min(plan.uncured, units * UNIT_WAD)
    for i: uint256 in range(policies._donor_count(word), bound=policies.MAX_DONORS):
        if refused.donors & (1 << policies._donor(word, i)) != 0:
            continue
        donor: uint256 = packing._account(packing._owner(account), policies._donor(word, i))
        for count: uint256 in range(len(plan.steps), MAX_STEPS, bound=MAX_STEPS):
            if plan.uncured == 0 or len(plan.steps) != count:
                break
            cured: uint256 = 0
            step: IRebalancer.Step = empty(IRebalancer.Step)
            step, cured = self._collateral_step(donor, account, plan, picture, target_bps)
            if step.amount != 0:
                plan.steps.append(step)
                plan.uncured -= min(plan.uncured, cured)

    sales: uint256 = self._sales[account]
    used: uint256 = 0
    budget: uint256 = 0
    if plan.uncured != 0 and sales != 0:
        budget = staticcall IMandates(MANDATES).budget_left(packing._owner(account))
        budget -= min(budget, ROUNDING_UNITS * UNIT_WAD)
    for i: uint256 in range(MAX_SALE_STEPS):
        if plan.uncured == 0 or len(plan.steps) == MAX_STEPS:
            break
        best: Sale = self._best_sale(sales, refused.assets, used, picture, target_bps)
        if best.available_wad == 0:
            break
        used = used | (1 << best.index)
        cured: uint256 = 0
        step: IRebalancer.Step = empty(IRebalancer.Step)
        step, cured = self._sale_step(account, best, plan.uncured, budget)
        if step.amount != 0:
            budget -= step.cost
            plan.steps.append(step)
            plan.uncured -= min(plan.uncured, cured)
    if len(plan.steps) == 0:
        plan.code = NO_MEANS
    return plan


@internal
@view
def _readiness(word: uint256, picture: IMandates.Snapshot, shortfall: uint256) -> uint256:
    """
    @dev Below initial margin neither the cooldown nor the minimum holds a rebalance back, except in one block. An
         account that owes nothing cannot be liquidated, and less than a unit of the quote token cannot be cured.
    """
    is_exposed: bool = picture.cash < 0
    for leg: IMandates.Leg in picture.legs:
        is_exposed = is_exposed or packing._size_wad(leg.position) != 0
    trigger: uint256 = fixed_point._mul_div_up(
        picture.required_init, policies._trigger_bps(word), fixed_point.BPS
    )
    if not is_exposed or shortfall < UNIT_WAD or picture.equity_init >= convert(trigger, int256):
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


################################################################
#                        Siblings, wallet                      #
################################################################


@internal
@view
def _cash_of_donor(donor: uint256, account: uint256, needed: uint256) -> uint256:
    """@dev Token units of its own cash that a donor can give above its floor; it never borrows to give."""
    floor_bps: uint256 = guards._floor_bps(staticcall IMandates(MANDATES).guard_word(donor))
    if floor_bps == 0 or donor == account or packing._cash_wad(
        staticcall IClearinghouse(CLEARINGHOUSE).account_word(donor)
    ) < UNIT_WAD:
        return 0
    other: IMandates.Snapshot = staticcall IMandates(MANDATES).snapshot(donor)
    slack: uint256 = self._slack_down(other, floor_bps)
    return self._cash_units(needed, min(convert(max(other.cash, 0), uint256), slack))


@internal
@view
def _cash_of_wallet(account: uint256, needed: uint256) -> uint256:
    """@dev Token units that the guard's cap, the owner's balance and the allowance leave."""
    owner: address = packing._owner(account)
    units: uint256 = self._cash_units(needed, staticcall IMandates(MANDATES).wallet_left(account))
    if units == 0:
        return 0
    balance: uint256 = staticcall IERC20(QUOTE).balanceOf(owner)
    allowed: uint256 = staticcall IERC20(QUOTE).allowance(owner, CLEARINGHOUSE)
    return min(units, min(balance, allowed))


@internal
@view
def _collateral_step(
    donor: uint256,
    account: uint256,
    plan: IRebalancer.Plan,
    picture: IMandates.Snapshot,
    target_bps: uint256,
) -> (IRebalancer.Step, uint256):
    """
    @dev The donor's first asset that cures all, else the one that cures most, and what it cures: within the quota and
         the places in the list that earlier steps leave, and what the donor can give above its floor.
    """
    best: IRebalancer.Step = empty(IRebalancer.Step)
    best_cured: uint256 = 0
    floor_bps: uint256 = guards._floor_bps(staticcall IMandates(MANDATES).guard_word(donor))
    if floor_bps == 0 or donor == account:
        return best, 0
    other: IMandates.Snapshot = staticcall IMandates(MANDATES).snapshot(donor)
    if not self._is_sound(other):
        return best, 0
    slack: uint256 = self._slack_down(other, floor_bps)
    moves: uint256 = 0
    for step: IRebalancer.Step in plan.steps:
        if step.kind == MOVE_COLLATERAL:
            moves += 1
        if step.source == donor:
            slack -= min(slack, self._slack_used_up(step, other, floor_bps))
    for leg: IMandates.Leg in other.legs:
        cure_e10: int256 = sizing._cure_of_inflow_e10(target_bps, packing._rate_init_e6(leg.risk_word))
        if cure_e10 <= 0 or packing._flags(leg.price_word) & packing.IS_STALE != 0:
            continue
        held: uint256 = 0
        is_listed: bool = len(picture.legs) + moves < asset_list.MAX_ASSETS
        for own: IMandates.Leg in picture.legs:
            if own.asset == leg.asset:
                held = packing._collateral_wad(own.position)
                is_listed = True
                break
        quota: uint256 = packing._quota_wad(leg.risk_word)
        if held >= quota:
            continue
        unit: uint256 = packing._unit_wad(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(leg.asset))
        is_given: bool = False
        for step: IRebalancer.Step in plan.steps:
            if step.kind == MOVE_COLLATERAL and step.asset == leg.asset:
                held += step.amount * unit
                is_listed = True
                is_given = is_given or step.source == donor
        if is_given or not is_listed or held >= quota:
            continue
        price: uint256 = packing._newest_wad(leg.price_word)
        wanted: uint256 = sizing._units_up(
            sizing._value_up(plan.uncured + sizing.ROUNDING_WAD, convert(cure_e10, uint256)), price, unit
        )
        movable: uint256 = min(packing._collateral_wad(leg.position), quota - held)
        given: uint256 = sizing._givable_down(slack, floor_bps, packing._rate_init_e6(leg.risk_word))
        units: uint256 = min(wanted, min(movable, given * fixed_point.WAD // price) // unit)
        value_wad: uint256 = units * unit * price // fixed_point.WAD
        cured: uint256 = sizing._cured_down(value_wad, convert(cure_e10, uint256))
        if units != 0 and cured > best_cured:
            best_cured = cured
            best = IRebalancer.Step(
                kind=MOVE_COLLATERAL, source=donor, asset=leg.asset, amount=units, value=value_wad, cost=0
            )
            if cured >= plan.uncured:
                break
    return best, best_cured


@internal
@pure
def _is_sound(other: IMandates.Snapshot) -> bool:
    """
    @dev A donor that owes can give collateral only while all its marks may back an increase, and no price rose in this
         very block: the ledger counts the lower one before.
    """
    if other.cash >= 0:
        return True
    for leg: IMandates.Leg in other.legs:
        has_risen: bool = packing._newest_wad(leg.price_word) > packing._previous_wad(leg.price_word)
        if has_risen or packing._flags(leg.price_word) & packing.NO_INCREASE != 0:
            return False
    return True


@internal
@pure
def _slack_used_up(step: IRebalancer.Step, other: IMandates.Snapshot, floor_bps: uint256) -> uint256:
    """@dev What an earlier step takes of its donor's slack: cash in full, collateral less the requirement it frees."""
    for leg: IMandates.Leg in other.legs:
        if step.kind == MOVE_COLLATERAL and leg.asset == step.asset:
            return sizing._slack_of_outflow_up(step.value, floor_bps, packing._rate_init_e6(leg.risk_word))
    return step.value


@internal
@view
def _cash_step(kind: uint256, source: uint256, units: uint256) -> IRebalancer.Step:
    return IRebalancer.Step(
        kind=kind, source=source, asset=QUOTE_ASSET, amount=units, value=units * UNIT_WAD, cost=0
    )


################################################################
#                             Sales                            #
################################################################


@internal
@view
def _best_sale(
    sales: uint256, refused: uint256, used: uint256, picture: IMandates.Snapshot, target_bps: uint256
) -> Sale:
    """
    @dev The unused sale with the lowest price of health, s / (t rho - s). An asset above its quota is two sales, and
         what lies above the quota is the first to leave, whatever its price.
    """
    best: Sale = empty(Sale)
    for i: uint256 in range(policies.MAX_SALES):
        sale: IRebalancer.Sale = policies._sale(sales, i)
        if sale.asset == 0:
            break
        if refused & (1 << sale.asset) != 0:
            continue
        for leg: IMandates.Leg in picture.legs:
            if leg.asset != sale.asset:
                continue
            if packing._flags(leg.price_word) & packing.NO_SWAP != 0:
                break
            collateral: uint256 = packing._collateral_wad(leg.position)
            counted: uint256 = min(collateral, packing._quota_wad(leg.risk_word))
            if used & (1 << (i + policies.MAX_SALES)) == 0 and collateral > counted:
                surplus: Sale = Sale(
                    index=i + policies.MAX_SALES,
                    asset=leg.asset,
                    available_wad=collateral - counted,
                    price_wad=packing._newest_wad(leg.price_word),
                    cure_e10=sizing._cure_of_surplus_e10(sale.cost_bps),
                    cost_bps=sale.cost_bps,
                )
                if self._is_cheaper(surplus, best):
                    best = surplus
                break
            cure_e10: int256 = sizing._cure_of_sale_e10(
                target_bps, packing._rate_init_e6(leg.risk_word), sale.cost_bps
            )
            if used & (1 << i) == 0 and cure_e10 > 0:
                within: Sale = Sale(
                    index=i,
                    asset=leg.asset,
                    available_wad=counted,
                    price_wad=packing._newest_wad(leg.price_word),
                    cure_e10=convert(cure_e10, uint256),
                    cost_bps=sale.cost_bps,
                )
                if self._is_cheaper(within, best):
                    best = within
            break
    return best


@internal
@pure
def _is_cheaper(a: Sale, b: Sale) -> bool:
    """@dev s_a / cure_a < s_b / cure_b without dividing; nothing to sell is never cheaper."""
    if a.available_wad == 0 or b.available_wad == 0:
        return a.available_wad != 0
    return a.cost_bps * b.cure_e10 < b.cost_bps * a.cure_e10


@internal
@view
def _sale_step(account: uint256, sale: Sale, uncured: uint256, budget: uint256) -> (IRebalancer.Step, uint256):
    """
    @dev The sale at its size, and what it cures. The proceeds will be floored to a unit of the quote token. A sale that
         is expected to lose more than the budget has left is not planned: it would undo what else helps.
    """
    unit: uint256 = packing._unit_wad(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(sale.asset))
    needed: uint256 = uncured + UNIT_WAD + sizing.ROUNDING_WAD
    wanted: uint256 = sizing._units_up(sizing._value_up(needed, sale.cure_e10), sale.price_wad, unit)
    units: uint256 = min(wanted, sale.available_wad // unit)
    if sale.cost_bps != 0:
        affordable: uint256 = budget * fixed_point.BPS // sale.cost_bps
        units = min(units, affordable * fixed_point.WAD // sale.price_wad // unit)
    value_wad: uint256 = units * unit * sale.price_wad // fixed_point.WAD
    step: IRebalancer.Step = IRebalancer.Step(
        kind=SELL,
        source=account,
        asset=sale.asset,
        amount=units,
        value=value_wad,
        cost=fixed_point._mul_div_up(value_wad, sale.cost_bps, fixed_point.BPS),
    )
    return step, sizing._cured_down(value_wad, sale.cure_e10)


@internal
@view
def _cash_units(needed: uint256, available: uint256) -> uint256:
    """@dev Token units of cash: up to cover the need, down to what is there."""
    return min(fixed_point._div_up(needed, UNIT_WAD), available // UNIT_WAD)


@internal
@pure
def _shortfall_up(picture: IMandates.Snapshot, target_bps: uint256) -> uint256:
    """@dev S = max(0, t R_init - E_init), the wanted equity rounded up."""
    wanted: uint256 = fixed_point._mul_div_up(picture.required_init, target_bps, fixed_point.BPS)
    return convert(max(convert(wanted, int256) - picture.equity_init, 0), uint256)


@internal
@pure
def _slack_down(other: IMandates.Snapshot, floor_bps: uint256) -> uint256:
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
