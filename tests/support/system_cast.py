"""A deployment with its people and the accounts they own, and what only its events tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from ballast.chain import Contract, Receipt
from ballast.chain.abi import checksum
from ballast.deploy import System, account_id
from ballast.model.margin import GWEI
from ballast.model.perps import Exposure, Headroom, insured_part_gwei
from tests.clearing_kit import in_order
from tests.support.system_reading import Reader
from tests.support.system_state import State
from tests.support.system_venue import ARBITRAGEUR, Pools
from tests.support.world import (
    QUOTE,
    UNLIMITED,
    AssetSpec,
    World,
    build_world,
)

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


class Cast:
    """A deployment, its people by role and the accounts they own."""

    def __init__(self, *, has_pools: bool = False) -> None:
        world: World = build_world(ASSETS, lent=LENT)
        # Contracts of venues, which hold what is theirs.
        self.venues: dict[str, Contract] = {"MockVenue": world.venue}
        self.pools = None
        if has_pools:
            prices = {name: int(spec.price) for name, spec in ASSETS.items()}
            self.pools = Pools(world, prices)
            self.venues |= self.pools.contracts
            world = replace(world, venue=self.pools.adapter)
        self.world, chain = world, world.chain
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
            **({"arbitrageur": ARBITRAGEUR} if self.pools else {}),
        }
        self.providers = (*PROVIDERS, "attacker")
        self.owners = ("owner_a", "owner_b", "owner_c")
        # A hook that does what it is told, in place of a hostile one.
        self.hook = chain.deploy("ScriptedHook", sender=people[0])
        self.contracts: dict[str, Contract] = {
            **world.system.contracts,
            "ScriptedHook": self.hook,
            **self.venues,
            **{f"token {name}": token for name, token in world.tokens.items()},
            **{f"feed {name}": feed for name, feed in world.feeds.items()},
        }
        if self.pools:
            self.contracts["UniswapV3Adapter"] = self.pools.adapter
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
        self.reader = Reader(self)
        call_state = world.clearinghouse.call_state.encode()
        clearing_house = world.clearinghouse.address
        self.watch = TransientWatch(chain.evm, people[9], clearing_house, call_state)
        chain.evm = self.watch

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
                    for spender in (*spenders, system.token_liquidator, system.keepers):
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

    def read(self, *, is_only_later: bool = False) -> State:
        """Everything, now; see `Reader.read`."""
        return self.reader.read(is_only_later=is_only_later)

    def unit(self, name: str) -> int:
        """WAD of one token unit."""
        return self._units[name]
