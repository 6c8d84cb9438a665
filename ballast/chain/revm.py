"""RevmChain: the EVM inside this process, for unit tests, fuzzing and gas measurements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyrevm

from ballast.chain.abi import to_address
from ballast.chain.base import (
    BLOCK_INTERVAL_S,
    DEV_ACCOUNTS,
    START_BALANCE_WEI,
    Chain,
    ChainError,
    Log,
    Receipt,
    Reverted,
)

START_TIME_S = 1_700_000_000
BLOCK_GAS_LIMIT = 1_000_000_000
TX_GAS = 30_000_000

_ACCOUNT = re.compile(r"(0x[0-9a-f]{40}): Account \{.*?storage: \{(.*?)\}, status", re.DOTALL)
_SLOT = re.compile(r"(\w+): StorageSlot")
_ANALYSED = re.compile(r"Analysed \{ len: (\d+)")
_REVERT = re.compile(r"^Revert \{ gas_used: (\d+), output: 0x([0-9a-f]*) \}$")
_HALT = re.compile(r"^Halt \{ reason: (.*), gas_used: (\d+) \}$", re.DOTALL)


class _Account(NamedTuple):
    info: Any
    slots: dict[int, int]


class _Mark(NamedTuple):
    evm: Any  # a mark is good only for the EVM it was made on
    checkpoint: Any
    state: (
        dict[str, _Account] | None
    )  # of a cold chain, which starts a new EVM for each transaction
    block: int
    time: int
    receipts: int


class RevmChain(Chain):
    """An in-process chain.

    pyrevm never ends a transaction: accounts and slots once touched stay warm and keep their first
    "original value", so `gas_used` is below what a real chain charges. With `is_cold=True` every
    transaction starts cold and its gas equals a real chain's, at tens of milliseconds each;
    `cool()` does the same once.
    """

    counts_calls = False

    def __init__(
        self,
        *,
        is_cold: bool = False,
        time: int = START_TIME_S,
        block: int = 0,
        block_interval_s: int = 0,
        spec: str = "PRAGUE",
        tx_gas: int = TX_GAS,
    ) -> None:
        self.is_cold = is_cold
        self.block_interval_s = block_interval_s
        self.tx_gas = tx_gas
        self._spec = spec
        self._block = block
        self._time = time
        self._is_shared_block = False
        self._receipts: list[Receipt] = []  # those that carry logs, for `logs`
        self._base: dict[str, _Account] = {}
        self.evm = self._new_evm()
        for account in DEV_ACCOUNTS:
            self.evm.set_balance(account, START_BALANCE_WEI)

    def _new_evm(self) -> Any:
        evm = pyrevm.EVM(gas_limit=BLOCK_GAS_LIMIT, spec_id=self._spec)
        evm.set_block_env(self._block_env())
        return evm

    def _block_env(self) -> Any:
        return pyrevm.BlockEnv(number=self._block, timestamp=self._time, gas_limit=BLOCK_GAS_LIMIT)

    def _open(self) -> None:
        self.evm.set_block_env(self._block_env())

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
        caller = DEV_ACCOUNTS[0] if sender is None else to_address(sender)
        if is_view:
            return self._run(caller, to_address(to), data, value, gas, True)
        checkpoint = self.evm.snapshot()
        try:
            return self._run(caller, to_address(to), data, value, gas, False)
        finally:
            self.evm.revert(checkpoint)

    def send_raw(
        self, to: Any | None, data: bytes, sender: Any, *, value: int = 0, gas: int | None = None
    ) -> Receipt:
        if self.is_cold:
            self.cool()
        if not self._is_shared_block:
            self._next_block(self._time + self.block_interval_s)
        caller = to_address(sender)
        receipt = Receipt()
        receipt.block = self._block
        timestamp = self._time
        receipt._time_of = lambda: timestamp
        if to is None:
            receipt.contract_address = to_address(self._create(caller, data, value, gas))
            output = b""
        else:
            output = self._run(caller, to_address(to), data, value, gas, False)
        receipt._output = lambda: output
        result = self.evm.result
        receipt.gas_used = result.gas_used
        raw = result.logs
        if raw:
            receipt._logs_of = lambda: [
                Log(
                    to_address(entry.address),
                    tuple(bytes.fromhex(t.removeprefix("0x")) for t in entry.topics),
                    _log_data(entry),
                    receipt.block,
                    index,
                    None,
                )
                for index, entry in enumerate(raw)
            ]
            self._receipts.append(receipt)
        return receipt

    def _run(
        self, caller: str, to: str, data: bytes, value: int, gas: int | None, is_static: bool
    ) -> bytes:
        try:
            output: bytes = self.evm.message_call(
                caller, to, data, value=value, gas=gas or self.tx_gas, is_static=is_static
            )
        except RuntimeError as error:
            raise _failure(error) from None
        finally:
            # pyrevm keeps transient storage between messages; a chain clears it after each
            # transaction.
            self.evm.reset_transient_storage()
        return output

    def _create(self, caller: str, code: bytes, value: int, gas: int | None) -> str:
        try:
            address: str = self.evm.deploy(caller, code, value=value, gas=gas or self.tx_gas)
        except RuntimeError as error:
            raise _failure(error) from None
        finally:
            self.evm.reset_transient_storage()
        return address

    def cool(self) -> None:
        """Make every account and slot cold, as between transactions of a real chain.

        Voids the marks of a warm chain.
        """
        self._restore(self._state())

    def _state(self) -> dict[str, _Account]:
        # The journal knows what this EVM touched; the rest is as the EVM was given it.
        state = dict(self._base)
        for address, slots in _ACCOUNT.findall(self.evm.journal_str):
            keys = [int(key, 0) for key in _SLOT.findall(slots)]
            info = self.evm.basic(address)
            kept = _account_info(balance=info.balance, nonce=info.nonce, code=self.code(address))
            words = {key: self.evm.storage(address, key) for key in keys}
            before = self._base[address].slots if address in self._base else {}
            state[address] = _Account(kept, {**before, **words})
        return state

    def _restore(self, state: dict[str, _Account]) -> None:
        self._base = state
        self.evm = self._new_evm()
        for address, account in state.items():
            self.evm.insert_account_info(address, account.info)
            for slot, value in account.slots.items():
                # Only the first word of an account goes where it is cold; it also loads the
                # account, and what follows would be a warm write. So each time that is undone.
                before = self.evm.snapshot()
                self.evm.insert_account_storage(address, slot, value)
                self.evm.revert(before)

    # ---- blocks and time

    def _next_block(self, timestamp: int) -> None:
        self._block += 1
        self._time = timestamp
        self._open()

    @property
    def block(self) -> int:
        return self._block

    @property
    def time(self) -> int:
        return self._time

    def set_time(self, timestamp: int) -> None:
        if timestamp < self._time:
            raise ChainError(f"time cannot go back from {self._time} to {timestamp}")
        self._next_block(timestamp)

    def mine(self, blocks: int = 1, interval_s: int = BLOCK_INTERVAL_S) -> None:
        self._block += blocks
        self._time += blocks * interval_s
        self._open()

    @contextmanager
    def one_block(self) -> Iterator[None]:
        self._next_block(self._time + self.block_interval_s)
        self._is_shared_block = True
        try:
            yield
        finally:
            self._is_shared_block = False

    # ---- state

    def snapshot(self) -> Any:
        place = (self._block, self._time, len(self._receipts))
        if self.is_cold:
            return _Mark(None, None, self._state(), *place)
        return _Mark(self.evm, self.evm.snapshot(), None, *place)

    def revert(self, mark: Any) -> None:
        self._block, self._time = mark.block, mark.time
        del self._receipts[mark.receipts :]
        if mark.state is not None:
            self._restore(mark.state)
            return
        if mark.evm is not self.evm:
            raise ChainError("the mark is older than a cool()")
        try:
            self.evm.revert(mark.checkpoint)
        except OverflowError:
            raise ChainError("the mark was used before") from None
        self._open()

    def nonce(self, account: Any) -> int:
        return int(self.evm.basic(to_address(account)).nonce)

    def balance(self, account: Any) -> int:
        return int(self.evm.get_balance(to_address(account)))

    def set_balance(self, account: Any, wei: int) -> None:
        self.evm.set_balance(to_address(account), wei)

    def code(self, address: Any) -> bytes:
        info = self.evm.basic(to_address(address))
        code = bytes(info.code or b"")
        # Code that has run is padded for its analysis; the true length is told in the text form
        # only.
        analysed = _ANALYSED.search(str(info))
        return code[: int(analysed[1])] if analysed else code

    def set_code(self, address: Any, code: bytes) -> None:
        # The journal hides what is put below it, so the EVM starts anew.
        target = to_address(address)
        state = self._state()
        old = state.get(target.lower(), _Account(_account_info(nonce=1), {}))
        info = _account_info(balance=old.info.balance, nonce=old.info.nonce, code=code)
        self._restore({**state, target.lower(): _Account(info, old.slots)})

    def storage(self, address: Any, slot: int) -> int:
        return int(self.evm.storage(to_address(address), slot))

    def logs(
        self,
        address: Any = None,
        from_block: int = 0,
        to_block: int | None = None,
        topics: Sequence[bytes] = (),
    ) -> list[Log]:
        wanted = None if address is None else to_address(address)
        last = self._block if to_block is None else to_block
        prefix = tuple(topics)
        return [
            log
            for receipt in self._receipts
            if from_block <= receipt.block <= last
            for log in receipt.logs
            if (wanted is None or log.address == wanted) and log.topics[: len(prefix)] == prefix
        ]


def _account_info(*, balance: int = 0, nonce: int = 0, code: bytes = b"") -> Any:
    kind: Any = pyrevm.AccountInfo  # its published types are older than itself
    return kind(balance=balance, nonce=nonce, code=code)


def _log_data(entry: Any) -> bytes:
    return entry.data if isinstance(entry.data, bytes) else bytes(entry.data[1])


def _failure(error: RuntimeError) -> Exception:
    """pyrevm tells the outcome only in the text of its exception."""
    text = str(error)
    reverted = _REVERT.match(text)
    if reverted:
        return Reverted(bytes.fromhex(reverted[2]), int(reverted[1]))
    halted = _HALT.match(text)
    if halted:
        return Reverted(gas_used=int(halted[2]), halt=halted[1])
    return ChainError(text)
