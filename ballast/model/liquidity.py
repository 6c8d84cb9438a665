"""The liquidity vault in exact integers: every figure of `LiquidityVault.vy`, to the wei.

Amounts are token units of the asset or share units (six decimals more), values of the house are
WAD of the quote token, times are seconds. A request *gives* assets (a deposit) or shares (a
redemption) and is *due* the other. An operation that the contract refuses raises
`LiquidityRevert` with the contract's reason and changes nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

DEPOSIT_EPOCH_S = 600
REDEEM_EPOCH_S = 3_600
DEPOSIT_DELAY_S = 3_600
REDEEM_DELAY_S = 86_400

VIRTUAL_SHARES = 10**6
VIRTUAL_ASSETS = 1
MAX_DEPOSIT_CAP = 2**95
MAX_HALF = 2**128 - 1


class LiquidityRevert(Exception):
    """The vault refuses; `reason` is the contract's string."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def _require(is_fine: bool, reason: str) -> None:
    if not is_fine:
        raise LiquidityRevert(reason)


def div_up(numerator: int, denominator: int) -> int:
    """Quotient of a non-negative integer, rounded up."""
    return -(-numerator // denominator)


@dataclass
class House:
    """What ledger and markets say of the house, WAD. Its equity is cash and result together."""

    cash_wad: int = 0
    result_wad: int = 0
    skew_charge_wad: int = 0
    uncertainty_wad: int = 0
    free_wad: int = 0
    oldest_round_at: int = 0

    @property
    def equity_wad(self) -> int:
        """At maintenance margin."""
        return self.cash_wad + self.result_wad


@dataclass
class Epoch:
    """Requests of one side that share a price."""

    asked: int = 0  # given, in all
    filled: int = 0  # of that, by now
    due: int = 0  # for what is filled

    @property
    def waiting(self) -> int:
        """Given and not yet filled."""
        return self.asked - self.filled


@dataclass
class Side:
    """One controller's requests of one side."""

    epoch: int = 0  # of the newest request
    asked: int = 0  # given by it; 0 once all of that is claimable
    counted: tuple[int, int] = (0, 0)  # of it already claimable: given, due
    claim_epoch: int = 0  # the newest request that anything claimable came from
    given: int = 0  # claimable
    due: int = 0  # claimable

    @property
    def pending(self) -> int:
        """Given and not yet claimable."""
        return self.asked - self.counted[0]


@dataclass
class Book:
    """All requests of one side."""

    epoch_s: int
    delay_s: int
    epochs: dict[int, Epoch] = field(default_factory=dict)
    sides: dict[str, Side] = field(default_factory=dict)

    def end(self, epoch: int) -> int:
        """First second after an epoch."""
        return (epoch + 1) * self.epoch_s

    def ready_at(self, epoch: int) -> int:
        """First second in which an epoch may be fulfilled."""
        return self.end(epoch) + self.delay_s

    def side(self, controller: str) -> Side:
        """A controller's side, with everything that its epoch has come to claimable."""
        side = copy.copy(self.sides.get(controller, Side()))
        epoch = self.epochs.get(side.epoch, Epoch())
        if side.asked == 0 or epoch.filled == 0:
            return side
        given = side.asked * epoch.filled // epoch.asked
        due = side.asked * epoch.due // epoch.asked
        side.given += given - side.counted[0]
        side.due += due - side.counted[1]
        side.claim_epoch, side.counted = side.epoch, (given, due)
        if epoch.waiting == 0:
            side.asked, side.counted = 0, (0, 0)
        return side

    def pending(self, request_id: int, controller: str) -> int:
        """pendingDepositRequest, pendingRedeemRequest."""
        side = self.side(controller)
        return side.pending if side.epoch == request_id else 0

    def claimable(self, request_id: int, controller: str) -> int:
        """claimableDepositRequest, claimableRedeemRequest."""
        side = self.side(controller)
        return side.given if side.claim_epoch == request_id else 0

    def ask(self, now: int, controller: str, amount: int) -> int:
        """Adds to the present epoch; returns it."""
        number, side = now // self.epoch_s, self.side(controller)
        _require(side.asked == 0 or side.epoch == number, "liquidity: older request waits")
        side.epoch, side.asked = number, side.asked + amount
        self.sides[controller] = side
        self.epochs.setdefault(number, Epoch()).asked += amount
        return number

    def claim_for(self, controller: str, given: int) -> int:
        """Uses up exactly `given`; returns what is due for it, rounded down."""
        side = self.side(controller)
        _require(given <= side.given, "liquidity: more than claimable")
        return self._claimed(controller, side, given, side.due * given // side.given)[1]

    def claim_exactly(self, controller: str, due: int) -> int:
        """Takes exactly `due`; returns what is used up for it, rounded up."""
        side = self.side(controller)
        _require(due <= side.due, "liquidity: more than claimable")
        return self._claimed(controller, side, div_up(side.given * due, side.due), due)[0]

    def _claimed(self, controller: str, side: Side, given: int, due: int) -> tuple[int, int]:
        side.given, side.due = side.given - given, side.due - due
        self.sides[controller] = side
        return given, due


@dataclass
class LiquidityVault:
    """A vault and its share balances. The caller sets `now` (seconds) before each operation.

    `is_busy` stands for a clearing house in the middle of a call. Addresses are any strings;
    `vault` is the vault's own. Allowances are the tokens' affair and not modelled.
    """

    unit_wad: int
    deposit_cap: int
    now: int
    vault: str = "vault"
    is_busy: bool = False
    house: House = field(default_factory=House)
    deposits: Book = field(default_factory=lambda: Book(DEPOSIT_EPOCH_S, DEPOSIT_DELAY_S))
    redemptions: Book = field(default_factory=lambda: Book(REDEEM_EPOCH_S, REDEEM_DELAY_S))
    balances: dict[str, int] = field(default_factory=dict)
    operators: set[tuple[str, str]] = field(default_factory=set)
    bad_debts: dict[int, int] = field(default_factory=dict)
    waiting_assets: int = 0
    set_aside_assets: int = 0

    # ---- values

    @property
    def supply(self) -> int:
        """Shares in existence."""
        return sum(self.balances.values())

    @property
    def bad_debt_wad(self) -> int:
        """Sum of what is flagged."""
        return sum(self.bad_debts.values())

    @property
    def value_wad(self) -> int:
        """Equity less premiums and bad debt."""
        return self.house.equity_wad - self.house.skew_charge_wad - self.bad_debt_wad

    @property
    def total_assets(self) -> int:
        """What belongs to the shares."""
        return max(0, self.value_wad) // self.unit_wad

    @property
    def entry_assets(self) -> int:
        """What deposits are priced at."""
        value = self.value_wad + self.bad_debt_wad + self.house.uncertainty_wad
        return div_up(max(0, value), self.unit_wad)

    @property
    def exit_assets(self) -> int:
        """What redemptions are priced at."""
        return max(0, self.value_wad - self.house.uncertainty_wad) // self.unit_wad

    @property
    def is_entry_open(self) -> bool:
        """A house with shares is worth something; one without owes nothing."""
        return self.value_wad >= (1 if self.supply else 0)

    @property
    def request_room(self) -> int:
        """The most that may be asked to enter."""
        if self.is_busy or not self.is_entry_open:
            return 0
        return max(0, self.deposit_cap - self.total_assets - self.waiting_assets)

    @property
    def oldest_redemption(self) -> int:
        """The epoch that is paid next."""
        return min((n for n, e in self.redemptions.epochs.items() if e.waiting), default=0)

    def to_shares_down(self, assets: int, total: int | None = None) -> int:
        """convertToShares, or at another total."""
        total = self.total_assets if total is None else total
        return assets * (self.supply + VIRTUAL_SHARES) // (total + VIRTUAL_ASSETS)

    def to_assets_down(self, shares: int, total: int | None = None) -> int:
        """convertToAssets, or at another total."""
        total = self.total_assets if total is None else total
        return shares * (total + VIRTUAL_ASSETS) // (self.supply + VIRTUAL_SHARES)

    def balance_of(self, owner: str) -> int:
        """Shares of `owner`."""
        return self.balances.get(owner, 0)

    # ---- requests

    def request_deposit(self, assets: int, controller: str, owner: str, sender: str) -> int:
        """Returns the request id."""
        self._require_idle()
        self._require_acts_for(sender, owner)
        self._require_may_ask(controller, owner, sender)
        _require(assets != 0, "liquidity: zero amount")
        _require(self.is_entry_open, "liquidity: entry is closed")
        _require(assets <= self.request_room, "liquidity: deposit cap")
        epoch = self.deposits.ask(self.now, controller, assets)
        self.waiting_assets += assets
        return epoch

    def request_redeem(self, shares: int, controller: str, owner: str, sender: str) -> int:
        """Returns the request id."""
        self._require_idle()
        _require(self._acts_for(sender, owner), "erc20: insufficient allowance")
        self._require_may_ask(controller, owner, sender)
        _require(shares != 0, "liquidity: zero amount")
        before = copy.deepcopy(self.redemptions)
        epoch = self.redemptions.ask(self.now, controller, shares)
        if shares > self.balance_of(owner):
            self.redemptions = before
            raise LiquidityRevert("erc20: transfer amount exceeds balance")
        self._move(owner, self.vault, shares)
        return epoch

    def set_operator(self, operator: str, approved: bool, sender: str) -> bool:
        """Returns True."""
        (self.operators.add if approved else self.operators.discard)((sender, operator))
        return True

    # ---- claims

    def deposit(self, assets: int, receiver: str, controller: str, sender: str) -> int:
        """Returns shares sent."""
        self._require_claim(assets, receiver, controller, sender)
        shares = self.deposits.claim_for(controller, assets)
        self._move(self.vault, receiver, shares)
        return shares

    def mint(self, shares: int, receiver: str, controller: str, sender: str) -> int:
        """Returns assets used up."""
        self._require_claim(shares, receiver, controller, sender)
        assets = self.deposits.claim_exactly(controller, shares)
        self._move(self.vault, receiver, shares)
        return assets

    def withdraw(self, assets: int, receiver: str, controller: str, sender: str) -> int:
        """Returns shares used up."""
        self._require_claim(assets, receiver, controller, sender)
        shares = self.redemptions.claim_exactly(controller, assets)
        self.set_aside_assets -= assets
        return shares

    def redeem(self, shares: int, receiver: str, controller: str, sender: str) -> int:
        """Returns assets sent."""
        self._require_claim(shares, receiver, controller, sender)
        assets = self.redemptions.claim_for(controller, shares)
        self.set_aside_assets -= assets
        return assets

    def max_given(self, book: Book, controller: str) -> int:
        """maxDeposit, maxRedeem."""
        return 0 if self.is_busy else book.side(controller).given

    def max_due(self, book: Book, controller: str) -> int:
        """maxMint, maxWithdraw."""
        return 0 if self.is_busy else book.side(controller).due

    # ---- anyone

    def fulfil_deposits(self, number: int) -> int:
        """Returns shares minted."""
        epoch = self._ready(self.deposits, number)
        _require(
            self.house.oldest_round_at > self.deposits.end(number), "liquidity: no later round"
        )
        _require(self.is_entry_open, "liquidity: entry is closed")
        assets = epoch.waiting
        shares = self.to_shares_down(assets, self.entry_assets)
        _require(shares != 0, "liquidity: worth no share")
        _require(shares <= MAX_HALF - self.supply, "liquidity: too many shares")
        epoch.filled, epoch.due = assets, shares
        self.waiting_assets -= assets
        self._move("", self.vault, shares)
        self.house.cash_wad += assets * self.unit_wad
        return shares

    def fulfil_redemptions(self, number: int) -> int:
        """Returns assets set aside."""
        epoch = self._ready(self.redemptions, number)
        _require(number == self.oldest_redemption, "liquidity: older epoch first")
        _require(
            self.house.oldest_round_at > self.redemptions.end(number), "liquidity: no later round"
        )
        total = self.exit_assets
        _require(total != 0, "liquidity: no exit price")
        shares = epoch.waiting
        assets = self.to_assets_down(shares, total)
        free = min(max(0, self.house.cash_wad), self.house.free_wad) // self.unit_wad
        if assets > free:
            _require(free != 0, "liquidity: no free cash")
            assets = free
            shares = div_up(free * (self.supply + VIRTUAL_SHARES), total + VIRTUAL_ASSETS)
        epoch.filled += shares
        epoch.due += assets
        self.set_aside_assets += assets
        self._move(self.vault, "", shares)
        self.house.cash_wad -= assets * self.unit_wad
        return assets

    def flag_bad_debt(self, account: int, equity_wad: int, has_perpetual: bool) -> int:
        """Returns what is recorded. The account is not the house."""
        self._require_idle()
        recorded = self.bad_debts.get(account, 0)
        _require(recorded != 0 or has_perpetual, "liquidity: no perpetual")
        self.bad_debts[account] = max(0, -equity_wad)
        return self.bad_debts[account]

    def set_deposit_cap(self, deposit_cap: int) -> None:
        """Asset units."""
        _require(deposit_cap <= MAX_DEPOSIT_CAP, "liquidity: cap too high")
        self.deposit_cap = deposit_cap

    # ---- inside

    def _ready(self, book: Book, number: int) -> Epoch:
        self._require_idle()
        epoch = book.epochs.get(number, Epoch())
        _require(epoch.waiting != 0, "liquidity: nothing waits")
        _require(self.now >= book.ready_at(number), "liquidity: too early")
        return epoch

    def _move(self, owner: str, receiver: str, shares: int) -> None:
        """The empty address stands for shares that do not exist."""
        if owner:
            self.balances[owner] = self.balance_of(owner) - shares
        if receiver:
            self.balances[receiver] = self.balance_of(receiver) + shares

    def _acts_for(self, sender: str, who: str) -> bool:
        return sender == who or (who, sender) in self.operators

    def _require_idle(self) -> None:
        _require(not self.is_busy, "liquidity: clearinghouse busy")

    def _require_acts_for(self, sender: str, who: str) -> None:
        _require(self._acts_for(sender, who), "liquidity: not an operator")

    def _require_may_ask(self, controller: str, owner: str, sender: str) -> None:
        _require(controller not in ("", self.vault), "liquidity: bad controller")
        _require(
            controller == owner or self._acts_for(sender, controller),
            "liquidity: controller not yours",
        )

    def _require_claim(self, amount: int, receiver: str, controller: str, sender: str) -> None:
        self._require_idle()
        self._require_acts_for(sender, controller)
        _require(receiver not in ("", self.vault), "liquidity: bad receiver")
        _require(amount != 0, "liquidity: zero amount")
