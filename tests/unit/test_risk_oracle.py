"""RiskOracle.marks: which rounds are believed, and what is answered for the others."""

from __future__ import annotations

import pytest

from ballast.chain import Contract, Reverted, RevmChain
from ballast.model.oracle import (
    IS_STALE,
    NO_INCREASE,
    NO_SWAP,
    OWNERS_FIRST,
    STALE_FLAGS,
    Price,
    RawRound,
)
from tests.conftest import reverts
from tests.oracle_bench import (
    BAND_LOG2,
    DOLLAR,
    ETH,
    HEARTBEAT_S,
    PRIOR_E6,
    QUOTE_HEARTBEAT_S,
    START,
    WAD,
    ZERO,
    OracleBench,
    figures,
)

SOUND, REVERTS, BURNS, SHORT, BOMB, HEAVY = range(6)
OFF_PEG = NO_INCREASE | NO_SWAP
PRICE = 2_000 * WAD


@pytest.fixture
def bench(chain: RevmChain) -> OracleBench:
    """Two assets at 2,000, poked, a minute after their rounds."""
    built = OracleBench(chain, count=2)
    built.advance(60)
    built.poke()
    return built


class BadAsset:
    """Asset 9 on a feed that can be made to answer anything; its last good price is 2,000."""

    def __init__(self, bench: OracleBench) -> None:
        self.bench = bench
        self.feed = bench.deploy("BadFeed", 8)
        self.answer(ETH)
        bench.oracle.list_asset(
            9,
            self.feed.address,
            HEARTBEAT_S,
            *BAND_LOG2,
            PRICE,
            PRIOR_E6,
            START.values,
            sender=bench.owner,
        )
        bench.advance(60)
        self.id = 5

    def answer(
        self,
        answer: int,
        *,
        round_id: int = 5,
        updated_at: int | None = None,
        answered_in: int | None = None,
    ) -> None:
        """Set the newest round, sound but for what is named."""
        at = self.bench.now if updated_at is None else updated_at
        in_round = round_id if answered_in is None else answered_in
        words = [round_id, answer % 2**256, at, at, in_round]
        self.feed.set_newest(words, sender=self.bench.owner)

    def misbehave(self, newest: int = SOUND, past: int = SOUND) -> None:
        """Choose how either read fails."""
        self.feed.set_modes(newest, past, sender=self.bench.owner)

    def price(self) -> Price:
        """Its decoded price word."""
        return self.bench.price(9)


@pytest.fixture
def bad(bench: OracleBench) -> BadAsset:
    """The asset on the bad feed."""
    return BadAsset(bench)


# ---- the good path


def test_marks__sound_and_live__newest_price_without_flags(bench: OracleBench) -> None:
    assert figures(bench.price()) == Price(PRICE, PRICE, 0)


def test_marks__several_assets__two_words_each_in_the_order_asked(bench: OracleBench) -> None:
    bench.set_price(2_020 * 10**8, asset=2)
    bench.advance(12)
    words = bench.oracle.marks([2, 1, 2])
    assert [Price.from_word(w).newest_wad for w in words[::2]] == [2_020 * WAD, PRICE, 2_020 * WAD]
    assert words[1] == words[5] and len(words) == 6


def test_marks__no_assets__empty(bench: OracleBench) -> None:
    assert bench.oracle.marks([]) == []


def test_marks__quote_below_a_dollar__price_is_the_floored_quotient(bench: OracleBench) -> None:
    bench.set_quote(99_700_001)
    bench.advance(12)
    assert bench.price().newest_wad == 2_000 * 10**8 * 10**18 // 99_700_001


@pytest.mark.parametrize("decimals", [0, 2, 6, 8, 18])
def test_marks__feed_of_any_decimals__same_price(chain: RevmChain, decimals: int) -> None:
    """T18"""
    built = OracleBench(chain, has_quote=False, decimals=decimals)
    built.advance(12)
    assert figures(built.price()) == Price(PRICE, PRICE, 0)


