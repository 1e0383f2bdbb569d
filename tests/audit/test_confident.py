from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.audit import confident
from anmok.audit.confident import by_class, by_confident_joint, by_noise_rate, calibrate, joint, thresholds

# Two classes, by hand: t_0 = (0.9 + 0.8 + 0.1) / 3 = 0.6, t_1 = (0.7 + 0.6 + 0.8) / 3 = 0.7.
TARGETS = np.array([0, 0, 0, 1, 1, 1])
P1 = np.array([0.1, 0.2, 0.9, 0.7, 0.6, 0.8])
PROBS = np.column_stack([1 - P1, P1])


def drawn(seed: int, n: int = 60, k: int = 4, absent: int = -1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, k, n)
    targets[targets == absent] = (absent + 1) % k
    logits = rng.normal(size=(n, k)) + 2 * np.eye(k)[np.where(rng.random(n) < 0.3, rng.integers(0, k, n), targets)]
    probs = np.exp(logits)
    return targets, (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def literal(targets: np.ndarray, probs: np.ndarray) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Equations 1 to 3 of arXiv:1911.00068 read word for word, one image and one class at a time."""
    n, m = probs.shape
    p = probs.astype(float)
    t = []
    for j in range(m):
        mine = [p[x, j] for x in range(n) if targets[x] == j]
        t.append(sum(mine) / len(mine) if mine else float("inf"))
    count = np.zeros((m, m), int)
    for i in range(m):
        for j in range(m):
            for x in range(n):
                above = [c for c in range(m) if p[x, c] >= t[c] - confident.TIE]
                if targets[x] == i and above and max(above, key=lambda c, x=x: p[x, c]) == j:
                    count[i, j] += 1
    q = np.zeros((m, m))
    for i in range(m):
        row = [max(count[i, j], 1) if i == j else count[i, j] for j in range(m)]
        for j in range(m):
            q[i, j] = row[j] / sum(row) * sum(1 for label in targets if label == i)
    return t, count, q


def test_two_classes_by_hand() -> None:
    np.testing.assert_allclose(thresholds(TARGETS, PROBS), [0.6, 0.7])
    found = joint(TARGETS, PROBS)
    np.testing.assert_array_equal(found.guess, [0, 0, 1, 1, -1, 1])  # the fifth reaches neither threshold
    np.testing.assert_array_equal(found.counts, [[2, 1], [0, 2]])
    np.testing.assert_allclose(found.calibrated, [[2, 1], [0, 3]])
    assert found.noise_rate == pytest.approx(1 / 6)
    for chosen in (
        by_confident_joint(TARGETS, found), by_class(TARGETS, PROBS, found), by_noise_rate(TARGETS, PROBS, found),
    ):  # fmt: skip
        np.testing.assert_array_equal(chosen, [False, False, True, False, False, False])


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(-1, 4))
@settings(max_examples=60, deadline=None)
def test_as_the_equations_read_word_for_word(seed: int, k: int, absent: int) -> None:
    targets, probs = drawn(seed, 40, k, absent if absent < k and k > 1 else -1)
    t, count, q = literal(targets, probs)
    found = joint(targets, probs)
    np.testing.assert_allclose(thresholds(targets, probs), t, rtol=1e-12)
    np.testing.assert_array_equal(found.counts, count)
    np.testing.assert_allclose(found.calibrated, q, rtol=1e-12)
    assert found.noise_rate == pytest.approx(1 - np.trace(q) / len(targets))


@given(st.integers(0, 10_000), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_pruning_as_the_methods_read_word_for_word(seed: int, k: int) -> None:
    targets, probs = drawn(seed, 50, k)
    found = joint(targets, probs)
    whole = confident.whole_counts(found.calibrated)
    rows = range(len(targets))
    rare, pairs = set(), set()
    for i in range(k):
        mine = [x for x in rows if targets[x] == i]
        rare |= set(sorted(mine, key=lambda x, i=i: probs[x, i])[: len(mine) - whole[i, i]])
        for j in set(range(k)) - {i}:
            pairs |= set(sorted(mine, key=lambda x, i=i, j=j: probs[x, i] - probs[x, j])[: whole[i, j]])
    assert set(np.flatnonzero(by_class(targets, probs, found))) == rare
    assert set(np.flatnonzero(by_noise_rate(targets, probs, found))) == pairs
    off = {x for x in rows if found.guess[x] not in (-1, targets[x])}
    assert set(np.flatnonzero(by_confident_joint(targets, found))) == off


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_whole_counts_keep_the_rows_and_one_right_image(seed: int, k: int) -> None:
    targets, probs = drawn(seed, 30, k)
    calibrated = joint(targets, probs).calibrated
    whole = confident.whole_counts(calibrated)
    np.testing.assert_array_equal(whole.sum(axis=1), np.bincount(targets, minlength=k))
    assert (np.abs(whole - calibrated) < 2).all()
    assert (np.diag(whole)[whole.sum(axis=1) > 0] >= 1).all()
    assert (whole >= 0).all()


def test_a_class_whose_images_all_look_like_another_keeps_one() -> None:
    counts = np.array([[0, 9], [0, 10]])
    np.testing.assert_allclose(calibrate(counts, np.array([20, 10])), [[2, 18], [0, 10]])
    np.testing.assert_array_equal(confident.whole_counts(np.array([[0.4, 1.6], [0.0, 0.0]])), [[1, 1], [0, 0]])


def test_chunks_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, probs = drawn(3, 100, 5)
    whole = joint(targets, probs)
    monkeypatch.setattr(confident, "ROWS", 7)
    np.testing.assert_array_equal(joint(targets, probs).guess, whole.guess)


def test_nothing_at_all() -> None:
    targets, probs = np.zeros(0, np.int64), np.zeros((0, 3), np.float32)
    found = joint(targets, probs)
    assert found.counts.sum() == 0
    assert found.noise_rate == 0
    assert not len(by_class(targets, probs, found))
    assert not len(by_noise_rate(targets, probs, found))
