"""Attacks on perpetual markets and on the house that is their other side.

A1, A2, A6, A10, A12, A13, A16, A18, A19, A20, and of the catalogue T05, T09, T19, T28, T30, T31,
T32, T45, T46, T47, T49, T50. Each test says which simpler rule would have paid the attacker, and
most of them compute how much.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import pytest

from ballast.chain import Reverted
from ballast.model.margin import RATE, Mark
from ballast.model.perps import Funding
from tests.clearing_kit import action
from tests.conftest import reverts
from tests.support.hooks import deploy_hook, hand_over, may, play
from tests.support.world import QUOTE, UNLIMITED, WAD, World
from tests.threats.kit import (
    FAR,
    ask_in,
    ask_out,
    cash,
    claim_shares,
    close,
    fund_house,
    held,
    lenders_claim,
    make_free,
    pay_out,
    renew,
    set_terms,
    take_in,
    trade,
    trade_wad,
    unsettled,
    wait_until,
)

ETH = 1
UNIT = 10**12  # WAD of a unit of the quote token
STEP = 10**9  # of sizes
YEAR_S = 31_536_000
MARGIN_SHORT = "margin: initial margin short"
NO_ROOM = "perps: headroom used up"


@pytest.fixture
def market(world: World) -> World:
    """A house of a million, and headroom as of now."""
    fund_house(world)
    return world


def _open(
    world: World, owner: str, size: int | str, *, sub: int = 0, dollars: int = 100_000
) -> int:
    """An account with cash and a position in ETH."""
    account = world.account(sub, owner)
    world.deposit(account, QUOTE, dollars * 10**6)
    trade(world, account, size)
    return account


def _excess_units(world: World, account: int) -> int:
    equity, required, _, _ = world.clearinghouse.assess(account)
    return int(equity - required) // UNIT


def _borrow_all(world: World, account: int) -> None:
    """To the unit that initial margin allows; one more is refused."""
    with world.chain.one_block():
        most = _excess_units(world, account)
        with reverts(MARGIN_SHORT):
            world.borrow(account, most + 1)
        world.borrow(account, most)


def _lent(world: World) -> tuple[int, int]:
    """What lies idle in the vault, and the loan shares."""
    state = world.system.vault.state()
    return int(state.idle), int(state.debt_shares)


def _mark(world: World, name: str = "ETH") -> Mark:
    return Mark.from_words(*world.system.oracle.marks([world.asset(name)]))


def _push(world: World, price: float) -> None:
    """A round in the block under way."""
    world.feeds["ETH"].set_answer(round(price * 10**8), sender=world.governor)


def _words(world: World, account: int) -> tuple[object, ...]:
    """All that an account has: cash and debt, list, positions with their costs."""
    ledger = world.clearinghouse
    positions = [held(world, account, name) for name in world.names]
    return ledger.account_word(account), ledger.listed_word(account), *positions


# ---- A1: a house that cannot pay its hedgers


def test_hedge__longs_against_the_shorts_close_first__house_pays_down_to_nothing(
    market: World,
) -> None:
    """A1: shorts are backed in gross, so that no loan against a hedge outlives it.

    Naive: back what is left after netting longs against shorts. Then the longs that stand here
    against the hedgers let in as many hedgers again, and once the longs are gone (nobody can refuse
    them) the house owes twice what it has.
    """
    world, perps = market, market.system.perps
    set_terms(world, "BTC", weight_bps=0)
    set_terms(world, "ETH", weight_bps=10_000)
    renew(world)
    hedger, long = world.account(), world.account(0, world.other_owner)
    size = int(perps.headroom_of(ETH)[1])
    world.deposit(hedger, "ETH", size)
    world.deposit(hedger, QUOTE, 20_000 * 10**6)
    world.deposit(long, QUOTE, 400_000 * 10**6)
    trade_wad(world, hedger, -size)
    trade_wad(world, long, size)
    renew(world)
    with reverts(NO_ROOM):
        trade(world, hedger, "-0.01")
    equity = int(world.clearinghouse.assess(world.system.house)[0])
    per_short = 2_000 * (RATE + _mark(world).risk.l_init_e6)
    naive_room = equity * RATE // per_short
    assert naive_room > size * 99 // 100

    _borrow_all(world, hedger)
    assert cash(world, hedger) < -900_000 * WAD
    lent = lenders_claim(world)
    for price in (1_900, 1_800):
        world.set_price("ETH", price)
    close(world, long)
    for price in (1_200, 600, 200, 50, "2.5"):
        world.set_price("ETH", price)
    naive_missing = 2 * unsettled(world, hedger) - cash(world, world.system.house)
    assert naive_missing > 700_000 * WAD
    close(world, hedger)
    assert held(world, hedger).cost_wad == 0 and cash(world, hedger) > 0
    assert cash(world, world.system.house) >= 0
    assert lenders_claim(world) >= lent and world.system.vault.total_debt() == 0


def test_hedge__headroom_of_one_market__not_backed_by_what_another_used(market: World) -> None:
    """A1: budgets of all markets come out of one purse; two purses would back every unit twice."""
    world, perps = market, market.system.perps
    account = world.account()
    for name, price in (("ETH", 2_000), ("BTC", 30_000)):
        world.deposit(account, name, 600 * 10**9 * WAD // (price * world.unit_wad(name) * 10**6))
    world.deposit(account, QUOTE, 100_000 * 10**6)
    backed = 0
    for _ in range(12):
        renew(world)
        for name, price in (("ETH", 2_000), ("BTC", 30_000)):
            room = int(perps.headroom_of(world.asset(name))[1])
            if room >= WAD // 50:
                trade_wad(world, account, -room, name)
                backed += room * price
    assert 950_000 * WAD < backed < 1_000_000 * WAD
    assert perps.free_wad() < 10_000 * WAD


# ---- A2: a gain cashed with lenders' money


def test_withdraw__against_an_unsettled_gain__lends_nothing(market: World) -> None:
    """A2: naive, a gain counts as equity at once: 9,000 of it could be borrowed here."""
    world = market
    account = _open(world, world.owner, 50)
    world.set_price("ETH", 2_200)
    gain = unsettled(world, account)
    equity, required, equity_maint, _ = world.clearinghouse.assess(account)
    assert gain > 9_000 * WAD
    assert equity == cash(world, account) and equity_maint == equity + gain
    most = _excess_units(world, account)
    naive = (equity + gain - required) // UNIT
    assert 0 < most < naive - 9_000 * 10**6
    for units in (most + 1, naive):
        with reverts(MARGIN_SHORT):
            world.borrow(account, units)
    world.borrow(account, most)


def test_settle__house_with_less_than_the_gain__pays_its_cash_and_no_loan(world: World) -> None:
    """A2: naive, settling pays in full, and what the house lacks is lent by somebody."""
    fund_house(world, 20_000)
    account = _open(world, world.owner, 5, dollars=10_000)
    for price in (3_000, 5_000, 9_000):
        world.set_price("ETH", price)
    gain, lent = unsettled(world, account), _lent(world)
    assert gain > 34_000 * WAD
    paid = world.system.perps.settle(account, ETH, [], sender=world.stranger).return_value
    assert paid == 20_000 * WAD < gain
    assert cash(world, account) == 30_000 * WAD and cash(world, world.system.house) == 0
    assert world.clearinghouse.account_word(world.system.house) == 0
    assert _lent(world) == lent
    # The rest is owed, and worth nothing to a lender.
    assert unsettled(world, account) == pytest.approx(gain - paid, rel=1e-6)
    assert world.clearinghouse.assess(account)[0] == 30_000 * WAD
    with reverts(MARGIN_SHORT):
        world.borrow(account, 30_000 * 10**6)


# ---- A6: shares sold above what closing takes back


def _enter(world: World, epoch: int, *people: str) -> None:
    """Fulfils and claims."""
    take_in(world, epoch)
    for who in people:
        claim_shares(world, who)


def _leave(world: World, epoch: int, who: str) -> int:
    """Fulfils and claims; units."""
    vault = world.system.liquidity_vault
    pay_out(world, epoch)
    claim = vault.redeem(vault.maxRedeem(who), who, who, sender=who)
    return int(claim.return_value)


def _nav_wad(world: World) -> int:
    house = int(world.clearinghouse.assess(world.system.house)[2])
    return house - int(world.system.perps.skew_charge_wad())


def test_leave__behind_a_skew_of_ones_own__gains_nothing(world: World) -> None:
    """A6: the premium that opened the skew is owed to whoever closes it.

    Naive, shares are worth a part of the house's equity: the attacker, who owns half of a vault of
    10 million, sells his at a price that has the premium in it, and closing pays it once more. Even
    without a fee he gains nothing.
    """
    make_free(world)
    vault, who = world.system.liquidity_vault, world.attacker
    epoch = ask_in(world, world.other_owner, 5_000_000)
    assert ask_in(world, who, 5_000_000) == epoch
    _enter(world, epoch, world.other_owner, who)
    epoch = ask_out(world, who, int(vault.balanceOf(who)))
    wait_until(world, vault.redeem_epoch(epoch).ready_at)
    renew(world)
    account = _open(world, who, 2_000, dollars=2_000_000)
    premium = int(world.system.perps.skew_charge_wad())
    assert premium == 4_000 * WAD
    _, _, equity, _ = world.clearinghouse.assess(world.system.house)
    paid = _leave(world, epoch, who)
    assert paid <= 5_000_002 * 10**6  # his own funding of a few blocks, half of it
    naive = paid * equity // (equity - premium)
    assert naive > (5_000_000 + 1_999) * 10**6
    close(world, account)
    result = paid * UNIT + cash(world, account) - 7_000_000 * WAD
    assert -5 * WAD < result <= 0


def test_nav__any_trade__moves_by_its_fee_only(market: World) -> None:
    """A6, T30: whoever opens or closes what, shares gain the fee and nothing else.

    Naive, the house's equity: it moves by the premium too, up or down.
    """
    world = market
    account, other = world.account(), world.account(1)
    for each in (account, other):
        world.deposit(each, QUOTE, 400_000 * 10**6)
    equities, navs = set(), []
    for who, size in ((account, 200), (other, -90), (account, -350), (other, 80), (account, 150)):
        with world.chain.one_block():
            nav = _nav_wad(world)
            naive = int(world.clearinghouse.assess(world.system.house)[2])
            fee_e6 = world.system.perps.quote(ETH, who, size * WAD)[2]
            fee = Fraction(abs(size) * 2_000 * WAD * fee_e6, RATE)
            trade(world, who, size)
            after = int(world.clearinghouse.assess(world.system.house)[2])
            navs.append(_nav_wad(world) - nav - fee)
            equities.add(abs(after - naive - fee) > 10 * WAD)
    assert all(-3 <= rest < 400 for rest in navs), navs
    assert equities == {True}


# ---- A10: a hedged pair without a buffer


def test_borrow__against_a_hedged_pair__leaves_what_unwinding_costs(market: World) -> None:
    """A10: naive, the requirement follows the net exposure alone, which is nothing here: all of the
    collateral could be lent on, and the fee and the slippage of the way out would be the lenders'.
    """
    world = market
    account = world.account()
    world.deposit(account, "ETH", 100 * WAD)
    trade(world, account, -100)
    assert held(world, account).delta_wad == 0
    _borrow_all(world, account)
    _, required, _, _ = world.clearinghouse.assess(account)
    assert required == 2 * 100 * 2_000 * _mark(world).risk.l_init_e6 * WAD // RATE
    # The dearest way out that a swap may take.
    world.set_venue_price("ETH", fee_ppm=9_900)
    lent = lenders_claim(world)
    sale = action(5, account, asset=ETH, amount=100 * WAD, target=world.venue)
    covering = action(
        6, account, asset=ETH, amount=100 * WAD, min_out=UNLIMITED, other=FAR, asset_out=2
    )
    world.clearinghouse.batch([sale, covering], sender=world.owner)
    assert world.clearinghouse.listed_word(account) == 0
    left = cash(world, account)
    assert 0 < left < required
    naive_left = left - required
    assert naive_left < -3_000 * WAD, "what lenders would have lost"
    assert lenders_claim(world) >= lent and world.system.vault.total_debt() == 0


# ---- A12, A13, T30: rounds that one knows or makes


@pytest.mark.parametrize("sign", [1, -1])
def test_fee__right_after_a_round_and_an_hour_later__is_the_same(market: World, sign: int) -> None:
    """A12: naive, the fee covers what the price may have moved since the round, so it vanishes
    right after one: who bought below the true price closes for nothing the moment a round shows it.
    """
    world = market
    account = _open(world, world.owner, 10 * sign)
    closes, fees = set(), set()
    for age_s in (0, 12, 600, 1_800, 3_600):
        with world.isolated(), world.chain.one_block():
            _push(world, 2_000)
            if age_s:
                world.chain.advance(age_s)
            _, index, fee_e6 = world.system.perps.quote(ETH, account, -10 * WAD * sign)
            fees.add(fee_e6)
            assert index == 2_000 * WAD
            closes.add(close(world, account).return_value)
    assert len(fees) == 1 and len(closes) == 1
    # Half of the band and of the lag stand in it, whatever the age.
    assert fees.pop() > 500 + 10_000 // 2


@pytest.mark.parametrize("move", [-100, 100])
@pytest.mark.parametrize("sign", [1, -1])
def test_increase__round_made_in_this_block__pays_the_worse_price(
    market: World, sign: int, move: int
) -> None:
    """A13: naive, the newest price is the price: whoever sees a round coming takes in its very
    block the side that it favours, or pins the old one first.
    """
    world = market
    account = world.account()
    world.deposit(account, QUOTE, 100_000 * 10**6)

    def fill(account: int, size: int) -> int:
        with world.isolated():
            return int(trade(world, account, size).return_value)

    before = fill(account, 10 * sign)
    with world.isolated():
        with world.chain.one_block():
            _push(world, 2_000 + move)
            meanwhile = fill(account, 10 * sign)
            quoted = world.system.perps.quote(ETH, account, 10 * sign * WAD)[0]
        after = fill(account, 10 * sign)
    worse = max(before, after) if sign > 0 else min(before, after)
    assert meanwhile == quoted == worse
    if sign * move < 0:
        assert sign * (meanwhile - after) > 99 * WAD, "what the naive price would have given away"


@pytest.mark.parametrize("move", [-100, 100])
@pytest.mark.parametrize("sign", [1, -1])
def test_reduction__round_made_in_this_block__pays_the_newest(
    market: World, sign: int, move: int
) -> None:
    """A13: a way out is never made dearer by a price that is gone; a flip is no way out."""
    world = market
    account = _open(world, world.owner, 10 * sign)
    with world.chain.one_block():
        _push(world, 2_000 + move)
        fills = []
        for size in (-10 * sign, -11 * sign):
            with world.isolated():
                fills.append(int(trade(world, account, size).return_value))
    with world.isolated():
        later = int(close(world, account).return_value)
    assert fills[0] == later
    flip_worse = max if sign < 0 else min
    index = flip_worse(2_000, 2_000 + move)
    assert abs(fills[1] - index * WAD) < 20 * WAD


@pytest.mark.parametrize("bps", [-100, -50, 50, 100])
def test_round_trip__around_a_round_that_one_pushes__loses(market: World, bps: int) -> None:
    """T30, A13: open before, push, close after, all in one block; up to twice the feed's threshold.

    Naive, a fee that pays for the venue alone, 5 bp a side here: the trip would gain most of the
    move.
    """
    world, sign = market, 1 if bps > 0 else -1
    account = world.account()
    world.deposit(account, QUOTE, 100_000 * 10**6)
    with world.chain.one_block():
        trade(world, account, 100 * sign)
        _push(world, 2_000 * (1 + bps / 10_000))
        close(world, account)
    assert held(world, account).cost_wad == 0
    result = cash(world, account) - 100_000 * WAD
    assert result < 0
    move = 200_000 * abs(bps) * WAD // 10_000
    naive = move - 2 * 200_000 * WAD * 5 // 10_000
    assert naive > 750 * WAD


def test_round_trip__price_chosen_among_two_of_one_block__loses(market: World) -> None:
    """T30: both orders of a push between two trades of one block, both sides, two accounts."""
    world = market
    for move in (-10, 10):
        for first, second in ((1, -1), (-1, 1)):
            with world.isolated():
                accounts = world.account(), world.account(1)
                for account in accounts:
                    world.deposit(account, QUOTE, 100_000 * 10**6)
                with world.chain.one_block():
                    trade(world, accounts[0], 50 * first)
                    _push(world, 2_000 + move)
                    trade(world, accounts[1], 50 * second)
                for account in accounts:
                    close(world, account)
                assert sum(cash(world, a) for a in accounts) < 200_000 * WAD


# ---- A16: in before a known gain, out before a known loss


@pytest.fixture
def providers(world: World) -> Iterator[World]:
    """A provider with a million in the vault, and a trader who is long 100."""
    _enter(world, ask_in(world, world.other_owner, 1_000_000), world.other_owner)
    renew(world)
    _open(world, world.owner, 100)
    yield world


def test_enter__before_a_round_that_one_knows__is_priced_after_it(providers: World) -> None:
    """A16: naive, shares come at the price of the moment: half of what the house is about to win.

    The request may even be made in the block before the round.
    """
    world, vault, who = providers, providers.system.liquidity_vault, providers.attacker
    naive = vault.convertToShares(10**12)
    epoch = ask_in(world, who, 1_000_000)
    world.set_price("ETH", 1_900)
    with reverts("liquidity: too early"):
        vault.fulfil_deposits(epoch, sender=who)
    _enter(world, epoch, who)
    assert vault.convertToAssets(vault.balanceOf(who)) <= 10**12
    assert vault.convertToAssets(naive) > 10**12 + 4_900 * 10**6


def test_enter__no_round_since_the_request__waits_for_one(providers: World) -> None:
    """A16: naive, only time must pass: the price that one knew when asking may still be there."""
    world, vault = providers, providers.system.liquidity_vault
    epoch = ask_in(world, world.attacker, 1_000)
    asked_at = world.chain.time
    world.chain.set_time(vault.deposit_epoch(epoch).ready_at)
    assert world.chain.time - asked_at >= 3_600
    for feed in world.feeds.values():
        feed.set_round(feed.latestRoundData()[1], asked_at, sender=world.governor)
    with reverts("liquidity: no later round"):
        vault.fulfil_deposits(epoch, sender=world.attacker)
    world.refresh()
    vault.fulfil_deposits(epoch, sender=world.attacker)


def test_leave__before_a_loss_that_one_knows__bears_it(providers: World) -> None:
    """A16: naive, paid at the price of the moment, the attacker leaves his part to the others."""
    world, vault, who = providers, providers.system.liquidity_vault, providers.attacker
    _enter(world, ask_in(world, who, 1_000_000), who)
    naive = vault.convertToAssets(vault.balanceOf(who))
    epoch = ask_out(world, who, int(vault.balanceOf(who)))
    world.set_price("ETH", 2_100)
    fair = naive - 5_000 * 10**6
    paid = _leave(world, epoch, who)
    assert paid <= fair + 10 * 10**6  # the funding of a day
    assert naive - paid > 4_900 * 10**6


def test_leave__behind_a_bankrupt_trader__bears_a_part_of_the_loss(providers: World) -> None:
    """T09: naive, a debt counts until somebody gives it up: who leaves first is paid in full.

    Whoever stays has a day to flag it.
    """
    world, vault, who = providers, providers.system.liquidity_vault, providers.attacker
    _enter(world, ask_in(world, who, 1_000_000), who)
    shares = int(vault.balanceOf(who))
    epoch = ask_out(world, who, shares)
    for price in (1_500, 1_000, 500):
        world.set_price("ETH", price)
    bad_debt = -int(world.clearinghouse.assess(world.account())[2])
    assert bad_debt > 50_000 * WAD
    naive = vault.convertToAssets(shares)
    vault.flag_bad_debt(world.account(), sender=world.stranger)
    paid = _leave(world, epoch, who)
    assert paid < naive - bad_debt // UNIT * 49 // 100


@pytest.mark.parametrize("bps", [-50, 50])
def test_fulfil__right_before_a_round_of_half_a_percent__gains_nothing(
    providers: World, bps: int
) -> None:
    """A16: what was asked long ago may be fulfilled at any moment, so the moment can be chosen.

    Naive, at the middle of what the house may be worth: in before it wins, out before it loses.
    """
    world, vault, who = providers, providers.system.liquidity_vault, providers.attacker
    after = 2_000 + 2_000 * bps / 10_000
    if bps < 0:
        epoch = ask_in(world, who, 1_000_000)
        wait_until(world, vault.deposit_epoch(epoch).ready_at)
        naive = vault.convertToShares(10**12)
        _enter(world, epoch, who)
        world.set_price("ETH", str(after))
        assert vault.convertToAssets(vault.balanceOf(who)) <= 10**12
        assert vault.convertToAssets(naive) > 10**12 + 490 * 10**6
    else:
        _enter(world, ask_in(world, who, 1_000_000), who)
        shares = int(vault.balanceOf(who))
        epoch = ask_out(world, who, shares)
        wait_until(world, vault.redeem_epoch(epoch).ready_at)
        naive = vault.convertToAssets(shares)
        paid = _leave(world, epoch, who)
        world.set_price("ETH", str(after))
        fair = naive - 500 * 10**6
        assert paid <= fair
        assert naive > fair


# ---- A18: roundings


@pytest.mark.parametrize("start", [WAD // 100, -WAD // 100 - 1_000 * STEP])
def test_trades__a_thousand_of_a_billionth__gain_no_wei(market: World, start: int) -> None:
    """A18, T05: a long grows, or a short shrinks, by 1,000 purchases of the smallest step.

    Naive, the signed division of the language, which cuts toward zero: each purchase would cost up
    to a wei less than it is worth.
    """
    world = market
    make_free(world)
    world.feeds[QUOTE].set_answer(99_987_654, sender=world.governor)  # prices of 18 odd digits
    world.poke()
    other = _open(world, world.other_owner, "-123.456789")
    world.wait(1_000)  # funding of as many
    renew(world)
    account = world.account()
    world.deposit(account, QUOTE, 10_000 * 10**6)
    put_in = cash(world, account)
    with world.chain.one_block():
        others = unsettled(world, other)
        trade_wad(world, account, start)
        funding = Funding.from_word(world.clearinghouse.market_word(ETH)).funding_wad
        cost = held(world, account).cost_wad
        exact, naive = Fraction(0), 0
        for _ in range(1_000):
            price = int(trade_wad(world, account, STEP).return_value)
            exact += Fraction(STEP * (price - funding), WAD)
            naive += STEP * (price - funding) // WAD
        assert 0 <= held(world, account).cost_wad - cost - exact < 1_000
        assert naive < exact - 200, "what truncation would have given away"
        close(world, account)
        assert unsettled(world, other) == others
    assert held(world, account).cost_wad == 0
    assert put_in - 2_000 < cash(world, account) < put_in


@pytest.mark.parametrize("size", [STEP + WAD // 100, -STEP - WAD // 100])
def test_result__odd_price_and_funding__is_floored_for_both_signs(market: World, size: int) -> None:
    """A18: the trader and the house are both told a wei too little rather than one too much."""
    world = market
    world.feeds[QUOTE].set_answer(99_987_654, sender=world.governor)
    world.poke()
    account = world.account()
    world.deposit(account, QUOTE, 10_000 * 10**6)
    trade_wad(world, account, size)
    cuts = 0
    for second in range(60):
        world.wait(61)
        house = world.system.house
        own, theirs = unsettled(world, account), unsettled(world, house)
        assert -2 < own + theirs <= 0, second
        equity, _, maintenance, _ = world.clearinghouse.assess(account)
        assert maintenance == cash(world, account) + own
        assert equity == cash(world, account) + min(own, 0)
        cuts += own + theirs < 0
    assert cuts > 20, "an exact result has nothing to round"


# ---- A19: two accounts of one owner over a gap


def _largest(world: World, account: int, sign: int) -> int:
    """The largest size that the account may open, WAD, by halving."""
    perps, owner = world.system.perps, world.owner_of(account)
    limit = UNLIMITED if sign > 0 else 0
    low, high = 0, 2_000 * WAD // STEP
    while high - low > 1:
        middle = (low + high) // 2
        try:
            perps.trade.call(account, ETH, sign * middle * STEP, limit, FAR, False, sender=owner)
            low = middle
        except Reverted:
            high = middle
    return sign * low * STEP


@pytest.mark.parametrize("part", ["-1", "-0.5", "0.5", "1"])
def test_gap__two_accounts_at_the_highest_leverage__take_out_no_more_than_they_put_in(
    world: World, part: str
) -> None:
    """A19, T31: one account long, one short, a gap up to the initial margin; the loser is left.

    Naive, positions open at the maintenance margin, so the same money carries twice the size: the
    winner would be paid twice the gap, and the loser could answer for half of that.
    """
    fund_house(world, 3_000_000)
    accounts = world.account(), world.account(1)
    for account, sign in zip(accounts, (1, -1), strict=True):
        world.deposit(account, QUOTE, 100_000 * 10**6)
        trade_wad(world, account, _largest(world, account, sign))
        with reverts(MARGIN_SHORT):
            trade(world, account, f"{sign * 0.01}")
    margin = Fraction(_mark(world).rate_init_e6, RATE)
    sizes = [abs(held(world, account).size_wad) for account in accounts]
    gap = margin * Fraction(part)
    world.set_price("ETH", str(round(2_000 * (1 + float(gap)), 8)), is_poked=False)
    for account in accounts:
        close(world, account)
    taken = sum(cash(world, account) for account in accounts)
    assert taken <= 200_000 * WAD
    assert taken > 170_000 * WAD, "it is the margin that holds, not a dead market"
    if abs(gap) == margin:
        fees = 4 * 2 * min(sizes) * 2_000 // 100
        naive = 2 * min(sizes) * 2_000 * abs(gap) - 100_000 * WAD - fees
        assert naive > 50_000 * WAD


# ---- A20: losses of others made into debts


def _loser(world: World, size: int = 50) -> int:
    """Long, with collateral and no cash: any loss that it pays is a loan."""
    account = world.account()
    world.deposit(account, "ETH", 100 * WAD)
    trade(world, account, size)
    return account


def _settle(world: World, account: int, *losers: int) -> int:
    """By a stranger, in ETH."""
    named = [(loser, ETH) for loser in losers]
    return int(world.system.perps.settle(account, ETH, named, sender=world.stranger).return_value)


def test_settle__open_loss_of_somebody__refused(market: World) -> None:
    """A20: naive, anybody may settle anybody: interest for nothing, at a stranger's whim."""
    world = market
    loser = _loser(world)
    world.set_price("ETH", 1_900)
    before = _words(world, loser)
    with reverts("perpetuals: no gain"):
        _settle(world, loser)
    with reverts("perpetuals: no gain"):
        _settle(world, loser, loser)
    assert _words(world, loser) == before