def test_marks__no_quote_feed__the_quote_is_the_dollar(chain: RevmChain) -> None:
    built = OracleBench(chain, has_quote=False)
    built.advance(12)
    built.set_price(ETH + 1)
    assert figures(built.price()) == Price((ETH + 1) * 10**10, PRICE, 0)


@pytest.mark.parametrize("asset", [0, 3, 255, 256, 2**256 - 1])
def test_marks__unknown_asset__reverts(bench: OracleBench, asset: int) -> None:
    with reverts("oracle: unknown asset"):
        bench.oracle.marks([1, asset])
    with reverts("oracle: unknown asset"):
        bench.oracle.poke([asset], sender=bench.keeper)
    with reverts("oracle: unknown asset"):
        bench.oracle.price_wad(asset)


def test_price_wad__newest_round__as_in_marks(bench: OracleBench) -> None:
    bench.set_price(2_100 * 10**8)
    assert bench.oracle.price_wad(1) == 2_100 * WAD == bench.price().newest_wad


# ---- T19 staleness


def test_marks__at_the_heartbeat__live(bench: OracleBench) -> None:
    """T19"""
    bench.advance(HEARTBEAT_S - 60)
    assert bench.price().flags == 0


def test_marks__beyond_the_heartbeat__own_value_flagged_stale(bench: OracleBench) -> None:
    """T19: a sound round that is too old keeps its value, which is the last good one."""
    bench.set_price(2_050 * 10**8)
    bench.advance(HEARTBEAT_S + 1)
    assert figures(bench.price()) == Price(2_050 * WAD, 2_050 * WAD, STALE_FLAGS)


def test_marks__one_asset_stale__others_are_not(bench: OracleBench) -> None:
    """T19: heartbeats are per feed."""
    bench.advance(HEARTBEAT_S)
    bench.set_price(ETH, asset=2)
    bench.advance(12)
    bench.poke(2)
    assert bench.price(1).flags == STALE_FLAGS
    assert bench.price(2).flags == 0


def test_marks__quote_stale__every_asset_stale(bench: OracleBench) -> None:
    """T19"""
    bench.advance(QUOTE_HEARTBEAT_S)
    bench.set_price(ETH)
    bench.advance(12)
    bench.poke()
    assert figures(bench.price(1)) == Price(PRICE, PRICE, STALE_FLAGS)


def test_marks__quote_invalid__last_good_quote_and_stale(bench: OracleBench) -> None:
    """T20"""
    bench.set_quote(99_500_000)
    bench.advance(12)
    bench.poke()
    bench.set_quote(0)
    expected = ETH * 10**18 // 99_500_000
    assert figures(bench.price()) == Price(expected, expected, STALE_FLAGS)


@pytest.mark.parametrize("answer", [28_000_000, 231_000_000])
def test_marks__quote_out_of_its_band__not_believed(bench: OracleBench, answer: int) -> None:
    """T21: a broken quote feed neither multiplies nor wipes out every price."""
    bench.set_quote(answer)
    bench.advance(12)
    assert figures(bench.price()) == Price(PRICE, PRICE, STALE_FLAGS)


@pytest.mark.parametrize(
    ("answer", "flags"),
    [(97_000_000, 0), (96_999_999, OFF_PEG), (103_000_000, 0), (103_000_001, OFF_PEG)],
)
def test_marks__quote_off_its_peg__no_increase_and_no_swap(
    bench: OracleBench, answer: int, flags: int
) -> None:
    """More than 3% off one dollar."""
    bench.set_quote(answer)
    bench.advance(12)
    assert bench.price(1).flags == bench.price(2).flags == flags


# ---- T20 bad rounds

BAD_ROUNDS = {
    "zero answer": {"answer": 0},
    "negative answer": {"answer": -1},
    "smallest integer": {"answer": -(2**255)},
    "largest integer": {"answer": 2**255 - 1},
    "answer of 128 bits": {"answer": 2**128},
    "no round id": {"answer": ETH, "round_id": 0},
    "round id too large": {"answer": ETH, "round_id": 2**80},
    "round id of 256 bits": {"answer": ETH, "round_id": 2**256 - 1},
    "not answered yet": {"answer": ETH, "updated_at": 0},
    "from the future": {"answer": ETH, "updated_at": 2**40},
    "time of 256 bits": {"answer": ETH, "updated_at": 2**256 - 1},
    "answered in an older round": {"answer": ETH, "answered_in": 4},
}


