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
@dev     An ERC-4626 vault with one borrower. Who owes what is the ledger's affair: here a debt is a number of loan
         shares, worth the index each. A debt that nobody will pay is written off against all shares at once; while one
         is known and not yet written off, the liquidator holds exits, so that nobody leaves it to the others.
         Assumptions:
         1. The asset has 2 to 18 decimals, does not rebase, and delivers what is transferred (checked on entry).
         2. CLEARINGHOUSE is our own contract; it repays before it calls `repay` and keeps the loan shares it was given.
         3. Prices of shares come from stored figures alone. Tokens sent here without a deposit belong to no share.
         4. One million virtual shares stand against one virtual asset unit, so that inflating the first share costs an
            attacker a million times what a rounding can cost a lender.
         5. LIQUIDATOR is our own contract: it writes off only what was owed by somebody who has nothing left, and holds
            exits for a loss only, and not again and again.
         Warning: reserves lie in the idle balance until they are swept; they are in no share's price, yet they may be
         lent and may pay a withdrawal.
@custom:invariant I01 I03 I04 I05 I06 I07 I08 I09 I10 I35
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
from snekmate.utils import math

from contracts.modules import fixed_point
from contracts.modules import kinked_rate
from contracts.modules import lending_state
from contracts.modules import outflows
from contracts.modules import safe_token

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


WAD: constant(uint256) = 10**18
RAY: constant(uint256) = 10**27
BPS: constant(uint256) = 10_000
# Turns the stored index into the published one.
WAD_TO_RAY: constant(uint256) = RAY // WAD

MIN_DECIMALS: constant(uint8) = 2
MAX_DECIMALS: constant(uint8) = 18
# Shares have so many decimals more than the asset, and 10**6 of them are virtual.
DECIMALS_OFFSET: constant(uint8) = 6
VIRTUAL_SHARES: constant(uint256) = 10**6
VIRTUAL_ASSETS: constant(uint256) = 1

# Lending stops at this use, so that fees, trims and liquidations always find liquidity (A14).
MAX_USE_BPS: constant(uint256) = 9_200
# The highest rate of a year that can be set: base and both slopes together.
MAX_RATE_BPS: constant(uint256) = 100_000
MAX_RESERVE_FACTOR_BPS: constant(uint256) = 5_000
# Half of what an idle balance may hold, so that reserves and repaid interest always fit above a full vault.
MAX_DEPOSIT_CAP: constant(uint256) = 2**95
# The largest least debt that can be set, whole tokens.
MAX_MIN_DEBT: constant(uint256) = 100_000
# Time to realise a loss that is known. If nobody does, exits open again by themselves.
MAX_HOLD_S: constant(uint256) = 3_600

CALL_STATE_IDLE: constant(uint256) = 0
# In place of a debtor's loan shares: nobody chose this loan, it may leave a debt of any size.
FORCED: constant(uint256) = max_value(uint256)

ASSET: immutable(IERC20)
# Asset units of a whole token.
WHOLE: immutable(uint256)
CLEARINGHOUSE: public(immutable(address))
LIQUIDATOR: public(immutable(address))

# Who gets reserves and donations; never zero, never the vault.
insurance_receiver: public(address)

