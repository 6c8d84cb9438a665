"""Which tests see which contract, the fastest first."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from ballast.artifacts import ROOT

_IMPORT = re.compile(r"^from contracts\.modules import (\w+)", re.MULTILINE)

_UNIT, _MODEL, _THREAT = "tests/unit/test_", "tests/differential/test_", "tests/threats/test_"
_PAST, _WHOLE = "tests/regression/test_", "tests/integration/test_"
_LEDGER = tuple(
    f"{_UNIT}clearinghouse_{part}.py"
    for part in ("deposit", "withdraw", "repay", "transfer", "swap", "batch", "views", "events")
)
_PERPETUALS = tuple(
    f"{_UNIT}perps_{part}.py" for part in ("trade", "limits", "settle", "funding", "headroom")
)
_ALLOCATIONS = (
    *(f"{_UNIT}allocator.py", f"{_UNIT}allocator_limits.py"),
    f"{_MODEL}allocation_model.py",
    f"{_WHOLE}uniswap_allocation.py",
)
_PLANS = (f"{_MODEL}plan_model.py", f"{_UNIT}rebalancer.py", f"{_UNIT}rebalancer_perpetuals.py")

# Tests of each deployed contract.
TESTS: dict[str, tuple[str, ...]] = {
    "Allocator": _ALLOCATIONS,
    "Clearinghouse": (
        *_LEDGER,
        f"{_UNIT}call_state.py",
        f"{_UNIT}margin_edges.py",
        f"{_UNIT}operators.py",
        f"{_MODEL}account_model.py",
        f"{_MODEL}margin_model.py",
        *_PERPETUALS,
        f"{_MODEL}perps_chain.py",
        f"{_UNIT}mandates.py",
        f"{_UNIT}mandates_rebalance.py",
        f"{_UNIT}wind_down.py",
        f"{_UNIT}min_debt.py",
        f"{_UNIT}outflows.py",
        f"{_THREAT}accounts.py",
        f"{_THREAT}prices.py",
        f"{_THREAT}outflows.py",
        f"{_THREAT}known_limits.py",
        f"{_THREAT}liveness.py",
        f"{_THREAT}tokens.py",
    ),
    "Deleverager": (
        f"{_UNIT}deleverager.py",
        f"{_UNIT}wind_down.py",
        f"{_PAST}deleveraged_hook.py",
        f"{_PAST}ended_market.py",
    ),
    "ERC4626Adapter": (f"{_UNIT}vault_adapter.py", f"{_WHOLE}vault_collateral.py"),
    "Exchange": (
        f"{_UNIT}exchange.py",
        f"{_UNIT}clearinghouse_swap.py",
        f"{_UNIT}listings.py",
    ),
    "Governance": (
        f"{_UNIT}governance.py",
        f"{_THREAT}governance.py",
        f"{_UNIT}governance_timelock.py",
    ),
    "Insurance": (f"{_UNIT}liquidator_insurance.py",),
    "Keepers": (
        f"{_UNIT}keepers.py",
        f"{_UNIT}keepers_push.py",
        f"{_THREAT}keepers.py",
        f"{_THREAT}watches.py",
        f"{_PAST}watch_list_wiped.py",
    ),
    "LendingVault": (
        f"{_UNIT}lending_vault_loans.py",
        f"{_UNIT}lending_vault_interest.py",
        f"{_UNIT}lending_vault_losses.py",
        f"{_UNIT}lending_vault_parameters.py",
        f"{_UNIT}lending_vault_tokens.py",
        f"{_UNIT}erc4626_conformance.py",
        f"{_MODEL}vault_model.py",
        f"{_UNIT}lending_vault_attacks.py",
        f"{_UNIT}outflows.py",
        f"{_UNIT}min_debt.py",
        f"{_THREAT}vault_shares.py",
    ),
    "Lens": (f"{_UNIT}lens.py",),
    "Liquidator": (
        f"{_UNIT}liquidator.py",
        f"{_UNIT}liquidator_perpetuals.py",
        f"{_UNIT}liquidator_rescue.py",
        f"{_UNIT}liquidator_deficits.py",
        f"{_THREAT}liquidation.py",
        f"{_THREAT}liquidation_books.py",
        f"{_THREAT}liquidation_entries.py",
        f"{_PAST}sequencer_grace.py",
    ),
    "LiquidityVault": (
        f"{_UNIT}liquidity_vault.py",
        f"{_MODEL}liquidity_model.py",
        f"{_WHOLE}house.py",
    ),
    "Listings": (f"{_UNIT}listings.py", f"{_UNIT}outflows.py", f"{_THREAT}token_zoo.py"),
    "Mandates": (
        f"{_UNIT}mandates.py",
        f"{_UNIT}mandates_rebalance.py",
        f"{_UNIT}mandates_budget.py",
        f"{_UNIT}mandates_pay.py",
        f"{_UNIT}mandates_allocation.py",
        f"{_THREAT}mandate_margin.py",
        f"{_THREAT}hooks.py",
        f"{_THREAT}siblings.py",
        f"{_THREAT}mandate_extraction.py",
        f"{_THREAT}gas.py",
        f"{_PAST}deleveraged_hook.py",
    ),
    "Mixer": _ALLOCATIONS,
    "Perps": (
        *_PERPETUALS,
        f"{_UNIT}perps_governor.py",
        f"{_MODEL}perps_chain.py",
        f"{_THREAT}perps.py",
        f"{_UNIT}snipers.py",
        f"{_UNIT}wind_down.py",
        f"{_PAST}ended_market.py",
    ),
    "Planner": _PLANS,
    "Rebalancer": (
        f"{_UNIT}rebalancer.py",
        f"{_UNIT}rebalancer_bounds.py",
        f"{_UNIT}rebalancer_perpetuals.py",
        f"{_THREAT}keeper_pay.py",
        f"{_THREAT}sandwich.py",
        f"{_PAST}less_than_a_unit.py",
        f"{_PAST}gift_of_a_unit.py",
        f"{_WHOLE}uniswap_rebalance.py",
    ),
    "RiskOracle": (
        f"{_UNIT}risk_oracle.py",
        f"{_UNIT}risk_oracle_owner.py",
        f"{_UNIT}risk_oracle_volatility.py",
        f"{_MODEL}oracle_model.py",
        f"{_THREAT}prices.py",
        f"{_UNIT}prices.py",
        f"{_THREAT}pull_feed.py",
        f"{_PAST}sequencer_grace.py",
    ),
    "TokenLiquidator": (f"{_UNIT}token_liquidator.py",),
    "UniswapV3Adapter": (f"{_UNIT}uniswap_adapter.py", f"{_WHOLE}uniswap_rebalance.py"),
    "VaultFeed": (f"{_UNIT}vault_feed.py", f"{_WHOLE}vault_collateral.py"),
}
# Of contracts for tests only, which show modules alone.
SHELLS: dict[str, tuple[str, ...]] = {
    "KinkedRateShell": (f"{_MODEL}vault_model.py",),
    "LendingStateShell": (f"{_MODEL}vault_model.py",),
    "LiquidationShell": (f"{_UNIT}rounding.py",),
    "MarginShell": (f"{_MODEL}margin_model.py",),
    "ModulesShell": (f"{_UNIT}modules.py",),
    "OracleMath": (f"{_MODEL}oracle_model.py",),
}
# Contracts whose tests show another one's work as well.
CALLERS: dict[str, tuple[str, ...]] = {
    "Allocator": ("Rebalancer",),
    "Clearinghouse": ("Liquidator", "Mandates", "Perps", "Deleverager", "LiquidityVault"),
    "Exchange": ("Clearinghouse", "Mandates"),
    "Insurance": ("Liquidator",),
    "LendingVault": ("Clearinghouse", "Liquidator"),
    "Liquidator": ("TokenLiquidator", "Keepers", "Insurance", "Deleverager"),
    "Listings": ("Clearinghouse", "Governance"),
    "LiquidityVault": ("Deleverager", "Perps"),
    "Mandates": ("Rebalancer", "Keepers", "Liquidator"),
    "Mixer": ("Rebalancer",),
    "Perps": ("Deleverager", "Liquidator", "LiquidityVault", "Mandates"),
    "Planner": ("Rebalancer", "Mandates"),
    "Rebalancer": ("Keepers", "Liquidator", "Mandates", "Planner", "Allocator"),
    "RiskOracle": ("Clearinghouse", "Perps", "Governance", "Liquidator"),
}
LOCKS = f"{_THREAT}locks.py"
# What every rounding shows in, who may call, and who may call again: after a contract's own tests.
LAST = (f"{_UNIT}rounding.py", f"{_THREAT}access.py", f"{_THREAT}reentry.py")
MOST_FIRST = 2  # hosts whose tests are run first
# Where no mutant may survive: who may act, whether an account is sound, and rounding.
STRICT = (
    *("contracts/modules/operators.vy", "contracts/modules/health.vy"),
    *("contracts/modules/margin.vy", "contracts/modules/fixed_point.vy"),
)


def mutable_files() -> list[str]:
    """Every contract and module that is deployed for real."""
    found = (ROOT / "contracts").rglob("*.vy")
    paths = (path.relative_to(ROOT) for path in found)
    return sorted(path.as_posix() for path in paths if "mocks" not in path.parts)


@cache
def _modules_of(path: Path) -> frozenset[str]:
    """Names of the modules that a file is compiled with."""
    names: set[str] = set()
    for name in _IMPORT.findall(path.read_text()):
        names |= {name} | _modules_of(ROOT / "contracts" / "modules" / f"{name}.vy")
    return frozenset(names)


def hosts_of(path: str, *, are_all: bool = True) -> list[str]:
    """The contracts that contain a file: those for tests first, then the shortest.

    Not all of them are the first few whose tests differ.
    """
    name = Path(path).stem
    if "modules" not in Path(path).parts:
        return [name]
    shells = [f"tests/contracts/{shell}.vy" for shell in SHELLS]
    deployed = [file for file in mutable_files() if "modules" not in Path(file).parts]
    found = []
    for file in (*shells, *deployed):
        text = (ROOT / file).read_text()
        if name in _modules_of(ROOT / file):
            is_far = file in shells and name not in _IMPORT.findall(text)
            found.append((is_far, file not in shells, len(text), Path(file).stem))
    hosts = [host for *_, host in sorted(found)]
    if are_all:
        return hosts
    known = TESTS | SHELLS
    by_tests = {known.get(host, ()): host for host in reversed(hosts)}
    return [host for host in hosts if host in by_tests.values()][:MOST_FIRST]


def tests_of(path: str, *, are_all: bool = True) -> list[str]:
    """Test files that exist, in the order in which they are to be run.

    Not all of them are those of the first hosts; all of them are those of their callers, too.
    """
    known = TESTS | SHELLS
    hosts = hosts_of(path, are_all=are_all)
    if are_all:
        hosts += [caller for host in hosts for caller in CALLERS.get(host, ())]
    wanted = [] if "modules" in Path(path).parts else [LOCKS]
    wanted += [test for host in hosts for test in known.get(host, ())]
    if are_all or len(wanted) < 2:
        wanted += LAST
    return [test for test in dict.fromkeys(wanted) if (ROOT / test).is_file()]
