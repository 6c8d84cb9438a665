"""Views, the entries that only other contracts of the system may use, and the lock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ballast.chain import Receipt
from tests.clearing_kit import UNIT, action, silence_oracle
from tests.conftest import reverts
from tests.perps_kit import open_desk
from tests.support.reading import assess_on_chain, read_account, read_loans, read_marks
from tests.support.world import QUOTE, WAD, World

ETH, BTC = 1, 2
ZERO = "0x" + "00" * 20


def test_assess__account_without_anything__is_four_zeros(world: World) -> None:
    assert tuple(world.clearinghouse.assess(world.account(99))) == (0, 0, 0, 0)
    shot = world.mandates.snapshot(world.account(99))
    assert (shot.equity_init, shot.required_maint, shot.cash, list(shot.legs)) == (0, 0, 0, [])


def test_assess__account_with_debt__is_the_model(world: World) -> None:
    account = world.open_account(leverage=3, mix={"ETH": 2, "BTC": 1})
    expected = read_account(world, account).assess(read_marks(world), read_loans(world))
    assert assess_on_chain(world, account) == expected
    assert expected.equity_init - expected.required_init > 0


def test_assess__stale_price__is_the_last_good_one(world: World) -> None:
    """Judging needs a number at any time, also while nothing may grow on it."""
    account = world.open_account(leverage=2)
    before = world.clearinghouse.assess(account)
    world.make_stale("ETH")
    after = world.clearinghouse.assess(account)
    assert after[2] <= before[2] < 10_001 * WAD, "only interest has moved"
    assert after[2] > 9_900 * WAD


def test_snapshot__legs__are_the_list_with_its_words(world: World) -> None:
    account = world.open_account(leverage=2, mix={"BTC": 1, "ETH": 1})
    shot = world.mandates.snapshot(account)
    marks = world.system.oracle.marks([BTC, ETH])
    assert [leg.asset for leg in shot.legs] == [BTC, ETH]
    for i, leg in enumerate(shot.legs):
        assert leg.position == world.clearinghouse.position_word(account, leg.asset)
        assert (leg.price_word, leg.risk_word) == (marks[2 * i], marks[2 * i + 1])
    four = (shot.equity_init, shot.required_init, shot.equity_maint, shot.required_maint)
    assert four == tuple(world.clearinghouse.assess(account))
    assert shot.cash == world.clearinghouse.picture_of(account)[0] < 0


def test_words_of__account__are_its_words_in_the_order_of_the_list(world: World) -> None:
    account, house = world.open_account(leverage=2, mix={"BTC": 1, "ETH": 1}), world.clearinghouse
    assert list(house.words_of(account)) == [
        house.account_word(account),
        house.listed_word(account),
        house.position_word(account, BTC),
        house.position_word(account, ETH),
    ]
    assert list(house.words_of(world.account(9))) == [0, 0]


def test_scene_of__position__is_its_words_and_the_mark_of_the_oracle(world: World) -> None:
    """Also without a position, a market or a price that is live; never for an unknown asset."""
    house, account = world.clearinghouse, world.open_account(leverage=2)
    desk = open_desk(world)
    desk.trade(account, -WAD)
    for who in (account, desk.house, world.account(9)):
        for asset in (ETH, BTC):
            for _ in range(2):
                words = house.position_word(who, asset), house.cost_word(who, asset)
                market, marks = house.market_word(asset), world.system.oracle.marks([asset])
                assert tuple(house.scene_of(who, asset)) == (*words, market, *marks)
                world.make_stale("ETH")
    assert house.scene_of(account, ETH).cost_word != 0 != house.scene_of(desk.house, ETH).cost_word
    with reverts("oracle: unknown asset"):
        house.scene_of(account, 7)


def test_increased_at__only_what_raises_risk__is_the_time_of_the_block(world: World) -> None:
    """The test of an increase that was passed; nothing that is published has the time in it, and
    debts and cash come and go beside it."""
    house, account = world.clearinghouse, world.open_account(leverage=2)
    desk, sibling = open_desk(world), world.account(1)
    owner = world.owner
    world.deposit(sibling, QUOTE, 10**10)
    assert house.increased_at(account) > 0 == house.increased_at(sibling)
    for name in (QUOTE, "ETH"):
        world.fund(owner, name, world.units(name, 10**6))

    def told(act: Callable[[], Receipt], who: int = account) -> bool:
        """Whether the time was noted, and otherwise that it stayed."""
        before = house.increased_at(who)
        receipt = act()
        assert house.account_word(who) == house.words_of(who)[0] < 2**224
        assert house.increased_at(who) in (before, receipt.time)
        return bool(house.increased_at(who) == receipt.time)

    venue = world.venue
    assert not told(lambda: house.deposit(account, ETH, WAD, sender=owner))
    assert not told(lambda: house.repay(account, 10**6, sender=owner))
    assert told(lambda: house.withdraw(account, ETH, WAD, owner, sender=owner))
    assert told(lambda: house.withdraw(account, 0, 10**6, owner, sender=owner))
    # To pay a loan down with collateral is safer, to buy more with a loan is not.
    assert not told(lambda: house.swap(account, venue, ETH, 0, WAD, 0, sender=owner))
    assert told(lambda: house.swap(account, venue, 0, ETH, 10**6, 0, sender=owner))
    assert told(lambda: house.transfer(account, sibling, ETH, WAD, sender=owner))
    # Who owes nothing and has no perpetual passes no test.
    assert not told(lambda: house.transfer(sibling, account, 0, 10**6, sender=owner), sibling)
    assert not told(lambda: house.withdraw(sibling, 0, 10**6, owner, sender=owner), sibling)
    # To open a perpetual is riskier, to close it is not.
    assert told(lambda: desk.trade(account, WAD // 100, "BTC"))
    assert not told(lambda: desk.trade(account, -WAD // 100, "BTC"))
    batch = [action(2, account, asset=ETH, amount=1, target=owner)]
    assert told(lambda: house.batch(batch, sender=owner))
    assert not told(lambda: house.batch([action(3, account, amount=10**6)], sender=owner))
    world.enrol(account, donors=[1], target_bps=40_000, trigger_bps=39_000)
    world.make_donor(sibling)
    assert not told(lambda: world.mandates.rebalance(account, sender=world.keeper))
    # Asked from outside it only says whether it would be passed.
    assert not told(lambda: house.check_initial(account, sender=world.stranger))


def test_check_initial__from_outside__refuses_as_an_increase_would(world: World) -> None:
    """At the worse of two prices, and without what a stale asset lends."""
    house, account = world.clearinghouse, world.open_account(leverage=3)
    check = house.function("check_initial")
    check(account, sender=world.stranger)
    check(world.account(9), sender=world.stranger)
    answer = world.feeds["ETH"].function("set_answer")
    with world.isolated():
        answer(1_800 * 10**8, sender=world.governor)
        with reverts("margin: initial margin short"):
            check(account, sender=world.stranger)
        with world.chain.one_block():
            answer(2_000 * 10**8, sender=world.governor)
            with reverts("margin: initial margin short"):
                check(account, sender=world.stranger)
        world.chain.mine()
        check(account, sender=world.stranger)
    with world.isolated():
        world.make_stale("ETH")
        with reverts("margin: price not usable"):
            check(account, sender=world.stranger)


def test_picture_of__debt__is_rounded_up_to_a_unit_and_grows(world: World) -> None:
    account = world.open_account(leverage=2)
    first = world.clearinghouse.picture_of(account)[0]
    world.wait(86_400)
    assert first % UNIT == 0 and world.clearinghouse.picture_of(account)[0] < first < 0


def test_asset_word__quote_listed_and_unknown__are_token_unit_and_limit(world: World) -> None:
    quote, eth = int(world.quote.address, 16), int(world.tokens["ETH"].address, 16)
    btc = int(world.tokens["BTC"].address, 16)
    assert world.clearinghouse.asset_word(0) == quote | 10**12 << 160
    assert world.clearinghouse.asset_word(ETH) == eth | 1 << 160 | 100 << 232
    assert world.clearinghouse.asset_word(BTC) == btc | 10**10 << 160 | 100 << 232
    for unknown in (3, 255, 256, 2**255):
        assert world.clearinghouse.asset_word(unknown) == 0


def test_views__accounts_that_cannot_be__answer_nothing(world: World) -> None:
    world.deposit(world.account(), QUOTE, 1)
    house, alias = world.clearinghouse, world.account() + 2**168
    assert house.account_word(alias) == house.listed_word(alias) == house.picture_of(alias)[0] == 0
    assert world.mandates.permissions_of(alias, world.owner) == 0
    assert tuple(house.assess(alias)) == (0, 0, 0, 0)


def test_call_state__between_transactions__is_idle(world: World) -> None:
    """I42: after each kind of call, refused ones included."""
    account = world.open_account(leverage=3)
    world.clearinghouse.batch([], sender=world.owner)
    assert world.clearinghouse.call_state() == 0
    world.enrol(account, trigger_bps=12_900)
    with reverts("margin: initial margin short"):
        world.borrow(account, 10**11)
    world.mandates.rebalance(account, sender=world.keeper)
    assert world.clearinghouse.call_state() == 0


def test_views__dead_oracle__words_are_still_told(world: World) -> None:
    account = world.open_account(leverage=2)
    silence_oracle(world)
    world.chain.advance(10 * 86_400)
    assert world.clearinghouse.position_word(account, ETH) == 10**19
    assert world.clearinghouse.picture_of(account)[0] < -10_000 * WAD
    assert world.clearinghouse.assess(account)[2] > 0


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("open_mandate", (1,)),
        ("latch", (1,)),
        ("mandate_transfer", (1, 2, 0, 1)),
        ("mandate_swap", (1, ZERO, 1, 0, 1, 0, 100)),
        ("mandate_pull", (1, 1)),
        ("close_mandate", ()),
        ("take", (1, 2, [(1, 0, 0, 0, 0, 0)])),
        ("pay", (1, 2, 0)),
        ("move_debt", (1, 2, 0)),
    ],
)
def test_mandate_and_liquidator_entries__anyone_else__is_refused(
    world: World, function: str, arguments: tuple[object, ...]
) -> None:
    """T37, I25: the mandates contract or the liquidator alone, whoever asks."""
    entry = world.clearinghouse.function(function)
    for who in (world.owner, world.governor, world.keeper, world.attacker):
        with reverts("clearinghouse: not yours to call"):
            entry(*arguments, sender=who)


def test_listing_entries__anyone_else__is_refused(world: World) -> None:
    """T37: even the governor goes through the room that checks."""
    for who in (world.owner, world.governor, world.attacker):
        with reverts("clearinghouse: not yours to call"):
            world.clearinghouse.set_asset(1, 0, 0, sender=who)
        with reverts("exchange: only listings"):
            world.system.exchange.set_adapter(world.venue, False, sender=who)


def test_entries__ether_or_unknown_selector__are_refused(world: World) -> None:
    """T40: no fallback, nothing payable, so ether only comes by force and counts for nothing."""
    house = world.clearinghouse
    for data in (b"", b"\x12\x34\x56\x78", b"\x00"):
        for value in (0, 1):
            with reverts(""):
                world.chain.send_raw(house.address, data, world.owner, value=value)
    for name, arguments in (("repay", (1, 1)), ("batch", ([],)), ("open_mandate", (1,))):
        with reverts(""):
            house.function(name)(*arguments, sender=world.owner, value=1)
    world.chain.set_balance(house.address, 10**18)
    world.deposit(world.account(), QUOTE, 5)
    assert house.account_word(world.account()) == 5 * UNIT
