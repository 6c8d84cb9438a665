"""Proofs of the rows of docs/units.md: each division rounds as its row says, for all inputs.

The ids are those of the table. Rows that are missing here are listed in docs/proofs.md as tested
only. Where no bound is given, all values of the type are meant; where the operation is checked, a
claim holds for every call that returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import z3

from ballast.proofs.claims import product_order
from tests.proofs_kit import (
    BPS,
    DOWN,
    GROWTH_END,
    GWEI,
    RATE,
    RAY,
    U16,
    U24,
    U72,
    U76,
    U84,
    U96,
    U120,
    U128,
    UP,
    WAD,
    ZERO,
    Direction,
    contract,
    integers,
    module,
    proved,
)

FIXED_POINT = module("fixed_point")
YEAR_S = 31_536_000
U172 = 2**172 - 1
# A size below 2**120, in steps.
CHANGE_GWEI = (-(2**91), 2**91)
Claim = Callable[[], None]
CLAIMS: dict[str, Claim] = {}


def row(*ids: str) -> Callable[[Claim], Claim]:
    def keep(claim: Claim) -> Claim:
        for row_id in ids:
            assert row_id not in CLAIMS
            CLAIMS[row_id] = claim
        return claim

    return keep


def divides(
    path: str, name: str, how: Direction, formula: Callable[..., tuple[Any, Any]], count: int
) -> None:
    """A function of `count` unsigned arguments is its formula, rounded; the divisor is not 0."""
    machine = integers()
    inputs = [machine.unsigned(name) for name in "abcdef"[:count]]
    outcome = machine.call(path, name, *inputs)
    numerator, divisor = formula(*inputs)
    proved(machine, outcome, how(outcome.value, numerator, divisor), [divisor > 0])


# What a name of a function is, where the type says less: a half of a word, a field of one.
HALF = (-U128 // 2, U128 // 2)  # of a word, signed
WIDTHS = {"size": HALF, "whole": HALF, "asset_wad": (0, U96), "base": (0, U172)}


def in_width(names: dict[str, Any]) -> list[Any]:
    """A size is half of a word, a price a field of 96 bits, assets of a vault idle and debt."""
    return [
        z3.And(value >= WIDTHS[name][0], value <= WIDTHS[name][1])
        for name, value in names.items()
        if name in WIDTHS
    ]


def part(text: str, path: str, name: str, how: Direction, formula: Callable[..., Any]) -> None:
    """An expression in a function is its formula of the function's names, rounded."""
    machine = integers()
    site = machine.expression(path, name, text)
    numerator, divisor = formula(**{n: v for n, v in site.names.items() if v is not None})
    known = [divisor > 0, *in_width(site.names)]
    proved(machine, site, how(site.value, numerator, divisor), known)


def magnitude(x: Any) -> Any:
    return z3.If(x < 0, -x, x)


# ---- the helpers


@row("R01")
def mul_div_up() -> None:
    divides(FIXED_POINT, "_mul_div_up", UP, lambda x, y, d: (x * y, d), 3)
    machine = integers()
    x, y, d = (machine.unsigned(name) for name in "xyd")
    outcome = machine.call(FIXED_POINT, "_mul_div_up", x, y, d)
    proved(machine, outcome, outcome.value <= x * y, [d > 0, x * y < 2**256], is_total=True)


@row("R02")
def div_up() -> None:
    machine = integers()
    x, d = machine.unsigned("x"), machine.unsigned("d")
    outcome = machine.call(FIXED_POINT, "_div_up", x, d)
    proved(machine, outcome, UP(outcome.value, x, d), [d > 0], is_total=True)


@row("R03")
def mul_wad_floor_signed() -> None:
    machine = integers()
    x, y = machine.signed("x"), machine.signed("y")
    outcome = machine.call(FIXED_POINT, "_mul_wad_floor_signed", x, y)
    proved(machine, outcome, DOWN(outcome.value, x * y, WAD))


@row("R54")
def div_floor_signed() -> None:
    machine = integers()
    x, d = machine.signed("x"), machine.signed("d")
    outcome = machine.call(FIXED_POINT, "_div_floor_signed", x, d)
    proved(machine, outcome, DOWN(outcome.value, x, d), [d > 0], is_total=True)


@row("R55")
def div_zero_signed() -> None:
    machine = integers()
    x, d = machine.signed("x"), machine.signed("d")
    outcome = machine.call(FIXED_POINT, "_div_zero_signed", x, d)
    proved(machine, outcome, ZERO(outcome.value, x, d), [d > 0], is_total=True)


# ---- margin and positions


@row("R04")
def required_up() -> None:
    machine = integers()
    price = machine.unsigned("price", U96)
    charged = machine.unsigned("charged", 2 * 2**24 * 2**122)
    outcome = machine.call(module("margin"), "_required_up", price, charged)
    goal = UP(outcome.value, price * charged, WAD * RATE)
    hints = [product_order(price, U96, charged)]
    proved(machine, outcome, goal, is_total=True, hints=hints)
    collateral_requirement_up()


def collateral_requirement_up() -> None:
    """In place in the margin test; value and requirement are so small that their difference fits.

    The subtraction of the words goes through zero on purpose and is read with a sign.
    """
    path, name, largest = module("margin"), "_collateral_excess_init", U96 * U72 * GWEI
    machine = integers()
    text = "unsafe_mul(price_wad, min(position & packing.MASK_128, packing._quota_wad(risk_word)))"
    site = machine.expression(path, name, text)
    price = site.names["price_wad"]
    quota = machine.call(module("packing"), "_quota_wad", site.names["risk_word"]).value
    held = machine.call(module("packing"), "_collateral_wad", site.names["position"]).value
    counted = z3.If(held < quota, held, quota)
    goal = z3.And(site.value == price * counted, site.value <= largest)
    hints = [product_order(price, U96, counted)]
    proved(machine, site, goal, [price <= U96], is_total=True, hints=hints)
    machine = integers()
    text = "unsafe_div(unsafe_add(unsafe_mul(value, rate_e6), REQUIRED_UNIT - 1), REQUIRED_UNIT)"
    site = machine.expression(path, name, text)
    value, rate = site.names["value"], site.names["rate_e6"]
    goal = z3.And(UP(site.value, value * rate, WAD * RATE), site.value < 2**255)
    hints = [product_order(rate, 2 * U24, value)]
    known = [value <= largest, rate <= 2 * U24]
    proved(machine, site, goal, known, is_total=True, hints=hints)


