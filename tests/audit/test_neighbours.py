from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from anmok.audit.neighbours import neighbours
from anmok.core.errors import MachineError


def embeddings() -> np.ndarray:
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(200, 24))
    return np.concatenate([spread, 3 * spread[:20] + 0.3 * rng.normal(size=(20, 24))]).astype(np.float32)


def test_pairs_and_similarities_are_those_of_scikit_learn() -> None:
    pytest.importorskip("usearch")
    vectors = embeddings()
    first, second, near = neighbours(vectors, 0.8, threads=1)
    wanted = cosine_similarity(vectors)
    rows, columns = np.nonzero(np.triu(wanted >= 0.8, 1))
    assert (first.tolist(), second.tolist()) == (rows.tolist(), columns.tolist())
    assert len(first) >= 20
    np.testing.assert_allclose(near, wanted[first, second], atol=1e-5)


def test_the_graph_for_many_finds_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    vectors = embeddings()
    exact = set(zip(*(c.tolist() for c in neighbours(vectors, 0.8, 1)[:2]), strict=True))
    monkeypatch.setattr("anmok.audit.neighbours._EXACT", 0)
    graph = set(zip(*(c.tolist() for c in neighbours(vectors, 0.8, 1)[:2]), strict=True))
    assert len(graph & exact) >= 0.95 * len(exact)
    assert graph <= exact


def test_rows_without_an_embedding_have_no_neighbours() -> None:
    pytest.importorskip("usearch")
    vectors = np.array([[1, 0], [np.nan, 0], [0, 0], [2, 0.1], [np.inf, 1]], np.float32)
    first, second, _ = neighbours(vectors, 0.9, threads=1)
    assert (first.tolist(), second.tolist()) == ([0], [3])
    assert neighbours(vectors[1:2], 0.9, threads=1)[0].size == 0


def test_the_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "usearch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises((MachineError, ModuleNotFoundError), match=r"usearch"):
        neighbours(embeddings(), 0.9, threads=1)
