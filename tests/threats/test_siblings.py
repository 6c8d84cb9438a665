"""T61: accounts of one owner that all give to each other.

Moving collateral to and fro would cost the keeper's gas and the owner's patience for ever. A donor
keeps its floor, which lies above its own trigger, so what was given never has to be given back.
"""

from __future__ import annotations

import random

import pytest

from ballast.chain import Reverted
from ballast.deploy import WAD
from tests.conftest import reverts
from tests.support.world import QUOTE, World

SUBS = (0, 1, 2)
MAX_ROUNDS = 40
TARGET_BPS = 13_000
FLOORS = (13_000, 14_000, 20_000)
LEVERAGE = "3.1"  # close to initial margin
UNIT = 10**12  # WAD of a unit of the quote token
MOVE_COLLATERAL = 3


def _family(
    world: World, seed: int, *, has_sales: bool, floors: tuple[int, ...] = FLOORS
) -> list[int]:
    """Three indebted accounts of random size and leverage, each a donor of both others."""
    rng = random.Random(seed)
    accounts = []
    for sub in SUBS:
        mix = rng.choice([{"ETH": 1}, {"BTC": 1}, {"ETH": 1, "BTC": 2}])
        equity = rng.randrange(5_000, 50_000)
        leverage = rng.choice(["1.2", "2.3", LEVERAGE])
        accounts.append(world.open_account(leverage, mix, sub=sub, equity=equity))
    for account in accounts:
        world.enrol(
            account,
            trigger_bps=12_000,
            target_bps=TARGET_BPS,
            floor_bps=rng.choice(floors),
            donors=[sub for sub in SUBS if account & 255 != sub],
            sales=None if has_sales else {},
        )
    return accounts


def _dip(world: World) -> None:
    """A fall so small that requirements hardly rise: in a crash moving collateral cures nothing."""
    world.set_price("ETH", 1_960)
    world.set_price("BTC", 29_400)


def _settle(world: World, accounts: list[int]) -> list[int]:
    """Rebalances whoever is ready until next to nothing moves; value moved in each round."""
    values: list[int] = []
    for _ in range(MAX_ROUNDS):
        value = 0
        for account in accounts:
            try:
                receipt = world.mandates.rebalance(account, sender=world.keeper)
            except Reverted as error:
                assert error.reason in (
                    "rebalancer: trigger not met",
                    "rebalancer: no means left",
                )
                continue
            steps = world.rebalancer.events(receipt, "StepTaken")
            value += sum(step.args.value for step in steps)
        values.append(value)
        if value < WAD:
            return values
    raise AssertionError(f"still moving after {MAX_ROUNDS} rounds: {values}")


def _equity(world: World, accounts: list[int]) -> int:
    return sum(int(world.clearinghouse.assess(account)[2]) for account in accounts)


