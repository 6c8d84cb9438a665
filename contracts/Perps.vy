# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Perps
@license MIT
@author  Ballast contributors
@notice  Perpetual markets: prices trades, limits them, runs funding, and keeps count of what the house can still back.
@dev     Holds no balance: the clearing house asks for a fill and books it. `trade`, `settle` and `deleverage` call the
         ledger, which calls back `fill` or `result`; the lock would refuse that, so they hold none, and the ledger's
         state word guards them.
         Assumptions:
         1. The ledger hands in true sizes, costs and marks, and books every fill or reverts.
         2. Headroom is what keeps lenders whole: the house must be able to pay every short at a fall to zero even if
            all longs have closed, so each side is backed in gross and a reduction is never refused.
@custom:invariant I18 I19 I20
@custom:kill  Close-only in every market: positions shrink and settle, none grows.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IPerps
from contracts.interfaces import IRiskOracle
from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import reasons
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IPerps

initializes: ownable
initializes: ownable_2step[ownable := ownable]

exports: (
    ownable.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

MAX_MARKETS: constant(uint256) = 16
MAX_LOSERS: constant(uint256) = 8
# The most that cost and value of a position may be when it grows: what they become later still fits their halves.
MAX_COST_WAD: constant(uint256) = 2**112
MAX_VALUE_WAD: constant(uint256) = 2**110

CLEARINGHOUSE: public(immutable(address))
ORACLE: public(immutable(address))
LIQUIDATOR: public(immutable(address))
HOUSE: public(immutable(uint256))

_ids: DynArray[uint256, MAX_MARKETS]
# Layouts in `modules/markets.vy`, by asset.
_prices: HashMap[uint256, uint256]
_limits: HashMap[uint256, uint256]
_exposures: HashMap[uint256, uint256]
_headrooms: HashMap[uint256, uint256]
_breakers: HashMap[uint256, uint256]

# A deleveraging is under way: the next fill is at the index price.
_is_adl: transient(bool)


@deploy
def __init__(clearinghouse: address, oracle: address, liquidator: address, house_owner: address):
    """
    @param clearinghouse  The ledger; may be deployed later.
    @param oracle         Risk oracle.
    @param liquidator     The only contract that may deleverage; may be deployed later.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    """
    ownable.__init__()
    ownable_2step.__init__()
    CLEARINGHOUSE = clearinghouse
    ORACLE = oracle
    LIQUIDATOR = liquidator
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


# The ledger calls back `result`.
@external
@reentrant
def settle(account: uint256, asset: uint256, losers: DynArray[IPerps.Loser, MAX_LOSERS]) -> int256:
    """@notice Pays out a gain, collecting losses as far as it needs them."""
    self._require_trader(account)
    moved: int256 = extcall IClearinghouse(CLEARINGHOUSE).settle(account, asset, max_value(uint256), True)
    for loser: IPerps.Loser in losers:
        self._require_trader(loser.account)
        missing: int256 = self._unpaid(account, asset)
        if missing <= 0:
            break
        extcall IClearinghouse(CLEARINGHOUSE).settle(
            loser.account, loser.asset, convert(missing, uint256), False
        )
        more: int256 = extcall IClearinghouse(CLEARINGHOUSE).settle(account, asset, max_value(uint256), True)
        moved += more
    return moved


################################################################
#                            Anyone                            #
################################################################


@external
def refresh():
    """@notice Recomputes headroom and moves the breakers' anchors."""
    self._check_idle()
    ids: DynArray[uint256, MAX_MARKETS] = self._ids
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks(ids)
    free: uint256 = self._free_wad(ids, marks)
    for i: uint256 in range(len(ids), bound=MAX_MARKETS):
        asset: uint256 = ids[i]
        price: uint256 = packing._newest_wad(marks[2 * i])
        share: uint256 = free * markets._weight_bps(self._prices[asset]) // fixed_point.BPS
        headroom: uint256 = markets._headroom_word(
            self._backed_gwei(share, price, self._short_rate_e6(marks[2 * i + 1])),
            self._backed_gwei(share, price, self._long_rate_e6(marks[2 * i + 1])),
            block.timestamp,
        )
        self._headrooms[asset] = headroom
        self._move_breaker(asset, price)
        log IPerps.HeadroomRefreshed(asset=asset, headroom_word=headroom)


@external
def accrue(asset: uint256):
    """@notice Brings funding up to now and sets its rate anew."""
    self._check_idle()
    prices: uint256 = self._prices[asset]
    self._require_market(prices)
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    self._require_live(packing._flags(marks[0]))
    market_word: uint256 = self._touched(
        staticcall IClearinghouse(CLEARINGHOUSE).market_word(asset),
        packing._newest_wad(marks[0]),
        markets._skew(self._exposures[asset]),
        prices,
        self._limits[asset],
    )
    extcall IClearinghouse(CLEARINGHOUSE).set_market(asset, market_word)


################################################################
#                        For the liquidator                    #
################################################################


# The ledger calls back `fill`.
@external
@reentrant
def deleverage(account: uint256, asset: uint256, size_change: int256) -> uint256:
    """@notice Closes part of a position at the index price."""
    self._check_liquidator()
    self._is_adl = True
    price: uint256 = extcall IClearinghouse(CLEARINGHOUSE).trade(
        empty(address),
        IPerps.Order(
            account=account,
            asset=asset,
            size_change=size_change,
            acceptable_price=0,
            slippage_bps=max_value(uint256),
            deadline=block.timestamp,
            reduce_only=True,
        ),
        True,
    )
    self._is_adl = False
    return price


################################################################
#                         For the ledger                       #
################################################################


@external
def fill(order: IPerps.Order, scene: IPerps.Scene) -> IPerps.Fill:
    """@notice Prices a trade and counts it."""
    self._check_clearinghouse()
    prices: uint256 = self._prices[order.asset]
    limits: uint256 = self._limits[order.asset]
    self._require_market(prices)
    flags: uint256 = packing._flags(scene.price_word)
    self._require_live(flags)
    change: int256 = self._change(order, scene.size_wad)
    self._require_in_time(order.deadline)

    size: int256 = scene.size_wad + change
    long_gwei: int256 = self._gwei(max(size, 0) - max(scene.size_wad, 0))
    short_gwei: int256 = self._gwei(max(-size, 0) - max(-scene.size_wad, 0))
    is_increase: bool = long_gwei > 0 or short_gwei > 0
    index: uint256 = packing._newest_wad(scene.price_word)
    exposure: uint256 = self._exposures[order.asset]
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
        self._check_increase(order.asset, prices, limits, flags, index, exposure, after, size)
    self._move_headroom(order.asset, long_gwei, short_gwei, is_increase)
    self._exposures[order.asset] = after

    fee_e6: uint256 = 0
    price: uint256 = index
    if not self._is_adl:
        fee_e6 = markets._fee_e6(prices, limits, scene.risk_word)
        basis: uint256 = self._basis(scene.price_word, is_increase, change)
        price = markets._fill_price(basis, skew, self._gwei(change), prices, fee_e6)
        self._require_price(order, change, price, index)
    market_word: uint256 = self._touched(
        scene.market_word, index, markets._skew(after), prices, limits
    )
    price_signed: int256 = convert(price, int256)
    funding: int256 = packing._funding_at(market_word, block.timestamp)
    cost_change: int256 = -fixed_point._mul_wad_floor_signed(-change, price_signed - funding)
    if is_increase:
        self._require_bookable(size, index, packing._cost_wad(scene.cost_word) + cost_change)
    log IPerps.Filled(
        account=order.account,
        asset=order.asset,
        size_change=change,
        index_wad=index,
        price_wad=price,
        fee_e6=fee_e6,
        exposure_word=after,
    )
    return IPerps.Fill(
        size_change=change,
        price_wad=price,
        cost_change=cost_change,
        entry_wad=markets._entry_wad(
            scene.size_wad, packing._entry_wad(scene.cost_word), size, change, price_signed
        ),
        market_word=market_word,
    )


# Called by the ledger while `settle` is under way.
@external
@view
@reentrant
def result(scene: IPerps.Scene) -> int256:
    """@notice What an open position has won or lost and not been paid."""
    return self._due(scene)


################################################################
#                         The governor                         #
################################################################


@external
def list_market(asset: uint256, terms: IPerps.Terms):
    """@notice Opens a market."""
    ownable._check_owner()
    self._require_new(asset)
    self._ids.append(asset)
    log IPerps.MarketListed(asset=asset)
    self._put_terms(asset, terms, False)


@external
def set_terms(asset: uint256, terms: IPerps.Terms):
    """@notice Changes how a market trades."""
    ownable._check_owner()
    self._require_market(self._prices[asset])
    self._put_terms(asset, terms, markets._is_close_only(self._limits[asset]))


@external
def set_close_only(asset: uint256, is_close_only: bool):
    """@notice Stops or allows increases in a market."""
    ownable._check_owner()
    prices: uint256 = self._prices[asset]
    self._require_market(prices)
    terms: IPerps.Terms = markets._terms(prices, self._limits[asset])
    self._limits[asset] = markets._limits_word(terms, is_close_only)
    log IPerps.ModeChanged(asset=asset, is_close_only=is_close_only)


################################################################
#                            Views                             #
################################################################


@external
@view
def quote(asset: uint256, account: uint256, size_change: int256) -> (uint256, uint256, uint256):
    """@notice Fill price, index price and fee rate of a trade now."""
    prices: uint256 = self._prices[asset]
    self._require_market(prices)
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    position: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).position_word(account, asset)
    old: int256 = packing._size_wad(position)
    new: int256 = old + size_change
    is_increase: bool = max(new, 0) > max(old, 0) or max(-new, 0) > max(-old, 0)
    fee_e6: uint256 = markets._fee_e6(prices, self._limits[asset], marks[1])
    basis: uint256 = self._basis(marks[0], is_increase, size_change)
    skew: int256 = markets._skew(self._exposures[asset])
    price: uint256 = markets._fill_price(basis, skew, self._gwei(size_change), prices, fee_e6)
    return price, packing._newest_wad(marks[0]), fee_e6


