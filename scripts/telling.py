"""How the scripts show a story."""

from __future__ import annotations

from rich.console import Console

from ballast.forks import Story


def tell(console: Console, story: Story) -> None:
    """Every chapter as soon as it has happened."""
    for number, chapter in enumerate(story.tell(), start=1):
        console.print(f"\n[bold]{number}. {chapter.title}[/bold]")
        for line in chapter.lines:
            console.print(f"   {line}")
    console.print("\nEvery check of the story holds.")
