"""Random accounts that need rebalancing, as scenes of the exact model.

Drawn with a seed and without a chain, so that ten thousand take seconds. What their prices, rates,
costs and sizes may be is here in one place; whoever uses them says which of them he leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from random import Random

from ballast.model.ledger import Account, Loans
from ballast.model.margin import BPS, RATE, WAD, Mark, Position, div_up
from ballast.model.oracle import Price, Risk
from ballast.model.perps import GWEI, Breaker, Exposure, Headroom, Market, MarketTerms
from ballast.model.plan import Policy, Sale, Scene, Wallet

NOW = 1_700_000_000
ACCOUNT, SIBLINGS = 1 << 8, ((1 << 8) + 1, (1 << 8) + 2)
MOST_ASSETS = 8
AMPLE_GWEI = 2**72 - 1
# Collateral of a sibling and a quota that binds are rare, or each account of eight would have some.
QUOTA_PERCENT = 4


def random_scenes(seed: int) -> Iterator[Scene]:
    """Accounts without end: in turn traders, hedgers and holders of pairs, one to eight assets."""
    random = Random(seed)
    for number in count():
        yield random_scene(random, 1 + random.randrange(MOST_ASSETS), number % 3)


def random_scene(random: Random, assets: int, trait: int) -> Scene:
    """An account below its target. Trait 1 can hedge for less than a sale costs, 2 holds pairs."""
    target_bps = random.randrange(10_100, 16_000)
    marks, markets, positions, sales = {}, {}, {}, []
    for asset in range(1, assets + 1):
        price_wad = random.choice((3, 2_000, 60_000)) * WAD + random.randrange(WAD)
        worth, part = _shape(random, trait)
        collateral = worth * WAD * WAD // price_wad // GWEI * GWEI
        size = collateral * part // 1_000 // GWEI * GWEI
        if worth == 0:
            size = random.choice((-1, 1)) * random.randrange(1_000, 20_000) * WAD // price_wad * WAD
            size = size // GWEI * GWEI
        quota_gwei = AMPLE_GWEI
        if random.randrange(100) < QUOTA_PERCENT:
            quota_gwei = collateral * random.randrange(300, 950) // 1_000 // GWEI
        marks[asset] = Mark(Price(price_wad, price_wad, 0, NOW), _risk(random, quota_gwei))
        markets[asset] = _market(random, price_wad, max(collateral, abs(size)), trait)
        result = random.choice((0, 0, 0, -1, -1, 1)) * random.randrange(500) * WAD if size else 0
        cost = size * price_wad // WAD - result
        positions[asset] = Position(collateral, size, cost if size else 0)
        if random.randrange(5):
            sales.append(Sale(asset, _sale_bps(random, trait, marks[asset])))
    random.shuffle(sales)
    account = _indebted(random, Account(positions=positions), marks, target_bps, trait)
    unit_wad = {asset: 10 ** random.choice((0, 0, 9, 12)) for asset in marks}
    account = _in_units(account, unit_wad)
    donors, floors = _siblings(random, marks, account) if random.randrange(4) == 0 else ({}, {})
    has_wallet = random.randrange(6) == 0
    return Scene(
        account=ACCOUNT,
        accounts={ACCOUNT: account, **donors},
        marks=marks,
        unit_wad=unit_wad,
        loans=Loans(unit_wad=LOAN_UNIT_WAD),
        policy=Policy(
            target_bps - 1,
            uses_wallet=has_wallet,
            donors=tuple(donors),
            sales=tuple(sales),
            actions=15 if trait else random.choice((15, 15, 15, *range(15))),
            funding_bps=random.choice((0, 0, 0, 10, 30)),
        ),
        target_bps=target_bps,
        floors=floors,
        wallet=Wallet(1_000 * WAD, random.randrange(2_000) * 10**6, 2**256 - 1),
        now=NOW,
        markets=markets,
        house=Account(random.choice((10**9, 10**9, 10**9, 200)) * WAD),
    )


LOAN_UNIT_WAD = 10**12


def _shape(random: Random, trait: int) -> tuple[int, int]:
    """Worth of the collateral in whole quote tokens, and the perpetual in thousandths of it."""
    worth = random.randrange(1_000, 20_000)
    if trait == 1:
        return worth, random.choice((0, 0, 0, -300, -800))
    if trait == 2:
        return worth, random.choice((-1_300, -1_000, -1_000, -1_000, -970, -970, -900))
    return worth * random.choice((0, 1, 1, 1)), random.choice((-1_300, -1_000, -500, 0, 0, 400))


def _risk(random: Random, quota_gwei: int) -> Risk:
    r_e6, l_e6 = random.randrange(150_000, 800_000), random.randrange(20_000, 60_000)
    return Risk(r_e6, l_e6, r_e6 // 2, l_e6 // 2, quota_gwei, NOW, 0)


def _sale_bps(random: Random, trait: int, mark: Mark) -> int:
    """At most the rate on gross, beyond which no swap goes through."""
    cost = random.randrange(30, 300) if trait == 1 else random.choice((0, 5, 30, 30, 100, 250))
    return min(cost, mark.risk.l_init_e6 * BPS // RATE)


def _market(random: Random, price_wad: int, held_wad: int, trait: int) -> Market:
    """Every other one so deep that nothing has an impact; in the others all of it costs up to 2%.

    A few have little headroom left.
    """
    depth_gwei = AMPLE_GWEI
    if random.randrange(2):
        depth_gwei = held_wad * 1_000 // random.randrange(1, 40) // GWEI + 1
    skew_gwei = random.randrange(-10, 11) * depth_gwei // 2_000
    longs, shorts = 2**60 + max(0, skew_gwei), 2**60 + max(0, -skew_gwei)
    fee_e6 = random.choice((0, 500, 5_000 if trait == 1 else random.randrange(20_000)))
    headroom_gwei = AMPLE_GWEI
    if random.randrange(20) == 0:
        headroom_gwei = held_wad // GWEI // 3
    terms = MarketTerms(
        depth_gwei, AMPLE_GWEI, AMPLE_GWEI, AMPLE_GWEI, 1, fee_e6, 0, 0, 0, 5_000
    )
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
    random: Random, account: Account, marks: dict[int, Mark], target_bps: int, trait: int
) -> Account:
    """With cash or a loan that leave it between a fraction of its target and nearly all of it."""
    terms = account.assess(marks, Loans())
    least = (500, 200, 850)[trait]
    part = random.randrange(least, 999)
    cash = terms.required_init * target_bps * part // 1_000 // BPS - terms.equity_init
    if cash >= 0:
        return replace(account, cash_wad=cash)
    return replace(account, debt_shares=div_up(-cash, LOAN_UNIT_WAD))


def _siblings(
    random: Random, marks: dict[int, Mark], own: Account
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
        known[sibling] = Account(cash_wad=cash, positions=positions)
        floors[sibling] = random.choice((10_500, 13_000, 16_000))
    return known, floors
