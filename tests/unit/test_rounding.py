"""Every row of the table in docs/units.md: the direction of each division, by its id."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor, log
from pathlib import Path
from typing import Any

import pytest

from ballast.chain import Contract, RevmChain
from ballast.deploy import load_parameters, market_terms
from ballast.model import allocation, oracle
from ballast.model.margin import GWEI, RATE, Leg, terms_of
from ballast.model.oracle import YEAR_S
from ballast.sandbox import VaultSpec, build_world
from tests.clearing_kit import UNIT, action, args_of, debt_units
from tests.conftest import reverts
from tests.governance_kit import Council
from tests.liquidation_kit import Floor, open_floor
from tests.liquidity_kit import Liquidity, deploy_liquidity
from tests.perps_kit import STEP, Desk, open_desk
from tests.support.allocations import (
    MAY_RERISK,
    enrol,
    exposure,
    fund_house,
    price_pairs,
    trade,
    wish,
)
from tests.support.world import QUOTE, WAD, World

ETH, BTC = 1, 2
RAY = 10**27
RATE_WAD = 10**24
DOC = Path(__file__).parents[2] / "docs" / "units.md"
ODD = (1, 7, 999_999_999_999_999_989, 10**18, 10**18 + 1, 3 * 10**20 + 7)


@lru_cache(maxsize=8)
def shell(name: str = "ModulesShell") -> Contract:
    chain = RevmChain()
    return chain.deploy(name, sender=chain.accounts[0])


def risk_word(*fields: int) -> int:
    """r_init, l_init, r_maint, l_maint in e6, quota in gwei."""
    return sum(value << 24 * i for i, value in enumerate(fields))


def parameter_word(values: tuple[int, ...], quota: int, time: int = 0) -> int:
    return sum(v << 16 * i for i, v in enumerate(values)) | quota << 144 | time << 216


PARAMETERS = parameter_word((3_001, 1_500, 8_000, 1_501, 801, 4_000, 251, 201, 601), 10**15)


def test_table__ids__are_those_of_the_tests() -> None:
    """Neither a row without a test nor a test without a row, and the ids have no gap."""
    rows = re.findall(r"^\| (R\d{2,3}) \|", DOC.read_text(), re.MULTILINE)
    tests = re.findall(r"^def test_r(\d{2,3})__", Path(__file__).read_text(), re.MULTILINE)
    assert rows == [f"R{i:02}" for i in range(1, len(rows) + 1)]
    assert sorted(tests) == sorted(row[1:] for row in rows)


def test_r01__product_over_divisor__is_up() -> None:
    for x in ODD:
        for d in ODD:
            assert shell().mul_div_up(x, 7, d) == ceil(Fraction(7 * x, d))


def test_r02__quotient__is_up() -> None:
    assert [shell().div_up(x, 10) for x in (0, 1, 10, 11)] == [0, 1, 1, 2]


def test_r03__signed_product__is_toward_minus_infinity() -> None:
    for x in ODD:
        for sign in (-1, 1):
            assert shell().mul_wad_floor_signed(sign * x, 7) == floor(Fraction(sign * 7 * x, WAD))


def test_r04__requirement__is_up_once_per_asset() -> None:
    word, price, held = risk_word(150_001, 20_003, 80_001, 10_001, 2**72 - 1), 2_001, 10**18 + 3
    told = shell("MarginShell").terms(held, 0, 0, price, word)
    assert told[1] == ceil(Fraction(price * 170_004 * held, RATE_WAD))
    assert told[3] == ceil(Fraction(price * 90_002 * held, RATE_WAD))
    hedged = shell("MarginShell").terms(held | (-held % 2**128) << 128, 0, 0, price, word)
    assert hedged[1] == ceil(Fraction(price * 20_003 * 2 * held, RATE_WAD))


def test_r05__collateral_value__is_down() -> None:
    told = shell("MarginShell").terms(10**18 - 1, 0, 0, 3, risk_word(0, 0, 0, 0, 2**72 - 1))
    assert (told[0], told[2]) == (2, 2)


def test_r06__token_units_to_wad__are_exact(world: World) -> None:
    for name, units in (("ETH", 7), ("BTC", 7)):
        world.deposit(world.account(), name, units)
        word = world.clearinghouse.position_word(world.account(), world.asset(name))
        assert word == units * world.unit_wad(name)


def test_r07__least_proceeds__are_up_to_a_unit(world: World) -> None:
    """Seven wei of ETH are worth 1.4e-14 dollars; the venue would have to pay a whole unit."""
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    for units in (7, 10**9 + 1, 505_050_505 * 10**3):
        least = ceil(Fraction(units * 2_000 * 10**6 * 9_900, 10_000 * WAD))
        liar = world.chain.deploy("LyingAdapter", world.quote, sender=world.governor)
        world.system.allow_adapter(liar)
        world.fund(liar.address, QUOTE, 10**9)
        liar.set_payment(least - 1, sender=world.governor)
        with reverts("exchange: proceeds below bound"):
            world.clearinghouse.swap(account, liar, ETH, 0, units, 0, sender=world.owner)
        liar.set_payment(least, sender=world.governor)
        world.clearinghouse.swap(account, liar, ETH, 0, units, 0, sender=world.owner)


def test_r08__swap_limit__is_that_of_the_gross_rate_down(world: World) -> None:
    """The limit is set to 5%; l at initial margin binds, in whole basis points."""
    world.system.listings.set_asset_limits(ETH, 10**24, 500, sender=world.governor)
    account = world.account()
    world.deposit(account, "ETH", 10**18)
    world.set_price("ETH", 2_030)
    l_init_e6 = world.system.oracle.marks([ETH])[1] >> 24 & 2**24 - 1
    least = ceil(Fraction(2_030 * 10**6 * (10_000 - l_init_e6 // 100), 10_000))
    assert l_init_e6 % 100 != 0 and l_init_e6 // 100 < 500
    liar = world.chain.deploy("LyingAdapter", world.quote, sender=world.governor)
    world.system.allow_adapter(liar)
    world.fund(liar.address, QUOTE, 10**10)
    for paid, is_enough in ((least - 1, False), (least, True)):
        liar.set_payment(paid, sender=world.governor)
        if is_enough:
            world.clearinghouse.swap(account, liar, ETH, 0, 10**18, 0, sender=world.owner)
        else:
            with reverts("exchange: proceeds below bound"):
                world.clearinghouse.swap(account, liar, ETH, 0, 10**18, 0, sender=world.owner)


def test_r09__three_quarters_of_the_debt__decides_the_way_and_not_the_result(world: World) -> None:
    account = world.open_account(leverage=2)
    for units in (10**18, 26 * 10**17):
        with world.isolated():
            owed = debt_units(world, account)
            receipt = world.clearinghouse.swap(
                account, world.venue, ETH, 0, units, 0, sender=world.owner
            )
            left = debt_units(world, account) - (owed - receipt.return_value)
            assert 0 <= left < 2_000, "interest of a block and one rounding"


def borrowed(world: World) -> int:
    """An account whose debt index is not a round number."""
    account = world.open_account(leverage=2)
    world.wait(86_400)
    world.system.vault.accrue(sender=world.keeper)
    return account


def index(world: World) -> Fraction:
    return Fraction(world.system.vault.debt_index_ray(), RAY)


def test_r10__debt__is_up(world: World) -> None:
    account = borrowed(world)
    shares = world.clearinghouse.account_word(account) >> 128
    owed = ceil(shares * index(world))
    assert debt_units(world, account) == owed
    assert world.clearinghouse.picture_of(account)[0] == -owed * UNIT
    told = world.system.lens.healths([account])[0]
    assert tuple(told) == tuple(world.clearinghouse.assess(account))


def test_r11__cash_paid_out__is_whole_units_of_what_is_there(world: World) -> None:
    account = world.account()
    world.deposit(account, QUOTE, 3)
    with reverts("margin: initial margin short"):
        world.clearinghouse.withdraw(account, 0, 4, world.owner, sender=world.owner)
    world.clearinghouse.withdraw(account, 0, 3, world.owner, sender=world.owner)
    assert world.clearinghouse.account_word(account) == 0


def test_r12__loan_shares__are_up(world: World) -> None:
    account = borrowed(world)
    before = world.clearinghouse.account_word(account) >> 128
    world.borrow(account, 1_000_003)
    minted = (world.clearinghouse.account_word(account) >> 128) - before
    assert minted == ceil(1_000_003 / index(world))


def test_r13__shares_burnt__are_down_except_for_the_last(world: World) -> None:
    account = borrowed(world)
    world.fund(world.owner, QUOTE, 10**12)
    before = world.clearinghouse.account_word(account) >> 128
    world.clearinghouse.repay(account, 1_000_003, sender=world.owner)
    after = world.clearinghouse.account_word(account) >> 128
    assert before - after == floor(1_000_003 / index(world))
    world.clearinghouse.repay(account, 2**255, sender=world.owner)
    assert world.clearinghouse.account_word(account) >> 128 == 0


def test_r14__debt_among_the_assets__is_down(world: World) -> None:
    borrowed(world)
    told = world.system.vault.state()
    debt = floor(told.debt_shares * Fraction(told.index_wad, WAD))
    assert world.system.vault.totalAssets() == told.idle + debt - told.reserves


def accrued(world: World) -> tuple[Any, Any, int, int]:
    """The vault's state before and after an hour, and rate and growth of that hour (ray)."""
    vault = world.system.vault
    borrowed(world)
    before, rate = vault.state(), vault.borrow_rate_ray()
    world.chain.advance(3_588)
    started = world.chain.time
    vault.accrue(sender=world.keeper)
    elapsed = world.chain.time - started + 3_588
    growth = shell("KinkedRateShell").growth_ray_down(rate, elapsed)
    return before, vault.state(), rate, growth


