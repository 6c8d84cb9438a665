"""Hostile hooks: what a mandate gives to a hook that wants everything.

The hook belongs to the attacker, who also sets the price of the venue. Attacks A4, A5, A7 and A8;
threats T41, T42, T50, T60, T62.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ballast.chain import Contract, Reverted
from ballast.deploy import WAD
from tests.conftest import reverts
from tests.support.hooks import (
    ANSWERS_BOMB,
    BURNS,
    REVERTS,
    REVERTS_BARE,
    REVERTS_BOMB,
    deploy_hook,
    hand_over,
    may,
    must,
    outcomes,
    play,
)
from tests.support.world import QUOTE, World, build_world
from tests.threats.gang import as_sender
from tests.threats.kit import entries, equity, lenders_claim, wealth

BUDGET = 100 * WAD
ETH = 10**18


def _short_account(world: World, hook: Contract, *, target_bps: int = 20_000) -> int:
    """37,500 of ETH against 25,000 of debt, far below its target."""
    account = world.open_account(leverage=3, equity=12_500)
    hand_over(world, account, hook, (target_bps, 300, 100, 0, 0, 0), (BUDGET, 86_400, BUDGET))
    return account


def _worst_venue(world: World, bps: int = 100) -> None:
    """The venue pays `bps` less than the oracle's price."""
    world.set_venue_price("ETH", world.price_wad("ETH") * (10_000 - bps) // 10_000, fee_ppm=0)


# ---- manners


def test_rebalance__hook_reverts__its_own_reason_surfaces(world: World) -> None:
    """T60: a keeper sees the hook's reason."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    hook.set_mode(REVERTS, sender=world.attacker)
    with reverts("evil hook: no"):
        world.mandates.rebalance(account, sender=world.keeper)


def test_rebalance__hook_reverts_without_reason__named_reason(world: World) -> None:
    """T60: silence has a reason of its own."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    hook.set_mode(REVERTS_BARE, sender=world.attacker)
    with reverts("mandates: hook failed"):
        world.mandates.rebalance(account, sender=world.keeper)


def test_rebalance__hook_burns_its_gas__keeper_keeps_the_rest(world: World) -> None:
    """T60: what a hook can burn is bounded by a constant, not by the caller's gas."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    hook.set_mode(BURNS, sender=world.attacker)
    with pytest.raises(Exception, match="mandates: hook failed") as caught:
        world.mandates.rebalance(account, sender=world.keeper, gas=25_000_000)
    assert caught.value.gas_used < 6_600_000


@pytest.mark.parametrize("mode", [REVERTS_BOMB, ANSWERS_BOMB])
def test_rebalance__hook_answers_too_much__gas_stays_small(world: World, mode: int) -> None:
    """T60: at most 128 bytes of an answer are copied."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    hook.set_mode(mode, sender=world.attacker)
    if mode == ANSWERS_BOMB:
        assert world.mandates.rebalance(account, sender=world.keeper).gas_used < 600_000
        return
    with pytest.raises(Exception, match=None) as caught:
        world.mandates.rebalance(account, sender=world.keeper)
    assert len(caught.value.data) <= 128


def test_rebalance__hook_reverts_with_much__first_128_bytes_surface(world: World) -> None:
    """T60: the beginning of a long answer, and no more of it."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    hook.set_mode(REVERTS_BOMB, sender=world.attacker)
    with pytest.raises(Reverted) as caught:
        world.mandates.rebalance(account, sender=world.keeper)
    assert caught.value.data == bytes(128)


def test_on_mandate__gas__is_six_million_and_less_in_a_rescue() -> None:
    """T60, I47: to the unit, whatever the caller sends, so that a hook can be tested for it."""
    world = build_world()
    account = world.open_account(leverage=2)
    # GAS PUSH0 SSTORE STOP: keeps what it was given, less the two that asking costs.
    code = bytes.fromhex("635a5f55005f526004601cf3")
    hook = world.chain.send_raw(None, code, world.attacker).contract_address
    world.mandates.set_guard(account, hook, (20_000, 300, 100, 0, 0, 0), sender=world.owner)
    world.mandates.rebalance(account, sender=world.keeper)
    assert world.chain.storage(hook, 0) + 2 == 6_000_000
    with as_sender(world, world.system.liquidator) as liquidator:
        world.mandates.rescue(account, sender=liquidator)
    assert world.chain.storage(hook, 0) + 2 == 1_800_000


def test_rebalance__hook_does_nothing__nothing_changes(world: World) -> None:
    """T60: an idle hook costs the caller gas and nobody else anything."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    before = world.mandates.snapshot(account)
    play(world, hook, account)
    after = world.mandates.snapshot(account)
    assert after.legs[0].position == before.legs[0].position
    assert after.required_init == before.required_init
    assert world.mandates.budget_left(world.owner) == BUDGET


def test_rebalance__hook_without_code__nothing_changes(world: World) -> None:
    """T60, T39: an address without code is a hook that does nothing."""
    account = world.open_account(leverage=2)
    world.mandates.set_guard(
        account, world.stranger, (20_000, 300, 100, 0, 0, 0), sender=world.owner
    )
    before = world.clearinghouse.position_word(account, 1)
    world.mandates.rebalance(account, sender=world.keeper)
    assert world.clearinghouse.position_word(account, 1) == before
    with reverts("mandates: only the hook at work"):
        world.mandates.swap(world.venue, 1, 0, ETH, 0, sender=world.stranger)


# ---- re-entry


def test_rebalance__hook_calls_every_entry_of_every_contract__nothing_moves(world: World) -> None:
    """T33, T34, T60: generated from the interfaces; accepted is only what anybody may do anyway."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    victim = world.open_account(leverage=2, owner=world.other_owner)
    words = (world.clearinghouse.account_word(victim), world.clearinghouse.position_word(victim, 1))
    harmless = {
        ("Mandates", "arm_budget"),  # its own budget; an empty one is out of range
        ("Clearinghouse", "check_initial"),  # moves nothing; marks stay as they are anyway
        ("Liquidator", "learn_unit"),  # what the ledger says of a token
        ("LendingVault", "approve"),  # of shares it does not have
        ("LendingVault", "transfer"),  # of no shares
        ("LendingVault", "transferFrom"),
        ("LendingVault", "accrue"),  # done at the opening already
        ("LendingVault", "permit"),
        ("Mandates", "set_operator"),  # of the accounts of the address zero
        ("Mandates", "settle"),  # of an asset that the account does not have
        ("LiquidityVault", "approve"),  # of shares it does not have
        ("LiquidityVault", "transfer"),
        ("LiquidityVault", "transferFrom"),
        ("LiquidityVault", "permit"),
        ("LiquidityVault", "setOperator"),  # of its own requests
        ("RiskOracle", "poke"),
        ("Keepers", "rebalance_many"),  # of no account
        ("Keepers", "on_price"),  # of a feed that nobody watches
    }
    tried = 0
    for contract in world.system.contracts.values():
        for name, data in entries(contract, is_view=False):
            with world.isolated():
                hook.set_script([(contract.address, data, False)], sender=world.attacker)
                world.mandates.rebalance(account, sender=world.keeper)
                if outcomes(hook, 1)[0]:
                    assert (contract.name, name) in harmless
                tried += 1
    assert tried > 40
    assert words == (
        world.clearinghouse.account_word(victim),
        world.clearinghouse.position_word(victim, 1),
    )


def test_rebalance__hook_acts_as_owner_of_other_accounts__ledger_is_busy(world: World) -> None:
    """T33, T34, A7: neither the ledger's own entries nor a second mandate open during a mandate."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    own = world.account(0, hook.address)
    house, mandates, vault = world.clearinghouse, world.mandates, world.system.vault
    world.quote.mint(hook.address, 10**9, sender=world.governor)
    attempts = [
        may(house, "deposit", own, 0, 10**6),
        may(house, "withdraw", own, 0, 1, hook.address),
        may(house, "repay", account, 10**6),
        may(house, "transfer", own, own + 1, 0, 1),
        may(house, "swap", own, world.venue, 1, 0, 1, 0),
        may(house, "batch", []),
        may(mandates, "rebalance", account),
        may(mandates, "rebalance", own),
        may(house, "open_mandate", account),
        may(house, "mandate_transfer", account, own, 1, 1),
        may(house, "mandate_pull", account, 1),
        may(house, "close_mandate"),
        may(vault, "deposit", 10**6, hook.address),
        may(vault, "redeem", 1, hook.address, hook.address),
        may(vault, "sweep_reserves"),
        may(vault, "skim"),
        may(world.system.oracle, "poke", [1]),
        may(world.system.perps, "settle_in_mandate", account, 1),
        may(world.system.liquidator, "liquidate", account, own, bytes(32)),
        may(world.system.liquidator, "flag", account),
        may(world.system.liquidator, "collect_fees"),
        may(world.system.insurance_fund, "collect"),
        may(world.system.token_liquidator, "liquidate", account, 1, hook.address, bytes(32)),
    ]
    play(world, hook, account, *attempts)
    assert outcomes(hook, len(attempts)) == [False] * len(attempts)


# ---- stealing


@pytest.mark.parametrize("kind", ["other owner", "sibling without floor", "itself", "no account"])
def test_move__from_who_never_agreed_to_give__refused(world: World, kind: str) -> None:
    """T50, T62, I24: a donor is a sibling whose own guard has a floor."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    victim = {
        "other owner": world.open_account(leverage=1, owner=world.other_owner),
        "sibling without floor": world.open_account(leverage=1, sub=1),
        "itself": account,
        "no account": 2**255,
    }[kind]
    if kind == "other owner":
        world.make_donor(victim)
    with reverts("mandates: not a donor"):
        play(world, hook, account, must(world.mandates, "move", victim, 1, 1))


def test_swap__venue_pays_worst_allowed_price__loss_within_budget(world: World) -> None:
    """A4, T42: the owner loses what the budget says, lenders and other owners nothing."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    other = world.open_account(leverage=2, owner=world.other_owner)
    _worst_venue(world, 100)
    others_equity, claim = equity(world, other), lenders_claim(world)
    total = equity(world, account)
    # 9,900 value at 1% below: 99 of the 100 budget.
    amount = 9_900 * ETH // 2_000
    play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 0, amount, 0))
    lost = total - equity(world, account)
    assert 98 * WAD < lost <= BUDGET
    left = world.mandates.budget_left(world.owner)
    assert BUDGET - lost - 10**15 <= left <= BUDGET - lost + 10**17
    assert equity(world, other) == pytest.approx(others_equity, abs=10**15)
    assert lenders_claim(world) >= claim
    with reverts("budgets: loss above budget"):
        play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 0, ETH, 0))


