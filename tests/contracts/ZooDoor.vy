# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Zoo Door
@license MIT
@author  Ballast contributors
@notice  A second address of a zoo token: the same balances, allowances of its own.
"""

interface Zoo:
    def balanceOf(holder: address) -> uint256: view
    def move_for(owner: address, receiver: address, amount: uint256): nonpayable

decimals: public(constant(uint8)) = 6
ZOO: immutable(Zoo)
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(zoo: address):
    """
    @notice The token has to name this address as its door.
    """
    ZOO = Zoo(zoo)


@external
@view
def balanceOf(holder: address) -> uint256:
    """
    @notice The token's own figure.
    """
    return staticcall ZOO.balanceOf(holder)


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Sets an allowance at this address.
    """
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Moves the same tokens.
    """
    extcall ZOO.move_for(msg.sender, receiver, amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice As `transfer`, out of an allowance at this address.
    """
    self.allowance[owner][msg.sender] -= amount
    extcall ZOO.move_for(owner, receiver, amount)
    return True
