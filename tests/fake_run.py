"""A replay without a chain: enough arithmetic to fill a Recording that looks like a real one."""

from __future__ import annotations

from ballast.prices import ANSWER_SCALE, PriceSeries, synthetic_crash
from ballast.report.recording import (
    COHORTS,
    WAD,
    AccountStart,
    Frame,
    Holding,
    Initial,
    Margin,
    Rebalance,
    Recording,
    Sale,
)

RATE_INIT, RATE_MAINT = 0.26, 0.12
TRIGGER, TARGET = 1.05, 1.30
SWAP_COST = 0.0035
FIRST_BLOCK = 100


def fake_recording(accounts: int = 12, series: PriceSeries | None = None) -> Recording:
    """Two cohorts at constant margin rates; hooked accounts sell collateral at the trigger."""
    series = series or synthetic_crash()
    assets = sorted(series.assets, reverse=True)
    prices = {a: answer / ANSWER_SCALE for a, answer in series.opening().items()}
    starts: list[AccountStart] = []
    units: list[dict[str, float]] = []
    cash: list[float] = []
    for cohort in COHORTS:
        for n in range(accounts):
            leverage = 1.5 + 2 * n / max(1, accounts - 1)
            mix = dict(zip(assets, _mix(n, len(assets)), strict=True))
            equity = 40_000.0 + 5_000 * n
            starts.append(AccountStart(f"A{n + 1:02d}", cohort, leverage, mix, _wad(equity)))
            units.append({a: equity * leverage * mix[a] / prices[a] for a in assets})
            cash.append(equity * (1 - leverage))
    recording = Recording(series.source, starts, assets)
    for index, r in enumerate(series.rounds):
        prices[r.asset] = r.price
        answers = {a: round(p * ANSWER_SCALE) for a, p in prices.items()}
        holdings = [
            Holding({a: _wad(u[a] * prices[a]) for a in assets}, _wad(k))
            for u, k in zip(units, cash, strict=True)
        ]
        margins = [_margin(h) for h in holdings]
        block = FIRST_BLOCK + 2 * index
        recording.frames.append(Frame(r.time_s, block, 1, answers, margins, holdings))
        for i, margin in enumerate(margins):
            if starts[i].cohort == "hooked" and 0 < Initial(*margin[:2]).health < TRIGGER:
                recording.rebalances.append(
                    _rebalance(i, r.time_s, block, margin, prices, units[i], cash, assets)
                )
    return recording


def _rebalance(
    account: int,
    time_s: int,
    block: int,
    before: Margin,
    prices: dict[str, float],
    units: dict[str, float],
    cash: list[float],
    assets: list[str],
) -> Rebalance:
    shortfall = (TARGET * before.required_init - before.equity_init) / WAD
    size = shortfall / (TARGET * RATE_INIT - SWAP_COST)
    value = sum(units[a] * prices[a] for a in assets)
    sales = []
    for asset in assets:
        sold = size * units[asset] * prices[asset] / value
        if sold:
            units[asset] -= sold / prices[asset]
            cash[account] += sold * (1 - SWAP_COST)
            fetched = _wad(sold * (1 - SWAP_COST))
            sales.append(Sale(asset, sold / prices[asset], _wad(sold), fetched))
    held = {a: _wad(units[a] * prices[a]) for a in assets}
    after = _margin(Holding(held, _wad(cash[account])))
    delay = 1 + (account + block) % 2
    gas = 310_000 + 1_000 * (account + block % 7)
    return Rebalance(
        account=account,
        time_s=time_s + 12,
        block=block + delay,
        delay_blocks=delay,
        gas=gas,
        before=Initial(*before[:2]),
        after=Initial(*after[:2]),
        target=TARGET,
        sales=sales,
        pulled=0,
        moved=0,
        cost=sum(sale.value - sale.proceeds for sale in sales),
    )


def _mix(n: int, assets: int) -> list[float]:
    if assets == 1:
        return [1.0]
    first = (1.0, 0.0, 0.5, 0.7, 0.3)[n % 5]
    return [first, 1 - first] + [0.0] * (assets - 2)


def _margin(holding: Holding) -> Margin:
    value = sum(holding.collateral.values())
    equity = value + holding.cash
    return Margin(equity, int(value * RATE_INIT), equity, int(value * RATE_MAINT))


def _wad(tokens: float) -> int:
    return round(tokens * WAD)
