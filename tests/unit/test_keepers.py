"""The keepers' entry: every code, every reason, what is booked and what is told."""

from __future__ import annotations

import pytest

from ballast.chain import RevmChain
from ballast.deploy import WAD
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.keepers_kit import (
    ANSWERS,
    BARE,
    BOMB,
    BURNS,
    DOLLAR,
    FAILED,
    FEE,
    LEAST,
    MIN_CHECKS,
    NO_GAS,
    NOT_TRIGGERED,
    PERFORM,
    PLACES,
    PLENTY,
    REBALANCED,
    REVERTS,
    SLOW,
    Desk,
    check_data,
    fees,
    open_desk,
    perform_data,
    word,
)
from tests.oracle_bench import OracleBench
from tests.support.hooks import UNLIMITED_BUDGET, deploy_hook, hand_over, must
from tests.support.world import QUOTE, UNLIMITED, ZERO_ADDRESS, World

ATTEMPT_GAS = 7_600_000


@pytest.fixture
def desk(world: World) -> Desk:
    """The ether feed tells the entry of its rounds."""
    return open_desk(world)


def fall_untold(desk: Desk) -> None:
    """The price falls and nobody is told; keepers are to find out."""
    desk.feed.set_listener(ZERO_ADDRESS, sender=desk.world.governor)
    desk.world.set_price("ETH", 1_800, is_poked=False)


# ---- many accounts


def test_rebalance_many__accounts_of_every_kind__a_code_each(desk: Desk) -> None:
    world = desk.world
    short, quiet = desk.short(), desk.quiet(1)
    bare = world.open_account(leverage=2, sub=2)
    failing, _ = desk.moody(at_work=REVERTS)
    fall_untold(desk)
    asked = [failing, short, quiet, bare, world.account(7), short]
    receipt = desk.keepers.rebalance_many(asked, 0, sender=world.keeper)
    assert receipt.return_value == [
        *(FAILED, REBALANCED, NOT_TRIGGERED, NOT_TRIGGERED, NOT_TRIGGERED, NOT_TRIGGERED),
    ]
    assert desk.is_cured(short)
    assert desk.reasons(receipt) == {failing: "moody hook: not now"}
    assert args_of(world.mandates, receipt, "Rebalanced").account == short


def test_rebalance_many__triggered_accounts__end_as_by_single_calls(desk: Desk) -> None:
    world = desk.world
    accounts = [desk.short(sub) for sub in range(3)]
    fall_untold(desk)
    ledger = world.clearinghouse
    with world.isolated(), world.chain.one_block():
        for account in accounts:
            world.mandates.rebalance(account, sender=world.keeper)
        alone = [ledger.words_of(account) for account in accounts]
    with world.isolated(), world.chain.one_block():
        desk.keepers.rebalance_many(accounts, 0, sender=world.keeper)
        assert [ledger.words_of(account) for account in accounts] == alone


def test_rebalance_many__nobody__nothing(desk: Desk) -> None:
    receipt = desk.keepers.rebalance_many([], 0, sender=desk.world.keeper)
    assert (receipt.return_value, receipt.logs) == ([], [])


@pytest.mark.parametrize("named", [False, True])
def test_rebalance_many__hook_that_pays__pays_who_is_named_or_the_caller(
    world: World, named: bool
) -> None:
    account, hook = world.account(), deploy_hook(world)
    world.deposit(account, QUOTE, 10 * DOLLAR)
    hand_over(world, account, hook, budget=UNLIMITED_BUDGET)
    hook.set_trigger(word(1), sender=world.attacker)
    pay = must(world.mandates, "pay", account, 3 * DOLLAR)
    hook.set_script([pay], sender=world.attacker)
    payee = world.account(5, world.lender) if named else world.account(0, world.keeper)
    receipt = world.keepers.rebalance_many([account], payee if named else 0, sender=world.keeper)
    assert receipt.return_value == [REBALANCED]
    assert args_of(world.mandates, receipt, "KeeperPaid").payee == payee
    assert world.clearinghouse.picture_of(payee)[0] == 3 * WAD


