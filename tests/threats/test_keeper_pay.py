"""T56 to T58: whoever is paid for rebalancing tries to be paid for nothing, or too much.

The pay is a part of the gap that was closed, so the way to more of it would be to open the gap
oneself, to close it in crumbs, to close it again and again, or to be paid by somebody else's tank.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from ballast.chain import Reverted
from ballast.model.margin import BPS
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.support.hooks import UNLIMITED_BUDGET, deploy_hook, hand_over, must
from tests.support.world import QUOTE, WAD, World

TANK = 9
PAY_BPS, GAP_PER_PAY, CAP = 200, 5, 20 * WAD
TANK_DOLLARS = 1_000


def paying(world: World, **bounds: int) -> int:
    """An account at 3x whose tank pays up to 2% of what is closed, once a flag is two minutes
    old."""
    account, tank = world.open_account(leverage=3), world.account(TANK)
    world.deposit(tank, QUOTE, world.units(QUOTE, TANK_DOLLARS))
    world.make_donor(tank, floor_bps=10_000)
    terms = {"payer": TANK, "pay_bps": PAY_BPS, "pay_cap": CAP, "gap_per_pay": GAP_PER_PAY}
    world.bound(account, **{**terms, **bounds})
    world.enrol(account, trigger_bps=12_000)
    return account


def cash(world: World, account: int) -> int:
    return int(world.clearinghouse.account_word(account)) % 2**128


def paid(world: World, receipt: Any) -> int:
    """WAD."""
    events = world.mandates.events(receipt, "KeeperPaid")
    return sum(event.args.amount for event in events) * int(world.unit_wad(QUOTE))


@pytest.mark.parametrize("seed", range(12))
def test_pay__keeper_does_as_he_likes_on_any_prices__is_paid_for_gaps_that_prices_opened(
    world: World, seed: int, record_property: Any
) -> None:
    """T56, T57: he flags, pokes, waits, gives crumbs away and rebalances in any order. Each pay is
    at most a part of what that call closed, and all of them of what prices and time opened."""
    rng, account, keeper = random.Random(seed), paying(world), world.keeper
    world.fund(keeper, QUOTE, world.units(QUOTE, 10**4))
    world.quote.approve(world.clearinghouse, 2**255, sender=keeper)
    own = world.account(0, keeper)
    gave = took = 0
    met: Counter[str] = Counter()
    for _ in range(80):
        act = rng.choice(("price", "wait", "flag", "poke", "crumb", "rebalance", "rebalance"))
        if act == "price":
            world.set_price("ETH", world.price_wad("ETH") * rng.randint(980, 1_015) // 10**21)
        elif act == "wait":
            world.chain.advance(rng.choice((12, 60, 300)))
        elif act == "flag":
            world.system.liquidator.flag(account, sender=keeper)
        elif act == "poke":
            world.system.poke(keeper, ["ETH"])
        elif act == "crumb":
            world.clearinghouse.repay(account, 1, sender=keeper)
            gave += world.unit_wad(QUOTE)
        else:
            gap = world.rebalancer.plan(account).shortfall
            try:
                receipt = world.mandates.rebalance(account, sender=keeper)
            except Reverted as error:
                met[error.reason] += 1
                continue
            amount = paid(world, receipt)
            met["paid" if amount else "not paid"] += 1
            assert amount <= min(CAP, gap // GAP_PER_PAY, gap * PAY_BPS // BPS)
            took += amount
        # I17: nothing is left to be paid for right after it was.
        if act == "rebalance":
            with reverts():
                world.mandates.rebalance(account, sender=keeper)
    assert cash(world, own) == took
    assert cash(world, world.account(TANK)) == TANK_DOLLARS * WAD - took
    record_property("told", f"took {took / WAD:.2f}, gave {gave / WAD:.6f}, {dict(met)}")


def test_pay__closing_in_crumbs__earns_no_more_than_at_once(world: World) -> None:
    """A maximum step cuts the need into many; the parts are those of the whole."""
    whole, pieces = [], []
    for max_step, amounts in ((0, whole), (150 * WAD, pieces)):
        with world.isolated():
            account = paying(world, max_step=max_step)
            world.borrow(account, 900 * 10**6)
            world.system.liquidator.flag(account, sender=world.keeper)
            world.chain.advance(120)
            for _ in range(40):
                try:
                    receipt = world.mandates.rebalance(account, sender=world.keeper)
                except Reverted:
                    break
                amounts.append(paid(world, receipt))
                world.chain.advance(12)
    assert len(whole) == 1 and len(pieces) > 3
    assert whole[0] > 0
    # The flag is older than the second step: only the first is paid for its age.
    assert sum(pieces) <= whole[0]


def test_pay__out_of_a_strangers_tank__is_refused(world: World) -> None:
    """T57: a hook of one's own on an account of one's own pays oneself out of one's own pocket."""
    paying(world)
    hook, own = deploy_hook(world), world.account(0, world.attacker)
    world.deposit(own, QUOTE, world.units(QUOTE, 10))
    hand_over(world, own, hook, budget=UNLIMITED_BUDGET)
    for payer in (
        world.account(TANK),
        world.account(0),
        world.system.house,
        world.system.insurance,
    ):
        hook.set_script([must(world.mandates, "pay", payer, 1)], sender=world.attacker)
        with reverts("mandates: not a donor"):
            world.mandates.rebalance(own, sender=world.attacker)


def test_pay__hook_of_ones_own__ends_with_the_lifetime_of_the_budget(world: World) -> None:
    """T58, A8: whatever it pays, siblings cannot multiply it."""
    hook = deploy_hook(world)
    accounts = [world.account(sub) for sub in range(4)]
    for account in accounts:
        world.deposit(account, QUOTE, world.units(QUOTE, 1_000))
        hand_over(world, account, hook, budget=(30 * WAD, 2**32 - 1, 30 * WAD))
    keeper = world.account(0, world.keeper)
    for _ in range(3):
        for account in accounts:
            hook.set_script(
                [must(world.mandates, "pay", account, 10 * 10**6)], sender=world.attacker
            )
            if cash(world, keeper) == 30 * WAD:
                with reverts("budgets: loss above budget"):
                    world.mandates.rebalance(account, sender=world.keeper)
            else:
                receipt = world.mandates.rebalance(account, sender=world.keeper)
                assert args_of(world.mandates, receipt, "Rebalanced").loss == 10 * WAD
    assert cash(world, keeper) == 30 * WAD
