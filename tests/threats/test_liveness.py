"""What could keep an account from being rebalanced, or let its guard loosen unseen.

A rebalance that always reverts is a protection that is not there. One means that fails must not
take the others with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from ballast.chain import Contract, Reverted
from ballast.deploy import WAD
from ballast.sandbox import SAMPLING_S
from ballast.venue import deploy_venue, deploy_weth
from tests.conftest import reverts
from tests.support.fixtures import odd_world, shared_world
from tests.support.world import QUOTE, World

GUARD = (13_000, 300, 100, 0, 0, 0)
LOOSE_GUARD = (13_000, 300, 1_000, 0, 0, 0)


@pytest.fixture
def crowded_world() -> Iterator[World]:
    """One collateral more than an account has room for."""
    shared = shared_world(17)
    with shared.isolated():
        yield shared


@pytest.fixture
def blocklist_world() -> Iterator[World]:
    """ETH against a quote token whose issuer can block holders."""
    world = odd_world("BlocklistToken")
    with world.isolated():
        # What follows fits between two points of the oracle's grid.
        world.chain.advance(-world.chain.time % SAMPLING_S)
        world.refresh()
        yield world


def _deposit_value(world: World, account: int, name: str, value: int) -> None:
    units = int(Decimal(value).scaleb(36)) // (world.price_wad(name) * world.unit_wad(name))
    world.deposit(account, name, units)


def _excess(world: World, account: int) -> int:
    equity, required, _, _ = world.clearinghouse.assess(account)
    return int(equity - required)


# ---- means that fail


@pytest.mark.parametrize("wait_s", [1_000, 1_777, 2_554, 3_331, 4_108, 4_885, 5_662, 6_439])
def test_rebalance__cash_of_a_sibling_and_no_budget__is_no_loss(world: World, wait_s: int) -> None:
    """K16, A8: paying a loan down costs nothing, so it needs no budget.

    A debt is rounded up to a token unit and a burn of loan shares rounds down, so a repayment can
    leave a unit more than exact arithmetic would; that unit is no loss worth a refusal.
    """
    account = world.open_account(leverage=3)
    donor = world.account(1)
    world.deposit(donor, QUOTE, world.units(QUOTE, 5_000))
    world.make_donor(donor, floor_bps=13_000)
    world.wait(wait_s)
    world.enrol(account, donors=[1], sales={}, budget_wad=0)
    world.set_price("ETH", 1_750)
    before = _excess(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess(world, account) > before


@pytest.mark.parametrize("wait_s", range(500, 6_500, 500))
def test_rebalance__cash_of_four_siblings_and_the_wallet__is_no_loss(
    world: World, wait_s: int
) -> None:
    """K16, A8: five repayments round five times."""
    account = world.open_account(leverage=3)
    for sub in (1, 2, 3, 4):
        donor = world.account(sub)
        world.deposit(donor, QUOTE, world.units(QUOTE, 10) + 7 * sub + wait_s)
        world.make_donor(donor, floor_bps=13_000)
    world.fund(world.owner, QUOTE, world.units(QUOTE, 30) + 3)
    world.wait(wait_s)
    world.enrol(
        account,
        donors=[1, 2, 3, 4],
        sales={},
        uses_wallet=True,
        wallet_cap_wad=1_000 * WAD,
        budget_wad=0,
    )
    world.set_price("ETH", 1_750)
    before = _excess(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess(world, account) > before


def test_rebalance__donor_named_twice__gives_once(world: World) -> None:
    """T60: a policy that names a donor twice is refused, or works as if it named him once."""
    account = world.open_account(leverage=3)
    donor = world.account(1)
    world.deposit(donor, QUOTE, world.units(QUOTE, 500))
    world.make_donor(donor, floor_bps=13_000)
    world.enrol(account, donors=[1])
    policy = world.rebalancer.policy_of(account)
    twice = policy._replace(donors=[1, 1])
    try:
        world.rebalancer.set_policy(account, twice, sender=world.owner)
    except Reverted as error:
        assert error.reason == "policies: bad donor"
        return
    world.set_price("ETH", 1_750)
    before = _excess(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess(world, account) > before


def test_rebalance__two_donors_and_room_for_one_asset__takes_what_fits(
    crowded_world: World,
) -> None:
    """T48: a list with one free slot takes one new asset; the plan must not stop at the second."""
    world = crowded_world
    account = world.account()
    for name in world.names[:15]:
        _deposit_value(world, account, name, 10_000)
    world.borrow(account, world.units(QUOTE, 102_000))
    for sub, name in ((1, world.names[15]), (2, world.names[16])):
        _deposit_value(world, world.account(sub), name, 3_000)
        world.make_donor(world.account(sub), floor_bps=13_000)
    world.enrol(account, donors=[1, 2], sales={}, trigger_bps=12_500)
    for name in world.names[:3]:
        world.set_price(name, Decimal(world.price_wad(name)).scaleb(-18) * 9 / 10)
    before = _excess(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess(world, account) > before


def test_rebalance__wallet_cannot_pay__sales_go_on(blocklist_world: World) -> None:
    """T15: an issuer who has blocked the owner's wallet blocks his top-ups and nothing else."""
    world = blocklist_world
    account = world.open_account(leverage=3)
    world.fund(world.owner, QUOTE, world.units(QUOTE, 100))
    world.enrol(account, uses_wallet=True, wallet_cap_wad=1_000 * WAD)
    world.set_price("ETH", 1_750)
    world.quote.set_blocked(world.owner, True, sender=world.governor)
    before = _excess(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess(world, account) > before


def test_rebalance__budget_used_up__free_help_goes_on(world: World) -> None:
    """A8, T60: what costs nothing must not wait for a budget that only sales need.

    Whoever makes sales dear until an owner's budget is spent would otherwise switch off the cash of
    his siblings and of his wallet as well.
    """
    account = world.open_account(leverage=3)
    donor = world.account(1)
    world.deposit(donor, QUOTE, world.units(QUOTE, 500))
    world.make_donor(donor, floor_bps=13_000)
    world.enrol(account, donors=[1], budget_wad=WAD)
    world.set_price("ETH", 1_750)
    assert {step.kind for step in world.rebalancer.plan(account).steps} == {1, 4}
    before = _excess(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess(world, account) >= before + 499 * WAD


def test_rebalance__means_that_is_always_refused__cooldown_holds(blocklist_world: World) -> None:
    """T60: a means that is refused each time must not switch the owner's cooldown off.

    The cooldown is what keeps a choppy market from selling again and again. Above initial margin it
    holds after every rebalance that cured what it could.
    """
    world = blocklist_world
    account = world.open_account(leverage=3)
    world.fund(world.owner, QUOTE, world.units(QUOTE, 100))
    world.enrol(
        account,
        trigger_bps=12_900,
        cooldown_s=86_400,
        uses_wallet=True,
        wallet_cap_wad=1_000 * WAD,
    )
    world.quote.set_blocked(world.owner, True, sender=world.governor)
    world.set_price("ETH", 1_990)
    world.mandates.rebalance(account, sender=world.keeper)
    equity, required, _, _ = world.clearinghouse.assess(account)
    assert equity * 1_000 >= required * 1_299
    world.set_price("ETH", 1_975)
    assert _excess(world, account) > 0
    with reverts("rebalancer: cooling down"):
        world.mandates.rebalance(account, sender=world.keeper)


def test_rebalance__every_pool_too_thin__help_of_siblings_stays(wide_world: World) -> None:
    """T60, T48: sales that are refused may not use up the gas of what already helped.

    Eight pools, each too thin for any part of a sale: a refused swap of Uniswap costs more than one
    that works. The cash of four siblings has to arrive all the same.
    """
    world = wide_world
    names = world.names[:8]
    account, donors = world.account(), [world.account(sub) for sub in (1, 2, 3, 4)]
    for name in world.names:
        _deposit_value(world, account, name, 10_000)
    world.borrow(account, world.units(QUOTE, 108_000))
    for donor in donors:
        world.deposit(donor, QUOTE, world.units(QUOTE, 50))
        world.make_donor(donor, floor_bps=13_000)
    for name in world.names:
        world.set_price(name, Decimal(world.price_wad(name)).scaleb(-18) * 98 / 100)
    adapter = _thin_pools(world, names)
    world.enrol(account, trigger_bps=12_500, target_bps=20_000)
    sales = [(world.asset(name), 30, 0) for name in names]
    policy = (12_500, 0, 0, False, [1, 2, 3, 4], sales, adapter, 0, 0)
    world.rebalancer.set_policy(account, policy, sender=world.owner)
    before = _excess(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess(world, account) >= before + 199 * WAD


def _thin_pools(world: World, names: list[str]) -> Contract:
    """An adapter of pools that lose more than a percent on a sale of a thousand dollars."""
    chain, governor = world.chain, world.governor
    tokens = {name: world.tokens[name] for name in names}
    answers = {name: world.price_wad(name) // 10**10 for name in names}
    weth = deploy_weth(chain, governor)
    venue = deploy_venue(chain, weth, world.quote, tokens, answers, sender=governor, depth=100_000)
    adapter = chain.deploy(
        "UniswapV3Adapter", world.system.exchange, venue.factory, governor, sender=governor
    )
    for token in tokens.values():
        adapter.set_fee_tier(token, world.quote, 3_000, sender=governor)
    world.system.allow_adapter(adapter)
    return adapter


# ---- blocked holders


def test_rebalance__other_owner_blocked__this_one_goes_on(blocklist_world: World) -> None:
    """T15: whom the issuer blocked is nobody's business but his own."""
    world = blocklist_world
    account = world.open_account(leverage=3)
    world.open_account(leverage=2, owner=world.other_owner)
    world.enrol(account)
    world.set_price("ETH", 1_750)
    for who in (world.other_owner, world.keeper, world.governor):
        world.quote.set_blocked(who, True, sender=world.governor)
    before = _excess(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess(world, account) > before


def test_withdraw__receiver_blocked__another_receiver_works(blocklist_world: World) -> None:
    """T15: an owner whose wallet is blocked takes his cash out elsewhere."""
    world = blocklist_world
    account, units = world.account(), world.units(QUOTE, 100)
    world.deposit(account, QUOTE, units)
    world.quote.set_blocked(world.owner, True, sender=world.governor)
    with reverts("token: holder is blocked"):
        world.clearinghouse.withdraw(account, 0, units, world.owner, sender=world.owner)
    world.clearinghouse.withdraw(account, 0, units, world.stranger, sender=world.owner)
    assert world.quote.balanceOf(world.stranger) == units


def test_repay__owner_blocked__anyone_else_can_and_sales_repay(blocklist_world: World) -> None:
    """T15, I23: a blocked owner still gets rid of his debt."""
    world = blocklist_world
    account = world.open_account(leverage=2)
    world.fund(world.other_owner, QUOTE, world.units(QUOTE, 100))
    world.quote.set_blocked(world.owner, True, sender=world.governor)
    debt = world.clearinghouse.account_word(account) >> 128
    world.clearinghouse.repay(account, world.units(QUOTE, 100), sender=world.other_owner)
    less = world.clearinghouse.account_word(account) >> 128
    world.clearinghouse.swap(account, world.venue, 1, 0, 10**18, 0, sender=world.owner)
    least = world.clearinghouse.account_word(account) >> 128
    assert debt > less > least


# ---- guards that loosen


def test_set_guard__looser_after_revoking__waits_like_any_loosening(world: World) -> None:
    """T63: whoever gets two signatures of an owner instead of one must not save the hour.

    A looser guard waits so that its owner can notice. Revoking first and setting again would be the
    same loosening at once.
    """
    account = world.account()
    mandates = world.mandates
    mandates.set_guard(account, world.rebalancer, GUARD, sender=world.owner)
    mandates.set_guard(account, world.attacker, LOOSE_GUARD, sender=world.owner)
    assert mandates.hook_of(account) == world.rebalancer.address
    mandates.revoke(account, sender=world.owner)
    mandates.set_guard(account, world.attacker, LOOSE_GUARD, sender=world.owner)
    assert mandates.hook_of(account) != world.attacker
    assert mandates.guard_of(account).slippage_bps != 1_000
