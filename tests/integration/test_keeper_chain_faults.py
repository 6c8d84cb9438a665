"""The keeper and a chain that takes blocks back, and fees that are not enough: K05, K07 to K12."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ballast.keeper import Rules, Terms
from ballast.keeper.decisions import Action
from ballast.keeper.fees import Fees
from ballast.keeper.store import State
from tests.keeper_kit import GWEI, Stage, later, settle, staged, states
from tests.support.world import WAD

PAYS = Terms(max_capital_wad=WAD)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A system on a node of its own."""
    with staged(tmp_path) as stage:
        yield stage


# ---- blocks that are taken back


@pytest.mark.parametrize("depth", [1, 2])
def test_track__block_taken_back__same_intent_is_sent_again(stage: Stage, depth: int) -> None:
    """K05, K07: the transaction does not come back by itself and the nonce rolls back; the chain
    ends with one rebalance and one pay."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper()
    stage.fall()
    stage.mine(2)
    stage.step(keeper)
    if depth == 2:
        stage.mine()
    stage.step(keeper)
    assert states(keeper) == [State.MINED]
    nonce = stage.nonce(keeper)
    stage.reorganise(depth)
    assert stage.nonce(keeper) == nonce - 1 and stage.rebalances(account) == 0
    settle(stage, keeper)
    assert stage.is_cured(account)
    assert stage.rebalances(account) == 1
    assert keeper.counts["reorganised"] == 1 and keeper.counts["sent again"] == 1
    assert states(keeper) == [State.DONE]
    paid = stage.world.chain.events(stage.world.mandates, "KeeperPaid")
    assert len(paid) == 1
    assert stage.nonce(keeper) == nonce


def test_track__reorganisation_and_the_price_came_back__intent_is_given_up(stage: Stage) -> None:
    """K05, K06: what is not needed on the new chain is not sent there, and its nonce is used by
    the next intent."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper()
    stage.fall()
    stage.mine(2)
    stage.step(keeper)
    stage.step(keeper)
    stage.reorganise(1)
    stage.fall(2_000)
    stage.step(keeper)
    stage.mine()
    stage.step(keeper)
    assert states(keeper) == [State.DROPPED] and stage.rebalances(account) == 0
    stage.fall()
    settle(stage, keeper)
    assert stage.rebalances(account) == 1
    first, second = keeper.store.intents()
    assert first.nonce == second.nonce == 0


def test_track__two_intents_in_blocks_taken_back__both_are_sent_again_in_order(
    stage: Stage,
) -> None:
    """K07: the lower nonce first."""
    one, other = stage.fleet(1), []
    keeper = stage.keeper(rules=Rules(confirmations=64))
    stage.fall()
    stage.step(keeper)
    other = stage.fleet(1, first=1)
    stage.fall(1_450)
    stage.step(keeper)
    stage.step(keeper)
    mined = keeper.store.open_intents()
    assert len(mined) >= 2 and {i.state for i in mined} == {State.MINED}
    assert stage.rebalances(one[0]) == 2 and stage.rebalances(other[0]) == 1
    depth = stage.head().number - mined[0].mined_block + 1
    stage.reorganise(depth)
    settle(stage, keeper, 10)
    # The second account and the round between the two are gone as well.
    assert stage.rebalances(one[0]) == 1 and stage.rebalances(other[0]) == 0
    assert not [i for i in keeper.store.open_intents() if i.state is not State.MINED]
    assert stage.pool(keeper) == []


def test_index__blocks_taken_back__goes_back_to_the_newest_common_one(stage: Stage) -> None:
    """K05, K21: the index rewinds where hashes differ and ends where a new one does."""
    keeper = stage.keeper()
    stage.step(keeper)
    stage.mine(3)
    stage.step(keeper)
    stage.reorganise(2)
    (account,) = stage.fleet(1)
    stage.step(keeper)
    assert keeper.index.rewinds == 1
    head = stage.head()
    assert keeper.store.scanned == (head.number, head.hash)
    assert account in {known.account for known in keeper.store.accounts()}
    fresh = stage.keeper(1)
    stage.step(fresh)
    assert keeper.store.accounts() == fresh.store.accounts()


