# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Costed means
@license MIT
@author  Ballast contributors
@notice  What helps an account and costs something: sales of collateral, and trades of perpetuals, the cheapest price of
         health first, over all assets.
@dev     What can be done with one asset is a curve from cost to cure, and its edges get dearer one by one. Sales, trims
         and hedges of an asset share its net exposure |D|. Where hedging is cheaper than selling it comes first; when
         both have used |D| up, hedged units become sold ones at the marginal price

             (s_sell - s_hedge) / (cure_sell - cure_hedge)

         which is the next edge of the convex hull, so that the cheapest edge of all is always the right one to take.
         Where a price moves with size a means is cut into four slices. The j-th ends at j (j + 1) / 20 of what there is
         and costs, in the mean, what the first unit does and j^2 / 10 of what all units cost beyond that. Of a sale the
         policy names both; a trade is quoted for all there is, and the market's depth says what the first unit costs.
         A gain that the house did not pay bears costs of trades first and does not count at initial margin, so a trade
         that it bears in full costs no equity there. Nor is a position closed that has one: closing would pay it, on
         top of what was planned.
         Assumption: `quote` does not revert for a market that exists, that is, no position exceeds twice the depth.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import sizing
from contracts.modules import sources
from contracts.modules import steps
from contracts.modules import bounds

uses: sources

MAX_HOLDINGS: constant(uint256) = 16
MAX_EDGES: constant(uint256) = 192
SLICES: constant(uint256) = 4
TENTHS: constant(uint256) = 10
# An impact below this part of what the first unit costs is not worth slices.
LEAST_IMPACT_PART: constant(uint256) = 10
# Kept back from a budget: units of the quote token that the roundings of a full plan may lose.
ROUNDING_UNITS: constant(uint256) = 32
BPS_TO_E6: constant(uint256) = 100

# What an edge does. Of equal prices within an asset the first goes first.
SURPLUS: constant(uint256) = 1  # sell collateral above its quota; what lies within leaves after it
WITHIN: constant(uint256) = 2  # sell collateral within its quota
UPGRADE: constant(uint256) = 4  # sell what was hedged
TRIM: constant(uint256) = 8
HEDGE: constant(uint256) = 16
UNWIND: constant(uint256) = 32
# What a policy may allow beside sales and what is free.
TRADES: constant(uint256) = policies.MAY_TRIM | policies.MAY_HEDGE | policies.MAY_UNWIND
SALES: constant(uint256) = SURPLUS | WITHIN | UPGRADE | UNWIND  # all that sells collateral


# What the units of a means cost, as parts of their value, in millionths.
struct Curve:
    most: uint256  # WAD units there are
    used: uint256  # of them
    first_e6: int256  # the first unit
    impact_e6: uint256  # what all cost in the mean beyond that
    later_e6: uint256  # funding that a unit is expected to pay
    is_borne: bool  # by a gain, and not by equity at initial margin


# One asset of the account and what may still be done with it, in WAD units.
struct Holding:
    asset: uint256
    rank: uint256  # of equals the one that the policy names first goes first
    price_wad: uint256
    unit_wad: uint256  # of a token
    lot_wad: uint256  # the least that collateral and perpetual can both change by
    rate_e6: uint256  # r + l
    both_rates_e6: uint256  # 2 l
    sales: Curve
    closing: Curve
    hedging: Curve
    open: uint256  # |D| that is left
    surplus: uint256
    sale: uint256
    trim: uint256
    pairs: uint256
    used: uint256  # bits of the forms that could not be taken in full
    is_short: bool  # its sales have to pass the increase test


struct Edge:
    form: uint256
    available: uint256  # WAD units; 0 is no edge
    lot_wad: uint256
    released_e6: uint256
    cure_e10: uint256
    cost_e6: uint256
    hedge_e6: uint256  # what is not paid for a hedge that becomes a sale


# What a plan under way has lost, traded and freed.
struct Course:
    budget: uint256  # expected cost that may still be lost, WAD of the quote token
    allowance: uint256  # value that may still be sold and traded
    released: uint256  # requirement that the steps free
    is_tested: bool  # whether a step makes the ledger test the account at the end


