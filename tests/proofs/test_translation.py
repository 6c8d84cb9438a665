"""The proofs are about the contracts: what is translated is what runs, and a mistake is seen."""

from __future__ import annotations

import random
from typing import Any

import pytest
import z3

from ballast.artifacts import ROOT
from ballast.chain import Contract, Reverted, RevmChain
from ballast.proofs.claims import LEMMAS, NotProved, contradicts, is_ceiling, prove
from ballast.proofs.domains import Integers, Untranslatable, Words
from ballast.proofs.translate import Machine
from tests.proofs_kit import DOWN, UP, integers, module, proved

CASES = 60


@pytest.mark.parametrize("name", sorted(LEMMAS))
def test_lemma__for_all_numbers__is_a_theorem(name: str) -> None:
    lemma = LEMMAS[name]
    prove(lemma(*z3.Ints("a b c")).term)


def test_claim__that_is_false__is_not_proved() -> None:
    x = z3.Int("x")
    with pytest.raises(NotProved, match="counterexample"):
        prove(x * x > x, [x >= 0])
    assert contradicts([x > 0, x < 0], 1_000)
    assert not contradicts([x > 0, x < 2], 1_000)


def test_claim__whose_assumptions_contradict__is_refused() -> None:
    machine = integers()
    x = machine.unsigned("x", 5)
    outcome = machine.call(module("fixed_point"), "_div_up", x, 2)
    with pytest.raises(AssertionError, match="nothing satisfies"):
        proved(machine, outcome, outcome.value == 7, [x > 5])


# ---- what is translated is what runs


def value_in(domain: Any, outcome: Any, machine: Any) -> tuple[bool, Any]:
    """Whether a call with known arguments returns, and what, as the solver has it."""
    solver = z3.Solver()
    solver.add(*machine.facts)
    assert solver.check() == z3.sat
    model = solver.model()
    returns = z3.is_true(model.eval(outcome.returns, model_completion=True))
    value = outcome.value
    parts = list(value.values()) if isinstance(value, dict) else [value]
    numbers = [model.eval(part, model_completion=True) for part in parts]
    if isinstance(domain, Words):
        return returns, [n.as_signed_long() for n in numbers]
    return returns, [n.as_long() for n in numbers]


def agree(contract: Contract, entry: str, path: str, name: str, *arguments: int) -> None:
    try:
        told = getattr(contract, entry)(*arguments)
    except Reverted:
        told = None
    machine = Machine(Integers())
    outcome = machine.call(module(path), name, *arguments)
    returns, numbers = value_in(machine.domain, outcome, machine)
    assert returns == (told is not None), (name, arguments)
    if told is not None:
        assert numbers == (list(told) if isinstance(told, tuple) else [told]), (name, arguments)


ENTRIES: dict[str, tuple[str, tuple[int, ...]]] = {
    "mul_div_up": ("fixed_point", (256, 128, 128)),
    "div_up": ("fixed_point", (256, 256)),
    "mul_wad_floor_signed": ("fixed_point", (-200, -90)),
}


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_translation__of_numbers_at_random__is_what_the_contract_returns(entry: str) -> None:
    path, widths = ENTRIES[entry]
    chain = RevmChain()
    shell = chain.deploy("ModulesShell", sender=chain.accounts[0])
    source = random.Random(entry)
    for _ in range(CASES):
        arguments = []
        for width in widths:
            bits = source.randrange(abs(width) + 1)
            number = source.getrandbits(bits) if bits else 0
            arguments.append(-number if width < 0 and source.random() < 0.5 else number)
        agree(shell, entry, path, f"_{entry}", *arguments)


def test_translation__of_positions_at_random__is_the_margin_of_the_contract() -> None:
    """`margin._terms`, its masks and shifts too, as numbers of 256 bits."""
    chain = RevmChain()
    shell = chain.deploy("MarginShell", sender=chain.accounts[0])
    source = random.Random(1)
    for case in range(12):
        collateral, price = source.getrandbits(source.randrange(1, 90)), source.getrandbits(70)
        size = source.getrandbits(source.randrange(1, 90)) * (-1) ** case if case % 3 else 0
        cost, funding = source.getrandbits(80) - 2**79, source.getrandbits(60) - 2**59
        cost = 0 if case % 3 == 0 else cost
        risk = sum(source.getrandbits(20) << shift for shift in (0, 24, 48, 72))
        risk |= source.getrandbits(72) << 96
        position = collateral | (size % 2**128) << 128
        told = shell.terms(position, cost, funding, price, risk)
        machine = Machine(Words())
        outcome = machine.call(module("margin"), "_terms", position, cost, funding, price, risk)
        returns, numbers = value_in(machine.domain, outcome, machine)
        assert returns and numbers == list(told)


