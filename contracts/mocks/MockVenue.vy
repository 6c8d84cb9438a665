# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Mock Venue
@license MIT
@author  Ballast contributors
@notice  A swap adapter that trades at a price anyone may set, exact to the unit. Never list it for real.
@dev     Stands where a venue's adapter stands, for tests that compare a rebalance with the exact model. Sells out of
         its own balance, keeps what it is sent, and lets anyone call. Prices and fees are per direction, unlike those
         of a real venue, so that a test can make one way expensive.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

from contracts.interfaces import ISwapAdapter
implements: ISwapAdapter


PPM: constant(uint256) = 10 ** 6
WAD: constant(uint256) = 10 ** 18

# Whole units of the token bought for one whole unit of the token sold, WAD; zero means unknown. By sold, bought.
price_wad: public(HashMap[address, HashMap[address, uint256]])

# Part of the input that is kept, in parts per million. By sold, bought.
fee_ppm: public(HashMap[address, HashMap[address, uint256]])


@external
def set_price(token_in: address, token_out: address, price_wad: uint256, fee_ppm: uint256):
    """
    @notice Sets one direction: whole `token_out` per whole `token_in` in WAD, and the fee in parts per million.
    """
    self._require_fee(fee_ppm)
    self.price_wad[token_in][token_out] = price_wad
    self.fee_ppm[token_in][token_out] = fee_ppm


@external
def swap(token_in: address, token_out: address, amount_in: uint256, min_out: uint256, receiver: address) -> uint256:
    """
    @notice Pays `quote(token_in, token_out, amount_in)` out of the venue's own balance.
    @dev    The input is trusted to have been sent, as a real adapter does not see it arrive either.
    """
    amount_out: uint256 = self._quote_down(token_in, token_out, amount_in)
    self._require_enough(amount_out, min_out)
    self._require_paid(token_out, receiver, amount_out)
    return amount_out


@external
@view
def cost_ppm(token_in: address, token_out: address) -> uint256:
    """
    @notice The fee of this direction; reverts for a direction without a price.
    """
    self._require_priced(self.price_wad[token_in][token_out])
    return self.fee_ppm[token_in][token_out]


@external
@view
def quote(token_in: address, token_out: address, amount_in: uint256) -> uint256:
    """
    @notice What `swap` would pay for `amount_in`, in units of `token_out`.
    """
    return self._quote_down(token_in, token_out, amount_in)


@internal
def _require_paid(token: address, receiver: address, amount: uint256):
    assert extcall IERC20(token).transfer(receiver, amount, default_return_value=True), "venue: payment failed"


@internal
@view
def _quote_down(token_in: address, token_out: address, amount_in: uint256) -> uint256:
    price: uint256 = self.price_wad[token_in][token_out]
    self._require_priced(price)
    unit_in: uint256 = 10 ** convert(staticcall IERC20Detailed(token_in).decimals(), uint256)
    unit_out: uint256 = 10 ** convert(staticcall IERC20Detailed(token_out).decimals(), uint256)
    kept_ppm: uint256 = PPM - self.fee_ppm[token_in][token_out]
    # One division, so the only rounding is the last: floor(in * price * (1 - fee) * unit_out / unit_in).
    return amount_in * price * kept_ppm * unit_out // (unit_in * WAD * PPM)


@internal
@pure
def _require_priced(price: uint256):
    assert price != 0, "venue: unknown pair"


@internal
@pure
def _require_fee(fee_ppm: uint256):
    assert fee_ppm < PPM, "venue: fee too high"


@internal
@pure
def _require_enough(amount_out: uint256, min_out: uint256):
    assert amount_out >= min_out, "venue: too little out"
