"""What to do for an account or the oracle, as a function of what was read. Nothing here does I/O.

A :class:`Reading` is one account as of one block, :class:`Terms` is what the operator wants, and
:func:`decide` answers with a :class:`Decision` that has its reason and its figures. Values are WAD
of the quote token, gas prices wei per gas, times unix seconds of blocks; no clock of this machine
takes part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ballast.model.plan import Bounds, Code

WAD = 10**18
BPS = 10_000
# What a call takes where nothing better is known; only used to say whether it pays.
FLAG_GAS = 115_000
POKE_GAS = 110_000
REFRESH_GAS = 420_000
SAMPLING_S = 300  # the oracle's grid
REFRESH_AFTER_S = 480  # headroom is good for ten minutes
# How long an account that failed is left alone, doubling to the longest. What a simulation found
# cost nothing and may pass with the next block: a pool that has not followed the price yet, say.
QUARANTINE_S, LONGEST_QUARANTINE_S = 12, 600
LONGEST_EMERGENCY_S = 60
PAID_QUARANTINE_S, LONGEST_PAID_QUARANTINE_S = 60, 86_400
_DOUBLINGS = 16  # more would be beyond the longest anyway

# Nothing may be taken over at rates that are older than the newest round by a quarter of an hour.
RATES_TOO_OLD = "margin: price not usable"
TAKER_TOO_WEAK = "margin: below initial"

# Answers of `Keepers.rebalance_many`.
REBALANCED, NOT_TRIGGERED, FAILED, NO_GAS = range(4)

READINESS = {
    Code.READY: "ready",
    Code.NO_POLICY: "no policy",
    Code.ABOVE_TRIGGER: "above its trigger",
    Code.COOLING_DOWN: "cooling down",
    Code.BELOW_MINIMUM: "below its smallest step",
    Code.NO_MEANS: "no means left",
    Code.EXPIRED: "policy expired",
    Code.UNCONFIRMED: "trigger not confirmed yet",
    Code.GAS_TOO_DEAR: "gas too dear for its owner",
    Code.CALLED: "margin call runs",
}


class Action(StrEnum):
    """What is to be done. Only the first five send a transaction."""

    REBALANCE = "rebalance"
    LIQUIDATE = "liquidate"
    FLAG = "flag"
    POKE = "poke"
    REFRESH = "refresh"
    WAIT = "wait"
    QUARANTINE = "quarantine"

    @property
    def is_sent(self) -> bool:
        """Whether it takes a transaction."""
        return self not in (Action.WAIT, Action.QUARANTINE)


@dataclass(frozen=True)
class Terms:
    """What the operator wants. Money in WAD of the quote token."""

    min_profit_wad: int = 0  # least that is left of the pay once gas is paid
    is_altruistic: bool = False  # acts also where it does not pay for its gas
    liquidates: bool = True
    max_capital_wad: int = 0  # most that one liquidation may cost the taker in cash and debt
    exit_cost_bps: int = 35  # of what a slice is worth, to get out of it
    max_gas_price_wei: int = 500 * 10**9  # nothing is sent at more than this
    max_waste_wad: int = 50 * WAD  # gas spent for nothing in an hour, then it stops for a while


@dataclass(frozen=True)
class Costs:
    """What gas costs now."""

    gas_price_wei: int
    native_price_wad: int  # quote tokens per whole coin that gas is paid in

    def gas_wad(self, gas: int) -> int:
        """The price of so much gas in WAD of the quote token, up."""
        return -(-gas * self.gas_price_wei * self.native_price_wad // WAD)

    def cap_wei(self, value_wad: int, gas: int) -> int:
        """The gas price at which so much gas costs ``value_wad``, down."""
        if value_wad <= 0 or gas == 0 or self.native_price_wad == 0:
            return 0
        return value_wad * WAD // (gas * self.native_price_wad)


@dataclass(frozen=True)
class Health:
    """The four integers of an account, as `Lens.healths` answers them."""

    equity_init: int
    required_init: int
    equity_maint: int
    required_maint: int

    @property
    def is_below_maintenance(self) -> bool:
        """Whether it may be liquidated."""
        return self.equity_maint < self.required_maint

    @property
    def is_emergency(self) -> bool:
        """Whether its equity is below initial margin."""
        return self.equity_init < self.required_init

    @property
    def ratio_bps(self) -> int:
        """Equity over requirement at initial margin, down; a million times over without one."""
        if self.required_init == 0:
            return 10**10 if self.equity_init >= 0 else -(10**10)
        return self.equity_init * BPS // self.required_init


@dataclass(frozen=True)
class Preview:
    """What a simulation of the call showed, at the block's state."""

    code: int  # of `rebalance_many`; of a liquidation REBALANCED or FAILED
    gain_wad: int = 0  # pay, or what the taker's equity grows by
    gas: int = 0  # used, the fixed costs of a transaction included
    reason: str = ""  # why it failed


