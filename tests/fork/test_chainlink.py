"""The risk oracle on real Chainlink contracts: proxies, phases, rounds that oracles make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Anvil, Reverted, RevmChain, named_address
from ballast.forks.chainlink import (
    ORACLES,
    PHASE_SHIFT,
    FeedError,
    deploy_aggregator,
    deploy_feed,
    deploy_link,
    feed_at,
    replace_aggregator,
)
from ballast.model.oracle import FeedModel, Price, RawRound
from tests.conftest import reverts
from tests.oracle_bench import (
    BAND_LOG2,
    ETH,
    HEARTBEAT_S,
    PRIOR_E6,
    START,
    WAD,
    OracleBench,
    figures,
)

IS_STALE, NO_INCREASE, NO_SWAP = 1, 2, 4
STALE_FLAGS = IS_STALE | NO_INCREASE | NO_SWAP
ASSET = 1
FEED_GAS = 60_000  # what the oracle lets a feed use


class Bench(OracleBench):
    """An oracle whose one asset has a real feed, and the exact model kept in step."""

    def __init__(self) -> None:
        super().__init__(RevmChain(), count=0, has_quote=False)
        self.link = deploy_link(self.chain, self.owner)
        self.feed = deploy_feed(self.link, "ETH", sender=self.owner)
        self.feed_model = FeedModel(8, HEARTBEAT_S, *BAND_LOG2)
        self.round(ETH)
        self.oracle.list_asset(
            *(ASSET, self.feed.proxy, HEARTBEAT_S, *BAND_LOG2, 2_000 * WAD, PRIOR_E6),
            START.values,
            sender=self.owner,
        )
        self.model.list_asset(ASSET, self.feed_model, PRIOR_E6, START, self.now)
        self.feeds[ASSET] = self.feed.proxy

    def round(self, answer: int) -> None:
        """A round made by all oracles, now."""
        self.feed.publish(answer)
        self.take()

    def take(self) -> None:
        """Tell the model of the newest round."""
        number, answer, _, updated_at, answered_in = self.feed.proxy.latestRoundData()
        self.feed_model.publish(RawRound(number, answer, updated_at, answered_in))

    def upgrade(self) -> None:
        """Another aggregator, which has a round at the price of the day."""
        replace_aggregator(self.feed, self.link, "ETH", sender=self.owner)
        self.take()

    def upgrade_without_data(self) -> None:
        """Another aggregator, which has none yet."""
        self.feed.upgrade(deploy_aggregator(self.link, "ETH", sender=self.owner))
        self.feed_model.newest = None

    def check(self) -> None:
        """Poke, and demand what the model says, word by word."""
        assert self.words(self.poke(), ASSET) == self.model_words(ASSET)

    def submit(self, number: int, answer: int, *oracles: str) -> None:
        """Some of the oracles only."""
        for oracle in oracles:
            self.feed.aggregator.submit(number, answer, sender=oracle)


@contextmanager
def undone(bench: Bench) -> Iterator[None]:
    """Undoes on leaving what happened to the chain and to the model."""
    model, feed = deepcopy(bench.model), replace(bench.feed)
    with bench.chain.isolated():
        yield
    bench.model, bench.feed = model, feed
    bench.feed_model = model.assets[ASSET].feed


@pytest.fixture(scope="module")
def shared() -> Bench:
    """Whoever uses it isolates what it does."""
    return Bench()


@pytest.fixture
def bench() -> Bench:
    """Fresh for each test, at the beginning of an interval of sampling."""
    bench = Bench()
    bench.to_grid()
    bench.check()
    return bench


# ---- the feed itself


def test_publish__three_oracles__median_in_a_round_of_the_phase(bench: Bench) -> None:
    bench.advance(60)
    bench.feed.publish(1_900 * 10**8)
    number, answer, started_at, updated_at, answered_in = bench.feed.proxy.latestRoundData()
    assert (number, answered_in) == ((1 << PHASE_SHIFT) | 2,) * 2
    assert (answer, started_at, updated_at) == (1_900 * 10**8, bench.now, bench.now)
    submissions = {bench.feed.aggregator.oracleRoundState(o, 2)[2] for o in ORACLES}
    assert len(submissions) == len(ORACLES), "they do not all say the same"


def test_publish__oracles_are_paid__in_link(bench: Bench) -> None:
    before = bench.feed.aggregator.withdrawablePayment(ORACLES[0])
    bench.feed.publish(ETH)
    assert bench.feed.aggregator.withdrawablePayment(ORACLES[0]) == before + 10**17


def test_submit__by_a_stranger__is_refused(bench: Bench) -> None:
    with reverts("not enabled oracle"):
        bench.submit(2, ETH, named_address("stranger"))


def test_publish__oracles_not_known__is_refused(bench: Bench) -> None:
    with pytest.raises(FeedError, match="nobody known may submit"):
        replace(bench.feed, oracles=()).publish(ETH)


def test_feed_at__flux_aggregator__knows_its_oracles(bench: Bench) -> None:
    feed = feed_at(bench.chain, bench.feed.proxy.address)
    assert feed.oracles == ORACLES and feed.aggregator == bench.feed.aggregator


def test_feed_at__another_kind_of_aggregator__is_replaced_by_the_owner_of_its_proxy(
    anvil: Anvil,
) -> None:
    """As on mainnet, whose aggregators take signed reports: MockFeed knows no oracles either.

    The owner there is a contract; here the token of the oracles is made to play one.
    """
    chain = anvil.chain()
    with chain.isolated():
        owner = chain.accounts[0]
        link = deploy_link(chain, owner)
        proxy, multisig = deploy_feed(link, "ETH", sender=owner).proxy, link.address
        foreign = chain.deploy("MockFeed", 8, "Ether / USD", sender=owner)
        foreign.set_answer(1_950 * 10**8, sender=owner)
        proxy.proposeAggregator(foreign, sender=owner)
        proxy.confirmAggregator(foreign, sender=owner)
        proxy.transferOwnership(multisig, sender=owner)
        proxy.acceptOwnership(sender=multisig)

        feed = feed_at(chain, proxy.address)
        assert feed.oracles == () and feed.answer == 1_950 * 10**8
        replace_aggregator(feed, link, "ETH", sender=owner)
        assert feed.proxy.owner() == multisig
        assert feed.round_id == (3 << PHASE_SHIFT) | 1 and feed.answer == 1_950 * 10**8
        feed.publish(1_940 * 10**8)
        assert feed.answer == 1_940 * 10**8
    chain.close()


# ---- rounds and phases


def test_poke__rounds_of_a_phase__are_walked_one_by_one(bench: Bench) -> None:
    """The ids are phase << 64 | round, and `getRoundData(id - 1)` finds the round before."""
    for answer in (1_990, 2_005, 1_980):
        bench.advance(300)
        bench.round(answer * 10**8)
    blind = deepcopy(bench.model)
    blind.assets[ASSET].feed.past.clear()
    blind.poke([ASSET], bench.now)
    bench.check()
    assert bench.price().newest_wad == 1_980 * WAD
    seen, unseen = bench.model.assets[ASSET].volatility, blind.assets[ASSET].volatility
    assert seen.ewma_word != unseen.ewma_word, "the rounds before make no difference"


def test_marks__new_round_in_this_block__the_worse_is_that_before(bench: Bench) -> None:
    """A13: the round before is there to be read."""
    bench.advance(60)
    bench.round(1_900 * 10**8)
    assert figures(bench.price()) == Price(1_900 * WAD, 2_000 * WAD, 0)


def test_upgrade__first_round_of_a_phase_in_this_block__no_increase_until_the_next(
    bench: Bench,
) -> None:
    """One below the first round of a phase there is no round, whatever the old phase had."""
    bench.upgrade()
    bench.check()
    price = bench.price()
    assert price.newest_wad == price.previous_wad == 2_000 * WAD
    assert price.flags == NO_INCREASE
    with pytest.raises(Reverted, match="No data present"):
        bench.feed.proxy.getRoundData(bench.feed.round_id - 1)
    bench.advance(12)
    assert bench.price().flags == 0
    bench.round(1_990 * 10**8)
    assert figures(bench.price()) == Price(1_990 * WAD, 2_000 * WAD, 0)


def test_upgrade__rounds_of_the_old_phase_unsampled__end_the_walk(bench: Bench) -> None:
    """The new phase carries the whole move: what was lost is only where between it happened."""
    bench.advance(300)
    bench.round(1_990 * 10**8)
    bench.advance(300)
    bench.upgrade()
    bench.advance(300)
    bench.round(1_960 * 10**8)
    bench.check()
    word = bench.words(bench.poke(), ASSET)["last_word"]
    assert (word >> 96) & (2**80 - 1) == (2 << PHASE_SHIFT) | 2


def test_upgrade__the_same_prices__sample_the_same_volatility(bench: Bench) -> None:
    """A keeper that pokes every round sees no difference between one phase and two."""
    sampled = []
    for is_upgraded in (False, True):
        with undone(bench):
            for answer in (1_990, 1_950, 1_970):
                bench.advance(300)
                if is_upgraded and answer == 1_950:
                    bench.feed.upgrade(deploy_aggregator(bench.link, "ETH", sender=bench.owner))
                bench.feed.publish(answer * 10**8)
                bench.oracle.poke([ASSET], sender=bench.keeper)
            sampled.append(bench.oracle.sigmas_e6(ASSET))
    assert sampled[0] == sampled[1]


def test_upgrade__no_data_behind_the_proxy__last_price_is_kept_and_stale(bench: Bench) -> None:
    """T20: the proxy reverts until the first round; then everything goes on."""
    bench.advance(60)
    bench.round(1_950 * 10**8)
    bench.check()
    bench.upgrade_without_data()
    with pytest.raises(Reverted, match="No data present"):
        bench.feed.proxy.latestRoundData()
    assert bench.price().newest_wad == 1_950 * WAD and bench.price().flags == STALE_FLAGS
    bench.oracle.poke([ASSET], sender=bench.keeper)
    bench.advance(60)
    bench.round(1_940 * 10**8)
    bench.oracle.poke([ASSET], sender=bench.keeper)
    bench.advance(12)
    assert figures(bench.price()) == Price(1_940 * WAD, 1_940 * WAD, 0)


def test_round__that_timed_out__is_no_price_before(bench: Bench) -> None:
    """T20: a round that was begun and never made carries the answer of an older one."""
    begun = bench.feed.aggregator.latestRound() + 1
    bench.submit(begun, 1_990 * 10**8, ORACLES[0])
    bench.advance(HEARTBEAT_S)
    assert bench.price().newest_wad == 2_000 * WAD
    bench.advance(12)
    bench.submit(begun + 1, 1_980 * 10**8, *ORACLES[1:], ORACLES[0])
    _, answer, _, _, answered_in = bench.feed.proxy.getRoundData(bench.feed.round_id - 1)
    assert (answer, answered_in) == (ETH, (1 << PHASE_SHIFT) | (begun - 1))
    assert figures(bench.price()) == Price(1_980 * WAD, 1_980 * WAD, NO_INCREASE)
    bench.advance(12)
    bench.oracle.poke([ASSET], sender=bench.keeper)
    assert figures(bench.price()) == Price(1_980 * WAD, 1_980 * WAD, 0)


def test_round__answered_again_by_a_late_oracle__is_priced_at_once(bench: Bench) -> None:
    """Where fewer oracles suffice than may submit, a made round changes: price at once, and the
    volatility of it with the next round."""
    bench.feed.aggregator.changeOracles([], [], [], 2, 3, 0, sender=bench.owner)
    number = bench.feed.aggregator.latestRound() + 1
    bench.advance(300)
    bench.submit(number, 1_990 * 10**8, ORACLES[0])
    bench.submit(number, 1_970 * 10**8, ORACLES[1])
    bench.oracle.poke([ASSET], sender=bench.keeper)
    assert bench.price().newest_wad == 1_980 * WAD
    bench.advance(300)
    bench.submit(number, 1_900 * 10**8, ORACLES[2])
    assert figures(bench.price()) == Price(1_970 * WAD, 2_000 * WAD, 0)
    before = bench.oracle.sigmas_e6(ASSET)
    bench.advance(300)
    bench.round(1_900 * 10**8)
    bench.oracle.poke([ASSET], sender=bench.keeper)
    assert bench.oracle.sigmas_e6(ASSET)[0] > before[0]


# ---- everything, at random, against the model

actions = st.lists(
    st.one_of(
        st.tuples(st.just("round"), st.integers(-300, 300)),
        st.tuples(st.just("wait"), st.integers(0, 900)),
        st.tuples(st.just("poke"), st.none()),
        st.tuples(st.just("upgrade"), st.booleans()),
    ),
    max_size=14,
)


@given(actions)
def test_poke__any_history_of_rounds_and_upgrades__is_the_model(
    shared: Bench, history: list[tuple[str, int]]
) -> None:
    """Prices and all five words of the oracle, through every change of aggregator."""
    bench, answer = shared, ETH
    with undone(bench):
        for kind, value in history:
            if kind == "round":
                answer = max(answer * (10_000 + value) // 10_000, 10**8)
                bench.round(answer)
            elif kind == "wait":
                bench.advance(value)
            elif kind == "poke" and bench.feed_model.newest is not None:
                bench.check()
            elif kind == "upgrade" and value and bench.feed_model.newest is not None:
                bench.upgrade()
            elif kind == "upgrade":
                bench.upgrade_without_data()
            expected = bench.model.price(ASSET, bench.now)
            assert bench.price() == expected
        if bench.feed_model.newest is not None:
            bench.check()


# ---- what it costs


def test_read__through_proxy_and_aggregator__costs_a_fraction_of_what_is_allowed(
    anvil: Anvil,
) -> None:
    """T23: on a node, everything cold, as the first read of a transaction is."""
    chain = anvil.chain()
    with chain.isolated():
        owner = chain.accounts[0]
        feed = deploy_feed(deploy_link(chain, owner), "ETH", sender=owner)
        feed.publish(ETH)
        feed.publish(ETH)
        before = feed.round_id - 1
        newest = feed.proxy.latestRoundData.transact(sender=owner).gas_used - 21_000
        past = feed.proxy.getRoundData.transact(before, sender=owner).gas_used - 21_000
        assert 10_000 < newest < FEED_GAS // 3 and 10_000 < past < FEED_GAS // 3
    chain.close()
