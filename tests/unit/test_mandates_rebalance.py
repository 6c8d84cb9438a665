"""One mandate: what a hook may do, and the two tests that judge it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from ballast.chain import Contract, Receipt
from ballast.model.margin import Mark, Position, terms_of
from tests.clearing_kit import UNIT, args_of, debt_units, excess_init
from tests.conftest import reverts
from tests.perps_kit import open_desk
from tests.support.world import QUOTE, UNLIMITED, WAD, World
from tests.threats.kit import list_token

ETH, BTC = 1, 2
LOOSE = (20_000, 10_000, 1_000, 0, 10**6 * WAD, 86_400)
NOT_AT_WORK = "mandates: only the hook at work"


@pytest.fixture
def hook(world: World) -> Contract:
    """A hook whose script is empty."""
    return world.chain.deploy("ScriptedHook", sender=world.governor)


def give(world: World, hook: Any, account: int, guard: Sequence[int] = LOOSE) -> None:
    """Hook and guard for an account and a budget that is out of the way."""
    owner = world.owner_of(account)
    world.mandates.set_guard(account, hook, tuple(guard), sender=owner)
    world.mandates.arm_budget((10**9 * WAD, 60, 10**9 * WAD), sender=owner)


def script(world: World, hook: Contract, *calls: tuple[str, tuple[Any, ...]]) -> None:
    """Calls of the mandates contract by name."""
    data = [(world.mandates.address, world.mandates.function(n).encode(*a)) for n, a in calls]
    hook.set_script(data, sender=world.governor)


def rebalance(world: World, account: int) -> Any:
    return world.mandates.rebalance(account, sender=world.keeper)


def sale(world: World, units: int, asset: int = ETH, out: int = 0) -> tuple[str, tuple[Any, ...]]:
    return "swap", (world.venue.address, asset, out, units, 0)


def test_rebalance__default_hook__restores_the_target_and_tells(world: World) -> None:
    """I14, I17: at the target, and done: the plan is not ready again."""
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_000, target_bps=13_000)
    world.set_price("ETH", 1_850)
    before = world.clearinghouse.assess(account)
    receipt = rebalance(world, account)
    after = world.clearinghouse.assess(account)
    assert before[0] * 10_000 < before[1] * 12_000
    assert 13_000 * after[1] <= 10_000 * after[0] <= 13_300 * after[1]
    args = args_of(world.mandates, receipt, "Rebalanced")
    assert (args.account, args.hook, args.caller) == (
        account,
        world.rebalancer.address,
        world.keeper,
    )
    assert (args.equity_after, args.required_after) == (after[0], after[1])
    assert 0 < args.loss < 100 * WAD
    assert world.rebalancer.plan(account).code == 2
    assert args.budget_left == world.mandates.budget_left(world.owner)
    assert world.clearinghouse.call_state() == 0


def test_rebalance__account_without_hook__is_refused(world: World) -> None:
    for account in (world.account(), 0, 2**256 - 1):
        with reverts("mandates: account has no hook"):
            rebalance(world, account)


def test_rebalance__hook_that_does_nothing__changes_nothing(world: World, hook: Contract) -> None:
    account = world.open_account(leverage=3)
    give(world, hook, account)
    words = world.clearinghouse.account_word(account), world.clearinghouse.listed_word(account)
    args = args_of(world.mandates, rebalance(world, account), "Rebalanced")
    assert hook.count() == 1 and args.loss == 0
    assert words == (
        world.clearinghouse.account_word(account),
        world.clearinghouse.listed_word(account),
    )


def test_rebalance__hook_without_code__changes_nothing(world: World) -> None:
    account = world.open_account(leverage=3)
    give(world, world.attacker, account)
    assert args_of(world.mandates, rebalance(world, account), "Rebalanced").loss == 0


def test_rebalance__hook_that_reverts__hands_its_reason_on(world: World, hook: Contract) -> None:
    account = world.open_account(leverage=3)
    give(world, hook, account)
    hook.set_script(
        [(world.clearinghouse.address, world.clearinghouse.repay.encode(account, 0))],
        sender=world.governor,
    )
    with reverts("clearinghouse: busy"):
        rebalance(world, account)
    hook.set_script([(world.venue.address, b"\x01\x02\x03\x04")], sender=world.governor)
    with reverts("mandates: hook failed"):
        rebalance(world, account)


def test_hook_entries__outside_a_mandate__are_refused(world: World, hook: Contract) -> None:
    """Neither its hook before and after, nor anybody, nor the account's owner."""
    account = world.open_account(leverage=3)
    give(world, hook, account)
    entries = [("move", (world.account(1), 0, 1)), ("pull", (1,)), sale(world, 1)]
    for name, arguments in entries:
        for who in (world.owner, world.keeper, world.governor):
            with reverts(NOT_AT_WORK):
                world.mandates.function(name)(*arguments, sender=who)
        data = world.mandates.function(name).encode(*arguments)
        rebalance(world, account)
        with reverts(NOT_AT_WORK):
            hook.run([(world.mandates.address, data)], sender=world.keeper)


