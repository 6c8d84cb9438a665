"""Views, the entries that only other contracts of the system may use, and the lock."""

from __future__ import annotations

import pytest

from tests.clearing_kit import UNIT, silence_oracle
from tests.conftest import reverts
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
    assert shot.cash == world.clearinghouse.cash_of(account) < 0


def test_words_of__account__are_its_words_in_the_order_of_the_list(world: World) -> None:
    account, house = world.open_account(leverage=2, mix={"BTC": 1, "ETH": 1}), world.clearinghouse
    assert list(house.words_of(account)) == [
        house.account_word(account),
        house.listed_word(account),
        house.position_word(account, BTC),
        house.position_word(account, ETH),
    ]
    assert list(house.words_of(world.account(9))) == [0, 0]


def test_cash_of__debt__is_rounded_up_to_a_unit_and_grows(world: World) -> None:
    account = world.open_account(leverage=2)
    first = world.clearinghouse.cash_of(account)
    world.wait(86_400)
    assert first % UNIT == 0 and world.clearinghouse.cash_of(account) < first < 0


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
    assert house.account_word(alias) == house.listed_word(alias) == house.cash_of(alias) == 0
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
    assert world.clearinghouse.cash_of(account) < -10_000 * WAD
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
    ],
)
def test_mandate_entries__anyone_else__is_refused(
    world: World, function: str, arguments: tuple[object, ...]
) -> None:
    """T37, I25: the mandates contract alone, whoever asks."""
    entry = world.clearinghouse.function(function)
    for who in (world.owner, world.governor, world.keeper, world.attacker):
        with reverts("clearinghouse: only mandates"):
            entry(*arguments, sender=who)


def test_listing_entries__anyone_else__is_refused(world: World) -> None:
    """T37: even the governor goes through the room that checks."""
    for who in (world.owner, world.governor, world.attacker):
        with reverts("clearinghouse: only listings"):
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
