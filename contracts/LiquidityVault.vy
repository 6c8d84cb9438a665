# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Liquidity Vault
@license MIT
@author  Ballast contributors
@notice  Owns the house account, the other side of every perpetual. Liquidity providers ask to enter or to leave, anyone
         fulfils what was asked once prices nobody knew then are there, and they claim what came of it.
@dev     Shares by ERC-7540 requests over one account of the clearing house; no ledger of its own. Requests are gathered
         in epochs, and an epoch is fulfilled as a whole, so that work does not grow with the number of requests: what
         one controller gets is his part of what the epoch got, rounded down. Rooms: `requests` the book of them,
         `house_worth` what a share is a part of, `share_math` its price; here are the shares and who may act.
         Assumptions:
         1. CLEARINGHOUSE and PERPS are our own contracts; a deposit takes exactly what is approved, a withdrawal sends
            exactly what is asked or reverts.
         2. The asset has 2 to 18 decimals, does not rebase, and delivers what is transferred (checked on entry).
         3. The value of the house is the ledger's and the markets' word. Tokens sent here belong to no share and to no
            request; cash that strangers deposit for the house belongs to all shares.
         4. Who knows prices early gains nothing: what he asks is priced an hour (a day) later and after a later round of
            every market with a skew (A16), less the spread within which the true price may lie meanwhile. A trade moves
            the value by its fee only, since the premium that it paid is owed to whoever closes (A6).
         Warning: nothing here ends a request but its fulfilment. See `ILiquidityVault`.
