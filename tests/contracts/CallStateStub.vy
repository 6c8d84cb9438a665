# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Call State Stub
@license MIT
@author  Ballast contributors
@notice  Stands in for the clearing house where only its state word is asked for.
"""

call_state: public(uint256)


@external
def set_call_state(state: uint256):
    """
    @notice Sets what `call_state` answers.
    """
    self.call_state = state


@external
def relay(target: address, call_data: Bytes[4_096]) -> Bytes[4_096]:
    """
    @notice Calls `target` from inside a transaction and passes on its answer or its revert.
    """
    return raw_call(target, call_data, max_outsize=4_096)
