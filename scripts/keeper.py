"""Keep accounts: rebalance and liquidate them where it pays, until told to stop.

Run by `ape run keeper --network ethereum:sepolia:node --account ALIAS`.
"""

from __future__ import annotations

import logging
import signal
import sqlite3
from collections import Counter
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import click
from ape.cli import ConnectedProviderCommand, network_option
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from ballast.artifacts import ROOT
from ballast.chain import KeySigner, RpcChain
from ballast.cli import GWEI, Failure, compile_all, signer_of, url_of
from ballast.keeper import (
    NOBODY,
    Endpoints,
    Fenced,
    Habits,
    Held,
    Keeper,
    Lease,
    Rooms,
    Rules,
    Store,
    StoreError,
    Terms,
    lease_path,
)
from ballast.manifest import Manifest, manifest_path
from ballast.sandbox import to_wad
from ballast.steps import DeployError

WAD = 10**18
LOCAL_CHAINS = (1337, 31337)
MAX_HEAD_AGE_S = 600
STANDBY_S = 5.0
LINE = 180


class Amount(click.ParamType):
    """Whole quote tokens, as WAD."""

    name = "amount"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        try:
            return to_wad(Decimal(value))
        except (ArithmeticError, ValueError):
            self.fail(f"{value} is no amount", param, ctx)


AMOUNT = Amount()


