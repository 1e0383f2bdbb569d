"""The runs of a folder as a table."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from anmok.core.text import size_text, visible

HEADS = ("name", "kind", "model", "data", "validation accuracy", "test accuracy", "last change", "size", "state")
NUMBERS = (7,)  # columns that stand to the right


def runs_lines(folder: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A title and the rows in columns."""
    if not rows:
        return [f"no runs below {folder}; `anmok train` makes one"]
    lines = [HEADS, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    title = f"{len(rows):,} run{'' if len(rows) == 1 else 's'} below {folder}; accuracies with their 95 % intervals"
    return [title, *("  ".join(_padded(line, widths)).rstrip() for line in lines)]


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What is shown of a run."""
    return (
        visible(row["path"]), row["kind"], visible(row["model"]), row["data"], score_text(row["val"]),
        score_text(row["test"]), row["date"], size_text(row["size"]), visible(row["state"]),
    )  # fmt: skip


def score_text(score: Mapping[str, float] | None) -> str:
    """'0.912 [0.88, 0.94]', or a dash."""
    return "–" if score is None else f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def runs_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same for a notebook."""
    heads = "".join(f"<th>{html.escape(h)}</th>" for h in HEADS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells(r)) + "</tr>" for r in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        text.rjust(width) if i in NUMBERS else text.ljust(width)
        for i, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
