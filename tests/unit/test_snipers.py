"""Snipers between the rounds of a 0.5% feed: 30 seeds x 30 days in every profile.

python -m ballast.replay.snipers tells the same figures, and more lags.
"""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
from click.testing import CliRunner

from ballast.replay import snipers
from ballast.replay.snipers import (
    AGEING,
    BLOCK_S,
    EDGE,
    FIXED_RULES,
    ONE_DEVIATION,
    RECOMMENDED,
    RULES,
    SEEN,
    SIGMAS,
    Fee,
    Figures,
    Jumps,
    Moments,
    Paths,
    figures,
    moments,
    name_of,
    play,
    simulate,
)

SHORT_LAG = Fee(lag_s=60)
# What the choosy rule may take, of its notional in 30 days: 0.8% of the initial margin at 200%.
NEGLIGIBLE = 0.005


@cache
def full() -> dict[Fee, list[Figures]]:
    """Every rule at full size, about ten seconds: 30 seeds, 30 days, three volatilities."""
    return figures(moments(simulate()), [RECOMMENDED, SHORT_LAG, ONE_DEVIATION, AGEING])


def _rows(fee: Fee, *rules: snipers.Rule) -> list[Figures]:
    wanted = {name_of(rule) for rule in rules}
    return [row for row in full()[fee] if row.rule in wanted]


# ---- what the issue asks


@pytest.mark.parametrize("fee", [RECOMMENDED, SHORT_LAG], ids=["recommended", "60 s"])
def test_fixed_rules__both_measures__lose(fee: Fee) -> None:
    """A12: five rules with fixed edges, 80%, 140% and 200%, 30 seeds x 30 days, no jumps."""
    rows = _rows(fee, *FIXED_RULES)
    assert len(rows) == len(FIXED_RULES) * len(SIGMAS)
    for row in rows:
        assert row.raw - 2 * row.raw_se <= 0, row
        assert row.edges <= 0 and row.per_trip <= 0, row


def test_choosy_rule__recommended_fee__gains_next_to_nothing() -> None:
    """A12: who trades only when the gap exceeds the fee cannot lose; what he finds is the tail."""
    for row in _rows(RECOMMENDED, snipers.choosy):
        assert row.raw - 2 * row.raw_se <= 0, row
        assert 0 <= row.edges <= NEGLIGIBLE, row


def test_choosy_rule__lag_of_a_minute__profits() -> None:
    """The test can fail: the same sniper lives well on a lag that only stops the fixed rules."""
    for row in _rows(SHORT_LAG, snipers.choosy):
        assert row.edges - 2 * row.edges_se > 0.05, row
    assert max(row.raw - 2 * row.raw_se for row in _rows(SHORT_LAG, snipers.choosy)) > 1


def test_fixed_rules__band_of_one_deviation__profit() -> None:
    """The naive reading of the formula: a round trip gains two deviations and pays for one."""
    rules = snipers.edge_to_edge, snipers.always_in, snipers.certain_round
    for row in _rows(ONE_DEVIATION, *rules):
        assert row.raw - 2 * row.raw_se > 1, row
        assert row.edges - 2 * row.edges_se > 1, row


def test_every_rule__fee_that_vanishes_after_a_round__profits() -> None:
    """A12: uncertainty counted from the last round leaves nothing to pay right after it."""
    for row in _rows(AGEING, *RULES):
        assert row.raw - 2 * row.raw_se > 1, row
        assert row.edges - 2 * row.edges_se > 1, row


def test_measures__all_rules_and_fees__have_one_mean() -> None:
    """The raw result is the edges and a martingale: within four standard errors everywhere."""
    for rows in full().values():
        for row in rows:
            assert abs(row.raw - row.edges) <= 4 * math.hypot(row.raw_se, row.edges_se), row


