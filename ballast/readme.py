"""The generated tables of the README: each stands between `<!-- name -->` and `<!-- /name -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"

# What each deployed contract is for.
_CONTRACTS = {
    "Clearinghouse": "the ledger of every account and its margin test",
    "Perps": "what a trade costs, how large it may be, how funding runs",
    "Mandates": "who may act; a hook's one call and the tests after it",
    "Rebalancer": "the default hook: policy and execution",
    "Planner": "its plan: the cheapest path to the target",
    "Allocator": "its plan for how an account is made up",
    "Mixer": "the part of that plan for weights and the ceiling",
    "Liquidator": "rescue first, the smallest slice, insurance",
    "Insurance": "owner of the insurance fund",
    "TokenLiquidator": "the same for callers without an account",
    "Deleverager": "closes winners of a short house, all where a market ends",
    "RiskOracle": "prices, volatility and margin rates",
    "LendingVault": "ERC-4626 of the quote token, lends to accounts",
    "LiquidityVault": "ERC-7540 shares of the house, the traders' other side",
    "Exchange": "what a swap must bring, through which adapters",
    "Governance": "owner of every room: who may change what, and how fast",
    "Timelock": "where decisions wait in public",
    "Listings": "what may be held and swapped, checked",
    "Keepers": "where keepers and price updates enter",
    "Lens": "batch views for keepers and pages",
    "VaultFeed": "the price of vault shares, its growth bounded",
    "ERC4626Adapter": "vault shares into the vault's asset and back",
    "UniswapV3Adapter": "one swap venue behind one verb",
}


def table_in(text: str, name: str) -> str | None:
    """What stands between the markers of that name, or None without them."""
    found = re.search(f"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    return found.group(1).strip() if found else None


def with_table(text: str, name: str, table: str) -> str:
    """The text with the table between its markers. Raises ValueError without them."""
    if table_in(text, name) is None:
        raise ValueError(f"no <!-- {name} --> ... <!-- /{name} --> on the page")
    head, rest = text.split(f"<!-- {name} -->", 1)
    tail = rest.split(f"<!-- /{name} -->", 1)[1]
    return f"{head}<!-- {name} -->\n{table}\n<!-- /{name} -->{tail}"


def contracts_table(deployed_bytes: Mapping[str, int]) -> str:
    """Every deployed contract: purpose, lines of source, bytes on chain."""
    lines = ["| contract | in a sentence | lines | bytes |", "|---|---|---:|---:|"]
    for name, sentence in _CONTRACTS.items():
        (source,) = ROOT.glob(f"contracts/**/{name}.vy")
        length = len(source.read_text().splitlines())
        link = f"[`{name}`]({source.relative_to(ROOT)})"
        lines.append(f"| {link} | {sentence} | {length} | {deployed_bytes[name]:,} |")
    return "\n".join(lines)
