"""New rows of a head: what they point to, how they are fitted, and that old classes keep their images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from anmok.core.errors import DataError
from anmok.nshot.imprint import Shown, fit_rows, imprint

K, D = 4, 24


def world(seed: int, shots: int, new: int = 1) -> tuple[Shown, Shown, Shown, np.ndarray]:
    """(given, old, unseen images of all classes, head) of classes around their own centres, far from the origin."""
    rng = np.random.default_rng(seed)
    centres = 3 + rng.normal(size=(K + new, D))
    weight = 2 * (centres[:K] - centres[:K].mean(axis=0))
    bias = -weight @ centres[:K].mean(axis=0)

    def some(each: int, classes: range) -> Shown:
        targets = np.repeat(np.array(classes), each)
        vectors = centres[targets] + 0.5 * rng.normal(size=(len(targets), D))
        return Shown(vectors.astype(np.float32), (vectors @ weight.T + bias).astype(np.float32), targets)

    return some(shots, range(K, K + new)), some(30, range(K)), some(50, range(K + new)), weight


@settings(max_examples=10)
@drawn(st.integers(0, 200), st.sampled_from([3, 5, 10]), st.integers(1, 2))
def test_new_classes_are_recognised_and_old_ones_keep_their_images(seed: int, shots: int, new: int) -> None:
    given, old, unseen, weight = world(seed, shots, new)
    rows = imprint(given, old, weight)
    assert rows.weight.shape == (new, D)
    logits = np.concatenate([unseen.logits, unseen.vectors @ rows.weight.T + rows.bias], axis=1)
    right = logits.argmax(axis=1) == unseen.targets
    assert right[unseen.targets >= K].mean() > 0.85
    before = unseen.logits.argmax(axis=1) == unseen.targets
    assert right[unseen.targets < K].mean() > before[unseen.targets < K].mean() - 0.05


def test_a_row_points_from_the_old_mean_to_the_prototype() -> None:
    given, old, _, weight = world(0, 4)
    rows = imprint(given, old, weight)
    centre = np.mean([old.vectors[old.targets == c].mean(axis=0) for c in range(K)], axis=0)
    moved = given.vectors - centre
    prototype = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).mean(axis=0)
    cosine = rows.weight[0] @ prototype / np.linalg.norm(rows.weight[0]) / np.linalg.norm(prototype)
    assert cosine == pytest.approx(1, abs=1e-6)
    for i in range(4):  # each image as if it had taken no part
        rest = np.delete(moved / np.linalg.norm(moved, axis=1, keepdims=True), i, axis=0).mean(axis=0)
        along = moved[i] @ rest / np.linalg.norm(rest)
        shift = rows.bias[0] + rows.weight[0] @ centre
        assert rows.alone[i, K] == pytest.approx(np.linalg.norm(rows.weight[0]) * along + shift, rel=1e-4)


def test_one_image_is_not_taken_for_what_its_like_look_like() -> None:
    given, old, unseen, weight = world(5, 1)
    rows = imprint(given, old, weight)
    centre = np.mean([old.vectors[old.targets == c].mean(axis=0) for c in range(K)], axis=0)
    moved = (old.vectors - centre) / np.linalg.norm(old.vectors - centre, axis=1, keepdims=True)
    pairs = [
        np.mean([a @ b for i, a in enumerate(m) for j, b in enumerate(m) if i != j])
        for m in (moved[old.targets == c] for c in range(K))
    ]
    length, reach = np.linalg.norm(rows.weight[0]), np.linalg.norm(given.vectors[0] - centre)
    expected = length * reach * np.mean(pairs) + rows.bias[0] + rows.weight[0] @ centre
    assert rows.alone[0, K] == pytest.approx(expected, rel=1e-4)
    logits = np.concatenate([unseen.logits, unseen.vectors @ rows.weight.T + rows.bias], axis=1)
    assert (logits.argmax(axis=1) == K)[unseen.targets == K].mean() > 0.8


@pytest.mark.parametrize("most_lost", [0.0, 0.05, 1.0])
def test_no_more_old_images_are_lost_than_allowed(most_lost: float) -> None:
    given, old, _, weight = world(7, 2, 2)
    near = Shown(given.vectors, given.logits, given.targets)
    blurred = Shown(old.vectors + 0.6 * (given.vectors[0] - old.vectors), old.logits, old.targets)  # half way to it
    rows = imprint(near, blurred, weight, most_lost=most_lost)
    right = blurred.logits.argmax(axis=1) == blurred.targets
    new = (blurred.vectors @ rows.weight.T + rows.bias).max(axis=1)
    lost = (new > blurred.logits.max(axis=1))[right].mean()
    free = imprint(near, blurred, weight)
    assert lost <= most_lost
    assert (rows.bias <= free.bias + 1e-9).all()
    if most_lost == 1:
        np.testing.assert_allclose(rows.bias, free.bias)


def test_without_old_images_most_of_the_given_ones_win_and_no_more() -> None:
    given, _, _, weight = world(1, 10)
    rows = imprint(given, None, weight)
    won = rows.alone.argmax(axis=1) == K
    assert 0.8 <= won.mean() <= 0.9
    usual = np.linalg.norm(weight - weight.mean(axis=0), axis=1).mean()
    assert np.linalg.norm(rows.weight[0]) == pytest.approx(usual, rel=1e-5)


def test_a_head_without_bias_gets_rows_without() -> None:
    given, old, _, weight = world(2, 5)
    for seen in (old, None):
        rows = imprint(given, seen, weight, biased=False)
        np.testing.assert_array_equal(rows.bias, [0.0])
        assert np.isfinite(rows.weight).all()


def test_the_fit_is_a_minimum() -> None:
    given, old, _, _ = world(3, 6)
    rng = np.random.default_rng(0)
    logits = np.concatenate([old.logits, given.logits])
    targets = np.concatenate([old.targets, given.targets])
    along = np.concatenate([rng.normal(0, 1, (len(old.targets), 1)), rng.normal(2, 1, (6, 1))])

    def loss(length: float, bias: float) -> float:
        every = np.concatenate([logits, along * length + bias], axis=1).astype(np.float64)
        probs = np.exp(every - every.max(axis=1, keepdims=True))
        surprise = -np.log(probs[np.arange(len(targets)), targets] / probs.sum(axis=1))
        means = [surprise[targets == c].mean() for c in range(K + 1)]
        return float(np.mean(means) + np.log(length / 1.5) ** 2 / 7 / (K + 1))

    lengths, biases = fit_rows(logits, along, targets, 1.5, np.array([6]))
    best = loss(lengths[0], biases[0])
    for dl, db in ((1.02, 0), (0.98, 0), (1, 0.05), (1, -0.05), (2, 0), (1, 2), (1, -2)):
        assert loss(lengths[0] * dl, biases[0] + db) > best


def test_a_class_without_an_image_is_an_error() -> None:
    given, old, _, weight = world(0, 2)
    with pytest.raises(DataError, match="no image"):
        imprint(Shown(given.vectors, given.logits, given.targets + 1), old, weight)