@pytest.mark.parametrize("has_sales", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_rebalance__siblings_give_to_each_other__comes_to_rest(
    world: World, seed: int, has_sales: bool
) -> None:
    """T61, I15: with floors above the donors' own targets, and moves alone cost nothing."""
    accounts = _family(world, seed, has_sales=has_sales)
    _dip(world)
    before = _equity(world, accounts)
    rounds = _settle(world, accounts)
    lost = before - _equity(world, accounts)
    if has_sales:
        assert lost <= before // 50
    else:
        # Interest of the blocks meanwhile, and a unit of rounding for each move.
        assert -UNIT <= lost <= before // 10**5 + UNIT * 8 * len(rounds)


def test_rebalance__seeds_of_the_family__did_move_something(world: World) -> None:
    """The seeds above are no idle ones."""
    moved = 0
    for seed in range(12):
        with world.isolated():
            accounts = _family(world, seed, has_sales=False)
            _dip(world)
            moved += sum(_settle(world, accounts)) > WAD
    assert moved >= 4


@pytest.mark.parametrize("seed", [2, 3, 5, 8])
def test_rebalance__floors_below_own_targets__no_ping_pong(world: World, seed: int) -> None:
    """T61: a donor drawn below its own trigger would take back what it gave, block after block.

    With a floor of one and a trigger of 1.2 two accounts have handed 7,185 dollars of ether to each
    other in every block. Such a guard is refused, or such a donor keeps its own target.
    """
    try:
        accounts = _family(world, seed, has_sales=True, floors=(10_000,))
    except Reverted as error:
        assert error.reason == "guards: field out of range"
        return
    _dip(world)
    _settle(world, accounts)


def test_rebalance__donor_close_to_its_floor__gives_what_it_can_at_once(world: World) -> None:
    """I17, T61: a keeper must not be called again and again for ever smaller moves.

    What leaves the donor lowers its requirement too. Sized without that, each move takes three
    quarters of what is left, and thirty follow before the last token unit.
    """
    needy = world.open_account(leverage=LEVERAGE, sub=0, equity=200_000)
    donor = world.open_account(leverage="1.2", mix={"BTC": 1}, sub=1, equity=5_000)
    world.enrol(needy, trigger_bps=12_990, donors=[1], sales={})
    world.make_donor(donor, floor_bps=20_000)
    assert world.rebalancer.plan(needy).code == 0
    world.mandates.rebalance(needy, sender=world.keeper)
    world.chain.mine()
    plan = world.rebalancer.plan(needy)
    assert plan.code in (0, 5)
    assert sum(step.value for step in plan.steps) < WAD, "the donor has still something to give"


def test_rebalance__only_the_trigger_of_the_needy__donor_untouched_below_it(world: World) -> None:
    """T61: who is at its floor gives nothing, though its sibling is worse off."""
    needy = world.open_account(leverage=3, sub=0)
    donor = world.open_account(leverage=3, sub=1)
    world.enrol(needy, donors=[1], sales={})
    world.make_donor(donor, floor_bps=12_000)
    world.set_price("ETH", 1_700)
    words = world.clearinghouse.words_of(donor)
    with reverts("rebalancer: no means left"):
        world.mandates.rebalance(needy, sender=world.keeper)
    assert world.clearinghouse.words_of(donor) == words


@pytest.mark.parametrize("kind", ["cash", "collateral"])
def test_rebalance__donor_gives__sum_of_holdings_is_unchanged(world: World, kind: str) -> None:
    """I15, T62: what leaves the donor arrives in the needy account to the unit, nowhere else."""
    needy = world.open_account(leverage=LEVERAGE, sub=0)
    donor, other = world.account(1), world.account(0, world.other_owner)
    for account in (donor, other):
        world.deposit(
            account, QUOTE if kind == "cash" else "ETH", 3 * 10 ** (9 if kind == "cash" else 18)
        )
    world.enrol(needy, trigger_bps=12_000, donors=[1], sales={})
    world.make_donor(donor, floor_bps=10_000)
    _dip(world)
    others = world.clearinghouse.words_of(other)
    ether = [world.clearinghouse.position_word(a, 1) for a in (needy, donor)]
    cash = sum(world.clearinghouse.picture_of(a)[0] for a in (needy, donor))
    world.mandates.rebalance(needy, sender=world.keeper)
    after = [world.clearinghouse.position_word(a, 1) for a in (needy, donor)]
    assert sum(after) == sum(ether)
    assert (after != ether) == (kind == "collateral")
    late = cash - sum(world.clearinghouse.picture_of(a)[0] for a in (needy, donor))
    assert -UNIT <= late <= WAD // 100  # interest of a block
    assert world.clearinghouse.words_of(other) == others


def test_rebalance__in_the_rounds_own_block__donor_in_debt_gives_as_in_the_next(
    world: World,
) -> None:
    """T55: whoever calls first must not decide between a free move and a sale that costs.

    A fall is the common case, and at the lower of the two prices the donor has slack enough, so the
    ledger would let it give in the very block of the round as well.
    """
    needy = world.open_account(leverage=LEVERAGE, sub=0, equity=10_000)
    donor = world.open_account(leverage="1.2", sub=1, equity=50_000)
    world.enrol(needy, trigger_bps=12_500, donors=[1])
    world.make_donor(donor, floor_bps=13_000)
    kinds = []
    for is_same_block in (False, True):
        with world.isolated():
            with world.chain.one_block():
                world.feeds["ETH"].set_answer(1_990 * 10**8, sender=world.governor)
                world.set_venue_price("ETH")
                world.system.poke(world.keeper)
                if is_same_block:
                    receipt = world.mandates.rebalance(needy, sender=world.keeper)
            if not is_same_block:
                receipt = world.mandates.rebalance(needy, sender=world.keeper)
            steps = world.rebalancer.events(receipt, "StepTaken")
            kinds.append([step.args.kind for step in steps])
    assert kinds[0] == [MOVE_COLLATERAL]
    assert kinds[1] == kinds[0]
