"""Scenes: several steps with one aim, since chance alone would hardly ever come so far.

Each of its steps is drawn when its turn has come, from what the system holds then.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.system_prices import MOST_MOVE
from tests.support.system_state import State
from tests.support.system_steps import Ahead, Call, Step
from tests.support.system_trades import TradeDraws
from tests.support.world import UNLIMITED

Scene = list[Step | Ahead]
TARGET_BPS = 13_000  # about where rebalances aim


class Scenes(TradeDraws):
    """Draws of scenes."""

    # ---- what they are made of

    def _prelude(self, state: State) -> Scene:
        """A round, and with it a new round cap, and what the house can back now."""
        fresh = Step("refresh", self._refresh(state), 12)
        return [fresh, Step("headroom", self._headroom(state))]

    def _levered(self, account: int, least: float = 0.9, most: float = 1) -> Ahead:
        """All but a little of what the margin allows is borrowed and taken out."""
        rng, cast = self.rng, self.cast

        def ahead(state: State) -> Scene:
            units = int(self._room(state, account) * rng.uniform(least, most))
            who = cast.owner_role(account)
            args = (account, 0, self._cash_and(state, account, units), cast.roles[who])
            return [Step("borrow", (Call("Clearinghouse", "withdraw", args, who),))]

        return ahead

    def _ordered(self, kind: str, account: int, name: str, size: Callable[[State], float]) -> Ahead:
        """A trade of a size that is known later, by the owner; none if it is zero."""

        def ahead(state: State) -> Scene:
            change = self._signed_whole(size(state))
            who = self.cast.owner_role(account)
            order = self._order(state, (account, name), change, who) if change else ()
            return [Step(kind, order)] if order else []

        return ahead

    def _run(self, name: str, sign: int, count: int, *, until_short: bool = False) -> Ahead:
        """Rounds in one direction."""
        rng = self.rng

        def ahead(state: State) -> Scene:
            is_short = state.terms[state.house].excess_maint < 0
            if count == 0 or (until_short and is_short and rng.random() < 0.6):
                return []
            usual, answer = self._answer(name), self._sound_answer(state, name)
            answer = int(answer * (1 + sign * rng.uniform(0.05, MOST_MOVE)))
            if not usual // 4 < answer < 4 * usual:
                return []
            step = Step("price", self._round(state, name, answer), rng.choice((0, 12)))
            return [step, self._run(name, sign, count - 1, until_short=until_short)]

        return ahead

    def _share(self, account: int, name: str, side: int, part: float) -> Callable[[State], float]:
        """About such a part of what caps and margin allow."""
        part *= self.rng.uniform(0.8, 1.2)
        largest = self.cast.world.system.perps.largest_increase

        def size(state: State) -> float:
            cap: int = largest(state.ids[name], account, side > 0)
            return side * part * min(cap, self._margin_size(state, account, name) / 0.6)

        return size

    # ---- the scenes

    def _squeeze(self, state: State) -> Scene:
        """Round after round against the house."""
        skewed = [(n, m.skew_wad) for n, m in state.markets.items() if m.skew_wad]
        if not skewed:
            return []
        name, skew = self.rng.choice(skewed)
        return [self._run(name, 1 if skew > 0 else -1, self.rng.randrange(2, 6))]

    def _crowd(self, state: State) -> Scene:
        """Several accounts take what the house can back of one side, and the price runs away until
        the house is short, or further."""
        rng = self.rng
        name = rng.choice(self.cast.market_names)
        side = self.moods[name] if rng.random() < 0.3 else 1
        orders = [
            self._ordered("open", account, name, self._share(account, name, side, 0.25))
            for account in rng.sample(self.cast.accounts, 4)
        ]
        run = self._run(name, side, 14, until_short=True)

        def looked(state: State) -> Scene:
            return [Step("flag_house", self._flag_house(state))] if rng.random() < 0.5 else []

        return [*self._prelude(state), *orders, *self._prelude(state), *orders, run, looked]

    def _ruin(self, state: State) -> Scene:
        """Accounts take long positions and all the cash they can get, the price falls until little
        or nothing is theirs, and what they lost is collected as far as they can bear it."""
        rng, name = self.rng, self.rng.choice(self.cast.market_names)
        accounts = rng.sample(self.cast.accounts, 3)
        scene = self._prelude(state)
        for account in accounts:
            size = self._share(account, name, 1, 0.5)
            scene += [self._ordered("open", account, name, size), self._levered(account)]
        scene += [self._run(n, -1, rng.randrange(3, 6)) for n in self.cast.names]

        def collected(state: State) -> Scene:
            won = [held for held in self._carriers(state) if self._result(state, held) > 0]
            losers = [(account, state.ids[name]) for account in accounts]
            if not won:
                return []
            account, market = rng.choice(won)
            args = (account, state.ids[market], losers)
            return [Step("settle", (Call("Perps", "settle", args, "keeper"),))]

        closing = [
            self._ordered("close", a, name, lambda s, a=a: -s.size_wad(a, name)) for a in accounts
        ]
        rng.shuffle(closing)
        return [*scene, closing[0], collected, *closing[1:]]

    def _unhedge(self, state: State) -> Scene:
        """A short against collateral, cash to the limit, and then the collateral is sold."""
        rng = self.rng
        account, name = self._account(), rng.choice(self.cast.market_names)

        def hedge(state: State) -> float:
            held = state.held(account, name)
            return -held.collateral_wad * rng.uniform(0.3, 1) if held.size_wad == 0 else 0

        def sale(state: State) -> Scene:
            units = self._held(state, account, name)
            if not units:
                return []
            order = (name, "USD", int(units * rng.choice((0.5, 1))))
            return [Step("sell", (self._swap_call(account, order, self.cast.owner_role(account)),))]

        order = self._ordered("open", account, name, hedge)
        return [*self._prelude(state), order, self._levered(account), sale]

    def _mirror(self, state: State) -> Scene:
        """At the limit of its margin an account turns its exposure into the opposite: no larger,
        and yet it costs a fee and takes more on gross."""
        part = self.rng.uniform(1.7, 2.02)

        def turn(state: State) -> Scene:
            fitting = [
                (account, name)
                for account in self.cast.accounts
                for name in self.cast.market_names
                if self._fits(state, account, name, -part * state.held(account, name).delta_wad)
            ]
            if not fitting:
                return []
            account, name = self.rng.choice(fitting)
            change = -part * state.held(account, name).delta_wad
            return [self._levered(account), self._ordered("open", account, name, lambda _: change)]

        return [*self._prelude(state), turn]

    def _fits(self, state: State, account: int, name: str, change: float) -> bool:
        largest = self.cast.world.system.perps.largest_increase
        return 0 < abs(change) <= largest(state.ids[name], account, change > 0)

    def _pressure(self, state: State) -> Scene:
        """An account with a policy takes what its margin allows, and the price turns against it."""
        rng, cast, world = self.rng, self.cast, self.cast.world
        hook_of, policy_of = world.mandates.hook_of, world.rebalancer.policy_of
        ready = [
            account
            for account in cast.accounts
            if hook_of(account) == world.rebalancer.address and policy_of(account).trigger_bps
        ]
        if not ready:
            return []
        account, market = rng.choice(ready), rng.choice(cast.market_names)
        part, side = rng.uniform(0.5, 0.9), self._side(market)

        def size(state: State) -> float:
            return side * part * self._margin_size(state, account, market)

        def turn(state: State) -> Scene:
            deltas = {name: state.held(account, name).delta_wad for name in cast.names}
            name = max(deltas, key=lambda n: abs(deltas[n]) * state.marks[n].price_wad)
            return [self._run(name, -1 if deltas[name] > 0 else 1, rng.choice((1, 1, 2)))]

        def rebalance(state: State) -> Scene:
            return self._rebalanced(account)

        lever = self._levered(account)
        if rng.random() < 0.6:
            lever = self._ordered("open", account, market, size)
        headroom = Step("headroom", self._headroom(state))
        return [headroom, lever, turn, rebalance, rebalance]

    def _drought(self, state: State) -> Scene:
        """An account that may sell owes all that it can, the price turns against it, and the venue
        has too little for the whole of what it has to sell."""
        rng, cast, world = self.rng, self.cast, self.cast.world
        hook_of, policy_of = world.mandates.hook_of, world.rebalancer.policy_of
        policies = {
            account: policy_of(account)
            for account in cast.accounts
            if hook_of(account) == world.rebalancer.address
        }
        sold = [
            (account, name)
            for account, policy in policies.items()
            for name in cast.names
            if policy.trigger_bps and state.collateral_wad(account, name)
            if self._id(name) in [sale.asset for sale in policy.sales]
        ]
        if not sold:
            return []
        account, name = rng.choice(sold)

        def turn(state: State) -> Scene:
            if not world.rebalancer.plan(account).code:
                return []
            answer = int(self._sound_answer(state, name) * (1 - rng.uniform(0.05, MOST_MOVE)))
            return [Step("price", self._round(state, name, answer), 12)]

        def dry(state: State) -> Scene:
            calls = self._dry(state, name, state.terms[account].shortfall_up(TARGET_BPS))
            return [Step("drought", calls)] if calls else []

        def rebalance(state: State) -> Scene:
            return self._rebalanced(account)

        def rain(state: State) -> Scene:
            calls = self._rain(state, name)
            return [Step("drought", calls)] if calls else []

        fresh = Step("refresh", self._refresh(state), 12)
        return [
            fresh,
            self._levered(account, 0.7, 0.95),
            turn,
            turn,
            turn,
            turn,
            dry,
            rebalance,
            rebalance,
            rain,
        ]

    def _imbalance(self, state: State) -> Scene:
        """An account with an allocation pays what it owes and gets much of one asset, so that its
        margin is in order and its make-up is not."""
        rng, cast, world = self.rng, self.cast, self.cast.world
        hook_of, words_of = world.mandates.hook_of, world.mandates.allocation_words
        ready = [
            account
            for account in cast.accounts
            if hook_of(account) == world.rebalancer.address
            and world.rebalancer.policy_of(account).trigger_bps
            and any(words_of(account))
        ]
        if not ready:
            return []
        account, name = rng.choice(ready), rng.choice(cast.names)
        role = cast.owner_role(account)
        units = self._worth(state, name, rng.choice((20_000, 60_000)))
        given = Call("Clearinghouse", "deposit", (account, self._id(name), units), role)
        paid = Call("Clearinghouse", "repay", (account, UNLIMITED), "lender")

        def rebalance(state: State) -> Scene:
            return self._rebalanced(account)

        repaid = [Step("repay", (paid,))] if state.debt_shares(account) else []
        return [*repaid, Step("deposit", (given,)), *self._prelude(state), *[rebalance] * 3]

    def _rebalanced(self, account: int) -> Scene:
        if self.cast.world.rebalancer.plan(account).code:
            return []
        return [Step("rebalance", (Call("Mandates", "rebalance", (account,), "keeper"),), 12)]
