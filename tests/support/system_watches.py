"""Watched accounts in a campaign: places that are paid for, have turns, and run dry (I49).

Fees are raised behind whoever bought a place, so that a few turns use up what was meant for fifty.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ballast.chain import Receipt
from tests.support.system_checks import Outcome
from tests.support.system_endings import EndingChecks, EndingDraws
from tests.support.system_scenes import Scene
from tests.support.system_state import State
from tests.support.system_steps import Call, Step

FEE_UNITS = 20_000  # of the quote token, for a check of an ordinary account
MIN_CHECKS = 50
NO_PAYMENT = frozenset({"on_price", "rebalance", "rebalance_for", "rebalance_many", "set_fee"})
WATCH_PARTS = ("I49", "I49 dry")


class WatchDraws(EndingDraws):
    """Draws of places and of their turns; one place a feed, so that each call has one turn."""

    def _watched(self, name: str) -> list[int]:
        keepers = self.cast.world.system.keepers
        return [place.account for place in keepers.watched(self.cast.world.feeds[name])]

    def _watch(self, state: State) -> Scene:
        """Somebody takes a place or adds to one, and the fee that it was paid for rises."""
        rng, cast = self.rng, self.cast
        name = rng.choice(cast.names)
        account = next(iter(self._watched(name)), 0)
        if account and rng.random() < 0.8:
            return []
        account = account or rng.choice([a for a in cast.accounts if self._is_owners(a)])
        units = FEE_UNITS * MIN_CHECKS * rng.choice((1, 1, 2)) - (rng.random() < 0.1)
        args = (account, cast.world.feeds[name].address, units)
        return [
            self._fee(1),
            Step("watch", (Call("Keepers", "watch", args, self._sender(account)),)),
            self._fee(rng.choice((1, 5, 20))),
        ]

    def _is_owners(self, account: int) -> bool:
        return self.cast.owner_role(account) in self.cast.owners

    def _fee(self, times: int) -> Step:
        return Step("governor", (Call("Keepers", "set_fee", (FEE_UNITS * times,), "governor"),))

    def _serve(self, state: State) -> Scene:
        """A turn for whoever is watched, had none in this round, and paid for it."""
        cast, rng = self.cast, self.rng
        keepers = cast.world.system.keepers
        due = [
            name
            for name in cast.names
            if any(not p.is_served for p in keepers.watched(cast.world.feeds[name]))
            or state.rounds[name][1] == state.time
        ]
        if not due:
            return []
        name = rng.choice(due)
        feed = cast.world.feeds[name].address
        serve = Call("Keepers", "on_price", (feed, 0), rng.choice(("keeper", "stranger")))
        # What the entry would do with the price by itself is done before, so that marks stay.
        poke = Call("RiskOracle", "poke", ([self._id(name)],), "keeper")
        poked = [Step("poke", (poke,))] if keepers.asset_of(feed) else []
        return [*poked, Step("serve", (serve,))]

    def _unwatch(self, state: State) -> tuple[Call, ...]:
        """A place is given up, or what was earned or left is claimed."""
        cast, rng = self.cast, self.rng
        keepers = cast.world.system.keepers
        role = rng.choice((*cast.owners, "keeper", "stranger"))
        if rng.random() < 0.7 and (keepers.claimable(cast.roles[role]) or rng.random() < 0.1):
            return (Call("Keepers", "claim", (cast.roles[role],), role),)
        name = rng.choice(cast.names)
        account = next(iter(self._watched(name)), 0)
        if not account:
            return ()
        args = (account, cast.world.feeds[name].address, cast.owner_address(account))
        return (Call("Keepers", "unwatch", args, self._sender(account)),)


@dataclass
class WatchChecks(EndingChecks):
    """I49: what the keepers' entry holds is what its places and claims are, to the unit."""

    places: dict[tuple[str, int], int] = field(default_factory=dict)  # feed, account: units
    claims: Counter[str] = field(default_factory=Counter)  # address: units

    @property
    def kept(self) -> int:
        """Units of the quote token that the entry owes."""
        return sum(self.places.values()) + self.claims.total()

    def note_watches(self, receipt: Receipt) -> None:
        """Places and claims as events tell them."""
        for event in self.cast.world.system.keepers.events(receipt):
            args = event.args
            if event.name in ("Watched", "WatchServed"):
                self.places[args.feed, args.account] = args.funds
            elif event.name == "WatchEnded":
                rest = self.places.pop((args.feed, args.account))
                self.must("I49", rest == args.rest, f"{rest} left of {args}")
                if int(args.claimant, 16):
                    self.claims[args.claimant] += rest
            elif event.name == "FeesEarned":
                self.claims[args.earner] += args.amount
            elif event.name == "Claimed":
                self.claims[args.claimant] -= args.amount

    def of_watches(self, outcome: Outcome, kept_before: int) -> None:
        """Places and claims are those of the events, and only payments change their sum."""
        cast, keepers = self.cast, self.cast.world.system.keepers
        told = [e for _, receipt in outcome.receipts for e in keepers.events(receipt)]
        if not told:
            return
        self.held("I49", self.kept != 0)
        dry = [e for e in told if e.name == "WatchEnded" and int(e.args.claimant, 16)]
        self.held("I49 dry", bool(dry))
        if all(call.function in NO_PAYMENT for call, _ in outcome.receipts):
            same = self.kept == kept_before
            self.must("I49", same, f"{kept_before} were owed, {self.kept} are")
        found = {
            (feed.address, place.account): place.funds
            for feed in cast.world.feeds.values()
            for place in keepers.watched(feed)
        }
        self.must("I49", found == self.places, f"places {found}, events say {self.places}")
        for address in cast.roles.values():
            claim = keepers.claimable(address)
            same = claim == self.claims[address]
            self.must("I49", same, f"{address} may claim {claim}, events say {self.claims}")
