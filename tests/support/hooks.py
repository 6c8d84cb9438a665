"""Hostile hooks for tests: what an `EvilHook` is told to do, and accounts that obey it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ballast.chain import Contract, Receipt, Reverted
from tests.support.world import ZERO_ADDRESS, World

PLAYS, REVERTS, REVERTS_BARE, REVERTS_BOMB, BURNS, ANSWERS_BOMB = range(6)
LOOSEST_GUARD = (10_000, 10_000, 1_000, 0, 0, 0)
UNLIMITED_BUDGET = (2**63 * 10**12, 1, 2**63 * 10**12)

Call = tuple[Any, bytes, bool]


def deploy_hook(world: World, sender: str | None = None) -> Contract:
    """A hook that does nothing until it is told to."""
    hook: Contract = world.chain.deploy("EvilHook", sender=sender or world.attacker)
    return hook


def must(contract: Contract, name: str, *args: Any) -> Call:
    """A call whose failure reverts the hook with the same data."""
    return contract.address, contract.function(name).encode(*args), True


def may(contract: Contract, name: str, *args: Any) -> Call:
    """A call whose failure the hook survives."""
    return contract.address, contract.function(name).encode(*args), False


def play(world: World, hook: Contract, account: int, *script: Call) -> Receipt:
    """Gives the hook its script and calls for a mandate."""
    hook.set_script(list(script), sender=world.attacker)
    receipt: Receipt = world.mandates.rebalance(account, sender=world.keeper)
    return receipt


def hand_over(
    world: World,
    account: int,
    hook: Contract | None,
    guard: Sequence[int] = LOOSEST_GUARD,
    budget: Sequence[int] | None = UNLIMITED_BUDGET,
) -> None:
    """Gives an account to a hook under a guard, by default as loose as can be."""
    owner = world.owner_of(account)
    world.mandates.set_guard(account, hook or ZERO_ADDRESS, tuple(guard), sender=owner)
    if budget is not None:
        world.mandates.arm_budget(tuple(budget), sender=owner)


def outcomes(hook: Contract, count: int) -> list[bool]:
    """Whether each of the first `count` calls of the latest mandate succeeded."""
    return [bool(hook.results(i)) for i in range(count)]


def reasons(hook: Contract, count: int) -> list[str]:
    """The reasons of the first `count` calls of the latest mandate."""
    return [Reverted(hook.answers(i)).reason for i in range(count)]
