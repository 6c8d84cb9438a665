"""Price rounds, as a Chainlink-shaped feed would publish them: from a file or from a bundled crash.

Every source ends as one chronological list of :class:`Round`, merged over the assets:

* **Hourly candles** (``timestamp`` and ``<asset>_open|high|low|close`` columns, prices in dollars)
  are expanded into the rounds that a feed with a deviation threshold and a heartbeat would have
  published. Inside an hour the price goes open, nearer extreme, farther extreme, close, one third
  of the hour each, straight in log price. A round is made in the first whole second at which the
  price is at least the threshold away from the last answer, and at the latest one heartbeat after
  it.
* **Chainlink rounds** (``updated_at``, ``answer``) are taken as they are.
* **The synthetic crash** (:func:`synthetic_crash`) needs no file at all.

Times are unix seconds in UTC, answers are integers with 8 decimals (dollars times 1e8).
"""

from __future__ import annotations

import csv
import math
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

_N = TypeVar("_N", int, float)

ANSWER_DECIMALS = 8
ANSWER_SCALE = 100_000_000
HOUR_S = 3_600
# The mainnet ETH/USD and BTC/USD feeds: a round each 0.5 % and at least each hour.
DEVIATION = 0.005
HEARTBEAT_S = HOUR_S
# Missing candles up to this long are bridged by a straight line; the 2019-2021 archive misses three
# hours at most.
MAX_GAP_S = 6 * HOUR_S

_CANDLE_PARTS = ("open", "high", "low", "close")
_DATE_HINT = "write dates as YYYY-MM-DD or YYYY-MM-DDTHH:MM (UTC)"


class PriceError(ValueError):
    """A price source that cannot be used. The message says what to do next."""


@dataclass(frozen=True, slots=True)
class Round:
    """One feed update: dollars with 8 decimals, unix seconds, asset in upper case."""

    asset: str
    time_s: int
    answer: int

    @property
    def price(self) -> float:
        """The answer in dollars, for charts only."""
        return self.answer / ANSWER_SCALE


@dataclass(frozen=True, slots=True)
class PriceSeries:
    """Chronological rounds of one or more assets and where they come from."""

    source: str
    rounds: tuple[Round, ...]

    @property
    def assets(self) -> tuple[str, ...]:
        """The assets that have at least one round, sorted by name."""
        return tuple(sorted({r.asset for r in self.rounds}))

    @property
    def start_s(self) -> int:
        """Time of the first round, unix seconds."""
        return self.rounds[0].time_s

    @property
    def end_s(self) -> int:
        """Time of the last round, unix seconds."""
        return self.rounds[-1].time_s

    def opening(self) -> dict[str, int]:
        """The first answer of every asset (8 decimals), at which a replay opens its accounts."""
        first: dict[str, int] = {}
        for r in self.rounds:
            first.setdefault(r.asset, r.answer)
        return first

    def between(self, start_s: int | None, end_s: int | None) -> PriceSeries:
        """The rounds with ``start_s <= time < end_s`` in unix seconds; ``None`` leaves a side open.

        Raises :class:`PriceError` when nothing is left or an asset would lose all its rounds.
        """
        _require_order(start_s, end_s)
        kept = tuple(
            r
            for r in self.rounds
            if (start_s is None or r.time_s >= start_s) and (end_s is None or r.time_s < end_s)
        )
        if {r.asset for r in kept} != {r.asset for r in self.rounds}:
            raise PriceError(
                f"{self.source}: no rounds in the range asked for; the source covers "
                f"{iso(self.start_s)} to {iso(self.end_s)}, choose --from and --to inside it"
            )
        return PriceSeries(self.source, kept)


