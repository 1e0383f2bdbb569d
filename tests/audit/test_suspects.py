from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.audit.suspects import SCORES, Suspects, findings, suspects
from anmok.core.types import Predictions

CHOICES = ("both", "noise-rate", "class", "confident-joint")
# Three classes, by hand; the fourth image is unlabelled, the fifth could not be read.
TARGETS = np.array([0, 0, 1, -1, 2, 1, 2])
PROBS = np.array(
    [
        [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [math.nan] * 3, [0.3, 0.5, 0.2],
        [0.05, 0.05, 0.9],
    ],
    np.float32,
)  # fmt: skip


def of(targets: np.ndarray, probs: np.ndarray, classes: list[str], task: str = "multiclass") -> Predictions:
    ids = [f"{i}.png" for i in range(len(targets))]
    return Predictions(ids, classes, probs, targets, task)  # type: ignore[arg-type]


def noisy(seed: int, n: int = 400, k: int = 5, share: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 3 * np.eye(k)[true]
    probs = np.exp(logits)
    bad = rng.random(n) < share
    return np.where(bad, (true + rng.integers(1, k, n)) % k, true), probs / probs.sum(axis=1, keepdims=True), bad


def test_three_classes_by_hand() -> None:
    found = suspects(TARGETS, PROBS)
    np.testing.assert_allclose(found.score, [0.3, 0.9, 0.4, math.nan, math.nan, 0.5, 0.1], atol=1e-6)
    np.testing.assert_array_equal(found.likely, [1, 1, 2, -1, -1, 0, 0])
    np.testing.assert_allclose(found.probability, [0.2, 0.8, 0.3, math.nan, math.nan, 0.3, 0.05], atol=1e-6)
    # t = (0.4, 0.55, 0.9): the second image counts as 1, the sixth as nothing.
    np.testing.assert_array_equal(found.confident_joint, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert found.noise_rate == pytest.approx(1 / 5)
    np.testing.assert_array_equal(np.flatnonzero(found.is_suspect), [1])
    np.testing.assert_array_equal(found.ranking, [1, 5, 2, 0, 6])


def test_scores_by_hand() -> None:
    p = PROBS[[0]].astype(np.float64)
    h = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)) / math.log(3) / 0.7
    wanted = {
        "self-confidence": 0.3,
        "normalized-margin": (0.2 - 0.7 + 1) / 2,
        "confidence-weighted-entropy": 1 - math.log(1 + h) / h,
    }
    for name, value in wanted.items():
        assert SCORES[name](p, p[:, 0], p[:, 1])[0] == pytest.approx(value, abs=1e-6), name
        assert suspects(TARGETS, PROBS, score=name).score[0] == pytest.approx(value, abs=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("candidates", CHOICES)
def test_planted_flips_are_found(score: str, candidates: str) -> None:
    targets, probs, bad = noisy(1)
    found = suspects(targets, probs, score=score, candidates=candidates)  # type: ignore[arg-type]
    assert bad[found.ranking[: bad.sum()]].mean() > 0.8
    assert bad[found.is_suspect].mean() > 0.8
    assert found.is_suspect[bad].mean() > 0.7
    assert abs(found.noise_rate - bad.mean()) < 0.04


@given(st.integers(0, 10_000), st.sampled_from(sorted(SCORES)), st.sampled_from(CHOICES))
@settings(max_examples=60, deadline=None)
def test_scores_are_shares_and_order_of_images_does_not_matter(seed: int, score: str, candidates: str) -> None:
    targets, probs, _ = noisy(seed, 80, 4)
    found = suspects(targets, probs, score=score, candidates=candidates)  # type: ignore[arg-type]
    assert ((found.score >= 0) & (found.score <= 1)).all()
    order = np.random.default_rng(seed).permutation(len(targets))
    again = suspects(targets[order], probs[order], score=score, candidates=candidates)  # type: ignore[arg-type]
    for name in ("score", "likely", "probability", "is_suspect"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name)[order])
    own = probs[np.arange(len(targets)), targets]
    assert (found.probability[found.is_suspect] > own[found.is_suspect]).all()
    assert (found.likely != targets).all()


def test_without_a_verdict_is_as_if_it_were_not_there() -> None:
    targets, probs, _ = noisy(2)
    odd = np.r_[targets, -1, 0]
    more = np.vstack([probs, probs[:1], np.full((1, 5), np.nan)])
    found, alone = suspects(odd, more), suspects(targets, probs)
    np.testing.assert_array_equal(found.score[:-2], alone.score)
    np.testing.assert_array_equal(found.is_suspect[:-2], alone.is_suspect)
    assert np.isnan(found.score[-2:]).all()
    assert not found.is_suspect[-2:].any()
    assert found.noise_rate == alone.noise_rate


def test_a_class_without_examples_one_class_and_none() -> None:
    probs = np.array([[0.6, 0.1, 0.3], [0.2, 0.1, 0.7], [0.1, 0.1, 0.8]])
    found = suspects(np.array([0, 2, 2]), probs)
    assert found.confident_joint[1].sum() == found.confident_joint[:, 1].sum() == 0
    assert not found.is_suspect.any()
    only = suspects(np.zeros(3, np.int64), probs)
    assert (only.noise_rate, only.is_suspect.any(), len(only.ranking)) == (0, False, 3)
    single = suspects(np.zeros(3, np.int64), np.ones((3, 1)))
    assert np.isnan(single.score).all()
    assert not single.is_suspect.any()
    for k in (0, 3):
        nothing = suspects(np.zeros(0, np.int64), np.zeros((0, k)))
        assert (len(nothing), nothing.noise_rate, len(nothing.ranking)) == (0, 0, 0)
    assert not len(suspects(np.full(2, -1), probs[:2]).ranking)


def test_findings_worst_first_in_words() -> None:
    predictions = of(TARGETS, PROBS, ["glass", "plastic", "=paper"])
    found = findings(predictions, suspects(TARGETS, PROBS))
    assert [tuple(f) for f in found] == [
        ("suspect-label", ["1.png"], pytest.approx(0.9), "labelled glass, likely plastic (0.80)", "keep")
    ]
    targets, probs, _ = noisy(4)
    many = findings(of(targets, probs, list("abcde")), suspects(targets, probs))
    assert len(many) > 10
    assert [f.score for f in many] == sorted((f.score for f in many), reverse=True)


def multilabel(seed: int, n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.random((n, 3)) < [0.5, 0.3, 0.1]
    probs = 1 / (1 + np.exp(-(rng.normal(size=(n, 3)) + np.where(true, 4, -4))))
    bad = rng.random((n, 3)) < 0.03
    return (true ^ bad).astype(np.float32), probs, bad


def test_multilabel_is_one_class_against_the_rest() -> None:
    targets, probs, bad = multilabel(0)
    found = suspects(targets, probs)
    for c in range(3):
        alone = suspects(targets[:, c].astype(np.int64), np.column_stack([1 - probs[:, c], probs[:, c]]))
        np.testing.assert_array_equal(found.confident_joint[c], alone.confident_joint)
    wrong = bad.any(axis=1)
    assert wrong[found.is_suspect].mean() > 0.9
    assert found.is_suspect[wrong].mean() > 0.85
    assert bad[np.arange(len(bad)), found.likely][found.is_suspect].mean() > 0.9
    assert abs(found.noise_rate - bad.mean()) < 0.02


def test_multilabel_words_unknown_rows_and_classes_without_a_prediction() -> None:
    targets, probs, _ = multilabel(1)
    probs[:, 0] = np.where(targets[:, 0] > 0.5, 0.95, 0.05)
    probs[:, 1] = np.where(targets[:, 1] > 0.5, 0.95, 0.05)
    targets[0], probs[0] = [1, 0, 0], [0.02, 0.05, 0.1]
    targets[1], probs[1] = [0, 0, 0], [0.03, 0.97, 0.1]
    targets[2] = math.nan
    probs[:, 2] = math.nan
    found = suspects(targets, probs)
    texts = {f.ids[0]: f.evidence for f in findings(of(targets, probs, ["cat", "dog", "owl"], "multilabel"), found)}
    assert texts == {
        "0.png": "labelled cat; likely without cat (0.98)",
        "1.png": "labelled none; likely also dog (0.97)",
    }
    assert np.isnan(found.score[2])
    assert found.likely[2] == -1
    assert found.confident_joint[2].sum() == 0
    assert suspects(targets[:, :1], probs[:, :1]).is_suspect[0]


@pytest.mark.parametrize(
    ("targets", "probs", "options", "said"),
    [
        (np.zeros(3, np.int64), np.zeros((2, 2)), {}, "expected"),
        (np.zeros((3, 2)), np.zeros((3, 3)), {}, "expected"),
        (np.array([0, 2]), np.full((2, 2), 0.5), {}, "target 2 of 2 classes"),
        (np.array([0, 1]), np.full((2, 2), 0.5), {"score": "self-confidense"}, "Did you mean self-confidence"),
        (np.array([0, 1]), np.full((2, 2), 0.5), {"candidates": "clas"}, "Did you mean class"),
    ],
)
def test_what_does_not_fit_is_refused(
    targets: np.ndarray, probs: np.ndarray, options: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        suspects(targets, probs, **options)  # type: ignore[arg-type]


def test_a_verdict_has_as_many_rows_as_images() -> None:
    found = suspects(TARGETS, PROBS)
    assert isinstance(found, Suspects)
    assert len(found) == len(TARGETS) == len(found.is_suspect) == len(found.probability)
