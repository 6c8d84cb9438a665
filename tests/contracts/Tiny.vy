# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Tiny
@license MIT
@author  Ballast contributors
@notice  A counter that exercises what a chain backend must get right.
"""


struct Pair:
    left: uint256
    right: int128


event Stored:
    account: indexed(address)
    tag: indexed(uint256)
    label: String[32]
    delta: int256


OWNER: public(immutable(address))

value: public(uint256)
_scratch: transient(uint256)


@deploy
def __init__(owner: address, start: uint256):
    OWNER = owner
    self.value = start


@external
def store(new_value: uint256, label: String[32] = "plain") -> uint256:
    """
    @notice Replace the value; returns the old one.
    """
    self._check_small(new_value)
    self._check_scratch()
    old: uint256 = self.value
    self.value = new_value
    self._scratch = 1
    log Stored(account=msg.sender, tag=old, label=label, delta=convert(new_value, int256) - convert(old, int256))
    return old


@external
@payable
def pay():
    """
    @notice Take ether.
    """
    pass


@external
def fail_silently():
    """
    @notice Revert without data.
    """
    raise  # dev: on purpose


@external
def burn_gas():
    """
    @notice Stop with an invalid opcode.
    """
    raise UNREACHABLE


@external
@view
def clock() -> (uint256, uint256):
    """
    @notice Block number and timestamp, seconds.
    """
    return block.number, block.timestamp


@external
@view
def pair(left: uint256, right: int128) -> Pair:
    """
    @notice The arguments as a struct.
    """
    return Pair(left=left, right=right)


@external
@pure
def echo(pairs: DynArray[Pair, 4], note: Bytes[64]) -> (DynArray[Pair, 4], Bytes[64]):
    """
    @notice The arguments, unchanged.
    """
    return pairs, note


@internal
@pure
def _check_small(candidate: uint256):
    assert candidate != 7, "tiny: seven"


@internal
@view
def _check_scratch():
    assert self._scratch == 0, "tiny: scratch kept"
