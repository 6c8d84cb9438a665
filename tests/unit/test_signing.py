"""Transactions signed here and sent to a node that signs nothing: gas, fees, replacement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account

from ballast.chain import Anvil, ChainError, Contract, KeySigner, RpcChain, SigningChain
from ballast.chain.signing import GWEI
from tests.conftest import reverts

KEY = Account.from_key(b"\x31" * 32)
ETHER = 10**18


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with Anvil(chain_id=11_155_111, timestamp=None) as node:
        yield node


@pytest.fixture
def plain(node: Anvil) -> Iterator[RpcChain]:
    chain = RpcChain(node.url, block_interval_s=None)
    mark = chain.snapshot()
    chain.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(GWEI))  # no mark keeps it
    chain.mine()
    chain.set_balance(KEY.address, ETHER)
    yield chain
    chain.revert(mark)


@pytest.fixture
def chain(node: Anvil, plain: RpcChain) -> SigningChain:
    return SigningChain(node.url, KeySigner.of(KEY))


def a_token(chain: SigningChain) -> Contract:
    return chain.deploy("MockToken", "Dollar", "USD", 6, sender=KEY.address)


def sent(chain: RpcChain, tx_hash: str | None) -> dict[str, Any]:
    found: dict[str, Any] = chain.rpc.request("eth_getTransactionByHash", tx_hash)
    return found


def test_send__contract_and_call__are_signed_for_the_chain_and_leave_gas_to_the_node(
    chain: SigningChain,
) -> None:
    token = a_token(chain)
    receipt = token.mint(KEY.address, 7, sender=KEY.address)
    assert token.balanceOf(KEY.address) == 7
    told = sent(chain, receipt.tx_hash)
    assert int(told["chainId"], 16) == 11_155_111 and int(told["type"], 16) == 2
    assert receipt.gas_used < int(told["gas"], 16) <= receipt.gas_used * 13 // 10
    base = int(chain.rpc.request("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
    assert int(told["maxFeePerGas"], 16) >= 2 * base


def test_send__would_revert__is_told_its_reason_and_nothing_is_paid(chain: SigningChain) -> None:
    token = a_token(chain)
    before = chain.nonce(KEY.address), chain.balance(KEY.address)
    with reverts("mock: balance too low"):
        token.transfer(chain.accounts[1], 1, sender=KEY.address)
    assert (chain.nonce(KEY.address), chain.balance(KEY.address)) == before
    token.mint(KEY.address, 1, sender=KEY.address)  # the nonce was not used up here either


def test_send__another_sender__is_refused(chain: SigningChain) -> None:
    with pytest.raises(ChainError, match="the key at hand is that of"):
        chain.send_raw(chain.accounts[1], b"", chain.accounts[2])


def test_send__by_an_account_of_ape__is_the_same_transaction(node: Anvil, plain: RpcChain) -> None:
    """Ape signs what is handed to it: same fields, same bytes as the key itself."""
    from ape import networks

    class OfApe:
        address = KEY.address

        def sign_transaction(self, transaction: Any) -> Any:
            fields = transaction.model_dump(mode="json", by_alias=True, exclude={"sender"})
            signed = KEY.sign_transaction(fields)
            v, r, s = signed.v, signed.r, signed.s
            from ape.types import TransactionSignature

            transaction.signature = TransactionSignature(
                v=v, r=r.to_bytes(32, "big"), s=s.to_bytes(32, "big")
            )
            return transaction

    ecosystem = networks.get_ecosystem("ethereum")
    one, other = KeySigner.of(KEY), KeySigner.of_ape(OfApe(), ecosystem)
    for to in ({"to": plain.accounts[1]}, {}):
        transaction = {
            **to,
            "chainId": 11_155_111,
            "nonce": 3,
            "data": "0x6000",
            "value": 1,
            "gas": 100_000,
            "type": 2,
            "maxFeePerGas": 2 * GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
        assert other.sign(transaction) == one.sign(transaction)


def test_fees__gas_dearer_than_allowed__is_refused_before_anything_is_sent(
    node: Anvil, plain: RpcChain
) -> None:
    plain.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
    plain.rpc.request("evm_mine")
    chain = SigningChain(node.url, KeySigner.of(KEY, max_fee_wei=40 * GWEI))
    with pytest.raises(ChainError, match="gas costs .* gwei now, and at most 40.00"):
        a_token(chain)
    assert plain.nonce(KEY.address) == 0


@pytest.mark.parametrize("cap_gwei", [1_000, 40])
def test_await__gas_grew_dearer__replaces_up_to_what_is_allowed(
    node: Anvil, plain: RpcChain, cap_gwei: int
) -> None:
    """K09, K10: the same nonce at 13% more or what the market asks, never above the cap."""
    plain.rpc.request("evm_setAutomine", False)
    signer = KeySigner.of(KEY, max_fee_wei=cap_gwei * GWEI)
    chain = SigningChain(node.url, signer, replace_after_s=0.0)
    told: list[tuple[int, str]] = []
    request = chain.rpc.request

    def watched(method: str, *arguments: Any) -> Any:
        answer = request(method, *arguments)
        if method == "eth_getBlockByNumber" and len(told) == 1:  # it asks for fees once more
            return {**answer, "baseFeePerGas": hex(50 * GWEI)}
        if method == "eth_getTransactionReceipt" and answer is None and watched.looks > 4:
            request("evm_mine")
        watched.looks += method == "eth_getTransactionReceipt"
        return answer

    watched.looks = 0  # type: ignore[attr-defined]
    chain.rpc.request = watched  # type: ignore[method-assign]
    signer.on_signed = lambda nonce, tx_hash: told.append((nonce, tx_hash))
    try:
        receipt = chain.send_raw(chain.accounts[1], b"", KEY.address, gas=21_000)
    finally:
        plain.rpc.request("evm_setAutomine", True)
    assert {nonce for nonce, _ in told} == {0} and receipt.tx_hash == told[-1][1]
    assert len(told) == (2 if cap_gwei > 100 else 1)
    fee = int(sent(plain, receipt.tx_hash)["maxFeePerGas"], 16)
    assert fee <= cap_gwei * GWEI
    if cap_gwei > 100:
        assert fee > 100 * GWEI


def test_wait_for_block__chain_goes_on__returns_when_it_is_there(
    chain: SigningChain, plain: RpcChain
) -> None:
    plain.mine(3)
    chain.wait_for_block(plain.block)
    assert chain.block >= 3
