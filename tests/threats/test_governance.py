"""Power over parameters: what no role can do to a healthy account, and what a pause must not stop.

Threats T25, T31 and T67, invariants I38 to I40. The roles one by one are in
`unit/test_governance.py`, every entry in every state in `test_access.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ballast.chain import Contract, Reverted
from ballast.deploy import WAD
from ballast.governance import DAY_S
from ballast.model.oracle import Parameters, covers_jump
from tests.conftest import reverts
from tests.governance_kit import PAUSE_S, Council, govern_world
from tests.liquidation_kit import Floor, long_victim, open_floor, short_victim, spot_victim
from tests.support.edge import (
    BPS,
    BTC,
    ETH,
    GUARDIAN,
    SETTERS,
    TIMELOCK,
    Call,
    Edge,
    build_edge,
)
from tests.support.world import QUOTE, World
from tests.threats.kit import (
    ask_in,
    ask_out,
    claim_shares,
    fund_house,
    held,
    pay_out,
    take_in,
    trade,
)

# What a replaced feed may move a price by, and nothing else at all.
FEED_BPS = 100
LEAST_ACCEPTED_OF = 10


class Liquidatable(AssertionError):
    """A healthy account is not healthy any more."""


@lru_cache(maxsize=2)
def _edge(oracle: str = "RiskOracle") -> Edge:
    return build_edge(oracle)


def _check(edge: Edge, before: dict[int, int], prices: dict[int, int], calls: list[Call]) -> None:
    """Every account that was healthy is, but for what a replaced feed says."""
    moves = {asset: abs(edge.prices()[asset] - price) for asset, price in prices.items()}
    for asset, move in moves.items():
        assert move * BPS <= prices[asset] * FEED_BPS + BPS, "the price jumped"
    assert any(name == "set_feed" for _, name, _ in calls) or not any(moves.values())
    for account, excess in edge.excesses().items():
        allowed = sum(
            2 * edge.exposed(account, asset) * move // WAD + 2 for asset, move in moves.items()
        )
        if any(moves.values()):
            excess += allowed
        if before[account] >= 0 > excess:
            raise Liquidatable(f"account {account % 256} by {calls}")


def _check_inequalities(edge: Edge) -> None:
    """T31, I40: of each asset, now and at the end of a change, and of its market."""
    system = edge.world.system
    for asset in (ETH, BTC):
        *stages, _ = system.oracle.parameters(asset)
        terms = system.perps.terms_of(asset)
        for told in stages:
            p = Parameters(*told)
            assert covers_jump(p.floor_init_bps, p.floor_maint_bps, p.floor_l_bps)
            assert 2 * BPS * terms.skew_cap_gwei <= terms.depth_gwei * p.floor_l_bps
            assert p.cap_init_bps + p.cap_l_bps <= BPS


def _search(edge: Edge, key: tuple[str, str], *, is_shrunk: bool = True) -> tuple[int, int]:
    """Single transactions with this setter and, by the timelock, others beside it; how many were
    accepted, of how many."""
    before, prices = edge.excesses(), edge.prices()
    limits, rest = edge.limits(), edge.rest()
    accepted = tried = 0
    others = [other for other in SETTERS if other[0] == TIMELOCK]

    phases = [Phase.generate, Phase.shrink] if is_shrunk else [Phase.generate]

    @settings(max_examples=settings().max_examples // 5, phases=phases)
    @given(data=st.data())
    def search(data: st.DataObject) -> None:
        nonlocal accepted, tried
        tried += 1
        keys = [key]
        if key[0] == TIMELOCK:
            keys += data.draw(st.lists(st.sampled_from(others), max_size=2))
        calls = [call for each in keys for call in SETTERS[each](edge, data.draw)]
        with edge.world.isolated():
            try:
                edge.send(key[0], calls)
            except Reverted:
                return
            accepted += 1
            _check(edge, before, prices, calls)
            _check_inequalities(edge)
            if key[0] == GUARDIAN:
                assert all(new <= old for new, old in zip(edge.limits(), limits, strict=True))
                assert edge.limits() != limits and edge.rest() == rest
            edge.touch()
            _check(edge, before, prices, calls)

    search()
    return accepted, tried


@pytest.mark.parametrize("key", SETTERS, ids=": ".join)
def test_transaction__any_setter_of_any_role__no_healthy_account_is_liquidatable(
    key: tuple[str, str],
) -> None:
    """T67, T31, I39, I40: over accounts that are healthy by two units at most, several calls in one
    transaction of the timelock; a poke right after it adds nothing. What a guardian did lowered
    something, raised nothing and touched nothing else."""
    edge = _edge()
    for account, excess in edge.excesses().items():
        assert 0 <= excess <= 2 * edge.world.unit_wad(QUOTE), account
    accepted, tried = _search(edge, key)
    assert accepted * LEAST_ACCEPTED_OF >= tried, "hardly ever accepted: this shows nothing"


@pytest.mark.parametrize("name", ["margin parameters", "hardest margin parameters"])
def test_transaction__oracle_without_a_ramp__is_found_out(name: str) -> None:
    """The same search fails where a parameter that raises a requirement holds at once."""
    with pytest.raises(Liquidatable):
        _search(_edge("HastyOracle"), (TIMELOCK, name), is_shrunk=False)


# ---- a new feed


def _another_feed(council: Council, price: int) -> tuple[object, ...]:
    """Arguments of `set_feed` for ETH."""
    world = council.world
    feed = world.chain.deploy("MockFeed", 8, "another", sender=world.governor)
    feed.set_answer(price * 10**8, sender=world.governor)
    return (ETH, feed, *world.system.oracle.feed_of(ETH)[2:], 0)


def test_set_feed__chain_of_feeds__one_a_day(world: World) -> None:
    """T25: each may differ from the one before by 1%, so a chain of them would carry a price away
    in one transaction; the whole batch fails."""
    council, oracle = govern_world(world, delay_s=0), world.system.oracle
    first, second = (_another_feed(council, price) for price in (2_019, 2_038))
    decisions = [council.decision(oracle, "set_feed", *terms) for terms in (first, second)]
    batch = ([d.target for d in decisions], [0, 0], [d.payload for d in decisions])
    waits = (*batch, bytes(32), bytes(32))
    council.timelock.schedule_batch(*waits, 0, sender=council.proposer)
    with reverts("governance: one step a day"):
        council.timelock.execute_batch(*waits, sender=world.keeper)
    assert oracle.price_wad(ETH) == 2_000 * WAD
    council.decide(oracle, "set_feed", *first)
    assert oracle.price_wad(ETH) == 2_019 * WAD
    with reverts("governance: one step a day"):
        council.decide(oracle, "set_feed", *second)
    council.wait(DAY_S)
    for feed, price in ((first[1], 2_019), (second[1], 2_038)):
        assert isinstance(feed, Contract)
        feed.set_answer(price * 10**8, sender=world.governor)
    council.decide(oracle, "set_feed", *second, salt=1)
    assert oracle.price_wad(ETH) == 2_038 * WAD


def test_set_feed__account_at_the_edge__loses_no_more_than_a_hundredth_of_its_exposure(
    world: World,
) -> None:
    """T25, T67: the most that a sound decision about a feed can do to an account."""
    council = govern_world(world, delay_s=0)
    account = world.open_account(leverage=2)
    before = world.clearinghouse.assess(account)[2]
    council.decide(world.system.oracle, "set_feed", *_another_feed(council, 1_980))
    after = world.clearinghouse.assess(account)[2]
    assert before - after == pytest.approx(20_000 * WAD // 100, rel=1e-4)
    council.wait(DAY_S)
    with reverts("oracle: price too far off"):
        council.decide(world.system.oracle, "set_feed", *_another_feed(council, 1_960))


# ---- pauses


def _pause_all(council: Council) -> None:
    assets = list(council.world.system.assets.values())
    council.governance.pause(assets, sender=council.guardian)


def _excess_init(world: World, account: int) -> int:
    equity, required, *_ = world.clearinghouse.assess(account)
    return int(equity - required)


def test_pause__over_by_itself__risk_may_grow_again(council: Council) -> None:
    """T67: without a transaction of anybody who governs."""
    world = council.world
    account = world.open_account(leverage=2)
    _pause_all(council)
    with reverts("margin: price not usable"):
        world.borrow(account, 10**6)
    council.wait(PAUSE_S)
    world.borrow(account, 10**6)


def test_pause__account_with_debt__pays_back_and_leaves(council: Council) -> None:
    """T67: a pause keeps nobody's collateral who pays what he owes."""
    world = council.world
    account = world.open_account(leverage=2)
    _pause_all(council)
    world.fund(world.owner, QUOTE, 10**11)
    world.clearinghouse.repay(account, 10**11, sender=world.owner)
    held = world.clearinghouse.position_word(account, ETH)
    world.clearinghouse.withdraw(account, ETH, held, world.owner, sender=world.owner)
    assert world.tokens["ETH"].balanceOf(world.owner) == held


