# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Pictures
@license MIT
@author  Ballast contributors
@notice  An account as the ledger holds it, unpacked and summed by the margin equation.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandates
from contracts.interfaces import IRiskOracle
from contracts.modules import asset_list
from contracts.modules import margin
from contracts.modules import packing


@internal
@view
def _snapshot(clearinghouse: address, house: uint256, account: uint256, oracle: address) -> IMandates.Snapshot:
    """
    @dev What `assess` says, with its legs; inside a mandate at the marks that it fixed. With an oracle as the account would
         stand at initial margin were every change of parameters under way complete: a requirement that is going to rise
         counts in full from the first second of its notice, and none counts for less than now. A position of a market that
         has ended is flagged: its mark is not what it is worth.
    """
    net_wad: int256 = 0
    words: DynArray[uint256, 50] = []
    marks: DynArray[uint256, 32] = []
    net_wad, words, marks = staticcall IClearinghouse(clearinghouse).picture_of(account)
    snapshot: IMandates.Snapshot = IMandates.Snapshot(
        equity_init=net_wad, required_init=0, equity_maint=net_wad, required_maint=0, cash=net_wad, legs=[]
    )
    # The list is shifted along, as in `health`: the asset of a place and the perpetual's bit come lowest.
    ids: uint256 = words[1]
    perpetuals: uint256 = ids >> asset_list.PERPETUALS_SHIFT
    count: uint256 = asset_list._count(ids)
    next: uint256 = unsafe_add(2, count)
    for i: uint256 in range(count, bound=asset_list.MAX_ASSETS):
        position: uint256 = words[unsafe_add(2, i)]
        price_word: uint256 = marks[unsafe_mul(2, i)]
        risk_word: uint256 = marks[unsafe_add(unsafe_mul(2, i), 1)]
        cost: int256 = empty(int256)
        funding: int256 = empty(int256)
        if perpetuals & 1 != 0:
            cost = packing._cost_wad(words[next])
            market_word: uint256 = words[unsafe_add(next, 1)]
            funding = packing._funding_at(market_word, block.timestamp)
            if market_word & packing.MARKET_ENDED != 0 and position >> 128 != 0:
                price_word |= (packing.HAS_ENDED | packing.NO_INCREASE) << 192
            next = unsafe_add(next, 2)
        if oracle != empty(address):
            coming: uint256 = staticcall IRiskOracle(oracle).pending_risk(ids & 255)
            risk_word = packing._with_worse_init(risk_word, coming)
        if account == house:
            risk_word = margin._house_word(risk_word, position)
        terms: margin.Terms = margin._terms(position, cost, funding, price_word & packing.MASK_96, risk_word)
        # Sixteen parts, each far below 2**250.
        snapshot.equity_init = unsafe_add(snapshot.equity_init, terms.equity_init)
        snapshot.required_init = unsafe_add(snapshot.required_init, terms.required_init)
        snapshot.equity_maint = unsafe_add(snapshot.equity_maint, terms.equity_maint)
        snapshot.required_maint = unsafe_add(snapshot.required_maint, terms.required_maint)
        snapshot.legs.append(
            IMandates.Leg(
                asset=ids & 255,
                position=position,
                cost=cost,
                funding=funding,
                price_word=price_word,
                risk_word=risk_word,
            )
        )
        ids >>= 8
        perpetuals >>= 1
    return snapshot


@internal
@view
def _later(before: IMandates.Snapshot, words: DynArray[uint256, 50], net_wad: int256) -> (bool, margin.Terms):
    """
    @dev The sums of a picture later in a call that keeps its marks, out of the account's words: a leg with the
         position, cost and funding that it had is worth what it was, so only the others are valued anew. False where
         assets came or went.
    """
    gained: int256 = net_wad - before.cash
    sums: margin.Terms = margin.Terms(
        equity_init=before.equity_init + gained,
        required_init=before.required_init,
        equity_maint=before.equity_maint + gained,
        required_maint=before.required_maint,
    )
    ids: uint256 = words[1]
    perpetuals: uint256 = ids >> asset_list.PERPETUALS_SHIFT
    count: uint256 = len(before.legs)
    if asset_list._count(ids) != count:
        return False, sums
    next: uint256 = unsafe_add(2, count)
    for i: uint256 in range(count, bound=asset_list.MAX_ASSETS):
        leg: IMandates.Leg = before.legs[i]
        if leg.asset != ids & 255:
            return False, sums
        position: uint256 = words[unsafe_add(2, i)]
        cost: int256 = empty(int256)
        funding: int256 = empty(int256)
        if perpetuals & 1 != 0:
            cost = packing._cost_wad(words[next])
            funding = packing._funding_at(words[unsafe_add(next, 1)], block.timestamp)
            next = unsafe_add(next, 2)
        if leg.position != position or leg.cost != cost or leg.funding != funding:
            price: uint256 = leg.price_word & packing.MASK_96
            gone: margin.Terms = margin._terms(leg.position, leg.cost, leg.funding, price, leg.risk_word)
            terms: margin.Terms = margin._terms(position, cost, funding, price, leg.risk_word)
            # A sum holds what is taken from it, and sixteen terms below 2**200 are far from the end of a word.
            sums.equity_init = unsafe_add(sums.equity_init, unsafe_sub(terms.equity_init, gone.equity_init))
            sums.required_init = unsafe_sub(unsafe_add(sums.required_init, terms.required_init), gone.required_init)
            sums.equity_maint = unsafe_add(sums.equity_maint, unsafe_sub(terms.equity_maint, gone.equity_maint))
            sums.required_maint = unsafe_sub(unsafe_add(sums.required_maint, terms.required_maint), gone.required_maint)
        ids >>= 8
        perpetuals >>= 1
    return True, sums


@internal
@pure
def _terms(leg: IMandates.Leg) -> margin.Terms:
    return margin._terms(leg.position, leg.cost, leg.funding, packing._newest_wad(leg.price_word), leg.risk_word)
