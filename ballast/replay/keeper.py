"""The keeper: it sees a block, decides, and its transactions stand in the next one.

It pokes the oracle for every asset with a new round, has the house's headroom computed anew, and
rebalances every account whose plan is ready, after trying the transaction in a call. The poke
stands first and may change what a plan is worth: then the rebalance does more, less, or reverts
because nothing is left to do. Right behind each rebalance the arbitrageur buys the pools that it
may have sold to back to the market, as one would on a real chain.

**Delay.** A rebalance becomes permitted with the round after which its plan is first ready, and
counts from the block of that round as long as the plan stays ready. If the plan is ready only once
the keeper's poke has taken a round into the margin rates, that same round counts, so the poke's
block is part of the delay. A keeper without delay sees a round before it is mined and stands right
behind it in the same block, as one does who takes a feed's transmission from the pool of
transactions or buys the place behind it. If a cooldown was what held it back, the first block after
the cooldown counts. Blocks are counted by their time, twelve seconds each, because a quiet stretch
is played without its empty blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ballast.chain import Receipt, Reverted
from ballast.prices import Round
from ballast.replay.cohorts import Member
from ballast.replay.world import World

READY, COOLING_DOWN = 0, 3  # codes of IRebalancer.Plan
_PLANS_PER_CALL = 64  # the bound of Lens.plans


@dataclass(frozen=True)
class Sent:
    """A rebalance in a block."""

    member: Member
    permitted_s: int  # time of the block that counts, unix seconds
    receipt: Receipt


@dataclass
class Keeper:
    """Watches the hooked accounts of ``members``; the indices are those of the whole list."""

    world: World
    members: Sequence[Member] = ()
    refused: Counter[str] = field(default_factory=Counter)  # by reason; see Recording.refused
    poke: Receipt | None = None  # of the last block, if it held one
    _unpoked: set[str] = field(default_factory=set)
    _ready: list[Member] = field(default_factory=list)
    _permitted: dict[int, int] = field(default_factory=dict)  # account -> time of the block
    _refusals: set[tuple[int, int, str]] = field(default_factory=set)
    _wake_s: dict[int, int] = field(default_factory=dict)  # account -> end of its cooldown
    _round_s: int = 0

    @property
    def has_work(self) -> bool:
        """Whether something is to be sent in the next block."""
        return bool(self._unpoked or self._ready)

    @property
    def wakes_at_s(self) -> int | None:
        """When the next cooldown ends (unix seconds), if the keeper waits for one."""
        return min(self._wake_s.values(), default=None)

    def see_rounds(self, assets: Sequence[str], time_s: int) -> None:
        """Take note of a block with new rounds, of ``time_s`` (unix seconds)."""
        self._unpoked.update(assets)
        self._round_s = time_s

    def look(self, woken_s: int | None = None) -> None:
        """Read every plan as of the newest block and decide what to send in the next.

        ``woken_s`` is the time of that block when the end of a cooldown is the reason to look.
        """
        for member, plan in self._plans(self._hooked):
            self._judge(member, plan, self._round_s if woken_s is None else woken_s)

    @property
    def _hooked(self) -> list[Member]:
        return [m for m in self.members if m.cohort == "hooked"]

    def _plans(self, members: Sequence[Member]) -> Iterator[tuple[Member, Any]]:
        """Every member with its plan as of the newest block."""
        for start in range(0, len(members), _PLANS_PER_CALL):
            part = members[start : start + _PLANS_PER_CALL]
            plans = self.world.system.lens.plans([m.account for m in part])
            yield from zip(part, plans, strict=True)

    def _judge(self, member: Member, plan: Any, since_s: int) -> None:
        system, account = self.world.system, member.account
        self._wake_s.pop(account, None)
        if plan.code == COOLING_DOWN:
            ends_s = system.rebalancer.last_at(account) + 1
            ends_s += system.rebalancer.policy_of(account).cooldown_s
            self._wake_s[account] = ends_s
        if plan.code != READY:
            self._permitted.pop(account, None)
            return
        since_s = self._permitted.setdefault(account, since_s)
        reason = self._refusal(member)
        if reason is None:
            self._ready.append(member)
            return
        key = (account, since_s, reason)
        if key not in self._refusals:
            self._refusals.add(key)
            self.refused[reason] += 1

    def send(self) -> list[Sent]:
        """Send what was decided; to be called inside a block."""
        work, self._ready = self._ready, []
        unpoked, self._unpoked = self._unpoked, set()
        self.poke = self._take_in(unpoked) if unpoked else None
        return [self._send(member, self._permitted.pop(member.account)) for member in work]

    def foresee(self, rounds: Sequence[Round], time_s: int) -> list[Member]:
        """Who will be due right behind ``rounds`` in the next block, that of ``time_s``."""
        world, hooked = self.world, self._hooked
        with world.undone():
            with world.chain.one_block():
                world.publish(rounds, time_s)
                self._take_in({r.asset for r in rounds})
            ready = [m for m, plan in self._plans(hooked) if plan.code == READY]
            return [m for m in ready if self._refusal(m) is None]

    def follow(self, foreseen: Sequence[Member], assets: Sequence[str], time_s: int) -> list[Sent]:
        """Send what was foreseen, behind the rounds of ``assets`` in the block of ``time_s``."""
        self.poke = self._take_in(set(assets))
        self._unpoked.difference_update(assets)
        return [self._send(member, time_s) for member in foreseen]

    def _take_in(self, assets: Collection[str]) -> Receipt:
        """Poke the oracle, and let the house's headroom follow."""
        world = self.world
        receipt = world.system.poke(world.keeper, sorted(assets))
        world.system.perps.refresh(sender=world.keeper)
        return receipt

    def _send(self, member: Member, permitted_s: int) -> Sent:
        world = self.world
        receipt = world.system.mandates.rebalance(member.account, sender=world.keeper)
        for asset, share in member.plan.mix.items():
            if share:
                world.arbitrageur.buy_back(asset, world.answers[asset])
        return Sent(member, permitted_s, receipt)

    def _refusal(self, member: Member) -> str | None:
        """Why a rebalance would revert now; none if it would stand."""
        try:
            self.world.system.mandates.rebalance.call(member.account, sender=self.world.keeper)
        except Reverted as error:
            return str(error)
        return None

    def note_reverted(self, sent: Sent) -> None:
        """Take note of a rebalance that reverted, with the reason that holds now."""
        reason = self._refusal(sent.member)
        if reason is not None:
            self.refused[reason] += 1
