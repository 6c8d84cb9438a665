# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   House Worth
@license MIT
@author  Ballast contributors
@notice  What the house account is worth to those who enter it and to those who leave, and what it can pay.
@dev     Between two rounds the truth lies within a spread: who enters pays the most that the house may be worth, who
         leaves gets the least. Values are in WAD of the quote token, assets in its units. Nothing is measured while the
         clearing house is within a call.
@custom:invariant I06
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILiquidityVault
from contracts.interfaces import IPerps
from contracts.modules import reasons

CALL_STATE_IDLE: constant(uint256) = 0
# An address and eight bits.
MAX_ACCOUNT: constant(uint256) = 2**168
# Where the bitmap of perpetuals begins in an asset list.
PERPETUALS_SHIFT: constant(uint256) = 136

CLEARINGHOUSE: public(immutable(address))
PERPS: public(immutable(address))
HOUSE: public(immutable(uint256))
# The WAD value of one asset unit.
UNIT_WAD: immutable(uint256)


# What the house is worth, WAD.
struct Worth:
    value: int256  # equity at maintenance less premiums and flagged bad debt: total assets
    bad_debt: int256  # as flagged


# Equity below zero of accounts that owe the house, as last flagged, WAD; and the sum.
bad_debt_of: public(HashMap[uint256, uint256])
bad_debt_wad: public(uint256)


@deploy
def __init__(clearinghouse: address, perps: address, unit_wad: uint256):
    CLEARINGHOUSE = clearinghouse
    PERPS = perps
    HOUSE = convert(self, uint256) << 8
    UNIT_WAD = unit_wad


################################################################
#                            Value                             #
################################################################


@internal
@view
def _worth() -> Worth:
    """@dev The house at the newest prices; nothing before there is a house."""
    if not (CLEARINGHOUSE.is_contract and PERPS.is_contract):
        return empty(Worth)
    charge: int256 = convert(staticcall IPerps(PERPS).skew_charge_wad(), int256)
    bad_debt: int256 = convert(self.bad_debt_wad, int256)
    return Worth(value=self._equity(HOUSE) - charge - bad_debt, bad_debt=bad_debt)


@internal
@view
def _equity(account: uint256) -> int256:
    """@dev At maintenance: unsettled results count in full, on both sides."""
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity: int256 = 0
    required: uint256 = 0
    equity_init, required_init, equity, required = staticcall IClearinghouse(CLEARINGHOUSE).assess(account)
    return equity


@internal
@view
def _uncertainty() -> int256:
    if not PERPS.is_contract:
        return 0
    return convert(staticcall IPerps(PERPS).uncertainty_wad(), int256)


@internal
@view
def _total_assets_down() -> uint256:
    worth: Worth = self._worth()
    return self._to_units_down(worth.value)


@internal
@view
def _entry_assets_up(worth: Worth) -> uint256:
    """@dev The most that the house may be worth: who enters pays for debts that may still be paid."""
    return self._to_units_up(worth.value + worth.bad_debt + self._uncertainty())


@internal
@view
def _exit_assets_down(worth: Worth) -> uint256:
    """@dev The least that the house may be worth."""
    return self._to_units_down(worth.value - self._uncertainty())


@internal
@view
def _free_assets_down() -> uint256:
    """
    @dev What the house can pay: cash, and no more than backs nothing. The house never owes (I19), so its word is its
         cash.
    """
    word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).account_word(HOUSE)
    cash: uint256 = self._to_units_down(convert(word, int256))
    free_wad: uint256 = staticcall IPerps(PERPS).free_wad()
    return min(cash, free_wad // UNIT_WAD)


@internal
@view
def _is_entry_open(worth: Worth, supply: uint256) -> bool:
    """
    @dev Whether new shares have a price that is fair to both sides: a house with shares is worth something; one without
         owes nothing. The value is at most the equity, so this bars entry whenever the equity would.
    """
    if supply == 0:
        return worth.value >= 0
    return worth.value > 0


@internal
@view
def _to_units_down(value_wad: int256) -> uint256:
    """@dev Nothing for what is below zero."""
    return convert(max(value_wad, 0), uint256) // UNIT_WAD


@internal
@view
def _to_units_up(value_wad: int256) -> uint256:
    return (convert(max(value_wad, 0), uint256) + UNIT_WAD - 1) // UNIT_WAD


################################################################
#                           Bad debt                           #
################################################################


@internal
def _flag_bad_debt(account: uint256) -> uint256:
    """@dev Records how far an account's equity is below zero, in place of what was recorded before; returns it."""
    old: uint256 = self.bad_debt_of[account]
    self._check_may_flag(account, old)
    new: uint256 = convert(max(-self._equity(account), 0), uint256)
    total: uint256 = self.bad_debt_wad - old + new
    self.bad_debt_of[account] = new
    self.bad_debt_wad = total
    log ILiquidityVault.BadDebtFlagged(account=account, old_wad=old, new_wad=new, total_wad=total)
    return new


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_clearinghouse_idle():
    if staticcall IClearinghouse(CLEARINGHOUSE).call_state() != CALL_STATE_IDLE:
        reasons._fail("liquidity: clearinghouse busy")


@internal
@view
def _is_clearinghouse_idle() -> bool:
    """@dev The clearing house may be deployed after the vault; a limit of nothing is the truth until then."""
    if not CLEARINGHOUSE.is_contract:
        return False
    return staticcall IClearinghouse(CLEARINGHOUSE).call_state() == CALL_STATE_IDLE


@internal
@view
def _check_later_round(end: uint256):
    """@dev A stale market answers 0."""
    if staticcall IPerps(PERPS).oldest_round_at() <= end:
        reasons._fail("liquidity: no later round")


@internal
@view
def _check_entry(worth: Worth, supply: uint256):
    if not self._is_entry_open(worth, supply):
        reasons._fail("liquidity: entry is closed")


@internal
@view
def _check_may_flag(account: uint256, recorded: uint256):
    if account == HOUSE:
        reasons._fail("liquidity: house is not flagged")
    listed: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).listed_word(account)
    # One name for an account: with more bits another number could mean the same positions, and count them again.
    if account >= MAX_ACCOUNT or (recorded == 0 and listed >> PERPETUALS_SHIFT == 0):
        reasons._fail("liquidity: no perpetual")
