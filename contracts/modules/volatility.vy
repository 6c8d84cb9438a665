# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Volatility
@license MIT
@author  Ballast contributors
@notice  How much a price moves, per square-root year, from the feed's own rounds and nothing else.
@dev     Samples lie on a grid of 300 s: the sample at a boundary is the newest round not updated after it, so a
         round's bucket is ceil(updated_at / 300). From one sampled round to the next, with the return r = ln(p / p_last)
         and the time dt = 300 (bucket - bucket_last),

             S := S exp(-dt / tau) + r**2        W := W exp(-dt / tau) + dt
             sigma = sqrt((S + s0**2 tau0) / (W + tau0))            s0: prior volatility

         once fast and once slow. The ratio of two decayed sums needs no normalisation and is not biased by
         irregular sampling. Because nothing else enters, the words are a function of the rounds: who pokes and
         when does not matter as long as a walk reaches the last sampled round (A17).

         ewma word    fast S u96 | fast W u32 | slow S u96 | slow W u32     S in e28, W in milliseconds
         range word   ln u40 | high u40 | low u40 | previous high u40 | previous low u40 | window u32

         Logarithms are of the dollar price as an integer of WAD, in e10, hence never negative; `ln` in the range
         word is that of the last sampled round. Widths: |r| <= 0.5, so the fast S stays below
         0.25 / (1 - exp(-300 / 3,600)) = 3.2; the clip of 6 sigma keeps the slow S below 2.8; u96 holds 7.9 in e28.
         W stays below tau + MAX_DT_S = 691,200 s; u32 holds 4,294,967 s.
