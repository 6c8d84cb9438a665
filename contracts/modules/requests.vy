# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Requests
@license MIT
@author  Ballast contributors
@notice  The book of what liquidity providers ask: gathered in epochs, filled an epoch at a time, claimed one by one.
@dev     A request *gives* assets (a deposit) or shares (a redemption) and is *due* the other. An epoch of deposits is
         filled all at once, one of redemptions as cash comes, the oldest epoch first. Words, the lower half first:

         epoch        asked u128 | filled u128, both of what is given
         result       due u128 for what is filled | the next epoch of the queue u128, redemptions only
         queue        oldest epoch not yet paid u128, 0 when none waits | newest u128, of no meaning then
         request      asked u128 | epoch u64 | claim_epoch u64
         counted      given u128 | due u128
         claimable    given u128 | due u128
         escrow       asset units that wait to enter u128 | those set aside for redemptions u128
@custom:invariant I01 I10
"""

from contracts.interfaces import ILiquidityVault
from contracts.modules import packing
from contracts.modules import reasons

# The two sides, keys of what is kept for both.
DEPOSIT: constant(uint256) = 0
REDEEM: constant(uint256) = 1

# Requests of so many seconds share a price; their id is the time divided by it.
DEPOSIT_EPOCH_S: public(constant(uint256)) = 600
REDEEM_EPOCH_S: public(constant(uint256)) = 3_600
# How long after its end an epoch is fulfilled at the earliest.
DEPOSIT_DELAY_S: public(constant(uint256)) = 3_600
REDEEM_DELAY_S: public(constant(uint256)) = 86_400

# Keeps assets that wait below 2**96, far inside their half of a word.
MAX_DEPOSIT_CAP: constant(uint256) = 2**95
MASK_64: constant(uint256) = 2**64 - 1


# One controller's side.
struct Side:
    epoch: uint256  # of the newest request
    asked: uint256  # given by it; 0 once all of that is claimable
    counted_given: uint256  # of `asked`, already claimable: more than 0 between two payments of a redemption
    counted_due: uint256  # what came of that part
    claim_epoch: uint256  # the newest request that anything claimable came from
    given: uint256  # claimable
    due: uint256  # claimable


# Asset units above which nobody may ask to enter.
deposit_cap: public(uint256)
# side -> epoch -> what was asked in it, and what came of that
_epochs: HashMap[uint256, HashMap[uint256, uint256]]
_results: HashMap[uint256, HashMap[uint256, uint256]]
_queue: uint256
# side -> controller -> the newest request, its part that was counted, what can be claimed
_requests: HashMap[uint256, HashMap[address, uint256]]
_counted: HashMap[uint256, HashMap[address, uint256]]
_claimable: HashMap[uint256, HashMap[address, uint256]]
# What is here for requests. Never the balance. I01
_escrow: uint256


################################################################
#                            Asking                            #
################################################################


@internal
def _ask_deposit(controller: address, assets: uint256) -> uint256:
    """@dev Returns the present epoch."""
    epoch: uint256 = block.timestamp // DEPOSIT_EPOCH_S
    self._ask(DEPOSIT, epoch, controller, assets)
    # The cap keeps what waits far inside its half of the word.
    self._escrow += assets
    return epoch


@internal
def _ask_redemption(controller: address, shares: uint256) -> uint256:
    """@dev Returns the present epoch, the newest of the queue."""
    epoch: uint256 = block.timestamp // REDEEM_EPOCH_S
    if self._epochs[REDEEM][epoch] == 0:
        queue: uint256 = self._queue
        oldest: uint256 = queue & packing.MASK_128
        if oldest == 0:
            oldest = epoch
        else:
            self._results[REDEEM][queue >> 128] |= epoch << 128
        self._queue = self._packed(oldest, epoch)
    self._ask(REDEEM, epoch, controller, shares)
    return epoch


@internal
def _ask(side: uint256, epoch: uint256, controller: address, amount: uint256):
    """@dev Adds to the controller's request of the present epoch; what is finished becomes claimable first."""
    mine: Side = self._side(side, controller)
    self._check_no_older(mine, epoch)
    mine.epoch = epoch
    mine.asked += amount
    self._store_side(side, controller, mine)
    # Nothing of the present epoch is filled.
    self._epochs[side][epoch] = self._packed((self._epochs[side][epoch] & packing.MASK_128) + amount, 0)


@internal
@view
def _room(total: uint256) -> uint256:
    """@dev What still fits under the cap beside `total`, the assets that are in, and those that wait to enter."""
    cap: uint256 = self.deposit_cap
    taken: uint256 = total + self._entering()
    if taken >= cap:
        return 0
    return cap - taken


