"""The mistakes of a model by confusion: of each, how many there are and which it was surest of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.core.types import Predictions


class Confusion(NamedTuple):
    """What was taken for what, how many images were, and the rows of the surest of them."""

    truth: str
    predicted: str
    images: int
    rows: tuple[int, ...]


def is_wrong(p: Predictions) -> np.ndarray:
    """bool[N]: labelled, readable, and answered otherwise; of a multi-label row, any label otherwise."""
    readable = ~np.isnan(p.probs).any(axis=1)
    if p.targets is None:
        return np.zeros(len(p), bool)
    if p.task == "multilabel":
        return np.asarray(_differ(p).any(axis=1))
    answers = np.nan_to_num(p.probs).argmax(axis=1)
    return np.asarray(readable & (p.targets >= 0) & (answers != p.targets))


def surest(p: Predictions, each: int) -> list[Confusion]:
    """Every confusion with the `each` rows that the model was surest of, the most frequent confusion first.

    Of a multi-label task a confusion is a label that was missed ('cat', 'no cat') or given wrongly ('no cat', 'cat').
    """
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for row in np.flatnonzero(is_wrong(p)):
        for truth, predicted, sure in _confusions(p, int(row)):
            found.setdefault((truth, predicted), []).append((-sure, int(row)))
    out = [Confusion(*names, len(rows), tuple(row for _, row in sorted(rows)[:each])) for names, rows in found.items()]
    best = {names: min(rows) for names, rows in found.items()}
    return sorted(out, key=lambda c: (-c.images, best[c.truth, c.predicted]))


def _differ(p: Predictions) -> np.ndarray:
    """bool[N, K]: a label that is known and answered otherwise at 0.5."""
    assert p.targets is not None
    known = ~np.isnan(p.targets) & ~np.isnan(p.probs)
    return known & ((np.nan_to_num(p.probs) >= 0.5) != (np.nan_to_num(p.targets) > 0.5))


def _confusions(p: Predictions, row: int) -> list[tuple[str, str, float]]:
    """(truth, predicted, how sure in [0, 1]) of a row that is wrong."""
    assert p.targets is not None
    if p.task != "multilabel":
        answer = int(p.probs[row].argmax())
        return [(p.classes[int(p.targets[row])], p.classes[answer], float(p.probs[row, answer]))]
    out = []
    for k in np.flatnonzero(_differ(p)[row]):
        name, prob = p.classes[k], float(p.probs[row, k])
        missed = p.targets[row, k] > 0.5
        out.append((name, f"no {name}", 1 - prob) if missed else (f"no {name}", name, prob))
    return out