# supply, idle, accrued_at: see `lending_state`. I03 I05
_pool: uint256
# debt_shares, index_wad, reserves. I04 I07 I08
_loans: uint256
# deposit cap, rate, reserve factor, least debt; until when exits are held. I35
_terms: uint256
# How fast the idle balance may fall; see `outflows`. 0 as long as no limit was set.
_outflow: uint256


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
    ASSET = IERC20(asset_)
    WHOLE = 10 ** convert(decimals, uint256)
    CLEARINGHOUSE = clearinghouse
    LIQUIDATOR = liquidator

    ownable.__init__()
    ownable_2step.__init__()
    erc20.__init__(name_, symbol_, decimals + DECIMALS_OFFSET, name_, "1")
    ownable_2step._transfer_ownership(owner_)

    self._store_pool(0, 0)
    self._loans = lending_state._pack_loans(0, WAD, 0)
    self._set_insurance_receiver(insurance_receiver_)
    self._set_terms(
        lending_state.Terms(
            deposit_cap=deposit_cap_,
            reserve_factor_bps=reserve_factor_bps_,
            exits_held_until=0,
            min_debt=min_debt_,
            rate=rate,
        )
    )
    log ILendingVault.RateUpdated(old=empty(ILendingVault.RateParameters), new=rate)
    log ILendingVault.ReserveFactorUpdated(old_bps=0, new_bps=reserve_factor_bps_)
    log ILendingVault.DepositCapUpdated(old=0, new=deposit_cap_)
    log ILendingVault.MinDebtUpdated(old=0, new=min_debt_)


################################################################
#                     DEPOSIT AND WITHDRAW                     #
################################################################


@external
def deposit(assets: uint256, receiver: address) -> uint256:
    """
    @notice Takes exactly `assets` and mints shares, rounded down.
    """
    self._check_clearinghouse_idle()
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    shares: uint256 = self._to_shares_down(assets, supply, total)
    self._enter(assets, shares, receiver, supply, idle, total)
    return shares


@external
def mint(shares: uint256, receiver: address) -> uint256:
    """
    @notice Mints exactly `shares` and takes their price, rounded up.
    """
    self._check_clearinghouse_idle()
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    assets: uint256 = self._to_assets_up(shares, supply, total)
    self._enter(assets, shares, receiver, supply, idle, total)
    return assets


