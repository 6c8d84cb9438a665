"""The keepers' entry under attack: poisoned accounts, starved and repeated calls, squatters, tokens
that block or call, and whatever else could make one account pay for, or wait for, another."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from ballast.chain import Contract, Receipt, Reverted
from ballast.deploy import WAD
from tests.clearing_kit import in_order
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
    NO_GAS,
    NOT_TRIGGERED,
    PLACES,
    REBALANCED,
    REVERTS,
    SLOW,
    Desk,
    open_desk,
    perform_data,
)
from tests.support.fixtures import odd_world
from tests.support.world import QUOTE, UNLIMITED, World
from tests.threats.kit import entries

LISTENER_GAS = 15_000_000
LARGEST_TURN = 7_500_000  # gas that an account can burn
MOODS = [
    *((ANSWERS, mood) for mood in (REVERTS, BURNS, BOMB, SLOW, BARE)),
    *((mood, ANSWERS) for mood in (REVERTS, BURNS, BOMB, SLOW, BARE)),
]


@pytest.fixture
def desk(world: World) -> Desk:
    """The ether feed tells the entry of its rounds."""
    return open_desk(world)


def turn_off(desk: Desk) -> None:
    """Nobody is told of rounds any more."""
    desk.feed.set_listener("0x" + "00" * 20, sender=desk.world.governor)


# ---- poisoned accounts


@pytest.mark.parametrize(("when_asked", "at_work"), MOODS)
def test_rebalance_many__poisoned_account_first__others_are_saved(
    desk: Desk, when_asked: int, at_work: int
) -> None:
    """T60: within the gas of one transaction, whatever its hook does."""
    poisoned, _ = desk.moody(when_asked, at_work)
    short = [desk.short(sub) for sub in range(3)]
    turn_off(desk)
    desk.fall()
    receipt = desk.keepers.rebalance_many(
        [poisoned, *short], 0, sender=desk.world.keeper, gas=16_000_000
    )
    assert receipt.return_value[1:] == [REBALANCED] * 3
    assert all(desk.is_cured(account) for account in short)


@pytest.mark.parametrize(("when_asked", "at_work"), MOODS)
def test_on_price__poisoned_account_first__others_are_saved_in_the_update(
    desk: Desk, when_asked: int, at_work: int
) -> None:
    """T60: in a list that all entered together, where none is known yet."""
    poisoned, _ = desk.moody(when_asked, at_work)
    short = [desk.short(sub) for sub in range(3)]
    for account in (poisoned, *short):
        desk.watch(account)
    receipt = desk.fall()
    assert [account for account, _ in desk.served(receipt)] == [poisoned, *short]
    assert all(desk.is_cured(account) for account in short)
    assert desk.feed.latestRoundData()[1] == 1_800 * 10**8
    assert receipt.gas_used < LISTENER_GAS + 200_000


def test_on_price__accounts_that_wait_for_the_crash__are_behind_the_others_next_time(
    desk: Desk,
) -> None:
    """T60: two burners in front cost the others one call, once; from then on they come last."""
    burners = [desk.moody(sub=sub) for sub in range(2)]
    for account, _ in burners:
        desk.watch(account, 100 * DOLLAR)
    short = [desk.short(sub) for sub in range(3)]
    for account in short:
        desk.watch(account)
    desk.publish()
    for _, hook in burners:
        hook.set_moods(ANSWERS, BURNS, sender=desk.world.attacker)
    first = desk.served(desk.fall())
    assert [account for account, _ in first][:1] == [burners[0][0]]
    while len(first) < 5:
        first += desk.served(desk.keepers.on_price(desk.feed, 0, sender=desk.world.keeper))
    assert all(desk.is_cured(account) for account in short)
    second = [account for account, _ in desk.served(desk.fall(1_600))]
    assert set(second[:3]) == set(short)
    assert all(desk.is_cured(account) for account in short)


def test_on_price__burner_that_leaves_and_comes_back__stays_behind(desk: Desk) -> None:
    """T60: a place given up and taken again is a newcomer's."""
    world = desk.world
    short = desk.short()
    desk.watch(short)
    desk.publish()
    burner, _ = desk.moody(at_work=BURNS)
    codes = []
    for price in (1_900, 1_800, 1_700):
        desk.watch(burner)
        served = desk.served(desk.fall(price))
        assert [account for account, _ in served] == [short, burner]
        codes.append(served[0][1])
        desk.keepers.unwatch(burner, desk.feed, world.attacker, sender=world.attacker)
    assert codes == [NOT_TRIGGERED, REBALANCED, NOT_TRIGGERED]


