"""What both backends share: the protocol of a chain, contracts bound to it, receipts and errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from eth_utils import keccak

from ballast.artifacts import Artifact, compile_contract
from ballast.chain.abi import (
    AbiError,
    Event,
    EventAbi,
    FunctionAbi,
    checksum,
    revert_reason,
    to_address,
    tuple_codec,
)

# The addresses that Anvil funds by default; RevmChain funds the same ones.
DEV_ACCOUNTS = tuple(
    checksum(a)
    for a in (
        "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
        "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65",
        "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
        "0x976ea74026e726554db657fa54763abd0c3a0aa9",
        "0x14dc79964da2c08b23698b3d3cc7ca32193d9955",
        "0x23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f",
        "0xa0ee7a142d267c1f36714e4a8f75612f20a79720",
    )
)
START_BALANCE_WEI = 10_000 * 10**18
BLOCK_INTERVAL_S = 12


class ChainError(Exception):
    """The backend refused or failed; not a revert of a contract."""


class Reverted(Exception):
    """A call or transaction reverted.

    `reason` is the exact string of the contract, `""` when it gave none. `data` is the raw revert
    data. `halt` names an exceptional stop (`"out of gas"`, `"invalid opcode"`, else the backend's
    word) and is `""` after an ordinary revert.
    """

    def __init__(self, data: bytes = b"", gas_used: int = 0, halt: str = "") -> None:
        self.data = data
        self.reason = revert_reason(data)
        self.gas_used = gas_used
        self.halt = halt_name(halt)
        super().__init__(self.reason or self.halt or (f"0x{data.hex()}" if data else "no reason"))


KNOWN_HALTS = ("out of gas", "invalid opcode")


def halt_name(text: str) -> str:
    """One name for what the backends call differently; `""` for an ordinary revert."""
    squeezed = text.lower().replace(" ", "")
    if "outofgas" in squeezed:
        return KNOWN_HALTS[0]
    if "invalidfeopcode" in squeezed or "invalidopcode" in squeezed:
        return KNOWN_HALTS[1]
    return "" if "revert" in squeezed else text


class Log(NamedTuple):
    """A raw log entry."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    log_index: int
    tx_hash: str | None


class Receipt:
    """A mined transaction. Sent inside `RpcChain.one_block()`, filled when the block closes."""

    __slots__ = (
        "_logs",
        "_logs_of",
        "_output",
        "_result",
        "_time_of",
        "block",
        "contract_address",
        "gas_used",
        "tx_hash",
    )

    def __init__(self) -> None:
        self.gas_used = 0  # intrinsic cost included; see RevmChain about warm slots
        self.block = 0
        self.tx_hash: str | None = None
        self.contract_address: str | None = None
        self._time_of: Callable[[], int] | None = None
        self._logs: list[Log] | None = None
        self._logs_of: Callable[[], list[Log]] | None = None
        self._output: Callable[[], bytes] | None = None
        self._result: Callable[[bytes], Any] | None = None

    @property
    def time(self) -> int:
        """Timestamp of the block, seconds; on RpcChain asked for each time."""
        return self._time_of() if self._time_of else 0

    @property
    def logs(self) -> list[Log]:
        """Raw logs in the order they were written."""
        if self._logs is None:
            self._logs = self._logs_of() if self._logs_of else []
        return self._logs

    @property
    def output(self) -> bytes:
        """Raw return data; on RpcChain it is fetched by a trace (slow)."""
        return self._output() if self._output else b""

    @property
    def return_value(self) -> Any:
        """Decoded return value; on RpcChain it is fetched by a trace (slow)."""
        return self._result(self.output) if self._result else None

    def __repr__(self) -> str:
        return f"Receipt(block={self.block}, gas_used={self.gas_used})"


class _Abi:
    """An artifact's functions by name and events by topic, built once per artifact."""

    def __init__(self, artifact: Artifact) -> None:
        self.functions: dict[str, list[FunctionAbi]] = {}
        self.events: dict[bytes, EventAbi] = {}
        constructor: list[dict[str, Any]] = []
        for entry in artifact.abi:
            if entry["type"] == "function":
                self.functions.setdefault(entry["name"], []).append(FunctionAbi(entry))
            elif entry["type"] == "event" and not entry.get("anonymous"):
                event = EventAbi(entry)
                self.events[event.topic] = event
            elif entry["type"] == "constructor":
                constructor = entry["inputs"]
        self.constructor = tuple_codec(constructor)


_ABIS: dict[int, tuple[Artifact, _Abi]] = {}


def _abi_of(artifact: Artifact) -> _Abi:
    # Keyed by identity, which is cheap; the artifact is kept alive beside it.
    known = _ABIS.get(id(artifact))
    if known is None:
        known = _ABIS[id(artifact)] = (artifact, _Abi(artifact))
    return known[1]


def _constructor_data(artifact: Artifact, args: Sequence[Any]) -> bytes:
    try:
        return _abi_of(artifact).constructor.encode(args)
    except AbiError as error:
        raise AbiError(f"constructor of {artifact.name}: {error}") from error


