"""Losses of the lending vault: debts written off, and exits held until they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ballast.chain import Reverted, RevmChain
from tests.conftest import reverts
from tests.lending_kit import YEAR_S, Lending, deploy_lending, deploy_vault

WAD = 10**18
VIRTUAL_SHARES = 10**6
MAX_SUPPLY = 2**128 - 1
LAST_SECOND = 2**32 - 1
HOUR_S = 3_600
WAITS = "vault: exits wait for a loss"
HIGHEST_RATE = (100_000, 0, 0, 5_000)
OUTSIDERS = ["governor", "lender", "insurance", "trader", "attacker", "stranger"]


@pytest.fixture(scope="module", params=(2, 6, 18), ids=lambda d: f"{d}-decimals")
def deployed(request: pytest.FixtureRequest) -> Lending:
    lending = deploy_lending(RevmChain(), request.param)
    lending.deposit(lending.lender, 6_000 * lending.unit)
    lending.deposit(lending.other_lender, 3_999 * lending.unit + 7)
    lending.lend(5_000 * lending.unit)
    lending.chain.advance(YEAR_S)
    lending.lend(1_234 * lending.unit + 5)
    lending.chain.advance(77)
    return lending


@pytest.fixture
def lending(deployed: Lending) -> Iterator[Lending]:
    """10,000 tokens of two lenders, 6,234 of them borrowed, a year of interest and some of it due.

    What is due is not written down yet.
    """
    with deployed.chain.isolated():
        yield deployed


def _debt_shares(lending: Lending) -> int:
    return int(lending.vault.state().debt_shares)


def _debt_down(lending: Lending) -> int:
    state = lending.vault.state()
    return int(state.debt_shares * state.index_wad // WAD)


def _price(lending: Lending) -> tuple[int, int]:
    """Assets and shares, the virtual ones counted."""
    vault = lending.vault
    return int(vault.totalAssets()) + 1, int(vault.totalSupply()) + VIRTUAL_SHARES


def _wealth(lending: Lending, account: str) -> int:
    return lending.tokens(account) + int(lending.vault.convertToAssets(lending.shares(account)))


def _leave(lending: Lending, account: str) -> int:
    """Redeems what can be redeemed."""
    most = lending.vault.maxRedeem(account)
    if most == 0:
        return 0
    receipt = lending.vault.redeem(most, account, account, sender=account)
    return int(receipt.return_value)


def _exits(lending: Lending, account: str) -> list[Callable[[], object]]:
    """Both ways out, by the owner himself."""
    vault, shares = lending.vault, 2 * VIRTUAL_SHARES
    return [
        lambda: vault.withdraw(1, account, account, sender=account),
        lambda: vault.redeem(shares, account, account, sender=account),
    ]


# ---- write_off: who and how much


@pytest.mark.parametrize("actor", OUTSIDERS)
def test_write_off__not_the_liquidator__reverts(lending: Lending, actor: str) -> None:
    with reverts("vault: not the liquidator"):
        lending.vault.write_off(1, sender=getattr(lending, actor))


def test_write_off__nothing__reverts(lending: Lending) -> None:
    with reverts("vault: zero amount"):
        lending.write_off(0)


@pytest.mark.parametrize("beyond", [1, 2**96, 2**255])
def test_write_off__more_than_there_is__reverts(lending: Lending, beyond: int) -> None:
    before = lending.figures()
    with reverts("vault: unknown loan shares"):
        lending.write_off(_debt_shares(lending) + beyond)
    assert lending.figures() == before


def test_write_off__no_debt__reverts(lending: Lending) -> None:
    lending.write_off(_debt_shares(lending))
    with reverts("vault: unknown loan shares"):
        lending.write_off(1)


# ---- write_off: figures


@pytest.mark.parametrize("part", ["a share", "a third", "all but one", "all"])
def test_write_off__of_a_part__takes_its_worth_from_total_assets(
    lending: Lending, part: str
) -> None:
    """I05, I35: the debt falls by what the shares are worth, and by it total assets; no more."""
    debt_shares = _debt_shares(lending)
    shares = {
        "a share": 1,
        "a third": debt_shares // 3,
        "all but one": debt_shares - 1,
        "all": debt_shares,
    }[part]
    supply, idle, now, _, index_wad, reserves = lending.figures()
    total, held = lending.vault.totalAssets(), lending.tokens(lending.vault)
    left = (debt_shares - shares) * index_wad // WAD
    assets = debt_shares * index_wad // WAD - left
    receipt = lending.vault.write_off(shares, sender=lending.liquidator)
    assert receipt.return_value == assets
    assert lending.figures() == (supply, idle, now, debt_shares - shares, index_wad, reserves)
    assert lending.vault.totalAssets() == total - assets
    assert lending.tokens(lending.vault) == held
    accrued, realised = lending.vault.events(receipt)
    # Interest first: it is the clearing house's to judge what was owed up to now.
    assert accrued.name == "Accrued"
    assert accrued.args._asdict() == {"index_ray": index_wad * 10**9, "reserves": reserves}
    assert realised.name == "BadDebtRealised"
    assert realised.args._asdict() == {
        "shares": shares,
        "assets": assets,
        "debt_shares": debt_shares - shares,
    }


def test_write_off__in_parts__is_the_same_as_at_once(lending: Lending) -> None:
    """The worth of parts adds up to the worth of the whole, to the unit."""
    debt_shares = _debt_shares(lending)
    results = []
    for parts in ([debt_shares // 2], [1, 7, debt_shares // 2 - 8], [debt_shares // 2 - 1, 1]):
        with lending.chain.isolated(), lending.chain.one_block():
            lost = sum(lending.write_off(part) for part in parts)
            results.append((lost, lending.figures()))
    assert len(set(results)) == 1


def test_write_off__of_one_debtor__leaves_the_others(lending: Lending) -> None:
    """I04, I07: what another owes is neither more nor less, and he can pay it."""
    held = lending.lend(500 * lending.unit)
    owed, index = lending.vault.debt_of(held), lending.vault.debt_index_ray()
    lending.write_off(_debt_shares(lending) - held)
    assert lending.vault.debt_of(held) == owed == lending.vault.total_debt()
    assert lending.vault.debt_index_ray() == index
    assert lending.repay(owed, held) == held
    assert _debt_shares(lending) == 0


def test_write_off__of_all_debt__leaves_idle_less_reserves(lending: Lending) -> None:
    """Nothing is owed, nothing grows, and the vault goes on as it is."""
    vault = lending.vault
    lending.write_off(_debt_shares(lending))
    state = vault.state()
    assert (state.debt_shares, vault.total_debt(), vault.utilisation_wad()) == (0, 0, 0)
    assert vault.totalAssets() == state.idle - state.reserves > 0 < state.reserves
    lending.chain.advance(YEAR_S)
    assert lending.figures()[3:] == (0, state.index_wad, state.reserves)
    assert lending.lend(lending.unit) == -(-lending.unit * WAD // state.index_wad)
    lending.chain.advance(YEAR_S)
    assert lending.repay(vault.debt_of(_debt_shares(lending)), _debt_shares(lending)) > 0
    for account in (lending.lender, lending.other_lender):
        assert _leave(lending, account) > 0
        assert lending.shares(account) == 0
    assert vault.sweep_reserves(sender=lending.stranger).return_value >= state.reserves
    assert vault.state().idle <= 1  # the part of the virtual shares


# ---- write_off: who bears it


@given(thousandths=st.integers(1, 1_000), other=st.integers(1, 10**10), odd=st.integers(0, 5))
@example(thousandths=1_000, other=1, odd=0)
def test_write_off__two_lenders__lose_in_proportion(
    deployed: Lending, thousandths: int, other: int, odd: int
) -> None:
    """T09, I35: both hold the same price after as before, so both lose the same of every share."""
    lending = deployed
    vault = lending.vault
    with lending.chain.isolated(), lending.chain.one_block():
        lending.deposit(lending.other_lender, other)
        accounts = (lending.lender, lending.other_lender)
        held = [lending.shares(account) for account in accounts]
        assets, all_shares = _price(lending)
        before = [vault.convertToAssets(shares) for shares in held]
        lost = lending.write_off(max(1, _debt_shares(lending) * thousandths // 1_000 - odd))
        assert _price(lending) == (assets - lost, all_shares)
        after = [vault.convertToAssets(shares) for shares in held]
        for shares, was, now in zip(held, before, after, strict=True):
            assert was == shares * assets // all_shares
            assert now == shares * (assets - lost) // all_shares
            # To the wei: the loss of all, times the part that he holds, between two roundings.
            assert was - now in (
                shares * lost // all_shares,
                shares * lost // all_shares + 1,
            )
        # Together with what the virtual shares bear, it is what was lost.
        virtual = -(-VIRTUAL_SHARES * lost // all_shares)
        assert 0 <= lost - sum(before) + sum(after) + 2 <= virtual + 4


def test_write_off__equal_shares__lose_equally(lending: Lending) -> None:
    vault = lending.vault
    vault.transfer(lending.stranger, 10**6 * lending.unit, sender=lending.lender)
    vault.transfer(lending.attacker, 10**6 * lending.unit, sender=lending.other_lender)
    lending.write_off(_debt_shares(lending) // 2)
    values = {_wealth(lending, lending.stranger), vault.convertToAssets(10**6 * lending.unit)}
    assert values == {vault.convertToAssets(lending.shares(lending.attacker))}


def test_price__whatever_else_happens__falls_by_a_write_off_only(lending: Lending) -> None:
    """I06: every other action leaves the price of a share or raises it, after a loss as before."""
    vault, lender = lending.vault, lending.lender
    shares = _debt_shares(lending)
    lending.write_off(shares // 5)
    actions: list[Callable[[], object]] = [
        lambda: vault.deposit(lending.unit + 1, lender, sender=lender),
        lambda: vault.mint(10**7 + 3, lender, sender=lender),
        lambda: vault.withdraw(lending.unit // 3, lender, lender, sender=lender),
        lambda: vault.redeem(10**7 + 3, lender, lender, sender=lender),
        lambda: lending.lend(lending.unit + 3),
        lambda: lending.repay(lending.unit + 1, shares // 2),
        lambda: vault.accrue(sender=lender),
        lambda: vault.sweep_reserves(sender=lender),
        lambda: lending.donate(17),
        lambda: vault.skim(sender=lender),
        lambda: lending.hold_exits(60),
        lambda: vault.hold_exits(0, sender=lending.liquidator),
        lambda: vault.set_rate(HIGHEST_RATE, sender=lending.governor),
        lambda: vault.set_reserve_factor(5_000, sender=lending.governor),
        lambda: vault.set_deposit_cap(0, sender=lending.governor),
        lambda: lending.chain.advance(YEAR_S),
    ]
    for act in actions:
        assets, all_shares = _price(lending)
        act()
        assets_now, shares_now = _price(lending)
        assert assets_now * all_shares >= assets * shares_now
    assets, all_shares = _price(lending)
    lost = lending.write_off(_debt_shares(lending) // 2)
    assert lost > 0
    assert _price(lending) == (assets - lost, all_shares)


steps = st.lists(
    st.tuples(
        st.sampled_from(("deposit", "mint", "withdraw", "redeem")),
        st.one_of(st.integers(1, 20), st.integers(1, 10**9)),
    ),
    max_size=6,
)


@given(before=steps, after=steps, thousandths=st.integers(1, 1_000))
@example(before=[("deposit", 10**9)], after=[("deposit", 10**9)], thousandths=1_000)
def test_trade_shares__around_a_loss_with_exits_held__does_not_pay(
    deployed: Lending, before: list[tuple[str, int]], after: list[tuple[str, int]], thousandths: int
) -> None:
    """T09, I10: in one block, in and out and in again around a write-off.

    The attacker bears at least the part that his first shares bear, the lender at most his.
    """
    lending = deployed
    vault, attacker = lending.vault, lending.attacker

    def trade(steps: list[tuple[str, int]]) -> None:
        for name, amount in steps:
            owner = () if name in ("deposit", "mint") else (attacker,)
            try:
                vault.function(name)(amount, attacker, *owner, sender=attacker)
            except Reverted as error:
                assert error.reason in (
                    WAITS,
                    "vault: zero amount",
                    "vault: too few shares",
                    "vault: not enough idle",
                )

    with lending.chain.isolated(), lending.chain.one_block():
        lending.deposit(attacker, 100 * lending.unit)
        loss = max(1, _debt_shares(lending) * thousandths // 1_000)
        with lending.chain.isolated():
            lending.write_off(loss)
            undisturbed = (_wealth(lending, attacker), _wealth(lending, lending.lender))
        lending.hold_exits(60)
        held = lending.shares(attacker)
        trade(before)
        assert lending.shares(attacker) >= held  # nobody got out
        lending.write_off(loss)
        vault.hold_exits(0, sender=lending.liquidator)
        trade(after)
        assert _wealth(lending, attacker) <= undisturbed[0] + 1
        assert _wealth(lending, lending.lender) >= undisturbed[1]


def test_enter__before_a_loss__shares_it_and_after_it_does_not(lending: Lending) -> None:
    vault, attacker = lending.vault, lending.attacker
    start, amount = lending.tokens(attacker), 1_000 * lending.unit
    with lending.chain.isolated(), lending.chain.one_block():
        minted = lending.deposit(attacker, amount)
        lost = lending.write_off(_debt_shares(lending) // 4)
        part = minted * lost // _price(lending)[1]
        assert _leave(lending, attacker) in (amount - part - 2, amount - part - 1, amount - part)
        assert lending.shares(attacker) == 0
    with lending.chain.isolated(), lending.chain.one_block():
        lending.write_off(_debt_shares(lending) // 4)
        lending.deposit(attacker, amount)
        _leave(lending, attacker)
        assert start - 1 <= lending.tokens(attacker) <= start
        assert vault.maxRedeem(attacker) == 0


# ---- write_off: reserves larger than what is left


def _ripe(lending: Lending) -> None:
    """Half of decades of interest is in the reserves, and lenders have taken the idle balance."""
    vault = lending.vault
    vault.set_reserve_factor(5_000, sender=lending.governor)
    lending.chain.advance(40 * YEAR_S)
    vault.withdraw(vault.state().idle, lending.lender, lending.lender, sender=lending.lender)
    state = vault.state()
    assert state.idle == 0 < state.reserves < _debt_down(lending)


def test_write_off__reserves_above_what_is_left__are_given_up(lending: Lending) -> None:
    """Lenders are at zero; what they cannot bear the reserves do, and nobody owes it later."""
    _ripe(lending)
    vault = lending.vault
    state, total, debt = vault.state(), vault.totalAssets(), _debt_down(lending)
    shares = state.debt_shares - (state.reserves // 3) * WAD // state.index_wad
    receipt = lending.vault.write_off(shares, sender=lending.liquidator)
    left = _debt_down(lending)
    assert 0 < left < state.reserves
    after = vault.state()
    assert (after.idle, after.supply, after.reserves) == (0, state.supply, left)
    assert (vault.totalAssets(), vault.convertToAssets(after.supply)) == (0, 0)
    realised, given_up = vault.events(receipt)
    assert (realised.name, realised.args.assets) == ("BadDebtRealised", debt - left)
    assert receipt.return_value == debt - left > total
    assert given_up.name == "ReservesGivenUp"
    assert given_up.args._asdict() == {"assets": state.reserves - left}
    # Of what is earned from now on lenders get their part at once.
    lending.chain.advance(YEAR_S)
    interest = _debt_down(lending) - left
    assert vault.state().reserves == left + interest // 2
    assert vault.totalAssets() == interest - interest // 2 > 0


def test_write_off__reserves_equal_to_what_is_left__are_kept(lending: Lending) -> None:
    """The boundary: lenders at zero, reserves whole, and one share more is theirs."""
    _ripe(lending)
    vault = lending.vault
    state = vault.state()
    # The fewest loan shares that are worth the reserves.
    needed = -(-state.reserves * WAD // state.index_wad)
    with lending.chain.isolated(), lending.chain.one_block():
        lending.write_off(state.debt_shares - needed)
        assert vault.state().reserves == state.reserves
        assert vault.totalAssets() == _debt_down(lending) - state.reserves
    with lending.chain.isolated(), lending.chain.one_block():
        lending.write_off(state.debt_shares - needed + 1)
        assert vault.state().reserves == _debt_down(lending) < state.reserves
        assert vault.totalAssets() == 0


@pytest.mark.parametrize("idle", [0, 1, 1_000])
def test_write_off__everything_with_little_idle__leaves_no_claim_on_new_lenders(
    lending: Lending, idle: int
) -> None:
    """I01, I05: reserves are paid from what is idle, never from what is deposited afterwards."""
    _ripe(lending)
    vault = lending.vault
    if idle:
        lending.repay(idle, _debt_shares(lending))
    lending.write_off(_debt_shares(lending))
    assert vault.state().reserves == idle == vault.state().idle
    assert vault.totalAssets() == 0
    amount = 12_345  # shares are so cheap now that their numbers would end with much more
    lending.deposit(lending.attacker, amount)
    assert vault.sweep_reserves(sender=lending.stranger).return_value == idle
    assert vault.totalAssets() == amount == lending.tokens(vault)
    assert vault.state().reserves == 0
    assert _leave(lending, lending.attacker) == amount


# ---- write_off: never in the way


def test_write_off__in_every_bad_hour__goes_through(lending: Lending) -> None:
    """No liquidity, a busy clearing house, held exits, entry closed, an absurd index, a late clock.

    A loss can be shared all the same.
    """
    vault = lending.vault
    vault.set_rate(HIGHEST_RATE, sender=lending.governor)
    vault.set_deposit_cap(0, sender=lending.governor)
    vault.withdraw(vault.state().idle, lending.lender, lending.lender, sender=lending.lender)
    lending.set_busy()
    lending.hold_exits(HOUR_S)
    for wait_s in (0, 1, YEAR_S, 40 * YEAR_S, 100 * YEAR_S):
        lending.chain.advance(wait_s)
        total = vault.totalAssets()
        lost = lending.write_off(_debt_shares(lending) // 3)
        assert vault.totalAssets() == total - lost < total
    assert vault.state().accrued_at == LAST_SECOND
    assert vault.state().index_wad == 2**76 - 1
    lending.write_off(_debt_shares(lending))
    assert (vault.totalAssets(), vault.total_debt()) == (0, 0)


def test_write_off__token_that_fails__goes_through() -> None:
    """T13: no token is asked."""
    chain = RevmChain()
    governor = chain.accounts[0]
    asset = chain.deploy("QuirkyToken", sender=governor)
    borrower = chain.deploy("VaultBorrower", sender=governor)
    lending = Lending(chain, asset, borrower, deploy_vault(chain, asset, borrower), 18)
    lending.fund(lending.lender, 10**20)
    lending.deposit(lending.lender, 10**20)
    lending.lend(10**19)
    asset.set_answers(1, sender=governor)
    with reverts("token: transfer failed"):
        lending.lend(1)
    assert lending.write_off(10**18) == 10**18
    assert lending.vault.totalAssets() == 10**20 - 10**18


# ---- limits after a loss that leaves next to nothing


@pytest.mark.parametrize("left", [0, 1, 1_000])
def test_limits__shares_worth_next_to_nothing__never_over_estimate(
    lending: Lending, left: int
) -> None:
    """C16, C21, C43, C46 where a share is so cheap that the numbers for shares end first."""
    _ripe(lending)
    vault, attacker = lending.vault, lending.attacker
    vault.set_deposit_cap(2**95, sender=lending.governor)
    lending.fund(attacker, 2**96)
    lending.write_off(_debt_shares(lending))
    if left:
        vault.deposit(left, attacker, sender=attacker)
    for account in (lending.lender, attacker):
        worth = vault.convertToAssets(lending.shares(account))
        assert vault.maxWithdraw(account) == worth
        assert (vault.maxRedeem(account) > 0) == (worth > 0)
    cap_room = vault.deposit_cap() - vault.totalAssets()
    for limit, action in ((vault.maxDeposit, vault.deposit), (vault.maxMint, vault.mint)):
        most = limit(attacker)
        assert most > 0
        assert vault.previewMint(MAX_SUPPLY - vault.totalSupply()) < cap_room
        with lending.chain.isolated():
            action(most, attacker, sender=attacker)
            assert vault.totalSupply() <= MAX_SUPPLY
            if action is vault.mint and vault.totalSupply() == MAX_SUPPLY:
                # Nothing fits any more, and the limits know it.
                assert (vault.maxDeposit(attacker), vault.maxMint(attacker)) == (0, 0)
                with reverts("vault: amount too large"):
                    vault.mint(VIRTUAL_SHARES, attacker, sender=attacker)
        with reverts("vault: amount too large"):
            action(most + 1, attacker, sender=attacker)
    assert vault.maxDeposit(attacker) < cap_room


def test_enter__after_a_total_loss__is_worth_what_was_paid(lending: Lending) -> None:
    """T01: who enters a vault that has lost everything pays nothing to those who were in it."""
    _ripe(lending)
    vault, attacker, victim = lending.vault, lending.attacker, lending.other_lender
    lending.write_off(_debt_shares(lending))
    assert vault.totalAssets() == 0
    start = lending.tokens(attacker)
    vault.deposit(1, attacker, sender=attacker)
    lending.donate(10**6 * lending.unit)
    amount = min(10**5, vault.maxDeposit(victim))
    held = lending.shares(victim)
    vault.deposit(amount, victim, sender=victim)
    assert amount - 1 <= vault.convertToAssets(lending.shares(victim) - held) <= amount
    _leave(lending, attacker)
    assert lending.tokens(attacker) <= start


# ---- hold_exits: who and for how long


@pytest.mark.parametrize("actor", OUTSIDERS)
def test_hold_exits__not_the_liquidator__reverts(lending: Lending, actor: str) -> None:
    """I35: neither the owner nor the clearing house may hold exits, or lift the hold."""
    sender = getattr(lending, actor)
    for until in (0, lending.chain.time + 60):
        with reverts("vault: not the liquidator"):
            lending.vault.hold_exits(until, sender=sender)
        with reverts("vault: not the liquidator"):
            lending.borrower.hold_exits(lending.vault.address, until, sender=sender)


@pytest.mark.parametrize("beyond", [1, HOUR_S, 2**40, 2**255])
def test_hold_exits__longer_than_an_hour__reverts(lending: Lending, beyond: int) -> None:
    lending.hold_exits(60)
    until = lending.vault.exits_held_until()
    with reverts("vault: exits held too long"):
        lending.hold_exits(HOUR_S + beyond)
    assert lending.vault.exits_held_until() == until


def test_hold_exits__an_hour__holds_to_the_second(lending: Lending) -> None:
    vault, lender = lending.vault, lending.lender
    until = lending.chain.time + HOUR_S
    receipt = vault.hold_exits(until, sender=lending.liquidator)
    [event] = vault.events(receipt)
    assert (event.name, event.args._asdict()) == ("ExitsHeld", {"until": until})
    assert vault.exits_held_until() == until
    lending.chain.set_time(until - 1)
    assert (vault.maxWithdraw(lender), vault.maxRedeem(lender)) == (0, 0)
    for exit_ in _exits(lending, lender):
        with reverts(WAITS):
            exit_()
    lending.chain.set_time(until)
    assert vault.maxWithdraw(lender) > 0 < vault.maxRedeem(lender)
    for exit_ in _exits(lending, lender):
        exit_()
    assert vault.exits_held_until() == until


@pytest.mark.parametrize("lift", ["zero", "a second ago", "now"])
def test_hold_exits__lifted__exits_are_open(lending: Lending, lift: str) -> None:
    vault, lender = lending.vault, lending.lender
    lending.hold_exits(HOUR_S)
    now = lending.chain.time
    until = {"zero": 0, "a second ago": now - 1, "now": now}[lift]
    receipt = vault.hold_exits(until, sender=lending.liquidator)
    [event] = vault.events(receipt)
    assert event.args == (until,)
    assert vault.maxWithdraw(lender) > 0 < vault.maxRedeem(lender)
    for exit_ in _exits(lending, lender):
        exit_()


def test_hold_exits__again__replaces_what_was_said(lending: Lending) -> None:
    for seconds in (60, HOUR_S, 1, 30):
        until = lending.hold_exits(seconds)
        assert lending.vault.exits_held_until() == until
    lending.chain.advance(30)
    assert lending.vault.maxWithdraw(lending.lender) > 0


def test_hold_exits__past_the_clock_of_accrual__holds_and_ends(lending: Lending) -> None:
    """The field outlives the 32 bits of the accrual's time."""
    lending.chain.set_time(LAST_SECOND - 5)
    until = lending.hold_exits(HOUR_S)
    assert until > LAST_SECOND
    assert lending.vault.maxWithdraw(lending.lender) == 0
    lending.chain.set_time(until)
    assert lending.vault.maxWithdraw(lending.lender) > 0


