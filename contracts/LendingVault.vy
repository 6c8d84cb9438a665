# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Lending Vault
@license MIT
@author  Ballast contributors
@notice  Lenders deposit the quote token and get shares; the clearing house borrows it for its accounts and pays a rate
         that rises with use. Interest belongs to the shares, less a part that is set aside for the insurance fund.
@dev     An ERC-4626 vault with one borrower. A debt that nobody will pay is written off against all shares at once;
         while one is known and not yet written off, the liquidator holds exits, so that nobody leaves it to the others.
         Rooms: `share_math` the price of a share, `lending_book` what is booked and its interest, `loans` debts,
         `lending_terms` what the owner set. Assumptions:
         1. The asset has 2 to 18 decimals, does not rebase, and delivers what is transferred (checked on entry).
         2. CLEARINGHOUSE is our own contract; it repays before it calls `repay` and keeps the loan shares it was given.
         3. Prices of shares come from stored figures alone. Tokens sent here without a deposit belong to no share.
         4. LIQUIDATOR is our own contract: it writes off only what was owed by somebody who has nothing left, and holds
            exits for a loss only, and not again and again.
         Warning: reserves lie in the idle balance until they are swept; they are in no share's price, yet they may be
         lent and may pay a withdrawal.
@custom:invariant I01 I03 I06 I10 I35
@custom:kill  A deposit cap of zero stops entry. Repayments and sweeping go on; so do withdrawals, except while the
              liquidator holds them, an hour at most from each time it says so.
