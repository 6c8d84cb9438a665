"""The demo on a real node: a short crash, and its figures against the chain's own events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

import pytest
from click.testing import CliRunner

from ballast.model.margin import Position
from ballast.prices import HOUR_S, PriceSeries, Round, expand
from ballast.replay import WARM_UP_S, Player, ReplayError, World, build_world, replay, start_node
from ballast.report import Recording, percentile, summarise
from ballast.report.recording import WAD
from scripts.demo import cli

T0 = 1_584_000_000
DOLLARS = {"ETH": 200.0, "BTC": 8_000.0}
ACCOUNTS = 3  # 1.5x, 2.5x and 3.5x; the second keeps a reserve in its wallet
KINDS = ("long", "short", "basis")  # one account of each stands beside them
COHORT = ACCOUNTS + len(KINDS)  # members of a cohort, in this order


def _crash(depth: float = 0.26) -> PriceSeries:
    """Calm while the oracle warms up, then down by ``depth`` within an hour, and no way back."""
    end_s = T0 + WARM_UP_S
    rounds: list[Round] = []
    for asset, price in DOLLARS.items():
        knots = [(T0, price), (T0 + HOUR_S, price * 1.002), (end_s, price)]
        fall = price * (1 - depth)
        knots += [(end_s + 600, price), (end_s + 600 + HOUR_S, fall), (end_s + 2 * HOUR_S, fall)]
        rounds += expand(asset, knots, deviation=0.01)
    return PriceSeries("a short crash", tuple(sorted(rounds, key=lambda r: (r.time_s, r.asset))))


@dataclass(frozen=True)
class Run:
    world: World
    player: Player
    recording: Recording

    def rebalanced(self) -> list:
        """The contract's events, straight from the chain."""
        return self.world.chain.events(self.world.system.mandates, "Rebalanced")

    def call_at(self, function, argument: int, block: int):
        """A view as of the end of an earlier block."""
        call = {"to": function.contract.address, "data": "0x" + function.encode(argument).hex()}
        answer = self.world.chain.rpc.request("eth_call", call, hex(block))
        return function.decode(bytes.fromhex(answer[2:]))


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    series = _crash()
    with start_node(series.start_s) as node:
        world = build_world(node, series.start_s, series.opening())
        player = Player(world, series, ACCOUNTS, series.start_s + WARM_UP_S)
        yield Run(world, player, player.play())


# The figures


def test_demo__short_crash__spares_the_hooked_and_breaks_the_bare(run):
    figures = summarise(run.recording)
    assert figures["hooked"]["breached"] == 0 < figures["hooked"]["rebalances"]
    assert figures["bare"]["breached"] >= 1
    assert figures["bare"]["rebalances"] == 0
    assert figures["hooked"]["cost_bps"]["mean"] <= 100
    assert figures["hooked"]["ends_at"]["max"] <= 1.1


def test_demo__json__has_the_promised_shape(run):
    figures = json.loads(json.dumps(summarise(run.recording)))
    assert set(figures) == {
        *("prices", "rounds", "hooked", "bare", "perpetuals", "house", "liquidator"),
    }
    assert set(figures["prices"]) == {"source", "from", "to"}
    assert tuple(figures["perpetuals"]) == KINDS
    for cohorts in figures["perpetuals"].values():
        assert set(cohorts) == {"hooked", "bare"}
        assert all(c["accounts"] == 1 and set(c) == set(figures["bare"]) for c in cohorts.values())
    for cohort in ("hooked", "bare"):
        assert figures[cohort]["accounts"] == ACCOUNTS
        for key, parts in {
            "cost_bps": {"mean", "max"},
            "delay_blocks": {"p50", "p95"},
            "gas": {"p50", "max"},
            "equity": {"start", "end"},
        }.items():
            assert set(figures[cohort][key]) == parts
        assert {type(figures[cohort][k]) for k in ("breached", "liquidated", "rebalances")} == {int}


def test_demo__rounds__are_those_of_the_feeds_since_the_opening(run):
    opened = run.recording.frames[0].block
    published = sum(
        len(run.world.chain.events(feed, "AnswerUpdated", from_block=opened + 1))
        for feed in run.world.feeds.values()
    )
    assert summarise(run.recording)["rounds"] == published > 40


