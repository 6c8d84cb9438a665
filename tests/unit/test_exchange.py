"""What a swap must bring, to the unit, and who may ask for one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

import pytest

from ballast.chain import Contract
from ballast.model.oracle import Price, Risk
from tests.conftest import reverts
from tests.support.world import ZERO_ADDRESS, World

WAD, BPS = 10**18, 10_000
NO_SWAP = 4
SHORT = "exchange: proceeds below bound"


@dataclass(frozen=True)
class Side:
    """An asset of a swap. `l_e6` is its rate on gross at initial margin."""

    price_wad: int
    unit_wad: int
    limit_bps: int
    l_e6: int = 10**6
    r_maint_e6: int = 0
    l_maint_e6: int = 0
    flags: int = 0
    token: str = ZERO_ADDRESS

    @property
    def words(self) -> tuple[int, int, int]:
        risk = Risk(0, self.l_e6, self.r_maint_e6, self.l_maint_e6, 1, 0, 0)
        price = Price(self.price_wad, self.price_wad).word | self.flags << 192
        return (
            int(self.token, 16) | self.unit_wad << 160 | self.limit_bps << 232,
            price,
            risk.word,
        )

    @property
    def bound_bps(self) -> int:
        return min(self.limit_bps, self.l_e6 // 100)


ETH = Side(2_000 * WAD, 1, 100)
USD = Side(WAD, 10**12, 30)


@dataclass(frozen=True)
class Desk:
    """An exchange that takes one of us for the clearing house, and an adapter that pays at will."""

    world: World
    exchange: Contract
    adapter: Contract

    def swap(self, paid: int, *, sold: Side = ETH, bought: Side = USD, **order: Any) -> Any:
        """Return value of a swap of which the adapter pays so many units."""
        world, given = self.world, {"amount_in": 10**18, "min_out": 0, "slippage_bps": BPS, **order}
        self.adapter.set_payment(paid, sender=world.governor)
        bought = replace(bought, token=world.quote.address)
        terms = (
            *(self.adapter, given["amount_in"], given["min_out"], given["slippage_bps"]),
            *(world.stranger, given.get("absorbed", 0)),
        )
        words = (sold.words, bought.words)
        return self.exchange.swap(terms, *words, sender=world.owner).return_value


@pytest.fixture
def desk(world: World) -> Desk:
    exchange = world.chain.deploy("Exchange", world.owner, world.governor, sender=world.governor)
    adapter = world.chain.deploy("LyingAdapter", world.quote, sender=world.governor)
    world.quote.mint(adapter, 10**15, sender=world.governor)
    # The proceeds are counted where they go.
    assert world.quote.balanceOf(world.owner) == 0
    exchange.set_adapter(adapter, True, sender=world.governor)
    return Desk(world, exchange, adapter)


def least_out(sold: Side, bought: Side, amount_in: int, slippage_bps: int = BPS) -> int:
    """The bound in rational numbers."""
    kept = Fraction(BPS - min(slippage_bps, max(sold.bound_bps, bought.bound_bps)), BPS)
    worth = Fraction(amount_in * sold.unit_wad * sold.price_wad) * kept
    return ceil(worth / (bought.price_wad * bought.unit_wad))


BOUNDS = {
    "limit of what is sold": (ETH, USD, 10**18, BPS),
    "limit of what is bought": (replace(ETH, limit_bps=10), USD, 10**18, BPS),
    "rate on gross": (replace(ETH, l_e6=7_777), USD, 10**18, BPS),
    "own slippage": (ETH, USD, 10**18, 7),
    "no loss at all": (ETH, USD, 10**18, 0),
    "rounded up": (replace(ETH, price_wad=3 * WAD + 1), USD, 10**16 + 7, BPS),
    "unit of what is sold": (replace(ETH, unit_wad=10**10), USD, 10**8, BPS),
    "price of what is bought": (ETH, replace(USD, price_wad=WAD * 99 // 100), 10**18, BPS),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_swap__proceeds__are_at_least_the_bound(desk: Desk, name: str) -> None:
    """I15: to the unit."""
    sold, bought, amount_in, slippage_bps = BOUNDS[name]
    given = {"amount_in": amount_in, "slippage_bps": slippage_bps}
    least = least_out(sold, bought, amount_in, slippage_bps)
    with reverts(SHORT):
        desk.swap(least - 1, sold=sold, bought=bought, **given)
    amount_out, is_absorbed, _ = desk.swap(least, sold=sold, bought=bought, **given)
    assert (amount_out, is_absorbed) == (least, False)
    with reverts(SHORT):
        desk.swap(least, sold=sold, bought=bought, min_out=least + 1, **given)
    assert (
        desk.swap(least + 1, sold=sold, bought=bought, min_out=least + 1, **given)[0] == least + 1
    )


def test_swap__worth_nothing__still_brings_something(desk: Desk) -> None:
    dust = replace(ETH, price_wad=0)
    with reverts(SHORT):
        desk.swap(0, sold=dust)
    assert desk.swap(1, sold=dust)[0] == 1


def test_swap__debt_that_is_sure_to_be_larger__takes_the_proceeds(desk: Desk) -> None:
    """The bound lies below three quarters of what can be taken."""
    quote, least = desk.world.quote, least_out(ETH, USD, 10**18)
    border = -(-least * 4 // 3)
    for absorbed, is_absorbed in ((0, False), (border, False), (border + 2, True)):
        receiver = desk.world.stranger if is_absorbed else desk.world.owner
        before = quote.balanceOf(receiver)
        assert desk.swap(least, absorbed=absorbed)[1] == is_absorbed
        assert quote.balanceOf(receiver) == before + least


@pytest.mark.parametrize(
    ("sold", "is_safe"),
    [
        (replace(ETH, r_maint_e6=4_000, l_maint_e6=6_000), True),
        (replace(ETH, r_maint_e6=4_000, l_maint_e6=5_999), False),
        (replace(ETH, r_maint_e6=3_999, l_maint_e6=6_000), False),
        (replace(ETH, r_maint_e6=0, l_maint_e6=9_999), False),
        (replace(ETH, l_e6=5_000, r_maint_e6=0, l_maint_e6=5_000), True),
    ],
)
def test_swap__requirement_that_is_freed__is_compared_with_the_limit(
    desk: Desk, sold: Side, is_safe: bool
) -> None:
    """I12: a sale lowers neither excess where it frees at least what it may lose."""
    assert desk.swap(10**10, sold=sold)[2] == is_safe


@pytest.mark.parametrize("side", ["sold", "bought"])
def test_swap__price_that_bounds_nothing__is_refused(desk: Desk, side: str) -> None:
    given = {"sold": ETH, "bought": USD}
    given[side] = replace(given[side], flags=NO_SWAP)
    with reverts("exchange: price not usable"):
        desk.swap(10**10, **given)


def test_entries__anyone_else__are_refused(desk: Desk) -> None:
    """I25"""
    world = desk.world
    terms = (desk.adapter, 1, 0, 0, world.stranger, 0)
    for who in (world.attacker, world.governor, world.keeper):
        with reverts("exchange: not the clearinghouse"):
            desk.exchange.swap(terms, ETH.words, USD.words, sender=who)
    for who in (world.attacker, world.owner, world.keeper):
        with reverts("exchange: only listings"):
            desk.exchange.set_adapter(world.venue, True, sender=who)
    assert not desk.exchange.is_adapter(world.venue)


def test_adapter__forbidden_again__swaps_no_more(desk: Desk) -> None:
    assert desk.exchange.is_adapter(desk.adapter)
    desk.exchange.set_adapter(desk.adapter, False, sender=desk.world.governor)
    with reverts("exchange: adapter not allowed"):
        desk.swap(10**10)
