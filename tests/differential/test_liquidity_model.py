"""The liquidity vault against its exact model.

Random lives of a vault over a house whose figures are set, equal to the wei after every step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ballast.chain import Reverted, RevmChain
from ballast.model import liquidity as model
from tests.liquidity_kit import PERPETUAL, WAD, ZERO_ADDRESS, Liquidity, deploy_liquidity

WAITS_S = (0, 1, 60, 599, 600, 3_600, 3_601, 43_200, 86_400, 90_000)
CAPS = (2**95, 10**30, 2**95, 10**9, 2**95 + 1, 0)
ACCOUNTS = (5 << 8, 6 << 8 | 1, 7 << 8)
STEPS = (
    "ask in",
    "ask out",
    "fulfil in",
    "fulfil out",
    "enter",
    "leave",
    "deposit",
    "mint",
    "redeem",
    "withdraw",
    "wait",
    "round",
    "result",
    "markets",
    "free",
    "fund",
    "donate",
    "flag",
    "operator",
    "cap",
    "busy",
)
# What to do, who does it, for whom, how much (thousandths of the limit, or a power of ten), a nudge
# off the exact figure.
Step = tuple[str, int, int, int, int]


def _steps(names: tuple[str, ...], smallest: int, largest: int) -> Any:
    return st.lists(
        st.tuples(
            st.sampled_from(names),
            st.integers(0, 2),
            # Mostly for oneself.
            st.sampled_from((0, 0, 0, 0, 0, 0, 1, 2)),
            st.integers(0, 1_060),
            st.integers(-2, 2),
        ),
        min_size=smallest,
        max_size=largest,
    )


# Most lives begin with shares that are at least asked for, since little happens without.
entries = st.tuples(st.integers(2, 25), st.integers(0, 25), st.integers(1, 1_000)).map(
    lambda drawn: [
        ("ask in", 0, 0, drawn[0], 1),
        ("ask in", 1, 0, drawn[1], 0),
        ("wait", 0, 0, 6, 0),
        ("wait", 0, 0, 4, 0),
        ("round", 0, 0, 0, 0),
        ("fulfil in", 0, 0, 0, 0),
        ("deposit", 0, 0, drawn[2], 0),
        ("mint", 1, 0, 1_000, 0),
        ("free", 0, 0, 1_060, 0),
    ]
)
exits = st.tuples(st.integers(1, 1_000), st.integers(1, 1_000), st.integers(0, 1_000)).map(
    lambda drawn: [
        ("ask out", 0, 0, drawn[0], 0),
        ("ask out", 1, 0, drawn[1], 0),
        ("wait", 0, 0, 9, 0),
        ("round", 0, 0, 0, 0),
        ("free", 0, 0, drawn[2], 0),
        ("fulfil out", 0, 0, 0, 0),
    ]
)
# One in eight begins with nothing, one in four has no exit made sure of.
lives = st.builds(
    lambda kind, entry, some, leaving, more: [
        *(entry if kind else []),
        *some,
        *(leaving if kind % 4 != 1 else []),
        *more,
    ],
    st.integers(0, 7),
    entries,
    _steps(STEPS, 0, 10),
    exits,
    _steps(STEPS, 4, 20),
)

# What the lives together come to at least, by step and reason, "" for accepted: they are no walk
# around the interesting places.
OUTCOMES = {
    ("ask in", ""): 300,
    ("ask in", "liquidity: controller not yours"): 5,
    ("ask in", "liquidity: deposit cap"): 5,
    ("ask in", "liquidity: entry is closed"): 1,
    ("ask in", "liquidity: not an operator"): 5,
    ("ask in", "liquidity: older request waits"): 5,
    ("ask out", ""): 300,
    ("ask out", "liquidity: controller not yours"): 5,
    ("ask out", "liquidity: older request waits"): 5,
    ("fulfil in", ""): 300,
    ("fulfil in", "liquidity: entry is closed"): 1,
    ("fulfil in", "liquidity: no later round"): 5,
    ("fulfil in", "liquidity: too early"): 5,
    ("fulfil in", "liquidity: too many shares"): 1,
    ("fulfil in", "liquidity: worth no share"): 1,
    ("fulfil out", ""): 200,
    ("fulfil out", "liquidity: no exit price"): 1,
    ("fulfil out", "liquidity: no free cash"): 1,
    ("fulfil out", "liquidity: no later round"): 5,
    ("fulfil out", "liquidity: older epoch first"): 1,
    ("fulfil out", "liquidity: too early"): 5,
    ("deposit", ""): 200,
    ("mint", ""): 200,
    ("redeem", ""): 50,
    ("redeem", "liquidity: more than claimable"): 5,
    ("withdraw", ""): 30,
    ("flag", ""): 100,
    ("flag", "liquidity: no perpetual"): 5,
}


@dataclass
class Life:
    """A vault on chain and its model, stepped together."""

    liquidity: Liquidity
    exact: model.LiquidityVault
    seen: Counter[tuple[str, str]]
    donated: int = 0
    ids: dict[str, set[int]] = field(default_factory=lambda: {"in": {0}, "out": {0}})

    @property
    def people(self) -> tuple[str, str, str]:
        return (
            self.liquidity.provider,
            self.liquidity.other_provider,
            self.liquidity.attacker,
        )

    @property
    def unit_wad(self) -> int:
        return self.liquidity.unit_wad

    def step(self, step: Step) -> None:
        """One operation on both sides, then the figures that every operation may touch."""
        name, *drawn = step
        before = self._price()
        tokens = sum(map(self.liquidity.tokens, self._holders()))
        getattr(self, "_" + name.replace(" ", "_"))(*drawn)
        vault, exact = self.liquidity.vault, self.exact
        assert vault.totalSupply() == exact.supply
        assert self.liquidity.shares(vault) == exact.balance_of(exact.vault)
        assert tuple(vault.escrow()) == (exact.waiting_assets, exact.set_aside_assets)
        assert vault.totalAssets() == exact.total_assets
        assert self.liquidity.house_cash() == exact.house.cash_wad
        assert vault.oldest_redemption() == exact.oldest_redemption
        # I01: what is here is what waits, what is set aside, and what was given.
        held = exact.waiting_assets + exact.set_aside_assets + self.donated
        assert self.liquidity.tokens(vault) == held
        # I26: nobody may take from the vault.
        house = self.liquidity.house.address
        assert self.liquidity.asset.allowance(vault.address, house) == 0
        if name not in ("result", "markets", "flag"):
            # I06: nobody who comes, goes or claims lowers the price of a share.
            assert self._price()[0] * before[1] >= before[0] * self._price()[1]
        if name not in ("donate", "fund"):
            # I02: tokens only change hands.
            assert sum(map(self.liquidity.tokens, self._holders())) == tokens

    def compare_views(self) -> None:
        """Every view against the model, and the sums that need a whole life."""
        vault, exact = self.liquidity.vault, self.exact
        exact.now = self.liquidity.chain.time
        assert vault.entry_assets() == exact.entry_assets
        assert vault.exit_assets() == exact.exit_assets
        assert vault.exit_assets() <= vault.totalAssets() <= vault.entry_assets()
        assert vault.request_room() == exact.request_room
        assert vault.bad_debt_wad() == exact.bad_debt_wad
        for amount in (1, 10**6 + 1, 10**18 - 1):
            assert vault.convertToShares(amount) == exact.to_shares_down(amount)
            assert vault.convertToAssets(amount) == exact.to_assets_down(amount)
        for number, epoch in exact.deposits.epochs.items():
            told = (epoch.asked, epoch.due, exact.deposits.ready_at(number))
            assert tuple(vault.deposit_epoch(number)) == told
        for number, epoch in exact.redemptions.epochs.items():
            told = (epoch.asked, epoch.filled, epoch.due, exact.redemptions.ready_at(number))
            assert tuple(vault.redeem_epoch(number)) == told
        self._compare_people()
        assert exact.supply == sum(map(self.liquidity.shares, (*self.people, vault.address)))
        self._compare_sums()

    def _compare_people(self) -> None:
        vault, exact = self.liquidity.vault, self.exact
        for who in self.people:
            assert vault.balanceOf(who) == exact.balance_of(who)
            assert vault.maxDeposit(who) == exact.max_given(exact.deposits, who)
            assert vault.maxMint(who) == exact.max_due(exact.deposits, who)
            assert vault.maxRedeem(who) == exact.max_given(exact.redemptions, who)
            assert vault.maxWithdraw(who) == exact.max_due(exact.redemptions, who)
            assert vault.deposit_request_id(who) == exact.deposits.side(who).epoch
            assert vault.redeem_request_id(who) == exact.redemptions.side(who).epoch
            for number in self.ids["in"]:
                pending, claimable = exact.deposits.pending, exact.deposits.claimable
                assert vault.pendingDepositRequest(number, who) == pending(number, who)
                assert vault.claimableDepositRequest(number, who) == claimable(number, who)
            for number in self.ids["out"]:
                pending, claimable = exact.redemptions.pending, exact.redemptions.claimable
                assert vault.pendingRedeemRequest(number, who) == pending(number, who)
                assert vault.claimableRedeemRequest(number, who) == claimable(number, who)

    def _compare_sums(self) -> None:
        """What people can still claim never exceeds what is set aside for them."""
        vault, people = self.liquidity.vault, self.people
        pending = sum(
            vault.pendingDepositRequest(vault.deposit_request_id(who), who) for who in people
        )
        locked = sum(
            vault.pendingRedeemRequest(vault.redeem_request_id(who), who) for who in people
        )
        waiting, set_aside = vault.escrow()
        assert pending == waiting
        if not self.exact.is_busy:
            assert sum(map(vault.maxWithdraw, people)) <= set_aside
            due = sum(map(vault.maxMint, people))
            asked = sum(epoch.waiting for epoch in self.exact.redemptions.epochs.values())
            assert due + asked <= self.liquidity.shares(vault)
        # A share of a part paid epoch is one's own or nobody's, never somebody else's.
        assert 0 <= locked - sum(e.waiting for e in self.exact.redemptions.epochs.values()) <= 3

    def claim_everything(self) -> None:
        """Nobody's claim is ever stuck, in whatever order and shape they are made."""
        vault = self.liquidity.vault
        self._end_busy()
        for who in self.people:
            for limit, claim in (
                ("maxRedeem", "redeem"),
                ("maxWithdraw", "withdraw"),
                ("maxDeposit", "deposit"),
                ("maxMint", "mint"),
            ):
                amount = vault.function(limit)(who)
                if amount:
                    vault.function(claim).transact(amount, who, who, sender=who)
                    assert vault.function(limit)(who) == 0
            assert {vault.maxDeposit(who), vault.maxMint(who)} == {0}
            assert {vault.maxRedeem(who), vault.maxWithdraw(who)} == {0}
        # Only the dust of divisions stays behind: less than a unit for each payment and claimant.
        payments = sum(1 for e in self.exact.redemptions.epochs.values() if e.filled)
        assert self.liquidity.vault.escrow()[1] <= 3 * payments

    def replay_events(self) -> None:
        """I46: the vault's events alone, in order, give every figure it stores."""
        waiting = set_aside = cap = bad_debt = 0
        balances = dict.fromkeys((ZERO_ADDRESS, self.liquidity.vault.address, *self.people), 0)
        asked: dict[str, Counter[int]] = {"in": Counter(), "out": Counter()}
        for name, args, *_ in self.liquidity.chain.events(self.liquidity.vault):
            if name == "Transfer":
                balances[args.sender] -= args.value
                balances[args.receiver] += args.value
            elif name == "DepositRequest":
                waiting += args.assets
                asked["in"][args.requestId] += args.assets
            elif name == "RedeemRequest":
                asked["out"][args.requestId] += args.shares
            elif name == "DepositsFulfilled":
                waiting -= args.assets
                asked["in"][args.epoch] -= args.assets
            elif name == "RedemptionsFulfilled":
                set_aside += args.assets
                asked["out"][args.epoch] -= args.shares
                assert asked["out"][args.epoch] == args.waiting
            elif name == "Withdraw":
                set_aside -= args.assets
            elif name == "BadDebtFlagged":
                bad_debt += args.new_wad - args.old_wad
                assert bad_debt == args.total_wad
            elif name == "DepositCapChanged":
                assert cap == args.old
                cap = args.new
        exact = self.exact
        assert (waiting, set_aside, cap, bad_debt) == (
            exact.waiting_assets,
            exact.set_aside_assets,
            exact.deposit_cap,
            exact.bad_debt_wad,
        )
        assert +asked["in"] == {n: e.waiting for n, e in exact.deposits.epochs.items() if e.waiting}
        assert +asked["out"] == {
            n: e.waiting for n, e in exact.redemptions.epochs.items() if e.waiting
        }
        del balances[ZERO_ADDRESS]
        assert balances == {who: exact.balance_of(who) for who in balances}

    # ---- the operations

    def _both(self, name: str, on_chain: Callable[[], Any], in_model: Callable[[], Any]) -> Any:
        """Runs both sides; demands the same result or the same refusal.

        Returns the result, None when refused.
        """
        self.exact.now = self.liquidity.chain.time
        refused, result = "", None
        try:
            result = on_chain().return_value
        except Reverted as error:
            refused = error.reason
            assert refused, error
        try:
            expected = in_model()
        except model.LiquidityRevert as error:
            assert refused == error.reason
            self.seen[name, refused] += 1
            return None
        assert refused == ""
        assert result == expected
        self.seen[name, ""] += 1
        return expected

    def _price(self) -> tuple[int, int]:
        exact = self.exact
        return exact.total_assets + 1, exact.supply + model.VIRTUAL_SHARES

    def _holders(self) -> tuple[str, ...]:
        return (*self.people, self.liquidity.vault.address, self.liquidity.house.address)

    def _amount(self, size: int, nudge: int, limit: int) -> int:
        """Thousandths of the limit when there is one, else a round figure; off by the nudge."""
        base = limit * size // 1_000 if limit else 10 ** (size % 26)
        return max(0, base + nudge)

    def _pair(self, who: int, whose: int) -> tuple[str, str]:
        return self.people[who], self.people[(who + whose) % 3]

    def _one_with(self, amount: Callable[[str], int], who: int) -> int:
        """The next person who has some of it; `who` himself if nobody has."""
        turn = [(who + step) % 3 for step in range(3)]
        return next((i for i in turn if amount(self.people[i])), who)

    def _prepare(self, book: model.Book, number: int, nudge: int) -> None:
        """Time and round just right (0, 1), a second too early (-2), a round too old (-1), or as
        they are (2)."""
        if nudge == 2 or number < 2:
            return
        time = book.ready_at(number) - (1 if nudge == -2 else 0)
        if self.liquidity.chain.time < time:
            self.liquidity.chain.set_time(time)
        at = book.end(number) + (0 if nudge == -1 else 1)
        self.liquidity.house.set_round(at, sender=self.liquidity.governor)
        self.exact.house.oldest_round_at = at

    def _ask_in(self, who: int, whose: int, size: int, nudge: int) -> None:
        sender, other = self._pair(who, whose)
        # An operator asks with the assets of another, or for another.
        owner = other if nudge > 0 else sender
        limit = self.exact.request_room if size >= 1_000 else 0
        assets = self._amount(size, nudge, limit)
        vault = self.liquidity.vault
        epoch = self._both(
            "ask in",
            lambda: vault.requestDeposit(assets, other, owner, sender=sender),
            lambda: self.exact.request_deposit(assets, other, owner, sender),
        )
        self.ids["in"].add(epoch or 0)

    def _ask_out(self, who: int, whose: int, size: int, nudge: int) -> None:
        who = self._one_with(self.exact.balance_of, who)
        sender, other = self._pair(who, whose)
        owner = other if nudge > 0 else sender
        shares = self._amount(size, nudge, self.exact.balance_of(owner))
        vault = self.liquidity.vault
        epoch = self._both(
            "ask out",
            lambda: vault.requestRedeem(shares, other, owner, sender=sender),
            lambda: self.exact.request_redeem(shares, other, owner, sender),
        )
        self.ids["out"].add(epoch or 0)

    def _fulfil_in(self, who: int, whose: int, size: int, nudge: int) -> None:
        waiting = [n for n, e in self.exact.deposits.epochs.items() if e.waiting]
        number = (waiting or [1])[size % max(1, len(waiting))]
        self._prepare(self.exact.deposits, number, nudge)
        vault = self.liquidity.vault
        self._both(
            "fulfil in",
            lambda: vault.fulfil_deposits(number, sender=self.liquidity.keeper),
            lambda: self.exact.fulfil_deposits(number),
        )

    def _fulfil_out(self, who: int, whose: int, size: int, nudge: int) -> None:
        waiting = [n for n, e in self.exact.redemptions.epochs.items() if e.waiting]
        # Mostly the oldest.
        number = (waiting or [1])[(size % max(1, len(waiting))) if size % 3 == 0 else 0]
        self._prepare(self.exact.redemptions, number, nudge)
        vault = self.liquidity.vault
        self._both(
            "fulfil out",
            lambda: vault.fulfil_redemptions(number, sender=self.liquidity.keeper),
            lambda: self.exact.fulfil_redemptions(number),
        )

    def _most(self, name: str, controller: str) -> int:
        is_in = name in ("deposit", "mint")
        side = (self.exact.deposits if is_in else self.exact.redemptions).side(controller)
        return side.given if name in ("deposit", "redeem") else side.due

    def _enter(self, who: int, whose: int, size: int, nudge: int) -> None:
        self._ask_in(who, 0, size, 0)
        self._fulfil_in(who, 0, 0, nudge)

    def _leave(self, who: int, whose: int, size: int, nudge: int) -> None:
        self._ask_out(who, 0, min(size, 1_000), 0)
        self._fulfil_out(who, 0, 1, nudge)

    def _claim(self, name: str, who: int, whose: int, size: int, nudge: int) -> None:
        who = self._one_with(lambda one: self._most(name, one), who)
        sender, controller = self._pair(who, whose)
        receiver = self.people[size % 3]
        limit = self._most(name, controller)
        # The last thirtieth of sizes is about the whole of it and a nudge.
        amount = self._amount(min(size, 1_000), nudge, limit)
        tokens, shares = self.liquidity.tokens(receiver), self.liquidity.shares(receiver)
        function = self.liquidity.vault.function(name)
        result = self._both(
            name,
            lambda: function.transact(amount, receiver, controller, sender=sender),
            lambda: getattr(self.exact, name)(amount, receiver, controller, sender),
        )
        got = (self.liquidity.tokens(receiver) - tokens, self.liquidity.shares(receiver) - shares)
        if result is not None:
            assert (
                got
                == {
                    "deposit": (0, result),
                    "mint": (0, amount),
                    "withdraw": (amount, 0),
                    "redeem": (result, 0),
                }[name]
            )

    def _deposit(self, who: int, whose: int, size: int, nudge: int) -> None:
        self._claim("deposit", who, whose, size, nudge)

    def _mint(self, who: int, whose: int, size: int, nudge: int) -> None:
        self._claim("mint", who, whose, size, nudge)

    def _redeem(self, who: int, whose: int, size: int, nudge: int) -> None:
        self._claim("redeem", who, whose, size, nudge)

    def _withdraw(self, who: int, whose: int, size: int, nudge: int) -> None:
        self._claim("withdraw", who, whose, size, nudge)

    def _wait(self, who: int, whose: int, size: int, nudge: int) -> None:
        self.liquidity.chain.advance(WAITS_S[size % len(WAITS_S)] + max(0, nudge))
        self.exact.now = self.liquidity.chain.time

    def _round(self, who: int, whose: int, size: int, nudge: int) -> None:
        # A thousandth of them is stale.
        at = 0 if size == 777 else max(0, self.liquidity.chain.time + min(0, nudge))
        self.liquidity.house.set_round(at, sender=self.liquidity.governor)
        self.exact.house.oldest_round_at = at

    def _result(self, who: int, whose: int, size: int, nudge: int) -> None:
        # Thousandths of the cash, won or lost, and now and then more than all of it.
        cash = self.exact.house.cash_wad
        wad = cash * size * (-1 if nudge < 0 else 1) // 1_000 + nudge
        self.liquidity.set_result(wad)
        self.exact.house.result_wad = wad

    def _markets(self, who: int, whose: int, size: int, nudge: int) -> None:
        cash = self.exact.house.cash_wad
        charge, uncertainty = (
            cash * size * share // 30_000 + abs(nudge) for share in (who, whose + 1)
        )
        self.liquidity.set_markets(charge, uncertainty)
        self.exact.house.skew_charge_wad = charge
        self.exact.house.uncertainty_wad = uncertainty

    def _free(self, who: int, whose: int, size: int, nudge: int) -> None:
        wad = max(0, self.exact.house.cash_wad * size // 1_000 + nudge)
        self.liquidity.set_free(wad)
        self.exact.house.free_wad = wad

    def _fund(self, who: int, whose: int, size: int, nudge: int) -> None:
        """T01: anyone may give cash to the house."""
        sender, amount = self.people[who], 10 ** (size % 22)
        self.liquidity.asset.mint(sender, amount, sender=sender)
        self.liquidity.house.deposit(self.liquidity.account, 0, amount, sender=sender)
        self.exact.house.cash_wad += amount * self.unit_wad

    def _donate(self, who: int, whose: int, size: int, nudge: int) -> None:
        """T02: a plain transfer to the vault changes nothing."""
        self.liquidity.donate(10 ** (size % 22))
        self.donated += 10 ** (size % 22)

    def _flag(self, who: int, whose: int, size: int, nudge: int) -> None:
        account, house = ACCOUNTS[who], self.liquidity.house
        equity = (size - 800) * self.exact.house.cash_wad // 8_000 + nudge
        has_perpetual = nudge != 0
        listed = PERPETUAL if has_perpetual else PERPETUAL - 1
        house.set_result(account, equity, sender=self.liquidity.governor)
        house.set_listed(account, listed, sender=self.liquidity.governor)
        self._both(
            "flag",
            lambda: self.liquidity.vault.flag_bad_debt(account, sender=self.liquidity.keeper),
            lambda: self.exact.flag_bad_debt(account, equity, has_perpetual),
        )
        recorded = self.exact.bad_debts.get(account, 0)
        assert self.liquidity.vault.bad_debt_of(account) == recorded

    def _operator(self, who: int, whose: int, size: int, nudge: int) -> None:
        sender, operator = self._pair(who, whose)
        approved = nudge >= 0
        vault = self.liquidity.vault
        self._both(
            "operator",
            lambda: vault.setOperator(operator, approved, sender=sender),
            lambda: self.exact.set_operator(operator, approved, sender),
        )
        assert vault.isOperator(sender, operator) == approved

    def _cap(self, who: int, whose: int, size: int, nudge: int) -> None:
        cap = CAPS[size % len(CAPS)]
        self._both(
            "cap",
            lambda: self.liquidity.vault.set_deposit_cap(cap, sender=self.liquidity.governor),
            lambda: self.exact.set_deposit_cap(cap),
        )

    def _busy(self, who: int, whose: int, size: int, nudge: int) -> None:
        self.exact.is_busy = True
        self.liquidity.set_busy(1 + size % 3)
        for attempt in (
            self._ask_in,
            self._ask_out,
            self._fulfil_in,
            self._fulfil_out,
            self._deposit,
            self._mint,
            self._redeem,
            self._withdraw,
        ):
            attempt(who, 0, size, 1)
        self.compare_views()
        self._end_busy()

    def _end_busy(self) -> None:
        self.exact.is_busy = False
        self.liquidity.set_busy(0)


@pytest.fixture(scope="module", params=(2, 6, 18), ids=lambda d: f"{d}-decimals")
def liquidity(request: pytest.FixtureRequest) -> Liquidity:
    deployed = deploy_liquidity(RevmChain(), request.param, cap=2**95)
    for who in (deployed.provider, deployed.other_provider, deployed.attacker):
        deployed.fund(who, 2**110)
    return deployed


def begin(liquidity: Liquidity, seen: Counter[tuple[str, str]]) -> Life:
    """A life from the first deployment on."""
    exact = model.LiquidityVault(
        unit_wad=liquidity.unit_wad,
        deposit_cap=2**95,
        now=liquidity.chain.time,
        vault=liquidity.vault.address,
    )
    exact.house.free_wad = liquidity.house.free_wad()
    exact.house.oldest_round_at = liquidity.house.oldest_round_at()
    return Life(liquidity, exact, seen)


# A house that loses all but a unit, again and again: shares until they no longer fit.
CRASHES: list[Step] = [
    ("enter", 0, 0, 1_000, 0),
    ("deposit", 0, 0, 1_000, 0),
    ("result", 0, 0, 1_000, -1),
    ("fund", 1, 0, 1, 0),
] * 4
# Deposits that are worth no share after a gift, and such as find entry closed.
TOO_DEAR: list[Step] = [
    ("enter", 0, 0, 0, 0),
    ("fund", 1, 0, 21, 0),
    ("ask in", 1, 0, 0, 0),
    ("fulfil in", 0, 0, 0, 0),
    ("ask in", 2, 0, 25, 0),
    ("result", 0, 0, 1_000, -1),
    ("fulfil in", 0, 0, 1, 0),
    ("ask in", 2, 0, 25, 0),
]
# Two epochs of redemptions, the younger first, then a house that is worth nothing.
IN_TURN: list[Step] = [
    ("enter", 0, 0, 9, 0),
    ("enter", 1, 0, 9, 0),
    ("deposit", 0, 0, 1_002, 0),
    ("deposit", 1, 0, 1_003, 0),
    ("ask out", 0, 0, 500, 0),
    ("wait", 0, 0, 6, 0),
    ("ask out", 1, 0, 1_000, 0),
    ("wait", 0, 0, 9, 0),
    ("fulfil out", 0, 0, 3, 0),
    ("fulfil out", 0, 0, 1, 0),
    ("result", 0, 0, 1_000, -1),
    ("fulfil out", 0, 0, 1, 0),
    ("result", 0, 0, 0, 0),
    ("fulfil out", 0, 0, 1, 0),
]


def test_operate__random_life__equals_the_model(liquidity: Liquidity) -> None:
    """T44 for the vault; I01, I02, I06 and I26 after every step, I03 and I46 at the end."""
    seen: Counter[tuple[str, str]] = Counter()

    @given(life=lives)
    @example(life=CRASHES)
    @example(life=TOO_DEAR)
    @example(life=IN_TURN)
    def live(life: list[Step]) -> None:
        with liquidity.chain.isolated():
            both = begin(liquidity, seen)
            for step in life:
                both.step(step)
            both.compare_views()
            both.replay_events()
            both.claim_everything()

    live()
    for outcome, least in OUTCOMES.items():
        assert seen[outcome] >= least, (outcome, seen)


@given(
    parts=st.lists(st.integers(1, 10**12), min_size=1, max_size=3),
    free=st.lists(st.integers(1, 2 * 10**30), min_size=1, max_size=8),
    result=st.integers(-(10**30), 10**32),
)
def test_fulfil_redemptions__any_payments__pay_everyone_his_part(
    liquidity: Liquidity, parts: list[int], free: list[int], result: int
) -> None:
    """However an epoch is paid out, each gets his part of it, rounded down, and no unit more."""
    with liquidity.chain.isolated():
        vault, unit_wad = liquidity.vault, liquidity.unit_wad
        people = (liquidity.provider, liquidity.other_provider, liquidity.attacker)[: len(parts)]
        for who, part in zip(people, parts, strict=True):
            entry = liquidity.ask_in(who, part * 10**4)
        liquidity.fulfil_in(entry)
        liquidity.set_result(max(result, 10**6 * unit_wad - liquidity.house_cash()))
        asked = {}
        for who in people:
            vault.deposit(vault.maxDeposit(who), who, sender=who)
            asked[who] = liquidity.shares(who)
            epoch = liquidity.ask_out(who, asked[who])
        liquidity.pass_redeem_delay(epoch)
        for wad in free:
            liquidity.set_free(wad * unit_wad % (liquidity.house_cash() + unit_wad))
            try:
                vault.fulfil_redemptions(epoch, sender=liquidity.keeper)
            except Reverted as error:
                assert error.reason in ("liquidity: no free cash", "liquidity: nothing waits")
        told = vault.redeem_epoch(epoch)
        for who in people:
            assert vault.maxWithdraw(who) == asked[who] * told.assets // told.shares
            assert vault.maxRedeem(who) == asked[who] * told.filled // told.shares
        assert told.assets - sum(map(vault.maxWithdraw, people)) < len(people)
        assert vault.escrow()[1] == told.assets == liquidity.tokens(vault)


@given(
    wads=st.tuples(*[st.integers(-(2**120), 2**120)] * 2),
    charges=st.tuples(*[st.integers(0, 2**120)] * 2),
    flagged=st.integers(0, 2**119),
)
@example(wads=(0, 0), charges=(0, 0), flagged=0)
@example(wads=(0, 1), charges=(0, 0), flagged=0)
@example(wads=(0, 10), charges=(11, 0), flagged=0)
@example(wads=(0, 10), charges=(0, 11), flagged=5)
def test_value__any_figures__equals_the_formula(
    liquidity: Liquidity, wads: tuple[int, int], charges: tuple[int, int], flagged: int
) -> None:
    """NAV = equity - charge - bad debt, with the spread of both sides; below zero it is nothing."""
    with liquidity.chain.isolated():
        vault, house, unit_wad = liquidity.vault, liquidity.house, liquidity.unit_wad
        debtor = ACCOUNTS[0]
        liquidity.set_result(sum(wads))
        liquidity.set_markets(*charges)
        house.set_result(debtor, -flagged, sender=liquidity.governor)
        house.set_listed(debtor, PERPETUAL, sender=liquidity.governor)
        vault.flag_bad_debt(debtor, sender=liquidity.stranger)
        value = sum(wads) - charges[0]
        assert vault.totalAssets() == max(0, value - flagged) // unit_wad
        assert vault.entry_assets() == -(-max(0, value + charges[1]) // unit_wad)
        assert vault.exit_assets() == max(0, value - flagged - charges[1]) // unit_wad
        is_open = sum(wads) >= 0 and value - flagged >= 0
        assert (vault.request_room() > 0) == (is_open and vault.totalAssets() < 2**95)
        assert vault.bad_debt_wad() == flagged <= WAD * WAD
