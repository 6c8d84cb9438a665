"""A deployment held against its manifest and its parameter file, on the chain as it is now.

    found = verify(chain, Manifest.load(path), parameters)
    found.checked, found.differences        # readings compared, and those that are not as they were

The steps are planned again from the parameters; what each leaves behind is read. Beside that: the
transaction that created a contract carries its code and its arguments and nothing else, so what
is immutable in it was computed from them; the code at its address is the code that was there then;
and nothing is listed, allowed or entitled that no step brought in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ballast.chain import Call as Read
from ballast.chain import Contract, RpcChain, to_address
from ballast.governance import ANYONE, CANCELLER, EXECUTOR, NO_ADMIN, PROPOSER, role_id
from ballast.manifest import Manifest
from ballast.network import Target, differing_fields, genesis_hash, plan_network
from ballast.steps import Call, Create, DeployError, Plan, Reading, Step, code_hash

LOGS_PER_REQUEST = 10_000  # blocks; what public nodes answer at once
MAX_ASSET_ID = 255


@dataclass(frozen=True)
class Difference:
    """One reading that is not as it should be."""

    place: str  # the step or contract
    reading: Reading

    def __str__(self) -> str:
        name, wanted, found = self.reading
        return f"{self.place}: {name} is {found}, not {wanted}"


@dataclass(frozen=True)
class Verification:
    """What a verification found."""

    checked: int
    differences: tuple[Difference, ...]


def verify(chain: RpcChain, manifest: Manifest, parameters: Mapping[str, Any]) -> Verification:
    """Compares everything. Raises DeployError for a manifest of another chain."""
    genesis = genesis_hash(chain)
    if manifest.data["network"]["genesis"] != genesis or manifest.chain_id != chain.chain_id:
        raise DeployError(f"{manifest.path} is of another chain than this node's")
    plan = Plan(chain, manifest.data["deployer"], manifest.data["first_nonce"])
    target = plan_network(plan, parameters, manifest.data["answers"])
    readings = [
        *_of_the_file(manifest, parameters),
        *(found for step in plan.steps for found in _of_step(chain, manifest, step)),
        *_of_nothing_else(chain, manifest, target),
    ]
    differences = tuple(
        Difference(place, reading) for place, reading in readings if reading.differs
    )
    return Verification(len(readings), differences)


_Found = Iterator[tuple[str, Reading]]


def _of_the_file(manifest: Manifest, parameters: Mapping[str, Any]) -> _Found:
    for name, known, given in differing_fields(manifest, parameters):
        yield "parameter file", Reading(name, known, given)
    yield "manifest", Reading("is_complete", True, manifest.is_complete)


def _of_step(chain: RpcChain, manifest: Manifest, step: Step) -> _Found:
    for reading in (step.readings or tuple)():
        yield step.name, reading
    entry = manifest.steps.get(step.name)
    if entry is None:
        yield step.name, Reading("in the manifest", "yes", "no")
        return
    if isinstance(step, Create):
        for reading in step.settings():
            yield step.name, reading
        yield from _of_contract(chain, manifest, step)
    if entry["hash"] is not None:
        for reading in _of_transaction(chain, entry["hash"], step):
            yield step.name, reading


def _of_contract(chain: RpcChain, manifest: Manifest, step: Create) -> _Found:
    known = manifest.data["contracts"].get(step.name.removeprefix("deploy "), {})
    contract = step.contract
    encoded = "0x" + contract.encode_constructor(*step.arguments).hex()
    yield step.name, Reading("address", contract.address, known.get("address"))
    yield step.name, Reading("constructor arguments", encoded, known.get("encoded_arguments"))
    code = code_hash(chain.code(contract.address))
    yield step.name, Reading("code hash", known.get("code_hash"), code)


def _of_transaction(chain: RpcChain, tx_hash: str, step: Step) -> Iterator[Reading]:
    sent = chain.rpc.request("eth_getTransactionByHash", tx_hash)
    receipt = chain.rpc.request("eth_getTransactionReceipt", tx_hash)
    if sent is None or receipt is None:  # a node may forget old ones
        return
    yield Reading("status of its transaction", "0x1", receipt["status"])
    yield Reading("sender of its transaction", step.sender, to_address(sent["from"]))
    if isinstance(step, Create):
        data = step.contract.artifact.bytecode + step.contract.encode_constructor(*step.arguments)
        to: str | None = None
    else:
        assert isinstance(step, Call)
        data = step.function.encode(*step.arguments)
        to = step.function.contract.address
    input_hash = code_hash(bytes.fromhex(sent["input"].removeprefix("0x")))
    yield Reading("hash of its transaction's data", code_hash(data), input_hash)
    found_to = None if sent["to"] is None else to_address(sent["to"])
    yield Reading("receiver of its transaction", to, found_to)


# ---- nothing else


def _of_nothing_else(chain: RpcChain, manifest: Manifest, target: Target) -> _Found:
    system, first = target.system, manifest.first_block
    ledger = system.clearinghouse
    ids = range(1, MAX_ASSET_ID + 1)
    words = chain.call_many([Read(ledger.asset_word, (asset,)) for asset in ids])
    listed = [asset for asset, word in zip(ids, words, strict=True) if word != 0]
    yield "Clearinghouse", Reading("assets listed", sorted(system.assets.values()), listed)
    markets = [
        system.assets[name]
        for name, terms in manifest.data["parameters"]["assets"].items()
        if "perpetual" in terms
    ]
    yield "Perps", Reading("markets", sorted(markets), sorted(system.perps.market_ids()))
    adapters = {
        event.args.adapter
        for event in events(chain, system.exchange, "AdapterChanged", first)
        if system.exchange.is_adapter(event.args.adapter)
    }
    wanted = [] if target.adapter is None else [target.adapter.address]
    yield "Exchange", Reading("adapters allowed", wanted, sorted(adapters))
    yield "Timelock", Reading("holders of roles", _roles(manifest), _holders(chain, target, first))
    pulls = {
        event.args.feed
        for event in events(chain, system.keepers, "PullFeedChanged", first)
        if system.keepers.is_pull_feed(event.args.feed)
    }
    yield "Keepers", Reading("pull feeds allowed", [], sorted(pulls))


def _roles(manifest: Manifest) -> list[str]:
    """Roles at the timelock that the manifest promises, by name and holder."""
    roles = manifest.data["roles"]
    proposers = roles["proposers"]
    executors = roles["executors"] or [ANYONE]
    cancellers = {*proposers, roles["guardian"]}
    return sorted(
        [
            f"admin {roles['timelock']}",
            *(f"{PROPOSER} {who}" for who in proposers),
            *(f"{EXECUTOR} {who}" for who in executors),
            *(f"{CANCELLER} {who}" for who in cancellers),
        ]
    )


def _holders(chain: RpcChain, target: Target, first_block: int) -> list[str]:
    names = {role_id(name): name for name in (PROPOSER, EXECUTOR, CANCELLER)}
    names[NO_ADMIN] = "admin"
    timelock = target.timelock
    granted = {
        (event.args.role, event.args.account)
        for event in events(chain, timelock, "RoleGranted", first_block)
    }
    return sorted(
        f"{names.get(role, '0x' + role.hex())} {who}"
        for role, who in granted
        if timelock.hasRole(role, who)
    )


def events(chain: RpcChain, contract: Contract, name: str, first_block: int) -> Iterator[Any]:
    """Events of a contract from a block on, asked for in pieces that public nodes answer."""
    last = chain.block
    for start in range(first_block, last + 1, LOGS_PER_REQUEST):
        end = min(last, start + LOGS_PER_REQUEST - 1)
        yield from chain.events(contract, name, start, end)
