"""The lending vault's parameters, owner, construction and list of entries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.artifacts import compile_contract
from ballast.chain import Reverted, RevmChain
from tests.conftest import reverts
from tests.lending_kit import (
    CAP_TOKENS,
    RATE,
    RESERVE_FACTOR_BPS,
    YEAR_S,
    ZERO_ADDRESS,
    Lending,
    deploy_lending,
    deploy_vault,
)

NEW_RATE = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def deployed() -> Lending:
    lending = deploy_lending(RevmChain())
    lending.deposit(lending.lender, 10_000 * lending.unit)
    lending.lend(9_000 * lending.unit)
    return lending


@pytest.fixture
def lending(deployed: Lending) -> Iterator[Lending]:
    """10,000 tokens lent to the vault, 9,000 of them borrowed."""
    with deployed.chain.isolated():
        yield deployed


SETTERS: dict[str, tuple[Any, str]] = {
    "set_rate": (NEW_RATE, "rate_parameters"),
    "set_reserve_factor": (77, "reserve_factor_bps"),
    "set_deposit_cap": (123_456, "deposit_cap"),
    "set_min_debt": (99, "min_debt"),
    "set_insurance_receiver": ("0x" + "42" * 20, "insurance_receiver"),
}


def _parameters(lending: Lending) -> dict[str, Any]:
    return {getter: lending.vault.function(getter)() for _, getter in SETTERS.values()}


@pytest.mark.parametrize("setter", SETTERS)
def test_set__by_the_owner__changes_this_one_only(lending: Lending, setter: str) -> None:
    value, getter = SETTERS[setter]
    before = _parameters(lending)
    lending.vault.function(setter)(value, sender=lending.governor)
    after = _parameters(lending)
    assert after.pop(getter) == value != before.pop(getter)
    assert after == before


@pytest.mark.parametrize("setter", SETTERS)
@pytest.mark.parametrize("actor", ["lender", "insurance", "trader", "attacker", "stranger"])
def test_set__by_anyone_else__reverts(lending: Lending, setter: str, actor: str) -> None:
    """T67, I37."""
    value, _ = SETTERS[setter]
    with reverts("ownable: caller is not the owner"):
        lending.vault.function(setter)(value, sender=getattr(lending, actor))


@pytest.mark.parametrize(
    ("setter", "event", "args"),
    [
        ("set_rate", "RateUpdated", {"old": RATE, "new": NEW_RATE}),
        ("set_min_debt", "MinDebtUpdated", {"old": 0, "new": 99}),
        (
            "set_reserve_factor",
            "ReserveFactorUpdated",
            {"old_bps": RESERVE_FACTOR_BPS, "new_bps": 77},
        ),
        ("set_deposit_cap", "DepositCapUpdated", {"old": CAP_TOKENS * 10**6, "new": 123_456}),
    ],
)
def test_set__by_the_owner__logs_old_and_new(
    lending: Lending, setter: str, event: str, args: dict[str, Any]
) -> None:
    """One event for what was set, none for what was not."""
    receipt = lending.vault.function(setter)(SETTERS[setter][0], sender=lending.governor)
    [logged] = lending.vault.events(receipt)
    assert (logged.name, logged.args._asdict()) == (event, args)


def test_set_insurance_receiver__by_the_owner__logs_old_and_new(lending: Lending) -> None:
    new = SETTERS["set_insurance_receiver"][0]
    receipt = lending.vault.set_insurance_receiver(new, sender=lending.governor)
    [logged] = lending.vault.events(receipt)
    assert logged.name == "InsuranceReceiverUpdated"
    assert logged.args._asdict() == {"old": lending.insurance, "new": new}


@pytest.mark.parametrize(
    ("setter", "value", "reason"),
    [
        ("set_min_debt", 100_001, "vault: least debt too high"),
        ("set_rate", (0, 0, 0, 0), "vault: bad kink"),
        ("set_rate", (0, 0, 0, 10_000), "vault: bad kink"),
        ("set_rate", (0, 0, 0, 2**256 - 1), "vault: bad kink"),
        ("set_rate", (100_001, 0, 0, 5_000), "vault: rate too high"),
        ("set_rate", (0, 100_001, 0, 5_000), "vault: rate too high"),
        ("set_rate", (0, 0, 100_001, 5_000), "vault: rate too high"),
        ("set_rate", (50_000, 50_000, 1, 5_000), "vault: rate too high"),
        ("set_rate", (2**256 - 1, 2**256 - 1, 2**256 - 1, 5_000), "vault: rate too high"),
        ("set_rate", (2**256 - 1, 1, 0, 5_000), "vault: rate too high"),
        ("set_rate", (1, 2**256 - 1, 0, 5_000), "vault: rate too high"),
        ("set_rate", (1, 0, 2**256 - 1, 5_000), "vault: rate too high"),
        ("set_reserve_factor", 5_001, "vault: reserve factor too high"),
        ("set_reserve_factor", 2**256 - 1, "vault: reserve factor too high"),
        ("set_deposit_cap", 2**95 + 1, "vault: deposit cap too high"),
        ("set_deposit_cap", 2**256 - 1, "vault: deposit cap too high"),
        ("set_insurance_receiver", ZERO_ADDRESS, "vault: bad receiver"),
        ("set_insurance_receiver", "vault", "vault: bad receiver"),
    ],
)
def test_set__out_of_bounds__reverts(
    lending: Lending, setter: str, value: Any, reason: str
) -> None:
    before = _parameters(lending)
    with reverts(reason):
        given_value = lending.vault.address if value == "vault" else value
        lending.vault.function(setter)(given_value, sender=lending.governor)
    assert _parameters(lending) == before


@pytest.mark.parametrize(
    ("setter", "value"),
    [
        ("set_rate", (100_000, 0, 0, 1)),
        ("set_rate", (0, 100_000, 0, 9_999)),
        ("set_rate", (0, 0, 100_000, 1)),
        ("set_rate", (0, 0, 0, 1)),
        ("set_reserve_factor", 5_000),
        ("set_reserve_factor", 0),
        ("set_deposit_cap", 2**95),
        ("set_deposit_cap", 0),
    ],
)
def test_set__at_the_bounds__is_accepted(lending: Lending, setter: str, value: Any) -> None:
    lending.vault.function(setter)(value, sender=lending.governor)
    assert lending.vault.function(SETTERS[setter][1])() == value


@given(
    base=st.integers(0, 50_000),
    low=st.integers(0, 25_000),
    high=st.integers(0, 25_000),
    kink=st.integers(1, 9_999),
    factor=st.integers(0, 5_000),
    cap=st.integers(0, 2**95),
    held_s=st.integers(0, 3_600),
)
def test_set__any_terms__come_back_unmixed(
    deployed: Lending, base: int, low: int, high: int, kink: int, factor: int, cap: int, held_s: int
) -> None:
    """The fields of the packed word do not touch, and setters leave the hold of exits alone."""
    with deployed.chain.isolated():
        vault, governor = deployed.vault, deployed.governor
        until = deployed.hold_exits(held_s)
        vault.set_deposit_cap(cap, sender=governor)
        vault.set_rate((base, low, high, kink), sender=governor)
        vault.set_reserve_factor(factor, sender=governor)
        assert vault.rate_parameters() == (base, low, high, kink)
        assert (vault.reserve_factor_bps(), vault.deposit_cap()) == (factor, cap)
        assert vault.exits_held_until() == until
        vault.hold_exits(0, sender=deployed.liquidator)
        assert vault.rate_parameters() == (base, low, high, kink)
        assert (vault.reserve_factor_bps(), vault.deposit_cap()) == (factor, cap)
        assert vault.exits_held_until() == 0


def test_set_rate__after_a_time__leaves_past_interest_alone(lending: Lending) -> None:
    """T43, T67: a change counts from now on; no debt jumps in the transaction that makes it."""
    lending.chain.advance(YEAR_S)
    debt, figures = lending.vault.total_debt(), lending.figures()
    lending.vault.set_rate((100_000, 0, 0, 5_000), sender=lending.governor)
    assert (lending.vault.total_debt(), lending.figures()) == (debt, figures)
    lending.vault.set_reserve_factor(0, sender=lending.governor)
    assert (lending.vault.total_debt(), lending.figures()) == (debt, figures)
    lending.chain.advance(12)
    assert lending.vault.state().reserves == figures[5]
    assert lending.vault.total_debt() > debt


def test_set_deposit_cap__to_zero__stops_entry_and_nothing_else(lending: Lending) -> None:
    """The kill switch of the contract's header."""
    vault, lender = lending.vault, lending.lender
    vault.set_deposit_cap(0, sender=lending.governor)
    assert (vault.maxDeposit(lender), vault.maxMint(lender)) == (0, 0)
    with reverts("vault: deposit cap"):
        vault.deposit(1, lender, sender=lender)
    with reverts("vault: deposit cap"):
        vault.mint(10**6, lender, sender=lender)
    assert vault.withdraw(lending.unit, lender, lender, sender=lender).return_value > 0
    assert vault.redeem(10**12, lender, lender, sender=lender).return_value > 0
    shares = vault.state().debt_shares
    assert lending.repay(vault.debt_of(shares), shares) == shares
    assert lending.lend(lending.unit) > 0