def iso(time_s: int) -> str:
    """``time_s`` (unix seconds) as an ISO date and time in UTC, to the minute."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%MZ")


def parse_time(text: str) -> int:
    """Unix seconds of an ISO date or date-time, read as UTC when it names no zone.

    Raises :class:`PriceError` when the text is no date.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PriceError(f"{text!r} is not a date: {_DATE_HINT}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def load(
    files: Sequence[str | Path] = (),
    start_s: int | None = None,
    end_s: int | None = None,
    *,
    deviation: float = DEVIATION,
    heartbeat_s: int = HEARTBEAT_S,
) -> PriceSeries:
    """Rounds of ``files`` with ``start_s <= time < end_s``; no files, the synthetic crash.

    A name may be given as ``ETH=path`` to say which asset a file of Chainlink rounds belongs to;
    otherwise the file name must contain it (``chainlink_eth_usd_2023.csv``). ``deviation`` (a
    fraction) and ``heartbeat_s`` shape the expansion of candles and of the synthetic crash. Raises
    :class:`PriceError`, naming the next step, for a missing file, an unknown shape, bad columns or
    values, gaps, two files of one asset and an empty range.
    """
    _require_order(start_s, end_s)
    if not files:
        return synthetic_crash(deviation=deviation, heartbeat_s=heartbeat_s).between(start_s, end_s)
    parts = [_read(str(f), start_s, end_s, deviation, heartbeat_s) for f in files]
    seen: set[str] = set()
    for part in parts:
        twice = seen & set(part.assets)
        if twice:
            raise PriceError(
                f"{part.source}: {', '.join(sorted(twice))} is given twice; "
                "pass one file for each asset"
            )
        seen |= set(part.assets)
    merged = _merge(r for part in parts for r in part.rounds)
    return PriceSeries(" + ".join(part.source for part in parts), merged)


def _read(
    name: str, start_s: int | None, end_s: int | None, deviation: float, heartbeat_s: int
) -> PriceSeries:
    asset, path = _split_name(name)
    if not path.is_file():
        raise PriceError(
            f"{path}: no such file; leave --prices out for the bundled synthetic crash"
        )
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        columns = tuple(c.strip() for c in reader.fieldnames or ())
        reader.fieldnames = columns
        if "timestamp" in columns:
            return _read_candles(path, columns, reader, start_s, end_s, deviation, heartbeat_s)
        if "updated_at" in columns:
            return _read_rounds(path, asset, columns, reader, start_s, end_s)
    raise PriceError(
        f"{path.name}: unknown shape with columns {', '.join(columns) or '(none)'}; expected "
        "timestamp, eth_open, eth_high, eth_low, eth_close, ... (hourly candles) or updated_at, "
        "answer (Chainlink rounds)"
    )


def _split_name(name: str) -> tuple[str | None, Path]:
    match = re.fullmatch(r"([A-Za-z0-9]{2,10})=(.+)", name)
    return (match[1].upper(), Path(match[2])) if match else (None, Path(name))


# Chainlink rounds


def _read_rounds(
    path: Path,
    asset: str | None,
    columns: Sequence[str],
    rows: Iterable[dict[str, str]],
    start_s: int | None,
    end_s: int | None,
) -> PriceSeries:
    if "answer" not in columns:
        raise PriceError(
            f"{path.name}: rounds need the columns updated_at and answer, "
            f"found {', '.join(columns)}"
        )
    asset = asset or _asset_of(path)
    rounds = [
        Round(asset, _number(path, n, row, "updated_at", int), _number(path, n, row, "answer", int))
        for n, row in enumerate(rows, start=2)
    ]
    for n, (before, after) in enumerate(zip(rounds, rounds[1:], strict=False), start=3):
        if after.time_s < before.time_s:
            raise PriceError(
                f"{path.name} line {n}: updated_at goes back in time; sort the file by updated_at"
            )
    if not rounds:
        raise PriceError(
            f"{path.name}: holds no rounds; pass a file with at least one line below the header"
        )
    cut = PriceSeries(path.name, tuple(rounds)).between(start_s, end_s)
    for before, after in zip(cut.rounds, cut.rounds[1:], strict=False):
        _require_no_gap(path, before.time_s, after.time_s)
    return cut