# ---- fees


def test_track__stuck_in_the_pool__is_replaced_at_an_eighth_more(stage: Stage) -> None:
    """K09: the same nonce, both fees at least 12.5% higher, one inclusion, below the cap."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper(terms=Terms(is_altruistic=True), rules=Rules(stuck_blocks=3))
    stage.step(keeper)
    settle(stage, keeper)
    stage.fall(is_poked=True)
    with stage.held():
        stage.step(keeper)
        assert keeper.sender is not None
        hook_room = stage.world.mandates.address.lower()
        (first,) = (t for t in stage.pool(keeper) if t["to"] == hook_room)
        keeper.sender.track(later(stage.head(), 2))
        assert first in stage.pool(keeper)
        keeper.sender.track(later(stage.head(), 3))
        nonce = int(first["nonce"], 16)
        (second,) = (t for t in stage.pool(keeper) if int(t["nonce"], 16) == nonce)
        for fee in ("maxFeePerGas", "maxPriorityFeePerGas"):
            assert 8 * int(second[fee], 16) >= 9 * int(first[fee], 16)
        stage.mine()
    settle(stage, keeper)
    assert stage.rebalances(account) == 1
    assert len(keeper.store.transactions(nonce)) == 2
    assert set(states(keeper)) == {State.DONE}


def test_track__stuck_and_more_than_it_brings__is_cancelled(stage: Stage) -> None:
    """K09: the cap is what the pay bears; then the nonce is freed by a transfer of nothing."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper(terms=Terms(min_profit_wad=WAD // 100))
    stage.fall()
    with stage.held():
        stage.step(keeper)
        assert keeper.sender is not None
        intent = keeper.store.open_intents()[0]
        assert all(t.fees.most_wei <= intent.cap_wei for t in keeper.store.transactions(0))
        for blocks in range(3, 30, 3):
            keeper.sender.track(later(stage.head(), blocks))
        fees = [t.fees.most_wei for t in keeper.store.transactions(0) if not t.is_cancel]
        assert max(fees) <= intent.cap_wei
        assert keeper.counts["cancels"] >= 1
        stage.mine()
    keeper.sender.track(stage.head())
    assert keeper.counts["cancelled"] == 1 and stage.nonce(keeper) == 1
    assert stage.rebalances(account) == 0
    settle(stage, keeper)  # it is due still, and at the present price it pays
    assert stage.rebalances(account) == 1


def test_track__evicted_when_the_base_fee_rose__is_sent_dearer_once(stage: Stage) -> None:
    """K09, fact b: a transaction below the base fee is gone from the pool, without a receipt."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper(terms=Terms(is_altruistic=True, max_gas_price_wei=10_000 * GWEI))
    stage.step(keeper)
    settle(stage, keeper)
    stage.fall(is_poked=True)
    with stage.held():
        stage.step(keeper)
        before = {t["hash"] for t in stage.pool(keeper)}
        stage.set_base_fee(300 * GWEI)
        stage.mine()
        assert not before & {t["hash"] for t in stage.pool(keeper)}
    settle(stage, keeper)
    assert stage.rebalances(account) == 1
    assert keeper.counts["replaced"] >= 1
    assert stage.is_cured(account)


def test_send__base_fee_above_the_offer__is_refused_and_replaced(stage: Stage) -> None:
    """K09, fact b: a node may refuse what does not pay the next base fee."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper(terms=Terms(is_altruistic=True, max_gas_price_wei=10_000 * GWEI))
    stage.step(keeper)
    settle(stage, keeper)
    stage.fall(is_poked=True)
    stage.set_base_fee(300 * GWEI)  # the head seen is cheaper than the next block
    stage.step(keeper)
    assert keeper.counts["refused"] >= 1 and stage.rebalances(account) == 0
    stage.set_base_fee(300 * GWEI)
    stage.mine()
    settle(stage, keeper)
    assert stage.rebalances(account) == 1