"""

from ethereum.ercs import IERC20
implements: IERC20
from ethereum.ercs import IERC20Detailed
implements: IERC20Detailed
from ethereum.ercs import IERC4626
implements: IERC4626
from snekmate.tokens.interfaces import IERC20Permit
implements: IERC20Permit

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILendingVault
implements: ILendingVault

from snekmate.auth import ownable
initializes: ownable
from snekmate.auth import ownable_2step
initializes: ownable_2step[ownable := ownable]
from snekmate.tokens import erc20
initializes: erc20[ownable := ownable]

from contracts.modules import fixed_point
from contracts.modules import lending_book
from contracts.modules import lending_state
from contracts.modules import lending_terms
from contracts.modules import loans
from contracts.modules import outflows
from contracts.modules import safe_token
from contracts.modules import share_math

initializes: lending_terms
initializes: lending_book[lending_terms := lending_terms]
initializes: loans[lending_book := lending_book, lending_terms := lending_terms]

exports: (
    # ownership in two steps, without a way to renounce it
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    # the share token; its supply is kept here
    erc20.name,
    erc20.symbol,
    erc20.decimals,
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


CALL_STATE_IDLE: constant(uint256) = 0

CLEARINGHOUSE: public(immutable(address))
LIQUIDATOR: public(immutable(address))

# Who gets reserves and donations; never zero, never the vault.
insurance_receiver: public(address)


@deploy
def __init__(
    asset_: address,
    name_: String[25],
    symbol_: String[5],
    clearinghouse: address,
    liquidator: address,
    insurance_receiver_: address,
    owner_: address,
    rate: ILendingVault.RateParameters,
    reserve_factor_bps_: uint256,
    deposit_cap_: uint256,
    min_debt_: uint256,
):
    """
    @param asset_ The quote token.
    @param name_ Name of the share token, also in its EIP-712 domain.
    @param symbol_ Symbol of the share token.
    @param clearinghouse The only borrower; its address may be a predicted one.
    @param liquidator Who may hold exits; its address may be a predicted one.
    @param insurance_receiver_ Who gets reserves and donations.
    @param owner_ Who sets the parameters.
    @param rate The kinked rate.
    @param reserve_factor_bps_ Part of interest set aside.
    @param deposit_cap_ Asset units above which nobody may deposit.
    @param min_debt_ Whole tokens that a debt has at least after its debtor borrowed.
    """
    decimals: uint8 = staticcall IERC20Detailed(asset_).decimals()
    self._require_decimals(decimals)
    self._require_receiver(clearinghouse)
    self._require_receiver(liquidator)
    CLEARINGHOUSE = clearinghouse
    LIQUIDATOR = liquidator

    ownable.__init__()
    ownable_2step.__init__()
    erc20.__init__(name_, symbol_, decimals + share_math.DECIMALS_OFFSET, name_, "1")
    ownable_2step._transfer_ownership(owner_)

    lending_book.__init__(asset_)
    self._set_insurance_receiver(insurance_receiver_)
    lending_terms.__init__(
        decimals,
        lending_state.Terms(
            deposit_cap=deposit_cap_,
            reserve_factor_bps=reserve_factor_bps_,
            exits_held_until=0,
            min_debt=min_debt_,
            rate=rate,
        ),
    )


################################################################
#                     DEPOSIT AND WITHDRAW                     #
################################################################


@external
def deposit(assets: uint256, receiver: address) -> uint256:
    """@notice Takes exactly `assets` and mints shares, rounded down."""
    self._check_clearinghouse_idle()
    at: lending_book.Totals = lending_book._accrue()
    shares: uint256 = share_math._to_shares_down(assets, at.supply, at.total)
    self._enter(assets, shares, receiver, at)
    return shares


@external
def mint(shares: uint256, receiver: address) -> uint256:
    """@notice Mints exactly `shares` and takes their price, rounded up."""
    self._check_clearinghouse_idle()
    at: lending_book.Totals = lending_book._accrue()
    assets: uint256 = share_math._to_assets_up(shares, at.supply, at.total)
    self._enter(assets, shares, receiver, at)
    return assets


@external
def withdraw(assets: uint256, receiver: address, owner: address) -> uint256:
    """@notice Sends exactly `assets` and burns shares, rounded up."""
    self._check_clearinghouse_idle()
    lending_terms._check_exits_open()
    at: lending_book.Totals = lending_book._accrue()
    shares: uint256 = share_math._to_shares_up(assets, at.supply, at.total)
    self._exit(assets, shares, receiver, owner, at)
    return shares


@external
def redeem(shares: uint256, receiver: address, owner: address) -> uint256:
    """@notice Burns exactly `shares` and sends their value, rounded down."""
    self._check_clearinghouse_idle()
    lending_terms._check_exits_open()
    at: lending_book.Totals = lending_book._accrue()
    assets: uint256 = share_math._to_assets_down(shares, at.supply, at.total)
    self._exit(assets, shares, receiver, owner, at)
    return assets


################################################################
#                            LOANS                             #
################################################################


@external
def lend(assets: uint256, receiver: address, shares_held: uint256) -> uint256:
    """@notice Sends `assets` to `receiver` as a loan to the clearing house."""
    self._check_clearinghouse()
    self._require_nonzero(assets)
    self._require_receiver(receiver)
    shares: uint256 = loans._lend(assets, shares_held)
    log ILendingVault.Lent(receiver=receiver, assets=assets, shares=shares)
    safe_token._push(lending_book.ASSET, receiver, assets)
    return shares


@external
def repay(assets: uint256, shares_held: uint256) -> uint256:
    """@notice Books a repayment that has already arrived."""
    self._check_clearinghouse()
    shares: uint256 = loans._repay(assets, shares_held)
    log ILendingVault.Repaid(assets=assets, shares=shares)
    return shares


@external
def accrue() -> uint256:
    """@notice Writes the interest down up to now."""
    lending_book._accrue_only()
    return lending_state._index_wad(lending_book._loans) * lending_book.WAD_TO_RAY


################################################################
#                            LOSSES                            #
################################################################


@external
def write_off(shares: uint256) -> uint256:
    """
    @notice Removes loan shares that nobody will pay for, at the expense of every share of the vault alike.
    @dev    No price, no token and no liquidity is asked, so that a loss can always be shared.
    """
    self._check_liquidator()
    self._require_nonzero(shares)
    return loans._write_off(shares)


@external
def hold_exits(until: uint256):
    """@notice Holds withdrawals and redemptions until a time at most an hour from now; 0 lifts it."""
    self._check_liquidator()
    lending_terms._hold_exits(until)


################################################################
#                    RESERVES AND DONATIONS                    #
################################################################


@external
def sweep_reserves() -> uint256:
    """@notice Pays the reserves to the insurance receiver, as far as the idle balance reaches."""
    self._check_clearinghouse_idle()
    assets: uint256 = lending_book._take_reserves()
    if assets != 0:
        receiver: address = self.insurance_receiver
        log ILendingVault.ReservesSwept(receiver=receiver, assets=assets)
        safe_token._push(lending_book.ASSET, receiver, assets)
    return assets


@external
def skim() -> uint256:
    """
    @notice Sends tokens that nobody deposited to the insurance receiver.
    @dev    Nothing stored depends on them, so there is nothing to accrue.
    """
    self._check_clearinghouse_idle()
    idle: uint256 = lending_state._idle(lending_book._pool)
    balance: uint256 = staticcall lending_book.ASSET.balanceOf(self)
    if balance <= idle:
        return 0
    assets: uint256 = balance - idle
    receiver: address = self.insurance_receiver
    log ILendingVault.SurplusSkimmed(receiver=receiver, assets=assets)
    safe_token._push(lending_book.ASSET, receiver, assets)
    return assets


################################################################
#                          PARAMETERS                          #
################################################################


@external
def set_rate(rate: ILendingVault.RateParameters):
    """@notice Sets the kinked rate from now on."""
    self._open_terms()
    lending_terms._set_rate(rate)


@external
def set_reserve_factor(reserve_factor_bps: uint256):
    """@notice Sets the part of interest that is set aside, from now on."""
    self._open_terms()
    lending_terms._set_reserve_factor(reserve_factor_bps)


@external
def set_deposit_cap(deposit_cap: uint256):
    """@notice Sets the size above which nobody may deposit."""
    self._open_terms()
    lending_terms._set_deposit_cap(deposit_cap)


@external
def set_min_debt(min_debt: uint256):
    """@notice Sets what a debt has at least after its debtor borrowed."""
    self._open_terms()
    lending_terms._set_min_debt(min_debt)


@external
def set_outflow_limit(limit_bps: uint256, floor_log2: uint256):
    """@notice Sets how fast the idle balance may fall by exits and loans."""
    ownable._check_owner()
    lending_book._set_outflow_limit(limit_bps, floor_log2)


@external
def set_insurance_receiver(insurance_receiver: address):
    """@notice Sets who gets reserves and donations."""
    ownable._check_owner()
    self._set_insurance_receiver(insurance_receiver)


################################################################
#                        ERC-4626 VIEWS                        #
################################################################


# A constant of the deployment: there is no state that it could show half updated.
@external
@view
@reentrant
def asset() -> address:
    """@notice The quote token."""
    return lending_book.ASSET.address


@external
@view
def totalSupply() -> uint256:
    """@notice Shares in existence; the virtual ones are not among them."""
    return lending_state._supply(lending_book._pool)


@external
@view
def totalAssets() -> uint256:
    """@notice What belongs to the shares now: idle + debt - reserves, in asset units."""
    at: lending_book.Totals = lending_book._totals()
    return at.total


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """@notice Shares that `assets` are worth, rounded down."""
    return self._shares_now_down(assets)


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    """@notice Asset units that `shares` are worth, rounded down."""
    return self._assets_now_down(shares)


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    """@notice Shares that `deposit` would mint, whatever the limits."""
    return self._shares_now_down(assets)


@external
@view
def previewMint(shares: uint256) -> uint256:
    """@notice Asset units that `mint` would take, whatever the limits."""
    at: lending_book.Totals = lending_book._totals()
    return share_math._to_assets_up(shares, at.supply, at.total)


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    """@notice Shares that `withdraw` would burn, whatever the limits."""
    at: lending_book.Totals = lending_book._totals()
    return share_math._to_shares_up(assets, at.supply, at.total)


@external
@view
def previewRedeem(shares: uint256) -> uint256:
    """@notice Asset units that `redeem` would send, whatever the limits."""
    return self._assets_now_down(shares)


@external
@view
def maxDeposit(receiver: address) -> uint256:
    """@notice The most that `deposit` accepts for `receiver` now; zero while the clearing house is busy."""
    room: uint256 = 0
    shares: uint256 = 0
    room, shares = self._room(receiver)
    # What mints no share is not accepted either.
    if shares == 0:
        return 0
    return room


@external
@view
def maxMint(receiver: address) -> uint256:
    """
    @notice The most that `mint` accepts for `receiver` now; zero while the clearing house is busy.
    @dev    The largest number whose price, rounded up, fits in the room.
    """
    room: uint256 = 0
    shares: uint256 = 0
    room, shares = self._room(receiver)
    return shares


@external
@view
def maxWithdraw(owner: address) -> uint256:
    """
    @notice The most that `owner` can withdraw now: the value of his shares, at most what of the idle balance may leave;
            zero while the clearing house is busy and while exits are held.
    """
    if not self._is_exit_open():
        return 0
    at: lending_book.Totals = lending_book._totals()
    worth: uint256 = share_math._to_assets_down(erc20.balanceOf[owner], at.supply, at.total)
    return min(worth, outflows._open(lending_book._outflow, at.idle, at.total))


@external
@view
def maxRedeem(owner: address) -> uint256:
    """
    @notice The most that `owner` can redeem now: his shares, at most those that what may leave of the idle balance pays
            for; zero while the clearing house is busy and while exits are held.
    @dev    floor(s * price) <= open exactly when s < (open + 1) / price, that is s <= ceil((open + 1) / price) - 1.
    """
    if not self._is_exit_open():
        return 0
    at: lending_book.Totals = lending_book._totals()
    open: uint256 = outflows._open(lending_book._outflow, at.idle, at.total)
    shares: uint256 = min(erc20.balanceOf[owner], share_math._to_shares_up(open + 1, at.supply, at.total) - 1)
    # Shares worth less than one asset unit cannot be redeemed alone.
    if share_math._to_assets_down(shares, at.supply, at.total) == 0:
        return 0
    return shares


################################################################
#                          LOAN VIEWS                          #
################################################################


@external
@view
def state() -> ILendingVault.LendingState:
    """@notice Everything the vault keeps, with interest accrued to now."""
    return lending_book._state()


@external
@view
def debt_of(shares: uint256) -> uint256:
    """@notice What `shares` loan shares owe now, rounded up."""
    return loans._owed_up(shares, lending_book._index_now_wad())


@external
@view
def debt_index_ray() -> uint256:
    """@notice Asset units owed per loan share, times 1e27, accrued to now."""
    return lending_book._index_now_wad() * lending_book.WAD_TO_RAY


@external
@view
def total_debt() -> uint256:
    """@notice What all loan shares together owe now, rounded up."""
    return loans._owed_up(lending_state._debt_shares(lending_book._loans), lending_book._index_now_wad())


@external
@view
def max_loan() -> uint256:
    """@notice The most that `lend` accepts now."""
    return loans._max_loan_now()


@external
@view
def utilisation_wad() -> uint256:
    """@notice debt / (idle + debt), rounded up."""
    return lending_book._utilisation_wad_up()


@external
@view
def borrow_rate_ray() -> uint256:
    """@notice The rate borrowers pay from now on, per second, times 1e27."""
    return lending_book._rate_ray_up()


@external
@view
def rate_parameters() -> ILendingVault.RateParameters:
    """@notice The kinked rate in force."""
    terms: lending_state.Terms = lending_terms._unpacked()
    return terms.rate


@external
@view
def reserve_factor_bps() -> uint256:
    """@notice The part of interest that is set aside."""
    return lending_state._reserve_factor_bps(lending_terms._terms)


@external
@view
def deposit_cap() -> uint256:
    """@notice The size above which nobody may deposit."""
    return lending_state._deposit_cap(lending_terms._terms)


@external
@view
def min_debt() -> uint256:
    """@notice Whole tokens that a debt has at least after its debtor borrowed."""
    return lending_state._min_debt(lending_terms._terms)


@external
@view
def outflow_limit() -> (uint256, uint256):
    """@notice How fast the idle balance may fall."""
    word: uint256 = lending_book._outflow
    if word == 0:
        return fixed_point.BPS, 0
    return outflows._limit_bps(word), outflows._floor_log2(word)


@external
@view
def exits_held_until() -> uint256:
    """@notice The second from which exits are open."""
    return lending_state._exits_held_until(lending_terms._terms)


################################################################
#                        ENTRY AND EXIT                        #
################################################################


@internal
def _enter(assets: uint256, shares: uint256, receiver: address, at: lending_book.Totals):
    """
    @notice Books a deposit over the accrued figures, then takes the tokens.
    @dev    Everything is written before the token is called; the views are locked until it returns.
    """
    self._require_nonzero(min(assets, shares))
    self._require_receiver(receiver)
    lending_terms._check_deposit_cap(at.total + assets)
    lending_book._store_pool(at.supply + shares, at.idle + assets)
    erc20.balanceOf[receiver] += shares
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=shares)
    log IERC4626.Deposit(sender=msg.sender, owner=receiver, assets=assets, shares=shares)
    safe_token._pull_to(lending_book.ASSET, msg.sender, self, assets)


@internal
def _exit(assets: uint256, shares: uint256, receiver: address, owner: address, at: lending_book.Totals):
    """@notice Books a withdrawal over the accrued figures, then sends the tokens."""
    self._require_nonzero(min(assets, shares))
    self._require_receiver(receiver)
    if msg.sender != owner:
        erc20._spend_allowance(owner, msg.sender, shares)
    balance: uint256 = erc20.balanceOf[owner]
    self._require_shares(shares, balance)
    self._require_idle(assets, at.idle)
    lending_book._count_out(assets, at.idle, at.total)
    lending_book._store_pool(at.supply - shares, at.idle - assets)
    erc20.balanceOf[owner] = balance - shares
    log IERC20.Transfer(sender=owner, receiver=empty(address), value=shares)
    log IERC4626.Withdraw(sender=msg.sender, receiver=receiver, owner=owner, assets=assets, shares=shares)
    safe_token._push(lending_book.ASSET, receiver, assets)


@internal
@view
def _room(receiver: address) -> (uint256, uint256):
    """
    @notice What still fits under the deposit cap, in asset units and in shares, for a receiver that may receive.
    @dev    After a loss a share can be worth so little that the numbers for shares end before the cap does.
    """
    if receiver == empty(address) or receiver == self:
        return 0, 0
    if not self._is_clearinghouse_idle():
        return 0, 0
    at: lending_book.Totals = lending_book._totals()
    cap: uint256 = lending_state._deposit_cap(lending_terms._terms)
    if at.total >= cap:
        return 0, 0
    free: uint256 = lending_state.MAX_SUPPLY - at.supply
    return (
        min(cap - at.total, share_math._to_assets_down(free, at.supply, at.total)),
        min(share_math._to_shares_down(cap - at.total, at.supply, at.total), free),
    )


################################################################
#                            TERMS                             #
################################################################


@internal
def _open_terms():
    """@notice Lets the owner change the terms. What has passed until now accrues at the old ones first (T43)."""
    ownable._check_owner()
    lending_book._accrue_only()


@internal
def _set_insurance_receiver(new: address):
    self._require_receiver(new)
    old: address = self.insurance_receiver
    self.insurance_receiver = new
    log ILendingVault.InsuranceReceiverUpdated(old=old, new=new)


################################################################
#                         CONVERSIONS                          #
################################################################


@internal
@view
def _shares_now_down(assets: uint256) -> uint256:
    at: lending_book.Totals = lending_book._totals()
    return share_math._to_shares_down(assets, at.supply, at.total)


@internal
@view
def _assets_now_down(shares: uint256) -> uint256:
    at: lending_book.Totals = lending_book._totals()
    return share_math._to_assets_down(shares, at.supply, at.total)


################################################################
#                            GUARDS                            #
################################################################


@internal
@view
def _check_clearinghouse():
    assert msg.sender == CLEARINGHOUSE, "vault: not the clearinghouse"


@internal
@view
def _check_liquidator():
    assert msg.sender == LIQUIDATOR, "vault: not the liquidator"


@internal
@view
def _is_exit_open() -> bool:
    return lending_terms._are_exits_open() and self._is_clearinghouse_idle()


@internal
@view
def _check_clearinghouse_idle():
    assert staticcall IClearinghouse(CLEARINGHOUSE).call_state() == CALL_STATE_IDLE, "vault: clearinghouse busy"


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
def _require_receiver(receiver: address):
    assert receiver != empty(address) and receiver != self, "vault: bad receiver"


@internal
@pure
def _require_nonzero(amount: uint256):
    assert amount != 0, "vault: zero amount"


@internal
@pure
def _require_shares(shares: uint256, balance: uint256):
    assert shares <= balance, "vault: too few shares"


@internal
@pure
def _require_idle(assets: uint256, idle: uint256):
    assert assets <= idle, "vault: not enough idle"


@internal
@pure
def _require_decimals(decimals: uint8):
    assert share_math._is_supported(decimals), "vault: unsupported decimals"
