"""Attacks on liquidation: by the owner, his hook, the liquidator, lenders, and by nobody in particular.

A3, A9, A11, A14, A16, A18, A20, and of the catalogue T05, T09, T15, T16, T24, T31, T48, T49, T51, T58,
T59, T60, T64, T65, T66. Whoever attacks is a `Gang`, and what it is worth is measured over all of its
accounts and wallets at the oracle's prices, as if it had sold its exposure elsewhere beforehand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
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


# Terms of ether by which margins are thinnest: as bundled, and the least that the oracle accepts.
RATES: Mapping[str, Mapping[str, Any]] = {
    "bundled": {},
    "least": {
        "floor_init_bps": 1_252,
        "floor_maint_bps": 500,
        "floor_l_bps": 100,
        "z_init_bps": 1_500,
        "z_maint_bps": 700,
        "z_l_bps": 100,
        "swap_limit_bps": 50,
    },
}


@cache
def calm_world(rates: str) -> World:
    """After nine quiet days all rates are at their floors."""
    terms = load_parameters()["assets"]["ETH"] | RATES[rates]
    perpetual = terms["perpetual"] | {"skew_cap": terms["floor_l_bps"] * 50}
    spec = AssetSpec(18, 2_000, {**RATES[rates], "perpetual": perpetual})
    world = build_world({"ETH": spec, "BTC": AssetSpec(8, 30_000)})
    for _ in range(220):
        world.wait(HOUR_S)
    return world


@contextmanager
def quiet(rates: str) -> Iterator[Floor]:
    """Rates at their floors, a house of a hundred million, a rich insurance."""
    world = calm_world(rates)
    with world.isolated():
        floor = open_floor(world, 10**8)
        floor.insure(10**12)
        risk, least = floor.mark().risk, rates == "least"
        assert (risk.r_init_e6, risk.l_init_e6) == ((125_200, 10_000) if least else (150_000, 20_000))
        assert (risk.r_maint_e6, risk.l_maint_e6) == ((50_000, 5_000) if least else (80_000, 10_000))
        yield floor


@pytest.fixture
def calm() -> Iterator[Floor]:
    """At the rates as bundled."""
    with quiet("bundled") as floor:
        yield floor


@pytest.fixture(params=RATES)
def thin(request: pytest.FixtureRequest) -> Iterator[Floor]:
    """At either rates."""
    with quiet(request.param) as floor:
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("part_bps", JUMPS_BPS)
def test_self_liquidation__one_jump_from_initial_margin__nothing_to_liquidate(
    thin: Floor, shape: str, part_bps: int
) -> None:
    """T31, T51: a second name tries in the block of the round, in the next and twenty minutes on."""
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
    """T31, T51: and nobody else pays for it, where the charge on gross is most of the requirement, too."""
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
@pytest.mark.parametrize("insurance_bps", [0, 2_000])
def test_liquidate__at_the_full_discount__leaves_the_taker_what_leaving_costs(
    thin: Floor, shape: str, insurance_bps: int
) -> None:
    """A11: at least 35 bp of everything he takes after insurance has had its part, at rates that are at
    their floors, and however thin the account is."""
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
    """T09: where nobody stands before the lenders they pay for the discount, too, and a flag that sees
    them pay more than a basis point of the vault holds the exits whatever the sign of the equity."""
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
PLAIN_GAS, RESCUE_GAS = 2_500_000, 4_000_000


@dataclass(frozen=True)
class Crowd:
    """Sixteen assets, each with a perpetual against half of its collateral or on top of it; the taker
    holds some of all and the other side of each perpetual. Feeds are as dear as those in production.
    """

    floor: Floor
    victim: int
    taker: int

    def fall(self, part: int) -> None:
        """All prices, by per mille."""
        world = self.floor.world
        for name in world.names:
            price = world.price_wad(name) * (1_000 - part) // 1_000
            self.floor.world.set_price(
                name, Decimal(price // 10**10).scaleb(-8), is_poked=False
            )

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
        name: AssetSpec(spec.decimals, spec.price, {"perpetual": terms} if n < max(2, markets) else {})
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
    """T48, I47: a slice, a slice after a rescue that burns all of its gas, and the whole of an account
    that others have to pay for."""
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
    # A hedge can have a deficit at more than half of maintenance, so both at once are possible.
    assert with_rescue + max(0, whole - plain) <= RESCUE_GAS, figures


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
    """T58: an account that is at initial margin again pays nobody, so a keeper cannot milk a hook."""
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
    """T66: nothing ends, nothing becomes free; whoever fills blocks waits for a fifth of R as well."""
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
    """T31: who flagged an account when it was below for a moment has no better price of it
    later, though nobody reported the cure."""
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
    """T59, T64, I13: each slice raises health while equity covers the discount, cures to 1.25 or takes
    all, and the price it is made at gets worse by 1% each time; the last leaves nothing and no dust.
    """
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
    """T05, A18: a liquidator who comes at every tick of a fall of 30% against one who comes at its end
    with the discount at its most. At one price there is one slice; the next needs another price."""
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
    """T65: nobody is made to take what he did not see; who takes what there is takes it at its value."""
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
    """T31, T51: eight accounts ruined by thirty percent, one after the other; what a fund of a million
    pays in a day is bounded by its caps alone, and so is the house."""
    world = calm.world
    taker = calm.taker(cash=10**7)
    calm.put_terms(account_cap_wad=500 * WAD, day_cap_wad=1_200 * WAD)
    victims = [world.account(sub, world.attacker) for sub in range(8)]
    world.tokens["ETH"].mint(world.attacker, 800 * WAD, sender=world.governor)
    for victim in victims:
        geared(calm, victim, "spot", 50 * WAD)
    calm.drop(1_400)
    before, house = calm.cash(calm.insurance), calm.cash(calm.house)
    worth = calm.assess(calm.house).equity_init
    paid = []
    for victim in victims:
        own = calm.cash(calm.insurance)
        calm.liquidate(victim, taker)
        paid.append((own - calm.cash(calm.insurance)) // WAD)
    assert paid == [500, 500, 200, 0, 0, 0, 0, 0]
    assert before - calm.cash(calm.insurance) == 1_200 * WAD
    assert 0 < house - calm.cash(calm.house) <= worth // 100


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
            lambda who=who: ledger.swap(
                floor.insurance, world.venue, 0, ETH, 10**6, 0, sender=who
            ),
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


@contextmanager
def as_sender(world: World, contract: Contract) -> Iterator[str]:
    """A contract sends transactions, for which it must have no code. Voids all marks of the chain."""
    code = world.chain.code(contract.address)
    world.chain.set_code(contract.address, b"")
    yield contract.address
    world.chain.set_code(contract.address, code)


def test_rights_of_the_liquidator__anybody_else__has_none() -> None:
    """T37, I25, I37: every person and every other contract of the system, by its own address."""
    floor = open_floor(build_world())
    world, system = floor.world, floor.world.system
    ledger, vault, taker = system.clearinghouse, system.vault, floor.taker()
    victim = spot_victim(floor)
    hand_over(world, victim, deploy_hook(world))
    calls: list[tuple[Contract, str, tuple[Any, ...]]] = [
        (ledger, "take", (victim, taker, (ETH, WAD, 0, 0, 0, 0))),
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
    """The quote token calls somebody whenever it moves, and owns an account that could liquidate."""

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
    """Two victims, one of a deficit; a rich taker, and tokens and approvals for all that calls."""
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
        world.clearinghouse.deposit(
            caller.own, 0, world.units(QUOTE, 10**5), sender=world.attacker
        )
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
    purchase goes on from what it finds, and what the token holds is worth no more for it than had it
    come first."""
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
    """T16, T33, T34: a slice moves no token of the account, and the delivery only after it is booked."""
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


