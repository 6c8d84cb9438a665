"""What is judged after a mandate, in exact integers: would this rebalance stand?

The protocol's test: every touched account ends at initial margin or with neither excess lower. The
owner's: the shortfall has not grown, a mandate that traded does not overshoot target and band, each
donor keeps its floor, and what was lost over all touched accounts is within the budget. Exposures
cannot grow in a plan of the default hook, so that test is not repeated here. Last comes the
ledger's test of an account that did what was not by itself less or equally risky.
"""

from __future__ import annotations

from ballast.model.margin import BPS, Mark, Terms, div_up
from ballast.model.plan import Kind, Scene, Step

WEAKER = "mandates: account left weaker"
SHORTFALL_GREW = "mandates: shortfall grew"
OVERSHOOT = "mandates: above target and band"
BELOW_FLOOR = "mandates: donor below its floor"
ABOVE_BUDGET = "budgets: loss above budget"

# Units of the quote token that each step with cash may lose to rounding and that are no loss.
ROUNDING_UNITS = 2
TRADES = (Kind.SELL, Kind.TRIM, Kind.HEDGE, Kind.UNWIND)
WITHOUT_CASH = (Kind.MOVE_COLLATERAL, Kind.TRIM, Kind.HEDGE)


def least_proceeds_up(
    mark: Mark, amount_wad: int, unit_wad: int, limit_bps: int, slippage_bps: int
) -> int:
    """Least quote units (of `unit_wad`) for a sale of collateral.

    The oracle's value less the guard's slippage or the asset's own limit, which is never above its
    initial rate on gross, whichever is less; rounded up.
    """
    most_bps = min(slippage_bps, limit_bps, mark.risk.l_init_e6 // 100)
    value = amount_wad * mark.price_wad
    return div_up(value * (BPS - most_bps), BPS * 10**18 * unit_wad)


def loss_wad(before: Scene, after: Scene, taken: tuple[Step, ...]) -> int:
    """Maintenance equity lost over all touched accounts, what came from the wallet counted; what
    the steps may lose to rounding is none."""
    pulled = before.wallet.left_wad - after.wallet.left_wad
    touched = [
        known for known in before.accounts if before.accounts[known] != after.accounts[known]
    ]
    lost = sum(
        before.assess(known).equity_maint - after.assess(known).equity_maint for known in touched
    )
    return lost + pulled if lost + pulled > rounding_wad(before, taken) else 0


def rounding_wad(scene: Scene, taken: tuple[Step, ...]) -> int:
    """What the steps may lose to rounding."""
    cash_steps = sum(step.kind not in WITHOUT_CASH for step in taken)
    return ROUNDING_UNITS * cash_steps * scene.loans.unit_wad


def judgement(
    before: Scene, after: Scene, taken: tuple[Step, ...], *, band_bps: int, budget_wad: int
) -> str:
    """The reason for which a mandate whose steps led to `after` is undone, else ""."""
    assert before.target_bps is not None
    old, new = before.assess(before.account), after.assess(before.account)
    if _is_weaker(old, new, rounding_wad(before, taken)):
        return WEAKER
    if new.shortfall_up(before.target_bps) > old.shortfall_up(before.target_bps):
        return SHORTFALL_GREW
    most = div_up(new.required_init * (before.target_bps + band_bps), BPS)
    if any(step.kind in TRADES for step in taken) and new.equity_init > most:
        return OVERSHOOT
    for donor, floor_bps in before.floors.items():
        if before.accounts[donor] == after.accounts[donor]:
            continue
        figures = after.assess(donor)
        if _is_weaker(before.assess(donor), figures):
            return WEAKER
        if figures.equity_init < div_up(figures.required_init * floor_bps, BPS):
            return BELOW_FLOOR
    if loss_wad(before, after, taken) > budget_wad:
        return ABOVE_BUDGET
    return after.increase_refusal() if after.is_tested else ""


def _is_weaker(old: Terms, new: Terms, rounding: int = 0) -> bool:
    lost = max(old.excess_init - new.excess_init, old.excess_maint - new.excess_maint)
    return new.excess_init < 0 and lost > rounding
