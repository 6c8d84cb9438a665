"""Fork a chain, deploy Ballast against what is there, and tell its story.

Run by `make fork ARGS="..."`, `ape run fork ...` or `python -m scripts.fork ...`.
"""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console

from ballast.forks import Story, fork_parameters, forked, set_stage, upstream_node
from scripts._telling import FAILURES, end_with_nodes, tell

OUT = Path("out/fork/upstream.toml")


@click.command()
@click.option(
    "--url",
    metavar="URL",
    help="A node to fork. Default: a local one that stands in for mainnet, with real Uniswap and "
    "Chainlink contracts and a past.",
)
@click.option(
    "--parameters",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Parameter file of that network, with the addresses of tokens, feeds and Uniswap. "
    "Default: that of mainnet.",
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
    url: str | None, file: Path | None, block: int | None, is_replacing: bool, port: int | None
) -> None:
    """Fork a chain and play on it: deposit, trade, crash, rebalance, liquidation."""
    console = Console(highlight=False)
    end_with_nodes()
    try:
        with ExitStack() as nodes:
            if url is None:
                url, text = nodes.enter_context(upstream_node(port))
                file = OUT
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                console.print(f"Upstream: {url}, its parameter file {file}", soft_wrap=True)
            if port is not None:
                console.print("Serving it; end with Ctrl-C.")
                signal.pause()
            parameters = fork_parameters(file)
            chain = nodes.enter_context(forked(url, parameters, block=block))
            console.print(f"Fork: of block {chain.block:,}, at {chain.rpc.url}", soft_wrap=True)
            tell(console, Story(set_stage(chain, parameters, is_replacing=is_replacing)))
    except FAILURES as error:
        raise click.ClickException(str(error)) from error
    console.print(
        "Look at docs/forks.md for what is real here and how to fork mainnet, and at "
        "ballast/forks/story.py for what was checked."
    )


if __name__ == "__main__":
    cli()