def test_settle__house_can_pay_the_winner__losers_are_left_alone(market: World) -> None:
    """A20: naive, the losers that are named pay first."""
    world = market
    loser, winner = _loser(world), _open(world, world.other_owner, -50)
    world.set_price("ETH", 1_900)
    before = _words(world, loser)
    assert _settle(world, winner, loser) > 0
    assert unsettled(world, winner) <= 1 << 60  # the funding of a block
    assert _words(world, loser) == before


def test_settle__winner_lacks_a_part__losers_pay_that_part_and_no_more(world: World) -> None:
    """A20: naive, a loser that is touched pays all that it lost."""
    fund_house(world, 400_000)
    loser, winner = _loser(world), _open(world, world.other_owner, -50)
    # Nearly all of the house's cash goes to one who won before.
    early = _open(world, world.attacker, 45)
    for price in (3_000, 6_000, 12_000):
        world.set_price("ETH", price)
    _settle(world, early)
    assert cash(world, world.system.house) == 0
    for price in (6_000, 3_000, 1_500):
        world.set_price("ETH", price)
    fund_house(world, 1_000)
    with world.chain.one_block():
        gain, loss = unsettled(world, winner), -unsettled(world, loser)
        assert 2_000 * WAD < gain - 1_000 * WAD < loss
        paid = _settle(world, winner, loser)
    assert paid == gain
    assert cash(world, loser) == pytest.approx(1_000 * WAD - gain, abs=2 * UNIT)
    assert -unsettled(world, loser) == pytest.approx(loss - gain + 1_000 * WAD, rel=1e-9)
    assert cash(world, world.system.house) == 0


