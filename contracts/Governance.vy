# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Governance
@license MIT
@author  Ballast contributors
@notice  Owner of every room, and the one place that says who may do what to them: the timelock everything, after its delay;
         a guardian at once, and only what lowers risk; a steward small steps.
@dev     A parameter has one entry here for both of them, and the direction decides who may use it. What is no such step goes
         through `execute`. Assumptions:
         1. The timelock is this contract's owner and the only one whose decisions wait.
         2. A room checks its own bounds again: whatever is decided here, floors, caps and notice periods hold.
         3. This contract holds no token and no approval.
@custom:invariant I37 I39 I40
@custom:kill  The guardian pauses assets, closes markets, lowers caps. Paying in, reducing and liquidation go on.
"""

from contracts.interfaces import ICapped
from contracts.interfaces import IClearinghouse
from contracts.interfaces import IExchange
from contracts.interfaces import IGovernance
from contracts.interfaces import IKeepers
from contracts.interfaces import ILendingVault
from contracts.interfaces import IListings
from contracts.interfaces import IOwned
from contracts.interfaces import IPerps
from contracts.interfaces import IRiskOracle
from contracts.modules import packing
from contracts.modules import reasons
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IGovernance

initializes: ownable
initializes: ownable_2step[ownable := ownable]

exports: (
    ownable.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

DAY_S: constant(uint256) = 86_400
# A guardian's pause, and how long an asset is left alone after it.
PAUSE_S: constant(uint256) = 3 * DAY_S
PAUSE_GAP_S: constant(uint256) = DAY_S
# Between two steps of one parameter, and the most that one may be, in percent of the present value.
STEP_S: constant(uint256) = DAY_S
STEP_PERCENT: constant(uint256) = 10
MARGIN_STEP_PERCENT: constant(uint256) = 20
# What the timelock can carry: 1,024 bytes less the envelope.
MAX_PAYLOAD: constant(uint256) = 896
BPS: constant(uint256) = 10_000

# Parameters that move in steps; each has a clock of its own, per asset or vault.
SUPPLY_CAP: constant(uint256) = 1
OPEN_INTEREST_CAP: constant(uint256) = 2
SKEW_CAP: constant(uint256) = 3
DEPOSIT_CAP: constant(uint256) = 4
RATE: constant(uint256) = 5
FEE: constant(uint256) = 6
# Of the timelock as well: an asset's feed, that no chain of feeds carries a price away in one transaction.
FEED: constant(uint256) = 7
SET_FEED: constant(bytes4) = method_id(
    "set_feed(uint256,address,uint256,uint256,uint256,uint256)", output_type=bytes4
)

CLEARINGHOUSE: public(immutable(address))
EXCHANGE: public(immutable(address))
ORACLE: public(immutable(address))
LISTINGS: public(immutable(address))
PERPS: public(immutable(address))
LENDING_VAULT: public(immutable(address))
LIQUIDITY_VAULT: public(immutable(address))
KEEPERS: public(immutable(address))

guardian: public(address)
steward: public(address)

# From when the guardian may pause an asset again, unix seconds.
next_pause_at: public(HashMap[uint256, uint256])

# Parameter and what it is of -> from when it may be moved by a step again, unix seconds.
next_step_at: public(HashMap[uint256, HashMap[uint256, uint256]])


@deploy
def __init__(
    timelock: address,
    guardian_: address,
    steward_: address,
    clearinghouse: address,
    exchange: address,
    oracle: address,
    listings: address,
    perps: address,
    lending_vault: address,
    liquidity_vault: address,
    keepers: address,
):
    """
    @notice Owns nothing yet: each room is offered to it by its owner and taken by `accept`.
    @param timelock   Owner from the start.
    @param guardian_  Empty for none; so the steward.
    """
    ownable.__init__()
    ownable_2step.__init__()
    ownable_2step._transfer_ownership(timelock)
    CLEARINGHOUSE = clearinghouse
    EXCHANGE = exchange
    ORACLE = oracle
    LISTINGS = listings
    PERPS = perps
    LENDING_VAULT = lending_vault
    LIQUIDITY_VAULT = liquidity_vault
    KEEPERS = keepers
    self._put_guardian(guardian_)
    self._put_steward(steward_)


################################################################
#                            Anyone                            #
################################################################


@external
def accept(room: address):
    """@notice Takes what is offered; a call that takes no argument and gives nothing away."""
    self._require_other(room)
    extcall IOwned(room).accept_ownership()


################################################################
#                The timelock, after its delay                 #
################################################################


@external
def execute(target: address, payload: Bytes[MAX_PAYLOAD]):
    """@notice Whatever an owner may do. Afterwards the rooms still have to fit each other."""
    ownable._check_owner()
    self._require_target(target)
    if target == ORACLE:
        self._book_feed(payload)
    raw_call(target, payload)
    if target == ORACLE:
        self._require_calm_markets()


@external
def set_guardian(guardian: address):
    """@notice Names another guardian; the role of canceller is the timelock's to move."""
    ownable._check_owner()
    self._put_guardian(guardian)


