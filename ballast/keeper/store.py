"""The keeper's memory: one SQLite file (write-ahead log) per key and chain.

It holds what was learnt from events, intents **before** they are sent with every transaction ever
signed for them, and accounts in quarantine. All of it but the signed transactions could be found
again on chain; those are what makes a restart safe.

An intent is one purpose and one nonce. Its life:

    planned -> signed -> sent -> mined -> done
       |         |        |       |
       +---------+--------+-------+--> dropped      (nothing of it is on chain, its nonce is free)

``planned`` has a nonce and nothing signed, so nothing of it can be on chain. ``signed`` has a
transaction that may or may not have reached a node. ``mined`` waits for confirmations and goes back
to ``sent`` where a reorganisation takes it away. A *target* (an account, an asset to poke) belongs
to one open intent at most; the database refuses a second one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ballast.keeper.decisions import Action, Quarantine, quarantine_s
from ballast.keeper.fees import Fees

_FORMAT = 1
_KEPT_BLOCKS = 256  # hashes of blocks that the index remembers
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (
    account TEXT PRIMARY KEY, hook TEXT NOT NULL DEFAULT '', version INTEGER NOT NULL DEFAULT 0,
    is_special INTEGER NOT NULL DEFAULT 0, seen_block INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS assets (asset INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS intents (
    id INTEGER PRIMARY KEY, action TEXT NOT NULL, nonce INTEGER NOT NULL, state TEXT NOT NULL,
    receiver TEXT NOT NULL, data BLOB NOT NULL, gas INTEGER NOT NULL, cap_wei TEXT NOT NULL,
    block INTEGER NOT NULL, time_s INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '',
    mined_hash TEXT NOT NULL DEFAULT '', mined_block INTEGER NOT NULL DEFAULT 0,
    mined_block_hash TEXT NOT NULL DEFAULT '',
    mined_time_s INTEGER NOT NULL DEFAULT 0,
    gas_used INTEGER NOT NULL DEFAULT 0, cost_wad TEXT NOT NULL DEFAULT '0',
    gain_wad TEXT NOT NULL DEFAULT '0', is_wasted INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS one_intent_per_nonce ON intents (nonce)
    WHERE state IN ('planned', 'signed', 'sent', 'mined');
CREATE TABLE IF NOT EXISTS targets (
    intent INTEGER NOT NULL REFERENCES intents (id), target TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0, is_open INTEGER NOT NULL DEFAULT 1, code INTEGER,
    PRIMARY KEY (intent, target)
);
CREATE UNIQUE INDEX IF NOT EXISTS one_intent_per_target ON targets (target) WHERE is_open = 1;
CREATE TABLE IF NOT EXISTS transactions (
    hash TEXT PRIMARY KEY, intent INTEGER NOT NULL REFERENCES intents (id), nonce INTEGER NOT NULL,
    raw BLOB NOT NULL, most_wei TEXT NOT NULL, tip_wei TEXT NOT NULL, block INTEGER NOT NULL,
    is_cancel INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS transactions_by_nonce ON transactions (nonce);
CREATE TABLE IF NOT EXISTS quarantines (
    account TEXT NOT NULL, action TEXT NOT NULL, failures INTEGER NOT NULL,
    until_s INTEGER NOT NULL, reason TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (account, action)
);
"""
# What an upsert of an account may change.
_ACCOUNT_FIELDS = ("hook", "version", "is_special")


class StoreError(Exception):
    """The database is not this keeper's; the message says why."""


class Fenced(StoreError):
    """Another keeper has taken over since."""


class State(StrEnum):
    """Where an intent stands."""

    PLANNED = "planned"
    SIGNED = "signed"
    SENT = "sent"
    MINED = "mined"
    DONE = "done"
    DROPPED = "dropped"


_OPEN = (State.PLANNED, State.SIGNED, State.SENT, State.MINED)
_OPEN_LIST = ", ".join(f"'{state}'" for state in _OPEN)


@dataclass(frozen=True)
class Known:
    """An account that events told of."""

    account: int
    hook: str  # checksummed; "" if none
    version: int  # of its policy, as events told
    is_special: (
        bool  # has bounds or an allocation, so that margin alone does not say when it is due
    )


@dataclass(frozen=True)
class Target:
    """What an intent is for."""

    name: str
    version: int = 0
    code: int | None = None  # what came of it, as `rebalance_many` counts
    is_open: bool = True  # the intent holds it


@dataclass(frozen=True)
class Intent:
    """One purpose and one nonce."""

    id: int
    action: Action
    nonce: int
    state: State
    receiver: str
    data: bytes
    gas: int  # limit
    cap_wei: int
    block: int  # as of which it was decided
    time_s: int
    reason: str
    mined_hash: str  # of its transaction
    mined_block: int
    mined_block_hash: str
    targets: tuple[Target, ...]

    @property
    def accounts(self) -> list[int]:
        """Those of its targets that are accounts."""
        return [int(t.name, 16) for t in self.targets if t.name.startswith("0x")]