def test_r15__index__grows_up(world: World) -> None:
    before, after, _, growth = accrued(world)
    assert after.index_wad == before.index_wad + ceil(Fraction(before.index_wad * growth, RAY))


def test_r16__growth__is_below_the_exponential() -> None:
    for x in (10**20, 10**25 + 7, RAY // 3):
        told = shell("KinkedRateShell").growth_ray_down(x, 1)
        f = Fraction(x, RAY)
        series = (f + f**2 / 2 + f**3 / 6) * RAY
        assert series - 3 < told <= series


def test_r17__rate_of_a_second__is_up() -> None:
    for use in (0, 10**17 + 1, 8 * 10**17, 9 * 10**17 + 1, WAD):
        told = shell("KinkedRateShell").rate_ray_up(use, 1, 450, 6_000, 8_000)
        kink = Fraction(8, 10)
        u = Fraction(use, WAD)
        year = 1 + 450 * u / kink if u <= kink else 451 + 6_000 * (u - kink) / (1 - kink)
        assert told == ceil(year * RAY / (10_000 * 365 * 86_400))


def test_r18__utilisation__is_up() -> None:
    for debt, idle in ((1, 2), (10**12 + 1, 7), (5, 0), (0, 5)):
        told = shell("KinkedRateShell").utilisation_wad_up(debt, idle)
        assert told == ceil(Fraction(debt * WAD, debt + idle))


def test_r19__reserves__are_down(world: World) -> None:
    before, after, _, _ = accrued(world)
    shares = before.debt_shares
    interest = shares * after.index_wad // WAD - shares * before.index_wad // WAD
    assert after.reserves - before.reserves == interest // 10


def test_r20__largest_loan__is_down(world: World) -> None:
    borrowed(world)
    told = world.system.vault.state()
    debt = world.system.vault.total_debt()
    assert world.system.vault.max_loan() == (told.idle + debt) * 9_200 // 10_000 - debt


def share_price(world: World) -> Fraction:
    """Asset units of a share, with the virtual ones."""
    vault = world.system.vault
    offset = 10 ** (vault.decimals() - world.quote.decimals())
    return Fraction(vault.totalAssets() + 1, vault.totalSupply() + offset)


def test_r21__shares_of_a_deposit__are_down(world: World) -> None:
    borrowed(world)
    assert world.system.vault.previewDeposit(1_000_003) == floor(1_000_003 / share_price(world))


def test_r22__shares_of_a_withdrawal__are_up(world: World) -> None:
    borrowed(world)
    assert world.system.vault.previewWithdraw(1_000_003) == ceil(1_000_003 / share_price(world))


def test_r23__assets_of_a_redemption__are_down(world: World) -> None:
    borrowed(world)
    shares = 10**12 + 7
    assert world.system.vault.previewRedeem(shares) == floor(shares * share_price(world))


def test_r24__assets_of_a_mint__are_up(world: World) -> None:
    borrowed(world)
    shares = 10**12 + 7
    assert world.system.vault.previewMint(shares) == ceil(shares * share_price(world))


def test_r25__armed_budget__is_down_to_a_millionth(world: World) -> None:
    world.mandates.arm_budget((WAD + UNIT - 1, 60, WAD + UNIT - 1), sender=world.owner)
    assert tuple(world.mandates.budget_of(world.owner)) == (WAD, 60, WAD)


def hooked(world: World, *calls: tuple[str, tuple[Any, ...]], target: int = 13_000) -> int:
    """An account with a scripted hook and a slow budget of 100 dollars."""
    account = world.open_account(leverage=3)
    hook = world.chain.deploy("ScriptedHook", sender=world.governor)
    guard = (target, 300, 100, 0, 10**6 * WAD, 86_400)
    world.mandates.set_guard(account, hook, guard, sender=world.owner)
    world.mandates.arm_budget((100 * WAD, 7_001, 10**3 * WAD), sender=world.owner)
    script = [(world.mandates.address, world.mandates.function(n).encode(*a)) for n, a in calls]
    hook.set_script(script, sender=world.governor)
    return account


def mandated(world: World, account: int) -> Any:
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    return world.mandates.events(receipt, "Rebalanced")[0].args


def test_r26__refill__is_down(world: World) -> None:
    sale = ("swap", (world.venue.address, ETH, 0, 3 * 10**17, 0))
    account = hooked(world, sale, target=20_000)
    left = mandated(world, account).budget_left
    world.chain.advance(13)
    refilled = left // UNIT + 100 * 10**6 * 13 // 7_001
    assert world.mandates.budget_left(world.owner) == min(100 * WAD, refilled * UNIT)


def test_r27__loss__is_up_to_a_millionth(world: World) -> None:
    units = 10**17 + 1
    account = hooked(world, ("swap", (world.venue.address, ETH, 0, units, 0)), target=20_000)
    args = mandated(world, account)
    assert args.loss % UNIT != 0
    assert args.budget_left == 100 * WAD - ceil(Fraction(args.loss, UNIT)) * UNIT


def edge(world: World, account: int, bps: int) -> tuple[int, int]:
    """Equity at initial margin and `bps` of the requirement, up."""
    equity, required, _, _ = world.clearinghouse.assess(account)
    return int(equity), ceil(Fraction(required * bps, 10_000))


def rate_init_e6(world: World, name: str) -> int:
    """r + l of an asset at initial margin."""
    risk_word = world.system.oracle.marks([world.asset(name)])[1]
    return int(risk_word & 0xFFFFFF) + int(risk_word >> 24 & 0xFFFFFF)


def test_r28__end_of_the_band__is_up(world: World) -> None:
    """The largest sale that passes ends at most at the rounded bound."""
    low, high = 10**16, 6 * 10**17
    while high - low > 10**6:
        units = (low + high) // 2
        with world.isolated():
            account = hooked(world, ("swap", (world.venue.address, ETH, 0, units, 0)))
            try:
                mandated(world, account)
                equity, bound = edge(world, account, 13_300)
                assert equity <= bound
                low = units
            except Exception as error:
                assert str(error) == "mandates: above target and band"
                high = units
    assert 10**16 < low < 6 * 10**17


def test_r29__floor_of_a_donor__is_up(world: World) -> None:
    donor = world.open_account(leverage=2, sub=1)
    world.make_donor(donor, floor_bps=15_001)
    low, high = 10**17, 25 * 10**17
    while high - low > 10**6:
        units = (low + high) // 2
        with world.isolated():
            account = hooked(world, ("move", (donor, ETH, units)))
            try:
                mandated(world, account)
                equity, bound = edge(world, donor, 15_001)
                assert equity >= bound
                low = units
            except Exception as error:
                assert str(error) == "mandates: donor below its floor"
                high = units
    assert 10**17 < low < 25 * 10**17


def test_r30__shortfall__is_up(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900, target_bps=13_337)
    equity, wanted = edge(world, account, 13_337)
    assert world.rebalancer.plan(account).shortfall == wanted - equity


def test_r31__requirement_of_an_inflow__is_up_and_a_wei(world: World) -> None:
    """Amounts chosen to round at every step: an honest move is never taken for growth."""
    donor = world.account(1)
    world.deposit(donor, "ETH", 10**18)
    world.make_donor(donor, floor_bps=10_000)
    world.set_price("ETH", "1999.99999999")
    for units in (1, 3, 333_333_333_333_333_331, 10**17 + 1):
        with world.isolated():
            account = hooked(world, ("move", (donor, ETH, units)))
            before = world.clearinghouse.assess(account)[1]
            mandated(world, account)
            mark = world.system.oracle.marks([ETH])
            rate = (mark[1] & 2**24 - 1) + (mark[1] >> 24 & 2**24 - 1)
            allowed = ceil(Fraction(units * world.price_wad("ETH") * rate, RATE_WAD)) + 1
            assert world.clearinghouse.assess(account)[1] <= before + allowed


def test_r32__value_to_sell__is_up() -> None:
    assert shell().value_up(10, 3 * 10**9) == 34


def test_r33__cured__is_down() -> None:
    assert shell().cured_down(34, 3 * 10**9) == 10
    assert shell().cured_down(33, 3 * 10**9) == 9


def test_r34__units_worth_a_value__are_up() -> None:
    told = shell().units_up(10**18 + 1, 2_000 * WAD, 10**10)
    assert told == ceil(Fraction((WAD + 1) * WAD, 2_000 * WAD * 10**10))


def test_r35__trigger__is_up(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=13_500, target_bps=20_000)
    for bps in range(12_000, 13_500, 97):
        policy = (bps, 0, 0, False, [], [(ETH, 30, 0)], world.venue, 0, 0)
        with world.isolated():
            world.rebalancer.set_policy(account, policy, sender=world.owner)
            equity, trigger = edge(world, account, bps)
            assert (world.rebalancer.plan(account).code == 2) == (equity >= trigger)


def test_r36__slack_of_a_donor__is_down(world: World) -> None:
    account, donor = world.open_account(leverage=3), world.open_account(leverage=2, sub=1)
    world.make_donor(donor, floor_bps=15_001)
    world.enrol(account, trigger_bps=19_000, target_bps=20_000, donors=[1])
    step = world.rebalancer.plan(account).steps[0]
    equity, kept = edge(world, donor, 15_001)
    assert (step.kind, step.source) == (3, donor)
    freed_e10 = 15_001 * rate_init_e6(world, "ETH")
    given = (equity - kept - 10) * 10**10 // (10**10 - freed_e10)
    assert step.amount == given * WAD // world.price_wad("ETH")


def test_r37__collateral_of_a_donor__is_down_to_a_unit(world: World) -> None:
    account, donor = world.open_account(leverage=3), world.account(1)
    world.deposit(donor, "BTC", 12_347)
    world.make_donor(donor, floor_bps=10_007)
    world.enrol(account, trigger_bps=12_900, donors=[1])
    step = world.rebalancer.plan(account).steps[0]
    equity, kept = edge(world, donor, 10_007)
    price = world.price_wad("BTC")
    freed_e10 = 10_007 * rate_init_e6(world, "BTC")
    given = (equity - kept - 10) * 10**10 // (10**10 - freed_e10)
    assert step.amount == min(12_347, given * WAD // price // 10**10)
    assert step.value == step.amount * 10**10 * price // WAD


def test_r38__cash__is_up_to_the_need_and_down_to_what_is_there(world: World) -> None:
    account, donor = world.open_account(leverage=3), world.account(1)
    world.make_donor(donor)
    world.deposit(donor, QUOTE, 10**12)
    world.enrol(account, trigger_bps=12_900, target_bps=13_337, donors=[1])
    plan = world.rebalancer.plan(account)
    assert plan.steps[0].amount == ceil(Fraction(plan.shortfall, UNIT))
    world.clearinghouse.withdraw(donor, 0, 10**12 - 5, world.lender, sender=world.owner)
    assert world.rebalancer.plan(account).steps[0].amount == 5


def test_r39__sale__promises_less_and_expects_more_cost(world: World) -> None:
    account = world.open_account(leverage=3, mix={"BTC": 1})
    world.enrol(account, trigger_bps=19_000, sales={"BTC": 33}, target_bps=20_000)
    step = world.rebalancer.plan(account).steps[0]
    value = Fraction(step.amount * 10**10 * world.price_wad("BTC"), WAD)
    assert step.value == floor(value)
    assert step.cost == ceil(Fraction(step.value * 33, 10_000))
    assert step.amount * 10**10 <= world.clearinghouse.position_word(account, BTC)


def test_r40__price_in_the_quote_token__is_down(world: World) -> None:
    world.feeds["ETH"].set_answer(2_000 * 10**8 + 1, sender=world.governor)
    world.set_price(QUOTE, "1.00000007")
    ratio = Fraction((2_000 * 10**8 + 1) * WAD, 100_000_007)
    assert world.price_wad("ETH") == floor(ratio) and ratio.denominator > 1


def test_r41__parameter_on_its_way__is_that_of_the_larger_requirement() -> None:
    old = parameter_word((3_000, 1_500, 8_000, 1_500, 800, 4_000, 250, 200, 600), 1_000, 0)
    new = parameter_word((3_007, 1_500, 8_000, 1_500, 800, 4_000, 250, 200, 600), 993, 1_000)
    for now in (1, 333, 999):
        word = shell().effective(old, new, now)
        assert word & 2**16 - 1 == ceil(3_000 + Fraction(7 * now, 1_000))
        assert word >> 144 & 2**72 - 1 == floor(1_000 - Fraction(7 * now, 1_000))


def test_r42__decayed_volatility__is_up() -> None:
    sigma, elapsed = 876_543_210_987, 1_234
    word = shell().limits(sigma, elapsed, 0, 10**11, PARAMETERS)
    kept = oracle.exp_minus_wad(29_266_809_904_951 * elapsed)
    assert word & 2**48 - 1 == ceil(Fraction(sigma * kept, WAD))


def test_r43__maintenance_rate__rises_down() -> None:
    for elapsed in (1, 17, 3_599, 10**6):
        rise = Fraction(123_456_789_013 * 5 * min(elapsed, 3_600), 360_000)
        told = shell().risen(123_456_789_013, 10**12, elapsed)
        assert told == 123_456_789_013 + floor(rise)


def test_r44__rates_of_the_risk_word__are_up() -> None:
    sigma, r_maint, l_maint = 700_000_000_001, 600_000_000_001, 10_000_000_001
    word = shell().risk(sigma | r_maint << 48 | l_maint << 96, PARAMETERS, 0)
    assert word >> 48 & 2**24 - 1 == 600_001
    assert word >> 72 & 2**24 - 1 == 10_001
    assert word & 2**24 - 1 == ceil(Fraction(3 * 600_001, 2)), "1.5 maintenance binds"
    assert word >> 24 & 2**24 - 1 == 20_100, "the floor of 201 bp binds"
    assert word >> 208 == 700_001


def test_r45__half_of_a_rate__is_up() -> None:
    whole = shell().rate_e12(900_000_000_001, PARAMETERS, 6)
    assert whole % 2 == 1
    assert shell().l_maint_e12(900_000_000_001, PARAMETERS) == (whole + 1) // 2


def test_r46__rate_of_a_volatility__is_up() -> None:
    sigma = 700_000_000_001
    assert shell().rate_e12(sigma, PARAMETERS, 0) == ceil(Fraction(3_001 * sigma, 10_000))


def test_r47__decayed_sums__are_down() -> None:
    half, kept = 987_654_321 | 7_777_777 << 96, oracle.exp_minus_wad(600 * WAD // 3_600)
    word = shell().decayed(half, 600, 3_600, 5)
    assert word & 2**96 - 1 == floor(Fraction(987_654_321 * kept, WAD)) + 5
    assert word >> 96 == floor(Fraction(7_777_777 * kept, WAD)) + 600_000


def test_r48__volatility__is_down_to_a_billionth_of_a_thousandth() -> None:
    half = 10**20 + 7 | 3_600_001 << 96
    told = shell().sigma_e12(half, 800_000, 3_600)
    year = 365 * 86_400
    prior = 800_000**2 * 10**16 * 3_600 // year
    square = Fraction((10**20 + 7 + prior) * year * 1_000, 7_200_001)
    assert (told * 100) ** 2 <= square < ((told + 1) * 100) ** 2


def test_r49__volatility_of_a_range__is_up() -> None:
    log_e10, spread, window = 5 * 10**11, 12_345, 1_000
    word = log_e10 | log_e10 + spread << 40 | log_e10 << 80
    word |= log_e10 << 120 | log_e10 << 160 | window << 200
    told = shell().sigma_range_e12(word, log_e10, window * 1_800)
    assert told == ceil(Fraction(spread * 56_209_449, 10**4))


def test_r50__logarithm__is_down() -> None:
    for price in (2, 10**18 + 1, 2**93):
        told = shell().ln_e10(price)
        assert told == oracle.ln_e10(price)
        assert -1e-9 < log(price) - told / 1e10 < 1.2e-9


def test_r51__grid_of_a_round__is_up() -> None:
    assert [shell().bucket(t) for t in (0, 1, 300, 301)] == [
        ceil(Fraction(t, 300)) for t in (0, 1, 300, 301)
    ]


def test_r52__volatility_told__is_up(world: World) -> None:
    world.set_price("ETH", 2_013)
    sigmas = world.system.oracle.sigmas_e6(ETH)
    spread = shell().ln_e10(2_013 * WAD) - shell().ln_e10(2_000 * WAD)
    range_e12 = ceil(Fraction(spread * 56_209_449, 10**4))
    assert sigmas[2] == ceil(Fraction(range_e12, 10**6))


def test_r53__gas_for_a_sale__is_63_of_64_down(world: World) -> None:
    account = world.open_account(leverage=3)
    world.enrol(account, trigger_bps=12_900)
    outcomes = set()
    for gas in range(5_800_000, 7_000_000, 20_000):
        try:
            world.mandates.rebalance.call(account, sender=world.keeper, gas=gas)
            outcomes.add("done")
        except Exception as error:
            outcomes.add(str(error))
    assert {"done", "mandates: gas too low"} <= outcomes
    assert "rebalancer: every step refused" not in outcomes


# ---- perpetuals


def words(**changes: int) -> tuple[int, int]:
    """The two words of ETH's terms with some fields replaced."""
    names = ("depth_gwei", "open_interest_cap_gwei", "skew_cap_gwei", "round_cap_gwei")
    names += ("min_size_gwei", "base_fee_e6", "band_e6", "lag_s", "max_funding_e6", "weight_bps")
    known = market_terms(load_parameters()["assets"]["ETH"]["perpetual"])
    fields = dict(zip(names, known, strict=True)) | changes
    prices, limits = shell().market_words(tuple(fields[name] for name in names), 0)
    return int(prices), int(limits)


def test_r54__signed_quotient__is_toward_minus_infinity() -> None:
    for x in ODD:
        for sign in (-1, 1):
            assert shell().div_floor_signed(sign * x, 7) == floor(Fraction(sign * x, 7))


def test_r55__signed_quotient__is_toward_zero() -> None:
    for x in ODD:
        for sign in (-1, 1):
            assert shell().div_zero_signed(sign * x, 7) == sign * (x // 7)


def test_r56__root_of_the_lag__is_down() -> None:
    for lag_s in (1, 60, 1_200, 3_599):
        root_e9 = words(lag_s=lag_s)[1] >> 168 & 2**24 - 1
        assert root_e9**2 <= Fraction(lag_s * 10**18, YEAR_S) < (root_e9 + 1) ** 2


def test_r57__uncertainty__is_half_of_band_and_move_up() -> None:
    for band_e6, sigma_e6 in ((10_001, 800_000), (10_000, 1_234_567), (0, 1), (7, 0)):
        prices, limits = words(band_e6=band_e6)
        root_e9 = limits >> 168 & 2**24 - 1
        move_e6 = sigma_e6 * root_e9 // 10**9
        fee_e6, half_e6 = shell().fee_e6(prices, limits, sigma_e6 << 208)
        assert half_e6 == ceil(Fraction(band_e6 + move_e6, 2))
        assert fee_e6 == 500 + half_e6


def test_r58__fill_price__is_up_for_a_buyer_and_down_for_a_seller() -> None:
    """In one division: impact and fee are not rounded twice."""
    depth = 999_983 * GWEI + 7
    prices, _ = words(depth_gwei=depth)
    for index in (1, 2_000 * WAD + 1, 2**96 - 1):
        for skew in (-4 * 10**12 - 1, 0, 3 * 10**12 + 1):
            for change in (1, 2_000 * GWEI + 1):
                part = Fraction(2 * skew + change, 2 * depth) + Fraction(7_963, RATE)
                told = shell().fill_price(index, skew, change, prices, 7_963)
                assert told == ceil(index * (1 + part))
                part = Fraction(2 * skew - change, 2 * depth) - Fraction(7_963, RATE)
                told = shell().fill_price(index, skew, -change, prices, 7_963)
                assert told == floor(index * (1 + part))


def skewed(world: World) -> Desk:
    """A market whose price, funding and sizes are not round numbers, and longs outweigh in it."""
    desk = open_desk(world)
    desk.trade(desk.trader(3), 700 * WAD + STEP)
    world.set_price("ETH", "1999.99999999")
    world.wait(3_601)
    desk.refresh()
    return desk


@pytest.mark.parametrize("sign", [1, -1])
def test_r59__cost_of_a_trade__is_up(world: World, sign: int) -> None:
    desk = skewed(world)
    trader = desk.trader()
    change = sign * (WAD + 7 * STEP)
    price = desk.trade(trader, change).return_value
    exact = Fraction(change * (price - desk.funding().funding_wad), WAD)
    assert exact.denominator != 1
    assert desk.held(trader).cost_wad == ceil(exact)
    assert desk.held(desk.house).cost_wad == -sum(
        desk.held(account).cost_wad for account in desk.accounts[1:]
    )


def test_r60__entry__grows_up_and_shrinks_toward_zero() -> None:
    price = 2_000 * WAD + 1
    for size in (3 * WAD + STEP, -3 * WAD - STEP):
        entry = shell().entry_wad(0, 0, size, size, price)
        assert entry == ceil(Fraction(size * price, WAD))
        grown = shell().entry_wad(size, entry, 2 * size, size, price)
        assert grown == entry + ceil(Fraction(size * price, WAD))
        left = size // 3 // STEP * STEP
        shrunk = shell().entry_wad(size, entry, left, left - size, price)
        assert shrunk == int(Fraction(entry * left, size))
        flipped = shell().entry_wad(size, entry, -left, -left - size, price)
        assert flipped == ceil(Fraction(-left * price, WAD))


def test_r61__funding_rate__is_toward_zero() -> None:
    prices, limits = words(skew_cap_gwei=9_999 * GWEI + 1)
    for skew in (1, 3_333 * GWEI + 1):
        for sign in (-1, 1):
            told = shell().rate_wad(2_000 * WAD + 1, sign * skew, prices, limits)
            exact = Fraction((2_000 * WAD + 1) * skew, (9_999 * GWEI + 1) * YEAR_S)
            assert told == sign * floor(exact)


def test_r62__result__is_toward_minus_infinity(world: World) -> None:
    """For whoever holds it, the house too: the parts never add up to more than the whole."""
    desk = skewed(world)
    for sub, change in ((0, 3 * WAD + STEP), (1, -2 * WAD - 5 * STEP)):
        desk.trade(desk.trader(sub), change)
    total = 0
    for account in (world.account(0), world.account(1), world.account(3), desk.house):
        held, mark = desk.held(account), desk.mark()
        result = floor(Fraction(held.size_wad * (mark.price_wad - mark.funding_wad), WAD))
        result -= held.cost_wad
        total += result
        assert desk.assess(account).equity_maint == desk.cash(account) + result
        assert world.system.lens.position(account, ETH).result_wad == result
    assert -4 < total <= 0


def test_r63__share_of_a_market__is_down(world: World) -> None:
    desk = skewed(world)
    desk.set_terms("ETH", weight_bps=3_333)
    at = desk.refresh().time
    free, mark = desk.perps.free_wad(), desk.mark()
    share = free * 3_333 // 10_000
    assert free * 3_333 % 10_000 != 0
    rate = RATE + mark.risk.l_init_e6
    units = Fraction(share * RATE * GWEI, mark.price_wad * rate)
    assert tuple(desk.perps.headroom_of(ETH))[1:] == (floor(units) * GWEI, at)


def test_r64__headroom__is_down_to_a_step(world: World) -> None:
    desk = skewed(world)
    share, mark = desk.perps.free_wad() // 2, desk.mark()
    for told, rate in (
        (desk.perps.headroom_of(ETH)[0], max(mark.risk.r_init_e6, RATE // 2)),
        (desk.perps.headroom_of(ETH)[1], RATE),
    ):
        units = Fraction(share * RATE * GWEI, mark.price_wad * (rate + mark.risk.l_init_e6))
        assert units.denominator != 1 and told == floor(units) * GWEI


def test_r65__requirement_of_the_house__is_up(world: World) -> None:
    desk = skewed(world)
    mark, longs = desk.mark(), desk.perps.exposure_of(ETH)[0] // GWEI
    rate = max(mark.risk.r_init_e6, RATE // 2) + mark.risk.l_init_e6
    exact = Fraction(mark.price_wad * longs * rate, GWEI * RATE)
    assert exact.denominator != 1
    assert desk.assess(desk.house).equity_init - desk.perps.free_wad() == ceil(exact)


def test_r66__premiums_owed__are_up(world: World) -> None:
    desk = skewed(world)
    skew = desk.skew() // GWEI
    exact = Fraction(desk.mark().price_wad * skew**2, 2 * 10**6 * GWEI * GWEI)
    assert exact.denominator != 1 and desk.perps.skew_charge_wad() == ceil(exact)


def test_r67__uncertainty_of_the_house__is_up(world: World) -> None:
    desk = skewed(world)
    mark = desk.mark()
    part = desk.market().terms.uncertainty_e6(mark.risk.sigma_e6)
    exact = Fraction(mark.price_wad * (desk.skew() // GWEI) * part, GWEI * RATE)
    assert exact.denominator != 1 and desk.perps.uncertainty_wad() == ceil(exact)


def test_r68__loan_for_a_loss__is_up_to_a_unit(world: World) -> None:
    desk = skewed(world)
    trader = desk.trader(cash=1)
    world.deposit(trader, "BTC", 10**8)
    desk.trade(trader, WAD + STEP)
    idle, house = world.system.vault.state().idle, desk.cash(desk.house)
    desk.trade(trader, -WAD - STEP)
    lost, lent = desk.cash(desk.house) - house, idle - world.system.vault.state().idle
    assert lost % UNIT != 0 and lent == ceil(Fraction(lost - WAD, UNIT))
    assert desk.cash(trader) == WAD + lent * UNIT - lost


def test_r69__repayment_from_a_gain__is_down_to_a_unit(world: World) -> None:
    desk = skewed(world)
    trader = world.open_account(leverage=2, mix={"BTC": 1})
    desk.trade(trader, 3 * WAD + STEP)
    world.set_price("ETH", 2_100)
    idle, moved = world.system.vault.state().idle, desk.settle(trader)
    paid = world.system.vault.state().idle - idle
    assert moved % UNIT != 0 and paid == floor(Fraction(moved, UNIT))
    assert desk.cash(trader) == moved - paid * UNIT


def test_r70__value_of_a_position__is_down(world: World) -> None:
    """Against a limit of 2**110, by less than a wei: at its edge in `test_perps_limits`."""
    desk = skewed(world)
    trader = desk.trader()
    desk.trade(trader, -WAD - STEP)
    world.set_price(QUOTE, "1.00000007")
    told = world.system.lens.position(trader, ETH)
    exact = Fraction((-WAD - STEP) * desk.mark().price_wad, WAD)
    assert exact.denominator != 1 and told.value_wad == floor(exact)


def short_house(world: World) -> tuple[Desk, int]:
    """A house below maintenance, and the long that it owes."""
    desk = open_desk(world, house_cash=30_000)
    desk.set_terms("ETH", weight_bps=5_000, max_funding_e6=0)
    desk.make_free()
    desk.refresh()
    trader = desk.trader()
    desk.trade(trader, 14 * WAD + STEP)
    world.set_price("ETH", "3300.00000007")
    return desk, trader


def test_r71__what_deleveraging_needs__is_up_to_a_step(world: World) -> None:
    desk, trader = short_house(world)
    missing, mark = -desk.assess(desk.house).excess_maint, desk.mark().for_house(-WAD)
    receipt = world.system.deleverager.adl(trader, ETH, 2**100, sender=world.keeper)
    closed = -args_of(world.system.deleverager, receipt, "Deleveraged").size_change
    freed = Fraction(mark.price_wad * (mark.risk.r_maint_e6 + mark.risk.l_maint_e6), RATE)
    exact = missing * WAD / freed
    assert exact.denominator != 1
    assert closed == ceil(exact / STEP) * STEP
    assert 0 <= desk.assess(desk.house).excess_maint < freed * STEP / WAD + 4


def test_r72__what_is_deleveraged__is_down_to_a_step(world: World) -> None:
    desk, trader = short_house(world)
    world.set_price("ETH", 3_700)
    world.system.deleverager.adl(trader, ETH, WAD + STEP - 1, sender=world.keeper)
    assert desk.held(trader).size_wad == 13 * WAD + STEP


@pytest.mark.parametrize("sign", [1, -1])
def test_r73__entry_and_break_even__are_up_for_a_long_and_down_for_a_short(
    world: World, sign: int
) -> None:
    desk = skewed(world)
    trader = desk.trader()
    for change in (3 * WAD, STEP, 7 * WAD // 10):
        desk.trade(trader, sign * change)
    told, held = world.system.lens.position(trader, ETH), desk.held(trader)
    rounded = ceil if sign > 0 else floor
    entry = Fraction(held.entry_wad * WAD, held.size_wad)
    even = Fraction(held.cost_wad * WAD, held.size_wad) + desk.mark().funding_wad
    assert entry.denominator != 1 and even.denominator != 1
    assert (told.entry_price_wad, told.break_even_wad) == (rounded(entry), rounded(even))


@pytest.mark.parametrize("sign", [1, -1])
def test_r74__liquidation_price__is_the_last_at_maintenance(world: World, sign: int) -> None:
    desk = skewed(world)
    trader = desk.trader(cash=10_000)
    desk.trade(trader, sign * (12 * WAD + STEP))
    price, has_price = world.system.lens.liquidation_price(trader, ETH)
    assert has_price
    leg = Leg(ETH, desk.held(trader), desk.mark())
    rest = desk.assess(trader).excess_maint - leg.terms.excess_maint
    at, beyond = (terms_of(leg.position, leg.mark, p).excess_maint for p in (price, price - sign))
    assert rest + at >= 0 > rest + beyond


def test_r75__largest_trade__is_down_to_a_step(world: World) -> None:
    desk = skewed(world)
    trader = desk.trader(cash=10_000)
    with world.chain.one_block():
        largest = world.system.lens.largest_trade(trader, ETH, True)
        assert largest % STEP == 0
        with reverts("margin: initial margin short"):
            desk.trade(trader, largest + STEP)
        desk.trade(trader, largest)


# ---- trades of the default hook


def test_r76__expected_cost_of_a_trade__is_up_to_a_millionth(world: World) -> None:
    """Of each unit what all cost in the mean, for the market is deep."""
    desk = skewed(world)
    account = desk.trader(cash=50_000)
    desk.trade(account, 20 * WAD)
    spare = desk.assess(account).excess_init // UNIT * 99 // 100
    world.borrow(account, spare)
    world.enrol(account, trigger_bps=12_900, slippage_bps=300, actions=2)
    step = world.rebalancer.plan(account).steps[0]
    assert step.kind == 6, "a trim"
    price, index, _ = desk.perps.quote(ETH, account, -20 * WAD)
    cost_e6 = Fraction((index - price) * RATE, index)
    assert cost_e6.denominator != 1
    assert step.value == floor(Fraction(step.amount * desk.mark().price_wad, WAD))
    assert step.cost == ceil(Fraction(step.value * ceil(cost_e6), RATE))


def test_r77__what_a_budget_affords__is_down_to_a_lot(world: World) -> None:
    account = world.open_account(leverage=3, mix={"BTC": 1})
    spent = {"sales": {"BTC": 33}, "target_bps": 20_000, "budget_wad": 10 * WAD}
    world.enrol(account, trigger_bps=19_000, **spent)  # type: ignore[arg-type]
    step = world.rebalancer.plan(account).steps[0]
    left = 10 * WAD - 32 * UNIT
    value = Fraction(left * RATE, 33 * 100)
    assert value.denominator != 1
    assert step.amount == floor(floor(value) * Fraction(WAD, world.price_wad("BTC") * 10**10))
    assert step.cost <= left


# ---- the house's vault


def pool(decimals: int = 6) -> Liquidity:
    """A vault with shares whose house has a result that is not a whole unit."""
    liquidity = deploy_liquidity(RevmChain(), decimals)
    liquidity.enter(liquidity.provider, 1_000 * liquidity.unit + 1)
    liquidity.set_result(77 * WAD + 3)
    liquidity.set_markets(skew_charge=11 * WAD + 1, uncertainty=5 * WAD + 2)
    return liquidity


def pool_value(liquidity: Liquidity) -> int:
    """Equity less premiums owed, WAD."""
    return liquidity.house_cash() + 77 * WAD + 3 - 11 * WAD - 1


def pool_share(liquidity: Liquidity, total: int) -> Fraction:
    """Asset units of a share, with the virtual ones."""
    vault = liquidity.vault
    offset = 10 ** (vault.decimals() - liquidity.decimals)
    return Fraction(total + 1, vault.totalSupply() + offset)


def test_r78__value_of_the_house__is_down_to_a_unit() -> None:
    liquidity = pool()
    exact = Fraction(pool_value(liquidity), liquidity.unit_wad)
    assert exact.denominator != 1
    assert liquidity.vault.totalAssets() == floor(exact)
    left = Fraction(pool_value(liquidity) - 5 * WAD - 2, liquidity.unit_wad)
    assert liquidity.vault.exit_assets() == floor(left)


def test_r79__value_of_the_house_for_who_enters__is_up_to_a_unit() -> None:
    liquidity = pool()
    exact = Fraction(pool_value(liquidity) + 5 * WAD + 2, liquidity.unit_wad)
    assert exact.denominator != 1
    assert liquidity.vault.entry_assets() == ceil(exact)


def test_r80__shares_of_an_epoch__are_down() -> None:
    liquidity = pool()
    amount = 333 * liquidity.unit + 1
    epoch = liquidity.ask_in(liquidity.other_provider, amount)
    liquidity.pass_deposit_delay(epoch)
    exact = amount / pool_share(liquidity, liquidity.vault.entry_assets())
    receipt = liquidity.vault.fulfil_deposits(epoch, sender=liquidity.keeper)
    assert exact.denominator != 1 and receipt.return_value == floor(exact)


def test_r81__assets_of_an_epoch__are_down() -> None:
    liquidity = pool()
    shares = liquidity.shares(liquidity.provider) // 3
    epoch = liquidity.ask_out(liquidity.provider, shares)
    liquidity.pass_redeem_delay(epoch)
    exact = shares * pool_share(liquidity, liquidity.vault.exit_assets())
    receipt = liquidity.vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
    assert exact.denominator != 1 and receipt.return_value == floor(exact)


def test_r82__shares_for_what_the_house_can_pay__are_up() -> None:
    liquidity = pool()
    shares = liquidity.shares(liquidity.provider) // 3
    epoch = liquidity.ask_out(liquidity.provider, shares)
    liquidity.set_free(100 * WAD + 7)
    liquidity.pass_redeem_delay(epoch)
    price = pool_share(liquidity, liquidity.vault.exit_assets())
    receipt = liquidity.vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
    paid = args_of(liquidity.vault, receipt, "RedemptionsFulfilled")
    assert paid.assets == 100 * liquidity.unit
    exact = paid.assets / price
    assert exact.denominator != 1 and paid.shares == ceil(exact)


def test_r83__part_of_an_epoch__is_down() -> None:
    """Each his part; together never more than the epoch got."""
    liquidity = pool()
    vault, whole = liquidity.vault, 0
    asked = {liquidity.provider: 100 * liquidity.unit + 1, liquidity.other_provider: 7}
    for who, amount in asked.items():
        epoch = liquidity.ask_in(who, amount)
    shares = liquidity.fulfil_in(epoch)
    for who, amount in asked.items():
        due = Fraction(amount * shares, sum(asked.values()))
        assert due.denominator != 1 and vault.maxMint(who) == floor(due)
        whole += vault.maxMint(who)
    assert whole <= shares


def claimable(liquidity: Liquidity) -> tuple[str, int, int]:
    """Somebody with assets given and shares due."""
    who = liquidity.other_provider
    liquidity.fulfil_in(liquidity.ask_in(who, 333 * liquidity.unit + 1))
    return who, liquidity.vault.maxDeposit(who), liquidity.vault.maxMint(who)


def test_r84__what_is_due_for_a_part__is_down() -> None:
    liquidity = pool()
    who, given, due = claimable(liquidity)
    receipt = liquidity.vault.deposit(given // 3, who, who, sender=who)
    exact = Fraction(due * (given // 3), given)
    assert exact.denominator != 1 and receipt.return_value == floor(exact)


def test_r85__what_is_used_up_for_a_part__is_up() -> None:
    liquidity = pool()
    who, given, due = claimable(liquidity)
    receipt = liquidity.vault.mint(due // 3, who, who, sender=who)
    exact = Fraction(given * (due // 3), due)
    assert exact.denominator != 1 and receipt.return_value == ceil(exact)


def market_leg(collateral: int, size: int, cost: int, price: int, *rates: int) -> tuple[int, ...]:
    """As the mandates contract hands it out."""
    position = collateral | (size % 2**128) << 128
    return (1, position, cost, 0, price, risk_word(*rates, 10**15))


def test_r86__what_leaving_is_taken_to_cost__is_down() -> None:
    legs = [market_leg(x, -y, 0, 7 * WAD + 3, 1, 2, 3, 10_007) for x in ODD for y in ODD[:2]]
    for count in (1, 5, len(legs)):
        parts = [
            Fraction((7 * WAD + 3) * 10_007 * (x + y), WAD * RATE) for x in ODD for y in ODD[:2]
        ][:count]
        told = shell("LiquidationShell").exit_wad(legs[:count])
        assert told == sum(map(floor, parts)) < sum(parts)


def test_r87__discount__is_down() -> None:
    required, leaving, ramp = 10**21 + 7, 10**18 + 1, 1_200
    least, most = required * 500 // 10_000, required * 2_000 // 10_000
    for elapsed in (0, 1, 7, 599, 1_199, 1_200, 5_000):
        told = shell("LiquidationShell").discount_wad(
            required - 1, required, leaving, elapsed, ramp
        )
        depth = Fraction(2, required)
        exact = least + (most - least) * min(1, max(Fraction(elapsed, ramp), depth))
        # Progress is a part of 1e18.
        assert exact - Fraction(most - least, WAD) - 2 < told <= exact


def test_r88__fraction__is_up() -> None:
    for equity in (10**21 // 2, 10**21 - 1, 7 * 10**20 + 3):
        required, discount = 10**21 + 7, 10**20 + 1
        told = shell("LiquidationShell").fraction_wad(equity, required, discount, 12_500, 0)
        exact = Fraction(
            WAD * (12_500 * required - 10_000 * equity), 12_500 * required - 10_000 * discount
        )
        assert exact.denominator != 1 and told == ceil(exact)


def test_r89__what_is_taken__is_down_to_units_and_steps() -> None:
    part = WAD // 3
    for unit in (1, 10**10, 10**12):
        for size in (10**18 + 10**9, -(10**18) - 10**9, 7 * 10**9):
            holding = 7 * 10**18 // unit * unit + unit
            leg = market_leg(holding, size, 0, WAD, 1, 1, 1, 1)
            told = shell("LiquidationShell").part(leg, unit, part, 0)
            assert told.collateral_wad == holding * part // WAD // unit * unit
            steps = abs(size) * part // (WAD * GWEI) * GWEI
            assert told.size_wad == (steps if size > 0 else -steps)


def test_r90__result_that_goes_with_it__is_toward_zero() -> None:
    part, price = WAD // 3, 7 * WAD + 3_000_000_001
    for cost in (10**18 + 1, 10**20 + 7, -(10**18) - 1):
        for size in (10**18 + 10**9, 0):
            leg = market_leg(0, size, cost, price, 1, 1, 1, 1)
            told = shell("LiquidationShell").part(leg, 1, part, 7)
            result = Fraction((size * price // WAD - cost) * part, WAD)
            assert result.denominator != 1
            worth = told.size_wad * price // WAD - told.cost_wad
            assert worth == int(result) - 7 * part // WAD
    whole = shell("LiquidationShell").part(market_leg(3, 10**9, 5, 1, 1, 1, 1, 1), 1, WAD, 7)
    assert (whole.collateral_wad, whole.size_wad, whole.cost_wad) == (3, 10**9, 12)


def sunk(world: World) -> tuple[Floor, int, int]:
    """A victim and a taker."""
    floor_ = open_floor(world)
    victim = world.open_account(leverage="2.7", mix={"BTC": 1}, equity=10_007)
    taker = floor_.taker()
    floor_.sink(victim, name="BTC")
    return floor_, victim, taker


def test_r91__bonus__is_down(world: World) -> None:
    floor_, victim, taker = sunk(world)
    before = floor_.assess(victim)
    preview = floor_.liquidator.preview(victim)
    receipt = floor_.liquidate(victim, taker)
    told = args_of(floor_.liquidator, receipt, "Liquidated")
    freed = before.required_maint - floor_.assess(victim).required_maint
    exact = Fraction(preview.discount_wad * freed, before.required_maint)
    assert exact.denominator != 1 and told.bonus_wad == floor(exact)


def test_r92__part_for_insurance__is_down(world: World) -> None:
    floor_, victim, taker = sunk(world)
    told = args_of(floor_.liquidator, floor_.liquidate(victim, taker), "Liquidated")
    exact = Fraction(told.bonus_wad * floor_.liquidator.terms().insurance_bps, 10_000)
    assert exact.denominator != 1 and told.fee_wad == floor(exact)


def test_r93__debt_taken_over__is_up(world: World) -> None:
    floor_, victim, _ = sunk(world)
    world.wait(86_400)
    poor = world.account(7, world.other_owner)
    world.deposit(poor, "ETH", 1_000 * WAD)
    owed = debt_units(world, victim)
    receipt = floor_.liquidate(victim, poor)
    told = args_of(floor_.liquidator, receipt, "Liquidated")
    (moved,) = (e.args for e in floor_.liquidator.events(receipt, "DebtMoved"))
    (taken,) = (e.args.holdings for e in floor_.liquidator.events(receipt, "HoldingsTaken"))
    value = taken[0].collateral_wad * world.price_wad("BTC") // WAD
    # He pays a loan share more, and first with what is left of the loan that paid the fee.
    left = value - told.bonus_wad + ceil(index(world)) * UNIT - -told.fee_wad % UNIT
    units = ceil(Fraction(left, UNIT))
    assert moved.shares == ceil(units / index(world))
    assert debt_units(world, victim) <= owed - units


def test_r94__entry_that_rests__is_toward_zero(world: World) -> None:
    floor_ = open_floor(world)
    victim = floor_.trader(cash=2_000)
    floor_.trade(victim, 3 * WAD + STEP)
    taker = floor_.taker()
    floor_.sink(victim)
    before = floor_.held(victim)
    floor_.liquidate(victim, taker)
    after = floor_.held(victim)
    exact = Fraction(before.entry_wad * after.size_wad, before.size_wad)
    assert exact.denominator != 1 and after.entry_wad == int(exact)


def test_r95__pay_for_a_rescue__is_down_to_a_unit(world: World) -> None:
    floor_ = open_floor(world)
    victim = world.open_account(leverage="2.7", equity=3_007)
    world.enrol(victim)
    taker = floor_.taker()
    floor_.sink(victim)
    required = floor_.assess(victim).required_maint
    receipt = floor_.liquidate(victim, taker)
    exact = Fraction(required * floor_.liquidator.terms().rescue_pay_bps, 10_000)
    pay = args_of(floor_.liquidator, receipt, "Rescued").pay_wad
    assert exact < 50 * WAD and pay == floor(exact / UNIT) * UNIT < exact


def test_r96__what_the_house_bears_in_a_day__is_down(world: World) -> None:
    floor_ = open_floor(world)
    victim = world.open_account(leverage="2.7", equity=10**6)
    taker = floor_.taker(cash=10**7)
    floor_.drop(900)
    equity = floor_.assess(floor_.house).equity_init
    receipt = floor_.liquidate(victim, taker)
    told = args_of(floor_.liquidator, receipt, "DeficitBooked")
    exact = Fraction(equity * floor_.liquidator.terms().house_day_bps, 10_000)
    assert told.house_wad == floor(exact) and told.lenders_wad > 0


def test_r97__insured_part_of_a_fee__is_down() -> None:
    for gwei in (1, -7, 10**9 + 1):
        for fee in (1, 5_501, 999_999):
            exact = Fraction(abs(gwei) * (2_000 * WAD + 7) * fee, 10 * RATE * WAD)
            told = shell("LiquidationShell").insured_part_gwei(gwei, 2_000 * WAD + 7, fee)
            assert exact.denominator != 1 and told == floor(exact)


def test_r98__loan_shares_written_off__are_down_on_both_sides(world: World) -> None:
    floor_ = open_floor(world, house_cash=0)
    victim = world.open_account(leverage="2.7", equity=10**6)
    taker = floor_.taker(cash=10**7)
    world.wait(86_400)
    floor_.drop(900)
    vault = world.system.vault
    receipt = floor_.liquidate(victim, taker)
    told = args_of(vault, receipt, "BadDebtRealised")
    (moved,) = (e.args for e in floor_.liquidator.events(receipt, "DebtMoved"))
    left = Fraction(told.debt_shares * vault.state().index_wad, WAD)
    debt = Fraction((told.debt_shares + told.shares) * vault.state().index_wad, WAD)
    assert moved.heir == 0 and moved.shares == told.shares
    assert debt.denominator != 1 != left.denominator
    assert told.assets == floor(debt) - floor(left)


# ---- nothing to gain


@pytest.mark.parametrize("kind", [1, 3])
def test_no_rounding__is_a_way_to_gain(world: World, kind: int) -> None:
    """Paying in by single units never lowers a debt by more than was paid."""
    account = borrowed(world)
    world.fund(world.owner, QUOTE, 16)
    shares = world.clearinghouse.account_word(account) >> 128
    world.clearinghouse.batch([action(kind, account, amount=1)] * 16, sender=world.owner)
    after = world.clearinghouse.account_word(account) >> 128
    assert (shares - after) * index(world) <= 16


def test_r99__loan_share_that_a_taker_pays__is_up(world: World) -> None:
    floor_, victim, taker = sunk(world)
    preview = floor_.liquidator.preview(victim)
    receipt = floor_.liquidate(victim, taker)
    paid = [e.args.amount_wad for e in floor_.liquidator.events(receipt, "CashPaid")]
    assert index(world).denominator != 1
    assert paid == [preview.fee_wad, preview.flow_wad + ceil(index(world)) * UNIT]


def savers() -> World:
    """Shares of a dollar vault that earns, a while after they were listed."""
    world = build_world(vaults={"SHARES": VaultSpec()})
    world.chain.advance(10_007)
    return world


def test_r100__price_of_a_share__is_down() -> None:
    world = savers()
    feed = world.share_feeds["SHARES"]
    exact = Fraction(10**8 * feed.rate_wad(), WAD)
    assert exact.denominator != 1 and feed.latestRoundData()[1] == floor(exact)


def test_r101__growth_of_a_rate__is_down() -> None:
    """A gift takes the live rate above what it may have grown to."""
    world = savers()
    feed, vault = world.share_feeds["SHARES"], world.tokens["SHARES"]
    feed.checkpoint(sender=world.stranger)
    world.fund(vault, QUOTE, vault.totalAssets())
    world.chain.advance(1_237)
    rate, _, at = feed.last_checkpoint()
    exact = rate * (1 + Fraction(feed.GROWTH_WAD() * (world.chain.time - at), WAD))
    assert exact.denominator != 1 and feed.rate_wad() == floor(exact) < feed.live_rate_wad()


def test_r102__value_that_uses_an_amount__is_down() -> None:
    for amount in ODD:
        for use in (3, 999_983, 10**6 + 1):
            assert allocation._part_of(amount, use) == floor(Fraction(amount * RATE, use))


def wishing(world: World, cost_bps: int = 37, actions: int = 0, **wishes: Any) -> tuple[int, Any]:
    """2x, three parts of ETH and one of BTC, and the plan for what is wished for."""
    fund_house(world)
    price_pairs(world)
    account = world.open_account(leverage=2, mix={"ETH": 3, "BTC": 1})
    wish(world, account, **wishes)
    enrol(world, account, actions=actions, sales={"ETH": cost_bps, "BTC": cost_bps})
    return account, world.rebalancer.plan(account)


def test_r103__expected_cost_of_a_cut__is_up(world: World) -> None:
    _, plan = wishing(world, position_bps=8_001)
    (step,) = plan.steps
    exact = Fraction(step.value * 37, 10_000)
    assert exact.denominator != 1 and step.cost == ceil(exact)


def test_r104__cut_to_a_limit__is_down(world: World) -> None:
    world.set_price("ETH", "2000.12345678")
    account, plan = wishing(world, position_bps=8_001)
    equity = world.clearinghouse.assess(account)[0]
    exact = exposure(world, account, "ETH") - Fraction(equity * 8_001, 10_000)
    assert exact.denominator != 1 and plan.shortfall == floor(exact)
    (step,) = plan.steps
    price = world.price_wad("ETH")
    assert step.value <= plan.shortfall < step.value + price * 10 * world.unit_wad("ETH") // WAD + 2


def test_r105__swap_toward_a_weight__is_down(world: World) -> None:
    account, plan = wishing(world, drift_bps=100, weights={"ETH": 5_003, "BTC": 4_997})
    (step,) = plan.steps
    whole = exposure(world, account, "ETH") + exposure(world, account, "BTC")
    over = exposure(world, account, "ETH") - Fraction(whole * 5_003, 10_000)
    assert (step.asset, step.bought) == (ETH, BTC)
    assert 0 < step.value < over and over - step.value < over / 50


def test_r106__growth_up_to_a_ceiling__is_down(world: World) -> None:
    fund_house(world)
    account = world.account()
    world.deposit(account, QUOTE, world.units(QUOTE, 20_000))
    trade(world, account, "ETH", WAD)
    wish(world, account, ceiling_bps=30_001)
    enrol(world, account, actions=MAY_RERISK, sales={})
    equity, required, _, _ = world.clearinghouse.assess(account)
    (step,) = world.rebalancer.plan(account).steps
    rates = world.system.oracle.marks([ETH])[1]
    rate = Fraction((rates & 2**24 - 1) + ((rates >> 24) & 2**24 - 1), 10**6)
    exact = (equity - Fraction(required * 30_001, 10_000)) / (Fraction(30_001, 10_000) * rate)
    assert step.amount % STEP == 0 and 0 < step.value <= exact
    world.mandates.rebalance(account, sender=world.keeper)
    equity, required, _, _ = world.clearinghouse.assess(account)
    assert equity * 10_000 >= required * 30_001


def test_r107__step_of_a_parameter__is_down(council: Council) -> None:
    """A tenth of 1,009 is 100."""
    governance, vault = council.governance, council.world.system.vault
    governance.set_deposit_cap(vault, 1_009, sender=council.steward)
    with reverts("governance: step too large"):
        governance.set_deposit_cap(vault, 1_110, sender=council.steward)
    governance.set_deposit_cap(vault, 1_109, sender=council.steward)


def test_r108__end_of_a_pause__is_down_to_a_step(world: World) -> None:
    until = world.chain.time // 256 * 256 + 10 * 256
    world.system.oracle.set_pause(ETH, until + 255, sender=world.governor)
    assert world.system.oracle.paused_until(ETH) == until


def limited(world: World, amount: int, bps: int = 3_333) -> int:
    """Deposits an odd amount of ETH and limits its outflow; returns it in units of 2^24 WAD."""
    world.deposit(world.account(), "ETH", amount)
    world.system.listings.set_outflow_limit(ETH, bps, 24, sender=world.governor)
    return amount // 2**24


def test_r109__level_of_an_outflow__is_up(world: World) -> None:
    """While it falls by a part of a day that does not divide; `ballast.model` has both ways."""
    whole = limited(world, 100 * WAD + 12_345)
    listings = world.system.listings
    with world.chain.one_block():
        start = world.chain.time
        taken = int(listings.withdrawable_wad(ETH)) // 2**24
        world.clearinghouse.withdraw(
            world.account(), ETH, taken * 2**24, world.owner, sender=world.owner
        )
    world.chain.set_time(start + 7_777)
    left = whole - taken
    with world.chain.one_block():
        passed = Fraction(world.chain.time - start, 86_400)
        level = whole - floor((whole - left) * passed)
        told = int(listings.withdrawable_wad(ETH)) // 2**24
        assert told == left - (level - level * 3_333 // 10_000)


def test_r110__part_that_may_leave__is_down(world: World) -> None:
    whole = limited(world, 100 * WAD + 7 * 2**24)
    assert Fraction(whole * 3_333, 10_000).denominator != 1
    told = int(world.system.listings.withdrawable_wad(ETH)) // 2**24
    assert told == floor(Fraction(whole * 3_333, 10_000))


def test_r111__balance_in_units_of_an_outflow__is_down(world: World) -> None:
    limited(world, 2**24 * 3 - 1, 10_000)
    assert world.system.listings.withdrawable_wad(ETH) == 2 * 2**24
