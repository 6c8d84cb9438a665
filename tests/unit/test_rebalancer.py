"""The default hook: policies, why it acts or not, and what it does in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from typing import Any

import pytest

from tests.clearing_kit import args_of, debt_units, excess_init
from tests.conftest import reverts
from tests.support import allocations
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, WAD, ZERO_ADDRESS, World, build_world

ETH, BTC = 1, 2
MOVE_CASH, PULL_CASH, MOVE_COLLATERAL, SELL = 1, 2, 3, 4
READY, NO_POLICY, ABOVE_TRIGGER, COOLING_DOWN, BELOW_MINIMUM, NO_MEANS = range(6)


@dataclass(frozen=True)
class Policy:
    """The fields of a policy in the order of the contract."""

    trigger_bps: int = 12_000
    cooldown_s: int = 600
    min_step: int = 0
    uses_wallet: bool = False
    donors: tuple[int, ...] = ()
    sales: tuple[tuple[int, int, int], ...] = ()
    adapter: Any = ZERO_ADDRESS
    actions: int = 0
    funding_bps: int = 0


def put(world: World, policy: Policy) -> Any:
    return world.rebalancer.set_policy(
        world.account(), astuple(replace(policy, adapter=policy.adapter)), sender=world.owner
    )


def rebalance(world: World, account: int) -> Any:
    return world.mandates.rebalance(account, sender=world.keeper)


def kinds(world: World, account: int) -> list[int]:
    return [step.kind for step in world.rebalancer.plan(account).steps]


def drain(world: World, left: int) -> None:
    """The venue has so many units of the quote token left to pay with."""
    quote, venue = world.quote, world.venue
    venue.set_price(quote, quote, WAD, 0, sender=world.governor)
    venue.swap(quote, quote, quote.balanceOf(venue) - left, 0, world.lender, sender=world.governor)


# ---- policies


def test_set_policy__all_fields__come_back_as_given(world: World) -> None:
    policy = Policy(
        *(65_535, 2**32 - 1, 2**96 - 1, True),
        *((0, 1, 254, 255), ((1, 0, 0), (255, 1_000, 999)), world.venue.address, 31, 1_000),
    )
    receipt = put(world, policy)
    told = world.rebalancer.policy_of(world.account())
    assert (told.trigger_bps, told.cooldown_s, told.min_step, told.uses_wallet) == (
        policy.trigger_bps,
        policy.cooldown_s,
        policy.min_step,
        policy.uses_wallet,
    )
    assert tuple(told.donors) == policy.donors
    assert tuple(tuple(sale) for sale in told.sales) == policy.sales
    assert told.adapter == world.venue.address
    assert (told.actions, told.funding_bps) == (31, 1_000)
    assert world.rebalancer.last_at(world.account()) == 0
    args = args_of(world.rebalancer, receipt, "PolicyChanged")
    assert (args.account, args.adapter) == (world.account(), world.venue.address)
    assert args.sales_word == 1 | (255 | 1_000 << 8 | 999 << 20) << 32


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trigger_bps": 9_999}, "policies: field out of range"),
        ({"trigger_bps": 65_536}, "policies: field out of range"),
        ({"cooldown_s": 2**32}, "policies: field out of range"),
        ({"min_step": 2**96}, "policies: field out of range"),
        ({"actions": 32}, "policies: field out of range"),
        ({"funding_bps": 1_001}, "policies: field out of range"),
        ({"sales": ((1, 30, 0),), "adapter": ZERO_ADDRESS}, "policies: field out of range"),
        ({"donors": (256,)}, "policies: bad donor"),
        ({"donors": (2**255,)}, "policies: bad donor"),
        ({"donors": (1, 2, 1)}, "policies: bad donor"),
        ({"donors": (0, 0)}, "policies: bad donor"),
        ({"sales": ((1, 30, 0), (2, 30, 0), (1, 10, 0)), "adapter": QUOTE}, "policies: bad sale"),
        ({"sales": ((0, 30, 0),), "adapter": QUOTE}, "policies: bad sale"),
        ({"sales": ((256, 30, 0),), "adapter": QUOTE}, "policies: bad sale"),
        ({"sales": ((1, 1_001, 0),), "adapter": QUOTE}, "policies: bad sale"),
        ({"sales": ((1, 30, 1_001),), "adapter": QUOTE}, "policies: bad sale"),
    ],
)
def test_set_policy__field_out_of_range__is_refused(
    world: World, change: dict[str, Any], reason: str
) -> None:
    if change.get("adapter") == QUOTE:
        change = change | {"adapter": world.venue.address}
    policy = replace(Policy(), **change)
    with reverts(reason):
        put(world, policy)
    assert world.rebalancer.policy_of(world.account()).trigger_bps == 0


def test_policy_entries__anyone_but_the_owner__are_refused(world: World) -> None:
    for who in (world.attacker, world.governor, world.keeper):
        with reverts("rebalancer: only the owner"):
            world.rebalancer.set_policy(world.account(), astuple(Policy()), sender=who)
        with reverts("rebalancer: only the owner"):
            world.rebalancer.clear_policy(world.account(), sender=who)
        with reverts("rebalancer: only mandates"):
            world.rebalancer.on_mandate(world.account(), 1, (0, 0, 0, 0, 0, []), sender=who)


def test_plan__impact_named__sells_some_of_each_in_one_step(world: World) -> None:
    """Four slices of each asset, compared with each other, and one swap an asset."""
    account = world.open_account(leverage=3, mix={"ETH": 1, "BTC": 1})
    plans = []
    for impact_bps in (0, 40):
        cost = (30, impact_bps)
        with world.isolated():
            sales = {"ETH": cost, "BTC": cost}
            world.enrol(account, trigger_bps=15_900, target_bps=16_000, sales=sales)
            plans.append(world.rebalancer.plan(account))
            rebalance(world, account)
    flat, sliced = plans
    assert [step.asset for step in flat.steps] == [ETH]
    assert sorted(step.asset for step in sliced.steps) == [ETH, BTC]
    assert flat.uncured == sliced.uncured == 0
    for step in sliced.steps:
        assert 30 * step.value < step.cost * 10_000 < 70 * step.value


def test_clear_policy__then_set_again__keeps_the_time_of_the_last_rebalance(world: World) -> None:
    """A policy written anew does not shorten a cooldown."""
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900, cooldown_s=10_000)
    at = rebalance(world, account).time
    assert world.rebalancer.last_at(account) == at
    world.rebalancer.clear_policy(account, sender=world.owner)
    assert world.rebalancer.policy_of(account).trigger_bps == 0
    assert world.rebalancer.plan(account).code == NO_POLICY
    with reverts("rebalancer: no policy"):
        rebalance(world, account)
    assert world.rebalancer.last_at(account) == at
    put(world, Policy())
    assert world.rebalancer.last_at(account) == at


# ---- when


def test_rebalance__trigger__is_met_just_below_it(world: World) -> None:
    """The keeper's condition is the integer comparison that the contract makes."""
    account = world.open_account(leverage=3)
    equity, required, _, _ = world.clearinghouse.assess(account)
    at_bps = equity * 10_000 // required
    world.enrol(account, trigger_bps=at_bps + 1)
    assert world.rebalancer.plan(account).code == READY
    with world.isolated():
        rebalance(world, account)
        with reverts("rebalancer: trigger not met"):
            rebalance(world, account)
    later = Policy(trigger_bps=at_bps - 500, sales=((ETH, 30, 0),), adapter=world.venue.address)
    put(world, later)
    assert world.rebalancer.plan(account).code == ABOVE_TRIGGER
    with reverts("rebalancer: trigger not met"):
        rebalance(world, account)


