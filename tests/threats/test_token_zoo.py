"""Every habit of a token on every path that moves one: T12 to T18 in one table.

A cell runs the path with a token that has the habit, prepared while the token was polite, and is

    SAFE        it goes through, and every contract still holds what its books say
    a reason    it is refused at the call with that reason, and nothing has changed

Decimals and what is refused when a token is listed have their own table. Balances that change by
themselves cannot be seen at listing: such a token must not be listed, and what it does when it is
stays with its own holders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ballast.chain import Contract, Reverted
from ballast.venue import FEE_PPM, deploy_venue, deploy_weth
from tests.conftest import reverts
from tests.liquidation_kit import ANY_STATE
from tests.support.fixtures import odd_world, shared_world
from tests.support.world import QUOTE, UNLIMITED, WAD, World
from tests.threats.kit import EXTRA_ID, EXTRA_PRICE, ask_in, ask_out, list_token, wait_until

UNIT = 10**6
ETH, CASH = 1, 0
SAFE = ""

# ---- habits

MANNERS = {
    "polite": 0,
    "keeps a fee": 1,
    "answers nothing": 2,
    "answers false": 4,
    "sticky allowance": 8,
    "no zero amount": 16,
    "no zero approval": 32,
    "96 bits": 64,
    "paused": 128,
    "calls others": 256,
}
STRANGER_BLOCKED = "blocks somebody else"
GREW = "has grown"
SHRANK = "has shrunk"
HABITS = (*MANNERS, STRANGER_BLOCKED, GREW, SHRANK)


def take_habit(world: World, token: Contract, habit: str) -> None:
    """From now on; what it calls is open to all and writes. `test_reentry.py` tries all entries."""
    ledger, governor = world.clearinghouse, world.governor
    if habit in MANNERS:
        token.arm(world.system.vault, world.system.vault.accrue.encode(), sender=governor)
        token.set_manners(MANNERS[habit], sender=governor)
    elif habit == STRANGER_BLOCKED:
        token.block_account(world.stranger, True, sender=governor)
    else:
        parts = 11_000 if habit == GREW else 9_000
        for holder in (ledger, world.system.vault, world.system.liquidity_vault, world.keepers):
            token.rebase(holder, parts, sender=governor)


# ---- the token as collateral


@pytest.fixture
def zoo() -> Iterator[tuple[World, Contract]]:
    """The token at 100 quote tokens beside ETH and BTC."""
    world = shared_world()
    with world.isolated():
        token = world.chain.deploy("ZooToken", sender=world.governor)
        list_token(world, token)
        for who in (world.owner, world.attacker, world.venue.address):
            token.mint(who, 10**6 * UNIT, sender=world.governor)
        for who in (world.owner, world.attacker):
            token.approve(world.clearinghouse, UNLIMITED, sender=who)
        price = EXTRA_PRICE * WAD
        world.venue.set_price(token, world.quote, price, 0, sender=world.governor)
        world.venue.set_price(world.quote, token, WAD * WAD // price, 0, sender=world.governor)
        world.clearinghouse.deposit(world.account(), EXTRA_ID, 1_000 * UNIT, sender=world.owner)
        world.deposit(world.account(), QUOTE, 100_000 * UNIT)
        yield world, token


Act = Callable[[], Any]
Path = Callable[[World, Contract], Act]


def _deposit(world: World, token: Contract) -> Act:
    ledger = world.clearinghouse
    return lambda: ledger.deposit(world.account(), EXTRA_ID, 100 * UNIT, sender=world.owner)


def _withdraw(world: World, token: Contract) -> Act:
    ledger, who = world.clearinghouse, world.owner
    return lambda: ledger.withdraw(world.account(), EXTRA_ID, 100 * UNIT, who, sender=who)


def _transfer(world: World, token: Contract) -> Act:
    ledger, account = world.clearinghouse, world.account()
    return lambda: ledger.transfer(account, account + 1, EXTRA_ID, UNIT, sender=world.owner)


def _sell(world: World, token: Contract) -> Act:
    ledger, venue = world.clearinghouse, world.venue
    return lambda: ledger.swap(
        world.account(), venue, EXTRA_ID, CASH, 100 * UNIT, 0, sender=world.owner
    )


def _buy(world: World, token: Contract) -> Act:
    ledger, venue = world.clearinghouse, world.venue
    return lambda: ledger.swap(
        world.account(), venue, CASH, EXTRA_ID, 10_000 * UNIT, 0, sender=world.owner
    )


def _uniswap(world: World, token: Contract, is_sale: bool) -> Act:
    """Through a real pool."""
    governor, chain = world.governor, world.chain
    weth = deploy_weth(chain, governor)
    answers = {"ZOO": EXTRA_PRICE * 10**8}
    venue = deploy_venue(chain, weth, world.quote, {"ZOO": token}, answers, sender=governor)
    adapter = chain.deploy(
        *("UniswapV3Adapter", world.system.exchange, venue.factory.address, governor),
        sender=governor,
    )
    adapter.set_fee_tier(token, world.quote, FEE_PPM, sender=governor)
    world.system.allow_adapter(adapter)
    sides = (EXTRA_ID, CASH, 10 * UNIT) if is_sale else (CASH, EXTRA_ID, 1_000 * UNIT)

    def act() -> None:
        world.clearinghouse.swap(world.account(), adapter, *sides, 0, sender=world.owner)
        assert token.balanceOf(adapter) == world.quote.balanceOf(adapter) == 0
        assert token.allowance(adapter, venue.router.address) == 0

    return act


def _uniswap_sell(world: World, token: Contract) -> Act:
    return _uniswap(world, token, True)


def _uniswap_buy(world: World, token: Contract) -> Act:
    return _uniswap(world, token, False)


def _vault(world: World, token: Contract, is_entry: bool) -> Act:
    """Into shares of a vault of the token and back, as the exchange has it done."""
    governor, chain, exchange = world.governor, world.chain, world.keeper
    vault = chain.deploy("MockYieldVault", token, "Zoo", "ZOO", 0, 0, sender=governor)
    token.mint(governor, 10**6 * UNIT, sender=governor)
    token.approve(vault, UNLIMITED, sender=governor)
    vault.deposit(1_000 * UNIT, governor, sender=governor)
    adapter = chain.deploy("ERC4626Adapter", exchange, governor, sender=governor)
    adapter.set_vault(vault, True, sender=governor)
    sold, bought = (token, vault) if is_entry else (vault, token)
    sold.transfer(adapter, 100 * UNIT, sender=governor)
    least = 100 * UNIT

    def act() -> None:
        adapter.swap(sold, bought, 100 * UNIT, least, world.lender, sender=exchange)
        assert bought.balanceOf(world.lender) >= least
        assert token.balanceOf(adapter) == vault.balanceOf(adapter) == 0

    return act


def _vault_in(world: World, token: Contract) -> Act:
    return _vault(world, token, True)


def _vault_out(world: World, token: Contract) -> Act:
    return _vault(world, token, False)


def _victim(world: World) -> int:
    """An account of the other owner that holds the token, about to be liquidated."""
    victim = world.account(3, world.attacker)
    world.clearinghouse.deposit(victim, EXTRA_ID, 50 * UNIT, sender=world.attacker)
    world.deposit(victim, "ETH", WAD)
    world.borrow(victim, 5_000 * UNIT)
    world.set_price("ETH", 100)
    return victim


def _liquidate(world: World, token: Contract) -> Act:
    """In place: no token moves."""
    victim, taker = _victim(world), world.account(2)
    world.deposit(taker, QUOTE, 100_000 * UNIT)
    return lambda: world.system.liquidator.liquidate(victim, taker, ANY_STATE, sender=world.owner)


def _buy_out(world: World, token: Contract) -> Act:
    """`TokenLiquidator` pays out what it took."""
    victim, seller = _victim(world), world.system.token_liquidator
    world.fund(world.keeper, QUOTE, 10**5 * UNIT)
    world.quote.approve(seller, UNLIMITED, sender=world.keeper)
    return lambda: seller.liquidate(
        victim, 20_000 * UNIT, world.keeper, ANY_STATE, sender=world.keeper
    )


COLLATERAL_PATHS: dict[str, Path] = {
    "deposit": _deposit,
    "withdraw": _withdraw,
    "transfer": _transfer,
    "sell": _sell,
    "buy": _buy,
    "sell, Uniswap": _uniswap_sell,
    "buy, Uniswap": _uniswap_buy,
    "into a vault": _vault_in,
    "out of a vault": _vault_out,
    "liquidate": _liquidate,
    "liquidate for tokens": _buy_out,
}

# ---- the token as quote token


def _cash_deposit(world: World, token: Contract) -> Act:
    ledger = world.clearinghouse
    return lambda: ledger.deposit(world.account(), CASH, 100 * UNIT, sender=world.owner)


def _cash_withdraw(world: World, token: Contract) -> Act:
    ledger, who = world.clearinghouse, world.owner
    return lambda: ledger.withdraw(world.account(), CASH, 100 * UNIT, who, sender=who)


def _borrow(world: World, token: Contract) -> Act:
    account = world.account(1)
    world.deposit(account, "ETH", 10 * WAD)
    return lambda: world.borrow(account, 1_000 * UNIT, world.owner)


def _repay(world: World, token: Contract) -> Act:
    _borrow(world, token)()
    return lambda: world.clearinghouse.repay(world.account(1), 500 * UNIT, sender=world.owner)


def _buy_ether(world: World, token: Contract) -> Act:
    ledger, venue = world.clearinghouse, world.venue
    return lambda: ledger.swap(
        world.account(), venue, CASH, ETH, 1_000 * UNIT, 0, sender=world.owner
    )


def _sell_ether(world: World, token: Contract) -> Act:
    """With a debt that takes the proceeds straight to the vault."""
    _borrow(world, token)()
    ledger, venue = world.clearinghouse, world.venue
    return lambda: ledger.swap(world.account(1), venue, ETH, CASH, WAD // 20, 0, sender=world.owner)


def _lend(world: World, token: Contract) -> Act:
    vault, who = world.system.vault, world.lender
    world.fund(who, QUOTE, 1_000 * UNIT)
    return lambda: vault.deposit(100 * UNIT, who, sender=who)


def _leave(world: World, token: Contract) -> Act:
    vault, who = world.system.vault, world.lender
    return lambda: vault.withdraw(100 * UNIT, who, who, sender=who)


def _request(world: World, token: Contract) -> Act:
    vault, who = world.system.liquidity_vault, world.owner
    token.approve(vault, UNLIMITED, sender=who)
    return lambda: vault.requestDeposit(100 * UNIT, who, who, sender=who)


def _fulfil(world: World, token: Contract) -> Act:
    epoch = ask_in(world, world.owner, 10_000)
    vault = world.system.liquidity_vault
    wait_until(world, vault.deposit_epoch(epoch).ready_at)
    return lambda: vault.fulfil_deposits(epoch, sender=world.keeper)


def _pay_out(world: World, token: Contract) -> Act:
    vault, who = world.system.liquidity_vault, world.owner
    _fulfil(world, token)()
    vault.deposit(vault.maxDeposit(who), who, sender=who)
    epoch = ask_out(world, who, int(vault.balanceOf(who)) // 2)
    wait_until(world, vault.redeem_epoch(epoch).ready_at)
    return lambda: vault.fulfil_redemptions(epoch, sender=world.keeper)


def _claim(world: World, token: Contract) -> Act:
    vault, who = world.system.liquidity_vault, world.owner
    _pay_out(world, token)()
    return lambda: vault.withdraw(vault.maxWithdraw(who), who, who, sender=who)


def _watch(world: World, token: Contract) -> Act:
    keepers, who = world.keepers, world.owner
    token.approve(keepers, UNLIMITED, sender=who)
    return lambda: keepers.watch(world.account(), world.feeds["ETH"], 100 * UNIT, sender=who)


def _unwatch(world: World, token: Contract) -> Act:
    _watch(world, token)()
    keepers, who = world.keepers, world.owner
    return lambda: keepers.unwatch(world.account(), world.feeds["ETH"], who, sender=who)


def _pull(world: World, token: Contract) -> Act:
    """Out of the wallet, in a mandate."""
    account = world.account(4)
    world.deposit(account, "ETH", 10 * WAD)
    world.borrow(account, 12_000 * UNIT)
    world.enrol(account, uses_wallet=True, wallet_cap_wad=10**5 * WAD, sales={})
    world.set_price("ETH", 1_700)
    return lambda: world.mandates.rebalance(account, sender=world.keeper)


def _collect(world: World, token: Contract) -> Act:
    """Reserves into the insurance fund."""
    _borrow(world, token)()
    world.wait(90 * 86_400)
    return lambda: world.system.insurance_fund.collect(sender=world.keeper)


def _insurance_out(world: World, token: Contract) -> Act:
    fund = world.system.insurance_fund
    world.fund(world.owner, QUOTE, 1_000 * UNIT)
    world.clearinghouse.deposit(world.system.insurance, CASH, 1_000 * UNIT, sender=world.owner)
    fund.announce_withdrawal(500 * UNIT, world.governor, sender=world.governor)
    world.wait(8 * 86_400)
    return lambda: fund.withdraw(sender=world.governor)


def _sunk(world: World) -> int:
    victim = world.account(5, world.attacker)
    world.deposit(victim, "ETH", 10 * WAD)
    world.borrow(victim, 12_000 * UNIT)
    world.set_price("ETH", 1_250)
    return victim


def _liquidate_loan(world: World, token: Contract) -> Act:
    """Cash of the taker pays the debt down."""
    victim, taker = _sunk(world), world.account(2)
    world.deposit(taker, QUOTE, 50_000 * UNIT)
    return lambda: world.system.liquidator.liquidate(victim, taker, ANY_STATE, sender=world.owner)


def _pay_for_slice(world: World, token: Contract) -> Act:
    victim, seller, who = _sunk(world), world.system.token_liquidator, world.owner
    token.approve(seller, UNLIMITED, sender=who)
    world.fund(who, QUOTE, 50_000 * UNIT)
    return lambda: seller.liquidate(victim, 20_000 * UNIT, who, ANY_STATE, sender=who)


QUOTE_PATHS: dict[str, Path] = {
    "deposit": _cash_deposit,
    "withdraw": _cash_withdraw,
    "borrow": _borrow,
    "repay": _repay,
    "swap, as what is sold": _buy_ether,
    "swap, into a debt": _sell_ether,
    "lend": _lend,
    "stop lending": _leave,
    "liquidity, ask in": _request,
    "liquidity, let in": _fulfil,
    "liquidity, pay out": _pay_out,
    "liquidity, claim": _claim,
    "watch": _watch,
    "unwatch": _unwatch,
    "wallet pull": _pull,
    "insurance, collect": _collect,
    "insurance, withdraw": _insurance_out,
    "liquidate": _liquidate_loan,
    "liquidate for tokens": _pay_for_slice,
}


@pytest.fixture
def quoted() -> Iterator[tuple[World, Contract]]:
    world = odd_world("ZooToken")
    with world.isolated():
        world.deposit(world.account(), QUOTE, 10_000 * UNIT)
        world.fund(world.owner, QUOTE, 10_000 * UNIT)
        yield world, world.quote


# ---- what is compared


def accounts(world: World) -> list[int]:
    """Every account that a path may touch."""
    owners = (world.owner, world.attacker, world.keeper)
    own = [world.account(sub, who) for who in owners for sub in range(6)]
    system = world.system
    seller = int(system.token_liquidator.address, 16) << 8
    return [*own, system.house, system.insurance, seller]


def books(world: World) -> list[Any]:
    """What the contracts think there is."""
    vault, liquidity = world.system.vault, world.system.liquidity_vault
    told: list[Any] = [list(world.clearinghouse.words_of(a))[:2] for a in accounts(world)]
    told += [list(world.clearinghouse.words_of(a)) for a in accounts(world)]
    told += [vault.totalSupply(), vault.state().idle, vault.state().debt_shares]
    return [*told, liquidity.totalSupply(), liquidity.balanceOf(world.owner)]


def surplus(world: World, token: Contract, asset: int) -> list[int]:
    """Tokens held beyond what the books say, by ledger and lending vault."""
    ledger, vault = world.clearinghouse, world.system.vault
    unit_wad = int(ledger.asset_word(asset)) >> 160 & 2**72 - 1
    if asset != CASH:
        booked = int(ledger.supply_word(asset)) & 2**128 - 1
        return [int(token.balanceOf(ledger)) * unit_wad - booked]
    cash = sum(int(ledger.account_word(account)) & 2**128 - 1 for account in accounts(world))
    return [
        int(token.balanceOf(ledger)) * unit_wad - cash,
        int(token.balanceOf(vault)) - int(vault.state().idle),
    ]


def outcome(world: World, token: Contract, asset: int, path: Path, habit: str) -> str:
    """Runs a cell: SAFE or the reason; fails where anything is lost on the way."""
    act = path(world, token)
    take_habit(world, token, habit)
    before, spare = books(world), surplus(world, token, asset)
    try:
        act()
    except Reverted as error:
        assert books(world) == before
        return str(error)
    after = surplus(world, token, asset)
    for then, now in zip(spare, after, strict=True):
        assert now >= min(then, 0), "the books say more than there is"
    return SAFE


# ---- the table: what is not here is SAFE

COLLATERAL_REFUSED: dict[str, dict[str, str]] = {
    "deposit": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: pull failed",
        "paused": "zoo: paused",
    },
    "withdraw": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "transfer": {},
    "sell": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "buy": {
        "answers false": "venue: payment failed",
        "paused": "zoo: paused",
    },
    "sell, Uniswap": {
        "keeps a fee": "no reason",
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "buy, Uniswap": {
        "keeps a fee": "exchange: proceeds below bound",
        "answers false": "TF",
        "paused": "TF",
    },
    "into a vault": {
        "answers false": "vault adapter: approve failed",
        "paused": "zoo: paused",
    },
    "out of a vault": {
        "keeps a fee": "vault adapter: paid too little",
        "answers false": "mock: withdrawal failed",
        "paused": "zoo: paused",
    },
    "liquidate": {},
    "liquidate for tokens": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
}

QUOTE_REFUSED: dict[str, dict[str, str]] = {
    "deposit": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: pull failed",
        "paused": "zoo: paused",
    },
    "withdraw": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "borrow": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "repay": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: pull failed",
        "paused": "zoo: paused",
        "has shrunk": "vault: repayment missing",
    },
    "swap, as what is sold": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "swap, into a debt": {
        "keeps a fee": "exchange: proceeds below bound",
        "answers false": "venue: payment failed",
        "paused": "zoo: paused",
        "has shrunk": "vault: repayment missing",
    },
    "lend": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: pull failed",
        "paused": "zoo: paused",
    },
    "stop lending": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "liquidity, ask in": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: pull failed",
        "paused": "zoo: paused",
    },
    "liquidity, let in": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: approve failed",
        "paused": "zoo: paused",
        "has shrunk": "no reason",
    },
    "liquidity, pay out": {
        "keeps a fee": "liquidity: payment missing",
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "liquidity, claim": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
        "has shrunk": "no reason",
    },
    "watch": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: pull failed",
        "paused": "zoo: paused",
    },
    "unwatch": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
        "has shrunk": "no reason",
    },
    "wallet pull": {
        "keeps a fee": "rebalancer: every step refused",
        "answers false": "rebalancer: every step refused",
        "paused": "rebalancer: every step refused",
        "has shrunk": "rebalancer: every step refused",
    },
    "insurance, collect": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "insurance, withdraw": {
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
    },
    "liquidate": {
        "keeps a fee": "vault: repayment missing",
        "answers false": "token: transfer failed",
        "paused": "zoo: paused",
        "has shrunk": "vault: repayment missing",
    },
    "liquidate for tokens": {
        "keeps a fee": "token: short transfer",
        "answers false": "token: pull failed",
        "paused": "zoo: paused",
        "has shrunk": "vault: repayment missing",
    },
}


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("path", COLLATERAL_PATHS)
def test_collateral__habit_on_a_path__is_safe_or_refused(
    zoo: tuple[World, Contract], path: str, habit: str
) -> None:
    """T12 T13 T14 T15 T16"""
    world, token = zoo
    found = outcome(world, token, EXTRA_ID, COLLATERAL_PATHS[path], habit)
    assert found == COLLATERAL_REFUSED[path].get(habit, SAFE)


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("path", QUOTE_PATHS)
def test_quote_token__habit_on_a_path__is_safe_or_refused(
    quoted: tuple[World, Contract], path: str, habit: str
) -> None:
    """T12 T13 T14 T15 T16"""
    world, token = quoted
    found = outcome(world, token, CASH, QUOTE_PATHS[path], habit)
    assert found == QUOTE_REFUSED[path].get(habit, SAFE)


def test_table__every_path__is_named_and_a_pause_shows_that_it_moves_the_token() -> None:
    """A liquidation and a transfer between siblings move no collateral; all else does."""
    assert set(COLLATERAL_REFUSED) == set(COLLATERAL_PATHS)
    assert set(QUOTE_REFUSED) == set(QUOTE_PATHS)
    unmoved = {path for path, cells in COLLATERAL_REFUSED.items() if "paused" not in cells}
    assert unmoved == {"transfer", "liquidate"}
    assert all("paused" in cells for cells in QUOTE_REFUSED.values())
    for cells in (*COLLATERAL_REFUSED.values(), *QUOTE_REFUSED.values()):
        assert set(cells) <= set(HABITS) and SAFE not in cells.values()
        accepted = {"polite", "answers nothing", "sticky allowance", "96 bits", "calls others"}
        assert not accepted & set(cells), "a token in use that works everywhere"


# ---- decimals, and what is refused when a token is listed


@pytest.mark.parametrize("decimals", range(25))
def test_list__decimals__are_accepted_from_two_to_eighteen(world: World, decimals: int) -> None:
    """T18: as collateral and as quote token; a unit that is accepted goes in and out."""
    token = world.chain.deploy("RudeToken", decimals, sender=world.governor)
    vault = (
        *("LendingVault", token, "Vault", "V", world.clearinghouse, world.system.liquidator),
        *(world.governor, world.governor, (0, 0, 0, 5_000), 0, 0, 0),
    )
    if not 2 <= decimals <= 18:
        with reverts("listings: decimals not 2 to 18"):
            list_token(world, token)
        with reverts("vault: unsupported decimals"):
            world.chain.deploy(*vault, sender=world.governor)
        return
    list_token(world, token)
    token.mint(world.owner, 10**decimals, sender=world.governor)
    token.approve(world.clearinghouse, UNLIMITED, sender=world.owner)
    account, ledger = world.account(), world.clearinghouse
    ledger.deposit(account, EXTRA_ID, 10**decimals, sender=world.owner)
    assert ledger.assess(account)[0] == EXTRA_PRICE * WAD
    ledger.withdraw(account, EXTRA_ID, 10**decimals - 1, world.owner, sender=world.owner)
    ledger.withdraw(account, EXTRA_ID, 1, world.owner, sender=world.owner)
    assert world.chain.deploy(*vault, sender=world.governor).decimals() == decimals + 6


# ---- one token under two addresses


@pytest.mark.parametrize("is_quote", [False, True])
def test_second_address__listed_beside_the_first__counts_nothing_twice(
    request: pytest.FixtureRequest, is_quote: bool
) -> None:
    """T17: what either address brought in is booked once, and nothing that gives surplus away
    takes it: not the vault's skim, nor insurance, nor the reserves."""
    world, token = request.getfixturevalue("quoted" if is_quote else "zoo")
    ledger, who, second = world.clearinghouse, world.owner, EXTRA_ID + 1
    door = world.chain.deploy("ZooDoor", token, sender=world.governor)
    token.set_door(door, sender=world.governor)
    list_token(world, door, second)
    door.approve(ledger, UNLIMITED, sender=who)
    token.mint(who, 500 * UNIT, sender=world.governor)
    first = CASH if is_quote else EXTRA_ID
    spare = surplus(world, token, first)[0]
    ledger.deposit(world.account(), second, 300 * UNIT, sender=who)
    ledger.deposit(world.account(), first, 100 * UNIT, sender=who)
    assert surplus(world, token, first)[0] == spare + 300 * WAD
    world.system.vault.skim(sender=world.attacker)
    world.system.vault.sweep_reserves(sender=world.attacker)
    world.system.insurance_fund.collect(sender=world.attacker)
    ledger.withdraw(world.account(), first, 100 * UNIT, who, sender=who)
    ledger.withdraw(world.account(), second, 300 * UNIT, who, sender=who)
    assert surplus(world, token, first)[0] == spare


