# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
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
from contracts.interfaces import ILendingVault
from contracts.interfaces import ILens
from contracts.interfaces import IMandates
from contracts.interfaces import IRebalancer
from contracts.interfaces import IRiskOracle
from contracts.modules import asset_list
from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import packing
from contracts.modules import pictures

implements: ILens

MAX_ACCOUNTS: constant(uint256) = 1_000
MAX_PLANS: constant(uint256) = 64
MAX_IDS: constant(uint256) = 256
RAY: constant(uint256) = 10**27

CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
REBALANCER: public(immutable(address))
ORACLE: public(immutable(address))
VAULT: public(immutable(address))
PERPS: public(immutable(address))
HOUSE: public(immutable(uint256))
# WAD value of one unit of the quote token.
UNIT_WAD: immutable(uint256)


@deploy
def __init__(
    clearinghouse: address,
    mandates: address,
    rebalancer: address,
    oracle: address,
    vault: address,
    perps: address,
    house_owner: address,
):
    """
    @param clearinghouse  Deployed already: the quote token's unit is read from it.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    """
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    REBALANCER = rebalancer
    ORACLE = oracle
    VAULT = vault
    PERPS = perps
    HOUSE = packing._account(house_owner, 0)
    UNIT_WAD = packing._unit_wad(staticcall IClearinghouse(clearinghouse).asset_word(0))


@external
@view
def healths(accounts: DynArray[uint256, MAX_ACCOUNTS]) -> DynArray[ILens.Health, MAX_ACCOUNTS]:
    """
    @notice The four integers of many accounts.
    @dev    What `assess` answers, with the marks of an asset and the loan index read once for all accounts.
    """
    index_ray: uint256 = staticcall ILendingVault(VAULT).debt_index_ray()
    price_words: uint256[MAX_IDS] = empty(uint256[MAX_IDS])
    risk_words: uint256[MAX_IDS] = empty(uint256[MAX_IDS])
    answers: DynArray[ILens.Health, MAX_ACCOUNTS] = []
    for account: uint256 in accounts:
        words: DynArray[uint256, 50] = staticcall IClearinghouse(CLEARINGHOUSE).words_of(account)
        debt: uint256 = fixed_point._mul_div_up(packing._debt_shares(words[0]), index_ray, RAY)
        net_wad: int256 = convert(packing._cash_wad(words[0]), int256) - convert(debt * UNIT_WAD, int256)
        health: ILens.Health = ILens.Health(
            equity_init=net_wad, required_init=0, equity_maint=net_wad, required_maint=0
        )
        count: uint256 = asset_list._count(words[1])
        next: uint256 = 2 + count
        for i: uint256 in range(count, bound=asset_list.MAX_ASSETS):
            asset: uint256 = asset_list._at(words[1], i)
            if price_words[asset] == 0:
                marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
                price_words[asset] = marks[0]
                risk_words[asset] = marks[1]
            cost: int256 = 0
            funding: int256 = 0
            if asset_list._carries_perpetual(words[1], i):
                cost = packing._cost_wad(words[next])
                funding = packing._funding_at(words[next + 1], block.timestamp)
                next += 2
            risk_word: uint256 = risk_words[asset]
            if account == HOUSE:
                risk_word = margin._house_word(risk_word, words[2 + i])
            price_wad: uint256 = packing._newest_wad(price_words[asset])
            terms: margin.Terms = margin._terms(words[2 + i], cost, funding, price_wad, risk_word)
            health.equity_init += terms.equity_init
            health.required_init += terms.required_init
            health.equity_maint += terms.equity_maint
            health.required_maint += terms.required_maint
        answers.append(health)
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
    snapshot: IMandates.Snapshot = staticcall IMandates(MANDATES).snapshot(account)
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
    for leg: IMandates.Leg in snapshot.legs:
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
def _holding(leg: IMandates.Leg) -> ILens.Holding:
    asset_word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).asset_word(leg.asset)
    terms: margin.Terms = pictures._terms(leg)
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
