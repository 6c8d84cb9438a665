"""The risk oracle in exact integers: rounds, marks, volatility and margin rates.

Every function repeats its contract twin operation for operation (`contracts/modules/feeds.vy`,
`price_marks.vy`, `volatility.vy`, `margin_rates.vy`), so that results are equal to the last bit.
Units are in the names: `_wad` 1e18, `_e12`, `_e10`, `_e28` likewise, `_s` and `_ms` seconds and
milliseconds, `_bps` basis points. Rates are per unit of value, volatilities per square-root year.
`now` is unix seconds.

`OracleModel` is the whole contract: publish rounds through `FeedModel`, call `poke`, read `marks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isqrt

WAD = 10**18
BPS = 10**4

IS_STALE = 1
NO_INCREASE = 2
NO_SWAP = 4
OWNERS_FIRST = 8
STALE_FLAGS = IS_STALE | NO_INCREASE | NO_SWAP
OFF_PEG_FLAGS = NO_INCREASE | NO_SWAP

# feeds.vy, price_marks.vy, RiskOracle.vy
MAX_WALK = 16
PEG_TOLERANCE_WAD = 3 * 10**16
QUOTE_BAND_LOG2 = (58, 61)
MAX_POKE_LAG_S = 900
LISTING_TOLERANCE_BPS = 2_000
FEED_TOLERANCE_BPS = 100
PAUSE_STEP_S = 256

# volatility.vy
YEAR_S = 31_536_000
BUCKET_S = 300
WINDOW_S = 1_800
MAX_DT_S = 604_800
TAU_FAST_S, TAU_SLOW_S = 3_600, 86_400
PRIOR_FAST_S, PRIOR_SLOW_S = 600, 3_600
MAX_RETURN_E10 = 5 * 10**9
CLIP_SQUARED = 36
SIGMA_FLOOR_E12, SIGMA_CAP_E12 = 10**11, 5 * 10**12
LN_WAD = 41_446_531_673_892_822_313
RANGE_FACTOR_E6 = 56_209_449

# margin_rates.vy
NOTICE_S = 259_200
LARGEST_JUMP_BPS = 500
MIN_FLOOR_L_BPS = 100
DECAY_WAD = 29_266_809_904_951
RISE_PERCENT = 5
HOUR_S = 3_600
BPS_E12 = 10**8


# ---- integers


def div_up(x: int, d: int) -> int:
    """ceil(x / d) of non-negative integers."""
    return -(-x // d)


def _div_toward_zero(x: int, d: int) -> int:
    return x // d if (x < 0) == (d < 0) else -(-x // d)


def _horner(x: int, coefficients: Sequence[int]) -> int:
    """x**n + c1 x**(n-1) + ... in 2**96 fixed point, floored at every step."""
    total = x + coefficients[0]
    for c in coefficients[1:]:
        total = ((total * x) >> 96) + c
    return total


# The rational approximation that snekmate's `_wad_ln` uses, highest power first.
_LN_P = (
    3_273_285_459_638_523_848_632_254_066_296,
    24_828_157_081_833_163_892_658_089_445_524,
    43_456_485_725_739_037_958_740_375_743_393,
    -11_111_509_109_440_967_052_023_855_526_967,
    -45_023_709_667_254_063_763_336_534_515_857,
    -14_706_773_417_378_608_786_704_636_184_526,
)
_LN_P_LAST = -795_164_235_651_350_426_258_249_787_498
_LN_Q = (
    5_573_035_233_440_673_466_300_451_813_936,
    71_694_874_799_317_883_764_090_561_454_958,
    283_447_036_172_924_575_727_196_451_306_956,
    401_686_690_394_027_663_651_624_208_769_553,
    204_048_457_590_392_012_362_485_061_816_622,
    31_853_899_698_501_571_402_653_359_427_138,
    909_429_971_244_387_300_277_376_558_375,
)
_LN_SCALE = 1_677_202_110_996_718_588_342_820_967_067_443_963_516_166
_LN_2 = (
    16_597_577_552_685_614_221_487_285_958_193_947_469_193_820_559_219_878_177_908_093_499_208_371
)
_LN_OFFSET = (
    600_920_179_829_731_861_736_702_779_321_621_459_595_472_258_049_074_101_567_377_883_020_018_308
)


def wad_ln(x: int) -> int:
    """ln(x / 1e18) in WAD, as snekmate's `_wad_ln`. Raises ValueError outside 0 < x < 2**255."""
    if not 0 < x < 2**255:
        raise ValueError("wad_ln is defined for 0 < x < 2**255")
    log2 = x.bit_length() - 1
    k = log2 - 96
    x = x << (255 - log2) >> 159
    p = _horner(x, _LN_P) * x + (_LN_P_LAST << 96)
    r = _div_toward_zero(p, _horner(x, _LN_Q))
    return (r * _LN_SCALE + k * _LN_2 + _LN_OFFSET) >> 174


