"""Collateral tokens with bad habits, and ether nobody asked for.

Threats T12 to T15, T17, T18, T38, T39 and T40, on the whole system.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ballast.chain import Contract, Reverted
from ballast.deploy import WAD
from tests.conftest import reverts
from tests.support.fixtures import shared_world
from tests.support.world import QUOTE, ZERO_ADDRESS, World
from tests.threats.kit import EXTRA_ID, EXTRA_PRICE, list_token

ETH = 10**18
SAYS_TRUE, SAYS_FALSE, SAYS_NOTHING = range(3)


def _list(world: World, name: str, *args: object) -> Contract:
    """A listed token of which the owner and the venue have plenty."""
    token = world.chain.deploy(name, *args, sender=world.governor)
    list_token(world, token)
    for who in (world.owner, world.venue.address):
        token.mint(who, 10**6 * 10 ** int(token.decimals()), sender=world.governor)
    token.approve(world.clearinghouse, 2**200, sender=world.owner)
    price = EXTRA_PRICE * WAD
    world.venue.set_price(token, world.quote, price, 0, sender=world.governor)
    world.venue.set_price(world.quote, token, WAD * WAD // price, 0, sender=world.governor)
    return token


def _held(world: World, account: int) -> int:
    return int(world.clearinghouse.position_word(account, EXTRA_ID)) & (2**128 - 1)


# ---- T12: fees on transfer


def test_deposit__token_keeps_a_fee__refused(world: World) -> None:
    """T12: what did not arrive is not credited."""
    _list(world, "FeeToken")
    account = world.account()
    with reverts("token: short transfer"):
        world.clearinghouse.deposit(account, EXTRA_ID, ETH, sender=world.owner)
    assert _held(world, account) == 0


def test_deposit__token_one_unit_short__refused(world: World) -> None:
    """T12: to the unit."""
    token = _list(world, "RudeToken", 18)
    token.set_manners(False, True, sender=world.governor)
    with reverts("token: short transfer"):
        world.clearinghouse.deposit(world.account(), EXTRA_ID, ETH, sender=world.owner)


def test_swap__bought_token_one_unit_short__only_what_arrived_counts(world: World) -> None:
    """T12: proceeds are measured, and below the bound the swap is undone."""
    token = _list(world, "RudeToken", 18)
    account = world.account()
    world.deposit(account, QUOTE, 1_000 * 10**6)
    token.set_manners(False, True, sender=world.governor)
    with reverts("exchange: proceeds below bound"):
        world.clearinghouse.swap(
            account, world.venue, 0, EXTRA_ID, 100 * 10**6, ETH, sender=world.owner
        )
    out = world.clearinghouse.swap(
        account, world.venue, 0, EXTRA_ID, 100 * 10**6, ETH - 1, sender=world.owner
    ).return_value
    assert out == _held(world, account) == ETH - 1
    assert int(token.balanceOf(world.clearinghouse)) == ETH - 1


# ---- T13: answers


@pytest.mark.parametrize("answers", [SAYS_TRUE, SAYS_NOTHING])
def test_round_trip__token_that_moves__credited_and_returned(world: World, answers: int) -> None:
    """T13: true and no answer are both a yes."""
    token = _list(world, "QuirkyToken")
    token.set_answers(answers, sender=world.governor)
    account = world.account()
    before = int(token.balanceOf(world.owner))
    world.clearinghouse.deposit(account, EXTRA_ID, ETH, sender=world.owner)
    assert _held(world, account) == ETH
    world.clearinghouse.withdraw(account, EXTRA_ID, ETH, world.owner, sender=world.owner)
    assert int(token.balanceOf(world.owner)) == before


def test_round_trip__token_says_false__refused_and_unchanged(world: World) -> None:
    """T13: a false answer is a failure on the way in, on the way out and into a swap."""
    token = _list(world, "QuirkyToken")
    account = world.account()
    world.clearinghouse.deposit(account, EXTRA_ID, 2 * ETH, sender=world.owner)
    token.set_answers(SAYS_FALSE, sender=world.governor)
    with reverts("token: pull failed"):
        world.clearinghouse.deposit(account, EXTRA_ID, ETH, sender=world.owner)
    with reverts("token: transfer failed"):
        world.clearinghouse.withdraw(account, EXTRA_ID, ETH, world.owner, sender=world.owner)
    with reverts("token: transfer failed"):
        world.clearinghouse.swap(account, world.venue, EXTRA_ID, 0, ETH, 0, sender=world.owner)
    assert _held(world, account) == 2 * ETH


def test_list__address_without_code__refused(world: World) -> None:
    """T13, T39: an empty address is no token."""
    with reverts():
        world.system.listings.list_asset(
            EXTRA_ID, world.stranger, 10**24, 100, sender=world.governor
        )


# ---- T14: approvals


def test_round_trip__token_refuses_zero__no_zero_is_ever_sent(world: World) -> None:
    """T14: neither transfers nor approvals of zero happen on any path."""
    token = _list(world, "RudeToken", 18)
    account = world.account()
    world.clearinghouse.deposit(account, EXTRA_ID, 10 * ETH, sender=world.owner)
    world.borrow(account, 100 * 10**6)
    world.clearinghouse.swap(account, world.venue, EXTRA_ID, 0, 2 * ETH, 0, sender=world.owner)
    world.clearinghouse.withdraw(account, EXTRA_ID, 8 * ETH, world.owner, sender=world.owner)
    assert int(token.balanceOf(world.clearinghouse)) == 0


def test_swap__any_direction__no_allowance_is_left(world: World) -> None:
    """T14, T38: the clearing house approves nobody; tokens are sent, never taken."""
    account = world.account()
    world.deposit(account, QUOTE, 10_000 * 10**6)
    house = world.clearinghouse
    house.swap(account, world.venue, 0, 1, 2_000 * 10**6, 0, sender=world.owner)
    held = house.position_word(account, 1)
    house.swap(account, world.venue, 1, 0, held // 2, 0, sender=world.owner)
    for contract in (*world.system.contracts.values(), world.venue):
        for token in world.tokens.values():
            assert token.allowance(contract, world.venue) == 0
            assert token.allowance(contract, house) == 0


# ---- T15: blocked addresses and paused tokens


@pytest.fixture
def blocked() -> Iterator[tuple[World, Contract, int]]:
    """An account of ETH and a token that blocks its owner, with a debt."""
    world = shared_world()
    with world.isolated():
        token = _list(world, "RudeToken", 6)
        account = world.open_account(leverage=1)
        world.clearinghouse.deposit(account, EXTRA_ID, 50 * 10**6, sender=world.owner)
        world.borrow(account, 11_000 * 10**6)
        token.block_account(world.owner, True, sender=world.governor)
        yield world, token, account


def test_withdraw__receiver_blocked__another_receiver_works(
    blocked: tuple[World, Contract, int],
) -> None:
    """T15: a blocked owner is not locked in."""
    world, token, account = blocked
    with reverts("rude token: blocked"):
        world.clearinghouse.withdraw(account, EXTRA_ID, 1, world.owner, sender=world.owner)
    world.clearinghouse.withdraw(account, EXTRA_ID, 1, world.stranger, sender=world.owner)
    assert token.balanceOf(world.stranger) == 1


def test_rebalance__paused_token_beside__other_sales_help(
    blocked: tuple[World, Contract, int],
) -> None:
    """T15: a token that does not move keeps its own leg and no other."""
    world, token, account = blocked
    world.enrol(account, sales={EXTRA_ID: 0, world.asset("ETH"): 30})
    token.set_manners(True, False, sender=world.governor)
    world.set_price("ETH", 1_200)
    before = world.clearinghouse.assess(account)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    after = world.clearinghouse.assess(account)
    assert world.rebalancer.events(receipt, "StepRefused")[0].args.asset == EXTRA_ID
    assert after[0] - after[1] > before[0] - before[1]
    assert _held(world, account) == 50 * WAD


def test_pull__owner_of_quote_blocked__account_can_still_be_repaid(world: World) -> None:
    """T15: anybody pays a loan, so a blocked owner does not doom an account."""
    account = world.open_account(leverage=2)
    world.fund(world.other_owner, QUOTE, 100 * 10**6)
    debt = -world.clearinghouse.picture_of(account)[0]
    world.clearinghouse.repay(account, 100 * 10**6, sender=world.other_owner)
    assert -world.clearinghouse.picture_of(account)[0] <= debt - 99 * WAD


# ---- T17: no sweep


def test_skim__collateral_and_cash_of_accounts__never_taken(world: World) -> None:
    """T17: the vault gives away its own surplus only; the clearing house has no sweep at all."""
    account = world.open_account(leverage=1)
    world.deposit(account, QUOTE, 1_000 * 10**6)
    house = {name: int(t.balanceOf(world.clearinghouse)) for name, t in world.tokens.items()}
    world.system.vault.skim(sender=world.governor)
    world.system.vault.sweep_reserves(sender=world.governor)
    assert house == {n: int(t.balanceOf(world.clearinghouse)) for n, t in world.tokens.items()}
    names = {e["name"] for e in world.clearinghouse.artifact.abi if e["type"] == "function"}
    assert not {n for n in names if "sweep" in n or "skim" in n or "rescue" in n}


def test_donate__tokens_sent_to_the_clearing_house__no_account_and_no_supply_changes(
    world: World,
) -> None:
    """T02, T03, T11: health, supply, utilisation and share price stay as they were."""
    account = world.open_account(leverage=2)
    vault = world.system.vault

    def figures() -> tuple[object, ...]:
        return (
            world.clearinghouse.position_word(account, 1),
            world.clearinghouse.account_word(account),
            world.clearinghouse.supply_word(1),
            world.clearinghouse.assess(account)[1],
            vault.utilisation_wad() // 10**9,
            vault.totalAssets() // 10,
        )

    with world.chain.one_block():
        before = figures()
        for name, receiver in (
            ("ETH", "clearinghouse"),
            (QUOTE, "clearinghouse"),
            (QUOTE, "vault"),
        ):
            to = world.system.contracts["Clearinghouse"]
            if receiver == "vault":
                to = vault
            world.tokens[name].mint(to, 10**24, sender=world.attacker)
        assert figures() == before


# ---- T18: decimals


@pytest.mark.parametrize("decimals", [2, 6, 8, 18])
def test_round_trip__decimals__same_value_and_exact_units(world: World, decimals: int) -> None:
    """T18: a token's decimals change its units and nothing else."""
    token = _list(world, "RudeToken", decimals)
    unit = 10**decimals
    account = world.account()
    world.clearinghouse.deposit(account, EXTRA_ID, 200 * unit, sender=world.owner)
    equity = world.clearinghouse.assess(account)[0]
    assert equity == 200 * EXTRA_PRICE * WAD
    world.borrow(account, 10_000 * 10**6)
    out = world.clearinghouse.swap(
        account, world.venue, EXTRA_ID, 0, 10 * unit, 0, sender=world.owner
    ).return_value
    assert out == 10 * EXTRA_PRICE * 10**6
    assert _held(world, account) == 190 * WAD
    world.clearinghouse.withdraw(account, EXTRA_ID, unit, world.owner, sender=world.owner)
    assert int(token.balanceOf(world.owner)) == (10**6 - 199) * unit


