"""Liquidations in a campaign: what is drawn, and what must hold of each.

Only an account below maintenance is liquidated, its owner loses no more than the discount, whoever
takes is at initial margin afterwards, insurance falls by deficits alone, and what is lost on one
side is found on another (I12, I13, I34).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ballast.chain import Event, Receipt
from ballast.model.ledger import Loans
from ballast.model.margin import GWEI
from tests.support.system_checks import Outcome
from tests.support.system_markets import MarketChecks
from tests.support.system_scenes import Scene, Scenes
from tests.support.system_state import WAD, State
from tests.support.system_steps import Ahead, Call, Step
from tests.support.world import QUOTE

ANY_STATE = bytes(32)
LIQUIDATING = frozenset({("Liquidator", "liquidate"), ("TokenLiquidator", "liquidate")})
LIQUIDATION_PARTS = (
    *("I06 loss", "I13", "I13 whole", "I13 in part", "I13 deficit", "I13 for tokens", "I34"),
    *("exact collect", "exact flagged", "I13 rescued", "I13 with perpetuals", "I13 offset"),
)
# So many wei for each figure of an account that a liquidation touches.
ROUNDING_WAD = 256


class LiquidationDraws(Scenes):
    """Draws of liquidations and of what belongs to them."""

    def _short(self, state: State) -> list[int]:
        """Accounts below maintenance."""
        return [a for a in self.cast.accounts if state.terms[a].excess_maint < 0]

    def _liquidate(self, state: State) -> Scene:
        """An account below maintenance, now and then a sound one."""
        rng, short = self.rng, self._short(state)
        if not short and rng.random() < 0.85:
            return []
        account = rng.choice(short) if short and rng.random() < 0.95 else self._account()
        is_traded = state.has_perpetual(account)
        is_for_tokens = rng.random() < (0.1 if is_traded else 0.5)
        call = (self._for_tokens if is_for_tokens else self._in_place)(state, account)
        return [Step("liquidate", (call,), rng.choice((0, 12, 12, 12)))]

    def _in_place(self, state: State, account: int) -> Call:
        rng, cast = self.rng, self.cast
        others = [a for a in cast.accounts if a >> 8 != account >> 8]
        takers = rng.sample(others, min(3, len(others)))
        taker = max(takers, key=lambda a: state.terms[a].excess_init)
        if rng.random() < 0.05:
            taker = rng.choice((*cast.siblings(account), account, cast.house))
        sender = "operator" if rng.random() < 0.1 else self._sender_of(taker)
        return Call("Liquidator", "liquidate", (account, taker, self._expected(account)), sender)

    def _sender_of(self, taker: int) -> str:
        return "attacker" if taker == self.cast.house else self._sender(taker)

    def _for_tokens(self, state: State, account: int) -> Call:
        """For more than everything is worth, or for too little."""
        cast, rng = self.cast, self.rng
        worth = sum(
            state.collateral_wad(account, name) * state.marks[name].price_wad // WAD
            for name in cast.names
        )
        units = int(worth * rng.choice((1.1, 1.1, 0.3))) // cast.unit(QUOTE) + 1
        sender = rng.choice((*cast.owners, "lender", "attacker"))
        args = (account, units, cast.roles[sender], self._expected(account))
        return Call("TokenLiquidator", "liquidate", args, sender)

    def _expected(self, account: int) -> bytes:
        draw = self.rng.random()
        if draw < 0.8:
            return ANY_STATE
        if draw < 0.97:
            state: bytes = self.cast.world.system.liquidator.state_of(account)
            return state
        return self.rng.randbytes(32)

    def _flag(self, state: State) -> tuple[Call, ...]:
        short = self._short(state)
        account = self.rng.choice(short) if short and self.rng.random() < 0.8 else self._account()
        if self.rng.random() < 0.05:
            account = self.rng.choice((self.cast.house, account + 2**168))
        return (Call("Liquidator", "flag", (account,), "keeper"),)

    def _collect(self, state: State) -> tuple[Call, ...]:
        return (Call("Liquidator", "collect", (), "keeper"),)

    def _sink(self, state: State) -> Scene:
        """Accounts at the limit of their margin, prices that turn against them round after round,
        and somebody who waits for it."""
        rng, cast = self.rng, self.cast
        name, side = rng.choice(cast.market_names), rng.choice((1, 1, -1))
        scene = self._prelude(state)
        for account in rng.sample(cast.accounts, rng.choice((1, 2))):
            if rng.random() < 0.6:
                size = self._share(account, name, side, 0.5)
                scene.append(self._ordered("open", account, name, size))
            scene.append(self._levered(account))
        scene += [self._run(n, -side, rng.randrange(2, 5)) for n in cast.names]

        def flagged(state: State) -> Scene:
            return [Step("flag", self._flag(state))] if rng.random() < 0.5 else []

        steps: list[Step | Ahead] = [self._liquidate] * 3
        return [*scene, flagged, *steps]


@dataclass
class LiquidationChecks(MarketChecks):
    """The liquidator's side of the checks."""

    def of_liquidations(self, outcome: Outcome, before: State, after: State) -> None:
        """All of it after one action."""
        system = self.cast.world.system
        paid = 0
        for call, receipt in outcome.receipts:
            events = system.liquidator.events(receipt)
            paid += sum(e.args.insurance_wad for e in events if e.name == "DeficitBooked")
            if len(outcome.receipts) != 1 or before.time != after.time:
                continue
            for event in events:
                if event.name == "Liquidated":
                    self._of_liquidation(call, receipt, event, before, after)
                elif event.name == "Rescued":
                    self._of_rescue(event, before, after)
                elif event.name == "InsuranceCollected":
                    self._of_collection(event, before, after)
            if (call.contract, call.function) == ("Liquidator", "flag"):
                self._of_flag(call.args[0], before, after)
        change = self._fund(after) - self._fund(before)
        self.held("I34", change != 0)
        self.must("I34", change >= -paid, f"insurance fell by {-change}, deficits took {paid}")

    def _fund(self, state: State) -> int:
        return state.cash_wad(self.cast.insurance)

    def _slack(self, after: State) -> int:
        """What payments may lose to the rounding of debts and their shares."""
        unit = self.cast.unit(QUOTE)
        loss = Loans(after.vault["index_wad"], unit).repayment_loss_wad
        return 8 * (unit + loss) + ROUNDING_WAD

    def _of_liquidation(
        self, call: Call, receipt: Receipt, event: Event, before: State, after: State
    ) -> None:
        cast, args = self.cast, event.args
        account, taker = args.account, args.taker
        old, new, label = before.terms[account], after.terms[account], cast.labels[account]
        self.held("I13")
        self.held("I13 for tokens", call.contract == "TokenLiquidator")
        self.held("I13 with perpetuals", before.has_perpetual(account))
        self.held("I13 offset", bool(cast.world.system.perps.events(receipt, "Offset")))
        self.must("I13", old.excess_maint < 0, f"{label} was liquidated at {old}")
        self.must("I13", account >> 8 != taker >> 8, f"{label} was liquidated by itself")
        told = (args.equity_wad, args.required_wad)
        self.must("I13", told == (old.equity_maint, old.required_maint), f"{told}, not {old}")

        found = cast.world.system.liquidator.events(receipt, "DeficitBooked")
        parts = [
            (e.args.insurance_wad, e.args.house_wad, e.args.lenders_wad, e.args.claims_wad)
            for e in found
        ]
        borne = sum(map(sum, parts))
        loss, slack = old.equity_maint - new.equity_maint, self._slack(after)
        self.held("I13 deficit", borne != 0)
        fine = args.bonus_wad - borne - slack <= loss <= args.bonus_wad - borne
        message = f"{label} lost {loss}, the bonus was {args.bonus_wad}, others bore {borne}"
        self.must("I13", fine, message)
        is_whole = args.fraction_wad == WAD
        if self.held("I13 whole", is_whole):
            held = [after.held(account, name) for name in cast.names]
            is_empty = not any(p.collateral_wad or p.size_wad for p in held)
            fine = is_empty and after.debt_shares(account) == 0
            self.must("I13", fine, f"{label} has something left: {after.words(account)}")
        elif self.held("I13 in part"):
            self.must("I13", new.excess_maint >= 0, f"{label} is not cured: {new}")
        refusal = after.book.increase_refusal(taker)
        self.must("I11", refusal == "", f"{cast.labels[taker]} took at {after.terms[taker]}")
        same = after.settings.get(account) == before.settings.get(account)
        self.must("I13", same, f"settings of {label} changed")
        self.must("I13", after.flags[account] == 0, f"{label} is still flagged")
        change = self._fund(after) - self._fund(before)
        expected = args.fee_wad - sum(part[0] for part in parts)
        self.must("I34", change == expected, f"insurance changed by {change}, not {expected}")
        if call.contract == "Liquidator":
            self._of_sum(parts, slack, before, after)

    def _of_sum(
        self, parts: Sequence[tuple[int, ...]], slack: int, before: State, after: State
    ) -> None:
        """Nobody gains what nobody lost: only lenders are outside."""
        everyone = self.cast.everyone
        change = sum(after.terms[a].equity_maint - before.terms[a].equity_maint for a in everyone)
        lent = sum(part[2] for part in parts)
        message = f"all have {change} more, lenders bore {lent}"
        self.must("I13", -slack <= change - lent <= ROUNDING_WAD, message)

    def _of_rescue(self, event: Event, before: State, after: State) -> None:
        account, label = event.args.account, self.cast.labels[event.args.account]
        old, new = before.terms[account], after.terms[account]
        self.held("I13 rescued")
        self.must("I13", old.excess_maint < 0, f"{label} was rescued at {old}")
        fine = new.excess_init >= -self._slack(after)
        self.must("I13", fine, f"{label} was paid for below initial margin: {new}")

    def _of_collection(self, event: Event, before: State, after: State) -> None:
        """What the fees owe, as far as the house has it, and every token that lay there."""
        owed = sum(m.headroom.insured_gwei for m in before.markets.values()) * GWEI
        fees = min(owed, max(0, before.terms[before.house].excess_init))
        self.held("exact collect", fees != 0)
        self.must("exact collect", event.args.fees_wad == fees, f"{event.args}, not {fees}")
        change = self._fund(after) - self._fund(before)
        expected = event.args.reserves * self.cast.unit(QUOTE) + fees
        self.must("exact collect", change == expected, f"insurance got {change}, not {expected}")

    def _of_flag(self, account: int, before: State, after: State) -> None:
        since = 0
        if before.terms[account].excess_maint < 0:
            since = before.flags[account] or before.time
        self.held("exact flagged", since != 0)
        found = after.flags[account]
        self.must("exact flagged", found == since, f"flagged since {found}, not {since}")


def is_liquidation(liquidator: Any, receipt: Receipt) -> bool:
    """Whether a receipt tells of an account that was liquidated or rescued."""
    return any(e.name in ("Liquidated", "Rescued") for e in liquidator.events(receipt))
