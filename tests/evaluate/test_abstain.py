"""Risk and coverage by hand and by brute force; the share that is asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made, made_labels

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.abstain import abstain_below, answered, fit_abstain, risk_coverage, sureness


def test_by_hand() -> None:
    """The surest is right, the second wrong, the third right: risks 0, 1/2, 1/3."""
    got = risk_coverage(np.array([0.5, 0.9, 0.7]), np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(got.coverage, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(got.risk, [0, 1 / 2, 1 / 3])
    assert got.confidence.tolist() == [0.9, 0.7, 0.5]
    assert got.aurc == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert got.excess == pytest.approx((1 / 2 + 1 / 3) / 3 - (1 / 3) / 3)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 9), levels=st.integers(1, 5), seed=st.integers(0, 999))
def test_ties_are_the_mean_over_their_orders(n: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, losses = rng.integers(0, levels, n) / levels, rng.integers(0, 2, n).astype(float)
    got = risk_coverage(confidence, losses)
    areas = []
    for _ in range(1500):
        order = np.lexsort([rng.random(n), -confidence])
        areas.append((np.cumsum(losses[order]) / np.arange(1, n + 1)).mean())
    assert got.aurc == pytest.approx(np.mean(areas), abs=0.04)
    assert got.excess >= -1e-12
    assert got.risk[-1] == pytest.approx(losses.mean())


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 60), share=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_no_more_than_the_share_is_asked(n: int, share: float, seed: int) -> None:
    confidence = np.random.default_rng(seed).integers(0, 20, n) / 20
    below = (confidence < abstain_below(confidence, share)).mean()
    assert below <= share + 1e-9
    distinct = np.random.default_rng(seed).permutation(n) / n
    assert (distinct < abstain_below(distinct, share)).sum() == int(np.floor(share * n + 1e-9))


def test_asking_lowers_the_risk() -> None:
    p = made(2000, 4)
    below = fit_abstain(p, 0.2)
    q = made(2000, 4, seed=1)
    got = answered(sureness(q.probs), q.probs.argmax(axis=1) != q.targets, below)
    assert got["coverage"]["value"] == pytest.approx(0.8, abs=0.03)
    assert got["asked"] + round(got["coverage"]["value"] * 2000) == 2000
    assert got["risk"]["high"] < got["risk_of_all"]["value"]
    assert answered(np.zeros(3), np.ones(3, bool), 1.0)["risk"]["reason"] == "no image is answered"


def test_how_sure() -> None:
    p = np.array([[0.9, 0.1], [0.4, 0.6]])
    np.testing.assert_allclose(sureness(p), [0.9, 0.6])
    np.testing.assert_allclose(sureness(p, costs=np.array([[0, 1], [4, 0]])), [-0.4, -0.4])
    np.testing.assert_allclose(sureness(p, limits=np.array([0.5, 0.5])), [0.8, 0.2])
    np.testing.assert_allclose(sureness(p, limits=np.array([np.nan, 0.1])), [0, 1 - 0.4 / 0.9])
    assert 0 < fit_abstain(made_labels(100), 0.1) < 1


def test_errors() -> None:
    with pytest.raises(UsageError, match="below 1, found 1"):
        abstain_below(np.ones(3), 1)
    with pytest.raises(DataError, match="an abstention must not be fitted"):
        fit_abstain(made(9, split="test"), 0.1)
    with pytest.raises(ValueError, match="no images"):
        risk_coverage(np.zeros(0), np.zeros(0))
