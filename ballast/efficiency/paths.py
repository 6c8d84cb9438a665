"""The markets on which efficiency is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ballast.prices import PriceSeries, load, parse_time
from ballast.replay import WARM_UP_S


@dataclass(frozen=True)
class Market:
    """A stretch of prices. Times are ISO dates in UTC; without files it is the bundled crash.

    ``is_played`` on the real contracts, or only in the exact model.
    """

    key: str
    title: str
    files: tuple[str, ...] = ()
    opens: str | None = None  # when the accounts open
    ends: str | None = None
    is_played: bool = True

    @property
    def opens_at_s(self) -> int:
        """When the accounts open, unix seconds: at the earliest when the oracle has warmed up."""
        start_s = self.load().start_s + WARM_UP_S
        return max(start_s, parse_time(self.opens)) if self.opens else start_s

    def load(self) -> PriceSeries:
        """The rounds, from when the oracle warms up."""
        opens_s = parse_time(self.opens) - WARM_UP_S if self.opens else None
        return load(self.files, opens_s, parse_time(self.ends) if self.ends else None)


SYNTHETIC = Market("synthetic", "synthetic crash")


def markets(hourly: Path | None = None, chainlink: Sequence[Path] = ()) -> list[Market]:
    """The bundled crash, and what the files allow.

    ``hourly`` holds candles of 2020 and 2021, ``chainlink`` the rounds of ETH and BTC of 2023.
    """
    found = [SYNTHETIC]
    if hourly is not None:
        candles = (str(hourly),)
        spring = ("2020-02-15", "2020-05-15")
        found += [
            Market("march_2020", "March 2020", candles, "2020-03-11", "2020-03-14"),
            # Nobody opens 3.5x on 18 May: initial margin then allowed 1.25x on ETH. This night was
            # the last time before that it did.
            Market("may_2021", "May 2021", candles, "2021-05-10T03:00", "2021-05-21"),
            Market("spring_2020", "spring 2020", candles, *spring, is_played=False),
        ]
    if chainlink:
        # The deepest fall within two weeks, of all that the files hold.
        rounds = tuple(str(path) for path in chainlink)
        found.append(Market("august_2023", "August 2023", rounds, "2023-08-05", "2023-08-19"))
    return found
