"""The node that stands in for mainnet, and the one that forks it or the real one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ballast.chain import BLOCK_INTERVAL_S, Anvil, ChainError, Rpc, RpcChain
from ballast.forks.upstream import build_upstream, fork_parameters


class ForkError(ValueError):
    """A chain cannot be forked as asked; the message says why."""


@contextmanager
def upstream_node(port: int | None = None) -> Iterator[tuple[str, str]]:
    """A node with everything that Ballast stands on: its URL, and its parameter file's text."""
    chain_id = fork_parameters()["network"]["chain_id"]
    with Anvil(port=port, chain_id=chain_id) as node:
        chain = RpcChain(node.url, block_interval_s=BLOCK_INTERVAL_S)
        text = build_upstream(chain)
        chain.close()
        yield node.url, text


@contextmanager
def forked(
    url: str, parameters: Mapping[str, Any], *, block: int | None = None
) -> Iterator[RpcChain]:
    """A chain that goes on where that of the node at ``url`` stands, or stood at ``block``.

    Raises ForkError when the node cannot be reached or has not what the ``parameters`` name.
    """
    network = parameters["network"]
    rpc = Rpc(url)
    try:
        chain_id = int(rpc.request("eth_chainId"), 16)
    except ChainError as error:
        raise ForkError(f"no chain to fork: {error}") from error
    finally:
        rpc.close()
    if chain_id != network["chain_id"]:
        raise ForkError(
            f"{url} is chain {chain_id}, the parameters are of chain {network['chain_id']}: "
            "name that chain's file"
        )
    with Anvil(chain_id=chain_id, fork_url=url, fork_block=block) as node:
        chain = RpcChain(node.url, block_interval_s=BLOCK_INTERVAL_S)
        for name, address in _places(network).items():
            if not chain.code_size(address):
                raise ForkError(f"{name} is {address}, where there is no contract")
        yield chain
        chain.close()


def _places(network: Mapping[str, Any]) -> dict[str, str]:
    """Addresses by the names of their fields. Raises ForkError for a contract yet to be made."""
    places = {
        f"network.{kind}.{name}.address": entry.get("address", "")
        for kind in ("tokens", "feeds")
        for name, entry in network[kind].items()
    }
    venue = network.get("uniswap", {})
    places |= {f"network.uniswap.{name}": venue.get(name, "") for name in ("factory", "router")}
    missing = [name for name, address in places.items() if not address]
    if missing:
        raise ForkError(f"{missing[0]} is not given: a fork takes what is there")
    return places
