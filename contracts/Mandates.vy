# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Mandates
@license MIT
@author  Ballast contributors
@notice  Who may act for an account and how far: operators with their permissions, and hooks with guards and budgets.
         Opens a mandate for an account's hook, lets it act, and judges the result.
@dev     Holds no money. The clearing house accepts mandate calls from this contract alone and keeps every mark
         fixed from opening to closing, so what is compared was measured at one set of prices.
         Assumptions:
         1. A hook may be hostile and belong to the owner or to the caller; only the two tests are believed.
         2. A sibling is touched only by giving cash or collateral to the mandated account.
@custom:invariant I14 I15 I16 I17 I50
@custom:kill  An owner revokes the guard of an account; nothing here acts for it any more.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.modules import allocations
from contracts.modules import budgets
from contracts.modules import fixed_point
from contracts.modules import guards
from contracts.modules import margin
from contracts.modules import operators
from contracts.modules import packing
from contracts.modules import pictures
from contracts.modules import reasons

implements: IMandates

initializes: budgets
initializes: operators

DELAY_S: constant(uint256) = 3_600
# on_mandate(account, guard_word, picture), the picture as the struct it is.
ON_MANDATE: constant(Bytes[4]) = method_id(
    "on_mandate(uint256,uint256,(int256,uint256,int256,uint256,int256,(uint256,uint256,int256,int256,uint256,uint256)[]))"
)
HOOK_GAS: constant(uint256) = 6_000_000
# A rescue is paid for by whoever liquidates: a sale or a move, and no more.
RESCUE_GAS: constant(uint256) = 1_800_000
MAX_DONORS: constant(uint256) = 8
MASK_160: constant(uint256) = 2**160 - 1
# A repayment rounds a debt up by a token unit and burns loan shares rounded down. So few units of each are no loss, and
# leave no account weaker.
ROUNDING_UNITS: constant(int256) = 2
QUOTE_ASSET: constant(uint256) = 0


# Excesses and equity of a donor before its first move, kept for the length of a mandate.
struct Donor:
    account: uint256
    excess_init: int256
    excess_maint: int256
    equity_maint: int256


CLEARINGHOUSE: public(immutable(address))
PERPS: public(immutable(address))
LIQUIDATOR: public(immutable(address))
ORACLE: immutable(address)
# The quote token's unit in WAD.
UNIT_WAD: immutable(uint256)
# The account on the other side of every perpetual.
HOUSE: immutable(uint256)

# account -> the hook in force
_hooks: HashMap[uint256, address]
# account -> the guard in force
_guards: HashMap[uint256, uint256]
# account -> announced hook u160 | ready_at u40, and the announced guard
_announced_hooks: HashMap[uint256, uint256]
_announced_guards: HashMap[uint256, uint256]
# account -> limits and weights in force; announced limits | ready_at << 160, and announced weights
_limits: HashMap[uint256, uint256]
_weights: HashMap[uint256, uint256]
_announced_limits: HashMap[uint256, uint256]
_announced_weights: HashMap[uint256, uint256]

# The mandate under way.
_account: transient(uint256)
_payee: transient(uint256)
_hook: transient(address)
_guard: transient(uint256)
_shortfall: transient(uint256)
_has_traded: transient(bool)
_wallet_inflow: transient(uint256)
_cash_steps: transient(uint256)
_donors: transient(DynArray[Donor, MAX_DONORS])
# asset -> units brought in from siblings, reset with the mandate through the ids below
_inflow: transient(HashMap[uint256, uint256])
_inflow_assets: transient(DynArray[uint256, 16])


