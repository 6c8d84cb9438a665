# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Blocklist Token
@license MIT
@author  Ballast contributors
@notice  A token with six decimals whose issuer can block holders, as those of large dollar tokens can. Whoever is
         blocked neither sends nor receives; balances and allowances can still be read.
"""

decimals: public(constant(uint8)) = 6
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
is_blocked: public(HashMap[address, bool])


@external
def set_blocked(holder: address, is_blocked: bool):
    """
    @notice Blocks or frees a holder; open to everyone.
    """
    self.is_blocked[holder] = is_blocked


@external
def mint(receiver: address, amount: uint256):
    """
    @notice Creates `amount` token units for `receiver`.
    """
    self.balanceOf[receiver] += amount


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Sets an allowance.
    """
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Moves tokens between holders who are not blocked.
    """
    self._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Moves tokens out of an allowance between holders who are not blocked.
    """
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, receiver, amount)
    return True


@internal
def _move(owner: address, receiver: address, amount: uint256):
    assert not self.is_blocked[owner] and not self.is_blocked[receiver], "token: holder is blocked"
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount
