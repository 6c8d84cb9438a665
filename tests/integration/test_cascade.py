"""Two hundred accounts fall with the price, and what is left at the end adds up: I34, I35, I36.

ETH and BTC lose 45% in one hour, half a percent a round, with a vault that is lent out to its limit
and real Uniswap pools so thin that hooks can hardly sell. Liquidators come only every twenty
minutes for most of it, so some accounts end below zero. Afterwards nobody may be liquidatable,
every deficit must be booked, and what everybody owns must be what is there: tokens and loans.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from ballast.chain import Contract, Reverted
from ballast.model.margin import Position
from ballast.venue import Arbitrageur, deploy_venue, deploy_weth
from tests.support.world import QUOTE, WAD, World, build_world

ACCOUNTS = 200
ROUNDS = 120  # half a percent and half a minute each
ROUND_S = 30
AWAY_FOR = 80  # rounds in which liquidators come only now and then
VISIT = 40  # every so many rounds
THIN = 400_000  # dollars on each side of a pool
FAR = 2**40 - 1
ANY_STATE = b"\0" * 32
ASSETS = {"ETH": 1, "BTC": 2}
BEARERS = ("insurance_wad", "house_wad", "lenders_wad", "claims_wad")
KINDS = ("spot", "spot", "spot", "mixed", "long", "short", "basis", "dust")


@dataclass
class Cascade:
    """The world with all that happens in it."""

    world: World
    accounts: list[int]
    takers: list[int]
    adapter: Contract
    arbitrageur: Arbitrageur
    happened: Counter[str] = field(default_factory=Counter)
    booked: Counter[str] = field(default_factory=Counter)  # WAD by who bore it

    # ---- looking

    def healths(self, accounts: list[int]) -> list[tuple[int, int]]:
        """Equity and requirement at maintenance."""
        lens = self.world.system.lens
        found = []
        for start in range(0, len(accounts), 64):
            for health in lens.healths(accounts[start : start + 64]):
                found.append((health.equity_maint, health.required_maint))
        return found

    def breached(self) -> list[int]:
        """Who may be liquidated now."""
        everyone = [*self.accounts, *self.takers]
        pairs = zip(everyone, self.healths(everyone), strict=True)
        return [account for account, (equity, required) in pairs if equity < required]

    def held(self, account: int, asset: int) -> Position:
        """Position and cost."""
        ledger = self.world.clearinghouse
        return Position.from_word(
            ledger.position_word(account, asset), ledger.cost_word(account, asset)
        )

    # ---- acting

    def liquidate(self) -> None:
        """Everybody who may be, hooks first, as the contract has it."""
        world, liquidator = self.world, self.world.system.liquidator
        for number, account in enumerate(self.breached()):
            taker = self.takers[number % len(self.takers)]
            receipt = liquidator.liquidate(account, taker, ANY_STATE, sender=world.other_owner)
            self.happened += Counter(event.name for event in liquidator.events(receipt))
            for deficit in liquidator.events(receipt, "DeficitBooked"):
                parts = {name: getattr(deficit.args, name) for name in BEARERS}
                self.booked.update(parts)
                (told,) = liquidator.events(receipt, "Liquidated")
                needed = told.args.bonus_wad - told.args.equity_wad
                # Lenders bear whole token units.
                assert 0 <= sum(parts.values()) - needed < world.unit_wad(QUOTE)
            if self.happened["Liquidated"] % 7 == 0:
                self.sell(taker)

    def sell(self, taker: int) -> None:
        """What a thin pool takes of a taker's collateral."""
        world = self.world
        units = self.held(taker, ASSETS["ETH"]).collateral_wad // 50
        try:
            world.clearinghouse.swap(taker, self.adapter, 1, 0, units, 0, sender=world.other_owner)
            self.happened["sold"] += 1
        except Reverted:
            self.happened["pool too thin"] += 1

    def rebalance(self) -> None:
        """Hooks that can do something."""
        world, lens = self.world, self.world.system.lens
        hooked = self.accounts[::4]
        for start in range(0, len(hooked), 64):
            part = hooked[start : start + 64]
            for account, plan in zip(part, lens.plans(part), strict=True):
                if plan.code != 0:
                    continue
                try:
                    world.mandates.rebalance(account, sender=world.keeper)
                    self.happened["rebalanced"] += 1
                except Reverted:
                    self.happened["rebalance refused"] += 1

    def deleverage(self) -> None:
        """Winners are closed while the house is short."""
        world, deleverager = self.world, self.world.system.deleverager
        for account in self.accounts:
            _, _, equity, required = world.clearinghouse.assess(world.system.house)
            if equity >= required:
                return
            for asset in ASSETS.values():
                try:
                    deleverager.adl(account, asset, 2**100, sender=world.keeper)
                    self.happened["deleveraged"] += 1
                except Reverted:
                    continue


