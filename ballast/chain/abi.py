"""A small contract-ABI codec: encode arguments, decode results, events and revert reasons.

Each ABI type is compiled once into a pair of closures, so that a call with ten words costs
microseconds; the tests compare it with eth-abi. Values: integers as int, addresses as checksummed
strings, `bytesN` and `bytes` as bytes, tuples as namedtuples with the names of the ABI, arrays as
lists.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from eth_utils import keccak, to_checksum_address

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes, int], Any]

ERROR_SELECTOR = bytes.fromhex("08c379a0")  # Error(string)
PANIC_SELECTOR = bytes.fromhex("4e487b71")  # Panic(uint256)

_ARRAY = re.compile(r"^(.*)\[(\d*)\]$")


class AbiError(ValueError):
    """A value does not fit its ABI type, or returned data does not decode."""


class Codec(NamedTuple):
    """How one ABI type is written and read. `head`: its bytes inside a tuple, 32 when dynamic."""

    type: str
    is_dynamic: bool
    head: int
    encode: Encode
    decode: Decode


@lru_cache(maxsize=1 << 16)
def checksum(address: str) -> str:
    """The checksummed form of a hexadecimal address."""
    return str(to_checksum_address(address))


def to_address(value: Any) -> str:
    """Checksummed address of a string, 20 bytes, an integer or anything with an `address`."""
    if isinstance(value, str):
        return checksum(value)
    if isinstance(value, bytes) and len(value) == 20:
        return _address_of(value)
    if isinstance(value, int):
        return _address_of(value.to_bytes(20, "big"))
    address = getattr(value, "address", None)
    if address is None:
        raise AbiError(f"not an address: {value!r}")
    return checksum(address)


@lru_cache(maxsize=1 << 16)
def _address_of(raw: bytes) -> str:
    return checksum("0x" + raw.hex())


@lru_cache(maxsize=1 << 16)
def _address_bytes(address: str) -> bytes:
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20:
        raise AbiError(f"not an address: {address!r}")
    return bytes(12) + raw


def selector(signature: str) -> bytes:
    """First four bytes of the hash of a signature such as `transfer(address,uint256)`."""
    return bytes(keccak(text=signature)[:4])


def canonical_type(parameter: Mapping[str, Any]) -> str:
    """Type as it stands in a signature: tuples are spelled out."""
    kind = parameter["type"]
    if kind.startswith("tuple"):
        inner = ",".join(canonical_type(c) for c in parameter["components"])
        return f"({inner}){kind[5:]}"
    return str(kind)


def signature(entry: Mapping[str, Any]) -> str:
    """Signature of a function, event or error of an ABI."""
    return f"{entry['name']}({','.join(canonical_type(i) for i in entry['inputs'])})"


# ---------------------------------------------------------------- types


def codec(parameter: Mapping[str, Any], struct_name: str = "Result") -> Codec:
    """The codec of one ABI parameter (`{"type": ..., "components": [...]}`)."""
    kind = str(parameter["type"])
    array = _ARRAY.match(kind)
    if array:
        element = codec({**parameter, "type": array[1]}, struct_name)
        return _array(element, int(array[2]) if array[2] else None)
    if kind == "tuple":
        return tuple_codec(parameter["components"], struct_name)
    return _elementary(kind)


def tuple_codec(parameters: Sequence[Mapping[str, Any]], struct_name: str = "Result") -> Codec:
    """The codec of a list of parameters: arguments, results, or the fields of a struct."""
    names = [str(p.get("name", "")) for p in parameters]
    parts = [codec(p, _camel(p.get("name", "")) or struct_name) for p in parameters]
    kind = "(" + ",".join(p.type for p in parts) + ")"
    total_head = sum(p.head for p in parts)
    is_dynamic = any(p.is_dynamic for p in parts)
    make: Callable[[Any], Any] = tuple
    if names and all(names):
        make = _named(struct_name, names)
    count = len(parts)
    encoders = [p.encode for p in parts]

    def ordered(value: Any) -> Sequence[Any]:
        if isinstance(value, Mapping):
            if set(value) != set(names):
                raise AbiError(f"{kind} takes the fields {names}, got {sorted(value)}")
            return [value[n] for n in names]
        if len(value) != count:
            raise AbiError(f"{kind} takes {count} values, got {len(value)}")
        return value

    if not is_dynamic:

        def encode(value: Any) -> bytes:
            return b"".join([e(v) for e, v in zip(encoders, ordered(value), strict=True)])

    else:

        def encode(value: Any) -> bytes:
            heads: list[bytes] = []
            tails: list[bytes] = []
            offset = total_head
            for part, item in zip(parts, ordered(value), strict=True):
                data = part.encode(item)
                if part.is_dynamic:
                    heads.append(offset.to_bytes(32, "big"))
                    tails.append(data)
                    offset += len(data)
                else:
                    heads.append(data)
            return b"".join(heads + tails)

    layout: list[tuple[int, bool, Decode]] = []
    position = 0
    for part in parts:
        layout.append((position, part.is_dynamic, part.decode))
        position += part.head

    if not is_dynamic:
        fields = [(at, read) for at, _, read in layout]

        def decode(data: bytes, at: int) -> Any:
            return make([read(data, at + offset) for offset, read in fields])

    else:

        def decode(data: bytes, at: int) -> Any:
            return make(
                [
                    read(data, at + _uint(data, at + offset) if indirect else at + offset)
                    for offset, indirect, read in layout
                ]
            )

    return Codec(kind, is_dynamic, 32 if is_dynamic else total_head, encode, decode)


def _array(element: Codec, length: int | None) -> Codec:
    kind = f"{element.type}[{'' if length is None else length}]"
    is_dynamic = length is None or element.is_dynamic
    stride = element.head

    def encode(values: Any) -> bytes:
        if length is not None and len(values) != length:
            raise AbiError(f"{kind} takes {length} values, got {len(values)}")
        prefix = len(values).to_bytes(32, "big") if length is None else b""
        items = [element.encode(v) for v in values]
        if not element.is_dynamic:
            return prefix + b"".join(items)
        offset = 32 * len(items)
        heads = []
        for item in items:
            heads.append(offset.to_bytes(32, "big"))
            offset += len(item)
        return prefix + b"".join(heads + items)

    def decode(data: bytes, at: int) -> list[Any]:
        count = length
        if count is None:
            count = _uint(data, at)
            at += 32
        if count * stride > len(data) - at:
            raise AbiError(f"{kind} claims {count} values, more than the data holds")
        if element.is_dynamic:
            return [element.decode(data, at + _uint(data, at + 32 * i)) for i in range(count)]
        return [element.decode(data, at + stride * i) for i in range(count)]

    head = 32 if is_dynamic else stride * (length or 0)
    return Codec(kind, is_dynamic, head, encode, decode)


@lru_cache(maxsize=1 << 16)
def _elementary(kind: str) -> Codec:
    if kind == "address":
        return Codec(kind, False, 32, _encode_address, lambda d, i: _address_of(d[i + 12 : i + 32]))
    if kind == "bool":
        return Codec(kind, False, 32, _encode_bool, lambda d, i: _uint(d, i) != 0)
    if kind.startswith("uint"):
        return _integer(kind, int(kind[4:] or 256), signed=False)
    if kind.startswith("int"):
        return _integer(kind, int(kind[3:] or 256), signed=True)
    if kind in ("bytes", "string"):
        return _byte_string(kind)
    if kind.startswith("bytes"):
        return _fixed_bytes(kind, int(kind[5:]))
    raise AbiError(f"unknown ABI type {kind!r}")


def _uint(data: bytes, at: int) -> int:
    word = data[at : at + 32]
    if len(word) != 32:
        raise AbiError(f"data of {len(data)} bytes ends inside the word at {at}")
    return int.from_bytes(word, "big")


def _encode_address(value: Any) -> bytes:
    return _address_bytes(value if isinstance(value, str) else to_address(value))


def _encode_bool(value: Any) -> bytes:
    if value not in (True, False):
        raise AbiError(f"not a bool: {value!r}")
    return bytes(31) + (b"\x01" if value else b"\x00")


def _integer(kind: str, bits: int, signed: bool) -> Codec:
    lowest = -(1 << (bits - 1)) if signed else 0
    highest = (1 << (bits - 1 if signed else bits)) - 1

    def encode(value: Any) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int):
            raise AbiError(f"{kind} takes an int, got {value!r}")
        if not lowest <= value <= highest:
            raise AbiError(f"{value} does not fit {kind}")
        return value.to_bytes(32, "big", signed=signed)

    def decode_signed(data: bytes, at: int) -> int:
        value = _uint(data, at)
        return value - (1 << 256) if value >> 255 else value

    return Codec(kind, False, 32, encode, decode_signed if signed else _uint)


def _fixed_bytes(kind: str, size: int) -> Codec:
    def encode(value: Any) -> bytes:
        raw = _raw_bytes(value)
        if len(raw) > size:
            raise AbiError(f"{kind} takes at most {size} bytes, got {len(raw)}")
        return raw.ljust(32, b"\x00")

    return Codec(kind, False, 32, encode, lambda d, i: d[i : i + size])


def _byte_string(kind: str) -> Codec:
    def encode(value: Any) -> bytes:
        raw = value.encode() if kind == "string" else _raw_bytes(value)
        return len(raw).to_bytes(32, "big") + raw + bytes(-len(raw) % 32)

    def decode(data: bytes, at: int) -> Any:
        size = _uint(data, at)
        raw = data[at + 32 : at + 32 + size]
        if len(raw) != size:
            raise AbiError(f"{kind} claims {size} bytes, more than the data holds")
        return raw.decode() if kind == "string" else raw

    return Codec(kind, True, 32, encode, decode)


def _raw_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    return bytes(value)


def _named(name: str, fields: list[str]) -> Any:
    """Maker of a namedtuple; a field name that Python cannot use becomes its position (`_0`)."""
    kind: Any = namedtuple(_camel(name), fields, rename=True)  # type: ignore[misc]
    return kind._make


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in str(name).split("_") if part)


# ---------------------------------------------------------------- functions and events


class FunctionAbi:
    """One function of an ABI, ready to encode its arguments and decode its results."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.name = str(entry["name"])
        self.signature = signature(entry)
        self.selector = selector(self.signature)
        self.is_view = entry.get("stateMutability") in ("view", "pure")
        self.arity = len(entry["inputs"])
        self._inputs = tuple_codec(entry["inputs"])
        outputs = entry.get("outputs", [])
        self._is_single = len(outputs) == 1
        self._outputs = tuple_codec(outputs, _camel(self.name))
        if self._is_single:
            # The single result is unwrapped, so name its struct after the function.
            single = [{**outputs[0], "name": ""}]
            self._outputs = tuple_codec(single, _camel(self.name))

    def encode(self, args: Sequence[Any]) -> bytes:
        """Call data. Raises AbiError when a value does not fit."""
        try:
            return self.selector + self._inputs.encode(args)
        except (AbiError, AttributeError, TypeError, OverflowError) as error:
            raise AbiError(f"{self.signature}: {error}") from error

    def decode(self, data: bytes) -> Any:
        """The result: None, the single value, or a (named) tuple. Raises AbiError on short data."""
        try:
            values = self._outputs.decode(data, 0)
        except (AbiError, UnicodeDecodeError) as error:
            raise AbiError(f"result of {self.signature}: {error}") from error
        if self._is_single:
            return values[0]
        return values or None


