"""Liquidation in exact integers: what is taken of an account, what for, and who bears a deficit.

    exit      = sum p l_maint (b + |q|)                    the gross charge: what leaving may cost
    least     = 5% R, or exit if more    most = 20% R, or 2 exit if more    neither beyond 90% R
    discount  = least + (most - least) max(time, depth)    d R, with depth = 2 (R - E) / R
    fraction  = (t R - E) / (t R - discount)               after which E is t R
    where E <= d R all is taken for max(E, 70% of exit), and insurance is not fed
    bonus     = discount (R - R after) / R                 what the owner loses

E and R are equity and requirement at maintenance margin and the newest prices, as `assess` has
them. The liquidator, called the taker, gets the same part of every position in place, collateral
and perpetual together, and pays their equity less the bonus. Whatever rounds, rounds for the owner.

Amounts are WAD of the quote token or of the asset, fractions WAD, times seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ballast.model import perps
from ballast.model.ledger import LIST_FULL, MAX_ASSETS, Book
from ballast.model.margin import (
    BPS,
    GWEI,
    RATE,
    WAD,
    Leg,
    Position,
    Terms,
    div_up,
    result_wad,
    terms_of,
)
from ballast.model.perps import SIZE_STEP_WAD, growths, require, toward_zero

# Of what the account must hold at maintenance margin.
LEAST_BPS = 500
MOST_BPS = 2_000
CEILING_BPS = 9_000
PAID_EXIT_BPS = 7_000  # of the gross charge
DAY_S = 86_400

HEALTHY = "liquidator: account is healthy"
NOT_FOR_THE_HOUSE = "liquidator: not for the house"
OWN_ACCOUNT = "liquidator: own account"
HAS_PERPETUALS = "token liquidator: has perpetuals"
PRICE_TOO_HIGH = "token liquidator: price too high"


@dataclass(frozen=True)
class LiquidationTerms:
    """Parameters: what insurance pays for one account and for all in a day (UTC), and the rest."""

    account_cap_wad: int
    day_cap_wad: int
    target_bps: int = 12_500
    ramp_s: int = 1_200  # after the flag the discount is at its most
    insurance_bps: int = 2_000  # of the bonus
    dust_wad: int = 25 * WAD  # a rest that would require less is taken too
    house_day_bps: int = 100  # of the house's initial equity: what it pays in a day
    rescue_pay_bps: int = 100
    rescue_pay_cap_wad: int = 50 * WAD

    def rescue_pay_wad(self, required_maint: int) -> int:
        """What a rescue pays, from the requirement before it."""
        return min(required_maint * self.rescue_pay_bps // BPS, self.rescue_pay_cap_wad)


# ---- how much is taken


def exit_wad(legs: Sequence[Leg]) -> int:
    """The gross charge of all positions, each rounded down."""
    return sum(
        leg.mark.price_wad * leg.mark.risk.l_maint_e6 * gross_wad(leg.position) // (WAD * RATE)
        for leg in legs
    )


def gross_wad(held: Position) -> int:
    """G = b + |q|, units of the asset."""
    return held.collateral_wad + abs(held.size_wad)


def discount_wad(
    terms: Terms, legs: Sequence[Leg], elapsed_s: int, policy: LiquidationTerms
) -> int:
    """What taking everything costs its owner: d R, but no more than he has, and at least 70% of the
    gross charge, whoever has to pay for it."""
    paid = max(terms.equity_maint, exit_wad(legs) * PAID_EXIT_BPS // BPS)
    return min(full_discount_wad(terms, legs, elapsed_s, policy), paid)


def full_discount_wad(
    terms: Terms, legs: Sequence[Leg], elapsed_s: int, policy: LiquidationTerms
) -> int:
    """d R, `elapsed_s` after the account's flag."""
    equity, required, leaving = terms.equity_maint, terms.required_maint, exit_wad(legs)

    def bounded(part_bps: int, charge: int) -> int:
        return min(required * CEILING_BPS // BPS, max(required * part_bps // BPS, charge))

    least, most = bounded(LEAST_BPS, leaving), bounded(MOST_BPS, 2 * leaving)
    time = min(WAD, elapsed_s * WAD // policy.ramp_s)
    depth = WAD if equity <= 0 else min(WAD, 2 * (required - equity) * WAD // required)
    return least + (most - least) * max(time, depth) // WAD


def fraction_wad(terms: Terms, discount: int, policy: LiquidationTerms) -> int:
    """The part that is taken: what leads to the target, all where nothing does or dust would stay.

    From E - d f R = t (1 - f) R.
    """
    equity, required = terms.equity_maint, terms.required_maint
    if equity <= discount:
        return WAD
    target = policy.target_bps * required
    fraction = div_up((target - BPS * equity) * WAD, target - BPS * discount)
    is_dust = (WAD - fraction) * required // WAD < policy.dust_wad
    return WAD if is_dust else min(fraction, WAD)


@dataclass(frozen=True)
class Taken:
    """A position, and what of it stays with its owner."""

    leg: Leg
    rest: Position

    @property
    def collateral_wad(self) -> int:
        """Units of collateral taken."""
        return self.leg.position.collateral_wad - self.rest.collateral_wad

    @property
    def size_wad(self) -> int:
        """Size taken, signed."""
        return self.leg.position.size_wad - self.rest.size_wad

    @property
    def cost_wad(self) -> int:
        """Cost taken, signed."""
        return self.leg.position.cost_wad - self.rest.cost_wad

    @property
    def value_wad(self) -> int:
        """By how much its owner's equity falls."""
        return self.leg.terms.equity_maint - terms_of(self.rest, self.leg.mark).equity_maint

    @property
    def freed_wad(self) -> int:
        """By how much its owner's requirement falls; below zero for a hedge too small to divide."""
        return self.leg.terms.required_maint - terms_of(self.rest, self.leg.mark).required_maint


@dataclass(frozen=True)
class Slice:
    """What is taken of an account, in list order.

    `unpaid_wad` is the part of its gains that the house cannot pay now; of a whole slice its owner
    keeps it as a claim. `deficit_wad` is what others must pay in for the discount.
    """

    discount_wad: int
    fraction_wad: int
    unpaid_wad: int
    deficit_wad: int
    taken: tuple[Taken, ...]
    bonus_wad: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing but claims stays."""
        return self.fraction_wad == WAD

    @property
    def value_wad(self) -> int:
        """X, equity of what is taken."""
        return sum(part.value_wad for part in self.taken)

    @property
    def freed_wad(self) -> int:
        """Requirement that goes with it."""
        return sum(part.freed_wad for part in self.taken)

    @property
    def flow_wad(self) -> int:
        """What the taker pays the owner, below zero what he gets from the owner's cash."""
        return self.value_wad - self.bonus_wad

    def with_claims(self, claims: Mapping[int, int]) -> Slice:
        """With costs that the house forgave; only of a whole slice."""
        taken = []
        for part in self.taken:
            held = part.leg.position
            held = replace(held, cost_wad=held.cost_wad - claims.get(part.leg.asset, 0))
            taken.append(replace(part, leg=replace(part.leg, position=held)))
        return replace(self, taken=tuple(taken))


def slice_of(
    terms: Terms,
    legs: Sequence[Leg],
    elapsed_s: int,
    policy: LiquidationTerms,
    house_cash_wad: int,
    units: Mapping[int, int],
) -> Slice:
    """What is taken of an account below maintenance. `units` are token units by asset, WAD."""
    equity, required = terms.equity_maint, terms.required_maint
    discount = discount_wad(terms, legs, elapsed_s, policy)
    fraction = fraction_wad(terms, discount, policy)
    gains = sum(_gain_wad(leg) for leg in legs)
    unpaid = min(max(0, gains - house_cash_wad), max(0, equity - discount))
    taken, left = [], unpaid
    for leg in legs:
        kept = min(_gain_wad(leg), left)
        left -= kept
        taken.append(Taken(leg, _rest(leg, fraction, kept, units[leg.asset])))
    part = Slice(discount, fraction, unpaid, max(0, discount - equity), tuple(taken), discount)
    if part.is_whole:
        return part
    return replace(part, bonus_wad=discount * max(0, part.freed_wad) // required)


def _gain_wad(leg: Leg) -> int:
    return max(0, result_wad(leg.position, leg.mark))


def _rest(leg: Leg, fraction: int, kept_wad: int, unit_wad: int) -> Position:
    """What stays of a position when a fraction is taken: of collateral whole token units, of a size
    whole steps, and of a gain that cannot be paid nothing but a claim.

    The result is divided by the fraction and not by the sizes: a position that was reduced to a few
    steps may have won or lost much more than it is worth, and is no more divisible than they are.
    """
    held, mark = leg.position, leg.mark
    if fraction == WAD:
        return Position(cost_wad=-kept_wad)
    collateral = held.collateral_wad * fraction // WAD
    size = toward_zero(held.size_wad * fraction, WAD * SIZE_STEP_WAD) * SIZE_STEP_WAD
    result = toward_zero(result_wad(held, mark) * fraction, WAD)
    cost = size * (mark.price_wad - mark.funding_wad) // WAD - result
    return Position(
        held.collateral_wad - collateral + collateral % unit_wad,
        held.size_wad - size,
        held.cost_wad - cost - kept_wad * fraction // WAD,
        perps._entry_wad(held, -size, mark.price_wad),
    )


# ---- who bears a deficit


@dataclass(frozen=True)
class DayPayments:
    """What insurance paid for each account and in all, and the house in all, in one UTC day."""

    day: int = 0
    insurance_wad: Mapping[int, int] = field(default_factory=dict)
    house_wad: int = 0

    def on(self, now: int) -> DayPayments:
        """As of now: a new day begins with nothing."""
        return self if self.day == now // DAY_S else DayPayments(now // DAY_S)

    @property
    def insurance_sum(self) -> int:
        """For all accounts."""
        return sum(self.insurance_wad.values())

    def more(self, account: int, insurance_wad: int, house_wad: int) -> DayPayments:
        """With further payments."""
        paid = self.insurance_wad.get(account, 0) + insurance_wad
        return replace(
            self,
            insurance_wad={**self.insurance_wad, account: paid},
            house_wad=self.house_wad + house_wad,
        )


@dataclass(frozen=True)
class Deficit:
    """Who paid how much; lenders in whole token units, which may exceed what was needed."""

    insurance_wad: int = 0
    house_wad: int = 0
    lenders_wad: int = 0
    claims_wad: int = 0

    @property
    def bad_debt_wad(self) -> int:
        """All of it."""
        return self.insurance_wad + self.house_wad + self.lenders_wad + self.claims_wad


def _made_good(
    book: Book,
    account: int,
    insurance: int,
    part: Slice,
    policy: LiquidationTerms,
    paid: DayPayments,
) -> tuple[Book, Slice, Deficit, DayPayments]:
    """What is missing comes from insurance, house, lenders and claims on the house, in this order.

    The house never borrows. Lenders lose no more than the account's debt; what is missing then can
    only be what it owes the house.
    """
    need, house = part.deficit_wad, book.assess(book.house)
    from_insurance = min(
        need,
        book.account(insurance).cash_wad,
        policy.account_cap_wad - paid.insurance_wad.get(account, 0),
        policy.day_cap_wad - paid.insurance_sum,
    )
    from_insurance = max(0, from_insurance)
    book, need = book.with_payment(insurance, account, from_insurance), need - from_insurance
    from_house = min(
        need,
        book.account(book.house).cash_wad,
        house.excess_init,
        house.equity_init * policy.house_day_bps // BPS - paid.house_wad,
    )
    from_house = max(0, from_house)
    book, need = book.with_payment(book.house, account, from_house), need - from_house

    loans, shares = book.loans, book.account(account).debt_shares
    units = min(div_up(need, loans.unit_wad), loans.debt_up(shares))
    book = book.written_off(account, loans.freed_up(units, shares))
    claims = _claims([taken.leg for taken in part.taken], max(0, need - units * loans.unit_wad))
    for asset, claim in claims.items():
        for who, change in ((account, -claim), (book.house, claim)):
            held = book.account(who)
            entry = held.position(asset).entry_wad
            book = book.with_account(who, held.with_trade(asset, 0, change, entry))
    deficit = Deficit(from_insurance, from_house, units * loans.unit_wad, sum(claims.values()))
    paid = paid.more(account, from_insurance, from_house)
    return book, part.with_claims(claims), deficit, paid


def _claims(legs: Sequence[Leg], need_wad: int) -> dict[int, int]:
    """By asset, what the house forgives: losses first, and what is still missing on the last."""
    claims = {}
    for leg in legs:
        if leg.position.has_perpetual:
            loss = max(0, -result_wad(leg.position, leg.mark))
            claims[leg.asset] = min(need_wad, loss)
            need_wad -= claims[leg.asset]
    if claims:
        claims[list(claims)[-1]] += need_wad
    return {asset: claim for asset, claim in claims.items() if claim}


# ---- liquidating


@dataclass(frozen=True)
class Outcome:
    """What happened. `paid_units` are the tokens that a caller without an account paid in all."""

    part: Slice
    deficit: Deficit
    fee_wad: int
    paid_units: int = 0


def liquidate(
    book: Book,
    account: int,
    taker: int,
    insurance: int,
    policy: LiquidationTerms,
    paid: DayPayments,
    since: int,
    units: Mapping[int, int],
) -> tuple[Book, Outcome, DayPayments]:
    """The taker's account gets a slice in place and pays for it out of cash, loan or new loan.

    `since` is when the account was flagged, 0 without a flag; `units` are token units by asset,
    WAD. Raises Refused with the contract's reason, also when the taker would not pass the test of
    an increase or the vault cannot lend what it has to pay.
    """
    require(book.house not in (account, taker), NOT_FOR_THE_HOUSE)
    require(account >> 8 != taker >> 8, OWN_ACCOUNT)
    book, outcome, paid = _begun(book, account, insurance, policy, paid, since, units)
    book = _handed_over(book, account, taker, outcome.part)
    book, fee_wad = _fee_paid(book, taker, insurance, outcome.fee_wad)
    outcome = replace(outcome, fee_wad=fee_wad)
    book = _flow_paid(book, account, taker, outcome.part)
    reason = book.increase_refusal(taker)
    require(not reason, reason)
    return book, outcome, paid


def liquidate_for_tokens(
    book: Book,
    account: int,
    seller: int,
    most_units: int,
    insurance: int,
    policy: LiquidationTerms,
    paid: DayPayments,
    since: int,
    units: Mapping[int, int],
) -> tuple[Book, Outcome, DayPayments]:
    """A caller without an account pays tokens and gets the slice's collateral as tokens.

    `seller` is the account that takes for him and is emptied in whole token units; `most_units` are
    what he brings, of which `Outcome.paid_units` are not given back. Only where there is no
    perpetual. Other arguments and errors are those of `liquidate`.
    """
    has_perpetual = any(leg.position.has_perpetual for leg in book.legs(account))
    require(not has_perpetual, HAS_PERPETUALS)
    book, outcome, paid = liquidate(
        book.credited(seller, most_units), account, seller, insurance, policy, paid, since, units
    )
    require(book.account(seller).debt_shares == 0, PRICE_TOO_HIGH)
    back = book.account(seller).cash_wad // book.loans.unit_wad
    book = book.debited(seller, back)
    for asset, held in book.account(seller).positions.items():
        whole = held.collateral_wad // units[asset] * units[asset]
        emptied = book.account(seller).with_collateral(asset, -whole)
        book = book.with_account(seller, emptied)
    return book, replace(outcome, paid_units=most_units - back), paid


def _begun(
    book: Book,
    account: int,
    insurance: int,
    policy: LiquidationTerms,
    paid: DayPayments,
    since: int,
    units: Mapping[int, int],
) -> tuple[Book, Outcome, DayPayments]:
    """The slice, with any deficit made good; the bonus of one that has none feeds insurance."""
    terms, paid = book.assess(account), paid.on(book.now)
    require(terms.excess_maint < 0, HEALTHY)
    elapsed_s = book.now - since if since else 0
    house_cash = book.account(book.house).cash_wad
    part = slice_of(terms, book.legs(account), elapsed_s, policy, house_cash, units)
    if part.deficit_wad == 0:
        has_more = terms.equity_maint > part.discount_wad
        fee = part.bonus_wad * policy.insurance_bps // BPS if has_more else 0
        return book, Outcome(part, Deficit(), fee), paid
    book, part, deficit, paid = _made_good(book, account, insurance, part, policy, paid)
    return book, Outcome(part, deficit, 0), paid


def _handed_over(book: Book, account: int, taker: int, part: Slice) -> Book:
    """Holdings move in place; where the taker held the other side, both sides of the market shrink
    and give their headroom back. Nothing else of a market changes."""
    for taken in part.taken:
        if taken.rest == taken.leg.position:
            continue
        asset, price = taken.leg.asset, taken.leg.mark.price_wad
        own, heir = book.account(account), book.account(taker)
        require(asset in heir.positions or len(heir.positions) < MAX_ASSETS, LIST_FULL)
        old = heir.position(asset)
        entry = perps._entry_wad(old, taken.size_wad, price)
        heir = heir.with_collateral(asset, taken.collateral_wad)
        heir = heir.with_trade(asset, taken.size_wad, taken.cost_wad, entry)
        book = book.with_account(account, own.with_position(asset, taken.rest))
        book = book.with_account(taker, heir)
        if asset in book.markets:
            gone = growths(taken.leg.position.size_wad, taken.rest.size_wad)
            come = growths(old.size_wad, old.size_wad + taken.size_wad)
            long_gwei, short_gwei = ((a + b) // GWEI for a, b in zip(gone, come, strict=True))
            market = book.markets[asset].grown(long_gwei, short_gwei)
            book = replace(book, markets={**book.markets, asset: market})
    return book


def _fee_paid(book: Book, taker: int, insurance: int, fee_wad: int) -> tuple[Book, int]:
    """Insurance comes first, out of cash or a loan; it goes without what the vault cannot lend."""
    loan_wad = book.lender.max_loan(book.loans) * book.loans.unit_wad
    paid = min(fee_wad, book.account(taker).cash_wad + loan_wad)
    return book.with_payment(taker, insurance, paid), paid


def _flow_paid(book: Book, account: int, taker: int, part: Slice) -> Book:
    """What the taker pays: with his cash, then by taking over the owner's loan, then with a loan.

    The worth of a loan share more makes up for what the one repayment, from his cash, may lose to
    rounding. An owner who keeps nothing keeps no debt either: what is left of it goes with a whole
    slice.
    """
    flow = part.flow_wad
    if flow < 0:
        book = book.with_payment(account, taker, min(-flow, book.account(account).cash_wad))
    elif flow > 0:
        left = flow + book.loans.repayment_loss_wad
        from_cash = min(left, book.account(taker).cash_wad)
        book, left = book.with_payment(taker, account, from_cash), left - from_cash
        book, moved = _debt_taken(book, account, taker, left)
        book = book.with_payment(taker, account, max(0, left - moved))
    if part.is_whole:
        book, _ = _debt_taken(book, account, taker, None)
    return book


def _debt_taken(book: Book, account: int, taker: int, most_wad: int | None) -> tuple[Book, int]:
    """The owner's loan up to an amount, all of it for None, in whole token units."""
    loans, shares = book.loans, book.account(account).debt_shares
    units = loans.debt_up(shares)
    if most_wad is not None:
        units = min(units, div_up(most_wad, loans.unit_wad))
    moved = book.with_debt_moved(account, taker, loans.freed_up(units, shares))
    return moved, units * loans.unit_wad
