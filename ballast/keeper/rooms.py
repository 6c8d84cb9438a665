"""The deployed contracts that a keeper needs, and reads of them at one block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ballast.chain import ChainError, Contract, Function, Reverted, RpcChain, RpcError
from ballast.chain.rpc import reverted
from ballast.keeper.endpoints import Endpoints
from ballast.manifest import Manifest
from ballast.steps import DeployError

ROLES: Mapping[str, str] = {
    "clearinghouse": "Clearinghouse",
    "mandates": "Mandates",
    "rebalancer": "Rebalancer",
    "liquidator": "Liquidator",
    "perps": "Perps",
    "oracle": "RiskOracle",
    "keepers": "Keepers",
    "lens": "Lens",
}


class HeadMoved(ChainError):
    """The block that was being read is not on the chain any more."""


@dataclass(frozen=True)
class Head:
    """The newest block, as one look saw it."""

    number: int
    hash: str
    time_s: int
    base_fee_wei: int
    gas_limit: int

    @classmethod
    def from_json(cls, block: Mapping[str, Any]) -> Head:
        """From a node's answer."""
        return cls(
            int(block["number"], 16),
            str(block["hash"]),
            int(block["timestamp"], 16),
            int(block.get("baseFeePerGas", "0x0"), 16),
            int(block["gasLimit"], 16),
        )


@dataclass(frozen=True)
class Rooms:
    """The contracts by role, and the block from which they may have spoken."""

    clearinghouse: Contract
    mandates: Contract
    rebalancer: Contract
    liquidator: Contract
    perps: Contract
    oracle: Contract
    keepers: Contract
    lens: Contract
    from_block: int = 0

    @classmethod
    def at(cls, rpc: Endpoints, addresses: Mapping[str, str], from_block: int = 0) -> Rooms:
        """Binds contracts by their addresses, which are given by their names."""
        # Contracts only encode and decode here; the chain is never asked through this object.
        chain = RpcChain(rpc, block_interval_s=None)  # type: ignore[arg-type]
        bound = {role: chain.at(addresses[name], name) for role, name in ROLES.items()}
        return cls(**bound, from_block=from_block)

    @classmethod
    def of(cls, rpc: Endpoints, manifest: Manifest) -> Rooms:
        """Those of a deployment. Raises DeployError where one is missing or the chain another."""
        if manifest.chain_id != rpc.chain_id:
            raise DeployError(f"{manifest.path} is of chain {manifest.chain_id}")
        addresses = {name: manifest.address(name) for name in ROLES.values()}
        return cls.at(rpc, addresses, manifest.first_block)


@dataclass(frozen=True)
class Read:
    """One read of a batch."""

    function: Function
    args: tuple[Any, ...] = ()


class Reader:
    """Reads at one block, named by its hash, so that all answers belong together."""

    def __init__(self, rpc: Endpoints, head: Head) -> None:
        self.rpc = rpc
        self.head = head
        self._block = {"blockHash": head.hash, "requireCanonical": True}

    def one(self, function: Function, *args: Any) -> Any:
        """One result. Raises Reverted, and HeadMoved."""
        answer = self.many([Read(function, args)])[0]
        if isinstance(answer, Reverted):
            raise answer
        return answer

    def many(self, reads: Sequence[Read]) -> list[Any]:
        """For each read its result, or a Reverted as a value. Raises HeadMoved."""
        requests = [("eth_call", [self._call(read), self._block]) for read in reads]
        results: list[Any] = []
        for read, answer in zip(reads, self.rpc.batch(requests), strict=True):
            if isinstance(answer, RpcError):
                results.append(self._failure(answer))
            else:
                data = bytes.fromhex(answer.removeprefix("0x"))
                results.append(read.function.abi(read.args).decode(data))
        return results

    def _call(self, read: Read) -> dict[str, str]:
        return {
            "to": read.function.contract.address,
            "data": "0x" + read.function.encode(*read.args).hex(),
        }

    def _failure(self, error: RpcError) -> Reverted:
        reverted = reverted_by(error)
        if reverted is not None:
            return reverted
        raise HeadMoved(f"block {self.head.number} cannot be read: {error}") from error


def reverted_by(error: RpcError) -> Reverted | None:
    """The revert of a contract that a node reports, None where the error is the node's own."""
    failure = reverted(error)
    return failure if isinstance(failure, Reverted) else None
