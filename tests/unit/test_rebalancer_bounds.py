"""Bounds of a policy: what waits for an hour, what holds a rebalance back, and who is paid."""

from __future__ import annotations

from math import isqrt
from typing import Any

import pytest

from ballast.model.plan import Code, make_plan
from ballast.sandbox import BOUNDS
from tests.clearing_kit import args_of, excess_init
from tests.conftest import reverts
from tests.support import allocations
from tests.support.reading import read_bounds, read_plan, read_scene
from tests.support.world import QUOTE, WAD, ZERO_ADDRESS, AssetSpec, World, build_world

HOUR_S, DAY_S, YEAR_S = 3_600, 86_400, 31_536_000
ENDS = {
    "expires_at": 2**32 - 1,
    "emergency_cooldown_s": 2**16 - 1,
    "max_step": (2**48 - 1) * WAD,
    "gas_cap_gwei": 2**16 - 1,
    "confirms": True,
    "call_s": 2**31 - 1,
    "buffer_bps": 2**16 - 1,
    "horizon_s": 2**24 - 1,
    "payer": 255,
    "pay_bps": 255,
    "pay_cap": (2**40 - 1) * WAD // 100,
    "gap_per_pay": 255,
}
MIDDLE = {
    "expires_at": 2**31,
    "emergency_cooldown_s": 60,
    "max_step": 1_000 * WAD,
    "gas_cap_gwei": 50,
    "confirms": True,
    "call_s": 600,
    "buffer_bps": 20_000,
    "horizon_s": HOUR_S,
    "payer": 9,
    "pay_bps": 30,
    "pay_cap": 50 * WAD,
    "gap_per_pay": 10,
}
LOOSER = {
    "expires_at": (2**31 + 1, 0),
    "emergency_cooldown_s": (59, 0),
    "max_step": (1_001 * WAD, 0),
    "gas_cap_gwei": (51, 0),
    "confirms": (False,),
    "call_s": (599, 0),
    "buffer_bps": (20_001,),
    "horizon_s": (HOUR_S + 1,),
    "payer": (8,),
    "pay_bps": (31,),
    "pay_cap": (50 * WAD + WAD // 100,),
    "gap_per_pay": (9,),
}
TIGHTER = {
    "expires_at": 2**31 - 1,
    "emergency_cooldown_s": 61,
    "max_step": 999 * WAD,
    "gas_cap_gwei": 49,
    "call_s": 601,
    "buffer_bps": 19_999,
    "horizon_s": HOUR_S - 1,
    "pay_bps": 29,
    "pay_cap": 49 * WAD,
    "gap_per_pay": 11,
}


def rebalance(world: World, account: int) -> Any:
    return world.mandates.rebalance(account, sender=world.keeper)


def code(world: World, account: int) -> Code:
    """Of the plan, which is the model's."""
    told = read_plan(world, account)
    scene = read_scene(world, account)
    assert told == make_plan(scene)
    return Code(told.code)


def bounds_of(world: World, account: int) -> dict[str, Any]:
    return dict(zip(BOUNDS, world.rebalancer.bounds_of(account), strict=True))


def sinking(world: World, **terms: Any) -> int:
    """Between initial margin and its trigger, with a hook that sells."""
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900, **terms)
    assert code(world, account) == Code.READY and excess_init(world, account) > 0
    return account


def sunk(world: World, account: int) -> None:
    world.set_price("ETH", 1_700)
    assert excess_init(world, account) < 0


# ---- setting


def test_set_bounds__all_fields__come_back_as_given(world: World) -> None:
    account = world.account()
    receipt = world.bound(account, **ENDS)
    assert bounds_of(world, account) == ENDS
    told = args_of(world.rebalancer, receipt, "BoundsChanged")
    assert told.account == account and told.bounds_word != 0
    assert world.rebalancer.version_of(account) == 1


@pytest.mark.parametrize("name", [name for name in BOUNDS if name != "confirms"])
def test_set_bounds__beyond_the_end_of_a_field__is_refused(world: World, name: str) -> None:
    step = WAD if name == "max_step" else WAD // 100 if name == "pay_cap" else 1
    with reverts("bounds: field out of range"):
        world.bound(world.account(), **{**ENDS, name: ENDS[name] + step})


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_step": WAD - 1},
        {"pay_cap": WAD, "gap_per_pay": 0},
        {"buffer_bps": 1},
        {"horizon_s": 1},
    ],
)
def test_set_bounds__that_contradict_themselves__are_refused(
    world: World, wrong: dict[str, int]
) -> None:
    with reverts("bounds: field out of range"):
        world.bound(world.account(), **wrong)


