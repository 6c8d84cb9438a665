# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize codesize
# pragma evm-version cancun
"""
@title   Clearinghouse
@license MIT
@author  Ballast contributors
@notice  The ledger of every account, and the margin test each increase of risk must pass. Collateral, cash and
         loans of an account stand under one equation; what lowers risk is always allowed.
@dev     Holds all collateral and all positive cash. Trusts the oracle for prices and rates, the lending vault
         for the debt index, the mandates contract to run the owner's tests; trusts no caller, no token, no
         venue. Rooms: `collaterals` what may be held, `ledger` who holds what, `cash` loans, `health` the margin
         test, `perpetuals` what `Perps` has priced, `swaps` one asset for another, `operators` who may act, `calls`
         what is under way.
@custom:invariant I01 I11 I18 I19 I23 I24 I25
@custom:kill  Set supply caps to zero and forbid the adapters: nothing new enters, repayment and withdrawal go on.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IListings
from contracts.interfaces import IPerps
from contracts.modules import asset_list
from contracts.modules import calls
from contracts.modules import cash
from contracts.modules import collaterals
from contracts.modules import health
from contracts.modules import ledger
from contracts.modules import margin
from contracts.modules import operators
from contracts.modules import packing
from contracts.modules import perpetuals
from contracts.modules import reasons
from contracts.modules import safe_token
from contracts.modules import swaps
from ethereum.ercs import IERC20

implements: IClearinghouse

initializes: calls
initializes: collaterals
initializes: ledger
initializes: cash[ledger := ledger, collaterals := collaterals]
initializes: health[calls := calls, cash := cash, ledger := ledger]
initializes: perpetuals[calls := calls, cash := cash, health := health, ledger := ledger]
initializes: swaps[calls := calls, cash := cash, ledger := ledger, collaterals := collaterals]

MAX_ACTIONS: constant(uint256) = 16
DEPOSIT: constant(uint256) = 1
WITHDRAW: constant(uint256) = 2
REPAY: constant(uint256) = 3
TRANSFER: constant(uint256) = 4
SWAP: constant(uint256) = 5
TRADE: constant(uint256) = 6
# Bits of a trade action's `asset_out`.
IS_SALE: constant(uint256) = 1
IS_REDUCTION: constant(uint256) = 2

MANDATES: immutable(address)
LISTINGS: immutable(address)
LIQUIDATOR: immutable(address)


@deploy
def __init__(
    quote: address,
    oracle: address,
    vault: address,
    mandates: address,
    listings: address,
    perps: address,
    exchange: address,
    liquidator: address,
    house_owner: address,
):
    """
    @param quote        Token of cash, loans and prices.
    @param oracle       Risk oracle.
    @param vault        Lending vault of the quote token.
    @param mandates     The only contract that may open a mandate.
    @param listings     The only contract that may write listings.
    @param perps        The only contract that may price trades; may be deployed later.
    @param exchange     The only contract that bounds and sends swaps.
    @param liquidator   The only contract that may take from an account; may be deployed later.
    @param house_owner  Owner of the house account, the liquidity vault; may be deployed later.
    """
    calls.__init__(oracle)
    collaterals.__init__(quote)
    cash.__init__(vault)
    ledger.__init__(packing._account(house_owner, 0))
    perpetuals.__init__(perps)
    swaps.__init__(exchange)
    MANDATES = mandates
    LISTINGS = listings
    LIQUIDATOR = liquidator


################################################################
#                          For owners                          #
################################################################


@external
def deposit(account: uint256, asset: uint256, amount: uint256):
    """@notice Adds tokens of the caller to an account; checks no price."""
    calls._open(calls.ACTING, False)
    self._deposit(account, asset, amount)
    calls._close()


@external
def withdraw(account: uint256, asset: uint256, amount: uint256, receiver: address):
    """@notice Takes tokens out of an account, borrowing cash that is not there."""
    calls._open(calls.ACTING, False)
    self._withdraw(account, asset, amount, receiver)
    health._check_initial(account)
    calls._close()


@external
def repay(account: uint256, max_amount: uint256) -> uint256:
    """@notice Pays a loan down; anyone, always."""
    calls._open(calls.ACTING, False)
    paid: uint256 = self._repay(account, max_amount)
    calls._close()
    return paid


@external
def transfer(donor: uint256, receiver: uint256, asset: uint256, amount: uint256):
    """@notice Moves an amount between two accounts of one owner."""
    calls._open(calls.ACTING, False)
    self._transfer(donor, receiver, asset, amount)
    health._check_initial(donor)
    calls._close()


@external
def swap(
    account: uint256, adapter: address, asset_in: uint256, asset_out: uint256, amount_in: uint256, min_out: uint256
) -> uint256:
    """@notice Sells one asset of an account for another."""
    calls._open(calls.ACTING, True)
    amount_out: uint256 = 0
    is_safer: bool = False
    amount_out, is_safer = self._swap(account, adapter, asset_in, asset_out, amount_in, min_out)
    if not is_safer:
        health._check_initial(account)
    calls._close()
    return amount_out


@external
def batch(actions: DynArray[IClearinghouse.Action, MAX_ACTIONS]):
    """
    @notice Several actions, each account's margin check once at the end.
    @dev    Only what is not by itself less or equally risky defers a check, so an account below its initial
            margin can still repay, add and sell in a batch. An account emptied on the way is still checked.
    """
    calls._open(calls.BATCH, True)
    for action: IClearinghouse.Action in actions:
        self._act(action)
    self._check_pending()
    calls._close()


################################################################
#                          For perps                           #
################################################################


# Perps prices the trade while this call is under way: it holds no lock of its own, and this ledger's state word is busy.
@external
def trade(actor: address, order: IPerps.Order, is_forced: bool) -> uint256:
    """@notice Has a trade priced and books it."""
    self._check_sender(perpetuals.PERPS)
    calls._open(calls.ACTING, True)
    price: uint256 = 0
    is_safer: bool = False
    if not is_forced:
        operators._check_permission(MANDATES, actor, order.account, operators.MAY_TRADE)
    price, is_safer = perpetuals._trade(order)
    if not is_safer and not is_forced:
        health._check_initial(order.account)
    calls._close()
    return price


@external
def settle(account: uint256, asset: uint256, result_wad: int256, most_wad: uint256, is_unasked: bool) -> int256:
    """@notice Turns the result of a perpetual into cash."""
    self._check_sender(perpetuals.PERPS)
    state_before: uint256 = calls._act_between()
    moved: int256 = perpetuals._settle(account, asset, result_wad, most_wad, is_unasked)
    calls._acted(state_before)
    return moved


@external
def set_market(asset: uint256, market_word: uint256):
    """@notice Writes the funding of a market."""
    self._check_sender(perpetuals.PERPS)
    calls._check_state(calls.IDLE)
    ledger._markets[asset] = market_word


################################################################
#                       For the liquidator                     #
################################################################


@external
def take(donor: uint256, receiver: uint256, holdings: DynArray[IClearinghouse.Holding, asset_list.MAX_ASSETS]):
    """@notice Moves holdings in place."""
    self._check_sender(LIQUIDATOR)
    calls._check_state(calls.IDLE)
    for holding: IClearinghouse.Holding in holdings:
        ledger._take(donor, receiver, holding)


@external
def pay(payer: uint256, payee: uint256, amount_wad: uint256) -> (uint256, uint256, uint256):
    """@notice Moves cash, borrowing what the payer has not."""
    self._check_sender(LIQUIDATOR)
    calls._open(calls.ACTING, False)
    cash._accrue()
    payer_word: uint256 = cash._debit_wad(payer, amount_wad, self, True)
    payee_word: uint256 = cash._credit_wad(payee, amount_wad)
    calls._close()
    return payer_word, payee_word, cash._index_ray


@external
def move_debt(debtor: uint256, heir: uint256, shares: uint256):
    """@notice Moves loan shares to another account, or off the books."""
    self._check_sender(LIQUIDATOR)
    calls._check_state(calls.IDLE)
    cash._move_debt(debtor, heir, shares)


@external
def check_initial(account: uint256):
    """@notice Reverts below initial margin."""
    health._passes_initial(account)


################################################################
#                         For mandates                         #
################################################################


@external
def open_mandate(account: uint256):
    """@notice Opens a mandate for an account and fixes its marks."""
    self._check_sender(MANDATES)
    calls._open(calls.MANDATE, True)
    cash._accrue()
    health._latch(account)


@external
def latch(account: uint256):
    """@notice Fixes the marks of a sibling before it is touched."""
    self._check_mandate()
    health._latch(account)


@external
def mandate_transfer(donor: uint256, receiver: uint256, asset: uint256, amount: uint256):
    """
    @notice Moves cash or collateral between siblings; no borrowing.
    @dev    The donor passes the increase test like any owner who takes from an account: at the worse of two prices and
            without what a stale asset lends, or a mandate could carry away what a withdrawal could not.
    """
    self._check_mandate()
    if asset == collaterals.QUOTE_ASSET:
        ledger._require_balance(cash._available_wad(donor), ledger._to_wad(collaterals.QUOTE_WORD, amount))
    self._move(donor, receiver, asset, amount)
    health._check_initial(donor)


@external
def mandate_swap(
    account: uint256,
    adapter: address,
    asset_in: uint256,
    asset_out: uint256,
    amount_in: uint256,
    min_out: uint256,
    slippage_bps: uint256,
) -> uint256:
    """
    @notice Sells what the account has, bounded by the guard's slippage too; no borrowing.
    @dev    A swap that is not by itself less or equally risky has its check when the mandate closes.
    """
    self._check_mandate()
    amount_out: uint256 = 0
    is_safer: bool = False
    amount_out, is_safer = swaps._swap(
        swaps.Order(
            account=account,
            adapter=adapter,
            asset_in=asset_in,
            asset_out=asset_out,
            amount_in=amount_in,
            min_out=min_out,
            slippage_bps=slippage_bps,
            may_borrow=False,
        )
    )
    if not is_safer:
        calls._defer_check(account)
    return amount_out


@external
def mandate_trade(order: IPerps.Order) -> uint256:
    """@notice A trade inside a mandate."""
    self._check_mandate()
    return self._trade(order)


@external
def mandate_pull(account: uint256, amount: uint256):
    """@notice Tops an account up from its owner's wallet."""
    self._check_mandate()
    self._deposit_from(packing._owner(account), account, collaterals.QUOTE_ASSET, amount)


