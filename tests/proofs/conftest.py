"""What proofs leave behind: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ballast.proofs.source import forget


@pytest.fixture(scope="module", autouse=True)
def _no_trees_left() -> Iterator[None]:
    yield
    forget()