def test_rebalance__account_that_owes_nothing__is_left_alone(world: World) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.enrol(account, trigger_bps=65_534, target_bps=65_535)
    assert world.rebalancer.plan(account).code == ABOVE_TRIGGER
    with reverts("rebalancer: trigger not met"):
        rebalance(world, account)


def test_rebalance__cooling_down__waits_unless_below_initial_margin(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_990, cooldown_s=10_000, sales={"ETH": 30})
    rebalance(world, account)
    world.wait(2_000)
    world.borrow(account, 800 * 10**6)
    assert excess_init(world, account) > 0
    assert world.rebalancer.plan(account).code == COOLING_DOWN
    with reverts("rebalancer: cooling down"):
        rebalance(world, account)
    with world.isolated():
        world.wait(10_000)
        world.borrow(account, 3_000 * 10**6)
        rebalance(world, account)
    world.set_price("ETH", 1_500)
    assert excess_init(world, account) < 0
    rebalance(world, account)
    assert world.rebalancer.last_at(account) == world.chain.time


def test_rebalance__twice_in_a_block__is_refused_even_in_an_emergency(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900, sales={"ETH": 30}, slippage_bps=100)
    with world.chain.one_block():
        rebalance(world, account)
        world.feeds["ETH"].set_answer(1_400 * 10**8, sender=world.governor)
        assert excess_init(world, account) < 0
        with reverts("rebalancer: cooling down"):
            rebalance(world, account)


def test_rebalance__below_the_smallest_step__waits_unless_in_an_emergency(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900, min_step_wad=10**6 * WAD)
    assert world.rebalancer.plan(account).code == BELOW_MINIMUM
    with reverts("rebalancer: below minimum step"):
        rebalance(world, account)
    world.set_price("ETH", 1_500)
    rebalance(world, account)


def test_rebalance__nothing_to_do_it_with__says_so(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900, sales={})
    assert world.rebalancer.plan(account).code == NO_MEANS
    with reverts("rebalancer: no means left"):
        rebalance(world, account)


def test_rebalance__stale_price_of_what_it_sells__leaves_no_means(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900)
    world.make_stale("ETH")
    assert world.rebalancer.plan(account).code == NO_MEANS
    with reverts("rebalancer: no means left"):
        rebalance(world, account)
    world.set_price("ETH", 1_900)
    rebalance(world, account)


def test_is_triggered__margin_in_order__is_what_the_allocation_wants(world: World) -> None:
    """Until a sale has done it."""
    account = world.open_account(leverage=2)
    allocations.wish(world, account, position_bps=8_000)
    allocations.enrol(world, account)
    assert world.rebalancer.is_triggered(account)
    assert allocations.kinds_taken(world, rebalance(world, account)) == [(SELL, ETH)]
    world.chain.advance(12)
    assert not world.rebalancer.is_triggered(account)


def test_is_triggered__margin_not_in_order__needs_no_wish_of_the_allocation(world: World) -> None:
    account = world.open_account(leverage=3)
    allocations.wish(world, account, position_bps=65_000)
    world.enrol(account, trigger_bps=12_900)
    assert world.rebalancer.is_triggered(account)
    rebalance(world, account)
    world.chain.advance(12)
    assert not world.rebalancer.is_triggered(account)


# ---- by what means


def test_rebalance__all_means__are_used_cheapest_first(world: World) -> None:
    account, donor = world.open_account(leverage=3), world.account(1)
    world.deposit(donor, QUOTE, 100 * 10**6)
    world.deposit(donor, "BTC", 10**5)
    world.make_donor(donor, floor_bps=10_000)
    world.fund(world.owner, QUOTE, 50 * 10**6)
    world.enrol(
        account, trigger_bps=12_900, uses_wallet=True, wallet_cap_wad=10**6 * WAD, donors=[1]
    )
    world.set_price("ETH", 1_850)
    assert kinds(world, account) == [MOVE_CASH, PULL_CASH, MOVE_COLLATERAL, SELL]
    receipt = rebalance(world, account)
    steps = world.rebalancer.events(receipt, "StepTaken")
    assert [event.args.kind for event in steps] == [1, 2, 3, 4]
    assert world.clearinghouse.account_word(donor) == 0
    assert world.clearinghouse.position_word(donor, BTC) < 10**15, "down to its floor"
    assert world.quote.balanceOf(world.owner) == 0
    equity, required, _, _ = world.clearinghouse.assess(account)
    lost = 4 * 10**12  # a unit of the quote token for each repayment
    assert 13_000 * required <= 10_000 * (equity + lost) <= 13_300 * required


def test_rebalance__donor_with_enough_cash__sells_nothing(world: World) -> None:
    account, donor = world.open_account(leverage=3), world.account(1)
    world.deposit(donor, QUOTE, 10**11)
    world.make_donor(donor)
    world.enrol(account, trigger_bps=12_900, donors=[1])
    world.set_price("ETH", 1_900)
    owed = debt_units(world, account)
    rebalance(world, account)
    equity, required, _, _ = world.clearinghouse.assess(account)
    assert abs(10_000 * equity - 13_000 * required) <= 10_000 * 10**15
    assert debt_units(world, account) < owed
    assert world.clearinghouse.position_word(account, ETH) == 15 * 10**18


def test_rebalance__wallet_without_balance_or_allowance__gives_what_it_can(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900, uses_wallet=True, wallet_cap_wad=10**6 * WAD, sales={})
    world.fund(world.owner, QUOTE, 10**9)
    world.quote.approve(world.clearinghouse, 7, sender=world.owner)
    plan = world.rebalancer.plan(account)
    assert [(step.kind, step.amount) for step in plan.steps] == [(PULL_CASH, 7)]
    world.quote.approve(world.clearinghouse, 0, sender=world.owner)
    assert world.rebalancer.plan(account).code == NO_MEANS


def test_rebalance__venue_that_refuses_one_sale__uses_the_other(world: World) -> None:
    """One venue off its price does not keep the others from helping."""
    account = world.open_account(leverage=3, mix={"ETH": 1, "BTC": 1})
    world.enrol(account, trigger_bps=12_900, sales={"ETH": 1, "BTC": 30})
    world.set_price("BTC", 28_000)
    world.set_venue_price("ETH", 1_900 * WAD)
    assert world.rebalancer.plan(account).steps[0].asset == ETH
    receipt = rebalance(world, account)
    refused = args_of(world.rebalancer, receipt, "StepRefused")
    assert (refused.account, refused.asset) == (account, ETH)
    taken = world.rebalancer.events(receipt, "StepTaken")
    assert {event.args.asset for event in taken} == {BTC}
    equity, required, _, _ = world.clearinghouse.assess(account)
    assert 10_000 * equity >= 13_000 * required
    assert world.rebalancer.last_at(account) == receipt.time, "what was wanted was done"


def test_rebalance__every_sale_refused__fails_and_leaves_no_trace(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900)
    world.set_venue_price("ETH", 1_900 * WAD)
    with reverts("rebalancer: every step refused"):
        rebalance(world, account)
    assert world.rebalancer.last_at(account) == 0


def test_rebalance__gas_too_low_for_a_sale__fails_instead_of_refusing_it(world: World) -> None:
    """T24: no caller starves a sale into looking refused; any amount reverts or does it all."""
    account = world.open_account(leverage=3, mix={"ETH": 1, "BTC": 1})
    world.enrol(account, trigger_bps=12_900, sales={"ETH": 10, "BTC": 30})
    world.set_price("BTC", 28_000)
    outcomes = set()
    for gas in range(5_000_000, 8_000_000, 50_000):
        with world.isolated():
            try:
                world.mandates.rebalance(account, sender=world.keeper, gas=gas)
            except Exception as error:
                assert "refused" not in str(error)
                continue
            position = world.clearinghouse.position_word
            outcomes.add((position(account, ETH), position(account, BTC)))
    assert len(outcomes) == 1


def test_rebalance__venue_that_spends_all_gas__leaves_enough_for_the_rest(
    wide_world: World,
) -> None:
    """What it burns at one sale is missing at the next: that one is refused without being tried,
    and what was free is kept."""
    world = wide_world
    account = world.open_account(leverage=3, mix={"ETH": 1, "BTC": 1, "A03": 1})
    dear = world.chain.deploy("DearVenue", world.venue, 10**7, sender=world.governor)
    world.system.allow_adapter(dear)
    world.enrol(
        account,
        trigger_bps=39_000,
        target_bps=41_000,
        uses_wallet=True,
        wallet_cap_wad=10**6 * WAD,
        sales={"ETH": 10, "BTC": 20, "A03": 30},
        adapter=dear,
    )
    world.fund(world.owner, QUOTE, world.units(QUOTE, 50))
    planned = world.rebalancer.plan(account).steps
    sold = [world.asset(name) for name in ("ETH", "BTC", "A03")]
    assert [step.kind for step in planned] == [PULL_CASH, SELL, SELL, SELL]
    assert [step.asset for step in planned[1:]] == sold
    receipt = rebalance(world, account)
    (taken,) = world.rebalancer.events(receipt, "StepTaken")
    assert (taken.args.kind, taken.args.amount) == (PULL_CASH, world.units(QUOTE, 50))
    refused = [event.args for event in world.rebalancer.events(receipt, "StepRefused")]
    assert [(step.kind, step.asset) for step in refused] == [(SELL, asset) for asset in sold]


@pytest.mark.parametrize("parts", [2, 4])
def test_rebalance__venue_that_pays_for_a_part_only__sells_a_half_or_a_quarter(
    world: World, parts: int
) -> None:
    """What was sold is told to the unit, and what was not as refused; the cooldown waits."""
    account = world.open_account(leverage=3, mix={"BTC": 1})
    terms: dict[str, Any] = {"trigger_bps": 19_000, "target_bps": 20_000, "cooldown_s": 10_000}
    world.enrol(account, sales={"BTC": 30}, **terms)
    (step,) = world.rebalancer.plan(account).steps
    worth = world.venue.quote(world.tokens["BTC"], world.quote, step.amount)
    drain(world, worth * 101 // (100 * parts))
    held = world.clearinghouse.position_word(account, BTC)
    receipt = rebalance(world, account)
    refused = args_of(world.rebalancer, receipt, "StepRefused")
    taken = args_of(world.rebalancer, receipt, "StepTaken")
    assert (refused.kind, refused.asset) == (taken.kind, taken.asset) == (SELL, BTC)
    assert refused.amount == pytest.approx(step.amount, rel=1e-4)
    assert taken.amount == refused.amount // parts
    assert taken.value * parts == pytest.approx(step.value, rel=1e-4)
    assert taken.expected_cost * parts == pytest.approx(step.cost, rel=1e-4)
    sold = held - world.clearinghouse.position_word(account, BTC)
    assert sold == taken.amount * world.unit_wad("BTC")
    assert world.rebalancer.last_at(account) == 0
    assert world.rebalancer.plan(account).code == READY


def test_rebalance__third_sale_in_a_row_refused__starts_no_cooldown(crowded_world: World) -> None:
    """The last plan would have cured all of it; what counts is what came of it."""
    world, names = crowded_world, crowded_world.names[:3]
    account = world.open_account(leverage=3, mix={name: 1 for name in names})
    sales = {name: 10 * rank for rank, name in enumerate(names, start=1)}
    equity, required, _, _ = world.clearinghouse.assess(account)
    at_bps = equity * 10_000 // required
    terms: dict[str, Any] = {"trigger_bps": at_bps + 290, "target_bps": at_bps + 300}
    world.enrol(account, cooldown_s=10_000, sales=sales, **terms)
    for name in names[:2]:
        world.set_venue_price(name, world.price_wad(name) * 9 // 10)
    plan = world.rebalancer.plan(account)
    assert [step.asset for step in plan.steps] == [ETH] and plan.uncured == 0
    drain(world, plan.steps[0].value * 6 // 10 // world.unit_wad(QUOTE))
    receipt = rebalance(world, account)
    refused = [event.args.asset for event in world.rebalancer.events(receipt, "StepRefused")]
    (taken,) = world.rebalancer.events(receipt, "StepTaken")
    assert refused == [world.asset(name) for name in names]
    assert taken.args.asset == world.asset(names[2])
    assert world.rebalancer.last_at(account) == 0
    assert world.rebalancer.plan(account).code == READY


def test_plan__of_any_account__never_reverts(world: World) -> None:
    world.make_stale("ETH", "BTC")
    for account in (0, 1, world.account(), world.account(255), 2**168 - 1, 2**168, 2**256 - 1):
        assert world.rebalancer.plan(account).code == NO_POLICY


def test_rebalance__asset_whose_margin_the_floor_exceeds__is_given_whole(world: World) -> None:
    """At a floor of four times the margin ether holds the donor down, and bitcoin does not."""
    account, donor = world.open_account(leverage=3), world.account(1)
    world.deposit(donor, "BTC", 5 * 10**5)
    world.deposit(donor, "ETH", WAD // 20)
    world.make_donor(donor, floor_bps=40_000)
    world.enrol(account, trigger_bps=12_900, donors=[1], sales={})
    before = [world.clearinghouse.position_word(donor, asset) for asset in (ETH, BTC)]
    ether, bitcoin = world.rebalancer.plan(account).steps
    assert (ether.kind, ether.asset, ether.amount) == (MOVE_COLLATERAL, ETH, WAD // 20)
    assert (bitcoin.kind, bitcoin.asset) == (MOVE_COLLATERAL, BTC)
    receipt = rebalance(world, account)
    assert world.rebalancer.events(receipt, "StepRefused") == []
    after = [world.clearinghouse.position_word(donor, asset) for asset in (ETH, BTC)]
    assert before[0] == WAD // 20 and after[0] == 0
    assert before[1] - after[1] == bitcoin.amount * 10**10
    equity, required, _, _ = world.clearinghouse.assess(donor)
    assert 10_000 * equity >= 40_000 * required


def test_rebalance__donor_that_refuses__is_not_asked_again() -> None:
    """The quote token moves the donor's price while it is pulled, so what was planned for the
    donor is too much. What it could give now is left to it: this call goes on without it."""
    world = build_world(quote_token="CallbackToken")
    account, donor = world.open_account(leverage=3), world.account(1)
    world.deposit(donor, "BTC", 10**6)
    world.borrow(donor, world.units(QUOTE, 100))
    world.make_donor(donor, floor_bps=10_000)
    world.fund(world.owner, QUOTE, world.units(QUOTE, 5))
    world.enrol(
        account, trigger_bps=12_900, uses_wallet=True, wallet_cap_wad=10**6 * WAD, donors=[1]
    )
    assert kinds(world, account) == [PULL_CASH, MOVE_COLLATERAL, SELL]
    feed, lower = world.feeds["BTC"], 29_990 * 10**8
    with world.isolated():
        feed.set_answer(lower, sender=world.governor)
        world.chain.mine()
        assert kinds(world, account) == [PULL_CASH, MOVE_COLLATERAL, SELL]
    script = world.chain.deploy("ScriptedHook", sender=world.governor)
    once = [
        (feed.address, feed.set_answer.encode(lower)),
        (world.quote.address, world.quote.arm.encode(ZERO_ADDRESS, b"")),
    ]
    world.quote.arm(script, script.run.encode(once), sender=world.governor)
    receipt = rebalance(world, account)
    assert feed.latestRoundData()[1] == lower
    refused = args_of(world.rebalancer, receipt, "StepRefused")
    assert (refused.kind, refused.source, refused.asset) == (MOVE_COLLATERAL, donor, BTC)
    taken = [event.args.kind for event in world.rebalancer.events(receipt, "StepTaken")]
    assert taken == [PULL_CASH, SELL, SELL]
    assert world.clearinghouse.position_word(donor, BTC) == 10**6 * world.unit_wad("BTC")


# ---- donors that overlap


@pytest.fixture
def crowded_world() -> Iterator[World]:
    """Seventeen collaterals: one more than an account has room for."""
    shared = shared_world(17)
    with shared.isolated():
        yield shared


def test_rebalance__two_donors_of_new_assets_and_one_free_place__still_acts(
    crowded_world: World,
) -> None:
    """The second new asset has no room any more; that must not undo the rebalance."""
    world, account = crowded_world, crowded_world.account()
    mix = {name: 1 for name in world.names[:15]}
    world.open_account(leverage=3, mix=mix)
    for sub, name in ((1, world.names[15]), (2, world.names[16])):
        world.deposit(world.account(sub), name, world.units(name, 1))
        world.make_donor(world.account(sub))
    world.enrol(account, trigger_bps=20_000, target_bps=21_000, donors=[1, 2])
    assert kinds(world, account)[:2] != [MOVE_COLLATERAL, MOVE_COLLATERAL]
    rebalance(world, account)
    assert world.rebalancer.last_at(account) == world.chain.time


def test_rebalance__two_donors_of_one_asset__stay_within_its_quota_together(world: World) -> None:
    """Beyond its quota collateral counts for nothing where it arrives."""
    account, quota = world.open_account(leverage=3), 2_500 * 10**18
    world.deposit(account, "BTC", 2_499 * 10**8)
    world.borrow(account, 50 * 10**12 // 1_000 * 919 - world.system.vault.total_debt() - 10)
    for sub in (1, 2):
        world.deposit(world.account(sub), "BTC", 10**8)
        world.make_donor(world.account(sub))
    world.enrol(account, trigger_bps=20_000, target_bps=30_000, donors=[1, 2], sales={})
    assert kinds(world, account) == [MOVE_COLLATERAL, MOVE_COLLATERAL]
    rebalance(world, account)
    assert world.clearinghouse.position_word(account, BTC) == quota


def test_set_policy__trigger_not_below_the_target__is_refused(world: World) -> None:
    """With a guard in force; without one there is nothing to compare with."""
    put(world, Policy(trigger_bps=65_535))
    guard = (13_000, 300, 100, 0, 0, 0)
    world.mandates.set_guard(world.account(), world.rebalancer, guard, sender=world.owner)
    for trigger_bps in (13_000, 65_535):
        with reverts("rebalancer: trigger above target"):
            put(world, Policy(trigger_bps=trigger_bps))
    put(world, Policy(trigger_bps=12_999))
    assert world.rebalancer.policy_of(world.account()).trigger_bps == 12_999


def test_set_policy__band_worth_its_cost_to_the_last_digit__is_accepted(world: World) -> None:
    """(target - trigger) 13.51% of what is held, against a sale and a purchase at 13.51%."""
    guard = (40_000, 300, 100, 0, 0, 0)
    world.mandates.set_guard(world.account(), world.rebalancer, guard, sender=world.owner)
    policy = Policy(20_000, sales=((ETH, 1_000, 351),), adapter=world.venue.address)
    assert (40_000 - 20_000) * 1_351 == 2 * (1_000 + 351) * 10_000
    with reverts("rebalancer: band below its cost"):
        put(world, replace(policy, trigger_bps=20_001))
    put(world, policy)
    assert world.rebalancer.policy_of(world.account()).trigger_bps == 20_000