def test_send__another_of_this_nonce_in_the_pool__is_outbid(stage: Stage) -> None:
    """K10: an equal fee is underpriced; the answer is read, and 12.5% more offered."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper(terms=Terms(is_altruistic=True))
    stage.step(keeper)
    settle(stage, keeper)
    stage.fall(is_poked=True)
    with stage.held():
        stage.step(keeper)
        for intent in keeper.store.open_intents():
            keeper.store.finish(intent, State.DROPPED, "forgotten")
        waiting = {t["hash"] for t in stage.pool(keeper)}
        keeper.surveyor.taker += 1  # or the bytes would be the same, which a pool knows
        keeper._head = None
        stage.step(keeper)
        assert keeper.counts["underpriced"] >= 1
        assert not waiting & {t["hash"] for t in stage.pool(keeper)}
        stage.mine()
    settle(stage, keeper)
    assert stage.rebalances(account) == 1
    assert stage.pool(keeper) == []


def test_decide__base_fee_above_what_it_brings__waits(stage: Stage) -> None:
    """K11: at 300 gwei a rebalance costs some hundred dollars more than its cap allows to pay."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper()
    stage.fall()
    stage.set_base_fee(300 * GWEI)
    stage.mine()
    stage.step(keeper)
    (decision,) = (d for d in keeper.decisions if d.target == account)
    assert decision.action is Action.WAIT and "does not pay" in decision.reason
    assert states(keeper) == []


def test_submit__block_too_small_for_an_attempt__is_not_sent(stage: Stage) -> None:
    """K12: a hook gets its gas whole or is not called, so less would be for nothing."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper()
    stage.fall()
    stage.rpc.request("evm_setBlockGasLimit", hex(5_000_000))
    stage.mine()
    stage.step(keeper)
    assert keeper.counts["not sent"] == 1 and states(keeper) == []
    stage.rpc.request("evm_setBlockGasLimit", hex(10**9))
    stage.mine()
    settle(stage, keeper)
    assert stage.rebalances(account) == 1


def test_track__lower_of_two_dropped_from_the_pool__gap_is_filled(stage: Stage) -> None:
    """K08: the same bytes again, and the one that waited behind follows."""
    stage.fleet(1)
    keeper = stage.keeper(terms=Terms(is_altruistic=True))
    stage.fall(is_poked=True)
    stage.mine(30)  # headroom is old and a new interval has begun: more than one is sent
    with stage.held():
        stage.step(keeper)
        pool = sorted(stage.pool(keeper), key=lambda t: int(t["nonce"], 16))
        assert len(pool) >= 2
        stage.rpc.request("anvil_dropTransaction", pool[0]["hash"])
        keeper.sender.track(stage.head())  # type: ignore[union-attr]
        assert {t["hash"] for t in stage.pool(keeper)} == {t["hash"] for t in pool}
        stage.mine()
    settle(stage, keeper)
    assert stage.pool(keeper) == [] and State.SENT not in states(keeper)


def test_track__nonce_used_by_another_transaction_of_the_key__intent_is_dropped(
    stage: Stage,
) -> None:
    """K08: an operator who uses the key himself costs one intent, and nothing is done twice."""
    (account,) = stage.fleet(1)
    keeper = stage.keeper()
    stage.fall()
    with stage.held():
        stage.step(keeper)
        (waiting,) = stage.pool(keeper)
        stage.rpc.request("anvil_dropTransaction", waiting["hash"])
        assert keeper.sender is not None and keeper.key is not None
        intent = keeper.store.open_intents()[0]
        other = keeper.sender._signed(intent, Fees(GWEI * 5, GWEI), stage.head(), True)
        stage.rpc.request("eth_sendRawTransaction", "0x" + other.raw.hex())
        stage.mine()
    stage.step(keeper)
    stage.mine()
    stage.step(keeper)
    assert keeper.counts["foreign"] == 1
    settle(stage, keeper)
    assert stage.rebalances(account) == 1