def test_set_insurance_receiver__then_sweep__pays_the_new_one(lending: Lending) -> None:
    lending.chain.advance(YEAR_S)
    lending.donate(5)
    lending.vault.set_insurance_receiver(lending.stranger, sender=lending.governor)
    swept = lending.vault.sweep_reserves(sender=lending.attacker).return_value
    lending.vault.skim(sender=lending.attacker)
    assert lending.tokens(lending.stranger) == swept + 5 > 5
    assert lending.tokens(lending.insurance) == 0


# ---- ownership


def test_transfer_ownership__two_steps__moves_the_rights(lending: Lending) -> None:
    vault, old, new = lending.vault, lending.governor, lending.stranger
    assert vault.owner() == old
    with reverts("ownable: caller is not the owner"):
        vault.transfer_ownership(new, sender=new)
    vault.transfer_ownership(new, sender=old)
    assert (vault.owner(), vault.pending_owner()) == (old, new)
    with reverts("ownable_2step: caller is not the new owner"):
        vault.accept_ownership(sender=lending.attacker)
    vault.accept_ownership(sender=new)
    assert (vault.owner(), vault.pending_owner()) == (new, ZERO_ADDRESS)
    with reverts("ownable: caller is not the owner"):
        vault.set_reserve_factor(0, sender=old)
    vault.set_reserve_factor(0, sender=new)
    assert vault.reserve_factor_bps() == 0


