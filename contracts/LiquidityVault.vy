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
         one controller gets is his part of what the epoch got, rounded down. Assumptions:
         1. CLEARINGHOUSE and PERPS are our own contracts; a deposit takes exactly what is approved, a withdrawal sends
            exactly what is asked or reverts.
         2. The asset has 2 to 18 decimals, does not rebase, and delivers what is transferred (checked on entry).
         3. The value of the house is the ledger's and the markets' word. Tokens sent here belong to no share and to no
            request; cash that strangers deposit for the house belongs to all shares.
         4. One million virtual shares stand against one virtual asset unit, so that inflating the first share costs an
            attacker a million times what a rounding can cost a provider.
         5. Who knows prices early gains nothing: what he asks is priced an hour (a day) later and after a later round of
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

from contracts.modules import reasons
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
)


# Requests of so many seconds share a price; their id is the time divided by it.
DEPOSIT_EPOCH_S: public(constant(uint256)) = 600
REDEEM_EPOCH_S: public(constant(uint256)) = 3_600
# How long after its end an epoch is fulfilled at the earliest.
DEPOSIT_DELAY_S: public(constant(uint256)) = 3_600
REDEEM_DELAY_S: public(constant(uint256)) = 86_400

# Keeps assets that wait below 2**96, far inside their half of a word.
MAX_DEPOSIT_CAP: constant(uint256) = 2**95
MASK_64: constant(uint256) = 2**64 - 1
MASK_128: constant(uint256) = 2**128 - 1

CALL_STATE_IDLE: constant(uint256) = 0
QUOTE_ASSET: constant(uint256) = 0
# An address and eight bits.
MAX_ACCOUNT: constant(uint256) = 2**168
# Where the bitmap of perpetuals begins in an asset list.
PERPETUALS_SHIFT: constant(uint256) = 136

# The two sides, keys of what is kept for both. A request *gives* assets (a deposit) or shares (a redemption) and is
# *due* the other.
DEPOSIT: constant(uint256) = 0
REDEEM: constant(uint256) = 1

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
# The WAD value of one asset unit.
UNIT_WAD: immutable(uint256)
CLEARINGHOUSE: public(immutable(address))
PERPS: public(immutable(address))
HOUSE: public(immutable(uint256))

# One controller's side.
struct Side:
    epoch: uint256  # of the newest request
    asked: uint256  # given by it; 0 once all of that is claimable
    counted_given: uint256  # of `asked`, already claimable: more than 0 between two payments of a redemption
    counted_due: uint256  # what came of that part
    claim_epoch: uint256  # the newest request that anything claimable came from
    given: uint256  # claimable
    due: uint256  # claimable


# What the house is worth, WAD.
struct Worth:
    value: int256  # equity at maintenance less premiums and flagged bad debt: total assets
    bad_debt: int256  # as flagged


# Who may act for whom, by controller and operator.
isOperator: public(HashMap[address, HashMap[address, bool]])
# Asset units above which nobody may ask to enter.
deposit_cap: public(uint256)
# Equity below zero of accounts that owe the house, as last flagged, WAD; and the sum.
bad_debt_of: public(HashMap[uint256, uint256])
bad_debt_wad: public(uint256)

# Asset units here: waiting to enter | set aside for redemptions. Never the balance. I01
_escrow: uint256
# By side and epoch: asked u128 | filled u128, both of what is given. Deposits are filled all at once.
_epochs: HashMap[uint256, HashMap[uint256, uint256]]
# By side and epoch: due u128 for what is filled | the next epoch of the queue u128, redemptions only.
_results: HashMap[uint256, HashMap[uint256, uint256]]
# Epochs of redemptions not yet paid: oldest u128, 0 when none waits | newest u128, of no meaning then.
_queue: uint256
# By side and controller: asked u128 | epoch u64 | claim_epoch u64.
_requests: HashMap[uint256, HashMap[address, uint256]]
# By side and controller: counted_given u128 | counted_due u128.
_counted: HashMap[uint256, HashMap[address, uint256]]
# By side and controller: given u128 | due u128.
_claimable: HashMap[uint256, HashMap[address, uint256]]


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
    UNIT_WAD = 10 ** convert(share_math.MAX_DECIMALS - decimals, uint256)
    CLEARINGHOUSE = clearinghouse
    PERPS = perps
    HOUSE = convert(self, uint256) << 8

    ownable.__init__()
    ownable_2step.__init__()
    erc20.__init__(name_, symbol_, decimals + share_math.DECIMALS_OFFSET, name_, "1")
    ownable_2step._transfer_ownership(owner_)
    self._set_deposit_cap(deposit_cap_)


