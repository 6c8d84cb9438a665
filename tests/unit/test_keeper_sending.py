"""The keeper's memory and its sender, against a node that does everything a node may do.

The node here is a model: a pool in the manner of geth (10% to replace, nothing is evicted), blocks,
reorganisations, transactions that get lost or whose answer gets lost. Rebalancing an account that
is triggered cures it, of any other account it is for nothing, which is what a duplicate would be.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ballast.chain import KeySigner, RpcError
from ballast.chain.signing import transaction_hash
from ballast.keeper.decisions import NOT_TRIGGERED, REBALANCED, Action
from ballast.keeper.endpoints import Endpoints, Unreachable
from ballast.keeper.fees import Fees, bumped, offer
from ballast.keeper.rooms import Head
from ballast.keeper.sender import FAULT_POINTS, Outcome, Rules, Sender, SendError
from ballast.keeper.store import Intent, State, Store, StoreError, Target

GWEI = 10**9
KEY = KeySigner.of(Account.from_key(b"\x07" * 32))
ROOM = "0x" + "11" * 20
CAP = 100 * GWEI
NAMES = ("0x01", "0x02", "0x03")


class Ended(BaseException):
    """The process ended here."""


@dataclass
class Sent:
    """A transaction as the node decoded it."""

    hash: str
    nonce: int
    most_wei: int
    names: tuple[str, ...]  # none: a cancellation


@dataclass
class Node:
    """A chain of blocks and a pool; `fails` is what the next write does."""

    blocks: list[list[tuple[Sent, dict[str, int]]]] = field(default_factory=lambda: [[]])
    pool: dict[int, Sent] = field(default_factory=dict)
    triggers: Counter[str] = field(default_factory=Counter)  # given, by account
    base_fee: int = GWEI
    fails: str = ""
    forks: int = 0
    given: dict[bytes, Sent] = field(default_factory=dict)

    @property
    def nonce(self) -> int:
        """The next one."""
        return sum(len(block) for block in self.blocks)

    @property
    def head(self) -> Head:
        """The newest block."""
        number = len(self.blocks) - 1
        return Head(number, f"0x{number}.{self.forks}", 12 * number, self.base_fee, 10**9)

    def cured(self, name: str) -> int:
        """How often an account was cured on the chain as it stands."""
        return sum(codes.get(name) == REBALANCED for block in self.blocks for _, codes in block)

    def is_triggered(self, name: str) -> bool:
        """Whether it waits for a cure."""
        return self.triggers[name] > self.cured(name)

    def mine(self) -> None:
        """What the pool has in an unbroken row, as far as it pays."""
        self.blocks.append([])
        while (sent := self.pool.get(self.nonce)) and sent.most_wei >= self.base_fee:
            del self.pool[sent.nonce]
            codes = {
                name: REBALANCED if self.is_triggered(name) else NOT_TRIGGERED
                for name in sent.names
            }
            self.blocks[-1].append((sent, codes))

    def reorganise(self, depth: int, returns: bool) -> None:
        """Other blocks, empty, for the last ones; transactions are in the pool again or nowhere."""
        self.forks += 1
        gone = [sent for block in self.blocks[-depth:] for sent, _ in block]
        self.blocks[-depth:] = [[] for _ in range(depth)]
        if returns:
            for sent in gone:
                self.pool.setdefault(sent.nonce, sent)

    # ---- as an `Endpoints`

    chain_id = 1

    def request(self, method: str, *params: Any) -> Any:
        """What the sender asks."""
        if method == "eth_getBalance":
            return hex(10**18)
        if method == "eth_getTransactionCount":
            count = self.nonce
            while params[1] == "pending" and count in self.pool:
                count += 1
            return hex(count)
        if method == "eth_getTransactionByHash":
            known = any(sent.hash == params[0] for sent in self.pool.values())
            return {} if known or self._receipt(params[0]) else None
        if method == "eth_getBlockByNumber":
            return {"timestamp": hex(12 * int(params[0], 16))}
        assert method == "eth_sendRawTransaction"
        return self._accept(bytes.fromhex(params[0][2:]))

    def batch(self, calls: Any) -> list[Any]:
        """Receipts."""
        return [self._receipt(params[0]) for _, params in calls]

    def _receipt(self, tx_hash: str) -> dict[str, Any] | None:
        for number, block in enumerate(self.blocks):
            for sent, codes in block:
                if sent.hash == tx_hash:
                    return {
                        "transactionHash": tx_hash,
                        "blockNumber": hex(number),
                        "blockHash": f"0x{number}.{self.forks}",
                        "gasUsed": hex(10**5),
                        "effectiveGasPrice": hex(self.base_fee),
                        "codes": codes,
                    }
        return None

    def _accept(self, raw: bytes) -> str:
        fails, self.fails = self.fails, ""
        if fails == "lost":
            raise Unreachable("cut before")
        sent = self.given[raw]
        if sent.nonce < self.nonce:
            raise RpcError("eth_sendRawTransaction", {"code": -32000, "message": "nonce too low"})
        waiting = self.pool.get(sent.nonce)
        if waiting is not None and waiting.hash == sent.hash:
            raise RpcError("eth_sendRawTransaction", {"code": -32000, "message": "already known"})
        if waiting is not None and 10 * sent.most_wei < 11 * waiting.most_wei:
            text = "replacement transaction underpriced"
            raise RpcError("eth_sendRawTransaction", {"code": -32000, "message": text})
        if fails != "swallowed":
            self.pool[sent.nonce] = sent
        if fails == "unanswered":
            raise Unreachable("cut after")
        return sent.hash


@dataclass
class Signing:
    """The key, which also tells the node what it signs."""

    node: Node
    address: str = KEY.address

    def sign(self, transaction: dict[str, Any]) -> bytes:
        """Signs."""
        raw = KEY.sign(transaction)
        names = tuple(bytes.fromhex(transaction["data"][2:]).decode().split()) or ()
        self.node.given[raw] = Sent(
            transaction_hash(raw), transaction["nonce"], transaction["maxFeePerGas"], names
        )
        return raw


def judge(intent: Intent, receipt: Any) -> Outcome:
    """As the node said."""
    codes = receipt["codes"]
    return Outcome(codes, 0, REBALANCED not in codes.values())


def sender_of(node: Node, store: Store, **options: Any) -> Sender:
    """A sender at the node."""
    return Sender(
        node,  # type: ignore[arg-type]
        Signing(node),
        store,
        judge,
        lambda intent: any(node.is_triggered(t.name) for t in intent.targets),
        Rules(confirmations=3, stuck_blocks=2),
        **options,
    )


def submit(sender: Sender, head: Head, *names: str, cap_wei: int = CAP) -> Intent:
    """A rebalance of some accounts."""
    targets = [Target(name) for name in names]
    data = " ".join(names).encode()
    return sender.submit(
        Action.REBALANCE, targets, head=head, receiver=ROOM, data=data, gas=10**5, cap_wei=cap_wei
    )


class Sending(RuleBasedStateMachine):
    """Everything that may happen between a sender and its node, in any order."""

    @initialize(forks=st.booleans())
    def begin(self, forks: bool) -> None:
        self.forks = forks  # whether blocks are taken back in this run
        self.node = Node()
        self.store = Store(":memory:", chain_id=1, system="")
        self.sender = sender_of(self.node, self.store)

    @rule(
        names=st.sets(st.sampled_from(NAMES)),
        fails=st.sampled_from(["", "", "", "lost", "unanswered", "swallowed"]),
        point=st.none() | st.sampled_from(FAULT_POINTS),
        blocks=st.integers(0, 2),
    )
    def look(self, names: set[str], fails: str, point: str | None, blocks: int) -> None:
        """A price falls; a round of the keeper, which may end at a point of an intent's life and
        begin again; then blocks."""
        for name in names:
            if not self.node.is_triggered(name):
                self.node.triggers[name] = self.node.cured(name) + 1
        self.node.fails = fails

        def fault(passed: str) -> None:
            if passed == point:
                raise Ended(point)

        self.sender = sender_of(self.node, self.store, fault=fault)
        with suppress(Ended):
            self._round()
        self.sender = sender_of(self.node, self.store)
        self.node.fails = ""
        for _ in range(blocks):
            self.node.mine()

    def _round(self) -> None:
        head = self.node.head
        self.sender.track(head)
        busy = self.store.busy(head.number)
        due = [n for n in NAMES if self.node.is_triggered(n) and n not in busy]
        if due:
            with suppress(SendError):
                submit(self.sender, head, *due)

    @precondition(lambda self: self.forks)
    @rule(depth=st.integers(1, 2), returns=st.booleans())
    def reorganise(self, depth: int, returns: bool) -> None:
        """Blocks that were not confirmed yet."""
        if len(self.node.blocks) > depth:
            self.node.reorganise(depth, returns)

    @precondition(lambda self: self.node.pool)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """A pool drops one."""
        del self.node.pool[data.draw(st.sampled_from(sorted(self.node.pool)))]

    @rule(gwei=st.integers(1, 40))
    def price_gas(self, gwei: int) -> None:
        """The base fee moves."""
        self.node.base_fee = gwei * GWEI

    @invariant()
    def nothing_is_done_twice(self) -> None:
        """Duplicates are 0: no transaction of its own came to an account that was cured already,
        but for those that a reorganisation brought back together."""
        if self.node.forks == 0:
            for block in self.node.blocks:
                for _, codes in block:
                    assert NOT_TRIGGERED not in codes.values()

    @invariant()
    def one_intent_each(self) -> None:
        """For a target, and for a nonce."""
        opened = self.store.open_intents()
        names = Counter(t.name for i in opened for t in i.targets if t.is_open)
        assert all(count == 1 for count in names.values())
        assert len({i.nonce for i in opened}) == len(opened)

    def teardown(self) -> None:
        """Left in peace it sees everything through: all are cured and nothing waits."""
        if not hasattr(self, "node"):
            return
        self.node.base_fee = GWEI
        self.sender = sender_of(self.node, self.store)
        for _ in range(40):
            self._round()
            self.node.mine()
        self.sender.track(self.node.head)
        assert not any(self.node.is_triggered(name) for name in NAMES)
        assert self.node.pool == {} and self.store.open_intents() == []
        self.store.close()


def test_sender__everything_in_any_order__nothing_twice_and_all_seen_through() -> None:
    """K01, K05, K07 to K10, K15 together."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Sending, settings=settings(max_examples=100, stateful_step_count=30, deadline=None)
    )


