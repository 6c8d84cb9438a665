"""The register of threats against the tests and the page."""

from __future__ import annotations

from ballast.artifacts import ROOT
from tests.threats.register import NOT_MET, PAGE, TESTS, THREATS, named, render


def test_register__ids_named_in_tests__are_those_claimed() -> None:
    """Every id that a test names is in the register, and every id of the register in a test."""
    assert set(named()) == set(THREATS)
    assert not set(THREATS) & set(NOT_MET)


def test_register__every_threat_of_the_catalogue__is_met_or_has_a_reason() -> None:
    """The whole catalogue, none forgotten."""
    catalogue = {f"T{i:02}" for i in range(1, 68)} | {f"A{i}" for i in range(1, 21)}
    assert set(THREATS) | set(NOT_MET) == catalogue


def test_register__each_row__names_files_that_exist_and_cite_the_id() -> None:
    """A row points to a defence and to a test that tries it."""
    cited = named()
    for known, row in THREATS.items():
        assert (ROOT / "contracts" / row.where).is_file(), known
        assert (TESTS / row.test).is_file(), known
        assert row.test in cited[known], known


def test_register__page__is_what_the_register_says() -> None:
    """`python tests/threats/register.py` writes it."""
    assert PAGE.read_text() == render()
