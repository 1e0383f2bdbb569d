from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from anmok.core.progress import Bar
from anmok.stages.fold_features import FILTERS, PARTS, fold_probabilities, patch_features


def silent(total: int = 1) -> Bar:
    return Bar("", total, None)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """300 digits as uint8[N, 16, 16, 3] with their labels."""
    data = load_digits()
    pixels = np.rint(data.images[:300] * (255 / 16)).astype(np.uint8).repeat(2, 1).repeat(2, 2)
    return np.repeat(pixels[..., None], 3, axis=3), data.target[:300].astype(np.int64)


@pytest.fixture(scope="module")
def features(digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return patch_features(digits[0], 0, silent())


def test_features_are_standardised_and_repeat_by_seed(digits: tuple, features: np.ndarray) -> None:
    assert features.shape == (300, 2 * PARTS**2 * FILTERS)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_array_equal(
        patch_features(digits[0][:20], 5, silent()), patch_features(digits[0][:20], 5, silent())
    )
    assert (patch_features(digits[0], 1, silent()) != features).any()


def test_responses_are_averaged_over_their_part_of_the_image() -> None:
    """Change the lower right of a picture: only features of the parts that see it change."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    pixels[1] = pixels[0]
    pixels[1, 26:, 26:] = 0  # patches begin at 0, 2 … 26, five, five and four a part: the last part begins at 20
    found = patch_features(pixels, 0, silent())[:2].reshape(2, PARTS, PARTS, -1)
    unlike = (found[0] != found[1]).any(axis=-1)
    assert unlike.tolist() == [[False] * 3, [False] * 3, [False, False, True]]


def test_flat_images_give_finite_features() -> None:
    assert np.isfinite(patch_features(np.full((5, 32, 32, 3), 200, np.uint8), 0, silent())).all()


def test_probabilities_are_out_of_fold(digits: tuple, features: np.ndarray) -> None:
    targets = digits[1]
    fold = np.arange(300) % 3
    fold[:6] = -1
    probs = fold_probabilities(features, targets, fold, 10, 3, silent(3))
    assert np.isnan(probs[:6]).all()
    np.testing.assert_allclose(probs[6:].sum(axis=1), 1, atol=1e-5)
    assert (probs[6:].argmax(axis=1) == targets[6:]).mean() > 0.85
    lied = targets.copy()
    lied[7] = (lied[7] + 1) % 10
    again = fold_probabilities(features, lied, fold, 10, 3, silent(3))
    np.testing.assert_array_equal(again[fold == fold[7]], probs[fold == fold[7]])  # its own fold never saw its label
    assert (again[fold == (fold[7] + 1) % 3] != probs[fold == (fold[7] + 1) % 3]).any()


def test_a_class_that_no_fold_has_seen_has_no_probability(features: np.ndarray) -> None:
    targets = np.zeros(300, np.int64)
    targets[::2] = 2
    probs = fold_probabilities(features, targets, np.arange(300) % 2, 4, 2, silent(2))
    assert not probs[:, [1, 3]].any()
    assert (probs[::2, 0] == 1).all()  # the odd rows, its training images, hold the first class alone


def test_multilabel_is_a_question_a_class(digits: tuple, features: np.ndarray) -> None:
    targets = np.column_stack([digits[1] < 5, digits[1] % 2 == 0, digits[1] >= 0]).astype(np.float32)
    targets[3, 0] = np.nan
    probs = fold_probabilities(features, targets, np.arange(300) % 3, 3, 3, silent(3))
    known = ~np.isnan(targets[:, 0])
    assert ((probs[known, :2] > 0.5) == (targets[known, :2] > 0.5)).mean() > 0.85
    assert (probs[:, 2] == 1).all()
