"""Bad prices, seen by the whole system: what stays open, what closes, and for whom.

Threats T19 to T25 and T43, attacks A13, A14, A15 and A17.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ballast.chain import Reverted
from ballast.deploy import WAD
from tests.conftest import reverts
from tests.support.hooks import deploy_hook, hand_over, must
from tests.support.world import QUOTE, World
from tests.threats.kit import equity

ETH = 10**18
DAY_S = 86_400


# ---- what can be wrong with a feed


def _stale(world: World) -> None:
    world.make_stale("ETH")


def _zero(world: World) -> None:
    world.feeds["ETH"].set_answer(0, sender=world.governor)
    world.chain.mine()


def _negative(world: World) -> None:
    world.feeds["ETH"].set_answer(-(2**90), sender=world.governor)
    world.chain.mine()


def _below_band(world: World) -> None:
    world.feeds["ETH"].set_answer(10**8, sender=world.governor)
    world.chain.mine()


def _above_band(world: World) -> None:
    world.feeds["ETH"].set_answer(10**6 * 10**8, sender=world.governor)
    world.chain.mine()


def _silent_quote(world: World) -> None:
    world.feeds[QUOTE].set_answer(0, sender=world.governor)
    world.chain.mine()


FAULTS: dict[str, Callable[[World], None]] = {
    "T19 stale": _stale,
    "T20 zero": _zero,
    "T20 negative": _negative,
    "T21 below the band": _below_band,
    "T21 above the band": _above_band,
    "T23 dead quote feed": _silent_quote,
}


def _act(world: World, name: str, account: int) -> None:
    house, owner = world.clearinghouse, world.owner
    if name == "deposit":
        world.deposit(account, "ETH", ETH)
    elif name == "deposit cash":
        world.deposit(account, QUOTE, 10**6)
    elif name == "repay":
        world.fund(owner, QUOTE, 10**9)
        house.repay(account, 10**6, sender=owner)
    elif name == "borrow":
        world.borrow(account, 1)
    elif name == "withdraw":
        house.withdraw(account, 1, 1, owner, sender=owner)
    elif name == "transfer":
        house.transfer(account, account + 1, 1, 1, sender=owner)
    elif name == "sell":
        house.swap(account, world.venue, 1, 0, ETH // 10, 0, sender=owner)
    elif name == "rebalance":
        world.mandates.rebalance(account, sender=world.keeper)


@pytest.mark.parametrize("fault", FAULTS)
def test_act__bad_price__only_what_lowers_risk_without_a_price(world: World, fault: str) -> None:
    """T19, T20, T21, T23: one table of actions for every fault."""
    account = world.open_account(leverage=2)
    world.enrol(account, trigger_bps=40_000, target_bps=50_000)
    FAULTS[fault](world)
    for name in ("deposit", "deposit cash", "repay"):
        with world.isolated():
            _act(world, name, account)
    refusals = {
        "borrow": "margin: price not usable",
        "withdraw": "margin: price not usable",
        "transfer": "margin: price not usable",
        "sell": "exchange: price not usable",
        "rebalance": "rebalancer: no means left",
    }
    for name, reason in refusals.items():
        with world.isolated(), reverts(reason):
            _act(world, name, account)


@pytest.mark.parametrize("fault", FAULTS)
def test_withdraw__no_debt__every_fault(world: World, fault: str) -> None:
    """T19, T23, I23: who owes nothing needs no price to leave."""
    account = world.open_account(leverage=1)
    FAULTS[fault](world)
    held = world.clearinghouse.position_word(account, 1)
    world.clearinghouse.withdraw(account, 1, held, world.owner, sender=world.owner)
    assert world.clearinghouse.listed_word(account) == 0


def test_borrow__one_dead_feed__other_collateral_backs_it(world: World) -> None:
    """T23: a dead feed lends no strength and takes none from the others."""
    account = world.open_account(leverage=1, mix={"ETH": 1, "BTC": 1}, equity=20_000)
    FAULTS["T20 zero"](world)
    world.borrow(account, 5_000 * 10**6)
    with reverts("margin: price not usable"):
        world.borrow(account, 3_000 * 10**6)
    world.clearinghouse.swap(account, world.venue, 2, 0, 10**7, 0, sender=world.owner)


def test_rebalance__one_dead_feed__sells_the_other(world: World) -> None:
    """T23: a dead feed does not keep the rest from helping."""
    account = world.open_account(leverage=2, mix={"ETH": 1, "BTC": 1})
    world.enrol(account, trigger_bps=40_000, target_bps=50_000, band_bps=3_000)
    before = world.clearinghouse.assess(account)
    FAULTS["T20 zero"](world)
    world.mandates.rebalance(account, sender=world.keeper)
    after = world.clearinghouse.assess(account)
    assert after[0] - after[1] > before[0] - before[1]


# ---- A13, T22, T25


def test_borrow__in_the_rounds_own_block__worse_of_two_prices(world: World) -> None:
    """A13, T30: neither the old price nor the new one can be picked in the block of a round."""
    account = world.open_account(leverage=1, equity=10_000)
    most = 0
    for price in (1_500, 2_000, 2_500):
        with world.isolated(), world.chain.one_block():
            world.feeds["ETH"].set_answer(price * 10**8, sender=world.governor)
            world.system.poke(world.keeper)
            worse = min(price, 2_000)
            rate = int(world.mandates.snapshot(account).legs[0].risk_word)
            charged = (rate & 0xFFFFFF) + (rate >> 24 & 0xFFFFFF)
            most = 5 * worse * (10**6 - charged)  # token units
            with reverts("margin: initial margin short"):
                world.borrow(account, most + 1)
            world.borrow(account, most - 1)
    assert most > 0


def test_borrow__poked_before_and_after_the_round__same_prices(world: World) -> None:
    """A13: an early poke in a block pins nothing."""
    account = world.open_account(leverage=1, equity=10_000)
    words = []
    for is_early in (False, True):
        with world.isolated(), world.chain.one_block():
            if is_early:
                world.system.poke(world.attacker)
            world.feeds["ETH"].set_answer(2_400 * 10**8, sender=world.governor)
            world.system.poke(world.attacker)
            words.append(world.mandates.snapshot(account).legs[0].price_word)
    assert words[0] == words[1]


def test_poke__any_number_in_the_same_moments__same_requirement(world: World) -> None:
    """A17, T29: how often somebody pokes changes nothing, whether at all a tenth at most.

    The price leaves for twelve seconds every five minutes, and the attacker pokes while it is away.
    """
    account = world.open_account(leverage=2)
    required = []
    for pokes in (0, 1, 7):
        with world.isolated():
            for _ in range(6):
                world.chain.advance(288)
                with world.chain.one_block():
                    world.feeds["ETH"].set_answer(2_020 * 10**8, sender=world.governor)
                    for _ in range(pokes):
                        world.system.poke(world.attacker)
                world.chain.mine()
                world.feeds["ETH"].set_answer(2_000 * 10**8, sender=world.governor)
            world.chain.advance(300)
            world.system.poke(world.attacker)
            required.append(world.clearinghouse.assess(account)[1])
    assert required[1] == required[2]
    assert abs(required[0] - required[1]) <= required[0] // 10


def test_set_feed__wrong_units_or_missing_leg__refused(world: World) -> None:
    """T25: a feed in other units is far from the price in force, whoever proposes it."""
    feed = world.chain.deploy("MockFeed", 8, "ETH / BTC", sender=world.governor)
    feed.set_answer(2_000 * 10**8 // 30_000, sender=world.governor)
    world.chain.mine()
    with pytest.raises(Reverted):
        world.system.oracle.set_feed(1, feed, 3_900, 61, 77, 2_000 * WAD, sender=world.governor)
    assert world.system.oracle.feed_of(1)[0] == world.feeds["ETH"].address


def test_rebalance__after_feeds_were_down__first_good_round_counts(world: World) -> None:
    """T22: after an outage nothing is sold at the price of before; the first round opens all."""
    account = world.open_account(leverage=2)
    world.enrol(account, trigger_bps=40_000, target_bps=50_000)
    world.chain.advance(3 * DAY_S)
    with reverts("rebalancer: no means left"):
        world.mandates.rebalance(account, sender=world.keeper)
    world.set_price(QUOTE, 1)
    world.set_price("ETH", 1_800)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    out = world.clearinghouse.events(receipt, "Swapped")[0].args
    assert out.amount_out * 10**12 == pytest.approx(out.amount_in * 1_800 * 0.997, rel=1e-6)


# ---- A14: a vault lent out


def test_act__vault_lent_out__repay_sell_and_rebalance_open(world: World) -> None:
    """A14: full utilisation stops new loans and lenders' exits, nothing else."""
    account = world.open_account(leverage=2)
    world.enrol(account, trigger_bps=10_500, target_bps=13_000)
    whale = world.account(0, world.attacker)
    world.deposit(whale, "ETH", 49_000 * ETH)
    world.borrow(whale, world.system.vault.max_loan())
    assert world.system.vault.utilisation_wad() >= 91 * WAD // 100
    with pytest.raises(Reverted):
        world.borrow(account, 10**12)
    left = int(world.quote.balanceOf(world.system.vault))
    world.system.vault.withdraw(left - 1, world.lender, world.lender, sender=world.lender)
    assert world.system.vault.utilisation_wad() > 99 * WAD // 100
    with pytest.raises(Reverted):
        world.borrow(account, 10)
    for name in ("deposit", "deposit cash", "repay", "sell"):
        with world.isolated():
            _act(world, name, account)
    with world.isolated():
        world.clearinghouse.withdraw(account, 1, 1, world.owner, sender=world.owner)
    world.set_price("ETH", 1_250)
    before = world.clearinghouse.assess(account)
    world.mandates.rebalance(account, sender=world.keeper)
    after = world.clearinghouse.assess(account)
    assert after[0] * before[1] > before[0] * after[1]