@pytest.mark.parametrize(
    ("at_work", "reason", "length"),
    [
        (REVERTS, "moody hook: not now", 100),
        (BARE, "mandates: hook failed", 100),
        (BURNS, "mandates: hook failed", 100),
        (BOMB, None, 100),
    ],
)
def test_rebalance_many__hook_fails_at_work__first_words_of_its_reason(
    desk: Desk, at_work: int, reason: str | None, length: int
) -> None:
    account, _ = desk.moody(at_work=at_work)
    receipt = desk.keepers.rebalance_many([account], 0, sender=desk.world.keeper)
    assert receipt.return_value == [FAILED]
    told = args_of(desk.keepers, receipt, "RebalanceFailed")
    assert (told.account, len(told.reason)) == (account, length)
    if reason is not None:
        assert desk.reasons(receipt) == {account: reason}


@pytest.mark.parametrize("mood", [REVERTS, BURNS, BOMB, BARE])
def test_rebalance_many__hook_fails_when_asked__is_not_triggered(desk: Desk, mood: int) -> None:
    account, hook = desk.moody(when_asked=mood)
    receipt = desk.keepers.rebalance_many([account], 0, sender=desk.world.keeper)
    assert (receipt.return_value, receipt.logs, hook.count()) == ([NOT_TRIGGERED], [], 0)
    assert receipt.gas_used < 1_200_000


@pytest.mark.parametrize(
    ("answer", "is_triggered"),
    [
        (b"", False),
        (word(1)[:31], False),
        (word(0), False),
        (word(2), False),
        (word(1), True),
        (word(1) + word(7), True),
    ],
)
def test_rebalance_many__any_answer__only_a_true_word_counts(
    desk: Desk, answer: bytes, is_triggered: bool
) -> None:
    account, hook = desk.moody()
    hook.set_answer(answer, sender=desk.world.attacker)
    receipt = desk.keepers.rebalance_many([account], 0, sender=desk.world.keeper)
    assert receipt.return_value == [REBALANCED if is_triggered else NOT_TRIGGERED]
    assert hook.count() == is_triggered


def test_rebalance_many__too_little_gas__tries_none(desk: Desk) -> None:
    account, hook = desk.moody()
    receipt = desk.keepers.rebalance_many(
        [account, account], 0, sender=desk.world.keeper, gas=7_000_000
    )
    assert (receipt.return_value, receipt.logs, hook.count()) == ([NO_GAS, NO_GAS], [], 0)


def test_rebalance_many__thirty_three_accounts__is_refused(desk: Desk) -> None:
    account, _ = desk.moody()
    with reverts(""):
        desk.keepers.rebalance_many([account] * 33, 0, sender=desk.world.keeper)
    receipt = desk.keepers.rebalance_many([account] * 32, 0, sender=desk.world.keeper)
    assert receipt.return_value == [REBALANCED] * 32


# ---- watching


def test_watch__owner__takes_the_amount_and_tells(desk: Desk) -> None:
    world, account = desk.world, desk.quiet()
    world.fund(world.owner, QUOTE, 9 * DOLLAR)
    world.quote.approve(desk.keepers, UNLIMITED, sender=world.owner)
    receipt = desk.keepers.watch(account, desk.feed, 5 * DOLLAR, sender=world.owner)
    assert tuple(args_of(desk.keepers, receipt, "Watched")) == (
        *(desk.feed.address, account, 0, 5 * DOLLAR),
    )
    assert [tuple(row) for row in desk.keepers.watched(desk.feed)] == [
        (account, 5 * DOLLAR, False, True)
    ]
    assert (desk.held(), world.quote.balanceOf(world.owner)) == (5 * DOLLAR, 4 * DOLLAR)