def test_set_bounds__by_others__is_refused(world: World) -> None:
    values = tuple(0 for _ in BOUNDS)
    for who in (world.attacker, world.keeper, world.governor):
        with reverts("rebalancer: only the owner"):
            world.rebalancer.set_bounds(world.account(), values, sender=who)


@pytest.mark.parametrize("name", TIGHTER)
def test_set_bounds__tighter__hold_at_once(world: World, name: str) -> None:
    account = world.account()
    world.enrol(account)
    _in_force(world, account, MIDDLE)
    tighter = {**MIDDLE, name: TIGHTER[name]}
    world.bound(account, **tighter)
    assert bounds_of(world, account) == tighter


@pytest.mark.parametrize("name", LOOSER)
def test_set_bounds__looser__wait_for_an_hour(world: World, name: str) -> None:
    for value in LOOSER[name]:
        with world.isolated():
            account = world.account()
            world.enrol(account)
            _in_force(world, account, MIDDLE)
            version = world.rebalancer.version_of(account)
            looser = {**MIDDLE, name: value}
            world.bound(account, **looser)
            assert bounds_of(world, account) == MIDDLE
            ready_at = world.rebalancer.announced_policy(account)[2]
            assert ready_at == world.chain.time + HOUR_S
            world.chain.set_time(ready_at - world.chain.block_interval_s - 1)
            with reverts("rebalancer: nothing to apply yet"):
                world.rebalancer.apply_policy(account, sender=world.stranger)
            world.chain.set_time(ready_at)
            world.rebalancer.apply_policy(account, sender=world.stranger)
            assert bounds_of(world, account) == looser
            assert world.rebalancer.version_of(account) == version + 1
            with reverts("rebalancer: nothing to apply yet"):
                world.rebalancer.apply_policy(account, sender=world.stranger)


def _in_force(world: World, account: int, bounds: dict[str, Any]) -> None:
    """Whether they had to wait or not."""
    world.bound(account, **bounds)
    if world.rebalancer.announced_policy(account)[2]:
        world.wait(HOUR_S)
        world.rebalancer.apply_policy(account, sender=world.stranger)
    assert bounds_of(world, account) == bounds


def policy_of(world: World, account: int) -> dict[str, Any]:
    return dict(world.rebalancer.policy_of(account)._asdict())


@pytest.mark.parametrize(
    ("name", "tighter", "looser"),
    [
        ("trigger_bps", 10_499, 10_501),
        ("cooldown_s", 601, 599),
        ("min_step", 11 * WAD, 9 * WAD),
        ("uses_wallet", False, None),
        ("donors", [1], [1, 3]),
        ("sales", [(1, 30, 0)], [(1, 30, 0), (3, 30, 0)]),
        ("actions", 2, 7),
        ("adapter", None, ZERO_ADDRESS[:-1] + "1"),
    ],
)
def test_set_policy__one_field__holds_at_once_if_it_acts_less(
    world: World, name: str, tighter: Any, looser: Any
) -> None:
    account = world.account()
    world.enrol(
        account,
        cooldown_s=600,
        min_step_wad=10 * WAD,
        uses_wallet=True,
        wallet_cap_wad=WAD,
        donors=[1, 2],
        actions=3,
    )
    start = policy_of(world, account)
    for value, is_held in ((looser, False), (tighter, True)):
        if value is None:
            continue
        with world.isolated():
            changed = {**start, name: value}
            world.rebalancer.set_policy(account, tuple(changed.values()), sender=world.owner)
            now = policy_of(world, account)
            assert (now != start) == is_held
            assert bool(world.rebalancer.announced_policy(account)[2]) != is_held
            if not is_held:
                world.wait(HOUR_S)
                world.rebalancer.apply_policy(account, sender=world.stranger)
                assert policy_of(world, account) != start