@external
def set_steward(steward: address):
    """@notice Names another steward."""
    ownable._check_owner()
    self._put_steward(steward)


@external
def lift_pause(assets: DynArray[uint256, 16]):
    """@notice Ends pauses early; the guardian has to leave the assets alone as if they had run out."""
    ownable._check_owner()
    for asset: uint256 in assets:
        self.next_pause_at[asset] = min(self.next_pause_at[asset], block.timestamp + PAUSE_GAP_S)
        extcall IRiskOracle(ORACLE).set_pause(asset, 0)


################################################################
#              The guardian, at once, only less                #
################################################################


@external
def pause(assets: DynArray[uint256, 16]):
    """@notice No increase of risk on these assets for three days."""
    self._check_guardian()
    until: uint256 = block.timestamp + PAUSE_S
    for asset: uint256 in assets:
        self._check_may_pause(self.next_pause_at[asset])
        self._require_longer(until, staticcall IRiskOracle(ORACLE).paused_until(asset))
        self.next_pause_at[asset] = until + PAUSE_GAP_S
        extcall IRiskOracle(ORACLE).set_pause(asset, until)


@external
def close_market(asset: uint256):
    """@notice Leaves reductions as the only trades."""
    self._check_guardian()
    extcall IPerps(PERPS).set_close_only(asset, True)


@external
def forbid_adapter(adapter: address):
    """@notice Takes a swap venue away."""
    self._check_guardian()
    self._require_allowed(staticcall IExchange(EXCHANGE).is_adapter(adapter))
    extcall IListings(LISTINGS).set_adapter(adapter, False)


@external
def forbid_pull_feed(feed: address):
    """@notice Takes a pull feed away."""
    self._check_guardian()
    self._require_allowed(staticcall IKeepers(KEEPERS).is_pull_feed(feed))
    extcall IKeepers(KEEPERS).set_pull_feed(feed, False)


################################################################
#        Guardian or steward down, the steward a step up       #
################################################################


@external
def set_supply_cap(asset: uint256, supply_cap_wad: uint256):
    """@notice Moves the supply cap of a collateral."""
    old_wad: uint256 = packing._cap_wad(staticcall IClearinghouse(CLEARINGHOUSE).supply_word(asset))
    self._move(SUPPLY_CAP, asset, old_wad, supply_cap_wad)
    limit_bps: uint256 = packing._swap_limit_bps(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset))
    extcall IListings(LISTINGS).set_asset_limits(asset, supply_cap_wad, limit_bps)


@external
def set_market_caps(
    asset: uint256, open_interest_cap_gwei: uint256, skew_cap_gwei: uint256, round_cap_gwei: uint256
):
    """
    @notice Moves the open-interest cap of a market, lowers the other two.
    @dev    Funding is at its maximum where the skew is at its cap, so a lower cap makes those pay more who are in already:
            at most twice as much a day.
    """
    self._check_guardian_or_steward()
    terms: IPerps.Terms = staticcall IPerps(PERPS).terms_of(asset)
    is_lower: bool = skew_cap_gwei <= terms.skew_cap_gwei and round_cap_gwei <= terms.round_cap_gwei
    is_other: bool = skew_cap_gwei != terms.skew_cap_gwei or round_cap_gwei != terms.round_cap_gwei
    self._require_lower(is_lower and (is_other or open_interest_cap_gwei != terms.open_interest_cap_gwei))
    if open_interest_cap_gwei > terms.open_interest_cap_gwei:
        self._move(OPEN_INTEREST_CAP, asset, terms.open_interest_cap_gwei, open_interest_cap_gwei)
    if skew_cap_gwei < terms.skew_cap_gwei:
        self._require_step(2 * skew_cap_gwei >= terms.skew_cap_gwei)
        self._book_step(SKEW_CAP, asset)
    terms.open_interest_cap_gwei = open_interest_cap_gwei
    terms.skew_cap_gwei = skew_cap_gwei
    terms.round_cap_gwei = round_cap_gwei
    extcall IPerps(PERPS).set_terms(asset, terms)