@pytest.mark.parametrize("case", BAD_ROUNDS, ids=lambda c: c.replace(" ", "-"))
def test_marks__bad_round__last_good_price_and_no_revert(bad: BadAsset, case: str) -> None:
    """T20: every field, with its extreme values; other assets are priced as ever."""
    bad.answer(**BAD_ROUNDS[case])
    assert figures(bad.price()) == Price(PRICE, PRICE, STALE_FLAGS)
    words = bad.bench.oracle.marks([9, 1])
    assert figures(Price.from_word(words[2])) == Price(PRICE, PRICE, 0)


def test_marks__one_second_in_the_future__not_believed(bad: BadAsset) -> None:
    """T20: the boundary of the rule."""
    bad.answer(ETH * 2, updated_at=bad.bench.now + 1)
    assert bad.price().flags == STALE_FLAGS
    bad.answer(ETH * 2, updated_at=bad.bench.now)
    assert bad.price().newest_wad == 2 * PRICE


def test_poke__bad_round__is_passed_over(bad: BadAsset) -> None:
    """T20: the poke of the others goes on and nothing of the bad one changes."""
    risk = bad.bench.risk(9)
    bad.answer(-1)
    receipt = bad.bench.oracle.poke([9, 1], sender=bad.bench.keeper)
    assert [e.args.asset for e in bad.bench.oracle.events(receipt, "Poked")] == [1]
    assert bad.bench.risk(9) == risk


def test_marks__never_poked_since_listing__listing_price_is_the_last_good_one(
    bad: BadAsset,
) -> None:
    bad.answer(ETH * 2)
    assert bad.price().newest_wad == 2 * PRICE
    bad.answer(0)
    assert bad.price().newest_wad == PRICE


def test_marks__bad_after_a_poke__price_of_that_poke(bad: BadAsset) -> None:
    bad.answer(ETH * 2, round_id=6)
    bad.bench.oracle.poke([9], sender=bad.bench.keeper)
    bad.answer(0)
    assert figures(bad.price()) == Price(2 * PRICE, 2 * PRICE, STALE_FLAGS)


# ---- T21 the band


@pytest.mark.parametrize(
    ("price_wad", "is_believed"),
    [(2**60, True), (2**60 - 1, False), (2**80 - 1, True), (2**80, False)],
)
def test_marks__edge_of_the_band__believed_only_inside(
    chain: RevmChain, price_wad: int, is_believed: bool
) -> None:
    """T21: at a clamp of the aggregator the price is not the market's."""
    built = OracleBench(chain, has_quote=False, decimals=18)
    built.advance(12)
    built.set_price(price_wad)
    assert (built.price().flags & IS_STALE == 0) is is_believed
    assert built.price().newest_wad == (price_wad if is_believed else PRICE)


def test_marks__feed_pinned_at_its_minimum__blocks_increases_and_swaps(bad: BadAsset) -> None:
    """T21: the LUNA case: the aggregator stops at its minimum answer, the market does not."""
    bad.answer(10_000_000)
    price = bad.price()
    assert price.flags == IS_STALE | NO_INCREASE | NO_SWAP and price.newest_wad == PRICE


# ---- T22 the sequencer


class Rollup:
    """An oracle with a sequencer feed on asset 1."""

    def __init__(self, chain: RevmChain) -> None:
        self.bench = OracleBench(chain, count=0, has_quote=False)
        bench = self.bench
        self.uptime = bench.deploy("BadFeed", 0)
        self.set(0, bench.now - 3_601)
        self.oracle = bench.deploy(
            "RiskOracle", bench.clearinghouse.address, ZERO, 1, self.uptime.address
        )
        self.feed = bench.deploy("MockFeed", 8, "Ether / USD")
        self.feed.set_answer(ETH, sender=bench.owner)
        self.oracle.list_asset(
            1, self.feed.address, HEARTBEAT_S, *BAND_LOG2, PRICE, PRIOR_E6, START.values,
            sender=bench.owner,
        )  # fmt: skip
        bench.advance(12)

    def set(self, answer: int, started_at: int) -> None:
        """Up (0) or down (1) since a time."""
        words = [1, answer, started_at, self.bench.now, 1]
        self.uptime.set_newest(words, sender=self.bench.owner)

    def price(self) -> Price:
        """Of asset 1."""
        return Price.from_word(self.oracle.marks([1])[0])


