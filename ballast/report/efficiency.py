"""How good the rebalancing of a replay was: delay, cost, what it spared, churn, time in breach.

Everything is told of pairs: an account with a hook and its twin without one, at the same prices.
Costs are basis points of the equity that the account and its reserve had at the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ballast.chain import BLOCK_INTERVAL_S
from ballast.prices import ANSWER_SCALE
from ballast.report.recording import COHORTS, PERPETUAL_KINDS, WAD, Kind, Rebalance, Recording
from ballast.report.summary import percentile

DAY_S = 86_400
GAS_GWEI = 20.0
_BPS = 10_000
_PARTS = ("fee", "impact", "pay", "gas")


def efficiency(recording: Recording, gas_gwei: float = GAS_GWEI) -> dict[str, dict[str, Any]]:
    """The figures of each group of accounts: ``swaps`` (collateral and a loan), each kind with
    perpetuals that took part, ``perpetuals``, all of those together, and ``all``.

    ``accounts`` counts pairs, ``days`` is how long they were watched. ``delay_blocks`` has p50, p95
    and max over the rebalances (null without one). ``cost_bps`` has the mean over the hooked
    accounts of ``fee``, ``impact``, ``pay`` (of the keeper), ``gas`` and their ``total``, and the
    largest total as ``max``; gas is what the pay does not cover, at ``gas_gwei`` and ETH's price of
    the moment, and 0 where ETH has no price. ``liquidated`` has ``hooked`` and ``bare`` accounts,
    ``avoided`` (only the bare twin was) and ``caused`` (only the hooked one), and
    ``bare_cost_bps``, what liquidation cost the bare ones on average.

    ``false_rescues`` are rebalances whose bare twin was not liquidated afterwards, counted from the
    round that permitted them: ``in_24h``, ``by_end``, and ``of`` how many; ``accounts`` is how many
    rebalanced accounts have a twin that never was. ``churn`` is per account and day: ``rebalances``
    and ``turnover`` (value traded over starting equity); ``opposite`` counts rebalances that turned
    around within 24 hours what an earlier one had done to the exposure to an asset.

    ``breach_min`` is minutes per account below ``initial`` and below ``maintenance`` margin, by
    cohort, from frame to frame. Raises ValueError for a recording without frames.
    """
    if not recording.frames:
        raise ValueError("nothing was recorded: play at least one round before measuring")
    groups: dict[str, Sequence[Kind]] = {"swaps": ("spot",)}
    groups |= {kind: (kind,) for kind in recording.kinds}
    if recording.kinds:
        groups |= {"perpetuals": PERPETUAL_KINDS, "all": ("spot", *PERPETUAL_KINDS)}
    return {name: _group(recording, kinds, gas_gwei) for name, kinds in groups.items()}


def _group(recording: Recording, kinds: Iterable[Kind], gas_gwei: float) -> dict[str, Any]:
    members = {c: [i for kind in kinds for i in recording.members(c, kind)] for c in COHORTS}
    pairs = dict(zip(members["hooked"], members["bare"], strict=True))
    done = [r for r in recording.rebalances if r.account in pairs]
    days = (recording.frames[-1].time_s - recording.frames[0].time_s) / DAY_S
    costs = [cost_parts_bps(recording, account, gas_gwei) for account in pairs]
    delays = [r.delay_blocks for r in done]
    return {
        "accounts": len(pairs),
        "days": round(days, 2),
        "rebalances": len(done),
        "delay_blocks": {
            "p50": percentile(delays, 50),
            "p95": percentile(delays, 95),
            "max": max(delays, default=None),
        },
        "cost_bps": {
            **{part: _mean(cost[part] for cost in costs) for part in _PARTS},
            "total": _mean(sum(cost.values()) for cost in costs),
            "max": round(max((sum(cost.values()) for cost in costs), default=0.0), 2),
        },
        "liquidated": _liquidated(recording, pairs),
        "false_rescues": _false_rescues(recording, pairs, done),
        "churn": _churn(recording, pairs, done, days),
        "breach_min": {c: _breach(recording, members[c]) for c in COHORTS},
    }


def cost_parts_bps(
    recording: Recording, account: int, gas_gwei: float = GAS_GWEI
) -> dict[str, float]:
    """What the account's rebalances cost, by ``fee``, ``impact``, ``pay`` and ``gas``.

    Fee, impact and pay add up to the loss that the contract judged. Gas is what the caller bore of
    it: what his pay did not cover.
    """
    own = [r for r in recording.rebalances if r.account == account]
    impact = sum(r.cost - r.fees - r.pay for r in own)
    parts = {"fee": sum(r.fees for r in own), "impact": impact, "pay": sum(r.pay for r in own)}
    gas = sum(max(0.0, _gas_dollars(recording, r, gas_gwei) - r.pay / WAD) for r in own)
    equity = recording.accounts[account].equity
    costs = {part: _BPS * wad / equity for part, wad in parts.items()}
    return {**costs, "gas": _BPS * gas * WAD / equity}


def _gas_dollars(recording: Recording, r: Rebalance, gas_gwei: float) -> float:
    return r.gas * gas_gwei / 10**9 * _ether_price(recording, r.time_s)


def _ether_price(recording: Recording, time_s: int) -> float:
    """Dollars, as of the newest frame at that time."""
    price = 0.0
    for frame in recording.frames:
        if frame.time_s > time_s:
            break
        price = frame.answers.get("ETH", 0) / ANSWER_SCALE
    return price


def _slices(recording: Recording, account: int) -> list[int]:
    """When the account was liquidated, unix seconds."""
    return [x.time_s for x in recording.liquidations if x.account == account and not x.is_rescue]


def _liquidated(recording: Recording, pairs: dict[int, int]) -> dict[str, Any]:
    fates = [(bool(_slices(recording, h)), bool(_slices(recording, b))) for h, b in pairs.items()]
    return {
        "hooked": sum(hooked for hooked, _ in fates),
        "bare": sum(bare for _, bare in fates),
        "avoided": fates.count((False, True)),
        "caused": fates.count((True, False)),
        "bare_cost_bps": _mean(recording.liquidation_cost_bps(b) for b in pairs.values()),
    }


def _false_rescues(
    recording: Recording, pairs: dict[int, int], done: Sequence[Rebalance]
) -> dict[str, int]:
    slices = {h: _slices(recording, bare) for h, bare in pairs.items()}
    in_24h = by_end = 0
    for r in done:
        permitted_s = r.time_s - r.delay_blocks * BLOCK_INTERVAL_S
        later = [at_s for at_s in slices[r.account] if at_s >= permitted_s]
        by_end += not later
        in_24h += not any(at_s <= permitted_s + DAY_S for at_s in later)
    never = {r.account for r in done if not slices[r.account]}
    return {"in_24h": in_24h, "by_end": by_end, "of": len(done), "accounts": len(never)}


def _churn(
    recording: Recording, pairs: dict[int, int], done: Sequence[Rebalance], days: float
) -> dict[str, Any]:
    account_days = days * len(pairs)
    turnover = sum(_traded(r) / recording.accounts[r.account].equity for r in done)
    return {
        "rebalances": round(len(done) / account_days, 3) if account_days else 0.0,
        "turnover": round(turnover / account_days, 3) if account_days else 0.0,
        "opposite": sum(_turns_around(r, done) for r in done),
    }


def _traded(r: Rebalance) -> int:
    return sum(sale.value for sale in r.sales) + r.trimmed + r.hedged


def _turns_around(r: Rebalance, done: Sequence[Rebalance]) -> bool:
    """Whether the exposure to an asset changes the other way than within the last 24 hours."""
    return any(
        earlier.account == r.account
        and 0 < r.time_s - earlier.time_s <= DAY_S
        and any(change * earlier.exposure.get(asset, 0) < 0 for asset, change in r.exposure.items())
        for earlier in done
    )


def _breach(recording: Recording, members: Sequence[int]) -> dict[str, float]:
    """Each frame's state lasts until the next one."""
    below = {"initial": 0, "maintenance": 0}
    for frame, after in zip(recording.frames, recording.frames[1:], strict=False):
        lasts_s = after.time_s - frame.time_s
        margins = [frame.margins[i] for i in members]
        below["initial"] += lasts_s * sum(m.equity_init < m.required_init for m in margins)
        below["maintenance"] += lasts_s * sum(m.is_breached for m in margins)
    per_account = 60 * max(1, len(members))
    return {margin: round(total_s / per_account, 3) for margin, total_s in below.items()}


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return round(sum(known) / len(known), 2) if known else 0.0