def test_settle__for_the_house__nobody_pays(market: World) -> None:
    """A20: the house is no winner that needs cash; naive, it is an account like any other, and
    whoever lost to it can be made to pay at once."""
    world = market
    loser = _loser(world)
    world.set_price("ETH", 1_900)
    assert unsettled(world, world.system.house) > 0
    before = _words(world, loser)
    for losers in ([], [loser], [loser, loser]):
        with world.isolated():
            try:
                moved = _settle(world, world.system.house, *losers)
            except Reverted:
                continue
            assert moved == 0
            assert _words(world, loser) == before


def test_settle__round_made_in_this_block__losers_pay_nothing_that_the_winner_does_not_get(
    market: World,
) -> None:
    """A20, A13: a gain is paid at the lesser of two prices, and only what that lacks is collected.

    Naive, what is missing counts at the newest price: a round of 0.5% makes a debt of 0.5% of a
    winner's size, while the house has a million in cash.
    """
    world = market
    loser, winner = _loser(world), _open(world, world.other_owner, -50)
    world.set_price("ETH", 1_900)
    before = _words(world, loser)
    with world.chain.one_block():
        _push(world, 1_890)
        paid = _settle(world, winner, loser)
        assert unsettled(world, winner) == 500 * WAD
    assert paid > 0
    assert _words(world, loser) == before


