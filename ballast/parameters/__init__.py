"""Parameter files, one per network: read, checked and refused by the name of the field.

    parameters = load_parameters()                       # the bundled local.toml, or a path
    parameters = load_parameters("ballast/parameters/sepolia.toml", environment=os.environ)

A file is TOML and stands for itself: it repeats every number. Units are in the names: `_bps` is
1/10,000, `_s` seconds, `_e6` millionths, `_ppm` millionths, `_usd` dollars, `_gwei` 1e-9 ether;
amounts, caps and sizes without a unit are whole tokens. Fractions are read as exact decimals. A key
that is not listed here is refused, and so is one that is missing.

**Every file**

    version = 1                 # of this schema
    [quote]                     # heartbeat_s of the quote token's feed
    [vault]                     # lenders: names, rate of interest, reserve factor, deposit cap
    [house]                     # liquidity vault: names, deposit cap
    [liquidation]
    [keepers]
    [assets.NAME]               # one per collateral, with [assets.NAME.perpetual] where one trades
    [shares]                    # optional: what vault shares start from when they are listed

`docs/parameters.md` says what each of these does; `ECONOMICS`, `ASSET`, `PERPETUAL` and `SHARES`
below have every field with its bounds.

**A network's file, besides**

    [network]
    name = "Sepolia"
    chain_id = 11155111
    confirmations = 2           # blocks on top of the last step before it is believed
    max_fee_gwei = 200          # optional: no transaction offers more for a unit of gas
    sequencer_feed = "0x..."    # optional: uptime feed of a rollup's sequencer

    [network.tokens.quote]      # the quote token; then one table per asset, [network.tokens.ETH]
    address = "0x..."
    decimals = 6                # must be the token's own
    # or a token that anybody may mint:  mock = true, decimals, name, symbol

    [network.feeds.quote]       # AggregatorV3 shape, in dollars; one table per asset
    address = "0x..."
    price_usd = 1               # optional: it must agree within 20%
    # or a feed that anybody may set:    mock = true, price_usd (its first round; 8 decimals)

    [network.uniswap]           # optional: without it no swap adapter is deployed
    fee_ppm = 3_000             # tier of every pool: 500, 3,000 or 10,000
    factory = "0x..."           # Uniswap V3
    router = "0x..."            # SwapRouter (the one that takes a deadline), not SwapRouter02
    # or an own one, pools and all:      mock = true, pool_depth (quote tokens in each pool)

    [governance]
    timelock_delay_s = 172_800
    guardian = "0x..."
    steward = "0x..."
    proposers = ["0x..."]
    executors = []              # none: anyone executes what has waited

Wherever an address stands, `"${NAME}"` takes it from the environment variable NAME, and
`"${NAME:-0x...}"` has a value for where that is not set. In [governance] `deployer` is an address,
too: that of the account that deploys. An own exchange needs mock tokens, for its pools are filled
by minting.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_utils import is_checksum_address, to_checksum_address

DIRECTORY = Path(__file__).parent
LOCAL = DIRECTORY / "local.toml"
VERSION = 1
DEPLOYER = "deployer"  # in [governance]: the account that deploys
QUOTE = "quote"  # name of the quote token among tokens and feeds
BPS = 10_000
GWEI = 10**9
FEED_TOLERANCE_BPS = 2_000  # how far a feed may be from a price that was stated

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-(.*))?\}")
_PERPETUAL = "perpetual"
_SECONDS = 2**24 - 1
_DEPOSIT_CAP_BITS = 95
_LARGEST_JUMP_BPS = 500  # what a price may do between two rounds
_MIN_FLOOR_L_BPS = 100


class ParameterError(ValueError):
    """A parameter file cannot be used; the message names the file and the field."""


@dataclass(frozen=True)
class Field:
    """What may stand in one field: a kind of value, and for numbers their bounds, both included."""

    kind: str  # "whole", "amount", "text", "flag", "address", "addresses"
    low: int | Decimal = 0
    high: int | Decimal = 0
    is_optional: bool = False


def whole(low: int, high: int) -> Field:
    """A whole number within bounds."""
    return Field("whole", low, high)


def amount(low: int | str = 0, high: int | str = 10**15) -> Field:
    """A number of whole tokens or units, fractions to 1e-9."""
    return Field("amount", Decimal(low), Decimal(high))


def text(longest: int) -> Field:
    """One to `longest` characters."""
    return Field("text", 1, longest)


def optional(field: Field) -> Field:
    """The same, and it need not be there."""
    return Field(field.kind, field.low, field.high, True)


ADDRESS = Field("address")
FLAG = Field("flag")
_LEAST = "0.000000001"

RATES = {
    "z_init_bps": whole(0, 65_535),
    "floor_init_bps": whole(1, BPS),
    "cap_init_bps": whole(1, BPS),
    "z_maint_bps": whole(0, 65_535),
    "floor_maint_bps": whole(_LARGEST_JUMP_BPS, BPS),
    "cap_maint_bps": whole(1, BPS),
    "z_l_bps": whole(0, 65_535),
    "floor_l_bps": whole(_MIN_FLOOR_L_BPS, BPS),
    "cap_l_bps": whole(1, BPS),
}
ASSET = {
    "id": whole(1, 255),
    "heartbeat_s": whole(1, _SECONDS),
    "band_low_log2": whole(2, 94),
    "band_high_log2": whole(3, 94),
    "prior_sigma_e6": whole(100_000, 5_000_000),
    "supply_cap": amount(),
    "swap_limit_bps": whole(0, 500),
    "quota": amount(_LEAST, 4 * 10**12),
    **RATES,
}
PERPETUAL = {
    "depth": amount(_LEAST, 4 * 10**12),
    "open_interest_cap": amount(0, 4 * 10**12),
    "skew_cap": amount(_LEAST, 4 * 10**12),
    "round_cap": amount(0, 4 * 10**12),
    "min_size": amount(_LEAST, 4 * 10**12),
    "base_fee_e6": whole(0, 10_000),
    "band_e6": whole(0, 100_000),
    "lag_s": whole(0, 3_600),
    "max_funding_e6": whole(0, 10_000_000),
    "weight_bps": whole(0, BPS),
}
ECONOMICS: Mapping[str, Mapping[str, Field]] = {
    "quote": {"heartbeat_s": whole(1, _SECONDS)},
    "vault": {
        "name": text(25),
        "symbol": text(5),
        "base_bps": whole(0, 100_000),
        "slope_bps": whole(0, 100_000),
        "steep_slope_bps": whole(0, 100_000),
        "kink_bps": whole(1, BPS - 1),
        "reserve_factor_bps": whole(0, 5_000),
        "deposit_cap": whole(0, 10**15),
    },
    "house": {"name": text(25), "symbol": text(5), "deposit_cap": whole(0, 10**15)},
    "liquidation": {
        "target_bps": whole(11_000, 20_000),
        "ramp_s": whole(60, 86_400),
        "insurance_bps": whole(0, 2_200),
        "rescue_pay_bps": whole(0, 500),
        "house_day_bps": whole(0, 1_000),
        "dust": amount(0, 10**6),
        "rescue_pay_cap": amount(0, 10**6),
        "insurance_account_cap": amount(),
        "insurance_day_cap": amount(),
    },
    "keepers": {"fee": amount(0, 1)},
}
SHARES = {
    "growth_bps": whole(0, BPS),
    **{name: field for name, field in ASSET.items() if name != "id"},
}
NETWORK = {
    "name": text(40),
    "chain_id": whole(1, 2**63),
    "confirmations": whole(0, 100),
    "max_fee_gwei": optional(amount(_LEAST, 10**6)),
    "sequencer_feed": optional(ADDRESS),
}
TOKEN = {"address": ADDRESS, "decimals": whole(2, 18)}
MOCK_TOKEN = {"mock": FLAG, "name": text(64), "symbol": text(16), "decimals": whole(2, 18)}
FEED = {"address": ADDRESS, "price_usd": optional(amount(_LEAST, 10**9))}
MOCK_FEED = {"mock": FLAG, "price_usd": amount("0.00000001", 10**9)}
UNISWAP = {"fee_ppm": whole(500, 10_000), "factory": ADDRESS, "router": ADDRESS}
MOCK_UNISWAP = {"mock": FLAG, "fee_ppm": whole(500, 10_000), "pool_depth": whole(1, 10**12)}
FEE_TIERS_PPM = (500, 3_000, 10_000)
GOVERNANCE = {
    "timelock_delay_s": whole(0, 30 * 86_400),
    "guardian": Field("address"),
    "steward": Field("address"),
    "proposers": Field("addresses", 1, 10),
    "executors": Field("addresses", 0, 10),
}


def load_parameters(
    path: Path | str = LOCAL, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Reads and checks a parameter file. Raises ParameterError, which names the field.

    Variables in addresses are looked up in `environment`. Addresses come out with their checksum,
    fractions as Decimal.
    """
    try:
        parameters = tomllib.loads(Path(path).read_text(), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ParameterError(f"cannot read parameters from {path}: {error}") from error
    return check_parameters(parameters, str(path), environment)


def network_path(name: str) -> Path:
    """The bundled file of a network such as `sepolia`. Raises ParameterError if there is none."""
    path = DIRECTORY / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in DIRECTORY.glob("*.toml")))
        raise ParameterError(f"no parameter file {path.name} is bundled (there are: {known})")
    return path


