"""Policies side by side on one market, in the exact model: no chain, so many accounts and months.

    moments = list(market(series))
    outcomes = simulate(moments, series, plans, OURS)

Every account with a policy plans and acts by the exact model of the default hook, is judged by the
exact model of the mandate, and is liquidated by the exact model of the liquidator. Which accounts
need a look is found with the vectorised model. Swaps meet a pool of the replay's depth and fee, at
the oracle's price.

What the model leaves out: interest on loans, budgets of losses, the contracts' gas, perpetuals, and
what one account's sale does to the next one's price before the arbitrageur came.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ballast.chain import BLOCK_INTERVAL_S
from ballast.deploy import load_parameters
from ballast.efficiency.market import Marks, Moment, asset_ids, seen
from ballast.model.ledger import Account, Loans
from ballast.model.liquidation import LiquidationTerms, slice_of
from ballast.model.mandate import judgement, least_proceeds_up, loss_wad
from ballast.model.margin import BPS, WAD, Position
from ballast.model.plan import (
    UNLIMITED,
    Code,
    Kind,
    Policy,
    Sale,
    Scene,
    Wallet,
    carry_out,
    make_plan,
)
from ballast.model.vectorised import Book, Figures
from ballast.prices import ANSWER_SCALE, PriceSeries
from ballast.replay import cohorts
from ballast.replay.cohorts import Plan
from ballast.replay.world import DECIMALS, QUOTE_DECIMALS
from ballast.venue import DEPTH, FEE_PPM

LOANS = Loans(WAD, 10 ** (18 - QUOTE_DECIMALS))
_OWN, _SIBLING = 0, 1
_NEAR = 1.001  # candidates of the vectorised model, before the exact one decides


@dataclass(frozen=True)
class Rule:
    """A policy to compare. Multiples are of initial margin, in basis points.

    What the default hook does not do: with a ceiling the account borrows and buys back to the
    target when it is above it; ``is_on_health`` takes maintenance margin for the measure, as
    automation for lending markets does, so that volatility counts only as it reaches maintenance.
    ``uses_reserve``: wallet and sibling help.
    """

    name: str
    trigger_bps: int
    target_bps: int
    cooldown_s: int = cohorts.COOLDOWN_S
    min_step_wad: int = cohorts._MIN_STEP
    uses_reserve: bool = False
    ceiling_bps: int = 0
    is_on_health: bool = False


OURS = Rule("ours", cohorts.TRIGGER_BPS, cohorts.TARGET_BPS)
OURS_WITH_RESERVE = replace(OURS, name="ours, with its reserve", uses_reserve=True)
REPAY_ONLY = Rule("repay only, 1.10 to 1.25", 11_000, 12_500)
ON_HEALTH = replace(
    REPAY_ONLY, name="the same on maintenance margin", cooldown_s=0, is_on_health=True
)
NARROW = Rule("narrow band, 1.24 to 1.26", 12_400, 12_600)
NARROW_BOTH_WAYS = replace(
    NARROW, name="the same, both ways", target_bps=12_500, ceiling_bps=12_600
)
RULES: tuple[Rule | None, ...] = (
    None,
    REPAY_ONLY,
    ON_HEALTH,
    NARROW,
    NARROW_BOTH_WAYS,
    OURS,
    OURS_WITH_RESERVE,
)


@dataclass(frozen=True)
class Act:
    """One rebalance: when, what it lost, and the signed value bought (sold: negative), WAD."""

    time_s: int
    loss_wad: int
    bought_wad: int


@dataclass
class Outcome:
    """What became of one account under one rule. Amounts in WAD, the reserve included."""

    plan: Plan
    start_wad: int = 0
    end_wad: int = 0
    acts: list[Act] = field(default_factory=list)
    slices_wad: list[int] = field(default_factory=list)  # what each liquidation cost
    refused: list[str] = field(default_factory=list)

    @property
    def cost_bps(self) -> float:
        """Rebalances and liquidations together, basis points of the start."""
        lost = sum(act.loss_wad for act in self.acts) + sum(self.slices_wad)
        return BPS * lost / self.start_wad

    @property
    def turnover(self) -> float:
        """Value traded by rebalances over the equity at the start."""
        return sum(abs(act.bought_wad) for act in self.acts) / self.start_wad

    def opposite(self, within_s: int = 86_400) -> int:
        """Acts that follow one of the other direction within so many seconds."""
        return sum(
            any(
                0 < act.time_s - earlier.time_s <= within_s
                and act.bought_wad * earlier.bought_wad < 0
                for earlier in self.acts
            )
            for act in self.acts
        )


class Pools:
    """The replay's full-range pools, always brought back to the oracle's price."""

    def __init__(self, opening: Mapping[int, float]) -> None:
        self._liquidity = {a: DEPTH / math.sqrt(price) for a, price in opening.items()}

    def sold(self, asset: int, amount: float, price: float) -> float:
        """Quote tokens for whole tokens of an asset."""
        depth, paid_in = self._liquidity[asset], amount * (1 - FEE_PPM / 10**6)
        return depth * math.sqrt(price) * paid_in / (depth / math.sqrt(price) + paid_in)

    def bought(self, asset: int, value: float, price: float) -> float:
        """Whole tokens of an asset for quote tokens."""
        depth, paid_in = self._liquidity[asset], value * (1 - FEE_PPM / 10**6)
        return depth / math.sqrt(price) * paid_in / (depth * math.sqrt(price) + paid_in)


@dataclass
class _Subject:
    outcome: Outcome
    account: Account
    sibling: Account
    wallet: Wallet
    last_at: int = 0
    wakes_at: int | None = None

    def worth(self, marks: Marks) -> int:
        """Equity at maintenance margin with the reserve, WAD."""
        held = sum(a.assess(marks, LOANS).equity_maint for a in (self.account, self.sibling))
        return held + self.wallet.balance * LOANS.unit_wad


class Simulation:
    """One rule on one market. `run` plays it and returns an outcome for every plan."""

    def __init__(
        self,
        moments: Sequence[Moment],
        series: PriceSeries,
        plans: Sequence[Plan],
        rule: Rule | None,
        opens_at_s: int,
        late_s: int = BLOCK_INTERVAL_S,
    ) -> None:
        self._moments = [m for m in moments if m.time_s > opens_at_s]
        at_opening = [m for m in moments if m.time_s <= opens_at_s][-1].ending
        self._rule, self._late_s = rule, late_s
        parameters = load_parameters()
        self._ids = asset_ids(series)
        self._names = {number: name for name, number in self._ids.items()}
        self._unit_wad = {i: 10 ** (18 - DECIMALS[name]) for name, i in self._ids.items()}
        self._swap_limit_bps = {
            i: int(parameters["assets"][name]["swap_limit_bps"]) for name, i in self._ids.items()
        }
        section = parameters["liquidation"]
        self._terms = LiquidationTerms(0, 0, section["target_bps"], section["ramp_s"])
        opening = {self._ids[a]: answer / ANSWER_SCALE for a, answer in series.opening().items()}
        self._pools = Pools(opening)
        self._now, self._marks = opens_at_s, at_opening
        self._subjects = [self._open(plan) for plan in plans]
        self._book: Book | None = None
        self._ready: dict[int, tuple[int, _Subject]] = {}  # since when it has been due
        self._below: list[_Subject] = []

    def run(self) -> list[Outcome]:
        """Every block, and in the end what is left."""
        self._look()
        for moment in self._blocks():
            self._now = moment.time_s
            self._act(self._is_time(), moment.acting)
            self._liquidate(self._below, moment.acting)
            self._marks = moment.ending
            self._look()
        for subject in self._subjects:
            subject.outcome.end_wad = subject.worth(self._marks)
        return [subject.outcome for subject in self._subjects]

    def largest_shortfalls(self) -> list[float]:
        """What each account lacks most at maintenance margin if nobody ever acts, quote tokens."""
        needed = np.zeros(len(self._subjects))
        for moment in self._moments:
            for self._marks in (moment.acting, moment.ending):
                needed = np.maximum(needed, -self._figures().excess_maint)
        return [float(value) for value in needed]

    def _look(self) -> None:
        """As of the end of the newest block; one without delay acts in it."""
        due = self._due()
        if due and self._late_s == 0:
            self._act(due, self._marks)
            due = self._due()
        self._ready = {id(s): (self._ready.get(id(s), (self._now, s))[0], s) for s in due}
        self._below = self._doomed()

    def _is_time(self) -> list[_Subject]:
        """Who has been due for as long as the keeper is late."""
        return [s for since_s, s in self._ready.values() if self._now >= since_s + self._late_s]

    def _blocks(self) -> Iterator[Moment]:
        """The moments, and between them blocks for what is to be sent or ends a cooldown."""
        for moment in self._moments:
            while (next_s := self._next_s()) < moment.time_s:
                yield Moment(int(next_s), self._marks, self._marks)
            yield moment

    def _next_s(self) -> float:
        """When the next quiet block is one that matters; never, if there is nothing to do."""
        waits = [float(s.wakes_at) for s in self._subjects if s.wakes_at is not None]
        waits += [since_s + self._late_s for since_s, _ in self._ready.values()]
        waits += [self._now] * len(self._below)
        if not waits:
            return math.inf
        blocks = math.ceil((min(waits) - self._now) / BLOCK_INTERVAL_S)
        return self._now + BLOCK_INTERVAL_S * max(1, blocks)

    # ---- opening

    def _open(self, plan: Plan) -> _Subject:
        """As `ballast.replay.cohorts` opens it, at the marks of the opening."""
        holdings = {
            self._ids[asset]: Position(self._worth(asset, plan.equity * plan.leverage * share))
            for asset, share in plan.mix.items()
            if share
        }
        unit = 10**QUOTE_DECIMALS
        account = Account(0, LOANS.minted_up(plan.loan * unit), holdings)
        sibling, wallet = Account(), Wallet()
        if plan.reserve_kind == "collateral":
            held = Position(self._worth(plan.asset, plan.reserve))
            sibling = Account(0, 0, {self._ids[plan.asset]: held})
        elif plan.reserve_kind == "cash":
            sibling = Account(plan.reserve * WAD)
        elif plan.reserve_kind == "wallet":
            wallet = Wallet(plan.reserve * WAD, plan.reserve * unit, UNLIMITED)
        subject = _Subject(Outcome(plan), account, sibling, wallet)
        subject.outcome.start_wad = subject.worth(self._marks)
        return subject

    def _worth(self, asset: str, value: float) -> int:
        """WAD of the asset worth whole quote tokens, in whole token units, down."""
        i = self._ids[asset]
        unit, price_wad = self._unit_wad[i], self._marks[i].price_wad
        return int(value * WAD) * WAD // price_wad // unit * unit

    # ---- looking

    def _figures(self) -> Figures:
        """The four figures of all accounts."""
        if self._book is None:
            order = list(self._marks)
            held = [
                [s.account.position(i).collateral_wad / WAD for i in order] for s in self._subjects
            ]
            cash = [s.account.net_wad(LOANS) / WAD for s in self._subjects]
            quotas = [self._marks[i].quota_wad / WAD for i in order]
            self._book = Book.of(np.array(cash), np.array(held), np.array(quotas))
        return self._book.assess(*seen(self._marks))

    def _due(self) -> list[_Subject]:
        """Whose rebalance would be sent now; who is held back by a cooldown waits for its end."""
        rule = self._rule
        for subject in self._subjects:
            subject.wakes_at = None
        if rule is None:
            return []
        figures = self._figures()
        if rule.is_on_health:
            return self._due_on_health(figures, rule)
        equity, required = figures.equity_init, figures.required_init
        is_low = equity < _NEAR * rule.trigger_bps / BPS * required
        is_high = equity > (rule.ceiling_bps / BPS or math.inf) * np.maximum(required, 1)
        due = []
        for row in np.flatnonzero(is_low | is_high):
            subject = self._subjects[row]
            waits_until = subject.last_at + 1 + rule.cooldown_s
            if is_low[row]:
                code = make_plan(self._scene(subject, self._marks)).code
                if code == Code.COOLING_DOWN:
                    subject.wakes_at = waits_until
                if code == Code.READY:
                    due.append(subject)
            elif self._now < waits_until:
                subject.wakes_at = waits_until
            elif self._buyable_wad(subject, self._marks) >= rule.min_step_wad:
                due.append(subject)
        return due

    def _due_on_health(self, figures: Figures, rule: Rule) -> list[_Subject]:
        trigger = rule.trigger_bps / BPS * figures.required_maint
        low = [self._subjects[row] for row in np.flatnonzero(figures.equity_maint < trigger)]
        for subject in low:
            waits_until = subject.last_at + 1 + rule.cooldown_s
            if self._now < waits_until:
                subject.wakes_at = waits_until
        return [subject for subject in low if subject.wakes_at is None]

    def _doomed(self) -> list[_Subject]:
        """Who is below maintenance margin."""
        excess = self._figures().excess_maint
        return [
            subject
            for row in np.flatnonzero(excess < 1)
            if (subject := self._subjects[row]).account.assess(self._marks, LOANS).excess_maint < 0
        ]

    # ---- acting

    def _scene(self, subject: _Subject, marks: Marks) -> Scene:
        rule = self._rule
        assert rule is not None
        kind = subject.outcome.plan.reserve_kind if rule.uses_reserve else "none"
        donors = (_SIBLING,) if kind in ("cash", "collateral") else ()
        sales = tuple(Sale(i, cohorts.SALE_COST_BPS) for i in subject.account.positions)
        policy = Policy(
            rule.trigger_bps,
            rule.cooldown_s,
            rule.min_step_wad,
            uses_wallet=kind == "wallet",
            donors=donors,
            sales=sales,
            last_at=subject.last_at,
        )
        return Scene(
            account=_OWN,
            accounts={_OWN: subject.account, _SIBLING: subject.sibling},
            marks=marks,
            unit_wad=self._unit_wad,
            loans=LOANS,
            policy=policy,
            target_bps=rule.target_bps,
            floors={_SIBLING: cohorts.TARGET_BPS},
            wallet=subject.wallet,
            now=self._now,
            slippage_bps=cohorts.SLIPPAGE_BPS,
        )

    def _act(self, due: Iterable[_Subject], marks: Marks) -> None:
        for subject in due:
            terms = subject.account.assess(marks, LOANS)
            rule = self._rule
            assert rule is not None
            if rule.is_on_health:
                self._sell(subject, marks, rule)
            elif (
                rule.ceiling_bps
                and terms.equity_init * BPS > rule.ceiling_bps * terms.required_init
            ):
                self._buy(subject, marks)
            else:
                self._rebalance(subject, marks)
            self._book = None

    def _rebalance(self, subject: _Subject, marks: Marks) -> None:
        before = self._scene(subject, marks)
        after, taken = carry_out(before, lambda asset, units: self._proceeds(marks, asset, units))
        if not taken:
            return
        band_bps = cohorts.BAND_BPS
        reason = judgement(before, after, taken, band_bps=band_bps, budget_wad=UNLIMITED)
        if reason:
            subject.outcome.refused.append(reason)
            return
        subject.account, subject.sibling = after.accounts[_OWN], after.accounts[_SIBLING]
        subject.wallet, subject.last_at = after.wallet, self._now
        sold = sum(step.value for step in taken if step.kind == Kind.SELL)
        loss = loss_wad(before, after, taken)
        subject.outcome.acts.append(Act(self._now, max(0, loss), -sold))

    def _proceeds(self, marks: Marks, asset: int, units: int) -> int | None:
        """Quote units for units of an asset; none if that is below what a swap must bring."""
        mark, amount_wad = marks[asset], units * self._unit_wad[asset]
        paid = self._pools.sold(asset, amount_wad / WAD, mark.price_wad / WAD)
        proceeds = int(paid * 10**QUOTE_DECIMALS)
        limits = self._swap_limit_bps[asset], cohorts.SLIPPAGE_BPS
        least = least_proceeds_up(mark, amount_wad, LOANS.unit_wad, *limits)
        return proceeds if proceeds >= least else None

    def _sell(self, subject: _Subject, marks: Marks, rule: Rule) -> None:
        """Sells of every asset in proportion until equity is the target multiple of maintenance."""
        terms, legs = subject.account.assess(marks, LOANS), subject.account.legs(marks)
        values = [leg.position.collateral_wad * leg.mark.price_wad // WAD for leg in legs]
        target, cost = rule.target_bps / BPS, cohorts.SALE_COST_BPS / BPS
        cure = target * terms.required_maint / max(1, sum(values)) - cost
        short = target * terms.required_maint - terms.equity_maint
        if cure <= 0 or short < rule.min_step_wad:
            return
        part, before, sold = min(1.0, short / cure / sum(values)), subject.worth(marks), 0
        for leg, value in zip(legs, values, strict=True):
            units = int(leg.position.collateral_wad * part) // self._unit_wad[leg.asset]
            proceeds = self._proceeds(marks, leg.asset, units)
            if proceeds is not None:
                change = -units * self._unit_wad[leg.asset]
                account = subject.account.with_collateral(leg.asset, change)
                subject.account = account.credited(proceeds, LOANS)
                sold += int(value * part)
        if sold:
            subject.last_at = self._now
            loss = before - subject.worth(marks)
            subject.outcome.acts.append(Act(self._now, max(0, loss), -sold))

    def _buyable_wad(self, subject: _Subject, marks: Marks) -> int:
        """Value that may be bought with a loan until equity is the target, at the expected cost."""
        assert self._rule is not None
        terms, value, target = subject.account.assess(marks, LOANS), 0, self._rule.target_bps
        for leg in subject.account.legs(marks):
            value += leg.position.collateral_wad * leg.mark.price_wad // WAD
        if value == 0:
            return 0
        rate = terms.required_init / value
        cost = cohorts.SALE_COST_BPS / BPS
        room = terms.equity_init - terms.required_init * target / BPS
        return int(room / (rate * target / BPS + cost))

    def _buy(self, subject: _Subject, marks: Marks) -> None:
        """Borrows and buys every asset in proportion to what is held of it."""
        value = self._buyable_wad(subject, marks)
        legs = subject.account.legs(marks)
        worth = [leg.position.collateral_wad * leg.mark.price_wad // WAD for leg in legs]
        before = subject.worth(marks)
        for leg, part in zip(legs, worth, strict=True):
            units = value * part // sum(worth) // LOANS.unit_wad
            price, unit_wad = leg.mark.price_wad / WAD, self._unit_wad[leg.asset]
            amount = self._pools.bought(leg.asset, units / 10**QUOTE_DECIMALS, price)
            got = int(amount * WAD) // unit_wad * unit_wad
            account = subject.account.debited(units, LOANS)
            subject.account = account.with_collateral(leg.asset, got)
        subject.last_at = self._now
        loss = before - subject.worth(marks)
        subject.outcome.acts.append(Act(self._now, max(0, loss), value))

    def _liquidate(self, doomed: Sequence[_Subject], marks: Marks) -> None:
        """In the block after, by somebody who has the cash."""
        for subject in doomed:
            terms = subject.account.assess(marks, LOANS)
            if terms.excess_maint >= 0:
                continue
            legs = subject.account.legs(marks)
            part = slice_of(terms, legs, 0, self._terms, 0, self._unit_wad)
            account = subject.account
            for taken in part.taken:
                account = account.with_position(taken.leg.asset, taken.rest)
            subject.account = account.with_cash_moved(part.flow_wad + part.deficit_wad, LOANS)
            subject.outcome.slices_wad.append(max(0, min(part.bonus_wad, terms.equity_maint)))
            self._book = None


def simulate(
    moments: Sequence[Moment],
    series: PriceSeries,
    plans: Sequence[Plan],
    rule: Rule | None,
    opens_at_s: int,
    late_s: int = BLOCK_INTERVAL_S,
) -> list[Outcome]:
    """What becomes of every plan under a rule; under none it is only liquidated.

    A rebalance is sent ``late_s`` after it became due, in the next block by default and in the same
    one with 0. Whoever is below maintenance margin is liquidated in the next block.
    """
    return Simulation(moments, series, plans, rule, opens_at_s, late_s).run()


def extra_equity(
    moments: Sequence[Moment], series: PriceSeries, plans: Sequence[Plan], opens_at_s: int
) -> list[float]:
    """The least extra equity, over the account's own, with which nobody could have liquidated it.

    It is held in the account as a smaller loan; nothing else is done. Exact up to the vectorised
    model's rounding: the largest shortfall at maintenance margin over the whole path.
    """
    short = Simulation(moments, series, plans, None, opens_at_s).largest_shortfalls()
    return [needed / plan.equity for needed, plan in zip(short, plans, strict=True)]
