"""RiskOracle against the exact model: every word equal after any history of rounds and pokes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import RevmChain
from ballast.model.oracle import (
    BPS,
    FEED_TOLERANCE_BPS,
    NOTICE_S,
    FeedModel,
    Parameters,
    exp_minus_wad,
    ln_e10,
)
from tests.oracle_bench import BAND_LOG2, DOLLAR, ETH, HEARTBEAT_S, WAD, OracleBench
from tests.support.parameters import parameters

ASSETS = (1, 2)

asset_ids = st.sampled_from(ASSETS)
steps = st.one_of(
    st.tuples(st.just("advance"), st.integers(1, 700)),
    st.tuples(st.just("advance"), st.integers(1, 20_000)),
    st.tuples(st.just("price"), asset_ids, st.integers(-300, 300)),
    st.tuples(st.just("price"), asset_ids, st.integers(-9_000, 20_000)),
    st.tuples(st.just("burst"), asset_ids, st.integers(1, 20), st.integers(0, 400)),
    st.tuples(
        st.just("raw"),
        asset_ids,
        st.sampled_from((0, -1, 1, ETH, -(2**127), 2**127 - 1, ETH * 10)),
        st.integers(-4_000, 100),
        st.sampled_from((1, 1, 2, 2**64)),
        st.sampled_from((0, 0, 1)),
    ),
    st.tuples(st.just("quote"), st.integers(-500, 500)),
    st.tuples(st.just("quote_raw"), st.sampled_from((0, -5, DOLLAR // 4, 3 * DOLLAR))),
    st.tuples(st.just("poke"), st.lists(asset_ids, min_size=1, max_size=3)),
    st.tuples(st.just("poke"), st.lists(asset_ids, min_size=1, max_size=3)),
    st.tuples(st.just("parameters"), asset_ids, parameters()),
    st.tuples(st.just("feed"), asset_ids, st.integers(-80, 80)),
    st.tuples(st.just("pause"), asset_ids, st.integers(-3_600, 3 * 86_400)),
)


@pytest.fixture(scope="module")
def bench() -> OracleBench:
    """Two assets over a quote feed, somewhere on the grid."""
    built = OracleBench(RevmChain(), count=len(ASSETS))
    built.advance(1)
    return built


def _moved(answer: int, move_bps: int) -> int:
    return max(1, answer * (10_000 + move_bps) // 10_000)


def _apply(bench: OracleBench, step: tuple[Any, ...], prices: dict[int, int]) -> None:
    """One step on contract and model; prices are the last sensible answers."""
    match step:
        case ("advance", seconds):
            bench.advance(seconds)
        case ("price", asset, move_bps):
            prices[asset] = _moved(prices[asset], move_bps)
            bench.set_price(prices[asset], asset)
        case ("burst", asset, count, gap_s):
            for index in range(count):
                bench.advance(gap_s)
                prices[asset] = _moved(prices[asset], 37 if index % 3 else -61)
                bench.set_price(prices[asset], asset)
        case ("raw", asset, answer, offset_s, id_step, lag):
            model = bench.model.assets[asset].feed
            at = bench.now + offset_s
            bench.set_raw(bench.feeds[asset], model, answer, at, id_step, lag)
        case ("quote", move_bps):
            bench.set_quote(_moved(DOLLAR, move_bps))
        case ("quote_raw", answer):
            bench.set_raw(bench.quote, bench.model.quote, answer, bench.now, 1, 0)
        case ("poke", assets):
            receipt = bench.poke(*assets)
            for event in bench.oracle.events(receipt, "Poked"):
                # An asset poked twice in one call has its second event last.
                assert bench.words(receipt, event.args.asset) == bench.model_words(event.args.asset)
        case ("parameters", asset, new):
            bench.set_parameters(new, asset)
        case ("pause", asset, seconds):
            bench.set_pause(bench.now + seconds, asset)
        case ("feed", asset, move_bps):
            _replace_feed(bench, asset, _moved(prices[asset], move_bps))


def _replace_feed(bench: OracleBench, asset: int, answer: int) -> None:
    """Only when contract and model must both accept it."""
    entry, quote = bench.model.assets[asset], bench.model.quote
    old = entry.feed.sound_newest(bench.now)
    quote_round = quote.sound_newest(bench.now) if quote else None
    if old is None or not entry.feed.is_live(old, bench.now) or quote_round is None:
        return
    if quote is None or not quote.is_live(quote_round, bench.now):
        return
    if abs(answer * 10**10 - old.price_wad) * BPS > old.price_wad * FEED_TOLERANCE_BPS:
        return
    if not 2 ** BAND_LOG2[0] <= answer * 10**10 < 2 ** BAND_LOG2[1]:
        return
    feed = bench.deploy("MockFeed", 8, "another")
    model = FeedModel(8, HEARTBEAT_S, *BAND_LOG2)
    bench.publish(feed, model, answer)
    bench.oracle.set_feed(
        asset, feed.address, HEARTBEAT_S, *BAND_LOG2, 2_000 * WAD, sender=bench.owner
    )
    bench.model.set_feed(asset, model, bench.now)
    bench.feeds[asset] = feed


@given(history=st.lists(steps, min_size=1, max_size=25))
def test_marks__any_history__equal_to_the_model(
    bench: OracleBench, history: list[tuple[Any, ...]]
) -> None:
    """Marks, pending rates, parameters and every stored word, to the wei, after each step."""
    import copy

    saved, feeds = copy.deepcopy(bench.model), dict(bench.feeds)
    prices = dict.fromkeys(ASSETS, ETH)
    try:
        with bench.chain.isolated():
            for step in history:
                _apply(bench, step, prices)
                expected = bench.model.marks(ASSETS, bench.now)
                assert bench.oracle.marks(list(ASSETS)) == expected, step
                for asset in ASSETS:
                    entry = bench.model.assets[asset]
                    assert bench.oracle.pending_risk(asset) == entry.pending().word
                    in_force, final, end = bench.oracle.parameters(asset)
                    assert tuple(in_force) == entry.parameters(bench.now).values
                    assert (tuple(final), end) == (entry.new.values, entry.ramp[1])
            _apply(bench, ("poke", list(ASSETS)), prices)
            assert bench.oracle.marks(list(ASSETS)) == bench.model.marks(ASSETS, bench.now)
    finally:
        bench.model, bench.feeds = saved, feeds


@pytest.fixture(scope="module")
def maths() -> Any:
    """The oracle's pure functions."""
    chain = RevmChain()
    return chain.deploy("OracleMath", sender=chain.accounts[0])