@pytest.mark.parametrize("decimals", [0, 1, 19, 24])
def test_list__decimals_out_of_range__refused(world: World, decimals: int) -> None:
    """T18: below two a unit is too coarse, above 18 it is not exact."""
    token = world.chain.deploy("RudeToken", decimals, sender=world.governor)
    with reverts("listings: decimals not 2 to 18"):
        list_token(world, token)


# ---- T38, T39: addresses


@pytest.mark.parametrize("kind", ["token", "vault", "clearing house", "oracle", "stranger", "zero"])
def test_swap__adapter_that_nobody_allowed__refused(world: World, kind: str) -> None:
    """T38, T39, I26: owner and hook choose among allowed adapters only."""
    account = world.open_account(leverage=2)
    adapter = {
        "token": world.tokens["ETH"].address,
        "vault": world.system.vault.address,
        "clearing house": world.clearinghouse.address,
        "oracle": world.system.oracle.address,
        "stranger": world.stranger,
        "zero": ZERO_ADDRESS,
    }[kind]
    with reverts("exchange: adapter not allowed"):
        world.clearinghouse.swap(account, adapter, 1, 0, ETH, 0, sender=world.owner)


@pytest.mark.parametrize("kind", ["token", "vault", "clearing house", "oracle", "mandates"])
def test_swap__contract_of_the_system_allowed_by_mistake__nothing_moves(
    world: World, kind: str
) -> None:
    """T38: even the governor's mistake gives no way to make the ledger call a token or itself."""
    account = world.open_account(leverage=2)
    adapter = {
        "token": world.tokens["ETH"],
        "vault": world.system.vault,
        "clearing house": world.clearinghouse,
        "oracle": world.system.oracle,
        "mandates": world.mandates,
    }[kind]
    world.system.listings.set_adapter(adapter, True, sender=world.governor)
    before = world.clearinghouse.position_word(account, 1)
    with pytest.raises(Reverted):
        world.clearinghouse.swap(account, adapter, 1, 0, ETH, 0, sender=world.owner)
    assert world.clearinghouse.position_word(account, 1) == before