# ---- who is blocked stops nobody else (T15)

ROLES = ("owner", "liquidator", "keeper", "insurance")


def block(world: World, token: Contract, role: str) -> None:
    who = {
        "owner": world.attacker,  # of the accounts below
        "liquidator": world.owner,
        "keeper": world.keeper,
        "insurance": world.system.insurance_fund,
    }[role]
    token.block_account(who, True, sender=world.governor)


@pytest.mark.parametrize("role", ROLES)
def test_blocked__in_the_quote_token__liquidation_and_lenders_go_on(
    quoted: tuple[World, Contract], role: str
) -> None:
    """The debt is paid out of what lies in the ledger; insurance is credited, lenders leave."""
    world, token = quoted
    victim, taker = _sunk(world), world.account(2)
    world.deposit(taker, QUOTE, 50_000 * UNIT)
    block(world, token, role)
    insured = world.clearinghouse.picture_of(world.system.insurance)[0]
    liquidator = world.system.liquidator
    receipt = liquidator.liquidate(victim, taker, ANY_STATE, sender=world.owner)
    assert liquidator.events(receipt, "Liquidated")
    assert world.clearinghouse.picture_of(world.system.insurance)[0] > insured
    world.fund(world.other_owner, QUOTE, UNIT)
    world.clearinghouse.repay(victim, UNIT, sender=world.other_owner)
    _leave(world, token)()