class Function:
    """A contract's function: `f.call(...)`, `f.transact(..., sender=...)`, `f.encode(...)`.

    Called directly, a view is called and anything else is sent. Overloads (Vyper's default
    arguments) are chosen by the number of arguments.
    """

    __slots__ = ("_by_arity", "_overloads", "chain", "contract")

    def __init__(self, contract: Contract, overloads: list[FunctionAbi]) -> None:
        self.contract = contract
        self.chain = contract.chain
        self._overloads = overloads
        self._by_arity = {f.arity: f for f in overloads}

    def abi(self, args: Sequence[Any]) -> FunctionAbi:
        """The overload that takes these arguments."""
        try:
            return self._by_arity[len(args)]
        except KeyError:
            known = " or ".join(f.signature for f in self._overloads)
            raise AbiError(f"{known} called with {len(args)} arguments") from None

    def encode(self, *args: Any) -> bytes:
        """Call data."""
        return self.abi(args).encode(args)

    def decode(self, data: bytes, arity: int | None = None) -> Any:
        """Decode return data (of the overload with `arity` arguments)."""
        chosen = self._overloads[0] if arity is None else self._by_arity[arity]
        return chosen.decode(data)

    def call(self, *args: Any, sender: Any = None, value: int = 0, gas: int | None = None) -> Any:
        """Run, change nothing, return the decoded result. Raises Reverted."""
        abi = self.abi(args)
        output = self.chain.call_raw(
            self.contract.address,
            abi.encode(args),
            sender,
            value=value,
            gas=gas,
            is_view=abi.is_view,
        )
        return abi.decode(output)

    def transact(self, *args: Any, sender: Any, value: int = 0, gas: int | None = None) -> Receipt:
        """Send a transaction and return its receipt. Raises Reverted."""
        abi = self.abi(args)
        receipt = self.chain.send_raw(
            self.contract.address, abi.encode(args), sender, value=value, gas=gas
        )
        receipt._result = abi.decode
        return receipt

    def __call__(
        self, *args: Any, sender: Any = None, value: int = 0, gas: int | None = None
    ) -> Any:
        if self.abi(args).is_view:
            return self.call(*args, sender=sender, value=value, gas=gas)
        if sender is None:
            raise TypeError(f"{self._overloads[0].signature} needs sender=")
        return self.transact(*args, sender=sender, value=value, gas=gas)

    def __repr__(self) -> str:
        return f"<{self.contract.name}.{self._overloads[0].signature}>"


class Contract:
    """An artifact at an address; its functions are attributes."""

    def __init__(self, chain: Chain, address: Any, artifact: Artifact | str) -> None:
        self.chain = chain
        self.address = to_address(address)
        self.artifact = compile_contract(artifact) if isinstance(artifact, str) else artifact
        self.receipt: Receipt | None = None  # of the deployment, when this session made it
        self._abi = _abi_of(self.artifact)

    @property
    def name(self) -> str:
        """The contract's name."""
        return self.artifact.name

    def function(self, name: str) -> Function:
        """The function called `name`. Raises AttributeError."""
        overloads = self._abi.functions.get(name)
        if overloads is None:
            raise AttributeError(f"{self.name} has no function {name}")
        return Function(self, overloads)

    def __getattr__(self, name: str) -> Function:
        if name.startswith("__") or name in ("_abi", "artifact"):
            raise AttributeError(name)
        function = self.function(name)
        self.__dict__[name] = function  # the next look-up does not come here
        return function

    def events(self, source: Receipt | Sequence[Log], name: str | None = None) -> list[Event]:
        """Decoded events of this contract in a receipt or list of logs, of one `name` or all."""
        logs = source.logs if isinstance(source, Receipt) else source
        return list(self._decoded(logs, name))

    def _decoded(self, logs: Sequence[Log], name: str | None) -> Iterator[Event]:
        for log in logs:
            if log.address != self.address or not log.topics:
                continue
            abi = self._abi.events.get(log.topics[0])
            if abi is not None and name in (None, abi.name):
                args = abi.decode(log.topics, log.data)
                yield Event(abi.name, args, log.address, log.block, log.log_index, log.tx_hash)

    def encode_constructor(self, *args: Any) -> bytes:
        """Constructor arguments as they follow the creation code. Raises AbiError."""
        return _constructor_data(self.artifact, args)

    def topic(self, event: str) -> bytes:
        """First topic of the event called `event`. Raises AttributeError."""
        for topic, abi in self._abi.events.items():
            if abi.name == event:
                return topic
        raise AttributeError(f"{self.name} has no event {event}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contract) and (self.address, self.chain) == (
            other.address,
            other.chain,
        )

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"<{self.name} at {self.address}>"


