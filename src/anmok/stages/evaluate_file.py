"""Anybody's predictions: a Parquet or CSV file with id, target and probs, or id, target and prediction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.artifacts import load_predictions
from anmok.core.errors import DataError
from anmok.core.types import Evaluation, Predictions, Task
from anmok.data.config import DataConfig
from anmok.data.delimited import read_csv

FILES = (".parquet", ".csv", ".tsv")
SEPARATOR = ";"  # of several labels in a cell
COLUMN = "p_"  # of a class's probability, before its name, as `anmok predict` writes it
NO_PROBS = "the file has predictions without probabilities"
OF_PROBS = ("log_loss", "brier", "ece", "roc_auc", "average_precision", "top_3_accuracy", "top_5_accuracy")


@dataclass(frozen=True, eq=False)
class Labels(Predictions):
    """Predictions of which only the answers are known: probs are 0 and 1."""


def read_predictions(path: Path) -> Predictions:
    """Predictions of a file.

    Ours (see `artifacts.save_predictions`), or columns id, target and: probs (a list, or numbers in a text) with the
    classes in sorted order of the targets, or as many p_NAME; or prediction.  target: a label, several with ; between
    them or as a list, or the number of a class.  split, where there is one, is kept.  DataError: a column is missing
    (column), a cell is no number (list), or the classes are not as many as the probabilities (classes).
    """
    if not path.is_file():
        raise DataError("no such file.", where=str(path), code="missing-file")
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"not a Parquet file ({error}).", where=str(path), code="damaged") from error
        if b"anmok" in (schema.metadata or {}):
            return load_predictions(path)
    return from_frame(read_frame(path), str(path))


def read_frame(path: Path) -> Any:
    """The rows of a .parquet, .csv or .tsv file that is there, with every column, as a polars DataFrame."""
    import polars as pl

    if path.suffix.lower() == ".parquet":
        return pl.read_parquet(path)
    return read_csv(path, DataConfig())[0]


def from_frame(frame: Any, where: str) -> Predictions:
    """The same from a polars DataFrame."""
    import polars as pl

    missing = [name for name in ("id", "target") if name not in frame.columns]
    named = [c for c in frame.columns if c.startswith(COLUMN) and len(c) > len(COLUMN)]
    if missing or not (named or {"probs", "prediction"} & set(frame.columns)):
        raise DataError(
            f"no column {missing[0] if missing else 'probs or prediction'}; found "
            f"{', '.join(map(repr, frame.columns[:12]))}.", where=where, code="column",
            remedy="Expected id,target,probs or id,target,prediction.",
        )  # fmt: skip
    ids = [str(i) for i in frame["id"].to_list()]
    split = [s or "" for s in frame["split"].cast(pl.String).to_list()] if "split" in frame.columns else None
    cells = [_labels(cell) for cell in frame["target"].to_list()]
    if named:
        classes = [c.removeprefix(COLUMN) for c in named]
        return _made(ids, classes, _numbers(frame, named, where), cells, split, where)
    if "probs" in frame.columns:
        probs = _lists(frame["probs"].to_list(), where)
        return _made(ids, _classes(cells, probs.shape[1], where), probs, cells, split, where)
    said = [_labels(cell) for cell in frame["prediction"].to_list()]
    classes = sorted({name for labels in (*cells, *said) for name in labels or ()})
    found = _made(ids, classes, _answers(said, classes), cells, split, where, [*cells, *said])
    return Labels(found.ids, found.classes, found.probs, found.targets, found.task, found.split)


def without_probs(evaluation: Evaluation) -> Evaluation:
    """An evaluation of Labels: what only probabilities could tell is n/a, and `answers_only` is so."""
    undefined = {"value": None, "reason": NO_PROBS}
    data = dict(evaluation.data)
    data["metrics"] = {n: dict(undefined) if n in OF_PROBS else m for n, m in data["metrics"].items()}
    data["per_class"] = {
        label: {n: dict(undefined) if n in OF_PROBS else m for n, m in row.items()}
        for label, row in data["per_class"].items()
    }
    return Evaluation({**data, "answers_only": True})


def answers_only(evaluation: Evaluation) -> bool:
    """Whether nothing but answers was known: no threshold, curve or order of confidence follows from them."""
    return bool(evaluation.data.get("answers_only"))


def _labels(cell: Any) -> list[str] | None:
    """The labels of a cell; None where it is empty."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, list | tuple):
        return [str(part) for part in cell]
    return [part.strip() for part in str(cell).split(SEPARATOR)]


