"""Attacks on the entries of liquidation: who calls, when, with which numbers, and from within what.

T02, T16, T18, T30, T31, T33, T34, T37, T50, T51, T65, attacks A9 and A20.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from ballast.chain import BLOCK_INTERVAL_S, Contract, Reverted
from ballast.deploy import account_id
from ballast.model.margin import BPS, WAD
from tests.clearing_kit import UNIT, action, excess_init
from tests.conftest import reverts
from tests.liquidation_kit import (
    ANY_STATE,
    Floor,
    long_victim,
    open_floor,
    spot_victim,
)
from tests.support.fixtures import odd_world
from tests.support.hooks import (
    deploy_hook,
    hand_over,
)
from tests.support.world import (
    QUOTE,
    UNLIMITED,
    World,
    build_world,
)
from tests.threats.gang import (
    CHANGED,
    DAY_S,
    ETH,
    HEALTHY,
    JUST_INCREASED,
    MAY_LIQUIDATE,
    NEVER,
    NOT_PERMITTED,
    VICTIMS,
    Gang,
    as_sender,
    exposure_of,
    geared,
    jump,
    paid_by_others,
    stake,
    to_the_edge,
    words,
)
from tests.threats.kit import (
    EXTRA_ID,
    list_token,
    wealth,
)

# ---- front-running


def test_liquidate__another_was_first__costs_only_gas(floor: Floor, victim: int) -> None:
    """T65: the second finds a healthy account, with or without the state that he saw."""
    world, first = floor.world, floor.taker()
    second = world.account(0, world.attacker)
    world.deposit(second, QUOTE, 10**11)
    state = floor.liquidator.state_of(victim)
    assert floor.liquidate(victim, first, state=state).return_value > 0
    for seen in (ANY_STATE, state):
        with floor.refused(HEALTHY):
            floor.liquidate(victim, second, state=seen)
    with floor.refused(HEALTHY):
        floor.buy(victim)


CHANGES: Mapping[str, Callable[[Floor, int], object]] = {
    "cash": lambda floor, account: floor.world.deposit(account, QUOTE, 10),
    "collateral": lambda floor, account: floor.world.deposit(account, "ETH", 1),
    "another asset": lambda floor, account: floor.world.deposit(account, "BTC", 1),
    "a swap": lambda floor, account: floor.world.clearinghouse.swap(
        account, floor.world.venue, ETH, 0, WAD // 100, 0, sender=floor.world.owner
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["account", "tokens"])
def test_liquidate__owner_changes_the_account_before_it__who_minds_is_refused(
    floor: Floor, victim: int, change: str, way: str
) -> None:
    """T65: nobody is made to take what he did not see; who takes what there is takes it at its
    value."""
    taker, state = floor.taker(), floor.liquidator.state_of(victim)
    CHANGES[change](floor, victim)
    if way == "tokens":
        floor.world.fund(floor.world.attacker, QUOTE, 10**11)
        with reverts(CHANGED):
            floor.buy(victim, state=state)
        return
    with floor.refused(CHANGED):
        floor.liquidate(victim, taker, state=state)
    before = floor.worth(taker)
    assert floor.liquidate(victim, taker).return_value > 0
    assert floor.worth(taker) > before


# ---- the insurance fund


def test_insurance__deficits_made_on_purpose__cost_it_its_caps(calm: Floor) -> None:
    """T31, T51: eight accounts ruined by thirty percent, one after the other; what a fund of a
    million pays in a day is bounded by its caps alone, and so is what the house pays."""
    world = calm.world
    taker = calm.taker(cash=10**7)
    calm.put_terms(account_cap_wad=500 * WAD, day_cap_wad=1_200 * WAD, house_day_bps=2)
    victims = [world.account(sub, world.attacker) for sub in range(8)]
    world.tokens["ETH"].mint(world.attacker, 800 * WAD, sender=world.governor)
    for victim in victims:
        geared(calm, victim, "spot", 50 * WAD)
    calm.drop(1_400)
    before, worth = calm.cash(calm.insurance), calm.assess(calm.house).equity_init
    booked = [calm.told(calm.liquidate(victim, taker), "DeficitBooked") for victim in victims]
    assert [told.insurance_wad // WAD for told in booked] == [500, 500, 200, 0, 0, 0, 0, 0]
    assert before - calm.cash(calm.insurance) == 1_200 * WAD
    house = [told.house_wad for told in booked]
    assert house[0] > house[1] > 0 and house[2:] == [0] * 6
    assert sum(house) <= worth * 2 // BPS


def test_house__deficit_while_it_has_little_to_spare__stays_at_initial_margin(world: World) -> None:
    """A20: what backs the traders does not pay for one of them, whatever the day's cap allows."""
    floor = open_floor(world, 200_000)
    floor.put_terms(house_day_bps=1_000)
    rich, victim, taker = floor.trader(1), floor.trader(cash=6_000), floor.taker(cash=10**6)
    floor.trade(rich, 60 * WAD)
    floor.trade(victim, -10 * WAD)
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
    price = 2_000
    while floor.assess(floor.house).excess_init > 4_000 * WAD:
        price += 20
        floor.drop(price)
    with floor.a_block_later():
        spare = floor.assess(floor.house).excess_init
        assert 0 < spare < floor.assess(floor.house).equity_init // 10
        assert floor.liquidator.preview(victim).deficit_wad > 2 * spare
    booked = floor.told(floor.liquidate(victim, taker), "DeficitBooked")
    assert 0 < booked.house_wad <= spare
    # What it can only have claimed from the account it has lost all the same.
    assert floor.assess(floor.house).excess_init >= -booked.claims_wad


