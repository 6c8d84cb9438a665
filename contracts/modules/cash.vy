# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Cash
@license MIT
@author  Ballast contributors
@notice  The quote-token side of an account. Cash below zero is a loan from the lending vault.
@dev     An account never holds a token unit of cash and a debt at once: what comes in repays first, what goes
         out is borrowed only where cash ends. Positive cash lies here as tokens, lenders' money in the vault.
@custom:invariant I01 I04 I22
"""

from contracts.interfaces import ILendingVault
from contracts.modules import collaterals
from contracts.modules import fixed_point
from contracts.modules import ledger
from contracts.modules import packing
from contracts.modules import safe_token
from ethereum.ercs import IERC20

uses: ledger
uses: collaterals

RAY: constant(uint256) = 10**27

VAULT: immutable(address)

# The vault's debt index of this second, which nothing in a transaction can change; 0 until a call has accrued.
_index_ray: transient(uint256)


@deploy
def __init__(vault: address):
    VAULT = vault


@internal
@view
def _net_wad(account_word: uint256) -> int256:
    """@dev Cash less debt, the debt rounded up to a token unit and accrued to this second."""
    net: int256 = convert(account_word & packing.MASK_128, int256)
    shares: uint256 = packing._debt_shares(account_word)
    if shares != 0:
        net -= convert(self._owed_up(shares) * packing._unit_wad(collaterals.QUOTE_WORD), int256)
    return net


@internal
@view
def _available_wad(account: uint256) -> uint256:
    """@dev Cash an account can give without borrowing."""
    return packing._cash_wad(ledger._account_words[account])


@internal
@view
def _debt(account: uint256) -> uint256:
    """@dev Token units owed, rounded up."""
    shares: uint256 = packing._debt_shares(ledger._account_words[account])
    if shares == 0:
        return 0
    return self._owed_up(shares)


@internal
@view
def _owed_up(shares: uint256) -> uint256:
    """@dev ceil(shares index), as the vault's `debt_of` has it; a call that accrued need not ask it again."""
    index_ray: uint256 = self._index_ray
    if index_ray == 0:
        return staticcall ILendingVault(VAULT).debt_of(shares)
    return fixed_point._mul_div_up(shares, index_ray, RAY)


@internal
def _accrue():
    if self._index_ray == 0:
        self._index_ray = extcall ILendingVault(VAULT).accrue()


@internal
def _repay_from(account: uint256, payer: address, max_amount: uint256) -> uint256:
    """@dev Straight from the payer to the vault. Returns token units paid, at most the debt."""
    self._accrue()
    paid: uint256 = min(max_amount, self._debt(account))
    if paid != 0:
        safe_token._pull_to(IERC20(packing._token(collaterals.QUOTE_WORD)), payer, VAULT, paid)
        self._burn_debt(account, paid)
    return paid


@internal
def _credit(account: uint256, amount: uint256) -> uint256:
    """@dev `amount` token units that already lie here become the account's: its debt first."""
    return self._credit_wad(account, amount * packing._unit_wad(collaterals.QUOTE_WORD))


@internal
def _credit_wad(account: uint256, amount_wad: uint256) -> uint256:
    """@dev The same for what another account paid, to the wei; a debt is paid in whole token units."""
    word: uint256 = ledger._account_words[account]
    unit: uint256 = packing._unit_wad(collaterals.QUOTE_WORD)
    cash: uint256 = packing._cash_wad(word) + amount_wad
    ledger._require_amount(cash)
    paid: uint256 = min(cash // unit, self._debt(account))
    if paid != 0:
        safe_token._push(IERC20(packing._token(collaterals.QUOTE_WORD)), VAULT, paid)
        self._burn_debt(account, paid)
        word = ledger._account_words[account]
    word = packing._with_cash(word, cash - paid * unit)
    ledger._account_words[account] = word
    return packing._balances(word)


@internal
@view
def _lendable_wad() -> uint256:
    """@dev What the vault would lend now."""
    return staticcall ILendingVault(VAULT).max_loan() * packing._unit_wad(collaterals.QUOTE_WORD)


@internal
def _debit(account: uint256, amount: uint256, receiver: address) -> uint256:
    """@dev `amount` token units leave the account for `receiver`: cash first, the rest borrowed."""
    unit: uint256 = packing._unit_wad(collaterals.QUOTE_WORD)
    return self._debit_wad(account, amount * unit, receiver, False)


@internal
def _debit_wad(account: uint256, amount_wad: uint256, receiver: address, is_forced: bool) -> uint256:
    """
    @dev To another account (`receiver` is this ledger) to the wei; what is borrowed comes in whole token units. Who chose
         to borrow owes at least the vault's least debt afterwards; what is forced may leave a debt of any size.
    """
    word: uint256 = ledger._account_words[account]
    unit: uint256 = packing._unit_wad(collaterals.QUOTE_WORD)
    cash: uint256 = packing._cash_wad(word)
    borrowed: uint256 = 0
    if amount_wad > cash:
        borrowed = fixed_point._div_up(amount_wad - cash, unit)
        held: uint256 = max_value(uint256)
        if not is_forced:
            held = packing._debt_shares(word)
        shares: uint256 = extcall ILendingVault(VAULT).lend(borrowed, receiver, held)
        word += shares << 128
    word = packing._with_cash(word, cash + borrowed * unit - amount_wad)
    ledger._account_words[account] = word
    if receiver != self and amount_wad > borrowed * unit:
        from_cash: uint256 = amount_wad // unit - borrowed
        safe_token._push(IERC20(packing._token(collaterals.QUOTE_WORD)), receiver, from_cash)
    return packing._balances(word)


@internal
def _burn_debt(account: uint256, paid: uint256) -> uint256:
    """@dev The tokens are in the vault already; all shares go when the whole debt was paid."""
    word: uint256 = ledger._account_words[account]
    burnt: uint256 = extcall ILendingVault(VAULT).repay(paid, packing._debt_shares(word))
    word -= burnt << 128
    ledger._account_words[account] = word
    return packing._balances(word)


@internal
def _move_debt(debtor: uint256, heir: uint256, shares: uint256):
    """@dev Loan shares of one account become another's, or nobody's: then the vault was told to write them off."""
    word: uint256 = ledger._account_words[debtor]
    ledger._require_balance(packing._debt_shares(word), shares)
    ledger._account_words[debtor] = word - (shares << 128)
    if heir != 0:
        ledger._account_words[heir] += shares << 128
