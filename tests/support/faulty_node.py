"""A node behind a proxy that fails as networks do, by method and on order.

`proxy.faults["eth_sendRawTransaction"] = cut_after` lets every such request reach the node and
closes the connection instead of answering; a fault is a function of the request, the way to the
node and the number of such requests so far, and None is no fault.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from eth_utils import keccak

Answer = dict[str, Any] | None  # None: the connection is closed without one
Forward = Callable[[dict[str, Any]], dict[str, Any]]
Fault = Callable[[dict[str, Any], Forward, int], Answer]


def cut_before(request: dict[str, Any], forward: Forward, number: int) -> Answer:
    """The node never sees it, the caller never gets an answer."""
    return None


def cut_after(request: dict[str, Any], forward: Forward, number: int) -> Answer:
    """The node acts on it, the caller never gets an answer."""
    forward(request)
    return None


def swallow(request: dict[str, Any], forward: Forward, number: int) -> Answer:
    """A transaction is answered with its hash and goes nowhere."""
    raw = bytes.fromhex(request["params"][0][2:])
    return {"jsonrpc": "2.0", "id": request["id"], "result": "0x" + keccak(raw).hex()}


def refuse(code: int, message: str) -> Fault:
    """The node's own error."""

    def fault(request: dict[str, Any], forward: Forward, number: int) -> Answer:
        error = {"code": code, "message": message}
        return {"jsonrpc": "2.0", "id": request["id"], "error": error}

    return fault


def answer(result: Any) -> Fault:
    """Always the same result."""

    def fault(request: dict[str, Any], forward: Forward, number: int) -> Answer:
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    return fault


def first(count: int, fault: Fault) -> Fault:
    """Only the first so many."""

    def until(request: dict[str, Any], forward: Forward, number: int) -> Answer:
        return fault(request, forward, number) if number <= count else forward(request)

    return until


class FaultyNode:
    """`with FaultyNode(node.url) as proxy: Endpoints([proxy.url])`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.faults: dict[str, Fault] = {}
        self.seen: Counter[str] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # a reply is one packet, or every one waits for an acknowledgement
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = proxy._reply(body)
                if reply is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                payload = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _reply(self, body: Any) -> Any:
        if isinstance(body, list):
            replies = [self._one(request) for request in body]
            return None if None in replies else replies
        return self._one(body)

    def _one(self, request: dict[str, Any]) -> Answer:
        method = request["method"]
        self.seen[method] += 1
        fault = self.faults.get(method)
        if fault is None:
            return self._forward(request)
        return fault(request, self._forward, self.seen[method])

    def _forward(self, request: dict[str, Any]) -> dict[str, Any]:
        message = urllib.request.Request(
            self.target, json.dumps(request).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(message, timeout=30) as response:
            reply: dict[str, Any] = json.loads(response.read())
        return reply

    def __enter__(self) -> FaultyNode:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
