"""Margin parameters that the oracle accepts, as a strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from ballast.model.oracle import LARGEST_JUMP_BPS, MIN_FLOOR_L_BPS, Parameters, div_up


@st.composite
def parameters(draw: Callable[..., Any], least_l_bps: int = MIN_FLOOR_L_BPS) -> Parameters:
    """Any set that the setter accepts, with at least this floor of the rate on gross."""
    triples = []
    for least in (LARGEST_JUMP_BPS, least_l_bps):
        floor = draw(st.integers(least, 3_000))
        triples.append((draw(st.integers(0, 20_000)), floor, draw(st.integers(floor, 4_000))))
    (z, floor, cap), (z_l, floor_l, cap_l) = triples
    cap_l = min(cap_l, 4_000)
    widen = st.integers(0, 500)
    z_init = z * 3 // 2 + 1 + draw(widen)
    # Such that the jump is covered with whatever charge on gross stands during a ramp.
    covering = div_up(100 * LARGEST_JUMP_BPS, 37) - MIN_FLOOR_L_BPS
    floor_init = max(floor * 3 // 2 + 1, covering) + draw(widen)
    cap_init = max(cap * 3 // 2 + 1, floor_init)
    floor_l = min(floor_l, 10_000 - cap_init)
    cap_l = min(max(cap_l, floor_l), 10_000 - cap_init)
    quota = draw(st.integers(1, 2**72 - 1))
    return Parameters(
        z_init,
        floor_init,
        cap_init,
        z,
        floor,
        max(cap, floor),
        z_l,
        min(floor_l, cap_l),
        cap_l,
        quota,
    )
