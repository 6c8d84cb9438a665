# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Insurance
@license MIT
@author  Ballast contributors
@notice  Owner of the insurance fund, a cash account of the ledger: brings in what belongs to it, and lets governance take
         out only what it announced.
@dev     What pays into it without being asked: a part of each liquidation's discount. What pays out of it: deficits, by the
         liquidator within its caps. Only this contract withdraws.
@custom:invariant I34
@custom:kill  Nothing to stop: the owner of this contract announces nothing.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IInsurance
from contracts.interfaces import ILendingVault
from contracts.interfaces import ILiquidator
from contracts.modules import packing
from contracts.modules import reasons
from contracts.modules import safe_token
from ethereum.ercs import IERC20
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IInsurance

initializes: ownable
initializes: ownable_2step[ownable := ownable]

exports: (
    ownable.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

QUOTE_ASSET: constant(uint256) = 0
NOTICE_S: constant(uint256) = 7 * 86_400

CLEARINGHOUSE: public(immutable(address))
VAULT: public(immutable(address))
LIQUIDATOR: public(immutable(address))
ACCOUNT: public(immutable(uint256))

# What was announced to be taken out: amount u128 | ready_at u40, and for whom.
_announced: uint256
_receiver: address


@deploy
def __init__(clearinghouse: address, vault: address, liquidator: address):
    """
    @param clearinghouse  The ledger.
    @param vault          Lending vault, whose reserves belong here.
    @param liquidator     Collects the fund's part of trading fees from the house.
    """
    ownable.__init__()
    ownable_2step.__init__()
    CLEARINGHOUSE = clearinghouse
    VAULT = vault
    LIQUIDATOR = liquidator
    ACCOUNT = packing._account(self, 0)


@external
def collect() -> uint256:
    """@notice Brings in reserves, donations and the fund's part of trading fees."""
    extcall ILendingVault(VAULT).sweep_reserves()
    extcall ILendingVault(VAULT).skim()
    quote_word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).asset_word(QUOTE_ASSET)
    token: IERC20 = IERC20(packing._token(quote_word))
    units: uint256 = staticcall token.balanceOf(self)
    if units != 0:
        safe_token._require_approved(token, CLEARINGHOUSE, units)
        extcall IClearinghouse(CLEARINGHOUSE).deposit(ACCOUNT, QUOTE_ASSET, units)
    fees: uint256 = extcall ILiquidator(LIQUIDATOR).collect_fees()
    log IInsurance.Collected(units=units, fees_wad=fees)
    return units * packing._unit_wad(quote_word) + fees


@external
def announce_withdrawal(amount: uint256, receiver: address):
    """@notice Says seven days ahead what will be taken out."""
    ownable._check_owner()
    self._require_receiver(receiver, amount)
    ready_at: uint256 = 0
    if amount != 0:
        ready_at = block.timestamp + NOTICE_S
    self._announced = amount | (ready_at << 128)
    self._receiver = receiver
    log IInsurance.WithdrawalAnnounced(amount=amount, receiver=receiver, ready_at=ready_at)


@external
def withdraw() -> uint256:
    """@notice Takes out what was announced."""
    ownable._check_owner()
    announced: uint256 = self._announced
    self._require_ready(announced >> 128)
    self._announced = 0
    word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).account_word(ACCOUNT)
    unit: uint256 = packing._unit_wad(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(QUOTE_ASSET))
    units: uint256 = min(announced & packing.MASK_128, packing._cash_wad(word) // unit)
    if units != 0:
        extcall IClearinghouse(CLEARINGHOUSE).withdraw(ACCOUNT, QUOTE_ASSET, units, self._receiver)
    log IInsurance.Withdrawn(amount=units, receiver=self._receiver)
    return units


@external
@view
def announced_withdrawal() -> (uint256, address, uint256):
    """@notice What was announced, for whom, and from when it can be taken."""
    return self._announced & packing.MASK_128, self._receiver, self._announced >> 128


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _require_receiver(receiver: address, amount: uint256):
    if (receiver == empty(address) and amount != 0) or receiver == self or amount > packing.MASK_128:
        reasons._fail("insurance: bad receiver")


@internal
@view
def _require_ready(ready_at: uint256):
    if ready_at == 0 or block.timestamp < ready_at or block.timestamp >= ready_at + NOTICE_S:
        reasons._fail("insurance: nothing to withdraw")
