# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Free means
@license MIT
@author  Ballast contributors
@notice  What helps an account and costs nothing: gains that the house can pay, cash of siblings, the owner's wallet,
         collateral of siblings, in this order.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IRebalancer
from contracts.modules import asset_list
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import sizing
from contracts.modules import sources
from contracts.modules import steps
from ethereum.ercs import IERC20

uses: sources

# Of a single unit of the quote token a repayment may lose all to rounding.
LEAST_UNITS: constant(uint256) = 2


@internal
@pure
def _are_allowed(policy_word: uint256) -> bool:
    """@dev Whether the policy knows any of them."""
    return (
        policies._donor_count(policy_word) != 0
        or policies._uses_wallet(policy_word)
        or policies._actions(policy_word) & policies.MAY_SETTLE != 0
    )


################################################################
#                             Gains                            #
################################################################


@internal
@view
def _with_gains(
    plan_: IRebalancer.Plan, account: uint256, legs: DynArray[IMandates.Leg, 16], refused: uint256
) -> IRebalancer.Plan:
    """@dev All of a gain is paid, as far as the house's cash goes."""
    plan: IRebalancer.Plan = plan_
    left: uint256 = max_value(uint256)
    for leg: IMandates.Leg in legs:
        if plan.uncured == 0 or len(plan.steps) == steps.MAX_STEPS:
            break
        gain: uint256 = self._payable_gain(leg)
        if gain < LEAST_UNITS * sources.UNIT_WAD or refused & (1 << leg.asset) != 0:
            continue
        if left == max_value(uint256):
            left = sources._cash_wad(sources.HOUSE)
        paid: uint256 = min(gain, left)
        if paid < LEAST_UNITS * sources.UNIT_WAD:
            continue
        left -= paid
        plan.steps.append(
            IRebalancer.Step(kind=steps.SETTLE, source=account, asset=leg.asset, amount=paid, value=paid, cost=0, bought=0)
        )
        plan.uncured -= min(plan.uncured, paid)
    return plan


@internal
@pure
def _payable_gain(leg: IMandates.Leg) -> uint256:
    """
    @dev An open position is paid at the lesser of its two prices, and on none that must not back an increase; what is
         left of a closed one knows no price.
    """
    gain: int256 = self._result(leg, packing._newest_wad(leg.price_word))
    if leg.position >> 128 != 0:
        if packing._flags(leg.price_word) & packing.NO_INCREASE != 0:
            return 0
        gain = min(gain, self._result(leg, packing._previous_wad(leg.price_word)))
    return convert(max(gain, 0), uint256)


@internal
@pure
def _result(leg: IMandates.Leg, price_wad: uint256) -> int256:
    """@dev u = floor(q (p - f)) - c"""
    move: int256 = convert(price_wad, int256) - leg.funding
    return fixed_point._mul_wad_floor_signed(packing._size_wad(leg.position), move) - leg.cost


################################################################
#                             Cash                             #
################################################################


@internal
@view
def _with_cash(plan_: IRebalancer.Plan, kind: uint256, source: uint256, units: uint256) -> IRebalancer.Plan:
    plan: IRebalancer.Plan = plan_
    if units >= LEAST_UNITS and len(plan.steps) != steps.MAX_STEPS:
        value_wad: uint256 = units * sources.UNIT_WAD
        plan.steps.append(
            IRebalancer.Step(
                kind=kind, source=source, asset=sources.QUOTE_ASSET, amount=units, value=value_wad, cost=0, bought=0
            )
        )
        plan.uncured -= min(plan.uncured, value_wad)
    return plan


@internal
@view
def _cash_of_wallet(account: uint256, needed: uint256) -> uint256:
    """@dev Token units that the guard's cap, the owner's balance and the allowance leave."""
    owner: address = packing._owner(account)
    units: uint256 = self._cash_units(needed, staticcall IMandates(sources.MANDATES).wallet_left(account))
    if units == 0:
        return 0
    balance: uint256 = staticcall IERC20(sources.QUOTE).balanceOf(owner)
    allowed: uint256 = staticcall IERC20(sources.QUOTE).allowance(owner, sources.CLEARINGHOUSE)
    return min(units, min(balance, allowed))


