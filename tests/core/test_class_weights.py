"""Class weights: the formulas by hand, and what they have in common."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.balance import BALANCES, class_weights, loss_weights
from anmok.core.errors import UsageError

COUNTS = st.lists(st.integers(0, 100_000), min_size=1, max_size=30)


def test_by_hand() -> None:
    np.testing.assert_allclose(class_weights([4, 0, 25], "none"), [1, 0, 1])
    np.testing.assert_allclose(class_weights([4, 0, 25], "balanced"), [0.25, 0, 0.04])
    np.testing.assert_allclose(class_weights([4, 0, 25], "sqrt"), [0.5, 0, 0.2])


def test_effective_number_by_hand() -> None:
    # E_n = (1 − β^n) / (1 − β) = 1 + β + … + β^(n−1): with β = 0.9, E_1 = 1, E_2 = 1.9, E_3 = 2.71
    np.testing.assert_allclose(class_weights([1, 2, 3], "effective", 0.9), [1, 1 / 1.9, 1 / 2.71])
    series = sum(0.9999**i for i in range(5000))
    np.testing.assert_allclose(class_weights([5000], "effective"), [1 / series], rtol=1e-10)


def test_effective_number_at_its_ends() -> None:
    """β = 0: no balance; β near 1: 1 / n, with its digits kept; n far above 1 / (1 − β): 1 − β."""
    np.testing.assert_array_equal(class_weights([3, 0, 900], "effective", 0.0), [1, 0, 1])
    np.testing.assert_allclose(class_weights([7, 900], "effective", 1 - 1e-12), [1 / 7, 1 / 900], rtol=1e-4)
    np.testing.assert_allclose(class_weights([10**7], "effective", 0.999), [0.001])


@given(COUNTS, st.sampled_from(BALANCES), st.floats(0, 0.99999))
def test_rarer_weighs_no_less_and_the_absent_nothing(counts: list[int], how: str, beta: float) -> None:
    weights = class_weights(counts, how, beta)
    assert np.isfinite(weights).all()
    assert ((weights > 0) == (np.array(counts) > 0)).all()
    present = sorted((c, w) for c, w in zip(counts, weights, strict=True) if c)
    assert all(a[1] >= b[1] * (1 - 1e-9) for a, b in pairwise(present))


@given(COUNTS.filter(any), st.sampled_from(BALANCES))
def test_loss_weights_average_one_over_the_images(counts: list[int], how: str) -> None:
    weights = loss_weights(counts, how)
    assert np.dot(weights, counts) == pytest.approx(sum(counts))
    assert weights / weights.max() == pytest.approx(class_weights(counts, how) / class_weights(counts, how).max())


def test_balanced_loss_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    targets = np.repeat([0, 1, 2], [5, 50, 500])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    np.testing.assert_allclose(loss_weights([5, 50, 500], "balanced"), expected)


def test_no_image_at_all() -> None:
    np.testing.assert_array_equal(loss_weights([0, 0], "sqrt"), [0, 0])


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="balanced"):
        class_weights([1], "balance")
    for beta in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="beta"):
            class_weights([1], "effective", beta)
