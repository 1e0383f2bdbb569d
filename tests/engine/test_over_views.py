"""The mean over views: weighted, bounded by the views, asked only where it counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.engine.predict import over_views


def test_by_hand() -> None:
    views = [np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([[0.6, 0.4], [0.5, 0.5]])]
    same = over_views(lambda v: v, views)
    np.testing.assert_allclose(same, [[0.4, 0.6], [0.75, 0.25]], atol=1e-7)
    assert same.dtype == np.float32
    np.testing.assert_allclose(over_views(lambda v: v, views, np.array([0.75, 0.25]))[0], [0.3, 0.7], atol=1e-7)
    apart = over_views(lambda v: v, views, np.array([[1.0, 0.0], [0.0, 1.0]]))  # of each image its own
    np.testing.assert_array_equal(apart, np.float32([[0.2, 0.8], [0.5, 0.5]]))


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 1000))
def test_it_lies_between_the_views(v: int, b: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    views = rng.dirichlet(np.ones(3), (v, b)).astype(np.float32)
    weights = rng.dirichlet(np.ones(v))
    found = over_views(lambda p: p, list(views), weights)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found >= views.min(axis=0) - 1e-6).all()
    assert (found <= views.max(axis=0) + 1e-6).all()
    np.testing.assert_allclose(found, np.average(views, axis=0, weights=weights), atol=1e-6)


def test_a_view_that_weighs_nothing_is_not_asked_about() -> None:
    asked: list[int] = []

    def answer(view: Any) -> np.ndarray:
        asked.append(view)
        return np.full((2, 2), 0.1 + 0.2 * view, np.float32)

    found = over_views(answer, [0, 1, 2], np.array([0.0, 1.0, 0.0]))
    assert asked == [1]
    np.testing.assert_array_equal(found, answer(1))


def test_weights_of_other_views() -> None:
    with pytest.raises(ValueError, match="1 views"):
        over_views(lambda v: v, [np.ones((1, 2))], np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="0 views"):
        over_views(lambda v: v, [])
