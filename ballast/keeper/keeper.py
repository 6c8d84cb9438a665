"""The keeper's round: see a block, find out what became of what was sent, read, decide, send.

:meth:`Keeper.tick` is one round and raises what stands in its way; :meth:`Keeper.step` is a round
that survives a node that is away; :meth:`Keeper.run` goes on until it is told to stop, and drains.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_utils import keccak

from ballast.chain import AbiError, ChainError, Log, Reverted, RpcError, to_address
from ballast.deploy import account_id
from ballast.keeper.decisions import (
    FAILED,
    NOT_TRIGGERED,
    REBALANCED,
    WAD,
    Action,
    Costs,
    Decision,
    Reading,
    Terms,
    decide,
    ranked,
    upkeep,
)
from ballast.keeper.endpoints import Endpoints, Unreachable, backoff_s
from ballast.keeper.index import Index
from ballast.keeper.rooms import Head, HeadMoved, Rooms, reverted_by
from ballast.keeper.sender import Key, Outcome, Rules, Sender, SendError
from ballast.keeper.store import Fenced, Intent, State, Store, StoreError, Target, account_name
from ballast.keeper.survey import (
    ATTEMPT_GAS,
    MOST_ACCOUNTS,
    Survey,
    Surveyor,
    attempt,
    decoded_logs,
)

log = logging.getLogger(__name__)

MOST_GAS = 16_000_000  # of one transaction; networks refuse more than 2^24
HOUR_S = 3_600
HEADROOM = "headroom"
NOBODY = "0x" + "00" * 19 + "01"
_LAG_BLOCKS = 64  # a head so far behind one already seen is a lagging node's, not a reorganisation
_SWEPT = "sweep before the last"  # a block
_ANY_STATE = b"\0" * 32
_QUIET = ("no hook", "nothing to do", "no policy")  # reasons that nobody waits to read


@dataclass(frozen=True)
class Habits:
    """How often and how fast, in blocks but for the last two."""

    sweep_blocks: int = 25  # plans and hooks of all accounts are read so often
    jitter_blocks: int = 0  # outside an emergency it lets up to so many blocks pass, by chance
    poll_s: float = 1.0
    max_head_age_s: int | None = None  # a head older than this by the clock here is not acted on


@dataclass
class Keeper:
    """One key's keeper. Without a ``key`` it decides and sends nothing (dry run)."""

    rpc: Endpoints
    rooms: Rooms
    store: Store
    key: Key | None
    terms: Terms = field(default_factory=Terms)
    rules: Rules = field(default_factory=Rules)
    habits: Habits = field(default_factory=Habits)
    sub: int = 0  # sub-account of the key that takes slices and is paid
    watcher: str = NOBODY  # who is simulated to call in a dry run
    tip_wei: int = 10**9
    native_price_wad: int = 0
    fault: Callable[[str], None] = lambda point: None
    clock: Callable[[], float] = time.time
    counts: Counter[str] = field(default_factory=Counter)
    decisions: list[Decision] = field(default_factory=list)  # of the last round
    _head: Head | None = None
    _swept_block: int | None = None
    _told: set[int] = field(default_factory=set)
    _first_seen: dict[int, int] = field(default_factory=dict)
    _said: dict[tuple[Action, int], str] = field(default_factory=dict)
    _failures: int = 0

    def __post_init__(self) -> None:
        address = self.key.address if self.key is not None else to_address(self.watcher)
        self.index = Index(self.rpc, self.rooms, self.store)
        self.surveyor = Surveyor(
            self.rpc,
            self.rooms,
            address,
            self.terms,
            account_id(address, self.sub),
            self.native_price_wad,
            self.tip_wei,
        )
        self.sender: Sender | None = None
        if self.key is not None:
            self.sender = Sender(
                self.rpc,
                self.key,
                self.store,
                self._judge,
                self._is_wanted,
                self.rules,
                self.tip_wei,
                max_gas_price_wei=self.terms.max_gas_price_wei,
                fault=self.fault,
                counts=self.counts,
            )
        self._first_id = self.store.last_id

    # ---- rounds

    def step(self) -> bool:
        """One round; False where it could not be finished, which is counted: a node was away, the
        block moved on, or an answer made no sense. The next round begins anew."""
        try:
            self.tick()
        except HeadMoved as moved:
            self.counts["heads moved"] += 1
            log.info("%s; looking again", moved)
            return False
        except Unreachable as away:
            self._failures += 1
            self.counts["unreachable"] += 1
            log.warning("%s; attempt %d", away, self._failures)
            return False
        except (ChainError, Reverted, AbiError, sqlite3.OperationalError) as error:
            self._failures += 1
            self.counts["broken rounds"] += 1
            log.error("round broken off: %s: %s", type(error).__name__, error)
            return False
        self._failures = 0
        return True

    def tick(self) -> bool:
        """One round at the newest block; False where that was seen already.

        Raises Unreachable, HeadMoved, and Fenced where another keeper has taken over.
        """
        head = self._newest()
        if head is None or (self._head is not None and head.hash == self._head.hash):
            return False
        is_sweep = self._is_sweep(head)
        # What was read since the sweep before is read again in this one.
        again_from = self.store.recall(_SWEPT) if is_sweep else None
        self._told |= self.index.update(head, again_from)
        costs = self.surveyor.prices(head)
        if self.sender is not None:
            self.sender.price_wad = costs.native_price_wad
            self.sender.track(head)
        survey = self.surveyor.look(
            head,
            costs,
            self.store.accounts(),
            self.store.assets(),
            told=self._told,
            is_sweep=is_sweep,
        )
        if is_sweep:
            self.store.remember(_SWEPT, self._swept_block or self.rooms.from_block)
            self._swept_block = head.number
        self.decisions = self._decide(survey)
        if self.sender is not None:
            self._act(survey)
        self._head, self._told = head, set()
        return True

    def run(
        self,
        is_stopped: Callable[[], bool],
        sleep: Callable[[float], Any] = time.sleep,
        drain_rounds: int = 60,
    ) -> None:
        """Rounds until it is told to stop; then nothing new, but what was sent is seen through."""
        while not is_stopped():
            self.step()
            sleep(backoff_s(self._failures) if self._failures else self.habits.poll_s)
        self.drain(sleep, drain_rounds)

    def drain(self, sleep: Callable[[float], Any] = time.sleep, rounds: int = 60) -> bool:
        """Waits until everything sent stands in a block; False where rounds ran out before."""
        for _ in range(rounds):
            if self._is_drained():
                return True
            try:
                head = self._newest()
                if head is not None and self.sender is not None:
                    self.sender.track(head)
            except Unreachable as away:
                log.warning("%s; draining", away)
            if not self._is_drained():
                sleep(self.habits.poll_s)
        return self._is_drained()

    def _is_drained(self) -> bool:
        return all(intent.state is State.MINED for intent in self.store.open_intents())

    def totals(self) -> dict[str, int]:
        """What this run's transactions brought and cost; see :meth:`Store.totals`."""
        return self.store.totals(self._first_id)

    # ---- seeing

    def _newest(self) -> Head | None:
        """The newest block; None where no endpoint has one that is fit to act on."""
        block = self.rpc.request("eth_getBlockByNumber", "latest", False)
        if block is None:
            raise Unreachable(f"{self.rpc.url} has no block")
        head = Head.from_json(block)
        if self._head is not None and head.number < self._head.number - _LAG_BLOCKS:
            self.counts["stale heads"] += 1
            log.warning(
                "%s is at block %d, seen was %d", self.rpc.url, head.number, self._head.number
            )
            self.rpc.switch()
            return None
        most = self.habits.max_head_age_s
        age_s = self.clock() - head.time_s
        if most is not None and age_s > most:
            self.counts["stale heads"] += 1
            log.warning("%s: the newest block is %.0f s old", self.rpc.url, age_s)
            self.rpc.switch()
            return None
        return head

    def _is_sweep(self, head: Head) -> bool:
        swept = self._swept_block
        return swept is None or not 0 <= head.number - swept < self.habits.sweep_blocks

    # ---- deciding

    def _decide(self, survey: Survey) -> list[Decision]:
        head, costs = survey.head, survey.costs
        held = self.store.quarantines()
        busy = self.store.busy(head.number)
        decisions: list[Decision] = []
        for reading in survey.readings:
            if account_name(reading.account) in busy:
                continue
            decision = decide(reading, self.terms, costs, held.get(reading.account))
            if decision.action is Action.QUARANTINE:
                self._quarantine(decision, reading)
            decisions.append(self._patient(decision, reading, head))
        decisions += upkeep(
            head.time_s,
            survey.marks,
            survey.refreshed_at,
            self.terms,
            costs,
            is_needed=any(d.needs_poke for d in decisions),
        )
        for decision in decisions:
            if decision.action is not Action.QUARANTINE:
                self._say(decision, head)
        return decisions

    def _patient(self, decision: Decision, reading: Reading, head: Head) -> Decision:
        """Keepers that see the same block need not all answer in the next one."""
        if not decision.action.is_sent:
            self._first_seen.pop(decision.target, None)
            return decision
        since = self._first_seen.setdefault(decision.target, head.number)
        if not self.habits.jitter_blocks or reading.health.is_emergency:
            return decision
        seed = keccak(text=f"{self.surveyor.address} {decision.target} {since}")
        patience = int.from_bytes(seed[:4], "big") % (self.habits.jitter_blocks + 1)
        if head.number - since >= patience:
            return decision
        text = f"leaves others {patience} blocks: {decision.reason}"
        return Decision(Action.WAIT, decision.target, text, decision.urgency)

    def _quarantine(self, decision: Decision, reading: Reading) -> None:
        action = decision.failed or Action.REBALANCE
        entry = self.store.quarantine(
            reading.account,
            action,
            time_s=reading.time_s,
            reason=decision.reason,
            version=reading.version,
            is_emergency=reading.health.is_emergency,
        )
        self.counts["quarantined"] += 1
        log.warning(
            "%s: %s would fail (failure %d): %s; left alone for %d s",
            *(short(reading.account), action, entry.failures, entry.reason),
            entry.until_s - reading.time_s,
        )

    def _say(self, decision: Decision, head: Head) -> None:
        """One line for each decision; waiting is worth a line when its reason is new."""
        key = (decision.action, decision.target)
        reason = decision.reason.split(":")[0]
        is_news = decision.action.is_sent or self._said.get(key, "above its trigger") != reason
        self._said[key] = reason
        name = str(decision.target)
        if decision.action not in (Action.POKE, Action.REFRESH):
            name = f"{short(decision.target)} {_distance(decision.urgency[1])}"
        level = logging.INFO if is_news and reason not in _QUIET else logging.DEBUG
        log.log(level, "block %d: %s %s: %s", head.number, decision.action, name, decision.reason)

    # ---- acting

    def _act(self, survey: Survey) -> None:
        head = survey.head
        wasted = self.store.wasted_wad(head.time_s - HOUR_S)
        if wasted >= self.terms.max_waste_wad:
            self.counts["stopped for waste"] += 1
            log.error("%.2f of gas for nothing in an hour: nothing is sent", wasted / WAD)
            return
        busy = self.store.busy(head.number)
        due = [d for d in ranked(self.decisions) if _target(d).name not in busy]
        self._send_pokes([d for d in due if d.action is Action.POKE], head)
        self._send_rebalances([d for d in due if d.action is Action.REBALANCE], head)
        for decision in due:
            if decision.action is Action.LIQUIDATE:
                self._send_liquidation(decision, head)
            elif decision.action is Action.FLAG:
                call = self.rooms.liquidator.flag.encode(decision.target)
                self._send([decision], head, self.rooms.liquidator.address, call)
            elif decision.action is Action.REFRESH:
                call = self.rooms.perps.refresh.encode()
                self._send([decision], head, self.rooms.perps.address, call)

    def _send_pokes(self, due: Sequence[Decision], head: Head) -> None:
        for start in range(0, len(due), MOST_ACCOUNTS):
            part = due[start : start + MOST_ACCOUNTS]
            call = self.rooms.oracle.poke.encode([d.target for d in part])
            self._send(part, head, self.rooms.oracle.address, call)

    def _send_rebalances(self, due: Sequence[Decision], head: Head) -> None:
        """The most urgent first, as many in one transaction as fit; each tried once more before."""
        part: list[Decision] = []
        for decision in [*due, None]:
            is_full = decision is None or (
                len(part) == MOST_ACCOUNTS
                or batch_gas([*part, decision]) > min(MOST_GAS, head.gas_limit)
            )
            if part and is_full:
                self._send_batch(part, head)
                part = []
            if decision is not None:
                part.append(decision)

    def _send_batch(self, part: Sequence[Decision], head: Head) -> None:
        codes = self._codes([d.target for d in part], batch_gas(part))
        ready = [d for d, code in zip(part, codes, strict=True) if code == REBALANCED]
        for decision, code in zip(part, codes, strict=True):
            if code != REBALANCED:
                self.counts["gone before sending"] += 1
                log.info("%s: code %d by now, not sent", short(decision.target), code)
        if not ready:
            return
        receiver, call = attempt(self.rooms, [d.target for d in ready], self.surveyor.taker)
        self._send(ready, head, receiver, call, batch_gas(ready))

    def _codes(self, accounts: Sequence[int], gas: int) -> list[int]:
        """What each attempt would come to at the newest state."""
        receiver, call = attempt(self.rooms, accounts, self.surveyor.taker)
        output = self._call(receiver, call, gas)
        if output is None:
            return [NOT_TRIGGERED] * len(accounts)
        return self._codes_in(receiver, output)

    def _codes_in(self, receiver: str, output: bytes) -> list[int]:
        if receiver == self.rooms.keepers.address:
            return [int(code) for code in self.rooms.keepers.rebalance_many.decode(output)]
        return [REBALANCED]

    def _send_liquidation(self, decision: Decision, head: Head) -> None:
        """One at a time: the taker's margin bears them one behind the other."""
        if any(
            i.action is Action.LIQUIDATE and i.state is not State.MINED
            for i in self.store.open_intents()
        ):
            return
        liquidator = self.rooms.liquidator
        call = liquidator.liquidate.encode(decision.target, self.surveyor.taker, _ANY_STATE)
        self._send([decision], head, liquidator.address, call)

    def _send(
        self,
        part: Sequence[Decision],
        head: Head,
        receiver: str,
        call: bytes,
        gas: int | None = None,
    ) -> None:
        assert self.sender is not None
        try:
            gas = gas or self._estimate(receiver, call)
            intent = self.sender.submit(
                part[0].action,
                [_target(d) for d in part],
                head=head,
                receiver=receiver,
                data=call,
                gas=gas,
                cap_wei=min(d.cap_wei for d in part),
                reason=part[0].reason,
            )
        except Fenced:
            raise
        except (SendError, StoreError) as error:
            self.counts["not sent"] += 1
            log.warning("%s of %d: not sent: %s", part[0].action, len(part), error)
            return
        self.counts[f"sent {part[0].action}"] += 1
        log.info("%s of %d: nonce %d, at most %d gas", intent.action, len(part), intent.nonce, gas)

    def _estimate(self, receiver: str, call: bytes) -> int:
        """What a node says and a quarter more. Not for `rebalance_many`, which is content with
        too little and answers so."""
        try:
            answer = self.rpc.request("eth_estimateGas", self._request(receiver, call))
        except RpcError as error:
            raise SendError(f"it would fail by now: {reverted_by(error) or error}") from error
        return min(int(answer, 16) * 5 // 4, MOST_GAS)

    def _request(self, receiver: str, call: bytes) -> dict[str, str]:
        return {"from": self.surveyor.address, "to": receiver, "data": "0x" + call.hex()}

    def _call(self, receiver: str, call: bytes, gas: int) -> bytes | None:
        """Its output at the newest state; None where it reverts."""
        request = self._request(receiver, call) | {"gas": hex(gas)}
        try:
            answer = self.rpc.request("eth_call", request, "latest")
        except RpcError as error:
            if reverted_by(error) is None:
                raise Unreachable(f"a call failed: {error}") from error
            return None
        return bytes.fromhex(answer.removeprefix("0x"))

    def _is_wanted(self, intent: Intent) -> bool:
        """Whether an intent's call would still do something."""
        output = self._call(intent.receiver, intent.data, intent.gas)
        if output is None:
            return False
        if intent.action is not Action.REBALANCE:
            return True
        return REBALANCED in self._codes_in(intent.receiver, output)

    # ---- what came of it

    def _judge(self, intent: Intent, receipt: Mapping[str, Any]) -> Outcome:
        """What a mined transaction brought each of its targets."""
        logs = decoded_logs(receipt["logs"])
        gains: Mapping[str, int] = {}
        if int(receipt["status"], 16) == 0:
            codes = self._on_revert(intent)
        else:
            gains = self._gains(intent, logs)
            codes = self._on_success(intent, logs)
        names = {REBALANCED: "done", NOT_TRIGGERED: "not needed", FAILED: "failed"}
        gas = int(receipt["gasUsed"], 16) // max(len(codes), 1)
        for name, code in codes.items():
            self.counts[f"{intent.action} {names[code]}"] += 1
            log.info(
                "block %d: %s %s %s, gas %s, brought %.4f",
                *(int(receipt["blockNumber"], 16), intent.action, _readable(name), names[code]),
                *(f"{gas:,}", gains.get(name, 0) / WAD),
            )
        return Outcome(codes, sum(gains.values()), REBALANCED not in codes.values())

    def _on_success(self, intent: Intent, logs: list[Log]) -> dict[str, int]:
        """A code for each target of a transaction that did not revert."""
        if intent.action is not Action.REBALANCE:
            for account in intent.accounts:
                self.store.absolve(account, intent.action)
            return {target.name: REBALANCED for target in intent.targets}
        done = {e.args.account for e in self.rooms.mandates.events(logs, "Rebalanced")}
        failures = {
            e.args.account: Reverted(e.args.reason).reason or "no reason given"
            for e in self.rooms.keepers.events(logs, "RebalanceFailed")
        }
        codes = {}
        for target in intent.targets:
            account = int(target.name, 16)
            if account in failures:
                codes[target.name] = FAILED
                self._on_failure(account, intent, failures[account], target)
            elif account in done:
                codes[target.name] = REBALANCED
                self.store.absolve(account, Action.REBALANCE)
            else:
                codes[target.name] = NOT_TRIGGERED
        return codes

    def _gains(self, intent: Intent, logs: list[Log]) -> Mapping[str, int]:
        """Pay of hooks and of rescues, and discounts less what insurance gets, WAD by target."""
        gains: Counter[str] = Counter()
        for event in self.rooms.mandates.events(logs, "KeeperPaid"):
            if event.args.payee == self.surveyor.taker:
                paid = event.args.amount * self.surveyor.unit_wad
                gains[account_name(event.args.account)] += paid
        for event in self.rooms.liquidator.events(logs):
            if event.name == "Liquidated":
                gains[account_name(event.args.account)] += event.args.bonus_wad - event.args.fee_wad
            elif event.name == "Rescued":
                gains[account_name(event.args.account)] += event.args.pay_wad
        return gains

    def _on_revert(self, intent: Intent) -> dict[str, int]:
        """Too late, as a rule: then the call has nothing to do any more. One that would still pass
        fails on chain alone, and is left alone for a while."""
        is_late = not self._is_wanted(intent)
        for target in intent.targets:
            if not is_late and target.name.startswith("0x"):
                self._on_failure(int(target.name, 16), intent, "reverts on chain alone", target)
        return {t.name: NOT_TRIGGERED if is_late else FAILED for t in intent.targets}

    def _on_failure(self, account: int, intent: Intent, reason: str, target: Target) -> None:
        time_s = max(intent.time_s, self._head.time_s if self._head is not None else 0)
        self.store.quarantine(
            account,
            intent.action,
            time_s=time_s,
            reason=reason,
            version=target.version,
            is_paid=True,
        )


def batch_gas(part: Iterable[Decision]) -> int:
    """The limit for attempts on many accounts: what each is expected to use and a quarter more,
    and for the last one the gas that its hook gets whole or not at all."""
    return ATTEMPT_GAS + sum(d.gas * 5 // 4 for d in part)


def short(account: int) -> str:
    """An account as a person reads it: its owner's ends and its number."""
    owner = to_address((account >> 8).to_bytes(20, "big"))
    return f"{owner[:6]}..{owner[-4:]}/{account & 255}"


def _distance(bps: int) -> str:
    """How far equity is from the trigger, of the requirement."""
    return f"at {bps / 100:+.2f}%" if abs(bps) < 10**6 else "owes nothing"


def _readable(target: str) -> str:
    return short(int(target, 16)) if target.startswith("0x") else target


def _target(decision: Decision) -> Target:
    if decision.action is Action.POKE:
        return Target(f"asset {decision.target}")
    if decision.action is Action.REFRESH:
        return Target(HEADROOM)
    return Target(account_name(decision.target), decision.version)


__all__ = ["Costs", "Habits", "Keeper", "batch_gas", "short"]
