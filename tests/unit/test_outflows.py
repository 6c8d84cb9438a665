"""How fast what lies in the clearing house and in the lending vault may leave."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import BLOCK_INTERVAL_S, RevmChain
from ballast.deploy import load_parameters
from ballast.model.margin import BPS
from ballast.model.outflows import DAY_S, Outflow
from tests.clearing_kit import action, args_of
from tests.conftest import reverts
from tests.lending_kit import Lending, deploy_lending
from tests.liquidation_kit import ANY_STATE
from tests.perps_kit import open_desk
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, WAD, World, build_world
from tests.threats.kit import ask_in, ask_out, claim_shares, pay_out, take_in

ETH, BTC, CASH = 1, 2, 0
LIMIT_BPS = 3_000
STEP = 2**24  # WAD in which the clearing house's outflows are counted
FLOOR_LOG2 = 60  # 1.15 ETH
WAIT = "outflows: wait for the limit"
OUT_OF_RANGE = "outflows: terms out of range"
DEPOSIT, WITHDRAW = 1, 2


def limit(world: World, asset: int, bps: int = LIMIT_BPS, floor_log2: int = FLOOR_LOG2) -> Any:
    return world.system.listings.set_outflow_limit(asset, bps, floor_log2, sender=world.governor)


def may_leave(world: World, asset: int = ETH) -> int:
    return int(world.system.listings.withdrawable_wad(asset))


def take(world: World, account: int, amount: int, asset: int = ETH) -> Any:
    who = world.owner_of(account)
    return world.clearinghouse.withdraw(account, asset, amount, who, sender=who)


@pytest.fixture
def world() -> Iterator[World]:
    """A thousand ETH of an owner and a hundred of another, who may lose three tenths in a day."""
    world = shared_world()
    with world.isolated():
        world.deposit(world.account(), "ETH", 1_000 * WAD)
        world.deposit(world.account(0, world.other_owner), "ETH", 100 * WAD)
        limit(world, ETH)
        yield world


# ---- terms


def test_set_outflow_limit__as_given__is_told(world: World) -> None:
    listings = world.system.listings
    receipt = limit(world, BTC, 77, 61)
    assert tuple(args_of(listings, receipt, "OutflowLimitChanged")) == (BTC, 77, 61)
    assert tuple(listings.outflow_limit(BTC)) == (77, 61)
    assert tuple(listings.outflow_limit(CASH)) == (BPS, 24), "there was none"


def test_set_outflow_limit__out_of_range_or_no_asset__is_refused(world: World) -> None:
    for bps, floor_log2, reason in (
        (BPS + 1, 60, OUT_OF_RANGE),
        (2**255, 60, OUT_OF_RANGE),
        (100, 120, OUT_OF_RANGE),
        (100, 23, "listings: floor below a unit"),
        (100, 2**255, OUT_OF_RANGE),
    ):
        with reverts(reason):
            limit(world, ETH, bps, floor_log2)
    with reverts("listings: no such asset"):
        limit(world, 77)
    for bps, floor_log2 in ((0, 24), (BPS, 119)):
        limit(world, ETH, bps, floor_log2)
        assert tuple(world.system.listings.outflow_limit(ETH)) == (bps, floor_log2)


def test_count_out__anybody_but_the_clearing_house__is_refused(world: World) -> None:
    word = world.clearinghouse.asset_word(ETH)
    for who in (world.attacker, world.governor):
        with reverts("listings: not the clearinghouse"):
            world.system.listings.count_out(ETH, word, 1, sender=who)


def test_set_outflow_limit__again__gives_nobody_a_new_day(world: World) -> None:
    """And lifting it does."""
    account = world.account()
    take(world, account, may_leave(world))
    limit(world, ETH)
    with reverts(WAIT):
        take(world, account, WAD)
    limit(world, ETH, BPS)
    take(world, account, 400 * WAD)
    limit(world, ETH)
    left = int(world.tokens["ETH"].balanceOf(world.clearinghouse))
    assert abs(may_leave(world) - left * LIMIT_BPS // BPS) <= STEP


def test_deploy__bundled_parameters__limit_everything() -> None:
    """Whole tokens become the power of two at or below them."""
    world = build_world(limits_outflow=True)
    parameters = load_parameters()
    terms = {CASH: parameters["quote"], ETH: parameters["assets"]["ETH"]}
    for asset, known in {**terms, BTC: parameters["assets"]["BTC"]}.items():
        bps, floor_log2 = world.system.listings.outflow_limit(asset)
        assert bps == known["outflow_bps"]
        assert 2**floor_log2 <= known["outflow_floor"] * WAD < 2 ** (floor_log2 + 1)
    bps, floor_log2 = world.system.vault.outflow_limit()
    assert bps == parameters["vault"]["outflow_bps"]
    assert 2**floor_log2 <= parameters["vault"]["outflow_floor"] * 10**6 < 2 ** (floor_log2 + 1)


# ---- the limit


def test_withdraw__up_to_the_limit__passes_and_not_a_step_more(world: World) -> None:
    account, whole = world.account(), 1_100 * WAD
    assert may_leave(world) == whole * LIMIT_BPS // BPS // STEP * STEP
    with world.chain.one_block():
        with reverts(WAIT):
            take(world, account, may_leave(world) + STEP)
        take(world, account, 100 * WAD)
        with reverts(WAIT):
            take(world, account, may_leave(world) + STEP)
        take(world, account, may_leave(world))
        assert may_leave(world) == 0
        with reverts(WAIT):
            take(world, world.account(0, world.other_owner), STEP)


def test_withdraw__a_day_later__may_take_as_much_of_the_rest(world: World) -> None:
    account = world.account()
    take(world, account, may_leave(world))
    left = 1_100 * WAD - int(330 * WAD)
    world.chain.advance(DAY_S // 2)
    half = may_leave(world)
    assert 0 < half < left * LIMIT_BPS // BPS
    world.chain.advance(DAY_S // 2)
    assert abs(may_leave(world) - left * LIMIT_BPS // BPS) <= 2 * STEP
    with world.chain.one_block():
        take(world, account, may_leave(world))
        with reverts(WAIT):
            take(world, account, STEP)


def test_withdraw__below_the_floor__is_free_whatever_the_part(world: World) -> None:
    """A small market is never a trap."""
    limit(world, ETH, 0, 70)  # 1,180 ETH
    take(world, world.account(), 1_000 * WAD)
    take(world, world.account(0, world.other_owner), 100 * WAD)
    assert may_leave(world) == 0 == world.tokens["ETH"].balanceOf(world.clearinghouse)


@pytest.mark.parametrize("part_bps", [10_000, 5_000])
def test_withdraw__whale__is_out_in_a_stated_number_of_days(world: World, part_bps: int) -> None:
    """One withdrawal a day of all that may leave: what is left falls to 0.7^n."""
    whale = world.account()
    missing = 1_100 * WAD * part_bps // BPS - 100 * WAD * (part_bps == BPS)
    goal = 1_100 * WAD - missing
    days = 1
    while missing > 0:
        amount = min(missing, may_leave(world))
        take(world, whale, amount)
        missing -= amount
        if missing > 0:
            world.chain.advance(DAY_S)
            days += 1
    assert days <= ceil(log(goal / (1_100 * WAD)) / log(1 - LIMIT_BPS / BPS))


# ---- who can use it up


def others_allowance(world: World) -> int:
    return min(may_leave(world), 100 * WAD)


@pytest.mark.parametrize("how", ["one batch", "blocks", "a unit between", "over midnight"])
def test_cycle__money_that_only_passes_through__uses_up_nothing(world: World, how: str) -> None:
    """Ten times what is there, in and out: others may withdraw what they could before."""
    attacker = world.account(0, world.attacker)
    amount, before = 10_000 * WAD, may_leave(world)
    world.fund(world.attacker, "ETH", amount)
    ledger, who = world.clearinghouse, world.attacker
    if how == "over midnight":
        world.chain.advance(DAY_S - world.chain.time % DAY_S - 2 * BLOCK_INTERVAL_S)
    for _ in range(5):
        if how == "one batch":
            actions = [
                action(DEPOSIT, attacker, asset=ETH, amount=amount),
                action(WITHDRAW, attacker, asset=ETH, amount=amount, target=who),
            ]
            ledger.batch(actions, sender=who)
            continue
        ledger.deposit(attacker, ETH, amount, sender=who)
        if how == "a unit between":
            take(world, attacker, 1)
            take(world, attacker, amount - 1)
            continue
        take(world, attacker, amount)
        if how == "over midnight":
            world.chain.advance(DAY_S - 2 * BLOCK_INTERVAL_S)
    # A block of ten times the total is a seven hundredth part of the day's allowance.
    assert may_leave(world) >= before - amount * 5 * BLOCK_INTERVAL_S // DAY_S
    take(world, world.account(0, world.other_owner), 100 * WAD)
    assert others_allowance(world) == 100 * WAD


def test_deposit__what_left__may_leave_again(world: World) -> None:
    account = world.account()
    world.fund(world.owner, "ETH", 50 * WAD)
    with world.chain.one_block():
        take(world, account, may_leave(world))
        world.clearinghouse.deposit(account, ETH, 50 * WAD, sender=world.owner)
        assert abs(may_leave(world) - 50 * WAD) <= STEP
        take(world, account, may_leave(world))
        with reverts(WAIT):
            take(world, account, 2 * STEP)


def test_gift__to_the_clearing_house__lets_no_more_out_than_it_brought(world: World) -> None:
    """T02: the balance counts, and the gift stays."""
    before = may_leave(world)
    world.tokens["ETH"].mint(world.clearinghouse, 500 * WAD, sender=world.attacker)
    assert before <= may_leave(world) <= before + 500 * WAD + STEP
    world.chain.advance(10 * DAY_S)
    take(world, world.account(), 1)
    world.chain.advance(DAY_S)
    assert may_leave(world) <= before + 500 * WAD


def test_swap__that_empties_the_total__locks_nobody_in(world: World) -> None:
    """What left by a sale is no longer what withdrawals are measured by, a day later at most."""
    seller = world.account()
    world.clearinghouse.swap(seller, world.venue, ETH, CASH, 900 * WAD, 0, sender=world.owner)
    with reverts(WAIT):
        take(world, seller, 100 * WAD)
    world.chain.advance(DAY_S)
    assert may_leave(world) >= 200 * WAD * LIMIT_BPS // BPS - STEP
    take(world, seller, may_leave(world))


# ---- what it does not bind


def test_used_up__everything_but_withdrawals__goes_on(world: World) -> None:
    """Swaps, transfers, deposits, a rebalance and a liquidation, with their tokens and all."""
    ledger, owner = world.clearinghouse, world.owner
    account = world.open_account(leverage=3, sub=1)
    world.enrol(account)
    victim = world.open_account(leverage=3, owner=world.other_owner, sub=1)
    take(world, world.account(), may_leave(world))
    assert may_leave(world) < 10 * STEP
    ledger.swap(world.account(), world.venue, ETH, CASH, 10 * WAD, 0, sender=owner)
    ledger.transfer(world.account(), world.account(2), ETH, 10 * WAD, sender=owner)
    world.set_price("ETH", 1_550)
    world.mandates.rebalance(account, sender=world.keeper)
    world.set_price("ETH", 1_450)
    taker = world.account(5, world.attacker)
    world.deposit(taker, QUOTE, 10**11)
    liquidator = world.system.liquidator
    receipt = liquidator.liquidate(victim, taker, ANY_STATE, sender=world.attacker)
    assert liquidator.events(receipt, "Liquidated")
    world.deposit(world.account(), "ETH", WAD)


# ---- cash


def test_withdraw__cash_of_the_clearing_house__is_limited_like_any_token(world: World) -> None:
    """A bug in what traders win cannot carry the house's cash away in a day."""
    desk = open_desk(world, house_cash=10**6)
    trader = desk.trader(cash=10**6)
    limit(world, CASH, LIMIT_BPS, 70)
    take(world, trader, 600_000 * 10**6, CASH)
    with reverts(WAIT):
        take(world, trader, 10**6 * 10**3, CASH)
    world.chain.advance(DAY_S)
    take(world, trader, 400_000 * 10**6, CASH)


