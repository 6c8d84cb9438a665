"""Batches: several actions, and the margin of every account that may be riskier once at the end."""

from __future__ import annotations

from typing import Any

import pytest

from ballast.chain import AbiError, Contract, Reverted
from ballast.deploy import account_id
from tests.clearing_kit import (
    UNIT,
    action,
    debt_units,
    excess_init,
    silence_oracle,
)
from tests.conftest import reverts
from tests.support.world import QUOTE, UNLIMITED, World

ETH, BTC = 1, 2
DEPOSIT, WITHDRAW, REPAY, TRANSFER, SWAP = range(1, 6)
SHORT = "margin: initial margin short"


def run(world: World, *actions: tuple[Any, ...], sender: str | None = None) -> Any:
    return world.clearinghouse.batch(list(actions), sender=sender or world.owner)


def test_batch__one_of_each__does_what_they_do_alone(world: World) -> None:
    """I42: and nothing is under way afterwards."""
    a, b = world.account(0), world.account(1)
    world.fund(world.owner, "ETH", 20 * 10**18)
    world.fund(world.owner, QUOTE, 100 * 10**6)
    receipt = run(
        world,
        action(DEPOSIT, a, asset=ETH, amount=20 * 10**18),
        action(WITHDRAW, a, amount=1_000 * 10**6, target=world.lender),
        action(REPAY, a, amount=100 * 10**6),
        action(TRANSFER, a, other=b, asset=ETH, amount=5 * 10**18),
        action(SWAP, a, asset=ETH, asset_out=0, amount=10**17, target=world.venue),
    )
    assert world.clearinghouse.call_state() == 0
    names = [event.name for event in world.clearinghouse.events(receipt)]
    assert [name for name in names if name != "AssetListChanged"] == [
        "Deposited",
        "Withdrawn",
        "Deposited",
        "Transferred",
        "Swapped",
    ]
    assert world.clearinghouse.position_word(a, ETH) == 149 * 10**17
    assert world.clearinghouse.position_word(b, ETH) == 5 * 10**18
    left = 900 * 10**6 - 200 * 10**6 * 997 // 1_000
    assert left <= debt_units(world, a) <= left + 100


def test_batch__deposit_borrow_and_buy__opens_a_levered_account_at_once(world: World) -> None:
    account = world.account()
    world.fund(world.owner, "ETH", 5 * 10**18)
    run(
        world,
        action(DEPOSIT, account, asset=ETH, amount=5 * 10**18),
        action(SWAP, account, asset=0, asset_out=ETH, amount=18_000 * 10**6, target=world.venue),
    )
    assert world.clearinghouse.position_word(account, ETH) > 13 * 10**18
    assert debt_units(world, account) >= 18_000 * 10**6
    assert excess_init(world, account) >= 0


def test_batch__purchase_before_its_collateral__is_judged_at_the_end(world: World) -> None:
    account = world.account()
    world.fund(world.owner, "ETH", 5 * 10**18)
    loan = action(WITHDRAW, account, amount=5_000 * 10**6, target=world.lender)
    with reverts(SHORT):
        run(world, loan)
    run(world, loan, action(DEPOSIT, account, asset=ETH, amount=5 * 10**18))
    assert debt_units(world, account) >= 5_000 * 10**6


def test_batch__account_emptied_on_the_way__is_still_checked(world: World) -> None:
    """A3: a debt does not escape because the list is empty at the end."""
    account, sibling = world.open_account(leverage=2), world.account(1)
    held = world.clearinghouse.position_word(account, ETH)
    world.fund(world.owner, QUOTE, 1)
    for leave in (
        action(WITHDRAW, account, asset=ETH, amount=held, target=world.owner),
        action(TRANSFER, account, other=sibling, asset=ETH, amount=held),
    ):
        with reverts(SHORT):
            run(world, leave)
        with reverts(SHORT):
            run(world, leave, action(DEPOSIT, sibling, amount=1))
    assert world.clearinghouse.position_word(account, ETH) == held


