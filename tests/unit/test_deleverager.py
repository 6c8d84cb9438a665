"""Deleveraging of winners while the house is below maintenance: who, when and how much."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

from ballast.chain import Contract, Receipt
from ballast.deploy import account_id
from ballast.model.margin import BPS, RATE, WAD, Position
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.perps_kit import BTC, ETH, FAR, STEP, Desk, open_desk
from tests.support.world import QUOTE, UNLIMITED, World

NOT_SHORT = "deleverager: house not short"
NO_WINNER = "deleverager: no winner to close"
HEDGES_LAST = "deleverager: hedges last"
GRACE_S = 1_800
WATCH_S = 600


def house_rates(desk: Desk, name: str = "ETH") -> int:
    """r + l of the house at maintenance in a market, millionths."""
    mark = desk.mark(name).for_house(-desk.skew(name))
    return mark.risk.r_maint_e6 + mark.risk.l_maint_e6


def adl(desk: Desk, account: int, name: str = "ETH", size: int = 2**119) -> Receipt:
    """By a keeper; as much as is needed unless told."""
    world = desk.world
    receipt: Receipt = world.system.deleverager.adl(
        account, world.asset(name), size, sender=world.keeper
    )
    return receipt


def flag(desk: Desk) -> Receipt:
    receipt: Receipt = desk.world.system.deleverager.flag_house(sender=desk.world.keeper)
    return receipt


def long_desk(world: World, price: int = 3_800) -> tuple[Desk, int, int, int]:
    """A house of 50,000 against longs of 12 and of 8 and a short of 1, from 2,000 to `price`.

    At 3,800 it has lost some 34,000 and should hold 20,000; at 5,000 it has lost all.
    """
    desk = open_desk(world, house_cash=50_000)
    desk.set_terms("BTC", weight_bps=0)
    desk.set_terms("ETH", weight_bps=BPS, max_funding_e6=0)
    desk.make_free()
    desk.refresh()
    traders = desk.trader(), desk.trader(1), desk.trader(2)
    for trader, size in zip(traders, (12, 8, -1), strict=True):
        desk.trade(trader, size * WAD)
    if price != 2_000:
        world.set_price("ETH", price)
    return desk, *traders


def hedge_desk(world: World, *, bitcoin: int = 60_000) -> tuple[Desk, int, int]:
    """The house wins from nobody: bitcoin has doubled for a long of 1.9, ether fallen for a hedger
    with 10 ETH and a short of 9. It has 2,000 left of 60,000 where it should hold far more."""
    desk = open_desk(world, house_cash=60_000)
    for name in ("ETH", "BTC"):
        desk.make_free(name)
    desk.refresh()
    hedger, winner = desk.trader(cash=10_000), desk.trader(1)
    world.deposit(hedger, "ETH", 10 * WAD)
    desk.trade(hedger, -9 * WAD)
    desk.trade(winner, 19 * WAD // 10, "BTC")
    world.set_price("ETH", 1_900)
    world.set_price("BTC", bitcoin)
    return desk, hedger, winner


def bitcoin_desk(world: World) -> tuple[Desk, int, int, int]:
    """A house that bitcoin has ruined, while ether, of which traders are long, fell a little.

    With who came late there and is long, a short of 1, and the winner from bitcoin.
    """
    desk, _, _, short = long_desk(world, price=2_000)
    late, winner = desk.trader(3), desk.trader(owner=world.other_owner)
    desk.fund_house(100_000)
    for name in ("ETH", "BTC"):
        desk.set_terms(name, weight_bps=5_000)
    desk.refresh()
    desk.trade(winner, 4 * WAD, "BTC")
    desk.trade(late, WAD)
    world.set_price("ETH", 1_990)
    world.set_price("BTC", 66_000)
    return desk, late, short, winner


# ---- who and when


def test_adl__house_at_or_above_maintenance__is_refused(world: World) -> None:
    desk, long, _, _ = long_desk(world, price=2_500)
    assert desk.assess(desk.house).excess_maint >= 0
    with desk.refused(NOT_SHORT):
        adl(desk, long)


def test_adl__who_is_no_winner_on_the_side_of_the_skew__is_refused(world: World) -> None:
    """The other side, who has no position, no market, or no gain, and the house itself."""
    desk, long, _, short = long_desk(world)
    assert desk.assess(desk.house).excess_maint < 0
    late = desk.trader(3)
    for account, name in ((short, "ETH"), (late, "ETH"), (long, "BTC"), (desk.house, "ETH")):
        with desk.refused(NO_WINNER):
            adl(desk, account, name)
    with desk.refused("oracle: unknown asset"):
        world.system.deleverager.adl(long, 77, WAD, sender=world.keeper)


def test_adl__loser_on_the_side_of_the_skew__is_refused(world: World) -> None:
    """Who came late has won nothing: bitcoin ruined the house, and its winner is closed."""
    desk, late, _, winner = bitcoin_desk(world)
    assert desk.assess(desk.house).excess_maint < 0 and desk.result(late) < 0
    with desk.refused(NO_WINNER):
        adl(desk, late)
    adl(desk, winner, "BTC")


def test_adl__winner_on_the_other_side_of_the_skew__is_refused(world: World) -> None:
    """Without the short the house would have to be short of more."""
    desk, _, short, _ = bitcoin_desk(world)
    assert desk.assess(desk.house).excess_maint < 0 < desk.result(short)
    assert desk.held(short).size_wad < 0 < desk.skew()
    with desk.refused(NO_WINNER):
        adl(desk, short)


def test_adl__winner_that_was_just_paid__is_refused(world: World) -> None:
    """Of what it is worth, a fraction of 1e-18 is left, which nobody counts as a gain."""
    desk, long, _, _ = long_desk(world, price=2_000)
    desk.trade(long, STEP)
    world.set_price("ETH", 3_800)
    world.set_price("USD", "1.01")
    assert desk.settle(long) > 20_000 * WAD
    held, mark = desk.held(long), desk.mark()
    gain = Fraction(held.size_wad * (mark.price.newest_wad - mark.funding_wad), WAD) - held.cost_wad
    assert 0 < gain < 1 and desk.result(long) == 0
    assert desk.assess(desk.house).excess_maint < 0
    with desk.refused(NO_WINNER):
        adl(desk, long)


def test_adl__stale_price__is_refused(world: World) -> None:
    desk, long, _, _ = long_desk(world)
    world.make_stale("ETH")
    assert desk.assess(desk.house).excess_maint < 0
    with desk.refused("perps: price stale"):
        adl(desk, long)


def test_adl__price_not_for_increases__is_good_enough(world: World) -> None:
    desk, long, _, _ = long_desk(world)
    desk.perps.set_close_only(ETH, True, sender=world.governor)
    world.set_price("ETH", 4_200)
    world.set_price("USD", "1.04")
    assert desk.assess(desk.house).excess_maint < 0
    adl(desk, long)


def test_adl__while_a_call_is_under_way__is_refused(world: World) -> None:
    """I42"""
    desk, long, _, _ = long_desk(world)
    account = world.open_account(leverage=1, owner=world.other_owner)
    deleverager = world.system.deleverager
    for data in (deleverager.adl.encode(long, ETH, WAD), deleverager.flag_house.encode()):
        hook = hooked(desk, account)
        hook.set_script([(deleverager.address, data)], sender=world.governor)
        with reverts("deleverager: clearinghouse busy"):
            world.mandates.rebalance(account, sender=world.keeper)
        world.mandates.revoke(account, sender=world.other_owner)
        world.chain.advance(3_600)


# ---- how much, and at what price


def test_adl__more_than_is_needed__is_cut_to_what_restores_maintenance(world: World) -> None:
    desk, long, _, _ = long_desk(world)
    missing = -desk.assess(desk.house).excess_maint
    receipt = adl(desk, long)
    told = args_of(world.system.deleverager, receipt, "Deleveraged")
    freed = Fraction(3_800 * house_rates(desk), RATE)
    steps = ceil(missing / (freed * STEP))
    assert -told.size_change == steps * STEP
    assert tuple(told) == (long, ETH, told.size_change, 3_800 * WAD, False)
    assert 0 < -told.size_change < 12 * WAD
    assert 0 <= desk.assess(desk.house).excess_maint < 5 * freed * STEP
    with desk.refused(NOT_SHORT):
        adl(desk, long)
    desk.check()


def test_adl__less_missing_than_the_least_unit_frees__closes_a_step(world: World) -> None:
    """What is needed is rounded up before it is rounded to steps, or the house would stay short.

    The price is one at which cash, of six decimals, brings the house that close to maintenance.
    """
    desk, long, second, _ = long_desk(world, price=2_000)
    desk.trade(second, STEP)
    world.set_price("ETH", "3800.34761914")
    units = -desk.assess(desk.house).excess_maint // 10**12
    world.fund(world.attacker, QUOTE, units)
    world.clearinghouse.deposit(desk.house, 0, units, sender=world.attacker)
    missing = -desk.assess(desk.house).excess_maint
    assert 0 < missing < 3_800 * house_rates(desk) // RATE, "1e-18 ETH would free more"
    receipt = adl(desk, long)
    assert args_of(world.system.deleverager, receipt, "Deleveraged").size_change == -STEP
    assert desk.assess(desk.house).excess_maint >= 0
    desk.check()


def test_adl__part__closes_that_much_at_the_index_without_a_fee(world: World) -> None:
    """And moves no equity: what the winner had won it keeps."""
    desk, long, _, _ = long_desk(world)
    desk.set_terms(base_fee_e6=10_000)
    before, held = desk.assess(long), desk.held(long)
    house, insured = desk.assess(desk.house), desk.insured()
    receipt = adl(desk, long, size=2 * WAD + STEP - 1)
    traded = args_of(desk.perps, receipt, "Traded")
    assert (traded.size_change, traded.price_wad) == (-2 * WAD, 3_800 * WAD)
    assert (traded.index_wad, traded.fee_e6) == (3_800 * WAD, 0)
    assert desk.insured() == insured
    funding = desk.funding().funding_wad
    expected = replace(
        held,
        size_wad=10 * WAD,
        cost_wad=held.cost_wad - 2 * (3_800 * WAD - funding),
        entry_wad=held.entry_wad * 10 // 12,
    )
    assert desk.held(long) == expected
    after = desk.assess(long)
    assert abs(after.equity_maint - before.equity_maint) < WAD // 100
    assert abs(desk.assess(desk.house).equity_maint - house.equity_maint) < WAD // 100
    assert desk.assess(desk.house).required_maint < house.required_maint
    desk.check()


def test_adl__trade_after_it_in_the_transaction__is_priced_like_any_other(world: World) -> None:
    """Only what is closed by force is closed at a price that was named."""
    desk, long, _, _ = long_desk(world, price=2_000)
    caller = world.chain.deploy("Caller", sender=world.governor)
    account, ledger = account_id(caller.address), world.clearinghouse
    world.quote.mint(caller, 10**11, sender=world.governor)

    def run(*calls: tuple[Contract, str, tuple[Any, ...]]) -> Any:
        encoded = [(c.address, c.function(name).encode(*args)) for c, name, args in calls]
        receipt = caller.run(encoded, sender=world.keeper)
        return [event.args for event in desk.perps.events(receipt, "Traded")][-1]

    def order(change: int) -> tuple[Contract, str, tuple[Any, ...]]:
        return desk.perps, "trade", (account, ETH, change, UNLIMITED * (change > 0), FAR, False)

    approve = world.quote, "approve", (ledger, UNLIMITED)
    run(approve, (ledger, "deposit", (account, 0, 10**11)), order(2 * WAD))
    world.set_price("ETH", 3_800)
    close = world.system.deleverager, "adl", (long, ETH, WAD)
    with world.isolated():
        adl(desk, long, size=WAD)
        apart = run(order(-WAD))
    together = run(close, order(-WAD))
    assert (together.price_wad, together.fee_e6) == (apart.price_wad, apart.fee_e6)
    assert together.price_wad > 3_700 * WAD


def test_adl__whole_position__is_paid_out_as_far_as_the_house_has_cash(world: World) -> None:
    """The rest stays listed; nothing is taken from anybody."""
    desk, long, second, short = long_desk(world, price=2_000)
    desk.trade(short, WAD)
    world.set_price("ETH", 5_000)
    assert desk.assess(desk.house).equity_maint < 0
    cash, gain = desk.cash(long), desk.result(long)
    adl(desk, long)
    assert desk.slot(long) == (False, False)
    assert desk.cash(long) - cash == gain
    cash, gain = desk.cash(second), desk.result(second)
    adl(desk, second)
    paid = desk.cash(second) - cash
    assert gain > 23_000 * WAD and desk.cash(desk.house) == 0
    assert desk.held(second) == Position(0, 0, paid - gain, 0)
    assert desk.slot(second) == (True, True)
    desk.check()


def test_adl__needs_no_permission_and_no_margin__of_the_account(world: World) -> None:
    """A winner below its own initial margin is closed like any other; headroom comes back."""
    desk, long, _, _ = long_desk(world, price=2_000)
    excess = desk.assess(long).excess_init
    world.borrow(long, int(excess // 10**12) - 1)
    world.set_price("ETH", 3_800)
    assert desk.assess(long).excess_init < 0
    headroom = desk.market().headroom
    adl(desk, long, size=WAD)
    assert desk.held(long).size_wad == 11 * WAD
    assert desk.market().headroom.long_gwei == headroom.long_gwei + 10**9


def test_adl__size_below_a_step__is_refused(world: World) -> None:
    desk, long, _, _ = long_desk(world)
    for size in (0, STEP - 1):
        with desk.refused("perps: size not in steps"):
            adl(desk, long, size=size)


def test_adl__winner_larger_than_the_skew__is_closed_down_to_none(world: World) -> None:
    """The house has no more than the skew to get rid of."""
    desk, long, second, short = long_desk(world, price=2_000)
    with world.isolated():
        desk.trade(short, -15 * WAD)
        assert desk.skew() == 4 * WAD
        world.set_price("ETH", 40_000)
        assert desk.assess(desk.house).equity_maint < 0
        receipt = adl(desk, long)
        assert args_of(desk.perps, receipt, "Traded").size_change == -4 * WAD
        assert desk.skew() == 0 and desk.held(desk.house).size_wad == 0
        for account in (long, second):
            with desk.refused(NO_WINNER):
                adl(desk, account)
        desk.check()


# ---- hedges last


def hooked(desk: Desk, account: int) -> Contract:
    """Gives an account a hook that counts."""
    world = desk.world
    owner = world.owner_of(account)
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    world.mandates.set_guard(account, hook, (13_000, 300, 100, 0, 0, 0), sender=owner)
    if world.mandates.hook_of(account) != hook.address:
        world.chain.advance(3_600)
        world.mandates.apply_guard(account, sender=world.keeper)
    world.mandates.arm_budget((WAD, 1, WAD), sender=owner)
    return hook


def calls(world: World, receipt: Receipt) -> list[tuple[Any, ...]]:
    """Hooks that were called, and with what success."""
    return [tuple(e.args) for e in world.system.deleverager.events(receipt, "HookCalled")]


def test_adl__hedge__waits_while_the_house_has_equity_and_is_not_flagged(world: World) -> None:
    desk, hedger, winner = hedge_desk(world)
    terms = desk.assess(desk.house)
    assert terms.excess_maint < 0 < terms.equity_maint
    assert desk.result(hedger) > 800 * WAD
    with desk.refused(HEDGES_LAST):
        adl(desk, hedger)
    adl(desk, winner, "BTC", size=WAD // 10)
    with desk.refused(HEDGES_LAST):
        adl(desk, hedger)


def watch(desk: Desk, until: int) -> None:
    """Somebody flags the house often enough, and feeds go on."""
    while desk.world.chain.time < until - WATCH_S:
        desk.world.wait(WATCH_S - 100)
        flag(desk)


def test_adl__hedge__is_due_after_thirty_flagged_minutes(world: World) -> None:
    desk, hedger, _ = hedge_desk(world)
    deleverager = world.system.deleverager
    receipt = flag(desk)
    since = receipt.time
    assert receipt.return_value == since == deleverager.below_since()
    assert args_of(deleverager, receipt, "HouseFlagged").below_since == since
    world.wait(500)
    later = flag(desk)
    assert later.return_value == since, "the first time counts"
    assert deleverager.events(later, "HouseFlagged") == []
    watch(desk, since + GRACE_S)
    assert deleverager.below_since() == since
    with world.isolated():
        world.chain.set_time(since + GRACE_S - 13)
        with desk.refused(HEDGES_LAST):
            adl(desk, hedger, size=WAD)
    world.chain.set_time(since + GRACE_S - 12)
    receipt = adl(desk, hedger, size=WAD)
    told = args_of(deleverager, receipt, "Deleveraged")
    assert tuple(told) == (hedger, ETH, WAD, 1_900 * WAD, True)
    assert desk.held(hedger).size_wad == -8 * WAD
    assert calls(world, receipt) == [], "it has no hook"
    desk.check()


def test_adl__hedge_after_nobody_looked_for_ten_minutes__waits_anew(world: World) -> None:
    """The house may have been well in between; whoever looks while it is short is a witness."""
    desk, hedger, winner = hedge_desk(world)
    since = flag(desk).time
    with world.isolated():
        world.chain.set_time(since + WATCH_S - 12)
        assert flag(desk).return_value == since, "at ten minutes it has not been forgotten"
    world.chain.set_time(since + WATCH_S - 11)
    receipt = flag(desk)
    assert receipt.return_value == receipt.time == since + WATCH_S + 1
    since = receipt.time
    # A deleveraging of somebody else is a look as well.
    world.wait(WATCH_S - 100)
    adl(desk, winner, "BTC", size=WAD // 100)
    world.wait(WATCH_S - 100)
    assert flag(desk).return_value == since
    with desk.refused(HEDGES_LAST):
        adl(desk, hedger)


def test_adl__hedge__is_due_at_once_when_the_house_has_nothing_left(world: World) -> None:
    desk, hedger, _ = hedge_desk(world, bitcoin=70_000)
    assert desk.assess(desk.house).equity_maint < 0
    adl(desk, hedger)
    assert desk.held(hedger).size_wad == 0
    desk.check()


def test_adl__short_that_is_more_than_a_hedge__is_closed_first(world: World) -> None:
    """What carries the account's own exposure: a short beyond the collateral."""
    desk, hedger, _ = hedge_desk(world)
    world.clearinghouse.withdraw(hedger, ETH, 2 * WAD, world.owner, sender=world.owner)
    assert desk.held(hedger).delta_wad == -WAD
    receipt = adl(desk, hedger, size=WAD)
    assert not args_of(world.system.deleverager, receipt, "Deleveraged").is_hedge
    # Now it is a hedge to the unit.
    assert desk.held(hedger).delta_wad == 0