@dataclass(frozen=True)
class Slice:
    """What `Liquidator.preview` says, with the simulation of taking it."""

    value_wad: int  # gross, of what would be taken
    flow_wad: int  # what the taker pays
    promised_wad: int  # the discount, less what insurance gets of it
    taker_wad: int  # equity of the taker
    is_rescue_due: bool
    preview: Preview


@dataclass(frozen=True)
class Quarantine:
    """An account that is left alone for a while after it failed."""

    failures: int
    until_s: int
    reason: str
    version: int  # of the policy that failed; another one is a new start


@dataclass(frozen=True)
class Reading:
    """One account as of one block."""

    account: int
    time_s: int  # of that block
    health: Health
    has_hook: bool = False
    code: int | None = None  # readiness, for the default hook
    is_due: bool = False  # another hook says that there is something to do
    trigger_bps: int = 0  # 0: unknown or none
    shortfall_wad: int = 0
    version: int = 0
    preview: Preview | None = None  # of a rebalance, where one may be due
    part: Slice | None = None  # where it is below maintenance
    bounds: Bounds = field(default_factory=Bounds)  # what the owner pays
    last_at: int = 0  # of its last rebalance
    below_since: int = 0  # flagged so
    triggered_since: int = 0
    stale: tuple[int, ...] = ()  # assets that it holds and whose price is stale

    @property
    def distance_bps(self) -> int:
        """How far equity is above the trigger, in basis points of the requirement."""
        return self.health.ratio_bps - (self.trigger_bps or BPS)

    @property
    def urgency(self) -> tuple[int, int]:
        """What comes first is smaller: breaches, emergencies, the rest; then by distance."""
        if self.health.is_below_maintenance:
            return 0, self.distance_bps
        return (1 if self.health.is_emergency else 2), self.distance_bps


@dataclass(frozen=True)
class Decision:
    """What is to be done for one target, and why."""

    action: Action
    target: int  # an account, an asset to poke, or 0
    reason: str
    urgency: tuple[int, int] = (3, 0)
    gain_wad: int = 0
    cost_wad: int = 0
    gas: int = 0  # expected use
    cap_wei: int = 0  # most to be paid for gas
    version: int = 0
    failed: Action | None = None  # of a quarantine: what does not work
    needs_poke: bool = False  # of waiting: it would pay once margin rates are up to date

    @property
    def net_wad(self) -> int:
        """What is left once gas is paid."""
        return self.gain_wad - self.cost_wad


def quarantine_s(failures: int, *, is_paid: bool = False, is_emergency: bool = False) -> int:
    """How long an account is left alone after so many failures in a row, seconds; ``is_paid``: the
    last one was on chain and cost gas."""
    first = PAID_QUARANTINE_S if is_paid else QUARANTINE_S
    longest = LONGEST_PAID_QUARANTINE_S if is_paid else LONGEST_QUARANTINE_S
    if is_emergency and not is_paid:
        longest = LONGEST_EMERGENCY_S
    return min(first << min(max(failures - 1, 0), _DOUBLINGS), longest)


