"""RpcChain: a node behind JSON-RPC, over one connection that stays open."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from ballast.chain.abi import to_address
from ballast.chain.base import (
    BLOCK_INTERVAL_S,
    DEV_ACCOUNTS,
    KNOWN_HALTS,
    START_BALANCE_WEI,
    Chain,
    ChainError,
    Function,
    Log,
    Receipt,
    Reverted,
    halt_name,
)

TX_GAS = 15_000_000
TIMEOUT_S = 60.0


class RpcError(ChainError):
    """The node answered with an error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        self.method = method
        self.code = int(error.get("code", 0))
        self.data = error.get("data")
        super().__init__(f"{method}: {error.get('message', '')} ({self.code})")


class Rpc:
    """A JSON-RPC connection over HTTP. Not shared between threads."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self.url = url
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
        self._id = 0

    def request(self, method: str, *params: Any) -> Any:
        """One request. Raises RpcError when the node refuses, ChainError when it is away."""
        self._id += 1
        body = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        answer = self._post(body)
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer.get("result")

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Many requests in one message: for each its result, or an RpcError as a value."""
        if not calls:
            return []
        first = self._id + 1
        self._id += len(calls)
        body = [
            {"jsonrpc": "2.0", "id": first + i, "method": method, "params": params}
            for i, (method, params) in enumerate(calls)
        ]
        results: list[Any] = [None] * len(calls)
        for answer in self._post(body):
            index = answer["id"] - first
            failed = "error" in answer
            results[index] = (
                RpcError(calls[index][0], answer["error"]) if failed else answer.get("result")
            )
        return results

    def _post(self, body: Any) -> Any:
        payload = json.dumps(body, separators=(",", ":")).encode()
        try:
            self._connection.request(
                "POST", self._path, payload, {"Content-Type": "application/json"}
            )
            return json.loads(self._connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Never repeated here: whether the node acted on the request is unknown.
            self._connection.close()
            raise ChainError(f"{self.url}: {error or type(error).__name__}") from error

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()


class Signer(Protocol):
    """How transactions are authorised: one implementation per kind of key."""

    def prepare(self, rpc: Rpc, sender: str) -> None:
        """Called once per sender before its first transaction."""

    def send(self, rpc: Rpc, transaction: dict[str, Any]) -> str:
        """Send a transaction (from, to, data, value, gas, nonce in hex) and return its hash."""


class UnlockedSigner:
    """The node signs, for any address; senders that have little ether are given some."""

    def prepare(self, rpc: Rpc, sender: str) -> None:
        if sender in DEV_ACCOUNTS:
            return
        if int(rpc.request("eth_getBalance", sender, "latest"), 16) < START_BALANCE_WEI:
            rpc.request("anvil_setBalance", sender, hex(START_BALANCE_WEI))

    def send(self, rpc: Rpc, transaction: dict[str, Any]) -> str:
        return str(rpc.request("eth_sendTransaction", transaction))


class Call(NamedTuple):
    """One read for `RpcChain.call_many`."""

    function: Function
    args: tuple[Any, ...] = ()
    sender: Any = None


class RpcChain(Chain):
    """A chain behind a node, normally Anvil: the control of time and blocks uses its methods.

    With `block_interval_s=None` the node's clock is left alone, as it must be on a live network,
    where `tx_gas=None` leaves gas to the signer and to the node.
    """

    def __init__(
        self,
        url_or_rpc: str | Rpc,
        *,
        signer: Signer | None = None,
        block_interval_s: int | None = 0,
        tx_gas: int | None = TX_GAS,
    ) -> None:
        self.rpc = Rpc(url_or_rpc) if isinstance(url_or_rpc, str) else url_or_rpc
        self.signer = signer if signer is not None else UnlockedSigner()
        self.tx_gas = tx_gas
        self.mine_timeout_s = TIMEOUT_S
        self.longest_pause_s = 0.2  # between two looks for a receipt
        self._interval_s = block_interval_s
        if block_interval_s is not None:
            self.rpc.request("anvil_setBlockTimestampInterval", block_interval_s)
        self._nonces: dict[str, int] = {}
        self._pending: list[Receipt] | None = None  # of the block being filled inside `one_block`

    # ---- calls and transactions

    def call_raw(
        self,
        to: Any,
        data: bytes,
        sender: Any = None,
        *,
        value: int = 0,
        gas: int | None = None,
        is_view: bool = False,
    ) -> bytes:
        try:
            return _unhex(
                self.rpc.request("eth_call", self._call(to, data, sender, value, gas), "latest")
            )
        except RpcError as error:
            raise reverted(error) from None

    def call_many(self, calls: Sequence[Call], *, is_strict: bool = True) -> list[Any]:
        """Many reads in one round trip. A revert raises, or is listed when not `is_strict`."""
        requests = [
            (
                "eth_call",
                [
                    self._call(
                        c.function.contract.address, c.function.encode(*c.args), c.sender, 0, None
                    ),
                    "latest",
                ],
            )
            for c in calls
        ]
        results: list[Any] = []
        for call, answer in zip(calls, self.rpc.batch(requests), strict=True):
            if isinstance(answer, RpcError):
                error = reverted(answer)
                if is_strict:
                    raise error
                results.append(error)
            else:
                results.append(call.function.abi(call.args).decode(_unhex(answer)))
        return results

    def _call(
        self, to: Any, data: bytes, sender: Any, value: int, gas: int | None
    ) -> dict[str, str]:
        call = {"to": to_address(to), "data": "0x" + data.hex()}
        limit = gas or self.tx_gas
        if limit is not None:
            call["gas"] = hex(limit)
        call["from"] = DEV_ACCOUNTS[0] if sender is None else to_address(sender)
        if value:
            call["value"] = hex(value)
        return call

    def send_raw(
        self, to: Any | None, data: bytes, sender: Any, *, value: int = 0, gas: int | None = None
    ) -> Receipt:
        account = to_address(sender)
        nonce = self._take_nonce(account)
        transaction = {
            "from": account,
            "data": "0x" + data.hex(),
            "nonce": hex(nonce),
        }
        limit = gas or self.tx_gas
        if limit is not None:
            transaction["gas"] = hex(limit)
        if to is not None:
            transaction["to"] = to_address(to)
        if value:
            transaction["value"] = hex(value)
        try:
            tx_hash = self.signer.send(self.rpc, transaction)
        except (ChainError, Reverted):
            del self._nonces[account]  # asked for again next time
            raise
        receipt = Receipt()
        receipt.tx_hash = tx_hash
        receipt._output = lambda: self._trace_output(tx_hash)
        if self._pending is not None:
            self._pending.append(receipt)
        else:
            self._fill(receipt, self._await_receipt(tx_hash))
        return receipt

    def _await_receipt(self, tx_hash: str) -> dict[str, Any]:
        # Anvil answers before its miner has run, so even with a block per transaction the first
        # look may be early.
        pause_s = 0.0002
        deadline = time.monotonic() + self.mine_timeout_s
        while True:
            raw = self.rpc.request("eth_getTransactionReceipt", tx_hash)
            if raw is not None:
                return dict(raw)
            if time.monotonic() > deadline:
                raise ChainError(f"{tx_hash} was not mined within {self.mine_timeout_s:.0f} s")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, self.longest_pause_s)

    def _take_nonce(self, account: str) -> int:
        # Counted here, so that many transactions of one sender fit in one block and none asks the
        # node.
        nonce = self._nonces.get(account)
        if nonce is None:
            self.signer.prepare(self.rpc, account)
            nonce = int(self.rpc.request("eth_getTransactionCount", account, "pending"), 16)
        self._nonces[account] = nonce + 1
        return nonce

    def _fill(self, receipt: Receipt, raw: dict[str, Any]) -> None:
        receipt.tx_hash = str(raw["transactionHash"])  # of the one that was mined in the end
        receipt.gas_used = int(raw["gasUsed"], 16)
        receipt.block = int(raw["blockNumber"], 16)
        if raw.get("contractAddress"):
            receipt.contract_address = to_address(raw["contractAddress"])
        receipt._logs_of = lambda: [_log(entry) for entry in raw["logs"]]
        receipt._time_of = lambda: self._block_field(raw["blockNumber"], "timestamp")
        if int(raw["status"], 16) == 0:
            raise self._why(raw)

    def _why(self, raw: dict[str, Any]) -> Reverted:
        gas_used = int(raw["gasUsed"], 16)
        try:
            output, error = self._trace(raw["transactionHash"])
        except RpcError:  # public nodes do not trace
            return Reverted(gas_used=gas_used)
        return Reverted(output, gas_used, error)

    def _trace_output(self, tx_hash: str) -> bytes:
        return self._trace(tx_hash)[0]

    def _trace(self, tx_hash: str) -> tuple[bytes, str]:
        """What a transaction returned, and why it failed if it did (`""` if it did not)."""
        trace = self.rpc.request("debug_traceTransaction", tx_hash, {"tracer": "callTracer"})
        return _unhex(trace.get("output") or "0x"), trace.get("error", "")

    # ---- blocks and time

    def _block_field(self, block: str, field: str) -> int:
        return int(self.rpc.request("eth_getBlockByNumber", block, False)[field], 16)

    @property
    def chain_id(self) -> int:
        """Id of the chain, as transactions name it."""
        return int(self.rpc.request("eth_chainId"), 16)

    @property
    def block(self) -> int:
        return int(self.rpc.request("eth_blockNumber"), 16)

    @property
    def time(self) -> int:
        return self._block_field("latest", "timestamp")

    def set_time(self, timestamp: int) -> None:
        now = self.time
        if timestamp < now:
            raise ChainError(f"time cannot go back from {now} to {timestamp}")
        self.rpc.request("evm_setNextBlockTimestamp", hex(timestamp))
        self.rpc.request("evm_mine")

    def mine(self, blocks: int = 1, interval_s: int = BLOCK_INTERVAL_S) -> None:
        # The interval of `anvil_mine` itself yields to a standing one, so the standing one is
        # changed for a moment.
        self.rpc.request("anvil_setBlockTimestampInterval", interval_s)
        self.rpc.request("anvil_mine", hex(blocks))
        if self._interval_s is None:
            self.rpc.request("anvil_removeBlockTimestampInterval")
        else:
            self.rpc.request("anvil_setBlockTimestampInterval", self._interval_s)

    @contextmanager
    def one_block(self) -> Iterator[None]:
        if self._pending is not None:
            raise ChainError("one_block() inside one_block()")
        pending = self._pending = []
        self.rpc.request("evm_setAutomine", False)
        try:
            yield
        finally:
            self._pending = None
            try:
                self.rpc.request("evm_mine")
            finally:
                self.rpc.request("evm_setAutomine", True)
        answers = self.rpc.batch([("eth_getTransactionReceipt", [r.tx_hash]) for r in pending])
        failure: Reverted | None = None
        for receipt, raw in zip(pending, answers, strict=True):
            if raw is None or isinstance(raw, RpcError):
                raise ChainError(f"{receipt.tx_hash} did not fit into the block")
            try:
                self._fill(receipt, raw)
            except Reverted as error:
                failure = failure or error
        if failure is not None:
            raise failure

    # ---- state

    def snapshot(self) -> Any:
        return self.rpc.request("evm_snapshot")

    def revert(self, mark: Any) -> None:
        if not self.rpc.request("evm_revert", mark):
            raise ChainError("the mark was used before")
        self._nonces.clear()

    def nonce(self, account: Any) -> int:
        return int(self.rpc.request("eth_getTransactionCount", to_address(account), "pending"), 16)

    def balance(self, account: Any) -> int:
        return int(self.rpc.request("eth_getBalance", to_address(account), "latest"), 16)

    def set_balance(self, account: Any, wei: int) -> None:
        self.rpc.request("anvil_setBalance", to_address(account), hex(wei))

    def deal(self, token: Any, account: Any, units: int) -> None:
        """Set a balance of any ERC-20 token; Anvil finds the word that holds it."""
        self.rpc.request("anvil_dealERC20", to_address(account), to_address(token), hex(units))

    def code(self, address: Any) -> bytes:
        return _unhex(self.rpc.request("eth_getCode", to_address(address), "latest"))

    def set_code(self, address: Any, code: bytes) -> None:
        self.rpc.request("anvil_setCode", to_address(address), "0x" + code.hex())

    def storage(self, address: Any, slot: int) -> int:
        return int(
            self.rpc.request("eth_getStorageAt", to_address(address), f"{slot:#066x}", "latest"), 16
        )

    def logs(
        self,
        address: Any = None,
        from_block: int = 0,
        to_block: int | None = None,
        topics: Sequence[bytes] = (),
    ) -> list[Log]:
        query: dict[str, Any] = {"fromBlock": hex(from_block)}
        query["toBlock"] = "latest" if to_block is None else hex(to_block)
        if address is not None:
            query["address"] = to_address(address)
        if topics:
            query["topics"] = ["0x" + t.hex() for t in topics]
        return [_log(entry) for entry in self.rpc.request("eth_getLogs", query)]

    def close(self) -> None:
        """Close the connection."""
        self.rpc.close()


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _log(entry: dict[str, Any]) -> Log:
    return Log(
        to_address(entry["address"]),
        tuple(_unhex(t) for t in entry["topics"]),
        _unhex(entry["data"]),
        int(entry["blockNumber"], 16),
        int(entry["logIndex"], 16),
        entry["transactionHash"],
    )


def reverted(error: RpcError) -> Exception:
    """What `eth_call` reports as an error is a revert when it carries data or says so."""
    data = error.data
    if isinstance(data, dict):  # Hardhat says the message twice and puts the data within
        data = data.get("data")
    halt = halt_name(str(error))
    known = halt if halt in KNOWN_HALTS else ""
    if isinstance(data, str):
        return Reverted(_unhex(data), halt="" if data.removeprefix("0x") else known)
    if known or "revert" in str(error).lower():
        return Reverted(halt=halt)
    return error
