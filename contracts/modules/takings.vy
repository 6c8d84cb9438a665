# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Takings
@license MIT
@author  Ballast contributors
@notice  How a slice changes hands: holdings in place, what is paid for them, and who bears what an account cannot.
@dev     Only these functions use the rights that the liquidator has in the ledger. Everything that moves is said in an
         event with the words it leaves behind.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import ILendingVault
from contracts.interfaces import ILiquidator
from contracts.interfaces import IMandates
from contracts.interfaces import IPerps
from contracts.modules import cover
from contracts.modules import fixed_point
from contracts.modules import markets
from contracts.modules import packing
from contracts.modules import rooms
from contracts.modules import slices

uses: cover
uses: rooms

RAY: constant(uint256) = 10**27


################################################################
#                             Cash                             #
################################################################


@internal
def _transfer_some(payer: uint256, payee: uint256, amount_wad: uint256):
    if amount_wad != 0:
        self._transfer(payer, payee, amount_wad)


@internal
def _transfer(payer: uint256, payee: uint256, amount_wad: uint256) -> (uint256, uint256):
    """@dev Returns what the payer has in cash afterwards, and the loan index."""
    payer_word: uint256 = 0
    payee_word: uint256 = 0
    index_ray: uint256 = 0
    payer_word, payee_word, index_ray = extcall IClearinghouse(rooms.CLEARINGHOUSE).pay(payer, payee, amount_wad)
    log ILiquidator.CashPaid(
        payer=payer, payee=payee, amount_wad=amount_wad, payer_word=payer_word, payee_word=payee_word
    )
    return packing._cash_wad(payer_word), index_ray


@internal
@view
def _cash_wad(account: uint256) -> uint256:
    """@dev What an account can pay without a loan."""
    return packing._cash_wad(staticcall IClearinghouse(rooms.CLEARINGHOUSE).account_word(account))


@internal
def _move_debt(debtor: uint256, heir: uint256, most_wad: uint256) -> uint256:
    """
    @dev Debt of one account becomes another's, or is written off, up to `most_wad` in whole token units up. Shares round
         up too, so that the debtor is never left with more than it owed less that. Returns WAD.
    """
    if most_wad == 0:
        return 0
    word: uint256 = staticcall IClearinghouse(rooms.CLEARINGHOUSE).account_word(debtor)
    held: uint256 = packing._debt_shares(word)
    if held == 0:
        return 0
    index_ray: uint256 = extcall ILendingVault(rooms.VAULT).accrue()
    owed: uint256 = fixed_point._mul_div_up(held, index_ray, RAY)
    units: uint256 = min(fixed_point._div_up(most_wad, rooms.UNIT_WAD), owed)
    shares: uint256 = held
    if units != owed:
        shares = min(held, fixed_point._mul_div_up(units, RAY, index_ray))
    extcall IClearinghouse(rooms.CLEARINGHOUSE).move_debt(debtor, heir, shares)
    if heir == 0:
        extcall ILendingVault(rooms.VAULT).write_off(shares)
    log ILiquidator.DebtMoved(debtor=debtor, heir=heir, shares=shares)
    return units * rooms.UNIT_WAD


@internal
def _pay(account: uint256, taker: uint256, fee: uint256, flow: int256, is_whole: bool) -> uint256:
    """
    @dev The fee, then what the slice costs (> 0) or brings the taker. Insurance comes first, out of cash or a loan; where
         the vault has nothing to lend it goes without. The taker pays with his cash, then by taking over the account's
         debt, which needs no token and no lender, and only then with a loan. His cash may be one repayment, which leaves up
         to a loan share too much: he pays its worth as well. What is left of a debt whose account keeps nothing goes with the
         slice. Returns the fee that was paid.
    """
    index_ray: uint256 = 0
    cash: uint256 = self._cash_wad(taker)
    paid: uint256 = fee
    if fee > cash:
        paid = min(fee, cash + staticcall ILendingVault(rooms.VAULT).max_loan() * rooms.UNIT_WAD)
    if paid != 0:
        cash, index_ray = self._transfer(taker, rooms.INSURANCE, paid)
    if flow < 0:
        self._transfer_some(account, taker, min(convert(-flow, uint256), self._cash_wad(account)))
    elif flow > 0:
        if index_ray == 0:
            index_ray = extcall ILendingVault(rooms.VAULT).accrue()
        left: uint256 = convert(flow, uint256) + fixed_point._div_up(index_ray, RAY) * rooms.UNIT_WAD
        from_cash: uint256 = min(left, cash)
        self._transfer_some(taker, account, from_cash)
        left -= from_cash
        left -= min(left, self._move_debt(account, taker, left))
        self._transfer_some(taker, account, left)
    if is_whole and self._move_debt(account, taker, max_value(uint256)) != 0:
        # Of nothing to himself: his cash repays what he owes beside it.
        self._transfer(taker, taker, 0)
    return paid


################################################################
#                           Holdings                           #
################################################################


