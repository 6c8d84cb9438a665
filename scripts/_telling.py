"""What the scripts that tell a story share."""

from __future__ import annotations

import signal
import sys
from textwrap import fill

from rich.console import Console

from ballast.artifacts import ArtifactError
from ballast.chain import ChainError, Reverted
from ballast.forks import ForkError, Story, StoryError
from ballast.parameters import ParameterError
from ballast.steps import DeployError
from ballast.venue import VenueError

FAILURES = (
    *(ForkError, StoryError, ParameterError, DeployError, VenueError),
    *(ArtifactError, ChainError, Reverted, OSError),
)


def end_with_nodes() -> None:
    """A node must not outlive this process, whoever ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def tell(console: Console, story: Story) -> None:
    """Every chapter as soon as it has happened."""
    for number, chapter in enumerate(story.tell(), start=1):
        console.print(f"\n[bold]{number}. {chapter.title}[/bold]")
        for line in chapter.lines:
            console.print(
                fill(line, console.width, initial_indent="   ", subsequent_indent="     ")
            )
    console.print("\nEvery check of the story holds.")
