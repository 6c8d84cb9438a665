"""`docs/efficiency.md`: its generated tables, and the charts beside it, from measured figures.

The figures are kept in `docs/efficiency.json`, so the page can be written anew without measuring,
and a test holds it to them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ballast.efficiency import plots
from ballast.efficiency.measuring import Figures
from ballast.efficiency.simulation import ON_HEALTH, OURS, REPAY_ONLY
from ballast.readme import ROOT, with_table

DOCS = ROOT / "docs"
PAGE, DATA = DOCS / "efficiency.md", DOCS / "efficiency.json"
CHARTS = DOCS / "efficiency"
TARGETS_BPS = {"swaps": 60, "perpetuals": 90}  # of starting equity: a crash, on average
_KINDS = ("swaps", "long", "short", "basis", "perpetuals", "all")


def write_figures(figures: Figures, path: Path) -> None:
    """Keep the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def write_page(figures: Figures, page: Path = PAGE, folder: Path = CHARTS) -> None:
    """Put the tables between the page's markers, and the charts into a folder.

    Raises ValueError when the page lacks a marker.
    """
    text = page.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        text = with_table(text, name, table(figures))
    page.write_text(text, encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in charts(figures).items():
        (folder / name).write_text(svg, encoding="utf-8")


def _replays(figures: Figures) -> Iterator[tuple[Figures, str, Figures]]:
    """Every market that was played, by delay."""
    for market in figures["markets"].values():
        for delay, replay in market["replay"].items():
            yield market, delay, replay


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "---|" * left + "---:|" * (len(head) - left))
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def markets_table(figures: Figures) -> str:
    """What was played."""
    rows = [
        (
            market["title"],
            market["source"].replace(" + ", ", "),
            f"{market['from'][:16].replace('T', ' ')} to {market['to'][:16].replace('T', ' ')}",
            "contracts and model" if market["replay"] else "model",
        )
        for market in figures["markets"].values()
    ]
    return _table(["market", "prices", "accounts open from, to (UTC)", "played on"], rows, left=4)


def targets_table(figures: Figures) -> str:
    """The promises, and what came out."""
    rows = []
    for market, delay, replay in _replays(figures):
        groups = replay["groups"]
        row: list[object] = [market["title"], delay]
        row.append(f"{groups['all']['liquidated']['hooked']} of {groups['all']['accounts']}")
        row.append(f"{groups['all']['liquidated']['bare']} of {groups['all']['accounts']}")
        for group, most in TARGETS_BPS.items():
            lost, with_gas = _lost_bps(groups[group])
            row.append(f"{lost:.1f} {'✓' if lost < most else '✗'} ({with_gas:.1f})")
        lost, with_gas = _lost_bps(groups["all"])
        row.append(f"{lost:.1f} ({with_gas:.1f})")
        rows.append(row)
    heads = ["market", "delay", "liquidated with hook", "without"]
    heads += [f"{group}, below {most} bp (with gas)" for group, most in TARGETS_BPS.items()]
    return _table([*heads, "all, bp (with gas)"], rows)


def _lost_bps(group: Figures) -> tuple[float, float]:
    """What owners lost, without and with gas."""
    cost = group["cost_bps"]
    return cost["total"] - cost["gas"], cost["total"]


def cost_table(figures: Figures) -> str:
    """What the cost consists of, at a delay of one block."""
    rows = []
    for market, delay, replay in _replays(figures):
        for group in _KINDS if delay == "1" else ():
            found = replay["groups"][group]
            cost, liquidated = found["cost_bps"], found["liquidated"]
            parts = [
                f"{cost[part]:.1f}" for part in ("fee", "impact", "pay", "gas", "total", "max")
            ]
            rows.append(
                (
                    market["title"],
                    group,
                    found["accounts"],
                    found["rebalances"],
                    *parts,
                    f"{liquidated['bare_cost_bps']:.1f}",
                )
            )
    heads = ["market", "accounts", "pairs", "rebalances", "fee", "impact", "keeper", "gas"]
    return _table([*heads, "total", "worst account", "liquidation of the twin"], rows, left=2)