# ---- construction


def test_deploy__as_given__starts_empty_and_logs_its_terms(lending: Lending) -> None:
    vault = deploy_vault(lending.chain, lending.asset, lending.borrower, min_debt=77)
    assert vault.state() == (0, 0, lending.chain.time, 0, 10**18, 0)
    assert (vault.owner(), vault.CLEARINGHOUSE()) == (lending.governor, lending.borrower.address)
    assert (vault.LIQUIDATOR(), vault.exits_held_until()) == (lending.liquidator, 0)
    assert (vault.asset(), vault.insurance_receiver()) == (lending.asset.address, lending.insurance)
    assert vault.receipt is not None
    logged = {event.name: event.args for event in vault.events(vault.receipt)}
    assert logged["RateUpdated"] == ((0, 0, 0, 0), RATE)
    assert logged["ReserveFactorUpdated"] == (0, RESERVE_FACTOR_BPS)
    assert logged["DepositCapUpdated"] == (0, CAP_TOKENS * 10**6)
    assert logged["MinDebtUpdated"] == (0, 77)
    assert logged["InsuranceReceiverUpdated"] == (ZERO_ADDRESS, lending.insurance)


@pytest.mark.parametrize("decimals", [0, 1, 19, 24])
def test_deploy__unsupported_decimals__reverts(lending: Lending, decimals: int) -> None:
    """T18."""
    asset = lending.chain.deploy("MockToken", "Odd", "ODD", decimals, sender=lending.governor)
    with reverts("vault: unsupported decimals"):
        deploy_vault(lending.chain, asset, lending.borrower, deposit_cap=1)


@pytest.mark.parametrize("decimals", [2, 18])
def test_deploy__supported_decimals__adds_six(lending: Lending, decimals: int) -> None:
    asset = lending.chain.deploy("MockToken", "Odd", "ODD", decimals, sender=lending.governor)
    assert deploy_vault(lending.chain, asset, lending.borrower).decimals() == decimals + 6


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"rate": (0, 0, 0, 0)}, "vault: bad kink"),
        ({"rate": (0, 0, 100_001, 1)}, "vault: rate too high"),
        ({"reserve_factor_bps": 5_001}, "vault: reserve factor too high"),
        ({"deposit_cap": 2**95 + 1}, "vault: deposit cap too high"),
    ],
)
def test_deploy__bad_terms__reverts(lending: Lending, terms: dict[str, Any], reason: str) -> None:
    with reverts(reason):
        deploy_vault(lending.chain, lending.asset, lending.borrower, **terms)