@external
def withdraw(assets: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice Sends exactly `assets` and burns shares, rounded up.
    """
    self._check_clearinghouse_idle()
    self._check_exits_open()
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    shares: uint256 = self._to_shares_up(assets, supply, total)
    self._exit(assets, shares, receiver, owner, supply, idle, total)
    return shares


@external
def redeem(shares: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice Burns exactly `shares` and sends their value, rounded down.
    """
    self._check_clearinghouse_idle()
    self._check_exits_open()
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    assets: uint256 = self._to_assets_down(shares, supply, total)
    self._exit(assets, shares, receiver, owner, supply, idle, total)
    return assets


################################################################
#                            LOANS                             #
################################################################


@external
def lend(assets: uint256, receiver: address, shares_held: uint256) -> uint256:
    """
    @notice Sends `assets` to `receiver` as a loan to the clearing house.
    """
    self._check_clearinghouse()
    self._require_nonzero(assets)
    self._require_receiver(receiver)
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    loans: uint256 = self._loans
    debt_shares: uint256 = lending_state._debt_shares(loans)
    index_wad: uint256 = lending_state._index_wad(loans)
    self._require_loan(assets, self._max_loan(idle, debt_shares, index_wad))
    shares: uint256 = self._mul_div_up(assets, WAD, index_wad)
    if shares_held != FORCED:
        self._require_min_debt(self._owed_up(shares_held + shares, index_wad))
    self._count_out(assets, idle, total)
    self._store_pool(supply, idle - assets)
    self._loans = lending_state._pack_loans(debt_shares + shares, index_wad, lending_state._reserves(loans))
    log ILendingVault.Lent(receiver=receiver, assets=assets, shares=shares)
    safe_token._push(ASSET, receiver, assets)
    return shares


@external
def repay(assets: uint256, shares_held: uint256) -> uint256:
    """
    @notice Books a repayment that has already arrived.
    @dev    Burning rounds down except when the debtor is clear, so that no wei of debt is ever forgiven.
    """
    self._check_clearinghouse()
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    loans: uint256 = self._loans
    debt_shares: uint256 = lending_state._debt_shares(loans)
    index_wad: uint256 = lending_state._index_wad(loans)
    self._require_loan_shares(shares_held, debt_shares)
    owed: uint256 = self._owed_up(shares_held, index_wad)
    self._require_not_overpaid(assets, owed)
    shares: uint256 = shares_held
    if assets != owed:
        shares = self._mul_div_down(assets, WAD, index_wad)
    self._require_arrived(idle + assets)
    self._store_pool(supply, idle + assets)
    self._loans = lending_state._pack_loans(debt_shares - shares, index_wad, lending_state._reserves(loans))
    log ILendingVault.Repaid(assets=assets, shares=shares)
    return shares


@external
def accrue() -> uint256:
    """
    @notice Writes the interest down up to now.
    """
    self._accrue_only()
    return lending_state._index_wad(self._loans) * WAD_TO_RAY


################################################################
#                            LOSSES                            #
################################################################


@external
def write_off(shares: uint256) -> uint256:
    """
    @notice Removes loan shares that nobody will pay for, at the expense of every share of the vault alike.
    @dev    No price, no token and no liquidity is asked, so that a loss can always be shared. Reserves above idle and
            what is left of the debt would be a claim on nothing, for the next deposit or interest to pay: they are given
            up, so that lenders begin again at zero and not below it.
    """
    self._check_liquidator()
    self._require_nonzero(shares)
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    loans: uint256 = self._loans
    debt_shares: uint256 = lending_state._debt_shares(loans)
    index_wad: uint256 = lending_state._index_wad(loans)
    self._require_loan_shares(shares, debt_shares)
    left: uint256 = lending_state._debt_down(debt_shares - shares, index_wad)
    assets: uint256 = lending_state._debt_down(debt_shares, index_wad) - left
    reserves: uint256 = lending_state._reserves(loans)
    kept: uint256 = min(reserves, idle + left)
    self._store_pool(supply, idle)
    self._loans = lending_state._pack_loans(debt_shares - shares, index_wad, kept)
    log ILendingVault.BadDebtRealised(shares=shares, assets=assets, debt_shares=debt_shares - shares)
    if kept != reserves:
        log ILendingVault.ReservesGivenUp(assets=reserves - kept)
    return assets


@external
def hold_exits(until: uint256):
    """
    @notice Holds withdrawals and redemptions until a time at most an hour from now; 0 lifts it.
    """
    self._check_liquidator()
    self._require_short_hold(until)
    self._terms = lending_state._with_exits_held(self._terms, until)
    log ILendingVault.ExitsHeld(until=until)


################################################################
#                    RESERVES AND DONATIONS                    #
################################################################


@external
def sweep_reserves() -> uint256:
    """
    @notice Pays the reserves to the insurance receiver, as far as the idle balance reaches.
    """
    self._check_clearinghouse_idle()
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    loans: uint256 = self._loans
    reserves: uint256 = lending_state._reserves(loans)
    assets: uint256 = min(reserves, idle)
    self._store_pool(supply, idle - assets)
    self._loans = lending_state._pack_loans(
        lending_state._debt_shares(loans), lending_state._index_wad(loans), reserves - assets
    )
    if assets != 0:
        receiver: address = self.insurance_receiver
        log ILendingVault.ReservesSwept(receiver=receiver, assets=assets)
        safe_token._push(ASSET, receiver, assets)
    return assets


@external
def skim() -> uint256:
    """
    @notice Sends tokens that nobody deposited to the insurance receiver.
    @dev    Nothing stored depends on them, so there is nothing to accrue.
    """
    self._check_clearinghouse_idle()
    idle: uint256 = lending_state._idle(self._pool)
    balance: uint256 = staticcall ASSET.balanceOf(self)
    if balance <= idle:
        return 0
    assets: uint256 = balance - idle
    receiver: address = self.insurance_receiver
    log ILendingVault.SurplusSkimmed(receiver=receiver, assets=assets)
    safe_token._push(ASSET, receiver, assets)
    return assets


################################################################
#                          PARAMETERS                          #
################################################################


@external
def set_rate(rate: ILendingVault.RateParameters):
    """
    @notice Sets the kinked rate from now on.
    """
    terms: lending_state.Terms = self._open_terms()
    old: ILendingVault.RateParameters = terms.rate
    terms.rate = rate
    self._set_terms(terms)
    log ILendingVault.RateUpdated(old=old, new=rate)


@external
def set_reserve_factor(reserve_factor_bps: uint256):
    """
    @notice Sets the part of interest that is set aside, from now on.
    """
    terms: lending_state.Terms = self._open_terms()
    old_bps: uint256 = terms.reserve_factor_bps
    terms.reserve_factor_bps = reserve_factor_bps
    self._set_terms(terms)
    log ILendingVault.ReserveFactorUpdated(old_bps=old_bps, new_bps=reserve_factor_bps)


@external
def set_deposit_cap(deposit_cap: uint256):
    """
    @notice Sets the size above which nobody may deposit.
    """
    terms: lending_state.Terms = self._open_terms()
    old: uint256 = terms.deposit_cap
    terms.deposit_cap = deposit_cap
    self._set_terms(terms)
    log ILendingVault.DepositCapUpdated(old=old, new=deposit_cap)


@external
def set_min_debt(min_debt: uint256):
    """
    @notice Sets what a debt has at least after its debtor borrowed.
    """
    terms: lending_state.Terms = self._open_terms()
    old: uint256 = terms.min_debt
    terms.min_debt = min_debt
    self._set_terms(terms)
    log ILendingVault.MinDebtUpdated(old=old, new=min_debt)


@external
def set_outflow_limit(limit_bps: uint256, floor_log2: uint256):
    """
    @notice Sets how fast the idle balance may fall by exits and loans.
    """
    ownable._check_owner()
    self._outflow = outflows._set(self._outflow, lending_state._idle(self._pool), limit_bps, floor_log2)
    log ILendingVault.OutflowLimitUpdated(limit_bps=limit_bps, floor_log2=floor_log2)


@external
def set_insurance_receiver(insurance_receiver: address):
    """
    @notice Sets who gets reserves and donations.
    """
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
    """
    @notice The quote token.
    """
    return ASSET.address


@external
@view
def totalSupply() -> uint256:
    """
    @notice Shares in existence; the virtual ones are not among them.
    """
    return lending_state._supply(self._pool)


@external
@view
def totalAssets() -> uint256:
    """
    @notice What belongs to the shares now: idle + debt - reserves, in asset units.
    """
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._book()
    return total


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """
    @notice Shares that `assets` are worth, rounded down.
    """
    return self._shares_now_down(assets)


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    """
    @notice Asset units that `shares` are worth, rounded down.
    """
    return self._assets_now_down(shares)


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    """
    @notice Shares that `deposit` would mint, whatever the limits.
    """
    return self._shares_now_down(assets)


@external
@view
def previewMint(shares: uint256) -> uint256:
    """
    @notice Asset units that `mint` would take, whatever the limits.
    """
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._book()
    return self._to_assets_up(shares, supply, total)


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    """
    @notice Shares that `withdraw` would burn, whatever the limits.
    """
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._book()
    return self._to_shares_up(assets, supply, total)


@external
@view
def previewRedeem(shares: uint256) -> uint256:
    """
    @notice Asset units that `redeem` would send, whatever the limits.
    """
    return self._assets_now_down(shares)


@external
@view
def maxDeposit(receiver: address) -> uint256:
    """
    @notice The most that `deposit` accepts for `receiver` now; zero while the clearing house is busy.
    """
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
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._book()
    return min(self._to_assets_down(erc20.balanceOf[owner], supply, total), outflows._open(self._outflow, idle, total))


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
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._book()
    open: uint256 = outflows._open(self._outflow, idle, total)
    shares: uint256 = min(erc20.balanceOf[owner], self._to_shares_up(open + 1, supply, total) - 1)
    # Shares worth less than one asset unit cannot be redeemed alone.
    if self._to_assets_down(shares, supply, total) == 0:
        return 0
    return shares


################################################################
#                          LOAN VIEWS                          #
################################################################


@external
@view
def state() -> ILendingVault.LendingState:
    """
    @notice Everything the vault keeps, with interest accrued to now.
    """
    return self._state()


@external
@view
def debt_of(shares: uint256) -> uint256:
    """
    @notice What `shares` loan shares owe now, rounded up.
    """
    return self._owed_up(shares, self._index_now_wad())


@external
@view
def debt_index_ray() -> uint256:
    """
    @notice Asset units owed per loan share, times 1e27, accrued to now.
    """
    return self._index_now_wad() * WAD_TO_RAY


@external
@view
def total_debt() -> uint256:
    """
    @notice What all loan shares together owe now, rounded up.
    """
    return self._owed_up(lending_state._debt_shares(self._loans), self._index_now_wad())


@external
@view
def max_loan() -> uint256:
    """
    @notice The most that `lend` accepts now.
    """
    state: ILendingVault.LendingState = self._state()
    debt: uint256 = lending_state._debt_down(state.debt_shares, state.index_wad)
    total: uint256 = lending_state._total_assets_down(state.idle, debt, state.reserves)
    most: uint256 = self._max_loan(state.idle, state.debt_shares, state.index_wad)
    return min(most, outflows._open(self._outflow, state.idle, total))


@external
@view
def utilisation_wad() -> uint256:
    """
    @notice debt / (idle + debt), rounded up.
    """
    state: ILendingVault.LendingState = self._state()
    debt: uint256 = lending_state._debt_down(state.debt_shares, state.index_wad)
    return kinked_rate._utilisation_wad_up(debt, state.idle)


@external
@view
def borrow_rate_ray() -> uint256:
    """
    @notice The rate borrowers pay from now on, per second, times 1e27.
    """
    state: ILendingVault.LendingState = self._state()
    debt: uint256 = lending_state._debt_down(state.debt_shares, state.index_wad)
    terms: lending_state.Terms = lending_state._unpack_terms(self._terms)
    return kinked_rate._rate_ray_up(
        kinked_rate._utilisation_wad_up(debt, state.idle),
        terms.rate.base_bps,
        terms.rate.slope_low_bps,
        terms.rate.slope_high_bps,
        terms.rate.kink_bps,
    )


@external
@view
def rate_parameters() -> ILendingVault.RateParameters:
    """
    @notice The kinked rate in force.
    """
    terms: lending_state.Terms = lending_state._unpack_terms(self._terms)
    return terms.rate


@external
@view
def reserve_factor_bps() -> uint256:
    """
    @notice The part of interest that is set aside.
    """
    return lending_state._reserve_factor_bps(self._terms)


@external
@view
def deposit_cap() -> uint256:
    """
    @notice The size above which nobody may deposit.
    """
    return lending_state._deposit_cap(self._terms)


@external
@view
def min_debt() -> uint256:
    """
    @notice Whole tokens that a debt has at least after its debtor borrowed.
    """
    return lending_state._min_debt(self._terms)


@external
@view
def outflow_limit() -> (uint256, uint256):
    """
    @notice How fast the idle balance may fall.
    """
    word: uint256 = self._outflow
    if word == 0:
        return BPS, 0
    return outflows._limit_bps(word), outflows._floor_log2(word)


@external
@view
def exits_held_until() -> uint256:
    """
    @notice The second from which exits are open.
    """
    return lending_state._exits_held_until(self._terms)


################################################################
#                        ENTRY AND EXIT                        #
################################################################


@internal
def _enter(
    assets: uint256, shares: uint256, receiver: address, supply: uint256, idle: uint256, total: uint256
):
    """
    @notice Books a deposit over the accrued figures, then takes the tokens.
    @dev    Everything is written before the token is called; the views are locked until it returns.
    """
    self._require_nonzero(min(assets, shares))
    self._require_receiver(receiver)
    self._check_deposit_cap(total + assets)
    self._store_pool(supply + shares, idle + assets)
    erc20.balanceOf[receiver] += shares
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=shares)
    log IERC4626.Deposit(sender=msg.sender, owner=receiver, assets=assets, shares=shares)
    safe_token._pull_to(ASSET, msg.sender, self, assets)


