"""Attacks on the lending vault's shares.

Threats T01 to T11 and invariants I06 and I10, played through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Reverted, RevmChain
from tests.conftest import reverts
from tests.lending_kit import YEAR_S, Lending, deploy_lending

VIRTUAL_SHARES = 10**6
DECIMALS = (6, 8, 18)


@pytest.fixture(scope="module", params=DECIMALS, ids=lambda d: f"{d}-decimals")
def deployed(request: pytest.FixtureRequest) -> Lending:
    lending = deploy_lending(RevmChain(), request.param, deposit_cap=2**95)
    for account in (lending.lender, lending.attacker):
        lending.fund(account, 2**90)
    return lending


@pytest.fixture
def lending(deployed: Lending) -> Iterator[Lending]:
    """Nobody has deposited."""
    with deployed.chain.isolated():
        yield deployed


def _indebted(lending: Lending) -> None:
    lending.deposit(lending.lender, 10_000 * lending.unit)
    lending.lend(9_000 * lending.unit)
    lending.chain.advance(YEAR_S + 7)


def _exit_all(lending: Lending, account: str) -> None:
    most = lending.vault.maxRedeem(account)
    if most:
        lending.vault.redeem(most, account, account, sender=account)


# ---- T01: the first depositor

amounts = st.one_of(st.integers(1, 20), st.integers(1, 10**6), st.integers(1, 10**15))
manoeuvres = st.lists(
    st.tuples(
        st.sampled_from(("deposit", "mint", "donate", "withdraw", "redeem", "skim")), amounts
    ),
    max_size=10,
)


def _manoeuvre(lending: Lending, name: str, amount: int) -> None:
    vault, attacker = lending.vault, lending.attacker
    acts: dict[str, Callable[[], object]] = {
        "deposit": lambda: vault.deposit(amount, attacker, sender=attacker),
        "mint": lambda: vault.mint(amount, attacker, sender=attacker),
        "donate": lambda: lending.asset.transfer(vault.address, amount, sender=attacker),
        "withdraw": lambda: vault.withdraw(amount, attacker, attacker, sender=attacker),
        "redeem": lambda: vault.redeem(amount, attacker, attacker, sender=attacker),
        "skim": lambda: vault.skim(sender=attacker),
    }
    try:
        acts[name]()
    except Reverted as error:
        assert error.reason in ("vault: zero amount", "vault: too few shares")


@given(before=manoeuvres, after=manoeuvres, deposit=st.integers(1, 10**12))
def test_inflate__any_manoeuvre_around_a_first_deposit__does_not_pay(
    deployed: Lending, before: list[tuple[str, int]], after: list[tuple[str, int]], deposit: int
) -> None:
    """T01, I10: the attacker never gains, the victim loses at most a unit."""
    lending = deployed
    with lending.chain.isolated():
        start = lending.tokens(lending.attacker)
        for name, amount in before:
            _manoeuvre(lending, name, amount)
        shares = lending.deposit(lending.lender, deposit)
        assert lending.vault.convertToAssets(shares) >= deposit - 1
        for name, amount in after:
            _manoeuvre(lending, name, amount)
        _exit_all(lending, lending.attacker)
        assert lending.tokens(lending.attacker) <= start
        assert lending.vault.convertToAssets(shares) >= deposit - 1


def test_inflate__by_a_large_donation__costs_all_of_it(lending: Lending) -> None:
    """T01, T02: the classic: one share, a donation as large as the victim's deposit."""
    vault, attacker = lending.vault, lending.attacker
    start = lending.tokens(attacker)
    vault.mint(1, attacker, sender=attacker)
    lending.asset.transfer(vault.address, 10_000 * lending.unit, sender=attacker)
    shares = lending.deposit(lending.lender, 10_000 * lending.unit)
    assert vault.convertToAssets(shares) >= 10_000 * lending.unit - 1
    _exit_all(lending, attacker)
    assert lending.tokens(attacker) <= start - 10_000 * lending.unit


def test_inflate__by_minting_single_shares__costs_a_million_times_the_harm(
    lending: Lending,
) -> None:
    """T01: each share minted for a whole unit raises the price by a millionth of a unit at most."""
    vault, attacker = lending.vault, lending.attacker
    paid = 0
    for _ in range(200):
        paid += vault.mint(1, attacker, sender=attacker).return_value
    assert paid == 200
    assert vault.convertToAssets(VIRTUAL_SHARES) <= 200
    shares = lending.deposit(lending.lender, 123_456)
    assert 123_456 - vault.convertToAssets(shares) <= 1
    _exit_all(lending, attacker)
    assert vault.state().idle >= 123_456


