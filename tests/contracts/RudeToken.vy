# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Rude Token
@license MIT
@author  Ballast contributors
@notice  A token with a list of addresses it does not pay or take from, which refuses zero amounts and zero approvals,
         and delivers one unit less than asked when told to.
"""

decimals: public(immutable(uint8))
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
is_blocked: public(HashMap[address, bool])
is_paused: public(bool)
is_short: public(bool)


@deploy
def __init__(decimals_: uint8):
    decimals = decimals_


@external
def mint(receiver: address, amount: uint256):
    """
    @notice Creates `amount` token units for `receiver`.
    """
    self.balanceOf[receiver] += amount


@external
def block_account(account: address, is_blocked: bool):
    """
    @notice Puts an address on the list or takes it off.
    """
    self.is_blocked[account] = is_blocked


@external
def set_manners(is_paused: bool, is_short: bool):
    """
    @notice Whether nothing moves at all, and whether moves fall short by a unit.
    """
    self.is_paused = is_paused
    self.is_short = is_short


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Sets an allowance, but none of zero.
    """
    self._require_nonzero(amount)
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Moves tokens between addresses that are not on the list.
    """
    self._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice As `transfer`, out of an allowance.
    """
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, receiver, amount)
    return True


@internal
def _move(owner: address, receiver: address, amount: uint256):
    self._require_nonzero(amount)
    self._require_welcome(owner, receiver)
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount - convert(self.is_short, uint256)


@internal
@pure
def _require_nonzero(amount: uint256):
    assert amount != 0, "rude token: zero amount"


@internal
@view
def _require_welcome(owner: address, receiver: address):
    is_refused: bool = self.is_paused or self.is_blocked[owner] or self.is_blocked[receiver]
    assert not is_refused, "rude token: blocked"
