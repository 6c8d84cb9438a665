"""What an indexer sees is what is stored: every word rebuilt from events alone (I46)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ballast.chain import Event, Reverted
from ballast.model.margin import Position
from tests.clearing_kit import LOW_128, action, fund_all, in_order
from tests.support.fixtures import shared_world
from tests.support.world import World

SUBS = 3
TOLD_ELSEWHERE = ("Traded", "MarketTouched", "AssetChanged", "OperatorChanged")
FAR = 2**40 - 1
KINDS = (
    "deposit",
    "deposit",
    "withdraw",
    "borrow",
    "repay",
    "transfer",
    "sell",
    "buy",
    "batch",
    "operator",
    "cap",
    "rebalance",
    "trade",
    "trade",
    "close",
    "accrue",
    "price",
    "settle",
)

Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(0, SUBS - 1), st.integers(0, 4), st.integers(1, 1_000)
    ),
    min_size=5,
    max_size=25,
)


def signed(word: int, bits: int) -> int:
    """The low bits of a word as a signed number."""
    low = word % 2**bits
    return low - (low >> bits - 1 << bits)


@dataclass
class Replay:
    """Storage of the clearing house as events tell it: its own, those of `Perps` for what was
    traded, of `Listings` for what may be held, and grants by those of `Mandates`."""

    house: int
    accounts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    positions: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    costs: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    markets: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    lists: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    assets: dict[int, int] = field(default_factory=dict)
    caps: dict[int, int] = field(default_factory=dict)
    grants: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)

    def absorb(self, event: Event) -> None:
        args = event.args
        self.told[event.name] += 1
        if event.name in ("Deposited", "Withdrawn"):
            self._put(args.account, args.asset, args.word)
        elif event.name == "Transferred":
            self._put(args.donor, args.asset, args.donor_word)
            self._put(args.receiver, args.asset, args.receiver_word)
        elif event.name == "Swapped":
            self._put(args.account, args.asset_in, args.word_in)
            self._put(args.account, args.asset_out, args.word_out)
        elif event.name == "AssetListChanged":
            self.lists[args.account] = args.listed
        elif event.name == "AssetChanged":
            self.assets[args.asset] = args.asset_word
            self.caps[args.asset] = args.supply_cap_wad
        elif event.name == "Traded":
            key = (args.account, args.asset)
            old = Position.from_word(self.positions[key], self.costs[key])
            assert old.cost_wad + args.cost_change == signed(args.cost_word, 128)
            grown = Position(old.collateral_wad, old.size_wad + args.size_change)
            self.positions[key], self.costs[key] = grown.word, args.cost_word
            self.markets[args.asset] = args.market_word
            self._move_house(args.asset, -args.size_change, -args.cost_change)
        elif event.name == "Settled":
            key = (args.account, args.asset)
            assert signed(self.costs[key], 128) + args.moved == signed(args.cost_word, 128)
            self.costs[key] = args.cost_word
            who = (self.house, args.account) if args.moved > 0 else (args.account, self.house)
            for account, word in zip(who, (args.payer_word, args.payee_word), strict=True):
                self.accounts[account] = word
            self._move_house(args.asset, 0, -args.moved)
            self.told["Settled: a gain" if args.moved > 0 else "Settled: a loss"] += 1
        elif event.name == "MarketTouched":
            self.markets[args.asset] = args.market_word
        elif event.name == "OperatorChanged":
            grant = (args.permissions, args.expires_at)
            self.grants[args.account, args.operator] = grant
        else:
            raise AssertionError(f"no word is known for {event.name}")

    def _move_house(self, asset: int, size_change: int, cost_change: int) -> None:
        """The house is the other side of everything; it has no collateral and no entry."""
        key = (self.house, asset)
        size = Position.from_word(self.positions[key]).size_wad + size_change
        cost = signed(self.costs[key], 128) + cost_change
        self.positions[key] = Position(0, size).word
        self.costs[key] = cost % 2**128

    def _put(self, account: int, asset: int, word: int) -> None:
        if asset == 0:
            self.accounts[account] = word
        else:
            self.positions[account, asset] = word


def attempt(world: World, step: Step) -> None:
    """One thing an owner, a keeper or the governor does; what is refused leaves no event."""
    kind, sub, index, part = step
    house, owner = world.clearinghouse, world.owner
    account, other = world.account(sub), world.account((sub + 1) % SUBS)
    name = ["USD", *world.names][index % (len(world.names) + 1)]
    asset = world.asset(name)
    units = 10 ** world.decimals(name) * part * 2 // 3
    quote_units = 10**9 * part
    sent: Any = None
    if kind == "deposit":
        sent = house.deposit.encode(account, asset, units)
    elif kind == "withdraw":
        sent = house.withdraw.encode(account, asset, units, owner)
    elif kind == "borrow":
        sent = house.withdraw.encode(account, 0, quote_units, owner)
    elif kind == "repay":
        sent = house.repay.encode(account, quote_units)
    elif kind == "transfer":
        sent = house.transfer.encode(account, other, asset, units)
    elif kind == "sell":
        sent = house.swap.encode(account, world.venue, asset, 0, units, 0)
    elif kind == "buy":
        sent = house.swap.encode(account, world.venue, 0, asset, quote_units, 0)
    elif kind == "batch":
        bought = action(5, account, asset_out=asset, amount=quote_units, target=world.venue)
        acts = [action(1, account, asset=asset, amount=units), bought]
        acts += [action(4, account, other=other, asset=asset, amount=units // 2 + 1)]
        sent = house.batch.encode(acts)
    elif kind == "operator":
        expires_at = FAR if part % 16 else 0
        world.mandates.set_operator(account, world.attacker, part % 16, expires_at, sender=owner)
        return
    elif kind in ("trade", "close"):
        scale = 10**18 if kind == "close" else 10**15
        size = scale * part * (1 if index % 2 else -1)
        limit = 2**255 if size > 0 else 0
        world.system.perps.trade(
            account, 1 + sub % 2, size, limit, FAR, kind == "close", sender=owner
        )
        return
    elif kind == "accrue":
        world.chain.advance(60 * part)
        world.refresh()
        world.system.perps.accrue(1 + index % 2, sender=world.keeper)
        return
    elif kind == "price":
        world.set_price(world.names[index % 2], (1_500 + part) * (1 if index % 2 == 0 else 15))
        return
    elif kind == "settle":
        losers = [(other, 1), (other, 2)]
        world.system.perps.settle(account, 1 + sub % 2, losers, sender=world.keeper)
        return
    elif kind == "cap":
        cap = part * 10**22
        if asset:
            listings = world.system.listings
            listings.set_asset_limits(asset, cap, part % 100, sender=world.governor)
        return
    else:
        world.set_price("ETH", 1_500 + part)
        world.mandates.rebalance(account, sender=world.keeper)
        return
    world.chain.send_raw(house.address, sent, owner)


def live(world: World, steps: Sequence[Step]) -> Counter[str]:
    """A life that begins with three accounts of different leverage; at its end what events tell
    is what is stored. Returns how often each event was told."""
    house = world.clearinghouse
    with world.isolated():
        fund_all(world, world.owner, 10**24)
        for sub in range(SUBS):
            world.open_account(leverage=1 + sub, sub=sub, equity=10**6)
            world.enrol(world.account(sub), donors=[(sub + 1) % SUBS], floor_bps=13_000)
        house.deposit(world.system.house, 0, 10**13, sender=world.owner)
        world.system.perps.refresh(sender=world.keeper)
        for step in steps:
            try:
                attempt(world, step)
            except Reverted as error:
                assert error.reason, "a refusal without a reason"
        replay, system = Replay(world.system.house), world.system
        tellers = (house, world.mandates, system.perps, system.listings)
        for event in in_order(world.chain.logs(), *tellers):
            if event.address == house.address or event.name in TOLD_ELSEWHERE:
                replay.absorb(event)
        accounts = [world.system.house, *(world.account(sub) for sub in range(SUBS))]
        for asset in (1, 2):
            assert house.market_word(asset) == replay.markets[asset]
        for account in accounts:
            assert house.account_word(account) == replay.accounts[account]
            assert house.listed_word(account) == replay.lists[account]
            for asset in (1, 2):
                assert house.position_word(account, asset) == replay.positions[account, asset]
                assert house.cost_word(account, asset) == replay.costs[account, asset]
            mask, expires_at = replay.grants.get((account, world.attacker), (0, 0))
            live = mask if expires_at > world.chain.time else 0
            assert world.mandates.permissions_of(account, world.attacker) == live
        for asset in (1, 2):
            held = sum(
                word & LOW_128 for (_, known), word in replay.positions.items() if known == asset
            )
            assert house.asset_word(asset) == replay.assets[asset]
            assert house.supply_word(asset) == held | replay.caps[asset] << 128
    return replay.told


@settings(max_examples=100)
@given(steps=steps)
def test_events__of_any_life__rebuild_every_word(steps: list[Step]) -> None:
    """I46: accounts, positions, lists, listings, caps, totals and grants, from events alone."""
    live(shared_world(), steps)


@pytest.mark.parametrize(("ether", "bitcoin"), [(700, 600), (300, 400)])
def test_events__of_gains_and_losses__rebuild_every_word(ether: int, bitcoin: int) -> None:
    """I46: who pays and who is paid, on asking and on closing, out of cash and out of a loan."""
    told = live(
        shared_world(),
        [
            *(("trade", 0, 1, 1_000), ("trade", 1, 0, 700)),  # long ETH; short BTC, in debt
            *(("price", 0, 0, ether), ("price", 0, 1, bitcoin)),  # both up or both down
            *(("settle", 0, 0, 1), ("settle", 1, 0, 1)),
            *(("close", 0, 0, 1), ("close", 1, 1, 1)),
        ],
    )
    assert told["Traded"] == 4
    assert told["Settled: a gain"] == 1 and told["Settled: a loss"] == 2, told
