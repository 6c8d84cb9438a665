"""One function that deploys the whole system, on any chain, from a parameter file.

    parameters = load_parameters()                    # the bundled local.toml, or a path
    system = deploy(chain, parameters, governor=..., quote=..., quote_feed=..., markets={...})
    system.clearinghouse.deposit(account_id(owner), ETH, amount, sender=owner)

Contracts name each other as immutables, so every address is computed before anything is deployed.
Tests, the demo and networks all deploy the same list of steps, `plan_system`; `ballast.network`
adds what a network needs besides and can be interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ballast.chain import Chain, Contract, Receipt, to_address
from ballast.parameters import BPS as BPS
from ballast.parameters import GWEI as GWEI
from ballast.parameters import RATES
from ballast.parameters import load_parameters as load_parameters
from ballast.steps import DeployError as DeployError
from ballast.steps import Plan, Reading, view

WAD = 10**18
ZERO_ADDRESS = "0x" + "00" * 20
YEAR_S = 31_536_000
# The contracts in the order in which they are deployed, and what they are called in a `System`.
ROOMS = {
    "RiskOracle": "oracle",
    "LendingVault": "vault",
    "Mandates": "mandates",
    "Listings": "listings",
    "Clearinghouse": "clearinghouse",
    "Exchange": "exchange",
    "Perps": "perps",
    "LiquidityVault": "liquidity_vault",
    "Liquidator": "liquidator",
    "Deleverager": "deleverager",
    "Insurance": "insurance_fund",
    "TokenLiquidator": "token_liquidator",
    "Planner": "planner",
    "Mixer": "mixer",
    "Allocator": "allocator",
    "Rebalancer": "rebalancer",
    "Lens": "lens",
    "Keepers": "keepers",
}
_RATE_CURVE = ("base_bps", "slope_bps", "steep_slope_bps", "kink_bps")
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
        return {name: getattr(self, field) for name, field in ROOMS.items()}

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
    plan = Plan(chain, governor)
    system = plan_system(
        plan,
        parameters,
        quote=quote,
        quote_decimals=int(quote.decimals()),
        markets=markets,
        quote_feed=quote_feed,
        insurance_receiver=insurance_receiver,
    )
    plan_listings(plan, system, parameters, markets, quote_decimals=int(quote.decimals()))
    plan.run()
    return system


def plan_system(
    plan: Plan,
    parameters: Mapping[str, Any],
    *,
    quote: Contract,
    quote_decimals: int,
    markets: Mapping[str, Market],
    quote_feed: Contract | str | None = None,
    insurance_receiver: str | None = None,
    sequencer_feed: str = ZERO_ADDRESS,
) -> System:
    """Adds the steps that deploy the contracts, whose owner is the plan's sender."""
    unknown = sorted(set(markets) - set(parameters["assets"]))
    if unknown:
        raise DeployError(f"no [assets.{unknown[0]}] section for market {unknown[0]}")
    governor = plan.sender
    vault_terms, house_terms = parameters["vault"], parameters["house"]
    unit, unit_wad = 10**quote_decimals, 10 ** (18 - quote_decimals)
    rooms = plan.reserve(*ROOMS)
    ledger, oracle, mandates = rooms["Clearinghouse"], rooms["RiskOracle"], rooms["Mandates"]
    vault, perps, liquidator = rooms["LendingVault"], rooms["Perps"], rooms["Liquidator"]
    house, insurance = rooms["LiquidityVault"], rooms["Insurance"]
    listings, exchange = rooms["Listings"], rooms["Exchange"]

    heartbeat_s = parameters["quote"]["heartbeat_s"] if quote_feed else 0
    plan.create(oracle, ledger, quote_feed or ZERO_ADDRESS, heartbeat_s, sequencer_feed)
    rate = tuple(vault_terms[key] for key in _RATE_CURVE)
    reserve_factor_bps = vault_terms["reserve_factor_bps"]
    lending_cap, min_debt = vault_terms["deposit_cap"] * unit, vault_terms["min_debt"]
    receiver = insurance_receiver or insurance
    plan.create(
        vault,
        quote,
        vault_terms["name"],
        vault_terms["symbol"],
        ledger,
        liquidator,
        receiver,
        governor,
        rate,
        reserve_factor_bps,
        lending_cap,
        min_debt,
        settings=lambda: [
            view("rate curve", vault.rate_parameters, wanted=rate),
            view("reserve_factor_bps", vault.reserve_factor_bps, wanted=reserve_factor_bps),
            view("deposit_cap", vault.deposit_cap, wanted=lending_cap),
            view("min_debt", vault.min_debt, wanted=min_debt),
            view("insurance_receiver", vault.insurance_receiver, wanted=receiver),
        ],
    )
    plan.create(mandates, ledger, perps, liquidator, oracle, vault, unit_wad, house)
    plan.create(listings, ledger, oracle, exchange)
    plan.create(
        *(ledger, quote, oracle, vault, mandates, listings, perps, exchange, liquidator, house)
    )
    plan.create(exchange, ledger, listings)
    plan.create(perps, ledger, oracle, mandates, liquidator, rooms["Deleverager"], house)
    house_cap = house_terms["deposit_cap"] * unit
    plan.create(
        house,
        quote,
        house_terms["name"],
        house_terms["symbol"],
        ledger,
        perps,
        governor,
        house_cap,
        settings=lambda: [view("deposit_cap", house.deposit_cap, wanted=house_cap)],
    )
    terms = liquidation_terms(parameters["liquidation"])
    plan.create(
        *(liquidator, ledger, perps, mandates, vault, unit_wad, insurance, house, terms),
        settings=lambda: [view("terms", liquidator.terms, wanted=terms)],
    )
    plan.create(rooms["Deleverager"], ledger, perps, mandates, house)
    plan.create(insurance, ledger, vault, liquidator)
    plan.create(rooms["TokenLiquidator"], ledger, liquidator)
    plan.create(rooms["Planner"], ledger, mandates, perps, house)
    plan.create(rooms["Mixer"], ledger, mandates, perps, house, oracle)
    plan.create(rooms["Allocator"], ledger, mandates, perps, house, rooms["Mixer"])
    # Gas is paid in ether: the asset of that name, where it is listed, says what it is worth.
    native = parameters["assets"].get("ETH", {"id": 0})["id"] if "ETH" in markets else 0
    planners = (rooms["Planner"], rooms["Allocator"])
    plan.create(rooms["Rebalancer"], ledger, mandates, *planners, liquidator, oracle, native)
    plan.create(rooms["Lens"], ledger, mandates, rooms["Rebalancer"], oracle, vault, perps, house)
    keepers = rooms["Keepers"]
    fee = int(parameters["keepers"]["fee"] * unit)
    plan.create(
        *(keepers, ledger, mandates, oracle, fee),
        settings=lambda: [view("fee", keepers.fee, wanted=fee)],
    )
    return System(
        chain=plan.chain,
        governor=governor,
        quote=quote,
        assets={name: parameters["assets"][name]["id"] for name in markets},
        **{field: rooms[name] for name, field in ROOMS.items()},
    )


