"""Hands a deployed system over to a timelock, a guardian and a steward.

    timelock, governance = govern(
        system,
        delay_s=2 * DAY_S,
        proposers=[council],
        executors=[ANYONE],
        guardian=...,
        steward=...,
    )

Afterwards `governance` owns every contract of the system that has an owner, the timelock owns
`governance`, and whoever deployed has no right at all. What is decided from then on is scheduled:

    call = Decision.in_room(governance, system.oracle, "set_feed", ...)
    call.schedule(timelock, sender=council)
    ...
    call.execute(timelock, sender=anyone)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from eth_utils import keccak

from ballast.chain import Contract, Receipt
from ballast.deploy import System
from ballast.steps import Plan, Reading, view

ANYONE = "0x" + "00" * 20  # as an executor: the role is open
NO_ADMIN = bytes(32)  # the timelock's role of roles is the zero word
NO_OPERATION = bytes(32)
PROPOSER, EXECUTOR, CANCELLER = "PROPOSER_ROLE", "EXECUTOR_ROLE", "CANCELLER_ROLE"
DAY_S = 86_400


def govern(
    system: System,
    *,
    delay_s: int,
    proposers: Sequence[str],
    executors: Sequence[str],
    guardian: str,
    steward: str,
    adapters: Iterable[Contract] = (),
) -> tuple[Contract, Contract]:
    """Deploys timelock and governance and gives them every contract of the system.

    `adapters` are further contracts with an owner; all must be owned by `system.governor`, who
    pays and is left with nothing. `delay_s` are seconds. The guardian may also cancel what waits.
    Returns the timelock and the governance contract. Raises Reverted where something is not the
    governor's to give.
    """
    plan = Plan(system.chain, system.governor)
    timelock, governance = plan_governance(
        plan,
        system,
        delay_s=delay_s,
        proposers=proposers,
        executors=executors,
        guardian=guardian,
        steward=steward,
    )
    plan_handover(plan, system, timelock, governance, guardian=guardian, adapters=adapters)
    plan.run()
    return timelock, governance


def plan_governance(
    plan: Plan,
    system: System,
    *,
    delay_s: int,
    proposers: Sequence[str],
    executors: Sequence[str],
    guardian: str,
    steward: str,
) -> tuple[Contract, Contract]:
    """Adds the steps that deploy timelock and governance, which own nothing yet."""
    roles = [*((PROPOSER, who) for who in proposers), *((EXECUTOR, who) for who in executors)]
    timelock, governance = plan.reserve("Timelock", "Governance").values()
    plan.create(
        *(timelock, delay_s, list(proposers), list(executors), plan.sender),
        settings=lambda: [
            view("delay_s", timelock.get_minimum_delay, wanted=delay_s),
            *(
                view(f"{name} {who}", timelock.hasRole, role_id(name), who, wanted=True)
                for name, who in roles
            ),
        ],
    )
    plan.create(
        governance,
        timelock,
        guardian,
        steward,
        system.clearinghouse,
        system.exchange,
        system.oracle,
        system.listings,
        system.perps,
        system.vault,
        system.liquidity_vault,
        system.keepers,
        settings=lambda: [
            view("owner", governance.owner, wanted=timelock),
            view("guardian", governance.guardian, wanted=guardian),
            view("steward", governance.steward, wanted=steward),
        ],
    )
    return timelock, governance


def plan_handover(
    plan: Plan,
    system: System,
    timelock: Contract,
    governance: Contract,
    *,
    guardian: str,
    adapters: Iterable[Contract] = (),
) -> None:
    """Adds the steps that give every contract away; afterwards the plan's sender has no right."""

    def offered(room: Contract) -> list[Reading]:
        is_offered = governance.address in (room.owner(), room.pending_owner())
        return [Reading("offered to governance", True, is_offered)]

    def accepted(room: Contract) -> list[Reading]:
        return [view("owner", room.owner, wanted=governance)]

    for room in owned(system, adapters):
        plan.call(
            f"offer {room.name} to governance",
            *(room.transfer_ownership, governance),
            readings=partial(offered, room),
        )
        plan.call(
            f"accept {room.name} by governance",
            *(governance.accept, room),
            readings=partial(accepted, room),
        )
    plan.call(
        "let the guardian cancel at the timelock",
        *(timelock.grantRole, role_id(CANCELLER), guardian),
        readings=lambda: [
            view("is canceller", timelock.hasRole, role_id(CANCELLER), guardian, wanted=True)
        ],
    )
    plan.call(
        "renounce the timelock's admin",
        *(timelock.renounceRole, NO_ADMIN, plan.sender),
        readings=lambda: [
            view("deployer is admin", timelock.hasRole, NO_ADMIN, plan.sender, wanted=False)
        ],
    )


def role_id(name: str) -> bytes:
    """What the timelock knows a role by."""
    return bytes(keccak(text=name))


def owned(system: System, adapters: Iterable[Contract] = ()) -> list[Contract]:
    """The contracts of a system that have an owner, and these adapters."""
    rooms = [*system.contracts.values(), *adapters]
    return [room for room in rooms if "transfer_ownership" in names(room)]


def names(contract: Contract) -> set[str]:
    """Names of a contract's functions."""
    return {entry["name"] for entry in contract.artifact.abi if entry["type"] == "function"}


@dataclass(frozen=True)
class Decision:
    """One call that goes through the timelock."""

    target: str
    payload: bytes
    predecessor: bytes = NO_OPERATION
    salt: bytes = bytes(32)

    @classmethod
    def of(cls, contract: Contract, name: str, *arguments: Any, salt: int = 0) -> Decision:
        """A call of the contract's function `name`."""
        payload = contract.function(name).encode(*arguments)
        return cls(contract.address, payload, salt=salt.to_bytes(32, "big"))

    @classmethod
    def in_room(
        cls, governance: Contract, room: Contract, name: str, *arguments: Any, salt: int = 0
    ) -> Decision:
        """A call of a room's function `name` by its owner, the governance contract."""
        inner = room.function(name).encode(*arguments)
        return cls.of(governance, "execute", room, inner, salt=salt)

    @property
    def call(self) -> tuple[str, int, bytes, bytes, bytes]:
        """Arguments of the timelock's functions: target, ether, payload, predecessor, salt."""
        return (self.target, 0, self.payload, self.predecessor, self.salt)

    def id(self, timelock: Contract) -> bytes:
        """What the timelock knows it by."""
        return bytes(timelock.hash_operation(*self.call))

    def schedule(self, timelock: Contract, *, sender: str, delay_s: int | None = None) -> Receipt:
        """Announces it; it waits the least delay unless told to wait longer."""
        delay = int(timelock.get_minimum_delay()) if delay_s is None else delay_s
        receipt: Receipt = timelock.schedule(*self.call, delay, sender=sender)
        return receipt

    def execute(self, timelock: Contract, *, sender: str) -> Receipt:
        """Carries it out once it has waited."""
        receipt: Receipt = timelock.execute(*self.call, sender=sender)
        return receipt

    def cancel(self, timelock: Contract, *, sender: str) -> Receipt:
        """Calls it off."""
        receipt: Receipt = timelock.cancel(self.id(timelock), sender=sender)
        return receipt