@deploy
def __init__(
    clearinghouse: address,
    perps: address,
    liquidator: address,
    oracle: address,
    quote_unit_wad: uint256,
    house_owner: address,
):
    """
    @param clearinghouse   May be an address that is yet to be deployed to.
    @param perps           Prices what is settled; may be deployed later.
    @param liquidator      The only contract that may ask for a rescue; may be deployed later.
    @param oracle          Knows which requirements are going to rise.
    @param quote_unit_wad  WAD value of one unit of the quote token.
    @param house_owner     Owner of the house account; may be deployed later.
    """
    CLEARINGHOUSE = clearinghouse
    PERPS = perps
    LIQUIDATOR = liquidator
    ORACLE = oracle
    UNIT_WAD = quote_unit_wad
    HOUSE = packing._account(house_owner, 0)


################################################################
#                          For owners                          #
################################################################


@external
def set_guard(account: uint256, hook: address, guard: IMandates.Guard):
    """@notice Sets hook and guard: tighter at once, looser after an hour."""
    self._check_owner(account)
    word: uint256 = guards._packed(guard)
    current: uint256 = self._guards[account]
    current_hook: address = self._hooks[account]
    is_tighter: bool = hook == current_hook or hook == empty(address)
    if current == 0 or (is_tighter and guards._is_no_looser(word, current)):
        self._put_guard(account, hook, word)
        return
    ready_at: uint256 = block.timestamp + DELAY_S
    self._announced_hooks[account] = convert(hook, uint256) | (ready_at << 160)
    self._announced_guards[account] = word
    log IMandates.GuardAnnounced(account=account, hook=hook, guard_word=word, ready_at=ready_at)


@external
def apply_guard(account: uint256):
    """@notice Puts an announced guard in force."""
    announced: uint256 = self._announced_hooks[account]
    self._require_ready(announced)
    self._put_guard(account, packing._token(announced), self._announced_guards[account])


@external
def set_allocation(account: uint256, allocation: IMandates.Allocation):
    """@notice Says how an account is to be made up: nothing at once, anything after an hour."""
    self._check_owner(account)
    limits: uint256 = 0
    weights: uint256 = 0
    limits, weights = allocations._packed(allocation)
    if self._guards[account] == 0 or (limits == 0 and weights == 0):
        self._put_allocation(account, limits, weights)
        return
    ready_at: uint256 = block.timestamp + DELAY_S
    self._announced_limits[account] = limits | (ready_at << 160)
    self._announced_weights[account] = weights
    log IMandates.AllocationAnnounced(
        account=account, limits_word=limits, weights_word=weights, ready_at=ready_at
    )


@external
def apply_allocation(account: uint256):
    """@notice Puts an announced allocation in force."""
    announced: uint256 = self._announced_limits[account]
    self._require_ready(announced)
    self._put_allocation(account, announced & MASK_160, self._announced_weights[account])


@external
def revoke(account: uint256):
    """@notice Takes hook and guard away at once."""
    self._check_owner(account)
    self._put_guard(account, empty(address), guards.REVOKED)


@external
def arm_budget(budget: IMandates.Budget):
    """@notice Sets the caller's loss budget."""
    budgets._arm(msg.sender, budget)


@external
def set_operator(account: uint256, operator: address, permissions: uint256, expires_at: uint256):
    """@notice Appoints or dismisses an operator of one account."""
    operators._set_operator(account, operator, permissions, expires_at)


################################################################
#                         For keepers                          #
################################################################


# The hook calls back into `move`, `swap` and `pull`, which the lock would refuse; the transient mandate guards it.
@external
@reentrant
def rebalance(account: uint256):
    """@notice One mandate: snapshot, hook, judgement."""
    self._give_mandate(account, packing._account(msg.sender, 0), HOOK_GAS)


# As above.
@external
@reentrant
def rebalance_for(account: uint256, payee: uint256):
    """@notice The same for a contract that sends the calls of others: the hook's pay goes to an account they name."""
    self._give_mandate(account, payee, HOOK_GAS)


# As above.
@external
@reentrant
def rescue(account: uint256):
    """@notice A mandate before a liquidation, with less gas."""
    self._check_liquidator()
    self._give_mandate(account, 0, RESCUE_GAS)


