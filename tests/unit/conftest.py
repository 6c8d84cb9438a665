"""Fixtures of the unit tests."""

from __future__ import annotations

from tests.support.fixtures import council, floor, victim, wide_world, world

__all__ = ["council", "floor", "victim", "wide_world", "world"]