def test_insurance__donations__stay_where_they_are(floor: Floor) -> None:
    """T02: by every way in, and no way out for anybody but the governor, who waits seven days."""
    world, ledger, fund = floor.world, floor.world.clearinghouse, floor.world.system.insurance_fund
    floor.insure(10**9)
    world.quote.mint(fund, 10**9, sender=world.attacker)
    world.quote.mint(world.system.vault, 10**9, sender=world.attacker)
    fund.collect(sender=world.attacker)
    held = floor.cash(floor.insurance)
    assert held >= 3_000 * WAD
    floor.drop(1_990)
    for who in (world.attacker, world.governor, world.keeper, world.lender):
        for call in (
            lambda who=who: ledger.withdraw(floor.insurance, 0, 10**6, who, sender=who),
            lambda who=who: ledger.transfer(
                floor.insurance, floor.insurance + 1, 0, 10**6, sender=who
            ),
            lambda who=who: ledger.swap(floor.insurance, world.venue, 0, ETH, 10**6, 0, sender=who),
            lambda who=who: fund.withdraw(sender=who),
        ):
            with reverts():
                call()
        if who != world.governor:
            with reverts():
                fund.announce_withdrawal(10**6, who, sender=who)
    fund.announce_withdrawal(10**6, world.governor, sender=world.governor)
    world.chain.advance(7 * DAY_S - 2 * BLOCK_INTERVAL_S)
    with reverts("insurance: nothing to withdraw"):
        fund.withdraw(sender=world.governor)
    assert floor.cash(floor.insurance) == held
    world.chain.advance(BLOCK_INTERVAL_S)
    assert fund.withdraw(sender=world.governor).return_value == 10**6
    with reverts("insurance: nothing to withdraw"):
        fund.withdraw(sender=world.governor)


# ---- access


def test_rights_of_the_liquidator__anybody_else__has_none() -> None:
    """T37, I25, I37: every person and every other contract of the system, by its own address."""
    floor = open_floor(build_world())
    world, system = floor.world, floor.world.system
    ledger, vault, taker = system.clearinghouse, system.vault, floor.taker()
    victim = spot_victim(floor)
    hand_over(world, victim, deploy_hook(world))
    calls: list[tuple[Contract, str, tuple[Any, ...]]] = [
        (ledger, "take", (victim, taker, [(ETH, WAD, 0, 0, 0, 0)])),
        (ledger, "pay", (floor.house, taker, WAD)),
        (ledger, "move_debt", (victim, taker, 10**9)),
        (ledger, "move_debt", (victim, 0, 10**9)),
        (vault, "write_off", (10**9,)),
        (vault, "hold_exits", (world.chain.time + 600,)),
        (world.mandates, "rescue", (victim,)),
        (system.perps, "offset", (ETH, 0)),
        (system.perps, "take_insurance_fees", (10**30,)),
        (system.liquidator, "rescue", (victim,)),
    ]
    books = floor.books()

    def try_all(who: str) -> None:
        for contract, name, arguments in calls:
            if who != contract.address:
                with reverts():
                    contract.function(name)(*arguments, sender=who)

    for person in world.chain.accounts[:8]:
        try_all(person)
    for room in system.contracts.values():
        if room != system.liquidator:
            with as_sender(world, room) as who:
                try_all(who)
    assert floor.books() == books
    # By the liquidator they all go through.
    with as_sender(world, system.liquidator) as who:
        for contract, name, arguments in calls[:-1]:
            contract.function(name)(*arguments, sender=who)