################################################################
#                          For hooks                           #
################################################################


@external
def move(donor: uint256, asset: uint256, amount: uint256):
    """@notice From a donating sibling into the mandated account."""
    self._check_hook()
    account: uint256 = self._account
    self._require_donor(donor, account)
    self._remember(donor)
    extcall IClearinghouse(CLEARINGHOUSE).mandate_transfer(donor, account, asset, amount)
    if asset == QUOTE_ASSET:
        self._cash_steps += 1
    else:
        unit: uint256 = packing._unit_wad(staticcall IClearinghouse(CLEARINGHOUSE).asset_word(asset))
        if self._inflow[asset] == 0:
            self._inflow_assets.append(asset)
        self._inflow[asset] += amount * unit


@external
def swap(adapter: address, asset_in: uint256, asset_out: uint256, amount_in: uint256, min_out: uint256) -> uint256:
    """@notice Sells within the guard's slippage."""
    self._check_hook()
    self._has_traded = True
    self._cash_steps += 1
    return extcall IClearinghouse(CLEARINGHOUSE).mandate_swap(
        self._account, adapter, asset_in, asset_out, amount_in, min_out, guards._slippage_bps(self._guard)
    )


@external
def trade(asset: uint256, size_change: int256) -> uint256:
    """@notice Trades within the guard's slippage, fee included."""
    self._check_hook()
    self._has_traded = True
    acceptable_price: uint256 = 0
    if size_change > 0:
        acceptable_price = max_value(uint256)
    return extcall IClearinghouse(CLEARINGHOUSE).mandate_trade(
        IPerps.Order(
            account=self._account,
            asset=asset,
            size_change=size_change,
            acceptable_price=acceptable_price,
            slippage_bps=guards._slippage_bps(self._guard),
            deadline=block.timestamp,
            reduce_only=False,
        )
    )


@external
def settle(asset: uint256):
    """@notice Pays out a gain of the mandated account."""
    self._check_hook()
    self._cash_steps += 1
    extcall IPerps(PERPS).settle_in_mandate(self._account, asset)


@external
def pull(amount: uint256):
    """@notice Tops up from the wallet: never more than the shortfall, rounded up to a token unit."""
    self._check_hook()
    account: uint256 = self._account
    pulled: uint256 = self._wallet_inflow + amount * UNIT_WAD
    self._require_within_shortfall(pulled, self._shortfall)
    self._wallet_inflow = pulled
    self._cash_steps += 1
    budgets._count_pull(account, self._guard, amount * UNIT_WAD)
    extcall IClearinghouse(CLEARINGHOUSE).mandate_pull(account, amount)


@external
def pay(payer: uint256, amount: uint256):
    """@notice Pays whoever had the account rebalanced, out of its own cash or a donating sibling's."""
    self._check_hook()
    account: uint256 = self._account
    payee: uint256 = self._payee
    self._require_payee(payee)
    if payer != account:
        self._require_donor(payer, account)
        self._remember(payer)
    self._cash_steps += 1
    extcall IClearinghouse(CLEARINGHOUSE).mandate_transfer(payer, payee, QUOTE_ASSET, amount)
    log IMandates.KeeperPaid(account=account, payer=payer, payee=payee, amount=amount)


################################################################
#                            Views                             #
################################################################


@external
@view
def snapshot(account: uint256) -> IMandates.Snapshot:
    """@notice An account as its guard sees it."""
    return self._picture(account, self._guards[account])


@external
@view
def permissions_of(account: uint256, operator: address) -> uint256:
    """@notice What an operator may do now."""
    return operators._permissions_of(account, operator)


@external
@view
def hook_of(account: uint256) -> address:
    """@notice The hook in force."""
    return self._hooks[account]


@external
@view
def guard_of(account: uint256) -> IMandates.Guard:
    """@notice The guard in force."""
    return guards._unpacked(self._guards[account])


