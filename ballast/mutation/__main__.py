"""Command line of mutation testing."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ballast import evidence
from ballast.artifacts import ROOT
from ballast.mutation import verdicts
from ballast.mutation.operators import Mutant, mutants_of
from ballast.mutation.targets import LOCKS, hosts_of, mutable_files, tests_of
from ballast.mutation.trial import EQUIVALENT, SURVIVED, UNSEEN, Copy
from ballast.mutation.verdicts import Verdict

PER_HUNDRED_LINES = 43  # of which at least 40 are valid
SAVE_EVERY = 20
TABLE_WIDTH = 100


@dataclass
class Group:
    """Mutants that are tried together: of files that have the same tests."""

    are_tests_all: bool
    mutants: list[Mutant] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)  # in order
    tests: dict[str, None] = field(default_factory=dict)

    def add(self, path: str, mutants: Sequence[Mutant], tests: Sequence[str]) -> None:
        """Those of one more file."""
        self.mutants += mutants
        self.hosts |= dict.fromkeys(hosts_of(path, are_all=self.are_tests_all))
        self.tests |= dict.fromkeys(tests)


class Campaign:
    """Mutants to be tried, and what came of them so far."""

    def __init__(self, console: Console, until: float, tests: Sequence[str] = ()) -> None:
        self.console = console
        self.until = until
        self.tests = tests  # instead of all, for a quick look at what new ones see
        self.known = verdicts.current(verdicts.read())
        self.lock = threading.Lock()
        self.queue: queue.Queue[Group] = queue.Queue()
        self.done = 0
        self.total = 0

    def run(
        self,
        chosen: Mapping[str, Sequence[Mutant]],
        open_ones: Container[str | None],
        servers: int,
        *,
        are_tests_all: bool,
    ) -> None:
        """Those with one of these verdicts, until all are tried or time is up.

        The mutants of one group are tried one after the other, by one process.
        """
        self.done = self.total = 0
        groups: dict[frozenset[str], Group] = {}
        for path, mutants in chosen.items():
            left = [mutant for mutant in mutants if self._verdict(mutant) in open_ones]
            if left:
                self.total += len(left)
                tests = frozenset(self._tests_of(path, are_all=are_tests_all)) - {LOCKS}
                group = groups.setdefault(tests, Group(are_tests_all))
                group.add(path, left, self._tests_of(path, are_all=are_tests_all))
        for group in sorted(groups.values(), key=lambda group: len(group.hosts)):
            self.queue.put(group)
        shown = "all tests" if are_tests_all else "tests of their files"
        shown = f"{len(self.tests)} test files" if self.tests else shown
        self.console.print(f"{self.total} mutants to try with {shown}, {servers} processes")
        threads = [threading.Thread(target=self._work) for _ in range(servers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        verdicts.write(self.known)

    def _tests_of(self, path: str, *, are_all: bool) -> Sequence[str]:
        return self.tests or tests_of(path, are_all=are_all)

    def _verdict(self, mutant: Mutant) -> str | None:
        return self.known[mutant.key].verdict if mutant.key in self.known else None

    def _work(self) -> None:
        copy = Copy()
        try:
            while time.monotonic() < self.until:
                try:
                    group = self.queue.get_nowait()
                except queue.Empty:
                    return
                self._try_group(copy, group)
        finally:
            copy.close()

    def _try_group(self, copy: Copy, group: Group) -> None:
        left = {mutant.key: mutant for mutant in group.mutants}
        answers = copy.tried(
            group.mutants,
            list(group.hosts),
            list(group.tests),
            are_tests_all=group.are_tests_all,
            are_tests_named=bool(self.tests),
        )
        for key, verdict, by in answers:
            mutant = left.pop(key)
            mistake = mutant.mistake((ROOT / mutant.path).read_text())
            if not group.are_tests_all and verdict in (EQUIVALENT, SURVIVED):
                verdict = UNSEEN
            if self.tests and verdict == SURVIVED:
                # Of some tests; what all of them say stays.
                verdict = self.known[key].verdict if key in self.known else UNSEEN
            with self.lock:
                self.known[key] = Verdict(mutant.path, mutant.line, mistake, verdict, by)
                self.done += 1
                self.console.print(
                    f"{self.done}/{self.total} {verdict:10} {mutant.path}:{mutant.line} {mistake}",
                    highlight=False,
                    markup=False,
                )
                if self.done % SAVE_EVERY == 0:
                    verdicts.write(self.known)
            if time.monotonic() >= self.until:
                return
        for path, count in Counter(mutant.path for mutant in left.values()).items():
            self.console.print(f"[red]{path}: {count} mutants have no verdict[/]")


@click.command()
@click.option("--file", "names", multiple=True, help="Part of a path; all files by default.")
@click.option("--again", is_flag=True, help="Try survivors again, with all tests.")
@click.option(
    "--test",
    "tests",
    multiple=True,
    type=click.Path(exists=True),
    help="Show survivors to it alone.",
)
@click.option("--fresh", is_flag=True, help="Forget what is known of the chosen files.")
@click.option("--most", type=int, help="Mutants of a file; by default by its length.")
@click.option("--servers", default=2, show_default=True, help="Processes.")
@click.option("--minutes", default=10_000.0, show_default=True, help="Stop after so long.")
@click.option("--report", "only_report", is_flag=True, help="Only tell what is known.")
def cli(
    names: tuple[str, ...],
    again: bool,
    tests: tuple[str, ...],
    fresh: bool,
    most: int | None,
    servers: int,
    minutes: float,
    only_report: bool,
) -> None:
    """Try mutants of the contracts that have no verdict yet, and tell the score."""
    console = Console(width=TABLE_WIDTH)
    campaign = Campaign(console, time.monotonic() + 60 * minutes, tests)
    chosen: dict[str, list[Mutant]] = {}
    for path in sorted(mutable_files(), key=lambda path: not verdicts.is_strict(path)):
        if names and not any(name in path for name in names):
            continue
        text = (ROOT / path).read_text()
        all_of_it = mutants_of(path, text)
        count = most or len(all_of_it)
        if not most and not verdicts.is_strict(path):
            count = -(-verdicts.code_lines(text) * PER_HUNDRED_LINES // 100)
        chosen[path] = verdicts.chosen(all_of_it, count)
        if fresh:
            for mutant in all_of_it:
                campaign.known.pop(mutant.key, None)
    if not only_report:
        # First the tests of the file itself, then to those that are left all that reach it.
        if not tests:
            campaign.run(chosen, {None}, servers, are_tests_all=False)
        open_ones = {UNSEEN, SURVIVED} if again or tests else {UNSEEN}
        campaign.run(chosen, open_ones, servers, are_tests_all=True)
    _tell(console, list(campaign.known.values()))
    evidence.write()
    console.print(f"survivors and the score: {evidence.PAGE.relative_to(ROOT)}")


def _tell(console: Console, known: Sequence[Verdict]) -> None:
    table = Table(title="Mutants")
    for name in ("file", "tried", "valid", "killed", "%"):
        table.add_column(name, justify="left" if name == "file" else "right")
    for path in sorted({verdict.path for verdict in known}):
        score = verdicts.score(v for v in known if v.path == path)
        name = Path(path).relative_to("contracts").as_posix()
        percent = f"{score.percent:.0f}"
        table.add_row(name, str(score.tried), str(score.valid), str(score.killed), percent)
    console.print(table)
    total = verdicts.score(known)
    console.print(
        f"{total.percent:.1f}% of mutants killed: {total.killed} of {total.valid} that are valid, "
        f"{total.tried} tried"
    )


if __name__ == "__main__":
    cli()
