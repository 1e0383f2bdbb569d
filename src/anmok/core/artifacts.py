"""Predictions as a Parquet file that other tools read too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from anmok.core.errors import DataError
from anmok.core.files import write_atomic
from anmok.core.types import Predictions


def save_predictions(predictions: Predictions, path: Path | str) -> Path:
    """Write id, split, target, probs (list of float32, classes in order); the rest lies in the file's metadata.

    Where single labels of multi-label targets are unknown, a column `unknown` names them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    p = predictions
    n, k = p.probs.shape
    probs = pa.ListArray.from_arrays(
        np.arange(0, n * k + 1, k, dtype=np.int32), pa.array(p.probs.astype(np.float32).reshape(-1))
    )
    meta = {
        "version": 1, "classes": p.classes, "task": p.task, "model_hash": p.model_hash, "fingerprint": p.fingerprint,
        "errors": p.errors,
    }  # fmt: skip
    target_type = pa.list_(pa.string()) if p.task == "multilabel" else pa.string()
    table = pa.table(
        {
            "id": pa.array(p.ids, pa.string()),
            "split": pa.array(p.split, pa.string()) if p.split else pa.nulls(n, pa.string()),
            "target": pa.array(_names(p), target_type),
            "probs": probs,
            **({} if (gaps := _unknown(p)) is None else {"unknown": pa.array(gaps, pa.list_(pa.string()))}),
        },
        metadata={b"anmok": json.dumps(meta, ensure_ascii=False).encode()},
    )
    return write_atomic(path, lambda file: pq.write_table(table, file))


def _names(p: Predictions) -> list[str | list[str] | None]:
    if p.targets is None:
        return [None] * len(p)
    if p.task == "multilabel":
        return [None if np.isnan(row).all() else _named(p, row == 1) for row in p.targets]
    return [None if t < 0 else p.classes[t] for t in p.targets]


def _unknown(p: Predictions) -> list[list[str]] | None:
    """Of each row the labels that are unknown, where any are of a row that is not unlabelled altogether."""
    if p.task != "multilabel" or p.targets is None:
        return None
    gaps = np.isnan(p.targets)
    gaps &= ~gaps.all(axis=1)[:, None]
    return [_named(p, row) for row in gaps] if gaps.any() else None


def _named(p: Predictions, which: np.ndarray) -> list[str]:
    return [p.classes[i] for i in np.flatnonzero(which)]


def load_predictions(path: Path | str) -> Predictions:
    """Read what `save_predictions` wrote.  DataError where the file is missing or is no Predictions file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        meta = json.loads(table.schema.metadata[b"anmok"])
        classes, task = list(meta["classes"]), meta["task"]
        probs = table["probs"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        names, split = table["target"].to_pylist(), table["split"].to_pylist()
        ids = table["id"].to_pylist()
        gaps = table["unknown"].to_pylist() if "unknown" in table.column_names else [[]] * len(ids)
    except FileNotFoundError as error:
        raise DataError("no such file.", where=str(path), code="missing-file") from error
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a predictions file ({error}).", where=str(path), code="damaged") from error
    index = {c: i for i, c in enumerate(classes)}
    given = {c for t in [*names, *gaps] if t is not None for c in ([t] if isinstance(t, str) else t)}
    if unknown := sorted(given - index.keys()):
        raise DataError(
            f"{len(unknown)} target(s) are none of the classes: {', '.join(unknown[:5])}.", where=str(path),
            remedy="Predict with the model that knows these classes.", code="class-map",
        )  # fmt: skip
    if task == "multilabel":
        targets = np.full((len(ids), len(classes)), np.nan, np.float32)
        for row, labels, unknown in zip(targets, names, gaps, strict=True):
            if labels is not None:
                row[:] = [np.nan if c in unknown else c in labels for c in classes]
    else:
        targets = np.array([-1 if t is None else index[t] for t in names], np.int64)
    return Predictions(
        ids, classes, probs.reshape(len(ids), len(classes)).astype(np.float32), targets, task,
        split if any(split) else None, meta["model_hash"], meta["fingerprint"], meta["errors"],
    )  # fmt: skip
