# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Mute Pull Feed
@license MIT
@author  Ballast contributors
@notice  A pull feed that takes no price and says nothing about it.
"""


@external
def push(payload: Bytes[4_096]):
    """
    @notice Never.
    """
    assert len(payload) > 4_096  # dev: mute


@external
@view
def made_at(payload: Bytes[4_096]) -> uint256:
    """
    @notice Now.
    """
    return block.timestamp
