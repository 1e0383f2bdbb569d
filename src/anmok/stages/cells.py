"""The images of each cell of a confusion matrix, most confident first, as many as a page can carry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.evaluate.decision import HALF
from anmok.evaluate.rows import Rows
from anmok.report.judged_content import Cell, CellImage
from anmok.stages.pictures import Pictures

A_CELL = 12  # images
ALL = 300
MOST_CELLS = 5_000  # that are told of, those with most images first


class Found(NamedTuple):
    """A cell and its images as rows, most confident first; prob float[M] of its prediction."""

    truth: str
    predicted: str
    rows: np.ndarray
    prob: np.ndarray


def cells_of(rows: Rows, pictures: Pictures, sure: bool = True) -> list[Cell]:
    """Cells that hold images: (true, predicted) of one label per image, else (label, 'tp', 'fn' or 'fp').

    sure: whether the probabilities mean something; they are left out otherwise.
    """
    found = sorted(_multilabel(rows) if rows.targets.ndim == 2 else _single(rows), key=lambda f: -len(f.rows))
    found = found[:MOST_CELLS]
    room = shares([len(f.rows) for f in found])
    shown = [f.rows[:n] for f, n in zip(found, room, strict=True)]
    drawn = pictures.small(rows.ids[i] for some in shown for i in some)
    return [
        Cell(f.truth, f.predicted, len(f.rows), tuple(
            CellImage(rows.ids[i], float(p) if sure else None, drawn[rows.ids[i]])
            for i, p in zip(some, f.prob, strict=False)
        ))
        for f, some in zip(found, shown, strict=True)
    ]  # fmt: skip


def shares(sizes: list[int], each: int = A_CELL, most: int = ALL) -> list[int]:
    """How many images of each cell are shown: at most `each`, fewer where all together would exceed `most`.

    All cells have the same limit; where even one image of each is too many, the first `most` cells show one.
    """
    for limit in range(each, 0, -1):
        out = [min(limit, n) for n in sizes]
        if sum(out) <= most:
            return out
    return [int(place < most) for place in range(len(sizes))]


def _single(rows: Rows) -> list[Found]:
    predicted, k = rows.probs.argmax(axis=1), len(rows.classes)
    prob = rows.probs.max(axis=1)
    code = rows.targets * k + predicted
    order = np.lexsort((-prob, code))
    starts = np.flatnonzero(np.r_[True, np.diff(code[order]) != 0])
    out = []
    for part in np.split(order, starts[1:]):
        truth, taken = divmod(int(code[part[0]]), k)
        out.append(Found(rows.classes[truth], rows.classes[taken], part, prob[part]))
    return out


def _multilabel(rows: Rows) -> list[Found]:
    """prob is that of the answer: of a missed label one less its probability."""
    out = []
    called = rows.probs >= HALF
    for k, label in enumerate(rows.classes):
        truth, alarm, prob = rows.targets[:, k], called[:, k], rows.probs[:, k]
        kinds = {"tp": (truth & alarm, prob), "fn": (truth & ~alarm, 1 - prob), "fp": (~truth & alarm, prob)}
        for kind, (inside, sure) in kinds.items():
            index = np.flatnonzero(inside if rows.known is None else inside & rows.known[:, k])
            if len(index):
                index = index[np.argsort(-sure[index], kind="stable")]
                out.append(Found(label, kind, index, sure[index]))
    return out
