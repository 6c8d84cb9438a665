"""Efficiency on a real node: the script on a very short path, and a keeper without delay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ballast.prices import HOUR_S, PriceSeries, expand
from ballast.replay import WARM_UP_S, Player, build_world, start_node
from scripts.efficiency import cli

T0 = 1_584_000_000
ACCOUNTS = 3


def _crash() -> PriceSeries:
    """Calm while the oracle warms up, then down by a quarter within an hour, and no way back."""
    end_s = T0 + WARM_UP_S
    knots = [(T0, 200.0), (T0 + HOUR_S, 200.4), (end_s, 200.0), (end_s + 600, 200.0)]
    knots += [(end_s + 600 + HOUR_S, 150.0), (end_s + 2 * HOUR_S, 150.0)]
    return PriceSeries("a short crash", tuple(expand("ETH", knots, deviation=0.01)))


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> dict:
    """What the script writes for the short crash, given as rounds of a feed."""
    folder: Path = tmp_path_factory.mktemp("efficiency")
    rounds = folder / "eth_rounds.csv"
    lines = [f"{r.time_s},{r.answer}" for r in _crash().rounds]
    rounds.write_text("updated_at,answer\n" + "\n".join(lines) + "\n")
    out = folder / "out" / "efficiency.json"
    arguments = ["--prices", str(rounds), "--out", str(out), "--accounts", str(ACCOUNTS)]
    result = CliRunner().invoke(cli, [*arguments, "--model-accounts", "3"])
    assert result.exit_code == 0, result.output
    assert "as asked for" in result.output
    return json.loads(out.read_text())["markets"]["asked_for"]


def test_script__short_crash__spares_the_hooked_at_both_delays(figures):
    for delay in ("0", "1"):
        found = figures["replay"][delay]["groups"]["swaps"]
        assert found["accounts"] == ACCOUNTS
        assert found["liquidated"]["hooked"] == 0 < found["liquidated"]["bare"]
        assert found["rebalances"] > 0
        parts = [found["cost_bps"][part] for part in ("fee", "impact", "pay", "gas")]
        assert sum(parts) == pytest.approx(found["cost_bps"]["total"], abs=0.03)
        assert found["breach_min"]["hooked"]["maintenance"] == 0


def test_script__delay__is_none_without_one_and_a_block_or_two_with(figures):
    delays = {d: figures["replay"][d]["groups"]["swaps"]["delay_blocks"] for d in ("0", "1")}
    assert delays["0"] == {"p50": 0, "p95": 0, "max": 0}
    assert 1 <= delays["1"]["p50"] <= delays["1"]["max"] <= 2
    below = {
        d: figures["replay"][d]["groups"]["swaps"]["breach_min"]["hooked"]["initial"]
        for d in ("0", "1")
    }
    assert below["0"] == 0 < below["1"]


def test_script__exact_model__comes_to_what_the_contracts_did(figures):
    for delay in ("0", "1"):
        chain, model = figures["replay"][delay]["spot"], figures["model"]["twins"][delay]
        assert model["rebalances"] == chain["rebalances"] > 0
        assert model["slices"] == chain["slices"] > 0
        assert model["cost_bps"] == pytest.approx(chain["cost_bps"], rel=0.01)
        assert model["bare_cost_bps"] == pytest.approx(chain["bare_cost_bps"], rel=0.01)


@pytest.fixture(scope="module")
def at_once() -> Iterator[Player]:
    """A keeper without delay, with the node that he played on."""
    series = _crash()
    with start_node(series.start_s) as node:
        world = build_world(node, series.start_s, series.opening())
        player = Player(world, series, ACCOUNTS, series.start_s + WARM_UP_S)
        player.delay_blocks = 0
        player.play()
        yield player


def test_no_delay__every_rebalance__stands_behind_a_round_in_its_own_block(at_once):
    """Nothing was due before that block: the keeper did not know more than the round told."""
    world, recording = at_once.world, at_once.recording
    published = world.chain.events(world.feeds["ETH"], "AnswerUpdated")
    rebalanced = world.chain.events(world.system.mandates, "Rebalanced")
    assert len(rebalanced) == len(recording.rebalances) > 0
    plan = world.system.rebalancer.plan
    for event, r in zip(rebalanced, recording.rebalances, strict=True):
        (before,) = [e.log_index for e in published if e.block == event.block]
        assert event.log_index > before
        call = {"to": plan.contract.address, "data": "0x" + plan.encode(event.args.account).hex()}
        answer = world.chain.rpc.request("eth_call", call, hex(event.block - 1))
        assert plan.decode(bytes.fromhex(answer[2:])).code != 0
        assert r.delay_blocks == 0


def test_no_delay__what_was_foreseen__leaves_no_trace(at_once):
    """A round that was looked at first is published once."""
    world = at_once.world
    published = world.chain.events(world.feeds["ETH"], "AnswerUpdated")
    # The node's set-up makes one more.
    assert [e.args.current for e in published[1:]] == [r.answer for r in _crash().rounds]


def test_no_delay__fee__is_the_pool_s_part_of_what_was_sold(at_once):
    recording = at_once.recording
    sold = [r for r in recording.rebalances if r.account in recording.members("hooked")]
    assert any(r.sales for r in sold)
    for r in sold:
        value = sum(sale.value for sale in r.sales)
        assert value * 3 // 1_000 - len(r.sales) <= r.fees <= value * 3 // 1_000
        assert r.pay == 0 and r.cost >= r.fees * 0.999
        assert sum(r.exposure.values()) <= -value + r.moved
