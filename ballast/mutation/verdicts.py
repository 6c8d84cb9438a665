"""What became of each mutant, kept from run to run, and the score."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ballast.artifacts import ROOT
from ballast.mutation.operators import Mutant, mutants_of
from ballast.mutation.targets import STRICT, mutable_files
from ballast.mutation.trial import EQUIVALENT, INVALID, KILLED, SURVIVED, TIMEOUT, UNSEEN

_DOCUMENTATION = re.compile(r'""".*?"""', re.DOTALL)
STORE = ROOT / "tests" / "mutation" / "verdicts.json"
EQUAL = ROOT / "tests" / "mutation" / "equal.json"


@dataclass(frozen=True)
class Verdict:
    """One mutant's end. `by` is the test that killed it."""

    path: str
    line: int
    mistake: str
    verdict: str
    by: str = ""

    @property
    def is_valid(self) -> bool:
        """It compiles, to other code, and is not proved to do the same."""
        return self.verdict not in (INVALID, EQUIVALENT)

    @property
    def is_killed(self) -> bool:
        """Some test failed, or did not end."""
        return self.verdict in (KILLED, TIMEOUT)


def read(path: Path = STORE) -> dict[str, Verdict]:
    """Verdicts by the key of the mutant; none if there is no file."""
    if not path.is_file():
        return {}
    return {key: Verdict(**fields) for key, fields in json.loads(path.read_text()).items()}


def equal() -> dict[str, str]:
    """The file of each mutant that is proved to compute the same (`tests/proofs`), by its key."""
    return dict(json.loads(EQUAL.read_text()))


def current(known: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Those whose function is as it was when they were tried, at the lines where they are now."""
    found, proved = {}, equal()
    for path in mutable_files():
        text = (ROOT / path).read_text()
        for mutant in mutants_of(path, text):
            if mutant.key in proved:
                mistake = mutant.mistake(text)
                found[mutant.key] = Verdict(path, mutant.line, mistake, EQUIVALENT)
            elif mutant.key in known:
                found[mutant.key] = replace(known[mutant.key], line=mutant.line)
    return found


def write(verdicts: Mapping[str, Verdict], path: Path = STORE) -> None:
    """One line a mutant, in the order of the files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = sorted(verdicts.items(), key=lambda row: (row[1].path, row[1].line, row[0]))
    lines = (f"{json.dumps(key)}: {json.dumps(asdict(verdict))}" for key, verdict in rows)
    temporary = path.with_suffix(".tmp")
    temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    temporary.replace(path)


@dataclass(frozen=True)
class Score:
    """Of one file, or of all."""

    tried: int
    valid: int
    killed: int

    @property
    def percent(self) -> float:
        """Killed of those that are valid; 100 where none is."""
        return 100 * self.killed / self.valid if self.valid else 100.0


def score(verdicts: Iterable[Verdict]) -> Score:
    """Counts."""
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        counts["tried"] += 1
        counts["valid"] += verdict.is_valid
        counts["killed"] += verdict.is_killed
    return Score(counts["tried"], counts["valid"], counts["killed"])


def code_lines(text: str) -> int:
    """Lines of a file that are neither empty nor only comment or documentation."""
    lines = (line.strip() for line in _DOCUMENTATION.sub("", text).split("\n"))
    return sum(bool(line) and not line.startswith("#") for line in lines)


def chosen(mutants: Iterable[Mutant], most: int) -> list[Mutant]:
    """So many mutants of a file, spread over it by their keys and the rare kinds first."""
    common = ("constant", "operation", "comparison")
    ordered = sorted(mutants, key=lambda m: (m.kind in common, m.key))
    return sorted(ordered[:most], key=lambda m: (m.line, m.start, m.key))


def is_strict(path: str) -> bool:
    """Whether every mutant of the file has to be killed."""
    return path in STRICT


def survivors(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Those that no test saw."""
    return [verdict for verdict in verdicts if verdict.verdict in (SURVIVED, UNSEEN)]
