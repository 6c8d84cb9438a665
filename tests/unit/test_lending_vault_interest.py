"""Interest of the lending vault: accrual, reserves, saturation, and what donations do not do."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

import pytest

from ballast.chain import RevmChain
from tests.conftest import reverts
from tests.lending_kit import RESERVE_FACTOR_BPS, YEAR_S, Lending, deploy_lending

WAD = 10**18
RAY = 10**27
HIGHEST_RATE = (100_000, 0, 0, 5_000)
MAX_INDEX_WAD = 2**76 - 1
LAST_SECOND = 2**32 - 1


@pytest.fixture(scope="module", params=(6, 18), ids=lambda d: f"{d}-decimals")
def deployed(request: pytest.FixtureRequest) -> Lending:
    lending = deploy_lending(RevmChain(), request.param)
    lending.deposit(lending.lender, 10_000 * lending.unit)
    return lending


@pytest.fixture
def lending(deployed: Lending) -> Iterator[Lending]:
    """10,000 tokens lent to the vault, nothing borrowed."""
    with deployed.chain.isolated():
        yield deployed


# ---- the rate


@pytest.mark.parametrize(
    ("lent_percent", "yearly_percent"),
    # 1% + 4% * u / 80% up to the kink, 5% + 60% * (u - 80%) / 20% above it
    [(1, 1.05), (40, 3.0), (80, 5.0), (90, 35.0), (92, 41.0)],
)
def test_rate__by_use__follows_the_kink(
    lending: Lending, lent_percent: int, yearly_percent: float
) -> None:
    """I09."""
    lending.lend(100 * lent_percent * lending.unit)
    assert lending.vault.utilisation_wad() == lent_percent * 10**16
    assert lending.vault.borrow_rate_ray() * YEAR_S / RAY == pytest.approx(
        yearly_percent / 100, rel=1e-12
    )


def test_utilisation__whatever_happens__stays_within_one(lending: Lending) -> None:
    """T03, I09: no debt, full use, donations, decades of interest."""
    assert lending.vault.utilisation_wad() == 0
    lending.lend(lending.vault.max_loan())
    lending.vault.withdraw(
        lending.vault.state().idle, lending.lender, lending.lender, sender=lending.lender
    )
    assert lending.vault.state().idle == 0
    assert lending.vault.utilisation_wad() == WAD
    top = lending.vault.borrow_rate_ray()
    assert top * YEAR_S / RAY == pytest.approx(0.65, rel=1e-12)
    lending.donate(10**6 * lending.unit)
    lending.chain.advance(40 * YEAR_S)
    assert (lending.vault.utilisation_wad(), lending.vault.borrow_rate_ray()) == (WAD, top)


@pytest.mark.parametrize("wait_s", [1, 12, 3_600, 86_400, 30 * 86_400, YEAR_S])
def test_accrue__steady_use__grows_as_the_exponential(lending: Lending, wait_s: int) -> None:
    """Against the exponential itself.

    Three terms are short of it by less than (rate * time)**4 / 24.
    """
    shares = lending.lend(9_000 * lending.unit)
    x = lending.vault.borrow_rate_ray() / RAY * wait_s
    lending.chain.advance(wait_s)
    grown = lending.vault.debt_index_ray() / RAY - 1
    assert grown <= (exp(x) - 1) * (1 + 1e-9) + 2e-18
    assert grown >= exp(x) - 1 - x**4 / 24 * exp(x) - 1e-15
    assert lending.vault.debt_of(shares) >= 9_000 * lending.unit


def test_accrue__twice_in_a_block__is_idempotent(lending: Lending) -> None:
    """I07."""
    lending.lend(5_000 * lending.unit)
    lending.chain.advance(1_000)
    first = lending.vault.accrue(sender=lending.stranger)
    [event] = lending.vault.events(first, "Accrued")
    figures = lending.figures()
    second = lending.vault.accrue(sender=lending.stranger)
    assert lending.vault.events(second) == []
    assert lending.figures() == figures
    assert event.args.index_ray == figures[4] * 10**9 == lending.vault.debt_index_ray()
    assert event.args.reserves == figures[5]


def test_views__before_an_accrual__show_what_it_stores(lending: Lending) -> None:
    """T08, I43: views simulate the accrual to the wei."""
    shares = lending.lend(7_000 * lending.unit)
    lending.chain.advance(123_456)
    vault = lending.vault

    def shown() -> tuple[int, ...]:
        return (
            *vault.state(),
            vault.totalAssets(),
            vault.debt_of(shares),
            vault.total_debt(),
            vault.debt_index_ray(),
            vault.max_loan(),
            vault.utilisation_wad(),
            vault.borrow_rate_ray(),
            vault.convertToShares(lending.unit),
            vault.convertToAssets(10**6 * lending.unit),
        )

    before = shown()
    vault.accrue(sender=lending.stranger)
    assert shown() == before


@pytest.mark.parametrize(
    "action",
    ["deposit", "mint", "withdraw", "redeem", "lend", "repay", "sweep", "rate", "write off"],
)
def test_act__without_an_accrual_first__is_the_same_as_with(lending: Lending, action: str) -> None:
    """T43: every entry accrues before it does anything."""
    shares = lending.lend(7_000 * lending.unit)
    lending.chain.advance(86_400)
    vault, lender = lending.vault, lending.lender
    acts = {
        "deposit": lambda: vault.deposit(12_345, lender, sender=lender),
        "mint": lambda: vault.mint(10**12 + 1, lender, sender=lender),
        "withdraw": lambda: vault.withdraw(12_345, lender, lender, sender=lender),
        "redeem": lambda: vault.redeem(10**12 + 1, lender, lender, sender=lender),
        "lend": lambda: lending.lend(12_345),
        "repay": lambda: lending.repay(12_345, shares),
        "sweep": lambda: vault.sweep_reserves(sender=lender),
        "rate": lambda: vault.set_rate((0, 0, 0, 1), sender=lending.governor),
        "write off": lambda: lending.write_off(shares // 3),
    }
    results = []
    for is_first in (False, True):
        with lending.chain.isolated():
            if is_first:
                vault.accrue(sender=lending.stranger)
            acts[action]()
            lending.chain.advance(1_000)
            results.append((lending.figures(), lending.shares(lender), lending.tokens(lender)))
    assert results[0] == results[1]


def test_accrue__rate_of_zero__time_changes_nothing(lending: Lending) -> None:
    """I44."""
    lending.vault.set_rate((0, 0, 0, 5_000), sender=lending.governor)
    shares = lending.lend(9_000 * lending.unit)
    figures = lending.figures()
    lending.chain.advance(10 * YEAR_S)
    after = lending.figures()
    assert after[:2] + after[3:] == figures[:2] + figures[3:]
    assert lending.vault.debt_of(shares) == 9_000 * lending.unit
    assert lending.vault.events(lending.vault.accrue(sender=lending.stranger)) == []


def test_accrue__every_second__adds_only_roundings(lending: Lending) -> None:
    """T05, T46: splitting a time into many accruals loses no interest and adds next to none.

    What it adds is the rate following the use, some 1e-12 here, and a rounding of 1e-18 each time.
    """
    lending.lend(9_000 * lending.unit)
    with lending.chain.isolated():
        lending.chain.advance(300)
        at_once = lending.vault.state().index_wad
    for _ in range(300):
        lending.chain.advance(1)
        lending.vault.accrue(sender=lending.attacker)
    in_steps = lending.vault.state().index_wad
    assert at_once <= in_steps <= at_once + 300 + at_once // 10**11


def test_accrue__smallest_rate_and_debt__is_not_lost(lending: Lending) -> None:
    """T46: one unit lent at one basis point: the index moves every second, against the borrower."""
    lending.vault.set_rate((1, 0, 0, 5_000), sender=lending.governor)
    lending.lend(1)
    index = lending.vault.state().index_wad
    for _ in range(3):
        lending.chain.advance(1)
        assert lending.vault.state().index_wad > index
        index = lending.vault.state().index_wad


# ---- what becomes of interest


def test_accrue__interest__belongs_to_lenders_and_reserves(lending: Lending) -> None:
    """I05, I08: debt grows by at least what lenders and reserves are credited, to the unit."""
    lending.lend(9_000 * lending.unit)
    debt, total = lending.vault.total_debt(), lending.vault.totalAssets()
    for wait_s in (1, 77, 3_600, 86_400, YEAR_S):
        reserves = lending.vault.state().reserves
        lending.chain.advance(wait_s)
        lending.vault.accrue(sender=lending.stranger)
        interest = lending.vault.total_debt() - debt
        credited = lending.vault.totalAssets() - total + lending.vault.state().reserves - reserves
        assert abs(interest - credited) <= 1
        set_aside = lending.vault.state().reserves - reserves
        assert abs(set_aside - interest * RESERVE_FACTOR_BPS // 10_000) <= 1
        debt, total = lending.vault.total_debt(), lending.vault.totalAssets()
        idle = lending.vault.state().idle
        assert total in (
            idle + debt - lending.vault.state().reserves,
            idle + debt - 1 - lending.vault.state().reserves,
        )


def test_sweep_reserves__enough_idle__pays_all(lending: Lending) -> None:
    lending.lend(5_000 * lending.unit)
    lending.chain.advance(YEAR_S)
    reserves, total = lending.vault.state().reserves, lending.vault.totalAssets()
    assert reserves > 0
    receipt = lending.vault.sweep_reserves(sender=lending.stranger)
    assert receipt.return_value == reserves == lending.tokens(lending.insurance)
    [event] = lending.vault.events(receipt, "ReservesSwept")
    assert event.args._asdict() == {"receiver": lending.insurance, "assets": reserves}
    assert (lending.vault.state().reserves, lending.vault.totalAssets()) == (0, total)
    again = lending.vault.sweep_reserves(sender=lending.stranger)
    assert (again.return_value, lending.vault.events(again)) == (0, [])


def test_sweep_reserves__short_of_idle__pays_what_is_there(lending: Lending) -> None:
    shares = lending.lend(9_200 * lending.unit)
    lending.chain.advance(5 * YEAR_S)
    lending.vault.withdraw(
        lending.vault.state().idle - 7, lending.lender, lending.lender, sender=lending.lender
    )
    reserves, total = lending.vault.state().reserves, lending.vault.totalAssets()
    assert reserves > 7
    assert lending.vault.sweep_reserves(sender=lending.stranger).return_value == 7
    assert lending.vault.state().reserves == reserves - 7
    assert lending.vault.totalAssets() == total
    assert lending.vault.sweep_reserves(sender=lending.stranger).return_value == 0
    lending.repay(lending.vault.debt_of(shares), shares)
    assert lending.vault.sweep_reserves(sender=lending.stranger).return_value == reserves - 7


def test_sweep_and_skim__clearinghouse_busy__revert(lending: Lending) -> None:
    lending.set_busy()
    with reverts("vault: clearinghouse busy"):
        lending.vault.sweep_reserves(sender=lending.stranger)
    with reverts("vault: clearinghouse busy"):
        lending.vault.skim(sender=lending.stranger)


def test_reserves__all_redeemed__remain_for_insurance(lending: Lending) -> None:
    """C44.

    Reserves belong to no share; after the last lender has left they are still there in full.
    """
    shares = lending.lend(9_000 * lending.unit)
    lending.chain.advance(YEAR_S)
    lending.repay(lending.vault.debt_of(shares), shares)
    lender = lending.lender
    assert lending.vault.maxRedeem(lender) == lending.shares(lender)
    lending.vault.redeem(lending.shares(lender), lender, lender, sender=lender)
    state = lending.vault.state()
    assert state.supply == 0
    # The virtual share keeps its part of a unit; nothing else is left over.
    assert state.reserves <= state.idle <= state.reserves + 1
    assert lending.vault.sweep_reserves(sender=lending.stranger).return_value == state.reserves


def test_skim__after_a_donation__sends_it_on(lending: Lending) -> None:
    """T02, T11: a donation changes no figure; anyone may send it to the insurance receiver."""
    lending.lend(5_000 * lending.unit)
    before = lending.figures()
    nothing = lending.vault.skim(sender=lending.stranger)
    assert (nothing.return_value, nothing.logs) == (0, [])
    lending.donate(123)
    assert lending.figures() == before
    receipt = lending.vault.skim(sender=lending.stranger)
    assert receipt.return_value == 123 == lending.tokens(lending.insurance)
    [event] = lending.vault.events(receipt, "SurplusSkimmed")
    assert event.args._asdict() == {"receiver": lending.insurance, "assets": 123}
    assert lending.figures() == before
    assert lending.tokens(lending.vault) == lending.vault.state().idle


# ---- extremes


def test_accrue__ten_idle_years_at_the_highest_rate__bricks_nothing(lending: Lending) -> None:
    """T47: repay, exit, entry, sweep and lending all work afterwards."""
    lending.vault.set_rate(HIGHEST_RATE, sender=lending.governor)
    shares = lending.lend(10 * lending.unit)
    lending.chain.advance(10 * YEAR_S)
    owed = lending.vault.debt_of(shares)
    # An exponent of one hundred: 100 + 100**2 / 2 + 100**3 / 6 times the loan; beyond the index's
    # width it saturates.
    assert owed == -(-10 * lending.unit * MAX_INDEX_WAD // WAD)
    vault, lender = lending.vault, lending.lender
    lending.fund(lending.trader, owed)
    assert lending.repay(owed // 2, shares) < shares
    rest = vault.state().debt_shares
    assert lending.repay(vault.debt_of(rest), rest) == rest
    assert vault.sweep_reserves(sender=lender).return_value > 0
    vault.deposit(lending.unit, lender, sender=lender)
    vault.redeem(lending.shares(lender) // 2, lender, lender, sender=lender)
    vault.withdraw(lending.unit, lender, lender, sender=lender)
    assert lending.lend(1) == 1


def test_accrue__index_at_its_width__stops_there(lending: Lending) -> None:
    lending.vault.set_rate(HIGHEST_RATE, sender=lending.governor)
    shares = lending.lend(lending.unit)
    for _ in range(4):
        lending.chain.advance(5 * YEAR_S)
        lending.vault.accrue(sender=lending.stranger)
    assert lending.vault.state().index_wad == MAX_INDEX_WAD
    owed = lending.vault.debt_of(shares)
    lending.chain.advance(YEAR_S)
    assert lending.vault.events(lending.vault.accrue(sender=lending.stranger)) == []
    assert lending.vault.debt_of(shares) == owed
    lending.fund(lending.trader, owed)
    assert lending.repay(owed, shares) == shares


def test_accrue__reserves_at_their_width__leave_the_rest_to_lenders() -> None:
    lending = deploy_lending(RevmChain(), 18, deposit_cap=2**95, reserve_factor_bps=5_000)
    lending.fund(lending.lender, 2**95)
    lending.deposit(lending.lender, 2**95)
    lending.lend(lending.vault.max_loan())
    lending.chain.advance(YEAR_S)
    state = lending.vault.state()
    debt = state.debt_shares * state.index_wad // WAD
    assert state.reserves == 2**84 - 1 < (debt - 2**95 * 92 // 100) // 2
    assert lending.vault.totalAssets() == state.idle + debt - state.reserves
    lending.vault.accrue(sender=lending.stranger)
    assert lending.vault.sweep_reserves(sender=lending.stranger).return_value == 2**84 - 1


def test_accrue__after_the_last_counted_second__stops_and_bricks_nothing(lending: Lending) -> None:
    """The clock of the accrual holds at 2**32 - 1, in the year 2106."""
    shares = lending.lend(5_000 * lending.unit)
    lending.chain.set_time(LAST_SECOND + 10)
    lending.vault.accrue(sender=lending.stranger)
    owed = lending.vault.debt_of(shares)
    assert lending.vault.state().accrued_at == LAST_SECOND
    lending.chain.advance(50 * YEAR_S)
    assert lending.vault.debt_of(shares) == owed > 5_000 * lending.unit
    lending.fund(lending.trader, owed)
    assert lending.repay(owed, shares) == shares
    lender = lending.lender
    lending.vault.deposit(lending.unit, lender, sender=lender)
    lending.vault.redeem(lending.shares(lender), lender, lender, sender=lender)
    assert lending.shares(lender) == 0


def test_deposit__into_the_full_width__is_refused_with_a_reason() -> None:
    """Amounts beyond the packed widths revert instead of spilling into the neighbouring field."""
    lending = deploy_lending(RevmChain(), 18, deposit_cap=2**95)
    lending.fund(lending.lender, 2**97)
    lending.fund(lending.trader, 2**120)
    lending.deposit(lending.lender, 2**95)
    assert lending.vault.maxDeposit(lending.lender) == 0
    lending.vault.set_rate(HIGHEST_RATE, sender=lending.governor)
    shares = lending.lend(lending.vault.max_loan())
    lending.chain.advance(YEAR_S)
    before = lending.figures()
    with reverts("vault: amount too large"):
        lending.repay(lending.vault.debt_of(shares), shares)
    assert lending.figures() == before
    # What fits is taken, and withdrawals make room for the rest.
    assert lending.repay(2**95, shares) > 0
