# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Watches
@license MIT
@author  Ballast contributors
@notice  Lists of accounts to look after whenever a feed has a new round, sixteen places each, and the fees that their
         owners prepaid for it.
@dev     head   round u80 | used u16 | served u16 | late u16 | next u8 | taken u16 | taken_at u40, from the lowest bit: of the
                four bit fields one bit per place; `served` are those that had their turn in this round, the next turn
                begins at `next`, and `taken` are those that were somebody's, the last of them since `taken_at`
         entry  account u168 | funds u88, in token units; 0 is a free place

         Who is `late` comes after all others: newcomers, and those whose last turn took much gas. So neither a hook that
         burns its gas nor one that keeps leaving and coming back stands in front of the others round after round. Who took
         another's place keeps it for an hour, or a list could be emptied for nothing, by money that is there for one call.
@custom:invariant I49
"""

from contracts.interfaces import IKeepers
from contracts.modules import attempts
from contracts.modules import packing
from contracts.modules import reasons

PLACES: constant(uint256) = 16
# Once around for those that are not late, once more for all that are left.
TURNS: constant(uint256) = 2 * PLACES
# Gas that one fee pays for: a check of an ordinary account.
CHECK_GAS: constant(uint256) = 200_000
# Above it the next turn comes after all others.
DEAR_GAS: constant(uint256) = 1_500_000
# Fees that a place must be worth when it is taken: more than the dearest turn costs.
MIN_CHECKS: constant(uint256) = 50

# How long whoever took another's place cannot give it up.
KEEP_S: constant(uint256) = 3_600

MASK_16: constant(uint256) = 2**16 - 1
MASK_80: constant(uint256) = 2**80 - 1
MASK_168: constant(uint256) = 2**168 - 1
FUNDS_SHIFT: constant(uint256) = 168
MAX_FUNDS: constant(uint256) = 2**88 - 1
USED_SHIFT: constant(uint256) = 80
SERVED_SHIFT: constant(uint256) = 96
LATE_SHIFT: constant(uint256) = 112
NEXT_SHIFT: constant(uint256) = 128
TAKEN_SHIFT: constant(uint256) = 136
TAKEN_AT_SHIFT: constant(uint256) = 152

# feed -> head
_heads: HashMap[address, uint256]
# feed -> place -> entry
_entries: HashMap[address, HashMap[uint256, uint256]]
# Who may claim how many token units: fees earned, and what was left of places that ended.
_claims: HashMap[address, uint256]
# Token units for every CHECK_GAS begun.
_fee: uint256


################################################################
#                         Coming and going                     #
################################################################


@internal
def _enter(feed: address, account: uint256, amount: uint256):
    """
    @dev Adds to the account's place, takes a free one, or the place of whoever has the least left, at more than twice
         as much: a list full of squatters is open to whoever means it more.
    """
    place: uint256 = self._place_of(feed, account)
    funds: uint256 = amount
    if place != PLACES:
        funds += self._entries[feed][place] >> FUNDS_SHIFT
    self._require_funds(funds)
    if place == PLACES:
        least: uint256 = 0
        place, least = self._poorest(feed)
        displaced: uint256 = self._entries[feed][place]
        bit: uint256 = 1 << place
        head: uint256 = self._freed(self._heads[feed], place)
        if displaced != 0:
            self._require_more(amount, least)
            self._end(feed, displaced)
            head = (head & (2**TAKEN_AT_SHIFT - 1)) | (bit << TAKEN_SHIFT) | (block.timestamp << TAKEN_AT_SHIFT)
        self._heads[feed] = head | (bit << USED_SHIFT) | (bit << LATE_SHIFT)
    self._entries[feed][place] = account | (funds << FUNDS_SHIFT)
    log IKeepers.Watched(feed=feed, account=account, place=place, funds=funds)


@internal
def _leave(feed: address, account: uint256) -> uint256:
    """@dev Frees the account's place; returns what was left in it."""
    place: uint256 = self._place_of(feed, account)
    self._require_place(place)
    rest: uint256 = self._entries[feed][place] >> FUNDS_SHIFT
    head: uint256 = self._heads[feed]
    if self._has(head, TAKEN_SHIFT, place):
        self._require_kept(head >> TAKEN_AT_SHIFT)
    self._entries[feed][place] = 0
    self._heads[feed] = self._freed(head, place)
    log IKeepers.WatchEnded(feed=feed, account=account, rest=rest, claimant=empty(address))
    return rest


@internal
def _end(feed: address, entry: uint256):
    """@dev Whoever lost a place may claim what was left; nothing is sent, so nobody can refuse it."""
    account: uint256 = entry & MASK_168
    claimant: address = packing._owner(account)
    rest: uint256 = entry >> FUNDS_SHIFT
    if rest != 0:
        self._claims[claimant] += rest
    log IKeepers.WatchEnded(feed=feed, account=account, rest=rest, claimant=claimant)


################################################################
#                           Turns                              #
################################################################


