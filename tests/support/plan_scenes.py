"""Random accounts that need rebalancing, as scenes of the exact model.

Drawn with a seed and without a chain, so that ten thousand take seconds. What their prices, rates,
costs and sizes may be is here in one place; whoever uses them says which of them he leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from math import ceil
from random import Random

from ballast.model.ledger import Account, Loans
from ballast.model.margin import BPS, RATE, WAD, Mark, Position, div_up
from ballast.model.oracle import Price, Risk
from ballast.model.perps import GWEI, Breaker, Exposure, Headroom, Market, MarketTerms
from ballast.model.plan import BPS_TO_E6, UNLIMITED, Action, Policy, Sale, Scene, Wallet

NOW = 1_700_000_000
ACCOUNT, SIBLINGS = 1 << 8, ((1 << 8) + 1, (1 << 8) + 2)
MOST_ASSETS = 8
AMPLE_GWEI = 2**72 - 1
# Collateral of a sibling and a quota that binds are rare, or each account of eight would have some.
QUOTA_PERCENT = 4
# Price in whole quote tokens and the WAD of a token unit.
TOKENS = ((3, 1), (3, 10**12), (2_000, 1), (2_000, 10**9), (60_000, 1), (60_000, 10**10))


TRADER, HEDGER, DEEP_HEDGER, PAIRED = range(4)  # what an account is like
TURNS = (TRADER, HEDGER, DEEP_HEDGER, DEEP_HEDGER, PAIRED, PAIRED)


def random_scenes(seed: int) -> Iterator[Scene]:
    """Accounts without end, one to eight assets each."""
    random = Random(seed)
    for number in count():
        trait = TURNS[number % len(TURNS)]
        # A hedge and a sale of each asset are eight steps of a plan with four.
        most = MOST_ASSETS // 2 if trait == DEEP_HEDGER else MOST_ASSETS
        yield random_scene(random, 1 + random.randrange(most), trait)


def random_scene(random: Random, assets: int, trait: int) -> Scene:
    """An account below its target.

    A hedger can hedge for less than a sale costs, which does not suffice for a deep one; a paired
    account has shorts against what it holds.
    """
    target_bps = random.randrange(10_100, 16_000)
    marks, markets, positions, unit_wad, sales = {}, {}, {}, {}, []
    for asset in range(1, assets + 1):
        price, unit_wad[asset] = random.choice(TOKENS)
        price_wad = price * WAD + random.randrange(WAD)
        worth, part = _shape(random, trait)
        collateral = worth * WAD * WAD // price_wad // GWEI * GWEI
        size = collateral * part // 1_000 // GWEI * GWEI
        if worth == 0:
            alone = random.choice((-1, 1)) * random.randrange(1_000, 20_000)
            size = alone * WAD * WAD // price_wad // GWEI * GWEI
        quota_gwei = AMPLE_GWEI
        if random.randrange(100) < QUOTA_PERCENT:
            quota_gwei = collateral * random.randrange(300, 950) // 1_000 // GWEI
        marks[asset] = Mark(Price(price_wad, price_wad, 0, NOW), _risk(random, quota_gwei))
        markets[asset] = _market(random, price_wad, max(collateral, abs(size)), trait)
        result = random.choice((0, 0, 0, -1, -1, 1)) * random.randrange(500) * WAD if size else 0
        cost = size * price_wad // WAD - result
        positions[asset] = Position(collateral, size, cost if size else 0)
        if random.randrange(5):
            sales.append(_sale(random, asset, trait, marks[asset]))
    random.shuffle(sales)
    loans = Loans(unit_wad=10 ** random.choice((0, 10, 12)))
    account = _in_units(Account(positions=positions), unit_wad)
    account = _indebted(random, account, marks, loans, target_bps, trait)
    has_siblings = random.randrange(8) == 0
    donors, floors = _siblings(random, marks, loans) if has_siblings else ({}, {})
    has_wallet = random.randrange(10) == 0
    return Scene(
        account=ACCOUNT,
        accounts={ACCOUNT: account, **donors},
        marks=marks,
        unit_wad=unit_wad,
        loans=loans,
        policy=Policy(
            target_bps - 1,
            uses_wallet=has_wallet,
            donors=tuple(donors),
            sales=tuple(sales),
            actions=random.choice((15, 15, 15, *range(15))) if trait == TRADER else 15,
            funding_bps=random.choice((0, 0, 0, 10, 30)),
        ),
        target_bps=target_bps,
        floors=floors,
        wallet=Wallet(1_000 * WAD, random.randrange(2_000) * WAD // loans.unit_wad, UNLIMITED),
        now=NOW,
        budget_wad=random.choice((*[UNLIMITED] * 11, random.randrange(500) * WAD)),
        markets=markets,
        house=Account(random.choice((10**9, 10**9, 10**9, 200)) * WAD),
    )


def _shape(random: Random, trait: int) -> tuple[int, int]:
    """Worth of the collateral in whole quote tokens, and the perpetual in thousandths of it."""
    worth = random.randrange(1_000, 20_000)
    if trait in (HEDGER, DEEP_HEDGER):
        return worth, random.choice((0, 0, 0, -300, -800))
    if trait == PAIRED:
        return worth, random.choice((-1_300, -1_000, -1_000, -1_000, -970, -970, -900))
    return worth * random.choice((0, 1, 1, 1)), random.choice((-1_300, -1_000, -500, 0, 0, 400))


def _risk(random: Random, quota_gwei: int) -> Risk:
    r_e6, l_e6 = random.randrange(150_000, 800_000), random.randrange(20_000, 60_000)
    return Risk(r_e6, l_e6, r_e6 // 2, l_e6 // 2, quota_gwei, NOW, 0)


def _sale(random: Random, asset: int, trait: int, mark: Mark) -> Sale:
    """Its last unit at most at the rate on gross, beyond which no swap goes through; two in three
    without impact."""
    cost, impact = random.choice((0, 5, 30, 30, 100, 250)), random.choice((0, 0, 0, 0, 10, 150))
    if trait in (HEDGER, DEEP_HEDGER):
        cost = random.randrange(30, 300)
    most = mark.risk.l_init_e6 * BPS // RATE
    cost = min(cost, most)
    return Sale(asset, cost, min(impact, (most - cost) // 2))


def _market(random: Random, price_wad: int, held_wad: int, trait: int) -> Market:
    """Half so deep that nothing has an impact; in the others that of all of it is up to 2%.

    A few have little headroom left.
    """
    depth_gwei = AMPLE_GWEI
    if random.randrange(2):
        depth_gwei = held_wad * 1_000 // random.randrange(1, 40) // GWEI + 1
    skew_gwei = random.randrange(-10, 11) * depth_gwei // 2_000
    longs, shorts = 2**60 + max(0, skew_gwei), 2**60 + max(0, -skew_gwei)
    fee_e6 = random.choice((0, 500, 5_000 if trait else random.randrange(20_000)))
    headroom_gwei = AMPLE_GWEI
    if random.randrange(20) == 0:
        headroom_gwei = held_wad // GWEI // 3
    terms = MarketTerms(depth_gwei, AMPLE_GWEI, AMPLE_GWEI, AMPLE_GWEI, 1, fee_e6, 0, 0, 0, 5_000)
    return Market(
        terms,
        Exposure(longs, shorts),
        Headroom(AMPLE_GWEI, headroom_gwei, NOW),
        Breaker(price_wad, price_wad, NOW),
    )


def _in_units(account: Account, unit_wad: dict[int, int]) -> Account:
    """Collateral comes in whole token units."""
    for asset, held in account.positions.items():
        rest = held.collateral_wad % unit_wad[asset]
        if rest:
            account = account.with_collateral(asset, -rest)
    return account


def _indebted(
    random: Random,
    account: Account,
    marks: dict[int, Mark],
    loans: Loans,
    target_bps: int,
    trait: int,
) -> Account:
    """With cash or a loan that leave it between a fraction of its target and nearly all of it."""
    terms = account.assess(marks, loans)
    part = random.randrange(*((500, 999), (200, 999), (10, 200), (850, 999))[trait])
    cash = terms.required_init * target_bps * part // 1_000 // BPS - terms.equity_init
    if cash >= 0:
        return replace(account, cash_wad=cash)
    return replace(account, debt_shares=div_up(-cash, loans.unit_wad))


def _siblings(
    random: Random, marks: dict[int, Mark], loans: Loans
) -> tuple[dict[int, Account], dict[int, int]]:
    """One or two that may give cash and collateral down to a floor."""
    known, floors = {}, {}
    for sibling in SIBLINGS[: random.randrange(1, 3)]:
        cash = random.choice((0, random.randrange(1, 2_000))) * WAD
        positions = {}
        for asset in random.sample(sorted(marks), min(len(marks), random.randrange(3))):
            worth = random.randrange(100, 4_000)
            units = worth * WAD * WAD // marks[asset].price_wad // 10**12 * 10**12
            positions[asset] = Position(min(units, marks[asset].quota_wad // 10**12 * 10**12))
        held = Account(cash_wad=cash, positions=positions)
        if cash == 0 and random.randrange(2):
            loan = max(0, held.assess(marks, loans).excess_init) * random.randrange(900) // 1_000
            held = replace(held, debt_shares=loan // loans.unit_wad)
        known[sibling] = held
        floors[sibling] = random.choice((10_500, 13_000, 16_000))
    return known, floors


# ---- accounts made for a purpose


@dataclass(frozen=True)
class Item:
    """An asset: whole quote tokens held, rates, a pool with its virtual reserve, and a market with
    its depth; `trade` is what may be done beside a sale: "hedge", "trim" or nothing."""

    value: int
    r_e6: int
    l_e6: int
    pool_fee_e6: int
    reserve: float
    trade: str
    market_fee_e6: int
    depth: float

    def sale_cost(self, value: float) -> float:
        """Of a sale into the pool."""
        kept = value * (1 - self.pool_fee_e6 / RATE)
        return value - self.reserve * kept / (self.reserve + kept)

    def trade_cost(self, value: float) -> float:
        """Of a trade with the house."""
        return self.market_fee_e6 / RATE * value + value**2 / (2 * self.depth)

    @property
    def released_e6(self) -> tuple[int, int]:
        """What a sale and a trade release."""
        both = self.r_e6 + self.l_e6
        return both, {"hedge": self.r_e6 - self.l_e6, "trim": both, "": 0}[self.trade]


@dataclass(frozen=True)
class Trader:
    """An account with thousandths of its target equity."""

    target_bps: int
    equity: int
    items: tuple[Item, ...]


def _named_sale(asset: int, item: Item, flat_part: float | None) -> Sale:
    def mean_e6(part: float) -> float:
        return item.sale_cost(part * item.value) / (part * item.value) * RATE

    if flat_part:
        return Sale(asset, ceil(mean_e6(flat_part) / BPS_TO_E6))
    cost_bps = ceil(item.pool_fee_e6 / BPS_TO_E6)
    return Sale(asset, cost_bps, max(0, ceil(mean_e6(1) / BPS_TO_E6 - cost_bps)))


def trader_scene(trader: Trader, flat_part: float | None = None) -> Scene:
    """A unit of each asset is worth one quote token. The policy names what selling the first unit
    and all of each costs, up; or, as if that were the cost of any, what selling a part does."""
    marks, markets, positions, sales = {}, {}, {}, []
    ample, price = AMPLE_GWEI, Price(WAD, WAD, 0, NOW)
    for asset, item in enumerate(trader.items, 1):
        r_e6, l_e6 = item.r_e6, item.l_e6
        marks[asset] = Mark(price, Risk(r_e6, l_e6, r_e6 // 2, l_e6 // 2, ample, NOW, 0))
        size = item.value * WAD if item.trade == "trim" else 0
        positions[asset] = Position(item.value * WAD, size, size)
        sales.append(_named_sale(asset, item, flat_part))
        if item.trade:
            depth_gwei = int(item.depth * 10**9)
            markets[asset] = Market(
                MarketTerms(depth_gwei, ample, ample, ample, 1, item.market_fee_e6, 0, 0, 0, 5_000),
                Exposure(2**60, 2**60),
                Headroom(ample, ample, NOW),
                Breaker(WAD, WAD, NOW),
            )
    account = Account(positions=positions)
    terms = account.assess(marks, Loans())
    cash = terms.required_init * trader.target_bps * trader.equity // 1_000 // BPS
    cash -= terms.equity_init
    return Scene(
        account=ACCOUNT,
        accounts={ACCOUNT: Account(max(0, cash), max(0, -cash), positions)},
        marks=marks,
        unit_wad=dict.fromkeys(marks, 1),
        loans=Loans(),
        policy=Policy(
            trader.target_bps - 1, sales=tuple(sales), actions=Action.TRIM | Action.HEDGE
        ),
        target_bps=trader.target_bps,
        now=NOW,
        markets=markets,
        house=Account(10**12 * WAD),
    )
