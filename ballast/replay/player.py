"""The clock: from price rounds to blocks, and from blocks to a recording.

A block every twelve seconds, though a quiet stretch is played as one empty block and not as
hundreds. A round stands in the first block at or after its time. Inside a block everything stands
in the order in which it was sent: first what the keeper decided on the block before, then the
rounds that came since, then the arbitrageur. Every account is measured at the end of each block
with a round, so between a round and its measurement there is no transaction of a keeper who knew
of it, unless the keeper was asked to have no delay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Literal

from ballast.chain import BLOCK_INTERVAL_S, Call, Contract, Event, Receipt, Reverted
from ballast.model.margin import Position
from ballast.prices import ANSWER_SCALE, HOUR_S, PriceSeries, Round, iso
from ballast.replay.cohorts import TARGET_BPS, Member, open_cohorts, plan_accounts, watch
from ballast.replay.keeper import Keeper, Sent
from ballast.replay.liquidator import Liquidator, Taking
from ballast.replay.world import ReplayError, World, build_world, start_node
from ballast.report.recording import (
    WAD,
    Frame,
    Holding,
    House,
    Initial,
    Liquidation,
    Margin,
    Rebalance,
    Recording,
    Sale,
)

# The oracle sees this much of the market before the accounts open, so that they open at its
# volatility and not at the prior.
WARM_UP_S = 6 * HOUR_S
_BPS, _PPM = 10_000, 10**6
# IRebalancer.Step
_MOVE_CASH, _PULL_CASH, _MOVE_COLLATERAL, _SELL, _SETTLE, _TRIM, _HEDGE, _UNWIND = range(1, 9)
_LENT_PART = 3  # the vault holds this many times what both cohorts borrow
_BACKED_PART = 4  # the house holds this many times the value of all perpetuals at the opening

Progress = Callable[[int, int, Recording], None]


def replay(
    series: PriceSeries,
    *,
    accounts: int,
    opens_at_s: int | None = None,
    liquidation_delay_s: int = 0,
    delay_blocks: Literal[0, 1] = 1,
    is_thorough: bool = False,
    is_listening: bool = False,
    on_progress: Progress | None = None,
) -> Recording:
    """Play ``series`` on a node of its own and return what was seen.

    ``accounts`` are opened in each cohort at ``opens_at_s`` (unix seconds), by default and at the
    earliest :data:`WARM_UP_S` after the first round. Whoever falls below maintenance is liquidated
    ``liquidation_delay_s`` later, at once by default. The keeper's transactions stand in the block
    after a round, with ``delay_blocks`` 0 right behind it in the same block. A thorough recording
    has a frame of every block with transactions. Where the keepers' entry listens, sixteen hooked
    accounts at each feed are rebalanced in the very transaction of its update. ``on_progress`` is
    told of rounds played, rounds in all and the recording so far. Raises ReplayError for a series
    that is too short, has an asset without a pool here, or is too wild at the opening for the
    accounts; ChainError when the node is missing or fails.
    """
    opens_at_s = max(opens_at_s or 0, series.start_s + WARM_UP_S)
    if series.end_s <= opens_at_s:
        raise ReplayError(
            f"the prices end at {iso(series.end_s)}, before the accounts can open at "
            f"{iso(opens_at_s)}: the oracle needs {WARM_UP_S // HOUR_S} hours of rounds first, so "
            "choose a longer range"
        )
    with start_node(series.start_s) as node:
        world = build_world(node, series.start_s, series.opening())
        player = Player(world, series, accounts, opens_at_s, on_progress)
        player.liquidator.delay_s = liquidation_delay_s
        player.delay_blocks, player.is_thorough = delay_blocks, is_thorough
        if is_listening:
            world.listen()
        return player.play()


def slots(series: PriceSeries) -> Iterator[tuple[int, list[Round]]]:
    """The blocks that carry rounds: time (unix seconds) and rounds."""

    def slot(r: Round) -> int:
        since_s = r.time_s - series.start_s
        return series.start_s + -(-since_s // BLOCK_INTERVAL_S) * BLOCK_INTERVAL_S

    for slot_s, rounds in groupby(series.rounds, key=slot):
        yield slot_s, list(rounds)


class Player:
    """One replay under way."""

    def __init__(
        self,
        world: World,
        series: PriceSeries,
        accounts: int,
        opens_at_s: int,
        on_progress: Progress | None = None,
    ) -> None:
        self.world = world
        self.series = series
        self.opens_at_s = opens_at_s
        self.keeper = Keeper(world)
        self.liquidator = Liquidator(world)
        self.delay_blocks: Literal[0, 1] = 1
        self.is_thorough = False
        self.members: list[Member] = []
        self.recording = Recording(series.source, [], list(world.tokens))
        self._plans = plan_accounts(accounts, list(world.tokens))
        self._on_progress = on_progress or (lambda done, total, recording: None)
        self._names = {number: name for name, number in world.system.assets.items()}
        # The newest block.
        self._time_s = world.chain.time
        self._block = world.chain.block

    def play(self) -> Recording:
        """Every round, then the transactions that the last one asked for."""
        total, done = len(self.series.rounds), 0
        self._provide()
        for slot_s, rounds in slots(self.series):
            if not self.members and slot_s > self.opens_at_s:
                self._pass_to(self.opens_at_s)
                self._open()
            slot_s = max(slot_s, self._time_s + BLOCK_INTERVAL_S)
            self._pass_to(slot_s - BLOCK_INTERVAL_S)
            self._mine(rounds)
            if self.members:
                self._measure(len(rounds))
            self._look()
            done += len(rounds)
            self._on_progress(done, total, self.recording)
        while self._has_work:
            self._mine_quietly()
        self._measure(0)
        for cohort, (start, _) in self.recording.takers.items():
            self.recording.takers[cohort] = (start, self.liquidator.equity(cohort))
        self.recording.refused = dict(self.keeper.refused)
        return self.recording

    def _pass_to(self, time_s: int) -> None:
        """Blocks up to ``time_s``, with the keeper at work in them."""
        while self._time_s < time_s:
            if self._has_work:
                self._mine_quietly()
                continue
            waking = (self.keeper.wakes_at_s, self.liquidator.wakes_at_s)
            wake_s = min((at_s for at_s in waking if at_s is not None), default=None)
            until_s = time_s if wake_s is None else min(time_s, max(wake_s, self._time_s + 1))
            slots = -(-(until_s - self._time_s) // BLOCK_INTERVAL_S)
            self._block += 1
            self._time_s += slots * BLOCK_INTERVAL_S
            self.world.chain.set_time(self._time_s)
            if wake_s is not None and self._time_s >= wake_s:
                self._look(woken_s=self._time_s)

    def _mine_quietly(self) -> None:
        """One block without a round."""
        self._mine([])
        if self.is_thorough and self.members:
            self._measure(0)
        self._look()

    def _mine(self, rounds: Sequence[Round]) -> None:
        """One block: the keeper's transactions, then the rounds, then the arbitrageur, and last a
        keeper without delay."""
        sent: list[Sent] = []
        takings: list[Taking] = []
        updates: list[Receipt] = []
        self._block += 1
        self._time_s += BLOCK_INTERVAL_S
        assets = sorted({r.asset for r in rounds})
        is_foreseen = bool(rounds and self.members) and self.delay_blocks == 0
        foreseen = self.keeper.foresee(rounds, self._time_s) if is_foreseen else []
        is_selling = self.liquidator.has_work
        try:
            with self.world.chain.one_block():
                sent = self.keeper.send()
                takings = self.liquidator.send()
                updates = self.world.publish(rounds, self._time_s)
                if is_foreseen:
                    sent += self.keeper.follow(foreseen, assets, self._time_s)
        except Reverted:
            # A rebalance or a liquidation with nothing left to do, or an arbitrageur with nothing
            # to buy back.
            poke = self.keeper.poke
            is_poked = poke is None or self.world.system.oracle.events(poke, "Poked")
            if not (sent or takings or is_selling) or not is_poked:
                raise
        if rounds:
            self.keeper.see_rounds([] if is_foreseen else assets, self._time_s)
        for item in sent:
            done = [self._rebalance(item, e.args) for e in self._judged(item)]
            self.recording.rebalances += done
            if not done:
                self.keeper.note_reverted(item)
        for update in updates:
            self.recording.rebalances += self._served(update)
        self.recording.liquidations += [x for item in takings for x in self._liquidation(item)]

    def _provide(self) -> None:
        """A liquidity provider asks for shares of the house while the oracle warms up."""
        values = [p.equity * p.leverage for p in self._plans if p.kind != "spot"]
        self._liquidity = round(2 * sum(values) * _BACKED_PART)
        self._epoch = self.world.provide(self._liquidity)
        self._time_s, self._block = self.world.chain.time, self.world.chain.block

    def _open(self) -> None:
        """Both cohorts in one block, after the oracle has been poked and the house funded."""
        system, keeper = self.world.system, self.world.keeper
        loans = sum(plan.loan for plan in self._plans)
        with self.world.chain.one_block():
            self.world.lend(2 * loans * _LENT_PART + 1)
            self.liquidator.provide(2 * loans + 1)
            system.poke(keeper)
            system.liquidity_vault.fulfil_deposits(self._epoch, sender=keeper)
        try:
            self.members = open_cohorts(self.world, self._plans)
        except Reverted as error:
            raise ReplayError(
                f"the accounts cannot open at {iso(self.opens_at_s)} ({error}): the market is too "
                "wild for 3.5x, choose an earlier or calmer --from"
            ) from error
        if self.world.is_listening:
            with self.world.chain.one_block():
                watch(self.world, self.members)
            self._block += 1
            self._time_s += BLOCK_INTERVAL_S
        self._block += 2
        self._time_s += 2 * BLOCK_INTERVAL_S
        self.keeper.members = self.liquidator.members = self.members
        self._measure(0)
        self.recording.takers = dict.fromkeys(self.liquidator.takers, (0, 0))
        for cohort in self.recording.takers:
            self.recording.takers[cohort] = (self.liquidator.equity(cohort), 0)
        frame = self.recording.frames[0]
        self.recording.accounts = [
            member.start(margin.equity_maint, holding.reserve)
            for member, margin, holding in zip(
                self.members, frame.margins, frame.holdings, strict=True
            )
        ]

    @property
    def _has_work(self) -> bool:
        return self.keeper.has_work or self.liquidator.has_work

    def _look(self, woken_s: int | None = None) -> None:
        """Keeper and liquidator see the newest block."""
        self.keeper.look(woken_s)
        self.liquidator.look(self._time_s)

    # Reading the chain

    def _measure(self, rounds: int) -> None:
        """A frame of every account as of the newest block."""
        system, quote = self.world.system, self.world.quote
        house, assets = system.clearinghouse, list(self._names)
        calls = [Call(self.world.system.mandates.snapshot, (m.account,)) for m in self.members]
        siblings = [m for m in self.members if m.reserve_account is not None]
        calls += [Call(house.assess, (m.reserve_account,)) for m in siblings]
        wallets = [m for m in self.members if m.plan.reserve_kind == "wallet"]
        calls += [Call(quote.balanceOf, (m.owner,)) for m in wallets]
        one_share = 10 ** int(system.liquidity_vault.decimals())
        calls.append(Call(house.assess, (system.house,)))
        calls.append(Call(system.liquidity_vault.convertToAssets, (one_share,)))
        calls += [Call(system.perps.exposure_of, (asset,)) for asset in assets]
        answers = self.world.chain.call_many(calls)
        snapshots = answers[: len(self.members)]
        rest = iter(answers[len(self.members) :])
        beside = {m.account: next(rest)[2] for m in siblings}
        unit_wad = WAD // 10 ** self.world.decimals("quote")
        beside |= {m.account: next(rest) * unit_wad for m in wallets}
        equity, share_price = next(rest)[2], next(rest) * unit_wad / WAD
        skew = {
            self._names[asset]: (longs - shorts)
            * self.world.answers[self._names[asset]]
            // ANSWER_SCALE
            for asset, (longs, shorts) in zip(assets, rest, strict=True)
        }
        self.recording.frames.append(
            Frame(
                time_s=self._time_s,
                block=self._block,
                rounds=rounds,
                answers=dict(self.world.answers),
                margins=[
                    Margin(s.equity_init, s.required_init, s.equity_maint, s.required_maint)
                    for s in snapshots
                ],
                holdings=[
                    Holding(
                        {self._names[leg.asset]: _value(leg) for leg in s.legs},
                        s.cash,
                        beside.get(m.account, 0),
                        sum(_result(leg) for leg in s.legs),
                    )
                    for m, s in zip(self.members, snapshots, strict=True)
                ],
                house=House(equity, share_price, skew),
            )
        )

    def _judged(self, sent: Sent) -> list[Event]:
        """The event of the contract that judged it; none if the transaction reverted."""
        return self.world.system.mandates.events(sent.receipt, "Rebalanced")

    def _served(self, update: Receipt) -> list[Rebalance]:
        """The rebalances that an update of a feed brought about in its own transaction."""
        if not self.world.is_listening:
            return []
        of = {member.account: member for member in self.members}
        judged = [e.args for e in self.world.system.mandates.events(update, "Rebalanced")]
        sent = [Sent(of[args.account], self._time_s, update) for args in judged]
        return [
            replace(self._rebalance(item, args), gas=update.gas_used // len(judged))
            for item, args in zip(sent, judged, strict=True)
        ]

    def _rebalance(self, sent: Sent, judged: Any) -> Rebalance:
        """The rebalance as the events of its transaction tell it."""
        system, receipt, account = self.world.system, sent.receipt, sent.member.account

        def told(contract: Contract, name: str) -> list[Any]:
            return [e.args for e in contract.events(receipt, name) if e.args.account == account]

        steps = told(system.rebalancer, "StepTaken")
        swaps = told(system.clearinghouse, "Swapped")
        trades = told(system.perps, "Traded")
        paid = [args.amount for args in told(system.mandates, "KeeperPaid")]
        unit_wad = WAD // 10 ** self.world.decimals("quote")
        sales, fees = [], 0
        sold = [s for s in steps if s.kind in (_SELL, _UNWIND)]
        for step, swap in zip(sold, swaps, strict=True):
            asset = self._names[swap.asset_in]
            amount = swap.amount_in / 10 ** self.world.decimals(asset)
            sales.append(Sale(asset, amount, step.value, swap.amount_out * unit_wad))
            fees += step.value * self.world.venue.pools[asset].fee_ppm // _PPM
        for trade in trades:
            fees += abs(trade.size_change) * trade.index_wad * trade.fee_e6 // (WAD * _PPM)
        # A short is trimmed by a purchase.
        trimmed = 1 if sent.member.plan.kind == "short" else -1
        signs = {_MOVE_COLLATERAL: 1, _SELL: -1, _TRIM: trimmed, _HEDGE: -1}
        exposure: Counter[str] = Counter()
        for step in steps:
            if step.kind in signs:
                exposure[self._names[step.asset]] += signs[step.kind] * step.value

        def value_of(*kinds: int) -> int:
            return sum(step.value for step in steps if step.kind in kinds)

        return Rebalance(
            account=self.members.index(sent.member),
            time_s=self._time_s,
            block=receipt.block,
            delay_blocks=(self._time_s - sent.permitted_s) // BLOCK_INTERVAL_S,
            gas=receipt.gas_used,
            before=Initial(judged.equity_before, judged.required_before),
            after=Initial(judged.equity_after, judged.required_after),
            target=TARGET_BPS / _BPS,
            sales=sales,
            pulled=value_of(_PULL_CASH),
            moved=value_of(_MOVE_CASH, _MOVE_COLLATERAL),
            cost=judged.loss,
            settled=value_of(_SETTLE),
            trimmed=value_of(_TRIM, _UNWIND),
            hedged=value_of(_HEDGE),
            fees=fees,
            pay=sum(paid) * unit_wad,
            exposure=dict(exposure),
        )

    def _liquidation(self, taking: Taking) -> list[Liquidation]:
        """The liquidation or rescue as the events tell it; nothing if the transaction reverted."""
        liquidator, receipt = self.world.system.liquidator, taking.receipt
        account = self.members.index(taking.member)
        delay_s = self._time_s - BLOCK_INTERVAL_S - taking.below_s
        known = (account, self._time_s, receipt.block, delay_s, receipt.gas_used)
        for event in liquidator.events(receipt, "Rescued"):
            return [Liquidation(*known, 0.0, Margin(0, 0, 0, 0), event.args.pay_wad, 0)]
        booked = [e.args for e in liquidator.events(receipt, "DeficitBooked")]
        return [
            Liquidation(
                *known,
                fraction=event.args.fraction_wad / WAD,
                before=Margin(0, 0, event.args.equity_wad, event.args.required_wad),
                # An owner loses no more than he has.
                cost=min(event.args.bonus_wad, max(event.args.equity_wad, 0)),
                fee=event.args.fee_wad,
                insurance=sum(b.insurance_wad for b in booked),
                house=sum(b.house_wad + b.claims_wad for b in booked),
                lenders=sum(b.lenders_wad for b in booked),
            )
            for event in liquidator.events(receipt, "Liquidated")
        ]


def _value(leg: Any) -> int:
    """Value of a leg's collateral at its newest price, WAD, down (layouts of packing.vy)."""
    collateral_wad = leg.position & (2**128 - 1)
    newest_wad = leg.price_word & (2**96 - 1)
    return int(collateral_wad * newest_wad // WAD)


def _result(leg: Any) -> int:
    """Unsettled result of a leg's perpetual: floor(q (p - f)) - c, WAD."""
    size = Position.from_word(leg.position).size_wad
    newest_wad = leg.price_word & (2**96 - 1)
    return int(size * (newest_wad - leg.funding) // WAD - leg.cost)
