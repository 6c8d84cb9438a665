"""Fixtures of the unit tests."""

from __future__ import annotations

from tests.support.fixtures import wide_world, world

__all__ = ["wide_world", "world"]
