"""Ballast on a fork of another chain, and the story that is told on it.

    with upstream_node() as (url, text):                 # stands in for mainnet
        parameters = parameters_of(text)                 # or: fork_parameters(), those of mainnet
        with forked(url, parameters) as chain:
            for chapter in Story(set_stage(chain, parameters)).tell():
                ...

`docs/forks.md` is the guide.
"""

from __future__ import annotations

from ballast.forks.chainlink import Feed, FeedError
from ballast.forks.nodes import ForkError, forked, upstream_node
from ballast.forks.stage import Stage, set_stage
from ballast.forks.story import Chapter, Story, StoryError
from ballast.forks.upstream import build_upstream, fork_parameters, parameters_of

__all__ = [
    "Chapter",
    "Feed",
    "FeedError",
    "ForkError",
    "Stage",
    "Story",
    "StoryError",
    "build_upstream",
    "fork_parameters",
    "forked",
    "parameters_of",
    "set_stage",
    "upstream_node",
]
