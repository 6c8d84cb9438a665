"""A node of one's own that stands in for a network: its chain id, and feeds where it has them.

    with start(parameters) as node:          # parameters of a network's file
        keep_publishing(node, parameters)

The addresses that the file names as feeds get a `MockFeed`, so the same file, the same commands and
the same addresses serve for a rehearsal. Tokens or an exchange that a file names are not made up
here: that is what forks are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ballast.chain import DEV_ACCOUNTS, Anvil, ChainError, RpcChain

ANSWER_DECIMALS = 8
PRICES_USD = {"quote": 1, "ETH": 2_000, "BTC": 30_000}  # where a file states none
PUBLISHER = DEV_ACCOUNTS[-1]


def start(
    parameters: Mapping[str, Any], *, port: int | None = None, block_time_s: float | None = None
) -> Anvil:
    """Starts the node and publishes a first round of every feed that the file names.

    Blocks come every `block_time_s` seconds, else one with each transaction. Raises ChainError for
    a file whose tokens or exchange are real.
    """
    network = parameters["network"]
    real = [name for name, token in network["tokens"].items() if "mock" not in token]
    if real or "mock" not in network.get("uniswap", {"mock": True}):
        what = f"network.tokens.{real[0]}" if real else "network.uniswap"
        raise ChainError(f"{what} is a real one, which a stand-in does not have: use a fork")
    node = Anvil(port=port, chain_id=network["chain_id"], timestamp=None, block_time_s=block_time_s)
    node.start()
    try:
        for name in network["feeds"]:
            publish(node, parameters, name)
    except BaseException:
        node.stop()
        raise
    return node


def publish(
    node: Anvil, parameters: Mapping[str, Any], name: str, price_usd: Decimal | int | None = None
) -> int:
    """A new round of one feed, at its present price unless told; returns the answer, 8 decimals.

    Does nothing for a feed that is deployed as a mock anyway, for its address is not known here.
    """
    terms = parameters["network"]["feeds"][name]
    if "mock" in terms:
        return 0
    chain = RpcChain(node.url, block_interval_s=None)
    try:
        feed = chain.at(terms["address"], "MockFeed")
        if not chain.code(feed.address):
            made = chain.deploy("MockFeed", ANSWER_DECIMALS, f"{name} / USD", sender=PUBLISHER)
            chain.set_code(feed.address, chain.code(made.address))
            price_usd = price_usd or terms.get("price_usd") or PRICES_USD.get(name, 1)
        if price_usd is None:
            answer = int(feed.latestRoundData()[1])
        else:
            answer = int(Decimal(price_usd) * 10**ANSWER_DECIMALS)
        feed.set_answer(answer, sender=PUBLISHER)
        return answer
    finally:
        chain.close()
