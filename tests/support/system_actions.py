"""Random actions on the whole system, drawn from a seed and from what the system holds.

An action is a `Step`: plain data that can be printed, sent again and left out when a failure is
made smaller. About half of them are meant to be refused.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

from ballast.chain import Contract
from ballast.model.margin import GWEI
from ballast.sandbox import BOUNDS
from tests.clearing_kit import action
from tests.support.allocations import arguments_of
from tests.support.system_cast import ASSETS, Cast
from tests.support.system_state import WAD, State
from tests.support.system_steps import Ahead, Call, Draw, Step
from tests.support.system_trades import TRADE
from tests.support.system_watches import WatchDraws
from tests.support.world import QUOTE, UNLIMITED, ZERO_ADDRESS, to_wad

HEARTBEAT_S = 3_900
SCRIPTED = (3, 4)  # accounts that begin with a hook that does what it is told
ALL_PERMISSIONS = 63
WITHOUT_ALLOCATION = 0.35  # of the accounts
ALL_ACTIONS = 31  # that a policy may allow
FLOOR_SHIFT = 48  # of a donor, in a guard word


class Actions(WatchDraws):
    """Draws the next step. Weights and sizes are such that about half are accepted."""

    def __init__(self, cast: Cast, rng: random.Random) -> None:
        super().__init__(cast, rng)
        self.hostile_functions = _state_changing(cast)
        self._queue: list[Step | Ahead] = []
        self._table: list[tuple[float, str, Draw]] = [
            (6, "deposit", self._deposit),
            (7, "withdraw", self._withdraw),
            (9, "borrow", self._borrow),
            (3, "repay", self._repay),
            (2, "repay_by_stranger", self._repay_by_stranger),
            (5, "transfer", self._transfer),
            (7, "sell", self._sell),
            (8, "buy", self._buy),
            (7, "batch", self._batch),
            (2.5, "set_operator", self._set_operator),
            (4, "operator_acts", self._operator_acts),
            (3, "set_guard", self._set_guard),
            (2, "apply_guard", self._apply_guard),
            (0.5, "revoke", self._revoke),
            (1.5, "arm_budget", self._arm_budget),
            (3, "set_policy", self._set_policy),
            (1, "set_bounds", self._set_bounds),
            (2, "apply_policy", self._apply_policy),
            (2, "set_allocation", self._set_allocation),
            (2, "apply_allocation", self._apply_allocation),
            (0.3, "clear_policy", self._clear_policy),
            (10, "rebalance", self._rebalance),
            (5, "rebalance", self._pressure),
            (5, "rebalance", self._imbalance),
            (2.5, "rebalance", self._drought),
            (4, "hook_acts", self._hook_acts),
            (2, "poke", self._poke),
            (8, "price", self._price),
            (0.6, "quote_price", self._quote_price),
            (1.5, "wait", self._nothing),
            (1.2, "feed_dies", self._feed_dies),
            (3, "vault_deposit", self._vault_deposit),
            (3, "vault_withdraw", self._vault_withdraw),
            (0.7, "vault_service", self._vault_service),
            (1.5, "donate", self._donate),
            (7, "hostile", self._hostile),
            (0.4, "approve", self._approve),
            (0.7, "governor", self._governor),
            (24, "open", self._open),
            (15, "increase", self._increase),
            (9, "reduce", self._reduce),
            (9, "flip", self._flip),
            (7, "close", self._close),
            (4, "reduce_only", self._reduce_only),
            (3.5, "bad_trade", self._bad_trade),
            (7, "settle", self._settle),
            (3, "headroom", self._headroom),
            (1.5, "accrue", self._accrue),
            (4, "adl", self._adl),
            (0.8, "flag_house", self._flag_house),
            (0.6, "flag_bad_debt", self._flag_bad_debt),
            (10, "liquidate", self._liquidate),
            (1, "flag", self._flag),
            (1, "collect", self._collect),
            (4, "open", self._sink),
            (0.8, "donate_house", self._donate_house),
            (1, "price", self._squeeze),
            (1.6, "open", self._crowd),
            (1, "open", self._ruin),
            (1, "open", self._unhedge),
            (1, "open", self._mirror),
            (2, "ask_entry", self._ask_entry),
            (2, "ask_exit", self._ask_exit),
            (2, "fulfil", self._fulfil),
            (2.5, "claim", self._claim),
            (0.6, "watch", self._watch),
            (4, "serve", self._serve),
            (0.8, "unwatch", self._unwatch),
        ]
        self._when_short: list[tuple[str, Draw]] = [
            ("adl", self._adl),
            ("flag_house", self._flag_house),
            ("settle", self._settle),
            ("donate_house", self._rescue),
        ]
        self._weights = [weight for weight, _, _ in self._table]

    # ---- drawing

    def opening(self) -> list[Step]:
        """The house opens; every owner's accounts are filled, guarded and given a policy."""
        cast = self.cast
        state = cast.read()
        steps = self.house_opens(state)
        for account in cast.accounts:
            role = cast.owner_role(account)
            wealth = self.rng.choice((5_000, 15_000, 40_000, 40_000))
            for name in cast.names:
                units = self._worth(state, name, wealth)
                call = Call("Clearinghouse", "deposit", (account, self._id(name), units), role)
                steps.append(Step("deposit", (call,)))
            # Before there is a guard an allocation holds at once.
            steps.append(Step("set_allocation", (self._set_allocation_of(account),)))
            for draw, kind in (
                (self._set_guard_of, "set_guard"),
                (self._set_policy_of, "set_policy"),
            ):
                call = draw(account)
                if kind == "set_guard" and cast.accounts.index(account) in SCRIPTED:
                    args = (account, cast.hook.address, call.args[2])
                    call = Call(call.contract, call.function, args, call.sender)
                steps.append(Step(kind, (call,)))
            if account & 255 == 0:
                budget = (50_000 * WAD, 86_400, 10**6 * WAD)
                steps.append(Step("arm_budget", (Call("Mandates", "arm_budget", (budget,), role),)))
        return steps

    def next(self, state: State) -> Step:
        """The next step, given what is."""
        while self._queue:
            first = self._queue.pop(0)
            if isinstance(first, Step):
                return first
            self._queue = first(state) + self._queue
        step = self._drawn(state)
        if step.kind == "price" and self.rng.random() < 0.2:
            self._queue.insert(0, self._at_once)
        return step

    def _at_once(self, state: State) -> list[Step | Ahead]:
        """In the very block of a round, when two prices count."""
        draws: list[tuple[str, Draw]] = [
            ("settle", self._settle),
            ("open", self._open),
            ("increase", self._increase),
            ("close", self._close),
        ]
        kind, draw = self.rng.choices(draws, (4, 1, 1, 1))[0]
        drawn = draw(state)
        return [Step(kind, drawn)] if isinstance(drawn, tuple) and drawn else []

    def _drawn(self, state: State) -> Step:
        rng = self.rng
        wait_s = rng.choices((0, 12, rng.randrange(13, 900)), (62, 34, 4))[0]
        is_overdue = any(state.time - at > HEARTBEAT_S - 600 for _, at in state.rounds.values())
        if (is_overdue or state.is_any_price_unusable) and rng.random() < 0.2:
            return Step("refresh", self._refresh(state), wait_s)
        is_stale = any(m.headroom.is_stale(state.time + wait_s) for m in state.markets.values())
        if is_stale and rng.random() < 0.25:
            return Step("headroom", self._headroom(state), wait_s)
        scene = self._of_ending(state)
        if scene:
            self._queue = scene
            return self.next(state)
        kept = self.ending if self._is_announced(state) else ""
        closed = [
            name
            for name, market in state.markets.items()
            if market.is_close_only and not market.is_latched and name != kept
        ]
        if closed and rng.random() < 0.05:
            call = Call("Perps", "set_close_only", (self._id(closed[0]), False), "governor")
            return Step("governor", (call,), wait_s)
        is_short = state.terms[state.house].excess_maint < 0
        while True:
            _, kind, draw = rng.choices(self._table, self._weights)[0]
            if is_short and rng.random() < 0.3:
                kind, draw = rng.choices(self._when_short, (6, 1, 1, 0.5))[0]
            if kind == "wait":
                wait_s = rng.choice((60, 600, 3_600, 3_601, 5_000, 86_400, 10 * 86_400))
                calls = self._refresh(state) if rng.random() < 0.8 else ()
                return Step(kind, calls, wait_s)
            drawn = draw(state)
            if isinstance(drawn, list) and drawn:
                self._queue = drawn
                return self.next(state)
            if not drawn:
                continue
            if isinstance(drawn, tuple):
                return Step(kind, drawn, wait_s)

    def probe(self, last: Step, is_accepted: bool, state: State) -> Step | None:
        """Now and then a check on a copy of the world after the last step."""
        rng = self.rng
        if last.kind == "rebalance" and is_accepted and rng.random() < 0.5:
            return Step("probe", probe=("rebalances_end", _rebalanced(last.calls[-1])))
        draw = rng.random()
        if draw < 0.03:
            return Step("probe", probe=("exits_are_open", self._account(), rng.random() < 0.5))
        if draw < 0.05:
            units = rng.choice((1, 7, 10**6, 10**10))
            return Step("probe", probe=("round_trips_cost", units))
        if draw < 0.06:
            name = rng.choice(self.cast.market_names)
            terms = state.markets[name].terms
            largest = rng.choice((terms.min_size_gwei * 3, terms.round_cap_gwei // 3))
            size = rng.choice((1, -1)) * rng.randrange(terms.min_size_gwei * 2, largest + 1) * GWEI
            account, other = rng.sample(self.cast.accounts, 2)
            return Step("probe", probe=("trades_cost", account, other, name, size))
        if draw < 0.065:
            units = self._worth(state, QUOTE, rng.choice((1, 1_000, 50_000)))
            return Step("probe", probe=("entries_cost", units))
        if draw < 0.09:
            plan = self.cast.world.rebalancer.plan
            ready = [a for a in self.cast.accounts if state.guards[a] and plan(a).code == 0]
            if ready:
                return Step("probe", probe=("rebalances_end", rng.choice(ready)))
        return None

    # ---- accounts

    def _deposit(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        name = self.rng.choice((*self.cast.names, QUOTE))
        units = self._worth(state, name, self.rng.choice((1, 1_000, 10_000, 30_000)))
        if self.rng.random() < 0.2:
            units = self.rng.choice((0, 1, 3, 2**121))
        args = (account, self._id(name), units)
        return (Call("Clearinghouse", "deposit", args, self._sender(account)),)

    def _withdraw(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        name = self.rng.choice(self._held_names(state, account))
        units = self._part(self._held(state, account, name))
        args = (account, self._id(name), units, self._receiver(account))
        return (Call("Clearinghouse", "withdraw", args, self._sender(account)),)

    def _borrow(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        units = self._cash_and(state, account, self._near(self._room(state, account)))
        args = (account, 0, units, self._receiver(account))
        return (Call("Clearinghouse", "withdraw", args, self._sender(account)),)

    def _indebted(self, state: State) -> int:
        owing = [a for a in self.cast.accounts if state.debt_shares(a)]
        return self.rng.choice(owing) if owing and self.rng.random() < 0.8 else self._account()

    def _repay(self, state: State) -> tuple[Call, ...]:
        account = self._indebted(state)
        units = self._part(state.debt_units(account))
        return (Call("Clearinghouse", "repay", (account, units), self.cast.owner_role(account)),)

    def _repay_by_stranger(self, state: State) -> tuple[Call, ...]:
        account = self._indebted(state)
        units = self._part(state.debt_units(account))
        payer = self.rng.choice(("stranger", "lender", "attacker", "operator"))
        return (Call("Clearinghouse", "repay", (account, units), payer),)

    def _transfer_args(self, state: State, donor: int) -> tuple[int, int, str, int]:
        rng = self.rng
        name = rng.choice((*self._held_names(state, donor), QUOTE))
        if name == QUOTE:
            units = self._cash_and(state, donor, self._part(self._room(state, donor) // 2))
        else:
            units = self._part(self._held(state, donor, name))
        receiver = self.cast.siblings(donor)[0]
        if rng.random() < 0.1:
            receiver = rng.choice((donor, self._account()))
        return donor, receiver, name, units

    def _transfer(self, state: State) -> tuple[Call, ...]:
        donor, receiver, name, units = self._transfer_args(state, self._account())
        args = (donor, receiver, self._id(name), units)
        return (Call("Clearinghouse", "transfer", args, self._sender(donor)),)

    # ---- swaps

    def _sale(self, state: State, account: int) -> tuple[str, str, int]:
        sold = self.rng.choice(self._held_names(state, account))
        bought = QUOTE
        if self.rng.random() < 0.25:
            bought = self.rng.choice([n for n in self.cast.names if n != sold])
        return sold, bought, self._part(self._held(state, account, sold))

    def _purchase(self, state: State, account: int) -> tuple[str, str, int]:
        """Buys with cash and a loan; with r + l above a quarter the room goes four times as far."""
        bought = self.rng.choice(self.cast.names)
        units = self._cash_and(state, account, self._near(3 * self._room(state, account) // 2))
        return QUOTE, bought, units

    def _swap_call(self, account: int, order: tuple[str, str, int], sender: str) -> Call:
        sold, bought, units = order
        least = self.rng.choice((0, 0, 0, 1, 2**100))
        adapter = self.cast.world.venue.address
        if self.rng.random() < 0.03:
            adapter = self.cast.roles["attacker"]
        args = (account, adapter, self._id(sold), self._id(bought), units, least)
        return Call("Clearinghouse", "swap", args, sender)

    def _sell(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        order = self._sale(state, account)
        return (self._swap_call(account, order, self._sender(account)),)

    def _buy(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        order = self._purchase(state, account)
        return (self._swap_call(account, order, self._sender(account)),)

    # ---- batches

    def _batch(self, state: State) -> tuple[Call, ...]:
        first = self._account()
        actions = []
        for _ in range(self.rng.randrange(2, 5)):
            account = first if self.rng.random() < 0.6 else self.cast.siblings(first)[0]
            actions.append(self._action(state, account))
        return (Call("Clearinghouse", "batch", (actions,), self._sender(first)),)

    def _modest(self, units: int) -> int:
        """Four in a row have to work, so each is smaller and less often wrong than alone."""
        if self.rng.random() < 0.08:
            return self._part(units)
        return int(units * self.rng.uniform(0.02, 0.3))

    def _action(self, state: State, account: int) -> tuple[Any, ...]:
        rng, cast = self.rng, self.cast
        kind = rng.choices((1, 2, 3, 4, 5, TRADE, 7), (4, 4, 2, 3, 5, 4, 0.15))[0]
        if kind == TRADE:
            return self._trade_action(state, account)
        if kind == 1:
            name = rng.choice((*cast.names, QUOTE))
            units = self._modest(self._worth(state, name, 50_000))
            return action(kind, account, asset=self._id(name), amount=units)
        if kind == 2:
            name = rng.choice((*self._held_names(state, account), QUOTE))
            held = self._room(state, account) if name == QUOTE else self._held(state, account, name)
            units, to = self._modest(held), self._receiver(account)
            return action(kind, account, asset=self._id(name), amount=units, target=to)
        if kind == 3:
            return action(kind, account, amount=self._modest(state.debt_units(account) + 10**6))
        if kind == 4:
            donor, receiver, name, units = self._transfer_args(state, account)
            units = self._modest(units) if units < 2**90 else units
            return action(kind, donor, other=receiver, asset=self._id(name), amount=units)
        draw = self._sale if rng.random() < 0.6 else self._purchase
        sold, bought, units = draw(state, account)
        units = self._modest(units) if units < 2**90 else units
        return action(
            kind,
            account,
            asset=self._id(sold),
            asset_out=self._id(bought),
            amount=units,
            target=cast.world.venue.address,
        )

    # ---- operators

    def _set_operator(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        permissions = self.rng.choice((63, 31, 15, 16, 24, 8, 4, 2, 1, 0, 64))
        expires_at = state.time + self.rng.choice((3_600, 86_400, 30 * 86_400, 0))
        args = (account, self.cast.roles["operator"], permissions, expires_at)
        return (Call("Mandates", "set_operator", args, self._sender(account)),)

    def _operator_acts(self, state: State) -> tuple[Call, ...]:
        trusted = [a for a in self.cast.accounts if state.permissions[a, "operator"]]
        account = self._account()
        if trusted and self.rng.random() < 0.9:
            account = self.rng.choice(trusted)
        granted = state.permissions[account, "operator"]
        allowed = [kind for kind, bit in enumerate((2, 4, 8, 1, 8, 16, 16)) if granted & bit]
        kind = self.rng.randrange(7)
        if allowed and self.rng.random() < 0.85:
            kind = self.rng.choice(allowed)
        if kind > 4:
            name = self.rng.choice(self.cast.market_names)
            size = state.size_wad(account, name)
            change = -size
            if not size or self.rng.random() < 0.5:
                change = self._growth(state, account, name, self.rng.choice((1, -1)))
            return self._order(state, (account, name), change, "operator")
        if kind == 0:
            name = self.rng.choice(self._held_names(state, account))
            units = self._modest(self._held(state, account, name))
            args: tuple[Any, ...] = (account, self._id(name), units, self._receiver(account))
            return (Call("Clearinghouse", "withdraw", args, "operator"),)
        if kind == 1:
            donor, receiver, name, units = self._transfer_args(state, account)
            units = self._modest(units) if units < 2**90 else units
            args = (donor, receiver, self._id(name), units)
            return (Call("Clearinghouse", "transfer", args, "operator"),)
        if kind == 2:
            return (Call("Clearinghouse", "batch", ([self._action(state, account)],), "operator"),)
        if kind == 3:
            name = self.rng.choice(self.cast.names)
            units = self._modest(self._worth(state, name, 50_000))
            return (Call("Clearinghouse", "deposit", (account, self._id(name), units), "operator"),)
        return (self._swap_call(account, self._sale(state, account), "operator"),)

    # ---- mandates

    def _set_guard_of(self, account: int) -> Call:
        rng, cast = self.rng, self.cast
        target = rng.choice((10_500, 12_000, 13_000, 15_000))
        cap = rng.choice((0, 5_000, 20_000)) * WAD
        guard = (
            target,
            rng.choice((100, 300, 500)),
            rng.choice((50, 150, 300, 1_000)),
            rng.choice((0, target, target, target + 1_000, target - 100)),
            cap,
            rng.choice((3_600, 86_400)) if cap else 0,
        )
        hook = cast.world.rebalancer.address
        if rng.random() < 0.3:
            scripted = cast.hook.address
            hook = rng.choice((ZERO_ADDRESS, cast.roles["attacker"], scripted, scripted, scripted))
        return Call("Mandates", "set_guard", (account, hook, guard), cast.owner_role(account))

    def _set_guard(self, state: State) -> tuple[Call, ...]:
        call = self._set_guard_of(self._account())
        if self.rng.random() < 0.15:
            account, hook, guard = call.args
            bad = list(guard)
            bad[self.rng.randrange(4)] = self.rng.choice((1, 9_999, 2**16, 2**200))
            call = Call(call.contract, call.function, (account, hook, tuple(bad)), call.sender)
        return (call,)

    def _apply_guard(self, state: State) -> tuple[Call, ...]:
        account, announced = self._account(), self.cast.world.mandates.announced_guard
        waiting = [other for other in self.cast.accounts if announced(other)[2]]
        if waiting and self.rng.random() < 0.7:
            account = self.rng.choice(waiting)
        return (Call("Mandates", "apply_guard", (account,), "keeper"),)

    def _set_allocation_of(self, account: int) -> Call:
        """Some wishes, near enough to what is there to be acted on; often none, so that there are
        accounts whose rebalances their guard alone limits."""
        rng, cast = self.rng, self.cast
        terms: dict[str, int] = {}
        weights: dict[str, int] = {}
        if rng.random() < WITHOUT_ALLOCATION:
            given = arguments_of(cast.world, weights=weights)
            return Call("Mandates", "set_allocation", (account, given), cast.owner_role(account))
        if rng.random() < 0.4:
            terms["share_bps"] = rng.choice((4_500, 6_000, 8_000))
        if rng.random() < 0.4:
            terms["position_bps"] = rng.choice((3_000, 6_000, 12_000))
        if rng.random() < 0.3:
            terms |= {"exposure_bps": rng.choice((8_000, 15_000)), "sigma_high_bps": 6_000}
        if rng.random() < 0.5:
            parts = rng.choice(((3_000, 3_000, 3_000), (5_000, 2_000, 1_000), (6_000, 0, 2_000)))
            weights = dict(zip(rng.sample(cast.names, len(parts)), parts, strict=True))
            terms |= {"drift_bps": rng.choice((200, 1_000)), "period_s": rng.choice((0, 3_600))}
        if rng.random() < 0.4:
            terms["ceiling_bps"] = rng.choice((20_000, 30_000))
        given = arguments_of(cast.world, weights=weights, **terms)
        return Call("Mandates", "set_allocation", (account, given), cast.owner_role(account))

    def _set_allocation(self, state: State) -> tuple[Call, ...]:
        call = self._set_allocation_of(self._account())
        if self.rng.random() < 0.15:
            account, given = call.args
            bad = list(given)
            bad[self.rng.choice((0, 6))] = self.rng.choice((9_999, 10_001, 2**16))
            call = Call(call.contract, call.function, (account, tuple(bad)), call.sender)
        return (call,)

    def _apply_allocation(self, state: State) -> tuple[Call, ...]:
        account, announced = self._account(), self.cast.world.mandates.announced_allocation
        waiting = [other for other in self.cast.accounts if announced(other)[2]]
        if waiting and self.rng.random() < 0.8:
            account = self.rng.choice(waiting)
        return (Call("Mandates", "apply_allocation", (account,), "keeper"),)

    def _revoke(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        return (Call("Mandates", "revoke", (account,), self._sender(account)),)

    def _arm_budget(self, state: State) -> tuple[Call, ...]:
        rng = self.rng
        budget = (
            rng.choice((0, 100, 2_000, 50_000)) * WAD + rng.choice((0, 1)),
            rng.choice((3_600, 86_400, 0)),
            rng.choice((1_000, 10**6, 10**7)) * WAD,
        )
        return (Call("Mandates", "arm_budget", (budget,), rng.choice(self.cast.owners)),)

    def _set_policy_of(self, account: int, target_bps: int = 0) -> Call:
        rng, cast = self.rng, self.cast
        names = rng.sample(cast.names, rng.choice((0, 1, 2, 3, 3)))
        donors = [sibling & 255 for sibling in cast.siblings(account)] * (rng.random() < 0.7)
        uses_wallet = rng.random() < 0.5
        if rng.random() < 0.4:  # nothing but perpetuals
            names, donors, uses_wallet = [], [], False
        target = target_bps or 13_000
        trigger = rng.choice([t for t in (10_000, 10_500, 11_000, 12_500) if t < target])
        policy = (
            trigger,
            rng.choice((0, 0, 60, 3_600)),
            rng.choice((0, 0, 1_000 * WAD)),
            uses_wallet,
            donors,
            [
                (self._id(name), rng.choice((0, 30, 100, 300)), rng.choice((0, 0, 10, 150)))
                for name in names
            ],
            cast.world.venue.address,
            rng.choice((0, ALL_ACTIONS, ALL_ACTIONS, rng.randrange(ALL_ACTIONS + 1))),
            rng.choice((0, 0, 10, 200)),
        )
        return Call("Rebalancer", "set_policy", (account, policy), cast.owner_role(account))

    def _set_policy(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        call = self._set_policy_of(account, state.guards[account] & 2**16 - 1)
        if self.rng.random() < 0.15:
            bad = list(call.args[1])
            place, values = self.rng.choice(
                ((0, (0, 9_999, 15_000, 2**16)), (7, (32, 2**8)), (8, (1_001, 2**16)))
            )
            bad[place] = self.rng.choice(values)
            call = Call(call.contract, call.function, (account, tuple(bad)), call.sender)
        return (call,)

    def _set_bounds(self, state: State) -> tuple[Call, ...]:
        """Some of: an end, a cooldown of emergencies, steps, a margin call, a buffer, a payer."""
        rng, account = self.rng, self._account()
        bounds = dict.fromkeys(BOUNDS, 0)
        for name, values in (
            ("expires_at", (state.time + 86_400, state.time + 10**6)),
            ("emergency_cooldown_s", (60, 600)),
            ("max_step", (100 * WAD, 5_000 * WAD)),
            ("call_s", (60, 3_600)),
        ):
            if rng.random() < 0.3:
                bounds[name] = rng.choice(values)
        if rng.random() < 0.3:
            bounds |= {"buffer_bps": 20_000, "horizon_s": 3_600}
        if rng.random() < 0.5:
            siblings = [account, *self.cast.siblings(account)]
            bounds |= {"payer": rng.choice(siblings) & 255, "pay_bps": 50, "gap_per_pay": 20}
            bounds["pay_cap"] = 20 * WAD
        call = Call(
            "Rebalancer", "set_bounds", (account, tuple(bounds.values())), self._sender(account)
        )
        return (call,)

    def _apply_policy(self, state: State) -> tuple[Call, ...]:
        account, announced = self._account(), self.cast.world.rebalancer.announced_policy
        waiting = [other for other in self.cast.accounts if announced(other)[2]]
        if waiting and self.rng.random() < 0.8:
            account = self.rng.choice(waiting)
        return (Call("Rebalancer", "apply_policy", (account,), "keeper"),)

    def _clear_policy(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        return (Call("Rebalancer", "clear_policy", (account,), self._sender(account)),)

    def _rebalance(self, state: State) -> tuple[Call, ...]:
        """Mostly an account that is ready for it, if there is one."""
        account = self._account()
        plan = self.cast.world.rebalancer.plan
        ready = [a for a in self.cast.accounts if state.guards[a] and plan(a).code == 0]
        if not ready and self.rng.random() < 0.5:
            return ()
        if ready and self.rng.random() < 0.85:
            account = self.rng.choice(ready)
        caller = self.rng.choice(("keeper", "keeper", "attacker", "stranger", "owner_a"))
        if self.rng.random() < 0.25:
            return (Call("Keepers", "rebalance_many", ([account], 0), caller),)
        return (Call("Mandates", "rebalance", (account,), caller),)

    def _hook_acts(self, state: State) -> tuple[Call, ...]:
        """A hook that is not the default one, and acts as it likes; sometimes with restraint."""
        rng, cast = self.rng, self.cast
        hook_of, scripted = cast.world.mandates.hook_of, cast.hook.address
        ready = [account for account in cast.accounts if hook_of(account) == scripted]
        account = rng.choice(ready) if ready else self._account()
        count = rng.choice((1, 1, 1, 2, 3))
        script = [self._hook_call(state, account) for _ in range(count)]
        return (
            Call("ScriptedHook", "set_script", (script,), "attacker"),
            Call("Mandates", "rebalance", (account,), "attacker"),
        )

    def _hook_call(self, state: State, account: int) -> tuple[str, bytes]:
        rng, cast, mandates = self.rng, self.cast, self.cast.world.mandates
        kinds = ("move", "sell", "buy", "pull", "trade", "settle")
        kind = rng.choices(kinds, (5, 5, 0.5, 2, 5, 2))[0]
        if kind == "move":
            donor = cast.siblings(account)[0] if rng.random() < 0.95 else self._account()
            if not state.guards[donor] >> FLOOR_SHIFT & 2**16 - 1 and rng.random() < 0.8:
                return self._hook_call(state, account)
            name = rng.choice((*self._held_names(state, donor), QUOTE))
            units = self._modest(self._held(state, donor, name) * rng.choice((1, 3)))
            data = mandates.move.encode(donor, self._id(name), units)
        elif kind == "pull":
            target_bps = state.guards[account] & 2**16 - 1
            missing = state.terms[account].shortfall_up(target_bps) // cast.unit(QUOTE)
            if not missing and rng.random() < 0.8:
                return self._hook_call(state, account)
            data = mandates.pull.encode(self._modest(missing or 10**9))
        elif kind in ("trade", "settle"):
            held = [n for n in cast.market_names if state.size_wad(account, n)]
            name = rng.choice(held or cast.market_names)
            data = mandates.settle.encode(state.ids[name])
            won = self._result(state, (account, name)) > 0
            if kind == "trade" or (not won and rng.random() < 0.8):
                change = self._shrinking(state, account, name)
                data = mandates.trade.encode(state.ids[name], change)
        else:
            draw = self._sale if kind == "sell" else self._purchase
            sold, bought, units = draw(state, account)
            units = self._modest(units) if units < 2**90 else units
            order = (cast.world.venue.address, self._id(sold), self._id(bought), units, 0)
            data = mandates.swap.encode(*order)
        return mandates.address, data

    def _shrinking(self, state: State, account: int, name: str) -> int:
        """A trade that mostly takes exposure away: what a guard lets a hook do."""
        held = state.held(account, name)
        if held.delta_wad == 0 or self.rng.random() < 0.1:
            return self._growth(state, account, name, self.rng.choice((1, -1)))
        part = self.rng.choice((0.05, 0.3, 0.8, 1.1))
        least = state.markets[name].terms.min_size_gwei * GWEI
        return -self._signed_whole(held.delta_wad * part) or least

    # ---- the vault

    def _vault_deposit(self, state: State) -> tuple[Call, ...]:
        who = self.rng.choice(("lender", "lender", "attacker", "owner_c"))
        units = self._worth(state, QUOTE, self.rng.choice((1, 500, 100_000)))
        if self.rng.random() < 0.3:
            units = self.rng.choice((0, 1, 2, 2**97))
        function = "deposit"
        if self.rng.random() < 0.4:
            function, units = "mint", units * 10**6 + self.rng.randrange(3)
        return (Call("LendingVault", function, (units, self.cast.roles[who]), who),)

    def _vault_withdraw(self, state: State) -> tuple[Call, ...]:
        who = self.rng.choice(("lender", "lender", "lender", "attacker", "owner_c"))
        price = (state.vault["totalAssets"] + 1) / (state.vault["totalSupply"] + 10**6)
        idle = state.vault["idle"]
        owner = who if self.rng.random() < 0.9 else "lender"
        shares = min(int(idle / price), state.shares[owner])
        # Most of the money stays, or there would be nothing to borrow.
        shares = int(shares * self.rng.choice((0.001, 0.05, 0.3)))
        if self.rng.random() < 0.15:
            shares = self.rng.choice((0, 1, state.shares[owner] + 1))
        to, of = self.cast.roles[who], self.cast.roles[owner]
        if self.rng.random() < 0.5:
            return (Call("LendingVault", "redeem", (shares, to, of), who),)
        return (Call("LendingVault", "withdraw", (int(shares * price), to, of), who),)

    def _vault_service(self, state: State) -> tuple[Call, ...]:
        function = self.rng.choice(("accrue", "accrue", "sweep_reserves", "skim"))
        return (Call("LendingVault", function, (), "keeper"),)

    def _donate(self, state: State) -> tuple[Call, ...]:
        token = self.rng.choice((*self.cast.names, QUOTE))
        to = self.rng.choice([name for name in self.cast.contracts if name not in self.cast.venues])
        units = self._worth(state, token, self.rng.choice((0.01, 1, 2_000)))
        address = self.cast.contracts[to].address
        return (Call(f"token {token}", "transfer", (address, units), "attacker"),)

    def _approve(self, state: State) -> tuple[Call, ...]:
        """How much of an owner's wallet the system may take."""
        units = self._worth(state, QUOTE, self.rng.choice((0, 1_000, 10**6)))
        amount = self.rng.choice((units, UNLIMITED, UNLIMITED, UNLIMITED))
        spender = self.cast.world.clearinghouse.address
        who = self.rng.choice(self.cast.owners)
        return (Call(f"token {QUOTE}", "approve", (spender, amount), who),)

    # ---- the governor, and everybody's enemy

    def _governor(self, state: State) -> tuple[Call, ...]:
        rng = self.rng
        kind = rng.randrange(8)
        if kind > 6:
            until = state.time + rng.choice((-300, 300, 900, 86_400 * 31))
            args = (self._id(rng.choice(self.cast.names)), until)
            return (Call("RiskOracle", "set_pause", args, "governor"),)
        if kind > 3:
            return (self._governed_market(state, kind),)
        if kind == 0:
            name = rng.choice(self.cast.names)
            cap = to_wad(8_000 if name == "SOL" else 100_000) * rng.choice((6, 10, 10, 12)) // 10
            args: tuple[Any, ...] = (self._id(name), cap, rng.choice((50, 100, 100)))
            return (Call("Listings", "set_asset_limits", args, "governor"),)
        if kind == 1:
            rate = (rng.choice((0, 100)), rng.choice((450, 900)), rng.choice((6_000, 9_000)), 8_000)
            return (Call("LendingVault", "set_rate", (rate,), "governor"),)
        if kind == 2:
            bps = rng.choice((0, 1_000, 5_000, 5_001))
            return (Call("LendingVault", "set_reserve_factor", (bps,), "governor"),)
        cap = rng.choice((1_000_000, 10**9, 10**9)) * 10**6
        return (Call("LendingVault", "set_deposit_cap", (cap,), "governor"),)

    def _governed_market(self, state: State, kind: int) -> Call:
        rng = self.rng
        name = rng.choice(self.cast.market_names)
        asset, terms = state.ids[name], state.markets[name].terms
        if kind == 4:
            is_close_only = not state.markets[name].is_close_only and rng.random() < 0.6
            return Call("Perps", "set_close_only", (asset, is_close_only), "governor")
        if kind == 5:
            cap = rng.choice((10**6, 10**9, 10**9)) * 10**6
            return Call("LiquidityVault", "set_deposit_cap", (cap,), "governor")
        perpetual = ASSETS[name].terms["perpetual"]
        changed = replace(
            terms,
            depth_gwei=int(perpetual["depth"] * GWEI) * rng.choice((1, 1, 2)),
            open_interest_cap_gwei=int(perpetual["open_interest_cap"] * GWEI) // rng.choice((1, 4)),
            max_funding_e6=rng.choice((0, 10**6, 10**7, 10**7 + 1)),
            weight_bps=perpetual["weight_bps"] - rng.choice((0, 0, 1_000, -1)),
        )
        return Call("Perps", "set_terms", (asset, astuple(changed)), "governor")

    def _hostile(self, state: State) -> tuple[Call, ...]:
        """Any function of any contract, with arguments that aim at somebody else. Drawn apart, so
        that what comes after it in a campaign does not hang on how many functions there are."""
        campaign, self.rng = self.rng, random.Random(self.rng.random())
        try:
            contract, entry = self.rng.choice(self.hostile_functions)
            victim = self.rng.choice(
                [a for a in self.cast.accounts if self.cast.owner_role(a) != "attacker"]
            )
            args = tuple(self._poison(state, victim, p) for p in entry["inputs"])
        finally:
            self.rng = campaign
        return (Call(contract, entry["name"], args, "attacker"),)

    def _poison(self, state: State, victim: int, parameter: dict[str, Any]) -> Any:
        rng, cast = self.rng, self.cast
        kind, name = parameter["type"], parameter["name"]
        if kind.endswith("]"):
            size = kind[kind.rindex("[") + 1 : -1]
            element = {**parameter, "type": kind[: kind.rindex("[")]}
            count = int(size) if size else rng.randrange(3)
            return [self._poison(state, victim, element) for _ in range(count)]
        if kind == "tuple":
            return tuple(self._poison(state, victim, part) for part in parameter["components"])
        if kind == "address":
            pool = [
                cast.roles["attacker"],
                cast.owner_address(victim),
                cast.roles["lender"],
                cast.roles["provider"],
                cast.world.venue.address,
                cast.world.rebalancer.address,
                cast.world.quote.address,
            ]
            return rng.choice(pool)
        if kind == "bool":
            return rng.random() < 0.5
        if kind.startswith("bytes"):
            return rng.randbytes(int(kind[5:] or 4))
        if kind == "string":
            return "x"
        if name in ("account", "donor"):
            return victim if rng.random() < 0.9 else self._account()
        if name in ("receiver", "other"):
            return rng.choice(cast.accounts)
        if name in ("asset", "assets", "asset_in", "asset_out"):
            return rng.randrange(len(cast.names) + 1)
        if name == "kind":
            return rng.randrange(1, 8)
        bits = int(kind.removeprefix("u").removeprefix("int") or 256)
        pool_of = (0, 1, 15, 300, 10_000, 13_000, state.time + 86_400, 10**6, 10**12, 10**21)
        if name.startswith("size") and rng.random() < 0.7:
            return rng.choice((1, -1) if kind.startswith("int") else (1,)) * rng.choice(
                (10**9, 10**17, 10**18, 10**19)
            )
        return min(rng.choice((*pool_of, UNLIMITED)), 2 ** (bits - 1) - 1)


def _rebalanced(call: Call) -> int:
    """The account of a call that rebalances one."""
    (account, *_) = call.args[0] if call.contract == "Keepers" else call.args
    return int(account)


def _state_changing(cast: Cast) -> list[tuple[str, dict[str, Any]]]:
    """Every function of the system's own contracts that may change something."""
    contracts: Sequence[tuple[str, Contract]] = list(cast.world.system.contracts.items())
    return [
        (name, entry)
        for name, contract in contracts
        for entry in contract.artifact.abi
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    ]
