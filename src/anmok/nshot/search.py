"""The nearest vectors to a query: all of them compared, or a graph where there are very many."""

from __future__ import annotations

import importlib
import importlib.util
from typing import NamedTuple

import numpy as np

from anmok.core.errors import DataError

EXACT = 50_000  # vectors up to which every one is compared
BLOCK = 256  # queries at a time


class Hits(NamedTuple):
    """Of each query the rows int64[Q, k], nearest first, and their cosines float32[Q, k]; how they were found."""

    rows: np.ndarray
    cosines: np.ndarray
    how: str


def nearest(queries: np.ndarray, vectors: np.ndarray, k: int, exact: int = EXACT) -> Hits:
    """The k nearest of unit vectors float32[N, D] to each query float32[Q, D]; k is cut to the vectors there are.

    Rows that are not finite are never found. Of equal cosines the earlier row comes first. Beyond `exact` vectors a
    graph (Malkov & Yashunin 2016, arXiv:1603.09320) that may miss some, where the package usearch is installed.
    DataError: vectors of another length than the queries, or none.
    """
    rows = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    if not len(rows):
        raise DataError("there is nothing to search in.", where="search", code="no-images")
    if queries.shape[1] != vectors.shape[1]:
        raise DataError(
            f"the query has {queries.shape[1]} numbers, what is searched {vectors.shape[1]}.", where="search",
            code="shape",
        )  # fmt: skip
    k = min(k, len(rows))
    if len(rows) > exact and importlib.util.find_spec("usearch") is not None:
        return _graph(queries, vectors, rows, k)
    inside, near = vectors[rows].T, []
    order = []
    for start in range(0, len(queries), BLOCK):
        cosines = queries[start : start + BLOCK] @ inside
        first = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        order.append(rows[first])
        near.append(np.take_along_axis(cosines, first, axis=1))
    empty = np.zeros((0, k))
    return Hits(
        np.concatenate([empty.astype(np.int64), *order]), np.concatenate([empty.astype(np.float32), *near]),
        f"all {len(rows):,} compared",
    )  # fmt: skip


def _graph(queries: np.ndarray, vectors: np.ndarray, rows: np.ndarray, k: int) -> Hits:
    index = importlib.import_module("usearch.index")
    graph = index.Index(ndim=vectors.shape[1], metric="cos", dtype="f32")
    graph.add(rows.astype(np.uint64), np.ascontiguousarray(vectors[rows], np.float32))
    asked = np.ascontiguousarray(queries, np.float32)
    found = graph.search(asked, k)
    keys, distances = np.atleast_2d(found.keys), np.atleast_2d(found.distances)
    return Hits(keys.astype(np.int64), (1 - distances).astype(np.float32), f"by a graph over {len(rows):,}")
