"""The charts of the report page, as Plotly figures. Everything is drawn from a Recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ballast.prices import ANSWER_SCALE
from ballast.report.recording import WAD, Cohort, Kind, Rebalance, Recording

INK = "#17222e"
MUTED = "#6b7a89"
GRID = "#e7ecf1"
DANGER = "#d64533"
HOOKED = "#0b8f7f"
BARE = "#d64533"
CASH = "#9fb4c6"
RESERVE = "#cfd9e2"
DEBT = "#e9b3aa"
ASSET_COLOURS = {"ETH": "#5664d9", "BTC": "#f0a43a"}
SPARE_COLOURS = ("#8e5bb5", "#3f9bd1", "#7fa650", "#b5795b")
# Light to dark with leverage, in the cohort's own hue.
SCALES = {
    "bare": [[0.0, "#f3b8a6"], [0.5, "#dc6a53"], [1.0, "#8f1f17"]],
    "hooked": [[0.0, "#a5dccf"], [0.5, "#2ba392"], [1.0, "#06473f"]],
}
TITLES = {"bare": "Without a hook", "hooked": "With a hook"}
ORDER: tuple[Cohort, Cohort] = ("bare", "hooked")

FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
MAX_POINTS = 600  # per line; extremes are kept
# Health is drawn on a logarithmic axis between these; anything outside lies on the edge.
HEALTH_LOW, HEALTH_HIGH = 0.2, 20.0


def price_chart(recording: Recording) -> go.Figure:
    """Each asset's price as a percentage of its opening price, with a tick for every rebalance."""
    figure = go.Figure()
    times = _times(recording)
    lowest = 100.0
    for asset in recording.assets:
        prices = [f.answers[asset] / ANSWER_SCALE for f in recording.frames]
        shares = [100 * p / prices[0] for p in prices]
        lowest = min(lowest, *shares)
        kept = thin(shares)
        figure.add_scatter(
            x=[times[i] for i in kept],
            y=[shares[i] for i in kept],
            customdata=[prices[i] for i in kept],
            name=asset,
            mode="lines",
            line={"color": _colour(recording, asset), "width": 2, "shape": "hv"},
            hovertemplate=f"{asset} %{{customdata:$,.2f}} · %{{y:.1f}} %<extra></extra>",
        )
    if recording.rebalances:
        figure.add_scatter(
            x=[_time(r.time_s) for r in recording.rebalances],
            y=[lowest - 5] * len(recording.rebalances),
            customdata=[recording.accounts[r.account].name for r in recording.rebalances],
            name="a rebalance",
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 10, "color": HOOKED, "line": {"width": 1.5}},
            hovertemplate="%{customdata} rebalanced<extra></extra>",
        )
    _style(figure, recording, height=330, y_title="price, % of opening")
    figure.update_yaxes(ticksuffix=" %")
    return figure


def health_chart(recording: Recording) -> go.Figure:
    """Health of every account, one panel per cohort, with the two margin lines."""
    figure = _panels()
    times = _times(recording)
    levels = [account.leverage for account in recording.accounts if account.kind == "spot"]
    low, high = min(levels), max(levels)
    for column, cohort in enumerate(ORDER, start=1):
        members = recording.members(cohort)
        for i in members:
            account = recording.accounts[i]
            health = [_clip(f.margins[i].health) for f in recording.frames]
            kept = thin(health)
            share = (account.leverage - low) / (high - low) if high > low else 0.5
            figure.add_scatter(
                x=[times[k] for k in kept],
                y=[health[k] for k in kept],
                mode="lines",
                line={"color": _shade(cohort, share), "width": 1.4},
                name=account.name,
                showlegend=False,
                hovertemplate=f"{account.name} · {account.leverage:.2f}x · health %{{y:.2f}}"
                "<extra></extra>",
                row=1,
                col=column,
            )
        _margin_lines(figure, recording, members, times, column)
        _breaches(figure, recording, members, times, column)
        _leverage_scale(figure, cohort, low, high, column, times[0])
    ticks = [0.2, 0.5, 1, 2, 5, 10, 20]
    figure.update_yaxes(
        type="log",
        range=[math.log10(HEALTH_LOW * 0.95), math.log10(HEALTH_HIGH)],
        tickvals=ticks,
        ticktext=["≤ 0.2", *(f"{t:g}" for t in ticks[1:])],
    )
    _style(figure, recording, height=470, y_title="equity / maintenance margin")
    return figure


