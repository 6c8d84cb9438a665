"""Deployment to a network that is stood in for: broken off anywhere, gone on with, verified."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from ballast import standin
from ballast.artifacts import ROOT, compile_contract
from ballast.chain import Anvil, ChainError, KeySigner, RpcChain, SigningChain
from ballast.chain.node import free_port
from ballast.deploy import WAD
from ballast.explorer import ARGUMENTS, compiled, standard_json, write_inputs
from ballast.governance import NO_ADMIN, PROPOSER, owned, role_id
from ballast.manifest import Manifest, manifest_path
from ballast.network import Deployment, rehearse
from ballast.parameters import load_parameters, network_path
from ballast.steps import Create, DeployError, Step, code_hash
from ballast.verification import Verification, verify

SEPOLIA = 11_155_111
CHAIN = "chain"  # file name of a manifest in these tests
KEYS = count(0xB0B0)


class Killed(BaseException):
    """Stands for the end of the process."""


@dataclass
class Scene:
    """A node with the chain id of Sepolia, and a deployer of whom it has not heard."""

    node: Anvil
    plain: RpcChain  # to which any address may send
    parameters: dict[str, Any]
    path: Path
    key: Any

    @property
    def deployer(self) -> str:
        return str(self.key.address)

    def signing(self) -> SigningChain:
        return SigningChain(self.node.url, KeySigner.of(self.key))

    def open(self, chain: SigningChain | None = None, **parameters: Any) -> Deployment:
        return Deployment.open(
            chain or self.signing(), {**self.parameters, **parameters}, self.path, source="file"
        )

    def deploy(self) -> Deployment:
        deployment = self.open()
        deployment.run()
        assert deployment.finish() == []
        return deployment

    def verify(self) -> Verification:
        return verify(self.plain, Manifest.load(self.path), self.parameters)

    def differences(self) -> list[tuple[str, str]]:
        return [(d.place, d.reading.name) for d in self.verify().differences]


def bundled() -> dict[str, Any]:
    """Sepolia's file, for a node on which no block follows of itself."""
    parameters = load_parameters(network_path("sepolia"))
    parameters["network"]["confirmations"] = 0
    return parameters


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    node = standin.start(bundled())
    yield node
    node.stop()


@pytest.fixture
def scene(node: Anvil, tmp_path: Path) -> Iterator[Scene]:
    plain = RpcChain(node.url, block_interval_s=None)
    mark = plain.snapshot()
    key = Account.from_key(next(KEYS).to_bytes(32, "big"))
    plain.set_balance(key.address, WAD)
    yield Scene(node, plain, bundled(), tmp_path / f"{CHAIN}.json", key)
    plain.revert(mark)


def readings(deployment: Deployment) -> list[tuple[str, str, Any]]:
    """Everything that steps can read, and the code of every contract."""
    told = [
        (step.name, reading.name, reading.found)
        for step in deployment.steps
        for reading in (step.readings or tuple)()
    ]
    for step in deployment.steps:
        if isinstance(step, Create):
            chain, address = step.contract.chain, step.contract.address
            told.append((step.name, "code", code_hash(chain.code(address))))
            told += [(step.name, r.name, r.found) for r in step.settings()]
    return told


# ---- the whole of it


def test_deploy__uninterrupted__is_read_back_and_leaves_the_deployer_no_right(
    scene: Scene,
) -> None:
    deployment = scene.deploy()
    system = deployment.target.system
    for room in owned(system, [deployment.target.adapter]):
        assert room.owner() == deployment.target.governance.address, room
        assert int(room.pending_owner(), 16) == 0, room
    assert deployment.target.governance.owner() == deployment.target.timelock.address
    assert not deployment.target.timelock.hasRole(NO_ADMIN, scene.deployer)
    found = scene.verify()
    assert found.differences == () and found.checked > 400


