"""Simple classifiers: against scikit-learn called by hand, and that validation chooses their setting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.baseline_models import ITERATIONS, SETTINGS, USUAL, fit_baseline

DIGITS = load_digits()
X, Y = DIGITS.data.astype(np.float32), DIGITS.target.astype(np.int64)
TRAIN, VAL, TEST = slice(0, 400), slice(400, 800), slice(800, 1200)
MADE = {
    "ridge": lambda value: RidgeClassifier(alpha=value),
    "logistic": lambda value: LogisticRegression(C=value, max_iter=ITERATIONS),
    "knn": lambda value: KNeighborsClassifier(n_neighbors=value),
    "tree": lambda value: DecisionTreeClassifier(max_depth=value, random_state=0),
}


def standard(features: np.ndarray) -> np.ndarray:
    """Standardised by the training rows, by hand."""
    mean, std = X[TRAIN].mean(0), X[TRAIN].std(0)
    return (features - mean) / np.where(std < 1e-6, 1, std)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_setting_that_validation_likes_best_is_taken(name: str) -> None:
    fitted = fit_baseline(name, X[TRAIN], Y[TRAIN], X[VAL], Y[VAL], 10)
    scores = {}
    for value in SETTINGS[name][1]:
        by_hand = MADE[name](value).fit(standard(X[TRAIN]), Y[TRAIN])
        scores[value] = float((by_hand.predict(standard(X[VAL])) == Y[VAL]).mean())
    setting, chosen = fitted.chosen
    assert setting == SETTINGS[name][0]
    assert scores[chosen] == pytest.approx(max(scores.values()), abs=0.006)  # rounding may turn an image or two
    probs = fitted.probs(X[TEST])
    assert probs.shape == (400, 10)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    by_hand = MADE[name](chosen).fit(standard(X[TRAIN]), Y[TRAIN])
    assert (probs.argmax(1) == by_hand.predict(standard(X[TEST]))).mean() > 0.99


@pytest.mark.parametrize("name", SETTINGS)
def test_labels_of_a_multilabel_task_are_learned_each(name: str) -> None:
    targets = np.stack([Y % 2 == 0, Y > 4, np.zeros_like(Y)], 1).astype(np.float32)
    fitted = fit_baseline(name, X[TRAIN], targets[TRAIN], X[VAL], targets[VAL], 3, "multilabel")
    probs = fitted.probs(X[TEST])
    assert (probs[:, 2] == 0).all()  # a label that no training image has
    assert f1_score(targets[TEST][:, :2], probs[:, :2] >= 0.5, average="macro") > 0.75


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(sorted(SETTINGS)), st.floats(0.1, 100), st.integers(0, 1000))
def test_units_of_a_feature_do_not_matter(name: str, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, 60)
    features = (rng.normal(size=(60, 4)) + 2 * targets[:, None]).astype(np.float32)
    plain, scaled = (
        fit_baseline(name, f[:40], targets[:40], f[40:], targets[40:], 2).probs(f[40:])
        for f in (features, features * np.float32(scale) + np.float32(3))
    )
    assert np.abs(plain - scaled).mean() < 0.02


def test_a_class_without_training_images_keeps_its_column() -> None:
    keep = np.flatnonzero(Y[TRAIN] != 3)
    probs = fit_baseline("knn", X[keep], Y[keep], X[VAL], Y[VAL], 10).probs(X[TEST])
    assert probs.shape == (400, 10)
    assert (probs[:, 3] == 0).all()


def test_few_images_and_no_validation() -> None:
    fitted = fit_baseline("knn", X[:3], Y[:3], X[3:6], Y[:3], 10)
    assert fitted.chosen[1] in (1, 3)
    usual = fit_baseline("tree", X[TRAIN], Y[TRAIN], X[:0], Y[:0], 10)
    assert usual.chosen == ("max_depth", USUAL["tree"])
    assert "no validation split" in usual.notes[0]


def test_what_cannot_be_learned_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean ridge"):
        fit_baseline("rigde", X[TRAIN], Y[TRAIN], X[VAL], Y[VAL], 10)
    with pytest.raises(DataError, match="one label"):
        fit_baseline("ridge", X[:5], np.zeros(5, np.int64), X[VAL], Y[VAL], 10)
    with pytest.raises(DataError, match="no training image"):
        fit_baseline("ridge", X[:0], Y[:0], X[VAL], Y[VAL], 10)


def test_a_regression_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anmok.evaluate.baseline_models.ITERATIONS", 2)
    fitted = fit_baseline("logistic", X[TRAIN], Y[TRAIN], X[VAL], Y[VAL], 10)
    assert "before it had converged" in fitted.notes[0]
