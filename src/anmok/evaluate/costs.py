"""What mistakes cost, and the answer that is expected to cost least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from anmok.core.errors import UsageError, did_you_mean


class ErrorCosts(NamedTuple):
    """Of one label: what a false alarm (fp) and a miss (fn) cost, in any unit, both above 0."""

    fp: float
    fn: float

    @property
    def bayes(self) -> float:
        """The probability from which an alarm is expected to cost less (Elkan 2001): fp / (fp + fn)."""
        return self.fp / (self.fp + self.fn)


def error_costs(fp: float, fn: float) -> ErrorCosts:
    """Checked costs.  UsageError where one is not a number above 0."""
    for name, cost in (("fp", fp), ("fn", fn)):
        if not (np.isfinite(cost) and cost > 0):
            raise UsageError(f"the cost {name} must be a number above 0, found {cost}.", where="cost", code="setting")
    return ErrorCosts(float(fp), float(fn))


def cost_matrix(costs: object, classes: Sequence[str]) -> np.ndarray:
    """float64[K, K], rows true and columns decided, checked.

    UsageError: another shape, a number that is negative or not finite, or a class for which being right costs more than
    some mistake: probably the matrix is transposed, or gains were given for costs.
    """
    k = len(classes)
    matrix = np.asarray(costs, np.float64)
    if matrix.shape != (k, k):
        raise UsageError(
            f"the cost matrix is {' × '.join(map(str, matrix.shape)) or 'one number'}, {k} classes need {k} × {k}.",
            where="cost", code="setting", remedy=f"Rows are true classes, columns decisions: {', '.join(classes[:5])}.",
        )  # fmt: skip
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise UsageError("costs must be finite and not negative.", where="cost", code="setting")
    worse = np.diag(matrix)[:, None] > matrix
    if worse.any():
        i, j = np.argwhere(worse)[0]
        raise UsageError(
            f"of a {classes[i]}, {classes[i]} costs {matrix[i, i]:g}, more than {matrix[i, j]:g} for {classes[j]}.",
            where="cost", code="setting", remedy="Rows are true classes, columns decisions; costs, not gains.",
        )  # fmt: skip
    return matrix


def matrix_of(costs: ErrorCosts) -> np.ndarray:
    """[[0, fp], [fn, 0]] of a binary task, float64[2, 2]."""
    return np.array([[0.0, costs.fp], [costs.fn, 0.0]])


def expected_costs(probs: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """What each decision is expected to cost for each image, float64[N, K]: probs @ matrix."""
    return np.asarray(probs, np.float64) @ matrix


def cheapest(probs: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The class whose decision is expected to cost least, int64[N]; of equal ones the more probable, then the first."""
    spent = expected_costs(probs, matrix)
    near = spent <= spent.min(axis=1, keepdims=True) * (1 + 1e-12)
    return np.where(near, probs, -1.0).argmax(axis=1)


def mean_cost(targets: np.ndarray, decided: np.ndarray, matrix: np.ndarray) -> float:
    """What the decisions int64[N] cost an image."""
    return float(matrix[targets, decided].mean())


def costs_of_labels(given: Mapping[str, ErrorCosts] | ErrorCosts, labels: Sequence[str]) -> dict[str, ErrorCosts]:
    """{label: costs} of every label; one for all, or by label, where those not named cost 1 and 1.

    UsageError: a name that is no label.
    """
    if isinstance(given, ErrorCosts):
        return dict.fromkeys(labels, given)
    for name in given:
        if name not in labels:
            raise UsageError(
                f"no such class as {name}.", where="cost", remedy=did_you_mean(name, labels), code="setting"
            )
    return {label: given.get(label, ErrorCosts(1.0, 1.0)) for label in labels}
