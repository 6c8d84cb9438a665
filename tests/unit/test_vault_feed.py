"""The feed of a vault's shares: the asset's rounds times a rate that cannot jump."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Anvil, RevmChain
from ballast.model.oracle import Price
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.shares_kit import (
    ANSWER,
    DAY_S,
    ETHER_SHARES,
    GROWTH_WAD,
    LENDERS_SHARES,
    SHARES,
    YEAR_S,
    Stand,
    build_stand,
    cap_after,
    checkpoint,
    give,
    hold_exits,
    quote_units,
    shares_world,
    take_away,
    unit_rate,
)
from tests.support.world import WAD, World, to_wad

NO_ROUND = "mock: no such round"
OUT_OF_RANGE = "vault feed: rate out of range"
STALE, NO_INCREASE, NO_SWAP = 1, 2, 4
# What the oracle leaves to a feed, and what one may use with all accounts and slots cold.
FEED_GAS, TX_GAS = 60_000, 21_000


@pytest.fixture(scope="module")
def shared() -> Stand:
    return build_stand(RevmChain())


@pytest.fixture
def stand(shared: Stand) -> Iterator[Stand]:
    """Asset and share of 18 decimals, a rate of one, 15% a year."""
    with shared.chain.isolated():
        yield shared


@pytest.fixture
def world() -> Iterator[World]:
    """A world that lists shares."""
    shared = shares_world()
    with shared.isolated():
        yield shared


# ---- rounds


@pytest.mark.parametrize(
    ("asset_decimals", "share_decimals"),
    [(6, 6), (6, 12), (6, 18), (8, 8), (8, 18), (18, 6), (18, 8), (18, 18), (2, 18)],
)
def test_latest_round__any_decimals__is_the_price_of_a_whole_share(
    asset_decimals: int, share_decimals: int
) -> None:
    rate = to_wad("1.25")
    stand = build_stand(
        RevmChain(),
        asset_decimals=asset_decimals,
        share_decimals=share_decimals,
        rate_wad=rate,
    )
    assert stand.feed.decimals() == 8
    assert stand.feed.rate_wad() == stand.feed.live_rate_wad() == rate
    assert stand.answer() == 2_500 * 10**8
    stand.asset_feed.set_answer(1_000 * 10**8, sender=stand.owner)
    assert stand.answer() == 1_250 * 10**8


def test_latest_round__product__is_down(stand: Stand) -> None:
    stand.set_rate(WAD * 999_999 // 10**6 - 7)
    stand.asset_feed.set_answer(3, sender=stand.owner)
    assert stand.answer() == 2
    stand.asset_feed.set_answer(ANSWER + 1, sender=stand.owner)
    exact = (ANSWER + 1) * stand.feed.rate_wad()
    assert exact % WAD != 0 and stand.answer() == exact // WAD


def test_rounds__ids_and_times__are_those_of_the_asset(stand: Stand) -> None:
    now = stand.chain.time
    for number, answer in enumerate((1_500, 1_600, 1_700)):
        stand.asset_feed.set_round(answer * 10**8, now - 90 + number, sender=stand.owner)
    stand.asset_feed.set_raw(9, 1_800 * 10**8, now - 60, 7, sender=stand.owner)
    stand.set_rate(WAD // 2)
    assert tuple(stand.feed.latestRoundData()) == (9, 900 * 10**8, now - 60, now - 60, 7)
    for id in (1, 2, 3, 4):
        told, own = stand.feed.getRoundData(id), stand.asset_feed.getRoundData(id)
        assert tuple(told) == (id, own[1] // 2, own[2], own[3], own[4])
    with reverts(NO_ROUND):
        stand.feed.getRoundData(5)


def test_past_rounds__rate_moved_since__keep_the_returns_of_the_asset(stand: Stand) -> None:
    """All are told at the rate of now, so a rate that moves is no return between two rounds."""
    stand.asset_feed.set_answer(ANSWER // 2, sender=stand.owner)
    for rate in (WAD, WAD // 10, WAD * 3 // 4):
        stand.set_rate(rate)
        assert stand.feed.getRoundData(1)[1] == 2 * stand.feed.getRoundData(2)[1]
        assert stand.feed.getRoundData(2)[1] == stand.answer()


def test_rounds__asset_without_a_sound_answer__are_none_either(stand: Stand) -> None:
    stand.asset_feed.set_answer(0, sender=stand.owner)
    assert stand.answer() == 0
    stand.asset_feed.set_answer(-1, sender=stand.owner)
    with reverts(""):
        stand.feed.latestRoundData()
    assert stand.feed.getRoundData(1)[1] == ANSWER


def test_rounds__vault_that_reverts__revert(stand: Stand) -> None:
    stand.vault.set_unit_rate(2**256 - 1, sender=stand.owner)
    for call in (stand.feed.latestRoundData, lambda: stand.feed.getRoundData(1)):
        with reverts(""):
            call()
    with reverts(""):
        stand.checkpoint()
    assert stand.feed.rate_cap_wad() >= WAD


# ---- the bound


@pytest.mark.parametrize("seconds", [0, 1, 2, 3_599, DAY_S - 1, DAY_S])
def test_rate__vault_that_doubles__grows_by_the_second(stand: Stand, seconds: int) -> None:
    stand.checkpoint()
    stand.set_rate(2 * WAD)
    start, _, at = stand.feed.last_checkpoint()
    assert stand.chain.time == at, "a chain without intervals"
    stand.chain.set_time(at + seconds)
    grown = start * GROWTH_WAD * seconds // WAD
    assert stand.feed.rate_wad() == stand.feed.rate_cap_wad() == start + grown
    assert stand.answer() == ANSWER * (start + grown) // WAD


def test_rate__exactly_at_the_bound__is_both(stand: Stand) -> None:
    """One wei below, at and above what may have grown by this second."""
    at = stand.feed.last_checkpoint()[2]
    now = at + 1_000
    cap = cap_after(WAD, WAD, 1_000)
    for live, told in ((cap - 1, cap - 1), (cap, cap), (cap + 1, cap)):
        with stand.chain.isolated():
            stand.set_rate(live)
            stand.chain.set_time(now)
            assert (stand.feed.rate_wad(), stand.feed.live_rate_wad()) == (told, live)
            stand.chain.set_time(now + 1)
            assert stand.feed.rate_wad() == min(live, cap_after(WAD, WAD, 1_001))


def test_rate__nobody_makes_a_checkpoint__stops_after_a_day(stand: Stand) -> None:
    """The bound never rises by more than a day's growth at once, however long nobody called."""
    at = stand.feed.last_checkpoint()[2]
    stand.set_rate(2 * WAD)
    most = WAD + WAD * GROWTH_WAD * DAY_S // WAD
    for days in (1, 2, 365):
        stand.chain.set_time(at + days * DAY_S)
        assert stand.feed.rate_wad() == most
    stand.checkpoint()
    assert stand.feed.rate_wad() == most
    stand.chain.advance(1)
    assert most < stand.feed.rate_wad() <= cap_after(most, most, 1)


