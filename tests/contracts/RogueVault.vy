# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Rogue Vault
@license MIT
@author  Ballast contributors
@notice  Looks like an ERC-4626 vault and keeps to nothing: its rate, its limits, what it takes, what it pays and what
         it says are as they were set. Anyone may mint its shares.
"""

from ethereum.ercs import IERC20

WAD: constant(uint256) = 10**18
BPS: constant(uint256) = 10_000

asset: public(address)
decimals: public(immutable(uint8))
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
# Asset units per share unit, WAD; the largest number makes conversions revert.
unit_rate_wad: public(uint256)
# What the rate becomes with the next redemption; 0 leaves it.
rate_after_wad: uint256
# Of redemptions and deposits.
limit: public(uint256)
# Parts of what was given that are taken, and of what is told that is paid.
taken_bps: uint256
paid_bps: uint256


@deploy
def __init__(asset_: address, decimals_: uint8, unit_rate_wad_: uint256):
    """
    @notice Honest until told otherwise.
    """
    self.asset = asset_
    decimals = decimals_
    self.unit_rate_wad = unit_rate_wad_
    self.limit = max_value(uint256)
    self.taken_bps = BPS
    self.paid_bps = BPS


@external
def set_unit_rate(unit_rate_wad: uint256):
    """
    @notice Asset units per share unit, WAD, from now on.
    """
    self.unit_rate_wad = unit_rate_wad


@external
def set_rate_after(unit_rate_wad: uint256):
    """
    @notice What the rate becomes with the next redemption.
    """
    self.rate_after_wad = unit_rate_wad


@external
def set_habits(taken_bps: uint256, paid_bps: uint256, limit: uint256):
    """
    @notice What it takes and pays, in basis points of what it should, and its limits.
    """
    self.taken_bps = taken_bps
    self.paid_bps = paid_bps
    self.limit = limit


@external
def mint_shares(receiver: address, shares: uint256):
    """
    @notice Shares out of nothing.
    """
    self.balanceOf[receiver] += shares


@external
def transfer(receiver: address, shares: uint256) -> bool:
    """
    @notice Moves shares of the caller.
    """
    self.balanceOf[msg.sender] -= shares
    self.balanceOf[receiver] += shares
    return True


@external
def transferFrom(owner: address, receiver: address, shares: uint256) -> bool:
    """
    @notice Moves shares of anybody.
    """
    self.balanceOf[owner] -= shares
    self.balanceOf[receiver] += shares
    return True


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    """
    @notice At the rate that was set.
    """
    return shares * self.unit_rate_wad // WAD


@external
@view
def maxRedeem(owner: address) -> uint256:
    """
    @notice As set.
    """
    return self.limit


@external
@view
def maxDeposit(receiver: address) -> uint256:
    """
    @notice As set.
    """
    return self.limit


@external
def redeem(shares: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice Takes and pays as set; says what it should have paid.
    """
    assets: uint256 = shares * self.unit_rate_wad // WAD
    self.balanceOf[owner] -= shares * self.taken_bps // BPS
    assert extcall IERC20(self.asset).transfer(receiver, assets * self.paid_bps // BPS)
    if self.rate_after_wad != 0:
        self.unit_rate_wad = self.rate_after_wad
    return assets


@external
def deposit(assets: uint256, receiver: address) -> uint256:
    """
    @notice Takes and pays as set; says what it should have paid.
    """
    shares: uint256 = assets * WAD // self.unit_rate_wad
    self.balanceOf[receiver] += shares * self.paid_bps // BPS
    assert extcall IERC20(self.asset).transferFrom(msg.sender, self, assets * self.taken_bps // BPS)
    return shares


@external
def swap(token_in: address, token_out: address, amount_in: uint256, min_out: uint256, receiver: address) -> uint256:
    """
    @notice As a swap adapter it pays nothing and says so.
    """
    return 0
