# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Zoo Token
@license MIT
@author  Ballast contributors
@notice  A token of 6 decimals with every bad habit of tokens in use, one by one as it is told: a fee on transfer, no or
         a false answer, allowances that only change to and from zero, no zero amounts, numbers of 96 bits, a pause,
         a list of the blocked, calls to others while it moves, balances that change by themselves, a second address.
"""

KEEPS_FEE: constant(uint256) = 1
SAYS_NOTHING: constant(uint256) = 2
SAYS_FALSE: constant(uint256) = 4
IS_STICKY: constant(uint256) = 8
NO_ZERO_MOVE: constant(uint256) = 16
NO_ZERO_APPROVAL: constant(uint256) = 32
IS_NARROW: constant(uint256) = 64
IS_PAUSED: constant(uint256) = 128
CALLS_OTHERS: constant(uint256) = 256
MAX_PAYLOAD: constant(uint256) = 1_024
BPS: constant(uint256) = 10_000

decimals: public(constant(uint8)) = 6
# Read by whoever the token calls.
balanceOf: public(reentrant(HashMap[address, uint256]))
allowance: public(HashMap[address, HashMap[address, uint256]])
is_blocked: public(HashMap[address, bool])

manners: uint256
# The second address, which may move what belongs to its own callers.
door: address
# Whom to call during a move, and with what.
target: address
payload: Bytes[MAX_PAYLOAD]
calls: public(uint256)


@external
def mint(receiver: address, amount: uint256):
    """
    @notice Creates `amount` token units for `receiver`.
    """
    self.balanceOf[receiver] += amount


@external
def set_manners(manners: uint256):
    """
    @notice Chooses the habits from now on, added up.
    """
    self.manners = manners


@external
def block_account(account: address, is_blocked: bool):
    """
    @notice Puts an address on the list or takes it off.
    """
    self.is_blocked[account] = is_blocked


@external
def arm(target: address, payload: Bytes[MAX_PAYLOAD]):
    """
    @notice Sets whom to call during moves.
    """
    self.target = target
    self.payload = payload


@external
def set_door(door: address):
    """
    @notice Names the second address.
    """
    self.door = door


@external
def rebase(holder: address, part_bps: uint256):
    """
    @notice Makes a balance so many parts of what it was.
    """
    self.balanceOf[holder] = self.balanceOf[holder] * part_bps // BPS


@external
@raw_return
def approve(spender: address, amount: uint256) -> Bytes[32]:
    """
    @notice Sets an allowance, habits permitting.
    """
    if self.manners & SAYS_FALSE == 0:
        assert self.manners & NO_ZERO_APPROVAL == 0 or amount != 0, "zoo: zero approval"
        assert (
            self.manners & IS_STICKY == 0 or amount == 0 or self.allowance[msg.sender][spender] == 0
        ), "zoo: allowance not zero"
        self._require_narrow(amount)
        self.allowance[msg.sender][spender] = amount
    return self._answer()


# A token without a lock is the harder case.
@external
@reentrant
@raw_return
def transfer(receiver: address, amount: uint256) -> Bytes[32]:
    """
    @notice Moves tokens, habits permitting.
    """
    if self.manners & SAYS_FALSE == 0:
        self._move(msg.sender, receiver, amount)
    return self._answer()


# As above.
@external
@reentrant
@raw_return
def transferFrom(owner: address, receiver: address, amount: uint256) -> Bytes[32]:
    """
    @notice As `transfer`, out of an allowance.
    """
    if self.manners & SAYS_FALSE == 0:
        self.allowance[owner][msg.sender] -= amount
        self._move(owner, receiver, amount)
    return self._answer()


@external
def move_for(owner: address, receiver: address, amount: uint256):
    """
    @notice Moves tokens for the second address.
    """
    assert msg.sender == self.door, "zoo: not the door"
    self._move(owner, receiver, amount)


@internal
def _move(owner: address, receiver: address, amount: uint256):
    assert self.manners & NO_ZERO_MOVE == 0 or amount != 0, "zoo: zero amount"
    assert self.manners & IS_PAUSED == 0, "zoo: paused"
    assert not self.is_blocked[owner] and not self.is_blocked[receiver], "zoo: blocked"
    self._require_narrow(amount)
    if self.manners & CALLS_OTHERS != 0:
        success: bool = raw_call(self.target, self.payload, revert_on_failure=False)
        self.calls += 1
    fee: uint256 = 0
    if self.manners & KEEPS_FEE != 0:
        fee = amount // 100
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount - fee


@internal
@view
def _require_narrow(amount: uint256):
    assert self.manners & IS_NARROW == 0 or amount < 2**96, "zoo: above 96 bits"


@internal
@view
def _answer() -> Bytes[32]:
    if self.manners & SAYS_NOTHING != 0:
        return b""
    return slice(abi_encode(self.manners & SAYS_FALSE == 0), 0, 32)