def test_checkpoint__by_anyone__stores_what_counts_and_says_so(stand: Stand) -> None:
    stand.set_rate(2 * WAD)
    for who in (stand.keeper, stand.owner, stand.chain.accounts[9]):
        receipt = stand.feed.checkpoint(sender=who)
        rate = stand.feed.rate_wad()
        assert receipt.return_value == rate < 2 * WAD
        assert tuple(args_of(stand.feed, receipt, "Checkpointed")) == (rate, rate)
        assert tuple(stand.feed.last_checkpoint()) == (rate, rate, stand.chain.time)


@given(
    live=st.integers(1, 3 * WAD),
    wait=st.integers(0, 3 * DAY_S),
    is_fallen=st.booleans(),
)
def test_checkpoint__at_any_time__leaves_the_answer_as_it_is(
    shared: Stand, live: int, wait: int, is_fallen: bool
) -> None:
    with shared.chain.isolated():
        if is_fallen:
            shared.set_rate(WAD // 2)
            shared.checkpoint()
        shared.set_rate(live)
        shared.chain.advance(wait)
        with shared.chain.one_block():
            before = (shared.feed.rate_wad(), shared.answer())
            shared.checkpoint()
            assert (shared.feed.rate_wad(), shared.answer()) == before


def test_checkpoints__every_hour_of_a_year__compound_and_no_more(stand: Stand) -> None:
    stand.set_rate(2 * WAD)
    rate, at = WAD, stand.feed.last_checkpoint()[2]
    start = at
    for _ in range(24 * 10):
        stand.chain.advance(3_600 - 12)
        stand.checkpoint()
        rate, at = cap_after(rate, rate, stand.chain.time - at), stand.chain.time
        assert stand.feed.last_checkpoint()[0] == rate
    years = (at - start) / YEAR_S
    assert 1 + 0.15 * years <= rate / WAD <= exp(0.15 * years)


# ---- falls


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_rate__fall__counts_at_once(stand: Stand, has_checkpoint: bool) -> None:
    with stand.chain.one_block():
        stand.set_rate(WAD * 7 // 10)
        if has_checkpoint:
            stand.checkpoint()
        assert stand.feed.rate_wad() == WAD * 7 // 10
        assert stand.answer() == 1_400 * 10**8


def test_rate__fall_that_nobody_recorded__is_forgotten_when_it_is_over(stand: Stand) -> None:
    """It comes back to where the bound is, and that never left."""
    at = stand.feed.last_checkpoint()[2]
    stand.set_rate(WAD // 2)
    assert stand.feed.rate_wad() == WAD // 2
    stand.set_rate(2 * WAD)
    assert stand.feed.rate_wad() == cap_after(WAD, WAD, stand.chain.time - at)


def test_rate__recorded_fall_and_recovery__comes_back_by_five_percent_a_day(stand: Stand) -> None:
    """Neither for ever nor at once, and above the old peak as slowly as before."""
    stand.set_rate(WAD // 2)
    receipt = stand.checkpoint()
    assert tuple(args_of(stand.feed, receipt, "Checkpointed")) == (WAD // 2, WAD)
    stand.set_rate(WAD)
    rate, at, days = WAD // 2, stand.feed.last_checkpoint()[2], 0
    while rate < WAD:
        stand.chain.set_time(at + DAY_S)
        told = stand.feed.rate_wad()
        assert told == min(WAD, cap_after(rate, WAD, DAY_S))
        assert rate < told <= rate * 105 // 100 + 1
        stand.checkpoint()
        rate, at, days = told, stand.chain.time, days + 1
        assert stand.feed.last_checkpoint()[0] == rate
    assert days == 15, "1.05 ** 15 > 2"
    stand.set_rate(2 * WAD)
    stand.chain.set_time(at + DAY_S)
    assert stand.feed.rate_wad() == WAD + WAD * GROWTH_WAD * DAY_S // WAD


def test_rate__recovery_with_many_checkpoints__is_no_slower(stand: Stand) -> None:
    """Nobody can hold the rate down by recording it often."""
    stand.set_rate(WAD * 9 // 10)
    stand.checkpoint()
    start = stand.feed.last_checkpoint()[2]
    stand.set_rate(WAD)
    while stand.feed.rate_wad() < WAD:
        stand.chain.advance(588)
        stand.checkpoint()
    days = (stand.chain.time - start) / DAY_S
    assert 2 < days < 2.2, "ln(1 / 0.9) / 0.05 = 2.1"


@given(
    moves=st.lists(
        st.tuples(st.integers(1, 2 * WAD), st.integers(0, 2 * DAY_S), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_rate__any_history__is_that_of_the_model(
    shared: Stand, moves: list[tuple[int, int, bool]]
) -> None:
    """And never above what growth alone makes of the highest rate that ever counted."""
    with shared.chain.isolated():
        rate, peak, at = shared.feed.last_checkpoint()
        for live, wait, is_recorded in moves:
            shared.set_rate(live)
            shared.chain.advance(wait)
            with shared.chain.one_block():
                now = shared.chain.time
                told = min(live, cap_after(rate, peak, now - at))
                assert shared.feed.rate_wad() == told
                assert told <= peak + peak * GROWTH_WAD * min(now - at, DAY_S) // WAD
                if is_recorded:
                    shared.checkpoint()
                    rate, peak, at = told, max(peak, told), now
                    assert tuple(shared.feed.last_checkpoint()) == (rate, peak, at)


# ---- the edges of a rate


def test_rate__of_nothing__is_no_price_and_not_recorded(stand: Stand) -> None:
    stand.vault.set_unit_rate(0, sender=stand.owner)
    assert stand.answer() == 0
    with reverts(OUT_OF_RANGE):
        stand.checkpoint()
    assert stand.feed.last_checkpoint()[0] == WAD


def test_rate__largest__is_recorded_and_none_above() -> None:
    stand = build_stand(RevmChain(), rate_wad=2**96 - 1)
    stand.set_rate(2**96 - 1)
    stand.checkpoint()
    stand.chain.advance(1)
    stand.set_rate(2**96)
    with reverts(OUT_OF_RANGE):
        stand.checkpoint()
    assert stand.feed.rate_wad() == 2**96, "read it can be"
    for rate in (0, 2**96):
        with reverts(OUT_OF_RANGE):
            build_stand(RevmChain(), rate_wad=rate)


@pytest.mark.parametrize("growth_wad", [0, WAD // YEAR_S])
def test_deploy__growth_at_its_limits__is_the_bound(growth_wad: int) -> None:
    stand = build_stand(RevmChain(), growth_wad=growth_wad)
    stand.set_rate(2 * WAD)
    stand.chain.set_time(stand.feed.last_checkpoint()[2] + 100)
    assert stand.feed.GROWTH_WAD() == growth_wad
    assert stand.feed.rate_wad() == WAD + 100 * growth_wad


def test_deploy__bad_arguments__are_refused() -> None:
    with reverts("vault feed: growth too fast"):
        build_stand(RevmChain(), growth_wad=WAD // YEAR_S + 1)
    with reverts("vault feed: too many decimals"):
        build_stand(RevmChain(), asset_decimals=19)


# ---- over real vaults, under the oracle


def test_gift__in_one_block__moves_the_price_by_no_more_than_the_growth(world: World) -> None:
    """T26: whatever is given, and however often it is recorded."""
    vault, feed = world.tokens[SHARES], world.share_feeds[SHARES]
    vault.set_growth(0, sender=world.governor)
    checkpoint(world, SHARES)
    rate, peak, at = feed.last_checkpoint()
    with world.chain.one_block():
        before = world.price_wad(SHARES)
        give(world, SHARES, quote_units(world, 10**6))
        for _ in range(3):
            checkpoint(world, SHARES)
        assert feed.live_rate_wad() > 1_000 * WAD
        assert feed.rate_wad() == cap_after(rate, peak, world.chain.time - at)
        # 15% a year are 57e-9 in the twelve seconds since the block before.
        assert before <= world.price_wad(SHARES) <= before + before * 6 // 10**8


def test_marks__vault_that_earns__follow_it_below_the_bound(world: World) -> None:
    """An ordinary year: 5% earned, 15% allowed, one checkpoint a day."""
    before = world.price_wad(SHARES)
    for _ in range(30):
        world.wait(DAY_S - 24)
        checkpoint(world, SHARES)
    growth = world.price_wad(SHARES) / before - 1
    assert growth == pytest.approx(0.05 * 30 / 365, rel=0.01)
    assert world.share_feeds[SHARES].rate_wad() == world.share_feeds[SHARES].live_rate_wad()


@pytest.mark.parametrize("name", [SHARES, ETHER_SHARES])
def test_price__of_a_share__is_the_assets_price_times_the_rate(world: World, name: str) -> None:
    asset_wad = WAD if name == SHARES else world.price_wad("ETH")
    rate = world.share_feeds[name].rate_wad()
    exact = asset_wad * rate // WAD
    # An answer has eight decimals.
    assert exact - 10**10 < world.price_wad(name) <= exact


def test_price__fall_of_the_vault__is_in_the_mark_of_the_same_block(world: World) -> None:
    with world.chain.one_block():
        before = world.price_wad(SHARES)
        take_away(world, SHARES, 3_000)
        assert world.price_wad(SHARES) == pytest.approx(before * 0.7, rel=10**-5)


def test_marks__vault_that_reverts__are_those_of_a_dead_feed(world: World) -> None:
    """The last good price stays; nothing increases or is swapped on it."""
    rogue = world.chain.deploy("RogueVault", world.quote, 6, WAD, sender=world.governor)
    before = world.price_wad(SHARES)
    replaced = world.chain.deploy(
        "VaultFeed", rogue, world.feeds["USD"], GROWTH_WAD, False, sender=world.governor
    )
    asset = world.asset(SHARES)
    world.system.oracle.set_feed(asset, replaced, 86_400, 56, 63, before, sender=world.governor)
    world.chain.mine()
    assert Price.from_word(world.system.oracle.marks([asset])[0]).flags == 0
    rogue.set_unit_rate(2**256 - 1, sender=world.governor)
    mark = Price.from_word(world.system.oracle.marks([asset])[0])
    assert mark.flags == STALE | NO_INCREASE | NO_SWAP
    assert mark.newest_wad == WAD
    rogue.set_unit_rate(unit_rate(world.quote, rogue, WAD), sender=world.governor)
    assert Price.from_word(world.system.oracle.marks([asset])[0]).flags == 0


def test_marks__stale_asset_feed__are_stale(world: World) -> None:
    world.make_stale("ETH")
    for name in ("ETH", ETHER_SHARES):
        mark = Price.from_word(world.system.oracle.marks([world.asset(name)])[0])
        assert mark.flags == STALE | NO_INCREASE | NO_SWAP
    assert Price.from_word(world.system.oracle.marks([world.asset(SHARES)])[0]).flags == 0


def test_gas__cold_read__leaves_the_oracle_half_of_its_allowance(anvil: Anvil) -> None:
    """Of any round; the feeds of production cost up to 20,000 more than this mock."""
    chain = anvil.chain()
    mark = chain.snapshot()
    stand = build_stand(chain)
    vault = chain.deploy(
        *("MockYieldVault", stand.asset, "Yield", "YLD", 0, 10**9), sender=stand.owner
    )
    feed = chain.deploy(
        *("VaultFeed", vault, stand.asset_feed, GROWTH_WAD, False), sender=stand.owner
    )
    for function, arguments in (("latestRoundData", ()), ("getRoundData", (1,))):
        used = feed.function(function).transact(*arguments, sender=stand.keeper).gas_used - TX_GAS
        assert 10_000 < used < FEED_GAS // 2
    chain.revert(mark)
    chain.close()


def test_volatility__rate_that_falls__is_sampled_with_the_next_round(world: World) -> None:
    """A loss of the vault raises the requirement of its shares, when the asset's feed speaks."""
    oracle, asset = world.system.oracle, world.asset(ETHER_SHARES)
    world.wait(600, is_refreshed=False)
    world.poke()
    sigma = oracle.sigmas_e6(asset)[3]
    take_away(world, ETHER_SHARES, 1_000)
    world.wait(600, is_refreshed=False)
    world.poke()
    assert oracle.sigmas_e6(asset)[3] <= sigma
    world.wait(600)
    assert oracle.sigmas_e6(asset)[3] > 2 * sigma
    assert oracle.sigmas_e6(world.asset("ETH"))[3] <= sigma


# ---- shares of the lending vault


def test_rounds__lending_vault_holds_exits__are_none(world: World) -> None:
    """T09: who cannot leave shall not borrow on his shares either."""
    feed = world.share_feeds[LENDERS_SHARES]
    assert feed.IS_LENDING_VAULT() and not world.share_feeds[SHARES].IS_LENDING_VAULT()
    account = world.account()
    world.deposit(account, LENDERS_SHARES, world.units(LENDERS_SHARES, 1_000))
    until = hold_exits(world)
    assert until > world.chain.time
    with reverts("vault feed: exits are held"):
        feed.latestRoundData()
    with reverts("margin: price not usable"):
        world.borrow(account, quote_units(world, 1))
    world.chain.set_time(until - 1)
    with reverts("vault feed: exits are held"):
        feed.getRoundData(1)
    world.chain.set_time(until)
    assert feed.latestRoundData()[1] > 0
    world.borrow(account, quote_units(world, 1))
