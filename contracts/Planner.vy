# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Planner
@license MIT
@author  Ballast contributors
@notice  What the default hook would do: the cheapest path from where an account is to its target.
@dev     A view, apart from `Rebalancer` because both do not fit into one contract. Rooms: `readiness` whether there is
         anything to do, `free_means` what costs nothing, `costed_means` the cheapest of what costs something.
@custom:invariant I17
@custom:kill  Nothing to stop: it answers questions.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import costed_means
from contracts.modules import free_means
from contracts.modules import guards
from contracts.modules import readiness
from contracts.modules import sources
from contracts.modules import bounds

implements: IPlanner

initializes: sources
initializes: free_means[sources := sources]
initializes: costed_means[sources := sources]


@deploy
def __init__(clearinghouse: address, mandates: address, perps: address, house_owner: address):
    """
    @param clearinghouse  Deployed already: the quote token is read from it.
    @param mandates       Knows guards, budgets and what accounts hold.
    @param perps          Quotes what trades cost; may be deployed later.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    """
    sources.__init__(clearinghouse, mandates, perps, house_owner)


@external
@view
def plan(request: IPlanner.Request, picture: IMandates.Snapshot) -> IRebalancer.Plan:
    """
    @notice The cheapest path to the target.
    @dev    What is free, then what costs something. A plan that is full leaves the rest to the next rebalance.
    """
    plan: IRebalancer.Plan = empty(IRebalancer.Plan)
    target_bps: uint256 = guards._target_bps(request.guard_word)
    plan.shortfall = readiness._shortfall_up(picture, target_bps)
    plan.uncured = plan.shortfall
    plan.code = readiness._code(request, picture, plan.shortfall, sources.UNIT_WAD)
    if plan.code == readiness.NO_POLICY:
        plan.shortfall = 0
        plan.uncured = 0
    if not readiness._is_planned(plan.code):
        return plan
    plan = free_means._with_free_means(plan, request, target_bps, picture)
    if readiness._may_cost(request, picture):
        plan = costed_means._with_costed_means(plan, request, target_bps, picture)
    elif plan.uncured != 0:
        plan.called = plan.uncured
    if len(plan.steps) == 0 and plan.called == 0:
        plan.code = readiness.NO_MEANS
    elif len(plan.steps) == 0 and plan.code == readiness.READY and bounds._is_called(request.state_word):
        plan.code = readiness.CALLED
    return plan
