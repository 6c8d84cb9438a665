"""The plan of the default hook in exact integers, and what carrying it out leads to.

`make_plan` finds the cheapest path to the target: gains that the house can pay, cash of siblings,
the owner's wallet, collateral of siblings, then sales and trades with the lowest price of health
first, where what lies above a quota always goes before what lies within it, because that is the
order in which units leave. Sales, trims and hedges of an asset share its net exposure; hedged units
become sold ones at the marginal price, the next edge of the convex hull. Where a price moves with
size each means is cut into four slices, each at what it costs in the mean. `carry_out` says what
everyone holds afterwards. Values are WAD of the quote token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag
from fractions import Fraction
from math import isqrt
from typing import NamedTuple

from ballast.model import sizing
from ballast.model.ledger import Account, Book, Lender, Loans
from ballast.model.margin import (
    BPS,
    RATE,
    WAD,
    Leg,
    Mark,
    Position,
    Terms,
    div_up,
    increase_refusal,
    is_no_riskier,
    nearest_zero,
    result_wad,
    terms_of,
)
from ballast.model.perps import SIZE_STEP_WAD, Market, Order, Refused

QUOTE_ASSET = 0
MAX_STEPS = 8
LEAST_UNITS = 2  # of cash: a repayment of a single one may lose all to rounding
MAX_PLANS = 3  # the plan, and what is planned anew after a step was refused
MAX_HALVINGS = 2  # a refused sale or trade is tried at a half and at a quarter
MAX_ASSETS = 16
MAX_EDGES = 192
SLICES = 4  # of a means whose price moves with size
LEAST_IMPACT_PART = 10  # of the first unit's cost; a smaller impact is not worth slices
MAX_SALES = 8
UNLIMITED = 2**256 - 1
# Kept back from a budget: quote units that the roundings of a full plan may lose.
ROUNDING_UNITS = 32
BPS_TO_E6 = 100

# Quote units paid for the units of an asset, None for a sale that is refused.
Venue = Callable[[int, int], int | None]
# What may not be planned any more: a kind, and an asset or, for what a sibling gives, its account.
Refusal = tuple[int, int]


class Kind(IntEnum):
    """What a step does."""

    MOVE_CASH = 1
    PULL_CASH = 2
    MOVE_COLLATERAL = 3
    SELL = 4
    SETTLE = 5
    TRIM = 6
    HEDGE = 7
    UNWIND = 8


class Action(IntFlag):
    """What a policy allows to be done with perpetuals."""

    SETTLE = 1
    TRIM = 2
    HEDGE = 4
    UNWIND = 8


class Code(IntEnum):
    """Why there is something to do, or nothing."""

    READY = 0
    NO_POLICY = 1
    ABOVE_TRIGGER = 2
    COOLING_DOWN = 3
    BELOW_MINIMUM = 4
    NO_MEANS = 5
    EXPIRED = 6
    UNCONFIRMED = 7
    GAS_TOO_DEAR = 8
    CALLED = 9


# Of these nothing is planned, not even to be shown.
NOT_PLANNED = (Code.NO_POLICY, Code.EXPIRED, Code.ABOVE_TRIGGER)
GWEI_WEI = 10**9
YEAR_S = 31_536_000
CALL_VALID_S = 86_400  # after its deadline a margin call allows sales for so long
PAY_RAMP_S = 120
UNFINISHED_S = 3_600  # what a maximum step left to do is gone on with for so long


class Sale(NamedTuple):
    """A collateral that may be sold, what selling the first unit is expected to cost, and how much
    more, of each unit in the mean, if all of it is sold."""

    asset: int
    cost_bps: int
    impact_bps: int = 0

    @property
    def whole_e6(self) -> int:
        """What selling all of it costs in the mean."""
        return (self.cost_bps + self.impact_bps) * BPS_TO_E6


@dataclass(frozen=True)
class Policy:
    """When the hook acts and by what means. `donors` are account ids.

    `funding_bps` is the funding that a hedge is expected to pay, a part of its value.
    """

    trigger_bps: int
    cooldown_s: int = 0
    min_step_wad: int = 0
    uses_wallet: bool = False
    donors: tuple[int, ...] = ()
    sales: tuple[Sale, ...] = ()
    last_at: int = 0
    actions: int = 0
    funding_bps: int = 0


@dataclass(frozen=True)
class Bounds:
    """Within which a policy is carried out; 0 stands for none. Seconds, unix where a moment.

    `max_step_wad` is what a rebalance may sell and trade outside an emergency, `call_s` what the
    owner has to answer a margin call; with `buffer_bps` and `horizon_s` it acts as well when
    E - R is below so many standard deviations of what all exposures may lose together.
    """

    expires_at: int = 0
    emergency_cooldown_s: int = 0
    max_step_wad: int = 0
    gas_cap_gwei: int = 0
    confirms: bool = False
    call_s: int = 0
    buffer_bps: int = 0
    horizon_s: int = 0
    pay_bps: int = 0
    pay_cap_wad: int = 0
    gap_per_pay: int = 0

    def pay_wad(self, gas_wad: int, gap_closed_wad: int, flag_age_s: int) -> int:
        """What whoever called is paid for a call that cost `gas_wad`: 15% more than that, and of
        the gap closed a part that grows from the flag for two minutes; within cap and gap."""
        if self.pay_cap_wad == 0:
            return 0
        share = self.pay_bps * min(flag_age_s, PAY_RAMP_S)
        pay = gas_wad * 11_500 // BPS + gap_closed_wad * share // (PAY_RAMP_S * BPS)
        return min(pay, self.pay_cap_wad, gap_closed_wad // self.gap_per_pay)


class Remembered(NamedTuple):
    """What is known from earlier: the deadline of a margin call, when a maximum step left work to
    do, and since when the account is flagged as triggered."""

    deadline: int = 0
    unfinished_at: int = 0
    triggered_since: int = 0


class Wallet(NamedTuple):
    """What may come from the owner's wallet: the cap's remainder (WAD), balance and allowance."""

    left_wad: int = 0
    balance: int = 0
    allowance: int = 0


class Step(NamedTuple):
    """One step of a plan.

    `amount` is in token units for what is moved, pulled or sold, WAD for gains that are settled,
    and WAD units for a change of a perpetual: a trim is toward zero, a hedge makes it shorter, an
    unwinding buys back a short and sells as much collateral.
    """

    kind: int
    source: int
    asset: int
    amount: int
    value: int
    cost: int
    bought: int = 0


@dataclass(frozen=True)
class Plan:
    """What a rebalance would do; `uncured` is what the steps leave of the shortfall, `called` what
    the owner is asked for before anything is sold."""

    code: int
    shortfall: int = 0
    uncured: int = 0
    steps: tuple[Step, ...] = ()
    called: int = 0

    def with_step(self, step: Step, cured: int) -> Plan:
        """A plan that is full keeps what it has."""
        if self.is_full:
            return self
        return replace(self, steps=(*self.steps, step), uncured=max(0, self.uncured - cured))

    @property
    def is_full(self) -> bool:
        """Whether the rest is left to the next rebalance."""
        return len(self.steps) == MAX_STEPS


@dataclass(frozen=True)
class Scene:
    """Everything a plan depends on, at one moment.

    `accounts` holds the account and its donors, `floors` the donors' floors in basis points (none:
    never donates), `unit_wad` the WAD of a token unit of each collateral, `now` unix seconds.
    `policy` or `target_bps` None is an account without policy or guard. `refused` is what was
    refused in this very mandate. `marks` have the funding of now where there is a market; `house`
    is what the other side of every trade holds. `is_tested`: the ledger will test the account when
    the mandate ends.
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
    slippage_bps: int = BPS
    refused: frozenset[Refusal] = frozenset()
    markets: Mapping[int, Market] = field(default_factory=dict)
    house: Account = Account()
    lender: Lender = Lender()
    is_tested: bool = False
    bounds: Bounds = Bounds()
    remembered: Remembered = Remembered()
    base_fee_wei: int = 0

    @property
    def own(self) -> Account:
        """The account that the plan is for."""
        return self.accounts[self.account]

    def assess(self, account: int) -> Terms:
        """The four figures of an account."""
        return self.accounts[account].assess(self.marks, self.loans)

    def allows(self, action: Action, kind: Kind, asset: int) -> bool:
        """Whether the owner allows a trade and it was not refused."""
        assert self.policy is not None
        return bool(self.policy.actions & action) and (kind, asset) not in self.refused

    def increase_refusal(self) -> str:
        """Why an increase of risk that led here would be refused, "" if it is allowed."""
        own = self.own
        return increase_refusal(own.net_wad(self.loans), own.legs(self.marks), own.debt_shares != 0)


