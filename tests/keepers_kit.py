"""What tests of the keepers' entry share: watched accounts, rounds, and who is owed what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ballast.chain import Contract, Receipt, Reverted
from ballast.chain.abi import tuple_codec
from ballast.sandbox import Amount
from tests.support.hooks import UNLIMITED_BUDGET, hand_over
from tests.support.world import QUOTE, UNLIMITED, World, to_wad

REBALANCED, NOT_TRIGGERED, FAILED, NO_GAS = range(4)
ANSWERS, REVERTS, BURNS, BOMB, SLOW, BARE = range(6)  # moods of a MoodyHook
PLACES = 16
CHECK_GAS = 200_000
MIN_CHECKS = 50
FEE = 50_000  # token units, as deployed
LEAST = MIN_CHECKS * FEE
DOLLAR = 10**6
PLENTY = 16_500_000  # gas of an update that should reach its listener
PERFORM = tuple_codec([{"type": "uint256[]"}, {"type": "uint256"}])
CHECK = tuple_codec([{"type": "uint256[]"}, {"type": "address"}, {"type": "uint256"}])
FALLEN = 1_800  # where an account of leverage three is below its trigger


@dataclass(frozen=True)
class Desk:
    """A world whose ether feed tells a keepers' entry of every round.

    The entry has not learnt whose price that is, so a fall moves prices alone and not margin rates.
    """

    world: World
    keepers: Contract
    watched: set[str] = field(default_factory=set)  # feeds with places

    @property
    def feed(self) -> Contract:
        """Ether in dollars."""
        return self.world.feeds["ETH"]

    # ---- accounts

    def short(self, sub: int = 0, equity: Amount = 10_000) -> int:
        """An account that `fall` takes below its trigger."""
        account = self.world.open_account(leverage=3, sub=sub, equity=equity)
        self.world.enrol(account)
        return account

    def quiet(self, sub: int = 0, equity: Amount = 10_000) -> int:
        """An account that has nothing to do there."""
        account = self.world.open_account(leverage="1.2", sub=sub, equity=equity)
        self.world.enrol(account)
        return account

    def moody(
        self, when_asked: int = ANSWERS, at_work: int = ANSWERS, *, sub: int = 9
    ) -> tuple[int, Contract]:
        """An account whose hook always claims to be triggered, and that hook."""
        world = self.world
        account = world.account(sub, world.attacker)
        world.deposit(account, QUOTE, 100 * DOLLAR)
        hook = world.chain.deploy("MoodyHook", sender=world.attacker)
        hook.set_moods(when_asked, at_work, sender=world.attacker)
        hand_over(world, account, hook, budget=UNLIMITED_BUDGET)
        return account, hook

    def watch(self, account: int, units: int = 10 * DOLLAR, feed: Contract | None = None) -> None:
        """A place for the account, at its owner's expense."""
        world, owner, seen = self.world, self.world.owner_of(account), feed or self.feed
        world.fund(owner, QUOTE, units)
        world.quote.approve(self.keepers, UNLIMITED, sender=owner)
        self.keepers.watch(account, seen, units, sender=owner)
        self.watched.add(seen.address)

    def funds(self, account: int, feed: Contract | None = None) -> int | None:
        """What is left of a place; None if there is none."""
        listed = self.keepers.watched(feed or self.feed)
        return next((int(row.funds) for row in listed if row.account == account), None)

    # ---- rounds

    def fall(
        self, price: Amount = FALLEN, *, sender: str | None = None, gas: int = PLENTY
    ) -> Receipt:
        """The venue first, then a round, which the entry is told of."""
        self.world.set_venue_price("ETH", to_wad(price))
        return self.publish(price, sender=sender, gas=gas)

    def publish(
        self, price: Amount | None = None, *, sender: str | None = None, gas: int = PLENTY
    ) -> Receipt:
        """A round, at the present price by default."""
        answer = self.feed.latestRoundData()[1] if price is None else to_wad(price) // 10**10
        receipt: Receipt = self.feed.set_answer(
            answer, sender=sender or self.world.governor, gas=gas
        )
        return receipt

    def served(self, receipt: Receipt) -> list[tuple[int, int]]:
        """Account and code of each turn, in order."""
        told = self.keepers.events(receipt, "WatchServed")
        return [(event.args.account, event.args.code) for event in told]

    def reasons(self, receipt: Receipt) -> dict[int, str]:
        """Why accounts failed."""
        told = self.keepers.events(receipt, "RebalanceFailed")
        return {event.args.account: Reverted(event.args.reason).reason for event in told}

    def is_cured(self, account: int) -> bool:
        """Back at 1.30 times its initial requirement, but for a band."""
        equity, required, _, _ = self.world.clearinghouse.assess(account)
        return bool(1.29 * required < equity < 1.31 * required)

    # ---- money

    def claimable(self, who: str) -> int:
        """What somebody may claim."""
        return int(self.keepers.claimable(who))

    def owed(self) -> int:
        """Funds of all places and claims of everybody."""
        places = sum(row.funds for feed in self.watched for row in self.keepers.watched(feed))
        return int(places) + sum(map(self.claimable, self.world.chain.accounts))

    def held(self) -> int:
        """Quote tokens of the entry."""
        return int(self.world.quote.balanceOf(self.keepers))


def open_desk(world: World) -> Desk:
    """Listens to ether from now on."""
    contracts = (world.clearinghouse, world.mandates, world.system.oracle)
    keepers = world.chain.deploy("Keepers", *contracts, FEE, sender=world.governor)
    world.feeds["ETH"].set_listener(keepers, sender=world.governor)
    return Desk(world, keepers)


def perform_data(accounts: Sequence[int], payee: int = 0) -> bytes:
    """What `performUpkeep` takes."""
    return PERFORM.encode((list(accounts), payee))


def check_data(accounts: Sequence[int], feed: str = "0x" + "00" * 20, payee: int = 0) -> bytes:
    """What `checkUpkeep` takes."""
    return CHECK.encode((list(accounts), feed, payee))


def fees(gas_used: int, fee: int = FEE) -> int:
    """What a turn costs."""
    return fee * (gas_used // CHECK_GAS + 1)


def word(value: int) -> bytes:
    """One word."""
    return value.to_bytes(32, "big")
