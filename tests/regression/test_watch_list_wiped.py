"""A list of watched accounts could be wiped out in one transaction, for its gas.

A newcomer to a full list takes the place with the least left at more than twice as much, and could
give it up in the same call: with money borrowed for that call everybody lost his place right before
a round that he had paid to be looked after in, and nobody took it. Now whoever takes another's
place keeps it for an hour and pays for its turns. Found in review; T60.
"""

from __future__ import annotations

from tests.conftest import reverts
from tests.keepers_kit import LEAST, PLACES, open_desk
from tests.support.world import QUOTE, UNLIMITED, World

HOUR_S = 3_600
JUST_TAKEN = "watches: place just taken"


def test_unwatch__place_that_was_anothers__is_kept_for_an_hour(world: World) -> None:
    """T60: all of them, and then they may leave; a place that was free may be left at once."""
    desk = open_desk(world)
    for sub in range(PLACES - 1):
        desk.watch(world.account(sub), LEAST)
    attacker = world.attacker
    world.fund(attacker, QUOTE, 10**12)
    world.quote.approve(desk.keepers, UNLIMITED, sender=attacker)
    own = [world.account(sub, attacker) for sub in range(PLACES)]
    for number, account in enumerate(own):
        desk.keepers.watch(account, desk.feed, 3 * LEAST + number, sender=attacker)
        if number == 0:
            with world.isolated():
                desk.keepers.unwatch(account, desk.feed, attacker, sender=attacker)
    assert {row.account for row in desk.keepers.watched(desk.feed)} == set(own)
    for account in own[1:]:
        with reverts(JUST_TAKEN):
            desk.keepers.unwatch(account, desk.feed, attacker, sender=attacker)
    paid = desk.served(desk.publish())
    assert len(paid) == PLACES
    world.chain.advance(HOUR_S)
    for account in own:
        desk.keepers.unwatch(account, desk.feed, attacker, sender=attacker)
    assert desk.keepers.watched(desk.feed) == []
    # Whoever comes into a place that is free again owes it no hour.
    desk.watch(world.account(0), LEAST)
    desk.keepers.unwatch(world.account(0), desk.feed, world.owner, sender=world.owner)
