"""A local Anvil process: found, started on a free port, and always ended."""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import IO, TYPE_CHECKING

from ballast.artifacts import NODE_MODULES
from ballast.chain.base import ChainError

if TYPE_CHECKING:
    from ballast.chain.rpc import RpcChain

BLOCK_GAS_LIMIT = 1_000_000_000
HARDFORK = "prague"  # named, because the default follows the newest
START_TIME_S = 1_700_000_000
# Blocks whose state can be asked for. Older ones would be written to disk, gigabytes in an hour of
# replay, and left there.
HISTORY = 500
_START_TIMEOUT_S = 20.0


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


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Anvil:
    """`with Anvil() as node: chain = node.chain()`.

    Blocks are mined per transaction unless `block_time_s` asks for a clock. Any address may send
    transactions. Calls reach back a few hundred blocks. `extra` takes further command-line
    arguments.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        chain_id: int = 31337,
        hardfork: str = HARDFORK,
        timestamp: int | None = START_TIME_S,
        block_time_s: float | None = None,
        gas_limit: int = BLOCK_GAS_LIMIT,
        extra: tuple[str, ...] = (),
    ) -> None:
        self.port = port
        self.pid: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives with the node
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
        if timestamp is not None:
            self._arguments += ["--timestamp", str(timestamp)]
        if block_time_s is not None:
            self._arguments += ["--block-time", str(block_time_s)]
        self._arguments += extra

    @property
    def url(self) -> str:
        """HTTP endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Anvil:
        """Start and wait until it answers. Raises ChainError when it does not."""
        binary = find_anvil()
        port = self.port = self.port or free_port()
        command = [binary, "--host", "127.0.0.1", "--port", str(port), *self._arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._complaints
        )
        self.pid = self._process.pid
        atexit.register(self.stop)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._complaints.seek(0)
                reason = self._complaints.read().decode(errors="replace").strip()
                raise ChainError(f"anvil ended at once: {reason}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.005)
        self.stop()
        raise ChainError(f"anvil did not answer within {_START_TIMEOUT_S:.0f} s")

    def stop(self) -> None:
        """End the process; harmless when it is not running."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def chain(self) -> RpcChain:
        """A chain connected to this node."""
        from ballast.chain.rpc import RpcChain

        return RpcChain(self.url)

    def __enter__(self) -> Anvil:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
