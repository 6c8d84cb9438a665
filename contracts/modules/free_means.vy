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


# Collateral that a donor can give.
struct Offer:
    step: IRebalancer.Step
    cured: uint256
    cure_e10: uint256
    taken_e10: uint256  # of the donor's slack, per unit of value


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
def _cash_step(kind: uint256, source: uint256, units: uint256) -> IRebalancer.Step:
    return IRebalancer.Step(
        kind=kind,
        source=source,
        asset=sources.QUOTE_ASSET,
        amount=units,
        value=units * sources.UNIT_WAD,
        cost=0,
        bought=0,
    )


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
def _offer(
    donor: uint256,
    leg: IMandates.Leg,
    slack: uint256,
    floor_bps: uint256,
    planned: DynArray[IRebalancer.Step, steps.MAX_STEPS],
    uncured: uint256,
    owned: DynArray[IMandates.Leg, 16],
    target_bps: uint256,
) -> Offer:
    """
    @dev What a donor can give of an asset: within the quota and the places in the list that earlier steps leave, and
         what it can give above its floor. Not where it would only cover a short, of which this formula knows nothing;
         nor more than the donor has beyond its own.
    """
    offer: Offer = empty(Offer)
    rate_e6: uint256 = packing._rate_init_e6(leg.risk_word)
    signed_e10: int256 = sizing._cure_of_inflow_e10(target_bps, rate_e6)
    if signed_e10 <= 0 or packing._flags(leg.price_word) & packing.IS_STALE != 0:
        return offer
    held: uint256 = 0
    is_listed: bool = False
    for own: IMandates.Leg in owned:
        if own.asset == leg.asset:
            held = packing._collateral_wad(own.position)
            if convert(held, int256) + packing._size_wad(own.position) < 0:
                return offer
            is_listed = True
            break
    quota: uint256 = packing._quota_wad(leg.risk_word)
    if held >= quota:
        return offer
    unit: uint256 = sources._unit_wad(leg.asset)
    moves: uint256 = 0
    for step: IRebalancer.Step in planned:
        if step.kind == steps.MOVE_COLLATERAL:
            moves += 1
            if step.asset == leg.asset:
                if step.source == donor:
                    return offer
                held += step.amount * unit
                is_listed = True
    if held >= quota or not (is_listed or len(owned) + moves < asset_list.MAX_ASSETS):
        return offer
    price: uint256 = packing._newest_wad(leg.price_word)
    offer.cure_e10 = convert(signed_e10, uint256)
    wanted: uint256 = sizing._units_up(
        sizing._value_up(uncured + sizing.ROUNDING_WAD, offer.cure_e10), price, unit
    )
    movable: uint256 = min(self._net_collateral(leg, quota), quota - held)
    givable: uint256 = sizing._givable_down(slack, floor_bps, rate_e6)
    units: uint256 = min(wanted, min(movable, givable * fixed_point.WAD // price) // unit)
    value_wad: uint256 = units * unit * price // fixed_point.WAD
    offer.cured = sizing._cured_down(value_wad, offer.cure_e10)
    offer.taken_e10 = sizing.CURE - min(floor_bps * rate_e6, sizing.CURE)
    offer.step = IRebalancer.Step(
        kind=steps.MOVE_COLLATERAL, source=donor, asset=leg.asset, amount=units, value=value_wad, cost=0, bought=0
    )
    return offer


@internal
@pure
def _goes_before(offer: Offer, best: Offer, uncured: uint256) -> bool:
    """@dev Whether it cures all, or more per unit of the donor's slack."""
    if offer.cured == 0:
        return False
    is_better: bool = best.cured == 0 or offer.taken_e10 * best.cure_e10 < best.taken_e10 * offer.cure_e10
    return is_better or offer.cured >= uncured


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
