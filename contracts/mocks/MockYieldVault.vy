# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Mock Yield Vault
@license MIT
@author  Ballast contributors
@notice  An honest ERC-4626 vault over a mock token that earns at a rate anyone may set, for tests, demonstrations and
         test networks. Never list it for real.
@dev     What it earns it mints, for anyone may mint its asset: when somebody enters or leaves, and counted until then.
         Its assets are its balance, so a transfer to it is a gift to its shares, and `burn_assets` a loss.
"""

from ethereum.ercs import IERC20
implements: IERC20
from ethereum.ercs import IERC20Detailed
implements: IERC20Detailed
from ethereum.ercs import IERC4626
implements: IERC4626

from snekmate.auth import ownable
initializes: ownable
from snekmate.tokens import erc20
initializes: erc20[ownable := ownable]
from snekmate.utils import math

exports: (
    # the share token
    erc20.totalSupply,
    erc20.balanceOf,
    erc20.allowance,
    erc20.transfer,
    erc20.transferFrom,
    erc20.approve,
    erc20.name,
    erc20.symbol,
    erc20.decimals,
)


interface MintableToken:
    def mint(receiver: address, amount: uint256): nonpayable


WAD: constant(uint256) = 10**18
VIRTUAL_ASSETS: constant(uint256) = 1
# Where lost assets go.
NOWHERE: constant(address) = 0x000000000000000000000000000000000000dEaD

asset: public(immutable(address))
VIRTUAL_SHARES: immutable(uint256)

# Of its assets, per second.
growth_wad: public(uint256)
# When what it earned was last minted.
accrued_at: public(uint256)


@deploy
def __init__(asset_: address, name_: String[25], symbol_: String[5], decimals_offset: uint8, growth_wad_: uint256):
    """
    @notice An empty vault whose shares have `decimals_offset` decimals more than its asset.
    """
    ownable.__init__()
    decimals: uint8 = staticcall IERC20Detailed(asset_).decimals()
    erc20.__init__(name_, symbol_, decimals + decimals_offset, name_, "1")
    asset = asset_
    VIRTUAL_SHARES = 10 ** convert(decimals_offset, uint256)
    self.growth_wad = growth_wad_
    self.accrued_at = block.timestamp


@external
def set_growth(growth_wad: uint256):
    """
    @notice What it earns from now on, of its assets, per second, WAD.
    """
    self._accrue()
    self.growth_wad = growth_wad


@external
def burn_assets(amount: uint256):
    """
    @notice A loss of `amount` asset units, of every share alike; open to everyone.
    """
    self._accrue()
    self._require_sent(NOWHERE, amount)


@external
def deposit(assets: uint256, receiver: address) -> uint256:
    """
    @notice Takes exactly `assets` and mints shares, rounded down.
    """
    self._accrue()
    shares: uint256 = self._to_shares(assets, False)
    self._enter(assets, shares, receiver)
    return shares


@external
def mint(shares: uint256, receiver: address) -> uint256:
    """
    @notice Mints exactly `shares` and takes their price, rounded up.
    """
    self._accrue()
    assets: uint256 = self._to_assets(shares, True)
    self._enter(assets, shares, receiver)
    return assets


@external
def withdraw(assets: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice Sends exactly `assets` and burns shares, rounded up.
    """
    self._accrue()
    shares: uint256 = self._to_shares(assets, True)
    self._leave(assets, shares, receiver, owner)
    return shares


@external
def redeem(shares: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice Burns exactly `shares` and sends their value, rounded down.
    """
    self._accrue()
    assets: uint256 = self._to_assets(shares, False)
    self._leave(assets, shares, receiver, owner)
    return assets


@external
@view
def totalAssets() -> uint256:
    """
    @notice Balance, and what was earned since it was last minted.
    """
    return self._total_assets()


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """
    @notice Shares that `assets` are worth, rounded down.
    """
    return self._to_shares(assets, False)


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    """
    @notice Asset units that `shares` are worth, rounded down.
    """
    return self._to_assets(shares, False)


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    """
    @notice Shares that `deposit` would mint.
    """
    return self._to_shares(assets, False)


@external
@view
def previewMint(shares: uint256) -> uint256:
    """
    @notice Asset units that `mint` would take.
    """
    return self._to_assets(shares, True)


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    """
    @notice Shares that `withdraw` would burn.
    """
    return self._to_shares(assets, True)


@external
@view
def previewRedeem(shares: uint256) -> uint256:
    """
    @notice Asset units that `redeem` would send.
    """
    return self._to_assets(shares, False)


@external
@view
def maxDeposit(receiver: address) -> uint256:
    """
    @notice No limit, but for nobody.
    """
    return self._most(receiver)


@external
@view
def maxMint(receiver: address) -> uint256:
    """
    @notice No limit, but for nobody.
    """
    return self._most(receiver)


@external
@view
def maxWithdraw(owner: address) -> uint256:
    """
    @notice The value of the owner's shares.
    """
    return self._to_assets(erc20.balanceOf[owner], False)


@external
@view
def maxRedeem(owner: address) -> uint256:
    """
    @notice The owner's shares.
    """
    return erc20.balanceOf[owner]


@internal
def _accrue():
    earned: uint256 = self._total_assets() - staticcall IERC20(asset).balanceOf(self)
    self.accrued_at = block.timestamp
    if earned != 0:
        extcall MintableToken(asset).mint(self, earned)


@internal
def _enter(assets: uint256, shares: uint256, receiver: address):
    self._require_taken(assets)
    erc20._mint(receiver, shares)
    log IERC4626.Deposit(sender=msg.sender, owner=receiver, assets=assets, shares=shares)


@internal
def _leave(assets: uint256, shares: uint256, receiver: address, owner: address):
    if msg.sender != owner:
        erc20._spend_allowance(owner, msg.sender, shares)
    erc20._burn(owner, shares)
    log IERC4626.Withdraw(sender=msg.sender, receiver=receiver, owner=owner, assets=assets, shares=shares)
    self._require_sent(receiver, assets)


@internal
@pure
def _most(receiver: address) -> uint256:
    if receiver == empty(address):
        return 0
    return max_value(uint256)


@internal
@view
def _total_assets() -> uint256:
    balance: uint256 = staticcall IERC20(asset).balanceOf(self)
    return balance + balance * self.growth_wad * (block.timestamp - self.accrued_at) // WAD


@internal
@view
def _to_shares(assets: uint256, is_up: bool) -> uint256:
    supply: uint256 = erc20.totalSupply + VIRTUAL_SHARES
    return math._mul_div(assets, supply, self._total_assets() + VIRTUAL_ASSETS, is_up)


@internal
@view
def _to_assets(shares: uint256, is_up: bool) -> uint256:
    supply: uint256 = erc20.totalSupply + VIRTUAL_SHARES
    return math._mul_div(shares, self._total_assets() + VIRTUAL_ASSETS, supply, is_up)


################################################################
#                            Guards                            #
################################################################


@internal
def _require_taken(amount: uint256):
    assert extcall IERC20(asset).transferFrom(
        msg.sender, self, amount, default_return_value=True
    ), "mock: deposit failed"


@internal
def _require_sent(receiver: address, amount: uint256):
    assert extcall IERC20(asset).transfer(receiver, amount, default_return_value=True), "mock: withdrawal failed"
