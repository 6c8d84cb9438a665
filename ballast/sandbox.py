"""The whole system on a chain in this process, to try things in and to test in.

    world = build_world()                            # ETH (18 decimals) and BTC (8), quote of 6
    account = world.open_account(leverage=3, mix={"ETH": 1})
    world.enrol(account, trigger_bps=10_500, target_bps=13_000)
    world.set_price("ETH", 1_800)
    world.poke()
    world.mandates.rebalance(account, sender=world.keeper)

Tokens and feeds are mocks, the venue sells at a price that is set. People have roles (`owner`,
`keeper`, `lender`, ...). Prices, amounts and values in arguments are whole quote tokens or whole
tokens, as int, str or Decimal; what ends in `_wad` or `_units` is an exact integer. A transaction
is a block of its own, 12 seconds after the one before. `with world.isolated():` undoes everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from ballast.chain import BLOCK_INTERVAL_S, Contract, Receipt, RevmChain, RpcChain
from ballast.deploy import (
    BPS,
    WAD,
    YEAR_S,
    Market,
    System,
    account_id,
    deploy,
    deploy_share_adapter,
    list_shares,
    load_parameters,
)

UNLIMITED = 2**256 - 1
ZERO_ADDRESS = "0x" + "00" * 20
FEED_DECIMALS = 8
QUOTE = "USD"
MAX_POKED = 16  # assets in one poke
# Fields of `IRebalancer.Bounds`.
BOUNDS = (
    *("expires_at", "emergency_cooldown_s", "max_step", "gas_cap_gwei", "confirms", "call_s"),
    *("buffer_bps", "horizon_s", "payer", "pay_bps", "pay_cap", "gap_per_pay"),
)
SAMPLING_S, OPENS_AT_S = 300, 48  # the oracle's grid, and where between two of its points
VENUE_FEE_PPM = 3_000  # 30 bp, the fee tier of most pools

Amount = int | str | Decimal
Cost = int | tuple[int, int]


def to_wad(amount: Amount) -> int:
    """Whole tokens or prices as an integer of 1e-18, exact. Raises ValueError for more digits."""
    scaled = Decimal(amount).scaleb(18)
    if scaled != int(scaled):
        raise ValueError(f"{amount} has more than 18 decimals")
    return int(scaled)


@dataclass(frozen=True)
class AssetSpec:
    """One collateral of a world. `terms` replaces single fields of its parameter section."""

    decimals: int
    price: Amount
    terms: Mapping[str, Any] = field(default_factory=dict)


TWO_ASSETS: Mapping[str, AssetSpec] = {"ETH": AssetSpec(18, 2_000), "BTC": AssetSpec(8, 30_000)}


@dataclass(frozen=True)
class VaultSpec:
    """Shares of a vault as one more collateral. `terms` as in an `AssetSpec`.

    They start from the bundled terms of shares where the vault's asset is the quote token, from
    those of its asset otherwise.
    """

    of: str = QUOTE  # the vault's asset
    is_lending_vault: bool = False  # of the system's own one instead of a mock
    decimals_offset: int = 0  # decimals that shares have beyond the asset's
    yearly_bps: int = 500  # what a mock earns
    terms: Mapping[str, Any] = field(default_factory=dict)


def many_assets(count: int, decimals: Sequence[int] = (18, 8, 6)) -> dict[str, AssetSpec]:
    """`count` assets: ETH, BTC and further ones A03, A04, ... with decimals in turn."""
    assets = dict(TWO_ASSETS)
    for number in range(3, count + 1):
        spec = AssetSpec(decimals[number % len(decimals)], 10 * number)
        assets[f"A{number:02}"] = spec
    return dict(list(assets.items())[:count])


@dataclass(frozen=True)
class World:
    """One deployment and its people. Every account of `people` has approved what it needs."""

    chain: RevmChain | RpcChain
    system: System
    tokens: Mapping[str, Contract]  # the quote token under QUOTE
    feeds: Mapping[str, Contract]
    venue: Contract
    vaults: Mapping[str, VaultSpec] = field(default_factory=dict)  # of collaterals that are shares
    share_feeds: Mapping[str, Contract] = field(default_factory=dict)
    share_adapter: Contract | None = None  # turns shares into the vault's asset and back

    # ---- people

    @property
    def governor(self) -> str:
        """Owner of every contract; receives reserves."""
        return self.chain.accounts[0]

    @property
    def owner(self) -> str:
        """Owner of trading accounts."""
        return self.chain.accounts[1]

    @property
    def lender(self) -> str:
        """Holds the vault's shares."""
        return self.chain.accounts[2]

    @property
    def keeper(self) -> str:
        """Calls what anyone may call; has no tokens."""
        return self.chain.accounts[3]

    @property
    def attacker(self) -> str:
        """Means harm; has tokens and approvals like an owner."""
        return self.chain.accounts[4]

    @property
    def other_owner(self) -> str:
        """A second owner of trading accounts, to be left alone by the first one's business."""
        return self.chain.accounts[5]

    @property
    def stranger(self) -> str:
        """Has nothing and approved nothing."""
        return self.chain.accounts[6]

    # ---- contracts by short names

    @property
    def quote(self) -> Contract:
        """The quote token."""
        return self.tokens[QUOTE]

    @property
    def clearinghouse(self) -> Contract:
        """The ledger."""
        return self.system.clearinghouse

    @property
    def mandates(self) -> Contract:
        """Hooks, guards and budgets."""
        return self.system.mandates

    @property
    def rebalancer(self) -> Contract:
        """The default hook."""
        return self.system.rebalancer

    @property
    def keepers(self) -> Contract:
        """Where keepers and price updates enter."""
        return self.system.keepers

    @property
    def names(self) -> list[str]:
        """Names of the collaterals."""
        return list(self.system.assets)

    def asset(self, name: str) -> int:
        """Asset id of a collateral; 0 for the quote token."""
        return 0 if name == QUOTE else self.system.assets[name]

    # ---- amounts

    def decimals(self, name: str) -> int:
        """Decimals of a token."""
        return int(self.tokens[name].decimals())

    def unit_wad(self, name: str) -> int:
        """WAD value of one token unit."""
        return int(10 ** (18 - self.decimals(name)))

    def units(self, name: str, amount: Amount) -> int:
        """Whole tokens as token units, rounded down."""
        return to_wad(amount) // self.unit_wad(name)

    def fund(self, who: str, name: str, units: int) -> None:
        """Mints so that `who` holds at least `units` token units; shares by a deposit."""
        token = self.tokens[name]
        missing = units - int(token.balanceOf(who))
        if missing <= 0:
            return
        if name not in self.vaults:
            token.mint(who, missing, sender=self.governor)
            return
        asset = self.vaults[name].of
        # A percent more, for the vault earns in the blocks until it is asked.
        self.fund(self.governor, asset, int(token.previewMint(missing)) * 101 // 100 + 1)
        self.tokens[asset].approve(token, UNLIMITED, sender=self.governor)
        token.mint(missing, who, sender=self.governor)

    # ---- time

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Undoes on leaving everything that happened inside."""
        with self.chain.isolated():
            yield

    def wait(self, seconds: int, *, is_refreshed: bool = True) -> None:
        """Lets time pass; the feeds go on publishing the same prices unless told otherwise."""
        self.chain.advance(seconds)
        if is_refreshed:
            self.refresh()

    def refresh(self) -> None:
        """A new round of every feed at its present price, then a poke, then one more block."""
        for feed in self.feeds.values():
            feed.set_answer(feed.latestRoundData()[1], sender=self.governor)
        self.poke()

    def poke(self, names: Sequence[str] | None = None) -> None:
        """Samples volatility of the named assets, of all by default."""
        named = list(self.names if names is None else names)
        for start in range(0, len(named), MAX_POKED):
            self.system.poke(self.keeper, named[start : start + MAX_POKED])
        self.chain.mine()

    # ---- prices

    def set_price(
        self, name: str, price: Amount, *, is_poked: bool = True, fee_ppm: int | None = None
    ) -> None:
        """A new round of the asset's feed and the same price at the venue.

        With `is_poked` volatility is sampled too, so that risk may grow afterwards; the returned-to
        moment is a block after the round, so newest and previous price are the same.
        """
        answer = to_wad(price) // 10 ** (18 - FEED_DECIMALS)
        self.feeds[name].set_answer(answer, sender=self.governor)
        for moved in self.names if name == QUOTE else [name]:
            self.set_venue_price(moved, fee_ppm=fee_ppm)
        if is_poked:
            shares = [share for share, spec in self.vaults.items() if spec.of == name]
            self.poke(None if name == QUOTE else [name, *shares])
        else:
            self.chain.mine()

    def set_venue_price(
        self, name: str, price_wad: int | None = None, *, fee_ppm: int | None = None
    ) -> None:
        """The venue buys and sells the asset at `price_wad`, at the oracle's price by default."""
        token, quote = self.tokens[name], self.quote
        price = self.price_wad(name) if price_wad is None else price_wad
        fee = VENUE_FEE_PPM if fee_ppm is None else fee_ppm
        self.venue.set_price(token, quote, price, fee, sender=self.governor)
        self.venue.set_price(quote, token, WAD * WAD // price, fee, sender=self.governor)

    def price_wad(self, name: str) -> int:
        """The oracle's price of a collateral."""
        return int(self.system.oracle.price_wad(self.asset(name)))

    def make_stale(self, *names: str) -> None:
        """Lets the feeds of the named assets pass their heartbeat while all others stay live."""
        self.chain.advance(2 * 3_900)
        for name, feed in self.feeds.items():
            if name not in names:
                feed.set_answer(feed.latestRoundData()[1], sender=self.governor)
        self.poke([name for name in self.names if name not in names])

    # ---- accounts

    def account(self, sub: int = 0, owner: str | None = None) -> int:
        """Id of a sub-account, of `owner` by default."""
        return account_id(owner or self.owner, sub)

    def owner_of(self, account: int) -> str:
        """The address that owns an account."""
        raw = (account >> 8).to_bytes(20, "big")
        return next(a for a in self.chain.accounts if bytes.fromhex(a[2:]) == raw)

    def deposit(self, account: int, name: str, units: int) -> Receipt:
        """Mints to the owner what is missing and deposits it; nothing for zero units."""
        if units == 0:
            return Receipt()
        owner = self.owner_of(account)
        self.fund(owner, name, units)
        receipt: Receipt = self.clearinghouse.deposit(
            account, self.asset(name), units, sender=owner
        )
        return receipt

    def borrow(self, account: int, units: int, receiver: str | None = None) -> Receipt:
        """Withdraws cash of the quote token, borrowing what is not there; to the lender by default.

        The lender is the receiver so that an owner's wallet holds only what a test puts there.
        """
        receipt: Receipt = self.clearinghouse.withdraw(
            account, 0, units, receiver or self.lender, sender=self.owner_of(account)
        )
        return receipt

    def open_account(
        self,
        leverage: Amount = 2,
        mix: Mapping[str, Amount] | None = None,
        *,
        sub: int = 0,
        owner: str | None = None,
        equity: Amount = 10_000,
    ) -> int:
        """An account with `equity` and collateral of `leverage` times that, the rest borrowed.

        `mix` are the weights of the collaterals by name, ETH alone by default. Reverts when the
        initial margin does not allow the leverage.
        """
        account = self.account(sub, owner)
        weights = {name: Decimal(w) for name, w in (mix or {"ETH": 1}).items()}
        value = Decimal(equity) * Decimal(leverage)
        for name, weight in weights.items():
            share = value * weight / sum(weights.values())
            units = int(share.scaleb(36)) // (self.price_wad(name) * self.unit_wad(name))
            self.deposit(account, name, units)
        debt = self.units(QUOTE, value - Decimal(equity))
        if debt > 0:
            self.borrow(account, debt)
        return account

    def enrol(
        self,
        account: int,
        *,
        trigger_bps: int = 10_500,
        target_bps: int = 13_000,
        band_bps: int = 300,
        slippage_bps: int = 100,
        floor_bps: int = 0,
        cooldown_s: int = 0,
        min_step_wad: int = 0,
        uses_wallet: bool = False,
        wallet_cap_wad: int = 0,
        wallet_period_s: int = 86_400,
        donors: Sequence[int] = (),
        sales: Mapping[str, Cost] | Mapping[int, Cost] | None = None,
        hook: Any = None,
        budget_wad: int = 10**6 * WAD,
        actions: int = 0,
        funding_bps: int = 0,
        adapter: Any = None,
    ) -> None:
        """Gives an account its guard, the owner a budget and, with the default hook, a policy.

        `sales` maps collateral names or ids to their expected cost in basis points, or to that of
        the first unit and what all cost more in the mean, every listed asset at 30 by default; they
        are sold at the world's venue or through `adapter`. `actions`
        add up: 1 settle, 2 trim, 4 hedge, 8 unwind, 16 take on risk again.
        """
        owner = self.owner_of(account)
        guard = (
            target_bps,
            band_bps,
            slippage_bps,
            floor_bps,
            wallet_cap_wad,
            wallet_period_s if wallet_cap_wad else 0,
        )
        if sales is None:
            sales = {name: 30 for name in self.names[:8]}
        policy = (
            trigger_bps,
            cooldown_s,
            min_step_wad,
            uses_wallet,
            list(donors),
            [
                (
                    self.asset(name) if isinstance(name, str) else name,
                    *(cost if isinstance(cost, tuple) else (cost, 0)),
                )
                for name, cost in sales.items()
            ],
            (adapter or self.venue) if sales else ZERO_ADDRESS,
            actions,
            funding_bps,
        )
        # First: tests want bands so narrow that the hook refuses them once it knows the target.
        if hook is None:
            self.rebalancer.set_policy(account, policy, sender=owner)
        self.mandates.set_guard(account, hook or self.rebalancer, guard, sender=owner)
        self.mandates.arm_budget((budget_wad, 86_400, 10 * budget_wad), sender=owner)

    def bound(self, account: int, **bounds: int | bool) -> Receipt:
        """Sets bounds of an account's policy by their names in `IRebalancer.Bounds`, 0 for others.

        With a policy in force what is looser than before waits for an hour.
        """
        unknown = set(bounds) - set(BOUNDS)
        if unknown:
            raise TypeError(f"no such bounds: {sorted(unknown)}")
        values = tuple(bounds.get(name, 0) for name in BOUNDS)
        return self.rebalancer.set_bounds(account, values, sender=self.owner_of(account))

    def make_donor(self, account: int, floor_bps: int = 12_000) -> None:
        """Lets a sub-account give to siblings while it keeps `floor_bps`, at least 10,000."""
        self.mandates.set_guard(
            account,
            self.rebalancer,
            (min(13_000, floor_bps), 300, 100, floor_bps, 0, 0),
            sender=self.owner_of(account),
        )


def build_world(
    assets: Mapping[str, AssetSpec] | None = None,
    *,
    quote_decimals: int = 6,
    quote_token: str | None = None,
    lent: Amount = 50_000_000,
    is_cold: bool = False,
    vaults: Mapping[str, VaultSpec] | None = None,
    chain: RevmChain | RpcChain | None = None,
) -> World:
    """Deploys a world with `lent` whole quote tokens in the vault and plenty of all at the venue.

    It stands on a `chain` of its own in this process, or on the one given. `quote_token` names a
    mock whose constructor takes nothing, for a token with bad habits.

    An asset without a section in the bundled parameters gets ETH's terms without its perpetual, the
    next free id and a price band from 2**10 to 2**93. `vaults` are listed after the assets, their
    shares can be swapped through `World.share_adapter`, all else by way of it through the venue,
    and a mock opens with one whole asset.
    """
    assets = TWO_ASSETS if assets is None else assets
    chain = chain or RevmChain(block_interval_s=BLOCK_INTERVAL_S, is_cold=is_cold)
    governor, owner, lender, _, attacker, other_owner = chain.accounts[:6]
    parameters = load_parameters()
    mock = (quote_token,) if quote_token else ("MockToken", "Dollar", QUOTE, quote_decimals)
    tokens = {QUOTE: chain.deploy(*mock, sender=governor)}
    feeds = {QUOTE: chain.deploy("MockFeed", FEED_DECIMALS, "USD / USD", sender=governor)}
    feeds[QUOTE].set_answer(10**FEED_DECIMALS, sender=governor)
    markets: dict[str, Market] = {}
    for name, spec in assets.items():
        known = parameters["assets"].get(name)
        if known is None:
            taken = {section["id"] for section in parameters["assets"].values()}
            ether = dict(parameters["assets"]["ETH"])
            del ether["perpetual"]
            known = ether | {
                "id": min(set(range(1, 256)) - taken),
                "band_low_log2": 10,
                "band_high_log2": 93,
                "supply_cap": 10**9,
            }
        parameters["assets"][name] = {**known, **spec.terms}
        token = chain.deploy("MockToken", name, name, spec.decimals, sender=governor)
        feed = chain.deploy("MockFeed", FEED_DECIMALS, f"{name} / USD", sender=governor)
        price_wad = to_wad(spec.price)
        feed.set_answer(price_wad // 10 ** (18 - FEED_DECIMALS), sender=governor)
        tokens[name], feeds[name] = token, feed
        markets[name] = Market(token, feed, price_wad)
    chain.mine()
    system = deploy(
        chain,
        parameters,
        governor=governor,
        quote=tokens[QUOTE],
        quote_feed=feeds[QUOTE],
        markets=markets,
    )
    venue = chain.deploy("MockVenue", sender=governor)
    system.allow_adapter(venue)
    world = World(chain, system, tokens, feeds, venue)
    for name, token in tokens.items():
        token.mint(venue, 10**12 * 10 ** world.decimals(name), sender=governor)
        for who in (owner, attacker, other_owner):
            token.approve(system.clearinghouse, UNLIMITED, sender=who)
        if name != QUOTE:
            world.set_venue_price(name)
    world.quote.approve(system.vault, UNLIMITED, sender=lender)
    deposit = world.units(QUOTE, lent)
    world.fund(lender, QUOTE, deposit)
    if deposit:
        system.vault.deposit(deposit, lender, sender=lender)
    # Volatility is sampled on a grid of time; a world always opens at the same place in it.
    if vaults:
        world = _with_vaults(world, vaults, parameters)
    chain.advance((OPENS_AT_S - chain.time) % SAMPLING_S)
    world.refresh()
    return world


def _with_vaults(
    world: World, vaults: Mapping[str, VaultSpec], parameters: Mapping[str, Any]
) -> World:
    """The world with shares of vaults as further collaterals, ids from 100 on."""
    chain, system, governor = world.chain, world.system, world.governor
    tokens, feeds = dict(world.tokens), {}
    for number, (name, spec) in enumerate(vaults.items()):
        asset = tokens[spec.of]
        if spec.is_lending_vault:
            vault = system.vault
        else:
            growth_wad = spec.yearly_bps * WAD // BPS // YEAR_S
            vault = chain.deploy(
                *("MockYieldVault", asset, name, name[:5], spec.decimals_offset, growth_wad),
                sender=governor,
            )
            world.fund(governor, spec.of, world.units(spec.of, 1))
            asset.approve(vault, UNLIMITED, sender=governor)
            vault.deposit(world.units(spec.of, 1), governor, sender=governor)
        terms = parameters["shares"]
        if spec.of != QUOTE:
            terms = {**terms, **parameters["assets"][spec.of]}
            terms.pop("perpetual", None)
        terms = {**terms, "id": 100 + number, **spec.terms}
        price_wad = WAD if spec.of == QUOTE else world.price_wad(spec.of)
        system, feeds[name] = list_shares(
            system, name, terms, vault, world.feeds[spec.of], stated_price_wad=price_wad
        )
        tokens[name] = vault
        for who in (world.owner, world.attacker, world.other_owner):
            vault.approve(system.clearinghouse, UNLIMITED, sender=who)
    adapter = deploy_share_adapter(system, [tokens[name] for name in vaults], world.venue)
    return replace(
        world,
        system=system,
        tokens=tokens,
        vaults=vaults,
        share_feeds=feeds,
        share_adapter=adapter,
    )