def _asset_of(path: Path) -> str:
    words = [w for w in re.split(r"[^a-z0-9]+", path.stem.lower()) if w]
    known = [w for w in words if w in ("eth", "btc")]
    if len(known) == 1:
        return known[0].upper()
    raise PriceError(
        f"{path.name}: the name does not tell the asset; pass it as --prices ETH={path}"
    )


# Hourly candles


@dataclass(frozen=True, slots=True)
class _Candle:
    time_s: int
    open: float
    high: float
    low: float
    close: float

    def knots(self) -> list[tuple[int, float]]:
        """The path of the hour: open, nearer extreme, farther extreme, close."""
        up_first = math.log(self.high / self.open) <= math.log(self.open / self.low)
        near, far = (self.high, self.low) if up_first else (self.low, self.high)
        third_s = HOUR_S // 3
        return [
            (self.time_s, self.open),
            (self.time_s + third_s, near),
            (self.time_s + 2 * third_s, far),
            (self.time_s + HOUR_S, self.close),
        ]


def _read_candles(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[dict[str, str]],
    start_s: int | None,
    end_s: int | None,
    deviation: float,
    heartbeat_s: int,
) -> PriceSeries:
    assets = _candle_assets(path, columns)
    candles: dict[str, list[_Candle]] = {a: [] for a in assets}
    first_s: int | None = None
    last_s: int | None = None
    for n, row in enumerate(rows, start=2):
        time_s = _number(path, n, row, "timestamp", int)
        if last_s is not None and time_s <= last_s:
            raise PriceError(
                f"{path.name} line {n}: timestamp does not grow; sort the file and drop doubles"
            )
        first_s, last_s = first_s if first_s is not None else time_s, time_s
        if (start_s is not None and time_s + HOUR_S <= start_s) or (
            end_s is not None and time_s >= end_s
        ):
            continue
        for asset in assets:
            values = [
                _number(path, n, row, f"{asset.lower()}_{part}", float) for part in _CANDLE_PARTS
            ]
            candle = _Candle(time_s, *values)
            if (
                not candle.low
                <= min(candle.open, candle.close)
                <= max(candle.open, candle.close)
                <= candle.high
            ):
                raise PriceError(
                    f"{path.name} line {n}: {asset} high and low do not hold open and "
                    "close; fix the line"
                )
            candles[asset].append(candle)
    if first_s is None or last_s is None:
        raise PriceError(
            f"{path.name}: holds no candles; pass a file with at least one line below the header"
        )
    if not all(candles.values()):
        raise PriceError(
            f"{path.name}: no candles in the range asked for; the file covers {iso(first_s)} to "
            f"{iso(last_s + HOUR_S)}, choose --from and --to inside it"
        )
    rounds: list[Round] = []
    for asset, series in candles.items():
        for before, after in zip(series, series[1:], strict=False):
            _require_no_gap(path, before.time_s + HOUR_S, after.time_s)
        knots = [knot for candle in series for knot in candle.knots()]
        rounds += expand(asset, knots, deviation=deviation, heartbeat_s=heartbeat_s)
    return PriceSeries(path.name, _merge(rounds)).between(start_s, end_s)


def _candle_assets(path: Path, columns: Sequence[str]) -> list[str]:
    names = [c[: -len("_open")] for c in columns if c.endswith("_open")]
    if not names:
        raise PriceError(
            f"{path.name}: candles need columns such as eth_open, eth_high, eth_low, eth_close"
        )
    for name in names:
        missing = [f"{name}_{part}" for part in _CANDLE_PARTS if f"{name}_{part}" not in columns]
        if missing:
            raise PriceError(
                f"{path.name}: the column {missing[0]} is missing; add it or drop {name}_open"
            )
    return [name.upper() for name in names]


