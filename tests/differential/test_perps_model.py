"""The exact model of perpetuals: what must hold of it whatever happens, and its fixed points.

Random lives of a book with a house, three traders and two markets: flips, prices that move in the
very block of a trade, waits, settlements with losers, a house and a vault that run dry, and quote
tokens of 6, 8 and 18 decimals. Costs of traders are compared with exact rationals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from random import Random
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ballast.model import perps
from ballast.model.ledger import (
    LIST_FULL,
    NO_ADL,
    NO_GAIN,
    NO_WINNER,
    Account,
    Book,
    Lender,
    Loans,
)
from ballast.model.margin import (
    GWEI,
    MARGIN_SHORT,
    RATE,
    WAD,
    Leg,
    Mark,
    Position,
    assess,
    result_wad,
    terms_of,
)
from ballast.model.margin import PRICE_NOT_USABLE as MARGIN_PRICE_NOT_USABLE
from ballast.model.oracle import (
    IS_STALE,
    NO_INCREASE,
    OFF_PEG_FLAGS,
    STALE_FLAGS,
    YEAR_S,
    Price,
    Risk,
)
from ballast.model.perps import (
    SIZE_STEP_WAD,
    Breaker,
    Exposure,
    Funding,
    Headroom,
    Market,
    MarketTerms,
    Order,
    Refused,
)

HOUSE, TRADER, OTHER, THIRD = 1 << 8, 2 << 8, 3 << 8, 4 << 8
TRADERS = (TRADER, OTHER, THIRD)
ETH, BTC = 1, 2
ASSETS = (ETH, BTC)
START = 1_700_000_000
UNITS_WAD = {6: 10**12, 8: 10**10, 18: 1}
RISK = Risk(250_000, 20_000, 120_000, 10_000, 2**72 - 1, START, 800_000)
TERMS = MarketTerms(
    depth_gwei=10**6 * GWEI,
    open_interest_cap_gwei=10**5 * GWEI,
    skew_cap_gwei=2 * 10**4 * GWEI,
    round_cap_gwei=10**4 * GWEI,
    min_size_gwei=GWEI // 100,
    base_fee_e6=200,
    band_e6=10_000,
    lag_s=60,
    max_funding_e6=RATE // 2,
    weight_bps=5_000,
)
FREE = replace(TERMS, base_fee_e6=0, band_e6=0, lag_s=0)
PERPS_REASONS = {value for name, value in vars(perps).items() if str(value).startswith("perps: ")}
REASONS = PERPS_REASONS | {MARGIN_SHORT, MARGIN_PRICE_NOT_USABLE, NO_GAIN}


def price_of(newest_wad: int, previous_wad: int | None = None, flags: int = 0) -> Price:
    return Price(newest_wad, newest_wad if previous_wad is None else previous_wad, flags, START)


def mark_at(newest_wad: int, previous_wad: int | None = None, flags: int = 0) -> Mark:
    return Mark(price_of(newest_wad, previous_wad, flags), RISK)


def held_by(size_wad: int, cost_wad: int = 0, collateral_wad: int = 0) -> Position:
    return Position(collateral_wad, size_wad, cost_wad)


def open_market(terms: MarketTerms, price_wad: int, skew_wad: int = 0) -> Market:
    """A market with all the headroom there can be, whose breaker knows the price."""
    skew = skew_wad // GWEI
    most = perps.MAX_HEADROOM_GWEI
    return Market(
        terms,
        Exposure(max(skew, 0), max(-skew, 0), START, skew),
        Headroom(most, most, START),
        Breaker(price_wad, price_wad, START),
        Funding(0, 0, START),
    )


def new_book(
    terms: MarketTerms = TERMS,
    *,
    house_cash: int = 10**7,
    cash: int = 10**6,
    collateral_wad: int = 0,
    decimals: int = 6,
    idle: int = 10**7,
    index_wad: int = WAD,
    prices: Sequence[int] = (2_000 * WAD + 1, 60_000 * WAD + 7),
) -> Book:
    """Cash and idle units in whole tokens, collateral in BTC; headroom is refreshed."""
    loans = Loans(index_wad, UNITS_WAD[decimals])
    own = Account(cash * WAD).with_collateral(BTC, collateral_wad)
    book = Book(
        house=HOUSE,
        markets={a: open_market(terms, p) for a, p in zip(ASSETS, prices, strict=True)},
        prices={a: mark_at(p) for a, p in zip(ASSETS, prices, strict=True)},
        accounts=dict.fromkeys(TRADERS, own) | {HOUSE: Account(house_cash * WAD)},
        loans=loans,
        lender=Lender(idle * WAD // loans.unit_wad),
        now=START,
    )
    return book.refresh()


def with_price(
    book: Book, asset: int, newest_wad: int, previous_wad: int | None = None, flags: int = 0
) -> Book:
    mark = Mark(replace(price_of(newest_wad, previous_wad, flags), made_at=book.now), RISK)
    return replace(book, prices={**book.prices, asset: mark})


def with_terms(book: Book, asset: int, **changes: int) -> Book:
    market = book.markets[asset]
    changed = replace(market, terms=replace(market.terms, **changes))
    return replace(book, markets={**book.markets, asset: changed})


def size_of(book: Book, account: int, asset: int = ETH) -> int:
    return book.account(account).position(asset).size_wad


def exact_result(book: Book, account: int, asset: int) -> Fraction:
    """u in rational numbers."""
    held, mark = book.account(account).position(asset), book.mark(asset)
    return Fraction(held.size_wad * (mark.price_wad - mark.funding_wad), WAD) - held.cost_wad


def traders_worth(book: Book) -> int:
    """Cash, debts and results of all traders."""
    return sum(
        book.net_wad(trader) + sum(book.result_wad(trader, asset) for asset in ASSETS)
        for trader in TRADERS
    )


def tokens_wad(book: Book) -> int:
    """In the clearing house and idle in the vault; a trade moves none in or out."""
    return book.cash_sum + book.lender.idle * book.loans.unit_wad


def refusal(act: Callable[[], Any]) -> str:
    try:
        act()
    except Refused as error:
        return error.reason
    return ""


# ---- random lives

# What is done, by whom, in which market, how much (thousandths or a size), and a nudge in steps.
Step = tuple[str, int, int, int, int]
ACTS = (
    *("open", "open", "open", "grow", "reduce", "flip", "flip", "close", "cut"),
    *("price", "price in this block", "wait", "settle", "settle", "refresh", "accrue", "unusable"),
    *("crash", "withdraw", "withdraw", "deposit", "drain"),
)
some_steps = st.lists(
    st.tuples(
        st.sampled_from(ACTS),
        st.sampled_from(TRADERS),
        st.sampled_from(ASSETS),
        st.integers(0, 1_000),
        st.integers(-2, 2),
    ),
    min_size=6,
    max_size=30,
)
# Most lives begin with a long and a short whose owners have taken their cash and a price that
# moves, since little is settled without; some begin with nothing.
openings = st.one_of(
    st.just([]),
    *[
        st.tuples(st.integers(50, 600), st.integers(50, 600), st.sampled_from(ASSETS)).map(
            lambda drawn: [
                ("open", TRADER, drawn[2], drawn[0], 1),
                ("open", OTHER, drawn[2], drawn[1], 2),
                ("withdraw", TRADER, ETH, 500, 0),
                ("withdraw", OTHER, ETH, 500, 0),
                ("crash", TRADER, drawn[2], 2 * drawn[0], 0),
            ]
        )
    ]
    * 3,
)
steps = st.builds(lambda first, rest: [*first, *rest], openings, some_steps)
WAITS_S = (1, 12, 700, 3_600, 86_400, 30 * 86_400)
market_terms = st.builds(
    lambda depth, fee, band, lag, funding: replace(
        TERMS,
        depth_gwei=depth,
        base_fee_e6=fee,
        band_e6=band,
        lag_s=lag,
        max_funding_e6=funding,
    ),
    st.sampled_from((2 * 10**5 * GWEI, 10**6 * GWEI + 7, 10**7 * GWEI + 333)),
    st.sampled_from((0, 1, 200)),
    st.sampled_from((0, 3, 10_000)),
    st.sampled_from((0, 1, 60)),
    st.sampled_from((0, RATE // 10, 3 * RATE)),
)
books = st.builds(
    lambda terms, house, cash, decimals, idle, index, nudge: new_book(
        terms,
        house_cash=house,
        cash=cash,
        collateral_wad=cash * WAD // 60_000,
        decimals=decimals,
        idle=idle,
        index_wad=index,
        prices=(2_000 * WAD + nudge, 60_000 * WAD + 3 * nudge),
    ),
    market_terms,
    st.sampled_from((10**5, 10**6, 10**7, 10**8)),
    st.sampled_from((20_000, 100_000, 10**6)),
    st.sampled_from((6, 8, 18)),
    st.sampled_from((0, 10**3, 10**7)),
    st.integers(WAD, 2 * WAD),
    st.integers(0, 10**18),
)


@dataclass
class Life:
    """A book that is stepped, and what was accepted and refused."""

    book: Book
    accepted: int = 0
    refused: int = 0

    def attempt(self, act: Callable[[Book], Book]) -> None:
        try:
            self.book = act(self.book)
            self.accepted += 1
        except Refused as error:
            assert error.reason in REASONS
            self.refused += 1

    def step(self, step: Step) -> None:
        kind, trader, asset, part, nudge = step
        book, held = self.book, size_of(self.book, trader, asset)
        price = book.prices[asset].price_wad
        if kind in ("reduce", "flip", "close", "cut") and held == 0:
            kind = "open"
        if kind == "price":
            moved = max(1, price * (800 + part * 400 // 1_000) // 1_000)
            self.book = with_price(book, asset, moved)
        elif kind == "crash":
            # Long enough ago for the breaker to have come round.
            book = with_price(book, asset, max(1, price * (300 + part) // 1_000))
            for _ in range(2):
                book = replace(book, now=book.now + 600).refresh()
            self.book = book
        elif kind == "withdraw":
            loan_wad = book.lender.max_loan(book.loans) * book.loans.unit_wad
            payable = book.account(trader).cash_wad + loan_wad
            room = min(payable, book.assess(trader).excess_init)
            units = max(0, room) * min(1_000, 2 * part) // 1_000 // book.loans.unit_wad
            self.book = book.debited(trader, units)
        elif kind == "deposit":
            self.book = book.credited(trader, 10 * part * WAD // book.loans.unit_wad + nudge + 2)
        elif kind == "drain":
            units = book.account(HOUSE).cash_wad // book.loans.unit_wad
            self.book = book.debited(HOUSE, units * min(1_000, 3 * part // 2) // 1_000)
        elif kind == "price in this block":
            moved = max(1, price * (950 + part // 10) // 1_000)
            self.book = with_price(book, asset, moved, price)
        elif kind == "unusable":
            flags = (OFF_PEG_FLAGS, STALE_FLAGS, NO_INCREASE)[part % 3]
            self.book = with_price(book, asset, price, flags=flags)
        elif kind == "wait":
            self.book = replace(book, now=book.now + WAITS_S[part % len(WAITS_S)]).refresh()
        elif kind == "refresh":
            self.book = book.refresh()
        elif kind == "accrue":
            self.attempt(lambda b: b.accrue(asset))
        elif kind == "settle":
            losers = [(other, known) for other in TRADERS for known in ASSETS][part % 6 :]
            self.attempt(lambda b: b.settle(trader, asset, losers)[0])
        else:
            # Up to six times what it is worth.
            value = max(1_000 * WAD, book.assess(trader).equity_maint) * 6 * part // 1_000
            size = max(1, value * WAD // price // GWEI + nudge) * GWEI
            change = {
                "open": size if nudge % 2 else -size,
                "grow": size if held >= 0 else -size,
                "reduce": -(held * part // 1_000 // GWEI) * GWEI,
                "flip": -held - (size if held > 0 else -size),
                "close": -held,
                "cut": size if held < 0 else -size,
            }[kind]
            order = Order(trader, asset, change, reduce_only=kind == "cut")
            self.attempt(lambda b: b.trade(order)[0])

    def check(self) -> None:
        book = self.book
        assert book.faults() == []
        for asset in ASSETS:
            results = [book.result_wad(account, asset) for account in book.accounts]
            # Floors: what all are told they have is never more than what there is.
            assert -len(results) < sum(results) <= 0
            assert sum(exact_result(book, account, asset) for account in book.accounts) == 0


@given(book=books, life=steps)
def test_life__any_trades_prices_and_waits__sizes_costs_and_cash_add_up(
    book: Book, life: list[Step]
) -> None:
    """I18 I19 A2 A18: zero sums to the wei, and the house never owes."""
    two = Life(book)
    for step in life:
        before = two.book
        two.step(step)
        two.check()
        if step[0] not in ("withdraw", "deposit", "drain"):
            assert tokens_wad(two.book) == tokens_wad(before)
        for account in two.book.accounts:
            word = two.book.account(account).listed_word
            assert (word >> 128) & 255 == len(two.book.account(account).positions)


def test_life__two_hundred_of_them__see_everything_happen() -> None:
    """The properties here are about something: every kind of trade and of settlement occurs."""
    source = Random(1)
    seen: Counter[str] = Counter()
    for index in range(200):
        terms = replace(TERMS, weight_bps=4_000 + 5 * index)
        life = Life(new_book(terms, cash=10**5, collateral_wad=WAD, idle=10**5))
        for _ in range(40):
            who, where = source.choice(TRADERS), source.choice(ASSETS)
            before = life.book
            life.step((source.choice(ACTS), who, where, source.randint(0, 1_000), 0))
            life.check()
            old, new = before.account(who).position(where), life.book.account(who).position(where)
            seen["flips"] += old.size_wad * new.size_wad < 0
            seen["closes"] += old.size_wad != 0 == new.size_wad
            seen["unpaid"] += old.size_wad != 0 == new.size_wad and new.cost_wad != 0
            seen["loans"] += life.book.lender.debt_shares > before.lender.debt_shares
            seen["repayments"] += life.book.lender.debt_shares < before.lender.debt_shares
            seen["dry house"] += life.book.account(HOUSE).cash_wad == 0
        seen["accepted"] += life.accepted
        seen["refused"] += life.refused
    assert len(seen) == 8 and min(seen.values()) >= 10, seen


# ---- the fill price


def test_fill__skew_of_4000_in_a_depth_of_a_million__is_2010() -> None:
    """p 2000, K 1,000,000, skew 4,000, dq 2,000, before fees."""
    market = open_market(FREE, 2_000 * WAD, 4_000 * WAD)
    mark = mark_at(2_000 * WAD)
    fill = market.priced(Position(), 2_000 * WAD, mark, START)
    assert (fill.price_wad, fill.fee_e6) == (2_010 * WAD, 0)
    assert fill.cost_change == fill.entry_wad == 2_000 * 2_010 * WAD
    after, booked = market.filled(Order(TRADER, ETH, 2_000 * WAD), Position(), mark, START)
    assert booked == fill
    assert after.skew_wad == 6_000 * WAD


def test_fee__band_and_lag__is_base_and_half_the_zone_rounded_up() -> None:
    """0.8 a year over 60 s is 0.0011; with a band of 1% half of it is 0.555%."""
    assert TERMS.lag_root_e9 == 1_379_343
    assert TERMS.uncertainty_e6(800_000) == (10_000 + 1_103 + 1) // 2
    assert TERMS.fee_e6(800_000) == 200 + 5_552
    assert FREE.fee_e6(5 * 10**6) == 0


sizes = st.builds(
    lambda raw, cut, sign: sign * max(1, raw >> cut) * GWEI,
    st.integers(1, 2**45),
    st.integers(0, 45),
    st.sampled_from((1, -1)),
)
some_prices = st.integers(10**15, 10**23)
some_fundings = st.integers(-(10**22), 10**22)


@given(sizes, sizes, some_prices, some_prices, market_terms)
def test_fill__any_trade__is_the_formula_rounded_against_the_trader(
    held: int, change: int, newest: int, previous: int, terms: MarketTerms
) -> None:
    """A13 A18: an increase pays the worse of two prices, and every division is the house's."""
    market = open_market(terms, newest, held)
    mark = mark_at(newest, previous)
    fill = market.priced(held_by(held), change, mark, START)
    is_increase = max(perps.growths(held, held + change)) > 0
    worse = max(newest, previous) if change > 0 else min(newest, previous)
    assert fill.basis_wad == (worse if is_increase else newest)
    impact = Fraction(2 * held + change, 2 * terms.depth_gwei * GWEI)
    fee = Fraction(terms.fee_e6(RISK.sigma_e6), RATE)
    price = fill.basis_wad * (1 + impact + (fee if change > 0 else -fee))
    loss = (fill.price_wad - price) * (1 if change > 0 else -1)
    assert 0 <= loss < 1
    assert 0 <= fill.cost_change - Fraction(change * fill.price_wad, WAD) < 1


