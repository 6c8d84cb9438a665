"""Both chain backends: the same contract, the same answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi import encode as reference_encode
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from ballast import artifacts
from ballast.artifacts import ArtifactError, compile_contract, npm_artifact
from ballast.chain import (
    AbiError,
    Anvil,
    Call,
    Chain,
    ChainError,
    Contract,
    Reverted,
    RevmChain,
    RpcChain,
    create_address,
    to_address,
)
from ballast.chain.abi import codec, revert_reason
from tests.conftest import reverts

OWNER = to_address(
    "0x" + "11" * 10 + "00" * 10
)  # ends in zeros, which a padded reading of code would lose


@pytest.fixture(params=["revm", "cold", "rpc"])
def any_chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    if request.param == "rpc":
        chain = request.getfixturevalue("anvil").chain()
        mark = chain.snapshot()
        yield chain
        chain.revert(mark)
        chain.close()
    else:
        yield RevmChain(is_cold=request.param == "cold")


@pytest.fixture
def sender(any_chain: Chain) -> str:
    return any_chain.accounts[1]


@pytest.fixture
def tiny(any_chain: Chain, sender: str) -> Contract:
    return any_chain.deploy("Tiny", OWNER, 5, sender=sender)


# ---------------------------------------------------------------- both backends


def test_deploy__predicted_address__matches(any_chain: Chain, sender: str) -> None:
    expected = [any_chain.next_address(sender, skip) for skip in range(3)]
    deployed = [any_chain.deploy("Tiny", OWNER, i, sender=sender) for i in range(3)]
    assert [c.address for c in deployed] == expected
    assert [c.value() for c in deployed] == [0, 1, 2]
    assert deployed[0].receipt is not None and deployed[0].receipt.contract_address == expected[0]


def test_deploy__immutable_ending_in_zeros__whole_code_is_seen(
    any_chain: Chain, tiny: Contract
) -> None:
    assert tiny.OWNER() == OWNER
    code = any_chain.code(tiny)
    assert code.endswith(bytes(10)) and any_chain.code_size(tiny) == len(code) < len(
        tiny.artifact.bytecode
    )
    assert any_chain.code_size("0x" + "99" * 20) == 0


def test_transact__state_change__receipt_tells_block_time_gas_and_result(
    any_chain: Chain, tiny: Contract, sender: str
) -> None:
    before = any_chain.block
    receipt = tiny.store(6, sender=sender)
    assert (receipt.block, receipt.time) == (before + 1, any_chain.time)
    assert receipt.gas_used > 21_000
    assert receipt.return_value == 5
    assert tiny.value() == 6
    assert tiny.clock() == (any_chain.block, any_chain.time)


def test_transact__twice__transient_storage_is_cleared_between(tiny: Contract, sender: str) -> None:
    tiny.store(1, sender=sender)
    tiny.store(2, sender=sender)
    assert tiny.value() == 2


def test_call__state_change__is_not_kept(any_chain: Chain, tiny: Contract, sender: str) -> None:
    block = any_chain.block
    assert tiny.store.call(44, sender=sender) == 5
    assert tiny.value() == 5 and any_chain.block == block


@pytest.mark.parametrize(
    ("function", "args", "reason", "halt"),
    [
        ("store", (7,), "tiny: seven", ""),
        ("fail_silently", (), "", ""),
        ("burn_gas", (), "", "invalid opcode"),
    ],
)
def test_revert__each_kind__is_told_the_same_by_call_and_transaction(
    tiny: Contract, sender: str, function: str, args: tuple[Any, ...], reason: str, halt: str
) -> None:
    for run in (tiny.function(function).call, tiny.function(function).transact):
        with pytest.raises(Reverted) as caught:
            run(*args, sender=sender)
        assert (caught.value.reason, caught.value.halt) == (reason, halt)
    assert caught.value.gas_used > 21_000
    assert tiny.value() == 5


def test_transact__too_little_gas__halts(tiny: Contract, sender: str) -> None:
    with pytest.raises(Reverted) as caught:
        tiny.store(99, sender=sender, gas=23_000)
    assert caught.value.reason == ""
    assert tiny.value() == 5


def test_constructor__overload_and_defaults__are_chosen_by_arity(
    tiny: Contract, sender: str
) -> None:
    tiny.store(1, sender=sender)
    receipt = tiny.store(2, "named", sender=sender)
    event = tiny.events(receipt, "Stored")[0]
    assert event.args == (sender, 1, "named", 1)
    assert event.args._fields == ("account", "tag", "label", "delta")
    with pytest.raises(AbiError, match="called with 3 arguments"):
        tiny.store(1, "x", 2, sender=sender)


def test_structs__in_and_out__keep_their_names(tiny: Contract) -> None:
    pair = tiny.pair(3, -4)
    assert (pair.left, pair.right) == (3, -4)
    pairs, note = tiny.echo([(1, -2), {"left": 3, "right": -9}, pair], b"abc")
    assert pairs == [(1, -2), (3, -9), (3, -4)] and note == b"abc"


def test_events__range_of_blocks__finds_each_once(
    any_chain: Chain, tiny: Contract, sender: str
) -> None:
    first = tiny.store(10, sender=sender)
    second = tiny.store(4, sender=any_chain.accounts[2])
    stored = any_chain.events(tiny, "Stored")
    assert [(e.args.tag, e.args.delta, e.block) for e in stored] == [
        (5, 5, first.block),
        (10, -6, second.block),
    ]
    assert [e.args.tag for e in any_chain.events(tiny, from_block=second.block)] == [10]
    assert any_chain.events(tiny, to_block=first.block - 1) == []
    assert any_chain.logs("0x" + "99" * 20) == []


def test_time__moves_only_when_told(any_chain: Chain, tiny: Contract, sender: str) -> None:
    start, block = any_chain.time, any_chain.block
    tiny.store(1, sender=sender)
    assert any_chain.time == start
    any_chain.set_time(start + 100)
    assert tiny.clock() == (block + 2, start + 100)
    any_chain.mine(3, 12)
    assert tiny.clock() == (block + 5, start + 136)
    any_chain.advance(7)
    assert tiny.clock() == (block + 6, start + 143)
    assert tiny.store(2, sender=sender).time == start + 143
    with pytest.raises(ChainError, match="go back"):
        any_chain.set_time(start)


def test_one_block__several_senders__share_it(
    any_chain: Chain, tiny: Contract, sender: str
) -> None:
    block = any_chain.block
    other = any_chain.accounts[3]
    with any_chain.one_block():
        receipts = [tiny.store(20 + i, sender=sender) for i in range(3)]
        receipts.append(tiny.store(30, sender=other))
    assert {r.block for r in receipts} == {block + 1} and any_chain.block == block + 1
    assert [r.return_value for r in receipts] == [5, 20, 21, 22]
    assert tiny.store(1, sender=sender).block == block + 2


def test_one_block__a_transaction_reverts__is_raised_and_the_rest_stays(
    any_chain: Chain, tiny: Contract, sender: str
) -> None:
    with reverts("tiny: seven"), any_chain.one_block():
        tiny.store(6, sender=sender)
        tiny.store(7, sender=sender)
    assert tiny.value() == 6
    tiny.store(8, sender=sender)
    assert tiny.value() == 8


def test_snapshot__reverted__state_blocks_and_logs_are_back(
    any_chain: Chain, tiny: Contract, sender: str
) -> None:
    tiny.store(6, sender=sender)
    block, time = any_chain.block, any_chain.time
    with any_chain.isolated():
        any_chain.advance(50)
        tiny.store(9, sender=sender)
        assert tiny.value() == 9
    assert (tiny.value(), any_chain.block, any_chain.time) == (6, block, time)
    assert len(any_chain.events(tiny)) == 1
    tiny.store(8, sender=sender)
    assert tiny.value() == 8


def test_ether__sent_and_set__is_counted(any_chain: Chain, tiny: Contract, sender: str) -> None:
    tiny.pay(sender=sender, value=5)
    assert any_chain.balance(tiny) == 5
    any_chain.set_balance(tiny, 77)
    assert any_chain.balance(tiny) == 77
    stranger = "0x" + "ab" * 20
    assert tiny.store(1, sender=stranger).return_value == 5


def test_set_code__account_already_used__new_code_runs_on_old_storage(
    any_chain: Chain, tiny: Contract, sender: str
) -> None:
    tiny.store(6, sender=sender)
    any_chain.set_code(tiny, bytes.fromhex("602a5f5260205ff3"))  # returns 42
    assert tiny.value() == 42 and any_chain.storage(tiny, 0) == 6
    assert any_chain.code(tiny).hex() == "602a5f5260205ff3"


# ---------------------------------------------------------------- one backend


def test_gas__cold_chain__equals_anvil(anvil: Anvil) -> None:
    def run(chain: Chain) -> list[int]:
        sender = chain.accounts[4]
        tiny = chain.deploy("Tiny", OWNER, 5, sender=sender)
        other = chain.deploy("Tiny", OWNER, 0, sender=sender)
        used = [tiny.store(i, sender=sender).gas_used for i in (1, 1, 0, 3)]
        used += [other.store(1, "a longer label", sender=sender).gas_used]
        assert tiny.receipt is not None
        return [tiny.receipt.gas_used, *used, other.pay(sender=sender, value=1).gas_used]

    assert run(RevmChain(is_cold=True)) == run(anvil.chain())


def test_gas__cold_contract_of_many_words__equals_anvil(anvil: Anvil) -> None:
    """Every word of a contract grows cold, not only the first."""

    def run(chain: Chain) -> list[int]:
        one, two, three = chain.accounts[4:7]
        token = chain.deploy("MockToken", "Dollar", "USD", 6, sender=one)
        used = [token.mint(who, 10, sender=one).gas_used for who in (one, two)]
        used += [token.transfer(who, 1, sender=one).gas_used for who in (two, three)]
        used += [token.approve(one, 5, sender=two).gas_used]
        return [*used, token.transferFrom(two, one, 5, sender=one).gas_used]

    chain = anvil.chain()
    with chain.isolated():
        expected = run(chain)
    chain.close()
    assert run(RevmChain(is_cold=True)) == expected


def test_cool__contract_untouched_for_long__keeps_its_state() -> None:
    chain = RevmChain(is_cold=True)
    sender = chain.accounts[0]
    tinies = [chain.deploy("Tiny", OWNER, i, sender=sender) for i in range(3)]
    for i in range(4):
        tinies[0].store(40 + i, sender=sender)
    assert [t.value() for t in tinies] == [43, 1, 2]
    assert chain.nonce(sender) == 3


def test_revert__mark_used_or_void__raises() -> None:
    chain = RevmChain()
    mark = chain.snapshot()
    chain.revert(mark)
    with pytest.raises(ChainError, match="used before"):
        chain.revert(mark)
    mark = chain.snapshot()
    chain.cool()
    with pytest.raises(ChainError, match="older than"):
        chain.revert(mark)


def test_call_many__one_reverts__is_raised_or_listed(anvil: Anvil) -> None:
    chain = anvil.chain()
    tiny = chain.deploy("Tiny", OWNER, 5, sender=chain.accounts[5])
    calls = [Call(tiny.value), Call(tiny.store, (7,)), Call(tiny.pair, (1, 2))]
    results = chain.call_many(calls, is_strict=False)
    assert results[0] == 5 and results[2] == (1, 2)
    assert isinstance(results[1], Reverted) and results[1].reason == "tiny: seven"
    with reverts("tiny: seven"):
        chain.call_many(calls)
    assert chain.call_many([]) == []


def test_anvil__left__process_is_gone() -> None:
    with Anvil(chain_id=99) as node:
        pid = node.pid
        assert pid is not None
        assert int(node.chain().rpc.request("eth_chainId"), 16) == 99
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_rpc__nobody_listens__raises_chain_error() -> None:
    with Anvil() as node:
        chain = node.chain()
    with pytest.raises(ChainError, match="127.0.0.1"):
        _ = chain.block
    with pytest.raises(ChainError):
        RpcChain(node.url)


def test_view__writes_state__is_refused() -> None:
    chain = RevmChain()
    tiny = chain.deploy("Tiny", OWNER, 5, sender=chain.accounts[0])
    with pytest.raises(Reverted) as caught:
        chain.call_raw(tiny, tiny.store.encode(9), is_view=True)
    assert caught.value.halt == "StateChangeDuringStaticCall"


def test_reverts__no_revert_or_other_reason__fails() -> None:
    with pytest.raises(AssertionError, match="did not revert"), reverts("x: y"):
        pass
    with pytest.raises(AssertionError, match="expected"), reverts("x: y"):
        raise Reverted(b"")


# ---------------------------------------------------------------- artifacts


def test_artifact__unknown_name__lists_what_there_is() -> None:
    with pytest.raises(ArtifactError, match="Tiny"):
        compile_contract("NoSuchContract")


def test_artifact__compiled_twice__comes_from_the_cache() -> None:
    assert compile_contract("Tiny") is compile_contract("tests/contracts/Tiny.vy")
    assert "store(uint256,string)" in compile_contract("Tiny").method_identifiers


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository of its own."""
    monkeypatch.setattr(artifacts, "ROOT", tmp_path)
    monkeypatch.setattr(artifacts, "BUILD_DIR", tmp_path / ".build")
    return tmp_path