@internal
def _set_deposit_cap(new: uint256):
    self._require_deposit_cap(new)
    log ILiquidityVault.DepositCapChanged(old=self.deposit_cap, new=new)
    self.deposit_cap = new


################################################################
#                            Filling                           #
################################################################


@internal
@view
def _ready_deposits(epoch: uint256) -> uint256:
    """@dev Assets of an epoch whose time has come."""
    word: uint256 = self._epochs[DEPOSIT][epoch]
    self._check_waiting(word)
    self._check_ready(self._deposits_end(epoch) + DEPOSIT_DELAY_S)
    return word & packing.MASK_128


@internal
@view
def _ready_redemptions(epoch: uint256) -> uint256:
    """@dev Shares of the oldest epoch that are not paid yet, once its time has come."""
    word: uint256 = self._epochs[REDEEM][epoch]
    self._check_waiting(word)
    self._check_ready(self._redemptions_end(epoch) + REDEEM_DELAY_S)
    self._check_oldest(epoch)
    return (word & packing.MASK_128) - (word >> 128)


@internal
@pure
def _deposits_end(epoch: uint256) -> uint256:
    return (epoch + 1) * DEPOSIT_EPOCH_S


@internal
@pure
def _redemptions_end(epoch: uint256) -> uint256:
    return (epoch + 1) * REDEEM_EPOCH_S


@internal
def _fill_deposits(epoch: uint256, assets: uint256, shares: uint256):
    """@dev All that was asked; the assets leave."""
    self._epochs[DEPOSIT][epoch] = self._packed(assets, assets)
    self._results[DEPOSIT][epoch] = shares
    escrow: uint256 = self._escrow
    self._escrow = self._packed((escrow & packing.MASK_128) - assets, escrow >> 128)


@internal
def _fill_redemptions(epoch: uint256, shares: uint256, assets: uint256):
    """@dev The oldest epoch, which leaves the queue with the last of its shares; 0 comes after the newest."""
    word: uint256 = self._epochs[REDEEM][epoch]
    asked: uint256 = word & packing.MASK_128
    filled: uint256 = (word >> 128) + shares
    self._epochs[REDEEM][epoch] = self._packed(asked, filled)
    # What an epoch is paid was cash of one account, below 2**120: neither half carries.
    self._results[REDEEM][epoch] += assets
    if filled == asked:
        self._queue = self._packed(self._results[REDEEM][epoch] >> 128, self._queue >> 128)
    self._escrow += assets << 128


################################################################
#                           Claiming                           #
################################################################


@internal
def _claim_for(side: uint256, controller: address, given: uint256) -> uint256:
    """@dev Uses up exactly `given`; returns what is due for it, rounded down. The last of it takes all that is due."""
    mine: Side = self._side(side, controller)
    self._require_claimable(given, mine.given)
    due: uint256 = mine.due * given // mine.given
    mine.given -= given
    mine.due -= due
    self._store_side(side, controller, mine)
    return due


@internal
def _claim_exactly(side: uint256, controller: address, due: uint256) -> uint256:
    """@dev Takes exactly `due`; returns what is used up for it, rounded up. The last of it uses up all."""
    mine: Side = self._side(side, controller)
    self._require_claimable(due, mine.due)
    given: uint256 = (mine.given * due + mine.due - 1) // mine.due
    mine.given -= given
    mine.due -= due
    self._store_side(side, controller, mine)
    return given


@internal
def _pay_out(assets: uint256):
    """@dev Of what was set aside for redemptions."""
    self._escrow -= assets << 128


################################################################
#                             Sides                            #
################################################################


@internal
@view
def _side(side: uint256, controller: address) -> Side:
    """
    @dev A controller's side with everything claimable that its epoch has come to: his part of what the epoch was filled
         and paid in all, each rounded down, less what was counted before. So the parts never add up to more than the
         epoch got, however many payments there were. The products are of halves of words.
    """
    request: uint256 = self._requests[side][controller]
    claimable: uint256 = self._claimable[side][controller]
    mine: Side = Side(
        epoch=(request >> 128) & MASK_64,
        asked=request & packing.MASK_128,
        counted_given=0,
        counted_due=0,
        claim_epoch=request >> 192,
        given=claimable & packing.MASK_128,
        due=claimable >> 128,
    )
    if mine.asked == 0:
        return mine
    word: uint256 = self._epochs[side][mine.epoch]
    all_asked: uint256 = word & packing.MASK_128
    all_filled: uint256 = word >> 128
    if all_filled == 0:
        return mine
    counted: uint256 = self._counted[side][controller]
    mine.counted_given = mine.asked * all_filled // all_asked
    mine.counted_due = mine.asked * (self._results[side][mine.epoch] & packing.MASK_128) // all_asked
    mine.claim_epoch = mine.epoch
    mine.given += mine.counted_given - (counted & packing.MASK_128)
    mine.due += mine.counted_due - (counted >> 128)
    if all_filled == all_asked:
        mine.asked = 0
        mine.counted_given = 0
        mine.counted_due = 0
    return mine


