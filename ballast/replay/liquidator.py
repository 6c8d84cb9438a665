"""The liquidator: whoever is below maintenance after a block is liquidated in the next one.

It has cash in two accounts of its own, one for each cohort, so that what it earns on each can be
told apart. What it took it sells in the block after, at the venue and to the house, for what that
fetches; so its gain is what a liquidator would have, exit costs included.

**Delay.** An account counts as below maintenance from the block of the round that brought it there.
With ``delay_s`` the liquidator comes so much later, as one who was away; nobody flags the account
meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ballast.chain import Receipt, Reverted
from ballast.deploy import WAD, account_id
from ballast.model.margin import Position
from ballast.replay.cohorts import Member
from ballast.replay.world import World
from ballast.report.recording import COHORTS, Cohort
from ballast.venue import fund

_HEALTHS_PER_CALL = 64
_ANY_STATE = b"\0" * 32
_FAR = 2**40 - 1
_MAX_UINT = 2**256 - 1
_HALVINGS = 6


@dataclass(frozen=True)
class Taking:
    """A liquidation in a block."""

    member: Member
    below_s: int  # since when the account was below maintenance, unix seconds
    receipt: Receipt


@dataclass
class Liquidator:
    """Watches every account of ``members``; ``delay_s`` after a breach it acts."""

    world: World
    members: Sequence[Member] = ()
    delay_s: int = 0
    _below_s: dict[int, int] = field(default_factory=dict)  # account -> since when
    _due: list[Member] = field(default_factory=list)
    _has_holdings: bool = False

    @property
    def takers(self) -> Mapping[Cohort, int]:
        """The account that takes slices of each cohort."""
        return {c: account_id(self.world.liquidator, sub) for sub, c in enumerate(COHORTS)}

    @property
    def has_work(self) -> bool:
        """Whether something is to be sent in the next block."""
        return bool(self._due) or self._has_holdings

    @property
    def wakes_at_s(self) -> int | None:
        """When the next delay ends (unix seconds), if it waits for one."""
        return min((since + self.delay_s for since in self._below_s.values()), default=None)

    def provide(self, cash: int) -> None:
        """Puts ``cash`` whole quote tokens into each of its accounts."""
        world, units = self.world, cash * 10 ** self.world.decimals("quote")
        fund(world.quote, world.liquidator, len(COHORTS) * units)
        world.quote.approve(world.system.clearinghouse, _MAX_UINT, sender=world.liquidator)
        for account in self.takers.values():
            world.system.clearinghouse.deposit(account, 0, units, sender=world.liquidator)

    def look(self, time_s: int) -> None:
        """Read every account as of the newest block, that of ``time_s``, and decide."""
        self._due = []
        for start in range(0, len(self.members), _HEALTHS_PER_CALL):
            part = self.members[start : start + _HEALTHS_PER_CALL]
            healths = self.world.system.lens.healths([m.account for m in part])
            for member, health in zip(part, healths, strict=True):
                if health.equity_maint >= health.required_maint:
                    self._below_s.pop(member.account, None)
                elif time_s >= self._below_s.setdefault(member.account, time_s) + self.delay_s:
                    self._due.append(member)

    def send(self) -> list[Taking]:
        """Send what was decided; to be called inside a block."""
        world, due = self.world, self._due
        self._sell()
        self._due, self._has_holdings = [], bool(due)
        takings = []
        for member in due:
            taker = self.takers[member.cohort]
            receipt = world.system.liquidator.liquidate(
                member.account, taker, _ANY_STATE, sender=world.liquidator
            )
            takings.append(Taking(member, self._below_s.pop(member.account), receipt))
        return takings

    def equity(self, cohort: Cohort) -> int:
        """What its account for a cohort is worth now, WAD."""
        return int(self.world.system.clearinghouse.assess(self.takers[cohort])[2])

    def _sell(self) -> None:
        """Turns what it holds into cash, as of the newest block."""
        if not self._has_holdings:
            return
        world, clearinghouse = self.world, self.world.system.clearinghouse
        for account in self.takers.values():
            for name, asset in world.system.assets.items():
                held = Position.from_word(clearinghouse.position_word(account, asset))
                units = held.collateral_wad * 10 ** world.decimals(name) // WAD
                if units:
                    self._swap(account, name, units)
                if held.size_wad:
                    limit = _MAX_UINT if held.size_wad < 0 else 0
                    world.system.perps.trade(
                        account, asset, -held.size_wad, limit, _FAR, True, sender=world.liquidator
                    )

    def _swap(self, account: int, name: str, units: int) -> None:
        """Sells as much at once as the pool takes within the swap limit; the rest waits."""
        world, swap = self.world, self.world.system.clearinghouse.swap
        for _ in range(_HALVINGS):
            order = (account, world.adapter, world.system.assets[name], 0, units, 0)
            try:
                swap.call(*order, sender=world.liquidator)
            except Reverted:
                units //= 2
                continue
            swap(*order, sender=world.liquidator)
            world.arbitrageur.buy_back(name, world.answers[name])
            return
