"""How gas grows with an account: the picture of docs/gas.md, from the rows of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ballast.efficiency.plots import SERIES, Curve, Panel, panels

WIDTHS = (1, 2, 4, 8)
_, PAIRED, _, ALONE, _ = SERIES


class Growing(NamedTuple):
    """An operation by the names of its rows: of n collaterals, and of n with n perpetuals."""

    title: str
    alone: str = ""
    paired: str = ""


GROWING = (
    Growing("Borrow", "borrow, n = {n}"),
    Growing("Withdraw collateral", "withdraw collateral, n = {n}"),
    Growing("Trade", "", "trade, n = {n}, m = {n}"),
    Growing("Liquidation", "liquidation, n = {n}", "liquidation, n = {n}, m = {n}"),
    Growing(
        "Rebalance through Uniswap v3",
        "rebalance through Uniswap v3, n = {n}",
        "rebalance through Uniswap v3, n = {n}, m = {n}",
    ),
    Growing("Health view", "health view, n = {n}", "health view, n = {n}, m = {n}"),
)


def growth(
    gas: Mapping[str, int],
    target_of: Callable[[str], int | None],
    peer_of: Callable[[str], int | None],
) -> str:
    """An SVG of gas over the width of an account, with targets and peers as marks.

    A row that `gas` does not have is left out.
    """
    charts = []
    for one in GROWING:
        curves = []
        for pattern, label, colour in (
            (one.alone, "n collaterals", ALONE),
            (one.paired, "n collaterals and n perpetuals", PAIRED),
        ):
            rows = {n: row for n in WIDTHS if (row := pattern.format(n=n)) in gas}
            if not rows:
                continue
            curves.append(Curve(label, [(n, gas[row] / 1_000) for n, row in rows.items()], colour))
            for mark, figure_of in (("diamond", target_of), ("cross", peer_of)):
                told = {n: figure_of(row) for n, row in rows.items()}
                points = [(n, figure / 1_000) for n, figure in told.items() if figure is not None]
                curves.append(Curve(label, points, colour, mark))
        charts.append(Panel(one.title, curves))
    unit = (
        "thousand gas in all, over n; diamonds are targets, crosses the best peer,"
        " with its value where the frame ends"
    )
    return panels("Gas over the width of an account", unit, WIDTHS, charts)