@row("R05")
def value_down() -> None:
    machine = integers()
    amount, price = machine.unsigned("amount", U128), machine.unsigned("price", U96)
    outcome = machine.call(module("margin"), "_value_down", amount, price)
    goal = DOWN(outcome.value, amount * price, WAD)
    hints = [product_order(price, U96, amount)]
    proved(machine, outcome, goal, is_total=True, hints=hints)


@row("R06")
def to_wad() -> None:
    machine = integers()
    word, amount = machine.unsigned("word"), machine.unsigned("amount")
    outcome = machine.call(module("ledger"), "_to_wad", word, amount)
    unit = machine.call(module("packing"), "_unit_wad", word)
    proved(machine, outcome, outcome.value == amount * unit.value)


@row("R62")
def result_of_a_perpetual() -> None:
    machine = integers()
    leg = {name: machine.unsigned(name) for name in ("position", "price_word")}
    leg |= {name: machine.signed(name) for name in ("funding", "cost")}
    size = machine.signed("size")
    machine.substitutes["_size_wad"] = lambda word, path: size
    outcome = machine.call(module("slices"), "_result_wad", leg)
    price = machine.call(module("packing"), "_newest_wad", leg["price_word"])
    moved = size * (price.value - leg["funding"])
    proved(machine, outcome, DOWN(outcome.value + leg["cost"], moved, WAD))
    perpetual_in_the_margin_equation()


def perpetual_in_the_margin_equation() -> None:
    """Unchecked there: of a size below 2**120, a funding of 128 bits, a price of 96."""
    machine = integers()
    size = machine.signed("size", -U120, U120)
    funding = machine.signed("funding", -(2**127), 2**127 - 1)
    price = machine.unsigned("price", U96)
    text = "unsafe_mul(size, unsafe_sub(convert(convert(price_wad, bytes32), int256), funding_wad))"
    move = machine.expression(module("margin"), "_terms", text)
    names = move.names
    same = [
        names["size"] == size,
        names["price_wad"] == price,
        names["funding_wad"] == funding,
    ]
    hints = [
        product_order(0, size, price - funding),
        product_order(size, U120, price - funding),
        product_order(-U120, size, price - funding),
        product_order(size, U120, funding - price),
        product_order(-U120, size, funding - price),
    ]
    proved(machine, move, move.value == size * (price - funding), same, hints=hints)
    text = "unsafe_sub(fixed_point._div_floor_signed(move, 10**18), cost_wad)"
    result = machine.expression(module("margin"), "_terms", text)
    cost = result.names["cost_wad"]
    same = [cost >= -(2**127), cost < 2**127]
    goal = DOWN(result.value + cost, result.names["move"], WAD)
    proved(machine, result, goal, same, is_total=True)


# ---- swaps


@row("R07")
def least_out_up() -> None:
    machine = integers()
    sold, bought = (_side(machine, name) for name in ("sold", "bought"))
    amount, slippage = machine.unsigned("amount"), machine.unsigned("slippage", BPS)
    outcome = machine.call(contract("Exchange"), "_least_out_up", sold, bought, amount, slippage)
    fields = {
        name: machine.call(module("packing"), name, side).value
        for name, side in (("_unit_wad", sold["asset_word"]), ("_newest_wad", sold["price_word"]))
    }
    unit = machine.call(module("packing"), "_unit_wad", bought["asset_word"]).value
    price = machine.call(module("packing"), "_newest_wad", bought["price_word"]).value
    worth = amount * fields["_unit_wad"] * fields["_newest_wad"]
    wanted = worth * (BPS - outcome.names["limit_bps"])
    goal = UP(outcome.value, wanted, BPS * price * unit)
    proved(machine, outcome, z3.And(goal, outcome.names["limit_bps"] <= BPS), [price * unit > 0])


@row("R08")
def swap_limit() -> None:
    machine = integers()
    side = _side(machine, "side")
    outcome = machine.call(contract("Exchange"), "_limit_bps", side)
    gross = machine.call(module("packing"), "_l_init_e6", side["risk_word"]).value
    listed = machine.call(module("packing"), "_swap_limit_bps", side["asset_word"]).value
    goal = z3.Or(outcome.value == listed, DOWN(outcome.value, gross, 100))
    proved(machine, outcome, z3.And(goal, 100 * outcome.value <= gross), is_total=True)


def _side(machine: Any, name: str) -> dict[str, Any]:
    words = ("asset_word", "price_word", "risk_word")
    return {word: machine.unsigned(f"{name}.{word}") for word in words}


@row("R09")
def most_of_the_debt() -> None:
    machine = integers()
    site = machine.expression(contract("Exchange"), "swap", "order.absorbed * 3 // 4")
    proved(machine, site, DOWN(site.value, 3 * site.names["order"]["absorbed"], 4))


# ---- the lending vault


@row("R10")
def owed_up() -> None:
    divides(module("loans"), "_owed_up", UP, lambda s, i: (s * i, z3.IntVal(WAD)), 2)
    text = "fixed_point._mul_div_up(shares, index_ray, RAY)"
    part(
        text,
        module("cash"),
        "_owed_up",
        UP,
        lambda shares, index_ray: (shares * index_ray, z3.IntVal(RAY)),
    )


@row("R12")
def loan_shares_up() -> None:
    part(
        "fixed_point._mul_div_up(assets, fixed_point.WAD, index_wad)",
        module("loans"),
        "_lend",
        UP,
        lambda assets, index_wad: (assets * WAD, index_wad),
    )


@row("R13")
def burnt_shares_down() -> None:
    part(
        "assets * fixed_point.WAD // index_wad",
        module("loans"),
        "_repay",
        DOWN,
        lambda assets, index_wad: (assets * WAD, index_wad),
    )


@row("R14")
def debt_down() -> None:
    machine = integers()
    shares, index = machine.unsigned("shares", U96), machine.unsigned("index", U76)
    outcome = machine.call(module("lending_state"), "_debt_down", shares, index)
    goal = DOWN(outcome.value, shares * index, WAD)
    hints = [product_order(shares, U96, index)]
    proved(machine, outcome, goal, is_total=True, hints=hints)


