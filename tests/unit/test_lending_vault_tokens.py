"""The lending vault and tokens that misbehave: fees, odd answers, callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from ballast.chain import Contract, Reverted, RevmChain
from tests.conftest import reverts
from tests.lending_kit import UNLIMITED, YEAR_S, ZERO_ADDRESS, Lending, deploy_lending, deploy_vault

SAYS_TRUE, SAYS_FALSE, SAYS_NOTHING = 0, 1, 2
UNIT = 10**18


def _lending_of(token: str) -> Lending:
    """A vault of another token, with 1,000 tokens for lender, trader and attacker."""
    chain = RevmChain()
    governor = chain.accounts[0]
    asset = chain.deploy(token, sender=governor)
    borrower = chain.deploy("VaultBorrower", sender=governor)
    lending = Lending(chain, asset, borrower, deploy_vault(chain, asset, borrower), 18)
    for account in (lending.lender, lending.trader, lending.attacker):
        lending.fund(account, 1_000 * UNIT)
    return lending


# ---- T12: tokens that deliver less than was sent


def test_deposit__fee_on_transfer__reverts() -> None:
    """T12: credit is what arrived, and if that is not what was meant nothing happens."""
    lending = _lending_of("FeeToken")
    for donation in (0, 100 * UNIT):  # a surplus does not hide the gap
        lending.donate(donation)
        with reverts("token: short transfer"):
            lending.deposit(lending.lender, 10 * UNIT)
        with reverts("token: short transfer"):
            lending.vault.mint(10**25, lending.lender, sender=lending.lender)
    assert lending.figures()[:2] == (0, 0)
    assert lending.deposit(lending.lender, 99) > 0  # too little for this token's fee


def test_repay__fee_on_transfer__reverts() -> None:
    """T12, I01."""
    lending = _lending_of("FeeToken")
    for _ in range(20):
        lending.deposit(lending.lender, 99)
    shares = lending.lend(500)
    with reverts("vault: repayment missing"):
        lending.repay(500, shares)
    assert lending.vault.state().debt_shares == shares


# ---- T13: tokens that answer nothing, or false


def test_move__token_answers_nothing__works() -> None:
    """T13."""
    lending = _lending_of("QuirkyToken")
    lending.asset.set_answers(SAYS_NOTHING, sender=lending.governor)
    lender = lending.lender
    shares = lending.deposit(lender, 10 * UNIT)
    lending.lend(UNIT)
    assert lending.vault.withdraw(UNIT, lender, lender, sender=lender).return_value > 0
    assert lending.vault.redeem(shares // 2, lender, lender, sender=lender).return_value > 0
    assert lending.tokens(lending.vault) == lending.vault.state().idle


def test_move__token_answers_false__reverts() -> None:
    """T13: in every direction, and nothing is booked."""
    lending = _lending_of("QuirkyToken")
    lender = lending.lender
    lending.deposit(lender, 10 * UNIT)
    lending.lend(5 * UNIT)
    lending.donate(7)
    lending.chain.advance(YEAR_S)
    lending.vault.accrue(sender=lender)
    lending.asset.set_answers(SAYS_FALSE, sender=lending.governor)
    before = lending.figures()
    with reverts("token: pull failed"):
        lending.vault.deposit(UNIT, lender, sender=lender)
    with reverts("token: pull failed"):
        lending.vault.mint(UNIT, lender, sender=lender)
    for push in (
        lambda: lending.vault.withdraw(UNIT, lender, lender, sender=lender),
        lambda: lending.vault.redeem(10**6 * UNIT, lender, lender, sender=lender),
        lambda: lending.lend(UNIT),
        lambda: lending.vault.sweep_reserves(sender=lender),
        lambda: lending.vault.skim(sender=lender),
    ):
        with reverts("token: transfer failed"):
            push()
    assert lending.figures() == before


# ---- T16, T33, T35: tokens that call back


@pytest.fixture(scope="module")
def deployed() -> Lending:
    lending = _lending_of("CallbackToken")
    lending.deposit(lending.lender, 500 * UNIT)
    lending.lend(200 * UNIT)
    lending.donate(9)
    lending.chain.advance(YEAR_S)
    return lending


@pytest.fixture
def lending(deployed: Lending) -> Iterator[Lending]:
    """500 tokens lent, 200 borrowed a year ago, nine units donated, and a token that calls."""
    with deployed.chain.isolated():
        yield deployed


def _moves(lending: Lending) -> dict[str, Callable[[], Any]]:
    """Every function in which the vault calls the token to move."""
    vault, lender = lending.vault, lending.lender
    return {
        "deposit": lambda: vault.deposit(UNIT, lender, sender=lender),
        "mint": lambda: vault.mint(10**6 * UNIT, lender, sender=lender),
        "withdraw": lambda: vault.withdraw(UNIT, lender, lender, sender=lender),
        "redeem": lambda: vault.redeem(10**6 * UNIT, lender, lender, sender=lender),
        "lend": lambda: lending.lend(UNIT),
        "sweep_reserves": lambda: vault.sweep_reserves(sender=lender),
        "skim": lambda: vault.skim(sender=lender),
    }


MOVES = ("deposit", "mint", "withdraw", "redeem", "lend", "sweep_reserves", "skim")
# Entries of snekmate's modules and constants: they hold no price and touch no figure of the vault.
UNLOCKED = """
    name symbol decimals balanceOf allowance transfer transferFrom approve permit nonces
    DOMAIN_SEPARATOR eip712Domain owner pending_owner transfer_ownership accept_ownership
    asset CLEARINGHOUSE LIQUIDATOR
