"""The keeper and a node that is away, lies or answers late: K01, K02, K03, K04, K21."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ballast.chain import Anvil, RpcChain
from ballast.keeper import Endpoints, Habits, Unreachable, WrongChain
from ballast.keeper.sender import Rules
from ballast.keeper.store import State
from tests.keeper_kit import CHAIN_ID, Stage, settle, staged, states
from tests.support.faulty_node import (
    Answer,
    FaultyNode,
    Forward,
    answer,
    cut_after,
    cut_before,
    first,
    refuse,
    swallow,
)

SEND = "eth_sendRawTransaction"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A system on a node of its own."""
    with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
def proxy(stage: Stage) -> Iterator[FaultyNode]:
    """The way to that node."""
    with FaultyNode(stage.node.url) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", [cut_after, cut_before, swallow])
def test_send__connection_cut_or_transaction_lost__acts_once(
    stage: Stage, proxy: FaultyNode, fault: object
) -> None:
    """K01: the outcome is unknown, so it is looked up by hash, and the same bytes are sent again
    where no node has them."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper(urls=[proxy.url])
    stage.fall()
    proxy.faults[SEND] = first(2, fault)  # type: ignore[arg-type]
    keeper.step()
    assert State.SIGNED in states(keeper) or fault is swallow
    settle(stage, keeper)
    assert stage.is_cured(account)
    assert stage.rebalances(account) == 1
    assert set(states(keeper)) == {State.DONE}
    nonces = [intent.nonce for intent in keeper.store.intents()]
    assert nonces == list(range(stage.nonce(keeper)))
    assert keeper.counts["sent again"] > 0 or fault is cut_after


def test_send__answer_lost_and_next_round_before_the_block__same_nonce_and_hash(
    stage: Stage, proxy: FaultyNode
) -> None:
    """K01: while the transaction waits in the pool nothing else is sent for the account."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper(urls=[proxy.url])
    keeper.step()
    stage.fall()
    proxy.faults[SEND] = cut_after
    with stage.held():
        keeper.step()
        waiting = {entry["hash"] for entry in stage.pool(keeper)}
        assert waiting and keeper.counts["unknown"]
        keeper._head = None  # the same block once more
        keeper.step()
        assert {entry["hash"] for entry in stage.pool(keeper)} == waiting
        stage.mine()
    settle(stage, keeper)
    assert stage.rebalances(account) == 1


def test_step__node_killed_and_started_again__goes_on(tmp_path: Path) -> None:
    """K02: no crash while it is away, and the intents are seen through afterwards."""
    kept = str(tmp_path / "state.json")
    with staged(tmp_path, extra=("--state", kept, "--preserve-historical-states")) as stage:
        accounts = stage.fleet(2)
        keeper = stage.keeper(rules=Rules(confirmations=1))
        keeper.step()
        stage.fall()
        port, pid, now = stage.node.port, stage.node.pid, stage.head().time_s
        stage.node.stop()
        assert [keeper.step() for _ in range(3)] == [False] * 3
        assert keeper.counts["unreachable"] == 3
        with Anvil(port=port, timestamp=now, extra=("--state", kept)) as again:
            assert again.pid != pid
            stage.rpc.close()
            stage.rpc.request("anvil_setBlockTimestampInterval", 12)
            stage.mine()
            settle(stage, keeper)
            assert all(stage.is_cured(account) for account in accounts)
            assert keeper._failures == 0


def test_step__first_endpoint_away__second_serves(stage: Stage) -> None:
    """K02."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper(urls=["http://127.0.0.1:9", stage.node.url])
    stage.fall()
    settle(stage, keeper)
    assert stage.rebalances(account) == 1
    assert keeper.rpc.url == stage.node.url


def test_request__node_of_another_chain__is_refused(stage: Stage) -> None:
    """A node that comes back as another chain's gets nothing signed for this one."""
    with pytest.raises(WrongChain):
        Endpoints([stage.node.url], CHAIN_ID + 1).request("eth_blockNumber")


def test_step__head_far_behind_one_seen__is_not_acted_on(stage: Stage, proxy: FaultyNode) -> None:
    """K03: a node that lags is left, and nothing is decided on what it shows."""
    stage.fleet(1)
    old = stage.rpc.request("eth_getBlockByNumber", "latest", False)
    stage.mine(100)
    stage.world.refresh()
    stage.fall()
    keeper = stage.keeper(urls=[stage.node.url, proxy.url])
    keeper.step()
    decided = keeper.decisions
    proxy.faults["eth_getBlockByNumber"] = answer(old)
    keeper.rpc.switch()
    keeper.step()
    assert keeper.counts["stale heads"] == 1
    assert keeper.decisions is decided
    assert keeper.rpc.url == stage.node.url


def test_step__head_older_than_the_clock_allows__is_not_acted_on(stage: Stage) -> None:
    """K03."""
    stage.fleet(1)
    stage.fall()
    now = stage.head().time_s
    keeper = stage.keeper(habits=Habits(max_head_age_s=600), clock=lambda: now + 601)
    keeper.step()
    assert keeper.counts["stale heads"] == 1 and not keeper.decisions
    keeper.clock = lambda: now + 600
    keeper.step()
    assert keeper.decisions


