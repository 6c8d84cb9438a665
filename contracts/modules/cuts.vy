# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Cuts
@license MIT
@author  Ballast contributors
@notice  Brings exposures that exceed a limit of the allocation down to it, by the cheapest of sale, trim and hedge.
@dev     With R_i of the requirement R, V = p |D| of one asset, X = sum of V, equity E, and rho what a unit of value
         releases of the requirement:

             share     x = (R_i - c R) / (rho (1 - c))       price  s / rho
             position  x = V - c E                           price  s
             regime    x = X - c E, over all assets          price  s

         E is equity as it is before: what a cut costs would ask for a cut that is deeper by c s, but a venue that pays
         better than expected would then leave less than the limit, and the guard would undo it all. Each asset is
         measured as if it were the only one that is cut, so that a refused step makes no other one too large.
         Sizes round down: what is cut ends at the limit or a trifle above. A limit acts once it is exceeded by more
         than the hysteresis, so what it did does not call for more.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import allocations
from contracts.modules import asset_means
from contracts.modules import costed_means
from contracts.modules import curves
from contracts.modules import drafts
from contracts.modules import fixed_point
from contracts.modules import hulls
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import sizing

uses: asset_means

HYSTERESIS_BPS: constant(uint256) = 500
MAX_HOLDINGS: constant(uint256) = 16
MAX_CUTS: constant(uint256) = 48  # three forms for each


