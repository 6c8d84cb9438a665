"""What a block shows: readings of accounts, simulations of what might be sent.

All accounts' margins are read in every block; plans only of those near their trigger, of those with
bounds or an allocation, of those that events told of, and of all of them in a sweep every so many
blocks, which also asks again which hook each account has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ballast.chain import Log, Reverted, RpcError, to_address
from ballast.chain.abi import revert_reason, tuple_codec
from ballast.keeper.decisions import (
    FAILED,
    NO_GAS,
    NOT_TRIGGERED,
    REBALANCED,
    Costs,
    Health,
    Mark,
    Preview,
    Reading,
    Slice,
    Terms,
)
from ballast.keeper.endpoints import Endpoints
from ballast.keeper.rooms import Head, Read, Reader, Rooms, reverted_by
from ballast.keeper.store import Known
from ballast.model.plan import Bounds, Code

# Below so many basis points of initial margin a plan is read in every block.
NEAR_BPS = 20_000
# A hook gets its gas whole or is not called (`Keepers`: 7,200,000 and what it keeps for itself, of
# which a call passes on 63/64); what an attempt uses comes on top.
ATTEMPT_GAS = 7_600_000
_USED_GAS = 450_000  # of an attempt, where nothing was measured
_LIQUIDATION_GAS = 6_000_000  # a rescue's and the worst slice's
MOST_ACCOUNTS = 8  # in one transaction
_HEALTHS, _PLANS, _UPKEEPS = 200, 32, 32
# Why the default hook has nothing to do, said when it is called all the same.
NOT_READY = (
    "rebalancer: trigger not met",
    "rebalancer: cooling down",
    "rebalancer: below minimum step",
    "rebalancer: not confirmed yet",
    "rebalancer: gas too dear",
    "rebalancer: margin call runs",
)
_MAX_MARKS = 16
ZERO_ADDRESS = "0x" + "00" * 20
_T = TypeVar("_T")
_CHECK = tuple_codec([{"type": "uint256[]"}, {"type": "address"}, {"type": "uint256"}])
_CHECKED = tuple_codec([{"type": "uint256[]"}, {"type": "uint256"}])


@dataclass(frozen=True)
class Survey:
    """Everything that decisions of one block are made of."""

    head: Head
    readings: list[Reading]
    marks: list[Mark]
    refreshed_at: list[int]
    costs: Costs


@dataclass
class Surveyor:
    """Reads blocks for the keeper whose address and taker account are given."""

    rpc: Endpoints
    rooms: Rooms
    address: str
    terms: Terms
    taker: int  # account of the address: takes slices, and is paid
    native_price_wad: int = 0  # used where the system prices no native coin
    tip_wei: int = 10**9
    simulates: bool = True  # whether the node knows eth_simulateV1
    _hooks: dict[int, str] = field(default_factory=dict)
    _native: int | None = None
    unit_wad: int = 0
    _house: int = 0

    def prices(self, head: Head) -> Costs:
        """What gas costs as of a block. To be asked first: it learns what never changes."""
        reader = Reader(self.rpc, head)
        self._learn_constants(reader)
        return self._costs(reader)

    def look(
        self,
        head: Head,
        costs: Costs,
        known: Sequence[Known],
        assets: Sequence[int],
        *,
        told: Iterable[int] = (),
        is_sweep: bool = False,
    ) -> Survey:
        """All of a block. Raises HeadMoved where it is gone, Unreachable where the node is."""
        reader = Reader(self.rpc, head)
        marks = self._marks(reader, assets)
        accounts = [k for k in known if k.account != self._house]
        if is_sweep:
            self._ask_hooks(reader, accounts)
        healths = self._healths(reader, [k.account for k in accounts])
        stale = {mark.asset for mark in marks if mark.is_stale}
        readings = [
            Reading(
                k.account,
                head.time_s,
                healths[k.account],
                has_hook=bool(self._hook(k)),
                version=k.version,
            )
            for k in accounts
            if k.account in healths
        ]
        near = self._near(accounts, healths, set(told), is_sweep)
        readings = self._with_plans(reader, readings, near)
        readings = [self._with_details(reader, r, stale) for r in readings]
        readings = self._with_previews(reader, readings, costs)
        readings = [self._with_slice(reader, r, costs) for r in readings]
        return Survey(head, readings, marks, self._refreshed_at(reader), costs)

    # ---- what a block says of the system

    def _learn_constants(self, reader: Reader) -> None:
        if self._native is None:
            word = reader.one(self.rooms.clearinghouse.asset_word, 0)
            self.unit_wad = word >> 160 & (1 << 72) - 1
            self._house = int(reader.one(self.rooms.perps.HOUSE))
            self._native = int(reader.one(self.rooms.rebalancer.NATIVE_ASSET))

    def _costs(self, reader: Reader) -> Costs:
        price = self.native_price_wad
        if self._native:
            price = int(reader.one(self.rooms.oracle.price_wad, self._native))
        return Costs(reader.head.base_fee_wei + self.tip_wei, price)

    def _marks(self, reader: Reader, assets: Sequence[int]) -> list[Mark]:
        marks = []
        for part in _chunks(assets, _MAX_MARKS):
            words = reader.one(self.rooms.oracle.marks, list(part))
            for asset, price, risk in zip(part, words[::2], words[1::2], strict=True):
                is_stale = bool(price >> 192 & 1)
                marks.append(
                    Mark(asset, price >> 200 & 2**40 - 1, risk >> 168 & 2**40 - 1, is_stale)
                )
        return marks

    def _refreshed_at(self, reader: Reader) -> list[int]:
        if not self.terms.is_altruistic:
            return []
        perps = self.rooms.perps
        ids = reader.one(perps.market_ids)
        answers = reader.many([Read(perps.headroom_of, (asset,)) for asset in ids])
        return [int(a[2]) for a in answers if not isinstance(a, Reverted)]

    # ---- what it says of accounts

    def _hook(self, known: Known) -> str:
        return self._hooks.get(known.account, known.hook)

    def _ask_hooks(self, reader: Reader, accounts: Sequence[Known]) -> None:
        for part in _chunks(accounts, _HEALTHS):
            reads = [Read(self.rooms.mandates.hook_of, (k.account,)) for k in part]
            for k, hook in zip(part, reader.many(reads), strict=True):
                if not isinstance(hook, Reverted):
                    self._hooks[k.account] = "" if hook == ZERO_ADDRESS else hook

    def _healths(self, reader: Reader, accounts: Sequence[int]) -> dict[int, Health]:
        answers = self._split(reader, self.rooms.lens.healths, accounts, _HEALTHS)
        return {account: Health(*answer) for account, answer in answers}

    def _near(
        self,
        accounts: Sequence[Known],
        healths: dict[int, Health],
        told: set[int],
        is_sweep: bool,
    ) -> dict[int, str]:
        """Accounts with a hook that are to be asked, with that."""
        near = {}
        for k in accounts:
            hook, health = self._hook(k), healths.get(k.account)
            if not hook or health is None:
                continue
            is_near = health.ratio_bps < NEAR_BPS or k.is_special or k.account in told
            if is_sweep or is_near or hook != self.rooms.rebalancer.address:
                near[k.account] = hook
        return near

    def _with_plans(
        self, reader: Reader, readings: list[Reading], near: dict[int, str]
    ) -> list[Reading]:
        default = self.rooms.rebalancer.address
        asked = [account for account, hook in near.items() if hook == default]
        others = [account for account, hook in near.items() if hook != default]
        plans = dict(self._split(reader, self.rooms.lens.plans, asked, _PLANS))
        triggers = self._triggers(reader, asked)
        due = self._due(reader, others)
        done = []
        for reading in readings:
            plan = plans.get(reading.account)
            if plan is not None:
                reading = replace(
                    reading,
                    code=int(plan.code),
                    shortfall_wad=int(plan.shortfall),
                    trigger_bps=triggers.get(reading.account, 0),
                )
            done.append(replace(reading, is_due=reading.account in due))
        return done

    def _triggers(self, reader: Reader, accounts: Sequence[int]) -> dict[int, int]:
        policy_of = self.rooms.rebalancer.policy_of
        answers = reader.many([Read(policy_of, (account,)) for account in accounts])
        return {
            account: int(answer.trigger_bps)
            for account, answer in zip(accounts, answers, strict=True)
            if not isinstance(answer, Reverted)
        }

    def _due(self, reader: Reader, accounts: Sequence[int]) -> set[int]:
        """Those whose own hook says that there is something to do."""
        due: set[int] = set()
        for part in _chunks(accounts, _UPKEEPS):
            data = _CHECK.encode((list(part), ZERO_ADDRESS, 0))
            answer = reader.many([Read(self.rooms.keepers.checkUpkeep, (data,))])[0]
            if not isinstance(answer, Reverted):
                due.update(_CHECKED.decode(answer[1], 0)[0])
        return due

    def _with_details(self, reader: Reader, reading: Reading, stale: set[int]) -> Reading:
        """What only those need that something may be done for."""
        asked = (Code.READY, Code.UNCONFIRMED, Code.NO_MEANS)
        if (
            not reading.is_due
            and reading.code not in asked
            and not reading.health.is_below_maintenance
        ):
            return reading
        account, rebalancer = reading.account, self.rooms.rebalancer
        answers = reader.many(
            [
                Read(rebalancer.version_of, (account,)),
                Read(rebalancer.bounds_of, (account,)),
                Read(rebalancer.last_at, (account,)),
                Read(self.rooms.liquidator.flagged_since, (account,)),
                Read(self.rooms.clearinghouse.listed_word, (account,)),
            ]
        )
        for answer in answers:
            if isinstance(answer, Reverted):
                raise answer
        version, bounds, last_at, flagged, listed = answers
        held = [listed >> 8 * i & 255 for i in range(listed >> 128 & 255)]
        return replace(
            reading,
            version=int(version),
            bounds=Bounds(
                pay_bps=bounds.pay_bps, pay_cap_wad=bounds.pay_cap, gap_per_pay=bounds.gap_per_pay
            ),
            last_at=int(last_at),
            below_since=int(flagged[0]),
            triggered_since=int(flagged[1]),
            stale=tuple(asset for asset in held if asset in stale),
        )

    # ---- what would happen

    def _with_previews(
        self, reader: Reader, readings: list[Reading], costs: Costs
    ) -> list[Reading]:
        wanted = [r for r in readings if r.has_hook and (r.code == Code.READY or r.is_due)]
        wanted.sort(key=lambda r: r.urgency)
        previews: dict[int, Preview] = {
            # Not to be tried yet; its gas matters for whether a flag pays.
            r.account: Preview(NOT_TRIGGERED, 0, _USED_GAS)
            for r in readings
            if r.code == Code.UNCONFIRMED
        }
        for part in _chunks(wanted, MOST_ACCOUNTS):
            previews.update(self._previews(reader, part, costs))
        return [replace(r, preview=previews.get(r.account)) for r in readings]

    def _previews(
        self, reader: Reader, part: Sequence[Reading], costs: Costs
    ) -> dict[int, Preview]:
        """What one transaction for all of them would do: the most urgent first, as it would be
        sent. Those that fail are left out and the rest is tried again, so that each of those who
        stay bears an equal part of the gas."""
        previews: dict[int, Preview] = {}
        left = list(part)
        while left:
            tried = self._tried(reader, left, costs)
            good = [r for r in left if tried[r.account].code == REBALANCED]
            unserved = [r for r in left if tried[r.account].code == NO_GAS]
            if len(good) == len(left):
                return previews | tried
            if len(good) + len(unserved) == len(left):
                # Nobody failed, it is too much at once.
                if len(left) == 1:
                    return previews | tried
                half = len(left) // 2
                previews |= self._previews(reader, left[:half], costs)
                return previews | self._previews(reader, left[half:], costs)
            stays = {r.account for r in (*good, *unserved)}
            previews |= {account: p for account, p in tried.items() if account not in stays}
            left = [r for r in left if r.account in stays]
        return previews

    def _tried(self, reader: Reader, part: Sequence[Reading], costs: Costs) -> dict[int, Preview]:
        accounts = [r.account for r in part]
        receiver, call = attempt(self.rooms, accounts, self.taker)
        gas = ATTEMPT_GAS + 2 * _USED_GAS * len(part)
        outcome = self._simulate(reader, [(receiver, call, gas)], costs)[0]
        share = outcome.gas // len(part)
        if outcome.failure is not None:
            code = NOT_TRIGGERED if outcome.failure in NOT_READY else FAILED
            return {account: Preview(code, 0, share, outcome.failure) for account in accounts}
        codes = [REBALANCED]
        if len(part) > 1:
            codes = [int(c) for c in self.rooms.keepers.rebalance_many.decode(outcome.output)]
        paid, reasons = self._paid(outcome, part, costs), self._reasons(outcome)
        return {
            account: Preview(
                code,
                paid.get(account, 0) if code == REBALANCED else 0,
                share,
                reasons.get(account, "it reverts") if code == FAILED else "",
            )
            for account, code in zip(accounts, codes, strict=True)
        }

    def _paid(self, outcome: _Outcome, part: Sequence[Reading], costs: Costs) -> dict[int, int]:
        """What each hook paid, from events; without logs what its owner's bounds promise."""
        if outcome.logs is not None:
            told = self.rooms.mandates.events(decoded_logs(outcome.logs), "KeeperPaid")
            return {
                e.args.account: e.args.amount * self.unit_wad
                for e in told
                if e.args.payee == self.taker
            }
        promised = {}
        for reading in part:
            since, bounds = reading.triggered_since, reading.bounds
            age = reading.time_s - since if since > reading.last_at else 0
            gas_wad = costs.gas_wad(_USED_GAS)
            if bounds.gap_per_pay:
                promised[reading.account] = bounds.pay_wad(gas_wad, reading.shortfall_wad, age)
        return promised

    def _reasons(self, outcome: _Outcome) -> dict[int, str]:
        told = self.rooms.keepers.events(decoded_logs(outcome.logs or []), "RebalanceFailed")
        return {e.args.account: revert_reason(e.args.reason) or "no reason given" for e in told}

    def _with_slice(self, reader: Reader, reading: Reading, costs: Costs) -> Reading:
        """The preview of a liquidation, and what it would do to the taker."""
        if not reading.health.is_below_maintenance or not self.terms.liquidates:
            return reading
        liquidator, account = self.rooms.liquidator, reading.account
        preview = reader.many([Read(liquidator.preview, (account,))])[0]
        if isinstance(preview, Reverted):
            return reading
        promised = preview.bonus_wad - preview.fee_wad
        assess = self.rooms.clearinghouse.assess
        before = reader.one(assess, self.taker)
        state = b"\0" * 32
        calls = [
            (
                liquidator.address,
                liquidator.liquidate.encode(account, self.taker, state),
                _LIQUIDATION_GAS,
            ),
            (assess.contract.address, assess.encode(self.taker), 2_000_000),
        ]
        outcome, after = self._simulate(reader, calls, costs)
        if outcome.failure is not None:
            simulated = Preview(FAILED, 0, outcome.gas, outcome.failure)
        else:
            # Without a chain of calls the second one shows the taker as it was.
            gain = promised
            if outcome.logs is not None:
                gain = int(assess.decode(after.output)[2]) - int(before[2])
            simulated = Preview(REBALANCED, gain, outcome.gas)
        part = Slice(
            max(preview.flow_wad + preview.bonus_wad, 0),
            preview.flow_wad,
            promised,
            int(before[0]),
            preview.is_rescue_due,
            simulated,
        )
        return replace(reading, part=part)

    def _simulate(
        self, reader: Reader, calls: Sequence[tuple[str, bytes, int]], costs: Costs
    ) -> list[_Outcome]:
        """Calls one behind the other in a block after the head; each alone where the node cannot
        do that."""
        base = reader.head.base_fee_wei
        requests = [
            {
                "from": self.address,
                "to": to,
                "data": "0x" + data.hex(),
                "gas": hex(gas),
                "maxFeePerGas": hex(costs.gas_price_wei),
                "maxPriorityFeePerGas": hex(min(self.tip_wei, costs.gas_price_wei)),
            }
            for to, data, gas in calls
        ]
        if self.simulates:
            block = {
                "blockOverrides": {"baseFeePerGas": hex(base)},
                "calls": requests,
                # Whoever looks need not be able to pay: that is the sender's business.
                "stateOverrides": {self.address: {"balance": hex(10**24)}},
            }
            try:
                answer = self.rpc.request(
                    "eth_simulateV1", {"blockStateCalls": [block]}, hex(reader.head.number)
                )
                return [_Outcome.from_json(call) for call in answer[0]["calls"]]
            except RpcError as error:
                if error.code not in (-32601, -32600, -32602, -32004):
                    raise
                self.simulates = False
        for request in requests:
            del request["maxFeePerGas"], request["maxPriorityFeePerGas"]
        answers = self.rpc.batch(
            [("eth_call", [request, hex(reader.head.number)]) for request in requests]
        )
        return [_Outcome.from_call(answer) for answer in answers]

    def _split(
        self, reader: Reader, function: Any, accounts: Sequence[int], size: int
    ) -> list[tuple[int, Any]]:
        """A batch view over many accounts; where one makes it fail it is found and left out."""
        answers: list[tuple[int, Any]] = []
        parts = list(_chunks(accounts, size))
        while parts:
            results = reader.many([Read(function, (list(part),)) for part in parts])
            again: list[Sequence[int]] = []
            for part, result in zip(parts, results, strict=True):
                if not isinstance(result, Reverted):
                    answers.extend(zip(part, result, strict=True))
                elif len(part) > 1:
                    again += [part[: len(part) // 2], part[len(part) // 2 :]]
            parts = again
        return answers


def attempt(rooms: Rooms, accounts: Sequence[int], payee: int) -> tuple[str, bytes]:
    """Receiver and data of a call that has accounts rebalanced. One account is called for directly,
    which is what its hook reckons with when it pays; several by a captured attempt each."""
    if len(accounts) == 1:
        return rooms.mandates.address, rooms.mandates.rebalance_for.encode(accounts[0], payee)
    return rooms.keepers.address, rooms.keepers.rebalance_many.encode(list(accounts), payee)


@dataclass(frozen=True)
class _Outcome:
    """What a simulated call did."""

    output: bytes
    gas: int
    logs: list[dict[str, Any]] | None  # None where the node does not tell
    failure: str | None = None

    @classmethod
    def from_json(cls, call: dict[str, Any]) -> _Outcome:
        output = bytes.fromhex(call["returnData"].removeprefix("0x"))
        failure = None
        if int(call["status"], 16) == 0:
            error = call.get("error") or {}
            data = error.get("data")
            raw = bytes.fromhex(data[2:]) if isinstance(data, str) else output
            failure = revert_reason(raw) or str(error.get("message", "it reverts"))
        return cls(output, int(call["gasUsed"], 16), call.get("logs", []), failure)

    @classmethod
    def from_call(cls, answer: Any) -> _Outcome:
        if isinstance(answer, RpcError):
            reverted = reverted_by(answer)
            return cls(b"", _USED_GAS, None, str(reverted or answer))
        return cls(bytes.fromhex(answer.removeprefix("0x")), _USED_GAS, None)


def decoded_logs(entries: Iterable[Mapping[str, Any]]) -> list[Log]:
    """As a contract decodes them."""
    return [
        Log(
            to_address(entry["address"]),
            tuple(bytes.fromhex(topic[2:]) for topic in entry["topics"]),
            bytes.fromhex(entry["data"][2:]),
            0,
            0,
            None,
        )
        for entry in entries
    ]


def _chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
