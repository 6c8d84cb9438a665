"""The keeper that ends anywhere and begins again: K13, K15, K24."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from eth_utils import keccak

from ballast.keeper import Fenced, Held, Lease, Store
from ballast.keeper.decisions import REBALANCED, Action
from ballast.keeper.keeper import Keeper
from ballast.keeper.sender import FAULT_POINTS
from ballast.keeper.store import State, StoreError, Target
from tests.keeper_kit import CHAIN_ID, Killed, Stage, key_of, settle, staged, states
from tests.support.world import QUOTE

PROGRAM = Path(__file__).parents[1] / "support" / "keeper_process.py"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One node for all; what a test does on it is undone."""
    with staged(tmp_path_factory.mktemp("restarts")) as stage:
        yield stage


@pytest.fixture
def stage(ground: Stage, tmp_path: Path) -> Iterator[Stage]:
    """That node, with databases of the test's own."""
    ground.folder = tmp_path
    with ground.world.isolated():
        yield ground
        ground.close()
        ground.keepers.clear()


def killer(point: str, at: int) -> object:
    """Ends the run when a point is passed for the `at`-th time."""
    left = at

    def fault(passed: str) -> None:
        nonlocal left
        if passed == point:
            left -= 1
            if left == 0:
                raise Killed(point)

    return fault


def check_nothing_twice(stage: Stage, keeper: Keeper, accounts: list[int], rounds: int) -> None:
    """Each account once for each trigger, every intent over, every nonce accounted for."""
    assert [stage.rebalances(account) for account in accounts] == [rounds] * len(accounts)
    assert all(stage.is_cured(account) for account in accounts)
    assert set(states(keeper)) <= {State.DONE, State.DROPPED}
    assert stage.pool(keeper) == []
    done = [i for i in keeper.store.intents() if i.state is State.DONE]
    assert sorted(i.nonce for i in done) == list(range(stage.nonce(keeper)))
    assert {target.code for intent in done for target in intent.targets} == {REBALANCED}
    # A run that only found out what became of it books what it brought and cost all the same.
    events = stage.world.chain.events(stage.world.mandates, "KeeperPaid")
    paid = sum(event.args.amount for event in events) * stage.world.unit_wad(QUOTE)
    totals = keeper.store.totals()
    assert totals["gain_wad"] == paid > totals["cost_wad"] > 0


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("point", FAULT_POINTS)
def test_run__ends_at_a_point_of_an_intents_life__next_run_sees_it_through(
    stage: Stage, point: str, at: int
) -> None:
    """K15: what was written down before is enough, wherever the run ends; ten accounts in two
    transactions, so that the second one can be the one."""
    accounts = stage.fleet(10)
    stage.fall()
    doomed = stage.keeper(fault=killer(point, at))  # type: ignore[arg-type]
    with pytest.raises(Killed):
        for _ in range(4):
            stage.step(doomed)
            stage.mine()
    doomed.store.close()
    while stage.pool(doomed):
        pass
    keeper = stage.keeper()
    settle(stage, keeper)
    check_nothing_twice(stage, keeper, accounts, 1)


def test_run__ends_again_and_again_while_prices_fall__nothing_twice(stage: Stage) -> None:
    """K15: 25 runs in a row that end at random points, mined or not, taken back or not."""
    chance = Random(15)
    accounts = stage.fleet(6)
    deaths, price = 0, 1_900
    for _ in range(25):
        keeper = stage.keeper(
            fault=killer(chance.choice(FAULT_POINTS), chance.randint(1, 2))  # type: ignore[arg-type]
        )
        try:
            for _ in range(chance.randint(1, 4)):
                if chance.random() < 0.4:
                    price = price * 94 // 100
                    stage.fall(price)
                stage.step(keeper)
                stage.mine()
                if chance.random() < 0.1:
                    stage.reorganise(1)
        except Killed:
            deaths += 1
        keeper.store.close()
    assert deaths > 5
    keeper = stage.keeper()
    settle(stage, keeper, 10)
    assert all(state in (State.DONE, State.DROPPED) for state in states(keeper))
    assert stage.pool(keeper) == []
    for account in accounts:
        # Each rebalance brought the account to its target, so each had a trigger of its own.
        events = stage.world.chain.events(stage.world.mandates, "Rebalanced")
        own = [event.args for event in events if event.args.account == account]
        assert all(20 * args.equity_before < 21 * args.required_before for args in own)
    done = [i.nonce for i in keeper.store.intents() if i.state is State.DONE]
    assert sorted(done) == list(range(stage.nonce(keeper)))


# ---- processes