################################################################
#                           REQUESTS                           #
################################################################


@external
def requestDeposit(assets: uint256, controller: address, owner: address) -> uint256:
    """
    @notice Takes `assets` and gathers them in the present epoch.
    @dev    Everything is written before the token is called.
    """
    self._check_clearinghouse_idle()
    self._check_acts_for(owner)
    self._check_may_ask(controller, owner)
    self._require_nonzero(assets)
    self._check_room(assets)
    epoch: uint256 = block.timestamp // DEPOSIT_EPOCH_S
    self._ask(DEPOSIT, epoch, controller, assets)
    self._escrow = self._packed(self._low(self._escrow) + assets, self._high(self._escrow))
    log ILiquidityVault.DepositRequest(
        controller=controller, owner=owner, requestId=epoch, sender=msg.sender, assets=assets
    )
    safe_token._pull(ASSET, owner, assets)
    return epoch


@external
def requestRedeem(shares: uint256, controller: address, owner: address) -> uint256:
    """
    @notice Locks `shares` and gathers them in the present epoch.
    """
    self._check_clearinghouse_idle()
    if msg.sender != owner and not self.isOperator[owner][msg.sender]:
        erc20._spend_allowance(owner, msg.sender, shares)
    self._check_may_ask(controller, owner)
    self._require_nonzero(shares)
    epoch: uint256 = block.timestamp // REDEEM_EPOCH_S
    if self._epochs[REDEEM][epoch] == 0:
        self._enqueue(epoch)
    self._ask(REDEEM, epoch, controller, shares)
    erc20._transfer(owner, self, shares)
    log ILiquidityVault.RedeemRequest(
        controller=controller, owner=owner, requestId=epoch, sender=msg.sender, shares=shares
    )
    return epoch


@external
def setOperator(operator: address, approved: bool) -> bool:
    """
    @notice Appoints or dismisses an operator of the caller.
    """
    self.isOperator[msg.sender][operator] = approved
    log ILiquidityVault.OperatorSet(controller=msg.sender, operator=operator, approved=approved)
    return True


################################################################
#                            CLAIMS                            #
################################################################


@external
def deposit(assets: uint256, receiver: address, controller: address = msg.sender) -> uint256:
    """
    @notice Claims shares for exactly `assets`.
    """
    shares: uint256 = self._claim_for(DEPOSIT, controller, receiver, assets)
    self._send_shares(controller, receiver, assets, shares)
    return shares


@external
def mint(shares: uint256, receiver: address, controller: address = msg.sender) -> uint256:
    """
    @notice Claims exactly `shares`.
    """
    assets: uint256 = self._claim_exactly(DEPOSIT, controller, receiver, shares)
    self._send_shares(controller, receiver, assets, shares)
    return assets


@external
def withdraw(assets: uint256, receiver: address, controller: address) -> uint256:
    """
    @notice Claims exactly `assets`.
    """
    shares: uint256 = self._claim_exactly(REDEEM, controller, receiver, assets)
    self._send_assets(controller, receiver, assets, shares)
    return shares


