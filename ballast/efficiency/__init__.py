"""How good the rebalancing is, measured on crashes: delay, cost, what it spares, and against what.

    figures = measure(markets(hourly=Path("hourly.csv")))
    write_page(figures)                                     # docs/efficiency.md and its charts

:mod:`~ballast.efficiency.paths` says on which markets, :mod:`~ballast.efficiency.measuring` plays
them on the real contracts and in the exact model, :mod:`~ballast.efficiency.simulation` is that
model with policies in it.
"""

from __future__ import annotations

from ballast.efficiency.measuring import Settings, measure
from ballast.efficiency.page import DATA, PAGE, write_figures, write_page
from ballast.efficiency.paths import SYNTHETIC, Market, markets

__all__ = [
    "DATA",
    "PAGE",
    "SYNTHETIC",
    "Market",
    "Settings",
    "markets",
    "measure",
    "write_figures",
    "write_page",
]