# ---- hold_exits: what waits and what goes on


def test_exit__while_held__waits_for_everyone_in_every_way(lending: Lending) -> None:
    """T09: neither the owner, nor one he permits, nor one he gives his shares to gets out."""
    vault, lender, friend = lending.vault, lending.lender, lending.stranger
    vault.approve(friend, 2**256 - 1, sender=lender)
    lending.hold_exits(60)
    before = (lending.figures(), lending.shares(lender), lending.tokens(lender))
    for exit_ in (
        *_exits(lending, lender),
        *_exits(lending, lending.other_lender),
        lambda: vault.withdraw(1, friend, lender, sender=friend),
        lambda: vault.redeem(2 * VIRTUAL_SHARES, friend, lender, sender=friend),
        # Not even for nothing, or with nothing: the loss comes first.
        lambda: vault.withdraw(0, lender, lender, sender=lender),
        lambda: vault.redeem(2**128, lender, lender, sender=lender),
    ):
        with reverts(WAITS):
            exit_()
    assert (lending.figures(), lending.shares(lender), lending.tokens(lender)) == before
    vault.transfer(friend, 10 * VIRTUAL_SHARES, sender=lender)
    for exit_ in _exits(lending, friend):
        with reverts(WAITS):
            exit_()
    assert (vault.maxWithdraw(friend), vault.maxRedeem(friend)) == (0, 0)


