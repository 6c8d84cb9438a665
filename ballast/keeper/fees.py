"""Fees of a transaction (EIP-1559), in wei per gas. Nothing here does I/O."""

from __future__ import annotations

from typing import NamedTuple

# Pools want a replacement to offer at least 10% more in both fees, some 12.5%.
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8


class Fees(NamedTuple):
    """What is offered: at most ``most_wei`` in all, of it ``tip_wei`` for who makes the block."""

    most_wei: int
    tip_wei: int


def offer(base_fee_wei: int, tip_wei: int, cap_wei: int) -> Fees | None:
    """Fees that stay good while the base fee doubles, as far as the cap allows; None where the cap
    does not even pay the present base fee."""
    if cap_wei < base_fee_wei or cap_wei == 0:
        return None
    most = min(2 * base_fee_wei + tip_wei, cap_wei)
    return Fees(most, min(tip_wei, most))


def bumped(before: Fees, market: Fees | None, cap_wei: int) -> Fees | None:
    """Fees for the same nonce: at least 12.5% more in both, and no less than the market's; None
    where the cap does not allow that."""
    most, tip = (-(-fee * _BUMP_NUMERATOR // _BUMP_DENOMINATOR) for fee in before)
    if market is not None:
        most, tip = max(most, market.most_wei), max(tip, market.tip_wei)
    if max(most, tip) > cap_wei:
        return None
    return Fees(max(most, tip), tip)