def test_artifact__imported_file_changed__is_compiled_again(checkout: Path) -> None:
    module = checkout / "contracts/modules/one.vy"
    module.parent.mkdir(parents=True)
    body = "# pragma version 0.4.3\n@internal\n@pure\ndef _get() -> uint256:\n    return {}\n"
    module.write_text(body.format(1))
    (checkout / "contracts/Shell.vy").write_text(
        "# pragma version 0.4.3\nfrom contracts.modules import one\n"
        "@external\n@view\ndef get() -> uint256:\n    return one._get()\n"
    )
    path = checkout / "contracts/Shell.vy"
    first = artifacts._store(path)
    assert artifacts._load(path) == first
    module.write_text(body.format(2))
    assert artifacts._load(path) is None
    chain = RevmChain()
    assert chain.deploy(first, sender=chain.accounts[0]).get() == 1
    assert chain.deploy("Shell", sender=chain.accounts[0]).get() == 2
    assert not list((checkout / ".build").glob("*.tmp"))


def test_artifact__two_files_of_one_name__raises(checkout: Path) -> None:
    for directory in ("contracts/adapters", "contracts/mocks", "contracts/modules"):
        (checkout / directory).mkdir(parents=True)
        (checkout / directory / "Same.vy").write_text("# pragma version 0.4.3\n")
    with pytest.raises(ArtifactError, match="two contracts are called Same"):
        compile_contract("Same")