def test_deploy__done__has_a_manifest_from_which_the_system_works(scene: Scene) -> None:
    """Whoever has the file alone finds every contract, and can use it."""
    scene.deploy()
    manifest = Manifest.load(scene.path)
    system = manifest.system(scene.plain)
    lender, units = scene.plain.accounts[2], 1_000 * 10**6
    system.quote.mint(lender, units, sender=lender)
    system.quote.approve(system.vault, units, sender=lender)
    system.vault.deposit(units, lender, sender=lender)
    assert system.vault.totalAssets() == units
    assert system.oracle.price_wad(system.assets["ETH"]) == 2_000 * WAD
    fields = {"contract", "source", "address", "arguments", "encoded_arguments", "code_hash"}
    assert all(set(entry) == fields for entry in manifest.data["contracts"].values())
    assert all(
        step["gas"] > 20_000 and step["block"] >= manifest.first_block
        for step in manifest.steps.values()
        if step["hash"] is not None
    )
    assert manifest.data["compiler"] == "vyper 0.4.3" and len(manifest.data["commit"]) >= 7


def test_estimate__of_a_deployment__is_within_two_percent_of_what_it_takes(scene: Scene) -> None:
    deployment = scene.open()
    estimate = deployment.estimate()
    deployment.run()
    used = sum(step["gas"] or 0 for step in deployment.manifest.steps.values())
    assert abs(used - estimate.total_gas) < used // 50


def test_rehearse__terms_that_a_contract_refuses__names_the_step(scene: Scene) -> None:
    parameters = deepcopy(scene.parameters)
    parameters["assets"]["BTC"]["swap_limit_bps"] = 450  # above the rate on gross
    answers = {"quote": 10**8, "ETH": 2_000 * 10**8, "BTC": 30_000 * 10**8}
    with pytest.raises(DeployError, match="list BTC at the clearing house: .* limit above l_init"):
        rehearse(parameters, answers)


def test_rehearse__example_of_mainnet__is_taken_by_the_contracts() -> None:
    """With mocks in the places of tokens, feeds and exchange that are real there."""
    council = {f"BALLAST_{role}": "0x" + "ab" * 20 for role in ("GUARDIAN", "STEWARD", "PROPOSER")}
    parameters = load_parameters(network_path("mainnet"), council)
    gas = rehearse(parameters, {"quote": 10**8, "ETH": 3_100 * 10**8, "BTC": 90_000 * 10**8})
    assert "renounce the timelock's admin" in gas


# ---- broken off and gone on with


@dataclass
class Fault:
    """Ends the process at one place, `signed`, `sent` or `recorded`, once for each nonce."""

    place: str
    struck: set[int]

    def chain(self, scene: Scene) -> SigningChain:
        chain = scene.signing()
        request = chain.rpc.request

        def faulty(method: str, *arguments: Any) -> Any:
            is_sending = method == "eth_sendRawTransaction"
            nonce = chain.mined_nonce(scene.deployer) if is_sending else 0
            if is_sending and self.place == "signed":
                self.strike(nonce)
            answer = request(method, *arguments)
            if is_sending and self.place == "sent":
                self.strike(nonce)
            return answer

        chain.rpc.request = faulty  # type: ignore[method-assign]
        return chain

    def on_step(self, number: int, step: Step, outcome: Any) -> None:
        if self.place == "recorded" and outcome.is_new:
            self.strike(number)

    def strike(self, nonce: int) -> None:
        if nonce not in self.struck:
            self.struck.add(nonce)
            raise Killed


@pytest.mark.parametrize("place", ["signed", "sent", "recorded"])
def test_deploy__ended_after_every_step__comes_to_the_same_state(scene: Scene, place: str) -> None:
    """One end per transaction of the whole deployment, each in a new session."""
    mark = scene.plain.snapshot()
    whole = scene.deploy()
    expected, kept = readings(whole), whole.manifest.data
    scene.plain.revert(mark)
    scene.path.unlink()

    fault, is_ended = Fault(place, set()), True
    while is_ended:
        deployment = scene.open(fault.chain(scene))
        try:
            deployment.run(fault.on_step)
            is_ended = False
        except Killed:
            pass
    sent = [step for step in kept["steps"].values() if step["hash"] is not None]
    assert len(fault.struck) == len(sent) > 60
    assert deployment.finish() == []
    assert readings(deployment) == expected
    told = deployment.manifest.data
    assert told["contracts"] == kept["contracts"]
    for name, step in kept["steps"].items():
        assert told["steps"][name]["gas"] == pytest.approx(step["gas"], rel=0.1), name
    assert scene.plain.nonce(scene.deployer) == len(sent), "nothing was sent twice"