def test_swap__feed_moved_by_the_hook_first__does_not_hide_a_loss(world: World) -> None:
    """A4, T42, I29: before and after are judged at the marks of the opening."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    _worst_venue(world, 100)
    total = equity(world, account)
    play(
        world,
        hook,
        account,
        must(world.feeds["ETH"], "set_answer", 2_100 * 10**8),
        must(world.mandates, "swap", world.venue, 1, 0, ETH, 0),
    )
    assert equity(world, account) > total
    spent = BUDGET - world.mandates.budget_left(world.owner)
    assert spent == pytest.approx(20 * WAD, abs=10**17)


def test_swap__feed_of_a_donor_moved_meanwhile__does_not_hide_a_loss(world: World) -> None:
    """A4, A5, I29: a sibling's marks are fixed when it first gives, though it owes nothing."""
    hook = deploy_hook(world)
    account, donor = _short_account(world, hook), world.account(1)
    world.deposit(donor, "BTC", 10**8)
    world.deposit(donor, QUOTE, 10**7)
    world.make_donor(donor)
    _worst_venue(world, 100)
    total = equity(world, donor)
    play(
        world,
        hook,
        account,
        must(world.mandates, "move", donor, 0, 10**7),
        must(world.feeds["BTC"], "set_answer", 33_000 * 10**8),
        must(world.mandates, "swap", world.venue, 1, 0, ETH, 0),
    )
    assert equity(world, donor) > total
    spent = BUDGET - world.mandates.budget_left(world.owner)
    assert spent == pytest.approx(20 * WAD, abs=10**17)


