"""Proofs of round trips: who goes in and out again never has more than before."""

from __future__ import annotations

from typing import Any

import z3

from ballast.proofs.claims import product_order, product_order_strict
from tests.proofs_kit import U76, U96, WAD, both, integers, module, proved

MAX_ASSETS = 2**96 - 1
LENT = "fixed_point._mul_div_up(assets, fixed_point.WAD, index_wad)"
REPAID = "assets * fixed_point.WAD // index_wad"


def setting() -> tuple[Any, str, Any, Any]:
    machine = integers()
    return machine, module("share_math"), machine.unsigned("supply"), machine.unsigned("total")


def test_deposit_then_redeem__of_all_shares__gains_nothing() -> None:
    machine, path, supply, total = setting()
    paid = machine.unsigned("paid")
    minted = machine.call(path, "_to_shares_down", paid, supply, total)
    after = (supply + minted.value, total + paid)
    got = machine.call(path, "_to_assets_down", minted.value, *after)
    all_shares = supply + minted.value + 10**6
    hints = [product_order_strict(paid, got.value, all_shares)]
    proved(machine, both(minted, got), got.value <= paid, hints=hints)


def test_mint_then_redeem__of_the_same_shares__gains_nothing() -> None:
    machine, path, supply, total = setting()
    shares = machine.unsigned("shares")
    paid = machine.call(path, "_to_assets_up", shares, supply, total)
    got = machine.call(path, "_to_assets_down", shares, supply + shares, total + paid.value)
    hints = [product_order_strict(paid.value, got.value, supply + shares + 10**6)]
    proved(machine, both(paid, got), got.value <= paid.value, hints=hints)


def test_deposit_then_withdraw__of_the_same_assets__burns_no_fewer_shares() -> None:
    machine, path, supply, total = setting()
    paid = machine.unsigned("paid")
    minted = machine.call(path, "_to_shares_down", paid, supply, total)
    after = (supply + minted.value, total + paid)
    burnt = machine.call(path, "_to_shares_up", paid, *after)
    hints = [product_order_strict(burnt.value, minted.value, total + paid + 1)]
    proved(machine, both(minted, burnt), burnt.value >= minted.value, hints=hints)


def test_mint_then_withdraw__of_what_was_paid__burns_no_fewer_shares() -> None:
    machine, path, supply, total = setting()
    shares = machine.unsigned("shares")
    paid = machine.call(path, "_to_assets_up", shares, supply, total)
    burnt = machine.call(path, "_to_shares_up", paid.value, supply + shares, total + paid.value)
    hints = [product_order_strict(burnt.value, shares, total + paid.value + 1)]
    proved(machine, both(paid, burnt), burnt.value >= shares, hints=hints)


def test_assets_to_shares_and_back__in_one_state__are_no_more() -> None:
    machine, path, supply, total = setting()
    assets = machine.unsigned("assets")
    shares = machine.call(path, "_to_shares_down", assets, supply, total)
    back = machine.call(path, "_to_assets_down", shares.value, supply, total)
    of_shares, of_assets = supply + 10**6, total + 1
    hints = [
        product_order_strict(assets, back.value, of_shares),
        product_order(shares.value * of_assets, assets * of_shares, 1),
    ]
    proved(machine, both(shares, back), back.value <= assets, hints=hints)


def test_entry_and_exit__of_somebody__lower_no_price_of_a_share() -> None:
    """(total + 1) / (supply + 1e6) does not fall: others lose nothing by either."""
    machine, path, supply, total = setting()
    amount = machine.unsigned("amount")
    minted = machine.call(path, "_to_shares_down", amount, supply, total)
    new_total, new_supply = total + 1 + amount, supply + 10**6 + minted.value
    no_lower = new_total * (supply + 10**6) >= (total + 1) * new_supply
    proved(machine, minted, no_lower)
    sent = machine.call(path, "_to_assets_down", amount, supply, total)
    left_total, left_supply = total + 1 - sent.value, supply + 10**6 - amount
    no_lower = left_total * (supply + 10**6) >= (total + 1) * left_supply
    proved(machine, sent, no_lower, [amount <= supply, sent.value <= total])


# ---- loans


def test_loan_then_repayment__at_one_index__never_leaves_a_gain() -> None:
    """A loan makes a debt of at least what was lent; repaying it burns no more than the loan made.

    The divisions are those of `_lend` and `_repay` of the loans, at the index of the same second.
    """
    machine = integers()
    path = module("loans")
    lent = machine.expression(path, "_lend", LENT)
    assets, index = lent.names["assets"], lent.names["index_wad"]
    owed = machine.call(path, "_owed_up", lent.value, index)
    hints = [product_order_strict(owed.value, assets, WAD)]
    proved(machine, both(lent, owed), owed.value >= assets, [index > 0], hints=hints)
    repaid = machine.expression(path, "_repay", REPAID)
    same = [repaid.names["assets"] == assets, repaid.names["index_wad"] == index, index > 0]
    burnt_most = repaid.value <= lent.value
    hints = [product_order_strict(lent.value, repaid.value, index)]
    proved(machine, both(lent, repaid), burnt_most, same, hints=hints)


def test_repayment__of_a_part__leaves_at_least_the_rest_owed() -> None:
    """ceil((s - burnt) i) >= ceil(s i) - paid: no wei of debt is forgiven."""
    machine = integers()
    path = module("loans")
    repaid = machine.expression(path, "_repay", REPAID)
    paid, index = repaid.names["assets"], repaid.names["index_wad"]
    held = machine.unsigned("held")
    before = machine.call(path, "_owed_up", held, index)
    after = machine.call(path, "_owed_up", held - repaid.value, index)
    trio = both(both(repaid, before), after)
    known = [index > 0, held >= repaid.value]
    proved(machine, trio, after.value >= before.value - paid, known)


# ---- the ledger's cash


def test_debt_of_all__against_debts_of_each__is_no_larger() -> None:
    """Total debt is floored over all loan shares, each debtor's own is rounded up."""
    machine = integers()
    a, b = machine.unsigned("a", U96), machine.unsigned("b", U96)
    index = machine.unsigned("index", U76)
    path = module("loans")
    first, second = (machine.call(path, "_owed_up", s, index) for s in (a, b))
    whole = machine.call(module("lending_state"), "_debt_down", a + b, index)
    trio = both(both(first, second), whole)
    known, hints = [a + b <= U96], [product_order(a + b, U96, index)]
    proved(machine, trio, whole.value <= first.value + second.value, known, hints=hints)


# ---- perpetuals


def test_trade_and_its_reverse__at_any_price__cost_at_least_the_difference() -> None:
    """dc = ceil(dq (P - f)) for each of both: their sum is never below the exact one (A18)."""
    machine = integers()
    size = machine.signed("size")
    first_move, second_move = machine.signed("first_move"), machine.signed("second_move")
    path = module("fixed_point")
    opened = machine.call(path, "_mul_wad_floor_signed", -size, first_move)
    closed = machine.call(path, "_mul_wad_floor_signed", size, second_move)
    cost = -opened.value - closed.value
    pair = both(opened, closed)
    proved(machine, pair, cost * WAD >= size * (first_move - second_move))


def test_results__of_two_sides__add_up_to_no_more_than_nothing() -> None:
    """floor(q m) + floor(-q m) <= 0, and -1 at least."""
    machine = integers()
    size, move = machine.signed("size"), machine.signed("move")
    path = module("fixed_point")
    long, short = (machine.call(path, "_mul_wad_floor_signed", q, move) for q in (size, -size))
    total = long.value + short.value
    proved(machine, both(long, short), z3.And(total <= 0, total >= -1))
