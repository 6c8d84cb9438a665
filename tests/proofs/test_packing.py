"""Proofs of packed words: what goes in comes out, and one field cannot be seen in another.

All of 256 bits, so an overlap of two fields by one bit would be found. Fields are within the widths
that `packing.vy` and its neighbours name; what is wider is refused where it grows, and that is
tested and not proved here.
"""

from __future__ import annotations

from typing import Any

import pytest
import z3

from ballast.proofs.claims import prove
from ballast.proofs.domains import Words
from ballast.proofs.translate import Machine
from tests.proofs_kit import module, words

# What packs, its arguments as (bits, is signed), and what reads each of them back.
Layout = tuple[str, str, tuple[tuple[int, bool, str | None], ...]]
LAYOUTS: list[Layout] = [
    ("packing", "_position_word", ((128, False, "_collateral_wad"), (128, True, "_size_wad"))),
    ("packing", "_cost_word", ((128, True, "_cost_wad"), (128, True, "_entry_wad"))),
    (
        "packing",
        "_price_word",
        (
            (96, False, "_newest_wad"),
            (96, False, "_previous_wad"),
            (8, False, "_flags"),
            (40, False, "_made_at"),
        ),
    ),
    (
        "packing",
        "_risk_word",
        (
            (24, False, "_r_init_e6"),
            (24, False, "_l_init_e6"),
            (24, False, "_r_maint_e6"),
            (24, False, "_l_maint_e6"),
            (72, False, None),
            (40, False, "_poked_at"),
            (32, False, "_sigma_e6"),
        ),
    ),
    (
        "packing",
        "_asset_word",
        ((160, False, "_token"), (72, False, "_unit_wad"), (16, False, "_swap_limit_bps")),
    ),
    ("packing", "_supply_word", ((128, False, "_total_wad"), (128, False, "_cap_wad"))),
    ("packing", "_account", ((160, False, "_owner"), (8, False, None))),
    (
        "price_marks",
        "_last_word",
        ((96, False, None), (80, False, "_sampled_id"), (32, False, "_sampled_bucket")),
    ),
    (
        "lending_state",
        "_pack_pool",
        ((128, False, "_supply"), (96, False, "_idle"), (32, False, None)),
    ),
    (
        "lending_state",
        "_pack_loans",
        ((96, False, "_debt_shares"), (76, False, "_index_wad"), (84, False, "_reserves")),
    ),
    (
        "outflows",
        "_word",
        (
            (96, False, None),
            (96, False, None),
            (32, False, None),
            (16, False, "_limit_bps"),
            (8, False, "_floor_log2"),
        ),
    ),
]


def value_of(machine: Any, name: str, bits: int, signed: bool) -> Any:
    if signed:
        return machine.signed(name, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return machine.unsigned(name, 2**bits - 1)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout[0]}.{layout[1]}")
def test_word__of_fields__gives_each_of_them_back(layout: Layout) -> None:
    path, name, fields = layout
    machine = words()
    values = [
        value_of(machine, f"f{i}", bits, signed) for i, (bits, signed, _) in enumerate(fields)
    ]
    packed = machine.call(module(path), name, *values)
    prove(packed.returns, machine.facts)
    for value, (_, _, reader) in zip(values, fields, strict=True):
        if reader is not None:
            read = machine.call(module(path), reader, packed.value)
            prove(z3.And(read.returns, read.value == value), machine.facts)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout[0]}.{layout[1]}")
def test_words__of_different_fields__are_different(layout: Layout) -> None:
    """No two sets of fields share a word, so none overlap and none is cut."""
    path, name, fields = layout
    machine = words()
    packed, sets = [], []
    for which in "ab":
        values = [
            value_of(machine, f"{which}{i}", bits, signed)
            for i, (bits, signed, _) in enumerate(fields)
        ]
        sets.append(values)
        packed.append(machine.call(module(path), name, *values).value)
    same = z3.And(*(a == b for a, b in zip(*sets, strict=True)))
    prove(z3.Implies(packed[0] == packed[1], same), machine.facts)


def test_quota__of_a_risk_word__is_its_gwei_in_wad() -> None:
    machine = words()
    quota = machine.unsigned("quota", 2**72 - 1)
    rest = [
        machine.unsigned(f"f{i}", 2**bits - 1) for i, bits in enumerate((24, 24, 24, 24, 40, 32))
    ]
    packed = machine.call(module("packing"), "_risk_word", *rest[:4], quota, *rest[4:])
    read = machine.call(module("packing"), "_quota_wad", packed.value)
    prove(z3.And(read.returns, read.value == quota * 10**9), machine.facts)


class _AnyProduct(Words):
    """A product is some function of its factors: what is proved holds for multiplication too."""

    product = z3.Function("product", z3.BitVecSort(256), z3.BitVecSort(256), z3.BitVecSort(256))

    def mul(self, a: Any, b: Any) -> Any:
        return self.product(a, b)


