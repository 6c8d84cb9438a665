"""Steps of a campaign as plain data, and how their sizes and people are chosen."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.system_cast import Cast
from tests.support.system_state import WAD, State
from tests.support.world import QUOTE, UNLIMITED, ZERO_ADDRESS

ENVIRONMENT = frozenset(
    {"price", "refresh", "poke", "wait", "feed_dies", "quote_price", "governor", "drought"}
)


@dataclass(frozen=True)
class Call:
    """One transaction. `contract` is a key of `Cast.contracts`, `sender` a role."""

    contract: str
    function: str
    args: tuple[Any, ...]
    sender: str


@dataclass(frozen=True)
class Step:
    """One action: time that passes first, then its transactions.

    With a `probe` it is instead a check on a copy of the world, of the method of that name.
    """

    kind: str
    calls: tuple[Call, ...] = ()
    wait_s: int = 0
    probe: tuple[Any, ...] = ()


def _named(cast: Cast, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_named(cast, item) for item in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, int) and value in cast.labels:
        return cast.labels[value]
    for name, address in cast.holders.items():
        if value == address:
            return name
    return "unlimited" if isinstance(value, int) and value == UNLIMITED else repr(value)


def described(cast: Cast, step: Step) -> str:
    """One line for people; `repr(step)` is for machines."""
    if step.probe:
        return f"{step.kind}: {_named(cast, step.probe)}"
    calls = "; ".join(
        f"{c.contract}.{c.function}{_named(cast, c.args)} by {c.sender}" for c in step.calls
    )
    return f"{step.kind}: {f'wait {step.wait_s} s; ' if step.wait_s else ''}{calls}"


# Steps that are drawn only when their turn has come.
Ahead = Callable[[State], "list[Step | Ahead]"]
Draw = Callable[[State], "tuple[Call, ...] | list[Step | Ahead]"]


class Draws:
    """What every draw chooses with."""

    def __init__(self, cast: Cast, rng: random.Random) -> None:
        self.cast = cast
        self.rng = rng

    def _id(self, name: str) -> int:
        return self.cast.world.asset(name)

    def _account(self) -> int:
        return self.rng.choice(self.cast.accounts)

    def _sender(self, account: int) -> str:
        """The owner, now and then somebody else."""
        if self.rng.random() < 0.93:
            return self.cast.owner_role(account)
        return self.rng.choice(("attacker", "stranger", "keeper", "owner_a"))

    def _part(self, units: int) -> int:
        """Some of what is there: all, a part, a unit, a little too much, far too much."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.62:
            return int(units * rng.choice((0.01, 0.1, 0.3, 0.5, 0.9)) * rng.uniform(0.5, 1.1))
        if draw < 0.8:
            return units
        if draw < 0.9:
            return rng.choice((1, 2, 7))
        return units + 1 if draw < 0.96 else rng.choice((0, 2**119, 2**255, UNLIMITED))

    def _near(self, units: int) -> int:
        """Mostly close to a limit, on either side of it."""
        if self.rng.random() < 0.3:
            return self._part(units)
        return int(units * self.rng.uniform(0.6, 1.05))

    def _worth(self, state: State, name: str, dollars: float) -> int:
        """Token units worth so much at the newest price."""
        price = WAD if name == QUOTE else max(state.marks[name].price_wad, 1)
        return int(dollars * WAD) * WAD // price // self.cast.unit(name)

    def _held(self, state: State, account: int, name: str) -> int:
        """Token units of cash or collateral."""
        if name == QUOTE:
            return state.cash_wad(account) // self.cast.unit(QUOTE)
        return state.collateral_wad(account, name) // self.cast.unit(name)

    def _cash_and(self, state: State, account: int, units: int) -> int:
        """The cash of an account and so many units of a loan."""
        return min(self._held(state, account, QUOTE) + units, UNLIMITED)

    def _held_names(self, state: State, account: int) -> list[str]:
        return [n for n in self.cast.names if state.collateral_wad(account, n)] or self.cast.names

    def _room(self, state: State, account: int) -> int:
        """Quote units that the margin test would still let go."""
        return max(state.terms[account].excess_init, 0) // self.cast.unit(QUOTE)

    def _receiver(self, account: int) -> str:
        draw = self.rng.random()
        if draw < 0.85:
            return self.cast.owner_address(account)
        if draw < 0.95:
            return self.cast.roles[self.rng.choice(list(self.cast.roles))]
        return self.rng.choice((ZERO_ADDRESS, self.cast.world.clearinghouse.address))