def test_deploy__transaction_still_waiting__is_waited_for_and_not_sent_again(scene: Scene) -> None:
    fault = Fault("sent", set())
    scene.plain.rpc.request("evm_setAutomine", False)
    try:
        with pytest.raises(Killed):
            scene.open(fault.chain(scene)).run()
        chain = scene.signing()
        request = chain.rpc.request

        def mining(method: str, *arguments: Any) -> Any:
            if method == "eth_getTransactionByHash":  # it looks, and then the block comes
                found = request(method, *arguments)
                scene.plain.rpc.request("evm_setAutomine", True)
                scene.plain.rpc.request("evm_mine")
                return found
            return request(method, *arguments)

        chain.rpc.request = mining  # type: ignore[method-assign]
        deployment = scene.open(chain)
        deployment.run()
    finally:
        scene.plain.rpc.request("evm_setAutomine", True)
    assert deployment.finish() == []
    assert all(len(step["hashes"]) <= 1 for step in deployment.manifest.steps.values())


def test_deploy__transaction_dropped_by_the_node__is_sent_again(scene: Scene) -> None:
    fault = Fault("sent", set())
    scene.plain.rpc.request("evm_setAutomine", False)
    try:
        with pytest.raises(Killed):
            scene.open(fault.chain(scene)).run()
        (entry,) = Manifest.load(scene.path).steps.values()
        scene.plain.rpc.request("anvil_dropTransaction", entry["hashes"][0])
    finally:
        scene.plain.rpc.request("evm_setAutomine", True)
    assert scene.deploy().manifest.is_complete


def test_deploy__blocks_taken_back_by_a_reorganisation__are_made_again(scene: Scene) -> None:
    deployment = scene.open()
    deployment.run()
    scene.plain.rpc.request("anvil_rollback", 7)
    with pytest.raises(DeployError, match="is not in the chain any more: run again"):
        deployment.finish()
    assert scene.deploy().manifest.is_complete
    assert scene.verify().differences == ()


# ---- in the way


def test_deploy__foreign_transaction_between_contracts__says_so_and_can_begin_anew(
    scene: Scene,
) -> None:
    _stop_after(scene, "deploy Listings")
    scene.plain.send_raw(scene.deployer, b"", scene.deployer)  # anvil signs for anybody
    with pytest.raises(DeployError, match="another transaction of .* nonce 7.*--restart"):
        scene.open().run()
    old = Manifest.load(scene.path).set_aside()
    assert old.exists() and not scene.path.exists()
    assert scene.deploy().manifest.is_complete
    assert scene.verify().differences == ()


def test_deploy__foreign_transaction_after_the_contracts__does_not_matter(scene: Scene) -> None:
    _stop_after(scene, "list ETH at the oracle")
    scene.plain.send_raw(scene.deployer, b"", scene.deployer)
    assert scene.deploy().manifest.is_complete
    assert scene.verify().differences == ()


def test_deploy__somebody_else_did_a_step__is_found_done(scene: Scene) -> None:
    """Anybody may tell the keepers of a feed; it is not told twice."""
    deployment = _stop_after(scene, "tell the liquidator of ETH")
    system, stranger = deployment.target.system, scene.plain.accounts[5]
    keepers = scene.plain.at(system.keepers.address, "Keepers")
    keepers.learn_feed(system.assets["ETH"], sender=stranger)
    resumed = scene.deploy()
    assert resumed.manifest.steps["tell the keepers of ETH"]["hash"] is None
    assert scene.verify().differences == ()


def _stop_after(scene: Scene, name: str) -> Deployment:
    deployment = scene.open()

    def stop(number: int, step: Step, outcome: Any) -> None:
        if step.name == name:
            raise Killed

    with pytest.raises(Killed):
        deployment.run(stop)
    return deployment