def test_market_word__of_funding_and_rate__gives_funding_at_a_time() -> None:
    """Funding at a time is what it was, and the rate times the seconds since."""
    machine = Machine(_AnyProduct())
    funding = machine.signed("funding", -(2**127), 2**127 - 1)
    rate = machine.signed("rate", -(2**79), 2**79 - 1)
    touched, time = machine.unsigned("touched", 2**40 - 1), machine.unsigned("time")
    packed = machine.call(module("packing"), "_market_word", funding, rate, touched)
    read = machine.call(module("packing"), "_funding_at", packed.value, time)
    prove(read.value == funding + _AnyProduct.product(rate, time - touched), machine.facts)


# What replaces a part of a word, and what must stay.
REPLACERS: list[tuple[str, str, tuple[int, ...], str, tuple[str, ...]]] = [
    ("packing", "_with_cash", (128,), "_cash_wad", ("_debt_shares", "_increased_at")),
    (
        "packing",
        "_with_directional",
        (24, 24),
        "_r_init_e6",
        ("_l_init_e6", "_l_maint_e6", "_quota_wad", "_poked_at", "_sigma_e6"),
    ),
    (
        "lending_state",
        "_with_exits_held",
        (40,),
        "_exits_held_until",
        ("_deposit_cap", "_reserve_factor_bps", "_min_debt"),
    ),
    ("margin_rates", "_timed", (40,), "_time", ("_quota_gwei",)),
]


@pytest.mark.parametrize("replacer", REPLACERS, ids=lambda replacer: replacer[1])
def test_field__replaced_in_a_word__leaves_the_others(
    replacer: tuple[str, str, tuple[int, ...], str, tuple[str, ...]],
) -> None:
    path, name, widths, reader, others = replacer
    machine = words()
    word = machine.unsigned("word")
    values = [machine.unsigned(f"v{i}", 2**bits - 1) for i, bits in enumerate(widths)]
    after = machine.call(module(path), name, word, *values).value
    prove(machine.call(module(path), reader, after).value == values[0], machine.facts)
    for other in others:
        old, new = (machine.call(module(path), other, w).value for w in (word, after))
        prove(old == new, machine.facts)


def test_worse_rates__of_two_risk_words__keep_what_is_at_maintenance() -> None:
    machine = words()
    word, other = machine.unsigned("word"), machine.unsigned("other")
    path = module("packing")
    after = machine.call(path, "_with_worse_init", word, other).value

    def field(name: str, of: Any) -> Any:
        return machine.call(path, name, of).value

    for name in ("_r_init_e6", "_l_init_e6"):
        a, b = field(name, word), field(name, other)
        prove(field(name, after) == z3.If(z3.UGT(a, b), a, b), machine.facts)
    a, b, least = (z3.LShR(of, 96) & (2**72 - 1) for of in (word, other, after))
    prove(least == z3.If(z3.ULT(a, b), a, b), machine.facts)
    for name in ("_r_maint_e6", "_l_maint_e6", "_poked_at", "_sigma_e6"):
        prove(field(name, after) == field(name, word), machine.facts)


GUARD = ("target_bps", "band_bps", "slippage_bps", "floor_bps", "wallet_period_s", "wallet_cap")


def test_guard__packed__is_unpacked_as_it_was() -> None:
    """Whatever `_require_guard` lets pass, beside the words of an allocation too."""
    machine = words()
    guard = {name: machine.unsigned(name) for name in GUARD}
    packed = machine.call(module("guards"), "_packed", guard)
    read = machine.call(module("guards"), "_unpacked", packed.value)
    accepted = [*machine.facts, packed.returns]
    prove(z3.And(*(read.value[name] == guard[name] for name in GUARD)), accepted)
    limits, weights = machine.unsigned("limits"), machine.unsigned("weights")
    beside = machine.call(module("guards"), "_with_allocation", packed.value, limits, weights)
    read = machine.call(module("guards"), "_unpacked", beside.value)
    prove(z3.And(*(read.value[name] == guard[name] for name in GUARD)), accepted)
    allocates = machine.call(module("guards"), "_allocates", beside.value).value
    prove(allocates == z3.Or(limits != 0, weights != 0), accepted)


def test_looser_guard__in_any_of_its_fields__is_told() -> None:
    """What `_is_no_looser` passes has no higher target, slippage or reach, and no lower floor."""
    machine = words()
    new, old = machine.unsigned("new"), machine.unsigned("old")
    path = module("guards")
    passes = machine.call(path, "_is_no_looser", new, old).value

    def pair(name: str) -> tuple[Any, Any]:
        first, second = (machine.call(path, name, word).value for word in (new, old))
        return first, second

    for name in ("_target_bps", "_slippage_bps"):
        a, b = pair(name)
        prove(z3.Implies(passes, z3.ULE(a, b)), machine.facts)
    a, b = pair("_wallet_cap")
    prove(z3.Implies(passes, z3.ULE(a, b)), machine.facts)
    a, b = pair("_floor_bps")
    prove(z3.Implies(z3.And(passes, a != 0), z3.And(b != 0, z3.UGE(a, b))), machine.facts)


