"""What became of generated images: as text, as generate.json and rejected.csv, and as a sheet of pictures."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.files import write_atomic, write_json
from anmok.core.text import visible
from anmok.data.table import Table, class_counts
from anmok.expand.generate import Order
from anmok.expand.judged import ACCEPTED, WORDS, refused_lines
from anmok.stages.generate_folder import Painted, pixels
from anmok.stages.generate_judge import Judgement
from anmok.stages.predict import safe_cell

CELLS = 6  # pictures of a row of the sheet
ROWS = 60  # of the sheet, at most
SIDE = 160  # pixels of a cell
SHEET, FACTS, REFUSED = "sheet.png", "generate.json", "rejected.csv"


@dataclass(frozen=True, eq=False)
class Generated:
    """path: the new table's file; table: the new version; beside: the folder with images, rejected, sheet.png,
    rejected.csv and generate.json; classes: of each class what `facts` says.
    """

    path: Path
    table: Table
    beside: Path
    model: str
    classes: dict[str, dict[str, Any]]

    @property
    def comparison(self) -> list[str]:
        """The commands that measure what the images gain: the same split with and without them."""
        stem = shlex.quote(str(self.path.with_suffix("")))
        table, without = (shlex.quote(str(self.path.with_suffix(end))) for end in (".parquet", ".without.parquet"))
        return [
            f"anmok split {table} --drop generated --out {without}",
            f"anmok train {without} --out {stem}-without",
            f"anmok train {table} --out {stem}-with",
            f"anmok evaluate {stem}-without {stem}-with",
        ]

    def __repr__(self) -> str:
        lines = [f"Generated images {self.path}, by {self.model}"]
        for name, found in self.classes.items():
            lines += [f"  {visible(name)}: {line}" for line in class_lines(found)[:1]]
            lines += [f"    {line}" for line in class_lines(found)[1:]]
        return "\n".join(lines)


def class_lines(found: dict[str, Any]) -> list[str]:
    """What became of the images of a class, as sentences."""
    told, apart = found["real_or_generated"], found["frechet"]
    lines = [f"{found['taken']:,} of {found['made']:,} taken, beside {found['real']:,} real training images"]
    lines += found["refused_text"]
    if told["value"] is None:
        lines.append(f"real or generated: not measured, {told['reason']}")
    else:
        lines.append(
            f"real or generated: told apart with accuracy {told['value']:.3f} [{told['low']:.3f}, {told['high']:.3f}] "
            f"({told['n']:,} of each; 0.5: not at all)"
        )
    if apart["value"] is None:
        lines.append(f"Fréchet distance: not measured, {apart['reason']}")
    else:
        half = apart["between_halves_of_real"]
        lines.append(
            f"Fréchet distance to real images {apart['value']:.4f} [{apart['low']:.4f}, {apart['high']:.4f}], between "
            f"two halves of the real ones {half['value']:.4f} [{half['low']:.4f}, {half['high']:.4f}] "
            f"({apart['n']:,} each)"
        )
    return lines


def facts(table: Table, orders: Sequence[Order], found: Judgement) -> dict[str, dict[str, Any]]:
    """Of each class: made, taken, real, refused, refused_text, mean_score, mean_margin, and its likeness."""
    from anmok.data.made import given

    real = class_counts(table.take(given(table)).where("train"))
    out = {}
    for label in dict.fromkeys(order.label for order in orders):
        rows = [n for n, order in enumerate(orders) if order.label == label]
        taken = [n for n in rows if found.verdicts[n].reason == ACCEPTED]
        reasons = [found.verdicts[n].reason for n in rows]
        means = {
            f"mean_{what}": round(float(np.mean(values[taken])), 6) if taken else None
            for what, values in (("score", found.scores.score), ("margin", found.scores.margin))
        }
        name = table.classes[label]
        out[name] = {
            "made": len(rows), "taken": len(taken), "real": real[name],
            "refused": dict(sorted(Counter(r for r in reasons if r != ACCEPTED).items())),
            "refused_text": refused_lines(reasons), **means, **found.likeness[name],
        }  # fmt: skip
    return out


def write_beside(
    beside: Path, table: Table, orders: Sequence[Order], painted: Sequence[Painted], found: Judgement,
    settings: dict[str, Any], classes: dict[str, dict[str, Any]],
) -> None:  # fmt: skip
    """generate.json, rejected.csv (a row a refused image) and sheet.png."""
    write_json(beside / FACTS, {"settings": settings | {"copy": found.copy}, "classes": classes})
    _write_refused(beside / REFUSED, table, orders, painted, found)
    _write_sheet(beside / SHEET, table, orders, painted, found, beside)


def _write_refused(
    path: Path, table: Table, orders: Sequence[Order], painted: Sequence[Painted], found: Judgement
) -> None:
    import polars as pl

    rows = [n for n, one in enumerate(found.verdicts) if one.reason != ACCEPTED]
    frame = pl.DataFrame({
        "file": [painted[n].file for n in rows],
        "label": [safe_cell(table.classes[orders[n].label]) for n in rows],
        "reason": [found.verdicts[n].reason for n in rows],
        "evidence": [safe_cell(found.verdicts[n].evidence) for n in rows],
        "score": found.scores.score[rows], "margin": found.scores.margin[rows],
        "prompt": [safe_cell(orders[n].prompt) for n in rows], "seed": [orders[n].seed for n in rows],
        "source": [safe_cell(orders[n].start.id) if orders[n].start else None for n in rows],  # type: ignore[union-attr]
    }, schema_overrides={"source": pl.String, "score": pl.Float64, "margin": pl.Float64}, nan_to_null=True)  # fmt: skip
    write_atomic(path, frame.write_csv())


def _write_sheet(
    path: Path, table: Table, orders: Sequence[Order], painted: Sequence[Painted], found: Judgement, beside: Path
) -> None:
    """Of each class some images that are taken, and some of each reason, with what was found under them."""
    from anmok.report.sheet import Cell, Row, draw_sheet

    rows: list[Row] = []
    for label in dict.fromkeys(order.label for order in orders):
        for reason in (ACCEPTED, *WORDS):
            mine = [
                n for n, o in enumerate(orders) if o.label == label and found.verdicts[n].reason == reason
            ]  # fmt: skip
            if not mine:
                continue
            shown = [mine[i] for i in np.unique(np.linspace(0, len(mine) - 1, min(CELLS, len(mine))).astype(int))]
            cells = [Cell(_picture(beside, painted[n].file), visible(found.verdicts[n].evidence)) for n in shown]
            what = "taken" if reason == ACCEPTED else f"refused, {WORDS[reason]}"
            rows.append(Row(visible(table.classes[label]), f"{len(mine):,} {what}", cells))
    notes = ["Under an image: the probability of its class and of the best other one, or what it is nearly."]
    if len(rows) > ROWS:
        notes.append(f"The first {ROWS} of {len(rows)} rows.")
    sheet = draw_sheet(f"{len(orders):,} generated images", notes, [""] * CELLS, rows[:ROWS], SIDE)
    write_atomic(path, lambda to: sheet.save(to, "PNG"))


def _picture(beside: Path, file: str) -> np.ndarray:
    image = pixels(beside, file)
    return np.full((SIDE, SIDE, 3), 255, np.uint8) if image is None else image
