"""What a replay writes down and a report reads: the only thing that passes between the two.

Amounts are integers in WAD (1e18) of the quote token, as the chain states them; prices are feed
answers (dollars, 8 decimals); times are unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

WAD = 10**18
Cohort = Literal["hooked", "bare"]
ReserveKind = Literal["none", "wallet", "cash", "collateral"]
# How an account takes its exposure: collateral bought with a loan, a perpetual on margin of cash,
# or collateral with as large a short against it, and a loan.
Kind = Literal["spot", "long", "short", "basis"]
PERPETUAL_KINDS: tuple[Kind, Kind, Kind] = ("long", "short", "basis")
COHORTS: tuple[Cohort, Cohort] = ("hooked", "bare")


class Margin(NamedTuple):
    """The four integers of an account at one moment."""

    equity_init: int
    required_init: int
    equity_maint: int
    required_maint: int

    @property
    def is_breached(self) -> bool:
        """Below maintenance margin: anyone could have liquidated the account."""
        return self.equity_maint < self.required_maint

    @property
    def health(self) -> float:
        """Equity over maintenance requirement; infinite without a requirement."""
        return ratio(self.equity_maint, self.required_maint)


class Initial(NamedTuple):
    """Equity and requirement at initial margin."""

    equity: int
    required: int

    @property
    def health(self) -> float:
        """Equity over requirement; infinite without a requirement."""
        return ratio(self.equity, self.required)


def ratio(part: int, whole: int) -> float:
    """``part / whole`` as a float; infinity when ``whole`` is zero."""
    return part / whole if whole else float("inf")


class Holding(NamedTuple):
    """What an account holds at one moment, valued at the round's prices (WAD)."""

    collateral: Mapping[str, int]  # value by asset
    cash: int  # negative: owed to the lending vault
    reserve: int = 0  # kept beside the account: in the owner's wallet or a sibling account
    result: int = 0  # unsettled results of perpetuals


@dataclass(frozen=True)
class AccountStart:
    """An account as it was opened."""

    name: str
    cohort: Cohort
    leverage: float  # collateral value over the equity in the account
    mix: Mapping[str, float]  # share of each asset in the collateral value
    equity: int  # WAD, the reserve included
    reserve_kind: ReserveKind = "none"
    reserve: int = 0  # WAD
    kind: Kind = "spot"


class House(NamedTuple):
    """The other side of every perpetual, and what a share of it is worth."""

    equity: int  # of the house account, WAD
    share_price: float  # quote tokens per share, both in whole units
    skew: Mapping[str, int]  # traders' longs less shorts by asset, value at the round's price, WAD


@dataclass(frozen=True)
class Frame:
    """The state of every account at the end of a block, as a rule one with a price round."""

    time_s: int
    block: int
    rounds: int  # rounds that stand in this block
    answers: Mapping[str, int]
    margins: Sequence[Margin]  # one per account, in order of Recording.accounts
    holdings: Sequence[Holding]
    house: House | None = None


class Sale(NamedTuple):
    """One swap inside a rebalance: collateral sold, its oracle value and what it fetched (WAD)."""

    asset: str
    amount: float  # whole units of the asset
    value: int
    proceeds: int


@dataclass(frozen=True)
class Rebalance:
    """One successful rebalance, from the events of its transaction."""

    account: int  # index into Recording.accounts
    time_s: int
    block: int
    delay_blocks: int  # from the round that permitted it to the transaction; 0 in its own block
    gas: int
    before: Initial
    after: Initial
    target: float  # the guard's multiple of initial margin
    sales: Sequence[Sale]
    pulled: int  # WAD taken from the owner's wallet
    moved: int  # WAD moved in from a sibling account
    cost: int  # loss of maintenance equity as the contract judged it, WAD
    settled: int = 0  # gains paid out by the house, WAD
    trimmed: int = 0  # value by which perpetuals were closed, WAD
    hedged: int = 0  # value sold short against collateral, WAD
    fees: int = 0  # of the venue and of perpetual markets, a part of the cost, WAD
    pay: int = 0  # what the caller got, a part of the cost, WAD
    # Signed change of the net exposure to each asset, value at the round's price, WAD.
    exposure: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Liquidation:
    """One liquidation, from the events of its transaction. Amounts in WAD."""

    account: int  # index into Recording.accounts
    time_s: int
    block: int
    delay_s: int  # from the round that brought the account below maintenance
    gas: int
    fraction: float  # of everything the account held; 0 for a rescue
    before: Margin  # of which only equity and requirement at maintenance are known
    cost: int  # what the owner lost: the discount, or the pay for a rescue
    fee: int  # part of the discount that insurance got
    # Who bore what the account could not.
    insurance: int = 0
    house: int = 0
    lenders: int = 0

    @property
    def is_rescue(self) -> bool:
        """Whether the account's own hook helped in time."""
        return self.fraction == 0


@dataclass
class Recording:
    """A whole replay."""

    source: str
    accounts: list[AccountStart]
    assets: list[str]
    frames: list[Frame] = field(default_factory=list)
    rebalances: list[Rebalance] = field(default_factory=list)
    liquidations: list[Liquidation] = field(default_factory=list)
    # What the liquidator's account for each cohort was worth at start and end, WAD.
    takers: dict[Cohort, tuple[int, int]] = field(default_factory=dict)
    # Rebalances that were due and that the contracts refused, by reason.
    refused: dict[str, int] = field(default_factory=dict)

    def members(self, cohort: Cohort, kind: Kind = "spot") -> list[int]:
        """Indices of the accounts of one kind in a cohort."""
        return [i for i, a in enumerate(self.accounts) if (a.cohort, a.kind) == (cohort, kind)]

    @property
    def kinds(self) -> list[Kind]:
        """Kinds with perpetuals that took part."""
        return [k for k in PERPETUAL_KINDS if any(a.kind == k for a in self.accounts)]

    def breached_at(self, account: int) -> int | None:
        """Index of the first frame that found the account below maintenance, or ``None``."""
        for index, frame in enumerate(self.frames):
            if frame.margins[account].is_breached:
                return index
        return None

    def lowest_health(self, account: int) -> float:
        """The lowest health that any frame found; infinity when there is no frame."""
        return min((frame.margins[account].health for frame in self.frames), default=float("inf"))

    def end_equity(self, account: int) -> int:
        """Equity and reserve at the last frame, WAD; those of the start when there is none."""
        if not self.frames:
            return self.accounts[account].equity
        last = self.frames[-1]
        return last.margins[account].equity_maint + last.holdings[account].reserve

    def cost_bps(self, account: int) -> float:
        """All that the account's rebalances cost, in basis points of its starting equity."""
        cost = sum(r.cost for r in self.rebalances if r.account == account)
        return 10_000 * ratio(cost, self.accounts[account].equity)

    def liquidation_cost_bps(self, account: int) -> float:
        """All that the account's liquidations cost it, in basis points of its starting equity."""
        cost = sum(x.cost for x in self.liquidations if x.account == account)
        return 10_000 * ratio(cost, self.accounts[account].equity)
