"""Campaigns: thousands of random actions on the whole system, and failures made small.

One episode is one fresh deployment and one seed. The steps that were drawn are kept, so a failure
can be replayed from them alone, and `shrink` leaves out every step that it does not need.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ballast.chain import Reverted
from tests.support.system_actions import Actions
from tests.support.system_cast import Cast
from tests.support.system_checks import Broken, Outcome
from tests.support.system_invariants import Invariants
from tests.support.system_state import State
from tests.support.system_steps import ENVIRONMENT, Call, Step, described

PER_EPISODE = 500  # accepted actions
REFUSALS_PER_READING = 8
MOST_PRINTED = 25  # steps printed so that a machine can read them


@dataclass
class Tally:
    """What a campaign did: actions by kind, reasons of refusals, premises that held."""

    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    premises: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Accepted actions of people; prices and time do not count."""
        return sum(n for kind, n in self.accepted.items() if kind not in ENVIRONMENT)

    def add(self, other: Tally) -> None:
        """Counts what another one counted, too."""
        self.accepted.update(other.accepted)
        self.refused.update(other.refused)
        self.reasons.update(other.reasons)
        self.premises.update(other.premises)

    @property
    def most_frequent(self) -> dict[str, str]:
        """By kind of action, the reason of most refusals."""
        found: dict[str, tuple[int, str]] = {}
        for (kind, reason), count in self.reasons.items():
            found[kind] = max(found.get(kind, (0, "")), (count, reason))
        return {kind: f"{reason} ({count:,})" for kind, (count, reason) in found.items()}

    @property
    def lines(self) -> list[str]:
        """A table for people."""
        kinds = sorted({*self.accepted, *self.refused})
        width = max(len(kind) for kind in kinds)
        rows = [f"{'action':{width}}  accepted  refused  most frequent refusal"]
        most = self.most_frequent
        for kind in kinds:
            counts = f"{self.accepted[kind]:8}  {self.refused[kind]:7}"
            rows.append(f"{kind:{width}}  {counts}  {most.get(kind, '')}")
        refused = sum(n for kind, n in self.refused.items() if kind not in ENVIRONMENT)
        rows.append(f"{'all but prices and time':{width}}  {self.done:8}  {refused:7}")
        premises = ", ".join(f"{key} {count}" for key, count in sorted(self.premises.items()))
        return [*rows, f"premises: {premises}"]


class Episode:
    """One deployment and what is done to it."""

    def __init__(
        self, tally: Tally | None = None, only: str | None = None, *, has_pools: bool = False
    ) -> None:
        self.cast = Cast(has_pools=has_pools)
        self.tally = tally or Tally()
        self.invariants = Invariants(self.cast, self.tally.premises, only)
        self.steps: list[Step] = []
        self._is_last_read = False  # whether the reading before was of the world as it is

    def send(self, step: Step) -> Outcome:
        """The transactions of a step, as far as they are accepted. Time has passed already."""
        cast = self.cast
        receipts = []
        cast.watch.is_armed = True
        try:
            for call in step.calls:
                function = cast.contracts[call.contract].function(call.function)
                receipt = function.transact(*call.args, sender=cast.roles[call.sender])
                cast.seen.follow(receipt)
                if call.function == "rebalance_many" and len(call.args[0]) == 1:
                    # The keepers' entry hands on to the mandates, or does nothing at all.
                    if not cast.world.mandates.events(receipt, "Rebalanced"):
                        code = receipt.return_value[0]
                        return Outcome(((call, receipt),), f"keepers: code {code}")
                    call = Call("Mandates", "rebalance", tuple(call.args[0]), call.sender)
                if call.function == "on_price":
                    served = cast.world.mandates.events(receipt, "Rebalanced")
                    if served:  # there is one place a feed
                        (event,) = served
                        call = Call("Mandates", "rebalance", (event.args.account,), call.sender)
                receipts.append((call, receipt))
        except Reverted as error:
            return Outcome(tuple(receipts), str(error))
        finally:
            cast.watch.is_armed = False
        return Outcome(tuple(receipts))

    def perform(self, step: Step, before: State | None = None) -> tuple[Outcome, State]:
        """A step with every check. Raises Broken."""
        cast = self.cast
        self.steps.append(step)
        before = before or cast.read()
        if step.probe:
            name, *args = step.probe
            getattr(self.invariants, name)(*args)
            self._is_last_read = False
            return Outcome(), before
        if step.wait_s:
            cast.world.chain.mine(1, step.wait_s)
            earlier, before = before, cast.read(is_only_later=self._is_last_read)
            self._is_last_read = True
            self.invariants.after_wait(earlier, before)
        outcome = self.send(step)
        # A transaction that reverted leaves the state as it was, by the rules of the machine; where
        # that were not so, the next reading would show it.
        is_refused = outcome.reason is not None and not outcome.receipts
        is_reading = not is_refused or len(self.steps) % REFUSALS_PER_READING == 0
        after = cast.read() if is_reading else before
        self._is_last_read |= is_reading
        self.invariants.after(step, outcome, before, after)
        return outcome, after

    def run(self, seed: int, accepted: int) -> None:
        """Random steps until so many were accepted. Raises Broken."""
        rng = random.Random(seed)
        actions = Actions(self.cast, rng)
        pending = actions.opening()
        state = self.cast.read()
        done = 0
        while done < accepted:
            step = pending.pop(0) if pending else actions.next(state)
            outcome, state = self.perform(step, state)
            counter = self.tally.accepted if outcome.is_accepted else self.tally.refused
            counter[step.kind] += 1
            done += outcome.is_accepted and step.kind not in ENVIRONMENT
            if outcome.reason is not None:
                self.tally.reasons[step.kind, outcome.reason] += 1
            probe = actions.probe(step, outcome.is_accepted, state)
            if probe is not None:
                self.perform(probe, state)
        self.invariants.events_tell_all()


