"""SigningChain: a live network, to which transactions go signed by a key of one's own.

    signer = KeySigner.of(eth_account.Account.from_key(...))      # or KeySigner.of_ape(account)
    chain = SigningChain(url, signer)
    chain.deploy("MockToken", "Dollar", "USD", 6, sender=signer.address)
    chain.wait_for_block(receipt.block + 2)

Gas is estimated, which also tells the reason of a revert before anything is paid; fees are those of
EIP-1559 with room for the base fee to double. A transaction that stays out for minutes while gas
grows dearer is replaced by itself at a higher fee.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from eth_utils import keccak

from ballast.chain.abi import to_address
from ballast.chain.base import ChainError
from ballast.chain.rpc import Rpc, RpcChain, RpcError, reverted

GWEI = 10**9
GAS_MARGIN_PERCENT = 20
MOST_GAS = 2**24  # of one transaction, where EIP-7825 holds
DEFAULT_TIP_WEI = GWEI
REPLACEMENT_PERCENT = 13  # nodes want 10, some 12.5
WAIT_S = 900.0
REPLACE_AFTER_S = 90.0

Sign = Callable[[dict[str, Any]], bytes]


class KeySigner:
    """Signs for one address. `on_signed(nonce, hash)` is told before a transaction is sent.

    `max_fee_wei` is the most that is ever offered for a unit of gas.
    """

    def __init__(self, address: str, sign: Sign, *, max_fee_wei: int | None = None) -> None:
        self.address = to_address(address)
        self.max_fee_wei = max_fee_wei
        self.on_signed: Callable[[int, str], None] = lambda nonce, tx_hash: None
        self.sign = sign
        self._chain_id: int | None = None
        self._sent: dict[str, dict[str, Any]] = {}

    @classmethod
    def of(cls, account: Any, *, max_fee_wei: int | None = None) -> KeySigner:
        """Of a local account of eth-account."""

        def sign(transaction: dict[str, Any]) -> bytes:
            return bytes(account.sign_transaction(transaction).raw_transaction)

        return cls(account.address, sign, max_fee_wei=max_fee_wei)

    @classmethod
    def of_ape(cls, account: Any, ecosystem: Any, *, max_fee_wei: int | None = None) -> KeySigner:
        """Of an account of ape that signs without asking (`set_autosign`)."""

        def sign(transaction: dict[str, Any]) -> bytes:
            signed = account.sign_transaction(ecosystem.create_transaction(**transaction))
            if signed is None:
                raise ChainError(f"{account.address} did not sign")
            return bytes(signed.serialize_transaction())

        return cls(account.address, sign, max_fee_wei=max_fee_wei)

    def prepare(self, rpc: Rpc, sender: str) -> None:
        """Refuses a sender whose key is not here."""
        if sender != self.address:
            raise ChainError(f"the key at hand is that of {self.address}, not of {sender}")

    def send(self, rpc: Rpc, transaction: dict[str, Any]) -> str:
        """Completes, signs and sends; returns the hash. Raises Reverted where it would revert."""
        data = transaction["data"]
        full: dict[str, Any] = {
            "chainId": self._id(rpc),
            "nonce": int(transaction["nonce"], 16),
            "data": data,
            "value": int(transaction.get("value", "0x0"), 16),
            "gas": self._gas(rpc, transaction),
            **self.fees(rpc),
        }
        if "to" in transaction:
            full["to"] = transaction["to"]
        return self._send(rpc, full)

    def replace(self, rpc: Rpc, tx_hash: str) -> str | None:
        """Sends one of its transactions again at a higher fee, where the market asks for one."""
        old = self._sent.get(tx_hash)
        if old is None:  # of an earlier session
            return None
        ceiling = "maxFeePerGas" if "maxFeePerGas" in old else "gasPrice"
        try:
            now = self.fees(rpc)
        except ChainError:  # dearer than may be offered: it waits for cheaper times
            return None
        if now.get(ceiling, 0) <= old[ceiling]:
            return None
        raised = dict(old)
        for key in ("maxFeePerGas", "maxPriorityFeePerGas", "gasPrice"):
            if key in old:
                least = -(-old[key] * (100 + REPLACEMENT_PERCENT) // 100)
                raised[key] = max(least, now.get(key, 0))
        if self.max_fee_wei is not None and raised[ceiling] > self.max_fee_wei:
            return None
        return self._send(rpc, raised)

    def fees(self, rpc: Rpc) -> dict[str, int]:
        """Fee fields of a transaction, in wei. Raises ChainError above `max_fee_wei`."""
        base = rpc.request("eth_getBlockByNumber", "latest", False).get("baseFeePerGas")
        if base is None:
            price = int(rpc.request("eth_gasPrice"), 16)
            self._check_fee(price)
            return {"gasPrice": price}
        try:
            tip = int(rpc.request("eth_maxPriorityFeePerGas"), 16)
        except RpcError:
            tip = DEFAULT_TIP_WEI
        self._check_fee(int(base, 16) + tip)
        fee = 2 * int(base, 16) + tip
        if self.max_fee_wei is not None:
            fee = min(fee, self.max_fee_wei)
        return {"type": 2, "maxFeePerGas": fee, "maxPriorityFeePerGas": tip}

    def likely_price(self, rpc: Rpc) -> int:
        """What a unit of gas costs now, in wei. Raises ChainError above `max_fee_wei`."""
        fees = self.fees(rpc)
        if "gasPrice" in fees:
            return fees["gasPrice"]
        base = int(rpc.request("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        return base + fees["maxPriorityFeePerGas"]

    def _check_fee(self, needed: int) -> None:
        if self.max_fee_wei is not None and needed > self.max_fee_wei:
            raise ChainError(
                f"gas costs {needed / GWEI:,.2f} gwei now, and at most "
                f"{self.max_fee_wei / GWEI:,.2f} are to be offered: wait, or raise max_fee_gwei"
            )

    def _gas(self, rpc: Rpc, transaction: dict[str, Any]) -> int:
        if "gas" in transaction:
            return int(transaction["gas"], 16)
        wanted = {
            key: transaction[key] for key in ("from", "to", "data", "value") if key in transaction
        }
        try:
            estimate = int(rpc.request("eth_estimateGas", wanted), 16)
        except RpcError as error:
            raise reverted(error) from None
        return max(estimate, min(estimate * (100 + GAS_MARGIN_PERCENT) // 100, MOST_GAS))

    def _id(self, rpc: Rpc) -> int:
        if self._chain_id is None:
            self._chain_id = int(rpc.request("eth_chainId"), 16)
        return self._chain_id

    def _send(self, rpc: Rpc, transaction: dict[str, Any]) -> str:
        raw = self.sign(transaction)
        tx_hash = transaction_hash(raw)
        self._sent[tx_hash] = transaction
        self.on_signed(transaction["nonce"], tx_hash)
        try:
            rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcError as error:
            if "already known" not in str(error).lower():
                raise
        return tx_hash


class SigningChain(RpcChain):
    """A chain behind any node, through one key; time and blocks go as they go."""

    def __init__(
        self, url_or_rpc: str | Rpc, signer: KeySigner, *, replace_after_s: float = REPLACE_AFTER_S
    ) -> None:
        super().__init__(url_or_rpc, signer=signer, block_interval_s=None, tx_gas=None)
        self.key = signer
        self.mine_timeout_s = WAIT_S
        self.longest_pause_s = 2.0
        self.replace_after_s = replace_after_s

    def mined_nonce(self, account: Any) -> int:
        """The account's nonce without what waits to be mined."""
        return int(self.rpc.request("eth_getTransactionCount", to_address(account), "latest"), 16)

    def raw_receipt(self, tx_hash: str) -> dict[str, Any] | None:
        """A receipt as the node tells it, or None."""
        raw: dict[str, Any] | None = self.rpc.request("eth_getTransactionReceipt", tx_hash)
        return raw

    def await_receipt(self, tx_hash: str) -> dict[str, Any]:
        """Waits until a transaction that was sent is mined. Raises ChainError when it is not."""
        return self._await_receipt(tx_hash)

    def wait_for_block(self, number: int) -> None:
        """Waits until the chain has a block of this number. Raises ChainError when it stands."""
        deadline = time.monotonic() + WAIT_S
        while self.block < number:
            if time.monotonic() > deadline:
                raise ChainError(f"the chain stands at block {self.block}: {number} did not come")
            time.sleep(min(self.longest_pause_s, 0.5))

    def _await_receipt(self, tx_hash: str) -> dict[str, Any]:
        hashes, pause_s = [tx_hash], 0.002
        sent_at = time.monotonic()
        deadline = sent_at + self.mine_timeout_s
        while True:
            for known in hashes:
                raw = self.raw_receipt(known)
                if raw is not None:
                    return raw
            now = time.monotonic()
            if now > deadline:
                raise ChainError(
                    f"{hashes[-1]} was not mined within {self.mine_timeout_s:.0f} s; it may be yet"
                )
            if now - sent_at > self.replace_after_s:
                again = self.key.replace(self.rpc, hashes[-1])
                hashes += [again] if again is not None else []
                sent_at = now
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, self.longest_pause_s)


def transaction_hash(raw: bytes) -> str:
    """Hash of a signed transaction."""
    return "0x" + keccak(raw).hex()
