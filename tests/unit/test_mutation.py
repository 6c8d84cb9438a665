"""Mutants are what they say: one mistake each, found again, and a score that counts no bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pyrevm
import pytest
from vyper import compile_code
from vyper.ast import parse_to_ast

from ballast import evidence
from ballast.artifacts import ROOT, Artifact
from ballast.chain import Contract, Reverted, RevmChain
from ballast.mutation import Mutant, mutants_of, schemata, targets, verdicts
from ballast.mutation.verdicts import Verdict

pytestmark = pytest.mark.filterwarnings("ignore:tried to use block.difficulty")
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


def test_mutants_of__declared_for_a_tuple__value_is_nobodys() -> None:
    """What is read before, or is no tuple's, has mutants as ever."""
    function = (
        "@internal\ndef _pair() -> (uint256, uint256):\n    return 7, 8\n\n\n@internal\ndef f():\n"
    )
    declared = "    a: uint256 = 3\n    b: uint256 = {}\n    a, b = self._pair()\n"
    for value, places in (("4", 0), ("a", 1)):
        text = function + declared.format(value)
        threes = [m for m in mutants_of("x.vy", text) if text[m.start : m.end] == "3"]
        assert len(threes) == 2 * places
    text = function + "    a: uint256 = 3\n    a = 4\n"
    assert any(text[m.start : m.end] == "3" for m in mutants_of("x.vy", text))


def test_mutants_of__every_deployed_file__has_more_than_are_tried() -> None:
    """At least 60 of 100 lines of all files together, so that 40 stay valid."""
    lines = count = 0
    for path in targets.mutable_files():
        text = (ROOT / path).read_text()
        lines += verdicts.code_lines(text)
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


def test_current__proved_equal__is_not_valid_whatever_was_found() -> None:
    equal = verdicts.equal()
    assert equal
    found = verdicts.current({key: Verdict(equal[key], 1, "x", "survived") for key in equal})
    assert set(found) >= set(equal) and not any(found[key].is_valid for key in equal)


def test_chosen__rare_kinds__come_first() -> None:
    mutants = mutants_of("x.vy", SOURCE)
    few = verdicts.chosen(mutants, 6)
    assert len(few) == 6 and not {"constant", "operation"} & {m.kind for m in few}


# ---- many mutants in one contract

CHOSEN = '''# pragma version 0.4.3
# pragma nonreentrancy on
total: public(uint256)


@external
def count(amount: uint256, is_up: bool) -> uint256:
    """@notice Counts."""
    doubled: uint256 = (
        amount * 2
    )
    if amount > 5 and not is_up:
        self.total -= doubled
    elif amount == 3:
        self.total = 7
    else:
        for i: uint256 in range(amount, bound=9):
            self.total += doubled
    return self.total
'''


def _deployed(text: str, number: int) -> tuple[RevmChain, Contract]:
    """On a chain that says so of its difficulty."""
    compiled = compile_code(text, output_formats=["bytecode", "abi"])
    code = bytes.fromhex(compiled["bytecode"].removeprefix("0x"))
    artifact = Artifact("Chosen", tuple(compiled["abi"]), code, "Chosen.vy")
    chain = RevmChain()
    env = pyrevm.BlockEnv(number=1, timestamp=1, prevrandao=number.to_bytes(32, "big"))
    chain._block_env = lambda: env  # type: ignore[method-assign]
    chain._open()
    return chain, chain.deploy(artifact, sender=chain.accounts[0])


def _story(text: str, number: int = 0) -> list[object]:
    """What the contract answers to a few calls."""
    chain, contract = _deployed(text, number)
    found: list[object] = []
    for amount, is_up in ((4, True), (3, True), (6, True), (2, False), (6, False), (5, False)):
        try:
            contract.count(amount, is_up, sender=chain.accounts[0])
        except Reverted as error:
            found.append(str(error))
        found.append(contract.total())
    return found


def test_choices__each_number__acts_as_the_mutant_compiled_alone() -> None:
    places = schemata.places_of("x.vy", CHOSEN)
    placed = [(m, schemata.place_of(m, places)) for m in mutants_of("x.vy", CHOSEN)]
    alone = {mutant.kind for mutant, place in placed if place is None}
    assert alone == {"unlock"}
    chosen: dict[schemata.Place, list[tuple[int, Mutant]]] = {}
    for number, (mutant, place) in enumerate(placed, schemata.FIRST):
        if place is not None:
            chosen.setdefault(place, []).append((number, mutant))
    schema = schemata.with_choices(CHOSEN, chosen)
    assert _story(schema.text) == _story(CHOSEN)
    others = 0
    for pairs in chosen.values():
        for number, mutant in pairs:
            expected = _story(mutant.applied(CHOSEN))
            assert _story(schema.text, number) == expected, mutant
            others += expected != _story(CHOSEN)
    assert others > 15


