"""Lines and branches of the contracts, and which program counters they are.

A line counts where the compiler made code of the statement that it belongs to; of an `if` or a loop
only its head. A branch is a conditional jump that the compiler made of an `if`, an `assert`, a
loop, an `and` or an `or`, and both its outcomes are wanted. Jumps that nobody wrote (overflow,
widths of arguments, the lock of a function, answers of calls) are none of ours.

A module is compiled into many contracts. What ran in any of them ran.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vyper import ast as vy
from vyper.compiler import CompilerData
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.compiler.settings import Settings, anchor_settings
from vyper.ir import compile_ir

from ballast.artifacts import (
    BUILD_DIR,
    ROOT,
    SITE_PACKAGES,
    SOURCE_DIRS,
    compiler_version,
    contract_paths,
)
from ballast.coverage.tracing import CREATION, Hits

_JUMPI = 0x57
_BOUNDED_LOOP_JUMPS = 3  # length within the bound, length of nothing, and the end
_PUSH1, _PUSH32 = 0x60, 0x7F
_BRANCHES = (vy.If, vy.Assert, vy.For, vy.BoolOp, vy.IfExp)
_STATEMENTS = (
    *(vy.AnnAssign, vy.Assign, vy.AugAssign, vy.Assert, vy.Raise, vy.Return, vy.Expr, vy.Log),
    *(vy.If, vy.For, vy.Break, vy.Continue),
)

# Where a branch is: line and column of its beginning and end, kind, and which jump of it.
Place = tuple[int, int, int, int, str, int]


@dataclass
class FileCoverage:
    """What of a file is code, and what of it ran."""

    lines: set[int] = field(default_factory=set)
    run: set[int] = field(default_factory=set)
    branches: dict[Place, set[bool]] = field(default_factory=lambda: defaultdict(set))
    texts: dict[Place, str] = field(default_factory=dict)

    @property
    def outcomes(self) -> int:
        """Two of each branch."""
        return 2 * len(self.branches)

    @property
    def outcomes_run(self) -> int:
        """How many were seen."""
        return sum(len(seen) for seen in self.branches.values())


@dataclass(frozen=True)
class _Map:
    """What the instructions of a contract's code stand for."""

    lines: list[tuple[int, str, list[int]]]  # program counter, file, lines
    jumps: list[tuple[int, str, Place, str]]  # program counter, file, branch, its text


def _maps_of(path: Path, digest: str) -> tuple[_Map, _Map]:
    """Of the code that creates a contract, and of the code that stays."""
    # Beside the compiled contracts: the compiler needs seconds for each.
    kept = BUILD_DIR / f"{path.stem}-{digest}.map.json"
    if not kept.is_file():
        kept.write_text(json.dumps([asdict(one) for one in _compiled(path)]))
    creation, runtime = (
        _Map(
            one["lines"],
            [(pc, file, tuple(place), text) for pc, file, place, text in one["jumps"]],
        )
        for one in json.loads(kept.read_text())
    )
    return creation, runtime


def _compiled(path: Path) -> Iterator[_Map]:
    bundle = FilesystemInputBundle([SITE_PACKAGES, ROOT])
    compiled = CompilerData(bundle.load_file(path), input_bundle=bundle, settings=Settings())
    with anchor_settings(compiled.settings):
        stays, its_maps = compile_ir.assembly_to_evm(
            compiled.assembly_runtime, compiler_metadata=None
        )
        creates, maps = compile_ir.assembly_to_evm(compiled.assembly, compiler_metadata=None)
    # What a creation returns lies behind what it runs, with the same syntax once more.
    own = creates[: creates.index(stays)]
    nodes = {pc: node for pc, node in maps["pc_raw_ast_map"].items() if pc < len(own)}
    yield _read(own, nodes)
    yield _read(stays, its_maps["pc_raw_ast_map"])


