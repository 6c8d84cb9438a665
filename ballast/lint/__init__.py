"""The contract lint: compiler hazards of Vyper 0.4.3 and the rules of the house.

`python -m ballast.lint` prints one line per finding (`file:line rule message`) and ends with status
1 when there are any. `check(root)` returns them. The rules are listed in `rules.py`; what a file
may do beyond them stands in `Config`.
"""

from __future__ import annotations

from ballast.lint.rules import DEFAULT_CONFIG, RULES, Config, check
from ballast.lint.sources import Finding

__all__ = ["DEFAULT_CONFIG", "RULES", "Config", "Finding", "check"]
