"""A real Uniswap V3 in place of the mock venue: pools, the adapter, and who moves their prices."""

from __future__ import annotations

from typing import Any

from ballast.chain import Contract
from ballast.chain.abi import checksum
from ballast.prices import ANSWER_SCALE
from ballast.sandbox import World
from ballast.venue import FEE_PPM, Arbitrageur, Pool, deploy_venue, deploy_weth

ARBITRAGEUR = checksum("0x" + "c3" * 20)
DEPTH = 4_000_000  # dollars on either side of a pool: 20,000 move it by 100 bp
MANY = 2**100
NEVER = 2**64


class Pools:
    """One pool of each asset against the quote token, deployed beside a world."""

    def __init__(self, world: World, prices: dict[str, int]) -> None:
        governor, quote = world.governor, world.quote
        tokens = {name: world.tokens[name] for name in prices}
        answers = {name: price * ANSWER_SCALE for name, price in prices.items()}
        self.venue = deploy_venue(
            world.chain,
            deploy_weth(world.chain, governor),
            quote,
            tokens,
            answers,
            sender=governor,
            depth=DEPTH,
        )
        self.adapter = world.chain.deploy(
            "UniswapV3Adapter", world.system.exchange, self.venue.factory, governor, sender=governor
        )
        for token in tokens.values():
            self.adapter.set_fee_tier(token, quote, FEE_PPM, sender=governor)
        world.system.allow_adapter(self.adapter)
        Arbitrageur(self.venue, ARBITRAGEUR)

    @property
    def contracts(self) -> dict[str, Contract]:
        """Everything here that may hold tokens, but for the adapter, which may not."""
        pools = {f"pool {name}": pool.contract for name, pool in self.venue.pools.items()}
        return {**pools, "SwapRouter": self.venue.router}

    def aligning_order(self, name: str, price_wad: int) -> tuple[Any, ...] | None:
        """What brings a pool to a price: a swap of more than it takes, that stops there.

        None where it is there already.
        """
        pool: Pool = self.venue.pools[name]
        target = pool.sqrt_price_x96(max(price_wad * ANSWER_SCALE // 10**18, 1))
        present = pool.present_x96()
        if present == target:
            return None
        low, high = sorted((pool.token, pool.quote), key=lambda token: int(token.address, 16))
        sold, bought = (low, high) if target < present else (high, low)
        return (sold.address, bought.address, FEE_PPM, ARBITRAGEUR, NEVER, MANY, 0, target)
