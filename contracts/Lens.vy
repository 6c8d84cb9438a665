# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize codesize
# pragma evm-version cancun
"""
@title   Lens
@license MIT
@author  Ballast contributors
@notice  Batch views for keepers and pages.
@dev     Stateless: anyone may deploy a newer one beside it. Nothing in the system reads it.
@custom:kill  Nothing to stop.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILens
from contracts.interfaces import IMandates
from contracts.interfaces import IRebalancer
from contracts.modules import margin
from contracts.modules import packing

implements: ILens

MAX_ACCOUNTS: constant(uint256) = 1_000
MAX_PLANS: constant(uint256) = 64

CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
REBALANCER: public(immutable(address))


@deploy
def __init__(clearinghouse: address, mandates: address, rebalancer: address):
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    REBALANCER = rebalancer


@external
@view
def healths(accounts: DynArray[uint256, MAX_ACCOUNTS]) -> DynArray[ILens.Health, MAX_ACCOUNTS]:
    """@notice The four integers of many accounts."""
    answers: DynArray[ILens.Health, MAX_ACCOUNTS] = []
    for account: uint256 in accounts:
        answers.append(self._health(account))
    return answers


@external
@view
def plans(accounts: DynArray[uint256, MAX_PLANS]) -> DynArray[IRebalancer.Plan, MAX_PLANS]:
    """@notice The plans of many accounts."""
    answers: DynArray[IRebalancer.Plan, MAX_PLANS] = []
    for account: uint256 in accounts:
        answers.append(staticcall IRebalancer(REBALANCER).plan(account))
    return answers


@external
@view
def picture(account: uint256) -> ILens.Picture:
    """@notice Everything about one account."""
    owner: address = packing._owner(account)
    snapshot: IClearinghouse.Snapshot = staticcall IClearinghouse(CLEARINGHOUSE).snapshot(account)
    answer: ILens.Picture = empty(ILens.Picture)
    answer.owner = owner
    answer.sub = account & 255
    answer.cash = snapshot.cash
    answer.health = ILens.Health(
        equity_init=snapshot.equity_init,
        required_init=snapshot.required_init,
        equity_maint=snapshot.equity_maint,
        required_maint=snapshot.required_maint,
    )
    for leg: IClearinghouse.Leg in snapshot.legs:
        answer.holdings.append(self._holding(leg))
    answer.hook = staticcall IMandates(MANDATES).hook_of(account)
    answer.guard = staticcall IMandates(MANDATES).guard_of(account)
    answer.budget_left = staticcall IMandates(MANDATES).budget_left(owner)
    answer.wallet_left = staticcall IMandates(MANDATES).wallet_left(account)
    if answer.hook == REBALANCER:
        answer.plan = staticcall IRebalancer(REBALANCER).plan(account)
    return answer


@internal
@view
def _health(account: uint256) -> ILens.Health:
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity_init, required_init, equity_maint, required_maint = staticcall IClearinghouse(CLEARINGHOUSE).assess(account)
    return ILens.Health(
        equity_init=equity_init,
        required_init=required_init,
        equity_maint=equity_maint,
        required_maint=required_maint,
    )


@internal
@view
def _holding(leg: IClearinghouse.Leg) -> ILens.Holding:
    asset_word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).asset_word(leg.asset)
    terms: margin.Terms = margin._terms(leg.position, 0, 0, packing._newest_wad(leg.price_word), leg.risk_word)
    return ILens.Holding(
        asset=leg.asset,
        token=packing._token(asset_word),
        collateral_wad=packing._collateral_wad(leg.position),
        size_wad=packing._size_wad(leg.position),
        price_wad=packing._newest_wad(leg.price_word),
        is_live=packing._flags(leg.price_word) & packing.IS_STALE == 0,
        quota_wad=packing._quota_wad(leg.risk_word),
        r_init_e6=packing._r_init_e6(leg.risk_word),
        l_init_e6=packing._l_init_e6(leg.risk_word),
        r_maint_e6=packing._r_maint_e6(leg.risk_word),
        l_maint_e6=packing._l_maint_e6(leg.risk_word),
        sigma_e6=packing._sigma_e6(leg.risk_word),
        required_init=terms.required_init,
    )