def test_marks__sequencer_up_for_long__no_flags(chain: RevmChain) -> None:
    """T22"""
    assert figures(Rollup(chain).price()) == Price(PRICE, PRICE, 0)


@pytest.mark.parametrize(("answer", "up_for_s"), [(1, 90_000), (1, 0), (0, 0), (0, 3_600)])
def test_marks__sequencer_down_or_in_grace__stale_and_owners_first(
    chain: RevmChain, answer: int, up_for_s: int
) -> None:
    """T22: prices stay known, nothing may grow or be swapped on them."""
    rollup = Rollup(chain)
    rollup.set(answer, rollup.bench.now - up_for_s)
    assert figures(rollup.price()) == Price(PRICE, PRICE, STALE_FLAGS | OWNERS_FIRST)


def test_marks__sequencer_down_and_feed_stale_or_dead__still_owners_first(chain: RevmChain) -> None:
    """T22: a round that is too old, or none at all, does not hide the outage."""
    rollup = Rollup(chain)
    rollup.bench.advance(HEARTBEAT_S + 1)
    rollup.set(1, rollup.bench.now)
    assert rollup.price().flags == STALE_FLAGS | OWNERS_FIRST
    rollup.feed.set_answer(0, sender=rollup.bench.owner)
    assert rollup.price().flags == STALE_FLAGS | OWNERS_FIRST


@pytest.mark.parametrize(("answer", "ago_s"), [(2, 90_000), (0, -60), (1, -60)])
def test_marks__sequencer_answer_unsound__stale_and_no_outage(
    chain: RevmChain, answer: int, ago_s: int
) -> None:
    """T22: neither another answer nor a time to come."""
    rollup = Rollup(chain)
    rollup.set(answer, rollup.bench.now - ago_s)
    assert rollup.price().flags == STALE_FLAGS


def test_marks__sequencer_grace_over__no_flags(chain: RevmChain) -> None:
    """T22"""
    rollup = Rollup(chain)
    rollup.set(0, rollup.bench.now - 3_601)
    assert rollup.price().flags == 0


@pytest.mark.parametrize("mode", [REVERTS, BURNS, SHORT])
def test_marks__sequencer_feed_broken__counts_as_down(chain: RevmChain, mode: int) -> None:
    """T22"""
    rollup = Rollup(chain)
    rollup.uptime.set_modes(mode, SOUND, sender=rollup.bench.owner)
    assert rollup.price().flags == STALE_FLAGS


def test_marks__sequencer_status_never_set__counts_as_down(chain: RevmChain) -> None:
    """T22: started at zero."""
    rollup = Rollup(chain)
    rollup.set(0, 0)
    assert rollup.price().flags == STALE_FLAGS


# ---- T23 feeds that fail


@pytest.mark.parametrize("mode", [REVERTS, BURNS, SHORT])
def test_marks__feed_fails__last_good_price_and_others_unaffected(bad: BadAsset, mode: int) -> None:
    """T23"""
    bad.misbehave(mode)
    words = bad.bench.oracle.marks([1, 9, 2])
    assert [Price.from_word(w).flags for w in words[::2]] == [0, STALE_FLAGS, 0]
    assert Price.from_word(words[2]).newest_wad == PRICE


def test_marks__feed_answers_too_much__first_words_count(bad: BadAsset) -> None:
    """T23: a return bomb is cut at five words and costs no more than the feed's gas."""
    before = bad.bench.oracle.marks.transact([9], sender=bad.bench.keeper).gas_used
    bad.misbehave(BOMB)
    after = bad.bench.oracle.marks.transact([9], sender=bad.bench.keeper).gas_used
    assert bad.price().newest_wad == PRICE
    assert after - before <= 60_000


