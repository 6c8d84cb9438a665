# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Cover
@license MIT
@author  Ballast contributors
@notice  The terms of liquidation, and how much of a deficit insurance and house have borne today.
@dev     Days are those of unix time.

             actions   target_bps u16 | ramp_s u24 | insurance_bps u16 | rescue_pay_bps u16 | house_day_bps u16
                       | dust_wad u84 | rescue_pay_cap_wad u84
             caps      account_cap_wad u128 | day_cap_wad u128
             a count   day u32 | borne_wad u128
"""

from contracts.interfaces import ILiquidator
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import reasons

DAY_S: constant(uint256) = 86_400
MASK_16: constant(uint256) = 2**16 - 1
MASK_84: constant(uint256) = 2**84 - 1

MIN_TARGET_BPS: constant(uint256) = 11_000
MAX_TARGET_BPS: constant(uint256) = 20_000
MIN_RAMP_S: constant(uint256) = 60
MAX_RAMP_S: constant(uint256) = 86_400
# 0.9 x 0.5% of gross, the least discount at the least rates, less so much of it is 0.35%: what leaving costs.
MAX_INSURANCE_BPS: constant(uint256) = 2_200
MAX_RESCUE_PAY_BPS: constant(uint256) = 500
MAX_HOUSE_DAY_BPS: constant(uint256) = 1_000

_actions: uint256
_caps: uint256

# What insurance has paid today for each account, and for all; what the house has borne.
_by_account: HashMap[uint256, uint256]
_by_insurance: uint256
_by_house: uint256


################################################################
#                             Terms                            #
################################################################


@internal
def _set_terms(terms: ILiquidator.Terms):
    self._require_terms(terms)
    self._actions = (
        terms.target_bps
        | (terms.ramp_s << 16)
        | (terms.insurance_bps << 40)
        | (terms.rescue_pay_bps << 56)
        | (terms.house_day_bps << 72)
        | (terms.dust_wad << 88)
        | (terms.rescue_pay_cap_wad << 172)
    )
    self._caps = terms.account_cap_wad | (terms.day_cap_wad << 128)
    log ILiquidator.TermsChanged(terms=terms)


@internal
@pure
def _target_bps(actions: uint256) -> uint256:
    return actions & MASK_16


@internal
@pure
def _ramp_s(actions: uint256) -> uint256:
    return (actions >> 16) & packing.MASK_24


@internal
@pure
def _insurance_bps(actions: uint256) -> uint256:
    return (actions >> 40) & MASK_16


@internal
@pure
def _rescue_pay_bps(actions: uint256) -> uint256:
    return (actions >> 56) & MASK_16


@internal
@pure
def _house_day_bps(actions: uint256) -> uint256:
    return (actions >> 72) & MASK_16


@internal
@pure
def _dust_wad(actions: uint256) -> uint256:
    return (actions >> 88) & MASK_84


@internal
@pure
def _rescue_pay_cap_wad(actions: uint256) -> uint256:
    return actions >> 172


@internal
@view
def _terms() -> ILiquidator.Terms:
    actions: uint256 = self._actions
    caps: uint256 = self._caps
    return ILiquidator.Terms(
        target_bps=self._target_bps(actions),
        ramp_s=self._ramp_s(actions),
        insurance_bps=self._insurance_bps(actions),
        rescue_pay_bps=self._rescue_pay_bps(actions),
        house_day_bps=self._house_day_bps(actions),
        dust_wad=self._dust_wad(actions),
        rescue_pay_cap_wad=self._rescue_pay_cap_wad(actions),
        account_cap_wad=caps & packing.MASK_128,
        day_cap_wad=caps >> 128,
    )


################################################################
#                            Counts                            #
################################################################


@internal
def _draw_insurance(account: uint256, need_wad: uint256, cash_wad: uint256) -> uint256:
    """@dev What insurance pays of a need: within its cash and both caps. It counts as paid."""
    by_account: uint256 = self._today(self._by_account[account])
    by_all: uint256 = self._today(self._by_insurance)
    left: uint256 = min(self._left(self._caps & packing.MASK_128, by_account), self._left(self._caps >> 128, by_all))
    amount: uint256 = min(need_wad, min(cash_wad, left))
    if amount != 0:
        self._by_account[account] = self._counted(by_account + amount)
        self._by_insurance = self._counted(by_all + amount)
    return amount


@internal
def _draw_house(need_wad: uint256, equity: int256, required: uint256) -> uint256:
    """@dev What the house pays of a need: what exceeds its initial margin, within a part of its equity a day."""
    if equity <= convert(required, int256):
        return 0
    worth: uint256 = convert(equity, uint256)
    borne: uint256 = self._today(self._by_house)
    cap: uint256 = worth * self._house_day_bps(self._actions) // fixed_point.BPS
    amount: uint256 = min(need_wad, min(worth - required, self._left(cap, borne)))
    if amount != 0:
        self._by_house = self._counted(borne + amount)
    return amount


@internal
@view
def _today(count: uint256) -> uint256:
    if count >> 128 != block.timestamp // DAY_S:
        return 0
    return count & packing.MASK_128


@internal
@view
def _counted(borne_wad: uint256) -> uint256:
    return borne_wad | ((block.timestamp // DAY_S) << 128)


@internal
@pure
def _left(cap: uint256, borne: uint256) -> uint256:
    return cap - min(cap, borne)


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_terms(t: ILiquidator.Terms):
    is_sized: bool = t.target_bps >= MIN_TARGET_BPS and t.target_bps <= MAX_TARGET_BPS
    is_timed: bool = t.ramp_s >= MIN_RAMP_S and t.ramp_s <= MAX_RAMP_S
    is_fair: bool = t.insurance_bps <= MAX_INSURANCE_BPS and t.rescue_pay_bps <= MAX_RESCUE_PAY_BPS
    is_capped: bool = (
        t.house_day_bps <= MAX_HOUSE_DAY_BPS
        and max(t.dust_wad, t.rescue_pay_cap_wad) <= MASK_84
        and max(t.account_cap_wad, t.day_cap_wad) <= packing.MASK_128
    )
    if not (is_sized and is_timed and is_fair and is_capped):
        reasons._fail("liquidator: terms out of range")
