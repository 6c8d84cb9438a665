"""Deploy Ballast to a network: say what will happen, ask once, do it, read it back.

Run by `ape run deploy --network ethereum:sepolia:node --account ALIAS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from ape.cli import ConnectedProviderCommand, network_option
from rich.console import Console
from rich.table import Table

from ballast.chain import SigningChain
from ballast.cli import GWEI, choice_of, compile_all, parameters_of, signer_of, told_plainly, url_of
from ballast.deploy import WAD
from ballast.manifest import Manifest, manifest_path
from ballast.network import Deployment, Estimate, Outcome
from ballast.steps import Create, Step


@click.command(cls=ConnectedProviderCommand)
@network_option(required=True)
@click.option(
    "--account", "alias", required=True, metavar="ALIAS", help="Account of ape that pays."
)
@click.option(
    "--parameters",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Parameter file. Default: the bundled one of the network's chain id.",
)
@click.option(
    "--manifest",
    "kept",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the record is kept. Default: deployments/<chain id>.json, and "
    "deployments/local/<chain id>.json for a node of your own.",
)
@click.option("--yes", "is_agreed", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Rehearse, list every step, send nothing.")
@click.option(
    "--restart", is_flag=True, help="Begin anew; the old manifest is kept under another name."
)
def cli(
    provider: Any,
    alias: str,
    path: Path | None,
    kept: Path | None,
    is_agreed: bool,
    dry_run: bool,
    restart: bool,
) -> None:
    """Deploy the whole system, list its assets and hand it over to its timelock.

    Interrupt it whenever you like: the next run goes on where this one stopped.
    """
    console = Console(highlight=False)
    with told_plainly():
        source, parameters = parameters_of(provider.chain_id, path)
        compile_all(console)
        signer = signer_of(alias, provider, parameters, is_unlocked=not dry_run)
        chain = SigningChain(url_of(provider), signer)
        where = kept or manifest_path(chain)
        if restart and where.exists() and not dry_run:
            console.print(f"The old manifest is now {Manifest(where).set_aside()}")
        deployment = Deployment.open(chain, parameters, where, source=source.name)
        if deployment.manifest.is_complete and not deployment.left:
            console.print(
                f"Everything in {where} is deployed already. Check it: ape run verify",
                soft_wrap=True,
            )
            return
        estimate = deployment.estimate()
        console.print(_plan(deployment, estimate, is_long=dry_run))
        console.print(_roles(deployment))
        _require_ether(deployment, estimate)
        if dry_run:
            console.print("A dry run: nothing was sent, nothing written.")
            return
        if not is_agreed:
            click.confirm(f"Send {len(deployment.left)} transactions?", abort=True)
        deployment.run(lambda *told: _tell(deployment, *told))
        console.print("Waiting for confirmations, then reading everything back.")
        differences = deployment.finish()
        for difference in differences:
            console.print(f"[red]{difference}")
        if differences:
            raise click.ClickException(f"{len(differences)} readings are not as planned")
        console.print(_contracts(deployment))
        console.print(_afterword(where, choice_of(provider)), soft_wrap=True)


def _plan(deployment: Deployment, estimate: Estimate, *, is_long: bool) -> Table:
    network = deployment.parameters["network"]
    left, total = deployment.left, len(deployment.steps)
    table = Table(
        title=f"Ballast on {network['name']} (chain {network['chain_id']}): "
        f"{len(left)} of {total} steps to do"
    )
    table.add_column("step" if is_long else "chapter")
    table.add_column("steps", justify="right")
    table.add_column("gas", justify="right")
    table.add_column("ether", justify="right")
    rows: dict[str, list[Step]] = {}
    for step in left:
        rows.setdefault(step.name if is_long else step.chapter, []).append(step)
    for name, steps in rows.items():
        table.add_row(name, str(len(steps)), *_cost(estimate, steps))
    table.add_section()
    table.add_row("all", str(len(left)), *_cost(estimate, left))
    table.caption = (
        f"rehearsed in this process; at {estimate.gas_price_wei / GWEI:,.3f} gwei; "
        f"the account has {estimate.balance_wei / WAD:,.4f} ether"
    )
    return table


def _cost(estimate: Estimate, steps: list[Step]) -> tuple[str, str]:
    gas = sum(estimate.gas[step.name] for step in steps)
    return f"{gas:,}", f"{gas * estimate.gas_price_wei / WAD:,.6f}"


def _roles(deployment: Deployment) -> Table:
    table = Table(title="Who will be what")
    table.add_column("role")
    table.add_column("address")
    for role, address in deployment.roles.items():
        table.add_row(role, address)
    return table


def _require_ether(deployment: Deployment, estimate: Estimate) -> None:
    gas = sum(estimate.gas[step.name] for step in deployment.left)
    needed = gas * estimate.gas_price_wei
    if estimate.balance_wei < needed:
        raise click.ClickException(
            f"{deployment.plan.sender} has {estimate.balance_wei / WAD:.6f} ether and needs about "
            f"{needed / WAD:.6f}: send the rest there, then run again"
        )


def _tell(deployment: Deployment, number: int, step: Step, outcome: Outcome) -> None:
    what = step.contract.address if isinstance(step, Create) else ""
    gas = "" if outcome.gas_used is None else f"{outcome.gas_used:,} gas"
    done = "" if outcome.is_new else "found done"
    line = f"{number + 1:3}/{len(deployment.steps)} {step.name:42} {gas:>13} {what}{done}"
    click.echo(line.rstrip())


def _contracts(deployment: Deployment) -> Table:
    steps = deployment.manifest.steps.values()
    gas = sum(step["gas"] or 0 for step in steps)
    paid = sum(step["fee_wei"] or 0 for step in steps)
    table = Table(title=f"Deployed and read back: {gas:,} gas, {paid / WAD:,.6f} ether")
    table.add_column("contract")
    table.add_column("address")
    for name, entry in deployment.manifest.data["contracts"].items():
        table.add_row(name, entry["address"])
    return table


def _afterword(where: Path, network: str) -> str:
    return f"""The record of it is {where}.

Next, with --network {network}:
  ape run verify --network ...                  compare the chain with the record and the file
  ape run verify --network ... --explorer       and write what an explorer needs for the sources
  ape run keeper --network ... --account ALIAS  keep its accounts
docs/deploying.md goes on from here."""
