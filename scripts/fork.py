"""Fork a chain, deploy Ballast against what is there, and tell its story.

Run by `make fork ARGS="..."`, `ape run fork ...` or `python -m scripts.fork ...`.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console

from ballast.artifacts import ArtifactError
from ballast.chain import ChainError, Reverted
from ballast.forks import (
    MAINNET,
    AddressError,
    ForkError,
    Story,
    StoryError,
    forked,
    read_addresses,
    set_stage,
    upstream_node,
)
from ballast.venue import VenueError
from scripts.telling import tell

OUT = Path("out/fork/addresses.toml")


@click.command()
@click.option(
    "--url",
    metavar="URL",
    help="A node to fork. Default: a local one that stands in for mainnet, with real Uniswap and "
    "Chainlink contracts and a past.",
)
@click.option(
    "--addresses",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where tokens, feeds and the router are on that chain. Default: those of mainnet.",
)
@click.option(
    "--block", type=click.IntRange(min=1), metavar="N", help="Fork this block, not the newest."
)
@click.option(
    "--replace",
    "is_replacing",
    is_flag=True,
    help="Replace the aggregator behind every feed, as is done where its oracles are not known.",
)
@click.option(
    "--serve",
    "port",
    type=click.IntRange(min=1, max=65_535),
    metavar="PORT",
    help="Only run the local chain that stands in for mainnet, to fork it from elsewhere.",
)
def cli(
    url: str | None,
    addresses: Path | None,
    block: int | None,
    is_replacing: bool,
    port: int | None,
) -> None:
    """Fork a chain and play on it: deposit, trade, crash, rebalance, liquidation."""
    console = Console(highlight=False)
    try:
        with ExitStack() as nodes:
            if url is None:
                url, there = nodes.enter_context(upstream_node(port))
                there.write(OUT)
                console.print(f"Upstream: chain {there.chain_id} at {url}, addresses in {OUT}")
                if port is not None:
                    click.pause("Press a key to end it.")
                    return
                addresses = OUT
            where = read_addresses(addresses or MAINNET)
            chain = nodes.enter_context(forked(url, where, block=block))
            console.print(f"Fork: of block {chain.block:,}, at {chain.rpc.url}")
            tell(console, Story(set_stage(chain, where, is_replacing=is_replacing)))
    except (
        *(AddressError, ForkError, StoryError, VenueError),
        *(ArtifactError, ChainError, Reverted, OSError),
    ) as error:
        raise click.ClickException(str(error)) from error
    console.print(
        "Look at docs/forks.md for what was real here and for a fork of mainnet, and at "
        "ballast/forks/story.py for what was checked."
    )


if __name__ == "__main__":
    cli()
