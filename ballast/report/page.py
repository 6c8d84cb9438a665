"""The report page: one HTML file that needs nothing but itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from ballast.prices import ANSWER_SCALE
from ballast.report import charts
from ballast.report.efficiency import GAS_GWEI, efficiency
from ballast.report.recording import WAD, Cohort, Kind, Rebalance, Recording
from ballast.report.summary import summarise

_HERE = Path(__file__).parent
_CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}
_LOWEST_SHOWN = -9.99
_RESERVE_NAMES = {
    "none": "",
    "wallet": "in the wallet",
    "cash": "cash in a sibling",
    "collateral": "collateral in a sibling",
}


def render(recording: Recording) -> str:
    """The page as text. Raises ValueError for a recording without frames."""
    summary = summarise(recording)
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = {
        "price": charts.price_chart(recording),
        "health": charts.health_chart(recording),
        "holdings": charts.holdings_chart(recording),
        "cost": charts.cost_chart(recording),
    }
    if recording.kinds:
        figures["kinds"] = charts.kinds_chart(recording)
    return environment.get_template("template.html").render(
        summary=summary,
        charts={name: _fragment(name, figure) for name, figure in figures.items()},
        plotly=get_plotlyjs(),
        falls=_falls(recording),
        pairs=_pairs(recording),
        kinds=[(kind, _pairs(recording, kind)) for kind in recording.kinds],
        house=_house(recording),
        rebalances=_rebalances(recording),
        liquidations=_liquidations(recording),
        ledger=_who_paid(recording, summary),
        efficiency=efficiency(recording),
        gas_gwei=GAS_GWEI,
        refused=sorted(recording.refused.items()),
        span=_span(recording),
    )


def _fragment(name: str, figure: go.Figure) -> str:
    return str(
        plotly.io.to_html(
            figure, config=_CONFIG, include_plotlyjs=False, full_html=False, div_id=f"chart-{name}"
        )
    )


def _falls(recording: Recording) -> list[dict[str, Any]]:
    """Opening, lowest and closing price of each asset, dollars."""
    rows = []
    for asset in recording.assets:
        prices = [f.answers[asset] / ANSWER_SCALE for f in recording.frames]
        rows.append(
            {
                "asset": asset,
                "open": prices[0],
                "low": min(prices),
                "close": prices[-1],
                "fall": 100 * (1 - min(prices) / prices[0]),
            }
        )
    return rows


def _house(recording: Recording) -> dict[str, float] | None:
    """What the liquidity providers' house went through, quote tokens; none without perpetuals."""
    points = [f.house for f in recording.frames if f.house]
    if not points:
        return None
    equity = [p.equity / WAD for p in points]
    prices = [p.share_price for p in points]
    skews = [sum(abs(value) for value in p.skew.values()) / WAD for p in points]
    return {
        "start": equity[0],
        "end": equity[-1],
        "low": min(equity),
        "change_bps": 10_000 * (prices[-1] / prices[0] - 1),
        "largest_skew": max(skews),
    }


def _pairs(recording: Recording, kind: Kind = "spot") -> list[dict[str, Any]]:
    """One row for each pair of twins: the same account with and without a hook."""
    bare, hooked = recording.members("bare", kind), recording.members("hooked", kind)
    rows = []
    for b, h in zip(bare, hooked, strict=True):
        start = recording.accounts[h]
        rows.append(
            {
                "name": start.name,
                "leverage": start.leverage,
                "mix": [(a, round(100 * share)) for a, share in start.mix.items() if share],
                "equity": start.equity / WAD,
                "reserve": start.reserve / WAD,
                "reserve_kind": _RESERVE_NAMES[start.reserve_kind],
                "bare": _outcome(recording, b),
                "hooked": _outcome(recording, h),
                "rebalances": sum(1 for r in recording.rebalances if r.account == h),
                "cost_bps": recording.cost_bps(h),
                "liquidated_bps": recording.liquidation_cost_bps(b),
            }
        )
    return rows


def _outcome(recording: Recording, account: int) -> dict[str, Any]:
    at = recording.breached_at(account)
    return {
        "breached": None if at is None else _clock(recording.frames[at].time_s),
        "low": max(recording.lowest_health(account), _LOWEST_SHOWN),
        "end": recording.end_equity(account) / WAD,
        "kept": 100 * recording.end_equity(account) / recording.accounts[account].equity,
    }


def _rebalances(recording: Recording) -> list[dict[str, Any]]:
    rows = []
    for r in recording.rebalances:
        rows.append(
            {
                "time": _clock(r.time_s),
                "block": r.block,
                "name": recording.accounts[r.account].name,
                "did": _means(r),
                "before": r.before.health,
                "after": r.after.health,
                "target": r.target,
                "cost": r.cost / WAD,
                "cost_bps": 10_000 * r.cost / recording.accounts[r.account].equity,
                "delay": r.delay_blocks,
                "gas": r.gas,
            }
        )
    return rows


def _liquidations(recording: Recording) -> list[dict[str, Any]]:
    rows = []
    for x in recording.liquidations:
        start = recording.accounts[x.account]
        rows.append(
            {
                "time": _clock(x.time_s),
                "name": start.name,
                "cohort": start.cohort,
                "is_rescue": x.is_rescue,
                "fraction": 100 * x.fraction,
                "health": max(x.before.health, _LOWEST_SHOWN),
                "cost": x.cost / WAD,
                "cost_bps": 10_000 * x.cost / start.equity,
                "fee": x.fee / WAD,
                "deficit": (x.insurance + x.house + x.lenders) / WAD,
                "delay_s": x.delay_s,
                "gas": x.gas,
            }
        )
    return rows


def _who_paid(recording: Recording, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """What liquidations gave and took, all kinds of accounts together, a row for each party."""
    cohorts: tuple[Cohort, ...] = ("bare", "hooked")
    kinds = {
        c: [summary[c], *(kind[c] for kind in summary.get("perpetuals", {}).values())]
        for c in cohorts
    }

    def total(cohort: Cohort, key: str) -> float:
        return sum(float(k["liquidations"][key]) for k in kinds[cohort])

    gains = summary.get("liquidator", {})
    rows: dict[str, dict[Any, float]] = {
        "Owners": {c: -total(c, "owners_lost") for c in cohorts},
        "The liquidator, exits paid": {c: float(gains.get(c, 0)) for c in cohorts},
        "Insurance": {c: total(c, "insurance") for c in cohorts},
        "The house": {c: -total(c, "house_bore") for c in cohorts},
        "Lenders": {c: -total(c, "lenders_bore") for c in cohorts},
    }
    return [{"who": who, **row} for who, row in rows.items()]


def _means(r: Rebalance) -> list[tuple[str, float]]:
    """What a rebalance did, in words, each with its value in quote tokens."""
    parts = [("gain settled", r.settled), ("perpetual closed", r.trimmed), ("hedged", r.hedged)]
    parts += [(f"sold {_amount(s.amount)} {s.asset}", s.value) for s in r.sales]
    parts += [("from its sibling", r.moved), ("from the wallet", r.pulled)]
    return [(words, value / WAD) for words, value in parts if value]


def _amount(amount: float) -> str:
    return f"{amount:,.4g}" if amount < 1_000 else f"{amount:,.0f}"


def _clock(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%-d %b %H:%M")


def _span(recording: Recording) -> str:
    first, last = (
        datetime.fromtimestamp(recording.frames[i].time_s, UTC).strftime("%-d %B %Y, %H:%M")
        for i in (0, -1)
    )
    return f"{first} to {last} UTC"
