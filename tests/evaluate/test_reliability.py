"""Reliability by hand and against scikit-learn's calibration curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made
from sklearn.calibration import calibration_curve

from anmok.evaluate.calibration import ece
from anmok.evaluate.intervals import wilson
from anmok.evaluate.reliability import binned_error, reliability


def test_by_hand() -> None:
    """Four images in two bins of five: 0.65 and 0.7 with one right, 0.9 and 0.95 with both."""
    top = np.array([0.65, 0.7, 0.9, 0.95])
    probs, targets = np.column_stack([top, 1 - top]), np.array([0, 1, 0, 0])
    got = reliability(probs, targets, 5)
    assert [(b["n"], round(b["low"], 9), b["confidence"]) for b in got] == [
        (2, 0.6, pytest.approx(0.675)), (2, 0.8, pytest.approx(0.925)),
    ]  # fmt: skip
    assert got[0]["accuracy"] == {"value": 0.5, "low": wilson(1, 2)[0], "high": wilson(1, 2)[1]}
    assert binned_error(probs, targets, 5) == pytest.approx((2 * 0.175 + 2 * 0.075) / 4)
    assert binned_error(probs, targets, 4, equal_mass=True) == pytest.approx((0.35 + 0.7 + 0.1 + 0.05) / 4)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 80), bins=st.integers(1, 20), seed=st.integers(0, 999))
def test_equal_width_is_the_evaluations(n: int, bins: int, seed: int) -> None:
    p = made(n, seed=seed)
    assert binned_error(p.probs, p.targets, bins) == pytest.approx(ece(p.probs, p.targets, bins), abs=1e-12)
    rows = reliability(p.probs, p.targets, bins)
    by_rows = sum(b["n"] * abs(b["confidence"] - b["accuracy"]["value"]) for b in rows) / n
    assert by_rows == pytest.approx(ece(p.probs, p.targets, bins), abs=1e-12)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_one_class_as_scikit_learn(equal_mass: bool) -> None:
    p = made(997, 2)
    got = reliability(p.probs, p.targets, 8, equal_mass=equal_mass, label=1)
    strategy = "quantile" if equal_mass else "uniform"
    shares, confidence = calibration_curve(p.targets == 1, p.probs[:, 1], n_bins=8, strategy=strategy)
    np.testing.assert_allclose([b["confidence"] for b in got], confidence, atol=2e-3)  # an edge image may change sides
    np.testing.assert_allclose([b["accuracy"]["value"] for b in got], shares, atol=1e-2)


def test_equal_confidences_stay_together() -> None:
    probs = np.tile([0.7, 0.3], (10, 1))
    assert len(reliability(probs, np.zeros(10, int), 5, equal_mass=True)) == 1