@given(price_wad=st.one_of(st.integers(2, 2**94 - 1), st.integers(2, 10**6)))
def test_ln__any_price__equals_the_model(maths: Any, price_wad: int) -> None:
    """The logarithm is the contract's own to the last digit."""
    assert maths.ln_e10(price_wad) == ln_e10(price_wad)


@given(x_wad=st.one_of(st.integers(0, 50 * WAD), st.integers(0, 2**85)))
def test_exp__any_argument__equals_the_model(maths: Any, x_wad: int) -> None:
    """The decay is the contract's own to the last digit."""
    assert maths.exp_minus_wad(x_wad) == exp_minus_wad(x_wad)


@given(old=parameters(), new=parameters(), part=st.integers(0, NOTICE_S))
def test_effective__any_ramp__stays_valid(old: Parameters, new: Parameters, part: int) -> None:
    """Half-way parameters keep floor <= cap and the rates below 100% that both ends have."""
    from ballast.model.oracle import effective

    assert old.is_valid() and new.is_valid()
    p = effective(old, new, 0, NOTICE_S, part)
    assert p.floor_init_bps <= p.cap_init_bps and p.floor_maint_bps <= p.cap_maint_bps
    assert p.floor_l_bps <= p.cap_l_bps and p.cap_init_bps + p.cap_l_bps <= 10_000