def plan_listings(
    plan: Plan,
    system: System,
    parameters: Mapping[str, Any],
    markets: Mapping[str, Market],
    *,
    quote_decimals: int,
) -> None:
    """Adds the steps that list every asset of ``markets`` and limit what may leave in a day."""
    for name, market in markets.items():
        plan_listing(plan, system, name, parameters["assets"][name], market)
    vault_terms = parameters["vault"]
    _plan_outflow(plan, system, "cash", 0, parameters["quote"])
    if vault_terms["outflow_bps"] != BPS:
        floor_log2 = _floor_log2(vault_terms["outflow_floor"], 10**quote_decimals)
        limit = (vault_terms["outflow_bps"], floor_log2)
        plan.call(
            "limit what may leave the lending vault in a day",
            *(system.vault.set_outflow_limit, *limit),
            readings=lambda: [view("outflow limit", system.vault.outflow_limit, wanted=limit)],
        )


def plan_listing(
    plan: Plan, system: System, name: str, terms: Mapping[str, Any], market: Market
) -> None:
    """Adds the steps that list one asset wherever it has to be known."""
    asset, oracle, ledger = terms["id"], system.oracle, system.clearinghouse
    rates = (*(terms[field] for field in RATES), int(terms["quota"] * GWEI))
    cap_wad = int(terms["supply_cap"] * WAD)
    swap_limit_bps, heartbeat_s = terms["swap_limit_bps"], terms["heartbeat_s"]
    band = (terms["band_low_log2"], terms["band_high_log2"])

    def at_the_oracle() -> list[Reading]:
        feed, _, seconds, *limits = oracle.feed_of(asset)
        if int(feed, 16) == 0:
            return [Reading("feed", to_address(market.feed), "none")]
        return [
            Reading("feed", to_address(market.feed), feed),
            Reading("heartbeat_s", heartbeat_s, seconds),
            Reading("band_low_log2", band[0], limits[0]),
            Reading("band_high_log2", band[1], limits[1]),
            # Where a change of parameters is heading; what it comes from fades within days.
            *(
                Reading(field, wanted, found)
                for field, wanted, found in zip(
                    (*RATES, "quota (1e-9)"), rates, oracle.parameters(asset)[1], strict=True
                )
            ),
        ]

    def at_the_clearinghouse() -> list[Reading]:
        word, supply = ledger.asset_word(asset), ledger.supply_word(asset)
        unit_wad = 10 ** (18 - int(market.token.decimals()))
        return [
            Reading("token", int(market.token.address, 16), word & (2**160 - 1)),
            Reading("unit_wad", unit_wad, word >> 160 & (2**72 - 1)),
            Reading("swap_limit_bps", swap_limit_bps, word >> 232),
            Reading("supply_cap (WAD)", cap_wad, supply >> 128),
        ]

    plan.call(
        f"list {name} at the oracle",
        oracle.list_asset,
        asset,
        market.feed,
        heartbeat_s,
        *band,
        market.stated_price_wad,
        terms["prior_sigma_e6"],
        rates,
        readings=at_the_oracle,
    )
    plan.call(
        f"list {name} at the clearing house",
        *(system.listings.list_asset, asset, market.token, cap_wad, swap_limit_bps),
        readings=at_the_clearinghouse,
    )
    plan.call(
        f"tell the liquidator of {name}",
        *(system.liquidator.learn_unit, asset),
        readings=None,  # no view tells; told twice, it does nothing
    )
    plan.call(
        f"tell the keepers of {name}",
        *(system.keepers.learn_feed, asset),
        readings=lambda: [
            view("asset of the feed", system.keepers.asset_of, market.feed, wanted=asset)
        ],
    )
    _plan_outflow(plan, system, name, asset, terms)
    if "perpetual" in terms:
        market_words = market_terms(terms["perpetual"])
        plan.call(
            f"list the perpetual of {name}",
            *(system.perps.list_market, asset, market_words),
            readings=lambda: [
                Reading(field, wanted, found)
                for field, wanted, found in zip(
                    _MARKET_FIELDS, market_words, system.perps.terms_of(asset), strict=True
                )
            ],
        )