def test_lend__last_part_of_the_vault__kept_for_lenders(world: World) -> None:
    """A14: loans leave a part of the vault idle, so utilisation is never 100% by them alone."""
    whale = world.account(0, world.attacker)
    world.deposit(whale, "ETH", 49_000 * ETH)
    with pytest.raises(Reverted):
        world.borrow(whale, 50_000_000 * 10**6)
    assert world.system.vault.max_loan() < world.quote.balanceOf(world.system.vault)


# ---- A15: quotas


def test_quota__price_rises_or_stranger_deposits__excess_never_falls(world: World) -> None:
    """A15: a quota is in units, and what is beyond it costs nothing."""
    account = world.account()
    world.deposit(account, "ETH", 50_000 * ETH)
    world.borrow(account, 40_000_000 * 10**6)

    def excess() -> int:
        terms = world.clearinghouse.assess(account)
        return int(terms[0] - terms[1])

    with world.chain.one_block():
        before = excess()
        world.fund(world.attacker, "ETH", 5_000 * ETH)
        world.clearinghouse.deposit(account, 1, 5_000 * ETH, sender=world.attacker)
        assert excess() == before
    world.feeds["ETH"].set_answer(2_040 * 10**8, sender=world.governor)
    world.chain.mine()
    assert excess() > before