def test_watch__again__adds_to_the_place(desk: Desk) -> None:
    account = desk.quiet()
    desk.watch(account)
    desk.watch(account, 1)
    assert (desk.funds(account), len(desk.keepers.watched(desk.feed))) == (10 * DOLLAR + 1, 1)


def test_watch__two_feeds__are_two_places(desk: Desk) -> None:
    account, bitcoin = desk.quiet(), desk.world.feeds["BTC"]
    desk.watch(account)
    desk.watch(account, 5 * DOLLAR, bitcoin)
    desk.publish()
    assert (desk.funds(account), desk.funds(account, bitcoin)) == (10 * DOLLAR - FEE, 5 * DOLLAR)


def test_watch__somebody_else__is_refused(desk: Desk) -> None:
    """An operator with every permission, too: the funds come back to the owner."""
    world, account = desk.world, desk.quiet()
    world.mandates.set_operator(account, world.attacker, 63, 2**39, sender=world.owner)
    desk.watch(account)
    for who in (world.attacker, world.governor, world.stranger):
        with reverts("keepers: only the owner"):
            desk.keepers.watch(account, desk.feed, 10 * DOLLAR, sender=who)
        with reverts("keepers: only the owner"):
            desk.keepers.unwatch(account, desk.feed, who, sender=who)
    with reverts(""):  # more than an account has bits
        desk.keepers.watch(account + 2**168, desk.feed, 10 * DOLLAR, sender=world.owner)


def test_watch__no_feed__is_refused(desk: Desk) -> None:
    world, account = desk.world, desk.quiet()
    empty = world.chain.deploy("MockFeed", 8, "empty", sender=world.governor)
    short, long = (world.chain.deploy("BadFeed", 8, sender=world.governor) for _ in range(2))
    short.set_newest([1, 1, 1, 1, 1], sender=world.governor)
    short.set_modes(3, 3, sender=world.governor)
    long.set_newest([2**80, 1, 1, 1, 1], sender=world.governor)
    for feed in (empty, short, long, world.stranger, world.quote):
        with reverts("keepers: feed has no round"):
            desk.keepers.watch(account, feed, 10 * DOLLAR, sender=world.owner)


@pytest.mark.parametrize("units", [0, LEAST - 1, 2**88])
def test_watch__too_little_or_too_much__is_refused(desk: Desk, units: int) -> None:
    world, account = desk.world, desk.quiet()
    world.fund(world.owner, QUOTE, 2**90)
    world.quote.approve(desk.keepers, UNLIMITED, sender=world.owner)
    with reverts("watches: bad prepayment"):
        desk.keepers.watch(account, desk.feed, units, sender=world.owner)
    desk.keepers.watch(account, desk.feed, LEAST, sender=world.owner)
    with reverts("watches: bad prepayment"):
        desk.keepers.watch(account, desk.feed, 2**88 - LEAST, sender=world.owner)
    desk.keepers.watch(account, desk.feed, 2**88 - 1 - LEAST, sender=world.owner)
    assert desk.funds(account) == 2**88 - 1


def test_watch__no_allowance__takes_no_place(desk: Desk) -> None:
    account = desk.quiet()
    with reverts():
        desk.keepers.watch(account, desk.feed, 10 * DOLLAR, sender=desk.world.owner)
    assert desk.keepers.watched(desk.feed) == []


def test_watch__full_list__costs_more_than_twice_the_least(desk: Desk) -> None:
    world = desk.world
    for sub in range(PLACES):
        desk.watch(world.account(sub), (20 + sub) * DOLLAR)
    newcomer = world.account(0, world.other_owner)
    world.fund(world.other_owner, QUOTE, 100 * DOLLAR)
    world.quote.approve(desk.keepers, UNLIMITED, sender=world.other_owner)
    with reverts("watches: list is full"):
        desk.keepers.watch(newcomer, desk.feed, 40 * DOLLAR, sender=world.other_owner)
    receipt = desk.keepers.watch(newcomer, desk.feed, 40 * DOLLAR + 1, sender=world.other_owner)
    displaced = args_of(desk.keepers, receipt, "WatchEnded")
    assert tuple(displaced) == (desk.feed.address, world.account(0), 20 * DOLLAR, world.owner)
    assert desk.claimable(world.owner) == 20 * DOLLAR
    assert desk.funds(world.account(0)) is None
    assert desk.funds(newcomer) == 40 * DOLLAR + 1
    assert desk.held() == desk.owed()


