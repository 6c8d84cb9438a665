"""Tell the story of two accounts on a Hardhat node.

Run by `make hardhat`, `ape run hardhat` or `python -m scripts.hardhat`.
"""

from __future__ import annotations

import click
from rich.console import Console

from ballast.chain import BLOCK_INTERVAL_S, Hardhat, HardhatChain
from ballast.forks import Story, build_upstream, parameters_of, set_stage
from scripts._telling import FAILURES, end_with_nodes, tell


@click.command()
def cli() -> None:
    """Play on a Hardhat node: deposit, trade, crash, rebalance, liquidation."""
    console = Console(highlight=False)
    end_with_nodes()
    try:
        with Hardhat() as node:
            chain = HardhatChain(node.url, block_interval_s=BLOCK_INTERVAL_S)
            version = chain.rpc.request("web3_clientVersion")
            console.print(f"{version} at {node.url}", soft_wrap=True)
            parameters = parameters_of(build_upstream(chain))
            tell(console, Story(set_stage(chain, parameters, token="MockToken")))
    except FAILURES as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    cli()
