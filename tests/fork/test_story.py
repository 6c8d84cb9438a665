"""The story of two accounts on every kind of chain, and that its checks can fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from ballast.artifacts import ROOT, Artifact
from ballast.chain import (
    BLOCK_INTERVAL_S,
    Anvil,
    ChainError,
    RevmChain,
    Rpc,
    RpcChain,
    named_address,
)
from ballast.chain.node import free_port
from ballast.forks import (
    Chapter,
    ForkError,
    Stage,
    Story,
    StoryError,
    build_upstream,
    fork_parameters,
    forked,
    parameters_of,
    set_stage,
    story,
    upstream_node,
)
from ballast.parameters import QUOTE
from scripts.fork import cli

HOURS = 6


@pytest.fixture(scope="module")
def stage() -> Stage:
    """Set in this process; whoever uses it isolates what it does."""
    chain = RevmChain(block_interval_s=BLOCK_INTERVAL_S)
    text = build_upstream(chain, hours=HOURS)
    return set_stage(chain, parameters_of(text), token="MockToken")


class Upstream(NamedTuple):
    """A node that stands in for mainnet, and its parameter file."""

    url: str
    file: Path
    parameters: dict[str, Any]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """One node for all."""
    with upstream_node() as (url, text):
        file = tmp_path_factory.mktemp("upstream") / "upstream.toml"
        file.write_text(text)
        yield Upstream(url, file, fork_parameters(file))


def told(stage: Stage) -> tuple[Story, list[Chapter]]:
    """A story told to its end, undone."""
    one = Story(stage)
    with stage.chain.isolated():
        return one, list(one.tell())


# ---- on every chain


def test_tell__in_this_process__holds_and_has_every_part(stage: Stage) -> None:
    one, chapters = told(stage)
    assert len(chapters) == 7 and all(chapter.lines for chapter in chapters)
    assert one.rounds > 50 and len(one.rebalances) > 1 and len(one.liquidations) > 1


@pytest.mark.parametrize("is_replacing", [False, True], ids=["oracles", "replaced"])
def test_tell__on_a_fork__holds_whoever_moves_the_feeds(
    upstream: Upstream, is_replacing: bool
) -> None:
    """The path of a fork of mainnet: a URL, a parameter file, aggregators replaced."""
    url, _, parameters = upstream
    with forked(url, parameters) as chain:
        stage = set_stage(chain, parameters, is_replacing=is_replacing)
        phases = {name: feed.round_id >> 64 for name, feed in stage.feeds.items()}
        assert phases == {QUOTE: 1 + is_replacing, "ETH": 2 + is_replacing, "BTC": 1 + is_replacing}
        one, chapters = told(stage)
        assert len(chapters) == 7 and one.rebalances and one.liquidations


def test_fork__of_an_upstream__leaves_it_as_it_was(
    upstream: Upstream,
) -> None:
    url, _, parameters = upstream
    original = RpcChain(url, block_interval_s=None)
    before = original.block, original.time
    with forked(url, parameters) as chain:
        assert (chain.block, chain.time) == before
        stage = set_stage(chain, parameters)
        assert chain.block > before[0] and chain.time > before[1]
        assert chain.code_size(stage.system.clearinghouse) > 0
        assert original.code_size(stage.system.clearinghouse) == 0
    assert (original.block, original.time) == before
    original.close()


def test_fork__of_an_older_block__has_its_prices(upstream: Upstream) -> None:
    url, _, parameters = upstream
    with forked(url, parameters) as newest, forked(url, parameters, block=100) as older:
        assert older.block == 100 < newest.block
        assert older.time < newest.time


def test_fork__balance_of_any_token__can_be_dealt(upstream: Upstream) -> None:
    """What stands for USDC and WBTC on mainnet, where nobody here may mint."""
    url, _, parameters = upstream
    with forked(url, parameters) as chain:
        for name in (QUOTE, "BTC"):
            token = chain.at(parameters["network"]["tokens"][name]["address"], "MockToken")
            supply, who = token.totalSupply(), named_address("somebody")
            chain.deal(token, who, 123)
            assert token.balanceOf(who) == 123 and token.totalSupply() == supply


def test_fork__balance_behind_a_proxy__can_be_dealt(upstream: Upstream) -> None:
    """USDC keeps its balances in a proxy; here a minimal one (EIP-1167) before a mock token."""
    url, _, parameters = upstream
    with forked(url, parameters) as chain:
        owner, who = named_address("governor"), named_address("somebody")
        token = chain.deploy("MockToken", "Dollar", "USD", 6, sender=owner)
        target = token.address.removeprefix("0x")
        runtime = f"363d3d373d3d3d363d73{target}5af43d82803e903d91602b57fd5bf3"
        code = bytes.fromhex("3d602d80600a3d3981f3" + runtime)
        made = chain.deploy(Artifact("Proxy", (), code, "here"), sender=owner)
        proxy = chain.at(made.address, token.artifact)
        chain.deal(proxy, who, 123)
        assert proxy.balanceOf(who) == 123 and token.balanceOf(who) == 0


# ---- refusals


def _refuse(url: str, parameters: dict[str, Any], told: str) -> None:
    """Demand that a fork is refused, saying so."""
    with pytest.raises(ForkError, match=re.escape(told)), forked(url, parameters):
        pass


def test_fork__wrong_chain__is_refused(upstream: Upstream, anvil: Anvil) -> None:
    _refuse(anvil.url, upstream.parameters, "is chain 31337, the parameters are of chain 1")


def test_fork__nobody_there__is_refused() -> None:
    with (
        pytest.raises(ForkError, match="no chain to fork"),
        forked("http://127.0.0.1:1", fork_parameters()),
    ):
        pass


def test_fork__no_contract_at_an_address__is_refused(
    upstream: Upstream,
) -> None:
    _refuse(upstream.url, fork_parameters(), "network.tokens.quote.address is 0xA0b8")


def test_fork__contracts_yet_to_be_made__are_refused(
    upstream: Upstream,
) -> None:
    network = dict(upstream.parameters["network"])
    network["tokens"] = network["tokens"] | {"ETH": {"mock": True}}
    _refuse(upstream.url, {"network": network}, "network.tokens.ETH.address is not given")


# ---- the checks of the story can fail


def test_tell__no_keeper_comes__says_that_the_hook_was_too_late(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Story, "_rebalance", lambda self: [])
    with pytest.raises(StoryError, match="the hooked account fell below maintenance"):
        told(stage)


def test_tell__price_that_hardly_falls__says_that_nothing_happened(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "CRASH_BPS", 50)
    with pytest.raises(StoryError, match="the hook had nothing to do"):
        told(stage)


def test_tell__tokens_that_the_ledger_does_not_know__are_found(stage: Stage) -> None:
    """I01: the last chapter compares to the wei."""
    ledger, giver = stage.system.clearinghouse, named_address("giver")
    with stage.chain.isolated():
        stage.give(giver, "BTC", 10**10, ledger)
        stage.tokens["BTC"].transfer(ledger, 1, sender=giver)
        with pytest.raises(StoryError, match="BTC does not add up"):
            told(stage)


def test_tell__pool_away_from_its_feed__is_found(stage: Stage) -> None:
    with stage.chain.isolated():
        stage.arbitrageur.trade("ETH", 1_000_000, is_buying=True)
        with pytest.raises(StoryError, match="the pool of WETH is not at the feed's price"):
            told(stage)


# ---- the command


def test_command__node_and_file__tells_the_story(upstream: Upstream) -> None:
    """What somebody does who has a node of mainnet, with the node that stands in for it."""
    arguments = ["--url", upstream.url, "--parameters", str(upstream.file), "--replace"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "7. The morning after" in result.output
    assert "Every check of the story holds." in result.output


def test_command__file_of_mainnet_and_another_node__says_what_is_missing(
    upstream: Upstream,
) -> None:
    result = CliRunner().invoke(cli, ["--url", upstream.url])
    assert result.exit_code == 1
    assert "network.tokens.quote.address" in result.output and "Traceback" not in result.output


def test_command__ended_from_outside__leaves_no_node_behind() -> None:
    """Neither the upstream nor the fork outlives a command that is told to end."""
    command = [sys.executable, "-m", "scripts.fork", "--serve", str(free_port())]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."}
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1].rstrip(",")
        assert "Serving" in process.stdout.readline()
        assert Rpc(url).request("eth_chainId") == "0x1"
        process.terminate()
    assert process.returncode == 1
    with pytest.raises(ChainError):
        Rpc(url).request("eth_chainId")
