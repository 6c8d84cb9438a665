"""Whoever calls for a rebalance, when, with how much gas and around which trades of his own.

Threats T24, T55, T58, T61 and T63; T54 is in `test_sandwich.py`.
"""

from __future__ import annotations

import pytest

from ballast.chain import Reverted
from tests.clearing_kit import excess_init
from tests.conftest import reverts
from tests.support.world import QUOTE, World
from tests.threats.kit import equity

ETH = 10**18


def _short(world: World, *, slippage_bps: int = 100) -> int:
    """An account at 2,000 that the price of 1,500 takes below its trigger."""
    account = world.open_account(leverage=2, equity=50_000)
    world.enrol(account, slippage_bps=slippage_bps)
    world.set_price("ETH", 1_500)
    return account


# ---- T24: gas


def test_rebalance__every_gas_limit__reverts_or_same_result(world: World) -> None:
    """T24: too little gas never makes a sale look refused or a price look dead."""
    account = _short(world)
    with world.isolated():
        receipt = world.mandates.rebalance(account, sender=world.keeper)
        full = receipt.gas_used
        expected = world.clearinghouse.position_word(account, 1)
    succeeded = 0
    for gas in [*range(30_000, 7_500_000, 75_000), 16_000_000]:
        with world.isolated():
            try:
                world.mandates.rebalance(account, sender=world.keeper, gas=gas)
            except Reverted:
                continue
            succeeded += 1
            assert world.clearinghouse.position_word(account, 1) == expected
    assert succeeded > 3
    assert full < 1_000_000


@pytest.mark.parametrize("is_dead", [False, True])
def test_withdraw__every_gas_limit__reverts_or_same_result(world: World, is_dead: bool) -> None:
    """T24: nor does it make a dead feed look alive or a live one dead."""
    account = world.open_account(leverage=2, mix={"ETH": 1, "BTC": 1})
    if is_dead:
        world.feeds["BTC"].set_answer(0, sender=world.governor)
        world.chain.mine()
    results = set()
    for gas in range(30_000, 600_000, 5_000):
        with world.isolated():
            try:
                world.clearinghouse.withdraw(
                    account, 1, ETH // 100, world.owner, sender=world.owner, gas=gas
                )
            except Reverted as error:
                is_price = error.reason == "margin: price not usable"
                assert error.halt or is_price or error.reason in ("", "oracle: gas too low")
                results.add("refused" if is_price else "gas")
                continue
            results.add("done")
    assert results == ({"gas", "refused"} if is_dead else {"gas", "done"})


# ---- T55: the caller chooses nothing


def test_rebalance__any_caller_and_moment_in_the_block__same_outcome(world: World) -> None:
    """T55: amounts and venue come from policy and prices alone."""
    account = _short(world)
    words = set()
    for caller in (world.keeper, world.owner, world.attacker, world.stranger, world.governor):
        with world.isolated(), world.chain.one_block():
            world.mandates.rebalance(account, sender=caller)
            words.add(
                (
                    world.clearinghouse.position_word(account, 1),
                    world.clearinghouse.account_word(account),
                )
            )
    assert len(words) == 1


def test_rebalance__again_and_again__second_is_refused(world: World) -> None:
    """T55, I17: a cured account is left alone, in the same block and later."""
    account = _short(world)
    world.mandates.rebalance(account, sender=world.attacker)
    held = world.clearinghouse.position_word(account, 1)
    for _ in range(5):
        with reverts("rebalancer: trigger not met"):
            world.mandates.rebalance(account, sender=world.attacker)
        world.wait(300)
    assert world.clearinghouse.position_word(account, 1) == held


