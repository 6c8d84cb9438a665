"""Allocations for tests: how an owner wants an account to be made up, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ballast.chain import Receipt
from ballast.model.allocation import Allocation
from tests.support.world import QUOTE, UNLIMITED, WAD, World

SELL, TRIM, HEDGE, SWAP, BUY, UNHEDGE, LEVER = 4, 6, 7, 9, 10, 11, 12
MAY_TRIM, MAY_HEDGE, MAY_RERISK = 2, 4, 16
TARGET_BPS, BAND_BPS = 11_000, 300


def arguments_of(
    world: World, *, weights: Mapping[str, int] | None = None, **terms: Any
) -> tuple[Any, ...]:
    """An allocation as the contract takes it; `weights` in basis points by name of an asset, the
    other terms as in the model's `Allocation`."""
    *fields, _ = (getattr(Allocation(**terms), f.name) for f in dataclasses.fields(Allocation))
    return (*fields, [(world.asset(name), bps) for name, bps in (weights or {}).items()])


def wish(world: World, account: int, **terms: Any) -> None:
    """Says how an account is to be made up: at once while it has no guard."""
    arguments = arguments_of(world, **terms)
    world.mandates.set_allocation(account, arguments, sender=world.owner_of(account))


def enrol(world: World, account: int, *, actions: int = 0, **terms: Any) -> None:
    """The default hook with a target that margin is above; whatever is listed may be sold."""
    given = {"trigger_bps": 10_500, "target_bps": TARGET_BPS, "band_bps": BAND_BPS, **terms}
    world.enrol(account, actions=actions, **given)


def price_pairs(world: World, paid_ppm: int = 0, fee_ppm: int = 3_000) -> None:
    """The venue trades every pair at the oracle's prices and so much above them, less its fee."""
    for name_in in world.tokens:
        for name_out in world.tokens:
            if name_in != name_out:
                worth = price_of(world, name_in) * WAD * (10**6 + paid_ppm) // 10**6
                world.venue.set_price(
                    world.tokens[name_in],
                    world.tokens[name_out],
                    worth // price_of(world, name_out),
                    fee_ppm,
                    sender=world.governor,
                )


def price_of(world: World, name: str) -> int:
    """WAD; of the quote token 1."""
    return WAD if name == QUOTE else world.price_wad(name)


def fund_house(world: World) -> None:
    """A house that backs positions of millions."""
    units = world.units(QUOTE, 20_000_000)
    world.fund(world.attacker, QUOTE, units)
    world.clearinghouse.deposit(world.system.house, 0, units, sender=world.attacker)
    world.system.perps.refresh(sender=world.keeper)


def trade(world: World, account: int, name: str, size_wad: int) -> None:
    """Opens or closes a perpetual for the owner."""
    limit = UNLIMITED if size_wad > 0 else 0
    world.system.perps.trade(
        account, world.asset(name), size_wad, limit, UNLIMITED, False, sender=world.owner
    )


def rebalance(world: World, account: int) -> Receipt:
    """By anyone."""
    receipt: Receipt = world.mandates.rebalance(account, sender=world.keeper)
    return receipt


def kinds_taken(world: World, receipt: Receipt) -> list[tuple[int, int]]:
    """Kind and asset of each step."""
    events = world.rebalancer.events(receipt, "StepTaken")
    return [(event.args.kind, event.args.asset) for event in events]


def position(world: World, account: int, name: str) -> tuple[int, int]:
    """Collateral and size, WAD units."""
    word = world.clearinghouse.position_word(account, world.asset(name))
    size = word >> 128
    return word & (2**128 - 1), size - (size >> 127 << 128)


def exposure(world: World, account: int, name: str) -> int:
    """p |D|, WAD of the quote token, up."""
    delta = abs(sum(position(world, account, name)))
    return -(-delta * world.price_wad(name) // WAD)


def value(world: World, account: int, name: str) -> int:
    """b p, WAD of the quote token."""
    return position(world, account, name)[0] * world.price_wad(name) // WAD
