"""Cost matrices: the cheapest answer by brute force, and matrices that mean something else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.core.errors import UsageError
from anmok.evaluate.costs import ErrorCosts, cheapest, cost_matrix, costs_of_labels, matrix_of, mean_cost


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 20), k=st.integers(2, 5), seed=st.integers(0, 999))
def test_no_other_answer_is_cheaper(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs, matrix = rng.dirichlet(np.ones(k), n), rng.random((k, k)) * (1 - np.eye(k))
    got = cheapest(probs, matrix)
    for row, found in zip(probs, got, strict=True):
        spent = [sum(row[i] * matrix[i, j] for i in range(k)) for j in range(k)]
        assert spent[found] == pytest.approx(min(spent), abs=1e-12)
    assert (cheapest(probs, 1 - np.eye(k)) == probs.argmax(axis=1)).all()


def test_binary_costs_are_a_threshold() -> None:
    p = np.linspace(0.001, 0.999, 300)
    costs = ErrorCosts(1, 20)
    got = cheapest(np.column_stack([1 - p, p]), matrix_of(costs))
    assert (got == (p >= costs.bayes)).all()
    assert mean_cost(np.array([0, 1, 1, 0]), np.array([1, 0, 1, 0]), matrix_of(costs)) == 21 / 4


def test_matrices_that_mean_something_else() -> None:
    with pytest.raises(UsageError, match="2 × 3, 2 classes need 2 × 2"):
        cost_matrix(np.zeros((2, 3)), ["a", "b"])
    with pytest.raises(UsageError, match="finite and not negative"):
        cost_matrix([[0, -1], [1, 0]], ["a", "b"])
    with pytest.raises(UsageError, match="of a b, b costs 5, more than 0 for a"):
        cost_matrix([[0, 1], [0, 5]], ["a", "b"])
    with pytest.raises(UsageError, match=r"no such class as thef\. Did you mean thief"):
        costs_of_labels({"thef": ErrorCosts(1, 2)}, ["thief", "guest"])
    assert costs_of_labels({"thief": ErrorCosts(1, 9)}, ["thief", "guest"])["guest"] == ErrorCosts(1, 1)