def test_settle__loser_without_equity__borrows_nothing(world: World) -> None:
    """A20, A1: naive, the vault lends what a loser owes: the lenders' loss, not the winner's."""
    fund_house(world, 400_000)
    loser = _open(world, world.owner, 40, dollars=25_000)
    winner = _open(world, world.other_owner, -40)
    early = _open(world, world.attacker, 45)
    for price in (3_000, 6_000, 12_000):
        world.set_price("ETH", price)
    _settle(world, early)
    assert cash(world, world.system.house) == 0
    for price in (6_000, 3_000, 1_000):
        world.set_price("ETH", price)
    lent, own = _lent(world), cash(world, loser)
    assert -unsettled(world, loser) > own + 15_000 * WAD
    assert _settle(world, winner, loser) == own
    assert world.clearinghouse.account_word(loser) == 0
    assert _lent(world) == lent


def test_settle__unpaid_loss_of_a_closed_position__takes_cash_and_no_loan(market: World) -> None:
    """A20: what is owed for good may be collected by anybody, but only from what is there."""
    world = market
    loser = _open(world, world.owner, 40, dollars=25_000)
    for price in (1_500, 1_000, 500):
        world.set_price("ETH", price)
    close(world, loser)
    assert cash(world, loser) == 0 and held(world, loser).cost_wad > 30_000 * WAD
    world.deposit(loser, "ETH", 1_000 * WAD)
    lent = _lent(world)
    assert _settle(world, loser) == 0
    world.deposit(loser, QUOTE, 5)
    assert _settle(world, loser) == -5 * UNIT
    assert cash(world, loser) == 0 and _lent(world) == lent


