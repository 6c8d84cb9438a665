"""Program counters of the contracts, from the in-process chain: a plugin of pytest.

pyrevm traces by printing every instruction, a hundred writes each, which is out of the question.
So a call runs on the chain as ever, and one that is unlike all before it runs once more on py-evm
(`mirror`), which keeps program counters. Alike are calls of one function of one contract with the
same outcome and the same gas beyond calldata: another path costs other gas, but for rare
coincidences. Where both do not come to the same outcome nothing is counted. Both leave something
out at times and never count what did not run.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ballast.artifacts import compile_contract, contract_paths
from ballast.chain import Reverted, RevmChain
from ballast.coverage.mirror import Frame, rerun

CREATION = "!creation"
FOLDER = "BALLAST_COVERAGE_DIR"
# Of one test, and of all in a process: random inputs with a path of their own each take hours else.
# Of single tests that were named there may be more.
FACTOR = "BALLAST_COVERAGE_FACTOR"
_FACTOR = int(os.environ.get(FACTOR, "1"))
MOST_ALIKE_IN_A_TEST = 3 * _FACTOR
MOST_ALIKE = 60 * _FACTOR
TESTS_BETWEEN_SAVES = 20

_JUMPI = 0x57


class Tracer:
    """What ran so far: program counters and outcomes of jumps of each contract, by its name."""

    def __init__(self) -> None:
        self.counters: dict[str, set[int]] = defaultdict(set)
        self.jumps: dict[str, set[tuple[int, bool]]] = defaultdict(set)
        self.traced = 0
        self.calls = 0
        self._seen: set[Any] = set()
        self._alike: Counter[Any] = Counter()
        self._total: Counter[Any] = Counter()
        self._tests = 0
        self.unlike = 0  # calls whose second run came to another outcome
        self._runtimes = [
            (artifact.runtime, artifact.bytecode, name)
            for name in contract_paths()
            for artifact in [compile_contract(name)]
        ]
        self._names: dict[tuple[bytes, bool], str | None] = {}

    # ---- which contract

    def name_of(self, code: bytes, is_creation: bool) -> str | None:
        """The contract that this code is of or creates, None for foreign code."""
        key = (code, is_creation)
        if key not in self._names:
            starts = ((c if is_creation else r, n) for r, c, n in self._runtimes)
            self._names[key] = next((n for start, n in starts if code.startswith(start)), None)
        return self._names[key]

    # ---- which calls

    def start_test(self) -> None:
        """Calls of a new test."""
        self._alike.clear()
        self._tests += 1
        if self._tests % TESTS_BETWEEN_SAVES == 0:
            self.save()

    def is_new(self, key: Any, gas: int) -> bool:
        """Whether a call is unlike all before it and is to be traced."""
        self.calls += 1
        if (key, gas) in self._seen or self._alike[key] >= MOST_ALIKE_IN_A_TEST:
            return False
        if self._total[key] >= MOST_ALIKE:
            return False
        self._seen.add((key, gas))
        self._alike[key] += 1
        self._total[key] += 1
        return True

    def take(self, frames: list[Frame]) -> None:
        """Count what ran."""
        self.traced += 1
        for frame in frames:
            name = self.name_of(frame.code, frame.is_creation)
            if name is None:
                continue
            if frame.is_creation:
                name += CREATION
            trace = frame.trace
            self.counters[name].update(trace)
            jumps = self.jumps[name]
            for pc, after in zip(trace, trace[1:], strict=False):
                if frame.code[pc] == _JUMPI:
                    jumps.add((pc, after != pc + 1))

    # ---- what is kept

    def save(self) -> None:
        """A file of this process, for `Hits`."""
        folder = Path(os.environ[FOLDER])
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "calls": self.calls,
            "traced": self.traced,
            "unlike": self.unlike,
            "counters": {name: sorted(found) for name, found in self.counters.items()},
            "jumps": {name: sorted(found) for name, found in self.jumps.items()},
        }
        (folder / f"{os.getpid()}.json").write_text(json.dumps(data))


class Hits:
    """What all processes ran."""

    def __init__(self, folder: Path) -> None:
        self.counters: dict[str, set[int]] = defaultdict(set)
        self.jumps: dict[str, set[tuple[int, bool]]] = defaultdict(set)
        self.calls = self.traced = self.unlike = 0
        for file in sorted(folder.glob("*.json")):
            data = json.loads(file.read_text())
            self.calls += data["calls"]
            self.traced += data["traced"]
            self.unlike += data["unlike"]
            for name, found in data["counters"].items():
                self.counters[name].update(found)
            for name, jumps in data["jumps"].items():
                self.jumps[name].update((pc, taken) for pc, taken in jumps)


def _calldata_gas(data: bytes) -> int:
    zeros = data.count(0)
    return 4 * zeros + 16 * (len(data) - zeros)


def install(tracer: Tracer) -> None:
    """Have every in-process chain of this process watched."""
    run, create = RevmChain._run, RevmChain._create

    def watched_run(
        chain: RevmChain,
        caller: str,
        to: str,
        data: bytes,
        value: int,
        gas: int | None,
        is_static: bool,
    ) -> bytes:
        before = chain.evm.snapshot()
        arguments = (caller, to, data, value, gas, is_static)
        failure: Reverted | None = None
        output = b""
        try:
            output = run(chain, *arguments)
            used = chain.evm.result.gas_used
        except Reverted as error:
            failure, output, used = error, error.data, error.gas_used
        key = (to, data[:4], failure is None, output[:68] if failure else b"")
        if tracer.is_new(key, used - _calldata_gas(data)):
            chain.evm.revert(before)
            again = (caller, to, data, value, gas or chain.tx_gas, is_static, False)
            succeeded, told, frames = rerun(chain, *again)
            if (succeeded, told) == (failure is None, output):
                tracer.take(frames)
            else:
                tracer.unlike += 1
            return run(chain, *arguments)
        chain.evm.commit()  # the mark, or calls would soon be too deep
        if failure is not None:
            raise failure
        return output

    def watched_create(
        chain: RevmChain, caller: str, code: bytes, value: int, gas: int | None
    ) -> str:
        is_ours = tracer.name_of(code, True) is not None
        if not is_ours or not tracer.is_new(hash(code), 0):
            return create(chain, caller, code, value, gas)
        before = chain.evm.snapshot()
        address = "0x" + "c0" * 20
        reverted = False
        try:
            address = create(chain, caller, code, value, gas)
        except Reverted:
            reverted = True
        chain.evm.revert(before)
        again = (caller, address, code, value, gas or chain.tx_gas, False, True)
        succeeded, _, frames = rerun(chain, *again)
        if succeeded != reverted:
            tracer.take(frames)
        else:
            tracer.unlike += 1
        return create(chain, caller, code, value, gas)

    RevmChain._run = watched_run  # type: ignore
    RevmChain._create = watched_create  # type: ignore


# ---- the plugin


_tracer: Tracer | None = None


def pytest_configure(config: Any) -> None:
    """Start in each process that runs tests."""
    global _tracer
    is_controller = getattr(config.option, "dist", "no") != "no" and not hasattr(
        config, "workerinput"
    )
    if not is_controller:
        _tracer = Tracer()
        install(_tracer)


def pytest_runtest_logstart() -> None:
    """Every test may show its own paths."""
    if _tracer is not None:
        _tracer.start_test()


def pytest_sessionfinish() -> None:
    """Keep what this process saw."""
    if _tracer is not None:
        _tracer.save()
