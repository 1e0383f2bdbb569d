"""The page of anybody's predictions: what their columns allow, with pictures where they name images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anmok.core.machine import versions
from anmok.core.progress import warn
from anmok.core.types import Evaluation, Predictions
from anmok.data.columns import IMAGE
from anmok.data.named_files import Finder
from anmok.data.storage import file_reference
from anmok.data.table import Table, class_counts
from anmok.report.content import ReportContent
from anmok.report.language import language_of
from anmok.report.page import write_report
from anmok.stages.evaluate_file import answers_only
from anmok.stages.judged import judged
from anmok.stages.pictures import Pictures
from anmok.stages.report import mistakes

if TYPE_CHECKING:
    import polars as pl


def page_beside(path: Path) -> Path:
    """Where the page of a file of predictions is written, unless another place is named: NAME-report.html."""
    return path.with_name(f"{path.stem}-report.html")


def file_table(p: Predictions, frame: pl.DataFrame | None = None, path: Path | None = None) -> Table:
    """The predictions' images as a Table without contents: id, label, split, and what the file has of image and group.

    frame: the rows of the file at `path`, of which images are relative to its folder; an image that is not there, or
    lies elsewhere, is '' and said.
    """
    import polars as pl

    assert p.targets is not None
    if p.task == "multilabel":
        labels = [
            None if np.isnan(row).all() else [c for c, t in zip(p.classes, row, strict=True) if t > 0.5]
            for row in p.targets
        ]
        label = pl.Series("label", labels, dtype=pl.List(pl.String))
    else:
        label = pl.Series("label", [p.classes[t] if t >= 0 else None for t in p.targets], dtype=pl.String)
    root = Path() if path is None else path.parent
    rows = pl.DataFrame({
        "id": p.ids, "image": _images(p, frame, root), "label": label,
        "split": pl.Series([s or None for s in p.split or [""] * len(p)], dtype=pl.String),
        "group": pl.Series(_column(p, frame, "group"), dtype=pl.String),
        "hash": pl.Series([None] * len(p), dtype=pl.String),
    })  # fmt: skip
    return Table(rows, root, tuple(p.classes), p.task)


def file_page(
    out: Path, name: str, table: Table, p: Predictions, evaluation: Evaluation, language: str | None = None
) -> Path:
    """Write the page; name: of the file, table: see `file_table`."""
    import polars as pl

    said, split = language_of(language), evaluation["split"]
    pictures = Pictures(table.take(pl.col("image") != ""))
    shown = said.labels.get(f"split_{split}", split)
    marks = list(dict.fromkeys(s for s in p.split or () if s))
    facts = {
        "table fingerprint": p.fingerprint, "model hash": p.model_hash,
        "versions": ", ".join(f"{k} {v}" for k, v in versions().items()),
    }  # fmt: skip
    content = ReportContent(
        title=said.say("title_plain", run=name, split=shown) if shown else name,
        evaluation=evaluation,
        counts={mark: class_counts(table.where(mark)) for mark in marks},
        mistakes=[] if answers_only(evaluation) else mistakes(table, p, pictures, said.labels["none"]),
        judged=judged(table, p, evaluation, pictures),
        language=said.code,
        facts={k: v for k, v in facts.items() if v},
    )  # fmt: skip
    return write_report(out, content)


def can_write(out: Path) -> bool:
    """Whether a page can be put there; that it cannot is said aloud."""
    if os.access(out.parent, os.W_OK):
        return True
    warn(f"no page is written: {out.parent} cannot be written to; name another place with --out")
    return False


def _images(p: Predictions, frame: pl.DataFrame | None, root: Path) -> list[str]:
    """The reference of each image below the root, '' where there is none."""
    column = next((c for c in IMAGE if frame is not None and c in frame.columns and c != "image_id"), None)
    if column is None:
        return [""] * len(p)
    finder, out, lost = Finder(str(root)), [], 0
    for name in _column(p, frame, column):
        found, _ = finder.find(name) if name else (None, None)
        lost += bool(name) and found is None
        out.append("" if found is None else file_reference(found))
    if lost:
        warn(f"{lost:,} image{'' if lost == 1 else 's'} of the column {column} not found below {root.absolute()}")
    return out


def _column(p: Predictions, frame: pl.DataFrame | None, name: str) -> list[str | None]:
    """A column as text, row by row of the predictions; None where there is none."""
    import polars as pl

    if frame is None or name not in frame.columns:
        return [None] * len(p)
    values = frame[name].cast(pl.String, strict=False).to_list()
    of = dict(zip((str(i) for i in frame["id"].to_list()), values, strict=True))
    return [of.get(i) or None for i in p.ids]