def test_clear_policy__then_set__waits_like_what_is_looser(world: World) -> None:
    """Or an hour could be had for nothing."""
    account = sinking(world)
    policy = tuple(world.rebalancer.policy_of(account))
    world.rebalancer.clear_policy(account, sender=world.owner)
    assert code(world, account) == Code.NO_POLICY
    world.rebalancer.set_policy(account, (10_000, *policy[1:]), sender=world.owner)
    assert world.rebalancer.policy_of(account).trigger_bps == 0
    assert world.rebalancer.announced_policy(account)[0].trigger_bps == 10_000


def test_set_policy__looser__is_announced_word_by_word(world: World) -> None:
    """Who watches an account sees what is coming: as it will be in force, and when."""
    account = world.account()
    world.enrol(account, trigger_bps=10_200)
    world.bound(account, confirms=True)
    policy = tuple(world.rebalancer.policy_of(account))
    receipt = world.rebalancer.set_policy(account, policy, sender=world.owner)
    assert world.rebalancer.events(receipt, "PolicyAnnounced") == []
    looser = (10_300, *policy[1:])
    receipt = world.rebalancer.set_policy(account, looser, sender=world.owner)
    told = args_of(world.rebalancer, receipt, "PolicyAnnounced")
    assert world.rebalancer.events(receipt, "PolicyChanged") == []
    assert (told.account, told.ready_at) == (account, receipt.time + HOUR_S)
    assert (told.policy_word % 2**16, told.bounds_word) == (10_300, 1 << 112)
    world.wait(HOUR_S)
    receipt = world.rebalancer.apply_policy(account, sender=world.stranger)
    put = args_of(world.rebalancer, receipt, "PolicyChanged")
    assert (put.policy_word, put.sales_word, put.adapter) == (
        told.policy_word,
        told.sales_word,
        told.adapter,
    )


def test_set_policy__tighter_while_a_looser_one_waits__withdraws_it(world: World) -> None:
    """T63."""
    account = world.account()
    world.enrol(account)
    policy = tuple(world.rebalancer.policy_of(account))
    world.bound(account, confirms=True)
    world.bound(account)
    assert world.rebalancer.announced_policy(account)[2]
    world.rebalancer.set_policy(account, (10_200, *policy[1:]), sender=world.owner)
    assert not world.rebalancer.announced_policy(account)[2]
    world.wait(HOUR_S)
    with reverts("rebalancer: nothing to apply yet"):
        world.rebalancer.apply_policy(account, sender=world.stranger)


def test_set_policy__band_not_worth_its_cost__is_refused(world: World) -> None:
    """(target - trigger) 13.51% of what is held, against a sale and a purchase at 30 bp."""
    account = world.account()
    world.enrol(account, trigger_bps=10_000)
    policy = tuple(world.rebalancer.policy_of(account))
    for trigger_bps, is_enough in ((13_000 - 444, False), (13_000 - 445, True)):
        assert ((13_000 - trigger_bps) * 1_351 >= 2 * 30 * 10_000) == is_enough
        wanted = (trigger_bps, *policy[1:])
        if is_enough:
            world.rebalancer.set_policy(account, wanted, sender=world.owner)
        else:
            with reverts("rebalancer: band below its cost"):
                world.rebalancer.set_policy(account, wanted, sender=world.owner)


# ---- what holds a rebalance back


def test_rebalance__expired__is_refused_in_an_emergency_too(world: World) -> None:
    account = sinking(world)
    world.bound(account, expires_at=world.chain.time + 1_000)
    assert code(world, account) == Code.READY
    world.chain.set_time(world.rebalancer.bounds_of(account).expires_at - 1)
    assert code(world, account) != Code.EXPIRED
    world.chain.set_time(world.rebalancer.bounds_of(account).expires_at)
    sunk(world, account)
    assert code(world, account) == Code.EXPIRED
    assert world.rebalancer.plan(account).steps == []
    assert not world.rebalancer.is_triggered(account)
    with reverts("rebalancer: policy expired"):
        rebalance(world, account)


def test_rebalance__confirmation__needs_a_flag_and_a_later_round(world: World) -> None:
    account, flag = sinking(world), world.system.liquidator.flag
    world.bound(account, confirms=True)
    assert code(world, account) == Code.UNCONFIRMED
    world.set_price("ETH", 1_999)
    with reverts("rebalancer: not confirmed yet"):
        rebalance(world, account)
    flag(account, sender=world.keeper)
    assert code(world, account) == Code.UNCONFIRMED
    world.chain.advance(60)
    assert code(world, account) == Code.UNCONFIRMED
    world.set_price("ETH", 1_998)
    assert code(world, account) == Code.READY
    rebalance(world, account)
    # The flag is older than the rebalance now.
    world.borrow(account, 200 * 10**6)
    assert excess_init(world, account) > 0
    assert code(world, account) == Code.UNCONFIRMED
    sunk(world, account)
    assert code(world, account) == Code.READY
    rebalance(world, account)


def test_flag__that_nobody_renewed__confirms_nothing(world: World) -> None:
    account = sinking(world)
    world.bound(account, confirms=True)
    world.borrow(account, 500 * 10**6)
    world.system.liquidator.flag(account, sender=world.keeper)
    world.chain.advance(601)
    world.set_price("ETH", 1_999)
    assert code(world, account) == Code.UNCONFIRMED


