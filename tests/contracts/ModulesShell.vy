# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Modules Shell
@license MIT
@author  Ballast contributors
@notice  Opens pure functions of the modules to tests.
"""

from contracts.interfaces import IPerps
from contracts.modules import asset_list
from contracts.modules import fixed_point
from contracts.modules import margin
from contracts.modules import margin_rates
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import sizing
from contracts.modules import steps
from contracts.modules import volatility


@external
@pure
def mul_div_up(x: uint256, y: uint256, d: uint256) -> uint256:
    return fixed_point._mul_div_up(x, y, d)


@external
@pure
def div_up(x: uint256, d: uint256) -> uint256:
    return fixed_point._div_up(x, d)


@external
@pure
def mul_wad_floor_signed(x: int256, y: int256) -> int256:
    return fixed_point._mul_wad_floor_signed(x, y)


@external
@pure
def abs_of(x: int256) -> uint256:
    return fixed_point._abs(x)


@external
@pure
def div_floor_signed(x: int256, d: int256) -> int256:
    return fixed_point._div_floor_signed(x, d)


@external
@pure
def div_zero_signed(x: int256, d: int256) -> int256:
    return fixed_point._div_zero_signed(x, d)


@external
@pure
def cost_word(cost_wad: int256, entry_wad: int256) -> uint256:
    return packing._cost_word(cost_wad, entry_wad)


@external
@pure
def cost(word: uint256) -> (int256, int256):
    return packing._cost_wad(word), packing._entry_wad(word)


@external
@pure
def market_word(funding_wad: int256, rate_wad: int256, touched_at: uint256) -> uint256:
    return packing._market_word(funding_wad, rate_wad, touched_at)


@external
@pure
def funding_at(word: uint256, time: uint256) -> int256:
    return packing._funding_at(word, time)


@external
@pure
def price_word(newest_wad: uint256, previous_wad: uint256, flags: uint256, made_at: uint256) -> uint256:
    return packing._price_word(newest_wad, previous_wad, flags, made_at)


@external
@pure
def price(word: uint256) -> (uint256, uint256, uint256, uint256):
    return packing._newest_wad(word), packing._previous_wad(word), packing._flags(word), packing._made_at(word)


@external
@pure
def house_word(risk_word: uint256, position: uint256) -> uint256:
    return margin._house_word(risk_word, position)


@external
@pure
def market_words(terms: IPerps.Terms, closed_at: uint256) -> (uint256, uint256):
    return markets._prices_word(terms), markets._limits_word(terms, closed_at)


@external
@pure
def market_terms(prices: uint256, limits: uint256) -> (IPerps.Terms, uint256, bool):
    return markets._terms(prices, limits), markets._closed_at(limits), markets._is_close_only(limits)


@external
@pure
def fee_e6(prices: uint256, limits: uint256, risk_word: uint256) -> (uint256, uint256):
    return markets._fee_e6(prices, limits, risk_word), markets._uncertainty_e6(limits, risk_word)


@external
@pure
def fill_price(index_wad: uint256, skew_gwei: int256, change_gwei: int256, prices: uint256, fee_e6: uint256) -> uint256:
    return markets._fill_price(index_wad, skew_gwei, change_gwei, prices, fee_e6)


@external
@pure
def rate_wad(index_wad: uint256, skew_gwei: int256, prices: uint256, limits: uint256) -> int256:
    return markets._rate_wad(index_wad, skew_gwei, prices, limits)


@external
@pure
def entry_wad(old_size: int256, old_entry: int256, new_size: int256, change: int256, price_wad: int256) -> int256:
    return markets._entry_wad(old_size, old_entry, new_size, change, price_wad)


@external
@pure
def exposure_word(longs: uint256, shorts: uint256, round_at: uint256, start_skew: int256) -> uint256:
    return markets._exposure_word(longs, shorts, round_at, start_skew)


@external
@pure
def exposure(word: uint256) -> (uint256, uint256, uint256, int256, int256):
    return (
        markets._longs(word),
        markets._shorts(word),
        markets._round_at(word),
        markets._start_skew(word),
        markets._skew(word),
    )


@external
@pure
def headroom_word(long: uint256, short: uint256, refreshed_at: uint256, insured_gwei: uint256) -> uint256:
    return markets._headroom_word(long, short, refreshed_at, insured_gwei)


@external
@pure
def headroom(word: uint256) -> (uint256, uint256, uint256, uint256):
    return markets._longs(word), markets._shorts(word), markets._refreshed_at(word), markets._insured_gwei(word)


@external
@pure
def insured_part_gwei(change_gwei: int256, index_wad: uint256, fee_e6: uint256) -> uint256:
    return markets._insured_part_gwei(change_gwei, index_wad, fee_e6)


@external
@pure
def account(word: uint256) -> (uint256, uint256, uint256, uint256):
    return packing._cash_wad(word), packing._debt_shares(word), packing._increased_at(word), packing._balances(word)


@external
@pure
def with_cash(word: uint256, cash_wad: uint256) -> uint256:
    return packing._with_cash(word, cash_wad)


@external
@pure
def moved_breaker(breaker: uint256, index_wad: uint256, now: uint256) -> uint256:
    return markets._moved_breaker(breaker, index_wad, now)


@external
@pure
def is_tripped(breaker: uint256, index_wad: uint256) -> bool:
    return markets._is_tripped(breaker, index_wad)


@external
@pure
def position_word(collateral_wad: uint256, size_wad: int256) -> uint256:
    return packing._position_word(collateral_wad, size_wad)


@external
@pure
def position(word: uint256) -> (uint256, int256):
    return packing._collateral_wad(word), packing._size_wad(word)


@external
@pure
def list_with(listed: uint256, asset: uint256) -> uint256:
    return asset_list._with(listed, asset)


@external
@pure
def list_without(listed: uint256, index: uint256) -> uint256:
    return asset_list._without(listed, index)


@external
@pure
def list_ids(listed: uint256) -> DynArray[uint256, 16]:
    return asset_list._ids(listed)


@external
@pure
def list_index_of(listed: uint256, asset: uint256) -> uint256:
    return asset_list._index_of(listed, asset)


@external
@pure
def list_marked(listed: uint256, index: uint256, carries_perpetual: bool) -> uint256:
    return asset_list._marked(listed, index, carries_perpetual)


@external
@pure
def list_carries(listed: uint256, index: uint256) -> (bool, bool):
    return asset_list._carries_perpetual(listed, index), asset_list._has_perpetual(listed)


@external
@pure
def value_up(shortfall: uint256, cure_e10: uint256) -> uint256:
    return sizing._value_up(shortfall, cure_e10)


@external
@pure
def cured_down(value_wad: uint256, cure_e10: uint256) -> uint256:
    return sizing._cured_down(value_wad, cure_e10)


@external
@pure
def units_up(value_wad: uint256, price_wad: uint256, unit_wad: uint256) -> uint256:
    return sizing._units_up(value_wad, price_wad, unit_wad)


@external
@pure
def effective(from_word: uint256, to_word: uint256, now: uint256) -> uint256:
    return margin_rates._effective(from_word, to_word, now)


@external
@pure
def limits(words: uint256, elapsed_s: uint256, live_e12: uint256, slow_e12: uint256, parameters: uint256) -> uint256:
    return margin_rates._limits(words, elapsed_s, live_e12, slow_e12, parameters)


@external
@pure
def risen(old_e12: uint256, aim_e12: uint256, elapsed_s: uint256) -> uint256:
    return margin_rates._risen(old_e12, aim_e12, elapsed_s)


@external
@pure
def risk(words: uint256, parameters: uint256, poked_at: uint256) -> uint256:
    return margin_rates._risk(words, parameters, poked_at)


@external
@pure
def l_maint_e12(slow_e12: uint256, parameters: uint256) -> uint256:
    return margin_rates._l_maint_e12(slow_e12, parameters)


@external
@pure
def rate_e12(sigma_e12: uint256, parameters: uint256, index: uint256) -> uint256:
    return margin_rates._rate_e12(sigma_e12, parameters, index)


@external
@pure
def decayed(half: uint256, dt_s: uint256, tau_s: uint256, square_e28: uint256) -> uint256:
    return volatility._decayed(half, dt_s, tau_s, square_e28)


@external
@pure
def sigma_e12(half: uint256, prior_e6: uint256, tau0_s: uint256) -> uint256:
    return volatility._sigma_e12(half, prior_e6, tau0_s)


@external
@pure
def sigma_range_e12(range_word: uint256, in_force_e10: uint256, now: uint256) -> uint256:
    return volatility._sigma_range_e12(range_word, in_force_e10, now)


@external
@pure
def bucket(updated_at: uint256) -> uint256:
    return volatility._bucket(updated_at)


@external
@pure
def ln_e10(price_wad: uint256) -> uint256:
    return volatility._ln_e10(price_wad)


@external
@pure
def exp_minus_wad(x_wad: uint256) -> uint256:
    return volatility._exp_minus_wad(x_wad)


@external
@pure
def with_refused(refused: uint256[steps.KINDS], kind: uint256, source: uint256, asset: uint256) -> uint256[steps.KINDS]:
    return steps._with_refused(refused, kind, source, asset)


@external
@pure
def is_refused(refused: uint256[steps.KINDS], kind: uint256, key: uint256) -> bool:
    return steps._is_refused(refused, kind, key)
