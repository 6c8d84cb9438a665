# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Perps
@license MIT
@author  Ballast contributors
@notice  Perpetual markets: prices trades, limits them, runs funding, and keeps count of what the house can still back.
@dev     Holds no balance: the clearing house asks for a fill and books it. `trade` and `deleverage` call the ledger,
         which calls back `fill`; the lock would refuse that, so they hold none, and the ledger's state word guards
         them.
         Assumptions:
         1. The ledger hands in true sizes, costs and marks, and books every fill or reverts.
         2. Headroom is what keeps lenders whole: the house must be able to pay every short at a fall to zero even if
            all longs have closed, so each side is backed in gross and a reduction is never refused.
@custom:invariant I18 I19 I20
@custom:kill  Close-only in every market: positions shrink and settle, none grows. For good: the deleverager winds it down.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IPerps
from contracts.interfaces import IRiskOracle
from contracts.modules import backing
from contracts.modules import fixed_point
from contracts.modules import increases
from contracts.modules import market_books
from contracts.modules import markets
from contracts.modules import orders
from contracts.modules import packing
from contracts.modules import reasons
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IPerps

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: market_books
initializes: increases[market_books := market_books]
initializes: backing[market_books := market_books]

exports: (
    ownable.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

MAX_LOSERS: constant(uint256) = 8

CLEARINGHOUSE: public(immutable(address))
ORACLE: public(immutable(address))
MANDATES: public(immutable(address))
LIQUIDATOR: public(immutable(address))
DELEVERAGER: public(immutable(address))
HOUSE: public(immutable(uint256))

# The deleverager closes a position: the next fill is at the price that its order names.
_is_forced: transient(bool)


@deploy
def __init__(
    clearinghouse: address,
    oracle: address,
    mandates: address,
    liquidator: address,
    deleverager: address,
    house_owner: address,
):
    """
    @param clearinghouse  The ledger; may be deployed later.
    @param oracle         Risk oracle.
    @param mandates       The only contract that may settle while a mandate is open.
    @param liquidator     The only contract that may offset sides and collect for insurance; may be deployed later.
    @param deleverager    The only contract that may deleverage; may be deployed later.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    """
    ownable.__init__()
    ownable_2step.__init__()
    CLEARINGHOUSE = clearinghouse
    ORACLE = oracle
    MANDATES = mandates
    LIQUIDATOR = liquidator
    DELEVERAGER = deleverager
    HOUSE = packing._account(house_owner, 0)


################################################################
#                          For traders                         #
################################################################


# The ledger calls back `fill`; its state word, not this lock, keeps others out meanwhile.
@external
@reentrant
def trade(
    account: uint256,
    asset: uint256,
    size_change: int256,
    acceptable_price: uint256,
    deadline: uint256,
    reduce_only: bool,
) -> uint256:
    """@notice Buys or sells perpetuals; priced in `fill`, booked by the ledger."""
    return extcall IClearinghouse(CLEARINGHOUSE).trade(
        msg.sender,
        IPerps.Order(
            account=account,
            asset=asset,
            size_change=size_change,
            acceptable_price=acceptable_price,
            slippage_bps=max_value(uint256),
            deadline=deadline,
            reduce_only=reduce_only,
        ),
        False,
    )


@external
def settle(account: uint256, asset: uint256, losers: DynArray[IPerps.Loser, MAX_LOSERS]) -> int256:
    """@notice Pays out a gain, collecting losses as far as it needs them."""
    self._check_idle()
    self._require_trader(account)
    market_books._require_market(market_books._prices[asset])
    moved: int256 = self._settle(account, asset, max_value(uint256), True)
    for loser: IPerps.Loser in losers:
        self._require_trader(loser.account)
        missing: int256 = self._due(account, asset)
        if missing <= 0:
            break
        self._settle(loser.account, loser.asset, convert(missing, uint256), False)
        more: int256 = self._settle(account, asset, max_value(uint256), True)
        moved += more
    return moved


@external
def settle_in_mandate(account: uint256, asset: uint256) -> int256:
    """@notice Pays out a gain at the marks of the mandate under way."""
    self._check_mandates()
    return self._settle(account, asset, max_value(uint256), True)


################################################################
#                            Anyone                            #
################################################################


@external
def refresh():
    """@notice Recomputes headroom and moves the breakers' anchors."""
    self._check_idle()
    ids: DynArray[uint256, market_books.MAX_MARKETS] = market_books._ids
    marks: DynArray[uint256, 32] = self._marks(ids)
    free: uint256 = backing._free_wad(self._house_equity(), ids, marks)
    for i: uint256 in range(len(ids), bound=market_books.MAX_MARKETS):
        asset: uint256 = ids[i]
        price: uint256 = packing._newest_wad(marks[2 * i])
        share: uint256 = free * markets._weight_bps(market_books._prices[asset]) // fixed_point.BPS
        headroom: uint256 = markets._headroom_word(
            backing._backed_gwei(share, price, backing._short_rate_e6(marks[2 * i + 1])),
            backing._backed_gwei(share, price, backing._long_rate_e6(marks[2 * i + 1])),
            block.timestamp,
            markets._insured_gwei(market_books._headrooms[asset]),
        )
        market_books._headrooms[asset] = headroom
        increases._move_breaker(asset, price)
        log IPerps.HeadroomRefreshed(asset=asset, headroom_word=headroom)


@external
def accrue(asset: uint256):
    """@notice Brings funding up to now and sets its rate anew."""
    self._accrue(asset)


################################################################
#              For the deleverager and the liquidator          #
################################################################


# The ledger calls back `fill`.
@external
@reentrant
def deleverage(account: uint256, asset: uint256, size_change: int256, price_wad: uint256):
    """@notice Closes part of a position at a price that the deleverager names."""
    self._check_deleverager()
    self._is_forced = True
    extcall IClearinghouse(CLEARINGHOUSE).trade(
        empty(address),
        IPerps.Order(
            account=account,
            asset=asset,
            size_change=size_change,
            acceptable_price=price_wad,
            slippage_bps=max_value(uint256),
            deadline=block.timestamp,
            reduce_only=True,
        ),
        True,
    )
    self._is_forced = False


@external
def latch(asset: uint256):
    """@notice Ends a market: what is open is only closed from here on, and by the deleverager."""
    self._check_deleverager()
    price_word: uint256 = self._marks([asset])[0]
    orders._require_usable(packing._flags(price_word))
    index: uint256 = packing._newest_wad(price_word)
    increases._require_untripped(markets._is_tripped(increases._move_breaker(asset, index), index))
    market_books._prices[asset] &= markets.WEIGHTLESS
    limits: uint256 = market_books._limits[asset] & ~markets.FUNDED
    market_books._limits[asset] = markets._with_closed_at(limits, markets.LATCHED)
    self._accrue(asset)


@external
def offset(asset: uint256, size_wad: uint256):
    """@notice A long and a short met in one account."""
    self._check_liquidator()
    exposure: uint256 = market_books._exposures[asset]
    units: uint256 = size_wad // markets.SIZE_STEP
    market_books._exposures[asset] = markets._exposure_word(
        markets._longs(exposure) - units,
        markets._shorts(exposure) - units,
        markets._round_at(exposure),
        markets._start_skew(exposure),
    )
    change: int256 = -convert(units, int256)
    increases._move_headroom(asset, change, change, False, 0)
    log IPerps.Offset(asset=asset, size_wad=size_wad)


@external
def take_insurance_fees(most_wad: uint256) -> uint256:
    """@notice Counts out what fees owe insurance."""
    self._check_liquidator()
    left: uint256 = most_wad // markets.SIZE_STEP
    total: uint256 = 0
    for asset: uint256 in market_books._ids:
        headroom: uint256 = market_books._headrooms[asset]
        taken: uint256 = min(markets._insured_gwei(headroom), left - total)
        total += taken
        market_books._headrooms[asset] = headroom - (taken << 184)
    return total * markets.SIZE_STEP


################################################################
#                         For the ledger                       #
################################################################


@external
def fill(order: IPerps.Order, scene: IPerps.Scene) -> IPerps.Fill:
    """@notice Prices a trade and counts it."""
    self._check_clearinghouse()
    prices: uint256 = market_books._prices[order.asset]
    limits: uint256 = market_books._limits[order.asset]
    market_books._require_market(prices)
    flags: uint256 = packing._flags(scene.price_word)
    is_forced: bool = self._is_forced
    if not is_forced:
        # Cut out by hand, as this is on the way of every trade.
        if flags & packing.IS_STALE != 0 or limits >> 232 == markets.LATCHED:
            orders._require_live(flags)
            self._require_unlatched(limits)
    old_size: int256 = packing._size_wad(scene.position_word)
    change: int256 = orders._change(order, old_size)
    orders._require_in_time(order.deadline)

    size: int256 = old_size + change
    long_gwei: int256 = orders._gwei(max(size, 0) - max(old_size, 0))
    short_gwei: int256 = orders._gwei(max(-size, 0) - max(-old_size, 0))
    is_increase: bool = long_gwei > 0 or short_gwei > 0
    index: uint256 = packing._newest_wad(scene.price_word)
    exposure: uint256 = market_books._exposures[order.asset]
    skew: int256 = markets._skew(exposure)
    start_skew: int256 = markets._start_skew(exposure)
    if markets._round_at(exposure) != packing._made_at(scene.price_word):
        start_skew = skew
    after: uint256 = markets._exposure_word(
        convert(convert(markets._longs(exposure), int256) + long_gwei, uint256),
        convert(convert(markets._shorts(exposure), int256) + short_gwei, uint256),
        packing._made_at(scene.price_word),
        start_skew,
    )
    if is_increase:
        increases._check_increase(order.asset, prices, limits, flags, index, exposure, after, size)
    fee_e6: uint256 = 0
    if not is_forced:
        fee_e6 = markets._fee_e6(prices, limits, scene.risk_word)
    insured: uint256 = markets._insured_part_gwei(orders._gwei(change), index, fee_e6)
    increases._move_headroom(order.asset, long_gwei, short_gwei, is_increase, insured)
    market_books._exposures[order.asset] = after

    price: uint256 = order.acceptable_price
    if not is_forced:
        basis: uint256 = orders._basis(scene.price_word, is_increase, change)
        price = markets._fill_price(basis, skew, orders._gwei(change), prices, fee_e6)
        orders._require_price(order, change, price, index)
    market_word: uint256 = self._touched(
        scene.market_word, index, markets._skew(after), prices, limits
    )
    price_signed: int256 = convert(price, int256)
    funding: int256 = packing._funding_at(market_word, block.timestamp)
    cost_change: int256 = -fixed_point._mul_wad_floor_signed(-change, price_signed - funding)
    cost: int256 = packing._cost_wad(scene.cost_word) + cost_change
    if is_increase:
        orders._require_bookable(size, index, cost)
    entry: int256 = markets._entry_wad(old_size, packing._entry_wad(scene.cost_word), size, change, price_signed)
    log IPerps.Traded(
        account=order.account,
        asset=order.asset,
        size_change=change,
        cost_change=cost_change,
        index_wad=index,
        price_wad=price,
        fee_e6=fee_e6,
        cost_word=packing._cost_word(cost, entry),
        market_word=market_word,
        exposure_word=after,
    )
    return IPerps.Fill(
        size_change=change,
        price_wad=price,
        cost_change=cost_change,
        entry_wad=entry,
        market_word=market_word,
    )


################################################################
#                         The governor                         #
################################################################


@external
def list_market(asset: uint256, terms: IPerps.Terms):
    """@notice Opens a market."""
    ownable._check_owner()
    self._require_new(asset)
    market_books._ids.append(asset)
    log IPerps.MarketListed(asset=asset)
    self._put_terms(asset, terms, 0)


@external
def set_terms(asset: uint256, terms: IPerps.Terms):
    """@notice Changes how a market trades."""
    ownable._check_owner()
    market_books._require_market(market_books._prices[asset])
    limits: uint256 = market_books._limits[asset]
    self._require_unlatched(limits)
    self._put_terms(asset, terms, markets._closed_at(limits))


@external
def set_close_only(asset: uint256, is_close_only: bool):
    """@notice Stops or allows increases in a market."""
    ownable._check_owner()
    market_books._require_market(market_books._prices[asset])
    limits: uint256 = market_books._limits[asset]
    self._require_unlatched(limits)
    closed_at: uint256 = 0
    if is_close_only:
        closed_at = markets._closed_at(limits)
        if closed_at == 0:
            closed_at = block.timestamp >> 8
    market_books._limits[asset] = markets._with_closed_at(limits, closed_at)
    log IPerps.ModeChanged(asset=asset, is_close_only=is_close_only)


################################################################
#                            Views                             #
################################################################


@external
@view
def quote(asset: uint256, account: uint256, size_change: int256) -> (uint256, uint256, uint256):
    """@notice Fill price, index price and fee rate of a trade now."""
    orders._require_step(size_change > -orders.SIZE_END_WAD and size_change < orders.SIZE_END_WAD)
    prices: uint256 = market_books._prices[asset]
    market_books._require_market(prices)
    # Position and mark in one answer; inside a mandate the mark is the one that it fixed.
    scene: IPerps.Scene = staticcall IClearinghouse(CLEARINGHOUSE).scene_of(account, asset)
    old: int256 = packing._size_wad(scene.position_word)
    new: int256 = old + size_change
    is_increase: bool = max(new, 0) > max(old, 0) or max(-new, 0) > max(-old, 0)
    fee_e6: uint256 = markets._fee_e6(prices, market_books._limits[asset], scene.risk_word)
    basis: uint256 = orders._basis(scene.price_word, is_increase, size_change)
    skew: int256 = markets._skew(market_books._exposures[asset])
    price: uint256 = markets._fill_price(basis, skew, orders._gwei(size_change), prices, fee_e6)
    return price, packing._newest_wad(scene.price_word), fee_e6


@external
@view
def largest_increase(asset: uint256, account: uint256, is_long: bool) -> uint256:
    """@notice The most that everything but margin lets a side of an account grow by."""
    market_books._require_market(market_books._prices[asset])
    scene: IPerps.Scene = staticcall IClearinghouse(CLEARINGHOUSE).scene_of(account, asset)
    if packing._flags(scene.price_word) & packing.NO_INCREASE != 0:
        return 0
    if increases._is_stopped(asset, packing._newest_wad(scene.price_word)):
        return 0
    size: int256 = orders._gwei(packing._size_wad(scene.position_word))
    if not is_long:
        size = -size
    return increases._room_gwei(asset, size, is_long, packing._made_at(scene.price_word)) * markets.SIZE_STEP


@external
@view
def free_wad() -> uint256:
    """@notice The house's initial equity beyond both sides of every market, funded in gross."""
    ids: DynArray[uint256, market_books.MAX_MARKETS] = market_books._ids
    marks: DynArray[uint256, 32] = self._marks(ids)
    return backing._free_wad(self._house_equity(), ids, marks)


@external
@view
def skew_charge_wad() -> uint256:
    """@notice sum p skew^2 / (2 depth) up."""
    ids: DynArray[uint256, market_books.MAX_MARKETS] = market_books._ids
    marks: DynArray[uint256, 32] = self._marks(ids)
    return backing._skew_charge_wad(ids, marks)


@external
@view
def uncertainty_wad() -> uint256:
    """@notice sum p |skew| (band + sigma sqrt(lag)) / 2 up."""
    ids: DynArray[uint256, market_books.MAX_MARKETS] = market_books._ids
    marks: DynArray[uint256, 32] = self._marks(ids)
    return backing._uncertainty_wad(ids, marks)


@external
@view
def oldest_round_at() -> uint256:
    """@notice Time of the oldest of the newest rounds over markets with a skew."""
    ids: DynArray[uint256, market_books.MAX_MARKETS] = market_books._ids
    marks: DynArray[uint256, 32] = self._marks(ids)
    oldest: uint256 = block.timestamp
    for i: uint256 in range(len(ids), bound=market_books.MAX_MARKETS):
        if markets._skew(market_books._exposures[ids[i]]) == 0:
            continue
        has_ended: bool = markets._closed_at(market_books._limits[ids[i]]) == markets.LATCHED
        if has_ended or packing._flags(marks[2 * i]) & packing.IS_STALE != 0:
            return 0
        oldest = min(oldest, packing._made_at(marks[2 * i]))
    return oldest


@external
@view
def market_ids() -> DynArray[uint256, market_books.MAX_MARKETS]:
    """@notice Assets with a market."""
    return market_books._ids


@external
@view
def terms_of(asset: uint256) -> IPerps.Terms:
    """@notice How a market trades."""
    return markets._terms(market_books._prices[asset], market_books._limits[asset])


@external
@view
def closed_at(asset: uint256) -> uint256:
    """@notice Since when a market is close-only."""
    return markets._closed_at(market_books._limits[asset]) << 8


@external
@view
def exposure_of(asset: uint256) -> (uint256, uint256):
    """@notice Traders' longs and shorts."""
    exposure: uint256 = market_books._exposures[asset]
    return markets._longs(exposure) * markets.SIZE_STEP, markets._shorts(exposure) * markets.SIZE_STEP


@external
@view
def headroom_of(asset: uint256) -> (uint256, uint256, uint256):
    """@notice By how much longs and shorts may still grow, and as of when."""
    headroom: uint256 = market_books._headrooms[asset]
    return (
        markets._longs(headroom) * markets.SIZE_STEP,
        markets._shorts(headroom) * markets.SIZE_STEP,
        markets._refreshed_at(headroom),
    )


@external
@view
def is_increase_stopped(asset: uint256) -> bool:
    """@notice Whether mode or breaker stops increases now."""
    marks: DynArray[uint256, 32] = self._marks([asset])
    return increases._is_stopped(asset, packing._newest_wad(marks[0]))


################################################################
#                           The house                          #
################################################################


@internal
@view
def _house_equity() -> int256:
    """@dev At initial margin, where results that are not paid count only if they are losses."""
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity_init, required_init, equity_maint, required_maint = staticcall IClearinghouse(CLEARINGHOUSE).assess(HOUSE)
    return equity_init


################################################################
#                          Positions                           #
################################################################


@internal
@view
def _due(account: uint256, asset: uint256) -> int256:
    """@dev What a perpetual has won or lost and not been paid."""
    return orders._due(staticcall IClearinghouse(CLEARINGHOUSE).scene_of(account, asset))


@internal
def _settle(account: uint256, asset: uint256, most_wad: uint256, is_unasked: bool) -> int256:
    """@dev Returns what moved to the account."""
    due: int256 = self._due(account, asset)
    if due == 0:
        return 0
    return extcall IClearinghouse(CLEARINGHOUSE).settle(account, asset, due, most_wad, is_unasked)


@internal
def _accrue(asset: uint256):
    self._check_idle()
    prices: uint256 = market_books._prices[asset]
    market_books._require_market(prices)
    marks: DynArray[uint256, 32] = self._marks([asset])
    orders._require_live(packing._flags(marks[0]))
    market_word: uint256 = self._touched(
        staticcall IClearinghouse(CLEARINGHOUSE).market_word(asset),
        packing._newest_wad(marks[0]),
        markets._skew(market_books._exposures[asset]),
        prices,
        market_books._limits[asset],
    )
    extcall IClearinghouse(CLEARINGHOUSE).set_market(asset, market_word)
    log IPerps.MarketTouched(asset=asset, market_word=market_word)


@internal
@view
def _marks(ids: DynArray[uint256, market_books.MAX_MARKETS]) -> DynArray[uint256, 32]:
    """@dev Price and risk word of each."""
    return staticcall IRiskOracle(ORACLE).marks(ids)


@internal
@view
def _touched(market_word: uint256, index: uint256, skew: int256, prices: uint256, limits: uint256) -> uint256:
    """@dev Funding as of now and the rate from here on; a market that has ended says so."""
    word: uint256 = packing._market_word(
        packing._funding_at(market_word, block.timestamp),
        markets._rate_wad(index, skew, prices, limits),
        block.timestamp,
    )
    if markets._closed_at(limits) == markets.LATCHED:
        word |= packing.MARKET_ENDED
    return word


@internal
def _put_terms(asset: uint256, terms: IPerps.Terms, closed_at: uint256):
    now: IRiskOracle.Parameters = empty(IRiskOracle.Parameters)
    final: IRiskOracle.Parameters = empty(IRiskOracle.Parameters)
    final_at: uint256 = empty(uint256)
    now, final, final_at = staticcall IRiskOracle(ORACLE).parameters(asset)
    # What falls has fallen already, so the rate in force is the least.
    markets._require_terms(terms, now.floor_l_bps)
    exposure: uint256 = market_books._exposures[asset]
    self._require_depth(2 * max(markets._longs(exposure), markets._shorts(exposure)) <= terms.depth_gwei)
    old: IPerps.Terms = markets._terms(market_books._prices[asset], market_books._limits[asset])
    market_books._prices[asset] = markets._prices_word(terms)
    market_books._limits[asset] = markets._limits_word(terms, closed_at)
    weights: uint256 = 0
    for id: uint256 in market_books._ids:
        weights += markets._weight_bps(market_books._prices[id])
    self._require_weights(max(weights, terms.weight_bps))
    log IPerps.TermsChanged(asset=asset, old=old, new=terms)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_clearinghouse():
    if msg.sender != CLEARINGHOUSE:
        reasons._fail("perps: not the clearinghouse")


@internal
@view
def _check_mandates():
    if msg.sender != MANDATES:
        reasons._fail("perps: only mandates")


@internal
@view
def _check_deleverager():
    if msg.sender != DELEVERAGER:
        reasons._fail("perps: only the deleverager")


@internal
@view
def _check_liquidator():
    if msg.sender != LIQUIDATOR:
        reasons._fail("perps: only the liquidator")


@internal
@view
def _check_idle():
    if staticcall IClearinghouse(CLEARINGHOUSE).call_state() != 0:
        reasons._fail("perps: clearinghouse busy")


@internal
@pure
def _require_unlatched(limits: uint256):
    if markets._closed_at(limits) == markets.LATCHED:
        reasons._fail("perps: market wound down")


@internal
@view
def _require_new(asset: uint256):
    if market_books._prices[asset] != 0 or len(market_books._ids) == market_books.MAX_MARKETS or asset == 0:
        reasons._fail("perps: cannot list market")


@internal
@view
def _require_trader(account: uint256):
    if account == HOUSE:
        reasons._fail("perps: not for the house")


@internal
@pure
def _require_depth(is_deep: bool):
    """@dev Whoever is in the market already must be able to leave it at a price above zero."""
    if not is_deep:
        reasons._fail("perps: depth below interest")


@internal
@pure
def _require_weights(weights_bps: uint256):
    if weights_bps > fixed_point.BPS:
        reasons._fail("perps: weights above one")