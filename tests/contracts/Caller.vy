# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Caller
@license MIT
@author  Ballast contributors
@notice  Makes several calls in one transaction and hands a refusal on. Owns accounts like anybody.
"""

struct Call:
    target: address
    data: Bytes[8192]


@external
def run(calls: DynArray[Call, 8]):
    """
    @notice Each call in turn; the first that reverts reverts all, with its own data.
    """
    for call: Call in calls:
        success: bool = False
        response: Bytes[256] = b""
        success, response = raw_call(call.target, call.data, max_outsize=256, revert_on_failure=False)
        if not success:
            raw_revert(response)
