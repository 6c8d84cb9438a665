# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   House Stub
@license MIT
@author  Ballast contributors
@notice  Stands where clearing house and markets stand for a liquidity vault: cash of accounts, and every other figure
         as it was set. The equity of an account is its cash and its result.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

IDLE: constant(uint256) = 0
MAX_REFRESHES: constant(uint256) = 64

ASSET: immutable(IERC20)
UNIT_WAD: immutable(uint256)

# Asked for in the middle of a call.
call_state: public(reentrant(uint256))

cash_of: public(HashMap[uint256, int256])
# What an account's positions are worth beyond its cash, WAD.
result_of: public(HashMap[uint256, int256])
listed_word: public(HashMap[uint256, uint256])

skew_charge_wad: public(uint256)
uncertainty_wad: public(uint256)
free_wad: public(uint256)
oldest_round_at: public(uint256)

# Cash of `observed` at each refresh.
observed: uint256
refreshes: DynArray[int256, MAX_REFRESHES]
# Asset units that a withdrawal sends too little.
shortfall: public(uint256)


@deploy
def __init__(asset: address):
    ASSET = IERC20(asset)
    UNIT_WAD = 10 ** convert(18 - staticcall IERC20Detailed(asset).decimals(), uint256)


################################################################
#                        Clearing house                        #
################################################################


@external
def deposit(account: uint256, asset: uint256, amount: uint256):
    """
    @notice Takes exactly `amount` from the caller.
    """
    assert asset == 0 and amount != 0 and self.call_state == IDLE  # dev: as the real one
    self.cash_of[account] += convert(amount * UNIT_WAD, int256)
    assert extcall ASSET.transferFrom(msg.sender, self, amount, default_return_value=True)  # dev: not paid


@external
def withdraw(account: uint256, asset: uint256, amount: uint256, receiver: address):
    """
    @notice Sends `amount`, less what is told to be short, to `receiver`; the owner only, and never more than the cash.
    """
    assert asset == 0 and amount != 0 and self.call_state == IDLE  # dev: as the real one
    assert convert(account >> 8, address) == msg.sender  # dev: only the owner
    cash: int256 = self.cash_of[account] - convert(amount * UNIT_WAD, int256)
    assert cash >= 0  # dev: no loans here
    self.cash_of[account] = cash
    sent: uint256 = amount - self.shortfall
    assert extcall ASSET.transfer(receiver, sent, default_return_value=True)  # dev: not sent


@external
@view
def account_word(account: uint256) -> uint256:
    """
    @notice Cash alone; nothing is lent here.
    """
    return convert(self.cash_of[account], uint256)


@external
@view
def assess(account: uint256) -> (int256, uint256, int256, uint256):
    """
    @notice Only the equity at maintenance tells something; the others are there to be mistaken for it.
    """
    equity: int256 = self.cash_of[account] + self.result_of[account]
    return equity - 7, 11, equity, 13


################################################################
#                           Markets                            #
################################################################


@external
def refresh():
    """
    @notice Remembers the cash of the observed account.
    """
    if len(self.refreshes) == MAX_REFRESHES:
        self.refreshes = []
    self.refreshes.append(self.cash_of[self.observed])


################################################################
#                           Setting                            #
################################################################


@external
def set_call_state(state: uint256):
    """
    @notice Sets what `call_state` answers.
    """
    self.call_state = state


@external
def set_result(account: uint256, result: int256):
    """
    @notice Sets what an account's positions are worth beyond its cash.
    """
    self.result_of[account] = result


@external
def set_listed(account: uint256, word: uint256):
    """
    @notice Sets an asset list.
    """
    self.listed_word[account] = word


@external
def set_markets(skew_charge: uint256, uncertainty: uint256):
    """
    @notice Sets what the markets say of the house.
    """
    self.skew_charge_wad = skew_charge
    self.uncertainty_wad = uncertainty


@external
def set_free(free: uint256):
    """
    @notice Sets what backs nothing.
    """
    self.free_wad = free


@external
def set_round(at: uint256):
    """
    @notice Sets the time of the oldest of the newest rounds.
    """
    self.oldest_round_at = at


@external
def set_shortfall(shortfall: uint256):
    """
    @notice Sets by how much withdrawals fall short.
    """
    self.shortfall = shortfall


@external
def observe(account: uint256):
    """
    @notice Remembers the cash of `account` at every refresh from now on.
    """
    self.observed = account
    self.refreshes = []


@external
@view
def cash_at_refreshes() -> DynArray[int256, MAX_REFRESHES]:
    """
    @notice Cash of the observed account at each refresh since it is observed.
    """
    return self.refreshes


@external
def relay(target: address, call_data: Bytes[1_024]) -> Bytes[1_024]:
    """
    @notice Calls `target` in the name of this contract, in the middle of a call.
    """
    self.call_state = 3
    answer: Bytes[1_024] = raw_call(target, call_data, max_outsize=1_024)
    self.call_state = IDLE
    return answer