def test_npm_artifact__uniswap_factory__deploys() -> None:
    chain = RevmChain()
    path = "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
    factory = chain.deploy(npm_artifact("@uniswap/v3-core", path), sender=chain.accounts[0])
    assert factory.owner() == chain.accounts[0]


def test_npm_artifact__missing_package__names_the_next_step() -> None:
    with pytest.raises(ArtifactError, match="make setup"):
        npm_artifact("@nobody/nothing", "x.json")
    with pytest.raises(ArtifactError, match="check the path"):
        npm_artifact("@uniswap/v3-core", "x.json")


# ---------------------------------------------------------------- codec


def _parameter(kind: str) -> dict[str, Any]:
    """ABI parameter of a type in signature form, tuples included."""
    if not kind.startswith("("):
        return {"name": "", "type": kind}
    end = kind.rindex(")")
    depth, start, parts = 0, 1, []
    for i, char in enumerate(kind[: end + 1]):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if (char == "," and depth == 1) or i == end:
            parts.append(kind[start:i])
            start = i + 1
    components = [{**_parameter(p), "name": f"f{i}"} for i, p in enumerate(parts)]
    return {"name": "", "type": "tuple" + kind[end + 1 :], "components": components}


_WORDS: dict[str, st.SearchStrategy[Any]] = {
    "uint256": st.integers(0, 2**256 - 1),
    "uint8": st.integers(0, 255),
    "int256": st.integers(-(2**255), 2**255 - 1),
    "int128": st.integers(-(2**127), 2**127 - 1),
    "bool": st.booleans(),
    "address": st.binary(min_size=20, max_size=20).map(lambda b: to_checksum_address(b)),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bytes4": st.binary(min_size=4, max_size=4),
    "bytes": st.binary(max_size=70),
    "string": st.text(max_size=40),
}


