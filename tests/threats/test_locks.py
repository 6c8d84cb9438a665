"""Every state-changing entry of every deployed contract under a lock that is held (T33, T34).

The code of each contract is lent to a probe that holds the lock which the code looks at: an entry
with a lock refuses before it does anything, one without goes on as it would with the lock free.
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from ballast.chain import Contract
from tests.governance_kit import govern_world
from tests.support.world import World, build_world
from tests.threats.access import TABLE
from tests.threats.kit import deploy_adapters, entries

# Entries that may be entered while their contract is at work, and why.
OPEN = {
    ("Liquidator", "rescue"): "the mandate that it opens asks the liquidator for the flag",
    ("Mandates", "rebalance"): "the hook at work enters again; a word of state says who may",
    ("Mandates", "rebalance_for"): "as `rebalance`",
    ("Mandates", "rescue"): "as `rebalance`",
    ("Perps", "trade"): "the ledger, which it enters first, holds the lock",
    ("Perps", "deleverage"): "as `trade`",
    ("Rebalancer", "unwind"): "the hook calls itself, so that a sale that fails is undone",
    ("UniswapV3Adapter", "uniswapV3SwapCallback"): "the pool calls back during the swap",
}
# Of the library, which calls nobody there: ownership of any contract, share tokens of the vaults.
OWNERSHIP = {"transfer_ownership", "accept_ownership"}
SHARES = {"transfer", "transferFrom", "approve", "permit"}


def _is_open(contract: str, function: str) -> bool:
    is_share = contract in ("LendingVault", "LiquidityVault") and function in SHARES
    # A timelock executes what may come back to it; what was executed is done before.
    is_library = is_share or function in OWNERSHIP or contract == "Timelock"
    return is_library or (contract, function) in OPEN


@lru_cache(maxsize=1)
def _scene() -> tuple[World, dict[str, Contract], Contract]:
    """Every contract as it is deployed, and the probe."""
    world = build_world()
    adapters = deploy_adapters(world, world.system.exchange.address)
    council = govern_world(world, [], delay_s=0)
    contracts = {
        **world.system.contracts,
        **adapters,
        "Governance": council.governance,
        "Timelock": council.timelock,
    }
    return world, contracts, world.chain.deploy("LockProbe", sender=world.governor)


@pytest.mark.parametrize("name", [name for name, rows in TABLE.items() if rows])
def test_entry__lock_held__refuses_at_once(name: str) -> None:
    """T33, T34: nothing enters a contract that is at work, but what has to."""
    world, contracts, probe = _scene()
    target = contracts[name]
    calls = entries(target, is_view=False)
    for function, data in calls:
        outcomes = []
        # The first call makes everything warm.
        for entry in (probe.free, probe.free, probe.held):
            with world.isolated():
                call = entry.transact(target, data, sender=world.attacker)
                outcomes.append(tuple(call.return_value))
        _, free, held = outcomes
        if _is_open(name, function):
            assert held == free, f"{name}.{function} minds the lock"
            continue
        is_done, answered, gas = held
        assert not is_done and answered == 0, f"{name}.{function} goes on under the lock"
        assert gas < free[2], f"{name}.{function} does not look at the lock"