def decide(
    reading: Reading,
    terms: Terms,
    costs: Costs,
    quarantines: dict[Action, Quarantine] | None = None,
) -> Decision:
    """What to do for an account. The mildest that pays comes first: its own hook, then a slice,
    then a flag where that makes a later call pay or the operator works for nothing."""
    held = quarantines or {}
    reasons: list[str] = []
    failed: Decision | None = None
    waiting: Decision | None = None
    ways = [(Action.REBALANCE, _rebalance)]
    if reading.health.is_below_maintenance:
        ways.append((Action.LIQUIDATE, _liquidate))
    for action, judge in ways:
        quarantine = held.get(action)
        if quarantine is not None and _holds(quarantine, reading):
            reasons.append(f"in quarantine until {quarantine.until_s}: {quarantine.reason}")
            continue
        decision = judge(reading, terms, costs)
        if decision.action.is_sent:
            return decision
        if decision.action is Action.QUARANTINE:
            failed = failed or decision
        if decision.needs_poke:
            waiting = decision
        reasons.append(decision.reason)
    if waiting is not None:
        return waiting
    if failed is not None:
        return failed
    flag = _flag(reading, terms, costs)
    if flag is not None:
        return flag
    return _decision(reading, Action.WAIT, "; ".join(reasons))


def _holds(quarantine: Quarantine, reading: Reading) -> bool:
    return reading.time_s < quarantine.until_s and reading.version == quarantine.version


def _rebalance(reading: Reading, terms: Terms, costs: Costs) -> Decision:
    if not reading.has_hook:
        return _decision(reading, Action.WAIT, "no hook")
    is_ready = reading.is_due if reading.code is None else reading.code == Code.READY
    if not is_ready:
        reason = "nothing to do" if reading.code is None else READINESS[Code(reading.code)]
        if reading.code == Code.NO_MEANS and reading.stale:
            reason += f", {_stale(reading)}"
        return _decision(reading, Action.WAIT, reason)
    return _judge(reading, Action.REBALANCE, reading.preview, terms, costs)


def _liquidate(reading: Reading, terms: Terms, costs: Costs) -> Decision:
    if not terms.liquidates:
        return _decision(reading, Action.WAIT, "below maintenance, but not to be liquidated here")
    part = reading.part
    if part is None:
        return _decision(reading, Action.WAIT, "no preview of a liquidation")
    if part.taker_wad <= 0:
        return _decision(reading, Action.WAIT, "nothing to take a slice with")
    if part.preview.reason == TAKER_TOO_WEAK:
        return _decision(reading, Action.WAIT, "a slice is more than the taker's margin bears")
    if not part.is_rescue_due and part.flow_wad > terms.max_capital_wad:
        text = (
            f"a slice costs {_money(part.flow_wad)}, the limit is {_money(terms.max_capital_wad)}"
        )
        return _decision(reading, Action.WAIT, text)
    exit_wad = 0 if part.is_rescue_due else part.value_wad * terms.exit_cost_bps // BPS
    if part.preview.reason == RATES_TOO_OLD and not reading.stale:
        cost = costs.gas_wad(part.preview.gas + POKE_GAS)
        return replace(
            _decision(reading, Action.WAIT, "margin rates are too old to take it"),
            gain_wad=part.promised_wad - exit_wad,
            cost_wad=cost,
            needs_poke=terms.is_altruistic
            or part.promised_wad - exit_wad - cost >= terms.min_profit_wad,
        )
    return _judge(reading, Action.LIQUIDATE, part.preview, terms, costs, exit_wad)


def _judge(
    reading: Reading,
    action: Action,
    preview: Preview | None,
    terms: Terms,
    costs: Costs,
    exit_wad: int = 0,
) -> Decision:
    """Whether a call that would stand pays; whoever works for nothing still gives no capital."""
    if preview is None:
        return _decision(reading, Action.WAIT, "not simulated")
    if preview.code == NOT_TRIGGERED:
        return _decision(reading, Action.WAIT, "not triggered in the next block")
    if preview.code == NO_GAS:
        return _decision(reading, Action.WAIT, "does not fit into a block")
    if preview.code == FAILED:
        if reading.stale:
            return _decision(reading, Action.WAIT, _stale(reading))
        decision = _decision(reading, Action.QUARANTINE, preview.reason or "it reverts")
        return replace(decision, failed=action)
    cost = costs.gas_wad(preview.gas)
    gain = preview.gain_wad - exit_wad
    pays = gain - cost >= terms.min_profit_wad
    cap = terms.max_gas_price_wei
    if not terms.is_altruistic:
        cap = min(cap, costs.cap_wei(gain - terms.min_profit_wad, preview.gas))
    text = f"pay {_money(gain)}, gas {_money(cost)}"
    if costs.gas_price_wei > terms.max_gas_price_wei:
        action, text = Action.WAIT, f"gas price above the limit: {text}"
    elif gain < 0 or not (pays or terms.is_altruistic):
        action, text = Action.WAIT, f"does not pay: {text}"
    return Decision(
        action,
        reading.account,
        text,
        reading.urgency,
        gain,
        cost,
        preview.gas,
        cap,
        reading.version,
    )


