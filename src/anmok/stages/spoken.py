"""What a model said of images: a row each, as text, CSV, Parquet or a contact sheet."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import ImageError, UsageError
from anmok.core.files import must_not_exist, write_atomic
from anmok.core.progress import bar, say, warn
from anmok.core.text import visible
from anmok.data.decode import decode
from anmok.data.storage import file_name
from anmok.data.table import Table, named
from anmok.nshot.vision_language import Example
from anmok.report.sheet import Cell, Row, draw_sheet
from anmok.report.thumbnails import SIDE
from anmok.stages.predict import FORMULA, safe_cell

ENDS = (".csv", ".parquet", ".png")
SHOWN = 60  # images of a sheet, at most
COLUMNS = 4


class Line(NamedTuple):
    """What was said of an image; probability where the model has one; error where it could not be read."""

    id: str
    text: str
    probability: float | None = None
    error: str = ""


@dataclass(frozen=True, eq=False)
class Spoken:
    """The lines of a source's images, in its order. name: of the column of texts; asked: the question, '' for none.

    frame: a polars DataFrame with id, image and the column; label and split of the source where it has them.
    """

    name: str
    model: str
    lines: list[Line]
    frame: Any
    asked: str = ""
    pictures: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def __repr__(self) -> str:
        head = [f"{self.asked} ({self.model})"] if self.asked else [f"{self.name}s by {self.model}"]
        rows = [f"  {visible(line.id)}: {said(line)}" for line in self.lines[:20]]
        return "\n".join(head + rows + (["  …"] if len(self) > 20 else []))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(line.id)}</td><td>{html.escape(said(line))}</td></tr>" for line in self.lines[:50]
        )
        return f"<table><tr><th>id</th><th>{html.escape(self.asked or self.name)}</th></tr>{rows}</table>"

    def save(self, out: Path) -> Path:
        """Write a .csv or .parquet (image and text: a source of pairs), or a .png with the first images."""
        end = out.suffix.lower()
        if end == ".png":
            cells = [Cell(p, said(n)) for p, n in zip(self.pictures, self.lines, strict=False)]
            rows = [Row("", "", cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
            notes = [f"{self.model}; {len(cells)} of {len(self):,} image(s)"]
            sheet = draw_sheet(self.asked or f"{self.name}s", notes, [""] * COLUMNS, rows)
            return write_atomic(out, lambda path: sheet.save(path, "PNG"))
        if end == ".parquet":
            return write_atomic(out, self.frame.write_parquet)
        import polars as pl

        texts = [c for c, kind in self.frame.schema.items() if kind == pl.String and c != "image"]
        odd = pl.col("image").str.slice(0, 1).is_in(FORMULA)
        safe = self.frame.with_columns(
            pl.when(odd).then("./" + pl.col("image")).otherwise("image").alias("image"),  # the same file, no formula
        ).with_columns(
            pl.Series(c, [None if v is None else safe_cell(v) for v in self.frame[c].to_list()], dtype=pl.String)
            for c in texts
        )
        return write_atomic(out, safe.write_csv())


def said(line: Line) -> str:
    """The text as shown: with its probability, or why there is none."""
    if line.error:
        return f"no answer, {line.error}"
    return line.text if line.probability is None else f"{line.text} ({line.probability:.3f})"


def target_of(out: Path | str | None) -> Path | None:
    """The file to write, which must not exist.  UsageError for one of another kind."""
    if out is None:
        return None
    if Path(out).suffix.lower() not in ENDS:
        raise UsageError(f"--out {out}: expected a {', '.join(ENDS)} file.", code="out")
    return must_not_exist(out)


def speak(
    table: Table, name: str, model: str, about: Callable[[np.ndarray], tuple[str, float | None]], out: Path | None,
    *, asked: str = "", allow_truncated: bool = False,
) -> Spoken:  # fmt: skip
    """Ask `about` for the text of each image, uint8[H, W, 3]; an image that cannot be read is a row with the reason."""
    if not len(table):
        raise UsageError("there are no images.", code="source")
    lines: list[Line] = []
    pictures: list[np.ndarray] = []
    pairs = zip(table.rows["id"].to_list(), table.rows["image"].to_list(), strict=True)
    with bar(name, len(table)) as progress:
        for identity, reference in pairs:
            try:
                image = decode(table.storage.read(reference), allow_truncated=allow_truncated)
            except ImageError as error:
                lines.append(Line(identity, "", error=f"{error.code}: {error.message}"))
                pictures.append(np.full((8, 8, 3), 127, np.uint8))
            else:
                lines.append(Line(identity, *about(image)))
                pictures.append(_small(image) if len(pictures) < SHOWN else np.zeros((1, 1, 3), np.uint8))
            progress.advance(1)
    bad = [visible(line.id) for line in lines if line.error]
    if bad:
        warn(f"{named(len(bad), 'image', bad)} could not be used; the reason stands in the row")
    frame = _frame(table, name, lines, out)
    return Spoken(name, model, lines, frame, asked, pictures[:SHOWN])


def _small(image: np.ndarray) -> np.ndarray:
    """The picture no larger than a sheet needs."""
    step = max(1, min(image.shape[:2]) // (2 * SIDE))
    return np.ascontiguousarray(image[::step, ::step])


def _frame(table: Table, name: str, lines: Sequence[Line], out: Path | None) -> Any:
    """id, image (as it is found from beside `out`, where that is possible), the texts, what else is known."""
    import polars as pl

    images, far = _found_from(table, out)
    if far:
        say(f"to open these pairs, name the images' folder: --image-root {table.root}")
    rows = table.rows
    kept = [c for c in ("label", "split") if rows[c].dtype == pl.String and rows[c].null_count() < len(rows)]
    columns: dict[str, Any] = {
        "id": [line.id for line in lines], "image": images,
        name: pl.Series([line.text if not line.error else None for line in lines], dtype=pl.String),
        **{c: rows[c] for c in kept},
    }  # fmt: skip
    if any(line.probability is not None for line in lines):
        columns["probability"] = [line.probability for line in lines]
    if any(line.error for line in lines):
        columns["error"] = [line.error or None for line in lines]
    return pl.DataFrame(columns)


def _found_from(table: Table, out: Path | None) -> tuple[list[str], bool]:
    """(paths of the images, whether they are relative to the table's root and that is not where `out` lies)."""
    names = [file_name(r) or r for r in table.rows["image"].to_list()]
    root, home = Path(table.root).resolve(), (out or Path("x")).resolve().parent
    if out is None or root == home:
        return names, False
    if root.is_relative_to(home):
        below = root.relative_to(home).as_posix()
        return [f"{below}/{name}" for name in names], False
    return names, True


def read_examples(given: Iterable[str | tuple[Any, str]]) -> list[Example]:
    """Examples from 'photo.jpg=a can' or (image, text) pairs.  UsageError for one without a text or an image."""
    from anmok.data.decode import to_rgb

    out = []
    for item in given:
        image, text = item.rsplit("=", 1) if isinstance(item, str) and "=" in item else (item, "")
        if isinstance(item, tuple):
            image, text = item
        if not str(text).strip():
            raise UsageError(
                f"{item!r} gives no image with an answer.", where="--example", code="examples",
                remedy='Expected IMAGE=TEXT, as in --example photo.jpg="a can".',
            )  # fmt: skip
        if isinstance(image, str | os.PathLike) and not Path(image).is_file():
            raise UsageError(f"no such image: {image}.", where="--example", code="examples")
        out.append(Example(to_rgb(image), str(text).strip()))
    return out
