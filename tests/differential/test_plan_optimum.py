"""The plan against the optimum of a linear program that knows of no order, hull or greed.

Ten thousand random accounts of one to eight assets. Their plans leave no more of the shortfall, and
cost no more, than the optimum for a slightly larger shortfall and a slightly smaller budget; the
difference is what roundings may take (`rounding_wad`). What a plan is not claimed to be optimal for
is left out by an explicit premise, counted, and compared all the same. docs/optimality.md tells it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import combinations, islice
from math import ceil
from random import Random
from statistics import median
from typing import Any

import pytest

from ballast.model import plan as plans
from ballast.model import sizing
from ballast.model.margin import BPS, RATE, WAD, div_up, result_wad
from ballast.model.plan import (
    MAX_STEPS,
    ROUNDING_UNITS,
    SLICES,
    UNLIMITED,
    Action,
    Code,
    Kind,
    Plan,
    Scene,
    Step,
    Venue,
    carry_out,
    make_plan,
)
from tests.support.plan_program import Optimum, RebalancingProgram, means_of
from tests.support.plan_scenes import (
    MOST_ASSETS,
    Item,
    Trader,
    random_scenes,
    trader_scene,
)
from tests.support.simplex import Program

Tell = Callable[[str, object], None]

ACCOUNTS = 10_000
SEED = 20_200_312
# Edges of one asset: surplus, within, trim, hedge, upgrade, pairs, and the slices of each.
EDGES = len(plans._Form) * SLICES
AT_LEAST = {
    "needs the hull": 1_000,
    "unwinds a pair": 1_000,
    "cured": 7_000,
    "out of reach": 500,
    "short of budget": 100,
    "tested, so left out": 100,
    "carried out": 500,
    **{f"took {kind.name}": 150 for kind in Kind},
    **{f"assets: {number}": 500 for number in range(1, MOST_ASSETS + 1)},
}


# ---- the simplex method itself


def corners(program: Program) -> Iterator[tuple[Fraction, ...]]:
    """The points where as many constraints are tight as there are variables and none is broken."""
    size = len(program.bounds)
    walls: list[tuple[list[int], int]] = []
    for place, bound in enumerate(program.bounds):
        axis = [int(place == other) for other in range(size)]
        walls.append(([-entry for entry in axis], 0))
        if bound is not None:
            walls.append((axis, bound))
    for limit, row in zip(program.limits, program.rows, strict=True):
        walls.append(([row.get(place, 0) for place in range(size)], limit))
    for tight in combinations(walls, size):
        point = solved([[*map(Fraction, slope), Fraction(limit)] for slope, limit in tight])
        if point and all(
            sum(a * x for a, x in zip(slope, point, strict=True)) <= limit for slope, limit in walls
        ):
            yield point


def solved(rows: list[list[Fraction]]) -> tuple[Fraction, ...]:
    """The point of a square system, () if there is none or more than one."""
    for place in range(len(rows)):
        pivot = next((row for row in rows[place:] if row[place]), None)
        if pivot is None:
            return ()
        rows.remove(pivot)
        pivot = [entry / pivot[place] for entry in pivot]
        rows = [[a - row[place] * b for a, b in zip(row, pivot, strict=True)] for row in rows]
        rows.insert(place, pivot)
    return tuple(row[-1] for row in rows)


def test_simplex__small_random_programs__finds_the_best_corner() -> None:
    """Degenerate ones among them: limits of zero are drawn often."""
    random = Random(SEED)
    for _ in range(500):
        program = Program()
        size = random.randrange(1, 4)
        for _ in range(size):
            bound = random.choice((0, random.randrange(9), random.randrange(9)))
            program.column(bound, (random.randrange(-3, 3), random.randrange(-5, 5)))
        for _ in range(random.randrange(4)):
            limit = random.choice((0, 0, 1, 5, 9))
            program.at_most(limit, {place: random.randrange(-4, 5) for place in range(size)})

        def costs(point: Any, program: Program = program) -> tuple[Fraction, ...]:
            return tuple(
                sum((cost[rank] * x for cost, x in zip(program.costs, point, strict=True)), start=0)
                for rank in range(2)
            )

        assert costs(program.least()) == min(costs(point) for point in corners(program))


# ---- a plan beside the optimum


def lot_wad(scene: Scene, asset: int) -> int:
    return max(scene.unit_wad[asset], plans.SIZE_STEP_WAD)


def rounding_wad(scene: Scene) -> int:
    """By how much more a plan may cure than was asked for, or think that it must; quote WAD.

    Each edge is cut to whole lots, enlarged to the next lot, and enlarged by a unit of the quote
    token and ROUNDING_WAD, for proceeds are floored; a unit of value cures at most
    max(1, t (r + l)). What siblings and the wallet give comes in units of its token.
    """
    assert scene.policy is not None and scene.target_bps is not None
    givers = len(scene.policy.donors)
    unit = scene.loans.unit_wad + sizing.ROUNDING_WAD + 1
    total = (1 + 2 * givers) * unit
    for leg in scene.own.legs(scene.marks):
        lot = div_up(lot_wad(scene, leg.asset) * leg.mark.price_wad, WAD)
        cure_e10 = max(sizing.CURE, scene.target_bps * leg.mark.rate_init_e6)
        total += (EDGES + givers) * (div_up(lot * cure_e10, sizing.CURE) + unit)
    return total


def cut_wad(scene: Scene) -> int:
    """What a plan may cost more as its slices end at whole lots: of each means a lot at the
    difference of its dearest and its cheapest slice. And a wei an edge, for each is rounded up."""
    total = 0
    for leg in scene.own.legs(scene.marks):
        total += EDGES
        means = means_of(scene, leg)
        lot = div_up(lot_wad(scene, leg.asset) * leg.mark.price_wad, WAD)
        for pieces in (means.sales, means.closes, means.hedges):
            if len(pieces) > 1:
                total += div_up(lot * (pieces[-1].cost_e6 - pieces[0].cost_e6), RATE)
    return total


@dataclass(frozen=True)
class Verdict:
    """A plan beside the optimum, and beside the worst that roundings explain."""

    plan: Plan
    best: Optimum
    worst: Optimum
    cut_wad: int

    @classmethod
    def of(cls, scene: Scene, plan: Plan, *, may_be_tested: bool = True) -> Verdict:
        """Two linear programs: as asked, and with all roundings against it."""
        program = RebalancingProgram(scene, may_be_tested=may_be_tested)
        rounding = rounding_wad(scene)
        budget = less = None
        if scene.budget_wad != UNLIMITED:
            budget = scene.budget_wad
            less = max(0, budget - ROUNDING_UNITS * scene.loans.unit_wad - rounding)
        best = program.least(plan.shortfall, budget)
        worst = program.least(plan.shortfall + rounding, less)
        return cls(plan, best, worst, cut_wad(scene))

    @property
    def cost(self) -> int:
        """Of all steps, each rounded up."""
        return sum(step.cost for step in self.plan.steps)

    @property
    def tolerance_wad(self) -> Fraction:
        """How much the plan may cost above the optimum: n."""
        return max(0, self.worst.cost - self.best.cost) + self.cut_wad

    @property
    def fault(self) -> str:
        """What is wrong with the plan, "" if nothing is."""
        left, gap = self.plan.uncured, self.cost - self.best.cost
        if left < self.best.uncured or (left == self.best.uncured == 0 and gap < -MAX_STEPS):
            return "better than the optimum"
        if left > self.worst.uncured:
            return "leaves more than the optimum"
        return "dearer than the optimum" if gap > self.tolerance_wad else ""

    @property
    def excess(self) -> float:
        """By what part the plan is dearer than the optimum, or cures less."""
        left = self.plan.uncured - self.best.uncured
        if left > 0 or self.best.cost <= 0:
            return float(left / self.plan.shortfall)
        return float(self.cost / self.best.cost - 1)


def judge(scene: Scene, plan: Plan) -> tuple[Verdict, bool]:
    """A plan that leaves something must not be undone by the ledger's test at its end: it does
    without what the ledger tests, and is the optimum of what is left. Says whether that was so."""
    verdict = Verdict.of(scene, plan)
    leaves_more = verdict.fault == "leaves more than the optimum" and verdict.best.uncured > 0
    if leaves_more and not any(is_tested(scene, step) for step in plan.steps):
        return Verdict.of(scene, plan, may_be_tested=False), True
    return verdict, False


def is_tested(scene: Scene, step: Step) -> bool:
    """Whether the ledger tests the account after such a step."""
    is_beside_short = scene.own.position(step.asset).size_wad < 0
    return step.kind == Kind.UNWIND or (step.kind == Kind.SELL and is_beside_short)


def premise_broken(scene: Scene, plan: Plan) -> str:
    """Why this plan is not claimed to be optimal, "" if it is.

    - A gain that stays unpaid bears what trades cost, which equity would bear otherwise. The plan
      counts on that only where the gain bears all that they could cost, and gets all gains that it
      can whether or not they would have borne something.
    - Collateral above its quota leaves first. Where t (r + l) > 1 a unit within cures more than one
      above, so that the cure is not concave in what is sold, and the problem is not linear.
    """
    assert scene.policy is not None and scene.target_bps is not None
    if plan.uncured == 0 and not any(step.cost for step in plan.steps):
        return ""
    for leg in scene.own.legs(scene.marks):
        held, mark, means = leg.position, leg.mark, means_of(scene, leg)
        trades = (abs(held.size_wad) * means.close_e6, means.hedged_wad * means.hedge_e6)
        borne = div_up(max(trades) * mark.price_wad, WAD * RATE)
        paid = sum(s.value for s in plan.steps if s.kind == Kind.SETTLE and s.asset == leg.asset)
        unpaid = max(0, result_wad(held, mark)) - paid
        if unpaid > 0 and borne and (unpaid < borne or scene.policy.actions & Action.SETTLE):
            return "gain bears a part"
        is_steep = scene.target_bps * mark.rate_init_e6 > sizing.CURE
        if held.collateral_wad > mark.quota_wad and is_steep:
            return "steep above quota"
    return ""


# ---- planners


@contextmanager
def patched(owner: object, name: str, value: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        yield


def plan_without_limit(scene: Scene) -> Plan:
    """As many steps as it takes."""
    with patched(plans, "MAX_STEPS", EDGES * MOST_ASSETS):
        return make_plan(scene)


def plan_without(form: plans._Form) -> Callable[[Scene], Plan]:
    """One who does not know of a kind of edge."""
    edges = plans._Holding.edges

    def plan(scene: Scene) -> Plan:
        def fewer(held: Any) -> list[Any]:
            return [edge for edge in edges(held) if edge.form != form]

        with patched(plans._Holding, "edges", fewer):
            return make_plan(scene)

    return plan


def plan_by_cost(scene: Scene) -> Plan:
    """One who takes what costs least per unit of value, whatever it cures."""
    with patched(plans._Edge, "price", property(lambda edge: Fraction(edge.cost_e6))):
        return make_plan(scene)


def plan_with_exposure_twice(scene: Scene) -> Plan:
    """One who sells and hedges the same exposure."""
    after = plans._Holding.after

    def forgetful(held: Any, edge: Any, size_wad: int) -> Any:
        return replace(after(held, edge, size_wad), open=held.open)

    with patched(plans._Holding, "after", forgetful):
        return make_plan(scene)


BROKEN: dict[str, Callable[[Scene], Plan]] = {
    "no hull": plan_without(plans._Form.UPGRADE),
    "no pairs": plan_without(plans._Form.UNWIND),
    "by cost": plan_by_cost,
    "exposure twice": plan_with_exposure_twice,
}


# ---- the comparison


@dataclass
class Findings:
    """What was compared, and how far plans are from the optimum."""

    seen: Counter[str] = field(default_factory=Counter)
    tolerances: list[Fraction] = field(default_factory=list)
    gaps: list[Fraction] = field(default_factory=list)
    excesses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, scene: Scene, verdict: Verdict) -> None:
        """Counts a plan that was compared."""
        plan = verdict.plan
        self.seen.update({f"took {Kind(step.kind).name}" for step in plan.steps})
        self.seen[f"assets: {len(scene.own.positions)}"] += 1
        self.seen["unwinds a pair"] += any(step.kind == Kind.UNWIND for step in plan.steps)
        if verdict.best.uncured == 0:
            self.seen["cured"] += 1
            self.tolerances.append(verdict.tolerance_wad)
            self.gaps.append(verdict.cost - verdict.best.cost)
        else:
            is_short = scene.budget_wad != UNLIMITED
            self.seen["short of budget" if is_short else "out of reach"] += 1
        if any(step.kind == Kind.SELL for step in plan.steps):
            crippled = BROKEN["no hull"](scene)
            is_worse = crippled != plan and Verdict.of(scene, crippled).fault
            self.seen["needs the hull"] += bool(is_worse)

    def told(self) -> str:
        """All of it as text."""
        lines = [f"{name}: {count:,}" for name, count in sorted(self.seen.items())]
        for name, figures in (("n", self.tolerances), ("gap", self.gaps)):
            lines.append(f"{name}, quote wei: {spread([float(figure) for figure in figures])}")
        for name, parts in sorted(self.excesses.items()):
            worse = [100 * part for part in parts if part]
            lines.append(
                f"not claimed, {name}: {len(parts)}, worse {len(worse)}, by % {spread(worse)}"
            )
        return "\n".join(lines)


def spread(figures: list[float]) -> str:
    """Median, 95th and 99th percentile, and the largest."""
    known = sorted(figures) or [0.0]
    places = [ceil(len(known) * percent / 100) - 1 for percent in (95, 99, 100)]
    return " / ".join(f"{figure:.3g}" for figure in (median(known), *(known[i] for i in places)))


def test_plan__ten_thousand_random_accounts__costs_what_the_linear_program_does(
    record_property: Tell,
) -> None:
    """I14: nothing that the hook may do cures more, or the same for less; nor is it undone."""
    found, compared, drawn = Findings(), 0, 0
    for scene in random_scenes(SEED):
        if compared == ACCOUNTS:
            break
        drawn += 1
        plan = make_plan(scene)
        if plan.code not in (Code.READY, Code.NO_MEANS):
            found.seen["nothing to do"] += 1
            continue
        verdict, is_left_out = judge(scene, plan)
        is_full = plan != plan_without_limit(scene)
        premise = "more than eight steps" if is_full else premise_broken(scene, plan)
        if premise:
            assert verdict.fault != "better than the optimum", (drawn, verdict)
            found.excesses[premise].append(verdict.excess if verdict.fault else 0.0)
            found.seen["full with fewer than eight"] += is_full and len(plan.steps) < MAX_STEPS
            continue
        compared += 1
        assert not verdict.fault, (drawn, verdict.fault, verdict)
        if is_left_out:
            found.seen["tested, so left out"] += 1
            found.seen["left out rightly"] += is_undone_with_all(scene)
        found.note(scene, verdict)
        if compared % 10 == 0 and plan.steps:
            check_landing(scene, plan)
            found.seen["carried out"] += 1
    record_property("told", f"compared: {compared:,} of {drawn:,}\n{found.told()}")
    short = {what: found.seen[what] for what, least in AT_LEAST.items() if found.seen[what] < least}
    assert short == {}
    assert compared > 0.85 * drawn
    assert found.seen["left out rightly"] >= 0.98 * found.seen["tested, so left out"]


def is_undone_with_all(scene: Scene) -> bool:
    """Whether the ledger would undo the plan that leaves nothing out."""
    with patched(plans, "_weakness", lambda scene: -UNLIMITED):
        after, _ = carry_out(scene, exact_venue(scene))
    return after.is_tested and after.increase_refusal() != ""


def exact_venue(scene: Scene) -> Venue:
    """Pays the price less the expected cost, which grows with what was sold."""
    assert scene.policy is not None
    sales = {sale.asset: sale for sale in scene.policy.sales}
    sold: Counter[int] = Counter()

    def proceeds(asset: int, units: int) -> int:
        size = units * scene.unit_wad[asset]
        before, all_of_it = sold[asset], scene.own.position(asset).collateral_wad
        sold[asset] += size
        # The mean between two parts of all of it is the mean of what is paid at both.
        part = Fraction(before + sold[asset], all_of_it)
        cost = Fraction(sales[asset].cost_bps + sales[asset].impact_bps * part) / BPS
        paid = size * scene.marks[asset].price_wad * (1 - cost)
        return int(paid / (WAD * scene.loans.unit_wad))

    return proceeds


def check_landing(scene: Scene, plan: Plan) -> None:
    """Carried out, the steps cure by the ledger's own equation what the program thinks they do, and
    no exposure grows or turns but by what a sibling gave."""
    assert scene.target_bps is not None
    after, taken = carry_out(scene, exact_venue(scene))
    assert taken[: len(plan.steps)] == plan.steps
    left = after.assess(scene.account).shortfall_up(scene.target_bps)
    assert left <= plan.uncured + rounding_wad(scene)
    for asset, held in scene.own.positions.items():
        got = sum(
            step.amount * scene.unit_wad[asset]
            for step in taken
            if step.kind == Kind.MOVE_COLLATERAL and step.asset == asset
        )
        before, now = held.delta_wad + got, after.own.position(asset).delta_wad
        assert abs(now) <= abs(before) and now * before >= 0


@pytest.mark.parametrize("name", BROKEN)
def test_comparison__planner_that_is_broken__finds_it(name: str, record_property: Tell) -> None:
    """The comparison can fail, and does in many accounts in which the real plan is optimal."""
    faults: Counter[str] = Counter()
    for scene in islice(random_scenes(SEED), 600):
        plan = make_plan(scene)
        broken = BROKEN[name](scene)
        if broken == plan or premise_broken(scene, plan) or premise_broken(scene, broken):
            continue
        if not judge(scene, plan)[0].fault:
            faults[judge(scene, broken)[0].fault] += 1
    record_property("told", f"{name}: {dict(faults)}")
    assert faults.total() - faults[""] > 20


# ---- what the plan is known not to do


def test_plan__hedges_that_all_became_sales__give_their_places_free() -> None:
    """Five hedges and the sales of four would not fit, but of three hedges nothing is left."""
    item = Item(10_000, 300_000, 30_000, 10_000, 1e15, "hedge", 500, 1e15)
    scene = trader_scene(Trader(13_000, 71, (item,) * 5), 1)
    plan, whole = make_plan(scene), plan_without_limit(scene)
    assert plan == whole and plan.uncured == 0
    assert [step.kind for step in plan.steps] == [Kind.SELL] * 4 + [Kind.HEDGE] * 2
    assert Verdict.of(scene, plan).fault == ""
