"""The plan of the default hook for an allocation, in exact integers, and what carrying it out does.

Where the margin of an account is in order its owner may want more: limits to what one asset or all
of them make up, target weights, and exposure that grows back above a ceiling. The first wish that
is not met is planned.

    share     x = (R_i - c R) / (rho (1 - c))     position, regime   x = p |D| - c E
    weights   x = min(over, under)                ceiling            x = (E - c R) / (c rho + s)

Values are WAD of the quote token. Sizes round down, so that nothing is cut below a limit or a
weight, and nothing grows beyond a weight or below the ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction
from typing import NamedTuple

from ballast.model import plan as plans
from ballast.model.margin import BPS, RATE, WAD, Leg, Mark, Position, Terms, div_up
from ballast.model.perps import SIZE_STEP_WAD
from ballast.model.plan import QUOTE_ASSET, UNLIMITED, Code, Kind, Plan, Scene, Step
from ballast.model.sizing import MAX_VALUE_WAD, ROUNDING_WAD

HYSTERESIS_BPS = 500
LEAST_PART = 100  # a step does at least this part of what is wanted
LEAST_LEVER_PART = 8  # and a perpetual grows by at least this part of it
BPS_TO_E6 = 100
MAY_RERISK = 16
MAX_PAIRS = 24

# Units of the second asset paid for units of the first, None for a swap that is refused.
SwapVenue = Callable[[int, int, int], int | None]


class Change(IntEnum):
    """What a step does that only an allocation asks for."""

    SWAP = 9
    BUY = 10
    UNHEDGE = 11
    LEVER = 12


class Weight(NamedTuple):
    """A part of all collateral and cash that an asset is to make up."""

    asset: int
    weight_bps: int


@dataclass(frozen=True)
class Allocation:
    """How an account is to be made up; 0 stands for no such wish."""

    ceiling_bps: int = 0
    share_bps: int = 0
    position_bps: int = 0
    exposure_bps: int = 0
    sigma_high_bps: int = 0
    sigma_low_bps: int = 0
    drift_bps: int = 0
    period_s: int = 0
    anticipates: bool = False
    weights: tuple[Weight, ...] = ()

    def weight_of(self, asset: int) -> int | None:
        """The target weight of an asset, None without one."""
        return next((w.weight_bps for w in self.weights if w.asset == asset), None)


@dataclass(frozen=True)
class Measure:
    """What limits are measured against."""

    equity: int
    required: int
    exposure: int
    collateral: int
    sigma_bps: int


def measured(scene: Scene) -> Measure:
    """Values down, exposure up."""
    legs = scene.own.legs(scene.marks)
    terms = scene.assess(scene.account)
    return Measure(
        equity=max(0, terms.equity_init),
        required=terms.required_init,
        exposure=sum(exposure_up(leg) for leg in legs),
        collateral=max(0, scene.own.net_wad(scene.loans)) + sum(value_of(leg) for leg in legs),
        sigma_bps=max((leg.mark.risk.sigma_e6 // BPS_TO_E6 for leg in legs), default=0),
    )


def exposure_up(leg: Leg) -> int:
    """p |D|."""
    return div_up(abs(leg.position.delta_wad) * leg.mark.price_wad, WAD)


def value_of(leg: Leg) -> int:
    """b p."""
    return leg.position.collateral_wad * leg.mark.price_wad // WAD


@dataclass(frozen=True)
class _Draft:
    """A plan under way, and what may still be lost and traded."""

    plan: Plan
    budget: int
    allowance: int

    def most_value(self, cost_e6: int) -> int:
        return min(self.allowance, _part_of(self.budget, cost_e6))

    def with_step(self, step: Step, cost_e6: int) -> _Draft:
        budget = max(0, self.budget - div_up(step.value * cost_e6, RATE))
        allowance = max(0, self.allowance - step.value)
        return _Draft(replace(self.plan, steps=(*self.plan.steps, step)), budget, allowance)


def make_allocation_plan(
    scene: Scene, allocation: Allocation, *, band_bps: int = 300, allocated_at: int = 0
) -> Plan:
    """What a rebalance would do for the allocation now; margin is taken to be in order.

    `allocated_at` is when the mix was last changed, unix seconds. Weighed assets need marks too.
    """
    if scene.policy is None or scene.target_bps is None:
        return Plan(Code.NO_POLICY)
    if scene.bounds.expires_at and scene.now >= scene.bounds.expires_at:
        return Plan(Code.EXPIRED)
    draft = _Draft(
        Plan(Code.READY),
        max(0, scene.budget_wad - plans.ROUNDING_UNITS * scene.loans.unit_wad),
        scene.bounds.max_step_wad or MAX_VALUE_WAD,
    )
    not_before = scene.policy.last_at + 1 + scene.policy.cooldown_s
    is_unmet, draft = _with_cuts(draft, scene, allocation)
    if not is_unmet:
        not_before = max(not_before, allocated_at + allocation.period_s)
        is_unmet, draft = _with_mix(draft, scene, allocation)
        if not draft.plan.steps:
            is_above, draft = _with_growth(draft, scene, allocation, band_bps)
            is_unmet = is_unmet or is_above
    return replace(draft.plan, code=_code(scene, draft.plan, is_unmet, not_before))


def _code(scene: Scene, plan: Plan, is_unmet: bool, not_before: int) -> Code:
    assert scene.policy is not None
    gas_cap_wei = scene.bounds.gas_cap_gwei * plans.GWEI_WEI
    if not is_unmet:
        return Code.ABOVE_TRIGGER
    if not plan.steps:
        return Code.NO_MEANS
    if scene.now < not_before:
        return Code.COOLING_DOWN
    if plan.shortfall < scene.policy.min_step_wad:
        return Code.BELOW_MINIMUM
    if gas_cap_wei and scene.base_fee_wei > gas_cap_wei:
        return Code.GAS_TOO_DEAR
    return Code.READY


# ---- limits


def share_limit(allocation: Allocation, legs: Iterable[Leg]) -> int:
    """The limit of a share, 0 where there is none or so few assets that they cannot all keep it."""
    share_bps = allocation.share_bps
    count = sum(leg.terms.required_init != 0 for leg in legs)
    return share_bps if share_bps < BPS <= share_bps * count else 0


def exceeds(amount: int, most_bps: int, base: int) -> bool:
    """By more than the hysteresis."""
    return amount * BPS * BPS > most_bps * base * (BPS + HYSTERESIS_BPS)


def _with_cuts(draft: _Draft, scene: Scene, allocation: Allocation) -> tuple[bool, _Draft]:
    """For the first limit that is exceeded; returns whether there is one."""
    measure = measured(scene)
    legs = scene.own.legs(scene.marks)
    may_be_tested = scene.assess(scene.account).excess_init >= plans._weakness(scene)
    holdings = plans._holdings(Plan(Code.READY), scene, may_be_tested)
    exposed = [replace(held, open=abs(held.leg.position.delta_wad)) for held in holdings]
    share_bps = share_limit(allocation, legs)
    if share_bps:
        over = [
            (held, (held.leg.terms.required_init * BPS - share_bps * measure.required))
            for held in holdings
            if exceeds(held.leg.terms.required_init, share_bps, measure.required)
        ]
        for held, excess in over:
            draft = _with_cut(draft, scene, [held], excess // (BPS - share_bps), is_share=True)
        if over:
            return True, draft
    if allocation.position_bps:
        most = div_up(measure.equity * allocation.position_bps, BPS)
        large = [
            (held, exposure_up(held.leg) - most)
            for held in exposed
            if exceeds(exposure_up(held.leg), allocation.position_bps, measure.equity)
        ]
        for held, excess in large:
            draft = _with_cut(draft, scene, [held], excess, is_share=False)
        if large:
            return True, draft
    most_bps = allocation.exposure_bps
    if not _is_wild(allocation, measure) or not exceeds(measure.exposure, most_bps, measure.equity):
        return False, draft
    excess = measure.exposure - div_up(measure.equity * most_bps, BPS)
    return True, _with_cut(draft, scene, exposed, excess, is_share=False)


def _is_wild(allocation: Allocation, measure: Measure) -> bool:
    return allocation.exposure_bps != 0 and measure.sigma_bps >= allocation.sigma_high_bps


class _Edge(NamedTuple):
    form: plans._Form
    available: int
    lot_wad: int
    effect_e6: int
    cost_e6: int


def _edges(held: plans._Holding, is_share: bool) -> list[_Edge]:
    """What may be done with an asset, as far as it releases more than it costs."""
    risk = held.leg.mark.risk
    rate_e6 = risk.r_init_e6 + risk.l_init_e6
    # What lies above the quota leaves first, and has no part in the requirement.
    sale = 0 if is_share and held.surplus else held.sale + held.surplus
    known = (
        (plans._Form.WITHIN, sale, held.unit_wad, rate_e6, held.sales.whole_e6),
        (
            plans._Form.TRIM,
            min(held.trim, held.closing.most),
            SIZE_STEP_WAD,
            rate_e6,
            held.closing.whole_e6,
        ),
        (
            plans._Form.HEDGE,
            held.hedging.most,
            held.lot_wad,
            risk.r_init_e6 - risk.l_init_e6,
            held.hedging.whole_e6,
        ),
    )
    return [
        _Edge(form, min(available, held.open), lot, released if is_share else RATE, cost)
        for form, available, lot, released, cost in known
        if form not in held.used and cost < released and min(available, held.open)
    ]


def _with_cut(
    draft: _Draft, scene: Scene, holdings: list[plans._Holding], over: int, *, is_share: bool
) -> _Draft:
    """The cheapest edges until what is over the limit is gone."""
    holdings = list(holdings)
    effect_e6 = holdings[0].leg.mark.rate_init_e6 if is_share else RATE
    left = max(0, over - ROUNDING_WAD)
    shortfall = draft.plan.shortfall + over * RATE // effect_e6
    while left * LEAST_PART >= over and not draft.plan.is_full:
        known = [(edge, i) for i, held in enumerate(holdings) for edge in _edges(held, is_share)]
        if not known:
            break
        edge, i = min(
            known,
            key=lambda k: (Fraction(k[0].cost_e6, k[0].effect_e6), holdings[k[1]].rank, k[0].form),
        )
        held, price = holdings[i], holdings[i].leg.mark.price_wad
        value = min(left * RATE // edge.effect_e6, draft.most_value(edge.cost_e6))
        size = min(value * WAD // price, edge.available) // edge.lot_wad * edge.lot_wad
        worth = size * price // WAD * edge.effect_e6 // RATE
        if worth * LEAST_PART < over:
            size = 0
        if size:
            kind = {plans._Form.TRIM: Kind.TRIM, plans._Form.HEDGE: Kind.HEDGE}.get(
                edge.form, Kind.SELL
            )
            value = size * price // WAD
            units = size // held.unit_wad if kind == Kind.SELL else size
            cost = div_up(value * edge.cost_e6, RATE)
            step = Step(kind, scene.account, held.leg.asset, units, value, cost)
            draft = draft.with_step(step, edge.cost_e6)
            left = max(0, left - div_up((step.value + 1) * edge.effect_e6, RATE))
        holdings[i] = replace(held, open=held.open - size, used=held.used | {edge.form})
    plan = replace(
        draft.plan,
        shortfall=shortfall,
        uncured=draft.plan.uncured + left * RATE // effect_e6,
        steps=plans._hedges_last(draft.plan.steps),
    )
    return replace(draft, plan=plan)


# ---- weights


@dataclass(frozen=True)
class _Part:
    """One weighed asset, or cash as asset 0: what may be given, and what may be taken in."""

    asset: int
    price_wad: int
    unit_wad: int
    over: int = 0
    under: int = 0
    rate_e6: int = 0
    released_e6: int = 0
    cost_e6: int = 0


@dataclass(frozen=True)
class _Growth:
    """How far exposure may grow: equity beyond target and ceiling, 0 for a ceiling of 0."""

    slippage_e6: int
    target_bps: int
    to_target: int
    ceiling_bps: int
    to_ceiling: int

    def added_e6(self, given: _Part, taken: _Part) -> int:
        """What a unit given adds to the requirement where the venue pays best."""
        return div_up(taken.rate_e6 * (RATE + self.slippage_e6), RATE) - given.released_e6

    def use_e6(self, multiple_bps: int, given: _Part, taken: _Part) -> int:
        """What a unit given takes of E - t R at most."""
        use_e10 = self.slippage_e6 * BPS + multiple_bps * self.added_e6(given, taken)
        return div_up(max(0, use_e10), BPS)


def _growth(scene: Scene, allocation: Allocation, measure: Measure) -> _Growth:
    assert scene.policy is not None and scene.target_bps is not None

    def excess(multiple_bps: int) -> int:
        rounding = plans.ROUNDING_UNITS * scene.loans.unit_wad
        return max(0, measure.equity - div_up(measure.required * multiple_bps, BPS) - rounding)

    low_bps, ceiling_bps = allocation.sigma_low_bps, allocation.ceiling_bps
    is_calm = low_bps == 0 or measure.sigma_bps <= low_bps
    if not (scene.policy.actions & MAY_RERISK and is_calm and ceiling_bps > scene.target_bps):
        ceiling_bps = 0
    return _Growth(
        scene.slippage_bps * BPS_TO_E6,
        scene.target_bps,
        excess(scene.target_bps),
        ceiling_bps,
        excess(ceiling_bps) if ceiling_bps else 0,
    )


def _with_mix(draft: _Draft, scene: Scene, allocation: Allocation) -> tuple[bool, _Draft]:
    """Returns whether a weight is off by more than the drift."""
    measure = measured(scene)
    growth = _growth(scene, allocation, measure)
    if not allocation.weights or growth.to_target == 0:
        return False, draft
    values = {leg.asset: value_of(leg) for leg in scene.own.legs(scene.marks)}
    pairs = [
        (values.get(asset, 0), weight_bps * measure.collateral // BPS)
        for asset, weight_bps in allocation.weights
    ]
    drift = allocation.drift_bps * measure.collateral
    if not any(abs(value - target) * BPS > drift for value, target in pairs):
        return False, draft
    held, weighed = (sum(column) for column in zip(*pairs, strict=True))
    net = scene.own.net_wad(scene.loans)
    over = min(max(0, net), max(0, weighed - held))
    turnover = sum(max(0, value - target) for value, target in pairs) + over
    draft = replace(draft, plan=replace(draft.plan, shortfall=turnover, uncured=turnover))
    if plans._weakness(scene):
        return True, draft
    lost = div_up(turnover * growth.slippage_e6, RATE)
    parts = _parts(scene, allocation, measure, lost, is_bought=turnover == over)
    cash = _Part(QUOTE_ASSET, WAD, scene.loans.unit_wad, over)
    if net >= 0:
        cash = replace(cash, under=max(0, held - weighed))
    _, draft = _with_pairs(draft, scene, [*parts, cash], growth)
    return True, draft


def _leg_of(scene: Scene, asset: int) -> tuple[Leg, bool]:
    """Its leg, and whether it is held."""
    known = {leg.asset: leg for leg in scene.own.legs(scene.marks)}
    if asset in known:
        return known[asset], True
    return Leg(asset, Position(), scene.marks[asset]), False


def _parts(
    scene: Scene, allocation: Allocation, measure: Measure, lost: int, *, is_bought: bool
) -> list[_Part]:
    """What may be given and taken in of each weighed asset, where swaps lose at most `lost` and,
    if `is_bought`, nothing but cash is given."""
    assert scene.policy is not None
    costs = {sale.asset: sale.whole_e6 for sale in scene.policy.sales}
    parts: list[_Part] = []
    for asset, weight_bps in allocation.weights:
        if asset not in costs or (asset not in scene.marks and asset not in scene.own.positions):
            continue
        leg, is_held = _leg_of(scene, asset)
        mark, collateral, price = leg.mark, leg.position.collateral_wad, leg.mark.price_wad
        if not mark.bounds_swap or leg.position.size_wad < 0 or price == 0:
            continue
        value = value_of(leg)
        kept = div_up(weight_bps * (measure.collateral + lost + ROUNDING_WAD), BPS)
        part = _Part(
            asset,
            price,
            scene.unit_wad[asset],
            over=max(0, value - kept),
            rate_e6=mark.rate_init_e6,
            released_e6=mark.rate_init_e6 if collateral <= mark.quota_wad else 0,
            cost_e6=costs[asset],
        )
        is_live = mark.backs_increase and price == mark.price.previous_wad
        has_place = is_held or (
            len(scene.own.positions) < plans.MAX_ASSETS and _is_calm(allocation, mark)
        )
        if is_live and has_place and collateral < mark.quota_wad:
            whole = max(0, measure.collateral - lost - ROUNDING_WAD)
            room = min(
                max(0, weight_bps * whole // BPS - max(value, exposure_up(leg))),
                (mark.quota_wad - collateral) * price // WAD,
                _room(scene, allocation, leg, measure, lost, is_alone=is_bought),
            )
            part = replace(part, under=room * BPS // (BPS + scene.slippage_bps))
        parts.append(part)
    return parts


def _is_calm(allocation: Allocation, mark: Mark) -> bool:
    """Whether an asset that is not held would not make the account a volatile one."""
    sigma_bps = mark.risk.sigma_e6 // BPS_TO_E6
    if allocation.sigma_low_bps:
        return sigma_bps <= allocation.sigma_low_bps
    return not allocation.sigma_high_bps or sigma_bps < allocation.sigma_high_bps


def _room(
    scene: Scene,
    allocation: Allocation,
    leg: Leg,
    measure: Measure,
    lost: int,
    *,
    is_alone: bool,
) -> int:
    """By how much exposure to an asset may grow before a limit would cut it; `is_alone` if nothing
    else is sold for it, so that the whole requirement grows as well."""
    equity = max(0, measure.equity - lost)
    room = UNLIMITED
    if allocation.position_bps:
        room = max(0, allocation.position_bps * equity // BPS - exposure_up(leg))
    share_bps = share_limit(allocation, scene.own.legs(scene.marks))
    rate_e6 = leg.mark.rate_init_e6
    if is_alone:
        rate_e6 = div_up(rate_e6 * (BPS - share_bps), BPS)
    if share_bps and rate_e6:
        spare = max(0, share_bps * measure.required // BPS - leg.terms.required_init)
        room = min(room, spare * RATE // rate_e6)
    if _is_wild(allocation, measure):
        room = min(room, max(0, allocation.exposure_bps * equity // BPS - measure.exposure))
    return room


def _with_pairs(
    draft: _Draft, scene: Scene, parts: list[_Part], growth: _Growth
) -> tuple[_Growth, _Draft]:
    """The most overweight into the most underweight, as far as that passes."""
    parts = list(parts)
    has_grown = False
    for _ in range(MAX_PAIRS):
        giver = max(range(len(parts)), key=lambda i: (parts[i].over, -i))
        taker = max(range(len(parts)), key=lambda i: (parts[i].under, -i))
        given, taken = parts[giver], parts[taker]
        if draft.plan.is_full or given.over == 0 or taken.under == 0:
            break
        kind: int = Change.SWAP
        if given.asset == QUOTE_ASSET:
            kind = Change.BUY
        elif taken.asset == QUOTE_ASSET:
            kind = Kind.SELL
        if (kind, given.asset) in scene.refused:
            parts[giver] = replace(given, over=0)
            continue
        cost_e6 = given.cost_e6 + taken.cost_e6
        for_target = growth.use_e6(growth.target_bps, given, taken)
        for_ceiling = growth.use_e6(growth.ceiling_bps, given, taken)
        value = min(
            given.over,
            taken.under,
            draft.most_value(cost_e6),
            _part_of(growth.to_target, for_target),
        )
        is_growth = growth.added_e6(given, taken) > 0
        if is_growth and growth.ceiling_bps == 0:
            value = 0
        elif is_growth or has_grown:
            value = min(value, _part_of(growth.to_ceiling, for_ceiling))
        unit_price = given.price_wad * given.unit_wad
        amount = value * WAD // unit_price
        value = amount * unit_price // WAD
        if amount == 0 or value * LEAST_PART < draft.plan.shortfall:
            if given.over < taken.under:
                parts[giver] = replace(given, over=0)
            else:
                parts[taker] = replace(taken, under=0)
            continue
        cost = div_up(value * cost_e6, RATE)
        step = Step(kind, scene.account, given.asset, amount, value, cost, taken.asset)
        has_grown = has_grown or is_growth
        draft = draft.with_step(step, cost_e6)
        uncured = max(0, draft.plan.uncured - value)
        draft = replace(draft, plan=replace(draft.plan, uncured=uncured))
        growth = replace(
            growth,
            to_target=_less(growth.to_target, value, for_target),
            to_ceiling=_less(growth.to_ceiling, value, for_ceiling),
        )
        parts[giver] = replace(given, over=given.over - value)
        parts[taker] = replace(taken, under=taken.under - value)
    return growth, draft


def _part_of(amount: int, per_unit_e6: int) -> int:
    """The value of which each unit uses so much of an amount."""
    return amount * RATE // per_unit_e6 if per_unit_e6 else UNLIMITED


def _less(amount: int, value: int, per_unit_e6: int) -> int:
    return max(0, amount - div_up(value * per_unit_e6, RATE))


# ---- the ceiling


def _with_growth(
    draft: _Draft, scene: Scene, allocation: Allocation, band_bps: int
) -> tuple[bool, _Draft]:
    """Returns whether equity is above ceiling and band."""
    measure = measured(scene)
    growth = _growth(scene, allocation, measure)
    from_bps = growth.ceiling_bps + band_bps
    if growth.ceiling_bps == 0 or measure.equity * BPS <= from_bps * measure.required:
        return False, draft
    wanted = growth.to_ceiling
    draft = replace(draft, plan=replace(draft.plan, shortfall=wanted, uncured=wanted))
    if plans._weakness(scene):
        return True, draft
    legs = scene.own.legs(scene.marks)
    for leg in legs:
        growth, draft = _with_trade(draft, scene, allocation, measure, growth, leg, Change.UNHEDGE)
    cash = max(0, scene.own.net_wad(scene.loans))
    if cash and allocation.weights:
        lost = div_up(cash * growth.slippage_e6, RATE)
        parts = _parts(scene, allocation, measure, lost, is_bought=True)
        parts = [replace(part, over=0) for part in parts]
        parts.append(_Part(QUOTE_ASSET, WAD, scene.loans.unit_wad, cash))
        growth, draft = _with_pairs(draft, scene, parts, growth)
    for leg in legs:
        growth, draft = _with_trade(draft, scene, allocation, measure, growth, leg, Change.LEVER)
    return True, replace(draft, plan=replace(draft.plan, uncured=growth.to_ceiling))


def _with_trade(
    draft: _Draft,
    scene: Scene,
    allocation: Allocation,
    measure: Measure,
    growth: _Growth,
    leg: Leg,
    kind: Change,
) -> tuple[_Growth, _Draft]:
    """A short bought back, or a perpetual enlarged."""
    risk, price = leg.mark.risk, leg.mark.price_wad
    if kind == Change.UNHEDGE:
        rate_e6 = risk.r_init_e6 - risk.l_init_e6
        most = _hedged(scene, allocation, measure, leg)
    else:
        rate_e6 = leg.mark.rate_init_e6
        most = _leverable(scene, leg)
    if draft.plan.is_full or most == 0 or (kind, leg.asset) in scene.refused:
        return growth, draft
    use_e6 = div_up(growth.ceiling_bps * rate_e6, BPS)
    room = _room(scene, allocation, leg, measure, 0, is_alone=True)
    room = max(0, room - sum(step.value for step in draft.plan.steps))
    most = _cut_to(most, min(room, _part_of(growth.to_ceiling, use_e6)), price)
    if most == 0:
        return growth, draft
    is_sale = kind == Change.LEVER and leg.position.size_wad < 0
    cost_e6 = plans._cost_e6(scene, leg, -most if is_sale else most)
    affordable = min(_part_of(growth.to_ceiling, use_e6 + cost_e6), draft.most_value(cost_e6))
    size = _cut_to(most, affordable, price)
    value = size * price // WAD
    least_part = LEAST_LEVER_PART if kind == Change.LEVER else LEAST_PART
    if size == 0 or value * use_e6 // RATE * least_part < draft.plan.shortfall:
        return growth, draft
    step = Step(kind, scene.account, leg.asset, size, value, div_up(value * cost_e6, RATE))
    to_ceiling = _less(growth.to_ceiling, value, use_e6 + cost_e6)
    return replace(growth, to_ceiling=to_ceiling), draft.with_step(step, cost_e6)


def _cut_to(size: int, value: int, price_wad: int) -> int:
    """A size of at most a value, in whole steps where that binds."""
    if value >= size * price_wad // WAD:
        return size
    return value * WAD // price_wad // SIZE_STEP_WAD * SIZE_STEP_WAD


def _hedged(scene: Scene, allocation: Allocation, measure: Measure, leg: Leg) -> int:
    """Units of a short beside at least as much collateral."""
    held, mark = leg.position, leg.mark
    is_usable = mark.backs_increase and held.collateral_wad <= mark.quota_wad
    if held.size_wad >= 0 or held.delta_wad < 0 or not is_usable:
        return 0
    weight_bps = allocation.weight_of(leg.asset)
    if held.delta_wad == 0 and (
        weight_bps is None or value_of(leg) * BPS > weight_bps * measure.collateral
    ):
        return 0
    has_gain = plans._unpaid_gain(Plan(Code.READY), leg) >= scene.loans.unit_wad
    return abs(held.size_wad) - (SIZE_STEP_WAD if has_gain else 0)


def _leverable(scene: Scene, leg: Leg) -> int:
    """Units by which a perpetual may grow that has the sign of the exposure."""
    size = leg.position.size_wad
    if size * leg.position.delta_wad <= 0:
        return 0
    market = scene.markets[leg.asset]
    return market.largest_increase_wad(size, size > 0, leg.mark, scene.now)


# ---- carrying it out


def carry_out_allocation(
    scene: Scene,
    allocation: Allocation,
    venue: SwapVenue,
    *,
    band_bps: int = 300,
    allocated_at: int = 0,
) -> tuple[Scene, tuple[Step, ...]]:
    """Plans and acts as the hook does; returns what everyone holds afterwards and what was done."""
    taken: list[Step] = []
    for _ in range(plans.MAX_PLANS):
        plan = make_allocation_plan(scene, allocation, band_bps=band_bps, allocated_at=allocated_at)
        if plan.code != Code.READY:
            break
        refused = scene.refused
        for step in plan.steps:
            done = 0
            for part in _tried(scene, step):
                acted = _acted(scene, part, venue)
                if acted is not None:
                    scene, done = acted, part.amount
                    taken.append(part)
                    break
            if done != step.amount:
                refused = refused | {(step.kind, step.asset)}
        if refused == scene.refused:
            break
        scene = replace(scene, refused=refused)
    return scene, tuple(taken)


def _tried(scene: Scene, step: Step) -> list[Step]:
    """The step, its half and its quarter, trades in whole lots."""
    lot = 1
    if step.kind not in (Kind.SELL, Change.SWAP, Change.BUY):
        lot = max(scene.unit_wad[step.asset], SIZE_STEP_WAD)
    amounts = [(step.amount >> n) // lot * lot for n in range(1, plans.MAX_HALVINGS + 1)]
    return [step, *(step._replace(amount=amount) for amount in amounts if amount)]


def _acted(scene: Scene, step: Step, venue: SwapVenue) -> Scene | None:
    """The scene after one step, None if it is refused."""
    if step.kind == Change.UNHEDGE:
        return plans._traded(scene, step.asset, step.amount)
    if step.kind == Change.LEVER:
        is_long = scene.own.position(step.asset).size_wad > 0
        return plans._traded(scene, step.asset, step.amount if is_long else -step.amount)
    if step.kind not in (Change.SWAP, Change.BUY):
        return plans._acted(scene, step, lambda asset, units: venue(asset, QUOTE_ASSET, units))
    bought = venue(step.asset, step.bought, step.amount)
    if bought is None:
        return None
    if step.kind == Change.BUY:
        own = scene.own.debited(step.amount, scene.loans)
    else:
        given = step.amount * scene.unit_wad[step.asset]
        own = scene.own.with_collateral(step.asset, -given)
    own = own.with_collateral(step.bought, bought * scene.unit_wad[step.bought])
    return replace(scene, accounts={**scene.accounts, scene.account: own}, is_tested=True)


def is_within(before: Scene, after: Scene, allocation: Allocation, *, band_bps: int = 300) -> str:
    """Why the guard would undo what led from one scene to the other, "" if it would not.

    What grew has to be within its weight without more of a requirement, or above the ceiling; what
    shrank, beyond target and band, no smaller than the allocation wants it.
    """
    assert before.target_bps is not None
    old, new = measured(before), measured(after)
    measure = replace(
        new, equity=min(old.equity, new.equity), sigma_bps=max(old.sigma_bps, new.sigma_bps)
    )
    ended: Terms = after.assess(after.account)
    if ended.shortfall_up(before.target_bps) > before.assess(before.account).shortfall_up(
        before.target_bps
    ):
        return "mandates: shortfall grew"
    for leg in after.own.legs(after.marks):
        held = before.own.position(leg.asset)
        if abs(leg.position.delta_wad) <= abs(held.delta_wad):
            continue
        if not _may_grow(allocation, measure, leg, held, old.required):
            return "mandates: exposure grew"
    most = div_up(ended.required_init * (before.target_bps + band_bps), BPS)
    if ended.equity_init <= most:
        return ""
    for asset, held in before.own.positions.items():
        leg = Leg(asset, after.own.position(asset), before.marks[asset])
        is_less = abs(leg.position.delta_wad) < abs(held.delta_wad)
        if is_less and not _is_above_a_limit(allocation, measure, leg):
            return "mandates: above target and band"
    return ""


def _may_grow(
    allocation: Allocation, measure: Measure, leg: Leg, held: Position, required_before: int
) -> bool:
    weight_bps = allocation.weight_of(leg.asset)
    most = max(value_of(leg), exposure_up(leg))
    is_light = weight_bps is not None and most * BPS <= weight_bps * measure.collateral
    if is_light and measure.required <= required_before:
        return True
    ceiling, low = allocation.ceiling_bps, allocation.sigma_low_bps
    is_above = ceiling != 0 and measure.equity * BPS >= ceiling * measure.required
    is_held = leg.position.delta_wad * held.delta_wad > 0
    return is_above and (is_held or is_light) and (low == 0 or measure.sigma_bps <= low)


def _is_above_a_limit(allocation: Allocation, measure: Measure, leg: Leg) -> bool:
    weight_bps = allocation.weight_of(leg.asset)
    a = allocation
    exposure = exposure_up(leg) * BPS
    return bool(
        (weight_bps is not None and value_of(leg) * BPS >= weight_bps * measure.collateral)
        or (a.share_bps and leg.terms.required_init * BPS >= a.share_bps * measure.required)
        or (a.position_bps and exposure >= a.position_bps * measure.equity)
        or (_is_wild(a, measure) and measure.exposure * BPS >= a.exposure_bps * measure.equity)
    )
