# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Liquidator
@license MIT
@author  Ballast contributors
@notice  What happens when an account's margin fails, from the mildest to the last: its own hook is called to rescue it, the
         smallest slice that cures it changes hands at a discount, and insurance, house and lenders bear what it cannot.
@dev     No discretion: who may be liquidated, how much is taken and what is paid follow from the ledger and the oracle.
         Rooms: `breaches` since when, `discounts` how much, `slices` what, `takings` how it changes hands, `cover` within
         which caps. Assumptions:
         1. The ledger moves exactly what it is told and tests the taker.
         2. A hook may be hostile: it gets a fixed amount of gas, and what it did counts only if the account is at initial
            margin afterwards; it can neither veto nor tax.
         3. The insurance fund is a cash account of `Insurance`; here only deficits take from it.
@custom:invariant I12 I13 I34 I35 I36 I47 I48
@custom:kill  Nothing to stop: it acts only on accounts below maintenance.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILendingVault
from contracts.interfaces import ILiquidator
from contracts.interfaces import ILiquidityVault
from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.modules import breaches
from contracts.modules import cover
from contracts.modules import discounts
from contracts.modules import fixed_point
from contracts.modules import operators
from contracts.modules import packing
from contracts.modules import pictures
from contracts.modules import reasons
from contracts.modules import rooms
from contracts.modules import slices
from contracts.modules import takings
from contracts.modules import token_units
from ethereum.ercs import IERC4626
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: ILiquidator

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: rooms
initializes: breaches
initializes: cover
initializes: token_units
initializes: takings[cover := cover, rooms := rooms]

