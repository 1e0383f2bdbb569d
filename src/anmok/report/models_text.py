"""The catalogue of networks as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

HEADS = ("name", "family", "parameters", "GMACs", "pixels", "weights", "licence", "cached")
NUMBERS = (2, 3, 4)  # columns that stand to the right


def count_text(n: int | None) -> str:
    """'11.7 M', three digits of a number of parameters; 'n/a' for None."""
    if n is None:
        return "n/a"
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if n >= factor * 0.9995:
            return f"{n / factor:#.3g}".rstrip(".") + unit
    return str(n)


def gmacs_text(macs: int | None) -> str:
    """'1.81', three digits of billions of multiply-accumulates; 'n/a' for None."""
    if macs is None:
        return "n/a"
    return f"{macs / 1e9:#.3g}".rstrip(".") if macs >= 1e7 else f"{macs / 1e9:.4f}"


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows under their heads, in columns."""
    lines = [HEADS, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    return "\n".join(
        "  ".join(t.rjust(w) if i in NUMBERS else t.ljust(w) for i, (t, w) in enumerate(zip(line, widths, strict=True)))
        .rstrip()
        for line in lines
    )  # fmt: skip


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """The same as a table of HTML."""
    heads = "".join(f"<th>{html.escape(h)}</th>" for h in HEADS)
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(t)}</td>" for t in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table>"
