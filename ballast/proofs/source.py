"""Vyper files as the compiler understands them: every expression typed, every call resolved."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vyper import ast as vy
from vyper.compiler import CompilerData
from vyper.compiler.input_bundle import FileInput, FilesystemInputBundle
from vyper.compiler.settings import Settings

from ballast.artifacts import ROOT, SITE_PACKAGES


class _Edited(FilesystemInputBundle):
    """Files of the repository, some of them with another text."""

    def __init__(self, texts: Mapping[Path, str]) -> None:
        super().__init__([SITE_PACKAGES, ROOT])  # later search paths win
        self._texts = texts

    def _load_from_path(self, resolved_path: Any, path: Any) -> Any:
        text = self._texts.get(Path(resolved_path))
        if text is None:
            return super()._load_from_path(resolved_path, path)
        return FileInput(self._generate_source_id(resolved_path), path, resolved_path, text)


_known: dict[str, Any] = {}  # by path


def load_module(path: str, edits: Mapping[str, str] | None = None) -> Any:
    """The typed syntax tree of a file, e.g. `contracts/modules/sizing.vy`, and of what it imports.

    `edits` gives other texts for files, by path, to see what a changed contract would mean. Raises
    the compiler's exception for what does not compile.
    """
    if edits:
        return _annotated(path, edits)
    if path not in _known:
        module = _annotated(path, {})
        for found in _with_imports(module):
            _known.setdefault(_name_of(found), found)
    return _known[path]


def forget() -> None:
    """Lets go of all syntax trees, which are large and refer to each other."""
    _known.clear()
    gc.collect()


def _name_of(module: Any) -> str:
    file = Path(module.resolved_path)
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.as_posix()


def _with_imports(module: Any) -> Iterator[Any]:
    yield module
    for info in module._metadata["type"].imported_modules.values():
        yield from _with_imports(info.module_node)


def _annotated(path: str, edits: Mapping[str, str]) -> Any:
    bundle = _Edited({(ROOT / name).resolve(): text for name, text in edits.items()})
    entry = bundle.load_file(ROOT / path)
    return CompilerData(entry, input_bundle=bundle, settings=Settings()).annotated_vyper_module


def functions_of(module: Any) -> dict[str, Any]:
    """The functions that a file defines, by name."""
    return {node.name: node for node in module.get_children(vy.FunctionDef)}
