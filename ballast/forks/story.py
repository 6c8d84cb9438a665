"""The whole life of two accounts, told on any stage: deposit, trade, crash, rebalance, liquidation.

    for chapter in Story(stage).tell():
        print(chapter.title, *chapter.lines, sep="\\n")

Two owners open the same account; one of them gives it a hook. Then prices fall by a third, one
round of the feeds after another. What must hold is checked on the way: a `StoryError` says what did
not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ballast.chain import Receipt, named_address
from ballast.deploy import BPS, WAD, account_id
from ballast.forks.chainlink import PHASE_SHIFT
from ballast.forks.stage import MAX_UINT, Stage
from ballast.model.margin import Position
from ballast.parameters import QUOTE
from ballast.prices import ANSWER_SCALE
from ballast.replay.cohorts import (
    BAND_BPS,
    SALE_COST_BPS,
    TARGET_BPS,
    TRADE_SLIPPAGE_BPS,
    TRIGGER_BPS,
)
from ballast.replay.keeper import READY

LENT = 2_000_000  # whole quote tokens, as all amounts here
PROVIDED = 1_000_000
EQUITY = 50_000
ETHER = 120_000  # value of the ETH bought
PERPETUAL = 20_000  # value of a long on BTC
TAKER_CASH = 200_000
BUDGET_BPS = 500  # of the equity, what the hook may cost its owner
COOLDOWN_S = 120

STEP_BPS = 75  # of the price, what a round of the crash is below the one before
CRASH_BPS = 3_500  # of the opening price, what is lost in the end
ROUND_S = 300  # from a round to the next
CALM_S = 1_800  # the same in a quiet market
_BARE_GAS = 21_000  # of a transaction that does nothing
_SIZE_STEP = 10**9  # WAD units
_FAR = 2**40 - 1
_ANY_STATE = b"\0" * 32
_SETTLE, _TRIM = 1, 2  # bits of IRebalancer.Policy.actions
_SIZE_BITS = 128


class StoryError(AssertionError):
    """Something that must hold did not; the message says what, with figures."""


class Chapter(NamedTuple):
    """What a reader is shown."""

    title: str
    lines: list[str]


class Margin(NamedTuple):
    """Equity and requirement, initial and maintenance, WAD."""

    equity_init: int
    required_init: int
    equity_maint: int
    required_maint: int


def _check(condition: bool, told: str) -> None:
    if not condition:
        raise StoryError(told)


def _money(wad: int) -> str:
    return f"{wad / WAD:,.0f}"


@dataclass
class Story:
    """One telling. What happened can be read afterwards; values are WAD of the quote token."""

    stage: Stage
    hooked: int = field(init=False)
    bare: int = field(init=False)
    taker: int = field(init=False)
    rebalances: list[Receipt] = field(default_factory=list, init=False)
    liquidations: list[Receipt] = field(default_factory=list, init=False)
    rounds: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.hooked = account_id(named_address("hooked owner"))
        self.bare = account_id(named_address("bare owner"))
        self.taker = account_id(named_address("liquidator"))

    def tell(self) -> Iterator[Chapter]:
        """The chapters in order, each after what it tells has happened. Raises StoryError."""
        yield Chapter("The ground it stands on", self._ground())
        yield Chapter("Lenders and a house", self._fund())
        yield Chapter("Two accounts alike", self._open())
        yield Chapter("One of them gets a hook", self._enrol())
        yield from self._crash()
        yield Chapter("The morning after", self._reckon())

    # ---- looking

    def _margin(self, account: int) -> Margin:
        return Margin(*(int(x) for x in self.stage.system.clearinghouse.assess(account)))

    def _held(self, account: int, name: str) -> Position:
        ledger, asset = self.stage.system.clearinghouse, self.stage.asset(name)
        return Position.from_word(
            ledger.position_word(account, asset), ledger.cost_word(account, asset)
        )

    def _exposure(self, account: int) -> int:
        """Value of all collateral and perpetuals, long minus short."""
        held = ((name, self._held(account, name)) for name in self.stage.assets)
        sizes = ((name, h.collateral_wad + h.size_wad) for name, h in held)
        return sum(size * self.stage.price_wad(name) // WAD for name, size in sizes)

    def _account_line(self, name: str, account: int) -> str:
        margin, quote = self._margin(account), self.stage.symbol
        return (
            f"{name}: exposure {_money(self._exposure(account))} {quote}, equity "
            f"{_money(margin.equity_maint)}, initial margin {_money(margin.required_init)}, "
            f"maintenance {_money(margin.required_maint)}"
        )

    # ---- acting

    def _ground(self) -> list[str]:
        stage, lines = self.stage, []
        quote_answer = stage.feeds[QUOTE].answer
        for name, feed in stage.feeds.items():
            symbol = stage.tokens[name].symbol()
            phase, number = divmod(feed.round_id, 1 << PHASE_SHIFT)
            dollars = feed.answer / ANSWER_SCALE
            read = feed.proxy.latestRoundData.transact(sender=stage.keeper)
            lines.append(
                f"feed of {symbol}: ${dollars:,.2f}, round {number} of phase {phase}, read for gas "
                f"{read.gas_used - _BARE_GAS:,}"
            )
        for name, pool in stage.venue.pools.items():
            symbol, answer = stage.tokens[name].symbol(), stage.feeds[name].answer
            there = pool.answer()
            lines.append(
                f"pool of {symbol}: {there / ANSWER_SCALE:,.2f} {stage.symbol}, fee "
                f"{pool.fee_ppm / 10_000:.2f}%"
            )
            away = abs(there * quote_answer // ANSWER_SCALE - answer)
            _check(away * BPS <= answer, f"the pool of {symbol} is not at the feed's price")
            price, told = stage.price_wad(name), answer * WAD // quote_answer
            _check(price == told, f"the oracle reads {symbol} as {price}, the feed says {told}")
        sizes = {name: stage.chain.code_size(c) for name, c in stage.system.contracts.items()}
        largest = max(sizes, key=lambda name: sizes[name])
        lines.append(
            f"Ballast: {len(sizes)} contracts, the largest {largest} with {sizes[largest]:,} bytes"
        )
        _check(sizes[largest] <= 24_576, f"{largest} is larger than a chain takes")
        return lines

    def _fund(self) -> list[str]:
        """Lenders deposit; a provider asks for shares of the house and gets them later."""
        stage, quote = self.stage, self.stage.symbol
        vault, house = stage.system.vault, stage.system.liquidity_vault
        lender, provider = named_address("lender"), named_address("provider")
        lent = stage.give(lender, QUOTE, LENT * WAD, vault)
        vault.deposit(lent, lender, sender=lender)
        provided = stage.give(provider, QUOTE, PROVIDED * WAD, house)
        asked = house.requestDeposit(provided, provider, provider, sender=provider)
        (request,) = house.events(asked, "DepositRequest")
        epoch = request.args.requestId
        ready_at = house.deposit_epoch(epoch).ready_at
        asked_at = stage.chain.time
        while stage.chain.time < ready_at:
            stage.chain.advance(min(CALM_S, ready_at - stage.chain.time))
            stage.refresh()
        house.fulfil_deposits(epoch, sender=stage.keeper)
        house.deposit(provided, provider, sender=provider)
        stage.refresh()
        shares, equity = int(house.balanceOf(provider)), self._margin(stage.system.house)
        _check(shares > 0, "the provider got no shares of the house")
        _check(equity.equity_maint == PROVIDED * WAD, "the house does not have what was provided")
        return [
            f"lenders put {LENT:,} {quote} into the vault",
            f"a provider asks for shares of the house for {PROVIDED:,} {quote} and gets them "
            f"{(stage.chain.time - asked_at) // 60} minutes later",
        ]

    def _open(self) -> list[str]:
        lines = [self._open_one(account) for account in (self.hooked, self.bare)]
        _check(lines[0] == lines[1], f"they are not alike: {lines}")
        same = abs(self._exposure(self.hooked) - self._exposure(self.bare))
        _check(same * 1_000 < EQUITY * WAD, "the two accounts differ by more than a thousandth")
        return [
            lines[0],
            self._account_line("the one", self.hooked),
            self._account_line("the other", self.bare),
        ]

    def _open_one(self, account: int) -> str:
        stage, quote, ledger = self.stage, self.stage.symbol, self.stage.system.clearinghouse
        owner = _owner(account)
        units = stage.give(owner, QUOTE, EQUITY * WAD, ledger)
        ledger.deposit(account, 0, units, sender=owner)
        bought = stage.units(QUOTE, ETHER * WAD)
        ledger.swap(account, stage.adapter, 0, stage.asset("ETH"), bought, 0, sender=owner)
        # The pool goes back to the market, so that both buy at one price.
        stage.refresh()
        size = PERPETUAL * WAD * WAD // stage.price_wad("BTC")
        size -= size % _SIZE_STEP
        stage.system.perps.trade(
            account, stage.asset("BTC"), size, MAX_UINT, _FAR, False, sender=owner
        )
        margin, cash = self._margin(account), int(ledger.picture_of(account)[0])
        _check(self._held(account, "BTC").size_wad == size, "the perpetual was not opened")
        _check(cash < 0, "nothing was borrowed")
        _check(margin.equity_init >= margin.required_init, "an account opened below its margin")
        return (
            f"each deposits {EQUITY:,} {quote}, buys ETH for {ETHER:,} {quote} in the "
            f"pool, most of it on credit, and goes long BTC for {PERPETUAL:,} {quote} by a "
            "perpetual"
        )

    def _enrol(self) -> list[str]:
        """The owner's side of it: policy, guard, budget."""
        stage, system, owner = self.stage, self.stage.system, _owner(self.hooked)
        policy: tuple[Any, ...] = (
            TRIGGER_BPS,
            COOLDOWN_S,
            0,
            False,
            [],
            [(stage.asset("ETH"), SALE_COST_BPS, 0)],
            stage.adapter,
            _SETTLE | _TRIM,
            0,
        )
        system.rebalancer.set_policy(self.hooked, policy, sender=owner)
        guard = (TARGET_BPS, BAND_BPS, TRADE_SLIPPAGE_BPS, 0, 0, 0)
        system.mandates.set_guard(self.hooked, system.rebalancer, guard, sender=owner)
        budget = EQUITY * WAD * BUDGET_BPS // BPS
        system.mandates.arm_budget((budget, 86_400, 2 * budget), sender=owner)
        plan = system.rebalancer.plan(self.hooked)
        _check(plan.code == 2, f"the plan of a sound account has code {plan.code}, expected 2")
        return [
            f"acts below {TRIGGER_BPS / BPS:.2f} of initial margin, aims at "
            f"{TARGET_BPS / BPS:.2f}, may cost its owner {_money(budget)} {stage.symbol} a day",
        ]

    def _crash(self) -> Iterator[Chapter]:
        """Round after round; whoever may act does so in the blocks behind each."""
        stage, system = self.stage, self.stage.system
        liquidator = _owner(self.taker)
        cash = stage.give(liquidator, QUOTE, TAKER_CASH * WAD, system.clearinghouse)
        system.clearinghouse.deposit(self.taker, 0, cash, sender=liquidator)
        opening = {name: stage.feeds[name].answer for name in stage.assets}
        rebalanced: list[str] = []
        liquidated: list[str] = []
        level, starts_at_s = BPS * BPS, stage.chain.time
        while level > BPS * (BPS - CRASH_BPS):
            level = level * (BPS - STEP_BPS) // BPS
            self.rounds += 1
            stage.chain.set_time(max(stage.chain.time, starts_at_s + self.rounds * ROUND_S))
            stage.publish({n: answer * level // BPS**2 for n, answer in opening.items()})
            fallen = f"{100 - 100 * level / BPS**2:.1f}% down"
            rebalanced += [f"{fallen}: {line}" for line in self._rebalance()]
            liquidated += [f"{fallen}: {line}" for line in self._liquidate()]
            healthy = self._margin(self.hooked)
            _check(
                healthy.equity_maint >= healthy.required_maint,
                f"the hooked account fell below maintenance, {fallen}",
            )
        _check(bool(rebalanced), "prices crashed and the hook had nothing to do")
        _check(bool(liquidated), "prices crashed and the bare account was not liquidated")
        yield Chapter(
            f"The crash: {CRASH_BPS / 100:.0f}% in {self.rounds} rounds and "
            f"{(stage.chain.time - starts_at_s) / 3_600:.0f} hours, the hook acts",
            [*rebalanced, self._account_line("with a hook", self.hooked)],
        )
        yield Chapter(
            "The same crash without a hook: liquidation",
            [*liquidated, self._account_line("without a hook", self.bare)],
        )

    def _rebalance(self) -> list[str]:
        """The keeper's turn."""
        system, lines = self.stage.system, []
        plan = system.rebalancer.plan(self.hooked)
        if plan.code == READY:
            exposure = self._exposure(self.hooked)
            receipt = system.mandates.rebalance(self.hooked, sender=self.stage.keeper)
            (done,) = (e.args for e in system.mandates.events(receipt, "Rebalanced"))
            self.rebalances.append(receipt)
            after = self._margin(self.hooked)
            _check(
                done.equity_after - done.required_after > done.equity_before - done.required_before,
                "a rebalance left the account further from its target",
            )
            _check(
                after.equity_init * BPS <= (TARGET_BPS + BAND_BPS) * after.required_init,
                "a rebalance went beyond target and band",
            )
            ratios = (
                done.equity_before / done.required_before,
                done.equity_after / done.required_after,
            )
            lines.append(
                f"{ratios[0]:.3f} of initial margin, rebalanced to {ratios[1]:.3f}: exposure "
                f"{_money(exposure)} to {_money(self._exposure(self.hooked))} "
                f"{self.stage.symbol}, cost {done.loss / WAD:,.2f}, gas {receipt.gas_used:,}"
            )
            self.stage.refresh()
        return lines

    def _liquidate(self) -> list[str]:
        """The liquidator's turn."""
        system, lines = self.stage.system, []
        before = self._margin(self.bare)
        if before.equity_maint < before.required_maint:
            receipt = system.liquidator.liquidate(
                self.bare, self.taker, _ANY_STATE, sender=_owner(self.taker)
            )
            (done,) = (e.args for e in system.liquidator.events(receipt, "Liquidated"))
            self.liquidations.append(receipt)
            after = self._margin(self.bare)
            _check(
                after.equity_maint >= after.required_maint, "a liquidation did not cure the account"
            )
            lines.append(
                f"equity {_money(before.equity_maint)} below maintenance "
                f"{_money(before.required_maint)} {self.stage.symbol}: "
                f"{100 * done.fraction_wad / WAD:.0f}% is taken, the owner loses "
                f"{_money(done.bonus_wad)}, gas {receipt.gas_used:,}"
            )
        return lines

    # ---- the end

    def _reckon(self) -> list[str]:
        """Everybody is sound, and what they own is there."""
        stage, system, quote = self.stage, self.stage.system, self.stage.symbol
        everybody = [self.hooked, self.bare, self.taker, system.insurance, system.house]
        for account in everybody:
            margin = self._margin(account)
            _check(margin.equity_maint >= margin.required_maint, f"{account} may be liquidated")
        self._check_ledger(everybody)
        worth = int(system.vault.totalAssets()) * stage.unit_wad(QUOTE)
        _check(worth >= LENT * WAD, f"lenders have {_money(worth)} of {LENT:,} {quote}")
        house, insurance = self._margin(system.house), self._margin(system.insurance)
        _check(house.equity_maint >= PROVIDED * WAD, "the house lost in a story of longs that fell")
        hooked, bare = self._margin(self.hooked), self._margin(self.bare)
        _check(hooked.equity_maint > bare.equity_maint, "the hook was worth nothing")
        return [
            f"with a hook {_money(hooked.equity_maint)} of {EQUITY:,} {quote} are left after "
            f"{len(self.rebalances)} rebalances, without one {_money(bare.equity_maint)} after "
            f"{len(self.liquidations)} liquidations",
            f"lenders have {worth / WAD:,.2f} {quote}, more than they lent",
            f"the house has {house.equity_maint / WAD:,.2f} {quote}, insurance "
            f"{insurance.equity_maint / WAD:,.2f}",
            "tokens held are what the ledger says, sizes and costs of perpetuals add up to zero",
        ]

    def _check_ledger(self, everybody: list[int]) -> None:
        """Tokens and the sums of the ledger, to the wei (I01, I19)."""
        stage, ledger, vault = self.stage, self.stage.system.clearinghouse, self.stage.system.vault
        words = [int(ledger.account_word(account)) for account in everybody]
        cash, shares = sum(w & (2**128 - 1) for w in words), sum(w >> 128 for w in words)
        there = int(stage.quote.balanceOf(ledger)) * stage.unit_wad(QUOTE)
        _check(cash == there, f"the ledger says {cash} of cash, the token {there}")
        state = vault.state()
        _check(shares == state.debt_shares, "the loans are not what the vault says")
        _check(
            int(stage.quote.balanceOf(vault)) == state.idle, "the vault's cash is not what it says"
        )
        for name in stage.assets:
            held = [self._held(account, name) for account in everybody]
            tokens = int(stage.tokens[name].balanceOf(ledger)) * stage.unit_wad(name)
            _check(sum(h.collateral_wad for h in held) == tokens, f"{name} does not add up")
            sums = sum(h.size_wad for h in held), sum(h.cost_wad for h in held)
            _check(sums == (0, 0), f"perpetuals of {name} add up to {sums}")


def _owner(account: int) -> str:
    return "0x" + (account >> 8).to_bytes(20, "big").hex()
