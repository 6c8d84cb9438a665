# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Perpetuals
@license MIT
@author  Ballast contributors
@notice  The books of perpetual positions: what `Perps` has priced is entered here, for the account and for the house at
         once, and results become cash here.
@dev     A trade moves size and cost and no cash: c += dc, c_house -= dc. Settling moves cash and cost and no equity:
         s = min(|u|, what the payer has), c += s and k += s on one side and the negatives on the other. So sizes and
         costs of a market sum to zero over all accounts, always, and cash moves are equal and opposite.
         A loss is settled when the position is closed, or when a winner needs the cash; what cannot be paid stays
         listed. The house pays from its cash alone, a loser from its cash and from what the vault lends it, but
         never beyond its own equity: lenders do not pay for a loss that an account cannot bear.
@custom:invariant I18 I19
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IPerps
from contracts.modules import asset_list
from contracts.modules import calls
from contracts.modules import cash
from contracts.modules import fixed_point
from contracts.modules import health
from contracts.modules import ledger
from contracts.modules import margin
from contracts.modules import packing
from contracts.modules import reasons

uses: calls
uses: cash
uses: health
uses: ledger

PERPS: immutable(address)


@deploy
def __init__(perps: address):
    PERPS = perps


@internal
def _trade(order: IPerps.Order) -> (uint256, bool):
    """@dev Returns the fill price and whether the account is less or equally risky for it."""
    account: uint256 = order.account
    asset: uint256 = order.asset
    ledger._require_account(account)
    position: uint256 = ledger._position(account, asset)
    size: int256 = packing._size_wad(position)
    cost_word: uint256 = ledger._costs[(account << 8) | asset]
    price_word: uint256 = 0
    risk_word: uint256 = 0
    price_word, risk_word = self._latched_mark(account, asset, size, order.size_change)
    fill: IPerps.Fill = extcall IPerps(PERPS).fill(
        order,
        IPerps.Scene(
            size_wad=size,
            cost_word=cost_word,
            market_word=ledger._markets[asset],
            price_word=price_word,
            risk_word=risk_word,
        ),
    )
    ledger._markets[asset] = fill.market_word
    cost: int256 = packing._cost_wad(cost_word)
    new_cost: int256 = cost + fill.cost_change
    new_position: uint256 = ledger._put_perpetual(
        account, asset, size + fill.size_change, new_cost, fill.entry_wad
    )
    self._put_house(asset, -fill.size_change, -fill.cost_change)
    log IClearinghouse.Traded(
        account=account,
        asset=asset,
        size_change=fill.size_change,
        cost_change=fill.cost_change,
        price_wad=fill.price_wad,
        position_word=new_position,
        cost_word=packing._cost_word(new_cost, fill.entry_wad),
        market_word=fill.market_word,
    )
    is_safer: bool = self._exposure(new_position) <= self._exposure(position)
    if is_safer:
        funding: int256 = packing._funding_at(fill.market_word, block.timestamp)
        price: uint256 = packing._newest_wad(price_word)
        old_init: int256 = 0
        old_maint: int256 = 0
        new_init: int256 = 0
        new_maint: int256 = 0
        old_init, old_maint = self._excesses(position, cost, funding, price, risk_word)
        new_init, new_maint = self._excesses(new_position, new_cost, funding, price, risk_word)
        is_safer = new_init >= old_init and new_maint >= old_maint
    if new_position >> 128 == 0:
        self._settle(account, asset, max_value(uint256), False)
    return fill.price_wad, is_safer


