# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Lens
@license MIT
@author  Ballast contributors
@notice  Batch views for keepers and pages.
@dev     Stateless: anyone may deploy a newer one beside it. Nothing in the system reads it.
@custom:kill  Nothing to stop.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILendingVault
from contracts.interfaces import ILens
from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.interfaces import IRebalancer
from contracts.interfaces import IRiskOracle
from contracts.modules import asset_list
from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import pictures

implements: ILens

MAX_ACCOUNTS: constant(uint256) = 1_000
MAX_PLANS: constant(uint256) = 64
MAX_IDS: constant(uint256) = 256
RAY: constant(uint256) = 10**27
# Halvings that bring any price or size down to one step.
MAX_HALVINGS: constant(uint256) = 96
MAX_PRICE_WAD: constant(uint256) = 2**96 - 1
# Bounds of `Perps` for a position that grows.
MAX_COST_WAD: constant(uint256) = 2**112
MAX_VALUE_WAD: constant(uint256) = 2**110


# An order of yet unknown size: what it would change, and what is the same after it.
struct Scene:
    account: uint256
    asset: uint256
    is_long: bool
    closing: uint256  # steps that close what is held on the other side
    leg: IMandates.Leg  # as it is
    word: uint256  # cash and loan shares
    equity_rest: int256  # equity at initial margin without the leg, at the newest prices
    excess_rest: int256  # excess at initial margin without the leg, as an increase is tested


CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
REBALANCER: public(immutable(address))
ORACLE: public(immutable(address))
VAULT: public(immutable(address))
PERPS: public(immutable(address))
HOUSE: public(immutable(uint256))
# WAD value of one unit of the quote token.
UNIT_WAD: immutable(uint256)


@deploy
def __init__(
    clearinghouse: address,
    mandates: address,
    rebalancer: address,
    oracle: address,
    vault: address,
    perps: address,
    house_owner: address,
):
    """
    @param clearinghouse  Deployed already: the quote token's unit is read from it.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    """
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    REBALANCER = rebalancer
    ORACLE = oracle
    VAULT = vault
    PERPS = perps
    HOUSE = packing._account(house_owner, 0)
    UNIT_WAD = packing._unit_wad(staticcall IClearinghouse(clearinghouse).asset_word(0))


@external
@view
def healths(accounts: DynArray[uint256, MAX_ACCOUNTS]) -> DynArray[ILens.Health, MAX_ACCOUNTS]:
    """
    @notice The four integers of many accounts.
    @dev    What `assess` answers, with the marks of an asset and the loan index read once for all accounts.
    """
    index_ray: uint256 = staticcall ILendingVault(VAULT).debt_index_ray()
    price_words: uint256[MAX_IDS] = empty(uint256[MAX_IDS])
    risk_words: uint256[MAX_IDS] = empty(uint256[MAX_IDS])
    answers: DynArray[ILens.Health, MAX_ACCOUNTS] = []
    for account: uint256 in accounts:
        words: DynArray[uint256, 50] = staticcall IClearinghouse(CLEARINGHOUSE).words_of(account)
        is_house: bool = account == HOUSE
        # A thousand accounts come by here, so words are cut in place. Nothing overflows: shares are below 2**96, an index
        # below 2**76 * 1e9.
        word: uint256 = words[0]
        debt: uint256 = unsafe_div(unsafe_add(unsafe_mul(word >> 128, index_ray), RAY - 1), RAY)
        net: uint256 = unsafe_sub(word & packing.MASK_128, unsafe_mul(debt, UNIT_WAD))
        equity_init: int256 = convert(convert(net, bytes32), int256)
        required_init: uint256 = 0
        equity_maint: int256 = equity_init
        required_maint: uint256 = 0
        ids: uint256 = words[1]
        count: uint256 = (ids >> asset_list.COUNT_SHIFT) & 255
        next: uint256 = unsafe_add(2, count)
        perpetuals: uint256 = ids >> asset_list.PERPETUALS_SHIFT
        for place: uint256 in range(2, unsafe_add(2, count), bound=asset_list.MAX_ASSETS):
            asset: uint256 = ids & 255
            position: uint256 = words[place]
            price_word: uint256 = price_words[asset]
            risk_word: uint256 = risk_words[asset]
            if price_word == 0:
                marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
                price_word = marks[0]
                risk_word = marks[1]
                price_words[asset] = price_word
                risk_words[asset] = risk_word
            cost: int256 = 0
            funding: int256 = 0
            if perpetuals & 1 != 0:
                cost = (convert(convert(words[next], bytes32), int256) << 128) >> 128
                funding = packing._funding_at(words[unsafe_add(next, 1)], block.timestamp)
                next = unsafe_add(next, 2)
            ids = ids >> 8
            perpetuals = perpetuals >> 1
            if is_house:
                risk_word = margin._house_word(risk_word, position)
            terms: margin.Terms = margin._terms(position, cost, funding, price_word & packing.MASK_96, risk_word)
            # Sixteen parts, each far below 2**250.
            equity_init = unsafe_add(equity_init, terms.equity_init)
            required_init = unsafe_add(required_init, terms.required_init)
            equity_maint = unsafe_add(equity_maint, terms.equity_maint)
            required_maint = unsafe_add(required_maint, terms.required_maint)
        answers.append(
            ILens.Health(
                equity_init=equity_init,
                required_init=required_init,
                equity_maint=equity_maint,
                required_maint=required_maint,
            )
        )
    return answers


