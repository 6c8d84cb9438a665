"""Asking the solver, and what it may be told of products.

A claim is proved when its negation has no model. The solver does not multiply inequalities by
itself, so a proof may hand it instances of the few lemmas here; each is a theorem that a test has
the solver prove first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import z3

LIMIT_MS = 20_000
MEMORY_MB = 800  # beyond it the solver gives up: a claim that needs more needs another hint


class NotProved(AssertionError):
    """A claim has a counterexample, or the solver gave up; the message tells which."""


def prove(goal: Any, assuming: Sequence[Any] = (), limit_ms: int = LIMIT_MS) -> None:
    """Prove `goal` for all values that satisfy what is assumed; raises NotProved.

    Assumptions that contradict each other would prove anything: `contradicts` tells if they do.
    """
    solver = _solver(limit_ms)
    solver.set("random_seed", 0)
    solver.add(*assuming)
    solver.add(z3.Not(goal))
    answer = solver.check()
    if answer == z3.sat:
        raise NotProved(f"counterexample: {solver.model()}")
    if answer != z3.unsat:
        raise NotProved(f"undecided: {solver.reason_unknown()}")


def _solver(limit_ms: int) -> Any:
    solver = z3.Solver()
    solver.set("timeout", limit_ms)
    solver.set("max_memory", MEMORY_MB)
    return solver


def contradicts(assuming: Sequence[Any], limit_ms: int) -> bool:
    """Whether no values satisfy all of it; False also where the solver finds no answer in time."""
    solver = _solver(limit_ms)
    solver.add(*assuming)
    return bool(solver.check() == z3.unsat)


# ---- lemmas: instances for terms


@dataclass(frozen=True)
class Lemma:
    """An instance of a theorem, which a proof may use as it is."""

    term: Any


def product_order(a: Any, b: Any, c: Any) -> Lemma:
    """a <= b and c >= 0 give a c <= b c."""
    return Lemma(z3.Implies(z3.And(a <= b, c >= 0), a * c <= b * c))


def product_order_strict(a: Any, b: Any, c: Any) -> Lemma:
    """a < b and c > 0 give a c + c <= b c, for whole numbers."""
    return Lemma(z3.Implies(z3.And(a < b, c > 0), a * c + c <= b * c))


LEMMAS: dict[str, Callable[[Any, Any, Any], Lemma]] = {
    "product_order": product_order,
    "product_order_strict": product_order_strict,
}


def with_hints(known: Sequence[Any], hints: Sequence[Any]) -> list[Any]:
    """What is known, lemmas, and the other hints, each proved from what comes before it."""
    found = [*known, *(hint.term for hint in hints if isinstance(hint, Lemma))]
    for hint in hints:
        if not isinstance(hint, Lemma):
            prove(hint, found)
            found.append(hint)
    return found


# ---- what a quotient may be


def is_floor(value: Any, numerator: Any, divisor: Any) -> Any:
    """value = floor(numerator / divisor) of a positive divisor, toward minus infinity."""
    product = value * divisor
    return z3.And(product <= numerator, numerator < product + divisor)


def is_ceiling(value: Any, numerator: Any, divisor: Any) -> Any:
    """value = ceil(numerator / divisor) of a positive divisor."""
    product = value * divisor
    return z3.And(product >= numerator, numerator > product - divisor)


def is_toward_zero(value: Any, numerator: Any, divisor: Any) -> Any:
    """The quotient cut off at its point, of a positive divisor."""
    return z3.If(
        numerator >= 0,
        is_floor(value, numerator, divisor),
        is_ceiling(value, numerator, divisor),
    )
