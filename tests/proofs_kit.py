"""What the proofs share: files by name, and the shape of a claim about a division."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import z3

from ballast.proofs.claims import (
    Lemma,
    contradicts,
    is_ceiling,
    is_floor,
    is_toward_zero,
    prove,
    with_hints,
)
from ballast.proofs.domains import Integers, Words
from ballast.proofs.translate import Machine, Outcome

WAD, RAY, BPS, RATE, GWEI = 10**18, 10**27, 10**4, 10**6, 10**9
U16, U24, U72, U76, U84 = 2**16 - 1, 2**24 - 1, 2**72 - 1, 2**76 - 1, 2**84 - 1
U96, U120, U128, U256 = 2**96 - 1, 2**120 - 1, 2**128 - 1, 2**256 - 1
# What `_growth_ray_down` stays below: R16.
GROWTH_END = 2**110

EMPTY_MS = 100

DOWN, UP, ZERO = is_floor, is_ceiling, is_toward_zero
Direction = Callable[[Any, Any, Any], Any]


def module(name: str) -> str:
    return f"contracts/modules/{name}.vy"


def contract(name: str) -> str:
    return f"contracts/{name}.vy"


def integers(edits: Mapping[str, str] | None = None, **substitutes: Any) -> Machine:
    return Machine(Integers(), substitutes, edits)


def words() -> Machine:
    return Machine(Words())


def proved(
    machine: Machine,
    outcome: Outcome,
    goal: Any,
    assuming: Sequence[Any] = (),
    *,
    is_total: bool = False,
    hints: Sequence[Any] = (),
) -> None:
    """`goal` wherever the call returns, unchecked arithmetic exact; with `is_total` it returns."""
    given = [*machine.facts, *assuming]
    lemmas = [hint for hint in hints if isinstance(hint, Lemma)]
    known = with_hints(given, lemmas)
    prove(outcome.exact, [*known, outcome.returns])
    if is_total:
        prove(outcome.returns, known)
    prove(goal, with_hints([*given, outcome.returns, outcome.exact], hints))
    assert not contradicts([*known, outcome.returns], EMPTY_MS), "nothing satisfies what is assumed"


def both(first: Outcome, second: Outcome) -> Outcome:
    """Two calls as one, to be proved together."""
    return Outcome(
        (first.value, second.value),
        z3.And(first.returns, second.returns),
        z3.And(first.exact, second.exact),
        {},
    )