@internal
def _store_side(side: uint256, controller: address, mine: Side):
    """
    @dev Epochs are times in seconds divided, and fit. What is claimable was assets or shares of the vault, of which
         there are never 2**128.
    """
    self._requests[side][controller] = mine.asked | (mine.epoch << 128) | (mine.claim_epoch << 192)
    self._counted[side][controller] = self._packed(mine.counted_given, mine.counted_due)
    self._claimable[side][controller] = self._packed(mine.given, mine.due)


@internal
@view
def _pending(side: uint256, epoch: uint256, controller: address) -> uint256:
    """@dev Given by a request and not filled yet."""
    mine: Side = self._side(side, controller)
    if mine.epoch != epoch:
        return 0
    return mine.asked - mine.counted_given


@internal
@view
def _claimable_given(side: uint256, epoch: uint256, controller: address) -> uint256:
    """@dev All that was given and can be claimed, under the id of the newest request it came from."""
    mine: Side = self._side(side, controller)
    if mine.claim_epoch != epoch:
        return 0
    return mine.given


################################################################
#                       Epochs and escrow                      #
################################################################


@internal
@view
def _deposit_epoch(epoch: uint256) -> ILiquidityVault.DepositEpoch:
    word: uint256 = self._epochs[DEPOSIT][epoch]
    if word == 0:
        return empty(ILiquidityVault.DepositEpoch)
    return ILiquidityVault.DepositEpoch(
        assets=word & packing.MASK_128,
        shares=self._results[DEPOSIT][epoch],
        ready_at=self._deposits_end(epoch) + DEPOSIT_DELAY_S,
    )


@internal
@view
def _redeem_epoch(epoch: uint256) -> ILiquidityVault.RedeemEpoch:
    word: uint256 = self._epochs[REDEEM][epoch]
    if word == 0:
        return empty(ILiquidityVault.RedeemEpoch)
    return ILiquidityVault.RedeemEpoch(
        shares=word & packing.MASK_128,
        filled=word >> 128,
        assets=self._results[REDEEM][epoch] & packing.MASK_128,
        ready_at=self._redemptions_end(epoch) + REDEEM_DELAY_S,
    )


@internal
@view
def _oldest() -> uint256:
    """@dev The epoch of redemptions that is paid next, 0 for none."""
    return self._queue & packing.MASK_128


@internal
@view
def _entering() -> uint256:
    """@dev Asset units that wait to enter."""
    return self._escrow & packing.MASK_128


@internal
@view
def _set_aside() -> uint256:
    """@dev Asset units for redemptions."""
    return self._escrow >> 128


@internal
@pure
def _packed(low: uint256, high: uint256) -> uint256:
    # Both at once.
    self._require_fits(low | high)
    return low | (high << 128)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_room(total: uint256, assets: uint256):
    if assets > self._room(total):
        reasons._fail("liquidity: deposit cap")


@internal
@view
def _check_no_older(mine: Side, epoch: uint256):
    if mine.asked != 0 and mine.epoch != epoch:
        reasons._fail("liquidity: older request waits")


@internal
@pure
def _check_waiting(epoch_word: uint256):
    if epoch_word & packing.MASK_128 == epoch_word >> 128:
        reasons._fail("liquidity: nothing waits")


@internal
@view
def _check_ready(ready_at: uint256):
    if block.timestamp < ready_at:
        reasons._fail("liquidity: too early")


@internal
@view
def _check_oldest(epoch: uint256):
    if self._oldest() != epoch:
        reasons._fail("liquidity: older epoch first")


@internal
@pure
def _require_claimable(amount: uint256, claimable: uint256):
    if amount > claimable:
        reasons._fail("liquidity: more than claimable")


@internal
@pure
def _require_fits(halves: uint256):
    if halves > packing.MASK_128:
        reasons._fail("liquidity: amount too large")


@internal
@pure
def _require_deposit_cap(deposit_cap: uint256):
    if deposit_cap > MAX_DEPOSIT_CAP:
        reasons._fail("liquidity: cap too high")