@contextmanager
def process(stage: Stage, number: int = 0, **orders: object) -> Iterator[subprocess.Popen[str]]:
    """A keeper in a process of its own."""
    key = key_of(number)
    stage.world.chain.set_balance(key.address, 100 * 10**18)
    given = {
        "url": stage.node.url,
        "chain_id": CHAIN_ID,
        "key": keccak(text=f"keeper {number}").hex(),
        "addresses": {n: c.address for n, c in stage.world.system.contracts.items()},
        "folder": str(stage.folder),
        "database": str(stage.folder / f"keeper{number}.sqlite3"),
    } | orders
    run = subprocess.Popen(
        [sys.executable, str(PROGRAM), json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROGRAM.parents[2],
        env={"PYTHONPATH": str(PROGRAM.parents[2]), "PATH": ""},
    )
    try:
        yield run
    finally:
        if run.poll() is None:
            run.kill()
        run.communicate()


def await_line(run: subprocess.Popen[str], text: str) -> None:
    """Reads what it says until it says so; fails where it ends before."""
    assert run.stdout is not None and run.stderr is not None
    for line in run.stdout:
        if line.strip() == text:
            return
    raise AssertionError(f"never said {text!r}: {run.stderr.read()}")


def mine_until(
    stage: Stage, run: subprocess.Popen[str], is_reached: Callable[[], bool], most: int = 60
) -> None:
    """A block after each round of the process, until something is reached or the process ends."""
    assert run.stdout is not None and run.stderr is not None
    for _, line in zip(range(most), run.stdout, strict=False):
        if is_reached():
            return
        if line.startswith("round"):
            stage.mine()
    assert is_reached() or run.wait(10) is not None, run.stderr.read()


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_process__killed_at_a_point__next_one_sees_it_through(stage: Stage, point: str) -> None:
    """K15, with SIGKILL: what SQLite had acknowledged is there."""
    accounts = stage.fleet(2)
    stage.fall()
    with process(stage, fault=point) as run:
        mine_until(stage, run, lambda: False)
        assert run.wait(10) == -9
    keeper = stage.keeper()
    while stage.pool(keeper):
        pass
    settle(stage, keeper)
    check_nothing_twice(stage, keeper, accounts, 1)


def test_process__second_with_the_same_key__stands_by_and_takes_over(stage: Stage) -> None:
    """K13: the lease ends with the process, however it ends; both together act once."""
    (account,) = stage.fleet(1)
    with process(stage) as first:
        await_line(first, "round 1")
        with process(stage) as second:
            await_line(second, "standing by")
            stage.fall()
            mine_until(stage, first, lambda: stage.rebalances(account) == 1)
            first.kill()
            await_line(second, "leased")
            await_line(second, "round 1")
            stage.fall(1_600)
            mine_until(stage, second, lambda: stage.rebalances(account) == 2)
    keeper = stage.keeper()
    settle(stage, keeper)
    check_nothing_twice(stage, keeper, [account], 2)


# ---- lease, fence, memory


def test_lease__taken__second_is_told_who_has_it(tmp_path: Path) -> None:
    """K13."""
    path = tmp_path / "lease"
    lease = Lease(path)
    with pytest.raises(Held, match="process"):
        Lease(path)
    lease.release()
    Lease(path).release()


def test_store__opened_by_another__old_one_is_fenced(stage: Stage) -> None:
    """K13: a keeper that woke up late can write nothing, so it can send nothing."""
    (account,) = stage.fleet(1)
    old = stage.keeper()
    stage.step(old)
    new = stage.keeper()
    stage.fall()
    with pytest.raises(Fenced):
        old.step()
    assert stage.nonce(old) == 0 and stage.pool(old) == []
    settle(stage, new)
    assert stage.rebalances(account) == 1


def test_store__opened_by_another_between_decision_and_intent__old_one_sends_nothing(
    stage: Stage,
) -> None:
    """K13: the fence stands before what is signed."""
    (account,) = stage.fleet(1)
    stage.fall()
    newer: list[Keeper] = []
    old = stage.keeper(fault=lambda point: newer.append(stage.keeper()))
    with pytest.raises(Fenced):
        old.step()
    assert stage.nonce(old) == 0 and stage.pool(old) == []
    settle(stage, newer[0])
    assert stage.rebalances(account) == 1


def test_store__of_another_chain_or_system__is_refused(tmp_path: Path) -> None:
    """Its nonces and accounts would mean nothing."""
    path = tmp_path / "keeper.sqlite3"
    Store(path, chain_id=1, system="0xA").close()
    with pytest.raises(StoreError, match="chain"):
        Store(path, chain_id=2, system="0xA")
    with pytest.raises(StoreError, match="system"):
        Store(path, chain_id=1, system="0xB")


def test_plan__target_or_nonce_in_hand__is_refused_by_the_database(tmp_path: Path) -> None:
    """One intent for a target and for a nonce, whatever the code above does."""
    store = Store(tmp_path / "keeper.sqlite3", chain_id=1, system="0xA")
    terms = {"receiver": "0x", "data": b"", "gas": 1, "cap_wei": 1, "block": 1, "time_s": 1}
    first = store.plan(Action.REBALANCE, [Target("0x01")], nonce=0, **terms)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="in hand"):
        store.plan(Action.REBALANCE, [Target("0x01")], nonce=1, **terms)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="in hand"):
        store.plan(Action.REBALANCE, [Target("0x02")], nonce=0, **terms)  # type: ignore[arg-type]
    assert len(store.intents()) == 1
    store.finish(first, State.DROPPED)
    store.plan(Action.REBALANCE, [Target("0x01")], nonce=0, **terms)  # type: ignore[arg-type]


def test_drain__transaction_in_the_pool__waits_for_its_block(stage: Stage) -> None:
    """K24: a stop leaves nothing half-way; the next run has nothing to see through."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper()
    stage.fall()
    rounds = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            stage.mine()

    with stage.held():
        keeper.run(lambda: bool(keeper.store.intents()), sleep)
    assert len(rounds) >= 3
    assert states(keeper) == [State.MINED] and stage.rebalances(account) == 1
    assert keeper.totals()["mined"] == 1