def test_demo__rebalances__are_the_events_of_the_chain(run):
    events = run.rebalanced()
    assert len(run.recording.rebalances) == len(events)
    spot = {m.account for m in run.player.members[:ACCOUNTS]}
    events = [e for e in events if e.args.account in spot]
    figures = summarise(run.recording)["hooked"]
    assert figures["rebalances"] == len(events)
    hashes = [e.tx_hash for e in events]
    receipts = [run.world.chain.rpc.request("eth_getTransactionReceipt", h) for h in hashes]
    gas = [int(receipt["gasUsed"], 16) for receipt in receipts]
    assert figures["gas"] == {"p50": percentile(gas, 50), "max": max(gas)}
    ends = [e.args.equity_after / e.args.required_after / 1.3 for e in events]
    assert figures["ends_at"]["max"] == pytest.approx(max(ends), abs=1e-4)


def test_demo__cost__is_the_loss_that_the_contract_judged(run):
    members = run.player.members[:COHORT]
    starts = run.recording.accounts[:COHORT]
    lost = {m.account: 0 for m in members}
    for event in run.rebalanced():
        lost[event.args.account] += event.args.loss
    costs = [
        10_000 * lost[m.account] / start.equity for m, start in zip(members, starts, strict=True)
    ]
    summary = summarise(run.recording)
    figures = summary["hooked"]["cost_bps"]
    assert figures["mean"] == pytest.approx(mean(costs[:ACCOUNTS]), abs=1e-4)
    assert figures["max"] == pytest.approx(max(costs[:ACCOUNTS]), abs=1e-4)
    for kind, cost in zip(KINDS, costs[ACCOUNTS:], strict=True):
        figures = summary["perpetuals"][kind]["hooked"]["cost_bps"]
        assert figures["mean"] == pytest.approx(cost, abs=1e-4)


def test_demo__long_with_a_hook__is_trimmed_and_stays_further_from_its_margin(run):
    recording = run.recording
    assert summarise(recording)["perpetuals"]["long"]["hooked"]["breached"] == 0
    ((hooked,), (bare,)) = (recording.members(c, "long") for c in ("hooked", "bare"))
    assert recording.lowest_health(hooked) > 1.5 * recording.lowest_health(bare)
    assert sum(r.trimmed for r in recording.rebalances if r.account == hooked) > 0


def test_demo__basis_accounts__keep_their_equity_whatever_the_price(run):
    figures = summarise(run.recording)["perpetuals"]["basis"]
    for cohort in ("bare", "hooked"):
        assert figures[cohort]["breached"] == 0
        assert figures[cohort]["equity"]["end"] >= 0.985 * figures[cohort]["equity"]["start"]


def test_demo__house__loses_what_the_traders_win(run):
    """I19: perpetuals move money and make none. Over all accounts, the house among them, what was
    won adds up to nothing but the wei of rounding."""
    system, oracle = run.world.system, run.world.system.oracle
    accounts = [m.account for m in run.player.members]
    traded = 0
    for asset in system.assets.values():
        price = oracle.price_wad(asset)
        legs = [
            leg
            for account in (*accounts, system.house)
            for leg in system.mandates.snapshot(account).legs
            if leg.asset == asset
        ]
        sizes = [Position.from_word(leg.position).size_wad for leg in legs]
        traded += any(sizes)
        assert sum(sizes) == 0
        assert sum(leg.cost for leg in legs) == 0
        results = [
            size * (price - leg.funding) // WAD - leg.cost
            for size, leg in zip(sizes, legs, strict=True)
        ]
        assert -len(legs) <= sum(results) <= 0
    assert traded > 0
    first, last = run.recording.frames[0].house, run.recording.frames[-1].house
    assert first is not None and last is not None and last.equity != first.equity
    assert summarise(run.recording)["house"]["equity"]["end"] == round(last.equity / WAD, 2)


