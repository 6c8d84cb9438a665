"""Real Chainlink feeds, from their published bytecode.

Oracles submit, an aggregator takes the median of a round, and a proxy stands before it.

A proxy's round id is ``phase << 64 | round of the aggregator``. Each aggregator that is put behind
the proxy begins a phase and counts its own rounds from 1, so what stands one below the first round
of a phase is no round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ballast.artifacts import Artifact, npm_artifact
from ballast.chain import Chain, Contract, Receipt, Reverted, named_address
from ballast.prices import ANSWER_DECIMALS

ORACLES = tuple(named_address(f"oracle {number}") for number in range(1, 4))
PHASE_SHIFT = 64
# Answers of the oracles differ by a ten-thousandth; the median is the one in the middle.
_SPREAD = 10_000
_PAYMENT = 10**17  # of LINK, for one submission
_FUNDS = 10**9 * 10**18  # all the LINK there is
_TIMEOUT_S = 3_600
_NOBODY = "0x" + "00" * 20
_LARGEST_ANSWER = 2**127

_PACKAGE = "@chainlink/contracts"


class FeedError(ValueError):
    """A feed cannot be used as asked; the message says why."""


@cache
def chainlink_artifact(name: str) -> Artifact:
    """Published artifact of ``FluxAggregator``, ``EACAggregatorProxy`` or ``LinkToken``.

    Raises ArtifactError when the files of the npm package are not there.
    """
    version = "v0.4" if name == "LinkToken" else "v0.6"
    return npm_artifact(_PACKAGE, f"abi/{version}/{name}.json")


def deploy_link(chain: Chain, sender: str) -> Contract:
    """The token that oracles are paid in; all of it belongs to ``sender``."""
    return chain.deploy(chainlink_artifact("LinkToken"), sender=sender)


def deploy_aggregator(link: Contract, name: str, *, sender: str) -> Contract:
    """An aggregator of dollars per ``name`` with 8 decimals whose oracles are :data:`ORACLES`.

    A round is made by the last of them, so that its answer never changes. ``sender`` owns it and
    gives it LINK enough for some hundred thousand submissions.
    """
    aggregator = link.chain.deploy(
        chainlink_artifact("FluxAggregator"),
        link,
        _PAYMENT,
        _TIMEOUT_S,
        _NOBODY,
        1,
        _LARGEST_ANSWER,
        ANSWER_DECIMALS,
        f"{name} / USD",
        sender=sender,
    )
    link.transfer(aggregator, _FUNDS // 10**5, sender=sender)
    aggregator.updateAvailableFunds(sender=sender)
    count = len(ORACLES)
    aggregator.changeOracles([], ORACLES, ORACLES, count, count, 0, sender=sender)
    return aggregator


@dataclass
class Feed:
    """A proxy and the aggregator that stands behind it now."""

    proxy: Contract
    aggregator: Contract
    oracles: Sequence[str]  # none if the aggregator is of another kind than FluxAggregator

    @property
    def chain(self) -> Chain:
        """Where it stands."""
        return self.proxy.chain

    @property
    def answer(self) -> int:
        """The newest answer, 8 decimals. Raises Reverted where there is none."""
        return int(self.proxy.latestRoundData()[1])

    @property
    def round_id(self) -> int:
        """Id of the newest round, phase and all. Raises Reverted where there is none."""
        return int(self.proxy.latestRoundData()[0])

    def publish(self, answer: int) -> Receipt:
        """A round of ``answer`` (8 decimals): every oracle submits. Returns the last submission.

        Raises FeedError when the oracles of this aggregator are not known.
        """
        if not self.oracles:
            raise FeedError(f"nobody known may submit to the aggregator of {self.proxy.address}")
        number = int(self.aggregator.latestRound()) + 1
        middle = len(self.oracles) // 2
        for place, oracle in enumerate(self.oracles):
            submission = answer + (place - middle) * (answer // _SPREAD)
            receipt: Receipt = self.aggregator.submit(number, submission, sender=oracle)
        return receipt

    def upgrade(self, aggregator: Contract) -> None:
        """Put another aggregator behind the proxy, as the proxy's owner: a new phase begins."""
        owner = self.proxy.owner()
        self.proxy.proposeAggregator(aggregator, sender=owner)
        self.proxy.confirmAggregator(aggregator, sender=owner)
        self.aggregator, self.oracles = aggregator, ORACLES


def deploy_feed(link: Contract, name: str, *, sender: str) -> Feed:
    """An aggregator and its proxy, both of ``sender``, without a round yet."""
    aggregator = deploy_aggregator(link, name, sender=sender)
    proxy = link.chain.deploy(
        chainlink_artifact("EACAggregatorProxy"), aggregator, _NOBODY, sender=sender
    )
    return Feed(proxy, aggregator, ORACLES)


def feed_at(chain: Chain, proxy: str) -> Feed:
    """A feed that is there already; its oracles are known where it is a FluxAggregator."""
    contract = chain.at(proxy, chainlink_artifact("EACAggregatorProxy"))
    aggregator = chain.at(contract.aggregator(), chainlink_artifact("FluxAggregator"))
    try:
        oracles = tuple(aggregator.getOracles())
    except Reverted:
        oracles = ()
    return Feed(contract, aggregator, oracles)


def replace_aggregator(feed: Feed, link: Contract, name: str, *, sender: str) -> None:
    """Put an aggregator whose oracles are ours behind a proxy of others, at the same price.

    The owner of the proxy is played by whoever controls the chain. The new aggregator has its first
    round before it stands behind the proxy, so no caller ever sees a feed without data.
    """
    answer = feed.answer
    new = Feed(feed.proxy, deploy_aggregator(link, name, sender=sender), ORACLES)
    new.publish(answer)
    feed.upgrade(new.aggregator)
