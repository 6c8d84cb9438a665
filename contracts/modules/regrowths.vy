# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Regrowths
@license MIT
@author  Ballast contributors
@notice  Lets exposure grow back where an account has more equity than its ceiling asks for.
@dev     The table of sizing read backwards: with E above c R, an action that costs s per unit and adds rho to the
         requirement goes as far as

             x = (E - c R) / (c rho + s)

             rho   un-hedge r - l   buy, lever r + l

         First shorts beside collateral are bought back, then weighed assets are bought with cash up to their weights,
         then a perpetual that is there is enlarged. Never beyond a limit of the allocation, which would cut it again,
         and only on prices that may back an increase.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import allocations
from contracts.modules import asset_means
from contracts.modules import costed_means
from contracts.modules import drafts
from contracts.modules import fixed_point
from contracts.modules import guards
from contracts.modules import markets
from contracts.modules import mixes
from contracts.modules import packing
from contracts.modules import sources
from contracts.modules import steps

uses: sources
uses: asset_means
uses: mixes

MAX_LEGS: constant(uint256) = 16
# A perpetual grows by at least this part of what is wanted, so that where limits allow small steps only, of which each
# makes room for another, they do not go on for ever.
LEAST_LEVER_PART: constant(uint256) = 8


@internal
@view
def _with_growth(
    draft_: drafts.Draft,
    request: IPlanner.Request,
    limits: uint256,
    weights: uint256,
    measure: allocations.Measure,
    picture: IMandates.Snapshot,
) -> (bool, drafts.Draft):
    """@dev Returns whether equity is above the ceiling and the guard's band."""
    draft: drafts.Draft = draft_
    growth: mixes.Growth = mixes._growth(request, limits, measure)
    band_bps: uint256 = guards._band_bps(request.guard_word)
    from_bps: uint256 = growth.ceiling_bps + band_bps
    if growth.ceiling_bps == 0 or measure.equity * fixed_point.BPS <= from_bps * measure.required:
        return False, draft
    draft.plan.shortfall = growth.to_ceiling
    draft.plan.uncured = growth.to_ceiling
    for leg: IMandates.Leg in picture.legs:
        if costed_means._weakness(leg) != 0:
            return True, draft
    for i: uint256 in range(len(picture.legs), bound=MAX_LEGS):
        growth, draft = self._with_trade(draft, request, limits, weights, measure, picture, i, growth, steps.UNHEDGE)
    cash: mixes.Part = mixes._cash(picture)
    cash.over = cash.under
    cash.under = 0
    if cash.over != 0 and weights != 0:
        lost: uint256 = fixed_point._mul_div_up(cash.over, growth.slippage_e6, fixed_point.RATE)
        parts: DynArray[mixes.Part, mixes.MAX_PARTS] = mixes._parts(
            request, limits, weights, measure, picture, lost, True
        )
        for i: uint256 in range(len(parts), bound=mixes.MAX_PARTS):
            parts[i].over = 0
        parts.append(cash)
        growth, draft = mixes._with_pairs(draft, request, parts, growth)
    for i: uint256 in range(len(picture.legs), bound=MAX_LEGS):
        growth, draft = self._with_trade(draft, request, limits, weights, measure, picture, i, growth, steps.LEVER)
    draft.plan.uncured = growth.to_ceiling
    return True, draft