def expand(
    asset: str,
    knots: Sequence[tuple[int, float]],
    *,
    deviation: float = DEVIATION,
    heartbeat_s: int = HEARTBEAT_S,
) -> list[Round]:
    """The rounds a feed publishes along a path that is straight in log price between ``knots``.

    ``knots`` are (unix seconds, dollars), not going back in time; two knots of one second are a
    jump. ``deviation`` is the threshold as a fraction of the last answer, ``heartbeat_s`` the
    longest time without a round. The first knot is the first round. At most one round is made in a
    second.
    """
    time_s, price = knots[0]
    rounds = [Round(asset, time_s, _answer(price))]
    for (start_s, start), (end_s, end) in zip(knots, knots[1:], strict=False):
        while True:
            last = rounds[-1]
            made_s = _next_round_s(last, start_s, start, end_s, end, deviation, heartbeat_s)
            if made_s is None:
                break
            rounds.append(
                Round(asset, made_s, _answer(_price_at(made_s, start_s, start, end_s, end)))
            )
    return rounds


def _next_round_s(
    last: Round,
    start_s: int,
    start: float,
    end_s: int,
    end: float,
    deviation: float,
    heartbeat_s: int,
) -> int | None:
    """Second of the first round after ``last`` inside the segment, or ``None``."""
    earliest_s = max(start_s, last.time_s + 1)
    if earliest_s > end_s:
        return None
    due_s = max(earliest_s, last.time_s + heartbeat_s)
    if _deviates(_price_at(earliest_s, start_s, start, end_s, end), last, deviation):
        return earliest_s
    if _deviates(end, last, deviation):
        # log price is linear in time, so the crossing has a closed form; the loop only absorbs
        # float rounding
        target = last.price * (1 + deviation if end > last.price else 1 - deviation)
        crossing_s = start_s + (end_s - start_s) * math.log(target / start) / math.log(end / start)
        made_s = min(max(earliest_s, math.ceil(crossing_s)), end_s)
        while made_s < end_s and not _deviates(
            _price_at(made_s, start_s, start, end_s, end), last, deviation
        ):
            made_s += 1
        return min(made_s, due_s)
    return due_s if due_s <= end_s else None


def _price_at(time_s: int, start_s: int, start: float, end_s: int, end: float) -> float:
    if time_s >= end_s:
        return end
    return float(start * (end / start) ** ((time_s - start_s) / (end_s - start_s)))


def _deviates(price: float, last: Round, deviation: float) -> bool:
    return abs(_answer(price) - last.answer) >= deviation * last.answer


def _answer(price: float) -> int:
    return max(1, round(price * ANSWER_SCALE))


# The bundled crash

SYNTHETIC_SEED = 20_200_312
SYNTHETIC_START_S = 1_893_456_000  # 2030-01-01T00:00Z, a date that no market has seen
_SYNTHETIC_OPEN = {"ETH": 2_000.0, "BTC": 40_000.0}
_SYNTHETIC_STEP_S = 60
# (hour, ETH as a fraction of its opening price, noise of the hours up to here in log units per
# square root of an hour)
_SYNTHETIC_COURSE = (
    (0.0, 1.000, 0.000),
    (16.0, 0.985, 0.005),  # calm
    (22.0, 0.940, 0.008),  # a slide
    (25.0, 0.790, 0.020),  # first leg
    (26.5, 0.860, 0.022),  # bounce
    (31.0, 0.710, 0.018),
    (33.0, 0.745, 0.015),
    (35.5, 0.540, 0.026),  # capitulation
    (36.5, 0.655, 0.030),  # violent bounce
    (39.0, 0.555, 0.022),  # retest: 45 % below the start, within a day of the slide
    (44.0, 0.650, 0.014),
    (54.0, 0.700, 0.009),  # partial recovery
)
_SYNTHETIC_BTC_BETA = 0.85  # log move of BTC for one of ETH along the course
_SYNTHETIC_CORRELATION = 0.85  # of the noise around it


