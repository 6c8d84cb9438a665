"""A local node as a process: started on a free port, and always ended."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, ClassVar, Self

from ballast.chain.base import ChainError

if TYPE_CHECKING:
    from ballast.chain.rpc import RpcChain

START_TIME_S = 1_700_000_000
BLOCK_GAS_LIMIT = 1_000_000_000
_START_TIMEOUT_S = 20.0


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalNode(ABC):
    """`with Node() as node: chain = node.chain()`."""

    name: ClassVar[str]
    timeout_s = _START_TIMEOUT_S  # until it answers

    def __init__(self, port: int | None = None) -> None:
        self.port = port
        self.pid: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives with the node

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """The program itself, no wrapper, which would leave it running when killed.

        Raises ChainError where it is not installed.
        """

    @abstractmethod
    def chain(self) -> RpcChain:
        """A chain connected to this node."""

    @property
    def directory(self) -> Path | None:
        """Where it is started."""
        return None

    @property
    def environment(self) -> Mapping[str, str]:
        """What it finds in its environment besides."""
        return {}

    @property
    def url(self) -> str:
        """HTTP endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start and wait until it answers. Raises ChainError when it does not."""
        port = self.port = self.port or free_port()
        self._process = subprocess.Popen(
            self.command(port),
            cwd=self.directory,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
        )
        self.pid = self._process.pid
        atexit.register(self.stop)
        deadline = time.monotonic() + self.timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._complaints.seek(0)
                reason = self._complaints.read().decode(errors="replace").strip()
                raise ChainError(f"{self.name} ended at once: {reason}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.005)
        self.stop()
        raise ChainError(f"{self.name} did not answer within {self.timeout_s:.0f} s")

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

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
