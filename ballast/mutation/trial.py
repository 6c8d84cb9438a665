"""Trying the mutants of some files: compile them, and run tests on each until one fails.

It is done in a copy of the tree, by a process that has collected the tests once; each mutant is
tried in a fork of it. A first fork runs all tests on the unchanged contract and notes which of them
reach which statement, so that a mutant is shown first to tests that can see it, and to none that
cannot. Mutants that no test saw are compiled alone: to find those that are no other contract at
all, and to show them to the tests that mind what a choice costs.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from ballast.artifacts import ROOT
from ballast.mutation import schemata
from ballast.mutation.operators import Mutant
from ballast.mutation.schemata import Place

INVALID, EQUIVALENT, KILLED, UNSEEN, SURVIVED, TIMEOUT = (
    "invalid",
    "equivalent",
    "killed",
    "unseen",  # by the tests of its file; the others are still to be tried
    "survived",
    "timeout",
)
BATCH = 80  # mutants compiled together
MOST_KEPT = 4  # chains that a test made and no longer needs
TESTS_A_FORK = 100  # that are looked at one after the other: what they looked at adds up
BUILD = ROOT / ".cache" / "mutants"  # what other runs compiled of the unchanged contracts
_LINKED = (".venv", "node_modules", ".stamps", ".node")
OPTIONS = (
    *("-q", "--no-header", "--no-summary", "--import-mode=importlib"),
    *("-p", "no:ape_test", "-p", "no:boa_test", "-p", "no:cacheprovider", "-p", "no:xdist"),
)


class Copy:
    """A copy of the tree; with `is_open` every function may look which mutant it is to be."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="mutants-")
        self.tree = Path(self.folder.name) / "tree"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            source = ROOT / name
            if source.is_file() and not source.is_symlink():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, self.tree / name)
        for name in _LINKED:
            if (ROOT / name).exists():
                (self.tree / name).symlink_to((ROOT / name).resolve())
        if not is_open:
            if (ROOT / ".build").is_dir():
                shutil.copytree(ROOT / ".build", self.tree / ".build")
            return
        BUILD.mkdir(parents=True, exist_ok=True)
        (self.tree / ".build").symlink_to(BUILD)
        for folder in ("contracts", "tests/contracts"):
            schemata.without_pure(self.tree / folder)

    def tried(
        self,
        mutants: Sequence[Mutant],
        hosts: Sequence[str],
        tests: Sequence[str],
        *,
        are_tests_all: bool,
        are_tests_named: bool,
    ) -> Iterator[tuple[str, str, str]]:
        """Key of each mutant, its verdict and the test that killed it, as they become known."""
        paths = sorted({mutant.path for mutant in mutants})
        job = self.tree / "job.json"
        job.write_text(
            json.dumps(
                {
                    "texts": {path: (ROOT / path).read_text() for path in paths},
                    "mutants": [asdict(mutant) for mutant in mutants],
                    "hosts": hosts,
                    "tests": tests,
                    "are_tests_all": are_tests_all,
                    "are_tests_named": are_tests_named,
                }
            )
        )
        environment = {**os.environ, "BALLAST_PROFILE": "mutants", "PYTHONPATH": str(self.tree)}
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "ballast.mutation.trial"],
            cwd=self.tree,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                key, verdict, by = json.loads(line)
                yield key, verdict, by
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Removes the copy."""
        self.folder.cleanup()


# ---- inside the process of some files


class Selector:
    """Tells every in-process chain which mutant acts, and hears from it what was reached."""

    chosen = schemata.ORIGINAL

    def __init__(self) -> None:
        import pyrevm

        from ballast.chain import revm

        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.newest: list[Any] = []  # kept until their marks were read
        self.test = 0
        self.seen: set[int] = set()

        def new_evm(chain: Any) -> Any:
            if self.test:
                self._note(chain)
            config = pyrevm.Env(cfg=pyrevm.CfgEnv(limit_contract_code_size=2**20))
            evm = pyrevm.EVM(env=config, gas_limit=revm.BLOCK_GAS_LIMIT, spec_id=chain._spec)
            evm.set_block_env(chain._block_env())
            return evm

        def block_env(chain: Any) -> Any:
            return pyrevm.BlockEnv(
                number=chain._block,
                timestamp=chain._time,
                gas_limit=revm.BLOCK_GAS_LIMIT,
                prevrandao=Selector.chosen.to_bytes(32, "big"),
            )

        for function in (new_evm, block_env):
            setattr(revm.RevmChain, f"_{function.__name__}", function)

    def _note(self, chain: Any) -> None:
        if chain in self.alive:
            # The EVM that it has goes.
            self._read(chain)
            return
        self.alive.add(chain)
        self.newest.append(chain)
        if len(self.newest) > MOST_KEPT:
            self._read(self.newest.pop(0))

    def _read(self, chain: Any) -> None:
        self.seen |= schemata.marks_in(chain.evm.db_accounts, self.test)

    def begin(self, test: int) -> None:
        """From now on marks are those of a test; they have numbers from 1 on."""
        self.test, Selector.chosen = test, schemata.marking(test)
        for chain in list(self.alive):
            chain._open()

    def reached(self) -> set[int]:
        """Marks that were left since the test began."""
        for chain in list(self.alive):
            self._read(chain)
        self.newest.clear()
        found, self.seen = self.seen, set()
        return found


class Watch:
    """A plugin of pytest: what failed."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A failing set-up counts as well: the system did not even come up."""
        if report.failed:
            self.failed.add(report.nodeid)