def test_on_price__every_place_a_burner__update_arrives_and_burners_pay(desk: Desk) -> None:
    """T60: what they cost the sender is bounded by what the feed gives, and is paid for."""
    for sub in range(PLACES):
        account, _ = desk.moody(at_work=BURNS, sub=sub)
        desk.watch(account, 20 * DOLLAR)
    receipt = desk.publish(1_999)
    assert desk.feed.latestRoundData()[1] == 1_999 * 10**8
    assert receipt.gas_used < LISTENER_GAS + 200_000
    burnt = [e.args.gas_used for e in desk.keepers.events(receipt, "WatchServed")]
    assert burnt and max(burnt) < LARGEST_TURN
    assert desk.claimable(desk.world.governor) >= sum(burnt) * FEE // 200_000


# ---- gas


def test_rebalance_many__every_gas_limit__the_right_code_or_none(desk: Desk) -> None:
    """T24: starved, a triggered account would look quiet and a good hook broken."""
    short, quiet = desk.short(), desk.quiet(1)
    failing, _ = desk.moody(at_work=REVERTS)
    turn_off(desk)
    desk.fall()
    right = [REBALANCED, NOT_TRIGGERED, FAILED, NOT_TRIGGERED]
    seen = set()
    for gas in [*range(30_000, 1_200_000, 9_000), *range(7_000_000, 9_000_000, 21_000), 14_000_000]:
        with desk.world.isolated():
            try:
                receipt = desk.keepers.rebalance_many(
                    [short, quiet, failing, short], 0, sender=desk.world.keeper, gas=gas
                )
            except Reverted as error:
                assert error.halt == "out of gas" and gas < 200_000
                continue
            codes = receipt.return_value
            # Whoever was not tried stays triggered, and is asked again behind.
            if codes[0] == NO_GAS:
                assert codes == [NO_GAS] * 4 or codes == [NO_GAS, NOT_TRIGGERED, NO_GAS, NO_GAS]
            else:
                assert all(c in (NO_GAS, r) for c, r in zip(codes, right, strict=True))
            assert desk.is_cured(short) == (codes[0] == REBALANCED)
            seen.add(tuple(codes))
    assert (*right,) in seen and (NO_GAS,) * 4 in seen and len(seen) >= 3


def test_on_price__every_gas_limit__a_turn_is_whole_or_not_taken(desk: Desk) -> None:
    """T24, I49: what a sender saves in gas is a turn that the next call takes, and nobody pays."""
    short, quiet = desk.short(), desk.quiet(1)
    for account in (quiet, short):
        desk.watch(account)
    right = {short: REBALANCED, quiet: NOT_TRIGGERED}
    counts = set()
    for gas in [
        *range(100_000, 1_400_000, 13_000),
        *range(7_000_000, 8_200_000, 17_000),
        15_000_000,
    ]:
        with desk.world.isolated():
            receipt = desk.fall(gas=gas)
            served = desk.served(receipt)
            counts.add(len(served))
            assert all(right[account] == code for account, code in served)
            assert desk.is_cured(short) == (short in dict(served))
            paid = sum(e.args.paid for e in desk.keepers.events(receipt, "WatchServed"))
            assert desk.claimable(desk.world.governor) == paid
            assert desk.held() == desk.owed()
            rest = desk.served(
                desk.keepers.on_price(desk.feed, 0, sender=desk.world.keeper, gas=15_000_000)
            )
            assert dict(served) | dict(rest) == right and len(served) + len(rest) == 2
    assert counts == {0, 1, 2}


def test_set_answer__every_gas_limit__never_fails_for_the_listener(desk: Desk) -> None:
    """T24: a limit that suffices for the round suffices with sixteen accounts behind it."""
    for sub in range(PLACES):
        account, _ = desk.moody(at_work=SLOW, sub=sub)
        desk.watch(account, 20 * DOLLAR)
    with desk.world.isolated():
        turn_off(desk)
        needed = desk.publish(1_999).gas_used
    for gas in [*range(needed + 25_000, 1_600_000, 31_000), *range(7_000_000, 15_000_000, 250_000)]:
        with desk.world.isolated():
            desk.publish(1_999, gas=gas)
            assert desk.feed.latestRoundData()[1] == 1_999 * 10**8


# ---- rounds


def test_on_price__again_and_again__costs_a_round_once(desk: Desk) -> None:
    """Whoever calls, whatever he says about the round, and through whatever contract."""
    world, account = desk.world, desk.quiet()
    desk.watch(account)
    desk.publish()
    funds = desk.funds(account)
    for who, round_id in ((world.attacker, 1), (world.attacker, 2**80), (world.owner, 99)):
        receipt = desk.keepers.on_price(desk.feed, round_id, sender=who)
        assert receipt.logs == [] and receipt.gas_used < 60_000
    assert desk.funds(account) == funds
    assert desk.claimable(world.attacker) == 0


def test_on_price__caller_is_a_contract__pays_who_bears_the_gas(desk: Desk) -> None:
    """T38: and the entry's authority over places and claims is nobody's who is only the origin."""
    world, account = desk.world, desk.quiet()
    desk.watch(account)
    caller = world.chain.deploy("Caller", sender=world.attacker)
    turn_off(desk)
    desk.publish()
    call = (desk.keepers.address, desk.keepers.on_price.encode(desk.feed, 0))
    caller.run([call], sender=world.stranger)
    assert (desk.claimable(world.stranger), desk.claimable(caller.address)) == (FEE, 0)
    for name, arguments, who, reason in (
        ("unwatch", (account, desk.feed, caller), world.owner, "keepers: only the owner"),
        ("watch", (account, desk.feed, LEAST), world.owner, "keepers: only the owner"),
        ("claim", (caller,), world.stranger, "watches: nothing to claim"),
    ):
        data = desk.keepers.function(name).encode(*arguments)
        with reverts(reason):
            caller.run([(desk.keepers.address, data)], sender=who)


def test_on_price__two_rounds_in_a_block__both_are_acted_on(desk: Desk) -> None:
    world = desk.world
    early, late = desk.short(), world.open_account(leverage="2.5", sub=1)
    world.enrol(late)
    for account in (early, late):
        desk.watch(account)
    world.set_venue_price("ETH", 1_800 * WAD)
    with world.chain.one_block():
        first = desk.publish(1_800)
        world.set_venue_price("ETH", 1_600 * WAD)
        second = desk.publish(1_600)
    assert first.block == second.block
    assert desk.served(first) == [(early, REBALANCED), (late, NOT_TRIGGERED)]
    assert dict(desk.served(second)) == {early: FAILED, late: REBALANCED}
    # A complete rebalance is made once a block; the next round finds it triggered still.
    assert desk.reasons(second) == {early: "rebalancer: cooling down"}
    assert dict(desk.served(desk.publish(1_600)))[early] == REBALANCED


def test_on_price__feed_that_invents_rounds__spends_only_its_own(desk: Desk) -> None:
    """A feed is its watchers' choice; nobody else's funds depend on it."""
    world, victim, own = desk.world, desk.quiet(), world_account(desk)
    feed = world.chain.deploy("BadFeed", 8, sender=world.attacker)
    feed.set_newest([1, 1, 1, 1, 1], sender=world.attacker)
    desk.watch(victim)
    desk.watch(own, 10 * DOLLAR, feed)
    before = wealth_of(desk, world.attacker)
    for round_id in range(2, 20):
        feed.set_newest([round_id, 1, 1, 1, round_id], sender=world.attacker)
        desk.keepers.on_price(feed, round_id, sender=world.attacker)
    assert desk.funds(own, feed) == 10 * DOLLAR - 18 * FEE
    assert desk.funds(victim) == 10 * DOLLAR
    assert wealth_of(desk, world.attacker) == before


def world_account(desk: Desk) -> int:
    """An account of the attacker."""
    return desk.world.account(0, desk.world.attacker)


def wealth_of(desk: Desk, who: str) -> int:
    """Wallet, claims and places of one person, token units."""
    places = sum(
        int(row.funds)
        for feed in desk.watched
        for row in desk.keepers.watched(feed)
        if desk.world.owner_of(row.account) == who
    )
    return int(desk.world.quote.balanceOf(who)) + desk.claimable(who) + places


# ---- squatters


def test_watch__list_full_of_squatters__who_means_it_gets_in_and_they_gain_nothing(
    desk: Desk,
) -> None:
    world = desk.world
    world.fund(world.attacker, QUOTE, 10**9)
    world.quote.approve(desk.keepers, UNLIMITED, sender=world.attacker)
    before = wealth_of(desk, world.attacker)
    for sub in range(PLACES):
        squat = world.account(sub, world.attacker)
        desk.keepers.watch(squat, desk.feed, LEAST, sender=world.attacker)
    desk.watched.add(desk.feed.address)
    short = desk.short()
    desk.watch(short, 2 * LEAST + 1)
    desk.fall(sender=world.stranger)
    assert desk.is_cured(short)
    # They paid for their turns; whoever was displaced may claim the rest.
    assert before - wealth_of(desk, world.attacker) == (PLACES - 1) * FEE
    for _ in range(3):
        with reverts("watches: list is full"):
            desk.keepers.watch(
                world.account(20, world.attacker),
                desk.feed,
                2 * LEAST - 2 * FEE,
                sender=world.attacker,
            )


def test_watch__place_taken_in_a_served_round__only_the_newcomer_has_a_turn(desk: Desk) -> None:
    """In rounds of odd and of even number: the others do not pay for one of them twice."""
    world = desk.world
    for sub in range(PLACES):
        desk.watch(world.account(sub))
    for sub in range(2):
        assert len(desk.served(desk.publish())) == PLACES
        newcomer = world.account(sub, world.other_owner)
        desk.watch(newcomer, 21 * DOLLAR)
        receipt = desk.keepers.on_price(desk.feed, 0, sender=world.keeper)
        assert desk.served(receipt) == [(newcomer, NOT_TRIGGERED)]


def test_watch__attacker_displaces_and_leaves__not_for_an_hour_and_costs_the_victim_a_place(
    desk: Desk,
) -> None:
    world = desk.world
    accounts = [world.account(sub) for sub in range(PLACES)]
    for account in accounts:
        desk.watch(account)
    before = wealth_of(desk, world.owner)
    own = world_account(desk)
    desk.watch(own, 21 * DOLLAR)
    with reverts("watches: place just taken"):
        desk.keepers.unwatch(own, desk.feed, world.attacker, sender=world.attacker)
    world.chain.advance(3_600)
    desk.keepers.unwatch(own, desk.feed, world.attacker, sender=world.attacker)
    assert wealth_of(desk, world.owner) == before
    assert desk.claimable(world.owner) == 10 * DOLLAR
    desk.keepers.claim(world.owner, sender=world.owner)
    assert desk.held() == desk.owed() == 15 * 10 * DOLLAR


# ---- tokens


@pytest.fixture
def blocklist_desk() -> Iterator[Desk]:
    """A quote token whose issuer can block holders."""
    world = odd_world("BlocklistToken")
    with world.isolated():
        yield open_desk(world)


def test_claim__blocked_claimer__hurts_himself_alone(blocklist_desk: Desk) -> None:
    """T15: nothing is ever sent to anybody but to whom its own claimant says, when he says."""
    desk, world = blocklist_desk, blocklist_desk.world
    accounts = [desk.quiet(sub, 100) for sub in range(PLACES)]
    for account in accounts:
        desk.watch(account)
    desk.publish(sender=world.keeper)
    world.quote.set_blocked(world.owner, True, sender=world.governor)
    world.quote.set_blocked(world.keeper, True, sender=world.governor)
    # The blocked owner can be displaced, be served and run out; the blocked sender goes on earning.
    newcomer = world.account(0, world.other_owner)
    desk.watch(newcomer, 30 * DOLLAR)
    desk.publish(sender=world.keeper)
    assert desk.funds(newcomer) == 30 * DOLLAR - FEE
    for who in (world.owner, world.keeper):
        assert desk.claimable(who) > 0
        with reverts("token: holder is blocked"):
            desk.keepers.claim(who, sender=who)
    with reverts("token: holder is blocked"):
        desk.keepers.unwatch(accounts[-1], desk.feed, world.owner, sender=world.owner)
    world.chain.advance(3_600)
    desk.keepers.unwatch(newcomer, desk.feed, world.other_owner, sender=world.other_owner)
    # Another receiver takes what the blocked one cannot.
    amount = desk.claimable(world.keeper)
    desk.keepers.claim(world.stranger, sender=world.keeper)
    assert world.quote.balanceOf(world.stranger) == amount
    desk.keepers.unwatch(accounts[-1], desk.feed, world.stranger, sender=world.owner)
    assert desk.held() == desk.owed()


@pytest.fixture
def calling_desk() -> Iterator[Desk]:
    """A quote token that calls somebody whenever it moves."""
    world = odd_world("CallbackToken")
    with world.isolated():
        yield open_desk(world)


