"""Trying a mutant: compile it, and run tests until one fails.

Mutants are tried in a copy of the tree. A server process there has loaded the compiler and the
tests once; each mutant is tried in a fork of it, which writes nothing that the next one could see.
The server reads one JSON object a line and answers with one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ballast.artifacts import ROOT

INVALID, EQUIVALENT, KILLED, SURVIVED, TIMEOUT = (
    "invalid",
    "equivalent",
    "killed",
    "survived",
    "timeout",
)
_EXIT = {10: INVALID, 11: EQUIVALENT, 12: KILLED, 13: SURVIVED}
_CODE = {verdict: code for code, verdict in _EXIT.items()}
_LINKED = (".venv", "node_modules", ".stamps", ".node")
OPTIONS = (
    *("-x", "-q", "--no-header", "--no-summary", "--import-mode=importlib"),
    *("-p", "no:ape_test", "-p", "no:boa_test", "-p", "no:cacheprovider", "-p", "no:xdist"),
)


class TrialError(Exception):
    """Mutants cannot be tried here; the message says why."""


class Server:
    """A copy of the tree and the process in it."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="mutants-")
        self.tree = Path(self.folder.name) / "tree"
        _copy_tree(self.tree)
        environment = {**os.environ, "BALLAST_PROFILE": "mutants", "PYTHONPATH": str(self.tree)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ballast.mutation.trial"],
            cwd=self.tree,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Raises TrialError when the server has died."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise TrialError(f"the trial process ended with {self.process.wait()}")
        return dict(json.loads(answer))

    def close(self) -> None:
        """Ends the process and removes the copy."""
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def _copy_tree(tree: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file() and not source.is_symlink():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tree / name)
    for name in _LINKED:
        if (ROOT / name).exists():
            (tree / name).symlink_to((ROOT / name).resolve())
    if (ROOT / ".build").is_dir():
        shutil.copytree(ROOT / ".build", tree / ".build")


# ---- inside the server


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    # What compiler and tests print is nobody's answer.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any]
        if question["kind"] == "load":
            answer = {"collected": _load(question["tests"])}
        elif question["kind"] == "code":
            answer = {"code": {host: _code(host) for host in question["hosts"]}}
        else:
            answer = _try(question)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _load(tests: Sequence[str]) -> int:
    """Imports the tests, so that no fork has to; what their exit code was."""
    import pytest
    import vyper.compiler  # noqa: F401

    return int(pytest.main([*OPTIONS, "--collect-only", *tests]))


def _code(host: str) -> str:
    from ballast.artifacts import compile_contract

    return compile_contract(host).bytecode.hex()


def _try(question: dict[str, Any]) -> dict[str, Any]:
    path = ROOT / question["path"]
    original = path.read_text()
    path.write_text(question["text"])
    reader, writer = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.setsid()
            os._exit(_CODE[_judged(question, writer)])
        os.close(writer)
        verdict = _waited(child, question["limit_s"])
        with os.fdopen(reader) as said:
            by = said.read()
    finally:
        path.write_text(original)
    return {"verdict": verdict, "by": by}


def _waited(child: int, limit_s: int) -> str:
    def ended(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, ended)
    signal.alarm(limit_s)
    try:
        _, status = os.waitpid(child, 0)
    except TimeoutError:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return TIMEOUT
    finally:
        signal.alarm(0)
    # A crash of the interpreter is a failure that tests saw.
    return _EXIT.get(os.waitstatus_to_exitcode(status), KILLED)


def _judged(question: dict[str, Any], writer: int) -> str:
    """In the fork: the verdict, and through the pipe the first test that failed."""
    import pytest

    from ballast import artifacts

    artifacts._compile.cache_clear()
    with tempfile.TemporaryDirectory() as folder:
        # Compiled code goes where nobody else looks; what is not mutated is taken from the copy.
        for file in artifacts.BUILD_DIR.iterdir():
            (Path(folder) / file.name).symlink_to(file)
        artifacts.BUILD_DIR = Path(folder)
        is_other = False
        for host in question["hosts"]:
            try:
                is_other = artifacts.compile_contract(host).bytecode.hex() != question["code"][host]
            except Exception:
                return INVALID
            if is_other:
                break
        if not is_other:
            return EQUIVALENT
        first = _FirstFailure()
        code = 0
        with contextlib.suppress(SystemExit):
            code = int(pytest.main([*OPTIONS, *question["tests"]], plugins=[first]))
        os.write(writer, first.name.encode())
        return SURVIVED if code == 0 else KILLED


class _FirstFailure:
    """Remembers which test saw the mistake."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A failing set-up counts as well: the system did not even come up."""
        if report.failed and not self.name:
            self.name = report.nodeid


if __name__ == "__main__":
    _serve()