@external
@view
def plans(accounts: DynArray[uint256, MAX_PLANS]) -> DynArray[IRebalancer.Plan, MAX_PLANS]:
    """@notice The plans of many accounts."""
    answers: DynArray[IRebalancer.Plan, MAX_PLANS] = []
    for account: uint256 in accounts:
        answers.append(staticcall IRebalancer(REBALANCER).plan(account))
    return answers


@external
@view
def picture(account: uint256) -> ILens.Picture:
    """@notice Everything about one account."""
    owner: address = packing._owner(account)
    snapshot: IMandates.Snapshot = staticcall IMandates(MANDATES).snapshot(account)
    answer: ILens.Picture = empty(ILens.Picture)
    answer.owner = owner
    answer.sub = account & 255
    answer.cash = snapshot.cash
    answer.health = ILens.Health(
        equity_init=snapshot.equity_init,
        required_init=snapshot.required_init,
        equity_maint=snapshot.equity_maint,
        required_maint=snapshot.required_maint,
    )
    for leg: IMandates.Leg in snapshot.legs:
        answer.holdings.append(self._holding(account, leg))
    answer.hook = staticcall IMandates(MANDATES).hook_of(account)
    answer.guard = staticcall IMandates(MANDATES).guard_of(account)
    answer.budget_left = staticcall IMandates(MANDATES).budget_left(owner)
    answer.wallet_left = staticcall IMandates(MANDATES).wallet_left(account)
    if answer.hook == REBALANCER:
        answer.plan = staticcall IRebalancer(REBALANCER).plan(account)
    return answer


@external
@view
def position(account: uint256, asset: uint256) -> ILens.Position:
    """@notice The perpetual of an account in one market."""
    snapshot: IMandates.Snapshot = pictures._snapshot(CLEARINGHOUSE, HOUSE, account, empty(address))
    leg: IMandates.Leg = self._leg(snapshot, asset)
    size: int256 = packing._size_wad(leg.position)
    entry: int256 = self._entry_wad(leg, account)
    value: int256 = fixed_point._mul_wad_floor_signed(size, self._price(leg))
    result: int256 = self._result_wad(leg)
    even: int256 = 0
    if size != 0:
        even = max(leg.funding + self._per_unit(leg.cost, size), 0)
    price_wad: uint256 = 0
    has_price: bool = False
    price_wad, has_price = self._liquidation_price(snapshot, asset)
    return ILens.Position(
        size_wad=size,
        price_wad=packing._newest_wad(leg.price_word),
        value_wad=value,
        entry_price_wad=convert(self._per_unit(entry, size), uint256),
        break_even_wad=convert(even, uint256),
        result_wad=result,
        funding_owed_wad=value - entry - result,
        liquidation_price_wad=price_wad,
        has_liquidation_price=has_price,
    )


@external
@view
def liquidation_price(account: uint256, asset: uint256) -> (uint256, bool):
    """@notice Where maintenance margin ends as one price moves."""
    return self._liquidation_price(pictures._snapshot(CLEARINGHOUSE, HOUSE, account, empty(address)), asset)


