"""`docs/evidence.md`: what the long runs found, written by them and by nobody else.

Each run keeps its figures in a file of its own under `tests/`; the page is made from these files
alone, and a test makes it again.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ballast.artifacts import ROOT, compile_contract
from ballast.mutation import targets, verdicts
from ballast.mutation.trial import UNSEEN

PAGE = ROOT / "docs" / "evidence.md"
CAMPAIGN = ROOT / "tests" / "campaign" / "tally.json"
PROPERTIES = ROOT / "tests" / "campaign" / "properties.json"
SEEDS = ROOT / "tests" / "mutation" / "seeds.json"
REASONS = ROOT / "tests" / "mutation" / "reasons.json"
COVERAGE = ROOT / "tests" / "coverage" / "coverage.json"
MOST_SHOWN = 90  # characters of code in a table
UNEXPLAINED = "not looked at yet"
NOT_SHOWN = "not shown yet to the tests of other files"


@cache
def code_of_the_contracts() -> str:
    """A hash of the creation code of every contract that is deployed for real.

    What the compiler notes behind the code, a hash of the source among it, is left out: another
    comment makes no other contract. The last two bytes are its length.
    """
    paths = (Path(path) for path in targets.mutable_files())
    names = sorted(path.stem for path in paths if "modules" not in path.parts)
    digest = hashlib.sha256()
    for name in names:
        code = compile_contract(name).bytecode
        digest.update(code[: -int.from_bytes(code[-2:], "big")])
    return digest.hexdigest()[:16]


def write() -> None:
    """The page anew."""
    PAGE.write_text(text())


def text() -> str:
    """What the page should say."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # it is Markdown, from files of this repository
        keep_trailing_newline=True,
    )
    return environment.get_template("template.md").render(
        campaign=_campaign(),
        properties=_read(PROPERTIES),
        coverage=_coverage(),
        mutants=_mutants(),
        seeds=_seeds(),
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _campaign() -> dict[str, Any] | None:
    kept = _read(CAMPAIGN)
    if kept is None:
        return None
    actions = kept["actions"]
    people = [row for row in actions.values() if not row["is_environment"]]
    return {
        "code": kept["code"],
        "episodes": kept["episodes"],
        "hours": kept["process_minutes"] / 60,
        "accepted": sum(row["accepted"] for row in people),
        "refused": sum(row["refused"] for row in people),
        "around": sum(row["accepted"] for row in actions.values() if row["is_environment"]),
        "rows": [{"kind": kind, "reason": _reason(row), **row} for kind, row in actions.items()],
        "premises": kept["premises"].items(),
    }


def _reason(row: dict[str, Any]) -> str:
    reasons = row["reasons"]
    if not reasons:
        return ""
    count, reason = max((count, reason) for reason, count in reasons.items())
    return f"{reason} ({count:,})"


def _coverage() -> dict[str, Any] | None:
    figures = _read(COVERAGE)
    if figures is None:
        return None
    total = figures["total"]
    holes = [
        {
            "place": f"{_short(path)}:{hole['line']}",
            "text": _cell(hole["text"]),
            "reason": hole.get("reason", UNEXPLAINED),
        }
        for path, found in figures["files"].items()
        for hole in found["missing_lines"]
    ]
    return {
        "total": total,
        "lines_percent": 100 * total["lines_run"] / total["lines"],
        "outcomes_percent": 100 * total["outcomes_run"] / total["outcomes"],
        "holes": holes,
    }


def _mutants() -> dict[str, Any] | None:
    known = verdicts.current(verdicts.read())
    if not known:
        return None
    files = []
    for path in targets.mutable_files():
        score = verdicts.score(verdict for verdict in known.values() if verdict.path == path)
        lines = verdicts.code_lines((ROOT / path).read_text())
        files.append(
            {
                "name": _short(path) + ("\\*" if verdicts.is_strict(path) else ""),
                "lines": lines,
                "valid": score.valid,
                "density": f"{100 * score.valid / lines:.0f}",
                "killed": score.killed,
                "percent": f"{score.percent:.0f}" if score.valid else "",
            }
        )
    reasons: dict[str, str] = _read(REASONS) or {}
    survivors = [
        {
            "place": f"{_short(verdict.path)}:{verdict.line}",
            "mistake": verdict.mistake.replace("|", "\\|"),
            "reason": reasons.get(key, NOT_SHOWN if verdict.verdict == UNSEEN else UNEXPLAINED),
        }
        for key, verdict in known.items()
        if verdict in verdicts.survivors([verdict])
    ]
    return {
        "total": verdicts.score(known.values()),
        "files": files,
        "survivors": survivors,
        "unseen": sum(verdict.verdict == UNSEEN for verdict in known.values()),
    }


def _seeds() -> list[dict[str, str]]:
    return [
        {
            "id": key,
            "file": _short(found["file"]),
            "old": _cell(found["old"]),
            "new": _cell(found["new"]) or "nothing",
            "by": found["by"] or "**nobody**",
        }
        for key, found in (_read(SEEDS) or {}).items()
    ]


def _cell(text: str) -> str:
    """Code for a cell of a table, on one line."""
    line = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]} ..."


def _short(path: str) -> str:
    return path.removeprefix("contracts/")
