# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Policies
@license MIT
@author  Ballast contributors
@notice  A rebalancing policy in three words.
@dev     policy  trigger_bps u16 | cooldown_s u32 | min_step u96 | flags u8 | donors u8 x 4 | donor count u8
                 | last_at u40 | actions u8 | funding_bps u16, from the lowest bit; a word without trigger is no policy
         sales   eight of asset u8 | cost_bps u12 | impact_bps u12; asset 0 ends the list
         adapter address
"""

from contracts.interfaces import IRebalancer
from contracts.modules import reasons

MASK_8: constant(uint256) = 2**8 - 1
MASK_12: constant(uint256) = 2**12 - 1
MASK_16: constant(uint256) = 2**16 - 1
MASK_32: constant(uint256) = 2**32 - 1
MASK_40: constant(uint256) = 2**40 - 1
MASK_96: constant(uint256) = 2**96 - 1
MAX_DONORS: constant(uint256) = 4
MAX_SALES: constant(uint256) = 8
MAX_COST_BPS: constant(uint256) = 1_000
BPS: constant(uint256) = 10**4
LAST_AT_SHIFT: constant(uint256) = 192

# Bits of `actions`.
MAY_SETTLE: constant(uint256) = 1
MAY_TRIM: constant(uint256) = 2
MAY_HEDGE: constant(uint256) = 4
MAY_UNWIND: constant(uint256) = 8
MAY_RERISK: constant(uint256) = 16
ALL_ACTIONS: constant(uint256) = 31

# Flags.
USES_WALLET: constant(uint256) = 1 << 144
HAS_BOUNDS: constant(uint256) = 1 << 145
WAS_SET: constant(uint256) = 1 << 146  # also of a policy that was taken away: the next one waits like a looser one


@internal
@pure
def _trigger_bps(word: uint256) -> uint256:
    return word & MASK_16


@internal
@pure
def _cooldown_s(word: uint256) -> uint256:
    return (word >> 16) & MASK_32


@internal
@pure
def _min_step(word: uint256) -> uint256:
    return (word >> 48) & MASK_96


@internal
@pure
def _uses_wallet(word: uint256) -> bool:
    return word & USES_WALLET != 0


@internal
@pure
def _has_bounds(word: uint256) -> bool:
    return word & HAS_BOUNDS != 0


@internal
@pure
def _donor(word: uint256, index: uint256) -> uint256:
    return (word >> (152 + 8 * index)) & MASK_8


@internal
@pure
def _donor_count(word: uint256) -> uint256:
    return (word >> 184) & MASK_8


@internal
@pure
def _last_at(word: uint256) -> uint256:
    return (word >> LAST_AT_SHIFT) & MASK_40


@internal
@pure
def _with_last_at(word: uint256, last_at: uint256) -> uint256:
    return (word & ~(MASK_40 << LAST_AT_SHIFT)) | (last_at << LAST_AT_SHIFT)


@internal
@pure
def _actions(word: uint256) -> uint256:
    return (word >> 232) & MASK_8


@internal
@pure
def _funding_bps(word: uint256) -> uint256:
    return word >> 240


@internal
@pure
def _sale(word: uint256, index: uint256) -> IRebalancer.Sale:
    entry: uint256 = (word >> (32 * index)) & MASK_32
    return IRebalancer.Sale(asset=entry & MASK_8, cost_bps=(entry >> 8) & MASK_12, impact_bps=entry >> 20)


@internal
@pure
def _place_of_sale(word: uint256, asset: uint256) -> uint256:
    """@dev The place of an asset among the sales, or MAX_SALES when it is none of them."""
    rest: uint256 = word
    for i: uint256 in range(MAX_SALES):
        if rest & MASK_8 == asset:
            return i
        rest = rest >> 32
        if rest == 0:
            break
    return MAX_SALES


@internal
@pure
def _packed(policy: IRebalancer.Policy) -> uint256:
    self._require_policy(policy)
    word: uint256 = (
        WAS_SET
        | policy.trigger_bps
        | (policy.cooldown_s << 16)
        | (policy.min_step << 48)
        | (len(policy.donors) << 184)
        | (policy.actions << 232)
        | (policy.funding_bps << 240)
    )
    if policy.uses_wallet:
        word = word | USES_WALLET
    seen: uint256 = 0
    for i: uint256 in range(len(policy.donors), bound=MAX_DONORS):
        self._require_donor(policy.donors[i], seen)
        seen = seen | (1 << policy.donors[i])
        word = word | (policy.donors[i] << (152 + 8 * i))
    return word


@internal
@pure
def _packed_sales(policy: IRebalancer.Policy) -> uint256:
    word: uint256 = 0
    seen: uint256 = 0
    for i: uint256 in range(len(policy.sales), bound=MAX_SALES):
        self._require_sale(policy.sales[i], seen)
        seen = seen | (1 << policy.sales[i].asset)
        sale: IRebalancer.Sale = policy.sales[i]
        word = word | ((sale.asset | (sale.cost_bps << 8) | (sale.impact_bps << 20)) << (32 * i))
    return word


@internal
@pure
def _unpacked(word: uint256, sales_word: uint256, adapter: address) -> IRebalancer.Policy:
    policy: IRebalancer.Policy = IRebalancer.Policy(
        trigger_bps=self._trigger_bps(word),
        cooldown_s=self._cooldown_s(word),
        min_step=self._min_step(word),
        uses_wallet=self._uses_wallet(word),
        donors=[],
        sales=[],
        adapter=adapter,
        actions=self._actions(word),
        funding_bps=self._funding_bps(word),
    )
    for i: uint256 in range(self._donor_count(word), bound=MAX_DONORS):
        policy.donors.append(self._donor(word, i))
    for i: uint256 in range(MAX_SALES):
        sale: IRebalancer.Sale = self._sale(sales_word, i)
        if sale.asset == 0:
            break
        policy.sales.append(sale)
    return policy


@internal
@pure
def _is_no_looser(new: uint256, new_sales: uint256, old: uint256, old_sales: uint256) -> bool:
    """@dev What acts sooner, oftener or with more is looser."""
    is_later: bool = (
        self._trigger_bps(new) <= self._trigger_bps(old)
        and self._cooldown_s(new) >= self._cooldown_s(old)
        and self._min_step(new) >= self._min_step(old)
    )
    is_within: bool = self._actions(new) & ~self._actions(old) == 0 and (
        self._uses_wallet(old) or not self._uses_wallet(new)
    )
    return is_later and is_within and self._are_fewer(new, new_sales, old, old_sales)


@internal
@pure
def _are_fewer(new: uint256, new_sales: uint256, old: uint256, old_sales: uint256) -> bool:
    """@dev Whether every donor and every sale of one policy is one of the other."""
    for i: uint256 in range(self._donor_count(new), bound=MAX_DONORS):
        is_known: bool = False
        for k: uint256 in range(self._donor_count(old), bound=MAX_DONORS):
            is_known = is_known or self._donor(new, i) == self._donor(old, k)
        if not is_known:
            return False
    for i: uint256 in range(MAX_SALES):
        asset: uint256 = self._sale(new_sales, i).asset
        is_known: bool = asset == 0
        for k: uint256 in range(MAX_SALES):
            is_known = is_known or self._sale(old_sales, k).asset == asset
        if not is_known:
            return False
    return True


################################################################
#                            Guards                            #
################################################################


@internal
@pure
def _require_policy(policy: IRebalancer.Policy):
    is_trigger: bool = policy.trigger_bps >= BPS and policy.trigger_bps <= MASK_16
    is_placed: bool = policy.adapter != empty(address) or len(policy.sales) == 0
    is_timed: bool = policy.cooldown_s <= MASK_32 and policy.min_step <= MASK_96
    is_known: bool = policy.actions <= ALL_ACTIONS and policy.funding_bps <= MAX_COST_BPS
    if not (is_trigger and is_placed and is_timed and is_known):
        reasons._fail("policies: field out of range")


@internal
@pure
def _require_donor(sub: uint256, seen: uint256):
    """@dev Named twice, it would be counted on twice."""
    if sub > MASK_8 or seen & (1 << sub) != 0:
        reasons._fail("policies: bad donor")


@internal
@pure
def _require_sale(sale: IRebalancer.Sale, seen: uint256):
    """@dev Named twice, it would be counted on twice."""
    is_known: bool = sale.asset != 0 and sale.asset <= MASK_8
    is_priced: bool = sale.cost_bps <= MAX_COST_BPS and sale.impact_bps <= MAX_COST_BPS
    if not (is_known and is_priced) or seen & (1 << sale.asset) != 0:
        reasons._fail("policies: bad sale")