def test_set_adapter__address_without_code__refused(world: World) -> None:
    """T39: a call to nobody would look like a success."""
    with reverts("listings: adapter has no code"):
        world.system.listings.set_adapter(world.stranger, True, sender=world.governor)


@pytest.mark.parametrize("name", ["deposit", "withdraw", "transfer", "swap"])
def test_call__unknown_asset__refused(world: World, name: str) -> None:
    """T39: assets are ids of a register, never addresses."""
    account = world.open_account(leverage=1)
    arguments = {
        "deposit": (account, 77, 1),
        "withdraw": (account, 77, 1, world.owner),
        "transfer": (account, account + 1, 77, 1),
        "swap": (account, world.venue, 77, 0, 1, 0),
    }[name]
    with pytest.raises(Reverted):
        world.clearinghouse.function(name)(*arguments, sender=world.owner)
    assert world.clearinghouse.listed_word(account) >> 128 & 255 == 1


def test_list__token_that_is_listed_or_the_quote_token__no_second_value(world: World) -> None:
    """T39: the quote token is no collateral and a taken id stays what it is."""
    listings = world.system.listings
    with reverts("listings: bad asset id or token"):
        listings.list_asset(EXTRA_ID, world.quote, 10**24, 100, sender=world.governor)
    with reverts("listings: bad asset id or token"):
        listings.list_asset(1, world.tokens["BTC"], 10**24, 100, sender=world.governor)


# ---- T40: ether


def test_force_ether__into_every_contract__nothing_changes(world: World) -> None:
    """T40: no entry takes ether, and what is forced in changes no figure."""
    account = world.open_account(leverage=2)
    with world.chain.one_block():
        before = world.mandates.snapshot(account), world.system.vault.totalAssets()
        for contract in world.system.contracts.values():
            world.chain.set_balance(contract, 10**18)
            assert world.chain.balance(contract) == 10**18
        assert (world.mandates.snapshot(account), world.system.vault.totalAssets()) == before
    for contract in world.system.contracts.values():
        with pytest.raises(Reverted):
            world.chain.send_raw(contract, b"", world.attacker, value=1)
        payable = [e for e in contract.artifact.abi if e.get("stateMutability") == "payable"]
        assert payable == []