class Event(NamedTuple):
    """A decoded log entry."""

    name: str
    args: Any  # namedtuple with the names of the ABI, in its order
    address: str
    block: int
    log_index: (
        int  # position within its block's logs where the chain tells, else within its transaction
    )
    tx_hash: str | None  # None on RevmChain


class EventAbi:
    """One event of an ABI, ready to decode its logs."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.name = str(entry["name"])
        self.topic = bytes(keccak(text=signature(entry)))
        inputs = entry["inputs"]
        names = [str(i.get("name", "")) for i in inputs]
        self._make = _named(self.name, names)
        indexed = [i for i in inputs if i["indexed"]]
        plain = [i for i in inputs if not i["indexed"]]
        # An indexed value of dynamic type is only its hash.
        self._topics = [
            c if not c.is_dynamic else _elementary("bytes32") for c in map(codec, indexed)
        ]
        self._data = tuple_codec([{**i, "name": ""} for i in plain])
        order = [*(i for i, x in enumerate(inputs) if x["indexed"])]
        order += [i for i, x in enumerate(inputs) if not x["indexed"]]
        self._slot = [order.index(i) for i in range(len(inputs))]

    def decode(self, topics: Sequence[bytes], data: bytes) -> Any:
        """Arguments as a namedtuple in the order of the ABI."""
        values = [c.decode(t, 0) for c, t in zip(self._topics, topics[1:], strict=True)]
        values += self._data.decode(data, 0)
        return self._make([values[i] for i in self._slot])


def revert_reason(data: bytes) -> str:
    """The string of `Error(string)`, `"panic: 0x11"` for a Solidity panic, else `""`."""
    if data[:4] == ERROR_SELECTOR:
        try:
            return str(_elementary("string").decode(data[4:], _uint(data, 4)))
        except (AbiError, UnicodeDecodeError):
            return ""
    if data[:4] == PANIC_SELECTOR and len(data) >= 36:
        return f"panic: {_uint(data, 4):#x}"
    return ""
