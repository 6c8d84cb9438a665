# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize gas
# pragma evm-version cancun
"""
@title   Keepers
@license MIT
@author  Ballast contributors
@notice  Where keepers and price updates enter: many accounts in one call, accounts that are looked after in the very
         transaction of a feed's update, upkeeps, and prices brought along.
@dev     No right of its own: what it does for an account anyone may do at `Mandates`. It holds prepaid fees and nothing
         else. Assumptions:
         1. The caller may be anyone, at any moment and with any gas. Nothing is booked while the clearing house is at
            work, for then no account could be helped.
         2. Rounds are read from the feed; what a caller says about them is ignored. A feed is chosen by those who have
            their accounts watched for it, and one that lies spends their fees alone.
         3. tx.origin is paid and never trusted: whoever bears the gas of an update gets the fees.
@custom:invariant I49
@custom:kill  Nothing to stop: `Mandates` serves without it. Owners take their prepaid fees out at any time.
"""

from contracts.interfaces import IClearinghouse
from contracts.interfaces import IKeepers
from contracts.interfaces import IPriceListener
from contracts.interfaces import IPullFeed
from contracts.interfaces import IRiskOracle
from contracts.modules import attempts
from contracts.modules import packing
from contracts.modules import reasons
from contracts.modules import safe_token
from contracts.modules import watches
from ethereum.ercs import IERC20
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IKeepers
implements: IPriceListener

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: watches