def test_rebalance__inside_a_mandate__is_refused(world: World, hook: Contract) -> None:
    """T33: for the account itself and for any other."""
    account, other = world.open_account(leverage=3), world.open_account(leverage=3, sub=1)
    give(world, hook, account)
    give(world, hook, other)
    for inner in (account, other):
        script(world, hook, ("rebalance", (inner,)))
        with reverts("mandates: mandate under way"):
            rebalance(world, account)


def test_move__sibling_without_floor_itself_or_a_stranger__is_refused(
    world: World, hook: Contract
) -> None:
    """I15: no account gives that was not made a donor."""
    account, sibling = world.open_account(leverage=3), world.account(1)
    foreign = world.account(0, world.other_owner)
    give(world, hook, account, (20_000, 10_000, 1_000, 20_000, 0, 0))
    world.deposit(sibling, QUOTE, 100)
    world.deposit(foreign, QUOTE, 100)
    world.make_donor(foreign)
    for donor in (sibling, account, foreign, sibling + 2**168):
        script(world, hook, ("move", (donor, 0, 1)))
        with reverts("mandates: not a donor"):
            rebalance(world, account)


def test_move__cash_and_collateral_of_a_donor__arrive(world: World, hook: Contract) -> None:
    account, donor = world.open_account(leverage=3), world.account(1)
    give(world, hook, account)
    world.deposit(donor, QUOTE, 10**9)
    world.deposit(donor, "BTC", 10**8)
    world.make_donor(donor)
    owed = debt_units(world, account)
    script(world, hook, ("move", (donor, 0, 10**9)), ("move", (donor, BTC, 4 * 10**7)))
    args = args_of(world.mandates, rebalance(world, account), "Rebalanced")
    assert world.clearinghouse.position_word(account, BTC) == 4 * 10**17
    assert world.clearinghouse.position_word(donor, BTC) == 6 * 10**17
    assert world.clearinghouse.account_word(donor) == 0
    assert debt_units(world, account) < owed - 10**9 + 10**6
    assert args.loss <= UNIT, "between siblings nothing is lost but rounding"


def test_move__cash_the_donor_would_have_to_borrow__is_refused(
    world: World, hook: Contract
) -> None:
    account, donor = world.open_account(leverage=3), world.account(1)
    give(world, hook, account)
    world.deposit(donor, "ETH", 10**19)
    world.deposit(donor, QUOTE, 10)
    world.make_donor(donor)
    script(world, hook, ("move", (donor, 0, 11)))
    with reverts("ledger: balance too low"):
        rebalance(world, account)