@external
def close_mandate():
    """@notice Ends the mandate."""
    self._check_mandate()
    self._check_pending()
    calls._close()


################################################################
#                            Views                             #
################################################################


@external
@view
def assess(account: uint256) -> (int256, uint256, int256, uint256):
    """@notice Equity and requirement at initial, then at maintenance."""
    total: margin.Terms = health._assess(account)
    return total.equity_init, total.required_init, total.equity_maint, total.required_maint


@external
@view
def picture_of(account: uint256) -> (int256, DynArray[uint256, 50], DynArray[uint256, 32]):
    """@notice Cash, words and marks of an account; inside a mandate its fixed marks."""
    listed: uint256 = ledger._lists[account]
    marks: DynArray[uint256, 32] = calls._marks(listed)
    return cash._net_wad(ledger._account_words[account]), self._words(account, listed), marks


# The vaults and the oracle must learn that a call is under way while it is: a locked getter would only revert.
@external
@view
@reentrant
def call_state() -> uint256:
    """@notice 0 idle, 1 batch, 2 mandate, 3 inside a token or an adapter."""
    return calls._state


@external
@view
def account_word(account: uint256) -> uint256:
    """@notice cash_wad | debt_shares."""
    return packing._balances(ledger._account_words[account])


@external
@view
def increased_at(account: uint256) -> uint256:
    """@notice When the account last passed the test of an increase."""
    return packing._increased_at(ledger._account_words[account])


