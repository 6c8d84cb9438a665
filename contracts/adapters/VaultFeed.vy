# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Vault Feed
@license MIT
@author  Ballast contributors
@notice  The price of a share of an ERC-4626 vault as a feed: the price of the vault's asset times assets per share,
         whose growth is bounded.
@dev     Rounds are those of the asset's feed, with their ids and times. Every answer, a past one too, is multiplied by
         the rate of now: what the oracle samples are then the returns of the asset, and the rate joins them when the
         asset's feed speaks next.

             rate = min(live, cap)                      live: what the vault converts shares to
             cap  = max(r (1 + growth dt), min(peak, r (1 + recovery dt)))       dt: at most a day

         r is the rate at the last checkpoint, dt the time since and peak the highest rate at any. A gift to the vault
         thus moves the price by no more than the growth since the last checkpoint, at once or later (T26). A fall
         counts at once. If nobody makes a checkpoint while it lasts, the bound stays where it was; after one the rate
         comes back up to its peak by 5% a day, which is a jump that margins bear, and above the peak it grows
         as before.
         Assumptions:
         1. Nobody can lower the vault's rate for a moment. A fall is believed, and accounts are liquidated on it.
         2. The vault converts linearly, and within the gas that the oracle leaves to a feed.
         3. Somebody makes a checkpoint a day. Without, the rate falls behind: the price is too low and never too high.
         A vault that reverts makes this feed revert, which the oracle takes for a dead feed: the last good price
         stays, and nothing is borrowed or sold on it. So it is with shares of Ballast's own lending vault while its
         exits wait for a loss: who cannot take his shares out shall not borrow on them either (T09).
@custom:kill  Give the asset another feed. Nothing is held here and nobody owns it.
"""

from contracts.interfaces import IAggregatorV3
from contracts.interfaces import ILendingVault
from contracts.interfaces import IVaultFeed
from contracts.modules import fixed_point
from ethereum.ercs import IERC20Detailed
from ethereum.ercs import IERC4626

implements: IAggregatorV3
implements: IVaultFeed

MASK_96: constant(uint256) = 2**96 - 1
DAY_S: constant(uint256) = 86_400
YEAR_S: constant(uint256) = 31_536_000
# A bound that nobody moves stops rising: what one transaction can lift the price by stays small.
MAX_AGE_S: constant(uint256) = DAY_S
# Back toward the peak, 5% a day: the jump that the oracle's inequality of margin rates allows for (T31).
RECOVERY_WAD: constant(uint256) = fixed_point.WAD // 20 // DAY_S
# At most 100% a year, 0.27% a day.
MAX_GROWTH_WAD: constant(uint256) = fixed_point.WAD // YEAR_S
MAX_DECIMALS: constant(uint256) = 18

VAULT: public(immutable(address))
# Of the vault's asset.
FEED: public(immutable(address))
# Of a rate, per second.
GROWTH_WAD: public(immutable(uint256))
# Whether the vault is Ballast's own lending vault.
IS_LENDING_VAULT: public(immutable(bool))
decimals: public(immutable(uint8))
# Share units that convert to the rate in WAD.
SHARES: immutable(uint256)

# rate_wad u96 | peak_wad u96 | made at u64
_checkpoint: uint256


@deploy
def __init__(vault: address, feed: address, growth_wad: uint256, is_lending_vault: bool):
    """
    @param vault             Its rate of now is the first checkpoint: it must be an honest one.
    @param feed              Of the vault's asset in dollars; for a vault of the quote token that token's feed.
    @param growth_wad        Most that the rate may grow in a second, WAD: a little more than the vault earns.
    @param is_lending_vault  Whether the vault is Ballast's own, which may hold exits.
    """
    self._require_growth(growth_wad)
    share_decimals: uint256 = convert(staticcall IERC20Detailed(vault).decimals(), uint256)
    asset: address = staticcall IERC4626(vault).asset()
    asset_decimals: uint256 = convert(staticcall IERC20Detailed(asset).decimals(), uint256)
    self._require_decimals(asset_decimals)
    VAULT = vault
    FEED = feed
    GROWTH_WAD = growth_wad
    IS_LENDING_VAULT = is_lending_vault
    SHARES = 10 ** (share_decimals + MAX_DECIMALS - asset_decimals)
    decimals = staticcall IAggregatorV3(feed).decimals()
    rate_wad: uint256 = staticcall IERC4626(vault).convertToAssets(
        10 ** (share_decimals + MAX_DECIMALS - asset_decimals)
    )
    self._store(rate_wad, rate_wad)


@external
def checkpoint() -> uint256:
    """
    @notice Makes the rate that counts now the one from which it may grow.
    """
    rate_wad: uint256 = self._rate_wad()
    self._store(rate_wad, max(rate_wad, (self._checkpoint >> 96) & MASK_96))
    return rate_wad


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The newest round of the asset's feed, times the rate.
    """
    id: uint80 = 0
    answer: int256 = 0
    started_at: uint256 = 0
    updated_at: uint256 = 0
    answered_in: uint80 = 0
    id, answer, started_at, updated_at, answered_in = staticcall IAggregatorV3(FEED).latestRoundData()
    return id, self._scaled_down(answer), started_at, updated_at, answered_in


