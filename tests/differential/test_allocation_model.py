"""The default hook's plan for an allocation against its exact model: every field, and what carrying
it out leads to.

Random accounts with collateral, cash or debt, longs, shorts and pairs; limits, weights and ceilings
in any combination; prices that fall and rise, stale feeds, venues that pay less, more or nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from random import Random

from ballast.model.allocation import (
    HYSTERESIS_BPS,
    Allocation,
    Change,
    SwapVenue,
    Weight,
    carry_out_allocation,
    exceeds,
    exposure_up,
    is_within,
    make_allocation_plan,
    measured,
    share_limit,
)
from ballast.model.mandate import ABOVE_BUDGET, ROUNDING_UNITS
from ballast.model.margin import BPS, WAD, div_up
from ballast.model.plan import MAX_STEPS, QUOTE_ASSET, Code, Kind, Plan, Scene, Step, make_plan
from tests.differential.test_plan_model import (
    REASONS,
    Holding,
    Perpetuals,
    Terms,
    calm_down,
    plan_world,
    play,
    rebalance_now,
    set_up,
)
from tests.support.reading import read_account, read_plan, read_scene
from tests.support.world import QUOTE, World, to_wad

CASES = 60
ROUNDS = 8
MAY_ALL = 31
BAND_BPS = 300
MOST_IN_A_ROW = 8
FEE_BPS = 30
NO_HOLDING = Holding((0, 0, 0, 0), 0, 0)
# What there may be to say; expired policies and the price of gas are the unit tests' business.
CODES = (Code.ABOVE_TRIGGER, Code.COOLING_DOWN, Code.BELOW_MINIMUM, Code.NO_MEANS)


@dataclass(frozen=True)
class Case:
    """An account, what its owner wants, and what happens to it."""

    own: Holding
    traded: Perpetuals
    terms: Terms
    allocation: Allocation
    max_step: int
    moves: list[tuple[tuple[int, ...], str | None]]
    paid_ppm: int  # above the oracle's price that venues pay before their fee
    silent_pair: tuple[str, str] | None  # a direction in which the venue pays far too little


def draw(random: Random, assets: list[int]) -> Case:
    """Most accounts have a few assets, and most allocations one or two wishes."""
    held = [random.choice((0, random.randrange(500, 20_000))) for _ in range(4)]
    held[random.randrange(2)] = random.randrange(2_000, 20_000)
    cash = random.choice((0, 0, random.randrange(1, 30_000)))
    theme = random.choice(("limits", "mix", "ceiling", "any"))
    sizes = [0, 0]
    for i in range(2):
        part = random.choice((0, 0, 0, -300, -900, -1_000, -1_100, 500))
        sizes[i] = held[i] * part // 1_000 or random.choice((0, 0, 0, 0, 3_000, -3_000))
    if theme == "mix":
        held[0], held[1], cash = random.randrange(20_000), random.randrange(20_000), cash // 10
    if theme == "ceiling":
        cash = random.randrange(10_000, 60_000)
        sizes = [random.choice((part, -min(held[i], 5_000))) for i, part in enumerate(sizes)]
    target_bps = random.randrange(11_500, 13_000)
    costs = [random.choice((FEE_BPS, FEE_BPS, 100, 0)) for _ in range(4)]
    order = random.sample(range(4), random.choice((4, 4, 4, 3, 2, 0)))
    if theme == "limits" and random.random() < 0.4:
        order = [2, 3]  # what is to be hedged is not for sale
    weights: list[Weight] = []
    drift_bps = 0
    if theme == "mix" or (theme != "limits" and random.random() < 0.6):
        left = BPS
        for asset in random.sample(assets, random.randrange(2, 5)):
            weight = random.choice((0, left // 2, left // 3, left // 3, left))
            weights.append(Weight(asset, weight))
            left -= weight
        drift_bps = random.choice((10, 300, 1_000))
    is_regime = theme == "limits" and random.random() < 0.5
    is_limited = theme in ("limits", "any")
    is_shared = is_limited and not is_regime
    low = random.choice((0, 0, 0, 0, 40_000, 5_000))
    allocation = Allocation(
        ceiling_bps=random.choice(
            (14_000, 20_000, 30_000) if theme == "ceiling" else (0, 0, 10_000, 20_000, 40_000)
        ),
        share_bps=random.choice((0, 5_000, 7_000, 3_500)) if is_shared else 0,
        position_bps=random.choice((0, 0, 3_000, 8_000, 15_000)) if is_limited else 0,
        exposure_bps=random.choice((3_000, 9_000, 20_000)) if is_regime else 0,
        sigma_high_bps=random.choice((100, 9_000, 40_000)) if is_regime else 0,
        sigma_low_bps=0 if is_regime and low else low,
        drift_bps=drift_bps,
        period_s=random.choice((0, 0, 3_600)),
        weights=tuple(weights),
    )
    calm = [900, 970, 1_000, 1_000, 1_030, 1_100]
    moves = [
        (
            tuple(random.choice((*calm, random.randrange(700, 1_600))) for _ in range(4)),
            random.choice((None,) * 8 + ("ETH", "FEW")),
        )
        for _ in range(2)
    ]
    return Case(
        Holding(tuple(held), random.choice((0, 0, 300, 600)), cash),
        Perpetuals(
            tuple(sizes),
            actions=random.choice((*[MAY_ALL] * 6, random.randrange(32))),
            slippage_bps=random.choice((100, 100, 500)),
            budget=random.choice((*[10**6] * 8, 20, 0)),
            has_rival=random.random() < 0.1,
        ),
        Terms(
            target_bps,
            10_000,
            random.choice((0, 0, 60)),
            random.choice((0, 0, 0, 500, 8_000)),
            (),
            (0, 0, 0),
            tuple((i, (costs[i], 20 if i == 1 else 0)) for i in order),
            (False, 0, 0),
        ),
        allocation,
        random.choice((0, 0, 0, 1_000)),
        moves,
        random.choice((0, 0, 0, 8_000)),
        random.choice((None, None, None, ("BTC", "ETH"), (QUOTE, "ETH"), ("ETH", QUOTE))),
    )


def enrolled(world: World, case: Case) -> int:
    """The account with its allocation, which holds at once where there is no guard yet."""
    account = world.account()
    a = case.allocation
    fields = [getattr(a, name) for name in a.__dataclass_fields__ if name != "weights"]
    words = (*fields, [tuple(weight) for weight in a.weights])
    world.mandates.set_allocation(account, words, sender=world.owner)
    set_up(world, case.own, [NO_HOLDING] * 3, case.terms, case.traded)
    if case.max_step:
        bounds = (0, 0, case.max_step * WAD, 0, False, 0, 0, 0, 0, 0, 0, 0)
        world.rebalancer.set_bounds(account, bounds, sender=world.owner)
    return account


def price_venue(world: World, case: Case) -> None:
    """Every pair at the oracle's prices and what is paid above them."""
    for name_in in world.tokens:
        for name_out in world.tokens:
            if name_in == name_out:
                continue
            price_in, price_out = (
                WAD if name == QUOTE else world.price_wad(name) for name in (name_in, name_out)
            )
            fee_ppm = 100 * FEE_BPS
            if (name_in, name_out) == case.silent_pair:
                fee_ppm = 200_000
            world.venue.set_price(
                world.tokens[name_in],
                world.tokens[name_out],
                price_in * WAD * (10**6 + case.paid_ppm) // 10**6 // price_out,
                fee_ppm,
                sender=world.governor,
            )