"""

from contracts.modules import feeds
from contracts.modules import fixed_point
from snekmate.utils import math

YEAR_S: constant(uint256) = 31_536_000
BUCKET_S: constant(uint256) = 300
WINDOW_S: constant(uint256) = 1_800
MAX_DT_S: constant(uint256) = 604_800  # a longer silence counts as a week, which errs on the high side

TAU_FAST_S: constant(uint256) = 3_600
TAU_SLOW_S: constant(uint256) = 86_400
PRIOR_FAST_S: constant(uint256) = 600  # tau0, weight of the prior
PRIOR_SLOW_S: constant(uint256) = 3_600

MAX_RETURN_E10: constant(uint256) = 5 * 10**9
CLIP_SQUARED: constant(uint256) = 36  # slow returns are clipped at six standard deviations

SIGMA_FLOOR_E12: constant(uint256) = 10**11  # 10% a year
SIGMA_CAP_E12: constant(uint256) = 5 * 10**12  # 500% a year

# ln(10**18), up, in WAD: turns the logarithm of a price into that of its WAD integer.
LN_WAD: constant(int256) = 41_446_531_673_892_822_313

# Parkinson: sigma = ln(high / low) / sqrt(4 ln 2), of one hour: times sqrt(year / 3,600 s). In e6, up.
RANGE_FACTOR_E6: constant(uint256) = 56_209_449

MASK_40: constant(uint256) = 2**40 - 1
MASK_96: constant(uint256) = 2**96 - 1
MASK_128: constant(uint256) = 2**128 - 1


################################################################
#                           Sampling                           #
################################################################


@internal
@pure
def _absorb(
    ewma_word: uint256,
    range_word: uint256,
    bucket: uint256,
    prior_e6: uint256,
    rounds: uint256[feeds.MAX_ROUNDS],
    count: uint256,
    now: uint256,
) -> (uint256, uint256, uint256, uint256, uint256):
    """
    @dev Takes in `count` round words, given newest first. Returns the two words, the bucket of the last sampled round,
         its index (`count` if none was sampled) and the logarithm of the newest round.
         A round whose boundary is not reached yet counts for the range only; a later walk meets it again.
    """
    ewma: uint256 = ewma_word
    ranges: uint256 = range_word
    last_bucket: uint256 = bucket
    sampled: uint256 = count
    in_force: uint256 = range_word & MASK_40
    for i: uint256 in range(count, bound=feeds.MAX_ROUNDS):
        index: uint256 = count - 1 - i
        log_e10: uint256 = self._ln_e10(feeds._price_wad(rounds[index]))
        updated_at: uint256 = feeds._updated_at(rounds[index])
        ranges = self._widened(self._rolled(ranges, updated_at // WINDOW_S, in_force), log_e10)
        in_force = log_e10
        round_bucket: uint256 = self._bucket(updated_at)
        if round_bucket <= last_bucket or round_bucket * BUCKET_S > now:
            continue
        if index != 0:
            if self._bucket(feeds._updated_at(rounds[index - 1])) == round_bucket:
                continue
        last_e10: uint256 = ranges & MASK_40
        return_e10: uint256 = max(log_e10, last_e10) - min(log_e10, last_e10)
        ewma = self._sampled(ewma, return_e10, (round_bucket - last_bucket) * BUCKET_S, prior_e6)
        ranges = self._restarted(ranges, log_e10)
        last_bucket = round_bucket
        sampled = index
    return ewma, ranges, last_bucket, sampled, in_force


@internal
@pure
def _sampled(ewma_word: uint256, return_e10: uint256, elapsed_s: uint256, prior_e6: uint256) -> uint256:
    """@dev One return over `elapsed_s` seconds enters both sums."""
    dt_s: uint256 = min(elapsed_s, MAX_DT_S)
    clipped_e10: uint256 = min(return_e10, MAX_RETURN_E10)
    square_e28: uint256 = clipped_e10 * clipped_e10 * 10**8
    # (6 sigma)**2 dt, before this return enters sigma: e24 to e28, per year to per second.
    slow_e12: uint256 = self._clamp(self._sigma_slow_e12(ewma_word, prior_e6))
    limit_e28: uint256 = CLIP_SQUARED * slow_e12 * slow_e12 * dt_s * 10**4 // YEAR_S
    fast: uint256 = self._decayed(ewma_word & MASK_128, dt_s, TAU_FAST_S, square_e28)
    slow: uint256 = self._decayed(ewma_word >> 128, dt_s, TAU_SLOW_S, min(square_e28, limit_e28))
    return fast | (slow << 128)


@internal
@pure
def _decayed(half: uint256, dt_s: uint256, tau_s: uint256, square_e28: uint256) -> uint256:
    """@dev One half of the ewma word after dt."""
    keep_wad: uint256 = self._exp_minus_wad(dt_s * fixed_point.WAD // tau_s)
    sum_e28: uint256 = (half & MASK_96) * keep_wad // fixed_point.WAD + square_e28
    weight_ms: uint256 = (half >> 96) * keep_wad // fixed_point.WAD + dt_s * 1_000
    return sum_e28 | (weight_ms << 96)


################################################################
#                            Sigmas                            #
################################################################


@internal
@pure
def _sigma_fast_e12(ewma_word: uint256, prior_e6: uint256) -> uint256:
    return self._sigma_e12(ewma_word & MASK_128, prior_e6, PRIOR_FAST_S)


@internal
@pure
def _sigma_slow_e12(ewma_word: uint256, prior_e6: uint256) -> uint256:
    return self._sigma_e12(ewma_word >> 128, prior_e6, PRIOR_SLOW_S)


@internal
@pure
def _sigma_e12(half: uint256, prior_e6: uint256, tau0_s: uint256) -> uint256:
    """@dev sqrt(e28) = e14, to e12; unclamped."""
    prior_e28: uint256 = prior_e6 * prior_e6 * 10**16 * tau0_s // YEAR_S
    sum_e28: uint256 = (half & MASK_96) + prior_e28
    weight_ms: uint256 = (half >> 96) + tau0_s * 1_000
    return isqrt(sum_e28 * YEAR_S * 1_000 // weight_ms) // 100


@internal
@pure
def _sigma_range_e12(range_word: uint256, in_force_e10: uint256, now: uint256) -> uint256:
    """@dev Of the current and the previous half hour, in which the price in force counts also without a round."""
    word: uint256 = self._rolled(range_word, now // WINDOW_S, in_force_e10)
    high: uint256 = max((word >> 40) & MASK_40, (word >> 120) & MASK_40)
    low: uint256 = min((word >> 80) & MASK_40, (word >> 160) & MASK_40)
    # e10 * e6 to e12, up
    return fixed_point._div_up((high - low) * RANGE_FACTOR_E6, 10**4)


@internal
@pure
def _live_e12(
    ewma_word: uint256, slow_e12: uint256, range_word: uint256, in_force_e10: uint256, prior_e6: uint256, now: uint256
) -> uint256:
    """@dev The largest of the three, for initial margin; the slow one is known already."""
    fast_e12: uint256 = self._sigma_fast_e12(ewma_word, prior_e6)
    range_e12: uint256 = self._sigma_range_e12(range_word, in_force_e10, now)
    return self._clamp(max(max(fast_e12, slow_e12), range_e12))


@internal
@pure
def _clamp(sigma_e12: uint256) -> uint256:
    return min(max(sigma_e12, SIGMA_FLOOR_E12), SIGMA_CAP_E12)


################################################################
#                            Range                             #
################################################################


@internal
@pure
def _flat_range(log_e10: uint256, window: uint256) -> uint256:
    return log_e10 | (log_e10 << 40) | (log_e10 << 80) | (log_e10 << 120) | (log_e10 << 160) | (window << 200)


@internal
@pure
def _restarted(range_word: uint256, log_e10: uint256) -> uint256:
    """@dev The word with another last sampled price; highs and lows stay."""
    return (range_word >> 40 << 40) | log_e10


@internal
@pure
def _rolled(range_word: uint256, window: uint256, in_force_e10: uint256) -> uint256:
    """@dev The word as of `window`, which the price in force enters; an earlier window changes nothing."""
    current: uint256 = range_word >> 200
    if window <= current:
        return range_word
    flat: uint256 = self._flat_range(in_force_e10, window)
    if window > current + 1:
        return self._restarted(flat, range_word & MASK_40)
    # The current high and low, bits 40 to 119, become the previous ones, bits 120 to 199.
    both: uint256 = (range_word >> 40) & (MASK_40 | (MASK_40 << 40))
    fresh: uint256 = (in_force_e10 << 40) | (in_force_e10 << 80)
    return (range_word & MASK_40) | fresh | (both << 120) | (window << 200)


@internal
@pure
def _widened(range_word: uint256, log_e10: uint256) -> uint256:
    """@dev The current high and low with one more price."""
    high: uint256 = max((range_word >> 40) & MASK_40, log_e10)
    low: uint256 = min((range_word >> 80) & MASK_40, log_e10)
    return (range_word >> 120 << 120) | (range_word & MASK_40) | (high << 40) | (low << 80)


################################################################
#                             Maths                            #
################################################################


@internal
@pure
def _bucket(updated_at: uint256) -> uint256:
    """@dev Number of the first grid boundary at which a round of that time is in force."""
    return fixed_point._div_up(updated_at, BUCKET_S)


@internal
@pure
def _first_bucket(updated_at: uint256, now: uint256) -> uint256:
    """@dev Bucket of a round with which sampling starts: never one to come, which later rounds may still share."""
    return min(self._bucket(updated_at), now // BUCKET_S)


@internal
@pure
def _ln_e10(price_wad: uint256) -> uint256:
    """@dev ln of the integer `price_wad` >= 2, below 2**94: between 0.69 and 65.2."""
    log_wad: int256 = math._wad_ln(convert(price_wad, int256)) + LN_WAD
    return convert(log_wad, uint256) // 10**8


@internal
@pure
def _exp_minus_wad(x_wad: uint256) -> uint256:
    """@dev exp(-x), zero from x = 41.4 on."""
    return convert(math._wad_exp(-convert(x_wad, int256)), uint256)
