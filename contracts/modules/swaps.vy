# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Swaps
@license MIT
@author  Ballast contributors
@notice  One asset of an account for another, through an allowed adapter, bounded by the oracle.
@dev     The proceeds are what the balance grew by, never what an adapter says. They are at least the oracle's
         value less the swap limit of the two assets, whoever asks and whatever they accept: a route that loses
         more cannot be executed at all. Proceeds that a debt is sure to absorb, being less than half of it by the
         bound, go straight to the vault, which saves a transfer.
@custom:invariant I26 I29
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ISwapAdapter
from contracts.modules import calls
from contracts.modules import cash
from contracts.modules import collaterals
from contracts.modules import fixed_point
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


# One side of a swap: its listing, its mark and how much of it moves.
struct Side:
    asset_word: uint256
    price_word: uint256
    risk_word: uint256


@internal
def _swap(order: Order) -> (uint256, bool):
    """
    @dev Returns the proceeds in token units and whether the account is less or equally risky for it.
    """
    collaterals._require_adapter(order.adapter)
    self._require_pair(order.asset_in, order.asset_out)
    sold: Side = empty(Side)
    bought: Side = empty(Side)
    sold, bought = self._sides(order.asset_in, order.asset_out)
    amount_in_wad: uint256 = ledger._to_wad(sold.asset_word, order.amount_in)
    least_out: uint256 = max(
        order.min_out, self._least_out_up(sold, bought, amount_in_wad, order.slippage_bps)
    )

    word_in: uint256 = self._give(order, sold, amount_in_wad)
    token_out: IERC20 = IERC20(packing._token(bought.asset_word))
    receiver: address = self
    if order.asset_out == collaterals.QUOTE_ASSET and least_out < cash._debt(order.account) // 2:
        receiver = cash.VAULT
    balance_before: uint256 = staticcall token_out.balanceOf(receiver)
    state_before: uint256 = calls._act()
    extcall ISwapAdapter(order.adapter).swap(
        packing._token(sold.asset_word), token_out.address, order.amount_in, least_out, receiver
    )
    calls._acted(state_before)
    balance_after: uint256 = staticcall token_out.balanceOf(receiver)
    amount_out: uint256 = balance_after - balance_before
    self._require_proceeds(amount_out, least_out)

    amount_out_wad: uint256 = ledger._to_wad(bought.asset_word, amount_out)
    word_out: uint256 = 0
    if receiver == cash.VAULT:
        word_out = cash._burn_debt(order.account, amount_out)
    elif order.asset_out == collaterals.QUOTE_ASSET:
        word_out = cash._credit(order.account, amount_out)
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
    return amount_out, order.asset_out == collaterals.QUOTE_ASSET and self._is_safer(sold, word_in)


@internal
def _give(order: Order, sold: Side, amount_in_wad: uint256) -> uint256:
    """@dev The sold amount leaves the account and lies with the adapter."""
    if order.asset_in == collaterals.QUOTE_ASSET:
        if not order.may_borrow:
            ledger._require_balance(cash._available_wad(order.account), amount_in_wad)
        return cash._debit(order.account, order.amount_in, order.adapter)
    word: uint256 = ledger._remove_collateral(order.account, order.asset_in, amount_in_wad)
    collaterals._count_out(order.asset_in, amount_in_wad)
    safe_token._push(IERC20(packing._token(sold.asset_word)), order.adapter, order.amount_in)
    return word


@internal
def _sides(asset_in: uint256, asset_out: uint256) -> (Side, Side):
    """@dev The quote token is its own mark: price 1, no rate, no limit."""
    sold: Side = self._quote_side()
    bought: Side = self._quote_side()
    assets: DynArray[uint256, 16] = []
    if asset_in != collaterals.QUOTE_ASSET:
        assets.append(asset_in)
    if asset_out != collaterals.QUOTE_ASSET:
        assets.append(asset_out)
    marks: DynArray[uint256, 32] = calls._latched_marks(assets)
    last: uint256 = len(marks) - 2
    if asset_in != collaterals.QUOTE_ASSET:
        sold = Side(asset_word=collaterals._word(asset_in), price_word=marks[0], risk_word=marks[1])
    if asset_out != collaterals.QUOTE_ASSET:
        bought = Side(
            asset_word=collaterals._word(asset_out), price_word=marks[last], risk_word=marks[last + 1]
        )
    self._require_swappable(packing._flags(sold.price_word) | packing._flags(bought.price_word))
    return sold, bought


@internal
@view
def _quote_side() -> Side:
    return Side(
        asset_word=collaterals.QUOTE_WORD,
        price_word=packing._price_word(fixed_point.WAD, fixed_point.WAD, 0),
        risk_word=0,
    )


@internal
@pure
def _least_out_up(sold: Side, bought: Side, amount_in_wad: uint256, slippage_bps: uint256) -> uint256:
    """@dev ceil(value (1 - limit) / price), in token units of the bought asset."""
    limit_bps: uint256 = min(slippage_bps, max(self._limit_bps(sold), self._limit_bps(bought)))
    value: uint256 = amount_in_wad * packing._newest_wad(sold.price_word)
    return fixed_point._mul_div_up(
        value,
        fixed_point.BPS - limit_bps,
        fixed_point.BPS * packing._newest_wad(bought.price_word) * packing._unit_wad(bought.asset_word),
    )


@internal
@pure
def _limit_bps(side: Side) -> uint256:
    """
    @dev Never above the rate on gross, l_init: a swap then frees more requirement than it can lose. Read here,
         because l moves with volatility. 1 bp is 100 rate units.
    """
    return min(packing._swap_limit_bps(side.asset_word), packing._l_init_e6(side.risk_word) // 100)


@internal
@pure
def _is_safer(sold: Side, word_in: uint256) -> bool:
    """
    @dev Collateral sold for cash and no short against it: exposure shrinks, and each unit of value frees r + l of
         requirement. That is at least what the swap may lose, so neither excess falls. (r_init + l_init is above
         l_init and with it above the limit.)
    """
    freed_e6: uint256 = packing._r_maint_e6(sold.risk_word) + packing._l_maint_e6(sold.risk_word)
    return packing._size_wad(word_in) >= 0 and self._limit_bps(sold) * 100 <= freed_e6


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_pair(asset_in: uint256, asset_out: uint256):
    if asset_in == asset_out:
        reasons._fail("swaps: same asset")


@internal
@pure
def _require_swappable(flags: uint256):
    if flags & packing.NO_SWAP != 0:
        reasons._fail("swaps: price not usable")


@internal
@pure
def _require_proceeds(amount_out: uint256, least_out: uint256):
    if amount_out < least_out or amount_out == 0:
        reasons._fail("swaps: proceeds below bound")
