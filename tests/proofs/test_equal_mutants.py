"""Mutants that are no mistakes: for all arguments they return what the original returns.

`tests/mutation/equal.json` names them, and the score leaves them out as it does those that compile
to the same code. Only functions of integers can be on that list: the solver has to see all of them.
"""

from __future__ import annotations

import pytest
from vyper import ast as vy

from ballast.artifacts import ROOT
from ballast.mutation import verdicts
from ballast.mutation.operators import Mutant, mutants_of
from ballast.mutation.targets import mutable_files
from ballast.proofs.claims import NotProved, prove
from ballast.proofs.domains import Words
from ballast.proofs.source import functions_of, load_module
from ballast.proofs.translate import Machine, bounds_of

EQUAL = verdicts.equal()


def mutants() -> dict[str, Mutant]:
    """All of the files in question, by their keys."""
    paths = {path for path in mutable_files() if path in EQUAL.values()}
    return {m.key: m for path in paths for m in mutants_of(path, (ROOT / path).read_text())}


def prove_equal(path: str, function: str, text: str) -> None:
    """That a function means the same in another text of its file."""
    original, changed = Machine(Words()), Machine(Words(), edits={path: text})
    declared = functions_of(load_module(path))[function]._metadata["func_type"].arguments
    arguments = [original.domain.symbol(a.name, *bounds_of(a.typ)) for a in declared]
    one, other = (machine.call(path, function, *arguments) for machine in (original, changed))
    facts = original.facts
    prove(one.returns == other.returns, facts)
    prove(one.value == other.value, [*facts, one.returns])


@pytest.mark.parametrize("key", sorted(EQUAL))
def test_mutant__called_equal__returns_the_same_for_all_arguments(key: str) -> None:
    path = EQUAL[key]
    mutant = mutants()[key]
    assert mutant.path == path
    pure = functions_of(load_module(path))[mutant.function]
    assert {d.id for d in pure.decorator_list if isinstance(d, vy.Name)} >= {"internal", "pure"}
    prove_equal(path, mutant.function, mutant.applied((ROOT / path).read_text()))


def test_mutant__that_differs_for_one_argument__is_not_proved_equal() -> None:
    path = "contracts/modules/fixed_point.vy"
    text = (ROOT / path).read_text()
    assert text.count("    if x == 0:\n        return 0\n    return unsafe_add(") == 1
    with pytest.raises(NotProved, match="counterexample"):
        prove_equal(path, "_div_up", text.replace("    if x == 0:\n", "    if x == 1:\n", 1))