def path_for_chain(chain_id: int) -> Path:
    """The bundled file of the network with this chain id. Raises ParameterError without one."""
    for path in sorted(DIRECTORY.glob("*.toml")):
        network = tomllib.loads(path.read_text()).get("network", {})
        if network.get("chain_id") == chain_id:
            return path
    raise ParameterError(f"no bundled file is for chain {chain_id:,}: name one with --parameters")


def check_parameters(
    parameters: Mapping[str, Any],
    source: str = "parameters",
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A checked copy of parameters that were read or made. Raises ParameterError."""
    return _Check(source, environment or {}).all(deepcopy(dict(parameters)))


class _Check:
    """One pass over one file; every refusal names the file and the full name of the field."""

    def __init__(self, source: str, environment: Mapping[str, str]) -> None:
        self.source = source
        self.environment = environment

    def fail(self, name: str, problem: str) -> ParameterError:
        return ParameterError(f"{self.source}: {name} {problem}")

    # ---- the file

    def all(self, parameters: dict[str, Any]) -> dict[str, Any]:
        version = parameters.get("version")
        if version != VERSION:
            raise self.fail("version", f"is {version}; this release reads version {VERSION}")
        own_tables = {"version", "assets", "shares", "network", "governance", *ECONOMICS}
        self.known("", parameters, own_tables)
        for section, fields in ECONOMICS.items():
            self.table(section, parameters.get(section), fields)
        self.rate(parameters["vault"])
        self.assets(parameters.get("assets"))
        if "shares" in parameters:
            self.table("shares", parameters["shares"], SHARES)
            self.risk("shares", parameters["shares"])
        if "network" in parameters or "governance" in parameters:
            self.network(parameters.get("network"), list(parameters["assets"]))
            self.table("governance", parameters.get("governance"), GOVERNANCE)
            self.units(parameters)
        return parameters

    def known(self, prefix: str, table: Mapping[str, Any], names: set[str]) -> None:
        unknown = sorted(set(table) - names)
        if unknown:
            raise self.fail(prefix + unknown[0], "is not a parameter: see docs/parameters.md")

    def table(self, name: str, table: Any, fields: Mapping[str, Field], *more: str) -> None:
        """Checks one table and puts resolved values in their places; `more` are its sub-tables."""
        if not isinstance(table, dict):
            raise self.fail(f"[{name}]", "is missing")
        self.known(f"{name}.", table, {*fields, *more})
        for key, field in fields.items():
            if key in table:
                table[key] = self.value(f"{name}.{key}", table[key], field)
            elif not field.is_optional:
                raise self.fail(f"{name}.{key}", "is missing")

    # ---- values

    def value(self, name: str, value: Any, field: Field) -> Any:
        if field.kind == "addresses":
            if not isinstance(value, list) or not field.low <= len(value) <= field.high:
                raise self.fail(name, f"is to be a list of {field.low} to {field.high} addresses")
            return [self.address(f"{name}[{i}]", entry) for i, entry in enumerate(value)]
        readers: Mapping[str, Callable[[str, Any], Any]] = {
            "address": self.address,
            "flag": self.flag,
            "text": lambda name, value: self.text(name, value, field),
            "whole": lambda name, value: self.number(name, value, field),
            "amount": lambda name, value: self.number(name, value, field),
        }
        return readers[field.kind](name, value)

    def number(self, name: str, value: Any, field: Field) -> int | Decimal:
        is_whole = field.kind == "whole"
        if isinstance(value, bool) or not isinstance(value, int if is_whole else int | Decimal):
            kind = "a whole number" if is_whole else "a number"
            raise self.fail(name, f"is {value!r}, which is not {kind}")
        if not field.low <= value <= field.high:
            raise self.fail(name, f"is {value:,}: it is to be {field.low:,} to {field.high:,}")
        if isinstance(value, Decimal) and value * GWEI != int(value * GWEI):
            raise self.fail(name, f"is {value}: more than 9 digits behind the point")
        return value

    def text(self, name: str, value: Any, field: Field) -> str:
        if not isinstance(value, str) or not field.low <= len(value.encode()) <= field.high:
            raise self.fail(name, f"is to be text of {field.low} to {field.high} characters")
        return value

    def flag(self, name: str, value: Any) -> bool:
        if value is not True:
            raise self.fail(name, "is to be true, or left out")
        return True

    def address(self, name: str, value: Any) -> str:
        text = self.expanded(name, value) if isinstance(value, str) else value
        if text == DEPLOYER and name.startswith("governance."):
            return DEPLOYER
        if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
            raise self.fail(name, f"is {text!r}, which is not an address")
        if text not in (text.lower(), "0x" + text[2:].upper()) and not is_checksum_address(text):
            raise self.fail(name, f"is {text}: its checksum is wrong, so a digit may be")
        if int(text, 16) == 0:
            raise self.fail(name, "is the zero address")
        return str(to_checksum_address(text))

    def expanded(self, name: str, value: str) -> str:
        found = _VARIABLE.fullmatch(value)
        if found is None:
            return value
        variable, default = found.groups()
        known = self.environment.get(variable) or default
        if known is None:
            raise self.fail(name, f"is taken from ${variable}, which is not set: export it")
        return known

    # ---- what must hold between fields

    def rate(self, vault: Mapping[str, Any]) -> None:
        total = sum(vault[key] for key in ("base_bps", "slope_bps", "steep_slope_bps"))
        if total > 100_000:
            raise self.fail(
                "vault.steep_slope_bps", f"makes {total:,} at full use; at most 100,000"
            )

    def assets(self, assets: Any) -> None:
        if not isinstance(assets, dict) or not assets:
            raise self.fail("[assets]", "is missing")
        ids: dict[int, str] = {}
        weights = 0
        for name, terms in assets.items():
            place = f"assets.{name}"
            self.table(place, terms, ASSET, _PERPETUAL)
            self.risk(place, terms)
            if terms["id"] in ids:
                raise self.fail(
                    f"{place}.id", f"is {terms['id']}, as is that of {ids[terms['id']]}"
                )
            ids[terms["id"]] = name
            if _PERPETUAL in terms:
                market = terms[_PERPETUAL]
                self.table(f"{place}.{_PERPETUAL}", market, PERPETUAL)
                self.market(f"{place}.{_PERPETUAL}", market, terms["floor_l_bps"])
                weights += market["weight_bps"]
                if weights > BPS:
                    raise self.fail(
                        f"{place}.{_PERPETUAL}.weight_bps",
                        f"makes {weights:,} over all markets; at most {BPS:,}",
                    )

    def risk(self, place: str, terms: Mapping[str, Any]) -> None:
        """What the oracle demands of margin rates (I40, T31), and the listing of its limit."""
        if terms["band_low_log2"] >= terms["band_high_log2"]:
            raise self.fail(f"{place}.band_low_log2", "is to be below band_high_log2")
        for kind in ("init", "maint", "l"):
            if terms[f"floor_{kind}_bps"] > terms[f"cap_{kind}_bps"]:
                raise self.fail(f"{place}.floor_{kind}_bps", f"is above cap_{kind}_bps")
        for part in ("z", "floor", "cap"):
            if 2 * terms[f"{part}_init_bps"] < 3 * terms[f"{part}_maint_bps"]:
                raise self.fail(
                    f"{place}.{part}_init_bps", f"is less than 1.5 times {part}_maint_bps (I40)"
                )
        if terms["cap_init_bps"] + terms["cap_l_bps"] > BPS:
            raise self.fail(
                f"{place}.cap_init_bps", f"and cap_l_bps are more than {BPS:,} together"
            )
        if 37 * (terms["floor_init_bps"] + terms["floor_l_bps"]) < 100 * _LARGEST_JUMP_BPS:
            raise self.fail(
                f"{place}.floor_init_bps",
                "and floor_l_bps are less than 1,352 together: a jump of the price by 5% would pay "
                "whoever liquidates himself (T31)",
            )
        gross_bps = terms["z_l_bps"] * terms["prior_sigma_e6"] // 10**6
        gross_bps = min(max(gross_bps, terms["floor_l_bps"]), terms["cap_l_bps"])
        if terms["swap_limit_bps"] >= gross_bps:
            raise self.fail(
                f"{place}.swap_limit_bps",
                f"is to be below the rate on gross, {gross_bps:,} bps when the asset is listed",
            )

    def market(self, place: str, terms: Mapping[str, Any], floor_l_bps: int) -> None:
        if 2 * terms["open_interest_cap"] > terms["depth"]:
            raise self.fail(f"{place}.open_interest_cap", "is more than half of depth")
        if 2 * BPS * terms["skew_cap"] > terms["depth"] * floor_l_bps:
            raise self.fail(f"{place}.skew_cap", "is more than depth x floor_l_bps / 20,000")

    # ---- the network

    def network(self, network: Any, assets: list[str]) -> None:
        self.table("network", network, NETWORK, "tokens", "feeds", "uniswap")
        names = [QUOTE, *assets]
        for kind, fields, mock_fields in (
            ("tokens", TOKEN, MOCK_TOKEN),
            ("feeds", FEED, MOCK_FEED),
        ):
            place = f"network.{kind}"
            table = network.get(kind)
            if not isinstance(table, dict):
                raise self.fail(f"[{place}.{QUOTE}]", "is missing")
            self.known(f"{place}.", table, set(names))
            for name in names:
                entry = table.get(name)
                is_mock = isinstance(entry, dict) and "mock" in entry
                self.table(f"{place}.{name}", entry, mock_fields if is_mock else fields)
        self.distinct("network.tokens", network["tokens"])
        self.uniswap(network)

    def distinct(self, place: str, table: Mapping[str, Any]) -> None:
        seen: dict[str, str] = {}
        for name, entry in table.items():
            address = entry.get("address")
            if address in seen:
                raise self.fail(f"{place}.{name}.address", f"is that of {seen[address]}, too")
            if address is not None:
                seen[address] = name

    def uniswap(self, network: Mapping[str, Any]) -> None:
        if "uniswap" not in network:
            return
        venue = network["uniswap"]
        is_mock = isinstance(venue, dict) and "mock" in venue
        self.table("network.uniswap", venue, MOCK_UNISWAP if is_mock else UNISWAP)
        if venue["fee_ppm"] not in FEE_TIERS_PPM:
            raise self.fail("network.uniswap.fee_ppm", "is no tier: 500, 3,000 or 10,000")
        real = [n for n, token in network["tokens"].items() if "mock" not in token]
        if is_mock and real:
            raise self.fail(
                "network.uniswap.mock",
                f"needs tokens that can be minted, and network.tokens.{real[0]} is a real one",
            )

    def units(self, parameters: Mapping[str, Any]) -> None:
        """Amounts of the quote token that must fit their words in its own units."""
        decimals = parameters["network"]["tokens"][QUOTE]["decimals"]
        for section in ("vault", "house"):
            if parameters[section]["deposit_cap"] * 10**decimals > 2**_DEPOSIT_CAP_BITS:
                raise self.fail(f"{section}.deposit_cap", f"does not fit with {decimals} decimals")
