"""Whether a trader who sees the true price between two rounds of the feed can live on it.

    python -m ballast.replay.snipers                   # 30 seeds x 30 days, about a minute
    python -m ballast.replay.snipers --json FILE       # the same figures for machines

The market charges, per side and of the index price,

    fee = base + (band + sigma sqrt(lag)) / 2          sigma per square-root year, lag in years

where `band` is the width in which the true price can lie without a new round: twice the feed's
deviation threshold. Two sides pay the whole band, and a round trip through the index gains at most
that much plus what the price overshoots until a round arrives; the lag is there for the overshoot.

**World.** The true price is a martingale on blocks of 12 s: geometric Brownian motion, optionally
with jumps. When it stands 0.5% or more from the index, or the index is an hour old, a round with
that block's price lands in the next block. The sniper knows the true price of each block, knows
that a round is about to land, and trades in its block ahead of it, at the old index: so he gains
from the overshoot of two blocks. With `is_ahead=False` he comes after the round of a block, and the
overshoot is that of one.

**What is left out.** Funding, which a sniper pays on either side because he makes the skew, and
gas: both would cost him. The skew term of the fill price, which a round trip pays and gets back:
positions are small against the depth. What is open at the end is worth the true price, no fee.

**Two measures**, both as parts of the notional and net of fees. *Raw* is what he ends with. It
holds the luck of the direction: a position held for 30 days at 200% has a standard deviation of
57%. *Edges* is the sum of (true - index) x size over his trades less the fees: as the true price is
a martingale and he does not know its future, the rest of the raw result has mean zero. Both have
the same mean, and edges far less noise.

**Volatility that the fee uses.** On chain it is the largest of three estimates, falling by a tenth
an hour at most (`contracts/modules/volatility.vy`). Here it is `SEEN` = 0.8 times the true one at
all times. The exact model never estimates less on these paths (`seen_ratios`), so a sniper who
waits until the estimate is low finds nothing lower than what he is given here all the time.

Rates, gaps and results are fractions of one, `sigma` is per square-root year, `_s` seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from ballast.model.oracle import FeedModel, OracleModel, Parameters, RawRound
from ballast.prices import ANSWER_SCALE, DEVIATION, HEARTBEAT_S

Array = Any  # numpy.ndarray, of float64 unless said otherwise

YEAR_S = 31_536_000
BLOCK_S = 12
BLOCKS_A_DAY = 7_200

SIGMAS = (0.8, 1.4, 2.0)
SEEDS = 30
DAYS = 30

SEEN = 0.8  # volatility that the fee uses, as part of the true one
EDGE = 0.0045  # gap at which the impatient rules act
PATIENCE_S = 14_400  # longest that `until_paid` waits for its fees

TABLE_WIDTH = 120


# ---- the fee


@dataclass(frozen=True)
class Fee:
    """What a side costs, of the index price. `is_ageing` is the naive rule of A12."""

    base: float = 0.0005
    band: float = 2 * DEVIATION
    lag_s: float = 1_200
    is_ageing: bool = False  # uncertainty counted from the last round: nothing right after it

    def rate(self, sigma: Array, age_s: Array) -> Array:
        """The fee at the volatility `sigma` on an index made `age_s` seconds ago."""
        if self.is_ageing:
            width = np.minimum(self.band, sigma * np.sqrt(age_s / YEAR_S))
        else:
            width = self.band + sigma * math.sqrt(self.lag_s / YEAR_S)
        return self.base + width / 2


RECOMMENDED = Fee()
ONE_DEVIATION = Fee(band=DEVIATION, lag_s=60)  # "dev" of the formula read as the threshold itself
AGEING = Fee(is_ageing=True)
LAGS_S = (12, 24, 36, 60, 120, 300, 600, 1_200, 1_800)


# ---- the world


@dataclass(frozen=True)
class Jumps:
    """Merton's: log jumps of normal size at Poisson times, the drift between them compensated."""

    per_year: float = 24.0
    mean: float = -0.03
    sd: float = 0.03


class Paths(NamedTuple):
    """True prices and the feed's answers; rows are blocks, columns paths (sigma by sigma)."""

    sigma: Array  # of each path
    log_price: Array
    source: Array  # int32: the block whose price is the index once this block's round has landed


