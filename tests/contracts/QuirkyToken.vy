# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Quirky Token
@license MIT
@author  Ballast contributors
@notice  A token whose `approve` and `transfer` answer as it is told: true, false, or with nothing at all. Like some
         tokens in use it also refuses to change an allowance that is not zero into another one.
"""

SAYS_TRUE: constant(uint256) = 0
SAYS_FALSE: constant(uint256) = 1
SAYS_NOTHING: constant(uint256) = 2

decimals: public(constant(uint8)) = 18

# How `approve`, `transfer` and `transferFrom` answer: SAYS_TRUE, SAYS_FALSE or SAYS_NOTHING.
answers: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
def set_answers(answers: uint256):
    """
    @notice Chooses how the token answers from now on.
    """
    self.answers = answers


@external
def mint(receiver: address, amount: uint256):
    """
    @notice Creates `amount` token units for `receiver`.
    """
    self.balanceOf[receiver] += amount


@external
@raw_return
def approve(spender: address, amount: uint256) -> Bytes[32]:
    """
    @notice Sets an allowance, unless the token answers false.
    """
    if self.answers != SAYS_FALSE:
        assert amount == 0 or self.allowance[msg.sender][spender] == 0  # dev: allowance is not zero
        self.allowance[msg.sender][spender] = amount
    return self._answer()


@external
@raw_return
def transfer(receiver: address, amount: uint256) -> Bytes[32]:
    """
    @notice Moves tokens, unless the token answers false.
    """
    if self.answers != SAYS_FALSE:
        self._move(msg.sender, receiver, amount)
    return self._answer()


@external
@raw_return
def transferFrom(owner: address, receiver: address, amount: uint256) -> Bytes[32]:
    """
    @notice Moves tokens out of the caller's allowance, unless the token answers false.
    """
    if self.answers != SAYS_FALSE:
        self.allowance[owner][msg.sender] -= amount
        self._move(owner, receiver, amount)
    return self._answer()


@internal
def _move(owner: address, receiver: address, amount: uint256):
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount


@internal
@view
def _answer() -> Bytes[32]:
    if self.answers == SAYS_NOTHING:
        return b""
    return abi_encode(self.answers == SAYS_TRUE)