def _lists(element: tuple[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    kind, values = element
    sizes = st.integers(1, 3).map(
        lambda n: (f"{kind}[{n}]", st.lists(values, min_size=n, max_size=n))
    )
    return st.one_of(sizes, st.just((f"{kind}[]", st.lists(values, max_size=3))))


def _tuples(
    elements: list[tuple[str, st.SearchStrategy[Any]]],
) -> tuple[str, st.SearchStrategy[Any]]:
    return f"({','.join(k for k, _ in elements)})", st.tuples(*(v for _, v in elements))


_TYPES = st.recursive(
    st.sampled_from(sorted(_WORDS)).map(lambda k: (k, _WORDS[k])),
    lambda inner: st.one_of(
        inner.flatmap(_lists), st.lists(inner, min_size=1, max_size=4).map(_tuples)
    ),
    max_leaves=6,
)


@given(data=st.data())
def test_codec__any_type__equals_reference_and_round_trips(data: st.DataObject) -> None:
    kind, values = data.draw(_TYPES)
    value = data.draw(values)
    outer = codec(_parameter(f"({kind})"))
    encoded = outer.encode((value,))
    assert encoded == reference_encode([kind], [value])
    assert outer.decode(encoded, 0)[0] == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint256", -1),
        ("uint256", 2**256),
        ("uint8", 256),
        ("int128", 2**127),
        ("uint256", True),
        ("uint256", 1.5),
        ("bytes4", b"12345"),
        ("uint256[2]", [1]),
        ("(uint256,bool)", (1,)),
        ("bool", 2),
        ("address", "0x1234"),
    ],
)
def test_codec__value_does_not_fit__raises(kind: str, value: Any) -> None:
    with pytest.raises(AbiError):
        codec(_parameter(kind)).encode(value)


def test_codec__data_too_short__raises() -> None:
    for kind, data in (
        ("uint256", b"\x01"),
        ("uint256[]", (10**6).to_bytes(32, "big")),
        ("bytes", (9).to_bytes(32, "big")),
    ):
        with pytest.raises(AbiError):
            codec(_parameter(kind)).decode(data, 0)


def test_revert_reason__each_shape__is_read() -> None:
    error = bytes.fromhex("08c379a0") + reference_encode(["string"], ["a: b"])
    assert revert_reason(error) == "a: b"
    assert revert_reason(bytes.fromhex("4e487b71") + (17).to_bytes(32, "big")) == "panic: 0x11"
    assert revert_reason(b"") == revert_reason(error[:20]) == ""


@pytest.mark.parametrize(
    ("nonce", "address"),
    [  # vectors of the Ethereum documentation
        (0, "0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"),
        (1, "0x343c43a37d37dff08ae8c4a11544c718abb4fcf8"),
        (2, "0xf778b86fa74e846c4f0a1fbd1335fe81c00a0c91"),
        (3, "0xfffd933a0bc612844eaf0c6fe3e5b8e9b6c1d19c"),
    ],
)
def test_create_address__known_vectors__match(nonce: int, address: str) -> None:
    assert create_address("0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0", nonce) == to_address(
        address
    )