@external
def redeem(shares: uint256, receiver: address, controller: address) -> uint256:
    """
    @notice Claims assets for exactly `shares`.
    """
    assets: uint256 = self._claim_for(REDEEM, controller, receiver, shares)
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
    self._check_clearinghouse_idle()
    word: uint256 = self._epochs[DEPOSIT][epoch]
    assets: uint256 = self._low(word)
    self._check_waiting(word)
    end: uint256 = (epoch + 1) * DEPOSIT_EPOCH_S
    self._check_ready(end + DEPOSIT_DELAY_S)
    self._check_later_round(end)

    supply: uint256 = erc20.totalSupply
    worth: Worth = self._worth()
    self._check_entry(worth, supply)
    total: uint256 = self._entry_assets_up(worth)
    shares: uint256 = share_math._to_shares_down(assets, supply, total)
    self._require_new_shares(shares, supply)

    self._epochs[DEPOSIT][epoch] = self._packed(assets, assets)
    self._results[DEPOSIT][epoch] = shares
    self._escrow = self._packed(self._low(self._escrow) - assets, self._high(self._escrow))
    erc20._mint(self, shares)
    log ILiquidityVault.DepositsFulfilled(epoch=epoch, assets=assets, shares=shares, total_assets=total)
    safe_token._require_approved(ASSET, CLEARINGHOUSE, assets)
    extcall IClearinghouse(CLEARINGHOUSE).deposit(HOUSE, QUOTE_ASSET, assets)
    extcall IPerps(PERPS).refresh()
    return shares


@external
def fulfil_redemptions(epoch: uint256) -> uint256:
    """
    @notice Pays the redemptions of the oldest epoch at the exit price, as far as free cash reaches.
    @dev    shares burnt = ceil(cash (supply + VS) / (total + 1)) is at most what waits: the cash is at least one unit
            below floor(waiting (total + 1) / (supply + VS)). What is worth less than a unit is burnt for nothing, or
            one share unit could hold up the queue.
    """
    self._check_clearinghouse_idle()
    word: uint256 = self._epochs[REDEEM][epoch]
    waiting: uint256 = self._low(word) - self._high(word)
    self._check_waiting(word)
    end: uint256 = (epoch + 1) * REDEEM_EPOCH_S
    self._check_ready(end + REDEEM_DELAY_S)
    self._check_oldest(epoch)
    extcall IPerps(PERPS).refresh()
    self._check_later_round(end)

    supply: uint256 = erc20.totalSupply
    total: uint256 = self._exit_assets_down(self._worth())
    self._check_exit_price(total)
    assets: uint256 = share_math._to_assets_down(waiting, supply, total)
    shares: uint256 = waiting
    free: uint256 = self._free_assets_down()
    if assets > free:
        self._check_free(free)
        assets = free
        shares = share_math._to_shares_up(free, supply, total)

    self._epochs[REDEEM][epoch] = self._packed(self._low(word), self._high(word) + shares)
    # What an epoch is paid was cash of one account, below 2**120: no carry into the upper half.
    self._results[REDEEM][epoch] += assets
    if shares == waiting:
        self._dequeue(epoch)
    self._escrow = self._packed(self._low(self._escrow), self._high(self._escrow) + assets)
    erc20._burn(self, shares)
    log ILiquidityVault.RedemptionsFulfilled(
        epoch=epoch, shares=shares, assets=assets, total_assets=total, waiting=waiting - shares
    )
    if assets != 0:
        extcall IClearinghouse(CLEARINGHOUSE).withdraw(HOUSE, QUOTE_ASSET, assets, self)
    self._check_paid()
    extcall IPerps(PERPS).refresh()
    return assets


@external
def flag_bad_debt(account: uint256) -> uint256:
    """
    @notice Records how far an account's equity is below zero, in place of what was recorded before.
    """
    self._check_clearinghouse_idle()
    old: uint256 = self.bad_debt_of[account]
    self._check_may_flag(account, old)
    new: uint256 = convert(max(-self._equity(account), 0), uint256)
    total: uint256 = self.bad_debt_wad - old + new
    self.bad_debt_of[account] = new
    self.bad_debt_wad = total
    log ILiquidityVault.BadDebtFlagged(account=account, old_wad=old, new_wad=new, total_wad=total)
    return new


