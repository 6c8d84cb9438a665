"""A real market played against real contracts on a local chain.

    recording = replay(load(), accounts=12)     # ballast.prices.load
    write(recording, Path("out/demo"))          # ballast.report.write

:func:`replay` starts a node, deploys Uniswap and Ballast, opens two identical cohorts of accounts,
one with a hook and one without, publishes every price round to the feeds, keeps the pools at the
market, and lets a keeper do what anyone may. See :mod:`ballast.replay.player` for the order of
things inside a block and :mod:`ballast.replay.keeper` for what delay means.
"""

from __future__ import annotations

from ballast.replay.player import WARM_UP_S, Player, replay
from ballast.replay.world import ReplayError, World, build_world, start_node

__all__ = [
    "WARM_UP_S",
    "Player",
    "ReplayError",
    "World",
    "build_world",
    "replay",
    "start_node",
]
