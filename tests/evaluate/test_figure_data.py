"""The points of curves: scikit-learn's, and thinned ones among them; risk and coverage against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from anmok.evaluate.calibration import BINS
from anmok.evaluate.figure_data import ranking_curves, reliabilities, risk_points


def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    positive = rng.random(n) < 0.25
    return np.round(1 / (1 + np.exp(-rng.normal(size=n) - positive)), 3), positive


def test_all_points_are_those_of_scikit_learn() -> None:
    scores, positive = drawn(120)
    found = ranking_curves(scores, positive)
    assert found is not None
    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(found["false_alarms"], fpr[1:], atol=1e-12)
    np.testing.assert_allclose(found["recall"], tpr[1:], atol=1e-12)
    precision, recall, _ = precision_recall_curve(positive, scores)
    np.testing.assert_allclose(found["precision"], precision[:-1][::-1], atol=1e-12)
    np.testing.assert_allclose(found["recall"], recall[:-1][::-1], atol=1e-12)
    steps = np.diff(np.r_[0, found["recall"]]) @ np.array(found["precision"])
    assert steps == pytest.approx(average_precision_score(positive, scores))


def test_a_thinned_curve_is_made_of_points_of_the_whole() -> None:
    scores, positive = drawn(20_000)
    scores = scores + np.random.default_rng(0).random(20_000) * 1e-4
    whole, thin = ranking_curves(scores, positive, most=10**9), ranking_curves(scores, positive, most=200)
    assert whole is not None
    assert thin is not None
    assert 100 < len(thin["recall"]) <= 202
    points = set(zip(whole["false_alarms"], whole["recall"], strict=True))
    assert set(zip(thin["false_alarms"], thin["recall"], strict=True)) <= points
    area = np.trapezoid([0, *thin["recall"]], [0, *thin["false_alarms"]])
    assert area == pytest.approx(roc_auc_score(positive, scores), abs=0.002)


def test_one_kind_of_image_has_no_curve() -> None:
    assert ranking_curves(np.array([0.1, 0.2]), np.array([True, True])) is None
    assert ranking_curves(np.array([0.1, 0.2]), np.array([False, False])) is None


def test_risk_by_a_plain_loop_and_the_decision_marked() -> None:
    rng = np.random.default_rng(1)
    confidence, wrong = rng.random(60), rng.random(60) < 0.3
    found = risk_points(confidence, wrong, below=0.4)
    order = np.argsort(-confidence)
    for k, point in enumerate(found["points"], start=1):
        assert point["coverage"] == pytest.approx(k / 60)
        assert point["risk"] == pytest.approx(wrong[order[:k]].mean())
        assert point["low"] <= point["risk"] <= point["high"]
    kept = confidence >= 0.4
    assert found["asks"]["coverage"] == pytest.approx(kept.mean())
    assert found["asks"]["risk"] == pytest.approx(wrong[kept].mean())
    assert risk_points(confidence, wrong)["asks"] is None
    assert len(risk_points(rng.random(5_000), rng.random(5_000) < 0.3, most=50)["points"]) <= 51
    with pytest.raises(ValueError, match="no images"):
        risk_points(np.zeros(0), np.zeros(0, bool))


def test_reliability_in_both_ways() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(4), 300)
    found = reliabilities(probs, rng.integers(0, 4, 300))
    assert set(found) == {"width", "mass"}
    for bins in found.values():
        assert sum(b["n"] for b in bins) == 300
        assert len(bins) <= BINS
    sizes = [b["n"] for b in found["mass"]]
    assert max(sizes) - min(sizes) <= 1
