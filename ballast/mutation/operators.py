"""Mistakes that somebody could make in a Vyper file, one at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vyper import ast as vy
from vyper.ast.parse import parse_to_ast

# What stands for another comparison or operation, and its nearest mistakes.
COMPARISONS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
}
OPERATIONS = {
    "+": ("-",),
    "-": ("+",),
    "*": ("//",),
    "//": ("*",),
    "%": ("//",),
    "&": ("|",),
    "|": ("&",),
    "<<": (">>",),
    ">>": ("<<",),
}
# Functions that round one way, and what rounds the other.
ROUNDINGS = {
    "_mul_div_up": "({0}) * ({1}) // ({2})",
    "_div_up": "({0}) // ({1})",
    "_div_floor_signed": "fixed_point._div_zero_signed({0}, {1})",
    "_div_zero_signed": "fixed_point._div_floor_signed({0}, {1})",
    "_mul_wad_floor_signed": "-fixed_point._mul_wad_floor_signed(-({0}), {1})",
}
_NAMES = {"min": "max", "max": "min"}
_SIGN = re.compile(r"not\s+|[~-]")
_OPERATOR = re.compile(r"//|<<|>>|<=|>=|==|!=|\*\*|[-+*%&|^<>]|\band\b|\bor\b")


@dataclass(frozen=True)
class Mutant:
    """One mistake: the text from `start` to `end` replaced. `kind` names the operator."""

    path: str  # of the file, relative to the root
    line: int
    kind: str
    start: int
    end: int
    replacement: str
    function: str  # that it is in, "" for constants
    key: str  # stays the same while the function around it does

    def applied(self, text: str) -> str:
        """The file with the mistake."""
        return text[: self.start] + self.replacement + text[self.end :]

    def mistake(self, text: str) -> str:
        """What is wrong, in one line for people."""
        old = " ".join(text[self.start : self.end].split())
        new = " ".join(self.replacement.split()) or "nothing"
        return f"{self.kind}: {old[:70]} -> {new[:70]}"


def mutants_of(path: str, text: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines, without two that read the same."""
    found: dict[str, Mutant] = {}
    counts: dict[str, int] = {}
    for line, kind, start, end, replacement, scope in Walk(path, text).all():
        name, around = scope
        mistake = f"{name}|{kind}|{text[start:end]}|{replacement}|{around}"
        counts[mistake] = counts.get(mistake, 0) + 1
        key = hashlib.sha256(f"{path}|{mistake}|{counts[mistake]}".encode()).hexdigest()[:16]
        mutant = Mutant(path, line, kind, start, end, replacement, name, key)
        if mutant.applied(text) != text:
            found.setdefault(mutant.applied(text), mutant)
    return sorted(found.values(), key=lambda m: (m.line, m.start, m.kind, m.replacement))


Raw = tuple[int, str, int, int, str, tuple[str, str]]