def test_marks__feed_without_code__last_good_price(bad: BadAsset) -> None:
    """T23"""
    bad.bench.chain.set_code(bad.feed.address, b"")
    assert figures(bad.price()) == Price(PRICE, PRICE, STALE_FLAGS)


@pytest.mark.parametrize("mode", [REVERTS, BURNS, SHORT])
def test_poke__feed_fails__others_are_poked(bad: BadAsset, mode: int) -> None:
    """T23"""
    bad.misbehave(mode)
    receipt = bad.bench.oracle.poke([9, 2], sender=bad.bench.keeper)
    assert [e.args.asset for e in bad.bench.oracle.events(receipt, "Poked")] == [2]


# ---- T24 gas starvation


def test_marks__any_gas__reverts_or_answers_the_same(bench: OracleBench) -> None:
    """T24: no amount of gas turns a live price into a stale one."""
    bench.set_price(2_010 * 10**8)
    expected = bench.oracle.marks([1, 2])
    refused = served = 0
    for gas in range(22_000, 260_000, 811):
        try:
            assert bench.oracle.marks.call([1, 2], gas=gas) == expected, gas
            served += 1
        except Reverted:
            refused += 1
    assert refused > 10 and served > 100


def test_marks__expensive_feed_and_any_gas__reverts_or_answers_the_same(bad: BadAsset) -> None:
    """T24: also a feed that needs all but its whole allowance is never starved into a failure."""
    bad.misbehave(HEAVY, HEAVY)
    expected = bad.bench.oracle.marks([9])
    assert Price.from_word(expected[0]).flags == 0
    refused = served = 0
    for gas in range(60_000, 160_000, 193):
        try:
            assert bad.bench.oracle.marks.call([9], gas=gas) == expected, gas
            served += 1
        except Reverted:
            refused += 1
    assert refused > 50 and served > 50


def test_marks__expensive_round_before_and_any_gas__says_so_or_answers_the_same(
    bad: BadAsset,
) -> None:
    """T24: nor is the read of the round before starved, in whose absence nothing may grow."""
    bad.feed.set_past(5, [5, ETH, 1_000, 1_000, 5], sender=bad.bench.owner)
    bad.answer(2 * ETH, round_id=6)
    bad.bench.oracle.poke([9], sender=bad.bench.keeper)
    bad.misbehave(HEAVY, HEAVY)
    expected = bad.bench.oracle.marks([9])
    price = Price.from_word(expected[0])
    assert (price.previous_wad, price.flags) == (PRICE, 0)
    refused = served = 0
    for gas in range(100_000, 220_000, 61):
        try:
            assert bad.bench.oracle.marks.call([9], gas=gas) == expected, gas
            served += 1
        except Reverted as refusal:
            assert refusal.reason == "oracle: gas too low", gas
            refused += 1
    assert refused > 50 and served > 50


def test_marks__little_gas__names_the_reason(bench: OracleBench) -> None:
    """T24"""
    with reverts("oracle: gas too low"):
        bench.oracle.marks.call([1], gas=80_000)


def test_poke__any_gas__reverts_or_stores_the_same(bench: OracleBench) -> None:
    """T24: a walk cannot be cut short by starving it."""
    for step in range(5):
        bench.advance(300)
        bench.set_price(ETH + step * 10**8)
    bench.advance(300)

    def stored(gas: int | None) -> dict[str, int]:
        with bench.chain.isolated():
            receipt = bench.oracle.poke([1], sender=bench.attacker, gas=gas)
            return bench.words(receipt)

    expected = stored(None)
    refused = served = 0
    for gas in range(60_000, 420_000, 3_307):
        try:
            assert stored(gas) == expected, gas
            served += 1
        except Reverted:
            refused += 1
    assert refused > 5 and served > 20


# ---- the round before, A13 and T30


def test_marks__round_made_in_this_block__both_prices(bench: OracleBench) -> None:
    """A13, T30: reading before and after an update in one block gives no choice of price."""
    bench.advance(12)
    early = bench.price()
    bench.set_price(2_100 * 10**8)
    late = bench.price()
    assert figures(early) == Price(PRICE, PRICE, 0)
    assert figures(late) == Price(2_100 * WAD, PRICE, 0)
    bench.advance(1)
    assert figures(bench.price()) == Price(2_100 * WAD, 2_100 * WAD, 0)