@external
@view
def guard_word(account: uint256) -> uint256:
    """@notice The guard in force, packed."""
    word: uint256 = self._guards[account]
    if word == guards.REVOKED:
        return 0
    return word


@external
@view
def allocation_of(account: uint256) -> IMandates.Allocation:
    """@notice The allocation in force."""
    return allocations._unpacked(self._limits[account], self._weights[account])


@external
@view
def allocation_words(account: uint256) -> (uint256, uint256):
    """@notice The allocation in force, packed."""
    return self._limits[account], self._weights[account]


@external
@view
def announced_allocation(account: uint256) -> (uint256, uint256, uint256):
    """@notice What was announced and from when it can be applied."""
    announced: uint256 = self._announced_limits[account]
    return announced & MASK_160, self._announced_weights[account], announced >> 160


@external
@view
def announced_guard(account: uint256) -> (address, uint256, uint256):
    """@notice What was announced and from when it can be applied."""
    announced: uint256 = self._announced_hooks[account]
    return packing._token(announced), self._announced_guards[account], announced >> 160


@external
@view
def budget_left(owner: address) -> uint256:
    """@notice What mandates may lose now."""
    return budgets._left(owner)


@external
@view
def budget_of(owner: address) -> IMandates.Budget:
    """@notice The budget as armed."""
    return budgets._budget_of(owner)


@external
@view
def wallet_left(account: uint256) -> uint256:
    """@notice What mandates may pull in this period."""
    return budgets._wallet_left(account, self._guards[account])


################################################################
#                          The tests                           #
################################################################


@internal
@view
def _judge_account(before: IMandates.Snapshot, after: IMandates.Snapshot, guard_word: uint256):
    """
    @dev Test 2 for the mandated account: shortfall, exposures, overshoot. An exposure grows, and an account above its
         target trades, only where the allocation asks for it.
    """
    self._require_shortfall(self._shortfall_up(after, guard_word), self._shortfall)
    limits: uint256 = 0
    weights: uint256 = 0
    measure: allocations.Measure = empty(allocations.Measure)
    if guards._allocates(guard_word):
        limits = self._limits[self._account]
        weights = self._weights[self._account]
        measure = allocations._measure_change(before, after)
    for leg: IMandates.Leg in after.legs:
        has_grown: bool = False
        is_held: bool = False
        has_grown, is_held = self._growth(self._position_of(before.legs, leg.asset), leg)
        if has_grown:
            self._require_no_growth(
                self._has_traded and allocations._may_grow(limits, weights, leg, measure, before.required_init, is_held)
            )
    if not self._has_traded:
        return
    most_bps: uint256 = guards._target_bps(guard_word) + guards._band_bps(guard_word)
    most: uint256 = fixed_point._mul_div_up(after.required_init, most_bps, fixed_point.BPS)
    if after.equity_init <= convert(most, int256):
        return
    # What shrank has to be no smaller than the allocation wants it.
    self._require_no_overshoot(limits != 0 or weights != 0)
    for old: IMandates.Leg in before.legs:
        leg: IMandates.Leg = old
        leg.position = self._position_of(after.legs, old.asset)
        if fixed_point._abs(self._delta(leg.position)) < fixed_point._abs(self._delta(old.position)):
            self._require_no_overshoot(allocations._is_above_a_limit(limits, weights, leg, measure))