################################################################
#                          PARAMETERS                          #
################################################################


@external
def set_deposit_cap(deposit_cap: uint256):
    """
    @notice Sets the size above which nobody may ask to enter.
    """
    ownable._check_owner()
    self._set_deposit_cap(deposit_cap)


################################################################
#                        ERC-7540 VIEWS                        #
################################################################


@external
@view
def pendingDepositRequest(requestId: uint256, controller: address) -> uint256:
    """
    @notice Assets that wait.
    """
    return self._pending(DEPOSIT, requestId, controller)


@external
@view
def claimableDepositRequest(requestId: uint256, controller: address) -> uint256:
    """
    @notice Assets whose shares can be claimed.
    """
    return self._claimable_given(DEPOSIT, requestId, controller)


@external
@view
def pendingRedeemRequest(requestId: uint256, controller: address) -> uint256:
    """
    @notice Shares that wait.
    """
    return self._pending(REDEEM, requestId, controller)


@external
@view
def claimableRedeemRequest(requestId: uint256, controller: address) -> uint256:
    """
    @notice Shares whose assets can be claimed.
    """
    return self._claimable_given(REDEEM, requestId, controller)


# A constant: there is no state that it could show half updated.
@external
@view
@reentrant
def share() -> address:
    """
    @notice This contract.
    """
    return SHARE


# A constant, as above.
@external
@view
@reentrant
def supportsInterface(interface_id: bytes4) -> bool:
    """
    @notice The interfaces that are here.
    """
    return interface_id in INTERFACES


################################################################
#                        ERC-4626 VIEWS                        #
################################################################


# A constant, as above.
@external
@view
@reentrant
def asset() -> address:
    """
    @notice The quote token.
    """
    return ASSET.address


@external
@view
def totalAssets() -> uint256:
    """
    @notice What belongs to the shares now, rounded down.
    """
    return self._total_assets_down()


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """
    @notice Shares that `assets` are worth, rounded down.
    """
    return share_math._to_shares_down(assets, erc20.totalSupply, self._total_assets_down())


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    """
    @notice Asset units that `shares` are worth, rounded down.
    """
    return share_math._to_assets_down(shares, erc20.totalSupply, self._total_assets_down())


@external
@view
def maxDeposit(controller: address) -> uint256:
    """
    @notice Assets whose shares can be claimed now.
    """
    return self._max_given(DEPOSIT, controller)


@external
@view
def maxMint(controller: address) -> uint256:
    """
    @notice Shares that can be claimed now.
    """
    return self._max_due(DEPOSIT, controller)


@external
@view
def maxWithdraw(controller: address) -> uint256:
    """
    @notice Assets that can be claimed now.
    """
    return self._max_due(REDEEM, controller)


@external
@view
def maxRedeem(controller: address) -> uint256:
    """
    @notice Shares whose assets can be claimed now.
    """
    return self._max_given(REDEEM, controller)


@external
@pure
def previewDeposit(assets: uint256) -> uint256:
    """
    @notice Reverts.
    """
    return self._require_no_preview(assets)


@external
@pure
def previewMint(shares: uint256) -> uint256:
    """
    @notice Reverts.
    """
    return self._require_no_preview(shares)


@external
@pure
def previewWithdraw(assets: uint256) -> uint256:
    """
    @notice Reverts.
    """
    return self._require_no_preview(assets)


@external
@pure
def previewRedeem(shares: uint256) -> uint256:
    """
    @notice Reverts.
    """
    return self._require_no_preview(shares)


################################################################
#                          OWN VIEWS                           #
################################################################


@external
@view
def request_room() -> uint256:
    """
    @notice The most that may be asked to enter now.
    """
    if not self._is_clearinghouse_idle():
        return 0
    worth: Worth = self._worth()
    if not self._is_entry_open(worth, erc20.totalSupply):
        return 0
    return self._room(worth)


@external
@view
def entry_assets() -> uint256:
    """
    @notice The value that deposits would be priced at.
    """
    return self._entry_assets_up(self._worth())


