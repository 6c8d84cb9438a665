# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Mock Token
@license MIT
@author  Ballast contributors
@notice  An ERC-20 that anyone may mint, for tests, demonstrations and test networks. Never list it for real.
@dev     A plain storage layout, so that its gas is that of a lean production token: one slot a balance, one slot an
         allowance, and an infinite allowance is not decreased.
"""

from ethereum.ercs import IERC20
implements: IERC20

from ethereum.ercs import IERC20Detailed
implements: IERC20Detailed

name: public(immutable(String[64]))
symbol: public(immutable(String[16]))
decimals: public(immutable(uint8))

# No function here calls another contract, so there is no moment at which a lock would protect anything; without it the
# gas is that of tokens in use.
balanceOf: public(reentrant(HashMap[address, uint256]))
# As above.
allowance: public(reentrant(HashMap[address, HashMap[address, uint256]]))
# As above.
totalSupply: public(reentrant(uint256))


@deploy
def __init__(name_: String[64], symbol_: String[16], decimals_: uint8):
    """
    @notice A token with no supply; see `mint`.
    """
    name = name_
    symbol = symbol_
    decimals = decimals_


# No call, no lock: see the storage.
@external
@reentrant
def mint(receiver: address, amount: uint256):
    """
    @notice Creates `amount` token units for `receiver`; open to everyone.
    """
    self.totalSupply += amount
    self.balanceOf[receiver] += amount
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=amount)


# No call, no lock: see the storage.
@external
@reentrant
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Moves `amount` from the caller to `receiver`.
    """
    self._transfer(msg.sender, receiver, amount)
    return True


# No call, no lock: see the storage.
@external
@reentrant
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Moves `amount` from `owner` to `receiver` out of the caller's allowance.
    """
    allowed: uint256 = self.allowance[owner][msg.sender]
    if allowed != max_value(uint256):
        self._require_allowance(allowed, amount)
        self.allowance[owner][msg.sender] = allowed - amount
    self._transfer(owner, receiver, amount)
    return True


# No call, no lock: see the storage.
@external
@reentrant
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Lets `spender` move `amount` of the caller's tokens; the largest integer means without limit.
    """
    self.allowance[msg.sender][spender] = amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@internal
def _transfer(owner: address, receiver: address, amount: uint256):
    balance: uint256 = self.balanceOf[owner]
    self._require_balance(balance, amount)
    self.balanceOf[owner] = balance - amount
    self.balanceOf[receiver] += amount
    log IERC20.Transfer(sender=owner, receiver=receiver, value=amount)


@internal
@pure
def _require_allowance(allowed: uint256, amount: uint256):
    assert allowed >= amount, "mock: allowance too low"


@internal
@pure
def _require_balance(balance: uint256, amount: uint256):
    assert balance >= amount, "mock: balance too low"