@internal
def _book(feed: address, head: uint256, place: uint256, gas_used: uint256, code: uint256) -> (uint256, uint256):
    """
    @dev After a turn: the entry pays a fee for every CHECK_GAS begun, as far as it can, and goes when it cannot pay
         another. Returns the head as it is now, which the caller stores, and the fee.
    """
    entry: uint256 = self._entries[feed][place]
    account: uint256 = entry & MASK_168
    fee: uint256 = self._fee
    paid: uint256 = min(fee * (gas_used // CHECK_GAS + 1), entry >> FUNDS_SHIFT)
    funds: uint256 = (entry >> FUNDS_SHIFT) - paid
    bit: uint256 = 1 << place
    now: uint256 = head & ~(bit << LATE_SHIFT)
    if gas_used > DEAR_GAS:
        now = head | (bit << LATE_SHIFT)
    now = now & ~(packing.MASK_8 << NEXT_SHIFT)
    now = now | (bit << SERVED_SHIFT) | (((place + 1) % PLACES) << NEXT_SHIFT)
    log IKeepers.WatchServed(
        feed=feed, account=account, round_id=head & MASK_80, code=code, gas_used=gas_used, paid=paid, funds=funds
    )
    entry = account | (funds << FUNDS_SHIFT)
    if funds < fee:
        self._end(feed, entry)
        entry = 0
        now = self._freed(now, place)
    self._entries[feed][place] = entry
    return now, paid


@internal
def _close(feed: address, head: uint256, earner: address, earned: uint256):
    """@dev After the last turn."""
    self._heads[feed] = head
    if earned != 0:
        self._claims[earner] += earned
        log IKeepers.FeesEarned(earner=earner, amount=earned)


@internal
def _claim(claimant: address) -> uint256:
    amount: uint256 = self._claims[claimant]
    self._require_claim(amount)
    self._claims[claimant] = 0
    return amount


################################################################
#                           Reading                            #
################################################################


@internal
@view
def _place_of(feed: address, account: uint256) -> uint256:
    """@dev PLACES if it has none."""
    for i: uint256 in range(PLACES):
        entry: uint256 = self._entries[feed][i]
        if entry != 0 and entry & MASK_168 == account:
            return i
    return PLACES


@internal
@view
def _poorest(feed: address) -> (uint256, uint256):
    """@dev A free place, else the one with the least left, and how much that is."""
    place: uint256 = 0
    least: uint256 = max_value(uint256)
    for i: uint256 in range(PLACES):
        entry: uint256 = self._entries[feed][i]
        if entry == 0:
            return i, 0
        if entry >> FUNDS_SHIFT < least:
            place = i
            least = entry >> FUNDS_SHIFT
    return place, least


@internal
@view
def _account_at(feed: address, place: uint256) -> uint256:
    return self._entries[feed][place] & MASK_168


@internal
@view
def _listed(feed: address) -> DynArray[IKeepers.Watch, PLACES]:
    head: uint256 = self._heads[feed]
    listed: DynArray[IKeepers.Watch, PLACES] = []
    for i: uint256 in range(PLACES):
        entry: uint256 = self._entries[feed][i]
        if entry != 0:
            listed.append(
                IKeepers.Watch(
                    account=entry & MASK_168,
                    funds=entry >> FUNDS_SHIFT,
                    is_served=self._has(head, SERVED_SHIFT, i),
                    is_late=self._has(head, LATE_SHIFT, i),
                )
            )
    return listed


################################################################
#                           The head                           #
################################################################


@internal
@pure
def _is_empty(head: uint256) -> bool:
    return (head >> USED_SHIFT) & MASK_16 == 0


@internal
@pure
def _next(head: uint256) -> uint256:
    return (head >> NEXT_SHIFT) & packing.MASK_8


@internal
@pure
def _in_round(head: uint256, round_id: uint256) -> uint256:
    """@dev Another round is another turn for everybody."""
    if head & MASK_80 == round_id:
        return head
    return (head & ~(MASK_80 | (MASK_16 << SERVED_SHIFT))) | round_id


@internal
@pure
def _is_due(head: uint256, place: uint256, is_last_call: bool) -> bool:
    if not self._has(head, USED_SHIFT, place) or self._has(head, SERVED_SHIFT, place):
        return False
    return is_last_call or not self._has(head, LATE_SHIFT, place)


@internal
@pure
def _has(head: uint256, field: uint256, place: uint256) -> bool:
    return (head >> (field + place)) & 1 != 0


@internal
@pure
def _freed(head: uint256, place: uint256) -> uint256:
    bit: uint256 = 1 << place
    return head & ~((bit << USED_SHIFT) | (bit << SERVED_SHIFT) | (bit << LATE_SHIFT) | (bit << TAKEN_SHIFT))


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _require_funds(funds: uint256):
    if funds > MAX_FUNDS or funds < MIN_CHECKS * self._fee:
        reasons._fail("watches: bad prepayment")


@internal
@pure
def _require_more(amount: uint256, least: uint256):
    if amount <= 2 * least:
        reasons._fail("watches: list is full")


@internal
@view
def _require_kept(taken_at: uint256):
    if block.timestamp < taken_at + KEEP_S:
        reasons._fail("watches: place just taken")


@internal
@pure
def _require_place(place: uint256):
    if place == PLACES:
        reasons._fail("watches: not watched")


@internal
@pure
def _require_claim(amount: uint256):
    if amount == 0:
        reasons._fail("watches: nothing to claim")