def test_unwatch__owner__gets_the_rest_at_once(desk: Desk) -> None:
    world, account = desk.world, desk.quiet()
    desk.watch(account)
    desk.publish()
    receipt = desk.keepers.unwatch(account, desk.feed, world.stranger, sender=world.owner)
    rest = 10 * DOLLAR - FEE
    assert receipt.return_value == rest == world.quote.balanceOf(world.stranger)
    told = args_of(desk.keepers, receipt, "WatchEnded")
    assert tuple(told) == (desk.feed.address, account, rest, ZERO_ADDRESS)
    assert desk.keepers.watched(desk.feed) == []
    assert desk.served(desk.publish()) == []
    with reverts("watches: not watched"):
        desk.keepers.unwatch(account, desk.feed, world.owner, sender=world.owner)


def test_unwatch__place_in_the_middle__is_the_next_newcomers(desk: Desk) -> None:
    world = desk.world
    for sub in range(3):
        desk.watch(world.account(sub))
    desk.keepers.unwatch(world.account(1), desk.feed, world.owner, sender=world.owner)
    desk.watch(world.account(7))
    listed = [row.account for row in desk.keepers.watched(desk.feed)]
    assert listed == [world.account(sub) for sub in (0, 7, 2)]


def test_receiver__nobody_or_the_entry_itself__is_refused(desk: Desk) -> None:
    world, account = desk.world, desk.quiet()
    desk.watch(account)
    desk.publish()
    for receiver in (ZERO_ADDRESS, desk.keepers):
        with reverts("keepers: bad receiver"):
            desk.keepers.unwatch(account, desk.feed, receiver, sender=world.owner)
        with reverts("keepers: bad receiver"):
            desk.keepers.claim(receiver, sender=world.governor)


# ---- turns


def test_on_price__new_round__rebalances_books_and_tells(desk: Desk) -> None:
    """I49: what the place pays is what the sender of the update may claim."""
    world, account = desk.world, desk.short()
    desk.watch(account)
    publisher = world.stranger
    receipt = desk.fall(sender=publisher)
    told = args_of(desk.keepers, receipt, "WatchServed")
    assert (told.feed, told.account, told.code) == (desk.feed.address, account, REBALANCED)
    assert told.round_id == desk.feed.latestRoundData()[0]
    assert told.paid == fees(told.gas_used) and told.funds == 10 * DOLLAR - told.paid
    earned = args_of(desk.keepers, receipt, "FeesEarned")
    assert tuple(earned) == (publisher, told.paid)
    assert desk.claimable(publisher) == told.paid
    assert [tuple(row) for row in desk.keepers.watched(desk.feed)] == [
        (account, told.funds, True, False)
    ]
    assert desk.is_cured(account)
    assert desk.held() == desk.owed() == 10 * DOLLAR


def test_on_price__account_that_needs_nothing__costs_one_fee(desk: Desk) -> None:
    account = desk.quiet()
    desk.watch(account)
    assert desk.served(desk.publish()) == [(account, NOT_TRIGGERED)]
    assert desk.funds(account) == 10 * DOLLAR - FEE


def test_on_price__hook_that_pays__pays_the_senders_account(desk: Desk) -> None:
    world = desk.world
    hook = deploy_hook(world)
    account = world.account(3)
    world.deposit(account, QUOTE, 10 * DOLLAR)
    hand_over(world, account, hook, budget=UNLIMITED_BUDGET)
    hook.set_trigger(word(1), sender=world.attacker)
    hook.set_script([must(world.mandates, "pay", account, DOLLAR)], sender=world.attacker)
    desk.watch(account)
    desk.publish(sender=world.keeper)
    assert world.clearinghouse.picture_of(world.account(0, world.keeper))[0] == WAD