def make_plan(scene: Scene) -> Plan:
    """What a rebalance would do now."""
    if scene.policy is None or scene.target_bps is None:
        return Plan(Code.NO_POLICY)
    terms = scene.assess(scene.account)
    shortfall = terms.shortfall_up(scene.target_bps)
    code = _readiness(scene, scene.policy, terms, shortfall)
    plan = Plan(code, shortfall, shortfall)
    if code in NOT_PLANNED:
        return plan
    plan = _with_gains(plan, scene)
    slacks = {donor: _slack_down(scene, donor) for donor in scene.policy.donors}
    for donor in scene.policy.donors:
        if scene.floors.get(donor, 0) > scene.target_bps:
            plan, slacks[donor] = _with_collaterals(plan, scene, donor, slacks[donor])
        plan, slacks[donor] = _with_cash(plan, scene, donor, slacks[donor])
    plan = _with_wallet(plan, scene)
    for donor in scene.policy.donors:
        plan, slacks[donor] = _with_collaterals(plan, scene, donor, slacks[donor])
    if _may_cost(scene, terms):
        plan = _with_costed_means(plan, scene)
    elif plan.uncured:
        plan = replace(plan, called=plan.uncured)
    if not plan.steps and not plan.called:
        return replace(plan, code=Code.NO_MEANS)
    if not plan.steps and code == Code.READY and _is_called(scene):
        return replace(plan, code=Code.CALLED)
    return plan


def _may_cost(scene: Scene, terms: Terms) -> bool:
    """Whether anything may be sold: without a margin call, after its deadline, in an emergency."""
    if scene.bounds.call_s == 0 or terms.excess_init < 0:
        return True
    return scene.now >= scene.remembered.deadline and _is_called(scene)


def _is_called(scene: Scene) -> bool:
    return scene.now < scene.remembered.deadline + CALL_VALID_S