@external
@view
def exit_assets() -> uint256:
    """
    @notice The value that redemptions would be priced at.
    """
    return self._exit_assets_down(self._worth())


@external
@view
def deposit_request_id(controller: address) -> uint256:
    """
    @notice Id of the newest deposit request.
    """
    side: Side = self._side(DEPOSIT, controller)
    return side.epoch


@external
@view
def redeem_request_id(controller: address) -> uint256:
    """
    @notice Id of the newest redemption request.
    """
    side: Side = self._side(REDEEM, controller)
    return side.epoch


@external
@view
def deposit_epoch(epoch: uint256) -> ILiquidityVault.DepositEpoch:
    """
    @notice What was asked in an epoch of deposits and what came of it.
    """
    word: uint256 = self._epochs[DEPOSIT][epoch]
    if word == 0:
        return empty(ILiquidityVault.DepositEpoch)
    return ILiquidityVault.DepositEpoch(
        assets=self._low(word),
        shares=self._results[DEPOSIT][epoch],
        ready_at=(epoch + 1) * DEPOSIT_EPOCH_S + DEPOSIT_DELAY_S,
    )


@external
@view
def redeem_epoch(epoch: uint256) -> ILiquidityVault.RedeemEpoch:
    """
    @notice What was asked in an epoch of redemptions and what came of it so far.
    """
    word: uint256 = self._epochs[REDEEM][epoch]
    if word == 0:
        return empty(ILiquidityVault.RedeemEpoch)
    return ILiquidityVault.RedeemEpoch(
        shares=self._low(word),
        filled=self._high(word),
        assets=self._low(self._results[REDEEM][epoch]),
        ready_at=(epoch + 1) * REDEEM_EPOCH_S + REDEEM_DELAY_S,
    )


@external
@view
def oldest_redemption() -> uint256:
    """
    @notice The epoch that is paid next.
    """
    return self._low(self._queue)


@external
@view
def escrow() -> (uint256, uint256):
    """
    @notice Assets that wait to enter, and those set aside for redemptions.
    """
    return self._low(self._escrow), self._high(self._escrow)


################################################################
#                       REQUESTS, INSIDE                       #
################################################################


@internal
def _ask(side: uint256, epoch: uint256, controller: address, amount: uint256):
    """
    @notice Adds `amount` to the controller's request of the present epoch; what is finished becomes claimable first.
    """
    mine: Side = self._side(side, controller)
    self._check_no_older(mine, epoch)
    mine.epoch = epoch
    mine.asked += amount
    self._store_side(side, controller, mine)
    # Nothing of the present epoch is filled.
    self._epochs[side][epoch] = self._packed(self._low(self._epochs[side][epoch]) + amount, 0)


@internal
@view
def _side(side: uint256, controller: address) -> Side:
    """
    @notice A controller's side with everything claimable that its epoch has come to.
    @dev    His part of what the epoch was filled and paid in all, each rounded down, less what was counted before. So
            the parts never add up to more than the epoch got, however many payments there were. The products are of
            halves of words.
    """
    request: uint256 = self._requests[side][controller]
    claimable: uint256 = self._claimable[side][controller]
    mine: Side = Side(
        epoch=(request >> 128) & MASK_64,
        asked=self._low(request),
        counted_given=0,
        counted_due=0,
        claim_epoch=request >> 192,
        given=self._low(claimable),
        due=self._high(claimable),
    )
    if mine.asked == 0:
        return mine
    all_asked: uint256 = self._low(self._epochs[side][mine.epoch])
    all_filled: uint256 = self._high(self._epochs[side][mine.epoch])
    if all_filled == 0:
        return mine
    counted: uint256 = self._counted[side][controller]
    mine.counted_given = mine.asked * all_filled // all_asked
    mine.counted_due = mine.asked * self._low(self._results[side][mine.epoch]) // all_asked
    mine.claim_epoch = mine.epoch
    mine.given += mine.counted_given - self._low(counted)
    mine.due += mine.counted_due - self._high(counted)
    if all_filled == all_asked:
        mine.asked = 0
        mine.counted_given = 0
        mine.counted_due = 0
    return mine


