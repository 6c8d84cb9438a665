"""Sending, for one key: nonces, fees, and what became of everything that was ever signed.

An intent is written down, signed, its signed transaction is written down, and only then it is sent.
So whatever happens in between, and however the process ends, the next look finds it:

* its hash has a receipt: it is mined, and done once it is deep enough;
* its nonce is used and no hash of ours has a receipt: somebody else used the key; it is dropped;
* a node knows it: it waits, and is replaced at 12.5% more where it waits too long;
* no node knows it: the very same bytes are sent again if the call would still do something, and
  the nonce is freed or filled otherwise.

The same nonce never carries two intents that are both wanted, so nothing is done twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ballast.chain import RpcError
from ballast.chain.signing import transaction_hash
from ballast.keeper.decisions import Action
from ballast.keeper.endpoints import Endpoints, Unreachable
from ballast.keeper.fees import Fees, bumped, offer
from ballast.keeper.rooms import Head
from ballast.keeper.store import Intent, State, Store, Target, Transaction

log = logging.getLogger(__name__)

CANCEL_GAS = 21_000
# Where a run can be cut off, in the order of an intent's life; see `Sender.fault`.
FAULT_POINTS = ("decided", "planned", "signed", "stored", "sent", "mined")


class SendError(Exception):
    """Nothing was sent; the message says why."""


class Key(Protocol):
    """Who signs: a :class:`ballast.chain.KeySigner`, say."""

    address: str  # checksummed
    # The signed bytes of a type 2 transaction given as eth-account takes it.
    sign: Callable[[dict[str, Any]], bytes]


@dataclass(frozen=True)
class Rules:
    """How patiently, in blocks."""

    confirmations: int = 3  # a transaction is done when its block is the newest of so many
    stuck_blocks: int = 3  # waiting in a pool for so long it is replaced
    most_in_flight: int = 16  # nonces in use at once


@dataclass(frozen=True)
class Outcome:
    """What a mined transaction brought, told by whoever reads its receipt."""

    codes: Mapping[str, int] = field(default_factory=dict)  # by target
    gain_wad: int = 0
    is_wasted: bool = False  # it changed nothing


@dataclass
class Sender:
    """The only user of one key. ``judge`` reads a receipt, ``is_wanted`` says whether an intent's
    call would still do something at the newest block, ``price_wad`` is that of the coin gas is paid
    in. ``fault`` is called at each of :data:`FAULT_POINTS`; tests cut the run there."""

    rpc: Endpoints
    key: Key
    store: Store
    judge: Callable[[Intent, Mapping[str, Any]], Outcome]
    is_wanted: Callable[[Intent], bool]
    rules: Rules = field(default_factory=Rules)
    tip_wei: int = 10**9
    price_wad: int = 0
    max_gas_price_wei: int = 500 * 10**9
    fault: Callable[[str], None] = lambda point: None
    counts: Counter[str] = field(default_factory=Counter)
    _consumed: Counter[int] = field(default_factory=Counter)  # looks that found a nonce used

    # ---- sending

    def submit(
        self,
        action: Action,
        targets: Sequence[Target],
        *,
        head: Head,
        receiver: str,
        data: bytes,
        gas: int,
        cap_wei: int,
        reason: str = "",
    ) -> Intent:
        """Writes an intent down and sends it. ``cap_wei`` bounds what is paid for a unit of gas.

        Raises SendError where fees do not allow it, the purse is too small or too much is in
        flight; StoreError where a target is in hand already; Unreachable before anything is signed.
        A node that fails after that is no error: the next look finds out.
        """
        self.fault("decided")
        fees = offer(head.base_fee_wei, self.tip_wei, min(cap_wei, self.max_gas_price_wei))
        if fees is None:
            raise SendError(f"a base fee of {head.base_fee_wei / 1e9:.3f} gwei is above its value")
        if gas > head.gas_limit:
            raise SendError(f"{gas:,} gas do not fit into a block of {head.gas_limit:,}")
        balance = int(self.rpc.request("eth_getBalance", self.key.address, "latest"), 16)
        if balance < gas * fees.most_wei:
            raise SendError(f"{balance / 1e18:.6f} of the coin for gas is too little")
        intent = self.store.plan(
            action,
            targets,
            nonce=self._free_nonce(),
            receiver=receiver,
            data=data,
            gas=gas,
            cap_wei=cap_wei,
            block=head.number,
            time_s=head.time_s,
            reason=reason,
        )
        self.fault("planned")
        self._sign_and_send(intent, fees, head)
        return self.store.intent(intent.id)

    def _free_nonce(self) -> int:
        """The lowest that is not used, not in hand, and not of a transaction somebody else sent."""
        address = self.key.address
        latest, pending = (
            int(self.rpc.request("eth_getTransactionCount", address, tag), 16)
            for tag in ("latest", "pending")
        )
        taken = {intent.nonce for intent in self.store.open_intents()}
        if len(taken) >= self.rules.most_in_flight:
            raise SendError(f"{len(taken)} transactions are in flight")
        nonce = latest
        while nonce in taken or (nonce < pending and not self.store.transactions(nonce)):
            nonce += 1
        return nonce

    def _sign_and_send(
        self, intent: Intent, fees: Fees, head: Head, *, is_cancel: bool = False
    ) -> None:
        transaction = self._signed(intent, fees, head, is_cancel)
        self.fault("signed")
        self.store.add_transaction(intent, transaction)
        self.fault("stored")
        self._send(intent, transaction, head)

    def _signed(self, intent: Intent, fees: Fees, head: Head, is_cancel: bool) -> Transaction:
        raw = self.key.sign(
            {
                "type": 2,
                "chainId": self.rpc.chain_id,
                "nonce": intent.nonce,
                "to": self.key.address if is_cancel else intent.receiver,
                "value": 0,
                "data": "0x" if is_cancel else "0x" + intent.data.hex(),
                "gas": CANCEL_GAS if is_cancel else intent.gas,
                "maxFeePerGas": fees.most_wei,
                "maxPriorityFeePerGas": fees.tip_wei,
            }
        )
        return Transaction(
            transaction_hash(raw), intent.id, intent.nonce, raw, fees, head.number, is_cancel
        )

    def _send(self, intent: Intent, transaction: Transaction, head: Head) -> None:
        """Hands the bytes to a node. Whatever the answer, the hash decides later."""
        try:
            self.rpc.request("eth_sendRawTransaction", "0x" + transaction.raw.hex())
        except RpcError as error:
            text = str(error).lower()
            if "already known" in text or "already imported" in text or "already exists" in text:
                pass  # it had arrived
            elif "underpriced" in text:
                self.counts["underpriced"] += 1
                self._outbid(intent, transaction, head)
                return
            else:
                # Nonce too low, fee below the base fee, purse too small: the next look decides.
                self.counts["refused"] += 1
                log.warning("nonce %d was refused: %s", intent.nonce, error)
                return
        except Unreachable as error:
            self.counts["unknown"] += 1
            log.warning("nonce %d: no answer, outcome unknown: %s", intent.nonce, error)
            return
        self.fault("sent")
        self.store.sent(intent, transaction.hash, head.number)

    def _outbid(self, intent: Intent, transaction: Transaction, head: Head) -> None:
        """The pool has another transaction of this nonce: at least 12.5% above the dearest one."""
        before = self.store.transactions(intent.nonce)
        dearest = Fees(max(t.fees.most_wei for t in before), max(t.fees.tip_wei for t in before))
        cap = self._cap(intent, transaction.is_cancel)
        fees = bumped(dearest, self._market(head, cap), cap)
        if fees is None:
            log.warning("nonce %d: a replacement would cost more than it may", intent.nonce)
            return
        self._sign_and_send(intent, fees, head, is_cancel=transaction.is_cancel)

    def _market(self, head: Head, cap_wei: int) -> Fees | None:
        return offer(head.base_fee_wei, self.tip_wei, cap_wei)

    def _cap(self, intent: Intent, is_cancel: bool) -> int:
        """A cancellation frees all later nonces, so only the operator's own limit bounds it."""
        if is_cancel:
            return self.max_gas_price_wei
        return min(intent.cap_wei, self.max_gas_price_wei)

    # ---- what became of it

    def track(self, head: Head) -> None:
        """Finds out about every open intent. Raises Unreachable; then nothing is lost."""
        intents = self.store.open_intents()
        if not intents:
            return
        latest = int(self.rpc.request("eth_getTransactionCount", self.key.address, "latest"), 16)
        for intent in intents:
            self._follow(intent, head, latest)

    def _follow(self, intent: Intent, head: Head, latest: int) -> None:
        signed = self.store.transactions(intent.nonce)
        ours = [t for t in signed if t.intent == intent.id]
        if not ours:
            # Planned and never signed: nothing of it can be anywhere.
            self.counts["abandoned"] += 1
            self.store.finish(intent, State.DROPPED, "the run ended before it was signed")
            return
        receipt = self._receipt(signed)
        if receipt is not None:
            self._on_receipt(intent, signed, receipt, head)
        elif intent.state is State.MINED:
            self._on_reorganisation(intent)
        elif latest > intent.nonce:
            self._on_foreign_use(intent)
        else:
            self._on_pending(intent, ours, head)

    def _receipt(self, signed: Sequence[Transaction]) -> dict[str, Any] | None:
        answers = self.rpc.batch([("eth_getTransactionReceipt", [t.hash]) for t in signed])
        for answer in answers:
            if isinstance(answer, RpcError):
                raise Unreachable(f"no receipts: {answer}") from answer
            if answer is not None and answer.get("blockNumber"):
                return dict(answer)
        return None

    def _on_receipt(
        self,
        intent: Intent,
        signed: Sequence[Transaction],
        receipt: Mapping[str, Any],
        head: Head,
    ) -> None:
        mined = next(t for t in signed if t.hash == receipt["transactionHash"])
        if mined.intent != intent.id:
            # An older intent that was given up has been mined after all, and took the nonce.
            self.counts["overtaken"] += 1
            self.store.finish(intent, State.DROPPED, "an older transaction took its nonce")
            self._record(self.store.intent(mined.intent), mined, receipt)
            return
        block = int(receipt["blockNumber"], 16)
        seen = (intent.mined_hash, intent.mined_block_hash)
        if intent.state is not State.MINED or seen != (mined.hash, receipt["blockHash"]):
            self._record(intent, mined, receipt)
        if head.number - block + 1 >= self.rules.confirmations:
            self.store.finish(intent, State.DONE)

    def _record(self, intent: Intent, mined: Transaction, receipt: Mapping[str, Any]) -> None:
        self.fault("mined")
        block = int(receipt["blockNumber"], 16)
        gas_used = int(receipt["gasUsed"], 16)
        paid_wei = gas_used * int(receipt["effectiveGasPrice"], 16)
        header = self.rpc.request("eth_getBlockByNumber", hex(block), False)
        if mined.is_cancel:
            self.counts["cancelled"] += 1
            outcome = Outcome(is_wasted=True)
        else:
            outcome = self.judge(intent, receipt)
        self.store.mined(
            intent,
            mined.hash,
            block,
            str(receipt["blockHash"]),
            int(header["timestamp"], 16) if header else 0,
            gas_used=gas_used,
            cost_wad=paid_wei * self.price_wad // 10**18,
            gain_wad=outcome.gain_wad,
            codes=outcome.codes,
            is_wasted=outcome.is_wasted,
        )

    def _on_reorganisation(self, intent: Intent) -> None:
        """Its block is gone. The transaction may be in a pool again, or not: the next look, or this
        one's rest, decides as for any other."""
        self.counts["reorganised"] += 1
        log.warning("nonce %d: its block %d is gone", intent.nonce, intent.mined_block)
        self.store.unmined(intent)

    def _on_foreign_use(self, intent: Intent) -> None:
        """A node may show a new nonce before it shows a receipt: twice before it is believed."""
        self._consumed[intent.id] += 1
        if self._consumed[intent.id] < 2:
            return
        self.counts["foreign"] += 1
        log.warning("nonce %d was used by a transaction of nobody here", intent.nonce)
        self.store.finish(intent, State.DROPPED, "its nonce was used by another transaction")

    def _on_pending(self, intent: Intent, ours: Sequence[Transaction], head: Head) -> None:
        newest = ours[-1]
        known = self.rpc.request("eth_getTransactionByHash", newest.hash)
        if known is None:
            self._on_lost(intent, newest, head)
            return
        if intent.state is not State.SENT:
            self.store.sent(intent, newest.hash, newest.block)
        if head.number - newest.block >= self.rules.stuck_blocks:
            self._on_stuck(intent, newest, head)

    def _on_lost(self, intent: Intent, newest: Transaction, head: Head) -> None:
        """No node has it: it never arrived, was dropped, or went with a reorganisation."""
        if not newest.is_cancel and not self._is_ours(intent):
            self._give_up(intent, newest, head, "somebody else has its targets")
        elif not newest.is_cancel and not self.is_wanted(intent):
            self._give_up(intent, newest, head, "not needed any more")
        elif newest.fees.most_wei < head.base_fee_wei:
            self._on_stuck(intent, newest, head)
        else:
            self.counts["sent again"] += 1
            self._send(intent, newest, head)

    def _is_ours(self, intent: Intent) -> bool:
        """Whether it still holds its targets; after a reorganisation another one may."""
        return all(target.is_open for target in self.store.intent(intent.id).targets)

    def _give_up(self, intent: Intent, newest: Transaction, head: Head, reason: str) -> None:
        """Frees the nonce, or fills it where later ones wait behind it."""
        is_followed = any(
            other.nonce > intent.nonce and other.state is not State.PLANNED
            for other in self.store.open_intents()
        )
        if not is_followed:
            self.counts["given up"] += 1
            self.store.finish(intent, State.DROPPED, reason)
            return
        self.store.release(intent)
        self._cancel(intent, newest, head)

    def _on_stuck(self, intent: Intent, newest: Transaction, head: Head) -> None:
        """Too cheap for too long: dearer, and cancelled where that would be more than it brings."""
        if newest.is_cancel or not self.is_wanted(intent):
            self._cancel(intent, newest, head)
            return
        cap = self._cap(intent, False)
        fees = bumped(newest.fees, self._market(head, cap), cap)
        if fees is None:
            self._cancel(intent, newest, head)
            return
        self.counts["replaced"] += 1
        self._sign_and_send(intent, fees, head)

    def _cancel(self, intent: Intent, newest: Transaction, head: Head) -> None:
        """Nothing, to oneself, at this nonce."""
        cap = self._cap(intent, True)
        fees = bumped(newest.fees, self._market(head, cap), cap)
        if fees is None:
            log.error("nonce %d is stuck, and the limit on fees forbids more", intent.nonce)
            return
        self.counts["cancels"] += 1
        self._sign_and_send(intent, fees, head, is_cancel=True)


__all__ = [
    "FAULT_POINTS",
    "Key",
    "Outcome",
    "Rules",
    "SendError",
    "Sender",
]
