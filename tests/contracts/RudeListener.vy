# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Rude Listener
@license MIT
@author  Ballast contributors
@notice  A price listener that behaves, reverts, burns gas, answers far too much, or calls the feed back.
"""

from contracts.interfaces import IAggregatorV3

interface IFeed:
    def set_answer(answer: int256): nonpayable

BEHAVES: constant(uint256) = 0
REVERTS: constant(uint256) = 1
BURNS: constant(uint256) = 2
BOMB: constant(uint256) = 3
UPDATES: constant(uint256) = 4
SWALLOWS: constant(uint256) = 5

# @dev What the next call does: one of the constants above.
mode: public(uint256)

# @dev What was seen during the last call that went through.
seen_feed: public(address)
seen_round_id: public(uint256)
seen_answer: public(int256)


@external
def set_mode(mode: uint256):
    """
    @notice Chooses the manners.
    """
    self.mode = mode


@external
@raw_return
def on_price(feed: address, round_id: uint256) -> Bytes[50_000]:
    """
    @notice Notes the round, or misbehaves.
    """
    self._require_manners(self.mode != REVERTS)
    assert self.mode != BURNS, UNREACHABLE
    if self.mode == SWALLOWS:
        for i: uint256 in range(1_000_000_000):
            self.seen_round_id = i
    if self.mode == UPDATES:
        extcall IFeed(feed).set_answer(1)
    id: uint80 = 0
    answer: int256 = 0
    started_at: uint256 = 0
    updated_at: uint256 = 0
    answered_in: uint80 = 0
    id, answer, started_at, updated_at, answered_in = staticcall IAggregatorV3(feed).latestRoundData()
    self.seen_feed = feed
    self.seen_round_id = round_id
    self.seen_answer = answer
    if self.mode == BOMB:
        zeros: uint256[1_500] = empty(uint256[1_500])
        return abi_encode(zeros)
    return b""


@internal
@pure
def _require_manners(has_manners: bool):
    assert has_manners, "rude listener: no"