def test_deploy__too_little_ether__keeps_what_is_done_and_goes_on_when_there_is_more(
    scene: Scene,
) -> None:
    scene.plain.set_balance(scene.deployer, WAD // 50)
    with pytest.raises(DeployError, match="ether left, which does not pay for it.*run again"):
        scene.open().run()
    done = [name for name, step in Manifest.load(scene.path).steps.items() if step.get("hash")]
    assert 0 < len(done) < 60
    scene.plain.set_balance(scene.deployer, WAD)
    assert scene.deploy().manifest.is_complete


def test_deploy__gas_dearer_than_the_file_allows__sends_nothing(scene: Scene) -> None:
    chain = SigningChain(scene.node.url, KeySigner.of(scene.key, max_fee_wei=1))
    with pytest.raises(ChainError, match="gwei now, and at most .* max_fee_gwei"):
        scene.open(chain).run()
    assert scene.plain.nonce(scene.deployer) == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p["network"].update(chain_id=1), "the node is of chain 11,155,111.* chain 1"),
        (
            lambda p: p["network"]["feeds"]["ETH"].update(address="0x" + "12" * 20),
            "network.feeds.ETH: there is no contract at 0x1212",
        ),
        (
            lambda p: p["network"]["feeds"]["ETH"].update(price_usd=1_500),
            "network.feeds.ETH.price_usd is 1500, and the feed tells 2,000: more than 20% apart",
        ),
        (
            lambda p: p["network"]["tokens"].update(
                ETH={"address": p["network"]["feeds"]["BTC"]["address"], "decimals": 18}
            ),
            "network.tokens.ETH.decimals: the token has 8",
        ),
        (
            lambda p: p["network"].update(
                uniswap={"fee_ppm": 500, "router": "0x" + "12" * 20, "factory": "0x" + "12" * 20}
            ),
            "network.uniswap.router: there is no contract",
        ),
    ],
)
def test_deploy__file_that_does_not_fit_the_chain__is_told_by_its_field(
    scene: Scene, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    parameters = deepcopy(scene.parameters)
    change(parameters)
    with pytest.raises(DeployError, match=told):
        Deployment.open(scene.signing(), parameters, scene.path, source="file")
    assert not scene.path.exists() and scene.plain.nonce(scene.deployer) == 0


def test_deploy__manifest_of_another_chain__is_left_alone(scene: Scene) -> None:
    """A chain of the same id, begun anew: what block 0 is tells them apart."""
    _stop_after(scene, "deploy RiskOracle")
    before = scene.path.read_text()
    with Anvil(chain_id=SEPOLIA) as other:  # which began at another time
        chain = SigningChain(other.url, KeySigner.of(scene.key))
        with pytest.raises(DeployError, match="is of another chain .*--restart"):
            scene.open(chain)
        manifest = Manifest.load(scene.path)
        with pytest.raises(DeployError, match="is of another chain"):
            verify(RpcChain(other.url, block_interval_s=None), manifest, scene.parameters)
    assert scene.path.read_text() == before


def test_deploy__gone_on_with_by_another_key_or_file__is_refused(scene: Scene) -> None:
    _stop_after(scene, "deploy RiskOracle")
    before = scene.path.read_text()
    stranger = SigningChain(scene.node.url, KeySigner.of(Account.from_key(b"\x07" * 32)))
    with pytest.raises(DeployError, match="was begun by .* go on with that account"):
        scene.open(stranger)
    changed = deepcopy(scene.parameters)
    changed["vault"]["kink_bps"] = 7_000
    with pytest.raises(DeployError, match="vault.kink_bps is 7000 .* begun with 8000"):
        scene.open(**changed)
    assert scene.path.read_text() == before


def test_open__contracts_changed_meanwhile__names_the_commit_to_go_on_with(scene: Scene) -> None:
    _stop_after(scene, "deploy RiskOracle")
    data = json.loads(scene.path.read_text())
    data["contracts_hash"], data["commit"] = "0x00", "c0ffee"
    scene.path.write_text(json.dumps(data))
    with pytest.raises(DeployError, match="contracts have changed .* at commit c0ffee"):
        scene.open()


# ---- verified


def _caps(scene: Scene, deployment: Deployment) -> None:
    target = deployment.target
    listings = scene.plain.at(target.system.listings.address, "Listings")
    listings.set_asset_limits(1, 7 * WAD, 100, sender=target.governance.address)


def _rate(scene: Scene, deployment: Deployment) -> None:
    target = deployment.target
    vault = scene.plain.at(target.system.vault.address, "LendingVault")
    vault.set_rate((0, 451, 6_000, 8_000), sender=target.governance.address)


def _margin(scene: Scene, deployment: Deployment) -> None:
    target, asset = deployment.target, 2
    oracle = scene.plain.at(target.system.oracle.address, "RiskOracle")
    terms = list(oracle.parameters(asset)[1])
    terms[1] += 1
    oracle.set_parameters(asset, tuple(terms), sender=target.governance.address)


def _adapter(scene: Scene, deployment: Deployment) -> None:
    target = deployment.target
    listings = scene.plain.at(target.system.listings.address, "Listings")
    listings.set_adapter(target.tokens["ETH"], True, sender=target.governance.address)


def _role(scene: Scene, deployment: Deployment) -> None:
    timelock = scene.plain.at(deployment.target.timelock.address, "Timelock")
    timelock.grantRole(role_id(PROPOSER), scene.plain.accounts[6], sender=timelock.address)


def _owner(scene: Scene, deployment: Deployment) -> None:
    target, heir = deployment.target, scene.plain.accounts[6]
    perps = scene.plain.at(target.system.perps.address, "Perps")
    perps.transfer_ownership(heir, sender=target.governance.address)
    perps.accept_ownership(sender=heir)


def _code(scene: Scene, deployment: Deployment) -> None:
    lens = deployment.target.system.lens
    code = bytearray(scene.plain.code(lens.address))
    code[-1] ^= 1  # of an immutable, behind what the compiler made
    scene.plain.set_code(lens.address, bytes(code))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_caps, [("list ETH at the clearing house", "supply_cap (WAD)")]),
        (_rate, [("deploy LendingVault", "rate curve")]),
        (_margin, [("list BTC at the oracle", "floor_init_bps")]),
        (_adapter, [("Exchange", "adapters allowed")]),
        (_role, [("Timelock", "holders of roles")]),
        (
            _owner,
            [
                ("offer Perps to governance", "offered to governance"),
                ("accept Perps by governance", "owner"),
            ],
        ),
        (_code, [("deploy Lens", "code hash")]),
    ],
)
def test_verify__something_changed__finds_it_and_nothing_else(
    deployed: tuple[Scene, Deployment],
    change: Callable[[Scene, Deployment], None],
    found: list[tuple[str, str]],
) -> None:
    scene, deployment = deployed
    with scene.plain.isolated():
        assert scene.differences() == []
        change(scene, deployment)
        assert scene.differences() == found


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: Any) -> Iterator[tuple[Scene, Deployment]]:
    """A deployment of its own node, complete; whoever changes something undoes it."""
    with standin.start(bundled()) as node:
        plain = RpcChain(node.url, block_interval_s=None)
        key = Account.from_key(b"\x11" * 32)
        plain.set_balance(key.address, WAD)
        path = tmp_path_factory.mktemp("deployed") / f"{CHAIN}.json"
        scene = Scene(node, plain, bundled(), path, key)
        yield scene, scene.deploy()