def test_move__donor_down_to_its_floor__is_the_most(world: World, hook: Contract) -> None:
    """I15: its own guard says what a donor keeps."""
    account, donor = world.open_account(leverage=3), world.open_account(leverage=2, sub=1)
    give(world, hook, account)
    world.make_donor(donor, floor_bps=15_000)

    def least() -> int:
        equity, required, _, _ = world.clearinghouse.assess(donor)
        return int(equity - -(-required * 15_000 // 10_000))

    script(world, hook, ("move", (donor, ETH, 25 * 10**17)))
    with reverts("mandates: donor below its floor"):
        rebalance(world, account)
    for units in range(10**18, 25 * 10**17, 10**17):
        script(world, hook, ("move", (donor, ETH, units)))
        try:
            with world.isolated():
                rebalance(world, account)
                kept = least()
        except Exception as error:
            assert str(error) == "mandates: donor below its floor"
            assert kept < 200 * WAD, "a tenth of a token more and the floor is crossed"
            return
        assert kept >= 0
    raise AssertionError("the floor was never reached")


def test_move__ninth_donor__is_refused(world: World, hook: Contract) -> None:
    account = world.open_account(leverage=3)
    give(world, hook, account)
    for sub in range(1, 10):
        world.deposit(world.account(sub), QUOTE, 100)
        world.make_donor(world.account(sub))
    moves = [("move", (world.account(sub), 0, 10)) for sub in range(1, 10)]
    script(world, hook, *moves[:8], moves[0])
    rebalance(world, account)
    script(world, hook, *moves)
    with reverts("mandates: too many donors"):
        rebalance(world, account)


def test_pull__shortfall_rounded_up_to_a_unit__is_the_most(world: World, hook: Contract) -> None:
    """The wallet never gives more than what is missing."""
    account = world.open_account(leverage=3)
    give(world, hook, account, (13_000, 300, 100, 0, 10**6 * WAD, 86_400))
    world.fund(world.owner, QUOTE, 10**12)

    def shortfall() -> int:
        equity, required, _, _ = world.clearinghouse.assess(account)
        return int(-(-required * 13_000 // 10_000) - equity)

    world.set_price("ETH", 1_900)
    most = -(-shortfall() // UNIT)
    script(world, hook, ("pull", (most + 100,)))
    with reverts("mandates: pull above shortfall"):
        rebalance(world, account)
    script(world, hook, ("pull", (most // 2,)), ("pull", (most - most // 2 + 100,)))
    with reverts("mandates: pull above shortfall"):
        rebalance(world, account)
    script(world, hook, ("pull", (most,)))
    args = args_of(world.mandates, rebalance(world, account), "Rebalanced")
    assert args.loss < UNIT
    assert -UNIT <= shortfall() <= 100 * UNIT, "interest of a block apart"


def test_pull__cap_of_the_period__is_shared_by_all_mandates_in_it(
    world: World, hook: Contract
) -> None:
    account = world.open_account(leverage=3)
    give(world, hook, account, (20_000, 300, 100, 0, 100 * WAD, 10_000))
    world.fund(world.owner, QUOTE, 10**12)
    script(world, hook, ("pull", (60 * 10**6,)))
    receipt = rebalance(world, account)
    told = args_of(world.mandates, receipt, "WalletPulled")
    assert tuple(told) == (account, 60 * WAD, 60 * WAD | receipt.time << 96)
    assert world.mandates.wallet_left(account) == 40 * WAD
    with reverts("budgets: wallet cap reached"):
        rebalance(world, account)
    script(world, hook, ("pull", (40 * 10**6,)))
    rebalance(world, account)
    assert world.mandates.wallet_left(account) == 0
    world.wait(10_000)
    assert world.mandates.wallet_left(account) == 100 * WAD
    rebalance(world, account)
    assert world.mandates.wallet_left(account) == 60 * WAD


def test_pull__without_a_cap__is_refused(world: World, hook: Contract) -> None:
    account = world.open_account(leverage=3)
    give(world, hook, account, (20_000, 300, 100, 0, 0, 0))
    world.fund(world.owner, QUOTE, 10**12)
    script(world, hook, ("pull", (1,)))
    with reverts("budgets: wallet cap reached"):
        rebalance(world, account)
    script(world, hook, ("pull", (0,)))
    with reverts("ledger: zero amount"):
        rebalance(world, account)


def test_swap__slippage_of_the_guard__is_tighter_than_the_assets(
    world: World, hook: Contract
) -> None:
    """I29: a tenth of a basis point beyond the guard and the sale cannot be made."""
    account = world.open_account(leverage=3)
    give(world, hook, account, (20_000, 10_000, 30, 0, 0, 0))
    script(world, hook, sale(world, 10**18))
    with world.isolated():
        rebalance(world, account)
    world.set_venue_price("ETH", fee_ppm=3_001)
    with reverts("venue: too little out"):
        rebalance(world, account)


def test_swap__above_target_and_band__is_refused(world: World, hook: Contract) -> None:
    """I14: a hook that trades may not sell the account empty."""
    account = world.open_account(leverage=3)
    give(world, hook, account, (13_000, 300, 100, 0, 0, 0))
    script(world, hook, sale(world, 15 * 10**18))
    with reverts("mandates: above target and band"):
        rebalance(world, account)
    script(world, hook, sale(world, 4 * 10**17))
    rebalance(world, account)
    assert world.clearinghouse.position_word(account, ETH) == 146 * 10**17


def test_swap__feed_doubles_in_the_mandate__is_bounded_by_the_mark_before(
    world: World, hook: Contract
) -> None:
    """I29: what the hook sells is judged by the mark that the mandate fixed."""
    account, feed = world.open_account(leverage=3), world.feeds["ETH"]
    give(world, hook, account)
    name, arguments = sale(world, 4 * 10**17)
    steps = [
        (feed.address, feed.set_answer.encode(2 * feed.latestRoundData()[1])),
        (world.mandates.address, world.mandates.function(name).encode(*arguments)),
    ]
    hook.set_script(steps, sender=world.governor)
    rebalance(world, account)
    assert world.clearinghouse.position_word(account, ETH) == 146 * 10**17


def test_swap__purchase_with_cash__grows_an_exposure(world: World, hook: Contract) -> None:
    account = world.account()
    world.deposit(account, "ETH", 10**19)
    world.deposit(account, QUOTE, 10**10)
    give(world, hook, account)
    for out in (ETH, BTC):
        script(world, hook, sale(world, 10**9, asset=0, out=out))
        with reverts("mandates: exposure grew"):
            rebalance(world, account)


def test_swap__cash_that_is_not_there__is_not_borrowed(world: World, hook: Contract) -> None:
    account = world.open_account(leverage=2)
    give(world, hook, account)
    script(world, hook, sale(world, 1, asset=0, out=ETH))
    with reverts("ledger: balance too low"):
        rebalance(world, account)


def test_swap__for_a_riskier_collateral__is_a_larger_shortfall(
    world: World, hook: Contract
) -> None:
    """Test 2 at initial margin, test 1 below it."""
    account = world.open_account(leverage=3, mix={"BTC": 1})
    give(world, hook, account)
    btc, eth = world.tokens["BTC"], world.tokens["ETH"]
    ratio = world.price_wad("BTC") * WAD // world.price_wad("ETH")
    world.venue.set_price(btc, eth, ratio, 3_000, sender=world.governor)
    script(world, hook, sale(world, 10**7, asset=BTC, out=ETH))
    with reverts("mandates: shortfall grew"):
        rebalance(world, account)
    world.set_price("BTC", 25_000)
    world.venue.set_price(
        btc,
        eth,
        world.price_wad("BTC") * WAD // world.price_wad("ETH"),
        3_000,
        sender=world.governor,
    )
    assert excess_init(world, account) < 0
    with reverts("mandates: account left weaker"):
        rebalance(world, account)


def test_rebalance__twice_in_a_transaction__starts_from_nothing(
    world: World, hook: Contract
) -> None:
    """Pulls, donors and trades of the first mandate are not counted in the second."""
    caller = world.chain.deploy("Caller", sender=world.governor)
    accounts = [world.open_account(leverage=3, sub=sub) for sub in (0, 1)]
    donor = world.account(2)
    world.deposit(donor, QUOTE, 10**9)
    world.make_donor(donor)
    world.fund(world.owner, QUOTE, 10**12)
    for account in accounts:
        give(world, hook, account, (13_000, 300, 100, 0, 10**6 * WAD, 86_400))
    world.set_price("ETH", 1_900)
    equity, required, _, _ = world.clearinghouse.assess(accounts[0])
    most = (required * 13_000 // 10_000 - equity) // UNIT
    script(world, hook, ("pull", (most,)), ("move", (donor, 0, 10)))
    data = [world.mandates.rebalance.encode(account) for account in accounts]
    receipt = caller.run([(world.mandates.address, d) for d in data], sender=world.keeper)
    events = world.mandates.events(receipt, "Rebalanced")
    assert [event.args.account for event in events] == accounts
    assert all(event.args.loss < UNIT for event in events)
    assert world.mandates.budget_left(world.owner) >= (10**9 - 1) * WAD


def test_rebalance__clearing_house_busy__is_refused(world: World, hook: Contract) -> None:
    """During a mandate nobody opens a batch, a deposit or a second mandate in the ledger."""
    account = world.open_account(leverage=3)
    give(world, hook, account)
    house = world.clearinghouse
    entries = [
        house.deposit.encode(account, 0, 1),
        house.repay.encode(account, 1),
        house.withdraw.encode(account, 0, 1, world.attacker),
        house.transfer.encode(account, world.account(1), ETH, 1),
        house.swap.encode(account, world.venue, ETH, 0, 1, 0),
        house.batch.encode([]),
    ]
    for data in entries:
        hook.set_script([(house.address, data)], sender=world.governor)
        with reverts("clearinghouse: busy"):
            rebalance(world, account)


def test_budget__loss_of_a_donor__counts_too(world: World, hook: Contract) -> None:
    """A5, I16: what touched accounts lose together, the wallet's gift counted as given."""
    account, donor = world.open_account(leverage=3), world.account(1)
    give(world, hook, account)
    world.deposit(donor, QUOTE, 10**9)
    world.make_donor(donor)
    world.fund(world.owner, QUOTE, 10**12)
    script(world, hook, ("move", (donor, 0, 10**9)), ("pull", (10**9,)), sale(world, 10**18))
    args = args_of(world.mandates, rebalance(world, account), "Rebalanced")
    assert 6 * WAD <= args.loss <= 6 * WAD + 3 * UNIT


# ---- the picture that a hook gets


def test_snapshot__trader_and_house__are_what_the_ledger_says(world: World) -> None:
    """The house is charged its own rates."""
    desk = open_desk(world)
    trader = world.open_account(leverage=2)
    desk.trade(trader, 3 * WAD)
    for account in (trader, desk.house):
        told = world.mandates.snapshot(account)
        figures = (told.equity_init, told.required_init, told.equity_maint, told.required_maint)
        assert figures == tuple(world.clearinghouse.assess(account))
        (leg,) = told.legs
        assert leg.asset == ETH
        assert leg.position == world.clearinghouse.position_word(account, ETH)
    assert told.required_init > 3_000 * WAD, "half of what it is short of, and more"


# ---- several mandates of one transaction


def in_one(world: World, *calls: tuple[Contract, bytes]) -> Receipt:
    """Several calls of anybody in one transaction."""
    caller = world.chain.deploy("Caller", sender=world.governor)
    encoded = [(target.address, data) for target, data in calls]
    receipt: Receipt = caller.run(encoded, sender=world.keeper)
    return receipt


def mandate(world: World, account: int) -> tuple[Contract, bytes]:
    """One of the calls of a transaction."""
    return world.mandates, world.mandates.rebalance.encode(account)


def second_hook(world: World, account: int, guard: Sequence[int], *calls: Any) -> None:
    """An account with a scripted hook of its own."""
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    give(world, hook, account, guard)
    script(world, hook, *calls)


def test_hook_entries__after_the_mandate_in_its_transaction__are_refused(
    world: World, hook: Contract
) -> None:
    """A hook is at work until it answers, and not until the transaction ends."""
    account = world.open_account(leverage=3)
    give(world, hook, account)
    for name, arguments in (
        ("settle", (ETH,)),
        ("pull", (1,)),
        ("trade", (ETH, WAD)),
        sale(world, 1),
    ):
        late = [(world.mandates.address, world.mandates.function(name).encode(*arguments))]
        with reverts(NOT_AT_WORK):
            in_one(world, mandate(world, account), (hook, hook.run.encode(late)))


def test_rebalance__collateral_moved_in_a_mandate_before__is_no_room_for_growth(
    world: World, hook: Contract
) -> None:
    """A7: what a sibling gave to one account lets no exposure of another grow."""
    account, other, donor = world.open_account(leverage=3), world.account(1), world.account(2)
    world.deposit(donor, "BTC", 10**8)
    world.make_donor(donor, floor_bps=10_000)
    world.deposit(other, QUOTE, 10**10)
    give(world, hook, account)
    script(world, hook, ("move", (donor, BTC, 10**8)))
    second_hook(world, other, LOOSE, sale(world, 10**9, asset=0, out=BTC))
    with reverts("mandates: exposure grew"):
        in_one(world, mandate(world, account), mandate(world, other))


def test_rebalance__nine_collaterals_moved_in_each_mandate__fit_a_transaction(
    wide_world: World,
) -> None:
    """What is remembered of inflows has room for those of one mandate, however many came before."""
    world = wide_world
    account, donor = world.account(), world.account(1)
    names = world.names[:9]
    for name in names:
        world.deposit(donor, name, 10)
    world.make_donor(donor, floor_bps=10_000)
    second_hook(world, account, LOOSE, *[("move", (donor, world.asset(n), 1)) for n in names])
    in_one(world, mandate(world, account), mandate(world, account))
    for name in names:
        held = world.clearinghouse.position_word(account, world.asset(name))
        assert held == 2 * world.unit_wad(name)


def test_rebalance__after_a_mandate_that_traded__idle_hook_may_leave_too_much(
    world: World, hook: Contract
) -> None:
    """Only a hook that trades must not end above target and band."""
    account, other = world.open_account(leverage=3), world.open_account(leverage=1, sub=1)
    give(world, hook, account)
    script(world, hook, sale(world, 10**17))
    second_hook(world, other, (13_000, 300, 100, 0, 0, 0))
    receipt = in_one(world, mandate(world, account), mandate(world, other))
    events = world.mandates.events(receipt, "Rebalanced")
    assert [event.args.account for event in events] == [account, other]


def test_rebalance__after_a_mandate_with_cash__its_rounding_covers_no_other_loss(
    world: World, hook: Contract
) -> None:
    """Each may lose what its own steps round, and a unit more is a loss."""
    account = world.account()
    world.deposit(account, QUOTE, 10**9)
    give(world, hook, account)
    script(world, hook, ("pay", (account, 3)))
    pay = world.account(5, world.keeper)
    call = world.mandates, world.mandates.rebalance_for.encode(account, pay)
    events = world.mandates.events(in_one(world, call, call), "Rebalanced")
    assert [event.args.loss for event in events] == [3 * UNIT, 3 * UNIT]


# ---- to the unit


def test_settle__gain__becomes_cash_of_the_account(world: World, hook: Contract) -> None:
    """Out of the house's cash, and equity is what it was."""
    desk = open_desk(world)
    desk.make_free()
    account = desk.trader(cash=10_000)
    desk.trade(account, 2 * WAD)
    world.set_price("ETH", 2_100)
    give(world, hook, account)
    script(world, hook, ("settle", (ETH,)))
    before, house = desk.cash(account), desk.cash(desk.house)
    with world.isolated():
        world.chain.mine()
        due = desk.result(account)
    assert 199 * WAD < due < 200 * WAD
    args = args_of(world.mandates, rebalance(world, account), "Rebalanced")
    assert desk.cash(account) - before == house - desk.cash(desk.house) == due
    assert desk.result(account) == 0
    assert args.loss == 0


def test_rebalance__below_initial_margin__may_be_left_as_it_was(
    world: World, hook: Contract
) -> None:
    """A step with cash that moved nothing has made nobody weaker."""
    account = world.open_account(leverage=3)
    world.set_price("ETH", 1_700)
    assert excess_init(world, account) < 0
    give(world, hook, account)
    script(world, hook, ("settle", (ETH,)))
    args = args_of(world.mandates, rebalance(world, account), "Rebalanced")
    assert (args.equity_after, args.required_after) == (args.equity_before, args.required_before)


def test_rebalance__debt_of_one_loan_share__is_owed_before_and_after(
    world: World, hook: Contract
) -> None:
    """The smallest debt is a debt of a unit."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.open_account(leverage=2, sub=1)
    world.wait(86_400)
    world.borrow(account, 1)
    assert world.clearinghouse.account_word(account) >> 128 == 1
    give(world, hook, account)
    args = args_of(world.mandates, rebalance(world, account), "Rebalanced")
    assert (
        args.equity_after == args.equity_before == 2_000 * WAD - debt_units(world, account) * UNIT
    )


# ---- what it costs


def test_rebalance__assets_that_did_not_move__are_valued_once(wide_world: World) -> None:
    """Fifteen more of them cost 131,000 gas, and 36,000 on top were each looked at again when the
    hook is done. What is judged is the same either way."""
    assert 0 < _idle_gas(wide_world, 16) - _idle_gas(wide_world, 1) < 150_000


def _idle_gas(world: World, assets: int) -> int:
    """Of a mandate in which nothing happens, for so many assets."""
    with world.isolated():
        account = world.account()
        for name in world.names[:assets]:
            world.deposit(account, name, 10**6)
        give(world, world.chain.deploy("ScriptedHook", sender=world.governor), account)
        rebalance(world, account)
        return int(rebalance(world, account).gas_used)


# ---- what it is judged by afterwards

WIDE = (65_535, 10_000, 1_000, 0, 0, 0)


def judge(world: World, hook: Contract, account: int, *calls: tuple[str, tuple[Any, ...]]) -> None:
    """Has a mandate carried out, whose last word must be what the ledger says in that second."""
    script(world, hook, *calls)
    with world.chain.one_block():
        receipt = rebalance(world, account)
        equity, required, *_ = world.clearinghouse.assess(account)
    told = args_of(world.mandates, receipt, "Rebalanced")
    assert (told.equity_after, told.required_after) == (equity, required)


def test_rebalance__small_sale_below_initial_margin__leaves_the_account_stronger(
    world: World, hook: Contract
) -> None:
    """What the venue keeps is less than what is no longer required, at either margin."""
    account = world.open_account(leverage=3)
    give(world, hook, account)
    world.set_price("ETH", 1_700)
    before = excess_init(world, account)
    judge(world, hook, account, sale(world, WAD // 4))
    assert before < excess_init(world, account) < 0


def test_rebalance__asset_in_the_place_of_another__is_valued_as_itself(
    world: World, hook: Contract
) -> None:
    """One asset before and one afterwards, of which a unit is worth something else."""
    account, donor = world.open_account(leverage=2), world.account(1)
    world.deposit(donor, "BTC", 10**8)
    world.make_donor(donor, floor_bps=10_000)
    give(world, hook, account, WIDE)
    whole = world.clearinghouse.position_word(account, ETH) & (2**128 - 1)
    judge(
        world,
        hook,
        account,
        ("move", (donor, BTC, 10**8 // 2)),
        sale(world, whole // world.unit_wad("ETH")),
    )
    assert world.clearinghouse.position_word(account, ETH) == 0
    assert world.clearinghouse.position_word(account, BTC) == WAD // 2


def test_rebalance__perpetual_closed_beside_its_collateral__leaves_the_collateral(
    world: World, hook: Contract
) -> None:
    desk = open_desk(world)
    account = world.account()
    world.deposit(account, "ETH", 10 * WAD)
    desk.trade(account, 5 * WAD)
    world.set_price("ETH", 2_010)
    give(world, hook, account, WIDE)
    judge(world, hook, account, ("trade", (ETH, -5 * WAD)))
    assert world.clearinghouse.position_word(account, ETH) == 10 * WAD


def test_rebalance__hedge_opened_where_funding_was_paid__is_valued_with_it(
    world: World, hook: Contract
) -> None:
    """Funding of the month before is none that a new position owes or is owed."""
    desk = open_desk(world)
    desk.trade(desk.trader(1), 50 * WAD)
    world.wait(30 * 86_400)
    desk.refresh()
    account = world.open_account(leverage=3, sub=2)
    give(world, hook, account, WIDE)
    judge(world, hook, account, ("trade", (ETH, -5 * WAD)))
    assert desk.funding().funding_wad > WAD // 2


# ---- to the WAD

FINE = 201  # an asset of 18 decimals at one quote token
MOST_BPS = 65_535


def put_at(world: World, account: int, bps: int, gap_wad: int, *, less_wad: int = 0) -> None:
    """An account whose equity, less so much, exceeds `bps` of what it requires, rounded up, by
    `gap_wad`. That part of the requirement is no whole number."""
    token = world.chain.deploy("MockToken", "fine", "FINE", 18, sender=world.governor)
    list_token(world, token, FINE, price=1)
    token.mint(world.owner, 10**18, sender=world.governor)
    token.approve(world.clearinghouse, UNLIMITED, sender=world.owner)
    world.deposit(account, "ETH", 10**19)
    mark = Mark.from_words(*world.system.oracle.marks([FINE]))

    def gap(units: int) -> int:
        part = terms_of(Position(collateral_wad=units), mark)
        required = base[1] + part.required_init
        wanted = -(-required * bps // 10_000)
        is_odd = required * bps % 10_000 != 0
        return base[0] + part.equity_init - less_wad - wanted if is_odd else 2**255

    base = world.clearinghouse.assess(account)
    world.deposit(account, QUOTE, (-(-base[1] * bps // 10_000) + less_wad - base[0]) // UNIT + 1)
    base = world.clearinghouse.assess(account)
    low, high = 1, 10**18
    while low < high:
        middle = (low + high) // 2
        part = terms_of(Position(collateral_wad=middle), mark)
        is_above = (base[0] + part.equity_init - less_wad - gap_wad) * 10_000 > (
            base[1] + part.required_init
        ) * bps
        low, high = (middle + 1, high) if is_above else (low, middle)
    units = next(units for units in range(max(low - 200, 1), low + 200) if gap(units) == gap_wad)
    world.clearinghouse.deposit(account, FINE, units, sender=world.owner)


@pytest.mark.parametrize(("gap_wad", "reason"), [(-1, None), (0, "mandates: pull above shortfall")])
def test_pull__shortfall_of_a_wad__is_one(
    world: World, hook: Contract, gap_wad: int, reason: str | None
) -> None:
    """What is wanted is rounded up, and so is what may be pulled for it."""
    account = world.account()
    put_at(world, account, MOST_BPS, gap_wad)
    give(world, hook, account, (MOST_BPS, 10_000, 100, 0, 10**6 * WAD, 86_400))
    world.fund(world.owner, QUOTE, 10**6)
    script(world, hook, ("pull", (1,)))
    with reverts(reason) if reason else nullcontext():
        rebalance(world, account)


@pytest.mark.parametrize(("gap_wad", "reason"), [(0, None), (1, "mandates: above target and band")])
def test_swap__end_of_the_band__is_the_most_to_the_wad(
    world: World, hook: Contract, gap_wad: int, reason: str | None
) -> None:
    """Without an allocation it holds for whoever trades, though no position is smaller for it."""
    account = world.account()
    put_at(world, account, MOST_BPS + 10_000, gap_wad)
    world.set_venue_price("ETH", fee_ppm=0)
    give(world, hook, account, (MOST_BPS, 10_000, 100, 0, 0, 0))
    script(world, hook, sale(world, 10**17), sale(world, 200 * 10**6, asset=0, out=ETH))
    with reverts(reason) if reason else nullcontext():
        rebalance(world, account)


@pytest.mark.parametrize(
    ("gap_wad", "reason"), [(0, None), (-1, "mandates: donor below its floor")]
)
def test_move__floor_of_a_donor__is_the_least_to_the_wad(
    world: World, hook: Contract, gap_wad: int, reason: str | None
) -> None:
    """I15: what it has to keep is rounded up."""
    account, donor = world.open_account(leverage=3, sub=1), world.account()
    put_at(world, donor, MOST_BPS, gap_wad, less_wad=UNIT)
    world.make_donor(donor, floor_bps=MOST_BPS)
    give(world, hook, account)
    script(world, hook, ("move", (donor, 0, 1)))
    with reverts(reason) if reason else nullcontext():
        rebalance(world, account)