def test_batch__emptied_and_repaid__is_closed(world: World) -> None:
    account = world.open_account(leverage=2)
    held = world.clearinghouse.position_word(account, ETH)
    world.fund(world.owner, QUOTE, 11_000 * 10**6)
    run(
        world,
        action(WITHDRAW, account, asset=ETH, amount=held, target=world.owner),
        action(REPAY, account, amount=2**256 - 1),
    )
    assert world.clearinghouse.account_word(account) == 0
    assert world.clearinghouse.listed_word(account) == 0


def test_batch__second_account_left_short__fails_all_of_it(world: World) -> None:
    a, b = world.open_account(leverage=2, sub=0), world.open_account(leverage=2, sub=1)
    words = world.clearinghouse.account_word(a), world.clearinghouse.account_word(b)
    with reverts(SHORT):
        run(
            world,
            action(WITHDRAW, a, amount=1, target=world.owner),
            action(WITHDRAW, b, amount=9_000 * 10**6, target=world.owner),
        )
    assert words == (world.clearinghouse.account_word(a), world.clearinghouse.account_word(b))


def test_batch__sixteen_accounts__are_all_checked(world: World) -> None:
    """Every one of as many accounts as there are actions has its place in the list of checks."""
    accounts = [world.open_account(leverage=2, sub=sub) for sub in range(16)]
    loans = [action(WITHDRAW, a, amount=10, target=world.owner) for a in accounts]
    before = [debt_units(world, a) for a in accounts]
    run(world, *loans)
    assert all(debt_units(world, a) > owed for a, owed in zip(accounts, before, strict=True))
    loans[15] = action(WITHDRAW, accounts[15], amount=9_000 * 10**6, target=world.owner)
    with reverts(SHORT):
        run(world, *loans)
    loans[0], loans[15] = (
        action(WITHDRAW, accounts[0], amount=9_000 * 10**6, target=world.owner),
        loans[1],
    )
    with reverts(SHORT):
        run(world, *loans)


def test_batch__one_account_sixteen_times__is_checked_once(world: World) -> None:
    """The cost of the check is paid once: fifteen further loans cost less than one check each."""
    account = world.open_account(leverage=2, mix={"ETH": 1, "BTC": 1})
    loan = action(WITHDRAW, account, amount=10, target=world.owner)
    world.clearinghouse.batch([loan], sender=world.owner)
    one = world.clearinghouse.batch([loan], sender=world.owner).gas_used
    sixteen = world.clearinghouse.batch([loan] * 16, sender=world.owner).gas_used
    alone = world.clearinghouse.withdraw(account, 0, 10, world.owner, sender=world.owner).gas_used
    assert (sixteen - one) // 15 < 0.6 * (alone - 21_000)


def test_batch__seventeen_actions__are_refused(world: World) -> None:
    actions = [action(DEPOSIT, world.account(), amount=1)] * 17
    world.fund(world.owner, QUOTE, 17)
    with pytest.raises((AbiError, Reverted)):
        run(world, *actions)
    run(world, *actions[:16])
    assert world.clearinghouse.account_word(world.account()) == 16 * UNIT


def test_batch__of_nothing__does_nothing(world: World) -> None:
    assert world.clearinghouse.events(run(world, sender=world.stranger)) == []


@pytest.mark.parametrize("kind", [0, 7, 255, 2**255])
def test_batch__kind_that_does_not_exist__is_refused(world: World, kind: int) -> None:
    with reverts("clearinghouse: unknown action"):
        run(world, action(kind, world.account(), amount=1))


def test_batch__below_initial_margin__may_repay_add_and_sell(world: World) -> None:
    """Nothing that is by itself no riskier defers a check."""
    account = world.open_account(leverage=3)
    world.set_price("ETH", 1_600)
    assert excess_init(world, account) < 0
    world.fund(world.owner, QUOTE, 2 * 10**6)
    safe = [
        action(DEPOSIT, account, amount=10**6),
        action(REPAY, account, amount=10**6),
        action(SWAP, account, asset=ETH, asset_out=0, amount=10**18, target=world.venue),
    ]
    run(world, *safe)
    assert excess_init(world, account) < 0
    world.fund(world.owner, QUOTE, 2 * 10**6)
    with reverts(SHORT):
        run(world, *safe, action(WITHDRAW, account, amount=1, target=world.owner))