class Trial:
    """The mutants of some files and the tests that were collected for them."""

    def __init__(self, job: Mapping[str, Any], tell: Callable[[str, str, str], None]) -> None:
        self.texts = {path: (ROOT / path).read_text() for path in job["texts"]}
        mutants = [Mutant(**row) for row in job["mutants"]]
        self.mutants = [schemata.moved(mutant, job["texts"][mutant.path]) for mutant in mutants]
        self.hosts: list[str] = job["hosts"]
        self.are_tests_all: bool = job["are_tests_all"]
        self.are_tests_named: bool = job["are_tests_named"]
        self.tell = tell
        # Only where a mutant is: contracts with a mark at every place would be too large.
        self.places: dict[str, list[Place]] = {}
        for path, text in self.texts.items():
            near = [mutant for mutant in self.mutants if mutant.path == path]
            places = schemata.places_of(path, text)
            self.places[path] = [
                place
                for place in places
                if any(schemata.place_of(mutant, [place]) for mutant in near)
            ]
        ends = accumulate((len(places) for places in self.places.values()), initial=0)
        self.first_mark = dict(zip(self.places, ends, strict=False))
        self.selector = Selector()
        self.watch = Watch()
        self.items: list[Any] = []
        self.session: Any = None
        # Of each test: whether it fails without any mutant, seconds, and the places it reaches.
        self.known: dict[str, tuple[bool, float, set[int]]] = {}
        self.killers: list[tuple[str, str, str]] = []  # file, function, test; the newest last

    def pytest_runtestloop(self, session: Any) -> bool:
        """Instead of running the tests once."""
        self.session, self.items = session, list(session.items)
        self.all()
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Hands on to the watch."""
        self.watch.pytest_runtest_logreport(report)

    def all(self) -> None:
        """Every mutant."""
        marked = {
            path: schemata.with_marks(text, self.places[path], self.first_mark[path])
            for path, text in self.texts.items()
        }
        with self._compiled(marked):
            for start in range(0, len(self.items), TESTS_A_FORK):
                some = self.items[start : start + TESTS_A_FORK]
                said = self._forked(partial(self._looked_at, some), 10_000)
                assert said is not None, "the tests do not run"
                self.known |= pickle.loads(said)
        # Not mutated, with the functions that were made views.
        with self._compiled({}) as code:
            self.code = code
            self._drop_failing()
        alone: list[Mutant] = []
        chosen: list[tuple[Mutant, Place]] = []
        for mutant in self.mutants:
            place = schemata.place_of(mutant, self.places[mutant.path])
            if place is None:
                alone.append(mutant)
            else:
                chosen.append((mutant, place))
        survivors: list[Mutant] = []
        for start in range(0, len(chosen), BATCH):
            self._try_batch(chosen[start : start + BATCH], alone, survivors)
        minding = [item for item in self.items if self.known[item.nodeid][0]]
        for mutant in survivors:
            if self.are_tests_all:
                self._try_alone(mutant, minding)
            else:
                self.tell(mutant.key, UNSEEN, "")
        for mutant in alone:
            self._try_alone(mutant, self._ordered(mutant, self.items))

    def _drop_failing(self) -> None:
        """A test that fails without a mutant, such as a count at few examples, kills none."""
        failing = [item for item in self.items if self.known[item.nodeid][0]]
        dropped = {
            item for item in failing if self._forked(partial(self._fails, item), 10_000) != b""
        }
        self.items = [item for item in self.items if item not in dropped]

    def _fails(self, item: Any) -> bytes:
        return self._first_failure([item]).encode()

    # ---- compiling

    @contextlib.contextmanager
    def _compiled(self, texts: Mapping[str, str]) -> Iterator[dict[str, bytes]]:
        """Creation code of the hosts with these texts; whoever runs tests here deploys them.

        Raises the compiler's exceptions.
        """
        from ballast import artifacts

        kept = artifacts.BUILD_DIR
        artifacts._compile.cache_clear()
        for path, text in texts.items():
            (ROOT / path).write_text(text)
        try:
            with tempfile.TemporaryDirectory() as folder:
                if texts:
                    artifacts.BUILD_DIR = Path(folder)
                code = {host: artifacts.compile_contract(host).bytecode for host in self.hosts}
                # Everything else is as it was, and so are the other hosts.
                artifacts.BUILD_DIR = kept
                self._restore(texts)
                yield code
        finally:
            artifacts.BUILD_DIR = kept
            self._restore(texts)
            artifacts._compile.cache_clear()

    def _restore(self, paths: Iterable[str]) -> None:
        for path in paths:
            (ROOT / path).write_text(self.texts[path])

    def _try_batch(
        self,
        chosen: Sequence[tuple[Mutant, Place]],
        alone: list[Mutant],
        survivors: list[Mutant],
    ) -> None:
        chosen = list(chosen)
        while chosen:
            numbers = {mutant.key: schemata.FIRST + i for i, (mutant, _) in enumerate(chosen)}
            places: dict[str, dict[Place, list[tuple[int, Mutant]]]] = {}
            for mutant, place in chosen:
                near = places.setdefault(mutant.path, {})
                near.setdefault(place, []).append((numbers[mutant.key], mutant))
            made = {
                path: schemata.with_choices(self.texts[path], near) for path, near in places.items()
            }
            try:
                with self._compiled({path: schema.text for path, schema in made.items()}):
                    for mutant, place in chosen:
                        self._try_chosen(mutant, place, numbers[mutant.key], survivors)
                return
            except AssertionError:
                raise
            except Exception as error:
                named = [path for path in made if path in str(error)] or list(made)
                bad = {
                    made[path].lines[line]
                    for path in named
                    for line in _lines_of(error)
                    if line in made[path].lines
                }
                if not bad:
                    # The compiler does not say where: those that it does not like are in a half.
                    if len(chosen) == 1:
                        bad = {chosen[0][0]}
                    else:
                        middle = len(chosen) // 2
                        self._try_batch(chosen[:middle], alone, survivors)
                        self._try_batch(chosen[middle:], alone, survivors)
                        return
                alone += bad
                chosen = [(mutant, place) for mutant, place in chosen if mutant not in bad]

    # ---- running

    def _try_chosen(
        self, mutant: Mutant, place: Place, number: int, survivors: list[Mutant]
    ) -> None:
        mark = self.first_mark[mutant.path] + self.places[mutant.path].index(place)
        # What made a contract that many tests share is no one's. A fixture that many share shows in
        # the first of them only; where somebody named the tests they are few enough for all.
        is_shared = mutant.function == "__init__" or self.are_tests_named
        able = [
            item
            for item in self.items
            if not self.known[item.nodeid][0] and (is_shared or mark in self.known[item.nodeid][2])
        ]
        verdict, by = self._judged(mutant, self._ordered(mutant, able), number)
        if verdict == SURVIVED:
            survivors.append(mutant)
        else:
            self.tell(mutant.key, verdict, by)

    def _try_alone(self, mutant: Mutant, items: Sequence[Any]) -> None:
        """A mutant compiled by itself."""
        verdict, by = EQUIVALENT, ""
        text = mutant.applied(self.texts[mutant.path])
        with contextlib.ExitStack() as stack:
            try:
                code = stack.enter_context(self._compiled({mutant.path: text}))
            except Exception:
                verdict = INVALID
            else:
                if code != self.code:
                    verdict, by = self._judged(mutant, items, schemata.ORIGINAL)
        self.tell(mutant.key, verdict, by)

    def _judged(self, mutant: Mutant, items: Sequence[Any], number: int) -> tuple[str, str]:
        if not items:
            return SURVIVED, ""
        Selector.chosen = number
        limit_s = 240 + 5 * sum(self.known[item.nodeid][1] for item in items)
        try:
            said = self._forked(lambda: self._first_failure(items).encode(), limit_s)
        except TimeoutError:
            return TIMEOUT, ""
        finally:
            Selector.chosen = schemata.ORIGINAL
        if said is None:
            return KILLED, "a crash"
        if not said:
            return SURVIVED, ""
        self.killers.append((mutant.path, mutant.function, said.decode()))
        return KILLED, said.decode()

    def _ordered(self, mutant: Mutant, items: Sequence[Any]) -> list[Any]:
        """First what killed others of the function, then of the file; of equals the fastest."""
        here = (mutant.path, mutant.function)
        near = {test for *place, test in self.killers if tuple(place) == here}
        far = {test for path, _, test in self.killers if path == mutant.path}

        def rank(item: Any) -> tuple[bool, bool, float]:
            test = item.nodeid
            return test not in near, test not in far, self.known[test][1]

        return sorted(items, key=rank)

    def _first_failure(self, items: Sequence[Any]) -> str:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.watch.failed:
                return next(iter(self.watch.failed))
        return ""

    def _looked_at(self, items: Sequence[Any]) -> bytes:
        known = {}
        for number, (item, following) in enumerate(
            zip(items, [*items[1:], None], strict=True), start=1
        ):
            self.selector.begin(number)
            start = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds = time.process_time() - start
            failed = item.nodeid in self.watch.failed
            known[item.nodeid] = (failed, seconds, self.selector.reached())
        return pickle.dumps(known)

    def _forked(self, act: Callable[[], bytes], limit_s: float) -> bytes | None:
        """What the act answers in a process of its own; None if that broke down.

        Raises TimeoutError.
        """
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(reader)
                os.setsid()
                answer = act()
                with os.fdopen(writer, "wb") as pipe:
                    pipe.write(answer)
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        signal.signal(signal.SIGALRM, _stop)
        signal.alarm(int(limit_s))
        try:
            with os.fdopen(reader, "rb") as pipe:
                said = pipe.read()
            _, status = os.waitpid(child, 0)
        except TimeoutError:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        finally:
            signal.alarm(0)
        return said if os.waitstatus_to_exitcode(status) == 0 else None


def _stop(*_: Any) -> None:
    raise TimeoutError


def _lines_of(error: BaseException) -> set[int]:
    """Lines that the compiler names in what it says."""
    found = {int(line) for line in re.findall(r"line (\d+):\d+", str(error))}
    number = getattr(error, "lineno", None)
    return found | ({number} if isinstance(number, int) else set())


def main() -> None:
    """The mutants of `job.json`; one line of JSON for each verdict."""
    import pytest
    import vyper.compiler  # noqa: F401

    job = json.loads((ROOT / "job.json").read_text())
    answers = os.fdopen(os.dup(1), "w")

    def tell(key: str, verdict: str, by: str) -> None:
        answers.write(json.dumps([key, verdict, by]) + "\n")
        answers.flush()

    # What compiler and tests print is nobody's answer.
    quiet = os.open(os.environ.get("BALLAST_MUTANTS_LOG", os.devnull), os.O_WRONLY | os.O_CREAT)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    pytest.main([*OPTIONS, *job["tests"]], plugins=[Trial(job, tell)])


if __name__ == "__main__":
    main()