@pytest.mark.parametrize("role", ROLES)
def test_blocked__in_a_collateral__its_accounts_are_liquidated_and_others_sell(
    zoo: tuple[World, Contract], role: str
) -> None:
    world, token = zoo
    victim, taker = _victim(world), world.account(2)
    world.deposit(taker, QUOTE, 100_000 * UNIT)
    block(world, token, role)
    world.system.liquidator.liquidate(victim, taker, ANY_STATE, sender=world.owner)
    assert int(world.clearinghouse.position_word(taker, EXTRA_ID)) & 2**128 - 1 > 0
    _sell(world, token)()


@pytest.mark.parametrize("role", ROLES)
def test_blocked__in_the_quote_token__rebalances_and_watched_places_go_on(
    quoted: tuple[World, Contract], role: str
) -> None:
    """A keeper's pay is credited; only a wallet that is blocked gives nothing."""
    world, token = quoted
    account = world.open_account(leverage=3, sub=1)
    world.enrol(account)
    _watch(world, token)()
    block(world, token, role)
    world.set_price("ETH", 1_700)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    assert world.mandates.events(receipt, "Rebalanced")
    keepers, feed = world.keepers, world.feeds["ETH"]
    receiver = world.stranger if role == "liquidator" else world.owner
    keepers.unwatch(world.account(), feed, receiver, sender=world.owner)


