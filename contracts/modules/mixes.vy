# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Mixes
@license MIT
@author  Ballast contributors
@notice  Brings weighed assets back to their target weights, the most overweight into the most underweight.
@dev     The whole W is the value of all collateral and of cash that is not owed; it falls by what the swaps cost. With T
         what is overweight together and m the guard's slippage, W ends within T m of what it is. So nothing is sold
         below w (W + T m) nor bought above w (W - T m), and of what is missing only 1 / (1 + m) is asked for: then
         no weight is passed, whatever a venue pays. What that leaves is of second order: a part of m of what was off.
         A step that adds to the requirement is planned only above the ceiling and as far as that allows; others
         stand on their own, so that a refused step makes no other one impossible.
         While an account owes cash nothing is sold for cash: it would repay the loan and change the whole.
         Assets with a short beside them are left alone: what is sold there uncovers the short.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.interfaces import IRiskOracle
from contracts.modules import allocations
from contracts.modules import asset_list
from contracts.modules import costed_means
from contracts.modules import cuts
from contracts.modules import drafts
from contracts.modules import fixed_point
from contracts.modules import guards
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import sizing
from contracts.modules import sources
from contracts.modules import steps

uses: sources

MAX_PARTS: constant(uint256) = 9  # eight weights, and cash
MAX_PAIRS: constant(uint256) = 24  # eight steps, and each part given up once on either side
BPS_TO_E6: constant(uint256) = 100

ORACLE: immutable(address)


# One weighed asset, or cash as asset 0. Values in WAD of the quote token, rates and costs in millionths.
struct Part:
    asset: uint256
    price_wad: uint256
    unit_wad: uint256
    over: uint256  # what may be given
    under: uint256  # what may be taken in
    rate_e6: uint256  # what a unit taken in adds to the requirement
    released_e6: uint256  # what a unit given takes from it
    cost_e6: uint256


# How far exposure may grow.
struct Growth:
    slippage_e6: uint256
    to_target: uint256  # E - t R
    target_bps: uint256
    to_ceiling: uint256  # E - c R
    ceiling_bps: uint256  # 0 if it may not grow at all


@deploy
def __init__(oracle: address):
    ORACLE = oracle


@internal
@view
def _growth(
    request: IPlanner.Request, limits: uint256, measure: allocations.Measure
) -> Growth:
    """@dev Above the ceiling only where the policy asks for it and the market is calm enough."""
    growth: Growth = empty(Growth)
    growth.slippage_e6 = guards._slippage_bps(request.guard_word) * BPS_TO_E6
    growth.target_bps = guards._target_bps(request.guard_word)
    growth.to_target = self._excess(measure, growth.target_bps)
    sigma_low_bps: uint256 = allocations._sigma_low_bps(limits)
    is_calm: bool = sigma_low_bps == 0 or measure.sigma_bps <= sigma_low_bps
    may_grow: bool = policies._actions(request.policy_word) & policies.MAY_RERISK != 0
    ceiling_bps: uint256 = allocations._ceiling_bps(limits)
    if may_grow and is_calm and ceiling_bps > growth.target_bps:
        growth.ceiling_bps = ceiling_bps
        growth.to_ceiling = self._excess(measure, ceiling_bps)
    return growth


@internal
@view
def _excess(measure: allocations.Measure, multiple_bps: uint256) -> uint256:
    """@dev max(0, E - t R), less what the roundings of a full plan may lose."""
    wanted: uint256 = fixed_point._mul_div_up(measure.required, multiple_bps, fixed_point.BPS)
    wanted += costed_means.ROUNDING_UNITS * sources.UNIT_WAD
    return measure.equity - min(measure.equity, wanted)


