"""Perpetuals on a chain and in the exact model, stepped side by side.

    scene = open_scene(world, traders)
    scene.trade(Order(trader, ETH, 3 * WAD))      # foretold, done, compared
    scene.check()                                 # every word and every view

An action demands exactly the outcome that the model has: its reason for a refusal, or its book. The
book is carried from step to step and never read again, so a wei that differs once is found; what a
step takes from the chain is prices, rates, the loan index and the time. `seen` counts what
happened.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from ballast.chain import Contract, Receipt, Reverted
from ballast.model import perps
from ballast.model.ledger import Account, Book
from ballast.model.margin import BPS, GWEI, WAD, Mark, Position, result_wad, terms_of
from ballast.model.perps import (
    ROUND_CAP,
    SIZE_STEP_WAD,
    UNLIMITED,
    Breaker,
    Exposure,
    Market,
    MarketTerms,
    Order,
    Refused,
    require,
)
from tests.support.reading import (
    assess_on_chain,
    read_account,
    read_lender,
    read_loans,
    read_markets,
    read_marks,
)
from tests.support.world import QUOTE, World

BALANCE_LOW = "ledger: balance too low"
LOAN_TOO_LARGE = "vault: loan too large"
NOT_PERMITTED = "operators: not permitted"
WEIGHTS_ABOVE_ONE = "perps: weights above one"
HEDGES_LAST = "deleverager: hedges last"
HEDGE_GRACE_S, WATCH_S = 1_800, 600
FAR = 2**40 - 1
ROUNDING_WAD = 8  # of two margin equations, a wei for each figure
REMEMBERED = 12  # steps that a failure tells of

Foretold = tuple[Book, Any]


@dataclass(frozen=True)
class Watch:
    """Since when the house was found below maintenance, and when it was last looked at."""

    below_since: int = 0
    seen_at: int = 0

    def looked(self, is_below: bool, now: int) -> Watch:
        """As the deleverager notes it: begun anew after a gap."""
        if not is_below:
            return Watch(0, now)
        is_gap = self.below_since == 0 or now > self.seen_at + WATCH_S
        return Watch(now if is_gap else self.below_since, now)


@dataclass
class Scene:
    """A house and traders, and the book that the contracts should hold of them."""

    world: World
    traders: tuple[int, ...]
    book: Book
    watch: Watch = Watch()
    seen: Counter[str] = field(default_factory=Counter)
    history: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    is_in_block: bool = False

    # ---- what there is

    @property
    def perps(self) -> Contract:
        return self.world.system.perps

    @property
    def house(self) -> int:
        return self.book.house

    def now(self) -> Book:
        """The book at the prices, the loan index and the time of this very block."""
        self.book = replace(
            self.book,
            prices=read_marks(self.world),
            loans=read_loans(self.world),
            now=self.world.chain.time,
        )
        return self.book

    # ---- acting

    @contextmanager
    def block(self) -> Iterator[None]:
        """What is done inside is done in one block, whose time is known before."""
        if self.is_in_block:
            yield
            return
        with self.world.chain.one_block():
            self.is_in_block = True
            try:
                yield
            finally:
                self.is_in_block = False

    def attempt(
        self, kind: str, foretell: Callable[[Book], Foretold], act: Callable[[], Receipt]
    ) -> bool:
        """Acts, and demands the outcome that the model has. Returns whether it was accepted."""
        with self.block():
            return self._attempt(kind, foretell, act)

    def _attempt(
        self, kind: str, foretell: Callable[[Book], Foretold], act: Callable[[], Receipt]
    ) -> bool:
        before = self.now()
        try:
            after, answer = foretell(before)
            expected = "done"
        except Refused as error:
            after, answer, expected = before, None, error.reason
        try:
            receipt, outcome = act(), "done"
        except Reverted as error:
            receipt, outcome = Receipt(), error.reason or f"reverted: {error}"
        assert outcome == expected, self.told(f"{kind}: {outcome}, the model says {expected}")
        self.saw(f"{kind}: {outcome}" if outcome == "done" else outcome)
        if outcome != "done":
            return False
        if answer is not None:
            assert receipt.return_value == answer, self.told(f"{kind} answers otherwise")
        self._notice(kind, before, after)
        self.book = after
        self._check_events(receipt, before)
        return True

    def trade(self, order: Order, sender: str | None = None) -> bool:
        """By its owner unless told; an order without a limit accepts any price."""
        owner = self.world.owner_of(order.account)
        limit = order.acceptable_price
        if limit is None:
            limit = UNLIMITED if order.size_change > 0 else 0
        deadline = min(order.deadline, FAR)

        def foretell(book: Book) -> Foretold:
            require(sender in (None, owner), NOT_PERMITTED)
            after, fill = book.trade(order)
            return after, fill.price_wad

        return self.attempt(
            "trade",
            foretell,
            lambda: self.perps.trade(
                order.account,
                order.asset,
                order.size_change,
                limit,
                deadline,
                order.reduce_only,
                sender=sender or owner,
            ),
        )

    def settle(self, account: int, asset: int, losers: Sequence[tuple[int, int]] = ()) -> bool:
        """By a keeper."""
        return self.attempt(
            "settle",
            lambda book: book.settle(account, asset, losers),
            lambda: self.perps.settle(account, asset, list(losers), sender=self.world.keeper),
        )

    def refresh(self) -> bool:
        return self.attempt(
            "refresh",
            lambda book: (book.refresh(), None),
            lambda: self.perps.refresh(sender=self.world.keeper),
        )

    def accrue(self, asset: int) -> bool:
        return self.attempt(
            "accrue",
            lambda book: (book.accrue(asset), None),
            lambda: self.perps.accrue(asset, sender=self.world.keeper),
        )

    def flag_house(self) -> bool:
        """Has the deleverager look at the house."""

        def foretell(book: Book) -> Foretold:
            is_below = book.assess(self.house).excess_maint < 0
            before, self.watch = self.watch, self.watch.looked(is_below, book.now)
            self.saw("house flagged", before.below_since == 0 != self.watch.below_since)
            self.saw("house cleared", before.below_since != 0 == self.watch.below_since)
            return book, self.watch.below_since

        return self.attempt(
            "flag house",
            foretell,
            lambda: self.world.system.deleverager.flag_house(sender=self.world.keeper),
        )

    def adl(self, account: int, asset: int, size_wad: int) -> bool:
        """Deleverages a winner; a hedge only when its time has come."""

        def foretell(book: Book) -> Foretold:
            watch = self.watch.looked(True, book.now)
            if book.is_hedge(account, asset) and book.adl_bound_wad(account, asset):
                is_due = book.now >= watch.below_since + HEDGE_GRACE_S
                require(is_due or book.assess(self.house).equity_maint < 0, HEDGES_LAST)
            after, _ = book.adl(account, asset, size_wad)
            self.watch = watch
            self.saw("adl of a hedge", book.is_hedge(account, asset))
            return after, None

        return self.attempt(
            "adl",
            foretell,
            lambda: self.world.system.deleverager.adl(
                account, asset, size_wad, sender=self.world.keeper
            ),
        )

    def collect(self) -> bool:
        """Has insurance collect its part of the fees and the vault's reserves; nobody donated."""
        system = self.world.system

        def foretell(book: Book) -> Foretold:
            state = system.vault.state()
            units = min(state.reserves, state.idle)
            lender = replace(book.lender, idle=book.lender.idle - units)
            book = replace(book, lender=lender).credited(system.insurance, units)
            free = max(0, book.assess(self.house).excess_init)
            markets, fees = perps.insurance_fees_taken(book.markets, free)
            self.saw("fees are collected", fees > 0)
            self.saw("fees wait", any(m.headroom.insured_gwei for m in markets.values()))
            book = replace(book, markets=markets)
            after = book.with_payment(self.house, system.insurance, fees)
            return after, units * book.loans.unit_wad + fees

        return self.attempt(
            "collect", foretell, lambda: system.insurance_fund.collect(sender=self.world.keeper)
        )

    # ---- cash and collateral

    def deposit(self, account: int, units: int, asset: int = 0) -> bool:
        """Cash or collateral; anyone may add cash to the house."""
        world = self.world
        payer = world.owner if account == self.house else world.owner_of(account)
        name = self._name(asset)
        world.fund(payer, name, units)

        def foretell(book: Book) -> Foretold:
            if asset == 0:
                return book.credited(account, units), None
            held = book.account(account).with_collateral(asset, units * world.unit_wad(name))
            return book.with_account(account, held), None

        return self.attempt(
            "deposit",
            foretell,
            lambda: world.clearinghouse.deposit(account, asset, units, sender=payer),
        )

    def withdraw(self, account: int, units: int, asset: int = 0) -> bool:
        """Cash, borrowing what is not there, or collateral."""
        world = self.world
        unit_wad = world.unit_wad(self._name(asset))

        def foretell(book: Book) -> Foretold:
            held = book.account(account)
            if asset == 0:
                borrowed = units - min(units, held.cash_wad // unit_wad)
                require(borrowed <= book.lender.max_loan(book.loans), LOAN_TOO_LARGE)
                after = book.debited(account, units)
            else:
                is_there = units * unit_wad <= held.position(asset).collateral_wad
                require(is_there, BALANCE_LOW)
                lighter = held.with_collateral(asset, -units * unit_wad)
                after = book.with_account(account, lighter)
            reason = after.increase_refusal(account)
            require(not reason, reason)
            return after, None

        return self.attempt(
            "withdraw",
            foretell,
            lambda: world.clearinghouse.withdraw(
                account, asset, units, world.lender, sender=world.owner_of(account)
            ),
        )

    def repay(self, account: int, units: int) -> bool:
        """At most the debt."""
        world, owner = self.world, self.world.owner_of(account)
        world.fund(owner, QUOTE, units)

        def foretell(book: Book) -> Foretold:
            paid = min(units, book.loans.debt_up(book.account(account).debt_shares))
            return book.credited(account, paid), paid

        return self.attempt(
            "repay", foretell, lambda: world.clearinghouse.repay(account, units, sender=owner)
        )

    def _name(self, asset: int) -> str:
        ids = {known: name for name, known in self.world.system.assets.items()}
        return ids.get(asset, QUOTE)

    # ---- the governor

    def set_terms(self, asset: int, **changes: int) -> bool:
        """Replaces fields of a market's terms."""
        terms = replace(self.book.markets[asset].terms, **changes)

        def foretell(book: Book) -> Foretold:
            after = _with_market(book, asset, terms=terms)
            weights_bps = sum(market.terms.weight_bps for market in after.markets.values())
            require(weights_bps <= BPS, WEIGHTS_ABOVE_ONE)
            return after, None

        return self.attempt(
            "set terms",
            foretell,
            lambda: self.perps.set_terms(asset, astuple(terms), sender=self.world.governor),
        )

    def set_close_only(self, asset: int, is_close_only: bool) -> bool:
        """Stops or allows increases."""
        return self.attempt(
            "set mode",
            lambda book: (_with_market(book, asset, is_close_only=is_close_only), None),
            lambda: self.perps.set_close_only(asset, is_close_only, sender=self.world.governor),
        )

    # ---- counting

    def saw(self, what: str, is_so: bool = True) -> None:
        """Counts what happened."""
        if is_so:
            self.seen[what] += 1

    def _notice(self, kind: str, before: Book, after: Book) -> None:
        """Counts what an accepted action did."""
        for account in self.traders:
            old, new = before.account(account), after.account(account)
            is_lent = new.debt_shares > old.debt_shares
            self.saw(f"{kind} borrows", is_lent)
            self.saw(f"{kind} repays", new.debt_shares < old.debt_shares)
            for asset in after.markets:
                was, now = old.position(asset), new.position(asset)
                for what in _changes(was, now, after.mark(asset)):
                    self.saw(f"{kind} {what}")
                is_rest = was.cost_wad != now.cost_wad and now.size_wad == 0 < now.cost_wad
                more = after.lender.max_loan(after.loans)
                self.saw("loan ends with the equity", is_lent and is_rest and more > 0)
        houses = (before.account(self.house), after.account(self.house))
        self.saw("house runs dry", houses[0].cash_wad > 0 == houses[1].cash_wad)
        for asset, market in after.markets.items():
            old_market, price = before.markets[asset], before.mark(asset).price
            if market != old_market:
                self.saw("breaker moves", market.breaker != old_market.breaker)
                self.saw("longs pay", market.funding.rate_wad > 0)
                self.saw("shorts pay", market.funding.rate_wad < 0)
            if kind in ("trade", "settle", "adl"):
                changed = any(
                    before.account(trader).position(asset) != after.account(trader).position(asset)
                    for trader in self.traders
                )
                is_new = price.previous_wad != price.newest_wad
                self.saw(f"{kind} in the block of a round", changed and is_new)

    # ---- comparing

    def told(self, message: str) -> str:
        """A message with what led here."""
        return "\n".join([message, *self.history])

    def same(self, what: str, found: Any, expected: Any) -> None:
        """Demands equality."""
        assert found == expected, self.told(f"{what} is {found}, the model says {expected}")

    def _check_events(self, receipt: Receipt, before: Book) -> None:
        """What Perps told of its own words, of which no view shows all (I46)."""
        told = {asset: (m.exposure, m.breaker) for asset, m in before.markets.items()}
        for event in self.perps.events(receipt):
            args = event.args
            exposure, breaker = told.get(getattr(args, "asset", 0), (Exposure(), Breaker()))
            if event.name == "Traded":
                told[args.asset] = Exposure.from_word(args.exposure_word), breaker
                self._check_fill(args, before)
            elif event.name == "BreakerMoved":
                told[args.asset] = exposure, Breaker.from_word(args.breaker_word)
            elif event.name == "HeadroomRefreshed":
                word = self.book.markets[args.asset].headroom.word
                self.same("headroom told", args.headroom_word, word)
        for asset, market in self.book.markets.items():
            self.same(f"market {asset} told", told[asset], (market.exposure, market.breaker))

    def _check_fill(self, args: Any, before: Book) -> None:
        """What was told of a trade makes the old words the new ones."""
        book, asset = self.book, args.asset
        held = book.account(args.account).position(asset)
        for account, sign in ((args.account, 1), (self.house, -1)):
            old = before.account(account).position(asset)
            new = book.account(account).position(asset)
            self.same("a size", new.size_wad, old.size_wad + sign * args.size_change)
            if held.size_wad:  # else it was settled, which has an event of its own
                self.same("a cost", new.cost_wad, old.cost_wad + sign * args.cost_change)
        if held.size_wad:
            self.same("the cost word told", args.cost_word, held.cost_word)
        self.same("the market told", args.market_word, book.markets[asset].funding.word)
        index = before.prices[asset].price_wad
        self.same("the index told", args.index_wad, index)
        insured = book.markets[asset].headroom.insured_gwei
        part = perps.insured_part_gwei(args.size_change, index, args.fee_e6)
        self.same(
            "what insurance gets", insured, before.markets[asset].headroom.insured_gwei + part
        )

    def check(self) -> None:
        """Every word, and every view of the markets and of margin."""
        book, clearinghouse = self.now(), self.world.clearinghouse
        self.same("a sound book", book.faults(), [])
        lender = read_lender(self.world)
        self.same("the lender", lender, book.lender)
        self.same("max_loan", self.world.system.vault.max_loan(), lender.max_loan(book.loans))
        for account, held in book.accounts.items():
            self.same("an account", list(clearinghouse.words_of(account)), _words(book, held))
            self.same("its figures", assess_on_chain(self.world, account), book.assess(account))
            self.same("its cash", clearinghouse.picture_of(account)[0], book.net_wad(account))
            for asset in book.markets:
                word = held.position(asset).cost_word
                self.same("a cost", clearinghouse.cost_word(account, asset), word)
        figures = [astuple(book.assess(account)) for account in book.accounts]
        told = self.world.system.lens.healths(list(book.accounts))
        self.same("healths", [tuple(health) for health in told], figures)
        self._check_markets(book)
        self._check_house(book)

    def _check_markets(self, book: Book) -> None:
        for asset, market in book.markets.items():
            mark, told = book.mark(asset), self.perps.headroom_of(asset)
            room = market.headroom
            units = (room.long_gwei * GWEI, room.short_gwei * GWEI, room.refreshed_at)
            self.same("headroom", tuple(told), units)
            sides = (market.exposure.longs_gwei * GWEI, market.exposure.shorts_gwei * GWEI)
            self.same("exposure", tuple(self.perps.exposure_of(asset)), sides)
            self.same("terms", MarketTerms(*self.perps.terms_of(asset)), market.terms)
            word = self.world.clearinghouse.market_word(asset)
            self.same("the market word", word, market.funding.word)
            self.same(
                "stopped",
                self.perps.is_increase_stopped(asset),
                _is_stopped(market, mark, book.now),
            )
            for account in self.traders:
                size = book.account(account).position(asset).size_wad
                for is_long in (True, False):
                    most = market.largest_increase_wad(size, is_long, mark, book.now)
                    told = self.perps.largest_increase(asset, account, is_long)
                    self.same("the largest increase", told, most)

    def _check_house(self, book: Book) -> None:
        pairs = [(market, book.mark(asset)) for asset, market in book.markets.items()]
        self.same("free_wad", self.perps.free_wad(), book.free_wad)
        self.same("skew charge", self.perps.skew_charge_wad(), perps.skew_charge_wad(pairs))
        self.same("uncertainty", self.perps.uncertainty_wad(), perps.uncertainty_wad(pairs))
        skewed = [(market, mark) for market, mark in pairs if market.skew_wad]
        known = [(mark.is_live and not market.is_latched, mark) for market, mark in skewed]
        rounds = [mark.made_at if is_known else 0 for is_known, mark in known]
        self.same("the oldest round", self.perps.oldest_round_at(), min([book.now, *rounds]))
        since = self.world.system.deleverager.below_since()
        self.same("below maintenance since", since, self.watch.below_since)

    # ---- what a trader sees

    def check_quote(self, account: int, asset: int, change: int) -> None:
        """What a trade would pay."""
        book = self.now()
        mark = book.mark(asset)
        held = book.account(account).position(asset)
        fill = book.markets[asset].priced(held, change, mark, book.now)
        told = tuple(self.perps.quote(asset, account, change))
        self.same("a quote", told, (fill.price_wad, mark.price_wad, fill.fee_e6))

    def check_position(self, account: int, asset: int) -> None:
        """The position as the lens shows it."""
        book, lens = self.now(), self.world.system.lens
        held, mark = book.account(account).position(asset), book.mark(asset)
        told = lens.position(account, asset)
        line = (told.liquidation_price_wad, told.has_liquidation_price)
        self.same("the line", line, tuple(lens.liquidation_price(account, asset)))
        self.same("size", (told.size_wad, told.price_wad), (held.size_wad, mark.price_wad))
        self.same("value", told.value_wad, held.size_wad * mark.price_wad // WAD)
        self.same("entry price", told.entry_price_wad, perps.entry_price_wad(held))
        even = perps.break_even_wad(held, mark.funding_wad)
        self.same("break-even", told.break_even_wad, even)
        self.same("result", told.result_wad, result_wad(held, mark))
        self.same("funding owed", told.funding_owed_wad, perps.funding_owed_wad(held, mark))
        self._check_line(book, account, asset, line[0] if line[1] else None)

    def _check_line(self, book: Book, account: int, asset: int, line: int | None) -> None:
        """The last price at maintenance; the model's is as near as rounding lets it."""
        held, mark = book.account(account).position(asset), book.mark(asset)
        legs, net = book.legs(account), book.net_wad(account)
        model = perps.liquidation_price_wad(net, legs, asset)
        rest = book.assess(account).excess_maint - terms_of(held, mark).excess_maint

        def excess(price_wad: int) -> int:
            return rest + terms_of(held, mark, price_wad).excess_maint

        self.saw("no liquidation price" if line is None else "liquidation price")
        if line is None or model is None or excess(mark.price_wad) < 0:
            self.same("the line", line, model)
            return
        step = abs(excess(line + 1) - excess(line - 1))
        is_line = excess(line) >= 0 > min(excess(line + 1), excess(line - 1))
        assert is_line, self.told(f"the line is not {line}")
        is_near = abs(excess(model)) <= step + ROUNDING_WAD
        assert is_near, self.told(f"the line is {line}, the model says {model}")

    def check_largest(self, account: int, asset: int, is_long: bool) -> None:
        """The largest order is filled and a step more is not, as chain and model agree."""
        book, sign = self.now(), 1 if is_long else -1
        largest = int(self.world.system.lens.largest_trade(account, asset, is_long))

        def refusal(size: int) -> str:
            try:
                book.trade(Order(account, asset, sign * size))
            except Refused as error:
                return error.reason
            return ""

        if largest and refusal(largest) == ROUND_CAP:
            self.saw("largest trade unaware of the round cap")
            return
        self.saw("largest trade" if largest else "no largest trade")
        self.same("the largest", largest, book.largest_order_wad(account, asset, is_long))
        if largest:
            self.same("the refusal of the largest", refusal(largest), "")
        assert refusal(largest + SIZE_STEP_WAD), self.told(f"{largest} is not the largest")


def open_scene(world: World, traders: Sequence[int]) -> Scene:
    """What the contracts hold, before anything was traded."""
    house = world.system.house
    book = Book(
        house=house,
        markets={
            asset: replace(market, breaker=Breaker(), is_close_only=False)
            for asset, market in read_markets(world).items()
        },
        prices=read_marks(world),
        accounts={
            account: read_account(world, account)
            for account in (house, world.system.insurance, *traders)
        },
        loans=read_loans(world),
        lender=read_lender(world),
        now=world.chain.time,
    )
    return Scene(world, tuple(traders), book)


def _with_market(book: Book, asset: int, **changes: Any) -> Book:
    market = replace(book.markets[asset], **changes)
    return replace(book, markets={**book.markets, asset: market})


def _is_stopped(market: Market, mark: Mark, now: int) -> bool:
    """By mode or breaker, whatever the price is good for."""
    moved = market.breaker.moved(mark.price_wad, now)
    return market.is_close_only or moved.is_tripped(mark.price_wad)


def _words(book: Book, held: Account) -> list[int]:
    """What the ledger stores of an account, in the order in which it says so."""
    words = [held.word, held.listed_word, *(known.word for known in held.positions.values())]
    for asset, known in held.positions.items():
        if known.has_perpetual:
            words += [known.cost_word, book.markets[asset].funding.word]
    return words


def _changes(was: Position, now: Position, mark: Mark) -> list[str]:
    """Words for what became of a perpetual."""
    old, new = was.size_wad, now.size_wad
    if old == new:
        return _settlement(was, now, mark)
    if new == 0:
        rest = "gain" if now.cost_wad < 0 else "loss"
        return ["closes", f"leaves a {rest} listed"] if now.cost_wad else ["closes"]
    if old == 0:
        return ["opens"]
    if old * new < 0:
        return ["flips"]
    return ["grows" if abs(new) > abs(old) else "reduces"]


def _settlement(was: Position, now: Position, mark: Mark) -> list[str]:
    """What was paid of a gain (the cost rises) or a loss, and whether all of it."""
    if was.cost_wad == now.cost_wad:
        return []
    what = "gain" if now.cost_wad > was.cost_wad else "loss"
    rest = result_wad(now, mark)
    found = [f"pays a {what}" if now.size_wad else f"pays a closed {what}"]
    return [*found, f"pays part of a {what}"] if rest else found