@given(sizes, sizes, sizes)
def test_entry__open_grow_reduce_flip_close__is_the_value_of_what_is_open(
    first: int, second: int, third: int
) -> None:
    """Fees included; a reduction takes its part with it, a flip begins anew."""
    market, mark = open_market(TERMS, 2_000 * WAD), mark_at(2_000 * WAD)
    held = Position()
    for change in (first, second, third):
        fill = market.priced(held, change, mark, START)
        old, new = held.size_wad, held.size_wad + change
        value = Fraction(change * fill.price_wad, WAD)
        if new == 0:
            assert fill.entry_wad == 0
        elif old * change >= 0:
            assert 0 <= fill.entry_wad - held.entry_wad - value < 1
        elif old * new < 0:
            assert 0 <= fill.entry_wad - Fraction(new * fill.price_wad, WAD) < 1
        else:
            rest = Fraction(held.entry_wad * new, old)
            assert abs(fill.entry_wad) <= abs(rest) < abs(fill.entry_wad) + 1
        held = Position(0, new, held.cost_wad + fill.cost_change, fill.entry_wad)
    if held.size_wad:
        assert perps.entry_price_wad(held) > 0


# ---- nobody profits from trading alone


trades = st.lists(
    st.tuples(st.sampled_from(TRADERS), st.sampled_from(ASSETS), sizes), min_size=1, max_size=12
)


