"""The whole deployed system as one value: every word, balance and figure, read at one moment.

A `Cast` is a deployment with its people; `read_state(cast)` reads a `State`. Reading is by view
calls alone, prepared once, because a campaign reads some three hundred words per action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ballast.chain import Contract, Reverted
from ballast.model.margin import Mark, Position, Terms
from tests.support.world import (
    QUOTE,
    UNLIMITED,
    AssetSpec,
    World,
    build_world,
)

LOW_128 = 2**128 - 1
WAD = 10**18
ASSETS: Mapping[str, AssetSpec] = {
    "ETH": AssetSpec(18, 2_000),
    "BTC": AssetSpec(8, 30_000),
    # A small asset whose quota and supply cap are within reach.
    "SOL": AssetSpec(6, 50, {"quota": 4_000, "supply_cap": 8_000, "prior_sigma_e6": 900_000}),
}
LENT = 1_500_000  # whole quote tokens in the vault, little enough for its limits to be met
WEALTH = 3_000_000  # dollars of each token in every wallet
SUBS = 2


class TransientWatch:
    """Stands before the EVM and looks at the call state before it is cleared.

    An in-process chain clears transient storage after each message, as a real one does after each
    transaction, so a word left behind could not be seen from outside.
    """

    def __init__(self, evm: Any, caller: str, address: str, data: bytes) -> None:
        self._evm = evm
        self._question = (caller, address, data)
        self._result: Any = None
        self.is_armed = False
        self.left_behind: list[int] = []

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._evm, name)
        if callable(attribute):
            self.__dict__[name] = attribute
        return attribute

    @property
    def result(self) -> Any:
        """Of the last message that was not asked by this watch."""
        return self._evm.result if self._result is None else self._result

    def message_call(self, *args: Any, **options: Any) -> Any:
        """A message, as the EVM takes it."""
        self._result = None
        return self._evm.message_call(*args, **options)

    def reset_transient_storage(self) -> None:
        """Notes a call state that is not idle, then clears."""
        if self.is_armed:
            self._result = self._evm.result
            caller, to, data = self._question
            answer = self._evm.message_call(caller, to, data, gas=10**6, is_static=True)
            state = int.from_bytes(answer, "big")
            if state:
                self.left_behind.append(state)
        self._evm.reset_transient_storage()


@dataclass(frozen=True)
class State:
    """What the system holds at one moment. Keys: account ids, asset names, holder names."""

    time: int
    account_words: Mapping[int, int]
    listed: Mapping[int, int]
    positions: Mapping[tuple[int, str], int]
    settings: Mapping[int, bytes]  # hook, guard, announcement and policy, as one string
    guards: Mapping[int, int]
    terms: Mapping[int, Terms]
    supplies: Mapping[str, int]
    balances: Mapping[tuple[str, str], int]  # token, holder
    token_supplies: Mapping[str, int]
    shares: Mapping[str, int]
    budgets: Mapping[str, int]  # owner address
    wallets: Mapping[int, int]  # wallet_left
    permissions: Mapping[tuple[int, str], int]  # account, holder name
    marks: Mapping[str, Mark]
    rounds: Mapping[str, tuple[int, int]]  # answer and time of the newest round
    vault: Mapping[str, int]
    call_state: int
    failures: tuple[str, ...]  # views that reverted

    def cash_wad(self, account: int) -> int:
        """Stored cash of an account."""
        return self.account_words[account] & LOW_128

    def debt_shares(self, account: int) -> int:
        """Stored loan shares of an account."""
        return self.account_words[account] >> 128

    def debt_units(self, account: int) -> int:
        """Token units an account owes now, rounded up."""
        return -(-self.debt_shares(account) * self.vault["index_wad"] // WAD)

    def collateral_wad(self, account: int, name: str) -> int:
        """Collateral of one asset."""
        return self.positions[account, name] & LOW_128

    def words(self, account: int) -> tuple[int, ...]:
        """Everything stored in the ledger about an account."""
        held = (word for (who, _), word in self.positions.items() if who == account)
        return (self.account_words[account], self.listed[account], *held)

    @cached_property
    def is_any_price_bad(self) -> bool:
        """Whether some asset has no live price."""
        return any(not mark.is_live for mark in self.marks.values())

    @cached_property
    def is_any_price_unusable(self) -> bool:
        """Whether some price may not bound a swap or back an increase."""
        return any(mark.price.flags for mark in self.marks.values())


class Cast:
    """A deployment, its people by role and the accounts they own."""

    def __init__(self) -> None:
        self.world: World = build_world(ASSETS, lent=LENT)
        world, chain = self.world, self.world.chain
        chain.block_interval_s = 0  # time passes only where an action says so
        people = chain.accounts
        self.roles: dict[str, str] = {
            "governor": people[0],
            "owner_a": people[1],
            "lender": people[2],
            "keeper": people[3],
            "attacker": people[4],
            "owner_b": people[5],
            "stranger": people[6],
            "owner_c": people[7],
            "operator": people[8],
        }
        self.owners = ("owner_a", "owner_b", "owner_c")
        # A hook that does what it is told, in place of a hostile one.
        self.hook = chain.deploy("ScriptedHook", sender=people[0])
        self.contracts: dict[str, Contract] = {
            **world.system.contracts,
            "ScriptedHook": self.hook,
            "MockVenue": world.venue,
            **{f"token {name}": token for name, token in world.tokens.items()},
            **{f"feed {name}": feed for name, feed in world.feeds.items()},
        }
        self.holders: dict[str, str] = dict(self.roles)
        self.holders.update({name: c.address for name, c in self.contracts.items()})
        self.role_of = {address: role for role, address in self.roles.items()}
        self.accounts = [
            world.account(sub, self.roles[role])
            for role in (*self.owners, "attacker")
            for sub in range(SUBS)
        ]
        self.labels = {
            account: f"{self.role_of[self.owner_address(account)]}/{account & 255}"
            for account in self.accounts
        }
        self._fund()
        call_state = world.clearinghouse.call_state.encode()
        clearing_house = world.clearinghouse.address
        self.watch = TransientWatch(chain.evm, people[9], clearing_house, call_state)
        chain.evm = self.watch
        self._plan = _reading_plan(self)

    def _fund(self) -> None:
        world = self.world
        for role, who in self.roles.items():
            for name, token in world.tokens.items():
                price = 1 if name == QUOTE else int(ASSETS[name].price)
                units = WEALTH * 10 ** world.decimals(name) // price
                token.mint(who, units, sender=world.governor)
                if role != "stranger":
                    for spender in (world.clearinghouse, world.system.vault):
                        token.approve(spender, UNLIMITED, sender=who)

    def owner_address(self, account: int) -> str:
        """The address that owns an account."""
        return self.world.owner_of(account)

    def owner_role(self, account: int) -> str:
        """The role that owns an account."""
        return self.role_of[self.owner_address(account)]

    def siblings(self, account: int) -> list[int]:
        """The other accounts of the same owner."""
        return [a for a in self.accounts if a >> 8 == account >> 8 and a != account]

    @property
    def names(self) -> list[str]:
        """Collaterals by name."""
        return self.world.names

    def read(self) -> State:
        """Everything, now."""
        return read_state(self)

    def unit(self, name: str) -> int:
        """WAD of one token unit."""
        return self.world.unit_wad(name)


Question = tuple[Any, str, bytes]


def _reading_plan(cast: Cast) -> list[Question]:
    """Every view call of one reading: key, address, call data."""
    world, system = cast.world, cast.world.system
    ch, mandates, rebalancer = world.clearinghouse, world.mandates, world.rebalancer
    plan: list[Question] = []

    def ask(key: Any, contract: Contract, function: str, *args: Any) -> None:
        plan.append((key, contract.address, contract.function(function).encode(*args)))

    ids = [world.asset(name) for name in cast.names]
    for account in cast.accounts:
        ask(("account", account), ch, "account_word", account)
        ask(("listed", account), ch, "listed_word", account)
        for name in cast.names:
            ask(("position", account, name), ch, "position_word", account, world.asset(name))
        ask(("terms", account), ch, "assess", account)
        ask(("hook", account), mandates, "hook_of", account)
        ask(("guard", account), mandates, "guard_word", account)
        ask(("announced", account), mandates, "announced_guard", account)
        ask(("policy", account), rebalancer, "policy_of", account)
        ask(("last_at", account), rebalancer, "last_at", account)
        ask(("wallet", account), mandates, "wallet_left", account)
        for role in ("operator", "attacker"):
            ask(("permission", account, role), ch, "permissions_of", account, cast.roles[role])
    for name in cast.names:
        ask(("supply", name), ch, "supply_word", world.asset(name))
    for role in (*cast.owners, "attacker"):
        ask(("budget", cast.roles[role]), mandates, "budget_left", cast.roles[role])
    for name, token in world.tokens.items():
        ask(("token_supply", name), token, "totalSupply")
        for holder, address in cast.holders.items():
            ask(("balance", name, holder), token, "balanceOf", address)
    for holder, address in cast.holders.items():
        ask(("share", holder), system.vault, "balanceOf", address)
    for name, feed in world.feeds.items():
        ask(("round", name), feed, "latestRoundData")
    for view in ("totalSupply", "totalAssets", "utilisation_wad", "borrow_rate_ray"):
        ask(("vault", view), system.vault, view)
    for view in ("deposit_cap", "reserve_factor_bps", "total_debt", "max_loan", "debt_index_ray"):
        ask(("vault", view), system.vault, view)
    ask(("vault_state",), system.vault, "state")
    ask(("marks",), system.oracle, "marks", ids)
    ask(("call_state",), ch, "call_state")
    return plan


VAULT_FIELDS = ("supply", "idle", "accrued_at", "debt_shares", "index_wad", "reserves")


def _words(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[i : i + 32], "big") for i in range(0, len(raw), 32)]


def _signed(word: int) -> int:
    return word - (word >> 255 << 256)


def read_state(cast: Cast) -> State:
    """Asks every prepared question. A view that reverts is listed in `failures`."""
    chain = cast.world.chain
    parts: dict[str, dict[Any, Any]] = {}
    failures: list[str] = []
    raw_settings: dict[int, list[bytes]] = {account: [] for account in cast.accounts}
    for key, address, data in cast._plan:
        try:
            raw = chain.call_raw(address, data, is_view=True)
        except Reverted as error:
            failures.append(f"{key}: {error}")
            raw = bytes(64 * 32)
        kind, rest = key[0], key[1:]
        if kind in ("hook", "guard", "announced", "policy", "last_at"):
            raw_settings[rest[0]].append(raw)
            if kind != "guard":
                continue
        into = parts.setdefault(kind, {})
        into[rest[0] if len(rest) == 1 else rest] = raw
    one = {
        kind: {key: int.from_bytes(raw[:32], "big") for key, raw in answers.items()}
        for kind, answers in parts.items()
        if kind not in ("terms", "round", "vault_state", "marks")
    }
    terms = {
        account: Terms(_signed(w[0]), w[1], _signed(w[2]), w[3])
        for account, w in ((a, _words(raw)) for a, raw in parts["terms"].items())
    }
    marks = _words(parts["marks"][()])[2:]
    vault = dict(one["vault"])
    state_words = _words(parts["vault_state"][()])
    vault.update(zip(VAULT_FIELDS, state_words, strict=False))
    return State(
        time=chain.time,
        account_words=one["account"],
        listed=one["listed"],
        positions=one["position"],
        settings={account: b"".join(raw) for account, raw in raw_settings.items()},
        guards=one["guard"],
        terms=terms,
        supplies=one["supply"],
        balances=one["balance"],
        token_supplies=one["token_supply"],
        shares=one["share"],
        budgets=one["budget"],
        wallets=one["wallet"],
        permissions=one["permission"],
        marks={
            name: Mark.from_words(marks[2 * i], marks[2 * i + 1])
            for i, name in enumerate(cast.names)
        },
        rounds={
            name: (_signed(w[1]), w[3])
            for name, w in ((n, _words(raw)) for n, raw in parts["round"].items())
        },
        vault=vault,
        call_state=one["call_state"][()],
        failures=tuple(failures),
    )


def held_position(state: State, account: int, name: str) -> Position:
    """A position as the margin model knows it."""
    return Position.from_word(state.positions[account, name])
