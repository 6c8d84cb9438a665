"""Attacks by way of collateral that is shares of a vault.

Threats T05, T09, T26, T29 and T30, and what a lender may do with shares of the lending vault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ballast.chain import Contract, Reverted
from ballast.deploy import WAD, list_shares, load_parameters
from tests.clearing_kit import UNIT, action, excess_init
from tests.conftest import reverts
from tests.liquidation_kit import Floor, open_floor
from tests.shares_kit import (
    DAY_S,
    ETHER_SHARES,
    GROWTH_WAD,
    LENDERS_SHARES,
    SHARES,
    checkpoint,
    give,
    hold_exits,
    quote_units,
    redeem,
    shares_world,
    take_away,
)
from tests.support.hooks import deploy_hook, hand_over, must, play
from tests.support.world import QUOTE, UNLIMITED, World
from tests.threats.kit import equity, wealth

SHORT = "margin: initial margin short"
WITHDRAW, SWAP = 2, 5
ROGUE_ID = 150


@pytest.fixture
def world() -> Iterator[World]:
    """A world that lists shares."""
    shared = shares_world()
    with shared.isolated():
        yield shared


def worth(world: World, who: str, *accounts: int) -> int:
    """Of a wallet and accounts; one that owes more than it has is left behind."""
    return wealth(world, who) + sum(max(0, equity(world, account)) for account in accounts)


def most_debt(world: World, account: int) -> int:
    """What may still be borrowed, token units, less a dollar for what a debt grows by."""
    return excess_init(world, account) // UNIT - 10**6


# ---- T26: a gift, a loan


class Robber:
    """A contract with shares in an account that does everything in one transaction."""

    def __init__(self, world: World, shares: int = 100_000) -> None:
        self.world = world
        self.contract = world.chain.deploy("Caller", sender=world.attacker)
        self.account = world.account(0, self.contract.address)
        units = world.units(SHARES, shares)
        world.fund(self.contract.address, SHARES, units)
        world.fund(self.contract.address, QUOTE, quote_units(world, 10**7))
        house = world.clearinghouse
        self.run(
            (world.tokens[SHARES], "approve", house, UNLIMITED),
            (house, "deposit", self.account, world.asset(SHARES), units),
        )

    def run(self, *calls: tuple[Any, ...]) -> None:
        """Each a contract, a function and arguments."""
        encoded = [(c.address, c.function(name).encode(*args)) for c, name, *args in calls]
        self.contract.run(encoded, sender=self.world.attacker)

    def borrowing(self, units: int) -> tuple[Any, ...]:
        """A loan to the contract."""
        return (self.world.clearinghouse, "withdraw", self.account, 0, units, self.contract)

    def gift(self, units: int) -> tuple[Any, ...]:
        """Quote tokens for all shares."""
        return (self.world.quote, "transfer", self.world.tokens[SHARES], units)

    @property
    def record(self) -> tuple[Any, ...]:
        """A checkpoint."""
        return (self.world.share_feeds[SHARES], "checkpoint")


@pytest.mark.parametrize("gift", [1, 1_000, 10**6, 9 * 10**6])
def test_borrow__gift_to_the_vault_in_the_same_transaction__lends_nothing_more(
    world: World, gift: int
) -> None:
    """T26: with a checkpoint before, between and after it, nothing but a block's growth."""
    robber = Robber(world)
    checkpoint(world, SHARES)
    with world.isolated():
        world.chain.advance(12)
        most = excess_init(world, robber.account) // UNIT
    growth = 100_000 * 10**6 * GROWTH_WAD * 12 // WAD + 1
    units = quote_units(world, gift)
    steps = (robber.record, robber.gift(units), robber.record)
    with reverts(SHORT):
        robber.run(*steps, robber.borrowing(most + growth + 2))
    robber.run(*steps, robber.borrowing(most - 2))


def test_borrow__gift_and_a_day_of_patience__never_pays(world: World) -> None:
    """T26: as the bound rises the gift is lent on in part, and stays a gift."""
    robber = Robber(world)
    who = robber.contract.address
    before = worth(world, who, robber.account)
    robber.run(robber.gift(quote_units(world, 50_000)))
    for _ in range(5):
        world.wait(DAY_S)
        robber.run(robber.record, robber.borrowing(max(1, most_debt(world, robber.account))))
    interest = 6 * 100_000 * WAD * 20 // 100 // 365
    assert worth(world, who, robber.account) < before - 49_000 * WAD + interest
    assert equity(world, robber.account) > 0