# ---- further ideas: numbers of accounts, takers, operators


def test_liquidate__into_accounts_of_the_system__nobody_may(floor: Floor, victim: int) -> None:
    """T50, A20: neither insurance nor the house nor the account of the token variant is anybody's to
    fill, nor one without an owner."""
    world, system = floor.world, floor.world.system
    takers = (floor.insurance, floor.house, system.token_liquidator.ACCOUNT(), 1)
    for taker in takers:
        for who in (world.attacker, world.governor, world.keeper):
            with floor.refused(NOT_PERMITTED):
                floor.liquidate(victim, taker, sender=who)


@pytest.mark.parametrize("bit", [168, 200, 247, 248, 255])
def test_account_number__with_more_bits__is_nobodys(floor: Floor, victim: int, bit: int) -> None:
    """T50: positions are kept under account << 8 | asset, so a number with high bits could be had twice."""
    world, alias, taker = floor.world, victim | 1 << bit, floor.taker()
    fund, seller = floor.liquidator, world.system.token_liquidator
    world.fund(world.attacker, QUOTE, 10**11)
    world.quote.approve(seller, 10**11, sender=world.attacker)
    for call in (
        lambda: fund.liquidate(alias, taker, ANY_STATE, sender=world.other_owner),
        lambda: fund.liquidate(victim, taker | 1 << bit, ANY_STATE, sender=world.other_owner),
        lambda: fund.flag(alias, sender=world.attacker),
        lambda: seller.liquidate(alias, 10**9, world.attacker, ANY_STATE, sender=world.attacker),
        lambda: world.system.liquidity_vault.flag_bad_debt(alias, sender=world.attacker),
    ):
        with floor.refused(None):
            call()
    assert fund.preview(alias).fraction_wad == 0 < fund.preview(victim).fraction_wad
    assert fund.flagged_since(alias) == (0, 0)