@custom:invariant I01 I02 I03 I06 I10 I26
@custom:kill  A deposit cap of zero stops entry. Redemptions and claims go on.
"""

from ethereum.ercs import IERC165
implements: IERC165
from ethereum.ercs import IERC20
implements: IERC20
from ethereum.ercs import IERC20Detailed
implements: IERC20Detailed
# Every function of it is here, but not in a shape that the compiler would recognise: two have a third argument, which
# may be left out.
from ethereum.ercs import IERC4626
from snekmate.tokens.interfaces import IERC20Permit
implements: IERC20Permit

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILiquidityVault
implements: ILiquidityVault
from contracts.interfaces import IPerps

from snekmate.auth import ownable
initializes: ownable
from snekmate.auth import ownable_2step
initializes: ownable_2step[ownable := ownable]
from snekmate.tokens import erc20
initializes: erc20[ownable := ownable]

from contracts.modules import house_worth
initializes: house_worth
from contracts.modules import packing
from contracts.modules import reasons
from contracts.modules import requests
initializes: requests
from contracts.modules import safe_token
from contracts.modules import share_math

exports: (
    # ownership in two steps, without a way to renounce it
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    # the share token
    erc20.name,
    erc20.symbol,
    erc20.decimals,
    erc20.totalSupply,
    erc20.balanceOf,
    erc20.allowance,
    erc20.transfer,
    erc20.transferFrom,
    erc20.approve,
    erc20.permit,
    erc20.nonces,
    erc20.DOMAIN_SEPARATOR,
    erc20.eip712Domain,
    # how much may be asked, and when it is fulfilled
    requests.deposit_cap,
    requests.DEPOSIT_EPOCH_S,
    requests.REDEEM_EPOCH_S,
    requests.DEPOSIT_DELAY_S,
    requests.REDEEM_DELAY_S,
    # the house
    house_worth.CLEARINGHOUSE,
    house_worth.PERPS,
    house_worth.HOUSE,
    house_worth.bad_debt_of,
    house_worth.bad_debt_wad,
)


QUOTE_ASSET: constant(uint256) = 0

# ERC-165; ERC-7540: operators, deposits, redemptions; ERC-7575 and its five parts: vault, deposit, mint, redeem,
# withdraw.
INTERFACES: constant(bytes4[10]) = [
    0x01ffc9a7,
    0xe3bc4e65,
    0xce3bbe50,
    0x620ee8e4,
    0x2f0a18c5,
    0x50a526d6,
    0xc1f329ef,
    0xe1550342,
    0x2fd7d42a,
    0x70dec094,
]

SHARE: immutable(address)
ASSET: immutable(IERC20)

# Who may act for whom, by controller and operator.
isOperator: public(HashMap[address, HashMap[address, bool]])


@deploy
def __init__(
    asset_: address,
    name_: String[25],
    symbol_: String[5],
    clearinghouse: address,
    perps: address,
    owner_: address,
    deposit_cap_: uint256,
):
    """
    @param asset_ The quote token.
    @param name_ Name of the share token, also in its EIP-712 domain.
    @param symbol_ Symbol of the share token.
    @param clearinghouse The ledger; its address may be a predicted one.
    @param perps The markets; their address may be a predicted one.
    @param owner_ Who sets the deposit cap.
    @param deposit_cap_ Asset units above which nobody may ask to enter.
    """
    decimals: uint8 = staticcall IERC20Detailed(asset_).decimals()
    self._require_decimals(decimals)
    self._require_receiver(clearinghouse)
    self._require_receiver(perps)
    SHARE = self
    ASSET = IERC20(asset_)
    house_worth.__init__(clearinghouse, perps, 10 ** convert(share_math.MAX_DECIMALS - decimals, uint256))

    ownable.__init__()
    ownable_2step.__init__()
    erc20.__init__(name_, symbol_, decimals + share_math.DECIMALS_OFFSET, name_, "1")
    ownable_2step._transfer_ownership(owner_)
    requests._set_deposit_cap(deposit_cap_)


################################################################
#                           REQUESTS                           #
################################################################


@external
def requestDeposit(assets: uint256, controller: address, owner: address) -> uint256:
    """
    @notice Takes `assets` and gathers them in the present epoch.
    @dev    Everything is written before the token is called.
    """
    house_worth._check_clearinghouse_idle()
    self._check_acts_for(owner)
    self._check_may_ask(controller, owner)
    self._require_nonzero(assets)
    worth: house_worth.Worth = house_worth._worth()
    house_worth._check_entry(worth, erc20.totalSupply)
    requests._check_room(house_worth._to_units_down(worth.value), assets)
    epoch: uint256 = requests._ask_deposit(controller, assets)
    log ILiquidityVault.DepositRequest(
        controller=controller, owner=owner, requestId=epoch, sender=msg.sender, assets=assets
    )
    safe_token._pull(ASSET, owner, assets)
    return epoch


@external
def requestRedeem(shares: uint256, controller: address, owner: address) -> uint256:
    """@notice Locks `shares` and gathers them in the present epoch."""
    house_worth._check_clearinghouse_idle()
    if msg.sender != owner and not self.isOperator[owner][msg.sender]:
        erc20._spend_allowance(owner, msg.sender, shares)
    self._check_may_ask(controller, owner)
    self._require_nonzero(shares)
    epoch: uint256 = requests._ask_redemption(controller, shares)
    erc20._transfer(owner, self, shares)
    log ILiquidityVault.RedeemRequest(
        controller=controller, owner=owner, requestId=epoch, sender=msg.sender, shares=shares
    )
    return epoch


@external
def setOperator(operator: address, approved: bool) -> bool:
    """@notice Appoints or dismisses an operator of the caller."""
    self.isOperator[msg.sender][operator] = approved
    log ILiquidityVault.OperatorSet(controller=msg.sender, operator=operator, approved=approved)
    return True


################################################################
#                            CLAIMS                            #
################################################################


@external
def deposit(assets: uint256, receiver: address, controller: address = msg.sender) -> uint256:
    """@notice Claims shares for exactly `assets`."""
    self._check_claim(controller, receiver, assets)
    shares: uint256 = requests._claim_for(requests.DEPOSIT, controller, assets)
    self._send_shares(controller, receiver, assets, shares)
    return shares


@external
def mint(shares: uint256, receiver: address, controller: address = msg.sender) -> uint256:
    """@notice Claims exactly `shares`."""
    self._check_claim(controller, receiver, shares)
    assets: uint256 = requests._claim_exactly(requests.DEPOSIT, controller, shares)
    self._send_shares(controller, receiver, assets, shares)
    return assets


@external
def withdraw(assets: uint256, receiver: address, controller: address) -> uint256:
    """@notice Claims exactly `assets`."""
    self._check_claim(controller, receiver, assets)
    shares: uint256 = requests._claim_exactly(requests.REDEEM, controller, assets)
    self._send_assets(controller, receiver, assets, shares)
    return shares


@external
def redeem(shares: uint256, receiver: address, controller: address) -> uint256:
    """@notice Claims assets for exactly `shares`."""
    self._check_claim(controller, receiver, shares)
    assets: uint256 = requests._claim_for(requests.REDEEM, controller, shares)
    self._send_assets(controller, receiver, assets, shares)
    return assets


################################################################
#                            ANYONE                            #
################################################################


@external
def fulfil_deposits(epoch: uint256) -> uint256:
    """
    @notice Prices all deposits of an epoch at the entry price.
    @dev    The refresh comes last: only then is the cash there that backs new positions.
    """
    house_worth._check_clearinghouse_idle()
    assets: uint256 = requests._ready_deposits(epoch)
    house_worth._check_later_round(requests._deposits_end(epoch))

    supply: uint256 = erc20.totalSupply
    worth: house_worth.Worth = house_worth._worth()
    house_worth._check_entry(worth, supply)
    total: uint256 = house_worth._entry_assets_up(worth)
    shares: uint256 = share_math._to_shares_down(assets, supply, total)
    self._require_new_shares(shares, supply)

    requests._fill_deposits(epoch, assets, shares)
    erc20._mint(self, shares)
    log ILiquidityVault.DepositsFulfilled(epoch=epoch, assets=assets, shares=shares, total_assets=total)
    safe_token._require_approved(ASSET, house_worth.CLEARINGHOUSE, assets)
    extcall IClearinghouse(house_worth.CLEARINGHOUSE).deposit(house_worth.HOUSE, QUOTE_ASSET, assets)
    extcall IPerps(house_worth.PERPS).refresh()
    return shares


@external
def fulfil_redemptions(epoch: uint256) -> uint256:
    """
    @notice Pays the redemptions of the oldest epoch at the exit price, as far as free cash reaches.
    @dev    shares burnt = ceil(cash (supply + VS) / (total + 1)) is at most what waits: the cash is at least one unit
            below floor(waiting (total + 1) / (supply + VS)). What is worth less than a unit is burnt for nothing, or
            one share unit could hold up the queue.
    """
    house_worth._check_clearinghouse_idle()
    waiting: uint256 = requests._ready_redemptions(epoch)
    extcall IPerps(house_worth.PERPS).refresh()
    house_worth._check_later_round(requests._redemptions_end(epoch))

    supply: uint256 = erc20.totalSupply
    total: uint256 = house_worth._exit_assets_down(house_worth._worth())
    self._check_exit_price(total)
    assets: uint256 = share_math._to_assets_down(waiting, supply, total)
    shares: uint256 = waiting
    free: uint256 = house_worth._free_assets_down()
    if assets > free:
        self._check_free(free)
        assets = free
        shares = share_math._to_shares_up(free, supply, total)

    requests._fill_redemptions(epoch, shares, assets)
    erc20._burn(self, shares)
    log ILiquidityVault.RedemptionsFulfilled(
        epoch=epoch, shares=shares, assets=assets, total_assets=total, waiting=waiting - shares
    )
    if assets != 0:
        extcall IClearinghouse(house_worth.CLEARINGHOUSE).withdraw(house_worth.HOUSE, QUOTE_ASSET, assets, self)
    self._check_paid()
    extcall IPerps(house_worth.PERPS).refresh()
    return assets


@external
def flag_bad_debt(account: uint256) -> uint256:
    """@notice Records how far an account's equity is below zero, in place of what was recorded before."""
    house_worth._check_clearinghouse_idle()
    return house_worth._flag_bad_debt(account)


