# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Health
@license MIT
@author  Ballast contributors
@notice  The margin equation summed over an account, and the one test that an increase of risk must pass.
@custom:invariant I11 I31 I32
"""

from contracts.modules import asset_list
from contracts.modules import calls
from contracts.modules import cash
from contracts.modules import ledger
from contracts.modules import margin
from contracts.modules import packing
from contracts.modules import reasons

uses: calls
uses: cash
uses: ledger


@internal
@view
def _assess(account: uint256) -> margin.Terms:
    """@dev At the newest prices, a stale asset at its last good one; at the latched marks where a call has some."""
    listed: uint256 = ledger._lists[account]
    marks: DynArray[uint256, 32] = calls._marks(listed)
    net_wad: int256 = cash._net_wad(ledger._account_words[account])
    total: margin.Terms = margin.Terms(
        equity_init=net_wad, required_init=0, equity_maint=net_wad, required_maint=0
    )
    ids: uint256 = listed
    perpetuals: uint256 = listed >> asset_list.PERPETUALS_SHIFT
    for i: uint256 in range(asset_list._count(listed), bound=asset_list.MAX_ASSETS):
        asset: uint256 = ids & 255
        position: uint256 = ledger._positions[(account << 8) | asset]
        cost: int256 = empty(int256)
        funding: int256 = empty(int256)
        if perpetuals & 1 != 0:
            cost, funding = self._cost_and_funding(account, asset)
        risk_word: uint256 = marks[unsafe_add(unsafe_mul(2, i), 1)]
        if account == ledger.HOUSE:
            risk_word = margin._house_word(risk_word, position)
        terms: margin.Terms = margin._terms(
            position, cost, funding, marks[unsafe_mul(2, i)] & packing.MASK_96, risk_word
        )
        # Sixteen parts, each far below 2**250.
        total.equity_init = unsafe_add(total.equity_init, terms.equity_init)
        total.required_init = unsafe_add(total.required_init, terms.required_init)
        total.equity_maint = unsafe_add(total.equity_maint, terms.equity_maint)
        total.required_maint = unsafe_add(total.required_maint, terms.required_maint)
        ids = ids >> 8
        perpetuals = perpetuals >> 1
    return total


@internal
def _latch(account: uint256):
    """@dev Fixes the marks of all that an account lists."""
    calls._latched_marks(ledger._lists[account])


@internal
def _check_initial(account: uint256):
    """@dev The increase test, and that it was passed now: nobody is liquidated in a block in which his risk grew."""
    if self._passes_initial(account):
        word: uint256 = ledger._account_words[account]
        ledger._account_words[account] = (word & packing.MASK_224) | (block.timestamp << 224)


@internal
def _passes_initial(account: uint256) -> bool:
    """
    @dev Reverts unless excess_init >= 0 with every asset at the worse of its two prices for this account.
         An asset whose mark must not back an increase lends no strength; what it costs still counts. Without
         debt and perpetuals there is nothing to cover and no price is read: False.
    """
    word: uint256 = ledger._account_words[account]
    listed: uint256 = ledger._lists[account]
    if packing._debt_shares(word) == 0 and not asset_list._has_perpetual(listed):
        return False
    marks: DynArray[uint256, 32] = calls._latched_marks(listed)
    excess: int256 = cash._net_wad(word)
    is_weakened: bool = False
    ids: uint256 = listed
    perpetuals: uint256 = listed >> asset_list.PERPETUALS_SHIFT
    for i: uint256 in range(asset_list._count(listed), bound=asset_list.MAX_ASSETS):
        asset: uint256 = ids & 255
        position: uint256 = ledger._positions[(account << 8) | asset]
        price_word: uint256 = marks[unsafe_mul(2, i)]
        risk_word: uint256 = marks[unsafe_add(unsafe_mul(2, i), 1)]
        if account == ledger.HOUSE:
            risk_word = margin._house_word(risk_word, position)
        newest: uint256 = price_word & packing.MASK_96
        previous: uint256 = (price_word >> 96) & packing.MASK_96
        part: int256 = empty(int256)
        if perpetuals & 1 == 0:
            part = margin._collateral_excess_init(position, newest, risk_word)
            if previous != newest:
                part = min(part, margin._collateral_excess_init(position, previous, risk_word))
        else:
            cost: int256 = empty(int256)
            funding: int256 = empty(int256)
            cost, funding = self._cost_and_funding(account, asset)
            part = self._excess_init(position, cost, funding, newest, risk_word)
            if previous != newest:
                part = min(part, self._excess_init(position, cost, funding, previous, risk_word))
        if price_word & (packing.NO_INCREASE << 192) != 0 and part > 0:
            part = 0
            is_weakened = True
        excess = unsafe_add(excess, part)
        ids = ids >> 8
        perpetuals = perpetuals >> 1
    if excess < 0:
        self._require_prices(not is_weakened)
    self._require_margin(excess)
    return True


@internal
@view
def _cost_and_funding(account: uint256, asset: uint256) -> (int256, int256):
    """@dev Of the perpetual in an asset that carries one."""
    cost: int256 = packing._cost_wad(ledger._costs[(account << 8) | asset])
    return cost, packing._funding_at(ledger._markets[asset], block.timestamp)


@internal
@pure
def _excess_init(
    position: uint256, cost: int256, funding: int256, price_wad: uint256, risk_word: uint256
) -> int256:
    terms: margin.Terms = margin._terms(position, cost, funding, price_wad, risk_word)
    return unsafe_sub(terms.equity_init, convert(convert(terms.required_init, bytes32), int256))


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_margin(excess_wad: int256):
    if excess_wad < 0:
        reasons._fail("margin: initial margin short")


@internal
@pure
def _require_prices(are_usable: bool):
    if not are_usable:
        reasons._fail("margin: price not usable")
