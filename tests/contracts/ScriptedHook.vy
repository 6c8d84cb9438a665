# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Scripted Hook
@license MIT
@author  Ballast contributors
@notice  A hook that makes the calls it was given, one after the other, and hands a refusal on.
"""

struct Call:
    target: address
    data: Bytes[1024]


# What each mandate does from now on.
_script: DynArray[Call, 16]
# Mandates answered so far.
count: public(uint256)


@external
def set_script(script: DynArray[Call, 16]):
    """
    @notice Replaces the script; an empty one does nothing and reverts nothing.
    """
    self._script = script


# The contracts it calls are free to call back; a test of a re-entry needs them to get through.
@external
@reentrant
def run(calls: DynArray[Call, 16]):
    """
    @notice The same outside a mandate.
    """
    self._play(calls)


# As for `run`.
@external
@reentrant
def __default__():
    """
    @notice Any other selector, `on_mandate` among them, plays the script.
    """
    self.count += 1
    self._play(self._script)


@internal
def _play(calls: DynArray[Call, 16]):
    for call: Call in calls:
        success: bool = False
        response: Bytes[128] = b""
        success, response = raw_call(call.target, call.data, max_outsize=128, revert_on_failure=False)
        if not success:
            raw_revert(response)
