# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize codesize
# pragma evm-version cancun
"""
@title   Mandates
@license MIT
@author  Ballast contributors
@notice  Who may act for an account and how far: operators with their permissions, and hooks with guards and budgets.
         Opens a mandate for an account's hook, lets it act, and judges the result.
@dev     Holds no money. The clearing house accepts mandate calls from this contract alone and keeps every mark
         fixed from opening to closing, so what is compared was measured at one set of prices. Rooms: `appointments`
         hooks and guards, `operators` and `budgets`, `judgement` the two tests; here is the call between them.
         Assumptions:
         1. A hook may be hostile and belong to the owner or to the caller; only the two tests are believed.
         2. A sibling is touched only by giving cash or collateral to the mandated account.
@custom:invariant I14 I15 I16 I17 I50
@custom:kill  An owner revokes the guard of an account; nothing here acts for it any more.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILendingVault
from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.modules import allocations
from contracts.modules import appointments
from contracts.modules import budgets
from contracts.modules import guards
from contracts.modules import judgement
from contracts.modules import margin
from contracts.modules import operators
from contracts.modules import packing
from contracts.modules import pictures
from contracts.modules import reasons

implements: IMandates

initializes: appointments
initializes: budgets
initializes: judgement[appointments := appointments]
initializes: operators

exports: judgement.CLEARINGHOUSE

# on_mandate(account, guard_word, picture), the picture as the struct it is.
ON_MANDATE: constant(Bytes[4]) = method_id(
    "on_mandate(uint256,uint256,(int256,uint256,int256,uint256,int256,(uint256,uint256,int256,int256,uint256,uint256)[]))"
)
HOOK_GAS: constant(uint256) = 6_000_000
# A rescue is paid for by whoever liquidates: a sale or a move, and no more.
RESCUE_GAS: constant(uint256) = 1_800_000
QUOTE_ASSET: constant(uint256) = 0

PERPS: public(immutable(address))
LIQUIDATOR: public(immutable(address))
VAULT: immutable(address)

# The mandate under way.
_account: transient(uint256)
_payee: transient(uint256)
_hook: transient(address)
_guard: transient(uint256)


@deploy
def __init__(
    clearinghouse: address,
    perps: address,
    liquidator: address,
    oracle: address,
    vault: address,
    quote_unit_wad: uint256,
    house_owner: address,
):
    """
    @param clearinghouse   May be an address that is yet to be deployed to.
    @param perps           Prices what is settled; may be deployed later.
    @param liquidator      The only contract that may ask for a rescue; may be deployed later.
    @param oracle          Knows which requirements are going to rise.
    @param vault           Says what a loan comes to.
    @param quote_unit_wad  WAD value of one unit of the quote token.
    @param house_owner     Owner of the house account; may be deployed later.
    """
    judgement.__init__(clearinghouse, oracle, quote_unit_wad, packing._account(house_owner, 0))
    PERPS = perps
    LIQUIDATOR = liquidator
    VAULT = vault


################################################################
#                          For owners                          #
################################################################


@external
def set_guard(account: uint256, hook: address, guard: IMandates.Guard):
    """@notice Sets hook and guard: tighter at once, looser after an hour."""
    appointments._set_guard(account, hook, guard)


@external
def apply_guard(account: uint256):
    """@notice Puts an announced guard in force."""
    appointments._apply_guard(account)


@external
def set_allocation(account: uint256, allocation: IMandates.Allocation):
    """@notice Says how an account is to be made up: nothing at once, anything after an hour."""
    appointments._set_allocation(account, allocation)


@external
def apply_allocation(account: uint256):
    """@notice Puts an announced allocation in force."""
    appointments._apply_allocation(account)


@external
def revoke(account: uint256):
    """@notice Takes hook and guard away at once."""
    appointments._revoke(account)


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
    # The caller's account of number 0, in place: a local variable here would lie above the memory of all the rest.
    self._give_mandate(account, convert(msg.sender, uint256) << 8, HOOK_GAS)


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
    judgement._require_donor(donor, account)
    judgement._remember(donor)
    extcall IClearinghouse(judgement.CLEARINGHOUSE).mandate_transfer(donor, account, asset, amount)
    if asset == QUOTE_ASSET:
        judgement._cash_steps += 1
    else:
        unit: uint256 = packing._unit_wad(staticcall IClearinghouse(judgement.CLEARINGHOUSE).asset_word(asset))
        judgement._count_inflow(asset, amount * unit)


@external
def swap(adapter: address, asset_in: uint256, asset_out: uint256, amount_in: uint256, min_out: uint256) -> uint256:
    """@notice Sells within the guard's slippage."""
    self._check_hook()
    judgement._has_traded = True
    judgement._cash_steps += 1
    return extcall IClearinghouse(judgement.CLEARINGHOUSE).mandate_swap(
        self._account, adapter, asset_in, asset_out, amount_in, min_out, guards._slippage_bps(self._guard)
    )


