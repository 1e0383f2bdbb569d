"""Platt scaling against scikit-learn, and the score that stands for a probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from anmok.evaluate.platt import fit_platt, score_of


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_logistic_regression(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=4000) * 2
    positive = rng.random(4000) < expit(0.5 * z - 1)
    w = rng.uniform(0.2, 3, 4000) if weighted else None
    model = LogisticRegression(C=1e9, tol=1e-8).fit(z[:, None], positive, sample_weight=w)
    slope, shift = fit_platt(expit(z), positive, w)
    assert slope == pytest.approx(model.coef_[0, 0], abs=0.005)
    assert shift == pytest.approx(model.intercept_[0], abs=0.01)


@settings(max_examples=30, deadline=None)
@given(p=st.floats(0.01, 0.99), slope=st.floats(0.3, 3), shift=st.floats(-2, 2))
def test_there_and_back(p: float, slope: float, shift: float) -> None:
    assert expit(slope * logit(score_of(p, slope, shift)) + shift) == pytest.approx(p, rel=1e-6)
    assert score_of(p, -slope, shift) == p


def test_separable_images_stay_finite() -> None:
    slope, shift = fit_platt(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert 0 < slope < 20
    assert abs(shift) < 5
