"""Attacks on liquidation: by owners, their hooks, liquidators, lenders, and whoever else may gain.

A3, A9, A11, A14, A16, A18, A20, and of the catalogue T05, T09, T15, T24, T31, T48, T49, T51, T58,
T59, T60, T64, T65, T66. Whoever attacks is a `Gang`, whose worth is that of all its accounts and
wallets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from ballast.chain import BLOCK_INTERVAL_S, Contract, Receipt, Reverted
from ballast.deploy import account_id, load_parameters
from ballast.model.margin import BPS, WAD
from tests.clearing_kit import UNIT, action, excess_init
from tests.conftest import reverts
from tests.liquidation_kit import (
    ANY_STATE,
    ROUNDING_WAD,
    SHARE_WAD,
    Floor,
    open_floor,
    spot_victim,
)
from tests.support.fixtures import odd_world, shared_world
from tests.support.hooks import (
    ANSWERS_BOMB,
    BURNS,
    REVERTS,
    REVERTS_BARE,
    REVERTS_BOMB,
    deploy_hook,
    hand_over,
    may,
    must,
)
from tests.support.world import (
    QUOTE,
    UNLIMITED,
    AssetSpec,
    World,
    build_world,
    many_assets,
)
from tests.threats.gang import (
    BUSY,
    CHANGED,
    DAY_S,
    ETH,
    EXITS_HELD,
    GROSS,
    HEALTHY,
    JUST_INCREASED,
    MAY_DO_ALL,
    MAY_LIQUIDATE,
    NEVER,
    NOT_PERMITTED,
    OWN_ACCOUNT,
    RAMP_S,
    RATES,
    SHAPES,
    VICTIMS,
    WALLET_GUARD,
    Gang,
    exposure_of,
    gang_of,
    geared,
    jump,
    keep_flagged,
    paid_by_others,
    plays,
    quiet,
    stake,
    to_the_edge,
    words,
)
from tests.threats.kit import (
    EXTRA_ID,
    ask_in,
    ask_out,
    claim_shares,
    list_token,
    take_in,
    wait_until,
    wealth,
)


@pytest.fixture(params=RATES)
def thin(request: pytest.FixtureRequest) -> Iterator[Floor]:
    """At either rates."""
    with quiet(request.param) as floor:
        yield floor


# ---- T31, T51: liquidating oneself


JUMPS_BPS = (100, 250, 500)
FLAGS = ("none", "after the jump", "left over")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("part_bps", JUMPS_BPS)
def test_self_liquidation__one_jump_from_initial_margin__nothing_to_liquidate(
    thin: Floor, shape: str, part_bps: int
) -> None:
    """T31, T51: a second name tries in the block of the round, in the next and twenty minutes
    on."""
    world, account, taker = thin.world, thin.world.account(0, thin.world.attacker), thin.taker()
    stake(thin, world.attacker)
    gang = gang_of(thin)
    geared(thin, account, shape)
    with world.isolated(), world.chain.one_block():
        jump(gang_of(thin), account, part_bps)
        with reverts(HEALTHY):
            thin.liquidate(account, taker)
    jump(gang, account, part_bps)
    thin.flag(account)
    for wait_s in (0, RAMP_S):
        world.chain.advance(wait_s)
        with thin.refused(HEALTHY):
            thin.liquidate(account, taker)
    assert gang.profit <= 0


def leave_a_flag(gang: Gang, account: int) -> None:
    """A breach goes on for twenty minutes, and its owner cures it without a word."""
    floor = gang.floor
    edge = floor.world.price_wad("ETH")
    jump(gang, account, 10)
    since = keep_flagged(floor, account)
    gang.move(edge)
    missing = max(0, -floor.assess(account).excess_maint // UNIT)
    floor.world.deposit(account, QUOTE, missing + 10**6)
    assert floor.assess(account).excess_maint >= 0
    assert floor.liquidator.flagged_since(account)[0] == since


def from_the_edge(thin: Floor, shape: str, part_bps: int, flag: str) -> tuple[Gang, int]:
    """One jump makes an account that nobody could liquidate before liquidate itself by an operator
    of a second name; returns what others paid, too. All costs since it was opened count."""
    world = thin.world
    account, taker = world.account(0, world.attacker), thin.taker(cash=10**7)
    allow = world.mandates.set_operator
    allow(taker, world.keeper, MAY_LIQUIDATE, NEVER, sender=world.other_owner)
    stake(thin, world.attacker)
    world.quote.mint(world.attacker, 10**9, sender=world.governor)
    gang = gang_of(thin)
    geared(thin, account, shape)
    to_the_edge(gang, account)
    if flag == "left over":
        leave_a_flag(gang, account)
    jump(gang, account, part_bps)
    assert thin.assess(account).excess_maint < 0
    if flag == "after the jump":
        keep_flagged(thin, account)
    paid = 0
    while thin.assess(account).excess_maint < 0:
        receipt = thin.liquidate(account, taker, sender=world.keeper)
        assert receipt.return_value > 0
        paid += paid_by_others(thin, receipt)
    return gang, paid


EXPOSED = [shape for shape in SHAPES if shape != "hedged"]


@pytest.mark.parametrize("shape", EXPOSED)
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("part_bps", JUMPS_BPS)
def test_self_liquidation__one_jump_from_the_edge_of_maintenance__earns_nothing(
    thin: Floor, shape: str, flag: str, part_bps: int
) -> None:
    """T31, T51: and nobody else pays for it, where the charge on gross is most of the requirement,
    too."""
    gang, paid = from_the_edge(thin, shape, part_bps, flag)
    assert paid == 0
    assert gang.profit <= 0


CAPS = (2_000, 5_000)  # quote tokens: for one account and for all in a day


def crash(floor: Floor, count: int, gross: int = 100 * WAD) -> tuple[Gang, list[int], int]:
    """Accounts at initial margin, and a jump of 30%; with low caps, insurance for all of it."""
    world = floor.world
    floor.put_terms(account_cap_wad=CAPS[0] * WAD, day_cap_wad=CAPS[1] * WAD)
    taker = floor.taker(cash=10**7)
    for _ in range(count):
        stake(floor, world.attacker, gross)
    world.tokens["ETH"].mint(world.attacker, count * gross, sender=world.governor)
    gang = gang_of(floor)
    accounts = [world.account(sub, world.attacker) for sub in range(count)]
    for account in accounts:
        geared(floor, account, "spot", gross)
    jump(gang, accounts[0], 3_000)
    return gang, accounts, taker


@pytest.mark.parametrize("count", [1, 4])
def test_self_liquidation__jump_of_thirty_percent__insurance_and_house_pay_their_caps(
    calm: Floor, count: int
) -> None:
    """T31: one account or as many as one likes; what else is missing was never theirs to get back:
    the lenders' money is in the attacker's wallet already."""
    vault = calm.world.system.vault
    gang, accounts, taker = crash(calm, count)
    with calm.a_block_later():
        deficit = sum(-min(0, calm.worth(account)) for account in accounts)
        discounts = sum(calm.liquidator.preview(account).discount_wad for account in accounts)
        funds = [calm.worth(account) for account in (calm.insurance, calm.house)]
        house_cap = calm.assess(calm.house).equity_init // 100
        lent = vault.totalAssets()
    assert deficit > 4 * CAPS[0] * WAD
    paid = 0
    for account in accounts:
        before = calm.cash(calm.insurance)
        paid += paid_by_others(calm, calm.liquidate(account, taker))
        assert before - calm.cash(calm.insurance) <= CAPS[0] * WAD
        assert calm.cash(account) + calm.debt_shares(account) <= SHARE_WAD
    insurance, house = (
        old - calm.worth(account)
        for old, account in zip(funds, (calm.insurance, calm.house), strict=True)
    )
    assert insurance == min(count * CAPS[0], CAPS[1]) * WAD
    assert 0 < house <= house_cap
    assert paid >= deficit + discounts - ROUNDING_WAD * count
    lenders = (lent - vault.totalAssets()) * UNIT
    assert abs(paid - insurance - house - lenders) < WAD
    # What it makes is what it no longer owes, and the discount.
    assert gang.profit <= deficit + discounts


def test_self_liquidation__over_midnight__insurance_pays_its_cap_of_two_days(calm: Floor) -> None:
    """T31: and not more, however many accounts wait for it."""
    world = calm.world
    _, accounts, taker = crash(calm, 4, 50 * WAD)
    midnight = (world.chain.time // DAY_S + 1) * DAY_S
    world.chain.set_time(midnight - 4 * BLOCK_INTERVAL_S)
    paid = []
    for account in accounts:
        before = calm.cash(calm.insurance)
        receipt = calm.liquidate(account, taker)
        paid.append((receipt.time - midnight, (before - calm.cash(calm.insurance)) // WAD))
    whole, rest = CAPS[0], CAPS[1] - 2 * CAPS[0]
    assert paid == [(-36, whole), (-24, whole), (-12, rest), (0, whole)]


def test_self_liquidation__same_account_ruined_again__shares_the_cap_of_its_day(
    calm: Floor,
) -> None:
    """T31: a number is bound by its cap whatever it is used for."""
    world = calm.world
    gang, accounts, taker = crash(calm, 1)
    before = calm.cash(calm.insurance)
    calm.liquidate(accounts[0], taker)
    world.set_price("ETH", 2_000, is_poked=False)
    world.chain.mine(2)
    geared(calm, accounts[0], "spot", 50 * WAD)
    jump(gang, accounts[0], 3_000)
    assert paid_by_others(calm, calm.liquidate(accounts[0], taker)) > CAPS[0] * WAD
    assert before - calm.cash(calm.insurance) == CAPS[0] * WAD


def test_self_liquidation__by_a_sibling__is_refused_for_every_sub_account(calm: Floor) -> None:
    """A3, T51: whoever asks, an owner, an operator or the sibling's own operator."""
    world = calm.world
    account = world.account(0, world.attacker)
    stake(calm, world.attacker)
    gang = gang_of(calm)
    geared(calm, account, "spot")
    to_the_edge(gang, account)
    jump(gang, account, 100)
    for sub in (0, 1, 128, 255):
        sibling = world.account(sub, world.attacker)
        if sub:
            world.deposit(sibling, QUOTE, 10**11)
        allow = world.mandates.set_operator
        allow(sibling, world.keeper, MAY_DO_ALL, NEVER, sender=world.attacker)
        for sender in (world.attacker, world.keeper):
            with calm.refused(OWN_ACCOUNT):
                calm.liquidate(account, sibling, sender=sender)


