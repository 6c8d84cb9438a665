"""From markets to figures: replays on the real contracts, and the exact model beside them.

    figures = measure([SYNTHETIC], Settings(accounts=4))

Every replay and every model run is a job of its own, so two cores do two of them at a time.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from statistics import mean
from typing import Any, Literal

from ballast.artifacts import ROOT
from ballast.chain import BLOCK_INTERVAL_S
from ballast.efficiency.market import Moment, market
from ballast.efficiency.paths import Market
from ballast.efficiency.simulation import (
    ON_HEALTH,
    OURS,
    OURS_WITH_RESERVE,
    REPAY_ONLY,
    RULES,
    Outcome,
    Rule,
    extra_equity,
    simulate,
)
from ballast.prices import PriceSeries, iso
from ballast.replay import replay
from ballast.replay.cohorts import Plan, plan_accounts
from ballast.replay.world import DECIMALS
from ballast.report.efficiency import GAS_GWEI, efficiency
from ballast.report.recording import Recording

DELAYS: tuple[Literal[0, 1], ...] = (0, 1)  # blocks
LATE_RULES = (REPAY_ONLY, ON_HEALTH, OURS)
LATE_S = (0, BLOCK_INTERVAL_S, 60, 300, 900, 3_600)

Progress = Callable[[int, int, str], None]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How much is played: accounts of a cohort on the contracts and in the model, and the gas price
    at which gas is told."""

    accounts: int = 12
    model_accounts: int = 30
    gas_gwei: float = GAS_GWEI


def processes(workers: int | None = None) -> ProcessPoolExecutor:
    """A pool whose processes find this package.

    They search where this process does, and Ape takes the checkout off the path while it runs a
    script.
    """
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def measure(
    markets: Sequence[Market],
    settings: Settings = Settings(),
    workers: int = 2,
    on_progress: Progress | None = None,
) -> Figures:
    """All figures of all markets, as plain data.

    ``settings``, and under ``markets`` for each key ``title``, ``source``, ``from``, ``to``,
    ``replay`` (by delay in blocks, what :func:`ballast.report.efficiency.efficiency` says; empty
    for a market that is only modelled) and ``model`` (see :func:`model_figures`). Raises what the
    replay and the price sources raise.
    """
    tell = on_progress or (lambda done, total, name: None)
    played = [m for m in markets if m.is_played]
    # The longest first, so that no core waits for the last one.
    with processes(workers) as pool:
        replays: dict[tuple[str, int], Future[Figures]] = {
            (m.key, delay): pool.submit(replay_figures, m, settings, delay)
            for m in reversed(played)
            for delay in DELAYS
        }
        models = {m.key: pool.submit(model_figures, m, settings) for m in markets}
        jobs = {f"{key}, delay {delay}": job for (key, delay), job in replays.items()}
        jobs |= {f"{key}, model": job for key, job in models.items()}
        for done, (name, job) in enumerate(jobs.items(), start=1):
            job.result()
            tell(done, len(jobs), name)
    return {
        "settings": {
            "accounts": settings.accounts,
            "model_accounts": settings.model_accounts,
            "gas_gwei": settings.gas_gwei,
        },
        "markets": {
            m.key: {
                **_head(m),
                "replay": {
                    str(delay): replays[m.key, delay].result() for delay in DELAYS if m.is_played
                },
                "model": models[m.key].result(),
            }
            for m in markets
        },
    }


def _head(m: Market) -> Figures:
    series = m.load()
    return {
        "title": m.title,
        "source": series.source,
        "from": iso(m.opens_at_s),
        "to": iso(series.end_s),
    }


def replay_figures(m: Market, settings: Settings, delay_blocks: Literal[0, 1]) -> Figures:
    """One market on the real contracts, by group of accounts.

    ``spot`` is what the model must come to, and what rebalancing cost of the collateral at the
    start; ``refused`` is what the contracts refused of what was due, by reason.
    """
    recording = replay(
        m.load(),
        accounts=settings.accounts,
        opens_at_s=m.opens_at_s,
        delay_blocks=delay_blocks,
        is_thorough=True,
    )
    groups = efficiency(recording, settings.gas_gwei)
    return {"groups": groups, "spot": _spot(recording), "refused": recording.refused}


