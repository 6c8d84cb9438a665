# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Bad Feed
@license MIT
@author  Ballast contributors
@notice  A feed that answers any five words, and can revert, burn its gas, or answer too little or too much.
"""

SOUND: constant(uint256) = 0
REVERTS: constant(uint256) = 1
BURNS: constant(uint256) = 2
SHORT: constant(uint256) = 3
BOMB: constant(uint256) = 4
HEAVY: constant(uint256) = 5

decimals: public(immutable(uint8))

# @dev How the newest and how past rounds are answered: one of the constants above.
newest_mode: uint256
past_mode: uint256

newest: uint256[5]
past: HashMap[uint256, uint256[5]]


@deploy
def __init__(decimals_: uint8):
    """
    @notice Answers zeros until told otherwise.
    """
    decimals = decimals_


@external
def set_newest(words: uint256[5]):
    """
    @notice Sets the five words of `latestRoundData`.
    """
    self.newest = words


@external
def set_past(round_id: uint256, words: uint256[5]):
    """
    @notice Sets the five words of `getRoundData(round_id)`.
    """
    self.past[round_id] = words


@external
def set_modes(newest_mode: uint256, past_mode: uint256):
    """
    @notice Sets how either read misbehaves.
    """
    self.newest_mode = newest_mode
    self.past_mode = past_mode


@external
@view
@raw_return
def latestRoundData() -> Bytes[9_000]:
    """
    @notice The words set, as misshapen as the mode says.
    """
    return self._answer(self.newest_mode, self.newest)


@external
@view
@raw_return
def getRoundData(round_id: uint80) -> Bytes[9_000]:
    """
    @notice The words set, as misshapen as the mode says.
    """
    return self._answer(self.past_mode, self.past[convert(round_id, uint256)])


@internal
@view
def _answer(mode: uint256, words: uint256[5]) -> Bytes[9_000]:
    self._require_sound(mode != REVERTS)
    assert mode != BURNS, UNREACHABLE
    data: Bytes[160] = abi_encode(words)
    if mode == HEAVY:
        # With warm slots almost all the gas that the oracle allows, 60,000.
        digest: bytes32 = empty(bytes32)
        for i: uint256 in range(520):
            digest = keccak256(digest)
    if mode == SHORT:
        return slice(data, 0, 159)
    if mode == BOMB:
        return concat(data, empty(bytes32), slice(msg.data, 0, 4), self._zeros())
    return data


@internal
@pure
def _zeros() -> Bytes[8_192]:
    zeros: uint256[254] = empty(uint256[254])
    return abi_encode(zeros)


@internal
@pure
def _require_sound(is_sound: bool):
    assert is_sound, "bad feed: access removed"