def test_adl__perfect_hedge__waits_like_any_other(world: World) -> None:
    """D = 0: the short carries no exposure of its account."""
    desk, hedger, _ = hedge_desk(world)
    world.clearinghouse.withdraw(hedger, ETH, WAD, world.owner, sender=world.owner)
    assert desk.held(hedger).delta_wad == 0
    with desk.refused(HEDGES_LAST):
        adl(desk, hedger, size=WAD)


def test_adl__hedge_of_a_hooked_account__gives_its_hook_a_turn(world: World) -> None:
    desk, hedger, _ = hedge_desk(world, bitcoin=70_000)
    hook = hooked(desk, hedger)
    receipt = adl(desk, hedger, size=WAD)
    assert calls(world, receipt) == [(hedger, True)]
    assert hook.count() == 1
    rebalanced = args_of(world.mandates, receipt, "Rebalanced")
    assert (rebalanced.account, rebalanced.caller) == (
        hedger,
        world.system.deleverager.address,
    )
    assert desk.held(hedger).size_wad == -8 * WAD


def test_adl__hook_that_fails__undoes_nothing(world: World) -> None:
    desk, hedger, _ = hedge_desk(world, bitcoin=70_000)
    hook = hooked(desk, hedger)
    refused = desk.perps.refresh.encode()
    hook.set_script([(desk.perps.address, refused)], sender=world.governor)
    receipt = adl(desk, hedger, size=WAD)
    assert calls(world, receipt) == [(hedger, False)]
    assert desk.held(hedger).size_wad == -8 * WAD
    assert hook.count() == 0
    desk.check()


