"""Random campaigns on the whole deployed system; every invariant after every action.

    BALLAST_SEED=17 pytest tests/invariant/test_system_state.py -s         # one episode again

10,000 accepted actions from fixed seeds; `make deep` takes a million. How many actions of each kind
were accepted and refused, and how often each premise held, is told at the end of the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ballast.model.margin import WAD
from ballast.model.perps import SIZE_STEP_WAD
from tests.support.system_campaign import PER_EPISODE, Episode, Tally, campaign, replay, shrink
from tests.support.system_cast import Cast, TransientWatch
from tests.support.system_checks import Broken, Outcome
from tests.support.system_invariants import PREMISES, RARE
from tests.support.system_state import State
from tests.support.system_steps import Call, Step
from tests.support.world import UNLIMITED

ACCEPTED = 10_000
SEED = os.environ.get("BALLAST_SEED")
SHARDS = 1 if SEED else 2  # so that two workers share the time
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
    "open",
    "increase",
    "flip",
    "close",
    "settle",
    "adl",
    "ask_exit",
    "liquidate",
    "wind_down",
}
MEANT_TO_FAIL = {"bad_trade"}


def _assert_no_premise_is_vacuous(tally: Tally) -> None:
    untried = [key for key in PREMISES if key not in RARE and not tally.premises[key]]
    assert untried == [], "no check may pass only because its premise never held"
    kinds = set(tally.accepted) | set(tally.refused)
    assert {kind for kind in kinds if not tally.accepted[kind]} <= MEANT_TO_FAIL
    assert {kind for kind in CONDITIONAL if not tally.refused[kind]} == set()
    refused = tally.refused.total() / (tally.refused.total() + tally.accepted.total())
    assert 0.25 <= refused <= 0.6, f"{refused:.0%} of the actions were refused"


@pytest.mark.parametrize("shard", range(SHARDS))
def test_campaign__whole_system__no_invariant_breaks(
    shard: int, record_property: Callable[[str, object], None]
) -> None:
    """I01 I02 I03 I04 I05 I06 I07 I08 I09 I10 I11 I12 I14 I15 I16 I17 I18 I19 I20 I22 I23 I24 I25
    I26 I27 I28 I29 I31 I32 I40 I42 I44 I46 I48 I49 I50, after each action, and the exact model of
    each."""
    if SEED:
        tally = campaign(int(SEED), PER_EPISODE)
        assert tally.done == PER_EPISODE
        return
    tally = campaign(1 + 10**6 * shard, ACCEPTED // SHARDS)
    record_property("told", "\n".join(tally.lines))  # shown at the end, also by workers
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
        system.perps,
        system.exchange,
        system.liquidator,
        system.liquidity_vault,
        sender=world.governor,
    )
    question = ledger.call_state.encode()
    watch = TransientWatch(chain.evm, chain.accounts[9], ledger.address, question)
    chain.evm = watch
    watch.is_armed = True
    ledger.open_mandate(cast.accounts[0], sender=opener)
    assert watch.left_behind == [2]


class Traded:
    """A long is opened, on the way to whatever is done to what was read of it."""

    def __init__(self) -> None:
        self.episode = episode = Episode()
        cast = episode.cast
        self.account, self.name = cast.accounts[0], "ETH"
        asset = cast.world.asset(self.name)
        owner = cast.owner_role(self.account)
        for step in (
            Step("deposit", (Call("Clearinghouse", "deposit", (self.account, 0, 10**11), owner),)),
            Step("deposit", (Call("Clearinghouse", "deposit", (cast.house, 0, 10**11), owner),)),
            Step("headroom", (Call("Perps", "refresh", (), "keeper"),)),
        ):
            episode.perform(step)
        self.before = cast.read()
        order = (self.account, asset, 10 * WAD, UNLIMITED, self.before.time, False)
        self.step = Step("open", (Call("Perps", "trade", order, owner),))
        self.outcome, self.after = episode.perform(self.step)
        assert self.outcome.is_accepted

    def check(self, before: State, after: State, outcome: Outcome | None = None) -> None:
        self.episode.invariants.after(self.step, outcome or self.outcome, before, after)

    def costs(self, state: State, change: int, *accounts: int) -> dict[tuple[int, str], int]:
        """Costs of a state, some of them changed by so much."""
        key = {(account, self.name) for account in accounts}
        return {k: word + change * (k in key) for k, word in state.costs.items()}


def test_checks__cost_that_moved__breaks_the_sum_and_the_model() -> None:
    """I19, and the exact model of margin, fill and trade, are able to fail."""
    traded = Traded()
    before, after, who = traded.before, traded.after, (traded.account, traded.episode.cast.house)
    traded.check(before, after)
    with pytest.raises(Broken, match="I19"):
        traded.check(before, replace(after, costs=traded.costs(after, 1, who[0])))
    costs = traded.costs(after, 1, who[0])
    costs[who[1], traded.name] -= 1
    with pytest.raises(Broken, match="exact assess"):
        traded.check(before, replace(after, costs=costs))
    terms = {**after.terms, who[0]: replace(after.terms[who[0]], equity_init=0)}
    with pytest.raises(Broken, match="exact assess"):
        traded.check(before, replace(after, terms=terms))


def test_checks__other_prices_than_those_of_the_trade__break_the_foretold() -> None:
    """The exact model of a trade, of each fill and of a refusal are able to fail."""
    traded = Traded()
    before, after, checks = traded.before, traded.after, traded.episode.invariants
    mark = before.marks[traded.name]
    dearer = replace(mark.price, newest_wad=mark.price_wad + 1)
    wrong = replace(before, marks={**before.marks, traded.name: replace(mark, price=dearer)})
    with pytest.raises(Broken, match="exact trade"):
        checks.of_foretold(traded.step, traded.outcome, wrong, after)
    with pytest.raises(Broken, match="exact fill"):
        checks.of_fills(traded.outcome, wrong, after)
    refused = Outcome((), "perps: price passed")
    with pytest.raises(Broken, match="exact trade"):
        checks.of_foretold(traded.step, refused, before, before)


def test_checks__trade_beyond_a_cap__breaks_it() -> None:
    """I20 is able to fail: what was done with large caps was not allowed with small ones."""
    traded = Traded()
    market = traded.before.markets[traded.name]
    for field in ("open_interest_cap_gwei", "round_cap_gwei"):
        terms = replace(market.terms, **{field: 10**9})
        markets = {**traded.before.markets, traded.name: replace(market, terms=terms)}
        with pytest.raises(Broken, match="I20"):
            before = replace(traded.before, markets=markets)
            traded.episode.invariants.of_fills(traded.outcome, before, traded.after)


def test_checks__counters_and_funding_that_are_off__break_the_sums() -> None:
    """I18, I20 and I27 are able to fail."""
    traded = Traded()
    before, after = traded.before, traded.after
    longs, shorts = after.sides[traded.name]
    sides = {**after.sides, traded.name: (longs + SIZE_STEP_WAD, shorts)}
    with pytest.raises(Broken, match="I20"):
        traded.check(before, replace(after, sides=sides))
    listed = {**after.listed, traded.account: after.listed[traded.account] & 2**136 - 1}
    with pytest.raises(Broken, match="I27"):
        traded.check(before, replace(after, listed=listed))
    with pytest.raises(Broken, match="I24"):
        others = replace(before, costs=traded.costs(before, 1, traded.episode.cast.accounts[3]))
        traded.check(others, after)


def test_checks__house_that_pays_for_a_trade__is_seen() -> None:
    """I10 is able to fail: the house was worth more before."""
    traded = Traded()
    house = traded.before.house
    words = dict(traded.before.account_words)
    words[house] += 1_000 * WAD
    with pytest.raises(Broken, match="I10"):
        before = replace(traded.before, account_words=words)
        traded.episode.invariants.of_value(traded.step, traded.outcome, before, traded.after)


def test_events__one_that_was_not_told__is_missed() -> None:
    """I46 is able to fail: a trade that the log does not tell of."""
    traded = Traded()
    traded.episode.invariants.events_tell_all()
    chain = traded.episode.cast.world.chain
    told = chain.logs
    topic = traded.episode.cast.world.system.perps.topic("Traded")

    def silent(*args: Any, **options: Any) -> list[Any]:
        return [log for log in told(*args, **options) if log.topics[0] != topic]

    chain.logs = silent
    with pytest.raises(Broken, match="I46"):
        traded.episode.invariants.events_tell_all()


class Liquidated:
    """An account at its limit, a fall of a third, and somebody with cash who takes a slice."""

    def __init__(self) -> None:
        self.episode = episode = Episode()
        cast = episode.cast
        self.account, self.taker = cast.accounts[0], cast.accounts[-1]
        owner, buyer = cast.owner_role(self.account), cast.owner_role(self.taker)
        address = cast.roles[owner]
        fall = (Call("feed ETH", "set_answer", (1_330 * 10**8,), "governor"),)
        ledger = "Clearinghouse"
        for step in (
            Step("deposit", (Call(ledger, "deposit", (self.account, 1, 10 * WAD), owner),)),
            Step(
                "borrow", (Call(ledger, "withdraw", (self.account, 0, 12 * 10**9, address), owner),)
            ),
            Step("deposit", (Call(ledger, "deposit", (self.taker, 0, 10**11), buyer),)),
            Step("price", fall, 12),
        ):
            assert episode.perform(step)[0].is_accepted
        self.before = cast.read()
        args = (self.account, self.taker, bytes(32))
        self.step = Step("liquidate", (Call("Liquidator", "liquidate", args, buyer),))
        self.outcome, self.after = episode.perform(self.step)
        assert self.outcome.is_accepted

    def check(self, before: State, after: State) -> None:
        self.episode.invariants.of_liquidations(self.outcome, before, after)


def test_checks__liquidation_that_was_not_due_or_took_too_much__is_seen() -> None:
    """What must hold of a liquidation is able to fail: when it is due, what it costs, who gains."""
    done = Liquidated()
    before, after, account = done.before, done.after, done.account
    done.check(before, after)
    old, new = before.terms[account], after.terms[account]
    sound = replace(old, required_maint=old.equity_maint)
    with pytest.raises(Broken, match="I13"):
        done.check(replace(before, terms={**before.terms, account: sound}), after)
    for change in (-WAD, WAD):
        terms = {**after.terms, account: replace(new, equity_maint=new.equity_maint + change)}
        with pytest.raises(Broken, match="I13"):
            done.check(before, replace(after, terms=terms))
    short = replace(new, required_maint=new.equity_maint + 1)
    with pytest.raises(Broken, match="I13"):
        done.check(before, replace(after, terms={**after.terms, account: short}))
    richer = after.terms[done.taker]
    richer = replace(richer, equity_maint=richer.equity_maint + WAD)
    with pytest.raises(Broken, match="I13"):
        done.check(before, replace(after, terms={**after.terms, done.taker: richer}))
    fund = done.episode.cast.insurance
    for change in (-1, 1):
        words = {**after.account_words, fund: after.account_words[fund] + change}
        with pytest.raises(Broken, match="I34"):
            done.check(before, replace(after, account_words=words))
    with pytest.raises(Broken, match="I13"):
        done.check(before, replace(after, flags={**after.flags, account: before.time}))


def test_events__holding_or_payment_that_was_not_told__is_missed() -> None:
    """I46 is able to fail: a slice that changed hands, and what was paid for it."""
    done = Liquidated()
    done.episode.invariants.events_tell_all()
    chain = done.episode.cast.world.chain
    told, liquidator = chain.logs, done.episode.cast.world.system.liquidator
    for name in ("HoldingsTaken", "CashPaid"):
        topic = liquidator.topic(name)

        def silent(*args: Any, hidden: bytes = topic, **options: Any) -> list[Any]:
            return [log for log in told(*args, **options) if log.topics[0] != hidden]

        chain.logs = silent
        with pytest.raises(Broken, match="I46"):
            done.episode.invariants.events_tell_all()


def test_shrink__one_bad_step_among_many__leaves_it_alone() -> None:
    """A failure comes out as the steps it needs."""
    episode = Episode()
    with pytest.raises(Broken) as broken:
        episode.run(seed=1, accepted=60)
        episode.perform(_theft(5))
    assert shrink(episode.steps, broken.value.id) == [_theft(5)]