_EXP_LN_2 = 54_916_777_467_707_473_351_141_471_128
_EXP_Y = (1_346_386_616_545_796_478_920_950_773_328, 57_155_421_227_552_351_082_224_309_758_442)
_EXP_P = (
    -94_201_549_194_550_492_254_356_042_504_812,
    28_719_021_644_029_726_153_956_944_680_412_240,
    4_385_272_521_454_847_904_659_076_985_693_276,
)
_EXP_Q = (
    -2_855_989_394_907_223_263_936_484_059_900,
    50_020_603_652_535_783_019_961_831_881_945,
    -533_845_033_583_426_703_283_633_433_725_380,
    3_604_857_256_930_695_427_073_651_918_091_429,
    -14_423_608_567_350_463_180_887_372_962_807_573,
    26_449_188_498_355_588_339_934_803_723_976_023,
)
_EXP_SCALE = 3_822_833_074_963_236_453_042_738_258_902_158_003_155_416_615_667


def wad_exp(x: int) -> int:
    """exp(x / 1e18) in WAD, as snekmate's `_wad_exp`. Raises ValueError from 135.3e18 on."""
    if x <= -41_446_531_673_892_822_313:
        return 0
    if x >= 135_305_999_368_893_231_589:
        raise ValueError("wad_exp overflows")
    x = _div_toward_zero(x << 78, 5**18)
    k = (_div_toward_zero(x << 96, _EXP_LN_2) + 2**95) >> 96
    x -= k * _EXP_LN_2
    y = _horner(x, _EXP_Y)
    p = ((y + x + _EXP_P[0]) * y >> 96) + _EXP_P[1]
    p = p * x + (_EXP_P[2] << 96)
    r = _div_toward_zero(p, _horner(x, _EXP_Q))
    return r * _EXP_SCALE >> (195 - k)


def exp_minus_wad(x_wad: int) -> int:
    """exp(-x) in WAD."""
    return wad_exp(-x_wad)


def ln_e10(price_wad: int) -> int:
    """ln of the integer `price_wad` >= 2, in e10, floored."""
    return (wad_ln(price_wad) + LN_WAD) // 10**8


# ---- rounds


@dataclass(frozen=True)
class RawRound:
    """What a feed answers: id, answer in the feed's decimals, and unix seconds."""

    id: int
    answer: int
    updated_at: int
    answered_in: int | None = None  # None: in its own round


@dataclass(frozen=True)
class Round:
    """A sound round with its dollar price in WAD."""

    id: int
    price_wad: int
    updated_at: int


