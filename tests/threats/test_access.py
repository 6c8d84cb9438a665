"""Every entry against every caller, from the table in `access.py` (T37, I25, I37)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ballast.artifacts import ROOT, compile_contract, contract_paths
from ballast.chain import Reverted
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE
from tests.threats.access import ANYONE, OWNER, ROLES, TABLE, Scene

ROWS = [(contract, name) for contract, rows in TABLE.items() for name in rows]
ALL_PERMISSIONS = 15
CONTRACTS = ROOT / "contracts"


@pytest.fixture
def scene() -> Iterator[Scene]:
    """An indebted account with a hook, an operator with every permission and an adapter."""
    world = shared_world()
    with world.isolated():
        account = world.open_account(leverage=2)
        world.enrol(account)
        world.clearinghouse.set_operator(
            account, world.attacker, ALL_PERMISSIONS, 2**39, sender=world.owner
        )
        for who in (world.owner, world.attacker):
            world.fund(who, "BTC", 10**8)
        adapter = world.chain.deploy(
            "UniswapV3Adapter",
            world.clearinghouse,
            world.venue,  # any address serves: nobody here gets as far as the router
            world.governor,
            sender=world.governor,
        )
        contracts = {**world.system.contracts, "UniswapV3Adapter": adapter}
        yield Scene(world, account, contracts)


def _outcome(scene: Scene, contract: str, name: str, role: str) -> str:
    """The reason of a revert, or "" for a success or a revert without a reason."""
    caller = scene.who[role]
    arguments = TABLE[contract][name].arguments(scene, caller)
    with scene.world.isolated():
        try:
            scene.contracts[contract].function(name).transact(*arguments, sender=caller)
        except Reverted as error:
            return error.reason
    return ""


@pytest.mark.parametrize(("contract", "name"), ROWS)
def test_call__every_role__only_the_allowed_pass(scene: Scene, contract: str, name: str) -> None:
    entry = TABLE[contract][name]
    assert (entry.refusal == "") == (entry.allowed == ANYONE)
    for role in ROLES:
        reason = _outcome(scene, contract, name, role)
        if role in entry.allowed:
            assert reason != entry.refusal or not reason, f"{role} was refused: {reason}"
            assert "only" not in reason and "not the" not in reason, f"{role}: {reason}"
        else:
            assert reason == entry.refusal, f"{role} got {reason!r}"


@pytest.mark.parametrize(
    ("contract", "name"), [(c, n) for c, n in ROWS if OWNER in TABLE[c][n].allowed]
)
def test_call__owner__arguments_of_the_table_are_good(
    scene: Scene, contract: str, name: str
) -> None:
    """A row whose arguments fail for another reason would show nothing about its caller."""
    reason = _outcome(scene, contract, name, OWNER)
    expected = {
        "apply_guard": "mandates: nothing to apply yet",
        "rebalance": "rebalancer: trigger not met",
    }
    assert reason == expected.get(name, ""), reason


def test_table__deployed_contracts__names_every_entry() -> None:
    """T37: an entry that nobody thought about fails here, a forgotten row as well."""
    deployed = {
        name
        for name, path in contract_paths().items()
        if path.is_relative_to(CONTRACTS) and "mocks" not in path.parts
    }
    assert set(TABLE) == deployed
    for contract, rows in TABLE.items():
        names = [
            entry["name"]
            for entry in compile_contract(contract).abi
            if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
        ]
        assert Counter(names) == Counter(rows), contract


def test_abi__every_entry__takes_no_ether_and_has_no_fallback() -> None:
    """T40: nothing is payable, so ether can only be forced in, and nothing reads it."""
    for contract in TABLE:
        for entry in compile_contract(contract).abi:
            assert entry["type"] not in ("fallback", "receive"), contract
            assert entry.get("stateMutability") != "payable", (contract, entry["name"])


def test_abi__renounce_ownership__is_nowhere() -> None:
    """Parameters always have an owner; ownership moves in two steps."""
    abis = json.dumps({name: compile_contract(name).abi for name in TABLE})
    assert "renounce" not in abis


def test_deposit__stranger__cash_and_known_assets_only(scene: Scene) -> None:
    """T49: the one row whose answer depends on the asset."""
    world = scene.world
    for name in (QUOTE, "ETH", "BTC"):
        world.fund(world.other_owner, name, 10**18)
    house = world.clearinghouse
    for asset in (0, 1):
        house.deposit(scene.account, asset, 1, sender=world.other_owner)
    with pytest.raises(Reverted, match="operators: not permitted"):
        house.deposit(scene.account, 2, 1, sender=world.other_owner)


def test_sources__every_raw_call__stands_in_a_known_place() -> None:
    """T38: calls without an interface are few; their targets are fixed or chosen by an owner."""
    expected = {
        Path("Mandates.vy"),  # the owner's hook
        Path("Rebalancer.vy"),  # the mandates contract
        Path("modules/feeds.vy"),  # the governor's feeds
        Path("mocks/MockFeed.vy"),
    }
    found = {
        path.relative_to(CONTRACTS)
        for path in CONTRACTS.rglob("*.vy")
        if any("raw_call(" in line for line in path.read_text().splitlines())
    }
    assert found == expected
