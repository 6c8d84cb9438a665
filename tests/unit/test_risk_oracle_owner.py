"""RiskOracle's owner: listing, replacing feeds, and parameters with notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ballast.chain import Contract, RevmChain
from ballast.model.oracle import (
    NO_INCREASE,
    NOTICE_S,
    PAUSE_STEP_S,
    STALE_FLAGS,
    FeedModel,
    Parameters,
    Price,
    Risk,
)
from tests.conftest import reverts
from tests.oracle_bench import (
    BAND_LOG2,
    DOLLAR,
    ETH,
    HEARTBEAT_S,
    PRIOR_E6,
    START,
    WAD,
    OracleBench,
    figures,
)

PRICE = 2_000 * WAD
NOT_OWNER = "ownable: caller is not the owner"


@pytest.fixture
def bench(chain: RevmChain) -> OracleBench:
    """One asset at 2,000, poked."""
    built = OracleBench(chain)
    built.advance(60)
    built.poke()
    return built


def _feed(bench: OracleBench, answer: int, decimals: int = 8) -> Contract:
    feed = bench.deploy("MockFeed", decimals, "another")
    feed.set_answer(answer, sender=bench.owner)
    return feed


def _list(bench: OracleBench, feed: Contract, sender: str | None = None, **change: object) -> None:
    terms: dict[str, object] = {
        "asset": 7,
        "heartbeat_s": HEARTBEAT_S,
        "low": BAND_LOG2[0],
        "high": BAND_LOG2[1],
        "stated_price_wad": PRICE,
        "prior_e6": PRIOR_E6,
        "parameters": START,
    } | change
    asset, heartbeat_s, low, high, stated, prior_e6, parameters = terms.values()
    assert isinstance(parameters, Parameters)
    bench.oracle.list_asset(
        asset, feed.address, heartbeat_s, low, high, stated, prior_e6, parameters.values,
        sender=sender or bench.owner,
    )  # fmt: skip


def _set_feed(
    bench: OracleBench,
    feed: Contract,
    *,
    stated_price_wad: int = 0,
    heartbeat_s: int = HEARTBEAT_S,
    band: tuple[int, int] = BAND_LOG2,
    sender: str | None = None,
) -> None:
    bench.oracle.set_feed(
        1, feed.address, heartbeat_s, *band, stated_price_wad, sender=sender or bench.owner
    )


# ---- listing


def test_list_asset__sound_feed__answers_at_once(bench: OracleBench) -> None:
    _list(bench, _feed(bench, ETH))
    assert bench.price(7).newest_wad == PRICE
    assert bench.risk(7) == Risk(
        240_000, 20_000, 120_000, 10_000, START.quota_gwei, bench.now, PRIOR_E6
    )


def test_list_asset__any__feed_and_parameters_can_be_read(bench: OracleBench) -> None:
    feed = _feed(bench, 2_000 * 10**6, decimals=6)
    _list(bench, feed)
    assert tuple(bench.oracle.feed_of(7)) == (feed.address, 6, HEARTBEAT_S, *BAND_LOG2)
    in_force, final, _ = bench.oracle.parameters(7)
    assert tuple(in_force) == tuple(final) == START.values


def test_feed_of__not_listed__zeros(bench: OracleBench) -> None:
    address, *settings = bench.oracle.feed_of(8)
    assert int(address, 16) == 0 and settings == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("stated_price_wad", "is_accepted"),
    [
        (PRICE * 10 // 12 + 1, True),
        (PRICE * 10 // 12, False),
        (PRICE * 10 // 8, True),
        (PRICE * 10 // 8 + 1, False),
        (0, False),
    ],
)
def test_list_asset__price_against_the_stated_one__within_a_fifth(
    bench: OracleBench, stated_price_wad: int, is_accepted: bool
) -> None:
    """T25, T18: 20% of the stated price either way."""
    feed = _feed(bench, ETH)
    if is_accepted:
        _list(bench, feed, stated_price_wad=stated_price_wad)
        assert bench.price(7).newest_wad == PRICE
    else:
        with reverts("oracle: price too far off"):
            _list(bench, feed, stated_price_wad=stated_price_wad)


def test_list_asset__feed_of_a_missing_leg__reverts(bench: OracleBench) -> None:
    """T25: the ratio of a staked token to its base, 1.12, instead of its price in dollars."""
    with reverts("oracle: price too far off"):
        _list(bench, _feed(bench, 112 * 10**6), low=50)


def test_list_asset__wrong_decimals__reverts(bench: OracleBench) -> None:
    """T18: an answer of eight decimals from a feed that says it has six."""
    with reverts("oracle: price too far off"):
        _list(bench, _feed(bench, ETH, decimals=6), high=90)


def test_list_asset__feed_of_nineteen_decimals__reverts(bench: OracleBench) -> None:
    """T18"""
    with reverts("oracle: bad decimals"):
        _list(bench, _feed(bench, 2_000 * 10**19, decimals=19))


@pytest.mark.parametrize("age_s", [HEARTBEAT_S, HEARTBEAT_S + 1])
def test_list_asset__feed_at_its_heartbeat__only_live_ones(bench: OracleBench, age_s: int) -> None:
    """T19, T25"""
    feed = _feed(bench, ETH)
    bench.advance(age_s)
    if age_s <= HEARTBEAT_S:
        _list(bench, feed)
        assert bench.price(7).flags == 0
    else:
        with reverts("oracle: feed not live"):
            _list(bench, feed)


def test_list_asset__price_outside_the_band__reverts(bench: OracleBench) -> None:
    """T21"""
    with reverts("oracle: feed not live"):
        _list(bench, _feed(bench, ETH), low=71)


def test_list_asset__quote_stale__reverts(bench: OracleBench) -> None:
    bench.advance(86_400)
    with reverts("oracle: feed not live"):
        _list(bench, _feed(bench, ETH))


@pytest.mark.parametrize("asset", [0, 256, 2**256 - 1])
def test_list_asset__id_out_of_range__reverts(bench: OracleBench, asset: int) -> None:
    with reverts("oracle: bad asset id"):
        _list(bench, _feed(bench, ETH), asset=asset)


def test_list_asset__twice__reverts(bench: OracleBench) -> None:
    with reverts("oracle: already listed"):
        _list(bench, _feed(bench, ETH), asset=1)


@pytest.mark.parametrize("heartbeat_s", [0, 2**24])
def test_list_asset__bad_heartbeat__reverts(bench: OracleBench, heartbeat_s: int) -> None:
    with reverts("oracle: bad heartbeat"):
        _list(bench, _feed(bench, ETH), heartbeat_s=heartbeat_s)


def test_list_asset__longest_heartbeat__is_kept_to_the_second(bench: OracleBench) -> None:
    feed = _feed(bench, ETH)
    _list(bench, feed, heartbeat_s=2**24 - 1)
    assert bench.oracle.feed_of(7) == (feed.address, 8, 2**24 - 1, *BAND_LOG2)


@pytest.mark.parametrize(("low", "high"), [(1, 80), (80, 80), (81, 80), (60, 95), (60, 2**200)])
def test_list_asset__bad_band__reverts(bench: OracleBench, low: int, high: int) -> None:
    with reverts("oracle: bad band"):
        _list(bench, _feed(bench, ETH), low=low, high=high)


@pytest.mark.parametrize("prior_e6", [0, 99_999, 5_000_001, 2**200])
def test_list_asset__bad_prior__reverts(bench: OracleBench, prior_e6: int) -> None:
    with reverts("oracle: bad prior volatility"):
        _list(bench, _feed(bench, ETH), prior_e6=prior_e6)


@pytest.mark.parametrize("prior_e6", [100_000, 5_000_000])
def test_list_asset__prior_at_its_bounds__accepted(bench: OracleBench, prior_e6: int) -> None:
    _list(bench, _feed(bench, ETH), prior_e6=prior_e6)
    assert bench.risk(7).sigma_e6 == prior_e6


BAD_PARAMETERS = {
    "initial floor above its cap": {"floor_init_bps": 8_001},
    "maintenance floor above its cap": {"cap_maint_bps": 799},
    "gross floor above its cap": {"cap_l_bps": 199},
    "z initial below 1.5 maintenance": {"z_init_bps": 2_249},
    "floor initial below 1.5 maintenance": {"floor_init_bps": 1_199},
    "cap initial below 1.5 maintenance": {"cap_init_bps": 5_999},
    "more than the whole value": {"cap_init_bps": 9_401},
    "no maintenance floor": {"floor_maint_bps": 0},
    "no gross floor": {"floor_l_bps": 0},
    "no quota": {"quota_gwei": 0},
}
TOO_LARGE = ["z_init_bps", "z_maint_bps", "z_l_bps", "cap_init_bps", "cap_maint_bps", "cap_l_bps"]


@pytest.mark.parametrize("case", BAD_PARAMETERS, ids=lambda c: c.replace(" ", "-"))
def test_set_parameters__inequality_broken__reverts(bench: OracleBench, case: str) -> None:
    """T31 and I40 rest on these inequalities."""
    bad = replace(START, **BAD_PARAMETERS[case])
    assert not bad.is_valid()
    with reverts("oracle: bad parameters"):
        bench.oracle.set_parameters(1, bad.values, sender=bench.owner)
    with reverts("oracle: bad parameters"):
        _list(bench, _feed(bench, ETH), parameters=bad)


UNCOVERED_JUMPS = {
    "initial floors too low together": {"floor_maint_bps": 600, "floor_init_bps": 1_151},
    "maintenance floor below the jump": {"floor_maint_bps": 499},
    "gross floor too low for an exit": {"floor_l_bps": 99},
}


@pytest.mark.parametrize("case", UNCOVERED_JUMPS, ids=lambda c: c.replace(" ", "-"))
def test_set_parameters__jump_not_covered__reverts(bench: OracleBench, case: str) -> None:
    """T31: after the largest jump an account has what its liquidation costs."""
    bad = replace(START, **UNCOVERED_JUMPS[case])
    assert not bad.is_valid()
    with reverts("oracle: jump not covered"):
        bench.oracle.set_parameters(1, bad.values, sender=bench.owner)
    with reverts("oracle: jump not covered"):
        _list(bench, _feed(bench, ETH), parameters=bad)


def test_set_parameters__jump_not_covered_on_the_way__reverts(bench: OracleBench) -> None:
    """A fall counts at once, a rise only at the end of the notice: both ends alone would do."""
    new = replace(START, floor_maint_bps=600, floor_init_bps=1_000, floor_l_bps=400)
    assert START.is_valid() and new.is_valid()
    with reverts("oracle: jump not covered"):
        bench.oracle.set_parameters(1, new.values, sender=bench.owner)
    half = replace(START, floor_maint_bps=600, floor_init_bps=1_152, floor_l_bps=400)
    bench.oracle.set_parameters(1, half.values, sender=bench.owner)


def test_set_parameters__gross_floor_falls_first__jump_not_covered_on_the_way(
    bench: OracleBench,
) -> None:
    """The other way round: the directional floor is as low as ever until its notice is over."""
    start = replace(START, floor_maint_bps=600, floor_init_bps=1_000, floor_l_bps=400)
    new = replace(start, floor_init_bps=1_300, floor_l_bps=200)
    assert start.is_valid() and new.is_valid()
    _list(bench, _feed(bench, ETH), parameters=start)
    with reverts("oracle: jump not covered"):
        bench.oracle.set_parameters(7, new.values, sender=bench.owner)
    half = replace(start, floor_init_bps=1_300, floor_l_bps=352)
    bench.oracle.set_parameters(7, half.values, sender=bench.owner)


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.parametrize("value", [2**16, 2**255])
def test_set_parameters__field_too_wide__reverts(bench: OracleBench, name: str, value: int) -> None:
    bad = replace(START, **{name: value})
    with reverts("oracle: parameter too large"):
        bench.oracle.set_parameters(1, bad.values, sender=bench.owner)


def test_set_parameters__quota_too_wide__reverts(bench: OracleBench) -> None:
    bad = replace(START, quota_gwei=2**72)
    with reverts("oracle: parameter too large"):
        bench.oracle.set_parameters(1, bad.values, sender=bench.owner)


def test_set_parameters__on_the_inequalities__accepted(bench: OracleBench) -> None:
    edge = Parameters(2_250, 1_200, 9_000, 1_500, 800, 6_000, 250, 200, 1_000, 2**72 - 1)
    assert edge.is_valid()
    bench.set_parameters(edge)
    assert tuple(bench.oracle.parameters(1)[1]) == edge.values


# ---- replacing a feed


def test_set_feed__price_alike__goes_on_from_the_new_one(bench: OracleBench) -> None:
    feed = _feed(bench, 2_015 * 10**8)
    bench.advance(12)
    before = bench.oracle.sigmas_e6(1)
    _set_feed(bench, feed, heartbeat_s=600, band=(61, 82))
    assert figures(bench.price()) == Price(2_015 * WAD, 2_015 * WAD, 0)
    assert tuple(bench.oracle.feed_of(1)) == (feed.address, 8, 600, 61, 82)
    assert bench.oracle.sigmas_e6(1) == before  # the step between the feeds is no return


def test_set_feed__then_a_round__return_from_the_new_price(bench: OracleBench) -> None:
    feed = bench.deploy("MockFeed", 8, "another")
    model = FeedModel(8, HEARTBEAT_S, *BAND_LOG2)
    bench.advance(12)
    bench.publish(feed, model, 2_015 * 10**8)
    _set_feed(bench, feed)
    bench.model.set_feed(1, model, bench.now)
    bench.feeds[1] = feed
    bench.advance(900)
    bench.set_price(2_035 * 10**8)
    bench.advance(300)
    assert bench.words(bench.poke()) == bench.model_words()
    assert bench.model.assets[1].volatility.fast.sum_e28 < 1.1e-4 * 10**28


@pytest.mark.parametrize(
    ("answer", "is_accepted"),
    [
        (2_020 * 10**8, True),
        (2_020 * 10**8 + 1, False),
        (1_980 * 10**8, True),
        (1_980 * 10**8 - 1, False),
        (0, False),
    ],
)
def test_set_feed__against_the_old_live_price__within_a_hundredth(
    bench: OracleBench, answer: int, is_accepted: bool
) -> None:
    """T25: what two sound feeds may differ by, whatever the owner states."""
    feed = _feed(bench, answer)
    if is_accepted:
        _set_feed(bench, feed)
        assert bench.price().newest_wad == answer * 10**10
    else:
        with reverts("oracle: price too far off" if answer else "oracle: feed not live"):
            _set_feed(bench, feed, stated_price_wad=answer * 10**10)


def test_set_feed__old_one_dead__stated_price_decides(bench: OracleBench) -> None:
    """T25: a dead feed can be replaced after the market has moved."""
    bench.set_raw(bench.feeds[1], bench.model.assets[1].feed, 0, bench.now, 1, 0)
    assert bench.price().flags == STALE_FLAGS
    feed = _feed(bench, 1_400 * 10**8)
    with reverts("oracle: price too far off"):
        _set_feed(bench, feed, stated_price_wad=PRICE)
    bench.advance(12)
    _set_feed(bench, feed, stated_price_wad=1_400 * WAD)
    bench.poke()
    assert figures(bench.price()) == Price(1_400 * WAD, 1_400 * WAD, 0)


def test_set_feed__new_one_stale__reverts(bench: OracleBench) -> None:
    """T19, T25"""
    feed = _feed(bench, ETH)
    bench.advance(HEARTBEAT_S + 1)
    with reverts("oracle: feed not live"):
        _set_feed(bench, feed, stated_price_wad=PRICE)


def test_set_feed__round_older_than_the_last_sample__time_does_not_go_back(
    bench: OracleBench,
) -> None:
    """A17: the next return covers the time since the last sample, not since the new round."""
    feed = _feed(bench, ETH)
    bench.advance(1_200)
    bench.set_price(ETH)
    bench.advance(300)
    before = bench.words(bench.poke())["last_word"] >> 176
    _set_feed(bench, feed)
    event = bench.chain.events(bench.oracle, "Poked")[-1]
    assert event.args.last_word >> 176 == before > 1_700_000_000 // 300 + 3


def test_set_feed__initial_volatility_high__stays_high(bench: OracleBench) -> None:
    """T29: replacing a feed does not wash volatility away."""
    bench.advance(300)
    bench.set_price(1_800 * 10**8)
    bench.advance(300)
    bench.poke()
    before = bench.risk()
    _set_feed(bench, _feed(bench, 1_800 * 10**8))
    assert bench.risk() == before


# ---- parameters

HARDER = Parameters(6_000, 3_000, 9_000, 3_000, 1_600, 6_000, 500, 400, 800, 10**14)
EASIER = Parameters(2_000, 1_252, 5_000, 1_000, 500, 3_000, 100, 100, 300, 10**16)


def test_set_parameters__harder__starts_where_it_was(bench: OracleBench) -> None:
    before = bench.risk()
    bench.set_parameters(HARDER)
    assert bench.risk() == before


def test_set_parameters__harder__pending_is_visible_at_once(bench: OracleBench) -> None:
    """A hook can act on the coming requirement from the first second."""
    assert bench.oracle.pending_risk(1) == bench.oracle.marks([1])[1]
    bench.set_parameters(HARDER)
    pending = Risk.from_word(bench.oracle.pending_risk(1))
    assert pending == Risk(480_000, 40_000, 240_000, 20_000, 10**14, bench.now, PRIOR_E6)


def test_set_parameters__harder__ramps_in_a_line_over_the_notice(bench: OracleBench) -> None:
    bench.set_parameters(HARDER)
    for tenth in (1, 5, 9):
        with bench.chain.isolated():
            bench.advance(NOTICE_S * tenth // 10)
            in_force = Parameters(*bench.oracle.parameters(1)[0])
            for old, new, value in zip(START.values, HARDER.values, in_force.values, strict=True):
                assert value == pytest.approx(old + (new - old) * tenth / 10, abs=1)
    bench.advance(NOTICE_S)
    assert tuple(bench.oracle.parameters(1)[0]) == HARDER.values


def test_set_parameters__harder__initial_rate_follows_the_ramp(bench: OracleBench) -> None:
    bench.set_parameters(HARDER)
    bench.advance(NOTICE_S // 2)
    bench.set_price(ETH)
    bench.poke()
    risk = bench.risk()
    assert risk.r_init_e6 == pytest.approx(0.45 * risk.sigma_e6, abs=2)
    assert risk.quota_gwei == (10**15 + 10**14) // 2


def test_set_parameters__harder__no_poke_lifts_maintenance_above_five_percent(
    bench: OracleBench,
) -> None:
    """T29: also when the whole notice period passes without a poke."""
    before = bench.risk()
    bench.set_parameters(HARDER)
    bench.advance(NOTICE_S)
    bench.set_price(ETH)
    bench.poke()
    after = bench.risk()
    assert before.r_maint_e6 < after.r_maint_e6 <= before.r_maint_e6 * 1.05
    assert before.l_maint_e6 < after.l_maint_e6 <= before.l_maint_e6 * 1.05


def test_set_parameters__easier__applies_at_once(bench: OracleBench) -> None:
    bench.set_parameters(EASIER)
    assert bench.risk() == Risk(160_000, 10_000, 80_000, 5_000, 10**16, bench.now, PRIOR_E6)
    assert tuple(bench.oracle.parameters(1)[0]) == EASIER.values


def test_set_parameters__easier_with_a_dead_feed__applies_at_once(bench: OracleBench) -> None:
    """What lowers a requirement does not wait for a feed."""
    bench.set_raw(bench.feeds[1], bench.model.assets[1].feed, 0, bench.now, 1, 0)
    bench.set_parameters(EASIER)
    assert bench.risk().r_maint_e6 == 80_000
    assert figures(bench.price()) == Price(PRICE, PRICE, STALE_FLAGS)


def test_set_parameters__mixed__each_field_by_its_own_direction(bench: OracleBench) -> None:
    mixed = replace(START, z_init_bps=2_500, cap_init_bps=9_000, quota_gwei=2 * 10**15)
    bench.set_parameters(mixed)
    in_force = Parameters(*bench.oracle.parameters(1)[0])
    assert in_force == replace(START, z_init_bps=2_500, quota_gwei=2 * 10**15)


def test_set_parameters__on_top_of_a_ramp__goes_on_from_where_it_stands(
    bench: OracleBench,
) -> None:
    bench.set_parameters(HARDER)
    bench.advance(NOTICE_S // 3)
    halfway = Parameters(*bench.oracle.parameters(1)[0])
    bench.set_parameters(HARDER)
    in_force, final, end = bench.oracle.parameters(1)
    assert Parameters(*in_force) == halfway
    assert tuple(final) == HARDER.values and end == bench.now + NOTICE_S


def test_set_parameters__taken_back__falls_at_once(bench: OracleBench) -> None:
    bench.set_parameters(HARDER)
    bench.advance(NOTICE_S // 3)
    bench.set_parameters(START)
    assert tuple(bench.oracle.parameters(1)[0]) == START.values


def test_set_parameters__unknown_asset__reverts(bench: OracleBench) -> None:
    for call in (
        lambda: bench.oracle.set_parameters(3, START.values, sender=bench.owner),
        lambda: bench.oracle.pending_risk(3),
        lambda: bench.oracle.parameters(3),
        lambda: bench.oracle.sigmas_e6(3),
    ):
        with reverts("oracle: unknown asset"):
            call()


# ---- who


def test_owner_functions__attacker__reverts(bench: OracleBench) -> None:
    feed = _feed(bench, ETH)
    with reverts(NOT_OWNER):
        _list(bench, feed, sender=bench.attacker)
    with reverts(NOT_OWNER):
        _set_feed(bench, feed, sender=bench.attacker)
    with reverts(NOT_OWNER):
        bench.oracle.set_parameters(1, START.values, sender=bench.attacker)
    with reverts(NOT_OWNER):
        bench.oracle.transfer_ownership(bench.attacker, sender=bench.attacker)


def test_transfer_ownership__accepted__new_owner_alone(bench: OracleBench) -> None:
    bench.oracle.transfer_ownership(bench.keeper, sender=bench.owner)
    assert (bench.oracle.owner(), bench.oracle.pending_owner()) == (bench.owner, bench.keeper)
    with reverts("ownable_2step: caller is not the new owner"):
        bench.oracle.accept_ownership(sender=bench.attacker)
    bench.oracle.accept_ownership(sender=bench.keeper)
    bench.oracle.set_parameters(1, START.values, sender=bench.keeper)
    with reverts(NOT_OWNER):
        bench.oracle.set_parameters(1, START.values, sender=bench.owner)
    assert bench.oracle.owner() == bench.keeper


# ---- pauses


@pytest.fixture
def pausable(bench: OracleBench) -> OracleBench:
    """The bench at the beginning of a step of pauses."""
    bench.to_grid(step_s=PAUSE_STEP_S)
    bench.set_price(ETH)
    bench.advance(PAUSE_STEP_S)
    return bench


@pytest.mark.parametrize("asked_s", [PAUSE_STEP_S, 1_000, 86_399, 30 * 86_400])
def test_set_pause__until_a_time__backs_no_increase_until_then(
    pausable: OracleBench, asked_s: int
) -> None:
    """T67: in whole steps, no longer than asked for, and then over by itself."""
    start = pausable.now
    pausable.set_pause(start + asked_s)
    ends_at = start + asked_s // PAUSE_STEP_S * PAUSE_STEP_S
    assert pausable.oracle.paused_until(1) == ends_at
    for at, flags in ((start, NO_INCREASE), (ends_at - 1, NO_INCREASE), (ends_at, 0)):
        if at > pausable.now:
            pausable.chain.set_time(at - 1)
            pausable.set_quote(DOLLAR)
            pausable.set_price(ETH)
            pausable.poke()
            pausable.chain.set_time(at)
        assert pausable.price().flags == flags
        assert pausable.price() == pausable.model.price(1, pausable.now)
    assert pausable.price().newest_wad == PRICE


def test_set_pause__less_than_a_step__is_none(pausable: OracleBench) -> None:
    pausable.set_pause(pausable.now + PAUSE_STEP_S - 1)
    assert pausable.price().flags == 0


def test_set_pause__other_assets__go_on(bench: OracleBench) -> None:
    _list(bench, _feed(bench, ETH))
    bench.advance(12)
    bench.set_pause(bench.now + 3_600)
    assert bench.price(1).flags == NO_INCREASE and bench.price(7).flags == 0


def test_set_pause__again__may_end_it(bench: OracleBench) -> None:
    bench.set_pause(bench.now + 3_600)
    bench.set_pause(0)
    assert bench.price().flags == 0 and bench.oracle.paused_until(1) == 0


def test_set_pause__stale_feed__flags_as_ever(bench: OracleBench) -> None:
    bench.set_pause(bench.now + 86_400)
    bench.advance(HEARTBEAT_S + 1)
    assert bench.price().flags == STALE_FLAGS


def test_set_pause__volatility_and_rates__are_untouched(bench: OracleBench) -> None:
    """The word is shared with the prior volatility and everything about the feed."""
    before = bench.risk(), bench.oracle.sigmas_e6(1), tuple(bench.oracle.feed_of(1))
    bench.set_pause(bench.now + 30 * 86_400)
    assert before == (bench.risk(), bench.oracle.sigmas_e6(1), tuple(bench.oracle.feed_of(1)))
    bench.advance(600)
    bench.set_price(2_030 * 10**8)
    bench.advance(300)
    assert bench.words(bench.poke()) == bench.model_words()


def test_set_feed__paused__pause_goes_on(bench: OracleBench) -> None:
    bench.set_pause(bench.now + 3_600)
    until = bench.oracle.paused_until(1)
    feed = _feed(bench, ETH)
    bench.advance(12)
    _set_feed(bench, feed)
    assert bench.oracle.paused_until(1) == until and bench.price().flags == NO_INCREASE


def test_set_pause__longer_than_thirty_days__reverts(bench: OracleBench) -> None:
    """T67: nobody pauses for good."""
    for seconds in (30 * 86_400 + 1, 2**255):
        with reverts("oracle: pause too long"):
            bench.oracle.set_pause(1, bench.now + seconds, sender=bench.owner)


def test_set_pause__unknown_asset_or_stranger__reverts(bench: OracleBench) -> None:
    with reverts("oracle: unknown asset"):
        bench.oracle.set_pause(9, bench.now, sender=bench.owner)
    with reverts("oracle: unknown asset"):
        bench.oracle.paused_until(9)
    with reverts(NOT_OWNER):
        bench.oracle.set_pause(1, bench.now, sender=bench.attacker)


# ---- events


def test_events__replayed__equal_what_is_stored(bench: OracleBench) -> None:
    """I46"""
    bench.set_quote(DOLLAR - 12_345)
    bench.set_price(2_080 * 10**8)
    bench.advance(400)
    bench.poke()
    bench.set_parameters(HARDER)
    feed = _feed(bench, 2_080 * 10**8)
    bench.advance(12)
    _set_feed(bench, feed)
    bench.set_pause(bench.now + 3_600)
    quote_wad, words, feed_word, parameters = 0, None, 0, (0, 0)
    for event in bench.chain.events(bench.oracle):
        match event.name:
            case "QuoteStored":
                quote_wad = event.args.quote_wad
            case "Poked":
                words = event.args
            case "AssetListed" | "FeedChanged" | "PauseChanged":
                feed_word = event.args.feed_word
            case "ParametersChanged":
                parameters = (event.args.old_word, event.args.new_word)
                assert event.args.ramp_end == event.args.new_word >> 216
    told = {event.name: event.args for event in reversed(bench.chain.events(bench.oracle))}
    first_quote_wad, old = told["QuoteStored"].quote_wad, bench.feeds[1].address
    assert first_quote_wad == DOLLAR * 10**10 and told["AssetListed"].feed == old
    assert (told["FeedChanged"].old_feed, told["FeedChanged"].new_feed) == (old, feed.address)
    assert told["FeedChanged"].feed_word & (2**160 - 1) == int(feed.address, 16)
    assert words is not None
    slots = {bench.chain.storage(bench.oracle.address, slot) for slot in range(32)}
    assert quote_wad == (DOLLAR - 12_345) * 10**10 and quote_wad in slots
    assert words.risk_word == bench.oracle.marks([1])[1]
    assert feed_word & (2**160 - 1) == int(feed.address, 16)
    assert feed_word >> 232 == bench.oracle.paused_until(1) // PAUSE_STEP_S
    assert Parameters(*bench.oracle.parameters(1)[1]).word(parameters[1] >> 216) == parameters[1]
    assert START.word(parameters[0] >> 216) == parameters[0]
    assert words.last_word & (2**96 - 1) == 2_080 * WAD * WAD // quote_wad
