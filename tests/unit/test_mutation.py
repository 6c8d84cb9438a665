"""Mutants are what they say: one mistake each, found again, and a score that counts no bad ones."""

from __future__ import annotations

from pathlib import Path

from ballast.artifacts import ROOT
from ballast.mutation import mutants_of, targets, verdicts
from ballast.mutation.verdicts import Verdict

SOURCE = '''# pragma version 0.4.3
LIMIT: constant(uint256) = 10
total: uint256


@external
def add(amount: uint256, is_up: bool):
    """@notice Adds."""
    self._check_owner()
    self._accrue()
    self.total += min(amount, LIMIT)
    if amount > 5 and not is_up:
        self.total = self._mul_div_up(self.total, amount, 3)


@internal
def _accrue():
    pass


@internal
def _check_owner():
    pass


@internal
@pure
def _mul_div_up(x: uint256, y: uint256, d: uint256) -> uint256:
    return x * y // d
'''


def _replacements() -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for mutant in mutants_of("x.vy", SOURCE):
        change = (SOURCE[mutant.start : mutant.end], mutant.replacement)
        found.setdefault(mutant.kind, set()).add(change)
    return found


def test_mutants_of__a_small_contract__are_the_mistakes_of_each_kind() -> None:
    found = _replacements()
    assert ("10", "11") in found["constant"] and ("10", "9") in found["constant"]
    assert ("self._check_owner()", "pass") in found["no check of the caller"]
    assert ("self._accrue()", "pass") in found["no accrual"]
    assert found["min max"] == {("min", "max")}
    assert {(">", ">="), (">", "<=")} == found["comparison"]
    assert found["and or"] == {("and", "or")}
    assert ("not ", "") in found["sign"]
    assert found["unlock"] == {("", "@reentrant\n")}
    (rounded,) = found["rounding"]
    assert rounded[1] == "((self.total) * (amount) // (3))"
    (late,) = found["accrue late"]
    assert late[1].startswith("self.total += min") and late[1].endswith("self._accrue()")
    assert {("+", "-"), ("*", "//"), ("//", "*")} == found["operation"]


def test_mutants_of__every_mutant__is_another_text_and_has_a_key_of_its_own() -> None:
    mutants = mutants_of("x.vy", SOURCE)
    texts = {mutant.applied(SOURCE) for mutant in mutants}
    assert len(texts) == len(mutants) == len({mutant.key for mutant in mutants})
    assert SOURCE not in texts


def test_mutants_of__lines_added_above__keep_their_keys() -> None:
    """So that a verdict outlives a change elsewhere in the file."""
    moved = SOURCE.replace("total: uint256\n", "total: uint256\n\n# A remark.\n")
    before, after = ({m.key for m in mutants_of("x.vy", text)} for text in (SOURCE, moved))
    assert before == after


def test_mutants_of__every_deployed_file__has_more_than_are_tried() -> None:
    """At least 60 of 100 lines of all files together, so that 40 stay valid."""
    lines = count = 0
    for path in targets.mutable_files():
        text = (ROOT / path).read_text()
        lines += sum(
            bool(line.strip()) and not line.strip().startswith("#") for line in text.split("\n")
        )
        count += len(mutants_of(path, text))
    assert count * 100 > 60 * lines


def test_targets__every_contract__has_tests() -> None:
    """Timelock is a library's, exported whole; what tests it is about it."""
    without = {
        Path(p).stem for p in targets.mutable_files() if "modules" not in Path(p).parts
    } - set(targets.TESTS)
    assert without == {"Timelock"}
    for path in targets.mutable_files():
        assert targets.hosts_of(path), path
        assert len(targets.tests_of(path)) >= 2, path
    assert all((ROOT / path).is_file() for path in targets.STRICT)


def test_score__invalid_and_equivalent__count_for_nothing(tmp_path: Path) -> None:
    known = {
        str(number): Verdict("contracts/A.vy", number, "x", verdict)
        for number, verdict in enumerate(
            ("killed", "survived", "invalid", "equivalent", "timeout", "killed")
        )
    }
    verdicts.write(known, tmp_path / "verdicts.json")
    assert verdicts.read(tmp_path / "verdicts.json") == known
    score = verdicts.score(known.values())
    assert (score.tried, score.valid, score.killed, score.percent) == (6, 4, 3, 75.0)
    assert [v.line for v in verdicts.survivors(known.values())] == [1]


def test_chosen__rare_kinds__come_first() -> None:
    mutants = mutants_of("x.vy", SOURCE)
    few = verdicts.chosen(mutants, 6)
    assert len(few) == 6 and not {"constant", "operation"} & {m.kind for m in few}
