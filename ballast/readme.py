"""The generated tables of the README: each stands between `<!-- name -->` and `<!-- /name -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"

# What each deployed contract is for, and the tests whose file names begin so.
_CONTRACTS = {
    "Clearinghouse": ("the ledger of every account and its margin test", "clearinghouse"),
    "Perps": ("what a trade costs, how large it may be, how funding runs", "perps"),
    "Mandates": ("who may act; a hook's one call and the tests after it", "mandates operators"),
    "Rebalancer": ("the default hook: policy and execution", "rebalancer"),
    "Planner": ("its plan: the cheapest path to the target", "rebalancer"),
    "Allocator": ("its plan for how an account is made up", "allocator mandates_allocation"),
    "Mixer": ("the part of that plan for weights and the ceiling", "allocator"),
    "Liquidator": ("rescue first, the smallest slice, insurance", "liquidator"),
    "Insurance": ("owner of the insurance fund", "liquidator_insurance"),
    "TokenLiquidator": ("the same for callers without an account", "token_liquidator"),
    "Deleverager": ("closes winners while the house is short", "deleverager"),
    "RiskOracle": ("prices, volatility and margin rates", "risk_oracle"),
    "LendingVault": ("ERC-4626 of the quote token, lends to accounts", "lending_vault erc4626"),
    "LiquidityVault": ("ERC-7540 shares of the house, the traders' other side", "liquidity_vault"),
    "Exchange": ("what a swap must bring, through which adapters", "clearinghouse_swap"),
    "Governance": ("owner of every room: who may change what, and how fast", "governance"),
    "Timelock": ("where decisions wait in public", "governance"),
    "Listings": ("what may be held and swapped, checked", "listings"),
    "Keepers": ("where keepers and price updates enter", "keepers"),
    "Lens": ("batch views for keepers and pages", "lens"),
    "VaultFeed": ("the price of vault shares, its growth bounded", "vault_feed"),
    "ERC4626Adapter": ("vault shares into the vault's asset and back", "vault_adapter"),
    "UniswapV3Adapter": ("one swap venue behind one verb", "uniswap_adapter"),
}


def table_in(text: str, name: str) -> str | None:
    """What stands between the markers of that name, or None without them."""
    found = re.search(f"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    return found.group(1).strip() if found else None


def with_table(text: str, name: str, table: str) -> str:
    """The text with the table between its markers. Raises ValueError without them."""
    if table_in(text, name) is None:
        raise ValueError(f"no <!-- {name} --> ... <!-- /{name} --> in the README")
    head, rest = text.split(f"<!-- {name} -->", 1)
    tail = rest.split(f"<!-- /{name} -->", 1)[1]
    return f"{head}<!-- {name} -->\n{table}\n<!-- /{name} -->{tail}"


def contracts_table(deployed_bytes: Mapping[str, int]) -> str:
    """Every deployed contract: purpose, lines of source, bytes on chain, test functions."""
    lines = ["| contract | in a sentence | lines | bytes | tests |", "|---|---|---:|---:|---:|"]
    for name, (sentence, stems) in _CONTRACTS.items():
        (source,) = ROOT.glob(f"contracts/**/{name}.vy")
        length = len(source.read_text().splitlines())
        link = f"[`{name}`]({source.relative_to(ROOT)})"
        size = f"{deployed_bytes[name]:,}"
        lines.append(f"| {link} | {sentence} | {length} | {size} | {_count_tests(stems)} |")
    return "\n".join(lines)


def _count_tests(stems: str) -> int:
    """Test functions in unit test files whose names begin with one of the stems."""
    files = {f for stem in stems.split() for f in ROOT.glob(f"tests/unit/test_{stem}*.py")}
    return sum(len(re.findall(r"^def test_", f.read_text(), re.MULTILINE)) for f in files)