"""


def _payloads(vault: Contract) -> dict[str, bytes]:
    """A call of each function with zeros for arguments."""
    return {
        signature.split("(")[0]: int(selector, 16).to_bytes(4, "big") + bytes(32 * 12)
        for signature, selector in vault.artifact.selectors
    }


@pytest.mark.parametrize("move", MOVES)
def test_callback__into_any_function__meets_the_lock(lending: Lending, move: str) -> None:
    """T16, T33, T35.

    From inside a move every function and every price is locked, by a revert without a reason.
    """
    act = _moves(lending)[move]
    with lending.chain.isolated():
        act()
        undisturbed = (
            lending.figures(),
            lending.tokens(lending.vault),
            lending.shares(lending.lender),
        )
    unlocked = set()
    for name, payload in _payloads(lending.vault).items():
        with lending.chain.isolated():
            lending.asset.arm(lending.vault.address, payload, sender=lending.attacker)
            act()
            assert lending.asset.calls() == 1
            if lending.asset.has_succeeded() or lending.asset.answer() != b"":
                unlocked.add(name)
            assert undisturbed == (
                lending.figures(),
                lending.tokens(lending.vault),
                lending.shares(lending.lender),
            )
    assert unlocked == set(UNLOCKED.split())


@pytest.mark.parametrize("move", MOVES)
def test_callback__through_the_clearinghouse__meets_the_lock(lending: Lending, move: str) -> None:
    """T34 on the vault's side.

    The borrower cannot be talked into a loan in the middle of a move.
    """
    borrower, vault = lending.borrower, lending.vault
    for payload in (
        borrower.lend.encode(vault.address, UNIT, lending.attacker),
        borrower.book_repayment.encode(vault.address, 0, 0),
    ):
        with lending.chain.isolated():
            lending.asset.arm(borrower.address, payload, sender=lending.attacker)
            before = vault.state().debt_shares
            _moves(lending)[move]()
            assert lending.asset.calls() == 1
            assert not lending.asset.has_succeeded()
            assert (vault.state().debt_shares > before) == (move == "lend")


def test_callback__none_armed__the_lock_is_free_again(lending: Lending) -> None:
    """I42."""
    for act in _moves(lending).values():
        act()
    assert lending.vault.totalAssets() > 0


# ---- T52: the share token's permit


def test_permit__signed__sets_an_allowance_once() -> None:
    """T52: one signature, one use, this chain, this contract, until its deadline."""
    lending = deploy_lending(RevmChain())
    vault = lending.vault
    signer = Account.from_key("0x" + "17" * 32)
    fields, name, version, chain_id, contract, *_ = vault.eip712Domain()
    assert (name, version, contract) == ("Ballast Lent Quote", "1", vault.address)

    def signature(value: int, nonce: int, deadline: int) -> tuple[int, bytes, bytes]:
        message = encode_typed_data(
            {"name": name, "version": version, "chainId": chain_id, "verifyingContract": contract},
            {
                "Permit": [
                    {"name": "owner", "type": "address"},
                    {"name": "spender", "type": "address"},
                    {"name": "value", "type": "uint256"},
                    {"name": "nonce", "type": "uint256"},
                    {"name": "deadline", "type": "uint256"},
                ]
            },
            {
                "owner": signer.address,
                "spender": lending.stranger,
                "value": value,
                "nonce": nonce,
                "deadline": deadline,
            },
        )
        signed = signer.sign_message(message)
        return signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")

    deadline = lending.chain.time + 100
    good = (signer.address, lending.stranger, 5, deadline, *signature(5, 0, deadline))
    for changed in ((0, lending.attacker), (1, lending.attacker), (2, 6), (3, deadline + 1)):
        forged = list(good)
        forged[changed[0]] = changed[1]
        with reverts("erc20: invalid signature"):
            vault.permit(*forged, sender=lending.attacker)
    vault.permit(*good, sender=lending.attacker)
    assert (vault.allowance(signer.address, lending.stranger), vault.nonces(signer.address)) == (
        5,
        1,
    )
    with reverts("erc20: invalid signature"):
        vault.permit(*good, sender=lending.attacker)
    late = (signer.address, lending.stranger, 9, deadline, *signature(9, 1, deadline))
    lending.chain.advance(101)
    with reverts("erc20: expired deadline"):
        vault.permit(*late, sender=lending.attacker)


# ---- the mock of demonstrations and test networks


def test_mock_token__infinite_allowance__is_not_decreased() -> None:
    lending = deploy_lending(RevmChain())
    asset, owner, spender = lending.asset, lending.lender, lending.stranger
    asset.approve(spender, UNLIMITED, sender=owner)
    asset.transferFrom(owner, spender, 5, sender=spender)
    assert (asset.allowance(owner, spender), asset.balanceOf(spender)) == (UNLIMITED, 5)
    asset.approve(spender, 5, sender=owner)
    with reverts("mock: allowance too low"):
        asset.transferFrom(owner, spender, 6, sender=spender)
    asset.transferFrom(owner, spender, 5, sender=spender)
    assert asset.allowance(owner, spender) == 0
    with reverts("mock: balance too low"):
        asset.transfer(owner, 11, sender=spender)
    receipt = asset.transfer(owner, 10, sender=spender)
    [event] = asset.events(receipt)
    assert event.args == (spender, owner, 10)
    minted = asset.mint(spender, 3, sender=spender)
    [event] = asset.events(minted)
    assert event.args == (ZERO_ADDRESS, spender, 3)
    with pytest.raises(Reverted):
        asset.mint(spender, UNLIMITED, sender=spender)