def test_batch__dead_oracle__still_deposits_and_repays(world: World) -> None:
    account = world.open_account(leverage=2)
    silence_oracle(world)
    world.chain.advance(10 * 86_400)
    world.fund(world.owner, QUOTE, 2 * 10**6)
    owed = debt_units(world, account)
    run(world, action(DEPOSIT, account, amount=10**6), action(REPAY, account, amount=10**6))
    assert debt_units(world, account) < owed


def test_batch__action_without_permission__fails_all_of_it(world: World) -> None:
    """I25: nobody acts for another in a batch either."""
    account = world.open_account(leverage=2)
    world.fund(world.attacker, QUOTE, 5)
    for act in (
        action(WITHDRAW, account, asset=ETH, amount=1, target=world.attacker),
        action(TRANSFER, account, other=world.account(1), asset=ETH, amount=1),
        action(SWAP, account, asset=ETH, asset_out=0, amount=1, target=world.venue),
    ):
        with reverts("operators: not permitted"):
            run(world, action(DEPOSIT, account, amount=5), act, sender=world.attacker)
    assert world.quote.balanceOf(world.attacker) == 5


# ---- several calls in one transaction


def owning_caller(world: World) -> Contract:
    """A contract with an account of ten ETH that has approved the clearing house."""
    caller = world.chain.deploy("Caller", sender=world.governor)
    house, eth = world.clearinghouse, world.tokens["ETH"]
    account = account_id(caller.address)
    eth.mint(caller, 10 * 10**18, sender=world.governor)
    caller.run(
        [
            (eth.address, eth.approve.encode(house, UNLIMITED)),
            (house.address, house.deposit.encode(account, ETH, 10 * 10**18)),
        ],
        sender=world.keeper,
    )
    return caller


def test_batch__checks_of_an_earlier_batch__are_not_made_again(world: World) -> None:
    """Transient words outlive a call; the next batch of a transaction finds none."""
    caller, house = owning_caller(world), world.clearinghouse
    account, other = account_id(caller.address), account_id(caller.address, 1)
    borrow = house.batch.encode(
        [action(WITHDRAW, account, amount=14_000 * 10**6, target=world.lender)]
    )
    fall = world.feeds["ETH"].set_answer.encode(1_500 * 10**8)
    world.fund(world.owner, QUOTE, 5)
    house.deposit(other, 0, 5, sender=world.owner)
    take = house.batch.encode([action(WITHDRAW, other, amount=5, target=world.lender)])
    caller.run(
        [(house.address, borrow), (world.feeds["ETH"].address, fall), (house.address, take)],
        sender=world.keeper,
    )
    assert excess_init(world, account) < 0
    assert house.account_word(other) == 0


def test_batch__prices_of_an_earlier_batch__are_not_used_again(world: World) -> None:
    """I29: marks last exactly as long as a call."""
    caller, house = owning_caller(world), world.clearinghouse
    account = account_id(caller.address)
    swap = action(SWAP, account, asset=ETH, asset_out=0, amount=10**17, target=world.venue)
    loan = action(WITHDRAW, account, amount=10_000 * 10**6, target=world.lender)
    fall = (world.feeds["ETH"].address, world.feeds["ETH"].set_answer.encode(1_000 * 10**8))
    batch = (house.address, house.batch.encode([swap, loan]))
    more = (house.address, house.batch.encode([loan]))
    with world.isolated():
        caller.run([batch], sender=world.keeper)
        assert debt_units(world, account) > 9_000 * 10**6
    with reverts(SHORT):
        caller.run([(house.address, house.batch.encode([swap])), fall, more], sender=world.keeper)
    assert house.account_word(account) == 0
