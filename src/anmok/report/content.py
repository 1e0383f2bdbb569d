"""What a report shows: everything arrives computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anmok.core.types import Evaluation
from anmok.report.judged_content import Judged


class Mistake(NamedTuple):
    """An image the model was wrong about; prob is the predicted label's, thumbnail WebP bytes (b'': no picture)."""

    id: str
    truth: str
    predicted: str
    prob: float
    thumbnail: bytes = b""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportContent:
    """The content of one page.  Texts are plain: the page escapes them.

    title: what was learned from what; subtitle: a line below it.  evaluation: as evaluation.json, with `baselines`
    {name: metrics}, `leaked` (from `evaluate_without`) and `looks` (how often the test split was looked at) where there
    are any.  history: the run's epoch events, in order; best_epoch: whose weights were kept.  counts: {split: {label:
    images}}, labels in class order.  notes and warnings: sentences about the data.  mistakes: worst first.
    judged: what is moved and pressed (thresholds, curves, images of a cell).  language: its code.  model,
    settings, facts: {name: text} rows: the network (parameters, image size, dtype, time), the configuration, and what
    reproduces the numbers (versions, seed, fingerprint, model hash, plan).
    """

    title: str
    evaluation: Evaluation
    subtitle: str = ""
    history: Sequence[Mapping[str, Any]] = ()
    best_epoch: int | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    mistakes: Sequence[Mistake] = ()
    judged: Judged | None = None
    language: str = "en"
    model: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