@external
@view
def largest_increase(asset: uint256, account: uint256, is_long: bool) -> uint256:
    """@notice The most that everything but margin lets a side of an account grow by."""
    prices: uint256 = self._prices[asset]
    self._require_market(prices)
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    headroom: uint256 = self._headrooms[asset]
    is_fresh: bool = block.timestamp <= markets._refreshed_at(headroom) + markets.HEADROOM_TTL_S
    is_usable: bool = packing._flags(marks[0]) & packing.NO_INCREASE == 0
    if not (is_fresh and is_usable) or self._is_stopped(asset, packing._newest_wad(marks[0])):
        return 0
    limits: uint256 = self._limits[asset]
    exposure: uint256 = self._exposures[asset]
    position: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).position_word(account, asset)
    closed: int256 = self._gwei(packing._size_wad(position))
    skew: int256 = markets._skew(exposure)
    start_skew: int256 = markets._start_skew(exposure)
    if markets._round_at(exposure) != packing._made_at(marks[0]):
        start_skew = skew
    most: uint256 = max(markets._skew_cap_gwei(prices), fixed_point._abs(skew))
    side: uint256 = markets._longs(exposure)
    backed: uint256 = markets._longs(headroom)
    if not is_long:
        skew = -skew
        start_skew = -start_skew
        closed = -closed
        side = markets._shorts(exposure)
        backed = markets._shorts(headroom)
    # What closes the other side moves the skew as well.
    skew += max(-closed, 0)
    round_cap: int256 = convert(markets._round_cap_gwei(limits), int256)
    room: int256 = min(convert(most, int256) - skew, start_skew + round_cap - skew)
    room = min(room, convert(markets._open_interest_cap_gwei(prices), int256) - convert(side, int256))
    room = max(min(room, convert(backed, int256)), 0)
    is_too_small: bool = max(closed, 0) + room < convert(markets._min_size_gwei(limits), int256)
    if is_too_small or skew + room < start_skew - round_cap:
        return 0
    return convert(room, uint256) * markets.SIZE_STEP