def venue_of(world: World, scene: Scene) -> SwapVenue:
    """What the venue pays, and which swaps the guard's slippage or the assets' limits refuse."""
    names = {asset: name for name, asset in world.system.assets.items()} | {QUOTE_ASSET: QUOTE}
    unit_wad = {**scene.unit_wad, QUOTE_ASSET: scene.loans.unit_wad}

    def limit_bps(asset: int) -> int:
        if asset == QUOTE_ASSET:
            return 0
        own = int(world.clearinghouse.asset_word(asset)) >> 232
        return min(own, scene.marks[asset].risk.l_init_e6 // 100)

    def price(asset: int) -> int:
        return WAD if asset == QUOTE_ASSET else scene.marks[asset].price_wad

    def proceeds(sold: int, bought: int, units: int) -> int | None:
        tokens = world.tokens[names[sold]], world.tokens[names[bought]]
        paid = int(world.venue.quote(*tokens, units))
        most_bps = min(scene.slippage_bps, max(limit_bps(sold), limit_bps(bought)))
        value = units * unit_wad[sold] * price(sold)
        least = div_up(value * (BPS - most_bps), BPS * price(bought) * unit_wad[bought])
        return paid if paid >= max(1, least) else None

    return proceeds


def test_allocation__any_account_wish_and_prices__equals_the_model() -> None:
    """I50: code, figures and each step; carried out, everyone holds what the model says, to the
    wei, and no guard undoes it. It met every kind of step, every limit and refused steps."""
    met: Counter[str] = Counter()
    wanted = {
        **{f"took {kind.name}": 6 for kind in (Kind.SELL, Kind.TRIM, Kind.HEDGE, *Change)},
        **{f"wish {wish}": 10 for wish in ("share", "position", "regime", "later")},
        **{f"code {code.name}": 4 for code in CODES},
        "refused": 4,
        "above budget": 1,
        "paid above": 5,
        "several steps": 10,
    }
    missing: dict[str, int] = {}
    for number in range(ROUNDS):
        for decimals in (6, 8, 18):
            random = Random(f"{number} {decimals}")
            for _ in range(CASES // 3):
                equals_the_model(met, decimals, random)
        missing = {what: met[what] for what, least in wanted.items() if met[what] < least}
        if not missing:
            break
    assert missing == {}, met


def equals_the_model(met: Counter[str], quote_decimals: int, random: Random) -> None:
    world = plan_world(quote_decimals)
    with world.isolated():
        case = draw(random, list(world.system.assets.values()))
        account = enrolled(world, case)
        for factors, silent in case.moves:
            for _ in play(world, [(0, factors, silent)]):
                pass
            calm_down(world, silent)
            price_venue(world, case)
            check_now(world, account, case, met)


def check_now(world: World, account: int, case: Case, met: Counter[str]) -> None:
    """Plan and execution at this moment; nothing where margin comes first."""
    scene = read_scene(world, account)
    if make_plan(scene).code != Code.ABOVE_TRIGGER or case.allocation == Allocation():
        met["margin first, or nothing wished for"] += 1
        return
    at = world.rebalancer.state_of(account)[2]
    plan = make_allocation_plan(scene, case.allocation, band_bps=BAND_BPS, allocated_at=at)
    assert read_plan(world, account) == plan
    met[f"code {Code(plan.code).name}"] += 1
    met["several steps"] += len(plan.steps) > 1
    if plan.code != Code.READY:
        assert rebalance_now(world, account) == REASONS[Code(plan.code)]
        return
    met[f"wish {wish_of(scene, case.allocation)}"] += 1
    after, taken = carry_out_allocation(
        scene, case.allocation, venue_of(world, scene), band_bps=BAND_BPS, allocated_at=at
    )
    met.update(f"took {name_of(step.kind)}" for step in taken)
    met["refused"] += bool(after.refused)
    met["paid above"] += case.paid_ppm > 0 and any(s.kind == Kind.SELL for s in taken)
    assert is_within(scene, after, case.allocation, band_bps=BAND_BPS) == ""
    check_sizes(scene, plan)
    check_cuts(scene, after, plan, case.allocation)
    expected = expected_reason(scene, after, taken)
    assert rebalance_now(world, account) == expected
    met["above budget"] += expected == ABOVE_BUDGET
    if not expected:
        assert read_account(world, account) == after.own
        assert read_account(world, world.system.house) == after.house


def expected_reason(before: Scene, after: Scene, taken: tuple[Step, ...]) -> str:
    """Nothing but a budget stands in the way of what was planned, and that only where the venue
    costs more than the owner expected, or where a refusal had it planned again: what was lost by
    then is not known to the second plan."""
    if not taken:
        return "rebalancer: every step refused"
    swaps = [step for step in taken if step.kind in (Kind.SELL, Change.SWAP, Change.BUY)]
    lost = before.assess(before.account).equity_maint - after.assess(before.account).equity_maint
    is_loss = lost > ROUNDING_UNITS * len(swaps) * before.loans.unit_wad
    if not is_loss or lost <= before.budget_wad:
        return ""
    assert after.refused or lost > sum(step.cost for step in taken)
    return ABOVE_BUDGET


def name_of(kind: int) -> str:
    return Change(kind).name if kind in list(Change) else Kind(kind).name


def wish_of(scene: Scene, allocation: Allocation) -> str:
    """The first limit that is exceeded."""
    measure, legs = measured(scene), scene.own.legs(scene.marks)
    share_bps = share_limit(allocation, legs)
    if share_bps and any(
        exceeds(leg.terms.required_init, share_bps, measure.required) for leg in legs
    ):
        return "share"
    if allocation.position_bps and any(
        exceeds(exposure_up(leg), allocation.position_bps, measure.equity) for leg in legs
    ):
        return "position"
    is_wild = allocation.exposure_bps and measure.sigma_bps >= allocation.sigma_high_bps
    if is_wild and exceeds(measure.exposure, allocation.exposure_bps, measure.equity):
        return "regime"
    return "later"


def check_sizes(scene: Scene, plan: Plan) -> None:
    """No more of anything than is there, within budget and maximum step."""
    given: Counter[int] = Counter()
    for step in plan.steps:
        if step.kind in (Kind.SELL, Change.SWAP):
            given[step.asset] += step.amount * scene.unit_wad[step.asset]
        elif step.kind == Change.BUY:
            given[QUOTE_ASSET] += step.amount * scene.loans.unit_wad
    for asset, amount in given.items():
        held = scene.own.cash_wad if asset == 0 else scene.own.position(asset).collateral_wad
        assert amount <= held
    assert sum(step.cost for step in plan.steps) <= scene.budget_wad
    assert len(plan.steps) <= MAX_STEPS
    if scene.bounds.max_step_wad:
        assert sum(step.value for step in plan.steps) <= scene.bounds.max_step_wad


def check_cuts(scene: Scene, after: Scene, plan: Plan, allocation: Allocation) -> None:
    """What was cut ends at its limit: no lower by a wei, and above by a trifle where means
    sufficed and every step was taken."""
    wish = wish_of(scene, allocation)
    before, ended = measured(scene), measured(after)
    # After a refusal it is planned again, with the equity that is left by then.
    least = min(before.equity, ended.equity) if after.refused else before.equity
    cut = {step.asset for step in plan.steps}
    is_done = plan.uncured * 1_000 <= plan.shortfall and not after.refused
    for leg in after.own.legs(after.marks):
        if leg.asset not in cut:
            continue
        if wish == "share":
            assert leg.terms.required_init * BPS >= allocation.share_bps * ended.required
        if wish == "position":
            assert exposure_up(leg) * BPS >= allocation.position_bps * least
            if is_done:
                assert not exceeds(exposure_up(leg), allocation.position_bps, ended.equity)
    if wish == "regime":
        assert ended.exposure * BPS >= allocation.exposure_bps * least
        if is_done:
            assert not exceeds(ended.exposure, allocation.exposure_bps, ended.equity)


def test_allocation__asked_again_and_again__ends() -> None:
    """T61: wishes that pull against each other come to rest while prices stand still, whatever the
    limits, weights and ceiling; no period and no cooldown keep them apart."""
    counts: Counter[int] = Counter()
    for number in range(CASES):
        random = Random(f"again {number}")
        world = plan_world((6, 8, 18)[number % 3])
        with world.isolated():
            case = draw(random, list(world.system.assets.values()))
            case = replace(
                case,
                allocation=replace(case.allocation, period_s=0),
                terms=replace(case.terms, cooldown_s=0, min_step=0),
                max_step=0,
            )
            account = enrolled(world, case)
            price_venue(world, case)
            count = 0
            while make_plan(read_scene(world, account)).code == Code.ABOVE_TRIGGER:
                plan = read_plan(world, account)
                if plan.code != Code.READY or rebalance_now(world, account):
                    break
                world.chain.advance(12)
                count += 1
                assert count <= MOST_IN_A_ROW
            counts[count] += 1
    assert sum(number > 1 for number in counts.elements()) >= 5, counts


def test_exceeds__limit_and_hysteresis__begins_above_both() -> None:
    assert not exceeds(BPS + HYSTERESIS_BPS, BPS, BPS)
    assert exceeds(BPS + HYSTERESIS_BPS + 1, BPS, BPS)


def test_plan__steps_refused_before__are_not_planned_again() -> None:
    """A sale that was refused leaves the trim, and a purchase that was refused leaves nothing."""
    world = plan_world(6)
    with world.isolated():
        weights = (Weight(world.asset("ETH"), BPS),)
        allocation = Allocation(ceiling_bps=15_000, drift_bps=100, weights=weights)
        case = Case(
            Holding((1_000, 0, 0, 0), 0, 9_000),
            Perpetuals(actions=MAY_ALL),
            Terms(12_000, 10_000, 0, 0, (), (0, 0, 0), ((0, (FEE_BPS, 0)),), (False, 0, 0)),
            allocation,
            0,
            [],
            0,
            None,
        )
        account = enrolled(world, case)
        scene = read_scene(world, account)
        plan = make_allocation_plan(scene, allocation)
        assert [step.kind for step in plan.steps] == [Change.BUY]
        assert plan.steps[0].value == plan.shortfall - plan.uncured > to_wad(8_000)
        refused = replace(scene, refused=frozenset({(int(Change.BUY), QUOTE_ASSET)}))
        assert make_allocation_plan(refused, allocation).code == Code.NO_MEANS
