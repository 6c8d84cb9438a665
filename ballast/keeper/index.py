"""Which accounts there are, from events. Events are hints: what they tell is read again anyway.

The index remembers the hashes of the blocks up to which it has taken events in. Where the chain has
other blocks by now it goes back to the newest one that both know, and every look starts a few
blocks before its end, so that a node that served logs late costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ballast.chain import Contract, RpcError, to_address
from ballast.chain.abi import EventAbi
from ballast.keeper.endpoints import Endpoints
from ballast.keeper.rooms import Head, HeadMoved, Rooms
from ballast.keeper.store import Store

OVERLAP = 8  # blocks that are looked at again
_RANGE = 5_000  # blocks of one request; halved where a node refuses
_ACCOUNT_ROLES = ("account", "donor", "receiver", "taker", "payee", "payer", "debtor", "heir")
_ACCOUNT_LIMIT = 1 << 168


@dataclass(frozen=True)
class _Kind:
    """One event: where accounts stand among its topics, and how it decodes."""

    name: str
    places: tuple[int, ...]
    abi: EventAbi


class Index:
    """Keeps the store's list of accounts and assets up with the chain."""

    def __init__(self, rpc: Endpoints, rooms: Rooms, store: Store) -> None:
        self._rpc, self._rooms, self._store = rpc, rooms, store
        self._kinds = {
            contract.address: dict(_kinds(contract))
            for contract in (
                *(rooms.clearinghouse, rooms.mandates, rooms.rebalancer),
                *(rooms.liquidator, rooms.perps, rooms.oracle),
            )
        }
        self.rewinds = 0

    def update(self, head: Head, again_from: int | None = None) -> set[int]:
        """Takes in everything up to ``head``, and from ``again_from`` on once more, for a node may
        have kept something back; answers with the accounts that events told of."""
        start = self._start(head)
        if again_from is not None:
            start = max(self._rooms.from_block, min(start, again_from))
        told: set[int] = set()
        for last, logs in self._logs(start, head.number):
            accounts: dict[int, dict[str, Any]] = {}
            assets: set[int] = set()
            for log in logs:
                self._take_in(log, accounts, assets)
            told |= set(accounts)
            block_hash = self._hash(last, head)
            if block_hash is None:
                raise HeadMoved(f"block {last} is gone")
            # After each part, so that a first look over many blocks may be broken off.
            self._store.learn(last, block_hash, accounts, assets)
        return told

    def _start(self, head: Head) -> int:
        """The first block to look at, once blocks that are gone are forgotten."""
        known = self._store.scanned_blocks()
        for number, block_hash in known:
            if number <= head.number and self._hash(number, head) == block_hash:
                if number != known[0][0]:
                    self.rewinds += 1
                    self._store.rewind(number)
                return max(self._rooms.from_block, number + 1 - OVERLAP)
        if known:
            self.rewinds += 1
            self._store.rewind(-1)
        return self._rooms.from_block

    def _hash(self, number: int, head: Head) -> str | None:
        if number == head.number:
            return head.hash
        block = self._rpc.request("eth_getBlockByNumber", hex(number), False)
        return None if block is None else str(block["hash"])

    def _logs(self, start: int, end: int) -> Iterator[tuple[int, Sequence[Mapping[str, Any]]]]:
        """Logs in parts, each with the last block that it covers."""
        size = _RANGE
        while start <= end:
            last = min(end, start + size - 1)
            query = {
                "fromBlock": hex(start),
                "toBlock": hex(last),
                "address": list(self._kinds),
            }
            try:
                answer: Sequence[Mapping[str, Any]] = self._rpc.request("eth_getLogs", query)
            except RpcError:
                # Too many results or too wide a range: nodes differ in both.
                if size == 1:
                    raise
                size = max(1, size // 4)
                continue
            yield last, answer
            start = last + 1

    def _take_in(
        self, log: Mapping[str, Any], told: dict[int, dict[str, Any]], assets: set[int]
    ) -> None:
        kind = self._kinds.get(to_address(log["address"]), {}).get(log["topics"][0])
        if kind is None:
            return
        accounts = [int(log["topics"][place], 16) for place in kind.places]
        for account in accounts:
            if 0 < account < _ACCOUNT_LIMIT:
                told.setdefault(account, {})
        if kind.name not in _TELLING:
            return
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        args = kind.abi.decode(topics, bytes.fromhex(log["data"][2:]))
        if kind.name == "AssetListed":
            assets.add(int(args.asset))
        else:
            told[args.account].update(_TELLING[kind.name](args))


def _policy(args: Any) -> dict[str, Any]:
    return {"version": int(args.version)}


def _guard(args: Any) -> dict[str, Any]:
    return {"hook": "" if int(args.hook, 16) == 0 else args.hook}


def _special(args: Any) -> dict[str, Any]:
    """Said once, it stays: looking at such an account in every block costs little."""
    return {"is_special": 1}


_TELLING: Mapping[str, Any] = {
    "AssetListed": None,
    "PolicyChanged": _policy,
    "GuardChanged": _guard,
    "BoundsChanged": _special,
    "AllocationChanged": _special,
}


def _kinds(contract: Contract) -> Iterator[tuple[str, _Kind]]:
    for entry in contract.artifact.abi:
        if entry["type"] != "event":
            continue
        indexed = [i for i in entry["inputs"] if i["indexed"]]
        places = tuple(
            number + 1
            for number, i in enumerate(indexed)
            if i["type"] == "uint256" and i["name"] in _ACCOUNT_ROLES
        )
        abi = EventAbi(entry)
        if places or abi.name in _TELLING:
            yield "0x" + abi.topic.hex(), _Kind(abi.name, places, abi)
