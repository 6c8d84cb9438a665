# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Hulls
@license MIT
@author  Ballast contributors
@notice  What is the cheapest to do next with one asset: the edges of a convex hull, each dearer than the one before.
@dev     What can be done with an asset is a curve from cost to cure. Sales, trims and hedges share its net exposure |D|.
         Where hedging is cheaper than selling it comes first; when both have used |D| up, hedged units become sold ones
         at the marginal price

             (s_sell - s_hedge) / (cure_sell - cure_hedge)

         which is the next edge of the hull, so that the cheapest edge of all assets is always the right one to take.
"""

from contracts.modules import asset_means
from contracts.modules import curves
from contracts.modules import markets
from contracts.modules import sizing

# What an edge does. Of equal prices within an asset the first goes first.
SURPLUS: constant(uint256) = 1  # sell collateral above its quota; what lies within leaves after it
WITHIN: constant(uint256) = 2  # sell collateral within its quota
UPGRADE: constant(uint256) = 4  # sell what was hedged
TRIM: constant(uint256) = 8
HEDGE: constant(uint256) = 16
UNWIND: constant(uint256) = 32
SALES: constant(uint256) = SURPLUS | WITHIN | UPGRADE | UNWIND  # all that sells collateral


struct Edge:
    form: uint256
    available: uint256  # WAD units; 0 is no edge
    lot_wad: uint256
    released_e6: uint256
    cure_e10: uint256
    cost_e6: uint256
    hedge_e6: uint256  # what is not paid for a hedge that becomes a sale


@internal
@pure
def _next_edge(h: asset_means.Holding, target_bps: uint256) -> Edge:
    """@dev The cheapest of what may be done next with an asset."""
    best: Edge = empty(Edge)
    nothing: curves.Curve = empty(curves.Curve)
    rest: asset_means.Rest = h.rest
    if rest.surplus != 0 and rest.used & SURPLUS == 0:
        best = self._edge(
            best, SURPLUS, rest.surplus, h.unit_wad, 0, h.sales, rest.sold, nothing, 0, target_bps
        )
    elif rest.sale != 0:
        if rest.used & WITHIN == 0 and rest.open != 0:
            most: uint256 = min(rest.sale, rest.open)
            best = self._edge(
                best, WITHIN, most, h.unit_wad, h.rate_e6, h.sales, rest.sold, nothing, 0, target_bps
            )
        if rest.used & UPGRADE == 0 and rest.hedged != 0:
            best = self._edge(
                best,
                UPGRADE,
                rest.sale,
                h.lot_wad,
                h.both_rates_e6,
                h.sales,
                rest.sold,
                h.hedging,
                rest.hedged,
                target_bps,
            )
    if rest.trim != 0 and rest.used & TRIM == 0:
        most: uint256 = min(rest.trim, rest.open)
        best = self._edge(
            best, TRIM, most, markets.SIZE_STEP, h.rate_e6, h.closing, rest.closed, nothing, 0, target_bps
        )
    if h.hedging.most != 0 and rest.used & HEDGE == 0 and h.rate_e6 > h.both_rates_e6:
        freed_e6: uint256 = h.rate_e6 - h.both_rates_e6
        best = self._edge(
            best, HEDGE, rest.open, h.lot_wad, freed_e6, h.hedging, rest.hedged, nothing, 0, target_bps
        )
    if rest.pairs != 0 and rest.used & UNWIND == 0 and rest.hedged == 0:
        best = self._edge(
            best,
            UNWIND,
            rest.pairs,
            h.lot_wad,
            h.both_rates_e6,
            h.sales,
            rest.sold,
            h.closing,
            rest.closed,
            target_bps,
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
    curve: curves.Curve,
    used: uint256,
    other: curves.Curve,
    used_of_other: uint256,
    target_bps: uint256,
) -> Edge:
    """
    @dev The cheaper one of a known and a further edge: one slice of a form, of an upgrade the next one of the sale and
         the last one of the hedge.
    """
    left: uint256 = 0
    cost_e6: uint256 = 0
    burden_e6: int256 = 0
    left, cost_e6, burden_e6 = curves._slice(curve, used, lot_wad, False)
    available: uint256 = min(stock, left)
    hedge_e6: uint256 = 0
    if form & (UPGRADE | UNWIND) != 0:
        part_e6: uint256 = 0
        borne_e6: int256 = 0
        left, part_e6, borne_e6 = curves._slice(other, used_of_other, lot_wad, form == UPGRADE)
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
    # The cheaper one; of equals the one that is known.
    if best.available != 0 and cost_e6 * best.cure_e10 >= best.cost_e6 * convert(cure_e10, uint256):
        return best
    return Edge(
        form=form,
        available=available,
        lot_wad=lot_wad,
        released_e6=released_e6,
        cure_e10=convert(cure_e10, uint256),
        cost_e6=cost_e6,
        hedge_e6=hedge_e6,
    )


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
def _after(rest_: asset_means.Rest, form: uint256, available: uint256, size: uint256) -> asset_means.Rest:
    """@dev What may be done with an asset after an edge was taken: in part, and its form is not taken again."""
    rest: asset_means.Rest = rest_
    if size != available:
        rest.used = rest.used | form
    if form & SALES != 0:
        rest.sold += size
    if form & (TRIM | UNWIND) != 0:
        rest.closed += size
    if form & (WITHIN | TRIM | HEDGE) != 0:
        rest.open -= size
    if form & (WITHIN | UPGRADE) != 0:
        rest.sale -= size
    if form == SURPLUS:
        rest.surplus -= size
    elif form == TRIM:
        rest.trim -= size
    elif form == HEDGE:
        rest.hedged += size
    elif form == UPGRADE:
        rest.hedged -= size
    elif form == UNWIND:
        rest.pairs -= size
    return rest