def _flag(reading: Reading, terms: Terms, costs: Costs) -> Decision | None:
    """A flag confirms a trigger, makes pay and discount grow, and is good for ten minutes."""
    below = reading.health.is_below_maintenance
    is_wanted = below and not reading.below_since
    is_ready = reading.code in (Code.READY, Code.UNCONFIRMED)
    is_wanted |= is_ready and reading.triggered_since <= reading.last_at and reading.has_hook
    if not is_wanted:
        return None
    cost = costs.gas_wad(FLAG_GAS)
    gas = reading.preview.gas if reading.preview is not None else 0
    later = costs.gas_wad(gas)
    pay = 0
    if is_ready and gas:
        closed = reading.shortfall_wad
        pay = reading.bounds.pay_wad(later, closed, _LONG_S) if reading.bounds.gap_per_pay else 0
    if pay - later - cost >= terms.min_profit_wad and pay > 0:
        text = f"a flag costs {_money(cost)} and makes pay grow to {_money(pay)}"
        cap = costs.cap_wei(pay - terms.min_profit_wad - later, FLAG_GAS)
    elif terms.is_altruistic and (below or reading.code == Code.UNCONFIRMED):
        text, cap = "below maintenance" if below else "to confirm its trigger", 2**63
    else:
        return None
    cap = min(cap, terms.max_gas_price_wei)
    if costs.gas_price_wei > cap:
        return None
    return Decision(
        Action.FLAG,
        reading.account,
        text,
        reading.urgency,
        0,
        cost,
        FLAG_GAS,
        cap,
        reading.version,
    )


_LONG_S = 3_600  # longer than pay grows


@dataclass(frozen=True)
class Mark:
    """What the oracle says of an asset, as of one block."""

    asset: int
    made_at: int  # of the newest round
    poked_at: int
    is_stale: bool


def upkeep(
    time_s: int,
    marks: Iterable[Mark],
    refreshed_at: Sequence[int],
    terms: Terms,
    costs: Costs,
    *,
    is_needed: bool = False,
) -> list[Decision]:
    """Pokes and the refresh of headroom, which pay nobody: done by those who work for nothing, and
    pokes by anyone whose liquidation waits for them (``is_needed``).

    A poke is due after a new round, in the first block of a new interval of the oracle's grid or at
    once where it is needed.
    """
    is_wanted = terms.is_altruistic or is_needed
    if not is_wanted or costs.gas_price_wei > terms.max_gas_price_wei:
        return []
    decisions = []
    for mark in marks:
        is_new = is_needed or time_s // SAMPLING_S > mark.poked_at // SAMPLING_S
        if mark.made_at > mark.poked_at and is_new and not mark.is_stale:
            text = "a new round, not taken into the margin rates"
            cost = costs.gas_wad(POKE_GAS)
            decisions.append(
                Decision(Action.POKE, mark.asset, text, (0, -1), 0, cost, POKE_GAS, _cap(terms))
            )
    if terms.is_altruistic and refreshed_at and time_s - min(refreshed_at) >= REFRESH_AFTER_S:
        cost = costs.gas_wad(REFRESH_GAS)
        text = "headroom is getting old"
        decisions.append(
            Decision(Action.REFRESH, 0, text, (3, 0), 0, cost, REFRESH_GAS, _cap(terms))
        )
    return decisions


def _cap(terms: Terms) -> int:
    return terms.max_gas_price_wei


def ranked(decisions: Iterable[Decision]) -> list[Decision]:
    """Those that send something, the most urgent first."""
    return sorted((d for d in decisions if d.action.is_sent), key=lambda d: (d.urgency, d.target))


def _decision(reading: Reading, action: Action, reason: str) -> Decision:
    return Decision(action, reading.account, reason, reading.urgency, version=reading.version)


def _stale(reading: Reading) -> str:
    return f"price of asset {', '.join(map(str, reading.stale))} is stale"


def _money(value_wad: int) -> str:
    """Quote tokens to the hundredth, for people."""
    return f"{value_wad / WAD:,.4f}"
