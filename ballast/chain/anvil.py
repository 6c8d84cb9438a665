"""Anvil, the local node that everything runs on."""

from __future__ import annotations

import os
import platform
import shutil
from typing import TYPE_CHECKING

from ballast.artifacts import NODE_MODULES
from ballast.chain.base import ChainError
from ballast.chain.node import BLOCK_GAS_LIMIT, START_TIME_S, LocalNode

if TYPE_CHECKING:
    from ballast.chain.rpc import RpcChain

HARDFORK = "prague"  # named, because the default follows the newest
# Blocks whose state can be asked for. Older ones would be written to disk, gigabytes in an hour of
# replay, and left there.
HISTORY = 500
_FORK_TIMEOUT_S = 120.0  # a node far away is asked first


def find_anvil() -> str:
    """Path of the `anvil` on PATH, else of the npm platform package. Raises ChainError."""
    found = shutil.which("anvil")
    if found:
        return found
    machine = platform.machine().lower()
    cpu = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        machine, machine
    )
    # The platform package holds the program itself; the wrapper package would leave it running when
    # killed.
    packaged = (
        NODE_MODULES / "@foundry-rs" / f"anvil-{platform.system().lower()}-{cpu}" / "bin" / "anvil"
    )
    if packaged.is_file():
        if not os.access(packaged, os.X_OK):
            packaged.chmod(0o755)
        return str(packaged)
    raise ChainError("no anvil: run `make setup`, or install Foundry so that `anvil` is on PATH")


class Anvil(LocalNode):
    """`with Anvil() as node: chain = node.chain()`.

    Blocks are mined per transaction unless `block_time_s` asks for a clock. Any address may send
    transactions. Calls reach back a few hundred blocks. `extra` takes further command-line
    arguments.

    With `fork_url` the chain goes on from the newest block of another node, or from `fork_block`,
    and from its time; `chain_id` should be that node's. What is read there is not kept on disk.
    """

    name = "anvil"

    def __init__(
        self,
        *,
        port: int | None = None,
        chain_id: int = 31337,
        hardfork: str = HARDFORK,
        timestamp: int | None = START_TIME_S,
        block_time_s: float | None = None,
        gas_limit: int = BLOCK_GAS_LIMIT,
        fork_url: str | None = None,
        fork_block: int | None = None,
        extra: tuple[str, ...] = (),
    ) -> None:
        super().__init__(port)
        if fork_url is not None:
            self.timeout_s = _FORK_TIMEOUT_S
        self._arguments = [
            "--chain-id",
            str(chain_id),
            "--hardfork",
            hardfork,
            "--gas-limit",
            str(gas_limit),
        ]
        self._arguments += ["--auto-impersonate", "--quiet"]
        self._arguments += ["--prune-history", str(HISTORY)]
        if fork_url is not None:
            # A cache in the home directory would answer for a node that was built anew since.
            self._arguments += ["--fork-url", fork_url, "--no-storage-caching"]
            if fork_block is not None:
                self._arguments += ["--fork-block-number", str(fork_block)]
        elif timestamp is not None:
            self._arguments += ["--timestamp", str(timestamp)]
        if block_time_s is not None:
            self._arguments += ["--block-time", str(block_time_s)]
        self._arguments += extra

    def command(self, port: int) -> list[str]:
        return [find_anvil(), "--host", "127.0.0.1", "--port", str(port), *self._arguments]

    def chain(self) -> RpcChain:
        from ballast.chain.rpc import RpcChain

        return RpcChain(self.url)
