"""Ballast on a chain that has real tokens, feeds and pools, and how prices are moved there.

`set_stage` needs no more than the network's parameter file. It deploys through `ballast.deploy`,
with an adapter on the router and the proxies as feeds. Prices move as they do in earnest: oracles
submit a round to the aggregator, and an arbitrageur brings the pool to it. Where the aggregator is
a FluxAggregator its own oracles are played. Where it is another, as on mainnet, whose reports are
signed off chain, the owner of the proxy is played and puts a FluxAggregator of ours behind it
(`replace_aggregator`): the proxy stays, and the feed begins a new phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ballast.artifacts import Artifact
from ballast.chain import Chain, Contract, named_address
from ballast.deploy import WAD, Market, System, deploy
from ballast.forks.chainlink import Feed, deploy_link, feed_at, replace_aggregator
from ballast.parameters import QUOTE
from ballast.prices import ANSWER_SCALE
from ballast.venue import Arbitrageur, Venue, erc20_artifact, fund, venue_at, weth_artifact

MAX_UINT = 2**256 - 1


@dataclass(frozen=True)
class Stage:
    """The system and what surrounds it. Answers are dollars with 8 decimals."""

    chain: Chain
    system: System
    tokens: Mapping[str, Contract]  # the quote token under QUOTE
    feeds: Mapping[str, Feed]
    venue: Venue
    adapter: Contract
    arbitrageur: Arbitrageur
    keeper: str

    @property
    def quote(self) -> Contract:
        """The quote token."""
        return self.tokens[QUOTE]

    @property
    def symbol(self) -> str:
        """That of the quote token."""
        return str(self.quote.symbol())

    @property
    def assets(self) -> list[str]:
        """Names of the collaterals."""
        return list(self.system.assets)

    def asset(self, name: str) -> int:
        """Asset id of a collateral; 0 for the quote token."""
        return 0 if name == QUOTE else self.system.assets[name]

    def unit_wad(self, name: str) -> int:
        """WAD of one token unit."""
        return int(WAD // 10 ** self.tokens[name].decimals())

    def price_wad(self, name: str) -> int:
        """What the oracle says a collateral costs, quote tokens."""
        return int(self.system.oracle.price_wad(self.asset(name)))

    def units(self, name: str, wad: int) -> int:
        """Token units of so many WAD, down."""
        return wad // self.unit_wad(name)

    def give(self, who: str, name: str, wad: int, spender: Any) -> int:
        """Let ``who`` have ``wad`` of a token, and ``spender`` take them. Returns token units."""
        units = self.units(name, wad)
        fund(self.tokens[name], who, units)
        self.tokens[name].approve(spender, MAX_UINT, sender=who)
        return units

    def publish(self, answers: Mapping[str, int]) -> None:
        """A round of each feed named; pools follow, then volatility and the house's headroom."""
        for name, answer in answers.items():
            self.feeds[name].publish(answer)
        quote_answer = self.feeds[QUOTE].answer
        for name, answer in answers.items():
            if name != QUOTE:
                self.arbitrageur.align(name, answer * ANSWER_SCALE // quote_answer)
        self.system.poke(self.keeper)
        self.system.perps.refresh(sender=self.keeper)

    def refresh(self) -> None:
        """A round of every feed at the price it has."""
        self.publish({name: feed.answer for name, feed in self.feeds.items()})


def set_stage(
    chain: Chain,
    parameters: Mapping[str, Any],
    *,
    is_replacing: bool = False,
    token: Artifact | str | None = None,
) -> Stage:
    """Deploy Ballast against the contracts of a network and bring feeds and pools up to date.

    ``parameters`` are those of a network's file. Aggregators of unknown oracles are replaced, all
    of them with ``is_replacing``. ``token`` says what the tokens are, for nodes that can only mint;
    by default they are any ERC-20. Raises VenueError where a pool is missing, Reverted with the
    contract's reason for a feed that Ballast refuses.
    """
    governor, keeper = named_address("governor"), named_address("keeper")
    network = parameters["network"]
    tokens = {
        name: chain.at(
            entry["address"], weth_artifact() if name == "ETH" else token or erc20_artifact()
        )
        for name, entry in network["tokens"].items()
    }
    feeds = {name: feed_at(chain, entry["address"]) for name, entry in network["feeds"].items()}
    foreign = [name for name, feed in feeds.items() if is_replacing or not feed.oracles]
    if foreign:
        link = deploy_link(chain, governor)
        for name in foreign:
            replace_aggregator(feeds[name], link, name, sender=governor)
    for feed in feeds.values():
        feed.publish(feed.answer)
    quote, quote_feed = tokens[QUOTE], feeds[QUOTE]
    assets = {name: tokens[name] for name in parameters["assets"]}
    fee_ppm = network["uniswap"]["fee_ppm"]
    venue = venue_at(chain, network["uniswap"]["router"], quote, assets, fee_ppm)
    arbitrageur = Arbitrageur(venue, named_address("arbitrageur"))
    system = deploy(
        chain,
        parameters,
        governor=governor,
        quote=quote,
        quote_feed=quote_feed.proxy,
        markets={
            name: Market(contract, feeds[name].proxy, feeds[name].answer * WAD // quote_feed.answer)
            for name, contract in assets.items()
        },
    )
    adapter = chain.deploy(
        "UniswapV3Adapter", system.exchange, venue.factory, governor, sender=governor
    )
    for contract in assets.values():
        adapter.set_fee_tier(contract, quote, fee_ppm, sender=governor)
    system.allow_adapter(adapter)
    stage = Stage(chain, system, tokens, feeds, venue, adapter, arbitrageur, keeper)
    stage.refresh()
    return stage
