"""Attacks on the books of liquidation: roundings, claims, netting, holds, dust, and known limits.

T05, T09, T18, T24, T45, T47, T54, T59, T65, attacks A1, A2, A9, A14, A16, A18 and A19.
"""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from ballast.chain import Reverted
from ballast.model.margin import BPS, WAD
from tests.clearing_kit import UNIT, debt_units, excess_init
from tests.liquidation_kit import (
    ROUNDING_WAD,
    Floor,
    open_floor,
    spot_victim,
)
from tests.support.fixtures import shared_world
from tests.support.hooks import (
    deploy_hook,
    hand_over,
)
from tests.support.world import (
    QUOTE,
    AssetSpec,
    World,
    build_world,
)
from tests.threats.gang import (
    DAY_S,
    ETH,
    HOUR_S,
    VICTIMS,
    everything,
)

# ---- what is lost in between


TAKER_IS_TOO_POOR = (
    "margin: initial margin short",
    "margin: price not usable",
    "vault: loan too large",
)


def settled_debts(floor: Floor) -> tuple[int, int]:
    """What accounts owe one by one, each rounded up, and what the vault thinks they owe, units."""
    world = floor.world
    owed = sum(debt_units(world, account) for account in floor.accounts)
    return owed, int(world.system.vault.total_debt())


@pytest.mark.parametrize("block", range(5))
def test_liquidate__any_accounts_at_any_prices__nothing_is_made_or_lost(block: int) -> None:
    """T05, A18, I04, I19, I34: with an index that does not divide and a vault lent to its limit or
    not; the sum of all equities is the same to a few units, and loans add up."""
    assert sum(liquidations_at_random(8 * block + seed) for seed in range(8)) > 10


