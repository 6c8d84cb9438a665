"""RiskOracle.poke: volatility as a function of the feed's rounds, and how fast rates may follow."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Contract, RevmChain
from ballast.model.oracle import (
    BUCKET_S,
    MAX_WALK,
    RANGE_FACTOR_E6,
    YEAR_S,
    FeedModel,
    RawRound,
    Risk,
    Volatility,
    bucket_of,
)
from tests.oracle_bench import (
    BAND_LOG2,
    ETH,
    HEARTBEAT_S,
    PRIOR_E6,
    START,
    WAD,
    ZERO,
    OracleBench,
)


@pytest.fixture
def bench(chain: RevmChain) -> OracleBench:
    """One asset, listed and poked at a grid boundary that is also a half hour."""
    chain.set_time((chain.time // 1_800 + 1) * 1_800)
    built = OracleBench(chain)
    built.poke()
    return built


def _fast_e6(bench: OracleBench) -> int:
    return bench.oracle.sigmas_e6(1)[0]


# ---- the grid


def test_poke__nothing_new__prior_volatility(bench: OracleBench) -> None:
    bench.advance(5_000)
    bench.poke()
    assert bench.oracle.sigmas_e6(1) == (PRIOR_E6, PRIOR_E6, 0, PRIOR_E6)


def test_poke__round_before_its_boundary__not_sampled_yet(bench: OracleBench) -> None:
    """A round counts from the first boundary it is in force at."""
    bench.advance(1)
    bench.set_price(2_040 * 10**8)
    bench.advance(298)
    before = bench.words(bench.poke())["ewma_word"]
    bench.advance(1)
    after = bench.words(bench.poke())["ewma_word"]
    assert before == 0 and after > 0


def test_poke__two_rounds_in_a_bucket__only_the_last_is_sampled(bench: OracleBench) -> None:
    """T29: a spike that is gone by the boundary leaves no return behind."""
    bench.advance(10)
    bench.set_price(3_000 * 10**8)
    bench.advance(10)
    bench.set_price(ETH)
    bench.advance(280)
    bench.poke()
    fast, slow, ranges, _ = bench.oracle.sigmas_e6(1)
    assert fast < PRIOR_E6 and slow < PRIOR_E6
    assert ranges > 20 * 10**6  # the range term has seen it


def test_poke__one_return__closed_form(bench: OracleBench) -> None:
    """S and W after one sample are r**2 and dt, mixed with the prior."""
    bench.advance(300)
    bench.set_price(2_020 * 10**8)
    bench.poke()
    r, s0 = math.log(1.01), 0.8
    for sigma_e6, tau0 in zip(bench.oracle.sigmas_e6(1)[:2], (600, 3_600), strict=True):
        expected = math.sqrt((r * r * YEAR_S + s0 * s0 * tau0) / (300 + tau0))
        assert sigma_e6 == pytest.approx(expected * 10**6, rel=1e-6)


def test_poke__skipped_buckets__one_return_over_all_of_them(bench: OracleBench) -> None:
    bench.advance(3_000)
    bench.set_price(2_020 * 10**8)
    bench.poke()
    r, s0 = math.log(1.01), 0.8
    expected = math.sqrt((r * r * YEAR_S + s0 * s0 * 600) / (3_000 + 600))
    assert _fast_e6(bench) == pytest.approx(expected * 10**6, rel=1e-6)


def test_poke__silence_of_weeks__counts_as_one_week(bench: OracleBench) -> None:
    """The time of a sample is bounded, on the side of the larger volatility."""
    bench.advance(20 * 86_400)
    bench.set_price(3_000 * 10**8)
    bench.advance(300)
    bench.poke()
    expected = math.sqrt((math.log(1.5) ** 2 * YEAR_S + 0.64 * 600) / (604_800 + 600))
    assert _fast_e6(bench) == pytest.approx(expected * 10**6, rel=1e-6)


def test_poke__return_above_a_half__clipped(bench: OracleBench) -> None:
    """T29: no single return counts for more than 50%."""
    bench.advance(300)
    bench.set_price(400_000 * 10**8)
    bench.poke()
    expected = math.sqrt((0.25 * YEAR_S + 0.64 * 600) / 900)
    assert _fast_e6(bench) == pytest.approx(expected * 10**6, rel=1e-6)


def test_poke__jump__slow_sees_at_most_six_sigma(bench: OracleBench) -> None:
    """T29: one outlier cannot move the volatility behind maintenance by much."""
    bench.advance(300)
    bench.set_price(1_400 * 10**8)
    bench.poke()
    limit = 36 * 0.64 * 300
    expected = math.sqrt((limit + 0.64 * 3_600) / 3_900)
    assert bench.oracle.sigmas_e6(1)[1] == pytest.approx(expected * 10**6, rel=1e-5)


# ---- the range


def test_poke__swing_within_the_hour__parkinson(bench: OracleBench) -> None:
    bench.advance(60)
    bench.set_price(2_100 * 10**8)
    bench.advance(60)
    bench.set_price(2_000 * 10**8)
    bench.advance(60)
    bench.poke()
    expected = math.log(1.05) * RANGE_FACTOR_E6
    assert bench.oracle.sigmas_e6(1)[2] == pytest.approx(expected, rel=1e-6)
    assert pytest.approx(1 / math.sqrt(4 * math.log(2)) * math.sqrt(YEAR_S / 3_600), rel=1e-7) == (
        RANGE_FACTOR_E6 / 10**6
    )


@pytest.mark.parametrize(("later_s", "remains"), [(1_700, True), (3_500, True), (3_600, False)])
def test_poke__swing_in_an_older_half_hour__forgotten_after_two(
    bench: OracleBench, later_s: int, remains: bool
) -> None:
    """The range looks back at 30 to 60 minutes."""
    bench.advance(60)
    bench.set_price(2_100 * 10**8)
    bench.advance(60)
    bench.set_price(2_000 * 10**8)
    bench.advance(later_s - 120)
    bench.poke()
    assert (bench.oracle.sigmas_e6(1)[2] > 0) is remains


def test_poke__no_round_in_a_half_hour__price_in_force_belongs_to_it(bench: OracleBench) -> None:
    """The first round of a half hour is measured against the price it found."""
    bench.advance(60)
    bench.set_price(2_100 * 10**8)
    bench.advance(300)
    bench.poke()
    bench.advance(4 * 1_800)
    bench.set_price(2_205 * 10**8)
    bench.poke()
    assert bench.oracle.sigmas_e6(1)[2] == pytest.approx(math.log(1.05) * RANGE_FACTOR_E6, rel=1e-6)


def test_sigmas__no_round_since_the_half_hour__price_in_force_alone_is_new(
    bench: OracleBench,
) -> None:
    """A poke without a round moves the half hours on as well."""
    bench.advance(60)
    bench.set_price(2_100 * 10**8)
    bench.advance(300)
    bench.poke()
    swing = math.log(1.05) * RANGE_FACTOR_E6
    for expected in (swing, swing, 0):
        assert bench.oracle.sigmas_e6(1)[2] == pytest.approx(expected, rel=1e-6)
        bench.advance(1_800)
        bench.poke()


# ---- the walk


def test_poke__rounds_missed__walks_back_and_samples_each_bucket(bench: OracleBench) -> None:
    """A17: a poke after sixteen buckets equals a poke in each."""
    prices = [2_000 + 10 * (k % 3) for k in range(MAX_WALK)]
    with bench.chain.isolated():
        model = copy.deepcopy(bench.model)
        for price in prices:
            bench.advance(300)
            bench.set_price(price * 10**8)
            every = bench.words(bench.poke())
        bench.model = model
    for price in prices:
        bench.advance(300)
        bench.set_price(price * 10**8)
    once = bench.words(bench.poke())
    assert (once["ewma_word"], once["range_word"], once["last_word"]) == (
        every["ewma_word"],
        every["range_word"],
        every["last_word"],
    )


def test_poke__more_rounds_than_a_walk__oldest_seen_carries_the_return(bench: OracleBench) -> None:
    """The walk is bounded; nothing of the move is lost."""
    for step in range(30):
        bench.advance(300)
        bench.set_price((2_000 + 2 * step) * 10**8)
    receipt = bench.poke()
    assert bench.words(receipt) == bench.model_words()
    seen = bench.model.assets[1].volatility
    assert seen.bucket == bucket_of(bench.now)
    whole = 13 * 300 + 16 * 300 + 300
    assert seen.slow.weight_ms == pytest.approx(whole * 1_000, rel=0.07)


@pytest.mark.parametrize("phase", [2, 2**16 - 1])
def test_poke__aggregator_changed__new_phase_goes_on(bench: OracleBench, phase: int) -> None:
    """Round ids jump where a proxy changes its aggregator; the walk ends there."""
    bench.advance(300)
    feed, model = bench.feeds[1], bench.model.assets[1].feed
    first = (phase << 64) | 1
    feed.set_raw(first, 2_050 * 10**8, bench.now, first, sender=bench.owner)
    model.publish(RawRound(first, 2_050 * 10**8, bench.now))
    words = bench.words(bench.poke())
    assert words == bench.model_words()
    assert (words["last_word"] >> 96) & (2**80 - 1) == first


def test_poke__round_newer_than_its_successor__ends_the_walk(bench: OracleBench) -> None:
    """Neither it nor what came before is believed, though it is older than the newest."""
    feed, model = bench.feeds[1], bench.model.assets[1].feed
    start, first = bench.now, 7 << 64
    bench.advance(1_500)
    answers = (1_980, 2_020, 2_010, 2_000)
    for step, (answer, at_s) in enumerate(zip(answers, (300, 900, 600, 1_500), strict=True)):
        feed.set_raw(first + step, answer * 10**8, start + at_s, first + step, sender=bench.owner)
        model.publish(RawRound(first + step, answer * 10**8, start + at_s))
    assert bench.words(bench.poke()) == bench.model_words()
    seen = bench.model.assets[1].volatility
    assert seen.slow.weight_ms == pytest.approx(1_500 * 1_000, rel=0.01)


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_poke__past_rounds_cannot_be_read__newest_carries_the_return(
    bench: OracleBench, mode: int
) -> None:
    """T23: a feed without history still gives one return over the buckets passed."""
    feed = bench.deploy("BadFeed", 8)
    feed.set_newest([5, ETH, bench.now, bench.now, 5], sender=bench.owner)
    bench.oracle.list_asset(
        2, feed.address, HEARTBEAT_S, *BAND_LOG2, 2_000 * WAD, PRIOR_E6, START.values,
        sender=bench.owner,
    )  # fmt: skip
    bench.advance(1_500)
    feed.set_newest([9, 2_020 * 10**8, bench.now, bench.now, 9], sender=bench.owner)
    feed.set_modes(0, mode, sender=bench.owner)
    bench.oracle.poke([2], sender=bench.keeper)
    expected = math.sqrt((math.log(1.01) ** 2 * YEAR_S + 0.64 * 600) / 2_100)
    assert bench.oracle.sigmas_e6(2)[0] == pytest.approx(expected * 10**6, rel=1e-6)


# ---- A17: who pokes and when does not matter

gaps = st.integers(1, 900)
moves = st.integers(-500, 500)


@pytest.fixture(scope="module")
def twins() -> tuple[RevmChain, Contract, Contract, Contract]:
    """Two oracles on one feed."""
    chain = RevmChain()
    owner = chain.accounts[0]
    house = chain.deploy("CallStateStub", sender=owner)
    feed = chain.deploy("MockFeed", 8, "Ether / USD", sender=owner)
    feed.set_answer(ETH, sender=owner)
    pair = []
    for _ in range(2):
        oracle = chain.deploy("RiskOracle", house.address, ZERO, 1, ZERO, sender=owner)
        oracle.list_asset(
            1, feed.address, HEARTBEAT_S, *BAND_LOG2, 2_000 * WAD, PRIOR_E6, START.values,
            sender=owner,
        )  # fmt: skip
        pair.append(oracle)
    return chain, feed, pair[0], pair[1]


@given(
    rounds=st.lists(st.tuples(gaps, moves, st.booleans(), st.booleans()), min_size=1, max_size=30),
    tail=st.integers(0, 2_000),
)
def test_poke__two_schedules__equal_state(
    twins: tuple[RevmChain, Contract, Contract, Contract],
    rounds: list[tuple[int, int, bool, bool]],
    tail: int,
) -> None:
    """A17, T29: the sampled state is a function of the rounds, as long as each walk reaches.

    Each oracle is poked on its own schedule, at the latest after sixteen rounds.
    """
    chain, feed, *oracles = twins
    owner = chain.accounts[0]
    with chain.isolated():
        answer, unseen = ETH, [0, 0]
        for gap_s, move_bps, *is_poked in rounds:
            chain.advance(gap_s)
            answer = max(answer * (10_000 + move_bps) // 10_000, 2 * 10**8)
            feed.set_answer(answer, sender=owner)
            for i, oracle in enumerate(oracles):
                unseen[i] += 1
                if is_poked[i] or unseen[i] == MAX_WALK - 2:
                    oracle.poke([1], sender=owner)
                    unseen[i] = 1  # the newest may still be waiting for its boundary
        chain.advance(tail)
        words = []
        for oracle in oracles:
            (event,) = oracle.events(oracle.poke([1], sender=owner), "Poked")
            words.append((event.args.last_word, event.args.ewma_word, event.args.range_word))
        assert words[0] == words[1]


@given(
    rounds=st.lists(st.tuples(st.integers(1, 2_000), moves), min_size=1, max_size=12),
    tail=st.integers(0, 900),
)
def test_absorb__any_rounds__equals_the_definition_on_the_grid(
    rounds: list[tuple[int, int]], tail: int
) -> None:
    """A17: the recursive state against samples read straight off the grid, in floating point."""
    start = 1_700_000_100 // 1_800 * 1_800
    feed = FeedModel(8, HEARTBEAT_S, *BAND_LOG2)
    feed.publish(RawRound(1, ETH, start))
    published = [(start, ETH)]
    at, answer = start, ETH
    for index, (gap_s, move_bps) in enumerate(rounds):
        at, answer = at + gap_s, answer * (10_000 + move_bps) // 10_000
        feed.publish(RawRound(index + 2, answer, at))
        published.append((at, answer))
    now = at + tail
    first = feed.sound(feed.past[1], now)
    newest = feed.sound_newest(now)
    assert first is not None and newest is not None
    state = Volatility.start(first, PRIOR_E6, start)
    state, _ = state.absorbed(feed.walk(newest, 1, state.bucket * BUCKET_S, now), now)

    weight = total = 0.0
    last_price, last_bucket = ETH, start // BUCKET_S
    last_round = 0
    for bucket in range(start // BUCKET_S, now // BUCKET_S + 1):
        in_force = max(i for i, (t, _) in enumerate(published) if t <= bucket * BUCKET_S)
        if in_force != last_round:
            dt = (bucket - last_bucket) * BUCKET_S
            price = published[in_force][1]
            keep = math.exp(-dt / 3_600)
            total = total * keep + min(abs(math.log(price / last_price)), 0.5) ** 2
            weight = weight * keep + dt
            last_round, last_bucket, last_price = in_force, bucket, price
    assert state.sampled_id == last_round + 1
    assert state.fast.weight_ms / 1_000 == pytest.approx(weight, rel=1e-6, abs=0.01)
    assert state.fast.sum_e28 / 10**28 == pytest.approx(total, rel=1e-5, abs=1e-12)


# ---- speed limits


def test_poke__volatility_jumps__initial_follows_at_once(bench: OracleBench) -> None:
    before = bench.risk()
    bench.advance(300)
    bench.set_price(1_700 * 10**8)
    bench.poke()
    after = bench.risk()
    assert after.sigma_e6 == 5_000_000  # the cap: 15% in five minutes
    assert after.r_init_e6 == 800_000 > before.r_init_e6


def _calm_after_a_jump(bench: OracleBench) -> None:
    """Live volatility is back near the prior, the initial one still far above it."""
    bench.advance(300)
    bench.set_price(1_700 * 10**8)
    bench.poke()
    bench.advance(10 * 3_600)
    bench.set_price(1_700 * 10**8)
    bench.poke()
    assert bench.risk().sigma_e6 == pytest.approx(5_000_000 * 0.9**10, rel=1e-6)


def test_poke__volatility_gone__initial_falls_ten_percent_an_hour(bench: OracleBench) -> None:
    _calm_after_a_jump(bench)
    start = bench.risk().sigma_e6
    for _ in range(3):
        bench.advance(1_200)
        bench.poke()
    assert bench.risk().sigma_e6 == pytest.approx(start * 0.9, rel=1e-6)


@pytest.mark.parametrize("interval_s", [1, 12, 300])
def test_poke__often_or_seldom__initial_falls_alike(bench: OracleBench, interval_s: int) -> None:
    """A17: the decay is exponential, so the number of pokes does not matter."""
    _calm_after_a_jump(bench)
    with bench.chain.isolated():
        saved = copy.deepcopy(bench.model)
        bench.advance(1_200)
        bench.poke()
        seldom = bench.risk().sigma_e6
        bench.model = saved
    for _ in range(1_200 // interval_s):
        bench.advance(interval_s)
        bench.poke()
    assert 0 <= bench.risk().sigma_e6 - seldom <= 1


def test_poke__volatility_jumps__maintenance_rises_at_most_five_percent_an_hour(
    bench: OracleBench,
) -> None:
    """T29: a spike of volatility by itself liquidates nobody: maintenance has a speed limit."""
    rates = [bench.risk()]
    for step in range(24):
        bench.advance(3_600)
        bench.set_price((1_000 if step % 2 else 2_000) * 10**8)
        bench.poke()
        rates.append(bench.risk())
    for old, new in zip(rates, rates[1:], strict=False):
        assert new.r_maint_e6 <= -(-old.r_maint_e6 * 105 // 100)
        assert new.l_maint_e6 <= -(-old.l_maint_e6 * 105 // 100)
    assert rates[-1].r_maint_e6 > 2 * rates[0].r_maint_e6


@pytest.mark.parametrize("silence_s", [3_600, 36_000, 2_592_000])
def test_poke__after_a_long_silence__maintenance_rises_at_most_five_percent(
    bench: OracleBench, silence_s: int
) -> None:
    """T29: no single poke lifts maintenance by more than 5%, however late it comes."""
    before = bench.risk()
    bench.advance(silence_s)
    bench.set_price(200 * 10**8)
    bench.poke()
    after = bench.risk()
    assert before.r_maint_e6 < after.r_maint_e6 <= -(-before.r_maint_e6 * 105 // 100)


def test_poke__every_second__maintenance_rises_neither_faster_nor_sticks(
    bench: OracleBench,
) -> None:
    """A17: poking every second is worth e**0.05 instead of 1.05 an hour, never a standstill."""
    bench.advance(300)
    bench.set_price(1_000 * 10**8)
    bench.poke()
    before = bench.risk()
    for _ in range(600):
        bench.advance(1)
        bench.poke()
    after = bench.risk()
    for old, new in (
        (before.r_maint_e6, after.r_maint_e6),
        (before.l_maint_e6, after.l_maint_e6),
    ):
        assert old * 1.0083 < new < old * 1.0084 + 2


def test_poke__calm_returns__maintenance_falls_at_once(bench: OracleBench) -> None:
    """What lowers a requirement does not wait."""
    for step in range(12):
        bench.advance(3_600)
        bench.set_price((1_500 if step % 2 else 2_000) * 10**8)
        bench.poke()
    high = bench.risk().r_maint_e6
    bench.advance(20 * 86_400)
    bench.set_price(1_500 * 10**8)
    bench.poke()
    assert bench.risk().r_maint_e6 == 80_000 < high * 0.6


def test_poke__twice_in_a_block__changes_nothing(bench: OracleBench) -> None:
    """T29"""
    bench.advance(300)
    bench.set_price(1_000 * 10**8)
    first = bench.words(bench.poke())
    second = bench.words(bench.poke())
    assert first == second


def test_poke__oscillation_inside_the_heartbeat__bounded_by_the_cap(bench: OracleBench) -> None:
    """T29: an attacker who moves the feed by 40% back and forth reaches the cap and no more."""
    before = bench.risk()
    for step in range(12):
        bench.advance(300)
        bench.set_price((1_200 if step % 2 else 2_000) * 10**8)
        bench.poke()
    after = bench.risk()
    assert after.sigma_e6 == 5_000_000
    assert after.r_init_e6 == 800_000 and after.l_init_e6 == 60_000
    assert after.r_maint_e6 <= before.r_maint_e6 * 1.0514


def test_poke__flat_prices__floor(bench: OracleBench) -> None:
    """T29: calming the feed cannot bring requirements below the floors."""
    for _ in range(400):
        bench.advance(3_600)
        bench.set_price(ETH)
        bench.poke()
    risk = bench.risk()
    floors = (risk.r_init_e6, risk.l_init_e6, risk.r_maint_e6, risk.l_maint_e6)
    assert floors == (150_000, 20_000, 80_000, 10_000)
    # What is left is the prior's weight of 600 s against 5,695 s of flat samples.
    assert risk.sigma_e6 == pytest.approx(800_000 * math.sqrt(600 / 6_295), rel=1e-3)


@given(
    history=st.lists(
        st.tuples(st.integers(1, 7_200), st.integers(-5_000, 9_000)), min_size=1, max_size=12
    )
)
def test_poke__any_history__initial_is_one_and_a_half_maintenance(
    twins: tuple[RevmChain, Contract, Contract, Contract], history: list[tuple[int, int]]
) -> None:
    """excess_maint >= excess_init rests on this inequality of the stored rates."""
    chain, feed, oracle, _ = twins
    owner = chain.accounts[0]
    with chain.isolated():
        answer = ETH
        for gap_s, move_bps in history:
            chain.advance(gap_s)
            answer = min(max(answer * (10_000 + move_bps) // 10_000, 2 * 10**8), 10**14)
            feed.set_answer(answer, sender=owner)
            oracle.poke([1], sender=owner)
            risk = Risk.from_word(oracle.marks([1])[1])
            assert 2 * risk.r_init_e6 >= 3 * risk.r_maint_e6 > 0
            assert 2 * risk.l_init_e6 >= 3 * risk.l_maint_e6 > 0
            assert risk.r_init_e6 + risk.l_init_e6 <= 10**6