@row("R15", "R19")
def interest() -> None:
    """At whatever rate below 2**100, which `test_monotone.py` shows it to be; growth is R16."""
    rate, growth = z3.Ints("rate growth")
    machine = integers(
        _rate_ray_up=lambda *arguments, path: rate,
        _growth_ray_down=lambda *arguments, path: growth,
    )
    shares, index = machine.unsigned("shares", U96), machine.unsigned("index", U76)
    reserves, idle = machine.unsigned("reserves", U84), machine.unsigned("idle", U96)
    elapsed, terms = machine.unsigned("elapsed", 2**32 - 1), machine.unsigned("terms")
    path = module("lending_state")
    outcome = machine.call(path, "_grown", shares, index, reserves, idle, elapsed, terms)
    factor = machine.call(path, "_reserve_factor_bps", terms).value
    after, kept, debt = outcome.value
    names = outcome.names
    interest = names["debt_now"] - names["debt"]
    goal = z3.And(
        z3.Or(after == U76, UP(after - index, index * growth, RAY)),
        z3.Or(kept == U84, DOWN(kept - reserves, interest * factor, BPS)),
        DOWN(debt, shares * after, WAD),
    )
    hints = [
        product_order(shares, U96, index),
        product_order(growth, GROWTH_END, index),
        product_order(0, growth, index),
        product_order(names["index_now_wad"], U76, shares),
        product_order(index, names["index_now_wad"], shares),
        product_order(factor, U16, interest),
    ]
    known = [rate >= 0, rate < 2**100, growth >= 0, growth < GROWTH_END]
    proved(machine, outcome, goal, known, is_total=True, hints=hints)
    fields_of_interest()


def fields_of_interest() -> None:
    """The book hands that the fields of its words, where time passed and something is owed."""
    handed: list[tuple[Any, ...]] = []

    def grown(*arguments: Any, path: Any) -> Any:
        handed.append(arguments)
        return z3.Ints("index_now reserves_now debt_now")

    machine = integers(_grown=grown)
    pool, loans = machine.unsigned("pool"), machine.unsigned("loans")
    now = machine.unsigned("now", 2**32 - 1)
    outcome = machine.call(module("lending_book"), "_with_interest", pool, loans, now)
    path = module("lending_state")
    shares, index, reserves = (
        machine.call(path, name, loans).value
        for name in ("_debt_shares", "_index_wad", "_reserves")
    )
    idle = machine.call(path, "_idle", pool).value
    elapsed = now - word_field(machine, pool, 224, 32)
    wanted = (shares, index, reserves, idle, elapsed, machine.known["lending_terms._terms"])
    assert len(handed) == 1
    after, kept, debt = outcome.value
    due = zip(outcome.value, z3.Ints("index_now reserves_now debt_now"), strict=True)
    goal = z3.And(
        *(given == meant for given, meant in zip(handed[0], wanted, strict=True)),
        z3.If(
            z3.And(elapsed != 0, shares != 0),
            z3.And(*(value == grown for value, grown in due)),
            z3.And(after == index, kept == reserves, DOWN(debt, shares * index, WAD)),
        ),
    )
    proved(machine, outcome, goal, hints=[product_order(shares, U96, index)])


@row("R16")
def growth_down() -> None:
    """x + x^2 / 2 + x^3 / 6 at most, and at most two and a half units of 1e-27 below it."""
    machine = integers()
    rate, elapsed = machine.unsigned("rate", 2**100 - 1), machine.unsigned("elapsed", 2**64 - 1)
    outcome = machine.call(module("kinked_rate"), "_growth_ray_down", rate, elapsed)
    x, second = outcome.names["exponent_ray"], outcome.names["second_ray"]
    exact = 6 * RAY * RAY * x + 3 * RAY * x * x + x * x * x
    scaled = 6 * RAY * RAY * outcome.value
    hints = [
        product_order(rate, 2**100 - 1, elapsed),
        product_order(2 * RAY * second, x * x, x),
        product_order(x * x, 2 * RAY * second + 2 * RAY, x),
        product_order(x, 100 * RAY, x),
        product_order(second, 5000 * RAY, x),
    ]
    goal = z3.And(
        scaled <= exact, exact - scaled <= 6 * RAY * RAY * 103, outcome.value < GROWTH_END
    )
    proved(machine, outcome, goal, is_total=True, hints=hints)


