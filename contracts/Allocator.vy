# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Allocator
@license MIT
@author  Ballast contributors
@notice  What the default hook would do for an account whose margin is in order, so that it is made up as its owner
         wants: first its limits (`cuts`), then what its `Mixer` says.
@dev     A view, apart from `Planner` because both do not fit into one contract. The first wish that is not met is planned,
         and no later one before it: a limit that cannot be met keeps the mix from being changed.
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
from contracts.modules import cuts
from contracts.modules import drafts
from contracts.modules import policies
from contracts.modules import readiness
from contracts.modules import sources

implements: IAllocator

initializes: sources
initializes: asset_means[sources := sources]
initializes: drafts[sources := sources]
initializes: cuts[asset_means := asset_means]

MIXER: public(immutable(address))


@deploy
def __init__(clearinghouse: address, mandates: address, perps: address, house_owner: address, mixer: address):
    """
    @param clearinghouse  Deployed already: the quote token is read from it.
    @param mandates       Knows budgets.
    @param perps          Quotes what trades cost; may be deployed later.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    @param mixer          Says what to do where no limit is exceeded; belongs to the same system.
    """
    sources.__init__(clearinghouse, mandates, perps, house_owner)
    MIXER = mixer


@external
@view
def plan(
    request: IPlanner.Request, limits_word: uint256, weights_word: uint256, picture: IMandates.Snapshot
) -> IRebalancer.Plan:
    """@notice The cheapest steps toward the allocation."""
    draft: drafts.Draft = empty(drafts.Draft)
    expires_at: uint256 = bounds._expires_at(request.bounds_word)
    if policies._trigger_bps(request.policy_word) == 0 or request.guard_word == 0:
        draft.plan.code = readiness.NO_POLICY
        return draft.plan
    if expires_at != 0 and block.timestamp >= expires_at:
        draft.plan.code = readiness.EXPIRED
        return draft.plan
    is_exceeded: bool = False
    is_exceeded, draft = cuts._with_cuts(
        drafts._new(request), request, limits_word, allocations._measure(picture), picture
    )
    if not is_exceeded:
        return staticcall IAllocator(MIXER).plan(request, limits_word, weights_word, picture)
    draft.plan.code = drafts._code(request, draft.plan, True, 0)
    return draft.plan
