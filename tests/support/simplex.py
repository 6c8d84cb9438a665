"""Small linear programs in exact integers: the simplex method with bounded variables.

    minimise the first cost, among equals the second      where A x <= limit, 0 <= x <= bound

The data are integers. A row stands for itself times any positive number and is divided by its
common factor, so no fraction is rounded. Bland's rule (of what improves, and of what blocks, the
lowest number) keeps it from running in circles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd


@dataclass
class Program:
    """A linear program, written down column by column; a limit is never negative."""

    bounds: list[int | None] = field(default_factory=list)
    costs: list[tuple[int, int]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    rows: list[dict[int, int]] = field(default_factory=list)

    def column(self, bound: int | None, cost: tuple[int, int] = (0, 0)) -> int:
        """The number of a new variable between 0 and a bound, None for no bound."""
        self.bounds.append(bound)
        self.costs.append(cost)
        return len(self.bounds) - 1

    def at_most(self, limit: int, terms: Mapping[int, int]) -> None:
        """A new row: the sum of variables times coefficients is at most a limit >= 0."""
        assert limit >= 0
        self.limits.append(limit)
        self.rows.append(dict(terms))

    def least(self) -> list[Fraction]:
        """The variables at an optimum. All zero is always allowed, so one exists if costs are
        bounded below; raises ZeroDivisionError if they are not."""
        return _Tableau(self).solved()


class _Tableau:
    """Rows over variables and slacks, the right side last; the first two rows are the costs.

    A basic variable has a positive coefficient in its own row and none elsewhere. The others are
    zero: one at its bound is replaced by what it lacks of it, and `is_flipped`.
    """

    def __init__(self, program: Program) -> None:
        self.count = len(program.bounds)
        self.bounds = [*program.bounds, *[None] * len(program.rows)]
        width = len(self.bounds)
        self.rows = [[*costs, *[0] * (width - self.count + 1)] for costs in _columns(program)]
        for number, (limit, terms) in enumerate(zip(program.limits, program.rows, strict=True)):
            row = [0] * width + [limit]
            for place, coefficient in terms.items():
                row[place] = coefficient
            row[self.count + number] = 1
            self.rows.append(row)
        self.basis = list(range(self.count, width))
        self.is_flipped = [False] * width

    def solved(self) -> list[Fraction]:
        while (enters := self._entering()) is not None:
            self._enter(enters)
        values = [Fraction(0)] * len(self.bounds)
        for place, row in zip(self.basis, self.rows[2:], strict=True):
            values[place] = Fraction(row[-1], row[place])
        return [
            (self.bounds[place] or 0) - values[place] if self.is_flipped[place] else values[place]
            for place in range(self.count)
        ]

    def _entering(self) -> int | None:
        """The first variable that lowers the costs."""
        first, second = self.rows[:2]
        for place in range(len(self.bounds)):
            if first[place] < 0 or (first[place] == 0 and second[place] < 0):
                return place
        return None

    def _enter(self, enters: int) -> None:
        """Raises a variable until something blocks it: another one at 0 or its bound, or itself."""
        blocked_by: int | None = None
        farthest: tuple[int, int] | None = None  # a quotient
        if (bound := self.bounds[enters]) is not None:
            farthest, blocked_by = (bound, 1), enters
        leaving = 0
        for number, row in enumerate(self.rows[2:], 2):
            basic, slope = self.basis[number - 2], row[enters]
            if slope > 0:
                reach = row[-1], slope
            elif slope < 0 and (bound := self.bounds[basic]) is not None:
                reach = bound * row[basic] - row[-1], -slope
            else:
                continue
            order = 0 if farthest is None else reach[0] * farthest[1] - farthest[0] * reach[1]
            if blocked_by is None or order < 0 or (order == 0 and basic < blocked_by):
                farthest, blocked_by, leaving = reach, basic, number
        if blocked_by is None:
            raise ZeroDivisionError("costs have no lower bound")
        if blocked_by == enters:
            self._flip(enters)
            return
        if self.rows[leaving][enters] < 0:
            self._flip(blocked_by)
            self.rows[leaving] = [-entry for entry in self.rows[leaving]]
        self._pivot(leaving, enters)

    def _flip(self, place: int) -> None:
        """Replaces a variable by what it lacks of its bound."""
        bound = self.bounds[place]
        assert bound is not None
        for row in self.rows:
            if row[place]:
                row[-1] -= row[place] * bound
                row[place] = -row[place]
        self.is_flipped[place] = not self.is_flipped[place]

    def _pivot(self, leaving: int, enters: int) -> None:
        pivot = self.rows[leaving]
        scale = pivot[enters]
        for number, row in enumerate(self.rows):
            slope = row[enters]
            if number == leaving or slope == 0:
                continue
            mixed = [a * scale - b * slope for a, b in zip(row, pivot, strict=True)]
            factor = gcd(*mixed) or 1
            self.rows[number] = [entry // factor for entry in mixed]
        self.basis[leaving - 2] = enters


def _columns(program: Program) -> tuple[list[int], list[int]]:
    return [cost for cost, _ in program.costs], [cost for _, cost in program.costs]