def test_withdraw__loan__is_not_the_clearing_houses_to_limit(world: World) -> None:
    """It comes from the vault; the part in cash counts here."""
    account = world.account()
    world.deposit(account, QUOTE, 100_000 * 10**6)
    limit(world, CASH, 0, 70)  # 1,180 quote tokens
    with reverts(WAIT):
        world.borrow(account, 2_000 * 10**6)
    world.clearinghouse.swap(account, world.venue, CASH, ETH, 10**11, 0, sender=world.owner)
    world.borrow(account, 50_000 * 10**6)


def test_withdraw__house__waits_in_the_liquidity_vault_and_not_here(world: World) -> None:
    """An epoch that is larger than the limit could never be paid out."""
    take_in(world, ask_in(world, world.owner, 100_000))
    claim_shares(world, world.owner)
    shares = int(world.system.liquidity_vault.balanceOf(world.owner))
    epoch = ask_out(world, world.owner, shares)
    limit(world, CASH, 0, 24)
    pay_out(world, epoch)
    assert world.system.liquidity_vault.maxWithdraw(world.owner) > 99_000 * 10**6


# ---- beside the model

moves = st.lists(
    st.tuples(st.booleans(), st.integers(1, 10**6), st.integers(0, 3 * DAY_S)), max_size=30
)


