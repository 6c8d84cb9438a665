# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Keeper pay
@license MIT
@author  Ballast contributors
@notice  Pays the caller of a rebalance: what the call cost and a part of the gap closed, within the owner's bounds.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IRebalancer
from contracts.interfaces import IRiskOracle
from contracts.modules import bounds
from contracts.modules import executions
from contracts.modules import fixed_point
from contracts.modules import hook_rooms
from contracts.modules import packing

uses: hook_rooms

PAY: constant(Bytes[4]) = method_id("pay(uint256,uint256)")
PAY_GAS: constant(uint256) = 500_000

# A call for a rebalance costs so much gas around the hook, the pay itself included, and its sender a tip.
OVERHEAD_GAS: constant(uint256) = 185_000
TIP_WEI: constant(uint256) = 10**9
GAS_MARGIN_BPS: constant(uint256) = 11_500
# From the flag on the part of the gap that is paid grows for so long.
PAY_RAMP_S: constant(uint256) = 120


@internal
def _pay(
    account: uint256,
    word: uint256,
    last_at: uint256,
    since: uint256,
    gas_before: uint256,
    gap_closed: uint256,
):
    """
    @dev Last, and never a reason to revert. Who pays nobody for a flag pays nobody for its age: one from before the last
         rebalance does not count.
    """
    cap: uint256 = bounds._pay_cap(word)
    if cap == 0 or msg.gas * 63 // 64 <= PAY_GAS + executions.RESERVED_GAS:
        return
    pay: uint256 = 0
    if hook_rooms.NATIVE_ASSET != 0:
        gas_used: uint256 = gas_before - msg.gas + OVERHEAD_GAS
        gas_wei: uint256 = gas_used * min(tx.gasprice, block.basefee + TIP_WEI)
        price_wad: uint256 = staticcall IRiskOracle(hook_rooms.ORACLE).price_wad(hook_rooms.NATIVE_ASSET)
        pay = gas_wei * price_wad // fixed_point.WAD * GAS_MARGIN_BPS // fixed_point.BPS
    if since > last_at:
        share_bps: uint256 = bounds._pay_bps(word) * min(block.timestamp - since, PAY_RAMP_S)
        pay += gap_closed * share_bps // (PAY_RAMP_S * fixed_point.BPS)
    pay = min(min(pay, cap), gap_closed // bounds._gap_per_pay(word))
    payer: uint256 = packing._account(packing._owner(account), bounds._payer(word))
    cash: uint256 = packing._cash_wad(staticcall IClearinghouse(hook_rooms.CLEARINGHOUSE).account_word(payer))
    units: uint256 = min(pay, cash) // hook_rooms.UNIT_WAD
    if units == 0:
        return
    success: bool = raw_call(
        hook_rooms.MANDATES, abi_encode(payer, units, method_id=PAY), gas=PAY_GAS, revert_on_failure=False
    )
    if not success:
        log IRebalancer.PayFailed(account=account, payer=payer, amount=units)
