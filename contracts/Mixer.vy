# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Mixer
@license MIT
@author  Ballast contributors
@notice  What the default hook would do for an account that keeps to its limits: bring it to its target weights
         (`mixes`), then up to its ceiling (`regrowths`).
@dev     The second half of `Allocator`, which asks it; both do not fit into one contract.
@custom:invariant I50
@custom:kill  Nothing to stop: it answers questions.
"""

from contracts.interfaces import IAllocator
from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import allocations
from contracts.modules import asset_means
from contracts.modules import bounds
from contracts.modules import drafts
from contracts.modules import mixes
from contracts.modules import regrowths
from contracts.modules import sources

implements: IAllocator

initializes: sources
initializes: asset_means[sources := sources]
initializes: drafts[sources := sources]
initializes: mixes[sources := sources]
initializes: regrowths[sources := sources, asset_means := asset_means, mixes := mixes]


@deploy
def __init__(clearinghouse: address, mandates: address, perps: address, house_owner: address, oracle: address):
    """
    @param clearinghouse  Deployed already: the quote token is read from it.
    @param mandates       Knows budgets.
    @param perps          Quotes what trades cost; may be deployed later.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    @param oracle         Knows the marks of what is not held yet.
    """
    sources.__init__(clearinghouse, mandates, perps, house_owner)
    mixes.__init__(oracle)


@external
@view
def plan(
    request: IPlanner.Request, limits_word: uint256, weights_word: uint256, picture: IMandates.Snapshot
) -> IRebalancer.Plan:
    """@notice The cheapest steps toward weights and ceiling; neither before the period is over."""
    draft: drafts.Draft = drafts._new(request)
    measure: allocations.Measure = allocations._measure(picture)
    is_off: bool = False
    is_above: bool = False
    is_off, draft = mixes._with_mix(draft, request, limits_word, weights_word, measure, picture)
    if len(draft.plan.steps) == 0:
        is_above, draft = regrowths._with_growth(draft, request, limits_word, weights_word, measure, picture)
    not_before: uint256 = bounds._allocated_at(request.state_word) + allocations._period_s(limits_word)
    draft.plan.code = drafts._code(request, draft.plan, is_off or is_above, not_before)
    return draft.plan