def test_enter__a_share_unit_dearer_than_the_deposit__reverts(lending: Lending) -> None:
    """T01, T04: at an absurd price a deposit that would mint nothing is refused, and says so."""
    vault, attacker, lender = lending.vault, lending.attacker, lending.lender
    for _ in range(200):
        vault.mint(1, attacker, sender=attacker)
    vault.set_rate((100_000, 0, 0, 5_000), sender=lending.governor)
    lending.lend(184)
    lending.chain.advance(10 * YEAR_S)
    price = vault.totalAssets() // (vault.totalSupply() + VIRTUAL_SHARES)
    assert price > 5  # asset units a share unit, from a millionth
    assert vault.previewDeposit(price) in (0, 1)
    assert vault.previewDeposit(price - 1) == 0
    with reverts("vault: zero amount"):
        vault.deposit(price - 1, lender, sender=lender)
    vault.set_deposit_cap(vault.totalAssets() + price - 1, sender=lending.governor)
    assert (vault.maxDeposit(lender), vault.maxMint(lender)) == (0, 0)
    vault.set_deposit_cap(2**95, sender=lending.governor)
    assert vault.mint(1, lender, sender=lender).return_value in (price, price + 1)
    assert vault.redeem(1, lender, lender, sender=lender).return_value in (price, price + 1)
    assert lending.shares(lender) == 0


# ---- T02 to T04, T10, T11


def test_donate__in_every_phase__moves_no_figure(lending: Lending) -> None:
    """T02, T03, T11: neither prices nor limits nor the rate see a donation."""
    vault = lending.vault

    def seen() -> tuple[int, ...]:
        return (
            *vault.state(),
            vault.totalAssets(),
            vault.convertToShares(10**9),
            vault.convertToAssets(10**15),
            vault.max_loan(),
            vault.utilisation_wad(),
            vault.borrow_rate_ray(),
            vault.maxDeposit(lending.lender),
            vault.maxWithdraw(lending.lender),
        )

    for phase in (lambda: None, lambda: _indebted(lending), lambda: lending.chain.advance(YEAR_S)):
        phase()
        before = seen()
        lending.donate(10**12 * lending.unit)
        assert seen() == before


def test_price__of_a_share__is_never_zero(lending: Lending) -> None:
    """T04: a million share units are worth at least about a unit, whoever left how much behind."""
    vault, lender = lending.vault, lending.lender
    assert vault.convertToAssets(VIRTUAL_SHARES) == 1
    lending.deposit(lender, 3)
    _exit_all(lending, lender)
    assert vault.convertToAssets(VIRTUAL_SHARES) >= 1
    _indebted(lending)
    assert vault.convertToAssets(VIRTUAL_SHARES * lending.unit) > lending.unit


# ---- T05: rounding, over and over


@pytest.mark.parametrize(
    "action", ["deposit and withdraw", "mint and redeem", "deposit and redeem"]
)
def test_round_trip__three_hundred_times__never_pays(lending: Lending, action: str) -> None:
    """T05, I06, I10: dust steps in a vault whose price is as odd as interest makes it."""
    _indebted(lending)
    lending.repay(5_000 * lending.unit, lending.vault.state().debt_shares)
    vault, attacker = lending.vault, lending.attacker
    lending.deposit(attacker, 10 * lending.unit)
    wealth = lending.tokens(attacker) + vault.convertToAssets(lending.shares(attacker))
    price = (vault.totalAssets() + 1, vault.totalSupply() + VIRTUAL_SHARES)
    for step in range(300):
        odd = 1 + step % 7
        shares = odd * VIRTUAL_SHARES + step
        if action == "deposit and withdraw":
            vault.deposit(odd, attacker, sender=attacker)
            vault.withdraw(odd, attacker, attacker, sender=attacker)
        elif action == "mint and redeem":
            vault.mint(shares, attacker, sender=attacker)
            vault.redeem(shares, attacker, attacker, sender=attacker)
        else:
            minted = vault.deposit(odd + 1, attacker, sender=attacker).return_value
            vault.redeem(minted, attacker, attacker, sender=attacker)
    assert lending.tokens(attacker) + vault.convertToAssets(lending.shares(attacker)) <= wealth
    assert (vault.totalAssets() + 1) * price[1] >= price[0] * (vault.totalSupply() + VIRTUAL_SHARES)


