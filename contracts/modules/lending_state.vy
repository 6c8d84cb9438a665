# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Lending State
@license MIT
@author  Ballast contributors
@notice  How the lending vault keeps its figures: two words of state and one of parameters.
@dev     pool   supply uint128 | idle uint96 | accrued_at uint32
         loans  debt_shares uint96 | index_wad uint76 | reserves uint84
         terms  deposit_cap uint96 | base uint20 | slope_low uint20 | slope_high uint20 | kink uint16 | reserves uint16
                | exits_held_until uint40 | min_debt uint28
         (lowest bits first). The supply of shares shares a word with the idle balance because both change together;
         this saves a slot, 5,000 gas, on every entry and exit. 2**96 is 79 billion tokens of 18 decimals. What holds
         exits lies beside the rate because an exit that adds interest has read that word anyway.
"""

from contracts.interfaces import ILendingVault
from contracts.modules import kinked_rate

WAD: constant(uint256) = 10**18
RAY: constant(uint256) = 10**27
BPS: constant(uint256) = 10_000

MAX_SUPPLY: constant(uint256) = 2**128 - 1
MAX_TIME_S: constant(uint256) = 2**32 - 1
# 75,557 times the first debt. Interest stops there instead of making a repayment impossible.
MAX_INDEX_WAD: constant(uint256) = 2**76 - 1
# 19 million tokens of 18 decimals, unswept. What is beyond stays with the lenders.
MAX_RESERVES: constant(uint256) = 2**84 - 1

MASK_16: constant(uint256) = 2**16 - 1
MASK_20: constant(uint256) = 2**20 - 1
MASK_40: constant(uint256) = 2**40 - 1
MASK_76: constant(uint256) = 2**76 - 1
MASK_96: constant(uint256) = 2**96 - 1
MASK_128: constant(uint256) = 2**128 - 1
HELD_MASK: constant(uint256) = MASK_40 << 188

# Parameters other than the rate, unpacked with it.
struct Terms:
    deposit_cap: uint256         # asset units
    reserve_factor_bps: uint256
    exits_held_until: uint256    # seconds; no parameter, it only has its place in the same word
    min_debt: uint256            # whole tokens
    rate: ILendingVault.RateParameters


@internal
@pure
def _supply(pool: uint256) -> uint256:
    return pool & MASK_128


@internal
@pure
def _idle(pool: uint256) -> uint256:
    return (pool >> 128) & MASK_96


@internal
@pure
def _debt_shares(loans: uint256) -> uint256:
    return loans & MASK_96


@internal
@pure
def _index_wad(loans: uint256) -> uint256:
    return (loans >> 96) & MASK_76


@internal
@pure
def _reserves(loans: uint256) -> uint256:
    return loans >> 172


@internal
@pure
def _pack_pool(supply: uint256, idle: uint256, accrued_at: uint256) -> uint256:
    # Both bounds at once, and 2**96 is the first that has a bit from the 96th on: supply >> 32 < 2**96.
    self._require_fits((supply >> 32) | idle)
    return supply | (idle << 128) | (accrued_at << 224)


@internal
@pure
def _pack_loans(debt_shares: uint256, index_wad: uint256, reserves: uint256) -> uint256:
    """
    @dev Index and reserves are saturated by the accrual. Loan shares cannot outgrow the assets that were lent for them.
    """
    self._require_fits(debt_shares)
    return debt_shares | (index_wad << 96) | (reserves << 172)


@internal
@pure
def _unpack_terms(terms: uint256) -> Terms:
    return Terms(
        deposit_cap=self._deposit_cap(terms),
        reserve_factor_bps=self._reserve_factor_bps(terms),
        exits_held_until=self._exits_held_until(terms),
        min_debt=self._min_debt(terms),
        rate=ILendingVault.RateParameters(
            base_bps=(terms >> 96) & MASK_20,
            slope_low_bps=(terms >> 116) & MASK_20,
            slope_high_bps=(terms >> 136) & MASK_20,
            kink_bps=(terms >> 156) & MASK_16,
        ),
    )


@internal
@pure
def _deposit_cap(terms: uint256) -> uint256:
    return terms & MASK_96


@internal
@pure
def _reserve_factor_bps(terms: uint256) -> uint256:
    return (terms >> 172) & MASK_16


@internal
@pure
def _exits_held_until(terms: uint256) -> uint256:
    return (terms >> 188) & MASK_40


@internal
@pure
def _min_debt(terms: uint256) -> uint256:
    """
    @notice Whole tokens that a debt has at least after its debtor borrowed.
    """
    return terms >> 228


@internal
@pure
def _pack_terms(terms: Terms) -> uint256:
    """
    @dev Every field is bounded by the vault's own checks, which are far inside these widths.
    """
    low: uint256 = terms.deposit_cap | (terms.rate.base_bps << 96) | (terms.rate.slope_low_bps << 116)
    high: uint256 = (terms.rate.kink_bps << 156) | (terms.reserve_factor_bps << 172) | (terms.exits_held_until << 188)
    return low | (terms.rate.slope_high_bps << 136) | high | (terms.min_debt << 228)


@internal
@pure
def _with_exits_held(terms: uint256, until: uint256) -> uint256:
    """
    @notice The word with another end of the hold and everything else as it was.
    """
    return (terms & ~HELD_MASK) | (until << 188)


@internal
@pure
def _debt_down(debt_shares: uint256, index_wad: uint256) -> uint256:
    return unsafe_div(unsafe_mul(debt_shares, index_wad), WAD)


@internal
@pure
def _grown(
    debt_shares: uint256, index_wad: uint256, reserves: uint256, idle: uint256, elapsed_s: uint256, terms: uint256
) -> (uint256, uint256, uint256):
    """
    @notice The index, the reserves and the debt after `elapsed_s` at the rate of the use before.
    @dev    index += ceil(index * growth); reserves += floor(interest * factor). Index and reserves saturate. An index is below
            2**76, a growth below 2**110, loan shares below 2**96, a factor below 2**16: nothing overflows. The fields are
            cut out by hand here and both debts are those of `_debt_down` in place: the only function where so many calls
            of others would be felt.
    """
    debt: uint256 = unsafe_div(unsafe_mul(debt_shares, index_wad), WAD)
    rate_ray: uint256 = kinked_rate._rate_ray_up(
        kinked_rate._utilisation_wad_up(debt, idle),
        (terms >> 96) & MASK_20,
        (terms >> 116) & MASK_20,
        (terms >> 136) & MASK_20,
        (terms >> 156) & MASK_16,
    )
    growth_ray: uint256 = kinked_rate._growth_ray_down(rate_ray, elapsed_s)
    interest_wad: uint256 = unsafe_div(unsafe_add(unsafe_mul(index_wad, growth_ray), RAY - 1), RAY)
    index_now_wad: uint256 = min(unsafe_add(index_wad, interest_wad), MAX_INDEX_WAD)
    debt_now: uint256 = unsafe_div(unsafe_mul(debt_shares, index_now_wad), WAD)
    kept: uint256 = unsafe_div(unsafe_mul(unsafe_sub(debt_now, debt), (terms >> 172) & MASK_16), BPS)
    return index_now_wad, min(unsafe_add(reserves, kept), MAX_RESERVES), debt_now


@internal
@pure
def _total_assets_down(idle: uint256, debt: uint256, reserves: uint256) -> uint256:
    """
    @notice idle + debt - reserves, never below zero.
    @dev    The vault keeps reserves at most idle + debt, after a loss too (see `write_off`); the floor is a second lock.
            Idle is below 2**96, a debt below 2**172.
    """
    gross: uint256 = unsafe_add(idle, debt)
    if gross < reserves:
        return 0
    return unsafe_sub(gross, reserves)


@internal
@pure
def _require_fits(amount: uint256):
    assert amount >> 96 == 0, "vault: amount too large"
