# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Moody Hook
@license MIT
@author  Ballast contributors
@notice  A hook that is one when it is asked and another when it has its mandate, and that can call somebody from there.
"""

ANSWERS: constant(uint256) = 0
REVERTS: constant(uint256) = 1
BURNS: constant(uint256) = 2
BOMB: constant(uint256) = 3
SLOW: constant(uint256) = 4  # answers as it should, once nearly all gas is gone
BARE: constant(uint256) = 5

when_asked: public(uint256)
at_work: public(uint256)
# What it says when asked, byte by byte.
answer: Bytes[64]
# Mandates that went through.
count: public(uint256)

# Whom to call at work, with what, and what came of it.
target: address
payload: Bytes[2_048]
has_succeeded: public(bool)
response: public(Bytes[160])


@deploy
def __init__():
    self.answer = abi_encode(True)


@external
def set_moods(when_asked: uint256, at_work: uint256):
    """
    @notice One of the constants above for either.
    """
    self.when_asked = when_asked
    self.at_work = at_work


@external
def set_answer(answer: Bytes[64]):
    """
    @notice What to say when asked.
    """
    self.answer = answer


@external
def set_call(target: address, payload: Bytes[2_048]):
    """
    @notice Whom to call in mandates from now on.
    """
    self.target = target
    self.payload = payload


@external
@view
@raw_return
def is_triggered(account: uint256) -> Bytes[16_384]:
    """
    @notice Says so, in its mood.
    """
    return self._act(self.when_asked, self.answer)


# Any other selector, `on_mandate` among them; whom it calls may come back here.
@external
@reentrant
@raw_return
def __default__() -> Bytes[16_384]:
    self.count += 1
    if self.target != empty(address):
        self.has_succeeded, self.response = raw_call(
            self.target, self.payload, max_outsize=160, revert_on_failure=False
        )
    return self._act(self.at_work, b"")


@internal
@view
def _act(mood: uint256, answer: Bytes[64]) -> Bytes[16_384]:
    assert mood != REVERTS, "moody hook: not now"
    assert mood != BURNS, UNREACHABLE
    if mood == BARE:
        raw_revert(b"")
    if mood == BOMB:
        raw_revert(self._zeros())
    if mood == SLOW:
        digest: bytes32 = empty(bytes32)
        for i: uint256 in range(1_000_000):
            if msg.gas < 100_000:
                break
            digest = keccak256(digest)
    return answer


@internal
@pure
def _zeros() -> Bytes[16_384]:
    zeros: uint256[510] = empty(uint256[510])
    return abi_encode(zeros)
