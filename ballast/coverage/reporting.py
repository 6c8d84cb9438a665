"""Figures of coverage: for people, as a small JSON, and as data that coverage.py reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coverage import Coverage, CoverageData
from coverage.plugin import CoveragePlugin, FileReporter

from ballast import evidence
from ballast.artifacts import ROOT
from ballast.coverage.sources import FileCoverage, Place
from ballast.coverage.tracing import Hits

FIGURES = evidence.COVERAGE
# Why something is not run: path -> text of a line -> reason. Kept by hand.
REASONS = ROOT / "tests" / "coverage" / "reasons.json"


def figures_of(files: Mapping[str, FileCoverage], hits: Hits) -> dict[str, Any]:
    """Counts of each file and in all, and what is not run, with the reasons there are."""
    reasons = json.loads(REASONS.read_text()) if REASONS.is_file() else {}
    told = {path: _figures(path, found, reasons.get(path, {})) for path, found in files.items()}
    parts = ("lines_run", "lines", "outcomes_run", "outcomes")
    total = {part: sum(figures[part] for figures in told.values()) for part in parts}
    calls = {"all": hits.calls, "traced": hits.traced, "unlike": hits.unlike}
    return {"total": total, "calls": calls, "files": told}


def _figures(path: str, found: FileCoverage, reasons: Mapping[str, str]) -> dict[str, Any]:
    source = (ROOT / path).read_text().split("\n")
    lines = [
        _hole(line, source[line - 1].strip(), reasons) for line in sorted(found.lines - found.run)
    ]
    outcomes = [
        _hole(place[0], f"{found.texts[place]}{_part(place)}", reasons)
        | {"seen": len(found.branches[place])}
        for place in sorted(found.branches)
        # A head that never ran is told as a line.
        if len(found.branches[place]) < 2 and place[0] in found.run
    ]
    return {
        "lines_run": len(found.lines & found.run),
        "lines": len(found.lines),
        "outcomes_run": found.outcomes_run,
        "outcomes": found.outcomes,
        "missing_lines": lines,
        "missing_outcomes": outcomes,
    }


def _part(place: Place) -> str:
    return f" [{place[5] + 1}]" if place[4] == "BoolOp" else ""


def _hole(line: int, text: str, reasons: Mapping[str, str]) -> dict[str, Any]:
    hole: dict[str, Any] = {"line": line, "text": text}
    if text in reasons:
        hole["reason"] = reasons[text]
    return hole


def percent(part: int, whole: int) -> float:
    """Of nothing everything is run."""
    return 100.0 if whole == 0 else 100 * part / whole


def write(figures: dict[str, Any]) -> None:
    """The committed figures."""
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


# ---- coverage.py


class _Reporter(FileReporter):
    """What coverage.py is told of a Vyper file."""

    def __init__(self, filename: str, lines: set[int]) -> None:
        super().__init__(filename)
        self._lines = lines

    def lines(self) -> set[int]:
        """Lines with code."""
        return self._lines


class _Plugin(CoveragePlugin):
    def __init__(self, files: Mapping[str, FileCoverage]) -> None:
        self._files = files

    def file_reporter(self, filename: str) -> FileReporter | str:
        return _Reporter(filename, self._files[Path(filename).relative_to(ROOT).as_posix()].lines)


def write_pages(files: Mapping[str, FileCoverage], folder: Path) -> Path:
    """Lines as data of coverage.py (`folder/data`) and its pages; returns the first page."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "data"
    store.unlink(missing_ok=True)
    data = CoverageData(basename=str(store))
    data.add_lines({str(ROOT / path): found.run & found.lines for path, found in files.items()})
    name = f"{_Plugin.__module__}.{_Plugin.__qualname__}"
    data.add_file_tracers({str(ROOT / path): name for path in files})
    data.write()

    def register(registry: Any) -> None:
        plugin = _Plugin(files)
        registry.add_file_tracer(plugin)
        # Data and registry have to agree on a name; this one it would find by itself in a module.
        plugin._coverage_plugin_name = name
        registry.names[name] = plugin

    reader = Coverage(data_file=str(store), config_file=False, plugins=[register])
    reader.load()
    reader.html_report(directory=str(folder / "html"), title="Coverage of the contracts")
    return folder / "html" / "index.html"
