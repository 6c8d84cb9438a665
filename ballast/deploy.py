"""One function that deploys the whole system, on any chain, from a parameter file.

    parameters = load_parameters()                    # the bundled local.toml, or a path
    system = deploy(chain, parameters, governor=..., quote=..., quote_feed=..., markets={...})
    system.clearinghouse.deposit(account_id(owner), ETH, amount, sender=owner)

Contracts name each other as immutables, so the clearing house's address is computed before it is
deployed and checked afterwards. Tests, the demo and test networks all deploy through here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ballast.chain import Chain, Contract, Receipt

LOCAL = Path(__file__).parent / "parameters" / "local.toml"
WAD = 10**18
GWEI = 10**9
BPS = 10_000
YEAR_S = 31_536_000
_RATE_FIELDS = (
    "z_init_bps",
    "floor_init_bps",
    "cap_init_bps",
    "z_maint_bps",
    "floor_maint_bps",
    "cap_maint_bps",
    "z_l_bps",
    "floor_l_bps",
    "cap_l_bps",
)
_MARKET_SIZES = ("depth", "open_interest_cap", "skew_cap", "round_cap", "min_size")
_MARKET_FIELDS = (
    *_MARKET_SIZES,
    "base_fee_e6",
    "band_e6",
    "lag_s",
    "max_funding_e6",
    "weight_bps",
)
_LIQUIDATION_FIELDS = ("target_bps", "ramp_s", "insurance_bps", "rescue_pay_bps", "house_day_bps")
_LIQUIDATION_AMOUNTS = ("dust", "rescue_pay_cap", "insurance_account_cap", "insurance_day_cap")


class DeployError(Exception):
    """The system cannot be deployed as asked; the message names the parameter to look at."""


@dataclass(frozen=True)
class Market:
    """One collateral as the chain at hand knows it."""

    token: Contract
    feed: Contract | str  # AggregatorV3 shape, asset in dollars
    stated_price_wad: int  # what the governor believes it costs; the feed must agree within 20%


@dataclass(frozen=True)
class System:
    """The deployed contracts, each by its role."""

    chain: Chain
    governor: str
    quote: Contract
    oracle: Contract
    vault: Contract
    mandates: Contract
    listings: Contract
    clearinghouse: Contract
    exchange: Contract
    perps: Contract
    liquidity_vault: Contract
    liquidator: Contract
    insurance_fund: Contract
    token_liquidator: Contract
    deleverager: Contract
    planner: Contract
    mixer: Contract
    allocator: Contract
    rebalancer: Contract
    lens: Contract
    keepers: Contract
    assets: Mapping[str, int]  # name -> asset id

    @property
    def contracts(self) -> dict[str, Contract]:
        """Every contract of the system under its contract name."""
        return {
            "RiskOracle": self.oracle,
            "LendingVault": self.vault,
            "Mandates": self.mandates,
            "Listings": self.listings,
            "Clearinghouse": self.clearinghouse,
            "Exchange": self.exchange,
            "Perps": self.perps,
            "LiquidityVault": self.liquidity_vault,
            "Liquidator": self.liquidator,
            "Insurance": self.insurance_fund,
            "TokenLiquidator": self.token_liquidator,
            "Deleverager": self.deleverager,
            "Planner": self.planner,
            "Mixer": self.mixer,
            "Allocator": self.allocator,
            "Rebalancer": self.rebalancer,
            "Lens": self.lens,
            "Keepers": self.keepers,
        }

    @property
    def insurance(self) -> int:
        """The account that is the insurance fund."""
        return account_id(self.insurance_fund.address)

    @property
    def house(self) -> int:
        """The account on the other side of every perpetual."""
        return account_id(self.liquidity_vault.address)

    def allow_adapter(self, adapter: Contract) -> None:
        """Lets accounts swap through ``adapter``."""
        self.listings.set_adapter(adapter, True, sender=self.governor)

    def poke(self, sender: str, names: Iterable[str] | None = None) -> Receipt:
        """Samples volatility of the named assets, of all by default."""
        ids = [self.assets[name] for name in (names if names is not None else self.assets)]
        return self.oracle.poke(ids, sender=sender)


def account_id(owner: str, sub: int = 0) -> int:
    """The id of sub-account ``sub`` (0 to 255) of ``owner``: owner << 8 | sub."""
    if not 0 <= sub < 256:
        raise ValueError(f"a sub-account is 0 to 255, not {sub}")
    return int(owner, 16) << 8 | sub


def load_parameters(path: Path | str = LOCAL) -> dict[str, Any]:
    """Reads a parameter file. Raises DeployError if it cannot be read or lacks a section."""
    try:
        parameters = tomllib.loads(Path(path).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DeployError(f"cannot read parameters from {path}: {error}") from error
    for section in ("quote", "vault", "house", "liquidation", "keepers", "assets"):
        if section not in parameters:
            raise DeployError(f"{path} has no [{section}] section")
    return parameters


def deploy(
    chain: Chain,
    parameters: Mapping[str, Any],
    *,
    governor: str,
    quote: Contract,
    markets: Mapping[str, Market],
    quote_feed: Contract | str | None = None,
    insurance_receiver: str | None = None,
) -> System:
    """Deploys and wires the system, and lists every asset of ``markets``.

    ``quote_feed`` prices the quote token in dollars; without one it counts as a dollar.
    ``insurance_receiver`` gets reserves and donations, the insurance fund by default. Raises
    DeployError for a market without parameters, Reverted with the contract's reason for a
    parameter it refuses.
    """
    unknown = sorted(set(markets) - set(parameters["assets"]))
    if unknown:
        raise DeployError(f"no [assets.{unknown[0]}] section for market {unknown[0]}")
    zero = "0x" + "00" * 20
    decimals = int(quote.decimals())
    vault_terms, house_terms = parameters["vault"], parameters["house"]
    # Contracts name each other, so addresses of those that come later are computed.
    later = {
        name: chain.next_address(governor, 4 + number)
        for number, name in enumerate(
            (
                *("Clearinghouse", "Exchange", "Perps", "LiquidityVault"),
                *("Liquidator", "Deleverager", "Insurance"),
            )
        )
    }

    def put(name: str, *arguments: Any) -> Contract:
        contract = chain.deploy(name, *arguments, sender=governor)
        if later.get(name, contract.address) != contract.address:
            raise DeployError("another transaction of the governor came between; deploy again")
        return contract

    ledger, house_owner = later["Clearinghouse"], later["LiquidityVault"]
    oracle = put(
        "RiskOracle",
        ledger,
        quote_feed or zero,
        parameters["quote"]["heartbeat_s"] if quote_feed else 0,
        zero,
    )
    vault = put(
        "LendingVault",
        quote,
        vault_terms["name"],
        vault_terms["symbol"],
        ledger,
        later["Liquidator"],
        insurance_receiver or later["Insurance"],
        governor,
        tuple(vault_terms[key] for key in ("base_bps", "slope_bps", "steep_slope_bps", "kink_bps")),
        vault_terms["reserve_factor_bps"],
        vault_terms["deposit_cap"] * 10**decimals,
        vault_terms["min_debt"],
    )
    unit_wad = 10 ** (18 - decimals)
    mandates = put(
        "Mandates",
        ledger,
        later["Perps"],
        later["Liquidator"],
        oracle,
        unit_wad,
        house_owner,
    )
    listings = put("Listings", ledger, oracle, later["Exchange"])
    clearinghouse = put(
        "Clearinghouse",
        quote,
        oracle,
        vault,
        mandates,
        listings,
        later["Perps"],
        later["Exchange"],
        later["Liquidator"],
        house_owner,
    )
    exchange = put("Exchange", clearinghouse, listings)
    perps = put(
        "Perps",
        clearinghouse,
        oracle,
        mandates,
        later["Liquidator"],
        later["Deleverager"],
        house_owner,
    )
    liquidity_vault = put(
        "LiquidityVault",
        quote,
        house_terms["name"],
        house_terms["symbol"],
        clearinghouse,
        perps,
        governor,
        house_terms["deposit_cap"] * 10**decimals,
    )
    liquidator = put(
        "Liquidator",
        clearinghouse,
        perps,
        mandates,
        vault,
        unit_wad,
        later["Insurance"],
        liquidity_vault,
        liquidation_terms(parameters["liquidation"]),
    )
    deleverager = put("Deleverager", clearinghouse, perps, mandates, liquidity_vault)
    insurance_fund = put("Insurance", clearinghouse, vault, liquidator)
    token_liquidator = put("TokenLiquidator", clearinghouse, liquidator)
    planner = put("Planner", clearinghouse, mandates, perps, house_owner)
    mixer = put("Mixer", clearinghouse, mandates, perps, house_owner, oracle)
    allocator = put("Allocator", clearinghouse, mandates, perps, house_owner, mixer)
    # Gas is paid in ether: the asset of that name, where it is listed, says what it is worth.
    native = parameters["assets"].get("ETH", {"id": 0})["id"] if "ETH" in markets else 0
    rebalancer = put(
        "Rebalancer", clearinghouse, mandates, planner, allocator, liquidator, oracle, native
    )
    lens = put("Lens", clearinghouse, mandates, rebalancer, oracle, vault, perps, liquidity_vault)
    fee = int(parameters["keepers"]["fee"] * 10**decimals)
    keepers = put("Keepers", clearinghouse, mandates, oracle, fee)
    system = System(
        chain=chain,
        governor=governor,
        quote=quote,
        oracle=oracle,
        vault=vault,
        mandates=mandates,
        listings=listings,
        clearinghouse=clearinghouse,
        exchange=exchange,
        perps=perps,
        liquidity_vault=liquidity_vault,
        liquidator=liquidator,
        insurance_fund=insurance_fund,
        token_liquidator=token_liquidator,
        deleverager=deleverager,
        planner=planner,
        mixer=mixer,
        allocator=allocator,
        rebalancer=rebalancer,
        lens=lens,
        keepers=keepers,
        assets={name: parameters["assets"][name]["id"] for name in markets},
    )
    for name, market in markets.items():
        _list(system, parameters["assets"][name], market)
    _limit_outflow(system, 0, parameters["quote"])
    if vault_terms["outflow_bps"] != BPS:
        floor_log2 = (int(vault_terms["outflow_floor"]) * 10**decimals).bit_length() - 1
        vault.set_outflow_limit(vault_terms["outflow_bps"], floor_log2, sender=governor)
    return system


def _list(system: System, terms: Mapping[str, Any], market: Market) -> None:
    """Lists one asset at the oracle and then at the clearing house."""
    system.oracle.list_asset(
        terms["id"],
        market.feed,
        terms["heartbeat_s"],
        terms["band_low_log2"],
        terms["band_high_log2"],
        market.stated_price_wad,
        terms["prior_sigma_e6"],
        (*(terms[field] for field in _RATE_FIELDS), int(terms["quota"] * GWEI)),
        sender=system.governor,
    )
    system.listings.list_asset(
        terms["id"],
        market.token,
        int(terms["supply_cap"] * WAD),
        terms["swap_limit_bps"],
        sender=system.governor,
    )
    _limit_outflow(system, terms["id"], terms)
    system.liquidator.learn_unit(terms["id"], sender=system.governor)
    system.keepers.learn_feed(terms["id"], sender=system.governor)
    if "perpetual" in terms:
        system.perps.list_market(
            terms["id"], market_terms(terms["perpetual"]), sender=system.governor
        )


def _limit_outflow(system: System, asset: int, terms: Mapping[str, Any]) -> None:
    """Bounds withdrawals of an asset; the floor becomes the power of two at or below it."""
    if terms["outflow_bps"] != BPS:
        floor_log2 = int(terms["outflow_floor"] * WAD).bit_length() - 1
        system.listings.set_outflow_limit(
            asset, terms["outflow_bps"], floor_log2, sender=system.governor
        )


def list_shares(
    system: System,
    name: str,
    terms: Mapping[str, Any],
    vault: Contract,
    asset_feed: Contract | str,
    *,
    stated_price_wad: int,
) -> tuple[System, Contract]:
    """Lists shares of an ERC-4626 vault as collateral ``name``, priced by a VaultFeed of their own.

    ``asset_feed`` is the feed of the vault's asset. ``terms`` are those of an asset and, as
    ``growth_bps``, the most that assets per share may grow in a year. Returns the system that knows
    the asset, and the feed, whose ``checkpoint`` somebody must call once a day.
    """
    feed = system.chain.deploy(
        "VaultFeed",
        vault,
        asset_feed,
        terms["growth_bps"] * WAD // BPS // YEAR_S,
        vault.address == system.vault.address,
        sender=system.governor,
    )
    system = replace(system, assets={**system.assets, name: terms["id"]})
    _list(system, terms, Market(vault, feed, stated_price_wad))
    return system, feed


def deploy_share_adapter(
    system: System, vaults: Iterable[Contract], onward: Contract | None = None
) -> Contract:
    """Deploys an ERC4626Adapter for the vaults named and lets accounts swap through it.

    ``onward`` sells what vaults do not redeem for cash; without one, name it with ``set_onward``
    once an adapter was deployed that takes this one for its exchange.
    """
    adapter = system.chain.deploy(
        "ERC4626Adapter", system.exchange, system.governor, sender=system.governor
    )
    for vault in vaults:
        adapter.set_vault(vault, True, sender=system.governor)
    if onward is not None:
        adapter.set_onward(onward, sender=system.governor)
    system.allow_adapter(adapter)
    return adapter


def liquidation_terms(terms: Mapping[str, Any]) -> tuple[int, ...]:
    """The liquidation section as the contract wants it: quote amounts become WAD."""
    amounts = (int(terms[field] * WAD) for field in _LIQUIDATION_AMOUNTS)
    return (*(terms[field] for field in _LIQUIDATION_FIELDS), *amounts)


def market_terms(terms: Mapping[str, Any]) -> tuple[int, ...]:
    """A market's section as the contract wants it: sizes in whole units become 1e-9 units."""
    return tuple(
        int(terms[field] * GWEI) if field in _MARKET_SIZES else terms[field]
        for field in _MARKET_FIELDS
    )
