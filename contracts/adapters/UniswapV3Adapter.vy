# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Uniswap V3 Adapter
@license MIT
@author  Ballast contributors
@notice  Sells collateral for cash, or cash for collateral, in one Uniswap V3 pool per pair.
@dev     Exists so that the clearing house never speaks a venue's language and never approves anybody. It trusts the
         immutable router and the tokens that the clearing house lists; the clearing house trusts it with one
         swap's input for the length of one call, and checks the outcome against its oracle.
         Assumptions:
         1. The clearing house has transferred the input before it calls.
         2. Anyone may send tokens here at any time. Balances are only compared with themselves, so a gift can
            neither block a swap nor leave with one.
         3. The deadline is the block itself: a swap that was valid when it was sent and is not any more fails on
            `min_out`, which is computed in the same transaction.
@custom:invariant I26
@custom:kill  The governor delists a pair with `set_fee_tier(a, b, 0)`, or the clearing house drops the adapter.
              Nothing is held here, so nothing needs rescue.
"""

from ethereum.ercs import IERC20

from contracts.interfaces import ISwapAdapter
implements: ISwapAdapter

from contracts.interfaces import IUniswapV3Adapter
implements: IUniswapV3Adapter

from contracts.interfaces import ISwapRouter
from contracts.interfaces import IUniswapV3Factory

from snekmate.auth import ownable
initializes: ownable

from snekmate.auth import ownable_2step
initializes: ownable_2step[ownable := ownable]

exports: (
    # ownership of the fee tiers
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)


EXCHANGE: public(immutable(address))
ROUTER: public(immutable(address))

# Fee tier in parts per million by lower and higher token address; zero means that the pair is not listed.
_fee_tiers: HashMap[address, HashMap[address, uint24]]


@deploy
def __init__(exchange: address, router: address, governor: address):
    """
    @notice An adapter without any pair; the governor lists pairs with `set_fee_tier`.
    """
    self._require_address(exchange)
    self._require_address(router)
    self._require_address(governor)
    ownable.__init__()
    ownable_2step.__init__()
    ownable_2step._transfer_ownership(governor)
    EXCHANGE = exchange
    ROUTER = router


################################################################
#                       EXTERNAL WRITE                         #
################################################################

@external
def swap(token_in: address, token_out: address, amount_in: uint256, min_out: uint256, receiver: address) -> uint256:
    """
    @notice Sells what the clearing house sent.
    @dev    Approves the exact input, so that a router that took less shows as an approval left over, and one that
            took nothing of its own shows as a balance left over.
    """
    self._check_exchange()
    fee: uint24 = self._listed_fee(token_in, token_out)

    balance_before: uint256 = staticcall IERC20(token_in).balanceOf(self)
    self._require_approved(token_in, amount_in)
    amount_out: uint256 = extcall ISwapRouter(ROUTER).exactInputSingle(
        ISwapRouter.ExactInputSingleParams(
            token_in=token_in,
            token_out=token_out,
            fee=fee,
            recipient=receiver,
            deadline=block.timestamp,
            amount_in=amount_in,
            amount_out_minimum=min_out,
            sqrt_price_limit_x96=0,
        )
    )
    allowed: uint256 = staticcall IERC20(token_in).allowance(self, ROUTER)
    self._require_no_approval(allowed)
    balance_after: uint256 = staticcall IERC20(token_in).balanceOf(self)
    self._require_spent(balance_before, balance_after, amount_in)
    return amount_out


@external
def set_fee_tier(token_a: address, token_b: address, fee_ppm: uint256):
    """
    @notice Lists, moves or delists a pair.
    """
    ownable._check_owner()
    fee: uint24 = convert(fee_ppm, uint24)
    if fee != 0:
        factory: address = staticcall ISwapRouter(ROUTER).factory()
        pool: address = staticcall IUniswapV3Factory(factory).getPool(token_a, token_b, fee)
        self._require_pool(pool)

    low: address = self._low(token_a, token_b)
    high: address = self._high(token_a, token_b)
    old_fee: uint24 = self._fee_tiers[low][high]
    self._fee_tiers[low][high] = fee
    log IUniswapV3Adapter.FeeTierSet(
        token_low=low,
        token_high=high,
        old_fee_ppm=convert(old_fee, uint256),
        new_fee_ppm=fee_ppm,
    )


################################################################
#                        EXTERNAL VIEW                         #
################################################################

@external
@view
def cost_ppm(token_in: address, token_out: address) -> uint256:
    """
    @notice The fee tier of the pair; reverts for a pair that is not listed.
    @dev    Uniswap counts fees in hundredths of a basis point, which are parts per million.
    """
    return convert(self._listed_fee(token_in, token_out), uint256)


@external
@view
def fee_tier(token_a: address, token_b: address) -> uint256:
    """
    @notice The fee tier of the pair, or zero.
    """
    return convert(self._fee_of(token_a, token_b), uint256)


################################################################
#                          INTERNAL                            #
################################################################

@internal
def _require_approved(token: address, amount: uint256):
    assert extcall IERC20(token).approve(ROUTER, amount, default_return_value=True), "adapter: approve failed"


@internal
@view
def _listed_fee(token_a: address, token_b: address) -> uint24:
    fee: uint24 = self._fee_of(token_a, token_b)
    self._require_listed(fee)
    return fee


@internal
@view
def _fee_of(token_a: address, token_b: address) -> uint24:
    return self._fee_tiers[self._low(token_a, token_b)][self._high(token_a, token_b)]


@internal
@view
def _check_exchange():
    assert msg.sender == EXCHANGE, "adapter: only exchange"


@internal
@pure
def _low(token_a: address, token_b: address) -> address:
    if convert(token_a, uint160) < convert(token_b, uint160):
        return token_a
    return token_b


@internal
@pure
def _high(token_a: address, token_b: address) -> address:
    if convert(token_a, uint160) < convert(token_b, uint160):
        return token_b
    return token_a


@internal
@pure
def _require_address(account: address):
    assert account != empty(address), "adapter: zero address"


@internal
@pure
def _require_pool(pool: address):
    assert pool != empty(address), "adapter: no pool at this fee"


@internal
@pure
def _require_listed(fee: uint24):
    assert fee != 0, "adapter: unknown pair"


@internal
@pure
def _require_no_approval(allowed: uint256):
    assert allowed == 0, "adapter: approval left over"


@internal
@pure
def _require_spent(balance_before: uint256, balance_after: uint256, amount_in: uint256):
    assert balance_before == balance_after + amount_in, "adapter: input left over"
