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
    scene: IPerps.Scene = self._latched_scene(account, asset, order.size_change)
    fill: IPerps.Fill = extcall IPerps(PERPS).fill(order, scene)
    ledger._markets[asset] = fill.market_word
    size: int256 = packing._size_wad(scene.position_word)
    new_cost: int256 = packing._cost_wad(scene.cost_word) + fill.cost_change
    new_position: uint256 = ledger._put_perpetual(
        account, asset, size + fill.size_change, new_cost, fill.entry_wad
    )
    ledger._add_perpetual(ledger.HOUSE, asset, -fill.size_change, -fill.cost_change, 0)
    is_safer: bool = self._exposure(new_position) <= self._exposure(scene.position_word)
    if is_safer:
        scene.market_word = fill.market_word
        excess_init: int256 = 0
        excess_maint: int256 = 0
        new_excess_init: int256 = 0
        new_excess_maint: int256 = 0
        excess_init, excess_maint = self._excesses(scene, scene.position_word, packing._cost_wad(scene.cost_word))
        new_excess_init, new_excess_maint = self._excesses(scene, new_position, new_cost)
        is_safer = new_excess_init >= excess_init and new_excess_maint >= excess_maint
    if new_position >> 128 == 0:
        self._settle(account, asset, -new_cost, max_value(uint256), False)
    return fill.price_wad, is_safer


@internal
def _settle(account: uint256, asset: uint256, result: int256, most_wad: uint256, is_unasked: bool) -> int256:
    """
    @dev Returns what moved to the account, at most `most_wad` either way. Unasked, a loss is taken from the cash of an
         account whose position is closed, and from no other: it would only make a debt of it.
    """
    # Ids are checked before they become keys: an account or an asset beyond its width would be somebody else's.
    ledger._require_account(account)
    if asset_list._index_of(ledger._lists[account], asset) == asset_list.MAX_ASSETS:
        return 0
    cash._accrue()
    amount: uint256 = min(fixed_point._abs(result), most_wad)
    payer: uint256 = account
    payee: uint256 = ledger.HOUSE
    if result > 0:
        payer = ledger.HOUSE
        payee = account
    if result > 0 or is_unasked:
        amount = min(amount, cash._available_wad(payer))
    if result < 0:
        if is_unasked:
            self._require_closed(packing._size_wad(ledger._position(account, asset)))
        amount = self._payable(account, fixed_point._abs(result), amount)
    if amount == 0:
        return 0
    moved: int256 = convert(amount, int256)
    if result < 0:
        moved = -moved
    entry: int256 = packing._entry_wad(ledger._costs[(account << 8) | asset])
    cost: int256 = ledger._add_perpetual(account, asset, 0, moved, entry)
    ledger._add_perpetual(ledger.HOUSE, asset, 0, -moved, 0)
    payer_word: uint256 = cash._debit_wad(payer, amount, self, True)
    payee_word: uint256 = cash._credit_wad(payee, amount)
    log IClearinghouse.Settled(
        account=account,
        asset=asset,
        moved=moved,
        cost_word=packing._cost_word(cost, entry),
        payer_word=payer_word,
        payee_word=payee_word,
    )
    return moved


@internal
@view
def _payable(account: uint256, loss: uint256, owed: uint256) -> uint256:
    """@dev What a loser can pay of `owed`: its cash, then a loan that its equity without the loss still covers."""
    available: uint256 = cash._available_wad(account)
    if owed <= available:
        return owed
    total: margin.Terms = health._assess(account)
    bearable: int256 = convert(loss, int256) + total.equity_init
    if bearable <= convert(available, int256):
        return available
    return min(owed, min(convert(bearable, uint256), available + cash._lendable_wad()))


@internal
@view
def _scene(account: uint256, asset: uint256) -> IPerps.Scene:
    """@dev A position with all that gives it a value."""
    price_word: uint256 = 0
    risk_word: uint256 = 0
    price_word, risk_word = calls._mark(asset)
    return self._scene_at(account, asset, price_word, risk_word)


@internal
def _latched_scene(account: uint256, asset: uint256, size_change: int256) -> IPerps.Scene:
    """
    @dev The same; the mark stays as it is. Where the whole account will be tested, all its marks are fetched in the same
         call of the oracle.
    """
    size: int256 = packing._size_wad(ledger._position(account, asset))
    is_reduction: bool = size != 0 and (size > 0) != (size_change > 0)
    if not is_reduction:
        listed: uint256 = ledger._lists[account]
        all_marks: DynArray[uint256, 32] = calls._latched_marks(listed)
        index: uint256 = asset_list._index_of(listed, asset)
        if index != asset_list.MAX_ASSETS:
            place: uint256 = unsafe_mul(2, index)
            return self._scene_at(account, asset, all_marks[place], all_marks[unsafe_add(place, 1)])
    price_word: uint256 = 0
    risk_word: uint256 = 0
    price_word, risk_word = calls._latched_mark(asset)
    return self._scene_at(account, asset, price_word, risk_word)


@internal
@view
def _scene_at(account: uint256, asset: uint256, price_word: uint256, risk_word: uint256) -> IPerps.Scene:
    return IPerps.Scene(
        position_word=ledger._position(account, asset),
        cost_word=ledger._costs[(account << 8) | asset],
        market_word=ledger._markets[asset],
        price_word=price_word,
        risk_word=risk_word,
    )


@internal
@view
def _excesses(scene: IPerps.Scene, position: uint256, cost: int256) -> (int256, int256):
    """@dev What a position would contribute at the newest price of the scene, at initial margin and at maintenance."""
    funding: int256 = packing._funding_at(scene.market_word, block.timestamp)
    terms: margin.Terms = margin._terms(
        position, cost, funding, packing._newest_wad(scene.price_word), scene.risk_word
    )
    return (
        unsafe_sub(terms.equity_init, packing._signed(terms.required_init)),
        unsafe_sub(terms.equity_maint, packing._signed(terms.required_maint)),
    )


@internal
@pure
def _exposure(position: uint256) -> uint256:
    """@dev |D|, of two halves of a word."""
    return fixed_point._abs(unsafe_add(packing._signed(position & packing.MASK_128), packing._size_wad(position)))


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_closed(size: int256):
    if size != 0:
        reasons._fail("perpetuals: no gain")
