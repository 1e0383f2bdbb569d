"""`anmok evaluate`: a run on one of its splits, with a report; looks at the test split are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anmok.core.artifacts import load_predictions, save_predictions
from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.events import Events, read_events
from anmok.core.files import locked
from anmok.core.progress import say
from anmok.core.types import Evaluation, Predictions
from anmok.data.compare import require_classes
from anmok.stages.judge import judge, write_evaluation
from anmok.stages.predict import predict_table
from anmok.stages.report import report_of
from anmok.stages.run import Run

SPLITS = ("train", "val", "test")


def evaluate(what: Any, *, split: str = "test", out: Path | str | None = None) -> Evaluation:
    """The Evaluation of a run (its test split, unless another is named), or of Predictions or a file of them.

    Of a run: writes predictions/<split>.parquet, evaluation-<split>.json, evaluation.json and a report (report.html for
    val, report-<split>.html else; or `out`). Every look at the test split is an event of the run, and counted.
    """
    if isinstance(what, Predictions):
        return _of_predictions(what, split)
    if not isinstance(what, Run) and Path(what).suffix.lower() == ".parquet":
        return _of_predictions(load_predictions(what), split)
    run = what if isinstance(what, Run) else Run(what)
    if split not in SPLITS:
        raise UsageError(
            f"no such split as {split}.", where="--split", remedy=did_you_mean(split, SPLITS), code="setting"
        )
    with locked(run.path):
        return _of_run(run, split, None if out is None else Path(out))


def _of_predictions(predictions: Predictions, split: str) -> Evaluation:
    from anmok.evaluate.metrics import evaluate as score

    marked = set(predictions.split or [])
    return score(predictions, split if split in marked or not marked else sorted(marked)[0])


def _of_run(run: Run, split: str, out: Path | None) -> Evaluation:
    table, model = run.table, run.model
    require_classes(model.task, model.classes, table, where=str(run.path))
    rows = table.labelled().where(split=split)
    if not len(rows):
        raise DataError(f"the table has no labelled {split} image.", where=str(run.path), code="empty-table")
    predictions = predict_table(model, rows, batch_size=run.config.batch_size, threads=run.config.runtime.threads,
                                allow_truncated=run.config.data.allow_truncated)  # fmt: skip
    predictions = stamped(predictions, split, model.hash, table.fingerprint)
    evaluation = judge(table, split, predictions, run.config.data)
    events = Events(run.path / "events.jsonl")
    events.log("look", split=split, accuracy=evaluation.value("accuracy"))
    events.close()
    looks = sum(1 for event in read_events(run.path / "events.jsonl", "look") if event["split"] == split)
    evaluation = Evaluation({**evaluation.data, "looks": looks})
    if split == "test" and looks > 1:
        say(f"this is look number {looks} at the test split; what is chosen by it is no longer tested by it")
    save_predictions(predictions, run.path / "predictions" / f"{split}.parquet")
    write_evaluation(run.path, evaluation)
    report_of(run, split, evaluation, predictions, out)
    return evaluation


def stamped(p: Predictions, split: str, model_hash: str, fingerprint: str) -> Predictions:
    """The predictions with the split of every row, the model's hash and the table's fingerprint."""
    return Predictions(
        p.ids, p.classes, p.probs, p.targets, p.task, [split] * len(p), model_hash, fingerprint, p.errors
    )
