"""The node that stands in for mainnet, and the one that forks it or the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ballast.chain import BLOCK_INTERVAL_S, Anvil, ChainError, Rpc, RpcChain
from ballast.forks.addresses import Addresses
from ballast.forks.upstream import CHAIN_ID, build_upstream


class ForkError(ValueError):
    """A chain cannot be forked as asked; the message says why."""


@contextmanager
def upstream_node(port: int | None = None) -> Iterator[tuple[str, Addresses]]:
    """A node with everything that Ballast stands on: its URL, and where things are on it."""
    with Anvil(port=port, chain_id=CHAIN_ID) as node:
        chain = RpcChain(node.url, block_interval_s=BLOCK_INTERVAL_S)
        addresses = build_upstream(chain)
        chain.close()
        yield node.url, addresses


@contextmanager
def forked(url: str, addresses: Addresses, *, block: int | None = None) -> Iterator[RpcChain]:
    """A chain that goes on where that of the node at ``url`` stands, or stood at ``block``.

    Raises ForkError when the node cannot be reached or is not of the chain of ``addresses``.
    """
    rpc = Rpc(url)
    try:
        chain_id = int(rpc.request("eth_chainId"), 16)
    except ChainError as error:
        raise ForkError(f"no chain to fork: {error}") from error
    finally:
        rpc.close()
    if chain_id != addresses.chain_id:
        raise ForkError(
            f"{url} is chain {chain_id}, the addresses are of chain {addresses.chain_id}: "
            "name an addresses file of that chain"
        )
    with Anvil(chain_id=chain_id, fork_url=url, fork_block=block) as node:
        chain = RpcChain(node.url, block_interval_s=BLOCK_INTERVAL_S)
        missing = [
            f"{name} ({address})"
            for name, address in {
                "router": addresses.router,
                **addresses.tokens,
                **{f"feed of {name}": a for name, a in addresses.feeds.items()},
            }.items()
            if not chain.code_size(address)
        ]
        if missing:
            raise ForkError(f"no contract at the address of {', '.join(missing)}")
        yield chain
        chain.close()