def liquidations_at_random(seed: int) -> int:
    """Three accounts of anything; returns how often one of them was liquidated."""
    rng = random.Random(seed)
    world = shared_world()
    with world.isolated():
        floor = open_floor(world, rng.choice([0, 50_000, 10**7]))
        if rng.random() < 0.7:
            floor.insure(rng.randrange(10**8, 10**10))
        if rng.random() < 0.4:
            caps = sorted(rng.randrange(2_000) * WAD for _ in range(2))
            floor.put_terms(account_cap_wad=caps[0], day_cap_wad=caps[1], house_day_bps=1)
        victims = [world.account(sub) for sub in range(3)]
        takers = [floor.taker(sub, cash=rng.choice([0, 2_000, 50_000]), ether=50) for sub in (0, 1)]
        world.wait(rng.randrange(DAY_S, 200 * DAY_S))
        if floor.cash(floor.house):
            floor.refresh()
        for victim in victims:
            world.deposit(victim, "ETH", rng.randrange(1, 20 * WAD))
            world.deposit(victim, "BTC", rng.randrange(1, 10**8))
            world.deposit(victim, QUOTE, rng.randrange(1, 10**9))
            for name, most in (("ETH", 20), ("BTC", 1)):
                size = rng.randrange(-most * 10**9, most * 10**9) * 10**9
                with suppress(Reverted):
                    floor.trade(victim, size, name)
            if (spare := excess_init(world, victim) // UNIT - 10**6) > 0:
                world.borrow(victim, spare)
        with suppress(Reverted):
            floor.trade(takers[0], rng.randrange(-5, 5) * WAD)
        if rng.random() < 0.5:
            floor.drain()
        seen = 0
        for _ in range(6):
            for name in world.names:
                price = world.price_wad(name) * rng.randrange(80, 118) // 100 // WAD
                floor.drop(price, name=name)
            for victim in victims:
                if floor.assess(victim).excess_maint >= 0:
                    continue
                if rng.random() < 0.5:
                    floor.flag(victim)
                with world.chain.one_block():
                    before = everything(floor)
                    try:
                        floor.liquidate(victim, rng.choice(takers))
                    except Reverted as error:
                        assert error.reason in TAKER_IS_TOO_POOR
                        continue
                    seen += 1
                    assert abs(everything(floor) - before) <= 6 * UNIT
                    assert floor.assess(victim).excess_maint >= -2 * UNIT
                    owed, counted = settled_debts(floor)
                    assert 0 <= owed - counted <= len(floor.accounts)
                    floor.check()
        return seen


@pytest.mark.parametrize("index_days", [0, 100, 1_000])
@pytest.mark.parametrize(
    "funds", [(0, 0), (1_000, 0), (0, 10**6), (1_000, 200_000), (10**5, 10**7)]
)
@pytest.mark.parametrize("price", [900, 1_100, 1_300])
def test_liquidate__deficit_while_the_vault_is_lent_out__asks_nobody_for_a_loan(
    world: World, index_days: int, funds: tuple[int, int], price: int
) -> None:
    """A14, T65: a small debt and a large lost perpetual; insurance and house repay the debt in two
    parts, each of which may lose a unit to rounding, and the rest is the taker's in cash."""
    floor = open_floor(world, 10**7)
    victim, taker = world.account(), floor.taker(cash=10**6)
    world.open_account(2, {"BTC": 1}, equity=10**6, sub=9)
    world.deposit(victim, "ETH", WAD)
    world.deposit(victim, QUOTE, 6_000 * 10**6)
    world.wait(index_days * DAY_S + 1)
    floor.refresh()
    floor.trade(victim, 10 * WAD)
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
    insurance, house = funds
    if insurance:
        floor.insure(insurance * 10**6 + 1)
    floor.put_terms(house_day_bps=1 if house == 200_000 else 100 if house else 0)
    floor.drain()
    floor.drop(price)
    with floor.a_block_later():
        assert floor.liquidator.preview(victim).deficit_wad > 0
        before = floor.worth(taker)
    receipt = floor.liquidate(victim, taker)
    assert receipt.return_value == WAD and floor.worth(taker) > before
    assert floor.debt_shares(victim) == 0 and floor.cash(victim) < 4 * UNIT


def test_liquidate__discount_that_only_the_house_can_owe__is_paid_by_its_cash_alone(
    world: World,
) -> None:
    """A1, A2: nobody stands in front of a lost perpetual, so its taker ends with a claim. It is
    worth what the house has, it is settled once, and no lender's money pays for it."""
    floor = open_floor(world, 10**6)
    floor.put_terms(house_day_bps=0)
    victim, taker = world.account(), floor.taker(cash=10**6)
    world.deposit(victim, QUOTE, 6_000 * 10**6)
    floor.trade(victim, 10 * WAD)
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
    floor.drop(1_000)
    lent = world.system.vault.totalAssets()
    with floor.a_block_later():
        house, before = floor.worth(floor.house), floor.worth(taker)
    booked = floor.told(floor.liquidate(victim, taker), "DeficitBooked")
    assert booked.claims_wad > 0 and booked.lenders_wad == 0 and booked.house_wad == 0
    assert house - floor.worth(floor.house) == booked.claims_wad
    assert floor.worth(taker) > before
    floor.trade(taker, -10 * WAD)
    for _ in range(3):
        with suppress(Reverted):
            floor.settle(taker)
    assert floor.held(taker).size_wad == 0
    assert world.system.vault.totalAssets() - lent < 10**6 and floor.debt_shares(floor.house) == 0
    floor.check()


def test_liquidate__gain_that_stayed_with_its_owner__is_paid_once(world: World) -> None:
    """A1, T45: the house has no cash left when a winner in one market fails in another. The taker
    neither pays for what stays with the owner nor gets any of it; when the house has cash again,
    each is paid once."""
    floor = open_floor(world, 45_000)
    victim, winner, taker = world.account(), floor.trader(1), floor.taker()
    world.deposit(victim, "ETH", 10 * WAD)
    floor.trade(victim, WAD // 10, "BTC")
    floor.trade(winner, 13 * WAD // 10, "BTC")
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**7)
    for price in (36_000, 43_000, 51_000, 60_000, 70_000):
        world.set_price("BTC", price)
    floor.settle(winner, "BTC")
    floor.sink(victim)
    assert floor.cash(floor.house) == 0
    with world.chain.one_block():
        gain = floor.result(victim, "BTC")
        part = floor.now(victim)[1]
        assert part.unpaid_wad > 2_000 * WAD
        fraction = floor.liquidate(victim, taker).return_value
        results = [floor.result(account, "BTC") for account in (victim, taker)]
        assert abs(sum(results) - gain) < 10 and 0 < fraction < WAD
        # Of what the house cannot pay the taker has nothing, of the rest his part.
        assert abs(results[1] - (gain - part.unpaid_wad) * fraction // WAD) < 10
    floor.fund_house(10**5)
    held = floor.cash(floor.house)
    paid = [floor.settle(account, "BTC") for account in (victim, taker)]
    assert sum(paid) == held - floor.cash(floor.house)
    assert abs(paid[0] - results[0]) < WAD and abs(paid[1] - results[1]) < WAD
    for account in (victim, taker):
        with suppress(Reverted):
            assert floor.settle(account, "BTC") < WAD
    floor.check()


def test_liquidate__taker_holds_the_other_side__frees_what_two_closings_would(
    floor: Floor,
) -> None:
    """A19, I20: netting mints no headroom and no skew: exposure and headroom are those after both
    have closed as much in the market; no price, cap or breaker is asked, and nothing else
    differs."""
    world = floor.world
    victim, taker = floor.trader(cash=6_000), floor.taker()
    floor.trade(victim, 10 * WAD)
    floor.trade(taker, -4 * WAD)
    floor.sink(victim)
    floor.refresh()
    room = tuple(floor.perps.headroom_of(ETH)[:2])
    longs, shorts = floor.perps.exposure_of(ETH)
    with world.isolated():
        floor.liquidate(victim, taker)
        taken = 10 * WAD - floor.held(victim).size_wad
        both = min(taken, 4 * WAD)
        assert tuple(floor.perps.exposure_of(ETH)) == (longs - both, shorts - both)
        netted = tuple(floor.perps.headroom_of(ETH)[:2])
        floor.check()
        floor.refresh()
        assert tuple(floor.perps.headroom_of(ETH)[:2]) != room
    floor.trade(victim, -both)
    floor.trade(taker, both)
    assert tuple(floor.perps.headroom_of(ETH)[:2]) == netted
    assert tuple(floor.perps.exposure_of(ETH)) == (longs - both, shorts - both)


# ---- holds and flags


@pytest.mark.parametrize("block", range(4))
def test_hold__any_order_of_flags_cures_bookings_and_time__opens_again(block: int) -> None:
    """T09, I35: at most an hour from the latest flag of a loss, once per account and day; open as
    soon as every loss that holds them is booked or gone, never held by an account without one."""
    assert sum(holds_at_random(4 * block + seed) for seed in range(4)) > 4


def holds_at_random(seed: int) -> int:
    """Sixty moves with three accounts against what ought to be; how often exits were held."""
    rng, world = random.Random(seed), shared_world()
    with world.isolated():
        floor = open_floor(world)
        taker = floor.taker(cash=10**7)
        accounts = [world.open_account("2.4", equity=200_000, sub=sub) for sub in range(3)]
        vault, held_at, holding = world.system.vault, dict[int, int](), set[int]()
        until, held = 0, 0
        for _ in range(60):
            account = rng.choice(accounts)
            move = rng.choice(["flag", "flag", "flag", "price", "time", "book", "refill"])
            if move == "price":
                floor.drop(rng.choice([900, 1_000, 1_100, 1_400, 2_000]))
            elif move == "time":
                world.chain.advance(rng.choice([60, 600, 3_600, 40_000]))
            elif move == "refill":
                world.deposit(account, "ETH", 100 * WAD)
                spare = excess_init(world, account) // UNIT - 10**6
                with suppress(Reverted):
                    world.borrow(account, max(0, spare))
            elif move == "book":
                with suppress(Reverted):
                    floor.liquidate(account, taker)
                    holding.discard(account)
                    until = 0 if not holding else until
            else:
                with floor.a_block_later():
                    loss = -floor.worth(account) * BPS > vault.totalAssets() * UNIT
                    is_below = floor.assess(account).excess_maint < 0
                now = floor.flag(account).time
                if not is_below and account in holding:
                    holding.discard(account)
                    until = 0 if not holding else until
                if loss and now >= held_at.get(account, -DAY_S) + DAY_S:
                    held_at[account], until, held = now, now + HOUR_S, held + 1
                    holding.add(account)
            assert vault.exits_held_until() == until, move
            assert until <= world.chain.time + HOUR_S
            is_open = world.chain.time >= until
            assert (vault.maxWithdraw(world.lender) > 0) == is_open
        floor.drop(2_000)
        for account in accounts:
            world.deposit(account, QUOTE, 10**12)
            floor.flag(account)
        assert vault.exits_held_until() == (0 if holding else until)
        return held


@pytest.mark.parametrize(
    "asset", [0, 1, 2, 3, 31, 32, 255, 256, 257, 2**16 + 1, 2**248 + 1, 2**255]
)
def test_learn_unit__any_number__cannot_teach_a_wrong_one(
    floor: Floor, victim: int, asset: int
) -> None:
    """T18: what is not listed has no unit, a number beyond 255 is not another asset's, and what is
    known stays; a slice of a token of few decimals is in whole units whether it was learnt or
    not."""
    world, taker = floor.world, floor.taker()
    _, part = floor.foresee(victim)
    listed = asset in (0, 1, 2)
    for _ in range(2):
        try:
            floor.liquidator.learn_unit(asset, sender=world.attacker)
        except Reverted as error:
            assert not listed and error.reason == "token units: unknown asset"
        else:
            assert listed
    world.system.listings.set_asset_limits(ETH, 1, 50, sender=world.governor)
    floor.liquidate(victim, taker)
    taken = floor.held(taker).collateral_wad
    assert (
        0 < part.taken[0].collateral_wad - taken < 10**13 or taken == part.taken[0].collateral_wad
    )


def test_flag__at_every_amount_of_gas__reverts_or_is_the_same(floor: Floor) -> None:
    """T24: of a loss that holds the exits, and of an account whose hook has something to say."""
    world = floor.world
    ruined_, hooked = world.open_account("2.4", equity=200_000), world.open_account("2.4", sub=1)
    hook = deploy_hook(world)
    hand_over(world, hooked, hook)
    hook.set_trigger((1).to_bytes(32, "big"), sender=world.attacker)
    floor.drop(1_000)
    world.deposit(hooked, QUOTE, 10**11)
    for account, names in ((ruined_, ["Flagged", "ExitsHeld"]), (hooked, ["Flagged"])):
        reverted, served = 0, 0
        for gas in range(40_000, 700_000, 3_000):
            with world.isolated():
                try:
                    receipt = floor.liquidator.flag(account, sender=world.attacker, gas=gas)
                except Reverted:
                    reverted += 1
                    assert not served
                    continue
                served += 1
                assert floor.names_of(receipt) == names, gas
                since = floor.liquidator.flagged_since(account)
                assert since[1] == receipt.time
        assert reverted > 3 and served > 3


def test_flag__hook_that_needs_much_gas_to_answer__is_heard_or_the_call_reverts(
    floor: Floor,
) -> None:
    """T24: who starves it cannot have a trigger forgotten that has been counting for a while."""
    world = floor.world
    account = world.open_account(3)
    world.enrol(account)
    for price in (1_850, 1_700):
        world.set_price("ETH", price)
    since = floor.flag(account).time
    served = 0
    for gas in range(60_000, 700_000, 2_000):
        with world.isolated(), suppress(Reverted):
            floor.liquidator.flag(account, sender=world.attacker, gas=gas)
            assert floor.liquidator.flagged_since(account) == (0, since), f"{gas} gas"
            served += 1
    assert served > 10


def test_bad_debt__account_recovered_before_it_was_liquidated__anyone_has_it_forgotten(
    world: World,
) -> None:
    """A16: a debt that the liquidity vault has counted, of an account that is worth something
    again: the vault learns of it when anyone flags the account once more, liquidated or not."""
    floor, vault = open_floor(world, 10**6), world.system.liquidity_vault
    victim, taker = floor.trader(cash=6_000), floor.taker()
    floor.trade(victim, 10 * WAD)
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
    price = 2_000
    while floor.worth(victim) > 0:
        price -= 20
        floor.drop(price)
    vault.flag_bad_debt(victim, sender=world.keeper)
    assert vault.bad_debt_of(victim) > 0
    while floor.worth(victim) <= 0:
        price += 10
        floor.drop(price)
    assert floor.assess(victim).excess_maint < 0
    with world.isolated():
        vault.flag_bad_debt(victim, sender=world.stranger)
        assert vault.bad_debt_wad() == 0
    floor.liquidate(victim, taker)
    vault.flag_bad_debt(victim, sender=world.stranger)
    assert vault.bad_debt_of(victim) == vault.bad_debt_wad() == 0


# ---- small and old accounts


def test_liquidate__hedge_of_a_few_coarse_units__does_not_revert() -> None:
    """T18, T65: four units of a token of two decimals, each worth 1,300, against a short as large.
    The slice takes whole units only, which leaves the rest of the hedge open: it requires more than
    the whole did, so nothing is paid for and nothing must revert."""
    world = build_world({"ETH": AssetSpec(18, 2_000), "BTC": AssetSpec(2, 130_000)})
    floor = open_floor(world)
    account, taker = world.account(), floor.taker()
    world.deposit(account, "BTC", 4)
    floor.trade(account, -4 * 10**16, "BTC")
    world.borrow(account, excess_init(world, account) // UNIT - 10**5)
    price = 130_000
    while floor.assess(account).excess_maint >= 0:
        price += 200
        floor.drop(price, name="BTC")
    _, part = floor.foresee(account)
    assert part.fraction_wad < WAD and part.freed_wad < 0, "or it is no case"
    assert floor.liquidate(account, taker).return_value > 0


@pytest.mark.parametrize("collateral", [0, 1, 10**9, 10**12, 10**15])
def test_liquidate__dust_with_a_debt__is_taken_whole(floor: Floor, collateral: int) -> None:
    """T59, T65: an account of a few wei of ether and a debt of some units is gone after one call,
    and pays nobody more than it has."""
    world, taker = floor.world, floor.taker()
    account = world.account()
    world.deposit(account, "ETH", WAD // 100)
    world.borrow(account, 10 * 10**6)
    floor.drop(100)
    if collateral:
        world.deposit(account, "ETH", collateral)
    with floor.a_block_later():
        before = floor.worth(taker)
        assert floor.assess(account).excess_maint < 0
    assert floor.liquidate(account, taker).return_value == WAD
    assert 0 <= floor.worth(taker) - before < WAD
    assert world.clearinghouse.words_of(account)[1:] == [0] and floor.debt_shares(account) == 0


@pytest.mark.parametrize("kind", VICTIMS)
def test_liquidate__account_left_alone_for_ten_years__is_closed(floor: Floor, kind: str) -> None:
    """T47: interest and funding of ten years, prices as old as that; a taker with cash closes it
    all the same and the books add up."""
    world = floor.world
    world.open_account(3, {"BTC": 1}, equity=10**6, sub=3)
    account, taker = VICTIMS[kind](floor), floor.taker(cash=10**9)
    floor.drain()
    world.chain.advance(3_650 * DAY_S)
    with world.chain.one_block():
        before = everything(floor)
        assert floor.assess(account).excess_maint < 0
        fraction = floor.liquidate(account, taker).return_value
        assert abs(everything(floor) - before) <= 6 * UNIT
        assert floor.assess(account).excess_maint >= 0
    assert (fraction == WAD) == (kind not in ("long", "short")), "only a loan ruins"
    floor.check()


# ---- limits that are known


def test_rescue__venue_was_moved_in_the_same_block__fails_and_costs_the_discount(
    floor: Floor,
) -> None:
    """A9, T54: the limit of a rescue that must sell: who moves the venue beyond the guard's
    slippage and liquidates in one transaction gets the discount of a slice, which is a fifth of
    what it required at most. A hook that need not sell is not to be had like this."""
    world, taker = floor.world, floor.taker()
    victim = spot_victim(floor, is_enrolled=True)
    with world.isolated():
        assert floor.names_of(floor.liquidate(victim, taker))[-1] == "Rescued"
    required = floor.assess(victim).required_maint
    with world.chain.one_block():
        world.set_venue_price("ETH", world.price_wad("ETH") * 97 // 100)
        receipt = floor.liquidate(victim, taker)
    assert floor.names_of(receipt)[0] == "RescueFailed"
    assert floor.told(receipt, "Liquidated").bonus_wad <= required // 5


def test_fee__taker_without_cash_where_the_vault_lends_nothing__is_all_he_saves(
    floor: Floor, victim: int
) -> None:
    """A14: the limit of insurance's part: it is not worth a refusal. Nobody gets more than the
    discount."""
    world = floor.world
    world.open_account(2, {"BTC": 1}, equity=10**6, sub=9)
    poor, rich = floor.taker(0, cash=0, ether=1_000), floor.taker(1, cash=10**5, ether=1_000)
    floor.drain()
    gains = []
    for taker in (rich, poor):
        with world.isolated():
            with floor.a_block_later():
                before = floor.worth(taker)
            told = floor.told(floor.liquidate(victim, taker), "Liquidated")
            gains.append(floor.worth(taker) - before)
    assert gains[0] < gains[1] <= told.bonus_wad
    assert gains[1] - gains[0] <= told.bonus_wad // 5 + ROUNDING_WAD


@pytest.mark.parametrize("decimals", [2, 8, 18])
@pytest.mark.parametrize("price", [1_500, 1_210, 1_000])
def test_liquidate__quote_token_of_other_decimals__is_to_its_unit(
    decimals: int, price: int
) -> None:
    """T18: with a unit of a cent or of a wei, of a slice, of a whole account and of a deficit."""
    world = shared_world(2, decimals)
    with world.isolated():
        floor = Floor(world)
        unit = world.unit_wad(QUOTE)
        victim = world.open_account("2.5", equity=10**5)
        taker = world.account(0, world.other_owner)
        world.deposit(taker, QUOTE, world.units(QUOTE, 10**6))
        world.wait(100 * DAY_S + 1)
        while floor.assess(victim).excess_maint >= 0 or world.price_wad("ETH") > price * WAD:
            floor.drop(world.price_wad("ETH") // WAD - 10)
        assert decimals != 18 or unit == 1
        accounts = [victim, taker, floor.insurance, floor.house]

        def total() -> int:
            state = world.system.vault.state()
            lent = int(world.system.vault.totalAssets()) + int(state.reserves)
            return sum(floor.worth(account) for account in accounts) + lent * unit

        with world.chain.one_block():
            before, own = total(), floor.worth(taker)
            fraction = floor.liquidate(victim, taker).return_value
            assert abs(total() - before) <= 6 * unit
            assert floor.worth(taker) > own
        assert (fraction < WAD) == (price == 1_500)
        assert fraction < WAD or (floor.debt_shares(victim), floor.cash(victim) // unit) <= (0, 3)
