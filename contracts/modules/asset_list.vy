# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title   Asset list
@license MIT
@author  Ballast contributors
@notice  The assets of an account in one word: sixteen ids of eight bits, how many are used, and which of them
         carry a perpetual.
@dev     ids u8 x 16, lowest first, dense | count u8 at bit 128 | perpetuals u16 at bit 136, a bit for each place whose
         asset has a perpetual or an unpaid result of one: only there is a cost to read. Cheaper to walk than a
         bitmap when sparse. A full list refuses a new asset and never stands in the way of an exit.
"""

MAX_ASSETS: constant(uint256) = 16

COUNT_SHIFT: constant(uint256) = 128
PERPETUALS_SHIFT: constant(uint256) = 136


@internal
@pure
def _count(listed: uint256) -> uint256:
    return (listed >> COUNT_SHIFT) & 255


@internal
@pure
def _has_perpetual(listed: uint256) -> bool:
    return (listed >> PERPETUALS_SHIFT) != 0


@internal
@pure
def _carries_perpetual(listed: uint256, index: uint256) -> bool:
    return (listed >> unsafe_add(PERPETUALS_SHIFT, index)) & 1 != 0


@internal
@pure
def _marked(listed: uint256, index: uint256, carries_perpetual: bool) -> uint256:
    """@dev The list with the perpetual's bit of a place set or cleared."""
    bit: uint256 = 1 << (PERPETUALS_SHIFT + index)
    if carries_perpetual:
        return listed | bit
    return listed & ~bit


@internal
@pure
def _at(listed: uint256, index: uint256) -> uint256:
    return (listed >> unsafe_mul(8, index)) & 255


@internal
@pure
def _ids(listed: uint256) -> DynArray[uint256, MAX_ASSETS]:
    ids: DynArray[uint256, MAX_ASSETS] = []
    rest: uint256 = listed
    for i: uint256 in range(self._count(listed), bound=MAX_ASSETS):
        ids.append(rest & 255)
        rest = rest >> 8
    return ids


@internal
@pure
def _index_of(listed: uint256, asset: uint256) -> uint256:
    """@dev The slot of `asset`, or MAX_ASSETS when it is not there."""
    rest: uint256 = listed
    for i: uint256 in range(self._count(listed), bound=MAX_ASSETS):
        if rest & 255 == asset:
            return i
        rest = rest >> 8
    return MAX_ASSETS


@internal
@pure
def _with(listed: uint256, asset: uint256) -> uint256:
    """@dev `asset` is not listed and there is room: the caller has checked both."""
    return (listed | (asset << (8 * self._count(listed)))) + (1 << COUNT_SHIFT)


@internal
@pure
def _without(listed: uint256, index: uint256) -> uint256:
    """@dev The last asset moves into the freed place; `index` is below the count."""
    last: uint256 = self._count(listed) - 1
    shorter: uint256 = listed - self._entry(listed, last, last) - (1 << COUNT_SHIFT)
    if index != last:
        shorter = shorter - self._entry(listed, index, index) + self._entry(listed, last, index)
    return shorter


@internal
@pure
def _entry(listed: uint256, index: uint256, place: uint256) -> uint256:
    """@dev Id and perpetual's bit of the asset at `index`, shifted to `place`."""
    return (((listed >> (8 * index)) & 255) << (8 * place)) | (
        ((listed >> (PERPETUALS_SHIFT + index)) & 1) << (PERPETUALS_SHIFT + place)
    )