def test_marks__poked_before_an_update_in_the_block__nothing_is_pinned(bench: OracleBench) -> None:
    """A13: an early poke does not fix an old price for the rest of the block."""
    bench.advance(12)
    bench.poke()
    bench.set_price(1_500 * 10**8)
    assert bench.price().newest_wad == 1_500 * WAD


def test_marks__two_rounds_in_one_block__no_increase(bench: OracleBench) -> None:
    """T30: the round before is of this block too, so no price is known that stood when it began."""
    bench.advance(12)
    bench.set_price(2_100 * 10**8)
    bench.set_price(2_110 * 10**8)
    assert figures(bench.price()) == Price(2_110 * WAD, 2_110 * WAD, NO_INCREASE)


@pytest.mark.parametrize("past_mode", [REVERTS, BURNS, SHORT])
def test_marks__round_before_cannot_be_read__no_increase(bad: BadAsset, past_mode: int) -> None:
    """A13: reductions go on with the newest round, increases wait a block."""
    bad.misbehave(SOUND, past_mode)
    bad.answer(2 * ETH, round_id=6)
    bad.bench.oracle.poke([9], sender=bad.bench.keeper)
    assert figures(bad.price()) == Price(2 * PRICE, 2 * PRICE, NO_INCREASE)
    bad.bench.advance(1)
    assert figures(bad.price()) == Price(2 * PRICE, 2 * PRICE, 0)


@pytest.mark.parametrize(
    "words",
    [(5, 0, 100), (5, -1, 100), (4, ETH, 100), (5, ETH, 0), (0, 0, 0)],
    ids=["zero", "negative", "other-id", "no-time", "not-there"],
)
def test_marks__round_before_is_bad__no_increase(
    bad: BadAsset, words: tuple[int, int, int]
) -> None:
    """A13, T20: the round before is held to the same rules."""
    round_id, answer, at = words
    raw = [round_id, answer % 2**256, at, at, round_id]
    bad.feed.set_past(5, raw, sender=bad.bench.owner)
    bad.answer(2 * ETH, round_id=6)
    assert bad.price().previous_wad == 2 * PRICE
    assert bad.price().flags & NO_INCREASE


def test_marks__first_round_of_an_aggregator__no_increase_in_its_block(bad: BadAsset) -> None:
    """A proxy that changes its aggregator starts a new phase: the round before cannot be found."""
    bad.answer(2 * ETH, round_id=(3 << 64) | 1)
    bad.bench.oracle.poke([9], sender=bad.bench.keeper)
    assert bad.price().flags == NO_INCREASE