@pytest.mark.parametrize(
    "position", [3, 4, 5], ids=["clearinghouse", "liquidator", "insurance receiver"]
)
def test_deploy__zero_address__reverts(lending: Lending, position: int) -> None:
    arguments: list[Any] = [
        lending.asset.address,
        "Name",
        "SYM",
        lending.borrower.address,
        lending.liquidator,
        lending.insurance,
        lending.governor,
        RATE,
        0,
        0,
        0,
    ]
    arguments[position] = ZERO_ADDRESS
    with reverts("vault: bad receiver"):
        lending.chain.deploy("LendingVault", *arguments, sender=lending.governor)


def test_deploy__asset_without_code__reverts(lending: Lending) -> None:
    """T13."""
    with pytest.raises(Reverted):
        lending.chain.deploy(
            "LendingVault",
            lending.stranger,
            "Name",
            "SYM",
            lending.borrower.address,
            lending.liquidator,
            lending.insurance,
            lending.governor,
            RATE,
            0,
            0,
            0,
            sender=lending.governor,
        )


def test_enter__clearinghouse_not_yet_deployed__is_closed(lending: Lending) -> None:
    """The vault may stand before the clearing house does: limits say zero, entries revert."""

    class Nowhere:
        address = "0x" + "99" * 20

    vault = deploy_vault(lending.chain, lending.asset, Nowhere)  # type: ignore[arg-type]
    lending.asset.approve(vault.address, 10**30, sender=lending.lender)
    assert (vault.maxDeposit(lending.lender), vault.maxMint(lending.lender)) == (0, 0)
    assert (vault.maxWithdraw(lending.lender), vault.maxRedeem(lending.lender)) == (0, 0)
    with pytest.raises(Reverted):
        vault.deposit(lending.unit, lending.lender, sender=lending.lender)
    assert (vault.totalAssets(), vault.previewDeposit(1)) == (0, 10**6)


# ---- the list of entries


def _names(text: str) -> set[str]:
    return set(text.split())


ERC20 = _names("""
    name symbol decimals totalSupply balanceOf allowance transfer transferFrom approve
    permit nonces DOMAIN_SEPARATOR eip712Domain
""")
ERC4626 = _names("""
    asset totalAssets convertToShares convertToAssets
    maxDeposit previewDeposit deposit maxMint previewMint mint
    maxWithdraw previewWithdraw withdraw maxRedeem previewRedeem redeem
""")
ANYONE = _names("accrue sweep_reserves skim accept_ownership")
CLEARINGHOUSE_ONLY = _names("lend repay")
LIQUIDATOR_ONLY = _names("write_off hold_exits")
OWNER_ONLY = {*SETTERS, "set_outflow_limit", "transfer_ownership"}
VIEWS = _names("""
    state debt_of debt_index_ray total_debt max_loan utilisation_wad borrow_rate_ray
    rate_parameters reserve_factor_bps deposit_cap min_debt outflow_limit exits_held_until
    insurance_receiver
    CLEARINGHOUSE LIQUIDATOR owner pending_owner
""")


def test_entries__of_the_vault__are_these_and_no_others() -> None:
    """T37, I37: a function that is in no list fails here, before it is in no test."""
    abi = compile_contract("LendingVault").abi
    functions = {entry["name"]: entry for entry in abi if entry["type"] == "function"}
    lists = [ERC20, ERC4626, ANYONE, CLEARINGHOUSE_ONLY, LIQUIDATOR_ONLY, OWNER_ONLY, VIEWS]
    assert set(functions) == set().union(*lists)
    assert sum(map(len, lists)) == len(functions)
    views = {
        name for name, entry in functions.items() if entry["stateMutability"] in ("view", "pure")
    }
    assert views & (ANYONE | CLEARINGHOUSE_ONLY | LIQUIDATOR_ONLY | OWNER_ONLY) == set()
    assert views >= VIEWS
    assert "payable" not in json.dumps(abi).replace("nonpayable", "")  # T40


def test_code_size__of_the_vault__fits_with_room(lending: Lending) -> None:
    assert lending.chain.code_size(lending.vault.address) <= 24_000
