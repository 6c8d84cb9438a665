# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Calls
@license MIT
@author  Ballast contributors
@notice  The one transient state word of the system, and what lasts exactly as long as a call: the accounts
         whose margin check is pending and the marks that stay fixed.
@dev     Transient storage outlives a call within its transaction, so every word is keyed by an epoch that each
         opening advances, or reset on leaving.
         Assumption: one set of marks per asset and call. A price that moves while a token or a venue has
         control cannot be seen half-way.
@custom:invariant I29 I42
"""

from contracts.interfaces import IRiskOracle
from contracts.modules import asset_list
from contracts.modules import reasons

IDLE: constant(uint256) = 0
BATCH: constant(uint256) = 1
MANDATE: constant(uint256) = 2
ACTING: constant(uint256) = 3

MAX_PENDING: constant(uint256) = 16

ORACLE: immutable(address)

_state: transient(uint256)
_pending: transient(DynArray[uint256, MAX_PENDING])

# Marks are latched while `_is_latching`, under keys of the current epoch: epoch << 8 | asset.
_is_latching: transient(bool)
_epoch: transient(uint256)
_latched_price: transient(HashMap[uint256, uint256])
_latched_risk: transient(HashMap[uint256, uint256])


@deploy
def __init__(oracle: address):
    ORACLE = oracle


################################################################
#                      Opening and closing                     #
################################################################


@internal
def _open(state: uint256, is_latching: bool):
    self._check_state(IDLE)
    self._state = state
    if is_latching:
        self._is_latching = True
        self._epoch += 1


@internal
def _close():
    self._state = IDLE
    self._is_latching = False


@internal
def _act() -> uint256:
    """@dev Entering a token or an adapter; the caller gives the returned state back to `_acted`."""
    before: uint256 = self._state
    self._state = ACTING
    return before


@internal
def _act_between() -> uint256:
    """@dev As `_act` for a call that comes from outside: on its own, or while a mandate waits."""
    if self._state != MANDATE:
        self._check_state(IDLE)
    return self._act()


@internal
def _acted(before: uint256):
    self._state = before


@internal
@view
def _check_state(state: uint256):
    if self._state != state:
        reasons._fail("clearinghouse: busy")


################################################################
#                        Pending checks                        #
################################################################


@internal
def _defer_check(account: uint256):
    for known: uint256 in self._pending:
        if known == account:
            return
    self._pending.append(account)


################################################################
#                             Marks                            #
################################################################


@internal
@view
def _marks(listed: uint256) -> DynArray[uint256, 32]:
    """@dev Of the assets of a list (`asset_list`): the latched marks if all are there, else the oracle's: one call."""
    marks: DynArray[uint256, 32] = []
    if self._is_latching:
        marks = self._known_marks(listed)
    if len(marks) == 0 and asset_list._count(listed) != 0:
        marks = self._fresh_marks(listed)
    return marks


@internal
def _latched_marks(listed: uint256) -> DynArray[uint256, 32]:
    """@dev What is latched stays; what is not is latched now. A price word is never 0: a price or a flag is set."""
    marks: DynArray[uint256, 32] = []
    is_latching: bool = self._is_latching
    if is_latching:
        marks = self._known_marks(listed)
    count: uint256 = asset_list._count(listed)
    if len(marks) != 0 or count == 0:
        return marks
    marks = self._fresh_marks(listed)
    if is_latching:
        base: uint256 = self._epoch << 8
        ids: uint256 = listed
        for i: uint256 in range(count, bound=asset_list.MAX_ASSETS):
            key: uint256 = base | (ids & 255)
            latched: uint256 = self._latched_price[key]
            place: uint256 = unsafe_mul(2, i)
            if latched == 0:
                self._latched_price[key] = marks[place]
                self._latched_risk[key] = marks[unsafe_add(place, 1)]
            else:
                marks[place] = latched
                marks[unsafe_add(place, 1)] = self._latched_risk[key]
            ids = ids >> 8
    return marks


@internal
@view
def _known_marks(listed: uint256) -> DynArray[uint256, 32]:
    """@dev In a call that latches: nothing unless all of them are."""
    marks: DynArray[uint256, 32] = []
    base: uint256 = self._epoch << 8
    ids: uint256 = listed
    for _: uint256 in range(asset_list._count(listed), bound=asset_list.MAX_ASSETS):
        key: uint256 = base | (ids & 255)
        latched: uint256 = self._latched_price[key]
        if latched == 0:
            return []
        marks.append(latched)
        marks.append(self._latched_risk[key])
        ids = ids >> 8
    return marks


@internal
@view
def _fresh_marks(listed: uint256) -> DynArray[uint256, 32]:
    return staticcall IRiskOracle(ORACLE).marks(asset_list._ids(listed))


@internal
@view
def _mark(asset: uint256) -> (uint256, uint256):
    """@dev Price and risk word of one asset, for which no memory of sixteen is needed: latched, or else the oracle's."""
    if self._is_latching:
        key: uint256 = (self._epoch << 8) | asset
        latched: uint256 = self._latched_price[key]
        if latched != 0:
            return latched, self._latched_risk[key]
    marks: DynArray[uint256, 32] = staticcall IRiskOracle(ORACLE).marks([asset])
    return marks[0], marks[1]


@internal
def _latched_mark(asset: uint256) -> (uint256, uint256):
    """@dev The same; what is not latched is latched now."""
    price_word: uint256 = 0
    risk_word: uint256 = 0
    price_word, risk_word = self._mark(asset)
    if self._is_latching:
        key: uint256 = (self._epoch << 8) | asset
        self._latched_price[key] = price_word
        self._latched_risk[key] = risk_word
    return price_word, risk_word