def has_pools(seed: int) -> bool:
    """Whether the episode of a seed trades at a real Uniswap V3, and not at a mock."""
    return seed % 2 == 0


def replay(
    steps: Sequence[Step], *, are_all_checked: bool = True, has_pools: bool = False
) -> Episode:
    """Steps on a fresh deployment; the last one is always checked. Raises Broken."""
    episode = Episode(has_pools=has_pools)
    for number, step in enumerate(steps, 1):
        if are_all_checked or number == len(steps):
            episode.perform(step)
            continue
        if step.wait_s:
            episode.cast.world.chain.mine(1, step.wait_s)
        episode.invariants.note(episode.send(step))
        episode.steps.append(step)
    return episode


def shrink(
    steps: Sequence[Step], invariant: str, limit_s: float = 60, *, has_pools: bool = False
) -> list[Step]:
    """The fewest steps found in the given time whose last one breaks the same invariant.

    The steps as given if they do not break it again.
    """

    def fails(candidate: Sequence[Step]) -> bool:
        try:
            replay(candidate, are_all_checked=False, has_pools=has_pools)
        except Broken as broken:
            return broken.id == invariant
        except Exception:  # a step without what it was drawn for
            return False
        return False

    kept, end = list(steps), time.monotonic() + limit_s
    if not fails(kept):
        return kept
    size = max(len(kept) // 2, 1)
    while time.monotonic() < end:
        start, is_smaller = 0, False
        while start < len(kept) - 1 and time.monotonic() < end:
            candidate = kept[:start] + kept[min(start + size, len(kept) - 1) :]
            if fails(candidate):
                kept, is_smaller = candidate, True
            else:
                start += size
        if size == 1 and not is_smaller:
            break
        size = max(size // 2, 1)
    return kept


def episode(seed: int, accepted: int = PER_EPISODE) -> Tally:
    """One episode. Raises AssertionError with the seed and the actions that it takes."""
    tally = Tally()
    played = Episode(tally, has_pools=has_pools(seed))
    try:
        played.run(seed, accepted)
    except Broken as broken:
        raise AssertionError(_story(seed, accepted, played, broken)) from broken
    return tally


def campaign(first_seed: int, accepted: int) -> Tally:
    """Episodes with consecutive seeds. Raises AssertionError with seed and actions."""
    tally = Tally()
    seed = first_seed
    while tally.done < accepted:
        tally.add(episode(seed, min(PER_EPISODE, accepted - tally.done)))
        seed += 1
    return tally


def _story(seed: int, per_episode: int, played: Episode, broken: Broken) -> str:
    steps = shrink(played.steps, broken.id, has_pools=has_pools(seed))
    lines = [
        str(broken),
        f"seed {seed}, action {len(played.steps)} of an episode of {per_episode}; replay with",
        f"BALLAST_SEED={seed} pytest tests/invariant/test_system_state.py",
        f"the {len(steps)} actions it takes:",
        *(f"  {described(played.cast, step)}" for step in steps),
    ]
    if len(steps) <= MOST_PRINTED:
        lines += ["for system_campaign.replay:", *(f"  {step!r}," for step in steps)]
    return "\n".join(lines)