def test_demo__liquidations__are_the_events_of_the_chain(run):
    """Bare accounts are liquidated in the block after the round, hooked ones never have to be."""
    recording, system = run.recording, run.world.system
    told = run.world.chain.events(system.liquidator, "Liquidated")
    assert len(told) == len(recording.liquidations) > 0
    for event, kept in zip(told, recording.liquidations, strict=True):
        assert run.player.members[kept.account].account == event.args.account
        assert kept.cost == event.args.bonus_wad and kept.fee == event.args.fee_wad
        assert kept.before.is_breached and kept.delay_s == 0
        assert recording.accounts[kept.account].cohort == "bare"


def test_demo__what_owners_lost__is_with_liquidator_and_insurance_less_what_exits_cost(run):
    recording, world = run.recording, run.world
    owners = sum(x.cost for x in recording.liquidations)
    insurance = world.system.clearinghouse.picture_of(world.system.insurance)[0]
    start, end = recording.takers["bare"]
    assert insurance == sum(x.fee for x in recording.liquidations) > 0
    # Prices moved for a block before he had sold, either way.
    assert 0 < end - start < owners - insurance
    assert recording.takers["hooked"][0] == recording.takers["hooked"][1]


def test_liquidator__who_comes_late__finds_deeper_accounts():
    series = _crash(0.4)
    late = replay(
        series, accounts=2, opens_at_s=series.start_s + WARM_UP_S, liquidation_delay_s=1_800
    )
    assert late.liquidations and all(x.delay_s >= 1_800 for x in late.liquidations)
    at_once = replay(series, accounts=2, opens_at_s=series.start_s + WARM_UP_S)
    assert min(x.before.health for x in late.liquidations) < min(
        x.before.health for x in at_once.liquidations
    )


def test_demo__sales__lose_what_the_contract_judged(run):
    """The same loss told twice; repaying a loan may round up by a unit of the quote token."""
    unit_wad = WAD // 10**6
    assert any(r.sales for r in run.recording.rebalances)
    spot = run.recording.members("hooked")
    for r in (r for r in run.recording.rebalances if r.account in spot):
        swapped = sum(sale.value - sale.proceeds for sale in r.sales)
        assert -10 <= r.cost - swapped <= 3 * unit_wad


def test_demo__wallet_reserve__is_used_before_collateral_is_sold(run):
    pulled = [r for r in run.recording.rebalances if r.pulled]
    assert {run.recording.accounts[r.account].reserve_kind for r in pulled} == {"wallet"}
    spent = sum(r.pulled for r in pulled)
    assert spent == run.recording.accounts[1].reserve == run.recording.frames[0].holdings[1].reserve
    assert run.recording.frames[-1].holdings[1].reserve == 0


def test_demo__delay__starts_with_a_block_before_which_nothing_was_due(run):
    plan = run.world.system.rebalancer.plan
    for r in run.recording.rebalances:
        account = run.player.members[r.account].account
        assert 1 <= r.delay_blocks <= 2
        assert run.call_at(plan, account, r.block - r.delay_blocks - 1).code != 0
        if r.delay_blocks == 1:
            assert run.call_at(plan, account, r.block - 1).code == 0


def test_demo__frames__are_what_the_chain_says_at_the_end_of_their_block(run):
    assess = run.world.system.clearinghouse.assess
    for frame in run.recording.frames[::7]:
        for member, margin in zip(run.player.members, frame.margins, strict=True):
            assert tuple(run.call_at(assess, member.account, frame.block)) == tuple(margin)


def test_demo__pools__stand_at_the_feed_when_a_keeper_sells(run):
    for asset, pool in run.world.venue.pools.items():
        assert pool.present_x96() == pool.sqrt_price_x96(run.world.answers[asset])


# The cohorts


def test_replay__entry_that_listens__rebalances_in_the_transaction_of_the_price() -> None:
    """Zero delay: one transaction holds the new answer and the rebalance that it asks for."""
    series = _crash()
    with start_node(series.start_s) as node:
        world = build_world(node, series.start_s, series.opening())
        world.listen()
        player = Player(world, series, ACCOUNTS, series.start_s + WARM_UP_S)
        done = player.play().rebalances
        answers = {
            (event.block, event.tx_hash)
            for feed in world.feeds.values()
            for event in world.chain.events(feed, "AnswerUpdated")
        }
        judged = world.chain.events(world.system.mandates, "Rebalanced")
        with_the_price = [e for e in judged if (e.block, e.tx_hash) in answers]
    assert len(done) == len(judged) > 0
    at_once = [r for r in done if r.delay_blocks == 0]
    assert len(at_once) >= len(with_the_price) > len(judged) // 2
    assert percentile([r.delay_blocks for r in done], 50) == 0
    # Each is told from its own account's events, though one transaction may hold several.
    for rebalance in done:
        assert rebalance.cost >= 0 and rebalance.after.equity > 0


