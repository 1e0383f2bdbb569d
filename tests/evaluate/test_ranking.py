"""Areas under curves: scikit-learn's values, and influences that are true derivatives with DeLong's spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from anmok.evaluate.ranking import areas, class_areas


@settings(max_examples=80, deadline=None)
@given(n=st.integers(2, 30), levels=st.integers(1, 8), seed=st.integers(0, 999))
def test_equals_scikit_learn_with_ties(n: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, levels, n) / levels, rng.random(n) < 0.4
    positive[:2] = [True, False]
    got = class_areas(scores, positive)
    assert got["roc_auc"].value == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert got["average_precision"].value == pytest.approx(average_precision_score(positive, scores), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_influence_is_the_derivative_by_weight(ties: bool) -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 6, 25) / 6 if ties else rng.random(25)
    positive = rng.random(25) < 0.4
    p, q = positive.sum(), (~positive).sum()
    got = class_areas(scores, positive)
    step = 1e-6
    for name, function in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
        scale = (
            np.where(positive, np.sqrt(p / (p - 1)), np.sqrt(q / (q - 1)))
            if name == "roc_auc"
            else np.sqrt(p / (p - 1))
        )
        base = function(positive, scores)
        for i in range(25):
            weights = np.ones(25)
            weights[i] += step
            slope = (function(positive, scores, sample_weight=weights) - base) / step
            assert (got[name].influence / scale)[i] == pytest.approx(slope, abs=1e-5), (name, i)


def test_spread_agrees_with_repeated_samples() -> None:
    """The estimated standard errors of both areas against the spread over 600 fresh samples."""
    rng = np.random.default_rng(0)
    values, errors = {"roc_auc": [], "average_precision": []}, {"roc_auc": [], "average_precision": []}
    for _ in range(600):
        positive = rng.random(150) < 0.33
        got = class_areas(rng.normal(size=150) + positive, positive)
        for name, area in got.items():
            values[name].append(area.value)
            errors[name].append(np.sqrt((area.influence**2).sum()))
    for name in values:
        assert np.mean(errors[name]) == pytest.approx(np.std(values[name]), rel=0.12), name


def test_one_positive_is_wide_and_perfect_is_not_certain() -> None:
    scores, positive = np.array([0.9, 0.8, 0.7, 0.1]), np.array([False, True, False, False])
    task, each = areas(np.column_stack([1 - scores, scores]), np.column_stack([~positive, positive]), binary=True)
    assert task == each[1]
    assert task["roc_auc"]["value"] == pytest.approx(2 / 3)
    assert task["roc_auc"]["high"] - task["roc_auc"]["low"] > 0.8
    task, _ = areas(np.eye(3)[[0, 1, 2]], np.eye(3, dtype=bool))
    assert task["roc_auc"]["value"] == 1
    assert task["roc_auc"]["low"] < 0.6


def test_undefined_classes_have_a_reason() -> None:
    positives = np.array([[True, False, False], [False, True, False]])
    task, each = areas(np.full((2, 3), 1 / 3), positives)
    assert each[2]["roc_auc"] == {"value": None, "reason": "no image of this class"}
    assert task["roc_auc"]["value"] == 0.5
    assert "2 of 3 classes" in task["roc_auc"]["note"]
