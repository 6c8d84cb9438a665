"""A chain with everything on it: tokens, feeds, Uniswap, Ballast, lenders and an arbitrageur."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ballast.chain import BLOCK_INTERVAL_S, Anvil, Contract, Receipt, RpcChain
from ballast.deploy import WAD, Market, System, deploy, load_parameters
from ballast.prices import ANSWER_DECIMALS, ANSWER_SCALE, Round
from ballast.venue import Arbitrageur, Venue, deploy_venue, deploy_weth, fund

# Set-up ends and the chain stands at its start time this long after the node was started.
SETUP_S = 1_800
QUOTE_DECIMALS = 6
_QUOTE_HEARTBEAT_S = 12 * 3_600
DECIMALS = {"ETH": 18, "BTC": 8}
_NODE_GAS_LIMIT = 10_000_000_000  # both cohorts open in one block
_MAX_UINT = 2**256 - 1


class ReplayError(ValueError):
    """A replay that cannot be played. The message says what to do next."""


def start_node(start_s: int) -> Anvil:
    """A node, not started yet, whose set-up time ends at ``start_s`` (unix seconds).

    Transactions of a block stand in the order in which they were sent.
    """
    return Anvil(
        timestamp=start_s - SETUP_S,
        gas_limit=_NODE_GAS_LIMIT,
        extra=("--order", "fifo"),
    )


@dataclass
class World:
    """The deployed world and who acts in it. Every block lasts twelve seconds."""

    chain: RpcChain
    system: System
    quote: Contract
    quote_feed: Contract
    tokens: Mapping[str, Contract]
    feeds: Mapping[str, Contract]
    venue: Venue
    adapter: Contract
    arbitrageur: Arbitrageur
    lender: str
    provider: str  # of liquidity to the house
    keeper: str
    liquidator: str
    publisher: str
    market: str  # where borrowed money is spent
    answers: dict[str, int]  # newest answer of each feed, 8 decimals
    is_listening: bool = False
    _quote_at: int = field(default=0)

    def decimals(self, asset: str) -> int:
        """Decimals of an asset's token, or of the ``quote`` token."""
        return QUOTE_DECIMALS if asset == "quote" else DECIMALS[asset]

    def publish(self, rounds: Sequence[Round], time_s: int) -> list[Receipt]:
        """Send ``rounds`` to their feeds and let the arbitrageur bring the pools to them.

        To be called inside the block of ``time_s`` (unix seconds). Returns the updates of the
        feeds. Where a feed tells a listener the pools are brought to the price before it is
        published, as they are where people trade; else a hook would sell at a price that is gone.
        """
        if time_s - self._quote_at >= _QUOTE_HEARTBEAT_S:
            self._quote_at = time_s
            self.quote_feed.set_answer(ANSWER_SCALE, sender=self.publisher)
        newest = {r.asset: r.answer for r in rounds}
        if self.is_listening:
            for asset in sorted(newest):
                self.arbitrageur.align(asset, newest[asset])
        updates = [self.feeds[r.asset].set_answer(r.answer, sender=self.publisher) for r in rounds]
        self.answers.update(newest)
        if not self.is_listening:
            for asset in sorted(newest):
                self.arbitrageur.align(asset, newest[asset])
        return updates

    def listen(self) -> None:
        """From now on every round is told to the keepers' entry in its own transaction."""
        self.is_listening = True
        for feed in self.feeds.values():
            feed.set_listener(self.system.keepers, sender=self.system.governor)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undoes on leaving what was published and mined inside."""
        mark, answers, quote_at = self.chain.snapshot(), dict(self.answers), self._quote_at
        try:
            yield
        finally:
            self.chain.revert(mark)
            self.answers, self._quote_at = answers, quote_at

    def provide(self, amount: int) -> int:
        """Let the provider ask for shares of the house for ``amount`` whole quote tokens.

        Returns the epoch of the request, which can be fulfilled an hour after it ended.
        """
        units, vault = amount * 10**QUOTE_DECIMALS, self.system.liquidity_vault
        fund(self.quote, self.provider, units)
        self.quote.approve(vault, _MAX_UINT, sender=self.provider)
        receipt = vault.requestDeposit(units, self.provider, self.provider, sender=self.provider)
        (event,) = vault.events(receipt, "DepositRequest")
        return int(event.args.requestId)

    def lend(self, amount: int) -> Receipt:
        """Let the lender put ``amount`` whole quote tokens into the vault."""
        units = amount * 10**QUOTE_DECIMALS
        fund(self.quote, self.lender, units)
        self.quote.approve(self.system.vault, _MAX_UINT, sender=self.lender)
        receipt: Receipt = self.system.vault.deposit(units, self.lender, sender=self.lender)
        return receipt


def build_world(node: Anvil, start_s: int, opening: Mapping[str, int]) -> World:
    """Deploy everything on a started node at the ``opening`` answers (dollars, 8 decimals).

    The next block after it is that of ``start_s``. Raises ReplayError for an asset that has no
    token here.
    """
    unknown = sorted(set(opening) - set(DECIMALS))
    if unknown:
        raise ReplayError(
            f"{unknown[0]} has no token and no pool here: pass prices of "
            f"{' and '.join(DECIMALS)} only"
        )
    chain = RpcChain(node.url, block_interval_s=BLOCK_INTERVAL_S)
    governor, lender, keeper, trader, publisher, market, provider, liquidator = chain.accounts[:8]
    quote = chain.deploy("MockToken", "Dollar", "USD", QUOTE_DECIMALS, sender=governor)
    weth = deploy_weth(chain, governor)
    tokens = {
        asset: weth
        if asset == "ETH"
        else chain.deploy("MockToken", f"Wrapped {asset}", f"W{asset}", decimals, sender=governor)
        for asset, decimals in DECIMALS.items()
        if asset in opening
    }
    venue = deploy_venue(chain, weth, quote, tokens, opening, sender=governor)
    names = [*opening, "USD"]
    feeds = {
        name: chain.deploy("MockFeed", ANSWER_DECIMALS, f"{name} / USD", sender=governor)
        for name in names
    }
    with chain.one_block():
        for name in names:
            feeds[name].set_answer(opening.get(name, ANSWER_SCALE), sender=publisher)
    quote_feed = feeds.pop("USD")
    system = deploy(
        chain,
        load_parameters(),
        governor=governor,
        quote=quote,
        quote_feed=quote_feed,
        markets={
            asset: Market(tokens[asset], feeds[asset], answer * WAD // ANSWER_SCALE)
            for asset, answer in opening.items()
        },
    )
    adapter = chain.deploy(
        "UniswapV3Adapter",
        system.exchange,
        venue.factory.address,
        governor,
        sender=governor,
    )
    for asset, token in tokens.items():
        adapter.set_fee_tier(token, quote, venue.pools[asset].fee_ppm, sender=governor)
    system.allow_adapter(adapter)
    world = World(
        chain=chain,
        system=system,
        quote=quote,
        quote_feed=quote_feed,
        tokens=tokens,
        feeds=feeds,
        venue=venue,
        adapter=adapter,
        arbitrageur=Arbitrageur(venue, trader),
        lender=lender,
        provider=provider,
        keeper=keeper,
        liquidator=liquidator,
        publisher=publisher,
        market=market,
        answers=dict(opening),
    )
    chain.set_time(start_s - BLOCK_INTERVAL_S)
    return world