@internal
@view
def _with_cuts(
    draft_: drafts.Draft,
    request: IPlanner.Request,
    limits: uint256,
    measure: allocations.Measure,
    picture: IMandates.Snapshot,
) -> (bool, drafts.Draft):
    """@dev For the first limit that is exceeded; returns whether there is one."""
    draft: drafts.Draft = draft_
    # What is sold beside a short is tested by the ledger like an increase.
    excess: int256 = picture.equity_init - convert(picture.required_init, int256)
    for leg: IMandates.Leg in picture.legs:
        excess -= convert(costed_means._weakness(leg), int256)
    may_be_tested: bool = excess >= 0
    is_exceeded: bool = False
    share_bps: uint256 = self._share_limit(limits, picture)
    if share_bps != 0:
        for i: uint256 in range(len(picture.legs), bound=MAX_HOLDINGS):
            required: uint256 = allocations._required(picture.legs[i])
            if self._exceeds(required, share_bps, measure.required):
                is_exceeded = True
                over: uint256 = required * fixed_point.BPS - share_bps * measure.required
                sale: uint256 = policies._place_of_sale(request.sales_word, picture.legs[i].asset)
                h: asset_means.Holding = asset_means._holding(request, picture.legs[i], i, sale, 0, may_be_tested)
                draft = self._with_cut(draft, request.account, [h], over // (fixed_point.BPS - share_bps), True)
        if is_exceeded:
            return True, draft
    position_bps: uint256 = allocations._position_bps(limits)
    if position_bps != 0:
        least: uint256 = fixed_point._mul_div_up(measure.equity, position_bps, fixed_point.BPS)
        for i: uint256 in range(len(picture.legs), bound=MAX_HOLDINGS):
            exposure: uint256 = allocations._exposure_up(picture.legs[i])
            if self._exceeds(exposure, position_bps, measure.equity):
                is_exceeded = True
                h: asset_means.Holding = self._exposed(request, picture.legs[i], i, may_be_tested)
                draft = self._with_cut(draft, request.account, [h], exposure - least, False)
        if is_exceeded:
            return True, draft
    exposure_bps: uint256 = allocations._exposure_bps(limits)
    is_wild: bool = exposure_bps != 0 and measure.sigma_bps >= allocations._sigma_high_bps(limits)
    if not is_wild or not self._exceeds(measure.exposure, exposure_bps, measure.equity):
        return False, draft
    holdings: DynArray[asset_means.Holding, MAX_HOLDINGS] = []
    for i: uint256 in range(len(picture.legs), bound=MAX_HOLDINGS):
        holdings.append(self._exposed(request, picture.legs[i], i, may_be_tested))
    kept: uint256 = fixed_point._mul_div_up(measure.equity, exposure_bps, fixed_point.BPS)
    return True, self._with_cut(draft, request.account, holdings, measure.exposure - kept, False)


@internal
@pure
def _share_limit(limits: uint256, picture: IMandates.Snapshot) -> uint256:
    """@dev 0 for none. So few assets that they cannot all keep to it are not measured by it."""
    share_bps: uint256 = allocations._share_bps(limits)
    if share_bps >= fixed_point.BPS:
        return 0
    together_bps: uint256 = 0
    for leg: IMandates.Leg in picture.legs:
        if allocations._required(leg) != 0:
            together_bps += share_bps
    if together_bps < fixed_point.BPS:
        return 0
    return share_bps


@internal
@pure
def _exceeds(amount: uint256, most_bps: uint256, base: uint256) -> bool:
    return amount * fixed_point.BPS * fixed_point.BPS > most_bps * base * (fixed_point.BPS + HYSTERESIS_BPS)


@internal
@view
def _exposed(
    request: IPlanner.Request, leg: IMandates.Leg, place: uint256, may_be_tested: bool
) -> asset_means.Holding:
    """@dev A holding whose |D| counts all of the collateral, above its quota too."""
    sale: uint256 = policies._place_of_sale(request.sales_word, leg.asset)
    h: asset_means.Holding = asset_means._holding(request, leg, place, sale, 0, may_be_tested)
    delta: int256 = convert(packing._collateral_wad(leg.position), int256) + packing._size_wad(leg.position)
    h.rest.open = fixed_point._abs(delta)
    return h


@internal
@view
def _with_cut(
    draft_: drafts.Draft,
    account: uint256,
    holdings_: DynArray[asset_means.Holding, MAX_HOLDINGS],
    over: uint256,
    is_share: bool,
) -> drafts.Draft:
    """
    @dev The cheapest edges of the holdings until what is over the limit is gone: requirement for a share, exposure
         else. Of a share, what is to be traded is given as the value of an outright sale.
    """
    draft: drafts.Draft = draft_
    holdings: DynArray[asset_means.Holding, MAX_HOLDINGS] = holdings_
    effect_e6: uint256 = fixed_point.RATE
    if is_share:
        effect_e6 = holdings_[0].rate_e6
    left: uint256 = over - min(over, sizing.ROUNDING_WAD)
    draft.plan.shortfall += over * fixed_point.RATE // effect_e6
    edges: DynArray[hulls.Edge, MAX_HOLDINGS] = []
    for h: asset_means.Holding in holdings:
        edges.append(self._next_edge(h, is_share))
    for i: uint256 in range(MAX_CUTS):
        if left * drafts.LEAST_PART < over or drafts._is_full(draft):
            break
        best: uint256 = 0
        for k: uint256 in range(1, len(edges), bound=MAX_HOLDINGS):
            if hulls._goes_before(edges[k], holdings[k].rank, edges[best], holdings[best].rank):
                best = k
        edge: hulls.Edge = edges[best]
        if edge.available == 0:
            break
        price: uint256 = holdings[best].price_wad
        value: uint256 = min(left * fixed_point.RATE // edge.cure_e10, drafts._most_value(draft, edge.cost_e6))
        lots: uint256 = min(value * fixed_point.WAD // price, edge.available) // edge.lot_wad
        size: uint256 = lots * edge.lot_wad
        value = size * price // fixed_point.WAD
        if size != 0 and value * edge.cure_e10 // fixed_point.RATE * drafts.LEAST_PART >= over:
            change: IRebalancer.Step = costed_means._change(
                account, holdings[best].asset, holdings[best].unit_wad, edge, size, value
            )
            draft.plan.steps, size = costed_means._with_change(draft.plan.steps, change, price, edge, size)
            draft = drafts._charged(draft, value, edge.cost_e6)
            left -= min(left, fixed_point._mul_div_up(value + 1, edge.cure_e10, fixed_point.RATE))
        else:
            size = 0
        holdings[best].rest.open -= size
        holdings[best].rest.used = holdings[best].rest.used | edge.form
        edges[best] = self._next_edge(holdings[best], is_share)
    draft.plan.uncured += left * fixed_point.RATE // effect_e6
    draft.plan.steps = costed_means._hedges_last(draft.plan.steps)
    return draft


@internal
@pure
def _next_edge(h: asset_means.Holding, is_share: bool) -> hulls.Edge:
    """@dev Collateral above its quota leaves first and has no part in the requirement."""
    best: hulls.Edge = empty(hulls.Edge)
    sale: uint256 = h.rest.sale + h.rest.surplus
    if is_share and h.rest.surplus != 0:
        sale = 0
    best = self._edge(best, h, hulls.WITHIN, sale, h.unit_wad, h.rate_e6, h.sales, is_share)
    trim: uint256 = min(h.rest.trim, h.closing.most)
    best = self._edge(best, h, hulls.TRIM, trim, markets.SIZE_STEP, h.rate_e6, h.closing, is_share)
    freed_e6: uint256 = h.rate_e6 - min(h.rate_e6, h.both_rates_e6)
    most: uint256 = h.hedging.most
    return self._edge(best, h, hulls.HEDGE, most, h.lot_wad, freed_e6, h.hedging, is_share)


@internal
@pure
def _edge(
    best: hulls.Edge,
    h: asset_means.Holding,
    form: uint256,
    available: uint256,
    lot_wad: uint256,
    released_e6: uint256,
    curve: curves.Curve,
    is_share: bool,
) -> hulls.Edge:
    """@dev What costs more than it releases would leave the account weaker. An edge's cure is its effect here, in e6."""
    cost_e6: uint256 = curves._whole_e6(curve)
    if h.rest.used & form != 0 or cost_e6 >= released_e6:
        return best
    effect_e6: uint256 = fixed_point.RATE
    if is_share:
        effect_e6 = released_e6
    most: uint256 = min(available, h.rest.open)
    # The cheaper one; of equals the one that is known.
    if most == 0 or (best.available != 0 and cost_e6 * best.cure_e10 >= best.cost_e6 * effect_e6):
        return best
    return hulls.Edge(
        form=form,
        available=most,
        lot_wad=lot_wad,
        released_e6=released_e6,
        cure_e10=effect_e6,
        cost_e6=cost_e6,
        hedge_e6=0,
    )