@external
def set_deposit_cap(vault: address, deposit_cap: uint256):
    """@notice Moves the size above which nobody enters a vault."""
    self._require_vault(vault)
    self._move(DEPOSIT_CAP, convert(vault, uint256), staticcall ICapped(vault).deposit_cap(), deposit_cap)
    extcall ICapped(vault).set_deposit_cap(deposit_cap)


################################################################
#                      The steward, in steps                   #
################################################################


@external
def set_rate(rate: ILendingVault.RateParameters):
    """@notice Moves the curve of the borrowing rate, as one tuple: each of its numbers by a step at most."""
    self._check_steward()
    old: ILendingVault.RateParameters = staticcall ILendingVault(LENDING_VAULT).rate_parameters()
    is_near: bool = self._is_near(old.base_bps, rate.base_bps) and self._is_near(old.slope_low_bps, rate.slope_low_bps)
    self._require_step(
        is_near
        and self._is_near(old.slope_high_bps, rate.slope_high_bps)
        and self._is_near(old.kink_bps, rate.kink_bps)
    )
    self._book_step(RATE, 0)
    extcall ILendingVault(LENDING_VAULT).set_rate(rate)


@external
def set_fee(fee: uint256):
    """@notice Moves the fee of a watched account's turn."""
    self._check_steward()
    self._require_step(self._is_near(staticcall IKeepers(KEEPERS).fee(), fee))
    self._book_step(FEE, 0)
    extcall IKeepers(KEEPERS).set_fee(fee)


@external
def raise_margin(asset: uint256, parameters: IRiskOracle.Parameters):
    """
    @notice Raises what an asset requires.
    @dev    A change under way is not disturbed, so there is one in a notice period at most.
    """
    self._check_steward()
    now: IRiskOracle.Parameters = empty(IRiskOracle.Parameters)
    final: IRiskOracle.Parameters = empty(IRiskOracle.Parameters)
    final_at: uint256 = empty(uint256)
    now, final, final_at = staticcall IRiskOracle(ORACLE).parameters(asset)
    self._check_settled(final_at)
    is_step: bool = (
        self._is_raised(now.z_init_bps, parameters.z_init_bps)
        and self._is_raised(now.floor_init_bps, parameters.floor_init_bps)
        and self._is_raised(now.cap_init_bps, parameters.cap_init_bps)
        and self._is_raised(now.z_maint_bps, parameters.z_maint_bps)
        and self._is_raised(now.floor_maint_bps, parameters.floor_maint_bps)
        and self._is_raised(now.cap_maint_bps, parameters.cap_maint_bps)
        and self._is_raised(now.z_l_bps, parameters.z_l_bps)
        and self._is_raised(now.floor_l_bps, parameters.floor_l_bps)
        and self._is_raised(now.cap_l_bps, parameters.cap_l_bps)
    )
    self._require_step(is_step and self._is_lowered(now.quota_gwei, parameters.quota_gwei))
    extcall IRiskOracle(ORACLE).set_parameters(asset, parameters)


################################################################
#                            Steps                             #
################################################################


@internal
def _move(parameter: uint256, of: uint256, old: uint256, new: uint256):
    """@dev Down: either of them, at once and as far as they like. Up: the steward, by a step."""
    if new < old:
        self._check_guardian_or_steward()
        return
    self._check_steward()
    self._require_step(new <= old + self._part_down(old, STEP_PERCENT))
    self._book_step(parameter, of)


@internal
def _book_step(parameter: uint256, of: uint256):
    self._check_may_step(self.next_step_at[parameter][of])
    self.next_step_at[parameter][of] = block.timestamp + STEP_S


@internal
def _book_feed(payload: Bytes[MAX_PAYLOAD]):
    """@dev Each new feed may differ from the one before it. No call of the oracle is shorter than what is read here."""
    if convert(slice(payload, 0, 4), bytes4) == SET_FEED:
        self._book_step(FEED, convert(slice(payload, 4, 32), uint256))


