"""The page on security names tests that are there, and findings with theirs."""

from __future__ import annotations

import re

from ballast.artifacts import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
TESTS = ROOT / "tests"
FINDING = re.compile(r"^\| (F\d+) \| ([^|]+) \| .*? \| ([^|]*) \|$", re.MULTILINE)
NAMED = re.compile(r"`((?:[a-z]+/)?test_\w+\.py)(?:::(\w+))?`")


def test_page__length__is_read_in_one_sitting() -> None:
    assert len(PAGE.splitlines()) <= 200


def test_page__every_test_it_names__is_there() -> None:
    for path, name in NAMED.findall(PAGE):
        files = [TESTS / path] if "/" in path else list(TESTS.glob(f"*/{path}"))
        assert files, path
        assert all(file.is_file() for file in files), path
        if name:
            assert any(f"def {name}(" in file.read_text() for file in files), name


def test_page__every_finding_that_was_mended__has_its_test() -> None:
    findings = {known: (severity, test) for known, severity, test in FINDING.findall(PAGE)}
    assert len(findings) == len(re.findall(r"^\| F\d", PAGE, re.MULTILINE)) > 0
    for severity, test in findings.values():
        file = TESTS / "regression" / test.strip("` ")
        assert severity.endswith("left") or file.is_file(), test


def test_regression__every_file__is_told_of_on_the_page() -> None:
    files = {path.name for path in (TESTS / "regression").glob("test_*.py")}
    assert files <= {path.split("/")[-1] for path, _ in NAMED.findall(PAGE)}