@dataclass
class FeedModel:
    """A feed's settings and everything it published; it reverts while `newest` is None."""

    decimals: int
    heartbeat_s: int
    band_low_log2: int
    band_high_log2: int
    newest: RawRound | None = None
    past: dict[int, RawRound] = field(default_factory=dict)

    def publish(self, round_: RawRound) -> None:
        """Add a round; it becomes the newest."""
        self.past[round_.id] = round_
        self.newest = round_

    def sound(self, raw: RawRound | None, now: int) -> Round | None:
        """The round if it may be believed."""
        if raw is None:
            return None
        answered_in = raw.id if raw.answered_in is None else raw.answered_in
        if not 0 < raw.id < 2**80 or answered_in < raw.id or not 0 <= raw.answer < 2**128:
            return None
        if not 0 < raw.updated_at <= now:
            return None
        price_wad = raw.answer * 10 ** (18 - self.decimals)
        if not 2**self.band_low_log2 <= price_wad < 2**self.band_high_log2:
            return None
        return Round(raw.id, price_wad, raw.updated_at)

    def sound_newest(self, now: int) -> Round | None:
        """The newest round if it may be believed."""
        return self.sound(self.newest, now)

    def sound_past(self, round_id: int, now: int) -> Round | None:
        """A past round if it is there and may be believed."""
        return self.sound(self.past.get(round_id), now)

    def price_before(self, round_id: int, now: int) -> int | None:
        """Dollar price of the round before, unless that is unsound or of this very block too."""
        before = self.sound_past(round_id - 1, now)
        return None if before is None or before.updated_at == now else before.price_wad

    def is_live(self, round_: Round, now: int) -> bool:
        """Whether the round is young enough."""
        return now - round_.updated_at <= self.heartbeat_s

    def walk(self, newest: Round, stop_id: int, stop_at: int, now: int) -> list[Round]:
        """The newest round and those before it, newest first, as far as one poke sees."""
        rounds = [newest]
        for back in range(1, MAX_WALK + 1):
            if newest.id <= stop_id + back:
                break
            past = self.sound_past(newest.id - back, now)
            if past is None or not stop_at < past.updated_at <= rounds[-1].updated_at:
                break
            rounds.append(past)
        return rounds


# ---- volatility


