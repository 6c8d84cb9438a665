"""The margin test on its very edges: a WAD more or less, and prices that must not count.

Most amounts are whole units of a quote token with six decimals, so a little of an asset whose token
has eighteen makes the excess what a test wants, to the WAD.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ballast.chain import Contract
from ballast.model.margin import Mark, Position, terms_of
from tests.clearing_kit import UNIT, debt_units, excess_init
from tests.conftest import reverts
from tests.support.world import UNLIMITED, World
from tests.threats.kit import list_token

FINE, DEAD = 201, 202  # assets at one quote token each
SHORT, NOT_USABLE = "margin: initial margin short", "margin: price not usable"


@dataclass(frozen=True)
class Edge:
    """An account with an ether, and two assets whose smallest amounts are worth a WAD."""

    world: World
    account: int
    feeds: dict[int, Contract]

    def put(self, asset: int, part_wad: int) -> None:
        """Deposits the least that adds exactly so much to the excess; nothing below zero."""
        if part_wad < 0:
            return
        mark = Mark.from_words(*self.world.system.oracle.marks([asset]))

        def part(units: int) -> int:
            terms = terms_of(Position(collateral_wad=units), mark)
            return terms.equity_init - terms.required_init

        low, high = 0, 2 * part_wad + 2
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if part(middle) < part_wad else (low, middle)
        units = max(low, 1)
        assert part(units) == part_wad
        self.world.clearinghouse.deposit(self.account, asset, units, sender=self.world.owner)

    def borrow(self, left_wad: int) -> None:
        """Borrows so that so much is left of the excess, without the asset that is dead."""
        free = excess_init(self.world, self.account) - left_wad
        self.put(FINE, -free % UNIT)
        units = (free + UNIT - 1) // UNIT
        self.world.borrow(self.account, units)
        assert debt_units(self.world, self.account) == units


@pytest.fixture
def edge(world: World) -> Iterator[Edge]:
    """The dead asset lives still."""
    account, feeds = world.account(), {}
    world.deposit(account, "ETH", 10**18)
    for asset in (FINE, DEAD):
        token = world.chain.deploy("MockToken", "fine", "FINE", 18, sender=world.governor)
        feeds[asset] = list_token(world, token, asset, price=1)
        token.mint(world.owner, 10**18, sender=world.governor)
        token.approve(world.clearinghouse, UNLIMITED, sender=world.owner)
    yield Edge(world, account, feeds)


@pytest.mark.parametrize(
    ("part_wad", "left_wad", "reason"),
    [
        # No dead asset at all.
        (-1, 0, None),
        (-1, 1, None),
        (-1, -1, SHORT),
        # It would have been enough: a WAD, which does not count.
        (1, -1, NOT_USABLE),
        (7, -1, NOT_USABLE),
        (7, -8, NOT_USABLE),
        # It lends nothing, so it is not to blame.
        (0, -1, SHORT),
        # It is not needed.
        (7, 0, None),
        (0, 0, None),
    ],
)
def test_borrow__excess_to_the_wad__decides(
    edge: Edge, part_wad: int, left_wad: int, reason: str | None
) -> None:
    """I11: what is left is at least zero, without the strength of a price that must not count."""
    before = excess_init(edge.world, edge.account)
    edge.put(DEAD, part_wad)
    lent = excess_init(edge.world, edge.account) - before
    assert lent == max(part_wad, 0)
    edge.feeds[DEAD].set_answer(0, sender=edge.world.governor)
    if reason is None:
        edge.borrow(left_wad + lent)
        assert excess_init(edge.world, edge.account) == left_wad + lent
        return
    with reverts(reason):
        edge.borrow(left_wad + lent)


def test_check__collateral_without_a_perpetual__does_not_pay_for_one(world: World) -> None:
    """Its market is not read and its maintenance margin not computed: 4,200 gas, else 5,700 and on
    a chain, where words are cold, 4,000 more. What is returned is the same either way."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.borrow(account, 10**6)
    before = _gas(world, "check_initial", account)
    world.deposit(account, "BTC", 10**6)
    assert 0 < _gas(world, "check_initial", account) - before < 5_000


def test_assess__collateral_without_a_perpetual__does_not_pay_for_one(world: World) -> None:
    """Nor are cost and market read for the four integers: 2,600 gas, else 3,300 and 4,000 cold."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    before = _gas(world, "assess", account)
    world.deposit(account, "BTC", 10**6)
    assert 0 < _gas(world, "assess", account) - before < 3_000


def _gas(world: World, name: str, account: int) -> int:
    """Of the clearing house's tests of an account: it may be a view, asked for in a transaction."""
    function = getattr(world.clearinghouse, name)
    return int(function.transact(account, sender=world.keeper).gas_used)
