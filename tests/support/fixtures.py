"""Fixtures of the test world; a directory's conftest imports what it uses.

from tests.support.fixtures import world  # noqa: F401
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from tests.support.world import World, build_world, many_assets


@lru_cache(maxsize=8)
def shared_world(count: int = 2, quote_decimals: int = 6) -> World:
    """One world per process and shape; whoever uses it isolates what it does."""
    return build_world(many_assets(count), quote_decimals=quote_decimals)


@pytest.fixture
def world() -> Iterator[World]:
    """ETH and BTC against a quote token of 6 decimals, fresh for each test."""
    shared = shared_world()
    with shared.isolated():
        yield shared


@pytest.fixture
def wide_world() -> Iterator[World]:
    """Sixteen collaterals of 18, 8 and 6 decimals, fresh for each test."""
    shared = shared_world(16)
    with shared.isolated():
        yield shared