@external
@view
def largest_trade(account: uint256, asset: uint256, is_long: bool) -> uint256:
    """
    @notice The size of the largest order of one side that would be filled now.
    @dev    Orders that only reduce meet no cap, so what is accepted lies in two ranges, on either side of the order
            that closes. In each it is an interval: the excess is concave in the size, and largest near no exposure.
    """
    growth: uint256 = staticcall IPerps(PERPS).largest_increase(asset, account, is_long) // markets.SIZE_STEP
    snapshot: IMandates.Snapshot = pictures._snapshot(CLEARINGHOUSE, HOUSE, account, empty(address))
    leg: IMandates.Leg = self._leg(snapshot, asset)
    is_full: bool = leg.position == 0 and leg.cost == 0 and len(snapshot.legs) == asset_list.MAX_ASSETS
    is_shut: bool = packing._flags(leg.price_word) & (packing.IS_STALE | packing.HAS_ENDED) != 0
    if account == HOUSE or is_full or is_shut:
        return 0
    scene: Scene = self._scene(snapshot, leg, account, is_long)
    held: uint256 = fixed_point._abs(packing._size_wad(leg.position)) // markets.SIZE_STEP
    least: uint256 = max((staticcall IPerps(PERPS).terms_of(asset)).min_size_gwei, 1)
    if scene.closing == 0:
        least = max(least, held + 1) - held
    steps: uint256 = 0
    if growth >= least:
        steps = self._largest(scene, scene.closing + least, scene.closing + growth)
    if steps == 0 and scene.closing != 0:
        steps = self._largest(scene, 1, scene.closing)
    return steps * markets.SIZE_STEP


################################################################
#                           Positions                          #
################################################################


@internal
@view
def _leg(snapshot: IMandates.Snapshot, asset: uint256) -> IMandates.Leg:
    """@dev An account's leg; an empty one for an asset that it does not hold."""
    for leg: IMandates.Leg in snapshot.legs:
        if leg.asset == asset:
            return leg
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    market_word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).market_word(asset)
    return IMandates.Leg(
        asset=asset,
        position=0,
        cost=0,
        funding=packing._funding_at(market_word, block.timestamp),
        price_word=marks[0],
        risk_word=marks[1],
    )


@internal
@view
def _entry_wad(leg: IMandates.Leg, account: uint256) -> int256:
    if packing._size_wad(leg.position) == 0:
        return 0
    return packing._entry_wad(staticcall IClearinghouse(CLEARINGHOUSE).cost_word(account, leg.asset))


@internal
@pure
def _price(leg: IMandates.Leg) -> int256:
    return convert(packing._newest_wad(leg.price_word), int256)


@internal
@pure
def _result_wad(leg: IMandates.Leg) -> int256:
    """@dev u = floor(q (p - f)) - c"""
    size: int256 = packing._size_wad(leg.position)
    return fixed_point._mul_wad_floor_signed(size, self._price(leg) - leg.funding) - leg.cost


@internal
@pure
def _per_unit(value_wad: int256, size: int256) -> int256:
    """@dev value / size: up for a long, down for a short; 0 without a size."""
    scaled: int256 = -value_wad * convert(fixed_point.WAD, int256)
    if size > 0:
        return -fixed_point._div_floor_signed(scaled, size)
    if size < 0:
        return fixed_point._div_floor_signed(scaled, -size)
    return 0


################################################################
#                       Liquidation price                      #
################################################################


@internal
@view
def _liquidation_price(snapshot: IMandates.Snapshot, asset: uint256) -> (uint256, bool):
    """
    @dev excess_maint is linear in the price, with a slope of D - r |D| - l G, but for its rounding. So the end is found
         by halving with the figures themselves, between the present price and the end of the prices on the bad side.
    """
    leg: IMandates.Leg = self._leg(snapshot, asset)
    good: uint256 = packing._newest_wad(leg.price_word)
    excess: int256 = snapshot.equity_maint - convert(snapshot.required_maint, int256)
    slope: int256 = self._slope_e6(leg)
    if leg.position == 0 or slope == 0:
        return 0, False
    if excess < 0:
        return good, True
    rest: int256 = excess - self._excess_maint(leg, good)
    bad: uint256 = 0
    if slope < 0:
        bad = MAX_PRICE_WAD
    if rest + self._excess_maint(leg, bad) >= 0:
        return 0, False
    for _: uint256 in range(MAX_HALVINGS):
        middle: uint256 = (good + bad) // 2
        if middle == good or middle == bad:
            break
        if rest + self._excess_maint(leg, middle) >= 0:
            good = middle
        else:
            bad = middle
    return good, True


@internal
@pure
def _excess_maint(leg: IMandates.Leg, price_wad: uint256) -> int256:
    terms: margin.Terms = margin._terms(leg.position, leg.cost, leg.funding, price_wad, leg.risk_word)
    return terms.equity_maint - convert(terms.required_maint, int256)


