# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Deleverager
@license MIT
@author  Ballast contributors
@notice  What closes positions without their owners: while the house is below maintenance, winners at the index price,
         those whose position carries their own exposure first and hedges last; and the end of a market, where every
         position is closed at one price.
@dev     No discretion: who may be closed, and how much, follows from the ledger. Closing at the index moves no equity,
         it takes requirement off the house.
         The end of a market is announced by the owner while the market is close-only, so a pause alone ends nothing.
         The first sound round that was made after the notice and that somebody brings is the price of all: nobody can
         have known it when it could still be chosen, and whoever is closed first or last gets the same.
@custom:invariant I19
@custom:kill  Deleveraging: nothing to stop, it acts only while the house is below maintenance. An announced wind-down is
              called off by opening the market.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IDeleverager
from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.modules import attempts
from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import markets
from contracts.modules import orders
from contracts.modules import packing
from contracts.modules import reasons
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IDeleverager

initializes: ownable
initializes: ownable_2step[ownable := ownable]

exports: (
    ownable.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

# Hedges are closed only when the house has been below maintenance so long, or has nothing left.
HEDGE_GRACE_S: constant(uint256) = 1_800
# The house counts as below maintenance for as long as somebody finds it there at least so often.
WATCH_S: constant(uint256) = 600
REBALANCE_FOR: constant(Bytes[4]) = method_id("rebalance_for(uint256,uint256)")

# Time to leave a market by one's own trades before it is wound down.
NOTICE_S: constant(uint256) = 259_200
MAX_ACCOUNTS: constant(uint256) = 32

CLEARINGHOUSE: public(immutable(address))
PERPS: public(immutable(address))
MANDATES: public(immutable(address))
HOUSE: public(immutable(uint256))

# Since when the house is below maintenance u40, 0 if it was not when last looked at | when that was u40.
_watch: uint256

# When the end of a market was announced u40 | the price of all who are left u96, 0 until it is latched.
_wind_downs: HashMap[uint256, uint256]


@deploy
def __init__(clearinghouse: address, perps: address, mandates: address, house_owner: address):
    """
    @param clearinghouse  The ledger.
    @param perps          Prices and counts what is closed.
    @param mandates       Where a hook is called after one of its account's hedges was closed.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    """
    ownable.__init__()
    ownable_2step.__init__()
    CLEARINGHOUSE = clearinghouse
    PERPS = perps
    MANDATES = mandates
    HOUSE = packing._account(house_owner, 0)


@external
def flag_house() -> uint256:
    """@notice Records since when the house is below maintenance."""
    self._check_idle()
    equity: int256 = 0
    required: int256 = 0
    equity, required = self._house_maintenance()
    return self._watched(equity < required)


@external
def adl(account: uint256, asset: uint256, size_wad: uint256):
    """@notice Closes a winner's position at the index price while the house is below maintenance."""
    self._check_idle()
    self._require_unlatched(self._latched_wad(asset))
    equity: int256 = 0
    required: int256 = 0
    equity, required = self._house_maintenance()
    self._require_house_short(equity < required)
    scene: IPerps.Scene = staticcall IClearinghouse(CLEARINGHOUSE).scene_of(account, asset)
    size: int256 = packing._size_wad(scene.position_word)
    skew: int256 = self._skew(asset)
    is_counted: bool = account != HOUSE and size != 0 and skew != 0 and (size > 0) == (skew > 0)
    self._require_winner(is_counted and self._is_winner(scene))
    delta: int256 = convert(packing._collateral_wad(scene.position_word), int256) + size
    is_hedge: bool = delta == 0 or (delta > 0) != (size > 0)
    since: uint256 = self._watched(True)
    if is_hedge:
        self._require_hedge_due(equity < 0 or block.timestamp >= since + HEDGE_GRACE_S)
    needed: uint256 = self._needed_up(
        convert(required - equity, uint256), skew, scene.price_word, scene.risk_word
    )
    closed: uint256 = min(min(size_wad, needed), min(fixed_point._abs(size), fixed_point._abs(skew)))
    closed = closed - closed % markets.SIZE_STEP
    change: int256 = convert(closed, int256)
    if size > 0:
        change = -change
    orders._require_live(packing._flags(scene.price_word))
    index: uint256 = packing._newest_wad(scene.price_word)
    extcall IPerps(PERPS).deleverage(account, asset, change, index)
    log IDeleverager.Deleveraged(
        account=account, asset=asset, size_change=change, index_wad=index, is_hedge=is_hedge
    )
    if is_hedge:
        self._call_hook(account)


################################################################
#                      The end of a market                     #
################################################################


@external
def start_wind_down(asset: uint256):
    """@notice Announces the end of a market that is close-only."""
    ownable._check_owner()
    self._require_unlatched(self._latched_wad(asset))
    self._require_close_only(self._is_closed_since(asset, block.timestamp))
    self._wind_downs[asset] = block.timestamp
    log IDeleverager.WindDownStarted(asset=asset, due_at=block.timestamp + NOTICE_S)


@external
def wind_down(asset: uint256, accounts: DynArray[uint256, MAX_ACCOUNTS]):
    """@notice Closes positions at the one price of a market that ends."""
    self._check_idle()
    price: uint256 = self._latched_wad(asset)
    if price == 0:
        price = self._latch(asset)
    for account: uint256 in accounts:
        size: int256 = packing._size_wad(staticcall IClearinghouse(CLEARINGHOUSE).position_word(account, asset))
        if size == 0 or account == HOUSE:
            continue
        extcall IPerps(PERPS).deleverage(account, asset, -size, price)
        log IDeleverager.WoundDown(account=account, asset=asset, size_change=-size)


@external
@view
def wind_down_of(asset: uint256) -> (uint256, uint256):
    """@notice When a market is due to end, and the price at which it did."""
    word: uint256 = self._wind_downs[asset]
    due_at: uint256 = 0
    if word != 0:
        due_at = (word & packing.MASK_40) + NOTICE_S
    return due_at, word >> 40


@external
@view
def below_since() -> uint256:
    """@notice Since when the house is flagged below maintenance."""
    return self._watch & packing.MASK_40


@internal
@view
def _latched_wad(asset: uint256) -> uint256:
    """@dev 0 as long as the market has not ended."""
    return self._wind_downs[asset] >> 40


@internal
@view
def _is_closed_since(asset: uint256, time: uint256) -> bool:
    """@dev Close-only since then, without a break."""
    closed_at: uint256 = staticcall IPerps(PERPS).closed_at(asset)
    return closed_at != 0 and closed_at <= time


@internal
def _latch(asset: uint256) -> uint256:
    """@dev The round is one that was made after the notice; Perps refuses a price that is not sound."""
    announced_at: uint256 = self._wind_downs[asset]
    self._require_announced(announced_at)
    self._require_close_only(self._is_closed_since(asset, announced_at))
    mark: uint256 = (staticcall IClearinghouse(CLEARINGHOUSE).scene_of(HOUSE, asset)).price_word
    self._require_round(packing._made_at(mark) >= announced_at + NOTICE_S)
    extcall IPerps(PERPS).latch(asset)
    price: uint256 = packing._newest_wad(mark)
    self._wind_downs[asset] = announced_at | (price << 40)
    log IDeleverager.MarketLatched(asset=asset, price_wad=price)
    return price


################################################################
#                           The house                          #
################################################################


@internal
def _watched(is_below: bool) -> uint256:
    """@dev Since when the house is below maintenance without a gap in which nobody looked; 0 if it is not."""
    watch: uint256 = self._watch
    since: uint256 = watch & packing.MASK_40
    if not is_below:
        since = 0
    elif since == 0 or block.timestamp > (watch >> 40) + WATCH_S:
        since = block.timestamp
    self._watch = since | (block.timestamp << 40)
    if since != watch & packing.MASK_40:
        log IDeleverager.HouseFlagged(below_since=since)
    return since


@internal
@view
def _house_maintenance() -> (int256, int256):
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity: int256 = 0
    required: uint256 = 0
    equity_init, required_init, equity, required = staticcall IClearinghouse(CLEARINGHOUSE).assess(HOUSE)
    return equity, convert(required, int256)


@internal
@view
def _skew(asset: uint256) -> int256:
    longs: uint256 = 0
    shorts: uint256 = 0
    longs, shorts = staticcall IPerps(PERPS).exposure_of(asset)
    return convert(longs, int256) - convert(shorts, int256)


@internal
@pure
def _needed_up(shortfall: uint256, skew: int256, price_word: uint256, risk_word: uint256) -> uint256:
    """@dev Units of the house's position that free the shortfall; the caller rounds down to steps, so up to one here."""
    house_word: uint256 = margin._house_word(risk_word, packing._position_word(0, -skew))
    rate_e6: uint256 = packing._r_maint_e6(house_word) + packing._l_maint_e6(house_word)
    return (
        fixed_point._mul_div_up(
            shortfall, fixed_point.WAD * fixed_point.RATE, packing._newest_wad(price_word) * rate_e6
        )
        + markets.SIZE_STEP - 1
    )


@internal
@view
def _is_winner(scene: IPerps.Scene) -> bool:
    """@dev u > 0 at the newest price."""
    move: int256 = convert(packing._newest_wad(scene.price_word), int256) - packing._funding_at(
        scene.market_word, block.timestamp
    )
    size: int256 = packing._size_wad(scene.position_word)
    return fixed_point._mul_wad_floor_signed(size, move) > packing._cost_wad(scene.cost_word)


@internal
def _call_hook(account: uint256):
    """
    @dev The account lost a hedge: its own hook gets its turn at once, with all the gas that a mandate needs, and pays whoever
         called. A hook that fails undoes nothing.
    """
    if staticcall IMandates(MANDATES).hook_of(account) == empty(address):
        return
    self._require_hook_gas()
    success: bool = raw_call(
        MANDATES,
        abi_encode(account, packing._account(msg.sender, 0), method_id=REBALANCE_FOR),
        gas=attempts.MANDATE_GAS,
        revert_on_failure=False,
    )
    log IDeleverager.HookCalled(account=account, success=success)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_idle():
    if staticcall IClearinghouse(CLEARINGHOUSE).call_state() != 0:
        reasons._fail("deleverager: clearinghouse busy")


@internal
@pure
def _require_house_short(is_short: bool):
    if not is_short:
        reasons._fail("deleverager: house not short")


@internal
@pure
def _require_winner(is_winner: bool):
    if not is_winner:
        reasons._fail("deleverager: no winner to close")


@internal
@pure
def _require_hedge_due(is_due: bool):
    if not is_due:
        reasons._fail("deleverager: hedges last")


@internal
@pure
def _require_unlatched(latched_wad: uint256):
    if latched_wad != 0:
        reasons._fail("deleverager: market wound down")


@internal
@pure
def _require_close_only(is_close_only: bool):
    if not is_close_only:
        reasons._fail("deleverager: not close-only")


@internal
@pure
def _require_announced(announced_at: uint256):
    if announced_at == 0:
        reasons._fail("deleverager: not announced")


@internal
@pure
def _require_round(is_later: bool):
    if not is_later:
        reasons._fail("deleverager: notice not over")


@internal
@view
def _require_hook_gas():
    if not attempts._has_gas(attempts.MANDATE_GAS):
        reasons._fail("deleverager: gas too low")