# ---- T16, T33, T34: a token that calls back in the middle of a liquidation


@dataclass(frozen=True)
class Caller:
    """The quote token calls somebody whenever it moves, and could liquidate for an account of its
    own."""

    floor: Floor
    victim: int
    taker: int

    @property
    def token(self) -> Contract:
        """Of quote."""
        return self.floor.world.quote

    @property
    def own(self) -> int:
        """Its account."""
        return account_id(self.token.address)

    def arm(self, target: Contract, data: bytes) -> None:
        """What it calls from now on."""
        self.token.arm(target, data, sender=self.floor.world.attacker)

    def refusal(self) -> str | None:
        """Why the latest call was refused, None if it was not."""
        assert self.token.calls() > 0
        return None if self.token.has_succeeded() else Reverted(self.token.answer()).reason


@pytest.fixture
def caller() -> Iterator[Caller]:
    """A victim and a second account like it, a taker with cash, and a token that could act at any
    other moment: it has an account with cash, shares of nothing, and has approved everybody."""
    world = odd_world("CallbackToken")
    with world.isolated():
        floor = Floor(world)
        world.quote.arm(world.stranger, b"", sender=world.attacker)
        victim = world.open_account("2.5")
        world.open_account("2.5", sub=1)
        taker = world.account(0, world.other_owner)
        world.deposit(taker, QUOTE, world.units(QUOTE, 20_000))
        token = world.quote
        token.mint(token, world.units(QUOTE, 10**6), sender=world.attacker)
        caller = Caller(floor, victim, taker)
        world.fund(world.attacker, QUOTE, world.units(QUOTE, 10**6))
        world.clearinghouse.deposit(caller.own, 0, world.units(QUOTE, 10**5), sender=world.attacker)
        for spender in (world.clearinghouse, world.system.vault, world.system.token_liquidator):
            data = token.approve.encode(spender, UNLIMITED)
            caller.arm(token, data)
            token.transfer(world.stranger, 1, sender=world.attacker)
        token.approve(world.system.token_liquidator, UNLIMITED, sender=world.attacker)
        caller.arm(world.system.liquidator, b"")
        floor.sink(victim)
        yield caller


def entries_of_liquidation(caller: Caller) -> dict[str, tuple[Contract, bytes]]:
    """Everything that may be called about a liquidation, with arguments that would do something."""
    world, system = caller.floor.world, caller.floor.world.system
    other, token = world.account(1), caller.token

    def to(contract: Contract, name: str, *arguments: Any) -> tuple[Contract, bytes]:
        return contract, contract.function(name).encode(*arguments)

    liquidator, seller = system.liquidator, system.token_liquidator
    return {
        "liquidate": to(liquidator, "liquidate", other, caller.own, ANY_STATE),
        "liquidate the same": to(liquidator, "liquidate", caller.victim, caller.own, ANY_STATE),
        "flag": to(liquidator, "flag", other),
        "collect fees": to(liquidator, "collect_fees"),
        "collect": to(system.insurance_fund, "collect"),
        "rescue": to(liquidator, "rescue", other),
        "buy": to(seller, "liquidate", other, world.units(QUOTE, 50_000), token, ANY_STATE),
        "preview": to(liquidator, "preview", other),
        "state": to(liquidator, "state_of", caller.victim),
        "check initial": to(system.clearinghouse, "check_initial", caller.victim),
        "deposit": to(system.clearinghouse, "deposit", caller.victim, 0, 1),
        "repay": to(system.clearinghouse, "repay", caller.victim, 1),
        "rebalance": to(world.mandates, "rebalance", caller.victim),
        "lend": to(system.vault, "deposit", world.units(QUOTE, 10), token),
        "leave": to(system.vault, "redeem", 1, token, token),
        "flag the house": to(system.deleverager, "flag_house"),
        "flag bad debt": to(system.liquidity_vault, "flag_bad_debt", caller.victim),
        "poke": to(system.oracle, "poke", [ETH]),
        "refresh": to(system.perps, "refresh"),
    }


