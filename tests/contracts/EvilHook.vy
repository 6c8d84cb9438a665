# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Evil Hook
@license MIT
@author  Ballast contributors
@notice  A hook that does in its mandate whatever it was told to, and misbehaves in every way a hook can. It can
         also own accounts, as an owner who colludes with his hook would.
"""

from contracts.interfaces import IMandates

MAX_CALLS: constant(uint256) = 40
MAX_PAYLOAD: constant(uint256) = 1_024

PLAYS: constant(uint256) = 0
REVERTS: constant(uint256) = 1
REVERTS_BARE: constant(uint256) = 2
REVERTS_BOMB: constant(uint256) = 3
BURNS: constant(uint256) = 4
ANSWERS_BOMB: constant(uint256) = 5


struct Call:
    target: address
    payload: Bytes[MAX_PAYLOAD]
    must_succeed: bool


mode: public(uint256)
script: DynArray[Call, MAX_CALLS]
# Whether each call of the latest mandate succeeded; read while a mandate is under way, too.
results: public(reentrant(DynArray[bool, MAX_CALLS]))
# As above.
answers: public(reentrant(DynArray[Bytes[160], MAX_CALLS]))
gas_given: public(uint256)
# What `is_triggered` answers, byte by byte.
trigger: Bytes[64]


@external
def set_mode(mode: uint256):
    """
    @notice How to misbehave: one of the constants above.
    """
    self.mode = mode


@external
def set_script(script: DynArray[Call, MAX_CALLS]):
    """
    @notice What to call in the next mandates, in this order.
    """
    self.script = script


@external
def set_trigger(answer: Bytes[64]):
    """
    @notice What to say when asked whether an account is triggered.
    """
    self.trigger = answer


@external
@view
@raw_return
def is_triggered(account: uint256) -> Bytes[64]:
    """
    @notice Says it, or misbehaves as in a mandate.
    """
    self._require_manners()
    assert self.mode != REVERTS_BARE  # dev: without a reason
    assert self.mode != BURNS, UNREACHABLE
    return self.trigger


# An owner's calls may lead back here by way of a mandate.
@external
@reentrant
def execute(target: address, payload: Bytes[MAX_PAYLOAD]) -> Bytes[160]:
    """
    @notice Calls as the owner that this contract is; reverts as the call does.
    """
    return raw_call(target, payload, max_outsize=160)


# The mandate's calls may lead back here.
@external
@reentrant
@raw_return
def on_mandate(account: uint256, guard_word: uint256, picture: IMandates.Snapshot) -> Bytes[8_192]:
    """
    @notice Plays the script.
    """
    self.gas_given = msg.gas
    self._require_manners()
    assert self.mode != REVERTS_BARE  # dev: without a reason
    assert self.mode != BURNS, UNREACHABLE
    bomb: uint256[256] = empty(uint256[256])
    if self.mode == REVERTS_BOMB:
        raw_revert(abi_encode(bomb))
    if self.mode == ANSWERS_BOMB:
        return abi_encode(bomb)
    self.results = []
    self.answers = []
    for call: Call in self.script:
        has_succeeded: bool = False
        answer: Bytes[160] = b""
        has_succeeded, answer = raw_call(
            call.target, call.payload, max_outsize=160, revert_on_failure=False
        )
        if call.must_succeed and not has_succeeded:
            raw_revert(answer)
        self.results.append(has_succeeded)
        self.answers.append(answer)
    return b""


@internal
@view
def _require_manners():
    assert self.mode != REVERTS, "evil hook: no"