def list_asset(system: System, name: str, terms: Mapping[str, Any], market: Market) -> None:
    """Lists one asset. Raises Reverted with the reason of a contract that refuses its terms."""
    plan = Plan(system.chain, system.governor)
    plan_listing(plan, system, name, terms, market)
    plan.run()


def _plan_outflow(
    plan: Plan, system: System, name: str, asset: int, terms: Mapping[str, Any]
) -> None:
    """Adds the step that bounds withdrawals of an asset from the clearing house."""
    if terms["outflow_bps"] == BPS:
        return
    limit = (terms["outflow_bps"], _floor_log2(terms["outflow_floor"], WAD))
    plan.call(
        f"limit what of {name} may leave in a day",
        *(system.listings.set_outflow_limit, asset, *limit),
        readings=lambda: [
            view("outflow limit", system.listings.outflow_limit, asset, wanted=limit)
        ],
    )


def _floor_log2(amount: float, unit: int) -> int:
    """The power of two at or below an amount of whole tokens."""
    return int(amount * unit).bit_length() - 1


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
    plan = Plan(system.chain, system.governor)
    feed = plan.create(
        "VaultFeed",
        vault,
        asset_feed,
        terms["growth_bps"] * WAD // BPS // YEAR_S,
        vault.address == system.vault.address,
    )
    system = replace(system, assets={**system.assets, name: terms["id"]})
    plan_listing(plan, system, name, terms, Market(vault, feed, stated_price_wad))
    plan.run()
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
