"""What the README shows is run here."""

from __future__ import annotations

import json
import re

import pytest

from ballast.gas import SNAPSHOT
from ballast.readme import README, contracts_table, table_in, with_table


def example() -> str:
    """The first Python block of the README."""
    found = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


def test_readme__example__ends_at_the_target(capsys):
    scope: dict = {}
    exec(compile(example(), str(README), "exec"), scope)  # noqa: S102
    assert "Plan(code=0" in capsys.readouterr().out
    equity, required = scope["equity"], scope["required"]
    assert 1.30 <= equity / required < 1.3001


def test_readme__length__fits_a_newcomer():
    assert len(README.read_text().splitlines()) <= 200


def test_readme__links__point_somewhere():
    targets = re.findall(r"\]\(((?!http)[^)#]+)\)", README.read_text())
    assert len(targets) > 10
    assert [t for t in targets if not (README.parent / t).exists()] == []


def test_readme__contracts_table__is_up_to_date():
    deployed = json.loads(SNAPSHOT.read_text())["deployed_bytes"]
    shown = table_in(README.read_text(), "contracts")
    assert shown == contracts_table(deployed), "run `python -m ballast.gas --readme`"


def test_with_table__markers__replaces_only_what_is_between():
    text = "before\n<!-- gas -->\nold\n<!-- /gas -->\nafter\n"
    written = with_table(text, "gas", "| new |")
    assert written == "before\n<!-- gas -->\n| new |\n<!-- /gas -->\nafter\n"
    assert table_in(written, "gas") == "| new |"


def test_with_table__no_markers__is_refused():
    with pytest.raises(ValueError, match="gas"):
        with_table("nothing here", "gas", "| new |")
