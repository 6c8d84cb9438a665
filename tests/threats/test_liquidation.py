"""Attacks on liquidation: by the owner, his hook, the liquidator, lenders, and by nobody in particular.

A3, A9, A11, A14, A16, A18, A20, and of the catalogue T05, T09, T15, T16, T24, T31, T48, T49, T51, T58,
T59, T60, T64, T65, T66. Whoever attacks is a `Gang`, and what it is worth is measured over all of its
accounts and wallets at the oracle's prices, as if it had sold its exposure elsewhere beforehand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from ballast.chain import BLOCK_INTERVAL_S, Contract, Receipt, Reverted, RevmChain
from ballast.deploy import Market, account_id, deploy, load_parameters
from ballast.model.margin import BPS, WAD
from tests.clearing_kit import UNIT, action, debt_units, excess_init
from tests.conftest import reverts
from tests.liquidation_kit import (
    ANY_STATE,
    CENT_WAD,
    Floor,
    hedger,
    long_victim,
    open_floor,
    short_victim,
    spot_victim,
)
from tests.support.fixtures import shared_world
from tests.support.hooks import (
    ANSWERS_BOMB,
    BURNS,
    LOOSEST_GUARD,
    REVERTS,
    REVERTS_BARE,
    REVERTS_BOMB,
    Call,
    deploy_hook,
    hand_over,
    may,
    must,
    outcomes,
)
from tests.support.world import (
    QUOTE,
    UNLIMITED,
    ZERO_ADDRESS,
    AssetSpec,
    World,
    build_world,
    many_assets,
)
from tests.threats.kit import (
    EXTRA_ID,
    ask_in,
    ask_out,
    claim_shares,
    equity,
    list_token,
    take_in,
    trade_wad,
    wait_until,
    wealth,
)

HEALTHY = "liquidator: account is healthy"
OWN_ACCOUNT = "liquidator: own account"
JUST_INCREASED = "liquidator: risk just increased"
BUSY = "liquidator: clearinghouse busy"
CHANGED = "liquidator: account changed"
NOT_PERMITTED = "operators: not permitted"
EXITS_HELD = "vault: exits wait for a loss"
ETH = 1
MAY_LIQUIDATE, MAY_DO_ALL = 32, 63
NEVER = 2**40 - 1
HOUR_S, DAY_S = 3_600, 86_400
RAMP_S = 1_200
# A repayment burns loan shares down and a debt counts up: each move of a loan may cost a unit.
ROUNDING_WAD = 4 * UNIT


@pytest.fixture
def floor(world: World) -> Floor:
    """Two markets whose house has ten million."""
    return open_floor(world)


@pytest.fixture
def victim(floor: Floor) -> int:
    """12.5 ETH against a loan of 15,000, just below maintenance."""
    account = floor.world.open_account("2.5")
    floor.sink(account)
    return account


@cache
def calm_world() -> World:
    """After nine quiet days all rates are at their floors, where margins are thinnest."""
    world = build_world()
    for _ in range(220):
        world.wait(HOUR_S)
    return world


@pytest.fixture
def calm() -> Iterator[Floor]:
    """Rates at their floors, a house of a hundred million, a rich insurance."""
    world = calm_world()
    with world.isolated():
        floor = open_floor(world, 10**8)
        floor.insure(10**12)
        risk = floor.mark().risk
        assert (risk.r_init_e6, risk.l_init_e6) == (150_000, 20_000)
        assert (risk.r_maint_e6, risk.l_maint_e6) == (80_000, 10_000)
        yield floor


@dataclass
class Gang:
    """People who act as one, each with four accounts; `profit` is what they have made since `start`.

    A move of the price is no profit: what the gang is exposed to is taken to be sold elsewhere.
    """

    floor: Floor
    people: tuple[str, ...]
    base_wad: int = 0

    @property
    def accounts(self) -> list[int]:
        """All of their accounts."""
        return [self.floor.world.account(sub, who) for who in self.people for sub in range(4)]

    def worth(self) -> int:
        """Of all wallets and accounts."""
        world = self.floor.world
        own = sum(equity(world, account) for account in self.accounts)
        return own + sum(wealth(world, who) for who in self.people)

    def exposure(self) -> int:
        """Units of ether for which they gain or lose when its price moves."""
        world, total = self.floor.world, 0
        for account in self.accounts:
            held = self.floor.held(account)
            total += held.collateral_wad + held.size_wad
        return total + sum(int(world.tokens["ETH"].balanceOf(who)) for who in self.people)

    def start(self) -> None:
        """From here on profit counts."""
        self.base_wad = self.worth()

    def move(self, price_wad: int) -> None:
        """A new round of ether, down to a cent."""
        world, units, old = self.floor.world, self.exposure(), self.floor.world.price_wad("ETH")
        world.set_price("ETH", Decimal(price_wad // CENT_WAD).scaleb(-2), is_poked=False)
        self.base_wad += units * (world.price_wad("ETH") - old) // WAD

    @property
    def profit(self) -> int:
        """WAD of the quote token."""
        return self.worth() - self.base_wad


def gang_of(floor: Floor) -> Gang:
    """Two names that belong to one person."""
    world = floor.world
    gang = Gang(floor, (world.attacker, world.other_owner))
    gang.start()
    return gang


def paid_by_others(floor: Floor, receipt: Receipt) -> int:
    """What a deficit took from insurance, house, lenders and claims."""
    booked = floor.liquidator.events(receipt, "DeficitBooked")
    return sum(sum(tuple(event.args)[1:]) for event in booked)


# ---- accounts geared to the last dollar

# Collateral and perpetual of ether, in hundredths of the gross.
SHAPES: Mapping[str, tuple[int, int]] = {
    "spot": (100, 0),
    "three quarters exposed": (87, -12),
    "half exposed": (75, -25),
    "a fifth exposed": (60, -40),
    "a seventh exposed": (57, -43),
    "a twentieth exposed": (52, -47),
    "hedged": (50, -50),
    "long": (0, 100),
    "short": (0, -100),
    "short beyond its collateral": (42, -57),
}
GROSS = 400 * WAD


def stake(floor: Floor, owner: str, gross: int = GROSS) -> None:
    """Enough in a wallet for any shape."""
    world = floor.world
    world.fund(owner, "ETH", gross)
    world.fund(owner, QUOTE, gross * world.price_wad("ETH") // WAD // UNIT)


def geared(floor: Floor, account: int, shape: str, gross: int = GROSS) -> None:
    """All the debt that initial margin allows, paid out to the owner, less a dollar."""
    world = floor.world
    collateral, size = (part * gross // 100 for part in SHAPES[shape])
    owner = world.owner_of(account)
    world.deposit(account, "ETH", collateral)
    if size:
        if not collateral:
            world.deposit(account, QUOTE, abs(size) * world.price_wad("ETH") // WAD // UNIT)
        floor.refresh()
        floor.trade(account, size)
    world.borrow(account, excess_init(world, account) // UNIT - 10**6, owner)
    assert 0 <= excess_init(world, account) < 2 * WAD


def exposure_of(floor: Floor, account: int) -> int:
    held = floor.held(account)
    return held.collateral_wad + held.size_wad


def jump(gang: Gang, account: int, part_bps: int) -> None:
    """Against the account, at once."""
    price = gang.floor.world.price_wad("ETH")
    sign = -1 if exposure_of(gang.floor, account) >= 0 else 1
    gang.move(price + sign * price * part_bps // BPS)


def to_the_edge(gang: Gang, account: int) -> None:
    """The price moves against an account until maintenance is a few dollars away."""
    floor = gang.floor
    held, exposed = floor.held(account), exposure_of(floor, account)
    slope = abs(exposed) * 12 // 10 + (held.collateral_wad + abs(held.size_wad)) // 50
    while exposed == 0 and floor.assess(account).excess_maint >= WAD * 200:
        # Of a hedge only the requirement moves.
        gang.move(floor.world.price_wad("ETH") * 1_005 // 1_000)
    while exposed:
        step = floor.assess(account).excess_maint * WAD // slope * 8 // 10
        if step < 2 * CENT_WAD:
            break
        gang.move(floor.world.price_wad("ETH") - (step if exposed > 0 else -step))
    assert 0 <= floor.assess(account).excess_maint


# ---- T31, T51: liquidating oneself

JUMPS_BPS = (100, 250, 500)
FLAGS = ("none", "after the jump", "left over")
# What a jump of 5% from the very edge of maintenance may cost others at most, of gross.
MOST_PAID_BPS = 65


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("part_bps", JUMPS_BPS)
def test_self_liquidation__one_jump_from_initial_margin__nothing_to_liquidate(
    calm: Floor, shape: str, part_bps: int
) -> None:
    """T31, T51: a second name tries in the block of the round, in the next and twenty minutes on."""
    world, account, taker = calm.world, calm.world.account(0, calm.world.attacker), calm.taker()
    stake(calm, world.attacker)
    gang = gang_of(calm)
    geared(calm, account, shape)
    with world.isolated(), world.chain.one_block():
        jump(gang_of(calm), account, part_bps)
        with reverts(HEALTHY):
            calm.liquidate(account, taker)
    jump(gang, account, part_bps)
    calm.flag(account)
    for wait_s in (0, RAMP_S):
        world.chain.advance(wait_s)
        with calm.refused(HEALTHY):
            calm.liquidate(account, taker)
    assert gang.profit <= 0


def keep_flagged(floor: Floor, account: int) -> int:
    """Somebody looks every five minutes until the discount is at its most; since when it counts."""
    since = floor.flag(account).time
    while floor.world.chain.time < since + RAMP_S:
        floor.world.chain.advance(300)
        assert floor.flag(account).return_value == since
    return since


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


def from_the_edge(calm: Floor, shape: str, part_bps: int, flag: str) -> tuple[Gang, int]:
    """One jump makes an account that nobody could liquidate before liquidate itself by an operator
    of a second name; returns what others paid, too. All costs since it was opened count."""
    world = calm.world
    account, taker = world.account(0, world.attacker), calm.taker(cash=10**7)
    allow = world.mandates.set_operator
    allow(taker, world.keeper, MAY_LIQUIDATE, NEVER, sender=world.other_owner)
    stake(calm, world.attacker)
    world.quote.mint(world.attacker, 10**9, sender=world.governor)
    gang = gang_of(calm)
    geared(calm, account, shape)
    to_the_edge(gang, account)
    if flag == "left over":
        leave_a_flag(gang, account)
    jump(gang, account, part_bps)
    assert calm.assess(account).excess_maint < 0
    if flag == "after the jump":
        keep_flagged(calm, account)
    paid = 0
    while calm.assess(account).excess_maint < 0:
        receipt = calm.liquidate(account, taker, sender=world.keeper)
        assert receipt.return_value > 0
        paid += paid_by_others(calm, receipt)
    return gang, paid


EXPOSED = [shape for shape in SHAPES if shape != "hedged"]


@pytest.mark.parametrize("shape", EXPOSED)
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("part_bps", JUMPS_BPS)
def test_self_liquidation__one_jump_from_the_edge_of_maintenance__earns_nothing(
    calm: Floor, shape: str, flag: str, part_bps: int
) -> None:
    """T31, T51"""
    gang, _ = from_the_edge(calm, shape, part_bps, flag)
    assert gang.profit <= 0


@pytest.mark.parametrize("shape", EXPOSED)
@pytest.mark.parametrize("flag", FLAGS)
def test_self_liquidation__one_jump_from_the_edge_of_maintenance__costs_others_little(
    calm: Floor, shape: str, flag: str
) -> None:
    """T31: where the charge on gross is most of the requirement, and nothing elsewhere."""
    _, paid = from_the_edge(calm, shape, 500, flag)
    gross = GROSS * calm.world.price_wad("ETH") // WAD
    assert paid * BPS <= MOST_PAID_BPS * gross


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
    world, vault = calm.world, calm.world.system.vault
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
        assert calm.cash(account) + calm.debt_shares(account) < 2 * UNIT
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

WALLET_GUARD = (11_000, 10_000, 1_000, 0, 10**6 * WAD, DAY_S)


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


def plays(floor: Floor, hook: Contract) -> Callable[..., None]:
    """What it does in its mandate."""

    def tell(*script: Call) -> None:
        hook.set_script(list(script), sender=floor.world.attacker)

    return tell


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


def words(floor: Floor, *accounts: int) -> list[Any]:
    """All that accounts hold, and what is open in the market of ether."""
    ledger = floor.world.clearinghouse
    own = [list(ledger.words_of(account)) for account in accounts]
    return [*own, tuple(floor.perps.exposure_of(ETH))]


@pytest.mark.parametrize("kind", HOOKS)
def test_liquidate__hostile_hook_of_the_victim__all_is_as_without_it(
    floor: Floor, victim: int, kind: str
) -> None:
    """A9, T60: neither veto nor tax, and the rescue is over in the same call; a wallet and a sibling
    that it reached for are as they were, too."""
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
@pytest.mark.parametrize("insurance_bps", [2_000, 5_000])
def test_liquidate__at_the_full_discount__leaves_the_taker_what_leaving_costs(
    calm: Floor, shape: str, insurance_bps: int
) -> None:
    """A11: at least 35 bp of everything he takes, also while insurance takes the most it may; at the
    least rates that the oracle accepts, and however thin the account is."""
    world, account = calm.world, calm.world.account(0, calm.world.attacker)
    taker = calm.taker(cash=10**7)
    calm.put_terms(insurance_bps=insurance_bps)
    stake(calm, world.attacker)
    gang = gang_of(calm)
    geared(calm, account, shape)
    to_the_edge(gang, account)
    while calm.assess(account).excess_maint >= 0:
        jump(gang, account, -20 if shape == "hedged" else 20)
    keep_flagged(calm, account)
    price = world.price_wad("ETH")
    with calm.a_block_later():
        before = calm.worth(taker)
    receipt = calm.liquidate(account, taker)
    told, holdings = calm.told(receipt, "Liquidated"), calm.told(receipt, "HoldingsTaken")
    gross = sum(h.collateral_wad + abs(h.size_wad) for h in holdings.holdings) * price // WAD
    assert gross > 10_000 * WAD
    assert (told.bonus_wad - told.fee_wad) * BPS >= 35 * gross
    assert (calm.worth(taker) - before + ROUNDING_WAD) * BPS >= 35 * gross


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
VICTIMS: Mapping[str, Callable[[Floor], int]] = {
    "spot": spot_victim,
    "half hedged": lambda floor: hedger(floor, 5),
    "hedged": lambda floor: hedger(floor, 10),
    "long": long_victim,
    "short": short_victim,
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
    """A14, T65: a victim slightly below maintenance is cured, one far below zero is taken whole; the
    taker has cash, and neither he nor anybody else needs a loan."""
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
def test_liquidate__deficit_of_somebody_else__makes_nobody_a_debtor(floor: Floor, kind: str) -> None:
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

    def outcome(*, leaves: bool) -> tuple[int, int]:
        """What lender and attacker have in the end."""
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
            assert vault.events(receipt, "BadDebtRealised")
            wallet = int(world.quote.balanceOf(world.attacker))
            return bank.value(world.lender), bank.value(world.attacker) + wallet

    fair, quick = outcome(leaves=False), outcome(leaves=True)
    saved = quick[1] - fair[1]
    assert saved > 40_000 * 10**6
    assert 0 <= fair[0] - quick[0] - saved <= 10**6
    # A sixth of the vault saves a sixth of the loss.
    loss = 6 * saved
    assert abs(loss - (275_000 + 28_000) * 10**6) < 20_000 * 10**6


@pytest.mark.parametrize("price", [1_225, 1_210])
def test_exit__account_still_has_equity_but_not_for_its_discount__nobody_leaves(
    bank: Bank, price: int
) -> None:
    """T09: where nobody stands before the lenders they pay for the discount, too, and a flag that
    sees E < d R foresees a loss of more than a basis point of the vault."""
    floor, vault, world = bank.floor, bank.vault, bank.floor.world
    victim, taker = ruined(bank, price)
    preview = floor.liquidator.preview(victim)
    assert preview.equity_wad > 0
    assert preview.deficit_wad * BPS > vault.totalAssets() * UNIT
    floor.flag(victim)
    with world.isolated():
        receipt = floor.liquidate(victim, taker)
        assert floor.told(receipt, "DeficitBooked").lenders_wad * BPS > vault.totalAssets() * UNIT
    for who in (world.lender, world.attacker):
        for leave in bank.exits(who):
            with reverts(EXITS_HELD):
                leave()


def test_exit__of_liquidity__flagged_debt_is_borne_by_who_leaves(world: World) -> None:
    """T09, A16: two providers of the house, one of whom has asked to leave. Where the claim that cannot
    be collected is booked when he is paid, he gets no more than who stays; where it is flagged, no
    more than the discount that the liquidator is still to be paid."""
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


@cache
def odd_world(token: str) -> World:
    """ETH against a quote token with bad habits."""
    chain = RevmChain(block_interval_s=BLOCK_INTERVAL_S)
    governor, owner, lender, _, attacker, other_owner = chain.accounts[:6]
    tokens = {
        QUOTE: chain.deploy(token, sender=governor),
        "ETH": chain.deploy("MockToken", "ETH", "ETH", 18, sender=governor),
    }
    feeds = {}
    for name, price in ((QUOTE, 1), ("ETH", 2_000)):
        feeds[name] = chain.deploy("MockFeed", 8, name, sender=governor)
        feeds[name].set_answer(price * 10**8, sender=governor)
    chain.mine()
    system = deploy(
        chain,
        load_parameters(),
        governor=governor,
        quote=tokens[QUOTE],
        quote_feed=feeds[QUOTE],
        markets={"ETH": Market(tokens["ETH"], feeds["ETH"], 2_000 * WAD)},
    )
    venue = chain.deploy("MockVenue", sender=governor)
    system.allow_adapter(venue)
    world = World(chain, system, tokens, feeds, venue)
    for each in tokens.values():
        each.mint(venue, 10**30, sender=governor)
        for who in (owner, attacker, other_owner):
            each.approve(system.clearinghouse, UNLIMITED, sender=who)
    world.set_venue_price("ETH")
    tokens[QUOTE].approve(system.vault, UNLIMITED, sender=lender)
    lent = world.units(QUOTE, 10**7)
    world.fund(lender, QUOTE, lent)
    system.vault.deposit(lent, lender, sender=lender)
    world.refresh()
    return world


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
    """T15: of a blocked token as collateral, and of the quote token; others buy as if nothing were."""
    world, floor = blocked, Floor(blocked)
    token = world.chain.deploy("BlocklistToken", sender=world.governor)
    list_token(world, token)
    victims = []
    for sub in (0, 1):
        victim = world.account(sub)
        token.mint(world.owner, 250 * 10**6, sender=world.governor)
        token.approve(world.clearinghouse, UNLIMITED, sender=world.owner)
        world.clearinghouse.deposit(victim, EXTRA_ID, 250 * 10**6, sender=world.owner)
        world.deposit(victim, "ETH", 10**12 if sub else WAD)
        world.borrow(victim, excess_init(world, victim) // UNIT - 10**6)
        victims.append(victim)
    floor.sink(*victims, step_bps=200) if False else None
    while any(floor.assess(victim).excess_maint >= 0 for victim in victims):
        world.wait(20 * DAY_S)
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
