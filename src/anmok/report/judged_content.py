"""What a page shows beyond evaluation.json: thresholds to move, curves, the images of a cell; all computed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class CellImage(NamedTuple):
    """An image of a cell; prob in [0, 1] is that of the cell's prediction (None: not known), thumbnail WebP bytes
    (b'': no picture)."""

    id: str
    prob: float | None
    thumbnail: bytes = b""


class Cell(NamedTuple):
    """A cell of the confusion matrix: a true and a predicted class, how many images it counts, and some of them.

    Of a multi-label task predicted is 'tp', 'fn' or 'fp' of the label.
    """

    truth: str
    predicted: str
    total: int
    images: tuple[CellImage, ...]


class Share(NamedTuple):
    """A proportion at each threshold with its 95 % interval; NaN where it is undefined."""

    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


class Slider(NamedTuple):
    """What an alarm for a label does at each threshold, rising: counts, shares; see `evaluate.alarms`.

    marks: {'half' or 'decided': index of a threshold}; fp_cost, fn_cost: what the page begins with.
    """

    label: str
    thresholds: Sequence[float]
    tp: Sequence[int]
    fp: Sequence[int]
    positives: int
    n: int
    precision: Share
    recall: Share
    marks: Mapping[str, int]
    fp_cost: float = 1.0
    fn_cost: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """sliders: by class, the one to begin with first where a decision names one; of the images that are answered, asked
    is how many are left to a person.  curves: {label: {recall, precision,
    false_alarms}}.  reliability: {'width', 'mass'}: bins.  risk: {points, aurc, excess, asks} (see
    `evaluate.figure_data`).  ace: the calibration error by
    bins of equal mass.  cells: of the matrix.  begin: the label that the slider begins with.  prior: whether
    probabilities are for another prevalence than that of the images.
    """

    sliders: Sequence[Slider] = ()
    begin: str = ""
    asked: int = 0
    prior: bool = False
    ace: float | None = None
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    reliability: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    risk: Mapping[str, Any] = field(default_factory=dict)
    cells: Sequence[Cell] = ()