@external
@view
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice A past round of the asset's feed, times the rate of now.
    """
    id: uint80 = 0
    answer: int256 = 0
    started_at: uint256 = 0
    updated_at: uint256 = 0
    answered_in: uint80 = 0
    id, answer, started_at, updated_at, answered_in = staticcall IAggregatorV3(FEED).getRoundData(round_id)
    return id, self._scaled_down(answer), started_at, updated_at, answered_in


@external
@view
def rate_wad() -> uint256:
    """
    @notice The rate that counts.
    """
    return self._rate_wad()


@external
@view
def live_rate_wad() -> uint256:
    """
    @notice The vault's own rate.
    """
    return self._live_rate_wad()


@external
@view
def rate_cap_wad() -> uint256:
    """
    @notice The bound on the rate now.
    """
    return self._rate_cap_wad()


@external
@view
def last_checkpoint() -> (uint256, uint256, uint256):
    """
    @notice Rate, peak and time of the last checkpoint.
    """
    word: uint256 = self._checkpoint
    return word & MASK_96, (word >> 96) & MASK_96, word >> 192


@internal
def _store(rate_wad: uint256, peak_wad: uint256):
    self._require_rate(rate_wad)
    self._checkpoint = rate_wad | (peak_wad << 96) | (block.timestamp << 192)
    log IVaultFeed.Checkpointed(rate_wad=rate_wad, peak_wad=peak_wad)


@internal
@view
def _scaled_down(answer: int256) -> int256:
    """@dev A negative answer does not convert and reverts: no round to believe either way."""
    self._check_exits_open()
    return convert(convert(answer, uint256) * self._rate_wad() // fixed_point.WAD, int256)


@internal
@view
def _rate_wad() -> uint256:
    return min(self._live_rate_wad(), self._rate_cap_wad())


@internal
@view
def _live_rate_wad() -> uint256:
    return staticcall IERC4626(VAULT).convertToAssets(SHARES)


@internal
@view
def _rate_cap_wad() -> uint256:
    word: uint256 = self._checkpoint
    rate_wad: uint256 = word & MASK_96
    peak_wad: uint256 = (word >> 96) & MASK_96
    age_s: uint256 = min(block.timestamp - (word >> 192), MAX_AGE_S)
    grown_wad: uint256 = rate_wad + rate_wad * GROWTH_WAD * age_s // fixed_point.WAD
    recovered_wad: uint256 = rate_wad + rate_wad * RECOVERY_WAD * age_s // fixed_point.WAD
    return max(grown_wad, min(peak_wad, recovered_wad))


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_exits_open():
    if IS_LENDING_VAULT:
        self._require_past(staticcall ILendingVault(VAULT).exits_held_until())


@internal
@view
def _require_past(held_until: uint256):
    assert block.timestamp >= held_until, "vault feed: exits are held"


@internal
@pure
def _require_growth(growth_wad: uint256):
    assert growth_wad <= MAX_GROWTH_WAD, "vault feed: growth too fast"


@internal
@pure
def _require_decimals(asset_decimals: uint256):
    assert asset_decimals <= MAX_DECIMALS, "vault feed: too many decimals"


@internal
@pure
def _require_rate(rate_wad: uint256):
    assert rate_wad != 0 and rate_wad <= MASK_96, "vault feed: rate out of range"
