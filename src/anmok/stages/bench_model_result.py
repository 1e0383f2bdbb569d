"""What `anmok bench model` and `anmok export` found: the table of runtimes, as text, HTML and JSON."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anmok.deploy.bakeoff import Bounds, Row

HEAD = ("runtime", "dtype", "batch", "ms", "images/s", "× torch", "agrees", "largest Δ", "")


@dataclass(frozen=True)
class ModelSpeed:
    """The rows of a bake-off, and what they were measured with.

    name: the network or its folder; shape: (S, S, C) of its images; images, split: on how many images of which split
    answers were compared; weights: `trained`, or `random` where nothing was judged; checked: the graph against torch,
    {images, largest, bound}; notes: what else to know.
    """

    name: str
    shape: tuple[int, int, int]
    threads: int
    machine: str
    images: int
    split: str
    rows: tuple[Row, ...]
    bounds: Bounds
    weights: str = "trained"
    checked: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> dict[int, Row]:
        """The form that was taken, by batch size."""
        return {row.batch: row for row in self.rows if row.chosen}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self) | {"rows": [row.to_dict() for row in self.rows]}

    @property
    def title(self) -> str:
        """What was measured, on what."""
        size, _, channels = self.shape
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.name}, {size}×{size}×{channels}, {threads}, {self.machine}"

    @property
    def advice(self) -> str:
        """What was taken, and how it was judged."""
        taken = [
            f"batch {batch}: {row.form}" + ("" if row.ratio is None else f", {row.ratio:.1f} × torch fp32")
            for batch, row in self.chosen.items()
        ]
        b = self.bounds
        if self.weights == "random":
            how = f"Weights are random: answers to {self.images} pictures of random pixels are compared, not judged."
        else:
            how = (
                f"Answers are compared with torch fp32 on {self.images:,} images ({self.split}), at the batch shown; "
                f"at least {b.fp32:.1%} must agree (int8 {b.int8:.1%}), accuracy may be {100 * b.accuracy:.1f} points "
                "lower."
            )
        return f"Taken: {'; '.join(taken) or 'nothing'}. {how}"

    def cells(self) -> list[tuple[str, ...]]:
        """The table's rows as text."""
        return [_cells(row) for row in self.rows]

    def __repr__(self) -> str:
        return "\n".join([self.title, *table_lines([HEAD, *self.cells()]), self.advice, *self.notes])

    def _repr_html_(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        body = line(HEAD, "th") + "".join(line(cells, "td") for cells in self.cells())
        below = "".join(f"<p>{html.escape(text)}</p>" for text in (self.advice, *self.notes))
        return f"<p>{html.escape(self.title)}</p><table>{body}</table>{below}"


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    runtime = f"{row.runtime} {row.layout}".strip()
    return (
        runtime, row.dtype, str(row.batch), number(row.ms, ".2f"), number(row.images_per_s, ",.0f"),
        number(row.ratio, ".2f"), number(row.agreement, ".2%"), number(row.difference, ".1g"),
        "taken" if row.chosen else row.why,
    )  # fmt: skip


def table_lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of text as lines with columns; the first two and the last to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  "
        + "  ".join(
            cell if i == last else cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