@given(book=books, drawn=trades)
def test_round_trip__any_trades_at_one_price__traders_together_never_profit(
    book: Book, drawn: list[tuple[int, int, int]]
) -> None:
    """T05 T31 A6: whoever builds and takes down a skew, the fees are lost and nothing is won."""
    worth = traders_worth(book)
    for trader, asset, change in drawn:
        try:
            book, _ = book.trade(Order(trader, asset, change))
        except Refused:
            continue
        # Not even while positions are open, but for the premium that closing them takes back.
        charge = sum(book.markets[a].skew_charge_wad(book.mark(a)) for a in ASSETS)
        assert traders_worth(book) <= worth + charge
    for trader in TRADERS:
        for asset in ASSETS:
            size = size_of(book, trader, asset)
            if size:
                book, _ = book.trade(Order(trader, asset, -size))
    assert all(book.markets[asset].skew_wad == 0 for asset in ASSETS)
    assert traders_worth(book) <= worth


@given(sizes, st.integers(1, 2**40), st.integers(1, 12), market_terms, st.booleans())
def test_split__any_trade_in_parts__costs_no_less_than_the_whole_but_for_its_rounding(
    skew: int, part: int, count: int, terms: MarketTerms, is_buy: bool
) -> None:
    """A18 T05: impact is the integral of the skew, so parts add up; each rounds against the
    trader, and the whole's own rounding is one wei of price and one of value."""
    change = part * GWEI * (1 if is_buy else -1)
    mark = mark_at(2_000 * WAD + 1)
    market = open_market(terms, mark.price_wad, skew)
    whole = market.priced(Position(), count * change, mark, START)
    held, cost = Position(), 0
    for _ in range(count):
        fill = market.priced(held, change, mark, START)
        cost += fill.cost_change
        held = held_by(held.size_wad + change)
        growth = perps.growths(held.size_wad - change, held.size_wad)
        market = market.grown(growth[0] // GWEI, growth[1] // GWEI)
    lost_by_rounding = count * part * GWEI // WAD + 2
    assert cost > whole.cost_change - lost_by_rounding
    assert cost < whole.cost_change + count * lost_by_rounding


# ---- funding


def test_funding__ten_idle_years__position_is_worth_what_it_should_and_closes() -> None:
    """T47: linear, so nothing overflows and nothing is lost by waiting."""
    book, _ = new_book().trade(Order(TRADER, ETH, 100 * WAD))
    rate = book.markets[ETH].funding.rate_wad
    year_wad = book.prices[ETH].price_wad * TERMS.max_funding_e6 * 100
    skew_cap = TERMS.skew_cap_gwei // GWEI
    assert rate == year_wad // (skew_cap * RATE * YEAR_S) > 0
    result = book.result_wad(TRADER, ETH)
    later = replace(book, now=START + 10 * YEAR_S)
    paid = rate * 10 * YEAR_S * 100
    assert later.mark(ETH).funding_wad == rate * 10 * YEAR_S
    assert later.result_wad(TRADER, ETH) == result - paid
    assert later.result_wad(HOUSE, ETH) == book.result_wad(HOUSE, ETH) + paid
    held = later.account(TRADER).position(ETH)
    assert abs(perps.funding_owed_wad(held, later.mark(ETH)) - paid) <= 1
    cash = later.account(TRADER).cash_wad
    closed, fill = later.trade(Order(TRADER, ETH, -100 * WAD))
    assert size_of(closed, TRADER) == 0
    paid_for_round_trip = fill.cost_change + held.cost_wad
    assert closed.account(TRADER).cash_wad == cash - paid_for_round_trip
    assert closed.faults() == []


@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), some_prices, st.integers(-(2**60), 2**60)), max_size=8
    )
)
def test_funding__touched_whenever__is_the_sum_of_its_stretches(
    stretches: list[tuple[int, int, int]],
) -> None:
    """Exact: only the rate is rounded, toward zero, so neither side is charged for a touch."""
    funding, now, total = Funding(0, 0, START), START, 0
    for wait_s, price, skew in stretches:
        now += wait_s
        total += funding.rate_wad * wait_s
        touched = funding.touched(price, skew, TERMS, now)
        assert touched.funding_wad == total
        assert touched == touched.touched(price, skew, TERMS, now)
        mirrored = funding.touched(price, -skew, TERMS, now)
        assert mirrored.rate_wad == -touched.rate_wad
        most = price * TERMS.max_funding_e6 // (RATE * YEAR_S)
        assert abs(touched.rate_wad) <= most
        funding = touched


