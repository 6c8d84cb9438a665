# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Asset means
@license MIT
@author  Ballast contributors
@notice  What may be done with one asset of an account and costs something: how much of it, and at which price.
@dev     A gain that the house did not pay bears costs of trades first and does not count at initial margin, so a trade
         that it bears in full costs no equity there. Nor is a position closed that has one: closing would pay it, on
         top of what was planned.
         Assumption: `quote` does not revert for a market that exists, that is, no position exceeds twice the depth.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import curves
from contracts.modules import fixed_point
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import sources
from contracts.modules import steps

uses: sources

BPS_TO_E6: constant(uint256) = 100

# What a policy may allow beside sales and what is free.
TRADES: constant(uint256) = policies.MAY_TRIM | policies.MAY_HEDGE | policies.MAY_UNWIND


# What may still be done with an asset, in WAD units. Apart from what stays, so that each edge taken copies this alone.
struct Rest:
    open: uint256  # |D| that is left
    surplus: uint256
    sale: uint256
    trim: uint256
    pairs: uint256
    sold: uint256  # what was used of each curve
    closed: uint256
    hedged: uint256
    used: uint256  # bits of the forms (see `hulls.vy`) that could not be taken in full


# One asset of the account.
struct Holding:
    asset: uint256
    rank: uint256  # of equals the one that the policy names first goes first
    price_wad: uint256
    unit_wad: uint256  # of a token
    lot_wad: uint256  # the least that collateral and perpetual can both change by
    rate_e6: uint256  # r + l
    both_rates_e6: uint256  # 2 l
    sales: curves.Curve
    closing: curves.Curve
    hedging: curves.Curve
    rest: Rest
    is_short: bool  # its sales have to pass the increase test


@internal
@pure
def _may_trade(policy_word: uint256, position: uint256) -> bool:
    """@dev Whether the policy knows anything to do with an asset that is not for sale, so that the rest has to be read."""
    actions: uint256 = policies._actions(policy_word)
    return actions & policies.MAY_HEDGE != 0 or (
        position >> 128 != 0 and actions & (policies.MAY_TRIM | policies.MAY_UNWIND) != 0
    )


@internal
@view
def _holding(
    request: IPlanner.Request,
    leg: IMandates.Leg,
    place: uint256,
    place_of_sale: uint256,
    settled: uint256,
    may_be_tested: bool,
) -> Holding:
    """@dev Every asset of every plan comes here, so the fields of words are read in place, as their rooms read them."""
    h: Holding = empty(Holding)
    h.asset = leg.asset
    h.rank = policies.MAX_SALES + place
    h.price_wad = leg.price_word & packing.MASK_96
    h.unit_wad = sources._unit_wad(leg.asset)
    h.lot_wad = max(h.unit_wad, markets.SIZE_STEP)
    gross_e6: uint256 = (leg.risk_word >> 24) & packing.MASK_24
    h.rate_e6 = (leg.risk_word & packing.MASK_24) + gross_e6
    h.both_rates_e6 = 2 * gross_e6
    size: int256 = convert(convert(leg.position, bytes32), int256) >> 128
    collateral: int256 = convert(leg.position & packing.MASK_128, int256)
    counted: int256 = min(collateral, convert(packing._quota_wad(leg.risk_word), int256))
    delta: int256 = counted + size
    if delta < 0:
        delta = min(collateral + size, 0)
    h.rest.open = fixed_point._abs(delta)
    h.is_short = size < 0

    is_for_sale: bool = False
    if place_of_sale != policies.MAX_SALES and packing._flags(leg.price_word) & packing.NO_SWAP == 0:
        sale: IRebalancer.Sale = policies._sale(request.sales_word, place_of_sale)
        is_for_sale = may_be_tested or size >= 0
        h.rank = place_of_sale
        whole_e6: uint256 = (sale.cost_bps + sale.impact_bps) * BPS_TO_E6
        h.sales = curves._curve(convert(collateral, uint256), whole_e6, sale.impact_bps * BPS_TO_E6)
    if is_for_sale and request.refused[steps.SELL] & (1 << leg.asset) == 0:
        h.rest.surplus = convert(min(collateral - counted, max(collateral + size, 0)), uint256)
        h.rest.surplus -= h.rest.surplus % h.unit_wad
        h.rest.sale = convert(min(counted, max(delta, 0)), uint256)

    actions: uint256 = policies._actions(request.policy_word)
    if actions & TRADES != 0 and packing._flags(leg.price_word) & packing.IS_STALE == 0:
        gain: uint256 = self._unpaid_gain(leg, size, settled)
        if size != 0 and actions & (policies.MAY_TRIM | policies.MAY_UNWIND) != 0:
            # A trim never loses more than it frees at maintenance, or the ledger would test it like an increase.
            cost_e6: uint256 = self._cost_e6(request.account, leg, -size)
            depth_gwei: uint256 = 0
            if cost_e6 != 0:
                depth_gwei = self._depth_gwei(leg.asset)
            h.closing = curves._trade_curve(h.price_wad, fixed_point._abs(size), cost_e6, gain, depth_gwei)
            if gain >= sources.UNIT_WAD:
                h.closing.most -= markets.SIZE_STEP
            frees_enough: bool = cost_e6 < packing._r_maint_e6(leg.risk_word) + packing._l_maint_e6(leg.risk_word)
            is_shared: bool = delta != 0 and (size > 0) == (delta > 0)
            if frees_enough and is_shared:
                if self._allows(actions, policies.MAY_TRIM, request.refused[steps.TRIM], leg.asset):
                    h.rest.trim = fixed_point._abs(size)
        if delta > 0 and size <= 0:
            if self._allows(actions, policies.MAY_HEDGE, request.refused[steps.HEDGE], leg.asset):
                h.hedging = self._hedging(request.account, request.policy_word, leg, h.rest.open, h.lot_wad, gain)
    may_unwind: bool = size < 0 and collateral == counted and is_for_sale
    if may_unwind and self._allows(actions, policies.MAY_UNWIND, request.refused[steps.UNWIND], leg.asset):
        h.rest.pairs = convert(collateral, uint256)
    return h


