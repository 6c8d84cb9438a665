# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Callback Token
@license MIT
@author  Ballast contributors
@notice  A token that calls someone while it moves, and remembers what came of it.
"""

MAX_PAYLOAD: constant(uint256) = 1_024

decimals: public(constant(uint8)) = 18
# Read by whoever the token calls.
balanceOf: public(reentrant(HashMap[address, uint256]))
allowance: public(HashMap[address, HashMap[address, uint256]])

# Whom to call during the next move, and with what; nobody when zero.
target: address
payload: Bytes[MAX_PAYLOAD]

calls: public(uint256)
has_succeeded: public(bool)
answer: public(Bytes[MAX_PAYLOAD])


@external
def mint(receiver: address, amount: uint256):
    """
    @notice Creates `amount` token units for `receiver`.
    """
    self.balanceOf[receiver] += amount


@external
def arm(target: address, payload: Bytes[MAX_PAYLOAD]):
    """
    @notice Sets whom to call during the moves from now on.
    """
    self.target = target
    self.payload = payload
    self.calls = 0


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Sets an allowance.
    """
    self.allowance[msg.sender][spender] = amount
    return True


# The call below may come back here: a token without a lock is the harder case.
@external
@reentrant
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Calls, then moves tokens.
    """
    self._call()
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount
    return True


# As above.
@external
@reentrant
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Calls, then moves tokens out of an allowance.
    """
    self._call()
    self.allowance[owner][msg.sender] -= amount
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount
    return True


@internal
def _call():
    if self.target == empty(address):
        return
    has_succeeded: bool = False
    answer: Bytes[MAX_PAYLOAD] = b""
    has_succeeded, answer = raw_call(
        self.target, self.payload, max_outsize=MAX_PAYLOAD, revert_on_failure=False
    )
    self.calls += 1
    self.has_succeeded = has_succeeded
    self.answer = answer