def test_accrue__any_moment__takes_skew_and_price_into_the_rate() -> None:
    book, _ = new_book().trade(Order(TRADER, ETH, 100 * WAD))
    dear = with_price(replace(book, now=START + 60), ETH, 4_000 * WAD).accrue(ETH)
    cheap = book.markets[ETH].funding
    assert dear.markets[ETH].funding.touched_at == START + 60
    assert dear.markets[ETH].funding.funding_wad == 60 * cheap.rate_wad
    assert abs(dear.markets[ETH].funding.rate_wad - 2 * cheap.rate_wad) <= 2


# ---- the house


@given(book=books, drawn=trades)
def test_nav__any_trade__changes_by_its_fee_only(
    book: Book, drawn: list[tuple[int, int, int]]
) -> None:
    """A6 T30: equity less the skew charge moves by the fee, up to a wei of price and of value."""
    for trader, asset, change in drawn:
        nav = book.nav_wad
        try:
            book, fill = book.trade(Order(trader, asset, change))
        except Refused:
            continue
        fee = Fraction(abs(change) * fill.basis_wad * fill.fee_e6, WAD * RATE)
        assert -3 < book.nav_wad - nav - fee < abs(change) // WAD + 5


def house_equity_at(book: Book, prices: Sequence[int]) -> int:
    for asset, price in zip(ASSETS, prices, strict=True):
        book = with_price(book, asset, price)
    return book.assess(HOUSE).equity_maint


@given(book=books, drawn=trades)
def test_headroom__all_of_it_used__house_still_backs_both_sides_of_every_market(
    book: Book, drawn: list[tuple[int, int, int]]
) -> None:
    """A1: budgets of all markets and of both sides add up to no more than what is free."""
    for trader, asset, change in drawn:
        try:
            book, _ = book.trade(Order(trader, asset, change))
        except Refused:
            continue
    book = book.refresh()
    equity = book.assess(HOUSE).equity_init
    before = sum(book.markets[asset].required_wad(book.mark(asset)) for asset in ASSETS)
    assert book.free_wad == max(0, equity - before)
    grown = {
        asset: market.grown(market.headroom.long_gwei, market.headroom.short_gwei)
        for asset, market in book.markets.items()
    }
    required = sum(market.required_wad(book.mark(asset)) for asset, market in grown.items())
    assert all(
        market.headroom.long_gwei == 0 == market.headroom.short_gwei for market in grown.values()
    )
    assert required <= max(equity, before) + len(ASSETS)


def test_headroom__growth_and_reduction__used_up_and_given_back() -> None:
    book = new_book()
    room = book.markets[ETH].headroom
    opened, _ = book.trade(Order(TRADER, ETH, 100 * WAD))
    assert opened.markets[ETH].headroom.long_gwei == room.long_gwei - 100 * GWEI
    flipped, _ = opened.trade(Order(TRADER, ETH, -150 * WAD))
    # A tenth of each fee, of the newest price, is counted beside it.
    insured = [floor(Fraction(size * (2_000 * WAD + 1) * 5_752, 10**16)) for size in (100, 150, 50)]
    assert flipped.markets[ETH].headroom == replace(
        room, short_gwei=room.short_gwei - 50 * GWEI, insured_gwei=sum(insured[:2])
    )
    closed, _ = flipped.trade(Order(TRADER, ETH, 50 * WAD))
    assert closed.markets[ETH].headroom == replace(room, insured_gwei=sum(insured))
    again = closed.refresh().markets[ETH]
    assert again.headroom.insured_gwei == sum(insured) > 0
    for most, left in ((sum(insured), 0), (sum(insured) - 1, 1), (0, sum(insured))):
        collected, taken = again.without_insured(most * GWEI + GWEI - 1)
        assert collected == replace(again, headroom=replace(again.headroom, insured_gwei=left))
        assert taken == (sum(insured) - left) * GWEI
    other, _ = closed.trade(Order(OTHER, BTC, WAD))
    owed = {asset: market.headroom.insured_gwei for asset, market in other.markets.items()}
    most = owed[ETH] + owed[BTC] // 3
    left_over, taken = perps.insurance_fees_taken(other.markets, most * GWEI)
    assert (left_over[ETH].headroom.insured_gwei, taken) == (0, most * GWEI)
    assert left_over[BTC].headroom.insured_gwei == owed[BTC] - owed[BTC] // 3 > 0
    full = Headroom(perps.MAX_HEADROOM_GWEI, 5, START)
    assert full.used(-7, 5) == Headroom(perps.MAX_HEADROOM_GWEI, 0, START)
    assert full.insured(7).insured(2**72) == replace(full, insured_gwei=perps.MAX_INSURED_GWEI)


@given(st.integers(-(10**30), -1), sizes, sizes, some_prices, st.integers(-(10**22), 10**22), sizes)
def test_adl_bound__house_below_maintenance__restores_it_and_no_more(
    excess: int, house: int, size: int, price: int, funding: int, cost: int
) -> None:
    """At the index price closing moves no equity, and frees r + l of what is closed."""
    mark = replace(mark_at(price), funding_wad=funding)
    held = held_by(house, cost)
    bound = perps.adl_bound_wad(excess, held, size, mark)
    if house * size > 0:
        assert bound == 0
        return
    assert 0 < bound <= min(abs(house), abs(size)) and bound % SIZE_STEP_WAD == 0

    def excess_after(closed: int) -> int:
        """The trader closes `closed` and the house takes it back."""
        change = -closed if size > 0 else closed
        moved = held_by(house - change, cost - -(-change * (price - funding) // WAD))
        terms = terms_of(moved, mark.for_house(moved.size_wad))
        return excess + terms.excess_maint - terms_of(held, mark.for_house(house)).excess_maint

    if bound < min(abs(house), abs(size)):
        assert excess_after(bound) >= 0
    if bound > SIZE_STEP_WAD:
        assert excess_after(bound - SIZE_STEP_WAD) < 3


def test_adl_bound__loser_hedger_and_sound_house__only_winners_of_a_weak_house() -> None:
    book = new_book(house_cash=700_000)
    book, _ = book.trade(Order(TRADER, ETH, 300 * WAD))
    assert book.adl_bound_wad(TRADER, ETH) == 0  # the house is sound
    risen = with_price(book, ETH, 3_900 * WAD)
    assert risen.assess(HOUSE).excess_maint < 0
    assert 0 < risen.adl_bound_wad(TRADER, ETH) < 300 * WAD
    assert risen.adl_bound_wad(OTHER, ETH) == 0
    assert not risen.is_hedge(TRADER, ETH)
    # Collateral that is hedged to the last unit is the hedge above all others.
    own = risen.account(OTHER).with_position(ETH, Position(WAD, -WAD))
    assert risen.with_account(OTHER, own).is_hedge(OTHER, ETH)
    short = risen.account(OTHER).with_position(ETH, Position(WAD, -WAD - 1))
    assert not risen.with_account(OTHER, short).is_hedge(OTHER, ETH)


def test_adl__winner_of_a_weak_house__is_closed_at_the_index_and_the_house_is_sound() -> None:
    """No fee, no equity moved, one call is enough, and another finds nothing to do."""
    book, _ = new_book(house_cash=700_000).trade(Order(TRADER, ETH, 300 * WAD))
    assert refusal(lambda: book.adl(TRADER, ETH, WAD)) == NO_ADL
    book = with_price(book, ETH, 3_900 * WAD, flags=NO_INCREASE)
    assert refusal(lambda: book.adl(OTHER, ETH, WAD)) == NO_WINNER
    assert refusal(lambda: book.adl(TRADER, ETH, 1)) == perps.NOT_IN_STEPS
    stale = with_price(book, ETH, 3_900 * WAD, flags=STALE_FLAGS)
    assert refusal(lambda: stale.adl(TRADER, ETH, 1)) == perps.PRICE_STALE
    after, fill = book.adl(TRADER, ETH, 300 * WAD)
    assert (fill.price_wad, fill.fee_e6) == (3_900 * WAD, 0)
    assert after.faults() == []
    assert after.assess(HOUSE).excess_maint >= 0
    assert abs(after.result_wad(TRADER, ETH) - book.result_wad(TRADER, ETH)) <= 1
    assert refusal(lambda: after.adl(TRADER, ETH, WAD)) == NO_ADL


@pytest.mark.parametrize(
    ("size", "rates"),
    [(-1, (500_000, 250_000)), (1, (RATE, RATE)), (0, (RATE, RATE))],
    ids=("short", "long", "flat"),
)
def test_house_rates__either_side__are_its_own(size: int, rates: tuple[int, int]) -> None:
    risk = mark_at(WAD).for_house(size).risk
    assert (risk.r_init_e6, risk.r_maint_e6) == rates
    assert (risk.l_init_e6, risk.l_maint_e6) == (RISK.l_init_e6, RISK.l_maint_e6)
    steep = replace(mark_at(WAD), risk=replace(RISK, r_init_e6=700_000, r_maint_e6=300_000))
    assert steep.for_house(-1).risk == steep.risk


def test_skew_charge__two_markets__is_the_sum_each_rounded_up() -> None:
    mark = mark_at(2_000 * WAD)
    one, other = open_market(TERMS, WAD, 4_000 * WAD), open_market(TERMS, WAD, -1 * GWEI)
    assert one.skew_charge_wad(mark) == 16_000 * WAD
    assert other.skew_charge_wad(mark) == 1  # 1e-9 WAD of value
    assert perps.skew_charge_wad([(one, mark), (other, mark)]) == 16_000 * WAD + 1
    part_e6 = TERMS.uncertainty_e6(RISK.sigma_e6)
    assert one.uncertainty_wad(mark) == 4_000 * 2_000 * WAD * part_e6 // RATE
    assert perps.uncertainty_wad([(one, mark)]) == one.uncertainty_wad(mark)


# ---- refusals


def test_refusal__everything_wrong_at_once__is_named_in_order() -> None:
    """Each repair uncovers the next reason."""
    size = 2**103 // GWEI * GWEI
    terms = replace(TERMS, min_size_gwei=2**72, open_interest_cap_gwei=1, skew_cap_gwei=1)
    terms = replace(terms, round_cap_gwei=1, depth_gwei=2**80)
    book = new_book(terms)
    market = replace(
        book.markets[ETH],
        is_close_only=True,
        is_latched=True,
        headroom=Headroom(1, 1, START - 601),
        breaker=Breaker(WAD, WAD, START),
    )
    book = replace(book, markets={BTC: market})
    price = 2_000 * WAD
    book = with_price(book, ETH, price, flags=STALE_FLAGS)
    book = with_price(book, BTC, price, flags=STALE_FLAGS)
    order = Order(TRADER, ETH, size + 1, price, 9, START - 1, True)

    def changed(**changes: Any) -> Callable[[], None]:
        def apply() -> None:
            nonlocal order
            order = replace(order, **changes)

        return apply

    def repaired(**changes: Any) -> Callable[[], None]:
        def apply() -> None:
            nonlocal book
            market = replace(book.markets[BTC], **changes)
            book = replace(book, markets={BTC: market})

        return apply

    def retermed(**changes: int) -> Callable[[], None]:
        def apply() -> None:
            nonlocal book
            book = with_terms(book, BTC, **changes)

        return apply

    def flagged(flags: int) -> Callable[[], None]:
        def apply() -> None:
            nonlocal book
            book = with_price(book, BTC, price, flags=flags)

        return apply

    most = perps.MAX_HEADROOM_GWEI
    repairs: list[tuple[str, Callable[[], None]]] = [
        (perps.UNKNOWN_MARKET, changed(asset=BTC)),
        (perps.PRICE_STALE, flagged(OFF_PEG_FLAGS)),
        (perps.WOUND_DOWN, repaired(is_latched=False)),
        (perps.NOT_IN_STEPS, changed(size_change=0)),
        (perps.NOT_IN_STEPS, changed(size_change=2**120 * GWEI)),
        (perps.NOT_IN_STEPS, changed(size_change=size)),
        (perps.NOTHING_TO_REDUCE, changed(reduce_only=False)),
        (perps.DEADLINE_PASSED, changed(deadline=START)),
        (perps.MARKET_TOO_LARGE, changed(size_change=2**101 // GWEI * GWEI)),
        (perps.CLOSE_ONLY, repaired(is_close_only=False)),
        (perps.PRICE_NOT_USABLE, flagged(0)),
        (perps.BREAKER_TRIPPED, repaired(breaker=Breaker(price, price, START))),
        (perps.BELOW_MINIMUM, retermed(min_size_gwei=1)),
        (perps.OPEN_INTEREST_CAP, retermed(open_interest_cap_gwei=2**80)),
        (perps.SKEW_CAP, retermed(skew_cap_gwei=2**80)),
        (perps.ROUND_CAP, retermed(round_cap_gwei=2**80)),
        (perps.HEADROOM_STALE, repaired(headroom=Headroom(1, 1, START - 600))),
        (perps.HEADROOM_USED, repaired(headroom=Headroom(most, most, START - 600))),
        (perps.PRICE_PASSED, changed(acceptable_price=None)),
        (perps.SLIPPAGE, changed(slippage_bps=10_000)),
        (perps.TOO_LARGE, changed(size_change=2**98 // GWEI * GWEI)),
        (MARGIN_SHORT, changed(size_change=WAD)),
    ]
    for reason, repair in repairs:
        assert refusal(lambda: book.trade(order)) == reason
        repair()
    traded, fill = book.trade(order)
    assert size_of(traded, TRADER, BTC) == fill.size_change == WAD
    of_trades = PERPS_REASONS - {perps.NOT_FOR_THE_HOUSE}
    assert {reason for reason, _ in repairs} == of_trades | {MARGIN_SHORT}


def test_trade__seventeenth_asset__is_refused_and_listed_ones_go_on() -> None:
    book = new_book()
    own = book.account(TRADER)
    for asset in range(10, 25):
        own = own.with_collateral(asset, 1)
    prices = {**book.prices, **dict.fromkeys(range(10, 25), mark_at(WAD))}
    book, _ = replace(book.with_account(TRADER, own), prices=prices).trade(Order(TRADER, ETH, WAD))
    assert len(book.account(TRADER).positions) == 16
    assert refusal(lambda: book.trade(Order(TRADER, BTC, WAD))) == LIST_FULL
    closed, _ = book.trade(Order(TRADER, ETH, -WAD))
    assert closed.account(TRADER).listed_word >> 128 == 15


def test_acceptable_price__either_side__is_compared_with_the_fee_included() -> None:
    book = new_book()
    for change, nudge in ((WAD, -1), (-WAD, 1)):
        _, fill = book.trade(Order(TRADER, ETH, change))
        assert (fill.price_wad - fill.basis_wad) * change > 0
        book.trade(Order(TRADER, ETH, change, fill.price_wad))
        beyond = Order(TRADER, ETH, change, fill.price_wad + nudge)
        assert refusal(lambda order=beyond: book.trade(order)) == perps.PRICE_PASSED
        book.trade(Order(TRADER, ETH, change, slippage_bps=58))  # fee of 57.52, impact of 0.005
        beyond = Order(TRADER, ETH, change, slippage_bps=57)
        assert refusal(lambda order=beyond: book.trade(order)) == perps.SLIPPAGE


def test_reduction__every_cap_broken__goes_through() -> None:
    """A reduce is always possible: caps, breaker, mode, headroom and flags are about increases."""
    book, _ = new_book().trade(Order(TRADER, ETH, 100 * WAD))
    book = replace(book, now=START + 86_400)
    book = with_terms(
        book, ETH, open_interest_cap_gwei=0, skew_cap_gwei=0, round_cap_gwei=0, min_size_gwei=2**70
    )
    market = replace(book.markets[ETH], is_close_only=True)
    book = replace(book, markets={**book.markets, ETH: market})
    book = with_price(book, ETH, 3_000 * WAD, 1_000 * WAD, flags=OFF_PEG_FLAGS)
    reduced, fill = book.trade(Order(TRADER, ETH, -60 * WAD))
    assert fill.basis_wad == 3_000 * WAD
    closed, fill = reduced.trade(Order(TRADER, ETH, -100 * WAD, reduce_only=True))
    assert (fill.size_change, size_of(closed, TRADER)) == (-40 * WAD, 0)
    stale = with_price(reduced, ETH, 3_000 * WAD, flags=STALE_FLAGS)
    assert stale.prices[ETH].price.flags & IS_STALE
    assert refusal(lambda: stale.trade(Order(TRADER, ETH, -WAD))) == perps.PRICE_STALE


def test_round_cap__rounds_of_the_feed__each_starts_with_the_skew_it_finds() -> None:
    book = with_terms(new_book(), ETH, round_cap_gwei=100 * GWEI)
    opened, _ = book.trade(Order(TRADER, ETH, 100 * WAD))
    more = Order(TRADER, ETH, WAD)
    assert refusal(lambda: opened.trade(more)) == perps.ROUND_CAP
    later = with_price(replace(opened, now=START + 12), ETH, 2_001 * WAD)
    again, _ = later.trade(more)
    known = again.markets[ETH].exposure
    assert (known.round_at, known.start_skew_gwei) == (START + 12, 100 * GWEI)
    # The other way there is as much room again.
    back, _ = again.trade(Order(OTHER, ETH, -101 * WAD))
    assert refusal(lambda: back.trade(Order(OTHER, ETH, -101 * WAD))) == perps.ROUND_CAP


def test_breaker__fifteen_percent__counts_from_two_windows() -> None:
    price = 2_000 * WAD
    breaker = Breaker(0, 0, 0).moved(price, START)
    assert breaker == Breaker(price, price, START)
    assert breaker.moved(1, START + 599) == breaker
    moved = breaker.moved(2_200 * WAD, START + 600)
    assert moved == Breaker(price, 2_200 * WAD, START + 600)
    assert not moved.is_tripped(2_300 * WAD) and moved.is_tripped(2_300 * WAD + 1)
    assert not moved.is_tripped(1_870 * WAD) and moved.is_tripped(1_870 * WAD - 1)
    assert moved.moved(3_000 * WAD, START + 1_199) == moved
    # A quiet time hides no move: what was the anchor is the one before, however long ago.
    for later in (START + 1_200, START + YEAR_S):
        late = moved.moved(3_000 * WAD, later)
        assert late == Breaker(2_200 * WAD, 3_000 * WAD, later)
        assert late.is_tripped(3_000 * WAD)


@given(
    book=books,
    drawn=trades,
    is_long=st.booleans(),
    trader=st.sampled_from(TRADERS),
    part=st.tuples(*[st.integers(0, 2_000)] * 4),
)
def test_largest_increase__any_caps__is_accepted_and_a_step_more_is_not(
    book: Book,
    drawn: list[tuple[int, int, int]],
    is_long: bool,
    trader: int,
    part: tuple[int, int, int, int],
) -> None:
    for other, asset, change in drawn:
        try:
            book, _ = book.trade(Order(other, asset, change))
        except Refused:
            continue
    oi, skew, rounds, minimum = (GWEI * p for p in part)
    book = with_terms(
        book,
        ETH,
        open_interest_cap_gwei=oi,
        skew_cap_gwei=skew,
        round_cap_gwei=rounds,
        min_size_gwei=minimum // 100,
    )
    market, mark, held = book.markets[ETH], book.mark(ETH), book.account(trader).position(ETH)
    sign = 1 if is_long else -1
    closing = max(0, -sign * held.size_wad)
    most = market.largest_increase_wad(held.size_wad, is_long, mark, book.now)

    def outcome(growth: int) -> str:
        order = Order(trader, ETH, sign * (closing + growth))
        return refusal(lambda: market.filled(order, held, mark, book.now))

    assert most % SIZE_STEP_WAD == 0
    if most:
        assert outcome(most) == ""
    assert outcome(most + SIZE_STEP_WAD) != ""
    assert outcome(most + 100 * WAD) != ""


@given(
    book=books,
    drawn=trades,
    is_long=st.booleans(),
    trader=st.sampled_from(TRADERS),
    cash=st.integers(0, 10**5),
    collateral=st.integers(0, 200),
)
def test_largest_order__any_account__is_filled_and_a_step_more_is_not(
    book: Book,
    drawn: list[tuple[int, int, int]],
    is_long: bool,
    trader: int,
    cash: int,
    collateral: int,
) -> None:
    """The maximum size now, for accounts at or above their initial margin."""
    for other, asset, change in drawn:
        try:
            book, _ = book.trade(Order(other, asset, change))
        except Refused:
            continue
    held = book.account(trader).with_collateral(ETH, collateral * WAD)
    book = book.with_account(trader, replace(held, cash_wad=cash * WAD))
    assume(not book.increase_refusal(trader))
    sign = 1 if is_long else -1
    largest = book.largest_order_wad(trader, ETH, is_long)
    if largest:
        book.trade(Order(trader, ETH, sign * largest))
    beyond = largest + SIZE_STEP_WAD
    closing = max(0, -sign * size_of(book, trader))
    minimum = book.markets[ETH].terms.min_size_gwei * GWEI
    if beyond > closing:
        beyond = max(beyond, closing + minimum - max(0, sign * size_of(book, trader)))
    assert refusal(lambda: book.trade(Order(trader, ETH, sign * beyond))) != ""


# ---- settling


def opened(*, house_cash: int = 10**7, **settings: Any) -> Book:
    """The trader is long 100, the other short 100, in a market without fees."""
    book = new_book(FREE, house_cash=10**7, prices=(2_000 * WAD, 60_000 * WAD), **settings)
    book, _ = book.trade(Order(TRADER, ETH, 100 * WAD))
    book, _ = book.trade(Order(OTHER, ETH, -100 * WAD))
    return book.with_account(HOUSE, replace(book.account(HOUSE), cash_wad=house_cash * WAD))


def test_settle__house_without_cash__collects_from_losers_what_the_winner_needs() -> None:
    """A20: the first loser pays, and only for what is needed."""
    book = with_price(opened(house_cash=1_000), ETH, 2_100 * WAD)
    gain, cash = book.result_wad(TRADER, ETH), book.account(OTHER).cash_wad
    assert gain == 10_000 * WAD - 10 * WAD  # it bought 1 above the index on average
    unaided, moved = book.settle(TRADER, ETH)
    assert moved == 1_000 * WAD
    assert unaided.account(HOUSE).cash_wad == 0
    paid, moved = book.settle(TRADER, ETH, [(THIRD, ETH), (TRADER, ETH), (OTHER, ETH)])
    assert moved == gain
    assert paid.account(OTHER).cash_wad == cash - (gain - 1_000 * WAD)
    assert paid.account(HOUSE).cash_wad == 0
    assert paid.result_wad(TRADER, ETH) == 0
    assert paid.faults() == []
    # Nothing is needed any more, so nobody pays.
    again, moved = paid.settle(TRADER, ETH, [(OTHER, ETH)])
    assert (again, moved) == (paid, 0)


def test_settle__loss_of_an_open_position__is_refused() -> None:
    """A20: it would force a loan for nothing."""
    book = with_price(opened(), ETH, 1_900 * WAD)
    assert refusal(lambda: book.settle(TRADER, ETH, [(TRADER, ETH)])) == NO_GAIN


def test_settle__house__is_neither_winner_nor_loser() -> None:
    """A20: it is refused for itself, and as a loser wherever the call comes to it."""
    book = with_price(opened(house_cash=0), ETH, 2_100 * WAD)
    not_for_it = perps.NOT_FOR_THE_HOUSE
    assert book.result_wad(HOUSE, ETH) == 0 < book.result_wad(TRADER, ETH)
    assert refusal(lambda: book.settle(HOUSE, ETH, [(OTHER, ETH)])) == not_for_it
    losers = [(OTHER, ETH), (HOUSE, ETH)]
    assert refusal(lambda: book.settle(TRADER, ETH, losers)) == not_for_it
    # The call ends at the first loser after all is paid.
    assert book.settle(TRADER, ETH, [(OTHER, ETH), (OTHER, ETH), (HOUSE, ETH)])[1] > 0


def test_settle__loser_who_wins_on_a_price_not_usable__is_refused() -> None:
    """A20: its result is asked for, and a gain has none on such a price."""
    book = with_price(opened(house_cash=0), ETH, 2_100 * WAD)
    book, _ = book.trade(Order(THIRD, BTC, WAD // 100))
    book = with_price(book, BTC, 70_000 * WAD, flags=NO_INCREASE)
    losers = [(THIRD, BTC), (OTHER, ETH)]
    assert refusal(lambda: book.settle(TRADER, ETH, losers)) == perps.PRICE_NOT_USABLE
    assert book.settle(TRADER, ETH, losers[1:])[1] > 0


def test_settle__lesser_result_is_paid_in_full__collects_from_nobody() -> None:
    """A20: what only the newest price of this block promises is not yet owed."""
    book = with_price(opened(), ETH, 2_200 * WAD, 2_100 * WAD)
    alone, moved = book.settle(TRADER, ETH)
    assert book.settle(TRADER, ETH, [(OTHER, ETH)]) == (alone, moved)
    assert alone.result_wad(TRADER, ETH) > 0


def test_settle__price_of_this_block__pays_the_lesser_of_two_results() -> None:
    book = with_price(opened(), ETH, 2_200 * WAD, 2_100 * WAD)
    assert book.settle(TRADER, ETH)[1] == 9_990 * WAD
    fell = with_price(opened(), ETH, 2_200 * WAD, 1_900 * WAD)
    assert fell.settle(TRADER, ETH)[1] == 0
    unusable = with_price(opened(), ETH, 2_200 * WAD, flags=NO_INCREASE)
    assert refusal(lambda: unusable.settle(TRADER, ETH)) == perps.PRICE_NOT_USABLE


def test_settle__closed_position_that_could_not_be_paid__stays_listed_until_it_is() -> None:
    """Gain and loss: what is unpaid keeps its place, and anyone may ask again."""
    book = with_price(opened(house_cash=500), ETH, 2_100 * WAD)
    book, _ = book.trade(Order(TRADER, ETH, -100 * WAD))
    held = book.account(TRADER).position(ETH)
    assert (held.size_wad, held.entry_wad) == (0, 0) and held.cost_wad < 0
    assert book.account(TRADER).listed_word == ETH | 1 << 128 | 1 << 136
    stale = with_price(book, ETH, 2_100 * WAD, flags=STALE_FLAGS)
    paid, moved = stale.settle(TRADER, ETH, [(OTHER, ETH)])
    assert moved == -held.cost_wad
    assert paid.account(TRADER).listed_word == 0


def closed_with_loss(cash: int, idle: int, collateral: int = 0) -> Book:
    """A long that closes 30% down, 60,000 and two premiums, of 10 and of 7."""
    book = opened(idle=idle)
    held = replace(book.account(TRADER), cash_wad=cash * WAD)
    book = book.with_account(TRADER, held.with_collateral(BTC, collateral * WAD))
    book = with_price(book, ETH, 1_400 * WAD)
    return book.trade(Order(TRADER, ETH, -100 * WAD))[0]


def test_close__loss_beyond_cash__is_lent_within_equity_and_the_vaults_limit() -> None:
    """A loss is never lent beyond what the account is worth: lenders do not pay for it."""
    rich = closed_with_loss(cash=10_000, idle=10**7, collateral=1)
    debt = rich.loans.debt_up(rich.account(TRADER).debt_shares) * rich.loans.unit_wad
    assert ETH not in rich.account(TRADER).positions
    assert debt - rich.account(TRADER).cash_wad == 60_017 * WAD - 10_000 * WAD
    short_of_vault = closed_with_loss(cash=10_000, idle=10_000, collateral=1)
    lent = short_of_vault.loans.debt_up(short_of_vault.account(TRADER).debt_shares)
    assert lent == 9_200 * 10**6
    assert short_of_vault.account(TRADER).position(ETH).cost_wad == 60_017 * WAD - 19_200 * WAD
    poor = closed_with_loss(cash=10_000, idle=10**7)
    assert poor.account(TRADER).debt_shares == 0 == poor.account(TRADER).cash_wad
    rest = poor.account(TRADER).position(ETH).cost_wad
    assert rest == 60_017 * WAD - 10_000 * WAD
    # Cash that comes later is collected, and no more than that.
    later, moved = poor.credited(TRADER, 7 * 10**6).settle(TRADER, ETH)
    assert moved == -7 * WAD
    assert later.account(TRADER).position(ETH).cost_wad == rest - 7 * WAD


def test_settle__gain_of_a_debtor__repays_whole_units_first() -> None:
    book = opened()
    held = replace(book.account(TRADER), cash_wad=10**12 - 1, debt_shares=5_000 * 10**6)
    book = replace(book, lender=Lender(book.lender.idle, 5_000 * 10**6))
    book = with_price(book.with_account(TRADER, held), ETH, 2_020 * WAD + 1)
    after, moved = book.settle(TRADER, ETH)
    assert moved == 1_990 * WAD + 100
    assert after.account(TRADER).cash_wad == 99
    assert after.account(TRADER).debt_shares == 5_000 * 10**6 - 1_990 * 10**6 - 1
    assert tokens_wad(after) == tokens_wad(book)


@given(
    book=books,
    life=steps,
    trader=st.sampled_from(TRADERS),
    asset=st.sampled_from(ASSETS),
    cash=st.integers(0, 10**6),
)
def test_settle__any_book__moves_no_equity_and_lends_within_it(
    book: Book, life: list[Step], trader: int, asset: int, cash: int
) -> None:
    """A2 A20: for winner and loser alike what counts at maintenance stays, but for a loan's
    rounding; a loser never ends owing more than it is worth, and the house never pays on credit."""
    two = Life(book)
    for step in life:
        two.step(step)
    book = two.book
    book = book.with_account(trader, replace(book.account(trader), cash_wad=cash * GWEI))
    losers = [(other, known) for other in TRADERS for known in ASSETS]
    try:
        after, moved = book.settle(trader, asset, losers)
    except Refused as error:
        assert error.reason in (perps.PRICE_NOT_USABLE, NO_GAIN)
        return
    assert after.account(HOUSE).cash_wad >= 0 and after.account(HOUSE).debt_shares == 0
    assert abs(moved) <= abs(book.result_wad(trader, asset))
    slack = len(losers) * (book.loans.unit_wad + book.loans.repayment_loss_wad)
    for account in TRADERS:
        before, now = book.assess(account), after.assess(account)
        assert before.equity_maint - slack <= now.equity_maint <= before.equity_maint
        if after.account(account).debt_shares > book.account(account).debt_shares:
            losses = -sum(min(0, after.result_wad(account, known)) for known in ASSETS)
            assert now.equity_init + losses >= -slack
    assert after.assess(HOUSE).equity_maint == book.assess(HOUSE).equity_maint


# ---- what a trader sees


@given(sizes, st.integers(-(10**30), 10**30), some_prices, some_fundings)
# A short that breaks even below the least price.
@example(-WAD - GWEI, -1, 10**15, 0)
def test_break_even__any_position__is_the_first_price_without_a_loss(
    size: int, cost: int, price: int, funding: int
) -> None:
    held, mark = held_by(size, cost), replace(mark_at(price), funding_wad=funding)
    even = perps.break_even_wad(held, funding)
    sign = 1 if size > 0 else -1
    if even > 0:
        assert exact_u(held, mark, even) >= 0 > exact_u(held, mark, even - sign)
    elif size > 0:
        assert exact_u(held, mark, 0) >= 0, "no price is a loss"
    else:
        assert exact_u(held, mark, 1) < 0, "every price is a loss"


def exact_u(held: Position, mark: Mark, price_wad: int) -> Fraction:
    return Fraction(held.size_wad * (price_wad - mark.funding_wad), WAD) - held.cost_wad


def test_views__open_position__say_entry_break_even_result_and_funding() -> None:
    book = new_book(FREE, prices=(2_000 * WAD, 60_000 * WAD))
    book, fill = book.trade(Order(TRADER, ETH, 100 * WAD))
    held = book.account(TRADER).position(ETH)
    assert perps.entry_price_wad(held) == fill.price_wad == 2_000 * WAD + WAD // 10
    assert perps.break_even_wad(held, book.mark(ETH).funding_wad) == fill.price_wad
    assert result_wad(held, book.mark(ETH)) == -10 * WAD
    assert perps.funding_owed_wad(held, book.mark(ETH)) == 0
    later = replace(book, now=START + YEAR_S)
    owed = perps.funding_owed_wad(held, later.mark(ETH))
    assert owed == later.mark(ETH).funding_wad * 100 > 0
    funding = later.mark(ETH).funding_wad
    assert perps.break_even_wad(held, funding) == fill.price_wad + funding
    short = replace(held, size_wad=-held.size_wad, entry_wad=-held.entry_wad + 1)
    assert perps.entry_price_wad(short) == fill.price_wad - 1
    assert perps.entry_price_wad(Position()) == perps.break_even_wad(Position(), 5) == 0


@given(
    net=st.integers(-(10**26), 10**26),
    held=st.builds(
        Position, st.integers(0, 10**23), sizes, st.integers(-(10**26), 10**26), st.just(0)
    ),
    other=st.builds(Position, st.integers(0, 10**22)),
    price=some_prices,
    funding=some_fundings,
)
@example(10**21, Position(10**18, -(10**18)), Position(), 2_000 * WAD, 0)
def test_liquidation_price__any_account__is_where_maintenance_ends(
    net: int, held: Position, other: Position, price: int, funding: int
) -> None:
    """Excess at maintenance is linear in the price; beyond the answer it is below zero."""
    mark = replace(mark_at(price), funding_wad=funding)
    known = Leg(BTC, other, mark_at(60_000 * WAD))
    legs = [Leg(ETH, held, mark), known]

    def excess(price_wad: int) -> int:
        return net + terms_of(held, mark, price_wad).excess_maint + known.terms.excess_maint

    assert excess(price) == assess(net, legs).excess_maint
    answer = perps.liquidation_price_wad(net, legs, ETH)
    if excess(price) < 0:
        assert answer == price
    elif answer is None:
        assert excess(1) >= -4
        assert excess(perps.MAX_PRICE_WAD) >= -4
    elif answer > price:
        assert excess(answer + 1) < 0
        assert excess(answer) >= -4
    else:
        assert excess(answer - 1) < 0 or answer == price
        assert excess(answer) >= -4
    assert perps.liquidation_price_wad(net, legs, 9) is None


def test_liquidation_price__unpaid_rest_of_a_closed_position__has_none() -> None:
    """No price of that asset does anything, below maintenance as little as above it."""
    rest = Leg(ETH, held_by(0, 10 * WAD), mark_at(2_000 * WAD))
    held = Leg(BTC, Position(WAD), mark_at(60_000 * WAD))
    for net in (0, -70_000 * WAD):
        assert perps.liquidation_price_wad(net, [rest, held], ETH) is None
    assert perps.liquidation_price_wad(-70_000 * WAD, [rest, held], BTC) == 60_000 * WAD


# ---- words


@given(*[st.integers(0, 2**256 - 1)] * 5)
def test_words__any__unpack_and_pack(
    exposure: int, headroom: int, breaker: int, market: int, cost: int
) -> None:
    known = Market.from_words(TERMS, exposure, headroom, breaker % 2**232, market % 2**248, True)
    assert known.exposure.word == exposure
    assert known.headroom.word == headroom
    assert known.breaker.word == breaker % 2**232
    assert known.funding.word == market % 2**248
    position = Position.from_word(market, cost)
    assert (position.word, position.cost_word) == (market, cost)
    price = Price.from_word(breaker % 2**240)
    assert price.word == breaker % 2**240
    assert Mark(price, RISK).made_at == breaker % 2**240 >> 200