@internal
def _exit(
    assets: uint256,
    shares: uint256,
    receiver: address,
    owner: address,
    supply: uint256,
    idle: uint256,
    total: uint256,
):
    """
    @notice Books a withdrawal over the accrued figures, then sends the tokens.
    """
    self._require_nonzero(min(assets, shares))
    self._require_receiver(receiver)
    if msg.sender != owner:
        erc20._spend_allowance(owner, msg.sender, shares)
    balance: uint256 = erc20.balanceOf[owner]
    self._require_shares(shares, balance)
    self._require_idle(assets, idle)
    self._count_out(assets, idle, total)
    self._store_pool(supply - shares, idle - assets)
    erc20.balanceOf[owner] = balance - shares
    log IERC20.Transfer(sender=owner, receiver=empty(address), value=shares)
    log IERC4626.Withdraw(sender=msg.sender, receiver=receiver, owner=owner, assets=assets, shares=shares)
    safe_token._push(ASSET, receiver, assets)


@internal
def _count_out(assets: uint256, idle: uint256, total: uint256):
    """
    @notice Lets an exit or a loan pass or not, before the idle balance falls.
    """
    word: uint256 = self._outflow
    if outflows._is_off(word):
        return
    level: uint256 = outflows._level_up(word, idle)
    outflows._require_left(assets, idle - assets, outflows._least(word, level, total))
    self._outflow = outflows._counted(word, level, idle - assets)


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
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._book()
    cap: uint256 = lending_state._deposit_cap(self._terms)
    if total >= cap:
        return 0, 0
    free: uint256 = lending_state.MAX_SUPPLY - supply
    return (
        min(cap - total, self._to_assets_down(free, supply, total)),
        min(self._to_shares_down(cap - total, supply, total), free),
    )


################################################################
#                           ACCRUAL                            #
################################################################


@internal
def _accrue() -> (uint256, uint256, uint256):
    """
    @notice Adds the interest up to now and stores index and reserves.
    @dev    Warning: whoever calls this MUST end with `_store_pool`, which stores the time and the rest.
    @return supply, idle and total assets, from which the caller goes on.
    """
    pool: uint256 = self._pool
    loans: uint256 = self._loans
    now_s: uint256 = min(block.timestamp, lending_state.MAX_TIME_S)
    index_wad: uint256 = 0
    reserves: uint256 = 0
    debt: uint256 = 0
    index_wad, reserves, debt = self._with_interest(pool, loans, now_s)
    if index_wad != (loans >> 96) & lending_state.MASK_76:
        self._loans = (loans & lending_state.MASK_96) | (index_wad << 96) | (reserves << 172)
        log ILendingVault.Accrued(index_ray=index_wad * WAD_TO_RAY, reserves=reserves)
    idle: uint256 = (pool >> 128) & lending_state.MASK_96
    return pool & lending_state.MASK_128, idle, lending_state._total_assets_down(idle, debt, reserves)


@internal
def _accrue_only():
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._accrue()
    self._store_pool(supply, idle)


@internal
@view
def _with_interest(pool: uint256, loans: uint256, now_s: uint256) -> (uint256, uint256, uint256):
    """
    @notice The index, the reserves and the debt with interest up to now, at the rate of the use that the words show.
    """
    debt_shares: uint256 = loans & lending_state.MASK_96
    index_wad: uint256 = (loans >> 96) & lending_state.MASK_76
    elapsed_s: uint256 = now_s - (pool >> 224)
    if elapsed_s == 0 or debt_shares == 0:
        return index_wad, loans >> 172, lending_state._debt_down(debt_shares, index_wad)
    return lending_state._grown(
        debt_shares, index_wad, loans >> 172, (pool >> 128) & lending_state.MASK_96, elapsed_s, self._terms
    )


