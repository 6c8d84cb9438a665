"""The keeper: has accounts rebalanced and liquidated, for pay, and survives what chains do.

    keeper = Keeper(rpc, rooms, store, KeySigner.of(account), Terms(min_profit_wad=WAD // 10))
    keeper.run(is_stopped)

:mod:`~ballast.keeper.decisions` says what to do and :mod:`~ballast.keeper.fees` at what price, both
without I/O. :mod:`~ballast.keeper.index` finds accounts, :mod:`~ballast.keeper.survey` reads and
simulates them at one block, :mod:`~ballast.keeper.sender` sends and finds out,
:mod:`~ballast.keeper.store` remembers. :mod:`~ballast.keeper.lease` keeps a second keeper off the
same key. `docs/keepers.md` is for operators.
"""

from __future__ import annotations

from ballast.keeper.decisions import Action, Decision, Terms
from ballast.keeper.endpoints import Endpoints, Unreachable, WrongChain
from ballast.keeper.keeper import NOBODY, Habits, Keeper
from ballast.keeper.lease import Held, Lease, lease_path
from ballast.keeper.rooms import Rooms
from ballast.keeper.sender import Key, Rules
from ballast.keeper.store import Fenced, Store, StoreError

__all__ = [
    "NOBODY",
    "Action",
    "Decision",
    "Endpoints",
    "Fenced",
    "Habits",
    "Held",
    "Keeper",
    "Key",
    "Lease",
    "Rooms",
    "Rules",
    "Store",
    "StoreError",
    "Terms",
    "Unreachable",
    "WrongChain",
    "lease_path",
]
