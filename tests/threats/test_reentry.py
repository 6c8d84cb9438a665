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
from tests.threats.kit import (
    EXTRA_ID,
    EXTRA_PRICE,
    FAR,
    ask_in,
    claim_shares,
    entries,
    list_token,
    pay_out,
    ready_epochs,
    renew,
    take_in,
    trade,
)

ETH = 10**18
VICTIM = 9  # sub-account of somebody else
ANY_STATE = bytes(32)


@dataclass(frozen=True)
class Trap:
    """A listed token that calls back, in the account of an attacker; and what it may try."""

    world: World
    token: Contract
    account: int
    deposits: int = 0  # epochs of the liquidity vault that can be fulfilled
    redemptions: int = 0

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
    """The token owns quote tokens and shares of both vaults, has approved, and could act when idle.

    Some of its shares and assets wait in the liquidity vault to be claimed.
    """
    world = shared_world()
    with world.isolated():
        token = world.chain.deploy("CallbackToken", sender=world.attacker)
        account = world.account(0, world.attacker)
        for who in (world.attacker, world.venue.address):
            token.mint(who, 10**6 * ETH, sender=world.attacker)
        epochs = _provide(Trap(world, token, account))
        list_token(world, token)
        token.approve(world.clearinghouse, UNLIMITED, sender=world.attacker)
        world.clearinghouse.deposit(account, EXTRA_ID, 1_000 * ETH, sender=world.attacker)
        world.deposit(account, "ETH", 10 * ETH)
        quote = world.quote
        price = EXTRA_PRICE * WAD
        world.venue.set_price(token, quote, price, 0, sender=world.attacker)
        world.venue.set_price(quote, token, WAD * WAD // price, 0, sender=world.attacker)
        trap = Trap(world, token, account, *epochs)
        quote.mint(token, 10**12, sender=world.attacker)
        for spender in (world.clearinghouse, world.system.vault, world.system.token_liquidator):
            trap.as_token(quote, "approve", spender, UNLIMITED)
        trap.as_token(world.system.vault, "deposit", 10**9, token)
        yield trap


def _provide(trap: Trap) -> tuple[int, int]:
    """Half of what the token has in the liquidity vault is claimed, a quarter of it asked back."""
    world, token, vault = trap.world, trap.token, trap.world.system.liquidity_vault
    world.quote.mint(token, 2 * 10**11, sender=world.attacker)
    trap.as_token(world.quote, "approve", vault, UNLIMITED)
    trap.as_token(vault, "requestDeposit", 2 * 10**11, token, token)
    epoch = ask_in(world, world.other_owner, 200_000)
    assert vault.deposit_request_id(token) == epoch
    take_in(world, epoch)
    claim_shares(world, world.other_owner)
    trap.as_token(vault, "deposit", 10**11, token, token)
    trap.as_token(vault, "requestRedeem", vault.balanceOf(token) // 2, token, token)
    pay_out(world, vault.redeem_request_id(token))
    return ready_epochs(world, world.other_owner)


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
    own, winner = world.account(0, trap.token.address), world.account(0, world.other_owner)
    victim = world.account(VICTIM, world.other_owner)
    house, vault, perps = world.clearinghouse, system.vault, system.perps
    liquidity, token = system.liquidity_vault, trap.token
    buying = action(6, own, asset=1, amount=ETH, min_out=UNLIMITED, other=FAR)

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
        "batched trade": to(house, "batch", [buying]),
        "trade": to(perps, "trade", own, 1, ETH, UNLIMITED, FAR, False),
        "settle": to(perps, "settle", winner, 1, []),
        "settle with a loser": to(perps, "settle", winner, 1, [(own, 1)]),
        "refresh": to(perps, "refresh"),
        "accrue": to(perps, "accrue", 1),
        "liquidate": to(system.liquidator, "liquidate", victim, own, ANY_STATE),
        "liquidate for tokens": to(
            system.token_liquidator, "liquidate", victim, 10**9, token, ANY_STATE
        ),
        "flag": to(system.liquidator, "flag", victim),
        "collect": to(system.insurance_fund, "collect"),
        "collect fees": to(system.liquidator, "collect_fees"),
        "check initial": to(house, "check_initial", own),
        "flag the house": to(system.deleverager, "flag_house"),
        "adl": to(system.deleverager, "adl", winner, 1, ETH),
        "request deposit": to(liquidity, "requestDeposit", 10**6, token, token),
        "request redeem": to(liquidity, "requestRedeem", 10**9, token, token),
        "claim for assets": to(liquidity, "deposit", 10**6, token, token),
        "claim shares": to(liquidity, "mint", 10**9, token, token),
        "claim assets": to(liquidity, "withdraw", 10**6, token, token),
        "claim for shares": to(liquidity, "redeem", 10**9, token, token),
        "fulfil deposits": to(liquidity, "fulfil_deposits", trap.deposits),
        "fulfil redemptions": to(liquidity, "fulfil_redemptions", trap.redemptions),
        "flag bad debt": to(liquidity, "flag_bad_debt", winner),
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
    """Cash, collateral, a debt, a perpetual that has won, an account below maintenance and an idle
    hook.

    Every strong call then has something to do.
    """
    world = trap.world
    own = world.account(0, trap.token.address)
    renew(world)
    winner = world.account(0, world.other_owner)
    world.deposit(winner, QUOTE, 10**10)
    trade(world, winner, -1)
    world.open_account(3, {"BTC": 1}, sub=VICTIM, owner=world.other_owner, equity=100)
    world.set_price("BTC", 21_400)
    world.set_price("ETH", 1_960)
    renew(world)
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
    "batched trade",
    "trade",
    "settle",
    "settle with a loser",
    "refresh",
    "accrue",
    "liquidate",
    "liquidate for tokens",
    "flag",
    "collect",
    "collect fees",
    "check initial",
    "flag the house",
    "request deposit",
    "request redeem",
    "claim for assets",
    "claim shares",
    "claim assets",
    "claim for shares",
    "fulfil deposits",
    "fulfil redemptions",
    "flag bad debt",
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


def test_strong__calls__are_all_tried_while_idle(trap: Trap) -> None:
    """But for those that have nothing to do here: the house is sound, and nobody donated."""
    assert set(_strong(trap)) - set(STRONG) == {"adl", "vault skim", "vault sweep"}


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


def test_setting__by_the_token_of_its_own__harmless_during_a_move(trap: Trap) -> None:
    """T16, T34: appointments, guards and allowances move nothing, so nothing refuses them; those of
    a mandates contract at work are as they were when it closes."""
    world, own = trap.world, trap.world.account(0, trap.token.address)
    _prepare(trap)
    mandates, liquidity = world.mandates, world.system.liquidity_vault
    calls = [
        (mandates, "set_operator", (own, world.attacker, 63, 2**39)),
        (mandates, "set_guard", (own, world.attacker, (10_000, 300, 100, 0, 0, 0))),
        (mandates, "arm_budget", ((1, 86_400, 1),)),
        (liquidity, "setOperator", (world.attacker, True)),
    ]
    for move in MOVES:
        with world.isolated():
            MOVES[move](trap)
            expected = _words(trap)
        for contract, name, arguments in calls:
            with world.isolated():
                trap.arm(contract, contract.function(name).encode(*arguments))
                MOVES[move](trap)
                assert trap.token.calls() > 0
                assert _words(trap) == expected, (move, name)


def _words(trap: Trap) -> list[object]:
    """What the attacker and the house hold, and what lies where."""
    world, ledger = trap.world, trap.world.clearinghouse
    accounts = (
        *(trap.account, world.system.house, world.system.insurance),
        *(world.account(sub, world.other_owner) for sub in (0, VICTIM)),
    )
    return [
        *(ledger.words_of(account) for account in accounts),
        ledger.supply_word(EXTRA_ID),
        ledger.market_word(1) % 2**128,
        world.system.perps.exposure_of(1),
        world.system.liquidity_vault.escrow(),
        world.system.liquidator.flagged_since(accounts[-1]),
        world.system.vault.state().debt_shares,
        world.system.vault.exits_held_until(),
        int(world.quote.balanceOf(ledger)),
        int(trap.token.balanceOf(ledger)),
    ]


def test_call__every_entry_during_a_withdrawal__ends_as_without(trap: Trap) -> None:
    """T33, T34: generated from the interfaces; no entry of any contract changes the accounts."""
    world = trap.world
    renew(world)
    trade(world, trap.account, 1)
    MOVES["withdraw"](trap)
    expected = _words(trap)
    tried, system = 0, world.system
    closed = (
        *(system.clearinghouse, system.perps, system.exchange),
        *(system.liquidator, system.token_liquidator, system.deleverager),
        system.insurance_fund,
    )
    for contract in world.system.contracts.values():
        for name, data in entries(contract, is_view=False):
            with world.isolated():
                trap.arm(contract, data)
                MOVES["deposit"](trap)
                MOVES["withdraw"](trap)
                if contract in closed:
                    assert not trap.token.has_succeeded(), name
                tried += 1
                assert _words(trap) == expected, (contract.name, name)
    assert tried > 110


def test_view__from_token_during_a_move__refused_or_unchanged(trap: Trap) -> None:
    """T35: the ledger's views are locked; the vault's show what they showed before the call.

    `call_state` alone answers, so that others can know.
    """
    world, vault = trap.world, trap.world.system.vault
    _prepare(trap)
    house = world.clearinghouse
    locked = [
        house.assess.encode(trap.account),
        house.picture_of.encode(trap.account),
        house.words_of.encode(trap.account),
        house.cost_word.encode(trap.account, 1),
        house.scene_of.encode(trap.account, EXTRA_ID),
        house.increased_at.encode(trap.account),
        house.market_word.encode(1),
        house.account_word.encode(trap.account),
        house.position_word.encode(trap.account, EXTRA_ID),
        house.listed_word.encode(trap.account),
        house.supply_word.encode(EXTRA_ID),
        house.asset_word.encode(EXTRA_ID),
    ]
    # Those that would tell of the ledger.
    indirect = [
        (world.mandates, "snapshot", (trap.account,)),
        (world.system.liquidator, "preview", (trap.account,)),
        (world.system.liquidator, "state_of", (trap.account,)),
        (world.system.perps, "free_wad", ()),
        (world.system.perps, "quote", (1, trap.account, ETH)),
        (world.system.liquidity_vault, "totalAssets", ()),
        (world.system.liquidity_vault, "entry_assets", ()),
    ]
    for move in ("deposit", "withdraw", "sale"):
        for data in locked:
            with world.isolated():
                trap.arm(house, data)
                MOVES[move](trap)
                assert trap.outcome() == ""
        for contract, name, arguments in indirect:
            with world.isolated():
                trap.arm(contract, contract.function(name).encode(*arguments))
                MOVES[move](trap)
                assert trap.outcome() == "", name
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
    ]
    perps, liquidity = world.system.perps, world.system.liquidity_vault
    others = [
        (world.system.oracle, world.system.oracle.price_wad.encode(1)),
        (perps, perps.exposure_of.encode(1)),
        (perps, perps.headroom_of.encode(1)),
        (perps, perps.skew_charge_wad.encode()),
        (liquidity, liquidity.totalSupply.encode()),
        (liquidity, liquidity.escrow.encode()),
    ]
    for target, data in [*((vault, data) for data in views), *others]:
        with world.isolated(), world.chain.one_block():
            before = world.chain.call_raw(target, data)
            trap.arm(target, data)
            MOVES["withdraw"](trap)
            assert trap.outcome() is None
            assert trap.token.answer() == before


@pytest.mark.parametrize("view", ["maxDeposit", "maxMint", "maxWithdraw", "maxRedeem"])
@pytest.mark.parametrize("name", ["LendingVault", "LiquidityVault"])
def test_max_view__from_token_during_a_move__zero(trap: Trap, name: str, view: str) -> None:
    """T35, C45: what cannot be done now is shown as nothing, without a revert."""
    vault = trap.world.system.contracts[name]
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