@given(parts=st.lists(st.integers(1, 10**9), min_size=2, max_size=8))
def test_split__one_action_into_many__never_pays(deployed: Lending, parts: list[int]) -> None:
    """T05: split invariance: many small entries or exits get at most what one gets."""
    lending = deployed
    vault, attacker = lending.vault, lending.attacker
    with lending.chain.isolated():
        _indebted(lending)
        lending.repay(8_000 * lending.unit, vault.state().debt_shares)
        whole = vault.previewDeposit(sum(parts))
        assert (
            sum(vault.deposit(part, attacker, sender=attacker).return_value for part in parts)
            <= whole
        )
        shares = [lending.shares(attacker) // (len(parts) + 1)] * len(parts)
        worth = vault.previewRedeem(sum(shares))
        got = 0
        for part in shares:
            if vault.previewRedeem(part):
                got += vault.redeem(part, attacker, attacker, sender=attacker).return_value
        assert got <= worth


# ---- T06 to T08


def test_supply__through_entries_and_exits__is_the_sum_of_balances(lending: Lending) -> None:
    """T06, I03: there are no fee shares; reserves dilute nobody."""
    _indebted(lending)
    vault = lending.vault
    for account in (lending.lender, lending.other_lender, lending.attacker):
        lending.deposit(account, 77 * lending.unit + 1)
        vault.transfer(lending.stranger, 1_234, sender=account)
        vault.withdraw(11, account, account, sender=account)
        vault.sweep_reserves(sender=account)
        lending.chain.advance(86_400)
    holders = (lending.lender, lending.other_lender, lending.attacker, lending.stranger)
    assert vault.totalSupply() == sum(lending.shares(holder) for holder in holders)


def test_deposit__around_an_accrual_in_one_block__earns_nothing(lending: Lending) -> None:
    """T07, A16: a year of interest waits to be written down; who enters first gets none of it."""
    _indebted(lending)
    vault, attacker = lending.vault, lending.attacker
    start = lending.tokens(attacker)
    with lending.chain.one_block():
        lending.deposit(attacker, 10**6 * lending.unit)
        vault.accrue(sender=attacker)
        vault.sweep_reserves(sender=attacker)
        lending.repay(vault.total_debt(), vault.state().debt_shares)
        _exit_all(lending, attacker)
    assert lending.shares(attacker) == 0
    assert start - 1 <= lending.tokens(attacker) <= start


def test_preview__then_act_in_the_same_block__agree(lending: Lending) -> None:
    """T08: whatever time has passed unwritten, the preview is the result."""
    _indebted(lending)
    vault, lender = lending.vault, lending.lender
    for wait_s in (0, 1, 3_599, 86_400, YEAR_S):
        lending.chain.advance(wait_s)
        with lending.chain.isolated():
            expected = vault.previewDeposit(1_001)
            assert vault.deposit(1_001, lender, sender=lender).return_value == expected
        with lending.chain.isolated():
            expected = vault.previewMint(10**7 + 1)
            assert vault.mint(10**7 + 1, lender, sender=lender).return_value == expected
        with lending.chain.isolated():
            expected = vault.previewWithdraw(1_001)
            assert vault.withdraw(1_001, lender, lender, sender=lender).return_value == expected
        with lending.chain.isolated():
            expected = vault.previewRedeem(10**7 + 1)
            assert vault.redeem(10**7 + 1, lender, lender, sender=lender).return_value == expected


# ---- T10, A14: limits in a run on the vault


def test_exit__run_on_the_vault__pays_idle_and_no_more(lending: Lending) -> None:
    """T10: lenders who come late wait for repayments; the limits say so beforehand."""
    lending.deposit(lending.lender, 6_000 * lending.unit)
    lending.deposit(lending.other_lender, 4_000 * lending.unit)
    shares = lending.lend(9_000 * lending.unit)
    vault = lending.vault
    most = vault.maxWithdraw(lending.lender)
    assert most == vault.state().idle == 1_000 * lending.unit
    vault.withdraw(most, lending.lender, lending.lender, sender=lending.lender)
    for account in (lending.lender, lending.other_lender):
        assert (vault.maxWithdraw(account), vault.maxRedeem(account)) == (0, 0)
        with reverts("vault: not enough idle"):
            vault.withdraw(1, account, account, sender=account)
    lending.chain.advance(YEAR_S)
    lending.repay(vault.debt_of(shares), shares)
    for account in (lending.lender, lending.other_lender):
        assert vault.maxRedeem(account) == lending.shares(account)
        _exit_all(lending, account)
    assert vault.totalSupply() == 0
    # I05: what is left belongs to the reserves, but for the virtual share's part.
    assert vault.totalAssets() <= 2


# ---- I10 over random wealth: nothing done in one block pays


@given(
    life=st.lists(
        st.tuples(st.sampled_from(("deposit", "mint", "withdraw", "redeem")), amounts), max_size=12
    ),
    lent=st.integers(0, 9_200),
    wait_s=st.integers(1, 10 * YEAR_S),
)
def test_trade_shares__any_order_in_one_block__does_not_pay(
    deployed: Lending, life: list[tuple[str, int]], lent: int, wait_s: int
) -> None:
    """I06, I10."""
    lending = deployed
    vault, attacker = lending.vault, lending.attacker
    with lending.chain.isolated():
        lending.deposit(lending.lender, 10_000 * lending.unit)
        lending.deposit(attacker, 100 * lending.unit)
        if lent:
            lending.lend(lent * lending.unit)
        lending.chain.advance(wait_s)
        wealth = lending.tokens(attacker) + vault.convertToAssets(lending.shares(attacker))
        others = vault.convertToAssets(lending.shares(lending.lender))
        for name, amount in life:
            try:
                if name in ("deposit", "mint"):
                    vault.function(name)(amount, attacker, sender=attacker)
                else:
                    vault.function(name)(amount, attacker, attacker, sender=attacker)
            except Reverted as error:
                assert error.reason in (
                    "vault: zero amount",
                    "vault: too few shares",
                    "vault: not enough idle",
                )
        assert lending.tokens(attacker) + vault.convertToAssets(lending.shares(attacker)) <= wealth
        assert vault.convertToAssets(lending.shares(lending.lender)) >= others
