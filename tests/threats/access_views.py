"""Every view of every deployed contract by its name, by its signature where a name has several.

Views change nothing and anyone may call them; they stand here so that no selector is in no table.
"""

from __future__ import annotations

from collections.abc import Mapping


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


VIEWS: Mapping[str, frozenset[str]] = {
    "Allocator": _names(
        """
        MIXER plan
        """
    ),
    "Clearinghouse": _names(
        """
        account_word assess asset_word call_state cost_word increased_at
        listed_word market_word picture_of position_word scene_of supply_word words_of
        """
    ),
    "Deleverager": _names(
        """
        CLEARINGHOUSE HOUSE MANDATES PERPS below_since owner pending_owner wind_down_of
        """
    ),
    "Exchange": _names(
        """
        CLEARINGHOUSE LISTINGS is_adapter
        """
    ),
    "Governance": _names(
        """
        CLEARINGHOUSE EXCHANGE KEEPERS LENDING_VAULT LIQUIDITY_VAULT LISTINGS ORACLE PERPS
        guardian next_pause_at next_step_at owner pending_owner steward
        """
    ),
    "Insurance": _names(
        """
        ACCOUNT CLEARINGHOUSE LIQUIDATOR VAULT announced_withdrawal owner pending_owner
        """
    ),
    "Keepers": _names(
        """
        CLEARINGHOUSE MANDATES ORACLE QUOTE asset_of checkUpkeep claimable fee
        is_pull_feed owner pending_owner watched
        """
    ),
    "LendingVault": _names(
        """
        CLEARINGHOUSE DOMAIN_SEPARATOR LIQUIDATOR allowance asset balanceOf
        borrow_rate_ray convertToAssets convertToShares debt_index_ray debt_of decimals
        deposit_cap eip712Domain exits_held_until insurance_receiver maxDeposit maxMint
        maxRedeem maxWithdraw max_loan min_debt name nonces outflow_limit owner pending_owner
        previewDeposit previewMint previewRedeem previewWithdraw rate_parameters
        reserve_factor_bps state symbol totalAssets totalSupply total_debt utilisation_wad
        """
    ),
    "Lens": _names(
        """
        CLEARINGHOUSE HOUSE MANDATES ORACLE PERPS REBALANCER VAULT healths largest_trade
        liquidation_price picture plans position
        """
    ),
    "Liquidator": _names(
        """
        drawn_today flagged_since owner pending_owner preview state_of terms
        """
    ),
    "LiquidityVault": _names(
        """
        CLEARINGHOUSE DEPOSIT_DELAY_S DEPOSIT_EPOCH_S DOMAIN_SEPARATOR HOUSE PERPS
        REDEEM_DELAY_S REDEEM_EPOCH_S allowance asset bad_debt_of bad_debt_wad balanceOf
        claimableDepositRequest claimableRedeemRequest convertToAssets convertToShares
        decimals deposit_cap deposit_epoch deposit_request_id eip712Domain entry_assets
        escrow exit_assets isOperator maxDeposit maxMint maxRedeem maxWithdraw name nonces
        oldest_redemption owner pendingDepositRequest pendingRedeemRequest pending_owner
        previewDeposit previewMint previewRedeem previewWithdraw redeem_epoch
        redeem_request_id request_room share supportsInterface symbol totalAssets
        totalSupply
        """
    ),
    "Listings": _names(
        """
        CLEARINGHOUSE EXCHANGE ORACLE asset_of outflow_limit owner pending_owner withdrawable_wad
        """
    ),
    "Mandates": _names(
        """
        CLEARINGHOUSE LIQUIDATOR PERPS allocation_of allocation_words announced_allocation
        announced_guard budget_left budget_of guard_of guard_word hook_of permissions_of
        snapshot wallet_left
        """
    ),
    "Mixer": _names(
        """
        plan
        """
    ),
    "Perps": _names(
        """
        CLEARINGHOUSE DELEVERAGER HOUSE LIQUIDATOR MANDATES ORACLE closed_at exposure_of free_wad
        headroom_of is_increase_stopped largest_increase market_ids oldest_round_at owner
        pending_owner quote skew_charge_wad terms_of uncertainty_wad
        """
    ),
    "Planner": _names(
        """
        plan with_free_means
        """
    ),
    "Rebalancer": _names(
        """
        ALLOCATOR CLEARINGHOUSE LIQUIDATOR MANDATES NATIVE_ASSET PLANNER announced_policy
        bounds_of is_triggered last_at plan policy_of state_of version_of
        """
    ),
    "RiskOracle": _names(
        """
        CLEARINGHOUSE feed_of marks owner parameters paused_until pending_owner
        pending_risk price_wad sigmas_e6
        """
    ),
    "Timelock": _names(
        """
        CANCELLER_ROLE DEFAULT_ADMIN_ROLE EXECUTOR_ROLE PROPOSER_ROLE getRoleAdmin
        get_minimum_delay get_operation_state get_timestamp hasRole hash_operation
        hash_operation_batch is_operation is_operation_done is_operation_pending
        is_operation_ready
        """
    ),
    "TokenLiquidator": _names(
        """
        ACCOUNT CLEARINGHOUSE LIQUIDATOR
        """
    ),
    "ERC4626Adapter": _names(
        """
        EXCHANGE asset_of cost_ppm onward owner pending_owner
        """
    ),
    "UniswapV3Adapter": _names(
        """
        EXCHANGE FACTORY cost_ppm fee_tier owner pending_owner pool_of
        """
    ),
    "VaultFeed": _names(
        """
        FEED GROWTH_WAD IS_LENDING_VAULT VAULT decimals getRoundData last_checkpoint
        latestRoundData live_rate_wad rate_cap_wad rate_wad
        """
    ),
}