@row("R17")
def rate_up() -> None:
    machine = integers()
    u = machine.unsigned("u", WAD)
    base, low, high = (machine.unsigned(name, 2**40 - 1) for name in ("base", "low", "high"))
    kink = machine.unsigned("kink", BPS - 1, 1)
    path = module("kinked_rate")
    outcome = machine.call(path, "_rate_ray_up", u, base, low, high, kink)
    k = kink * (WAD // BPS)
    below = UP(outcome.value, (base * k + low * u) * RAY, BPS * YEAR_S * k)
    steep = (base + low) * (WAD - k) + high * (u - k)
    above = UP(outcome.value, steep * RAY, BPS * YEAR_S * (WAD - k))
    hints = [
        product_order(k, WAD, base),
        product_order(u, WAD, low),
        product_order(u, WAD, high),
        product_order(u - k, WAD, high),
        product_order(WAD - k, WAD, base + low),
    ]
    proved(machine, outcome, z3.If(u <= k, below, above), is_total=True, hints=hints)


@row("R18")
def utilisation_up() -> None:
    machine = integers()
    debt, idle = machine.unsigned("debt", 2**190 - 1), machine.unsigned("idle", 2**190 - 1)
    outcome = machine.call(module("kinked_rate"), "_utilisation_wad_up", debt, idle)
    goal = z3.And(
        z3.Implies(debt > 0, UP(outcome.value, debt * WAD, debt + idle)),
        z3.Implies(debt == 0, outcome.value == 0),
        outcome.value <= WAD,
    )
    proved(machine, outcome, goal, is_total=True)


@row("R20")
def largest_loan_down() -> None:
    """Debt after it is within the part of all assets, and one unit more would not be."""
    machine = integers()
    idle, shares, index = (machine.unsigned(name) for name in ("idle", "shares", "index"))
    outcome = machine.call(module("loans"), "_max_loan", idle, shares, index)
    debt = outcome.names["debt"]
    within = z3.Implies(outcome.value > 0, (debt + outcome.value) * BPS <= (idle + debt) * 9_200)
    most = (debt + outcome.value + 1) * BPS > (idle + debt) * 9_200
    proved(machine, outcome, z3.And(within, most, UP(debt, shares * index, WAD)))


def shares(path: str, name: str, how: Direction, is_to_shares: bool) -> None:
    def formula(amount: Any, supply: Any, total: Any) -> tuple[Any, Any]:
        of_shares, of_assets = supply + 10**6, total + 1
        return (amount * of_shares, of_assets) if is_to_shares else (amount * of_assets, of_shares)

    divides(path, name, how, formula, 3)


@row("R21", "R80")
def to_shares_down() -> None:
    shares(module("share_math"), "_to_shares_down", DOWN, True)


@row("R22", "R82")
def to_shares_up() -> None:
    shares(module("share_math"), "_to_shares_up", UP, True)


@row("R23", "R81")
def to_assets_down() -> None:
    shares(module("share_math"), "_to_assets_down", DOWN, False)


@row("R24")
def to_assets_up() -> None:
    shares(module("share_math"), "_to_assets_up", UP, False)


# ---- budgets, targets, sizes


@row("R25")
def armed_down() -> None:
    for what in ("capacity", "lifetime"):
        part(
            f"budget.{what} // MICRO_WAD",
            module("budgets"),
            "_arm",
            DOWN,
            lambda budget, what=what: (budget[what], z3.IntVal(10**12)),
        )


@row("R26")
def refill_down() -> None:
    machine = integers()
    word = machine.unsigned("word")
    outcome = machine.call(module("budgets"), "_left_micro", word)
    names = outcome.names
    now = machine.known["block.timestamp"]
    made, period = word_field(machine, word, 224, 32), word_field(machine, word, 192, 32)
    goal = z3.Implies(word != 0, DOWN(names["refill"], names["capacity"] * (now - made), period))
    goal = z3.And(goal, z3.Implies(word != 0, outcome.value <= names["capacity"]))
    proved(machine, outcome, goal)


def word_field(machine: Any, word: Any, shift: int, width: int) -> Any:
    upper = machine.domain.shift_right(word, shift, False)
    if shift + width == 256:
        return upper
    return machine.domain.bit_and(upper, z3.IntVal(2**width - 1))


@row("R27")
def spent_up() -> None:
    path, text = module("budgets"), "fixed_point._div_up(loss, MICRO_WAD)"
    part(text, path, "_spend", UP, lambda loss: (loss, z3.IntVal(10**12)))


@row("R28")
def overshoot_up() -> None:
    part(
        "fixed_point._mul_div_up(required, most_bps, fixed_point.BPS)",
        module("judgement"),
        "_judge_account",
        UP,
        lambda required, most_bps: (required * most_bps, z3.IntVal(BPS)),
    )


@row("R29")
def floor_of_a_donor_up() -> None:
    machine = integers()
    text = "fixed_point._mul_div_up(required_init, guards._floor_bps(guard_word), fixed_point.BPS)"
    site = machine.expression(module("judgement"), "_judge_donor", text)
    floor = machine.call(module("guards"), "_floor_bps", site.names["guard_word"]).value
    proved(machine, site, UP(site.value, site.names["required_init"] * floor, BPS))


@row("R30")
def shortfall_up() -> None:
    machine = integers()
    required, equity = machine.unsigned("required"), machine.signed("equity")
    target, guard = machine.unsigned("target"), machine.unsigned("guard")
    planned = machine.call(module("readiness"), "_shortfall_up", equity, required, target)
    judged = machine.call(module("judgement"), "_shortfall_up", equity, required, guard)
    of_guard = machine.call(module("guards"), "_target_bps", guard).value
    for outcome, multiple in ((planned, target), (judged, of_guard)):
        missing = required * multiple - BPS * equity
        goal = z3.If(missing > 0, UP(outcome.value, missing, BPS), outcome.value == 0)
        proved(machine, outcome, goal)


@row("R32")
def value_of_a_cure_up() -> None:
    divides(module("sizing"), "_value_up", UP, lambda s, cure: (s * 10**10, cure), 2)


@row("R33")
def cured_down() -> None:
    path = module("sizing")
    divides(path, "_cured_down", DOWN, lambda v, cure: (v * cure, z3.IntVal(10**10)), 2)


@row("R34")
def units_up() -> None:
    path = module("sizing")
    divides(path, "_units_up", UP, lambda v, price, unit: (v * WAD, price * unit), 3)


@row("R35")
def trigger_up() -> None:
    machine = integers()
    text = "fixed_point._mul_div_up(required, policies._trigger_bps(policy_word), fixed_point.BPS)"
    site = machine.expression(module("readiness"), "_trigger_up", text)
    trigger = machine.call(module("policies"), "_trigger_bps", site.names["policy_word"]).value
    proved(machine, site, UP(site.value, site.names["required"] * trigger, BPS))


@row("R38")
def cash_units() -> None:
    machine = integers()
    needed, available = machine.unsigned("needed"), machine.unsigned("available")
    outcome = machine.call(module("free_means"), "_cash_units", needed, available)
    unit = machine.known["sources.UNIT_WAD"]
    taken = outcome.value
    goal = z3.And(
        taken * unit <= available,
        z3.Or(UP(taken, needed, unit), DOWN(taken, available, unit)),
    )
    proved(machine, outcome, goal)


# ---- the oracle


@row("R42")
def decay_up() -> None:
    machine = integers()
    text = "fixed_point._mul_div_up(limits & MASK_48, kept_wad, fixed_point.WAD)"
    site = machine.expression(module("margin_rates"), "_limits", text)
    sigma = machine.domain.bit_and(site.names["limits"], z3.IntVal(2**48 - 1))
    proved(machine, site, UP(site.value, sigma * site.names["kept_wad"], WAD))


@row("R43")
def rise_down() -> None:
    machine = integers()
    old, aim, elapsed = (machine.unsigned(name) for name in ("old", "aim", "elapsed"))
    outcome = machine.call(module("margin_rates"), "_risen", old, aim, elapsed)
    rise = outcome.value - old
    passed = z3.If(elapsed < 3_600, elapsed, 3_600)
    is_bound = z3.And(aim > old, old != 0)
    limited = z3.And(outcome.value <= aim, rise * 360_000 <= old * 5 * passed, 20 * rise <= old)
    whole = z3.Or(outcome.value == aim, DOWN(rise, old * 5 * passed, 360_000))
    goal = z3.If(is_bound, z3.And(limited, whole), outcome.value == aim)
    proved(machine, outcome, goal, hints=[product_order(passed, 3_600, old)])


def risk_fields(*values: Any, path: Any) -> dict[str, Any]:
    names = ("r_init", "l_init", "r_maint", "l_maint", "quota", "poked_at", "sigma")
    return dict(zip(names, values, strict=True))


@row("R44")
def rates_of_a_risk_word_up() -> None:
    machine = integers(_risk_word=risk_fields)
    limits, parameters, time = (machine.unsigned(n) for n in ("limits", "parameters", "time"))
    outcome = machine.call(module("margin_rates"), "_risk", limits, parameters, time)
    risk = outcome.value
    r_maint, l_maint = word_field(machine, limits, 48, 48), word_field(machine, limits, 96, 160)
    goal = z3.And(
        UP(risk["r_maint"], r_maint, 10**6),
        UP(risk["l_maint"], l_maint, 10**6),
        2 * risk["r_init"] >= 3 * risk["r_maint"],
        2 * risk["l_init"] >= 3 * risk["l_maint"],
        z3.Or(
            UP(risk["r_init"], outcome.names["r_init_e6"], 1),
            UP(risk["r_init"], 3 * risk["r_maint"], 2),
        ),
        UP(risk["sigma"], outcome.names["sigma_e12"], 10**6),
    )
    proved(machine, outcome, goal)


@row("R45")
def gross_rate_at_maintenance_up() -> None:
    machine = integers()
    sigma, parameters = machine.unsigned("sigma"), machine.unsigned("parameters")
    outcome = machine.call(module("margin_rates"), "_l_maint_e12", sigma, parameters)
    whole = machine.call(module("margin_rates"), "_rate_e12", sigma, parameters, 6)
    proved(machine, outcome, UP(outcome.value, whole.value, 2), [whole.returns])


@row("R46")
def rate_of_a_volatility_up() -> None:
    machine = integers()
    sigma, parameters = machine.unsigned("sigma"), machine.unsigned("parameters")
    for index in (0, 3, 6):
        outcome = machine.call(module("margin_rates"), "_rate_e12", sigma, parameters, index)
        names = outcome.names
        z = machine.call(module("margin_rates"), "_field", parameters, index).value
        clamped = z3.If(
            names["rate_e12"] > names["floor_e12"], names["rate_e12"], names["floor_e12"]
        )
        goal = z3.And(
            UP(names["rate_e12"], z * sigma, BPS),
            outcome.value == z3.If(clamped < names["cap_e12"], clamped, names["cap_e12"]),
        )
        proved(machine, outcome, goal)


@row("R48")
def sigma_down() -> None:
    machine = integers()
    half, prior, tau = (machine.unsigned(name) for name in ("half", "prior", "tau"))
    outcome = machine.call(module("volatility"), "_sigma_e12", half, prior, tau)
    names = outcome.names
    scaled = names["sum_e28"] * YEAR_S * 1_000
    root = 100 * outcome.value
    goal = root * root * names["weight_ms"] <= scaled
    hints = []
    for r in _roots(machine):
        hints += [product_order(root, r, root), product_order(root, r, r)]
        hints += [product_order(root * root, r * r, names["weight_ms"])]
    proved(machine, outcome, goal, [names["weight_ms"] > 0], hints=hints)


def _roots(machine: Any) -> list[Any]:
    found = {}
    for fact in machine.facts:
        stack = [fact]
        while stack:
            term = stack.pop()
            if z3.is_const(term) and term.decl().name().startswith("isqrt"):
                found[term.get_id()] = term
            stack += term.children()
    return list(found.values())


@row("R51")
def bucket_up() -> None:
    divides(module("volatility"), "_bucket", UP, lambda t: (t, z3.IntVal(300)), 1)


# ---- perpetuals


@row("R56")
def root_of_the_lag_down() -> None:
    machine = integers()
    site = machine.expression(
        module("markets"), "_limits_word", "isqrt(t.lag_s * 10**18 // YEAR_S)"
    )
    root, lag = site.value, site.names["t"]["lag_s"]
    goal = z3.And(
        root * root * YEAR_S <= lag * 10**18, (root + 1) * (root + 1) * YEAR_S > lag * 10**18
    )
    proved(machine, site, goal)


@row("R57")
def uncertainty_up() -> None:
    machine = integers()
    limits, risk = machine.unsigned("limits"), machine.unsigned("risk")
    outcome = machine.call(module("markets"), "_uncertainty_e6", limits, risk)
    moved = outcome.names["lag_e6"]
    root, sigma = word_field(machine, limits, 168, 24), word_field(machine, risk, 208, 32)
    band = word_field(machine, limits, 144, 24)
    goal = z3.And(DOWN(moved, sigma * root, 10**9), UP(outcome.value, band + moved, 2))
    hints = [product_order(root, 2**24, sigma)]
    proved(machine, outcome, goal, is_total=True, hints=hints)


@row("R58")
def fill_price() -> None:
    """Up for who buys, down for who sells: the house has the rest of the division either way."""
    machine = integers()
    index, fee = machine.unsigned("index", U96), machine.unsigned("fee", 2**28 - 1)
    skew, change = machine.signed("skew", -U72, U72), machine.signed("change", *CHANGE_GWEI)
    prices = machine.unsigned("prices")
    path = module("markets")
    outcome = machine.call(path, "_fill_price", index, skew, change, prices, fee)
    depth = 2 * machine.call(path, "_depth_gwei", prices).value
    premium = (2 * skew + change) * RATE
    bought = index * (depth * RATE + premium + depth * fee)
    sold = index * (depth * RATE + premium - depth * fee)
    goal = z3.If(
        change > 0,
        UP(outcome.value, bought, depth * RATE),
        DOWN(outcome.value, sold, depth * RATE),
    )
    steps = outcome.names["premium"], outcome.names["fee"]
    factors = [steps[0] + steps[1], -steps[0] - steps[1], steps[0] - steps[1], steps[1] - steps[0]]
    hints = [product_order(fee, 2**28, depth)]
    hints += [product_order(index, U96, factor) for factor in factors]
    hints += [product_order(0, index, factor) for factor in factors]
    proved(machine, outcome, goal, [depth > 0], hints=hints)


@row("R59")
def cost_of_a_fill_up() -> None:
    text = "-fixed_point._mul_wad_floor_signed(-change, price_signed - funding)"
    part(
        text,
        contract("Perps"),
        "fill",
        UP,
        lambda change, price_signed, funding: (change * (price_signed - funding), z3.IntVal(WAD)),
    )


@row("R60")
def entry() -> None:
    machine = integers()
    names = ("old_size", "old_entry", "new_size", "change", "price")
    halves = {"old_size", "old_entry", "new_size"}
    old_size, old_entry, new_size, change, price = (
        machine.signed(name, -(2**127), 2**127 - 1) if name in halves else machine.signed(name)
        for name in names
    )
    path = module("markets")
    outcome = machine.call(path, "_entry_wad", old_size, old_entry, new_size, change, price)
    is_new = z3.Or(old_size == 0, (old_size > 0) != (new_size > 0))
    grows = z3.If(new_size < 0, -new_size, new_size) > z3.If(old_size < 0, -old_size, old_size)
    size = z3.If(old_size < 0, -old_size, old_size)
    rest = old_entry * new_size * z3.If(old_size < 0, -1, 1)
    goal = z3.If(
        new_size == 0,
        outcome.value == 0,
        z3.If(
            is_new,
            UP(outcome.value, new_size * price, WAD),
            z3.If(
                grows,
                UP(outcome.value - old_entry, change * price, WAD),
                ZERO(outcome.value, rest, size),
            ),
        ),
    )
    proved(machine, outcome, goal)


@row("R61")
def funding_rate() -> None:
    machine = integers()
    index, skew = machine.unsigned("index", U96), machine.signed("skew", -U72, U72)
    prices, limits = machine.unsigned("prices"), machine.unsigned("limits")
    outcome = machine.call(module("markets"), "_rate_wad", index, skew, prices, limits)
    cap, clamped = outcome.names["cap"], outcome.names["clamped"]
    most = machine.call(module("markets"), "_terms", prices, limits).value["max_funding_e6"]
    product = index * most
    goal = z3.And(
        ZERO(outcome.value, product * clamped, cap * RATE * YEAR_S),
        clamped <= cap,
        clamped >= -cap,
        z3.Or(clamped == skew, z3.And(skew > cap, clamped == cap), clamped == -cap),
    )
    hints = [
        product_order(most, U24, index),
        product_order(0, most, index),
        product_order(clamped, U72, product),
        product_order(-U72, clamped, product),
    ]
    proved(machine, outcome, goal, [cap > 0], is_total=True, hints=hints)


@row("R64")
def backed_down() -> None:
    divides(module("backing"), "_backed_gwei", DOWN, lambda s, p, r: (s * RATE * GWEI, p * r), 3)


@row("R65")
def house_requirement_up() -> None:
    price = z3.Int("price")
    machine = integers(_newest_wad=lambda word, path: price)
    text = (
        "fixed_point._mul_div_up( packing._newest_wad(marks[2 * i]), max(shorts, longs), "
        "fixed_point.RATE * markets.SIZE_STEP )"
    )
    site = machine.expression(module("backing"), "_free_wad", text)
    shorts, longs = site.names["shorts"], site.names["longs"]
    charged = price * z3.If(shorts > longs, shorts, longs)
    proved(machine, site, UP(site.value, charged, RATE * GWEI), [price >= 0])


@row("R70")
def booked_value_down() -> None:
    machine = integers()
    text = "fixed_point._abs(size) * index // fixed_point.WAD"
    site = machine.expression(module("orders"), "_require_bookable", text)
    size, index = site.names["size"], site.names["index"]
    proved(machine, site, DOWN(site.value, magnitude(size) * index, WAD), in_width(site.names))


@row("R71")
def needed_up() -> None:
    """The shortfall over what a unit frees, and one step less a unit, so that a step is reached."""
    price, rate = z3.Ints("price rate")
    machine = integers(
        _newest_wad=lambda word, path: price,
        _house_word=lambda risk, position, path: risk,
        _position_word=lambda collateral, size, path: size,
        _r_maint_e6=lambda word, path: rate,
        _l_maint_e6=lambda word, path: z3.IntVal(0),
    )
    shortfall, skew = machine.unsigned("shortfall"), machine.signed("skew", -U128, U128)
    words = machine.unsigned("price_word"), machine.unsigned("risk_word")
    outcome = machine.call(contract("Deleverager"), "_needed_up", shortfall, skew, *words)
    needed = outcome.value - (GWEI - 1)
    proved(
        machine,
        outcome,
        UP(needed, shortfall * WAD * RATE, price * rate),
        [price > 0, rate > 0, price * rate > 0],
    )


@row("R97")
def insured_part_down() -> None:
    machine = integers()
    change = machine.signed("change", *CHANGE_GWEI)
    index, fee = machine.unsigned("index", U96), machine.unsigned("fee", 2**26 - 1)
    outcome = machine.call(module("markets"), "_insured_part_gwei", change, index, fee)
    worth = magnitude(change) * index
    goal = DOWN(outcome.value, worth * fee * 1_000, BPS * RATE * WAD)
    hints = [product_order(index, U96, magnitude(change)), product_order(fee, 2**26, worth)]
    proved(machine, outcome, goal, is_total=True, hints=hints)


# ---- the house's shares


@row("R78", "R79")
def house_units() -> None:
    for name, how in (("_to_units_down", DOWN), ("_to_units_up", UP)):
        machine = integers()
        value = machine.signed("value")
        outcome = machine.call(module("house_worth"), name, value)
        unit = machine.known["UNIT_WAD"]
        positive = z3.If(value > 0, value, 0)
        proved(machine, outcome, how(outcome.value, positive, unit), [unit > 0])


@row("R83")
def parts_of_an_epoch_down() -> None:
    part(
        "mine.asked * all_filled // all_asked",
        module("requests"),
        "_side",
        DOWN,
        lambda mine, all_filled, all_asked: (mine["asked"] * all_filled, all_asked),
    )


@row("R84")
def claimed_down() -> None:
    """All of what is due with the last part."""
    machine = integers()
    text = "mine.due * given // mine.given"
    site = machine.expression(module("requests"), "_claim_for", text)
    due, given, held = (site.names["mine"]["due"], site.names["given"], site.names["mine"]["given"])
    goal = z3.And(DOWN(site.value, due * given, held), z3.Implies(given == held, site.value == due))
    proved(machine, site, goal)


@row("R85")
def claimed_exactly_up() -> None:
    machine = integers()
    text = "(mine.given * due + mine.due - 1) // mine.due"
    site = machine.expression(module("requests"), "_claim_exactly", text)
    due, given, all_due = (
        site.names["due"],
        site.names["mine"]["given"],
        site.names["mine"]["due"],
    )
    goal = z3.And(
        UP(site.value, given * due, all_due), z3.Implies(due == all_due, site.value == given)
    )
    proved(machine, site, goal)


# ---- liquidation


@row("R87")
def discount_down() -> None:
    machine = integers()
    equity, required = machine.signed("equity"), machine.unsigned("required")
    leaving, elapsed, ramp = (machine.unsigned(name) for name in ("exit", "elapsed", "ramp"))
    path = module("discounts")
    outcome = machine.call(path, "_discount_wad", equity, required, leaving, elapsed, ramp)
    names = outcome.names
    span = (names["most"] - names["least"]) * names["progress"]
    goal = z3.And(
        DOWN(names["ceiling"], required * 9_000, BPS),
        DOWN(names["discount"] - names["least"], span, WAD),
        outcome.value <= names["discount"],
        outcome.value <= names["paid"],
        BPS * outcome.value <= 9_000 * required,
        names["progress"] <= WAD,
    )
    hints = [product_order(names["progress"], WAD, names["most"] - names["least"])]
    proved(machine, outcome, goal, hints=hints)


@row("R88")
def fraction_up() -> None:
    """f R (t - d) >= t R - E wherever a part is taken, and the fraction is at most the whole."""
    machine = integers()
    equity, required = machine.signed("equity"), machine.unsigned("required")
    discount, target, dust = (machine.unsigned(name) for name in ("discount", "target", "dust"))
    path = module("discounts")
    outcome = machine.call(path, "_fraction_wad", equity, required, discount, target, dust)
    missing = target * required - BPS * equity
    whole = target * required - BPS * discount
    goal = z3.And(
        outcome.value <= WAD,
        z3.Or(outcome.value == WAD, UP(outcome.value, missing * WAD, whole)),
    )
    known = [whole > 0]
    proved(machine, outcome, goal, known)


# ---- what is left


@row("R100")
def scaled_answer_down() -> None:
    rate = z3.Int("rate")
    machine = integers(_rate_wad=lambda path: rate)
    text = "convert(answer, uint256) * self._rate_wad() // fixed_point.WAD"
    site = machine.expression("contracts/adapters/VaultFeed.vy", "_scaled_down", text)
    proved(machine, site, DOWN(site.value, site.names["answer"] * rate, WAD), [rate >= 0])


@row("R101")
def rate_cap_down() -> None:
    machine = integers()
    outcome = machine.call("contracts/adapters/VaultFeed.vy", "_rate_cap_wad")
    names = outcome.names
    rate, age = names["rate_wad"], names["age_s"]
    grown = DOWN(names["grown_wad"] - rate, rate * machine.known["GROWTH_WAD"] * age, WAD)
    recovered = DOWN(names["recovered_wad"] - rate, rate * (WAD // 20 // 86_400) * age, WAD)
    proved(machine, outcome, z3.And(grown, recovered, age <= 86_400))


@row("R102")
def part_of_down() -> None:
    machine = integers()
    amount, use = machine.unsigned("amount"), machine.unsigned("use")
    outcome = machine.call(module("drafts"), "_part_of", amount, use)
    proved(machine, outcome, DOWN(outcome.value, amount * RATE, use), [use > 0])


@row("R103")
def charged_up() -> None:
    part(
        "fixed_point._mul_div_up(value_wad, cost_e6, fixed_point.RATE)",
        module("drafts"),
        "_charged",
        UP,
        lambda value_wad, cost_e6: (value_wad * cost_e6, z3.IntVal(RATE)),
    )


@row("R107")
def part_of_a_parameter_down() -> None:
    divides(contract("Governance"), "_part_down", DOWN, lambda o, p: (o * p, z3.IntVal(100)), 2)


@row("R86")
def exit_down() -> None:
    machine = integers()
    size = machine.signed("size", -(2**127), 2**127 - 1)
    machine.substitutes["_size_wad"] = lambda word, path: size
    position, price_word, risk = (machine.unsigned(n) for n in ("position", "price", "risk"))
    outcome = machine.call(module("discounts"), "_exit_wad", position, price_word, risk)
    packing = module("packing")
    held = machine.call(packing, "_collateral_wad", position).value
    price = machine.call(packing, "_newest_wad", price_word).value
    rate = machine.call(packing, "_l_maint_e6", risk).value
    gross = held + magnitude(size)
    hints = [
        product_order(price, U96, gross),
        product_order(0, price, gross),
        product_order(rate, U24, price * gross),
    ]
    goal = DOWN(outcome.value, price * gross * rate, WAD * RATE)
    # A size is the upper half of its word, like the cap of a supply word.
    upper_half = machine.call(packing, "_cap_wad", position).value
    known = [z3.Implies(upper_half == 0, size == 0)]
    proved(machine, outcome, goal, known, is_total=True, hints=hints)


@row("R109")
def level_up() -> None:
    """Toward the aim and never beyond it; rounded so that more must be left."""
    machine = integers()
    word, total = machine.unsigned("word"), machine.unsigned("total")
    outcome = machine.call(module("outflows"), "_level_up", word, total)
    names = outcome.names
    level, aim, passed = names["level"], names["aim"], names["passed_s"]
    goal = z3.If(
        aim > level,
        z3.And(UP(outcome.value - level, (aim - level) * passed, 86_400), outcome.value <= aim),
        z3.And(DOWN(level - outcome.value, (level - aim) * passed, 86_400), outcome.value >= aim),
    )
    hints = [product_order(passed, 86_400, aim - level), product_order(passed, 86_400, level - aim)]
    # It was counted at a time of the chain.
    counted_at = word_field(machine, word, 192, 32)
    known = [counted_at <= machine.known["block.timestamp"]]
    proved(machine, outcome, goal, known, is_total=True, hints=hints)


@row("R110")
def part_that_may_leave_down() -> None:
    machine = integers()
    text = "unsafe_div(unsafe_mul(base, (word >> 224) & MASK_16), fixed_point.BPS)"
    site = machine.expression(module("outflows"), "_least", text)
    base = site.names["base"]
    limit = machine.call(module("outflows"), "_limit_bps", site.names["word"]).value
    hints = [product_order(limit, U16, base)]
    goal = DOWN(site.value, base * limit, BPS)
    proved(machine, site, goal, in_width(site.names), is_total=True, hints=hints)


# ---- divisions inside larger functions, by their text; `n` has the names in it


Formula = Callable[[dict[str, Any]], tuple[Any, Any]]
SITES: dict[str, tuple[tuple[str, str, str, Direction, Formula], ...]] = {
    "R11": (
        (
            module("cash"),
            "_debit_wad",
            "amount_wad // unit",
            DOWN,
            lambda n: (n["amount_wad"], n["unit"]),
        ),
    ),
    "R36": (
        (
            module("free_means"),
            "_slack_down",
            "fixed_point._mul_div_up(other.required_init, floor_bps, fixed_point.BPS)",
            UP,
            lambda n: (n["other"]["required_init"] * n["floor_bps"], BPS),
        ),
    ),
    "R40": (
        (
            module("price_marks"),
            "_mark",
            "unsafe_div(unsafe_mul(asset_wad, fixed_point.WAD), quote_wad)",
            DOWN,
            lambda n: (n["asset_wad"] * WAD, n["quote_wad"]),
        ),
        (
            module("price_marks"),
            "_mark",
            "asset_wad * fixed_point.WAD // quote_previous_wad",
            DOWN,
            lambda n: (n["asset_wad"] * WAD, n["quote_previous_wad"]),
        ),
    ),
    "R49": (
        (
            module("volatility"),
            "_sigma_range_e12",
            "fixed_point._div_up((high - low) * RANGE_FACTOR_E6, 10**4)",
            UP,
            lambda n: ((n["high"] - n["low"]) * 56_209_449, 10**4),
        ),
    ),
    "R53": (
        (
            module("executions"),
            "_take",
            "msg.gas * 63 // 64",
            DOWN,
            lambda n: (n["msg.gas"] * 63, 64),
        ),
    ),
    "R68": (
        (
            module("cash"),
            "_debit_wad",
            "fixed_point._div_up(amount_wad - cash, unit)",
            UP,
            lambda n: (n["amount_wad"] - n["cash"], n["unit"]),
        ),
    ),
    "R69": (
        (module("cash"), "_credit_wad", "cash // unit", DOWN, lambda n: (n["cash"], n["unit"])),
    ),
    "R72": (
        (
            contract("Lens"),
            "largest_trade",
            "fixed_point._abs(packing._size_wad(leg.position)) // markets.SIZE_STEP",
            DOWN,
            lambda n: (magnitude(n["_size_wad"]), GWEI),
        ),
    ),
    "R76": (
        (
            module("asset_means"),
            "_cost_e6",
            "fixed_point._mul_div_up(lost, fixed_point.RATE, index)",
            UP,
            lambda n: (n["lost"] * RATE, n["index"]),
        ),
    ),
    "R77": (
        (
            module("costed_means"),
            "_size",
            "budget * fixed_point.RATE // edge.cost_e6",
            DOWN,
            lambda n: (n["budget"] * RATE, n["edge"]["cost_e6"]),
        ),
    ),
    "R89": (
        (
            module("slices"),
            "_part",
            "collateral * fraction // fixed_point.WAD",
            DOWN,
            lambda n: (n["collateral"] * n["fraction"], WAD),
        ),
        (
            module("slices"),
            "_part",
            "fixed_point._abs(whole) * fraction // (fixed_point.WAD * markets.SIZE_STEP)",
            DOWN,
            lambda n: (magnitude(n["whole"]) * n["fraction"], WAD * GWEI),
        ),
    ),
    "R90": (
        (
            module("slices"),
            "_part",
            "fixed_point._div_zero_signed(result * convert(fraction, int256), 10**18)",
            ZERO,
            lambda n: (n["result"] * n["fraction"], WAD),
        ),
        (
            module("slices"),
            "_part",
            "kept_wad * fraction // fixed_point.WAD",
            DOWN,
            lambda n: (n["kept_wad"] * n["fraction"], WAD),
        ),
    ),
    "R91": (
        (
            contract("Liquidator"),
            "_slice",
            "discount * freed // picture.required_maint",
            DOWN,
            lambda n: (n["discount"] * n["freed"], n["picture"]["required_maint"]),
        ),
    ),
    "R92": (
        (
            contract("Liquidator"),
            "_slice",
            "part.bonus_wad * cover._insurance_bps(actions) // fixed_point.BPS",
            DOWN,
            lambda n: (n["part"]["bonus_wad"] * n["_insurance_bps"], BPS),
        ),
    ),
    "R93": (
        (
            module("takings"),
            "_move_debt",
            "fixed_point._div_up(most_wad, rooms.UNIT_WAD)",
            UP,
            lambda n: (n["most_wad"], n["rooms.UNIT_WAD"]),
        ),
        (
            module("takings"),
            "_move_debt",
            "fixed_point._mul_div_up(units, RAY, index_ray)",
            UP,
            lambda n: (n["units"] * RAY, n["index_ray"]),
        ),
    ),
    "R95": (
        (
            contract("Liquidator"),
            "_is_rescued",
            "required * cover._rescue_pay_bps(actions) // fixed_point.BPS",
            DOWN,
            lambda n: (n["required"] * n["_rescue_pay_bps"], BPS),
        ),
    ),
    "R96": (
        (
            module("cover"),
            "_draw_house",
            "worth * self._house_day_bps(self._actions) // fixed_point.BPS",
            DOWN,
            lambda n: (n["worth"] * n["_house_day_bps"], BPS),
        ),
    ),
    "R99": (
        (
            module("takings"),
            "_pay",
            "fixed_point._div_up(index_ray, RAY)",
            UP,
            lambda n: (n["index_ray"], RAY),
        ),
    ),
}
# Readers of words whose result is a name of its own in the formulas above.
READERS = {
    "_size_wad": (-(2**127), 2**127 - 1),
    "_newest_wad": (0, U96),
    "_insurance_bps": (0, 2**16 - 1),
    "_rescue_pay_bps": (0, 2**16 - 1),
    "_house_day_bps": (0, 2**16 - 1),
    "_result_wad": (-(2**255), 2**255 - 1),
}


def always(value: Any, *_: Any, path: Any) -> Any:
    return value


def sites_of(row_id: str) -> None:
    for path, name, text, how, formula in SITES[row_id]:
        machine = integers()
        read = {r: machine.signed(r, *bounds) for r, bounds in READERS.items() if f"{r}(" in text}
        for reader, value in read.items():
            machine.substitutes[reader] = partial(always, value)
        site = machine.expression(path, name, text)
        numerator, divisor = formula({**machine.known, **site.names, **read})
        known = [divisor > z3.IntVal(0), *in_width(site.names)]
        proved(machine, site, how(site.value, numerator, divisor), known)


for row_id in SITES:
    row(row_id)(partial(sites_of, row_id))


@row("R37")
def givable_down() -> None:
    machine = integers()
    slack = machine.unsigned("slack")
    floor, rate = machine.unsigned("floor"), machine.unsigned("rate")
    outcome = machine.call(module("sizing"), "_givable_down", slack, floor, rate)
    kept = floor * rate
    part_of = z3.And(slack > 10, kept < 10**10)
    goal = DOWN(outcome.value, (slack - 10) * 10**10, 10**10 - kept)
    proved(machine, outcome, z3.Implies(part_of, goal))


@row("R73")
def price_of_a_unit() -> None:
    """Up for a long, down for a short."""
    machine = integers()
    value, size = machine.signed("value"), machine.signed("size")
    outcome = machine.call(contract("Lens"), "_per_unit", value, size)
    goal = z3.And(
        z3.Implies(size > 0, UP(outcome.value, value * WAD, size)),
        z3.Implies(size < 0, DOWN(outcome.value, -value * WAD, -size)),
        z3.Implies(size == 0, outcome.value == 0),
    )
    proved(machine, outcome, goal)


@pytest.mark.parametrize("row_id", sorted(CLAIMS))
def test_division__of_a_row__rounds_as_the_table_says(row_id: str) -> None:
    CLAIMS[row_id]()


def test_table__of_what_is_proved__names_every_row_once() -> None:
    """docs/proofs.md: a row of docs/units.md is proved, R108 with the packing, or only tested."""
    docs = Path(__file__).parents[2] / "docs"
    rows = re.findall(r"^\| (R\d{2,3}) \|", (docs / "units.md").read_text(), re.MULTILINE)
    page = (docs / "proofs.md").read_text()
    tested = re.findall(r"^\| (R\d{2,3}) \|", page, re.MULTILINE)
    assert sorted([*CLAIMS, "R108", *tested]) == sorted(rows)
