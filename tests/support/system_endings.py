"""The end of a market in a campaign: what is drawn, and what must hold of it.

In some episodes one market is announced to end. Life goes on during the notice and after it, with
attempts that come too early or from nobody who may; then the price of all is latched, and what is
open is closed at it in portions, by anybody. What the announcement, the latch and each portion do
is foretold by the model; what has ended trades no more, pays no funding and is never revived.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import astuple, dataclass

from ballast.model import perps
from ballast.model.ledger import Book
from ballast.model.perps import SIZE_STEP_WAD, require
from tests.support.system_cast import Cast
from tests.support.system_checks import Outcome
from tests.support.system_liquidations import LiquidationChecks, LiquidationDraws
from tests.support.system_markets import END_OF_ACCOUNTS, ENDED
from tests.support.system_scenes import Scene
from tests.support.system_state import WAD, State
from tests.support.system_steps import Call, Step
from tests.support.system_trades import Held
from tests.support.world import QUOTE

NOTICE_S = 3 * 86_400
ENDINGS = 0.3  # of the episodes
ENDS_AFTER = (300, 460)  # draws, of some seven hundred
LIFE_OF_NOTICE = (5, 30)  # draws, until somebody waits for the rest of it
BREAKER_S = 601  # after two such waits a breaker has forgotten what was before
ALIAS = 2**248  # an account beyond its width whose keys are those of another
NOT_CLOSED = "deleverager: not close-only"
NOT_ANNOUNCED = "deleverager: not announced"
NOT_OVER = "deleverager: notice not over"
NOT_THE_OWNER = "ownable: caller is not the owner"
BAD_ACCOUNT = "ledger: bad account"
GOVERNED = frozenset({("Perps", "set_close_only"), ("Perps", "set_terms")})
ENDING_PARTS = (
    *("exact announce", "exact announce refused", "exact latch", "exact latch refused"),
    *("exact wind down", "exact wind down apart", "I10 ended", "I18 ended", "I23 ended"),
    *("exact trade ended", "exact settle ended", "exact adl ended", "exact revival ended"),
)


class EndingDraws(LiquidationDraws):
    """Draws of the end of a market."""

    def __init__(self, cast: Cast, rng: random.Random) -> None:
        super().__init__(cast, rng)
        self.ending = rng.choice(cast.market_names) if rng.random() < ENDINGS else ""
        self._ends_in = rng.randrange(*ENDS_AFTER)
        self._notice = rng.randrange(*LIFE_OF_NOTICE)

    def _of_ending(self, state: State) -> Scene:
        """What belongs to the end of a market, now and then when its time has come."""
        rng, name = self.rng, self.ending
        if not name:
            return []
        self._ends_in -= 1
        if self._ends_in > 0:
            return []
        due_at, price = state.endings[name]
        if price:
            return self._over(state) if rng.random() < 0.08 else []
        if not self._is_announced(state):
            return self._announcing(state) if rng.random() < 0.2 else []
        if state.time >= due_at:
            return self._latching(state) if rng.random() < 0.15 else []
        self._notice -= 1
        if self._notice < 0:
            return self._waiting(due_at - state.time)
        if rng.random() < 0.004:  # called off, to be announced anew
            return [Step("governor", (self._mode(False),))]
        return [self._winding(state)] if rng.random() < 0.04 else []

    def _is_announced(self, state: State) -> bool:
        """Whether the market that ends is due to, and was close-only ever since."""
        if not self.ending:
            return False
        due_at, closed_at = state.endings[self.ending][0], state.closed[self.ending]
        return 0 < closed_at <= due_at - NOTICE_S

    def _mode(self, is_close_only: bool) -> Call:
        return Call("Perps", "set_close_only", (self._id(self.ending), is_close_only), "governor")

    def _announced(self, sender: str) -> Step:
        args = (self._id(self.ending),)
        return Step("start_wind_down", (Call("Deleverager", "start_wind_down", args, sender),))

    def _announcing(self, state: State) -> Scene:
        """Of a market in which many are, with attempts before it is time and by one who may not."""
        rng, name = self.rng, self.ending
        opened: Scene = []
        if not state.closed[name]:
            opened = [
                self._paid_in("donate_house", self.cast.house, 50_000),
                self._calm,
                self._calm,
            ]
        for account in rng.sample(self.cast.accounts, 5 * bool(opened)):
            part = self._share(account, name, rng.choice((1, 1, -1)), 0.2)
            opened.append(self._paid_in("deposit", account, 5_000))
            opened.append(self._ordered("open", account, name, part))
        attempts: Scene = [
            self._winding(state),
            self._announced("governor"),
            self._announced(rng.choice(("keeper", "attacker", "owner_a"))),
        ]
        early = [attempt for attempt in attempts if rng.random() < 0.3]
        closed = Step("governor", (self._mode(True),))
        return [*opened, *early, closed, self._announced("governor")]

    def _waiting(self, left_s: int) -> Scene:
        """Until the notice is over; sometimes with a round made shortly before that is no price."""
        if self.rng.random() < 0.6:
            return [lambda s: [Step("wait", self._refresh(s), left_s)]]
        before_s = self.rng.randrange(1, 900)
        return [
            lambda s: [Step("wait", self._refresh(s), max(left_s - before_s, 0))],
            lambda s: [Step("wait", (), before_s), self._winding(s)],
        ]

    def _latching(self, state: State) -> Scene:
        """Mostly at prices that are sound and have been for a while."""
        if self.rng.random() < 0.3:
            return [self._winding(state)]
        return [self._calm, self._calm, lambda s: [self._winding(s)]]

    def _calm(self, state: State) -> Scene:
        """Sound prices, and a window of the breakers that begins with them."""
        fresh = Step("refresh", self._refresh(state), BREAKER_S)
        return [fresh, Step("headroom", self._headroom(state))]

    def _paid_in(self, kind: str, account: int, dollars: int) -> Step:
        args = (account, 0, dollars * WAD // self.cast.unit(QUOTE))
        return Step(kind, (Call("Clearinghouse", "deposit", args, "provider"),))

    def _winding(self, state: State) -> Step:
        """A portion: some who are left, now and then others, one twice, or nonsense."""
        rng, cast, name = self.rng, self.cast, self.ending
        left = [account for account in cast.accounts if state.size_wad(account, name)]
        chosen = rng.sample(left, min(len(left), rng.choice((0, 1, 1, 1, 2, 3))))
        if rng.random() < 0.3:
            others = (cast.house, cast.insurance, self._account(), *chosen, 2**200)
            chosen.insert(rng.randrange(len(chosen) + 1), rng.choice(others))
        if left and rng.random() < 0.04:
            chosen.append(rng.choice(left) + ALIAS)
        sender = rng.choice(("keeper", "keeper", "attacker", "stranger", "owner_b"))
        args = (self._id(name), chosen)
        return Step("wind_down", (Call("Deleverager", "wind_down", args, sender),))

    def _over(self, state: State) -> Scene:
        """A portion, a price that is no longer that of the market, or what must be refused."""
        rng, name = self.rng, self.ending
        left = [(a, name) for a in self.cast.accounts if state.size_wad(a, name)]
        if not left and rng.random() < 0.9:
            return []
        held = rng.choice(left) if left else (self._account(), name)
        draws: list[Callable[[], Scene]] = [
            lambda: [self._winding(state)],
            lambda: [Step("price", self._moved(state))],
            lambda: [self._sidestep(state, held)],
            lambda: [self._revival(state)],
        ]
        return rng.choices(draws, (5, 2, 3, 1))[0]()

    def _moved(self, state: State) -> tuple[Call, ...]:
        answer = int(self._sound_answer(state, self.ending) * self.rng.uniform(0.85, 1.15))
        return self._round(state, self.ending, answer)

    def _sidestep(self, state: State, held: Held) -> Step:
        """At the newest price in place of the latched one: by a trade, deleveraged, or paid out."""
        rng, (account, name) = self.rng, held
        size, asset = state.size_wad(account, name) or SIZE_STEP_WAD, self._id(name)
        kind = rng.choice(("close", "adl", "settle"))
        if kind == "close":
            change = -size * rng.choice((1, 1, 2, -1))
            return Step(kind, self._order(state, held, change, self.cast.owner_role(account)))
        if kind == "adl":
            return Step(kind, (Call("Deleverager", "adl", (account, asset, abs(size)), "keeper"),))
        return Step(kind, (Call("Perps", "settle", (account, asset, []), "keeper"),))

    def _revival(self, state: State) -> Step:
        """Of what is over, by whoever could do it before."""
        asset, terms = self._id(self.ending), astuple(state.markets[self.ending].terms)
        calls = (
            self._mode(self.rng.random() < 0.3),
            Call("Perps", "set_terms", (asset, (*terms[:-2], 10**6, 1_000)), "governor"),
        )
        if self.rng.random() < 0.3:
            return self._announced("governor")
        return Step("governor", (self.rng.choice(calls),))


@dataclass
class EndingChecks(LiquidationChecks):
    """What must hold of a market that ends."""

    def of_ended(self, now: State) -> None:
        """I18: funding of a market that has ended stands still, and nothing is backed anew."""
        for name in self.cast.market_names:
            market, (_, price) = now.markets[name], now.endings[name]
            same = market.is_latched == (price != 0) == market.funding.has_ended
            self.must("exact latch", same, f"{name} ended at {price}: {market}")
            if not market.is_latched:
                continue
            self.held("I18 ended", any(now.sides[name]))
            at_rest = market.funding.rate_wad == 0 == market.terms.max_funding_e6
            self.must("I18", at_rest, f"{name} has ended and pays funding: {market}")
            self.must("I20", market.terms.weight_bps == 0, f"{name} has ended and is backed")

    def of_endings(self, before: State, after: State) -> None:
        """What has ended has ended: at one price, and positions only shrink."""
        for name in self.cast.market_names:
            old, new = before.markets[name], after.markets[name]
            if not old.is_latched:
                continue
            same = before.endings[name] == after.endings[name] and old.terms == new.terms
            self.must("exact latch", same and new.is_latched, f"{name} was revived: {new}")
            same = old.funding.at(before.time) == new.funding.at(after.time)
            self.must("I18", same, f"{name} has ended and its funding moved")
            pairs = zip(before.sides[name], after.sides[name], strict=True)
            fine = all(grown <= side for side, grown in pairs)
            self.must("exact wind down", fine, f"{name} has ended and was opened anew")

    def of_foretold(self, step: Step, outcome: Outcome, before: State, after: State) -> None:
        """The end of a market beside all the others."""
        super().of_foretold(step, outcome, before, after)
        if len(step.calls) != 1 or before.time != after.time:
            return
        call = step.calls[0]
        what = (call.contract, call.function)
        if what == ("Deleverager", "start_wind_down"):
            self._announce(call, outcome, before, after)
        elif what == ("Deleverager", "wind_down"):
            self._wind_down(call, outcome, before, after)
        elif what in GOVERNED and call.sender == "governor":
            is_over = call.args[0] in before.book.markets
            is_over = is_over and before.book.markets[call.args[0]].is_latched
            if self.held("exact revival ended", is_over):
                fine = outcome.reason == perps.WOUND_DOWN
                self.must("exact revival ended", fine, f"{call}: {outcome.reason}")

    def _name(self, asset: int, now: State) -> str:
        return next((name for name in self.cast.market_names if now.ids[name] == asset), "")

    def _announce(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        name, reason = self._name(call.args[0], before), None
        if call.sender != "governor":
            reason = NOT_THE_OWNER
        elif name and before.markets[name].is_latched:
            reason = ENDED
        elif not name or before.closed[name] == 0:
            reason = NOT_CLOSED
        message = f"the model says {reason!r}, the contract {outcome.reason!r}"
        self.must("exact announce", reason == outcome.reason, message)
        self.held("exact announce refused", reason is not None)
        if self.held("exact announce", reason is None):
            expected = {**before.endings, name: (before.time + NOTICE_S, 0)}
            self.must("exact announce", after.endings == expected, f"{after.endings}")

    def _wind_down(self, call: Call, outcome: Outcome, before: State, after: State) -> None:
        asset, accounts = call.args
        name, book = self._name(asset, before), before.book
        due_at, latched_wad = before.endings.get(name, (0, 0))
        price = latched_wad or (book.prices[asset].price_wad if name else 0)

        def act() -> Book:
            ended = book
            if not latched_wad:
                require(due_at != 0, NOT_ANNOUNCED)
                require(0 < before.closed[name] <= due_at - NOTICE_S, NOT_CLOSED)
                require(book.prices[asset].made_at >= due_at, NOT_OVER)
                ended = ended.latch(asset)
            for account in accounts:
                # An id beyond its width reads what is another's, and books nothing there.
                known = account % ALIAS
                is_open = ended.account(known).position(asset).size_wad != 0
                require(account < END_OF_ACCOUNTS or not is_open, BAD_ACCOUNT)
                ended = ended.wind_down(asset, [account], price)
            return ended

        key = "exact wind down" if latched_wad else "exact latch"
        self._foretold(key, act, outcome, after)
        if not outcome.is_accepted:
            return
        told = after.endings[name]
        self.must("exact latch", told == (due_at, price), f"{name} ended at {told}, not {price}")
        is_closing = any(before.size_wad(a, name) for a in accounts if a in self.cast.accounts)
        self.held("exact wind down", is_closing and not latched_wad)
        is_apart = price != book.prices[asset].price_wad
        self.held("exact wind down apart", is_closing and is_apart)