def test_parameters_of_the_oracle__packed__are_unpacked_as_they_were() -> None:
    machine = words()
    names = (
        *("z_init_bps", "floor_init_bps", "cap_init_bps"),
        *("z_maint_bps", "floor_maint_bps", "cap_maint_bps"),
        *("z_l_bps", "floor_l_bps", "cap_l_bps", "quota_gwei"),
    )
    given = {
        name: machine.unsigned(name, 2 ** (72 if "quota" in name else 16) - 1) for name in names
    }
    time = machine.unsigned("time", 2**40 - 1)
    packed = machine.call(module("margin_rates"), "_parameter_word", given, time)
    read = machine.call(module("margin_rates"), "_parameters", packed.value).value
    prove(z3.And(*(read[name] == given[name] for name in names)), machine.facts)
    stamped = machine.call(module("margin_rates"), "_time", packed.value).value
    prove(stamped == time, machine.facts)


def test_terms_of_the_vault__packed__are_unpacked_as_they_were() -> None:
    machine = words()
    rates = ("base_bps", "slope_low_bps", "slope_high_bps")
    rate = {name: machine.unsigned(name, 2**20 - 1) for name in rates}
    rate["kink_bps"] = machine.unsigned("kink_bps", 2**16 - 1)
    terms: dict[str, Any] = {
        "deposit_cap": machine.unsigned("deposit_cap", 2**96 - 1),
        "reserve_factor_bps": machine.unsigned("reserve_factor_bps", 2**16 - 1),
        "exits_held_until": machine.unsigned("exits_held_until", 2**40 - 1),
        "min_debt": machine.unsigned("min_debt", 2**28 - 1),
        "rate": rate,
    }
    path = module("lending_state")
    packed = machine.call(path, "_pack_terms", terms)
    read = machine.call(path, "_unpack_terms", packed.value).value
    for name in terms.keys() - {"rate"}:
        prove(read[name] == terms[name], machine.facts)
    for name, value in rate.items():
        prove(read["rate"][name] == value, machine.facts)


# ---- the list of assets


LIST = module("asset_list")


def list_word(machine: Any, count: int) -> Any:
    """Any list of so many ids, dense, its bits for perpetuals only where there are ids."""
    word = machine.unsigned("listed")
    above = z3.BitVecVal((2**128 - 1) - (2 ** (8 * count) - 1), 256)
    perpetuals = z3.LShR(word, 136)
    machine.facts.extend(
        [
            word & above == 0,
            z3.LShR(word, 128) & 255 == count,
            z3.ULT(perpetuals, 2**count),
        ]
    )
    return word


@pytest.mark.parametrize("count", (0, 1, 7, 15))
def test_asset__added_to_a_list__is_last_and_the_others_stay(count: int) -> None:
    machine = words()
    word, asset = list_word(machine, count), machine.unsigned("asset", 255)
    after = machine.call(LIST, "_with", word, asset)
    prove(after.returns, machine.facts)
    prove(machine.call(LIST, "_count", after.value).value == count + 1, machine.facts)
    prove(machine.call(LIST, "_at", after.value, count).value == asset, machine.facts)
    for place in range(count):
        old, new = (machine.call(LIST, "_at", w, place).value for w in (word, after.value))
        prove(old == new, machine.facts)
    same = z3.LShR(word, 136) == z3.LShR(after.value, 136)
    prove(same, machine.facts)


@pytest.mark.parametrize(("count", "index"), ((1, 0), (2, 0), (9, 4), (16, 0), (16, 15)))
def test_asset__taken_from_a_list__leaves_the_last_in_its_place(count: int, index: int) -> None:
    """With the bit of its perpetual; every other place is as it was, and nothing underflows."""
    machine = words()
    word = list_word(machine, count)
    after = machine.call(LIST, "_without", word, index)
    prove(after.returns, machine.facts)
    prove(machine.call(LIST, "_count", after.value).value == count - 1, machine.facts)
    for place in range(count - 1):
        source = count - 1 if place == index else place
        for reader in ("_at", "_carries_perpetual"):
            old = machine.call(LIST, reader, word, source).value
            new = machine.call(LIST, reader, after.value, place).value
            prove(old == new, machine.facts)
    gone = [machine.call(LIST, reader, after.value, count - 1).value for reader in ("_at",)]
    prove(gone[0] == 0, machine.facts)
    prove(
        z3.Not(machine.call(LIST, "_carries_perpetual", after.value, count - 1).value),
        machine.facts,
    )


def test_end_of_a_pause__in_steps__is_no_later_than_asked_for() -> None:
    """R108: the step that `until` lies in."""
    machine = words()
    word, until = machine.unsigned("word"), machine.unsigned("until", 2**31 - 1)
    after = machine.call(module("feeds"), "_with_pause", word, until).value
    end = machine.call(module("feeds"), "_paused_until", after)
    prove(z3.And(z3.ULE(end.value, until), z3.ULT(until - end.value, 256)), machine.facts)
    kept = z3.BitVecVal(2**232 - 1, 256)
    prove(after & kept == word & kept, machine.facts)