# ---- fees

wei = st.integers(0, 10**12)


@given(wei, wei, wei)
def test_offer__any_market__covers_the_base_fee_within_the_cap(
    base: int, tip: int, cap: int
) -> None:
    """K11: none where the cap does not pay the base fee."""
    fees = offer(base, tip, cap)
    if fees is None:
        assert cap < base or cap == 0
    else:
        assert base <= fees.most_wei <= cap and fees.tip_wei <= min(tip, fees.most_wei)


@given(wei, wei, st.none() | st.builds(Fees, wei, wei), wei)
def test_bumped__any_fees__are_an_eighth_more_within_the_cap(
    most: int, tip: int, market: Fees | None, cap: int
) -> None:
    """K09, K10: both fees, and no less than the market's."""
    fees = bumped(Fees(most, tip), market, cap)
    if fees is not None:
        assert 8 * fees.most_wei >= 9 * most and 8 * fees.tip_wei >= 9 * tip
        assert fees.tip_wei <= fees.most_wei <= cap
        assert market is None or fees.most_wei >= market.most_wei


# ---- cases


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def store() -> Store:
    return Store(":memory:", chain_id=1, system="")


def test_track__waits_for_ever_in_a_pool_that_evicts_nothing__is_outbid_below_its_cap(
    node: Node, store: Store
) -> None:
    """K09, as a node like geth has it: too cheap, it stays, and its successors are a bump apart."""
    sender = sender_of(node, store)
    node.triggers["0x01"] = 1
    submit(sender, node.head, "0x01", cap_wei=20 * GWEI)
    node.base_fee = 12 * GWEI
    fees = []
    for _ in range(12):
        node.mine()
        sender.track(node.head)
        if 0 in node.pool:
            fees.append(node.pool[0].most_wei)
    assert node.cured("0x01") == 1 and len(store.transactions(0)) == 2
    assert max(t.fees.most_wei for t in store.transactions(0)) <= 20 * GWEI
    assert [intent.state for intent in store.intents()] == [State.DONE]


