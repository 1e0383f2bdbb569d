"""Recall of retrieval both ways: whether what belongs together is found among the first k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anmok.core.errors import DataError
from anmok.evaluate.averages import share

BLOCK = 1024  # queries at a time
KS = (1, 5, 10)


def first_ranks(queries: np.ndarray, items: np.ndarray, query_of: np.ndarray, item_of: np.ndarray) -> np.ndarray:
    """The place, from 1, of the first item that belongs to each query, int64[Q]; 0 where none does.

    queries float[Q, D], items float[N, D]: unit vectors. query_of int[Q], item_of int[N]: those with the same number
    belong together. An item that does not belong stands before one that does where they are equally near, so that
    vectors that are all alike find nothing.
    """
    items = np.asarray(items, np.float32)
    out = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), BLOCK):
        part = slice(start, start + BLOCK)
        near = np.asarray(queries[part], np.float32) @ items.T
        belongs = np.asarray(query_of)[part, None] == np.asarray(item_of)[None]
        best = np.where(belongs, near, -np.inf).max(axis=1, initial=-np.inf)
        before = ((near >= best[:, None]) & ~belongs).sum(axis=1)
        out[part] = np.where(belongs.any(axis=1), before + 1, 0)
    return out


def recall_at_k(
    images: np.ndarray, texts: np.ndarray, image_of: Sequence[int] | np.ndarray | None = None,
    text_of: Sequence[int] | np.ndarray | None = None, ks: Sequence[int] = KS,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """{'image_to_text': {'recall@1': {value, low, high}, …}, 'text_to_image': …}, with 95 % intervals.

    images float[N, D], texts float[M, D]: unit vectors. image_of, text_of: what belongs together has the same number;
    without them image i belongs to text i. Queries that nothing belongs to take no part. Recall at k: the share of
    queries for which one of their own is among the first k.  DataError: other counts than vectors.
    """
    owners = []
    for name, vectors, given in (("images", images, image_of), ("texts", texts, text_of)):
        numbers = np.arange(len(vectors)) if given is None else np.asarray(given)
        if len(numbers) != len(vectors):
            raise DataError(f"{len(vectors):,} {name}, but {len(numbers):,} numbers.", where="recall", code="shape")
        owners.append(numbers)
    if image_of is None and text_of is None and len(images) != len(texts):
        raise DataError(f"{len(images):,} images, but {len(texts):,} texts.", where="recall", code="shape")
    ways = {
        "image_to_text": first_ranks(images, texts, *owners),
        "text_to_image": first_ranks(texts, images, owners[1], owners[0]),
    }
    return {
        way: {f"recall@{k}": share(int((ranks[ranks > 0] <= k).sum()), int((ranks > 0).sum()), "no pair") for k in ks}
        for way, ranks in ways.items()
    }