# ---- T43: accrual


def test_act__with_and_without_accrual_before__same_state(world: World) -> None:
    """T43: interest is counted in full whether or not somebody wrote it down first."""
    account = world.open_account(leverage=2)
    world.enrol(account, trigger_bps=40_000, target_bps=50_000)
    world.fund(world.owner, QUOTE, 10**12)
    states = []
    for is_accrued in (False, True):
        with world.isolated():
            world.wait(30 * DAY_S)
            with world.chain.one_block():
                if is_accrued:
                    world.system.vault.accrue(sender=world.stranger)
                figures = world.clearinghouse.assess(account)
                world.clearinghouse.repay(account, 10**6, sender=world.owner)
                world.mandates.rebalance(account, sender=world.keeper)
                words = world.clearinghouse.account_word(account)
                states.append((figures, words, world.clearinghouse.position_word(account, 1)))
    assert states[0] == states[1]


def test_rebalance__own_round_in_the_block__newest_price(world: World) -> None:
    """A13: a rebalance lowers risk, so it uses the newest round, also in that round's block."""
    account = world.open_account(leverage=2)
    hook = deploy_hook(world)
    hand_over(world, account, hook, (50_000, 3_000, 100, 0, 0, 0))
    hook.set_script(
        [must(world.mandates, "swap", world.venue, 1, 0, ETH, 0)], sender=world.attacker
    )
    with world.chain.one_block():
        world.feeds["ETH"].set_answer(1_900 * 10**8, sender=world.governor)
        world.set_venue_price("ETH", 1_881 * WAD, fee_ppm=0)
        world.mandates.rebalance(account, sender=world.keeper)
    assert equity(world, account) > 0


# ---- T27, T36: venues set no price


def test_assess__venue_at_any_price__unchanged(world: World) -> None:
    """T27, T36: nothing a venue says decides what an account is worth or may do."""
    account = world.open_account(leverage=2)
    world.enrol(account)
    with world.chain.one_block():
        before = world.clearinghouse.assess(account), world.system.oracle.price_wad(1)
        plan = world.rebalancer.plan(account)
        for price in (1, 10**15, 10**30):
            world.set_venue_price("ETH", price)
            assert (world.clearinghouse.assess(account), world.system.oracle.price_wad(1)) == before
            assert world.rebalancer.plan(account) == plan
