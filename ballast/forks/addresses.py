"""Where a chain has the contracts that Ballast stands on: tokens, Chainlink feeds, Uniswap V3.

    chain_id = 1
    quote = "USDC"          # which of the tokens is borrowed and paid in; counts as a dollar at its feed's price

    [uniswap]
    router = "0x..."        # SwapRouter: the one whose orders carry a deadline, not SwapRouter02

    [tokens]                # ERC-20; one whose asset is ETH is taken for WETH9
    USDC = "0x..."
    ETH = "0x..."

    [feeds]                 # EACAggregatorProxy: dollars per token, 8 decimals
    USDC = "0x..."
    ETH = "0x..."

    [fees_ppm]              # Uniswap's tier of each asset's pool against the quote token
    ETH = 3000
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ballast.chain import to_address

MAINNET = Path(__file__).parents[1] / "parameters" / "mainnet-addresses.toml"


class AddressError(ValueError):
    """An addresses file cannot be used; the message names the entry."""


@dataclass(frozen=True)
class Addresses:
    """The contracts of one chain. Assets are the keys of ``fees_ppm``; addresses are checksummed."""

    chain_id: int
    quote: str
    router: str
    tokens: Mapping[str, str]
    feeds: Mapping[str, str]
    fees_ppm: Mapping[str, int]

    def __post_init__(self) -> None:
        for name in (self.quote, *self.fees_ppm):
            for section, entries in (("tokens", self.tokens), ("feeds", self.feeds)):
                if name not in entries:
                    raise AddressError(f"[{section}] has no address of {name}")

    @property
    def assets(self) -> list[str]:
        """Names of the collaterals."""
        return list(self.fees_ppm)

    def write(self, path: Path) -> None:
        """Write the file. Directories are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"chain_id = {self.chain_id}", f'quote = "{self.quote}"', ""]
        lines += ["[uniswap]", f'router = "{self.router}"', ""]
        for section, entries in (("tokens", self.tokens), ("feeds", self.feeds)):
            lines += [f"[{section}]", *(f'{k} = "{v}"' for k, v in entries.items()), ""]
        lines += ["[fees_ppm]", *(f"{k} = {v}" for k, v in self.fees_ppm.items())]
        path.write_text("\n".join(lines) + "\n")


def read_addresses(path: Path) -> Addresses:
    """Read a file. Raises AddressError if it cannot be read, lacks an entry or has a wrong one."""
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise AddressError(f"cannot read addresses from {path}: {error}") from error
    try:
        return Addresses(
            chain_id=int(data["chain_id"]),
            quote=str(data["quote"]),
            router=_address(data["uniswap"]["router"]),
            tokens={name: _address(value) for name, value in data["tokens"].items()},
            feeds={name: _address(value) for name, value in data["feeds"].items()},
            fees_ppm={name: int(value) for name, value in data["fees_ppm"].items()},
        )
    except KeyError as error:
        raise AddressError(f"{path} has no entry {error}") from error
    except ValueError as error:
        raise AddressError(f"{path}: {error}") from error


def _address(text: Any) -> str:
    """Checksummed; a wrong checksum is a wrong address."""
    address = to_address(text)
    if text not in (address, address.lower()):
        raise AddressError(f"{text} is not an address: its checksum is wrong")
    return address
