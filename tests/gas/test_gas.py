"""Gas and code size against the committed snapshot."""

from __future__ import annotations

import json

import pytest

from ballast import gas
from ballast.gas import Reference, Snapshot
from ballast.readme import README, table_in

AGAIN = "run `make gas`, read the change, and say in the commit why it is right"


@pytest.fixture(scope="module")
def measured() -> Snapshot:
    """Everything measured again, on a node of its own."""
    return gas.measure()


@pytest.fixture(scope="module")
def committed() -> Snapshot:
    """The snapshot in the repository."""
    return Snapshot.read()


def test_measure__against_the_snapshot__is_within_one_percent(
    measured: Snapshot, committed: Snapshot
) -> None:
    moved = gas.differences(committed, measured)
    assert not moved, "\n".join([*moved, AGAIN])


def test_deploy__every_contract__is_small_enough(measured: Snapshot) -> None:
    too_large = {n: size for n, size in measured.deployed_bytes.items() if size > gas.SIZE_LIMIT}
    assert len(measured.deployed_bytes) >= 8
    assert too_large == {}


def test_measure__peers_that_check_as_much__are_dearer_per_collateral(measured: Snapshot) -> None:
    """The slope of a check is what a wide account pays: it stays below the best peer's."""
    name = "each further collateral in a check"
    peer = gas.REFERENCES[name].peer
    assert peer is not None and measured.gas[name] < peer
    assert measured.gas["borrow, n = 8"] > measured.gas["borrow, n = 2"]


def test_measure__deposit__does_not_grow_with_the_account(measured: Snapshot) -> None:
    """The row is measured on an account of eight collaterals with a loan: no check, no price."""
    assert measured.gas["deposit collateral"] < measured.gas["borrow, n = 1"]


def test_snapshot__references__are_those_of_the_program() -> None:
    rows = json.loads(gas.SNAPSHOT.read_text())["rows"]
    told = {n: Reference(row["target"], row["peer"], row["floor"]) for n, row in rows.items()}
    assert told == gas.REFERENCES


def test_snapshot__written_and_read__is_the_same(committed: Snapshot) -> None:
    assert committed.to_json() == gas.SNAPSHOT.read_text()


def test_pages__gas_tables__are_those_of_the_snapshot(committed: Snapshot) -> None:
    told = "run `python -m ballast.gas --readme`"
    assert table_in(README.read_text(), "gas") == gas.gas_table(committed, gas.SHOWN), told
    assert table_in(gas.GAS_PAGE.read_text(), "gas") == gas.gas_table(committed), told


def test_differences__row_moved_or_missing__names_row_old_and_new() -> None:
    old = Snapshot({"repay": 70_000, "borrow, n = 1": 80_000}, deployed_bytes={"Lens": 3_000})
    new = Snapshot({"repay": 70_701, "vault deposit": 60_000}, deployed_bytes={"Lens": 3_030})
    assert gas.differences(old, new) == [
        "borrow, n = 1: 80,000 -> none gas",
        "repay: 70,000 -> 70,701 gas",
        "vault deposit: none -> 60,000 gas",
    ]
    assert gas.differences(old, old) == []


def test_verdict__gas_at_and_above_the_target__is_met_and_missed() -> None:
    target = gas.REFERENCES["repay"].target
    assert target is not None
    assert gas.verdict("repay", target) == "met"
    assert gas.verdict("repay", target + 1_500) == "missed by 1,500"
    assert gas.verdict("bare Uniswap v3 swap", 1) == ""


def test_out_of_reach__accesses_above_the_target__and_no_other() -> None:
    target = gas.REFERENCES["repay"].target
    assert target is not None
    assert gas.is_out_of_reach(Snapshot({"repay": target + 10_001}, {"repay": 10_000}), "repay")
    assert not gas.is_out_of_reach(Snapshot({"repay": target + 10_000}, {"repay": 10_000}), "repay")
    assert not gas.is_out_of_reach(Snapshot({"repay": target + 10_001}), "repay")
    assert not gas.is_out_of_reach(Snapshot({"flag": 10**6}, {"flag": 0}), "flag")


def test_measure__computing__is_less_than_the_gas_and_told_of_every_single_transaction(
    measured: Snapshot,
) -> None:
    untold = {name for name in gas.REFERENCES if name not in measured.computing}
    by_difference = {"feed read", "price and rates", "rebalance_many", "health of"}
    assert all(any(name.startswith(row) for row in by_difference) for name in untold), untold
    assert all(0 < part < measured.gas[name] for name, part in measured.computing.items())