exports: (
    ownable.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

MAX_ACCOUNTS: constant(uint256) = 32
MAX_PAYLOAD: constant(uint256) = 4_096
MAX_FEE_WAD: constant(uint256) = 10**18
FEED_GAS: constant(uint256) = 60_000
# Taking in eight rounds at 60,000 gas each, and repricing.
POKE_GAS: constant(uint256) = 800_000
IDLE: constant(uint256) = 0
QUOTE_ASSET: constant(uint256) = 0
PUSH: constant(Bytes[4]) = method_id("push(bytes)")
POKE: constant(Bytes[4]) = method_id("poke(uint256[])")
LATEST: constant(Bytes[4]) = method_id("latestRoundData()")

CLEARINGHOUSE: public(immutable(address))
MANDATES: public(immutable(address))
ORACLE: public(immutable(address))
QUOTE: public(immutable(address))
# Largest fee, token units.
MAX_FEE: immutable(uint256)

is_pull_feed: public(HashMap[address, bool])
# Whose price a feed tells, 0 where nobody has told.
asset_of: public(HashMap[address, uint256])


@deploy
def __init__(clearinghouse: address, mandates: address, oracle: address, fee_: uint256):
    """
    @param clearinghouse  Deployed already: the quote token is read from it.
    @param mandates       Belongs to the same system.
    @param oracle         Takes a round into the margin rates.
    @param fee_           Token units of the quote token for every `watches.CHECK_GAS` that a turn takes, begun.
    """
    ownable.__init__()
    ownable_2step.__init__()
    CLEARINGHOUSE = clearinghouse
    MANDATES = mandates
    ORACLE = oracle
    quote_word: uint256 = staticcall IClearinghouse(clearinghouse).asset_word(QUOTE_ASSET)
    QUOTE = packing._token(quote_word)
    MAX_FEE = MAX_FEE_WAD // packing._unit_wad(quote_word)
    self._put_fee(fee_, MAX_FEE)


################################################################
#                         For keepers                          #
################################################################


@external
def rebalance_many(accounts: DynArray[uint256, MAX_ACCOUNTS], payee: uint256) -> DynArray[uint256, MAX_ACCOUNTS]:
    """@notice A captured attempt each."""
    return self._rebalance(accounts, payee)


@external
def push_and_rebalance(
    feed: address, payload: Bytes[MAX_PAYLOAD], accounts: DynArray[uint256, MAX_ACCOUNTS], payee: uint256
) -> DynArray[uint256, MAX_ACCOUNTS]:
    """@notice A price, then attempts at it. A feed that told this contract of the price would find it locked."""
    self._check_pull_feed(feed)
    success: bool = False
    response: Bytes[100] = b""
    success, response = raw_call(
        feed, abi_encode(payload, method_id=PUSH), max_outsize=100, revert_on_failure=False
    )
    if not success:
        made_at: uint256 = staticcall IPullFeed(feed).made_at(payload)
        if self._newest(feed)[3] < made_at:
            self._require_reason(len(response))
            raw_revert(response)
    codes: DynArray[uint256, MAX_ACCOUNTS] = self._rebalance(accounts, payee)
    self._sweep(feed)
    return codes


@external
def on_price(feed: address, round_id: uint256):
    """@notice A turn for everybody who is watched for the feed and had none in its newest round."""
    self._sweep(feed)


@external
def learn_feed(asset: uint256):
    """@notice Remembers which asset a feed is of, so that its rounds reach the margin rates before anybody's turn."""
    feed: address = (staticcall IRiskOracle(ORACLE).feed_of(asset))[0]
    self._require_feed(feed)
    self.asset_of[feed] = asset
    log IKeepers.FeedLearned(feed=feed, asset=asset)


@external
def claim(receiver: address) -> uint256:
    """@notice Pays what the caller earned or got back."""
    self._require_receiver(receiver)
    amount: uint256 = watches._claim(msg.sender)
    log IKeepers.Claimed(claimant=msg.sender, receiver=receiver, amount=amount)
    safe_token._push(IERC20(QUOTE), receiver, amount)
    return amount


################################################################
#                          For owners                          #
################################################################


@external
def watch(account: uint256, feed: address, amount: uint256):
    """@notice A place in the feed's list, or more funds for it."""
    self._check_owner(account)
    self._require_rounds(self._newest(feed)[0])
    watches._enter(feed, account, amount)
    if amount != 0:
        safe_token._pull(IERC20(QUOTE), msg.sender, amount)


@external
def unwatch(account: uint256, feed: address, receiver: address) -> uint256:
    """@notice Gives the place up; the rest goes to `receiver` at once."""
    self._check_owner(account)
    self._require_receiver(receiver)
    rest: uint256 = watches._leave(feed, account)
    if rest != 0:
        safe_token._push(IERC20(QUOTE), receiver, rest)
    return rest


################################################################
#                         Governance                           #
################################################################


@external
def set_fee(fee: uint256):
    """@notice Sets the fee of turns to come."""
    ownable._check_owner()
    self._put_fee(fee, MAX_FEE)


@external
def set_pull_feed(feed: address, is_allowed: bool):
    """@notice Allows or forbids a pull feed."""
    ownable._check_owner()
    self.is_pull_feed[feed] = is_allowed
    log IKeepers.PullFeedChanged(feed=feed, is_allowed=is_allowed)


################################################################
#                           Upkeeps                            #
################################################################


@external
@view
def checkUpkeep(check_data: Bytes[1_152]) -> (bool, Bytes[1_120]):
    """@notice Asks each hook; stops where the gas would not be enough to ask."""
    accounts: DynArray[uint256, MAX_ACCOUNTS] = []
    feed: address = empty(address)
    payee: uint256 = 0
    accounts, feed, payee = abi_decode(check_data, (DynArray[uint256, MAX_ACCOUNTS], address, uint256))
    if feed != empty(address):
        accounts = []
        listed: DynArray[IKeepers.Watch, watches.PLACES] = watches._listed(feed)
        for entry: IKeepers.Watch in listed:
            accounts.append(entry.account)
    due: DynArray[uint256, MAX_ACCOUNTS] = []
    for account: uint256 in accounts:
        if not attempts._has_gas(attempts.TRIGGER_GAS):
            break
        if attempts._is_triggered(MANDATES, account):
            due.append(account)
    return len(due) != 0, abi_encode(due, payee)


@external
def performUpkeep(perform_data: Bytes[1_120]):
    """@notice Attempts like any other; the codes go nowhere, the events tell."""
    accounts: DynArray[uint256, MAX_ACCOUNTS] = []
    payee: uint256 = 0
    accounts, payee = abi_decode(perform_data, (DynArray[uint256, MAX_ACCOUNTS], uint256))
    self._rebalance(accounts, payee)


################################################################
#                            Views                             #
################################################################


@external
@view
def watched(feed: address) -> DynArray[IKeepers.Watch, watches.PLACES]:
    """@notice The feed's list."""
    return watches._listed(feed)


@external
@view
def claimable(claimant: address) -> uint256:
    """@notice What may be claimed."""
    return watches._claims[claimant]


@external
@view
def fee() -> uint256:
    """@notice The fee of turns to come."""
    return watches._fee


################################################################
#                           Internal                           #
################################################################


@internal
def _rebalance(accounts: DynArray[uint256, MAX_ACCOUNTS], payee_: uint256) -> DynArray[uint256, MAX_ACCOUNTS]:
    payee: uint256 = payee_
    if payee == 0:
        payee = packing._account(msg.sender, 0)
    codes: DynArray[uint256, MAX_ACCOUNTS] = []
    for account: uint256 in accounts:
        code: uint256 = attempts._attempt(MANDATES, account, payee)
        codes.append(code)
    return codes


@internal
def _sweep(feed: address):
    """
    @dev Where the gas is too little for an attempt it ends, with that entry unbooked: the next call goes on there.
    """
    head: uint256 = watches._heads[feed]
    if watches._is_empty(head) or staticcall IClearinghouse(CLEARINGHOUSE).call_state() != IDLE:
        return
    round_id: uint256 = self._newest(feed)[0]
    if round_id == 0:
        return
    head = watches._in_round(head, round_id)
    first: uint256 = watches._next(head)
    payee: uint256 = packing._account(tx.origin, 0)
    earned: uint256 = 0
    has_served: bool = False
    is_taken_in: bool = False
    for i: uint256 in range(watches.TURNS):
        place: uint256 = (first + i) % watches.PLACES
        if not watches._is_due(head, place, i >= watches.PLACES):
            continue
        if not is_taken_in:
            is_taken_in = True
            self._poke(self.asset_of[feed])
        gas_before: uint256 = msg.gas
        code: uint256 = attempts._attempt(MANDATES, watches._account_at(feed, place), payee)
        if code == attempts.NO_GAS:
            break
        paid: uint256 = 0
        gas_used: uint256 = gas_before - msg.gas
        head, paid = watches._book(feed, head, place, gas_used, code)
        earned += paid
        has_served = True
    if has_served:
        watches._close(feed, head, tx.origin, earned)


@internal
def _poke(asset: uint256):
    """@dev A round that moves the price moves volatility, too, and an account needs help against both at once."""
    if asset == 0 or not attempts._has_gas(POKE_GAS):
        return
    assets: DynArray[uint256, 16] = [asset]
    success: bool = raw_call(
        ORACLE, abi_encode(assets, method_id=POKE), gas=POKE_GAS, revert_on_failure=False
    )
    if not success:
        log IKeepers.PokeFailed(asset=asset)


@internal
@view
def _newest(feed: address) -> uint256[5]:
    """@dev Its newest round as five words; zeros where it does not answer one that can be."""
    success: bool = False
    data: Bytes[160] = b""
    success, data = raw_call(
        feed, LATEST, max_outsize=160, gas=FEED_GAS, is_static_call=True, revert_on_failure=False
    )
    if not success or len(data) != 160:
        return empty(uint256[5])
    words: uint256[5] = abi_decode(data, uint256[5])
    if words[0] > watches.MASK_80:
        return empty(uint256[5])
    return words


@internal
def _put_fee(fee: uint256, most: uint256):
    self._require_fee(fee, most)
    watches._fee = fee
    log IKeepers.FeeChanged(fee=fee)


################################################################
#                            Guards                            #
################################################################


@internal
@view
def _check_owner(account: uint256):
    if msg.sender != packing._owner(account):
        reasons._fail("keepers: only the owner")


@internal
@view
def _check_pull_feed(feed: address):
    if not self.is_pull_feed[feed]:
        reasons._fail("keepers: feed not allowed")


@internal
@pure
def _require_feed(feed: address):
    if feed == empty(address):
        reasons._fail("keepers: unknown asset")


@internal
@pure
def _require_rounds(round_id: uint256):
    if round_id == 0:
        reasons._fail("keepers: feed has no round")


@internal
@view
def _require_receiver(receiver: address):
    """@dev Sent here, it would be nobody's."""
    if receiver == empty(address) or receiver == self:
        reasons._fail("keepers: bad receiver")


@internal
@pure
def _require_fee(fee: uint256, most: uint256):
    if fee > most:
        reasons._fail("keepers: fee above its bound")


@internal
@pure
def _require_reason(length: uint256):
    if length == 0:
        reasons._fail("keepers: push failed")
