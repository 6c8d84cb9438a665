"""Mutation testing of the contracts: are the tests able to see that something is wrong?

A mutant is a contract or module with one small mistake in it. One that compiles to other code than
the original is valid; one with which some test fails is killed. `make mutants` tries those that
have no verdict yet and writes the score into `docs/evidence.md`; `python -m ballast.mutation
--help` lists what can be chosen.

`operators` makes mutants from Vyper's syntax tree, `trial` compiles them and runs tests in copies
of the tree, `targets` says which tests see which file, `verdicts` remembers and tells.
"""

from ballast.mutation.operators import Mutant, mutants_of

__all__ = ["Mutant", "mutants_of"]