@pytest.mark.parametrize("kind", VICTIMS)
@pytest.mark.parametrize("depth", ["cured", "gone"])
def test_operator_of_liquidations__dumps_what_he_likes__principal_only_gains(
    floor: Floor, kind: str, depth: str
) -> None:
    """T50: permission 32 alone. What his own failing account loses its principal gains, at the oracle's
    prices; he can do nothing else, and the principal ends at initial margin."""
    world, principal = floor.world, floor.taker(cash=100_000, ether=100)
    account = VICTIMS[kind](floor)
    allow = world.mandates.set_operator
    allow(principal, world.owner, MAY_LIQUIDATE, NEVER, sender=world.other_owner)
    if depth == "gone" and kind != "hedged":
        floor.drop(world.price_wad("ETH") * (6 if exposure_of(floor, account) > 0 else 14) // 10**19)
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


# ---- further ideas: the block of an increase


def test_liquidate__somebody_touched_the_account_in_this_block__goes_on(floor: Floor) -> None:
    """T65: an account cannot be shielded for a block by what strangers may do to it, nor by what its
    owner may do below initial margin."""
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
    """T31, T51: who has taken may be liquidated in the same block, but stands at initial margin, so no
    jump of 5% makes a gang of three earn anything in one block."""
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


# ---- further ideas: what is lost in between


TAKER_IS_TOO_POOR = (
    "margin: initial margin short",
    "margin: price not usable",
    "vault: loan too large",
)


def everything(floor: Floor) -> int:
    """Equity of all accounts, and what lenders and reserves have in the vault, WAD."""
    state = floor.world.system.vault.state()
    own = sum(floor.worth(account) for account in floor.accounts)
    lent = int(floor.world.system.vault.totalAssets()) + int(state.reserves)
    return own + lent * UNIT


def settled_debts(floor: Floor) -> tuple[int, int]:
    """What accounts owe one by one, each rounded up, and what the vault thinks they owe, units."""
    world = floor.world
    owed = sum(debt_units(world, account) for account in floor.accounts)
    return owed, int(world.system.vault.total_debt())


@pytest.mark.parametrize("block", range(5))
def test_liquidate__any_accounts_at_any_prices__nothing_is_made_or_lost(block: int) -> None:
    """T05, A18, I04, I19, I34: with an index that does not divide and a vault lent to its limit or not;
    the sum of all equities is the same to a few units, and loans add up."""
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
@pytest.mark.parametrize("funds", [(0, 0), (1_000, 0), (0, 10**6), (1_000, 200_000), (10**5, 10**7)])
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
    """A1, A2: nobody stands in front of a lost perpetual, so its taker ends with a claim. It is worth
    what the house has, it is settled once, and no lender's money pays for it."""
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
    """A1, T45: the house has no cash left when a winner in one market fails in another. The taker pays
    for no claim and gets none; when the house has cash again, the owner is paid and nobody twice."""
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
        assert 0 < floor.liquidate(victim, taker).return_value < WAD
        results = [floor.result(account, "BTC") for account in (victim, taker)]
        assert abs(sum(results) - gain) < 10 and results[0] >= part.unpaid_wad
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
    """A19, I20: netting mints no headroom and no skew: exposure and headroom are those after both have
    closed as much in the market; no price, cap or breaker is asked, and nothing else differs."""
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


# ---- further ideas: holds and flags


@pytest.mark.parametrize("seed", range(12))
def test_hold__any_order_of_flags_cures_bookings_and_time__opens_again(seed: int) -> None:
    """T09, I35: at most an hour from the latest flag of a loss, once per account and day; open as soon
    as every loss that holds them is booked or gone, and never held by an account without one."""
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
        assert vault.exits_held_until() in (0, until) and not held or vault.exits_held_until() == 0


@pytest.mark.parametrize("asset", [0, 1, 2, 3, 31, 32, 255, 256, 257, 2**16 + 1, 2**248 + 1, 2**255])
def test_learn_unit__any_number__cannot_teach_a_wrong_one(floor: Floor, victim: int, asset: int) -> None:
    """T18: what is not listed has no unit, a number beyond 255 is not another asset's, and what is known
    stays; a slice of a token of few decimals is in whole units whether it was learnt or not."""
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
    assert 0 < part.taken[0].collateral_wad - taken < 10**13 or taken == part.taken[0].collateral_wad


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


def test_bad_debt__account_recovered_before_it_was_liquidated__is_counted_no_more(
    world: World,
) -> None:
    """A16: a debt that the liquidity vault has counted, of an account that is worth something again
    when it is liquidated, must not lower what providers are paid for ever after."""
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
    floor.liquidate(victim, taker)
    assert vault.bad_debt_of(victim) == vault.bad_debt_wad() == 0


# ---- further ideas: small and old accounts


def test_liquidate__hedge_of_a_few_coarse_units__does_not_revert() -> None:
    """T18, T65: four units of a token of two decimals, each worth 1,300, against a short as large. The
    slice takes whole units only, which leaves the rest of the hedge open: it requires more than the
    whole did, so nothing is paid for and nothing must revert."""
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
    """T59, T65: an account of a few wei of ether and a debt of some units is gone after one call, and
    pays nobody more than it has."""
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
    """T47: interest and funding of ten years, prices as old as that; a taker with cash closes it all the
    same and the books add up."""
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
    """A9, T54: the limit of a rescue that must sell: who moves the venue beyond the guard's slippage and
    liquidates in one transaction gets the discount of a slice, which is a fifth of what it required at
    most. A hook that need not sell is not to be had like this."""
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
    """A14: the limit of insurance's part: it is not worth a refusal. Nobody gets more than the discount."""
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


@pytest.mark.parametrize("has_previous", [True, False])
@pytest.mark.parametrize("kind", ["spot", "long", "short"])
def test_liquidate__in_the_very_block_of_a_round__at_its_price_alone(
    floor: Floor, kind: str, has_previous: bool
) -> None:
    """T30, T31: the newest round decides, whatever was before it and whether that can be read; a taker
    with cash needs no strength from a price that must not back an increase."""
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
        feed.set_raw(
            number, worse // WAD * 10**8, world.chain.time, number, sender=world.governor
        )
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