@external
@view
def free_wad() -> uint256:
    """@notice The house's initial equity beyond both sides of every market, funded in gross."""
    ids: DynArray[uint256, MAX_MARKETS] = self._ids
    return self._free_wad(ids, staticcall IRiskOracle(ORACLE).marks(ids))


@external
@view
def skew_charge_wad() -> uint256:
    """@notice sum p skew^2 / (2 depth) up."""
    ids: DynArray[uint256, MAX_MARKETS] = self._ids
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks(ids)
    total: uint256 = 0
    for i: uint256 in range(len(ids), bound=MAX_MARKETS):
        skew: uint256 = fixed_point._abs(markets._skew(self._exposures[ids[i]]))
        # Both factors of the square and the depth are in 1e-9, the price is in WAD per unit.
        total += fixed_point._mul_div_up(
            packing._newest_wad(marks[2 * i]) * skew,
            skew,
            2 * markets._depth_gwei(self._prices[ids[i]]) * markets.SIZE_STEP,
        )
    return total


@external
@view
def uncertainty_wad() -> uint256:
    """@notice sum p |skew| (band + sigma sqrt(lag)) / 2 up."""
    ids: DynArray[uint256, MAX_MARKETS] = self._ids
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks(ids)
    total: uint256 = 0
    for i: uint256 in range(len(ids), bound=MAX_MARKETS):
        skew: uint256 = fixed_point._abs(markets._skew(self._exposures[ids[i]]))
        total += fixed_point._mul_div_up(
            packing._newest_wad(marks[2 * i]) * skew,
            markets._uncertainty_e6(self._limits[ids[i]], marks[2 * i + 1]),
            fixed_point.RATE * markets.SIZE_STEP,
        )
    return total


