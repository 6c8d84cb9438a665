"""What each operation costs: `make gas` measures them all and writes `tests/gas/snapshot.json`.

    python -m ballast.gas             # measure on a fresh Anvil, write the snapshot and the table
    python -m ballast.gas --readme    # only rewrite README's tables and the picture of docs/gas.md

A figure is the total `gasUsed` of one transaction: hardfork prague, a block of its own 12 seconds
after the one before (so interest accrues), cold accounts and slots, every written slot non-zero
before, infinite allowances, a live feed for the quote token, newest rounds one or more blocks old.
Views are sent as transactions too, so their figures hold the 21,000 and the call data as well.

A trace of each transaction tells how much of it is computing: every instruction but those that
reach storage, other contracts and logs. The rest is what the EVM charges for what a row reads,
writes, calls and tells, however it is computed; a target below that is out of reach of its checks.

The oracle reads the newest round of every feed in every call, so that no one can hold back a price.
All rows contain these reads; the row "feed read" tells what one of them costs. The peers were
measured with oracles that keep one price in one slot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ballast.artifacts import ROOT
from ballast.chain import BLOCK_INTERVAL_S, Anvil, Contract, Receipt, RpcChain
from ballast.deploy import (
    WAD,
    Market,
    System,
    account_id,
    deploy,
    deploy_share_adapter,
    load_parameters,
)
from ballast.gas_growth import growth
from ballast.governance import govern
from ballast.readme import README, contracts_table, with_table
from ballast.venue import FEE_PPM, Arbitrageur, Venue, deploy_venue, deploy_weth

SNAPSHOT = ROOT / "tests" / "gas" / "snapshot.json"
GAS_PAGE = ROOT / "docs" / "gas.md"
GROWTH = ROOT / "docs" / "gas" / "growth.svg"
SIZE_LIMIT = 24_000  # bytes; EIP-170 ends at 24,576
TOLERANCE = 0.01
BATCH_TARGET_MS = 30
BATCHES = 10  # calls for the healths of 10,000 accounts
BATCHES_TARGET_MS = 300
BEYOND = "\\*"  # in Markdown, of a target out of reach
TABLE_WIDTH = 120  # also where the output goes to a file


@dataclass(frozen=True)
class Reference:
    """What an operation is measured against, in gas; None where there is nothing to compare."""

    target: int | None = None
    peer: int | None = None  # the best of those that do the same job
    floor: int | None = None  # what the EVM charges for the reads, writes and transfers alone


# Peers: Yearn V3 (vault), Morpho (deposit, n = 1), Compound III (n = 2 to 8, health, repay),
# Morpho's pre-liquidation (rebalance), LLAMMA (internal rebalance), Morpho's lens (batch, isolated
# accounts), Morpho (liquidation, n = 1), Compound III's absorb (n = 2 to 8), Derive (trades, which
# it measures for two accounts, liquidations and health with perpetuals). n is
# the number of collaterals, m that of perpetuals. Sales through Uniswap were given their targets
# with perpetuals beside the collaterals; where an account has none they are generous by up to
# 14,000 for each.
REFERENCES: dict[str, Reference] = {
    "vault deposit": Reference(68_000, 78_557, 58_200),
    "vault withdraw": Reference(68_000, 73_396, 56_800),
    "vault redeem": Reference(67_000, 73_362, 56_800),
    "deposit collateral": Reference(60_000, 53_539, 52_200),
    "withdraw collateral, n = 1": Reference(75_000, 89_912, 51_000),
    "withdraw collateral, n = 2": Reference(),
    "withdraw collateral, n = 4": Reference(),
    "withdraw collateral, n = 8": Reference(150_000, 232_130, 99_000),
    "borrow, n = 1": Reference(82_000, 92_544, 64_800),
    "borrow, n = 2": Reference(93_000, 124_375, 71_600),
    "borrow, n = 4": Reference(115_000, 162_751, 85_200),
    "borrow, n = 8": Reference(159_000, 239_800, 112_400),
    "each further collateral in a check": Reference(11_000, 19_200, 4_200),
    "repay": Reference(70_000, 74_744, 55_000),
    "trade, n = 1, m = 1": Reference(90_000, 519_697, 51_000),
    "trade, n = 2, m = 2": Reference(115_000, 759_582, 67_000),
    "trade, n = 4, m = 4": Reference(165_000, 1_323_721, 98_000),
    "trade, n = 8, m = 8": Reference(265_000, 2_795_360, 161_000),
    "reduction, n = 2, m = 2": Reference(),
    "trade, first of its market, n = 1": Reference(),
    "each further perpetual in a check": Reference(14_000, 95_000, 8_900),
    "withdraw collateral, n = 2, m = 2": Reference(),
    "settle a gain": Reference(),
    "headroom refresh, 8 markets": Reference(),
    "rebalance through Uniswap v3, n = 2": Reference(185_000, 144_279, 155_000),
    "rebalance through Uniswap v3, n = 4": Reference(245_000, None, 195_000),
    "rebalance through Uniswap v3, n = 8": Reference(345_000, None, 258_000),
    "rebalance through Uniswap v3, n = 2, m = 1": Reference(185_000, 144_279, 155_000),
    "rebalance through Uniswap v3, n = 4, m = 4": Reference(245_000, None, 195_000),
    "rebalance through Uniswap v3, n = 8, m = 8": Reference(345_000, None, 258_000),
    "bare Uniswap v3 swap": Reference(),
    "rebalance above the bare swap, n = 2": Reference(70_000, None, None),
    "rebalance with a sibling's cash, n = 2": Reference(100_000, 110_056, 57_400),
    "rebalance with a sibling's collateral, n = 2": Reference(100_000, 110_056, 57_400),
    "rebalance by a trim, n = 2, m = 1": Reference(100_000, 110_056, 57_900),
    "rebalance by a hedge, n = 2, m = 1": Reference(100_000, 110_056, 57_900),
    "liquidation, n = 1": Reference(98_000, 112_914, 72_000),
    "liquidation, n = 2": Reference(109_000, 153_587, 79_000),
    "liquidation, n = 4": Reference(131_000, 209_240, 93_000),
    "liquidation, n = 8": Reference(175_000, 321_180, 120_000),
    "liquidation, n = 1, m = 1": Reference(115_000, 1_580_000, 81_000),
    "liquidation, n = 2, m = 2": Reference(140_000, 2_250_000, 97_000),
    "liquidation, n = 4, m = 4": Reference(190_000, 3_930_000, 128_000),
    "rescue before a liquidation, n = 2": Reference(),
    "flag": Reference(),
    "health view, n = 1": Reference(),
    "health view, n = 2": Reference(None, 80_780, None),
    "health view, n = 4": Reference(),
    "health view, n = 8": Reference(),
    "health view, n = 1, m = 1": Reference(),
    "health view, n = 2, m = 2": Reference(80_000, 344_852, 53_000),
    "health view, n = 4, m = 4": Reference(),
    "health view, n = 8, m = 8": Reference(),
    "health of 1,000 accounts, n = 2": Reference(None, 6_900_000, None),
    "health of 1,000 accounts, n = 2, m = 2": Reference(22_000_000, 6_900_000, 12_000_000),
    "health of 10,000 accounts, n = 2, m = 2": Reference(220_000_000, 72_600_000, 120_000_000),
    "feed read, per asset": Reference(),
    "price and rates, each further asset": Reference(),
    "refresh of one asset, new round": Reference(None, None, 10_000),
    "refresh of one asset, nothing new": Reference(),
    "rebalance_many, each quiet account, n = 2": Reference(),
    "rebalance_many, each through Uniswap v3, n = 2": Reference(),
    "round of a feed, nobody told": Reference(),
    "round of a feed, 1 account watched": Reference(),
    "round of a feed, 4 accounts watched": Reference(),
    "round of a feed, 16 accounts watched": Reference(),
    "round of a feed, 1 watched and rebalanced": Reference(),
    "round of a feed, 1 of 16 watched rebalanced": Reference(),
    "watch an account, first time": Reference(),
    "set guard, first time": Reference(),
    "set policy, first time": Reference(),
}

MAX_COLLATERALS = 8
LIQUIDATED = ((1, 0), (2, 0), (4, 0), (8, 0), (1, 1), (2, 2), (4, 4))  # (n, m)
PAIRED = ((2, 1), (4, 4), (8, 8))
BATCHED = 1_000  # accounts in the batch of healths
PRICE = 2_000  # dollars, of every collateral at the start
UNLIMITED = 2**256 - 1
DOLLAR = 10**6
ANSWER = 10**8
VIEW_GAS = 500_000_000
NOBODY = "0x" + "00" * 20
SHARE_GROWTH_WAD = WAD // 10 // 31_536_000  # 10% a year
SAMPLING_S = 300  # the oracle's grid

# Ratios in basis points. A guard: target, band, slippage, floor, wallet cap and its period.
GUARD = (13_000, 300, 300, 0, 0, 0)
TRIGGER_BPS = 12_000
SETTLE, TRIM, HEDGE = 1, 2, 4  # bits of a policy's actions
FAR = 2**40 - 1
# What is not computing, besides logs.
ACCESSES = frozenset(
    {
        *("SLOAD", "SSTORE", "TLOAD", "TSTORE"),
        *("CALL", "STATICCALL", "DELEGATECALL"),
        *("EXTCODESIZE", "EXTCODEHASH", "BALANCE"),
    }
)
LISTENED_GAS = 16_000_000  # of a round whose listener is to be reached
DONOR_GUARD = (10_000, 300, 100, 10_000, 0, 0)


@dataclass
class Snapshot:
    """Gas of each operation, bytes of each deployed contract, and what is told but not kept."""

    gas: dict[str, int] = field(default_factory=dict)
    computing: dict[str, int] = field(default_factory=dict)  # of the gas; not of the batches
    deployed_bytes: dict[str, int] = field(default_factory=dict)
    batch_ms: float = 0.0  # one eth_call for the healths of 1,000 accounts, over HTTP
    batches_ms: float = 0.0  # ten of them, one after the other

    def to_json(self) -> str:
        """The text of the snapshot file: keys sorted, references beside the figures."""
        rows = {
            name: {
                "gas": gas,
                "computing": self.computing.get(name),
                "target": REFERENCES[name].target,
                "peer": REFERENCES[name].peer,
                "floor": REFERENCES[name].floor,
            }
            for name, gas in self.gas.items()
        }
        content = {"rows": rows, "deployed_bytes": self.deployed_bytes}
        return json.dumps(content, indent=2, sort_keys=True) + "\n"

    @classmethod
    def read(cls, path: Path = SNAPSHOT) -> Snapshot:
        """The figures of a snapshot file. Raises OSError or ValueError when there is none."""
        content = json.loads(path.read_text())
        rows = content["rows"]
        computing = {n: row["computing"] for n, row in rows.items() if row["computing"] is not None}
        gas = {name: int(row["gas"]) for name, row in rows.items()}
        return cls(gas, computing, dict(content["deployed_bytes"]))


def differences(old: Snapshot, new: Snapshot, tolerance: float = TOLERANCE) -> list[str]:
    """One line for each row or size that moved by more than ``tolerance``, appeared or vanished."""
    lines = []
    for unit, before, after in (
        ("gas", old.gas, new.gas),
        ("bytes", old.deployed_bytes, new.deployed_bytes),
    ):
        for name in sorted(before.keys() | after.keys()):
            was, now = before.get(name), after.get(name)
            if was is None or now is None or abs(now - was) > tolerance * was:
                told = ["none" if n is None else f"{n:,}" for n in (was, now)]
                lines.append(f"{name}: {told[0]} -> {told[1]} {unit}")
    return lines


################################################################
#                         The bench                            #
################################################################


class Bench:
    """A whole system with eight collaterals, as many perpetuals and a real Uniswap V3."""

    def __init__(self, chain: RpcChain) -> None:
        self.chain = chain
        self.governor, self.trader, self.lender, self.keeper, self.stranger = chain.accounts[:5]
        self.result = Snapshot()

        names = [f"ASSET-{i}" for i in range(1, MAX_COLLATERALS + 1)]
        self.quote = self._token("Dollar", "USD", 6)
        self.tokens = [self._token(name, name, 18) for name in names]
        self.venue = self._venue(names[0])
        self.quote_feed = self._feed("USD")
        self.feeds = [self._feed(name) for name in names]
        self.price = PRICE * ANSWER
        self.publish()
        self.system = self._system(names)
        self.clearinghouse = self.system.clearinghouse
        self.adapter = chain.deploy(
            "UniswapV3Adapter",
            self.system.exchange,
            self.venue.factory,
            self.governor,
            sender=self.governor,
        )
        self.adapter.set_fee_tier(self.tokens[0], self.quote, FEE_PPM, sender=self.governor)
        self.system.allow_adapter(self.adapter)
        for contract in (*self.system.contracts.values(), self.adapter, *self._share_contracts()):
            self.result.deployed_bytes[contract.name] = chain.code_size(contract.address)
        self._measure_hands()
        self._fund()

    # ---- set-up

    def _measure_hands(self) -> None:
        """Bytes of what owns a system that was handed over; here it stays the governor's."""
        who = self.governor
        with self.chain.isolated():
            hands = govern(
                self.system, delay_s=0, proposers=[who], executors=[who], guardian=who, steward=who
            )
            for contract in hands:
                self.result.deployed_bytes[contract.name] = self.chain.code_size(contract.address)

    def _share_contracts(self) -> tuple[Contract, ...]:
        """What shares of a vault need; here of the lending vault, for their size alone."""
        arguments = (self.system.vault, self.quote_feed, SHARE_GROWTH_WAD, True)
        feed = self.chain.deploy("VaultFeed", *arguments, sender=self.governor)
        return feed, deploy_share_adapter(self.system, ())

    def _token(self, name: str, symbol: str, decimals: int) -> Contract:
        return self.chain.deploy("MockToken", name, symbol, decimals, sender=self.governor)

    def _feed(self, name: str) -> Contract:
        return self.chain.deploy("MockFeed", 8, f"{name} / USD", sender=self.governor)

    def _venue(self, name: str) -> Venue:
        weth = deploy_weth(self.chain, self.governor)
        answers = {name: PRICE * ANSWER}
        return deploy_venue(
            self.chain, weth, self.quote, {name: self.tokens[0]}, answers, sender=self.governor
        )

    def _system(self, names: Sequence[str]) -> System:
        """The local parameters, with the terms of ether for every collateral and its perpetual."""
        parameters = load_parameters()
        ether = parameters["assets"]["ETH"]
        ether["perpetual"]["weight_bps"] = 10_000 // MAX_COLLATERALS
        parameters["assets"] = {name: {**ether, "id": i} for i, name in enumerate(names, 1)}
        markets = {
            name: Market(token, feed, PRICE * WAD)
            for name, token, feed in zip(names, self.tokens, self.feeds, strict=True)
        }
        self.chain.mine()
        return deploy(
            self.chain,
            parameters,
            governor=self.governor,
            quote=self.quote,
            quote_feed=self.quote_feed,
            markets=markets,
        )

    def _fund(self) -> None:
        """Wallets with infinite allowances, a vault with lenders, and someone else's cash."""
        router = self.venue.router
        with self.chain.one_block():
            for account in (self.trader, self.lender, self.stranger):
                for token in (self.quote, *self.tokens):
                    token.mint(account, 10**9 * WAD, sender=account)
                    for spender in (self.clearinghouse, self.system.vault, router):
                        token.approve(spender, UNLIMITED, sender=account)
        self.system.vault.deposit(10**9 * DOLLAR // 2, self.lender, sender=self.lender)
        self.clearinghouse.deposit(
            account_id(self.stranger), 0, 10**6 * DOLLAR, sender=self.stranger
        )
        self.clearinghouse.deposit(self.system.house, 0, 10**8 * DOLLAR, sender=self.stranger)

    def publish(self) -> None:
        """A new round of every feed, all in one block."""
        with self.chain.one_block():
            self.quote_feed.set_answer(ANSWER, sender=self.governor)
            for feed in self.feeds:
                feed.set_answer(self.price, sender=self.governor)

    def refresh(self) -> None:
        """New rounds, sampled two blocks later, so that no price is new and no volatility old."""
        self.publish()
        self.chain.mine()
        self.system.poke(self.keeper)
        self.system.perps.refresh(sender=self.keeper)

    def trade(self, account: int, asset: int, size: int) -> Receipt:
        """The trader's own trade at any price."""
        limit = UNLIMITED if size > 0 else 0
        receipt: Receipt = self.system.perps.trade(
            account, asset, size, limit, FAR, False, sender=self.trader
        )
        return receipt

    def account(self, sub: int, collaterals: int) -> int:
        """A sub-account of the trader with 50 units of the first collateral, 5 of each further one
        and a small loan."""
        account = account_id(self.trader, sub)
        actions = [_deposited(account, 1, 50 * WAD)]
        actions += [_deposited(account, i, 5 * WAD) for i in range(2, collaterals + 1)]
        actions.append(_withdrawn(account, 0, 1_000 * DOLLAR, self.trader))
        self.clearinghouse.batch(actions, sender=self.trader)
        return account

    def borrow_down_to(self, account: int, ratio_bps: int, more_wad: int = 0) -> None:
        """Borrows until equity is ``ratio_bps`` of the initial requirement and ``more_wad``."""
        equity, required, _, _ = self.clearinghouse.assess(account)
        amount = (equity - required * ratio_bps // 10_000 - more_wad) * DOLLAR // WAD
        self.clearinghouse.withdraw(account, 0, amount, self.trader, sender=self.trader)

    # ---- measuring

    def measure(self, name: str, receipt: Receipt) -> None:
        """Keeps what a transaction cost under a row's name, and how much of it was computing."""
        self.result.gas[name] = receipt.gas_used
        self.result.computing[name] = self._computing(receipt)

    def subtract(self, name: str, larger: str, smaller: str, parts: int = 1) -> None:
        """Keeps a part of the difference of two rows under a name of its own."""
        for figures in (self.result.gas, self.result.computing):
            figures[name] = (figures[larger] - figures[smaller]) // parts

    def _computing(self, receipt: Receipt) -> int:
        """Traced in the state before the transaction and at its time."""
        rpc = self.chain.rpc
        sent = rpc.request("eth_getTransactionByHash", receipt.tx_hash)
        block = rpc.request("eth_getBlockByNumber", hex(receipt.block), False)
        call = {"from": sent["from"], "to": sent["to"], "data": sent["input"], "gas": sent["gas"]}
        options = {
            "disableStorage": True,
            "disableStack": True,
            "blockOverrides": {"number": block["number"], "time": block["timestamp"]},
        }
        trace = rpc.request("debug_traceCall", call, hex(receipt.block - 1), options)
        if trace["gas"] != receipt.gas_used:
            raise RuntimeError(f"the trace took {trace['gas']:,} gas, not {receipt.gas_used:,}")
        return sum(
            step["gasCost"]
            for step in trace["structLogs"]
            if step["op"] not in ACCESSES and not step["op"].startswith("LOG")
        )


def _action(kind: int, account: int, asset: int, amount: int, target: str) -> tuple[Any, ...]:
    return (kind, account, 0, asset, 0, amount, 0, target)


def _deposited(account: int, asset: int, amount: int) -> tuple[Any, ...]:
    return _action(1, account, asset, amount, NOBODY)


def _withdrawn(account: int, asset: int, amount: int, receiver: str) -> tuple[Any, ...]:
    return _action(2, account, asset, amount, receiver)


################################################################
#                            Rows                              #
################################################################


def measure() -> Snapshot:
    """Deploys everything on a fresh Anvil and measures every row, in a few seconds."""
    with Anvil() as node:
        chain = RpcChain(node.url, block_interval_s=12)
        try:
            bench = Bench(chain)
            measure_all(bench)
        finally:
            chain.close()
    missing = REFERENCES.keys() - bench.result.gas.keys()
    if missing:
        raise RuntimeError(f"rows without a figure: {', '.join(sorted(missing))}")
    return bench.result


def measure_all(bench: Bench) -> None:
    """Every row. The order matters: prices fall at the end, and every refresh keeps feeds alive."""
    bench.refresh()
    accounts = {n: bench.account(n, n) for n in (1, 2, 4, 8)}
    for account in accounts.values():
        # The least that any one collateral lends is more, so that a check needs all of them.
        bench.borrow_down_to(account, 10_000, 5_000 * WAD)
    _measure_ledger(bench, accounts)
    traders = _measure_trades(bench)
    _measure_vault(bench)
    _measure_views(bench, accounts, traders)
    bench.refresh()
    _measure_oracle(bench)
    bench.refresh()
    _measure_rebalances(bench)
    bench.refresh()
    _measure_liquidations(bench)
    bench.refresh()
    _measure_keepers(bench)
    _measure_paired_rebalances(bench)


def _measure_ledger(bench: Bench, accounts: Mapping[int, int]) -> None:
    ledger, trader = bench.clearinghouse, bench.trader
    bench.measure("deposit collateral", ledger.deposit(accounts[8], 1, WAD, sender=trader))
    for n in accounts:
        receipt = ledger.withdraw(accounts[n], 1, WAD, trader, sender=trader)
        bench.measure(f"withdraw collateral, n = {n}", receipt)
    for n, account in accounts.items():
        receipt = ledger.withdraw(account, 0, 1_000 * DOLLAR, trader, sender=trader)
        bench.measure(f"borrow, n = {n}", receipt)
    bench.subtract("each further collateral in a check", "borrow, n = 8", "borrow, n = 1", 7)
    bench.measure("repay", ledger.repay(accounts[2], 1_000 * DOLLAR, sender=trader))


def _measure_trades(bench: Bench) -> dict[int, int]:
    """Accounts with as many perpetuals as collaterals; a trade that grows a position checks all."""
    bench.refresh()
    perps = bench.system.perps
    accounts = {n: bench.account(20 + n, n) for n in (1, 2, 4, 8)}
    other = bench.account(30, 1)
    bench.trade(other, 1, -WAD)  # a market is never without anybody
    for n, account in accounts.items():
        for asset in range(1, n + 1):
            receipt = bench.trade(account, asset, WAD)
            if (n, asset) == (1, 1):
                bench.measure("trade, first of its market, n = 1", receipt)
    bench.refresh()
    bench.measure("headroom refresh, 8 markets", perps.refresh(sender=bench.keeper))
    for account in accounts.values():
        # The least that any one collateral lends is more, so that a check needs all of them.
        bench.borrow_down_to(account, 10_000, 6_000 * WAD)
    for n, account in accounts.items():
        bench.measure(f"trade, n = {n}, m = {n}", bench.trade(account, 1, WAD))
    bench.measure("reduction, n = 2, m = 2", bench.trade(accounts[2], 1, -WAD // 2))
    name, collateral = "each further perpetual in a check", "each further collateral in a check"
    bench.subtract(name, "trade, n = 8, m = 8", "trade, n = 1, m = 1", 7)
    bench.subtract(name, name, collateral)
    receipt = bench.clearinghouse.withdraw(
        accounts[2], 1, WAD // 10, bench.trader, sender=bench.trader
    )
    bench.measure("withdraw collateral, n = 2, m = 2", receipt)
    return accounts


def _measure_vault(bench: Bench) -> None:
    vault, lender = bench.system.vault, bench.lender
    amount = 1_000 * DOLLAR
    bench.measure("vault deposit", vault.deposit(amount, lender, sender=lender))
    bench.measure("vault withdraw", vault.withdraw(amount, lender, lender, sender=lender))
    shares = vault.convertToShares(amount)
    bench.measure("vault redeem", vault.redeem(shares, lender, lender, sender=lender))


def _measure_views(bench: Bench, accounts: Mapping[int, int], traders: Mapping[int, int]) -> None:
    chain, stranger, gas = bench.chain, bench.stranger, bench.result.gas
    assess = bench.clearinghouse.assess
    for n in accounts:
        bench.measure(f"health view, n = {n}", assess.transact(accounts[n], sender=stranger))
        receipt = assess.transact(traders[n], sender=stranger)
        bench.measure(f"health view, n = {n}, m = {n}", receipt)

    batched = _many_accounts(bench)
    bench.refresh()
    healths = bench.system.lens.healths
    receipt = healths.transact(batched, sender=stranger, gas=VIEW_GAS)
    gas[f"health of {BATCHED:,} accounts, n = 2"] = receipt.gas_used
    _open_perpetuals(bench, batched)
    receipt = healths.transact(batched, sender=stranger, gas=VIEW_GAS)
    gas[f"health of {BATCHED:,} accounts, n = 2, m = 2"] = receipt.gas_used
    # As many calls, and each begins as cold as the first.
    many = f"health of {BATCHES * BATCHED:,} accounts, n = 2, m = 2"
    gas[many] = BATCHES * receipt.gas_used
    call = {
        "to": bench.system.lens.address,
        "data": "0x" + healths.encode(batched).hex(),
        "gas": hex(VIEW_GAS),
    }
    took = []
    for calls in (1, 1, 1, BATCHES):
        start = time.perf_counter()
        for _ in range(calls):
            chain.rpc.request("eth_call", call, "latest")
        took.append((time.perf_counter() - start) * 1_000)
    bench.result.batches_ms = took.pop()
    bench.result.batch_ms = min(took)


def _many_accounts(bench: Bench) -> list[int]:
    """Accounts with two collaterals and a loan, of as many owners as it takes; five to a batch."""
    owners = [f"0x{0xBA11A57 + i:040x}" for i in range((BATCHED + 255) // 256)]
    accounts = [account_id(owners[i // 256], i % 256) for i in range(BATCHED)]
    for owner in owners:
        with bench.chain.one_block():
            for token in bench.tokens[:2]:
                token.mint(owner, 10**6 * WAD, sender=owner)
                token.approve(bench.clearinghouse, UNLIMITED, sender=owner)
    for start in range(0, BATCHED, 256):
        owner, owned = owners[start // 256], accounts[start : start + 256]
        with bench.chain.one_block():
            for i in range(0, len(owned), 5):
                actions = []
                for account in owned[i : i + 5]:
                    actions += [_deposited(account, asset, WAD) for asset in (1, 2)]
                    actions.append(_withdrawn(account, 0, 500 * DOLLAR, owner))
                bench.clearinghouse.batch(actions, sender=owner)
    return accounts


def _open_perpetuals(bench: Bench, accounts: Sequence[int]) -> None:
    """A small short against each collateral, two accounts to a transaction."""
    for start in range(0, len(accounts), 64):
        bench.refresh()
        with bench.chain.one_block():
            for account in accounts[start : start + 64]:
                actions = [(6, account, FAR, asset, 1, WAD // 100, 0, NOBODY) for asset in (1, 2)]
                owner = f"0x{account >> 8:040x}"
                bench.clearinghouse.batch(actions, sender=owner)
    bench.refresh()


def _measure_oracle(bench: Bench) -> None:
    chain, oracle, keeper = bench.chain, bench.system.oracle, bench.keeper
    # How many rounds a poke walks through depends on the place in the grid of samples.
    chain.advance(-chain.time % SAMPLING_S + BLOCK_INTERVAL_S)
    bench.refresh()
    ids = list(range(1, MAX_COLLATERALS + 1))
    one, all_of_them = (
        oracle.marks.transact(assets, sender=keeper).gas_used for assets in (ids[:1], ids)
    )
    gas = bench.result.gas
    gas["price and rates, each further asset"] = (all_of_them - one) // (MAX_COLLATERALS - 1)
    gas["feed read, per asset"] = _feed_read_gas(bench, ids)

    bench.measure("refresh of one asset, nothing new", oracle.poke(ids[:1], sender=keeper))
    chain.advance(600)
    bench.feeds[0].set_answer(bench.price * 1_001 // 1_000, sender=bench.governor)
    bench.measure("refresh of one asset, new round", oracle.poke(ids[:1], sender=keeper))


def _feed_read_gas(bench: Bench, ids: Sequence[int]) -> int:
    """Mean over the feeds of assets: from the oracle's call of a feed to its next instruction."""
    oracle = bench.system.oracle
    call = {"to": oracle.address, "data": "0x" + oracle.marks.encode(list(ids)).hex()}
    options = {"disableStorage": True, "disableStack": True}
    trace = bench.chain.rpc.request("debug_traceCall", call, "latest", options)
    steps = [step for step in trace["structLogs"] if step["depth"] == 1]
    reads = [
        before["gas"] - after["gas"]
        for before, after in zip(steps, steps[1:], strict=False)
        if before["op"] == "STATICCALL"
    ]
    # The first read is the quote token's.
    return int(sum(reads[1:])) // (len(reads) - 1)


def _measure_rebalances(bench: Bench) -> None:
    """Each account stands a little above its trigger; a fall of 2% takes all of them below it."""
    chain, system, trader, keeper = bench.chain, bench.system, bench.trader, bench.keeper
    mandates, rebalancer, adapter = system.mandates, system.rebalancer, bench.adapter.address
    sellers = {n: bench.account(100 + n, n) for n in (2, 4, 8)}
    with_cash, with_collateral = (bench.account(sub, 2) for sub in (112, 122))
    trimmed, hedged = (bench.account(sub, 2) for sub in (132, 142))
    bench.trade(trimmed, 1, 20 * WAD)
    bench.trade(hedged, 1, -WAD)
    actions = {trimmed: TRIM, hedged: HEDGE}
    winner = bench.account(152, 1)
    bench.trade(winner, 1, -10 * WAD)
    donors = {with_cash: 113, with_collateral: 123}
    for donor, asset, amount in ((113, 0, 100_000 * DOLLAR), (123, 2, 200 * WAD)):
        account = account_id(trader, donor)
        bench.clearinghouse.deposit(account, asset, amount, sender=trader)
        mandates.set_guard(account, rebalancer, DONOR_GUARD, sender=trader)

    mandates.arm_budget((10_000 * WAD, 86_400, 10**6 * WAD), sender=trader)
    for account in (*sellers.values(), *donors, *actions):
        helpers = [donors[account]] if account in donors else []
        sales = [(1, 35, 0)] if account in sellers.values() else []
        guard_set = mandates.set_guard(account, rebalancer, GUARD, sender=trader)
        allowed = actions.get(account, 0)
        policy = (TRIGGER_BPS, 600, 0, False, helpers, sales, adapter, allowed, 0)
        policy_set = rebalancer.set_policy(account, policy, sender=trader)
        if account == sellers[2]:
            bench.measure("set guard, first time", guard_set)
            bench.measure("set policy, first time", policy_set)
        bench.borrow_down_to(account, TRIGGER_BPS + 100)

    chain.advance(600)
    bench.price = bench.price * 98 // 100
    bench.refresh()
    # This also writes the pool's own slots once, as everybody's are.
    Arbitrageur(bench.venue, bench.stranger).align("ASSET-1", bench.price)
    for n in (2, 4, 8):
        receipt = mandates.rebalance(sellers[n], sender=keeper)
        bench.measure(f"rebalance through Uniswap v3, n = {n}", receipt)
    bench.measure("bare Uniswap v3 swap", _swap(bench, 5 * WAD))
    sale, swap = "rebalance through Uniswap v3, n = 2", "bare Uniswap v3 swap"
    bench.subtract("rebalance above the bare swap, n = 2", sale, swap)
    for account, means in ((with_cash, "cash"), (with_collateral, "collateral")):
        receipt = mandates.rebalance(account, sender=keeper)
        bench.measure(f"rebalance with a sibling's {means}, n = 2", receipt)
    for account, means in ((trimmed, "trim"), (hedged, "hedge")):
        receipt = mandates.rebalance(account, sender=keeper)
        bench.measure(f"rebalance by a {means}, n = 2, m = 1", receipt)
    bench.measure("settle a gain", system.perps.settle(winner, 1, [], sender=bench.stranger))


def _measure_paired_rebalances(bench: Bench) -> None:
    """Sales of accounts that hold perpetuals beside their collaterals."""
    _wait_a_day(bench)
    accounts = {(n, m): _enrolled(bench, 160 + n, n) for n, m in PAIRED}
    for (_, m), account in accounts.items():
        for asset in range(1, m + 1):
            bench.trade(account, asset, WAD)
        bench.borrow_down_to(account, TRIGGER_BPS + 20)
    _fall(bench)
    bench.refresh()
    for (n, m), account in accounts.items():
        Arbitrageur(bench.venue, bench.stranger).align("ASSET-1", bench.price)
        receipt = bench.system.mandates.rebalance(account, sender=bench.keeper)
        bench.measure(f"rebalance through Uniswap v3, n = {n}, m = {m}", receipt)


def _measure_liquidations(bench: Bench) -> None:
    """Each account stands at initial margin and falls below maintenance; each taker holds some of
    every asset that he takes, on the same side."""
    liquidator, trader, stranger = bench.system.liquidator, bench.trader, bench.stranger
    victims = {(n, m): bench.account(200 + 10 * m + n, n) for n, m in LIQUIDATED}
    takers = {key: account_id(stranger, 16 * m + n) for key in LIQUIDATED for n, m in [key]}
    rescued = bench.account(199, 2)
    bench.clearinghouse.deposit(bench.system.insurance, 0, DOLLAR, sender=stranger)
    for (n, m), taker in takers.items():
        actions = [_deposited(taker, asset, WAD) for asset in range(n + 1)]
        actions[0] = _deposited(taker, 0, 10**6 * DOLLAR)
        bench.clearinghouse.batch(actions, sender=stranger)
        for asset in range(1, m + 1):
            bench.trade(victims[n, m], asset, 2 * WAD)
            bench.system.perps.trade(taker, asset, WAD, UNLIMITED, FAR, False, sender=stranger)
    guard = bench.system.mandates.set_guard
    guard(rescued, bench.system.rebalancer, GUARD, sender=trader)
    policy: tuple[Any, ...] = (
        TRIGGER_BPS,
        600,
        0,
        False,
        [],
        [(1, 35, 0)],
        bench.adapter.address,
        0,
        0,
    )
    bench.system.rebalancer.set_policy(rescued, policy, sender=trader)
    accounts = [*victims.values(), rescued]
    for account in accounts:
        bench.borrow_down_to(account, 10_000, 100 * WAD)

    def is_healthy(account: int) -> bool:
        _, _, equity, required = bench.clearinghouse.assess(account)
        return bool(equity >= required)

    while any(is_healthy(account) for account in accounts):
        bench.chain.advance(600)
        bench.price = bench.price * 98 // 100
        bench.refresh()
    Arbitrageur(bench.venue, stranger).align("ASSET-1", bench.price)
    flagged = liquidator.flag(victims[1, 0], sender=bench.keeper)
    bench.measure("flag", flagged)
    for (n, m), victim in victims.items():
        receipt = liquidator.liquidate(victim, takers[n, m], b"\0" * 32, sender=stranger)
        name = f"liquidation, n = {n}" + (f", m = {m}" if m else "")
        bench.measure(name, receipt)
    receipt = liquidator.liquidate(rescued, takers[2, 0], b"\0" * 32, sender=stranger)
    bench.measure("rescue before a liquidation, n = 2", receipt)


def _measure_keepers(bench: Bench) -> None:
    """Several accounts in one call, and as many as a list holds at each round."""
    keepers, feed, governor = bench.system.keepers, bench.feeds[0], bench.governor
    _wait_a_day(bench)
    quiet = [_enrolled(bench, sub) for sub in (40, 41, 42, *range(50, 66))]
    asked = [_enrolled(bench, 70 + i, is_near=True) for i in range(5)]
    bench.quote.approve(keepers, UNLIMITED, sender=bench.trader)
    bench.refresh()

    def told(count: int, name: str) -> None:
        for account in quiet[len(keepers.watched(feed)) : count]:
            keepers.watch(account, feed, 100 * DOLLAR, sender=bench.trader)
        for _ in range(2):  # the second time nothing is written first
            bench.refresh()
            receipt = feed.set_answer(bench.price, sender=governor, gas=LISTENED_GAS)
        bench.measure(name, receipt)

    told(0, "round of a feed, nobody told")
    feed.set_listener(keepers, sender=governor)
    receipt = keepers.watch(quiet[0], feed, 100 * DOLLAR, sender=bench.trader)
    bench.measure("watch an account, first time", receipt)
    for count in (1, 4, 16):
        told(count, f"round of a feed, {count} account{'s' if count > 1 else ''} watched")
    feed.set_listener(NOBODY, sender=governor)

    gas = bench.result.gas
    costs = [
        keepers.rebalance_many(quiet[:count], 0, sender=bench.keeper, gas=LISTENED_GAS).gas_used
        for count in (1, 3)
    ]
    gas["rebalance_many, each quiet account, n = 2"] = (costs[1] - costs[0]) // 2
    _fall(bench)
    for account, leaving, name in (
        (asked.pop(), 1, "round of a feed, 1 of 16 watched rebalanced"),
        (asked.pop(), 16, "round of a feed, 1 watched and rebalanced"),
    ):
        for row in keepers.watched(feed)[:leaving]:
            keepers.unwatch(row.account, feed, bench.trader, sender=bench.trader)
        keepers.watch(account, feed, 100 * DOLLAR, sender=bench.trader)
        feed.set_listener(keepers, sender=governor)
        receipt = feed.set_answer(bench.price, sender=governor, gas=LISTENED_GAS)
        feed.set_listener(NOBODY, sender=governor)
        assert bench.system.mandates.events(receipt, "Rebalanced"), "nobody was rebalanced"
        bench.measure(name, receipt)
    costs = []
    for accounts in (asked[:1], asked[1:]):
        receipt = keepers.rebalance_many(accounts, 0, sender=bench.keeper, gas=LISTENED_GAS)
        told_of = bench.system.mandates.events(receipt, "Rebalanced")
        assert len(told_of) == len(accounts), "not all were rebalanced"
        costs.append(receipt.gas_used)
    gas["rebalance_many, each through Uniswap v3, n = 2"] = costs[1] - costs[0]


def _enrolled(bench: Bench, sub: int, collaterals: int = 2, *, is_near: bool = False) -> int:
    """An account that sells its first collateral, far from its trigger or just above."""
    account = bench.account(sub, collaterals)
    bench.system.mandates.set_guard(account, bench.system.rebalancer, GUARD, sender=bench.trader)
    sales, donors = [(1, 35, 0)], list[int]()
    policy = (TRIGGER_BPS, 600, 0, False, donors, sales, bench.adapter.address, 0, 0)
    bench.system.rebalancer.set_policy(account, policy, sender=bench.trader)
    if is_near:
        bench.borrow_down_to(account, TRIGGER_BPS + 20)
    return account


def _wait_a_day(bench: Bench) -> None:
    """A quiet one, for the rates to come down."""
    for _ in range(24):
        bench.chain.advance(3_600)
        bench.refresh()


def _fall(bench: Bench) -> None:
    """The venue is 4% lower; the feed follows with its next round."""
    bench.chain.advance(600)
    bench.price = bench.price * 96 // 100
    Arbitrageur(bench.venue, bench.stranger).align("ASSET-1", bench.price)


def _swap(bench: Bench, amount: int) -> Receipt:
    """The same sale out of a wallet, straight through the router."""
    receipt: Receipt = bench.venue.router.exactInputSingle(
        (
            bench.tokens[0].address,
            bench.quote.address,
            FEE_PPM,
            bench.trader,
            bench.chain.time + 10**6,
            amount,
            0,
            0,
        ),
        sender=bench.trader,
    )
    return receipt


################################################################
#                          Telling it                          #
################################################################


def verdict(name: str, gas: int) -> str:
    """`met`, `missed by n` or nothing, for a row with or without a target."""
    target = REFERENCES[name].target
    if target is None:
        return ""
    return "met" if gas <= target else f"missed by {gas - target:,}"


def is_out_of_reach(snapshot: Snapshot, name: str) -> bool:
    """Whether what a row reads, writes, calls and tells costs more than its target by itself."""
    target, computing = REFERENCES[name].target, snapshot.computing.get(name)
    return target is not None and computing is not None and snapshot.gas[name] - computing > target


# What README shows of it; docs/gas.md has all.
SHOWN = (
    *(
        "deposit collateral",
        "withdraw collateral, n = 1",
        "borrow, n = 1",
        "borrow, n = 8",
        "repay",
    ),
    *("vault deposit", "vault redeem", "trade, n = 2, m = 2", "trade, n = 8, m = 8"),
    *("rebalance with a sibling's cash, n = 2", "bare Uniswap v3 swap"),
    *("rebalance through Uniswap v3, n = 2", "rebalance by a trim, n = 2, m = 1"),
    *("rebalance_many, each quiet account, n = 2", "liquidation, n = 1", "liquidation, n = 4"),
    *("liquidation, n = 4, m = 4", "health view, n = 2, m = 2", "feed read, per asset"),
)


def gas_table(snapshot: Snapshot, shown: Iterable[str] = tuple(REFERENCES)) -> str:
    """Some rows of the snapshot, or all in the order of REFERENCES, as a table in Markdown.

    A target that the accesses of its row are above by themselves has a star.
    """
    lines = [
        "| operation | gas | of it computing | target | best peer | floor |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in shown:
        row, told = REFERENCES[name], snapshot.gas[name]
        target = _told(row.target) + (BEYOND if is_out_of_reach(snapshot, name) else "")
        figures = (_told(told), _told(snapshot.computing.get(name)), target)
        rest = (_told(row.peer), _told(row.floor))
        lines.append(f"| {name} | " + " | ".join((*figures, *rest)) + " |")
    return "\n".join(lines)


def _told(figure: int | None) -> str:
    return "" if figure is None else f"{figure:,}"


def _print(console: Console, snapshot: Snapshot, old: Snapshot | None) -> None:
    table = Table(title="Gas, total of one transaction")
    table.add_column("operation", no_wrap=True)
    for heading in ("gas", "computing", "target", "peer", "floor"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for name, reference in REFERENCES.items():
        gas = snapshot.gas[name]
        colour = {"m": "red", "": "dim"}.get(verdict(name, gas)[:1], "")
        colour = "green" if verdict(name, gas) == "met" else colour
        row = (gas, snapshot.computing.get(name), reference.target, reference.peer, reference.floor)
        table.add_row(name, *(_told(n) for n in row), verdict(name, gas), style=colour)
    console.print(table)

    sizes = Table(title=f"Deployed bytes, at most {SIZE_LIMIT:,}")
    sizes.add_column("contract")
    sizes.add_column("bytes", justify="right")
    for name, size in sorted(snapshot.deployed_bytes.items()):
        sizes.add_row(name, f"{size:,}", style="red" if size > SIZE_LIMIT else "")
    console.print(sizes)

    console.print(
        f"{BATCHED:,} healths in one eth_call over HTTP: {snapshot.batch_ms:.0f} ms,"
        f" target {BATCH_TARGET_MS} ms; {BATCHES} of them {snapshot.batches_ms:.0f} ms,"
        f" target {BATCHES_TARGET_MS} ms"
    )
    for line in differences(old, snapshot) if old else []:
        console.print(f"changed: {line}")
    missed = [name for name, gas in snapshot.gas.items() if verdict(name, gas).startswith("missed")]
    beyond = [name for name in missed if is_out_of_reach(snapshot, name)]
    console.print(
        f"Look at: {SNAPSHOT.relative_to(ROOT)}, and the {len(missed)} rows above their target;"
        f" of {len(beyond)} the accesses alone are above it."
        if missed
        else f"Look at: {SNAPSHOT.relative_to(ROOT)}. Every target is met."
    )


def growth_picture(snapshot: Snapshot) -> str:
    """The SVG of docs/gas.md."""
    return growth(
        snapshot.gas,
        lambda row: REFERENCES[row].target,
        lambda row: REFERENCES[row].peer,
    )


def _update_documents(snapshot: Snapshot) -> None:
    """Rewrites the tables of the README, and table and picture of docs/gas.md."""
    GROWTH.parent.mkdir(parents=True, exist_ok=True)
    GROWTH.write_text(growth_picture(snapshot))
    text = with_table(README.read_text(), "gas", gas_table(snapshot, SHOWN))
    README.write_text(with_table(text, "contracts", contracts_table(snapshot.deployed_bytes)))
    GAS_PAGE.write_text(with_table(GAS_PAGE.read_text(), "gas", gas_table(snapshot)))


@click.command()
@click.option("--readme", "is_readme_only", is_flag=True, help="Only rewrite the documents.")
def cli(is_readme_only: bool) -> None:
    """Measure the gas of every operation and write tests/gas/snapshot.json."""
    old = Snapshot.read() if SNAPSHOT.is_file() else None
    if is_readme_only:
        if old is None:
            raise click.ClickException(f"there is no {SNAPSHOT.name} yet; run `make gas`")
        _update_documents(old)
        return
    snapshot = measure()
    SNAPSHOT.parent.mkdir(parents=True, exist_ok=True)
    SNAPSHOT.write_text(snapshot.to_json())
    _update_documents(snapshot)
    _print(Console(width=max(Console().width, TABLE_WIDTH)), snapshot, old)


if __name__ == "__main__":
    cli()
