"""A mistake for every invariant, which its own check has to see: `make seeds`.

`tests/mutation/seeds.toml` has one for each id of `docs/invariants.md`: a file of the contracts, a
text that stands in it once, and what to write instead. It is compiled into a copy of the tree.
There random episodes are played in which no other invariant is judged, until this one breaks; where
the seed names a test, that test has to fail. What was found is kept in `tests/mutation/seeds.json`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from ballast import evidence
from ballast.artifacts import ROOT
from ballast.mutation.trial import Copy

SEEDS = ROOT / "tests" / "mutation" / "seeds.toml"
EPISODES = 12
ACTIONS = 300
LIMIT_S = 1_800
WIDTH = 100


@dataclass(frozen=True)
class Seed:
    """One mistake. `test` is a test that must fail; without it random episodes must break."""

    id: str
    file: str
    old: str
    new: str
    test: str = ""

    def applied(self, root: Path) -> None:
        """Writes the mistake into a tree. Raises ValueError if its place is not there once."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != 1 or self.old == self.new:
            raise ValueError(
                f"{self.id}: {self.old!r} is {text.count(self.old)} times in {self.file}"
            )
        path.write_text(text.replace(self.old, self.new))


def seeds() -> list[Seed]:
    """All of them, by id."""
    return [Seed(key, **fields) for key, fields in sorted(tomllib.loads(SEEDS.read_text()).items())]


def _tried(seed: Seed) -> dict[str, str]:
    """What became of a seed: `by` is the test or episode that saw it, "" if none did."""
    copy = Copy(is_open=False)
    try:
        seed.applied(copy.tree)
        if seed.test:
            command = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", seed.test]
        else:
            command = ["-m", "tests.seeds", "--here", seed.id]
        run = subprocess.run(
            [sys.executable, *command],
            cwd=copy.tree,
            env={"PATH": "/usr/bin:/bin", "BALLAST_PROFILE": "mutants"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    finally:
        copy.close()
    lines = run.stdout.strip().split("\n")
    if seed.test:
        is_seen = run.returncode == 1 and any(line.startswith("FAILED") for line in lines)
        return {"by": seed.test if is_seen else "", "said": _failure(lines)}
    told: dict[str, str] = json.loads(lines[-1]) if run.returncode == 0 else {}
    return told or {"by": "", "said": run.stderr.strip().split("\n")[-1]}


def _failure(lines: list[str]) -> str:
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return errors[0] if errors else ""


def _played(invariant: str) -> dict[str, str]:
    """Episodes on the contracts as they are here, until that invariant breaks."""
    from tests.support.system_campaign import Episode
    from tests.support.system_checks import Broken

    for number in range(1, EPISODES + 1):
        episode = Episode(only=invariant)
        try:
            episode.run(number, ACTIONS)
        except Broken as broken:
            if broken.id.split()[0] == invariant:
                return {"by": f"episode {number}, step {len(episode.steps)}", "said": str(broken)}
        except Exception:  # noqa: S112, the players do not expect contracts with mistakes
            continue
    return {"by": "", "said": ""}


@click.command()
@click.option("--id", "ids", multiple=True, help="Only these invariants.")
@click.option("--workers", default=2, show_default=True, help="Processes.")
@click.option("--here", hidden=True, help="Play episodes in this tree.")
def cli(ids: tuple[str, ...], workers: int, here: str | None) -> None:
    """Plant one mistake for every invariant and see whether its check finds it."""
    if here is not None:
        print(json.dumps(_played(here)))
        return
    console = Console(width=WIDTH)
    chosen = [seed for seed in seeds() if not ids or seed.id in ids]
    known = json.loads(evidence.SEEDS.read_text()) if evidence.SEEDS.is_file() else {}
    console.print(f"{len(chosen)} mistakes to plant")
    missed = 0
    with ThreadPoolExecutor(workers) as pool:
        for seed, found in zip(chosen, pool.map(_tried, chosen), strict=True):
            known[seed.id] = {"file": seed.file, "old": seed.old, "new": seed.new, **found}
            missed += not found["by"]
            told = found["by"] or "[red]not seen[/]"
            console.print(f"{seed.id} {seed.file}: {told}", highlight=False)
            evidence.SEEDS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    evidence.write()
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    cli()
