"""Ballast on a fork of another chain, and the story that is told on it.

    with upstream_node() as (url, addresses):            # stands in for mainnet
        with forked(url, addresses) as chain:
            for chapter in Story(set_stage(chain, addresses)).tell():
                ...

`docs/forks.md` is the guide.
"""

from __future__ import annotations

from ballast.forks.addresses import MAINNET, AddressError, Addresses, read_addresses
from ballast.forks.chainlink import Feed, FeedError
from ballast.forks.nodes import ForkError, forked, upstream_node
from ballast.forks.stage import Stage, set_stage
from ballast.forks.story import Chapter, Story, StoryError
from ballast.forks.upstream import build_upstream

__all__ = [
    "MAINNET",
    "AddressError",
    "Addresses",
    "Chapter",
    "Feed",
    "FeedError",
    "ForkError",
    "Stage",
    "Story",
    "StoryError",
    "build_upstream",
    "forked",
    "read_addresses",
    "set_stage",
    "upstream_node",
]