@external
@view
def position_word(account: uint256, asset: uint256) -> uint256:
    """@notice collateral_wad | size_wad."""
    return ledger._position(account, asset)


@external
@view
def words_of(account: uint256) -> DynArray[uint256, 50]:
    """@notice Account word, asset list, positions, then cost and market of each perpetual."""
    return self._words(account, ledger._lists[account])


@external
@view
def scene_of(account: uint256, asset: uint256) -> IPerps.Scene:
    """@notice A position with cost, market and mark."""
    return perpetuals._scene(account, asset)


@external
@view
def cost_word(account: uint256, asset: uint256) -> uint256:
    """@notice cost_wad | entry_wad."""
    return ledger._costs[(account << 8) | asset]


@external
@view
def market_word(asset: uint256) -> uint256:
    """@notice funding_wad | rate_wad | touched_at."""
    return ledger._markets[asset]


@external
@view
def listed_word(account: uint256) -> uint256:
    """@notice The asset list of an account."""
    return ledger._lists[account]


@external
@view
def asset_word(asset: uint256) -> uint256:
    """@notice token | unit_wad | swap_limit_bps."""
    if asset == collaterals.QUOTE_ASSET:
        return collaterals.QUOTE_WORD
    return collaterals._words[asset]


@external
@view
def supply_word(asset: uint256) -> uint256:
    """@notice total_wad | supply_cap_wad."""
    return collaterals._supplies[asset]