################################################################
#                          PARAMETERS                          #
################################################################


@external
def set_deposit_cap(deposit_cap: uint256):
    """@notice Sets the size above which nobody may ask to enter."""
    ownable._check_owner()
    requests._set_deposit_cap(deposit_cap)


################################################################
#                        ERC-7540 VIEWS                        #
################################################################


@external
@view
def pendingDepositRequest(requestId: uint256, controller: address) -> uint256:
    """@notice Assets that wait."""
    return requests._pending(requests.DEPOSIT, requestId, controller)


@external
@view
def claimableDepositRequest(requestId: uint256, controller: address) -> uint256:
    """@notice Assets whose shares can be claimed."""
    return requests._claimable_given(requests.DEPOSIT, requestId, controller)


@external
@view
def pendingRedeemRequest(requestId: uint256, controller: address) -> uint256:
    """@notice Shares that wait."""
    return requests._pending(requests.REDEEM, requestId, controller)


@external
@view
def claimableRedeemRequest(requestId: uint256, controller: address) -> uint256:
    """@notice Shares whose assets can be claimed."""
    return requests._claimable_given(requests.REDEEM, requestId, controller)


# A constant: there is no state that it could show half updated.
@external
@view
@reentrant
def share() -> address:
    """@notice This contract."""
    return SHARE