def simulate(
    sigmas: Sequence[float] = SIGMAS,
    seeds: int = SEEDS,
    days: int = DAYS,
    jumps: Jumps | None = None,
) -> Paths:
    """`seeds` paths for each volatility; a path depends on its own seed and volatility only."""
    blocks = days * BLOCKS_A_DAY
    sigma = np.repeat(np.asarray(sigmas, dtype=float), seeds)
    log_price = np.empty((blocks, sigma.size))
    for path in range(sigma.size):
        rng = np.random.default_rng([path % seeds, round(1_000 * sigma[path])])
        sd = sigma[path] * math.sqrt(BLOCK_S / YEAR_S)
        steps = rng.standard_normal(blocks) * sd - sd * sd / 2
        if jumps is not None:
            steps += _jumps(rng, blocks, jumps)
        steps[0] = 0.0  # the feed starts with a round at the true price
        log_price[:, path] = np.cumsum(steps)
    return Paths(sigma, log_price, _sources(log_price))


def _jumps(rng: np.random.Generator, blocks: int, jumps: Jumps) -> Array:
    """Log jumps of every block; their mean as a price is taken out, so that prices stay fair."""
    rate = jumps.per_year * BLOCK_S / YEAR_S
    mean_factor = math.exp(jumps.mean + jumps.sd**2 / 2)
    count = rng.poisson(rate, blocks)
    size = jumps.mean * count + jumps.sd * np.sqrt(count) * rng.standard_normal(blocks)
    return size - rate * (mean_factor - 1)