def _margin_lines(
    figure: go.Figure, recording: Recording, members: Sequence[int], times: list[str], column: int
) -> None:
    figure.add_hrect(
        y0=HEALTH_LOW * 0.9, y1=1, fillcolor=DANGER, opacity=0.07, line_width=0, row=1, col=column
    )
    figure.add_scatter(
        x=[times[0], times[-1]],
        y=[1, 1],
        mode="lines",
        line={"color": DANGER, "width": 2},
        name="maintenance margin",
        showlegend=column == 1,
        hoverinfo="skip",
        row=1,
        col=column,
    )
    # Both requirements move with volatility; in units of the maintenance margin the initial margin
    # is their ratio, and the median account stands for all.
    initial = [
        _clip(
            median(
                f.margins[i].required_init / f.margins[i].required_maint
                for i in members
                if f.margins[i].required_maint
            )
            if any(f.margins[i].required_maint for i in members)
            else 1.0
        )
        for f in recording.frames
    ]
    kept = thin(initial)
    figure.add_scatter(
        x=[times[k] for k in kept],
        y=[initial[k] for k in kept],
        mode="lines",
        line={"color": INK, "width": 1.5, "dash": "dot"},
        name="initial margin (median account)",
        showlegend=column == 1,
        hoverinfo="skip",
        row=1,
        col=column,
    )


def _breaches(
    figure: go.Figure, recording: Recording, members: Sequence[int], times: list[str], column: int
) -> None:
    found = [(i, recording.breached_at(i)) for i in members]
    points = [(i, at) for i, at in found if at is not None]
    if not points:
        return
    figure.add_scatter(
        x=[times[at] for _, at in points],
        y=[_clip(recording.frames[at].margins[i].health) for i, at in points],
        customdata=[recording.accounts[i].name for i, _ in points],
        mode="markers",
        marker={"symbol": "x", "size": 8, "color": INK},
        name="first breach",
        showlegend=True,
        hovertemplate="%{customdata} breached at %{x}<extra></extra>",
        row=1,
        col=column,
    )


def _leverage_scale(
    figure: go.Figure, cohort: Cohort, low: float, high: float, column: int, time: str
) -> None:
    """A colour bar, carried by one invisible point: lines cannot carry one."""
    figure.add_scatter(
        x=[time],
        y=[1],
        mode="markers",
        marker={
            "size": 0.1,
            "color": [low],
            "cmin": low,
            "cmax": high,
            "colorscale": SCALES[cohort],
            "showscale": high > low,
            "colorbar": {
                "orientation": "h",
                "x": 0.01 if column == 1 else 0.54,
                "xanchor": "left",
                "y": 1.0,
                "yanchor": "top",
                "len": 0.2,
                "thickness": 7,
                "outlinewidth": 0,
                "tickvals": [low, high],
                "ticktext": [f"{low:g}x", f"{high:g}x leverage"],
                "ticklabelposition": "outside bottom",
                "tickfont": {"size": 11, "color": MUTED},
            },
        },
        hoverinfo="skip",
        showlegend=False,
        row=1,
        col=column,
    )


