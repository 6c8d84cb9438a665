"""Whole accounts of the deployed system against the exact ledger and margin models.

Random lives of two siblings, with prices that move in the very block of an action, feeds that go
stale, interest, and quote tokens of 6, 8 and 18 decimals: after every step the stored words, the
order of the asset list and the four figures are equal to the wei, and whether an action is refused,
and with which reason, is what the model says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Reverted
from ballast.model.ledger import Account, Loans
from ballast.model.margin import (
    PRICE_NOT_USABLE,
    WAD,
    Mark,
    Terms,
    increase_refusal,
    is_no_riskier,
)
from tests.conftest import reverts
from tests.support.fixtures import shared_world
from tests.support.reading import (
    assess_on_chain,
    listed_assets,
    read_account,
    read_loans,
    read_marks,
)
from tests.support.world import FEED_DECIMALS, QUOTE, World, to_wad

BALANCE_LOW = "ledger: balance too low"
SIBLINGS = (0, 1)
ASSETS = 4
STEPS = (
    "deposit",
    "deposit cash",
    "withdraw",
    "borrow",
    "borrow",
    "repay",
    "transfer",
    "transfer cash",
    "sell",
    "sell",
    "price",
    "price in this block",
    "price without poke",
    "wait",
    "silence",
)
WAITS_S = (1, 300, 3_600, 86_400, 30 * 86_400)

# What to do, with which sibling and asset, how much (thousandths), and a nudge in token units.
Step = tuple[str, int, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(STEPS),
        st.sampled_from(SIBLINGS),
        st.integers(0, ASSETS - 1),
        st.integers(0, 1_050),
        st.integers(-1, 1),
    ),
    min_size=3,
    max_size=12,
)


@dataclass
class Life:
    """Two siblings on chain and their models, stepped together."""

    world: World
    accounts: dict[int, Account]

    # ---- what the model needs of the moment

    def marks(self) -> dict[int, Mark]:
        return read_marks(self.world)

    def loans(self) -> Loans:
        return read_loans(self.world)

    def id(self, sub: int) -> int:
        return self.world.account(sub)

    def excess_init(self, account: int) -> int:
        return self.accounts[account].assess(self.marks(), self.loans()).excess_init

    # ---- comparing

    def check(self) -> None:
        marks, loans = self.marks(), self.loans()
        for account, expected in self.accounts.items():
            assert read_account(self.world, account) == expected
            assert listed_assets(self.world, account) == list(expected.positions)
            figures = assess_on_chain(self.world, account)
            assert figures == expected.assess(marks, loans)
            # Maintenance is never the harder test, but for a wei of dust in an asset.
            assert figures.excess_maint >= figures.excess_init - len(expected.positions)
            assert self.world.clearinghouse.picture_of(account)[0] == expected.net_wad(loans)

    def attempt(self, after: dict[int, Account], refusal: str, act: Callable[[], Any]) -> None:
        """Acts, and demands exactly the outcome that the model has."""
        if refusal:
            with reverts(refusal):
                act()
            return
        act()
        self.accounts.update(after)

    def refusal(self, account: Account) -> str:
        """Why an increase that ends in `account` is refused."""
        legs = account.legs(self.marks())
        return increase_refusal(account.net_wad(self.loans()), legs, account.debt_shares != 0)

    # ---- steps

    def step(self, step: Step) -> None:
        kind, sub, index, part, nudge = step
        name = self.world.names[index]
        if kind == "price":
            self.world.set_price(name, self.price(name, part))
        elif kind == "price without poke":
            self.world.wait(1_000, is_refreshed=False)
            self.world.set_price(name, self.price(name, part), is_poked=False)
        elif kind == "wait":
            self.world.wait(WAITS_S[part % len(WAITS_S)])
        elif kind == "silence":
            self.world.make_stale(name)
        else:
            with self.world.chain.one_block():
                if kind == "price in this block":
                    answer = int(self.price(name, part).scaleb(FEED_DECIMALS))
                    self.world.feeds[name].set_answer(answer, sender=self.world.governor)
                    kind = "borrow"
                self.act(kind, self.id(sub), name, part, nudge)
        self.check()

    def price(self, name: str, part: int) -> Decimal:
        """Between a half and one and a half of the present price, in dollars."""
        answer = self.world.price_wad(name) * (500 + part) // 1_025 // 10**10
        return Decimal(answer).scaleb(-FEED_DECIMALS)

    def act(self, kind: str, account: int, name: str, part: int, nudge: int) -> None:
        if "cash" in kind or kind in ("borrow", "repay"):
            self.act_with_cash(kind.removesuffix(" cash"), account, part, nudge)
            return
        world, held = self.world, self.accounts[account]
        if kind != "deposit" and held.positions:
            # What leaves is one of the assets that are there.
            owned = [known for known in world.names if world.asset(known) in held.positions]
            name = owned[world.names.index(name) % len(owned)]
        asset, unit = world.asset(name), world.unit_wad(name)
        if kind == "deposit":
            units = 1 + to_wad(20_000 * part) // (world.price_wad(name) * unit // WAD) // 1_000
            world.fund(world.owner, name, units)
            after = {account: held.with_collateral(asset, units * unit)}
            self.attempt(
                after,
                "",
                lambda: world.clearinghouse.deposit(account, asset, units, sender=world.owner),
            )
            return
        units = max(1, held.position(asset).collateral_wad // unit * part // 1_000 + nudge)
        if units * unit > held.position(asset).collateral_wad:
            after, refusal = {}, BALANCE_LOW
        else:
            lighter = held.with_collateral(asset, -units * unit)
            after, refusal = {account: lighter}, self.refusal(lighter)
        if kind == "withdraw":
            self.attempt(
                after,
                refusal,
                lambda: world.clearinghouse.withdraw(
                    account, asset, units, world.lender, sender=world.owner
                ),
            )
        elif kind == "transfer":
            other = next(known for known in self.accounts if known != account)
            if after:
                after[other] = self.accounts[other].with_collateral(asset, units * unit)
            self.attempt(
                after,
                refusal,
                lambda: world.clearinghouse.transfer(
                    account, other, asset, units, sender=world.owner
                ),
            )
        else:
            self.sell(account, name, units)

    def act_with_cash(self, kind: str, account: int, part: int, nudge: int) -> None:
        world, held, loans = self.world, self.accounts[account], self.loans()
        unit = loans.unit_wad
        call: Callable[[], Any]
        if kind in ("deposit", "repay"):
            debt = loans.debt_up(held.debt_shares)
            units = max(1, (debt or to_wad(5_000) // unit) * part // 1_000 + nudge)
            world.fund(world.owner, QUOTE, units)
            if kind == "repay":
                paid = min(units, debt)
                call = lambda: world.clearinghouse.repay(account, units, sender=world.owner)  # noqa: E731
            else:
                paid = units
                call = lambda: world.clearinghouse.deposit(account, 0, units, sender=world.owner)  # noqa: E731
            self.attempt({account: held.credited(paid, loans)}, "", call)
            return
        # To the very edge of what is allowed, a unit less or a unit more.
        room = max(held.cash_wad, self.excess_init(account)) // unit
        units = max(1, min(room, to_wad(10**7) // unit) * part // 1_000 + nudge)
        lighter = held.debited(units, loans)
        after = {account: lighter}
        if kind == "borrow":
            call = lambda: world.clearinghouse.withdraw(  # noqa: E731
                account, 0, units, world.lender, sender=world.owner
            )
        else:
            other = next(known for known in self.accounts if known != account)
            after[other] = self.accounts[other].credited(units, loans)
            call = lambda: world.clearinghouse.transfer(  # noqa: E731
                account, other, 0, units, sender=world.owner
            )
        self.attempt(after, self.refusal(lighter), call)

    def sell(self, account: int, name: str, units: int) -> None:
        """Sells below initial margin too; what is allowed there must be less or equally risky."""
        world, held, loans = self.world, self.accounts[account], self.loans()
        asset, unit, mark = world.asset(name), world.unit_wad(name), self.marks()[world.asset(name)]
        world.set_venue_price(name)
        proceeds = world.venue.quote(world.tokens[name], world.quote, units)
        refusal = ""
        if units * unit > held.position(asset).collateral_wad:
            refusal = BALANCE_LOW
        elif not mark.bounds_swap:
            refusal = "exchange: price not usable"
        elif proceeds == 0:
            refusal = "venue: "
        after = {}
        if not refusal:
            sold = held.with_collateral(asset, -units * unit)
            after = {account: sold.credited(proceeds, loans)}
        try:
            world.clearinghouse.swap(account, world.venue, asset, 0, units, 0, sender=world.owner)
        except Reverted as error:
            # Dust is worth less than the unit that the proceeds are floored to.
            is_dust = units * unit * mark.price_wad // WAD < 10**4 * loans.unit_wad
            assert error.reason == refusal or is_dust
            return
        assert not refusal
        self.accounts.update(after)
        deltas = [(held.position(asset).delta_wad, after[account].position(asset).delta_wad)]
        before_terms = held.assess(self.marks(), loans)
        after_terms = after[account].assess(self.marks(), loans)
        loss = loans.unit_wad + loans.repayment_loss_wad + 2
        credit = Terms(equity_init=loss, equity_maint=loss)
        assert is_no_riskier(before_terms, after_terms + credit, deltas)


@given(quote_decimals=st.sampled_from((6, 8, 18)), life=steps)
def test_life__any_actions_and_prices__accounts_equal_the_model(
    quote_decimals: int, life: list[Step]
) -> None:
    """I11 I23 I24 I31 A13 A18 T18: words, figures, verdicts and reasons, to the wei."""
    world = shared_world(ASSETS, quote_decimals)
    with world.isolated():
        two = Life(world, {world.account(sub): Account() for sub in SIBLINGS})
        for step in [("deposit", 0, 0, 900, 0), ("borrow", 0, 0, 990, 0), *life]:
            two.step(step)


@pytest.mark.parametrize(
    ("price", "refusal"),
    [("1.02", ""), ("0.98", ""), ("0.96", PRICE_NOT_USABLE), ("1.04", PRICE_NOT_USABLE)],
)
def test_borrow__quote_token_off_its_dollar__follows_the_model(
    world: World, price: str, refusal: str
) -> None:
    """Prices are asset over quote; beyond 3% risk may not grow, and repaying goes on."""
    account = world.open_account(leverage=2, mix={"ETH": 2, "BTC": 1})
    before = {name: world.price_wad(name) for name in world.names}
    world.set_price(QUOTE, price)
    for name, price_wad in before.items():
        assert world.price_wad(name) == price_wad * WAD // to_wad(price)
    life = Life(world, {account: read_account(world, account)})
    life.check()
    with world.chain.one_block():
        life.act_with_cash("borrow", account, 500, 0)
        lighter = life.accounts[account].debited(1, life.loans())
        assert life.refusal(lighter) == refusal
    with world.chain.one_block():
        life.act_with_cash("repay", account, 300, 0)
    life.check()


def test_assess__sixteen_assets__equals_the_model_and_lets_one_leave(wide_world: World) -> None:
    """I27: a full list is assessed to the wei and never bars an exit."""
    world = wide_world
    account = world.open_account(leverage=2, mix={name: 1 for name in world.names})
    life = Life(world, {account: read_account(world, account)})
    life.check()
    assert len(life.accounts[account].positions) == 16
    for name in world.names[::3]:
        world.set_price(name, Decimal(world.price_wad(name)).scaleb(-18) * 4 / 5)
    life.check()
    with world.chain.one_block():
        life.act("sell", account, world.names[7], 1_000, 0)
    life.check()
    assert len(life.accounts[account].positions) == 15
