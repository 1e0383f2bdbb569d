"""What is stored of a run's model after a decision changed it: predictions, evaluations, reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anmok.core.artifacts import save_predictions
from anmok.core.files import read_json, write_json
from anmok.core.types import Evaluation, Predictions
from anmok.stages.ensemble_run import again, report_of_any
from anmok.stages.judge import groups_of, scores
from anmok.stages.run import Run
from anmok.stages.slices import divisions, sliced


def rescore(run: Run, split: str, predictions: Predictions, decision: Mapping[str, Any]) -> Evaluation:
    """Write a split's predictions, evaluation and report anew; baselines and looks stay as they were."""
    save_predictions(predictions, run.path / "predictions" / f"{split}.parquet")
    file = run.path / f"evaluation-{split}.json"
    old = read_json(file) if file.is_file() else {}
    content = scores(run.table, split, predictions, decision)
    content |= {name: value for name, value in old.items() if name not in content and name != "leaked"}
    if old.get("slices"):
        divided = divisions(run.table, split, list(old["slices"]))
        content["slices"] = sliced(divided, predictions, split, groups_of(run.table))
    evaluation = Evaluation(content)
    write_json(file, content)
    latest = run.path / "evaluation.json"
    if not latest.is_file() or read_json(latest).get("split") == split:
        write_json(latest, content)
    if split in ("val", "test"):
        report_of_any(again(run), split, evaluation, predictions)
    return evaluation
