"""Power over parameters: what no role can do to a healthy account, and what a pause must not stop.

Threats T25, T31 and T67, invariants I38 to I40. The roles one by one are in
`unit/test_governance.py`, every entry in every state in `test_access.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ballast.chain import Reverted
from ballast.deploy import WAD
from tests.support.edge import BPS, SETTERS, TIMELOCK, Call, Edge, build_edge
from tests.support.world import QUOTE

# What a replaced feed may move a price by, and nothing else at all.
FEED_BPS = 100
LEAST_ACCEPTED = 10


class Liquidatable(AssertionError):
    """A healthy account is not healthy any more."""


@lru_cache(maxsize=2)
def _edge(oracle: str = "RiskOracle") -> Edge:
    return build_edge(oracle)


def _check(edge: Edge, before: dict[int, int], prices: dict[int, int], calls: list[Call]) -> None:
    """Every account that was healthy is, but for what a replaced feed says."""
    moves = {asset: abs(edge.prices()[asset] - price) for asset, price in prices.items()}
    for asset, move in moves.items():
        assert move * BPS <= prices[asset] * FEED_BPS + BPS, "the price jumped"
    assert any(name == "set_feed" for _, name, _ in calls) or not any(moves.values())
    for account, excess in edge.excesses().items():
        allowed = sum(
            2 * edge.exposed(account, asset) * move // WAD + 2 for asset, move in moves.items()
        )
        if any(moves.values()):
            excess += allowed
        if before[account] >= 0 > excess:
            raise Liquidatable(f"account {account % 256} by {calls}")


def _search(edge: Edge, key: tuple[str, str]) -> int:
    """Single transactions with this setter and, by the timelock, others beside it; how often it
    was accepted."""
    before, prices = edge.excesses(), edge.prices()
    accepted = 0
    others = [other for other in SETTERS if other[0] == TIMELOCK]

    @settings(max_examples=settings().max_examples // 5)
    @given(data=st.data())
    def search(data: st.DataObject) -> None:
        nonlocal accepted
        keys = [key]
        if key[0] == TIMELOCK:
            keys += data.draw(st.lists(st.sampled_from(others), max_size=2))
        calls = [call for each in keys for call in SETTERS[each](edge, data.draw)]
        with edge.world.isolated():
            try:
                edge.send(key[0], calls)
            except Reverted:
                return
            accepted += 1
            _check(edge, before, prices, calls)
            edge.touch()
            _check(edge, before, prices, calls)

    search()
    return accepted


@pytest.mark.parametrize("key", SETTERS, ids=": ".join)
def test_transaction__any_setter_of_any_role__no_healthy_account_is_liquidatable(
    key: tuple[str, str], record_property: Callable[[str, object], None]
) -> None:
    """T67, T31, I39: over accounts that are healthy by two units at most, several calls in one
    transaction of the timelock; a poke right after it adds nothing."""
    edge = _edge()
    for account, excess in edge.excesses().items():
        assert 0 <= excess <= 2 * edge.world.unit_wad(QUOTE), account
    accepted = _search(edge, key)
    record_property("told", f"accepted {accepted} times")
    assert accepted >= LEAST_ACCEPTED, "hardly ever accepted: this shows nothing"


@pytest.mark.parametrize("name", ["margin parameters", "hardest margin parameters"])
def test_transaction__oracle_without_a_ramp__is_found_out(name: str) -> None:
    """The same search fails where a parameter that raises a requirement holds at once."""
    with pytest.raises(Liquidatable):
        _search(_edge("HastyOracle"), (TIMELOCK, name))
