"""Command line of coverage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ballast import evidence
from ballast.artifacts import ROOT
from ballast.coverage import reporting
from ballast.coverage.reporting import percent
from ballast.coverage.sources import coverage_of
from ballast.coverage.tracing import FACTOR, FOLDER, Hits

OUT = ROOT / "out" / "coverage"
TESTS = ("tests/unit", "tests/threats", "tests/differential", "tests/regression")
# No contract runs in them, or none that another test does not run.
LEFT_OUT = (
    *(
        "coverage",
        "efficiency",
        "evidence",
        "keeper_decisions",
        "keeper_sending",
        "lint",
        "mutation",
    ),
    *("readme", "report", "signing", "tarballs"),
)
_TESTS_FAILED = 1
MORE_FACTOR = 20  # of calls that are traced where tests were named
OPTIONS = ("-p", "ballast.coverage.tracing", "-p", "no:cacheprovider", "-q")


@click.command()
@click.option("--only-report", is_flag=True, help="Tell what the last run saw.")
@click.option("--more", is_flag=True, help="Add these tests to what the last run saw.")
@click.option("--workers", default=2, show_default=True, help="Processes.")
@click.argument("tests", nargs=-1)
def cli(only_report: bool, more: bool, workers: int, tests: tuple[str, ...]) -> None:
    """Run the tests at few examples and tell which lines and branches of the contracts ran.

    Figures of all tests are written to tests/coverage/coverage.json and docs/evidence.md, pages to
    out/coverage/html.
    """
    if more and not tests:
        raise click.UsageError("--more adds tests to the last run: name them")
    console = Console(width=100)
    hits = OUT / "hits"
    started = time.monotonic()
    code = 0
    if not only_report:
        if not more:
            shutil.rmtree(hits, ignore_errors=True)
        ignored = [f"--ignore=tests/unit/test_{name}.py" for name in LEFT_OUT]
        spread = ("-n", str(workers), "--dist", "worksteal")
        command = [sys.executable, "-m", "pytest", *OPTIONS, *spread, *ignored, *(tests or TESTS)]
        environment = {**os.environ, "BALLAST_PROFILE": "coverage", FOLDER: str(hits)}
        environment[FACTOR] = str(MORE_FACTOR if more else 1)
        code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    seen = Hits(hits)
    files = coverage_of(seen)
    figures = reporting.figures_of(files, seen)
    if more or not tests:
        reporting.write(figures)
        evidence.write()
    page = reporting.write_pages(files, OUT)
    _tell(console, figures)
    console.print(f"{time.monotonic() - started:.0f} s; pages: {page.relative_to(ROOT)}")
    # Campaigns that count what their examples met fail at few of them: `make test` judges tests.
    raise SystemExit(0 if code <= _TESTS_FAILED else code)


def _tell(console: Console, figures: dict[str, Any]) -> None:
    table = Table(title="Coverage of the contracts")
    for name in ("file", "lines", "%", "outcomes of branches", "%"):
        table.add_column(name, justify="left" if name == "file" else "right")
    rows = [*figures["files"].items(), ("all", figures["total"])]
    for path, found in rows:
        table.add_row(
            path.removeprefix("contracts/"),
            f"{found['lines_run']}/{found['lines']}",
            f"{percent(found['lines_run'], found['lines']):.1f}",
            f"{found['outcomes_run']}/{found['outcomes']}",
            f"{percent(found['outcomes_run'], found['outcomes']):.1f}",
        )
    console.print(table)
    calls = figures["calls"]
    console.print(
        f"{calls['traced']} of {calls['all']} calls traced; {calls['unlike']} came to another "
        "outcome on the second chain and do not count"
    )


if __name__ == "__main__":
    cli()
