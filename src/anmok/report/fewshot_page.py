"""The page of few-shot episodes: accuracy against shots, one episode as pictures, one HTML file with everything inside.

As for a run's page: every text is escaped, the figure travels as JSON that no text can break out of, and a content
security policy allows the page's own scripts by their hash and nothing from anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.files import write_atomic
from anmok.report import words
from anmok.report.fewshot_figures import shots_figure
from anmok.report.page import fluid, vega_bundle
from anmok.report.shell import asset, block, picture_address, script_hash, style, template
from anmok.report.theme import vega_config
from anmok.report.thumbnails import thumbnail


@dataclass(frozen=True, eq=False, kw_only=True)
class FewShotContent:
    """The content of one page.  Texts are plain: the page escapes them.

    headline: sentences. rows: as in fewshot.json; names: of methods as shown, in their order; chance: the accuracy of
    guessing. episode: a drawn one as uint8[H, W, 3], None for none. notes: what a reader must know.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    names: Mapping[str, str]
    shots: Sequence[int]
    chance: float
    subtitle: str = ""
    headline: Sequence[str] = ()
    episode: np.ndarray | None = None
    episode_of: str = ""
    notes: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def write_fewshot_report(path: Path | str, content: FewShotContent) -> Path:
    """Write the page atomically and return its path."""
    return write_atomic(path, render_fewshot(content))


def render_fewshot(content: FewShotContent) -> str:
    """The page as text."""
    figure = fluid(shots_figure(content.rows, content.names, content.chance))
    bundle, script = vega_bundle(), asset("report.js")
    methods = [m for m in content.names if any(row["method"] == m for row in content.rows)]
    filters = {"percent": words.percent, "picture": picture, "points": points}
    return template("fewshot.html.j2", filters).render(
        content=content,
        methods=[(content.names[m], [row for row in content.rows if row["method"] == m]) for m in methods],
        figure=block(figure),
        themes=block({"light": vega_config(), "dark": vega_config(dark=True)}),
        style=style("report.css"),
        bundle=bundle,
        script=script,
        hashes=[script_hash(bundle), script_hash(script)],
    )


def picture(image: np.ndarray) -> str:
    """The data address of a picture that was drawn for the page, as large as it is."""
    return picture_address(thumbnail(image, max(image.shape[:2]), 88))


def points(metric: Mapping[str, float]) -> str:
    """A difference of shares in points, with its interval: '+21.4 (20.6 to 22.2)'."""
    value = f"{100 * metric['value']:+.1f}"
    return f"{value} ({100 * metric['low']:.1f} to {100 * metric['high']:.1f})" if "low" in metric else value
