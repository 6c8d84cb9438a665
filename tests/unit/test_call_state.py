"""The state word of the clearing house: busy from an entry's first step to its last, then idle.

On this chain as on any other transient words end with a transaction, so what an entry leaves behind
shows only to a second one in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ballast.chain import Contract
from ballast.deploy import account_id
from tests.clearing_kit import action, debt_units, excess_init
from tests.conftest import reverts
from tests.support.allocations import fund_house
from tests.support.world import QUOTE, UNLIMITED, World
from tests.threats.kit import EXTRA_ID, FAR, list_token, renew

ETH, BTC = 1, 2
WAD = 10**18
SHORT, BUSY = "margin: initial margin short", "clearinghouse: busy"
WITHDRAW, SWAP, DEPOSIT, TRADE = 2, 5, 1, 6
IN_BATCH, IN_MANDATE, IN_TOKEN = 1, 2, 3


@dataclass(frozen=True)
class Owner:
    """A contract with ten ETH and a loan of 1,000 in one account and nothing in another."""

    world: World
    contract: Contract

    @property
    def account(self) -> int:
        return account_id(self.contract.address)

    @property
    def sibling(self) -> int:
        return account_id(self.contract.address, 1)

    def run(self, *calls: tuple[Contract, str, tuple[object, ...]]) -> None:
        """Several calls in one transaction."""
        encoded = [
            (target.address, target.function(name).encode(*arguments))
            for target, name, arguments in calls
        ]
        self.contract.run(encoded, sender=self.world.keeper)


@pytest.fixture
def owner(world: World) -> Owner:
    fund_house(world)
    owner = Owner(world, world.chain.deploy("Caller", sender=world.governor))
    house, eth, quote = world.clearinghouse, world.tokens["ETH"], world.quote
    eth.mint(owner.contract, 100 * WAD, sender=world.governor)
    quote.mint(owner.contract, 10**12, sender=world.governor)
    owner.run(
        (eth, "approve", (house, UNLIMITED)),
        (quote, "approve", (house, UNLIMITED)),
        (house, "deposit", (owner.account, ETH, 10 * WAD)),
        (house, "withdraw", (owner.account, 0, 1_000 * 10**6, owner.contract)),
    )
    renew(world)
    return owner


ENTRIES = {
    "deposit": lambda o: ("deposit", (o.account, ETH, WAD)),
    "withdraw": lambda o: ("withdraw", (o.account, ETH, WAD, o.contract)),
    "repay": lambda o: ("repay", (o.account, 10**6)),
    "transfer": lambda o: ("transfer", (o.account, o.sibling, ETH, WAD)),
    "swap": lambda o: ("swap", (o.account, o.world.venue, ETH, 0, WAD // 10, 0)),
    "batch": lambda o: ("batch", ([action(DEPOSIT, o.account, asset=ETH, amount=WAD)],)),
}


@pytest.mark.parametrize("name", [*ENTRIES, "trade"])
def test_entry__twice_in_a_transaction__finds_the_house_idle(owner: Owner, name: str) -> None:
    """I42"""
    house, perps = owner.world.clearinghouse, owner.world.system.perps
    if name == "trade":
        call = (perps, "trade", (owner.account, ETH, WAD // 10, 2**255, FAR, False))
    else:
        call = (house, *ENTRIES[name](owner))
    # Another entry after it, which needs an idle house too.
    owner.run(call, call, (house, "repay", (owner.account, 1)))


def test_batch__price_falls_while_a_token_moves__marks_are_those_of_the_swap(owner: Owner) -> None:
    """I29: what the swap was judged by is what the loan is judged by."""
    world = owner.world
    token = world.chain.deploy("CallbackToken", sender=world.attacker)
    list_token(world, token)
    token.mint(owner.contract, WAD, sender=world.attacker)
    owner.run((token, "approve", (world.clearinghouse, UNLIMITED)))
    swap = action(SWAP, owner.account, asset=ETH, asset_out=0, amount=WAD // 10, target=world.venue)
    loan = action(WITHDRAW, owner.account, amount=1, target=owner.contract)
    add = action(DEPOSIT, owner.account, asset=EXTRA_ID, amount=1)
    feed = world.feeds["ETH"]
    token.arm(feed, feed.set_answer.encode(10 * 10**8), sender=world.attacker)
    owner.run((world.clearinghouse, "batch", ([swap, loan, add],)))
    assert token.has_succeeded()
    assert excess_init(world, owner.account) < 0


@pytest.mark.parametrize("is_opening", [True, False])
def test_batch__price_falls_after_an_increase__marks_are_those_of_the_trade(
    owner: Owner, is_opening: bool
) -> None:
    """I29: a trade that adds risk fixes the marks of all that its account has, not of its own
    market alone."""
    world, house = owner.world, owner.world.clearinghouse
    token, btc = world.chain.deploy("CallbackToken", sender=world.attacker), world.tokens["BTC"]
    list_token(world, token)
    token.mint(owner.contract, WAD, sender=world.attacker)
    btc.mint(owner.contract, 10**9, sender=world.governor)
    grow = action(TRADE, owner.account, other=FAR, asset=ETH, amount=WAD // 10, min_out=2**255)
    add = action(DEPOSIT, owner.account, asset=EXTRA_ID, amount=1)
    owner.run(
        (token, "approve", (house, UNLIMITED)),
        (btc, "approve", (house, UNLIMITED)),
        (house, "deposit", (owner.account, BTC, btc.balanceOf(owner.contract))),
        (house, "withdraw", (owner.account, 0, 50_000 * 10**6, owner.contract)),
    )
    if not is_opening:
        owner.run((house, "batch", ([grow],)))
    assert (house.position_word(owner.account, ETH) >> 128 == 0) == is_opening
    feed = world.feeds["BTC"]
    token.arm(feed, feed.set_answer.encode(100 * 10**8), sender=world.attacker)
    owner.run((house, "batch", ([grow, add],)))
    assert token.has_succeeded()
    assert excess_init(world, owner.account) < 0


def test_withdraw__price_fell_since_a_batch_of_the_transaction__is_at_the_new_price(
    owner: Owner,
) -> None:
    """I29, I11: marks stay for a whole call and not a step longer."""
    house, feed = owner.world.clearinghouse, owner.world.feeds["ETH"]
    loan = action(WITHDRAW, owner.account, amount=1, target=owner.contract)
    first = (house, "batch", ([loan],))
    last = (house, "withdraw", (owner.account, 0, 1, owner.contract))
    owner.run(first, last)
    with reverts(SHORT):
        owner.run(first, (feed, "set_answer", (10 * 10**8,)), last)


def test_call_state__asked_by_a_token__tells_what_is_under_way(owner: Owner) -> None:
    """I42: 1 in a batch, 3 while an entry of its own or a venue has control."""
    world, house = owner.world, owner.world.clearinghouse
    token = world.chain.deploy("CallbackToken", sender=world.attacker)
    list_token(world, token)
    for who in (owner.contract, world.venue):
        token.mint(who, 100 * WAD, sender=world.attacker)
    world.venue.set_price(world.tokens["ETH"], token, 100 * WAD, 0, sender=world.governor)
    owner.run((token, "approve", (house, UNLIMITED)))
    token.arm(house, house.call_state.encode(), sender=world.attacker)
    buy = action(
        SWAP, owner.account, asset=ETH, asset_out=EXTRA_ID, amount=10**9, target=world.venue
    )
    add = action(DEPOSIT, owner.account, asset=EXTRA_ID, amount=1)

    def seen(name: str, *arguments: object) -> int:
        owner.run((house, name, arguments))
        assert token.has_succeeded()
        return int.from_bytes(token.answer(), "big")

    assert seen("deposit", owner.account, EXTRA_ID, 1) == IN_TOKEN
    assert seen("withdraw", owner.account, EXTRA_ID, 1, owner.contract) == IN_TOKEN
    assert seen("batch", [add]) == IN_BATCH
    assert seen("batch", [buy]) == IN_TOKEN
    assert house.call_state() == 0


def test_batch__purchase_on_credit_beyond_the_margin__is_refused(owner: Owner) -> None:
    """I11"""
    world = owner.world
    assert debt_units(world, owner.account) > 0
    worth = 90_000 * 10**6
    buy = action(SWAP, owner.account, asset=0, asset_out=BTC, amount=worth, target=world.venue)
    with reverts(SHORT):
        owner.run((world.clearinghouse, "batch", ([buy],)))


# ---- a ledger all of whose rooms are one contract


@dataclass(frozen=True)
class Rooms:
    """What the ledger trusts, and the ledger."""

    world: World
    contract: Contract
    ledger: Contract

    def run(self, *names: str) -> None:
        """Several of its entries in one transaction."""
        calls = [
            (self.ledger.address, self.ledger.function(name).encode(*ENTRIES_OF_ROOMS[name]))
            for name in names
        ]
        self.contract.run(calls, sender=self.world.keeper)


@pytest.fixture
def rooms(world: World) -> Rooms:
    contract = world.chain.deploy("Caller", sender=world.governor)
    system = world.system
    ledger = world.chain.deploy(
        *("Clearinghouse", world.quote, system.oracle, system.vault),
        *[contract] * 5,
        world.owner,
        sender=world.governor,
    )
    return Rooms(world, contract, ledger)


ONE, OTHER = 1 << 8, 2 << 8  # accounts of nobody
ENTRIES_OF_ROOMS = {
    "take": (ONE, OTHER, []),
    "pay": (ONE, OTHER, 0),
    "move_debt": (ONE, OTHER, 0),
    "set_market": (ETH, 0),
    "open_mandate": (ONE,),
    "latch": (ONE,),
    "mandate_transfer": (ONE, ONE + 1, ETH, 0),
    "close_mandate": (),
}
WITHOUT = ("take", "pay", "move_debt", "set_market", "open_mandate")


@pytest.mark.parametrize("name", WITHOUT)
def test_room__in_a_mandate__is_refused(rooms: Rooms, name: str) -> None:
    """I42: while a hook is at work nobody is liquidated and no market moves."""
    with reverts(BUSY):
        rooms.run("open_mandate", name)
    if name != "open_mandate":
        rooms.run(name, name)
    rooms.run("open_mandate", "latch", "close_mandate", "open_mandate")


@pytest.mark.parametrize("name", sorted(ENTRIES_OF_ROOMS.keys() - set(WITHOUT)))
def test_mandates__without_a_mandate__are_refused(rooms: Rooms, name: str) -> None:
    """I42: what belongs to a mandate waits for one, whoever asks."""
    for names in ((name,), ("open_mandate", "close_mandate", name)):
        with reverts(BUSY):
            rooms.run(*names)


def test_call_state__in_a_mandate__tells_it(rooms: Rooms) -> None:
    """I42"""
    world, ledger = rooms.world, rooms.ledger
    token = world.chain.deploy("CallbackToken", sender=world.attacker)
    token.arm(ledger, ledger.call_state.encode(), sender=world.attacker)
    calls = [
        (ledger.address, ledger.open_mandate.encode(ONE)),
        (token.address, token.transfer.encode(world.keeper, 0)),
        (ledger.address, ledger.close_mandate.encode()),
    ]
    rooms.contract.run(calls, sender=world.keeper)
    assert int.from_bytes(token.answer(), "big") == IN_MANDATE
    assert ledger.call_state() == 0


def test_latch__price_falls_in_a_mandate__sibling_is_judged_by_the_marks_before(
    rooms: Rooms,
) -> None:
    """I29: a mandate's marks stay for a sibling too, from before it is touched."""
    world, ledger = rooms.world, rooms.ledger
    who, feed = world.other_owner, world.feeds["ETH"]
    account, price = account_id(who), world.price_wad("ETH")
    assert feed.decimals() == 8
    units = price // 2 // world.unit_wad(QUOTE)
    world.fund(who, QUOTE, units)
    world.quote.approve(ledger, UNLIMITED, sender=who)
    ledger.deposit(account, 0, units, sender=who)
    long = (ETH, 0, WAD, price, 0, price)  # one ETH, at what it is worth
    take = ledger.take.encode(ONE, account, [long])
    rooms.contract.run([(ledger.address, take)], sender=world.keeper)
    before, latch, fall, *after = (
        (ledger.address, ledger.open_mandate.encode(account + 1)),
        (ledger.address, ledger.latch.encode(account)),
        (feed.address, feed.set_answer.encode(10 * 10**8)),
        (ledger.address, ledger.mandate_transfer.encode(account, account + 1, 0, 1)),
        (ledger.address, ledger.close_mandate.encode()),
    )
    with reverts(SHORT):
        rooms.contract.run([before, fall, *after], sender=world.keeper)
    rooms.contract.run([before, latch, fall, *after], sender=world.keeper)
    assert ledger.account_word(account + 1) == world.unit_wad(QUOTE)
    assert ledger.assess(account)[0] < 0