@internal
@view
def _book() -> (uint256, uint256, uint256):
    """
    @notice supply, idle and total assets as `_accrue` would return them.
    """
    state: ILendingVault.LendingState = self._state()
    debt: uint256 = lending_state._debt_down(state.debt_shares, state.index_wad)
    return state.supply, state.idle, lending_state._total_assets_down(state.idle, debt, state.reserves)


@internal
@view
def _state() -> ILendingVault.LendingState:
    pool: uint256 = self._pool
    loans: uint256 = self._loans
    now_s: uint256 = min(block.timestamp, lending_state.MAX_TIME_S)
    index_wad: uint256 = 0
    reserves: uint256 = 0
    debt: uint256 = 0
    index_wad, reserves, debt = self._with_interest(pool, loans, now_s)
    return ILendingVault.LendingState(
        supply=lending_state._supply(pool),
        idle=lending_state._idle(pool),
        accrued_at=now_s,
        debt_shares=lending_state._debt_shares(loans),
        index_wad=index_wad,
        reserves=reserves,
    )


@internal
@view
def _index_now_wad() -> uint256:
    index_wad: uint256 = 0
    reserves: uint256 = 0
    debt: uint256 = 0
    index_wad, reserves, debt = self._with_interest(
        self._pool, self._loans, min(block.timestamp, lending_state.MAX_TIME_S)
    )
    return index_wad