def test_swap__venue_below_slippage__refused(world: World) -> None:
    """A4, T42: whatever min_out the hook names."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    _worst_venue(world, 101)
    with reverts():
        play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 0, ETH, 0))


def test_swap__owners_guard_looser_than_listing__listing_holds(world: World) -> None:
    """A4, T42: a colluding owner's 10% slippage does not widen the listing's 1%."""
    hook = deploy_hook(world)
    account = world.open_account(leverage=3, equity=12_500)
    hand_over(world, account, hook, (60_000, 10_000, 1_000, 0, 0, 0))
    _worst_venue(world, 200)
    with reverts():
        play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 0, ETH, 0))


@pytest.mark.parametrize("rounds", [1, 10])
def test_swap__colluding_owner_without_limits__lenders_lose_nothing(
    world: World, rounds: int
) -> None:
    """A4: own hook, loosest guard, unlimited budget, own venue. Lenders stay covered."""
    hook = deploy_hook(world)
    account = world.open_account(leverage=3, equity=12_500, owner=world.attacker)
    hand_over(world, account, hook, (60_000, 10_000, 1_000, 0, 0, 0))
    other = world.open_account(leverage=2, owner=world.other_owner)
    _worst_venue(world, 100)
    others, claim = equity(world, other), lenders_claim(world)
    before = world.clearinghouse.assess(account)
    for _ in range(rounds):
        play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 0, ETH, 0))
    after = world.clearinghouse.assess(account)
    assert after[0] - after[1] > before[0] - before[1]
    assert lenders_claim(world) >= claim
    assert equity(world, other) == pytest.approx(others, abs=10**15)


def test_swap__sells_everything__overshoot_refused(world: World) -> None:
    """A4, I14: a mandate that traded may not end above target and band."""
    hook = deploy_hook(world)
    account = _short_account(world, hook, target_bps=13_000)
    world.set_venue_price("ETH", fee_ppm=0)
    held = world.clearinghouse.position_word(account, 1) & (2**128 - 1)
    with reverts("mandates: above target and band"):
        play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 0, held // 2, 0))


def test_swap__buys_another_asset__exposure_grew(world: World) -> None:
    """A7: a hook cannot lever an account, nor change what it is exposed to."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    eth, btc = world.tokens["ETH"], world.tokens["BTC"]
    world.venue.set_price(eth, btc, WAD // 15, 0, sender=world.attacker)
    with reverts("mandates: exposure grew"):
        play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 2, ETH, 0))