def synthetic_crash(
    seed: int = SYNTHETIC_SEED, *, deviation: float = DEVIATION, heartbeat_s: int = HEARTBEAT_S
) -> PriceSeries:
    """54 hours of ETH and BTC: calm, a fall of about 45 % within a day, a partial recovery.

    The course (``_SYNTHETIC_COURSE``) fixes where each phase ends, so every seed crashes alike;
    between two points of it the log price is a Brownian bridge on a one-minute grid with the
    phase's noise. BTC follows 0.85 of ETH's log course, and its noise is correlated by 0.85 with
    ETH's. Only ``random.Random(seed).random()``, whose stream Python keeps across versions, is
    drawn from. The path then goes through :func:`expand` like any other.
    """
    steps = random.Random(seed)
    knots: dict[str, list[tuple[int, float]]] = {
        asset: [(SYNTHETIC_START_S, price)] for asset, price in _SYNTHETIC_OPEN.items()
    }
    for (from_h, from_level, _), (to_h, to_level, noise) in zip(
        _SYNTHETIC_COURSE, _SYNTHETIC_COURSE[1:], strict=False
    ):
        count = round((to_h - from_h) * HOUR_S / _SYNTHETIC_STEP_S)
        scale = noise * math.sqrt(_SYNTHETIC_STEP_S / HOUR_S)
        shocks = [_normal_pair(steps) for _ in range(count)]
        rest = math.sqrt(1 - _SYNTHETIC_CORRELATION**2)
        noises = {
            "ETH": [scale * x for x, _ in shocks],
            "BTC": [
                scale * _SYNTHETIC_BTC_BETA * (_SYNTHETIC_CORRELATION * x + rest * y)
                for x, y in shocks
            ],
        }
        for asset, beta in (("ETH", 1.0), ("BTC", _SYNTHETIC_BTC_BETA)):
            drift = beta * math.log(to_level / from_level)
            pull = sum(noises[asset])
            walked = 0.0
            for i, shock in enumerate(noises[asset], start=1):
                walked += shock
                log_level = beta * math.log(from_level) + walked + (drift - pull) * i / count
                at_s = SYNTHETIC_START_S + round(from_h * HOUR_S) + i * _SYNTHETIC_STEP_S
                knots[asset].append((at_s, _SYNTHETIC_OPEN[asset] * math.exp(log_level)))
    rounds = [
        r
        for asset in knots
        for r in expand(asset, knots[asset], deviation=deviation, heartbeat_s=heartbeat_s)
    ]
    return PriceSeries(f"synthetic crash, seed {seed}", _merge(rounds))


def _normal_pair(source: random.Random) -> tuple[float, float]:
    """Two independent standard normal draws (Box and Muller)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - source.random()))
    angle = 2.0 * math.pi * source.random()
    return radius * math.cos(angle), radius * math.sin(angle)


# Shared checks


def _merge(rounds: Iterable[Round]) -> tuple[Round, ...]:
    return tuple(sorted(rounds, key=lambda r: (r.time_s, r.asset)))


def _require_order(start_s: int | None, end_s: int | None) -> None:
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise PriceError(
            f"the range is empty: --to {iso(end_s)} is not after --from {iso(start_s)}"
        )


def _require_no_gap(path: Path, from_s: int, to_s: int) -> None:
    if to_s - from_s > MAX_GAP_S:
        raise PriceError(
            f"{path.name}: nothing between {iso(from_s)} and {iso(to_s)}; "
            "choose --from and --to that avoid this gap"
        )


def _number(path: Path, line: int, row: dict[str, str], column: str, kind: type[_N]) -> _N:
    text = row.get(column)
    try:
        value = kind(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = kind(0)
    if not 0 < value < math.inf:
        raise PriceError(
            f"{path.name} line {line}: {column} is {text!r}; expected a positive number"
        )
    return value


def rounds_per_asset(rounds: Iterable[Round]) -> Iterator[tuple[str, list[Round]]]:
    """Each asset with its own rounds, in order of name."""
    grouped: dict[str, list[Round]] = {}
    for r in rounds:
        grouped.setdefault(r.asset, []).append(r)
    yield from sorted(grouped.items())