@internal
def _store_pool(supply: uint256, idle: uint256):
    """
    @dev Only after `_accrue`: the word carries the time of the accrual. Seconds are held at the last one that 32 bits
         count (2106): interest stops there and nothing else does.
    """
    self._pool = lending_state._pack_pool(supply, idle, min(block.timestamp, lending_state.MAX_TIME_S))


################################################################
#                            TERMS                             #
################################################################


@internal
def _open_terms() -> lending_state.Terms:
    """
    @notice The terms for the owner to change. What has passed until now accrues at the old ones first (T43).
    """
    ownable._check_owner()
    self._accrue_only()
    return lending_state._unpack_terms(self._terms)


@internal
def _set_terms(terms: lending_state.Terms):
    self._require_rate(terms.rate)
    self._require_reserve_factor(terms.reserve_factor_bps)
    self._require_deposit_cap(terms.deposit_cap)
    self._require_min_debt_in_range(terms.min_debt)
    self._terms = lending_state._pack_terms(terms)


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
@pure
def _mul_div_down(x: uint256, y: uint256, d: uint256) -> uint256:
    """
    @dev A word holds the product of what the vault keeps; what it is only asked for may be larger.
    """
    if (x | y) >> 128 == 0:
        return x * y // d
    return math._mul_div(x, y, d, False)


@internal
@pure
def _mul_div_up(x: uint256, y: uint256, d: uint256) -> uint256:
    if (x | y) >> 128 == 0:
        return fixed_point._mul_div_up(x, y, d)
    return math._mul_div(x, y, d, True)


@internal
@pure
def _to_shares_down(assets: uint256, supply: uint256, total: uint256) -> uint256:
    return self._mul_div_down(assets, supply + VIRTUAL_SHARES, total + VIRTUAL_ASSETS)


@internal
@pure
def _to_shares_up(assets: uint256, supply: uint256, total: uint256) -> uint256:
    return self._mul_div_up(assets, supply + VIRTUAL_SHARES, total + VIRTUAL_ASSETS)


@internal
@pure
def _to_assets_down(shares: uint256, supply: uint256, total: uint256) -> uint256:
    return self._mul_div_down(shares, total + VIRTUAL_ASSETS, supply + VIRTUAL_SHARES)


@internal
@pure
def _to_assets_up(shares: uint256, supply: uint256, total: uint256) -> uint256:
    return self._mul_div_up(shares, total + VIRTUAL_ASSETS, supply + VIRTUAL_SHARES)


