# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Packing
@license MIT
@author  Ballast contributors
@notice  Every packed word of the system, by name. Vyper packs nothing, and a cold word costs 2,100 gas to
         read, so what is read together lives together.
@dev     Widths: a balance or a size stays below 2**120 units of 1e-18 (asserted where it grows), a price
         below 2**96 units of 1e-18, a rate below 2**24 units of 1e-6.

         account      cash_wad u128 | debt_shares u96 | increased_at u32
         asset list   sixteen ids u8 | count u8 | perpetuals u16 (see asset_list.vy)
         position     collateral_wad u128 | size_wad i128
         cost         cost_wad i128 | entry_wad i128
         market       funding_wad i128 | rate_wad i80 | touched_at u40 | has_ended u8
         asset        token u160 | unit_wad u72 | swap_limit_bps u16
         supply       total_wad u128 | supply_cap_wad u128
         price word   newest_wad u96 | previous_wad u96 | flags u8 | made_at u40
         risk word    r_init u24 | l_init u24 | r_maint u24 | l_maint u24 | quota u72 | poked_at u40 | sigma u32
"""

MASK_8: constant(uint256) = 2**8 - 1
MASK_24: constant(uint256) = 2**24 - 1
MASK_32: constant(uint256) = 2**32 - 1
MASK_40: constant(uint256) = 2**40 - 1
MASK_72: constant(uint256) = 2**72 - 1
MASK_80: constant(uint256) = 2**80 - 1
MASK_96: constant(uint256) = 2**96 - 1
MASK_128: constant(uint256) = 2**128 - 1
MASK_160: constant(uint256) = 2**160 - 1
MASK_224: constant(uint256) = 2**224 - 1

# Bits of a price word's flags.
IS_STALE: constant(uint256) = 1     # the price is the last good one, not a live one
NO_INCREASE: constant(uint256) = 2  # must not back an increase of risk
NO_SWAP: constant(uint256) = 4      # must not bound a swap
OWNERS_FIRST: constant(uint256) = 8 # the chain comes back from an outage: what can wait is not liquidated
HAS_ENDED: constant(uint256) = 16   # of a position: its market has ended, it is worth its result at another price

# Bit of a market word: what is open is closed at the price of its latch, whatever the newest is.
MARKET_ENDED: constant(uint256) = 1 << 248

GWEI_WAD: constant(uint256) = 10**9  # quotas are kept in units of 1e-9


@internal
@pure
def _signed(word: uint256) -> int256:
    """@dev The same bits: of an amount below 2**255, or of a difference of two."""
    return convert(convert(word, bytes32), int256)


################################################################
#                           Accounts                           #
################################################################


@internal
@pure
def _owner(account: uint256) -> address:
    """@dev account = owner << 8 | sub; an account above 2**168 does not convert and reverts."""
    return convert(convert(account >> 8, uint160), address)


@internal
@pure
def _account(owner: address, sub: uint256) -> uint256:
    return (convert(owner, uint256) << 8) | sub


@internal
@pure
def _cash_wad(word: uint256) -> uint256:
    return word & MASK_128


@internal
@pure
def _debt_shares(word: uint256) -> uint256:
    """@dev Below 2**96: the vault counts no more of them in all."""
    return (word >> 128) & MASK_96


@internal
@pure
def _increased_at(word: uint256) -> uint256:
    """@dev When the account last passed the test of an increase of risk."""
    return word >> 224


@internal
@pure
def _balances(word: uint256) -> uint256:
    """@dev Cash and debt alone, as they are published."""
    return word & MASK_224


@internal
@pure
def _with_cash(word: uint256, cash_wad: uint256) -> uint256:
    return (word & ~MASK_128) | cash_wad


################################################################
#                          Positions                           #
################################################################


@internal
@pure
def _collateral_wad(position: uint256) -> uint256:
    return position & MASK_128


@internal
@pure
def _size_wad(position: uint256) -> int256:
    """@dev The high half, sign-extended by an arithmetic shift. A direct conversion would refuse the sign bit."""
    return convert(convert(position, bytes32), int256) >> 128


@internal
@pure
def _position_word(collateral_wad: uint256, size_wad: int256) -> uint256:
    return collateral_wad | (convert(convert(size_wad, bytes32), uint256) << 128)


################################################################
#                          Perpetuals                          #
################################################################


@internal
@pure
def _cost_wad(cost_word: uint256) -> int256:
    """@dev Funding-adjusted cost of a perpetual; without a size, what is left unpaid of a closed one."""
    return (convert(convert(cost_word, bytes32), int256) << 128) >> 128


@internal
@pure
def _entry_wad(cost_word: uint256) -> int256:
    """@dev What the present size was opened for, fees included, funding not; signed like the size."""
    return convert(convert(cost_word, bytes32), int256) >> 128


@internal
@pure
def _cost_word(cost_wad: int256, entry_wad: int256) -> uint256:
    return (convert(convert(cost_wad, bytes32), uint256) & MASK_128) | (
        convert(convert(entry_wad, bytes32), uint256) << 128
    )


@internal
@pure
def _funding_at(market_word: uint256, time: uint256) -> int256:
    """
    @dev Cumulative funding, quote per unit, paid by longs: linear since the market was touched, so exact. An i128 and an
         i80 times a time below 2**40.
    """
    word: int256 = convert(convert(market_word, bytes32), int256)
    elapsed: uint256 = unsafe_sub(time, (market_word >> 208) & MASK_40)
    return unsafe_add((word << 128) >> 128, unsafe_mul((word << 48) >> 176, convert(convert(elapsed, bytes32), int256)))


@internal
@pure
def _market_word(funding_wad: int256, rate_wad: int256, touched_at: uint256) -> uint256:
    return (
        (convert(convert(funding_wad, bytes32), uint256) & MASK_128)
        | ((convert(convert(rate_wad, bytes32), uint256) & MASK_80) << 128)
        | (touched_at << 208)
    )


################################################################
#                            Marks                             #
################################################################


@internal
@pure
def _price_word(newest_wad: uint256, previous_wad: uint256, flags: uint256, made_at: uint256) -> uint256:
    return newest_wad | (previous_wad << 96) | (flags << 192) | (made_at << 200)


@internal
@pure
def _newest_wad(price_word: uint256) -> uint256:
    return price_word & MASK_96


@internal
@pure
def _previous_wad(price_word: uint256) -> uint256:
    return (price_word >> 96) & MASK_96


@internal
@pure
def _flags(price_word: uint256) -> uint256:
    return (price_word >> 192) & MASK_8


@internal
@pure
def _made_at(price_word: uint256) -> uint256:
    """@dev When the newest round was made; 0 if there is none to believe."""
    return price_word >> 200


@internal
@pure
def _risk_word(
    r_init_e6: uint256,
    l_init_e6: uint256,
    r_maint_e6: uint256,
    l_maint_e6: uint256,
    quota_gwei: uint256,
    poked_at: uint256,
    sigma_e6: uint256,
) -> uint256:
    return (
        r_init_e6
        | (l_init_e6 << 24)
        | (r_maint_e6 << 48)
        | (l_maint_e6 << 72)
        | (quota_gwei << 96)
        | (poked_at << 168)
        | (sigma_e6 << 208)
    )


@internal
@pure
def _with_directional(risk_word: uint256, r_init_e6: uint256, r_maint_e6: uint256) -> uint256:
    return (risk_word & ~(MASK_24 | (MASK_24 << 48))) | r_init_e6 | (r_maint_e6 << 48)


@internal
@pure
def _with_worse_init(risk_word: uint256, other: uint256) -> uint256:
    """@dev Of two the higher rates at initial margin, and the smaller quota."""
    r_init_e6: uint256 = max(risk_word & MASK_24, other & MASK_24)
    l_init_e6: uint256 = max((risk_word >> 24) & MASK_24, (other >> 24) & MASK_24)
    quota: uint256 = min((risk_word >> 96) & MASK_72, (other >> 96) & MASK_72)
    rest: uint256 = risk_word & ~(MASK_24 | (MASK_24 << 24) | (MASK_72 << 96))
    return rest | r_init_e6 | (l_init_e6 << 24) | (quota << 96)


@internal
@pure
def _r_init_e6(risk_word: uint256) -> uint256:
    return risk_word & MASK_24


@internal
@pure
def _l_init_e6(risk_word: uint256) -> uint256:
    return (risk_word >> 24) & MASK_24


@internal
@pure
def _rate_init_e6(risk_word: uint256) -> uint256:
    """@dev r + l at initial margin, what a unit of collateral value requires."""
    return (risk_word & MASK_24) + ((risk_word >> 24) & MASK_24)


@internal
@pure
def _r_maint_e6(risk_word: uint256) -> uint256:
    return (risk_word >> 48) & MASK_24


@internal
@pure
def _l_maint_e6(risk_word: uint256) -> uint256:
    return (risk_word >> 72) & MASK_24


@internal
@pure
def _quota_wad(risk_word: uint256) -> uint256:
    return unsafe_mul((risk_word >> 96) & MASK_72, GWEI_WAD)


@internal
@pure
def _poked_at(risk_word: uint256) -> uint256:
    return (risk_word >> 168) & MASK_40


@internal
@pure
def _sigma_e6(risk_word: uint256) -> uint256:
    return (risk_word >> 208) & MASK_32


################################################################
#                           Listings                           #
################################################################


@internal
@pure
def _asset_word(token: address, unit_wad: uint256, swap_limit_bps: uint256) -> uint256:
    return convert(token, uint256) | (unit_wad << 160) | (swap_limit_bps << 232)


@internal
@pure
def _token(asset_word: uint256) -> address:
    return convert(convert(asset_word & MASK_160, uint160), address)


@internal
@pure
def _unit_wad(asset_word: uint256) -> uint256:
    return (asset_word >> 160) & MASK_72


@internal
@pure
def _swap_limit_bps(asset_word: uint256) -> uint256:
    return asset_word >> 232


@internal
@pure
def _supply_word(total_wad: uint256, cap_wad: uint256) -> uint256:
    return total_wad | (cap_wad << 128)


@internal
@pure
def _total_wad(supply_word: uint256) -> uint256:
    return supply_word & MASK_128


@internal
@pure
def _cap_wad(supply_word: uint256) -> uint256:
    return supply_word >> 128