@internal
def _store_side(side: uint256, controller: address, mine: Side):
    """
    @dev Epochs are times in seconds divided, and fit. What is claimable was assets or shares of the vault, of which
         there are never 2**128.
    """
    self._requests[side][controller] = mine.asked | (mine.epoch << 128) | (mine.claim_epoch << 192)
    self._counted[side][controller] = self._packed(mine.counted_given, mine.counted_due)
    self._claimable[side][controller] = self._packed(mine.given, mine.due)


@internal
def _enqueue(epoch: uint256):
    oldest: uint256 = self._low(self._queue)
    newest: uint256 = self._high(self._queue)
    if oldest == 0:
        oldest = epoch
    else:
        self._results[REDEEM][newest] |= epoch << 128
    self._queue = self._packed(oldest, epoch)


@internal
def _dequeue(epoch: uint256):
    """
    @dev Only of the oldest; 0 comes after the newest.
    """
    self._queue = self._packed(self._high(self._results[REDEEM][epoch]), self._high(self._queue))


@internal
@view
def _pending(side: uint256, epoch: uint256, controller: address) -> uint256:
    mine: Side = self._side(side, controller)
    if mine.epoch != epoch:
        return 0
    return mine.asked - mine.counted_given


@internal
@view
def _claimable_given(side: uint256, epoch: uint256, controller: address) -> uint256:
    mine: Side = self._side(side, controller)
    if mine.claim_epoch != epoch:
        return 0
    return mine.given


@internal
@view
def _max_given(side: uint256, controller: address) -> uint256:
    mine: Side = self._side(side, controller)
    if not self._is_clearinghouse_idle():
        return 0
    return mine.given


@internal
@view
def _max_due(side: uint256, controller: address) -> uint256:
    mine: Side = self._side(side, controller)
    if not self._is_clearinghouse_idle():
        return 0
    return mine.due


################################################################
#                        CLAIMS, INSIDE                        #
################################################################


@internal
def _claim_for(side: uint256, controller: address, receiver: address, given: uint256) -> uint256:
    """
    @notice Uses up exactly `given`; returns what is due for it, rounded down. The last of it takes all that is due.
    """
    mine: Side = self._open_claim(side, controller, receiver, given)
    self._require_claimable(given, mine.given)
    due: uint256 = mine.due * given // mine.given
    mine.given -= given
    mine.due -= due
    self._store_side(side, controller, mine)
    return due


@internal
def _claim_exactly(side: uint256, controller: address, receiver: address, due: uint256) -> uint256:
    """
    @notice Takes exactly `due`; returns what is used up for it, rounded up. The last of it uses up all.
    """
    mine: Side = self._open_claim(side, controller, receiver, due)
    self._require_claimable(due, mine.due)
    given: uint256 = (mine.given * due + mine.due - 1) // mine.due
    mine.given -= given
    mine.due -= due
    self._store_side(side, controller, mine)
    return given


@internal
@view
def _open_claim(side: uint256, controller: address, receiver: address, amount: uint256) -> Side:
    self._check_clearinghouse_idle()
    self._check_acts_for(controller)
    self._require_receiver(receiver)
    self._require_nonzero(amount)
    return self._side(side, controller)


@internal
def _send_shares(controller: address, receiver: address, assets: uint256, shares: uint256):
    log IERC4626.Deposit(sender=controller, owner=receiver, assets=assets, shares=shares)
    erc20._transfer(self, receiver, shares)


@internal
def _send_assets(controller: address, receiver: address, assets: uint256, shares: uint256):
    self._escrow = self._packed(self._low(self._escrow), self._high(self._escrow) - assets)
    log IERC4626.Withdraw(sender=msg.sender, receiver=receiver, owner=controller, assets=assets, shares=shares)
    # Shares worth less than a unit may be the last of a request.
    if assets != 0:
        safe_token._push(ASSET, receiver, assets)