def test_choices__line_of_a_variant__is_known_as_its_mutant() -> None:
    places = schemata.places_of("x.vy", CHOSEN)
    (mutant,) = (m for m in mutants_of("x.vy", CHOSEN) if m.replacement == "8")
    place = schemata.place_of(mutant, places)
    assert place is not None
    schema = schemata.with_choices(CHOSEN, {place: [(2, mutant)]})
    lines = schema.text.split("\n")
    assert {lines[line - 1].strip() for line in schema.lines} == {"self.total = 8"}


@pytest.mark.parametrize("path", targets.mutable_files())
def test_choices__all_of_a_file__can_be_read(path: str) -> None:
    """The compiler would not say which of them it does not understand."""
    text = (ROOT / path).read_text()
    places = schemata.places_of(path, text)
    chosen: dict[schemata.Place, list[tuple[int, Mutant]]] = {}
    for number, mutant in enumerate(mutants_of(path, text), schemata.FIRST):
        place = schemata.place_of(mutant, places)
        if place is not None:
            chosen.setdefault(place, []).append((number, mutant))
    assert parse_to_ast(schemata.with_choices(text, chosen).text, module_path=path).body


def test_marks__a_call__show_the_places_that_it_went_through() -> None:
    places = schemata.places_of("x.vy", CHOSEN)
    text = schemata.with_marks(CHOSEN, places)
    chain, contract = _deployed(text, schemata.marking(7))
    contract.count(3, True, sender=chain.accounts[0])
    reached = {
        CHOSEN[places[number].start : places[number].end]
        for number in schemata.marks_in(chain.evm.db_accounts, 7)
    }
    assert not schemata.marks_in(chain.evm.db_accounts, 8)
    assert {"self.total = 7", "return self.total", "amount == 3"} <= reached
    assert "self.total -= doubled" not in reached
    assert "self.total += doubled" not in reached


def test_marks__a_call_that_is_refused__are_left_too() -> None:
    places = schemata.places_of("x.vy", CHOSEN)
    chain, contract = _deployed(schemata.with_marks(CHOSEN, places), schemata.marking(1))
    with pytest.raises(Reverted):
        contract.count(6, False, sender=chain.accounts[0])
    (taken,) = [
        n for n, p in enumerate(places) if CHOSEN[p.start : p.end].startswith("self.total -")
    ]
    assert taken in schemata.marks_in(chain.evm.db_accounts, 1)


def test_without_pure__entry_and_internal__may_look_and_the_entry_is_not_locked(
    tmp_path: Path,
) -> None:
    (tmp_path / "A.vy").write_text("@external\n@pure\ndef a():\n\n@internal\n@pure\ndef b():\n")
    (tmp_path / "I.vyi").write_text("@external\n@pure\ndef a(): ...\n")
    schemata.without_pure(tmp_path)
    text = (tmp_path / "A.vy").read_text()
    assert text == "@external\n@reentrant\n@view\ndef a():\n\n@internal\n@view\ndef b():\n"
    entry = "@external\n@pure\ndef {}() -> uint256:\n    return {}\n\n"
    original = entry.format("a", 1) + entry.format("b", 2)
    (tmp_path / "A.vy").write_text(original)
    schemata.without_pure(tmp_path)
    for mutant in mutants_of("A.vy", original):
        place = schemata.moved(mutant, original)
        text = (tmp_path / "A.vy").read_text()
        assert text[place.start : place.end] == original[mutant.start : mutant.end] != ""
    assert (tmp_path / "I.vyi").read_text() == "@external\n@view\ndef a(): ...\n"


def test_verdicts__file_with_fewer_than_forty_to_a_hundred_lines__has_no_more_mutants() -> None:
    """As the page of evidence says."""
    known = verdicts.current(verdicts.read())
    for path in targets.mutable_files():
        text = (ROOT / path).read_text()
        valid = verdicts.score(v for v in known.values() if v.path == path).valid
        if 100 * valid < 40 * verdicts.code_lines(text):
            assert all(mutant.key in known for mutant in mutants_of(path, text)), path


def test_verdicts__committed__meet_the_bar_and_each_survivor_has_a_reason() -> None:
    """85% of all are killed, every one in the files where none may survive."""
    known = verdicts.current(verdicts.read())
    assert verdicts.score(known.values()).percent >= 85
    for path in targets.STRICT:
        assert verdicts.score(v for v in known.values() if v.path == path).percent == 100, path
    survivors = {key for key, verdict in known.items() if verdicts.survivors([verdict])}
    assert survivors == set(json.loads(evidence.REASONS.read_text()))