def test_blocked__insurance__keeps_its_reserves_in_the_vault_until_it_is_not(
    quoted: tuple[World, Contract],
) -> None:
    world, token = quoted
    collect = _collect(world, token)
    block(world, token, "insurance")
    with reverts("zoo: blocked"):
        collect()
    _leave(world, token)()
    token.block_account(world.system.insurance_fund, False, sender=world.governor)
    collect()


# ---- balances that change by themselves


def test_rebase__downward__is_borne_by_holders_of_that_token_alone(
    zoo: tuple[World, Contract],
) -> None:
    """T17: it must not be listed, and no check could tell. The last to leave finds too little;
    other collateral, cash and lenders are whole."""
    world, token = zoo
    world.deposit(world.account(), "ETH", WAD)
    ledger, who = world.clearinghouse, world.owner
    token.rebase(ledger, 9_000, sender=world.governor)
    ledger.withdraw(world.account(), EXTRA_ID, 900 * UNIT, who, sender=who)
    with reverts():
        ledger.withdraw(world.account(), EXTRA_ID, 100 * UNIT, who, sender=who)
    ledger.withdraw(world.account(), ETH, WAD, who, sender=who)
    ledger.withdraw(world.account(), CASH, 100_000 * UNIT, who, sender=who)
    _leave(world, token)()


def test_rebase__upward__belongs_to_nobody_and_moves_no_figure(
    zoo: tuple[World, Contract],
) -> None:
    """T02 T17"""
    world, token = zoo
    before = books(world), world.clearinghouse.assess(world.account())[0]
    token.rebase(world.clearinghouse, 20_000, sender=world.governor)
    assert (books(world), world.clearinghouse.assess(world.account())[0]) == before
    account, who = world.account(), world.owner
    with reverts("ledger: balance too low"):
        world.clearinghouse.withdraw(account, EXTRA_ID, 1_000 * UNIT + 1, who, sender=who)
