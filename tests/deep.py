"""The long run: `make deep`.

First a campaign of a million accepted actions on the whole system, in episodes with the seeds 1, 2,
3 and so on; then every property with many examples. Both are kept in `tests/campaign/` and told in
`docs/evidence.md`. A campaign that was interrupted goes on where it was, as long as the code of the
contracts is the same; a failure is told with the few actions that it takes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
from hypothesis import settings
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ballast import evidence
from ballast.artifacts import ROOT
from tests import conftest  # noqa: F401  (it names the numbers of examples)
from tests.support.system_campaign import PER_EPISODE, Tally, episode
from tests.support.system_invariants import PREMISES
from tests.support.system_steps import ENVIRONMENT

WIDTH = 100
SAVE_EVERY = 10  # episodes
REPORT = ROOT / "out" / "deep.xml"


class Campaign:
    """What was played so far, on the contracts as they are."""

    def __init__(self, path: Path = evidence.CAMPAIGN) -> None:
        self.path = path
        self.code = evidence.code_of_the_contracts()
        self.episodes = 0
        self.seconds = 0.0  # of all processes
        self.tally = Tally()
        if not path.is_file():
            return
        kept = json.loads(path.read_text())
        if kept["code"] != self.code:
            return
        self.episodes, self.seconds = kept["episodes"], kept["process_minutes"] * 60
        for kind, row in kept["actions"].items():
            self.tally.accepted[kind] = row["accepted"]
            self.tally.refused[kind] = row["refused"]
            self.tally.reasons.update({(kind, why): n for why, n in row["reasons"].items()})
        self.tally.premises.update(kept["premises"])

    def save(self) -> None:
        """Keeps it, whole or not at all."""
        tally = self.tally
        kinds = sorted({*tally.accepted, *tally.refused})
        reasons: dict[str, dict[str, int]] = {kind: {} for kind in kinds}
        for (kind, reason), count in sorted(tally.reasons.items()):
            reasons[kind][reason] = count
        content = {
            "code": self.code,
            "episodes": self.episodes,
            "actions_per_episode": PER_EPISODE,
            "process_minutes": round(self.seconds / 60, 1),
            "actions": {
                kind: {
                    "is_environment": kind in ENVIRONMENT,
                    "accepted": tally.accepted[kind],
                    "refused": tally.refused[kind],
                    "reasons": reasons[kind],
                }
                for kind in kinds
            },
            "premises": {key: tally.premises[key] for key in sorted({*PREMISES, *tally.premises})},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(self.path)

    def play(self, console: Console, actions: int, workers: int, minutes: float) -> None:
        """Until so many actions were accepted or time is up. Raises AssertionError."""
        until = time.monotonic() + 60 * minutes
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=actions, completed=self.tally.done)
            try:
                for tally, seconds in _played(self.episodes + 1, workers):
                    self.episodes += 1
                    self.seconds += seconds
                    self.tally.add(tally)
                    told = f"{self.tally.done:,} of {actions:,} actions accepted"
                    progress.update(task, completed=self.tally.done, description=told)
                    if self.tally.done >= actions or time.monotonic() >= until:
                        return
                    if self.episodes % SAVE_EVERY == 0:
                        self.save()
            finally:
                self.save()


def _played(first_seed: int, workers: int) -> Iterator[tuple[Tally, float]]:
    """Tallies of the episodes in the order of their seeds, without end."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = [pool.submit(_timed, first_seed + i) for i in range(2 * workers)]
        seed = first_seed + len(waiting)
        try:
            while True:
                yield waiting.pop(0).result()
                waiting.append(pool.submit(_timed, seed))
                seed += 1
        finally:
            pool.shutdown(cancel_futures=True)


def _timed(seed: int) -> tuple[Tally, float]:
    start = time.process_time()
    return episode(seed), time.process_time() - start


def _run_properties(console: Console, workers: int) -> int:
    """All tests with many examples; the exit code of pytest."""
    REPORT.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pytest", "-n", str(workers), "--dist", "worksteal"]
    environment = {**os.environ, "BALLAST_PROFILE": "deep"}
    code = subprocess.call([*command, f"--junit-xml={REPORT}"], cwd=ROOT, env=environment)
    if code == 0:
        found = json.dumps(figures_of(REPORT), indent=1)
        evidence.PROPERTIES.write_text(found + "\n")
    else:
        console.print("[red]A property failed: the run above names it and its example.[/]")
    return code


def figures_of(report: Path) -> dict[str, Any]:
    """What pytest's report of a run with many examples counts."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    skipped = int(suite.get("skipped", 0))
    return {
        "code": evidence.code_of_the_contracts(),
        "examples": settings.get_profile("deep").max_examples,
        "passed": int(suite.get("tests", 0)) - skipped,
        "skipped": skipped,
        "minutes": round(float(suite.get("time", 0)) / 60, 1),
    }


@click.command()
@click.option("--actions", default=1_000_000, show_default=True, help="Accepted ones, in all.")
@click.option("--workers", default=2, show_default=True, help="Processes.")
@click.option("--minutes", default=10_000.0, show_default=True, help="Stop the campaign after.")
@click.option("--fresh", is_flag=True, help="Begin the campaign anew.")
@click.option("--only", type=click.Choice(["campaign", "properties"]), help="One part of it.")
def cli(actions: int, workers: int, minutes: float, fresh: bool, only: str | None) -> None:
    """A campaign of a million actions, then all properties with many examples."""
    console = Console(width=WIDTH)
    code = 0
    if only != "properties":
        if fresh:
            evidence.CAMPAIGN.unlink(missing_ok=True)
        campaign = Campaign()
        console.print(f"campaign: {campaign.tally.done:,} of {actions:,} actions are done")
        if campaign.tally.done < actions:
            try:
                campaign.play(console, actions, workers, minutes)
            except AssertionError as broken:
                console.print(str(broken), highlight=False, markup=False)
                raise SystemExit(1) from broken
        untried = [key for key in PREMISES if not campaign.tally.premises[key]]
        if campaign.tally.done >= actions and untried:
            console.print(f"[red]Premises that never held: {', '.join(untried)}[/]")
            code = 1
    evidence.write()  # one of the tests reads it
    if only != "campaign":
        code = _run_properties(console, workers) or code
    evidence.write()
    console.print(f"what was found: {evidence.PAGE.relative_to(ROOT)}")
    raise SystemExit(code)


if __name__ == "__main__":
    cli()
