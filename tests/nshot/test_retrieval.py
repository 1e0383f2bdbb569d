"""Nearest vectors and recall, against naive computations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from anmok.core.errors import DataError
from anmok.nshot.retrieval import first_ranks, recall_at_k
from anmok.nshot.search import nearest


def units(n: int, d: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_nearest_is_scikit_learns() -> None:
    queries, vectors = units(300, 16, 0), units(500, 16, 1)
    found = nearest(queries, vectors, 7)
    distances, rows = (
        NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(vectors).kneighbors(queries)
    )
    assert (found.rows == rows).mean() > 0.999
    np.testing.assert_allclose(found.cosines, 1 - distances, atol=1e-5)


def test_a_graph_finds_nearly_the_same() -> None:
    pytest.importorskip("usearch")
    queries, vectors = units(50, 16, 0), units(2000, 16, 1)
    vectors[3] = np.nan
    exact, graph = nearest(queries, vectors, 5), nearest(queries, vectors, 5, exact=100)
    assert "graph" in graph.how
    assert "graph" not in exact.how
    shared = [len(set(a) & set(b)) / 5 for a, b in zip(exact.rows, graph.rows, strict=True)]
    assert np.mean(shared) > 0.9
    assert 3 not in graph.rows
    assert nearest(queries[:1], vectors, 5, exact=100).rows.shape == (1, 5)


def test_unreadable_rows_are_never_found_and_ties_keep_their_order() -> None:
    vectors = np.repeat(units(1, 4, 0), 5, axis=0)
    vectors[0] = np.nan
    found = nearest(vectors[1:2], vectors, 9)
    assert found.rows.tolist() == [[1, 2, 3, 4]]
    with pytest.raises(DataError):
        nearest(vectors[1:2], vectors[:1], 1)
    with pytest.raises(DataError):
        nearest(units(1, 5, 0), vectors, 1)


@given(st.integers(1, 6), st.integers(0, 10_000))
def test_ranks_are_the_naive_ones(groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, texts = units(12, 5, seed), units(9, 5, seed + 1)
    of_image, of_text = rng.integers(0, groups, 12), rng.integers(0, groups, 9)
    naive = []
    for vector, group in zip(images, of_image, strict=True):
        order = np.argsort(-(texts @ vector), kind="stable")
        places = np.flatnonzero(of_text[order] == group)
        naive.append(0 if not len(places) else places[0] + 1)
    assert first_ranks(images, texts, of_image, of_text).tolist() == naive


def test_recall_by_hand() -> None:
    images = np.eye(3, dtype=np.float32)
    texts = images[[0, 2, 1]]  # of three pairs one finds its own first
    found = recall_at_k(images, texts, ks=(1, 3))
    for way in ("image_to_text", "text_to_image"):
        assert found[way]["recall@1"]["value"] == pytest.approx(1 / 3)
        assert found[way]["recall@3"]["value"] == 1
        assert found[way]["recall@1"]["low"] < 1 / 3 < found[way]["recall@1"]["high"]
    two = recall_at_k(images, images[[0, 0, 1, 2]], [0, 1, 2], [0, 0, 1, 2], ks=(1,))
    assert two["image_to_text"]["recall@1"]["value"] == two["text_to_image"]["recall@1"]["value"] == 1


def test_vectors_that_are_all_alike_find_nothing() -> None:
    same = np.repeat(units(1, 4, 0), 20, axis=0)
    assert recall_at_k(same, same, ks=(1, 10))["image_to_text"]["recall@10"]["value"] == 0


def test_counts_must_fit() -> None:
    with pytest.raises(DataError):
        recall_at_k(units(3, 4, 0), units(4, 4, 0))
    with pytest.raises(DataError):
        recall_at_k(units(3, 4, 0), units(4, 4, 0), [0, 1], [0, 1, 2, 3])
    assert recall_at_k(units(2, 4, 0), units(2, 4, 0), [0, 1], [2, 3])["image_to_text"]["recall@1"]["value"] is None
