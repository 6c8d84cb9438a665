# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Costed means
@license MIT
@author  Ballast contributors
@notice  What helps an account and costs something: sales of collateral, and trades of perpetuals, the cheapest price of
         health first, over all assets.
@dev     Rooms: `asset_means` what may be done with each asset, `curves` how its price moves with size, `hulls` what is the
         cheapest of it. Here is what the owner lets all of it lose and trade together, and the steps that it becomes.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IRebalancer
from contracts.modules import asset_means
from contracts.modules import bounds
from contracts.modules import fixed_point
from contracts.modules import hulls
from contracts.modules import margin
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import sizing
from contracts.modules import sources
from contracts.modules import steps

uses: sources

MAX_HOLDINGS: constant(uint256) = 16
MAX_EDGES: constant(uint256) = 192
# Kept back from a budget: units of the quote token that the roundings of a full plan may lose.
ROUNDING_UNITS: constant(uint256) = 32


@internal
@pure
def _are_allowed(policy_word: uint256, sales_word: uint256) -> bool:
    """@dev Whether the policy knows any means that costs something."""
    return sales_word != 0 or policies._actions(policy_word) & asset_means.TRADES != 0


@internal
@view
def _budget(account: uint256) -> uint256:
    """@dev What the owner's budget bears, less what a full plan may lose by rounding."""
    left: uint256 = staticcall IMandates(sources.MANDATES).budget_left(packing._owner(account))
    return left - min(left, ROUNDING_UNITS * sources.UNIT_WAD)


@internal
@pure
def _max_value(bounds_word: uint256, is_emergency: bool) -> uint256:
    """@dev What a rebalance may sell and trade: all in an emergency."""
    most: uint256 = bounds._max_step(bounds_word)
    if most == 0 or is_emergency:
        return sizing.MAX_VALUE_WAD
    return most


@internal
@view
def _size(edge: hulls.Edge, price_wad: uint256, uncured: uint256, allowance: uint256, budget: uint256) -> uint256:
    """
    @dev What cures the rest, up to a lot, as far as it goes and the maximum step allows: `allowance` is value that may
         still be sold and traded, `budget` expected cost that may still be lost. Proceeds will be floored to a unit of
         the quote token. What is expected to lose more than the budget has left is not planned: it would undo what else
         helps.
    """
    needed: uint256 = uncured + sources.UNIT_WAD + sizing.ROUNDING_WAD
    lots: uint256 = sizing._units_up(sizing._value_up(needed, edge.cure_e10), price_wad, edge.lot_wad)
    most: uint256 = allowance
    if edge.cost_e6 != 0:
        most = min(most, budget * fixed_point.RATE // edge.cost_e6)
    lots = min(lots, most * fixed_point.WAD // price_wad // edge.lot_wad)
    return min(lots * edge.lot_wad, edge.available)


################################################################
#                            Steps                             #
################################################################


@internal
@pure
def _change(
    account: uint256, asset: uint256, unit_wad: uint256, edge: hulls.Edge, size: uint256, value_wad: uint256
) -> IRebalancer.Step:
    """@dev The step that an edge is where its asset has none yet."""
    step: IRebalancer.Step = IRebalancer.Step(
        kind=steps.SELL,
        source=account,
        asset=asset,
        amount=size,
        value=value_wad,
        cost=fixed_point._mul_div_up(value_wad, edge.cost_e6 + edge.hedge_e6, fixed_point.RATE),
        bought=0,
    )
    if edge.form == hulls.TRIM:
        step.kind = steps.TRIM
    elif edge.form == hulls.HEDGE:
        step.kind = steps.HEDGE
    elif edge.form == hulls.UNWIND:
        step.kind = steps.UNWIND
    else:
        step.amount = size // unit_wad
    return step


@internal
@pure
def _with_change(
    planned: DynArray[IRebalancer.Step, steps.MAX_STEPS],
    change: IRebalancer.Step,
    price_wad: uint256,
    edge: hulls.Edge,
    size: uint256,
) -> (DynArray[IRebalancer.Step, steps.MAX_STEPS], uint256):
    """
    @dev A step for each means of an asset, which grows with each of its edges; an upgrade takes from the hedge what it
         gives to the sale. Nothing is done where a plan that is full would need another step.
    """
    new: IRebalancer.Step = change
    kept: DynArray[IRebalancer.Step, steps.MAX_STEPS] = []
    for known: IRebalancer.Step in planned:
        step: IRebalancer.Step = known
        if step.asset == new.asset:
            if step.kind == new.kind:
                new.amount += step.amount
                new.value += step.value
                new.cost += step.cost
                continue
            if edge.form == hulls.UPGRADE and step.kind == steps.HEDGE:
                # A hedge of which nothing is left gives its place free.
                if step.amount == size:
                    continue
                step.amount -= size
                step.value = step.amount * price_wad // fixed_point.WAD
                step.cost -= min(step.cost, change.value * edge.hedge_e6 // fixed_point.RATE)
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
#                      The increase test                       #
################################################################


@internal
@pure
def _weakness(leg: IMandates.Leg) -> uint256:
    """@dev By how much the increase test values an asset less: the worse of two prices, nothing lent by a doubtful one."""
    newest: int256 = self._excess(leg, packing._newest_wad(leg.price_word))
    worse: int256 = min(newest, self._excess(leg, packing._previous_wad(leg.price_word)))
    if worse > 0 and packing._flags(leg.price_word) & packing.NO_INCREASE != 0:
        worse = 0
    return convert(newest - worse, uint256)


@internal
@pure
def _excess(leg: IMandates.Leg, price_wad: uint256) -> int256:
    terms: margin.Terms = margin._terms(leg.position, leg.cost, leg.funding, price_wad, leg.risk_word)
    return terms.equity_init - convert(terms.required_init, int256)