def test_payment__token_that_calls_back__finds_every_entry_locked(calling_desk: Desk) -> None:
    """T16, T33: on the way in and on both ways out."""
    desk, world = calling_desk, calling_desk.world
    account, whole = desk.quiet(0, 1_000), 10**18
    desk.keepers.set_fee(whole // 20, sender=world.governor)
    desk.watch(account, 10 * whole)
    desk.publish(sender=world.owner)
    moves = {
        "watch": (account, desk.feed, whole),
        "unwatch": (account, desk.feed, world.owner),
        "claim": (world.owner,),
    }
    world.fund(world.owner, QUOTE, whole)
    for name, arguments in moves.items():
        for entry, data in _strong(desk, account):
            with world.isolated():
                world.quote.arm(desk.keepers, data, sender=world.attacker)
                desk.keepers.function(name)(*arguments, sender=world.owner)
                assert world.quote.calls() > 0
                assert not world.quote.has_succeeded(), (name, entry)
                assert desk.held() == desk.owed()


def _strong(desk: Desk, account: int) -> list[tuple[str, bytes]]:
    """Every entry, first with arguments of no meaning, then with those that do most."""
    world, keepers = desk.world, desk.keepers
    best = {
        "on_price": (desk.feed, 0),
        "rebalance_many": ([account], 0),
        "performUpkeep": (perform_data([account]),),
        "claim": (world.attacker,),
    }
    named = [(name, keepers.function(name).encode(*args)) for name, args in best.items()]
    return [*entries(keepers, is_view=False), *named]


def test_on_price__while_the_ledger_is_at_work__books_nothing(calling_desk: Desk) -> None:
    """T34: no account could be helped then, and a round would be lost to all of them."""
    desk, world = calling_desk, calling_desk.world
    short, whole = desk.short(), 10**18
    desk.keepers.set_fee(whole // 20, sender=world.governor)
    desk.watch(short, 10 * whole)
    turn_off(desk)
    desk.fall()
    world.fund(world.attacker, QUOTE, whole)
    data = desk.keepers.on_price.encode(desk.feed, 0)
    world.quote.arm(desk.keepers, data, sender=world.attacker)
    own = world_account(desk)
    world.clearinghouse.deposit(own, 0, whole, sender=world.attacker)
    assert world.quote.has_succeeded()
    assert desk.funds(short) == 10 * whole and not desk.is_cured(short)
    world.quote.arm(world.stranger, b"", sender=world.attacker)
    receipt = desk.keepers.on_price(desk.feed, 0, sender=world.keeper)
    assert desk.served(receipt) == [(short, REBALANCED)]


# ---- hooks that come back


def test_hook__calls_the_entry_that_called_it__is_locked_out(desk: Desk) -> None:
    """T33: by every entry, in an attempt and in a turn."""
    world = desk.world
    account, hook = desk.moody()
    desk.watch(account, 100 * DOLLAR)
    desk.publish(sender=world.attacker)
    assert desk.claimable(world.attacker) > 0
    for name, data in _strong(desk, account):
        hook.set_call(desk.keepers, data, sender=world.attacker)
        for act in (_attempt, _turn):
            with world.isolated():
                assert act(desk, account) == REBALANCED
                assert not hook.has_succeeded(), name
                assert desk.held() == desk.owed()


def _attempt(desk: Desk, account: int) -> int:
    receipt = desk.keepers.rebalance_many([account], 0, sender=desk.world.keeper)
    return int(receipt.return_value[0])


def _turn(desk: Desk, account: int) -> int:
    return dict(desk.served(desk.publish()))[account]


def test_hook__calls_the_entry_from_a_mandate_of_its_own__books_and_moves_nothing(
    desk: Desk,
) -> None:
    """T34: no lock is held then; the state of the call is what counts."""
    world = desk.world
    account, hook = desk.moody()
    short = desk.short()
    desk.watch(short)
    turn_off(desk)
    desk.fall()
    for name, arguments in (
        ("on_price", (desk.feed, 0)),
        ("rebalance_many", ([short, account], 0)),
        ("performUpkeep", (perform_data([short]),)),
    ):
        with world.isolated():
            data = desk.keepers.function(name).encode(*arguments)
            hook.set_call(desk.keepers, data, sender=world.attacker)
            world.mandates.rebalance(account, sender=world.attacker)
            assert hook.has_succeeded()
            assert desk.funds(short) == 10 * DOLLAR and not desk.is_cured(short)
            receipt = desk.keepers.on_price(desk.feed, 0, sender=world.keeper)
            assert desk.served(receipt) == [(short, REBALANCED)]


def test_hook__publishes_a_round_in_its_mandate__round_is_kept_for_the_next_call(
    desk: Desk,
) -> None:
    """T34: the feed finds the entry locked or the ledger at work, and the round waits."""
    world = desk.world
    account, hook = desk.moody()
    short = desk.short()
    desk.watch(short)
    world.set_venue_price("ETH", 1_800 * WAD)
    hook.set_call(desk.feed, desk.feed.set_answer.encode(1_800 * 10**8), sender=world.attacker)
    for act in (
        _attempt,
        lambda desk, account: world.mandates.rebalance(account, sender=world.keeper),
    ):
        with world.isolated():
            act(desk, account)
            assert hook.has_succeeded()
            assert desk.feed.latestRoundData()[1] == 1_800 * 10**8
            assert desk.funds(short) == 10 * DOLLAR
            receipt = desk.keepers.on_price(desk.feed, 0, sender=world.keeper)
            assert desk.served(receipt) == [(short, REBALANCED)]


# ---- money


class Books:
    """Places and claims as the events tell."""

    def __init__(self, keepers: Contract) -> None:
        self.keepers = keepers
        self.funds: dict[tuple[str, int], int] = {}
        self.claims: dict[str, int] = {}

    def read(self, receipt: Receipt) -> None:
        """The events of one transaction, in order."""
        for event in in_order(receipt, self.keepers):
            args = event.args
            if event.name in ("Watched", "WatchServed"):
                self.funds[args.feed, args.account] = args.funds
            elif event.name == "WatchEnded":
                assert self.funds.pop((args.feed, args.account)) == args.rest
                if int(args.claimant, 16):
                    self._add(args.claimant, args.rest)
            elif event.name == "FeesEarned":
                self._add(args.earner, args.amount)
            elif event.name == "Claimed":
                self._add(args.claimant, -args.amount)

    def _add(self, who: str, units: int) -> None:
        self.claims[who] = self.claims.get(who, 0) + units


@pytest.mark.parametrize("seed", range(6))
def test_entry__any_sequence__holds_what_it_owes_and_events_tell_it(desk: Desk, seed: int) -> None:
    """I49: funds and claims are covered to the unit, whoever does what in whatever order; turns
    only move what one has to another. Donations are nobody's."""
    world, chance = desk.world, random.Random(seed)
    people = (world.owner, world.attacker, world.other_owner)
    for who in people:
        world.fund(who, QUOTE, 10**12)
        world.quote.approve(desk.keepers, UNLIMITED, sender=who)
    feeds = (desk.feed, world.feeds["BTC"])
    world.feeds["BTC"].set_listener(desk.keepers, sender=world.governor)
    desk.watched.update(feed.address for feed in feeds)
    desk.moody(at_work=SLOW, sub=0)
    books, donated, done = Books(desk.keepers), 0, {name: 0 for name in _ACTS}
    for _ in range(150):
        name = chance.choice(_ACTS)
        who, feed = chance.choice(people), chance.choice(feeds)
        account = world.account(chance.randrange(14), who)
        before = desk.owed()
        try:
            if name == "watch":
                units = chance.choice((LEAST, 2 * LEAST, 6 * LEAST, 14 * LEAST))
                receipt = desk.keepers.watch(account, feed, units, sender=who)
            elif name == "unwatch":
                receipt = desk.keepers.unwatch(account, feed, who, sender=who)
            elif name == "claim":
                receipt = desk.keepers.claim(who, sender=who)
            elif name == "round":
                gas = chance.choice((400_000, 2_000_000, 15_000_000))
                receipt = feed.set_answer(feed.latestRoundData()[1], sender=who, gas=gas)
            elif name == "call":
                receipt = desk.keepers.on_price(feed, chance.randrange(99), sender=who)
            elif name == "fee":
                receipt = desk.keepers.set_fee(
                    chance.choice((0, FEE, 10 * FEE)), sender=world.governor
                )
            else:
                receipt = world.quote.transfer(desk.keepers, 7, sender=who)
                donated += 7
        except Reverted as error:
            assert error.reason.startswith("watches: "), error.reason
            continue
        done[name] += 1
        books.read(receipt)
        assert desk.held() == desk.owed() + donated
        if name in ("round", "call", "fee", "donation"):
            assert desk.owed() == before
        funds = {
            (seen.address, row.account): row.funds
            for seen in feeds
            for row in desk.keepers.watched(seen)
        }
        assert funds == books.funds
        assert all(desk.claimable(one) == units for one, units in books.claims.items())
    assert all(done.values()), done


_ACTS = ("watch", "watch", "watch", "unwatch", "claim", "round", "round", "call", "fee", "donation")
