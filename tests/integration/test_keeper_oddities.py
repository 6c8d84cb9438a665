"""The keeper among other keepers, hostile hooks, stale prices and odd clocks: K14, K16 to K20, K23;
and what it does for money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ballast.chain import Contract
from ballast.deploy import account_id
from ballast.keeper import Habits, Terms
from ballast.keeper.decisions import (
    FAILED,
    NOT_TRIGGERED,
    PAID_QUARANTINE_S,
    QUARANTINE_S,
    REBALANCED,
    Action,
    Decision,
)
from ballast.keeper.keeper import Keeper
from ballast.keeper.store import State, account_name
from tests.keeper_kit import FALLEN, GWEI, Stage, settle, staged, states, taker_of
from tests.keepers_kit import ANSWERS, BURNS, REVERTS
from tests.support.hooks import UNLIMITED_BUDGET, hand_over
from tests.support.world import QUOTE, WAD, World

ALTRUISTIC = Terms(is_altruistic=True, max_capital_wad=10**6 * WAD)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One node for all; what a test does on it is undone."""
    with staged(tmp_path_factory.mktemp("keepers")) as stage:
        yield stage


@pytest.fixture
def stage(ground: Stage, tmp_path: Path) -> Iterator[Stage]:
    """That node, with databases of the test's own."""
    ground.folder = tmp_path
    with ground.world.isolated():
        yield ground
        ground.close()
        ground.keepers.clear()


def decided(keeper: Keeper, account: int) -> Decision:
    """What the last round decided for an account."""
    (decision,) = (
        d for d in keeper.decisions if d.target == account and d.action is not Action.POKE
    )
    return decision


def moody(stage: Stage, sub: int = 9) -> tuple[int, Contract]:
    """An account whose own hook always claims to be due, and that hook."""
    world = stage.world
    account = world.account(sub, world.attacker)
    world.deposit(account, QUOTE, 100 * 10**6)
    hook = world.chain.deploy("MoodyHook", sender=world.attacker)
    hand_over(world, account, hook, budget=UNLIMITED_BUDGET)
    return account, hook


# ---- other keepers


