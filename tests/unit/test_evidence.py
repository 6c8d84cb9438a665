"""docs/invariants.md, the contracts' `@custom:invariant` tags and the tests tell the same story,
and docs/evidence.md what the long runs kept."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from ballast import evidence
from ballast.artifacts import ROOT
from tests import deep
from tests.seeds import seeds

CONTRACTS, TESTS = ROOT / "contracts", ROOT / "tests"
ID = re.compile(r"\bI\d\d\b")
TAG = re.compile(r"^@custom:invariant (.*)$", re.MULTILINE)
ROW = re.compile(r"^\| (I\d\d) \| (.*) \| (.*) \| (.*) \|$", re.MULTILINE)


class Row(NamedTuple):
    """One invariant of the page."""

    id: str
    sentence: str
    contracts: list[str]
    tests: list[str]


@cache
def rows() -> tuple[Row, ...]:
    """The table of the page."""
    text = (ROOT / "docs" / "invariants.md").read_text()
    return tuple(
        Row(key, sentence, re.findall(r"`([^`]+)`", where), re.findall(r"`([^`]+)`", tests))
        for key, sentence, where, tests in ROW.findall(text)
    )


@cache
def tags() -> dict[str, frozenset[str]]:
    """Ids that each contract or module claims."""
    found = {}
    for path in sorted(CONTRACTS.rglob("*.vy")):
        claimed = {key for line in TAG.findall(path.read_text()) for key in ID.findall(line)}
        if claimed:
            found[path.relative_to(CONTRACTS).as_posix()] = frozenset(claimed)
    return found


@cache
def names(test: str) -> frozenset[str]:
    """Ids that a test file names."""
    return frozenset(re.findall(r"(?<![A-Za-z0-9])I\d\d(?!\d)", (TESTS / test).read_text()))


def test_page__ids__are_ordered_and_said_once() -> None:
    ids = [row.id for row in rows()]
    assert ids == sorted(set(ids))
    assert len(ids) > 30


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_page__each_row__says_must_and_names_tests_that_name_it(row: Row) -> None:
    assert "MUST" in row.sentence
    assert row.contracts
    missing = [name for name in row.contracts if not (CONTRACTS / name).is_file()]
    assert missing == [], "no such contract"
    assert row.tests
    silent = [name for name in row.tests if row.id not in names(name)]
    assert silent == [], f"these tests never say {row.id}"


def test_page__every_tag_of_a_contract__is_there_with_that_contract() -> None:
    claimed = {(key, path) for path, keys in tags().items() for key in keys}
    written = {(row.id, path) for row in rows() for path in row.contracts}
    assert claimed, "no contract claims an invariant"
    assert claimed - written == set(), "claimed in a contract, not on the page"


def test_page__every_id_that_a_test_names__is_there() -> None:
    known = {row.id for row in rows()}
    tests = [path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")]
    unknown = {(name, key) for name in tests for key in names(name) if key not in known}
    assert unknown == set(), "named in a test, not on the page"


def test_seeds__every_invariant__has_one_whose_place_is_there() -> None:
    assert [seed.id for seed in seeds()] == [row.id for row in rows()]
    for seed in seeds():
        text = (ROOT / seed.file).read_text()
        assert text.count(seed.old) == 1, f"{seed.id}: {seed.old!r} in {seed.file}"
        assert seed.new != seed.old


def test_seeds__every_one__was_seen_as_it_is_now() -> None:
    found = json.loads(evidence.SEEDS.read_text())
    for seed in seeds():
        kept = found[seed.id]
        same = (kept["file"], kept["old"], kept["new"]) == (seed.file, seed.old, seed.new)
        assert same, f"{seed.id} is another now: run `make seeds`"
        assert kept["by"], f"{seed.id} was seen by nobody"


def test_evidence__page__is_what_the_files_say() -> None:
    assert evidence.PAGE.read_text() == evidence.text(), "run `python -m ballast.evidence`"


def test_deep__report_of_pytest__is_counted_without_what_was_skipped(tmp_path: Path) -> None:
    report = tmp_path / "deep.xml"
    report.write_text('<testsuites><testsuite tests="12" skipped="2" time="90.2"/></testsuites>')
    assert deep.figures_of(report) == {
        "code": evidence.code_of_the_contracts(),
        "examples": 2_500,
        "passed": 10,
        "skipped": 2,
        "minutes": 1.5,
    }
