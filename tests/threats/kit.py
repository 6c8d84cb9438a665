"""What the threat tests share: every entry of a contract as a call, and who holds how much."""

from __future__ import annotations

from typing import Any

from ballast.chain import Contract, Reverted
from ballast.deploy import WAD
from tests.support.world import QUOTE, ZERO_ADDRESS, World

Call = tuple[Contract, bytes]


def reason_of(answer: bytes) -> str:
    """The reason in captured revert data."""
    return Reverted(answer).reason


def free_of_charge(entry: dict[str, Any]) -> list[Any]:
    """Arguments of the right shape and no meaning for an ABI entry."""
    return [_nothing(argument) for argument in entry["inputs"]]


def _nothing(argument: dict[str, Any]) -> Any:
    kind = argument["type"]
    if kind.endswith("[]"):
        return []
    if kind.startswith("tuple"):
        return tuple(_nothing(part) for part in argument["components"])
    if kind == "address":
        return ZERO_ADDRESS
    if kind == "bool":
        return False
    if kind.startswith("bytes"):
        return b""
    return "" if kind == "string" else 0


def entries(contract: Contract, *, is_view: bool) -> list[Call]:
    """Every view, or everything else, that a contract can be asked, as calls without meaning."""
    chosen = []
    for entry in contract.artifact.abi:
        if entry["type"] != "function":
            continue
        if (entry["stateMutability"] in ("view", "pure")) == is_view:
            arguments = free_of_charge(entry)
            chosen.append((contract, contract.function(entry["name"]).encode(*arguments)))
    return chosen


def equity(world: World, account: int) -> int:
    """Value of everything an account has less what it owes, WAD, at present prices."""
    return int(world.clearinghouse.assess(account)[2])


def wealth(world: World, who: str) -> int:
    """Value of the tokens in a wallet or contract, WAD."""
    total = int(world.quote.balanceOf(who)) * world.unit_wad(QUOTE)
    for name in world.names:
        units = int(world.tokens[name].balanceOf(who))
        total += units * world.unit_wad(name) * world.price_wad(name) // WAD
    return total


def lenders_claim(world: World) -> int:
    """What the vault owes its lenders, token units."""
    return int(world.system.vault.totalAssets())