@external
@view
def oldest_round_at() -> uint256:
    """@notice Time of the oldest of the newest rounds over markets with a skew."""
    ids: DynArray[uint256, MAX_MARKETS] = self._ids
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks(ids)
    oldest: uint256 = block.timestamp
    for i: uint256 in range(len(ids), bound=MAX_MARKETS):
        if markets._skew(self._exposures[ids[i]]) == 0:
            continue
        if packing._flags(marks[2 * i]) & packing.IS_STALE != 0:
            return 0
        oldest = min(oldest, packing._made_at(marks[2 * i]))
    return oldest


@external
@view
def market_ids() -> DynArray[uint256, MAX_MARKETS]:
    """@notice Assets with a market."""
    return self._ids


@external
@view
def terms_of(asset: uint256) -> IPerps.Terms:
    """@notice How a market trades."""
    return markets._terms(self._prices[asset], self._limits[asset])


@external
@view
def exposure_of(asset: uint256) -> (uint256, uint256):
    """@notice Traders' longs and shorts."""
    exposure: uint256 = self._exposures[asset]
    return markets._longs(exposure) * markets.SIZE_STEP, markets._shorts(exposure) * markets.SIZE_STEP


@external
@view
def headroom_of(asset: uint256) -> (uint256, uint256, uint256):
    """@notice By how much longs and shorts may still grow, and as of when."""
    headroom: uint256 = self._headrooms[asset]
    return (
        markets._longs(headroom) * markets.SIZE_STEP,
        markets._shorts(headroom) * markets.SIZE_STEP,
        markets._refreshed_at(headroom),
    )


@external
@view
def is_increase_stopped(asset: uint256) -> bool:
    """@notice Whether mode or breaker stops increases now."""
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    return self._is_stopped(asset, packing._newest_wad(marks[0]))


################################################################
#                           Increases                          #
################################################################