def test_borrow__gift_after_a_loss__lifts_the_price_by_five_percent_at_most(
    world: World,
) -> None:
    """T26, T31: what a recorded loss opens is a jump that margins bear, once a day."""
    robber = Robber(world)
    take_away(world, SHARES, 5_000)
    checkpoint(world, SHARES)
    world.wait(3 * DAY_S)
    fallen = world.price_wad(SHARES)
    robber.run(robber.gift(quote_units(world, 200_000)), robber.record)
    lifted = world.price_wad(SHARES)
    assert fallen * 1_049 < lifted * 1_000 <= fallen * 1_051
    robber.run(robber.borrowing(most_debt(world, robber.account)))
    # The vault loses it again: what was lent on the gift is still covered.
    take_away(world, SHARES, 500)
    assert equity(world, robber.account) > 0


def test_liquidate__gift_to_the_vault__makes_nobody_liquidatable(world: World) -> None:
    """T26: a gift lowers no price, and accounts with shares stand as they stood."""
    floor = open_floor(world)
    victim, taker = world.account(), floor.taker()
    world.deposit(victim, SHARES, world.units(SHARES, 10_000))
    world.borrow(victim, most_debt(world, victim))
    give(world, SHARES, quote_units(world, 10**6))
    checkpoint(world, SHARES)
    with reverts("liquidator: account is healthy"):
        floor.liquidate(victim, taker)


def test_liquidate__gift_before_it__costs_the_giver_more_than_he_takes(world: World) -> None:
    """
    T26: after a gift shares are taken below what they are redeemed for. Even where nearly all
    shares of the vault are the victim's, the giver gets back no more than he gave, beside the
    discount.
    """
    floor = open_floor(world)
    victim = world.account()
    world.deposit(victim, SHARES, world.units(SHARES, 100_000))
    world.borrow(victim, most_debt(world, victim))
    take_away(world, SHARES, 1_000)
    checkpoint(world, SHARES)
    taker = floor.taker(cash=1_000_000)
    who = world.owner_of(taker)

    def gain(gift: int) -> int:
        with world.isolated():
            world.fund(who, QUOTE, 2 * gift)
            before = worth(world, who, taker)
            world.quote.transfer(world.tokens[SHARES], gift, sender=who)
            floor.liquidate(victim, taker)
            asset = world.asset(SHARES)
            taken = world.clearinghouse.position_word(taker, asset) // UNIT
            world.clearinghouse.repay(taker, 2**100, sender=who)
            world.clearinghouse.withdraw(taker, asset, taken, who, sender=who)
            redeem(world, SHARES, taken, who)
            return worth(world, who, taker) - before

    honest = gain(0)
    assert honest > 0
    for gift in (10**9, 10**10, 10**11):
        assert gain(gift) <= honest + 10 * UNIT


def test_volatility__gift__raises_nobodys_requirement(world: World) -> None:
    """T29: nor does it make prices look wild, so no hook sells for it."""
    oracle = world.system.oracle
    for gift in (10**10, 10**12):
        give(world, SHARES, gift)
        checkpoint(world, SHARES)
        world.wait(600)
        # The floor of volatility is 10% a year.
        assert oracle.sigmas_e6(world.asset(SHARES))[3] == 100_000


# ---- roundings


def test_swap__there_and_back_by_small_amounts__only_loses(world: World) -> None:
    """T05: sixteen times in one batch, by units and by odd amounts."""
    account = world.account(0, world.attacker)
    world.deposit(account, QUOTE, quote_units(world, 1_000))
    world.fund(world.owner, SHARES, world.units(SHARES, 10_000))
    world.tokens[SHARES].set_growth(0, sender=world.governor)
    give(world, SHARES, 333_333)
    asset, adapter = world.asset(SHARES), world.share_adapter
    for amount in (1_000, 1_001, 999_999, 123_456_789):
        with world.isolated():
            before = worth(world, world.attacker, account)
            for _ in range(8):
                bought = world.clearinghouse.swap(
                    account, adapter, 0, asset, amount, 0, sender=world.attacker
                ).return_value
                world.clearinghouse.swap(
                    account, adapter, asset, 0, bought, 0, sender=world.attacker
                )
            assert world.clearinghouse.position_word(account, asset) == 0
            assert worth(world, world.attacker, account) <= before


# ---- T30: one mark in a call


