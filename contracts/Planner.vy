# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Planner
@license MIT
@author  Ballast contributors
@notice  What the default hook would do: the cheapest path from where an account is to its target.
@dev     A view, apart from `Rebalancer` because both do not fit into one contract. Rooms: `readiness` whether there is
         anything to do, `free_means` what costs nothing, `asset_means` what costs something with each asset, `hulls` the
         cheapest of it, `costed_means` how much of that and in which steps.
@custom:invariant I17
@custom:kill  Nothing to stop: it answers questions.
"""

from contracts.interfaces import IMandates
from contracts.interfaces import IPlanner
from contracts.interfaces import IRebalancer
from contracts.modules import asset_means
from contracts.modules import bounds
from contracts.modules import costed_means
from contracts.modules import fixed_point
from contracts.modules import free_means
from contracts.modules import guards
from contracts.modules import hulls
from contracts.modules import packing
from contracts.modules import policies
from contracts.modules import readiness
from contracts.modules import sizing
from contracts.modules import sources
from contracts.modules import steps

implements: IPlanner

initializes: sources
initializes: free_means[sources := sources]
initializes: asset_means[sources := sources]
initializes: costed_means[sources := sources]


@deploy
def __init__(clearinghouse: address, mandates: address, perps: address, house_owner: address):
    """
    @param clearinghouse  Deployed already: the quote token is read from it.
    @param mandates       Knows guards, budgets and what accounts hold.
    @param perps          Quotes what trades cost; may be deployed later.
    @param house_owner    Owner of the house account, the liquidity vault; may be deployed later.
    """
    sources.__init__(clearinghouse, mandates, perps, house_owner)


@external
@view
def plan(request: IPlanner.Request, picture: IMandates.Snapshot) -> IRebalancer.Plan:
    """
    @notice The cheapest path to the target.
    @dev    What is free, then the cheapest edge of all that costs something until what is left is cured. A plan that is
            full leaves the rest to the next rebalance.
            Some steps make the ledger test the account at the end, at initial margin and at the worse of two prices.
            Where the plan does not reach that, they would undo all that helps, and it is made a second time without them.
    """
    plan: IRebalancer.Plan = empty(IRebalancer.Plan)
    target_bps: uint256 = guards._target_bps(request.guard_word)
    plan.shortfall = readiness._shortfall_up(picture.equity_init, picture.required_init, target_bps)
    plan.uncured = plan.shortfall
    plan.code = readiness._code(request, picture, plan.shortfall, sources.UNIT_WAD)
    if plan.code == readiness.NO_POLICY:
        plan.shortfall = 0
        plan.uncured = 0
    if not readiness._is_planned(plan.code):
        return plan
    if free_means._are_allowed(request.policy_word):
        # Called like another contract, so that its memory is paid for only where it is used.
        plan = staticcall IPlanner(self).with_free_means(plan, request, picture)
    is_emergency: bool = readiness._is_emergency(picture.equity_init, picture.required_init)
    if not readiness._may_cost(request.bounds_word, request.state_word, is_emergency):
        plan.called = plan.uncured
    elif plan.uncured != 0 and costed_means._are_allowed(request.policy_word, request.sales_word):
        bearable: uint256 = costed_means._budget(request.account)
        most: uint256 = costed_means._max_value(request.bounds_word, is_emergency)
        free_steps: uint256 = len(plan.steps)
        left_uncured: uint256 = plan.uncured
        for may_be_tested: bool in [True, False]:
            # What is free stays in front.
            for i: uint256 in range(steps.MAX_STEPS):
                if len(plan.steps) == free_steps:
                    break
                plan.steps.pop()
            plan.uncured = left_uncured
            budget: uint256 = bearable
            allowance: uint256 = most
            released: uint256 = 0  # of the requirement
            is_tested: bool = False
            edges: DynArray[hulls.Edge, costed_means.MAX_HOLDINGS] = []
            holdings: DynArray[asset_means.Holding, costed_means.MAX_HOLDINGS] = []
            for i: uint256 in range(len(picture.legs), bound=costed_means.MAX_HOLDINGS):
                asset: uint256 = picture.legs[i].asset
                sale: uint256 = policies._place_of_sale(request.sales_word, asset)
                if sale == policies.MAX_SALES:
                    if not asset_means._may_trade(request.policy_word, picture.legs[i].position):
                        continue
                settled: uint256 = 0
                if free_steps != 0:
                    settled = steps._settled(plan.steps, asset)
                holdings.append(asset_means._holding(request, picture.legs[i], i, sale, settled, may_be_tested))
                edges.append(hulls._next_edge(holdings[len(edges)], target_bps))
            for i: uint256 in range(costed_means.MAX_EDGES):
                if len(edges) == 0:
                    break
                best: uint256 = 0
                for k: uint256 in range(1, len(edges), bound=costed_means.MAX_HOLDINGS):
                    if hulls._goes_before(edges[k], holdings[k].rank, edges[best], holdings[best].rank):
                        best = k
                edge: hulls.Edge = edges[best]
                if edge.available == 0:
                    break
                price: uint256 = holdings[best].price_wad
                rest: asset_means.Rest = holdings[best].rest
                size: uint256 = costed_means._size(edge, price, plan.uncured, allowance, budget)
                if size != 0:
                    value: uint256 = size * price // fixed_point.WAD
                    change: IRebalancer.Step = costed_means._change(
                        request.account, holdings[best].asset, holdings[best].unit_wad, edge, size, value
                    )
                    # The first change of an asset is a step of its own; all others are merged into what is there.
                    if len(plan.steps) != steps.MAX_STEPS and rest.sold + rest.closed + rest.hedged == 0:
                        plan.steps.append(change)
                    else:
                        plan.steps, size = costed_means._with_change(plan.steps, change, price, edge, size)
                    if size != 0:
                        plan.uncured -= min(plan.uncured, sizing._cured_down(value, edge.cure_e10))
                        released += value * edge.released_e6 // fixed_point.RATE
                        is_tested = is_tested or (holdings[best].is_short and edge.form & hulls.SALES != 0)
                        if plan.uncured == 0:
                            break
                        allowance -= min(allowance, value)
                        budget -= min(budget, fixed_point._mul_div_up(value, edge.cost_e6, fixed_point.RATE))
                holdings[best].rest = hulls._after(rest, edge.form, edge.available, size)
                edges[best] = hulls._next_edge(holdings[best], target_bps)
            if not is_tested:
                break
            # E - R = (t - 1) R - (t R - E)
            required: uint256 = picture.required_init - min(picture.required_init, released)
            excess: uint256 = required * (target_bps - fixed_point.BPS) // fixed_point.BPS
            needed: uint256 = plan.uncured
            for leg: IMandates.Leg in picture.legs:
                needed += costed_means._weakness(leg)
            if excess >= needed:
                break
        if len(plan.steps) > 1:
            plan.steps = costed_means._hedges_last(plan.steps)
    if len(plan.steps) == 0 and plan.called == 0:
        plan.code = readiness.NO_MEANS
    elif len(plan.steps) == 0 and plan.code == readiness.READY and bounds._is_called(request.state_word):
        plan.code = readiness.CALLED
    return plan


@external
@view
def with_free_means(
    plan_: IRebalancer.Plan, request: IPlanner.Request, picture: IMandates.Snapshot
) -> IRebalancer.Plan:
    """
    @notice A plan with what is free: gains, then siblings in the order of the policy, the wallet between their cash and
            their collateral.
    @dev    Cash in the first round, which a sibling gives of its own and never borrows, and collateral in the second;
            above a floor higher than the target first collateral, which cures more there than as much cash. The donor's
            picture is read once for both, for that is dear.
    """
    plan: IRebalancer.Plan = plan_
    word: uint256 = request.policy_word
    if policies._actions(word) & policies.MAY_SETTLE != 0:
        # All of a gain is paid, as far as the house's cash goes.
        least: uint256 = free_means.LEAST_UNITS * sources.UNIT_WAD
        left: uint256 = max_value(uint256)
        for leg: IMandates.Leg in picture.legs:
            if plan.uncured == 0 or len(plan.steps) == steps.MAX_STEPS:
                break
            gain: uint256 = free_means._payable_gain(leg)
            if gain < least or request.refused[steps.SETTLE] & (1 << leg.asset) != 0:
                continue
            if left == max_value(uint256):
                left = sources._cash_wad(sources.HOUSE)
            paid: uint256 = min(gain, left)
            if paid < least:
                continue
            left -= paid
            plan.steps.append(
                IRebalancer.Step(
                    kind=steps.SETTLE, source=request.account, asset=leg.asset, amount=paid, value=paid, cost=0, bought=0
                )
            )
            plan.uncured -= min(plan.uncured, paid)
    target_bps: uint256 = guards._target_bps(request.guard_word)
    for round: uint256 in range(2):
        is_second: bool = round != 0
        for i: uint256 in range(policies._donor_count(word), bound=policies.MAX_DONORS):
            if plan.uncured == 0 or len(plan.steps) == steps.MAX_STEPS:
                break
            if request.refused[steps.MOVE_CASH] & (1 << policies._donor(word, i)) != 0:
                continue
            donor: uint256 = packing._account(packing._owner(request.account), policies._donor(word, i))
            floor_bps: uint256 = guards._floor_bps(sources._guard_word(donor))
            if floor_bps == 0 or donor == request.account:
                continue
            is_asked_for_collateral: bool = is_second or floor_bps > target_bps
            is_asked_for_cash: bool = not is_second and sources._cash_wad(donor) >= sources.UNIT_WAD
            if not is_asked_for_collateral and not is_asked_for_cash:
                continue
            other: IMandates.Snapshot = staticcall IMandates(sources.MANDATES).snapshot(donor)
            if not free_means._is_sound(other):
                continue
            if is_asked_for_collateral:
                for count: uint256 in range(len(plan.steps), steps.MAX_STEPS, bound=steps.MAX_STEPS):
                    if plan.uncured == 0 or len(plan.steps) != count:
                        break
                    # The donor's first asset that cures all, else the one that cures most per unit of its slack.
                    best: free_means.Offer = empty(free_means.Offer)
                    slack: uint256 = free_means._slack_down(donor, other, floor_bps, plan.steps)
                    for leg: IMandates.Leg in other.legs:
                        offer: free_means.Offer = free_means._offer(
                            donor, leg, slack, floor_bps, plan.steps, plan.uncured, picture.legs, target_bps
                        )
                        if free_means._goes_before(offer, best, plan.uncured):
                            best = offer
                        if best.cured >= plan.uncured:
                            break
                    if best.step.amount != 0:
                        plan.steps.append(best.step)
                        plan.uncured -= min(plan.uncured, best.cured)
            if is_asked_for_cash:
                slack: uint256 = free_means._slack_down(donor, other, floor_bps, plan.steps)
                available: uint256 = min(convert(max(other.cash, 0), uint256), slack)
                units: uint256 = free_means._cash_units(plan.uncured, available)
                if units >= free_means.LEAST_UNITS and len(plan.steps) != steps.MAX_STEPS:
                    plan.steps.append(free_means._cash_step(steps.MOVE_CASH, donor, units))
                    plan.uncured -= min(plan.uncured, units * sources.UNIT_WAD)
        is_refused: bool = steps._is_refused(request.refused, steps.PULL_CASH, sources.QUOTE_ASSET)
        if not is_second and policies._uses_wallet(word) and not is_refused and plan.uncured != 0:
            units: uint256 = free_means._cash_of_wallet(request.account, plan.uncured)
            if units >= free_means.LEAST_UNITS and len(plan.steps) != steps.MAX_STEPS:
                plan.steps.append(free_means._cash_step(steps.PULL_CASH, request.account, units))
                plan.uncured -= min(plan.uncured, units * sources.UNIT_WAD)
    return plan
