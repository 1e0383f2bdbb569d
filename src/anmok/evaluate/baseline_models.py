"""Simple classifiers on features: what a network has to beat. scikit-learn's, with one setting chosen on validation.

Each has another inductive bias: ridge and logistic regression add up features, nearest neighbours trust their distance,
a decision tree asks one feature after the other. Features are standardised inside the pipeline, by the training images.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.types import Task

ITERATIONS = 300  # of logistic regression at most

# A classifier's one setting and its values, the most cautious first: it wins a tie.
SETTINGS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "ridge": ("alpha", (1e5, 1e4, 1e3, 1e2, 10.0, 1.0)),
    "logistic": ("C", (1e-4, 1e-3, 1e-2, 0.1, 1.0)),
    "knn": ("n_neighbors", (20, 10, 5, 3, 1)),
    "tree": ("max_depth", (2, 4, 8, 16, 32)),
}
USUAL = {"ridge": 1e3, "logistic": 1e-2, "knn": 5, "tree": 8}  # where there is no validation split


@dataclass(frozen=True, eq=False)
class Fitted:
    """A classifier that has learned. parts: one pipeline, or of a multi-label task one a class (a float where all
    training images agree); chosen: its setting and value; notes: what the user should know.
    """

    name: str
    parts: list[Any]
    classes: int
    task: Task
    chosen: tuple[str, Any]
    notes: tuple[str, ...] = ()

    def probs(self, features: np.ndarray) -> np.ndarray:
        """float32[N, K] of float32[N, D]; rows sum to 1, but for multi-label. Ridge's are a softmax of its scores."""
        if self.task == "multilabel":
            return np.stack([_positive(part, features) for part in self.parts], axis=1).astype(np.float32)
        out = np.zeros((len(features), self.classes), np.float32)
        out[:, self.parts[0].classes_] = _probs(self.parts[0], features)
        return out


def fit_baseline(
    name: str, features: np.ndarray, targets: np.ndarray, val_features: np.ndarray, val_targets: np.ndarray,
    classes: int, task: Task = "multiclass", seed: int = 0,
) -> Fitted:  # fmt: skip
    """The classifier `name` (see SETTINGS) with the setting that scores best on validation; no image weighs more.

    features float[N, D]; targets int64[N], or float[N, K] for multi-label; val_features of no row: the usual setting.
    The score is accuracy, multi-label macro F1. UsageError for another name; DataError without a training image.
    """
    if name not in SETTINGS:
        raise UsageError(f"no such classifier as {name}.", remedy=did_you_mean(name, SETTINGS), code="setting")
    if not len(features):
        raise DataError("no training image to learn a baseline from.", where=name, code="empty-table")
    setting, values = SETTINGS[name]
    if not len(val_features):
        found = _fit(name, {setting: USUAL[name]}, features, targets, classes, task, seed)
        return replace(found, notes=(*found.notes, "no validation split: its setting is the usual one"))
    best: Fitted | None = None
    score = -1.0
    for value in _possible(name, values, len(features)):
        fitted = _fit(name, {setting: value}, features, targets, classes, task, seed)
        reached = _score(fitted.probs(val_features), val_targets)
        if reached > score:
            best, score = fitted, reached
    assert best is not None
    return best


def _possible(name: str, values: tuple[Any, ...], images: int) -> list[Any]:
    """Of the values, those that so few images allow: there are no 20 neighbours among 12."""
    return [value for value in values if name != "knn" or value <= images] or [1]


def _fit(
    name: str, setting: Mapping[str, Any], features: np.ndarray, targets: np.ndarray, classes: int, task: Task,
    seed: int,
) -> Fitted:  # fmt: skip
    from sklearn.exceptions import ConvergenceWarning

    make = _maker(name, setting, len(features), seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below, in our words
        if task == "multilabel":
            parts = [_of_label(make, features, column) for column in targets.T]
        elif len(np.unique(targets)) < 2:
            raise DataError("all training images have one label; there is nothing to tell apart.", code="one-class")
        else:
            parts = [make().fit(features, targets)]
    stuck = name == "logistic" and any(
        np.max(part[-1].n_iter_) >= ITERATIONS for part in parts if not isinstance(part, float)
    )
    notes = (f"logistic regression stopped after {ITERATIONS} iterations, before it had converged",) if stuck else ()
    return Fitted(name, parts, classes, task, next(iter(setting.items())), notes)


def _maker(name: str, setting: Mapping[str, Any], images: int, seed: int) -> Callable[[], Any]:
    """A function that makes the pipeline anew."""
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    def make() -> Any:
        if name == "ridge":
            classifier: Any = RidgeClassifier(**setting)
        elif name == "logistic":
            classifier = LogisticRegression(max_iter=ITERATIONS, **setting)
        elif name == "knn":
            classifier = KNeighborsClassifier(n_neighbors=min(images, setting["n_neighbors"]))
        else:
            classifier = DecisionTreeClassifier(random_state=seed, **setting)
        return make_pipeline(StandardScaler(), classifier)

    return make


def _of_label(make: Callable[[], Any], features: np.ndarray, column: np.ndarray) -> Any:
    """The pipeline of one label, or the share of images that have it where all agree."""
    return make().fit(features, column.astype(np.int64)) if len(np.unique(column)) > 1 else float(column[0])


def _probs(pipeline: Any, features: np.ndarray) -> np.ndarray:
    """float[N, classes the pipeline knows]."""
    if hasattr(pipeline[-1], "predict_proba"):
        return pipeline.predict_proba(features)
    scores = pipeline.decision_function(features)
    if scores.ndim == 1:  # of two classes: the second one's
        scores = np.stack([-scores, scores], axis=1)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _positive(part: Any, features: np.ndarray) -> np.ndarray:
    return np.full(len(features), part) if isinstance(part, float) else _probs(part, features)[:, 1]


def _score(probs: np.ndarray, targets: np.ndarray) -> float:
    if targets.ndim == 1:
        return float((probs.argmax(axis=1) == targets).mean())
    truth, called = targets > 0.5, probs >= 0.5
    total = truth.sum(axis=0) + called.sum(axis=0)
    return float((2 * (truth & called).sum(axis=0)[total > 0] / total[total > 0]).mean()) if total.any() else 0.0
