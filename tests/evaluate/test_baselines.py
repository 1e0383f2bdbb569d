"""Baselines by hand, against scikit-learn, and on half-labelled data."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from anmok.core.errors import DataError
from anmok.evaluate import baselines
from anmok.evaluate.baselines import majority, nearest_neighbour


def test_majority_is_the_class_shares() -> None:
    got = majority(np.array([1, 1, 0, 1, -1]), 2, 3)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [[0.25, 0.75, 0]] * 2)
    shares = majority(np.array([[1, 0], [1, 1], [np.nan, np.nan]], np.float32), 1, 2)
    np.testing.assert_allclose(shares, [[1, 0.5]])


@pytest.mark.parametrize("block", [3, 4096])
def test_nearest_neighbour_equals_scikit_learn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "BLOCK", block)
    rng = np.random.default_rng(0)
    train, query = (rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for n in (40, 11))
    train[:, 0, 0] = 7  # a constant pixel must not divide by zero
    targets = rng.integers(-1, 3, 40)
    known = targets >= 0
    scaler = StandardScaler().fit(train[known].reshape(known.sum(), -1))
    oracle = KNeighborsClassifier(1).fit(scaler.transform(train[known].reshape(known.sum(), -1)), targets[known])
    got = nearest_neighbour(train, targets, query, 3)
    assert got.shape == (11, 3)
    assert (got.argmax(axis=1) == oracle.predict(scaler.transform(query.reshape(11, -1)))).all()
    assert (np.sort(got, axis=1) == [0, 0, 1]).all()


def test_nearest_neighbour_of_a_training_image_is_itself_in_every_label() -> None:
    rng = np.random.default_rng(1)
    train = rng.integers(0, 256, (9, 2, 2, 1), dtype=np.uint8)
    targets = (rng.random((9, 4)) < 0.5).astype(np.float32)
    targets[4] = np.nan
    known = np.delete(np.arange(9), 4)
    np.testing.assert_array_equal(nearest_neighbour(train, targets, train[known], 4), targets[known])


def test_no_label_no_baseline() -> None:
    with pytest.raises(DataError, match="no labelled training image"):
        majority(np.array([-1, -1]), 3, 2)
    with pytest.raises(DataError, match="no labelled training image"):
        nearest_neighbour(np.zeros((1, 2, 2, 3), np.uint8), np.array([-1]), np.zeros((1, 2, 2, 3), np.uint8), 2)
