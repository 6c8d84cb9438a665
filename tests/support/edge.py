"""Healthy accounts at the very edge of maintenance, and everything that any role may do to them.

    edge = build_edge()                        # all in one open block, governed without a delay
    with edge.world.isolated():
        edge.send(TIMELOCK, SETTERS[TIMELOCK, "feed"](edge, draw))
        edge.excesses()                        # of every account, WAD

Nothing moves by itself: the block stays open, so no interest runs and no rate rises with time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from ballast.chain import Contract
from ballast.governance import ANYONE
from tests.governance_kit import Council, exchange_oracle, govern_world
from tests.liquidation_kit import Floor, open_floor
from tests.support.parameters import parameters
from tests.support.world import QUOTE, WAD, World, build_world

ETH, BTC, NEW = 1, 2, 9
HOUR_S = 3_600
BPS = 10_000
# How far away a new feed may be, on both sides of what is let through.
FEED_MOVES_E6 = (-15_000, -10_050, -10_000, -9_900, -3_000, 0, 4_000, 10_000, 10_050, 20_000)

Call = tuple[Contract, str, tuple[Any, ...]]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Build = Callable[["Edge", Draw], list[Call]]

TIMELOCK, GUARDIAN, STEWARD, SOMEBODY = "timelock", "guardian", "steward", "somebody"


@dataclass(frozen=True)
class Edge:
    """The accounts and what is there to be put into setters."""

    council: Council
    accounts: tuple[int, ...]
    feeds: Mapping[int, tuple[Contract, ...]]  # of an asset, at FEED_MOVES_E6
    token: Contract  # not listed
    block: ExitStack  # holds the block open

    @property
    def world(self) -> World:
        """Where they are."""
        return self.council.world

    def excesses(self) -> dict[int, int]:
        """Equity less requirement at maintenance, WAD."""
        told = {}
        for account in self.accounts:
            _, _, equity, required = self.world.clearinghouse.assess(account)
            told[account] = int(equity - required)
        return told

    def prices(self) -> dict[int, int]:
        """Of the assets, WAD."""
        oracle = self.world.system.oracle
        return {asset: int(oracle.price_wad(asset)) for asset in (ETH, BTC)}

    def exposed(self, account: int, asset: int) -> int:
        """Collateral and size of a position together, WAD units: no move of its price by dp takes
        more than twice this times dp from an excess."""
        word = int(self.world.clearinghouse.position_word(account, asset))
        size = word >> 128
        return word % 2**128 + min(size, 2**128 - size)

    def limits(self) -> tuple[int, ...]:
        """Everything that a guardian may lower, the larger the more is allowed."""
        system, world = self.world.system, self.world
        told = [int(system.vault.deposit_cap()), int(system.liquidity_vault.deposit_cap())]
        for asset in (ETH, BTC):
            terms = system.perps.terms_of(asset)
            told.append(int(world.clearinghouse.supply_word(asset)) >> 128)
            told += [terms.open_interest_cap_gwei, terms.skew_cap_gwei, terms.round_cap_gwei]
            told.append(int(not system.perps.is_increase_stopped(asset)))
            told.append(int(system.oracle.paused_until(asset) <= world.chain.time))
        told.append(int(system.exchange.is_adapter(world.venue)))
        told.append(int(world.keepers.is_pull_feed(world.feeds["ETH"])))
        return tuple(told)

    def rest(self) -> tuple[Any, ...]:
        """What no guardian may touch: requirements, prices of loans, fees, and who holds what."""
        system, world = self.world.system, self.world
        told: list[Any] = [tuple(system.vault.rate_parameters()), world.keepers.fee()]
        for asset in (ETH, BTC):
            *parameters_, at = system.oracle.parameters(asset)
            told += [tuple(map(tuple, parameters_)), at, tuple(system.oracle.feed_of(asset))]
            told.append(system.oracle.marks([asset])[1])
            terms = system.perps.terms_of(asset)
            told.append((terms.depth_gwei, terms.base_fee_e6, terms.max_funding_e6))
        for token in world.tokens.values():
            holders = (*system.contracts.values(), self.council.governance, self.council.timelock)
            told += [token.balanceOf(holder) for holder in holders]
        return tuple(told)

    def send(self, role: str, calls: list[Call]) -> None:
        """One transaction of that role."""
        council, world = self.council, self.world
        if role == TIMELOCK:
            inner = [council.decision(*call[:2], *call[2]) for call in calls]
            batch = ([d.target for d in inner], [0] * len(inner), [d.payload for d in inner])
            waits = (*batch, bytes(32), bytes(32))
            council.timelock.schedule_batch(*waits, 0, sender=council.proposer)
            council.timelock.execute_batch(*waits, sender=world.keeper)
            return
        ((contract, name, arguments),) = calls
        senders = {GUARDIAN: council.guardian, STEWARD: council.steward, SOMEBODY: world.keeper}
        contract.function(name)(*arguments, sender=senders[role])

    def touch(self) -> None:
        """What anyone may do next: sample, refresh, accrue."""
        world = self.world
        world.system.poke(world.keeper)
        world.system.perps.refresh(sender=world.keeper)
        for asset in (ETH, BTC):
            world.system.perps.accrue(asset, sender=world.keeper)
        world.system.vault.accrue(sender=world.keeper)


# ---- the accounts


def build_edge(oracle: str = "RiskOracle") -> Edge:
    """Longs, shorts, loans, hedges and mixtures, each healthy by two units of the quote at most."""
    world = build_world()
    if oracle != "RiskOracle":
        exchange_oracle(world, oracle)
    floor = open_floor(world)
    falling, rising = _open_accounts(floor)
    floor.sink(*falling)
    floor.sink(*rising, name="BTC", step_bps=-100)
    for _ in range(6):
        world.wait(HOUR_S)
        floor.refresh()  # the breakers forget
    feeds = {asset: _other_feeds(world, name) for name, asset in world.system.assets.items()}
    token = world.chain.deploy("MockToken", "New", "NEW", 18, sender=world.governor)
    world.keepers.set_pull_feed(world.feeds["ETH"], True, sender=world.governor)
    council = govern_world(world, delay_s=0)
    edge = Edge(council, (*falling, *rising), feeds, token, ExitStack())
    world.fund(world.owner, QUOTE, 10**15)
    world.refresh()
    # Never closed: the chain belongs to these tests alone.
    edge.block.enter_context(world.chain.one_block())
    edge.touch()
    for account, excess in edge.excesses().items():
        assert excess < 0, "opened too healthy"
        # A repayment rounds a unit away.
        world.deposit(account, QUOTE, 1 - excess // world.unit_wad(QUOTE))
    return edge


def _open_accounts(floor: Floor) -> tuple[list[int], list[int]]:
    """Those that a fall of ETH sinks, and those that a rise of BTC does; at initial margin."""
    world, house = floor.world, floor.world.clearinghouse

    def lean(account: int) -> None:
        equity, required, *_ = house.assess(account)
        world.borrow(account, int(equity - required) // world.unit_wad(QUOTE) - 10**6)

    spot = world.account(0)
    world.deposit(spot, "ETH", 10 * WAD)
    lean(spot)
    mixed = world.account(1)
    world.deposit(mixed, "ETH", 10 * WAD)
    world.deposit(mixed, "BTC", 10**7)
    lean(mixed)
    long = floor.trader(2, cash=6_000)
    floor.trade(long, 10 * WAD)
    hedged = world.account(3)
    world.deposit(hedged, "ETH", 10 * WAD)
    floor.trade(hedged, -4 * WAD)
    lean(hedged)
    geared = world.account(4)
    world.deposit(geared, "ETH", 5 * WAD)
    floor.trade(geared, 3 * WAD)
    lean(geared)
    short = floor.trader(5, cash=8_000)
    floor.trade(short, -WAD, "BTC")
    overhedged = world.account(6)
    world.deposit(overhedged, "BTC", 10**7)
    floor.trade(overhedged, -WAD // 2, "BTC")
    lean(overhedged)
    return [spot, mixed, long, hedged, geared], [short, overhedged]


def _other_feeds(world: World, name: str) -> tuple[Contract, ...]:
    answer = int(world.feeds[name].latestRoundData()[1])
    feeds = []
    for move_e6 in FEED_MOVES_E6:
        feed = world.chain.deploy("MockFeed", 8, f"another {name}", sender=world.governor)
        feed.set_answer(answer + answer * move_e6 // 10**6, sender=world.governor)
        feeds.append(feed)
    return tuple(feeds)


# ---- what the timelock may do


def _near(draw: Draw, value: int, most: int = 2**256 - 1) -> int:
    """About what it is, or anything."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return int(draw(st.integers(0, most)))
    if kind == 1:
        return int(draw(st.sampled_from((0, 1, value, most))))
    return min(value * draw(st.integers(0, 25)) // 10, most)


def _asset(draw: Draw) -> int:
    return int(draw(st.sampled_from((ETH, ETH, BTC))))


def _margin(edge: Edge, draw: Draw) -> list[Call]:
    new = draw(parameters(least_l_bps=draw(st.sampled_from((100, 200)))))
    return [(edge.world.system.oracle, "set_parameters", (_asset(draw), new.values))]


def _harder(edge: Edge, draw: Draw) -> list[Call]:
    """The highest requirements there can be."""
    oracle, asset = edge.world.system.oracle, _asset(draw)
    values = (10**4, 6_000, 6_000, 6_000, 4_000, 4_000, 10**4, 4_000, 4_000, 1)
    return [(oracle, "set_parameters", (asset, values))]


def _feed(edge: Edge, draw: Draw) -> list[Call]:
    oracle, asset = edge.world.system.oracle, _asset(draw)
    feed = draw(st.sampled_from(edge.feeds[asset]))
    _, _, heartbeat_s, low, high = oracle.feed_of(asset)
    heartbeat_s = draw(st.sampled_from((heartbeat_s, 1_000, 2**24 - 1)))
    band = draw(st.sampled_from(((low, high), (60, 90), (2, 94), (low, low + 1))))
    stated = _near(draw, edge.prices()[asset])
    return [(oracle, "set_feed", (asset, feed, heartbeat_s, *band, stated))]


def _pause(edge: Edge, draw: Draw) -> list[Call]:
    until = edge.world.chain.time + _near(draw, 86_400, 2**200)
    return [(edge.world.system.oracle, "set_pause", (_asset(draw), until))]


def _listing(edge: Edge, draw: Draw) -> list[Call]:
    system, feed = edge.world.system, edge.feeds[ETH][5]
    values = draw(parameters()).values
    price = edge.prices()[ETH]
    return [
        (system.oracle, "list_asset", (NEW, feed, 3_900, 60, 90, price, 800_000, values)),
        (system.listings, "list_asset", (NEW, edge.token, _near(draw, WAD, 2**120), 100)),
    ]


def _asset_limits(edge: Edge, draw: Draw) -> list[Call]:
    arguments = (_asset(draw), _near(draw, 10**6 * WAD, 2**120), _near(draw, 100, 600))
    return [(edge.world.system.listings, "set_asset_limits", arguments)]


def _adapter(edge: Edge, draw: Draw) -> list[Call]:
    return [(edge.world.system.listings, "set_adapter", (edge.world.venue, draw(st.booleans())))]


def _terms(edge: Edge, draw: Draw) -> list[Call]:
    perps, asset = edge.world.system.perps, _asset(draw)
    terms = perps.terms_of(asset)._asdict()
    for name in draw(st.sets(st.sampled_from(sorted(terms)), min_size=1, max_size=4)):
        terms[name] = _near(draw, terms[name], 2**72 - 1)
    return [(perps, "set_terms", (asset, tuple(terms.values())))]


def _mode(edge: Edge, draw: Draw) -> list[Call]:
    return [(edge.world.system.perps, "set_close_only", (_asset(draw), draw(st.booleans())))]


def _rate(edge: Edge, draw: Draw) -> list[Call]:
    rate = tuple(_near(draw, value, 10**6) for value in edge.world.system.vault.rate_parameters())
    return [(edge.world.system.vault, "set_rate", (rate,))]


def _reserve_factor(edge: Edge, draw: Draw) -> list[Call]:
    return [(edge.world.system.vault, "set_reserve_factor", (_near(draw, 1_000, 10**5),))]


def _vault_cap(edge: Edge, draw: Draw) -> list[Call]:
    vault = edge.world.system.vault
    return [(vault, "set_deposit_cap", (_near(draw, vault.deposit_cap(), 2**96),))]


def _house_cap(edge: Edge, draw: Draw) -> list[Call]:
    vault = edge.world.system.liquidity_vault
    return [(vault, "set_deposit_cap", (_near(draw, vault.deposit_cap(), 2**96),))]


def _receiver(edge: Edge, draw: Draw) -> list[Call]:
    who = draw(st.sampled_from((edge.world.stranger, edge.world.system.vault.address, ANYONE)))
    return [(edge.world.system.vault, "set_insurance_receiver", (who,))]


def _liquidation(edge: Edge, draw: Draw) -> list[Call]:
    liquidator = edge.world.system.liquidator
    terms = liquidator.terms()._asdict()
    for name in draw(st.sets(st.sampled_from(sorted(terms)), min_size=1, max_size=3)):
        terms[name] = _near(draw, terms[name], 2**90)
    return [(liquidator, "set_terms", (tuple(terms.values()),))]


def _announce(edge: Edge, draw: Draw) -> list[Call]:
    fund = edge.world.system.insurance_fund
    return [(fund, "announce_withdrawal", (_near(draw, 10**9, 2**128), edge.world.stranger))]


def _fee(edge: Edge, draw: Draw) -> list[Call]:
    return [(edge.world.keepers, "set_fee", (_near(draw, edge.world.keepers.fee(), 10**7),))]


def _pull_feed(edge: Edge, draw: Draw) -> list[Call]:
    feed = draw(st.sampled_from(edge.feeds[ETH]))
    return [(edge.world.keepers, "set_pull_feed", (feed, draw(st.booleans())))]


def _roles(edge: Edge, draw: Draw) -> list[Call]:
    name = draw(st.sampled_from(("set_guardian", "set_steward", "transfer_ownership")))
    return [(edge.council.governance, name, (edge.world.stranger,))]


def _room(edge: Edge, draw: Draw) -> list[Call]:
    system = edge.world.system
    rooms = (system.oracle, system.perps, system.vault, system.liquidator, system.listings)
    return [(draw(st.sampled_from(rooms)), "transfer_ownership", (edge.world.stranger,))]


def _lift(edge: Edge, draw: Draw) -> list[Call]:
    return [(edge.council.governance, "lift_pause", ([_asset(draw)],))]


def _delay(edge: Edge, draw: Draw) -> list[Call]:
    return [(edge.council.timelock, "update_delay", (_near(draw, 86_400),))]


# ---- what the others may do


def _own(name: str, *builders: Callable[[Edge, Draw], Any]) -> Build:
    """An entry of governance."""
    return lambda edge, draw: [
        (edge.council.governance, name, tuple(build(edge, draw) for build in builders))
    ]


def _an_asset(edge: Edge, draw: Draw) -> int:
    return _asset(draw)


def _assets(edge: Edge, draw: Draw) -> list[int]:
    return list(draw(st.lists(st.sampled_from((ETH, BTC)), min_size=1, max_size=2)))


def _supply_cap(edge: Edge, draw: Draw) -> list[Call]:
    asset = _asset(draw)
    cap = int(edge.world.clearinghouse.supply_word(asset)) >> 128
    new = draw(st.integers(0, cap + cap // 8))
    return [(edge.council.governance, "set_supply_cap", (asset, new))]


def _caps(edge: Edge, draw: Draw) -> list[Call]:
    asset = _asset(draw)
    terms = edge.world.system.perps.terms_of(asset)
    kept = (terms.open_interest_cap_gwei, terms.skew_cap_gwei, terms.round_cap_gwei)
    percents = [draw(st.sampled_from((0, 50, 90, 100, 100, 110))) for _ in kept]
    new = tuple(cap * percent // 100 for cap, percent in zip(kept, percents, strict=True))
    return [(edge.council.governance, "set_market_caps", (asset, *new))]


def _deposit_cap(edge: Edge, draw: Draw) -> list[Call]:
    system = edge.world.system
    vault = draw(st.sampled_from((system.vault, system.liquidity_vault)))
    cap = int(vault.deposit_cap())
    new = draw(st.integers(0, cap + cap // 8))
    return [(edge.council.governance, "set_deposit_cap", (vault, new))]


def _rate_step(edge: Edge, draw: Draw) -> list[Call]:
    old = edge.world.system.vault.rate_parameters()
    new = tuple(value * draw(st.integers(88, 111)) // 100 for value in old)
    return [(edge.council.governance, "set_rate", (new,))]


def _fee_step(edge: Edge, draw: Draw) -> list[Call]:
    new = int(edge.world.keepers.fee()) * draw(st.integers(88, 112)) // 100
    return [(edge.council.governance, "set_fee", (new,))]


def _margin_step(edge: Edge, draw: Draw) -> list[Call]:
    asset = _asset(draw)
    *rates, quota = edge.world.system.oracle.parameters(asset)[1]
    raised = [rate * draw(st.integers(100, 121)) // 100 for rate in rates]
    if draw(st.booleans()):
        raised[2], raised[8] = rates[2], rates[8]
    new = (*raised, quota * draw(st.integers(80, 100)) // 100)
    return [(edge.council.governance, "raise_margin", (asset, new))]


def _touch(name: str) -> Build:
    def build(edge: Edge, draw: Draw) -> list[Call]:
        system = edge.world.system
        calls: dict[str, Call] = {
            "poke": (system.oracle, "poke", (_assets(edge, draw),)),
            "refresh": (system.perps, "refresh", ()),
            "accrue funding": (system.perps, "accrue", (_asset(draw),)),
            "accrue interest": (system.vault, "accrue", ()),
            "sweep": (system.vault, "sweep_reserves", ()),
            "collect": (system.insurance_fund, "collect", ()),
        }
        return [calls[name]]

    return build


def _venue(edge: Edge, draw: Draw) -> Any:
    return edge.world.venue


def _allowed_feed(edge: Edge, draw: Draw) -> Any:
    return edge.world.feeds["ETH"]


# By role and name: what builds the calls of one transaction.
SETTERS: Mapping[tuple[str, str], Build] = {
    (TIMELOCK, "margin parameters"): _margin,
    (TIMELOCK, "hardest margin parameters"): _harder,
    (TIMELOCK, "feed"): _feed,
    (TIMELOCK, "pause"): _pause,
    (TIMELOCK, "new asset"): _listing,
    (TIMELOCK, "limits of an asset"): _asset_limits,
    (TIMELOCK, "adapter"): _adapter,
    (TIMELOCK, "terms of a market"): _terms,
    (TIMELOCK, "mode of a market"): _mode,
    (TIMELOCK, "rate"): _rate,
    (TIMELOCK, "reserve factor"): _reserve_factor,
    (TIMELOCK, "cap of the lending vault"): _vault_cap,
    (TIMELOCK, "cap of the liquidity vault"): _house_cap,
    (TIMELOCK, "receiver of reserves"): _receiver,
    (TIMELOCK, "terms of liquidation"): _liquidation,
    (TIMELOCK, "withdrawal from insurance"): _announce,
    (TIMELOCK, "keepers' fee"): _fee,
    (TIMELOCK, "pull feed"): _pull_feed,
    (TIMELOCK, "roles"): _roles,
    (TIMELOCK, "owner of a room"): _room,
    (TIMELOCK, "end of a pause"): _lift,
    (TIMELOCK, "delay"): _delay,
    (GUARDIAN, "pause"): _own("pause", _assets),
    (GUARDIAN, "close a market"): _own("close_market", _an_asset),
    (GUARDIAN, "forbid an adapter"): _own("forbid_adapter", _venue),
    (GUARDIAN, "forbid a pull feed"): _own("forbid_pull_feed", _allowed_feed),
    (GUARDIAN, "supply cap"): _supply_cap,
    (GUARDIAN, "caps of a market"): _caps,
    (GUARDIAN, "deposit cap"): _deposit_cap,
    (STEWARD, "supply cap"): _supply_cap,
    (STEWARD, "caps of a market"): _caps,
    (STEWARD, "deposit cap"): _deposit_cap,
    (STEWARD, "rate"): _rate_step,
    (STEWARD, "keepers' fee"): _fee_step,
    (STEWARD, "margin"): _margin_step,
    (SOMEBODY, "poke"): _touch("poke"),
    (SOMEBODY, "refresh"): _touch("refresh"),
    (SOMEBODY, "accrue funding"): _touch("accrue funding"),
    (SOMEBODY, "accrue interest"): _touch("accrue interest"),
    (SOMEBODY, "sweep reserves"): _touch("sweep"),
    (SOMEBODY, "collect for insurance"): _touch("collect"),
}
