"""What a search found: as text, as a table for other tools, as a sheet of pictures or a page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import ImageError
from anmok.core.files import write_atomic
from anmok.core.text import visible
from anmok.data.decode import decode, to_rgb
from anmok.data.table import Table
from anmok.stages.predict import safe_cell

ENDS = (".csv", ".parquet", ".png", ".webp", ".html")
PICTURES = {".png": "PNG", ".webp": "WEBP"}
COLUMNS = 5  # pictures side by side
SHOWN = 60  # pictures of a sheet or a page, at most
SIDE = 208


class Hit(NamedTuple):
    """What is found at a rank (from 1) for a query: the id of an image, or a text; cosine in [-1, 1]."""

    query: str
    rank: int
    found: str
    cosine: float


@dataclass(frozen=True, eq=False)
class Found:
    """kind: what was searched, image or text. hits: query by query, nearest first; how: exact or by a graph. table:
    where the images are; queries: those that are images, by name.
    """

    kind: str
    model: str
    hits: list[Hit]
    how: str
    table: Table | None = None
    queries: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.hits)

    @property
    def frame(self) -> Any:
        """A polars DataFrame: query, rank, found (id or text), cosine."""
        import polars as pl

        return pl.DataFrame({
            "query": [safe_cell(h.query) for h in self.hits], "rank": [h.rank for h in self.hits],
            self.kind: [safe_cell(h.found) for h in self.hits], "cosine": [h.cosine for h in self.hits],
        })  # fmt: skip

    def __repr__(self) -> str:
        lines, before = [], None
        for hit in self.hits[:100]:
            if hit.query != before:
                lines.append(f"{visible(hit.query)} ({self.model}, {self.how})")
                before = hit.query
            lines.append(f"  {hit.rank:>3}  {hit.cosine:.3f}  {visible(hit.found)}")
        return "\n".join(lines + (["  …"] if len(self.hits) > 100 else []))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(h.query)}</td><td>{h.rank}</td><td>{html.escape(h.found)}</td>"
            f"<td>{h.cosine:.3f}</td></tr>"
            for h in self.hits[:100]
        )
        return f"<table><tr><th>query</th><th>rank</th><th>{self.kind}</th><th>cosine</th></tr>{rows}</table>"

    def save(self, path: Path) -> Path:
        """Write .csv, .parquet, a sheet (.png, .webp) or a page (.html)."""
        end = path.suffix.lower()
        if end == ".csv":
            return write_atomic(path, self.frame.write_csv())
        if end == ".parquet":
            return write_atomic(path, self.frame.write_parquet)
        if end == ".html":
            from anmok.report.search_page import render_search

            return write_atomic(path, render_search(self._title, self.how, self._cards()))
        return write_atomic(path, lambda file: self.sheet().save(file, PICTURES[end], quality=92))

    @property
    def _title(self) -> str:
        names = list(dict.fromkeys(hit.query for hit in self.hits))
        return f"{visible(names[0]) if len(names) == 1 else f'{len(names)} queries'} · {self.model}"

    def sheet(self) -> Any:
        """A contact sheet as a PIL image: of each query what was found, nearest first."""
        from anmok.report.sheet import Cell, Row, draw_sheet

        rows = []
        for query, cells in self._pictures():
            for start in range(0, len(cells), COLUMNS):
                part = [Cell(image, caption) for image, caption in cells[start : start + COLUMNS]]
                first = start == 0
                rows.append(Row(visible(query) if first else "", f"nearest first, {self.how}" if first else "", part))
        return draw_sheet(self._title, [f"The number is the cosine; {self.how}."], [""] * COLUMNS, rows, SIDE)

    def _cards(self) -> list[tuple[str, list[tuple[bytes, str]]]]:
        from anmok.report.thumbnails import thumbnail

        return [(q, [(thumbnail(image, SIDE), caption) for image, caption in cells]) for q, cells in self._pictures()]

    def _pictures(self) -> list[tuple[str, list[tuple[np.ndarray, str]]]]:
        """Of each query its pictures uint8[H, W, 3] and what stands under them, SHOWN in all."""
        place = {} if self.table is None else dict(zip(self.table.rows["id"], self.table.rows["image"], strict=True))
        out: dict[str, list[tuple[np.ndarray, str]]] = {}
        left = SHOWN
        for hit in self.hits:
            if hit.query not in out:
                if left <= 0:
                    break
                own = self.queries.get(hit.query)
                image = to_rgb(own) if own is not None else None
                if image is None and self.kind == "text":
                    image = self._read(place.get(hit.query, ""))
                texts = [f"{h.cosine:.3f} {h.found}" for h in self.hits if h.query == hit.query]
                caption = "the query" if self.kind == "image" else "; ".join(map(visible, texts[:3]))
                out[hit.query] = [] if image is None else [(image, caption)]
                left -= len(out[hit.query])
            if self.kind == "image" and left > 0:
                out[hit.query].append((self._read(place[hit.found]), f"{hit.cosine:.3f} {visible(hit.found)}"))
                left -= 1
        return list(out.items())

    def _read(self, reference: str) -> np.ndarray:
        assert self.table is not None
        try:
            return decode(self.table.storage.read(reference), min_side=SIDE)
        except ImageError:
            return np.full((SIDE, SIDE, 3), 224, np.uint8)