# ---- a mistake is seen


# In `_mul_div_up`.
ROUNDED_DOWN = (
    "    return unsafe_add(unsafe_sub(product, 1) // d, 1)",
    "    return product // d",
)


def edited(path: str, old: str, new: str) -> dict[str, str]:
    text = (ROOT / path).read_text()
    assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
    return {path: text.replace(old, new)}


def test_proof__of_a_helper_that_rounds_down__fails() -> None:
    path = module("fixed_point")
    edits = edited(path, *ROUNDED_DOWN)
    machine = integers(edits)
    x, y, d = (machine.unsigned(name) for name in "xyd")
    outcome = machine.call(path, "_mul_div_up", x, y, d)
    with pytest.raises(NotProved, match="counterexample"):
        proved(machine, outcome, UP(outcome.value, x * y, d), [d > 0])


def test_proof__of_a_user_of_that_helper__fails_too() -> None:
    """The size of an action is one too small somewhere when the helper two files away is wrong."""
    helper = module("fixed_point")
    edits = edited(helper, *ROUNDED_DOWN)
    machine = integers(edits)
    shortfall, cure = machine.unsigned("shortfall"), machine.unsigned("cure")
    size = machine.call(module("sizing"), "_value_up", shortfall, cure)
    with pytest.raises(NotProved, match="counterexample"):
        proved(machine, size, size.value * cure >= shortfall * 10**10, [cure > 0])


def test_proof__of_a_signed_division_that_truncates__fails() -> None:
    path = module("fixed_point")
    edits = edited(path, "        return unsafe_sub(quotient, 1)", "        return quotient")
    machine = integers(edits)
    x, d = machine.signed("x"), machine.signed("d")
    outcome = machine.call(path, "_div_floor_signed", x, d)
    with pytest.raises(NotProved, match="counterexample"):
        proved(machine, outcome, DOWN(outcome.value, x, d), [d > 0])


def test_proof__of_shares_minted_in_the_wrong_direction__fails() -> None:
    path = module("share_math")
    text = (ROOT / path).read_text()
    name = "def _to_shares_down("
    start = text.index(name)
    edits = {path: text[:start] + text[start:].replace("False", "True", 1)}
    machine = integers(edits)
    assets, supply, total = (machine.unsigned(name) for name in ("assets", "supply", "total"))
    minted = machine.call(path, "_to_shares_down", assets, supply, total)
    with pytest.raises(NotProved, match="counterexample"):
        goal = DOWN(minted.value, assets * (supply + 10**6), total + 1)
        proved(machine, minted, goal)


def test_proof__of_overlapping_fields__fails() -> None:
    path = module("packing")
    edits = edited(
        path, "    return total_wad | (cap_wad << 128)", "    return total_wad | (cap_wad << 127)"
    )
    machine = Machine(Words(), edits=edits)
    total, cap = machine.unsigned("total", 2**128 - 1), machine.unsigned("cap", 2**128 - 1)
    word = machine.call(path, "_supply_word", total, cap)
    read = machine.call(path, "_total_wad", word.value)
    with pytest.raises(NotProved, match="counterexample"):
        prove(read.value == total, machine.facts)


def test_proof__beyond_the_range_of_unchecked_arithmetic__fails() -> None:
    """Without its bound on the price a requirement may wrap, and the claim is refused."""
    machine = integers()
    price, charged = machine.unsigned("price"), machine.unsigned("charged")
    outcome = machine.call(module("margin"), "_required_up", price, charged)
    with pytest.raises(NotProved, match="counterexample"):
        proved(machine, outcome, is_ceiling(outcome.value, price * charged, 10**24))


def test_translation__of_what_is_not_spoken__is_refused() -> None:
    machine = integers()
    word, level, base = (machine.unsigned(name) for name in ("word", "level", "base"))
    with pytest.raises(Untranslatable, match="a shift by a variable"):
        machine.call(module("outflows"), "_least", word, level, base)
    with pytest.raises(Untranslatable, match="has no"):
        machine.expression(module("drafts"), "_part_of", "amount_wad // 2")
