# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Health
@license MIT
@author  Ballast contributors
@notice  The margin equation summed over an account, and the one test that an increase of risk must pass.
@custom:invariant I11 I31 I32
"""

from contracts.interfaces import IClearinghouse
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
def _assess(
    account: uint256, net_wad: int256, assets: DynArray[uint256, 16], marks: DynArray[uint256, 32]
) -> margin.Terms:
    """@dev At the newest prices, a stale asset at its last good one."""
    total: margin.Terms = margin.Terms(
        equity_init=net_wad, required_init=0, equity_maint=net_wad, required_maint=0
    )
    for i: uint256 in range(len(assets), bound=asset_list.MAX_ASSETS):
        terms: margin.Terms = self._terms(
            ledger._position(account, assets[i]), marks[2 * i] & packing.MASK_96, marks[2 * i + 1]
        )
        total.equity_init += terms.equity_init
        total.required_init += terms.required_init
        total.equity_maint += terms.equity_maint
        total.required_maint += terms.required_maint
    return total


@internal
@view
def _snapshot(
    account: uint256, assets: DynArray[uint256, 16], marks: DynArray[uint256, 32]
) -> IClearinghouse.Snapshot:
    net_wad: int256 = cash._net_wad(ledger._account_words[account])
    total: margin.Terms = self._assess(account, net_wad, assets, marks)
    snapshot: IClearinghouse.Snapshot = IClearinghouse.Snapshot(
        equity_init=total.equity_init,
        required_init=total.required_init,
        equity_maint=total.equity_maint,
        required_maint=total.required_maint,
        cash=net_wad,
        legs=[],
    )
    for i: uint256 in range(len(assets), bound=asset_list.MAX_ASSETS):
        snapshot.legs.append(
            IClearinghouse.Leg(
                asset=assets[i],
                position=ledger._position(account, assets[i]),
                price_word=marks[2 * i],
                risk_word=marks[2 * i + 1],
            )
        )
    return snapshot


@internal
def _check_initial(account: uint256):
    """
    @dev The increase test: excess_init >= 0 with every asset at the worse of its two prices for this account.
         An asset whose mark must not back an increase lends no strength; what it costs still counts. Without
         debt and perpetuals there is nothing to cover and no price is read.
    """
    word: uint256 = ledger._account_words[account]
    listed: uint256 = ledger._lists[account]
    if packing._debt_shares(word) == 0 and not asset_list._has_perpetual(listed):
        return
    assets: DynArray[uint256, asset_list.MAX_ASSETS] = asset_list._ids(listed)
    marks: DynArray[uint256, 32] = calls._latched_marks(assets)
    excess: int256 = cash._net_wad(word)
    is_weakened: bool = False
    for i: uint256 in range(len(assets), bound=asset_list.MAX_ASSETS):
        position: uint256 = ledger._position(account, assets[i])
        price_word: uint256 = marks[2 * i]
        newest: uint256 = price_word & packing.MASK_96
        previous: uint256 = (price_word >> 96) & packing.MASK_96
        part: int256 = self._excess_init(position, newest, marks[2 * i + 1])
        if previous != newest:
            part = min(part, self._excess_init(position, previous, marks[2 * i + 1]))
        if part > 0 and packing._flags(price_word) & packing.NO_INCREASE != 0:
            part = 0
            is_weakened = True
        excess += part
    if excess < 0:
        self._require_prices(not is_weakened)
    self._require_margin(excess)


@internal
@view
def _excess_init(position: uint256, price_wad: uint256, risk_word: uint256) -> int256:
    if position >> 128 == 0:
        return margin._collateral_excess_init(position, price_wad, risk_word)
    terms: margin.Terms = self._terms(position, price_wad, risk_word)
    return terms.equity_init - convert(terms.required_init, int256)


@internal
@view
def _terms(position: uint256, price_wad: uint256, risk_word: uint256) -> margin.Terms:
    """@dev No market exists in this ledger yet, so no position has a cost or funding."""
    return margin._terms(position, 0, 0, price_wad, risk_word)


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