@internal
@view
def _with_mix(
    draft_: drafts.Draft,
    request: IPlanner.Request,
    limits: uint256,
    weights: uint256,
    measure: allocations.Measure,
    picture: IMandates.Snapshot,
) -> (bool, drafts.Draft):
    """@dev Returns whether a weight is off by more than the drift. Not where there is a shortfall to the target."""
    draft: drafts.Draft = draft_
    growth: Growth = self._growth(request, limits, measure)
    if weights == 0 or growth.to_target == 0:
        return False, draft
    most_off: uint256 = allocations._drift_bps(limits) * measure.collateral
    is_off: bool = False
    turnover: uint256 = 0
    weighed: uint256 = 0
    held: uint256 = 0
    for i: uint256 in range(allocations.MAX_WEIGHTS):
        weight: IMandates.Weight = allocations._weight(weights, i)
        if weight.asset == 0:
            break
        value: uint256 = allocations._value(self._leg_of(picture, weight.asset))
        target: uint256 = weight.weight_bps * measure.collateral // fixed_point.BPS
        turnover += value - min(value, target)
        is_off = is_off or (max(value, target) - min(value, target)) * fixed_point.BPS > most_off
        weighed += target
        held += value
    if not is_off:
        return False, draft
    cash: Part = self._cash(picture)
    cash.over = min(cash.under, weighed - min(weighed, held))
    turnover += cash.over
    if picture.cash >= 0:
        cash.under = held - min(held, weighed)
    draft.plan.shortfall = turnover
    draft.plan.uncured = turnover
    for leg: IMandates.Leg in picture.legs:
        if costed_means._weakness(leg) != 0:
            return True, draft
    lost: uint256 = fixed_point._mul_div_up(turnover, growth.slippage_e6, fixed_point.RATE)
    parts: DynArray[Part, MAX_PARTS] = self._parts(
        request, limits, weights, measure, picture, lost, turnover == cash.over
    )
    parts.append(cash)
    growth, draft = self._with_pairs(draft, request, parts, growth)
    return True, draft


@internal
@view
def _cash(picture: IMandates.Snapshot) -> Part:
    """@dev With all that is not owed as what may still be decided on."""
    return Part(
        asset=steps.QUOTE_ASSET,
        price_wad=fixed_point.WAD,
        unit_wad=sources.UNIT_WAD,
        over=0,
        under=convert(max(picture.cash, 0), uint256),
        rate_e6=0,
        released_e6=0,
        cost_e6=0,
    )


