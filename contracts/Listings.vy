# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Listings
@license MIT
@author  Ballast contributors
@notice  The governor's room: checks every listing and writes it to the clearing house; and how fast what is listed
         may be withdrawn.
@dev     A room of its own so that the ledger carries no governance. Holds nothing; the clearing house accepts
         listings, and the exchange adapters, from this contract alone. It asks here before a withdrawal ends, and for
         nothing else: swaps, transfers, rebalances and liquidations know no limit of outflow. What is there is the
         ledger's balance: a gift to it lets no more out than it brought.
@custom:invariant I28 I40
@custom:kill  Set every supply cap to zero and forbid the adapters: nothing new enters, exits go on.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IExchange
from contracts.interfaces import IListings
from contracts.interfaces import IRiskOracle
from contracts.modules import fixed_point
from contracts.modules import outflows
from contracts.modules import packing
from contracts.modules import reasons
from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IListings

initializes: ownable
initializes: ownable_2step[ownable := ownable]

exports: (
    ownable.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

MAX_ASSET_ID: constant(uint256) = 255
MAX_SWAP_LIMIT_BPS: constant(uint256) = 500
# Outflows are counted in units of 2**24 WAD, so that every balance fits their word.
OUTFLOW_SHIFT: constant(uint256) = 24

CLEARINGHOUSE: public(immutable(address))
ORACLE: public(immutable(address))
EXCHANGE: public(immutable(address))

# token -> the id it is listed under; 0 if not listed
_asset_of: HashMap[address, uint256]
# How fast each asset may leave; see `outflows`.
_outflows: HashMap[uint256, uint256]


@deploy
def __init__(clearinghouse: address, oracle: address, exchange: address):
    """
    @param clearinghouse  May be an address that is yet to be deployed to.
    @param oracle         Must know an asset before it is listed.
    @param exchange       Where adapters are allowed; may be deployed later.
    """
    ownable.__init__()
    ownable_2step.__init__()
    CLEARINGHOUSE = clearinghouse
    ORACLE = oracle
    EXCHANGE = exchange


@external
def list_asset(asset: uint256, token: address, supply_cap_wad: uint256, swap_limit_bps: uint256):
    """@notice Lists a collateral."""
    ownable._check_owner()
    self._require_new(asset, token)
    decimals: uint256 = convert(staticcall IERC20Detailed(token).decimals(), uint256)
    self._require_decimals(decimals)
    # Reverts for an asset the oracle does not know; the limit must lie below the asset's rate on gross already.
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    self._require_below_gross(swap_limit_bps, packing._l_init_e6(marks[1]))
    self._asset_of[token] = asset
    self._write(asset, token, 10 ** (18 - decimals), supply_cap_wad, swap_limit_bps)


@external
def set_asset_limits(asset: uint256, supply_cap_wad: uint256, swap_limit_bps: uint256):
    """@notice Changes a listing's cap and limit."""
    ownable._check_owner()
    word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset)
    self._require_collateral(asset, word)
    self._write(asset, packing._token(word), packing._unit_wad(word), supply_cap_wad, swap_limit_bps)


@external
def set_adapter(adapter: address, is_allowed: bool):
    """@notice Allows or forbids a swap adapter."""
    ownable._check_owner()
    self._require_contract(adapter)
    extcall IExchange(EXCHANGE).set_adapter(adapter, is_allowed)


@external
@view
def asset_of(token: address) -> uint256:
    """@notice The id of a listed token."""
    return self._asset_of[token]


@external
def set_outflow_limit(asset: uint256, limit_bps: uint256, floor_log2: uint256):
    """@notice Sets how fast an asset may be withdrawn."""
    ownable._check_owner()
    asset_word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset)
    self._require_known(asset_word)
    self._require_floor(floor_log2)
    self._outflows[asset] = outflows._set(
        self._outflows[asset], self._held(asset_word), limit_bps, floor_log2 - OUTFLOW_SHIFT
    )
    log IListings.OutflowLimitChanged(asset=asset, limit_bps=limit_bps, floor_log2=floor_log2)


