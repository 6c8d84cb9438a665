"""A keeper in a process of its own, to be killed.

    python tests/support/keeper_process.py '{"url": ..., "addresses": {...}, "database": ..., ...}'

Prints `leased` once it has its key for itself, `round N` after each round, and with `fault` in its
orders kills itself (SIGKILL) when that point is passed for the `at`-th time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from eth_account import Account

from ballast.chain import KeySigner
from ballast.keeper import Endpoints, Held, Keeper, Lease, Rooms, Store, Terms, lease_path


def main(orders: dict[str, Any]) -> None:
    """Follows the orders until it is killed or told to stop by an empty line."""
    key = KeySigner.of(Account.from_key(orders["key"]))
    rpc = Endpoints([orders["url"]], orders["chain_id"])
    lease = lease_path(orders["chain_id"], key.address, Path(orders["folder"]))
    while True:
        try:
            held = Lease(lease)
            break
        except Held:
            print("standing by", flush=True)
            time.sleep(0.05)
    print("leased", flush=True)
    rooms = Rooms.at(rpc, orders["addresses"])
    store = Store(
        orders["database"], chain_id=orders["chain_id"], system=rooms.clearinghouse.address
    )
    left = orders.get("at", 1)

    def fault(point: str) -> None:
        nonlocal left
        if point == orders.get("fault"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    keeper = Keeper(rpc, rooms, store, key, Terms(), fault=fault)
    number = 0
    while True:
        keeper.step()
        number += 1
        print(f"round {number}", flush=True)
        time.sleep(orders.get("pause_s", 0.02))
    held.release()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