def all_words(floor: Floor) -> list[Any]:
    """Every account, and the vault."""
    told = words(floor, *floor.accounts)
    state = floor.world.system.vault.state()
    return [*told, state.supply, state.debt_shares, floor.world.system.vault.exits_held_until()]


@pytest.mark.parametrize("price", [None, 1_100])
def test_liquidate__quote_token_calls_back__everything_is_refused(
    caller: Caller, price: int | None
) -> None:
    """T16, T33, T34, A9: while cash moves between the parties, of a slice and of a deficit; and the
    liquidation ends as it would have."""
    floor, world = caller.floor, caller.floor.world
    if price is not None:
        floor.insure(world.units(QUOTE, 500))
        floor.drop(price)
    caller.arm(world.system.clearinghouse, b"")
    later = world.chain.time + 5 * BLOCK_INTERVAL_S
    with world.isolated():
        world.chain.set_time(later)
        floor.liquidate(caller.victim, caller.taker)
        assert caller.token.calls() > 0
        expected = all_words(floor)
    for name, (target, data) in entries_of_liquidation(caller).items():
        with world.isolated():
            caller.arm(target, data)
            world.chain.set_time(later)
            assert floor.liquidate(caller.victim, caller.taker).return_value > 0
            assert caller.refusal() is not None, name
            assert all_words(floor) == expected, name


def test_buy__quote_token_calls_back__its_entries_are_refused_and_nothing_is_gained(
    caller: Caller,
) -> None:
    """T16, T33, T34: on the way in the ledger is idle, so the token may do what anybody may; the
    purchase goes on from what it finds, and what the token holds is worth no more for it than had
    it come first."""
    floor, world = caller.floor, caller.floor.world
    seller = world.system.token_liquidator
    before = floor.worth(caller.own) + wealth(world, caller.token.address)
    served = set()
    for name, (target, data) in entries_of_liquidation(caller).items():
        with world.isolated():
            caller.arm(target, data)
            try:
                seller.liquidate(
                    caller.victim,
                    world.units(QUOTE, 50_000),
                    world.keeper,
                    ANY_STATE,
                    sender=world.attacker,
                )
            except Reverted as error:
                assert (name, error.reason) == ("liquidate the same", HEALTHY)
                continue
            assert name != "buy" or caller.refusal() == ""
            assert floor.held(seller.ACCOUNT()).collateral_wad == 0
            assert floor.cash(seller.ACCOUNT()) < UNIT
            assert int(world.tokens["ETH"].balanceOf(world.keeper)) > 0
            served.add(name)
            gain = floor.worth(caller.own) + wealth(world, caller.token.address) - before
            assert gain <= 100 * WAD and (gain <= 0 or name.startswith("liquidate")), name
    assert "buy" in served and "liquidate" in served


def test_buy__collateral_calls_back_while_it_is_delivered__everything_is_refused(
    floor: Floor,
) -> None:
    """T16, T33, T34: a slice moves no token of the account, and the delivery only after it is
    booked."""
    world = floor.world
    token = world.chain.deploy("CallbackToken", sender=world.attacker)
    feed = list_token(world, token)
    token.mint(world.owner, 10**21, sender=world.attacker)
    token.approve(world.clearinghouse, UNLIMITED, sender=world.owner)
    own, victims = account_id(token.address), [world.account(sub) for sub in (0, 1)]
    for victim in victims:
        world.clearinghouse.deposit(victim, EXTRA_ID, 250 * WAD, sender=world.owner)
        world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
    world.fund(world.attacker, QUOTE, 10**12)
    world.clearinghouse.deposit(own, 0, 10**11, sender=world.attacker)
    feed.set_answer(82 * 10**8, sender=world.governor)
    liquidator, seller = world.system.liquidator, world.system.token_liquidator
    calls: list[tuple[Contract, bytes]] = [
        (liquidator, liquidator.liquidate.encode(victims[1], own, ANY_STATE)),
        (liquidator, liquidator.flag.encode(victims[1])),
        (liquidator, liquidator.preview.encode(victims[1])),
        (liquidator, liquidator.collect_fees.encode()),
        (seller, seller.liquidate.encode(victims[1], 10**9, token, ANY_STATE)),
        (world.clearinghouse, world.clearinghouse.withdraw.encode(own, 0, 10**6, token.address)),
        (world.system.vault, world.system.vault.skim.encode()),
    ]
    for target, data in calls:
        with world.isolated():
            token.arm(target, data, sender=world.attacker)
            assert floor.liquidate(victims[1], floor.taker()).return_value > 0
            assert token.calls() == 0
        with world.isolated():
            token.arm(target, data, sender=world.attacker)
            assert floor.buy(victims[0], receiver=world.keeper).return_value > 0
            assert token.calls() == 1 and not token.has_succeeded()
            reason = Reverted(token.answer()).reason
            assert reason == "" or reason.endswith("busy"), reason