@internal
def _check_increase(
    asset: uint256,
    prices: uint256,
    limits: uint256,
    flags: uint256,
    index: uint256,
    before: uint256,
    after: uint256,
    size: int256,
):
    """@dev What only the growth of a side has to meet; the headroom it uses up is another matter."""
    self._require_open(limits)
    self._require_usable(flags)
    self._require_untripped(markets._is_tripped(self._move_breaker(asset, index), index))
    self._require_min_size(fixed_point._abs(size) >= markets._min_size_gwei(limits) * markets.SIZE_STEP)
    cap: uint256 = markets._open_interest_cap_gwei(prices)
    has_room: bool = markets._longs(after) <= max(cap, markets._longs(before)) and markets._shorts(after) <= max(
        cap, markets._shorts(before)
    )
    self._require_interest(has_room)
    skew: int256 = markets._skew(after)
    most: uint256 = max(markets._skew_cap_gwei(prices), fixed_point._abs(markets._skew(before)))
    self._require_skew(fixed_point._abs(skew) <= most)
    moved: uint256 = fixed_point._abs(skew - markets._start_skew(after))
    self._require_round(moved <= markets._round_cap_gwei(limits))


@internal
def _move_headroom(asset: uint256, long_gwei: int256, short_gwei: int256, is_increase: bool):
    """@dev Growth uses headroom up, a reduction gives it back."""
    headroom: uint256 = self._headrooms[asset]
    if is_increase:
        self._require_fresh(markets._refreshed_at(headroom))
    long: int256 = convert(markets._longs(headroom), int256) - long_gwei
    short: int256 = convert(markets._shorts(headroom), int256) - short_gwei
    self._require_headroom(min(long, short))
    self._headrooms[asset] = markets._headroom_word(
        convert(long, uint256), convert(short, uint256), markets._refreshed_at(headroom)
    )


@internal
def _move_breaker(asset: uint256, index: uint256) -> uint256:
    breaker: uint256 = self._breakers[asset]
    moved: uint256 = markets._moved_breaker(breaker, index, block.timestamp)
    if moved != breaker:
        self._breakers[asset] = moved
        log IPerps.BreakerMoved(asset=asset, breaker_word=moved)
    return moved


@internal
@view
def _is_stopped(asset: uint256, index: uint256) -> bool:
    breaker: uint256 = markets._moved_breaker(self._breakers[asset], index, block.timestamp)
    return markets._is_close_only(self._limits[asset]) or markets._is_tripped(breaker, index)


################################################################
#                           The house                          #
################################################################


@internal
@view
def _free_wad(ids: DynArray[uint256, MAX_MARKETS], marks: DynArray[uint256, 32]) -> uint256:
    """
    @dev E_init less, in each market, the larger of what all shorts and what all longs would require if the other side
         had closed. At least as much is required of the house as it stands, so this is within its excess.
    """
    equity: int256 = 0
    required: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity, required, equity_maint, required_maint = staticcall IClearinghouse(CLEARINGHOUSE).assess(HOUSE)
    backed: uint256 = 0
    for i: uint256 in range(len(ids), bound=MAX_MARKETS):
        exposure: uint256 = self._exposures[ids[i]]
        shorts: uint256 = markets._shorts(exposure) * self._long_rate_e6(marks[2 * i + 1])
        longs: uint256 = markets._longs(exposure) * self._short_rate_e6(marks[2 * i + 1])
        backed += fixed_point._mul_div_up(
            packing._newest_wad(marks[2 * i]), max(shorts, longs), fixed_point.RATE * markets.SIZE_STEP
        )
    return convert(max(equity - convert(backed, int256), 0), uint256)


@internal
@pure
def _long_rate_e6(risk_word: uint256) -> uint256:
    """@dev What the house keeps for a unit that traders are short: all of its value, and l."""
    return margin.HOUSE_LONG_E6 + packing._l_init_e6(risk_word)


