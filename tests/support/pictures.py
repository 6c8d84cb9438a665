"""Pictures of accounts that nobody has, which a planner is shown as if a hook had asked.

What it is told about an account is free, so that quotas, rates, flags and costs meet each other
that seldom do; what it reads for itself (markets, house, budget, siblings) is as it stands.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ballast.model import plan as plans
from ballast.model.ledger import Account
from ballast.model.margin import BPS, GWEI, WAD, Mark, Position, div_up
from ballast.model.oracle import IS_STALE, NO_INCREASE, NO_SWAP, STALE_FLAGS, Price
from ballast.model.perps import SIZE_STEP_WAD
from ballast.model.plan import Action, Kind, Plan, Policy, Sale, Scene
from tests.support.world import World

KINDS = 13  # words of refusals, by kind
# What an account is like: it has longs and shorts, it may be hedged, or it is hedged.
SHAPES = TRADER, HEDGER, PAIRED = range(3)
# Perpetuals, in thousandths of the collateral; what selling the first unit costs, in basis points.
PARTS = {
    TRADER: (0, 0, 500, -400, -1_600),
    HEDGER: (0, 0, 0, -200, -600),
    PAIRED: (-900, -970, -1_000, -1_000, -1_000, -1_030),
}
COSTS = {TRADER: (0, 0, 10, 30, 100, 250), HEDGER: (30, 150, 400, 900), PAIRED: (0, 10, 30, 60)}


def plan_of(world: World, scene: Scene) -> Plan:
    """What the planner answers to a scene: only the bound on a step is told of its bounds."""
    own, terms = scene.own, scene.assess(scene.account)
    legs = [
        (
            *(asset, held.word, held.cost_wad, scene.marks[asset].funding_wad),
            *(scene.marks[asset].price.word, scene.marks[asset].risk.word),
        )
        for asset, held in own.positions.items()
    ]
    figures = terms.equity_init, terms.required_init, terms.equity_maint, terms.required_maint
    picture = (*figures, own.net_wad(scene.loans), legs)
    answer = world.system.planner.plan(_request(scene), picture)
    steps = tuple(plans.Step(*step) for step in answer.steps)
    return Plan(answer.code, answer.shortfall, answer.uncured, steps, answer.called)


def _request(scene: Scene) -> tuple:
    policy = scene.policy
    assert policy is not None and scene.target_bps is not None
    policy_word = (
        policy.trigger_bps
        | policy.cooldown_s << 16
        | policy.min_step_wad << 48
        | policy.uses_wallet << 144
        | len(policy.donors) << 184
        | policy.last_at << 192
        | policy.actions << 232
        | policy.funding_bps << 240
    )
    for place, donor in enumerate(policy.donors):
        policy_word |= (donor & 255) << 152 + 8 * place
    sales_word = sum(
        (sale.asset | sale.cost_bps << 8 | sale.impact_bps << 20) << 32 * place
        for place, sale in enumerate(policy.sales)
    )
    refused = [0] * KINDS
    for kind, key in scene.refused:
        refused[kind] |= 1 << (key & 255)
    step = scene.bounds.max_step_wad // WAD << 48
    words = (scene.target_bps, policy_word, sales_word, step, 0, 0)
    return (scene.account, *words, refused)


def with_own(scene: Scene, own: Account) -> Scene:
    """The scene of an account that holds this instead."""
    return replace(scene, accounts={**scene.accounts, scene.account: own})


def random_picture(random: Random, real: Scene) -> Scene:
    """An account below its trigger of a real scene's owner, in its markets, at its prices.

    Where the newest price is not the one before it, nothing is hedged: a market quotes an increase
    at the worse of its own two.
    """
    target_bps = random.randrange(10_100, 16_000)
    assets = random.sample(sorted(real.marks), random.randrange(1, len(real.marks) + 1))
    has_moved = _one_in(random, 4)
    shape = random.choice(SHAPES)
    marks, positions, sales = dict(real.marks), {}, []
    for asset in assets:
        positions[asset], marks[asset] = _position(random, real, asset, shape, has_moved=has_moved)
        if not _one_in(random, 4):
            cost, impact = random.choice(COSTS[shape]), random.choice((0, 0, 1, 40, 150))
            sales.append(Sale(asset, cost, impact))
    random.shuffle(sales)
    actions = random.choice((15, 15, 15, random.randrange(16)))
    policy = Policy(
        trigger_bps=target_bps - 1,
        sales=tuple(sales),
        actions=actions & ~Action.HEDGE if has_moved else actions,
        funding_bps=random.choice((0, 0, 10, 60)),
    )
    refused = {(random.choice(list(Kind)[3:]), random.choice(assets))} if _one_in(random, 5) else ()
    max_step_wad = random.randrange(1, 9_000) * WAD if _one_in(random, 5) else 0
    parts = random.choice(((200, 999), (900, 1_000), (10, 400)))
    part = random.randrange(*parts)
    held = _indebted(random, real, Account(positions=positions), marks, target_bps * part)
    return replace(
        real,
        accounts={real.account: held},
        marks=marks,
        policy=policy,
        target_bps=target_bps,
        refused=frozenset(refused),
        bounds=plans.Bounds(max_step_wad=max_step_wad),
    )


def _one_in(random: Random, many: int) -> bool:
    return random.randrange(many) == 0


def _position(
    random: Random, real: Scene, asset: int, shape: int, *, has_moved: bool
) -> tuple[Position, Mark]:
    mark, unit = real.marks[asset], real.unit_wad[asset]
    price, has_market = mark.price_wad, asset in real.markets

    def units(worth: int) -> int:
        return worth * WAD * WAD // price

    collateral = units(random.choice((0, random.randrange(1, 20_000), 10_000))) // unit * unit
    size = 0
    if has_market:
        size = collateral * random.choice(PARTS[shape]) // 1_000
        if collateral == 0:
            size = units(random.choice((-1, 1)) * random.randrange(1, 20_000))
        size = size // SIZE_STEP_WAD * SIZE_STEP_WAD
    quota = mark.risk.quota_gwei
    if _one_in(random, 4):
        quota = collateral * random.randrange(200, 1_100) // 1_000 // GWEI
    r_e6, l_e6 = random.randrange(50_000, 800_000), random.randrange(10_000, 120_000)
    risk = replace(
        mark.risk,
        r_init_e6=r_e6,
        l_init_e6=l_e6,
        r_maint_e6=r_e6 // random.randrange(2, 40),
        l_maint_e6=l_e6 // random.randrange(2, 20),
        quota_gwei=quota,
    )
    flags = random.choice((*[0] * 9, STALE_FLAGS, NO_SWAP, IS_STALE))
    previous = price
    if has_moved:
        previous = price * random.randrange(900, 1_100) // 1_000
        flags = random.choice((0, 0, flags, NO_INCREASE))
    worth = size * (price - mark.funding_wad) // WAD
    result = random.choice((0, 0, -1, 1)) * random.randrange(1, 3_000 * WAD)
    cost = worth - (result if size else max(0, result * has_market))
    return (
        Position(collateral, size, cost if has_market else 0),
        replace(mark, risk=risk, price=Price(price, previous, flags, mark.price.made_at)),
    )


def _indebted(
    random: Random, real: Scene, held: Account, marks: dict[int, Mark], part_e7: int
) -> Account:
    """With cash or a loan that leave it about this part of its initial requirement."""
    terms = held.assess(marks, real.loans)
    wanted = div_up(terms.required_init * part_e7, 1_000 * BPS)
    cash = wanted - random.randrange(1, WAD) - terms.equity_init
    if cash >= 0:
        return replace(held, cash_wad=cash)
    return replace(held, debt_shares=div_up(-cash, real.loans.unit_wad))
