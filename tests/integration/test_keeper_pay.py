"""What gas costs, on a node that has a price for it: who is paid for it, and who waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ballast.chain import BLOCK_INTERVAL_S, Anvil, Receipt, RpcChain
from ballast.chain.rpc import Rpc, UnlockedSigner
from ballast.model.plan import Code
from tests.clearing_kit import args_of
from tests.conftest import reverts
from tests.support import allocations
from tests.support.reading import read_bounds
from tests.support.world import QUOTE, WAD, World, build_world

GWEI = 10**9
TANK = 9


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Its own node, for prices of gas outlast a test."""
    with Anvil() as node:
        yield build_world(chain=RpcChain(node.url, block_interval_s=BLOCK_INTERVAL_S))


def ask(world: World, base_fee_wei: int) -> None:
    """The next block's base fee."""
    world.chain.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(base_fee_wei))


def sinking(world: World, sub: int, **bounds: int) -> int:
    """Below its trigger and above initial margin."""
    account = world.open_account(leverage=3, sub=sub)
    world.bound(account, **bounds)
    world.enrol(account, trigger_bps=12_900)
    return account


def paying(world: World, sub: int) -> int:
    """The same beside a tank of 1,000 dollars that pays for gas alone."""
    tank = world.account(TANK)
    world.deposit(tank, QUOTE, world.units(QUOTE, 1_000))
    world.make_donor(tank, floor_bps=10_000)
    return sinking(world, sub, payer=TANK, pay_cap=100 * WAD, gap_per_pay=2)


def assert_paid(world: World, account: int, receipt: Receipt, price_wei: int) -> int:
    """Gas at this price, ether at 2,000, and 15% more. Returns the pay, WAD."""
    amount = int(args_of(world.mandates, receipt, "KeeperPaid").amount * world.unit_wad(QUOTE))
    most = read_bounds(world, account).pay_wad(receipt.gas_used * price_wei * 2_000, 10**6 * WAD, 0)
    assert 0 < amount <= most
    # The hook cannot see what comes after it; what it counts for that is near what it is.
    assert most * 9 // 10 <= amount
    return amount


def test_pay__base_fee__is_paid_with_its_margin_in_quote_tokens(world: World) -> None:
    """20 gwei and a tip of one, ether at 2,000: what the call took and 15% more."""
    account = paying(world, 1)
    ask(world, 20 * GWEI)
    receipt = world.mandates.rebalance(account, sender=world.keeper)
    amount = assert_paid(world, account, receipt, 21 * GWEI)
    assert amount == world.clearinghouse.account_word(world.account(0, world.keeper)) % 2**128


class Bidder(UnlockedSigner):
    """Tips a hundred gwei."""

    def send(self, rpc: Rpc, transaction: dict[str, Any]) -> str:
        """Whatever the base fee is."""
        tip = {"maxFeePerGas": hex(500 * GWEI), "maxPriorityFeePerGas": hex(100 * GWEI)}
        return super().send(rpc, transaction | tip)


def test_pay__tip_of_a_hundred_gwei__is_paid_as_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever builds the block tips himself; an owner does not pay for it."""
    account = paying(world, 4)
    monkeypatch.setattr(world.chain, "signer", Bidder())
    ask(world, 20 * GWEI)
    receipt = world.mandates.rebalance(account, sender=world.stranger)
    assert_paid(world, account, receipt, 21 * GWEI)


def test_allocation__base_fee_above_the_cap__waits_whatever_it_is(world: World) -> None:
    """Nothing about how an account is made up is an emergency."""
    account = world.open_account(leverage=2, sub=3)
    allocations.wish(world, account, position_bps=8_000)
    world.bound(account, gas_cap_gwei=50)
    allocations.enrol(world, account)
    for base_fee_wei, code in ((50 * GWEI + 1, Code.GAS_TOO_DEAR), (50 * GWEI, Code.READY)):
        ask(world, base_fee_wei)
        world.chain.mine()
        assert world.rebalancer.plan(account).code == code


def test_rebalance__base_fee_above_the_cap__waits_for_an_emergency(world: World) -> None:
    account = sinking(world, 2, gas_cap_gwei=50)
    ask(world, 50 * GWEI + 1)
    world.chain.mine()
    assert world.rebalancer.plan(account).code == Code.GAS_TOO_DEAR
    assert world.rebalancer.is_triggered(account)
    ask(world, 50 * GWEI + 1)
    with reverts("rebalancer: gas too dear"):
        world.mandates.rebalance(account, sender=world.keeper)
    ask(world, 50 * GWEI)
    world.chain.mine()
    assert world.rebalancer.plan(account).code == Code.READY
    world.set_price("ETH", 1_700)
    ask(world, 500 * GWEI)
    world.mandates.rebalance(account, sender=world.keeper)
    assert world.rebalancer.last_at(account) == world.chain.time
