# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Drafts
@license MIT
@author  Ballast contributors
@notice  A plan for an allocation under way: its steps, and what may still be lost and traded.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import bounds
from contracts.modules import costed_means
from contracts.modules import fixed_point
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import readiness
from contracts.modules import sizing
from contracts.modules import sources
from contracts.modules import steps

uses: sources

# A step does at least this part of what is wanted. Less is not worth its gas: what lots and estimates of costs leave, or
# what a used up budget bears from one moment to the next.
LEAST_PART: constant(uint256) = 100


struct Draft:
    plan: IRebalancer.Plan
    budget: uint256  # expected cost that the owner's budget still bears, WAD of the quote token
    allowance: uint256  # value that the maximum step still allows


@internal
@view
def _new(request: IPlanner.Request) -> Draft:
    """@dev There is no emergency here, so the maximum step always holds."""
    draft: Draft = empty(Draft)
    draft.budget = staticcall IMandates(sources.MANDATES).budget_left(packing._owner(request.account))
    draft.budget -= min(draft.budget, costed_means.ROUNDING_UNITS * sources.UNIT_WAD)
    draft.allowance = bounds._max_step(request.bounds_word)
    if draft.allowance == 0:
        draft.allowance = sizing.MAX_VALUE_WAD
    return draft


@internal
@pure
def _is_full(draft: Draft) -> bool:
    return len(draft.plan.steps) == steps.MAX_STEPS


@internal
@pure
def _most_value(draft: Draft, cost_e6: uint256) -> uint256:
    """@dev The largest value that budget and maximum step allow, down."""
    return min(draft.allowance, self._part_of(draft.budget, cost_e6))


@internal
@pure
def _part_of(amount_wad: uint256, per_unit_e6: uint256) -> uint256:
    """@dev The value of which each unit uses so much of an amount, down; no end to what uses nothing."""
    if per_unit_e6 == 0:
        return max_value(uint256)
    return amount_wad * fixed_point.RATE // per_unit_e6


@internal
@pure
def _charged(draft_: Draft, value_wad: uint256, cost_e6: uint256) -> Draft:
    """@dev What one more step leaves of what may be lost and traded."""
    draft: Draft = draft_
    draft.budget -= min(draft.budget, fixed_point._mul_div_up(value_wad, cost_e6, fixed_point.RATE))
    draft.allowance -= min(draft.allowance, value_wad)
    return draft


@internal
@view
def _code(request: IPlanner.Request, plan: IRebalancer.Plan, is_unmet: bool, not_before: uint256) -> uint256:
    """@dev Why there is something to do, or nothing. Nothing here is an emergency, so every bound holds."""
    if not is_unmet:
        return readiness.ABOVE_TRIGGER
    if len(plan.steps) == 0:
        return readiness.NO_MEANS
    word: uint256 = request.policy_word
    if block.timestamp < max(not_before, policies._last_at(word) + 1 + policies._cooldown_s(word)):
        return readiness.COOLING_DOWN
    if plan.shortfall < policies._min_step(word):
        return readiness.BELOW_MINIMUM
    gas_cap_gwei: uint256 = bounds._gas_cap_gwei(request.bounds_word)
    if gas_cap_gwei != 0 and block.basefee > gas_cap_gwei * readiness.GWEI_WEI:
        return readiness.GAS_TOO_DEAR
    return readiness.READY
