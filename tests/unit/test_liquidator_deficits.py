"""Deficits: who bears them and in what order, and lenders' exits that wait until they did."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ballast.chain import BLOCK_INTERVAL_S
from ballast.model.margin import BPS, WAD
from tests.clearing_kit import UNIT, debt_units
from tests.conftest import reverts
from tests.liquidation_kit import (
    DAY_S,
    HEALTHY,
    ROUNDING_WAD,
    Floor,
    Loss,
    Means,
    assert_nothing_left,
    lose,
    open_floor,
    with_means,
)
from tests.perps_kit import BTC, ETH
from tests.support.world import QUOTE, World

# ---- who bears a deficit


LAYERS: Mapping[str, tuple[Means, tuple[bool, bool, bool]]] = {
    "insurance": (Means(insurance=20_000), (True, False, False)),
    "house": (Means(house=10**7), (False, True, False)),
    "lenders": (Means(), (False, False, True)),
    "insurance, then the house": (Means(insurance=1_000, house=10**7), (True, True, False)),
    "the account's cap, then lenders": (
        Means(insurance=20_000, account_cap=700),
        (True, False, True),
    ),
    "the day's cap, then lenders": (Means(insurance=20_000, day_cap=10), (True, False, True)),
    "the house's day, then lenders": (Means(house=50_000), (False, True, True)),
    "all in order": (Means(insurance=300, house=50_000), (True, True, True)),
}


@pytest.mark.parametrize("price", [1_205, 1_190, 1_050, 700])
@pytest.mark.parametrize("layers", LAYERS)
def test_liquidate__deficit__is_borne_in_order(world: World, layers: str, price: int) -> None:
    """I34: and the owner is left with nothing."""
    means, bearing = LAYERS[layers]
    floor = with_means(world, means)
    victim, taker = world.open_account("2.5"), floor.taker()
    floor.sink(victim)
    floor.drop(price)
    loss = lose(floor, victim, taker)
    assert loss.booked[:2] == loss.foretold[:2] and loss.booked[3] == 0
    assert abs(loss.booked[2] - loss.foretold[2]) <= ROUNDING_WAD
    assert loss.insurance_change_wad == -loss.booked[0]
    assert loss.house_change_wad == -loss.booked[1]
    # Each of up to three repayments may leave a unit to the lenders.
    assert -UNIT <= loss.lenders_change * UNIT + loss.booked[2] <= 4 * UNIT
    if price == 700:
        assert tuple(part > 0 for part in loss.booked[:3]) == bearing
    assert_nothing_left(floor, victim)
    floor.check()


@pytest.mark.parametrize("price", [1_205, 1_190, 1_050, 700])
@pytest.mark.parametrize("layers", LAYERS)
def test_liquidate__deficit__leaves_no_debt(world: World, layers: str, price: int) -> None:
    """Not a unit that a repayment has lost to rounding: the owner has nothing to pay it with."""
    floor = with_means(world, LAYERS[layers][0])
    victim, taker = world.open_account("2.5"), floor.taker()
    floor.sink(victim)
    floor.drop(price)
    lose(floor, victim, taker)
    assert floor.debt_shares(victim) == floor.debt_shares(taker) == 0
    with floor.refused(HEALTHY):
        floor.liquidate(victim, taker)


def test_liquidate__unit_that_three_payments_leave_of_a_debt__is_repaid_by_the_taker(
    world: World,
) -> None:
    """I01: once an index has grown for thirty years three repayments may lose more to rounding
    than a share; what is left goes with the slice, and the taker has cash to pay it with."""
    world.open_account(3, {"BTC": 1}, equity=10**7, sub=9)
    world.wait(30 * 365 * DAY_S)
    world.set_price("ETH", 2_000)
    floor = with_means(world, Means(insurance=1_000, house=10**7))
    victim, taker = world.open_account("2.5"), floor.taker()
    floor.sink(victim)
    moved = 0
    for units in range(40):
        with world.isolated():
            floor.put_terms(account_cap_wad=700 * WAD + units * UNIT)
            floor.drop(1_100 - 5 * units)
            receipt = floor.liquidate(victim, taker)
            moved += "DebtMoved" in floor.names_of(receipt)
            assert floor.cash(taker) > 10_000 * WAD
            assert floor.debt_shares(victim) == floor.debt_shares(taker) == 0, f"{units}"
    assert moved, "or it is no case"


def test_liquidate__lenders_bear__every_share_falls_alike(world: World) -> None:
    floor = open_floor(world, house_cash=0)
    vault = world.system.vault
    world.fund(world.attacker, QUOTE, 10**13)
    world.quote.approve(vault, 10**13, sender=world.attacker)
    vault.deposit(10**13, world.attacker, sender=world.attacker)
    victim, taker = world.open_account("2.5", equity=10**6), floor.taker(cash=2 * 10**6)
    floor.sink(victim)
    floor.drop(1_000)
    holders = (world.lender, world.attacker)
    with floor.a_block_later():
        before = [vault.convertToAssets(vault.balanceOf(who)) for who in holders]
        shares = world.clearinghouse.account_word(victim) >> 128
        supply, assets = vault.totalSupply(), vault.totalAssets()
    loss = lose(floor, victim, taker)
    realised = vault.events(loss.receipt, "BadDebtRealised")[0].args
    assert 0 < realised.shares < shares
    assert abs(realised.assets * UNIT - loss.booked[2]) <= UNIT
    assert vault.totalSupply() == supply
    for who, old in zip(holders, before, strict=True):
        now = vault.convertToAssets(vault.balanceOf(who))
        assert abs(now - old * (assets - realised.assets) // assets) <= 2
    assert floor.told(loss.receipt, "DebtMoved").heir == 0


def test_liquidate__caps_of_a_day__begin_anew_at_midnight(world: World) -> None:
    """Of insurance for all accounts, and of the house."""
    floor = with_means(world, Means(insurance=20_000, account_cap=400, day_cap=1_000, house=50_000))
    victims = [world.open_account("2.5", sub=sub) for sub in range(5)]
    taker = floor.taker()
    floor.sink(*victims)
    floor.drop(1_000)
    borne = [lose(floor, victim, taker).booked for victim in victims[:3]]
    assert [part[0] // WAD for part in borne] == [400, 400, 200]
    assert [part[1] // WAD for part in borne] == [500, 0, 0]
    midnight = (world.chain.time // DAY_S + 1) * DAY_S
    world.wait(midnight - world.chain.time - 600)
    for time, insurance, house in ((midnight - 1, 0, 0), (midnight, 400, 495)):
        with world.isolated():
            world.chain.set_time(time - BLOCK_INTERVAL_S)
            booked = lose(floor, victims[3], taker).booked
            assert (booked[0] // WAD, booked[1] // WAD) == (insurance, house)


def test_liquidate__cap_of_an_account__counts_all_of_its_liquidations_of_a_day(
    world: World,
) -> None:
    floor = with_means(world, Means(insurance=20_000, account_cap=500))
    victim, taker = world.open_account("1.1", equity=20_000), floor.taker(cash=10**6)

    def ruin(price: int) -> int:
        floor.drop(price)
        return int(lose(floor, victim, taker).booked[0])

    first = ruin(170)
    assert 0 < first < 500 * WAD
    world.set_price("ETH", 2_000)
    world.open_account("1.1", equity=20_000)
    assert first + ruin(100) == 500 * WAD
    world.set_price("ETH", 2_000)
    world.open_account("1.1", equity=20_000)
    with world.isolated():
        assert ruin(100) == 0
    world.wait(DAY_S)
    assert ruin(100) == 500 * WAD


# ---- lenders' exits


@pytest.fixture
def ruined(floor: Floor) -> tuple[int, int]:
    """Two accounts that have lost 6,400 more than they had; a basis point of the vault is 5,000."""
    world = floor.world
    victims = (
        world.open_account("2.5", equity=40_000),
        world.open_account("2.5", {"ETH": 1}, equity=40_000, sub=1),
    )
    floor.sink(*victims)
    floor.drop(1_072)
    return victims


def held_until(floor: Floor) -> int:
    return int(floor.world.system.vault.exits_held_until())


@pytest.mark.parametrize(("price", "is_large"), [(1_109, False), (1_107, True)])
def test_flag__loss_beyond_a_basis_point_of_the_vault__holds_the_exits(
    floor: Floor, ruined: tuple[int, int], price: int, is_large: bool
) -> None:
    """I35"""
    world, vault = floor.world, floor.world.system.vault
    victim = ruined[0]
    floor.drop(price)
    with floor.a_block_later():
        missing = floor.liquidator.preview(victim).deficit_wad
        assert missing > max(-floor.worth(victim), 0)
        assert (missing * BPS > vault.totalAssets() * UNIT) == is_large
    receipt = floor.flag(victim)
    if not is_large:
        assert held_until(floor) == 0 and vault.maxWithdraw(world.lender) > 0
        assert floor.names_of(receipt) == ["Flagged"]
        return
    assert tuple(floor.told(receipt, "ExitsHeld")) == (victim, receipt.time + 3_600)
    assert held_until(floor) == receipt.time + 3_600
    assert vault.maxWithdraw(world.lender) == vault.maxRedeem(world.lender) == 0
    for attempt in (vault.withdraw, vault.redeem):
        with floor.refused("vault: exits wait for a loss"):
            attempt(10**6, world.lender, world.lender, sender=world.lender)


def test_liquidate__account_that_holds_the_exits__opens_them(
    floor: Floor, ruined: tuple[int, int]
) -> None:
    """I35: whoever leaves has borne his part."""
    vault, taker = floor.world.system.vault, floor.taker()
    floor.flag(ruined[0])
    receipt = floor.liquidate(ruined[0], taker)
    assert tuple(floor.told(receipt, "ExitsHeld")) == (ruined[0], 0)
    assert held_until(floor) == 0 and vault.maxWithdraw(floor.world.lender) > 0


def test_flag__two_accounts_hold_the_exits__both_must_be_booked(
    floor: Floor, ruined: tuple[int, int]
) -> None:
    taker = floor.taker()
    floor.flag(ruined[0])
    floor.world.chain.advance(900)
    later = floor.flag(ruined[1]).time
    assert held_until(floor) == later + 3_600
    receipt = floor.liquidate(ruined[0], taker)
    assert "ExitsHeld" not in floor.names_of(receipt)
    assert held_until(floor) == later + 3_600
    receipt = floor.liquidate(ruined[1], taker)
    assert tuple(floor.told(receipt, "ExitsHeld")) == (ruined[1], 0)
    assert held_until(floor) == 0


@pytest.mark.parametrize(("more", "is_held"), [(-1, True), (0, False), (1, False)])
def test_flag__loss_of_a_basis_point_to_the_wei__holds_nothing(
    floor: Floor, more: int, is_held: bool
) -> None:
    """Lenders wait for what is more than that; so many units more have been lent to the vault."""
    world, vault = floor.world, floor.world.system.vault
    victim = world.open_account("2.5", equity=40_000)
    floor.sink(victim)
    floor.drop(1_000)
    with world.chain.one_block():
        vault.accrue(sender=world.stranger)
        preview = floor.liquidator.preview(victim)
        assert floor.worth(victim) < 0 and preview.deficit_wad * BPS % UNIT == 0
        units = preview.deficit_wad * BPS // UNIT + more - vault.totalAssets()
        world.fund(world.lender, QUOTE, units)
        world.quote.approve(vault, units, sender=world.lender)
        vault.deposit(units, world.lender, sender=world.lender)
        assert preview.deficit_wad * BPS == (vault.totalAssets() - more) * UNIT
        floor.flag(victim)
        assert (held_until(floor) != 0) == is_held


def test_flag__loss_that_is_gone_again__opens_the_exits(
    floor: Floor, ruined: tuple[int, int]
) -> None:
    floor.flag(ruined[0])
    floor.drop(2_000)
    receipt = floor.flag(ruined[0])
    assert receipt.return_value == 0
    assert tuple(floor.told(receipt, "ExitsHeld")) == (ruined[0], 0)
    assert held_until(floor) == 0


def test_flag__nobody_books_the_loss__exits_are_held_once_a_day_for_an_hour(
    floor: Floor, ruined: tuple[int, int]
) -> None:
    world, vault = floor.world, floor.world.system.vault
    since = floor.flag(ruined[0]).time

    def leave() -> None:
        vault.withdraw(10**6, world.lender, world.lender, sender=world.lender)

    world.wait(600)
    assert "ExitsHeld" not in floor.names_of(floor.flag(ruined[0]))
    assert held_until(floor) == since + 3_600
    with world.isolated(), reverts("vault: exits wait for a loss"):
        world.chain.set_time(since + 3_600 - BLOCK_INTERVAL_S - 1)
        leave()
    world.chain.set_time(since + 3_600 - BLOCK_INTERVAL_S)
    leave()
    for time, is_held in ((since + DAY_S - 1, False), (since + DAY_S, True)):
        with world.isolated():
            world.chain.set_time(time - BLOCK_INTERVAL_S)
            receipt = floor.flag(ruined[0])
            assert receipt.time == time
            assert ("ExitsHeld" in floor.names_of(receipt)) == is_held
            assert held_until(floor) == (time + 3_600 if is_held else since + 3_600)


def test_flag__cured_and_ruined_again_the_same_day__holds_no_second_time(
    floor: Floor, ruined: tuple[int, int]
) -> None:
    floor.flag(ruined[0])
    floor.drop(2_000)
    floor.flag(ruined[0])
    floor.drop(1_000)
    receipt = floor.flag(ruined[0])
    assert "ExitsHeld" not in floor.names_of(receipt) and held_until(floor) == 0


# ---- what the house could only have claimed


def claimed(floor: Floor, loss: Loss) -> list[tuple[int, int]]:
    """Asset and cost that went to the house, in order."""
    taken = [e.args for e in floor.liquidator.events(loss.receipt, "HoldingsTaken")]
    forgiven = [args for args in taken if args.taker == floor.house]
    assert len(forgiven) == 1
    assert all(h.size_wad == h.collateral_wad == 0 for h in forgiven[0].holdings)
    return [(holding.asset, holding.cost_wad) for holding in forgiven[0].holdings]


def test_liquidate__loss_beyond_cash_of_a_perpetual__is_forgiven_by_the_house(
    world: World,
) -> None:
    """I19: sizes and costs of the market still add up to zero."""
    floor = with_means(world, Means(house=50_000))
    victim, taker = floor.trader(cash=3_000), floor.taker()
    floor.trade(victim, 5 * WAD)
    floor.sink(victim)
    floor.drop(1_000)
    loss = lose(floor, victim, taker)
    assert loss.booked == loss.foretold
    insurance, house, lenders, claims = loss.booked
    assert (insurance, lenders) == (0, 0) and house // WAD == 500 and claims > 1_600 * WAD
    assert claimed(floor, loss) == [(ETH, claims)]
    assert -3 <= loss.house_change_wad + house + claims <= 0
    assert_nothing_left(floor, victim)
    assert floor.debt_shares(victim) == 0
    assert floor.held(taker).size_wad == 5 * WAD
    floor.check()


def test_preview__loss_that_the_house_forgives__is_still_in_the_flow(
    world: World,
) -> None:
    floor = with_means(world, Means(house=50_000))
    victim, taker = floor.trader(cash=3_000), floor.taker()
    floor.trade(victim, 5 * WAD)
    floor.drop(1_000)
    with floor.a_block_later():
        preview = floor.liquidator.preview(victim)
    receipt = floor.liquidate(victim, taker)
    paid = [event.args for event in floor.liquidator.events(receipt, "CashPaid")][-1]
    assert (paid.payer, paid.payee) == (victim, taker)
    forgiven = floor.told(receipt, "DeficitBooked").claims_wad
    assert forgiven > 1_000 * WAD
    assert abs(preview.flow_wad + forgiven + paid.amount_wad) < ROUNDING_WAD


def test_liquidate__losses_of_several_perpetuals__are_forgiven_in_the_order_of_the_list(
    world: World,
) -> None:
    floor = with_means(world, Means(house=200_000))
    floor.put_terms(house_day_bps=0)
    victim, taker = world.account(), floor.taker()
    world.deposit(victim, "ETH", 3 * WAD)
    floor.trade(victim, 2 * WAD)
    floor.trade(victim, WAD // 10, "BTC")
    floor.sink(victim)
    floor.drop(400)
    floor.drop(10_000, name="BTC")
    with floor.a_block_later():
        first, second = (-floor.result(victim, name) for name in ("ETH", "BTC"))
    loss = lose(floor, victim, taker)
    claims = loss.booked[3]
    assert first < claims < first + second
    assert claimed(floor, loss) == [(ETH, first), (BTC, claims - first)]
    assert_nothing_left(floor, victim)
    floor.check()


def test_liquidate__discount_beyond_all_losses__is_a_claim_on_the_house(world: World) -> None:
    """Collateral that became worthless: the taker's discount can only come from the house."""
    floor = with_means(world, Means(house=200_000))
    floor.put_terms(house_day_bps=0)
    victim, taker = world.account(), floor.taker()
    world.deposit(victim, "ETH", WAD)
    floor.trade(victim, WAD // 5, "BTC")
    floor.drop(20)
    world.set_price("BTC", 26_000)
    with floor.a_block_later():
        lost = -floor.result(victim, "BTC")
    loss = lose(floor, victim, taker)
    claims = loss.booked[3]
    assert claims > lost and claimed(floor, loss) == [(BTC, claims)]
    # A wei is lost where a result rounds down on both sides.
    assert claims - lost - 1 <= floor.result(taker, "BTC") <= claims - lost
    assert_nothing_left(floor, victim)
    floor.check()


def test_liquidate__debt_and_a_lost_perpetual__lenders_bear_before_the_house_forgives(
    world: World,
) -> None:
    floor = with_means(world, Means(insurance=200, house=20_000))
    victim, taker = world.open_account("1.5", equity=4_000), floor.taker()
    floor.trade(victim, 3 * WAD)
    floor.sink(victim)
    floor.drop(300)
    loss = lose(floor, victim, taker)
    insurance, house, lenders, claims = loss.booked
    assert insurance == 200 * WAD and house // WAD == 200
    assert abs(lenders - loss.foretold[2]) <= ROUNDING_WAD and lenders > 1_500 * WAD
    assert abs(claims - loss.foretold[3]) <= ROUNDING_WAD and claims > 1_000 * WAD
    assert_nothing_left(floor, victim)
    floor.check()


def test_liquidate__debt_that_is_not_enough__is_written_off_up_to_the_unit(world: World) -> None:
    """A debt counts up: only what it does not reach is left to the house."""
    floor = with_means(world, Means(house=20_000))
    floor.put_terms(house_day_bps=0)
    victim, taker = world.open_account("1.5", equity=4_000), floor.taker()
    floor.trade(victim, 3 * WAD)
    floor.sink(victim)
    floor.drop(300)
    with floor.a_block_later():
        owed = debt_units(world, victim)
        assert owed * WAD != floor.debt_shares(victim) * world.system.vault.state().index_wad
    loss = lose(floor, victim, taker)
    assert loss.booked == (0, 0, owed * UNIT, loss.need_wad - owed * UNIT)
    assert loss.booked == loss.foretold
    assert_nothing_left(floor, victim)
    floor.check()


def test_liquidate__claim_without_a_loss__goes_with_the_perpetual_though_it_is_even(
    world: World,
) -> None:
    """One that was settled in the same block has neither won nor lost, and is a perpetual still:
    collateral alone cannot owe the house anything."""
    floor = with_means(world, Means(house=200_000))
    floor.put_terms(house_day_bps=0)
    victim, taker = world.account(), floor.taker()
    world.deposit(victim, "ETH", WAD)
    floor.trade(victim, WAD // 5, "BTC")
    floor.drop(20)
    price = 30_000
    while floor.result(victim, "BTC") <= 0:
        price += 10
        world.set_price("BTC", price)
    with world.chain.one_block():
        floor.settle(victim, "BTC")
        assert floor.result(victim, "BTC") == 0 and floor.held(victim, "BTC").size_wad > 0
        need = floor.liquidator.preview(victim).deficit_wad
        receipt = floor.liquidate(victim, taker)
    assert floor.told(receipt, "DeficitBooked").claims_wad == need > 0
    forgiven = next(e.args for e in floor.liquidator.events(receipt, "HoldingsTaken"))
    assert forgiven.taker == floor.house
    assert [(holding.asset, holding.cost_wad) for holding in forgiven.holdings] == [(BTC, need)]
    assert_nothing_left(floor, victim)
    floor.check()


@pytest.mark.parametrize("is_flagged", [True, False])
def test_liquidate__bad_debt_that_the_liquidity_vault_counts__is_counted_no_more(
    world: World, is_flagged: bool
) -> None:
    """T09: until it is booked it lowers what leaves; then the books have it."""
    floor = with_means(world, Means(house=50_000))
    pool = world.system.liquidity_vault
    victim, taker = floor.trader(cash=3_000), floor.taker()
    floor.trade(victim, 5 * WAD)
    floor.drop(1_000)
    if is_flagged:
        pool.flag_bad_debt(victim, sender=world.keeper)
        assert pool.bad_debt_of(victim) == -floor.worth(victim) == pool.bad_debt_wad()
    loss = lose(floor, victim, taker)
    told = [tuple(e.args)[2:] for e in pool.events(loss.receipt, "BadDebtFlagged")]
    assert told == ([(0, 0)] if is_flagged else [])
    assert pool.bad_debt_of(victim) == pool.bad_debt_wad() == 0