def test_track__replacement_beyond_its_cap__nonce_is_freed_by_a_cancellation(
    node: Node, store: Store
) -> None:
    """K09: later ones would wait behind it for ever."""
    sender = sender_of(node, store)
    node.triggers.update(dict.fromkeys(NAMES[:2], 1))
    submit(sender, node.head, "0x01", cap_wei=3 * GWEI)
    submit(sender, node.head, "0x02")
    node.base_fee = 30 * GWEI
    for _ in range(8):
        node.mine()
        sender.track(node.head)
    assert node.cured("0x01") == 0 and node.cured("0x02") == 1
    assert node.nonce == 2 and sender.counts["cancelled"] == 1


def test_submit__target_in_hand__is_refused(node: Node, store: Store) -> None:
    sender = sender_of(node, store)
    submit(sender, node.head, "0x01")
    with pytest.raises(StoreError):
        submit(sender, node.head, "0x01", "0x02")
    assert len(node.pool) == 1


def test_submit__somebody_elses_transaction_waits__its_nonce_is_left(
    node: Node, store: Store
) -> None:
    """K08: the operator's own transfer, say."""
    node.pool[0] = Sent("0xelse", 0, 10 * GWEI, ())
    intent = submit(sender_of(node, store), node.head, "0x01")
    assert intent.nonce == 1 and node.pool[0].hash == "0xelse"


