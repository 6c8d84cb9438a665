"""The sizing table in rational numbers: each closed form lands exactly on the target."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from ballast.model import sizing
from ballast.model.margin import BPS, RATE, WAD

targets = st.integers(10_000, 65_535)
rates = st.integers(1, 10**6)
costs = st.integers(0, 100_000)
shortfalls = st.integers(1, 10**30)


def solved(shortfall: int, cure_e10: int) -> Fraction:
    """x = S / (t rho - s)."""
    return Fraction(shortfall * sizing.CURE, cure_e10)


@given(shortfalls, targets, rates, costs)
def test_sale__within_the_quota__lands_on_the_target(
    shortfall: int, target_bps: int, rate_e6: int, cost_e6: int
) -> None:
    """Value x of collateral becomes x (1 - s) of cash: equity loses s x, the requirement r + l."""
    cure_e10 = sizing.cure_of_release_e10(target_bps, rate_e6, cost_e6)
    assume(cure_e10 > 0)
    value = solved(shortfall, cure_e10)
    equity_change = -value * cost_e6 / RATE
    required_change = -value * rate_e6 / RATE
    assert shortfall == equity_change - Fraction(target_bps, BPS) * required_change


@given(shortfalls, targets, costs)
def test_sale__above_the_quota__lands_on_the_target(
    shortfall: int, target_bps: int, cost_e6: int
) -> None:
    """What does not count has no requirement, so all its proceeds are equity gained."""
    value = solved(shortfall, sizing.cure_of_surplus_e10(cost_e6))
    assert shortfall == value * (1 - Fraction(cost_e6, RATE))


@given(shortfalls, targets, rates)
def test_inflow__within_the_quota__lands_on_the_target(
    shortfall: int, target_bps: int, rate_e6: int
) -> None:
    """Equity grows by x, the requirement by (r + l) x; useless where t (r + l) >= 1."""
    cure_e10 = sizing.cure_of_inflow_e10(target_bps, rate_e6)
    assume(cure_e10 > 0)
    value = solved(shortfall, cure_e10)
    assert shortfall == value - Fraction(target_bps, BPS) * value * rate_e6 / RATE


@given(shortfalls, st.integers(1, 7 * 10**10), st.integers(1, 2**90), st.integers(0, 18))
def test_sizes__any_cure_and_token__cover_the_shortfall_by_less_than_a_unit(
    shortfall: int, cure_e10: int, price_wad: int, decimals: int
) -> None:
    """Sizes round up, so the target is reached; by no more than one unit of the token."""
    unit_wad = 10 ** (18 - decimals)
    value = sizing.value_up(shortfall, cure_e10)
    units = sizing.units_up(value, price_wad, unit_wad)
    exact = solved(shortfall, cure_e10)
    assert exact <= value < exact + 1
    worth = Fraction(units * unit_wad * price_wad, WAD)
    assert value <= worth < value + Fraction(unit_wad * price_wad, WAD)
    assert sizing.cured_down(value, cure_e10) >= shortfall


@given(
    st.lists(st.tuples(st.integers(1, 10**6), rates, costs), min_size=1, max_size=5),
    targets,
    st.integers(1, 99),
)
def test_order__cheapest_price_of_health_first__costs_no_more_than_any_other_order(
    lots: list[tuple[int, int, int]], target_bps: int, percent: int
) -> None:
    """Greedy is the optimum of the linear program: here against the given and the reverse order.

    Each lot is a value that can be sold, the rate it releases and what selling it costs.
    """
    known = [
        (value, sizing.cure_of_release_e10(target_bps, rate_e6, cost_e6), cost_e6)
        for value, rate_e6, cost_e6 in lots
    ]
    usable = [lot for lot in known if lot[1] > 0]
    assume(usable)
    wanted = sum(Fraction(value * cure, sizing.CURE) for value, cure, _ in usable) * percent / 100

    def cost_of(order: list[tuple[int, int, int]]) -> Fraction:
        missing, cost = wanted, Fraction(0)
        for value, cure_e10, cost_e6 in order:
            cured = min(missing, Fraction(value * cure_e10, sizing.CURE))
            cost += cured * sizing.price_of_health(cost_e6, cure_e10)
            missing -= cured
        assert missing == 0
        return cost

    cheapest = sorted(usable, key=lambda lot: sizing.price_of_health(lot[2], lot[1]))
    assert cost_of(cheapest) <= min(cost_of(usable), cost_of(cheapest[::-1]))
