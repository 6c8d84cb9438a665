"""Proofs of order: what must not fall where something else rises."""

from __future__ import annotations

from typing import Any

import pytest
import z3

from ballast.proofs.claims import product_order, product_order_strict, prove, with_hints
from tests.proofs_kit import (
    BPS,
    GROWTH_END,
    RATE,
    RAY,
    U16,
    U76,
    U84,
    U96,
    U120,
    U128,
    WAD,
    both,
    integers,
    module,
    proved,
)

RATES = module("kinked_rate")


def test_rate__as_utilisation_rises__does_not_fall() -> None:
    """I09, for every kink, all rates up to 2**40 basis points, and across the kink."""
    machine = integers()
    lower, higher = machine.unsigned("lower", WAD), machine.unsigned("higher", WAD)
    base, low, high = (machine.unsigned(name, 2**40 - 1) for name in ("base", "low", "high"))
    kink = machine.unsigned("kink", BPS - 1, 1)
    first, second = (
        machine.call(RATES, "_rate_ray_up", u, base, low, high, kink) for u in (lower, higher)
    )
    k = kink * (WAD // BPS)
    at_kink = machine.call(RATES, "_rate_ray_up", k, base, low, high, kink)
    hints = [
        product_order(k, WAD, base),
        *(product_order(u, WAD, rate) for u in (lower, higher, k) for rate in (low, high)),
        *(product_order(u - k, WAD, high) for u in (lower, higher)),
        product_order(WAD - k, WAD, base + low),
    ]
    ordered = [product_order(lower, higher, low), product_order(lower, higher, high)]
    below = [lower <= higher, higher <= k]
    pair = both(first, second)
    proved(machine, pair, first.value <= second.value, below, hints=[*hints, *ordered])
    above = [lower <= higher, k < lower]
    proved(machine, pair, first.value <= second.value, above, hints=[*hints, *ordered])
    # From below to the kink, and from the kink on.
    to_kink = both(first, at_kink)
    hints += [product_order(lower, k, low)]
    proved(machine, to_kink, first.value <= at_kink.value, [lower <= k], hints=hints)


def test_rate__at_any_use__is_within_its_largest() -> None:
    """I09: at most (base + low + high) a year, up; below 2**100 for what a word of terms holds."""
    machine = integers()
    u = machine.unsigned("u", WAD)
    base, low, high = (machine.unsigned(name, 2**20 - 1) for name in ("base", "low", "high"))
    kink = machine.unsigned("kink", BPS - 1, 1)
    outcome = machine.call(RATES, "_rate_ray_up", u, base, low, high, kink)
    k = kink * (WAD // BPS)
    hints = [
        product_order(k, WAD, base),
        product_order(u, k, low),
        product_order(u, WAD, high),
        product_order(u - k, WAD - k, high),
        product_order(WAD - k, WAD, base + low),
        product_order(0, base, k),
        product_order(0, low, k),
        product_order(0, high, k),
        product_order(0, u, low),
        product_order(0, u, high),
        product_order(0, base + low, WAD - k),
        product_order(0, high, WAD - k),
    ]
    year = BPS * 31_536_000
    goal = (outcome.value - 1) * year < (base + low + high) * RAY
    proved(machine, outcome, goal, is_total=True, hints=hints)
    proved(machine, outcome, outcome.value < 2**100, hints=[*hints, goal])


def test_utilisation__of_more_debt_or_less_idle__does_not_fall() -> None:
    machine = integers()
    wide = 2**190 - 1
    debt, more = machine.unsigned("debt", wide, 1), machine.unsigned("more", wide, 1)
    idle, less = machine.unsigned("idle", wide), machine.unsigned("less", wide)
    first = machine.call(RATES, "_utilisation_wad_up", debt, idle)
    second = machine.call(RATES, "_utilisation_wad_up", more, less)
    # d / (i + d) <= m / (l + m) because d l <= m i.
    old, new = idle + debt, less + more
    hints = [
        product_order(debt, more, idle),
        product_order(less, idle, debt),
        product_order_strict(second.value, first.value - 1, old),
        product_order(second.value + 1, first.value, old * new),
        product_order_strict((first.value - 1) * old, debt * WAD, new),
        product_order(more * WAD, second.value * new, old),
    ]
    known = [debt <= more, less <= idle]
    proved(machine, both(first, second), first.value <= second.value, known, hints=hints)


def growth(machine: Any, rate: Any, elapsed: Any) -> tuple[Any, list[Any]]:
    outcome = machine.call(RATES, "_growth_ray_down", rate, elapsed)
    x, second = outcome.names["exponent_ray"], outcome.names["second_ray"]
    hints = [
        product_order(rate, 2**100 - 1, elapsed),
        product_order(x, 100 * RAY, x),
        product_order(second, 5_000 * RAY, x),
    ]
    return outcome, hints


def test_growth__over_a_longer_time__is_no_smaller() -> None:
    machine = integers()
    rate = machine.unsigned("rate", 2**100 - 1)
    short, long = machine.unsigned("short", 2**64 - 1), machine.unsigned("long", 2**64 - 1)
    first, hints = growth(machine, rate, short)
    second, more = growth(machine, rate, long)
    (x, half), (y, other) = (
        (o.names["exponent_ray"], o.names["second_ray"]) for o in (first, second)
    )
    hints += [
        *more,
        product_order(short, long, rate),
        product_order(x, y, x),
        product_order(x, y, y),
        product_order(half, other, x),
        product_order(x, y, other),
    ]
    pair = both(first, second)
    proved(machine, pair, first.value <= second.value, [short <= long], is_total=True, hints=hints)


def test_index__with_time__does_not_fall() -> None:
    """Nor does the debt of all; at any rate, saturated or not.

    `_with_interest` is this, or leaves all as it was where no time passed or nothing is owed: R15.
    """
    growths: list[Any] = []

    def any_growth(rate: Any, elapsed: Any, *, path: Any) -> Any:
        growths.append(machine.unsigned(f"growth{len(growths)}", GROWTH_END - 1))
        return growths[-1]

    rate = z3.Int("rate")
    machine = integers(
        _rate_ray_up=lambda *arguments, path: rate,
        _growth_ray_down=any_growth,
    )
    shares, index = machine.unsigned("shares", U96), machine.unsigned("index", U76)
    reserves, idle = machine.unsigned("reserves", U84), machine.unsigned("idle", U96)
    terms = machine.unsigned("terms")
    sooner, later = machine.unsigned("sooner", 2**32 - 1), machine.unsigned("later", 2**32 - 1)
    first, second = (
        machine.call(
            module("lending_state"), "_grown", shares, index, reserves, idle, elapsed, terms
        )
        for elapsed in (sooner, later)
    )
    hints = [
        product_order(growths[0], growths[1], index),
        product_order(shares, U96, index),
    ]
    for outcome, growth in ((first, growths[0]), (second, growths[1])):
        grown, names = outcome.names["index_now_wad"], outcome.names
        hints += [
            product_order(growth, GROWTH_END, index),
            product_order(0, growth, index),
            product_order(grown, U76, shares),
            product_order(index, grown, shares),
            product_order(
                machine.domain.bit_and(machine.domain.shift_right(terms, 172, False), U16),
                U16,
                names["debt_now"] - names["debt"],
            ),
        ]
    hints.append(product_order(first.names["index_now_wad"], second.names["index_now_wad"], shares))
    # The growth of a longer time is no smaller: the test before this one.
    known = [sooner <= later, rate >= 0, rate < 2**100, growths[0] <= growths[1]]
    pair = both(first, second)
    goal = z3.And(
        first.value[0] >= index,
        first.value[0] <= second.value[0],
        first.value[2] <= second.value[2],
    )
    proved(machine, pair, goal, known, hints=hints)


CONVERSIONS = ("_to_shares_down", "_to_shares_up", "_to_assets_down", "_to_assets_up")


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversion__in_amount_and_totals__is_monotone(name: str) -> None:
    """Up with the amount and with the total it is a part of, down with the other one."""
    machine = integers()
    path = module("share_math")
    a, b, s, t, u, v = (machine.unsigned(n) for n in ("a", "b", "s", "t", "u", "v"))
    is_to_shares = "shares" in name
    first = machine.call(path, name, a, s, t)
    larger = machine.call(path, name, b, s, t)
    of = (u, v)  # supply no smaller, total no larger
    richer = machine.call(path, name, a, *of)
    up, down = (s + 10**6, u + 10**6), (t + 1, v + 1)
    if not is_to_shares:
        up, down = (v + 1, t + 1), (u + 10**6, s + 10**6)
    proved(
        machine,
        both(first, larger),
        first.value <= larger.value,
        [a <= b],
        hints=[product_order(a, b, up[0]), product_order(a, b, up[1])],
    )
    low, high = (first, richer) if is_to_shares else (richer, first)
    # x / d <= y / e because x <= y and e <= d.
    small, large = (a * up[0], down[0]), (a * up[1], down[1])
    hints = [
        product_order(up[0], up[1], a),
        product_order(large[1], small[1], high.value),
        product_order(large[1], small[1], high.value + 1),
        product_order(large[1], small[1], low.value),
    ]
    proved(machine, both(first, richer), low.value <= high.value, [s <= u, v <= t], hints=hints)


# ---- margin


def collateral_alone(machine: Any, held: Any, price: Any, risk: Any) -> Any:
    position = held  # below 2**128, so no perpetual
    return machine.call(module("margin"), "_terms", position, 0, 0, price, risk)


def test_excess__as_a_price_falls__does_not_rise() -> None:
    """I32, for an asset held without a perpetual: E - R falls with the price by each unit of it.

    Rates that are together at most one: `margin_rates` refuses others. A unit is the rounding of
    value and requirement, which both go against the account.
    """
    machine = integers()
    held, quota = machine.unsigned("held", U120), machine.unsigned("quota", U120)
    rate = machine.unsigned("rate", RATE)
    low, high = machine.unsigned("low", U96), machine.unsigned("high", U96)
    counted = z3.Int("counted")
    known = [counted == z3.If(held < quota, held, quota), low <= high]
    excess = []
    outcomes = []
    hints = []
    for price in (low, high):
        value = machine.call(module("margin"), "_value_down", counted, price)
        required = machine.call(module("margin"), "_required_up", price, rate * counted)
        excess.append(value.value - required.value)
        outcomes += [value, required]
        hints += [
            product_order(price, U96, counted),
            product_order(rate, RATE, counted),
            product_order(price, U96, rate * counted),
            product_order(0, rate, counted),
            product_order(counted, U120, U96),
        ]
    worth = counted * (high - low)
    hints += [
        product_order(rate, RATE, worth),
        product_order(0, high - low, counted),
        worth >= 0,
    ]
    pair = both(both(outcomes[0], outcomes[1]), both(outcomes[2], outcomes[3]))
    proved(machine, pair, excess[0] <= excess[1] + 1, known, hints=hints)


def test_requirement__as_price_or_size_or_rate_rises__does_not_fall() -> None:
    machine = integers()
    low, high = machine.unsigned("low", U96), machine.unsigned("high", U96)
    less, more = machine.unsigned("less", 2**147), machine.unsigned("more", 2**147)
    path = module("margin")
    first = machine.call(path, "_required_up", low, less)
    second = machine.call(path, "_required_up", high, more)
    hints = [
        product_order(low, high, less),
        product_order(less, more, high),
        product_order(low, U96, less),
        product_order(high, U96, more),
        product_order(0, low, less),
    ]
    pair = both(first, second)
    known = [low <= high, less <= more]
    proved(machine, pair, first.value <= second.value, known, is_total=True, hints=hints)


def test_requirement__of_a_whole__is_at_most_that_of_its_parts() -> None:
    """I33, in one asset: |D| and G of a sum are at most the sums, and one rounding less than two.

    The charge r |D| + l G of a sum is at most the sum of charges; then so is ceil(p c).
    """
    machine = integers()
    r, gross_rate = machine.unsigned("r", 2**24 - 1), machine.unsigned("l", 2**24 - 1)
    price = machine.unsigned("price", U96)
    b1, b2 = machine.unsigned("b1", U120), machine.unsigned("b2", U120)
    q1, q2 = machine.signed("q1", -U120, U120), machine.signed("q2", -U120, U120)

    def magnitude(x: Any) -> Any:
        return z3.If(x < 0, -x, x)

    def charge(b: Any, q: Any) -> Any:
        return r * magnitude(b + q) + gross_rate * (b + magnitude(q))

    whole, parts = z3.Ints("whole parts")
    deltas = [magnitude(b1 + q1), magnitude(b2 + q2), magnitude(b1 + b2 + q1 + q2)]
    hints = [
        product_order(deltas[2], deltas[0] + deltas[1], r),
        product_order(magnitude(q1 + q2), magnitude(q1) + magnitude(q2), gross_rate),
    ]
    step = charge(b1 + b2, q1 + q2) <= charge(b1, q1) + charge(b2, q2)
    prove(step, with_hints(machine.facts, hints))
    c1, c2 = machine.unsigned("c1", 2**147), machine.unsigned("c2", 2**147)
    joint = machine.unsigned("joint", 2**148)
    path = module("margin")
    first, second, both_of_them = (
        machine.call(path, "_required_up", price, charged) for charged in (c1, c2, joint)
    )
    hints = [product_order(price, U96, c) for c in (c1, c2, joint)]
    hints += [product_order(joint, c1 + c2, price)]
    all_of_it = both(both(first, second), both_of_them)
    goal = both_of_them.value <= first.value + second.value
    proved(machine, all_of_it, goal, [joint <= c1 + c2], hints=hints)


def test_excess_at_initial__against_maintenance__is_no_larger() -> None:
    """Of a position without a perpetual: initial rates of at least maintenance ones, together at
    most one, and a quota count for less."""
    machine = integers()
    position, price = machine.unsigned("position", U120), machine.unsigned("price", U96)
    risk = machine.unsigned("risk")
    outcome = collateral_alone(machine, position, price, risk)
    fields = {
        name: machine.call(module("packing"), name, risk).value
        for name in ("_r_init_e6", "_l_init_e6", "_r_maint_e6", "_l_maint_e6")
    }
    init = fields["_r_init_e6"] + fields["_l_init_e6"]
    maint = fields["_r_maint_e6"] + fields["_l_maint_e6"]
    terms = outcome.value
    size = machine.call(module("packing"), "_size_wad", position).value
    known = [size == 0, init >= maint, init <= RATE]
    held = machine.domain.bit_and(position, z3.IntVal(U128))
    quota = machine.call(module("packing"), "_quota_wad", risk).value
    counted = z3.If(held < quota, held, quota)
    beyond = held - counted
    hints = [
        product_order(maint, init, counted * price),
        product_order(maint, RATE, beyond * price),
        product_order(counted, held, price),
    ]
    excess_init = terms["equity_init"] - terms["required_init"]
    excess_maint = terms["equity_maint"] - terms["required_maint"]
    proved(machine, outcome, excess_init <= excess_maint + 1, known, hints=hints)


# ---- liquidation


def test_discount__as_the_gap_or_the_time_grows__does_not_fall() -> None:
    """For one requirement, as long as the account still has the discount."""
    machine = integers()
    required, leaving, ramp = (machine.unsigned(n, U128) for n in ("required", "exit", "ramp"))
    more, less = machine.signed("more"), machine.signed("less")
    sooner, later = machine.unsigned("sooner"), machine.unsigned("later")
    path = module("discounts")
    first = machine.call(path, "_discount_wad", more, required, leaving, sooner, ramp)
    second = machine.call(path, "_discount_wad", less, required, leaving, later, ramp)
    names, others = first.names, second.names
    span = names["most"] - names["least"]
    hints = [product_order(names["progress"], others["progress"], span)]
    known = [less <= more, sooner <= later, required > 0, ramp > 0]
    pair = both(first, second)
    proved(machine, pair, names["progress"] <= others["progress"], known)
    hints.append(names["progress"] <= others["progress"])
    proved(machine, pair, names["discount"] <= others["discount"], known, hints=hints)
