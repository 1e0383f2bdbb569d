"""Pictures near each other by embeddings, for pairs that no hash of pixels finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.core.errors import DataError
from anmok.core.optional import need
from anmok.data.table import Table

if TYPE_CHECKING:
    import polars as pl

NEAREST = 8  # neighbours of an image that are looked at
_EXACT = 20_000  # images up to which every distance is computed


def neighbours(embeddings: np.ndarray, similarity: float, threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, second, cosine similarity) of pairs of rows of float32[N, D] at `similarity` or more, each once.

    Of each row the 8 nearest; exact up to 20,000 rows, beyond by a graph (Malkov & Yashunin 2016, arXiv:1603.09320)
    that may miss some.  Rows that are not finite, or zero, have no neighbours.  MachineError without usearch.
    """
    index = need("usearch.index", "neighbours")
    vectors = np.ascontiguousarray(embeddings, np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    rows = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    if len(rows) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    vectors = vectors[rows] / lengths[rows, None]
    count = min(NEAREST + 1, len(rows))
    if len(rows) <= _EXACT:
        found = index.search(vectors, vectors, count, index.MetricKind.Cos, exact=True, threads=threads)
    else:
        graph = index.Index(ndim=vectors.shape[1], metric="cos", dtype="f32")
        graph.add(np.arange(len(rows), dtype=np.uint64), vectors, threads=threads)
        found = graph.search(vectors, count, threads=threads)
    first = np.repeat(np.arange(len(rows)), count)
    second, near = found.keys.astype(np.int64).ravel(), 1 - found.distances.ravel()
    keep = (near >= similarity) & (first != second)
    first, second, near = first[keep], second[keep], near[keep]
    pairs, at = np.unique(np.stack([np.minimum(first, second), np.maximum(first, second)]), axis=1, return_index=True)
    return rows[pairs[0]], rows[pairs[1]], near[at]


def embeddings_of(table: Table, images: pl.DataFrame, column: str) -> np.ndarray | None:
    """float32[N, D] for the N rows of `images`, from the table's column of number lists, NaN where it has none.

    None where the table has no such column.  DataError where it holds anything else, or lists of several lengths.
    """
    import polars as pl

    if column not in table.rows.columns:
        return None
    wrong = DataError("expected a list of numbers for each image, all of one length.", where=column, code="embedding",
                      remedy="Name another column with --audit.embeddings.")  # fmt: skip
    kind = table.rows.schema[column]
    if not isinstance(kind, pl.List | pl.Array) or not kind.inner.is_numeric():
        raise wrong
    known = table.rows.select("id", pl.col(column).cast(pl.List(pl.Float32)).alias("_"))
    values = images.select("id").join(known, on="id", how="left", maintain_order="left")["_"]
    lengths = values.list.len().drop_nulls().unique()
    if lengths.len() != 1 or not lengths.item():
        raise wrong
    out = np.full((values.len(), lengths.item()), np.nan, np.float32)
    has = values.is_not_null().to_numpy()
    out[has] = values.drop_nulls().explode().fill_null(float("nan")).to_numpy().reshape(-1, lengths.item())
    return out