def test_fee_volatility__against_the_exact_oracle__is_below_every_estimate() -> None:
    paths = simulate(seeds=2, days=15)
    for path in range(paths.sigma.size):
        ratios = snipers.seen_ratios(paths, path)
        assert ratios.size > 1_000
        assert ratios.min() >= SEEN, paths.sigma[path]


def test_choosy_rule__jumps__gains_more_than_without() -> None:
    """Stated, not held to zero: a jump beyond the fee trades at the old price."""
    calm, jumpy = (
        figures(moments(simulate((0.8,), 10, jumps=jumps)), [RECOMMENDED], [snipers.choosy])
        for jumps in (None, Jumps())
    )
    assert jumpy[RECOMMENDED][0].edges > calm[RECOMMENDED][0].edges + 0.01


# ---- the world


def _path(*gaps: float) -> Paths:
    """One path whose prices stand at these distances from the first."""
    log_price = np.log1p(np.array(gaps))[:, None]
    return Paths(np.array([1.0]), log_price, snipers._sources(log_price))


def test_feed__price_leaves_the_band__a_round_lands_one_block_later() -> None:
    paths = _path(0, 0.004, 0.006, 0.007, 0.006, 0, 0)
    # 0.7% is measured from the first price still; 0 from the round of 0.6%.
    assert paths.source[:, 0].tolist() == [0, 0, 0, 2, 2, 2, 5]


def test_feed__quiet_hour__makes_a_round() -> None:
    paths = _path(*[0.001] * 700)
    assert np.flatnonzero(np.diff(paths.source[:, 0])).tolist() == [300, 600]
    assert paths.source[301, 0] == 300


def test_moments__ahead_and_after__differ_by_the_block_of_the_round() -> None:
    paths = _path(0, 0, 0.006, 0.008, 0.006, 0.006)
    ahead, after = moments(paths), moments(paths, is_ahead=False)
    # Ahead: 0.6% in block 2, 0.8% in block 3 in which the round lands, which he sees in block 4.
    assert (ahead.time_s[:, 0] / BLOCK_S).tolist() == [2, 3, 4]
    assert ahead.gap[:, 0] == pytest.approx([0.006, 0.008, 0])
    assert ahead.is_landing[:, 0].tolist() == [False, True, False]
    assert ahead.is_fresh[:, 0].tolist() == [False, False, True]
    assert ahead.age_s[2, 0] == BLOCK_S
    # After: he sees the round in its own block, and has but block 2 to use its coming.
    assert (after.time_s[:, 0] / BLOCK_S).tolist() == [2, 3]
    assert after.is_landing[:, 0].tolist() == [True, False]
    assert after.is_fresh[:, 0].tolist() == [False, True]
    assert after.age_s[1, 0] == 0


def test_simulate__each_path__depends_on_seed_and_volatility_only() -> None:
    both, one = simulate((0.8, 2.0), 3, 1), simulate((2.0,), 2, 1)
    assert np.array_equal(both.log_price[:, 3:5], one.log_price)
    assert np.array_equal(both.source[:, 3:5], one.source)


@pytest.mark.parametrize("jumps", [None, Jumps(per_year=20_000)])
def test_simulate__prices__are_fair(jumps: Jumps | None) -> None:
    """The mean price stays where it was, jumps or not: edges measure what raw measures."""
    end = np.exp(simulate((0.8,), 200, 2, jumps).log_price[-1])
    assert abs(end.mean() - 1) <= 4 * end.std() / math.sqrt(end.size)


# ---- the account


def _seen(index: list[float], gap: list[float], end_price: float) -> Moments:
    count = len(index)
    flags = np.zeros((count, 1), dtype=bool)
    time_s = np.arange(count, dtype=float)[:, None] * BLOCK_S
    columns = np.array(index)[:, None], np.array(gap)[:, None], time_s, time_s
    return Moments(np.array([0.0]), np.array([end_price]), *columns, flags, flags)


