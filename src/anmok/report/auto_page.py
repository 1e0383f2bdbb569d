"""The page of `anmok auto`: what was chosen, what was tried, where the time went; one HTML file, nothing recomputed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anmok.core.files import write_atomic
from anmok.report.figures import png
from anmok.report.halving import halving
from anmok.report.shell import style, template


@dataclass(frozen=True, eq=False)
class AutoContent:
    """facts: as auto.json has them; trials: its short trainings; order: candidates, best first; report: of the run that
    was chosen, relative to the page. Texts are plain: the page escapes them.
    """

    title: str
    facts: Mapping[str, Any]
    trials: Sequence[Mapping[str, Any]]
    order: Sequence[str]
    report: str


def write_auto_report(path: Path | str, content: AutoContent) -> Path:
    """Write the page atomically and return its path."""
    return write_atomic(path, render_auto(content))


def render_auto(content: AutoContent) -> str:
    """The page as text."""
    picture = base64.b64encode(png(halving(content.trials, content.order))).decode()
    times = content.facts["minutes_by_step"]
    longest = max([*times.values(), 1e-9])
    rows = sorted(content.trials, key=lambda row: (-row["rung"], -(row["score"] if row["score"] is not None else -1e9)))
    return template("auto.html.j2", {}).render(
        content=content,
        facts=content.facts,
        rows=rows,
        times=[(name, minutes, round(100 * minutes / longest, 1)) for name, minutes in times.items()],
        figure=f"data:image/png;base64,{picture}",
        style=style("report.css"),
    )