def test_rebalance__buffer__is_so_many_deviations_of_all_exposures(world: World) -> None:
    """Predicted margin call: E - R < k sigma sqrt(horizon) sum p |D|."""
    account = world.open_account("2.9", mix={"ETH": 1, "BTC": 1})
    picture = world.mandates.snapshot(account)
    sigma = sum(
        (leg.position % 2**128) * (leg.price_word % 2**96) // WAD * (leg.risk_word >> 208)
        for leg in picture.legs
    )
    root = isqrt(7 * DAY_S * 10**12 // YEAR_S)
    excess = picture.equity_init - picture.required_init
    assert excess > 0
    k_bps = excess * 10_000 * 10**12 // (sigma * root)
    assert 0 < k_bps < 2**16 - 2
    for percent, is_triggered in ((99, False), (101, True)):
        with world.isolated():
            world.bound(account, buffer_bps=k_bps * percent // 100, horizon_s=7 * DAY_S)
            world.enrol(account, trigger_bps=10_100, target_bps=30_000)
            assert (code(world, account) == Code.READY) == is_triggered
    world.bound(account, buffer_bps=k_bps * 101 // 100, horizon_s=7 * DAY_S)
    world.enrol(account, trigger_bps=10_100, target_bps=30_000)
    rebalance(world, account)
    world.chain.mine()
    assert code(world, account) == Code.ABOVE_TRIGGER


def test_rebalance__cap_on_the_price_of_gas_and_gas_is_free__does_not_wait(world: World) -> None:
    """A cap holds back only what is above it; dearer gas is seen on a node, which has a price."""
    account = sinking(world)
    world.bound(account, gas_cap_gwei=1)
    assert code(world, account) == Code.READY
    rebalance(world, account)


# ---- steps


def test_rebalance__maximum_step__is_gone_on_with_up_to_the_target(world: World) -> None:
    account = sinking(world, cooldown_s=10_000)
    needed = world.rebalancer.plan(account).steps[0].value
    step = needed // 3 // WAD * WAD
    world.bound(account, max_step=step)
    values = []
    for _ in range(4):
        assert code(world, account) == Code.READY
        receipt = rebalance(world, account)
        values.append(args_of(world.rebalancer, receipt, "StepTaken").value)
        world.chain.advance(12)
        if code(world, account) == Code.ABOVE_TRIGGER:
            break
    assert len(values) == 4 and max(values) <= step
    assert all(value > step - 2 * WAD for value in values[:3])
    assert code(world, account) == Code.ABOVE_TRIGGER
    equity, required, _, _ = world.clearinghouse.assess(account)
    assert (equity + 4 * world.unit_wad(QUOTE)) * 10_000 >= required * 13_000
    assert world.rebalancer.state_of(account)[1] == 0


def test_rebalance__maximum_step__is_abandoned_once_the_account_recovers(world: World) -> None:
    account = sinking(world)
    world.bound(account, max_step=100 * WAD)
    rebalance(world, account)
    assert world.rebalancer.state_of(account)[1] == world.chain.time
    world.fund(world.owner, QUOTE, 2_000 * 10**6)
    world.clearinghouse.repay(account, 2_000 * 10**6, sender=world.owner)
    assert code(world, account) == Code.ABOVE_TRIGGER
    with reverts("rebalancer: trigger not met"):
        rebalance(world, account)


def test_rebalance__step_left_undone_for_an_hour__has_to_be_triggered_anew(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900, target_bps=14_000)
    needed = world.rebalancer.plan(account)
    assert needed.code == Code.READY
    world.bound(account, max_step=needed.steps[0].value * 9 // 10 // WAD * WAD)
    rebalance(world, account)
    begun = world.rebalancer.state_of(account)[1]
    world.chain.set_time(begun + HOUR_S)
    assert code(world, account) == Code.READY
    world.chain.set_time(begun + HOUR_S + 1)
    assert code(world, account) == Code.ABOVE_TRIGGER


def test_rebalance__budget_ends_before_the_maximum_step__is_not_gone_on_with(world: World) -> None:
    """What the owner would not lose at once is not lost at every block after."""
    account = sinking(world)
    needed = world.rebalancer.plan(account)
    world.bound(account, max_step=needed.steps[0].value // WAD * WAD)
    cost = needed.steps[0].cost // 2
    world.mandates.arm_budget((cost, 86_400, 10 * cost), sender=world.owner)
    assert world.rebalancer.plan(account).uncured > 0
    rebalance(world, account)
    assert world.rebalancer.state_of(account)[1] == 0


@pytest.mark.parametrize(
    ("bounds", "is_emergency"), [({"emergency_cooldown_s": 60}, False), ({"max_step": WAD}, True)]
)
def test_rebalance__budget_ends_it_without_a_maximum_step__is_not_gone_on_with(
    world: World, bounds: dict[str, int], is_emergency: bool
) -> None:
    """As above where there is no maximum, and in an emergency, which knows none."""
    account = sinking(world)
    world.bound(account, **bounds)
    if is_emergency:
        sunk(world, account)
    cost = world.rebalancer.plan(account).steps[0].cost // 10
    world.mandates.arm_budget((cost, 86_400, 10 * cost), sender=world.owner)
    assert world.rebalancer.plan(account).uncured > WAD
    rebalance(world, account)
    assert world.rebalancer.state_of(account)[1] == 0


def test_rebalance__emergency__knows_no_maximum_step(world: World) -> None:
    account = sinking(world)
    world.bound(account, max_step=100 * WAD)
    sunk(world, account)
    rebalance(world, account)
    equity, required, _, _ = world.clearinghouse.assess(account)
    assert equity * 10_000 >= required * 13_000


def test_rebalance__emergency_cooldown__holds_in_an_emergency(world: World) -> None:
    account = sinking(world)
    world.bound(account, emergency_cooldown_s=600)
    rebalance(world, account)
    at = world.rebalancer.last_at(account)
    sunk(world, account)
    assert world.chain.time < at + 600
    assert code(world, account) == Code.COOLING_DOWN
    world.chain.set_time(at + 599)
    assert code(world, account) == Code.COOLING_DOWN
    world.chain.set_time(at + 600)
    assert code(world, account) == Code.READY


# ---- margin calls


def test_rebalance__margin_call__asks_before_it_sells(world: World) -> None:
    account = sinking(world)
    world.bound(account, call_s=600)
    plan = world.rebalancer.plan(account)
    assert (plan.code, plan.steps) == (Code.READY, [])
    assert plan.called == plan.uncured == plan.shortfall
    receipt = rebalance(world, account)
    told = args_of(world.rebalancer, receipt, "MarginCalled")
    assert (told.account, told.deadline) == (account, world.chain.time + 600)
    assert world.rebalancer.state_of(account)[0] == told.deadline
    assert world.rebalancer.events(receipt, "StepTaken") == []
    assert world.rebalancer.last_at(account) == 0
    assert code(world, account) == Code.CALLED
    with reverts("rebalancer: margin call runs"):
        rebalance(world, account)
    world.chain.set_time(told.deadline - 1)
    assert code(world, account) == Code.CALLED
    world.chain.set_time(told.deadline)
    assert code(world, account) == Code.READY
    receipt = rebalance(world, account)
    assert len(world.rebalancer.events(receipt, "StepTaken")) == 1
    assert world.rebalancer.state_of(account)[0] == 0


def test_rebalance__margin_call_amid_the_steps_of_a_maximum__is_made_and_runs(world: World) -> None:
    """An owner who wants to be called from now on is, though something was begun."""
    account = sinking(world)
    world.bound(account, max_step=100 * WAD)
    rebalance(world, account)
    begun = world.rebalancer.state_of(account)[1]
    assert begun == world.chain.time
    world.bound(account, max_step=100 * WAD, call_s=600)
    told = args_of(world.rebalancer, rebalance(world, account), "MarginCalled")
    assert tuple(world.rebalancer.state_of(account)) == (told.deadline, begun, 0)
    assert code(world, account) == Code.CALLED


def test_rebalance__margin_call_that_the_owner_meets__is_over(world: World) -> None:
    account = sinking(world)
    world.bound(account, call_s=600)
    receipt = rebalance(world, account)
    told = args_of(world.rebalancer, receipt, "MarginCalled")
    world.fund(world.owner, QUOTE, told.amount // world.unit_wad(QUOTE) + 1)
    world.clearinghouse.repay(account, told.amount // world.unit_wad(QUOTE) + 1, sender=world.owner)
    assert code(world, account) == Code.ABOVE_TRIGGER


def test_rebalance__margin_call__takes_what_is_free_at_once(world: World) -> None:
    account, donor = world.open_account(leverage=3), world.account(1)
    world.deposit(donor, QUOTE, world.units(QUOTE, 10))
    world.make_donor(donor)
    world.enrol(account, trigger_bps=12_900, donors=[1])
    world.bound(account, call_s=600)
    receipt = rebalance(world, account)
    (step,) = (event.args for event in world.rebalancer.events(receipt, "StepTaken"))
    told = args_of(world.rebalancer, receipt, "MarginCalled")
    assert (step.kind, step.value) == (1, 10 * WAD)
    picture = world.mandates.snapshot(account)
    shortfall = -(-picture.required_init * 13_000 // 10_000) - picture.equity_init
    assert abs(told.amount - shortfall) <= 2 * world.unit_wad(QUOTE)


def test_rebalance__margin_call_runs__takes_what_became_free_and_calls_no_more(
    world: World,
) -> None:
    """The cash that a sibling has got meanwhile; the deadline stays."""
    account, donor = world.open_account(leverage=2), world.account(1)
    world.make_donor(donor, floor_bps=10_000)
    world.enrol(account, trigger_bps=39_000, target_bps=41_000, cooldown_s=0, donors=[1])
    world.bound(account, call_s=3_600)
    deadline = args_of(world.rebalancer, rebalance(world, account), "MarginCalled").deadline
    world.deposit(donor, QUOTE, world.units(QUOTE, 100))
    receipt = rebalance(world, account)
    assert world.rebalancer.events(receipt, "MarginCalled") == []
    assert args_of(world.rebalancer, receipt, "StepTaken").value == 100 * WAD
    assert world.rebalancer.state_of(account)[0] == deadline


def test_rebalance__margin_call_in_an_emergency__sells_at_once(world: World) -> None:
    account = sinking(world)
    world.bound(account, call_s=2**31 - 1)
    sunk(world, account)
    receipt = rebalance(world, account)
    assert len(world.rebalancer.events(receipt, "StepTaken")) == 1
    assert world.rebalancer.events(receipt, "MarginCalled") == []


def test_rebalance__margin_call_of_long_ago__is_made_anew(world: World) -> None:
    account = world.open_account(leverage=2)
    world.enrol(account, trigger_bps=39_000, target_bps=41_000)
    world.bound(account, call_s=600)
    rebalance(world, account)
    deadline = world.rebalancer.state_of(account)[0]
    world.chain.set_time(deadline + DAY_S - 300)
    world.refresh()
    world.chain.set_time(deadline + DAY_S - 1)
    assert world.rebalancer.plan(account).steps != []
    world.chain.set_time(deadline + DAY_S)
    plan = world.rebalancer.plan(account)
    assert plan.code == Code.READY and plan.steps == []
    assert args_of(world.rebalancer, rebalance(world, account), "MarginCalled").deadline > deadline


# ---- pay


@pytest.fixture
def payer(world: World) -> int:
    """Below its trigger, without a hook yet, and beside a tank of 1,000 dollars."""
    account, tank = world.open_account(leverage=3), world.account(9)
    world.deposit(tank, QUOTE, world.units(QUOTE, 1_000))
    world.make_donor(tank, floor_bps=10_000)
    return account


def bound_to_pay(world: World, account: int, **bounds: int) -> None:
    """Its hook pays 200 basis points of what it closes. To pay is looser than not to pay, so the
    bounds come before the policy."""
    terms = {"payer": 9, "pay_bps": 200, "pay_cap": 50 * WAD, "gap_per_pay": 5, **bounds}
    world.bound(account, **terms)
    world.enrol(account, trigger_bps=12_900)


def paid(world: World, receipt: Any) -> int:
    """Token units, 0 where nobody was paid."""
    events = world.mandates.events(receipt, "KeeperPaid")
    return sum(event.args.amount for event in events)


@pytest.mark.parametrize("age_s", [0, 12, 60, 120, 500])
def test_pay__share_of_the_gap__rises_with_the_age_of_the_flag(
    world: World, payer: int, age_s: int
) -> None:
    """Gas is free on this chain: what is left is the share of what was closed."""
    bound_to_pay(world, payer)
    world.system.liquidator.flag(payer, sender=world.stranger)
    flagged_at = world.system.liquidator.flagged_since(payer)[1]
    if age_s:
        world.chain.set_time(flagged_at + age_s)
    before = world.rebalancer.plan(payer)
    receipt = world.mandates.rebalance(payer, sender=world.keeper)
    bounds, closed = read_bounds(world, payer), before.shortfall - before.uncured
    expected = bounds.pay_wad(0, closed, world.chain.time - flagged_at) // world.unit_wad(QUOTE)
    assert abs(paid(world, receipt) - expected) <= expected // 10_000 + 1
    assert (expected > 0) == (world.chain.time > flagged_at)
    keeper = world.account(0, world.keeper)
    assert world.clearinghouse.account_word(keeper) % 2**128 == paid(world, receipt) * 10**12
    assert args_of(world.mandates, receipt, "Rebalanced").loss >= paid(world, receipt) * 10**12


def gap_of(world: World, account: int) -> int:
    return int(world.rebalancer.plan(account).shortfall)


def flagged(world: World, account: int) -> None:
    world.system.liquidator.flag(account, sender=world.stranger)
    world.chain.advance(120)


def test_pay__without_a_flag__is_gas_alone(world: World, payer: int) -> None:
    bound_to_pay(world, payer)
    assert paid(world, rebalance(world, payer)) == 0


def test_pay__where_no_asset_prices_gas__is_the_share_of_the_gap_alone() -> None:
    """Without ether in the ledger nothing says what gas costs; who comes for the gap is paid."""
    world = build_world({"BTC": AssetSpec(8, 30_000)})
    assert world.rebalancer.NATIVE_ASSET() == 0
    account, tank = world.open_account(leverage=3, mix={"BTC": 1}), world.account(9)
    world.deposit(tank, QUOTE, world.units(QUOTE, 1_000))
    world.make_donor(tank, floor_bps=10_000)
    world.set_price("BTC", 28_000)
    bound_to_pay(world, account)
    with world.isolated():
        assert paid(world, rebalance(world, account)) == 0, "without a flag"
    flagged(world, account)
    since = world.system.liquidator.flagged_since(account)[1]
    before = world.rebalancer.plan(account)
    receipt = rebalance(world, account)
    bounds, closed = read_bounds(world, account), before.shortfall - before.uncured
    expected = bounds.pay_wad(0, closed, world.chain.time - since) // world.unit_wad(QUOTE)
    assert expected > 0 and abs(paid(world, receipt) - expected) <= expected // 10_000 + 1


def test_pay__cap_and_least_gap_per_pay__bound_it(world: World, payer: int) -> None:
    """T56, I16."""
    for bounds in ({"pay_cap": WAD // 100}, {"pay_bps": 255, "gap_per_pay": 200}):
        with world.isolated():
            bound_to_pay(world, payer, **bounds)
            flagged(world, payer)
            most = min(WAD // 100 if "pay_cap" in bounds else 10**30, gap_of(world, payer) // 200)
            amount = paid(world, rebalance(world, payer)) * world.unit_wad(QUOTE)
            assert most * 99 // 100 <= amount <= most


@pytest.mark.parametrize("why", ["tank is empty", "tank gives nothing", "account owes"])
def test_pay__payer_that_cannot__stops_nothing(world: World, payer: int, why: str) -> None:
    """Whoever comes for the pay alone stays away; the account is saved all the same."""
    if why == "tank is empty":
        world.clearinghouse.withdraw(
            world.account(9), 0, world.units(QUOTE, 1_000), world.owner, sender=world.owner
        )
    if why == "tank gives nothing":
        world.mandates.revoke(world.account(9), sender=world.owner)
    bound_to_pay(world, payer, payer=0 if why == "account owes" else 9)
    flagged(world, payer)
    receipt = rebalance(world, payer)
    assert paid(world, receipt) == 0
    assert len(world.rebalancer.events(receipt, "StepTaken")) == 1


def test_pay__tank_that_gives_nothing_any_more__is_told(world: World, payer: int) -> None:
    """Who counts on being paid can see who did not pay, and what; of a pay that was made, nothing
    is told but the pay."""
    bound_to_pay(world, payer)
    flagged(world, payer)
    with world.isolated():
        receipt = rebalance(world, payer)
        amount = paid(world, receipt)
        assert amount > 0 and world.rebalancer.events(receipt, "PayFailed") == []
    world.mandates.revoke(world.account(9), sender=world.owner)
    receipt = rebalance(world, payer)
    told = args_of(world.rebalancer, receipt, "PayFailed")
    assert (told.account, told.payer) == (payer, world.account(9))
    assert told.amount == pytest.approx(amount, rel=1e-4)


def test_pay__for_an_allocation__is_none(world: World) -> None:
    """T56: what is paid for is a gap of margin; how an account is made up closes none, flagged or
    not."""
    account, tank = world.open_account(leverage=2), world.account(9)
    world.deposit(tank, QUOTE, world.units(QUOTE, 1_000))
    world.make_donor(tank, floor_bps=10_000)
    allocations.wish(world, account, position_bps=8_000)
    world.bound(account, payer=9, pay_bps=200, pay_cap=50 * WAD, gap_per_pay=5)
    allocations.enrol(world, account)
    flagged(world, account)
    assert world.system.liquidator.flagged_since(account)[1] != 0
    receipt = rebalance(world, account)
    assert len(world.rebalancer.events(receipt, "StepTaken")) == 1
    assert paid(world, receipt) == 0


def test_pay__budget_left_for_the_sale_alone__undoes_the_sale_too(world: World, payer: int) -> None:
    """T58: a pay is a loss like any other, and the budget bounds them together."""
    bound_to_pay(world, payer)
    flagged(world, payer)
    with world.isolated():
        loss = args_of(world.mandates, rebalance(world, payer), "Rebalanced").loss
    world.mandates.arm_budget((loss * 11 // 10, 2**32 - 1, 10**9 * WAD), sender=world.owner)
    with world.isolated():
        rebalance(world, payer)
    world.mandates.arm_budget((loss * 9 // 10, 2**32 - 1, 10**9 * WAD), sender=world.owner)
    with reverts("budgets: loss above budget"):
        rebalance(world, payer)


def test_pay__calls_again_and_again__earn_no_more_than_the_gap_that_opened(
    world: World, payer: int
) -> None:
    """T56, T57: at a flat price the second call finds nothing to close."""
    bound_to_pay(world, payer)
    flagged(world, payer)
    first = paid(world, rebalance(world, payer))
    assert first > 0
    for _ in range(10):
        world.chain.advance(12)
        world.system.liquidator.flag(payer, sender=world.keeper)
        with reverts("rebalancer: trigger not met"):
            rebalance(world, payer)
    assert world.clearinghouse.account_word(world.account(0, world.keeper)) == first * 10**12


def test_pay__age_of_a_flag_from_before_the_last_rebalance__counts_for_nothing(
    world: World, payer: int
) -> None:
    bound_to_pay(world, payer)
    flagged(world, payer)
    assert paid(world, rebalance(world, payer)) > 0
    world.borrow(payer, 400 * 10**6)
    receipt = rebalance(world, payer)
    assert paid(world, receipt) == 0 and world.rebalancer.events(receipt, "StepTaken")