def test_on_price__hook_that_burns__pays_for_all_it_burnt(desk: Desk) -> None:
    account, _ = desk.moody(at_work=BURNS)
    desk.watch(account)
    receipt = desk.publish()
    told = args_of(desk.keepers, receipt, "WatchServed")
    assert told.code == FAILED and 6_000_000 < told.gas_used < 7_400_000
    assert told.paid == fees(told.gas_used) >= 30 * FEE
    assert desk.keepers.watched(desk.feed)[0].is_late


def test_on_price__place_that_cannot_pay_again__ends_and_its_rest_is_the_owners(
    desk: Desk,
) -> None:
    world, account = desk.world, desk.quiet()
    desk.watch(account, LEAST + FEE - 1)
    for _ in range(MIN_CHECKS - 1):
        assert desk.served(desk.publish()) == [(account, NOT_TRIGGERED)]
    receipt = desk.publish()
    ended = args_of(desk.keepers, receipt, "WatchEnded")
    assert tuple(ended) == (desk.feed.address, account, FEE - 1, world.owner)
    assert desk.keepers.watched(desk.feed) == []
    assert desk.claimable(world.owner) == FEE - 1
    assert desk.claimable(world.governor) == MIN_CHECKS * FEE
    assert desk.held() == desk.owed()


def test_on_price__place_with_one_fee_left__has_one_more_turn_and_no_other(desk: Desk) -> None:
    world, account = desk.world, desk.quiet()
    desk.watch(account, 3 * DOLLAR)
    desk.keepers.set_fee(DOLLAR, sender=world.governor)
    for left in (2 * DOLLAR, DOLLAR):
        desk.publish()
        assert desk.funds(account) == left
    assert desk.served(desk.publish()) == [(account, NOT_TRIGGERED)]
    assert desk.keepers.watched(desk.feed) == []
    assert desk.keepers.events(desk.publish()) == []


def test_on_price__place_ends_with_one_unit__it_is_the_owners(desk: Desk) -> None:
    world, account = desk.world, desk.quiet()
    desk.watch(account, 3 * DOLLAR + 1)
    desk.keepers.set_fee(DOLLAR, sender=world.governor)
    for _ in range(3):
        desk.publish()
    assert desk.keepers.watched(desk.feed) == []
    assert desk.claimable(world.owner) == 1
    assert desk.held() == desk.owed()


def test_on_price__place_with_less_than_a_raised_fee__pays_what_it_has_and_ends(
    desk: Desk,
) -> None:
    world, account = desk.world, desk.quiet()
    desk.watch(account, LEAST)
    for _ in range(MIN_CHECKS - 3):
        desk.publish()
    desk.keepers.set_fee(DOLLAR, sender=world.governor)
    before = desk.claimable(world.governor)
    desk.publish()
    assert desk.claimable(world.governor) - before == 3 * FEE
    assert desk.keepers.watched(desk.feed) == []


def test_on_price__no_fee__serves_for_nothing(desk: Desk) -> None:
    world, account = desk.world, desk.short()
    desk.keepers.set_fee(0, sender=world.governor)
    desk.watch(account, 1)
    receipt = desk.fall()
    assert desk.is_cured(account) and desk.funds(account) == 1
    assert desk.keepers.events(receipt, "FeesEarned") == []