@given(moves=moves, limit_bps=st.integers(1, BPS - 1), floor_log2=st.integers(0, 20))
def test_outflow__any_flows__never_lose_more_than_twice_the_part_in_a_day(
    moves: list[tuple[bool, int, int]], limit_bps: int, floor_log2: int
) -> None:
    """However withdrawals are spread, between any two moments a day apart."""
    total, now = 10**6, 0
    flow = Outflow(total, total, now, limit_bps, floor_log2)
    levels = [(now, flow.level)]
    for is_deposit, amount, wait in moves:
        now += wait
        if is_deposit:
            total += amount
            continue
        amount = min(amount, flow.open(total, now))
        assert 0 <= amount <= total
        flow = flow.counted(total, amount, now)
        total -= amount
        allowed = max(flow.level * limit_bps // BPS, 1 << floor_log2)
        assert total >= flow.level - allowed
        for then, level in levels:
            if now - then <= DAY_S:
                assert total >= level - 2 * max(level * limit_bps // BPS, 1 << floor_log2) - 1
        levels.append((now, flow.level))


@pytest.mark.parametrize("seed", range(3))
def test_withdraw__random_flows__are_those_of_the_model(world: World, seed: int) -> None:
    rng = Random(seed)
    account, total = world.account(), 1_100 * WAD // STEP
    limit(world, ETH, BPS)
    limit(world, ETH)
    flow = Outflow(total, total, world.chain.time, LIMIT_BPS, FLOOR_LOG2 - 24)
    for _ in range(25):
        world.chain.advance(rng.choice((0, 60, 5_000, DAY_S // 3, DAY_S, 3 * DAY_S)))
        if rng.random() < 0.3:
            units = rng.randint(1, 50 * WAD) // STEP
            world.deposit(account, "ETH", units * STEP)
            total += units
            continue
        with world.chain.one_block():
            open_ = flow.open(total, world.chain.time)
            assert may_leave(world) == open_ * STEP
            held = int(world.clearinghouse.position_word(account, ETH)) // STEP
            if open_ < held:
                with reverts(WAIT):
                    take(world, account, (open_ + 1) * STEP)
            open_ = min(open_, held)
            amount = open_ if rng.random() < 0.4 else rng.randint(0, open_)
            if amount:
                take(world, account, amount * STEP)
                flow = flow.counted(total, amount, world.chain.time)
                total -= amount


# ---- the lending vault


@pytest.fixture
def lending() -> Iterator[Lending]:
    """Ten thousand tokens of two lenders, of which three tenths may leave in a day."""
    lending = deploy_lending(RevmChain())
    lending.deposit(lending.lender, 6_000 * lending.unit)
    lending.deposit(lending.other_lender, 4_000 * lending.unit)
    lending.vault.set_outflow_limit(LIMIT_BPS, 20, sender=lending.governor)
    yield lending


def leave(lending: Lending, assets: int) -> None:
    lending.vault.withdraw(assets, lending.lender, lending.lender, sender=lending.lender)


def test_vault__exits_and_loans__share_one_limit(lending: Lending) -> None:
    unit = lending.unit
    lending.lend(2_000 * unit)
    assert lending.vault.maxWithdraw(lending.lender) == 1_000 * unit == lending.vault.max_loan()
    with reverts(WAIT):
        leave(lending, 1_000 * unit + 1)
    with reverts(WAIT):
        lending.lend(1_000 * unit + 1)
    leave(lending, 1_000 * unit)
    # What may leave is a part of total assets, of which there are less now, and of time.
    assert lending.vault.maxWithdraw(lending.lender) < unit
    with reverts(WAIT):
        lending.lend(unit)


def test_vault__limits_told__are_accepted_to_the_unit(lending: Lending) -> None:
    """T10: maxWithdraw and maxRedeem of a lender who has more, and max_loan."""
    vault, who = lending.vault, lending.lender
    lending.lend(500 * lending.unit)
    for wait_s in (0, 3_000, DAY_S):
        lending.chain.advance(wait_s)
        with lending.chain.one_block():
            most, shares, loan = vault.maxWithdraw(who), vault.maxRedeem(who), vault.max_loan()
            with lending.chain.isolated():
                vault.redeem(shares, who, who, sender=who)
                assert vault.maxRedeem(who) <= 10**6
            with lending.chain.isolated(), reverts(WAIT):
                vault.redeem(shares + 10**7, who, who, sender=who)
            with lending.chain.isolated():
                lending.lend(loan)
                assert vault.max_loan() == 0
            with lending.chain.isolated(), reverts(WAIT):
                leave(lending, most + 1)
        with lending.chain.isolated():
            leave(lending, vault.maxWithdraw(who) - 1)


def test_vault__repayment_and_deposit__give_back(lending: Lending) -> None:
    unit = lending.unit
    shares = lending.lend(3_000 * unit)
    with reverts(WAIT):
        leave(lending, 10 * unit)
    lending.repay(1_000 * unit, shares)
    leave(lending, 900 * unit)
    lending.deposit(lending.other_lender, 500 * unit)
    leave(lending, 450 * unit)


def test_vault__deposit_that_passes_through__uses_up_nothing(lending: Lending) -> None:
    """In and out in the next block, ten times what is there."""
    before = lending.vault.max_loan()
    for _ in range(3):
        lending.deposit(lending.attacker, 100_000 * lending.unit)
        most = lending.vault.maxWithdraw(lending.attacker)
        lending.vault.withdraw(most, lending.attacker, lending.attacker, sender=lending.attacker)
    assert lending.vault.max_loan() >= before * 95 // 100


def test_vault__no_limit_ever_set__is_told_as_all_of_it() -> None:
    """And no floor: what is there may leave."""
    lending = deploy_lending(RevmChain())
    lending.deposit(lending.lender, 6_000 * lending.unit)
    assert tuple(lending.vault.outflow_limit()) == (BPS, 0)
    leave(lending, 6_000 * lending.unit)


def test_vault__limit_set_again__holds_on_the_next_day(lending: Lending) -> None:
    """Other terms change how much may leave, not what it is a part of."""
    unit, vault = lending.unit, lending.vault
    leave(lending, 1_000 * unit)
    vault.set_outflow_limit(LIMIT_BPS // 2, 20, sender=lending.governor)
    lending.chain.advance(2 * DAY_S)
    assert vault.maxWithdraw(lending.lender) == 9_000 * unit * LIMIT_BPS // 2 // BPS
    with reverts(WAIT):
        leave(lending, vault.maxWithdraw(lending.lender) + 1)


def test_vault__set_outflow_limit__is_the_owners_and_bounded(lending: Lending) -> None:
    vault = lending.vault
    for bps, floor_log2 in ((BPS + 1, 20), (1, 96)):
        with reverts(OUT_OF_RANGE):
            vault.set_outflow_limit(bps, floor_log2, sender=lending.governor)
    receipt = vault.set_outflow_limit(BPS, 95, sender=lending.governor)
    assert tuple(args_of(vault, receipt, "OutflowLimitUpdated")) == (BPS, 95)
    assert tuple(vault.outflow_limit()) == (BPS, 95)
    assert vault.maxWithdraw(lending.lender) == 6_000 * lending.unit
    leave(lending, 6_000 * lending.unit)


def test_settle__loan_beyond_the_limit__is_cut_and_never_fails(world: World) -> None:
    """A forced loan is lent as far as it may be; the rest of the loss stays listed."""
    desk = open_desk(world)
    trader = desk.trader(cash=100)
    world.deposit(trader, "BTC", 10**8)
    desk.trade(trader, 10 * WAD)
    world.system.vault.set_outflow_limit(0, 28, sender=world.governor)  # 268 quote tokens
    world.set_price("ETH", 1_800)
    desk.trade(trader, -10 * WAD)
    assert desk.debt_shares(trader) > 0
    assert desk.held(trader).cost_wad > 1_000 * WAD
    desk.check()