# ---- A3: making one's own account fail


def test_liquidate__owner_drew_all_he_could__second_name_finds_it_healthy(calm: Floor) -> None:
    """A3, T51: no action of an owner ends below initial margin, so nothing is left to take; not in
    the block of the withdrawal and not in the next."""
    world, account, taker = calm.world, calm.world.account(0, calm.world.attacker), calm.taker()
    stake(calm, world.attacker)
    gang = gang_of(calm)
    with world.isolated(), world.chain.one_block():
        geared(calm, account, "half exposed")
        with reverts(JUST_INCREASED):
            calm.liquidate(account, taker)
    geared(calm, account, "half exposed")
    with calm.refused(HEALTHY):
        calm.liquidate(account, taker)
    assert gang.profit <= 0


def test_liquidate__account_emptied_inside_a_batch__is_refused_there(floor: Floor) -> None:
    """A3: a token that calls back in the middle of a batch, when the account has debt and nothing
    else, finds the ledger busy; and the batch fails at its end."""
    world = floor.world
    token = world.chain.deploy("CallbackToken", sender=world.attacker)
    list_token(world, token)
    account, sibling = world.account(0, world.attacker), world.account(1, world.attacker)
    helper, own = world.account(0, world.other_owner), account_id(token.address)
    for who in (world.attacker, world.other_owner):
        token.mint(who, 10**21, sender=world.attacker)
        token.approve(world.clearinghouse, UNLIMITED, sender=who)
    world.clearinghouse.deposit(account, EXTRA_ID, 500 * WAD, sender=world.attacker)
    world.borrow(account, 20_000 * 10**6, world.attacker)
    world.deposit(helper, QUOTE, 10**11)
    world.fund(world.attacker, QUOTE, 10**11)
    world.clearinghouse.deposit(own, 0, 10**10, sender=world.attacker)
    rows = [
        action(4, account, other=sibling, asset=EXTRA_ID, amount=499 * WAD),
        action(2, account, asset=EXTRA_ID, amount=WAD, target=world.attacker),
    ]
    back = [action(4, sibling, other=account, asset=EXTRA_ID, amount=499 * WAD)]
    for taker in (own, helper, sibling):
        data = floor.liquidator.liquidate.encode(account, taker, ANY_STATE)
        token.arm(floor.liquidator, data, sender=world.attacker)
        with reverts("margin: initial margin short"):
            world.clearinghouse.batch(rows, sender=world.attacker)
        with world.isolated():
            world.clearinghouse.batch([*rows, *back], sender=world.attacker)
            assert token.calls() == 1 and not token.has_succeeded()
            if taker == own:
                assert Reverted(token.answer()).reason == BUSY


# ---- A9, T24, T60: the victim's own hook


def as_told(mode: int) -> Callable[[Floor, int, Contract], None]:
    """A hook that misbehaves in one of its own ways."""

    def tell(floor: Floor, account: int, hook: Contract) -> None:
        hook.set_mode(mode, sender=floor.world.attacker)

    return tell


def takes_money_out(floor: Floor, account: int, hook: Contract) -> None:
    """With every permission that its owner can give."""
    world, ledger = floor.world, floor.world.clearinghouse
    world.mandates.set_operator(account, hook, MAY_DO_ALL, NEVER, sender=world.owner)
    owner, sibling = world.owner, world.account(1)
    plays(floor, hook)(
        must(ledger, "withdraw", account, ETH, WAD, owner),
        must(ledger, "transfer", account, sibling, ETH, WAD),
        must(ledger, "batch", [action(2, account, asset=ETH, amount=WAD, target=owner)]),
    )


