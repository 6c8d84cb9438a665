"""How fast a total may fall by withdrawals, in exact integers: `contracts/modules/outflows.vy`.

A level follows the total within a day; a withdrawal must leave the level less what may leave in a
day. Amounts are in whatever unit the keeper of the word counts, `now` is unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ballast.model.margin import BPS, div_up

DAY_S = 86_400


@dataclass(frozen=True)
class Outflow:
    """The word: the level, what the last withdrawal left, when that was, and the terms."""

    level: int = 0
    last: int = 0
    counted_at: int = 0
    limit_bps: int = BPS
    floor_log2: int = 0

    def level_up(self, total: int, now: int) -> int:
        """Where the level is now."""
        aim, passed_s = min(self.last, total), min(now - self.counted_at, DAY_S)
        if aim > self.level:
            return self.level + div_up((aim - self.level) * passed_s, DAY_S)
        return self.level - (self.level - aim) * passed_s // DAY_S

    def open(self, total: int, now: int, base: int | None = None) -> int:
        """What may leave now; the limit is a part of `base`, of the level by default."""
        if self.limit_bps == BPS:
            return total
        level = self.level_up(total, now)
        may_leave = max(
            (level if base is None else base) * self.limit_bps // BPS, 1 << self.floor_log2
        )
        return max(0, total - max(0, level - may_leave))

    def counted(self, total: int, amount: int, now: int) -> Outflow:
        """After a withdrawal that was allowed."""
        if self.limit_bps == BPS:
            return self
        level = self.level_up(total, now)
        return replace(self, level=level, last=total - amount, counted_at=now)
