"""Prices brought along: what a pull feed believes, and what happens in the same transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from ballast.chain import Contract
from ballast.chain.abi import tuple_codec
from tests.conftest import reverts
from tests.keepers_kit import (
    FEE,
    NOT_TRIGGERED,
    REBALANCED,
    REVERTS,
    Desk,
    open_desk,
)
from tests.support.world import WAD, World

ANSWER = 10**8
KEY, OTHER_KEY = (bytes([n]) * 32 for n in (7, 8))
PAYLOAD = tuple_codec(
    [{"type": kind} for kind in ("int256", "uint256", "uint256", "uint256", "uint256")]
)
NOT_NEWER = "mock: price is not newer"
NOT_SIGNED = "mock: not the publisher's price"
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True)
class Puller:
    """A world whose ether is priced by a pull feed that the entry may push into."""

    desk: Desk
    feed: Contract

    @property
    def world(self) -> World:
        """Its world."""
        return self.desk.world

    def signed(
        self,
        price: int,
        made_at: int,
        *,
        key: bytes = KEY,
        chain_id: int | None = None,
        contract: str | None = None,
    ) -> bytes:
        """A price as its publisher hands it out."""
        domain = self.feed.eip712Domain()
        signed = Account.sign_message(
            encode_typed_data(
                domain_data={
                    "name": domain[1],
                    "version": domain[2],
                    "chainId": chain_id or domain[3],
                    "verifyingContract": contract or domain[4],
                },
                message_types={
                    "Price": [
                        {"name": "answer", "type": "int256"},
                        {"name": "made_at", "type": "uint256"},
                    ]
                },
                message_data={"answer": price * ANSWER, "made_at": made_at},
            ),
            key,
        )
        return PAYLOAD.encode((price * ANSWER, made_at, signed.v, signed.r, signed.s))

    def fresh(self, price: int) -> bytes:
        """Signed now."""
        return self.signed(price, self.world.chain.time)

    def push(self, payload: bytes) -> None:
        """By anyone, without the entry."""
        self.feed.push(payload, sender=self.world.stranger)


@pytest.fixture
def puller(world: World) -> Iterator[Puller]:
    """Ether moves from its feed to a pull feed at the same price."""
    publisher = Account.from_key(KEY).address
    feed = world.chain.deploy("MockPullFeed", 8, "Ether, pulled", publisher, sender=world.governor)
    puller = Puller(open_desk(world), feed)
    world.chain.advance(12)
    puller.push(puller.fresh(2_000))
    _, _, heartbeat_s, low_log2, high_log2 = world.system.oracle.feed_of(1)
    world.system.oracle.set_feed(
        1, feed, heartbeat_s, low_log2, high_log2, 2_000 * WAD, sender=world.governor
    )
    puller.desk.keepers.set_pull_feed(feed, True, sender=world.governor)
    world.chain.advance(12)
    yield puller


# ---- the feed


def test_push__publishers_price__is_a_round(puller: Puller) -> None:
    time = puller.world.chain.time
    puller.push(puller.signed(1_900, time - 3))
    assert tuple(puller.feed.latestRoundData()) == (2, 1_900 * ANSWER, time - 3, time - 3, 2)
    assert puller.feed.getRoundData(1)[1] == 2_000 * ANSWER
    assert puller.world.price_wad("ETH") == 1_900 * WAD
    with reverts("mock: no such price"):
        puller.feed.getRoundData(3)


def test_push__again_or_older_or_from_the_future__is_refused(puller: Puller) -> None:
    time = puller.world.chain.time
    payload = puller.signed(1_900, time - 3)
    puller.push(payload)
    for stale in (payload, puller.signed(1_850, time - 3), puller.signed(1_850, time - 4)):
        with reverts(NOT_NEWER):
            puller.push(stale)
    with reverts(NOT_NEWER):
        puller.push(puller.signed(1_850, puller.world.chain.time + 100))


def test_push__signed_by_or_for_another__is_refused(puller: Puller) -> None:
    time = puller.world.chain.time
    for payload in (
        puller.signed(1_900, time, key=OTHER_KEY),
        puller.signed(1_900, time, chain_id=1 + puller.feed.eip712Domain()[3]),
        puller.signed(1_900, time, contract=puller.world.stranger),
    ):
        with reverts(NOT_SIGNED):
            puller.push(payload)


def test_push__one_word_changed__is_refused(puller: Puller) -> None:
    payload = puller.fresh(1_900)
    for index, change, reason in (
        *((0, 1, NOT_SIGNED), (1, -1, NOT_SIGNED)),
        *((2, 1, None), (3, 1, None), (4, -1, None)),  # signed by somebody else, or by nobody
    ):
        words = list(PAYLOAD.decode(payload, 0))
        words[index] += change
        with reverts(reason):
            puller.push(PAYLOAD.encode(words))
    answer, made_at, v, r, s = PAYLOAD.decode(payload, 0)
    with reverts():  # the other signature that a signer could have made of it
        puller.push(PAYLOAD.encode((answer, made_at, 55 - v, r, CURVE_ORDER - s)))
    puller.push(payload)


@pytest.mark.parametrize("price", [0, -5, 2**127 // ANSWER + 1])
def test_push__price_that_is_none__is_refused(puller: Puller, price: int) -> None:
    with reverts("mock: price does not fit"):
        puller.push(puller.fresh(price))


# ---- the entry


def test_push_and_rebalance__fall__is_on_chain_and_cured_in_one_transaction(
    puller: Puller,
) -> None:
    world, desk = puller.world, puller.desk
    accounts = [desk.short(), desk.quiet(1)]
    world.set_venue_price("ETH", 1_800 * WAD)
    receipt = puller.desk.keepers.push_and_rebalance(
        puller.feed, puller.fresh(1_800), accounts, 0, sender=world.keeper
    )
    assert receipt.return_value == [REBALANCED, NOT_TRIGGERED]
    assert world.price_wad("ETH") == 1_800 * WAD
    assert desk.is_cured(accounts[0])


def test_push_and_rebalance__watched_accounts__have_a_turn_and_pay_the_sender(
    puller: Puller,
) -> None:
    world, desk = puller.world, puller.desk
    short, quiet = desk.short(), desk.quiet(1)
    for account in (short, quiet):
        desk.watch(account, feed=puller.feed)
    world.set_venue_price("ETH", 1_800 * WAD)
    receipt = puller.desk.keepers.push_and_rebalance(
        puller.feed, puller.fresh(1_800), [], 0, sender=world.keeper
    )
    assert desk.served(receipt) == [(short, REBALANCED), (quiet, NOT_TRIGGERED)]
    assert desk.is_cured(short)
    assert desk.claimable(world.keeper) >= 2 * FEE
    assert desk.held() == desk.owed()


def test_push_and_rebalance__somebody_was_faster__goes_on(puller: Puller) -> None:
    world, desk = puller.world, puller.desk
    short = desk.short()
    world.set_venue_price("ETH", 1_800 * WAD)
    payload = puller.fresh(1_800)
    puller.push(payload)
    receipt = puller.desk.keepers.push_and_rebalance(
        puller.feed, payload, [short], 0, sender=world.keeper
    )
    assert receipt.return_value == [REBALANCED]


def test_push_and_rebalance__price_that_is_refused__reverts_all_with_its_reason(
    puller: Puller,
) -> None:
    world, desk = puller.world, puller.desk
    account, hook = desk.moody()
    time = world.chain.time
    for payload, reason in (
        (puller.signed(1_800, time, key=OTHER_KEY), NOT_SIGNED),
        (puller.signed(1_800, time + 100), NOT_NEWER),
        (puller.fresh(0), "mock: price does not fit"),
        (b"", ""),
    ):
        with reverts(reason):
            puller.desk.keepers.push_and_rebalance(
                puller.feed, payload, [account], 0, sender=world.keeper
            )
    assert hook.count() == 0


def test_push_and_rebalance__old_price_of_anybody__changes_no_price(puller: Puller) -> None:
    """What claims to be old is not looked at: the attempts are those that anyone may make."""
    world = puller.world
    before = tuple(puller.feed.latestRoundData())
    for payload in (bytes(160), puller.signed(1, 5, key=OTHER_KEY)):
        puller.desk.keepers.push_and_rebalance(puller.feed, payload, [], 0, sender=world.attacker)
        assert tuple(puller.feed.latestRoundData()) == before


def test_push_and_rebalance__feed_that_is_not_allowed__is_refused(puller: Puller) -> None:
    world = puller.world
    puller.desk.keepers.set_pull_feed(puller.feed, False, sender=world.governor)
    for feed in (puller.feed, world.feeds["ETH"], world.stranger):
        with reverts("keepers: feed not allowed"):
            puller.desk.keepers.push_and_rebalance(
                feed, puller.fresh(1_800), [], 0, sender=world.keeper
            )


def test_push_and_rebalance__feed_that_fails_without_a_reason__has_one(puller: Puller) -> None:
    world = puller.world
    feed = world.chain.deploy("MutePullFeed", sender=world.governor)
    puller.desk.keepers.set_pull_feed(feed, True, sender=world.governor)
    with reverts("keepers: push failed"):
        puller.desk.keepers.push_and_rebalance(feed, b"", [], 0, sender=world.keeper)


def test_push_and_rebalance__account_that_fails__keeps_the_price(puller: Puller) -> None:
    world = puller.world
    account, _ = puller.desk.moody(at_work=REVERTS)
    puller.desk.keepers.push_and_rebalance(
        puller.feed, puller.fresh(1_950), [account], 0, sender=world.keeper
    )
    assert world.price_wad("ETH") == 1_950 * WAD
