# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Swaps
@license MIT
@author  Ballast contributors
@notice  What a swap does to the ledger: one asset leaves the account, what it brought comes in. What it must bring is
         the exchange's business, which also measures it.
@custom:invariant I26 I29
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IExchange
from contracts.modules import calls
from contracts.modules import cash
from contracts.modules import collaterals
from contracts.modules import ledger
from contracts.modules import packing
from contracts.modules import reasons
from contracts.modules import safe_token
from ethereum.ercs import IERC20

uses: calls
uses: cash
uses: ledger
uses: collaterals


struct Order:
    account: uint256
    adapter: address
    asset_in: uint256
    asset_out: uint256
    amount_in: uint256
    min_out: uint256
    slippage_bps: uint256  # tightens the assets' own limits
    may_borrow: bool


# The quote token's own price word: 1, now as before, with no flag.
PAR_WORD: constant(uint256) = 10**18 | (10**18 << 96)

EXCHANGE: immutable(address)


@deploy
def __init__(exchange: address):
    EXCHANGE = exchange


@internal
def _swap(order: Order) -> (uint256, bool):
    """
    @dev Returns the proceeds in token units and whether the account is less or equally risky for it: collateral sold
         for cash, no short against it, and a bound that frees what it may lose.
    """
    self._require_pair(order.asset_in, order.asset_out)
    sold: IExchange.Side = self._side(order.asset_in)
    bought: IExchange.Side = self._side(order.asset_out)
    word_in: uint256 = self._give(order, sold)
    absorbed: uint256 = 0
    if order.asset_out == collaterals.QUOTE_ASSET:
        absorbed = cash._debt(order.account)
    amount_out: uint256 = 0
    is_absorbed: bool = False
    frees_enough: bool = False
    state_before: uint256 = calls._act()
    amount_out, is_absorbed, frees_enough = extcall IExchange(EXCHANGE).swap(
        IExchange.Order(
            adapter=order.adapter,
            amount_in=order.amount_in,
            min_out=order.min_out,
            slippage_bps=order.slippage_bps,
            absorber=cash.VAULT,
            absorbed=absorbed,
        ),
        sold,
        bought,
    )
    calls._acted(state_before)

    amount_out_wad: uint256 = ledger._to_wad(bought.asset_word, amount_out)
    word_out: uint256 = 0
    if is_absorbed:
        word_out = cash._burn_debt(order.account, amount_out)
    elif order.asset_out == collaterals.QUOTE_ASSET:
        word_out = cash._credit_wad(order.account, amount_out_wad)
    else:
        word_out = ledger._add_collateral(order.account, order.asset_out, amount_out_wad)
        collaterals._count_in(order.asset_out, amount_out_wad)
    log IClearinghouse.Swapped(
        account=order.account,
        asset_in=order.asset_in,
        asset_out=order.asset_out,
        adapter=order.adapter,
        amount_in=order.amount_in,
        amount_out=amount_out,
        word_in=word_in,
        word_out=word_out,
    )
    is_sale: bool = order.asset_out == collaterals.QUOTE_ASSET and packing._size_wad(word_in) >= 0
    return amount_out, is_sale and frees_enough


@internal
def _give(order: Order, sold: IExchange.Side) -> uint256:
    """@dev The sold amount leaves the account and lies with the adapter."""
    amount_wad: uint256 = ledger._to_wad(sold.asset_word, order.amount_in)
    if order.asset_in == collaterals.QUOTE_ASSET:
        if not order.may_borrow:
            ledger._require_balance(cash._available_wad(order.account), amount_wad)
        return cash._debit(order.account, order.amount_in, order.adapter)
    word: uint256 = ledger._remove_collateral(order.account, order.asset_in, amount_wad)
    collaterals._count_out(order.asset_in, amount_wad)
    safe_token._push(IERC20(packing._token(sold.asset_word)), order.adapter, order.amount_in)
    return word


@internal
def _side(asset: uint256) -> IExchange.Side:
    """@dev The quote token is its own mark: price 1, no rate, no limit."""
    if asset == collaterals.QUOTE_ASSET:
        return IExchange.Side(
            asset_word=collaterals.QUOTE_WORD,
            price_word=PAR_WORD,
            risk_word=0,
        )
    price_word: uint256 = 0
    risk_word: uint256 = 0
    price_word, risk_word = calls._latched_mark(asset)
    return IExchange.Side(asset_word=collaterals._word(asset), price_word=price_word, risk_word=risk_word)


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_pair(asset_in: uint256, asset_out: uint256):
    if asset_in == asset_out:
        reasons._fail("swaps: same asset")
