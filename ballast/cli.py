"""What the entry points that speak to a network share: which file, which node, which key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ballast.artifacts import ArtifactError, compile_contract
from ballast.chain import ChainError, KeySigner, Reverted
from ballast.deploy import ROOMS
from ballast.manifest import BESIDES
from ballast.parameters import ParameterError, load_parameters, path_for_chain
from ballast.steps import DeployError

GWEI = 10**9
Failure = (ArtifactError, ChainError, DeployError, ParameterError, Reverted, OSError)


@contextmanager
def told_plainly() -> Iterator[None]:
    """Expected failures as one line on the terminal and exit code 1."""
    try:
        yield
    except Failure as error:
        raise click.ClickException(str(error) or type(error).__name__) from error


def parameters_of(chain_id: int, path: Path | None) -> tuple[Path, dict[str, Any]]:
    """The file asked for, or the bundled one of this chain id; checked."""
    path = path or path_for_chain(chain_id)
    return path, load_parameters(path, os.environ)


def compile_all(console: Console) -> None:
    """Compiles what a deployment is made of, naming each; from a warm cache that is a moment."""
    with console.status("compiling") as status:
        for name in (*ROOMS, *BESIDES):
            status.update(f"compiling {name}: all contracts take minutes, the first time only")
            compile_contract(name)


def url_of(provider: Any) -> str:
    """HTTP endpoint of a connected provider of ape."""
    url = getattr(provider, "http_uri", None) or getattr(provider, "uri", None)
    if not str(url).startswith("http"):
        raise click.UsageError(f"{provider.name} has no HTTP endpoint: take the provider `node`")
    return str(url)


def account_of(alias: str) -> Any:
    """The account that ape knows by this alias."""
    from ape import accounts
    from ape.exceptions import AccountsError

    try:
        return accounts.load(alias)
    except (KeyError, IndexError, AccountsError):
        known = ", ".join(sorted(accounts.aliases)) or "none"
        raise click.UsageError(
            f"ape knows no account {alias} (known: {known}). Make one: "
            f"ape accounts generate {alias}"
        ) from None


def address_of(name: str) -> str:
    """An address, given as such or by ape's alias."""
    return name if name.startswith("0x") else str(account_of(name).address)


def signer_of(
    alias: str, provider: Any, parameters: dict[str, Any], *, is_unlocked: bool
) -> KeySigner:
    """A signer of an account of ape; without `is_unlocked` it only knows the address."""
    from ape.exceptions import AccountsError
    from ape.logging import logger

    account = account_of(alias)
    cap = parameters["network"].get("max_fee_gwei")
    max_fee_wei = None if cap is None else int(cap * GWEI)
    if not is_unlocked:

        def refuse(transaction: dict[str, Any]) -> bytes:
            raise ChainError("a dry run signs nothing")

        return KeySigner(account.address, refuse, max_fee_wei=max_fee_wei)
    variable = f"APE_ACCOUNTS_{alias}_PASSPHRASE"
    try:
        with logger.at_level("ERROR"):
            account.set_autosign(True)
    except AccountsError as error:
        raise click.ClickException(
            f"{alias} cannot be unlocked: {error}. The passphrase is taken from ${variable}, "
            "or asked for where that is not set"
        ) from error
    signer = KeySigner.of_ape(account, provider.network.ecosystem, max_fee_wei=max_fee_wei)
    sign = signer.sign

    def quietly(transaction: dict[str, Any]) -> bytes:
        with logger.at_level("ERROR"):  # ape warns of a key in memory at every signature
            return sign(transaction)

    signer.sign = quietly
    return signer


def choice_of(provider: Any) -> str:
    """What `--network` takes for this provider."""
    return f"{provider.network.ecosystem.name}:{provider.network.name}:{provider.name}"