def test_play__round_trip__is_what_it_is_by_hand() -> None:
    """Buys 1 / 100 units at 100 (true 101), sells them at 110 (true 108.9)."""
    fee = Fee(base=0.001, band=0.01, lag_s=0)
    played = play(_seen([100, 110], [0.01, -0.01], 50), [fee], [snipers.edge_to_edge])
    paid = 0.006 * (1 + 1.1)
    assert played.raw.item() == pytest.approx(0.1 - paid)
    assert played.edges.item() == pytest.approx(0.01 + 0.011 - paid)
    assert played.sides.item() == pytest.approx(2.1)


def test_play__position_left_open__is_worth_the_true_price() -> None:
    fee = Fee(base=0.001, band=0, lag_s=0)
    played = play(_seen([100], [-0.01], 80), [fee], [snipers.always_in])
    assert played.raw.item() == pytest.approx(0.2 - 0.001)


def _played_slowly(paths: Paths, fee: float) -> dict[str, tuple[float, float]]:
    """Block by block, ahead of each round: raw and edges of the rules that turn over."""
    price = np.exp(paths.log_price[:, 0]).tolist()
    source = paths.source[:, 0].tolist()
    found = {}
    for rule in (snipers.always_in, snipers.certain_round, snipers.choosy):
        size = cash = edges = 0.0
        for block in range(1, len(price)):
            index = price[source[block - 1]]
            gap = price[block] / index - 1
            lands = source[block] != source[block - 1]
            acts = {
                snipers.always_in: abs(gap) >= EDGE,
                snipers.certain_round: lands and abs(gap) >= 0.005,
                snipers.choosy: lands and abs(gap) > fee,
            }[rule]
            if not acts or size * gap > 0:
                continue
            change = math.copysign(1 / index, gap) - size
            cash -= change * index + abs(change) * index * fee
            edges += change * (price[block] - index) - abs(change) * index * fee
            size += change
        found[name_of(rule)] = cash + size * price[-1], edges
    return found


@pytest.mark.parametrize("sigma", SIGMAS)
def test_play__against_a_plain_loop__agrees(sigma: float) -> None:
    paths = simulate((sigma,), 1, 4)
    fee = Fee(lag_s=24)
    rate = float(fee.rate(SEEN * sigma, 0.0))
    rules = snipers.always_in, snipers.certain_round, snipers.choosy
    played = play(moments(paths), [fee], rules)
    for i, (raw, edges) in enumerate(_played_slowly(paths, rate).values()):
        assert played.raw[0, i, 0] == pytest.approx(raw)
        assert played.edges[0, i, 0] == pytest.approx(edges)
        assert played.sides[0, i, 0] > 0


def test_rules__one_round_and_until_paid__close_when_they_say() -> None:
    nothing = np.zeros(3)
    long = np.ones(3)
    fresh = np.array([False, True, True])
    gain, held_s = np.array([0.1, 0.1, 0.0]), np.zeros(3)
    fee = np.full(3, 0.01)
    scene = snipers.Scene(nothing, nothing, nothing, nothing, fresh, fee, long, gain, held_s)
    assert snipers.one_round(scene).tolist() == [1, 0, 0]
    assert snipers.until_paid(scene).tolist() == [1, 0, 1]
    tired = scene._replace(held_s=np.full(3, snipers.PATIENCE_S))
    assert snipers.until_paid(tired).tolist() == [1, 0, 0]


# ---- the command


def test_command__small_run__prints_tables_and_writes_json(tmp_path) -> None:
    target = tmp_path / "figures.json"
    arguments = ["--seeds", "2", "--days", "2", "--lag", "60", "--json", str(target)]
    result = CliRunner().invoke(snipers.cli, arguments)
    assert result.exit_code == 0, result.output
    assert "edge to edge" in result.output and "With jumps" in result.output
    content = json.loads(target.read_text())
    assert content["fee"]["lag_s"] == 60
    assert len(content["main"]) == len(SIGMAS) * len(RULES)
