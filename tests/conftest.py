"""What every suite shares: hypothesis profiles, chains and the `reverts` helper."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, settings

from ballast.chain import Anvil, Reverted, RevmChain

_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
_SAME = settings(deadline=None, derandomize=True, database=None, suppress_health_check=_SLOW)
# What comes out is the same each time, and the first failure is enough, however large.
_ONCE = settings(_SAME, phases=(Phase.explicit, Phase.generate))
settings.register_profile("quick", _SAME, max_examples=500)
settings.register_profile(
    "deep", max_examples=2_500, deadline=None, print_blob=True, suppress_health_check=_SLOW
)
# Many runs of one test against broken contracts.
settings.register_profile("mutants", _ONCE, max_examples=250)
# Every call that is new is run twice: what matters is which paths there are.
settings.register_profile("coverage", _ONCE, max_examples=8)
PROFILE = os.environ.get("BALLAST_PROFILE", "quick")
settings.load_profile(PROFILE)


def is_profile(*names: str) -> bool:
    """Whether the tests run under one of the profiles of these names."""
    return PROFILE in names


def has_few_examples() -> bool:
    """Whether too few examples are drawn for a count of what they met to say anything."""
    return is_profile("mutants", "coverage")


@contextmanager
def reverts(reason: str | None = None) -> Iterator[None]:
    """Demand a revert with exactly this reason: `""` for none, None for any."""
    try:
        yield
    except Reverted as error:
        if reason is not None and error.reason != reason:
            raise AssertionError(f"reverted with {str(error)!r}, expected {reason!r}") from error
    else:
        raise AssertionError(f"did not revert, expected {reason!r}")


@pytest.fixture
def chain() -> RevmChain:
    """A fresh in-process chain."""
    return RevmChain()


@pytest.fixture(scope="session")
def anvil() -> Iterator[Anvil]:
    """One node per test process."""
    with Anvil() as node:
        yield node


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests want to be read, whether they pass or not: counts of campaigns."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties:
                if name == "told":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(text))