################################################################
#                            VALUE                             #
################################################################


@internal
@view
def _worth() -> Worth:
    """
    @notice The house at the newest prices; nothing before there is a house.
    """
    if not (CLEARINGHOUSE.is_contract and PERPS.is_contract):
        return empty(Worth)
    charge: int256 = convert(staticcall IPerps(PERPS).skew_charge_wad(), int256)
    bad_debt: int256 = convert(self.bad_debt_wad, int256)
    return Worth(value=self._equity(HOUSE) - charge - bad_debt, bad_debt=bad_debt)


@internal
@view
def _equity(account: uint256) -> int256:
    """
    @dev At maintenance: unsettled results count in full, on both sides.
    """
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity: int256 = 0
    required: uint256 = 0
    equity_init, required_init, equity, required = staticcall IClearinghouse(CLEARINGHOUSE).assess(account)
    return equity


@internal
@view
def _total_assets_down() -> uint256:
    worth: Worth = self._worth()
    return self._to_units_down(worth.value)


@internal
@view
def _entry_assets_up(worth: Worth) -> uint256:
    """
    @notice The most that the house may be worth: who enters pays for debts that may still be paid.
    """
    return self._to_units_up(worth.value + worth.bad_debt + self._uncertainty())


@internal
@view
def _exit_assets_down(worth: Worth) -> uint256:
    """
    @notice The least that the house may be worth.
    """
    return self._to_units_down(worth.value - self._uncertainty())


@internal
@view
def _uncertainty() -> int256:
    if not PERPS.is_contract:
        return 0
    return convert(staticcall IPerps(PERPS).uncertainty_wad(), int256)