# ---- T50: ids that stand for two accounts


def test_settle__id_beyond_all_accounts__cannot_take_a_gain(market: World) -> None:
    """T50, A20: the key of a position drops the highest bits of an id; cash and lists do not.

    Naive, whoever is named gets the gain: here it would be gone to an account that nobody owns. Nor
    is a gain found under a false id a reason to collect losses.
    """
    world = market
    winner, loser = _open(world, world.owner, 50), _open(world, world.other_owner, -50)
    world.set_price("ETH", 2_200)
    before = _words(world, winner), _words(world, loser)
    for number in range(168, 256):
        for losers in ((), (loser,)):
            with world.isolated():
                try:
                    moved = _settle(world, winner + (1 << number), *losers)
                except Reverted:
                    continue
                assert moved == 0, number
                assert (_words(world, winner), _words(world, loser)) == before, number
    assert _settle(world, winner, loser) > 0


def test_settle__loser_with_an_id_beyond_all_accounts__borrows_nothing(world: World) -> None:
    """T50: naive, the debt is made where there is no collateral to look at: the lenders pay what
    the loser lost, and he withdraws the rest of his margin."""
    fund_house(world, 400_000)
    loser, winner = _loser(world), _open(world, world.other_owner, -50)
    early = _open(world, world.attacker, 45)
    for price in (3_000, 6_000, 12_000):
        world.set_price("ETH", price)
    _settle(world, early)
    for price in (6_000, 3_000, 1_500):
        world.set_price("ETH", price)
    lent, before = _lent(world), _words(world, loser)
    for number in range(168, 256):
        with world.isolated():
            try:
                moved = _settle(world, winner, loser + (1 << number))
            except Reverted:
                continue
            assert moved == 0, number
            assert _lent(world) == lent and _words(world, loser) == before, number
    assert _settle(world, winner, loser) > 0