@internal
@pure
def _short_rate_e6(risk_word: uint256) -> uint256:
    """@dev What it keeps for a unit that traders are long."""
    return max(packing._r_init_e6(risk_word), margin.HOUSE_SHORT_INIT_E6) + packing._l_init_e6(risk_word)


@internal
@pure
def _backed_gwei(share_wad: uint256, price_wad: uint256, rate_e6: uint256) -> uint256:
    """@dev Units in 1e-9 that a share of the free equity backs, down."""
    if price_wad == 0:
        return 0
    return share_wad * fixed_point.RATE * markets.SIZE_STEP // (price_wad * rate_e6)


################################################################
#                          Positions                           #
################################################################


@internal
@pure
def _change(order: IPerps.Order, size: int256) -> int256:
    """@dev The size change, cut to what closes the position where only a reduction is wanted."""
    is_sized: bool = order.size_change > -(2**120) and order.size_change < 2**120 and order.size_change != 0
    self._require_step(is_sized and fixed_point._abs(order.size_change) % markets.SIZE_STEP == 0)
    if not order.reduce_only:
        return order.size_change
    self._require_reduction(size != 0 and (size > 0) != (order.size_change > 0))
    if size > 0:
        return max(order.size_change, -size)
    return min(order.size_change, -size)


@internal
@pure
def _basis(price_word: uint256, is_increase: bool, change: int256) -> uint256:
    """@dev The index price of a trade: an increase pays the worse of two."""
    newest: uint256 = packing._newest_wad(price_word)
    if not is_increase:
        return newest
    if change > 0:
        return max(newest, packing._previous_wad(price_word))
    return min(newest, packing._previous_wad(price_word))


@internal
@view
def _result(scene: IPerps.Scene, price_wad: uint256) -> int256:
    funding: int256 = packing._funding_at(scene.market_word, block.timestamp)
    move: int256 = convert(price_wad, int256) - funding
    return fixed_point._mul_wad_floor_signed(scene.size_wad, move) - packing._cost_wad(scene.cost_word)


@internal
@view
def _due(scene: IPerps.Scene) -> int256:
    """@dev u, a gain at the lesser of two prices and on none that must not back an increase."""
    newest: int256 = self._result(scene, packing._newest_wad(scene.price_word))
    if newest <= 0:
        return newest
    self._require_usable(packing._flags(scene.price_word))
    return max(min(newest, self._result(scene, packing._previous_wad(scene.price_word))), 0)


@internal
@view
def _unpaid(account: uint256, asset: uint256) -> int256:
    """@dev What a winner still has to get."""
    cost_word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).cost_word(account, asset)
    size: int256 = packing._size_wad(staticcall IClearinghouse(CLEARINGHOUSE).position_word(account, asset))
    if size == 0:
        return -packing._cost_wad(cost_word)
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    return self._due(
        IPerps.Scene(
            size_wad=size,
            cost_word=cost_word,
            market_word=staticcall IClearinghouse(CLEARINGHOUSE).market_word(asset),
            price_word=marks[0],
            risk_word=marks[1],
        )
    )


@internal
@view
def _touched(market_word: uint256, index: uint256, skew: int256, prices: uint256, limits: uint256) -> uint256:
    """@dev Funding as of now and the rate from here on."""
    return packing._market_word(
        packing._funding_at(market_word, block.timestamp),
        markets._rate_wad(index, skew, prices, limits),
        block.timestamp,
    )


@internal
@pure
def _gwei(size: int256) -> int256:
    """@dev Exact: sizes are whole multiples of the step."""
    return fixed_point._div_zero_signed(size, convert(markets.SIZE_STEP, int256))