@internal
@view
def _parts(
    request: IPlanner.Request,
    limits: uint256,
    weights: uint256,
    measure: allocations.Measure,
    picture: IMandates.Snapshot,
    lost: uint256,
    is_bought: bool,
) -> DynArray[Part, MAX_PARTS]:
    """
    @dev What may be given and taken in of each weighed asset, where swaps lose or gain at most `lost` together and
         nothing but cash is given for it if `is_bought`.
    """
    parts: DynArray[Part, MAX_PARTS] = []
    slippage_bps: uint256 = guards._slippage_bps(request.guard_word)
    rounding: uint256 = lost + sizing.ROUNDING_WAD
    for i: uint256 in range(allocations.MAX_WEIGHTS):
        weight: IMandates.Weight = allocations._weight(weights, i)
        if weight.asset == 0:
            break
        is_known: bool = False
        cost_bps: uint256 = 0
        is_known, cost_bps = self._cost_of(request.sales_word, weight.asset)
        leg: IMandates.Leg = self._leg_of(picture, weight.asset)
        is_held: bool = leg.asset != 0
        if not is_held:
            leg = self._fresh_leg(weight.asset, limits)
        flags: uint256 = packing._flags(leg.price_word)
        price: uint256 = packing._newest_wad(leg.price_word)
        # Its sale has to be priced, its price to be a live one.
        if not is_known or flags & packing.NO_SWAP != 0 or packing._size_wad(leg.position) < 0 or price == 0:
            continue
        value: uint256 = allocations._value(leg)
        collateral: uint256 = packing._collateral_wad(leg.position)
        quota: uint256 = packing._quota_wad(leg.risk_word)
        part: Part = Part(
            asset=weight.asset,
            price_wad=price,
            unit_wad=sources._unit_wad(weight.asset),
            over=0,
            under=0,
            rate_e6=packing._rate_init_e6(leg.risk_word),
            released_e6=packing._rate_init_e6(leg.risk_word),
            cost_e6=cost_bps * BPS_TO_E6,
        )
        if collateral > quota:
            part.released_e6 = 0
        kept: uint256 = fixed_point._mul_div_up(
            weight.weight_bps, measure.collateral + rounding, fixed_point.BPS
        )
        part.over = value - min(value, kept)
        is_live: bool = flags & packing.NO_INCREASE == 0 and price == packing._previous_wad(leg.price_word)
        has_place: bool = is_held or (
            len(picture.legs) < asset_list.MAX_ASSETS and self._is_calm(limits, leg.risk_word)
        )
        if is_live and has_place and collateral < quota:
            most: uint256 = weight.weight_bps * (measure.collateral - min(measure.collateral, rounding))
            # A perpetual counts toward a weight, too: the guard looks at the larger of collateral and exposure.
            there: uint256 = max(value, allocations._exposure_up(leg))
            room: uint256 = most // fixed_point.BPS - min(most // fixed_point.BPS, there)
            room = min(room, (quota - collateral) * price // fixed_point.WAD)
            room = min(room, self._room(limits, leg, measure, picture, lost, is_bought))
            part.under = room * fixed_point.BPS // (fixed_point.BPS + slippage_bps)
        parts.append(part)
    return parts


@internal
@view
def _with_pairs(
    draft_: drafts.Draft, request: IPlanner.Request, parts_: DynArray[Part, MAX_PARTS], growth_: Growth
) -> (Growth, drafts.Draft):
    """@dev The most overweight into the most underweight, as far as that passes, until nothing is left of either."""
    has_grown: bool = False
    draft: drafts.Draft = draft_
    parts: DynArray[Part, MAX_PARTS] = parts_
    growth: Growth = growth_
    for i: uint256 in range(MAX_PAIRS):
        if drafts._is_full(draft):
            break
        giver: uint256 = 0
        taker: uint256 = 0
        for k: uint256 in range(1, len(parts), bound=MAX_PARTS):
            if parts[k].over > parts[giver].over:
                giver = k
            if parts[k].under > parts[taker].under:
                taker = k
        given: Part = parts[giver]
        taken: Part = parts[taker]
        if given.over == 0 or taken.under == 0:
            break
        kind: uint256 = steps.SWAP
        if given.asset == steps.QUOTE_ASSET:
            kind = steps.BUY
        elif taken.asset == steps.QUOTE_ASSET:
            kind = steps.SELL
        if steps._is_refused(request.refused, kind, given.asset):
            parts[giver].over = 0
            continue
        cost_e6: uint256 = given.cost_e6 + taken.cost_e6
        for_target_e6: uint256 = self._use_e6(growth, growth.target_bps, given, taken)
        for_ceiling_e6: uint256 = self._use_e6(growth, growth.ceiling_bps, given, taken)
        value: uint256 = min(min(given.over, taken.under), drafts._most_value(draft, cost_e6))
        value = min(value, drafts._part_of(growth.to_target, for_target_e6))
        # Once the requirement has grown the account has to stay above the ceiling.
        is_growth: bool = self._added_e6(growth, given, taken) > 0
        if is_growth and growth.ceiling_bps == 0:
            value = 0
        elif is_growth or has_grown:
            value = min(value, drafts._part_of(growth.to_ceiling, for_ceiling_e6))
        unit_price: uint256 = given.price_wad * given.unit_wad
        amount: uint256 = value * fixed_point.WAD // unit_price
        value = amount * unit_price // fixed_point.WAD
        if amount == 0 or value * drafts.LEAST_PART < draft.plan.shortfall:
            if given.over < taken.under:
                parts[giver].over = 0
            else:
                parts[taker].under = 0
            continue
        draft.plan.steps.append(
            IRebalancer.Step(
                kind=kind,
                source=request.account,
                asset=given.asset,
                amount=amount,
                value=value,
                cost=fixed_point._mul_div_up(value, cost_e6, fixed_point.RATE),
                bought=taken.asset,
            )
        )
        has_grown = has_grown or is_growth
        draft = drafts._charged(draft, value, cost_e6)
        draft.plan.uncured -= min(draft.plan.uncured, value)
        growth.to_target = self._less(growth.to_target, value, for_target_e6)
        growth.to_ceiling = self._less(growth.to_ceiling, value, for_ceiling_e6)
        parts[giver].over -= value
        parts[taker].under -= value
    return growth, draft


@internal
@pure
def _added_e6(growth: Growth, given: Part, taken: Part) -> int256:
    """@dev What a unit given adds to the requirement where the venue pays as much above the price as slippage goes."""
    added_e6: uint256 = fixed_point._mul_div_up(taken.rate_e6, fixed_point.RATE + growth.slippage_e6, fixed_point.RATE)
    return convert(added_e6, int256) - convert(given.released_e6, int256)


@internal
@pure
def _use_e6(growth: Growth, multiple_bps: uint256, given: Part, taken: Part) -> uint256:
    """@dev What a unit given takes of E - t R at most: the slippage and t times what it adds to R."""
    added_e6: int256 = self._added_e6(growth, given, taken) * convert(multiple_bps, int256)
    use_e10: int256 = convert(growth.slippage_e6 * fixed_point.BPS, int256) + added_e6
    if use_e10 <= 0:
        return 0
    return fixed_point._div_up(convert(use_e10, uint256), fixed_point.BPS)


@internal
@pure
def _less(amount_wad: uint256, value_wad: uint256, per_unit_e6: uint256) -> uint256:
    used: uint256 = fixed_point._mul_div_up(value_wad, per_unit_e6, fixed_point.RATE)
    return amount_wad - min(amount_wad, used)


@internal
@pure
def _room(
    limits: uint256,
    leg: IMandates.Leg,
    measure: allocations.Measure,
    picture: IMandates.Snapshot,
    lost: uint256,
    is_alone: bool,
) -> uint256:
    """
    @dev By how much exposure to an asset may grow before a limit of its own or of all would cut it. The whole
         requirement grows with that of the asset, if nothing else is sold for it: R_i + rho x = c (R + rho x).
    """
    equity: uint256 = measure.equity - min(measure.equity, lost)
    room: uint256 = max_value(uint256)
    position_bps: uint256 = allocations._position_bps(limits)
    if position_bps != 0:
        most: uint256 = position_bps * equity // fixed_point.BPS
        room = most - min(most, allocations._exposure_up(leg))
    share_bps: uint256 = cuts._share_limit(limits, picture)
    rate_e6: uint256 = packing._rate_init_e6(leg.risk_word)
    if is_alone:
        rate_e6 = fixed_point._mul_div_up(rate_e6, fixed_point.BPS - share_bps, fixed_point.BPS)
    if share_bps != 0 and rate_e6 != 0:
        most: uint256 = share_bps * measure.required // fixed_point.BPS
        room = min(room, (most - min(most, allocations._required(leg))) * fixed_point.RATE // rate_e6)
    exposure_bps: uint256 = allocations._exposure_bps(limits)
    if exposure_bps != 0 and measure.sigma_bps >= allocations._sigma_high_bps(limits):
        most: uint256 = exposure_bps * equity // fixed_point.BPS
        room = min(room, most - min(most, measure.exposure))
    return room


@internal
@pure
def _is_calm(limits: uint256, risk_word: uint256) -> bool:
    """@dev Whether an asset that is not held would not make the account a volatile one."""
    sigma_bps: uint256 = packing._sigma_e6(risk_word) // allocations.BPS_TO_E6
    sigma_low_bps: uint256 = allocations._sigma_low_bps(limits)
    if sigma_low_bps != 0:
        return sigma_bps <= sigma_low_bps
    sigma_high_bps: uint256 = allocations._sigma_high_bps(limits)
    return sigma_high_bps == 0 or sigma_bps < sigma_high_bps


@internal
@pure
def _leg_of(picture: IMandates.Snapshot, asset: uint256) -> IMandates.Leg:
    """@dev Asset 0 where it is not held."""
    for leg: IMandates.Leg in picture.legs:
        if leg.asset == asset:
            return leg
    return empty(IMandates.Leg)


@internal
@view
def _fresh_leg(asset: uint256, limits: uint256) -> IMandates.Leg:
    """@dev Of an asset that is not held, at the marks of now; one that is not listed has no price."""
    leg: IMandates.Leg = empty(IMandates.Leg)
    if staticcall IClearinghouse(sources.CLEARINGHOUSE).asset_word(asset) == 0:
        return leg
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    leg.price_word = marks[0]
    leg.risk_word = marks[1]
    if allocations._anticipates(limits):
        leg.risk_word = packing._with_worse_init(marks[1], staticcall IRiskOracle(ORACLE).pending_risk(asset))
    return leg


@internal
@pure
def _cost_of(sales_word: uint256, asset: uint256) -> (bool, uint256):
    """@dev Whether the policy may trade an asset, and what all of it is expected to cost in the mean, basis points."""
    for i: uint256 in range(policies.MAX_SALES):
        sale: IRebalancer.Sale = policies._sale(sales_word, i)
        if sale.asset == 0:
            break
        if sale.asset == asset:
            return True, sale.cost_bps + sale.impact_bps
    return False, 0
