"""Alarms at every threshold: scikit-learn's counts, marks counted exactly, few thresholds however many images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from anmok.evaluate.alarms import BUDGET, MOST, alarms, chosen_labels, rounded, thresholds_each
from anmok.evaluate.intervals import wilson


def drawn(n: int, seed: int = 0, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    return (1 / (1 + np.exp(-rng.normal(size=n) - 2 * positive + 1))).astype(np.float32), positive


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60),
    st.floats(0, 1, width=32),
)
def test_counts_are_those_of_scikit_learn(pairs: list[tuple[float, bool]], mark: float) -> None:
    scores, positive = np.array([p[0] for p in pairs], np.float32), np.array([p[1] for p in pairs])
    found = alarms(scores, positive, {"half": 0.5, "mine": mark})
    assert (np.diff(found.thresholds) > 0).all()
    assert found.thresholds[found.marks["half"]] == 0.5
    assert found.thresholds[found.marks["mine"]] == mark
    for i, t in enumerate(found.thresholds):
        called = scores.astype(np.float64) >= t
        (_, fp), (fn, tp) = confusion_matrix(positive, called, labels=[False, True])
        assert (found.tp[i], found.fp[i], found.positives - found.tp[i]) == (tp, fp, fn)
        for share, score, whole in (
            (found.precision, precision_score, called.sum()), (found.recall, recall_score, positive.sum())
        ):  # fmt: skip
            expected = score(positive, called, zero_division=np.nan)
            np.testing.assert_allclose(share.value[i], expected, atol=1e-12)
            if whole:
                np.testing.assert_allclose((share.low[i], share.high[i]), wilson(tp, int(whole)), atol=1e-12)
            else:
                assert np.isnan(share.low[i])


def test_many_images_have_few_thresholds_and_both_ends() -> None:
    scores, positive = drawn(50_000)
    found = alarms(scores, positive, {"half": 0.5, "decided": 0.123456789}, most=300)
    assert 150 < len(found.thresholds) <= 300
    assert found.tp[0] + found.fp[0] == 50_000
    assert found.tp[-1] + found.fp[-1] == 0
    i = found.marks["decided"]
    assert found.tp[i] == int((scores[positive].astype(np.float64) >= 0.123456789).sum())
    # along the recall no step is larger than a few thresholds' share
    assert np.abs(np.diff(found.recall.value)).max() < 0.05


def test_a_threshold_as_written_counts_as_it_says() -> None:
    scores, positive = drawn(400)
    found = alarms(scores, positive)
    for t, tp in zip(found.thresholds, found.tp, strict=True):
        assert int((scores[positive].astype(np.float64) >= float(repr(float(t)))).sum()) == tp


def test_images_of_a_group_are_worth_fewer() -> None:
    scores, positive = drawn(200)
    twice = np.repeat(np.arange(200), 4)
    alone = alarms(scores[twice], positive[twice])
    together = alarms(scores[twice], positive[twice], groups=twice)
    middle = len(alone.thresholds) // 2
    assert together.recall.value[middle] == alone.recall.value[middle]
    assert together.recall.low[middle] < alone.recall.low[middle]
    assert together.precision.high[middle] > alone.precision.high[middle]
    once = alarms(scores, positive)
    width = (once.recall.high - once.recall.low)[middle]
    assert together.recall.high[middle] - together.recall.low[middle] == pytest.approx(width, rel=0.1)


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        alarms(np.zeros(0), np.zeros(0, bool))


def test_labels_share_a_budget() -> None:
    assert thresholds_each(1) == MOST == 1001
    assert thresholds_each(100) * 100 <= BUDGET
    assert chosen_labels([0.9, None, 0.1, 0.5], 10) == [0, 1, 2, 3]
    assert chosen_labels([0.9, None, 0.1, 0.5], 10, most=2) == [2, 3]
    assert chosen_labels([0.9, 0.1, 0.5], 1_000_000, scores=2_000_000) == [1, 2]


def test_rounding_keeps_seven_digits() -> None:
    assert rounded(np.array([0.123456789, 0.12345679, 1e-9])).tolist() == [1e-9, 0.1234568]
