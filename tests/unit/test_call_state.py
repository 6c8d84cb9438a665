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
WITHDRAW, SWAP, DEPOSIT = 2, 5, 1


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