def _sources(log_price: Array) -> Array:
    """What the feed publishes: a round lands one block after its price called for it."""
    up, down = math.log1p(DEVIATION), math.log1p(-DEVIATION)
    blocks, paths = log_price.shape
    source = np.empty((blocks, paths), dtype=np.int32)
    made = np.zeros(paths, dtype=np.int32)  # the block of the newest round's price
    index = log_price[0].copy()
    for block in range(blocks):
        source[block] = made
        gap = log_price[block] - index
        calls = (gap >= up) | (gap <= down) | (made <= block - HEARTBEAT_S // BLOCK_S)
        np.copyto(index, log_price[block], where=calls)
        np.copyto(made, block, where=calls)
    return source


# ---- what the sniper sees


class Moments(NamedTuple):
    """The blocks in which a rule may act; rows are a path's moments in order, columns paths.

    Paths with fewer moments than others end with rows in which there is nothing to do.
    """

    sigma: Array  # of each path
    end_price: Array  # of each path; prices are relative to its first
    index: Array  # at which he trades
    gap: Array  # true price / index - 1
    time_s: Array
    age_s: Array  # of the index
    is_landing: Array  # bool: the next round lands behind him
    is_fresh: Array  # bool: the index is new to him


def moments(paths: Paths, is_ahead: bool = True) -> Moments:
    """All blocks with a gap of `EDGE` or a new index.

    `is_ahead`: he trades before the round of the same block lands, else after it.
    """
    blocks, count = paths.source.shape
    columns = []
    for path in range(count):
        source = paths.source[:, path]
        if is_ahead:
            source = np.concatenate((source[:1], source[:-1]))
        is_new = source[1:] != source[:-1]
        is_fresh, is_landing = np.append(False, is_new), np.append(is_new, False)
        log_price = paths.log_price[:, path]
        gap = np.expm1(log_price - log_price[source])
        at = np.flatnonzero((np.abs(gap) >= EDGE) | is_fresh)
        age_s = (at - source[at] - 1) * BLOCK_S
        index = np.exp(log_price[source[at]])
        columns.append((index, gap[at], at * BLOCK_S, age_s, is_landing[at], is_fresh[at]))
    rows = max(column[0].size for column in columns)
    empty = (1.0, 0.0, blocks * BLOCK_S, 0.0, False, False)
    padded = [
        np.full((rows, count), nothing, dtype=bool if isinstance(nothing, bool) else float)
        for nothing in empty
    ]
    for path, column in enumerate(columns):
        for target, values in zip(padded, column, strict=True):
            target[: values.size, path] = values
    return Moments(paths.sigma, np.exp(paths.log_price[-1]), *padded)


# ---- rules


class Scene(NamedTuple):
    """One moment of all paths; `position` is -1, 0 or 1 times a notional of one."""

    gap: Array
    side: Array  # sign of the gap
    edge: Array  # sign of the gap where it is `EDGE` or more, else 0
    is_landing: Array
    is_fresh: Array
    fee: Array
    position: Array
    gain: Array  # of the open position at the index, before fees
    held_s: Array


Rule = Callable[[Scene], Array]  # the position wanted


def edge_to_edge(s: Scene) -> Array:
    """Open at an edge toward the true price, close at the opposite edge."""
    return np.where(s.position == 0, s.edge, np.where(s.position * s.edge < 0, 0, s.position))


def one_round(s: Scene) -> Array:
    """Open at an edge, close right after the next round."""
    return np.where(s.position == 0, s.edge, np.where(s.is_fresh, 0, s.position))


def until_paid(s: Scene) -> Array:
    """Open at an edge, close after a round that pays both fees, or after four hours."""
    is_done = s.is_fresh & ((s.gain >= 2 * s.fee) | (s.held_s >= PATIENCE_S))
    return np.where(s.position == 0, s.edge, np.where(is_done, 0, s.position))


def always_in(s: Scene) -> Array:
    """Turn the position over at each edge."""
    return np.where(s.edge != 0, s.edge, s.position)


def certain_round(s: Scene) -> Array:
    """Turn over only right before a round that will move the index by the threshold or more."""
    return np.where(s.is_landing & (np.abs(s.gap) >= DEVIATION), s.side, s.position)


def choosy(s: Scene) -> Array:
    """Turn over right before a round, and only for a gap larger than the fee: no trade loses.

    The best reply known here. Its edges are never negative, under any fee; how large they are is
    what the lag has to make small.
    """
    return np.where(s.is_landing & (np.abs(s.gap) > s.fee), s.side, s.position)


FIXED_RULES: tuple[Rule, ...] = (edge_to_edge, one_round, until_paid, always_in, certain_round)
RULES: tuple[Rule, ...] = (*FIXED_RULES, choosy)


def name_of(rule: Rule) -> str:
    """A rule's name in tables."""
    return rule.__name__.replace("_", " ")


# ---- playing


class Played(NamedTuple):
    """Results per fee, rule and path, of a notional of one over the whole time."""

    raw: Array
    edges: Array
    sides: Array  # notional traded, a turn-over counts twice
    fees: Array


def play(
    seen: Moments, fees: Sequence[Fee], rules: Sequence[Rule] = RULES, sigma_seen: float = SEEN
) -> Played:
    """Every rule under every fee, all paths at once, moment by moment."""
    shape = (len(fees), len(rules), seen.sigma.size)
    position, size, entry, opened_s, cash, edges, paid, sides = (np.zeros(shape) for _ in range(8))
    entry += 1.0
    wanted = np.empty(shape)
    sigma = sigma_seen * seen.sigma
    rates = np.array([fee.rate(sigma, np.zeros_like(sigma)) for fee in fees])
    ageing = [(i, fee) for i, fee in enumerate(fees) if fee.is_ageing]
    all_sides = np.sign(seen.gap)
    all_edges = np.where(np.abs(seen.gap) >= EDGE, all_sides, 0.0)

    for k in range(len(seen.gap)):
        index, gap = seen.index[k], seen.gap[k]
        for i, fee in ageing:
            rates[i] = fee.rate(sigma, seen.age_s[k])
        gain = position * (index / entry - 1)
        held_s = seen.time_s[k] - opened_s
        market = (gap, all_sides[k], all_edges[k], seen.is_landing[k], seen.is_fresh[k], rates)
        for i, rule in enumerate(rules):
            wanted[:, i] = rule(Scene(*market, position[:, i], gain[:, i], held_s[:, i]))
        is_trade = wanted != position
        if not is_trade.any():
            continue
        # A notional of one at the index: a position keeps its size until it is traded.
        value = np.where(is_trade, wanted - size * index, 0.0)
        turnover = np.abs(value)
        cash -= value
        edges += value * gap
        paid += turnover * rates[:, None]
        sides += turnover
        np.copyto(size, wanted / index, where=is_trade)
        np.copyto(entry, index, where=is_trade)
        np.copyto(opened_s, seen.time_s[k], where=is_trade)
        np.copyto(position, wanted)
    raw = cash + size * seen.end_price - paid
    return Played(raw, edges - paid, sides, paid)


# ---- figures


@dataclass(frozen=True)
class Figures:
    """One rule under one fee at one volatility, means over seeds; fractions of the notional."""

    sigma: float
    rule: str
    fee: float  # per side, mean of what was paid
    round_trips: float  # two sides each
    per_trip: float  # edges less fees of a round trip
    edges: float  # of the whole time
    edges_se: float
    raw: float
    raw_se: float

    @property
    def is_harmless(self) -> bool:
        """Neither measure is two standard errors above zero."""
        return self.raw <= 2 * self.raw_se and self.edges <= 2 * self.edges_se


def figures(
    seen: Moments, fees: Sequence[Fee], rules: Sequence[Rule] = RULES, sigma_seen: float = SEEN
) -> dict[Fee, list[Figures]]:
    """Plays, and sums up by volatility and rule."""
    played = play(seen, fees, rules, sigma_seen)
    found: dict[Fee, list[Figures]] = {}
    for i, fee in enumerate(fees):
        rows = found.setdefault(fee, [])
        for sigma in dict.fromkeys(seen.sigma.tolist()):
            of_sigma = seen.sigma == sigma
            for j, rule in enumerate(rules):
                raw, edges, sides, paid = (values[i, j, of_sigma] for values in played)
                traded = float(sides.sum())
                rows.append(
                    Figures(
                        sigma,
                        name_of(rule),
                        float(paid.sum()) / traded if traded else 0.0,
                        traded / 2 / edges.size,
                        2 * float(edges.sum()) / traded if traded else 0.0,
                        float(edges.mean()),
                        _standard_error(edges),
                        float(raw.mean()),
                        _standard_error(raw),
                    )
                )
    return found


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1)) / math.sqrt(values.size)


