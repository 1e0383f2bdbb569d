"""What a report shows beyond the scores, computed here: alarms by threshold, curves, and the images of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anmok.core.types import Evaluation, Predictions
from anmok.data.table import Table
from anmok.evaluate.alarms import Alarms, alarms, chosen_labels, thresholds_each
from anmok.evaluate.decision import HALF, VERSION, Decision
from anmok.evaluate.figure_data import ranking_curves, reliabilities, risk_points
from anmok.evaluate.groups import group_codes
from anmok.evaluate.reliability import binned_error
from anmok.evaluate.rows import Rows, of_split, usable_rows
from anmok.evaluate.thresholds import label_scores
from anmok.report.judged_content import Judged, Share, Slider
from anmok.stages.cells import cells_of
from anmok.stages.evaluate_file import answers_only
from anmok.stages.judge import groups_of
from anmok.stages.pictures import Pictures


def judged(table: Table, p: Predictions, evaluation: Evaluation, pictures: Pictures) -> Judged:
    """Everything that the page lets move or be pressed, on the rows that were scored; see `Judged`.

    Sliders go by the probabilities that the decision goes by, everything else by the model's own; they leave out the
    images that the decision leaves to a person, as its outcome does.  Of answers alone there are only cells.
    """
    rows = usable_rows(of_split(p, evaluation["split"] or None))
    if answers_only(evaluation):
        return Judged(cells=cells_of(rows, pictures, sure=False))
    said = evaluation["decision"]
    decision = decision_of(said, rows)
    labels = _labels(rows, evaluation, decision)
    asks = decision.asks(rows.probs)
    sliders = _sliders(rows.take(~asks), labels, decision, said.get("label_costs") or {}, groups_of(table))
    told = (rows.probs, rows.targets) if rows.known is None else _pairs(rows)
    curves = {c: ranking_curves(*label_scores(rows, c)) for c in labels}
    return Judged(
        sliders=sliders,
        begin=next((c for c in decision.thresholds or () if c in labels and said.get("outcome")), labels[0]),
        asked=int(asks.sum()),
        prior=decision.prior is not None,
        curves={c: points for c, points in curves.items() if points is not None},
        reliability=reliabilities(*told),
        ace=binned_error(*told, equal_mass=True),
        risk=_risk(rows, decision),
        cells=cells_of(rows, pictures),
    )


def decision_of(said: Mapping[str, Any], rows: Rows) -> Decision:
    """The Decision that evaluation.json tells of; that of nobody, where nobody decided."""
    content = dict(said) if said.get("outcome") else {}
    return Decision.from_dict({**content, "version": VERSION}, rows.classes, rows.task)


def _pairs(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Every (image, label) pair that is known as an image of one label: what calibration is about."""
    assert rows.known is not None
    return rows.probs[rows.known][:, None], rows.targets[rows.known][:, None]


def _labels(rows: Rows, evaluation: Evaluation, decision: Decision) -> list[str]:
    """The classes that get a slider: of a binary task the one that alarms are about."""
    if rows.task == "binary":
        named = [c for c in rows.classes if c in (decision.thresholds or {})]
        return [named[-1] if named else evaluation["decision"].get("positive", rows.classes[1])]
    f1 = [evaluation["per_class"][c]["f1"]["value"] for c in rows.classes]
    named = [c for c in rows.classes if c in (decision.thresholds or {}) and rows.task == "multiclass"]
    chosen = [rows.classes[k] for k in chosen_labels(f1, len(rows.ids))]
    known = (
        rows.classes
        if rows.known is None
        else [c for c, k in zip(rows.classes, np.asarray(rows.known.any(axis=0)), strict=True) if k]
    )
    return [c for c in known if c in chosen or c in named]


def _sliders(
    rows: Rows, labels: Sequence[str], decision: Decision, costs: Mapping[str, Any], groups: dict[str, str] | None
) -> list[Slider]:  # fmt: skip
    most, codes = thresholds_each(len(labels)), group_codes(rows.ids, groups)
    plain = decision.calibration is None and decision.prior is None
    by = rows if plain else rows._replace(probs=decision.probabilities(rows.probs))
    out = []
    for label in labels:
        marks = {"half": HALF}
        if label in (decision.thresholds or {}):
            marks["decided"] = min(1.0, max(0.0, (decision.thresholds or {})[label]))
        own = codes
        if codes is not None and rows.known is not None:
            own = np.unique(codes[rows.known[:, rows.classes.index(label)]], return_inverse=True)[1]
        scores, positive = label_scores(by, label)
        if not len(scores):  # every image that is known of it is left to a person
            continue
        found = alarms(scores, positive, marks, most=most, groups=own)
        out.append(_slider(label, found, _costs(label, rows, decision, costs)))
    return out


def _costs(label: str, rows: Rows, decision: Decision, costs: Mapping[str, Any]) -> tuple[float, float]:
    """(of a false alarm, of a miss): those named for the label, or by a 2 × 2 matrix; 1 and 1 else."""
    if label in costs:
        return float(costs[label]["fp"]), float(costs[label]["fn"])
    if decision.costs is not None and len(rows.classes) == 2:
        k = rows.classes.index(label)
        return float(decision.costs[1 - k][k]), float(decision.costs[k][1 - k])
    return 1.0, 1.0


def _slider(label: str, found: Alarms, costs: tuple[float, float]) -> Slider:
    precision, recall = (
        Share(of.value.tolist(), of.low.tolist(), of.high.tolist()) for of in (found.precision, found.recall)
    )
    return Slider(
        label, found.thresholds.tolist(), found.tp.tolist(), found.fp.tolist(), found.positives, found.n,
        precision, recall, found.marks, *costs,
    )  # fmt: skip


def _risk(rows: Rows, decision: Decision) -> dict[str, Any]:
    """Mistakes are those of the decision, its sureness the order."""
    probs = decision.probabilities(rows.probs)
    wrong = decision.decide(rows.probs) != rows.targets
    if wrong.ndim == 2:
        wrong = (wrong if rows.known is None else wrong & rows.known).any(axis=1)
    return risk_points(decision.sureness(probs), np.asarray(wrong, bool), decision.abstain_below)