@internal
@pure
def _are_allowed(policy_word: uint256, sales_word: uint256) -> bool:
    """@dev Whether the policy knows any means that costs something."""
    return sales_word != 0 or policies._actions(policy_word) & TRADES != 0


@internal
@view
def _budget(account: uint256) -> uint256:
    """@dev What the owner's budget bears, less what a full plan may lose by rounding."""
    left: uint256 = staticcall IMandates(sources.MANDATES).budget_left(packing._owner(account))
    return left - min(left, ROUNDING_UNITS * sources.UNIT_WAD)


@internal
@pure
def _gone(course_: Course, edge: Edge, value_wad: uint256, is_short: bool) -> Course:
    """@dev After one more edge of such a value."""
    course: Course = course_
    course.allowance -= min(course.allowance, value_wad)
    course.budget -= min(course.budget, fixed_point._mul_div_up(value_wad, edge.cost_e6, fixed_point.RATE))
    course.released += value_wad * edge.released_e6 // fixed_point.RATE
    course.is_tested = course.is_tested or (is_short and edge.form & SALES != 0)
    return course


@internal
@pure
def _may_help(request: IPlanner.Request, leg: IMandates.Leg) -> bool:
    """@dev Whether the policy knows anything to do with an asset, so that the rest need not be read."""
    if policies._place_of_sale(request.sales_word, leg.asset) != policies.MAX_SALES:
        return True
    actions: uint256 = policies._actions(request.policy_word)
    return actions & policies.MAY_HEDGE != 0 or (
        leg.position >> 128 != 0 and actions & (policies.MAY_TRIM | policies.MAY_UNWIND) != 0
    )


