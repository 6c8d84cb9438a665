"""What tests of the keeper share: a system on a node, accounts that pay, keys, and faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils import keccak

from ballast.chain import BLOCK_INTERVAL_S, Anvil, KeySigner, RpcChain
from ballast.deploy import account_id
from ballast.keeper import Endpoints, Keeper, Rooms, Rules, Store, Terms
from ballast.keeper.rooms import Head
from ballast.keeper.store import State
from tests.support.world import QUOTE, WAD, World, build_world

CHAIN_ID = 31_337
GWEI = 10**9
TANK = 200  # sub-account whose cash pays keepers
FALLEN = 1_800  # where an account of leverage three is below its trigger


class Killed(BaseException):
    """The process ended here; nothing that is caught as an error catches it."""


def key_of(number: int) -> KeySigner:
    """The key of a keeper, known to nobody else."""
    return KeySigner.of(Account.from_key(keccak(text=f"keeper {number}")))


@dataclass
class Stage:
    """A system on a node, and its keepers."""

    node: Anvil
    world: World
    folder: Path
    keepers: list[Keeper] = field(default_factory=list)
    is_mining: bool = True  # a transaction makes its block at once

    @property
    def rpc(self) -> Any:
        """The node itself, past every fault."""
        return self.world.chain.rpc

    # ---- keepers

    def keeper(
        self,
        number: int = 0,
        *,
        urls: Sequence[str] = (),
        terms: Terms | None = None,
        rules: Rules | None = None,
        fault: Callable[[str], None] | None = None,
        **more: Any,
    ) -> Keeper:
        """A keeper with a key of its own and its database; made again it finds what was left."""
        key = key_of(number)
        if self.world.chain.balance(key.address) == 0:
            self.world.chain.set_balance(key.address, 100 * 10**18)
        rpc = Endpoints(urls or [self.node.url], CHAIN_ID, timeout_s=5)
        addresses = {n: c.address for n, c in self.world.system.contracts.items()}
        rooms = Rooms.at(rpc, addresses)
        store = Store(
            self.folder / f"keeper{number}.sqlite3",
            chain_id=CHAIN_ID,
            system=addresses["Clearinghouse"],
        )
        keeper = Keeper(
            rpc,
            rooms,
            store,
            key,
            terms or Terms(max_capital_wad=10**6 * WAD),
            rules or Rules(),
            fault=fault or (lambda point: None),
            **more,
        )
        self.keepers.append(keeper)
        return keeper

    def close(self) -> None:
        """Closes what keepers have open."""
        for keeper in self.keepers:
            keeper.store.close()
            keeper.rpc.close()

    def step(self, keeper: Keeper) -> bool:
        """A round of the keeper, and of the node's miner, which comes a moment after its answer."""
        result = keeper.step()
        while self.is_mining and self.pool(keeper):
            pass
        return result

    # ---- accounts

    def fleet(self, count: int, *, first: int = 0, pays: bool = True) -> list[int]:
        """Accounts that ``fall`` takes below their trigger; a tank of their owner's pays."""
        world = self.world
        tank = world.account(TANK)
        if pays and world.clearinghouse.account_word(tank) == 0:
            world.deposit(tank, QUOTE, world.units(QUOTE, 10_000))
            world.make_donor(tank, floor_bps=10_000)
        accounts = []
        for sub in range(first, first + count):
            account = world.open_account(leverage=3, sub=sub)
            if pays:
                world.bound(account, payer=TANK, pay_cap=100 * WAD, gap_per_pay=2)
            world.enrol(account)
            accounts.append(account)
        return accounts

    def fall(self, price: int = FALLEN, *, is_poked: bool = False) -> None:
        """A lower round of ether; without a poke margin rates stay as they were."""
        self.world.set_price("ETH", price, is_poked=is_poked)

    def is_cured(self, account: int) -> bool:
        """Back at 1.30 times its initial requirement, but for a band."""
        equity, required, _, _ = self.world.clearinghouse.assess(account)
        return bool(1.28 * required < equity < 1.34 * required)

    def rebalances(self, account: int) -> int:
        """How often it was rebalanced on the chain as it stands."""
        events = self.world.chain.events(self.world.mandates, "Rebalanced")
        return sum(event.args.account == account for event in events)

    # ---- the node

    def mine(self, blocks: int = 1) -> None:
        """Blocks, with whatever is in the pool."""
        self.world.chain.mine(blocks)

    def set_automine(self, is_on: bool) -> None:
        """Whether a transaction makes its block at once."""
        self.rpc.request("evm_setAutomine", is_on)
        self.is_mining = is_on

    @contextmanager
    def held(self) -> Iterator[None]:
        """Transactions stay in the pool until a block is asked for."""
        self.set_automine(False)
        try:
            yield
        finally:
            self.set_automine(True)

    def reorganise(self, depth: int) -> None:
        """Other blocks, empty ones, in place of the last ones. Transactions are gone with them."""
        self.rpc.request("anvil_reorg", depth, [])
        self.world.chain._nonces.clear()

    def set_base_fee(self, wei: int) -> None:
        """Of the next block."""
        self.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def head(self) -> Head:
        """The newest block."""
        return Head.from_json(self.rpc.request("eth_getBlockByNumber", "latest", False))

    def nonce(self, keeper: Keeper) -> int:
        """Of the keeper's key, as mined."""
        assert keeper.key is not None
        return int(self.rpc.request("eth_getTransactionCount", keeper.key.address, "latest"), 16)

    def pool(self, keeper: Keeper) -> list[dict[str, Any]]:
        """The keeper's transactions that wait."""
        assert keeper.key is not None
        content = self.rpc.request("txpool_content")
        address = keeper.key.address.lower()
        found: list[dict[str, Any]] = []
        for part in content.values():
            for sender, transactions in part.items():
                if sender.lower() == address:
                    found += transactions.values()
        return found


def settle(stage: Stage, keeper: Keeper, rounds: int = 6) -> None:
    """Blocks and rounds until everything the keeper sent is confirmed."""
    for _ in range(rounds):
        stage.step(keeper)
        stage.mine()
    stage.step(keeper)


def states(keeper: Keeper) -> list[State]:
    """Of all its intents, oldest first."""
    return [intent.state for intent in keeper.store.intents()]


def later(head: Head, blocks: int) -> Head:
    """The same block as if so many had come since."""
    return replace(head, number=head.number + blocks)


@contextmanager
def staged(folder: Path, **options: Any) -> Iterator[Stage]:
    """A node with a world on it."""
    with Anvil(**options) as node:
        world = build_world(chain=RpcChain(node.url, block_interval_s=BLOCK_INTERVAL_S))
        stage = Stage(node, world, folder)
        try:
            yield stage
        finally:
            stage.close()


def taker_of(keeper: Keeper) -> int:
    """The account that takes slices and is paid."""
    assert keeper.key is not None
    return account_id(keeper.key.address)