@external
def count_out(asset: uint256, asset_word: uint256, taken_wad: uint256):
    """@notice Lets a withdrawal pass or not; its tokens have left."""
    self._check_clearinghouse()
    word: uint256 = self._outflows[asset]
    if outflows._is_off(word):
        return
    left: uint256 = self._held(asset_word)
    taken: uint256 = taken_wad >> OUTFLOW_SHIFT
    level: uint256 = outflows._level_up(word, left + taken)
    outflows._require_left(taken, left, outflows._least(word, level, level))
    self._outflows[asset] = outflows._counted(word, level, left)


@external
@view
def withdrawable_wad(asset: uint256) -> uint256:
    """@notice What may leave now of what the clearing house holds."""
    word: uint256 = self._outflows[asset]
    total: uint256 = self._held(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset))
    return outflows._open(word, total, outflows._level_up(word, total)) << OUTFLOW_SHIFT


@external
@view
def outflow_limit(asset: uint256) -> (uint256, uint256):
    """@notice How fast an asset may be withdrawn."""
    word: uint256 = self._outflows[asset]
    if word == 0:
        return fixed_point.BPS, OUTFLOW_SHIFT
    return outflows._limit_bps(word), outflows._floor_log2(word) + OUTFLOW_SHIFT


@internal
@view
def _held(asset_word: uint256) -> uint256:
    """@dev What the clearing house has of a token, in the units of an outflow."""
    balance: uint256 = staticcall IERC20(packing._token(asset_word)).balanceOf(CLEARINGHOUSE)
    return min(balance * packing._unit_wad(asset_word) >> OUTFLOW_SHIFT, outflows.MASK_96)


@internal
def _write(asset: uint256, token: address, unit_wad: uint256, supply_cap_wad: uint256, swap_limit_bps: uint256):
    self._require_limits(supply_cap_wad, swap_limit_bps)
    word: uint256 = packing._asset_word(token, unit_wad, swap_limit_bps)
    extcall IClearinghouse(CLEARINGHOUSE).set_asset(asset, word, supply_cap_wad)
    log IListings.AssetChanged(asset=asset, asset_word=word, supply_cap_wad=supply_cap_wad)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _require_new(asset: uint256, token: address):
    quote: address = packing._token(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(0))
    word: uint256 = staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset)
    is_known: bool = word != 0 or self._asset_of[token] != 0
    if is_known or asset > MAX_ASSET_ID or token == quote:
        reasons._fail("listings: bad asset id or token")


@internal
@view
def _check_clearinghouse():
    if msg.sender != CLEARINGHOUSE:
        reasons._fail("listings: not the clearinghouse")


@internal
@pure
def _require_known(asset_word: uint256):
    if asset_word == 0:
        reasons._fail("listings: no such asset")


@internal
@pure
def _require_floor(floor_log2: uint256):
    if floor_log2 < OUTFLOW_SHIFT:
        reasons._fail("listings: floor below a unit")


@internal
@pure
def _require_collateral(asset: uint256, word: uint256):
    if word == 0 or asset == 0:
        reasons._fail("listings: unknown asset")


@internal
@pure
def _require_decimals(decimals: uint256):
    if decimals < 2 or decimals > 18:
        reasons._fail("listings: decimals not 2 to 18")


@internal
@pure
def _require_limits(supply_cap_wad: uint256, swap_limit_bps: uint256):
    if supply_cap_wad >= 2**120 or swap_limit_bps > MAX_SWAP_LIMIT_BPS:
        reasons._fail("listings: limit out of range")


@internal
@pure
def _require_below_gross(swap_limit_bps: uint256, l_init_e6: uint256):
    """@dev 1 bp is 100 rate units."""
    if swap_limit_bps * 100 >= l_init_e6:
        reasons._fail("listings: limit above l_init")


@internal
@view
def _require_contract(adapter: address):
    if not adapter.is_contract:
        reasons._fail("listings: adapter has no code")