def delay_table(figures: Figures) -> str:
    """From the round that permits to the block that acts."""
    rows = []
    for market, delay, replay in _replays(figures):
        found = replay["groups"]["all"]
        blocks, breach = found["delay_blocks"], found["breach_min"]
        rows.append(
            (
                market["title"],
                delay,
                *(blocks[part] for part in ("p50", "p95", "max")),
                *(f"{breach[c]['initial']:,.1f}" for c in ("hooked", "bare")),
                *(f"{breach[c]['maintenance']:,.2f}" for c in ("hooked", "bare")),
            )
        )
    heads = ["market", "keeper's delay", "p50", "p95", "max"]
    heads += ["min below initial, with hook", "without"]
    heads += ["min below maintenance, with hook", "without"]
    return _table(heads, rows)


def rescues_table(figures: Figures) -> str:
    """What was avoided, what was needless, and how much was traded for it."""
    rows = []
    for market, delay, replay in _replays(figures):
        for group in ("swaps", "perpetuals") if delay == "1" else ():
            found = replay["groups"][group]
            false, churn = found["false_rescues"], found["churn"]
            rows.append(
                (
                    market["title"],
                    group,
                    found["liquidated"]["avoided"],
                    found["liquidated"]["caused"],
                    f"{false['in_24h']} of {false['of']}",
                    f"{false['by_end']} of {false['of']}",
                    false["accounts"],
                    f"{churn['rebalances']:.2f}",
                    f"{100 * churn['turnover']:.0f}%",
                    churn["opposite"],
                )
            )
    heads = ["market", "accounts", "avoided", "caused", "false, 24 h", "false, by the end"]
    heads += ["needless accounts", "a day", "turnover a day", "opposite in 24 h"]
    return _table(heads, rows, left=2)


def agreement_table(figures: Figures) -> str:
    """The exact model against the contracts, on the same accounts."""
    rows = []
    for market, delay, replay in _replays(figures):
        chain, model = replay["spot"], market["model"]["twins"][delay]
        keys = ("rebalances", "cost_bps", "slices", "bare_cost_bps")
        rows.append((market["title"], delay, *(f"{chain[key]:g} / {model[key]:g}" for key in keys)))
    heads = ["market", "delay", "rebalances", "cost, bp", "slices of the twins", "their cost, bp"]
    return _table(heads, rows)


def policies_table(figures: Figures) -> str:
    """Every rule on every market."""
    rows = []
    for market in figures["markets"].values():
        model = market["model"]
        for name, found in model["policies"].items():
            rows.append(
                (
                    market["title"],
                    "no hook" if name == "none" else name,
                    f"{found['liquidated']} of {model['accounts']}",
                    f"{found['cost_bps']:,.1f}",
                    f"{found['rebalances']:,}",
                    f"{found['turnover']:.2f}x",
                    f"{found['opposite']:,}",
                    f"{100 * found['kept']:.0f}%",
                )
            )
    heads = ["market", "policy", "liquidated", "cost, bp", "rebalances", "turnover"]
    return _table([*heads, "opposite in 24 h", "equity left"], rows, left=2)


def late_table(figures: Figures) -> str:
    """Liquidated accounts and cost by how late the keeper is."""
    rows = []
    for market in figures["markets"].values():
        model = market["model"]
        for name, by_lateness in model["late"].items():
            cells = [
                f"{found['liquidated']} ({found['cost_bps']:.0f} bp)"
                for found in by_lateness.values()
            ]
            rows.append((market["title"], name, *cells))
    lateness = next(iter(figures["markets"].values()))["model"]["late"][OURS.name]
    return _table(["market", "policy", *(_late(int(s)) for s in lateness)], rows, left=2)


def _late(seconds: int) -> str:
    if seconds < 60:
        return {0: "same block", 12: "next block"}[seconds]
    return f"{seconds // 60} min"


