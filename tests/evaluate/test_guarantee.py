"""Promises of precision and recall: broken no more often than delta, kept by hand, and how many images they need."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made
from scipy.special import expit
from scipy.stats import binom

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.guarantee import at_least, fit_at_least, precision_at_least, recall_at_least


def drawn(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores between 0 and 1 that are calibrated."""
    scores = expit(rng.normal(size=n) * 3 - 1)
    return scores, rng.random(n) < scores


LARGE = drawn(400_000, np.random.default_rng(99))


def test_a_promised_precision_is_seldom_broken() -> None:
    scores, positive = LARGE
    broken = given_up = 0
    for seed in range(150):
        got = precision_at_least(*drawn(1500, np.random.default_rng(seed)), 0.9, 0.1)
        if got.threshold is None:
            given_up += 1
            continue
        broken += positive[scores >= got.threshold].mean() < 0.9
    assert broken <= 22  # 15 are allowed, and chance
    assert given_up < 60


def test_a_promised_recall_is_broken_as_often_as_is_allowed() -> None:
    scores, positive = LARGE
    broken = 0
    for seed in range(200):
        got = recall_at_least(*drawn(400, np.random.default_rng(seed)), 0.9, 0.1)
        assert got.threshold is not None
        broken += (scores[positive] >= got.threshold).mean() < 0.9
    assert 3 <= broken <= 30  # an order statistic is coarse, so somewhat fewer than 20


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 400), recall=st.floats(0.5, 0.99), delta=st.floats(0.01, 0.3))
def test_recall_is_the_tolerance_limit(n: int, recall: float, delta: float) -> None:
    scores = np.arange(1, n + 1) / (n + 1)
    got = recall_at_least(scores, np.ones(n, bool), recall, delta)
    ranks = [j for j in range(1, n + 1) if binom.cdf(j - 1, n, 1 - recall) <= delta]
    if not ranks:
        assert got.threshold is None
        assert recall**n > delta
        assert got.needed == math.ceil(math.log(delta) / math.log(recall))
    else:
        assert got.threshold == scores[max(ranks) - 1]


def test_perfect_scores_promise_as_much_as_their_number_allows() -> None:
    """0.95^n <= 0.1 / 4 from 72 alarms on."""
    for n, kept in ((71, False), (72, True)):
        scores = np.r_[np.linspace(0.6, 0.9, n), np.linspace(0.1, 0.4, 200)]
        got = precision_at_least(scores, np.arange(n + 200) < n, 0.95)
        assert (got.threshold is not None) == kept, n
        if kept:
            assert 0.4 <= got.threshold <= 0.62


def test_too_few_images_say_how_many_are_needed() -> None:
    scores, positive = drawn(60, np.random.default_rng(0))
    got = at_least(scores, positive, precision=0.95)
    assert got.threshold is None
    assert "60 images cannot promise a precision of 0.95: 72 alarms, all right, are needed" in got.reason
    recall = at_least(scores, positive, recall=0.99)
    assert "at least 230 are needed" in recall.reason
    assert recall.needed == math.ceil(230 / positive.mean())
    noise = np.random.default_rng(1).random(3000)
    hopeless = at_least(noise, np.random.default_rng(2).random(3000) < 0.3, precision=0.95)
    assert hopeless.threshold is None
    assert "no threshold promises" in hopeless.reason


def test_both_together() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(4000) < 0.5
    scores = expit(rng.normal(size=4000) + 6 * positive - 3)
    both = at_least(scores, positive, precision=0.9, recall=0.9)
    assert both.threshold is not None
    assert positive[scores >= both.threshold].mean() > 0.9
    assert (scores[positive] >= both.threshold).mean() > 0.9
    weak, truth = drawn(4000, rng)
    assert "cannot keep both promises" in at_least(weak, truth, precision=0.95, recall=0.99).reason


def test_what_is_no_promise() -> None:
    scores, positive = np.array([0.1, 0.9]), np.array([False, True])
    with pytest.raises(UsageError, match="between 0 and 1, found 1"):
        at_least(scores, positive, precision=1)
    with pytest.raises(UsageError, match="neither precision nor recall"):
        at_least(scores, positive)
    with pytest.raises(DataError, match="test split"):
        fit_at_least(made(20, 2, split="test"), "c1", precision=0.9)
    assert at_least(np.array([0.5, 0.6]), np.array([False, False]), recall=0.9).threshold is None
