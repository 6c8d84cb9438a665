"""Ballast: a clearing house whose cross-margin accounts rebalance themselves."""

from __future__ import annotations

__version__ = "0.1.0"
