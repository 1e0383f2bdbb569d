"""A Table in a few lines of text, and as HTML for a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from anmok.core.text import visible
from anmok.data.table import class_counts, split_counts

if TYPE_CHECKING:
    from anmok.data.table import Table

MOST_CLASSES = 20


def facts(table: Table) -> list[tuple[str, str]]:
    """(name, value) of what a reader wants to know first."""
    counts = class_counts(table)
    shown = [f"{visible(name)} {n:,}" for name, n in list(counts.items())[:MOST_CLASSES]]
    more = [f"… {len(counts) - MOST_CLASSES:,} more"] if len(counts) > MOST_CLASSES else []
    unlabelled = table.rows["label"].null_count()
    splits = split_counts(table)
    lines = [("images", f"{len(table):,}"), ("task", table.reason or table.task)]
    if set(splits) - {"none"}:
        lines.append(("splits", ", ".join(f"{name} {n:,}" for name, n in splits.items())))
    if counts:
        lines.append(("classes", ", ".join(shown + more)))
    if unlabelled:
        lines.append(("unlabelled", f"{unlabelled:,}"))
    if table.rejects:
        lines.append(("left out", f"{len(table.rejects):,}"))
    return lines


def as_text(table: Table) -> str:
    """A short summary."""
    return "\n".join(["Table", *(f"  {name:<11} {value}" for name, value in facts(table))])


def as_html(table: Table) -> str:
    """The summary as an HTML table; names and labels are escaped."""
    body = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts(table))
    notes = "".join(f"<li>{html.escape(visible(note))}</li>" for note in table.notes)
    return f"<table>{body}</table>" + (f"<ul>{notes}</ul>" if notes else "")
