"""The lending vault against its exact model.

Random lives of a vault, equal to the wei after every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ballast.chain import Reverted, RevmChain
from ballast.model import vault as model
from tests.conftest import reverts
from tests.lending_kit import UNLIMITED, YEAR_S, ZERO_ADDRESS, Lending, deploy_lending

WAITS_S = (0, 1, 12, 3_600, 86_400, 30 * 86_400, YEAR_S, 10 * YEAR_S)
# The last three are refused.
RATES = (
    (100, 400, 6_000, 8_000),
    (0, 0, 0, 5_000),
    (0, 20_000, 80_000, 9_999),
    (1, 0, 99_999, 1),
    (100_000, 0, 0, 5_000),
    (0, 0, 100_001, 5_000),
    (5, 5, 5, 0),
    (5, 5, 5, 10_000),
)
FACTORS_BPS = (0, 1, 1_000, 5_000, 5_001)
CAPS = (2**95, 10**30, 2**95, 10**9, 2**95 + 1, 0)
# From now, but for the second, which lifts; the last two are refused.
HOLDS_S = (12, None, 3_600, 1, -5, 0, 3_601, 2**200)
STEPS = (
    "deposit",
    "mint",
    "withdraw",
    "redeem",
    "lend",
    "lend",
    "repay",
    "repay",
    "wait",
    "wait",
    "wait",
    "accrue",
    "sweep",
    "donate",
    "skim",
    "bad receiver",
    "rate",
    "factor",
    "cap",
    "busy",
    "write off",
    "write off",
    "hold",
)
# What to do, who does it, how much (thousandths of the limit, or a power of ten), a nudge off the
# exact figure.
Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 2), st.integers(0, 1_060), st.integers(-2, 2)),
    min_size=4,
    max_size=40,
)
# Most lives begin with lenders and a loan, since little happens without; some begin with nothing.
openings = st.one_of(
    st.just([]),
    *[
        st.tuples(st.integers(3, 28), st.integers(0, 9), st.integers(1, 1_000)).map(
            lambda drawn: [
                ("deposit", 0, drawn[0], 1),
                ("mint", 1, drawn[0] + 5, drawn[1] - 5),
                ("lend", 0, drawn[2], 0),
                ("lend", 1, 100, 0),
                ("wait", 0, drawn[1], 0),
            ]
        )
    ]
    * 4,
)


@dataclass
class Life:
    """A vault on chain and its model, stepped together."""

    lending: Lending
    exact: model.LendingVault
    debts: list[int] = field(default_factory=lambda: [0, 0, 0])  # loan shares of three debtors
    donated: int = 0
    index_wad: int = 10**18

    @property
    def lenders(self) -> tuple[str, str, str]:
        return (self.lending.lender, self.lending.other_lender, self.lending.attacker)

    def step(self, step: Step) -> None:
        """One operation on both sides, then every figure compared."""
        name, who, size, nudge = step
        before, held = self.exact.stored, self.exact.exits_held_until
        getattr(self, "_" + name.replace(" ", "_"))(who, size, nudge)
        after = self.exact.stored
        assert self.lending.vault.state() == tuple(vars(self.exact.state).values())
        # I03: shares are those of the holders. I07: the index never falls. I06: neither does the
        # price of a share, but for a loss. Reserves are never owed by lenders, after a loss too.
        assert after.supply == sum(self.exact.balances.values())
        assert after.index_wad >= before.index_wad
        new, old = self.exact.state, before
        assert name == "write off" or (new.total_assets + 1) * (old.supply + 10**6) >= (
            old.total_assets + 1
        ) * (new.supply + 10**6)
        assert new.reserves <= new.idle + new.debt_down
        # I35: nothing but the liquidator's word holds exits or lifts the hold.
        assert name == "hold" or self.exact.exits_held_until == held
        # I01, I02: what the vault holds is its idle balance and what was given to it, to the wei.
        assert self.lending.tokens(self.lending.vault) == after.idle + self.donated

    def compare_views(self) -> None:
        """Every view against the model, and the sums that need a whole life."""
        vault, exact = self.lending.vault, self.exact
        exact.now = self.lending.chain.time
        assert vault.totalAssets() == exact.total_assets
        assert vault.total_debt() == exact.state.debt_up
        assert vault.debt_index_ray() == exact.debt_index_ray
        assert vault.utilisation_wad() == exact.utilisation_wad <= 10**18
        assert vault.borrow_rate_ray() == exact.borrow_rate_ray
        assert vault.max_loan() == exact.max_loan
        assert vault.exits_held_until() == exact.exits_held_until
        assert vault.deposit_cap() == exact.deposit_cap
        assert vault.reserve_factor_bps() == exact.reserve_factor_bps
        assert vault.rate_parameters() == tuple(vars(exact.rate).values())
        for amount in (1, 10**6 + 1, 10**18 - 1):
            assert vault.convertToShares(amount) == exact.to_shares_down(amount)
            assert vault.previewWithdraw(amount) == exact.to_shares_up(amount)
            assert vault.convertToAssets(amount) == exact.to_assets_down(amount)
            assert vault.previewMint(amount) == exact.to_assets_up(amount)
        for lender in self.lenders:
            assert vault.balanceOf(lender) == exact.balance_of(lender)
            assert vault.maxDeposit(lender) == exact.max_deposit(lender)
            assert vault.maxMint(lender) == exact.max_mint(lender)
            assert vault.maxWithdraw(lender) == exact.max_withdraw(lender)
            assert vault.maxRedeem(lender) == exact.max_redeem(lender)
        # I04: debtors together owe at least what the vault counts, and at most a unit each more.
        owed = sum(vault.debt_of(shares) for shares in self.debts)
        assert 0 <= owed - exact.state.debt_up < len(self.debts)
        assert sum(self.debts) == exact.stored.debt_shares

    def replay_events(self) -> None:
        """I46: the vault's events alone, in order, give every figure it stores.

        All but the second of the last accrual: while there is a debt that bears interest it is the
        time of the last `Accrued`, and otherwise nothing depends on it.
        """
        supply = idle = debt_shares = reserves = held_until = 0
        index_ray = 10**27
        balances = dict.fromkeys((ZERO_ADDRESS, *self.lenders), 0)
        for name, args, *_ in self.lending.chain.events(self.lending.vault):
            if name == "Transfer":
                balances[args.sender] -= args.value
                balances[args.receiver] += args.value
            elif name == "Deposit":
                supply, idle = supply + args.shares, idle + args.assets
            elif name == "Withdraw":
                supply, idle = supply - args.shares, idle - args.assets
            elif name == "Lent":
                idle, debt_shares = idle - args.assets, debt_shares + args.shares
            elif name == "Repaid":
                idle, debt_shares = idle + args.assets, debt_shares - args.shares
            elif name == "BadDebtRealised":
                debt_shares -= args.shares
                assert args.debt_shares == debt_shares
            elif name == "ReservesGivenUp":
                reserves -= args.assets
            elif name == "ExitsHeld":
                held_until = args.until
            elif name == "ReservesSwept":
                idle, reserves = idle - args.assets, reserves - args.assets
            elif name == "Accrued":
                index_ray, reserves = args.index_ray, args.reserves
        stored = self.exact.stored
        rebuilt = model.VaultState(
            supply, idle, stored.accrued_at, debt_shares, index_ray // 10**9, reserves
        )
        assert rebuilt == stored
        assert held_until == self.exact.exits_held_until
        assert balances == {
            ZERO_ADDRESS: -supply,
            **{who: self.exact.balance_of(who) for who in self.lenders},
        }

    # ---- the operations

    def _both(self, on_chain: Callable[[], Any], in_model: Callable[[], Any]) -> Any:
        """Runs both sides; demands the same result or the same refusal.

        Returns the result, None when refused.
        """
        self.exact.now = self.lending.chain.time
        refused, result = "", None
        try:
            result = on_chain().return_value
        except Reverted as error:
            refused = error.reason
            assert refused, error
        try:
            expected = in_model()
        except model.VaultRevert as error:
            assert refused == error.reason
            return None
        assert refused == ""
        assert result == expected
        return expected

    def _amount(self, size: int, nudge: int, limit: int) -> int:
        """Thousandths of the limit when there is one, else a round figure; off by the nudge."""
        base = limit * size // 1_000 if limit else 10 ** (size % 30)
        return max(0, base + nudge)

    def _deposit(self, who: int, size: int, nudge: int) -> None:
        lender, vault = self.lenders[who], self.lending.vault
        limit = self.exact.max_deposit(lender) if size >= 1_000 else 0
        assets = self._amount(size, nudge, limit)
        self._both(
            lambda: vault.deposit(assets, lender, sender=lender),
            lambda: self.exact.deposit(assets, lender),
        )

    def _mint(self, who: int, size: int, nudge: int) -> None:
        lender, vault = self.lenders[who], self.lending.vault
        limit = self.exact.max_mint(lender) if size >= 1_000 else 0
        shares = self._amount(size, nudge, limit)
        self._both(
            lambda: vault.mint(shares, lender, sender=lender),
            lambda: self.exact.mint(shares, lender),
        )

    def _withdraw(self, who: int, size: int, nudge: int) -> None:
        lender, vault = self.lenders[who], self.lending.vault
        assets = self._amount(size, nudge, self.exact.max_withdraw(lender))
        self._both(
            lambda: vault.withdraw(assets, lender, lender, sender=lender),
            lambda: self.exact.withdraw(assets, lender, lender),
        )

    def _redeem(self, who: int, size: int, nudge: int) -> None:
        lender, vault = self.lenders[who], self.lending.vault
        shares = self._amount(size, nudge, self.exact.max_redeem(lender))
        self._both(
            lambda: vault.redeem(shares, lender, lender, sender=lender),
            lambda: self.exact.redeem(shares, lender, lender),
        )

    def _lend(self, who: int, size: int, nudge: int) -> None:
        lending = self.lending
        self.exact.now = lending.chain.time
        assets = self._amount(size, nudge, self.exact.max_loan)
        shares = self._both(
            lambda: lending.borrower.lend(
                lending.vault.address, assets, lending.trader, sender=lending.trader
            ),
            lambda: self.exact.lend(assets, lending.trader),
        )
        if shares is not None:
            self.debts[who] += shares

    def _repay(self, who: int, size: int, nudge: int) -> None:
        lending, held = self.lending, self.debts[who] + max(0, nudge - 1)
        self.exact.now = lending.chain.time
        owed = self.exact.debt_of(held)
        assets = self._amount(size, nudge, owed) if size < 1_000 else max(0, owed + min(nudge, 1))
        shares = self._both(
            lambda: lending.borrower.repay(
                lending.vault.address, assets, held, sender=lending.trader
            ),
            lambda: self.exact.repay(assets, held),
        )
        if shares is not None:
            self._burn(who, shares)

    def _burn(self, who: int, shares: int) -> None:
        # A nudge may burn a share of somebody else: the vault does not know whose they are.
        for debtor in (who, 0, 1, 2):
            burnt = min(shares, self.debts[debtor])
            self.debts[debtor] -= burnt
            shares -= burnt

    def _write_off(self, who: int, size: int, nudge: int) -> None:
        lending, held = self.lending, self.debts[who]
        self.exact.now = lending.chain.time
        before = self.exact.state
        prices = [self.exact.to_assets_down(shares) for shares in self.exact.balances.values()]
        # Up to six percent more than he owes: somebody else's, or more than there is.
        shares = held * size // 1_000 + nudge if held else max(0, nudge)
        lost = self._both(
            lambda: lending.vault.write_off(max(0, shares), sender=lending.liquidator),
            lambda: self.exact.write_off(max(0, shares)),
        )
        if lost is None:
            return
        self._burn(who, shares)
        after = self.exact.state
        assert (after.idle, after.supply) == (before.idle, before.supply)
        assert before.total_assets - after.total_assets == min(lost, before.total_assets)
        # Reserves bear what lenders have not, and no more.
        assert before.reserves - after.reserves == max(0, lost - before.total_assets)
        # T09: each lender bears his part, both values rounded down.
        fall = before.total_assets - after.total_assets
        for price, held_shares in zip(prices, self.exact.balances.values(), strict=True):
            loss = price - self.exact.to_assets_down(held_shares)
            share = held_shares * fall // (after.supply + 10**6)
            assert loss in (share, share + 1)

    def _hold(self, who: int, size: int, nudge: int) -> None:
        self.exact.now = self.lending.chain.time
        from_now_s = HOLDS_S[size % len(HOLDS_S)]
        until = 0 if from_now_s is None else self.exact.now + from_now_s
        self._both(
            lambda: self.lending.vault.hold_exits(until, sender=self.lending.liquidator),
            lambda: self.exact.hold_exits(until),
        )

    def _wait(self, who: int, size: int, nudge: int) -> None:
        self.lending.chain.advance(WAITS_S[size % len(WAITS_S)] + max(0, nudge))
        self.exact.now = self.lending.chain.time

    def _accrue(self, who: int, size: int, nudge: int) -> None:
        self._both(
            lambda: self.lending.vault.accrue(sender=self.lending.stranger), self.exact.accrue
        )

    def _sweep(self, who: int, size: int, nudge: int) -> None:
        before = self.lending.tokens(self.lending.insurance)
        vault = self.lending.vault
        paid = self._both(
            lambda: vault.sweep_reserves(sender=self.lending.stranger), self.exact.sweep_reserves
        )
        assert self.lending.tokens(self.lending.insurance) == before + (paid or 0)

    def _donate(self, who: int, size: int, nudge: int) -> None:
        self.lending.donate(10 ** (size % 25))
        self.donated += 10 ** (size % 25)

    def _skim(self, who: int, size: int, nudge: int) -> None:
        receipt = self.lending.vault.skim(sender=self.lending.stranger)
        assert receipt.return_value == self.donated
        self.donated = 0

    def _bad_receiver(self, who: int, size: int, nudge: int) -> None:
        lender, lending = self.lenders[who], self.lending
        receiver, named = (ZERO_ADDRESS, "") if size % 2 else (lending.vault.address, "vault")
        self._both(
            lambda: lending.vault.deposit(lending.unit, receiver, sender=lender),
            lambda: self.exact.deposit(lending.unit, named),
        )

    def _rate(self, who: int, size: int, nudge: int) -> None:
        rate = RATES[size % len(RATES)]
        governor = self.lending.governor
        self._both(
            lambda: self.lending.vault.set_rate(rate, sender=governor),
            lambda: self.exact.set_rate(model.RateParameters(*rate)),
        )

    def _factor(self, who: int, size: int, nudge: int) -> None:
        factor = FACTORS_BPS[size % len(FACTORS_BPS)]
        governor = self.lending.governor
        self._both(
            lambda: self.lending.vault.set_reserve_factor(factor, sender=governor),
            lambda: self.exact.set_reserve_factor(factor),
        )

    def _cap(self, who: int, size: int, nudge: int) -> None:
        cap = CAPS[size % len(CAPS)]
        governor = self.lending.governor
        self._both(
            lambda: self.lending.vault.set_deposit_cap(cap, sender=governor),
            lambda: self.exact.set_deposit_cap(cap),
        )

    def _busy(self, who: int, size: int, nudge: int) -> None:
        self.exact.is_busy = True
        self.lending.set_busy(1 + size % 3)
        for attempt in (self._deposit, self._mint, self._withdraw, self._redeem, self._sweep):
            attempt(who, size, 1)
        self.compare_views()
        self.exact.is_busy = False
        self.lending.set_busy(0)


@pytest.fixture(scope="module", params=(2, 6, 18), ids=lambda d: f"{d}-decimals")
def lending(request: pytest.FixtureRequest) -> Lending:
    deployed = deploy_lending(RevmChain(), request.param, deposit_cap=2**95)
    for account in (deployed.lender, deployed.other_lender, deployed.attacker, deployed.trader):
        deployed.fund(account, 2**110)
    return deployed


@given(opening=openings, life=steps)
@example(
    opening=[],
    life=[("deposit", 0, 27, 0), ("lend", 0, 1_000, 0), ("wait", 0, 7, 0), ("repay", 0, 1_000, 0)],
)
@example(
    opening=[],
    life=[
        ("deposit", 0, 9, 0),
        ("rate", 0, 3, 0),
        ("lend", 1, 1_000, 0),
        ("wait", 0, 7, 0),
        ("accrue", 0, 0, 0),
    ],
)
@example(
    opening=[],
    life=[
        ("deposit", 0, 20, 0),
        ("factor", 0, 3, 0),
        ("rate", 0, 4, 0),
        ("lend", 0, 1_000, 0),
        ("wait", 0, 6, 0),
        ("redeem", 0, 1_000, 0),
        ("write off", 0, 500, 0),
        ("hold", 0, 2, 0),
        ("write off", 0, 1_000, 0),
        ("deposit", 1, 1_000, 0),
        ("deposit", 2, 1_000, 1),
        ("sweep", 0, 0, 0),
        ("redeem", 1, 1_000, 0),
        ("wait", 0, 3, 0),
        ("redeem", 1, 1_000, 0),
    ],
)
@example(
    opening=[],
    life=[
        ("deposit", 0, 1_000, 0),
        ("lend", 0, 1_000, 0),
        ("rate", 0, 4, 0),
        *[("wait", 0, 7, 0)] * 3,
    ],
)
def test_operate__random_life__equals_the_model(
    lending: Lending, opening: list[Step], life: list[Step]
) -> None:
    """T44 for the vault; I01 to I07 and I35 after every step, I04 and I46 at the end."""
    chain = lending.chain
    with chain.isolated():
        exact = model.LendingVault(
            rate=model.RateParameters(*RATES[0]),
            reserve_factor_bps=1_000,
            deposit_cap=2**95,
            now=chain.time,
        )
        both = Life(lending, exact)
        for step in (*opening, *life):
            both.step(step)
        both.compare_views()
        both.replay_events()


@pytest.fixture(scope="module")
def shell() -> Any:
    chain = RevmChain()
    return chain.deploy("KinkedRateShell", sender=chain.accounts[0])


rates = st.builds(
    lambda base, low, high, kink: model.RateParameters(base, low, high, kink),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(1, 9_999),
)


@given(debt=st.integers(0, 2**190), idle=st.integers(0, 2**190))
@example(debt=0, idle=0)
@example(debt=2**190, idle=0)
@example(debt=2**190, idle=2**190)
def test_utilisation__any_figures__equals_the_model(shell: Any, debt: int, idle: int) -> None:
    """T03, I09: between zero and one whatever the figures."""
    use = shell.utilisation_wad_up(debt, idle)
    assert use == model.utilisation_wad_up(debt, idle)
    assert 0 <= use <= 10**18


@given(rate=rates, use=st.integers(0, 10**18), more=st.integers(0, 10**18))
def test_rate__any_parameters__equals_the_model(
    shell: Any, rate: model.RateParameters, use: int, more: int
) -> None:
    """I09 over the whole domain of the unchecked arithmetic: monotone, bounded, without a step.

    Far beyond the 1,000% a year that the vault accepts.
    """
    curve = (rate.base_bps, rate.slope_low_bps, rate.slope_high_bps, rate.kink_bps)
    here = shell.rate_ray_up(use, *curve)
    assert here == model.rate_ray_up(use, rate)
    assert here <= shell.rate_ray_up(min(10**18, use + more), *curve)
    kink_wad = rate.kink_bps * 10**14
    at, below, above = (shell.rate_ray_up(kink_wad + step, *curve) for step in (0, -1, 1))
    # A step of 1e-18 of utilisation moves the rate by its slope times 1e-18 and a rounding.
    assert at - below <= 1 + 2**40 * 10**23 // (kink_wad * model.YEAR_S) + 1
    assert above - at <= 1 + 2**40 * 10**23 // ((10**18 - kink_wad) * model.YEAR_S) + 1
    full = shell.rate_ray_up(10**18, *curve)
    assert full == model.div_up(sum(curve[:3]) * 10**23, model.YEAR_S)


@given(rate_ray=st.integers(0, 2**100), elapsed_s=st.integers(0, 2**64))
@example(rate_ray=2**100, elapsed_s=2**64)
@example(rate_ray=0, elapsed_s=UNLIMITED)
def test_growth__any_rate_and_time__equals_the_model(
    shell: Any, rate_ray: int, elapsed_s: int
) -> None:
    """T47: saturates, at least the simple interest, never above the exponential."""
    growth = shell.growth_ray_down(rate_ray, elapsed_s)
    assert growth == model.growth_ray_down(rate_ray, elapsed_s)
    assert growth >= min(rate_ray * elapsed_s, model.MAX_EXPONENT_RAY)


@pytest.fixture(scope="module")
def packing() -> Any:
    chain = RevmChain()
    return chain.deploy("LendingStateShell", sender=chain.accounts[0])


@given(
    supply=st.integers(0, model.MAX_SUPPLY),
    idle=st.integers(0, model.MAX_ASSETS),
    accrued_at=st.integers(0, model.MAX_TIME_S),
    debt_shares=st.integers(0, model.MAX_ASSETS),
    index_wad=st.integers(0, model.MAX_INDEX_WAD),
    reserves=st.integers(0, model.MAX_RESERVES),
)
@example(model.MAX_SUPPLY, model.MAX_ASSETS, model.MAX_TIME_S, 0, model.MAX_INDEX_WAD, 0)
@example(0, 0, 0, model.MAX_ASSETS, 0, model.MAX_RESERVES)
def test_pack__any_figures_that_fit__come_back_unmixed(
    packing: Any,
    supply: int,
    idle: int,
    accrued_at: int,
    debt_shares: int,
    index_wad: int,
    reserves: int,
) -> None:
    """Six figures in two words, none of which touches its neighbour."""
    assert packing.pool(supply, idle, accrued_at) == (supply, idle, accrued_at)
    assert packing.loans(debt_shares, index_wad, reserves) == (debt_shares, index_wad, reserves)


@given(
    cap=st.integers(0, model.MAX_DEPOSIT_CAP),
    rate=st.tuples(*[st.integers(0, model.MAX_RATE_BPS)] * 3, st.integers(0, model.BPS)),
    factor=st.integers(0, model.MAX_RESERVE_FACTOR_BPS),
    least=st.integers(0, 100_000),
    until=st.integers(0, 2**40 - 1),
    later=st.integers(0, 2**40 - 1),
)
@example(2**95, (100_000, 100_000, 100_000, 9_999), 5_000, 100_000, 2**40 - 1, 0)
@example(0, (0, 0, 0, 0), 0, 0, 0, 2**40 - 1)
def test_pack__any_terms__come_back_unmixed(
    packing: Any, cap: int, rate: tuple[int, ...], factor: int, least: int, until: int, later: int
) -> None:
    """Eight figures in one word, one of which can be replaced alone."""
    as_given, held = packing.terms(cap, rate, factor, until, least, later)
    assert as_given == (cap, factor, until, least, rate)
    assert held == (cap, factor, later, least, rate)


@pytest.mark.parametrize("too_much", [1, 2**32, 2**100])
def test_pack__a_figure_beyond_its_width__reverts(packing: Any, too_much: int) -> None:
    """What would spill into the next field is refused, whichever field it is."""
    for call in (
        lambda: packing.pool(model.MAX_SUPPLY + too_much, 0, 0),
        lambda: packing.pool(0, model.MAX_ASSETS + too_much, 0),
        lambda: packing.loans(model.MAX_ASSETS + too_much, 10**18, 0),
    ):
        with reverts("vault: amount too large"):
            call()


@given(
    idle=st.integers(0, model.MAX_ASSETS),
    debt=st.integers(0, model.MAX_ASSETS),
    reserves=st.integers(0, 2**98),
)
@example(idle=0, debt=0, reserves=1)
def test_total_assets__any_figures__are_never_negative(
    packing: Any, idle: int, debt: int, reserves: int
) -> None:
    """I05, C04: reserves above what is left, as after a loss, count as nothing left for shares."""
    state = model.VaultState(0, idle, 0, debt, 10**18, reserves)
    total = packing.total_assets_down(idle, debt, reserves)
    assert total == state.total_assets == max(0, idle + debt - reserves)
