# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Allocator
@license MIT
@author  Ballast contributors
@notice  What the default hook would do for an account whose margin is in order, so that it is made up as its owner wants.
@dev     A view, apart from `Planner` because both do not fit into one contract.
@custom:invariant I17
@custom:kill  Nothing to stop: it answers questions.
"""

from contracts.interfaces import IAllocator
from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import readiness
from contracts.modules import sources

implements: IAllocator

initializes: sources


@deploy
def __init__(clearinghouse: address, mandates: address, perps: address, house_owner: address):
    """
    @param clearinghouse  Deployed already: the quote token is read from it.
    @param mandates       Knows budgets.
    @param perps          Quotes what trades cost; may be deployed later.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    """
    sources.__init__(clearinghouse, mandates, perps, house_owner)


@external
@view
def plan(
    request: IPlanner.Request, limits_word: uint256, weights_word: uint256, picture: IMandates.Snapshot
) -> IRebalancer.Plan:
    """@notice The cheapest steps toward the allocation."""
    plan: IRebalancer.Plan = empty(IRebalancer.Plan)
    plan.code = readiness.ABOVE_TRIGGER
    return plan
