"""Plans: addresses before anything is sent, order, what is read back."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from ballast.artifacts import ArtifactError
from ballast.chain import Anvil, Chain, Contract, RevmChain
from ballast.deploy import ROOMS, System
from ballast.steps import DeployError, Plan, Reading, code_readings, plain
from ballast.venue import weth_artifact
from tests.support.fixtures import shared_world


@pytest.fixture(params=["revm", "anvil"])
def chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    if request.param == "revm":
        yield RevmChain()
        return
    with Anvil() as node:
        yield node.chain()


def tokens(plan: Plan) -> None:
    """A contract, a call, two more contracts."""
    first = plan.create("MockToken", "One", "ONE", 6, name="one")
    plan.call("mint", first.mint, plan.sender, 5, readings=lambda: [_held(first, plan.sender)])
    names = plan.reserve("MockFeed", "MockToken")
    plan.create(names["MockFeed"], 8, "ONE / USD")
    plan.create(names["MockToken"], "Two", "TWO", 6, name="two")


def _held(token: Contract, holder: str) -> Reading:
    return Reading("balance", 5, token.balanceOf(holder))


def test_run__calls_between_contracts__every_contract_stands_where_it_was_said_to(
    chain: Chain,
) -> None:
    """A node counts calls among nonces, the chain in this process does not."""
    sender = chain.accounts[0]
    if chain.counts_calls:
        chain.send_raw(chain.accounts[1], b"", sender)  # a nonce that is not zero
    plan = Plan(chain, sender)
    tokens(plan)
    places = [step.contract.address for step in plan.creations]
    assert len(set(places)) == 3 and not any(chain.code(place) for place in places)
    assert all(step.differences for step in plan.creations)
    plan.run()
    assert all(step.differences == [] for step in plan.steps)
    assert [c.contract.symbol() for c in plan.creations if c.contract.name == "MockToken"] == [
        "ONE",
        "TWO",
    ]


def test_run__another_transaction_between__is_told(chain: Chain) -> None:
    plan = Plan(chain, chain.accounts[0])
    tokens(plan)
    plan.steps[0].send()
    chain.deploy("MockFeed", 8, "foreign", sender=plan.sender)
    with pytest.raises(
        DeployError, match="deploy MockFeed: another transaction of .* came between"
    ):
        for step in plan.steps[1:]:
            step.send()


def test_create__out_of_the_order_reserved__is_refused() -> None:
    chain = RevmChain()
    plan = Plan(chain, chain.accounts[0])
    names = plan.reserve("MockFeed", "MockToken")
    with pytest.raises(DeployError, match="MockToken was reserved for another place"):
        plan.create(names["MockToken"], "Two", "TWO", 6)


def test_code_readings__other_code_at_the_address__differ() -> None:
    world = shared_world()
    for room in world.system.contracts.values():
        assert not any(reading.differs for reading in code_readings(room)), room
    lens, planner = world.system.lens, world.system.planner
    (found,) = code_readings(world.chain.at(lens.address, planner.artifact))
    assert found.differs and found.name == "code"
    nothing = world.chain.at("0x" + "12" * 20, "Lens")
    assert code_readings(nothing) == [Reading("code", "some", "none")]


def test_runtime__contract_of_another_compiler__is_refused() -> None:
    with pytest.raises(ArtifactError, match="WETH9 was not compiled by Vyper"):
        _ = weth_artifact().runtime


def test_rooms__names__are_all_contracts_of_a_system() -> None:
    fields = set(System.__dataclass_fields__) - {"chain", "governor", "quote", "assets"}
    assert set(ROOMS.values()) == fields
    contracts = shared_world().system.contracts
    assert all(contract.name == name for name, contract in contracts.items())


def test_plain__values_of_all_kinds__fit_json_and_compare() -> None:
    world = shared_world()
    value = {"a": (world.quote, b"\x01"), "b": Decimal("0.0500"), "c": [1, True, None]}
    assert plain(value) == {
        "a": [world.quote.address, "0x01"],
        "b": "0.05",
        "c": [1, True, None],
    }
    assert plain(Decimal("1E+3")) == "1000"