@internal
@view
def _cash_units(needed: uint256, available: uint256) -> uint256:
    """@dev Token units of cash: up to cover the need, down to what is there."""
    return min(fixed_point._div_up(needed, sources.UNIT_WAD), available // sources.UNIT_WAD)


################################################################
#                          Collateral                          #
################################################################


@internal
@view
def _collateral_step(
    donor: uint256,
    given: DynArray[IMandates.Leg, 16],
    slack: uint256,
    floor_bps: uint256,
    planned: DynArray[IRebalancer.Step, steps.MAX_STEPS],
    uncured: uint256,
    owned: DynArray[IMandates.Leg, 16],
    target_bps: uint256,
) -> (IRebalancer.Step, uint256):
    """
    @dev The donor's first asset that cures all, else the one that cures most per unit of the donor's slack, and what it
         cures: within the quota and the places in the list that earlier steps leave, and what the donor can give above
         its floor. Not where it would only cover a short, of which this formula knows nothing; nor more than the donor
         has beyond its own.
    """
    best: IRebalancer.Step = empty(IRebalancer.Step)
    best_cured: uint256 = 0
    best_cure_e10: uint256 = 0
    best_taken_e10: uint256 = 0
    moves: uint256 = 0
    for step: IRebalancer.Step in planned:
        if step.kind == steps.MOVE_COLLATERAL:
            moves += 1
    for leg: IMandates.Leg in given:
        rate_e6: uint256 = packing._rate_init_e6(leg.risk_word)
        signed_e10: int256 = sizing._cure_of_inflow_e10(target_bps, rate_e6)
        if signed_e10 <= 0 or packing._flags(leg.price_word) & packing.IS_STALE != 0:
            continue
        cure_e10: uint256 = convert(signed_e10, uint256)
        held: uint256 = 0
        is_short: bool = False
        is_listed: bool = len(owned) + moves < asset_list.MAX_ASSETS
        for own: IMandates.Leg in owned:
            if own.asset == leg.asset:
                held = packing._collateral_wad(own.position)
                is_short = convert(held, int256) + packing._size_wad(own.position) < 0
                is_listed = True
                break
        quota: uint256 = packing._quota_wad(leg.risk_word)
        if held >= quota or is_short:
            continue
        unit: uint256 = sources._unit_wad(leg.asset)
        is_given: bool = False
        for step: IRebalancer.Step in planned:
            if step.kind == steps.MOVE_COLLATERAL and step.asset == leg.asset:
                held += step.amount * unit
                is_listed = True
                is_given = is_given or step.source == donor
        if is_given or not is_listed or held >= quota:
            continue
        price: uint256 = packing._newest_wad(leg.price_word)
        wanted: uint256 = sizing._units_up(
            sizing._value_up(uncured + sizing.ROUNDING_WAD, cure_e10), price, unit
        )
        movable: uint256 = min(self._net_collateral(leg, quota), quota - held)
        givable: uint256 = sizing._givable_down(slack, floor_bps, rate_e6)
        units: uint256 = min(wanted, min(movable, givable * fixed_point.WAD // price) // unit)
        value_wad: uint256 = units * unit * price // fixed_point.WAD
        cured: uint256 = sizing._cured_down(value_wad, cure_e10)
        taken_e10: uint256 = sizing.CURE - min(floor_bps * rate_e6, sizing.CURE)
        is_better: bool = best_cured == 0 or taken_e10 * best_cure_e10 < best_taken_e10 * cure_e10
        if cured != 0 and (is_better or cured >= uncured):
            best_cured = cured
            best_cure_e10 = cure_e10
            best_taken_e10 = taken_e10
            best = IRebalancer.Step(
                kind=steps.MOVE_COLLATERAL, source=donor, asset=leg.asset, amount=units, value=value_wad, cost=0, bought=0
            )
            if cured >= uncured:
                break
    return best, best_cured


@internal
@pure
def _net_collateral(leg: IMandates.Leg, quota: uint256) -> uint256:
    """@dev Collateral of a donor that no short of its own is hedged with."""
    collateral: uint256 = packing._collateral_wad(leg.position)
    size: int256 = packing._size_wad(leg.position)
    if size >= 0:
        return collateral
    return convert(max(convert(min(collateral, quota), int256) + size, 0), uint256)


@internal
@pure
def _is_sound(other: IMandates.Snapshot) -> bool:
    """
    @dev A donor with a debt or a perpetual can give only while all its marks may back an increase, and no price moved
         against it in this very block: the ledger counts the worse one.
    """
    is_bound: bool = other.cash < 0
    is_usable: bool = True
    for leg: IMandates.Leg in other.legs:
        has_size: bool = leg.position >> 128 != 0
        is_bound = is_bound or has_size or leg.cost != 0
        newest: uint256 = packing._newest_wad(leg.price_word)
        previous: uint256 = packing._previous_wad(leg.price_word)
        has_moved: bool = newest > previous or (newest < previous and has_size)
        if has_moved or packing._flags(leg.price_word) & packing.NO_INCREASE != 0:
            is_usable = False
    return is_usable or not is_bound


@internal
@pure
def _slack_down(
    donor: uint256,
    other: IMandates.Snapshot,
    floor_bps: uint256,
    planned: DynArray[IRebalancer.Step, steps.MAX_STEPS],
) -> uint256:
    """
    @dev What a donor can give above its floor, beyond what it gives already: cash in full, collateral less the
         requirement it frees.
    """
    kept: uint256 = fixed_point._mul_div_up(other.required_init, floor_bps, fixed_point.BPS)
    slack: uint256 = convert(max(other.equity_init - convert(kept, int256), 0), uint256)
    for step: IRebalancer.Step in planned:
        if step.source == donor:
            used: uint256 = step.value
            for leg: IMandates.Leg in other.legs:
                if step.kind == steps.MOVE_COLLATERAL and leg.asset == step.asset:
                    used = sizing._slack_of_outflow_up(step.value, floor_bps, packing._rate_init_e6(leg.risk_word))
                    break
            slack -= min(slack, used)
    return slack
