"""The demo on a real node: a short crash, and its figures against the chain's own events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

import pytest
from click.testing import CliRunner

from ballast.prices import HOUR_S, PriceSeries, Round, expand
from ballast.replay import WARM_UP_S, Player, ReplayError, World, build_world, replay, start_node
from ballast.report import Recording, percentile, summarise
from ballast.report.recording import WAD
from scripts.demo import cli

T0 = 1_584_000_000
DOLLARS = {"ETH": 200.0, "BTC": 8_000.0}
ACCOUNTS = 3  # 1.5x, 2.5x and 3.5x; the second keeps a reserve in its wallet


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
    assert set(figures) == {"prices", "rounds", "hooked", "bare"}
    assert set(figures["prices"]) == {"source", "from", "to"}
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
    figures = summarise(run.recording)["hooked"]
    assert figures["rebalances"] == len(events)
    hashes = [e.tx_hash for e in events]
    receipts = [run.world.chain.rpc.request("eth_getTransactionReceipt", h) for h in hashes]
    gas = [int(receipt["gasUsed"], 16) for receipt in receipts]
    assert figures["gas"] == {"p50": percentile(gas, 50), "max": max(gas)}
    ends = [e.args.equity_after / e.args.required_after / 1.3 for e in events]
    assert figures["ends_at"]["max"] == pytest.approx(max(ends), abs=1e-4)


def test_demo__cost__is_the_loss_that_the_contract_judged(run):
    members = run.player.members[:ACCOUNTS]
    starts = run.recording.accounts[:ACCOUNTS]
    lost = {m.account: 0 for m in members}
    for event in run.rebalanced():
        lost[event.args.account] += event.args.loss
    costs = [
        10_000 * lost[m.account] / start.equity for m, start in zip(members, starts, strict=True)
    ]
    figures = summarise(run.recording)["hooked"]["cost_bps"]
    assert figures["mean"] == pytest.approx(mean(costs), abs=1e-4)
    assert figures["max"] == pytest.approx(max(costs), abs=1e-4)


def test_demo__sales__lose_what_the_contract_judged(run):
    """The same loss told twice; repaying a loan may round up by a unit of the quote token."""
    unit_wad = WAD // 10**6
    assert any(r.sales for r in run.recording.rebalances)
    for r in run.recording.rebalances:
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


def test_cohorts__at_the_opening__are_twins(run):
    hooked, bare = run.recording.accounts[:ACCOUNTS], run.recording.accounts[ACCOUNTS:]
    first = run.recording.frames[0]
    for n, (one, other) in enumerate(zip(hooked, bare, strict=True)):
        assert (one.name, one.leverage, one.mix, one.equity, one.reserve) == (
            (other.name, other.leverage, other.mix, other.equity, other.reserve)
        )
        assert first.margins[n] == first.margins[ACCOUNTS + n]
        value = sum(first.holdings[n].collateral.values())
        assert value / (one.equity - one.reserve) == pytest.approx(one.leverage, rel=1e-3)
        assert one.equity > 10_000 * WAD


def test_cohorts__bare_accounts__have_no_hook_and_no_policy(run):
    system = run.world.system
    for member in run.player.members[ACCOUNTS:]:
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
