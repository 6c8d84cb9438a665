"""MockFeed: rounds as published, and a listener that can never make an update fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Contract, RevmChain
from tests.conftest import reverts

BEHAVES, REVERTS, BURNS, BOMB, UPDATES, SWALLOWS = range(6)


@pytest.fixture
def feed(chain: RevmChain) -> Contract:
    """A feed of eight decimals without rounds."""
    return chain.deploy("MockFeed", 8, "Ether / USD", sender=chain.accounts[0])


@pytest.fixture
def owner(chain: RevmChain) -> str:
    """Who deployed."""
    return chain.accounts[0]


@pytest.fixture
def listener(chain: RevmChain, feed: Contract, owner: str) -> Contract:
    """A listener that the feed tells of updates."""
    contract = chain.deploy("RudeListener", sender=owner)
    feed.set_listener(contract.address, sender=owner)
    return contract


def test_description__after_deployment__as_given(feed: Contract) -> None:
    assert (feed.decimals(), feed.description()) == (8, "Ether / USD")


def test_latest_round__no_round_yet__reverts(feed: Contract) -> None:
    with reverts("mock: no such round"):
        feed.latestRoundData()


def test_set_answer__twice__numbers_and_stamps_rounds(
    chain: RevmChain, feed: Contract, owner: str
) -> None:
    feed.set_answer(2_000, sender=owner)
    first = chain.time
    chain.advance(12)
    receipt = feed.set_answer(-7, sender=owner)
    assert tuple(feed.latestRoundData()) == (2, -7, first + 12, first + 12, 2)
    assert tuple(feed.getRoundData(1)) == (1, 2_000, first, first, 1)
    event = feed.events(receipt, "AnswerUpdated")[0].args
    assert tuple(event) == (-7, 2, first + 12)


def test_get_round__unknown__reverts(feed: Contract, owner: str) -> None:
    feed.set_answer(1, sender=owner)
    with reverts("mock: no such round"):
        feed.getRoundData(2)


def test_set_round__past_time__keeps_it(chain: RevmChain, feed: Contract, owner: str) -> None:
    feed.set_round(5, chain.time - 900, sender=owner)
    assert feed.latestRoundData()[3] == chain.time - 900


def test_set_raw__older_id__only_rewrites_history(feed: Contract, owner: str) -> None:
    feed.set_raw(10, 5, 1_000, 9, sender=owner)
    receipt = feed.set_raw(4, 6, 900, 4, sender=owner)
    assert feed.latestRoundData()[0] == 10
    assert tuple(feed.getRoundData(4)) == (4, 6, 900, 900, 4)
    assert feed.events(receipt, "AnswerUpdated") == []
    assert feed.latestRoundData()[4] == 9


@pytest.mark.parametrize("answer", [2**127, -(2**127) - 1, 2**255 - 1, -(2**255)])
def test_set_answer__too_large__reverts(feed: Contract, owner: str, answer: int) -> None:
    with reverts("mock: round does not fit"):
        feed.set_answer(answer, sender=owner)


@given(
    round_id=st.integers(1, 2**80 - 1),
    answer=st.integers(-(2**127), 2**127 - 1),
    updated_at=st.integers(0, 2**40 - 1),
    lag=st.integers(0, 255),
)
def test_set_raw__anything_that_fits__reads_back(
    round_id: int, answer: int, updated_at: int, lag: int
) -> None:
    answered_in = max(0, round_id - lag)
    words = (round_id, answer, updated_at, updated_at, answered_in)
    with _SHARED.chain.isolated():
        _SHARED.set_raw(round_id, answer, updated_at, answered_in, sender=_SHARED.chain.accounts[0])
        assert tuple(_SHARED.latestRoundData()) == words
        assert tuple(_SHARED.getRoundData(round_id)) == words


def _shared_feed() -> Contract:
    chain = RevmChain()
    return chain.deploy("MockFeed", 8, "shared", sender=chain.accounts[0])


_SHARED = _shared_feed()


def test_set_answer__with_listener__is_told_after_the_round_is_stored(
    feed: Contract, listener: Contract, owner: str
) -> None:
    feed.set_answer(77, sender=owner)
    assert (listener.seen_feed(), listener.seen_round_id(), listener.seen_answer()) == (
        feed.address,
        1,
        77,
    )


@pytest.mark.parametrize("mode", [REVERTS, BURNS, UPDATES, SWALLOWS])
def test_set_answer__listener_fails__round_is_published(
    feed: Contract, listener: Contract, owner: str, mode: int
) -> None:
    """Whatever a listener does, the price arrives; the failure is on record."""
    listener.set_mode(mode, sender=owner)
    receipt = feed.set_answer(78, sender=owner)
    assert feed.latestRoundData()[1] == 78
    assert tuple(feed.events(receipt, "ListenerFailed")[0].args) == (listener.address, 1)
    assert listener.seen_round_id() == 0


def test_set_answer__listener_answers_too_much__round_is_published(
    feed: Contract, listener: Contract, owner: str
) -> None:
    listener.set_mode(BOMB, sender=owner)
    receipt = feed.set_answer(79, sender=owner)
    assert feed.latestRoundData()[1] == 79
    assert listener.seen_round_id() == 1
    assert receipt.gas_used < 400_000


@pytest.mark.parametrize("mode", [BEHAVES, REVERTS, BURNS, SWALLOWS])
def test_set_answer__any_gas_that_suffices_without_listener__suffices_with_it(
    chain: RevmChain, feed: Contract, listener: Contract, owner: str, mode: int
) -> None:
    """T24: the listener cannot starve the rest of the update."""
    listener.set_mode(mode, sender=owner)
    for gas in range(110_000, 700_000, 11_117):
        with chain.isolated():
            feed.set_answer(80, sender=owner, gas=gas)
            assert feed.latestRoundData()[1] == 80, gas


def test_set_answer__listener_burns__costs_at_most_its_share(
    feed: Contract, listener: Contract, owner: str
) -> None:
    listener.set_mode(BURNS, sender=owner)
    assert feed.set_answer(81, sender=owner, gas=20_000_000).gas_used < 15_200_000


def test_set_listener__empty__nobody_is_told(
    feed: Contract, listener: Contract, owner: str
) -> None:
    feed.set_listener("0x" + "00" * 20, sender=owner)
    feed.set_answer(82, sender=owner)
    assert listener.seen_round_id() == 0