@internal
@view
def _with_trade(
    draft_: drafts.Draft,
    request: IPlanner.Request,
    limits: uint256,
    weights: uint256,
    measure: allocations.Measure,
    picture: IMandates.Snapshot,
    place: uint256,
    growth_: mixes.Growth,
    kind: uint256,
) -> (mixes.Growth, drafts.Draft):
    """@dev A short bought back, or a perpetual enlarged. Its cost is quoted for the most that there could be of it."""
    draft: drafts.Draft = draft_
    growth: mixes.Growth = growth_
    leg: IMandates.Leg = picture.legs[place]
    price: uint256 = packing._newest_wad(leg.price_word)
    rate_e6: uint256 = packing._rate_init_e6(leg.risk_word)
    most: uint256 = 0
    if kind == steps.UNHEDGE:
        rate_e6 -= min(rate_e6, 2 * packing._l_init_e6(leg.risk_word))
        most = self._hedged(leg, weights, measure)
    else:
        most = self._leverable(leg, request.account)
    if drafts._is_full(draft) or most == 0 or steps._is_refused(request.refused, kind, leg.asset):
        return growth, draft
    use_e6: uint256 = fixed_point._mul_div_up(growth.ceiling_bps, rate_e6, fixed_point.BPS)
    room: uint256 = mixes._room(limits, leg, measure, picture, 0, True)
    # What this plan buys besides counts against the limit of all.
    for step: IRebalancer.Step in draft.plan.steps:
        room -= min(room, step.value)
    room = min(room, drafts._part_of(growth.to_ceiling, use_e6))
    if room < most * price // fixed_point.WAD:
        most = room * fixed_point.WAD // price // markets.SIZE_STEP * markets.SIZE_STEP
    if most == 0:
        return growth, draft
    change: int256 = convert(most, int256)
    if kind == steps.LEVER and packing._size_wad(leg.position) < 0:
        change = -change
    cost_e6: uint256 = asset_means._cost_e6(request.account, leg, change)
    value: uint256 = min(drafts._part_of(growth.to_ceiling, use_e6 + cost_e6), drafts._most_value(draft, cost_e6))
    size: uint256 = most
    if value < most * price // fixed_point.WAD:
        size = value * fixed_point.WAD // price // markets.SIZE_STEP * markets.SIZE_STEP
    value = size * price // fixed_point.WAD
    # Of equity beyond the ceiling, what the step uses up is what counts.
    least_part: uint256 = drafts.LEAST_PART
    if kind == steps.LEVER:
        least_part = LEAST_LEVER_PART
    if size == 0 or value * use_e6 // fixed_point.RATE * least_part < draft.plan.shortfall:
        return growth, draft
    draft.plan.steps.append(
        IRebalancer.Step(
            kind=kind,
            source=request.account,
            asset=leg.asset,
            amount=size,
            value=value,
            cost=fixed_point._mul_div_up(value, cost_e6, fixed_point.RATE),
            bought=0,
        )
    )
    draft = drafts._charged(draft, value, cost_e6)
    growth.to_ceiling = mixes._less(growth.to_ceiling, value, use_e6 + cost_e6)
    return growth, draft


@internal
@view
def _hedged(leg: IMandates.Leg, weights: uint256, measure: allocations.Measure) -> uint256:
    """
    @dev WAD units of a short beside at least as much collateral, all of it within its quota. Where both cancel out,
         exposure may only be opened toward a weight. A gain that is not paid keeps it open by a step.
    """
    size: int256 = packing._size_wad(leg.position)
    collateral: uint256 = packing._collateral_wad(leg.position)
    delta: int256 = convert(collateral, int256) + size
    is_usable: bool = packing._flags(leg.price_word) & packing.NO_INCREASE == 0
    if size >= 0 or delta < 0 or not is_usable or collateral > packing._quota_wad(leg.risk_word):
        return 0
    is_weighed: bool = False
    weight_bps: uint256 = 0
    is_weighed, weight_bps = allocations._weight_of(weights, leg.asset)
    is_within: bool = is_weighed and allocations._value(leg) * fixed_point.BPS <= weight_bps * measure.collateral
    if delta == 0 and not is_within:
        return 0
    most: uint256 = fixed_point._abs(size)
    if asset_means._unpaid_gain(leg, size, 0) >= sources.UNIT_WAD:
        most -= markets.SIZE_STEP
    return most


@internal
@view
def _leverable(leg: IMandates.Leg, account: uint256) -> uint256:
    """@dev WAD units by which a perpetual may grow that has the sign of the exposure."""
    size: int256 = packing._size_wad(leg.position)
    delta: int256 = convert(packing._collateral_wad(leg.position), int256) + size
    if size == 0 or delta == 0 or (size > 0) != (delta > 0):
        return 0
    return staticcall IPerps(sources.PERPS).largest_increase(leg.asset, account, size > 0)
