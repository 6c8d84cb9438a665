# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Timelock
@license MIT
@author  Ballast contributors
@notice  Where a decision waits in public before it takes effect: proposers schedule, cancellers call off, executors carry
         out, and nobody is faster than the delay.
@dev     snekmate's timelock controller as it is, without its receivers of NFTs. Its own roles and its delay change through
         itself alone once the admin of the deployment has renounced. What it may do to the system stands in `Governance`.
@custom:invariant I38
@custom:kill  A canceller calls off what waits.
"""

from snekmate.auth import access_control
from snekmate.governance import timelock_controller

initializes: access_control
initializes: timelock_controller[access_control := access_control]

# Who may what.
exports: (
    timelock_controller.DEFAULT_ADMIN_ROLE,
    timelock_controller.PROPOSER_ROLE,
    timelock_controller.EXECUTOR_ROLE,
    timelock_controller.CANCELLER_ROLE,
    timelock_controller.hasRole,
    timelock_controller.getRoleAdmin,
    timelock_controller.grantRole,
    timelock_controller.revokeRole,
    timelock_controller.renounceRole,
    timelock_controller.set_role_admin,
)

# What waits.
exports: (
    timelock_controller.schedule,
    timelock_controller.schedule_batch,
    timelock_controller.cancel,
    timelock_controller.execute,
    timelock_controller.execute_batch,
    timelock_controller.update_delay,
    timelock_controller.get_minimum_delay,
    timelock_controller.get_timestamp,
    timelock_controller.get_operation_state,
    timelock_controller.is_operation,
    timelock_controller.is_operation_pending,
    timelock_controller.is_operation_ready,
    timelock_controller.is_operation_done,
    timelock_controller.hash_operation,
    timelock_controller.hash_operation_batch,
)


@deploy
def __init__(
    minimum_delay_s: uint256, proposers: DynArray[address, 255], executors: DynArray[address, 255], admin: address
):
    """
    @param minimum_delay_s  Seconds that everything waits at least.
    @param proposers        May schedule and cancel.
    @param executors        May carry out what has waited; the empty address stands for anyone.
    @param admin            Hands out roles without delay until it renounces; empty for none.
    """
    access_control.__init__()
    timelock_controller.__init__(minimum_delay_s, proposers, executors, admin)
