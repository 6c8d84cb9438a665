"""Operators: a mask for one account until a moment, and never the power to appoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from eth_utils.crypto import keccak

from tests.clearing_kit import action, args_of
from tests.conftest import reverts
from tests.support.world import QUOTE, World

ETH = 1
DEPOSIT, WITHDRAW, TRANSFER, SWAP, TRADE, LIQUIDATE = 1, 2, 4, 8, 16, 32
ALL = 63
FAR = 2**40 - 1
REFUSED = "operators: not permitted"
ANY_STATE = bytes(32)

ACTIONS: dict[int, Callable[[World, str], object]] = {
    DEPOSIT: lambda world, who: world.clearinghouse.deposit(world.account(), 2, 1, sender=who),
    WITHDRAW: lambda world, who: world.clearinghouse.withdraw(
        world.account(), ETH, 1, world.owner, sender=who
    ),
    TRANSFER: lambda world, who: world.clearinghouse.transfer(
        world.account(), world.account(1), ETH, 1, sender=who
    ),
    SWAP: lambda world, who: world.clearinghouse.swap(
        world.account(), world.venue, ETH, 0, 10**17, 0, sender=who
    ),
    TRADE: lambda world, who: world.system.perps.trade(
        world.account(), ETH, -(10**17), 0, FAR, False, sender=who
    ),
    LIQUIDATE: lambda world, who: world.system.liquidator.liquidate(
        world.account(0, world.other_owner), world.account(), ANY_STATE, sender=who
    ),
}


@pytest.fixture
def filled(world: World) -> World:
    """The owner's account has a token; the attacker, who will be the operator, has some too; the
    house can back trades; an account of somebody else may be liquidated."""
    world.open_account(leverage=3, mix={"BTC": 1}, owner=world.other_owner, equity=100)
    world.set_price("BTC", 21_400)
    world.fund(world.owner, QUOTE, 10**12)
    world.clearinghouse.deposit(world.system.house, 0, 10**12, sender=world.owner)
    world.system.perps.refresh(sender=world.keeper)
    world.deposit(world.account(), "ETH", 10**18)
    world.fund(world.attacker, "BTC", 10)
    return world


def grant(world: World, permissions: int, expires_at: int = FAR) -> object:
    return world.mandates.set_operator(
        world.account(), world.attacker, permissions, expires_at, sender=world.owner
    )


def test_set_operator__grant__is_stored_and_logged(world: World) -> None:
    receipt = grant(world, 5)
    assert world.mandates.permissions_of(world.account(), world.attacker) == 5
    args = args_of(world.mandates, receipt, "OperatorChanged")  # type: ignore[arg-type]
    assert tuple(args) == (world.account(), world.attacker, 5, FAR)


@pytest.mark.parametrize("permissions", range(ALL + 1))
def test_operator__each_mask__permits_exactly_its_actions(filled: World, permissions: int) -> None:
    """T50, I25: every mask against every action."""
    grant(filled, permissions)
    for permission, act in ACTIONS.items():
        if permissions & permission:
            with filled.isolated():
                act(filled, filled.attacker)
        else:
            with reverts(REFUSED):
                act(filled, filled.attacker)
    assert filled.mandates.permissions_of(filled.account(), filled.attacker) == permissions


def test_operator__sibling_account__is_out_of_reach(filled: World) -> None:
    """I24: one sub-account at a time."""
    grant(filled, ALL)
    filled.clearinghouse.transfer(filled.account(), filled.account(1), ETH, 1, sender=filled.owner)
    with reverts(REFUSED):
        filled.clearinghouse.withdraw(
            filled.account(1), ETH, 1, filled.owner, sender=filled.attacker
        )
    with reverts(REFUSED):
        filled.clearinghouse.transfer(
            filled.account(1), filled.account(), ETH, 1, sender=filled.attacker
        )
    victim = filled.account(0, filled.other_owner)
    with reverts(REFUSED):
        filled.system.liquidator.liquidate(
            victim, filled.account(1), ANY_STATE, sender=filled.attacker
        )


def test_operator__in_a_batch__has_the_same_permissions(filled: World) -> None:
    grant(filled, SWAP)
    with reverts(REFUSED):
        filled.clearinghouse.batch(
            [action(2, filled.account(), asset=ETH, amount=1, target=filled.owner)],
            sender=filled.attacker,
        )
    sale = action(5, filled.account(), asset=ETH, amount=10**17, target=filled.venue)
    filled.clearinghouse.batch([sale], sender=filled.attacker)
    assert filled.clearinghouse.picture_of(filled.account())[0] > 190 * 10**18


def test_operator__expiry__is_the_first_second_without_permission(filled: World) -> None:
    last = filled.chain.time + 1_000
    grant(filled, ALL, last)
    filled.chain.set_time(last - 1)
    assert filled.mandates.permissions_of(filled.account(), filled.attacker) == ALL
    filled.chain.set_time(last)
    assert filled.mandates.permissions_of(filled.account(), filled.attacker) == 0
    for act in ACTIONS.values():
        with reverts(REFUSED):
            act(filled, filled.attacker)


def test_operator__revoked__has_nothing_from_the_same_block_on(filled: World) -> None:
    grant(filled, ALL)
    with filled.chain.one_block():
        receipt = grant(filled, 0, 0)
        with reverts(REFUSED):
            ACTIONS[WITHDRAW](filled, filled.attacker)
    args = args_of(filled.mandates, receipt, "OperatorChanged")  # type: ignore[arg-type]
    assert args.permissions == 0
    assert filled.mandates.permissions_of(filled.account(), filled.attacker) == 0


def test_operator__revoked__leaves_no_word_behind(world: World) -> None:
    """Whoever revokes is refunded for it."""
    grant(world, ALL)
    slot = next(slot for slot in _slots_of_a_grant(world) if _word(world, slot) == ALL | FAR << 8)
    grant(world, 0, 0)
    assert _word(world, slot) == 0


def _slots_of_a_grant(world: World) -> Iterator[int]:
    """For every word at which the map of maps may begin."""
    for begin in range(64):
        keys = (
            world.account().to_bytes(32, "big"),
            bytes.fromhex(world.attacker[2:]).rjust(32, b"\0"),
        )
        slot = begin.to_bytes(32, "big")
        for key in keys:
            slot = keccak(slot + key)
        yield int.from_bytes(slot, "big")


def _word(world: World, slot: int) -> int:
    return world.chain.storage(world.mandates.address, slot)


def test_operator__granted_again__has_the_new_mask_alone(filled: World) -> None:
    grant(filled, ALL)
    grant(filled, DEPOSIT)
    assert filled.mandates.permissions_of(filled.account(), filled.attacker) == DEPOSIT


def test_set_operator__by_anyone_but_the_owner__is_refused(filled: World) -> None:
    """T50: an operator with every permission appoints nobody, not even itself for longer."""
    grant(filled, ALL, filled.chain.time + 1_000)
    for who in (filled.attacker, filled.governor, filled.other_owner):
        for operator in (filled.attacker, filled.stranger):
            with reverts("operators: only the owner"):
                filled.mandates.set_operator(filled.account(), operator, ALL, FAR, sender=who)


@pytest.mark.parametrize(
    ("permissions", "expires_in"),
    [(64, 1_000), (127, 1_000), (2**255, 1_000), (1, 12), (1, 0), (1, -1_000)],
)
def test_set_operator__mask_or_expiry_out_of_range__is_refused(
    world: World, permissions: int, expires_in: int
) -> None:
    """The block of the grant itself, 12 seconds on, is already too early an end."""
    with reverts("operators: bad grant"):
        grant(world, permissions, world.chain.time + expires_in)


def test_set_operator__expiry_of_40_bits__is_the_latest(world: World) -> None:
    for expires_at in (2**40, 2**256 - 1):
        with reverts("operators: bad grant"):
            grant(world, 1, expires_at)
    grant(world, ALL, FAR)
    assert world.mandates.permissions_of(world.account(), world.attacker) == ALL


def test_set_operator__account_beyond_168_bits__is_refused(world: World) -> None:
    for alias in (world.account() + 2**168, world.account() + 2**248):
        with reverts(""):
            world.mandates.set_operator(alias, world.owner, 1, FAR, sender=world.owner)


def test_operator__with_every_permission__cannot_take_money_out(filled: World) -> None:
    """T50: the worst it can do is to send to the owner."""
    grant(filled, ALL)
    filled.fund(filled.owner, QUOTE, 10**9)
    held = {name: filled.tokens[name].balanceOf(filled.attacker) for name in ("ETH", QUOTE)}
    for receiver in (filled.attacker, filled.stranger):
        for asset in (0, ETH):
            with reverts("clearinghouse: bad receiver"):
                filled.clearinghouse.withdraw(
                    filled.account(), asset, 1, receiver, sender=filled.attacker
                )
    with reverts("clearinghouse: not a sibling"):
        filled.clearinghouse.transfer(
            filled.account(), filled.account(0, filled.attacker), ETH, 1, sender=filled.attacker
        )
    assert held == {name: filled.tokens[name].balanceOf(filled.attacker) for name in held}
