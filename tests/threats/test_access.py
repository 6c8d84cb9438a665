"""Every entry against every caller, from the table in `access.py` (T37, I25, I37)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ballast.artifacts import ROOT, compile_contract, contract_paths
from ballast.chain import Contract
from tests.conftest import reverts
from tests.support.fixtures import shared_world
from tests.support.hooks import deploy_hook
from tests.support.world import QUOTE, UNLIMITED, World
from tests.threats.access import ANYONE, OWNER, RATE, ROLES, TABLE, Scene

ROWS = [(contract, name) for contract, rows in TABLE.items() for name in rows]
REFUSALS = {entry.refusal for rows in TABLE.values() for entry in rows.values()} - {""}
ALL_PERMISSIONS = 15
CONTRACTS = ROOT / "contracts"


@pytest.fixture
def scene() -> Iterator[Scene]:
    """An indebted account with a hostile hook, an operator with every permission and an adapter."""
    world = shared_world()
    with world.isolated():
        hook = deploy_hook(world)
        account = world.open_account(leverage=2)
        world.enrol(account, hook=hook)
        world.mandates.set_operator(
            account, world.attacker, ALL_PERMISSIONS, 2**39, sender=world.owner
        )
        for who in (world.owner, world.attacker, world.keeper):
            world.fund(who, "BTC", 10**8)
            world.fund(who, QUOTE, 10**12)
            for spender in (world.clearinghouse, world.system.vault):
                world.quote.approve(spender, UNLIMITED, sender=who)
        adapter = _adapter(world, world.clearinghouse.address)
        contracts = {**world.system.contracts, "UniswapV3Adapter": adapter}
        yield Scene(world, account, contracts, _wired(world), hook)


def _adapter(world: World, clearinghouse: str) -> Contract:
    """Any address serves as its router: nobody here gets as far."""
    return world.chain.deploy(
        "UniswapV3Adapter", clearinghouse, world.venue, world.governor, sender=world.governor
    )


def _wired(world: World) -> dict[str, Contract]:
    """Contracts that take people for the contracts they trust."""
    chain, system = world.chain, world.system
    clearinghouse, mandates, listings = chain.accounts[7:10]
    house = chain.deploy(
        *("Clearinghouse", world.quote, system.oracle, system.vault, mandates, listings),
        sender=world.governor,
    )
    vault = chain.deploy(
        *("LendingVault", world.quote, "Vault", "V", clearinghouse, world.governor),
        *(world.governor, RATE, 0, 10**15),
        sender=world.governor,
    )
    rebalancer = chain.deploy("Rebalancer", world.clearinghouse, mandates, sender=world.governor)
    return {
        "Clearinghouse": house,
        "LendingVault": vault,
        "Rebalancer": rebalancer,
        "UniswapV3Adapter": _adapter(world, clearinghouse),
    }


@pytest.mark.parametrize(("contract", "name"), ROWS)
def test_call__every_role__only_the_allowed_pass(scene: Scene, contract: str, name: str) -> None:
    entry = TABLE[contract][name]
    assert (entry.refusal == "") == (entry.allowed == ANYONE)
    for role in ROLES:
        reason = scene.outcome(contract, name, role)
        if role not in entry.allowed:
            assert reason == entry.refusal, f"{role} got {reason!r}"
        else:
            assert reason is None or reason not in REFUSALS, f"{role} was refused: {reason}"


@pytest.mark.parametrize(
    ("contract", "name"), [(c, n) for c, n in ROWS if OWNER in TABLE[c][n].allowed]
)
def test_call__owner__arguments_of_the_table_are_good(
    scene: Scene, contract: str, name: str
) -> None:
    """A row whose arguments fail for another reason would show nothing about its caller."""
    expected = "mandates: nothing to apply yet" if name == "apply_guard" else None
    assert scene.outcome(contract, name, OWNER) == expected


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
        assert sorted(names) == sorted(rows), contract


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
    with reverts("operators: not permitted"):
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
