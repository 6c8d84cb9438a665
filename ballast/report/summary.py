"""The figures of a replay: the content of ``report.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ballast.prices import iso
from ballast.report.recording import COHORTS, WAD, Cohort, Kind, Recording


def summarise(recording: Recording) -> dict[str, Any]:
    """The report as plain data.

    Keys: ``prices`` (source, from and to as ISO times in UTC), ``rounds``, and for each cohort
    ``accounts``, ``breached`` (below maintenance at any round, before any keeper's transaction),
    ``liquidated`` (accounts), ``liquidations``, ``rebalances``, ``cost_bps`` (of starting equity,
    over the accounts), ``delay_blocks`` and ``gas`` (over the rebalances; null without one),
    ``equity`` (quote tokens), ``from_2x`` (accounts that started at 2x or more and how many of them
    breached) and ``ends_at`` (over the rebalances, the equity reached as a multiple of the policy's
    target; null without one).

    ``liquidations`` has ``slices`` and ``rescues``, ``cost_bps`` (of starting equity, over the
    accounts), ``delay_s``, ``gas``, and in quote tokens ``owners_lost``, ``insurance`` (what it got
    less what it paid), ``house_bore`` and ``lenders_bore``. ``liquidator`` is what the liquidator
    gained on each cohort, exit costs paid (quote tokens).

    All of this is of the accounts that hold collateral and a loan; ``perpetuals`` has the same two
    cohorts for each kind of account with perpetuals, and ``house`` the equity of the house (quote
    tokens) and the price of a liquidity share at start and end; both are left out of a replay
    without perpetuals. Raises ValueError for a recording without frames.
    """
    if not recording.frames:
        raise ValueError("nothing was recorded: play at least one round before reporting")
    first, last = recording.frames[0], recording.frames[-1]
    report: dict[str, Any] = {
        "prices": {
            "source": recording.source,
            "from": iso(first.time_s),
            "to": iso(last.time_s),
        },
        "rounds": sum(frame.rounds for frame in recording.frames),
    }
    for cohort in COHORTS:
        report[cohort] = _cohort(recording, cohort, "spot")
    if recording.kinds:
        report["perpetuals"] = {
            kind: {cohort: _cohort(recording, cohort, kind) for cohort in COHORTS}
            for kind in recording.kinds
        }
    if recording.takers:
        report["liquidator"] = {
            cohort: _tokens(end - start) for cohort, (start, end) in recording.takers.items()
        }
    if first.house and last.house:
        report["house"] = {
            "equity": {"start": _tokens(first.house.equity), "end": _tokens(last.house.equity)},
            "share_price": {
                "start": round(first.house.share_price, 6),
                "end": round(last.house.share_price, 6),
            },
        }
    return report


def _cohort(recording: Recording, cohort: Cohort, kind: Kind) -> dict[str, Any]:
    members = recording.members(cohort, kind)
    breached = [i for i in members if recording.breached_at(i) is not None]
    rebalances = [r for r in recording.rebalances if r.account in set(members)]
    liquidations = [x for x in recording.liquidations if x.account in set(members)]
    costs = [recording.cost_bps(i) for i in members]
    delays = [r.delay_blocks for r in rebalances]
    gas = [r.gas for r in rebalances]
    ends = [r.after.health / r.target for r in rebalances]
    from_2x = [i for i in members if recording.accounts[i].leverage >= 2]
    return {
        "accounts": len(members),
        "breached": len(breached),
        "liquidated": len({x.account for x in liquidations if not x.is_rescue}),
        "liquidations": _liquidations(recording, members),
        "rebalances": len(rebalances),
        "cost_bps": {
            "mean": _round(sum(costs) / len(costs) if costs else 0.0),
            "max": _round(max(costs, default=0.0)),
        },
        "delay_blocks": {"p50": percentile(delays, 50), "p95": percentile(delays, 95)},
        "gas": {"p50": percentile(gas, 50), "max": max(gas, default=None)},
        "equity": {
            "start": _tokens(sum(recording.accounts[i].equity for i in members)),
            "end": _tokens(sum(recording.end_equity(i) for i in members)),
        },
        "from_2x": {"accounts": len(from_2x), "breached": len(set(from_2x) & set(breached))},
        "ends_at": {"max": _round(max(ends)) if ends else None},
    }


def _liquidations(recording: Recording, members: Sequence[int]) -> dict[str, Any]:
    all_of_them = [x for x in recording.liquidations if x.account in set(members)]
    slices = [x for x in all_of_them if not x.is_rescue]
    costs = [recording.liquidation_cost_bps(i) for i in members]
    return {
        "slices": len(slices),
        "rescues": len(all_of_them) - len(slices),
        "cost_bps": {
            "mean": _round(sum(costs) / len(costs) if costs else 0.0),
            "max": _round(max(costs, default=0.0)),
        },
        "delay_s": {"max": max((x.delay_s for x in slices), default=None)},
        "gas": {
            "p50": percentile([x.gas for x in slices], 50),
            "max": max((x.gas for x in slices), default=None),
        },
        "owners_lost": _tokens(sum(x.cost for x in all_of_them)),
        "insurance": _tokens(sum(x.fee - x.insurance for x in slices)),
        "house_bore": _tokens(sum(x.house for x in slices)),
        "lenders_bore": _tokens(sum(x.lenders for x in slices)),
    }


def percentile(values: Sequence[int], percent: int) -> int | None:
    """The smallest value that at least ``percent`` of all values do not exceed (nearest rank).

    ``None`` without values.
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _tokens(wad: int) -> float:
    return round(wad / WAD, 2)


def _round(value: float) -> float:
    return round(value, 4)
