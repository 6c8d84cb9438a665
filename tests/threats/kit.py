"""What the threat tests share: every entry of a contract as a call, and who holds how much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ballast.chain import Contract
from ballast.deploy import WAD, Market, load_parameters
from ballast.deploy import _list as list_asset
from tests.support.world import QUOTE, ZERO_ADDRESS, World


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


def entries(contract: Contract, *, is_view: bool) -> list[tuple[str, bytes]]:
    """Name and data of a call without meaning of every view, or of everything else."""
    chosen = []
    for entry in contract.artifact.abi:
        if entry["type"] != "function":
            continue
        if (entry["stateMutability"] in ("view", "pure")) == is_view:
            arguments = free_of_charge(entry)
            name = str(entry["name"])
            chosen.append((name, contract.function(name).encode(*arguments)))
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


EXTRA_ID = 200
EXTRA_PRICE = 100  # quote tokens


def list_token(world: World, token: Contract, asset: int = EXTRA_ID) -> Contract:
    """Lists a token at 100 quote tokens under ETH's terms, without a perpetual; returns its feed."""
    terms = load_parameters()["assets"]["ETH"]
    del terms["perpetual"]
    feed = world.chain.deploy("MockFeed", 8, "extra / USD", sender=world.governor)
    feed.set_answer(EXTRA_PRICE * 10**8, sender=world.governor)
    world.chain.mine()
    system = replace(world.system, assets={**world.system.assets, "extra": asset})
    market = Market(token, feed, EXTRA_PRICE * WAD)
    list_asset(system, terms | {"id": asset, "band_low_log2": 10, "band_high_log2": 93}, market)
    world.chain.mine()
    return feed
