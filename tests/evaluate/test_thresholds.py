"""Thresholds of least cost: brute force, hand values, Bayes' rule, and what few positives do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made, made_labels

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.costs import ErrorCosts, error_costs
from anmok.evaluate.thresholds import cheapest_threshold, fit_threshold, sweep


def cost(scores: np.ndarray, positive: np.ndarray, threshold: float, costs: ErrorCosts, w: np.ndarray) -> float:
    alarm = scores >= threshold
    return float((w * (costs.fp * (alarm & ~positive) + costs.fn * (~alarm & positive))).sum())


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 30), levels=st.integers(1, 12), fn=st.floats(0.1, 50), weighted=st.booleans(),
       seed=st.integers(0, 999))  # fmt: skip
def test_no_threshold_is_cheaper(n: int, levels: int, fn: float, weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, levels + 1, n) / levels, rng.random(n) < 0.4
    positive[:2] = [True, False]
    w = rng.uniform(0.5, 2, n) if weighted else np.ones(n)
    costs = error_costs(1, fn)
    got = cheapest_threshold(scores, positive, costs, weights=w if weighted else None, slack=0)
    least = min(cost(scores, positive, t, costs, w) for t in [*np.unique(scores), 2.0, -1.0])
    assert cost(scores, positive, got, costs, w) == pytest.approx(least, abs=1e-9)


def test_sweep_by_hand() -> None:
    got = sweep(np.array([0.2, 0.8, 0.8, 0.5]), np.array([False, True, False, True]))
    np.testing.assert_allclose(got.thresholds[:3], [0.1, 0.35, 0.65])
    assert got.thresholds[3] > 0.8
    assert got.tp.tolist() == [2, 2, 1, 0]
    assert got.fp.tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize("sharpen", [1.0, 2.5])
def test_few_images_place_it_better_by_bayes_rule(sharpen: float) -> None:
    """A miss costs 5 times an alarm, 150 images: over 40 validation sets the threshold costs less on fresh images than
    the cheapest of each set does, whether probabilities are calibrated or much too steep."""
    costs = error_costs(1, 5)
    fresh = made(30_000, 2, 999, sharpen)
    scores, positive, one = fresh.probs[:, 1].astype(np.float64), fresh.targets == 1, np.ones(30_000)
    sets = [made(150, 2, seed, sharpen) for seed in range(40)]
    spent = [
        np.mean([cost(scores, positive, fit_threshold(p, "c1", costs, slack=slack), costs, one) for p in sets])
        for slack in (0.0, 2.0)
    ]
    least = min(cost(scores, positive, t, costs, one) for t in np.geomspace(1e-4, 0.9, 400))
    assert spent[1] < spent[0]
    assert spent[1] / least < 1.06


def test_many_images_find_the_best() -> None:
    """Of calibrated probabilities 1 / 21; where logits are given twice as steep, p = 1/3 reads as 1/5."""
    assert error_costs(1, 20).bayes == pytest.approx(1 / 21)
    assert fit_threshold(made(20_000, 2, 2), "c1", error_costs(1, 20)) == pytest.approx(1 / 21, rel=0.2)
    assert fit_threshold(made(40_000, 2, sharpen=2.0), "c1", error_costs(1, 2)) == pytest.approx(0.2, abs=0.02)


def test_a_score_that_misleads_keeps_the_costs_in_mind() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(500)
    positive = rng.random(500) < 1 - scores  # higher scores mean less
    got = cheapest_threshold(scores, positive, error_costs(1, 5))
    assert 0 <= got <= 1.1


def test_each_label_of_a_multilabel_task() -> None:
    assert fit_threshold(made_labels(5000), "c2", error_costs(3, 1)) == pytest.approx(0.75, abs=0.05)


def test_what_has_no_threshold() -> None:
    with pytest.raises(DataError, match="all 3 images are negative") as e:
        cheapest_threshold(np.ones(3), np.zeros(3, bool), ErrorCosts(1, 1))
    assert e.value.code == "one-class"
    with pytest.raises(UsageError, match=r"no such class as c9\. Known: c0, c1, c2"):
        fit_threshold(made(9), "c9", ErrorCosts(1, 1))
    with pytest.raises(UsageError, match="fn must be a number above 0, found -1"):
        error_costs(1, -1)
    with pytest.raises(DataError, match="test split"):
        fit_threshold(made(9, split="test"), "c1", ErrorCosts(1, 1))
