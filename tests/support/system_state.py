"""The whole deployed system as one value: every word, balance and figure, read at one moment.

A `Cast` is a deployment with its people; `read_state(cast)` reads a `State`. Reading is by view
calls alone, prepared once, because a campaign reads some four hundred words per action. A few words
of the perpetual markets have no view; `Seen` takes them from events. `State.book` is the state as
the exact model knows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ballast.chain import Contract, Receipt, Reverted
from ballast.chain.abi import checksum
from ballast.deploy import System, account_id
from ballast.model.ledger import Account, Book, Lender, Loans
from ballast.model.margin import GWEI, Mark, Position, Terms
from ballast.model.perps import Exposure, Headroom, Market, MarketTerms, insured_part_gwei
from tests.clearing_kit import in_order
from tests.support.world import (
    QUOTE,
    UNLIMITED,
    AssetSpec,
    World,
    build_world,
)

LOW_128 = 2**128 - 1
WAD = 10**18
SLOTS = 16  # places of an asset list
_PERPETUAL: Mapping[str, Any] = {
    "base_fee_e6": 500,
    "band_e6": 10_000,
    "lag_s": 1_200,
    "max_funding_e6": 3_000_000,
}
ASSETS: Mapping[str, AssetSpec] = {
    # Markets so small that a few accounts meet every cap.
    "ETH": AssetSpec(
        18,
        2_000,
        {
            "perpetual": {
                **_PERPETUAL,
                "depth": 10_000,
                "open_interest_cap": 130,
                "skew_cap": 100,
                "round_cap": 45,
                "min_size": 0.01,
                "weight_bps": 7_500,
            }
        },
    ),
    "BTC": AssetSpec(
        8,
        30_000,
        {
            "perpetual": {
                **_PERPETUAL,
                "depth": 700,
                "open_interest_cap": 9,
                "skew_cap": 7,
                "round_cap": 3,
                "min_size": 0.001,
                "weight_bps": 2_500,
            }
        },
    ),
    # A small asset whose quota and supply cap are within reach, without a perpetual market.
    "SOL": AssetSpec(6, 50, {"quota": 4_000, "supply_cap": 8_000, "prior_sigma_e6": 900_000}),
}
LENT = 1_500_000  # whole quote tokens in the vault, little enough for its limits to be met
WEALTH = 3_000_000  # dollars of each token in every wallet
SUBS = 2
# Liquidity providers; the attacker is one more.
PROVIDERS: Mapping[str, str] = {
    "provider": checksum("0x" + "a1" * 20),
    "provider_b": checksum("0x" + "b2" * 20),
}


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


class Seen:
    """What only events tell of perpetual markets, by asset id: round and skew at its start, the
    anchors of the breaker, the mode, and what insurance has not collected of the fees. Everything
    else that is followed here has a view as well."""

    def __init__(self, system: System) -> None:
        self._tellers = (system.perps, system.liquidator)
        self._fees = (system.house, system.insurance)
        self._assets: list[int] = list(system.perps.market_ids())
        self.exposures: dict[int, int] = {}
        self.breakers: dict[int, int] = {}
        self.close_only: dict[int, bool] = {}
        self.insured: dict[int, int] = {}
        for event in in_order(system.chain.logs(), *self._tellers):
            self._put(event.name, event.args)

    def follow(self, receipt: Receipt) -> None:
        """A transaction that was accepted."""
        for event in in_order(receipt, *self._tellers):
            self._put(event.name, event.args)

    def _put(self, name: str, args: Any) -> None:
        if name == "Traded":
            self.exposures[args.asset] = args.exposure_word
            part = insured_part_gwei(args.size_change, args.index_wad, args.fee_e6)
            self.insured[args.asset] = self.insured.get(args.asset, 0) + part
        elif name == "Offset":
            units = -(args.size_wad // GWEI)
            known = Exposure.from_word(self.exposures[args.asset])
            self.exposures[args.asset] = known.grown(units, units).word
        elif name == "HeadroomRefreshed":
            self.insured[args.asset] = Headroom.from_word(args.headroom_word).insured_gwei
        elif name == "CashPaid" and (args.payer, args.payee) == self._fees:
            left = args.amount_wad // GWEI
            for asset in self._assets:
                taken = min(left, self.insured.get(asset, 0))
                self.insured[asset] = self.insured.get(asset, 0) - taken
                left -= taken
        elif name == "BreakerMoved":
            self.breakers[args.asset] = args.breaker_word
        elif name == "ModeChanged":
            self.close_only[args.asset] = args.is_close_only


@dataclass(frozen=True)
class State:
    """What the system holds at one moment. Keys: account ids, asset names, holder names.

    Insurance and house are among the accounts of words, positions and terms, the house last of
    them.
    """

    time: int
    house: int
    ids: Mapping[str, int]  # asset ids by name
    quote_unit_wad: int
    account_words: Mapping[int, int]
    listed: Mapping[int, int]
    positions: Mapping[tuple[int, str], int]
    costs: Mapping[tuple[int, str], int]  # of markets
    market_words: Mapping[str, int]
    markets: Mapping[str, Market]  # as the model knows them
    sides: Mapping[str, tuple[int, int]]  # traders' longs and shorts as the markets count them
    house_figures: Mapping[str, int]
    pool: Mapping[str, int]  # the liquidity vault
    pool_shares: Mapping[str, int]
    claims: Mapping[tuple[str, str], int]  # provider, limit
    settings: Mapping[int, bytes]  # all that SETTINGS names, as one string
    guards: Mapping[int, int]
    terms: Mapping[int, Terms]
    supplies: Mapping[str, int]
    balances: Mapping[tuple[str, str], int]  # token, holder
    token_supplies: Mapping[str, int]
    shares: Mapping[str, int]
    budgets: Mapping[str, int]  # owner address
    wallets: Mapping[int, int]  # wallet_left
    permissions: Mapping[tuple[int, str], int]  # account, holder name
    flags: Mapping[int, int]  # since when an account is flagged below maintenance
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

    def size_wad(self, account: int, name: str) -> int:
        """Perpetual of one asset."""
        return _signed(self.positions[account, name] >> 128, 128)

    def words(self, account: int) -> tuple[int, ...]:
        """Everything stored in the ledger about an account."""
        held = (word for (who, _), word in self.positions.items() if who == account)
        costs = (word for (who, _), word in self.costs.items() if who == account)
        return (self.account_words[account], self.listed[account], *held, *costs)

    def held(self, account: int, name: str) -> Position:
        """A position as the margin model knows it."""
        cost_word = self.costs.get((account, name), 0)
        return Position.from_word(self.positions[account, name], cost_word)

    def has_perpetual(self, account: int) -> bool:
        """Whether the list says that an asset carries a perpetual or an unpaid result."""
        return self.listed[account] >> PERPETUALS_SHIFT != 0

    @cached_property
    def book(self) -> Book:
        """All of it as the exact model knows it."""
        name_of = {asset: name for name, asset in self.ids.items()}
        accounts = {}
        for account, word in self.account_words.items():
            listed = self.listed[account]
            ids = [listed >> 8 * i & 255 for i in range(min(listed >> 128 & 255, SLOTS))]
            held = {asset: self.held(account, name_of[asset]) for asset in ids if asset in name_of}
            accounts[account] = Account(word & LOW_128, word >> 128, held)
        return Book(
            house=self.house,
            markets={self.ids[name]: market for name, market in self.markets.items()},
            prices={self.ids[name]: mark for name, mark in self.marks.items()},
            accounts=accounts,
            loans=Loans(self.vault["index_wad"], self.quote_unit_wad),
            lender=Lender(self.vault["idle"], self.vault["debt_shares"]),
            now=self.time,
        )

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
        self.house: int = world.system.house
        self._units = {name: world.unit_wad(name) for name in world.tokens}
        self.seen = Seen(world.system)
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
            **PROVIDERS,
        }
        self.providers = (*PROVIDERS, "attacker")
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
        # The fund, and where a slice lies while it is sold for tokens.
        self.insurance: int = world.system.insurance
        self.transit: int = world.system.token_liquidator.ACCOUNT()
        self.everyone = (*self.accounts, self.insurance, self.transit, self.house)
        self.labels = {
            account: f"{self.role_of[self.owner_address(account)]}/{account & 255}"
            for account in self.accounts
        }
        self.labels |= {
            self.house: "house",
            self.insurance: "insurance",
            self.transit: "transit",
        }
        self._fund()
        call_state = world.clearinghouse.call_state.encode()
        clearing_house = world.clearinghouse.address
        asker = chain.send_raw(None, ASKER, people[9]).contract_address
        assert asker is not None
        self.watch = TransientWatch(chain.evm, people[9], clearing_house, call_state)
        chain.evm = self.watch
        self._plan = _reading_plan(self)
        self._keys = [key for key, _, _ in self._plan]
        self._asker = asker
        self._asked = b"".join(
            bytes.fromhex(address[2:]) + len(data).to_bytes(2, "big") + data
            for _, address, data in self._plan
        )

    def answers(self) -> Iterator[tuple[Any, bool, bytes]]:
        """Key, success and answer of every view of one reading."""
        chain = self.world.chain
        raw = chain.call_raw(self._asker, self._asked, is_view=True, gas=ASKING_GAS)
        place = 0
        for key in self._keys:
            size = int.from_bytes(raw[place + 32 : place + 64], "big")
            yield key, raw[place + 31] == 1, raw[place + 64 : place + 64 + size]
            place += 64 + size

    def _fund(self) -> None:
        world = self.world
        for role, who in self.roles.items():
            for name, token in world.tokens.items():
                price = 1 if name == QUOTE else int(ASSETS[name].price)
                units = WEALTH * 10 ** world.decimals(name) // price
                token.mint(who, units, sender=world.governor)
                if role != "stranger":
                    system = world.system
                    spenders = (system.clearinghouse, system.vault, system.liquidity_vault)
                    for spender in (*spenders, system.token_liquidator):
                        token.approve(spender, UNLIMITED, sender=who)

    def owner_address(self, account: int) -> str:
        """The address that owns an account."""
        for contract in self.world.system.contracts.values():
            if account_id(contract.address) == account:
                return contract.address
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

    @cached_property
    def market_names(self) -> list[str]:
        """Those with a perpetual market."""
        ids = self.world.system.perps.market_ids()
        return [name for name in self.names if self.world.asset(name) in ids]

    def read(self) -> State:
        """Everything, now."""
        return read_state(self)

    def unit(self, name: str) -> int:
        """WAD of one token unit."""
        return self._units[name]


Question = tuple[Any, str, bytes]
# Code that asks many views in one message, which takes a third of the time. Its input is, for each,
# address (20 bytes), length of the call data (2), call data; its answer success (32), length (32)
# and what was returned. Made by:
#   in = 0, out = 0x200; while in < calldatasize: copy the call data to 0, staticcall, store success
#   and returndatasize at out, copy what was returned behind them, advance both; return from 0x200.
_ASKING = bytes.fromhex(
    "6102005f5b368110601557506102009003610200f35b80358060501c61ffff1680836016015f375f5f825f8560601c"
    "5afa84523d84602001523d5f856040013e905001601601903d0160400190600456"
)
ASKER = bytes.fromhex(f"60{len(_ASKING):02x}8060095f395ff3") + _ASKING
ASKING_GAS = 900_000_000
PERPETUALS_SHIFT = 136
POOL_VIEWS = (
    *("totalSupply", "totalAssets", "entry_assets", "exit_assets", "request_room"),
    *("bad_debt_wad", "deposit_cap", "oldest_redemption"),
)
CLAIM_VIEWS = ("maxDeposit", "maxMint", "maxRedeem", "maxWithdraw")
SETTINGS = (
    *("hook", "guard", "announced", "policy", "last_at"),
    *("allocation", "announced_allocation"),
)
MARKET_KINDS = ("market", "terms_of", "headroom_of")
MANY_WORDS = (
    *("terms", "round", "vault_state", "marks"),
    *("terms_of", "exposure_of", "headroom_of", "escrow"),
)


def _reading_plan(cast: Cast) -> list[Question]:
    """Every view call of one reading: key, address, call data."""
    world, system = cast.world, cast.world.system
    ch, mandates, rebalancer = world.clearinghouse, world.mandates, world.rebalancer
    perps, pool = system.perps, system.liquidity_vault
    plan: list[Question] = []

    def ask(key: Any, contract: Contract, function: str, *args: Any) -> None:
        plan.append((key, contract.address, contract.function(function).encode(*args)))

    ids = [world.asset(name) for name in cast.names]
    for account in cast.everyone:
        ask(("account", account), ch, "account_word", account)
        ask(("listed", account), ch, "listed_word", account)
        for name in cast.names:
            ask(("position", account, name), ch, "position_word", account, world.asset(name))
        for name in cast.market_names:
            ask(("cost", account, name), ch, "cost_word", account, world.asset(name))
        ask(("terms", account), ch, "assess", account)
    for account in cast.accounts:
        ask(("hook", account), mandates, "hook_of", account)
        ask(("guard", account), mandates, "guard_word", account)
        ask(("announced", account), mandates, "announced_guard", account)
        ask(("allocation", account), mandates, "allocation_words", account)
        ask(("announced_allocation", account), mandates, "announced_allocation", account)
        ask(("policy", account), rebalancer, "policy_of", account)
        ask(("last_at", account), rebalancer, "last_at", account)
        ask(("wallet", account), mandates, "wallet_left", account)
        ask(("flag", account), system.liquidator, "flagged_since", account)
        for role in ("operator", "attacker"):
            ask(
                ("permission", account, role), mandates, "permissions_of", account, cast.roles[role]
            )
    for name in cast.names:
        ask(("supply", name), ch, "supply_word", world.asset(name))
    for name in cast.market_names:
        asset = world.asset(name)
        ask(("market", name), ch, "market_word", asset)
        for view in ("terms_of", "exposure_of", "headroom_of"):
            ask((view, name), perps, view, asset)
    for view in ("free_wad", "skew_charge_wad", "uncertainty_wad", "oldest_round_at"):
        ask(("house", view), perps, view)
    ask(("house", "below_since"), system.deleverager, "below_since")
    for view in POOL_VIEWS:
        ask(("pool", view), pool, view)
    ask(("escrow",), pool, "escrow")
    for provider in cast.providers:
        for view in CLAIM_VIEWS:
            ask(("claim", provider, view), pool, view, cast.roles[provider])
    for role in (*cast.owners, "attacker"):
        ask(("budget", cast.roles[role]), mandates, "budget_left", cast.roles[role])
    for name, token in world.tokens.items():
        ask(("token_supply", name), token, "totalSupply")
        for holder, address in cast.holders.items():
            ask(("balance", name, holder), token, "balanceOf", address)
    for holder, address in cast.holders.items():
        ask(("share", holder), system.vault, "balanceOf", address)
        ask(("pool_share", holder), pool, "balanceOf", address)
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


def _signed(word: int, bits: int = 256) -> int:
    return word - (word >> bits - 1 << bits)


def read_state(cast: Cast) -> State:
    """Asks every prepared question. A view that reverts is listed in `failures`."""
    parts: dict[str, dict[Any, Any]] = {}
    failures: list[str] = []
    raw_settings: dict[int, list[bytes]] = {account: [] for account in cast.accounts}
    for key, is_answered, raw in cast.answers():
        if not is_answered:
            failures.append(f"{key}: {Reverted(raw)}")
            raw = bytes(64 * 32)
        kind, rest = key[0], key[1:]
        if kind in SETTINGS:
            raw_settings[rest[0]].append(raw)
            if kind != "guard":
                continue
        into = parts.setdefault(kind, {})
        into[rest[0] if len(rest) == 1 else rest] = raw
    one = {
        kind: {key: int.from_bytes(raw[:32], "big") for key, raw in answers.items()}
        for kind, answers in parts.items()
        if kind not in MANY_WORDS
    }
    terms = {
        account: Terms(_signed(w[0]), w[1], _signed(w[2]), w[3])
        for account, w in ((a, _words(raw)) for a, raw in parts["terms"].items())
    }
    marks = _words(parts["marks"][()])[2:]
    vault = dict(one["vault"])
    state_words = _words(parts["vault_state"][()])
    vault.update(zip(VAULT_FIELDS, state_words, strict=False))
    pool = dict(one["pool"])
    pool["waiting"], pool["set_aside"] = _words(parts["escrow"][()])[:2]
    return State(
        time=cast.world.chain.time,
        house=cast.house,
        ids=cast.world.system.assets,
        quote_unit_wad=cast.unit(QUOTE),
        account_words=one["account"],
        listed=one["listed"],
        positions=one["position"],
        costs=one["cost"],
        market_words=one["market"],
        markets={
            name: _market(
                cast,
                name,
                {kind: answers[name] for kind, answers in parts.items() if kind in MARKET_KINDS},
            )
            for name in cast.market_names
        },
        sides={name: tuple(_words(raw)[:2]) for name, raw in parts["exposure_of"].items()},
        house_figures=one["house"],
        pool=pool,
        pool_shares=one["pool_share"],
        claims=one["claim"],
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
        flags=one["flag"],
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


def _market(cast: Cast, name: str, raw: Mapping[str, bytes]) -> Market:
    asset, seen = cast.world.asset(name), cast.seen
    long_wad, short_wad, refreshed_at = _words(raw["headroom_of"])[:3]
    return Market.from_words(
        MarketTerms(*_words(raw["terms_of"])[:10]),
        seen.exposures.get(asset, 0),
        Headroom(
            long_wad // GWEI, short_wad // GWEI, refreshed_at, seen.insured.get(asset, 0)
        ).word,
        seen.breakers.get(asset, 0),
        int.from_bytes(raw["market"][:32], "big"),
        seen.close_only.get(asset, False),
    )