def _readiness(scene: Scene, policy: Policy, terms: Terms, shortfall: int) -> Code:
    """Below initial margin only what has to be in one block holds it back.

    An account that owes nothing cannot be liquidated, so nothing is done for it.
    """
    bounds = scene.bounds
    if bounds.expires_at and scene.now >= bounds.expires_at:
        return Code.EXPIRED
    is_unfinished = scene.now <= scene.remembered.unfinished_at + UNFINISHED_S
    is_exposed = scene.own.net_wad(scene.loans) < 0 or any(
        held.size_wad for held in scene.own.positions.values()
    )
    is_triggered = is_unfinished or terms.equity_init < _trigger_wad(scene, policy, terms)
    if not is_exposed or shortfall < scene.loans.unit_wad or not is_triggered:
        return Code.ABOVE_TRIGGER
    is_emergency = terms.excess_init < 0
    wait_s = 1 + policy.cooldown_s
    if is_emergency or is_unfinished:
        wait_s = max(1, bounds.emergency_cooldown_s)
    if scene.now < policy.last_at + wait_s:
        return Code.COOLING_DOWN
    if is_emergency:
        return Code.READY
    if shortfall < policy.min_step_wad:
        return Code.BELOW_MINIMUM
    if bounds.gas_cap_gwei and scene.base_fee_wei > bounds.gas_cap_gwei * GWEI_WEI:
        return Code.GAS_TOO_DEAR
    if bounds.confirms and not is_unfinished and not _is_confirmed(scene, policy):
        return Code.UNCONFIRMED
    return Code.READY


