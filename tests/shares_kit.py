"""What the tests of vault shares have in common: a world that lists some, vaults to be steered.

world = shares_world()          # yUSD (6 decimals over the quote), yETH (18 over ETH), blUSD
stand = build_stand(RevmChain(), asset_decimals=6, share_decimals=18)
stand.set_rate(to_wad("1.5"))   # whole asset per whole share
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from ballast.chain import Chain, Contract, Receipt
from ballast.deploy import WAD
from tests.support.world import QUOTE, VaultSpec, World, build_world

DAY_S, YEAR_S = 86_400, 31_536_000
GROWTH_WAD = WAD * 15 // 100 // YEAR_S  # 15% a year
RECOVERY_WAD = WAD // 20 // DAY_S
ANSWER = 2_000 * 10**8
SHARES, ETHER_SHARES, LENDERS_SHARES = "yUSD", "yETH", "blUSD"


@cache
def shares_world() -> World:
    """ETH and BTC, and shares of vaults of the quote token, of ETH and of the lending vault."""
    return build_world(
        vaults={
            SHARES: VaultSpec(),
            ETHER_SHARES: VaultSpec(of="ETH"),
            LENDERS_SHARES: VaultSpec(is_lending_vault=True),
        },
    )


def cap_after(rate_wad: int, peak_wad: int, seconds: int, growth_wad: int = GROWTH_WAD) -> int:
    """The bound on the rate so long after a checkpoint."""
    age = min(seconds, DAY_S)
    grown = rate_wad + rate_wad * growth_wad * age // WAD
    recovered = rate_wad + rate_wad * RECOVERY_WAD * age // WAD
    return max(grown, min(peak_wad, recovered))


def give(world: World, name: str, units: int) -> Receipt:
    """Tokens of the vault's asset for all shares of a mock vault, out of nothing."""
    asset = world.tokens[world.vaults[name].of]
    receipt: Receipt = asset.mint(world.tokens[name], units, sender=world.attacker)
    return receipt


def take_away(world: World, name: str, part_bps: int) -> Receipt:
    """A mock vault loses a part of its assets."""
    vault = world.tokens[name]
    lost = int(vault.totalAssets()) * part_bps // 10_000
    receipt: Receipt = vault.burn_assets(lost, sender=world.attacker)
    return receipt


def checkpoint(world: World, name: str) -> Receipt:
    """By a keeper."""
    receipt: Receipt = world.share_feeds[name].checkpoint(sender=world.keeper)
    return receipt


def redeem(world: World, name: str, units: int, who: str) -> int:
    """Shares of a wallet, redeemed at the vault; returns what came."""
    vault = world.tokens[name]
    return int(vault.redeem(units, who, who, sender=who).return_value)


def quote_units(world: World, amount: int) -> int:
    """Whole quote tokens in token units."""
    return world.units(QUOTE, amount)


def hold_exits(world: World) -> int:
    """A loss of lenders is flagged; returns until when their exits wait."""
    victim = world.open_account(leverage="2.7", equity=10**6, sub=255)
    world.set_price("ETH", 900, is_poked=False)
    world.system.liquidator.flag(victim, sender=world.keeper)
    return int(world.system.vault.exits_held_until())


@dataclass(frozen=True)
class Stand:
    """A feed over a vault that does as it is told, both of one person."""

    chain: Chain
    asset: Contract
    vault: Contract
    asset_feed: Contract
    feed: Contract

    @property
    def owner(self) -> str:
        """Who deployed."""
        return self.chain.accounts[0]

    @property
    def keeper(self) -> str:
        """Anybody."""
        return self.chain.accounts[3]

    def set_rate(self, rate_wad: int) -> None:
        """Whole asset per whole share, WAD."""
        self.vault.set_unit_rate(unit_rate(self.asset, self.vault, rate_wad), sender=self.owner)

    def checkpoint(self) -> Receipt:
        """By anybody."""
        receipt: Receipt = self.feed.checkpoint(sender=self.keeper)
        return receipt

    def answer(self) -> int:
        """Of the newest round."""
        return int(self.feed.latestRoundData()[1])


def unit_rate(asset: Any, vault: Any, rate_wad: int) -> int:
    """The same per unit, as a rogue vault wants it."""
    return rate_wad * 10 ** int(asset.decimals()) // 10 ** int(vault.decimals())


def build_stand(
    chain: Chain,
    *,
    asset_decimals: int = 18,
    share_decimals: int = 18,
    rate_wad: int = WAD,
    growth_wad: int = GROWTH_WAD,
) -> Stand:
    """An asset of 2,000 dollars in a vault, and the feed of the vault's shares."""
    owner = chain.accounts[0]
    asset = chain.deploy("MockToken", "Asset", "AST", asset_decimals, sender=owner)
    unit_wad = rate_wad * 10**asset_decimals // 10**share_decimals
    vault = chain.deploy("RogueVault", asset, share_decimals, unit_wad, sender=owner)
    asset_feed = chain.deploy("MockFeed", 8, "Asset / USD", sender=owner)
    asset_feed.set_answer(ANSWER, sender=owner)
    feed = chain.deploy("VaultFeed", vault, asset_feed, growth_wad, False, sender=owner)
    return Stand(chain, asset, vault, asset_feed, feed)
