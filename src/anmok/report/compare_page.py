"""The page of a comparison: which model, and why, one HTML file with everything inside.

As for a run's page: every text is escaped, figures travel as JSON that no text can break out of, and a content
security policy allows the page's own two scripts by their hash and nothing from anywhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anmok.core.files import write_atomic
from anmok.report import words
from anmok.report.compare_content import CompareContent
from anmok.report.compare_figures import data_shares, robustness
from anmok.report.page import fluid, vega_bundle
from anmok.report.pareto import pareto
from anmok.report.shell import asset, block, script_hash, style, template
from anmok.report.theme import vega_config

CAPTIONS = {
    "pareto": "Up is better, left is faster. The dashed line joins the models that no other one beats in both; lines "
    "through the points are 95 % intervals.",
    "data": "Every model learned anew from a part of the training images, each part within the next larger one, for as "
    "many epochs.",
    "robustness": "The bar is the accuracy on images as they are, the dashed line that of always guessing the most "
    "frequent label. With patches in random places only colour and texture are left to go by.",
}


def write_compare_report(path: Path | str, content: CompareContent) -> Path:
    """Write the page atomically and return its path."""
    return write_atomic(path, render_compare(content))


def render_compare(content: CompareContent) -> str:
    """The page as text."""
    drawn = {name: fluid(figure) for name, figure in figures_of(content).items()}
    bundle, script = vega_bundle(), asset("report.js")
    rows = [row for row in content.rows if not row["error"]]
    filters = {
        "percent": words.percent, "number": words.number, "interval": words.interval, "short": short, "memory": memory,
    }  # fmt: skip
    return template("compare.html.j2", filters).render(
        content=content,
        rows=rows,
        failed=[row for row in content.rows if row["error"]],
        best=next((row for row in rows if row["model"] == content.best), None),
        shares=_columns(rows, "shares", "share"),
        sizes=_columns(rows, "sizes", "scale"),
        figures={name: block(figure) for name, figure in drawn.items()},
        captions=CAPTIONS,
        themes=block({"light": vega_config(), "dark": vega_config(dark=True)}),
        style=style("report.css", "compare.css"),
        bundle=bundle,
        script=script,
        hashes=[script_hash(bundle), script_hash(script)],
    )


def figures_of(content: CompareContent) -> dict[str, Any]:
    """{name: figure} of those that there are numbers for."""
    rows = [row for row in content.rows if not row["error"]]
    figures = {"pareto": pareto(rows, content.front), "data": data_shares(rows), "robustness": robustness(rows)}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _columns(rows: Any, of: str, key: str) -> list[float]:
    """Every share (or scale) that some model has a figure for, in order."""
    return sorted({part[key] for row in rows for part in row[of]})


def short(value: float | None, digits: int = 3) -> str:
    """A number with as many digits as tell it from another, thousands in groups; '' where there is none."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"


def memory(value: float | None) -> str:
    """Bytes as GB."""
    return "" if value is None else f"{value / 1e9:.2f}\u00a0GB"
