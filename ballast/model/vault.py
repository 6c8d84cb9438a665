"""The lending vault in exact integers: every figure of `LendingVault.vy`, to the wei.

Amounts are token units of the asset or share units (six decimals more), times are seconds, rates
are named with their unit. An operation that the contract refuses raises `VaultRevert` with the
contract's reason and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

BPS = 10**4
WAD = 10**18
RAY = 10**27
YEAR_S = 365 * 86_400

VIRTUAL_SHARES = 10**6
VIRTUAL_ASSETS = 1
MAX_USE_BPS = 9_200
MAX_RATE_BPS = 100_000
MAX_RESERVE_FACTOR_BPS = 5_000
MAX_DEPOSIT_CAP = 2**95
MAX_HOLD_S = 3_600
MAX_EXPONENT_RAY = 100 * RAY
MAX_SUPPLY = 2**128 - 1
MAX_ASSETS = 2**96 - 1
MAX_TIME_S = 2**32 - 1
MAX_INDEX_WAD = 2**76 - 1
MAX_RESERVES = 2**84 - 1


class VaultRevert(Exception):
    """The vault refuses; `reason` is the contract's string."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def _require(is_fine: bool, reason: str) -> None:
    if not is_fine:
        raise VaultRevert(reason)


def div_up(numerator: int, denominator: int) -> int:
    """Quotient of non-negative integers, rounded up."""
    return -(-numerator // denominator)


@dataclass(frozen=True)
class RateParameters:
    """The kinked rate of a year, in basis points; see `rate_ray_up`."""

    base_bps: int
    slope_low_bps: int
    slope_high_bps: int
    kink_bps: int

    def check(self) -> None:
        """Raises VaultRevert when the vault would not take these numbers."""
        _require(0 < self.kink_bps < BPS, "vault: bad kink")
        _require(
            self.base_bps + self.slope_low_bps + self.slope_high_bps <= MAX_RATE_BPS,
            "vault: rate too high",
        )


def utilisation_wad_up(debt: int, idle: int) -> int:
    """debt / (idle + debt) in WAD, rounded up; zero without debt."""
    return div_up(debt * WAD, idle + debt) if debt else 0


def rate_ray_up(utilisation_wad: int, rate: RateParameters) -> int:
    """Rate of a second in RAY, rounded up, at a utilisation between 0 and 1 (WAD)."""
    kink_wad = rate.kink_bps * (WAD // BPS)
    if utilisation_wad <= kink_wad:
        year = rate.base_bps * kink_wad + rate.slope_low_bps * utilisation_wad
        return div_up(year * (RAY // BPS), kink_wad * YEAR_S)
    over_wad = WAD - kink_wad
    year = (rate.base_bps + rate.slope_low_bps) * over_wad
    year += rate.slope_high_bps * (utilisation_wad - kink_wad)
    return div_up(year * (RAY // BPS), over_wad * YEAR_S)


def growth_ray_down(rate_ray: int, elapsed_s: int) -> int:
    """exp(rate * time) - 1 in RAY by three terms of its series; the exponent saturates at 100."""
    x = min(rate_ray * elapsed_s, MAX_EXPONENT_RAY)
    second = x * x // (2 * RAY)
    third = second * x // (3 * RAY)
    return x + second + third


@dataclass(frozen=True)
class VaultState:
    """The six stored figures, in the order of the contract's `state()`."""

    supply: int
    idle: int
    accrued_at: int
    debt_shares: int
    index_wad: int
    reserves: int

    @property
    def debt_down(self) -> int:
        """What is owed in all, rounded down: the side that counts as an asset."""
        return self.debt_shares * self.index_wad // WAD

    @property
    def debt_up(self) -> int:
        """What is owed in all, rounded up: the side that counts as a debt."""
        return div_up(self.debt_shares * self.index_wad, WAD)

    @property
    def total_assets(self) -> int:
        """What belongs to the shares."""
        return max(0, self.idle + self.debt_down - self.reserves)


@dataclass
class LendingVault:
    """A vault and its share balances. The caller sets `now` (seconds) before each operation.

    `is_busy` stands for a clearing house in the middle of a call. Addresses are any strings;
    `vault` is the vault's own.
    """

    rate: RateParameters
    reserve_factor_bps: int
    deposit_cap: int
    now: int
    vault: str = "vault"
    is_busy: bool = False
    exits_held_until: int = 0
    stored: VaultState = field(init=False)
    balances: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rate.check()
        self._require_terms(self.reserve_factor_bps, self.deposit_cap)
        self.stored = VaultState(0, 0, min(self.now, MAX_TIME_S), 0, WAD, 0)

    # ---- views

    @property
    def state(self) -> VaultState:
        """The stored figures with interest up to `now`."""
        stored = self.stored
        now_s = min(self.now, MAX_TIME_S)
        elapsed_s = now_s - stored.accrued_at
        if elapsed_s == 0 or stored.debt_shares == 0:
            return replace(stored, accrued_at=now_s)
        rate = rate_ray_up(utilisation_wad_up(stored.debt_down, stored.idle), self.rate)
        growth_ray = growth_ray_down(rate, elapsed_s)
        index_wad = stored.index_wad + div_up(stored.index_wad * growth_ray, RAY)
        grown = replace(stored, accrued_at=now_s, index_wad=min(index_wad, MAX_INDEX_WAD))
        interest = grown.debt_down - stored.debt_down
        reserves = stored.reserves + interest * self.reserve_factor_bps // BPS
        return replace(grown, reserves=min(reserves, MAX_RESERVES))

    @property
    def total_assets(self) -> int:
        """What belongs to the shares now."""
        return self.state.total_assets

    def to_shares_down(self, assets: int) -> int:
        """convertToShares and previewDeposit."""
        shares, units = self._price()
        return assets * shares // units

    def to_shares_up(self, assets: int) -> int:
        """previewWithdraw."""
        shares, units = self._price()
        return div_up(assets * shares, units)

    def to_assets_down(self, shares: int) -> int:
        """convertToAssets and previewRedeem."""
        all_shares, units = self._price()
        return shares * units // all_shares

    def to_assets_up(self, shares: int) -> int:
        """previewMint."""
        all_shares, units = self._price()
        return div_up(shares * units, all_shares)

    def debt_of(self, shares: int) -> int:
        """What loan shares owe now, rounded up."""
        return div_up(shares * self.state.index_wad, WAD)

    @property
    def debt_index_ray(self) -> int:
        """Asset units per loan share in RAY."""
        return self.state.index_wad * (RAY // WAD)

    @property
    def utilisation_wad(self) -> int:
        """debt / (idle + debt) now."""
        return utilisation_wad_up(self.state.debt_down, self.state.idle)

    @property
    def borrow_rate_ray(self) -> int:
        """Rate of a second from now on."""
        return rate_ray_up(self.utilisation_wad, self.rate)

    @property
    def max_loan(self) -> int:
        """The most that `lend` accepts."""
        state = self.state
        return max(0, (state.idle + state.debt_up) * MAX_USE_BPS // BPS - state.debt_up)

    @property
    def are_exits_held(self) -> bool:
        """Whether withdrawals and redemptions wait for a loss."""
        return self.now < self.exits_held_until

    def max_deposit(self, receiver: str) -> int:
        """The most that `deposit` accepts: after a loss the numbers for shares may end first."""
        free = MAX_SUPPLY - self.stored.supply
        room = min(self._room(receiver), self.to_assets_down(free))
        return room if self.to_shares_down(room) else 0

    def max_mint(self, receiver: str) -> int:
        """The most that `mint` accepts."""
        return min(self.to_shares_down(self._room(receiver)), MAX_SUPPLY - self.stored.supply)

    def max_withdraw(self, owner: str) -> int:
        """The most that `owner` can withdraw."""
        if self.is_busy or self.are_exits_held:
            return 0
        return min(self.to_assets_down(self.balance_of(owner)), self.stored.idle)

    def max_redeem(self, owner: str) -> int:
        """The most that `owner` can redeem."""
        if self.is_busy or self.are_exits_held:
            return 0
        shares = min(self.balance_of(owner), self.to_shares_up(self.stored.idle + 1) - 1)
        return shares if self.to_assets_down(shares) else 0

    def balance_of(self, owner: str) -> int:
        """Shares of `owner`."""
        return self.balances.get(owner, 0)

    # ---- entry and exit

    def deposit(self, assets: int, receiver: str) -> int:
        """Returns shares minted."""
        self._require_idle_clearinghouse()
        shares = self.to_shares_down(assets)
        self._enter(assets, shares, receiver)
        return shares

    def mint(self, shares: int, receiver: str) -> int:
        """Returns assets taken."""
        self._require_idle_clearinghouse()
        assets = self.to_assets_up(shares)
        self._enter(assets, shares, receiver)
        return assets

    def withdraw(self, assets: int, receiver: str, owner: str) -> int:
        """Returns shares burnt. Allowances are the token's affair and not modelled."""
        self._require_idle_clearinghouse()
        self._require_exits_open()
        shares = self.to_shares_up(assets)
        self._exit(assets, shares, receiver, owner)
        return shares

    def redeem(self, shares: int, receiver: str, owner: str) -> int:
        """Returns assets sent."""
        self._require_idle_clearinghouse()
        self._require_exits_open()
        assets = self.to_assets_down(shares)
        self._exit(assets, shares, receiver, owner)
        return assets

    # ---- loans

    def lend(self, assets: int, receiver: str) -> int:
        """Returns loan shares minted."""
        _require(assets != 0, "vault: zero amount")
        self._require_receiver(receiver)
        _require(assets <= self.max_loan, "vault: loan too large")
        state = self.state
        shares = div_up(assets * WAD, state.index_wad)
        self._store(
            replace(state, idle=state.idle - assets, debt_shares=state.debt_shares + shares)
        )
        return shares

    def repay(self, assets: int, shares_held: int) -> int:
        """Returns loan shares burnt; the tokens are taken to have arrived."""
        state = self.state
        _require(shares_held <= state.debt_shares, "vault: unknown loan shares")
        owed = self.debt_of(shares_held)
        _require(assets <= owed, "vault: more than is owed")
        shares = shares_held if assets == owed else assets * WAD // state.index_wad
        self._store(
            replace(state, idle=state.idle + assets, debt_shares=state.debt_shares - shares)
        )
        return shares

    def accrue(self) -> int:
        """Writes the interest down; returns the index in RAY."""
        self._store(self.state)
        return self.debt_index_ray

    def sweep_reserves(self) -> int:
        """Returns assets paid to the insurance receiver."""
        self._require_idle_clearinghouse()
        state = self.state
        assets = min(state.reserves, state.idle)
        self._store(replace(state, idle=state.idle - assets, reserves=state.reserves - assets))
        return assets

    # ---- losses

    def write_off(self, shares: int) -> int:
        """Returns assets by which the debt fell; reserves keep at most what is left."""
        _require(shares != 0, "vault: zero amount")
        state = self.state
        _require(shares <= state.debt_shares, "vault: unknown loan shares")
        less = replace(state, debt_shares=state.debt_shares - shares)
        self._store(replace(less, reserves=min(less.reserves, less.idle + less.debt_down)))
        return state.debt_down - less.debt_down

    def hold_exits(self, until: int) -> None:
        """Withdrawals and redemptions wait until then; 0 lifts it."""
        _require(until <= self.now + MAX_HOLD_S, "vault: exits held too long")
        self.exits_held_until = until

    # ---- parameters

    def set_rate(self, rate: RateParameters) -> None:
        """Interest so far accrues at the old rate."""
        rate.check()
        self.accrue()
        self.rate = rate

    def set_reserve_factor(self, reserve_factor_bps: int) -> None:
        """Interest so far is shared by the old factor."""
        self._require_terms(reserve_factor_bps, self.deposit_cap)
        self.accrue()
        self.reserve_factor_bps = reserve_factor_bps

    def set_deposit_cap(self, deposit_cap: int) -> None:
        """Asset units."""
        self._require_terms(self.reserve_factor_bps, deposit_cap)
        self.accrue()
        self.deposit_cap = deposit_cap

    # ---- inside

    def _price(self) -> tuple[int, int]:
        state = self.state
        return state.supply + VIRTUAL_SHARES, state.total_assets + VIRTUAL_ASSETS

    def _room(self, receiver: str) -> int:
        if self.is_busy or not self._is_receiver(receiver):
            return 0
        return max(0, self.deposit_cap - self.total_assets)

    def _enter(self, assets: int, shares: int, receiver: str) -> None:
        _require(assets != 0 and shares != 0, "vault: zero amount")
        self._require_receiver(receiver)
        state = self.state
        _require(state.total_assets + assets <= self.deposit_cap, "vault: deposit cap")
        self._store(replace(state, supply=state.supply + shares, idle=state.idle + assets))
        self.balances[receiver] = self.balance_of(receiver) + shares

    def _exit(self, assets: int, shares: int, receiver: str, owner: str) -> None:
        _require(assets != 0 and shares != 0, "vault: zero amount")
        self._require_receiver(receiver)
        _require(shares <= self.balance_of(owner), "vault: too few shares")
        state = self.state
        _require(assets <= state.idle, "vault: not enough idle")
        self._store(replace(state, supply=state.supply - shares, idle=state.idle - assets))
        self.balances[owner] = self.balance_of(owner) - shares

    def _store(self, state: VaultState) -> None:
        fits = state.supply <= MAX_SUPPLY and max(state.idle, state.debt_shares) <= MAX_ASSETS
        _require(fits, "vault: amount too large")
        self.stored = state

    def _is_receiver(self, receiver: str) -> bool:
        return receiver not in ("", self.vault)

    def _require_receiver(self, receiver: str) -> None:
        _require(self._is_receiver(receiver), "vault: bad receiver")

    def _require_idle_clearinghouse(self) -> None:
        _require(not self.is_busy, "vault: clearinghouse busy")

    def _require_exits_open(self) -> None:
        _require(not self.are_exits_held, "vault: exits wait for a loss")

    @staticmethod
    def _require_terms(reserve_factor_bps: int, deposit_cap: int) -> None:
        _require(reserve_factor_bps <= MAX_RESERVE_FACTOR_BPS, "vault: reserve factor too high")
        _require(deposit_cap <= MAX_DEPOSIT_CAP, "vault: deposit cap too high")