def test_pause__cash_beside_a_paused_collateral__backs_what_it_backs_alone(
    council: Council,
) -> None:
    """T67: one asset is paused, the other lends as ever."""
    world = council.world
    account = world.open_account(leverage=1, mix={"ETH": 1, "BTC": 1})
    council.governance.pause([ETH], sender=council.guardian)
    world.borrow(account, 2_000 * 10**6)
    with reverts("margin: price not usable"):
        world.borrow(account, 3_000 * 10**6)


def test_pause__donor_without_debt__helps_its_sibling(council: Council) -> None:
    """T67: cash and collateral of a sibling still cure a shortfall."""
    world = council.world
    account, donor = world.open_account(leverage=3), world.account(1)
    world.deposit(donor, QUOTE, 100 * 10**6)
    world.deposit(donor, "BTC", 10**7)
    world.make_donor(donor, floor_bps=10_000)
    world.enrol(account, trigger_bps=12_900, donors=[1], sales={})
    _pause_all(council)
    before = _excess_init(world, account)
    world.mandates.rebalance(account, sender=world.keeper)
    assert _excess_init(world, account) > before
    assert world.clearinghouse.account_word(donor) == 0
    assert world.clearinghouse.position_word(account, BTC) > 0


@pytest.mark.parametrize("side", [1, -1])
def test_pause__perpetual__is_trimmed_and_not_hedged(council: Council, side: int) -> None:
    """T67: a trim lowers risk, a hedge grows a position."""
    world = council.world
    fund_house(world, 20_000_000)
    account = world.account()
    world.deposit(account, QUOTE, 10_000 * 10**6)
    trade(world, account, 10 * side)
    equity, required, *_ = world.clearinghouse.assess(account)
    world.borrow(account, (equity - required * 11 // 10) // world.unit_wad(QUOTE))
    may_all = 15
    world.enrol(account, trigger_bps=12_900, slippage_bps=300, actions=may_all, sales={})
    _pause_all(council)
    trim, hedge = 6, 7
    kinds = [step.kind for step in world.rebalancer.plan(account).steps]
    assert trim in kinds and hedge not in kinds
    before = abs(held(world, account).size_wad)
    world.mandates.rebalance(account, sender=world.keeper)
    assert abs(held(world, account).size_wad) < before


def test_pause__account_below_maintenance__is_rescued_by_its_hook(council: Council) -> None:
    """T67"""
    floor = open_floor(council.world)
    account, taker = spot_victim(floor, is_enrolled=True), floor.taker()
    _pause_all(council)
    receipt = floor.liquidate(account, taker)
    assert "Rescued" in floor.names_of(receipt)
    assert _excess_init(council.world, account) >= 0


@pytest.mark.parametrize(
    "victim", [spot_victim, long_victim, short_victim], ids=["spot", "long", "short"]
)
def test_pause__account_below_maintenance__is_liquidated(
    council: Council, victim: Callable[[Floor], int]
) -> None:
    """T67: by somebody with cash: what he takes lends him nothing while the pause lasts."""
    floor = open_floor(council.world)
    account, taker = victim(floor), floor.taker()
    _pause_all(council)
    receipt = floor.liquidate(account, taker)
    assert "Liquidated" in floor.names_of(receipt)
    assert floor.assess(account).excess_maint >= 0


def test_pause__lenders_and_providers__leave(council: Council) -> None:
    """T67"""
    world = council.world
    epoch = ask_in(world, world.owner, 100_000)
    take_in(world, epoch)
    claim_shares(world, world.owner)
    _pause_all(council)
    vault, house = world.system.vault, world.system.liquidity_vault
    vault.withdraw(10**6, world.lender, world.lender, sender=world.lender)
    epoch = ask_out(world, world.owner, int(house.balanceOf(world.owner)))
    pay_out(world, epoch)
    house.withdraw(house.maxWithdraw(world.owner), *[world.owner] * 2, sender=world.owner)
    assert world.quote.balanceOf(world.owner) > 0
