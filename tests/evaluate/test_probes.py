"""Probes against scikit-learn's neighbours and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from anmok.core.errors import DataError
from anmok.evaluate.probes import knn_accuracy, knn_votes, linear_probe, unit


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    data = load_digits()
    return data.data[:900], data.target[:900], data.data[900:], data.target[900:]


@pytest.mark.parametrize("k", [1, 5, 20])
def test_neighbours_vote_as_scikit_learns_do(k: int) -> None:
    known, labels, asked, truth = digits()

    def votes(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances) / 0.07)

    theirs = KNeighborsClassifier(k, metric="cosine", weights=votes).fit(known, labels)
    mine = knn_votes(known, labels, asked, 10, k)
    assert np.abs(mine - theirs.predict_proba(asked)).max() < 1e-4
    assert knn_accuracy(known, labels, asked, truth, k) == pytest.approx(theirs.score(asked, truth))


def test_votes_by_hand() -> None:
    known = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    mine = knn_votes(known, np.array([0, 1, 1]), np.array([[3.0, 4.0]]), 2, k=2, temperature=0.5)
    near, nearer = np.exp(0.6 / 0.5), np.exp(0.8 / 0.5)
    assert mine[0].tolist() == pytest.approx([near / (near + nearer), nearer / (near + nearer)], rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 30), k=st.integers(1, 40), seed=st.integers(0, 99))
def test_votes_sum_to_one_and_know_themselves(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, labels = rng.normal(size=(n, 6)), rng.integers(0, 4, n)
    votes = knn_votes(known, labels, known, 4, k)
    assert votes.sum(1) == pytest.approx(np.ones(n), abs=1e-5)
    assert (knn_votes(known, labels, known * 7, 4, 1).argmax(1) == labels).all()


def test_a_linear_probe_finds_what_is_linear() -> None:
    known, labels, asked, truth = digits()
    assert (linear_probe(known, labels, asked) == truth).mean() > 0.9
    scaled = linear_probe(known * 1000 + 5, labels, asked * 1000 + 5)  # units do not matter
    assert (scaled == linear_probe(known, labels, asked)).mean() > 0.99
    rng = np.random.default_rng(0)
    assert (linear_probe(known, rng.permutation(labels), asked) == truth).mean() < 0.3


def test_a_single_class_is_that_class() -> None:
    assert linear_probe(np.ones((3, 2)), np.full(3, 4), np.zeros((2, 2))).tolist() == [4, 4]


def test_zeros_stay_zeros() -> None:
    assert np.isfinite(unit(np.zeros((2, 3)))).all()


def test_without_labelled_images_there_is_no_probe() -> None:
    nothing, none = np.zeros((0, 3)), np.zeros(0, np.int64)
    with pytest.raises(DataError, match="no labelled image"):
        knn_votes(nothing, none, np.ones((1, 3)), 2)
    with pytest.raises(DataError, match="no labelled image"):
        linear_probe(nothing, none, np.ones((1, 3)))