def _trigger_wad(scene: Scene, policy: Policy, terms: Terms) -> int:
    """trigger R, or R + k sigma sqrt(horizon) sum p |D| where that is more."""
    trigger = div_up(terms.required_init * policy.trigger_bps, BPS)
    bounds = scene.bounds
    if bounds.buffer_bps == 0:
        return trigger
    deviation = 0
    for leg in scene.own.legs(scene.marks):
        exposure = div_up(abs(leg.position.delta_wad) * leg.mark.price_wad, WAD)
        deviation += exposure * leg.mark.risk.sigma_e6 // RATE
    root_e6 = isqrt(bounds.horizon_s * RATE * RATE // YEAR_S)
    buffer = deviation * root_e6 // RATE * bounds.buffer_bps // BPS
    return max(trigger, terms.required_init + buffer)


def _is_confirmed(scene: Scene, policy: Policy) -> bool:
    """Flagged since the last rebalance, and in an earlier price round than the newest."""
    since = scene.remembered.triggered_since
    made_at = max((leg.mark.price.made_at for leg in scene.own.legs(scene.marks)), default=0)
    return since > policy.last_at and made_at > since


# ---- gains


def payable_gain(held: Position, mark: Mark) -> int:
    """What may be paid of an unsettled result: at the lesser of two prices, and on a sound one."""
    if held.size_wad == 0:
        return max(0, -held.cost_wad)
    if not mark.backs_increase:
        return 0
    return max(0, min(result_wad(held, mark), result_wad(held, mark, mark.price.previous_wad)))


def _with_gains(plan: Plan, scene: Scene) -> Plan:
    """All of a gain is paid, as far as the house's cash goes."""
    left = scene.house.cash_wad
    for leg in scene.own.legs(scene.marks):
        gain = min(payable_gain(leg.position, leg.mark), left)
        is_allowed = scene.allows(Action.SETTLE, Kind.SETTLE, leg.asset)
        if (
            not is_allowed
            or gain < LEAST_UNITS * scene.loans.unit_wad
            or not plan.uncured
            or plan.is_full
        ):
            continue
        left -= gain
        plan = plan.with_step(
            Step(Kind.SETTLE, scene.account, leg.asset, gain, gain, 0), cured=gain
        )
    return plan


# ---- donors and wallet


def _slack_down(scene: Scene, donor: int) -> int:
    """What a donor can give above its floor."""
    floor_bps = scene.floors.get(donor, 0)
    if floor_bps == 0 or donor == scene.account or (Kind.MOVE_CASH, donor) in scene.refused:
        return 0
    terms = scene.assess(donor)
    return max(0, terms.equity_init - div_up(terms.required_init * floor_bps, BPS))


def _cash_units(needed_wad: int, available_wad: int, unit_wad: int) -> int:
    """Units of cash: up to cover the need, down to what is there."""
    return min(div_up(needed_wad, unit_wad), available_wad // unit_wad)


def _with_cash(plan: Plan, scene: Scene, donor: int, slack: int) -> tuple[Plan, int]:
    """Cash of a sibling, which never borrows for it."""
    is_able = slack and _is_sound(scene, donor)
    cash = max(0, scene.accounts[donor].net_wad(scene.loans)) if is_able else 0
    unit_wad = scene.loans.unit_wad
    units = _cash_units(plan.uncured, min(cash, slack), unit_wad)
    if units < LEAST_UNITS or plan.is_full:
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
    is_refused = (Kind.PULL_CASH, QUOTE_ASSET) in scene.refused
    if units < LEAST_UNITS or not scene.policy.uses_wallet or is_refused:
        return plan
    value = units * unit_wad
    step = Step(Kind.PULL_CASH, scene.account, QUOTE_ASSET, units, value, 0)
    return plan.with_step(step, value)


def _with_collaterals(plan: Plan, scene: Scene, donor: int, slack: int) -> tuple[Plan, int]:
    """As many collaterals of a sibling as it takes."""
    for _ in range(len(plan.steps), MAX_STEPS):
        plan, slack = _with_collateral(plan, scene, donor, slack)
    return plan, slack


def _with_collateral(plan: Plan, scene: Scene, donor: int, slack: int) -> tuple[Plan, int]:
    """The collateral of a sibling that cures all, else the one that cures most per unit of slack.

    Never beyond the quota that the account has left, nor what the donor can give above its floor.
    """
    assert scene.target_bps is not None
    best, best_cured, best_price = None, 0, Fraction(0)
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
        if scene.own.position(leg.asset).delta_wad < 0:
            continue
        needed = plan.uncured + sizing.ROUNDING_WAD
        wanted = sizing.units_up(sizing.value_up(needed, cure_e10), mark.price_wad, unit)
        movable_wad = min(
            _net_collateral(leg.position, mark),
            mark.quota_wad - held,
            sizing.givable_down(slack, floor_bps, mark.rate_init_e6) * WAD // mark.price_wad,
        )
        units = min(wanted, movable_wad // unit)
        value = units * unit * mark.price_wad // WAD
        cured = sizing.cured_down(value, cure_e10)
        # What a unit of cure takes of the slack.
        price = Fraction(max(0, sizing.CURE - floor_bps * mark.rate_init_e6), cure_e10)
        if cured and (best is None or cured >= plan.uncured or price < best_price):
            best = Step(Kind.MOVE_COLLATERAL, donor, leg.asset, units, value, 0)
            best_cured, best_price = cured, price
            if cured >= plan.uncured:
                break
    if best is None:
        return plan, slack
    rate_e6 = scene.marks[best.asset].rate_init_e6
    used = sizing.slack_of_outflow_up(best.value, floor_bps, rate_e6)
    return plan.with_step(best, best_cured), max(0, slack - used)


def _net_collateral(held: Position, mark: Mark) -> int:
    """Collateral of a donor that no short of its own is hedged with."""
    if held.size_wad >= 0:
        return held.collateral_wad
    return max(0, min(held.collateral_wad, mark.quota_wad) + held.size_wad)


def _is_sound(scene: Scene, donor: int) -> bool:
    """Whether the ledger would let it give: the marks of an account with a debt or a perpetual must
    back an increase, and no price may have moved against it in this very block."""
    account = scene.accounts[donor]
    legs = account.legs(scene.marks)
    if account.net_wad(scene.loans) >= 0 and not any(leg.position.has_perpetual for leg in legs):
        return True
    for leg in legs:
        newest, previous = leg.mark.price.newest_wad, leg.mark.price.previous_wad
        has_moved = newest > previous or (newest < previous and leg.position.size_wad != 0)
        if has_moved or not leg.mark.backs_increase:
            return False
    return True


def _held_so_far(plan: Plan, scene: Scene, asset: int) -> tuple[int, bool]:
    """What the account has of an asset with the moves planned so far, and whether it may get it.

    Each earlier move is taken to have used a place of the list.
    """
    moves = [step for step in plan.steps if step.kind == Kind.MOVE_COLLATERAL]
    units = sum(step.amount for step in moves if step.asset == asset)
    held = scene.own.position(asset).collateral_wad + units * scene.unit_wad[asset]
    is_listed = asset in scene.own.positions or units != 0
    return held, is_listed or len(scene.own.positions) + len(moves) < MAX_ASSETS


# ---- sales and trades


class _Form(IntEnum):
    """What an edge does, in the order that decides among equals."""

    SURPLUS = 1
    WITHIN = 2
    UPGRADE = 3
    TRIM = 4
    HEDGE = 5
    UNWIND = 6


class _Edge(NamedTuple):
    """Units of one asset that all cure alike. `hedge_e6` is what is not paid for a hedge that
    becomes a sale."""

    form: _Form
    available: int
    lot_wad: int
    released_e6: int
    cure_e10: int
    cost_e6: int
    hedge_e6: int = 0

    @property
    def price(self) -> Fraction:
        """Cost of one unit of cure."""
        return sizing.price_of_health(self.cost_e6, self.cure_e10)


class _Slice(NamedTuple):
    """Units between `start` and `end` of a means, and what they cost as a part of their value."""

    start: int
    end: int
    cost_e6: int


@dataclass(frozen=True)
class _Curve:
    """What the units of a means cost: the first one `first_e6`, all in the mean `impact_e6` more.

    WAD units there are and of them used; `later_e6` is funding that a unit is expected to pay. The
    rest `is_borne` by a gain that is not paid out, which bears the cost of a trade before equity at
    initial margin does.
    """

    most: int = 0
    first_e6: int = 0
    impact_e6: int = 0
    used: int = 0
    later_e6: int = 0
    is_borne: bool = False

    @classmethod
    def of(cls, most: int, whole_e6: int, impact_e6: int) -> _Curve:
        """Units that cost so much in the mean, each of them if their impact is small."""
        if impact_e6 * (LEAST_IMPACT_PART + 1) <= whole_e6:
            impact_e6 = 0
        return cls(most, whole_e6 - impact_e6, impact_e6)

    def slice_at(self, place: int, lot_wad: int) -> _Slice:
        """The slice of the lot that begins at `place`; the j-th of four ends at j (j + 1) / 20 of
        what there is, so that it costs j^2 / 10 of the impact in the mean."""
        if self.impact_e6 == 0:
            return _Slice(0, self.most, max(0, self.first_e6))
        start = 0
        for j in range(1, SLICES + 1):
            end = self.most * (j * (j + 1)) // (SLICES * (SLICES + 1)) // lot_wad * lot_wad
            if end >= place + lot_wad:
                cost_e6 = self.first_e6 + div_up(self.impact_e6 * j * j, SLICES * (SLICES + 1) // 2)
                return _Slice(start, end, max(0, cost_e6))
            start = end
        return _Slice(place, place, 0)

    def next_slice(self, lot_wad: int) -> tuple[int, int, int]:
        """Units that are left of it, their cost, and what equity bears of that."""
        _, end, cost_e6 = self.slice_at(self.used, lot_wad)
        return end - self.used, cost_e6 + self.later_e6, 0 if self.is_borne else cost_e6

    def last_slice(self, lot_wad: int) -> tuple[int, int, int]:
        """Units that are used of it, which can be given back, and as above."""
        if self.used < lot_wad:
            return 0, 0, 0
        start, _, cost_e6 = self.slice_at(self.used - lot_wad, lot_wad)
        return self.used - start, cost_e6 + self.later_e6, 0 if self.is_borne else cost_e6

    def after(self, change: int) -> _Curve:
        """With so many more units used."""
        return replace(self, used=self.used + change)

    @property
    def whole_e6(self) -> int:
        """What all units cost in the mean."""
        return self.first_e6 + self.impact_e6 + self.later_e6


_SALES = (_Form.SURPLUS, _Form.WITHIN, _Form.UPGRADE, _Form.UNWIND)


@dataclass(frozen=True)
class _Holding:
    """One asset of the account and what may still be done with it, in WAD units.

    `open` is what is left of |D|. Sales of every form go down one curve, and trims and unwindings
    another. A form is `used` that the plan could not do in full.
    """

    leg: Leg
    rank: int
    unit_wad: int
    target_bps: int
    open: int
    sales: _Curve = _Curve()
    closing: _Curve = _Curve()
    hedging: _Curve = _Curve()
    surplus: int = 0
    sale: int = 0
    trim: int = 0
    pairs: int = 0
    used: frozenset[_Form] = frozenset()

    @property
    def lot_wad(self) -> int:
        """The least that collateral and perpetual can both change by."""
        return max(self.unit_wad, SIZE_STEP_WAD)

    def edges(self) -> list[_Edge]:
        """What may be done next, as far as it cures."""
        risk = self.leg.mark.risk
        rate_e6, both_e6 = risk.r_init_e6 + risk.l_init_e6, 2 * risk.l_init_e6
        forms = {_Form.TRIM: (min(self.trim, self.open), rate_e6)}
        if self.surplus and _Form.SURPLUS not in self.used:
            forms[_Form.SURPLUS] = (self.surplus, 0)
        else:
            forms[_Form.WITHIN] = (min(self.sale, self.open), rate_e6)
            forms[_Form.UPGRADE] = (self.sale, both_e6)
        if rate_e6 > both_e6:
            forms[_Form.HEDGE] = (self.open, rate_e6 - both_e6)
        if self.hedging.used == 0:
            forms[_Form.UNWIND] = (self.pairs, both_e6)
        known = (self._edge(form, *terms) for form, terms in sorted(forms.items()))
        return [edge for edge in known if edge.available and edge.cure_e10 > 0]

    def _edge(self, form: _Form, available: int, released_e6: int) -> _Edge:
        """One slice of it; of an upgrade the next one of the sale and the last one of the hedge."""
        cost_e6 = burden_e6 = hedge_e6 = 0
        lot = {
            _Form.SURPLUS: self.unit_wad,
            _Form.WITHIN: self.unit_wad,
            _Form.TRIM: SIZE_STEP_WAD,
        }.get(form, self.lot_wad)
        if form in self.used:
            available = 0
        if form in _SALES:
            left, cost_e6, burden_e6 = self.sales.next_slice(lot)
            available = min(available, left)
        if form in (_Form.TRIM, _Form.UNWIND):
            left, part_e6, borne_e6 = self.closing.next_slice(lot)
            available = min(available, left)
            cost_e6, burden_e6 = cost_e6 + part_e6, burden_e6 + borne_e6
        if form == _Form.HEDGE:
            left, cost_e6, burden_e6 = self.hedging.next_slice(lot)
            available = min(available, left)
        if form == _Form.UPGRADE:
            left, hedge_e6, borne_e6 = self.hedging.last_slice(lot)
            available = min(available, left)
            cost_e6, burden_e6 = max(0, cost_e6 - hedge_e6), burden_e6 - borne_e6
        cure = sizing.cure_of_release_e10(self.target_bps, released_e6, burden_e6)
        if form == _Form.SURPLUS:
            cure = sizing.cure_of_surplus_e10(cost_e6)
        return _Edge(form, available // lot * lot, lot, released_e6, cure, cost_e6, hedge_e6)

    def after(self, edge: _Edge, size_wad: int) -> _Holding:
        """What may be done after an edge was taken: in part, and its form is not taken again."""
        form = edge.form
        hedged = {_Form.HEDGE: size_wad, _Form.UPGRADE: -size_wad}.get(form, 0)
        return replace(
            self,
            open=self.open - size_wad * (form in (_Form.WITHIN, _Form.TRIM, _Form.HEDGE)),
            surplus=self.surplus - size_wad * (form == _Form.SURPLUS),
            sale=self.sale - size_wad * (form in (_Form.WITHIN, _Form.UPGRADE)),
            trim=self.trim - size_wad * (form == _Form.TRIM),
            pairs=self.pairs - size_wad * (form == _Form.UNWIND),
            sales=self.sales.after(size_wad * (form in _SALES)),
            closing=self.closing.after(size_wad * (form in (_Form.TRIM, _Form.UNWIND))),
            hedging=self.hedging.after(hedged),
            used=self.used if size_wad == edge.available else self.used | {form},
        )


def _with_costed_means(plan: Plan, scene: Scene) -> Plan:
    """Without the steps that the ledger tests at the end, where the plan does not get that far."""
    assert scene.policy is not None and scene.target_bps is not None
    if plan.uncured == 0 or not (scene.policy.sales or scene.policy.actions):
        return plan
    full, is_tested, released = _with_edges(plan, scene, may_be_tested=True)
    if is_tested:
        # E - R = (t - 1) R - (t R - E)
        left = max(0, scene.assess(scene.account).required_init - released)
        excess = left * (scene.target_bps - BPS) // BPS
        if excess < full.uncured + _weakness(scene):
            return _with_edges(plan, scene, may_be_tested=False)[0]
    return full


def _with_edges(plan: Plan, scene: Scene, *, may_be_tested: bool) -> tuple[Plan, bool, int]:
    """The lowest price of health first; of equals, what the policy names first.

    Returns whether the ledger will test the account as well, and the requirement released.
    """
    holdings = _holdings(plan, scene, may_be_tested)
    budget = max(0, scene.budget_wad - ROUNDING_UNITS * scene.loans.unit_wad)
    allowance = scene.bounds.max_step_wad or UNLIMITED
    if scene.assess(scene.account).excess_init < 0:
        allowance = UNLIMITED
    is_tested, released = False, 0
    for _ in range(MAX_EDGES):
        known = [(edge, i) for i, held in enumerate(holdings) for edge in held.edges()]
        if plan.uncured == 0 or not known:
            break
        edge, i = min(known, key=lambda k: (k[0].price, holdings[k[1]].rank, k[0].form))
        held = holdings[i]
        price_wad, unit_wad = held.leg.mark.price_wad, scene.loans.unit_wad
        size = _size(edge, price_wad, plan.uncured, budget, unit_wad)
        size = min(size, allowance * WAD // price_wad // edge.lot_wad * edge.lot_wad)
        changed = _with_change(plan, scene.account, held, edge, size) if size else None
        if changed is None:
            size = 0
        else:
            value = size * held.leg.mark.price_wad // WAD
            plan = changed
            plan = replace(
                plan, uncured=max(0, plan.uncured - sizing.cured_down(value, edge.cure_e10))
            )
            allowance -= min(allowance, value)
            budget = max(0, budget - div_up(value * edge.cost_e6, RATE))
            released += value * edge.released_e6 // RATE
            is_short = held.leg.position.size_wad < 0
            is_tested = is_tested or (edge.form in _SALES and is_short)
        holdings[i] = held.after(edge, size)
    return replace(plan, steps=_hedges_last(plan.steps)), is_tested, released


def _size(edge: _Edge, price_wad: int, uncured: int, budget: int, quote_unit_wad: int) -> int:
    """What cures the rest, up to a lot, as far as it goes and the budget allows."""
    # Proceeds are floored to a unit of the quote token.
    needed = uncured + quote_unit_wad + sizing.ROUNDING_WAD
    lots = sizing.units_up(sizing.value_up(needed, edge.cure_e10), price_wad, edge.lot_wad)
    lots = min(lots, edge.available // edge.lot_wad)
    if edge.cost_e6:
        # More than the budget has left would undo what else helps.
        affordable = budget * RATE // edge.cost_e6
        lots = min(lots, affordable * WAD // price_wad // edge.lot_wad)
    return lots * edge.lot_wad


def _with_change(
    plan: Plan, account: int, held: _Holding, edge: _Edge, size_wad: int
) -> Plan | None:
    """A step for each means of an asset, which grows with each of its edges; an upgrade takes from
    the hedge what it gives to the sale. None where a plan that is full would need another step."""
    kinds = {_Form.TRIM: Kind.TRIM, _Form.HEDGE: Kind.HEDGE, _Form.UNWIND: Kind.UNWIND}
    kind, asset, price = kinds.get(edge.form, Kind.SELL), held.leg.asset, held.leg.mark.price_wad
    amount = size_wad // held.unit_wad if kind == Kind.SELL else size_wad
    value = size_wad * price // WAD
    cost = div_up(value * (edge.cost_e6 + edge.hedge_e6), RATE)
    new = Step(kind, account, asset, amount, value, cost)
    kept: list[Step] = []
    for step in plan.steps:
        if (step.kind, step.asset) == (kind, asset):
            new = new._replace(
                amount=new.amount + step.amount,
                value=new.value + step.value,
                cost=new.cost + step.cost,
            )
        elif edge.form == _Form.UPGRADE and (step.kind, step.asset) == (Kind.HEDGE, asset):
            # A hedge of which nothing is left gives its place free.
            if step.amount != size_wad:
                left = step.amount - size_wad
                saved = value * edge.hedge_e6 // RATE
                kept.append(
                    step._replace(
                        amount=left, value=left * price // WAD, cost=max(0, step.cost - saved)
                    )
                )
        else:
            kept.append(step)
    if len(kept) == MAX_STEPS:
        return None
    return replace(plan, steps=(*kept, new))


def _hedges_last(planned: tuple[Step, ...]) -> tuple[Step, ...]:
    """What is sold after a hedge is tested by the ledger, and what is sold before is not."""
    others = tuple(step for step in planned if step.kind != Kind.HEDGE)
    return others + tuple(s for s in planned if s.kind == Kind.HEDGE)


def _holdings(plan: Plan, scene: Scene, may_be_tested: bool) -> list[_Holding]:
    assert scene.policy is not None and scene.target_bps is not None
    known = {sale.asset: (rank, sale) for rank, sale in enumerate(scene.policy.sales)}
    holdings: list[_Holding] = []
    for place, leg in enumerate(scene.own.legs(scene.marks)):
        mark, size, collateral = leg.mark, leg.position.size_wad, leg.position.collateral_wad
        counted = min(collateral, mark.quota_wad)
        delta = nearest_zero(counted + size, collateral + size)
        rank, sales = MAX_SALES + place, _Curve()
        is_for_sale = False
        if leg.asset in known and mark.bounds_swap:
            rank, sale = known[leg.asset]
            sales = _Curve.of(collateral, sale.whole_e6, sale.impact_bps * BPS_TO_E6)
            is_for_sale = may_be_tested or size >= 0
        held = _Holding(
            leg,
            rank,
            scene.unit_wad[leg.asset],
            scene.target_bps,
            open=abs(delta),
            sales=sales,
        )
        if is_for_sale and (Kind.SELL, leg.asset) not in scene.refused:
            surplus = min(collateral - counted, max(0, collateral + size))
            held = replace(
                held,
                surplus=surplus // held.unit_wad * held.unit_wad,
                sale=min(counted, max(0, delta)),
            )
        if mark.is_live:
            gain = _unpaid_gain(plan, leg)
            held = _with_closing(held, scene, gain, delta)
            held = _with_hedge(held, scene, gain, delta)
        may_unwind = scene.allows(Action.UNWIND, Kind.UNWIND, leg.asset)
        if may_unwind and size < 0 and collateral == counted and is_for_sale:
            held = replace(held, pairs=collateral)
        holdings.append(held)
    return holdings


def _with_closing(held: _Holding, scene: Scene, gain: int, delta: int) -> _Holding:
    """What may be closed.

    A position whose gain is not paid stays open by a step: closing it would pay the gain. A trim
    never loses more than it frees at maintenance, or the ledger would test it.
    """
    assert scene.policy is not None
    asset, mark, size = held.leg.asset, held.leg.mark, held.leg.position.size_wad
    if size == 0 or not scene.policy.actions & (Action.TRIM | Action.UNWIND):
        return held
    cost_e6 = _cost_e6(scene, held.leg, -size)
    closing = _trade_curve(scene, held.leg, abs(size), cost_e6, gain)
    if gain >= scene.loans.unit_wad:
        closing = replace(closing, most=closing.most - SIZE_STEP_WAD)
    held = replace(held, closing=closing)
    frees_enough = cost_e6 < mark.risk.r_maint_e6 + mark.risk.l_maint_e6
    if scene.allows(Action.TRIM, Kind.TRIM, asset) and frees_enough and delta * size > 0:
        held = replace(held, trim=abs(size))
    return held


def _with_hedge(held: _Holding, scene: Scene, gain: int, delta: int) -> _Holding:
    """What may be hedged; as for a trim."""
    assert scene.policy is not None
    asset, mark, size = held.leg.asset, held.leg.mark, held.leg.position.size_wad
    is_allowed = scene.allows(Action.HEDGE, Kind.HEDGE, asset)
    if not is_allowed or delta <= 0 or size > 0 or asset not in scene.markets:
        return held
    market = scene.markets[asset]
    most = min(held.open, market.largest_increase_wad(size, False, mark, scene.now))
    most -= most % held.lot_wad
    if most == 0:
        return held
    cost_e6 = _cost_e6(scene, held.leg, -most)
    if cost_e6 + mark.risk.l_maint_e6 >= mark.risk.r_maint_e6:
        return held
    hedging = _trade_curve(scene, held.leg, most, cost_e6, gain)
    return replace(held, hedging=replace(hedging, later_e6=scene.policy.funding_bps * BPS_TO_E6))


def _trade_curve(scene: Scene, leg: Leg, most: int, cost_e6: int, gain: int) -> _Curve:
    """Units whose trade costs so much in the mean: by the market's depth the first costs less. A
    trade that the skew pays for has no slices, nor one whose gain bears its cost any burden."""
    impact_e6 = most // SIZE_STEP_WAD * RATE // (2 * scene.markets[leg.asset].terms.depth_gwei)
    if cost_e6 == 0:
        impact_e6 = 0
    cost = div_up(most * leg.mark.price_wad // WAD * cost_e6, RATE)
    return replace(_Curve.of(most, cost_e6, impact_e6), is_borne=gain >= cost)


def _cost_e6(scene: Scene, leg: Leg, size_change: int) -> int:
    """Fee and impact of a trade as a part of its value, up; none where the skew pays for it."""
    fill = scene.markets[leg.asset].priced(leg.position, size_change, leg.mark, scene.now)
    index = leg.mark.price_wad
    lost = fill.price_wad - index if size_change > 0 else index - fill.price_wad
    return div_up(max(0, lost) * RATE, index)


def _unpaid_gain(plan: Plan, leg: Leg) -> int:
    """What the plan leaves of the unsettled result."""
    paid = sum(s.value for s in plan.steps if s.kind == Kind.SETTLE and s.asset == leg.asset)
    return max(0, result_wad(leg.position, leg.mark) - paid)


def _weakness(scene: Scene) -> int:
    """By how much the ledger's test values the account less: the worse of two prices, and nothing
    is lent by a doubtful one."""
    weakness = 0
    for leg in scene.own.legs(scene.marks):
        newest = leg.terms.excess_init
        previous = terms_of(leg.position, leg.mark, leg.mark.price.previous_wad).excess_init
        worse = min(newest, previous)
        weakness += newest - (worse if leg.mark.backs_increase else min(worse, 0))
    return weakness


# ---- carrying it out


def carry_out(scene: Scene, venue: Venue) -> tuple[Scene, tuple[Step, ...]]:
    """Plans and acts as the hook does; returns what everyone holds afterwards and the steps taken.

    A sale or trade that is refused is tried at a half and at a quarter, and planned around, at most
    twice. Raises ValueError for a step that moves more than there is, which no plan may contain.
    """
    taken: list[Step] = []
    for _ in range(MAX_PLANS):
        plan = make_plan(scene)
        if plan.code != Code.READY:
            break
        refused = scene.refused
        for step in plan.steps:
            for part in _parts(scene, step):
                acted = _acted(scene, part, venue)
                if acted is not None:
                    scene = acted
                    taken.append(part)
                    break
            if acted is None or part.amount != step.amount:
                refused = refused | {_refusal(step)}
        if refused == scene.refused:
            break
        scene = replace(scene, refused=refused)
    return scene, tuple(taken)


def _refusal(step: Step) -> Refusal:
    """Cash and collateral of one sibling are refused together."""
    if step.kind in (Kind.MOVE_CASH, Kind.MOVE_COLLATERAL):
        return Kind.MOVE_CASH, step.source
    return step.kind, step.asset


def _parts(scene: Scene, step: Step) -> list[Step]:
    """The step, and for what trades its half and its quarter in whole lots."""
    parts = [step]
    if step.kind in (Kind.SELL, Kind.TRIM, Kind.HEDGE, Kind.UNWIND):
        unit = 1
        if step.kind != Kind.SELL:
            unit = max(scene.unit_wad[step.asset], SIZE_STEP_WAD)
        for halvings in range(1, MAX_HALVINGS + 1):
            amount = (step.amount >> halvings) // unit * unit
            if amount:
                parts.append(step._replace(amount=amount))
    return parts


def _acted(scene: Scene, step: Step, venue: Venue) -> Scene | None:
    """The scene after one step, None if it is refused."""
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
    elif step.kind == Kind.MOVE_COLLATERAL:
        change_wad = units * scene.unit_wad[step.asset]
        after[step.source] = after[step.source].with_collateral(step.asset, -change_wad)
        after[own] = after[own].with_collateral(step.asset, change_wad)
    elif step.kind == Kind.SETTLE:
        return _settled(scene, step.asset)
    elif step.kind == Kind.SELL:
        return _sold(scene, step.asset, units, venue)
    elif step.kind == Kind.UNWIND:
        bought = _traded(scene, step.asset, units)
        return bought and _sold(bought, step.asset, units // scene.unit_wad[step.asset], venue)
    else:
        is_buy = step.kind == Kind.TRIM and scene.own.position(step.asset).size_wad < 0
        return _traded(scene, step.asset, units if is_buy else -units)
    return replace(scene, accounts=after, wallet=wallet)


def _sold(scene: Scene, asset: int, units: int, venue: Venue) -> Scene | None:
    """Collateral for cash. Beside a short the ledger takes it for an increase of risk, for it may
    uncover it."""
    proceeds = venue(asset, units)
    if proceeds is None:
        return None
    own = scene.own.with_collateral(asset, -units * scene.unit_wad[asset])
    return replace(
        scene,
        accounts={**scene.accounts, scene.account: own.credited(proceeds, scene.loans)},
        is_tested=scene.is_tested or own.position(asset).size_wad < 0,
    )


def _traded(scene: Scene, asset: int, size_change: int) -> Scene | None:
    """A trade within the slippage, which counts from the newest price and includes the fee."""
    index, held = scene.marks[asset].price_wad, scene.own.position(asset)
    sign = 1 if size_change > 0 else -1
    limit = index + sign * (index * scene.slippage_bps // BPS)
    order = Order(scene.account, asset, size_change, limit if scene.slippage_bps < BPS else None)
    book = _book(scene)
    try:
        market, fill = book.markets[asset].filled(order, held, book.prices[asset], book.now)
    except Refused:
        return None
    book = replace(book, markets={**book.markets, asset: market})
    book, _ = book.traded(scene.account, asset, fill)
    mark = scene.marks[asset]
    new = replace(
        held,
        size_wad=held.size_wad + size_change,
        cost_wad=held.cost_wad + fill.cost_change,
        entry_wad=fill.entry_wad,
    )
    is_safer = is_no_riskier(
        terms_of(held, mark), terms_of(new, mark), [(held.delta_wad, new.delta_wad)]
    )
    return replace(_from_book(scene, book), is_tested=scene.is_tested or not is_safer)


def _settled(scene: Scene, asset: int) -> Scene | None:
    try:
        book, _ = _book(scene).settle(scene.account, asset)
    except Refused:
        return None
    return _from_book(scene, book)


_HOUSE = -1  # no account has this id


def _book(scene: Scene) -> Book:
    """The account and the house in one book."""
    return Book(
        house=_HOUSE,
        markets=scene.markets,
        prices=scene.marks,
        accounts={scene.account: scene.own, _HOUSE: scene.house},
        loans=scene.loans,
        lender=scene.lender,
        now=scene.now,
    )


def _from_book(scene: Scene, book: Book) -> Scene:
    return replace(
        scene,
        accounts={**scene.accounts, scene.account: book.account(scene.account)},
        house=book.account(_HOUSE),
        markets=book.markets,
        lender=book.lender,
    )