@pytest.mark.parametrize("is_gain", [False, True], ids=["unpaid loss", "unpaid gain"])
def test_settle__asset_beyond_all_assets__leaves_every_list_alone(
    world: World, is_gain: bool
) -> None:
    """T50: an asset of more than eight bits makes the key of another account's unpaid result.

    Naive, it is settled with a sibling or with nobody, and an asset that no oracle knows enters the
    house's list: nothing of the house can be valued from then on. A hook could do it as well. All
    it takes is an account that lost more than it had.
    """
    fund_house(world, 60_000)
    account, sibling = world.account(5), world.account()
    world.deposit(account, QUOTE, (100_000 if is_gain else 6_000) * 10**6)
    trade(world, account, 10)
    for price in (3_000, 6_000, 12_000) if is_gain else (1_500, 1_000):
        world.set_price("ETH", price)
    close(world, account)
    unpaid = held(world, account)
    assert unpaid.size_wad == 0 and (unpaid.cost_wad < 0 if is_gain else unpaid.cost_wad > 0)
    fund_house(world, 1_000_000)
    world.deposit(sibling, QUOTE, 10**6)
    hook = deploy_hook(world)
    hand_over(world, sibling, hook)
    listed, false_id = world.clearinghouse.listed_word(world.system.house), 5 << 8 | ETH

    def by_hook() -> None:
        play(world, hook, sibling, may(world.mandates, "settle", false_id))

    def direct(who: int, asset: int) -> None:
        world.system.perps.settle(who, asset, [], sender=world.stranger)

    attempts = (
        lambda: direct(sibling, false_id),
        lambda: direct(0, account << 8 | ETH),
        lambda: direct(1 << 248, account << 8 | ETH),
        by_hook,
    )
    for attempt in attempts:
        with world.isolated():
            with suppress(Reverted):
                attempt()
            assert held(world, account) == unpaid
            assert world.clearinghouse.listed_word(world.system.house) == listed
            renew(world)
    assert _settle(world, account) == (-unpaid.cost_wad if is_gain else 0)