def test_submit__too_much_in_flight_or_too_dear_or_too_poor__says_so(
    node: Node, store: Store
) -> None:
    """K11, K22."""
    sender = sender_of(node, store)
    sender.rules = Rules(most_in_flight=1)
    submit(sender, node.head, "0x01")
    with pytest.raises(SendError, match="in flight"):
        submit(sender, node.head, "0x02")
    with pytest.raises(SendError, match="above its value"):
        submit(sender, node.head, "0x02", cap_wei=GWEI - 1)
    sender.rules = Rules()
    with pytest.raises(SendError, match="too little"):
        sender.submit(
            Action.REBALANCE,
            [Target("0x02")],
            head=node.head,
            receiver=ROOM,
            data=b"0x02",
            gas=10**9,
            cap_wei=CAP,
        )
    assert len(store.intents()) == 1


def test_track__older_intent_mined_after_all__takes_the_nonce_and_its_own_account(
    node: Node, store: Store
) -> None:
    """What was given up may still be somewhere; then the later one of this nonce is dropped."""
    sender = sender_of(node, store)
    node.triggers.update(dict.fromkeys(NAMES[:2], 1))
    node.fails = "swallowed"
    first = submit(sender, node.head, "0x01")
    raw = store.transactions(0)[0].raw
    store.finish(first, State.DROPPED, "given up")
    node.fails = "swallowed"
    second = submit(sender, node.head, "0x02")
    assert second.nonce == 0
    node.request("eth_sendRawTransaction", "0x" + raw.hex())
    node.mine()
    sender.track(node.head)
    assert store.intent(second.id).state is State.DROPPED
    assert store.intent(first.id).state is State.MINED
    assert sender.counts["overtaken"] == 1
    assert "0x02" not in store.busy(len(node.blocks))


def test_endpoints__none_given__is_refused() -> None:
    with pytest.raises(Exception, match="no endpoint"):
        Endpoints([])