@pytest.mark.parametrize("has_cash", [False, True])
def test_swap__buys_more_with_cash_or_loan__refused(world: World, has_cash: bool) -> None:
    """A7: no borrowing inside a mandate; own cash buys no exposure either."""
    hook = deploy_hook(world)
    account = world.open_account(leverage=1)
    if has_cash:
        world.deposit(account, QUOTE, 5_000 * 10**6)
    hand_over(world, account, hook)
    with reverts("mandates: exposure grew" if has_cash else "ledger: balance too low"):
        play(
            world, hook, account, must(world.mandates, "swap", world.venue, 0, 1, 2_000 * 10**6, 0)
        )


# ---- hiding losses


def test_rebalance__cash_of_sibling_moved_in__does_not_hide_a_loss(world: World) -> None:
    """A5: what a sibling gave is no gain; the budget sees the loss of both together."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    donor = world.account(1)
    world.deposit(donor, QUOTE, 5_000 * 10**6)
    world.make_donor(donor)
    _worst_venue(world, 100)
    amount = 10_100 * ETH // 2_000  # loses 101
    with reverts("budgets: loss above budget"):
        play(
            world,
            hook,
            account,
            must(world.mandates, "move", donor, 0, 1_000 * 10**6),
            must(world.mandates, "swap", world.venue, 1, 0, amount, 0),
        )


def test_rebalance__wallet_pulled_in__does_not_hide_a_loss(world: World) -> None:
    """A5, T62: nor is what came from the wallet."""
    hook = deploy_hook(world)
    account = world.open_account(leverage=3, equity=12_500)
    hand_over(world, account, hook, (20_000, 300, 100, 0, 1_000 * WAD, 86_400), (BUDGET, 1, BUDGET))
    world.fund(world.owner, QUOTE, 10_000 * 10**6)
    _worst_venue(world, 100)
    with reverts("budgets: loss above budget"):
        play(
            world,
            hook,
            account,
            must(world.mandates, "pull", 500 * 10**6),
            must(world.mandates, "swap", world.venue, 1, 0, 10_100 * ETH // 2_000, 0),
        )


def test_rebalance__surplus_over_quota_sold__does_not_hide_a_loss(world: World) -> None:
    """A5, A15: what is above its quota counts for nothing as margin and fully as a loss."""
    hook = deploy_hook(world)
    account = world.account(0)
    world.deposit(account, "ETH", 60_000 * ETH)  # quota 50,000
    world.borrow(account, 40_000_000 * 10**6)
    hand_over(world, account, hook, (65_535, 10_000, 100, 0, 0, 0), (BUDGET, 86_400, BUDGET))
    _worst_venue(world, 100)
    before = world.clearinghouse.assess(account)
    with reverts("budgets: loss above budget"):
        play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 0, 100 * ETH, 0))
    assert world.clearinghouse.assess(account)[1] == before[1]


def test_rebalance__two_hundred_siblings__one_budget(world: World) -> None:
    """A8: siblings share the owner's budget, so a hook cannot lose it once per account."""
    hook = deploy_hook(world)
    accounts = [
        world.open_account(leverage=3, equity=12_500, sub=sub) for sub in (0, 1, 7, 100, 200, 255)
    ]
    for account in accounts:
        hand_over(world, account, hook, (20_000, 300, 100, 0, 0, 0), None)
    world.mandates.arm_budget((BUDGET, 86_400, BUDGET), sender=world.owner)
    _worst_venue(world, 100)
    total = sum(equity(world, account) for account in accounts)
    refused = 0
    for account in accounts:
        try:
            play(world, hook, account, must(world.mandates, "swap", world.venue, 1, 0, 4 * ETH, 0))
        except Exception as error:
            assert str(error) == "budgets: loss above budget"
            refused += 1
    lost = total - sum(equity(world, account) for account in accounts)
    assert refused == len(accounts) - 1
    assert lost <= BUDGET + WAD // 10  # and interest of some blocks


# ---- wallet


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        (301 * 10**6, "budgets: wallet cap reached"),
        (2**100, "mandates: pull above shortfall"),
        (2**240, None),
        (0, "ledger: zero amount"),
    ],
)
def test_pull__beyond_cap_or_shortfall__refused(
    world: World, units: int, reason: str | None
) -> None:
    """T62: the wallet gives at most the period's cap and the shortfall, to this account alone."""
    hook = deploy_hook(world)
    account = world.open_account(leverage=3, equity=12_500)
    hand_over(world, account, hook, (30_000, 300, 100, 0, 300 * WAD, 86_400))
    world.fund(world.owner, QUOTE, 10**6 * 10**6)
    wallet = wealth(world, world.owner)
    with reverts(reason):
        play(world, hook, account, must(world.mandates, "pull", units))
    assert wealth(world, world.owner) == wallet


def test_pull__period_after_period__cap_per_period(world: World) -> None:
    """T62: all pulls of a period together stay below the cap."""
    hook = deploy_hook(world)
    account = world.open_account(leverage=3, equity=12_500)
    hand_over(world, account, hook, (30_000, 300, 100, 0, 300 * WAD, 86_400))
    world.fund(world.owner, QUOTE, 10**6 * 10**6)
    before = int(world.quote.balanceOf(world.owner))
    pull = must(world.mandates, "pull", 100 * 10**6)
    play(world, hook, account, pull, pull)
    play(world, hook, account, pull)
    with reverts("budgets: wallet cap reached"):
        play(world, hook, account, must(world.mandates, "pull", 1))
    world.wait(86_400)
    play(world, hook, account, pull)
    assert before - int(world.quote.balanceOf(world.owner)) == 400 * 10**6
    assert world.quote.balanceOf(hook) == 0


def test_pull__account_at_target__refused(world: World) -> None:
    """T62: without a shortfall the wallet is closed, to the unit."""
    hook = deploy_hook(world)
    account = world.open_account(leverage="1.2")
    hand_over(world, account, hook, (13_000, 300, 100, 0, 300 * WAD, 86_400))
    world.fund(world.owner, QUOTE, 10**6)
    with reverts("mandates: pull above shortfall"):
        play(world, hook, account, must(world.mandates, "pull", 1))


# ---- donors


def test_move__below_donors_floor__refused(world: World) -> None:
    """A5, I15: to the last unit above the floor and not beyond."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    donor = world.open_account(leverage=1, sub=1)
    world.borrow(donor, 1_000 * 10**6)
    world.make_donor(donor, floor_bps=30_000)
    equity_init, required, _, _ = world.clearinghouse.assess(donor)
    assert equity_init > 3 * required
    with reverts("mandates: donor below its floor"):
        play(world, hook, account, must(world.mandates, "move", donor, 1, 4 * ETH))


def test_move__cash_a_donor_does_not_have__never_borrowed(world: World) -> None:
    """A2, A5: a donor gives its own cash and no loan."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    donor = world.open_account(leverage=1, sub=1)
    world.make_donor(donor)
    with reverts("ledger: balance too low"):
        play(world, hook, account, must(world.mandates, "move", donor, 0, 1))


def _ninth(world: World) -> Sequence[int]:
    donors = [world.account(sub) for sub in range(1, 10)]
    for donor in donors:
        world.deposit(donor, QUOTE, 10**6)
        world.make_donor(donor)
    return donors


def test_move__ninth_donor__refused(world: World) -> None:
    """T48: the list of donors is short, and each is judged."""
    hook = deploy_hook(world)
    account = _short_account(world, hook)
    moves = [must(world.mandates, "move", donor, 0, 1) for donor in _ninth(world)]
    play(world, hook, account, *moves[:8])
    with reverts("mandates: too many donors"):
        play(world, hook, account, *moves)