class Walk:
    """Goes through one file."""

    def __init__(self, path: str, text: str) -> None:
        self.text = text
        self.tree = parse_to_ast(text, module_path=path)
        self.starts = [0]
        for line in text.split("\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)

    def all(self) -> Iterator[Raw]:
        """Every mistake, with the function around it."""
        for node in self.tree.body:
            if isinstance(node, vy.VariableDecl) and node.is_constant:
                for found in self._of_value(node.value):
                    yield (*found, ("", self._text(node)))
            elif isinstance(node, vy.FunctionDef):
                scope = (node.name, self._text(node))
                for found in self._of_function(node):
                    yield (*found, scope)

    # ---- where things are

    def _at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def _span(self, node: Any) -> tuple[int, int]:
        return (
            self._at(node.lineno, node.col_offset),
            self._at(node.end_lineno, node.end_col_offset),
        )

    def _text(self, node: Any) -> str:
        start, end = self._span(node)
        return self.text[start:end]

    def _between(self, left: Any, right: Any) -> tuple[int, int, str] | None:
        """The operator between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        match = _OPERATOR.search(self.text, start, end)
        return (match.start(), match.end(), match.group()) if match else None

    # ---- statements

    def _of_function(self, node: Any) -> Iterator[tuple[int, str, int, int, str]]:
        decorators = {d.id for d in node.decorator_list if isinstance(d, vy.Name)}
        if "external" in decorators and not decorators & {"view", "pure", "reentrant"}:
            start = self._at(node.lineno, node.col_offset)
            # The tree counts a function from its `def`; the decorators stand above it.
            yield node.lineno, "unlock", start, start, "@reentrant\n"
        yield from self._of_block(node.body)

    def _of_block(self, body: list[Any]) -> Iterator[tuple[int, str, int, int, str]]:
        for number, node in enumerate(body):
            if not self._is_only_declared(node, body[number + 1 :]):
                yield from self._of_statement(node)
            if "_accrue" in self._text(node) and number + 1 < len(body):
                yield from self._swapped(node, body[number + 1])

    def _is_only_declared(self, node: Any, rest: list[Any]) -> bool:
        """Whether a variable is there for a tuple to be unpacked into before anything reads it."""
        if not isinstance(node, vy.AnnAssign):
            return False
        name = node.target.id
        for later in rest:
            if isinstance(later, vy.Assign) and isinstance(later.target, vy.Tuple):
                targets = {self._text(part) for part in later.target.elements}
                if name in targets:
                    return not self._names(later.value, name)
            if not isinstance(later, vy.AnnAssign) or self._names(later.value, name):
                return False
        return False

    def _names(self, value: Any, name: str) -> bool:
        parts = [value, *value.get_descendants()]
        return any(isinstance(part, vy.Name) and part.id == name for part in parts)

    def _swapped(self, first: Any, second: Any) -> Iterator[tuple[int, str, int, int, str]]:
        """An accrual done one statement too late."""
        if any(isinstance(n, vy.Return | vy.If | vy.For) for n in (first, second)):
            return
        start, end = self._span(first)[0], self._span(second)[1]
        between = self.text[self._span(first)[1] : self._span(second)[0]]
        swapped = self._text(second) + between + self._text(first)
        yield first.lineno, "accrue late", start, end, swapped

    def _of_statement(self, node: Any) -> Iterator[tuple[int, str, int, int, str]]:
        line, (start, end) = node.lineno, self._span(node)
        if isinstance(node, vy.Expr | vy.Assert | vy.Assign | vy.AugAssign | vy.Log):
            yield line, self._deletion(node), start, end, "pass"
        if isinstance(node, vy.AugAssign):
            yield from self._of_update(node)
        if isinstance(node, vy.If):
            test_start, test_end = self._span(node.test)
            test = self.text[test_start:test_end]
            yield line, "negate", test_start, test_end, f"not ({test})"
            yield from self._of_value(node.test)
            yield from self._of_block(node.body)
            yield from self._of_block(node.orelse)
            return
        if isinstance(node, vy.For):
            # Not the bound: a larger one is no mistake that can be seen.
            for argument in getattr(node.iter, "args", ()):
                yield from self._of_value(argument)
            yield from self._of_block(node.body)
            return
        for field in ("value", "test", "target"):
            value = getattr(node, field, None)
            if value is not None and not (field == "target" and isinstance(node, vy.AnnAssign)):
                yield from self._of_value(value)

    def _deletion(self, node: Any) -> str:
        text = self._text(node)
        if isinstance(node, vy.Log):
            return "no event"
        if isinstance(node, vy.Assign | vy.AugAssign):
            return "no assignment"
        if "_check_" in text:
            return "no check of the caller"
        if "_require_" in text or isinstance(node, vy.Assert):
            return "no requirement"
        return "no accrual" if "_accrue" in text else "no call"

    def _of_update(self, node: Any) -> Iterator[tuple[int, str, int, int, str]]:
        start, end = self._span(node.target)[1], self._span(node.value)[0]
        match = re.search(r"([-+*|&]|//)=", self.text[start:end])
        if match:
            for other in OPERATIONS.get(match.group(1), ()):
                at = start + match.start(1)
                yield node.lineno, "operation", at, at + len(match.group(1)), other

    # ---- expressions

    def _of_value(self, value: Any) -> Iterator[tuple[int, str, int, int, str]]:
        for node in [value, *value.get_descendants()]:
            yield from self._of_node(node)

    def _of_node(self, node: Any) -> Iterator[tuple[int, str, int, int, str]]:
        line, (start, end) = node.lineno, self._span(node)
        if isinstance(node, vy.Int):
            if not self._is_bound(node):
                yield line, "constant", start, end, f"{node.value + 1}"
                if node.value > 0:
                    yield line, "constant", start, end, f"{node.value - 1}"
        elif isinstance(node, vy.NameConstant):
            if node.value in (True, False):
                yield line, "constant", start, end, str(not node.value)
        elif isinstance(node, vy.Compare):
            place = self._between(node.left, node.right)
            for other in COMPARISONS.get(place[2], ()) if place else ():
                yield line, "comparison", place[0], place[1], other  # type: ignore[index]
        elif isinstance(node, vy.BinOp):
            place = self._between(node.left, node.right)
            for other in OPERATIONS.get(place[2], ()) if place else ():
                yield line, "operation", place[0], place[1], other  # type: ignore[index]
        elif isinstance(node, vy.BoolOp):
            for left, right in zip(node.values, node.values[1:], strict=False):
                place = self._between(left, right)
                if place:
                    other = "or" if place[2] == "and" else "and"
                    yield line, "and or", place[0], place[1], other
        elif isinstance(node, vy.UnaryOp):
            sign = _SIGN.match(self.text, start)
            if sign:
                yield line, "sign", start, sign.end(), ""
        elif isinstance(node, vy.IfExp):
            test_start, test_end = self._span(node.test)
            test = self.text[test_start:test_end]
            yield line, "negate", test_start, test_end, f"not ({test})"
        elif isinstance(node, vy.Call):
            yield from self._of_call(node)

    def _of_call(self, node: Any) -> Iterator[tuple[int, str, int, int, str]]:
        line, (start, end) = node.lineno, self._span(node)
        if isinstance(node.func, vy.Name) and node.func.id in _NAMES:
            name_start, name_end = self._span(node.func)
            yield line, "min max", name_start, name_end, _NAMES[node.func.id]
        name = getattr(node.func, "attr", "")
        if name in ROUNDINGS:
            replacement = ROUNDINGS[name].format(*(self._text(a) for a in node.args))
            yield line, "rounding", start, end, f"({replacement})"

    def _is_bound(self, node: Any) -> bool:
        """Whether a number only says how much room there is."""
        parent = node.get_ancestor()
        return isinstance(parent, vy.Subscript) and isinstance(parent.value, vy.Name)
