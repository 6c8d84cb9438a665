# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Hasty Oracle
@license MIT
@author  Ballast contributors
@notice  A risk oracle whose parameters hold at once, what raises a requirement as well: what must not be.
"""

from contracts import RiskOracle
initializes: RiskOracle

from contracts.interfaces import IRiskOracle
from contracts.modules import margin_rates
from contracts.modules import packing

exports: (
    RiskOracle.owner,
    RiskOracle.pending_owner,
    RiskOracle.transfer_ownership,
    RiskOracle.accept_ownership,
    RiskOracle.CLEARINGHOUSE,
    RiskOracle.poke,
    RiskOracle.list_asset,
    RiskOracle.set_feed,
    RiskOracle.set_pause,
    RiskOracle.marks,
    RiskOracle.pending_risk,
    RiskOracle.price_wad,
    RiskOracle.sigmas_e6,
    RiskOracle.parameters,
    RiskOracle.paused_until,
    RiskOracle.feed_of,
)


@deploy
def __init__(
    clearinghouse: address, quote_feed: address, quote_heartbeat_s: uint256, sequencer_feed: address
):
    RiskOracle.__init__(clearinghouse, quote_feed, quote_heartbeat_s, sequencer_feed)


@external
def set_parameters(asset: uint256, parameters: IRiskOracle.Parameters):
    """
    @notice No line to walk along, and rates without a past.
    """
    word: uint256 = margin_rates._parameter_word(parameters, block.timestamp)
    RiskOracle._store_parameters(asset, word, word)
    RiskOracle._limits_words[asset] = 0
    feed_word: uint256 = RiskOracle._feed_word(asset)
    RiskOracle._reprice(asset, feed_word, RiskOracle._range_words[asset] & packing.MASK_40)
