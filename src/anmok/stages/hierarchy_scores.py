"""What a run of a class hierarchy is judged by besides: its parents, mistakes by their distance, and falling back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from anmok.core.types import Predictions
from anmok.data.table import Table
from anmok.evaluate.decide import plain_decision
from anmok.evaluate.decision import Decision
from anmok.evaluate.fall_back import fall_back_outcome, fit_fall_back
from anmok.evaluate.hierarchy import coarse_predictions
from anmok.evaluate.metrics import evaluate


def fitted_decision(table: Table, p: Predictions | None, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """decision.json's content with the fall-back to parents, where the table has a hierarchy.

    content: what has been decided; None: what is decided before anybody has named costs.  p: the model's predictions of
    validation, on which the threshold is fitted; None: never fall back.
    """
    base = plain_decision(list(table.classes), table.task).to_dict() if content is None else dict(content)
    if not table.hierarchy:
        return base
    parents = dict(table.hierarchy)
    below = 0.0 if p is None else fit_fall_back(_seen(p, base), parents)
    return base | {"fall_back": {"parents": parents, "below": below}}


def _seen(p: Predictions, content: Mapping[str, Any]) -> Predictions:
    """The predictions with the probabilities that are decided by."""
    decision = Decision.from_dict(dict(content), p.classes, p.task)
    return replace(p, probs=decision.probabilities(p.probs).astype(np.float32))


def hierarchy_scores(
    table: Table, split: str, p: Predictions, decision: Mapping[str, Any] | None, groups: Mapping[str, str] | None
) -> dict[str, Any]:
    """{metrics: coarse_accuracy, hierarchical_cost; hierarchy: parents, coarse confusion, fall_back} of a split.

    {} where the table has no hierarchy.
    """
    if not table.hierarchy:
        return {}
    parents = dict(table.hierarchy)
    coarse = evaluate(coarse_predictions(p, parents), split, groups=groups, ranking=False)
    fine = evaluate(p, split, groups=groups, ranking=False, parents=parents)["metrics"]
    out: dict[str, Any] = {"parents": parents, "confusion": coarse["confusion"], "metrics": coarse["metrics"]}
    if decision is not None and decision.get("fall_back"):
        below = float(decision["fall_back"]["below"])
        out["fall_back"] = fall_back_outcome(_seen(p, decision), parents, below, split=split, groups=groups)
        out["text"] = fall_back_text(out["fall_back"])
    metrics = {"coarse_accuracy": coarse["metrics"]["accuracy"], "hierarchical_cost": fine["hierarchical_cost"]}
    return {"metrics": metrics, "hierarchy": out}


def fall_back_text(found: Mapping[str, Any]) -> list[str]:
    """What falling back does, in sentences."""
    if not found["share"]["value"]:
        return ["The class is always answered: falling back to its parent would cost more than it saves."]
    rest = found["fine_right"]["value"]
    said = (
        f"Where a class has less than {found['below']:.0%} its parent is answered: for {found['share']['value']:.1%} "
        f"of the images, of which {found['parent_right']['value']:.1%} are right"
    )
    return [said + ("." if rest is None else f"; of the classes answered, {rest:.1%} are right.")]
