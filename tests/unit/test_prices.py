"""Price sources: what they read, how candles become rounds, and how bad input is answered."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ballast import prices
from ballast.prices import HOUR_S, PriceError, Round, expand, load, parse_time, synthetic_crash

T0 = parse_time("2020-03-12")
HEADER = "timestamp,eth_open,eth_high,eth_low,eth_close"
TWO_ASSETS = HEADER + ",btc_open,btc_high,btc_low,btc_close"


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def _of(rounds: tuple[Round, ...], asset: str) -> list[Round]:
    return [r for r in rounds if r.asset == asset]


# Expansion


def test_expand__flat_path__makes_one_round_each_heartbeat():
    rounds = expand("ETH", [(T0, 200.0), (T0 + 3 * HOUR_S, 200.0)])
    assert [r.time_s - T0 for r in rounds] == [0, HOUR_S, 2 * HOUR_S, 3 * HOUR_S]
    assert {r.answer for r in rounds} == {200_0000_0000}


def test_expand__steady_climb__makes_a_round_at_each_threshold():
    # 1 % in log terms over 1000 s: the first 0.5 % is reached after ln(1.005) / ln(1.01) of the way
    rounds = expand("ETH", [(T0, 100.0), (T0 + 1_000, 101.0)])
    assert [r.time_s - T0 for r in rounds] == [0, 502]
    assert rounds[1].answer == round(100 * 1.01**0.502 * 1e8)


def test_expand__jump_between_knots__is_published_in_the_next_second():
    rounds = expand("ETH", [(T0, 100.0), (T0 + 60, 100.0), (T0 + 60, 80.0), (T0 + 120, 80.0)])
    assert [(r.time_s - T0, r.answer) for r in rounds] == [(0, 100_0000_0000), (60, 80_0000_0000)]


@given(
    start=st.floats(0.01, 100_000),
    moves=st.lists(st.tuples(st.integers(1, 7_200), st.floats(0.7, 1.4)), min_size=1, max_size=12),
)
@settings(max_examples=300, deadline=None)
def test_expand__any_path__keeps_threshold_and_heartbeat(start, moves):
    knots = [(T0, start)]
    for seconds, factor in moves:
        knots.append((knots[-1][0] + seconds, knots[-1][1] * factor))
    rounds = expand("ETH", knots)
    assert rounds[0].time_s == T0
    for before, after in pairwise(rounds):
        waited_s = after.time_s - before.time_s
        moved = abs(after.answer - before.answer) / before.answer
        assert 1 <= waited_s <= HOUR_S
        assert moved >= prices.DEVIATION or waited_s == HOUR_S
    # nothing is missed: at the end the feed is within the threshold of the path
    assert abs(knots[-1][1] - rounds[-1].price) <= prices.DEVIATION * rounds[-1].price + 1e-8


# Hourly candles


@pytest.mark.parametrize(
    ("high", "low", "high_first"),
    [(101.0, 90.0, True), (120.0, 99.0, False)],
    ids=["high is nearer", "low is nearer"],
)
def test_candles__one_hour__visits_the_nearer_extreme_first(tmp_path, high, low, high_first):
    close = (high + low) / 2
    file = _write(tmp_path / "eth.csv", HEADER, f"{T0},100,{high},{low},{close}")
    rounds = load([file]).rounds
    top, bottom = max(rounds, key=lambda r: r.answer), min(rounds, key=lambda r: r.answer)
    assert rounds[0] == Round("ETH", T0, 100_0000_0000)
    assert top.price == pytest.approx(high, rel=0.005)
    assert bottom.price == pytest.approx(low, rel=0.005)
    assert (top.time_s < bottom.time_s) == high_first
    assert rounds[-1].price == pytest.approx(close, rel=0.005)


def test_candles__two_assets__are_merged_in_time_order(tmp_path):
    file = _write(
        tmp_path / "hours.csv",
        TWO_ASSETS,
        f"{T0},200,202,150,160,8000,8010,7000,7100",
        f"{T0 + HOUR_S},160,170,120,130,7100,7200,5000,5500",
    )
    series = load([file])
    assert series.assets == ("BTC", "ETH")
    assert series.opening() == {"ETH": 200_0000_0000, "BTC": 8000_0000_0000}
    assert list(series.rounds) == sorted(series.rounds, key=lambda r: (r.time_s, r.asset))
    assert min(r.price for r in _of(series.rounds, "ETH")) == pytest.approx(120, rel=0.006)
    assert series.source == "hours.csv"


def test_candles__range__is_half_open_in_utc(tmp_path):
    hours = [f"{T0 + n * HOUR_S},100,101,99,100" for n in range(-24, 48)]
    file = _write(tmp_path / "hours.csv", HEADER, *hours)
    series = load([file], parse_time("2020-03-12"), parse_time("2020-03-13"))
    assert series.start_s == T0
    assert T0 + 23 * HOUR_S <= series.end_s < T0 + 24 * HOUR_S


def test_candles__three_missing_hours__are_bridged(tmp_path):
    file = _write(
        tmp_path / "hours.csv", HEADER, f"{T0},100,100,100,100", f"{T0 + 4 * HOUR_S},90,90,90,90"
    )
    rounds = load([file]).rounds
    assert all(after.time_s - before.time_s <= HOUR_S for before, after in pairwise(rounds))
    assert any(T0 + HOUR_S < r.time_s < T0 + 4 * HOUR_S and 90 < r.price < 100 for r in rounds)


# Chainlink rounds


def test_rounds__two_files__are_taken_as_they_are_and_merged(tmp_path):
    eth = _write(
        tmp_path / "chainlink_eth_usd.csv",
        "updated_at,answer,round_id",
        f"{T0},20000000000,1",
        f"{T0 + 90},20100000001,2",
    )
    btc = _write(tmp_path / "prices.csv", "updated_at,answer", f"{T0 + 60},800000000000")
    series = load([eth, f"BTC={btc}"])
    assert series.rounds == (
        Round("ETH", T0, 20_000_000_000),
        Round("BTC", T0 + 60, 800_000_000_000),
        Round("ETH", T0 + 90, 20_100_000_001),
    )


def test_rounds__one_file__gives_one_asset(tmp_path):
    file = _write(tmp_path / "chainlink_btc_usd.csv", "updated_at,answer", f"{T0},800000000000")
    assert load([file]).assets == ("BTC",)


# The bundled crash


def test_synthetic_crash__default__is_the_documented_shape():
    series = load()
    eth, btc = (_of(series.rounds, asset) for asset in ("ETH", "BTC"))
    assert 48 * HOUR_S <= series.end_s - series.start_s <= 72 * HOUR_S
    low = min(eth, key=lambda r: r.answer)
    day_before = [r for r in eth if low.time_s - 24 * HOUR_S <= r.time_s <= low.time_s]
    assert 0.40 <= 1 - low.answer / day_before[0].answer <= 0.55
    assert 0.30 <= 1 - min(btc, key=lambda r: r.answer).answer / btc[0].answer <= 0.50
    assert eth[-1].answer / low.answer >= 1.15, "no recovery"
    bounce = max(b.answer / a.answer for a in eth for b in eth if 0 < b.time_s - a.time_s <= HOUR_S)
    assert bounce >= 1.12, "no violent bounce"


def test_synthetic_crash__same_seed__is_the_same_and_another_seed_is_not():
    assert synthetic_crash(1) == synthetic_crash(1)
    assert synthetic_crash(1).rounds != synthetic_crash(2).rounds


@pytest.mark.parametrize("seed", range(5))
def test_synthetic_crash__any_seed__crashes_alike(seed):
    eth = _of(synthetic_crash(seed).rounds, "ETH")
    assert 0.40 <= 1 - min(r.answer for r in eth) / eth[0].answer <= 0.60


# Bad input


def test_parse_time__date_and_zone__is_utc():
    assert parse_time("2020-03-12") == int(datetime(2020, 3, 12, tzinfo=UTC).timestamp())
    assert parse_time("2020-03-12T01:00+01:00") == T0


BAD_FILES = {
    "unknown shape": (["date,price", "2020-03-12,200"], "unknown shape"),
    "empty file": ([""], "unknown shape"),
    "missing candle column": (["timestamp,eth_open,eth_high,eth_low", f"{T0},1,1,1"], "eth_close"),
    "no candle columns": (["timestamp,price", f"{T0},1"], "eth_open"),
    "no candles": ([HEADER], "at least one line"),
    "bad number": ([HEADER, f"{T0},100,101,n/a,100"], "line 2: eth_low is 'n/a'"),
    "not a number at all": ([HEADER, f"{T0},100,nan,99,100"], "line 2: eth_high is 'nan'"),
    "negative price": ([HEADER, f"{T0},100,101,-1,100"], "expected a positive number"),
    "short line": ([HEADER, f"{T0},100,101"], "eth_low is None"),
    "close above high": ([HEADER, f"{T0},100,101,99,102"], "do not hold open and close"),
    "hours out of order": (
        [HEADER, f"{T0},100,101,99,100", f"{T0 - HOUR_S},100,101,99,100"],
        "line 3: timestamp does not grow",
    ),
    "long gap": (
        [HEADER, f"{T0},100,101,99,100", f"{T0 + 9 * HOUR_S},100,101,99,100"],
        "choose --from and --to that avoid",
    ),
    "no answer column": (["updated_at,price", f"{T0},1"], "updated_at and answer"),
    "no rounds": (["updated_at,answer"], "at least one line"),
    "zero answer": (["updated_at,answer", f"{T0},0"], "answer is '0'"),
    "rounds out of order": (
        ["updated_at,answer", f"{T0},100", f"{T0 - 1},100"],
        "line 3: updated_at goes back",
    ),
    "rounds with a gap": (
        ["updated_at,answer", f"{T0},100", f"{T0 + 9 * HOUR_S},100"],
        "avoid this gap",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES, ids=lambda c: c.replace(" ", "-"))
def test_load__bad_file__names_the_next_step(tmp_path, case):
    lines, message = BAD_FILES[case]
    file = _write(tmp_path / "eth.csv", *lines)
    with pytest.raises(PriceError, match="eth.csv") as caught:
        load([file])
    assert message in str(caught.value)


def test_load__missing_file__points_to_the_synthetic_crash(tmp_path):
    with pytest.raises(PriceError, match="no such file; leave --prices out"):
        load([tmp_path / "absent.csv"])


def test_load__asset_not_in_the_file_name__asks_for_it(tmp_path):
    file = _write(tmp_path / "rounds.csv", "updated_at,answer", f"{T0},100")
    with pytest.raises(PriceError, match="pass it as --prices ETH="):
        load([file])


def test_load__one_asset_twice__asks_for_one_file_each(tmp_path):
    file = _write(tmp_path / "eth.csv", "updated_at,answer", f"{T0},100")
    with pytest.raises(PriceError, match="ETH is given twice"):
        load([file, file])


@pytest.mark.parametrize("shape", ["candles", "rounds", "synthetic"])
def test_load__range_outside_the_source__names_what_it_covers(tmp_path, shape):
    lines = {
        "candles": [HEADER, f"{T0},100,101,99,100"],
        "rounds": ["updated_at,answer", f"{T0},100"],
    }
    files = [_write(tmp_path / "eth.csv", *lines[shape])] if shape in lines else []
    with pytest.raises(PriceError, match="choose --from and --to inside it"):
        load(files, parse_time("2021-01-01"), parse_time("2021-01-02"))


def test_load__range_backwards__is_an_empty_range():
    with pytest.raises(PriceError, match="the range is empty"):
        load([], parse_time("2030-01-02"), parse_time("2030-01-01"))


@pytest.mark.parametrize("text", ["yesterday", "2020-13-01", "12/03/2020", ""])
def test_parse_time__not_a_date__shows_the_form(text):
    with pytest.raises(PriceError, match="YYYY-MM-DD"):
        parse_time(text)
