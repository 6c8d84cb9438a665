"""Fixtures of the unit tests."""

from __future__ import annotations

from tests.support.fixtures import floor, victim, wide_world, world

__all__ = ["floor", "victim", "wide_world", "world"]
