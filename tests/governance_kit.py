"""What the tests of governance share: a world in other hands than its deployer's.

council = govern_world(world)
council.decide(world.system.vault, "set_reserve_factor", 500)     # scheduled, waited, executed
council.governance.pause([1], sender=council.guardian)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ballast.chain import Contract, Receipt
from ballast.deploy import load_parameters
from ballast.governance import ANYONE, DAY_S, Decision, govern
from tests.support.world import QUOTE, ZERO_ADDRESS, World, build_world

DELAY_S = 2 * DAY_S
PAUSE_S = 3 * DAY_S

NOT_OWNER = "ownable: caller is not the owner"
NOT_GUARDIAN = "governance: only the guardian"
NOT_STEWARD = "governance: only the steward"
NOT_EITHER = "governance: guardian or steward"
TOO_LARGE = "governance: step too large"
TOO_SOON = "governance: one step a day"
NOT_READY = "timelock_controller: operation is not ready"


@dataclass(frozen=True)
class Council:
    """The new hands: each role an address of its own, and anyone executes."""

    world: World
    timelock: Contract
    governance: Contract

    @property
    def proposer(self) -> str:
        """Schedules and cancels."""
        return self.world.chain.accounts[7]

    @property
    def guardian(self) -> str:
        """Lowers risk at once, cancels."""
        return self.world.chain.accounts[8]

    @property
    def steward(self) -> str:
        """Takes small steps."""
        return self.world.chain.accounts[9]

    def decision(self, contract: Contract, name: str, *arguments: Any, salt: int = 0) -> Decision:
        """A call of the timelock itself or of governance, or by way of governance of any other."""
        if contract in (self.timelock, self.governance):
            return Decision.of(contract, name, *arguments, salt=salt)
        return Decision.in_room(self.governance, contract, name, *arguments, salt=salt)

    def decide(self, contract: Contract, name: str, *arguments: Any, salt: int = 0) -> Receipt:
        """Scheduled, waited for while feeds go on, and executed by a keeper."""
        decision = self.decision(contract, name, *arguments, salt=salt)
        decision.schedule(self.timelock, sender=self.proposer)
        self.wait(int(self.timelock.get_minimum_delay()))
        return decision.execute(self.timelock, sender=self.world.keeper)

    def wait(self, seconds: int) -> None:
        """Lets time pass, with a round of every feed and a poke at the end."""
        self.world.wait(seconds)


def govern_world(
    world: World, adapters: Iterable[Contract] = (), *, delay_s: int = DELAY_S
) -> Council:
    """Hands a world's system over."""
    _, _, _, _, _, _, _, proposer, guardian, steward = world.chain.accounts
    timelock, governance = govern(
        world.system,
        delay_s=delay_s,
        proposers=[proposer],
        executors=[ANYONE],
        guardian=guardian,
        steward=steward,
        adapters=adapters,
    )
    return Council(world, timelock, governance)


def exchange_oracle(
    world: World, name: str = "RiskOracle", sequencer: Contract | str = ZERO_ADDRESS
) -> None:
    """Puts the code of a new oracle, with its immutables, where the world's oracle stands."""
    other = world.chain.deploy(
        name,
        world.clearinghouse,
        world.feeds[QUOTE],
        load_parameters()["quote"]["heartbeat_s"],
        sequencer,
        sender=world.governor,
    )
    world.chain.set_code(world.system.oracle.address, world.chain.code(other.address))


def watch_sequencer(world: World) -> Contract:
    """Gives the oracle an uptime feed, which says that the sequencer has been up for a day."""
    feed = world.chain.deploy("MockFeed", 0, "sequencer uptime", sender=world.governor)
    feed.set_round(0, world.chain.time - DAY_S, sender=world.governor)
    exchange_oracle(world, sequencer=feed)
    return feed


@lru_cache(maxsize=1)
def shared_council() -> Council:
    """One governed world per process; whoever uses it isolates what it does."""
    return govern_world(build_world())
