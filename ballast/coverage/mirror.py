"""One call of an in-process chain again, on py-evm, to see every instruction of it.

The state is read through from the chain as it is before the call; what the call writes stays here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from boa.vm.py_evm import TracingCodeStream
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth.vm.message import Message
from eth.vm.transaction_context import BaseTransactionContext
from eth_utils import keccak

from ballast.chain import RevmChain
from ballast.chain.revm import BLOCK_GAS_LIMIT

_EMPTY_HASH = keccak(b"")
_BASE_GAS = 21_000
_FIRST_CHECKPOINT = 10**12  # transient storage is told of ours and counts its own from 1
_CREATION_GAS = 32_000
_WORD_OF_CREATION_GAS = 2


@dataclass(frozen=True)
class Frame:
    """Code that ran within a call: all of it, where it stands, and what ran of it in order."""

    code: bytes
    is_creation: bool
    trace: tuple[int, ...]


class _Accounts:
    """The accounts of a chain, and what was written over them since.

    Everything is warm: the chain never ends a transaction either.
    """

    state_root = b""

    def __init__(self, evm: Any) -> None:
        self._evm = evm
        self._read: dict[Any, Any] = {}
        self._written: dict[Any, Any] = {}
        self._journal: list[tuple[Any, Any, bool]] = []
        self._places: list[int] = []  # of checkpoints, which are never used twice

    # ---- words by their keys

    def _put(self, key: Any, value: Any) -> None:
        self._journal.append((key, self._written.get(key), key in self._written))
        self._written[key] = value

    def _get(self, key: Any) -> Any:
        if key in self._written:
            return self._written[key]
        if key not in self._read:
            kind, address = key[0], f"0x{key[1].hex()}"
            if kind == "storage":
                self._read[key] = int(self._evm.storage(address, key[2]))
            else:
                info = self._evm.basic(address)
                self._read["balance", key[1]] = int(info.balance)
                self._read["nonce", key[1]] = int(info.nonce)
                # No code is padded too.
                is_none = bytes(info.code_hash) in (_EMPTY_HASH, bytes(32))
                code = b"" if is_none else bytes(info.code or b"")
                self._read["code", key[1]] = code
        return self._read[key]

    def record(self) -> int:
        """A place to come back to."""
        self._places.append(len(self._journal))
        return _FIRST_CHECKPOINT + len(self._places) - 1

    def discard(self, checkpoint: int) -> None:
        """Undo what was written since."""
        while len(self._journal) > self._places[checkpoint - _FIRST_CHECKPOINT]:
            key, old, was_there = self._journal.pop()
            if was_there:
                self._written[key] = old
            else:
                del self._written[key]

    def commit(self, checkpoint: int) -> None:
        """Keep it."""

    def lock_changes(self) -> None:
        """Nothing is final here."""

    # ---- accounts

    def get_storage(self, address: bytes, slot: int, from_journal: bool = True) -> int:
        """A word of storage; not from the journal it is that before the call."""
        key = ("storage", address, slot)
        if not from_journal and key in self._written:
            written = self._written.pop(key)
            try:
                return int(self._get(key))
            finally:
                self._written[key] = written
        return int(self._get(key))

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        """Write a word."""
        self._put(("storage", address, slot), value)

    def get_balance(self, address: bytes) -> int:
        """Wei."""
        return int(self._get(("balance", address)))

    def set_balance(self, address: bytes, balance: int) -> None:
        """Wei."""
        self._put(("balance", address), balance)

    def get_nonce(self, address: bytes) -> int:
        """The nonce of an account."""
        return int(self._get(("nonce", address)))

    def set_nonce(self, address: bytes, nonce: int) -> None:
        """The nonce of an account."""
        self._put(("nonce", address), nonce)

    def increment_nonce(self, address: bytes) -> None:
        """One more."""
        self.set_nonce(address, self.get_nonce(address) + 1)

    def get_code(self, address: bytes) -> bytes:
        """Deployed code, perhaps with zeros behind it, which nothing runs."""
        return bytes(self._get(("code", address)))

    def set_code(self, address: bytes, code: bytes) -> None:
        """What a creation leaves."""
        self._put(("code", address), code)

    def get_code_hash(self, address: bytes) -> bytes:
        """Of an account with code, else that of none."""
        return keccak(self.get_code(address)) if self.get_code(address) else _EMPTY_HASH

    def delete_code(self, address: bytes) -> None:
        """No code any more."""
        self.set_code(address, b"")

    def delete_storage(self, address: bytes) -> None:
        """A new account has none."""

    def delete_account(self, address: bytes) -> None:
        """Only at the end of a transaction, which does not come."""

    def account_has_code_or_nonce(self, address: bytes) -> bool:
        """Whether something was created there."""
        return bool(self.get_code(address)) or self.get_nonce(address) != 0

    def account_is_empty(self, address: bytes) -> bool:
        """Whether there is nothing at an address."""
        return not self.account_has_code_or_nonce(address) and self.get_balance(address) == 0

    def account_exists(self, address: bytes) -> bool:
        """Whether there is something at an address."""
        return not self.account_is_empty(address)

    def touch_account(self, address: bytes) -> None:
        """Nothing is removed for being empty."""

    def is_address_warm(self, address: bytes) -> bool:
        """Always."""
        return True

    def mark_address_warm(self, address: bytes) -> None:
        """It is."""

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        """Always."""
        return True

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        """It is."""


class _Computation(PragueComputation):
    """Keeps the program counters of its code."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.code: Any = TracingCodeStream(bytes(self.code._raw_code_bytes))