@internal
@pure
def _slope_e6(leg: IMandates.Leg) -> int256:
    """@dev D - r |D| - l G at maintenance, in millionths of a unit."""
    collateral: uint256 = packing._collateral_wad(leg.position)
    size: int256 = packing._size_wad(leg.position)
    delta: int256 = convert(collateral, int256) + size
    charged: uint256 = packing._r_maint_e6(leg.risk_word) * fixed_point._abs(delta)
    charged += packing._l_maint_e6(leg.risk_word) * (collateral + fixed_point._abs(size))
    return delta * convert(fixed_point.RATE, int256) - convert(charged, int256)


################################################################
#                         Largest trade                        #
################################################################


@internal
@view
def _scene(
    snapshot: IMandates.Snapshot, leg: IMandates.Leg, account: uint256, is_long: bool
) -> Scene:
    size: int256 = packing._size_wad(leg.position)
    scene: Scene = Scene(
        account=account,
        asset=leg.asset,
        is_long=is_long,
        closing=0,
        leg=leg,
        word=staticcall IClearinghouse(CLEARINGHOUSE).account_word(account),
        equity_rest=snapshot.cash,
        excess_rest=snapshot.cash,
    )
    if size != 0 and (size > 0) != is_long:
        scene.closing = fixed_point._abs(size) // markets.SIZE_STEP
    for other: IMandates.Leg in snapshot.legs:
        if other.asset != leg.asset:
            scene.equity_rest += (pictures._terms(other)).equity_init
            scene.excess_rest += self._strength(other)
    return scene


@internal
@view
def _largest(scene: Scene, least: uint256, most: uint256) -> uint256:
    """@dev The end of the interval of accepted sizes in steps; 0 if neither its ends nor its peak are accepted."""
    if self._is_accepted(scene, most):
        return most
    good: uint256 = min(max(self._peak(scene), least), most)
    if not self._is_accepted(scene, good):
        good = least
        if not self._is_accepted(scene, good):
            return 0
    bad: uint256 = most
    for _: uint256 in range(MAX_HALVINGS):
        if good + 1 >= bad:
            break
        middle: uint256 = (good + bad) // 2
        if self._is_accepted(scene, middle):
            good = middle
        else:
            bad = middle
    return good


@internal
@pure
def _peak(scene: Scene) -> uint256:
    """@dev Steps of the order that leaves least exposure; collateral beyond its quota only hedges."""
    size: int256 = packing._size_wad(scene.leg.position)
    collateral: uint256 = packing._collateral_wad(scene.leg.position)
    open: int256 = 0
    if scene.is_long:
        open = -size - convert(collateral, int256)
    else:
        open = size + convert(min(collateral, packing._quota_wad(scene.leg.risk_word)), int256)
    return convert(max(open, 0), uint256) // markets.SIZE_STEP


@internal
@view
def _is_accepted(scene: Scene, steps: uint256) -> bool:
    """
    @dev Whether an order of so many steps would pass its margin test, caps aside. As the ledger does it: priced,
         booked, tested for being less or equally risky, settled if it closes, and else tested at initial margin.
    """
    change: int256 = convert(steps * markets.SIZE_STEP, int256)
    if not scene.is_long:
        change = -change
    price: uint256 = 0
    index: uint256 = 0
    fee_e6: uint256 = 0
    price, index, fee_e6 = staticcall IPerps(PERPS).quote(scene.asset, scene.account, change)
    leg: IMandates.Leg = scene.leg
    size: int256 = packing._size_wad(leg.position) + change
    leg.position = packing._position_word(packing._collateral_wad(leg.position), size)
    leg.cost -= fixed_point._mul_wad_floor_signed(-change, convert(price, int256) - leg.funding)
    value: uint256 = fixed_point._abs(size) * index // fixed_point.WAD
    is_bookable: bool = value < MAX_VALUE_WAD and fixed_point._abs(leg.cost) < MAX_COST_WAD
    if steps > scene.closing and not is_bookable:
        return False
    if self._is_safer(scene.leg, leg):
        return True
    settled: int256 = 0
    if size == 0:
        moved: int256 = self._settled(scene, leg)
        leg.cost += moved
        settled = self._net_after(scene.word, moved) - self._net_after(scene.word, 0)
    return scene.excess_rest + settled + self._strength(leg) >= 0