def test_adl__too_little_gas_for_the_hook__is_refused(world: World) -> None:
    """Or the caller would choose whether the account's hook gets its turn."""
    desk, hedger, _ = hedge_desk(world, bitcoin=70_000)
    deleverager = world.system.deleverager
    with world.isolated():
        deleverager.adl(hedger, ETH, WAD, sender=world.keeper, gas=3_000_000)
    hooked(desk, hedger)
    with desk.refused("deleverager: gas too low"):
        deleverager.adl(hedger, ETH, WAD, sender=world.keeper, gas=6_000_000)
    deleverager.adl(hedger, ETH, WAD, sender=world.keeper, gas=12_000_000)


def test_adl__carrier_with_a_hook__is_closed_without_calling_it(world: World) -> None:
    desk, long, _, _ = long_desk(world, price=2_000)
    hook = hooked(desk, long)
    world.set_price("ETH", 3_800)
    receipt = adl(desk, long)
    assert calls(world, receipt) == [] and hook.count() == 0


# ---- the flag


def test_flag_house__at_maintenance_again__is_cleared(world: World) -> None:
    desk, hedger, _ = hedge_desk(world)
    deleverager = world.system.deleverager
    assert deleverager.below_since() == 0
    flag(desk)
    world.wait(GRACE_S)
    desk.fund_house(10**6)
    with desk.refused(NOT_SHORT):
        adl(desk, hedger)
    receipt = flag(desk)
    assert receipt.return_value == 0 == deleverager.below_since()
    assert args_of(deleverager, receipt, "HouseFlagged").below_since == 0
    receipt = flag(desk)
    assert receipt.return_value == 0
    assert deleverager.events(receipt, "HouseFlagged") == []


def test_immutables__as_deployed__are_the_contracts_of_the_system(world: World) -> None:
    deleverager, system = world.system.deleverager, world.system
    assert deleverager.CLEARINGHOUSE() == system.clearinghouse.address
    assert deleverager.PERPS() == system.perps.address
    assert deleverager.MANDATES() == system.mandates.address
    assert deleverager.HOUSE() == system.house


def test_adl__either_market__empties_positions_like_a_trade(world: World) -> None:
    """I27: a position that is closed and paid leaves both lists."""
    desk, _, winner = hedge_desk(world, bitcoin=70_000)
    adl(desk, winner, "BTC")
    assert desk.held(winner, "BTC") == Position(0, 0, desk.held(winner, "BTC").cost_wad, 0)
    assert desk.slot(desk.house, "BTC") == (desk.slot(winner, "BTC")[1],) * 2
    assert world.clearinghouse.market_word(BTC) != 0
    desk.check()