@internal
@view
def _growth(position_before: uint256, leg: IMandates.Leg) -> (bool, bool):
    """
    @dev Whether an exposure grew, and whether there was one on this side already. No growth is |D'| <= |D| + inflow with the
         same sign or zero, and R' <= R + inflow p (r + l) plus a wei of rounding. What was not there before had no
         exposure; what did not move did not grow, for marks stay.
    """
    if position_before == leg.position:
        return False, True
    price: uint256 = packing._newest_wad(leg.price_word)
    terms: margin.Terms = margin._terms(leg.position, 0, 0, price, leg.risk_word)
    terms_before: margin.Terms = margin._terms(position_before, 0, 0, price, leg.risk_word)
    delta: int256 = self._delta(leg.position)
    delta_before: int256 = self._delta(position_before)
    is_held: bool = delta_before != 0 and (delta > 0) == (delta_before > 0)
    required: uint256 = terms_before.required_init + 1
    inflow: uint256 = self._inflow[leg.asset]
    if inflow != 0:
        rate_e6: uint256 = packing._rate_init_e6(leg.risk_word)
        required += fixed_point._mul_div_up(
            inflow * price, rate_e6, fixed_point.WAD * fixed_point.RATE
        )
    delta_before += convert(inflow, int256)
    is_flipped: bool = (delta > 0 and delta_before < 0) or (delta < 0 and delta_before > 0)
    is_grown: bool = fixed_point._abs(delta) > fixed_point._abs(delta_before)
    return is_flipped or is_grown or terms.required_init > required, is_held


@internal
def _judge_donor(donor: Donor) -> int256:
    """@dev Both tests for a donor; returns the equity it gave."""
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity_init, required_init, equity_maint, required_maint = self._assess(donor.account)
    self._require_no_weaker(
        donor.excess_init,
        donor.excess_maint,
        self._excess(equity_init, required_init),
        self._excess(equity_maint, required_maint),
    )
    guard_word: uint256 = self._guards[donor.account]
    if guards._anticipates(guard_word):
        picture: IMandates.Snapshot = self._picture(donor.account, guard_word)
        equity_init = picture.equity_init
        required_init = picture.required_init
    least: uint256 = fixed_point._mul_div_up(required_init, guards._floor_bps(guard_word), fixed_point.BPS)
    self._require_floor(equity_init, least)
    return donor.equity_maint - equity_maint


################################################################
#                        Inside a mandate                      #
################################################################


@internal
def _give_mandate(account: uint256, payee: uint256, hook_gas: uint256):
    """@dev Snapshot, hook, both tests."""
    self._check_no_mandate()
    hook: address = self._hooks[account]
    self._require_hook(hook)
    guard_word: uint256 = self._guards[account]
    extcall IClearinghouse(CLEARINGHOUSE).open_mandate(account)
    before: IMandates.Snapshot = self._picture(account, guard_word)
    excess_init: int256 = self._excess(before.equity_init, before.required_init)
    excess_maint: int256 = self._excess(before.equity_maint, before.required_maint)
    if guards._anticipates(guard_word):
        excess_init, excess_maint = self._excesses(account)
    self._account = account
    self._payee = payee
    self._hook = hook
    self._guard = guard_word
    self._shortfall = self._shortfall_up(before, guard_word)

    self._call_hook(hook, hook_gas, account, guard_word, before)
    self._hook = empty(address)

    after: IMandates.Snapshot = self._picture(account, guard_word)
    rounding: int256 = ROUNDING_UNITS * convert(self._cash_steps * UNIT_WAD, int256)
    excess_init_after: int256 = self._excess(after.equity_init, after.required_init)
    excess_maint_after: int256 = self._excess(after.equity_maint, after.required_maint)
    if guards._anticipates(guard_word):
        excess_init_after, excess_maint_after = self._excesses(account)
    self._require_no_weaker(
        excess_init - rounding, excess_maint - rounding, excess_init_after, excess_maint_after
    )
    self._judge_account(before, after, guard_word)
    lost: int256 = before.equity_maint + convert(self._wallet_inflow, int256) - after.equity_maint
    for donor: Donor in self._donors:
        lost += self._judge_donor(donor)
    loss: uint256 = 0
    if lost > rounding:
        loss = convert(lost, uint256)
    left: uint256 = budgets._spend(packing._owner(account), loss)
    self._reset()
    extcall IClearinghouse(CLEARINGHOUSE).close_mandate()
    log IMandates.Rebalanced(
        account=account,
        hook=hook,
        caller=msg.sender,
        equity_before=before.equity_init,
        required_before=before.required_init,
        equity_after=after.equity_init,
        required_after=after.required_init,
        loss=loss,
        budget_left=left,
    )


