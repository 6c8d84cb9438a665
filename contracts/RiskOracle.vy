# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Risk Oracle
@license MIT
@author  Ballast contributors
@notice  Prices, volatility and margin rates of every asset. Holds no money.
@dev     `feeds` reads rounds, `price_marks` turns them into prices with flags, `volatility` samples them,
         `margin_rates` bounds how fast requirements follow; here is what is stored and who may call.
         Assumptions:
         1. A feed's rounds never change once published, and a later id has a later or equal time.
         2. The owner is a timelock; it can choose feeds and parameters and never touches money.
         3. The clearing house latches marks, so that one call of it sees one set of them.
@custom:kill  `set_pause`: an asset backs no increase for a while. Without pokes risk may not grow either; repaying and
              reducing go on with the prices alone.
"""

from contracts.interfaces import IRiskOracle
implements: IRiskOracle

from contracts.interfaces import IAggregatorV3
from contracts.interfaces import IClearinghouse

from snekmate.auth import ownable
initializes: ownable

from snekmate.auth import ownable_2step
initializes: ownable_2step[ownable := ownable]

from contracts.modules import feeds
from contracts.modules import fixed_point
from contracts.modules import margin_rates
from contracts.modules import packing
from contracts.modules import price_marks
initializes: price_marks

from contracts.modules import volatility

# Ownership; without renouncing, for parameters always need an owner.
exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

MAX_ASSET: constant(uint256) = 255
LISTING_TOLERANCE_BPS: constant(uint256) = 2_000
# Two sound feeds with a threshold of 0.5% each differ by at most about this.
FEED_TOLERANCE_BPS: constant(uint256) = 100
MAX_PAUSE_S: constant(uint256) = 30 * 86_400

CLEARINGHOUSE: public(immutable(address))

# @dev Risk word of each asset id, as `marks` hands it out.
_risk_words: HashMap[uint256, uint256]

# @dev Decayed sums of squared returns and of time (modules/volatility.vy).
_ewma_words: HashMap[uint256, uint256]

# @dev Last sampled price and the highs and lows of two half hours (modules/volatility.vy).
_range_words: HashMap[uint256, uint256]

# @dev Volatility and maintenance rates whose speed is bounded (modules/margin_rates.vy).
_limits_words: HashMap[uint256, uint256]

# @dev Parameters at the start and at the end of the latest change (modules/margin_rates.vy).
_from_words: HashMap[uint256, uint256]
_to_words: HashMap[uint256, uint256]


@deploy
def __init__(
    clearinghouse: address, quote_feed: address, quote_heartbeat_s: uint256, sequencer_feed: address
):
    """
    @notice Prices in units of a token whose dollar price `quote_feed` tells (empty: it is the dollar). The
            clearing house may be deployed later; `sequencer_feed` is empty on a chain without a sequencer.
    """
    ownable.__init__()
    ownable_2step.__init__()
    CLEARINGHOUSE = clearinghouse
    quote_decimals: uint256 = 0
    if quote_feed != empty(address):
        quote_decimals = convert(staticcall IAggregatorV3(quote_feed).decimals(), uint256)
    price_marks.__init__(quote_feed, quote_decimals, quote_heartbeat_s, sequencer_feed)
    quote_wad: uint256 = self._live_quote_wad()
    price_marks._last_quote_wad = quote_wad
    log IRiskOracle.QuoteStored(quote_wad=quote_wad)


################################################################
#                        Anyone, any time                      #
################################################################


@external
def poke(assets: DynArray[uint256, 16]):
    """
    @notice Samples volatility and recomputes the rates of `assets`.
    """
    self._check_idle()
    quote_wad: uint256 = self._store_quote()
    for asset: uint256 in assets:
        feed_word: uint256 = self._feed_word(asset)
        is_sound: bool = False
        in_force_e10: uint256 = 0
        is_sound, in_force_e10 = self._absorb(asset, feed_word, quote_wad)
        if is_sound:
            self._reprice(asset, feed_word, in_force_e10)


################################################################
#                           The owner                          #
################################################################


@external
def list_asset(
    asset: uint256,
    feed: address,
    heartbeat_s: uint256,
    band_low_log2: uint256,
    band_high_log2: uint256,
    stated_price_wad: uint256,
    prior_sigma_e6: uint256,
    parameters: IRiskOracle.Parameters,
):
    """
    @notice Makes an asset known, for good.
    @dev    Its newest round becomes the first sample, and the rates start where they belong.
    """
    ownable._check_owner()
    self._require_new(asset)
    self._require_prior(prior_sigma_e6)
    decimals: uint256 = convert(staticcall IAggregatorV3(feed).decimals(), uint256)
    feed_word: uint256 = feeds._feed_word(
        feed, decimals, heartbeat_s, band_low_log2, band_high_log2, prior_sigma_e6
    )
    price_marks._feed_words[asset] = feed_word
    log IRiskOracle.AssetListed(asset=asset, feed=feed, feed_word=feed_word)

    round: uint256 = price_marks._live_round(feed_word)
    self._require_live(round != 0)
    price_wad: uint256 = feeds._price_wad(round) * fixed_point.WAD // self._live_quote_wad()
    self._require_near(price_wad, stated_price_wad, LISTING_TOLERANCE_BPS)

    log_e10: uint256 = volatility._ln_e10(feeds._price_wad(round))
    updated_at: uint256 = feeds._updated_at(round)
    bucket: uint256 = volatility._first_bucket(updated_at, block.timestamp)
    price_marks._last_words[asset] = price_marks._last_word(price_wad, feeds._round_id(round), bucket)
    self._range_words[asset] = volatility._flat_range(log_e10, updated_at // volatility.WINDOW_S)
    parameter_word: uint256 = margin_rates._parameter_word(parameters, block.timestamp)
    self._store_parameters(asset, parameter_word, parameter_word)
    self._reprice(asset, feed_word, log_e10)


@external
def set_feed(
    asset: uint256,
    feed: address,
    heartbeat_s: uint256,
    band_low_log2: uint256,
    band_high_log2: uint256,
    stated_price_wad: uint256,
):
    """
    @notice Replaces an asset's feed, heartbeat and band.
    @dev    The old feed's rounds are taken in first; the sums and the range go on, the sampled price starts anew. A pause
            goes on as well.
    """
    ownable._check_owner()
    self._check_idle()
    old_word: uint256 = self._feed_word(asset)
    quote_wad: uint256 = self._live_quote_wad()
    old_round: uint256 = price_marks._live_round(old_word)
    is_sound: bool = False
    log_e10: uint256 = 0
    is_sound, log_e10 = self._absorb(asset, old_word, quote_wad)

    decimals: uint256 = convert(staticcall IAggregatorV3(feed).decimals(), uint256)
    feed_word: uint256 = feeds._with_pause(
        feeds._feed_word(
            feed, decimals, heartbeat_s, band_low_log2, band_high_log2, feeds._prior_sigma_e6(old_word)
        ),
        feeds._paused_until(old_word),
    )
    price_marks._feed_words[asset] = feed_word
    log IRiskOracle.FeedChanged(
        asset=asset, old_feed=feeds._feed(old_word), new_feed=feed, feed_word=feed_word
    )

    round: uint256 = price_marks._live_round(feed_word)
    self._require_live(round != 0)
    asset_wad: uint256 = feeds._price_wad(round)
    price_wad: uint256 = asset_wad * fixed_point.WAD // quote_wad
    if old_round != 0:
        self._require_near(asset_wad, feeds._price_wad(old_round), FEED_TOLERANCE_BPS)
    else:
        self._require_near(price_wad, stated_price_wad, LISTING_TOLERANCE_BPS)

    log_e10 = volatility._ln_e10(asset_wad)
    last_bucket: uint256 = price_marks._sampled_bucket(price_marks._last_words[asset])
    bucket: uint256 = max(last_bucket, volatility._first_bucket(feeds._updated_at(round), block.timestamp))
    price_marks._last_words[asset] = price_marks._last_word(price_wad, feeds._round_id(round), bucket)
    self._range_words[asset] = volatility._restarted(self._range_words[asset], log_e10)
    self._reprice(asset, feed_word, log_e10)


@external
def set_parameters(asset: uint256, parameters: IRiskOracle.Parameters):
    """
    @notice Changes what makes the requirements of an asset.
    @dev    Rates are recomputed at once, also with a bad feed: what lowers a requirement does not wait for it.
    """
    ownable._check_owner()
    self._check_idle()
    feed_word: uint256 = self._feed_word(asset)
    now_word: uint256 = margin_rates._effective(self._from_words[asset], self._to_words[asset], block.timestamp)
    from_word: uint256 = margin_rates._timed(now_word, block.timestamp)
    to_word: uint256 = margin_rates._parameter_word(parameters, block.timestamp + margin_rates.NOTICE_S)
    # What falls does so at once and what rises does not: the inequality must hold all the way.
    margin_rates._require_jump(
        min(margin_rates._field(now_word, 1), parameters.floor_init_bps),
        parameters.floor_maint_bps,
        min(margin_rates._field(now_word, 7), parameters.floor_l_bps),
    )
    self._store_parameters(asset, from_word, to_word)
    quote_wad: uint256 = self._store_quote()
    is_sound: bool = False
    in_force_e10: uint256 = 0
    is_sound, in_force_e10 = self._absorb(asset, feed_word, quote_wad)
    self._reprice(asset, feed_word, in_force_e10)


@external
def set_pause(asset: uint256, until: uint256):
    """
    @notice Lets an asset's price back no increase of risk until then.
    """
    ownable._check_owner()
    self._require_pause(until)
    feed_word: uint256 = feeds._with_pause(self._feed_word(asset), until)
    price_marks._feed_words[asset] = feed_word
    log IRiskOracle.PauseChanged(asset=asset, until=feeds._paused_until(feed_word), feed_word=feed_word)


################################################################
#                             Views                            #
################################################################


@external
@view
def marks(assets: DynArray[uint256, 16]) -> DynArray[uint256, 32]:
    """
    @notice A price word and a risk word of each asset.
    """
    quote_wad: uint256 = 0
    quote_previous_wad: uint256 = 0
    quote_flags: uint256 = 0
    quote_wad, quote_previous_wad, quote_flags = price_marks._quote()
    words: DynArray[uint256, 32] = []
    for asset: uint256 in assets:
        feed_word: uint256 = price_marks._feed_words[asset]
        self._require_listed(feed_word)
        risk_word: uint256 = self._risk_words[asset]
        words.append(price_marks._mark(asset, feed_word, risk_word, quote_wad, quote_previous_wad, quote_flags))
        words.append(risk_word)
    return words


@external
@view
def pending_risk(asset: uint256) -> uint256:
    """
    @notice The risk word under the final parameters, maintenance rates where they are heading.
    """
    prior_e6: uint256 = feeds._prior_sigma_e6(self._feed_word(asset))
    slow_e12: uint256 = volatility._sigma_slow_e12(self._ewma_words[asset], prior_e6)
    to_word: uint256 = self._to_words[asset]
    limits: uint256 = margin_rates._aim(self._limits_words[asset], volatility._clamp(slow_e12), to_word)
    return margin_rates._risk(limits, to_word, packing._poked_at(self._risk_words[asset]))


@external
@view
def price_wad(asset: uint256) -> uint256:
    """
    @notice Newest price, or the last good one.
    """
    feed_word: uint256 = self._feed_word(asset)
    quote_wad: uint256 = 0
    quote_previous_wad: uint256 = 0
    quote_flags: uint256 = 0
    quote_wad, quote_previous_wad, quote_flags = price_marks._quote()
    return packing._newest_wad(price_marks._mark(asset, feed_word, 0, quote_wad, quote_previous_wad, quote_flags))


@external
@view
def sigmas_e6(asset: uint256) -> (uint256, uint256, uint256, uint256):
    """
    @notice Fast, slow, range and initial volatility as of the last poke.
    """
    prior_e6: uint256 = feeds._prior_sigma_e6(self._feed_word(asset))
    ewma_word: uint256 = self._ewma_words[asset]
    range_word: uint256 = self._range_words[asset]
    risk_word: uint256 = self._risk_words[asset]
    range_e12: uint256 = volatility._sigma_range_e12(
        range_word, range_word & packing.MASK_40, packing._poked_at(risk_word)
    )
    return (
        fixed_point._div_up(volatility._sigma_fast_e12(ewma_word, prior_e6), 10**6),
        fixed_point._div_up(volatility._sigma_slow_e12(ewma_word, prior_e6), 10**6),
        fixed_point._div_up(range_e12, 10**6),
        packing._sigma_e6(risk_word),
    )


@external
@view
def parameters(asset: uint256) -> (IRiskOracle.Parameters, IRiskOracle.Parameters, uint256):
    """
    @notice Parameters now, at the end of a change under way, and when that ends.
    """
    self._require_listed(price_marks._feed_words[asset])
    to_word: uint256 = self._to_words[asset]
    now_word: uint256 = margin_rates._effective(self._from_words[asset], to_word, block.timestamp)
    return margin_rates._parameters(now_word), margin_rates._parameters(to_word), margin_rates._time(to_word)


@external
@view
def feed_of(asset: uint256) -> (address, uint256, uint256, uint256, uint256):
    """
    @notice Feed, decimals, heartbeat and band.
    """
    feed_word: uint256 = price_marks._feed_words[asset]
    if feed_word == 0:
        return empty(address), 0, 0, 0, 0
    return (
        feeds._feed(feed_word),
        feeds._decimals(feed_word),
        feeds._heartbeat_s(feed_word),
        feeds._band_low_log2(feed_word),
        feeds._band_high_log2(feed_word),
    )


@external
@view
def paused_until(asset: uint256) -> uint256:
    """
    @notice When the latest pause ends or ended.
    """
    return feeds._paused_until(self._feed_word(asset))


################################################################
#                            Storing                           #
################################################################


@internal
def _absorb(asset: uint256, feed_word: uint256, quote_wad: uint256) -> (bool, uint256):
    """
    @dev Takes in what the feed published since the last sample. Returns whether its newest round is sound, and
         the logarithm of the price in force; without a sound round that is the last sampled one.
    """
    range_word: uint256 = self._range_words[asset]
    newest: uint256 = feeds._newest(feed_word)
    if newest == 0:
        return False, range_word & packing.MASK_40

    last_word: uint256 = price_marks._last_words[asset]
    sampled_id: uint256 = price_marks._sampled_id(last_word)
    bucket: uint256 = price_marks._sampled_bucket(last_word)
    in_force_e10: uint256 = range_word & packing.MASK_40
    if feeds._round_id(newest) != sampled_id:
        rounds: uint256[feeds.MAX_ROUNDS] = empty(uint256[feeds.MAX_ROUNDS])
        count: uint256 = 0
        rounds, count = feeds._walk(feed_word, newest, sampled_id, bucket * volatility.BUCKET_S)
        ewma_word: uint256 = self._ewma_words[asset]
        new_ewma: uint256 = 0
        new_range: uint256 = 0
        index: uint256 = 0
        new_ewma, new_range, bucket, index, in_force_e10 = volatility._absorb(
            ewma_word,
            range_word,
            bucket,
            feeds._prior_sigma_e6(feed_word),
            rounds,
            count,
            block.timestamp,
        )
        if index != count:
            sampled_id = feeds._round_id(newest) - index
        if new_ewma != ewma_word:
            self._ewma_words[asset] = new_ewma
        if new_range != range_word:
            self._range_words[asset] = new_range
    price_wad: uint256 = feeds._price_wad(newest) * fixed_point.WAD // quote_wad
    new_last: uint256 = price_marks._last_word(price_wad, sampled_id, bucket)
    if new_last != last_word:
        price_marks._last_words[asset] = new_last
    return True, in_force_e10


@internal
def _reprice(asset: uint256, feed_word: uint256, in_force_e10: uint256):
    """@dev Recomputes limits and rates from what is stored."""
    prior_e6: uint256 = feeds._prior_sigma_e6(feed_word)
    ewma_word: uint256 = self._ewma_words[asset]
    range_word: uint256 = self._range_words[asset]
    elapsed_s: uint256 = block.timestamp - packing._poked_at(self._risk_words[asset])
    to_word: uint256 = self._to_words[asset]
    parameter_word: uint256 = to_word
    if block.timestamp < margin_rates._time(to_word):
        parameter_word = margin_rates._effective(self._from_words[asset], to_word, block.timestamp)

    slow_e12: uint256 = volatility._sigma_slow_e12(ewma_word, prior_e6)
    live_e12: uint256 = volatility._live_e12(
        ewma_word, slow_e12, range_word, in_force_e10, prior_e6, block.timestamp
    )
    limits: uint256 = margin_rates._limits(
        self._limits_words[asset], elapsed_s, live_e12, volatility._clamp(slow_e12), parameter_word
    )
    risk_word: uint256 = margin_rates._risk(limits, parameter_word, block.timestamp)
    self._limits_words[asset] = limits
    self._risk_words[asset] = risk_word
    log IRiskOracle.Poked(
        asset=asset,
        last_word=price_marks._last_words[asset],
        ewma_word=ewma_word,
        range_word=range_word,
        limits_word=limits,
        risk_word=risk_word,
    )


@internal
def _store_parameters(asset: uint256, from_word: uint256, to_word: uint256):
    self._from_words[asset] = from_word
    self._to_words[asset] = to_word
    log IRiskOracle.ParametersChanged(
        asset=asset,
        old_word=from_word,
        new_word=to_word,
        ramp_start=block.timestamp,
        ramp_end=margin_rates._time(to_word),
    )


@internal
def _store_quote() -> uint256:
    """@dev The quote token's newest price, or its last good one; stored when it has moved."""
    quote_wad: uint256 = 0
    previous_wad: uint256 = 0
    flags: uint256 = 0
    quote_wad, previous_wad, flags = price_marks._quote()
    if quote_wad != price_marks._last_quote_wad:
        price_marks._last_quote_wad = quote_wad
        log IRiskOracle.QuoteStored(quote_wad=quote_wad)
    return quote_wad


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_idle():
    assert staticcall IClearinghouse(CLEARINGHOUSE).call_state() == 0, "oracle: clearinghouse busy"


