# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Feeds
@license MIT
@author  Ballast contributors
@notice  Reads rounds of a Chainlink-shaped feed and believes only sound ones.
@dev     Every call is captured: a feed that reverts, burns gas, answers too little or too much, or has no code is
         an unsound round, never a revert. A call that fails for want of gas would look the same, so none is made
         unless the feed is sure to get FEED_GAS.

         feed word    feed u160 | scale_log10 u8 | heartbeat_s u24 | band_low_log2 u8 | band_high_log2 u8 | prior_e6 u24
                      | paused_until u24
         round word   price_wad u96 | round id u80 | updated at u40; 0 = no sound round

         A pause ends at a multiple of 256 s; it lies here because every mark reads this word anyway. The prior
         fits: volatility is capped at 500%, 2**24 is 1,677%.

         A price here is the feed's answer times 10**scale_log10, in WAD dollars.

         A round is sound if its answer lies in the band 2**low <= price < 2**high (which must lie inside the
         aggregator's own minimum and maximum, where it would stop following the market), its id and time are not
         zero, its time is not in the future and it was answered in its own round or later.
"""

# Gas a feed may use. Production proxies need 10,000 to 30,000, adapters that combine two feeds somewhat more.
FEED_GAS: constant(uint256) = 60_000
# Of the gas left at most 63/64 can be passed on: (70,000 - 5,000) * 63 / 64 > FEED_GAS, where 5,000 covers what
# is spent between the check and the call, the cold account included.
MIN_GAS: constant(uint256) = 70_000

MAX_WALK: constant(uint256) = 16  # past rounds read in one walk
MAX_ROUNDS: constant(uint256) = MAX_WALK + 1
MAX_DECIMALS: constant(uint256) = 18
MAX_BAND_LOG2: constant(uint256) = 94  # a price below 2**94 stays below 2**96 over any sound quote
PAUSE_STEP_LOG2: constant(uint256) = 8  # 256 s, so that 24 bits reach the year 2106

MASK_8: constant(uint256) = 2**8 - 1
MASK_24: constant(uint256) = 2**24 - 1
MASK_80: constant(uint256) = 2**80 - 1
MASK_96: constant(uint256) = 2**96 - 1
MASK_160: constant(uint256) = 2**160 - 1
MASK_232: constant(uint256) = 2**232 - 1


################################################################
#                          The feed word                       #
################################################################


@internal
@pure
def _feed_word(
    feed: address, decimals: uint256, heartbeat_s: uint256, low_log2: uint256, high_log2: uint256, prior_e6: uint256
) -> uint256:
    self._require_decimals(decimals)
    self._require_heartbeat(heartbeat_s)
    self._require_band(low_log2, high_log2)
    return (
        convert(feed, uint256)
        | ((MAX_DECIMALS - decimals) << 160)
        | (heartbeat_s << 168)
        | (low_log2 << 192)
        | (high_log2 << 200)
        | (prior_e6 << 208)
    )


@internal
@pure
def _feed(feed_word: uint256) -> address:
    return convert(convert(feed_word & MASK_160, uint160), address)


@internal
@pure
def _decimals(feed_word: uint256) -> uint256:
    return MAX_DECIMALS - ((feed_word >> 160) & MASK_8)


@internal
@pure
def _heartbeat_s(feed_word: uint256) -> uint256:
    return (feed_word >> 168) & MASK_24


@internal
@pure
def _band_low_log2(feed_word: uint256) -> uint256:
    return (feed_word >> 192) & MASK_8


@internal
@pure
def _band_high_log2(feed_word: uint256) -> uint256:
    return (feed_word >> 200) & MASK_8


@internal
@pure
def _prior_sigma_e6(feed_word: uint256) -> uint256:
    return (feed_word >> 208) & MASK_24


@internal
@pure
def _paused_until(feed_word: uint256) -> uint256:
    """@dev In seconds; 0 where there was no pause."""
    return (feed_word >> 232) << PAUSE_STEP_LOG2


@internal
@pure
def _with_pause(feed_word: uint256, until: uint256) -> uint256:
    """@dev Ends with the step that `until` lies in: no later than asked for."""
    return (feed_word & MASK_232) | ((until >> PAUSE_STEP_LOG2) << 232)


################################################################
#                            Rounds                            #
################################################################


@internal
@view
def _newest(feed_word: uint256) -> uint256:
    """@dev The newest round as a round word, 0 if it is not sound. On the hot path, hence the call stands here."""
    self._require_gas()
    success: bool = False
    data: Bytes[160] = b""
    success, data = raw_call(
        convert(convert(feed_word & MASK_160, uint160), address),
        method_id("latestRoundData()"),
        max_outsize=160,
        gas=FEED_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success or len(data) != 160:
        return 0
    return self._sound(feed_word, abi_decode(data, uint256[5]))


@internal
@view
def _past(feed_word: uint256, round_id: uint256) -> uint256:
    """@dev That very round as a round word, 0 if it is not there or not sound."""
    self._require_gas()
    success: bool = False
    data: Bytes[160] = b""
    success, data = raw_call(
        self._feed(feed_word),
        abi_encode(round_id, method_id=method_id("getRoundData(uint80)")),
        max_outsize=160,
        gas=FEED_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success or len(data) != 160:
        return 0
    round: uint256 = self._sound(feed_word, abi_decode(data, uint256[5]))
    if self._round_id(round) != round_id:
        return 0
    return round


@internal
@view
def _before(feed_word: uint256, round_id: uint256) -> uint256:
    """
    @dev Price of the round before `round_id`; 0 if it cannot be read or was made in this very block as well, for
         then it is no price that stood when the block began.
    """
    round: uint256 = self._past(feed_word, round_id - 1)
    if self._updated_at(round) == block.timestamp:
        return 0
    return self._price_wad(round)


@internal
@view
def _walk(feed_word: uint256, newest: uint256, stop_id: uint256, stop_at: uint256) -> (uint256[MAX_ROUNDS], uint256):
    """
    @dev The given newest round and those before it, newest first, and their number. Ends before round `stop_id`,
         at a round not updated after `stop_at`, at one that is unsound or newer than its successor (so also where
         a proxy changed its aggregator), or after MAX_WALK calls.
    """
    rounds: uint256[MAX_ROUNDS] = empty(uint256[MAX_ROUNDS])
    rounds[0] = newest
    newest_id: uint256 = self._round_id(newest)
    later_at: uint256 = self._updated_at(newest)
    count: uint256 = 1
    for i: uint256 in range(1, MAX_ROUNDS):
        if newest_id <= stop_id + i:
            break
        round: uint256 = self._past(feed_word, newest_id - i)
        updated_at: uint256 = self._updated_at(round)
        if round == 0 or updated_at > later_at or updated_at <= stop_at:
            break
        rounds[i] = round
        later_at = updated_at
        count += 1
    return rounds, count


@internal
@view
def _sequencer(feed: address, grace_s: uint256) -> (bool, bool):
    """
    @dev Whether it is up, and for longer than the grace; and whether the feed says that it is not. Answer 0 is up, 1 is
         down, and started at is when that began; an unsound answer counts as down and tells of no outage.
    """
    self._require_gas()
    success: bool = False
    data: Bytes[160] = b""
    success, data = raw_call(
        feed,
        method_id("latestRoundData()"),
        max_outsize=160,
        gas=FEED_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success or len(data) != 160:
        return False, False
    words: uint256[5] = abi_decode(data, uint256[5])
    started_at: uint256 = words[2]
    is_sound: bool = words[1] <= 1 and started_at != 0 and started_at <= block.timestamp
    is_up: bool = is_sound and words[1] == 0 and started_at < block.timestamp - grace_s
    return is_up, is_sound and not is_up


@internal
@view
def _sound(feed_word: uint256, words: uint256[5]) -> uint256:
    """
    @dev Of id, answer, started at, updated at and answered in. Words are decoded as unsigned, so a negative answer is a huge
         one and nothing here can revert: an answer below 2**128 times at most 10**18 stays below 2**188.
    """
    id: uint256 = words[0]
    updated_at: uint256 = words[3]
    if id == 0 or updated_at == 0 or (id >> 80) | (words[1] >> 128) != 0:
        return 0
    if words[4] < id or updated_at > block.timestamp:
        return 0
    price_wad: uint256 = unsafe_mul(words[1], pow_mod256(10, (feed_word >> 160) & MASK_8))
    if price_wad >> ((feed_word >> 192) & MASK_8) == 0 or price_wad >> ((feed_word >> 200) & MASK_8) != 0:
        return 0
    return price_wad | (id << 96) | (updated_at << 176)


@internal
@pure
def _price_wad(round: uint256) -> uint256:
    return round & MASK_96


@internal
@pure
def _round_id(round: uint256) -> uint256:
    return (round >> 96) & MASK_80


@internal
@pure
def _updated_at(round: uint256) -> uint256:
    return round >> 176


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _require_gas():
    assert msg.gas >= MIN_GAS, "oracle: gas too low"


@internal
@pure
def _require_decimals(decimals: uint256):
    assert decimals <= MAX_DECIMALS, "oracle: bad decimals"


@internal
@pure
def _require_heartbeat(heartbeat_s: uint256):
    assert heartbeat_s != 0 and heartbeat_s <= MASK_24, "oracle: bad heartbeat"


@internal
@pure
def _require_band(low_log2: uint256, high_log2: uint256):
    """@dev The lower edge keeps a price above zero over any sound quote."""
    assert low_log2 >= 2 and low_log2 < high_log2 and high_log2 <= MAX_BAND_LOG2, "oracle: bad band"