def holdings_chart(recording: Recording) -> go.Figure:
    """What each cohort holds, in quote tokens: collateral and cash above zero, loans below."""
    figure = _panels()
    times = _times(recording)
    kept = thin(
        [float(sum(sum(h.collateral.values()) for h in f.holdings)) for f in recording.frames]
    )
    for column, cohort in enumerate(ORDER, start=1):
        members = recording.members(cohort)
        layers: list[tuple[str, str, str, Callable[[int], int]]] = [
            (
                asset,
                _colour(recording, asset),
                "above",
                lambda k, asset=asset, members=members: sum(  # type: ignore[misc]
                    recording.frames[k].holdings[i].collateral.get(asset, 0) for i in members
                ),
            )
            for asset in recording.assets
        ]
        layers.append(
            (
                "cash",
                CASH,
                "above",
                lambda k, members=members: sum(  # type: ignore[misc]
                    max(recording.frames[k].holdings[i].cash, 0) for i in members
                ),
            )
        )
        layers.append(
            (
                "reserves",
                RESERVE,
                "above",
                lambda k, members=members: sum(  # type: ignore[misc]
                    recording.frames[k].holdings[i].reserve for i in members
                ),
            )
        )
        layers.append(
            (
                "loans",
                DEBT,
                "below",
                lambda k, members=members: sum(  # type: ignore[misc]
                    min(recording.frames[k].holdings[i].cash, 0) for i in members
                ),
            )
        )
        for name, colour, group, value in layers:
            figure.add_scatter(
                x=[times[k] for k in kept],
                y=[value(k) / WAD for k in kept],
                mode="lines",
                line={"width": 0.5, "color": colour},
                fillcolor=colour,
                stackgroup=group,
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                hovertemplate=f"{name} %{{y:$,.3s}}<extra></extra>",
                row=1,
                col=column,
            )
        figure.add_hline(y=0, line={"color": INK, "width": 1}, row=1, col=column)
    _style(figure, recording, height=380, y_title="value, $")
    figure.update_yaxes(tickformat="$~s")
    return figure


KIND_COLOURS: Mapping[Kind, str] = {"long": "#5664d9", "short": "#c98a1b", "basis": "#8e5bb5"}
HOUSE_COLOUR = "#17222e"


def kinds_chart(recording: Recording) -> go.Figure:
    """Equity of each kind of account with perpetuals, and a share of the house, since the start."""
    figure = _panels()
    times = _times(recording)
    for column, cohort in enumerate(ORDER, start=1):
        for kind in recording.kinds:
            members = recording.members(cohort, kind)
            equity = [sum(f.margins[i].equity_maint for i in members) for f in recording.frames]
            shares = [100 * value / equity[0] for value in equity]
            kept = thin(shares)
            figure.add_scatter(
                x=[times[k] for k in kept],
                y=[shares[k] for k in kept],
                mode="lines",
                line={"color": KIND_COLOURS[kind], "width": 2},
                name=kind,
                legendgroup=kind,
                showlegend=column == 1,
                hovertemplate=f"{kind} %{{y:.1f}} %<extra></extra>",
                row=1,
                col=column,
            )
        prices = [f.house.share_price for f in recording.frames if f.house]
        shares = [100 * price / prices[0] for price in prices]
        kept = thin(shares)
        figure.add_scatter(
            x=[times[k] for k in kept],
            y=[shares[k] for k in kept],
            mode="lines",
            line={"color": HOUSE_COLOUR, "width": 1.5, "dash": "dot"},
            name="a share of the house",
            legendgroup="house",
            showlegend=column == 1,
            hovertemplate="house share %{y:.2f} %<extra></extra>",
            row=1,
            col=column,
        )
    _style(figure, recording, height=380, y_title="equity, % of the start")
    figure.update_yaxes(ticksuffix=" %")
    return figure


def cost_chart(recording: Recording) -> go.Figure:
    """Every rebalance: when, what it cost, and how much it sold."""
    figure = go.Figure()
    sold = [(sum(s.value for s in r.sales) + r.trimmed) / WAD for r in recording.rebalances]
    largest = max(sold, default=0.0) or 1.0
    groups = [
        (asset, f"mostly {asset} sold", _colour(recording, asset)) for asset in recording.assets
    ]
    groups += [(_TRIMMED, "perpetuals closed", KIND_COLOURS["basis"])]
    for group, name, colour in [*groups, (None, "from reserves or gains alone", CASH)]:
        chosen = [
            (r, value)
            for r, value in zip(recording.rebalances, sold, strict=True)
            if _main_means(r) == group
        ]
        if not chosen:
            continue
        figure.add_scatter(
            x=[_time(r.time_s) for r, _ in chosen],
            y=[10_000 * r.cost / recording.accounts[r.account].equity for r, _ in chosen],
            customdata=[
                (recording.accounts[r.account].name, value, r.cost / WAD) for r, value in chosen
            ],
            name=name,
            mode="markers",
            marker={
                "size": [6 + 26 * math.sqrt(value / largest) for _, value in chosen],
                "color": colour,
                "opacity": 0.65,
                "line": {"color": "white", "width": 1},
            },
            hovertemplate="%{customdata[0]} sold %{customdata[1]:$,.0f} for a cost of "
            "%{customdata[2]:$,.2f} (%{y:.1f} bp)<extra></extra>",
        )
    _style(figure, recording, height=330, y_title="cost, bp of starting equity")
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(hovermode="closest")
    return figure