@internal
@view
def _size(edge: Edge, price_wad: uint256, uncured: uint256, course: Course) -> uint256:
    """
    @dev What cures the rest, up to a lot, as far as it goes and the maximum step allows. Proceeds will be floored to a unit of the quote token. What
         is expected to lose more than the budget has left is not planned: it would undo what else helps.
    """
    needed: uint256 = uncured + sources.UNIT_WAD + sizing.ROUNDING_WAD
    lots: uint256 = sizing._units_up(sizing._value_up(needed, edge.cure_e10), price_wad, edge.lot_wad)
    most: uint256 = course.allowance
    if edge.cost_e6 != 0:
        most = min(most, course.budget * fixed_point.RATE // edge.cost_e6)
    lots = min(lots, most * fixed_point.WAD // price_wad // edge.lot_wad)
    return min(lots * edge.lot_wad, edge.available)


@internal
@pure
def _max_value(bounds_word: uint256, is_emergency: bool) -> uint256:
    """@dev What a rebalance may sell and trade: all in an emergency."""
    most: uint256 = bounds._max_step(bounds_word)
    if most == 0 or is_emergency:
        return sizing.MAX_VALUE_WAD
    return most


################################################################
#                             Edges                            #
################################################################


@internal
@pure
def _next_edge(h: Holding, target_bps: uint256) -> Edge:
    """@dev The cheapest of what may be done next with an asset."""
    best: Edge = empty(Edge)
    nothing: Curve = empty(Curve)
    open: uint256 = h.open
    if h.surplus != 0 and h.used & SURPLUS == 0:
        best = self._edge(best, SURPLUS, h.surplus, h.unit_wad, 0, h.sales, nothing, target_bps)
    elif h.sale != 0:
        if h.used & WITHIN == 0 and open != 0:
            most: uint256 = min(h.sale, open)
            best = self._edge(best, WITHIN, most, h.unit_wad, h.rate_e6, h.sales, nothing, target_bps)
        if h.used & UPGRADE == 0 and h.hedging.used != 0:
            best = self._edge(
                best, UPGRADE, h.sale, h.lot_wad, h.both_rates_e6, h.sales, h.hedging, target_bps
            )
    if h.trim != 0 and h.used & TRIM == 0:
        best = self._edge(
            best, TRIM, min(h.trim, open), markets.SIZE_STEP, h.rate_e6, h.closing, nothing, target_bps
        )
    if h.hedging.most != 0 and h.used & HEDGE == 0 and h.rate_e6 > h.both_rates_e6:
        freed_e6: uint256 = h.rate_e6 - h.both_rates_e6
        best = self._edge(best, HEDGE, open, h.lot_wad, freed_e6, h.hedging, nothing, target_bps)
    if h.pairs != 0 and h.used & UNWIND == 0 and h.hedging.used == 0:
        best = self._edge(
            best, UNWIND, h.pairs, h.lot_wad, h.both_rates_e6, h.sales, h.closing, target_bps
        )
    return best


@internal
@pure
def _edge(
    best: Edge,
    form: uint256,
    stock: uint256,
    lot_wad: uint256,
    released_e6: uint256,
    curve: Curve,
    other: Curve,
    target_bps: uint256,
) -> Edge:
    """
    @dev The cheaper one of a known and a further edge: one slice of a form, of an upgrade the next one of the sale and
         the last one of the hedge.
    """
    left: uint256 = 0
    cost_e6: uint256 = 0
    burden_e6: int256 = 0
    left, cost_e6, burden_e6 = self._slice(curve, lot_wad, False)
    available: uint256 = min(stock, left)
    hedge_e6: uint256 = 0
    if form & (UPGRADE | UNWIND) != 0:
        part_e6: uint256 = 0
        borne_e6: int256 = 0
        left, part_e6, borne_e6 = self._slice(other, lot_wad, form == UPGRADE)
        available = min(available, left)
        if form == UNWIND:
            cost_e6 += part_e6
            burden_e6 += borne_e6
        else:
            hedge_e6 = part_e6
            cost_e6 -= min(cost_e6, part_e6)
            burden_e6 -= borne_e6
    cure_e10: int256 = convert(target_bps * released_e6, int256)
    if form == SURPLUS:
        cure_e10 = convert(sizing.CURE, int256)
    cure_e10 -= burden_e6 * convert(sizing.E6_TO_E10, int256)
    available -= available % lot_wad
    if available == 0 or cure_e10 <= 0:
        return best
    return self._cheaper(
        best,
        Edge(
            form=form,
            available=available,
            lot_wad=lot_wad,
            released_e6=released_e6,
            cure_e10=convert(cure_e10, uint256),
            cost_e6=cost_e6,
            hedge_e6=hedge_e6,
        ),
    )


@internal
@pure
def _slice(curve: Curve, lot_wad: uint256, is_given_back: bool) -> (uint256, uint256, int256):
    """
    @dev The slice with the next lot of a means, or with the last that was used: units that are left of it or used of it,
         what they cost, and what of that equity bears.
    """
    place: uint256 = curve.used
    if is_given_back:
        if place == 0:
            return 0, 0, 0
        place -= lot_wad
    start: uint256 = 0
    end: uint256 = curve.most
    cost_e6: int256 = curve.first_e6
    if curve.impact_e6 != 0:
        for i: uint256 in range(SLICES):
            j: uint256 = i + 1
            end = curve.most * (j * (j + 1)) // (2 * TENTHS)
            end -= end % lot_wad
            if end >= place + lot_wad:
                cost_e6 += convert(fixed_point._mul_div_up(curve.impact_e6, j * j, TENTHS), int256)
                break
            start = end
    cost_e6 = max(cost_e6, 0)
    left: uint256 = end - min(end, curve.used)
    if is_given_back:
        left = curve.used - start
    borne: int256 = cost_e6
    if curve.is_borne:
        borne = 0
    return left, convert(cost_e6, uint256) + curve.later_e6, borne


@internal
@pure
def _cheaper(best: Edge, edge: Edge) -> Edge:
    if self._goes_before(edge, 1, best, 0):
        return edge
    return best


@internal
@pure
def _goes_before(a: Edge, rank_of_a: uint256, b: Edge, rank_of_b: uint256) -> bool:
    """@dev s_a / cure_a < s_b / cure_b without dividing; nothing to do never goes first."""
    if a.available == 0 or b.available == 0:
        return a.available != 0
    left: uint256 = a.cost_e6 * b.cure_e10
    right: uint256 = b.cost_e6 * a.cure_e10
    return left < right or (left == right and rank_of_a < rank_of_b)


@internal
@pure
def _after(h_: Holding, edge: Edge, size: uint256) -> Holding:
    """@dev What may be done with an asset after an edge was taken: in part, and its form is not taken again."""
    h: Holding = h_
    if size != edge.available:
        h.used = h.used | edge.form
    if edge.form & SALES != 0:
        h.sales.used += size
    if edge.form & (TRIM | UNWIND) != 0:
        h.closing.used += size
    if edge.form & (WITHIN | TRIM | HEDGE) != 0:
        h.open -= size
    if edge.form & (WITHIN | UPGRADE) != 0:
        h.sale -= size
    if edge.form == SURPLUS:
        h.surplus -= size
    elif edge.form == TRIM:
        h.trim -= size
    elif edge.form == HEDGE:
        h.hedging.used += size
    elif edge.form == UPGRADE:
        h.hedging.used -= size
    elif edge.form == UNWIND:
        h.pairs -= size
    return h


################################################################
#                             Steps                            #
################################################################


@internal
@pure
def _with_change(
    planned: DynArray[IRebalancer.Step, steps.MAX_STEPS], account: uint256, h: Holding, edge: Edge, size: uint256
) -> (DynArray[IRebalancer.Step, steps.MAX_STEPS], uint256):
    """
    @dev A step for each means of an asset, which grows with each of its edges; an upgrade takes from the hedge what it
         gives to the sale. Nothing is done where a plan that is full would need another step.
    """
    if size == 0:
        return planned, 0
    value: uint256 = size * h.price_wad // fixed_point.WAD
    new: IRebalancer.Step = IRebalancer.Step(
        kind=steps.SELL,
        source=account,
        asset=h.asset,
        amount=size,
        value=value,
        cost=fixed_point._mul_div_up(value, edge.cost_e6 + edge.hedge_e6, fixed_point.RATE),
        bought=0,
    )
    if edge.form == TRIM:
        new.kind = steps.TRIM
    elif edge.form == HEDGE:
        new.kind = steps.HEDGE
    elif edge.form == UNWIND:
        new.kind = steps.UNWIND
    else:
        new.amount = size // h.unit_wad
    kept: DynArray[IRebalancer.Step, steps.MAX_STEPS] = []
    for known: IRebalancer.Step in planned:
        step: IRebalancer.Step = known
        if step.asset == h.asset:
            if step.kind == new.kind:
                new.amount += step.amount
                new.value += step.value
                new.cost += step.cost
                continue
            if edge.form == UPGRADE and step.kind == steps.HEDGE:
                # A hedge of which nothing is left gives its place free.
                if step.amount == size:
                    continue
                step.amount -= size
                step.value = step.amount * h.price_wad // fixed_point.WAD
                step.cost -= min(step.cost, value * edge.hedge_e6 // fixed_point.RATE)
        kept.append(step)
    if len(kept) == steps.MAX_STEPS:
        return planned, 0
    kept.append(new)
    return kept, size


@internal
@pure
def _hedges_last(
    planned: DynArray[IRebalancer.Step, steps.MAX_STEPS]
) -> DynArray[IRebalancer.Step, steps.MAX_STEPS]:
    """@dev What is sold after a hedge has to pass the increase test, and what is sold before has not."""
    sorted: DynArray[IRebalancer.Step, steps.MAX_STEPS] = []
    for is_hedge: bool in [False, True]:
        for step: IRebalancer.Step in planned:
            if (step.kind == steps.HEDGE) == is_hedge:
                sorted.append(step)
    return sorted


################################################################
#                            Holdings                          #
################################################################


@internal
@view
def _holding(
    request: IPlanner.Request, leg: IMandates.Leg, place: uint256, settled: uint256, may_be_tested: bool
) -> Holding:
    word: uint256 = request.policy_word
    h: Holding = empty(Holding)
    h.asset = leg.asset
    h.rank = policies.MAX_SALES + place
    h.price_wad = packing._newest_wad(leg.price_word)
    h.unit_wad = sources._unit_wad(leg.asset)
    h.lot_wad = max(h.unit_wad, markets.SIZE_STEP)
    h.rate_e6 = packing._rate_init_e6(leg.risk_word)
    h.both_rates_e6 = 2 * packing._l_init_e6(leg.risk_word)
    size: int256 = packing._size_wad(leg.position)
    collateral: int256 = convert(packing._collateral_wad(leg.position), int256)
    counted: int256 = min(collateral, convert(packing._quota_wad(leg.risk_word), int256))
    delta: int256 = counted + size
    if delta < 0:
        delta = min(collateral + size, 0)
    h.open = fixed_point._abs(delta)
    h.is_short = size < 0

    is_for_sale: bool = False
    place_of_sale: uint256 = policies._place_of_sale(request.sales_word, leg.asset)
    if place_of_sale != policies.MAX_SALES and packing._flags(leg.price_word) & packing.NO_SWAP == 0:
        sale: IRebalancer.Sale = policies._sale(request.sales_word, place_of_sale)
        is_for_sale = may_be_tested or size >= 0
        h.rank = place_of_sale
        whole_e6: uint256 = (sale.cost_bps + sale.impact_bps) * BPS_TO_E6
        h.sales = self._curve(convert(collateral, uint256), whole_e6, sale.impact_bps * BPS_TO_E6)
    if is_for_sale and not steps._is_refused(request.refused, steps.SELL, leg.asset):
        h.surplus = convert(min(collateral - counted, max(collateral + size, 0)), uint256)
        h.surplus -= h.surplus % h.unit_wad
        h.sale = convert(min(counted, max(delta, 0)), uint256)

    actions: uint256 = policies._actions(word)
    if actions & TRADES != 0 and packing._flags(leg.price_word) & packing.IS_STALE == 0:
        gain: uint256 = self._unpaid_gain(leg, size, settled)
        if size != 0 and actions & (policies.MAY_TRIM | policies.MAY_UNWIND) != 0:
            # A trim never loses more than it frees at maintenance, or the ledger would test it like an increase.
            cost_e6: uint256 = self._cost_e6(request.account, leg, -size)
            depth_gwei: uint256 = 0
            if cost_e6 != 0:
                depth_gwei = self._depth_gwei(leg.asset)
            h.closing = self._trade_curve(h.price_wad, fixed_point._abs(size), cost_e6, gain, depth_gwei)
            if gain >= sources.UNIT_WAD:
                h.closing.most -= markets.SIZE_STEP
            frees_enough: bool = cost_e6 < packing._r_maint_e6(leg.risk_word) + packing._l_maint_e6(leg.risk_word)
            is_shared: bool = delta != 0 and (size > 0) == (delta > 0)
            if frees_enough and is_shared and self._allows(request, policies.MAY_TRIM, steps.TRIM, leg.asset):
                h.trim = fixed_point._abs(size)
        if delta > 0 and size <= 0 and self._allows(request, policies.MAY_HEDGE, steps.HEDGE, leg.asset):
            h.hedging = self._hedging(request.account, request.policy_word, leg, h.open, h.lot_wad, gain)
    may_unwind: bool = size < 0 and collateral == counted and is_for_sale
    if may_unwind and self._allows(request, policies.MAY_UNWIND, steps.UNWIND, leg.asset):
        h.pairs = convert(collateral, uint256)
    return h


@internal
@pure
def _allows(request: IPlanner.Request, action: uint256, kind: uint256, asset: uint256) -> bool:
    """@dev Allowed by the owner, and not refused."""
    is_allowed: bool = policies._actions(request.policy_word) & action != 0
    return is_allowed and not steps._is_refused(request.refused, kind, asset)


@internal
@view
def _hedging(
    account: uint256, policy_word: uint256, leg: IMandates.Leg, open: uint256, lot_wad: uint256, gain: uint256
) -> Curve:
    """@dev As for a trim; where there is a market, for every market has a depth."""
    curve: Curve = empty(Curve)
    depth_gwei: uint256 = self._depth_gwei(leg.asset)
    if depth_gwei == 0:
        return curve
    most: uint256 = min(open, staticcall IPerps(sources.PERPS).largest_increase(leg.asset, account, False))
    most -= most % lot_wad
    if most == 0:
        return curve
    cost_e6: uint256 = self._cost_e6(account, leg, -convert(most, int256))
    if cost_e6 + packing._l_maint_e6(leg.risk_word) < packing._r_maint_e6(leg.risk_word):
        curve = self._trade_curve(packing._newest_wad(leg.price_word), most, cost_e6, gain, depth_gwei)
        curve.later_e6 = policies._funding_bps(policy_word) * BPS_TO_E6
    return curve


@internal
@view
def _depth_gwei(asset: uint256) -> uint256:
    """@dev 0 where there is no market."""
    return (staticcall IPerps(sources.PERPS).terms_of(asset)).depth_gwei


@internal
@pure
def _trade_curve(
    price_wad: uint256, most: uint256, cost_e6: uint256, gain: uint256, depth_gwei: uint256
) -> Curve:
    """@dev Units of a trade that cost so much in the mean. One that the skew pays for has no slices."""
    impact_e6: uint256 = 0
    if cost_e6 != 0:
        impact_e6 = most // markets.SIZE_STEP * fixed_point.RATE // (2 * depth_gwei)
    value: uint256 = most * price_wad // fixed_point.WAD
    curve: Curve = self._curve(most, cost_e6, impact_e6)
    curve.is_borne = gain >= fixed_point._mul_div_up(value, cost_e6, fixed_point.RATE)
    return curve


@internal
@pure
def _curve(most: uint256, whole_e6: uint256, impact_e6: uint256) -> Curve:
    """@dev Without slices each unit costs what all do in the mean."""
    curve: Curve = empty(Curve)
    curve.most = most
    curve.first_e6 = convert(whole_e6, int256)
    if impact_e6 * (LEAST_IMPACT_PART + 1) > whole_e6:
        curve.first_e6 -= convert(impact_e6, int256)
        curve.impact_e6 = impact_e6
    return curve


@internal
@view
def _cost_e6(account: uint256, leg: IMandates.Leg, size_change: int256) -> uint256:
    """@dev Fee and impact of a trade as a part of its value, up; none where the skew pays for it."""
    price: uint256 = 0
    index: uint256 = 0
    fee_e6: uint256 = 0
    price, index, fee_e6 = staticcall IPerps(sources.PERPS).quote(leg.asset, account, size_change)
    lost: uint256 = max(price, index) - index
    if size_change < 0:
        lost = index - min(price, index)
    return fixed_point._mul_div_up(lost, fixed_point.RATE, index)


@internal
@pure
def _unpaid_gain(leg: IMandates.Leg, size: int256, settled: uint256) -> uint256:
    """@dev What the plan leaves of the unsettled result."""
    move: int256 = convert(packing._newest_wad(leg.price_word), int256) - leg.funding
    gain: int256 = fixed_point._mul_wad_floor_signed(size, move) - leg.cost
    return convert(max(gain - convert(settled, int256), 0), uint256)


@internal
@pure
def _weakness(picture: IMandates.Snapshot) -> uint256:
    """@dev By how much the increase test values an account less: the worse of two prices, nothing lent by a doubtful one."""
    weakness: int256 = 0
    for leg: IMandates.Leg in picture.legs:
        newest: int256 = self._excess(leg, packing._newest_wad(leg.price_word))
        worse: int256 = min(newest, self._excess(leg, packing._previous_wad(leg.price_word)))
        if worse > 0 and packing._flags(leg.price_word) & packing.NO_INCREASE != 0:
            worse = 0
        weakness += newest - worse
    return convert(weakness, uint256)


@internal
@pure
def _excess(leg: IMandates.Leg, price_wad: uint256) -> int256:
    terms: margin.Terms = margin._terms(leg.position, leg.cost, leg.funding, price_wad, leg.risk_word)
    return terms.equity_init - convert(terms.required_init, int256)