def test_adl__id_beyond_all_accounts__closes_nothing(world: World) -> None:
    """T50: naive, a winner's position is found under a false id, and the gain is paid there."""
    fund_house(world, 100_000)
    winner = _open(world, world.owner, 40)
    for price in (3_000, 6_000):
        world.set_price("ETH", price)
    renew(world)
    world.system.deleverager.flag_house(sender=world.stranger)
    before = _words(world, winner)
    adl = world.system.deleverager.adl
    with world.isolated():
        adl(winner, ETH, WAD, sender=world.stranger)
        assert _words(world, winner) != before
    for number in range(168, 256):
        with world.isolated():
            with reverts():
                adl(winner + (1 << number), ETH, WAD, sender=world.stranger)
            assert _words(world, winner) == before


# ---- T28, T32: prices that are pushed


def test_increase__price_pumped_beyond_the_breaker__refused_and_reductions_go_on(
    market: World,
) -> None:
    """T28: naive, whoever moves the market may use the price at once, on any size."""
    world = market
    account = _open(world, world.owner, 10)
    renew(world)
    world.set_price("ETH", 2_310)
    renew(world)
    assert world.system.perps.is_increase_stopped(ETH)
    for size in (1, -11, -30):
        with reverts("perps: breaker tripped"):
            trade(world, account, size)
    trade(world, account, -4)
    with world.isolated():
        close(world, account)
    # Two windows later the price has stood the test.
    for _ in range(2):
        world.wait(600)
        renew(world)
    trade(world, account, 1)


def test_increase__caps_of_a_market__bound_what_a_price_can_be_used_for(market: World) -> None:
    """T28, I20: open interest, skew and growth between two rounds; reductions know no cap."""
    world = market
    gwei = 10**9
    account, other = _open(world, world.owner, 10), _open(world, world.other_owner, -5)
    cases = {
        "perps: open interest cap": {"open_interest_cap_gwei": 10 * gwei},
        "perps: skew cap": {"skew_cap_gwei": 5 * gwei},
        "perps: round cap": {"round_cap_gwei": 5 * gwei - 1},
    }
    for reason, change in cases.items():
        with world.isolated():
            set_terms(world, **change)
            world.refresh()
            renew(world)
            with world.chain.one_block(), reverts(reason):
                trade(world, account, 5 if reason == "perps: round cap" else 1)
            trade(world, account, -1)
            trade(world, other, 1)
            longs, shorts = world.system.perps.exposure_of(ETH)
            assert longs == held(world, account).size_wad
            assert shorts == -held(world, other).size_wad


def test_mark__pushed_by_ones_own_trades__is_worth_nothing(market: World) -> None:
    """T32: naive, positions are valued at the price of the last trade: the second account lifts the
    first one's gain, which is cashed, and is left behind."""
    world = market
    make_free(world)
    first = _open(world, world.attacker, 200, dollars=200_000)
    with world.chain.one_block():
        before = unsettled(world, first)
        price = int(trade(world, first, 1).return_value)
        second = _open(world, world.attacker, 200, sub=1, dollars=200_000)
        pushed = int(world.system.perps.quote(ETH, second, WAD)[0])
        assert pushed - price > WAD // 3
        assert unsettled(world, first) <= before
        close(world, first)
        close(world, second)
    assert cash(world, first) + cash(world, second) <= 400_000 * WAD


# ---- T19


def test_trade__stale_price__nothing_at_all(market: World) -> None:
    """T19: naive, reductions go on at the last good price, which everybody knows to be wrong."""
    world = market
    winner, loser = _open(world, world.owner, 10), _open(world, world.other_owner, -10)
    world.set_price("ETH", 2_100)
    world.make_stale("ETH")
    renew(world)
    for account, size in ((winner, -10), (winner, 1), (loser, 10), (loser, -1)):
        with reverts("perps: price stale"):
            trade(world, account, size)
    with reverts("perps: price stale"):
        world.system.perps.accrue(ETH, sender=world.keeper)
    with reverts("perps: price not usable"):
        _settle(world, winner)


# ---- T45, T46, T47: whose loss, whose funding, how long


def test_bankruptcy__of_one_trader__stays_his(market: World) -> None:
    """T45, I19: naive, one pot of margin: what the bankrupt cannot pay is taken from the others."""
    world = market
    loser = _open(world, world.owner, 40, dollars=25_000)
    idle = _open(world, world.other_owner, -5, sub=1)
    winner = _open(world, world.other_owner, -40)
    for price in (1_500, 1_000, 500):
        world.set_price("ETH", price)
    lent = lenders_claim(world)
    before = _words(world, idle)
    close(world, loser)
    rest = held(world, loser)
    assert cash(world, loser) == 0 and rest.size_wad == 0 and rest.cost_wad > 30_000 * WAD
    assert world.clearinghouse.listed_word(loser) >> 136 == 1, "what is unpaid stays listed"
    gain = unsettled(world, winner)
    close(world, winner)
    assert cash(world, winner) == pytest.approx(100_000 * WAD + gain, rel=1e-2)
    assert held(world, winner).cost_wad == 0
    assert _words(world, idle) == before
    assert lenders_claim(world) == lent
    # What he gets later is the house's first.
    world.deposit(loser, QUOTE, 1_000 * 10**6)
    assert _settle(world, loser) == -1_000 * WAD
    with reverts(MARGIN_SHORT):
        world.borrow(loser, 1)


def _sums(world: World, *accounts: int) -> tuple[int, int, int]:
    """Sizes, costs and cash of the accounts and the house."""
    everybody = [*accounts, world.system.house]
    positions = [held(world, account) for account in everybody]
    return (
        sum(position.size_wad for position in positions),
        sum(position.cost_wad for position in positions),
        sum(cash(world, account) for account in everybody),
    )


