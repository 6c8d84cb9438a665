"""What an owner, an operator or a stranger may try with accounts.

Threats T41, T42, T44, T48, T49 and T50, attacks A3 and A18.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import Reverted
from tests.clearing_kit import action, excess_init
from tests.conftest import reverts
from tests.support.fixtures import shared_world
from tests.support.reading import (
    assess_on_chain,
    listed_assets,
    read_account,
    read_loans,
    read_marks,
)
from tests.support.world import QUOTE, World
from tests.threats.kit import equity, lenders_claim

ETH = 10**18


# ---- A3: batches


def test_batch__account_emptied_on_the_way__still_checked(world: World) -> None:
    """A3: moving all collateral to a sibling inside a batch leaves the debt under the same test."""
    account = world.open_account(leverage=2)
    held = world.clearinghouse.position_word(account, 1)
    rows = [
        action(4, account, other=account + 1, asset=1, amount=held),
        action(2, account + 1, asset=1, amount=held, target=world.owner),
    ]
    with reverts("margin: initial margin short"):
        world.clearinghouse.batch(rows, sender=world.owner)


def test_batch__emptied_and_filled_again__allowed(world: World) -> None:
    """A3: what counts is the end of the batch, for every account on the way."""
    account = world.open_account(leverage=2)
    held = world.clearinghouse.position_word(account, 1)
    rows = [
        action(4, account, other=account + 1, asset=1, amount=held),
        action(4, account + 1, other=account, asset=1, amount=held),
    ]
    world.clearinghouse.batch(rows, sender=world.owner)
    assert world.clearinghouse.position_word(account, 1) == held


def test_batch__borrowed_within_and_lent_to_sibling__both_checked(world: World) -> None:
    """A3, T41: a chain of siblings is as strong as each of its links."""
    first = world.open_account(leverage=1)
    rows = [
        action(4, first, other=first + 1, asset=0, amount=6_000 * 10**6),
        action(4, first + 1, other=first + 2, asset=0, amount=6_000 * 10**6),
        action(2, first + 2, asset=0, amount=12_000 * 10**6, target=world.owner),
    ]
    with reverts("margin: initial margin short"):
        world.clearinghouse.batch(rows, sender=world.owner)


# ---- T41, A18, T05: random actions

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(("withdraw", "borrow", "transfer", "swap", "repay", "deposit", "back")),
        st.one_of(st.integers(1, 9), st.integers(1, 10**7), st.integers(1, 10**20)),
    ),
    min_size=1,
    max_size=8,
)


def _attempt(world: World, name: str, account: int, amount: int) -> bool:
    house, who = world.clearinghouse, world.attacker
    arguments = {
        "withdraw": ("withdraw", account, 1, amount, who),
        "borrow": ("withdraw", account, 0, amount, who),
        "transfer": ("transfer", account, account + 1, 1, amount),
        "back": ("transfer", account + 1, account, 1, amount),
        "swap": ("swap", account, world.venue, 1, 0, amount, 0),
        "repay": ("repay", account, amount),
        "deposit": ("deposit", account, 1, amount),
    }[name]
    try:
        house.function(arguments[0])(*arguments[1:], sender=who)
    except Reverted:
        return False
    return True


@given(steps=ACTIONS)
def test_act__any_sequence__covered_or_not_weaker_and_no_free_unit(
    steps: list[tuple[str, int]],
) -> None:
    """T41, T05, A18, I11: after each action covered or not weaker; at the end nobody is richer."""
    world = shared_world()
    with world.isolated():
        account = world.open_account(leverage=2, owner=world.attacker)
        for name in ("ETH", QUOTE):
            world.fund(world.attacker, name, 10**22)
        world.set_venue_price("ETH", fee_ppm=0)
        accounts = (account, account + 1)
        eth, quote = world.tokens["ETH"], world.quote

        def total() -> int:
            wallet = int(quote.balanceOf(world.attacker)) * 10**12
            wallet += int(eth.balanceOf(world.attacker)) * 2_000
            return wallet + sum(equity(world, a) for a in accounts)

        start, claim = total(), lenders_claim(world)
        for name, amount in steps:
            before = [excess_init(world, a) for a in accounts]
            if not _attempt(world, name, account, amount):
                continue
            for a, was in zip(accounts, before, strict=True):
                assert excess_init(world, a) >= min(0, was - 10**14)  # interest of a block
        assert total() <= start + 2
        assert lenders_claim(world) >= claim


@given(amount=st.integers(1, 10**20), price=st.integers(10**8, 10**13))
def test_assess__any_amount_and_price__equals_the_exact_model(amount: int, price: int) -> None:
    """T44, A18: margin to the wei, values down and requirements up."""
    world = shared_world()
    with world.isolated():
        account = world.account()
        world.deposit(account, "ETH", amount)
        world.deposit(account, "BTC", amount // 10**10 + 1)
        world.feeds["ETH"].set_answer(max(min(price, 10**13), 3 * 10**8), sender=world.governor)
        world.chain.mine()
        known = read_account(world, account)
        marks = read_marks(world, listed_assets(world, account))
        assert assess_on_chain(world, account) == known.assess(marks, read_loans(world))


# ---- T42


@pytest.mark.parametrize("min_out", [0, 1])
def test_swap__owner_accepts_anything_at_own_venue__oracle_bound_holds(
    world: World, min_out: int
) -> None:
    """T42: bad debt cannot be made by selling to oneself, whatever the owner accepts."""
    account = world.open_account(leverage=3, owner=world.attacker)
    for worse_bps in (101, 500, 9_999):
        price = world.price_wad("ETH") * (10_000 - worse_bps) // 10_000
        world.set_venue_price("ETH", price, fee_ppm=0)
        with pytest.raises(Reverted):
            world.clearinghouse.swap(
                account, world.venue, 1, 0, ETH, min_out, sender=world.attacker
            )
    world.set_venue_price("ETH", world.price_wad("ETH") * 99 // 100, fee_ppm=0)
    before = excess_init(world, account)
    world.clearinghouse.swap(account, world.venue, 1, 0, ETH, min_out, sender=world.attacker)
    assert excess_init(world, account) > before


# ---- T48, T49


def test_deposit__stranger_with_new_asset__refused(world: World) -> None:
    """T49: nobody fills another's list; cash and what is there already can be given."""
    account = world.open_account(leverage=2)
    with reverts("operators: not permitted"):
        world.fund(world.attacker, "BTC", 1)
        world.clearinghouse.deposit(account, 2, 1, sender=world.attacker)
    world.fund(world.attacker, "ETH", 1)
    world.clearinghouse.deposit(account, 1, 1, sender=world.attacker)
    world.fund(world.attacker, QUOTE, 1)
    world.clearinghouse.deposit(account, 0, 1, sender=world.attacker)
    assert listed_assets(world, account) == [1]


