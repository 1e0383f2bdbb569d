"""Few-shot answers against hand-computed values, scikit-learn, and the formulas of the papers written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from anmok.core.errors import DataError, UsageError
from anmok.nshot.fewshot import (
    METHODS,
    cache_scores,
    logistic_scores,
    nearest_scores,
    prepared,
    prototype_scores,
    prototypes,
    scores,
)


def task(seed: int, shots: int = 5, width: int = 40, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(support [K·S, D], labels, queries [24, D]): classes that overlap, in a mixed order."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width))
    labels = rng.permutation(np.repeat(np.arange(classes), shots))
    support = centres[labels] + 1.2 * rng.normal(size=(len(labels), width))
    queries = centres[rng.integers(0, classes, 24)] + 1.2 * rng.normal(size=(24, width))
    return support.astype(np.float32), labels, queries.astype(np.float32)


def test_prototypes_by_hand() -> None:
    support = np.array([[0, 2], [4, 0], [2, 4], [0, 0]], np.float32)
    labels = np.array([0, 1, 0, 1])
    np.testing.assert_array_equal(prototypes(support, labels, 2), [[1, 3], [2, 0]])
    query = np.array([[1, 1]], np.float32)
    np.testing.assert_allclose(prototype_scores(support, labels, query, 2, "euclidean"), [[-4, -2]])
    expected = [[4 / np.sqrt(20), 2 / np.sqrt(8)]]
    np.testing.assert_allclose(prototype_scores(support, labels, query, 2), expected, rtol=1e-6)
    np.testing.assert_allclose(nearest_scores(support, labels, query, 2, "euclidean"), [[-2, -2]])


def test_preparation_is_cl2n() -> None:
    vectors = np.array([[4, 1], [1, 5], [1, 1]], np.float32)
    found = prepared(vectors, np.array([1, 1]))
    np.testing.assert_allclose(found, [[1, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(prepared(vectors, metric="euclidean"), vectors)
    np.testing.assert_array_equal(prepared(vectors, np.array([1, 1]), "euclidean"), vectors - 1)


@pytest.mark.parametrize("seed", range(4))
def test_prototypes_and_neighbours_answer_as_scikit_learn(seed: int) -> None:
    support, labels, queries = task(seed)
    centroid = NearestCentroid().fit(support, labels).predict(queries)
    np.testing.assert_array_equal(prototype_scores(support, labels, queries, 4, "euclidean").argmax(1), centroid)
    for metric in ("euclidean", "cosine"):
        near = KNeighborsClassifier(1, metric=metric).fit(support, labels).predict(queries)
        np.testing.assert_array_equal(nearest_scores(support, labels, queries, 4, metric).argmax(1), near)


@pytest.mark.parametrize(("shots", "width", "strength"), [(1, 40, 1.0), (5, 40, 1.0), (5, 3, 1.0), (8, 16, 0.1)])
def test_the_logistic_probe_has_scikit_learns_probabilities(shots: int, width: int, strength: float) -> None:
    cases = [task(seed, shots, width) for seed in range(3)]
    order = np.sort(cases[0][1])  # the labels of a batch of episodes are the same
    support = np.stack([s[np.argsort(labels, kind="stable")] for s, labels, _ in cases])
    queries = np.stack([q for _, _, q in cases])
    found = np.exp(logistic_scores(support, order, queries, 4, strength))
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    for probs, known, asked in zip(found, support, queries, strict=True):
        model = LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(known.astype(float), order)
        np.testing.assert_allclose(probs, model.predict_proba(asked), atol=2e-3)


def test_the_cache_is_the_papers_formula() -> None:
    support, labels, queries = task(3)
    base = np.random.default_rng(1).normal(size=(24, 4)).astype(np.float32)
    expected = base.astype(np.float64)
    for i, query in enumerate(queries):
        for key, label in zip(support, labels, strict=True):
            cosine = query @ key / np.linalg.norm(query) / np.linalg.norm(key)
            expected[i, label] += 1.7 * np.exp(-3.0 * (1 - cosine))
    np.testing.assert_allclose(cache_scores(support, labels, queries, base, 1.7, 3.0), expected, rtol=1e-4)
    np.testing.assert_array_equal(cache_scores(support, labels, queries, base, alpha=0), base)
    own = scores("cache", support, labels, queries, 4, alpha=0)
    np.testing.assert_array_equal(own, prototype_scores(support, labels, queries, 4))
    text = scores("cache", support, labels, queries, 4, base=100 * base)
    assert (text.argmax(1) == base.argmax(1)).mean() > 0.8  # the text's scale is what alpha is weighed against


@settings(max_examples=25)
@given(st.integers(0, 1000), st.permutations(range(4)), st.sampled_from(METHODS))
def test_a_permutation_of_classes_permutes_the_answers(seed: int, order: list[int], method: str) -> None:
    support, labels, queries = task(seed, 3)
    there = np.array(order)
    before = scores(method, support, labels, queries, 4)
    after = scores(method, support, there[labels], queries, 4)
    np.testing.assert_allclose(after[:, there], before, atol=1e-3 if method == "logistic" else 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_episodes_at_once_answer_as_one_by_one(method: str) -> None:
    cases = [task(seed, 2) for seed in range(3)]
    labels = np.repeat(np.arange(4), 2)
    support = np.stack([s[np.argsort(own, kind="stable")] for s, own, _ in cases])
    queries = np.stack([q for _, _, q in cases])
    at_once = scores(method, support, labels, queries, 4)
    for found, known, asked in zip(at_once, support, queries, strict=True):
        alone: Any = scores(method, known, labels, asked, 4)
        np.testing.assert_allclose(found, alone, atol=1e-3 if method == "logistic" else 1e-5)


def test_errors_name_what_is_missing() -> None:
    with pytest.raises(DataError, match="without any: 1"):
        prototypes(np.zeros((2, 3)), np.array([0, 2]), 3)
    with pytest.raises(UsageError, match="Did you mean nearest"):
        scores("nearst", np.zeros((2, 3)), np.array([0, 1]), np.zeros((1, 3)), 2)