################################################################
#                         For listings                         #
################################################################


@external
def set_asset(asset: uint256, asset_word: uint256, supply_cap_wad: uint256):
    """@notice Writes a listing."""
    self._check_sender(LISTINGS)
    collaterals._set_asset(asset, asset_word, supply_cap_wad)


################################################################
#                           Actions                            #
################################################################


@internal
def _act(action: IClearinghouse.Action):
    """@dev Deposit and repay never defer a check; everything else may."""
    if action.kind == DEPOSIT:
        self._deposit(action.account, action.asset, action.amount)
    elif action.kind == WITHDRAW:
        self._withdraw(action.account, action.asset, action.amount, action.target)
        calls._defer_check(action.account)
    elif action.kind == REPAY:
        self._repay(action.account, action.amount)
    elif action.kind == TRANSFER:
        self._transfer(action.account, action.other, action.asset, action.amount)
        calls._defer_check(action.account)
    elif action.kind == TRADE:
        operators._check_permission(MANDATES, msg.sender, action.account, operators.MAY_TRADE)
        ledger._require_amount(action.amount)
        size_change: int256 = convert(action.amount, int256)
        if action.asset_out & IS_SALE != 0:
            size_change = -size_change
        self._trade(
            IPerps.Order(
                account=action.account,
                asset=action.asset,
                size_change=size_change,
                acceptable_price=action.min_out,
                slippage_bps=max_value(uint256),
                deadline=action.other,
                reduce_only=action.asset_out & IS_REDUCTION != 0,
            )
        )
    else:
        self._require_kind(action.kind)
        amount_out: uint256 = 0
        is_safer: bool = False
        amount_out, is_safer = self._swap(
            action.account, action.target, action.asset, action.asset_out, action.amount, action.min_out
        )
        if not is_safer:
            calls._defer_check(action.account)


@internal
def _trade(order: IPerps.Order) -> uint256:
    """@dev With its check deferred."""
    price: uint256 = 0
    is_safer: bool = False
    price, is_safer = perpetuals._trade(order)
    if not is_safer:
        calls._defer_check(order.account)
    return price


@internal
def _check_pending():
    """@dev The checks that were deferred, once for each account."""
    for account: uint256 in calls._pending:
        health._check_initial(account)
    calls._pending = []


@internal
def _deposit(account: uint256, asset: uint256, amount: uint256):
    """@dev A stranger cannot fill someone's list, nor unbalance a hedge: only cash and collateral already there."""
    if asset != collaterals.QUOTE_ASSET and packing._collateral_wad(ledger._position(account, asset)) == 0:
        operators._check_permission(MANDATES, msg.sender, account, operators.MAY_DEPOSIT)
    self._deposit_from(msg.sender, account, asset, amount)


@internal
def _deposit_from(payer: address, account: uint256, asset: uint256, amount: uint256):
    ledger._require_account(account)
    asset_word: uint256 = collaterals._word(asset)
    amount_wad: uint256 = ledger._to_wad(asset_word, amount)
    safe_token._pull(IERC20(packing._token(asset_word)), payer, amount)
    word: uint256 = 0
    if asset == collaterals.QUOTE_ASSET:
        word = cash._credit(account, amount)
    else:
        word = ledger._add_collateral(account, asset, amount_wad)
        collaterals._count_in(asset, amount_wad)
    log IClearinghouse.Deposited(account=account, asset=asset, payer=payer, amount=amount, word=word)


@internal
def _withdraw(account: uint256, asset: uint256, amount: uint256, receiver: address):
    """@dev The margin check is the caller's, after this. Tokens never go to the zero address or to this ledger."""
    operators._check_permission(MANDATES, msg.sender, account, operators.MAY_WITHDRAW)
    self._require_receiver(account, receiver)
    asset_word: uint256 = collaterals._word(asset)
    amount_wad: uint256 = ledger._to_wad(asset_word, amount)
    word: uint256 = 0
    taken_wad: uint256 = amount_wad
    if asset == collaterals.QUOTE_ASSET:
        taken_wad = min(amount_wad, cash._available_wad(account))
        if account == ledger.HOUSE:
            ledger._require_balance(taken_wad, amount_wad)
            taken_wad = 0
        word = cash._debit(account, amount, receiver)
    else:
        word = ledger._remove_collateral(account, asset, amount_wad)
        collaterals._count_out(asset, amount_wad)
        safe_token._push(IERC20(packing._token(asset_word)), receiver, amount)
    if taken_wad != 0:
        extcall IListings(LISTINGS).count_out(asset, asset_word, taken_wad)
    log IClearinghouse.Withdrawn(account=account, asset=asset, receiver=receiver, amount=amount, word=word)


