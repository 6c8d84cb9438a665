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
    listed: uint256 = words[1]
    count: uint256 = asset_list._count(listed)
    next: uint256 = unsafe_add(2, count)
    for i: uint256 in range(count, bound=asset_list.MAX_ASSETS):
        leg: IMandates.Leg = IMandates.Leg(
            asset=asset_list._at(listed, i),
            position=words[unsafe_add(2, i)],
            cost=0,
            funding=0,
            price_word=marks[unsafe_mul(2, i)],
            risk_word=marks[unsafe_add(unsafe_mul(2, i), 1)],
        )
        if asset_list._carries_perpetual(listed, i):
            leg.cost = packing._cost_wad(words[next])
            market_word: uint256 = words[unsafe_add(next, 1)]
            leg.funding = packing._funding_at(market_word, block.timestamp)
            if market_word & packing.MARKET_ENDED != 0 and leg.position >> 128 != 0:
                leg.price_word |= (packing.HAS_ENDED | packing.NO_INCREASE) << 192
            next = unsafe_add(next, 2)
        if oracle != empty(address):
            coming: uint256 = staticcall IRiskOracle(oracle).pending_risk(leg.asset)
            leg.risk_word = packing._with_worse_init(leg.risk_word, coming)
        if account == house:
            leg.risk_word = margin._house_word(leg.risk_word, leg.position)
        terms: margin.Terms = self._terms(leg)
        # Sixteen parts, each far below 2**250.
        snapshot.equity_init = unsafe_add(snapshot.equity_init, terms.equity_init)
        snapshot.required_init = unsafe_add(snapshot.required_init, terms.required_init)
        snapshot.equity_maint = unsafe_add(snapshot.equity_maint, terms.equity_maint)
        snapshot.required_maint = unsafe_add(snapshot.required_maint, terms.required_maint)
        snapshot.legs.append(leg)
    return snapshot


@internal
@view
def _later(
    before: IMandates.Snapshot, words: DynArray[uint256, 50], net_wad: int256
) -> (bool, IMandates.Snapshot):
    """
    @dev A picture later in a call that keeps its marks, out of the account's words: a leg with the position, cost and
         funding that it had is worth what it was, so only the others are valued anew. False where assets came or went.
    """
    later: IMandates.Snapshot = before
    later.cash = net_wad
    change: int256 = net_wad - before.cash
    later.equity_init += change
    later.equity_maint += change
    listed: uint256 = words[1]
    count: uint256 = len(before.legs)
    is_known: bool = asset_list._count(listed) == count
    next: uint256 = 2 + count
    for i: uint256 in range(count, bound=asset_list.MAX_ASSETS):
        leg: IMandates.Leg = before.legs[i]
        is_known = is_known and leg.asset == asset_list._at(listed, i)
        if not is_known:
            break
        leg.position = words[2 + i]
        leg.cost = 0
        leg.funding = 0
        if asset_list._carries_perpetual(listed, i):
            leg.cost = packing._cost_wad(words[next])
            leg.funding = packing._funding_at(words[next + 1], block.timestamp)
            next += 2
        old: IMandates.Leg = before.legs[i]
        if old.position == leg.position and old.cost == leg.cost and old.funding == leg.funding:
            continue
        later.legs[i] = leg
        gone: margin.Terms = self._terms(old)
        terms: margin.Terms = self._terms(leg)
        # A sum holds what is taken from it, and sixteen terms below 2**200 are far from the end of a word.
        later.equity_init = unsafe_add(later.equity_init, unsafe_sub(terms.equity_init, gone.equity_init))
        later.required_init = unsafe_sub(unsafe_add(later.required_init, terms.required_init), gone.required_init)
        later.equity_maint = unsafe_add(later.equity_maint, unsafe_sub(terms.equity_maint, gone.equity_maint))
        later.required_maint = unsafe_sub(unsafe_add(later.required_maint, terms.required_maint), gone.required_maint)
    return is_known, later


@internal
@pure
def _terms(leg: IMandates.Leg) -> margin.Terms:
    return margin._terms(leg.position, leg.cost, leg.funding, packing._newest_wad(leg.price_word), leg.risk_word)
