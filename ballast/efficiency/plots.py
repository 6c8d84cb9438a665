"""Static charts as SVG, which a repository shows without a script: bars and points, no more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from ballast.report.charts import BARE, GRID, HOOKED, INK, MUTED

WIDTH = 760
_FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
_ROW, _BAR = 26, 15
_LEFT, _RIGHT, _TOP = 250, 70, 84
COLOURS = (HOOKED, "#8fd0c6", "#f0a43a", "#9fb4c6")  # of the parts of a bar
ALARM = BARE
SERIES = (BARE, "#5664d9", "#f0a43a", HOOKED, "#8e5bb5")


class Bar(NamedTuple):
    """A row: a label, its parts from the left, and what is written behind them."""

    label: str
    parts: Sequence[float]
    note: str
    colours: Sequence[str] = COLOURS


class Dots(NamedTuple):
    """A series of (x, y)."""

    label: str
    points: Sequence[tuple[float, float]]


class Curve(NamedTuple):
    """A series of (x, y) in one panel: a line with its points, or marks of a shape alone."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    mark: str = ""  # "diamond" or "cross", which the legend leaves out; empty for a line


class Panel(NamedTuple):
    """One of several small charts that share their kinds of series and the ticks of x."""

    title: str
    curves: Sequence[Curve]


def bars(title: str, unit: str, parts: Sequence[str], rows: Sequence[Bar]) -> str:
    """Horizontal bars of stacked parts; a negative part is drawn as nothing."""
    height = _TOP + _ROW * len(rows) + 34
    most = max((sum(max(0.0, p) for p in row.parts) for row in rows), default=0.0) or 1.0
    step = _step(most)
    scale = (WIDTH - _LEFT - _RIGHT) / most
    drawn = []
    for n in range(int(most / step) + 1):
        x = _LEFT + n * step * scale
        drawn.append(_line(x, _TOP - 6, x, height - 30))
        drawn.append(_text(x, height - 14, f"{n * step:g}", anchor="middle", colour=MUTED))
    for n, row in enumerate(rows):
        x, y = float(_LEFT), _TOP + n * _ROW
        drawn.append(_text(_LEFT - 10, y + 12, row.label, anchor="end"))
        for part, colour in zip(row.parts, row.colours, strict=False):
            width = max(0.0, part) * scale
            drawn.append(_rect(x, y, width, colour))
            x += width
        drawn.append(_text(x + 6, y + 12, row.note, colour=MUTED))
    return _svg(height, title, unit, list(zip(parts, COLOURS, strict=False)), drawn)


def dots(title: str, unit: str, x_unit: str, series: Sequence[Dots]) -> str:
    """Points over a continuous x, from zero up."""
    height, left = 360, 60
    points = [point for one in series for point in one.points]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    most = max(max(y for _, y in points), 1e-9)
    across = (WIDTH - left - 40) / ((high - low) or 1.0)
    up = (height - _TOP - 50) / most
    drawn, step = [], _step(most)
    for n in range(int(most / step) + 1):
        y = height - 50 - n * step * up
        drawn.append(_line(left, y, WIDTH - 30, y))
        drawn.append(_text(left - 8, y + 4, f"{n * step:g}", anchor="end", colour=MUTED))
    ticks = [low + (high - low) * n / 4 for n in range(5)]
    for x in ticks:
        where = left + (x - low) * across
        drawn.append(_text(where, height - 32, f"{x:.4g}{x_unit}", anchor="middle", colour=MUTED))
    for one, colour in zip(series, SERIES, strict=False):
        drawn += [
            f'<circle cx="{left + (x - low) * across:.1f}" cy="{height - 50 - y * up:.1f}" r="4" '
            f'fill="{colour}" fill-opacity="0.75"/>'
            for x, y in one.points
        ]
    legend = [(one.label, colour) for one, colour in zip(series, SERIES, strict=False)]
    return _svg(height, title, unit, legend, drawn)


def panels(title: str, unit: str, ticks: Sequence[float], charts: Sequence[Panel]) -> str:
    """Small charts, two to a row, each from zero up to a little above its lines.

    A mark beyond that is drawn at the upper edge with its value beside it. `unit` tells that of y.
    """
    wide, high, top = WIDTH // 2, 220, 90
    drawn: list[str] = []
    for n, chart in enumerate(charts):
        drawn += _panel(n % 2 * wide, top + n // 2 * (high + 20), wide, high, ticks, chart)
    legend = {c.label: c.colour for chart in charts for c in chart.curves if not c.mark}
    height = top + (len(charts) + 1) // 2 * (high + 20)
    return _svg(height, title, unit, list(legend.items()), drawn)


def _panel(
    x0: float, y0: float, wide: float, high: float, ticks: Sequence[float], chart: Panel
) -> list[str]:
    left, bottom, upper = x0 + 62, y0 + high - 26, y0 + 40
    right = x0 + wide - 34
    most = 1.12 * max(y for c in chart.curves if not c.mark for _, y in c.points)
    up = (bottom - upper) / most
    across = (right - left) / max(ticks)
    step = _step(most)
    drawn = [_text(x0 + 16, y0 + 12, chart.title, weight=600)]
    for n in range(int(most / step) + 1):
        y = bottom - n * step * up
        drawn.append(_line(left, y, right + 10, y))
        drawn.append(_text(left - 8, y + 4, f"{n * step:g}", anchor="end", colour=MUTED))
    for tick in ticks:
        x = left + tick * across
        drawn.append(_text(x, bottom + 17, f"{tick:g}", anchor="middle", colour=MUTED))
    for curve in chart.curves:
        at = [(left + x * across, bottom - y * up, y) for x, y in curve.points]
        if not curve.mark:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in at)
            drawn.append(
                f'<path d="M{path}" fill="none" stroke="{curve.colour}" stroke-width="2"/>'
            )
            drawn += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{curve.colour}"/>' for x, y, _ in at
            ]
            continue
        for x, y, value in at:
            drawn.append(_mark(x, max(y, upper), curve))
            if y < upper:
                note = f"{value:,.0f}"
                drawn.append(_text(x, upper - 8, note, anchor="middle", colour=MUTED, size=10))
    return drawn


def _mark(x: float, y: float, curve: Curve) -> str:
    if curve.mark == "diamond":
        shape = f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"
    else:
        shape = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
    return f'<path d="{shape}" fill="none" stroke="{curve.colour}" stroke-width="1.6"/>'


def _step(most: float) -> float:
    """A round distance of the grid, with at most six lines beside zero."""
    size: float = 10.0 ** math.floor(math.log10(most))
    return next(f * size for f in (0.2, 0.5, 1.0, 2.0) if most <= 6 * f * size)


def _svg(
    height: int, title: str, unit: str, legend: Sequence[tuple[str, str]], drawn: Sequence[str]
) -> str:
    heads = [
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, title, size=15, weight=600),
        _text(16, 42, unit, colour=MUTED),
    ]
    x = 16.0
    for label, colour in legend:
        heads.append(f'<rect x="{x:.1f}" y="53" width="10" height="10" rx="2" fill="{colour}"/>')
        heads.append(_text(x + 15, 62, label, colour=MUTED))
        x += 6.4 * len(label) + 35
    body = "\n".join([*heads, *drawn])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="{_FONT}" font-size="12">\n{body}\n</svg>\n'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    colour: str = INK,
    size: int = 12,
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-size="{size}" font-weight="{weight}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{GRID}"/>'


def _rect(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
