"""Measure how good the rebalancing is, on real contracts and in the exact model.

Run by `make efficiency ARGS="..."`, `ape run efficiency ...` or `python -m scripts.efficiency ...`.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ballast.artifacts import ArtifactError
from ballast.chain import ChainError
from ballast.efficiency import (
    DATA,
    PAGE,
    Market,
    Settings,
    markets,
    measure,
    write_figures,
    write_page,
)
from ballast.efficiency.measuring import Figures
from ballast.prices import PriceError
from ballast.replay import ReplayError
from ballast.report.efficiency import GAS_GWEI

OUT = Path("out/efficiency.json")
_TABLE_WIDTH = 100
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--hourly", type=_FILE, help="Hourly candles of 2020 and 2021: adds March 2020 and May 2021."
)
@click.option(
    "--chainlink",
    type=_FILE,
    multiple=True,
    help="Chainlink rounds of 2023, one file for each asset: adds August 2023.",
)
@click.option(
    "--prices",
    multiple=True,
    metavar="FILE",
    help="Only these prices instead: candles or rounds (ETH=FILE names the asset).",
)
@click.option("--from", "start", metavar="DATE", help="When the accounts open, UTC.")
@click.option("--to", "end", metavar="DATE", help="When the replay ends, UTC.")
@click.option("--accounts", type=click.IntRange(1, 60), default=12, show_default=True)
@click.option("--model-accounts", type=click.IntRange(1, 200), default=30, show_default=True)
@click.option("--gas-gwei", type=click.FloatRange(0), default=GAS_GWEI, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=OUT,
    show_default=True,
    help="Where the figures go.",
)
@click.option("--page", "is_page", is_flag=True, help=f"Rewrite docs/{PAGE.name} from them.")
@click.option("--render", is_flag=True, help=f"Measure nothing, use docs/{DATA.name}.")
def cli(
    hourly: Path | None,
    chainlink: tuple[Path, ...],
    prices: tuple[str, ...],
    start: str | None,
    end: str | None,
    accounts: int,
    model_accounts: int,
    gas_gwei: float,
    workers: int,
    out: Path,
    is_page: bool,
    render: bool,
) -> None:
    """Measure how good the rebalancing is: delay, cost, what it spares, against other policies.

    Without price files only the bundled synthetic crash is played.
    """
    console = Console()
    try:
        if render:
            write_page(json.loads(DATA.read_text(encoding="utf-8")))
            return
        played = markets(hourly, chainlink)
        if prices or start or end:
            played = [Market("asked_for", "as asked for", prices, start, end)]
        settings = Settings(accounts, model_accounts, gas_gwei)
        figures = _measure(console, played, settings, workers)
        write_figures(figures, out)
        if is_page:
            write_figures(figures, DATA)
            write_page(figures)
    except (PriceError, ReplayError, ChainError, ArtifactError, OSError) as error:
        raise click.ClickException(str(error)) from error
    Console(width=max(console.width, _TABLE_WIDTH)).print(_table(figures))
    console.print(f"Figures: {out}", highlight=False)


def _measure(console: Console, played: list[Market], settings: Settings, workers: int) -> Figures:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Compiling and playing", total=None)

        def on_progress(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{name} done")

        return measure(played, settings, workers, on_progress)


def _table(figures: Figures) -> Table:
    table = Table(title="Efficiency, hooked accounts against their twins")
    for heading in ("market", "delay", "accounts", "p50", "p95", "cost, bp", "liquidated", "twins"):
        table.add_column(heading, justify="left" if heading in ("market", "accounts") else "right")
    for market in figures["markets"].values():
        for delay, replay in market["replay"].items():
            for group, found in replay["groups"].items():
                blocks, liquidated = found["delay_blocks"], found["liquidated"]
                table.add_row(
                    market["title"],
                    delay,
                    group,
                    *("-" if blocks[p] is None else str(blocks[p]) for p in ("p50", "p95")),
                    f"{found['cost_bps']['total']:.1f}",
                    f"{liquidated['hooked']} of {found['accounts']}",
                    f"{liquidated['bare']} of {found['accounts']}",
                )
    return table


if __name__ == "__main__":
    cli()
