"""One keeper per key and machine: a locked file.

The lock belongs to the process, so it ends with it however it ends. Whoever holds it opens the
database, which counts its openings (:attr:`ballast.keeper.store.Store.fence`): a keeper that slept
through the loss of its lease, or came from another machine, cannot write any more.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO


class Held(Exception):
    """Another process has the lease; the message says which."""


def lease_path(chain_id: int, address: str, folder: Path | None = None) -> Path:
    """Where the lease of a key lies: the same for every database and working directory."""
    folder = folder or Path(tempfile.gettempdir())
    return folder / f"ballast-keeper-{chain_id}-{address.lower()}.lock"


class Lease:
    """Takes the lease, or raises Held at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._file.read().strip()
            self._file.close()
            raise Held(f"process {holder or '?'} uses this key: {path}") from error
        self._file.truncate()
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Gives it back; the file stays."""
        self._file.close()