@internal
def _put_terms(asset: uint256, terms: IPerps.Terms, is_close_only: bool):
    now: IRiskOracle.Parameters = empty(IRiskOracle.Parameters)
    final: IRiskOracle.Parameters = empty(IRiskOracle.Parameters)
    final_at: uint256 = 0
    now, final, final_at = staticcall IRiskOracle(ORACLE).parameters(asset)
    markets._require_terms(terms, min(now.floor_l_bps, final.floor_l_bps))
    old: IPerps.Terms = markets._terms(self._prices[asset], self._limits[asset])
    self._prices[asset] = markets._prices_word(terms)
    self._limits[asset] = markets._limits_word(terms, is_close_only)
    weights: uint256 = 0
    for id: uint256 in self._ids:
        weights += markets._weight_bps(self._prices[id])
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
def _check_liquidator():
    if msg.sender != LIQUIDATOR:
        reasons._fail("perps: only the liquidator")


@internal
@view
def _check_idle():
    if staticcall IClearinghouse(CLEARINGHOUSE).call_state() != 0:
        reasons._fail("perps: clearinghouse busy")


@internal
@view
def _require_new(asset: uint256):
    if self._prices[asset] != 0 or len(self._ids) == MAX_MARKETS or asset == 0:
        reasons._fail("perps: cannot list market")


@internal
@pure
def _require_market(prices: uint256):
    if prices == 0:
        reasons._fail("perps: unknown market")


@internal
@view
def _require_trader(account: uint256):
    if account == HOUSE:
        reasons._fail("perps: not for the house")


@internal
@pure
def _require_weights(weights_bps: uint256):
    if weights_bps > fixed_point.BPS:
        reasons._fail("perps: weights above one")


@internal
@pure
def _require_live(flags: uint256):
    if flags & packing.IS_STALE != 0:
        reasons._fail("perps: price stale")


@internal
@pure
def _require_usable(flags: uint256):
    if flags & packing.NO_INCREASE != 0:
        reasons._fail("perps: price not usable")


@internal
@pure
def _require_step(is_whole: bool):
    if not is_whole:
        reasons._fail("perps: size not in steps")


@internal
@pure
def _require_reduction(reduces: bool):
    if not reduces:
        reasons._fail("perps: nothing to reduce")


@internal
@view
def _require_in_time(deadline: uint256):
    if block.timestamp > deadline:
        reasons._fail("perps: deadline passed")


@internal
@pure
def _require_price(order: IPerps.Order, change: int256, price: uint256, index: uint256):
    """@dev Within the acceptable price, and no worse than the newest by more than the slippage."""
    is_acceptable: bool = price <= order.acceptable_price
    loss: uint256 = max(price, index) - index
    if change < 0:
        is_acceptable = price >= order.acceptable_price
        loss = index - min(price, index)
    if not is_acceptable:
        reasons._fail("perps: price passed")
    if order.slippage_bps < fixed_point.BPS and loss * fixed_point.BPS > index * order.slippage_bps:
        reasons._fail("perps: slippage above guard")


@internal
@pure
def _require_open(limits: uint256):
    if markets._is_close_only(limits):
        reasons._fail("perps: close only")


@internal
@pure
def _require_untripped(is_tripped: bool):
    if is_tripped:
        reasons._fail("perps: breaker tripped")


@internal
@pure
def _require_min_size(is_enough: bool):
    if not is_enough:
        reasons._fail("perps: size below minimum")


@internal
@pure
def _require_interest(has_room: bool):
    if not has_room:
        reasons._fail("perps: open interest cap")


@internal
@pure
def _require_skew(is_within: bool):
    if not is_within:
        reasons._fail("perps: skew cap")


@internal
@pure
def _require_round(is_within: bool):
    if not is_within:
        reasons._fail("perps: round cap")


@internal
@view
def _require_fresh(refreshed_at: uint256):
    if block.timestamp > refreshed_at + markets.HEADROOM_TTL_S:
        reasons._fail("perps: headroom stale")


@internal
@pure
def _require_headroom(least_gwei: int256):
    if least_gwei < 0:
        reasons._fail("perps: headroom used up")


@internal
@pure
def _require_bookable(size: int256, index: uint256, cost: int256):
    value: uint256 = fixed_point._abs(size) * index // fixed_point.WAD
    if value >= MAX_VALUE_WAD or fixed_point._abs(cost) >= MAX_COST_WAD:
        reasons._fail("perps: position too large")