@click.command(cls=ConnectedProviderCommand)
@network_option(required=True)
@click.option(
    "--account", "alias", metavar="ALIAS", help="Account of ape that sends; not for a dry run."
)
@click.option("--dry-run", is_flag=True, help="Decide and say so, send nothing, keep nothing.")
@click.option("--once", is_flag=True, help="One round, then wait for what it sent.")
@click.option(
    "--db",
    "database",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What it remembers. Default: out/keeper/<chain id>-<address>.sqlite3",
)
@click.option(
    "--manifest",
    "kept",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The deployment's record. Default: deployments/<chain id>.json, and "
    "deployments/local/<chain id>.json for a node of your own.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="URL",
    help="Another node to go to when the network's own is away; repeat for more.",
)
@click.option(
    "--min-profit",
    type=AMOUNT,
    default="0",
    show_default=True,
    metavar="AMOUNT",
    help="Least that is left of the pay once gas is paid, quote tokens.",
)
@click.option(
    "--altruistic",
    is_flag=True,
    help="Act also where it does not pay, and see to pokes, flags and headroom, which never do.",
)
@click.option(
    "--liquidate/--no-liquidate",
    "liquidates",
    default=True,
    show_default=True,
    help="Whether accounts below maintenance margin are liquidated.",
)
@click.option(
    "--max-capital",
    type=AMOUNT,
    default="10000",
    show_default=True,
    metavar="AMOUNT",
    help="Most that a slice may cost the taker's account, quote tokens.",
)
@click.option(
    "--taker",
    "sub",
    type=click.IntRange(0, 255),
    default=0,
    show_default=True,
    metavar="N",
    help="Sub-account of the key that takes slices and is paid.",
)
@click.option(
    "--max-gas-price",
    type=click.FloatRange(min=0, min_open=True),
    default=200.0,
    show_default=True,
    metavar="GWEI",
    help="Nothing is sent at more.",
)
@click.option(
    "--tip",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="GWEI",
    help="Offered to whoever makes the block.",
)
@click.option(
    "--max-waste",
    type=AMOUNT,
    default="50",
    show_default=True,
    metavar="AMOUNT",
    help="Gas spent for nothing in an hour before it stops for a while, quote tokens.",
)
@click.option(
    "--confirmations",
    type=click.IntRange(1, 128),
    default=3,
    show_default=True,
    metavar="N",
    help="A transaction is done once its block is the newest of so many.",
)
@click.option(
    "--jitter",
    type=click.IntRange(0, 100),
    default=0,
    show_default=True,
    metavar="BLOCKS",
    help="Outside an emergency it leaves others up to so many blocks, by chance.",
)
@click.option(
    "--native-price",
    type=AMOUNT,
    default="0",
    metavar="AMOUNT",
    help="Quote tokens per coin that gas is paid in, where the system lists none.",
)
@click.option("--standby", is_flag=True, help="Wait while another process uses the key.")
@click.option("--all-lines", is_flag=True, help="Say of every account why nothing is done.")
def cli(
    provider: Any,
    alias: str | None,
    dry_run: bool,
    once: bool,
    database: Path | None,
    kept: Path | None,
    endpoints: tuple[str, ...],
    min_profit: int,
    altruistic: bool,
    liquidates: bool,
    max_capital: int,
    sub: int,
    max_gas_price: float,
    tip: float,
    max_waste: int,
    confirmations: int,
    jitter: int,
    native_price: int,
    standby: bool,
    all_lines: bool,
) -> None:
    """Has accounts rebalanced and liquidated, for pay. Ctrl-C drains and sums up."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LINE  # into a file: a line for each decision
    _log_to(console, all_lines)
    if alias is None and not dry_run:
        raise click.UsageError("without --account there is nobody to send: add --dry-run")
    try:
        compile_all(console)
        rpc = Endpoints([url_of(provider), *endpoints], provider.chain_id)
        path = kept or manifest_path(RpcChain(rpc, block_interval_s=None))  # type: ignore[arg-type]
        rooms = Rooms.of(rpc, Manifest.load(path))
        key = None
        if alias is not None:
            key = signer_of(alias, provider, {"network": {}}, is_unlocked=not dry_run)
        stop = _stop_on_signals()
        lease = None if dry_run else _lease(rpc.chain_id, key, standby, stop)
        if stop.is_set():
            return
        keeper = Keeper(
            rpc,
            rooms,
            Store(
                ":memory:" if dry_run else _database(database, rpc.chain_id, key),
                chain_id=rpc.chain_id,
                system=rooms.clearinghouse.address,
            ),
            None if dry_run else key,
            Terms(
                min_profit_wad=min_profit,
                is_altruistic=altruistic,
                liquidates=liquidates,
                max_capital_wad=max_capital,
                max_gas_price_wei=int(max_gas_price * GWEI),
                max_waste_wad=max_waste,
            ),
            Rules(confirmations=confirmations),
            Habits(
                jitter_blocks=jitter,
                max_head_age_s=None if rpc.chain_id in LOCAL_CHAINS else MAX_HEAD_AGE_S,
            ),
            sub=sub,
            tip_wei=int(tip * GWEI),
            native_price_wad=native_price,
            watcher=NOBODY if key is None else key.address,
        )
        try:
            if once or dry_run:
                keeper.tick()
                keeper.drain(stop.wait)
            else:
                keeper.run(stop.is_set, stop.wait)
        finally:
            console.print(_summary(keeper))
            keeper.store.close()
            if lease is not None:
                lease.release()
    except (*Failure, DeployError, Held, Fenced, StoreError, sqlite3.Error) as error:
        raise click.ClickException(str(error) or type(error).__name__) from error


def _log_to(console: Console, all_lines: bool) -> None:
    handler = RichHandler(
        console=console,
        show_path=False,
        show_level=True,
        markup=False,
        log_time_format="%H:%M:%S",
    )
    logger = logging.getLogger("ballast.keeper")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if all_lines else logging.INFO)
    logger.propagate = False


def _stop_on_signals() -> Event:
    stop = Event()

    def on_signal(number: int, frame: Any) -> None:
        # A second one ends it at once; what was sent is found again by the next run.
        signal.signal(number, signal.default_int_handler)
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return stop


def _lease(chain_id: int, key: KeySigner | None, standby: bool, stop: Event) -> Lease:
    assert key is not None
    while True:
        try:
            return Lease(lease_path(chain_id, key.address))
        except Held as held:
            if not standby or stop.is_set():
                raise
            logging.getLogger("ballast.keeper").info("standing by: %s", held)
            stop.wait(STANDBY_S)


def _database(path: Path | None, chain_id: int, key: KeySigner | None) -> Path:
    assert key is not None
    path = path or ROOT / "out" / "keeper" / f"{chain_id}-{key.address}.sqlite3"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _summary(keeper: Keeper) -> Table:
    totals, counts = keeper.totals(), keeper.counts
    table = Table(title="This run")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("accounts known", f"{len(keeper.store.accounts()):,}")
    table.add_row("decided in the last round", _listed(Counter(d.action for d in keeper.decisions)))
    for name in sorted(counts):
        table.add_row(name, f"{counts[name]:,}")
    table.add_row("transactions mined", f"{totals['mined']:,}")
    table.add_row("... of them for nothing", f"{totals['wasted']:,}")
    table.add_row("gas", f"{totals['gas']:,}")
    table.add_row("brought, quote tokens", f"{totals['gain_wad'] / WAD:,.4f}")
    table.add_row("gas cost, quote tokens", f"{totals['cost_wad'] / WAD:,.4f}")
    open_intents = keeper.store.open_intents()
    table.add_row("not confirmed yet", f"{len(open_intents):,}")
    return table


def _listed(counts: Counter[Any]) -> str:
    return ", ".join(f"{number} {action}" for action, number in sorted(counts.items())) or "nothing"


if __name__ == "__main__":
    cli()
