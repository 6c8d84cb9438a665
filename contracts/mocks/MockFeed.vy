# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Mock Feed
@license MIT
@author  Ballast contributors
@notice  A price feed that anyone may set, for tests, demonstrations and test networks. Never list it for real.
@dev     One word per round, and the newest word is kept a second time in a slot of its own, so that either read
         costs one slot:  answered lag u8 | round id u80 | updated at u40 | answer i128, lowest first; the round
         in which it was answered is the round id less the lag.
         A listener is called after the round is stored, with bounded gas and no return data, so it can never make
         an update fail. WARNING: a gas estimate may find the amount at which the listener is left out; send an
         update that should reach it with at least LISTENER_GAS to spare.
"""

from contracts.interfaces import IAggregatorV3
implements: IAggregatorV3

from contracts.interfaces import IPriceListener

# Enough for `Keepers` to look at sixteen accounts and rebalance some, one whose hook burns all it is given among them;
# within what one transaction may use on mainnet, and only what is used is paid for.
LISTENER_GAS: constant(uint256) = 15_000_000
RESERVED_GAS: constant(uint256) = 10_000  # closes the update after the listener has burnt its share

MASK_8: constant(uint256) = 2**8 - 1
MASK_40: constant(uint256) = 2**40 - 1
MASK_80: constant(uint256) = 2**80 - 1

decimals: public(immutable(uint8))
description: public(immutable(String[64]))

# @dev Who is told of updates; empty for nobody.
listener: public(address)

_newest: uint256
_rounds: HashMap[uint256, uint256]


@deploy
def __init__(decimals_: uint8, description_: String[64]):
    """
    @notice A feed without rounds; reading it reverts until the first one is set.
    """
    decimals = decimals_
    description = description_


@external
def set_answer(answer: int256):
    """
    @notice Publishes `answer` as a new round, updated now.
    """
    self._publish(self._next_id(), answer, block.timestamp, 0)


@external
def set_round(answer: int256, updated_at: uint256):
    """
    @notice Publishes `answer` as a new round that says it was updated at `updated_at` (unix seconds).
    """
    self._publish(self._next_id(), answer, updated_at, 0)


@external
def set_raw(round_id: uint256, answer: int256, updated_at: uint256, answered_in_round: uint256):
    """
    @notice Writes any round, sound or not; it becomes the newest unless its id is below the newest one's.
    @dev    `answered_in_round` may lie at most 255 rounds back.
    """
    self._publish(round_id, answer, updated_at, round_id - answered_in_round)


@external
def set_listener(listener: address):
    """
    @notice Names who is told of every update from now on; empty for nobody.
    """
    self.listener = listener


# A listener reads the feed while the update is still on the stack; the round is complete by then.
@external
@view
@reentrant
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The newest round; reverts when there is none.
    """
    return self._round(self._newest)


# As for `latestRoundData`.
@external
@view
@reentrant
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice A past round; reverts when it is not there.
    """
    return self._round(self._rounds[convert(round_id, uint256)])


@internal
def _publish(round_id: uint256, answer: int256, updated_at: uint256, lag: uint256):
    self._require_fits(round_id <= MASK_80 and updated_at <= MASK_40 and lag <= MASK_8)
    self._require_fits(answer >= -(2**127) and answer < 2**127)
    # By way of bytes32, which keeps the bits of a negative number where a conversion would revert.
    answer_word: uint256 = convert(convert(answer << 128, bytes32), uint256)
    word: uint256 = lag | (round_id << 8) | (updated_at << 88) | answer_word
    self._rounds[round_id] = word
    if round_id >= (self._newest >> 8) & MASK_80:
        self._newest = word
        log IAggregatorV3.AnswerUpdated(current=answer, round_id=round_id, updated_at=updated_at)
        self._notify(round_id)


@internal
def _notify(round_id: uint256):
    listener: address = self.listener
    if listener == empty(address) or msg.gas <= RESERVED_GAS:
        return
    call_data: Bytes[68] = abi_encode(self, round_id, method_id=method_id("on_price(address,uint256)"))
    gas: uint256 = min(LISTENER_GAS, msg.gas - RESERVED_GAS)
    success: bool = raw_call(listener, call_data, gas=gas, revert_on_failure=False)
    if not success:
        log IPriceListener.ListenerFailed(listener=listener, round_id=round_id)


@internal
@view
def _next_id() -> uint256:
    return ((self._newest >> 8) & MASK_80) + 1


@internal
@pure
def _round(word: uint256) -> (uint80, int256, uint256, uint256, uint80):
    self._require_round(word)
    round_id: uint256 = (word >> 8) & MASK_80
    updated_at: uint256 = (word >> 88) & MASK_40
    return (
        convert(round_id, uint80),
        convert(convert(word, bytes32), int256) >> 128,
        updated_at,
        updated_at,
        convert(round_id - (word & MASK_8), uint80),
    )


@internal
@pure
def _require_round(word: uint256):
    assert word != 0, "mock: no such round"


@internal
@pure
def _require_fits(fits: bool):
    assert fits, "mock: round does not fit"