def test_pay__months_after_the_last_accrual__tells_the_loan_index_of_now(world: World) -> None:
    """The liquidator reckons with what a loan share is worth at this second."""
    system, account = world.system, world.account(0)
    world.deposit(account, "ETH", WAD)
    world.clearinghouse.withdraw(account, 0, 500 * 10**6, world.owner, sender=world.owner)
    ledger = world.chain.deploy(
        *("Clearinghouse", world.quote, system.oracle, system.vault),
        *[world.stranger] * 4,
        *(world.keeper, world.owner),
        sender=world.governor,
    )
    before = system.vault.debt_index_ray()
    world.chain.set_time(world.chain.time + 90 * 86_400)
    now = ledger.pay(ONE, OTHER, 0, sender=world.keeper).return_value[2]
    assert now == system.vault.debt_index_ray() > before


def test_house__cash_that_is_not_there__is_not_borrowed(rooms: Rooms) -> None:
    """I19: the house never owes."""
    world, ledger = rooms.world, rooms.ledger
    account = account_id(world.owner)
    world.fund(world.owner, QUOTE, 5)
    world.quote.approve(ledger, UNLIMITED, sender=world.owner)
    ledger.deposit(account, 0, 5, sender=world.owner)
    with reverts("ledger: balance too low"):
        ledger.withdraw(account, 0, 6, world.owner, sender=world.owner)
    ledger.withdraw(account, 0, 5, world.owner, sender=world.owner)
    assert ledger.account_word(account) == 0
