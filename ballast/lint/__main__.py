"""Command line of the contract lint."""

from __future__ import annotations

import sys

import click

from ballast.artifacts import ROOT
from ballast.lint import RULES, check


@click.command()
@click.option("--rules", "list_rules", is_flag=True, help="List the rules and leave.")
def cli(list_rules: bool) -> None:
    """Check the contracts of this repository."""
    if list_rules:
        for name, purpose in RULES.items():
            click.echo(f"{name:18} {purpose}")
        return
    findings, files = check(ROOT)
    for finding in findings:
        click.echo(str(finding))
    click.echo(f"contract lint: {len(findings)} findings in {files} files", err=True)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    cli()
