"""Fixtures of the test world; a directory's conftest imports what it uses.

from tests.support.fixtures import world  # noqa: F401
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from tests.governance_kit import Council, shared_council
from tests.liquidation_kit import Floor, open_floor, spot_victim
from tests.support.world import AssetSpec, World, build_world, many_assets


@lru_cache(maxsize=8)
def shared_world(count: int = 2, quote_decimals: int = 6) -> World:
    """One world per process and shape; whoever uses it isolates what it does."""
    return build_world(many_assets(count), quote_decimals=quote_decimals)


@lru_cache(maxsize=2)
def odd_world(token: str) -> World:
    """ETH against a quote token with bad habits, shared in the same way."""
    return build_world({"ETH": AssetSpec(18, 2_000)}, quote_token=token, lent=10**7)


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


@pytest.fixture
def council() -> Iterator[Council]:
    """ETH and BTC in the hands of timelock, guardian and steward, fresh for each test."""
    shared = shared_council()
    with shared.world.isolated():
        yield shared


@pytest.fixture
def floor(world: World) -> Floor:
    """Two markets whose house has ten million."""
    return open_floor(world)


@pytest.fixture
def victim(floor: Floor) -> int:
    """12.5 ETH against a loan of 15,000, just below maintenance."""
    return spot_victim(floor)