@internal
def _take(account: uint256, taker: uint256, holdings: DynArray[IClearinghouse.Holding, 16]):
    extcall IClearinghouse(rooms.CLEARINGHOUSE).take(account, taker, holdings)
    log ILiquidator.HoldingsTaken(account=account, taker=taker, holdings=holdings)


@internal
def _with_entries(
    account: uint256, taker: uint256, leg: IMandates.Leg, holding_: IClearinghouse.Holding
) -> IClearinghouse.Holding:
    """
    @dev Entry values afterwards: the owner's shrinks with his position, the taker has traded at the newest price. Where he
         held the other side, both sides of the market have less open.
    """
    holding: IClearinghouse.Holding = holding_
    size: int256 = packing._size_wad(leg.position)
    if size != holding.size_wad:
        entry: int256 = self._entry_wad(account, leg.asset)
        holding.donor_entry_wad = fixed_point._div_zero_signed(entry * (size - holding.size_wad), size)
    position: uint256 = staticcall IClearinghouse(rooms.CLEARINGHOUSE).position_word(taker, leg.asset)
    held: int256 = packing._size_wad(position)
    holding.receiver_entry_wad = self._entry_wad(taker, leg.asset)
    if holding.size_wad != 0:
        holding.receiver_entry_wad = markets._entry_wad(
            held,
            holding.receiver_entry_wad,
            held + holding.size_wad,
            holding.size_wad,
            convert(packing._newest_wad(leg.price_word), int256),
        )
        if held != 0 and (held > 0) != (holding.size_wad > 0):
            both: uint256 = min(fixed_point._abs(held), fixed_point._abs(holding.size_wad))
            extcall IPerps(rooms.PERPS).offset(leg.asset, both)
    return holding


@internal
@view
def _entry_wad(account: uint256, asset: uint256) -> int256:
    return packing._entry_wad(staticcall IClearinghouse(rooms.CLEARINGHOUSE).cost_word(account, asset))


################################################################
#                           Deficits                           #
################################################################


@internal
def _cover(account: uint256, need_wad: uint256) -> uint256:
    """
    @dev What a discount costs beyond an account's equity comes in here, in this order: insurance and the house pay cash
         within their caps, lenders lose what is still owed to them, and what is left, which is returned, the house could
         only have claimed from the account.
    """
    insurance: uint256 = cover._draw_insurance(account, need_wad, self._cash_wad(rooms.INSURANCE))
    self._transfer_some(rooms.INSURANCE, account, insurance)
    house: uint256 = 0
    if insurance != need_wad:
        equity: int256 = 0
        required: uint256 = 0
        equity_maint: int256 = 0
        required_maint: uint256 = 0
        equity, required, equity_maint, required_maint = staticcall IClearinghouse(rooms.CLEARINGHOUSE).assess(
            rooms.HOUSE
        )
        house = cover._draw_house(need_wad - insurance, equity, required)
        self._transfer_some(rooms.HOUSE, account, house)
    left: uint256 = need_wad - insurance - house
    lenders: uint256 = self._move_debt(account, 0, left)
    left -= min(left, lenders)
    log ILiquidator.DeficitBooked(
        account=account, insurance_wad=insurance, house_wad=house, lenders_wad=lenders, claims_wad=left
    )
    return left


@internal
def _forgive(account: uint256, legs: DynArray[IMandates.Leg, 16], amount_wad: uint256) -> uint256[16]:
    """
    @dev Losses first; what they do not reach becomes a claim on the house with the last perpetual. Returns how much of
         each leg's cost the house forgave.
    """
    forgiven: uint256[16] = empty(uint256[16])
    if amount_wad == 0:
        return forgiven
    left: uint256 = amount_wad
    last: uint256 = 0
    for i: uint256 in range(len(legs), bound=16):
        result: int256 = slices._result_wad(legs[i])
        forgiven[i] = min(left, convert(max(-result, 0), uint256))
        left -= forgiven[i]
        if packing._size_wad(legs[i].position) != 0 or result != 0:
            last = i
    forgiven[last] += left
    holdings: DynArray[IClearinghouse.Holding, 16] = []
    for i: uint256 in range(len(legs), bound=16):
        if forgiven[i] == 0:
            continue
        asset: uint256 = legs[i].asset
        holding: IClearinghouse.Holding = IClearinghouse.Holding(
            asset=asset,
            collateral_wad=0,
            size_wad=0,
            cost_wad=convert(forgiven[i], int256),
            donor_entry_wad=self._entry_wad(account, asset),
            receiver_entry_wad=0,
        )
        holdings.append(holding)
    # As `_take`, in place: a copy of the holdings there would add to the memory of every liquidation.
    extcall IClearinghouse(rooms.CLEARINGHOUSE).take(account, rooms.HOUSE, holdings)
    log ILiquidator.HoldingsTaken(account=account, taker=rooms.HOUSE, holdings=holdings)
    return forgiven
