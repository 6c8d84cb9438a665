"""The test world is the library's sandbox; tests import it from here."""

from __future__ import annotations

from ballast.sandbox import (
    FEED_DECIMALS,
    QUOTE,
    TWO_ASSETS,
    UNLIMITED,
    VENUE_FEE_PPM,
    WAD,
    ZERO_ADDRESS,
    AssetSpec,
    VaultSpec,
    World,
    build_world,
    many_assets,
    to_wad,
)

__all__ = [
    "FEED_DECIMALS",
    "QUOTE",
    "TWO_ASSETS",
    "UNLIMITED",
    "VENUE_FEE_PPM",
    "WAD",
    "ZERO_ADDRESS",
    "AssetSpec",
    "VaultSpec",
    "World",
    "build_world",
    "many_assets",
    "to_wad",
]