def _open(world: World, account: int, number: int) -> None:
    """Leverage from 1.5x to 3.3x, by turns of a kind."""
    kind = KINDS[number % len(KINDS)]
    owner = world.owner_of(account)
    equity = 40 if kind == "dust" else 2_000 + 150 * (number % 17)
    leverage = 1.5 + 1.8 * (number % 23) / 22
    name = "ETH" if number % 3 else "BTC"
    mix = {name: 1} if kind in ("spot", "dust") else {"ETH": 1, "BTC": 1}
    sub = account & 255
    if kind in ("spot", "mixed", "dust"):
        world.open_account(str(leverage), mix, sub=sub, owner=owner, equity=equity)
        return
    if kind == "basis":
        world.open_account("1.5", {"ETH": 1}, sub=sub, owner=owner, equity=equity)
        size = -Position.from_word(world.clearinghouse.position_word(account, 1)).collateral_wad
    else:
        world.deposit(account, QUOTE, equity * 10**6)
        sign = 1 if kind == "long" else -1
        size = sign * int(equity * leverage * WAD) * WAD // world.price_wad("ETH")
    size -= size % 10**9 if size > 0 else -(-size % 10**9)
    limit = 2**255 if size > 0 else 0
    world.refresh()
    world.system.perps.refresh(sender=world.keeper)
    world.system.perps.trade(account, 1, size, limit, FAR, False, sender=owner)


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    """Everything open, the vault lent out, the fall about to begin."""
    world = build_world(lent=2_000_000)
    chain, governor, other = world.chain, world.governor, world.other_owner
    prices = {name: world.price_wad(name) // 10**10 for name in ASSETS}
    venue = deploy_venue(
        chain,
        deploy_weth(chain, governor),
        world.quote,
        {name: world.tokens[name] for name in ASSETS},
        prices,
        sender=governor,
        depth=THIN,
    )
    adapter = chain.deploy(
        "UniswapV3Adapter", world.system.exchange, venue.factory, governor, sender=governor
    )
    for name in ASSETS:
        adapter.set_fee_tier(world.tokens[name], world.quote, 3_000, sender=governor)
    world.system.allow_adapter(adapter)

    for who in (world.attacker, other):
        world.fund(who, QUOTE, 10**14)
    world.clearinghouse.deposit(world.system.house, 0, 400_000 * 10**6, sender=other)
    world.clearinghouse.deposit(world.system.insurance, 0, 100 * 10**6, sender=other)
    # Little insurance and a house that bears little: lenders must bear the rest.
    liquidator = world.system.liquidator
    terms = liquidator.terms()._replace(house_day_bps=20)
    liquidator.set_terms(tuple(terms), sender=governor)
    owners = (world.owner, world.attacker)
    accounts = [world.account(i // 2, owners[i % 2]) for i in range(ACCOUNTS)]
    for number, account in enumerate(accounts):
        if number % 20 == 0:
            world.refresh()
        _open(world, account, number)
    for account in accounts[::4]:
        world.enrol(account, sales={"ETH": 35, "BTC": 35}, adapter=adapter, actions=3)
    takers = [world.account(sub, other) for sub in (0, 1)]
    for taker in takers:
        world.deposit(taker, QUOTE, 1_500_000 * 10**6)

    # Somebody safe takes all that the vault lends.
    whale = world.account(250)
    world.deposit(whale, "BTC", world.units("BTC", 2_000))
    world.borrow(whale, world.system.vault.max_loan() - 10**6, receiver=world.governor)
    arbitrageur = Arbitrageur(venue, world.attacker)
    return Cascade(world, [*accounts, whale], takers, adapter, arbitrageur)


def test_cascade__of_two_hundred_accounts__ends_with_nobody_owing_what_is_not_there(
    cascade: Cascade,
) -> None:
    """I34 I35 I36, in every account and to the wei."""
    world, vault = cascade.world, cascade.world.system.vault
    assert len(cascade.accounts) > ACCOUNTS and cascade.breached() == []
    assert vault.max_loan() < 2 * 10**6
    price = {name: world.price_wad(name) for name in ASSETS}
    share_price, start = vault.convertToAssets(10**18), price["ETH"]
    for number in range(1, ROUNDS + 1):
        world.chain.advance(ROUND_S - 12)
        for name in ASSETS:
            price[name] = price[name] * 995 // 1_000
            answer = price[name] // 10**10
            world.feeds[name].set_answer(answer, sender=world.governor)
            cascade.arbitrageur.align(name, answer)
        world.poke()
        cascade.rebalance()
        if number > AWAY_FOR or number % VISIT == 0:
            cascade.liquidate()
            cascade.deleverage()

    happened, booked = cascade.happened, cascade.booked
    # It was a cascade.
    assert happened["Liquidated"] > ACCOUNTS and happened["DeficitBooked"] >= 5
    assert happened["rebalanced"] + happened["rebalance refused"] > 20
    assert happened["sold"] and happened["pool too thin"]
    assert all(booked[name] for name in ("insurance_wad", "house_wad", "lenders_wad"))
    assert world.price_wad("ETH") * 100 < 56 * start

    # Nobody may be liquidated, nobody is below zero, no exit waits.
    assert cascade.breached() == []
    everyone = [*cascade.accounts, *cascade.takers, world.system.insurance, world.system.house]
    assert all(equity >= 0 for equity, _ in cascade.healths(everyone))
    assert vault.exits_held_until() <= world.chain.time

    # Every deficit is in somebody's books: lenders' shares fell by what they bore.
    assert vault.convertToAssets(10**18) < share_price
    _check_claims(cascade, everyone)


def _check_claims(cascade: Cascade, everyone: list[int]) -> None:
    """What everybody owns is what is there, to the wei."""
    world, ledger, vault = cascade.world, cascade.world.clearinghouse, cascade.world.system.vault
    words = [int(ledger.account_word(account)) for account in everyone]
    unit = world.unit_wad(QUOTE)
    cash = sum(word & (2**128 - 1) for word in words)
    assert cash == int(world.quote.balanceOf(ledger)) * unit
    assert sum(word >> 128 for word in words) == vault.state().debt_shares
    for name, asset in ASSETS.items():
        held = [cascade.held(account, asset) for account in everyone]
        tokens = int(world.tokens[name].balanceOf(ledger)) * world.unit_wad(name)
        assert sum(h.collateral_wad for h in held) == tokens
        assert sum(h.size_wad for h in held) == sum(h.cost_wad for h in held) == 0
        traders = [h.size_wad for h in held[:-1]]
        longs, shorts = world.system.perps.exposure_of(asset)
        assert longs == sum(size for size in traders if size > 0)
        assert shorts == -sum(size for size in traders if size < 0)
    state = vault.state()
    assert int(world.quote.balanceOf(vault)) == state.idle
    debt = state.debt_shares * state.index_wad // WAD
    assert vault.totalAssets() == state.idle + debt - state.reserves

    # The same in money: equities and lenders' claims are tokens at their price, but for rounding.
    equities = sum(equity for equity, _ in cascade.healths(everyone))
    lenders = (vault.totalAssets() + state.reserves) * unit
    there = (int(world.quote.balanceOf(ledger)) + state.idle) * unit
    for name in ASSETS:
        units = int(world.tokens[name].balanceOf(ledger))
        there += units * world.unit_wad(name) * world.price_wad(name) // WAD
    # Each debt rounds up to a unit, each value and result down to a wei.
    assert 0 <= there - equities - lenders <= len(everyone) * (unit + 8)
