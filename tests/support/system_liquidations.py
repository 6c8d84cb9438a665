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
from ballast.model.perps import insurance_fees_taken
from tests.support.system_checks import Outcome
from tests.support.system_markets import MarketChecks
from tests.support.system_prices import MOST_MOVE
from tests.support.system_scenes import Scene, Scenes
from tests.support.system_state import WAD, State
from tests.support.system_steps import Ahead, Call, Step
from tests.support.world import QUOTE

ANY_STATE = bytes(32)
LIQUIDATING = frozenset({("Liquidator", "liquidate"), ("TokenLiquidator", "liquidate")})
LIQUIDATION_PARTS = (
    *("I06 loss", "I13", "I13 whole", "I13 in part", "I13 deficit", "I13 for tokens", "I34"),
    *("exact collect", "exact flagged", "I13 with perpetuals", "I13 offset"),
)
# Equity over requirement at which an account is worth waiting for.
NEAR = 4
# So many wei for each figure of an account that a liquidation touches.
ROUNDING_WAD = 256


class LiquidationDraws(Scenes):
    """Draws of liquidations and of what belongs to them."""

    def _short(self, state: State) -> list[int]:
        """Accounts below maintenance."""
        return [a for a in self.cast.accounts if state.terms[a].excess_maint < 0]

    def _liquidate(self, state: State) -> Scene:
        """An account below maintenance, now and then a sound one; who takes mostly brings cash."""
        rng, cast, short = self.rng, self.cast, self._short(state)
        if not short and rng.random() < 0.9:
            return []
        account = rng.choice(short) if short and rng.random() < 0.97 else self._account()
        wait_s = rng.choice((0, 12, 12, 12))
        if rng.random() < (0.05 if state.has_perpetual(account) else 0.4):
            return [Step("liquidate", (self._for_tokens(state, account),), wait_s)]
        others = [a for a in cast.accounts if a >> 8 != account >> 8]
        taker = max(others, key=lambda a: state.terms[a].excess_init)
        if rng.random() < 0.3:
            taker = rng.choice(others)
        scene: Scene = []
        if rng.random() < 0.8:
            worth = state.terms[account].required_maint
            missing = max(0, -state.terms[taker].excess_init) + 12 * worth
            units = int(missing * rng.uniform(0.5, 1.2)) // cast.unit(QUOTE)
            args = (taker, 0, min(units, 10**12))
            scene.append(Step("deposit", (Call("Clearinghouse", "deposit", args, "lender"),)))
        if rng.random() < 0.05:
            taker = rng.choice((*cast.siblings(account), account, cast.house))
        sender = self._sender(taker) if taker != cast.house else "attacker"
        sender = "operator" if rng.random() < 0.05 else sender

        def taken(state: State) -> Scene:
            args = (account, taker, self._expected(account))
            return [Step("liquidate", (Call("Liquidator", "liquidate", args, sender),), wait_s)]

        return [*scene, taken]

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
        if self.rng.random() < 0.3:
            return (Call("Liquidator", "collect_fees", (), "keeper"),)
        return (Call("Insurance", "collect", (), "keeper"),)

    def _sink(self, state: State) -> Scene:
        """The account that is nearest to its maintenance takes what its margin allows, prices turn
        against it round after round until it is below, and somebody has waited for it."""
        rng, cast = self.rng, self.cast
        carrying = [a for a in cast.accounts if state.terms[a].required_maint > 100 * WAD]
        near = [a for a in carrying if self._health(state, a) < NEAR]
        if not near:
            return []
        account, market = rng.choice(near), rng.choice(cast.market_names)
        scene = self._prelude(state)
        if rng.random() < 0.6:
            size = self._share(account, market, rng.choice((1, -1)), 0.5)
            scene.append(self._ordered("open", account, market, size))
        scene += [self._levered(account), self._fall(account, 10)]

        def flagged(state: State) -> Scene:
            call = Call("Liquidator", "flag", (account,), "keeper")
            return [Step("flag", (call,))] if rng.random() < 0.4 else []

        def deeper(state: State) -> Scene:
            return [self._turn(state, account)] if rng.random() < 0.4 else []

        takers: list[Step | Ahead] = [self._liquidate, self._liquidate]
        return [*scene, flagged, deeper, *takers]

    def _health(self, state: State, account: int) -> float:
        terms = state.terms[account]
        return terms.equity_maint / terms.required_maint

    def _fall(self, account: int, count: int) -> Ahead:
        """Rounds against an account until it is below maintenance."""

        def ahead(state: State) -> Scene:
            is_over = count == 0 or state.terms[account].required_maint == 0
            if is_over or state.terms[account].excess_maint < 0:
                return []
            return [self._turn(state, account), self._fall(account, count - 1)]

        return ahead

    def _turn(self, state: State, account: int) -> Step:
        """A round of the asset that matters most, to the account's disadvantage."""
        deltas = {name: state.held(account, name).delta_wad for name in self.cast.names}
        name = max(deltas, key=lambda n: abs(deltas[n]) * state.marks[n].price_wad)
        move = self.rng.uniform(0.05, MOST_MOVE) * (-1 if deltas[name] > 0 else 1)
        answer = int(self._sound_answer(state, name) * (1 + move))
        return Step("price", self._round(state, name, answer), 12)


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
            if (call.contract, call.function) == ("Liquidator", "flag"):
                self._of_flag(call.args[0], before, after)
            if call.function in ("collect", "collect_fees"):
                self._of_collection(receipt, before, after)
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
        """Nobody gains what nobody lost: only lenders are outside. Each account's debt is rounded
        up to a unit, so that a debt moved or forgiven may show two units less."""
        everyone = self.cast.everyone
        change = sum(after.terms[a].equity_maint - before.terms[a].equity_maint for a in everyone)
        lent = sum(part[2] for part in parts)
        message = f"all have {change} more, lenders bore {lent}"
        most = 2 * self.cast.unit(QUOTE) + ROUNDING_WAD
        self.must("I13", -slack <= change - lent <= most, message)

    def _of_rescue(self, event: Event, before: State, after: State) -> None:
        account, label = event.args.account, self.cast.labels[event.args.account]
        old, new = before.terms[account], after.terms[account]
        self.held("I13 rescued")
        self.must("I13", old.excess_maint < 0, f"{label} was rescued at {old}")
        fine = new.excess_init >= -self._slack(after)
        self.must("I13", fine, f"{label} was paid for below initial margin: {new}")

    def _of_collection(self, receipt: Receipt, before: State, after: State) -> None:
        """What the fees owe, as far as the house has it, and every token that lay there."""
        free = max(0, before.terms[before.house].excess_init)
        markets, fees = insurance_fees_taken(before.book.markets, free)
        self.held("exact collect", fees != 0)
        for asset, market in markets.items():
            same = after.book.markets[asset] == market
            self.must("exact collect", same, f"{after.book.markets[asset]}, not {market}")
        told = self.cast.world.system.insurance_fund.events(receipt, "Collected")
        units = sum(event.args.units for event in told)
        fine = all(event.args.fees_wad == fees for event in told)
        self.must("exact collect", fine, f"{told}, fees are {fees}")
        change = self._fund(after) - self._fund(before)
        expected = units * self.cast.unit(QUOTE) + fees
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