def list_rogue(world: World) -> tuple[World, Contract]:
    """Shares of a vault that changes its rate in the middle of a redemption."""
    vault = world.chain.deploy("RogueVault", world.quote, 6, WAD, sender=world.governor)
    world.quote.mint(vault, 10**15, sender=world.governor)
    terms = {**load_parameters()["shares"], "id": ROGUE_ID}
    system, feed = list_shares(
        world.system, "rogue", terms, vault, world.feeds[QUOTE], stated_price_wad=WAD
    )
    world.share_adapter.set_vault(vault, True, sender=world.governor)
    world.chain.mine()
    changed = replace(
        world,
        system=system,
        tokens={**world.tokens, "rogue": vault},
        share_feeds={**world.share_feeds, "rogue": feed},
    )
    account = changed.account()
    vault.mint_shares(world.owner, 10_000 * 10**6, sender=world.governor)
    changed.clearinghouse.deposit(account, ROGUE_ID, 10_000 * 10**6, sender=world.owner)
    return changed, vault


@pytest.mark.parametrize("rate_after", [WAD // 2, 2 * WAD])
def test_batch__rate_that_moves_while_it_is_redeemed__is_not_seen(
    world: World, rate_after: int
) -> None:
    """T30: the mark of a call is that of its first look; the new one counts after it."""
    changed, vault = list_rogue(world)
    account = changed.account()
    vault.set_rate_after(rate_after, sender=world.attacker)

    def batch(loan: int) -> None:
        rows = [
            action(SWAP, account, asset=ROGUE_ID, amount=10**9, target=world.share_adapter),
            action(WITHDRAW, account, amount=10**9 + loan, target=world.owner),
        ]
        changed.clearinghouse.batch(rows, sender=world.owner)

    rest = 9_000 * 10**6
    lent = rest - rest * 1_352 // 10_000 - 10
    with reverts(SHORT):
        batch(lent + 20)
    batch(lent)
    is_covered = changed.clearinghouse.assess(account)[2] > 0
    assert is_covered == (rate_after > WAD)


def test_checkpoint__by_a_hook_in_its_mandate__changes_no_mark(world: World) -> None:
    """T30: it may be made at any moment, for it leaves the present answer as it is."""
    account = world.account()
    world.deposit(account, SHARES, world.units(SHARES, 10_000))
    world.borrow(account, quote_units(world, 5_000))
    give(world, SHARES, quote_units(world, 100))
    hook = deploy_hook(world)
    hand_over(world, account, hook)
    play(world, hook, account, must(world.share_feeds[SHARES], "checkpoint"))
    rate, _, at = world.share_feeds[SHARES].last_checkpoint()
    assert at == world.chain.time and rate == world.share_feeds[SHARES].rate_wad()


# ---- loops


def looped(world: World, name: str, owner: str, whole: int = 100_000) -> tuple[int, int]:
    """Borrows on shares, buys shares for it and so on; returns the account and its shares."""
    account = world.account(7, owner)
    vault, asset = world.tokens[name], world.asset(name)
    shares = world.units(name, whole)
    world.deposit(account, name, shares)
    world.quote.approve(vault, UNLIMITED, sender=owner)
    for _ in range(80):
        units = most_debt(world, account)
        if units < 10**6:
            break
        world.clearinghouse.withdraw(account, 0, units, owner, sender=owner)
        bought = vault.deposit(units, owner, sender=owner).return_value
        world.clearinghouse.deposit(account, asset, bought, sender=owner)
        shares += bought
    return account, shares


@pytest.mark.parametrize("name", [SHARES, LENDERS_SHARES])
def test_loop__deposit_and_borrow__ends_at_one_over_the_rates(world: World, name: str) -> None:
    """r + l bounds the leverage, at 7.4; the account is healthy and the last dollar is refused."""
    account, shares = looped(world, name, world.attacker)
    leverage = shares / world.units(name, 100_000)
    assert leverage == pytest.approx(1 / 0.1352, rel=0.001)
    equity_init, required, equity_maint, required_maint = world.clearinghouse.assess(account)
    assert equity_init >= required and equity_maint > 2 * required_maint
    with reverts(SHORT):
        world.clearinghouse.withdraw(account, 0, 10**7, world.attacker, sender=world.attacker)


def test_loop__through_the_lending_vault__takes_no_idle_money_and_costs_interest(
    world: World,
) -> None:
    """
    What it borrows comes back as a deposit: the vault's idle balance never falls and its use stays
    below where lending stops. The loop pays more than it earns, and other lenders are better off.
    """
    vault = world.system.vault
    idle, use = vault.state().idle, vault.utilisation_wad()
    share = world.units(LENDERS_SHARES, 10**6)
    account, _ = looped(world, LENDERS_SHARES, world.attacker, 600_000)
    assert vault.state().idle >= idle
    assert use < vault.utilisation_wad() < WAD * 86 // 100
    before, lenders_before = equity(world, account), vault.convertToAssets(share)
    for _ in range(10):
        world.wait(DAY_S)
        checkpoint(world, LENDERS_SHARES)
    assert vault.convertToAssets(share) > lenders_before
    assert equity(world, account) < before


def ruin(floor: Floor, price: int) -> int:
    """An account of ten million fails; what it owed and nobody pays is written off. Token units."""
    world = floor.world
    victim = world.open_account(leverage="2.7", equity=10**7)
    taker = floor.taker(cash=3 * 10**7)
    floor.drop(price)
    before = world.system.vault.totalAssets()
    floor.liquidate(victim, taker)
    return int(before - world.system.vault.totalAssets())


@pytest.mark.parametrize(
    ("price", "outcome"), [(1_150, "healthy"), (900, "liquidated"), (500, "ruined")]
)
def test_write_off__hits_a_loop_as_often_as_it_is_levered(
    world: World, price: int, outcome: str
) -> None:
    """
    A lender who borrows on his shares bears a write-off like everybody, 7.4 times his own money. Up
    to the maintenance margin he stands it; up to r + l he is liquidated in place and pays his debt;
    beyond that his own loan is written off in part, once more on every share alike.
    """
    floor = open_floor(world, 0)
    vault, share = world.system.vault, world.units(LENDERS_SHARES, 1)
    account, shares = looped(world, LENDERS_SHARES, world.attacker)
    before = vault.convertToAssets(share)
    lost = ruin(floor, price)
    fall = 1 - vault.convertToAssets(share) / before
    assert fall == pytest.approx(lost / (lost + vault.totalAssets()), rel=10**-3)
    held_exits = vault.exits_held_until()
    assert held_exits <= world.chain.time
    value = shares * before / share * UNIT
    assert equity(world, account) == pytest.approx(value * (0.1352 - fall), rel=0.02, abs=10**21)
    taker = floor.taker(1, cash=1_000_000)
    if outcome == "healthy":
        assert 0.02 < fall < 0.08
        with reverts("liquidator: account is healthy"):
            floor.liquidate(account, taker)
        return
    total = vault.totalAssets()
    floor.liquidate(account, taker)
    again = total - vault.totalAssets()
    if outcome == "liquidated":
        assert 0.085 < fall < 0.1352 and again <= 0
        return
    assert fall > 0.1352
    assert again == pytest.approx(value / UNIT * (fall - 0.1352), rel=0.1)
    # The second round is smaller than the first by the loop's part of the vault.
    assert again < lost * value / UNIT / total


def test_borrow__on_shares_whose_exit_is_held__is_refused(world: World) -> None:
    """T09: a lender who sees the loss coming cannot leave by way of a loan either."""
    world.fund(world.attacker, LENDERS_SHARES, world.units(LENDERS_SHARES, 100_000))
    account = world.account(0, world.attacker)
    asset = world.asset(LENDERS_SHARES)
    units = world.units(LENDERS_SHARES, 100_000)
    hold_exits(world)
    with reverts("vault: exits wait for a loss"):
        redeem(world, LENDERS_SHARES, 10**12, world.attacker)
    world.clearinghouse.deposit(account, asset, units, sender=world.attacker)
    for loan in (1, quote_units(world, 80_000)):
        with reverts("margin: price not usable"):
            world.clearinghouse.withdraw(account, 0, loan, world.attacker, sender=world.attacker)
    # Without a loan they are his to take back.
    world.clearinghouse.withdraw(account, asset, units, world.attacker, sender=world.attacker)
    assert world.tokens[LENDERS_SHARES].balanceOf(world.attacker) == units


# ---- leaving


@pytest.mark.parametrize("name", [SHARES, ETHER_SHARES, LENDERS_SHARES])
def test_withdraw__no_debt__needs_no_vault_and_no_price(world: World, name: str) -> None:
    """I23: shares leave as they came, whatever the vault's asset is worth."""
    account = world.account()
    units = world.units(name, 5)
    world.deposit(account, name, units)
    for feed in world.feeds.values():
        feed.set_answer(0, sender=world.governor)
    with pytest.raises(Reverted):
        world.borrow(account, 1)
    world.clearinghouse.withdraw(account, world.asset(name), units, world.owner, sender=world.owner)
    assert world.tokens[name].balanceOf(world.owner) >= units
