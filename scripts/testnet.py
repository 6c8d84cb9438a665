"""Stand in for a testnet, so that a deployment can be rehearsed without a network or ether.

Run by `make testnet ARGS="--fund ALIAS"` or `ape run testnet --fund ALIAS`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from ballast import standin
from ballast.chain import Anvil, RpcChain
from ballast.cli import address_of, told_plainly
from ballast.deploy import WAD
from ballast.parameters import load_parameters, network_path

ETHER = 10  # for each funded account


@click.command()
@click.option("--port", default=8545, show_default=True, help="Port of the node's HTTP endpoint.")
@click.option(
    "--fund",
    "funded",
    multiple=True,
    metavar="ALIAS|ADDRESS",
    help=f"Gets {ETHER} ether; repeat for more.",
)
@click.option(
    "--parameters",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=network_path("sepolia"),
    metavar="FILE",
    help="Parameter file of the network to stand in for. Default: Sepolia's.",
)
@click.option(
    "--block-time",
    "block_time_s",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="A block every so often.",
)
@click.option(
    "--publish-every",
    "publish_s",
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="A round of every feed every so often.",
)
def cli(
    port: int, funded: tuple[str, ...], path: Path, block_time_s: float, publish_s: float
) -> None:
    """A node of your own with a testnet's chain id, and feeds where that testnet has them.

    It runs until you end it with Ctrl-C. A line such as `ETH 1800` publishes that price.
    """
    for ending in (signal.SIGINT, signal.SIGTERM):  # ape's own would end in an error
        signal.signal(ending, signal.default_int_handler)
    with told_plainly():
        addresses = {name: address_of(name) for name in funded}
        parameters = load_parameters(path, os.environ)
        node = standin.start(parameters, port=port, block_time_s=block_time_s)
        try:
            chain = RpcChain(node.url, block_interval_s=None)
            for name, address in addresses.items():
                chain.set_balance(address, ETHER * WAD)
                click.echo(f"{name} {address} has {ETHER} ether")
            network = parameters["network"]
            click.echo(
                f"{network['name']} (chain {network['chain_id']}) is stood in for at {node.url}\n"
                "`ETH 1800` and Enter publishes that price. Ctrl-C ends it."
            )
            _publish(node, parameters, publish_s)
        except KeyboardInterrupt:
            pass
        finally:
            node.stop()


def _publish(node: Anvil, parameters: dict[str, Any], publish_s: float) -> None:
    """New rounds now and then, and whenever a line asks for one; until interrupted."""
    names = list(parameters["network"]["feeds"])
    stdin = sys.stdin.fileno()
    inputs, typed = [stdin], b""
    due = time.monotonic() + publish_s
    while True:
        ready, _, _ = select.select(inputs, [], [], max(0.0, due - time.monotonic()))
        if not ready:
            for name in names:
                standin.publish(node, parameters, name)
            due = time.monotonic() + publish_s
            continue
        read = os.read(stdin, 4_096)
        if not read:  # closed: go on without
            inputs = []
        *lines, typed = (typed + read).split(b"\n")
        for line in lines:
            try:
                name, price = line.decode().split()
                answer = standin.publish(node, parameters, name, Decimal(price))
                click.echo(f"{name} is at {answer / 10**standin.ANSWER_DECIMALS:,.2f} dollars")
            except (ValueError, KeyError, InvalidOperation):
                click.echo(f"A name ({', '.join(names)}) and a price, please.")
