"""A token that calls back while it moves: into every contract, through every entry that moves it.

Threats T16, T33, T34 and T35.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from ballast.chain import Contract, Reverted
from ballast.deploy import WAD
from tests.clearing_kit import action
from tests.support.fixtures import shared_world
from tests.support.hooks import deploy_hook, hand_over, must, play
from tests.support.world import QUOTE, UNLIMITED, World
from tests.threats.kit import EXTRA_ID, EXTRA_PRICE, entries, list_token

ETH = 10**18


@dataclass(frozen=True)
class Trap:
    """A listed token that calls back, in the account of an attacker; and what it may try."""

    world: World
    token: Contract
    account: int

    def arm(self, target: Contract, data: bytes) -> None:
        """Whom to call during the moves from now on."""
        self.token.arm(target, data, sender=self.world.attacker)

    def outcome(self) -> str | None:
        """Reason of the call back, None when it was accepted. Fails when none was made."""
        assert self.token.calls() > 0
        if self.token.has_succeeded():
            return None
        return Reverted(self.token.answer()).reason

    def as_token(self, contract: Contract, name: str, *args: object) -> None:
        """Lets the token call somebody on a move outside the system."""
        self.arm(contract, contract.function(name).encode(*args))
        self.token.transfer(self.world.stranger, 1, sender=self.world.attacker)
        assert self.outcome() is None
        self.token.arm(self.world.stranger, b"", sender=self.world.attacker)


@pytest.fixture
def trap() -> Iterator[Trap]:
    """The token owns quote tokens and vault shares, has approved, and could act when idle."""
    world = shared_world()
    with world.isolated():
        token = world.chain.deploy("CallbackToken", sender=world.attacker)
        list_token(world, token)
        account = world.account(0, world.attacker)
        for who in (world.attacker, world.venue.address):
            token.mint(who, 10**6 * ETH, sender=world.attacker)
        token.approve(world.clearinghouse, UNLIMITED, sender=world.attacker)
        world.clearinghouse.deposit(account, EXTRA_ID, 1_000 * ETH, sender=world.attacker)
        world.deposit(account, "ETH", 10 * ETH)
        quote = world.quote
        price = EXTRA_PRICE * WAD
        world.venue.set_price(token, quote, price, 0, sender=world.attacker)
        world.venue.set_price(quote, token, WAD * WAD // price, 0, sender=world.attacker)
        trap = Trap(world, token, account)
        quote.mint(token, 10**12, sender=world.attacker)
        for spender in (world.clearinghouse, world.system.vault):
            trap.as_token(quote, "approve", spender, UNLIMITED)
        trap.as_token(world.system.vault, "deposit", 10**9, token)
        yield trap


def _mandate(trap: Trap) -> None:
    world = trap.world
    world.borrow(trap.account, 60_000 * 10**6)
    hook = deploy_hook(world)
    hand_over(world, trap.account, hook, (60_000, 10_000, 100, 0, 0, 0))
    play(
        world,
        hook,
        trap.account,
        must(world.mandates, "swap", world.venue, EXTRA_ID, 0, ETH, 0),
    )


def _as_owner(name: str, *args: object) -> Callable[[Trap], None]:
    def act(trap: Trap) -> None:
        given = [trap.account if a == "account" else a for a in args]
        given = [trap.world.venue if a == "venue" else a for a in given]
        given = [trap.world.attacker if a == "receiver" else a for a in given]
        trap.world.clearinghouse.function(name)(*given, sender=trap.world.attacker)

    return act


def _batch(kind: int) -> Callable[[Trap], None]:
    def act(trap: Trap) -> None:
        target = trap.world.venue if kind == 5 else trap.world.attacker
        row = action(kind, trap.account, asset=EXTRA_ID, asset_out=0, amount=ETH, target=target)
        trap.world.clearinghouse.batch([row], sender=trap.world.attacker)

    return act


MOVES: dict[str, Callable[[Trap], None]] = {
    "deposit": _as_owner("deposit", "account", EXTRA_ID, ETH),
    "withdraw": _as_owner("withdraw", "account", EXTRA_ID, ETH, "receiver"),
    "sale": _as_owner("swap", "account", "venue", EXTRA_ID, 0, ETH, 0),
    "purchase": _as_owner("swap", "account", "venue", 0, EXTRA_ID, 10**8, 0),
    "batched deposit": _batch(1),
    "batched withdrawal": _batch(2),
    "batched sale": _batch(5),
    "mandate": _mandate,
}


def _strong(trap: Trap) -> dict[str, tuple[Contract, bytes]]:
    """Calls that the token may make at any other moment."""
    world, system = trap.world, trap.world.system
    own = world.account(0, trap.token.address)
    house, vault = world.clearinghouse, system.vault

    def to(contract: Contract, name: str, *args: object) -> tuple[Contract, bytes]:
        return contract, contract.function(name).encode(*args)

    return {
        "deposit": to(house, "deposit", own, 0, 10**6),
        "deposit for the owner": to(house, "deposit", trap.account, 0, 10**6),
        "withdraw": to(house, "withdraw", own, 0, 10**6, trap.token),
        "repay": to(house, "repay", trap.account, 10**6),
        "transfer": to(house, "transfer", own, own + 1, 0, 10**6),
        "batch": to(house, "batch", []),
        "batched withdrawal": to(house, "batch", [action(2, own, amount=10**6, target=trap.token)]),
        "set_operator": to(house, "set_operator", own, world.attacker, 15, 2**39),
        "rebalance": to(world.mandates, "rebalance", own),
        "vault deposit": to(vault, "deposit", 10**6, trap.token),
        "vault mint": to(vault, "mint", 10**12, trap.token),
        "vault withdraw": to(vault, "withdraw", 10**6, trap.token, trap.token),
        "vault redeem": to(vault, "redeem", 10**12, trap.token, trap.token),
        "vault skim": to(vault, "skim"),
        "vault sweep": to(vault, "sweep_reserves"),
        "poke": to(system.oracle, "poke", [1]),
    }


def _prepare(trap: Trap) -> None:
    """Cash, collateral, a debt and an idle hook, so that every strong call has something to do."""
    world = trap.world
    own = world.account(0, trap.token.address)
    trap.as_token(world.clearinghouse, "deposit", own, 0, 10**9)
    hook = deploy_hook(world)
    guard = (10_000, 300, 100, 0, 0, 0)
    trap.as_token(world.mandates, "set_guard", own, hook.address, guard)
    world.borrow(trap.account, 1_000 * 10**6)


STRONG = [
    "deposit",
    "deposit for the owner",
    "withdraw",
    "repay",
    "transfer",
    "batch",
    "batched withdrawal",
    "set_operator",
    "rebalance",
    "vault deposit",
    "vault mint",
    "vault withdraw",
    "vault redeem",
    "poke",
]


@pytest.mark.parametrize("name", STRONG)
def test_call__from_token_while_idle__accepted(trap: Trap, name: str) -> None:
    """T16: what is refused below is refused for the moment, not for its arguments."""
    _prepare(trap)
    trap.arm(*_strong(trap)[name])
    trap.token.transfer(trap.world.stranger, 1, sender=trap.world.attacker)
    assert trap.outcome() is None


@pytest.mark.parametrize("move", MOVES)
def test_call__from_token_during_a_move__refused(trap: Trap, move: str) -> None:
    """T16, T33, T34: by the lock of the contract, or because the clearing house is busy."""
    _prepare(trap)
    for name, (target, data) in _strong(trap).items():
        with trap.world.isolated():
            trap.arm(target, data)
            MOVES[move](trap)
            reason = trap.outcome()
            assert reason is not None, name
            is_busy = reason.endswith(("busy", "mandate under way"))
            assert reason == "" or is_busy, (name, reason)


def test_call__every_entry_during_a_withdrawal__ends_as_without(trap: Trap) -> None:
    """T33, T34: generated from the interfaces; no entry of any contract changes the account."""
    world = trap.world
    MOVES["withdraw"](trap)
    expected = world.clearinghouse.position_word(trap.account, EXTRA_ID)
    tried = 0
    for contract in world.system.contracts.values():
        for name, data in entries(contract, is_view=False):
            with world.isolated():
                trap.arm(contract, data)
                MOVES["deposit"](trap)
                MOVES["withdraw"](trap)
                if contract == world.clearinghouse:
                    assert not trap.token.has_succeeded(), name
                tried += 1
            assert world.clearinghouse.position_word(trap.account, EXTRA_ID) == expected
    assert tried > 40


def test_view__from_token_during_a_move__refused_or_unchanged(trap: Trap) -> None:
    """T35: the ledger's views are locked; the vault's show what they showed before the call.

    `call_state` alone answers, so that others can know.
    """
    world, vault = trap.world, trap.world.system.vault
    _prepare(trap)
    house = world.clearinghouse
    locked = [
        house.assess.encode(trap.account),
        house.snapshot.encode(trap.account),
        house.cash_of.encode(trap.account),
        house.account_word.encode(trap.account),
        house.position_word.encode(trap.account, EXTRA_ID),
        house.listed_word.encode(trap.account),
        house.supply_word.encode(EXTRA_ID),
        house.asset_word.encode(EXTRA_ID),
        house.permissions_of.encode(trap.account, world.stranger),
    ]
    for move in ("deposit", "withdraw", "sale"):
        for data in locked:
            with world.isolated():
                trap.arm(house, data)
                MOVES[move](trap)
                assert trap.outcome() == ""
        with world.isolated():
            trap.arm(house, house.call_state.encode())
            MOVES[move](trap)
            assert int.from_bytes(trap.token.answer(), "big") == 3
    views = [
        vault.totalAssets.encode(),
        vault.totalSupply.encode(),
        vault.convertToAssets.encode(10**18),
        vault.debt_index_ray.encode(),
        vault.utilisation_wad.encode(),
        world.system.oracle.price_wad.encode(1),
    ]
    for data in views:
        target = world.system.oracle if data is views[-1] else vault
        with world.isolated(), world.chain.one_block():
            before = world.chain.call_raw(target, data)
            trap.arm(target, data)
            MOVES["withdraw"](trap)
            assert trap.outcome() is None
            assert trap.token.answer() == before


@pytest.mark.parametrize("view", ["maxDeposit", "maxMint", "maxWithdraw", "maxRedeem"])
def test_max_view__from_token_during_a_move__zero(trap: Trap, view: str) -> None:
    """T35, C45: what cannot be done now is shown as nothing, without a revert."""
    vault = trap.world.system.vault
    trap.arm(vault, vault.function(view).encode(trap.token.address))
    MOVES["withdraw"](trap)
    assert trap.outcome() is None
    assert int.from_bytes(trap.token.answer(), "big") == 0
    assert vault.function(view)(trap.token.address) > 0


def test_move__callback_token__words_equal_those_of_a_quiet_one(trap: Trap) -> None:
    """T16: the calls back leave no trace in the ledger."""
    world = trap.world
    _prepare(trap)

    def words() -> list[int]:
        house = world.clearinghouse
        return [
            house.account_word(trap.account),
            house.position_word(trap.account, EXTRA_ID),
            house.supply_word(EXTRA_ID),
            house.listed_word(trap.account),
            int(world.quote.balanceOf(house)),
            int(trap.token.balanceOf(house)),
        ]

    for move in ("deposit", "withdraw", "sale", "batched sale"):
        with world.isolated():
            MOVES[move](trap)
            quiet = words()
        with world.isolated():
            trap.arm(*_strong(trap)["withdraw"])
            MOVES[move](trap)
            assert trap.outcome() is not None
            assert words() == quiet
    assert world.asset(QUOTE) == 0