# ---- numbers of accounts, takers, operators


def test_liquidate__into_accounts_of_the_system__nobody_may(floor: Floor, victim: int) -> None:
    """T50, A20: neither insurance nor the house nor the account of the token variant is anybody's
    to fill, nor one without an owner."""
    world, system = floor.world, floor.world.system
    takers = (floor.insurance, floor.house, system.token_liquidator.ACCOUNT(), 1)
    for taker in takers:
        for who in (world.attacker, world.governor, world.keeper):
            with floor.refused(NOT_PERMITTED):
                floor.liquidate(victim, taker, sender=who)


@pytest.mark.parametrize("bit", [168, 200, 247, 248, 255])
def test_account_number__with_more_bits__is_nobodys(floor: Floor, victim: int, bit: int) -> None:
    """T50: positions are kept under account << 8 | asset, so a number with high bits could be had
    twice."""
    world, alias, taker = floor.world, victim | 1 << bit, floor.taker()
    fund, seller = floor.liquidator, world.system.token_liquidator
    world.fund(world.attacker, QUOTE, 10**11)
    world.quote.approve(seller, 10**11, sender=world.attacker)
    books = floor.books()
    for call in (
        lambda: fund.liquidate(alias, taker, ANY_STATE, sender=world.other_owner),
        lambda: fund.liquidate(victim, taker | 1 << bit, ANY_STATE, sender=world.other_owner),
        lambda: fund.flag(alias, sender=world.attacker),
        lambda: seller.liquidate(alias, 10**9, world.attacker, ANY_STATE, sender=world.attacker),
        lambda: world.system.liquidity_vault.flag_bad_debt(alias, sender=world.attacker),
    ):
        with reverts():
            call()
    assert floor.books() == books
    assert fund.preview(alias).fraction_wad == 0 < fund.preview(victim).fraction_wad
    assert fund.flagged_since(alias) == (0, 0)