@internal
@pure
def _is_near(old: uint256, new: uint256) -> bool:
    """@dev Either way, where neither of both is the safe one."""
    return max(old, new) - min(old, new) <= self._part_down(old, STEP_PERCENT)


@internal
@pure
def _is_raised(old: uint256, new: uint256) -> bool:
    return new >= old and new - old <= self._part_down(old, MARGIN_STEP_PERCENT)


@internal
@pure
def _is_lowered(old: uint256, new: uint256) -> bool:
    """@dev Fewer units that count as collateral are a higher requirement, too."""
    return new <= old and old - new <= self._part_down(old, MARGIN_STEP_PERCENT)


@internal
@pure
def _part_down(old: uint256, percent: uint256) -> uint256:
    return old * percent // 100


@internal
def _put_guardian(new: address):
    log IGovernance.GuardianChanged(old=self.guardian, new=new)
    self.guardian = new


@internal
def _put_steward(new: address):
    log IGovernance.StewardChanged(old=self.steward, new=new)
    self.steward = new


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_guardian():
    if msg.sender != self.guardian:
        reasons._fail("governance: only the guardian")


@internal
@view
def _check_steward():
    if msg.sender != self.steward:
        reasons._fail("governance: only the steward")


@internal
@view
def _check_guardian_or_steward():
    if msg.sender != self.guardian and msg.sender != self.steward:
        reasons._fail("governance: guardian or steward")


@internal
@view
def _check_may_pause(from_: uint256):
    if block.timestamp < from_:
        reasons._fail("governance: paused too recently")


@internal
@view
def _check_may_step(from_: uint256):
    if block.timestamp < from_:
        reasons._fail("governance: one step a day")


@internal
@view
def _check_settled(final_at: uint256):
    if block.timestamp < final_at:
        reasons._fail("governance: change under way")


@internal
@view
def _require_other(target: address):
    if target == self:
        reasons._fail("governance: not itself")


@internal
@view
def _require_target(target: address):
    """
    @dev A token never: it could only be money that is somebody's. A vault is a room as well, and its shares may be listed;
         none of them lie here.
    """
    self._require_other(target)
    quote: address = packing._token(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(0))
    is_token: bool = target == quote or staticcall IListings(LISTINGS).asset_of(target) != 0
    is_vault: bool = target == LENDING_VAULT or target == LIQUIDITY_VAULT
    if not target.is_contract or (is_token and not is_vault):
        reasons._fail("governance: bad target")


@internal
@pure
def _require_allowed(is_allowed: bool):
    if not is_allowed:
        reasons._fail("governance: not allowed anyway")


@internal
@pure
def _require_longer(new_until: uint256, old_until: uint256):
    """@dev The timelock may have paused it for longer."""
    if new_until <= old_until:
        reasons._fail("governance: already paused")


@internal
@pure
def _require_lower(is_lower: bool):
    if not is_lower:
        reasons._fail("governance: not lower")


@internal
@pure
def _require_step(is_step: bool):
    if not is_step:
        reasons._fail("governance: step too large")


@internal
@view
def _require_vault(vault: address):
    if vault != LENDING_VAULT and vault != LIQUIDITY_VAULT:
        reasons._fail("governance: not a vault")


@internal
@view
def _require_calm_markets():
    """
    @dev I40: a market's skew stays where the premium is below half of the least rate on gross. The market checks that when
         its terms are set; a lower rate must not undo it.
    """
    is_calm: bool = True
    ids: DynArray[uint256, 16] = staticcall IPerps(PERPS).market_ids()
    for asset: uint256 in ids:
        now: IRiskOracle.Parameters = empty(IRiskOracle.Parameters)
        final: IRiskOracle.Parameters = empty(IRiskOracle.Parameters)
        final_at: uint256 = empty(uint256)
        now, final, final_at = staticcall IRiskOracle(ORACLE).parameters(asset)
        terms: IPerps.Terms = staticcall IPerps(PERPS).terms_of(asset)
        # What falls has fallen already.
        is_calm = is_calm and 2 * BPS * terms.skew_cap_gwei <= terms.depth_gwei * now.floor_l_bps
    if not is_calm:
        reasons._fail("governance: skew cap too high")
