# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Price marks
@license MIT
@author  Ballast contributors
@notice  The price of an asset in quote tokens and what it may be used for: asset/USD over quote/USD. While an asset is
         paused its price is as good as ever and backs no increase.
@dev     last word   price u96 | sampled round id u80 | sampled bucket u32

         The price in it is the last good one, stored by a poke, for the times when the feed cannot be believed.
         A stale but sound round keeps its own value, which is newer. What a flag forbids is the reader's part:
         reductions, repayments and deposits go on with any price.
"""

from contracts.modules import feeds
from contracts.modules import fixed_point
from contracts.modules import packing

STALE_FLAGS: constant(uint256) = packing.IS_STALE | packing.NO_INCREASE | packing.NO_SWAP
OUTAGE_FLAGS: constant(uint256) = STALE_FLAGS | packing.OWNERS_FIRST
OFF_PEG_FLAGS: constant(uint256) = packing.NO_INCREASE | packing.NO_SWAP

# Beyond 3% from one dollar the quote token is off its peg; outside 2**58 to 2**61 (0.29 to 2.3 dollars) its
# feed is not believed at all.
PEG_TOLERANCE_WAD: constant(uint256) = 3 * 10**16
QUOTE_LOW_LOG2: constant(uint256) = 58
QUOTE_HIGH_LOG2: constant(uint256) = 61

# Volatility has to be this fresh, in seconds, relative to the newest round before risk may grow on it.
MAX_POKE_LAG_S: constant(uint256) = 900
# Puts a price into both places of a price word.
TWICE: constant(uint256) = 2**96 + 1
# After an outage of the chain's sequencer prices stay stale this long, and nobody is liquidated who has half of what he
# needs: owners act before anyone else.
SEQUENCER_GRACE_S: constant(uint256) = 3_600

_QUOTE: immutable(uint256)  # feed word of the quote token, 0 = the quote is the dollar
_SEQUENCER: immutable(address)  # uptime feed of a rollup's sequencer, empty on a chain without one

# @dev Feed word of each asset id; 0 = not listed.
_feed_words: HashMap[uint256, uint256]

# @dev Last word of each asset id.
_last_words: HashMap[uint256, uint256]

# @dev Last good price of the quote token in WAD dollars, stored by a poke.
_last_quote_wad: uint256


@deploy
def __init__(quote_feed: address, quote_decimals: uint256, quote_heartbeat_s: uint256, sequencer_feed: address):
    quote_word: uint256 = 0
    if quote_feed != empty(address):
        quote_word = feeds._feed_word(
            quote_feed, quote_decimals, quote_heartbeat_s, QUOTE_LOW_LOG2, QUOTE_HIGH_LOG2, 0
        )
    _QUOTE = quote_word
    _SEQUENCER = sequencer_feed


@internal
@view
def _quote() -> (uint256, uint256, uint256):
    """
    @dev (newest, previous, flags) of the quote token in WAD dollars. The flags concern every asset. `previous`
         differs from `newest` only in the block in which the newest round was made.
    """
    flags: uint256 = 0
    if _SEQUENCER != empty(address):
        is_up: bool = False
        is_outage: bool = False
        is_up, is_outage = feeds._sequencer(_SEQUENCER, SEQUENCER_GRACE_S)
        if is_outage:
            flags = OUTAGE_FLAGS
        elif not is_up:
            flags = STALE_FLAGS
    if _QUOTE == 0:
        return fixed_point.WAD, fixed_point.WAD, flags
    round: uint256 = feeds._newest(_QUOTE)
    if round == 0:
        last_wad: uint256 = self._last_quote_wad
        return last_wad, last_wad, flags | STALE_FLAGS
    quote_wad: uint256 = feeds._price_wad(round)
    age_s: uint256 = block.timestamp - feeds._updated_at(round)
    if age_s > feeds._heartbeat_s(_QUOTE):
        return quote_wad, quote_wad, flags | STALE_FLAGS
    if self._is_off_peg(quote_wad):
        flags |= OFF_PEG_FLAGS
    if age_s != 0:
        return quote_wad, quote_wad, flags
    previous_wad: uint256 = feeds._before(_QUOTE, feeds._round_id(round))
    if previous_wad == 0:
        return quote_wad, quote_wad, flags | packing.NO_INCREASE
    return quote_wad, previous_wad, flags


@internal
@view
def _mark(
    asset: uint256,
    feed_word: uint256,
    risk_word: uint256,
    quote_wad: uint256,
    quote_previous_wad: uint256,
    quote_flags: uint256,
) -> uint256:
    """
    @dev The price word of an asset. Prices are floored; the bands of asset and quote keep them above zero and
         below 2**96.
    """
    round: uint256 = feeds._newest(feed_word)
    if round == 0:
        last_wad: uint256 = self._last_words[asset] & packing.MASK_96
        return packing._price_word(last_wad, last_wad, quote_flags | STALE_FLAGS, 0)
    # Every mark comes by here, so words are cut and put together by hand. A sound round is below 2**94 and not of the
    # future, a price of the quote token is never zero.
    asset_wad: uint256 = round & packing.MASK_96
    updated_at: uint256 = round >> 176
    age_s: uint256 = unsafe_sub(block.timestamp, updated_at)
    price_wad: uint256 = unsafe_div(unsafe_mul(asset_wad, fixed_point.WAD), quote_wad)
    if age_s > (feed_word >> 168) & feeds.MASK_24:
        return packing._price_word(price_wad, price_wad, quote_flags | STALE_FLAGS, updated_at)
    flags: uint256 = quote_flags
    # Before feeds._paused_until, in steps of a pause.
    if (
        updated_at > unsafe_add((risk_word >> 168) & packing.MASK_40, MAX_POKE_LAG_S)
        or block.timestamp >> feeds.PAUSE_STEP_LOG2 < feed_word >> 232
    ):
        flags |= packing.NO_INCREASE
    if age_s != 0 and quote_wad == quote_previous_wad:
        return unsafe_mul(price_wad, TWICE) | (flags << 192) | (updated_at << 200)
    if age_s == 0:
        asset_previous_wad: uint256 = feeds._before(feed_word, feeds._round_id(round))
        if asset_previous_wad == 0:
            flags |= packing.NO_INCREASE
        else:
            asset_wad = asset_previous_wad
    previous_wad: uint256 = asset_wad * fixed_point.WAD // quote_previous_wad
    return packing._price_word(price_wad, previous_wad, flags, updated_at)


@internal
@view
def _live_round(feed_word: uint256) -> uint256:
    """@dev The newest round as a round word, 0 unless it is sound and live."""
    round: uint256 = feeds._newest(feed_word)
    if round != 0 and block.timestamp - feeds._updated_at(round) > feeds._heartbeat_s(feed_word):
        return 0
    return round


@internal
@pure
def _last_word(price_wad: uint256, round_id: uint256, bucket: uint256) -> uint256:
    return price_wad | (round_id << 96) | (bucket << 176)


@internal
@pure
def _sampled_id(last_word: uint256) -> uint256:
    return (last_word >> 96) & feeds.MASK_80


@internal
@pure
def _sampled_bucket(last_word: uint256) -> uint256:
    return last_word >> 176


@internal
@pure
def _is_off_peg(quote_wad: uint256) -> bool:
    return quote_wad + PEG_TOLERANCE_WAD < fixed_point.WAD or quote_wad > fixed_point.WAD + PEG_TOLERANCE_WAD
