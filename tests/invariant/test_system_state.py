"""Random campaigns on the whole deployed system; every invariant after every action.

    BALLAST_PROFILE=deep pytest tests/invariant/test_system_state.py -s    # 100,000 actions
    BALLAST_SEED=17 pytest tests/invariant/test_system_state.py -s         # one episode again

The quick profile takes 3,000 accepted actions from fixed seeds. How many actions of each kind were
accepted and refused, and how often each premise held, is printed; `-s` shows it.
"""

from __future__ import annotations

import os

import pytest

from tests.support.system_campaign import Episode, Tally, campaign, replay, shrink
from tests.support.system_checks import Broken
from tests.support.system_invariants import PREMISES
from tests.support.system_state import Cast, TransientWatch
from tests.support.system_steps import Call, Step

PROFILE = os.environ.get("BALLAST_PROFILE", "quick")
ACCEPTED = {"quick": 3_000, "deep": 100_000}[PROFILE]
SEED = os.environ.get("BALLAST_SEED")
SHARDS = 1 if SEED else 2  # so that two workers share the time
PER_EPISODE = 500
CONDITIONAL = {
    "hostile",
    "hook_acts",
    "borrow",
    "withdraw",
    "transfer",
    "buy",
    "sell",
    "batch",
    "rebalance",
}


def _assert_no_premise_is_vacuous(tally: Tally) -> None:
    untried = [key for key in PREMISES if not tally.premises[key]]
    assert untried == [], "no check may pass only because its premise never held"
    kinds = set(tally.accepted) | set(tally.refused)
    assert {kind for kind in kinds if not tally.accepted[kind]} == set()
    assert {kind for kind in CONDITIONAL if not tally.refused[kind]} == set()
    refused = tally.refused.total() / (tally.refused.total() + tally.accepted.total())
    assert 0.25 <= refused <= 0.6, f"{refused:.0%} of the actions were refused"


@pytest.mark.parametrize("shard", range(SHARDS))
def test_campaign__whole_system__no_invariant_breaks(shard: int) -> None:
    """I01 I02 I03 I04 I05 I06 I07 I08 I09 I10 I11 I12 I14 I15 I16 I17 I22 I23 I24 I25 I26 I27 I28
    I29 I31 I32 I40 I42 I44 I46, after each action."""
    if SEED:
        tally = campaign(int(SEED), PER_EPISODE, PER_EPISODE)
        assert tally.done == PER_EPISODE
        return
    tally = campaign(1 + 10**6 * shard, ACCEPTED // SHARDS, PER_EPISODE)
    print("", *tally.lines, sep="\n")
    assert tally.done == ACCEPTED // SHARDS
    _assert_no_premise_is_vacuous(tally)


# ---- the harness itself


def _theft(units: int) -> Step:
    """Quote tokens that come from nowhere and go where nobody looks."""
    return Step("theft", (Call("token USD", "mint", ("0x" + "11" * 20, units), "attacker"),))


def test_checks__tokens_from_nowhere__break_conservation() -> None:
    """I02 is able to fail."""
    with pytest.raises(Broken, match="I02"):
        replay([_theft(5)])


def test_watch__call_state_left_behind__is_seen() -> None:
    """I42 is able to fail: a mandate that is opened and never closed."""
    cast = Cast()
    world, chain, opener = cast.world, cast.world.chain, cast.roles["keeper"]
    system = world.system
    ledger = chain.deploy(
        "Clearinghouse",
        world.quote,
        system.oracle,
        system.vault,
        opener,
        system.listings,
        sender=world.governor,
    )
    question = ledger.call_state.encode()
    watch = TransientWatch(chain.evm, chain.accounts[9], ledger.address, question)
    chain.evm = watch
    watch.is_armed = True
    ledger.open_mandate(cast.accounts[0], sender=opener)
    assert watch.left_behind == [2]


def test_shrink__one_bad_step_among_many__leaves_it_alone() -> None:
    """A failure comes out as the steps it needs."""
    episode = Episode()
    with pytest.raises(Broken) as broken:
        episode.run(seed=1, accepted=60)
        episode.perform(_theft(5))
    assert shrink(episode.steps, broken.value.id) == [_theft(5)]