@internal
@view
def _feed_word(asset: uint256) -> uint256:
    feed_word: uint256 = price_marks._feed_words[asset]
    self._require_listed(feed_word)
    return feed_word


@internal
@view
def _live_quote_wad() -> uint256:
    quote_wad: uint256 = 0
    previous_wad: uint256 = 0
    flags: uint256 = 0
    quote_wad, previous_wad, flags = price_marks._quote()
    self._require_live(quote_wad != 0 and flags & packing.IS_STALE == 0)
    return quote_wad


@internal
@view
def _require_new(asset: uint256):
    self._require_id(asset)
    assert price_marks._feed_words[asset] == 0, "oracle: already listed"


@internal
@pure
def _require_id(asset: uint256):
    assert asset != 0 and asset <= MAX_ASSET, "oracle: bad asset id"


@internal
@pure
def _require_listed(feed_word: uint256):
    assert feed_word != 0, "oracle: unknown asset"


@internal
@pure
def _require_live(is_live: bool):
    assert is_live, "oracle: feed not live"


@internal
@pure
def _require_prior(prior_e6: uint256):
    is_sane: bool = (
        prior_e6 * 10**6 >= volatility.SIGMA_FLOOR_E12 and prior_e6 * 10**6 <= volatility.SIGMA_CAP_E12
    )
    assert is_sane, "oracle: bad prior volatility"


@internal
@pure
def _require_near(price_wad: uint256, reference_wad: uint256, tolerance_bps: uint256):
    distance_wad: uint256 = max(price_wad, reference_wad) - min(price_wad, reference_wad)
    assert distance_wad * fixed_point.BPS <= reference_wad * tolerance_bps, "oracle: price too far off"


@internal
@view
def _require_pause(until: uint256):
    """@dev Whoever owns this contract, a pause is nothing that stays."""
    assert until <= block.timestamp + MAX_PAUSE_S, "oracle: pause too long"
