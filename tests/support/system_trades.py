"""Random actions with perpetuals, with the house that takes the other side, and with its vault."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ballast.model.margin import GWEI, RATE, result_wad
from ballast.model.perps import SIZE_STEP_WAD
from tests.clearing_kit import action
from tests.support.system_cast import Cast
from tests.support.system_prices import PriceDraws
from tests.support.system_state import WAD, State
from tests.support.system_steps import Call, Step
from tests.support.world import QUOTE, UNLIMITED, ZERO_ADDRESS

TRADE = 6  # kind of action in a batch
IS_SALE, IS_REDUCTION = 1, 2
NO_MARKET, NOT_LISTED = 3, 99  # asset ids
ASSETS_END, ACCOUNTS_END = 256, 2**168  # beyond them an id would be another's
HOUSES = (20_000, 40_000, 80_000, 400_000)  # dollars
DEPOSIT_EPOCH_S = 600
ENTRY_S = 3_600 + DEPOSIT_EPOCH_S

Held = tuple[int, str]  # account, market


class TradeDraws(PriceDraws):
    """Draws of trades, settlements and whatever concerns the house. No calls: not now."""

    def __init__(self, cast: Cast, rng: random.Random) -> None:
        super().__init__(cast, rng)
        # Traders mostly agree, or the house would never have much of a position.
        self.moods = {name: rng.choice((1, 1, -1)) for name in cast.market_names}

    # ---- what there is

    def _carriers(self, state: State, *, is_open: bool = True) -> list[Held]:
        """Accounts with a position; with an unpaid cost too, if it need not be open."""
        return [
            (account, name)
            for account in self.cast.accounts
            for name in self.cast.market_names
            if state.size_wad(account, name) or (not is_open and state.costs[account, name])
        ]

    def _result(self, state: State, held: Held) -> int:
        """Unsettled result at the newest price."""
        account, name = held
        return result_wad(state.held(account, name), state.book.mark(state.ids[name]))

    def _whole(self, size_wad: float) -> int:
        """In steps, now and then not."""
        steps = int(size_wad) // SIZE_STEP_WAD
        return steps * SIZE_STEP_WAD

    def _margin_size(self, state: State, account: int, name: str) -> int:
        """About how much more of a perpetual the margin allows; WAD units."""
        mark = state.marks[name]
        rate = mark.price_wad * mark.rate_init_e6 // RATE
        return max(state.terms[account].excess_init, 0) * WAD // max(rate, 1)

    def _growth(self, state: State, account: int, name: str, sign: int) -> int:
        """A size to grow by: near a cap, near the margin, or just some of it."""
        rng = self.rng
        margin = self._margin_size(state, account, name)
        asset = state.ids[name]
        cap = self.cast.world.system.perps.largest_increase(asset, account, sign > 0)
        least = state.markets[name].terms.min_size_gwei * GWEI
        draw = rng.random()
        if draw < 0.3:
            size = cap * rng.uniform(0.7, 1.02)
        elif draw < 0.4:
            return sign * rng.choice((cap, cap + SIZE_STEP_WAD))
        elif draw < 0.6:
            size = margin * rng.uniform(0.6, 1.1)
        else:
            size = min(margin, cap or margin) * rng.choice((0.02, 0.1, 0.3, 0.6))
        return sign * self._whole(max(size, least * rng.uniform(0.9, 5)))

    # ---- orders

    def _limit(self, state: State, name: str, change: int) -> int:
        """Mostly none, sometimes near the price."""
        if self.rng.random() < 0.8:
            return UNLIMITED if change > 0 else 0
        off = self.rng.uniform(-0.005, 0.04)
        price = state.marks[name].price_wad
        return int(price * (1 + off if change > 0 else 1 - off))

    def _order(
        self, state: State, held: Held, change: int, sender: str, *, is_reduction: bool = False
    ) -> tuple[Call, ...]:
        account, name = held
        deadline = state.time + self.rng.choice((30, 900, 3_600, 86_400))
        limit = self._limit(state, name, change)
        args = (account, state.ids[name], change, limit, deadline, is_reduction)
        return (Call("Perps", "trade", args, sender),)

    def _open(self, state: State) -> tuple[Call, ...]:
        flat = [
            (account, name)
            for account in self.cast.accounts
            for name in self.cast.market_names
            if not state.size_wad(account, name)
        ]
        if not flat:
            return ()
        account, name = self.rng.choice(flat)
        side = self._side(name)
        if self._is_shut(state, account, name, side):
            return ()
        change = self._growth(state, account, name, side)
        return self._order(state, (account, name), change, self._sender(account))

    def _is_shut(self, state: State, account: int, name: str, side: int) -> bool:
        """Whether nothing can grow now; mostly there is no use in trying."""
        largest = self.cast.world.system.perps.largest_increase
        return largest(state.ids[name], account, side > 0) == 0 and self.rng.random() < 0.8

    def _side(self, name: str) -> int:
        return self.moods[name] * self.rng.choice((1, 1, 1, -1))

    def _increase(self, state: State) -> tuple[Call, ...]:
        return self._changed(state, lambda held, size: self._grown(state, held, size))

    def _grown(self, state: State, held: Held, size: int) -> int:
        side = 1 if size > 0 else -1
        return 0 if self._is_shut(state, *held, side) else self._growth(state, *held, side)

    def _reduce(self, state: State) -> tuple[Call, ...]:
        part = self.rng.choice((0.01, 0.2, 0.5, 0.9)) * self.rng.uniform(0.5, 1.1)
        return self._changed(state, lambda held, size: -self._signed_whole(size * part))

    def _flip(self, state: State) -> tuple[Call, ...]:
        return self._changed(
            state,
            lambda held, size: -size + self._growth(state, *held, -1 if size > 0 else 1),
        )

    def _close(self, state: State) -> tuple[Call, ...]:
        return self._changed(state, lambda held, size: -size)

    def _reduce_only(self, state: State) -> tuple[Call, ...]:
        part = self.rng.choice((-0.5, 0.5, 1, 1.5, 100))
        return self._changed(
            state, lambda held, size: -self._signed_whole(size * part), is_reduction=True
        )

    def _changed(
        self, state: State, draw: Callable[[Held, int], int], *, is_reduction: bool = False
    ) -> tuple[Call, ...]:
        carriers = self._carriers(state)
        if not carriers:
            return ()
        held = self.rng.choice(carriers)
        change = draw(held, state.size_wad(*held))
        if change == 0:
            return ()
        sender = self._sender(held[0])
        return self._order(state, held, change, sender, is_reduction=is_reduction)

    def _signed_whole(self, size_wad: float) -> int:
        return self._whole(size_wad) if size_wad >= 0 else -self._whole(-size_wad)

    def _bad_trade(self, state: State) -> tuple[Call, ...]:
        """One thing wrong with it, or a size at the edge of what words can hold."""
        rng, account = self.rng, self._account()
        name = rng.choice(self.cast.market_names)
        sign = rng.choice((1, -1))
        change = sign * self._whole(self._margin_size(state, account, name) * 0.05)
        deadline = state.time + 3_600
        args = [account, state.ids[name], change, UNLIMITED if sign > 0 else 0, deadline, False]
        kind = rng.randrange(7)
        if kind == 0:
            args[1] = rng.choice((0, NO_MARKET, NOT_LISTED, ASSETS_END + state.ids[name]))
            if rng.random() < 0.2:
                args[:2] = [account + ACCOUNTS_END, state.ids[name]]
        elif kind == 1:
            args[2] = change + rng.choice((1, -1, SIZE_STEP_WAD // 2))
        elif kind == 2:
            args[2] = sign * rng.choice((0, 1, SIZE_STEP_WAD, 10**6 * WAD, 2**119, 2**120))
            args[2] -= args[2] % SIZE_STEP_WAD
        elif kind == 3:
            args[3] = 0 if sign > 0 else UNLIMITED
        elif kind == 4:
            args[4] = state.time - rng.choice((1, 3_600))
        elif kind == 5:
            args[5] = True
        else:
            sender = rng.choice(("attacker", "stranger", "operator", "provider"))
            return (Call("Perps", "trade", tuple(args), sender),)
        return (Call("Perps", "trade", tuple(args), self.cast.owner_role(account)),)

    def _trade_action(self, state: State, account: int) -> tuple[Any, ...]:
        """An action of a batch."""
        rng = self.rng
        name = rng.choice(self.cast.market_names)
        size = state.size_wad(account, name)
        is_reduction = size != 0 and rng.random() < 0.5
        if is_reduction:
            change = -self._signed_whole(size * rng.choice((0.3, 1, 1, 1.5)))
        else:
            change = self._growth(state, account, name, self._side(name))
        flags = (IS_SALE if change < 0 else 0) | (IS_REDUCTION if is_reduction else 0)
        return action(
            TRADE,
            account,
            other=state.time + 900,
            asset=state.ids[name],
            asset_out=flags,
            amount=abs(change) + (rng.random() < 0.03),
            min_out=UNLIMITED if change > 0 else 0,
        )

    # ---- results

    def _settle(self, state: State) -> tuple[Call, ...]:
        """Mostly somebody who won, with some who lost; the house and nonsense among them."""
        rng = self.rng
        carriers = self._carriers(state, is_open=False)
        if not carriers:
            return ()
        results = {held: self._result(state, held) for held in carriers}
        winners = [held for held, result in results.items() if result > 0]
        lost = [held for held, result in results.items() if result < 0]
        if not winners and rng.random() < 0.7:
            return ()
        account, name = rng.choice(winners if winners and rng.random() < 0.85 else carriers)
        if rng.random() < 0.03:
            account = self.cast.house
        pool = lost if rng.random() < 0.8 else carriers
        chosen = rng.sample(pool, min(len(pool), rng.choice((0, 1, 1, 2, 3))))
        losers = [(who, state.ids[market]) for who, market in chosen]
        if rng.random() < 0.1:
            extra = rng.choice((self.cast.house, account, self._account()))
            extra += rng.choice((0, 0, 0, ACCOUNTS_END))
            assets = (state.ids[name], NO_MARKET, ASSETS_END + state.ids[name])
            losers.insert(0, (extra, rng.choice(assets)))
        sender = rng.choice(("keeper", "attacker", "stranger", "operator"))
        if rng.random() < 0.4 and account != self.cast.house:
            sender = self.cast.owner_role(account)
        return (Call("Perps", "settle", (account, state.ids[name], losers), sender),)

    def _accrue(self, state: State) -> tuple[Call, ...]:
        asset = state.ids[self.rng.choice(self.cast.market_names)]
        if self.rng.random() < 0.1:
            asset = NO_MARKET
        return (Call("Perps", "accrue", (asset,), "keeper"),)

    def _headroom(self, state: State) -> tuple[Call, ...]:
        return (Call("Perps", "refresh", (), "keeper"),)

    # ---- the house below maintenance

    def _adl(self, state: State) -> tuple[Call, ...]:
        """A winner on the side of the skew while the house is short, now and then anything."""
        rng = self.rng
        carriers = self._carriers(state)
        is_short = state.terms[state.house].excess_maint < 0
        if not carriers or (not is_short and rng.random() < 0.9):
            return ()
        fitting = [
            held for held in carriers if state.book.adl_bound_wad(held[0], state.ids[held[1]]) > 0
        ]
        if not fitting and rng.random() < 0.7:
            return ()
        account, name = rng.choice(fitting if fitting and rng.random() < 0.9 else carriers)
        size = abs(state.size_wad(account, name))
        units = self._whole(size * rng.choice((0.1, 1, 1, 5))) + rng.choice((0, 0, 1))
        args = (account, state.ids[name], units)
        return (Call("Deleverager", "adl", args, rng.choice(("keeper", "attacker"))),)

    def _flag_house(self, state: State) -> tuple[Call, ...]:
        return (Call("Deleverager", "flag_house", (), "keeper"),)

    def _flag_bad_debt(self, state: State) -> tuple[Call, ...]:
        account = self._account()
        carriers = [a for a in self.cast.accounts if state.listed[a] >> 136]
        if carriers and self.rng.random() < 0.6:
            account = self.rng.choice(carriers)
        sunk = [a for a in self.cast.accounts if state.terms[a].equity_maint < 0]
        if sunk and self.rng.random() < 0.7:
            account = self.rng.choice(sunk)
        if self.rng.random() < 0.05:
            account = self.cast.house
        return (Call("LiquidityVault", "flag_bad_debt", (account,), "keeper"),)

    def _donate_house(self, state: State) -> tuple[Call, ...]:
        """Cash that a stranger gives to the house belongs to all shares."""
        units = self._worth(state, QUOTE, self.rng.choice((0, 0.000001, 10, 5_000)))
        asset = self.rng.choice((0, 0, 0, 1))
        args = (self.cast.house, asset, units)
        return (Call("Clearinghouse", "deposit", args, "attacker"),)

    def _rescue(self, state: State) -> tuple[Call, ...]:
        """Enough for the house to back positions again."""
        missing = max(-state.terms[state.house].excess_init, 0)
        units = int(missing * self.rng.uniform(1, 3)) // self.cast.unit(QUOTE)
        return (Call("Clearinghouse", "deposit", (state.house, 0, units), "provider"),)

    # ---- the liquidity vault

    def house_opens(self, state: State) -> list[Step]:
        """The house gets its first money: by shares, or as a gift."""
        rng = self.rng
        units = self._worth(state, QUOTE, rng.choice(HOUSES))
        if rng.random() < 0.25:
            args: tuple[Any, ...] = (self.cast.house, 0, units)
            call = Call("Clearinghouse", "deposit", args, "provider")
            return [Step("donate_house", (call,)), Step("headroom", self._headroom(state))]
        provider = self.cast.roles["provider"]
        ask = Call("LiquidityVault", "requestDeposit", (units, provider, provider), "provider")
        fulfil = ("LiquidityVault", "fulfil_deposits", (state.time // DEPOSIT_EPOCH_S,), "keeper")
        claim = ("LiquidityVault", "deposit", (units, provider, provider), "provider")
        return [
            Step("ask_entry", (ask,)),
            Step("wait", self._refresh(state), ENTRY_S),
            Step("fulfil", (Call(*fulfil),)),
            Step("claim", (Call(*claim),)),
        ]

    def _provider(self) -> str:
        return self.rng.choices(self.cast.providers, (5, 3, 2))[0]

    def _controller(self, provider: str) -> str:
        """Mostly whoever asks."""
        pool = (ZERO_ADDRESS, *(self.cast.roles[role] for role in (*self.cast.providers, "lender")))
        return self.cast.roles[provider] if self.rng.random() < 0.93 else self.rng.choice(pool)

    def _ask_entry(self, state: State) -> tuple[Call, ...]:
        provider = self._provider()
        units = self._worth(state, QUOTE, self.rng.choice((1, 500, 5_000, 30_000)))
        if self.rng.random() < 0.15:
            units = self.rng.choice((0, 1, 2, state.pool["request_room"] + 1, 2**97))
        args = (units, self._controller(provider), self.cast.roles[provider])
        return (Call("LiquidityVault", "requestDeposit", args, provider),)

    def _ask_exit(self, state: State) -> tuple[Call, ...]:
        rich = [role for role in self.cast.providers if state.pool_shares[role]]
        provider = self.rng.choice(rich) if rich and self.rng.random() < 0.95 else self._provider()
        shares = self._part(state.pool_shares[provider] // self.rng.choice((1, 1, 2, 5)))
        args = (shares, self._controller(provider), self.cast.roles[provider])
        return (Call("LiquidityVault", "requestRedeem", args, provider),)

    def _fulfil(self, state: State) -> tuple[Call, ...] | list[Step]:
        """An epoch that waits, mostly with the time that it still needs."""
        rng, pool = self.rng, self.cast.world.system.liquidity_vault
        waiting: list[tuple[str, int, int]] = []
        for provider in self.cast.providers:
            epoch = pool.deposit_request_id(self.cast.roles[provider])
            found = pool.deposit_epoch(epoch)
            if found.assets and not found.shares:
                waiting.append(("fulfil_deposits", epoch, found.ready_at))
        oldest = state.pool["oldest_redemption"]
        if oldest:
            ready_at = pool.redeem_epoch(oldest).ready_at
            waiting.append(("fulfil_redemptions", oldest, ready_at))
        if not waiting:
            if rng.random() < 0.95:
                return ()
            waiting.append(("fulfil_deposits", state.time // DEPOSIT_EPOCH_S, state.time))
        function, epoch, ready_at = rng.choice(waiting)
        call = Call("LiquidityVault", function, (epoch,), rng.choice(("keeper", "stranger")))
        missing_s = ready_at - state.time
        if rng.random() < 0.15:
            return (call,)
        wait_s = max(missing_s, 0) + rng.choice((0, 12, 600))
        return [Step("wait", self._refresh(state), wait_s), Step("fulfil", (call,))]

    def _claim(self, state: State) -> tuple[Call, ...]:
        rng = self.rng
        claims = [
            (provider, view)
            for provider in self.cast.providers
            for view in ("maxDeposit", "maxMint", "maxRedeem", "maxWithdraw")
            if state.claims[provider, view]
        ]
        if not claims:
            if rng.random() < 0.9:
                return ()
            claims = [(self._provider(), "maxDeposit")]
        provider, view = rng.choice(claims)
        amount = self._part(state.claims[provider, view])
        who = self.cast.roles[provider]
        receiver = who
        if rng.random() < 0.15:
            others = ("provider_b", "lender", "Perps", "LiquidityVault")
            receiver = rng.choice((ZERO_ADDRESS, *(self.cast.holders[o] for o in others)))
        sender = provider if rng.random() < 0.95 else "attacker"
        function = view.removeprefix("max").lower()
        return (Call("LiquidityVault", function, (amount, receiver, who), sender),)