def test_on_price__order__begins_behind_the_last_and_ends_with_the_late(desk: Desk) -> None:
    world = desk.world
    accounts = [desk.quiet(sub, 1_000) for sub in range(3)]
    slow, _ = desk.moody(at_work=SLOW)
    for account in (slow, *accounts):
        desk.watch(account)
    newcomers = [account for account, _ in desk.served(desk.publish())]
    assert newcomers == [slow, *accounts]
    settled = [account for account, _ in desk.served(desk.publish())]
    assert settled == [*accounts, slow]
    desk.keepers.unwatch(accounts[0], desk.feed, world.owner, sender=world.owner)
    desk.watch(accounts[0])
    again = [account for account, _ in desk.served(desk.publish())]
    assert set(again[:2]) == set(accounts[1:]) and set(again[2:]) == {slow, accounts[0]}


def test_on_price__late_one_between_others__next_round_begins_right_behind_it(desk: Desk) -> None:
    """Wherever it began before: the place where it begins is replaced and not added to."""
    quiet = [desk.quiet(sub, 1_000) for sub in range(3)]
    slow, _ = desk.moody(at_work=SLOW)
    places = [quiet[0], slow, *quiet[1:]]
    for account in places:
        desk.watch(account)
    orders = [[account for account, _ in desk.served(desk.publish())] for _ in range(3)]
    assert orders == [places, [*quiet, slow], [*quiet[1:], quiet[0], slow]]


def test_on_price__hook_slow_once__is_on_time_again(desk: Desk) -> None:
    account, hook = desk.moody(at_work=SLOW)
    desk.watch(account)
    desk.publish()
    assert desk.keepers.watched(desk.feed)[0].is_late
    hook.set_moods(ANSWERS, ANSWERS, sender=desk.world.attacker)
    desk.publish()
    assert not desk.keepers.watched(desk.feed)[0].is_late


def test_on_price__no_list_or_no_round__nothing(desk: Desk) -> None:
    world, account = desk.world, desk.quiet()
    for feed in (desk.feed, world.stranger, ZERO_ADDRESS):
        assert desk.keepers.on_price(feed, 1, sender=world.stranger).logs == []
    bad = world.chain.deploy("BadFeed", 8, sender=world.governor)
    bad.set_newest([5, 1, 1, 1, 5], sender=world.governor)
    desk.watch(account, feed=bad)
    for mode in (1, 2, 3):
        bad.set_modes(mode, mode, sender=world.governor)
        assert desk.keepers.on_price(bad, 6, sender=world.stranger).logs == []
    bad.set_modes(0, 0, sender=world.governor)
    receipt = desk.keepers.on_price(bad, 6, sender=world.stranger)
    assert desk.served(receipt) == [(account, NOT_TRIGGERED)]


# ---- claims


def test_claim__earner__is_paid_once(desk: Desk) -> None:
    world, account = desk.world, desk.quiet()
    desk.watch(account)
    desk.publish(sender=world.keeper)
    receipt = desk.keepers.claim(world.stranger, sender=world.keeper)
    assert receipt.return_value == FEE == world.quote.balanceOf(world.stranger)
    assert tuple(args_of(desk.keepers, receipt, "Claimed")) == (
        *(world.keeper, world.stranger, FEE),
    )
    with reverts("watches: nothing to claim"):
        desk.keepers.claim(world.stranger, sender=world.keeper)
    assert desk.held() == desk.owed() == 10 * DOLLAR - FEE


# ---- governance


def test_set_fee__bound__is_one_quote_token(desk: Desk) -> None:
    governor = desk.world.governor
    receipt = desk.keepers.set_fee(DOLLAR, sender=governor)
    assert args_of(desk.keepers, receipt, "FeeChanged").fee == DOLLAR == desk.keepers.fee()
    with reverts("keepers: fee above its bound"):
        desk.keepers.set_fee(DOLLAR + 1, sender=governor)
    with reverts("ownable: caller is not the owner"):
        desk.keepers.set_fee(1, sender=desk.world.keeper)


def test_deploy__fee_above_its_bound__is_refused(desk: Desk) -> None:
    world = desk.world
    with reverts("keepers: fee above its bound"):
        world.chain.deploy(
            *("Keepers", world.clearinghouse, world.mandates, world.system.oracle, DOLLAR + 1),
            sender=world.governor,
        )