def test_rebalance__any_caller__takes_nothing_home(world: World) -> None:
    """T58: the account pays the venue and no caller, so a call cannot drain it."""
    account = _short(world)
    before = excess_init(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert excess_init(world, account) > before
    for token in world.tokens.values():
        assert token.balanceOf(world.keeper) == 0


# ---- T61: siblings that give to each other


def test_rebalance__three_siblings_donate_in_a_ring__ends(world: World) -> None:
    """T61: in every round each account is called for; value is conserved and the calls run out."""
    accounts = [world.open_account(leverage="2.4", sub=sub) for sub in range(3)]
    world.deposit(accounts[2], QUOTE, 3_000 * 10**6)
    for sub, account in enumerate(accounts):
        donors = [other for other in range(3) if other != sub]
        world.enrol(account, trigger_bps=11_000, target_bps=13_000, floor_bps=13_000, donors=donors)
    world.set_price("ETH", 1_900)
    total = sum(equity(world, account) for account in accounts)
    calls = 0
    for _ in range(8):
        acted = 0
        for account in accounts:
            try:
                world.mandates.rebalance(account, sender=world.attacker)
            except Reverted:
                continue
            acted += 1
        calls += acted
        if acted == 0:
            break
        world.chain.mine()
    assert acted == 0
    assert 0 < calls <= 6
    lost = total - sum(equity(world, account) for account in accounts)
    assert 0 <= lost < total // 50


def test_set_guard__donor_below_its_own_target__refused(world: World) -> None:
    """T61: where one's gift would be the other's trigger, the guard is not accepted at all."""
    account = world.open_account(leverage="2.4")
    with reverts("guards: field out of range"):
        world.enrol(account, target_bps=13_000, floor_bps=12_999)
    world.enrol(account, target_bps=13_000, floor_bps=13_000)
    assert world.mandates.guard_of(account).floor_bps == 13_000


# ---- T63: orders of transactions


def test_set_guard__looser__waits_and_can_be_withdrawn(world: World) -> None:
    """T63: looser waits an hour, tighter and none at all are immediate and withdraw what waits."""
    account = world.open_account(leverage=2)
    world.enrol(account, slippage_bps=50)
    house, hook = world.mandates, world.rebalancer
    house.set_guard(account, hook, (13_000, 300, 100, 0, 0, 0), sender=world.owner)
    assert house.guard_of(account).slippage_bps == 50
    with reverts("mandates: nothing to apply yet"):
        house.apply_guard(account, sender=world.attacker)
    house.set_guard(account, hook, (13_000, 300, 40, 0, 0, 0), sender=world.owner)
    assert house.guard_of(account).slippage_bps == 40
    world.wait(4_000)
    with reverts("mandates: nothing to apply yet"):
        house.apply_guard(account, sender=world.attacker)


def test_set_guard__other_hook__waits(world: World) -> None:
    """T63: a stolen signature cannot put in a hook and use it in one transaction."""
    account = world.open_account(leverage=2)
    world.enrol(account)
    hook = world.chain.deploy("EvilHook", sender=world.attacker)
    guard = (13_000, 300, 100, 0, 0, 0)
    world.mandates.set_guard(account, hook, guard, sender=world.owner)
    assert world.mandates.hook_of(account) == world.rebalancer.address
    world.wait(3_600)
    world.mandates.apply_guard(account, sender=world.keeper)
    assert world.mandates.hook_of(account) == hook.address


@pytest.mark.parametrize("is_first", [False, True])
def test_rebalance__owner_tightens_around_it__either_order_within_the_guard_in_force(
    world: World, is_first: bool
) -> None:
    """T63: a rebalance obeys the guard of its moment, whichever transaction comes first."""
    account = _short(world)
    world.set_venue_price("ETH", world.price_wad("ETH") * 9_920 // 10_000, fee_ppm=0)
    tight = (13_000, 300, 50, 0, 0, 0)
    with world.chain.one_block():
        if is_first:
            world.mandates.set_guard(account, world.rebalancer, tight, sender=world.owner)
            with reverts("rebalancer: every step refused"):
                world.mandates.rebalance(account, sender=world.keeper)
        else:
            world.mandates.rebalance(account, sender=world.keeper)
            world.mandates.set_guard(account, world.rebalancer, tight, sender=world.owner)
    assert world.mandates.guard_of(account).slippage_bps == 50
