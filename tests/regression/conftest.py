"""Fixtures of the threat tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.liquidation_kit import Floor
from tests.support.fixtures import council, floor, victim, wide_world, world
from tests.threats.gang import quiet

__all__ = ["council", "floor", "victim", "wide_world", "world"]


@pytest.fixture
def calm() -> Iterator[Floor]:
    """At the rates as bundled, after quiet days."""
    with quiet("bundled") as floor:
        yield floor