@internal
@pure
def _allows(actions: uint256, action: uint256, refused: uint256, asset: uint256) -> bool:
    """@dev Allowed by the owner, and not refused."""
    return actions & action != 0 and refused & (1 << asset) == 0


@internal
@view
def _hedging(
    account: uint256, policy_word: uint256, leg: IMandates.Leg, open: uint256, lot_wad: uint256, gain: uint256
) -> curves.Curve:
    """@dev As for a trim; where there is a market, for every market has a depth."""
    curve: curves.Curve = empty(curves.Curve)
    depth_gwei: uint256 = self._depth_gwei(leg.asset)
    if depth_gwei == 0:
        return curve
    most: uint256 = min(open, staticcall IPerps(sources.PERPS).largest_increase(leg.asset, account, False))
    most -= most % lot_wad
    if most == 0:
        return curve
    cost_e6: uint256 = self._cost_e6(account, leg, -convert(most, int256))
    if cost_e6 + packing._l_maint_e6(leg.risk_word) < packing._r_maint_e6(leg.risk_word):
        curve = curves._trade_curve(packing._newest_wad(leg.price_word), most, cost_e6, gain, depth_gwei)
        curve = curves._with_later(curve, policies._funding_bps(policy_word) * BPS_TO_E6)
    return curve


@internal
@view
def _depth_gwei(asset: uint256) -> uint256:
    """@dev 0 where there is no market."""
    return (staticcall IPerps(sources.PERPS).terms_of(asset)).depth_gwei


@internal
@view
def _cost_e6(account: uint256, leg: IMandates.Leg, size_change: int256) -> uint256:
    """@dev Fee and impact of a trade as a part of its value, up; none where the skew pays for it."""
    price: uint256 = 0
    index: uint256 = 0
    fee_e6: uint256 = 0
    price, index, fee_e6 = staticcall IPerps(sources.PERPS).quote(leg.asset, account, size_change)
    lost: uint256 = max(price, index) - index
    if size_change < 0:
        lost = index - min(price, index)
    return fixed_point._mul_div_up(lost, fixed_point.RATE, index)


@internal
@pure
def _unpaid_gain(leg: IMandates.Leg, size: int256, settled: uint256) -> uint256:
    """@dev What the plan leaves of the unsettled result."""
    move: int256 = convert(packing._newest_wad(leg.price_word), int256) - leg.funding
    gain: int256 = fixed_point._mul_wad_floor_signed(size, move) - leg.cost
    return convert(max(gain - convert(settled, int256), 0), uint256)
