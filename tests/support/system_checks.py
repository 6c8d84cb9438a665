"""The frame of the checks on the whole system: what is demanded, and how often it could be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ballast.chain import Receipt
from tests.support.system_cast import Cast
from tests.support.system_steps import Call


class Broken(AssertionError):
    """An invariant does not hold. `id` names it."""

    def __init__(self, invariant: str, message: str) -> None:
        self.id = invariant
        super().__init__(f"{invariant}: {message}")


@dataclass(frozen=True)
class Outcome:
    """What became of a step: receipts of what was accepted, and the reason of a refusal."""

    receipts: tuple[tuple[Call, Receipt], ...] = ()
    reason: str | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether all transactions went through."""
        return self.reason is None


@dataclass
class Checks:
    """Demands on a cast, and the premise counters: an invariant never put to the test is seen."""

    cast: Cast
    premises: Counter[str] = field(default_factory=Counter)
    only: str | None = None  # the one invariant that is judged, where the others are known to break
    _judged: dict[str, tuple[object, ...]] = field(default_factory=dict)

    def is_new(self, what: str, *parts: object) -> bool:
        """Whether these parts of a state differ from those that were judged last."""
        known = self._judged.get(what)
        self._judged[what] = parts
        return known != parts

    def held(self, invariant: str, is_premise: bool = True) -> bool:
        """Counts a premise."""
        if is_premise:
            self.premises[invariant] += 1
        return is_premise

    def must(self, invariant: str, holds: bool, message: str) -> None:
        """Demands. Raises Broken."""
        if not holds and self.only in (None, invariant.split()[0]):
            raise Broken(invariant, message)