def test_marks__quote_moved_in_this_block__previous_over_previous(bench: OracleBench) -> None:
    """A13: each side of the quotient is taken as it stood."""
    bench.advance(12)
    bench.set_quote(99_000_000)
    assert figures(bench.price()) == Price(ETH * WAD // 99_000_000, PRICE, 0)
    bench.set_price(1_900 * 10**8)
    assert figures(bench.price()) == Price(1_900 * 10**8 * WAD // 99_000_000, PRICE, 0)


def test_marks__quote_moved_twice_in_this_block__no_increase_of_anything(
    bench: OracleBench,
) -> None:
    """T30"""
    bench.advance(12)
    bench.set_quote(99_000_000)
    bench.set_quote(99_500_000)
    assert bench.price(1).flags == bench.price(2).flags == NO_INCREASE


# ---- volatility has to be current


def test_marks__round_much_newer_than_the_poke__no_increase(bench: OracleBench) -> None:
    """Risk may not grow on an old volatility."""
    bench.advance(900)
    bench.set_price(ETH)
    bench.advance(1)
    assert bench.price().flags == 0
    bench.set_price(ETH)
    bench.advance(1)
    assert bench.price().flags == NO_INCREASE
    bench.poke()
    assert bench.price().flags == 0


# ---- the clearing house


@pytest.mark.parametrize("state", [1, 2, 3])
def test_poke__clearing_house_busy__reverts(bench: OracleBench, state: int) -> None:
    """T30: the marks of a call cannot be moved from inside it."""
    bench.clearinghouse.set_call_state(state, sender=bench.owner)
    with reverts("oracle: clearinghouse busy"):
        bench.oracle.poke([1], sender=bench.keeper)
    with reverts("oracle: clearinghouse busy"):
        bench.oracle.set_parameters(1, START.values, sender=bench.owner)
    with reverts("oracle: clearinghouse busy"):
        bench.oracle.set_feed(
            1, bench.feeds[2].address, HEARTBEAT_S, *BAND_LOG2, PRICE, sender=bench.owner
        )


def test_marks__clearing_house_busy__answers(bench: OracleBench) -> None:
    bench.clearinghouse.set_call_state(1, sender=bench.owner)
    assert bench.price().newest_wad == PRICE


# ---- construction


@pytest.mark.parametrize("answer", [0, 28_000_000])
def test_deploy__quote_not_sound__reverts(chain: RevmChain, answer: int) -> None:
    """T25: without a quote there would be no price."""
    owner = chain.accounts[0]
    quote = chain.deploy("MockFeed", 8, "USD Coin / USD", sender=owner)
    quote.set_answer(answer, sender=owner)
    with reverts("oracle: feed not live"):
        chain.deploy("RiskOracle", ZERO, quote.address, 86_400, ZERO, sender=owner)


def test_deploy__quote_stale__reverts(chain: RevmChain) -> None:
    owner = chain.accounts[0]
    quote = chain.deploy("MockFeed", 8, "USD Coin / USD", sender=owner)
    quote.set_answer(DOLLAR, sender=owner)
    chain.advance(86_401)
    with reverts("oracle: feed not live"):
        chain.deploy("RiskOracle", ZERO, quote.address, 86_400, ZERO, sender=owner)


def test_deploy__size__within_the_limit(bench: OracleBench) -> None:
    assert bench.chain.code_size(bench.oracle.address) < 24_000


def test_marks__every_reply__fits_its_width(bad: BadAsset) -> None:
    """The largest price over the smallest believed quote stays below 2**96."""
    top = bad.bench.deploy("BadFeed", 18)
    words = [1, 2**94 - 1, bad.bench.now, bad.bench.now, 1]
    top.set_newest(words, sender=bad.bench.owner)
    bad.bench.oracle.list_asset(
        10, top.address, HEARTBEAT_S, 2, 94, 2**94 - 1, PRIOR_E6, START.values,
        sender=bad.bench.owner,
    )  # fmt: skip
    bad.bench.set_quote(28_823_038)
    bad.bench.advance(12)
    price = bad.bench.price(10)
    assert price.newest_wad == (2**94 - 1) * WAD // (28_823_038 * 10**10) > 2**95
    assert price.flags == OFF_PEG


def test_bench__model_and_contract__share_their_rounds(bench: OracleBench) -> None:
    """The bench itself: contract and model see the same newest round."""
    newest = bench.model.assets[1].feed.newest
    assert newest is not None
    raw: Contract = bench.feeds[1]
    assert RawRound(
        raw.latestRoundData()[0], raw.latestRoundData()[1], raw.latestRoundData()[3]
    ) == (RawRound(newest.id, newest.answer, newest.updated_at))


def test_marks__time_of_the_round__stands_in_the_price_word(bad: BadAsset) -> None:
    """Of the newest sound round, also of a stale one; 0 where no round is to be believed."""
    bench = bad.bench
    made_at = bench.price().made_at
    assert 0 < made_at <= bench.chain.time
    bench.advance(24)
    assert bench.price().made_at == made_at, "no new round, no new time"
    bench.set_price(2_001 * 10**8)
    assert bench.price().made_at == bench.chain.time
    made_at = bench.price().made_at
    bench.advance(90_000)
    assert bench.price().flags & IS_STALE and bench.price().made_at == made_at
    bad.answer(**BAD_ROUNDS["zero answer"])
    assert bad.price().made_at == 0
