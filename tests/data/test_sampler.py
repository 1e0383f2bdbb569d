"""Balanced sampling: as often as is due, the same again, in an order of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anmok.core.errors import DataError, UsageError
from anmok.data.sampler import row_weights, sampling_weights, weighted_order

WEIGHTS = arrays(np.float64, st.integers(1, 60), elements=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)))


@given(WEIGHTS, st.integers(0, 500), st.integers(0, 2**63), st.integers(0, 1000))
def test_every_row_within_one_of_what_is_due(weights: np.ndarray, n: int, seed: int, epoch: int) -> None:
    assume(weights.any())
    order = weighted_order(weights, n, seed, epoch)
    assert order.dtype == np.int64
    assert len(order) == n
    counts = np.bincount(order, minlength=len(weights))
    assert (np.abs(counts - n * weights / weights.sum()) < 1 + 1e-6).all()
    assert not counts[weights == 0].any()
    np.testing.assert_array_equal(order, weighted_order(weights, n, seed, epoch))


@given(st.lists(st.integers(1, 200), min_size=2, max_size=8, unique=True), st.integers(0, 99))
def test_every_class_within_one_of_what_is_due(counts: list[int], seed: int) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    order = weighted_order(row_weights(targets, "balanced", len(counts)), len(targets), seed, 0)
    drawn = np.bincount(targets[order], minlength=len(counts))
    assert (np.abs(drawn - len(targets) / len(counts)) < 1 + 1e-6).all()


def test_equal_weights_are_a_permutation() -> None:
    for n in (1, 7, 1000, 4099):
        assert sorted(weighted_order(np.full(n, 0.1), n, 3, 5)) == list(range(n))


def test_another_epoch_or_seed_another_order() -> None:
    weights = np.ones(50)
    first = weighted_order(weights, 50, 0, 0)
    assert (first != weighted_order(weights, 50, 0, 1)).any()
    assert (first != weighted_order(weights, 50, 1, 0)).any()
    assert (np.sort(first) != first).any()


def test_over_epochs_each_row_has_its_share() -> None:
    """The rounding favours no row: 40 epochs that draw a third of the rows reach each about 13 times."""
    weights = np.repeat([1.0, 3.0], [90, 30])
    counts = sum(np.bincount(weighted_order(weights, 40, 1, epoch), minlength=120) for epoch in range(400))
    due = 400 * 40 * weights / weights.sum()
    # Whether a row comes up is a draw of 0 or 1 with p = due / 400: five of its standard deviations.
    p = due / 400
    assert (np.abs(counts - due) < 5 * np.sqrt(400 * p * (1 - p)) + 1e-9).all()


def test_weights_of_rows_by_hand() -> None:
    targets = np.array([0, 0, 0, 0, 1, -1])
    np.testing.assert_allclose(row_weights(targets, "balanced", 3), [0.25] * 4 + [1, 0])
    np.testing.assert_allclose(row_weights(targets, "sqrt", 3), [0.5] * 4 + [1, 0])
    np.testing.assert_allclose(row_weights(targets, "none", 3), [1] * 5 + [0])
    np.testing.assert_allclose(sampling_weights([4, 1], "effective", 0.5), [0.5 / (1 - 0.5**4), 1])


def test_several_labels_weigh_as_the_rarest_of_them() -> None:
    nan = float("nan")
    targets = np.array([[1, 0], [1, 1], [1, 0], [0, 0], [0, 0], [nan, nan]], np.float32)
    # counts: 3 of the first, 1 of the second, 2 with neither
    np.testing.assert_allclose(row_weights(targets, "balanced", 2), [1 / 3, 1, 1 / 3, 1 / 2, 1 / 2, 0])


def test_bad_arguments() -> None:
    for bad in ([-1.0, 2.0], [float("nan")], [float("inf")]):
        with pytest.raises(UsageError):
            weighted_order(np.array(bad), 3, 0, 0)
    with pytest.raises(UsageError):
        weighted_order(np.ones(3), -1, 0, 0)
    with pytest.raises(DataError, match="labelled"):
        weighted_order(row_weights(np.array([-1, -1]), "balanced", 2), 3, 0, 0)