def _spot(recording: Recording) -> Figures:
    hooked, bare = (recording.members(cohort) for cohort in ("hooked", "bare"))
    done = [r for r in recording.rebalances if r.account in hooked]
    slices = [x for x in recording.liquidations if x.account in bare]
    starts = {i: recording.accounts[i] for i in hooked}
    costs = {i: sum(r.cost for r in done if r.account == i) for i in hooked}
    collateral = {i: (a.equity - a.reserve) * a.leverage for i, a in starts.items()}
    return {
        "collateral_percent": round(mean(100 * costs[i] / collateral[i] for i in hooked), 4),
        "rebalances": len(done),
        "cost_bps": round(mean(recording.cost_bps(i) for i in hooked), 2),
        "slices": len(slices),
        "bare_cost_bps": round(mean(recording.liquidation_cost_bps(i) for i in bare), 2),
    }


def model_figures(m: Market, settings: Settings) -> Figures:
    """One market in the exact model, accounts with collateral and a loan only.

    ``twins`` repeats the replay's own accounts, by delay in blocks. ``policies`` has each rule on
    the same accounts, ``late`` some of them by how many seconds late the keeper is. ``extra`` is
    the least extra equity, by account, with which nobody could have liquidated one without a
    policy: its leverage, and the extra as a part of its own equity.
    """
    series, opens_at_s = m.load(), m.opens_at_s
    seen = {delay: list(market(series, delay)) for delay in DELAYS}
    twins, plans = (_spot_plans(n, series) for n in (settings.accounts, settings.model_accounts))

    def play(plans: Sequence[Plan], rule: Rule | None, late_s: int) -> list[Outcome]:
        moments: list[Moment] = seen[0 if late_s == 0 else 1]
        return simulate(moments, series, plans, rule, opens_at_s, late_s)

    needed = extra_equity(seen[1], series, plans, opens_at_s)
    return {
        "accounts": len(plans),
        "days": round((series.end_s - opens_at_s) / 86_400, 2),
        "twins": {
            str(delay): _twins(
                play(twins, OURS_WITH_RESERVE, delay * BLOCK_INTERVAL_S),
                play(twins, None, BLOCK_INTERVAL_S),
            )
            for delay in DELAYS
        },
        "policies": {
            rule.name if rule else "none": _policy(play(plans, rule, BLOCK_INTERVAL_S))
            for rule in RULES
        },
        "late": {
            rule.name: {str(late_s): _policy(play(plans, rule, late_s)) for late_s in LATE_S}
            for rule in LATE_RULES
        },
        "extra": [
            [plan.leverage, round(extra, 4)] for plan, extra in zip(plans, needed, strict=True)
        ],
    }


def _spot_plans(count: int, series: PriceSeries) -> list[Plan]:
    """The replay's accounts with collateral and a loan, in its order of assets."""
    assets = [asset for asset in DECIMALS if asset in series.assets]
    return [plan for plan in plan_accounts(count, assets) if plan.kind == "spot"]


def _twins(hooked: Sequence[Outcome], bare: Sequence[Outcome]) -> Figures:
    return {
        "rebalances": sum(len(o.acts) for o in hooked),
        "cost_bps": round(mean(o.cost_bps for o in hooked), 2),
        "slices": sum(len(o.slices_wad) for o in bare),
        "bare_cost_bps": round(mean(o.cost_bps for o in bare), 2),
    }


def _policy(outcomes: Sequence[Outcome]) -> Figures:
    """Over the accounts: how many were liquidated, and means and counts of what it took."""
    return {
        "liquidated": sum(bool(o.slices_wad) for o in outcomes),
        "cost_bps": round(mean(o.cost_bps for o in outcomes), 1),
        "rebalances": sum(len(o.acts) for o in outcomes),
        "turnover": round(mean(o.turnover for o in outcomes), 2),
        "opposite": sum(o.opposite() for o in outcomes),
        "kept": round(mean(o.end_wad / o.start_wad for o in outcomes), 4),
        "refused": sum(len(o.refused) for o in outcomes),
    }
