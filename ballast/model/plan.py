"""The plan of the default hook in exact integers, and what carrying it out leads to.

`make_plan` finds the cheapest path to the target: cash of siblings, the owner's wallet, collateral
of siblings, then sales with the lowest price of health first, where what lies above a quota always
goes before what lies within it, because that is the order in which units leave. `carry_out` says
what everyone holds afterwards. Values are WAD of the quote token, amounts token units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

from ballast.model import sizing
from ballast.model.ledger import Account, Loans
from ballast.model.margin import BPS, WAD, Leg, Mark, Terms, div_up

QUOTE_ASSET = 0
MAX_STEPS = 8
MAX_PLANS = 3  # the plan, and what is planned anew after a sale was refused
MAX_ASSETS = 16
UNLIMITED = 2**256 - 1
# Kept back from a budget: quote units that the roundings of a full plan may lose.
ROUNDING_UNITS = 32

# Quote units paid for the units of an asset, None for a sale that is refused.
Venue = Callable[[int, int], int | None]


class Kind(IntEnum):
    """What a step does."""

    MOVE_CASH = 1
    PULL_CASH = 2
    MOVE_COLLATERAL = 3
    SELL = 4


class Code(IntEnum):
    """Why there is something to do, or nothing."""

    READY = 0
    NO_POLICY = 1
    ABOVE_TRIGGER = 2
    COOLING_DOWN = 3
    BELOW_MINIMUM = 4
    NO_MEANS = 5


class Sale(NamedTuple):
    """A collateral that may be sold and what selling it is expected to cost."""

    asset: int
    cost_bps: int


@dataclass(frozen=True)
class Policy:
    """When the hook acts and by what means. `donors` are account ids."""

    trigger_bps: int
    cooldown_s: int = 0
    min_step_wad: int = 0
    uses_wallet: bool = False
    donors: tuple[int, ...] = ()
    sales: tuple[Sale, ...] = ()
    last_at: int = 0


class Wallet(NamedTuple):
    """What may come from the owner's wallet: the cap's remainder (WAD), balance and allowance."""

    left_wad: int = 0
    balance: int = 0
    allowance: int = 0


class Step(NamedTuple):
    """One step of a plan."""

    kind: int
    source: int
    asset: int
    amount: int
    value: int
    cost: int


@dataclass(frozen=True)
class Plan:
    """What a rebalance would do; `uncured` is what the steps leave of the shortfall."""

    code: int
    shortfall: int = 0
    uncured: int = 0
    steps: tuple[Step, ...] = ()

    def with_step(self, step: Step, cured: int) -> Plan:
        """A plan that is full keeps what it has."""
        if len(self.steps) == MAX_STEPS:
            return self
        return replace(self, steps=(*self.steps, step), uncured=max(0, self.uncured - cured))


@dataclass(frozen=True)
class Scene:
    """Everything a plan depends on, at one moment.

    `accounts` holds the account and its donors, `floors` the donors' floors in basis points (none:
    never donates), `unit_wad` the WAD of a token unit of each collateral, `now` unix seconds.
    `policy` or `target_bps` None is an account without policy or guard. `refused` are assets whose
    sale was refused in this very mandate.
    """

    account: int
    accounts: Mapping[int, Account]
    marks: Mapping[int, Mark]
    unit_wad: Mapping[int, int]
    loans: Loans
    policy: Policy | None
    target_bps: int | None
    floors: Mapping[int, int] = field(default_factory=dict)
    wallet: Wallet = Wallet()
    now: int = 0
    budget_wad: int = UNLIMITED
    refused: frozenset[int] = frozenset()

    @property
    def own(self) -> Account:
        """The account that the plan is for."""
        return self.accounts[self.account]

    def assess(self, account: int) -> Terms:
        """The four figures of an account."""
        return self.accounts[account].assess(self.marks, self.loans)


def make_plan(scene: Scene) -> Plan:
    """What a rebalance would do now."""
    if scene.policy is None or scene.target_bps is None:
        return Plan(Code.NO_POLICY)
    terms = scene.assess(scene.account)
    shortfall = terms.shortfall_up(scene.target_bps)
    code = _readiness(scene, scene.policy, terms, shortfall)
    plan = Plan(code, shortfall, shortfall)
    if code == Code.ABOVE_TRIGGER:
        return plan
    slacks = {donor: _slack_down(scene, donor) for donor in scene.policy.donors}
    for donor in scene.policy.donors:
        plan, slacks[donor] = _with_cash(plan, scene, donor, slacks[donor])
    plan = _with_wallet(plan, scene)
    for donor in scene.policy.donors:
        for _ in range(len(plan.steps), MAX_STEPS):
            plan, slacks[donor] = _with_collateral(plan, scene, donor, slacks[donor])
    plan = _with_sales(plan, scene)
    return plan if plan.steps else replace(plan, code=Code.NO_MEANS)


def _readiness(scene: Scene, policy: Policy, terms: Terms, shortfall: int) -> Code:
    """Below initial margin neither cooldown nor minimum holds it back; a block always does.

    An account that owes nothing cannot be liquidated, so nothing is done for it.
    """
    is_exposed = scene.own.net_wad(scene.loans) < 0 or any(
        held.size_wad for held in scene.own.positions.values()
    )
    trigger = div_up(terms.required_init * policy.trigger_bps, BPS)
    if not is_exposed or shortfall < scene.loans.unit_wad or terms.equity_init >= trigger:
        return Code.ABOVE_TRIGGER
    is_emergency = terms.excess_init < 0
    wait_s = 1 if is_emergency else 1 + policy.cooldown_s
    if scene.now < policy.last_at + wait_s:
        return Code.COOLING_DOWN
    if shortfall < policy.min_step_wad and not is_emergency:
        return Code.BELOW_MINIMUM
    return Code.READY


# ---- donors and wallet


def _slack_down(scene: Scene, donor: int) -> int:
    """What a donor can give above its floor."""
    floor_bps = scene.floors.get(donor, 0)
    if floor_bps == 0 or donor == scene.account:
        return 0
    terms = scene.assess(donor)
    return max(0, terms.equity_init - div_up(terms.required_init * floor_bps, BPS))


def _cash_units(needed_wad: int, available_wad: int, unit_wad: int) -> int:
    """Units of cash: up to cover the need, down to what is there."""
    return min(div_up(needed_wad, unit_wad), available_wad // unit_wad)


def _with_cash(plan: Plan, scene: Scene, donor: int, slack: int) -> tuple[Plan, int]:
    """Cash of a sibling, which never borrows for it."""
    cash = max(0, scene.accounts[donor].net_wad(scene.loans)) if slack else 0
    unit_wad = scene.loans.unit_wad
    units = _cash_units(plan.uncured, min(cash, slack), unit_wad)
    if units == 0:
        return plan, slack
    value = units * unit_wad
    return plan.with_step(
        Step(Kind.MOVE_CASH, donor, QUOTE_ASSET, units, value, 0), value
    ), slack - value


def _with_wallet(plan: Plan, scene: Scene) -> Plan:
    assert scene.policy is not None
    unit_wad = scene.loans.unit_wad
    wallet = scene.wallet
    units = _cash_units(plan.uncured, wallet.left_wad, unit_wad)
    units = min(units, wallet.balance, wallet.allowance)
    if units == 0 or not scene.policy.uses_wallet:
        return plan
    value = units * unit_wad
    step = Step(Kind.PULL_CASH, scene.account, QUOTE_ASSET, units, value, 0)
    return plan.with_step(step, value)


def _with_collateral(plan: Plan, scene: Scene, donor: int, slack: int) -> tuple[Plan, int]:
    """The collateral of a sibling that cures all, else the one that cures most.

    Never beyond the quota that the account has left, nor what the donor can give above its floor.
    """
    assert scene.target_bps is not None
    best, most_cured = None, 0
    if not (slack and plan.uncured and _is_sound(scene, donor)):
        return plan, slack
    floor_bps = scene.floors[donor]
    for leg in scene.accounts[donor].legs(scene.marks):
        mark, unit = leg.mark, scene.unit_wad[leg.asset]
        held, has_room = _held_so_far(plan, scene, leg.asset)
        cure_e10 = sizing.cure_of_inflow_e10(scene.target_bps, mark.rate_init_e6)
        if any(s[:3] == (Kind.MOVE_COLLATERAL, donor, leg.asset) for s in plan.steps):
            continue
        if not (has_room and cure_e10 > 0 and held < mark.quota_wad and mark.is_live):
            continue
        needed = plan.uncured + sizing.ROUNDING_WAD
        wanted = sizing.units_up(sizing.value_up(needed, cure_e10), mark.price_wad, unit)
        movable_wad = min(
            leg.position.collateral_wad,
            mark.quota_wad - held,
            sizing.givable_down(slack, floor_bps, mark.rate_init_e6) * WAD // mark.price_wad,
        )
        units = min(wanted, movable_wad // unit)
        value = units * unit * mark.price_wad // WAD
        cured = sizing.cured_down(value, cure_e10)
        if cured > most_cured:
            best = Step(Kind.MOVE_COLLATERAL, donor, leg.asset, units, value, 0)
            most_cured = cured
            if cured >= plan.uncured:
                break
    if best is None:
        return plan, slack
    rate_e6 = scene.marks[best.asset].rate_init_e6
    used = sizing.slack_of_outflow_up(best.value, floor_bps, rate_e6)
    return plan.with_step(best, most_cured), max(0, slack - used)


def _is_sound(scene: Scene, donor: int) -> bool:
    """Whether the ledger would let it give collateral: marks of a debtor must back an increase."""
    account = scene.accounts[donor]
    marks = [leg.mark for leg in account.legs(scene.marks)]
    return account.net_wad(scene.loans) >= 0 or all(
        mark.backs_increase and mark.price.newest_wad <= mark.price.previous_wad for mark in marks
    )


def _held_so_far(plan: Plan, scene: Scene, asset: int) -> tuple[int, bool]:
    """What the account has of an asset with the moves planned so far, and whether it may get it.

    Each earlier move is taken to have used a place of the list.
    """
    moves = [step for step in plan.steps if step.kind == Kind.MOVE_COLLATERAL]
    units = sum(step.amount for step in moves if step.asset == asset)
    held = scene.own.position(asset).collateral_wad + units * scene.unit_wad[asset]
    is_listed = asset in scene.own.positions or units != 0
    return held, is_listed or len(scene.own.positions) + len(moves) < MAX_ASSETS


# ---- sales


@dataclass(frozen=True)
class _Lot:
    """Units of one collateral that all cure alike."""

    leg: Leg
    available: int
    cure_e10: int
    cost_bps: int


def _with_sales(plan: Plan, scene: Scene) -> Plan:
    """The lot with the lowest price of health first; of equals, the one the policy names first."""
    queues = _queues(scene)
    while plan.uncured and any(queues):
        # Only the head of a queue can be sold.
        heads = [queue for queue in queues if queue]
        best = min(heads, key=lambda q: sizing.price_of_health(q[0].cost_bps, q[0].cure_e10))
        plan = _with_sale(plan, scene, best.pop(0))
    return plan


def _queues(scene: Scene) -> list[list[_Lot]]:
    """For each sale of the policy: the surplus over the quota, then what lies within."""
    assert scene.policy is not None and scene.target_bps is not None
    queues: list[list[_Lot]] = []
    legs = {leg.asset: leg for leg in scene.own.legs(scene.marks)}
    for asset, cost_bps in scene.policy.sales:
        leg = legs.get(asset)
        if leg is None or not leg.mark.bounds_swap or asset in scene.refused:
            continue
        unit = scene.unit_wad[asset]
        counted = min(leg.position.collateral_wad, leg.mark.quota_wad)
        surplus = leg.position.collateral_wad - counted
        rate_e6 = leg.mark.rate_init_e6
        cure_within_e10 = sizing.cure_of_sale_e10(scene.target_bps, rate_e6, cost_bps)
        lots = (
            _Lot(leg, surplus // unit, sizing.cure_of_surplus_e10(cost_bps), cost_bps),
            _Lot(leg, counted // unit, cure_within_e10, cost_bps),
        )
        queues.append([lot for lot in lots if lot.available and lot.cure_e10 > 0])
    return queues


def _with_sale(plan: Plan, scene: Scene, lot: _Lot) -> Plan:
    unit, price = scene.unit_wad[lot.leg.asset], lot.leg.mark.price_wad
    # The proceeds are floored to a unit of the quote token.
    needed = plan.uncured + scene.loans.unit_wad + sizing.ROUNDING_WAD
    wanted = sizing.units_up(sizing.value_up(needed, lot.cure_e10), price, unit)
    units = min(wanted, lot.available)
    if lot.cost_bps:
        # More than the budget has left would undo what else helps.
        kept_back = ROUNDING_UNITS * scene.loans.unit_wad
        left = max(0, scene.budget_wad - kept_back) - sum(s.cost for s in plan.steps)
        units = min(units, left * BPS // lot.cost_bps * WAD // price // unit)
    value = units * unit * price // WAD
    cost = div_up(value * lot.cost_bps, BPS)
    step = Step(Kind.SELL, scene.account, lot.leg.asset, units, value, cost)
    if units == 0:
        return plan
    return plan.with_step(step, sizing.cured_down(value, lot.cure_e10))


# ---- carrying it out


def carry_out(scene: Scene, venue: Venue) -> tuple[Scene, tuple[Step, ...]]:
    """Plans and acts as the hook does; returns what everyone holds afterwards and the steps taken.

    A sale that the venue refuses is planned around, at most twice. Raises ValueError for a step
    that moves more than there is, which no plan may contain.
    """
    taken: list[Step] = []
    for _ in range(MAX_PLANS):
        plan = make_plan(scene)
        if plan.code != Code.READY:
            break
        refused = scene.refused
        for step in plan.steps:
            acted = _acted(scene, step, venue)
            if acted is None:
                refused = refused | {step.asset}
                continue
            scene = acted
            taken.append(step)
        if refused == scene.refused:
            break
        scene = replace(scene, refused=refused)
    return scene, tuple(taken)


def _acted(scene: Scene, step: Step, venue: Venue) -> Scene | None:
    """The scene after one step, None if the venue refuses."""
    loans, wallet, after = scene.loans, scene.wallet, dict(scene.accounts)
    units, own = step.amount, scene.account
    if step.kind == Kind.PULL_CASH:
        wallet = Wallet(
            wallet.left_wad - units * loans.unit_wad,
            wallet.balance - units,
            wallet.allowance - (units if wallet.allowance != UNLIMITED else 0),
        )
        after[own] = after[own].credited(units, loans)
    elif step.kind == Kind.MOVE_CASH:
        if units * loans.unit_wad > after[step.source].cash_wad:
            raise ValueError(f"{units} units of cash are not there")
        after[step.source] = after[step.source].debited(units, loans)
        after[own] = after[own].credited(units, loans)
    else:
        change_wad = units * scene.unit_wad[step.asset]
        after[step.source] = after[step.source].with_collateral(step.asset, -change_wad)
        if step.kind == Kind.MOVE_COLLATERAL:
            after[own] = after[own].with_collateral(step.asset, change_wad)
        else:
            proceeds = venue(step.asset, units)
            if proceeds is None:
                return None
            after[own] = after[own].credited(proceeds, loans)
    return replace(scene, accounts=after, wallet=wallet)