class _State(PragueState):
    computation_class = _Computation


def rerun(
    chain: RevmChain,
    caller: str,
    to: str,
    data: bytes,
    value: int,
    gas: int,
    is_static: bool,
    is_creation: bool,
) -> tuple[bool, bytes, list[Frame]]:
    """Whether the call succeeds, its output, and all that ran. `to` is what a creation creates.

    The chain stays as it is.
    """
    before = chain.evm.snapshot()
    try:
        computation = _run(chain, caller, to, data, value, gas, is_static, is_creation)
    finally:
        chain.evm.revert(before)
    return not computation.is_error, bytes(computation.output), list(_frames(computation))


def _run(
    chain: RevmChain,
    caller: str,
    to: str,
    data: bytes,
    value: int,
    gas: int,
    is_static: bool,
    is_creation: bool,
) -> Any:
    context = ExecutionContext(
        coinbase=b"\0" * 20,  # type: ignore[arg-type]
        timestamp=chain.time,
        block_number=chain.block,  # type: ignore[arg-type]
        difficulty=0,
        mix_hash=b"\0" * 32,  # type: ignore[arg-type]
        gas_limit=BLOCK_GAS_LIMIT,
        prev_hashes=(),
        chain_id=1,
        base_fee_per_gas=0,
        excess_blob_gas=0,
    )
    state = _State(AtomicDB(), context, b"")  # type: ignore[arg-type]
    accounts = _Accounts(chain.evm)
    state._account_db = accounts  # type: ignore[assignment]
    sender, target = (bytes.fromhex(a.removeprefix("0x")) for a in (caller, to))
    spent = _BASE_GAS + 4 * data.count(0) + 16 * (len(data) - data.count(0))
    if is_creation:
        spent += _CREATION_GAS + _WORD_OF_CREATION_GAS * (len(data) + 31) // 32
    transaction = BaseTransactionContext(origin=sender, gas_price=0)  # type: ignore[arg-type]
    message = Message(
        gas=gas - spent,
        to=b"" if is_creation else target,  # type: ignore[arg-type]
        sender=sender,  # type: ignore[arg-type]
        value=value,
        data=b"" if is_creation else data,
        code=data if is_creation else accounts.get_code(target),
        create_address=target if is_creation else None,  # type: ignore[arg-type]
        is_static=is_static,
    )
    if is_creation:
        return _Computation.apply_create_message(state, message, transaction)
    return _Computation.apply_message(state, message, transaction)


def _frames(computation: Any) -> Iterator[Frame]:
    code = computation.code
    yield Frame(code._raw_code_bytes, computation.msg.is_create, tuple(code._trace))
    for child in computation.children:
        yield from _frames(child)