def _read(code: bytes, nodes: Mapping[int, Any]) -> _Map:
    found = _Map([], [])
    for pc, node in nodes.items():
        path, lines = _path_of(node), _lines_of(node)
        if path is not None and lines:
            found.lines.append((pc, path, sorted(lines)))
    seen: dict[Any, int] = defaultdict(int)
    for pc in _jumps_of(code):
        branch = nodes.get(pc)
        path = None if branch is None else _path_of(branch)
        if path is None or not isinstance(branch, _BRANCHES):
            continue
        spot = (
            branch.lineno,
            branch.col_offset,
            branch.end_lineno or 0,
            branch.end_col_offset or 0,
        )
        kind = type(branch).__name__
        place = (*spot, kind, seen[path, spot, kind])
        seen[path, spot, kind] += 1
        text = branch.node_source_code.split("\n")[0].strip()
        found.jumps.append((pc, path, place, text))
    return found


def _digest() -> str:
    files = [f for folder in SOURCE_DIRS for f in (ROOT / folder).rglob("*.vy*")]
    joined = b"".join(hashlib.sha256(f.read_bytes()).digest() for f in sorted(files))
    return hashlib.sha256(joined + compiler_version().encode()).hexdigest()[:12]


def coverage_of(hits: Hits, hosts: Collection[str] | None = None) -> dict[str, FileCoverage]:
    """Every contract and module that is deployed for real, by its path.

    `hosts` names other contracts to look for code in; by default those that are deployed for real.
    """
    paths = contract_paths()
    if hosts is None:
        hosts = {name for name, path in paths.items() if _is_counted(_relative(path))}
    files: dict[str, FileCoverage] = defaultdict(FileCoverage)
    digest = _digest()
    # Contracts that only tests deploy add what ran of a module, and no code of their own.
    others = sorted(hits.counters.keys() & (paths.keys() - set(hosts)))
    for name in [*sorted(hosts), *(name for name in others if _has_modules(paths[name]))]:
        creation, runtime = _maps_of(paths[name], digest)
        for one, key in ((runtime, name), (creation, name + CREATION)):
            _add(files, one, hits.counters[key], hits.jumps[key], name in hosts)
    return {name: found for name, found in sorted(files.items()) if found.lines}


def _has_modules(path: Path) -> bool:
    return "from contracts.modules import" in path.read_text()


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _is_counted(path: str) -> bool:
    return path.startswith("contracts/") and not path.startswith("contracts/mocks/")


def _add(
    files: dict[str, FileCoverage],
    one: _Map,
    counters: set[int],
    jumps: set[tuple[int, bool]],
    is_ours: bool,
) -> None:
    for pc, path, lines in one.lines:
        if is_ours:
            files[path].lines.update(lines)
        if pc in counters:
            files[path].run.update(lines)
    ways: dict[int, set[bool]] = defaultdict(set)
    for pc, way in jumps:
        ways[pc].add(way)
    counts = Counter((path, place[:5]) for _, path, place, _ in one.jumps)
    for pc, path, place, text in one.jumps:
        if place[4] == "For" and place[5] == 0 and counts[path, place[:5]] == _BOUNDED_LOOP_JUMPS:
            continue  # that its length is within its bound is the compiler's own
        if is_ours or place in files[path].branches:
            files[path].branches[place] |= ways[pc]
            files[path].texts[place] = text


def _path_of(node: Any) -> str | None:
    module = node.module_node
    if module is None:
        return None
    file = Path(module.resolved_path)
    if not file.is_relative_to(ROOT):
        return None
    path = file.relative_to(ROOT).as_posix()
    return path if _is_counted(path) else None


def _lines_of(node: Any) -> set[int]:
    while node is not None and not isinstance(node, _STATEMENTS):
        node = node._parent
    if node is None or node.lineno is None:
        return set()  # the compiler's own
    if isinstance(node, vy.If):
        return set(range(node.lineno, node.test.end_lineno + 1))
    if isinstance(node, vy.For):
        return set(range(node.lineno, node.iter.end_lineno + 1))
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _jumps_of(code: bytes) -> Iterator[int]:
    pc = 0
    while pc < len(code):
        op = code[pc]
        if op == _JUMPI:
            yield pc
        pc += 1 + (op - _PUSH1 + 1 if _PUSH1 <= op <= _PUSH32 else 0)