def _classes(cells: Sequence[list[str] | None], k: int, where: str) -> list[str]:
    """K names from the targets: numbers are the places of the classes, names stand in sorted order."""
    names = sorted({name for labels in cells for name in labels or ()})
    if names and all(name.isdecimal() and int(name) < k for name in names):
        return [str(i) for i in range(k)]
    if len(names) == k:
        return names
    raise DataError(
        f"{k} probabilities a row, but the targets name {len(names)} classes.", where=where, code="classes",
        remedy="Give each class a column of its own, p_NAME.",
    )  # fmt: skip


def _made(
    ids: list[str], classes: list[str], probs: np.ndarray, cells: Sequence[list[str] | None],
    split: list[str] | None, where: str, several: Sequence[list[str] | None] | None = None,
) -> Predictions:  # fmt: skip
    index = {name: i for i, name in enumerate(classes)}
    strange = sorted({name for labels in cells for name in labels or () if name not in index})
    if strange:
        raise DataError(f"no probability of the class {strange[0]!r}.", where=where, code="class-map")
    multi = any(len(labels) != 1 for labels in several or cells if labels is not None)
    task: Task = "multilabel" if multi else "binary" if len(classes) == 2 else "multiclass"
    if not multi:
        targets = np.array([-1 if labels is None else index[labels[0]] for labels in cells], np.int64)
        return Predictions(ids, classes, probs, targets, task, split)
    wanted = np.full((len(ids), len(classes)), np.nan, np.float32)
    for row, labels in zip(wanted, cells, strict=True):
        if labels is not None:
            row[:] = [c in labels for c in classes]
    return Predictions(ids, classes, probs, wanted, task, split)


def _answers(said: Sequence[list[str] | None], classes: Sequence[str]) -> np.ndarray:
    out = np.full((len(said), len(classes)), np.nan, np.float32)
    for row, labels in zip(out, said, strict=True):
        if labels is not None:
            row[:] = [c in labels for c in classes]
    return out


def _numbers(frame: Any, columns: Sequence[str], where: str) -> np.ndarray:
    import polars as pl

    try:
        floats = [frame[c].replace("", None) if frame[c].dtype == pl.String else frame[c] for c in columns]
        return np.column_stack([f.cast(pl.Float32).fill_null(float("nan")).to_numpy() for f in floats])
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a probability is no number ({error}).", where=where, code="list") from error


def _lists(cells: Sequence[Any], where: str) -> np.ndarray:
    """float32[N, K] of lists, or of texts such as '[0.1, 0.9]' or '0.1 0.9'; an empty cell is a row of NaN."""
    rows: list[list[float] | None] = []
    for number, cell in enumerate(cells, 1):
        try:
            rows.append(_list(cell))
        except (TypeError, ValueError) as error:
            raise DataError(f"row {number}: {cell!r} is no list of numbers.", where=where, code="list") from error
    lengths = {len(row) for row in rows if row}
    if len(lengths) != 1:
        raise DataError(
            f"rows have {', '.join(map(str, sorted(lengths))) or 'no'} probabilities; all must have as many.",
            where=where, code="shape",
        )  # fmt: skip
    k = lengths.pop()
    return np.array([row or [float("nan")] * k for row in rows], np.float32)


def _list(cell: Any) -> list[float] | None:
    if cell is None or cell == "":
        return None
    if isinstance(cell, str):
        cell = json.loads(cell) if cell.lstrip().startswith("[") else cell.replace(SEPARATOR, " ").split()
    return [float(value) for value in cell]