def test_verify__file_changed__names_the_field(deployed: tuple[Scene, Deployment]) -> None:
    scene, _ = deployed
    changed = deepcopy(scene.parameters)
    changed["assets"]["ETH"]["heartbeat_s"] += 1
    found = verify(scene.plain, Manifest.load(scene.path), changed).differences
    assert ("parameter file", "assets.ETH.heartbeat_s") in [
        (d.place, d.reading.name) for d in found
    ]
    assert ("list ETH at the oracle", "heartbeat_s") in [(d.place, d.reading.name) for d in found]


def test_verify__manifest_tampered_with__finds_it(deployed: tuple[Scene, Deployment]) -> None:
    scene, _ = deployed
    manifest = Manifest.load(scene.path)
    manifest.data["contracts"]["Perps"]["address"] = scene.plain.accounts[1]
    manifest.data["steps"]["deploy Lens"]["hash"] = manifest.steps["deploy Perps"]["hash"]
    found = verify(scene.plain, manifest, scene.parameters).differences
    assert {(d.place, d.reading.name) for d in found} == {
        ("deploy Perps", "address"),
        ("deploy Lens", "hash of its transaction's data"),
    }


def test_manifest_path__node_of_ones_own__is_apart_from_networks(scene: Scene) -> None:
    path = (Path.cwd() / manifest_path(scene.plain)).relative_to(ROOT)
    assert path == Path("deployments/local") / f"{SEPOLIA}.json"
    ignored = subprocess.run(["git", "check-ignore", "-q", str(path)], cwd=ROOT, check=False)
    assert ignored.returncode == 0


# ---- for explorers


def test_standard_json__compiled__gives_what_was_deployed() -> None:
    described = standard_json("Listings")  # it imports an installed package, too
    assert compiled(described) == compile_contract("Listings").bytecode
    assert all(".." not in where and where[0] != "/" for where in described["sources"])
    assert {"contracts/Listings.vy", "snekmate/auth/ownable.vy"} <= set(described["sources"])