@dataclass(frozen=True)
class Ewma:
    """Decayed sums of squared returns and of time, one pair of the ewma word."""

    sum_e28: int = 0
    weight_ms: int = 0

    def decayed(self, dt_s: int, tau_s: int, square_e28: int) -> Ewma:
        """The sums after `dt_s` seconds and one more squared return."""
        keep_wad = exp_minus_wad(dt_s * WAD // tau_s)
        return Ewma(
            self.sum_e28 * keep_wad // WAD + square_e28,
            self.weight_ms * keep_wad // WAD + dt_s * 1_000,
        )

    def sigma_e12(self, prior_e6: int, tau0_s: int) -> int:
        """Volatility with the prior mixed in, unclamped."""
        prior_e28 = prior_e6 * prior_e6 * 10**16 * tau0_s // YEAR_S
        weight_ms = self.weight_ms + tau0_s * 1_000
        return isqrt((self.sum_e28 + prior_e28) * YEAR_S * 1_000 // weight_ms) // 100

    @property
    def half_word(self) -> int:
        """128 bits of the ewma word."""
        return self.sum_e28 | (self.weight_ms << 96)


@dataclass(frozen=True)
class Range:
    """Logarithms in e10: of the last sampled round, and the extremes of two half hours."""

    log: int
    high: int
    low: int
    previous_high: int
    previous_low: int
    window: int

    @classmethod
    def flat(cls, log: int, window: int) -> Range:
        """One price throughout."""
        return cls(log, log, log, log, log, window)

    def rolled(self, window: int, in_force: int) -> Range:
        """As of `window`, which the price in force enters."""
        if window <= self.window:
            return self
        if window > self.window + 1:
            return replace(Range.flat(in_force, window), log=self.log)
        return Range(self.log, in_force, in_force, self.high, self.low, window)

    def widened(self, log: int) -> Range:
        """With one more price in the current half hour."""
        return replace(self, high=max(self.high, log), low=min(self.low, log))

    def sigma_e12(self, in_force: int, now: int) -> int:
        """Parkinson's volatility of the current and the previous half hour, unclamped, up."""
        seen = self.rolled(now // WINDOW_S, in_force)
        spread = max(seen.high, seen.previous_high) - min(seen.low, seen.previous_low)
        return div_up(spread * RANGE_FACTOR_E6, 10**4)

    @property
    def word(self) -> int:
        """The packed range word."""
        logs = (self.log, self.high, self.low, self.previous_high, self.previous_low)
        return sum(log << (40 * i) for i, log in enumerate(logs)) | (self.window << 200)


def bucket_of(updated_at: int) -> int:
    """Number of the first grid boundary at which a round of that time is in force."""
    return div_up(updated_at, BUCKET_S)


def first_bucket(updated_at: int, now: int) -> int:
    """Bucket of a round with which sampling starts: never one to come."""
    return min(bucket_of(updated_at), now // BUCKET_S)


def clamp_sigma_e12(sigma_e12: int) -> int:
    """Between 10% and 500% a year."""
    return min(max(sigma_e12, SIGMA_FLOOR_E12), SIGMA_CAP_E12)


@dataclass(frozen=True)
class Volatility:
    """The sampled state of one asset: a function of the feed's rounds alone."""

    prior_e6: int
    ranges: Range
    sampled_id: int
    bucket: int
    fast: Ewma = Ewma()
    slow: Ewma = Ewma()

    @classmethod
    def start(cls, first: Round, prior_e6: int, now: int) -> Volatility:
        """With one round and nothing before it."""
        ranges = Range.flat(ln_e10(first.price_wad), first.updated_at // WINDOW_S)
        return cls(prior_e6, ranges, first.id, first_bucket(first.updated_at, now))

    @property
    def slow_e12(self) -> int:
        """Slow volatility, clamped: behind the maintenance rates."""
        return clamp_sigma_e12(self.slow.sigma_e12(self.prior_e6, PRIOR_SLOW_S))

    def live_e12(self, in_force: int, now: int) -> int:
        """Largest of fast, slow and range, clamped: behind the initial rates."""
        fast = self.fast.sigma_e12(self.prior_e6, PRIOR_FAST_S)
        slow = self.slow.sigma_e12(self.prior_e6, PRIOR_SLOW_S)
        return clamp_sigma_e12(max(fast, slow, self.ranges.sigma_e12(in_force, now)))

    def sampled(self, log: int, round_id: int, bucket: int) -> Volatility:
        """With one more sample on the grid."""
        elapsed_s = (bucket - self.bucket) * BUCKET_S
        dt_s = min(elapsed_s, MAX_DT_S)
        clipped = min(abs(log - self.ranges.log), MAX_RETURN_E10)
        square_e28 = clipped * clipped * 10**8
        limit_e28 = CLIP_SQUARED * self.slow_e12 * self.slow_e12 * dt_s * 10**4 // YEAR_S
        return replace(
            self,
            fast=self.fast.decayed(dt_s, TAU_FAST_S, square_e28),
            slow=self.slow.decayed(dt_s, TAU_SLOW_S, min(square_e28, limit_e28)),
            ranges=replace(self.ranges, log=log),
            sampled_id=round_id,
            bucket=bucket,
        )

    def absorbed(self, rounds: Sequence[Round], now: int) -> tuple[Volatility, int]:
        """The state after `rounds` (newest first) and the logarithm of the price in force."""
        state, in_force = self, self.ranges.log
        for index in range(len(rounds) - 1, -1, -1):
            log, at = ln_e10(rounds[index].price_wad), rounds[index].updated_at
            ranges = state.ranges.rolled(at // WINDOW_S, in_force).widened(log)
            state, in_force = replace(state, ranges=ranges), log
            bucket = bucket_of(at)
            if bucket <= state.bucket or bucket * BUCKET_S > now:
                continue
            if index and bucket_of(rounds[index - 1].updated_at) == bucket:
                continue
            state = state.sampled(log, rounds[index].id, bucket)
        return state, in_force

    @property
    def ewma_word(self) -> int:
        """The packed ewma word."""
        return self.fast.half_word | (self.slow.half_word << 128)


# ---- rates


@dataclass(frozen=True)
class Parameters:
    """What makes requirements of volatilities, in bps; the quota in 1e-9 units of the asset."""

    z_init_bps: int
    floor_init_bps: int
    cap_init_bps: int
    z_maint_bps: int
    floor_maint_bps: int
    cap_maint_bps: int
    z_l_bps: int
    floor_l_bps: int
    cap_l_bps: int
    quota_gwei: int

    @property
    def values(self) -> tuple[int, ...]:
        """In the order of the contract's struct."""
        return tuple(getattr(self, f.name) for f in fields(self))

    def word(self, time: int) -> int:
        """The packed parameter word."""
        *rates, quota = self.values
        packed = sum(value << (16 * i) for i, value in enumerate(rates))
        return packed | (quota << 144) | (time << 216)

    def is_valid(self) -> bool:
        """Whether the contract accepts them."""
        p = self
        return (
            p.floor_init_bps <= p.cap_init_bps
            and p.floor_maint_bps <= p.cap_maint_bps
            and p.floor_l_bps <= p.cap_l_bps
            and 2 * p.z_init_bps >= 3 * p.z_maint_bps
            and 2 * p.floor_init_bps >= 3 * p.floor_maint_bps
            and 2 * p.cap_init_bps >= 3 * p.cap_maint_bps
            and p.cap_init_bps + p.cap_l_bps <= BPS
            and min(p.floor_maint_bps, p.floor_l_bps, p.quota_gwei) > 0
            and covers_jump(p.floor_init_bps, p.floor_maint_bps, p.floor_l_bps)
            and max(p.z_init_bps, p.z_maint_bps, p.z_l_bps) < 2**16
            and p.quota_gwei < 2**72
        )


def covers_jump(floor_init_bps: int, floor_maint_bps: int, floor_l_bps: int) -> bool:
    """Whether what a liquidation costs is there after the largest jump between two rounds (T31).

    r_init + l_init - 0.9 x 1.05 (r_maint + l_maint) >= 5%, a short's requirement having grown with
    the price, follows from 0.37 (r_init + l_init) >= 5%, for maintenance is at most 2/3 of initial.
    At the edge of maintenance r_maint covers the jump and leaves the charge on gross, most of which
    pays for leaving.
    """
    is_covered = 37 * (floor_init_bps + floor_l_bps) >= 100 * LARGEST_JUMP_BPS
    is_paid = floor_maint_bps >= LARGEST_JUMP_BPS and floor_l_bps >= MIN_FLOOR_L_BPS
    return is_covered and is_paid


def effective(old: Parameters, new: Parameters, start: int, end: int, now: int) -> Parameters:
    """The parameters on the way from `old` to `new`: what raises a requirement ramps."""
    if now >= end:
        return new

    def still_to_come(distance: int) -> int:
        return distance * (end - now) // (end - start)

    values = [
        b - still_to_come(b - a) if b > a else b
        for a, b in zip(old.values, new.values, strict=True)
    ]
    if new.quota_gwei < old.quota_gwei:
        values[-1] = new.quota_gwei + still_to_come(old.quota_gwei - new.quota_gwei)
    else:
        values[-1] = new.quota_gwei
    return Parameters(*values)


def _rate_e12(sigma_e12: int, z_bps: int, floor_bps: int, cap_bps: int) -> int:
    return min(max(div_up(z_bps * sigma_e12, BPS), floor_bps * BPS_E12), cap_bps * BPS_E12)


def r_maint_aim_e12(slow_e12: int, p: Parameters) -> int:
    """Where the directional maintenance rate is heading."""
    return _rate_e12(slow_e12, p.z_maint_bps, p.floor_maint_bps, p.cap_maint_bps)


def l_maint_aim_e12(slow_e12: int, p: Parameters) -> int:
    """Where the maintenance rate on gross is heading."""
    return div_up(_rate_e12(slow_e12, p.z_l_bps, p.floor_l_bps, p.cap_l_bps), 2)


def risen_e12(old_e12: int, aim_e12: int, elapsed_s: int) -> int:
    """A maintenance rate on its way: falls at once, rises at most 5% an hour and a poke."""
    if aim_e12 <= old_e12 or old_e12 == 0:
        return aim_e12
    return min(aim_e12, old_e12 + old_e12 * RISE_PERCENT * min(elapsed_s, HOUR_S) // (100 * HOUR_S))


@dataclass(frozen=True)
class Limits:
    """Initial volatility and maintenance rates, whose speed is bounded."""

    sigma_init_e12: int = 0
    r_maint_e12: int = 0
    l_maint_e12: int = 0

    def moved(self, elapsed_s: int, live_e12: int, slow_e12: int, p: Parameters) -> Limits:
        """After `elapsed_s` seconds."""
        kept_wad = exp_minus_wad(DECAY_WAD * elapsed_s)
        return Limits(
            max(live_e12, div_up(self.sigma_init_e12 * kept_wad, WAD)),
            risen_e12(self.r_maint_e12, r_maint_aim_e12(slow_e12, p), elapsed_s),
            risen_e12(self.l_maint_e12, l_maint_aim_e12(slow_e12, p), elapsed_s),
        )

    @property
    def word(self) -> int:
        """The packed limits word."""
        return self.sigma_init_e12 | (self.r_maint_e12 << 48) | (self.l_maint_e12 << 96)


@dataclass(frozen=True)
class Risk:
    """The decoded risk word: rates and volatility in e6."""

    r_init_e6: int
    l_init_e6: int
    r_maint_e6: int
    l_maint_e6: int
    quota_gwei: int
    poked_at: int
    sigma_e6: int

    @classmethod
    def of(cls, limits: Limits, p: Parameters, poked_at: int) -> Risk:
        """The rates that limits and parameters make, requirements up."""
        sigma_e12 = limits.sigma_init_e12
        r_maint_e6 = div_up(limits.r_maint_e12, 10**6)
        l_maint_e6 = div_up(limits.l_maint_e12, 10**6)
        r_init_e12 = _rate_e12(sigma_e12, p.z_init_bps, p.floor_init_bps, p.cap_init_bps)
        l_init_e12 = _rate_e12(sigma_e12, p.z_l_bps, p.floor_l_bps, p.cap_l_bps)
        return cls(
            max(div_up(r_init_e12, 10**6), div_up(3 * r_maint_e6, 2)),
            max(div_up(l_init_e12, 10**6), div_up(3 * l_maint_e6, 2)),
            r_maint_e6,
            l_maint_e6,
            p.quota_gwei,
            poked_at,
            div_up(sigma_e12, 10**6),
        )

    @classmethod
    def from_word(cls, word: int) -> Risk:
        """Unpack a risk word of `marks`."""
        widths = (24, 24, 24, 24, 72, 40, 32)
        values = []
        for width in widths:
            values.append(word & (2**width - 1))
            word >>= width
        return cls(*values)

    @property
    def word(self) -> int:
        """The packed risk word."""
        widths = (24, 24, 24, 24, 72, 40, 32)
        word = shift = 0
        for f, width in zip(fields(self), widths, strict=True):
            word |= getattr(self, f.name) << shift
            shift += width
        return word


@dataclass(frozen=True)
class Price:
    """The decoded price word: quote tokens per unit in WAD, what it must not be used for, its time.

    `made_at` is when the asset's newest sound round was made, 0 without one.
    """

    newest_wad: int
    previous_wad: int
    flags: int = 0
    made_at: int = 0

    @classmethod
    def from_word(cls, word: int) -> Price:
        """Unpack a price word of `marks`."""
        mask = 2**96 - 1
        return cls(word & mask, (word >> 96) & mask, (word >> 192) & 255, word >> 200)

    @property
    def word(self) -> int:
        """The packed price word."""
        prices = self.newest_wad | (self.previous_wad << 96)
        return prices | (self.flags << 192) | (self.made_at << 200)


# ---- the oracle


@dataclass
class AssetModel:
    """Everything the oracle keeps of one asset."""

    feed: FeedModel
    volatility: Volatility
    last_price_wad: int
    old: Parameters
    new: Parameters
    ramp: tuple[int, int]
    limits: Limits = Limits()
    risk: Risk = Risk(0, 0, 0, 0, 0, 0, 0)
    paused_until: int = 0

    def parameters(self, now: int) -> Parameters:
        """In force now."""
        return effective(self.old, self.new, *self.ramp, now)

    def absorb(self, quote_wad: int, now: int) -> int | None:
        """Take in what the feed published.

        Returns the logarithm of the price in force, None without a sound newest round.
        """
        newest = self.feed.sound_newest(now)
        if newest is None:
            return None
        in_force = self.volatility.ranges.log
        if newest.id != self.volatility.sampled_id:
            stop_at = self.volatility.bucket * BUCKET_S
            rounds = self.feed.walk(newest, self.volatility.sampled_id, stop_at, now)
            self.volatility, in_force = self.volatility.absorbed(rounds, now)
        self.last_price_wad = newest.price_wad * WAD // quote_wad
        return in_force

    def reprice(self, in_force: int, now: int) -> None:
        """Recompute limits and rates."""
        p = self.parameters(now)
        live_e12 = self.volatility.live_e12(in_force, now)
        elapsed_s = now - self.risk.poked_at
        self.limits = self.limits.moved(elapsed_s, live_e12, self.volatility.slow_e12, p)
        self.risk = Risk.of(self.limits, p, now)

    def pending(self) -> Risk:
        """The rates once parameters and maintenance rates have arrived."""
        slow_e12 = self.volatility.slow_e12
        aim = Limits(
            self.limits.sigma_init_e12,
            r_maint_aim_e12(slow_e12, self.new),
            l_maint_aim_e12(slow_e12, self.new),
        )
        return Risk.of(aim, self.new, self.risk.poked_at)

    @property
    def last_word(self) -> int:
        """The packed last word."""
        sampled = (self.volatility.sampled_id << 96) | (self.volatility.bucket << 176)
        return self.last_price_wad | sampled


class OracleModel:
    """The whole oracle. `quote` is the quote token's feed, None where the quote is the dollar."""

    def __init__(self, quote: FeedModel | None = None, now: int = 0) -> None:
        self.quote = quote
        self.assets: dict[int, AssetModel] = {}
        self.last_quote_wad = 0
        self.last_quote_wad = self._quote(now)[0]

    def list_asset(
        self, asset: int, feed: FeedModel, prior_e6: int, p: Parameters, now: int
    ) -> None:
        """Make an asset known. Raises ValueError when its feed has no sound round."""
        first = feed.sound_newest(now)
        if first is None:
            raise ValueError(f"the feed of asset {asset} has no sound round")
        price_wad = first.price_wad * WAD // self._quote(now)[0]
        listed = AssetModel(
            feed, Volatility.start(first, prior_e6, now), price_wad, p, p, (now, now)
        )
        listed.reprice(listed.volatility.ranges.log, now)
        self.assets[asset] = listed

    def set_parameters(self, asset: int, p: Parameters, now: int) -> None:
        """Start moving toward `p`."""
        entry = self.assets[asset]
        entry.old, entry.new, entry.ramp = entry.parameters(now), p, (now, now + NOTICE_S)
        self.last_quote_wad = self._quote(now)[0]
        in_force = entry.absorb(self.last_quote_wad, now)
        entry.reprice(entry.volatility.ranges.log if in_force is None else in_force, now)

    def set_feed(self, asset: int, feed: FeedModel, now: int) -> None:
        """Go on from another feed. Raises ValueError when it has no sound round."""
        entry = self.assets[asset]
        first = feed.sound_newest(now)
        if first is None:
            raise ValueError(f"the new feed of asset {asset} has no sound round")
        quote_wad = self._quote(now)[0]
        entry.absorb(quote_wad, now)
        log = ln_e10(first.price_wad)
        entry.feed = feed
        entry.volatility = replace(
            entry.volatility,
            ranges=replace(entry.volatility.ranges, log=log),
            sampled_id=first.id,
            bucket=max(entry.volatility.bucket, first_bucket(first.updated_at, now)),
        )
        entry.last_price_wad = first.price_wad * WAD // quote_wad
        entry.reprice(log, now)

    def set_pause(self, asset: int, until: int) -> None:
        """Let the asset back no increase until then, in whole steps."""
        self.assets[asset].paused_until = until // PAUSE_STEP_S * PAUSE_STEP_S

    def poke(self, assets: Iterable[int], now: int) -> None:
        """Sample and recompute; assets with a bad feed are passed over."""
        self.last_quote_wad = self._quote(now)[0]
        for asset in assets:
            entry = self.assets[asset]
            in_force = entry.absorb(self.last_quote_wad, now)
            if in_force is not None:
                entry.reprice(in_force, now)

    def marks(self, assets: Iterable[int], now: int) -> list[int]:
        """A price word and a risk word of each asset."""
        quote = self._quote(now)
        words = []
        for asset in assets:
            entry = self.assets[asset]
            words += [self._price(entry, *quote, now).word, entry.risk.word]
        return words

    def price(self, asset: int, now: int) -> Price:
        """The decoded price word of one asset."""
        return self._price(self.assets[asset], *self._quote(now), now)

    def _quote(self, now: int) -> tuple[int, int, int]:
        if self.quote is None:
            return WAD, WAD, 0
        newest = self.quote.sound_newest(now)
        if newest is None:
            return self.last_quote_wad, self.last_quote_wad, STALE_FLAGS
        price_wad = newest.price_wad
        if not self.quote.is_live(newest, now):
            return price_wad, price_wad, STALE_FLAGS
        flags = OFF_PEG_FLAGS if abs(price_wad - WAD) > PEG_TOLERANCE_WAD else 0
        if newest.updated_at != now:
            return price_wad, price_wad, flags
        before_wad = self.quote.price_before(newest.id, now)
        if before_wad is None:
            return price_wad, price_wad, flags | NO_INCREASE
        return price_wad, before_wad, flags

    @staticmethod
    def _price(
        entry: AssetModel, quote_wad: int, quote_before_wad: int, flags: int, now: int
    ) -> Price:
        newest = entry.feed.sound_newest(now)
        if newest is None:
            return Price(entry.last_price_wad, entry.last_price_wad, STALE_FLAGS)
        price_wad = newest.price_wad * WAD // quote_wad
        if not entry.feed.is_live(newest, now):
            return Price(price_wad, price_wad, STALE_FLAGS, newest.updated_at)
        if newest.updated_at > entry.risk.poked_at + MAX_POKE_LAG_S or now < entry.paused_until:
            flags |= NO_INCREASE
        previous_wad = newest.price_wad
        if newest.updated_at == now:
            before_wad = entry.feed.price_before(newest.id, now)
            if before_wad is None:
                flags |= NO_INCREASE
            else:
                previous_wad = before_wad
        previous_wad = previous_wad * WAD // quote_before_wad
        return Price(price_wad, previous_wad, flags, newest.updated_at)