@internal
def _call_hook(
    hook: address, hook_gas: uint256, account: uint256, guard_word: uint256, before: IMandates.Snapshot
):
    """
    @dev A bounded call with a bounded answer; a revert comes back with the hook's own reason. The hook gets all of its
         gas or is not called, so that a caller cannot starve it half-way.
    """
    self._require_gas(msg.gas, hook_gas)
    success: bool = False
    response: Bytes[128] = b""
    success, response = raw_call(
        hook,
        abi_encode(account, guard_word, before, method_id=ON_MANDATE),
        max_outsize=128,
        gas=hook_gas,
        revert_on_failure=False,
    )
    if not success:
        self._require_reason(len(response))
        raw_revert(response)


@internal
@view
def _picture(account: uint256, guard_word: uint256) -> IMandates.Snapshot:
    """@dev An account as its guard sees it, which may anticipate requirements that are going to rise."""
    oracle: address = empty(address)
    if guards._anticipates(guard_word):
        oracle = ORACLE
    return pictures._snapshot(CLEARINGHOUSE, HOUSE, account, oracle)


@internal
@view
def _excesses(account: uint256) -> (int256, int256):
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity_init, required_init, equity_maint, required_maint = self._assess(account)
    return self._excess(equity_init, required_init), self._excess(equity_maint, required_maint)


@internal
@view
def _assess(account: uint256) -> (int256, uint256, int256, uint256):
    """@dev The four integers at the requirements of now, which the protocol's test compares."""
    return staticcall IClearinghouse(CLEARINGHOUSE).assess(account)


@internal
def _remember(account: uint256):
    """@dev The donor as it was before its first move, at marks that stay."""
    for known: Donor in self._donors:
        if known.account == account:
            return
    extcall IClearinghouse(CLEARINGHOUSE).latch(account)
    equity_init: int256 = 0
    required_init: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity_init, required_init, equity_maint, required_maint = self._assess(account)
    self._require_few_donors(len(self._donors))
    self._donors.append(
        Donor(
            account=account,
            excess_init=self._excess(equity_init, required_init),
            excess_maint=self._excess(equity_maint, required_maint),
            equity_maint=equity_maint,
        )
    )


@internal
def _reset():
    """@dev Transient words outlive the call; the next mandate of this transaction must find none of them."""
    self._account = 0
    self._payee = 0
    self._guard = 0
    self._shortfall = 0
    self._has_traded = False
    self._wallet_inflow = 0
    self._cash_steps = 0
    self._donors = []
    for asset: uint256 in self._inflow_assets:
        self._inflow[asset] = 0
    self._inflow_assets = []


@internal
def _put_guard(account: uint256, hook: address, guard_word: uint256):
    """@dev An announcement still waiting is withdrawn; the word says which allocation it stands beside."""
    word: uint256 = guard_word
    if word != guards.REVOKED:
        word = guards._with_allocation(word, self._limits[account], self._weights[account])
    self._hooks[account] = hook
    self._guards[account] = word
    self._announced_hooks[account] = 0
    self._announced_guards[account] = 0
    log IMandates.GuardChanged(account=account, hook=hook, guard_word=word)


@internal
def _put_allocation(account: uint256, limits: uint256, weights: uint256):
    """@dev As for a guard."""
    self._limits[account] = limits
    self._weights[account] = weights
    self._announced_limits[account] = 0
    self._announced_weights[account] = 0
    word: uint256 = self._guards[account]
    if word != 0 and word != guards.REVOKED:
        self._guards[account] = guards._with_allocation(word, limits, weights)
    log IMandates.AllocationChanged(account=account, limits_word=limits, weights_word=weights)


