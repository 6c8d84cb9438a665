"""`python -m ballast.evidence` writes the page anew, and tells which of it is of older code."""

import json

import click

from ballast import evidence
from ballast.artifacts import ROOT

evidence.write()
click.echo(f"written: {evidence.PAGE.relative_to(ROOT)}")
for kept in (evidence.CAMPAIGN, evidence.PROPERTIES):
    if kept.is_file():
        is_new = json.loads(kept.read_text())["code"] == evidence.code_of_the_contracts()
        name = kept.relative_to(ROOT)
        click.echo(f"{name}: {'of the contracts as they are' if is_new else 'of older contracts'}")