@internal
@view
def _shares_now_down(assets: uint256) -> uint256:
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._book()
    return self._to_shares_down(assets, supply, total)


@internal
@view
def _assets_now_down(shares: uint256) -> uint256:
    supply: uint256 = 0
    idle: uint256 = 0
    total: uint256 = 0
    supply, idle, total = self._book()
    return self._to_assets_down(shares, supply, total)


@internal
@pure
def _owed_up(debt_shares: uint256, index_wad: uint256) -> uint256:
    return self._mul_div_up(debt_shares, index_wad, WAD)


@internal
@pure
def _max_loan(idle: uint256, debt_shares: uint256, index_wad: uint256) -> uint256:
    """
    @notice What may be lent before debt passes MAX_USE_BPS of idle + debt. It is below idle, because that share is below
            one.
    """
    debt: uint256 = self._owed_up(debt_shares, index_wad)
    largest_debt: uint256 = (idle + debt) * MAX_USE_BPS // BPS
    if largest_debt <= debt:
        return 0
    return largest_debt - debt


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
def _check_exits_open():
    # The field is cut out by hand, as in `_with_interest`: this is on the way of every exit.
    assert block.timestamp >= (self._terms >> 188) & lending_state.MASK_40, "vault: exits wait for a loss"


@internal
@view
def _is_exit_open() -> bool:
    return block.timestamp >= lending_state._exits_held_until(self._terms) and self._is_clearinghouse_idle()


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
def _check_deposit_cap(total: uint256):
    assert total <= self._terms & lending_state.MASK_96, "vault: deposit cap"


@internal
@view
def _require_short_hold(until: uint256):
    assert until <= block.timestamp + MAX_HOLD_S, "vault: exits held too long"


@internal
@view
def _require_arrived(idle: uint256):
    assert staticcall ASSET.balanceOf(self) >= idle, "vault: repayment missing"


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
def _require_loan(assets: uint256, largest: uint256):
    assert assets <= largest, "vault: loan too large"


@internal
@view
def _require_min_debt(debt: uint256):
    assert debt >= lending_state._min_debt(self._terms) * WHOLE, "vault: debt below minimum"


@internal
@pure
def _require_min_debt_in_range(min_debt: uint256):
    assert min_debt <= MAX_MIN_DEBT, "vault: least debt too high"


@internal
@pure
def _require_loan_shares(shares_held: uint256, debt_shares: uint256):
    assert shares_held <= debt_shares, "vault: unknown loan shares"


@internal
@pure
def _require_not_overpaid(assets: uint256, owed: uint256):
    assert assets <= owed, "vault: more than is owed"


@internal
@pure
def _require_decimals(decimals: uint8):
    assert decimals >= MIN_DECIMALS and decimals <= MAX_DECIMALS, "vault: unsupported decimals"


@internal
@pure
def _require_rate(rate: ILendingVault.RateParameters):
    assert rate.kink_bps != 0 and rate.kink_bps < BPS, "vault: bad kink"
    self._require_bounded_rate(rate)


@internal
@pure
def _require_bounded_rate(rate: ILendingVault.RateParameters):
    # Each alone first, so that their sum cannot overflow into a revert without a reason.
    largest: uint256 = max(rate.base_bps, max(rate.slope_low_bps, rate.slope_high_bps))
    assert (
        largest <= MAX_RATE_BPS and rate.base_bps + rate.slope_low_bps + rate.slope_high_bps <= MAX_RATE_BPS
    ), "vault: rate too high"


@internal
@pure
def _require_reserve_factor(reserve_factor_bps: uint256):
    assert reserve_factor_bps <= MAX_RESERVE_FACTOR_BPS, "vault: reserve factor too high"


@internal
@pure
def _require_deposit_cap(deposit_cap: uint256):
    assert deposit_cap <= MAX_DEPOSIT_CAP, "vault: deposit cap too high"
