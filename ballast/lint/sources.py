"""Reading Vyper files: text, syntax trees, and trees with the types the compiler found."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from vyper import ast as vy
from vyper.ast.parse import parse_to_ast
from vyper.compiler import CompilerData
from vyper.compiler.input_bundle import FileInput, FilesystemInputBundle
from vyper.compiler.settings import Settings
from vyper.exceptions import VyperException

from ballast.artifacts import NOT_DEPLOYED_DIRS, SITE_PACKAGES


class Finding(NamedTuple):
    """One broken rule."""

    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.rule} {self.message}"


@dataclass
class Source:
    """One `.vy` or `.vyi` file. `path` is relative to the root, with forward slashes."""

    root: Path
    path: str
    raw: bytes
    typed: Any = None  # annotated module, when some contract that compiles contains this file
    findings: list[Finding] = field(default_factory=list)

    @cached_property
    def text(self) -> str:
        """The file's text; bytes that are not UTF-8 are replaced."""
        return self.raw.decode(errors="replace")

    @cached_property
    def lines(self) -> list[str]:
        """Lines as the compiler counts them."""
        return self.text.split("\n")

    @cached_property
    def tree(self) -> Any:
        """Syntax tree without types. Raises VyperException."""
        return parse_to_ast(self.text, module_path=self.path, is_interface=self.is_interface)

    @property
    def is_interface(self) -> bool:
        """Whether this is a `.vyi` file."""
        return self.path.endswith(".vyi")

    @property
    def is_test(self) -> bool:
        """Whether this is a contract of the tests, which may misbehave on purpose."""
        return self.path.startswith("tests/")

    @property
    def is_mock(self) -> bool:
        """Whether this stands in for someone else's contract."""
        return "mocks" in Path(self.path).parts

    @property
    def is_deployed(self) -> bool:
        """Whether this file is compiled alone."""
        return not self.is_interface and not NOT_DEPLOYED_DIRS & set(Path(self.path).parts)

    def report(self, line: int, rule: str, message: str) -> None:
        """Record a finding."""
        self.findings.append(Finding(self.path, line, rule, message))


def read_sources(root: Path) -> list[Source]:
    """All Vyper files of the contracts and of the tests."""
    found = []
    for directory in ("contracts", "tests/contracts"):
        for path in sorted((root / directory).rglob("*.vy*")):
            if path.suffix in (".vy", ".vyi"):
                found.append(Source(root, path.relative_to(root).as_posix(), path.read_bytes()))
    return found


def annotate(sources: list[Source]) -> None:
    """Give each source its typed tree; report what does not compile or is part of nothing."""
    by_path = {(s.root / s.path).resolve(): s for s in sources}
    is_complete = True
    for source in sources:
        if not source.is_deployed or source.is_test:
            continue
        try:
            modules = _compile(source)
        except VyperException as error:
            source.report(_line_of(error), "compile", message_of(error))
            is_complete = False
            continue
        for module in modules:
            owner = by_path.get(Path(module.resolved_path).resolve())
            if owner is not None and owner.typed is None:
                owner.typed = module
    for source in sources:
        if is_complete and source.typed is None and not (source.is_test or source.is_interface):
            source.report(
                1, "unreached", "no contract contains this module, so it is not checked for types"
            )


def _compile(source: Source) -> Iterator[Any]:
    # Later search paths win.
    bundle = FilesystemInputBundle([SITE_PACKAGES, source.root])
    entry = bundle.load_file(source.root / source.path)
    assert isinstance(entry, FileInput)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        top = CompilerData(entry, input_bundle=bundle, settings=Settings()).annotated_vyper_module
    for warning in raised:
        source.report(1, "compile", f"warning: {' '.join(str(warning.message).split())[:160]}")
    modules: dict[str, Any] = {}
    pending = [top]
    while pending:
        module = pending.pop()
        if module.resolved_path in modules:
            continue
        modules[module.resolved_path] = module
        pending += [info.module_node for info in module._metadata["type"].imported_modules.values()]
    return iter(modules.values())


def message_of(error: VyperException) -> str:
    """The first telling line of a compiler error."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    if lines and lines[0].startswith("Compilation failed"):
        del lines[0]  # several errors follow
    return lines[0] if lines else type(error).__name__


def _line_of(error: VyperException) -> int:
    annotations = getattr(error, "annotations", None) or ()
    for note in annotations:
        if isinstance(note, vy.VyperNode) and note.lineno:
            return int(note.lineno)
    return int(getattr(error, "lineno", None) or 1)
