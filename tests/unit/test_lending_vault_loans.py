"""The loan side of the lending vault: lend, repay and what they owe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ballast.chain import RevmChain
from tests.conftest import reverts
from tests.lending_kit import YEAR_S, ZERO_ADDRESS, Lending, deploy_lending

WAD = 10**18
MAX_USE_BPS = 9_200


@pytest.fixture(scope="module", params=(2, 6, 18), ids=lambda d: f"{d}-decimals")
def deployed(request: pytest.FixtureRequest) -> Lending:
    lending = deploy_lending(RevmChain(), request.param)
    lending.deposit(lending.lender, 10_000 * lending.unit)
    return lending


@pytest.fixture
def lending(deployed: Lending) -> Iterator[Lending]:
    """10,000 tokens lent to the vault, nothing borrowed."""
    with deployed.chain.isolated():
        yield deployed


def _debt_up(lending: Lending) -> int:
    return int(lending.vault.total_debt())


# ---- lend


def test_lend__by_the_clearinghouse__books_and_pays(lending: Lending) -> None:
    assets = 1_234 * lending.unit + 5
    before = lending.tokens(lending.trader)
    receipt = lending.borrower.lend(
        lending.vault.address, assets, lending.trader, sender=lending.trader
    )
    shares = receipt.return_value
    assert shares == assets  # the index is one
    assert lending.tokens(lending.trader) == before + assets
    state = lending.vault.state()
    assert (state.idle, state.debt_shares) == (10_000 * lending.unit - assets, shares)
    [event] = lending.vault.events(receipt, "Lent")
    assert event.args._asdict() == {"receiver": lending.trader, "assets": assets, "shares": shares}
    assert lending.vault.totalAssets() == 10_000 * lending.unit


def test_lend__index_above_one__rounds_the_shares_up(lending: Lending) -> None:
    """I04, I06: the debt that a loan creates is at least the loan."""
    lending.lend(5_000 * lending.unit)
    lending.chain.advance(YEAR_S + 12_345)
    lending.vault.accrue(sender=lending.stranger)
    index_wad = lending.vault.state().index_wad
    assert index_wad > WAD
    for assets in (1, 2, 3, 7, 101, lending.unit + 1):
        total = lending.vault.totalAssets()
        shares = lending.lend(assets)
        assert shares == -(-assets * WAD // index_wad)
        assert lending.vault.debt_of(shares) >= assets
        assert lending.vault.totalAssets() >= total


@pytest.mark.parametrize(
    "actor", ["governor", "lender", "insurance", "trader", "attacker", "stranger", "liquidator"]
)
def test_lend_and_repay__not_the_clearinghouse__reverts(lending: Lending, actor: str) -> None:
    sender = getattr(lending, actor)
    with reverts("vault: not the clearinghouse"):
        lending.vault.lend(1, sender, 0, sender=sender)
    with reverts("vault: not the clearinghouse"):
        lending.vault.repay(0, 0, sender=sender)


def test_lend__nothing__reverts(lending: Lending) -> None:
    with reverts("vault: zero amount"):
        lending.lend(0)


@pytest.mark.parametrize("receiver", ["vault", "zero"])
def test_lend__bad_receiver__reverts(lending: Lending, receiver: str) -> None:
    address = lending.vault.address if receiver == "vault" else ZERO_ADDRESS
    with reverts("vault: bad receiver"):
        lending.borrower.lend(lending.vault.address, lending.unit, address, sender=lending.trader)


def test_lend__at_the_limit__stops_at_92_percent(lending: Lending) -> None:
    """A14: eight percent always stay for fees, trims and liquidations."""
    most = lending.vault.max_loan()
    assert most == 10_000 * lending.unit * MAX_USE_BPS // 10_000
    with reverts("vault: loan too large"):
        lending.lend(most + 1)
    lending.lend(most)
    assert lending.vault.max_loan() == 0
    assert lending.vault.utilisation_wad() == 92 * 10**16
    with reverts("vault: loan too large"):
        lending.lend(1)


def test_max_loan__use_beyond_the_limit__is_zero(lending: Lending) -> None:
    """Withdrawals and interest carry the use above the limit; nothing underflows."""
    lending.lend(lending.vault.max_loan())
    lending.vault.withdraw(
        700 * lending.unit, lending.lender, lending.lender, sender=lending.lender
    )
    assert lending.vault.utilisation_wad() > 92 * 10**16
    assert lending.vault.max_loan() == 0
    lending.chain.advance(50 * YEAR_S)
    assert lending.vault.max_loan() == 0


def test_max_loan__after_interest__is_the_largest_accepted(lending: Lending) -> None:
    shares = lending.lend(3_000 * lending.unit)
    lending.chain.advance(YEAR_S)
    most = lending.vault.max_loan()
    idle, debt = lending.vault.state().idle, _debt_up(lending)
    assert most == (idle + debt) * MAX_USE_BPS // 10_000 - debt
    with reverts("vault: loan too large"):
        lending.lend(most + 1)
    more = lending.lend(most)
    assert lending.vault.debt_of(shares) + lending.vault.debt_of(more) - _debt_up(lending) in (0, 1)


@pytest.mark.parametrize("call_state", [1, 2, 3])
def test_lend_and_repay__clearinghouse_busy__go_on(lending: Lending, call_state: int) -> None:
    lending.set_busy(call_state)
    shares = lending.lend(100 * lending.unit)
    assert lending.repay(100 * lending.unit, shares) == shares
    assert lending.vault.state().debt_shares == 0


# ---- repay


def test_repay__everything__burns_everything(lending: Lending) -> None:
    shares = lending.lend(4_321 * lending.unit + 1)
    lending.chain.advance(YEAR_S // 3)
    owed = lending.vault.debt_of(shares)
    assert owed > 4_321 * lending.unit + 1
    before = lending.tokens(lending.trader)
    receipt = lending.borrower.repay(lending.vault.address, owed, shares, sender=lending.trader)
    assert receipt.return_value == shares
    assert lending.tokens(lending.trader) == before - owed
    [event] = lending.vault.events(receipt, "Repaid")
    assert event.args._asdict() == {"assets": owed, "shares": shares}
    state = lending.vault.state()
    assert (state.debt_shares, state.idle) == (
        0,
        10_000 * lending.unit - (4_321 * lending.unit + 1) + owed,
    )
    assert _debt_up(lending) == 0


def test_repay__a_part__burns_rounded_down(lending: Lending) -> None:
    """I06: what is burnt was paid for, so the price of a share does not fall."""
    shares = lending.lend(5_000 * lending.unit)
    lending.chain.advance(YEAR_S)
    lending.vault.accrue(sender=lending.stranger)
    index_wad = lending.vault.state().index_wad
    for assets in (1, 2, 3, 99, lending.unit + 1):
        total = lending.vault.totalAssets()
        burnt = lending.repay(assets, shares)
        assert burnt == assets * WAD // index_wad
        shares -= burnt
        assert lending.vault.totalAssets() >= total
    assert lending.repay(lending.vault.debt_of(shares), shares) == shares


def test_repay__nothing__changes_nothing(lending: Lending) -> None:
    shares = lending.lend(lending.unit)
    before = lending.figures()
    assert lending.repay(0, shares) == 0
    assert lending.repay(0, 0) == 0
    assert lending.figures() == before


def test_repay__more_than_is_owed__reverts(lending: Lending) -> None:
    shares = lending.lend(1_000 * lending.unit)
    lending.chain.advance(YEAR_S)
    owed = lending.vault.debt_of(shares)
    with reverts("vault: more than is owed"):
        lending.repay(owed + 1, shares)
    with reverts("vault: more than is owed"):
        lending.repay(1, 0)


def test_repay__unknown_shares__reverts(lending: Lending) -> None:
    shares = lending.lend(1_000 * lending.unit)
    with reverts("vault: unknown loan shares"):
        lending.repay(1, shares + 1)


def test_repay__tokens_missing__reverts(lending: Lending) -> None:
    """I01: a repayment is booked only over tokens that are there."""
    shares = lending.lend(1_000 * lending.unit)
    for assets in (1, 1_000 * lending.unit):
        with reverts("vault: repayment missing"):
            lending.borrower.book_repayment(
                lending.vault.address, assets, shares, sender=lending.trader
            )


def test_repay__by_shares_of_another__never_pays_off(lending: Lending) -> None:
    """T05, I10: lending and repaying in dust steps costs at least what one step costs."""
    shares = lending.lend(5_000 * lending.unit)
    lending.chain.advance(YEAR_S // 2)
    lending.vault.accrue(sender=lending.stranger)
    debt = _debt_up(lending)
    for _ in range(40):
        shares += lending.lend(1)
        shares -= lending.repay(1, shares)
    assert _debt_up(lending) >= debt
    assert lending.vault.debt_of(shares) == _debt_up(lending)


def test_debt_of__many_debtors__add_up_to_at_least_the_total(lending: Lending) -> None:
    """I04."""
    held = [lending.lend(amount) for amount in (1, 7, 333, lending.unit + 3, 777 * lending.unit)]
    for wait in (1, 12, 3_601, 86_400, YEAR_S):
        lending.chain.advance(wait)
        owed = [lending.vault.debt_of(shares) for shares in held]
        assert 0 <= sum(owed) - _debt_up(lending) < len(held)
    for shares, amount in zip(held, owed, strict=True):
        assert lending.repay(amount, shares) == shares
    assert (lending.vault.state().debt_shares, _debt_up(lending)) == (0, 0)


def test_debt_of__any_shares__is_the_index_rounded_up(lending: Lending) -> None:
    lending.lend(5_000 * lending.unit)
    lending.chain.advance(YEAR_S + 1)
    index_ray = lending.vault.debt_index_ray()
    assert index_ray > 10**27
    for shares in (0, 1, 2, 10**9 + 7, 2**96, 2**160, 2**250):
        assert lending.vault.debt_of(shares) == -(-shares * index_ray // 10**27)


def test_lend__no_lenders__reverts() -> None:
    lending = deploy_lending(RevmChain())
    assert lending.vault.max_loan() == 0
    with reverts("vault: loan too large"):
        lending.lend(1)