@pytest.mark.parametrize("kind", VICTIMS)
@pytest.mark.parametrize("depth", ["cured", "gone"])
def test_operator_of_liquidations__dumps_what_he_likes__principal_only_gains(
    floor: Floor, kind: str, depth: str
) -> None:
    """T50: permission 32 alone. What his own failing account loses its principal gains, at the
    oracle's prices; he can do nothing else, and the principal ends at initial margin."""
    world, principal = floor.world, floor.taker(cash=100_000, ether=100)
    account = VICTIMS[kind](floor)
    allow = world.mandates.set_operator
    allow(principal, world.owner, MAY_LIQUIDATE, NEVER, sender=world.other_owner)
    if depth == "gone" and kind != "hedged":
        floor.drop(
            world.price_wad("ETH") * (6 if exposure_of(floor, account) > 0 else 14) // 10**19
        )
    with floor.a_block_later():
        before = floor.worth(principal)
        assert floor.assess(account).excess_maint < 0
    assert floor.liquidate(account, principal, sender=world.owner).return_value > 0
    assert floor.worth(principal) > before and excess_init(world, principal) >= 0
    ledger, owner = world.clearinghouse, world.owner
    for call in (
        lambda: ledger.withdraw(principal, 0, 1, owner, sender=owner),
        lambda: ledger.transfer(principal, principal + 1, ETH, 1, sender=owner),
        lambda: ledger.swap(principal, world.venue, ETH, 0, WAD, 0, sender=owner),
        lambda: ledger.deposit(principal, 2, 1, sender=owner),
        lambda: floor.trade(principal, WAD // 10, sender=owner),
        lambda: floor.liquidate(account, principal + 1, sender=owner),
    ):
        with floor.refused(NOT_PERMITTED):
            call()


def test_operator_of_liquidations__fills_the_account_of_his_principal__stops_at_initial_margin(
    floor: Floor,
) -> None:
    """T50: he can make it as geared as its owner could, and no more, in one block or in many."""
    world = floor.world
    principal = floor.taker(cash=30_000)
    allow = world.mandates.set_operator
    allow(principal, world.owner, MAY_LIQUIDATE, NEVER, sender=world.other_owner)
    victims = [world.open_account("2.5", sub=sub) for sub in range(4)]
    floor.sink(*victims)
    floor.drop(world.price_wad("ETH") * 95 // (100 * WAD))
    ends = []
    for victim in victims:
        try:
            floor.liquidate(victim, principal, sender=world.owner)
        except Reverted as error:
            ends.append(error.reason)
        else:
            ends.append("")
        assert excess_init(world, principal) >= 0
    assert ends[0] == "" and ends[-1] == "margin: initial margin short"


# ---- the block of an increase or of a round


def test_liquidate__somebody_touched_the_account_in_this_block__goes_on(floor: Floor) -> None:
    """T65: an account cannot be shielded for a block by what strangers may do to it, nor by what
    its owner may do below initial margin."""
    world, ledger = floor.world, floor.world.clearinghouse
    victim, taker = long_victim(floor), floor.taker()
    world.deposit(victim, "ETH", WAD // 100)
    world.enrol(victim, sales={"ETH": 30})
    for who in (world.attacker, world.owner):
        world.fund(who, QUOTE, 10**12)
        world.fund(who, "ETH", WAD)
    floor.sink(victim)
    touches: list[Callable[[], object]] = [
        lambda: ledger.deposit(victim, 0, 1, sender=world.attacker),
        lambda: ledger.deposit(victim, ETH, 1, sender=world.attacker),
        lambda: floor.liquidator.flag(victim, sender=world.attacker),
        lambda: world.system.perps.settle(victim, ETH, [], sender=world.attacker),
        lambda: world.system.perps.accrue(ETH, sender=world.attacker),
        lambda: ledger.check_initial(world.account(7), sender=world.attacker),
        lambda: ledger.deposit(victim, 0, 10, sender=world.owner),
        lambda: ledger.swap(victim, world.venue, ETH, 0, WAD // 200, 0, sender=world.owner),
        lambda: floor.trade(victim, -WAD // 10),
        lambda: ledger.transfer(world.account(1), victim, 0, 10, sender=world.owner),
    ]
    world.deposit(world.account(1), QUOTE, 10**9)
    done = 0
    for touch in touches:
        with world.isolated(), world.chain.one_block():
            try:
                touch()
            except Reverted as error:
                assert error.reason in ("perpetuals: no gain", "margin: initial margin short")
                continue
            done += 1
            assert floor.assess(victim).excess_maint < 0
            assert ledger.increased_at(victim) != world.chain.time
            floor.liquidate(victim, taker)
    assert done >= 8


INCREASES: Mapping[str, Callable[[Floor, int], object]] = {
    "withdrawal": lambda floor, account: floor.world.borrow(account, 10),
    "trade": lambda floor, account: floor.trade(account, WAD // 10),
    "transfer": lambda floor, account: floor.world.clearinghouse.transfer(
        account, account + 1, 0, 10, sender=floor.world.owner
    ),
    "swap": lambda floor, account: floor.world.clearinghouse.swap(
        account, floor.world.venue, 0, ETH, 10**6, 0, sender=floor.world.owner
    ),
    "batch": lambda floor, account: floor.world.clearinghouse.batch(
        [action(2, account, amount=10, target=floor.world.owner)], sender=floor.world.owner
    ),
}


@pytest.mark.parametrize("increase", INCREASES)
@pytest.mark.parametrize("role", ["victim", "taker"])
def test_liquidate__risk_grew_in_the_block_of_the_round__is_refused_by_whatever_way(
    floor: Floor, increase: str, role: str
) -> None:
    """T31: increase, round, liquidation in one block; what came in since does not wash it away."""
    world = floor.world
    account = world.open_account("2.2")
    other = floor.taker(cash=10**6)
    if role == "taker":
        failing = account_id(world.attacker)
        stake(floor, world.attacker, 20 * WAD)
        geared(floor, failing, "spot", 20 * WAD)
        world.deposit(account, QUOTE, 10**9)
    floor.refresh()
    with world.chain.one_block():
        INCREASES[increase](floor, account)
        world.feeds["ETH"].set_answer(1_000 * 10**8, sender=world.governor)
        world.deposit(account, QUOTE, 10)
        world.deposit(account, "ETH", 1)
        if role == "victim":
            assert floor.assess(account).excess_maint < 0
            with reverts(JUST_INCREASED):
                floor.liquidate(account, other)
        else:
            assert floor.assess(failing).excess_maint < 0
            with reverts(JUST_INCREASED):
                floor.liquidate(failing, account)
    if role == "victim":
        assert floor.liquidate(account, other).return_value > 0


def test_liquidate__taker_of_a_moment_ago_fails_by_a_round__is_no_better_off(calm: Floor) -> None:
    """T31, T51: who has taken may be liquidated in the same block, but stands at initial margin, so
    no jump of 5% makes a gang of three earn anything in one block."""
    world = calm.world
    first, second = world.account(0, world.attacker), world.account(0, world.other_owner)
    third = world.account(0, world.keeper)
    world.fund(world.attacker, QUOTE, 10**12)
    world.quote.mint(world.keeper, 10**13, sender=world.governor)
    world.quote.approve(world.clearinghouse, UNLIMITED, sender=world.keeper)
    world.clearinghouse.deposit(third, 0, 10**13, sender=world.keeper)
    stake(calm, world.attacker)
    world.fund(world.other_owner, QUOTE, 10**12)
    gang = Gang(calm, (world.attacker, world.other_owner, world.keeper))
    gang.start()
    geared(calm, first, "half exposed")
    to_the_edge(gang, first)
    jump(gang, first, 100)
    while calm.debt_shares(second) == 0:
        world.deposit(second, QUOTE, 5_000 * 10**6)
        with suppress(Reverted), world.chain.one_block():
            calm.liquidate(first, second)
            jump(gang, first, 500)
            with reverts(HEALTHY):
                calm.liquidate(second, third, sender=world.keeper)
            again = calm.liquidate(first, third, sender=world.keeper)
            assert paid_by_others(calm, again) == 0
    assert gang.profit <= 0


@pytest.mark.parametrize("has_previous", [True, False])
@pytest.mark.parametrize("kind", ["spot", "long", "short"])
def test_liquidate__in_the_very_block_of_a_round__at_its_price_alone(
    floor: Floor, kind: str, has_previous: bool
) -> None:
    """T30, T31: the newest round decides, whatever was before it and whether that can be read; a
    taker with cash needs no strength from a price that must not back an increase."""
    world, taker = floor.world, floor.taker(cash=10**6)
    account = VICTIMS[kind](floor)
    feed, price = world.feeds["ETH"], world.price_wad("ETH")
    worse = price * (110 if kind == "short" else 90) // 100
    number = feed.latestRoundData()[0] + (1 if has_previous else 2)
    with world.isolated():
        floor.drop(worse // WAD)
        with floor.a_block_later():
            later = floor.liquidator.preview(account)
    with world.chain.one_block():
        feed.set_raw(number, worse // WAD * 10**8, world.chain.time, number, sender=world.governor)
        assert floor.liquidator.preview(account).required_wad == later.required_wad
        assert floor.liquidate(account, taker).return_value > 0
    assert floor.assess(account).excess_maint >= 0


def test_liquidate__price_recovers_in_the_block_of_the_breach__is_refused(
    floor: Floor, victim: int
) -> None:
    """T30: a liquidator cannot choose between two rounds of one block."""
    world, taker = floor.world, floor.taker()
    price = world.price_wad("ETH") // WAD
    feed = world.feeds["ETH"]
    with world.chain.one_block():
        feed.set_answer((price + 100) * 10**8, sender=world.governor)
        with floor.refused(HEALTHY):
            floor.liquidate(victim, taker)
        feed.set_answer((price - 10) * 10**8, sender=world.governor)
        feed.set_answer((price + 50) * 10**8, sender=world.governor)
        with floor.refused(HEALTHY):
            floor.liquidate(victim, taker)
