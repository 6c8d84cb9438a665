"""Coverage of contracts: what runs is counted, what does not is told, and the chain is as ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ballast.chain import RevmChain
from ballast.coverage import sources, tracing
from ballast.coverage.reporting import FIGURES, figures_of, percent, write_pages
from tests.conftest import reverts

KINK = "contracts/modules/kinked_rate.vy"
WAD = 10**18


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tracing.Tracer]:
    """Watches every chain of this test."""
    kept = RevmChain._run, RevmChain._create
    watching = tracing.Tracer()
    tracing.install(watching)
    monkeypatch.setenv(tracing.FOLDER, str(tmp_path))
    yield watching
    RevmChain._run, RevmChain._create = kept


def seen_of(tracer: tracing.Tracer, folder: Path) -> dict[str, sources.FileCoverage]:
    tracer.save()
    return sources.coverage_of(tracing.Hits(folder), ["KinkedRateShell"])


def test_call__traced__leaves_results_logs_gas_and_reverts_as_they_are(
    tracer: tracing.Tracer,
) -> None:
    told = []
    for is_watched in (True, False):
        if not is_watched:
            traced, tracer.is_new = tracer.traced, lambda key, gas: False
        chain = RevmChain()
        owner, receiver = chain.accounts[:2]
        token = chain.deploy("MockToken", "Token", "TKN", 6, sender=owner)
        token.mint(owner, 100, sender=owner)
        for amount in (7, 8):
            with chain.isolated():
                receipt = token.transfer(receiver, amount, sender=owner)
                told.append((token.balanceOf(receiver), receipt.gas_used, len(receipt.logs)))
        with reverts():
            token.transfer(receiver, 101, sender=owner)
        told.append((token.balanceOf(owner), 0, chain.block))
    assert told[:3] == told[3:] and told[0][0] == 7
    assert traced > 3 and tracer.unlike == 0


def test_many_calls__watched__are_not_too_deep(tracer: tracing.Tracer) -> None:
    """Each is marked before it runs; pyrevm counts open marks as calls within calls."""
    chain = RevmChain()
    token = chain.deploy("MockToken", "Token", "TKN", 6, sender=chain.accounts[0])
    for _ in range(1_100):
        token.mint(chain.accounts[0], 1, sender=chain.accounts[0])
    assert token.balanceOf(chain.accounts[0]) == 1_100 and tracer.calls > 1_100


def test_branch__taken_one_way__is_told_until_the_other_is_taken(
    tracer: tracing.Tracer, tmp_path: Path
) -> None:
    chain = RevmChain()
    shell = chain.deploy("KinkedRateShell", sender=chain.accounts[0])
    shell.rate_ray_up(WAD // 2, 100, 400, 6_000, 8_000)
    below = seen_of(tracer, tmp_path)[KINK]
    heads = {place: ways for place, ways in below.branches.items() if "kink" in below.texts[place]}
    assert [len(ways) for ways in heads.values()] == [1]
    above_line = next(
        n
        for n, line in enumerate(Path(KINK).read_text().split("\n"), 1)
        if line.strip().startswith("over_wad: uint256")
    )
    assert above_line in below.lines and above_line not in below.run
    shell.rate_ray_up(WAD, 100, 400, 6_000, 8_000)
    found = seen_of(tracer, tmp_path)
    both = found[KINK]
    assert all(len(both.branches[place]) == 2 for place in heads)
    assert above_line in both.run
    figures = figures_of(found, tracing.Hits(tmp_path))
    # Utilisation and growth were not asked for.
    missing = figures["files"][KINK]["missing_lines"]
    assert {hole["text"] for hole in missing} >= {"if debt == 0:"}
    assert figures["total"]["lines"] == len(both.lines)
    page = write_pages(found, tmp_path / "pages")
    assert "kinked_rate.vy" in page.read_text()


def test_figures__committed__reach_the_target_and_explain_every_line_that_did_not_run() -> None:
    """All lines but those with a reason, and 95% of the outcomes of branches."""
    figures = json.loads(FIGURES.read_text())
    total = figures["total"]
    assert percent(total["outcomes_run"], total["outcomes"]) >= 95
    holes = [hole for found in figures["files"].values() for hole in found["missing_lines"]]
    assert len(holes) == total["lines"] - total["lines_run"]
    unexplained = [hole for hole in holes if "reason" not in hole]
    assert unexplained == [], "a reason, or make coverage ARGS='--more TEST'"