@internal
@pure
def _is_safer(old: IMandates.Leg, new: IMandates.Leg) -> bool:
    """@dev Less or equally risky: neither excess falls and no exposure grows."""
    before: margin.Terms = pictures._terms(old)
    after: margin.Terms = pictures._terms(new)
    init_before: int256 = before.equity_init - convert(before.required_init, int256)
    maint_before: int256 = before.equity_maint - convert(before.required_maint, int256)
    return (
        self._exposure(new) <= self._exposure(old)
        and after.equity_init - convert(after.required_init, int256) >= init_before
        and after.equity_maint - convert(after.required_maint, int256) >= maint_before
    )


@internal
@pure
def _exposure(leg: IMandates.Leg) -> uint256:
    """@dev |D|"""
    return fixed_point._abs(
        convert(packing._collateral_wad(leg.position), int256) + packing._size_wad(leg.position)
    )


@internal
@pure
def _strength(leg: IMandates.Leg) -> int256:
    """@dev What a leg adds to the excess of an increase: at the worse of its prices, and nothing on one not usable."""
    terms: margin.Terms = pictures._terms(leg)
    newest: int256 = terms.equity_init - convert(terms.required_init, int256)
    terms = margin._terms(
        leg.position, leg.cost, leg.funding, packing._previous_wad(leg.price_word), leg.risk_word
    )
    strength: int256 = min(newest, terms.equity_init - convert(terms.required_init, int256))
    if packing._flags(leg.price_word) & packing.NO_INCREASE != 0:
        return min(strength, 0)
    return strength


@internal
@view
def _settled(scene: Scene, leg: IMandates.Leg) -> int256:
    """@dev What moves to the account as it closes: a gain from the house's cash, a loss from cash and a loan."""
    if leg.cost <= 0:
        house: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).account_word(HOUSE)
        return min(-leg.cost, convert(packing._cash_wad(house), int256))
    available: int256 = convert(packing._cash_wad(scene.word), int256)
    if leg.cost <= available:
        return -leg.cost
    bearable: int256 = leg.cost + scene.equity_rest + (pictures._terms(leg)).equity_init
    lendable: uint256 = staticcall ILendingVault(VAULT).max_loan() * UNIT_WAD
    return -min(leg.cost, max(available, min(bearable, available + convert(lendable, int256))))


@internal
@view
def _net_after(word: uint256, moved: int256) -> int256:
    """@dev Cash less debt when an amount came in or went out: a debt is repaid and made in whole token units."""
    index_ray: uint256 = staticcall ILendingVault(VAULT).debt_index_ray()
    cash: int256 = convert(packing._cash_wad(word), int256) + moved
    shares: uint256 = packing._debt_shares(word)
    if cash < 0:
        borrowed: uint256 = fixed_point._div_up(convert(-cash, uint256), UNIT_WAD)
        shares += fixed_point._mul_div_up(borrowed, RAY, index_ray)
        cash += convert(borrowed * UNIT_WAD, int256)
    owed: uint256 = fixed_point._mul_div_up(shares, index_ray, RAY)
    if moved > 0 and owed != 0:
        paid: uint256 = min(convert(cash, uint256) // UNIT_WAD, owed)
        cash -= convert(paid * UNIT_WAD, int256)
        if paid == owed:
            return cash
        owed = fixed_point._mul_div_up(shares - paid * RAY // index_ray, index_ray, RAY)
    return cash - convert(owed * UNIT_WAD, int256)


################################################################
#                           Pictures                           #
################################################################


@internal
@view
def _holding(account: uint256, leg: IMandates.Leg) -> ILens.Holding:
    asset_word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).asset_word(leg.asset)
    terms: margin.Terms = pictures._terms(leg)
    return ILens.Holding(
        asset=leg.asset,
        token=packing._token(asset_word),
        collateral_wad=packing._collateral_wad(leg.position),
        size_wad=packing._size_wad(leg.position),
        price_wad=packing._newest_wad(leg.price_word),
        is_live=packing._flags(leg.price_word) & packing.IS_STALE == 0,
        quota_wad=packing._quota_wad(leg.risk_word),
        r_init_e6=packing._r_init_e6(leg.risk_word),
        l_init_e6=packing._l_init_e6(leg.risk_word),
        r_maint_e6=packing._r_maint_e6(leg.risk_word),
        l_maint_e6=packing._l_maint_e6(leg.risk_word),
        sigma_e6=packing._sigma_e6(leg.risk_word),
        required_init=terms.required_init,
        cost_wad=leg.cost,
        entry_wad=self._entry_wad(leg, account),
        result_wad=self._result_wad(leg),
    )