def test_step__five_keepers_and_24_accounts__one_success_each(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    """K14: all see the same block and all send. Each account is rebalanced once; who came too late
    pays little, does not try again and does not think ill of the account."""
    accounts = stage.fleet(24)
    keepers = [stage.keeper(number) for number in range(5)]
    for keeper in keepers:
        stage.step(keeper)
    stage.fall()
    with stage.held():
        for keeper in keepers:
            stage.step(keeper)
        stage.mine()
    sent = [stage.nonce(keeper) for keeper in keepers]
    for _ in range(3):
        for keeper in keepers:
            stage.step(keeper)
        stage.mine()
    assert [stage.rebalances(account) for account in accounts] == [1] * 24
    assert all(stage.is_cured(account) for account in accounts)
    assert [stage.nonce(keeper) for keeper in keepers] == sent == [3] * 5
    done = sum(keeper.counts["rebalance done"] for keeper in keepers)
    late = sum(keeper.counts["rebalance not needed"] for keeper in keepers)
    assert (done, late) == (24, 4 * 24)
    assert all(not keeper.store.quarantines() for keeper in keepers)
    lost = [keeper.totals() for keeper in keepers if keeper.totals()["wasted"]]
    gas = sum(totals["gas"] for totals in lost) / late
    assert gas < 90_000
    record_property(
        "told", f"gas of an attempt that came too late, in batches of eight: {gas:,.0f}"
    )


def test_step__five_keepers_with_jitter__fewer_answer_at_once(stage: Stage) -> None:
    """K14: outside an emergency they leave each other blocks, by key and account."""
    accounts = stage.fleet(10)
    keepers = [stage.keeper(number, habits=Habits(jitter_blocks=4)) for number in range(5)]
    for keeper in keepers:
        stage.step(keeper)
    stage.fall(1_815)  # below the trigger, above initial margin
    for _ in range(8):
        with stage.held():
            for keeper in keepers:
                stage.step(keeper)
            stage.mine()
    assert [stage.rebalances(account) for account in accounts] == [1] * 10
    assert sum(stage.nonce(keeper) for keeper in keepers) < 5 * 2


def test_act__gas_for_nothing_above_the_limit__stops_for_an_hour(stage: Stage) -> None:
    """K14: a keeper that keeps coming too late ends its losses by itself."""
    (account,) = stage.fleet(1)
    loser = stage.keeper(terms=Terms(max_waste_wad=WAD // 100))
    stage.step(loser)
    stage.fall()
    with stage.held():
        stage.step(loser)
        # Somebody who offers more stands first.
        stage.rpc.request(
            "eth_sendTransaction",
            {
                "from": stage.world.stranger,
                "to": stage.world.mandates.address,
                "data": "0x" + stage.world.mandates.rebalance.encode(account).hex(),
                "gas": hex(9_000_000),
                "maxFeePerGas": hex(100 * GWEI),
                "maxPriorityFeePerGas": hex(50 * GWEI),
            },
        )
        stage.mine()
    stage.world.chain._nonces.clear()
    stage.step(loser)
    assert loser.counts["rebalance not needed"] == 1
    assert loser.store.quarantines() == {}
    stage.fall(1_600)
    stage.step(loser)
    assert loser.counts["stopped for waste"] >= 1 and stage.nonce(loser) == 1
    stage.world.wait(3_700)
    stage.fall(1_400)
    settle(stage, loser)
    assert stage.nonce(loser) > 1 and stage.is_cured(account)


# ---- prices


def test_decide__price_stale__waits_and_a_top_up_goes_through(stage: Stage) -> None:
    """K16: nothing is sold at a price that nobody vouches for; cash of a sibling needs none."""
    world = stage.world
    seller, helped = stage.fleet(2)
    donor = world.account(77)
    world.deposit(donor, QUOTE, world.units(QUOTE, 100_000))
    world.make_donor(donor, floor_bps=10_000)
    world.rebalancer.clear_policy(helped, sender=world.owner)
    world.enrol(helped, donors=[77], sales={})
    world.chain.advance(3_700)
    world.rebalancer.apply_policy(helped, sender=world.owner)
    stage.fall()
    world.make_stale("ETH")
    keeper = stage.keeper(terms=Terms(is_altruistic=True))
    stage.step(keeper)
    assert decided(keeper, seller).action is Action.WAIT
    assert decided(keeper, seller).reason == "no means left, price of asset 1 is stale"
    settle(stage, keeper)
    assert stage.rebalances(helped) >= 1 and stage.rebalances(seller) == 0
    assert seller not in keeper.store.quarantines()
    world.refresh()
    settle(stage, keeper)
    assert stage.rebalances(seller) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_track__price_came_back_before_the_block__is_counted_not_needed(
    stage: Stage, count: int
) -> None:
    """K17: the chain asks again; that is no failure of the account."""
    accounts = stage.fleet(count)
    keeper = stage.keeper()
    stage.step(keeper)
    stage.fall()
    with stage.held():
        stage.step(keeper)
        feed = stage.world.feeds["ETH"]
        stage.rpc.request(
            "eth_sendTransaction",
            {
                "from": stage.world.governor,
                "to": feed.address,
                "data": "0x" + feed.set_answer.encode(2_000 * 10**8).hex(),
                "maxFeePerGas": hex(100 * GWEI),
                "maxPriorityFeePerGas": hex(50 * GWEI),
            },
        )
        stage.mine()
    stage.world.chain._nonces.clear()
    settle(stage, keeper)
    assert keeper.counts["rebalance not needed"] == count
    assert [stage.rebalances(account) for account in accounts] == [0] * count
    assert keeper.store.quarantines() == {} and states(keeper) == [State.DONE]
    codes = [t.code for intent in keeper.store.intents() for t in intent.targets]
    assert codes == [NOT_TRIGGERED] * count


# ---- accounts that fail


def test_track__one_of_a_batch_fails_on_chain__only_that_one_is_tried_again(stage: Stage) -> None:
    """K18: its hook changed its mind after the simulation; the others are done, once."""
    accounts = stage.fleet(4)
    odd, hook = moody(stage)
    keeper = stage.keeper(terms=Terms(is_altruistic=True))
    stage.step(keeper)
    hook.set_answer(b"\0" * 32, sender=stage.world.attacker)
    settle(stage, keeper)
    hook.set_answer((1).to_bytes(32, "big"), sender=stage.world.attacker)
    stage.fall()
    with stage.held():
        stage.step(keeper)
        stage.rpc.request(
            "eth_sendTransaction",
            {
                "from": stage.world.attacker,
                "to": hook.address,
                "data": "0x" + hook.set_moods.encode(ANSWERS, REVERTS).hex(),
                "maxFeePerGas": hex(100 * GWEI),
                "maxPriorityFeePerGas": hex(50 * GWEI),
            },
        )
        stage.mine()
    stage.world.chain._nonces.clear()
    stage.step(keeper)
    batch = next(i for i in keeper.store.intents() if len(i.targets) == 5)
    codes = {target.name: target.code for target in batch.targets}
    assert codes == {account_name(a): REBALANCED for a in accounts} | {account_name(odd): FAILED}
    assert list(keeper.store.quarantines()) == [odd]
    hook.set_moods(ANSWERS, ANSWERS, sender=stage.world.attacker)
    stage.world.chain.advance(PAID_QUARANTINE_S)
    stage.step(keeper)
    assert [intent.accounts for intent in keeper.store.open_intents()][-1] == [odd]
    settle(stage, keeper)
    assert [stage.rebalances(account) for account in accounts] == [1] * 4
    assert stage.rebalances(odd) >= 1 and odd not in keeper.store.quarantines()


@pytest.mark.parametrize("mood", [REVERTS, BURNS])
def test_decide__poison_account__is_left_alone_for_twice_as_long_each_time(
    stage: Stage, mood: int
) -> None:
    """K19: found out by simulation, so it costs nothing; the others do not notice."""
    poison, hook = moody(stage)
    hook.set_moods(ANSWERS, mood, sender=stage.world.attacker)
    accounts = stage.fleet(3)
    keeper = stage.keeper(terms=Terms(is_altruistic=True))
    stage.fall()
    settle(stage, keeper, 2)
    terms = []
    for _ in range(4):
        entry = keeper.store.quarantines()[poison][Action.REBALANCE]
        terms.append(entry.until_s - stage.head().time_s)
        stage.world.chain.advance(max(entry.until_s - stage.head().time_s - 1, 1))
        failures = entry.failures
        stage.step(keeper)
        assert keeper.store.quarantines()[poison][Action.REBALANCE].failures == failures
        stage.world.chain.advance(1)
        stage.step(keeper)
        assert keeper.store.quarantines()[poison][Action.REBALANCE].failures == failures + 1
    assert all(later > 1.5 * sooner for sooner, later in zip(terms, terms[1:], strict=False))
    assert [stage.rebalances(account) for account in accounts] == [1] * 3
    assert stage.rebalances(poison) == 0
    assert not any(poison in intent.accounts for intent in keeper.store.intents())


# ---- time


@pytest.mark.parametrize("interval_s", [0, 1, 12, 3_600])
@pytest.mark.parametrize("clock_s", [0.0, 4e9])
def test_step__odd_timestamps_and_clock__block_time_alone_counts(
    stage: Stage, interval_s: int, clock_s: float
) -> None:
    """K20: neither this machine's clock nor the distance of blocks changes what is done."""
    accounts = stage.fleet(2)
    poison, hook = moody(stage)
    hook.set_moods(ANSWERS, REVERTS, sender=stage.world.attacker)
    keeper = stage.keeper(clock=lambda: clock_s)
    stage.fall()
    stage.rpc.request("anvil_setBlockTimestampInterval", interval_s)
    try:
        stage.step(keeper)
        entry = keeper.store.quarantines()[poison][Action.REBALANCE]
        assert entry.until_s == stage.world.chain.time + QUARANTINE_S - interval_s
        for _ in range(3):
            stage.rpc.request("evm_mine")
            stage.step(keeper)
    finally:
        stage.rpc.request("anvil_setBlockTimestampInterval", 12)
    assert [stage.rebalances(account) for account in accounts] == [1, 1]


def test_step__timestamp_jumps_ahead__quarantine_ends_by_block_time(stage: Stage) -> None:
    """K20."""
    poison, _ = moody(stage)
    keeper = stage.keeper()
    terms = {"time_s": stage.head().time_s, "reason": "it failed", "version": 0}
    keeper.store.quarantine(poison, Action.REBALANCE, **terms, is_paid=True)  # type: ignore[arg-type]
    stage.step(keeper)
    assert decided(keeper, poison).reason.startswith("in quarantine")
    stage.rpc.request("evm_setNextBlockTimestamp", hex(stage.head().time_s + 30 * 86_400))
    stage.rpc.request("evm_mine")
    stage.step(keeper)
    assert not decided(keeper, poison).reason.startswith("in quarantine")


# ---- owners


def test_step__policy_cleared_before_it_is_sent__nothing_is_sent(stage: Stage) -> None:
    """K23: what was decided is tried once more at the newest state."""
    (account,) = stage.fleet(1)

    keeper = stage.keeper()
    stage.step(keeper)
    stage.fall()
    head = stage.head()
    stage.world.rebalancer.clear_policy(account, sender=stage.world.owner)
    keeper._newest = lambda: head  # type: ignore[method-assign]
    stage.step(keeper)
    assert keeper.counts["gone before sending"] == 1 and states(keeper) == []
    del keeper._newest
    stage.step(keeper)
    assert decided(keeper, account).reason == "no policy"


# ---- money


def test_decide__owner_who_pays_nobody__is_served_by_altruists_alone(stage: Stage) -> None:
    """Acts when it pays, and never when it does not."""
    (account,) = stage.fleet(1, pays=False)
    keeper, altruist = stage.keeper(0), stage.keeper(1, terms=ALTRUISTIC)
    stage.fall()
    stage.step(keeper)
    assert decided(keeper, account).action is Action.WAIT
    assert decided(keeper, account).reason.startswith("does not pay")
    assert states(keeper) == []
    stage.step(altruist)
    assert stage.rebalances(account) == 1


def test_decide__profit_asked_for__is_what_is_left_of_the_pay(stage: Stage) -> None:
    """`min_profit` is in quote tokens, gas already paid."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper()
    stage.fall()
    stage.step(keeper)
    net = decided(keeper, account).net_wad
    assert 0 < net < WAD
    settle(stage, keeper)
    totals = keeper.totals()
    # At the price of the block, which is no higher than the one expected.
    assert totals["gain_wad"] - totals["cost_wad"] >= net * 9 // 10
    greedy = stage.keeper(1, terms=Terms(min_profit_wad=net + WAD // 10))
    stage.fall(1_650)
    stage.step(greedy)
    assert decided(greedy, account).action is Action.WAIT


def fund_taker(stage: Stage, keeper: Keeper, dollars: int) -> None:
    """Cash in the keeper's account of the ledger."""
    world, units = stage.world, dollars * 10**6
    assert keeper.key is not None
    world.fund(world.governor, QUOTE, units)
    world.quote.approve(world.clearinghouse, units, sender=world.governor)
    world.clearinghouse.deposit(taker_of(keeper), 0, units, sender=world.governor)


def sink(world: World, account: int) -> None:
    """Below maintenance, and not below zero."""
    for price in range(1_900, 1_000, -20):
        world.set_price("ETH", price, is_poked=False)
        _, _, equity, required = world.clearinghouse.assess(account)
        if equity < required:
            return
    raise AssertionError("it never sank")


def test_decide__below_maintenance__slice_is_taken_where_capital_allows(stage: Stage) -> None:
    """With an account of its own, cash in it, and no more than its operator allows."""
    world = stage.world
    account = world.open_account(leverage=3)
    broke = stage.keeper(0, terms=Terms(max_capital_wad=10**6 * WAD))
    small = stage.keeper(1, terms=Terms(max_capital_wad=WAD))
    idle = stage.keeper(2, terms=Terms(liquidates=False, max_capital_wad=10**6 * WAD))
    able = stage.keeper(3, terms=Terms(max_capital_wad=10**6 * WAD))
    for keeper in (small, idle, able):
        fund_taker(stage, keeper, 50_000)
    sink(world, account)
    for keeper in (broke, small, idle):
        stage.step(keeper)
        assert states(keeper) == []
    assert "nothing to take a slice with" in decided(broke, account).reason
    assert "the limit is" in decided(small, account).reason
    assert "not to be liquidated" in decided(idle, account).reason
    equity = world.clearinghouse.assess(taker_of(able))[2]
    settle(stage, able)
    (intent, *_) = able.store.intents()
    assert intent.action is Action.LIQUIDATE and able.counts["liquidate done"] == 1
    assert world.clearinghouse.assess(taker_of(able))[2] > equity
    assert not world.clearinghouse.assess(account)[2] < world.clearinghouse.assess(account)[3]
    events = world.chain.events(world.system.liquidator, "Liquidated")
    assert len([e for e in events if e.args.account == account]) == 1


def test_decide__below_maintenance_with_a_hook_that_helps__hook_comes_first(stage: Stage) -> None:
    """The mildest that pays: its own hook, then a slice."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper()
    fund_taker(stage, keeper, 50_000)
    sink(stage.world, account)
    stage.step(keeper)
    assert decided(keeper, account).action is Action.REBALANCE
    settle(stage, keeper)
    assert stage.rebalances(account) == 1
    assert stage.world.chain.events(stage.world.system.liquidator, "Liquidated") == []


def test_decide__trigger_to_be_confirmed__is_flagged_then_rebalanced(stage: Stage) -> None:
    """An altruist flags what waits for a second round."""
    world = stage.world
    account = world.open_account(leverage=3)
    world.bound(account, confirms=True)
    world.enrol(account, trigger_bps=12_900)
    keeper = stage.keeper(terms=ALTRUISTIC)
    stage.step(keeper)
    settle(stage, keeper)
    assert keeper.counts["flag done"] == 1 and stage.rebalances(account) == 0
    stage.fall(1_990)
    settle(stage, keeper)
    assert stage.rebalances(account) == 1


def test_tick__without_a_key__decides_and_sends_nothing(stage: Stage) -> None:
    """A dry run."""
    (account,) = stage.fleet(1)
    stage.fall(FALLEN)
    keeper = stage.keeper()
    dry = Keeper(keeper.rpc, keeper.rooms, keeper.store, None, watcher=stage.world.stranger)
    height = stage.world.chain.block
    dry.tick()
    assert decided(dry, account).action is Action.REBALANCE
    assert stage.world.chain.block == height and states(dry) == []
    assert account_id(stage.world.stranger) == dry.surveyor.taker
