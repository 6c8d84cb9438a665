"""What the attacks on liquidation share: who attacks, what he is worth, accounts at the edge.

gang = gang_of(floor)                   # two names of one person; profit counts from here
geared(floor, account, "half exposed")  # all the debt that initial margin allows
to_the_edge(gang, account)              # the price moves until maintenance is a dollar away
jump(gang, account, 500)                # and by 5% at once
gang.profit                             # as if the exposure had been sold elsewhere beforehand
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from ballast.chain import Contract, Receipt
from ballast.deploy import load_parameters
from ballast.model.margin import BPS, WAD
from tests.clearing_kit import UNIT, excess_init
from tests.liquidation_kit import (
    CENT_WAD,
    Floor,
    hedger,
    long_victim,
    open_floor,
    short_victim,
    spot_victim,
)
from tests.support.hooks import Call
from tests.support.world import QUOTE, AssetSpec, World, build_world
from tests.threats.kit import equity, wealth

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


# ---- quiet worlds

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
        assert (risk.r_init_e6, risk.l_init_e6) == (
            (125_200, 10_000) if least else (150_000, 20_000)
        )
        assert (risk.r_maint_e6, risk.l_maint_e6) == (
            (50_000, 5_000) if least else (80_000, 10_000)
        )
        yield floor


# ---- who attacks


@dataclass
class Gang:
    """People who act as one, each with four accounts; `profit` counts from `start`.

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
    """Units of ether, net."""
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
    assert floor.assess(account).excess_maint >= 0


def keep_flagged(floor: Floor, account: int) -> int:
    """Somebody looks every five minutes until the discount is at its most; since when it counts."""
    since = floor.flag(account).time
    while floor.world.chain.time < since + RAMP_S:
        floor.world.chain.advance(300)
        assert floor.flag(account).return_value == since
    return since


# ---- hooks, victims, odd tokens

WALLET_GUARD = (11_000, 10_000, 1_000, 0, 10**6 * WAD, DAY_S)


def plays(floor: Floor, hook: Contract) -> Callable[..., None]:
    """What it does in its mandate."""

    def tell(*script: Call) -> None:
        hook.set_script(list(script), sender=floor.world.attacker)

    return tell


def words(floor: Floor, *accounts: int) -> list[Any]:
    """All that accounts hold, and what is open in the market of ether."""
    ledger = floor.world.clearinghouse
    own = [list(ledger.words_of(account)) for account in accounts]
    return [*own, tuple(floor.perps.exposure_of(ETH))]


VICTIMS: Mapping[str, Callable[[Floor], int]] = {
    "spot": spot_victim,
    "half hedged": lambda floor: hedger(floor, 5),
    "hedged": lambda floor: hedger(floor, 10),
    "long": long_victim,
    "short": short_victim,
}


@contextmanager
def as_sender(world: World, contract: Contract) -> Iterator[str]:
    """A contract sends transactions, without its code meanwhile. Voids all marks of the chain."""
    code = world.chain.code(contract.address)
    world.chain.set_code(contract.address, b"")
    yield contract.address
    world.chain.set_code(contract.address, code)


def everything(floor: Floor) -> int:
    """Equity of all accounts, and what lenders and reserves have in the vault, WAD."""
    state = floor.world.system.vault.state()
    own = sum(floor.worth(account) for account in floor.accounts)
    lent = int(floor.world.system.vault.totalAssets()) + int(state.reserves)
    return own + lent * UNIT
