"""From predictions of a split to evaluation.json: the scores, what a simple guess would score, and what leaks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.core.files import write_json
from anmok.core.types import Evaluation, Predictions
from anmok.data.batches import Loader
from anmok.data.config import DataConfig
from anmok.data.table import Table
from anmok.evaluate.answers import is_decided
from anmok.evaluate.baselines import majority, nearest_neighbour
from anmok.evaluate.costs import ErrorCosts
from anmok.evaluate.decision import Decision
from anmok.evaluate.metrics import evaluate, evaluate_baselines, evaluate_without
from anmok.evaluate.outcome import outcome
from anmok.stages.hierarchy_scores import hierarchy_scores

THUMB = 16  # side at which the nearest-neighbour baseline compares images
NEIGHBOURS = 20_000  # training images it compares with at most, taken evenly


def judge(
    table: Table, split: str, predictions: Predictions, data: DataConfig, decision: Mapping[str, Any] | None = None
) -> Evaluation:
    """The evaluation of a split, with `baselines`, and `leaked` where images of it were trained on.

    decision: the content of the model's decision.json, whose outcome stands under `decision` where somebody decided.
    Images of a group are not independent, and intervals know it.
    """
    content = scores(table, split, predictions, decision)
    content["baselines"] = baselines(table, split, predictions, data)
    return Evaluation(content)


def scores(
    table: Table, split: str, predictions: Predictions, decision: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The same without baselines: what follows from the predictions alone."""
    groups = groups_of(table)
    content = dict(evaluate(predictions, split, groups=groups).data)
    if decision is not None:
        content["decision"] |= decided(predictions, split, decision, groups)
    found = hierarchy_scores(table, split, predictions, decision, groups)
    content["metrics"] |= found.pop("metrics", {})
    content |= found
    leaked = leaked_ids(table, split)
    if leaked:
        content["leaked"] = evaluate_without(predictions, leaked, split, groups=groups)
    return content


def decided(
    predictions: Predictions, split: str, content: Mapping[str, Any], groups: dict[str, str] | None = None
) -> dict[str, Any]:
    """What decision.json says and what it does to a split: {rule, thresholds, costs, …, outcome}; {} where nobody has
    decided.  rule: cost-matrix, threshold or argmax."""
    decision = Decision.from_dict(dict(content), predictions.classes, predictions.task)
    if not is_decided(decision):
        return {}
    said = {k: v for k, v in decision.to_dict().items() if k not in ("version", "classes", "task") and v is not None}
    rule = "cost-matrix" if decision.costs is not None else "threshold" if decision.thresholds else "argmax"
    costs = {label: ErrorCosts(**c) for label, c in (content.get("label_costs") or {}).items()}
    said |= {"label_costs": content["label_costs"]} if costs else {}
    return {"rule": rule, **said, "outcome": outcome(decision, predictions, split, costs=costs, groups=groups)}


def groups_of(table: Table) -> dict[str, str] | None:
    """Id to group of the images that have one, None where none has."""
    import polars as pl

    named = table.rows.filter(pl.col("group").is_not_null()).select("id", "group")
    return dict(named.iter_rows()) or None


def leaked_ids(table: Table, split: str) -> list[str]:
    """Ids of the split's images whose bytes the given split also put in an earlier one (column `leaked`)."""
    import polars as pl

    if "leaked" not in table.rows.columns:
        return []
    return table.rows.filter((pl.col("split") == split) & pl.col("leaked"))["id"].to_list()


def baselines(table: Table, split: str, predictions: Predictions, data: DataConfig) -> dict[str, Any]:
    """Metrics of a majority-class guess and of the nearest training image in 16×16 pixels, on the same rows."""
    labelled = table.labelled()
    train = labelled.where(split="train")
    some = train.take(np.linspace(0, len(train) - 1, min(len(train), NEIGHBOURS)).astype(np.int64))
    pixels, targets, _ = small_pixels(some, data)
    mine, _, ids = small_pixels(labelled.where(split=split), data)
    k = len(table.classes)
    row = {identity: n for n, identity in enumerate(predictions.ids)}
    known = [n for n, identity in enumerate(ids) if identity in row]
    nearest = np.full((len(predictions), k), np.nan, np.float32)
    nearest[[row[ids[n]] for n in known]] = nearest_neighbour(pixels, targets, mine[known], k)
    guesses = {"majority": majority(train.targets(), len(predictions), k), "nearest-neighbour": nearest}
    return evaluate_baselines(predictions, guesses)


def small_pixels(table: Table, data: DataConfig) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """uint8[N, 16, 16, 3], targets and ids of the images that can be read."""
    loader = Loader(table, preprocess=Preprocess(THUMB), batch_size=256, allow_truncated=data.allow_truncated)
    batches = list(loader.epoch())
    return (
        np.concatenate([b.images for b in batches]),
        np.concatenate([b.targets for b in batches]),
        [i for b in batches for i in b.ids],
    )


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """evaluation-<split>.json, and evaluation.json with the latest."""
    for name in (f"evaluation-{evaluation['split']}.json", "evaluation.json"):
        write_json(folder / name, evaluation.data)
