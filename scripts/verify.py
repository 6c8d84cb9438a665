"""Check a deployment against its manifest and its parameter file.

Run by `ape run verify --network ethereum:sepolia:node`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from ape.cli import ConnectedProviderCommand, network_option
from rich.console import Console
from rich.table import Table

from ballast.artifacts import ROOT
from ballast.chain import RpcChain
from ballast.cli import compile_all, parameters_of, told_plainly, url_of
from ballast.explorer import write_inputs
from ballast.manifest import Manifest, manifest_path
from ballast.verification import Verification, verify


@click.command(cls=ConnectedProviderCommand)
@network_option(required=True)
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
    help="Record of the deployment. Default: where `ape run deploy` keeps it.",
)
@click.option(
    "--explorer", is_flag=True, help="Also write what a block explorer needs, under out/explorer/."
)
def cli(provider: Any, path: Path | None, kept: Path | None, explorer: bool) -> None:
    """Read a deployment back: code, arguments, parameters, owners, roles, listings.

    Ends with code 1 when something is not as the manifest and the file say.
    """
    console = Console(highlight=False)
    with told_plainly():
        chain = RpcChain(url_of(provider), block_interval_s=None, tx_gas=None)
        manifest = Manifest.load(kept or manifest_path(chain))
        _, parameters = parameters_of(provider.chain_id, path)
        compile_all(console)
        found = verify(chain, manifest, parameters)
        if explorer:
            folder = ROOT / "out" / "explorer" / str(manifest.chain_id)
            written = write_inputs(manifest, folder)
            console.print(f"{len(written)} files for an explorer are in {folder}", soft_wrap=True)
    if found.differences:
        console.print(_differences(found))
        raise click.ClickException(
            f"{len(found.differences)} of {found.checked} readings differ from {manifest.path}"
        )
    console.print(
        f"{found.checked} readings are as {manifest.path} and the file say.", soft_wrap=True
    )


def _differences(found: Verification) -> Table:
    table = Table(title="Not as recorded")
    for column in ("where", "what", "wanted", "on the chain"):
        table.add_column(column, overflow="fold")
    for difference in found.differences:
        name, wanted, value = difference.reading
        table.add_row(difference.place, name, str(wanted), str(value))
    return table
