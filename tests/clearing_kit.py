"""What the tests of the clearing house share: events, words, a world out of order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ballast.chain import Contract, Event, Log, Receipt
from tests.support.world import QUOTE, World

UNIT = 10**12  # WAD of a unit of a quote token of 6 decimals
DEBT_SHIFT = 128
LOW_128 = 2**128 - 1


def args_of(contract: Contract, receipt: Receipt, name: str) -> Any:
    """Arguments of the one event called `name` in a receipt; fails for none or several."""
    events = contract.events(receipt, name)
    assert len(events) == 1, f"{len(events)} events {name}"
    return events[0].args


def in_order(source: Receipt | Sequence[Log], *contracts: Contract) -> list[Event]:
    """Events of several contracts in the order in which they were written."""
    known = {contract.address: contract for contract in contracts}
    logs = source.logs if isinstance(source, Receipt) else source
    told = [known[log.address].events([log]) for log in logs if log.address in known]
    return [event for events in told for event in events]


def action(
    kind: int,
    account: int,
    *,
    other: int = 0,
    asset: int = 0,
    asset_out: int = 0,
    amount: int = 0,
    min_out: int = 0,
    target: Any = "0x" + "00" * 20,
) -> tuple[Any, ...]:
    """One action of a batch: 1 deposit, 2 withdraw, 3 repay, 4 transfer, 5 swap, 6 trade."""
    return (kind, account, other, asset, asset_out, amount, min_out, target)


def excess_init(world: World, account: int) -> int:
    """Equity less requirement at initial margin, WAD, at the newest prices."""
    equity, required, _, _ = world.clearinghouse.assess(account)
    return int(equity - required)


def debt_units(world: World, account: int) -> int:
    """What an account owes now, token units."""
    return int(world.system.vault.debt_of(world.clearinghouse.account_word(account) >> DEBT_SHIFT))


def silence_oracle(world: World) -> None:
    """No feed has a sound answer any more, that of the quote token included."""
    for feed in world.feeds.values():
        feed.set_answer(0, sender=world.governor)


def fund_all(world: World, who: str, units: int = 10**30) -> None:
    """Mints `units` of every token to `who`."""
    for name in [QUOTE, *world.names]:
        world.fund(who, name, units)
