"""The timelock as used here: nothing early, nothing twice, nothing that was called off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ballast.chain import BLOCK_INTERVAL_S
from ballast.governance import DAY_S, Decision
from tests.conftest import reverts
from tests.governance_kit import DELAY_S, NOT_READY, Council, shared_council

NO_ROLE = "access_control: account is missing role"


@pytest.fixture
def decision(council: Council) -> Decision:
    """A reserve factor of 77 basis points, not scheduled yet."""
    return council.decision(council.world.system.vault, "set_reserve_factor", 77)


def _factor(council: Council) -> int:
    return int(council.world.system.vault.reserve_factor_bps())


def test_execute__early__reverts_and_the_parameter_stays(
    council: Council, decision: Decision
) -> None:
    """T67, I38: not scheduled, at once, and a second before its time."""
    world, before = council.world, _factor(council)
    with reverts(NOT_READY):
        decision.execute(council.timelock, sender=world.keeper)
    decision.schedule(council.timelock, sender=council.proposer)
    ready_at = world.chain.time + DELAY_S
    assert council.timelock.get_timestamp(decision.id(council.timelock)) == ready_at
    with reverts(NOT_READY):
        decision.execute(council.timelock, sender=world.keeper)
    world.chain.set_time(ready_at - 13)
    with reverts(NOT_READY):
        decision.execute(council.timelock, sender=world.keeper)
    assert _factor(council) == before
    decision.execute(council.timelock, sender=world.keeper)
    assert _factor(council) == 77 != before


def test_execute__twice__once_only(council: Council, decision: Decision) -> None:
    """T67, I38"""
    timelock, vault = council.timelock, council.world.system.vault
    decision.schedule(timelock, sender=council.proposer)
    with reverts("timelock_controller: operation already scheduled"):
        decision.schedule(timelock, sender=council.proposer)
    council.wait(DELAY_S)
    decision.execute(timelock, sender=council.world.keeper)
    council.decide(vault, "set_reserve_factor", 5)
    with reverts(NOT_READY):
        decision.execute(timelock, sender=council.world.keeper)
    with reverts("timelock_controller: operation already scheduled"):
        decision.schedule(timelock, sender=council.proposer)
    assert _factor(council) == 5


@pytest.mark.parametrize("role", ["proposer", "guardian"])
def test_cancel__by_a_canceller__never_executed(
    council: Council, decision: Decision, role: str
) -> None:
    """T67, I38: the guardian cannot schedule and can call off."""
    before = _factor(council)
    decision.schedule(council.timelock, sender=council.proposer)
    decision.cancel(council.timelock, sender=getattr(council, role))
    council.wait(DELAY_S)
    with reverts(NOT_READY):
        decision.execute(council.timelock, sender=council.world.keeper)
    with reverts("timelock_controller: operation cannot be cancelled"):
        decision.cancel(council.timelock, sender=council.proposer)
    assert _factor(council) == before


def test_cancel__executed_already__reverts(council: Council, decision: Decision) -> None:
    decision.schedule(council.timelock, sender=council.proposer)
    council.wait(DELAY_S)
    decision.execute(council.timelock, sender=council.world.keeper)
    with reverts("timelock_controller: operation cannot be cancelled"):
        decision.cancel(council.timelock, sender=council.guardian)


def test_schedule__not_a_proposer__reverts(council: Council, decision: Decision) -> None:
    """I37"""
    for sender in (council.guardian, council.steward, council.world.governor, council.world.keeper):
        with reverts(NO_ROLE):
            decision.schedule(council.timelock, sender=sender)


def test_cancel__neither_proposer_nor_guardian__reverts(
    council: Council, decision: Decision
) -> None:
    """I37"""
    decision.schedule(council.timelock, sender=council.proposer)
    for sender in (council.steward, council.world.governor, council.world.keeper):
        with reverts(NO_ROLE):
            decision.cancel(council.timelock, sender=sender)


def test_schedule__shorter_than_the_delay__reverts(council: Council, decision: Decision) -> None:
    """I38"""
    with reverts("timelock_controller: insufficient delay"):
        decision.schedule(council.timelock, sender=council.proposer, delay_s=DELAY_S - 1)


def test_update_delay__anyone_at_once__reverts(council: Council) -> None:
    """T67, I38"""
    for sender in (council.proposer, council.guardian, council.world.governor):
        with reverts("timelock_controller: caller must be timelock"):
            council.timelock.update_delay(0, sender=sender)


def test_update_delay__after_the_delay__holds_for_what_comes(
    council: Council, decision: Decision
) -> None:
    """I38: the delay itself waits, and what is scheduled already keeps its time."""
    timelock = council.timelock
    council.decide(timelock, "update_delay", DAY_S)
    assert timelock.get_minimum_delay() == DAY_S
    decision.schedule(timelock, sender=council.proposer)
    council.decision(timelock, "update_delay", 0, salt=1).schedule(
        timelock, sender=council.proposer
    )
    with reverts(NOT_READY):
        decision.execute(timelock, sender=council.world.keeper)


def test_grant_role__through_the_timelock__works_after_the_delay(council: Council) -> None:
    """A new guardian gets both rights in one operation."""
    world, timelock, governance = council.world, council.timelock, council.governance
    new, role = world.stranger, timelock.CANCELLER_ROLE()
    calls = [
        (governance, "set_guardian", (new,)),
        (timelock, "grantRole", (role, new)),
        (timelock, "revokeRole", (role, council.guardian)),
    ]
    targets = [contract.address for contract, _, _ in calls]
    payloads = [contract.function(name).encode(*arguments) for contract, name, arguments in calls]
    batch = (targets, [0, 0, 0], payloads, bytes(32), bytes(32))
    timelock.schedule_batch(*batch, DELAY_S, sender=council.proposer)
    with reverts(NOT_READY):
        timelock.execute_batch(*batch, sender=world.keeper)
    council.wait(DELAY_S)
    timelock.execute_batch(*batch, sender=world.keeper)
    assert governance.guardian() == new
    assert timelock.hasRole(role, new) and not timelock.hasRole(role, council.guardian)


def test_execute__inner_call_refused__nothing_is_done_and_it_may_be_tried_again(
    council: Council,
) -> None:
    vault = council.world.system.vault
    decision = council.decision(vault, "set_reserve_factor", 10_001)
    decision.schedule(council.timelock, sender=council.proposer)
    council.wait(DELAY_S)
    with reverts("vault: reserve factor too high"):
        decision.execute(council.timelock, sender=council.world.keeper)
    assert council.timelock.is_operation_ready(decision.id(council.timelock))


waits = st.lists(
    st.tuples(
        st.sampled_from(["schedule", "execute", "cancel", "wait"]),
        st.integers(0, 2),
        st.integers(1, 3 * DAY_S),
    ),
    min_size=4,
    max_size=14,
)


@given(history=waits)
def test_operations__any_order__executed_at_most_once_and_never_early(
    history: list[tuple[str, int, int]],
) -> None:
    """I38: against a model of what was scheduled when, called off and carried out."""
    council = shared_council()
    world, vault = council.world, council.world.system.vault
    with world.isolated():
        decisions = [
            council.decision(vault, "set_reserve_factor", 100 + index) for index in range(3)
        ]
        ready_at: dict[int, int] = {}
        done: set[int] = set()
        factor = _factor(council)
        for action, index, seconds in history:
            if action == "wait":
                world.chain.advance(seconds)
                continue
            decision, now = decisions[index], world.chain.time + BLOCK_INTERVAL_S
            is_waiting = index in ready_at and index not in done
            if action == "schedule":
                is_good = index not in ready_at
            elif action == "cancel":
                is_good = is_waiting
            else:
                is_good = is_waiting and ready_at[index] <= now
            sender = world.keeper if action == "execute" else council.proposer
            if not is_good:
                with reverts():
                    getattr(decision, action)(council.timelock, sender=sender)
                assert _factor(council) == factor
                continue
            getattr(decision, action)(council.timelock, sender=sender)
            if action == "schedule":
                ready_at[index] = world.chain.time + DELAY_S
            elif action == "cancel":
                del ready_at[index]
            else:
                done.add(index)
                factor = 100 + index
            assert _factor(council) == factor
