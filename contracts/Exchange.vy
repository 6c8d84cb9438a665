# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Exchange
@license MIT
@author  Ballast contributors
@notice  One asset of an account for another, through an allowed adapter, bounded by the oracle.
@dev     The proceeds are what the receiver's balance grew by, never what an adapter says. They are at least the
         oracle's value less the swap limit of the two assets: a route that loses more cannot be executed at all.
         Proceeds that a debt is sure to absorb, being less than three quarters of it by the bound, go straight to the vault,
         which saves a transfer. Holds nothing: tokens lie with the adapter when it is called and with the ledger or
         the vault afterwards.
@custom:invariant I26 I29
@custom:kill  Forbid the adapters: nothing is swapped any more; all that needs no swap goes on.
"""

from contracts.interfaces import IExchange
from contracts.interfaces import ISwapAdapter
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import reasons
from ethereum.ercs import IERC20

implements: IExchange

CLEARINGHOUSE: public(immutable(address))
LISTINGS: public(immutable(address))

_is_adapter: HashMap[address, bool]


@deploy
def __init__(clearinghouse: address, listings: address):
    """
    @param clearinghouse  The only contract that swaps; may be deployed later.
    @param listings       The only contract that may allow adapters.
    """
    CLEARINGHOUSE = clearinghouse
    LISTINGS = listings


@external
def swap(order: IExchange.Order, sold: IExchange.Side, bought: IExchange.Side) -> (uint256, bool, bool):
    """@notice Has the adapter swap what lies with it."""
    self._check_clearinghouse()
    self._require_adapter(order.adapter)
    self._require_swappable(packing._flags(sold.price_word | bought.price_word))
    least_out: uint256 = max(order.min_out, self._least_out_up(sold, bought, order.amount_in, order.slippage_bps))
    # A third more than the bound is still no more than is owed; what brings yet more the vault refuses.
    is_absorbed: bool = least_out < order.absorbed * 3 // 4
    receiver: address = CLEARINGHOUSE
    if is_absorbed:
        receiver = order.absorber
    token_out: IERC20 = IERC20(packing._token(bought.asset_word))
    balance_before: uint256 = staticcall token_out.balanceOf(receiver)
    extcall ISwapAdapter(order.adapter).swap(
        packing._token(sold.asset_word), token_out.address, order.amount_in, least_out, receiver
    )
    balance_after: uint256 = staticcall token_out.balanceOf(receiver)
    amount_out: uint256 = balance_after - balance_before
    self._require_proceeds(amount_out, least_out)
    return amount_out, is_absorbed, self._frees_what_it_loses(sold)


@external
def set_adapter(adapter: address, is_allowed: bool):
    """@notice Allows or forbids a swap adapter."""
    self._check_listings()
    self._is_adapter[adapter] = is_allowed
    log IExchange.AdapterChanged(adapter=adapter, is_allowed=is_allowed)


@external
@view
def is_adapter(adapter: address) -> bool:
    """@notice Whether swaps may go through an adapter."""
    return self._is_adapter[adapter]


@internal
@pure
def _least_out_up(
    sold: IExchange.Side, bought: IExchange.Side, amount_in: uint256, slippage_bps: uint256
) -> uint256:
    """
    @dev ceil(value (1 - limit) / price), in token units of the bought asset. Fields are read in place here and below, as
         `packing` reads them: every swap pays for it.
    """
    limit_bps: uint256 = min(slippage_bps, max(self._limit_bps(sold), self._limit_bps(bought)))
    amount_in_wad: uint256 = amount_in * ((sold.asset_word >> 160) & packing.MASK_72)
    return fixed_point._mul_div_up(
        amount_in_wad * (sold.price_word & packing.MASK_96),
        fixed_point.BPS - limit_bps,
        fixed_point.BPS * (bought.price_word & packing.MASK_96) * ((bought.asset_word >> 160) & packing.MASK_72),
    )


@internal
@pure
def _limit_bps(side: IExchange.Side) -> uint256:
    """
    @dev Never above the rate on gross, l_init: a swap then frees more requirement than it can lose. Read here,
         because l moves with volatility. 1 bp is 100 rate units.
    """
    return min(side.asset_word >> 232, ((side.risk_word >> 24) & packing.MASK_24) // 100)


@internal
@pure
def _frees_what_it_loses(sold: IExchange.Side) -> bool:
    """
    @dev Each unit of collateral sold for cash frees r + l of requirement. Where that is at least what the swap may
         lose, neither excess falls. (r_init + l_init is above l_init and with it above the limit.)
    """
    freed_e6: uint256 = packing._r_maint_e6(sold.risk_word) + packing._l_maint_e6(sold.risk_word)
    return self._limit_bps(sold) * 100 <= freed_e6


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_clearinghouse():
    if msg.sender != CLEARINGHOUSE:
        reasons._fail("exchange: not the clearinghouse")


@internal
@view
def _check_listings():
    if msg.sender != LISTINGS:
        reasons._fail("exchange: only listings")


@internal
@view
def _require_adapter(adapter: address):
    if not self._is_adapter[adapter]:
        reasons._fail("exchange: adapter not allowed")


@internal
@pure
def _require_swappable(flags: uint256):
    if flags & packing.NO_SWAP != 0:
        reasons._fail("exchange: price not usable")


@internal
@pure
def _require_proceeds(amount_out: uint256, least_out: uint256):
    if amount_out < least_out or amount_out == 0:
        reasons._fail("exchange: proceeds below bound")
