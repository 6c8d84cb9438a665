# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Dear Feed
@license MIT
@author  Ballast contributors
@notice  Passes on what another feed says and spends some 6,000 gas on it, as the proxies of production feeds do even
         when everything they touch is warm.
"""

from contracts.interfaces import IAggregatorV3
implements: IAggregatorV3

ROUNDS: constant(uint256) = 50

INNER: immutable(IAggregatorV3)


@deploy
def __init__(inner: address):
    """
    @notice Passes on what `inner` says.
    """
    INNER = IAggregatorV3(inner)


@external
@view
def decimals() -> uint8:
    """
    @notice As the inner feed.
    """
    return staticcall INNER.decimals()


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice As the inner feed.
    """
    self._spend()
    return staticcall INNER.latestRoundData()


@external
@view
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice As the inner feed.
    """
    self._spend()
    return staticcall INNER.getRoundData(round_id)


@internal
@view
def _spend():
    spent: bytes32 = empty(bytes32)
    for i: uint256 in range(ROUNDS):
        spent = keccak256(spent)
    assert spent != empty(bytes32)