def test_step__node_refuses_garbage_and_too_many__reads_are_repeated_elsewhere(
    stage: Stage, proxy: FaultyNode
) -> None:
    """K04: an overloaded node or half an answer costs a round at most."""
    (account,) = stage.fleet(1)
    stage.fall()
    proxy.faults["eth_getLogs"] = refuse(-32005, "rate limited")
    proxy.faults["eth_getTransactionCount"] = answer({"not": "a number"})
    keeper = stage.keeper(urls=[proxy.url, stage.node.url])
    settle(stage, keeper)
    assert stage.rebalances(account) == 1


def test_step__three_in_ten_requests_fail__acts_once(stage: Stage, proxy: FaultyNode) -> None:
    """K04, K01: reads and writes alike, the answer or the request itself."""
    accounts = stage.fleet(3)
    keeper = stage.keeper(urls=[proxy.url])
    stage.fall()
    chance = Random(4)

    def at_times(request: dict[str, Any], forward: Forward, number: int) -> Answer:
        if chance.random() > 0.3:
            return forward(request)
        return chance.choice((cut_after, cut_before))(request, forward, number)

    methods = ("eth_getBlockByNumber", "eth_getTransactionReceipt", "eth_getLogs", "eth_getBalance")
    proxy.faults.update(dict.fromkeys((SEND, *methods), at_times))
    for _ in range(30):
        keeper.step()
        stage.mine()
    assert [stage.rebalances(account) for account in accounts] == [1] * 3
    assert keeper.rpc.failures > 10


def test_sweep__logs_kept_back_by_the_node__accounts_are_found(
    stage: Stage, proxy: FaultyNode
) -> None:
    """K21: events are hints; every sweep reads those since the sweep before once more."""
    keeper = stage.keeper(urls=[proxy.url], habits=Habits(sweep_blocks=20))
    keeper.step()
    proxy.faults["eth_getLogs"] = answer([])
    accounts = stage.fleet(2)
    keeper.step()
    stage.mine(12)  # beyond the overlap of two looks
    keeper.step()
    known = {known.account for known in keeper.store.accounts()}
    assert not known & set(accounts)
    del proxy.faults["eth_getLogs"]
    stage.mine(20)
    keeper.step()
    assert set(accounts) <= {known.account for known in keeper.store.accounts()}


def test_preview__node_without_simulations__falls_back_to_calls(
    stage: Stage, proxy: FaultyNode
) -> None:
    """Pay is then what the owner's bounds promise."""
    accounts = stage.fleet(2)
    proxy.faults["eth_simulateV1"] = refuse(-32601, "the method does not exist")
    keeper = stage.keeper(urls=[proxy.url])
    stage.fall()
    settle(stage, keeper)
    assert not keeper.surveyor.simulates
    assert [stage.rebalances(account) for account in accounts] == [1, 1]


def test_tick__no_node_at_all__raises_unreachable(stage: Stage) -> None:
    """K02: `step` survives what `tick` raises."""
    keeper = stage.keeper(urls=["http://127.0.0.1:9"])
    with pytest.raises(Unreachable):
        keeper.tick()
    assert RpcChain(stage.node.url, block_interval_s=None).block > 0


def test_step__node_refuses_what_it_should_answer__round_is_broken_off(
    stage: Stage, proxy: FaultyNode
) -> None:
    """K04: an error that is nobody's revert ends a round, not the run."""
    (account,) = stage.fleet(1)
    stage.fall()
    keeper = stage.keeper(urls=[proxy.url])
    proxy.faults["eth_getTransactionCount"] = refuse(-32000, "internal error")
    proxy.faults["eth_simulateV1"] = refuse(-32000, "internal error")
    assert not stage.step(keeper)
    assert keeper.counts["broken rounds"] == 1
    proxy.faults.clear()
    settle(stage, keeper)
    assert stage.rebalances(account) == 1


def test_update__first_look_broken_off__goes_on_where_it_was(
    stage: Stage, proxy: FaultyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K02: a long history is read once, in parts."""
    monkeypatch.setattr("ballast.keeper.index._RANGE", 20)
    stage.fleet(2)
    keeper = stage.keeper(urls=[proxy.url])

    def third_fails(request: dict[str, Any], forward: Forward, number: int) -> Answer:
        return forward(request) if number < 3 else None

    proxy.faults["eth_getLogs"] = third_fails
    assert not stage.step(keeper)
    assert keeper.store.scanned is not None and keeper.store.scanned[0] == 39
    proxy.faults.clear()
    assert stage.step(keeper)
    assert keeper.store.accounts() == stage_accounts(stage)


def stage_accounts(stage: Stage) -> list[Any]:
    """What a keeper finds that reads everything at once."""
    fresh = stage.keeper(1)
    fresh.step()
    return fresh.store.accounts()
