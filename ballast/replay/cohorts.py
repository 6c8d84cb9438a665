"""Who takes part: a plan of accounts, opened twice, once with a hook and once without.

The twins of an account hold the same collateral, owe the same loan, have the same perpetual and
keep the same reserve beside it. All that differs is that the owner of the hooked one gave its
account a guard, a policy and a budget, and its reserve leave to help.

Beside the accounts with collateral and a loan there are some with perpetuals: longs and shorts on
margin of cash, and basis accounts, which hold a collateral, are short as much of it and owe a loan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ballast.chain import named_address
from ballast.deploy import WAD, account_id
from ballast.prices import ANSWER_SCALE
from ballast.replay.world import World
from ballast.report.recording import (
    COHORTS,
    PERPETUAL_KINDS,
    AccountStart,
    Cohort,
    Kind,
    ReserveKind,
)
from ballast.venue import fund

LOWEST_LEVERAGE, HIGHEST_LEVERAGE = 1.5, 3.5
_FIRST_SHARES = (1.0, 0.0, 0.5, 0.7, 0.3)  # of the first asset; the rest is the second
_RESERVES: tuple[ReserveKind, ...] = (
    "none",
    "wallet",
    "none",
    "cash",
    "none",
    "collateral",
    "none",
)
_RESERVE_SHARE = 0.15  # of the equity in the account
_LEAST_EQUITY, _EQUITY_STEP, _EQUITY_STEPS = 20_000, 5_000, 7  # quote tokens

# The guard and the policy of every hooked account. The trigger and the target are multiples of
# initial margin; the sale cost is what the plan expects, the pool's 30 bp and some impact.
TRIGGER_BPS, TARGET_BPS, BAND_BPS = 10_500, 13_000, 400
SLIPPAGE_BPS, SALE_COST_BPS = 100, 35
# A trade's fee alone is about a percent when volatility is high.
TRADE_SLIPPAGE_BPS = 300
_SETTLE, _TRIM, _UNWIND = 1, 2, 8  # bits of IRebalancer.Policy.actions
_ACTIONS: Mapping[Kind, int] = {
    "spot": 0,
    "long": _SETTLE | _TRIM,
    "short": _SETTLE | _TRIM,
    "basis": _SETTLE | _UNWIND,
}
_PER_KIND = 4  # one account of each kind with perpetuals for so many of the others
_PERPETUAL_EQUITY = 10_000  # quote tokens
_SIZE_STEP = 10**9  # WAD units
_FAR = 2**40 - 1
COOLDOWN_S = 600
_MIN_STEP = 50 * WAD
_DONOR_FLOOR_BPS = TARGET_BPS
# Budgets, in basis points of the equity in the account: most at once, refilled in a day, and for
# good.
_BUDGET_BPS, _BUDGET_PERIOD_S, _LIFETIME_BPS = 300, 86_400, 1_000
_WALLET_PERIOD_S = 7 * 86_400
_BPS = 10_000
_MAX_UINT = 2**256 - 1

_RESERVE_SUB = 1
_PLACES = 16  # of a feed's list
_WATCH_FUNDS = 500


@dataclass(frozen=True)
class Plan:
    """One account as it is to be opened, twice. Money in whole quote tokens."""

    name: str
    leverage: float  # collateral value over the equity in the account
    mix: Mapping[str, float]
    equity: int
    reserve_kind: ReserveKind
    kind: Kind = "spot"

    @property
    def asset(self) -> str:
        """The largest of the mix."""
        return max(self.mix, key=lambda name: self.mix[name])

    @property
    def loan(self) -> int:
        """What is borrowed at the opening, whole quote tokens."""
        if self.kind in ("long", "short"):
            return 0
        return round(self.equity * (self.leverage - 1))

    @property
    def reserve(self) -> int:
        """What is kept beside the account, whole quote tokens."""
        return 0 if self.reserve_kind == "none" else round(self.equity * _RESERVE_SHARE)


def plan_accounts(count: int, assets: Sequence[str]) -> list[Plan]:
    """``count`` accounts: leverage evenly from 1.5x to 3.5x; mixes, sizes and reserves in turns."""
    plans = []
    for n in range(count):
        leverage = LOWEST_LEVERAGE + (HIGHEST_LEVERAGE - LOWEST_LEVERAGE) * n / max(1, count - 1)
        first = _FIRST_SHARES[n % len(_FIRST_SHARES)] if len(assets) > 1 else 1.0
        mix = dict.fromkeys(assets, 0.0) | dict(zip(assets, (first, 1.0 - first), strict=False))
        equity = _LEAST_EQUITY + _EQUITY_STEP * (n * 3 % _EQUITY_STEPS)
        kind = _RESERVES[n % len(_RESERVES)]
        plans.append(Plan(f"A{n + 1:02d}", round(leverage, 4), mix, equity, kind))
    return plans + _plan_perpetuals(max(1, count // _PER_KIND), assets)


def _plan_perpetuals(count: int, assets: Sequence[str]) -> list[Plan]:
    """``count`` accounts of each kind, leverage from 1.5x to 3.5x, on each asset in turn."""
    plans = []
    for kind in PERPETUAL_KINDS:
        for n in range(count):
            spread = HIGHEST_LEVERAGE - LOWEST_LEVERAGE
            leverage = LOWEST_LEVERAGE + spread * (n + 0.5) / count
            mix = dict.fromkeys(assets, 0.0) | {assets[n % len(assets)]: 1.0}
            name = f"{kind[0].upper()}{n + 1:02d}"
            plans.append(Plan(name, round(leverage, 4), mix, _PERPETUAL_EQUITY, "none", kind))
    return plans


@dataclass(frozen=True)
class Member:
    """An opened account."""

    plan: Plan
    cohort: Cohort
    owner: str
    account: int
    reserve_account: int | None  # the sibling that holds the reserve, if one does

    def start(self, equity: int, reserve: int) -> AccountStart:
        """The record of its opening; ``equity`` of the account and ``reserve`` in WAD."""
        return AccountStart(
            name=self.plan.name,
            cohort=self.cohort,
            leverage=self.plan.leverage,
            mix=self.plan.mix,
            equity=equity + reserve,
            reserve_kind=self.plan.reserve_kind,
            reserve=reserve,
            kind=self.plan.kind,
        )


def open_cohorts(world: World, plans: Sequence[Plan]) -> list[Member]:
    """Open every plan twice, in one block, and return the members, the hooked ones first.

    Raises Reverted with the contract's reason when an account cannot be opened as planned, which is
    the case where volatility asks for more margin than it brings.
    """
    members = [_member(plan, cohort) for cohort in COHORTS for plan in plans]
    with world.chain.one_block():
        for member in members:
            _open(world, member)
    return members


def _member(plan: Plan, cohort: Cohort) -> Member:
    owner = named_address(f"{cohort} {plan.name}")
    has_sibling = plan.reserve_kind in ("cash", "collateral")
    return Member(
        plan,
        cohort,
        owner,
        account_id(owner),
        account_id(owner, _RESERVE_SUB) if has_sibling else None,
    )


def _open(world: World, member: Member) -> None:
    plan, owner, house = member.plan, member.owner, world.system.clearinghouse
    quote_unit = 10 ** world.decimals("quote")
    world.quote.approve(house, _MAX_UINT, sender=owner)
    if plan.kind in ("long", "short"):
        fund(world.quote, owner, plan.equity * quote_unit)
        house.deposit(member.account, 0, plan.equity * quote_unit, sender=owner)
    else:
        for asset, share in plan.mix.items():
            held = _units(world, asset, plan.equity * plan.leverage * share)
            _deposit(world, member.account, owner, asset, held)
    if plan.kind != "spot":
        _trade(world, member)
    if plan.reserve_kind == "collateral":
        held = _units(world, plan.asset, plan.reserve)
        _deposit(world, account_id(owner, _RESERVE_SUB), owner, plan.asset, held)
    elif plan.reserve:
        fund(world.quote, owner, plan.reserve * quote_unit)
        if plan.reserve_kind == "cash":
            house.deposit(member.reserve_account, 0, plan.reserve * quote_unit, sender=owner)
    if member.cohort == "hooked":
        _give_mandate(world, member)
    # The loan pays for collateral, so it leaves.
    if plan.loan:
        house.withdraw(member.account, 0, plan.loan * quote_unit, world.market, sender=owner)


def _trade(world: World, member: Member) -> None:
    """The perpetual that the plan asks for, at any price."""
    plan = member.plan
    asset_unit_wad = WAD // 10 ** world.decimals(plan.asset)
    size = _units(world, plan.asset, plan.equity * plan.leverage) * asset_unit_wad
    size -= size % _SIZE_STEP
    order = (size, _MAX_UINT) if plan.kind == "long" else (-size, 0)
    world.system.perps.trade(
        member.account,
        world.system.assets[plan.asset],
        *order,
        _FAR,
        False,
        sender=member.owner,
    )


def _deposit(world: World, account: int, owner: str, asset: str, amount: int) -> None:
    if amount:
        token = world.tokens[asset]
        fund(token, owner, amount)
        token.approve(world.system.clearinghouse, _MAX_UINT, sender=owner)
        world.system.clearinghouse.deposit(
            account, world.system.assets[asset], amount, sender=owner
        )


def _units(world: World, asset: str, value: float) -> int:
    """Token units worth ``value`` whole quote tokens at the newest price, down."""
    return int(value * 10 ** world.decimals(asset)) * ANSWER_SCALE // world.answers[asset]


def watch(world: World, members: Sequence[Member]) -> None:
    """Let hooked accounts be looked after at every round of the feed of their largest asset, as far
    as there are places, for a prepaid fee of :data:`_WATCH_FUNDS` whole quote tokens each."""
    keepers, units = world.system.keepers, _WATCH_FUNDS * 10 ** world.decimals("quote")
    places = dict.fromkeys(world.feeds, _PLACES)
    for member in members:
        asset = member.plan.asset
        if member.cohort != "hooked" or not places[asset]:
            continue
        places[asset] -= 1
        fund(world.quote, member.owner, units)
        world.quote.approve(keepers, _MAX_UINT, sender=member.owner)
        keepers.watch(member.account, world.feeds[asset], units, sender=member.owner)


def _give_mandate(world: World, member: Member) -> None:
    plan, owner, system = member.plan, member.owner, world.system
    cap = plan.reserve * WAD if plan.reserve_kind == "wallet" else 0
    slippage_bps = SLIPPAGE_BPS if plan.kind == "spot" else TRADE_SLIPPAGE_BPS
    guard = (TARGET_BPS, BAND_BPS, slippage_bps, 0, cap, _WALLET_PERIOD_S if cap else 0)
    system.mandates.set_guard(member.account, system.rebalancer, guard, sender=owner)
    if member.reserve_account is not None:
        donor: tuple[Any, ...] = (TARGET_BPS, BAND_BPS, 0, _DONOR_FLOOR_BPS, 0, 0)
        nobody = "0x" + "00" * 20
        system.mandates.set_guard(member.reserve_account, nobody, donor, sender=owner)
    equity = plan.equity * WAD
    budget = (equity * _BUDGET_BPS // _BPS, _BUDGET_PERIOD_S, equity * _LIFETIME_BPS // _BPS)
    system.mandates.arm_budget(budget, sender=owner)
    sold = [asset for asset, share in plan.mix.items() if share]
    sales = [(system.assets[asset], SALE_COST_BPS, 0) for asset in sold]
    policy = (
        TRIGGER_BPS,
        COOLDOWN_S,
        _MIN_STEP,
        plan.reserve_kind == "wallet",
        [_RESERVE_SUB] if member.reserve_account is not None else [],
        sales,
        world.adapter,
        _ACTIONS[plan.kind],
        0,
    )
    system.rebalancer.set_policy(member.account, policy, sender=owner)
