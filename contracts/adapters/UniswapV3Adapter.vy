# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Uniswap V3 Adapter
@license MIT
@author  Ballast contributors
@notice  Sells collateral for cash, or cash for collateral, in one Uniswap V3 pool per pair.
@dev     Exists so that the clearing house never speaks a venue's language, and approves nobody: the pool is called
         directly and paid in its callback, which a router would do for more gas and an approval. It trusts the pools
         that the immutable factory names and the tokens that the clearing house lists; the clearing house trusts it
         with one swap's input for the length of one call, and checks the outcome against its oracle.
         Assumptions:
         1. The clearing house has transferred the input before it calls.
         2. Anyone may send tokens here at any time. What a swap pays is its own input, to the unit, so a gift can
            neither block a swap nor leave with one.
         3. The factory never names another pool for a pair and tier: it is asked when the pair is listed.
@custom:invariant I26
@custom:kill  The governor delists a pair with `set_fee_tier(a, b, 0)`, or the clearing house drops the adapter.
              Nothing is held here, so nothing needs rescue.
"""

from ethereum.ercs import IERC20

from contracts.interfaces import ISwapAdapter
implements: ISwapAdapter

from contracts.interfaces import IUniswapV3Adapter
implements: IUniswapV3Adapter

from contracts.interfaces import IUniswapV3Factory
from contracts.interfaces import IUniswapV3Pool

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


MASK_160: constant(uint256) = 2**160 - 1
MASK_24: constant(uint256) = 2**24 - 1
# Next to the least and the largest square-root price of any pool: no limit. The exchange bounds what a swap must bring.
LOWEST_SQRT_X96: constant(uint160) = 4_295_128_740
HIGHEST_SQRT_X96: constant(uint160) = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_341

EXCHANGE: public(immutable(address))
FACTORY: public(immutable(address))

# pool u160 | fee tier u24 in parts per million, by lower and higher token address; 0 means that the pair is not listed.
_pools: HashMap[address, HashMap[address, uint256]]

# The swap under way: whom it still owes its input.
_pool: transient(address)
_token_in: transient(address)
_amount_in: transient(uint256)


@deploy
def __init__(exchange: address, factory: address, governor: address):
    """
    @notice An adapter without any pair; the governor lists pairs with `set_fee_tier`.
    """
    self._require_address(exchange)
    self._require_address(factory)
    self._require_address(governor)
    ownable.__init__()
    ownable_2step.__init__()
    ownable_2step._transfer_ownership(governor)
    EXCHANGE = exchange
    FACTORY = factory


################################################################
#                       EXTERNAL WRITE                         #
################################################################

@external
def swap(token_in: address, token_out: address, amount_in: uint256, min_out: uint256, receiver: address) -> uint256:
    """
    @notice Sells what the clearing house sent.
    @dev    A pool that has been paid is owed nothing any more: that it was paid once and in full is what is checked after
            the swap, and neither balances nor approvals have to be read.
    """
    self._check_exchange()
    pool: address = self._pool_in(self._listed_word(token_in, token_out))
    is_low_sold: bool = convert(token_in, uint160) < convert(token_out, uint160)
    limit_x96: uint160 = HIGHEST_SQRT_X96
    if is_low_sold:
        limit_x96 = LOWEST_SQRT_X96
    self._pool = pool
    self._token_in = token_in
    self._amount_in = amount_in
    change_low: int256 = 0
    change_high: int256 = 0
    change_low, change_high = extcall IUniswapV3Pool(pool).swap(
        receiver, is_low_sold, convert(amount_in, int256), limit_x96, b""
    )
    self._require_paid()
    change: int256 = change_low
    if is_low_sold:
        change = change_high
    amount_out: uint256 = convert(-change, uint256)
    self._require_proceeds(amount_out, min_out)
    return amount_out


# The pool calls back while `swap` has the lock; the transient word of the swap under way guards it.
@external
@reentrant
def uniswapV3SwapCallback(amount0_delta: int256, amount1_delta: int256, data: Bytes[32]):
    """
    @notice Pays the pool under way, once.
    """
    self._check_pool()
    self._pool = empty(address)
    amount: uint256 = self._amount_in
    self._require_whole_input(max(amount0_delta, amount1_delta), amount)
    self._require_pushed(self._token_in, msg.sender, amount)


@external
def set_fee_tier(token_a: address, token_b: address, fee_ppm: uint256):
    """
    @notice Lists, moves or delists a pair.
    """
    ownable._check_owner()
    word: uint256 = 0
    if fee_ppm != 0:
        pool: address = staticcall IUniswapV3Factory(FACTORY).getPool(token_a, token_b, convert(fee_ppm, uint24))
        self._require_pool(pool)
        word = convert(pool, uint256) | (fee_ppm << 160)

    low: address = self._low(token_a, token_b)
    high: address = self._high(token_a, token_b)
    old_word: uint256 = self._pools[low][high]
    self._pools[low][high] = word
    log IUniswapV3Adapter.FeeTierSet(
        token_low=low, token_high=high, old_fee_ppm=self._fee_ppm_in(old_word), new_fee_ppm=fee_ppm
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
    return self._fee_ppm_in(self._listed_word(token_in, token_out))


@external
@view
def fee_tier(token_a: address, token_b: address) -> uint256:
    """
    @notice The fee tier of the pair, or zero.
    """
    return self._fee_ppm_in(self._word(token_a, token_b))


@external
@view
def pool_of(token_a: address, token_b: address) -> address:
    """
    @notice The pool of the pair, or the zero address.
    """
    return self._pool_in(self._word(token_a, token_b))


################################################################
#                          INTERNAL                            #
################################################################

@internal
@view
def _listed_word(token_a: address, token_b: address) -> uint256:
    word: uint256 = self._word(token_a, token_b)
    self._require_listed(word)
    return word


@internal
@view
def _word(token_a: address, token_b: address) -> uint256:
    if convert(token_a, uint160) < convert(token_b, uint160):
        return self._pools[token_a][token_b]
    return self._pools[token_b][token_a]


@internal
@pure
def _pool_in(word: uint256) -> address:
    return convert(convert(word & MASK_160, uint160), address)


@internal
@pure
def _fee_ppm_in(word: uint256) -> uint256:
    return (word >> 160) & MASK_24


@internal
@view
def _check_exchange():
    assert msg.sender == EXCHANGE, "adapter: only exchange"


@internal
@view
def _check_pool():
    assert msg.sender == self._pool, "adapter: not the pool under way"


@internal
@pure
def _is_low(token: address, other: address) -> bool:
    return convert(token, uint160) < convert(other, uint160)


@internal
@pure
def _low(token_a: address, token_b: address) -> address:
    if self._is_low(token_a, token_b):
        return token_a
    return token_b


@internal
@pure
def _high(token_a: address, token_b: address) -> address:
    if self._is_low(token_a, token_b):
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
def _require_listed(word: uint256):
    assert word != 0, "adapter: unknown pair"


@internal
@pure
def _require_whole_input(wanted: int256, amount_in: uint256):
    """@dev A pool that ran dry wants less, one that is none may want more."""
    assert wanted == convert(amount_in, int256), "adapter: not the whole input"


@internal
def _require_pushed(token: address, pool: address, amount: uint256):
    assert extcall IERC20(token).transfer(pool, amount, default_return_value=True), "adapter: transfer failed"


@internal
@view
def _require_paid():
    assert self._pool == empty(address), "adapter: input left over"


@internal
@pure
def _require_proceeds(amount_out: uint256, min_out: uint256):
    assert amount_out >= min_out, "adapter: too little out"