@internal
def _settle(account: uint256, asset: uint256, most_wad: uint256, is_unasked: bool) -> int256:
    """
    @dev Returns what moved to the account, at most `most_wad` either way. Unasked, a loss is taken from the cash of an
         account whose position is closed, and from no other: it would only make a debt of it.
    """
    # Ids are checked before they become keys: an account or an asset beyond its width would be somebody else's.
    ledger._require_account(account)
    if asset_list._index_of(ledger._lists[account], asset) == asset_list.MAX_ASSETS:
        return 0
    size: int256 = packing._size_wad(ledger._position(account, asset))
    cost_word: uint256 = ledger._costs[(account << 8) | asset]
    cost: int256 = packing._cost_wad(cost_word)
    result: int256 = -cost
    if size != 0:
        marks: DynArray[uint256, 32] = calls._marks([asset])
        result = staticcall IPerps(PERPS).result(
            IPerps.Scene(
                size_wad=size,
                cost_word=cost_word,
                market_word=ledger._markets[asset],
                price_word=marks[0],
                risk_word=marks[1],
            )
        )
    if result == 0:
        return 0
    cash._accrue()
    moved: int256 = 0
    if result > 0:
        moved = convert(min(min(convert(result, uint256), most_wad), cash._available_wad(ledger.HOUSE)), int256)
    else:
        owed: uint256 = min(convert(-result, uint256), most_wad)
        if is_unasked:
            self._require_closed(size)
            owed = min(owed, cash._available_wad(account))
        moved = -convert(self._payable(account, convert(-result, uint256), owed), int256)
    if moved == 0:
        return 0
    cost_word = packing._cost_word(cost + moved, packing._entry_wad(cost_word))
    ledger._put_perpetual(account, asset, size, cost + moved, packing._entry_wad(cost_word))
    self._put_house(asset, 0, -moved)
    payer: uint256 = account
    payee: uint256 = ledger.HOUSE
    if moved > 0:
        payer = ledger.HOUSE
        payee = account
    amount: uint256 = fixed_point._abs(moved)
    cash._debit_wad(payer, amount, self)
    cash._credit_wad(payee, amount)
    log IClearinghouse.Settled(
        account=account,
        asset=asset,
        moved=moved,
        cost_word=cost_word,
        word=ledger._account_words[account],
        house_word=ledger._account_words[ledger.HOUSE],
    )
    return moved


@internal
def _put_house(asset: uint256, size_change: int256, cost_change: int256):
    house: uint256 = ledger.HOUSE
    size: int256 = packing._size_wad(ledger._position(house, asset))
    cost: int256 = packing._cost_wad(ledger._costs[(house << 8) | asset])
    ledger._put_perpetual(house, asset, size + size_change, cost + cost_change, 0)


@internal
@view
def _payable(account: uint256, loss: uint256, owed: uint256) -> uint256:
    """@dev What a loser can pay of `owed`: its cash, then a loan that its equity without the loss still covers."""
    available: uint256 = cash._available_wad(account)
    if owed <= available:
        return owed
    total: margin.Terms = health._assess_now(account)
    bearable: int256 = convert(loss, int256) + total.equity_init
    if bearable <= convert(available, int256):
        return available
    return min(owed, min(convert(bearable, uint256), available + cash._lendable_wad()))


@internal
def _latched_mark(account: uint256, asset: uint256, size: int256, size_change: int256) -> (uint256, uint256):
    """
    @dev Price and risk word of the asset. Where the whole account will be tested, all its marks are fetched in the
         same call of the oracle.
    """
    is_reduction: bool = size != 0 and (size > 0) != (size_change > 0)
    if not is_reduction:
        calls._latched_marks(asset_list._ids(ledger._lists[account]))
    marks: DynArray[uint256, 32] = calls._latched_marks([asset])
    return marks[0], marks[1]


@internal
@pure
def _excesses(
    position: uint256, cost: int256, funding: int256, price: uint256, risk_word: uint256
) -> (int256, int256):
    """@dev What the position contributes to the two excesses."""
    terms: margin.Terms = margin._terms(position, cost, funding, price, risk_word)
    return (
        terms.equity_init - convert(terms.required_init, int256),
        terms.equity_maint - convert(terms.required_maint, int256),
    )


@internal
@pure
def _exposure(position: uint256) -> uint256:
    """@dev |D|"""
    return fixed_point._abs(convert(packing._collateral_wad(position), int256) + packing._size_wad(position))


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_closed(size: int256):
    if size != 0:
        reasons._fail("perpetuals: no gain")
