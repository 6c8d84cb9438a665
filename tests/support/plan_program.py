"""Rebalancing one account as a linear program, from the margin equation and not from the plan.

The variables are what may change of each asset: collateral sold above and within the quota, a
perpetual made smaller or a short made larger, a gain paid out, and what siblings and the wallet
give. What they cure is the change of E_init - t R_init that the equation names; a pair that is
unwound is a sale beside a purchase, a hedge that becomes a sale is less of one and more of the
other, and the program knows of neither. First the uncured shortfall is made least, then the cost.

    D = b + q    E = cash + min(b, quota) p + min(u, 0)    R = p (r |D| + l (min(b, quota) + |q|))

Rules of the hook that bound it: no exposure grows or turns; what a sibling gave is not sold; with
collateral above its quota no pair is unwound; nothing comes in against a net short; a trade that
the ledger would test is left out. Prices stood still in this block and back an increase. A value
is quote WAD times WAD, so that all data are integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import NamedTuple

from ballast.model.margin import BPS, RATE, WAD, Leg, div_up, nearest_zero, result_wad
from ballast.model.perps import SIZE_STEP_WAD
from ballast.model.plan import Action, Scene
from tests.support.simplex import Program

CURE = BPS * RATE


class Piece(NamedTuple):
    """Units of a means, WAD, and what each costs as a part of its value, millionths."""

    units_wad: Fraction
    cost_e6: int


class Optimum(NamedTuple):
    """What is left of the shortfall at best, and the least that this costs; quote WAD."""

    uncured: Fraction
    cost: Fraction


@dataclass(frozen=True)
class Means:
    """Most units of each change of one asset, WAD, what trading all costs in the mean, millionths,
    and what the pieces do into which each means is cut, for prices move with size.

    `delta_wad` is the exposure that sales, trims and hedges share.
    """

    delta_wad: int
    above_wad: int
    within_wad: int
    closed_wad: int
    trimmed_wad: int
    hedged_wad: int
    close_e6: int
    hedge_e6: int
    sales: tuple[Piece, ...]
    closes: tuple[Piece, ...]
    hedges: tuple[Piece, ...]


def cut(most_wad: int, first_e6: int, impact_e6: int) -> tuple[Piece, ...]:
    """Four pieces of a means, of 10, 20, 30 and 40% of it, where all units cost `impact_e6` more in
    the mean than the first one: each at its mean cost, up, never a gain. One piece, if the impact
    is no more than a tenth of what the first unit costs."""
    if impact_e6 == 0 or 10 * impact_e6 <= first_e6:
        return (Piece(Fraction(most_wad), max(0, first_e6 + impact_e6)),)
    ends = [Fraction(tenths, 10) for tenths in (0, 1, 3, 6, 10)]
    return tuple(
        Piece(most_wad * (high - low), max(0, first_e6 + ceil(impact_e6 * (low + high))))
        for low, high in pairwise(ends)
    )


def cut_trade(scene: Scene, asset: int, most_wad: int, cost_e6: int) -> tuple[Piece, ...]:
    """A trade whose units cost so much in the mean. The fill price moves by half the size over the
    depth; where the skew pays for all of it no more is known."""
    impact_e6 = 0
    if cost_e6:
        depth_gwei = scene.markets[asset].terms.depth_gwei
        impact_e6 = floor(Fraction(most_wad * RATE, 2 * depth_gwei * SIZE_STEP_WAD))
    return cut(most_wad, cost_e6 - impact_e6, impact_e6)


def trade_cost_e6(scene: Scene, leg: Leg, size_change: int) -> int:
    """Fee and impact of a trade as a part of its value, up; never a gain."""
    market, index = scene.markets[leg.asset], leg.mark.price_wad
    paid = market.priced(leg.position, size_change, leg.mark, scene.now).price_wad
    lost = paid - index if size_change > 0 else index - paid
    return max(0, ceil(Fraction(lost * RATE, index)))


def means_of(scene: Scene, leg: Leg, *, may_be_tested: bool = True) -> Means:
    """What the owner allows and the ledger lets stand; it tests who sells beside a short."""
    assert scene.policy is not None
    asset, mark, risk = leg.asset, leg.mark, leg.mark.risk
    b, q, actions = leg.position.collateral_wad, leg.position.size_wad, scene.policy.actions
    counted = min(b, mark.quota_wad)
    delta = nearest_zero(counted + q, b + q)
    sales = {sale.asset: sale for sale in scene.policy.sales}
    is_sold = asset in sales and (q >= 0 or may_be_tested)
    close_e6 = trade_cost_e6(scene, leg, -q) if q else 0
    is_trimmed = actions & Action.TRIM and delta * q > 0
    is_trimmed = is_trimmed and close_e6 < risk.r_maint_e6 + risk.l_maint_e6
    is_paired = actions & Action.UNWIND and q < 0 and b == counted and is_sold
    hedged = hedge_e6 = 0
    if actions & Action.HEDGE and delta > 0 and q <= 0 and asset in scene.markets:
        market = scene.markets[asset]
        lot_wad = max(scene.unit_wad[asset], SIZE_STEP_WAD)
        hedged = min(delta, market.largest_increase_wad(q, False, mark, scene.now))
        hedged -= hedged % lot_wad
        hedge_e6 = trade_cost_e6(scene, leg, -hedged) if hedged else 0
        if hedge_e6 + risk.l_maint_e6 >= risk.r_maint_e6:
            hedged = 0
    pieces: tuple[Piece, ...] = ()
    if is_sold:
        _, first_bps, impact_bps = sales[asset]
        pieces = cut(b, first_bps * RATE // BPS, impact_bps * RATE // BPS)
    return Means(
        delta_wad=delta,
        above_wad=min(b - counted, max(0, b + q)) if is_sold else 0,
        within_wad=counted if is_sold and (delta > 0 or is_paired) else 0,
        closed_wad=abs(q) if is_trimmed or is_paired else 0,
        trimmed_wad=min(abs(q), abs(delta)) if is_trimmed else 0,
        hedged_wad=hedged,
        close_e6=close_e6,
        hedge_e6=hedge_e6,
        sales=pieces,
        closes=cut_trade(scene, asset, abs(q), close_e6) if is_trimmed or is_paired else (),
        hedges=cut_trade(scene, asset, hedged, hedge_e6) if hedged else (),
    )


class RebalancingProgram:
    """The program of one account, with or without what the ledger would test."""

    def __init__(self, scene: Scene, *, may_be_tested: bool = True) -> None:
        assert scene.policy is not None and scene.target_bps is not None
        self.scene, self.target_bps = scene, scene.target_bps
        self.may_be_tested = may_be_tested
        self.program = Program()
        self.cures: dict[int, int] = {}
        self.settled: dict[int, int] = {}
        for leg in scene.own.legs(scene.marks):
            self._add_asset(leg)
        if self.settled:
            self._at_most(scene.house.cash_wad * WAD, dict.fromkeys(self.settled.values(), 1))
        if scene.policy.uses_wallet:
            units = min(scene.wallet.balance, scene.wallet.allowance)
            self._column(min(scene.wallet.left_wad, units * scene.loans.unit_wad) * WAD, CURE)
        self._add_donors()

    def least(self, shortfall: int, budget: int | None = None) -> Optimum:
        """The optimum for a shortfall and a loss budget, quote WAD."""
        program = Program(
            self.program.bounds, self.program.costs, [*self.program.limits], [*self.program.rows]
        )
        program.at_most(shortfall * WAD * CURE, self.cures)
        if budget is not None:
            costs = {place: cost for place, (_, cost) in enumerate(program.costs) if cost}
            program.at_most(budget * WAD * RATE, costs)
        values = program.least()
        cured = sum(values[place] * cure for place, cure in self.cures.items())
        cost = sum(v * dear for v, (_, dear) in zip(values, program.costs, strict=True))
        return Optimum(shortfall - Fraction(cured, WAD * CURE), Fraction(cost, WAD * RATE))

    def _column(self, bound: int | None, cure_e10: int, cost_e6: int = 0) -> int:
        place = self.program.column(bound, (-cure_e10, cost_e6))
        self.cures[place] = cure_e10
        return place

    def _at_most(self, limit: int, terms: dict[int, int]) -> None:
        self.program.at_most(limit, terms)

    def _add_asset(self, leg: Leg) -> None:
        scene, price, risk = self.scene, leg.mark.price_wad, leg.mark.risk
        means = means_of(scene, leg, may_be_tested=self.may_be_tested)
        assert scene.policy is not None
        target_bps = self.target_bps
        # Released by what makes both D and G smaller, and by what makes D larger and G smaller.
        toward = target_bps * (risk.r_init_e6 + risk.l_init_e6)
        away = target_bps * (risk.l_init_e6 - risk.r_init_e6)
        is_long = means.delta_wad >= 0
        size = leg.position.size_wad
        later_e6 = scene.policy.funding_bps * RATE // BPS

        def change(
            most: int, pieces: tuple[Piece, ...], released_e10: int, later_e6: int = 0
        ) -> dict[int, int]:
            """Columns and what a unit of each costs, without what is paid later."""
            columns = {}
            for units, cost_e6 in pieces if most else ():
                cure = released_e10 - cost_e6 * BPS
                bound = floor(min(units, most) * price)
                columns[self._column(bound, cure, cost_e6 + later_e6)] = cost_e6
            if len(columns) > 1:
                self._at_most(most * price, dict.fromkeys(columns, 1))
            return columns

        above = change(means.above_wad, means.sales, CURE)
        # A sale lowers D, whether that is above zero or below; closing moves it toward or away.
        sold = change(means.within_wad, means.sales, toward if is_long else away)
        if above and sold and len(means.sales) > 1:
            for (units, _), one, other in zip(means.sales, above, sold, strict=True):
                self._at_most(floor(units * price), {one: 1, other: 1})
        closes_toward = size > 0 or not is_long
        closed = change(means.closed_wad, means.closes, toward if closes_toward else away)
        hedged = change(means.hedged_wad, means.hedges, -away, later_e6)
        sign = 1 if is_long else -1
        moved = dict.fromkeys(sold, sign) | dict.fromkeys(closed, -sign) | dict.fromkeys(hedged, 1)
        if size <= 0:
            most = abs(means.delta_wad) if is_long else means.trimmed_wad
            self._at_most(most * price, moved)
            self._at_most(0, {place: -sign for place, sign in moved.items()})
        self._add_gain(leg, closed | hedged)

    def _add_gain(self, leg: Leg, costs: dict[int, int]) -> None:
        """A gain is paid, or it bears what trades cost, which would else take from equity."""
        assert self.scene.policy is not None
        gain = max(0, result_wad(leg.position, leg.mark))
        if gain == 0:
            return
        limit: dict[int, int] = {}
        if self.scene.policy.actions & Action.SETTLE and gain >= self.scene.loans.unit_wad:
            self.settled[leg.asset] = self._column(None, CURE)
            limit[self.settled[leg.asset]] = 1
        if costs:
            bears = self._column(None, CURE)
            limit[bears] = 1
            self._at_most(0, {bears: RATE, **{place: -cost for place, cost in costs.items()}})
        self._at_most(gain * WAD, limit)

    def _add_donors(self) -> None:
        """A sibling keeps its floor; what counts here is bounded by this account's quota."""
        scene = self.scene
        assert scene.policy is not None
        brought: dict[int, list[int]] = {}
        for donor in scene.policy.donors:
            floor_bps, held = scene.floors[donor], scene.accounts[donor]
            terms = held.assess(scene.marks, scene.loans)
            slack = terms.equity_init - div_up(terms.required_init * floor_bps, BPS)
            if floor_bps == 0 or slack <= 0:
                continue
            cash = max(0, held.net_wad(scene.loans))
            given = {self._column(cash * WAD, CURE): CURE}
            for leg in held.legs(scene.marks):
                rate_e6 = leg.mark.rate_init_e6
                cure = CURE - self.target_bps * rate_e6
                if cure <= 0 or scene.own.position(leg.asset).delta_wad < 0:
                    continue
                assert leg.position.collateral_wad <= leg.mark.quota_wad
                free_wad = min(0, leg.position.size_wad) + leg.position.collateral_wad
                place = self._column(max(0, free_wad) * leg.mark.price_wad, cure)
                given[place] = max(0, CURE - floor_bps * rate_e6)
                brought.setdefault(leg.asset, []).append(place)
            self._at_most(slack * WAD * CURE, given)
        for asset, places in brought.items():
            mark = scene.marks[asset]
            room = max(0, mark.quota_wad - scene.own.position(asset).collateral_wad)
            self._at_most(room * mark.price_wad, dict.fromkeys(places, 1))