def capital_table(figures: Figures) -> str:
    """What an account without a hook must hold more."""
    rows = []
    for market in figures["markets"].values():
        model = market["model"]
        extra = [needed for _, needed in model["extra"]]
        safe = [leverage / (1 + needed) for leverage, needed in model["extra"]]
        rows.append(
            (
                market["title"],
                f"{model['policies'][OURS.name]['liquidated']} of {model['accounts']}",
                f"{model['policies']['none']['liquidated']} of {model['accounts']}",
                f"{100 * sum(extra) / len(extra):.0f}%",
                f"{100 * max(extra):.0f}%",
                f"{sum(safe) / len(safe):.2f}x",
                f"{min(safe):.2f}x",
            )
        )
    heads = ["market", "liquidated with hook", "without", "extra equity, mean", "worst account"]
    return _table([*heads, "leverage that survives, mean", "worst account"], rows)


def daily_table(figures: Figures) -> str:
    """What swaps cost of the collateral at the start, in all and for each day watched."""
    rows = []
    for market, delay, replay in _replays(figures):
        if delay != "1":
            continue
        days, percent = market["model"]["days"], replay["spot"]["collateral_percent"]
        rows.append((market["title"], days, f"{percent:.3f}%", f"{percent / days:.3f}%"))
    return _table(["market", "days", "cost, of the collateral", "a day"], rows)


TABLES: dict[str, Callable[[Figures], str]] = {
    "markets": markets_table,
    "targets": targets_table,
    "cost": cost_table,
    "delay": delay_table,
    "rescues": rescues_table,
    "policies": policies_table,
    "late": late_table,
    "capital": capital_table,
    "daily": daily_table,
    "agreement": agreement_table,
}


def charts(figures: Figures) -> dict[str, str]:
    """File names and SVG texts."""
    return {
        "cost.svg": _cost_chart(figures),
        "late.svg": _late_chart(figures),
        "capital.svg": _capital_chart(figures),
    }


def _cost_chart(figures: Figures) -> str:
    rows = []
    for market, delay, replay in _replays(figures):
        for group in ("swaps", "perpetuals") if delay == "1" else ():
            found = replay["groups"][group]
            cost, twin = found["cost_bps"], found["liquidated"]["bare_cost_bps"]
            parts = [cost[part] for part in ("fee", "impact", "pay", "gas")]
            title = f"{market['title']}, {group}"
            rows.append(plots.Bar(title, parts, f"{cost['total']:.0f}"))
            rows.append(plots.Bar("twins, liquidated", [twin], f"{twin:.0f}", [plots.ALARM]))
    return plots.bars(
        "What staying safe cost, and what liquidation cost the twins",
        "bp of starting equity",
        ("fee", "impact", "keeper", "gas"),
        rows,
    )


def _late_chart(figures: Figures) -> str:
    rows = []
    for market in figures["markets"].values():
        late, accounts = market["model"]["late"], market["model"]["accounts"]
        for rule in (REPAY_ONLY, ON_HEALTH, OURS):
            share = 100 * late[rule.name][_LATE_SHOWN_S]["liquidated"] / accounts
            label = f"{market['title']}, {_SHORT[rule.name]}"
            rows.append(plots.Bar(label, [share], f"{share:.0f}%", [plots.ALARM]))
    title = f"Liquidated when the keeper is {_late(int(_LATE_SHOWN_S))} late"
    return plots.bars(title, "% of accounts", (), rows)


_LATE_SHOWN_S = "300"
_SHORT = {REPAY_ONLY.name: "1.10 to 1.25", ON_HEALTH.name: "on maintenance", OURS.name: "ours"}


def _capital_chart(figures: Figures) -> str:
    series = [
        plots.Dots(
            market["title"],
            [(leverage, 100 * extra) for leverage, extra in market["model"]["extra"]],
        )
        for market in figures["markets"].values()
    ]
    return plots.dots(
        "Extra equity that an account without a hook needs to survive",
        "% of its own equity, by leverage at the opening",
        "x",
        series,
    )