def test_deposit__dust_before_every_step__owner_still_leaves(world: World) -> None:
    """T49: dust of a stranger neither blocks a close nor weakens an account."""
    account = world.open_account(leverage=1)
    world.borrow(account, 1_000 * 10**6)
    for name in ("ETH", QUOTE):
        world.fund(world.attacker, name, 10**3)
    before = excess_init(world, account)
    for asset in (1, 0):
        world.clearinghouse.deposit(account, asset, 1, sender=world.attacker)
    assert excess_init(world, account) >= before - 10**14
    world.fund(world.owner, QUOTE, 2_000 * 10**6)
    world.clearinghouse.repay(account, 2_000 * 10**6, sender=world.owner)
    held = world.clearinghouse.position_word(account, 1)
    world.clearinghouse.withdraw(account, 1, held, world.owner, sender=world.owner)
    assert world.clearinghouse.listed_word(account) == 0


def test_rebalance__sixteen_assets__fits_a_block(wide_world: World) -> None:
    """T48: the largest account possible; 30% of a block of 30 million is the bound."""
    world = wide_world
    account = world.open_account(
        leverage="2.5", mix={name: 1 for name in world.names}, equity=100_000
    )
    world.enrol(account, trigger_bps=50_000, target_bps=60_000, band_bps=5_000)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    assert receipt.gas_used < 9_000_000
    assert excess_init(world, account) > 0


def test_deposit__seventeenth_asset__refused_and_others_open(wide_world: World) -> None:
    """T48: a full list refuses one more and blocks nothing else."""
    world = wide_world
    account = world.open_account(leverage=2, mix={name: 1 for name in world.names})
    assert len(listed_assets(world, account)) == 16
    world.clearinghouse.swap(account, world.venue, 1, 0, 10**14, 0, sender=world.owner)
    world.fund(world.owner, QUOTE, 10**6)
    world.clearinghouse.repay(account, 10**6, sender=world.owner)


# ---- T50


@given(data=st.data())
def test_operator__any_permissions__no_other_account_and_no_money_out(data: st.DataObject) -> None:
    """T50, I24, I25: an operator of one account reaches no other and pays nobody but the owner."""
    world = shared_world()
    with world.isolated():
        account = world.open_account(leverage=2, sub=3)
        sibling = world.open_account(leverage=2, sub=4)
        other = world.open_account(leverage=2, owner=world.other_owner)
        house, operator = world.clearinghouse, world.stranger
        permissions = data.draw(st.integers(0, 15))
        if permissions:
            world.mandates.set_operator(account, operator, permissions, 2**39, sender=world.owner)
        target = data.draw(st.sampled_from([account, sibling, other, 2**168 - 1]))
        before = [(house.account_word(a), house.position_word(a, 1)) for a in (sibling, other)]
        attempts = [
            (2, house.withdraw, (target, 1, 1, world.owner)),
            (4, house.transfer, (target, target ^ 1, 1, 1)),
            (8, house.swap, (target, world.venue, 1, 0, 10**15, 0)),
        ]
        for permission, function, arguments in attempts:
            is_allowed = target == account and permissions & permission
            with world.isolated():
                if is_allowed:
                    function(*arguments, sender=operator)
                else:
                    with pytest.raises(Reverted):
                        function(*arguments, sender=operator)
        with reverts():
            house.withdraw(account, 1, 1, operator, sender=operator)
        with reverts("operators: only the owner"):
            world.mandates.set_operator(account, operator, 15, 2**39, sender=operator)
        with reverts("mandates: only the owner"):
            world.mandates.revoke(account, sender=operator)
        after = [(house.account_word(a), house.position_word(a, 1)) for a in (sibling, other)]
        assert before == after


@pytest.mark.parametrize("account", [0, 255, 2**168, 2**255, 2**256 - 1])
def test_deposit__id_that_belongs_to_nobody__refused(world: World, account: int) -> None:
    """T50: an id is an owner's address and a byte, and nothing else."""
    world.fund(world.owner, QUOTE, 10**6)
    with reverts():
        world.clearinghouse.deposit(account, 0, 10**6, sender=world.owner)