@internal
@view
def _free_assets_down() -> uint256:
    """
    @notice What the house can pay: cash, and no more than backs nothing.
    @dev    The house never owes (I19), so its word is its cash.
    """
    word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).account_word(HOUSE)
    cash: uint256 = self._to_units_down(convert(word, int256))
    free_wad: uint256 = staticcall IPerps(PERPS).free_wad()
    return min(cash, free_wad // UNIT_WAD)


@internal
@view
def _room(worth: Worth) -> uint256:
    """
    @notice What still fits under the cap beside what is in and what waits to enter.
    """
    cap: uint256 = self.deposit_cap
    taken: uint256 = self._to_units_down(worth.value) + self._low(self._escrow)
    if taken >= cap:
        return 0
    return cap - taken


@internal
@view
def _is_entry_open(worth: Worth, supply: uint256) -> bool:
    """
    @notice Whether new shares have a price that is fair to both sides: a house with shares is worth something; one
            without owes nothing. The value is at most the equity, so this bars entry whenever the equity would.
    """
    if supply == 0:
        return worth.value >= 0
    return worth.value > 0


@internal
def _set_deposit_cap(new: uint256):
    self._require_deposit_cap(new)
    log ILiquidityVault.DepositCapChanged(old=self.deposit_cap, new=new)
    self.deposit_cap = new


################################################################
#                         CONVERSIONS                          #
################################################################


@internal
@view
def _to_units_down(value_wad: int256) -> uint256:
    """
    @dev Nothing for what is below zero.
    """
    return convert(max(value_wad, 0), uint256) // UNIT_WAD


@internal
@view
def _to_units_up(value_wad: int256) -> uint256:
    return (convert(max(value_wad, 0), uint256) + UNIT_WAD - 1) // UNIT_WAD


# Two halves of a word.


@internal
@pure
def _low(word: uint256) -> uint256:
    return word & MASK_128


@internal
@pure
def _high(word: uint256) -> uint256:
    return word >> 128


@internal
@pure
def _packed(low: uint256, high: uint256) -> uint256:
    # Both at once.
    self._require_fits(low | high)
    return low | (high << 128)


################################################################
#                            GUARDS                            #
################################################################


@internal
@view
def _check_clearinghouse_idle():
    if staticcall IClearinghouse(CLEARINGHOUSE).call_state() != CALL_STATE_IDLE:
        reasons._fail("liquidity: clearinghouse busy")


@internal
@view
def _is_clearinghouse_idle() -> bool:
    """
    @dev The clearing house may be deployed after the vault; a limit of nothing is the truth until then.
    """
    if not CLEARINGHOUSE.is_contract:
        return False
    return staticcall IClearinghouse(CLEARINGHOUSE).call_state() == CALL_STATE_IDLE


@internal
@view
def _check_acts_for(who: address):
    if msg.sender != who and not self.isOperator[who][msg.sender]:
        reasons._fail("liquidity: not an operator")


@internal
@view
def _check_may_ask(controller: address, owner: address):
    """
    @dev A controller has one unfinished request a side, so a stranger's dust would keep it from asking itself.
    """
    self._require_controller(controller)
    if controller != msg.sender and controller != owner and not self.isOperator[controller][msg.sender]:
        reasons._fail("liquidity: controller not yours")


@internal
@view
def _check_no_older(mine: Side, epoch: uint256):
    if mine.asked != 0 and mine.epoch != epoch:
        reasons._fail("liquidity: older request waits")


@internal
@view
def _check_room(assets: uint256):
    worth: Worth = self._worth()
    self._check_entry(worth, erc20.totalSupply)
    if assets > self._room(worth):
        reasons._fail("liquidity: deposit cap")


@internal
@view
def _check_entry(worth: Worth, supply: uint256):
    if not self._is_entry_open(worth, supply):
        reasons._fail("liquidity: entry is closed")


@internal
@pure
def _check_waiting(epoch_word: uint256):
    if self._low(epoch_word) == self._high(epoch_word):
        reasons._fail("liquidity: nothing waits")


@internal
@view
def _check_ready(ready_at: uint256):
    if block.timestamp < ready_at:
        reasons._fail("liquidity: too early")


@internal
@view
def _check_oldest(epoch: uint256):
    if self._low(self._queue) != epoch:
        reasons._fail("liquidity: older epoch first")


@internal
@view
def _check_later_round(end: uint256):
    """
    @dev A stale market answers 0.
    """
    if staticcall IPerps(PERPS).oldest_round_at() <= end:
        reasons._fail("liquidity: no later round")


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
    """
    @dev The balance is compared with what it must cover; it decides no price.
    """
    if staticcall ASSET.balanceOf(self) < self._low(self._escrow) + self._high(self._escrow):
        reasons._fail("liquidity: payment missing")


@internal
@view
def _check_may_flag(account: uint256, recorded: uint256):
    if account == HOUSE:
        reasons._fail("liquidity: house is not flagged")
    listed: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).listed_word(account)
    # One name for an account: with more bits another number could mean the same positions, and count them again.
    if account >= MAX_ACCOUNT or (recorded == 0 and listed >> PERPETUALS_SHIFT == 0):
        reasons._fail("liquidity: no perpetual")


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
def _require_claimable(amount: uint256, claimable: uint256):
    if amount > claimable:
        reasons._fail("liquidity: more than claimable")


@internal
@pure
def _require_new_shares(shares: uint256, supply: uint256):
    if shares == 0:
        reasons._fail("liquidity: worth no share")
    if shares > MASK_128 - supply:
        reasons._fail("liquidity: too many shares")


@internal
@pure
def _require_fits(halves: uint256):
    if halves > MASK_128:
        reasons._fail("liquidity: amount too large")


@internal
@pure
def _require_no_preview(amount: uint256) -> uint256:
    """
    @dev Whatever the amount; nothing is ever returned.
    """
    reasons._fail("liquidity: no preview")
    return amount


@internal
@pure
def _require_decimals(decimals: uint8):
    if not share_math._is_supported(decimals):
        reasons._fail("liquidity: unsupported decimals")


@internal
@pure
def _require_deposit_cap(deposit_cap: uint256):
    if deposit_cap > MAX_DEPOSIT_CAP:
        reasons._fail("liquidity: cap too high")