def test_write_inputs__deployment__has_arguments_as_they_were_sent(
    deployed: tuple[Scene, Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, _ = deployed
    monkeypatch.setattr("ballast.explorer.standard_json", lambda name: {"name": name})
    write_inputs(Manifest.load(scene.path), tmp_path)
    listed = json.loads((tmp_path / ARGUMENTS).read_text())
    steps = Manifest.load(scene.path).steps
    for name, entry in listed.items():
        sent = scene.plain.rpc.request("eth_getTransactionByHash", steps[f"deploy {name}"]["hash"])
        code = compile_contract(entry["contract"]).bytecode.hex()
        assert sent["input"] == "0x" + code + entry["encoded_arguments"][2:], name
        assert (tmp_path / f"{entry['contract']}.json").exists()
    assert "UniswapV3Factory" not in listed and len(listed) >= 23


# ---- the page for newcomers


def test_deploying_page__python__does_what_it_says(
    deployed: tuple[Scene, Deployment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The programs of docs/deploying.md, with the key file and the variables it has by then; in the
    end a keeper brings the account of the page back to its target."""
    scene, _ = deployed
    kept = tmp_path / "local" / f"{SEPOLIA}.json"
    kept.parent.mkdir()
    kept.write_text(scene.path.read_text())
    watchman = Account.from_key(b"\x31" * 32)
    write_key(tmp_path, "deployer", scene.key)
    write_key(tmp_path, ALIAS, watchman)
    monkeypatch.setattr("ballast.manifest.DIRECTORY", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APE_ACCOUNTS_deployer_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("APE_NODE_ETHEREUM", json.dumps({"sepolia": {"uri": scene.node.url}}))
    page = (ROOT / "docs" / "deploying.md").read_text()
    look, borrow, enrol, tell = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with scene.plain.isolated():
        exec(look.replace("http://127.0.0.1:8545", scene.node.url), {})  # noqa: S102
        assert capsys.readouterr().out.endswith(" 2000.0\n")
        session: dict[str, Any] = {}
        exec(borrow, session)  # noqa: S102
        assert capsys.readouterr().out.startswith("equity 15,000, required ")
        exec(enrol, session)  # noqa: S102
        scene.plain.set_balance(watchman.address, WAD)
        standin.publish(scene.node, scene.parameters, "ETH", 1_600)
        exec(tell, session)  # noqa: S102
        assert capsys.readouterr().out.startswith("equity 4,000 is 0.96 times")
        shell = Shell(scene.node, tmp_path, kept, watchman.address)
        database = str(tmp_path / "keeper.sqlite3")
        code, said = shell.run("keeper", "--account", ALIAS, "--once", "--db", database)
        assert code == 0 and "rebalance done" in said, said
        exec(tell, session)  # noqa: S102
        assert " is 1.30 times what is required" in capsys.readouterr().out


def test_deploying_page__fields_and_verbs__are_those_of_the_scripts() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text()
    for script in ("deploy", "verify", "testnet", "keeper"):
        source = (ROOT / "scripts" / f"{script}.py").read_text()
        shown = set(re.findall(rf"^(?:ape run|make) {script}.*$", page, re.MULTILINE))
        assert shown
        for option in set(re.findall(r"(--[a-z-]+)", " ".join(shown))) - {"--network"}:
            assert f'"{option}"' in source, (script, option)


def write_key(home: Path, alias: str, key: Any) -> None:
    """The key file that ape would have written, with a quick derivation."""
    folder = home / ".ape" / "accounts"
    folder.mkdir(parents=True, exist_ok=True)
    encrypted = Account.encrypt(key.key, PASSPHRASE, kdf="pbkdf2", iterations=1_000)
    (folder / f"{alias}.json").write_text(json.dumps(encrypted))


# ---- through ape, with a key file and a passphrase


ALIAS, PASSPHRASE = "rehearsal", "open sesame"


@dataclass
class Shell:
    """A home of its own for ape, a node, and the commands of the documentation."""

    node: Anvil
    home: Path
    manifest: Path
    address: str

    def start(self, *command: str, passphrase: str = PASSPHRASE) -> subprocess.Popen[str]:
        where = ("--network", "ethereum:sepolia:node", "--manifest", str(self.manifest))
        return self.ape(*command, *where, passphrase=passphrase)

    def ape(self, *command: str, passphrase: str = PASSPHRASE) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "VVM_BINARY_PATH": str(self.home),
            "APE_NODE_ETHEREUM": json.dumps({"sepolia": {"uri": self.node.url}}),
            f"APE_ACCOUNTS_{ALIAS}_PASSPHRASE": passphrase,
        }
        return subprocess.Popen(
            ["ape", "run", *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, **options: Any) -> tuple[int, str]:
        process = self.start(*command, **options)
        told, _ = process.communicate(timeout=120)
        return process.returncode, told

    def done(self) -> int:
        """Steps that the manifest knows as done."""
        try:
            steps = Manifest.load(self.manifest).steps
        except DeployError:
            return 0
        return sum("block" in step for step in steps.values())


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with standin.start(bundled(), block_time_s=0.05) as node:
        key = Account.from_key(b"\x21" * 32)
        write_key(tmp_path, ALIAS, key)
        RpcChain(node.url, block_interval_s=None).set_balance(key.address, WAD)
        yield Shell(node, tmp_path, tmp_path / "manifest.json", key.address)


def test_ape_run_deploy__killed_twice__is_finished_by_the_third_and_verified(
    shell: Shell,
) -> None:
    deploy = ("deploy", "--account", ALIAS, "--yes")
    for steps in (9, 30):
        process = shell.start(*deploy)
        while shell.done() < steps:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    code, told = shell.run(*deploy)
    assert code == 0 and "Deployed and read back" in told, told
    manifest = Manifest.load(shell.manifest)
    sent = sum(step["hash"] is not None for step in manifest.steps.values())
    plain = RpcChain(shell.node.url, block_interval_s=None)
    assert manifest.is_complete and plain.nonce(shell.address) == sent
    code, told = shell.run("verify")
    assert code == 0 and "readings are as" in told, told
    system = manifest.system(plain)
    system.keepers.set_fee(0, sender=manifest.data["roles"]["owner"])
    code, told = shell.run("verify")
    assert code == 1 and "fee" in told and "1 of" in told, told


def test_ape_run_deploy__wrong_passphrase_then_too_little_ether__says_what_to_do(
    shell: Shell,
) -> None:
    deploy = ("deploy", "--account", ALIAS, "--yes")
    code, told = shell.run(*deploy, passphrase="wrong")
    assert code == 1 and f"APE_ACCOUNTS_{ALIAS}_PASSPHRASE" in told and "Traceback" not in told
    plain = RpcChain(shell.node.url, block_interval_s=None)
    plain.set_balance(shell.address, WAD // 1_000)
    code, told = shell.run(*deploy)
    assert code == 1 and "has 0.001000 ether and needs about" in told and "Traceback" not in told
    assert not shell.manifest.exists() and plain.nonce(shell.address) == 0


def test_ape_run_deploy__dry_run__sends_nothing_and_needs_no_passphrase(shell: Shell) -> None:
    code, told = shell.run("deploy", "--account", ALIAS, "--dry-run", passphrase="wrong")
    assert code == 0 and "deploy Clearinghouse" in told and "nothing was sent" in told, told
    assert not shell.manifest.exists()


def test_ape_run_testnet__line_with_a_price__is_published_and_interrupt_ends_the_node(
    shell: Shell,
) -> None:
    port = free_port()
    process = shell.ape("testnet", "--port", str(port), "--fund", ALIAS, "--block-time", "0.1")
    assert process.stdout is not None and process.stdin is not None
    told = ""
    while "Ctrl-C ends it." not in told:
        line = process.stdout.readline()
        assert line, told
        told += line
    chain = RpcChain(f"http://127.0.0.1:{port}", block_interval_s=None)
    assert chain.chain_id == SEPOLIA and chain.balance(shell.address) == 10 * WAD
    print("nonsense", "ETH 1800.5", sep="\n", file=process.stdin, flush=True)
    assert "A name" in process.stdout.readline()
    assert process.stdout.readline() == "ETH is at 1,800.50 dollars\n"
    feed = chain.at(bundled()["network"]["feeds"]["ETH"]["address"], "MockFeed")
    assert feed.latestRoundData()[1] == 180_050_000_000
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    with pytest.raises(ChainError):
        _ = chain.block