@dataclass(frozen=True)
class Transaction:
    """One that was signed."""

    hash: str
    intent: int
    nonce: int
    raw: bytes
    fees: Fees
    block: int  # at which it was last sent, or tried to be
    is_cancel: bool


def account_name(account: int) -> str:
    """How an account is written as a target."""
    return f"{account:#044x}"


class Store:
    """Opens or creates the file. Raises StoreError when it belongs to another chain or system.

    ``system`` is the clearing house's address. Every opening has a larger ``fence`` than the one
    before, and shuts that out: its writes raise Fenced from then on.
    """

    def __init__(self, path: Path | str, *, chain_id: int, system: str) -> None:
        self.path = str(path)
        self.fence = 0
        # Transactions are opened by hand, so that the fence is checked inside each.
        self._db = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN IMMEDIATE")
        self.fence = int(self._meta("fence") or 0) + 1
        self._put_meta("fence", str(self.fence))
        self._db.execute("COMMIT")
        with self._writing():
            for name, value in (("format", _FORMAT), ("chain", chain_id), ("system", system)):
                known = self._meta(name)
                if known is None:
                    self._put_meta(name, str(value))
                elif known != str(value):
                    raise StoreError(f"{self.path} is for {name} {known}, not {value}")

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if self._meta("fence") != str(self.fence):
                raise Fenced(f"another keeper has opened {self.path} since")
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["value"])

    def _put_meta(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def remember(self, name: str, value: int) -> None:
        """Keeps a number under a name."""
        with self._writing():
            self._put_meta(f"my {name}", str(value))

    def recall(self, name: str) -> int | None:
        """The number kept under a name."""
        value = self._meta(f"my {name}")
        return None if value is None else int(value)

    # ---- what events told

    @property
    def scanned(self) -> tuple[int, str] | None:
        """Number and hash of the newest block whose events were taken in."""
        row = self._db.execute("SELECT * FROM blocks ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else (int(row["number"]), str(row["hash"]))

    def scanned_blocks(self) -> list[tuple[int, str]]:
        """All that are remembered, newest first."""
        rows = self._db.execute("SELECT * FROM blocks ORDER BY number DESC")
        return [(int(row["number"]), str(row["hash"])) for row in rows]

    def rewind(self, number: int) -> None:
        """Forgets blocks above ``number``; what their events told stays, for it is a hint only."""
        with self._writing():
            self._db.execute("DELETE FROM blocks WHERE number > ?", (number,))

    def learn(
        self,
        number: int,
        block_hash: str,
        accounts: Mapping[int, Mapping[str, Any]],
        assets: Iterable[int] = (),
    ) -> None:
        """Takes in what events up to a block told, with the block, at once.

        ``accounts`` has the fields of :class:`Known` that events told of each account.
        """
        with self._writing():
            for account, told in accounts.items():
                name = account_name(account)
                self._db.execute(
                    "INSERT INTO accounts (account, seen_block) VALUES (?, ?)"
                    " ON CONFLICT (account) DO UPDATE SET seen_block = excluded.seen_block",
                    (name, number),
                )
                for field in _ACCOUNT_FIELDS:
                    if field in told:
                        self._db.execute(
                            f"UPDATE accounts SET {field} = ? WHERE account = ?",
                            (told[field], name),
                        )
            for asset in assets:
                self._db.execute("INSERT OR IGNORE INTO assets VALUES (?)", (asset,))
            self._db.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?)", (number, block_hash))
            self._db.execute("DELETE FROM blocks WHERE number <= ?", (number - _KEPT_BLOCKS,))

    def accounts(self) -> list[Known]:
        """All accounts that events told of."""
        return [
            Known(int(row["account"], 16), row["hook"], row["version"], bool(row["is_special"]))
            for row in self._db.execute("SELECT * FROM accounts ORDER BY account")
        ]

    def assets(self) -> list[int]:
        """Listed assets."""
        return [int(r["asset"]) for r in self._db.execute("SELECT * FROM assets ORDER BY asset")]

    # ---- intents

    def plan(
        self,
        action: Action,
        targets: Sequence[Target],
        *,
        nonce: int,
        receiver: str,
        data: bytes,
        gas: int,
        cap_wei: int,
        block: int,
        time_s: int,
        reason: str = "",
    ) -> Intent:
        """Writes an intent down before anything of it exists elsewhere.

        Raises StoreError where a target or the nonce belongs to an open intent already.
        """
        try:
            with self._writing():
                row = self._db.execute(
                    "INSERT INTO intents (action, nonce, state, receiver, data, gas, cap_wei,"
                    " block, time_s, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                    (
                        *(action, nonce, State.PLANNED, receiver, data, gas, str(cap_wei)),
                        *(block, time_s, reason),
                    ),
                ).fetchone()
                for target in targets:
                    self._db.execute(
                        "INSERT INTO targets (intent, target, version) VALUES (?, ?, ?)",
                        (row["id"], target.name, target.version),
                    )
        except sqlite3.IntegrityError as error:
            raise StoreError(f"in hand already: {error}") from error
        return self.intent(row["id"])

    def intent(self, number: int) -> Intent:
        """One intent."""
        row = self._db.execute("SELECT * FROM intents WHERE id = ?", (number,)).fetchone()
        return self._intent(row)

    def open_intents(self) -> list[Intent]:
        """Those that are not over, by nonce."""
        rows = self._db.execute(
            f"SELECT * FROM intents WHERE state IN ({_OPEN_LIST}) ORDER BY nonce"
        ).fetchall()
        return [self._intent(row) for row in rows]

    def intents(self, since_id: int = 0) -> list[Intent]:
        """All of them above an id, oldest first."""
        rows = self._db.execute("SELECT * FROM intents WHERE id > ? ORDER BY id", (since_id,))
        return [self._intent(row) for row in rows.fetchall()]

    def _intent(self, row: sqlite3.Row) -> Intent:
        targets = self._db.execute(
            "SELECT * FROM targets WHERE intent = ? ORDER BY rowid", (row["id"],)
        )
        return Intent(
            row["id"],
            Action(row["action"]),
            row["nonce"],
            State(row["state"]),
            row["receiver"],
            bytes(row["data"]),
            row["gas"],
            int(row["cap_wei"]),
            row["block"],
            row["time_s"],
            row["reason"],
            row["mined_hash"],
            row["mined_block"],
            row["mined_block_hash"],
            tuple(
                Target(t["target"], t["version"], t["code"], bool(t["is_open"])) for t in targets
            ),
        )

    def add_transaction(self, intent: Intent, transaction: Transaction) -> None:
        """Keeps a signed transaction before it is sent."""
        with self._writing():
            self._db.execute(
                "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(transaction.hash, transaction.intent, transaction.nonce, transaction.raw),
                    *(str(fee) for fee in transaction.fees),
                    *(transaction.block, transaction.is_cancel),
                ),
            )
            self._set_state(intent.id, State.SIGNED)

    def transactions(self, nonce: int) -> list[Transaction]:
        """All that were ever signed with a nonce, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM transactions WHERE nonce = ? ORDER BY rowid", (nonce,)
        )
        return [
            Transaction(
                row["hash"],
                row["intent"],
                row["nonce"],
                bytes(row["raw"]),
                Fees(int(row["most_wei"]), int(row["tip_wei"])),
                row["block"],
                bool(row["is_cancel"]),
            )
            for row in rows
        ]

    def sent(self, intent: Intent, tx_hash: str, block: int) -> None:
        """A node has taken a transaction of the intent."""
        with self._writing():
            self._db.execute("UPDATE transactions SET block = ? WHERE hash = ?", (block, tx_hash))
            self._set_state(intent.id, State.SENT)

    def mined(
        self,
        intent: Intent,
        tx_hash: str,
        block: int,
        block_hash: str,
        time_s: int,
        *,
        gas_used: int,
        cost_wad: int,
        gain_wad: int,
        codes: Mapping[str, int],
        is_wasted: bool,
    ) -> None:
        """Its transaction stands in a block: its targets are free again, the nonce is not yet."""
        with self._writing():
            self._db.execute(
                "UPDATE intents SET state = ?, mined_hash = ?, mined_block = ?,"
                " mined_block_hash = ?, mined_time_s = ?, gas_used = ?, cost_wad = ?,"
                " gain_wad = ?, is_wasted = ? WHERE id = ?",
                (
                    *(State.MINED, tx_hash, block, block_hash, time_s, gas_used, str(cost_wad)),
                    *(str(gain_wad), is_wasted, intent.id),
                ),
            )
            self._db.execute("UPDATE targets SET is_open = 0 WHERE intent = ?", (intent.id,))
            for name, code in codes.items():
                self._db.execute(
                    "UPDATE targets SET code = ? WHERE intent = ? AND target = ?",
                    (code, intent.id, name),
                )

    def unmined(self, intent: Intent) -> bool:
        """A reorganisation took its block away. False where one of its targets is in other hands
        by now, so that it is not to be sent again."""
        try:
            with self._writing():
                self._db.execute(
                    "UPDATE targets SET is_open = 1, code = NULL WHERE intent = ?", (intent.id,)
                )
                self._reset(intent)
        except sqlite3.IntegrityError:
            with self._writing():
                self._reset(intent)
            return False
        return True

    def _reset(self, intent: Intent) -> None:
        self._db.execute(
            "UPDATE intents SET state = ?, mined_hash = '', mined_block = 0, mined_time_s = 0,"
            " mined_block_hash = '', gas_used = 0, cost_wad = '0', gain_wad = '0',"
            " is_wasted = 0 WHERE id = ?",
            (State.SENT, intent.id),
        )

    def release(self, intent: Intent) -> None:
        """Its targets are free again, though its nonce is not."""
        with self._writing():
            self._db.execute("UPDATE targets SET is_open = 0 WHERE intent = ?", (intent.id,))

    def finish(self, intent: Intent, state: State, reason: str = "") -> None:
        """It is over: done, or dropped."""
        with self._writing():
            self._db.execute("UPDATE targets SET is_open = 0 WHERE intent = ?", (intent.id,))
            self._db.execute(
                "UPDATE intents SET state = ?, reason = CASE WHEN ? = '' THEN reason ELSE ? END"
                " WHERE id = ?",
                (state, reason, reason, intent.id),
            )

    def _set_state(self, intent: int, state: State) -> None:
        self._db.execute("UPDATE intents SET state = ? WHERE id = ?", (state, intent))

    def busy(self, block: int) -> set[str]:
        """Targets in hand as of a block: of open intents, and of those mined above it, whose effect
        that block does not show."""
        rows = self._db.execute(
            "SELECT target FROM targets JOIN intents ON intents.id = targets.intent"
            " WHERE is_open = 1 OR (state = ? AND mined_block > ?)",
            (State.MINED, block),
        )
        return {str(row["target"]) for row in rows}

    def wasted_wad(self, since_s: int) -> int:
        """What was spent since a moment on transactions that brought nothing."""
        rows = self._db.execute(
            "SELECT cost_wad FROM intents WHERE is_wasted = 1 AND mined_time_s >= ?", (since_s,)
        )
        return sum(int(row["cost_wad"]) for row in rows)

    def totals(self, since_id: int = 0) -> dict[str, int]:
        """Sums over mined intents above an id: how many, gas, and WAD spent and gained."""
        rows = self._db.execute(
            "SELECT gas_used, cost_wad, gain_wad, is_wasted FROM intents"
            " WHERE id > ? AND state IN (?, ?) AND mined_block > 0",
            (since_id, State.MINED, State.DONE),
        ).fetchall()
        return {
            "mined": len(rows),
            "wasted": sum(row["is_wasted"] for row in rows),
            "gas": sum(row["gas_used"] for row in rows),
            "cost_wad": sum(int(row["cost_wad"]) for row in rows),
            "gain_wad": sum(int(row["gain_wad"]) for row in rows),
        }

    @property
    def last_id(self) -> int:
        """Of the newest intent."""
        row = self._db.execute("SELECT COALESCE(MAX(id), 0) AS id FROM intents").fetchone()
        return int(row["id"])

    # ---- quarantines

    def quarantine(
        self,
        account: int,
        action: Action,
        *,
        time_s: int,
        reason: str,
        version: int,
        is_paid: bool = False,
        is_emergency: bool = False,
    ) -> Quarantine:
        """Leaves an account alone, for twice as long as the last time as a rule
        (:func:`~ballast.keeper.decisions.quarantine_s`). ``time_s`` is a block's."""
        known = self.quarantines().get(account, {}).get(action)
        is_same = known is not None and known.version == version
        failures = known.failures + 1 if known is not None and is_same else 1
        length_s = quarantine_s(failures, is_paid=is_paid, is_emergency=is_emergency)
        entry = Quarantine(failures, time_s + length_s, reason, version)
        with self._writing():
            self._db.execute(
                "INSERT OR REPLACE INTO quarantines VALUES (?, ?, ?, ?, ?, ?)",
                (account_name(account), action, failures, entry.until_s, reason, version),
            )
        return entry

    def absolve(self, account: int, action: Action) -> None:
        """It works again."""
        with self._writing():
            self._db.execute(
                "DELETE FROM quarantines WHERE account = ? AND action = ?",
                (account_name(account), action),
            )

    def quarantines(self) -> dict[int, dict[Action, Quarantine]]:
        """All of them, over or not."""
        found: dict[int, dict[Action, Quarantine]] = {}
        for row in self._db.execute("SELECT * FROM quarantines"):
            entry = Quarantine(row["failures"], row["until_s"], row["reason"], row["version"])
            found.setdefault(int(row["account"], 16), {})[Action(row["action"])] = entry
        return found