exports: (
    ownable.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

# What a rescue gets, all or nothing: the hook's gas, and the reading of sixteen assets before and after it.
RESCUE_GAS: constant(uint256) = 2_600_000
IS_TRIGGERED: constant(Bytes[4]) = method_id("is_triggered(uint256)")
TRIGGER_GAS: constant(uint256) = 500_000
# Who holds the lending vault's exits has lost it more than this part.
HOLD_BPS: constant(int256) = 1


@deploy
def __init__(
    clearinghouse: address,
    perps: address,
    mandates: address,
    vault: address,
    quote_unit_wad: uint256,
    insurance: address,
    house_owner: address,
    terms: ILiquidator.Terms,
):
    """
    @param clearinghouse   The ledger.
    @param perps           Prices and counts what is closed.
    @param mandates        Where an account's hook is called.
    @param vault           Lending vault.
    @param quote_unit_wad  WAD of a unit of the quote token.
    @param insurance       Owner of the insurance fund; may be deployed later.
    @param house_owner     Owner of the house account, the liquidity vault; may be deployed later.
    @param terms           Terms of liquidation.
    """
    ownable.__init__()
    ownable_2step.__init__()
    rooms.__init__(clearinghouse, perps, mandates, vault, quote_unit_wad, insurance, house_owner)
    cover._set_terms(terms)


################################################################
#                        For liquidators                       #
################################################################


@external
def liquidate(account: uint256, taker: uint256, expected_state: bytes32) -> uint256:
    """@notice The account's own hook first, then the smallest slice that cures it."""
    self._check_taker(account, taker)
    self._check_idle()
    self._require_account(account)
    self._require_no_increase(account)
    picture: IMandates.Snapshot = pictures._snapshot(rooms.CLEARINGHOUSE, rooms.HOUSE, account, empty(address))
    equity: int256 = picture.equity_maint
    required: uint256 = picture.required_maint
    self._require_below(self._is_below(equity, required))
    marks: uint256 = 0
    for leg: IMandates.Leg in picture.legs:
        marks |= leg.price_word
    self._require_takeable(packing._flags(marks), self._is_deep(equity, required))
    if expected_state != empty(bytes32):
        self._require_state(expected_state, self._state_of(account, picture.legs))
    if self._is_rescued(account, taker, equity, required):
        return 0
    self._require_no_increase(taker)
    part: slices.Slice = self._slice(account, picture)
    if part.deficit_wad != 0:
        # Once what the account cannot bear has been brought in it can pay for its own liquidation.
        claims: uint256 = takings._cover(account, part.deficit_wad)
        forgiven: uint256[16] = takings._forgive(account, picture.legs, claims)
        for i: uint256 in range(len(part.holdings), bound=16):
            part.flow_wad += convert(forgiven[i], int256)
            part.holdings[i].cost_wad -= convert(forgiven[i], int256)
    for i: uint256 in range(len(part.holdings), bound=16):
        holding: IClearinghouse.Holding = part.holdings[i]
        if holding.size_wad != 0 or holding.cost_wad != 0:
            part.holdings[i] = takings._with_entries(account, taker, picture.legs[i], holding)
    takings._take(account, taker, part.holdings)
    fee: uint256 = takings._pay(account, taker, part.fee_wad, part.flow_wad, part.fraction_wad == fixed_point.WAD)
    extcall IClearinghouse(rooms.CLEARINGHOUSE).check_initial(taker)
    self._mark(account, False, False)
    if equity < 0:
        self._forget_bad_debt(account)
    log ILiquidator.Liquidated(
        account=account,
        taker=taker,
        caller=msg.sender,
        fraction_wad=part.fraction_wad,
        equity_wad=equity,
        required_wad=required,
        bonus_wad=part.bonus_wad,
        fee_wad=fee,
    )
    return part.fraction_wad


@external
def flag(account: uint256) -> uint256:
    """@notice Records since when an account is in breach; a large loss holds the lenders' exits."""
    self._check_idle()
    self._require_account(account)
    picture: IMandates.Snapshot = pictures._snapshot(rooms.CLEARINGHOUSE, rooms.HOUSE, account, empty(address))
    is_below: bool = self._is_below(picture.equity_maint, picture.required_maint)
    self._mark(account, is_below, is_below or self._is_triggered(account))
    if is_below and breaches._is_hold_due(account):
        exit: uint256 = 0
        for leg: IMandates.Leg in picture.legs:
            exit += discounts._exit_wad(leg.position, leg.price_word, leg.risk_word)
        discount: uint256 = self._discount_wad(account, picture.equity_maint, picture.required_maint, exit)
        self._hold(account, picture.equity_maint - convert(discount, int256))
    return breaches._below_since(account)


# This contract holds the lock when it calls itself here.
@external
@reentrant
def rescue(account: uint256):
    """@notice The account's hook brings it to initial margin, or nothing happened."""
    self._check_self(msg.sender, self)
    extcall IMandates(rooms.MANDATES).rescue(account)
    self._require_rescued(self._excess_init(account))


@external
def learn_unit(asset: uint256):
    """@notice Remembers the unit of a listed token, so that liquidations need not ask for it."""
    token_units._learn(asset, packing._unit_wad(staticcall IClearinghouse(rooms.CLEARINGHOUSE).asset_word(asset)))


@external
def collect_fees() -> uint256:
    """@notice Brings the fund's part of trading fees in from the house."""
    self._check_idle()
    free: uint256 = convert(max(self._excess_init(rooms.HOUSE), 0), uint256)
    fees: uint256 = extcall IPerps(rooms.PERPS).take_insurance_fees(free)
    takings._transfer_some(rooms.HOUSE, rooms.INSURANCE, fees)
    return fees


################################################################
#                         The governor                         #
################################################################


@external
def set_terms(terms: ILiquidator.Terms):
    """@notice Changes the terms of liquidation."""
    ownable._check_owner()
    cover._set_terms(terms)


################################################################
#                            Views                             #
################################################################


@external
@view
def preview(account: uint256) -> ILiquidator.Preview:
    """@notice What `liquidate` would do now, were there no rescue."""
    picture: IMandates.Snapshot = pictures._snapshot(rooms.CLEARINGHOUSE, rooms.HOUSE, account, empty(address))
    part: slices.Slice = empty(slices.Slice)
    if account != rooms.HOUSE and self._is_below(picture.equity_maint, picture.required_maint):
        part = self._slice(account, picture)
    return ILiquidator.Preview(
        equity_wad=picture.equity_maint,
        required_wad=picture.required_maint,
        discount_wad=part.discount_wad,
        fraction_wad=part.fraction_wad,
        bonus_wad=part.bonus_wad,
        fee_wad=part.fee_wad,
        flow_wad=part.flow_wad,
        deficit_wad=part.deficit_wad,
        is_rescue_due=part.fraction_wad != 0
        and self._is_rescue_due(account, picture.equity_maint, picture.required_maint),
    )


@external
@view
def state_of(account: uint256) -> bytes32:
    """@notice A fingerprint of what an account holds and owes."""
    picture: IMandates.Snapshot = pictures._snapshot(rooms.CLEARINGHOUSE, rooms.HOUSE, account, empty(address))
    return self._state_of(account, picture.legs)


# A hook that `flag` asks may ask back.
@external
@view
@reentrant
def flagged_since(account: uint256) -> (uint256, uint256):
    """@notice Since when an account is flagged below maintenance, and triggered."""
    return breaches._below_since(account), breaches._triggered_since(account)


@external
@view
def drawn_today(account: uint256) -> (uint256, uint256, uint256):
    """@notice What insurance paid today for an account, for all, and what the house bore."""
    return (
        cover._today(cover._by_account[account]), cover._today(cover._by_insurance), cover._today(cover._by_house)
    )


@external
@view
def terms() -> ILiquidator.Terms:
    """@notice The terms in force."""
    return cover._terms()


################################################################
#                         A liquidation                        #
################################################################


@internal
@view
def _slice(account: uint256, picture: IMandates.Snapshot) -> slices.Slice:
    """
    @dev What is taken is what there was less what rests; of a leg that is taken whole only a gain left behind rests. The
         bonus is all of the discount where everything is taken, else its part, down.
    """
    actions: uint256 = cover._actions
    exit: uint256 = 0
    gains: uint256 = 0
    for leg: IMandates.Leg in picture.legs:
        exit += discounts._exit_wad(leg.position, leg.price_word, leg.risk_word)
        # Without a perpetual or an unpaid result of one there is none.
        if leg.position >> 128 != 0 or leg.cost != 0:
            gains += slices._gain_wad(leg)
    discount: uint256 = self._discount_wad(account, picture.equity_maint, picture.required_maint, exit)
    part: slices.Slice = slices.Slice(
        discount_wad=discount,
        fraction_wad=discounts._fraction_wad(
            picture.equity_maint,
            picture.required_maint,
            discount,
            cover._target_bps(actions),
            cover._dust_wad(actions),
        ),
        value_wad=picture.equity_maint - picture.cash,
        bonus_wad=discount,
        fee_wad=0,
        deficit_wad=0,
        flow_wad=0,
        holdings=[],
    )
    rest: int256 = picture.equity_maint - convert(discount, int256)
    # Gains that the house cannot pay now stay behind, in the order of the list.
    left: uint256 = 0
    if gains != 0:
        left = min(gains - min(gains, takings._cash_wad(rooms.HOUSE)), convert(max(rest, 0), uint256))
    is_whole: bool = part.fraction_wad == fixed_point.WAD
    required: uint256 = 0
    for leg: IMandates.Leg in picture.legs:
        kept: uint256 = 0
        if left != 0:
            kept = min(slices._gain_wad(leg), left)
            left -= kept
        unit: uint256 = 1
        if not is_whole and leg.position & packing.MASK_128 != 0:
            unit = self._unit_wad(leg.asset)
        holding: IClearinghouse.Holding = slices._part(leg, unit, part.fraction_wad, kept)
        part.holdings.append(holding)
        if is_whole:
            part.value_wad -= convert(kept, int256)
            continue
        equity_rest: int256 = 0
        required_rest: uint256 = 0
        equity_rest, required_rest = slices._rest(leg, holding)
        part.value_wad -= equity_rest
        required += required_rest
    if not is_whole:
        # Where the hedge of a unit cannot be split, what rests may require more than all did.
        freed: uint256 = picture.required_maint - min(picture.required_maint, required)
        part.bonus_wad = discount * freed // picture.required_maint
    if rest < 0:
        part.deficit_wad = convert(-rest, uint256)
    elif rest > 0:
        part.fee_wad = part.bonus_wad * cover._insurance_bps(actions) // fixed_point.BPS
    part.flow_wad = part.value_wad - convert(part.bonus_wad, int256)
    return part


@internal
@view
def _discount_wad(account: uint256, equity: int256, required: uint256, exit_wad: uint256) -> uint256:
    elapsed: uint256 = 0
    since: uint256 = breaches._below_since(account)
    if since != 0:
        elapsed = block.timestamp - since
    return discounts._discount_wad(equity, required, exit_wad, elapsed, cover._ramp_s(cover._actions))


@internal
def _forget_bad_debt(account: uint256):
    """@dev The house counts no bad debt any more for an account that is cured."""
    liquidity: address = packing._owner(rooms.HOUSE)
    if staticcall ILiquidityVault(liquidity).bad_debt_of(account) != 0:
        extcall ILiquidityVault(liquidity).flag_bad_debt(account)


################################################################
#                            Rescue                            #
################################################################


@internal
def _is_rescued(account: uint256, payee: uint256, equity: int256, required: uint256) -> bool:
    """
    @dev The hook's turn, as a captured call with a fixed amount of gas. Whoever called is paid out of what the account has
         beyond initial margin then, as far as it has cash or may borrow it.
    """
    if not self._is_rescue_due(account, equity, required):
        return False
    self._require_gas(RESCUE_GAS)
    breaches._count_rescue(account)
    success: bool = raw_call(
        self, abi_encode(account, method_id=method_id("rescue(uint256)")), gas=RESCUE_GAS, revert_on_failure=False
    )
    if not success:
        log ILiquidator.RescueFailed(account=account)
        return False
    actions: uint256 = cover._actions
    pay: uint256 = required * cover._rescue_pay_bps(actions) // fixed_point.BPS
    pay = min(pay, cover._rescue_pay_cap_wad(actions))
    # A loan comes in whole units, and its shares round up.
    pay = min(pay, convert(max(self._excess_init(account) - 2 * convert(rooms.UNIT_WAD, int256), 0), uint256))
    loan: uint256 = staticcall ILendingVault(rooms.VAULT).max_loan() * rooms.UNIT_WAD
    pay = min(pay, takings._cash_wad(account) + loan)
    pay -= pay % rooms.UNIT_WAD
    takings._transfer_some(account, payee, pay)
    self._mark(account, False, False)
    log ILiquidator.Rescued(account=account, caller=msg.sender, pay_wad=pay)
    return True


@internal
@view
def _is_rescue_due(account: uint256, equity: int256, required: uint256) -> bool:
    """@dev Not below half of maintenance, and not again within ten minutes."""
    if self._is_deep(equity, required) or not breaches._is_rescue_due(account):
        return False
    return staticcall IMandates(rooms.MANDATES).hook_of(account) != empty(address)


@internal
@view
def _is_triggered(account: uint256) -> bool:
    """@dev What the account's own hook says; one that does not answer is not triggered."""
    hook: address = staticcall IMandates(rooms.MANDATES).hook_of(account)
    if hook == empty(address):
        return False
    self._require_gas(TRIGGER_GAS)
    success: bool = False
    response: Bytes[32] = b""
    success, response = raw_call(
        hook,
        abi_encode(account, method_id=IS_TRIGGERED),
        max_outsize=32,
        gas=TRIGGER_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    return success and len(response) == 32 and convert(response, uint256) == 1


################################################################
#                            Exits                             #
################################################################


@internal
def _hold(account: uint256, rest: int256):
    """@dev Lenders wait where more than a basis point of what is theirs is missing once the discount is paid."""
    assets: uint256 = staticcall IERC4626(rooms.VAULT).totalAssets() * rooms.UNIT_WAD
    if -rest * 10_000 <= convert(assets, int256) * HOLD_BPS:
        return
    until: uint256 = block.timestamp + breaches.HOLD_S
    breaches._hold(account)
    extcall ILendingVault(rooms.VAULT).hold_exits(until)
    log ILiquidator.ExitsHeld(account=account, until=until)


@internal
def _mark(account: uint256, is_below: bool, is_triggered: bool):
    """@dev Exits open when the last account that held them is cured."""
    if breaches._mark(account, is_below, is_triggered):
        extcall ILendingVault(rooms.VAULT).hold_exits(0)
        log ILiquidator.ExitsHeld(account=account, until=0)


################################################################
#                           Readings                           #
################################################################


@internal
@pure
def _is_below(equity: int256, required: uint256) -> bool:
    return equity < convert(required, int256)


@internal
@pure
def _is_deep(equity: int256, required: uint256) -> bool:
    """@dev Below half of maintenance."""
    return self._is_below(2 * equity, required)


@internal
@view
def _excess_init(account: uint256) -> int256:
    equity: int256 = 0
    required: uint256 = 0
    equity_maint: int256 = 0
    required_maint: uint256 = 0
    equity, required, equity_maint, required_maint = staticcall IClearinghouse(rooms.CLEARINGHOUSE).assess(account)
    return equity - convert(required, int256)


@internal
@view
def _state_of(account: uint256, legs: DynArray[IMandates.Leg, 16]) -> bytes32:
    state: bytes32 = keccak256(convert(staticcall IClearinghouse(rooms.CLEARINGHOUSE).account_word(account), bytes32))
    for leg: IMandates.Leg in legs:
        state = keccak256(abi_encode(state, leg.asset, leg.position, leg.cost))
    return state


@internal
@view
def _unit_wad(asset: uint256) -> uint256:
    known: uint256 = token_units._unit_wad(asset)
    if known != 0:
        return known
    return packing._unit_wad(staticcall IClearinghouse(rooms.CLEARINGHOUSE).asset_word(asset))


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_idle():
    if staticcall IClearinghouse(rooms.CLEARINGHOUSE).call_state() != 0:
        reasons._fail("liquidator: clearinghouse busy")


@internal
@view
def _check_taker(account: uint256, taker: uint256):
    """@dev Nobody liquidates himself by name; under two names it brings nothing (T31)."""
    if taker >> 8 == account >> 8:
        reasons._fail("liquidator: own account")
    operators._check_permission(rooms.MANDATES, msg.sender, taker, operators.MAY_LIQUIDATE)


@internal
@pure
def _check_self(caller: address, this: address):
    if caller != this:
        reasons._fail("liquidator: only itself")


@internal
@view
def _require_account(account: uint256):
    """@dev One number for an account, or its flags and caps could be had twice."""
    if account == rooms.HOUSE or account >= 2**168:
        reasons._fail("liquidator: not for the house")


@internal
@view
def _require_no_increase(account: uint256):
    if staticcall IClearinghouse(rooms.CLEARINGHOUSE).increased_at(account) == block.timestamp:
        reasons._fail("liquidator: risk just increased")


@internal
@pure
def _require_below(is_below: bool):
    if not is_below:
        reasons._fail("liquidator: account is healthy")


@internal
@pure
def _require_takeable(flags: uint256, is_deep: bool):
    """
    @dev A position of a market that has ended is worth its result at the latch, and anybody may book that. While the chain
         was down, and for a while after, owners could do nothing; what is deep endangers lenders.
    """
    if flags & packing.HAS_ENDED != 0:
        reasons._fail("liquidator: wind it down first")
    if flags & packing.OWNERS_FIRST != 0 and not is_deep:
        reasons._fail("liquidator: owners first")


@internal
@pure
def _require_state(expected: bytes32, state: bytes32):
    if expected != state:
        reasons._fail("liquidator: account changed")


@internal
@view
def _require_gas(needed: uint256):
    """@dev A call passes on at most 63/64 of what is left, less what comes before it."""
    if msg.gas * 63 // 64 <= needed + 30_000:
        reasons._fail("liquidator: gas too low")


@internal
@pure
def _require_rescued(excess: int256):
    if excess < 0:
        reasons._fail("liquidator: not rescued")