@internal
@pure
def _shortfall_up(picture: IMandates.Snapshot, guard_word: uint256) -> uint256:
    """@dev S = max(0, t R_init - E_init), the wanted equity rounded up."""
    wanted: uint256 = fixed_point._mul_div_up(
        picture.required_init, guards._target_bps(guard_word), fixed_point.BPS
    )
    return convert(max(convert(wanted, int256) - picture.equity_init, 0), uint256)


@internal
@pure
def _excess(equity: int256, required: uint256) -> int256:
    return equity - convert(required, int256)


@internal
@pure
def _position_of(legs: DynArray[IMandates.Leg, 16], asset: uint256) -> uint256:
    for leg: IMandates.Leg in legs:
        if leg.asset == asset:
            return leg.position
    return 0


@internal
@pure
def _delta(position: uint256) -> int256:
    return convert(packing._collateral_wad(position), int256) + packing._size_wad(position)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_owner(account: uint256):
    if msg.sender != packing._owner(account):
        reasons._fail("mandates: only the owner")


@internal
@view
def _check_hook():
    if msg.sender != self._hook:
        reasons._fail("mandates: only the hook at work")


@internal
@view
def _check_liquidator():
    if msg.sender != LIQUIDATOR:
        reasons._fail("mandates: only the liquidator")


@internal
@view
def _check_no_mandate():
    if self._account != 0:
        reasons._fail("mandates: mandate under way")


@internal
@pure
def _require_hook(hook: address):
    if hook == empty(address):
        reasons._fail("mandates: account has no hook")


@internal
@view
def _require_ready(announced: uint256):
    ready_at: uint256 = announced >> 160
    if ready_at == 0 or block.timestamp < ready_at:
        reasons._fail("mandates: nothing to apply yet")


@internal
@view
def _require_donor(donor: uint256, account: uint256):
    """@dev A sibling whose own guard has a floor; by default none has."""
    is_sibling: bool = donor >> 8 == account >> 8 and donor != account
    if not is_sibling or guards._floor_bps(self._guards[donor]) == 0:
        reasons._fail("mandates: not a donor")


@internal
@pure
def _require_payee(payee: uint256):
    """@dev In a rescue nobody: the liquidator pays there."""
    if payee == 0:
        reasons._fail("mandates: nobody to pay")


@internal
@pure
def _require_few_donors(count: uint256):
    if count == MAX_DONORS:
        reasons._fail("mandates: too many donors")


@internal
@view
def _require_within_shortfall(pulled: uint256, shortfall: uint256):
    if pulled >= shortfall + UNIT_WAD:
        reasons._fail("mandates: pull above shortfall")


@internal
@pure
def _require_shortfall(after: uint256, before: uint256):
    if after > before:
        reasons._fail("mandates: shortfall grew")


@internal
@pure
def _require_no_overshoot(keeps_to_allocation: bool):
    if not keeps_to_allocation:
        reasons._fail("mandates: above target and band")


@internal
@pure
def _require_floor(equity: int256, least: uint256):
    if equity < convert(least, int256):
        reasons._fail("mandates: donor below its floor")


@internal
@pure
def _require_gas(gas_left: uint256, hook_gas: uint256):
    """@dev A call passes on at most 63/64 of what is left, less what the call itself costs."""
    if gas_left * 63 // 64 <= hook_gas + 10_000:
        reasons._fail("mandates: gas too low")


@internal
@pure
def _require_reason(length: uint256):
    if length == 0:
        reasons._fail("mandates: hook failed")


@internal
@pure
def _require_no_weaker(excess_init: int256, excess_maint: int256, after_init: int256, after_maint: int256):
    """@dev Test 1: at initial margin afterwards, or neither excess fell (by more than what rounding may take)."""
    if after_init < 0 and (after_init < excess_init or after_maint < excess_maint):
        reasons._fail("mandates: account left weaker")


@internal
@pure
def _require_no_growth(is_allocated: bool):
    if not is_allocated:
        reasons._fail("mandates: exposure grew")
