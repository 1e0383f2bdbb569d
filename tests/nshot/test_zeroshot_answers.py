"""Zero-shot probabilities and `none of these`, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from anmok.core.errors import DataError, UsageError
from anmok.nshot.zeroshot import NoneRule, fit_none, logits, probabilities, strangeness


def units(n: int, d: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_probabilities_by_hand() -> None:
    images, classes = np.eye(3, dtype=np.float32)[:2], np.array([[1, 0, 0], [0.6, 0.8, 0]], np.float32)
    found = logits(images, classes, 10, -1)
    np.testing.assert_allclose(found, [[9, 5], [-1, 7]], atol=1e-5)
    np.testing.assert_allclose(probabilities(found)[0], softmax([9, 5]), atol=1e-6)
    np.testing.assert_allclose(probabilities(found, 2.0)[0], softmax([4.5, 2.5]), atol=1e-6)
    np.testing.assert_allclose(probabilities(found + 3), probabilities(found), atol=1e-6)  # the bias drops out


def test_what_cannot_be_read_stays_so() -> None:
    images = units(3, 8, 0)
    images[1] = np.nan
    found = probabilities(logits(images, units(4, 8, 1), 20))
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()
    strange = strangeness(images, units(4, 8, 1), units(2, 8, 2), 20)
    assert np.isnan(strange[1])
    assert not NoneRule().flags(strange)[1]


def test_an_image_nearer_to_the_background_is_none_of_them() -> None:
    classes, background = np.eye(4, dtype=np.float32)[:2], np.eye(4, dtype=np.float32)[2:]
    strange = strangeness(np.eye(4, dtype=np.float32), classes, background, 10)
    np.testing.assert_allclose(strange, [-10, -10, 10, 10])
    assert NoneRule().flags(strange).tolist() == [False, False, True, True]


def test_a_fitted_rule_keeps_its_share() -> None:
    rng = np.random.default_rng(0)
    shares = [fit_none(rng.normal(size=199), 0.1).flags(rng.normal(size=400)).mean() for _ in range(200)]
    assert abs(np.mean(shares) - 0.1) < 0.01


def test_errors() -> None:
    with pytest.raises(DataError):
        logits(units(2, 8, 0), units(2, 9, 0), 1)
    with pytest.raises(DataError):
        fit_none(np.zeros(5), 0.05)
    with pytest.raises(UsageError):
        fit_none(np.zeros(100), 1.5)