@internal
def _repay(account: uint256, max_amount: uint256) -> uint256:
    ledger._require_nonzero(max_amount)
    paid: uint256 = cash._repay_from(account, msg.sender, max_amount)
    if paid != 0:
        log IClearinghouse.Deposited(
            account=account,
            asset=collaterals.QUOTE_ASSET,
            payer=msg.sender,
            amount=paid,
            word=packing._balances(ledger._account_words[account]),
        )
    return paid


@internal
def _transfer(donor: uint256, receiver: uint256, asset: uint256, amount: uint256):
    operators._check_permission(MANDATES, msg.sender, donor, operators.MAY_TRANSFER)
    self._require_siblings(donor, receiver)
    self._move(donor, receiver, asset, amount)


@internal
def _move(donor: uint256, receiver: uint256, asset: uint256, amount: uint256):
    asset_word: uint256 = collaterals._word(asset)
    amount_wad: uint256 = ledger._to_wad(asset_word, amount)
    donor_word: uint256 = 0
    receiver_word: uint256 = 0
    if asset == collaterals.QUOTE_ASSET:
        donor_word = cash._debit(donor, amount, self)
        receiver_word = cash._credit(receiver, amount)
    else:
        donor_word = ledger._remove_collateral(donor, asset, amount_wad)
        receiver_word = ledger._add_collateral(receiver, asset, amount_wad)
    log IClearinghouse.Transferred(
        donor=donor,
        receiver=receiver,
        asset=asset,
        amount=amount,
        donor_word=donor_word,
        receiver_word=receiver_word,
    )


@internal
def _swap(
    account: uint256, adapter: address, asset_in: uint256, asset_out: uint256, amount_in: uint256, min_out: uint256
) -> (uint256, bool):
    operators._check_permission(MANDATES, msg.sender, account, operators.MAY_SWAP)
    return swaps._swap(
        swaps.Order(
            account=account,
            adapter=adapter,
            asset_in=asset_in,
            asset_out=asset_out,
            amount_in=amount_in,
            min_out=min_out,
            slippage_bps=max_value(uint256),
            may_borrow=True,
        )
    )


@internal
@view
def _words(account: uint256, listed: uint256) -> DynArray[uint256, 50]:
    words: DynArray[uint256, 50] = [ledger._account_words[account] & packing.MASK_224, listed]
    count: uint256 = (listed >> asset_list.COUNT_SHIFT) & 255
    ids: uint256 = listed
    for _: uint256 in range(count, bound=asset_list.MAX_ASSETS):
        words.append(ledger._positions[(account << 8) | (ids & 255)])
        ids = ids >> 8
    ids = listed
    carries: uint256 = listed >> asset_list.PERPETUALS_SHIFT
    for _: uint256 in range(count, bound=asset_list.MAX_ASSETS):
        if carries == 0:
            break
        if carries & 1 != 0:
            words.append(ledger._costs[(account << 8) | (ids & 255)])
            words.append(ledger._markets[ids & 255])
        ids = ids >> 8
        carries = carries >> 1
    return words


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_sender(room: address):
    if msg.sender != room:
        reasons._fail("clearinghouse: not yours to call")


@internal
@view
def _check_mandate():
    self._check_sender(MANDATES)
    calls._check_state(calls.MANDATE)


@internal
@view
def _require_receiver(account: uint256, receiver: address):
    owner: address = packing._owner(account)
    if receiver == empty(address) or receiver == self or (msg.sender != owner and receiver != owner):
        reasons._fail("clearinghouse: bad receiver")


@internal
@pure
def _require_siblings(donor: uint256, receiver: uint256):
    if donor >> 8 != receiver >> 8 or donor == receiver:
        reasons._fail("clearinghouse: not a sibling")


@internal
@pure
def _require_kind(kind: uint256):
    if kind != SWAP:
        reasons._fail("clearinghouse: unknown action")
