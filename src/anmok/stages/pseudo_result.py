"""What a round of pseudo labelling took and refused, as text, as files and as a sheet of pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.errors import ImageError
from anmok.core.files import write_atomic, write_json
from anmok.core.text import visible
from anmok.data.decode import decode
from anmok.data.table import Table
from anmok.expand.pseudo import SELECTED, Selection
from anmok.expand.refuse import refused_lines

CELLS = 6  # pictures of a class in the sheet, from the surest to the least sure
CLASSES = 40  # rows of the sheet, at most
SIDE = 160  # pixels of a cell


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """path: the new table's file; table: the new version; rounds: what each took, as `facts`; beside: the folder with
    pseudo.json, images.parquet, selected.png and the runs of the rounds between.
    """

    path: Path
    table: Table
    rounds: tuple[dict[str, Any], ...]
    beside: Path

    def __repr__(self) -> str:
        lines = [f"Pseudo labels {self.path}"]
        for number, found in enumerate(self.rounds, 1):
            head = f"  round {number}: " if len(self.rounds) > 1 else "  "
            lines.append(f"{head}{found['selected']:,} of {found['images']:,} images labelled by {found['model'][:12]}")
        last = self.rounds[-1]
        width = max(len(visible(name)) for name in last["classes"])
        for name, n in last["classes"].items():
            lines.append(f"    {visible(name):<{width}}  {n:>7,}  beside {last['labelled'][name]:,} labelled")
        return "\n".join([*lines, *(f"    {line}" for line in last["refused_text"])])


def facts(table: Table, selection: Selection, labelled: np.ndarray, model_hash: str) -> dict[str, Any]:
    """A round as plain values, for pseudo.json."""
    counts = Counter(reason for reason in selection.reasons if reason != SELECTED)
    sure = selection.confidence[selection.rows]
    return {
        "model": model_hash, "images": len(selection.reasons), "selected": len(selection.rows),
        "classes": dict(zip(table.classes, selection.counts().tolist(), strict=True)),
        "labelled": dict(zip(table.classes, labelled.tolist(), strict=True)),
        "quota": dict(zip(table.classes, selection.quota.tolist(), strict=True)),
        "mean_confidence": round(float(sure.mean()), 6) if len(sure) else None,
        "refused": dict(sorted(counts.items())), "refused_text": refused_lines(selection.reasons),
    }  # fmt: skip


def write_beside(
    folder: Path, unlabeled: Table, selection: Selection, classes: Sequence[str], rounds: list[dict[str, Any]],
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """pseudo.json, images.parquet (id, label, confidence, refused: a row an image) and selected.png."""
    import polars as pl

    labels = [classes[k] if k >= 0 else None for k in selection.labels.tolist()]
    frame = pl.DataFrame({
        "id": unlabeled.rows["id"], "label": pl.Series(labels, dtype=pl.String),
        "confidence": np.where(selection.labels >= 0, selection.confidence, np.nan),
        "refused": [reason or None for reason in selection.reasons],
    }, schema_overrides={"refused": pl.String}, nan_to_null=True)  # fmt: skip
    write_atomic(folder / "images.parquet", frame.write_parquet)
    write_sheet(folder / "selected.png", unlabeled, selection, classes)
    write_json(folder / "pseudo.json", {"settings": settings, "rounds": rounds})


def write_sheet(path: Path, unlabeled: Table, selection: Selection, classes: Sequence[str]) -> None:
    """A contact sheet: of each class some selected images, evenly from the surest to the least sure."""
    from anmok.report.sheet import Cell, Row, draw_sheet
    from anmok.report.words import count

    rows = []
    for k, name in enumerate(classes[:CLASSES]):
        mine = selection.rows[selection.labels[selection.rows] == k]
        order = mine[np.argsort(-selection.confidence[mine], kind="stable")]
        shown = order[np.unique(np.linspace(0, len(order) - 1, min(CELLS, len(order))).astype(int))]
        cells = [Cell(_picture(unlabeled, i), _caption(unlabeled, i, selection)) for i in shown.tolist()]
        rows.append(Row(visible(name), count(len(mine), "image"), cells))
    notes = ["Of each class from the surest to the least sure of those taken."]
    if len(classes) > CLASSES:
        notes.append(f"The first {CLASSES} of {len(classes)} classes.")
    sheet = draw_sheet(f"{len(selection.rows):,} pseudo labels", notes, [""] * CELLS, rows, SIDE)
    write_atomic(path, lambda to: sheet.save(to, "PNG"))


def _caption(table: Table, row: int, selection: Selection) -> str:
    return f"{selection.confidence[row]:.3f} {visible(table.rows['id'][row])}"


def _picture(table: Table, row: int) -> np.ndarray:
    try:
        return decode(table.storage.read(table.rows["image"][row]), min_side=SIDE)
    except ImageError:  # it has gone since it was predicted
        return np.full((SIDE, SIDE, 3), 255, np.uint8)
