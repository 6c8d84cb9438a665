"""The lens says what the contracts say, for many accounts at once."""

from __future__ import annotations

from tests.support.world import QUOTE, WAD, ZERO_ADDRESS, World


def test_healths__many_accounts__are_those_of_assess_in_order(wide_world: World) -> None:
    world = wide_world
    names = world.names
    accounts = [
        world.open_account(leverage=1 + sub % 3, mix={n: 1 for n in names[sub : sub + 5]}, sub=sub)
        for sub in range(8)
    ]
    world.set_price("ETH", 1_900)
    asked = [*accounts, world.account(99), accounts[3], accounts[3]]
    told = world.system.lens.healths(asked)
    assert [tuple(health) for health in told] == [
        tuple(world.clearinghouse.assess(account)) for account in asked
    ]
    assert list(world.system.lens.healths([])) == []


def test_healths__stale_price_and_interest__are_those_of_assess(world: World) -> None:
    account = world.open_account(leverage=3, mix={"ETH": 1, "BTC": 1})
    world.make_stale("ETH")
    world.chain.advance(30 * 86_400)
    told = world.system.lens.healths([account])[0]
    assert tuple(told) == tuple(world.clearinghouse.assess(account))
    assert told.equity_init < 10_000 * WAD


def test_healths__a_thousand_accounts__fit_in_one_call(world: World) -> None:
    account = world.open_account(leverage=3)
    told = world.system.lens.healths([account] * 1_000)
    assert len(told) == 1_000 and len(set(map(tuple, told))) == 1
    assert tuple(told[0]) == tuple(world.clearinghouse.assess(account))


def test_plans__enrolled_and_not__are_those_of_the_hook(world: World) -> None:
    ready, idle = world.open_account(leverage=3), world.open_account(leverage=2, sub=1)
    world.enrol(ready, trigger_bps=12_900)
    told = world.system.lens.plans([ready, idle])
    assert list(told) == [world.rebalancer.plan(ready), world.rebalancer.plan(idle)]
    assert [plan.code for plan in told] == [0, 1]


def test_picture__enrolled_account__holds_everything_about_it(world: World) -> None:
    account = world.open_account(leverage=3, mix={"BTC": 1, "ETH": 1}, sub=5)
    world.enrol(account, trigger_bps=12_900, wallet_cap_wad=7 * WAD, budget_wad=9 * WAD)
    told = world.system.lens.picture(account)
    house, mandates = world.clearinghouse, world.mandates
    assert (told.owner, told.sub) == (world.owner, 5)
    assert told.cash == house.cash_of(account)
    assert tuple(told.health) == tuple(house.assess(account))
    assert (told.hook, told.guard) == (world.rebalancer.address, mandates.guard_of(account))
    assert (told.budget_left, told.wallet_left) == (9 * WAD, 7 * WAD)
    assert told.plan == world.rebalancer.plan(account)
    assert [holding.asset for holding in told.holdings] == [2, 1]
    assert sum(h.required_init for h in told.holdings) == told.health.required_init
    for holding, name in zip(told.holdings, ("BTC", "ETH"), strict=True):
        mark = world.system.oracle.marks([holding.asset])
        assert holding.token == world.tokens[name].address
        assert holding.collateral_wad == house.position_word(account, holding.asset)
        assert (holding.size_wad, holding.is_live) == (0, True)
        assert holding.price_wad == world.price_wad(name)
        assert holding.r_init_e6 | holding.l_init_e6 << 24 == mark[1] & 2**48 - 1
        assert holding.r_maint_e6 | holding.l_maint_e6 << 24 == mark[1] >> 48 & 2**48 - 1
        assert holding.quota_wad == (mark[1] >> 96 & 2**72 - 1) * 10**9
        assert holding.sigma_e6 == mark[1] >> 208


def test_picture__stale_asset__is_marked_so(world: World) -> None:
    account = world.open_account(leverage=2, mix={"ETH": 1, "BTC": 1})
    world.make_stale("ETH")
    told = world.system.lens.picture(account)
    assert [(h.asset, h.is_live) for h in told.holdings] == [(1, False), (2, True)]


def test_picture__another_hook__has_an_empty_plan(world: World) -> None:
    account = world.open_account(leverage=3)
    guard = (13_000, 300, 100, 0, 0, 0)
    world.mandates.set_guard(account, world.attacker, guard, sender=world.owner)
    told = world.system.lens.picture(account)
    assert told.hook == world.attacker
    assert (told.plan.code, told.plan.shortfall, list(told.plan.steps)) == (0, 0, [])


def test_picture__account_without_anything__is_empty(world: World) -> None:
    told = world.system.lens.picture(world.account(200))
    assert (told.cash, told.hook, list(told.holdings)) == (0, ZERO_ADDRESS, [])
    assert (told.budget_left, told.wallet_left) == (0, 0)
    world.deposit(world.account(200), QUOTE, 1)
    assert world.system.lens.picture(world.account(200)).cash == 10**12
