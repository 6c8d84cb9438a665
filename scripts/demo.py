"""Play a crash against two cohorts of accounts, one with a hook and one without.

Run by `make demo ARGS="..."`, `ape run demo ...` or `python -m scripts.demo ...`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ballast.artifacts import ArtifactError
from ballast.chain import ChainError
from ballast.prices import PriceError, load, parse_time
from ballast.replay import WARM_UP_S, ReplayError, replay
from ballast.report import Recording, write

OUT = Path("out/demo")


@click.command()
@click.option(
    "--prices",
    multiple=True,
    metavar="FILE",
    help="Hourly candles or Chainlink rounds (ETH=FILE names the asset); repeat for more assets. "
    "Default: the bundled synthetic crash.",
)
@click.option(
    "--from",
    "start",
    metavar="DATE",
    help="When the accounts open, UTC; six hours of prices before it let the oracle settle.",
)
@click.option("--to", "end", metavar="DATE", help="When the replay ends, UTC.")
@click.option(
    "--accounts",
    type=click.IntRange(1, 60),
    default=12,
    show_default=True,
    metavar="N",
    help="Accounts in each cohort, 1 to 60.",
)
@click.option(
    "--liquidation-delay",
    "delay_min",
    type=click.IntRange(0, 240),
    default=0,
    show_default=True,
    metavar="MINUTES",
    help="How long the liquidator is away after an account fell below maintenance margin.",
)
@click.option(
    "--listen/--no-listen",
    "is_listening",
    default=True,
    show_default=True,
    help="Whether a feed's update rebalances accounts in its own transaction, or only a keeper "
    "does, in the next block.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=OUT,
    show_default=True,
    metavar="DIR",
    help="Where report.html and report.json go.",
)
def cli(
    prices: tuple[str, ...],
    start: str | None,
    end: str | None,
    accounts: int,
    delay_min: int,
    is_listening: bool,
    out: Path,
) -> None:
    """Play a market crash on a local chain: real contracts, real Uniswap V3, every price round.

    Two cohorts of the same accounts face it. One has given its accounts a hook, the other has not.
    """
    console = Console()
    try:
        opens_at_s = parse_time(start) if start else None
        # The oracle watches the hours before, as far as the source has them.
        first_s = opens_at_s - WARM_UP_S if opens_at_s is not None else None
        series = load(prices, first_s, parse_time(end) if end else None)
        recording = _play(console, series, accounts, opens_at_s, 60 * delay_min, is_listening)
        figures = write(recording, out)
    except (PriceError, ReplayError, ChainError, ArtifactError, OSError) as error:
        raise click.ClickException(str(error)) from error
    console.print(_table(figures))
    if "perpetuals" in figures:
        console.print(_perpetuals(figures))
    console.print(_liquidations(figures))
    console.print(f"Report: {out / 'report.html'} and {out / 'report.json'}", highlight=False)


def _play(
    console: Console,
    series: Any,
    accounts: int,
    opens_at_s: int | None,
    delay_s: int,
    is_listening: bool,
) -> Recording:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rounds"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(
            "Setting up", total=len(series.rounds), note="compiling and deploying"
        )

        def on_progress(done: int, total: int, recording: Recording) -> None:
            is_open = bool(recording.accounts)
            progress.update(
                task,
                completed=done,
                description="Playing" if is_open else "Warming up",
                note=f"{len(recording.rebalances)} rebalances, "
                f"{len(recording.liquidations)} liquidations"
                if is_open
                else "accounts not open",
            )

        return replay(
            series,
            accounts=accounts,
            opens_at_s=opens_at_s,
            liquidation_delay_s=delay_s,
            is_listening=is_listening,
            on_progress=on_progress,
        )


def _table(figures: dict[str, Any]) -> Table:
    prices = figures["prices"]
    table = Table(
        title=f"{prices['source']}\n"
        f"{prices['from']} to {prices['to']}, {figures['rounds']:,} rounds"
    )
    table.add_column("")
    table.add_column("without a hook", justify="right", style="red")
    table.add_column("with a hook", justify="right", style="green")
    bare, hooked = figures["bare"], figures["hooked"]

    def row(label: str, one: str, other: str) -> None:
        table.add_row(label, one, other)

    row("accounts", *(str(c["accounts"]) for c in (bare, hooked)))
    row("breached maintenance margin", *(str(c["breached"]) for c in (bare, hooked)))
    row(
        "... of those from 2x leverage up",
        *(f"{c['from_2x']['breached']} of {c['from_2x']['accounts']}" for c in (bare, hooked)),
    )
    row("equity at the start, $", *(f"{c['equity']['start']:,.0f}" for c in (bare, hooked)))
    row("equity at the end, $", *(f"{c['equity']['end']:,.0f}" for c in (bare, hooked)))
    row("rebalances", "-", str(hooked["rebalances"]))
    cost = hooked["cost_bps"]
    row("cost, bp of starting equity", "-", f"mean {cost['mean']:.1f}, max {cost['max']:.1f}")
    if hooked["rebalances"]:
        delay, gas = hooked["delay_blocks"], hooked["gas"]
        row("delay, blocks", "-", f"p50 {delay['p50']}, p95 {delay['p95']}")
        row("gas per rebalance", "-", f"p50 {gas['p50']:,}, max {gas['max']:,}")
        row("highest end, of target", "-", f"{hooked['ends_at']['max']:.3f}")
    return table


def _liquidations(figures: dict[str, Any]) -> Table:
    """Who gained and lost by liquidations, all kinds of accounts together."""
    table = Table(title="Liquidations, $")
    table.add_column("")
    table.add_column("without a hook", justify="right", style="red")
    table.add_column("with a hook", justify="right", style="green")
    cohorts = [
        [figures[name], *(kind[name] for kind in figures.get("perpetuals", {}).values())]
        for name in ("bare", "hooked")
    ]

    def signed(value: float) -> str:
        return f"{value:+,.0f}" if round(value) else "0"

    def row(label: str, key: str, sign: int = 1, told: Callable[[Any], str] = signed) -> None:
        sums = (sign * sum(c["liquidations"][key] for c in kinds) for kinds in cohorts)
        table.add_row(label, *map(told, sums))

    row("slices taken", "slices", told="{:,d}".format)
    row("rescues by their own hooks", "rescues", told="{:,d}".format)
    row("owners", "owners_lost", -1)
    gains = figures.get("liquidator", {})
    table.add_row(
        "the liquidator, exits paid", *(signed(gains.get(c, 0)) for c in ("bare", "hooked"))
    )
    row("insurance", "insurance")
    row("the house", "house_bore", -1)
    row("lenders", "lenders_bore", -1)
    return table


def _perpetuals(figures: dict[str, Any]) -> Table:
    house = figures["house"]
    equity, share = house["equity"], house["share_price"]
    change_bps = 10_000 * (share["end"] / share["start"] - 1)
    table = Table(
        title="Accounts with perpetuals",
        caption=f"The house: ${equity['start']:,.0f} to ${equity['end']:,.0f}, "
        f"a liquidity share {change_bps:+.1f} bp",
    )
    table.add_column("")
    for title in ("breached,\nno hook", "equity left,\nno hook"):
        table.add_column(title, justify="right", style="red")
    for title in ("breached,\nhook", "equity left,\nhook"):
        table.add_column(title, justify="right", style="green")
    table.add_column("rebal-\nances", justify="right")
    table.add_column("cost, bp,\nmean", justify="right")
    for kind, cohorts in figures["perpetuals"].items():
        bare, hooked = cohorts["bare"], cohorts["hooked"]
        kept = [100 * c["equity"]["end"] / c["equity"]["start"] for c in (bare, hooked)]
        table.add_row(
            kind,
            f"{bare['breached']} of {bare['accounts']}",
            f"{kept[0]:.0f} %",
            f"{hooked['breached']} of {hooked['accounts']}",
            f"{kept[1]:.0f} %",
            str(hooked["rebalances"]),
            f"{hooked['cost_bps']['mean']:.1f}",
        )
    return table


if __name__ == "__main__":
    cli()