def thin(values: Sequence[float], limit: int = MAX_POINTS) -> list[int]:
    """Indices of at most ``limit`` points of a line that keep its first, last, lows and highs."""
    count = len(values)
    if count <= limit:
        return list(range(count))
    buckets = max(1, (limit - 2) // 2)
    kept = {0, count - 1}
    for b in range(buckets):
        start, end = count * b // buckets, count * (b + 1) // buckets
        kept.add(min(range(start, end), key=values.__getitem__))
        kept.add(max(range(start, end), key=values.__getitem__))
    return sorted(kept)


def _panels() -> go.Figure:
    return make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.06,
        subplot_titles=[TITLES[c] for c in ORDER],
    )


def _style(figure: go.Figure, recording: Recording, *, height: int, y_title: str) -> None:
    figure.update_layout(
        height=height,
        margin={"l": 64, "r": 12, "t": 34 if height > 350 else 8, "b": 64},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": FONT, "size": 13, "color": INK},
        hoverlabel={"font": {"family": FONT, "size": 12}},
        legend={
            "orientation": "h",
            "x": 0,
            "y": -0.13 if height > 350 else -0.16,
            "yanchor": "top",
            "font": {"color": MUTED},
        },
        hovermode="closest",
    )
    figure.update_xaxes(
        range=[_time(recording.frames[k].time_s) for k in (0, -1)],
        gridcolor=GRID,
        linecolor=GRID,
        zeroline=False,
        tickfont={"color": MUTED},
        tickformatstops=[
            {"dtickrange": [None, 86_400_000 - 1], "value": "%H:%M\n%-d %b %Y"},
            {"dtickrange": [86_400_000, None], "value": "%-d %b\n%Y"},
        ],
    )
    figure.update_yaxes(gridcolor=GRID, zeroline=False, tickfont={"color": MUTED})
    figure.update_layout(yaxis_title={"text": y_title, "font": {"color": MUTED, "size": 13}})
    figure.update_annotations(font={"size": 14, "color": INK})


def _times(recording: Recording) -> list[str]:
    return [_time(f.time_s) for f in recording.frames]


def _time(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _clip(health: float) -> float:
    return min(max(health, HEALTH_LOW), HEALTH_HIGH)


def _colour(recording: Recording, asset: str) -> str:
    if asset in ASSET_COLOURS:
        return ASSET_COLOURS[asset]
    return SPARE_COLOURS[recording.assets.index(asset) % len(SPARE_COLOURS)]


_TRIMMED = "perpetuals"


def _main_means(rebalance: Rebalance) -> str | None:
    """Where most came from: perpetuals closed, or an asset sold; ``None`` when nothing traded."""
    if rebalance.trimmed:
        return _TRIMMED
    sales = rebalance.sales
    return max(sales, key=lambda sale: sale.value).asset if sales else None


def _shade(cohort: Cohort, share: float) -> str:
    """The cohort's colour at ``share`` (0 to 1) of its scale."""
    scale = SCALES[cohort]
    for (x0, low), (x1, high) in zip(scale, scale[1:], strict=False):
        x0, x1 = float(str(x0)), float(str(x1))
        if share <= x1:
            weight = (share - x0) / (x1 - x0)
            channels = [
                round(a + weight * (b - a))
                for a, b in zip(_rgb(str(low)), _rgb(str(high)), strict=True)
            ]
            return f"rgb({channels[0]},{channels[1]},{channels[2]})"
    return str(scale[-1][1])


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
