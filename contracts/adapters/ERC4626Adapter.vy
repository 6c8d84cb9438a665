# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   ERC-4626 Adapter
@license MIT
@author  Ballast contributors
@notice  Turns shares of a listed vault into the vault's asset and back. The venue is the vault itself: a sale is a
         redemption, a purchase a deposit, and neither costs anything.
@dev     Trusts the vaults that the governor lists, and measures what they pay. What is left to the caller is in
         `ISwapAdapter`. A policy has one adapter for all that it sells. So that this can be the one, whatever is no pair
         of a vault and its asset goes on to another adapter: shares as what they are redeemed for, other tokens as they
         are. Shares are not bought that way.
         Assumptions:
         1. The clearing house has transferred the input before it calls.
         2. Anyone may send tokens here at any time. Balances are only compared with themselves, so a gift can
            neither block a swap nor leave with one.
         Warning: Ballast's own lending vault refuses entry and exit while the clearing house is at work, which it is
         in every swap. Its limits say so, and a swap of its shares ends there.
@custom:invariant I26
@custom:kill  The governor delists a vault with `set_vault(vault, False)`, or the clearing house drops the adapter.
              Nothing is held here, so nothing needs rescue.
"""

from contracts.interfaces import IERC4626Adapter
from contracts.interfaces import ISwapAdapter
from ethereum.ercs import IERC20
from ethereum.ercs import IERC4626
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IERC4626Adapter
implements: ISwapAdapter

initializes: ownable
initializes: ownable_2step[ownable := ownable]

exports: (
    # ownership of the list of vaults
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)


EXCHANGE: public(immutable(address))

# Sells what is no pair of a vault and its asset; the zero address for nobody.
onward: public(address)

# Asset of each listed vault; the zero address for one that is not listed.
_asset_of: HashMap[address, address]


@deploy
def __init__(exchange: address, governor: address):
    """
    @notice An adapter without any vault; the governor lists them with `set_vault`.
    """
    self._require_address(exchange)
    self._require_address(governor)
    ownable.__init__()
    ownable_2step.__init__()
    ownable_2step._transfer_ownership(governor)
    EXCHANGE = exchange


@external
def swap(token_in: address, token_out: address, amount_in: uint256, min_out: uint256, receiver: address) -> uint256:
    """
    @notice Redeems the shares that the clearing house sent, deposits the asset that it sent, or sells onward.
    @dev    A vault that takes less than it was given shows as an approval or a balance left over, and one that pays
            less than it says by the receiver's balance.
    """
    self._check_exchange()
    balance_before: uint256 = staticcall IERC20(token_in).balanceOf(self)
    amount_out: uint256 = 0
    if self._is_pair(token_in, token_out):
        amount_out = self._redeem(token_in, token_out, amount_in, receiver)
    elif self._is_pair(token_out, token_in):
        amount_out = self._deposit(token_out, token_in, amount_in, receiver)
    else:
        amount_out = self._sell_onward(token_in, token_out, amount_in, min_out, receiver)
    self._require_enough(amount_out, min_out)
    balance_after: uint256 = staticcall IERC20(token_in).balanceOf(self)
    self._require_spent(balance_before, balance_after, amount_in)
    return amount_out


@external
def set_vault(vault: address, is_listed: bool):
    """
    @notice Lists or delists a vault.
    """
    ownable._check_owner()
    asset: address = staticcall IERC4626(vault).asset()
    self._require_address(asset)
    if is_listed:
        self._asset_of[vault] = asset
    else:
        self._asset_of[vault] = empty(address)
    log IERC4626Adapter.VaultSet(vault=vault, asset=asset, is_listed=is_listed)


@external
def set_onward(adapter: address):
    """
    @notice Names the adapter for everything else.
    """
    ownable._check_owner()
    log IERC4626Adapter.OnwardSet(old=self.onward, new=adapter)
    self.onward = adapter


@external
@view
def cost_ppm(token_in: address, token_out: address) -> uint256:
    """
    @notice Nothing for a vault and its asset, else what the adapter for everything else takes for it.
    """
    if self._is_pair(token_in, token_out) or self._is_pair(token_out, token_in):
        return 0
    onward: address = self.onward
    self._require_onward(onward)
    return staticcall ISwapAdapter(onward).cost_ppm(self._redeemed(token_in), self._redeemed(token_out))


@external
@view
def asset_of(vault: address) -> address:
    """
    @notice The asset of a listed vault, or zero.
    """
    return self._asset_of[vault]


@internal
def _redeem(vault: address, asset: address, shares: uint256, receiver: address) -> uint256:
    self._require_redeemable(vault, shares)
    balance_before: uint256 = staticcall IERC20(asset).balanceOf(receiver)
    assets: uint256 = extcall IERC4626(vault).redeem(shares, receiver, self)
    balance_after: uint256 = staticcall IERC20(asset).balanceOf(receiver)
    self._require_paid(balance_before, balance_after, assets)
    return assets


@internal
def _deposit(vault: address, asset: address, assets: uint256, receiver: address) -> uint256:
    self._require_depositable(vault, assets, receiver)
    self._require_approved(asset, vault, assets)
    balance_before: uint256 = staticcall IERC20(vault).balanceOf(receiver)
    shares: uint256 = extcall IERC4626(vault).deposit(assets, receiver)
    balance_after: uint256 = staticcall IERC20(vault).balanceOf(receiver)
    self._require_paid(balance_before, balance_after, shares)
    allowed: uint256 = staticcall IERC20(asset).allowance(self, vault)
    self._require_no_approval(allowed)
    return shares


@internal
def _sell_onward(
    token_in: address, token_out: address, amount_in: uint256, min_out: uint256, receiver: address
) -> uint256:
    """@dev What is sold lies with the other adapter when it is called, as it lay here."""
    onward: address = self.onward
    self._require_onward(onward)
    sold: address = self._redeemed(token_in)
    amount: uint256 = amount_in
    if sold == token_in:
        self._require_sent(token_in, onward, amount_in)
    else:
        amount = self._redeem(token_in, sold, amount_in, onward)
    return extcall ISwapAdapter(onward).swap(sold, token_out, amount, min_out, receiver)


@internal
@view
def _is_pair(vault: address, asset: address) -> bool:
    return asset != empty(address) and self._asset_of[vault] == asset


@internal
@view
def _redeemed(token: address) -> address:
    """@dev What shares of a listed vault are redeemed for; any other token itself."""
    asset: address = self._asset_of[token]
    if asset == empty(address):
        return token
    return asset


################################################################
#                            Guards                            #
################################################################


@internal
def _require_approved(token: address, vault: address, amount: uint256):
    assert extcall IERC20(token).approve(vault, amount, default_return_value=True), "vault adapter: approve failed"


@internal
def _require_sent(token: address, receiver: address, amount: uint256):
    assert extcall IERC20(token).transfer(receiver, amount, default_return_value=True), "vault adapter: sending failed"


@internal
@view
def _require_redeemable(vault: address, shares: uint256):
    assert shares <= staticcall IERC4626(vault).maxRedeem(self), "vault adapter: redemption limit"


@internal
@view
def _require_depositable(vault: address, assets: uint256, receiver: address):
    assert assets <= staticcall IERC4626(vault).maxDeposit(receiver), "vault adapter: deposit limit"


@internal
@view
def _check_exchange():
    assert msg.sender == EXCHANGE, "vault adapter: only exchange"


@internal
@pure
def _require_address(account: address):
    assert account != empty(address), "vault adapter: zero address"


@internal
@pure
def _require_onward(onward: address):
    assert onward != empty(address), "vault adapter: unknown pair"


@internal
@pure
def _require_no_approval(allowed: uint256):
    assert allowed == 0, "vault adapter: approval left"


@internal
@pure
def _require_enough(amount_out: uint256, min_out: uint256):
    assert amount_out >= min_out, "vault adapter: too little out"


@internal
@pure
def _require_spent(balance_before: uint256, balance_after: uint256, amount_in: uint256):
    assert balance_before == balance_after + amount_in, "vault adapter: input left over"


@internal
@pure
def _require_paid(balance_before: uint256, balance_after: uint256, amount_out: uint256):
    assert balance_after >= balance_before + amount_out, "vault adapter: paid too little"