def test_deploy__immutables__are_the_systems(desk: Desk) -> None:
    world, keepers = desk.world, desk.keepers
    assert (keepers.CLEARINGHOUSE(), keepers.MANDATES(), keepers.QUOTE()) == (
        *(world.clearinghouse.address, world.mandates.address, world.quote.address),
    )
    assert (keepers.owner(), keepers.fee()) == (world.governor, FEE)


def test_set_pull_feed__governor__allows_and_forbids(desk: Desk) -> None:
    governor, keepers = desk.world.governor, desk.keepers
    receipt = keepers.set_pull_feed(desk.feed, True, sender=governor)
    told = args_of(keepers, receipt, "PullFeedChanged")
    assert tuple(told) == (desk.feed.address, True) and keepers.is_pull_feed(desk.feed)
    keepers.set_pull_feed(desk.feed, False, sender=governor)
    assert not keepers.is_pull_feed(desk.feed)
    with reverts("ownable: caller is not the owner"):
        keepers.set_pull_feed(desk.feed, True, sender=desk.world.keeper)


# ---- upkeeps


def test_upkeep__triggered_accounts__are_found_done_and_gone(desk: Desk) -> None:
    world = desk.world
    short, quiet = desk.short(), desk.quiet(1)
    other = desk.short(2)
    asked = check_data([quiet, other, short], payee=77)
    assert desk.keepers.checkUpkeep(asked) == (False, perform_data([], 77))
    fall_untold(desk)
    is_needed, data = desk.keepers.checkUpkeep(asked)
    assert is_needed
    assert PERFORM.decode(data, 0) == ([other, short], 77)
    desk.keepers.performUpkeep(data, sender=world.stranger)
    assert desk.is_cured(short) and desk.is_cured(other)
    assert desk.keepers.checkUpkeep(asked)[0] is False
    again = desk.keepers.performUpkeep(data, sender=world.stranger)
    assert again.logs == []


def test_check_upkeep__feed__asks_its_list_instead(desk: Desk) -> None:
    short, quiet, unlisted = desk.short(), desk.quiet(1), desk.short(2)
    desk.watch(short)
    desk.watch(quiet)
    fall_untold(desk)
    is_needed, data = desk.keepers.checkUpkeep(check_data([unlisted], desk.feed.address))
    assert (is_needed, PERFORM.decode(data, 0)) == (True, ([short], 0))


def test_check_upkeep__hooks_that_burn__returns_what_it_came_to(desk: Desk) -> None:
    """Ten million gas are what a registry grants."""
    short = desk.short()
    burning, _ = desk.moody(when_asked=BURNS)
    fall_untold(desk)
    asked = check_data([short, *[burning] * 12])
    is_needed, data = desk.keepers.checkUpkeep.call(asked, gas=10_000_000)
    assert (is_needed, PERFORM.decode(data, 0)) == (True, ([short], 0))


@pytest.mark.parametrize("data", [b"", word(0), word(64) + word(0) + word(33) + bytes(33 * 32)])
def test_upkeep__data_of_another_shape__reverts(desk: Desk, data: bytes) -> None:
    with reverts():
        desk.keepers.checkUpkeep(data)
    with reverts():
        desk.keepers.performUpkeep(data, sender=desk.world.keeper)


def test_upkeep__thirty_two_accounts__fit(desk: Desk) -> None:
    account, hook = desk.moody()
    is_needed, data = desk.keepers.checkUpkeep(check_data([account] * 32))
    assert is_needed and len(data) == 1_120
    desk.keepers.performUpkeep(data, sender=desk.world.keeper)
    assert hook.count() == 32


def test_attempt__full_gas__is_what_the_interface_says(desk: Desk) -> None:
    """A caller with 7,600,000 gas can have one account rebalanced, with a tenth less none."""
    account = desk.short()
    fall_untold(desk)
    for gas, code in ((ATTEMPT_GAS * 9 // 10, NO_GAS), (ATTEMPT_GAS, REBALANCED)):
        with desk.world.isolated():
            receipt = desk.keepers.rebalance_many([account], 0, sender=desk.world.keeper, gas=gas)
            assert receipt.return_value == [code]


# ---- rounds and margin rates


def test_learn_feed__round_that_moves_volatility__is_answered_in_its_own_transaction(
    desk: Desk,
) -> None:
    """The oracle takes the round in before anybody's turn."""
    world, keepers = desk.world, desk.keepers
    account = world.open_account(leverage="2.6")
    world.enrol(account)
    desk.watch(account)
    rates = world.system.oracle.marks([1])[1]
    with world.isolated():
        desk.feed.set_answer(1_880 * 10**8, sender=world.governor, gas=PLENTY)
        assert world.system.oracle.marks([1])[1] == rates
        assert world.rebalancer.last_at(account) == 0
        world.poke(["ETH"])
        assert world.rebalancer.plan(account).code == 0
    receipt = keepers.learn_feed(1, sender=world.stranger)
    assert tuple(args_of(keepers, receipt, "FeedLearned")) == (desk.feed.address, 1)
    assert keepers.asset_of(desk.feed) == 1
    world.set_venue_price("ETH", 1_880 * WAD)
    receipt = desk.feed.set_answer(1_880 * 10**8, sender=world.governor, gas=PLENTY)
    assert world.system.oracle.marks([1])[1] != rates
    assert args_of(world.mandates, receipt, "Rebalanced").account == account
    assert world.rebalancer.last_at(account) == world.chain.time


def test_on_price__feed_of_a_known_asset__oracle_is_poked_once_for_all_turns(desk: Desk) -> None:
    world, keepers = desk.world, desk.keepers
    for sub in range(2):
        desk.watch(desk.quiet(sub))
    keepers.learn_feed(1, sender=world.stranger)
    receipt = desk.publish()
    assert len(desk.served(receipt)) == 2
    poked = world.system.oracle.events(receipt, "Poked")
    assert [event.args.asset for event in poked] == [1]
    assert keepers.events(receipt, "PokeFailed") == []


def test_on_price__feed_of_no_known_asset__oracle_is_left_alone(desk: Desk) -> None:
    account = desk.quiet()
    desk.watch(account)
    receipt = desk.publish()
    assert desk.served(receipt) == [(account, NOT_TRIGGERED)]
    assert desk.world.system.oracle.events(receipt) == []
    assert desk.keepers.events(receipt, "PokeFailed") == []


def test_on_price__oracle_refuses_the_round__is_told_and_everybody_has_a_turn(
    world: World,
) -> None:
    """An oracle of another ledger, which is at work."""
    assert isinstance(world.chain, RevmChain)
    bench = OracleBench(world.chain, has_quote=False)
    keepers = world.chain.deploy(
        *("Keepers", world.clearinghouse, world.mandates, bench.oracle, FEE),
        sender=world.governor,
    )
    keepers.learn_feed(1, sender=world.stranger)
    desk, feed = Desk(world, keepers), bench.feeds[1]
    accounts = [desk.quiet(sub) for sub in range(2)]
    for account in accounts:
        desk.watch(account, feed=feed)
    bench.clearinghouse.set_call_state(1, sender=bench.owner)
    receipt = keepers.on_price(feed, 0, sender=world.keeper)
    assert args_of(keepers, receipt, "PokeFailed").asset == 1
    assert desk.served(receipt) == [(account, NOT_TRIGGERED) for account in accounts]


def test_learn_feed__unknown_asset__is_refused(desk: Desk) -> None:
    with reverts("keepers: unknown asset"):
        desk.keepers.learn_feed(77, sender=desk.world.stranger)


def test_deploy__listed_assets__are_known_to_the_entry(world: World) -> None:
    for name in world.names:
        assert world.keepers.asset_of(world.feeds[name]) == world.asset(name)
