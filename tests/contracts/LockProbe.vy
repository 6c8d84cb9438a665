# pragma version 0.4.3
# pragma nonreentrancy off
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Lock probe
@license MIT
@author  Ballast contributors
@notice  Lets another contract's code run on its own storage, with its lock held or free.
@dev     The compiler gives every contract the same slot for its lock, so code that runs here by a delegate call finds
         the lock of this contract, and takes it for its own.
"""


@external
@nonreentrant
def held(target: address, data: Bytes[4096]) -> (bool, uint256, uint256):
    """
    @notice What a call comes to while the lock is held.
    @return Whether it succeeded, bytes that it answered (32 at most), gas that it took.
    """
    return self._lent(target, data)


@external
def free(target: address, data: Bytes[4096]) -> (bool, uint256, uint256):
    """
    @notice What the same call comes to while the lock is free.
    @return As `held`.
    """
    return self._lent(target, data)


@internal
def _lent(target: address, data: Bytes[4096]) -> (bool, uint256, uint256):
    before: uint256 = msg.gas
    is_done: bool = False
    answer: Bytes[32] = b""
    is_done, answer = raw_call(
        target, data, max_outsize=32, is_delegate_call=True, revert_on_failure=False
    )
    return is_done, len(answer), unsafe_sub(before, msg.gas)