def test_cohorts__at_the_opening__are_twins(run):
    hooked, bare = run.recording.accounts[:COHORT], run.recording.accounts[COHORT:]
    first = run.recording.frames[0]
    for n, (one, other) in enumerate(zip(hooked, bare, strict=True)):
        assert (one.name, one.leverage, one.mix, one.kind, one.reserve) == (
            (other.name, other.leverage, other.mix, other.kind, other.reserve)
        )
        if one.kind != "spot":
            # Each trade finds the skew that the ones before it left.
            assert one.equity == pytest.approx(other.equity, rel=1e-2)
            continue
        assert one.equity == other.equity
        assert first.margins[n] == first.margins[COHORT + n]
        value = sum(first.holdings[n].collateral.values())
        assert value / (one.equity - one.reserve) == pytest.approx(one.leverage, rel=1e-3)
        assert one.equity > 10_000 * WAD


def test_cohorts__bare_accounts__have_no_hook_and_no_policy(run):
    system = run.world.system
    for member in run.player.members[COHORT:]:
        assert int(system.mandates.hook_of(member.account), 16) == 0
        assert system.rebalancer.policy_of(member.account).trigger_bps == 0


# What cannot be played


def test_replay__prices_end_before_the_opening__says_how_long_they_must_be():
    series = _crash()
    with pytest.raises(ReplayError, match="choose a longer range"):
        replay(series.between(None, T0 + HOUR_S), accounts=1)


def test_replay__asset_without_a_pool__is_named():
    rounds = tuple(Round("SOL", T0 + 600 * n, 20 * 10**8) for n in range(60))
    with pytest.raises(ReplayError, match="SOL has no token"):
        replay(PriceSeries("sol", rounds), accounts=1)


def test_replay__wild_market_at_the_opening__names_the_reason():
    """At the cap of volatility nobody may open at 3.5x."""
    last_s = T0 + WARM_UP_S
    prices = [200 if n % 2 else 240 for n in range(70)]
    rounds = tuple(
        Round("ETH", last_s + 60 * (n - 66), price * 10**8) for n, price in enumerate(prices)
    )
    calm = (Round("ETH", T0, 200 * 10**8),)
    with pytest.raises(ReplayError, match="margin: initial margin short.*calmer --from"):
        replay(PriceSeries("wild", calm + rounds), accounts=2)


# The command


def test_cli__candles__leaves_a_report_and_prints_the_table(tmp_path):
    lines = ["timestamp,eth_open,eth_high,eth_low,eth_close"]
    price = 200.0
    for n in range(8):
        close = price * (1 if n < 6 else 0.93)
        lines.append(f"{T0 + n * HOUR_S},{price},{price * 1.001},{close * 0.999},{close}")
        price = close
    (tmp_path / "prices.csv").write_text("\n".join(lines))
    arguments = ["--prices", str(tmp_path / "prices.csv"), "--accounts", "2"]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "breached maintenance margin" in result.output
    figures = json.loads((tmp_path / "out/report.json").read_text())
    assert figures["prices"]["source"] == "prices.csv"
    assert figures["hooked"]["accounts"] == figures["bare"]["accounts"] == 2
    assert (tmp_path / "out/report.html").stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--prices", "nowhere.csv"], "no such file; leave --prices out"),
        (["--from", "tomorrow"], "'tomorrow' is not a date"),
        (["--to", "2030-01-01T03:00"], "choose a longer range"),
        (["--accounts", "0"], "1<=x<=60"),
    ],
)
def test_cli__bad_input__is_told_without_a_traceback(arguments, told, tmp_path):
    result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code != 0
    assert told in result.output
    assert not list(tmp_path.iterdir())
