"""The vault of tests and demonstrations is an honest one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Contract, RevmChain
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.shares_kit import YEAR_S
from tests.support.world import UNLIMITED, WAD, ZERO_ADDRESS

UNIT = 10**6


@pytest.fixture(scope="module")
def shared() -> Contract:
    """Shares of 8 decimals over 1,000 whole assets of 6, without growth."""
    chain = RevmChain()
    owner = chain.accounts[0]
    token = chain.deploy("MockToken", "Asset", "AST", 6, sender=owner)
    vault = chain.deploy("MockYieldVault", token, "Yield", "YLD", 2, 0, sender=owner)
    for who in chain.accounts[:3]:
        token.mint(who, 10**30, sender=owner)
        token.approve(vault, UNLIMITED, sender=who)
    vault.deposit(1_000 * UNIT, owner, sender=owner)
    return vault


@pytest.fixture
def vault(shared: Contract) -> Iterator[Contract]:
    with shared.chain.isolated():
        yield shared


def asset_of(vault: Contract) -> Contract:
    return vault.chain.at(vault.asset(), "MockToken")


def test_share__after_deployment__is_worth_the_asset(vault: Contract) -> None:
    assert vault.decimals() == 8
    assert vault.convertToAssets(10**8) == UNIT
    assert vault.convertToShares(UNIT) == 10**8


@pytest.mark.parametrize("days", [0, 1, 365])
def test_growth__as_set__is_minted_when_somebody_comes(vault: Contract, days: int) -> None:
    owner = vault.chain.accounts[0]
    vault.set_growth(WAD // YEAR_S, sender=owner)
    vault.chain.advance(days * 86_400)
    earned = 1_000 * UNIT * (WAD // YEAR_S) * days * 86_400 // WAD
    assert vault.totalAssets() == 1_000 * UNIT + earned
    assert asset_of(vault).balanceOf(vault) == 1_000 * UNIT
    vault.deposit(0, owner, sender=owner)
    assert asset_of(vault).balanceOf(vault) == vault.totalAssets() == 1_000 * UNIT + earned


def test_gift_and_loss__every_share_alike(vault: Contract) -> None:
    giver = vault.chain.accounts[1]
    asset_of(vault).transfer(vault, 500 * UNIT, sender=giver)
    assert vault.convertToAssets(10**11) == pytest.approx(1_500 * UNIT, abs=1)
    vault.burn_assets(750 * UNIT, sender=giver)
    assert vault.convertToAssets(10**11) == pytest.approx(750 * UNIT, abs=1)


@given(amount=st.integers(1, 10**15), gift=st.integers(0, 10**12))
def test_entry_and_exit__any_amount__are_as_previewed_and_never_gain(
    shared: Contract, amount: int, gift: int
) -> None:
    vault, chain = shared, shared.chain
    who = chain.accounts[2]
    with chain.isolated():
        asset_of(vault).transfer(vault, gift, sender=chain.accounts[1])
        start = asset_of(vault).balanceOf(who)
        quoted = vault.previewDeposit(amount)
        shares = vault.deposit(amount, who, sender=who).return_value
        assert shares == quoted == vault.balanceOf(who)
        quoted = vault.previewMint(amount)
        assert vault.mint(amount, who, sender=who).return_value == quoted
        quoted = vault.previewWithdraw(vault.maxWithdraw(who) // 2)
        half = vault.maxWithdraw(who) // 2
        assert vault.withdraw(half, who, who, sender=who).return_value == quoted
        quoted = vault.previewRedeem(vault.maxRedeem(who))
        assert vault.redeem(vault.maxRedeem(who), who, who, sender=who).return_value == quoted
        assert asset_of(vault).balanceOf(who) <= start
        assert vault.balanceOf(who) == 0


def test_redeem__by_a_spender__needs_an_allowance(vault: Contract) -> None:
    owner, spender = vault.chain.accounts[:2]
    with reverts("erc20: insufficient allowance"):
        vault.redeem(10**8, spender, owner, sender=spender)
    vault.approve(spender, 10**8, sender=owner)
    receipt = vault.redeem(10**8, spender, owner, sender=spender)
    told = args_of(vault, receipt, "Withdraw")
    assert tuple(told) == (spender, spender, owner, UNIT, 10**8)
    assert vault.allowance(owner, spender) == 0


def test_limits__are_those_of_the_holder(vault: Contract) -> None:
    owner, other = vault.chain.accounts[:2]
    assert vault.maxDeposit(other) == vault.maxMint(other) == UNLIMITED
    assert vault.maxDeposit(ZERO_ADDRESS) == vault.maxMint(ZERO_ADDRESS) == 0
    assert (vault.maxRedeem(other), vault.maxWithdraw(other)) == (0, 0)
    assert (vault.maxRedeem(owner), vault.maxWithdraw(owner)) == (10**11, 1_000 * UNIT)
    with reverts("erc20: mint to the zero address"):
        vault.deposit(1, ZERO_ADDRESS, sender=owner)
