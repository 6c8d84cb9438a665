"""Proofs of the sizing formula: an action of its size closes a shortfall, a smaller does not."""

from __future__ import annotations

import z3

from ballast.proofs.claims import product_order, product_order_strict
from tests.proofs_kit import BPS, RATE, U96, U128, WAD, both, integers, module, proved

CURE = 10**10
SIZING = module("sizing")


def test_size__of_a_shortfall__closes_it_and_one_less_does_not() -> None:
    """x = ceil(S / cure): the cure of x, exact, is at least S, and that of x - 1 is below it."""
    machine = integers()
    shortfall, cure = machine.unsigned("shortfall"), machine.unsigned("cure")
    size = machine.call(SIZING, "_value_up", shortfall, cure)
    closes = size.value * cure >= shortfall * CURE
    is_least = (size.value - 1) * cure < shortfall * CURE
    proved(machine, size, z3.And(closes, is_least), [cure > 0])


def test_size__by_the_cure_that_is_claimed__closes_the_shortfall() -> None:
    """What the plan counts as cured, rounded down, is at least S too, and less for x - 1."""
    machine = integers()
    shortfall, cure = machine.unsigned("shortfall", U128), machine.unsigned("cure", 7 * CURE, 1)
    size = machine.call(SIZING, "_value_up", shortfall, cure)
    cured = machine.call(SIZING, "_cured_down", size.value, cure)
    pair = both(size, cured)
    hints = [product_order(shortfall, U128, CURE), product_order(size.value, 2**162, cure)]
    proved(machine, pair, cured.value >= shortfall, hints=hints)
    smaller = machine.call(SIZING, "_cured_down", size.value - 1, cure)
    triple = both(pair, smaller)
    proved(machine, triple, smaller.value < shortfall, [shortfall > 0], hints=hints)


def test_sale__of_the_size__restores_the_target() -> None:
    """After selling x of collateral inside its quota, at cost s: E' >= t R' in exact terms.

    E' = E - s x, R' = R - (r + l) x, and x is the contract's own size for the contract's own cure.
    """
    machine = integers()
    target = machine.unsigned("target", 2**16 - 1, BPS)
    rate, cost = machine.signed("rate", 0, 2 * RATE), machine.unsigned("cost", RATE)
    equity, required = machine.signed("equity", -U128, U128), machine.unsigned("required", U128)
    cure = machine.call(SIZING, "_cure_of_release_e10", target, rate, cost)
    shortfall = machine.unsigned("shortfall", 2**130)
    size = machine.call(SIZING, "_value_up", shortfall, cure.value)
    x = size.value
    wanted = target * required - BPS * equity
    known = [cure.value > 0, shortfall * BPS >= wanted]
    # All times 1e10: equity and requirement in units of the quote token, rates in e6, target in e4.
    after_equity = equity * CURE - cost * BPS * x
    after_required = (required * RATE - rate * x) * target
    proved(machine, both(cure, size), after_equity >= after_required, known)
    one_less = x - 1
    missed = (equity * CURE - cost * BPS * one_less) < (required * RATE - rate * one_less) * target
    tight = [cure.value > 0, shortfall > 0, shortfall * BPS == wanted]
    proved(machine, both(cure, size), missed, tight)


def test_inflow__of_the_size__restores_the_target() -> None:
    """Bringing in value x: E' = E + x, R' = R + (r + l) x."""
    machine = integers()
    target, rate = machine.unsigned("target", 2**16 - 1, BPS), machine.unsigned("rate", 2 * RATE)
    equity, required = machine.signed("equity", -U128, U128), machine.unsigned("required", U128)
    cure = machine.call(SIZING, "_cure_of_inflow_e10", target, rate)
    shortfall = machine.unsigned("shortfall", 2**130)
    size = machine.call(SIZING, "_value_up", shortfall, cure.value)
    x = size.value
    wanted = target * required - BPS * equity
    restored = (equity + x) * CURE >= (required * RATE + rate * x) * target
    known = [cure.value > 0, shortfall * BPS >= wanted]
    proved(machine, both(cure, size), restored, known)


def test_surplus__of_the_size__restores_the_target() -> None:
    """Selling above the quota: E' = E + (1 - s) x, R' = R."""
    machine = integers()
    target, cost = machine.unsigned("target", 2**16 - 1, BPS), machine.unsigned("cost", RATE)
    equity, required = machine.signed("equity", -U128, U128), machine.unsigned("required", U128)
    cure = machine.call(SIZING, "_cure_of_surplus_e10", cost)
    shortfall = machine.unsigned("shortfall", 2**130)
    size = machine.call(SIZING, "_value_up", shortfall, cure.value)
    x = size.value
    restored = equity * CURE + (CURE - cost * BPS) * x >= required * RATE * target
    known = [cure.value > 0, shortfall * BPS >= target * required - BPS * equity]
    proved(machine, both(cure, size), restored, known)


def test_units__of_a_value__are_worth_it_and_one_less_is_not() -> None:
    machine = integers()
    value, price = machine.unsigned("value"), machine.unsigned("price", U96, 1)
    unit = machine.unsigned("unit", 10**18, 1)
    outcome = machine.call(SIZING, "_units_up", value, price, unit)
    worth = price * unit
    goal = z3.And(outcome.value * worth >= value * WAD, (outcome.value - 1) * worth < value * WAD)
    hints = [product_order_strict(0, price, unit), worth > 0]
    proved(machine, outcome, goal, [worth > 0], hints=hints)


def test_gift_of_a_donor__leaves_it_above_its_floor() -> None:
    """What is given takes, rounded up and with the reserve, no more than the slack; more would."""
    machine = integers()
    slack = machine.unsigned("slack", U128)
    floor, rate = machine.unsigned("floor", 2**16 - 1), machine.unsigned("rate", 2 * RATE)
    given = machine.call(SIZING, "_givable_down", slack, floor, rate)
    taken = machine.call(SIZING, "_slack_of_outflow_up", given.value, floor, rate)
    hints = [product_order(given.value, 2**128, CURE - floor * rate)]
    known = [slack > 10, floor * rate < CURE]
    proved(machine, both(given, taken), taken.value <= slack, known, hints=hints)
    more = machine.call(SIZING, "_slack_of_outflow_up", given.value + 1, floor, rate)
    proved(machine, both(given, more), more.value > slack, known, hints=hints)


def test_slice__of_the_fraction__brings_the_account_to_the_target() -> None:
    """E - f d R >= t (1 - f) R for the fraction rounded up, in exact terms (discounts.vy)."""
    machine = integers()
    equity = machine.signed("equity", -U128, U128)
    required, discount = machine.unsigned("required", U128), machine.unsigned("discount", U128)
    target, dust = machine.unsigned("target", 2**16 - 1, BPS), machine.unsigned("dust", U128)
    path = module("discounts")
    outcome = machine.call(path, "_fraction_wad", equity, required, discount, target, dust)
    f = outcome.value
    restored = BPS * (equity * WAD - f * discount) >= target * (WAD - f) * required
    known = [equity > discount, target * required > BPS * discount]
    hints = [product_order(f, WAD, target * required - BPS * discount)]
    proved(machine, outcome, restored, known, hints=hints)