def test_funding__paid_and_received__is_the_same_to_the_wei(market: World) -> None:
    """T46, I18, I19: naive, each side's funding is accrued on its own and rounded on its own; what
    is paid in then differs from what is paid out."""
    world, perps = market, market.system.perps
    accounts = [world.account(), world.account(1), world.account(0, world.other_owner)]
    for account in accounts:
        world.deposit(account, QUOTE, 50_000 * 10**6)
    total = _sums(world, *accounts)[2]
    sizes = (("0.01", "-0.02", "3"), ("1.000000001", "-7", "-2.5"), ("-3", "0.010000001", "12"))
    for number, row in enumerate(sizes):
        for account, size in zip(accounts, row, strict=True):
            world.wait(1 + 997 * number)
            renew(world)
            trade(world, account, size)
            assert _sums(world, *accounts) == (0, 0, total)
            results = [unsettled(world, a) for a in (*accounts, world.system.house)]
            assert -4 < sum(results) <= 0
        perps.accrue(ETH, sender=world.keeper)
        for account in accounts:
            if unsettled(world, account) > 0:
                _settle(world, account)
        assert _sums(world, *accounts) == (0, 0, total)
    for account in accounts:
        close(world, account)
    assert _sums(world, *accounts) == (0, 0, total)
    assert held(world, world.system.house).has_perpetual is False


def test_funding__smallest_skew_for_a_second__is_paid_and_not_lost(market: World) -> None:
    """T46: naive, a rate kept in units of the token: a hundredth of an ether pays nothing, ever."""
    world = market
    account = world.account()
    world.deposit(account, QUOTE, 10_000 * 10**6)
    trade(world, account, "0.01")
    before = unsettled(world, account), unsettled(world, world.system.house)
    world.chain.advance(1)
    after = unsettled(world, account), unsettled(world, world.system.house)
    paid, received = before[0] - after[0], after[1] - before[1]
    assert 0 < paid < UNIT
    assert received <= paid <= received + 1


@pytest.mark.parametrize("sign", [1, -1])
def test_position__ten_idle_years_at_the_highest_rate__settles_and_closes(
    market: World, sign: int
) -> None:
    """T47: naive, funding compounds or its product is bounded when it is paid: the position can
    neither be closed nor settled. Here it grows by seconds, ten times the price in ten years."""
    world = market
    set_terms(world, skew_cap_gwei=100 * 10**9, max_funding_e6=10**6)
    payer = _open(world, world.owner, 100 * sign)
    other = _open(world, world.other_owner, -20 * sign)
    trade(world, payer, "0.5" if sign > 0 else "-0.5")
    winner_before = unsettled(world, other)
    world.chain.advance(10 * YEAR_S)
    world.refresh()
    world.refresh()
    world.system.perps.accrue(ETH, sender=world.keeper)
    assert unsettled(world, payer) < -1_400_000 * WAD
    assert unsettled(world, other) > winner_before + 200_000 * WAD
    world.clearinghouse.assess(payer)
    _settle(world, other, payer)
    close(world, other)
    trade(world, payer, -30 * sign)
    close(world, payer)
    assert cash(world, payer) == 0 and held(world, payer).cost_wad > 10**6 * WAD
    assert held(world, other).cost_wad == 0
    house = held(world, world.system.house)
    assert house.size_wad == 0 and house.cost_wad == -held(world, payer).cost_wad
    # The market goes on.
    renew(world)
    assert trade(world, other, sign).return_value > 0


# ---- T49: gifts


def test_gift__collateral_for_the_house__refused(market: World) -> None:
    """T49: naive, a gift harms nobody: an asset of the house's own would change which rates it is
    charged, and with it the headroom of the market."""
    world = market
    _open(world, world.owner, 10)
    house = world.system.house
    for name in ("ETH", "BTC"):
        for who in (world.attacker, world.owner):
            world.fund(who, name, 10**20)
            with reverts("operators: not permitted"):
                world.clearinghouse.deposit(house, world.asset(name), 1, sender=who)
    free = world.system.perps.free_wad()
    world.fund(world.attacker, QUOTE, 10**6)
    world.clearinghouse.deposit(house, 0, 10**6, sender=world.attacker)
    assert world.system.perps.free_wad() == pytest.approx(free + WAD, abs=WAD // 100)


@pytest.mark.parametrize("size", [10, -10])
def test_gift__beside_a_perpetual_alone__refused(market: World, size: int) -> None:
    """T49: naive, what is listed may be added to: a stranger's ether turns a short into a hedge and
    a hedge of something elsewhere into an exposure."""
    world = market
    account = _open(world, world.owner, size)
    world.fund(world.attacker, "ETH", 10**20)
    with reverts("operators: not permitted"):
        world.clearinghouse.deposit(account, ETH, 1, sender=world.attacker)


@pytest.mark.parametrize("gift", [1, 10**18, 10**20])
def test_gift__into_a_hedged_pair__lowers_no_excess(market: World, gift: int) -> None:
    """T49: naive, a charge on the net exposure above what the collateral adds: a pair that is at
    its limit would be below it for a stranger's ether."""
    world = market
    account = world.account()
    world.deposit(account, "ETH", 20 * WAD)
    trade(world, account, -20)
    _borrow_all(world, account)
    world.fund(world.attacker, "ETH", gift)
    with world.chain.one_block():
        init, required, maint, required_maint = world.clearinghouse.assess(account)
        world.clearinghouse.deposit(account, ETH, gift, sender=world.attacker)
        after = world.clearinghouse.assess(account)
    assert after[0] - after[1] >= init - required - 1
    assert after[2] - after[3] >= maint - required_maint - 1


def test_settle__asset_beyond_all_assets__collects_from_no_loser(world: World) -> None:
    """T50, A20: the same false asset in the name of a sibling whose gain is unpaid. Naive, what is
    missing there is collected from whoever is named, call after call, and pays nobody."""
    fund_house(world, 400_000)
    winner, loser = world.account(1), world.account(0, world.other_owner)
    for account in (winner, loser):
        world.deposit(account, QUOTE, 900_000 * 10**6)
    trade(world, winner, 60)
    trade(world, loser, -60)
    for price in (2_500, 4_000, 9_800):
        world.set_price("ETH", price)
        renew(world)
    close(world, winner)
    assert held(world, winner).cost_wad < 0, "a gain that the house could not pay"
    before = _words(world, loser)
    with reverts("perps: unknown market"):
        world.system.perps.settle(
            world.account(0), 1 << 8 | ETH, [(loser, ETH)], sender=world.stranger
        )
    assert _words(world, loser) == before
    assert _settle(world, winner, loser) > 0, "the winner himself may have it collected"
