"""Many mutants in one contract: which of them acts is said by the chain, not by the compiler.

Compiling takes longer than running tests until one fails. So many mutants are compiled at
once: each statement that mutants change becomes a choice by `block.difficulty`, a number that no
contract reads and that the in-process chain can be told.

    if block.difficulty == 17:
        self.total -= amount
    else:
        self.total += amount

A second kind of text has no mutants but a mark at each such statement: it looks at the balance of
an address that nobody has, made of the difficulty and the number of the statement. What the chain
keeps in memory tells every account that was ever looked at, by views and by messages that were
refused as well; with another difficulty for each test it is known which statements each reaches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vyper import ast as vy

from ballast.mutation.operators import Mutant, Walk

ORIGINAL = 0  # what the chain is told; mutants have the numbers from 1 on
FIRST = 1
_MARKS = 0xBA11A57 << 128  # difficulties that mark, and addresses that are looked at
_MARK = re.compile(r"0x0*ba11a57([0-9a-f]{16})([0-9a-f]{16})", re.IGNORECASE)
_PURE = re.compile(r"^@pure$", re.MULTILINE)
_PURE_ENTRY = re.compile(r"^@external\n@pure$", re.MULTILINE)
_UNLOCKED = "@external\n@reentrant\n@view"


@dataclass(frozen=True)
class Place:
    """A piece of code that one or more mutants change.

    `form` is "statement", "declaration" or "expression"; of a declaration `value` is where its
    value starts. A mark stands before `anchor`, at the start of a statement.
    """

    start: int
    end: int
    form: str
    anchor: int
    value: int = 0
    declared: tuple[str, str] = ("", "")  # name and type


@dataclass(frozen=True)
class Schema:
    """A text with choices, and which lines of it belong to which mutant."""

    text: str
    lines: Mapping[int, Mutant]


def places_of(path: str, text: str) -> list[Place]:
    """All places of a file, in its order."""
    return sorted(_Places(path, text).places(), key=lambda place: place.start)


def place_of(mutant: Mutant, places: Sequence[Place]) -> Place | None:
    """Where a mutant can be chosen at run time; None if it has to be compiled alone."""
    for place in places:
        inner = place.value if place.form == "declaration" else place.start
        if inner <= mutant.start and mutant.end <= place.end:
            return place
    return None


def with_choices(text: str, chosen: Mapping[Place, Sequence[tuple[int, Mutant]]]) -> Schema:
    """The text with all these mutants, each acting where the difficulty is its number."""
    pieces: list[str] = []
    lines: dict[int, Mutant] = {}
    line, at = 1, 0

    def put(piece: str, mutant: Mutant | None = None) -> None:
        nonlocal line
        pieces.append(piece)
        end = line + piece.count("\n")
        if mutant is not None:
            lines.update(dict.fromkeys(range(line, end + 1), mutant))
        line = end

    for place in sorted(chosen, key=lambda place: place.start):
        put(text[at : place.start])
        at = place.end
        original = text[place.start : place.end]
        if place.form == "expression":
            put("(\n")
            for number, mutant in chosen[place]:
                put(f"({_mutated(text, place, mutant)}\n", mutant)
                put(f") if block.difficulty == {number} else (\n")
            put(original + ")" * (len(chosen[place]) + 1))
            continue
        margin = " " * (place.start - text.rfind("\n", 0, place.start) - 1)
        head = ""
        if place.form == "declaration":
            name, kind = place.declared
            put(f"{name}: {kind} = empty({kind})\n{margin}")
            head = f"{name} = "
            original = text[place.value : place.end]
        word = "if"
        for number, mutant in chosen[place]:
            put(f"{word} block.difficulty == {number}:\n")
            put(f"{margin}    {head}{_mutated(text, place, mutant)}", mutant)
            put(f"\n{margin}")
            word = "elif"
        put(f"else:\n{margin}    {head}{original}")
    put(text[at:])
    return Schema("".join(pieces), lines)


def marking(test: int) -> int:
    """The difficulty under which a test of this number leaves marks."""
    return _MARKS + (test << 64)


def with_marks(text: str, places: Sequence[Place], first: int = 0) -> str:
    """The text with a mark at each place, numbered in their order from the first on."""
    anchors: dict[int, list[int]] = {}
    for number, place in enumerate(places, start=first):
        anchors.setdefault(place.anchor, []).append(number)
    pieces, at = [], 0
    for anchor in sorted(anchors):
        margin = " " * (anchor - text.rfind("\n", 0, anchor) - 1)
        pieces.append(text[at:anchor])
        pieces.append(f"if block.difficulty >= {_MARKS}:\n")
        for number in anchors[anchor]:
            address = f"convert(convert(block.difficulty + {number}, uint160), address)"
            pieces.append(f"{margin}    assert {address}.balance != max_value(uint256)\n")
        pieces.append(margin)
        at = anchor
    return "".join([*pieces, text[at:]])


def marks_in(addresses: Iterable[str], test: int) -> set[int]:
    """Numbers of the places that a test reached, from the accounts that were looked at."""
    marks = filter(None, map(_MARK.fullmatch, addresses))
    return {int(mark[2], 16) for mark in marks if int(mark[1], 16) == test}


def without_pure(root: Path) -> None:
    """Lets every function of the contracts below read the difficulty.

    A pure entry is never locked, a view would be: it is left unlocked.
    """
    for path in [*root.rglob("*.vy"), *root.rglob("*.vyi")]:
        text = path.read_text()
        if path.suffix == ".vy":
            text = _PURE_ENTRY.sub(_UNLOCKED, text)
        path.write_text(_PURE.sub("@view", text))


def moved(mutant: Mutant, text: str) -> Mutant:
    """A mutant of a text, where it is after `without_pure`."""
    entries = [entry for entry in _PURE_ENTRY.finditer(text) if entry.end() <= mutant.start]
    added = sum(len(_UNLOCKED) - len(entry.group()) for entry in entries)
    return replace(mutant, start=mutant.start + added, end=mutant.end + added)


def _mutated(text: str, place: Place, mutant: Mutant) -> str:
    start = place.value if place.form == "declaration" else place.start
    return text[start : mutant.start] + mutant.replacement + text[mutant.end : place.end]


class _Places(Walk):
    """Goes through the functions of a file."""

    def places(self) -> Iterator[Place]:
        for node in self.tree.body:
            if isinstance(node, vy.FunctionDef):
                yield from self._places_in(node.body)

    def _places_in(self, body: Sequence[Any], anchor: int | None = None) -> Iterator[Place]:
        for node in body:
            start, end = self._span(node)
            before = start if anchor is None else anchor
            if isinstance(node, vy.If):
                yield Place(*self._span(node.test), "expression", before)
                yield from self._places_in(node.body)
                is_elif = len(node.orelse) == 1 and isinstance(node.orelse[0], vy.If)
                if is_elif and self._is_elif(node.orelse[0]):
                    yield from self._places_in(node.orelse, before)
                else:
                    yield from self._places_in(node.orelse)
            elif isinstance(node, vy.For):
                for argument in getattr(node.iter, "args", ()):
                    yield Place(*self._span(argument), "expression", before)
                yield from self._places_in(node.body)
            elif isinstance(node, vy.AnnAssign):
                # Not where the tree says: it knows of no parentheses around a value.
                value = self.text.index("=", self._span(node.annotation)[1]) + 1
                value += len(self.text[value:end]) - len(self.text[value:end].lstrip())
                declared = tuple(self._text(part) for part in (node.target, node.annotation))
                yield Place(start, end, "declaration", before, value, declared)  # type: ignore[arg-type]
            elif isinstance(
                node, vy.Assign | vy.AugAssign | vy.Expr | vy.Assert | vy.Log | vy.Return
            ):
                yield Place(start, end, "statement", before)

    def _is_elif(self, node: Any) -> bool:
        # Where an `elif` begins the tree tells either the word or its condition.
        start, _ = self._span(node)
        return "elif" in (self.text[start : start + 4], self.text[start - 5 : start - 1])