def test_exit__clearinghouse_busy_and_held__says_busy_first(lending: Lending) -> None:
    lending.hold_exits(60)
    lending.set_busy()
    for exit_ in _exits(lending, lending.lender):
        with reverts("vault: clearinghouse busy"):
            exit_()


def test_prices__while_held__are_as_without(lending: Lending) -> None:
    """C06 to C15, C49 to C52, C58: conversions and previews know nothing of limits."""
    vault = lending.vault

    def shown() -> tuple[int, ...]:
        amounts = (0, 1, 10**6 + 1, 10**15, 2**96)
        names = ("convertToShares", "convertToAssets", "previewDeposit", "previewMint")
        more = ("previewWithdraw", "previewRedeem", "debt_of")
        return (
            *vault.state(),
            *(vault.function(name)(amount) for name in (*names, *more) for amount in amounts),
            *(vault.maxDeposit(lending.lender), vault.maxMint(lending.lender)),
            *(vault.totalAssets(), vault.max_loan(), vault.borrow_rate_ray()),
        )

    before = shown()
    lending.hold_exits(60)
    assert shown() == before


def test_act__while_held__everything_but_exits_goes_on(lending: Lending) -> None:
    vault, lender, governor = lending.vault, lending.lender, lending.governor
    until = lending.hold_exits(HOUR_S)
    lending.donate(3)
    assert vault.deposit(lending.unit, lender, sender=lender).return_value > 0
    assert vault.mint(10**9, lender, sender=lender).return_value > 0
    shares = lending.lend(lending.unit)
    assert lending.repay(lending.vault.debt_of(shares), shares) == shares
    vault.accrue(sender=lender)
    assert vault.sweep_reserves(sender=lender).return_value > 0
    assert vault.skim(sender=lender).return_value == 3
    assert lending.write_off(_debt_shares(lending) // 2) > 0
    assert vault.transfer(lending.stranger, 5, sender=lender).return_value
    vault.set_rate((1, 2, 3, 4), sender=governor)
    vault.set_reserve_factor(77, sender=governor)
    vault.set_deposit_cap(2**95, sender=governor)
    vault.set_insurance_receiver(lending.stranger, sender=governor)
    assert vault.exits_held_until() == until
    assert (vault.rate_parameters(), vault.reserve_factor_bps()) == ((1, 2, 3, 4), 77)
    for exit_ in _exits(lending, lender):
        with reverts(WAITS):
            exit_()


def test_hold_exits__alone__changes_no_figure(lending: Lending) -> None:
    """I44: interest goes on at the same rate from the same second."""
    stored = []
    for is_held in (False, True):
        with lending.chain.isolated():
            if is_held:
                lending.hold_exits(HOUR_S)
            lending.chain.advance(86_400)
            lending.vault.accrue(sender=lending.stranger)
            stored.append(lending.figures())
    assert stored[0] == stored[1]


# ---- T09: the race to the door


def test_exit__before_a_known_loss__is_shared_if_exits_were_held(lending: Lending) -> None:
    """T09, I35: naive, who leaves first is paid in full and the other pays for both.

    With the hold nobody leaves before the loss, and it is the same part of every share.
    """
    vault, quick, slow = lending.vault, lending.lender, lending.other_lender
    loss = _debt_shares(lending) // 2
    shares = {who: lending.shares(who) for who in (quick, slow)}
    assets, all_shares = _price(lending)
    leaving = vault.maxWithdraw(quick) // 2

    with lending.chain.isolated(), lending.chain.one_block():
        vault.withdraw(leaving, quick, quick, sender=quick)
        lending.write_off(loss)
        naive = vault.convertToAssets(shares[slow])

    with lending.chain.isolated(), lending.chain.one_block():
        lending.hold_exits(HOUR_S)
        with reverts(WAITS):
            vault.withdraw(leaving, quick, quick, sender=quick)
        assert vault.maxWithdraw(quick) == 0
        lost = lending.write_off(loss)
        vault.hold_exits(0, sender=lending.liquidator)
        fair = vault.convertToAssets(shares[slow])
        assert fair == shares[slow] * (assets - lost) // all_shares > naive
        kept = [vault.convertToAssets(held) * WAD // held for held in shares.values()]
        assert abs(kept[0] - kept[1]) <= WAD // min(shares.values()) + 1
        assert _leave(lending, quick) > 0
        assert vault.convertToAssets(shares[slow]) >= fair