@external
def trade(asset: uint256, size_change: int256) -> uint256:
    """@notice Trades within the guard's slippage, fee included."""
    self._check_hook()
    judgement._has_traded = True
    acceptable_price: uint256 = 0
    if size_change > 0:
        acceptable_price = max_value(uint256)
    return extcall IClearinghouse(judgement.CLEARINGHOUSE).mandate_trade(
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
    judgement._cash_steps += 1
    extcall IPerps(PERPS).settle_in_mandate(self._account, asset)


@external
def pull(amount: uint256):
    """@notice Tops up from the wallet: never more than the shortfall, rounded up to a token unit."""
    self._check_hook()
    account: uint256 = self._account
    amount_wad: uint256 = amount * judgement.UNIT_WAD
    judgement._count_pull(amount_wad)
    budgets._count_pull(account, self._guard, amount_wad)
    extcall IClearinghouse(judgement.CLEARINGHOUSE).mandate_pull(account, amount)


@external
def pay(payer: uint256, amount: uint256):
    """@notice Pays whoever had the account rebalanced, out of its own cash or a donating sibling's."""
    self._check_hook()
    account: uint256 = self._account
    payee: uint256 = self._payee
    self._require_payee(payee)
    if payer != account:
        judgement._require_donor(payer, account)
        judgement._remember(payer)
    judgement._cash_steps += 1
    extcall IClearinghouse(judgement.CLEARINGHOUSE).mandate_transfer(payer, payee, QUOTE_ASSET, amount)
    log IMandates.KeeperPaid(account=account, payer=payer, payee=payee, amount=amount)


################################################################
#                            Views                             #
################################################################


@external
@view
def snapshot(account: uint256) -> IMandates.Snapshot:
    """@notice An account as its guard sees it."""
    oracle: address = judgement._oracle_of(appointments._guards[account])
    return pictures._snapshot(judgement.CLEARINGHOUSE, judgement.HOUSE, account, oracle)


@external
@view
def permissions_of(account: uint256, operator: address) -> uint256:
    """@notice What an operator may do now."""
    return operators._permissions_of(account, operator)


@external
@view
def hook_of(account: uint256) -> address:
    """@notice The hook in force."""
    return appointments._hooks[account]


@external
@view
def guard_of(account: uint256) -> IMandates.Guard:
    """@notice The guard in force."""
    return guards._unpacked(appointments._guards[account])


@external
@view
def guard_word(account: uint256) -> uint256:
    """@notice The guard in force, packed."""
    return appointments._guard_word(account)


@external
@view
def allocation_of(account: uint256) -> IMandates.Allocation:
    """@notice The allocation in force."""
    return allocations._unpacked(appointments._limits[account], appointments._weights[account])


@external
@view
def allocation_words(account: uint256) -> (uint256, uint256):
    """@notice The allocation in force, packed."""
    return appointments._limits[account], appointments._weights[account]


@external
@view
def announced_allocation(account: uint256) -> (uint256, uint256, uint256):
    """@notice What was announced and from when it can be applied."""
    return appointments._announced_allocation(account)


@external
@view
def announced_guard(account: uint256) -> (address, uint256, uint256):
    """@notice What was announced and from when it can be applied."""
    return appointments._announced_guard(account)


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
    return budgets._wallet_left(account, appointments._guards[account])


################################################################
#                        Inside a mandate                      #
################################################################


@internal
def _give_mandate(account: uint256, payee: uint256, hook_gas: uint256):
    """@dev Snapshot, hook, both tests."""
    self._check_no_mandate()
    hook: address = appointments._hooks[account]
    self._require_hook(hook)
    guard_word: uint256 = appointments._guards[account]
    extcall IClearinghouse(judgement.CLEARINGHOUSE).open_mandate(account)
    oracle: address = judgement._oracle_of(guard_word)
    before: IMandates.Snapshot = pictures._snapshot(judgement.CLEARINGHOUSE, judgement.HOUSE, account, oracle)
    excess_init: int256 = 0
    excess_maint: int256 = 0
    excess_init, excess_maint = judgement._excesses_of(
        account, guard_word, before.equity_init, before.required_init, before.equity_maint, before.required_maint
    )
    self._account = account
    self._payee = payee
    self._hook = hook
    self._guard = guard_word
    judgement._shortfall = judgement._shortfall_up(before.equity_init, before.required_init, guard_word)

    self._call_hook(hook, hook_gas, account, guard_word, before)
    self._hook = empty(address)

    # The house's rates go with its positions, and other assets have other places: then everything is valued anew.
    words: DynArray[uint256, 50] = staticcall IClearinghouse(judgement.CLEARINGHOUSE).words_of(account)
    after: IMandates.Snapshot = before
    after.cash = self._net_wad(words[0])
    is_known: bool = False
    sums: margin.Terms = empty(margin.Terms)
    is_known, sums = pictures._later(before, words, after.cash)
    if is_known and account != judgement.HOUSE:
        after.equity_init = sums.equity_init
        after.required_init = sums.required_init
        after.equity_maint = sums.equity_maint
        after.required_maint = sums.required_maint
        # Costs and fundings stay as they were: nothing that is still asked of a leg depends on them.
        for i: uint256 in range(len(before.legs), bound=16):
            after.legs[i].position = words[2 + i]
    else:
        after = pictures._snapshot(judgement.CLEARINGHOUSE, judgement.HOUSE, account, oracle)
    rounding: int256 = judgement._rounding()
    excess_init_after: int256 = 0
    excess_maint_after: int256 = 0
    excess_init_after, excess_maint_after = judgement._excesses_of(
        account, guard_word, after.equity_init, after.required_init, after.equity_maint, after.required_maint
    )
    judgement._require_no_weaker(
        excess_init - rounding, excess_maint - rounding, excess_init_after, excess_maint_after
    )
    limits: uint256 = 0
    weights: uint256 = 0
    measure: allocations.Measure = empty(allocations.Measure)
    if guards._allocates(guard_word):
        limits = appointments._limits[account]
        weights = appointments._weights[account]
        measure = allocations._measure_change(before, after)
    judgement._judge_account(
        guard_word,
        limits,
        weights,
        measure,
        before.required_init,
        before.legs,
        after.equity_init,
        after.required_init,
        after.legs,
    )
    lost: int256 = before.equity_maint - after.equity_maint + judgement._inflow_of_all()
    loss: uint256 = 0
    if lost > rounding:
        loss = convert(lost, uint256)
    left: uint256 = budgets._spend(packing._owner(account), loss)
    self._reset()
    extcall IClearinghouse(judgement.CLEARINGHOUSE).close_mandate()
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
def _net_wad(account_word: uint256) -> int256:
    """@dev Cash less debt as the ledger has it: it accrued when the mandate was opened, in this second."""
    net: int256 = convert(packing._cash_wad(account_word), int256)
    shares: uint256 = packing._debt_shares(account_word)
    if shares != 0:
        net -= convert(staticcall ILendingVault(VAULT).debt_of(shares) * judgement.UNIT_WAD, int256)
    return net


@internal
def _reset():
    """@dev As in `judgement`: nothing of it may be there for the next mandate of this transaction."""
    self._account = 0
    self._payee = 0
    self._guard = 0
    judgement._reset()


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
@pure
def _require_payee(payee: uint256):
    """@dev In a rescue nobody: the liquidator pays there."""
    if payee == 0:
        reasons._fail("mandates: nobody to pay")


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