class Chain(ABC):
    """A blockchain under control; the package documentation has its rules of time and blocks."""

    accounts: tuple[str, ...] = DEV_ACCOUNTS  # funded with START_BALANCE_WEI
    counts_calls = True  # whether transactions that create nothing move a sender's nonce, too

    # ---- contracts

    def deploy(
        self,
        contract: Artifact | str,
        *args: Any,
        sender: Any,
        value: int = 0,
        gas: int | None = None,
    ) -> Contract:
        """Create a contract, named or given as an artifact, and bind it. Raises Reverted."""
        artifact = compile_contract(contract) if isinstance(contract, str) else contract
        arguments = _constructor_data(artifact, args)
        receipt = self.send_raw(None, artifact.bytecode + arguments, sender, value=value, gas=gas)
        deployed = Contract(self, receipt.contract_address, artifact)
        deployed.receipt = receipt
        return deployed

    def at(self, address: Any, contract: Artifact | str) -> Contract:
        """Bind an existing contract."""
        return Contract(self, address, contract)

    def next_address(self, sender: Any, skip: int = 0) -> str:
        """Where `sender`'s next deployment will stand, or a later one after `skip` others.

        On RpcChain ordinary transactions of the same sender move it as well, on RevmChain they do
        not: predict immediately before a run of deployments and nothing else.
        """
        return create_address(to_address(sender), self.nonce(sender) + skip)

    def code_size(self, address: Any) -> int:
        """Bytes of deployed code, immutables included (what EIP-170 limits)."""
        return len(self.code(address))

    def events(
        self,
        contract: Contract,
        name: str | None = None,
        from_block: int = 0,
        to_block: int | None = None,
    ) -> list[Event]:
        """Decoded events of a contract over a range of blocks, both ends included."""
        topics = [contract.topic(name)] if name is not None else []
        return contract.events(self.logs(contract.address, from_block, to_block, topics=topics))

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Undo on leaving everything that happened inside."""
        mark = self.snapshot()
        try:
            yield
        finally:
            self.revert(mark)

    # ---- what a backend provides

    @abstractmethod
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
        """Run without changing state; return the raw output. Raises Reverted."""

    @abstractmethod
    def send_raw(
        self, to: Any | None, data: bytes, sender: Any, *, value: int = 0, gas: int | None = None
    ) -> Receipt:
        """Send a transaction (`to=None` creates a contract). Raises Reverted."""

    @property
    @abstractmethod
    def block(self) -> int:
        """Number of the newest block."""

    @property
    @abstractmethod
    def time(self) -> int:
        """Timestamp of the newest block, seconds; what a call sees as `block.timestamp`."""

    @abstractmethod
    def set_time(self, timestamp: int) -> None:
        """Open an empty block at `timestamp`. Raises ChainError when the newest block is later."""

    @abstractmethod
    def mine(self, blocks: int = 1, interval_s: int = BLOCK_INTERVAL_S) -> None:
        """Open empty blocks, each `interval_s` after the one before."""

    def advance(self, seconds: int) -> None:
        """One empty block, `seconds` later."""
        self.set_time(self.time + seconds)

    @abstractmethod
    def one_block(self) -> AbstractContextManager[None]:
        """Transactions sent inside share one block."""

    @abstractmethod
    def snapshot(self) -> Any:
        """Mark the present state for `revert`."""

    @abstractmethod
    def revert(self, mark: Any) -> None:
        """Go back to a mark, which is used up, and so are all later marks."""

    @abstractmethod
    def nonce(self, account: Any) -> int:
        """The account's nonce."""

    @abstractmethod
    def balance(self, account: Any) -> int:
        """Ether balance in wei."""

    @abstractmethod
    def set_balance(self, account: Any, wei: int) -> None:
        """Set an ether balance."""

    @abstractmethod
    def code(self, address: Any) -> bytes:
        """Deployed code."""

    @abstractmethod
    def set_code(self, address: Any, code: bytes) -> None:
        """Place runtime code at an address; its storage stays as it is."""

    @abstractmethod
    def storage(self, address: Any, slot: int) -> int:
        """A storage word."""

    @abstractmethod
    def logs(
        self,
        address: Any = None,
        from_block: int = 0,
        to_block: int | None = None,
        topics: Sequence[bytes] = (),
    ) -> list[Log]:
        """Raw logs over a range of blocks, both ends included; `topics` are the leading ones."""


@lru_cache(maxsize=1 << 12)
def create_address(sender: str, nonce: int) -> str:
    """Where `sender` creates a contract at `nonce`: end of keccak(rlp([sender, nonce]))."""
    raw = bytes.fromhex(sender.removeprefix("0x"))
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    encoded = (
        number if len(number) == 1 and number[0] < 0x80 else bytes([0x80 + len(number)]) + number
    )
    body = b"\x94" + raw + encoded
    return checksum("0x" + bytes(keccak(bytes([0xC0 + len(body)]) + body))[12:].hex())


def named_address(name: str) -> str:
    """The address of somebody called ``name``: where no key is needed, nobody else has it."""
    return checksum("0x" + bytes(keccak(text=f"ballast {name}"))[12:].hex())
