"""A risk oracle with feeds that tests can steer, and the exact model kept in step with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ballast.chain import Contract, Receipt, RevmChain
from ballast.model.oracle import FeedModel, OracleModel, Parameters, Price, RawRound, Risk

ZERO = "0x" + "00" * 20
WAD = 10**18
ETH = 2_000 * 10**8  # answers have eight decimals
DOLLAR = 10**8

HEARTBEAT_S = 3_600
QUOTE_HEARTBEAT_S = 86_400
BAND_LOG2 = (60, 80)  # 1.15 to 1.2 million dollars
PRIOR_E6 = 800_000
START = Parameters(3_000, 1_500, 8_000, 1_500, 800, 4_000, 250, 200, 600, 10**15)


class OracleBench:
    """Oracle, clearing house stand-in, quote feed and `count` assets with ids 1, 2, ...

    Deployments happen at the chain's present time; the listing is `2 * HEARTBEAT_S` later than a
    multiple of 1,800 s only by chance, so tests move to a grid point where that matters.
    """

    def __init__(
        self, chain: RevmChain, count: int = 1, has_quote: bool = True, decimals: int = 8
    ) -> None:
        self.chain = chain
        self.owner, self.attacker, self.keeper = chain.accounts[:3]
        self.clearinghouse = self.deploy("CallStateStub")
        self.quote: Contract | None = None
        quote_model: FeedModel | None = None
        if has_quote:
            self.quote = self.deploy("MockFeed", 8, "USD Coin / USD")
            quote_model = FeedModel(8, QUOTE_HEARTBEAT_S, 58, 61)
            self.publish(self.quote, quote_model, DOLLAR)
        self.oracle = self.deploy(
            "RiskOracle",
            self.clearinghouse.address,
            self.quote.address if self.quote else ZERO,
            QUOTE_HEARTBEAT_S,
            ZERO,
        )
        self.model = OracleModel(quote_model, chain.time)
        self.feeds: dict[int, Contract] = {}
        for asset in range(1, count + 1):
            self.list_asset(asset, self.deploy("MockFeed", decimals, "Ether / USD"), decimals)

    # ---- set-up

    def deploy(self, name: str, *args: Any) -> Contract:
        """Deploy as the owner."""
        return self.chain.deploy(name, *args, sender=self.owner)

    def list_asset(self, asset: int, feed: Contract, decimals: int = 8) -> None:
        """List an asset at 2,000 dollars on a MockFeed."""
        model = FeedModel(decimals, HEARTBEAT_S, *BAND_LOG2)
        self.publish(feed, model, 2_000 * 10**decimals)
        self.oracle.list_asset(
            asset,
            feed.address,
            HEARTBEAT_S,
            *BAND_LOG2,
            2_000 * WAD,
            PRIOR_E6,
            START.values,
            sender=self.owner,
        )
        self.model.list_asset(asset, model, PRIOR_E6, START, self.now)
        self.feeds[asset] = feed

    # ---- steering

    @property
    def now(self) -> int:
        """Timestamp of the present block."""
        return self.chain.time

    def advance(self, seconds: int) -> None:
        """A new block, `seconds` later."""
        self.chain.advance(seconds)

    def to_grid(self, offset_s: int = 0, step_s: int = 1_800) -> None:
        """A new block `offset_s` past the next multiple of `step_s`."""
        self.chain.set_time((self.now // step_s + 1) * step_s + offset_s)

    def publish(self, feed: Contract, model: FeedModel, answer: int) -> None:
        """A new round, now."""
        round_id = model.newest.id + 1 if model.newest else 1
        feed.set_answer(answer, sender=self.owner)
        model.publish(RawRound(round_id, answer, self.now))

    def set_price(self, answer: int, asset: int = 1) -> None:
        """A new round of an asset's feed, now."""
        self.publish(self.feeds[asset], self.model.assets[asset].feed, answer)

    def set_quote(self, answer: int) -> None:
        """A new round of the quote token's feed, now."""
        assert self.quote is not None and self.model.quote is not None
        self.publish(self.quote, self.model.quote, answer)

    def set_raw(
        self, feed: Contract, model: FeedModel, answer: int, updated_at: int, id_step: int, lag: int
    ) -> None:
        """A newest round that may be anything."""
        round_id = (model.newest.id if model.newest else 0) + id_step
        feed.set_raw(round_id, answer, updated_at, round_id - lag, sender=self.owner)
        model.publish(RawRound(round_id, answer, updated_at, round_id - lag))

    def poke(self, *assets: int) -> Receipt:
        """Poke, all assets if none is named, contract and model alike."""
        ids = list(assets or self.feeds)
        receipt = self.oracle.poke(ids, sender=self.keeper)
        self.model.poke(ids, self.now)
        return receipt

    def set_parameters(self, parameters: Parameters, asset: int = 1) -> None:
        """Change parameters, contract and model alike."""
        self.oracle.set_parameters(asset, parameters.values, sender=self.owner)
        self.model.set_parameters(asset, parameters, self.now)

    def set_pause(self, until: int, asset: int = 1) -> None:
        """Pause an asset, contract and model alike."""
        self.oracle.set_pause(asset, until, sender=self.owner)
        self.model.set_pause(asset, until)

    # ---- looking

    def price(self, asset: int = 1) -> Price:
        """Decoded price word."""
        return Price.from_word(self.oracle.marks([asset])[0])

    def risk(self, asset: int = 1) -> Risk:
        """Decoded risk word."""
        return Risk.from_word(self.oracle.marks([asset])[1])

    def words(self, receipt: Receipt, asset: int = 1) -> dict[str, int]:
        """The words of the last Poked event of an asset in a receipt."""
        events = [e.args for e in self.oracle.events(receipt, "Poked") if e.args.asset == asset]
        return {k: v for k, v in events[-1]._asdict().items() if k != "asset"}

    def model_words(self, asset: int = 1) -> dict[str, int]:
        """What the model says those words are."""
        entry = self.model.assets[asset]
        return {
            "last_word": entry.last_word,
            "ewma_word": entry.volatility.ewma_word,
            "range_word": entry.volatility.ranges.word,
            "limits_word": entry.limits.word,
            "risk_word": entry.risk.word,
        }


def figures(price: Price) -> Price:
    """A price without its time."""
    return replace(price, made_at=0)