def leaves_it_worse(floor: Floor, account: int, hook: Contract) -> None:
    """Sells at a loss that its guard allows."""
    world = floor.world
    world.set_venue_price("ETH", world.price_wad("ETH") * 995 // 1_000)
    plays(floor, hook)(must(world.mandates, "swap", world.venue, ETH, 0, WAD, 0))


def cannot_be_closed(floor: Floor, account: int, hook: Contract) -> None:
    """Exposure that no judgement lets pass."""
    floor.refresh()
    plays(floor, hook)(must(floor.world.mandates, "trade", ETH, WAD))


def brings_too_little(floor: Floor, account: int, hook: Contract) -> None:
    """Out of its owner's wallet, who keeps it."""
    plays(floor, hook)(must(floor.world.mandates, "pull", 10**6))


def comes_back(floor: Floor, account: int, hook: Contract) -> None:
    """Liquidates first, for an account of its own, or has itself called again."""
    world, own = floor.world, account_id(hook.address)
    world.clearinghouse.deposit(own, 0, 10**10, sender=world.owner)
    plays(floor, hook)(
        may(floor.liquidator, "liquidate", account, own, ANY_STATE),
        may(floor.liquidator, "flag", account),
        may(floor.liquidator, "rescue", account),
        may(floor.liquidator, "collect_fees"),
        may(world.system.insurance_fund, "collect"),
        may(world.mandates, "rebalance", account),
        may(world.mandates, "rescue", account),
        may(world.system.token_liquidator, "liquidate", account, 10**9, hook, ANY_STATE),
        may(world.system.vault, "deposit", 10**6, hook),
    )


HOOKS: Mapping[str, Callable[[Floor, int, Contract], None]] = {
    "reverts": as_told(REVERTS),
    "reverts without a reason": as_told(REVERTS_BARE),
    "reverts with a bomb": as_told(REVERTS_BOMB),
    "burns its gas": as_told(BURNS),
    "answers with a bomb": as_told(ANSWERS_BOMB),
    "takes money out": takes_money_out,
    "leaves it worse": leaves_it_worse,
    "cannot be closed": cannot_be_closed,
    "brings too little": brings_too_little,
    "comes back": comes_back,
}


@pytest.mark.parametrize("kind", HOOKS)
def test_liquidate__hostile_hook_of_the_victim__all_is_as_without_it(
    floor: Floor, victim: int, kind: str
) -> None:
    """A9, T60: neither veto nor tax, and the rescue is over in the same call; a wallet and a
    sibling that it reached for are as they were, too."""
    world, taker = floor.world, floor.taker()
    world.fund(world.owner, QUOTE, 10**12)
    concerned = (victim, taker, floor.insurance, world.account(1))
    later = world.chain.time + 20 * BLOCK_INTERVAL_S
    with world.isolated():
        world.chain.set_time(later)
        assert floor.liquidate(victim, taker).return_value > 0
        expected = words(floor, *concerned)
    hook = deploy_hook(world)
    hand_over(world, victim, hook, WALLET_GUARD)
    HOOKS[kind](floor, victim, hook)
    wallet = wealth(world, world.owner)
    assert world.chain.time <= later and floor.liquidator.preview(victim).is_rescue_due
    world.chain.set_time(later)
    receipt = floor.liquidate(victim, taker)
    assert floor.names_of(receipt)[0] == "RescueFailed"
    assert words(floor, *concerned) == expected
    assert wealth(world, world.owner) == wallet
    assert receipt.gas_used < 3_500_000


def test_liquidate__hook_that_needs_nearly_all_of_its_gas__cannot_be_starved(
    floor: Floor, victim: int
) -> None:
    """T24, A9: a caller who gives less than it takes is refused, whatever he would gain by it."""
    world, taker = floor.world, floor.taker()
    hook = deploy_hook(world)
    hand_over(world, victim, hook, WALLET_GUARD)
    world.fund(world.owner, QUOTE, 10**12)
    reading = may(world.system.oracle, "marks", [1, 2] * 8)
    pull = must(world.mandates, "pull", -excess_init(world, victim) // UNIT + 10**8)

    def told(readings: int, gas: int | None) -> list[str]:
        with world.isolated():
            script = [*[reading] * readings, pull]
            hook.set_script(script, sender=world.attacker)
            return floor.names_of(floor.liquidate(victim, taker, gas=gas))

    most = max(n for n in range(1, 39) if told(n, None)[-1] == "Rescued")
    assert most == 38 or told(most + 1, None)[-1] == "Liquidated"
    seen = set()
    for gas in [*range(100_000, 2_500_000, 200_000), *range(2_500_000, 3_300_000, 8_000)]:
        try:
            names = told(most, gas)
        except Reverted:
            assert "served" not in seen, "more gas cannot do harm"
            seen.add("refused")
            continue
        assert names[-1] == "Rescued", f"{gas} gas"
        seen.add("served")
    assert seen == {"refused", "served"}


def test_liquidate__hook_that_fails_again_and_again__costs_gas_once_in_ten_minutes(
    floor: Floor,
) -> None:
    """A9, T60: what its owner makes liquidators pay for is bounded."""
    world, taker = floor.world, floor.taker(cash=10**6)
    victim = world.open_account("2.5", equity=100_000)
    hook = deploy_hook(world)
    hand_over(world, victim, hook)
    hook.set_mode(BURNS, sender=world.attacker)
    floor.sink(victim)
    tried_at = []
    for _ in range(12):
        receipt = floor.liquidate(victim, taker)
        has_burnt = receipt.gas_used > 500_000
        assert has_burnt == ("RescueFailed" in floor.names_of(receipt))
        if has_burnt:
            tried_at.append(receipt.time)
        floor.sink(victim)
    pauses = [later - time for time, later in zip(tried_at, tried_at[1:], strict=False)]
    assert len(pauses) >= 2 and min(pauses) >= 600


# ---- A11: it pays for thin and for hedged accounts


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("insurance_bps", [0, 2_000])
def test_liquidate__at_the_full_discount__leaves_the_taker_what_leaving_costs(
    thin: Floor, shape: str, insurance_bps: int
) -> None:
    """A11: at least 35 bp of everything he takes after insurance has had its part, at rates that
    are at their floors, and however thin the account is."""
    world, account = thin.world, thin.world.account(0, thin.world.attacker)
    taker = thin.taker(cash=10**7)
    thin.put_terms(insurance_bps=insurance_bps)
    stake(thin, world.attacker)
    gang = gang_of(thin)
    geared(thin, account, shape)
    to_the_edge(gang, account)
    while thin.assess(account).excess_maint >= 0:
        jump(gang, account, -20 if shape == "hedged" else 20)
    keep_flagged(thin, account)
    price = world.price_wad("ETH")
    with thin.a_block_later():
        before = thin.worth(taker)
    receipt = thin.liquidate(account, taker)
    told, holdings = thin.told(receipt, "Liquidated"), thin.told(receipt, "HoldingsTaken")
    gross = sum(h.collateral_wad + abs(h.size_wad) for h in holdings.holdings) * price // WAD
    assert gross > 10_000 * WAD
    assert (told.bonus_wad - told.fee_wad) * BPS >= 35 * gross
    assert (thin.worth(taker) - before + ROUNDING_WAD) * BPS >= 35 * gross


# ---- A14, T65: what is shut or used up


def repays_a_unit(floor: Floor, account: int) -> None:
    """Of anybody's money, a moment before."""
    world = floor.world
    world.fund(world.attacker, QUOTE, 10**6)
    world.clearinghouse.repay(account, 1, sender=world.attacker)


def deposits_dust(floor: Floor, account: int) -> None:
    """A unit of the quote token and of whatever collateral is there."""
    world = floor.world
    for name in (QUOTE, *world.names):
        if name == QUOTE or floor.held(account, name).collateral_wad:
            world.fund(world.attacker, name, 10**6)
            world.clearinghouse.deposit(account, world.asset(name), 1, sender=world.attacker)


def is_lent_out(floor: Floor, account: int) -> None:
    """Somebody else owes much, and the lender took out the rest."""
    if floor.world.system.vault.max_loan():
        floor.drain()


def may_not_come_in(floor: Floor, account: int) -> None:
    """No more collateral, no more loans to the vault."""
    world = floor.world
    for name in world.names:
        world.system.listings.set_asset_limits(world.asset(name), 0, 100, sender=world.governor)
    world.system.vault.set_deposit_cap(0, sender=world.governor)


def may_not_trade(floor: Floor, account: int) -> None:
    """Markets take no increase and no venue is allowed."""
    world = floor.world
    for name in world.names:
        floor.perps.set_close_only(world.asset(name), True, sender=world.governor)
    world.system.listings.set_adapter(world.venue, False, sender=world.governor)


def breaker_is_tripped(floor: Floor, account: int) -> None:
    """By a move of twenty percent in ten minutes, there and back."""
    world = floor.world
    price = world.price_wad("ETH") // WAD
    floor.refresh()
    floor.drop(price * 13 // 10)
    assert floor.perps.is_increase_stopped(ETH)
    floor.drop(price)
    for _ in range(2):
        world.chain.advance(600)
        floor.drop(price)
    floor.drop(price * 4 // 5)
    floor.refresh()
    world.chain.advance(600)
    floor.drop(price * 4 // 5)
    floor.refresh()
    floor.drop(price)
    assert floor.perps.is_increase_stopped(ETH)


def everything_at_once(floor: Floor, account: int) -> None:
    """In an order in which each is still possible."""
    for hinder in (deposits_dust, repays_a_unit, is_lent_out, may_not_come_in, may_not_trade):
        if hinder is not repays_a_unit or floor.debt_shares(account):
            hinder(floor, account)


OBSTACLES: Mapping[str, Callable[[Floor, int], None]] = {
    "a unit repaid": repays_a_unit,
    "dust deposited": deposits_dust,
    "vault lent out": is_lent_out,
    "caps of zero": may_not_come_in,
    "close-only, no venue": may_not_trade,
    "breaker tripped": breaker_is_tripped,
    "everything at once": everything_at_once,
}
SHUT = [
    (kind, depth, obstacle)
    for kind in VICTIMS
    for depth in ("cured", "gone")
    for obstacle in OBSTACLES
    # Nothing is owed, or no price ruins it.
    if (kind not in ("long", "short") or obstacle != "a unit repaid")
    and (kind != "hedged" or depth == "cured")
]


@pytest.mark.parametrize(("kind", "depth", "obstacle"), SHUT)
def test_liquidate__whatever_is_shut__goes_on(
    floor: Floor, obstacle: str, kind: str, depth: str
) -> None:
    """A14, T65: a victim slightly below maintenance is cured, one far below zero is taken whole;
    the taker has cash, and neither he nor anybody else needs a loan."""
    world, taker = floor.world, floor.taker(cash=10**6)
    world.open_account(2, {"BTC": 1}, equity=10**6, sub=9)
    account = VICTIMS[kind](floor)
    OBSTACLES[obstacle](floor, account)
    if depth == "gone":
        sign = -1 if exposure_of(floor, account) > 0 else 1
        floor.drop(world.price_wad("ETH") * (10 + 4 * sign) // (10 * WAD))
    with floor.a_block_later():
        before = floor.worth(taker)
        assert floor.assess(account).excess_maint < 0
    receipt = floor.liquidate(account, taker)
    assert receipt.return_value > 0 and floor.worth(taker) > before
    assert (receipt.return_value == WAD) == (depth == "gone")
    assert floor.assess(account).excess_maint >= 0
    with floor.refused(HEALTHY):
        floor.liquidate(account, taker)


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_buy__whatever_is_shut__goes_on(floor: Floor, victim: int, obstacle: str) -> None:
    """A14, T65: for tokens as well; a little more is offered than it costs, and comes back."""
    world = floor.world
    world.open_account(2, {"BTC": 1}, equity=10**6, sub=9)
    OBSTACLES[obstacle](floor, victim)
    floor.drop(world.price_wad("ETH") * 99 // (100 * WAD))
    before = wealth(world, world.attacker)
    world.fund(world.attacker, QUOTE, 10**11)
    before += wealth(world, world.attacker) - before
    assert floor.buy(victim).return_value > 0
    assert wealth(world, world.attacker) > before


def test_liquidate__dust_deposited_before_it__refuses_only_who_asked_for_the_old_state(
    floor: Floor, victim: int
) -> None:
    """T65: front-running stops nobody who does not mind it."""
    taker, state = floor.taker(), floor.liquidator.state_of(victim)
    deposits_dust(floor, victim)
    with floor.refused(CHANGED):
        floor.liquidate(victim, taker, state=state)
    assert floor.liquidate(victim, taker).return_value > 0


# ---- A20, T64: nobody else is touched


def bystanders(floor: Floor) -> list[int]:
    """A borrower, a long, a short and a hedge, each close to its initial margin."""
    world, accounts = floor.world, []
    floor.calm()
    for sub, shape in enumerate(("spot", "long", "short", "half exposed")):
        account = world.account(sub, world.attacker)
        stake(floor, world.attacker, 20 * WAD)
        geared(floor, account, shape, 20 * WAD)
        accounts.append(account)
    return accounts


def surroundings(floor: Floor) -> list[Any]:
    """What a cascade would move: prices, rates, the venue, what trades would cost."""
    world = floor.world
    told: list[Any] = [list(world.system.oracle.marks([1, 2]))]
    for token in world.tokens.values():
        told += [token.balanceOf(world.venue), token.balanceOf(world.attacker)]
    for asset in (1, 2):
        told += [tuple(floor.perps.quote(asset, world.account(0, world.attacker), 10**15))]
        told += [world.clearinghouse.market_word(asset), world.clearinghouse.supply_word(asset)]
        told += [tuple(floor.perps.exposure_of(asset)), tuple(floor.perps.headroom_of(asset))]
    return told


@pytest.mark.parametrize("kind", VICTIMS)
def test_liquidate__others_close_to_their_margin__are_as_they_were(floor: Floor, kind: str) -> None:
    """T64, A20, I24: to the bit; no price moves, so no liquidation makes another."""
    taker = floor.taker(cash=10**6)
    account = VICTIMS[kind](floor)
    others = bystanders(floor)
    with floor.world.chain.one_block():
        assert floor.assess(account).excess_maint < 0
        around, house = surroundings(floor), words(floor, floor.house)
        before, equities = words(floor, *others), [floor.worth(other) for other in others]
        assert floor.liquidate(account, taker).return_value > 0
        assert words(floor, *others) == before and words(floor, floor.house) == house
        assert [floor.worth(other) for other in others] == equities
        assert surroundings(floor) == around


@pytest.mark.parametrize("kind", ["spot", "long"])
def test_liquidate__deficit_of_somebody_else__makes_nobody_a_debtor(
    floor: Floor, kind: str
) -> None:
    """A20: insurance and house pay what they have, and no account but the taker's owes more."""
    world, taker = floor.world, floor.taker(cash=0, ether=1_000)
    floor.insure(10**9)
    account = VICTIMS[kind](floor)
    others = [*bystanders(floor), *(world.account(sub) for sub in range(1, 4))]
    floor.drop(world.price_wad("ETH") * 6 // (10 * WAD))
    before = [floor.debt_shares(other) for other in others]
    receipt = floor.liquidate(account, taker)
    booked = floor.told(receipt, "DeficitBooked")
    assert booked.insurance_wad == 10**3 * WAD and booked.house_wad > 0
    assert [floor.debt_shares(other) for other in others] == before
    assert floor.debt_shares(floor.insurance) == floor.debt_shares(floor.house) == 0
    assert (floor.debt_shares(taker) > 0) == (kind == "spot")


def test_collect__house_without_cash_to_spare__stays_at_initial_margin_and_owes_nothing(
    world: World,
) -> None:
    """A20: nobody can take what backs the traders by collecting for insurance."""
    floor = open_floor(world, 200_000)
    for sub in range(4):
        floor.trader(sub, cash=10**6)
        floor.trade(world.account(sub), 10 * WAD)
    assert world.system.insurance_fund.collect(sender=world.attacker).return_value > 0
    for price in (2_500, 3_000, 4_000, 4_500, 5_000):
        floor.drop(price)
        floor.refresh()
        for sub in range(4):
            floor.trade(world.account(sub), -WAD // 4)
        before = floor.assess(floor.house).excess_init
        with floor.a_block_later():
            own = floor.assess(floor.house).excess_init
        world.system.insurance_fund.collect(sender=world.attacker)
        after = floor.assess(floor.house).excess_init
        assert after >= min(0, own)
        assert floor.debt_shares(floor.house) == 0
    assert before < 0, "the house is short by now"


# ---- T09, A16: lenders and providers


@dataclass(frozen=True)
class Bank:
    """Two lenders and one who comes late; nothing stands before them but what a test adds."""

    floor: Floor

    @property
    def vault(self) -> Any:
        """Of the lenders."""
        return self.floor.world.system.vault

    def enter(self, who: str, units: int) -> None:
        """Lends."""
        world = self.floor.world
        world.quote.mint(who, units, sender=world.governor)
        world.quote.approve(self.vault, UNLIMITED, sender=who)
        self.vault.deposit(units, who, sender=who)

    def value(self, who: str) -> int:
        """Token units that the shares of a lender are worth."""
        return int(self.vault.convertToAssets(self.vault.balanceOf(who)))

    def exits(self, who: str) -> list[Callable[[], Receipt]]:
        """Every way out."""
        shares = self.vault.balanceOf(who)
        return [
            lambda: self.vault.withdraw(10**6, who, who, sender=who),
            lambda: self.vault.redeem(shares, who, who, sender=who),
        ]


@pytest.fixture
def bank(world: World) -> Bank:
    """The lender has fifty million, the attacker ten."""
    bank = Bank(Floor(world))
    bank.enter(world.attacker, 10**13)
    return bank


def ruined(bank: Bank, price: int) -> tuple[int, int]:
    """A loan of a million and a half on 1,250 ETH, at a price; and a taker."""
    floor = bank.floor
    victim = floor.world.open_account("2.5", equity=10**6)
    taker = floor.taker(cash=2 * 10**6)
    floor.sink(victim)
    floor.drop(price)
    return victim, taker


def test_exit__loss_is_flagged__nobody_leaves_before_it_is_shared(bank: Bank) -> None:
    """T09, A16, I35: not in another's name, not through another's wallet; the loss of each is his
    part of it to the wei, and who came between the flag and the booking has only lost."""
    floor, vault, world = bank.floor, bank.vault, bank.floor.world
    victim, taker = ruined(bank, 1_000)
    floor.flag(victim)
    for who in (world.lender, world.attacker):
        for leave in bank.exits(who):
            with reverts(EXITS_HELD):
                leave()
        assert vault.maxWithdraw(who) == vault.maxRedeem(who) == 0
    with world.isolated():
        vault.transfer(world.stranger, vault.balanceOf(world.attacker), sender=world.attacker)
        for leave in bank.exits(world.stranger):
            with reverts(EXITS_HELD):
                leave()
        vault.approve(world.keeper, UNLIMITED, sender=world.attacker)
        with reverts(EXITS_HELD):
            vault.redeem(1, world.keeper, world.attacker, sender=world.keeper)
    bank.enter(world.keeper, 10**12)
    holders = (world.lender, world.attacker, world.keeper)
    with floor.a_block_later():
        before = [bank.value(who) for who in holders]
        assets, supply = vault.totalAssets(), vault.totalSupply()
    receipt = floor.liquidate(victim, taker)
    loss = vault.events(receipt, "BadDebtRealised")[0].args.assets
    assert loss > 250_000 * 10**6 and vault.exits_held_until() == 0
    left = vault.totalAssets()
    assert 0 <= left - (assets - loss) <= 4
    for who, old in zip(holders, before, strict=True):
        now = vault.balanceOf(who) * (left + 1) // (supply + 10**6)
        assert bank.value(who) == now
        assert abs((old - now) * assets - old * loss) <= 5 * assets
    for who in holders:
        vault.redeem(vault.balanceOf(who), who, who, sender=who)
    assert world.quote.balanceOf(world.keeper) < 10**12


def test_exit__in_the_very_block_of_the_round__leaves_ones_part_to_the_others(bank: Bank) -> None:
    """T09, A16: the documented limit. What the leaver saves is exactly his part of the loss, and he
    must be in the block before anybody flags."""
    floor, vault, world = bank.floor, bank.vault, bank.floor.world
    victim, taker = ruined(bank, 1_400)
    feed = world.feeds["ETH"]

    def outcome(*, leaves: bool) -> tuple[int, int, int]:
        """What lender and attacker have in the end, and what the vault has lost."""
        with world.isolated():
            with world.chain.one_block():
                feed.set_answer(1_000 * 10**8, sender=world.governor)
                if leaves:
                    shares = vault.balanceOf(world.attacker)
                    vault.redeem(shares, world.attacker, world.attacker, sender=world.attacker)
                floor.flag(victim)
                with reverts(EXITS_HELD):
                    vault.redeem(10**9, world.lender, world.lender, sender=world.lender)
            receipt = floor.liquidate(victim, taker)
            loss = int(vault.events(receipt, "BadDebtRealised")[0].args.assets)
            wallet = int(world.quote.balanceOf(world.attacker))
            return bank.value(world.lender), bank.value(world.attacker) + wallet, loss

    fair, quick = outcome(leaves=False), outcome(leaves=True)
    saved = quick[1] - fair[1]
    assert saved > 40_000 * 10**6
    assert 0 <= fair[0] - quick[0] - saved <= 10**6
    # A sixth of the vault saves a sixth of the loss.
    assert abs(6 * saved - fair[2]) < 10**6


def test_exit__account_still_has_equity_but_not_for_its_liquidator__nobody_leaves(
    bank: Bank,
) -> None:
    """T09: where nobody stands before the lenders they pay for the discount, too, and a flag that
    sees them pay more than a basis point of the vault holds the exits whatever the sign of the
    equity."""
    floor, vault, world = bank.floor, bank.vault, bank.floor.world
    victim, taker = ruined(bank, 1_300)

    def foreseen() -> int:
        return int(floor.liquidator.preview(victim).deficit_wad) * BPS

    while foreseen() <= vault.totalAssets() * UNIT:
        floor.drop(world.price_wad("ETH") // WAD - 1)
    assert floor.worth(victim) > 0
    floor.flag(victim)
    with world.isolated():
        receipt = floor.liquidate(victim, taker)
        assert floor.told(receipt, "DeficitBooked").lenders_wad * BPS > vault.totalAssets() * UNIT
    for who in (world.lender, world.attacker):
        for leave in bank.exits(who):
            with reverts(EXITS_HELD):
                leave()


def test_exit__of_liquidity__flagged_debt_is_borne_by_who_leaves(world: World) -> None:
    """T09, A16: two providers of the house, one of whom has asked to leave. Where the claim that
    cannot be collected is booked when he is paid, he gets no more than who stays; where it is
    flagged, no more than the discount that the liquidator is still to be paid."""
    floor, vault = Floor(world), world.system.liquidity_vault
    leaver, stayer = world.attacker, world.other_owner
    for who in (leaver, stayer):
        take_in(world, ask_in(world, who, 500_000))
        claim_shares(world, who)
    floor.refresh()
    victim = floor.trader(cash=200_000)
    floor.trade(victim, 300 * WAD)
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
    shares = int(vault.balanceOf(leaver))
    assert abs(shares - vault.balanceOf(stayer)) * 100 < shares
    epoch = ask_out(world, leaver, shares)
    wait_until(world, vault.redeem_epoch(epoch).ready_at)
    floor.drop(1_000)
    assert floor.worth(victim) < -100_000 * WAD
    taker = world.account(0, world.keeper)
    world.quote.mint(world.keeper, 10**12, sender=world.governor)
    world.quote.approve(world.clearinghouse, UNLIMITED, sender=world.keeper)
    world.clearinghouse.deposit(taker, 0, 10**12, sender=world.keeper)

    def paid(*, first: str) -> tuple[int, int]:
        """Assets for the leaver, and what the stayer's shares are worth in the end."""
        with world.isolated():
            if first == "flag":
                vault.flag_bad_debt(victim, sender=world.stranger)
            if first == "booking":
                floor.liquidate(victim, taker, sender=world.keeper)
            vault.fulfil_redemptions(epoch, sender=leaver)
            if first != "booking":
                floor.liquidate(victim, taker, sender=world.keeper)
            assert vault.bad_debt_of(victim) == 0
            own = int(vault.convertToAssets(vault.balanceOf(stayer)))
            return int(vault.maxWithdraw(leaver)), own

    fair = paid(first="booking")
    assert 0 < fair[0] <= fair[1]
    left, stayed = paid(first="flag")
    assert left - stayed <= floor.liquidator.preview(victim).discount_wad // UNIT
    # The limit: paid out before anybody flags, he leaves his part to the other, and no more.
    left, stayed = paid(first="leaver")
    assert 0 < left - fair[0] <= -floor.worth(victim) // UNIT
    assert abs((left - fair[0]) - (fair[1] - stayed)) * 50 < left


# ---- T15: blocked people


@pytest.fixture
def blocked() -> Iterator[World]:
    """The issuer of the quote token can block holders; the house has a million."""
    world = odd_world("BlocklistToken")
    with world.isolated():
        world.fund(world.attacker, QUOTE, 10**12)
        house = world.system.house
        world.clearinghouse.deposit(house, 0, 10**12, sender=world.attacker)
        world.system.perps.refresh(sender=world.keeper)
        yield world


def blocked_victims(floor: Floor) -> list[int]:
    """A borrower and a long, of two owners, just below maintenance."""
    world = floor.world
    first = world.open_account("2.5")
    second = world.account(0, world.attacker)
    world.deposit(second, QUOTE, 6_000 * 10**6)
    floor.trade(second, 10 * WAD)
    world.borrow(second, excess_init(world, second) // UNIT - 10**6)
    floor.sink(first, second)
    return [first, second]


@pytest.mark.parametrize("who", ["owner", "other_owner", "attacker", "keeper", "everybody"])
def test_liquidate__quote_token_blocks_people__changes_hands_in_place(
    blocked: World, who: str
) -> None:
    """T15: the victim, the taker, the caller or all of them."""
    world, floor = blocked, Floor(blocked)
    victims, taker = blocked_victims(floor), floor.taker()
    allow = world.mandates.set_operator
    allow(taker, world.keeper, MAY_LIQUIDATE, NEVER, sender=world.other_owner)
    people = ["owner", "other_owner", "attacker", "keeper"] if who == "everybody" else [who]
    for person in people:
        world.quote.set_blocked(getattr(world, person), True, sender=world.governor)
    for victim in victims:
        before = floor.worth(taker)
        assert floor.liquidate(victim, taker, sender=world.keeper).return_value > 0
        assert floor.worth(taker) > before and floor.assess(victim).excess_maint >= 0


def test_buy__receiver_or_buyer_is_blocked__only_his_own_purchase_fails(blocked: World) -> None:
    """T15: of a blocked token as collateral, and of the quote token; others buy as if nothing
    were."""
    world, floor = blocked, Floor(blocked)
    token = world.chain.deploy("BlocklistToken", sender=world.governor)
    feed, victims = list_token(world, token), []
    for sub in (0, 1):
        victim = world.account(sub)
        token.mint(world.owner, 250 * 10**6, sender=world.governor)
        token.approve(world.clearinghouse, UNLIMITED, sender=world.owner)
        world.clearinghouse.deposit(victim, EXTRA_ID, 250 * 10**6, sender=world.owner)
        world.deposit(victim, "ETH", WAD)
        world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
        victims.append(victim)
    feed.set_answer(82 * 10**8, sender=world.governor)
    world.chain.mine()
    assert all(floor.assess(victim).excess_maint < 0 for victim in victims)
    token.set_blocked(world.stranger, True, sender=world.governor)
    with floor.refused("token: holder is blocked"):
        floor.buy(victims[0], receiver=world.stranger)
    assert floor.buy(victims[0], receiver=world.keeper).return_value > 0
    assert token.balanceOf(world.keeper) > 0
    token.set_blocked(world.stranger, False, sender=world.governor)
    world.fund(world.attacker, QUOTE, 10**12)
    world.quote.set_blocked(world.attacker, True, sender=world.governor)
    with floor.refused("token: holder is blocked"):
        floor.buy(victims[1])
    world.quote.set_blocked(world.owner, True, sender=world.governor)
    assert floor.liquidate(victims[1], floor.taker()).return_value > 0


# ---- T48, T49: the largest account


LIST_FULL = "ledger: asset list full"
PLAIN_GAS, RESCUE_GAS = 2_500_000, 4_800_000
RESCUE_AT_MOST = 2_700_000  # what `rescue` is given, and what calling it costs


@dataclass(frozen=True)
class Crowd:
    """Sixteen assets, each with a perpetual against half of its collateral or on top of it; the
    taker holds some of all and the other side of each perpetual. Feeds are as dear as those in
    production."""

    floor: Floor
    victim: int
    taker: int

    def fall(self, part: int) -> None:
        """All prices, by per mille."""
        world = self.floor.world
        for name in world.names:
            price = world.price_wad(name) * (1_000 - part) // 1_000
            self.floor.world.set_price(name, Decimal(price // 10**10).scaleb(-8), is_poked=False)

    def sink(self) -> None:
        """Below maintenance, slightly."""
        while self.floor.assess(self.victim).excess_maint >= 0:
            self.fall(10)

    def gas_of_liquidation(self) -> tuple[int, Receipt]:
        """As of a transaction of its own, with everything cold."""
        self.floor.world.chain.cool()
        receipt = self.floor.liquidate(self.victim, self.taker, gas=16_000_000)
        return receipt.gas_used, receipt


def crowd_of(markets: int) -> Crowd:
    """With so many perpetuals; the others are collateral alone."""
    terms = load_parameters()["assets"]["ETH"]["perpetual"]
    terms = terms | {"weight_bps": BPS // max(2, markets)}
    # Markets of ether and bitcoin come with their parameters; nobody trades them unless he is told.
    specs = {
        name: AssetSpec(
            spec.decimals, spec.price, {"perpetual": terms} if n < max(2, markets) else {}
        )
        for n, (name, spec) in enumerate(many_assets(16).items())
    }
    floor = open_floor(build_world(specs), 10**8)
    world = floor.world
    victim, taker = world.account(), floor.taker(cash=10**7)
    for name in world.names:
        for account, value in ((victim, 10_000), (taker, 1_000)):
            units = value * WAD * WAD // (world.price_wad(name) * world.unit_wad(name))
            world.deposit(account, name, units)
    for number, name in enumerate(world.names[:markets]):
        size = 5_000 * WAD * WAD // world.price_wad(name) // 10**9 * 10**9
        sign = -1 if number % 2 else 1
        floor.refresh()
        floor.trade(victim, sign * size, name)
        floor.trade(taker, -sign * size // 2 // 10**9 * 10**9, name)
    world.refresh()
    for name in world.names:
        _, _, heartbeat_s, low_log2, high_log2 = world.system.oracle.feed_of(world.asset(name))
        dear = world.chain.deploy("DearFeed", world.feeds[name], sender=world.governor)
        world.system.oracle.set_feed(
            *(world.asset(name), dear, heartbeat_s, low_log2, high_log2, world.price_wad(name)),
            sender=world.governor,
        )
    world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
    assert world.clearinghouse.listed_word(victim) >> 128 & 255 == 16
    return Crowd(floor, victim, taker)


@pytest.mark.parametrize("markets", [8, 16])
def test_liquidate__largest_account__fits_a_transaction(
    markets: int, record_property: Callable[[str, object], None]
) -> None:
    """T48, I47: a slice, a slice after a rescue that burns all of its gas, and the whole of an
    account that others have to pay for."""
    crowd = crowd_of(markets)
    floor, world = crowd.floor, crowd.floor.world
    hook = deploy_hook(world)
    hand_over(world, crowd.victim, hook)
    hook.set_mode(BURNS, sender=world.attacker)
    crowd.sink()
    with_rescue, receipt = crowd.gas_of_liquidation()
    assert floor.names_of(receipt)[0] == "RescueFailed" and 0 < receipt.return_value < WAD
    world.mandates.revoke(crowd.victim, sender=world.owner)
    crowd.sink()
    plain, receipt = crowd.gas_of_liquidation()
    assert "RescueFailed" not in floor.names_of(receipt) and 0 < receipt.return_value < WAD
    assert len(floor.told(receipt, "HoldingsTaken").holdings) == 16
    floor.put_terms(house_day_bps=1)
    crowd.fall(500)
    whole, receipt = crowd.gas_of_liquidation()
    booked = floor.told(receipt, "DeficitBooked")
    assert receipt.return_value == WAD and booked.house_wad > 0 and booked.lenders_wad > 0
    figures = f"slice {plain:,}, after a failed rescue {with_rescue:,}, with a deficit {whole:,}"
    record_property("told", f"gas with {markets} perpetuals: {figures}")
    assert max(plain, whole) <= PLAIN_GAS, figures
    # All that a rescue can burn is what it is given, before the rest goes on.
    assert with_rescue < plain + RESCUE_AT_MOST and max(plain, whole) + RESCUE_AT_MOST <= RESCUE_GAS


def test_buy__largest_account__fits_a_transaction(
    record_property: Callable[[str, object], None],
) -> None:
    """T48: sixteen tokens are handed on."""
    crowd = crowd_of(0)
    floor, world = crowd.floor, crowd.floor.world
    crowd.sink()
    world.fund(world.attacker, QUOTE, 10**12)
    world.quote.approve(world.system.token_liquidator, 10**12, sender=world.attacker)
    world.chain.cool()
    receipt = floor.buy(crowd.victim, most=10**12)
    record_property("told", f"gas of a purchase: {receipt.gas_used:,}")
    assert 0 < receipt.return_value < WAD and receipt.gas_used <= PLAIN_GAS
    assert all(world.tokens[name].balanceOf(world.attacker) > 0 for name in world.names)


def test_rescue__largest_account__has_gas_enough(
    record_property: Callable[[str, object], None],
) -> None:
    """T48: a hook that brings cash helps the largest account, too, dear feeds or not."""
    crowd = crowd_of(16)
    floor, world = crowd.floor, crowd.floor.world
    hook = deploy_hook(world)
    hand_over(world, crowd.victim, hook, (11_000, 10_000, 1_000, 0, 10**7 * WAD, DAY_S))
    world.fund(world.owner, QUOTE, 10**13)
    crowd.sink()
    missing = -excess_init(world, crowd.victim) // UNIT
    # As much work as a default hook with a full plan: reading the account for each of eight steps.
    reading = may(world.system.oracle, "marks", list(range(1, 17)))
    script = [*[reading] * 4, must(world.mandates, "pull", missing + 10**9)]
    hook.set_script(script, sender=world.attacker)
    gas, receipt = crowd.gas_of_liquidation()
    record_property("told", f"gas of a rescue: {gas:,}")
    assert floor.names_of(receipt)[-1] == "Rescued" and gas <= RESCUE_GAS


def test_liquidate__dust_of_all_assets_from_strangers__changes_nothing() -> None:
    """T49: a stranger fills nobody's list; what he adds to what is there is the victim's."""
    world = shared_world(17)
    with world.isolated():
        floor = open_floor(world)
        victim, taker = spot_victim(floor), floor.taker()
        listed = world.clearinghouse.listed_word(victim)
        for name in world.names:
            world.fund(world.attacker, name, 10**9)
            for account in (victim, taker):
                try:
                    world.clearinghouse.deposit(
                        account, world.asset(name), 1, sender=world.attacker
                    )
                except Reverted as error:
                    assert error.reason == NOT_PERMITTED
                else:
                    assert (name, account) == ("ETH", victim)
        assert world.clearinghouse.listed_word(victim) == listed
        assert world.clearinghouse.listed_word(taker) == 0
        _, part = floor.foresee(victim)
        assert floor.liquidate(victim, taker).return_value == part.fraction_wad


def test_liquidate__taker_with_a_full_list__takes_with_an_empty_sub_account() -> None:
    """T48: his own list is his own business, and any sub-account of his will do."""
    world = shared_world(17)
    with world.isolated():
        floor = open_floor(world)
        victim = spot_victim(floor)
        full, empty = floor.taker(), floor.taker(1)
        for name in world.names[1:]:
            world.deposit(full, name, 10 ** world.decimals(name))
        with floor.refused(LIST_FULL):
            floor.liquidate(victim, full)
        assert floor.liquidate(victim, empty).return_value > 0


# ---- T58, T66, and calling again and again


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 50, 10**4, 10**6, 10**9])
@pytest.mark.parametrize("cash", [0, 7])
def test_rescue__of_any_account__leaves_it_at_initial_margin(
    floor: Floor, victim: int, spare: int, cash: int
) -> None:
    """T58: whatever is to spare, and whether the pay is cash or a loan at an index that does not
    divide; it is a hundredth of the requirement at most."""
    world, taker = floor.world, floor.taker(cash=0)
    world.open_account(2, {"BTC": 1}, equity=10**7, sub=9)
    world.wait(200 * DAY_S + cash)
    hook = deploy_hook(world)
    hand_over(world, victim, hook, WALLET_GUARD)
    world.fund(world.owner, QUOTE, 10**12)
    floor.sink(victim)
    with floor.a_block_later():
        world.chain.advance(BLOCK_INTERVAL_S)
        missing = -excess_init(world, victim) // UNIT
        required = floor.assess(victim).required_maint
    # A repayment may burn a loan share too few, which costs a unit.
    pull = must(world.mandates, "pull", missing + 2 + spare)
    hook.set_script([pull], sender=world.attacker)
    told = floor.told(floor.liquidate(victim, taker), "Rescued")
    assert excess_init(world, victim) >= 0
    assert told.pay_wad <= min((spare + 3) * UNIT, required // 100 + UNIT)
    assert spare < 10**6 or told.pay_wad > 0


def test_flag_liquidate_rescue__ten_times_over__earns_what_once_earns(
    floor: Floor, victim: int
) -> None:
    """T58: the second call of each has nothing to do, and nobody is paid for having called."""
    world = floor.world
    taker = world.account(0, world.attacker)
    world.deposit(taker, QUOTE, 10**11)
    gang = Gang(floor, (world.attacker,))
    for _ in range(10):
        gang.start()
        floor.liquidator.flag(victim, sender=world.attacker)
        assert gang.profit == 0
    gang.start()
    floor.liquidate(victim, taker)
    assert (once := gang.profit) > 0
    for _ in range(10):
        with reverts(HEALTHY):
            floor.liquidate(victim, taker)
        floor.liquidator.flag(victim, sender=world.attacker)
        world.system.insurance_fund.collect(sender=world.attacker)
    assert gang.profit <= once


def test_rescue__ten_times_over__is_paid_when_it_helped_and_not_again(floor: Floor) -> None:
    """T58: an account that is at initial margin again pays nobody, so a keeper cannot milk a
    hook."""
    world = floor.world
    victim = spot_victim(floor, is_enrolled=True)
    taker = world.account(0, world.attacker)
    world.deposit(taker, QUOTE, 10**9)
    gang = Gang(floor, (world.attacker,))
    gang.start()
    required = floor.assess(victim).required_maint
    floor.told(floor.liquidate(victim, taker), "Rescued")
    once = gang.profit
    assert 0 < once <= required // 100
    for _ in range(10):
        with reverts(HEALTHY):
            floor.liquidate(victim, taker)
        world.chain.advance(600)
    assert gang.profit <= once


@pytest.mark.parametrize("blocks", [100, 7_200, 200_000])
def test_discount__blocks_without_a_liquidation__is_at_its_most_and_no_more(
    floor: Floor, victim: int, blocks: int
) -> None:
    """T66: nothing ends, nothing becomes free; whoever fills blocks waits for a fifth of R as
    well."""
    taker = floor.taker()
    since = keep_flagged(floor, victim)
    most = floor.liquidator.preview(victim)
    assert most.discount_wad == most.required_wad // 5
    with floor.world.isolated():
        floor.world.chain.mine(blocks)
        late = floor.liquidator.preview(victim)
        assert late.discount_wad <= late.required_wad // 5
        assert floor.liquidate(victim, taker).return_value > 0
    # And who goes on looking finds the same.
    for _ in range(5):
        floor.world.chain.advance(500)
        assert floor.flag(victim).return_value == since
        now = floor.liquidator.preview(victim)
        assert now.discount_wad == now.required_wad // 5


def test_discount__flag_of_a_breach_that_was_over__does_not_count(floor: Floor) -> None:
    """T31: who flagged an account when it was below for a moment has no better price of it later,
    though nobody reported the cure."""
    world = floor.world
    victim = spot_victim(floor)
    floor.flag(victim)
    price = world.price_wad("ETH") // WAD
    floor.drop(price + 50)
    assert floor.assess(victim).excess_maint >= 0
    world.chain.advance(DAY_S)
    floor.drop(price + 50)
    floor.drop(price)
    with world.isolated():
        # As of an account that nobody ever flagged.
        floor.drop(price + 50)
        floor.flag(victim)
        floor.drop(price)
        fresh = floor.liquidator.preview(victim)
    assert fresh.fraction_wad > 0 and floor.liquidator.flagged_since(victim) == (0, 0)
    stale = floor.liquidator.preview(victim)
    assert stale.discount_wad * fresh.required_wad <= (fresh.discount_wad + WAD // 100) * (
        stale.required_wad
    )


# ---- T59, T64, T05: slices


@pytest.mark.parametrize("shape", SHAPES)
def test_liquidate__falling_further_and_further__health_rises_until_nothing_is_left(
    calm: Floor, shape: str
) -> None:
    """T59, T64, I13: each slice raises health while equity covers the discount, cures to 1.25 or
    takes all, and the price it is made at gets worse by 1% each time; the last leaves nothing and
    no dust."""
    world, account = calm.world, calm.world.account(0, calm.world.attacker)
    taker = calm.taker(cash=10**7)
    stake(calm, world.attacker)
    gang = gang_of(calm)
    geared(calm, account, shape)
    slices, bonus = 0, 0
    first = calm.assess(account).required_maint
    part_of_price = 99 if exposure_of(calm, account) > 0 else 101
    while calm.assess(account).required_maint:
        while calm.assess(account).excess_maint >= 0:
            gang.move(world.price_wad("ETH") * part_of_price // 100)
        before = calm.assess(account)
        part = calm.liquidator.preview(account)
        receipt = calm.liquidate(account, taker)
        after = calm.assess(account)
        bonus += calm.told(receipt, "Liquidated").bonus_wad
        slices += 1
        if receipt.return_value < WAD:
            assert part.equity_wad > part.discount_wad
            assert (
                after.equity_maint * before.required_maint
                > before.equity_maint * after.required_maint
            )
            assert abs(after.equity_maint * 100 - after.required_maint * 125) <= 1_000 * UNIT
            assert after.required_maint >= 25 * WAD - UNIT
        assert after.excess_maint >= 0 and slices < 80
    assert slices > 3
    assert calm.cash(account) >= 0 and calm.debt_shares(account) == 0
    # All of them cost no more than a discount on everything, at nine tenths of a requirement that a
    # rising price may have multiplied.
    assert bonus < first * 9 // 10 or shape in ("hedged", "short")


@pytest.mark.parametrize("fall_bps", [1, 20, 200])
def test_liquidate__many_small_steps__bring_no_more_than_one_large_one(
    calm: Floor, fall_bps: int
) -> None:
    """T05, A18: a liquidator who comes at every tick of a fall of 30% against one who comes at its
    end with the discount at its most. At one price there is one slice; the next needs another
    price."""
    world, account = calm.world, calm.world.account(0, calm.world.attacker)
    taker = calm.taker(cash=10**7)
    stake(calm, world.attacker)
    gang = gang_of(calm)
    geared(calm, account, "spot")
    to_the_edge(gang, account)
    least = world.price_wad("ETH") * 7 // 10
    first = calm.assess(account).required_maint
    gain, slices, held = 0, 0, calm.held(account).collateral_wad
    while world.price_wad("ETH") > least and calm.assess(account).required_maint:
        gang.move(world.price_wad("ETH") * (BPS - fall_bps) // BPS)
        if calm.assess(account).excess_maint >= 0:
            continue
        receipt = calm.liquidate(account, taker)
        told = calm.told(receipt, "Liquidated")
        gain += told.bonus_wad - told.fee_wad
        slices += 1
        with reverts(HEALTHY):
            calm.liquidate(account, taker)
    assert slices >= 5
    taken = held - calm.held(account).collateral_wad
    assert taken > 0
    # One slice of everything at the full discount, a fifth of R, of which insurance gets a fifth.
    assert gain <= first // 5 * 8_000 // BPS


def test_liquidate__account_in_many_parts__pays_no_more_than_in_one(calm: Floor) -> None:
    """T05: eight accounts of an eighth each, at the same price, to a unit of rounding each."""
    world, taker = calm.world, calm.taker(cash=10**7)
    people = (world.owner, world.attacker)
    whole = world.account(0, people[0])
    parts = [world.account(sub, people[1]) for sub in range(8)]
    for account, gross in [(whole, GROSS), *((part, GROSS // 8) for part in parts)]:
        world.deposit(account, "ETH", gross)
        world.borrow(account, gross * 1_600 // WAD * 10**6)
    calm.drop(1_740)
    gains, taken = [], []
    for accounts in ([whole], parts):
        with world.isolated():
            before = calm.held(taker).collateral_wad
            with calm.a_block_later():
                own = calm.worth(taker)
            with world.chain.one_block():
                for account in accounts:
                    assert 0 < calm.liquidate(account, taker).return_value < WAD
            gains.append(calm.worth(taker) - own)
            taken.append(calm.held(taker).collateral_wad - before)
    assert gains[0] > 1_000 * WAD
    assert gains[1] <= gains[0] + 2 * UNIT
    assert abs(taken[1] - taken[0]) < 10**14
