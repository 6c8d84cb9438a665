# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Margin rates
@license MIT
@author  Ballast contributors
@notice  From volatility and parameters to what an account must hold, and how fast that may change.
@dev     r = clamp(z sigma, floor, cap); initial rates follow the live volatility, maintenance rates the slow one.

         parameters   z_init | floor_init | cap_init | z_maint | floor_maint | cap_maint | z_l | floor_l | cap_l,
                      u16 each, in bps | quota_gwei u72 | time u40
         limits       sigma_init u48 | r_maint u48 | l_maint u48, in e12

         Three rules bound the speed:
         1. sigma_init rises at once and decays by 10% an hour, exponentially, so that poking often changes nothing;
         2. a maintenance rate falls at once and rises by at most 5% of itself an hour, whatever drives it, and no
            single poke lifts it by more than 5%;
         3. a parameter that raises a requirement does so along a line over the notice period; one that lowers it
            applies at once. A pair of parameter words holds the values at the start and at the end of the line.
         The limits are finer than the risk word so that rules 1 and 2 do not stick when poked every second.
         Requirements round up.
"""

from contracts.interfaces import IRiskOracle
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import volatility

NOTICE_S: constant(uint256) = 259_200  # three days

# -ln(0.9) / 3,600 s in WAD, down: sigma_init loses 10% an hour.
DECAY_WAD: constant(uint256) = 29_266_809_904_951
RISE_PERCENT: constant(uint256) = 5  # of the rate, an hour
HOUR_S: constant(uint256) = 3_600
# What a price may do between two rounds: the feed's threshold, what comes before a round is seen, and a margin.
LARGEST_JUMP_BPS: constant(uint256) = 500
MIN_FLOOR_L_BPS: constant(uint256) = 100

FIELDS: constant(uint256) = 9
MASK_16: constant(uint256) = 2**16 - 1
MASK_48: constant(uint256) = 2**48 - 1
BPS_E12: constant(uint256) = 10**8  # one basis point in e12


################################################################
#                          Parameters                          #
################################################################


@internal
@pure
def _parameter_word(p: IRiskOracle.Parameters, time: uint256) -> uint256:
    self._require_fields(p)
    self._require_parameters(p)
    return (
        p.z_init_bps
        | (p.floor_init_bps << 16)
        | (p.cap_init_bps << 32)
        | (p.z_maint_bps << 48)
        | (p.floor_maint_bps << 64)
        | (p.cap_maint_bps << 80)
        | (p.z_l_bps << 96)
        | (p.floor_l_bps << 112)
        | (p.cap_l_bps << 128)
        | (p.quota_gwei << 144)
        | (time << 216)
    )


@internal
@pure
def _parameters(word: uint256) -> IRiskOracle.Parameters:
    return IRiskOracle.Parameters(
        z_init_bps=self._field(word, 0),
        floor_init_bps=self._field(word, 1),
        cap_init_bps=self._field(word, 2),
        z_maint_bps=self._field(word, 3),
        floor_maint_bps=self._field(word, 4),
        cap_maint_bps=self._field(word, 5),
        z_l_bps=self._field(word, 6),
        floor_l_bps=self._field(word, 7),
        cap_l_bps=self._field(word, 8),
        quota_gwei=self._quota_gwei(word),
    )


@internal
@pure
def _field(word: uint256, index: uint256) -> uint256:
    return (word >> unsafe_mul(16, index)) & MASK_16


@internal
@pure
def _quota_gwei(word: uint256) -> uint256:
    return (word >> 144) & packing.MASK_72


@internal
@pure
def _time(word: uint256) -> uint256:
    return word >> 216


@internal
@pure
def _timed(word: uint256, time: uint256) -> uint256:
    return (word & (2**216 - 1)) | (time << 216)


@internal
@pure
def _effective(from_word: uint256, to_word: uint256, now: uint256) -> uint256:
    """
    @dev The parameters in force, as a word that carries the time of `to_word`. Only rises of a requirement are on
         the way: a field that grows, a quota that shrinks. Both round toward the larger requirement.
    """
    end: uint256 = self._time(to_word)
    if now >= end:
        return to_word
    start: uint256 = self._time(from_word)
    elapsed: uint256 = now - start
    word: uint256 = to_word
    for i: uint256 in range(FIELDS):
        old: uint256 = self._field(from_word, i)
        new: uint256 = self._field(to_word, i)
        if new > old:
            # new minus what is still to come, floored
            word -= ((new - old) * (end - now) // (end - start)) << (16 * i)
    old_quota: uint256 = self._quota_gwei(from_word)
    new_quota: uint256 = self._quota_gwei(to_word)
    if new_quota < old_quota:
        word += ((old_quota - new_quota) * (end - now) // (end - start)) << 144
    return word


################################################################
#                             Rates                            #
################################################################


@internal
@pure
def _limits(limits: uint256, elapsed_s: uint256, live_e12: uint256, slow_e12: uint256, parameters: uint256) -> uint256:
    """@dev What the limits become after `elapsed_s` seconds; a field that is zero has no past and starts at its aim."""
    kept_wad: uint256 = volatility._exp_minus_wad(DECAY_WAD * elapsed_s)
    decayed_e12: uint256 = fixed_point._mul_div_up(limits & MASK_48, kept_wad, fixed_point.WAD)
    r_maint_e12: uint256 = self._risen((limits >> 48) & MASK_48, self._r_maint_e12(slow_e12, parameters), elapsed_s)
    l_maint_e12: uint256 = self._risen(limits >> 96, self._l_maint_e12(slow_e12, parameters), elapsed_s)
    return self._limits_word(max(live_e12, decayed_e12), r_maint_e12, l_maint_e12)


@internal
@pure
def _aim(limits: uint256, slow_e12: uint256, parameters: uint256) -> uint256:
    """@dev The limits when every maintenance rate has arrived under these parameters."""
    return self._limits_word(
        limits & MASK_48, self._r_maint_e12(slow_e12, parameters), self._l_maint_e12(slow_e12, parameters)
    )


@internal
@pure
def _limits_word(sigma_init_e12: uint256, r_maint_e12: uint256, l_maint_e12: uint256) -> uint256:
    return sigma_init_e12 | (r_maint_e12 << 48) | (l_maint_e12 << 96)


@internal
@pure
def _risen(old_e12: uint256, aim_e12: uint256, elapsed_s: uint256) -> uint256:
    if aim_e12 <= old_e12 or old_e12 == 0:
        return aim_e12
    rise_e12: uint256 = old_e12 * RISE_PERCENT * min(elapsed_s, HOUR_S) // (100 * HOUR_S)
    return min(aim_e12, old_e12 + rise_e12)


@internal
@pure
def _risk(limits: uint256, parameters: uint256, poked_at: uint256) -> uint256:
    """@dev The risk word. The inequality init >= 1.5 maint is enforced here, where every word is made."""
    sigma_e12: uint256 = limits & MASK_48
    r_maint_e6: uint256 = fixed_point._div_up((limits >> 48) & MASK_48, 10**6)
    l_maint_e6: uint256 = fixed_point._div_up(limits >> 96, 10**6)
    r_init_e6: uint256 = fixed_point._div_up(self._rate_e12(sigma_e12, parameters, 0), 10**6)
    l_init_e6: uint256 = fixed_point._div_up(self._rate_e12(sigma_e12, parameters, 6), 10**6)
    return packing._risk_word(
        max(r_init_e6, fixed_point._div_up(3 * r_maint_e6, 2)),
        max(l_init_e6, fixed_point._div_up(3 * l_maint_e6, 2)),
        r_maint_e6,
        l_maint_e6,
        self._quota_gwei(parameters),
        poked_at,
        fixed_point._div_up(sigma_e12, 10**6),
    )


@internal
@pure
def _r_maint_e12(slow_e12: uint256, parameters: uint256) -> uint256:
    return self._rate_e12(slow_e12, parameters, 3)


@internal
@pure
def _l_maint_e12(slow_e12: uint256, parameters: uint256) -> uint256:
    """@dev Half of what the same parameters make of the slow volatility."""
    return fixed_point._div_up(self._rate_e12(slow_e12, parameters, 6), 2)


@internal
@pure
def _rate_e12(sigma_e12: uint256, parameters: uint256, index: uint256) -> uint256:
    """
    @dev clamp(z sigma, floor, cap) with z, floor and cap in fields `index`, `index` + 1 and `index` + 2: sixteen bits each,
         times a unit below 2**27.
    """
    rate_e12: uint256 = fixed_point._mul_div_up(self._field(parameters, index), sigma_e12, fixed_point.BPS)
    floor_e12: uint256 = unsafe_mul(self._field(parameters, unsafe_add(index, 1)), BPS_E12)
    cap_e12: uint256 = unsafe_mul(self._field(parameters, unsafe_add(index, 2)), BPS_E12)
    return min(max(rate_e12, floor_e12), cap_e12)


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_fields(p: IRiskOracle.Parameters):
    """@dev Floors are held below the caps by `_require_parameters`."""
    z_max_bps: uint256 = max(max(p.z_init_bps, p.z_maint_bps), p.z_l_bps)
    cap_max_bps: uint256 = max(max(p.cap_init_bps, p.cap_maint_bps), p.cap_l_bps)
    assert max(z_max_bps, cap_max_bps) <= MASK_16 and p.quota_gwei <= packing.MASK_72, "oracle: parameter too large"


@internal
@pure
def _require_parameters(p: IRiskOracle.Parameters):
    """
    @dev Initial is at least 1.5 maintenance in each of z, floor and cap; the two initial rates never exceed the value
         itself together; a maintenance floor of zero would leave nothing to rise from.
    """
    ordered: bool = (
        p.floor_init_bps <= p.cap_init_bps and p.floor_maint_bps <= p.cap_maint_bps and p.floor_l_bps <= p.cap_l_bps
    )
    wider: bool = (
        2 * p.z_init_bps >= 3 * p.z_maint_bps
        and 2 * p.floor_init_bps >= 3 * p.floor_maint_bps
        and 2 * p.cap_init_bps >= 3 * p.cap_maint_bps
    )
    bounded: bool = p.cap_init_bps + p.cap_l_bps <= fixed_point.BPS
    is_positive: bool = p.floor_maint_bps != 0 and p.floor_l_bps != 0 and p.quota_gwei != 0
    assert ordered and wider and bounded and is_positive, "oracle: bad parameters"
    self._require_jump(p.floor_init_bps, p.floor_maint_bps, p.floor_l_bps)


@internal
@pure
def _require_jump(floor_init_bps: uint256, floor_maint_bps: uint256, floor_l_bps: uint256):
    """
    @dev T31: nobody may have the protocol pay for a liquidation of his own. After the largest jump between two rounds an
         account that was at initial margin has the whole discount left: r_init + l_init - 0.9 x 1.05 (r_maint + l_maint) >= 5%,
         where 1.05 is a short's requirement after the jump. Maintenance is at most 2/3 of initial, so
         0.37 (r_init + l_init) >= 5% does, and it is least where both are at their floors. One at the very edge of
         maintenance has the charge on gross left, of which a liquidator is guaranteed a part: r_maint >= 5%. And that part,
         of half of the floor, must cover what leaving a hedged pair costs him.
    """
    is_covered: bool = 37 * (floor_init_bps + floor_l_bps) >= 100 * LARGEST_JUMP_BPS
    is_paid: bool = floor_maint_bps >= LARGEST_JUMP_BPS and floor_l_bps >= MIN_FLOOR_L_BPS
    assert is_covered and is_paid, "oracle: jump not covered"
