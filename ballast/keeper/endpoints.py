"""One node behind several addresses: reads are repeated elsewhere, what is sent is not.

:class:`Endpoints` looks like a :class:`ballast.chain.Rpc`. A read that fails for want of a node is
repeated at the next address; a node's own answer, an error included, is final. A transaction goes
to one node once: whether it arrived is found out by its hash, never by sending something else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from ballast.chain import ChainError, Rpc, RpcError

# Answers by which a node says that it is overloaded or not ready: another one may do.
_BUSY_CODES = (429, -32005, -32097)
_TRIES = 3  # of a read, over all endpoints
_WRITES = ("eth_sendRawTransaction",)


class Unreachable(ChainError):
    """No endpoint answered."""


class WrongChain(ChainError):
    """An endpoint serves another chain."""


class Endpoints:
    """Requests to the first of ``urls`` that answers and serves ``chain_id``; it stays with one as
    long as that one does. Not shared between threads."""

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int | None = None,
        *,
        timeout_s: float = 20.0,
        open_rpc: Callable[[str, float], Rpc] = Rpc,
    ) -> None:
        if not urls:
            raise ChainError("no endpoint given")
        self._rpcs = [open_rpc(url, timeout_s) for url in urls]
        self._checked = [False] * len(urls)
        self._chain_id = chain_id
        self._at = 0
        self.failures = 0  # requests that found no node, since the beginning

    @property
    def url(self) -> str:
        """The endpoint in use."""
        return self._rpcs[self._at].url

    @property
    def chain_id(self) -> int:
        """What the endpoints serve."""
        if self._chain_id is None:
            self._chain_id = int(self.request("eth_chainId"), 16)
        return self._chain_id

    def request(self, method: str, *params: Any) -> Any:
        """One request. Raises RpcError when the node refuses, Unreachable when there is none."""
        return self._anywhere(lambda rpc: rpc.request(method, *params), method in _WRITES)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Many reads in one message: for each its result, or an RpcError as a value."""
        return list(self._anywhere(lambda rpc: rpc.batch(calls), False)) if calls else []

    def switch(self) -> None:
        """Goes on with the next endpoint, where there is one."""
        self._at = (self._at + 1) % len(self._rpcs)

    def close(self) -> None:
        """Closes all connections."""
        for rpc in self._rpcs:
            rpc.close()

    def _anywhere(self, ask: Callable[[Rpc], Any], is_write: bool) -> Any:
        problem: Exception | None = None
        for _ in range(1 if is_write else max(_TRIES, len(self._rpcs))):
            rpc = self._rpcs[self._at]
            try:
                self._check(rpc)
                return ask(rpc)
            except RpcError as error:
                if is_write or error.code not in _BUSY_CODES or len(self._rpcs) == 1:
                    raise
                problem = error
            except WrongChain:
                raise
            except (ChainError, KeyError, TypeError, AttributeError) as error:
                # Away, or an answer that is none (half a page of a gateway, say).
                self._checked[self._at] = False
                self.failures += 1
                problem = error
            self.switch()
        raise Unreachable(f"no endpoint answers: {problem}") from problem

    def _check(self, rpc: Rpc) -> None:
        """A node that comes back may be another one."""
        if self._checked[self._at]:
            return
        served = int(rpc.request("eth_chainId"), 16)
        if self._chain_id is None:
            self._chain_id = served
        elif served != self._chain_id:
            raise WrongChain(f"{rpc.url} serves chain {served}, not {self._chain_id}")
        self._checked[self._at] = True


def backoff_s(failures: int, most_s: float = 30.0) -> float:
    """How long to wait after so many failures in a row: doubling, half of it by chance."""
    longest = min(most_s, 0.5 * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)
