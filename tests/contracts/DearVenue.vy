# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Dear Venue
@license MIT
@author  Ballast contributors
@notice  Sells through another venue and spends so much gas besides, as a venue with a long path does.
"""

from contracts.interfaces import ISwapAdapter
implements: ISwapAdapter

# More than the gas of any test.
MAX_ROUNDS: constant(uint256) = 100_000

INNER: immutable(ISwapAdapter)
SPENT_GAS: immutable(uint256)


@deploy
def __init__(inner: address, spent_gas: uint256):
    """
    @notice Sells through `inner`, and spends `spent_gas` and a little more.
    """
    INNER = ISwapAdapter(inner)
    SPENT_GAS = spent_gas


@external
def swap(token_in: address, token_out: address, amount_in: uint256, min_out: uint256, receiver: address) -> uint256:
    """
    @notice As the inner venue, which trusts that it was paid.
    """
    gas_before: uint256 = msg.gas
    digest: bytes32 = empty(bytes32)
    for i: uint256 in range(MAX_ROUNDS):
        if gas_before - msg.gas >= SPENT_GAS:
            break
        digest = keccak256(digest)
    return extcall INNER.swap(token_in, token_out, amount_in, min_out, receiver)


@external
@view
def cost_ppm(token_in: address, token_out: address) -> uint256:
    """
    @notice As the inner venue.
    """
    return staticcall INNER.cost_ppm(token_in, token_out)