# ---- the estimate on chain


def seen_ratios(paths: Paths, path: int, poke_every_s: int = 900) -> Array:
    """Volatility in the risk word over the true one, after each poke but those of the first day.

    The exact model of the oracle, on the rounds of one path. Increases stop when nobody has poked
    for `poke_every_s` = 900 s.
    """
    started_s = 1_700_000_100
    sigma = float(paths.sigma[path])
    source = paths.source[:, path]
    # Only the volatility is asked for; the rates must merely be valid.
    rates = Parameters(3_000, 1_500, 8_000, 1_500, 800, 4_000, 250, 200, 600, 10**18)
    feed = FeedModel(8, HEARTBEAT_S + 300, 40, 90)

    def publish(block: int, round_id: int) -> None:
        dollars = 2_000 * math.exp(float(paths.log_price[source[block], path]))
        answer = round(dollars * ANSWER_SCALE)
        feed.publish(RawRound(round_id, answer, started_s + block * BLOCK_S))

    publish(0, 1)
    oracle = OracleModel(now=started_s)
    oracle.list_asset(1, feed, round(sigma * 10**6), rates, started_s)
    changes = (np.flatnonzero(source[1:] != source[:-1]) + 1).tolist()
    ratios, published = [], 0
    for elapsed_s in range(poke_every_s, len(source) * BLOCK_S, poke_every_s):
        while published < len(changes) and changes[published] * BLOCK_S <= elapsed_s:
            publish(changes[published], published + 2)
            published += 1
        oracle.poke([1], started_s + elapsed_s)
        if elapsed_s > 86_400:
            ratios.append(oracle.assets[1].risk.sigma_e6 / 10**6 / sigma)
    return np.array(ratios)


# ---- telling it


class Seen(NamedTuple):
    """Volatility in the risk word over the true one, on some of the paths."""

    lowest: float
    median: float


@dataclass(frozen=True)
class Report:
    """Everything that `docs/economics.md` shows."""

    fee: Fee
    main: list[Figures]
    after: list[Figures]  # of a sniper who comes after the round of a block
    jumps: list[Figures]
    naive: Mapping[str, list[Figures]]
    lags: Mapping[int, list[Figures]]  # by seconds
    seen: Mapping[float, Seen]  # by volatility

    def to_json(self) -> str:
        """Fractions of one, per `DAYS` or what was asked for."""
        return json.dumps(asdict(self), indent=2) + "\n"


def measure(fee: Fee = RECOMMENDED, seeds: int = SEEDS, days: int = DAYS) -> Report:
    """All figures; takes a minute at full size."""
    paths = simulate(seeds=seeds, days=days)
    at_lag = {lag_s: replace(fee, lag_s=lag_s) for lag_s in LAGS_S}
    naive = {"band of one deviation": ONE_DEVIATION, "ageing (A12)": AGEING}
    found = figures(moments(paths), list({fee, *at_lag.values(), *naive.values()}))
    seen = {}
    for sigma, first in zip(SIGMAS, range(0, paths.sigma.size, seeds), strict=True):
        ratios = np.concatenate([seen_ratios(paths, path) for path in range(first, first + seeds)])
        seen[sigma] = Seen(float(ratios.min()), float(np.median(ratios)))
    after = figures(moments(paths, is_ahead=False), [fee])
    del paths
    jumps = figures(moments(simulate(seeds=seeds, days=days, jumps=Jumps())), [fee])
    return Report(
        fee,
        found[fee],
        after[fee],
        jumps[fee],
        {name: found[candidate] for name, candidate in naive.items()},
        {lag_s: found[candidate] for lag_s, candidate in at_lag.items()},
        seen,
    )


def _percent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:,.{digits}f}"


def _figures_table(title: str, rows: Sequence[Figures]) -> Table:
    table = Table(title=title)
    table.add_column("sigma", justify="right")
    table.add_column("rule", no_wrap=True)
    for heading in ("fee %", "round trips", "bp a trip", "edges %", "2 s.e.", "raw %", "2 s.e."):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row.sigma:.0%}",
            row.rule,
            _percent(row.fee, 3),
            f"{row.round_trips:,.1f}",
            f"{10**4 * row.per_trip:,.1f}",
            _percent(row.edges),
            _percent(2 * row.edges_se),
            _percent(row.raw),
            _percent(2 * row.raw_se),
            style="" if row.edges <= 0 else "red",
        )
    return table


def _lags_table(lags: Mapping[int, Sequence[Figures]]) -> Table:
    table = Table(title="Edges % by lag: the best of the fixed rules, and the choosy one")
    table.add_column("lag s", justify="right")
    for name in ("fixed", "choosy"):
        for sigma in SIGMAS:
            table.add_column(f"{name} {sigma:.0%}", justify="right")
    for lag_s, rows in lags.items():
        fixed, others = [], []
        for sigma in SIGMAS:
            of_sigma = {row.rule: row.edges for row in rows if row.sigma == sigma}
            others.append(of_sigma.pop(name_of(choosy)))
            fixed.append(max(of_sigma.values()))
        table.add_row(f"{lag_s:,}", *[_percent(edges) for edges in (*fixed, *others)])
    return table


def _print(console: Console, report: Report) -> None:
    fee = report.fee
    terms = f"base {10**4 * fee.base:g} bp, band {fee.band:.1%}, lag {fee.lag_s:g} s"
    console.print(_figures_table(f"Ahead of the round: {terms}", report.main))
    console.print(_lags_table(report.lags))
    for name, rows in report.naive.items():
        console.print(_figures_table(f"Naive fee: {name}", rows))
    console.print(_figures_table("After the round of each block", report.after))
    console.print(_figures_table("With jumps", report.jumps))
    for sigma, seen in report.seen.items():
        console.print(
            f"sigma {sigma:.0%}: the oracle says {seen.lowest:.2f} of it at the lowest,"
            f" {seen.median:.2f} in the median; the fee here {SEEN:.2f} at all times"
        )


@click.command()
@click.option("--seeds", default=SEEDS, show_default=True, type=click.IntRange(2))
@click.option("--days", default=DAYS, show_default=True, type=click.IntRange(2))
@click.option("--base-bps", default=10**4 * RECOMMENDED.base, show_default=True, type=float)
@click.option("--lag", "lag_s", default=RECOMMENDED.lag_s, show_default=True, help="Seconds.")
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="File.")
def cli(seeds: int, days: int, base_bps: float, lag_s: float, target: Path | None) -> None:
    """Let snipers trade against a 0.5% feed and tell what they gain, of the notional."""
    report = measure(Fee(base=base_bps / 10**4, lag_s=lag_s), seeds, days)
    if target is not None:
        target.write_text(report.to_json())
    _print(Console(width=max(Console().width, TABLE_WIDTH)), report)


if __name__ == "__main__":
    cli()
