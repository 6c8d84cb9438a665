"""From a recorded replay to a page and to figures.

:func:`write` leaves ``report.html`` (self-contained, works without a network) and ``report.json``
in a folder. A replay fills a :class:`Recording`; nothing else passes between the two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ballast.report.page import render
from ballast.report.recording import (
    COHORTS,
    AccountStart,
    Cohort,
    Frame,
    Holding,
    Initial,
    Margin,
    Rebalance,
    Recording,
    Sale,
)
from ballast.report.summary import percentile, summarise

__all__ = [
    "COHORTS",
    "AccountStart",
    "Cohort",
    "Frame",
    "Holding",
    "Initial",
    "Margin",
    "Rebalance",
    "Recording",
    "Sale",
    "percentile",
    "render",
    "summarise",
    "write",
]


def write(recording: Recording, folder: Path) -> dict[str, Any]:
    """Write ``report.html`` and ``report.json`` into ``folder`` and return the figures.

    The folder is made when it is missing. Raises ValueError for a recording without frames and
    OSError when the folder cannot be written.
    """
    page, figures = render(recording), summarise(recording)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures
