"""Guards: tighter at once, looser after an hour, in every field."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import pytest

from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.support.world import WAD, ZERO_ADDRESS, World

DELAY_S = 3_600
BAD = "guards: field out of range"


@dataclass(frozen=True)
class Guard:
    """The fields of a guard in the order of the contract."""

    target_bps: int = 13_000
    band_bps: int = 300
    slippage_bps: int = 100
    floor_bps: int = 13_500
    wallet_cap: int = 1_000 * WAD
    wallet_period_s: int = 86_400

    def tuple(self) -> tuple[int, ...]:
        return tuple(asdict(self).values())

    def word(self) -> int:
        return (
            self.target_bps
            | self.band_bps << 16
            | self.slippage_bps << 32
            | self.floor_bps << 48
            | self.wallet_period_s << 64
            | self.wallet_cap << 96
        )


GUARD = Guard()
TIGHTER = {
    "target": replace(GUARD, target_bps=12_999),
    "band": replace(GUARD, band_bps=299),
    "lower target, wider band, same end": replace(GUARD, target_bps=12_900, band_bps=400),
    "slippage": replace(GUARD, slippage_bps=99),
    "floor": replace(GUARD, floor_bps=13_501),
    "no donor": replace(GUARD, floor_bps=0),
    "cap": replace(GUARD, wallet_cap=1_000 * WAD - 1),
    "period": replace(GUARD, wallet_period_s=86_401),
    "no wallet": replace(GUARD, wallet_cap=0, wallet_period_s=0),
    "nothing": GUARD,
}
LOOSER = {
    "target": replace(GUARD, target_bps=13_001),
    "band": replace(GUARD, band_bps=301),
    "end of the band": replace(GUARD, target_bps=12_900, band_bps=401),
    "slippage": replace(GUARD, slippage_bps=101),
    "floor": replace(GUARD, floor_bps=13_499),
    "cap": replace(GUARD, wallet_cap=1_000 * WAD + 1),
    "period": replace(GUARD, wallet_period_s=86_399),
    "one looser among tighter": replace(GUARD, target_bps=11_000, slippage_bps=101),
}


def put(world: World, guard: Guard = GUARD, hook: object = None) -> object:
    return world.mandates.set_guard(
        world.account(), hook or world.rebalancer, guard.tuple(), sender=world.owner
    )


def in_force(world: World) -> Guard:
    return Guard(*world.mandates.guard_of(world.account()))


def test_set_guard__first_one__is_in_force_at_once(world: World) -> None:
    receipt = put(world)
    account, hook = world.account(), world.rebalancer.address
    assert in_force(world) == GUARD
    assert world.mandates.guard_word(account) == GUARD.word()
    assert world.mandates.hook_of(account) == hook
    args = args_of(world.mandates, receipt, "GuardChanged")  # type: ignore[arg-type]
    assert tuple(args) == (account, hook, GUARD.word())


@pytest.mark.parametrize("case", TIGHTER)
def test_set_guard__no_looser_in_any_field__is_in_force_at_once(world: World, case: str) -> None:
    put(world)
    put(world, TIGHTER[case])
    assert in_force(world) == TIGHTER[case]
    assert tuple(world.mandates.announced_guard(world.account())) == (ZERO_ADDRESS, 0, 0)


@pytest.mark.parametrize("case", LOOSER)
def test_set_guard__looser_in_one_field__waits_an_hour(world: World, case: str) -> None:
    put(world)
    account, looser = world.account(), LOOSER[case]
    receipt = put(world, looser)
    ready_at = receipt.time + DELAY_S  # type: ignore[attr-defined]
    assert in_force(world) == GUARD
    args = args_of(world.mandates, receipt, "GuardAnnounced")  # type: ignore[arg-type]
    assert tuple(args) == (account, world.rebalancer.address, looser.word(), ready_at)
    announced = world.mandates.announced_guard(account)
    assert tuple(announced) == (world.rebalancer.address, looser.word(), ready_at)
    world.chain.set_time(ready_at - 13)
    with reverts("mandates: nothing to apply yet"):
        world.mandates.apply_guard.call(account, sender=world.owner)
    world.chain.set_time(ready_at - 12)
    receipt = world.mandates.apply_guard(account, sender=world.keeper)
    assert receipt.time == ready_at
    assert in_force(world) == looser
    assert tuple(world.mandates.announced_guard(account)) == (ZERO_ADDRESS, 0, 0)


def test_set_guard__donor_that_gave_nothing__may_not_give_at_once(world: World) -> None:
    put(world, replace(GUARD, floor_bps=0))
    put(world, replace(GUARD, floor_bps=65_535))
    assert in_force(world).floor_bps == 0


def test_set_guard__wallet_that_was_closed__is_not_open_at_once(world: World) -> None:
    put(world, replace(GUARD, wallet_cap=0, wallet_period_s=0))
    put(world, replace(GUARD, wallet_cap=1, wallet_period_s=2**32 - 1))
    assert in_force(world).wallet_cap == 0


def test_set_guard__another_hook__waits_and_none_does_not(world: World) -> None:
    """A new hook is more room whatever the guard; no hook is less."""
    put(world)
    put(world, hook=world.attacker)
    assert world.mandates.hook_of(world.account()) == world.rebalancer.address
    world.chain.advance(DELAY_S)
    world.mandates.apply_guard(world.account(), sender=world.owner)
    assert world.mandates.hook_of(world.account()) == world.attacker
    put(world, hook=ZERO_ADDRESS)
    assert world.mandates.hook_of(world.account()) == ZERO_ADDRESS
    with reverts("mandates: account has no hook"):
        world.mandates.rebalance(world.account(), sender=world.keeper)
    put(world)
    assert world.mandates.hook_of(world.account()) == ZERO_ADDRESS, "to come back waits"


def test_apply_guard__without_announcement_or_twice__is_refused(world: World) -> None:
    with reverts("mandates: nothing to apply yet"):
        world.mandates.apply_guard(world.account(), sender=world.owner)
    put(world)
    put(world, LOOSER["target"])
    world.chain.advance(DELAY_S)
    world.mandates.apply_guard(world.account(), sender=world.owner)
    with reverts("mandates: nothing to apply yet"):
        world.mandates.apply_guard(world.account(), sender=world.owner)


@pytest.mark.parametrize("way", ["tighter", "revoke"])
def test_set_guard__tighter_or_revoked_meanwhile__withdraws_the_announcement(
    world: World, way: str
) -> None:
    account = world.account()
    put(world)
    put(world, LOOSER["target"])
    if way == "tighter":
        put(world, TIGHTER["slippage"])
    else:
        world.mandates.revoke(account, sender=world.owner)
    world.chain.advance(2 * DELAY_S)
    with reverts("mandates: nothing to apply yet"):
        world.mandates.apply_guard(account, sender=world.attacker)
    expected = TIGHTER["slippage"].word() if way == "tighter" else 0
    assert world.mandates.guard_word(account) == expected


def test_set_guard__announced_again__starts_the_hour_anew(world: World) -> None:
    put(world)
    put(world, LOOSER["target"])
    world.chain.advance(DELAY_S - 100)
    put(world, LOOSER["band"])
    world.chain.advance(200)
    with reverts("mandates: nothing to apply yet"):
        world.mandates.apply_guard(world.account(), sender=world.owner)
    world.chain.advance(DELAY_S)
    world.mandates.apply_guard(world.account(), sender=world.owner)
    assert in_force(world) == LOOSER["band"]


def test_revoke__guard_in_force__is_gone_at_once(world: World) -> None:
    put(world)
    receipt = world.mandates.revoke(world.account(), sender=world.owner)
    assert world.mandates.guard_word(world.account()) == 0
    assert world.mandates.hook_of(world.account()) == ZERO_ADDRESS
    args = args_of(world.mandates, receipt, "GuardChanged")
    assert tuple(args) == (world.account(), ZERO_ADDRESS, 1 << 192)


def test_guard_entries__anyone_but_the_owner__are_refused(world: World) -> None:
    """I25: not the governor, not an operator with every permission."""
    put(world)
    account = world.account()
    world.mandates.set_operator(account, world.attacker, 15, 2**40 - 1, sender=world.owner)
    for who in (world.attacker, world.governor, world.other_owner):
        with reverts("mandates: only the owner"):
            world.mandates.set_guard(account, who, TIGHTER["band"].tuple(), sender=who)
        with reverts("mandates: only the owner"):
            world.mandates.revoke(account, sender=who)
    for alias in (account + 2**168, account + 2**248):
        with reverts(""):
            world.mandates.revoke(alias, sender=world.owner)


@pytest.mark.parametrize(
    "change",
    [
        {"target_bps": 9_999},
        {"target_bps": 0},
        {"target_bps": 65_536},
        {"target_bps": 2**255},
        {"band_bps": 0},
        {"band_bps": 10_001},
        {"slippage_bps": 1_001},
        {"slippage_bps": 2**255},
        {"floor_bps": 9_999},
        {"floor_bps": 1},
        {"floor_bps": 65_536},
        {"wallet_cap": 2**96},
        {"wallet_period_s": 2**32},
        {"wallet_period_s": 0},
    ],
)
def test_set_guard__field_out_of_range__is_refused(world: World, change: dict[str, int]) -> None:
    with reverts(BAD):
        put(world, replace(GUARD, **change))
    assert world.mandates.guard_word(world.account()) == 0


@pytest.mark.parametrize(
    "guard",
    [
        Guard(10_000, 1, 0, 10_000, 0, 0),
        Guard(65_535, 10_000, 1_000, 65_535, 2**96 - 1, 2**32 - 1),
        Guard(10_000, 10_000, 1_000, 0, 1, 1),
    ],
)
def test_set_guard__fields_at_their_ends__come_back_as_given(world: World, guard: Guard) -> None:
    put(world, guard)
    assert in_force(world) == guard
    assert world.mandates.guard_word(world.account()) == guard.word() < 2**192
