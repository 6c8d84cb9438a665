# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Mock Pull Feed
@license MIT
@author  Ballast contributors
@notice  A feed whose publisher signs prices and sends nothing: whoever wants one on chain brings it. For tests,
         demonstrations and test networks.
@dev     A payload is abi.encode(int256 answer, uint256 made_at, uint256 v, uint256 r, uint256 s), signed as typed data
         Price(int256 answer,uint256 made_at) of the domain "Ballast Mock Pull Feed", version "1", so it counts on one
         chain and in one contract. A price counts once, because the next one has to be newer.

         Rounds are numbered from 1; a word of each:  made at u40 | answer i128 << 128.
"""

from contracts.interfaces import IAggregatorV3
from contracts.interfaces import IPullFeed
from snekmate.utils import ecdsa
from snekmate.utils import eip712_domain_separator

implements: IAggregatorV3
implements: IPullFeed

initializes: eip712_domain_separator

exports: eip712_domain_separator.eip712Domain

MAX_PAYLOAD: constant(uint256) = 4_096
PRICE_TYPE: constant(bytes32) = keccak256("Price(int256 answer,uint256 made_at)")
MASK_40: constant(uint256) = 2**40 - 1

decimals: public(immutable(uint8))
description: public(immutable(String[64]))
PUBLISHER: public(immutable(address))

_newest_id: uint256
_rounds: HashMap[uint256, uint256]


@deploy
def __init__(decimals_: uint8, description_: String[64], publisher: address):
    """
    @notice A feed without rounds; reading it reverts until the first price was pushed.
    """
    eip712_domain_separator.__init__("Ballast Mock Pull Feed", "1")
    decimals = decimals_
    description = description_
    PUBLISHER = publisher


@external
def push(payload: Bytes[MAX_PAYLOAD]):
    """
    @notice Publishes a signed price as a new round.
    """
    answer: int256 = 0
    made_at: uint256 = 0
    v: uint256 = 0
    r: uint256 = 0
    s: uint256 = 0
    answer, made_at, v, r, s = abi_decode(payload, (int256, uint256, uint256, uint256, uint256))
    hash: bytes32 = eip712_domain_separator._hash_typed_data_v4(
        keccak256(abi_encode(PRICE_TYPE, answer, made_at))
    )
    self._require_publisher(ecdsa._recover_vrs(hash, v, r, s))
    id: uint256 = self._newest_id
    self._require_newer(made_at, self._rounds[id] & MASK_40)
    self._require_price(answer)
    id += 1
    self._newest_id = id
    self._rounds[id] = made_at | (convert(answer, uint256) << 128)
    log IAggregatorV3.AnswerUpdated(current=answer, round_id=id, updated_at=made_at)


@external
@view
def made_at(payload: Bytes[MAX_PAYLOAD]) -> uint256:
    """
    @notice When the price of a payload was made, as it says.
    """
    answer: int256 = 0
    made_at: uint256 = 0
    v: uint256 = 0
    r: uint256 = 0
    s: uint256 = 0
    answer, made_at, v, r, s = abi_decode(payload, (int256, uint256, uint256, uint256, uint256))
    return made_at


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The newest round; reverts when there is none.
    """
    return self._round(self._newest_id)


@external
@view
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice A past round; reverts when it is not there.
    """
    return self._round(convert(round_id, uint256))


@internal
@view
def _round(id: uint256) -> (uint80, int256, uint256, uint256, uint80):
    word: uint256 = self._rounds[id]
    self._require_known(word)
    made_at: uint256 = word & MASK_40
    return (convert(id, uint80), convert(word >> 128, int256), made_at, made_at, convert(id, uint80))


@internal
@view
def _require_publisher(signer: address):
    assert signer == PUBLISHER and signer != empty(address), "mock: not the publisher's price"


@internal
@view
def _require_newer(made_at: uint256, newest_at: uint256):
    assert made_at > newest_at and made_at <= block.timestamp, "mock: price is not newer"


@internal
@pure
def _require_price(answer: int256):
    assert answer > 0 and answer < 2**127, "mock: price does not fit"


@internal
@pure
def _require_known(word: uint256):
    assert word != 0, "mock: no such price"