# A constant, as above.
@external
@view
@reentrant
def supportsInterface(interface_id: bytes4) -> bool:
    """@notice The interfaces that are here."""
    return interface_id in INTERFACES


################################################################
#                        ERC-4626 VIEWS                        #
################################################################


# A constant, as above.
@external
@view
@reentrant
def asset() -> address:
    """@notice The quote token."""
    return ASSET.address


@external
@view
def totalAssets() -> uint256:
    """@notice What belongs to the shares now, rounded down."""
    return house_worth._total_assets_down()


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """@notice Shares that `assets` are worth, rounded down."""
    return share_math._to_shares_down(assets, erc20.totalSupply, house_worth._total_assets_down())


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    """@notice Asset units that `shares` are worth, rounded down."""
    return share_math._to_assets_down(shares, erc20.totalSupply, house_worth._total_assets_down())


@external
@view
def maxDeposit(controller: address) -> uint256:
    """@notice Assets whose shares can be claimed now."""
    return self._max_given(requests.DEPOSIT, controller)


@external
@view
def maxMint(controller: address) -> uint256:
    """@notice Shares that can be claimed now."""
    return self._max_due(requests.DEPOSIT, controller)


@external
@view
def maxWithdraw(controller: address) -> uint256:
    """@notice Assets that can be claimed now."""
    return self._max_due(requests.REDEEM, controller)


@external
@view
def maxRedeem(controller: address) -> uint256:
    """@notice Shares whose assets can be claimed now."""
    return self._max_given(requests.REDEEM, controller)


@external
@pure
def previewDeposit(assets: uint256) -> uint256:
    """@notice Reverts."""
    return self._require_no_preview(assets)


@external
@pure
def previewMint(shares: uint256) -> uint256:
    """@notice Reverts."""
    return self._require_no_preview(shares)


@external
@pure
def previewWithdraw(assets: uint256) -> uint256:
    """@notice Reverts."""
    return self._require_no_preview(assets)


@external
@pure
def previewRedeem(shares: uint256) -> uint256:
    """@notice Reverts."""
    return self._require_no_preview(shares)


################################################################
#                          OWN VIEWS                           #
################################################################


@external
@view
def request_room() -> uint256:
    """@notice The most that may be asked to enter now."""
    if not house_worth._is_clearinghouse_idle():
        return 0
    worth: house_worth.Worth = house_worth._worth()
    if not house_worth._is_entry_open(worth, erc20.totalSupply):
        return 0
    return requests._room(house_worth._to_units_down(worth.value))


@external
@view
def entry_assets() -> uint256:
    """@notice The value that deposits would be priced at."""
    return house_worth._entry_assets_up(house_worth._worth())


@external
@view
def exit_assets() -> uint256:
    """@notice The value that redemptions would be priced at."""
    return house_worth._exit_assets_down(house_worth._worth())


@external
@view
def deposit_request_id(controller: address) -> uint256:
    """@notice Id of the newest deposit request."""
    side: requests.Side = requests._side(requests.DEPOSIT, controller)
    return side.epoch


@external
@view
def redeem_request_id(controller: address) -> uint256:
    """@notice Id of the newest redemption request."""
    side: requests.Side = requests._side(requests.REDEEM, controller)
    return side.epoch


@external
@view
def deposit_epoch(epoch: uint256) -> ILiquidityVault.DepositEpoch:
    """@notice What was asked in an epoch of deposits and what came of it."""
    return requests._deposit_epoch(epoch)


@external
@view
def redeem_epoch(epoch: uint256) -> ILiquidityVault.RedeemEpoch:
    """@notice What was asked in an epoch of redemptions and what came of it so far."""
    return requests._redeem_epoch(epoch)


@external
@view
def oldest_redemption() -> uint256:
    """@notice The epoch that is paid next."""
    return requests._oldest()


@external
@view
def escrow() -> (uint256, uint256):
    """@notice Assets that wait to enter, and those set aside for redemptions."""
    return requests._entering(), requests._set_aside()


################################################################
#                        CLAIMS, INSIDE                        #
################################################################


@internal
@view
def _max_given(side: uint256, controller: address) -> uint256:
    mine: requests.Side = requests._side(side, controller)
    if not house_worth._is_clearinghouse_idle():
        return 0
    return mine.given


@internal
@view
def _max_due(side: uint256, controller: address) -> uint256:
    mine: requests.Side = requests._side(side, controller)
    if not house_worth._is_clearinghouse_idle():
        return 0
    return mine.due


@internal
@view
def _check_claim(controller: address, receiver: address, amount: uint256):
    house_worth._check_clearinghouse_idle()
    self._check_acts_for(controller)
    self._require_receiver(receiver)
    self._require_nonzero(amount)


@internal
def _send_shares(controller: address, receiver: address, assets: uint256, shares: uint256):
    log IERC4626.Deposit(sender=controller, owner=receiver, assets=assets, shares=shares)
    erc20._transfer(self, receiver, shares)


@internal
def _send_assets(controller: address, receiver: address, assets: uint256, shares: uint256):
    requests._pay_out(assets)
    log IERC4626.Withdraw(sender=msg.sender, receiver=receiver, owner=controller, assets=assets, shares=shares)
    # Shares worth less than a unit may be the last of a request.
    if assets != 0:
        safe_token._push(ASSET, receiver, assets)


################################################################
#                            GUARDS                            #
################################################################


@internal
@view
def _check_acts_for(who: address):
    if msg.sender != who and not self.isOperator[who][msg.sender]:
        reasons._fail("liquidity: not an operator")


@internal
@view
def _check_may_ask(controller: address, owner: address):
    """@dev A controller has one unfinished request a side, so a stranger's dust would keep it from asking itself."""
    self._require_controller(controller)
    if controller != msg.sender and controller != owner and not self.isOperator[controller][msg.sender]:
        reasons._fail("liquidity: controller not yours")


@internal
@pure
def _check_exit_price(total: uint256):
    if total == 0:
        reasons._fail("liquidity: no exit price")


@internal
@pure
def _check_free(assets: uint256):
    if assets == 0:
        reasons._fail("liquidity: no free cash")


@internal
@view
def _check_paid():
    """@dev The balance is compared with what it must cover; it decides no price."""
    if staticcall ASSET.balanceOf(self) < requests._entering() + requests._set_aside():
        reasons._fail("liquidity: payment missing")


@internal
@view
def _require_receiver(receiver: address):
    if receiver == empty(address) or receiver == self:
        reasons._fail("liquidity: bad receiver")


@internal
@view
def _require_controller(controller: address):
    if controller == empty(address) or controller == self:
        reasons._fail("liquidity: bad controller")


@internal
@pure
def _require_nonzero(amount: uint256):
    if amount == 0:
        reasons._fail("liquidity: zero amount")


@internal
@pure
def _require_new_shares(shares: uint256, supply: uint256):
    if shares == 0:
        reasons._fail("liquidity: worth no share")
    if shares > packing.MASK_128 - supply:
        reasons._fail("liquidity: too many shares")


@internal
@pure
def _require_no_preview(amount: uint256) -> uint256:
    """@dev Whatever the amount; nothing is ever returned."""
    reasons._fail("liquidity: no preview")
    return amount


@internal
@pure
def _require_decimals(decimals: uint8):
    if not share_math._is_supported(decimals):
        reasons._fail("liquidity: unsupported decimals")
